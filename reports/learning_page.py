"""The page of `exactrl compare`: one file that opens without a network, and compare.json with every number on it.

compare.json, schema exactrl.compare/1:

    settings      command, versions, window, random_returns
    seed, resamples, confidence, metric, notes
    environments  env_id, at, common_last_step, warnings, thresholds,
                  groups (label, runs, mean, iqm, their intervals, profile, curve), pairs (probability, difference)
    normalised    the same of scores over all environments, with their references; null unless asked for

An interval is [low, high], or null where none exists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exactrl.errors import ExactRLError
from exactrl.files import write_json_atomically, write_text_atomically
from reports.learning_curves import comparison_tables, interval, number
from reports.learning_figures import Drawing, drawings, normalised_drawings
from reports.page import _environment

__all__ = ["sentences", "write_comparison"]

# Open pairs up to this many get a sentence each.
TOLD_APART = 3


def write_comparison(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write index.html, compare.json and NAME.svg, NAME.png of each picture, each whole or not at all.

    result: a dictionary of schema exactrl.compare/1 with `settings` and `notes`. Returns the path of the page.
    Raises ExactRLError where the folder cannot be written.
    """
    parts = result["environments"]
    labels = list(dict.fromkeys(group["label"] for part in parts for group in part["groups"]))
    looks = {label: k for k, label in enumerate(labels)}
    sections = [
        {"part": part, "sentences": sentences(part), "pictures": drawings(part, result["metric"], looks)}
        for part in parts
    ]
    overall = normalised_drawings(result["normalised"], looks) if result["normalised"] else []
    tables = comparison_tables(result)
    html = (
        _environment()
        .get_template("compare.html.j2")
        .render(
            title=f"{_and(labels)} on {_and([part['env_id'] for part in parts])}",
            result=result,
            sections=sections,
            tables={part["env_id"]: [t for t in tables if t[0].startswith(f"{part['env_id']},")] for part in parts},
            overall=overall,
            overall_tables=[table for table in tables if table[0].startswith("normalised")],
            small=any(len(group["runs"]) < 4 for part in parts for group in part["groups"]),
            number=number,
        )
    )
    for drawing in [*(drawing for section in sections for drawing in section["pictures"]), *overall]:
        _write_picture(folder, drawing)
    write_json_atomically(folder / "compare.json", result)
    page = folder / "index.html"
    write_text_atomically(page, html)
    return page


def sentences(part: Mapping[str, Any]) -> list[str]:
    """Return what the runs of one environment say, and what they leave open, in words."""
    several = [group for group in part["groups"] if len(group["runs"]) > 1]
    result = []
    if len(several) > 1:
        best = max(several, key=lambda group: float(group["iqm"]))
        result.append(
            f"The highest interquartile mean of the algorithms with more than one run is that of {best['label']}: "
            f"{number(best['iqm'])} {interval(best['iqm_interval'])}."
        )
    judged = [pair for pair in part["pairs"] if pair["welch_interval"] is not None]
    settled = [pair for pair in judged if _settles(pair)]
    rest = len(judged) - len(settled)
    # A sentence for each of many open pairs would bury the few that are settled; the table has them all.
    result += [_verdict(pair) for pair in (judged if rest <= TOLD_APART else settled)]
    if rest > TOLD_APART:
        result.append(f"Of {len(judged)} pairs the runs do not settle {rest}; the table of pairs has every interval.")
    if len(judged) > 1:
        result.append(
            f"These are {len(judged)} comparisons, each with an interval of its own and no correction for their number."
        )
    return result


def _settles(pair: Mapping[str, Any]) -> bool:
    low, high = pair["welch_interval"]
    return bool(low > 0 or high < 0)


def _verdict(pair: Mapping[str, Any]) -> str:
    low, high = pair["welch_interval"]
    told = f"the difference of the means is {number(pair['difference'])}, Welch 95% interval {interval((low, high))}"
    if not _settles(pair):
        return f"The runs do not settle which of {pair['first']} and {pair['second']} is higher: {told}."
    above, below = (pair["first"], pair["second"]) if low > 0 else (pair["second"], pair["first"])
    return f"{above} is above {below}: {told} ({pair['first']} minus {pair['second']})."


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _write_picture(folder: Path, drawing: Drawing) -> None:
    write_text_atomically(folder / f"{drawing.name}.svg", drawing.svg())
    path = folder / f"{drawing.name}.png"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(drawing.png())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ExactRLError(
            f"cannot write {path}: {error.strerror or error}; choose another folder with --html"
        ) from error
