"""What the monotonicity report says and shows; every number comes from `exactrl.studies.monotonicity`."""

from __future__ import annotations

from exactrl.studies.monotonicity import KINDS, MonotonicityOptions, MonotonicityStudy, Track
from exactrl.studies.paths import OBJECTIVES
from exactrl.studies.problems import StudyProblem
from reports.panels import Line, Panel, Picture
from reports.study_page import Section

__all__ = ["monotonicity_section", "monotonicity_tables"]

ITERATION = "iteration"
REWARD = "units of reward"


def monotonicity_section(problem: StudyProblem, options: MonotonicityOptions, study: MonotonicityStudy) -> Section:
    """The part of the page on ECPO and PMD."""
    return Section(
        "ecpo",
        "ECPO, PMD and their ablations",
        [_premises(options), _verdict(study)],
        problem.description(),
        monotonicity_tables(study),
        [_tracks(study), _partings(study), _sweep(study, options)],
    )


def monotonicity_tables(study: MonotonicityStudy) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of the tables of terminal and page: falls on the problem, and the sweep's shares."""
    here = []
    for track in study.tracks:
        for objective, name in OBJECTIVES.items():
            steps, claimed = len(track.values[objective]) - 1, _claimed(objective in track.rises)
            here.append([f"{track.method}: {name}", claimed, f"{len(track.falls[objective])} of {steps}"])
    swept = {(s.kind, s.method, s.objective): s for s in study.shares}
    sweep = []
    for method, objective in dict.fromkeys((s.method, s.objective) for s in study.shares):
        shares = [swept.get((kind, method, objective)) for kind in KINDS]
        cells = ["–" if share is None else f"{share.percent:.1f}%" for share in shares]
        claimed = _claimed(any(share is not None and share.claimed for share in shares))
        sweep.append([f"{method}: {OBJECTIVES[objective]}", claimed, *cells])
    return [
        ("Steps that went down on this problem", ["method and objective", "said", "steps"], here),
        ("Share of steps that went down on random problems", ["method and objective", "said", *KINDS.values()], sweep),
    ]


def _claimed(claimed: bool) -> str:
    return "never falls" if claimed else ""


def _premises(options: MonotonicityOptions) -> str:
    return (
        "PMD is said never to lower the expected return (Proposition 2), ECPO never its surrogate $SR$ (Theorem 2), "
        "which is "
        "$SR_f$ where the dynamics are stochastic (Theorem 3). Policies depend on state and time, and every Project "
        "step is "
        rf"solved exactly. On the problem $\tau={options.tau:g}$, $\tau'={options.tau_prime:g}$, from a "
        rf"{options.start} policy; "
        rf"methods without entropy use $\tau+\tau'$ and 0, gradient steps have size {options.step_size:g} in the "
        rf"logits. "
        "With deterministic dynamics the lift of a policy is a policy, so that the direction of the projection does "
        "not "
        "matter and two pairs of methods are one."
    )


def _verdict(study: MonotonicityStudy) -> str:
    here = [f"{track.method}: {OBJECTIVES[key]}" for track in study.tracks for key in track.rises if track.falls[key]]
    swept = [f"{s.method}: {OBJECTIVES[s.objective]}" for s in study.shares if s.claimed and s.falling]
    steps = sum(s.steps for s in study.shares if s.claimed)
    if here or swept:
        return f"Fell although it is claimed never to fall: {'; '.join(dict.fromkeys([*here, *swept]))}."
    return f"No objective fell that is claimed never to fall, here and in {steps:,} steps on random problems."


def _look(name: str) -> int:
    order = ("ECPO", "PMD", "ECPO without entropy", "PMD + entropy", "ECPO, one gradient step", "MENT, exact gradient")
    return order.index(name.split(" = ")[0])


def _line(track: Track, objective: str, name: str, look: int) -> Line:
    values = track.values[objective]
    return Line(name, [float(k) for k in range(len(values))], values, look, tuple(track.falls[objective]))


def _tracks(study: MonotonicityStudy) -> Picture:
    panels = []
    for objective, name in OBJECTIVES.items():
        lines = tuple(_line(track, objective, track.method, _look(track.method)) for track in study.tracks)
        panels.append(Panel(name, ITERATION, REWARD, lines))
    return Picture(
        "tracks",
        "Three objectives along the iterations",
        "Rings mark the steps that went down. The surrogate is each method's own, with its own temperatures, so that "
        "its "
        "levels differ from method to method.",
        tuple(panels),
    )


def _partings(study: MonotonicityStudy) -> Picture:
    panels = []
    for parting in study.partings:
        where = f"{parting.title}\nτ = {parting.tau:.3g}, τ′ = {parting.tau_prime:.3g}"
        for look, (objective, name) in enumerate((("surrogate", "surrogate SR_f"), ("return", "expected return"))):
            line = _line(parting.track, objective, name, look)
            panels.append(Panel(f"{name}\n{where}", ITERATION, REWARD, (line,)))
    return Picture(
        "partings",
        "Where return and surrogate part",
        "ECPO's surrogate on the left, the expected return of the same policies on the right; rings mark steps that "
        "went "
        "down. Above this problem; below, of each kind of random problem, the one on which a step cost most return.",
        tuple(panels),
        columns=2,
    )


def _sweep(study: MonotonicityStudy, options: MonotonicityOptions) -> Picture:
    pairs = list(dict.fromkeys((s.method, s.objective) for s in study.shares))
    claimed = {(s.method, s.objective) for s in study.shares if s.claimed}
    rows = tuple(f"{m}: {OBJECTIVES[o]}{' (claimed)' if (m, o) in claimed else ''}" for m, o in pairs)
    lines = []
    for look, (kind, name) in enumerate(KINDS.items()):
        shares = [s for s in study.shares if s.kind == kind]
        ys = [float(pairs.index((s.method, s.objective))) for s in shares]
        lines.append(Line(name, [s.percent for s in shares], ys, look))
    panel = Panel("steps that went down", "share of the steps that changed the policy (%)", "", tuple(lines), rows=rows)
    return Picture(
        "sweep",
        "How often each objective falls",
        f"{options.problems:,} random problems of each kind, {options.sweep_iterations} iterations each, "
        f"temperatures from 0.01 "
        "to 10, $\\tau'=0$ in one of four. A pair marked “claimed” is said never to fall: its dots belong at zero. "
        "Families have "
        "no logits, so that methods of single gradient steps have no dot there.",
        (panel,),
    )
