"""Pictures of the reports: panels of lines with their names at their ends, or of dots in rows; and their tables.

A picture is data first: its table holds every number drawn.  Lines differ by colour, style and marker; steps that go
down are ringed.  The same data give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from reports.figures import COLOURS, INK, STYLE, VARIABLES, _inline

__all__ = ["Line", "Panel", "Picture", "draw", "inline_svg", "png", "svg", "table"]

# Okabe and Ito's palette again, the light ones darkened: blue, orange, green, purple, brown, grey.
PALETTE = (*COLOURS, "#a0498a", "#7a5200", "#5b616b")
EXTRA = {colour: f"var(--series-{k + 1})" for k, colour in enumerate(PALETTE) if k >= len(COLOURS)}
LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
WIDTH, LEFT, RIGHT, LABEL_GAP = 8.6, 0.115, 0.66, 0.087
ROWS_LEFT, ROWS_RIGHT = 0.44, 0.78


@dataclass(frozen=True)
class Line:
    """One series: its name, its points, its look (a place in palette, styles and markers), and which points fell.

    bare: a bound or another line to compare with, drawn thin, in ink, without markers.
    """

    name: str
    xs: list[float]
    ys: list[float]
    look: int = 0
    fell: tuple[int, ...] = ()
    bare: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes, each with its unit; rows: names of the ys where the panel is one of dots in rows."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False
    rows: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class Picture:
    """One or more panels under one another, with a title and a caption ($...$ for formulas)."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 1


def table(picture: Picture) -> tuple[list[str], list[list[Any]]]:
    """The header and the rows of the picture's CSV: every number drawn, and which points are ringed as falls."""
    header = ["panel", "series", "x_axis", "x", "y_axis", "y", "fell"]
    rows = []
    for panel in picture.panels:
        for line in panel.lines:
            for k, (x, y) in enumerate(zip(line.xs, line.ys, strict=True)):
                y_axis = panel.rows[round(y)] if panel.rows else panel.y_label
                rows.append(
                    [panel.title.replace("\n", ", "), line.name, panel.x_label, x, y_axis, y, int(k in line.fell)]
                )
    return header, rows


def draw(picture: Picture) -> Figure:
    """Return the picture as a figure."""
    columns = picture.columns
    above = 0.3 + 0.16 * max(panel.title.count("\n") for panel in picture.panels)
    heights = [above + 0.45 + (0.27 * len(panel.rows) if panel.rows else 2.35) for panel in picture.panels[::columns]]
    total = sum(heights)
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, total))
        FigureCanvasAgg(figure)
        for k, panel in enumerate(picture.panels):
            row, column = divmod(k, columns)
            bottom = 1 - (sum(heights[: row + 1]) - 0.5) / total
            left, right = (ROWS_LEFT, ROWS_RIGHT) if panel.rows else (LEFT, RIGHT)
            width = right - left if columns == 1 else 1 / columns - LEFT - 0.02
            axes = figure.add_axes((left + column / columns, bottom, width, (heights[row] - above - 0.55) / total))
            _panel(axes, panel)
            if columns == 1 and not panel.rows:
                _label_ends(axes, panel)
    return figure


def svg(picture: Picture) -> str:
    """The picture as an SVG document of its own, white behind it."""
    return _saved(picture, transparent=False).decode("utf-8")


def inline_svg(picture: Picture) -> Markup:
    """The picture as an element of a page whose colours it takes; its ids are its own."""
    body = _inline(_saved(picture, transparent=True).decode("utf-8"), picture.name, str(escape(picture.title)))
    for colour, variable in {**VARIABLES, **EXTRA}.items():
        body = re.sub(colour, variable, body, flags=re.IGNORECASE)
    return Markup(body)


def png(picture: Picture) -> bytes:
    """The picture as a PNG at 160 dots an inch."""
    buffer = io.BytesIO()
    with style.context(["default", STYLE]):
        draw(picture).savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return buffer.getvalue()


def _saved(picture: Picture, *, transparent: bool) -> bytes:
    buffer = io.BytesIO()
    with style.context(["default", {**STYLE, "svg.hashsalt": picture.name}]):
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        draw(picture).savefig(buffer, format="svg", metadata=metadata, transparent=transparent)
    return buffer.getvalue()


def _panel(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        _line(axes, line, dots=bool(panel.rows))
    axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", color=INK)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if panel.rows:
        axes.set_yticks(range(len(panel.rows)), panel.rows)
        axes.set_ylim(len(panel.rows) - 0.5, -0.5)
        axes.set_xlim(left=-0.8)
        axes.grid(color=INK, alpha=0.15, linewidth=0.6)
        _key(axes, panel)
        return
    if panel.log_x:
        axes.set_xscale("log")
        xs = sorted({x for line in panel.lines for x in line.xs})
        axes.set_xticks(xs if len(xs) < 10 else [x for x in xs if math.isclose(math.log10(x) % 1, 0, abs_tol=1e-9)])
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.log_y:
        axes.set_yscale("log")
        written = FuncFormatter(lambda value, _: f"{value:,.6g}")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_formatter(written)
        axes.yaxis.set_minor_formatter(written if high < 10 * low else NullFormatter())
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)


def _line(axes: Axes, line: Line, *, dots: bool) -> None:
    colour = INK if line.bare else PALETTE[line.look % len(PALETTE)]
    look = LINES[line.look % len(LINES)]
    if dots:
        axes.plot(line.xs, line.ys, " ", marker=MARKERS[line.look % len(MARKERS)], color=colour, clip_on=False, ms=7,
                  mfc=colour if line.look == 0 else "none", mew=1.6)  # fmt: skip
        return
    every = max(1, len(line.xs) // 12)
    marker = "" if line.bare else MARKERS[line.look % len(MARKERS)]
    axes.plot(line.xs, line.ys, linestyle=look, marker=marker, markevery=every, color=colour,
              linewidth=1.1 if line.bare else 1.8)  # fmt: skip
    falls = [(line.xs[k], line.ys[k]) for k in line.fell]
    if falls:
        axes.plot(*zip(*falls, strict=True), " ", marker="o", markersize=10, mfc="none", mec=colour, mew=1.4)


def _key(axes: Axes, panel: Panel) -> None:
    for k, line in enumerate(panel.lines):
        colour, marker = PALETTE[line.look % len(PALETTE)], MARKERS[line.look % len(MARKERS)]
        y = 0.95 - 0.2 * k
        face = colour if line.look == 0 else "none"
        place = {"transform": axes.transAxes, "clip_on": False}
        axes.plot([1.06], [y], " ", marker=marker, color=colour, mfc=face, ms=7, mew=1.6, **place)
        axes.annotate(
            fill(line.name, 18), (1.10, y), xycoords="axes fraction", color=colour, va="center", annotation_clip=False
        )


def _label_ends(axes: Axes, panel: Panel) -> None:
    """Write each name to the right of its line's end, moved apart where names would overlap, with a thin leader."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    transform = (lambda y: math.log10(y)) if panel.log_y else (lambda y: y)
    scale = transform(high) - transform(low)
    ends = []
    for k, line in enumerate(panel.lines):
        points = [(x, y) for x, y in zip(line.xs, line.ys, strict=True) if not panel.log_y or y > 0]
        if points:
            ends.append(((transform(points[-1][1]) - transform(low)) / scale, k, points[-1]))
    ends.sort()
    heights = [height for height, _, _ in ends]
    heights = _spread(heights, min(LABEL_GAP, 1.0 / max(1, len(heights))))
    for height, (_, k, point) in zip(heights, ends, strict=True):
        colour = INK if panel.lines[k].bare else PALETTE[panel.lines[k].look % len(PALETTE)]
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.7, "shrinkB": 3, "relpos": (0, 0.5)}
        axes.annotate(
            panel.lines[k].name, point, (1.06, height), xycoords="data", textcoords="axes fraction", color=colour,
            va="center", annotation_clip=False, fontsize=9.5,
            arrowprops=leader,
        )  # fmt: skip


def _spread(heights: list[float], gap: float) -> list[float]:
    """Move heights (ascending) apart by at least the gap, each cluster about its own middle, within [0, 1]."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while (
            len(groups) > 1
            and _middle(groups[-1], gap) - _middle(groups[-2], gap) < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_middle(group, gap) + gap * (k - (len(group) - 1) / 2) for group in groups for k in range(len(group))]


def _middle(group: list[float], gap: float) -> float:
    reach = gap * (len(group) - 1) / 2
    return min(max(sum(group) / len(group), reach), 1 - reach)
