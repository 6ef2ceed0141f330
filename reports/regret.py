"""What the regret report says and shows; every number comes from `exactrl.studies.regret`."""

from __future__ import annotations

import math
from typing import Any

from exactrl.studies.problems import StudyProblem
from exactrl.studies.regret import SCALES, RegretOptions, RegretStudy
from reports.panels import Line, Panel, Picture
from reports.study_page import Report

__all__ = ["regret_report", "regret_table"]

STEPS = "steps T (policies played, logarithmic)"
REGRET = "regret (units of rescaled reward)"
BOUND = "bound 4√(T log n)"
TRIVIAL = "trivial bound 2T"


def regret_report(
    problem: StudyProblem, options: RegretOptions, study: RegretStudy, settings: dict[str, Any]
) -> Report:
    """The page's content."""
    pictures = [_fixed(study), _adversarial(study), _sizes(study, options), _scales(study, options)]
    header, rows = regret_table(study)
    return Report(
        "Regret of ECPO, PMD and their ablations",
        [*_premises(problem, options, study), _standing(study)],
        problem.description(),
        [(f"Regret after {study.steps[-1]:,} steps, rewards fixed", header, rows)],
        pictures,
        settings,
    )


def regret_table(study: RegretStudy) -> tuple[list[str], list[list[str]]]:
    """The table of the terminal and of the page: at the largest T, regret, bounds and the fitted rate."""
    header = ["method", "regret", "share of the bound", "fitted rate", "adversarial, mean", "adversarial, worst found"]
    rows = []
    for name, values in study.fixed.items():
        rate, hard = study.rates[name], study.adversarial[name]
        rows.append([
            name, f"{values[-1]:.3g}", f"{100 * values[-1] / study.bound[-1]:.1f}%",
            "none" if rate is None else f"T^{rate:.2f}", f"{hard.mean[-1]:.3g}", f"{hard.found[-1]:.3g}",
        ])  # fmt: skip
    rows.append([BOUND, f"{study.bound[-1]:.3g}", "100%", "T^0.50", *[f"{study.adversarial_bound[-1]:.3g}"] * 2])
    trivial, hard_trivial = 2.0 * study.steps[-1], 2.0 * next(iter(study.adversarial.values())).steps[-1]
    share = f"{100 * trivial / study.bound[-1]:.0f}%"
    rows.append([TRIVIAL, f"{trivial:.3g}", share, "T^1.00", *[f"{hard_trivial:.3g}"] * 2])
    return header, rows


def _premises(problem: StudyProblem, options: RegretOptions, study: RegretStudy) -> list[str]:
    schedule = (
        "Each run of $T$ steps starts from the policy that takes every action alike and uses Theorem 1's temperatures "
        r"$\tau'=1/\sqrt{T\log n}$ and $\tau+\tau'=\sqrt T/\sqrt{2\log n}$, with $n$ the number of trajectories; "
        r"methods "
        rf"without entropy use the same sum with $\tau'=0$, gradient steps have size {options.step_size:g} in the "
        rf"logits. "
        "The regret counts the $T$ policies played, against the best policy in hindsight."
    )
    scale = (
        f"Rewards were multiplied by {study.factor:.4g}, so that returns span an interval of length 2, as $[-1,1]$ "
        f"does. "
        "The constant that would centre the interval changes neither updates nor regret. The theorem as printed "
        "bounds no "
        r"rewards; the amended statement asks for $\lvert r\rvert\le1$ and a uniform start, and its bound is the same "
        r"$4\sqrt{T\log n}$. No sequence of such rewards can cost more than $2T$."
    )
    if problem.stack.deterministic:
        return [schedule, scale]
    stochastic = (
        "The transitions of this model are stochastic, and the policies are no convex set of distributions: Theorem "
        "1 does "
        "not speak of it. The bound is drawn for comparison only."
    )
    return [schedule, scale, stochastic]


def _standing(study: RegretStudy) -> str:
    """Whether the bound held wherever rewards were within [-1, 1], and from where on it says more than 2T."""
    worst = {name: max(x / b for x, b in zip(values, study.bound, strict=True)) for name, values in study.fixed.items()}
    for name, hard in study.adversarial.items():
        ratios = [x / b for x, b in zip(hard.found, study.adversarial_bound, strict=True)]
        worst[name] = max(worst[name], *ratios)
    above = [f"{name} ({ratio:.3g} times the bound)" for name, ratio in worst.items() if ratio > 1]
    met = "Above the bound went " + ", ".join(above) + "." if above else "No method went above the bound here."
    log_n = (study.bound[0] / 4) ** 2 / study.steps[0]
    return f"{met} The bound says more than $2T$ only for $T>4\\log n\\approx{4 * log_n:.3g}$."


def _bounds(steps: list[int], bound: list[float]) -> list[Line]:
    xs = [float(T) for T in steps]
    return [Line(BOUND, xs, bound, 1, bare=True), Line(TRIVIAL, xs, [2 * T for T in xs], 3, bare=True)]


def _fixed(study: RegretStudy) -> Picture:
    xs, lines = [float(T) for T in study.steps], []
    for look, (name, values) in enumerate(study.fixed.items()):
        rate = study.rates[name]
        label = name if rate is None else f"{name}: T^{rate:.2f}"
        lines.append(Line(label, xs, values, look))
    panel = Panel(
        "the same rewards at every step", STEPS, REGRET, (*lines, *_bounds(study.steps, study.bound)), True, True
    )
    return Picture(
        "fixed",
        "Fixed rewards",
        "Regret after $T$ steps, both axes logarithmic; each point is a run of its own with the schedule of its $T$. "
        "The "
        "exponent beside a name is the slope of a least-squares line through the upper half of the points.",
        (panel,),
    )


def _adversarial(study: RegretStudy) -> Picture:
    panels = []
    for values, title in (
        ("mean", "mean over random reward sequences"),
        ("found", "the worst sequence that a search found"),
    ):
        lines = []
        for look, (name, hard) in enumerate(study.adversarial.items()):
            lines.append(Line(name, [float(T) for T in hard.steps], getattr(hard, values), look))
        steps = next(iter(study.adversarial.values())).steps
        bounds = _bounds(steps, study.adversarial_bound)
        panels.append(Panel(title, STEPS, REGRET, (*lines, *bounds), True, True))
    return Picture(
        "adversarial",
        "Rewards that change from step to step",
        "Above the average, below the worst case: each step's rewards are the model's own, or one of five random "
        "tables, with "
        "either sign. The search keeps the worst sequences and rewrites blocks of them; what it finds is a lower "
        "bound on the "
        "worst case, no more.",
        tuple(panels),
    )


def _sizes(study: RegretStudy, options: RegretOptions) -> Picture:
    digits = [math.log10(n) for n in study.counts]
    lines = [Line(name, digits, values, look) for look, (name, values) in enumerate(study.by_size.items())]
    bound = Line(BOUND, digits, study.size_bound, 1, bare=True)
    trivial = Line(TRIVIAL, digits, [2.0 * options.sweep_steps] * len(digits), 3, bare=True)
    label = "log₁₀ of the number n of trajectories"
    return Picture(
        "sizes",
        "More trajectories",
        f"Regret after $T={options.sweep_steps}$ steps with fixed rewards, on models of the same kind from "
        f"{study.sizes[0]} to "
        f"{study.sizes[-1]}, each with rewards rescaled anew. Regret need not grow with $n$: the bound does.",
        (Panel(f"regret against n, T = {options.sweep_steps}", label, REGRET, (*lines, bound, trivial)),),
    )


def _scales(study: RegretStudy, options: RegretOptions) -> Picture:
    scales = list(SCALES)
    lines = [Line(name, scales, values, look) for look, (name, values) in enumerate(study.by_scale.items())]
    bound = Line("bound, as printed", scales, [study.scale_bound] * len(scales), 1, bare=True)
    trivial = Line("trivial bound 2cT", scales, [2.0 * options.sweep_steps * c for c in scales], 3, bare=True)
    broken = [c for c, x in zip(scales, next(iter(study.by_scale.values())), strict=True) if x > study.scale_bound]
    where = f"it is exceeded from $c={broken[0]:.3g}$ on" if broken else "it is not exceeded on this range"
    label = "factor c on the rescaled rewards (logarithmic)"
    return Picture(
        "scales",
        "Larger rewards: the printed statement and the amended one",
        f"Regret after $T={options.sweep_steps}$ steps with rewards $c$ times larger, both axes logarithmic. At "
        f"$c=1$ the "
        f"amended statement applies. The printed bound does not depend on $c$; for the first method {where}.",
        (Panel("regret against the size of the rewards", label, REGRET, (*lines, bound, trivial), True, True),),
    )
