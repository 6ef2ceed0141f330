"""The reference runs of an algorithm: read from SUITE/LABEL/seed-N, compared, drawn beside those of its peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deeprl.comparison import CompareOptions, compare_runs
from deeprl.results import RunResult, read_runs
from reports.algorithm_settings import departures
from reports.learning_curves import comparison_tables
from reports.learning_figures import drawings
from reports.learning_page import sentences

__all__ = ["Suites", "read_suites", "runs_of", "section_of"]

Suites = dict[str, list[RunResult]]
DRAWN = ("curves", "scores")


def read_suites(folder: Path) -> Suites:
    """Return the runs in SUITE/LABEL/seed-N/ under `folder`, suite by suite; nothing where there is no such folder.

    Raises ExactRLError for a run that cannot be read, naming the file.
    """
    if not folder.is_dir():
        return {}
    suites: Suites = {}
    for suite in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        labels = sorted(label for label in suite.iterdir() if any(label.glob("seed-[0-9]*")))
        found = [run for label in labels for run in read_runs(label, label=label.name)]
        if found:
            suites[suite.name] = found
    return suites


def runs_of(suites: Suites, name: str) -> Suites:
    """Return the runs of one algorithm by the suite, the shortest suite first: itself, its variants, then its peers."""
    chosen = {suite: [run for run in runs if _algorithm(run) == name] for suite, runs in suites.items()}
    for runs in chosen.values():
        runs.sort(key=lambda run: (run.label != name, not run.label.startswith(name), run.label, run.seed or 0))
    lengths = {suite: max(int(run.steps[-1]) for run in runs) for suite, runs in chosen.items() if runs}
    return {suite: chosen[suite] for suite in sorted(lengths, key=lambda suite: (lengths[suite], suite))}


def _algorithm(run: RunResult) -> str:
    """Return the algorithm of a run; of a peer's, "Stable-Baselines3 sac", what it is called here."""
    return str(run.config.get("algorithm", "")).rpartition(" ")[-1]


def section_of(suite: str, runs: Sequence[RunResult], name: str) -> dict[str, Any]:
    """Return what the template shows of one suite: tables, pictures, sentences, warnings, settings."""
    result = compare_runs(runs, CompareOptions())
    result["notes"] = []
    tables = comparison_tables(result)
    looks = {label: k for k, label in enumerate(dict.fromkeys(run.label for run in runs))}
    parts = []
    for part in result["environments"]:
        pictures = [
            replace(drawing, name=f"{suite}-{drawing.name}")
            for drawing in drawings(part, result["metric"], looks)
            if drawing.name.endswith(DRAWN)
        ]
        mine = [table for table in tables if table[0].startswith(f"{part['env_id']},")]
        parts.append({"part": part, "tables": mine, "pictures": pictures, "sentences": sentences(part)})
    return {
        "suite": suite,
        "count": len(runs),
        "result": result,
        "parts": parts,
        "departures": _departures(runs, name),
        "commands": _commands(runs),
    }


def _departures(runs: Sequence[RunResult], name: str) -> list[tuple[str, str]]:
    """Return for each label in which settings its first run differs from the defaults; peers have other settings."""
    first = {run.label: run.config for run in reversed(runs)}
    told = {label: departures(first[label], name) for label in dict.fromkeys(run.label for run in runs)}
    return [(label, text) for label, text in told.items() if text is not None]


def _commands(runs: Sequence[RunResult]) -> dict[str, str]:
    """Return the recorded command of the first run of each label."""
    return {run.label: str(run.config["command"]) for run in reversed(runs) if run.config.get("command")}
