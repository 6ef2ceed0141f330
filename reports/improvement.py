"""What the monotonicity report says of MPO and policy iteration; every number is of `exactrl.studies.improvement`."""

from __future__ import annotations

from collections.abc import Callable

from exactrl.studies.discounted import DiscountedProblem
from exactrl.studies.improvement import (
    IMPROVEMENT_METHODS,
    IMPROVEMENT_OBJECTIVES,
    ImprovementOptions,
    ImprovementStudy,
)
from exactrl.studies.monotonicity import Track
from reports.panels import Line, Panel, Picture
from reports.study_page import Section

__all__ = ["improvement_section", "improvement_tables"]

ITERATION = "iteration"
REWARD = "units of reward"


def improvement_section(problem: DiscountedProblem, options: ImprovementOptions, study: ImprovementStudy) -> Section:
    """The part of the page on MPO and policy iteration."""
    return Section(
        "mpo",
        "MPO, soft and hard policy iteration",
        [*_premises(options), _verdict(study)],
        problem.description(),
        improvement_tables(study),
        [_tracks(study, shared=False), _tracks(study, shared=True), _sweep(study, options)],
    )


def improvement_tables(study: ImprovementStudy) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of the tables of terminal and page: falls on the problem, and the sweep's shares."""
    header = ["method", *IMPROVEMENT_OBJECTIVES.values()]

    def here(track: Track, objective: str) -> str:
        return f"{len(track.falls[objective])} of {len(track.values[objective]) - 1}"

    rows = [_row(track.method, track.method, track.values, lambda o, t=track: here(t, o)) for track in study.tracks]
    shares = {(s.method, s.kind, s.objective): s for s in study.shares}
    sweep = []
    for method, kind in dict.fromkeys((s.method, s.kind) for s in study.shares):
        known = {o: shares[method, kind, o] for o in IMPROVEMENT_OBJECTIVES if (method, kind, o) in shares}
        sweep.append(_row(_stepped(method, kind), method, known, lambda o, k=known: f"{k[o].percent:.1f}%"))
    return [
        ("Steps that went down on this problem", header, rows),
        ("Share of steps that went down on random discounted models", header, sweep),
    ]


def _row(name: str, method: str, known: dict[str, object], cell: Callable[[str], str]) -> list[str]:
    return [name, *(f"{cell(o)}{_said(method, o)}" if o in known else "–" for o in IMPROVEMENT_OBJECTIVES)]


def _said(method: str, objective: str) -> str:
    kind = IMPROVEMENT_METHODS[method]
    if objective in kind.rises:
        return " (never)"
    return " (if small)" if objective in kind.rises_when_small else ""


def _stepped(method: str, kind: str) -> str:
    return f"{method}, step × {kind}" if IMPROVEMENT_METHODS[method].mstep == "gradient" else method


def _premises(options: ImprovementOptions) -> list[str]:
    return [
        r"MPO alternates an E-step, $q_i\propto\pi_ie^{Q^{\pi_i}/\alpha}$ in one step or the full maximiser of its "
        r"bound $\mathcal J(\theta,q)=\mathbb E_q\sum_t\gamma^t\left[r_t-\alpha\mathrm{KL}(q\Vert\pi_\theta)\right]$, "
        r"with an M-step: the exact maximiser over the class (“EM”), or one gradient step (Eq. 18) in softmax logits. "
        rf"Evaluation is exact, $\alpha={options.alpha:g}$, gradient steps have size {options.step_size:g}, the first "
        rf"policy is {options.start}. The class is all tables, or “shared”: neighbouring states have one distribution "
        "over actions.",
        "“(never)” is said never to fall: over all tables the bound and the return, by Eq. 20 of MPO; with a full "
        "E-step the bound over any class, since both steps maximise it; the soft return in soft policy iteration (soft "
        "Q-learning, Theorem 4), the return in hard policy iteration (Howard). “(if small)” is said not to fall for "
        r"gradient steps that are small enough: $\mathcal J(\theta_i,q_i)$, by MPO's Proposition 3. There are models "
        "of two states where it falls however small the step (claim mpo.prop3.eq21); the table shows how often random "
        "models are of that kind. Of the rest nothing is said.",
    ]


def _verdict(study: ImprovementStudy) -> str:
    here = [f"{t.method}: {IMPROVEMENT_OBJECTIVES[key]}" for t in study.tracks for key in t.rises if t.falls[key]]
    swept = [f"{s.method}: {IMPROVEMENT_OBJECTIVES[s.objective]}" for s in study.shares if s.claimed and s.falling]
    steps = sum(s.steps for s in study.shares if s.claimed)
    if here or swept:
        never = f"Fell although said never to: {'; '.join(dict.fromkeys([*here, *swept]))}."
    else:
        never = f"Nothing fell that is said never to, here and in {steps:,} steps on random models."
    small = []
    for s in study.shares:
        if s.objective in IMPROVEMENT_METHODS[s.method].rises_when_small and s.falling:
            small.append(f"{_stepped(s.method, s.kind)}: {s.falling} of {s.steps}")
    if not small:
        return f"{never} No gradient M-step lowered the bound."
    return f"{never} Gradient M-steps that lowered the bound: {'; '.join(small)}."


def _tracks(study: ImprovementStudy, *, shared: bool) -> Picture:
    tracks = [t for t in study.tracks if IMPROVEMENT_METHODS[t.method].shared is shared]
    panels = []
    for objective, title in IMPROVEMENT_OBJECTIVES.items():
        lines = []
        for look, track in enumerate(tracks):
            if objective in track.values:
                ys = track.values[objective]
                name = track.method.removesuffix(", shared")
                lines.append(Line(name, [float(k) for k in range(len(ys))], ys, look, tuple(track.falls[objective])))
        panels.append(Panel(title, ITERATION, REWARD, tuple(lines)))
    where = "the shared class" if shared else "all tables"
    return Picture(
        "rises-shared" if shared else "rises-tables",
        f"Three objectives over {where}",
        "Rings mark the steps that went down. The bound is that after the E-step; policy iteration has none."
        if not shared
        else "The same where neighbouring states share their distribution over actions, and an M-step can no longer "
        "reach its target.",
        tuple(panels),
    )


def _sweep(study: ImprovementStudy, options: ImprovementOptions) -> Picture:
    rows = list(dict.fromkeys((s.method, s.kind) for s in study.shares))
    lines = []
    for look, (objective, name) in enumerate(IMPROVEMENT_OBJECTIVES.items()):
        shares = [s for s in study.shares if s.objective == objective]
        ys = [float(rows.index((s.method, s.kind))) for s in shares]
        lines.append(Line(name, [s.percent for s in shares], ys, look))
    names = tuple(_stepped(*row) for row in rows)
    label = "share of the steps that changed the policy (%)"
    return Picture(
        "rises-sweep",
        "How often each objective falls on random models",
        f"{options.problems:,} random models of 4 states and 3 actions, {options.sweep_iterations} iterations each, "
        r"$\gamma$ 0.5 or 0.9, $\alpha$ from 0.03 to 3. The gradient M-step is taken at three sizes: a fall that is "
        "said not to happen for small steps should vanish as the step shrinks.",
        (Panel("steps that went down", label, "", tuple(lines), rows=names),),
    )
