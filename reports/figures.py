"""Pictures as inline SVG: drawn from the columns of an illustration, nothing computed.

Series differ by colour, line style and marker, and carry their names at their ends. Colours are CSS variables of the
page, so that a picture follows its light, dark and printed form. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from proofs_checks.illustrations import Illustration

__all__ = ["draw", "svg"]

# Drawn in these colours, then replaced by variables of the page: blue, orange, green and ink (Okabe and Ito's palette).
INK = "#010203"
COLOURS = ("#0072b2", "#d55e00", "#009e73")
VARIABLES = {INK: "var(--ink)", **{colour: f"var(--series-{k + 1})" for k, colour in enumerate(COLOURS)}}
# On top of the defaults, so that nobody's own settings change a picture.
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


@dataclass(frozen=True)
class Series:
    """One line: which column, the name at its end, which colour, line style and marker."""

    column: str
    label: str
    colour: int
    line: str = "-"
    marker: str = ""


@dataclass(frozen=True)
class Plot:
    """One picture: what stands on the axes, with units, and its series."""

    x: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False


TAU = "temperature τ (units of reward, logarithmic)"
REWARD = "units of reward"
PLOTS = {
    ("ecpo.lemma1", "estimator"): Plot(
        "K",
        "number of samples K",
        "component of the gradient (nats per logit)",
        tuple(
            series
            for j, marker in ((1, "o"), (2, "s"), (3, "^"))
            for series in (
                Series(f"expectation_{j}", f"estimator, component {j}", j - 1, "", marker),
                Series(f"gradient_{j}", f"gradient, component {j}", j - 1, ("--", "-.", ":")[j - 1]),
            )
        ),
    ),
    ("ecpo.thm1.fixed", "regret"): Plot(
        "t",
        "step t",
        f"cumulative regret ({REWARD})",
        (
            Series("regret_times_20", "rewards 20 times larger", 1, "-", "s"),
            Series("bound", "bound of Theorem 1", 2, "--"),
            Series("regret_within_1", "rewards within [−1, 1]", 0, "-", "o"),
        ),
    ),
    ("ecpo.thm2.monotone", "path"): Plot(
        "t",
        "iteration t",
        REWARD,
        (
            Series("surrogate", "surrogate SR", 0, "-", "o"),
            Series("expected_return", "expected return", 1, "--", "s"),
        ),
    ),
    ("ecpo.lemma2.lower", "bound"): Plot(
        "tau",
        TAU,
        REWARD,
        (Series("surrogate", "surrogate SR", 0), Series("lower", "lower bound", 1, "--")),
        log_x=True,
    ),
    ("ecpo.lemma2.upper", "bound"): Plot(
        "tau",
        TAU,
        REWARD,
        (Series("upper", "upper bound", 1, "--"), Series("surrogate", "surrogate SR", 0)),
        log_x=True,
    ),
    ("ecpo.sec4.onesample", "value"): Plot(
        "tau",
        TAU,
        REWARD,
        (Series("soft_value", "soft optimal value", 0), Series("estimate", "one-sample estimate", 1, "--")),
        log_x=True,
    ),
}


def svg(illustration: Illustration) -> Markup:
    """Return the picture as one `<svg>` element with its title for screen readers, its ids unique to the page."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{illustration.claim_id}-{illustration.kind}")
    with style.context(["default", {**STYLE, "svg.hashsalt": name}]):
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        draw(illustration).savefig(buffer, format="svg", metadata=no_metadata, transparent=True)
    return Markup(_inline(buffer.getvalue(), name, str(escape(illustration.title.replace("$", "")))))


def draw(illustration: Illustration) -> Figure:
    """Return the picture as a figure; an illustration without a plot of its own is drawn column by column."""
    plot = PLOTS.get((illustration.claim_id, illustration.kind)) or _plain_plot(illustration)
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(7.2, 3.6))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.09, 0.15, 0.63, 0.80))
        xs = illustration.data[plot.x]
        for series in plot.series:
            colour = COLOURS[series.colour % len(COLOURS)]
            axes.plot(xs, illustration.data[series.column], series.line or " ", marker=series.marker, color=colour)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        _scale_x(axes, plot.log_x)
        axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
        _label_ends(axes, plot, illustration)
    return figure


def _plain_plot(illustration: Illustration) -> Plot:
    x, *columns = illustration.data
    lines = ("-", "--", "-.", ":")
    series = tuple(Series(column, column, k, lines[k % len(lines)]) for k, column in enumerate(columns))
    return Plot(x, x, "value", series)


def _scale_x(axes: Axes, logarithmic: bool) -> None:
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _label_ends(axes: Axes, plot: Plot, illustration: Illustration) -> None:
    """Write the name of each series to the right of its last point, moved apart where names would overlap."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    ends = sorted((illustration.data[series.column][-1], k) for k, series in enumerate(plot.series))
    gap = 0.065 * (high - low)
    heights = [height for height, _ in ends]
    for below, above in pairwise(range(len(heights))):
        heights[above] = max(heights[above], heights[below] + gap)
    excess = max(0.0, heights[-1] - high)
    for height, (_, k) in zip(heights, ends, strict=True):
        series = plot.series[k]
        axes.annotate(
            series.label,
            (1.02, height - excess),
            xycoords=("axes fraction", "data"),
            color=COLOURS[series.colour % len(COLOURS)],
            va="center",
            annotation_clip=False,
        )


def _inline(document: str, name: str, title: str) -> str:
    """Turn a whole SVG document into an element of a page: no prologue, no foreign addresses, ids of its own."""
    body = document[document.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    for colour, variable in VARIABLES.items():
        body = re.sub(colour, variable, body, flags=re.IGNORECASE)
    box = re.search(r'viewBox="[^"]+"', body)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box.group(0) if box else ""} role="img" '
        f'aria-labelledby="{name}-title"><title id="{name}-title">{title}</title>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1)
