"""Pictures of a comparison: learning curves, scores with intervals, performance profiles, probabilities of improvement.

Drawn from the dictionaries of `deeprl.comparison`, nothing computed. Colours are variables of the page, as in the other
reports; an algorithm has one colour, line and marker in all pictures. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports.figures import INK, STYLE, VARIABLES, _inline
from reports.panels import EXTRA, LINES, MARKERS, PALETTE, WIDTH, Line, Panel, _label_ends

__all__ = ["Drawing", "drawings", "normalised_drawings"]

BAND, FAINT = 0.16, 0.3
LEFT, RIGHT = 0.115, 0.70
ROW_LEFT, ROW_RIGHT, ROW_HEIGHT = 0.26, 0.95, 0.46
HIDDEN = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True)
class Drawing:
    """One picture: the name of its files, title, caption, and how it is drawn."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]

    def inline(self) -> Markup:
        """The picture as an element of a page whose colours it takes."""
        body = _inline(self._svg(transparent=True), self.name, str(escape(self.title)))
        for colour, variable in {**VARIABLES, **EXTRA}.items():
            body = re.sub(colour, variable, body, flags=re.IGNORECASE)
        return Markup(body)

    def svg(self) -> str:
        """The picture as an SVG document of its own, white behind it."""
        return self._svg(transparent=False)

    def png(self) -> bytes:
        """The picture as a PNG at 160 dots an inch."""
        buffer = io.BytesIO()
        with style.context(["default", STYLE]):
            self.draw().savefig(buffer, format="png", dpi=160, metadata={"Software": None})
        return buffer.getvalue()

    def _svg(self, *, transparent: bool) -> str:
        buffer = io.BytesIO()
        with style.context(["default", {**STYLE, "svg.hashsalt": self.name}]):
            self.draw().savefig(buffer, format="svg", metadata=HIDDEN, transparent=transparent)
        return buffer.getvalue().decode("utf-8")


def drawings(part: Mapping[str, Any], metric: str, looks: Mapping[str, int]) -> list[Drawing]:
    """Return the pictures of one environment; looks: the place of each label among palette, lines and markers."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", part["env_id"]).strip("-")
    groups, unit = part["groups"], f"{metric} at step {part['at']:,}"
    result = [
        Drawing(
            f"{name}-curves",
            "Learning curves",
            "Thick: mean over the runs. Band: bootstrap 95% interval of that mean, step by step. Faint: the runs.",
            lambda: _curves(part, metric, looks),
        ),
        Drawing(
            f"{name}-scores",
            "Scores with intervals",
            "Bar: bootstrap 95% interval of the interquartile mean, the tick in it. Diamond and whiskers: mean and its "
            "95% interval from Student's t, the more cautious one. Faint dots: the runs.",
            lambda: _scores(groups, unit, looks),
        ),
        _profile_drawing(name, part, unit, looks),
    ]
    return [*result, _improvement_drawing(name, part["pairs"])] if part["pairs"] else result


def normalised_drawings(part: Mapping[str, Any], looks: Mapping[str, int]) -> list[Drawing]:
    """Return the pictures of the normalised scores over all environments."""
    result = [_profile_drawing("normalised", part, "normalised score", looks)]
    return [*result, _improvement_drawing("normalised", part["pairs"])] if part["pairs"] else result


def _profile_drawing(name: str, part: Mapping[str, Any], unit: str, looks: Mapping[str, int]) -> Drawing:
    return Drawing(
        f"{name}-profiles",
        "Performance profiles",
        "The share of runs that score above a threshold, with bootstrap 95% bands. Where one curve is above "
        "another, more of its runs are beyond that threshold.",
        lambda: _profiles(part, unit, looks),
    )


def _improvement_drawing(name: str, pairs: Sequence[Mapping[str, Any]]) -> Drawing:
    return Drawing(
        f"{name}-improvement",
        "Probability of improvement",
        "How likely a run of the first algorithm scores above a run of the second, with bootstrap 95% intervals; on "
        "the dashed line neither tends to be higher. Open: one run only on a side, so no interval.",
        lambda: _improvement(pairs),
    )


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    return figure


def _axes(height: float, left: float = LEFT, right: float = RIGHT) -> Axes:
    return _figure(height).add_axes((left, 0.55 / height, right - left, 1 - 0.7 / height))


def _colour(look: int) -> str:
    return PALETTE[look % len(PALETTE)]


def _line(look: int) -> Any:
    """Line styles shift with every round through the palette, so that a seventh algorithm is not the first again."""
    return LINES[(look + look // len(PALETTE)) % len(LINES)]


def _grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=INK, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)


def _curves(part: Mapping[str, Any], metric: str, looks: Mapping[str, int]) -> Figure:
    unit, word = _steps_unit(part["common_last_step"])
    with style.context(["default", STYLE]):
        axes = _axes(4.0)
        lines = []
        for group in part["groups"]:
            look, curve = looks[group["label"]], group["curve"]
            xs = [step / unit for step in curve["steps"]]
            if curve["low"] is not None:
                axes.fill_between(xs, curve["low"], curve["high"], color=_colour(look), alpha=BAND, linewidth=0)
                for run in curve["runs"]:
                    axes.plot(xs, run, color=_colour(look), alpha=FAINT, linewidth=0.8)
            every = max(1, len(xs) // 10)
            axes.plot(xs, curve["mean"], linestyle=_line(look), marker=MARKERS[look % len(MARKERS)], markevery=every,
                      color=_colour(look))  # fmt: skip
            lines.append(Line(group["label"], xs, curve["mean"], look))
        if part["at"] < part["common_last_step"]:
            axes.axvline(part["at"] / unit, color=INK, linewidth=0.9, linestyle=":")
        axes.set_xlim(0, part["common_last_step"] / unit or 1)
        axes.set_xlabel(f"environment steps{word}")
        axes.set_ylabel(metric)
        axes.yaxis.set_major_formatter(_thousands())
        _grid(axes, "y")
        _label_ends(axes, Panel("", "", "", tuple(lines)))
    return axes.get_figure()  # type: ignore[return-value]


def _steps_unit(last: int) -> tuple[float, str]:
    if last >= 1_000_000:
        return 1e6, " (millions)"
    return (1e3, " (thousands)") if last >= 5_000 else (1.0, "")


def _thousands() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value:,.6g}".replace("-", "−"))


def _scores(groups: Sequence[Mapping[str, Any]], unit: str, looks: Mapping[str, int]) -> Figure:
    with style.context(["default", STYLE]):
        axes = _rows([group["label"] for group in groups])
        for row, group in enumerate(groups):
            colour = _colour(looks[group["label"]])
            axes.plot([run["score"] for run in group["runs"]], [row] * len(group["runs"]), " ", marker="o",
                      color=colour, alpha=0.45, markersize=5, markeredgewidth=0)  # fmt: skip
            if group["iqm_interval"] is not None:
                low, high = group["iqm_interval"]
                axes.barh([row - 0.17], [high - low], left=low, height=0.22, color=colour, alpha=0.35, linewidth=0)
            axes.plot([group["iqm"]] * 2, [row - 0.30, row - 0.04], color=colour, linewidth=2.6)
            axes.plot([group["mean"]], [row + 0.20], marker="D", color=colour, markersize=5)
            if group["mean_t_interval"] is not None:
                axes.plot(group["mean_t_interval"], [row + 0.20] * 2, color=colour, linewidth=1.4, marker="|")
        axes.set_xlabel(unit)
        axes.xaxis.set_major_formatter(_thousands())
    return axes.get_figure()  # type: ignore[return-value]


def _rows(names: Sequence[str]) -> Axes:
    """Axes with one row for each name, the first on top."""
    axes = _axes(0.9 + ROW_HEIGHT * len(names), ROW_LEFT, ROW_RIGHT)
    axes.set_yticks(range(len(names)), [fill(name, 26) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _grid(axes, "x")
    return axes


def _profiles(part: Mapping[str, Any], unit: str, looks: Mapping[str, int]) -> Figure:
    with style.context(["default", STYLE]):
        axes = _axes(3.6)
        for group in part["groups"]:
            look = looks[group["label"]]
            if group["profile_low"] is not None:
                axes.fill_between(part["thresholds"], group["profile_low"], group["profile_high"], step="post",
                                  color=_colour(look), alpha=BAND, linewidth=0)  # fmt: skip
            axes.step(part["thresholds"], group["profile"], where="post", color=_colour(look), linestyle=_line(look),
                      label=fill(group["label"], 26))  # fmt: skip
        axes.set_xlim(part["thresholds"][0], part["thresholds"][-1])
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"threshold ({unit})")
        axes.set_ylabel("share of runs above it")
        axes.xaxis.set_major_formatter(_thousands())
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, handlelength=2.6)
        _grid(axes, "y")
    return axes.get_figure()  # type: ignore[return-value]


def _improvement(pairs: Sequence[Mapping[str, Any]]) -> Figure:
    with style.context(["default", STYLE]):
        axes = _rows([f"{pair['first']} > {pair['second']}" for pair in pairs])
        axes.axvline(0.5, color=INK, linewidth=0.9, linestyle="--")
        for row, pair in enumerate(pairs):
            ends = pair["probability_interval"]
            if ends is not None:
                axes.barh(
                    [row], [ends[1] - ends[0]], left=ends[0], height=0.3, color=PALETTE[0], alpha=0.35, linewidth=0
                )
            axes.plot([pair["probability"]], [row], marker="o", color=PALETTE[0], markersize=7, clip_on=False,
                      markerfacecolor=PALETTE[0] if ends is not None else "none", markeredgewidth=1.6)  # fmt: skip
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("probability that a run of the first scores above a run of the second")
    return axes.get_figure()  # type: ignore[return-value]
