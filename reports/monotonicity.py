"""What the monotonicity report says and shows; every number comes from `exactrl.studies.monotonicity`."""

from __future__ import annotations

from typing import Any

from exactrl.studies.monotonicity import KINDS, MonotonicityOptions, MonotonicityStudy, Parting, Track
from exactrl.studies.paths import OBJECTIVES
from exactrl.studies.problems import StudyProblem
from reports.panels import Line, Panel, Picture
from reports.study_page import Report

__all__ = ["monotonicity_report", "monotonicity_table"]

ITERATION = "iteration"
REWARD = "units of reward"


def monotonicity_report(
    problem: StudyProblem, options: MonotonicityOptions, study: MonotonicityStudy, settings: dict[str, Any]
) -> Report:
    """The page's content."""
    header, rows = monotonicity_table(study)
    return Report(
        "What rises and what falls along ECPO and PMD",
        [_premises(options), _verdict(study)],
        problem.description(),
        [("Steps that went down", header, rows)],
        [_tracks(study), _partings(study), _sweep(study, options)],
        settings,
    )


def monotonicity_table(study: MonotonicityStudy) -> tuple[list[str], list[list[str]]]:
    """The table of the terminal and of the page: falls on the problem, then the sweep's shares, a row for each pair."""
    header = ["method and objective", "claimed", "falls here", *(f"falls, {kind}" for kind in KINDS.values())]
    swept = {(share.kind, share.method, share.objective): share for share in study.shares}
    rows = []
    for track in study.tracks:
        for objective, name in OBJECTIVES.items():
            steps = len(track.values[objective]) - 1
            cells = [f"{len(track.falls[objective])} of {steps}"]
            for kind in KINDS:
                share = swept.get((kind, track.method.split(" = ")[0], objective))
                cells.append("–" if share is None else f"{share.percent:.1f}%")
            claimed = "never falls" if objective in track.rises else ""
            rows.append([f"{track.method}: {name}", claimed, *cells])
    return header, rows


def _premises(options: MonotonicityOptions) -> str:
    return (
        "PMD is said never to lower the expected return (Proposition 2), ECPO never its surrogate $SR$ (Theorem 2), which is "
        "$SR_f$ where the dynamics are stochastic (Theorem 3). Policies depend on state and time, and every Project step is "
        rf"solved exactly. On the problem $\tau={options.tau:g}$, $\tau'={options.tau_prime:g}$, from a {options.start} policy; "
        rf"methods without entropy use $\tau+\tau'$ and 0, gradient steps have size {options.step_size:g} in the logits. "
        "With deterministic dynamics the lift of a policy is a policy, so that the direction of the projection does not "
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
        "Rings mark the steps that went down. The surrogate is each method's own, with its own temperatures, so that its "
        "levels differ from method to method.",
        tuple(panels),
    )


def _partings(study: MonotonicityStudy) -> Picture:
    panels = []
    for parting in study.partings:
        track = parting.track
        lines = (_line(track, "surrogate", "surrogate SR_f", 0), _line(track, "return", "expected return", 1))
        panels.append(Panel(_heading(parting), ITERATION, REWARD, lines))
    return Picture(
        "partings",
        "Where return and surrogate part",
        "ECPO's surrogate and the expected return of the same policies; rings mark steps that went down. Above this problem, "
        "below the random problems on which one step cost most return.",
        tuple(panels),
    )


def _heading(parting: Parting) -> str:
    return f"{parting.title} (τ = {parting.tau:.3g}, τ′ = {parting.tau_prime:.3g})"


def _sweep(study: MonotonicityStudy, options: MonotonicityOptions) -> Picture:
    pairs = list(dict.fromkeys((s.method, s.objective) for s in study.shares))
    claimed = {(s.method, s.objective) for s in study.shares if s.claimed}
    rows = tuple(f"{m}: {OBJECTIVES[o]}{' (claimed)' if (m, o) in claimed else ''}" for m, o in pairs)
    lines = []
    for look, (kind, name) in enumerate(KINDS.items()):
        shares = [s for s in study.shares if s.kind == kind]
        ys = [float(pairs.index((s.method, s.objective))) for s in shares]
        lines.append(Line(name.replace(", ", ",\n").replace("finite", "finite\n"), [s.percent for s in shares], ys, look))
    panel = Panel("steps that went down", "share of the steps that changed the policy (%)", "", tuple(lines), rows=rows)
    return Picture(
        "sweep",
        "How often each objective falls",
        f"{options.problems:,} random problems of each kind, {options.sweep_iterations} iterations each, temperatures from 0.01 "
        "to 10, $\\tau'=0$ in one of four. A pair marked “claimed” is said never to fall: its dots belong at zero. Families have "
        "no logits, so that methods of single gradient steps have no dot there.",
        (panel,),
    )
