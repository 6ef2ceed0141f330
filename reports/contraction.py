"""What the contraction report says and shows; every number comes from `exactrl.studies.contraction`."""

from __future__ import annotations

from typing import Any

from exactrl.studies.contraction import Approach, ContractionOptions, ContractionStudy, Gap
from exactrl.studies.discounted import DiscountedProblem
from reports.panels import Line, Panel, Picture
from reports.study_page import Report

__all__ = ["contraction_report", "contraction_tables"]

ITERATION = "iteration n"
SHARE = "share of the first distance"
LARGEST = {"counting": "soft − hard, b = 1", "normalised": "hard − soft, b = 1/A"}
TITLES = {"counting": "entropy as the bonus (b = 1)", "normalised": "uniform base measure (b = 1/A)"}


def contraction_report(
    problem: DiscountedProblem, options: ContractionOptions, study: ContractionStudy, settings: dict[str, Any]
) -> Report:
    """The page's content."""
    return Report(
        "How fast soft and hard iterations contract",
        [*_premises(options, study), _verdict(study)],
        problem.description(),
        contraction_tables(study),
        [
            *(_towards(study, method) for method in ("value iteration", "policy iteration")),
            _bounds(study),
            _limit(study),
        ],
        settings,
    )


def contraction_tables(study: ContractionStudy) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of the tables of terminal and page: the approaches, and the hard limit."""
    header = ["method, temperature", "steps", "factor per step", "of γⁿ", "of a posteriori",
              "half the enclosure", "known to"]  # fmt: skip
    rows = []
    for x in study.approaches:
        steps = f"{len(x.distances) - 1}" if x.reached is None else f"{x.reached} (reached)"
        rows.append([
            _name(x), steps, "–" if x.contraction is None else f"{x.contraction:.4g}",
            _most(x.distances, x.rate_bounds), _most(x.distances, x.step_bounds),
            f"{x.half_widths[-1]:.2g}" if x.half_widths else "–", f"{x.resolution:.1g}",
        ])  # fmt: skip
    gaps = []
    for k, alpha in enumerate(study.gaps[0].temperatures):
        cells = []
        for gap in study.gaps:
            bound, far = _further(gap, k)
            known = far > gap.resolution[k]
            cells += [f"{far:.3g}", f"{100 * far / bound:.3g}%"] if known else ["below rounding", "–"]
        gaps.append([f"α\u00a0=\u00a0{alpha:.3g}", f"{_further(study.gaps[0], k)[0]:.3g}", *cells])
    columns = ["temperature", "bound", *(word for gap in study.gaps for word in (LARGEST[gap.measure], "of the bound"))]
    shares = "Distance to the fixed point: largest share of each bound"
    return [
        (f"{shares} (γ = {study.discount:g})", header, rows),
        ("From the soft values to the hard ones", columns, gaps),
    ]


def _name(x: Approach) -> str:
    return f"{x.method}, {_temperature(x.temperature)}"


def _temperature(alpha: float) -> str:
    return f"α\u00a0=\u00a0{alpha:g}" if alpha else "hard"


def _most(distances: list[float], bounds: list[float] | list[float | None]) -> str:
    """The largest share of a bound that the distance is, over all n from 1 on."""
    shares = [d / b for d, b in zip(distances[1:], bounds[1:], strict=True) if b]
    return f"{100 * max(shares):.1f}%" if shares else "–"


def _further(gap: Gap, k: int) -> tuple[float, float]:
    """The bound that is not 0, and the largest gap in its direction."""
    counting = gap.measure == "counting"
    return (gap.upper[k], gap.greatest[k]) if counting else (-gap.lower[k], -gap.least[k])


def _premises(options: ContractionOptions, study: ContractionStudy) -> list[str]:
    first = "0" if options.start == "zero" else "random"
    return [
        r"Value iteration is $Q_{n+1}=\mathcal TQ_n$ with $\mathcal TQ=r+\gamma PV_Q$ and the soft value "
        r"$V_Q=\alpha\log\sum_ae^{Q/\alpha}$, the maximum where $\alpha=0$ (“hard”); policy iteration gives $Q_{n+1}$ "
        rf"the values of the (soft) greedy policy of $Q_n$. $Q_0$ is {first}; policy iteration starts from its greedy "
        "policy. Two bounds are held against the distance to the fixed point in the maximum norm: "
        r"$\gamma^n\lVert Q_0-Q^*\rVert$ and, a posteriori, $\frac\gamma{1-\gamma}\lVert Q_n-Q_{n-1}\rVert$. Beside "
        r"them stands the enclosure of $Q^*$ that one more application of $\mathcal T$ to $Q_n$ proves (MacQueen): "
        "half its width bounds how far its middle is from $Q^*$.",
        "The fixed point itself is known between proven bounds, rounding included. Distances below their width "
        "(“known to”) are not told from 0 and are left out; a bound counts as exceeded only where that is certain.",
    ]


def _verdict(study: ContractionStudy) -> str:
    broken = [f"{_name(x)}: {bound} at n = {n}" for x in study.approaches for bound, n in x.exceeded]
    broken += [f"{TITLES[gap.measure]} at α = {alpha:g}" for gap in study.gaps for alpha in gap.exceeded]
    if broken:
        return f"Exceeded for certain: {'; '.join(broken)}."
    points = sum(len(x.distances) for x in study.approaches)
    limits = sum(len(gap.temperatures) for gap in study.gaps)
    return f"No bound was exceeded, at {points:,} iterates and {limits} temperatures of the hard limit."


def _towards(study: ContractionStudy, method: str) -> Picture:
    lines, longest = [], 0
    for look, x in enumerate(a for a in study.approaches if a.method == method):
        if x.distances:
            xs = [float(n) for n in range(len(x.distances))]
            lines.append(Line(_temperature(x.temperature), xs, [d / x.distances[0] for d in x.distances], look))
            longest = max(longest, len(xs))
    rate = [study.discount**n for n in range(max(longest, 2))]
    bound = Line(f"bound γⁿ, γ = {study.discount:g}", [float(n) for n in range(len(rate))], rate, 1, bare=True)
    lines = [*lines, *([bound] if study.discount > 0 else [])]
    ends = (
        "" if method == "value iteration" else " A line ends where the fixed point is reached, as far as floats tell."
    )
    return Picture(
        method.replace(" ", "-"),
        method.capitalize(),
        r"$\lVert Q_n-Q^*\rVert$ as a share of $\lVert Q_0-Q^*\rVert$, logarithmic, one line a temperature; no line "
        f"may go above the thin one.{ends}",
        (Panel(f"{method}: distance to the fixed point", ITERATION, SHARE, tuple(lines), log_y=True),),
    )


def _bounds(study: ContractionStudy) -> Picture:
    shares, moves, halves = list[Line](), list[Line](), list[Line]()
    approaches = [x for x in study.approaches if x.method == "value iteration" and len(x.distances) > 1]
    for look, x in enumerate(approaches):
        xs, name = [float(n) for n in range(len(x.distances))], _temperature(x.temperature)
        for lines, bounds in ((shares, x.rate_bounds), (moves, x.step_bounds)):
            known = [(n, d / b) for n, d, b in zip(xs, x.distances, bounds, strict=True) if b]
            lines.append(Line(name, [n for n, _ in known], [y for _, y in known], look))
        halves.append(Line(name, xs, x.half_widths, look))
    return Picture(
        "bounds",
        "How tight the bounds are",
        "Value iteration. Above, the distance as a share of its two bounds: 1 is where a bound is met exactly, above 1 "
        "it would be exceeded. Below, half the width of the enclosure, logarithmic: the accuracy of its middle, which "
        "may be far nearer to the fixed point than the iterate itself.",
        (
            Panel("distance as a share of γⁿ · first distance", ITERATION, "share", tuple(shares)),
            Panel("distance as a share of the bound a posteriori", ITERATION, "share", tuple(moves)),
            Panel("half the enclosure", ITERATION, "units of reward", tuple(halves), log_y=True),
        ),
    )


def _limit(study: ContractionStudy) -> Picture:
    panels = []
    for gap in study.gaps:
        counting = gap.measure == "counting"
        sign = 1.0 if counting else -1.0
        near, far = (gap.least, gap.greatest) if counting else (gap.greatest, gap.least)
        bound = gap.upper if counting else gap.lower
        lines = []
        for look, (name, ys) in enumerate((("largest over states", far), ("smallest over states", near))):
            known = zip(gap.temperatures, ys, gap.resolution, strict=True)
            kept = [(alpha, sign * y) for alpha, y, width in known if sign * y > width]
            lines.append(Line(name, [alpha for alpha, _ in kept], [y for _, y in kept], look))
        lines.append(Line("bound α log A / (1 − γ)", gap.temperatures, [sign * y for y in bound], 1, bare=True))
        y_label = "soft value − hard value" if counting else "hard value − soft value"
        panels.append(Panel(TITLES[gap.measure], "temperature α (logarithmic)", y_label, tuple(lines), True, True))
    return Picture(
        "limit",
        "The hard limit",
        r"The distance from $V_\alpha$ to $V_0$ as $\alpha$ falls, both axes logarithmic. With the entropy as the "
        r"bonus $0\le V_\alpha-V_0\le\frac{\alpha\log A}{1-\gamma}$; with the uniform base measure the same "
        r"bound holds for $V_0-V_\alpha$. Gaps that cannot be told from rounding are left out.",
        tuple(panels),
    )
