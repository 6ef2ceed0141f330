"""What makes runs less comparable than they look: sentences for people, each with the numbers it speaks of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from deeprl.results import EVALUATION_EPISODES, SMOOTHED, TRAINING_MEANS, WINDOWS, RunResult
from deeprl.statistics import bootstrap_coverage

__all__ = ["separations", "warnings_of"]

Groups = Mapping[str, Sequence[RunResult]]

#: Simulators: another version of one of these is another environment.
SIMULATORS = ("mujoco", "gymnasium")
FEW_RUNS = 10
#: Settings that two runs of one algorithm may differ in, or that another sentence speaks of.
INCIDENTAL = {
    *("seed", "seeds", "jobs", "threads", "device", "compile", "out", "seconds", "versions", "env_id", "algorithm"),
    *("command", "tensorboard", "capture_video", "track", "log_interval", "checkpoint_interval"),
    *("evaluation_interval", "evaluation_episodes", "total_timesteps"),
}


def warnings_of(env_id: str, groups: Groups, at: int, common: int, window: int | None = None) -> list[str]:
    """One sentence for each thing a reader has to know before believing a comparison of these runs.

    at: the step of the scores. common: the last step that all runs have. window: as in `RunResult.curve`.
    """
    runs = [run for group in groups.values() for run in group]
    return [
        *_lengths(runs, common),
        *_versions(runs),
        *_sources(groups, window),
        *_episodes(runs, at),
        *_settings(groups),
        *_seeds(groups),
        *_few(groups),
        *([] if runs[0].env_id else [f"No file names its environment ({env_id}): --env-id does."]),
    ]


def separations(scores: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """One sentence for each pair of which every run of one scores above every run of the other.

    Resampling then never leaves that order, and the interval of the probability has no width. What chance does
    instead is counted: of all orders of N + N' runs that are alike, 2 in (N + N' choose N) separate them.
    """
    result = []
    for first, second in combinations(scores, 2):
        x, y = scores[first], scores[second]
        if min(len(x), len(y)) < 2 or (x.min() <= y.max() and y.min() <= x.max()):
            continue
        above, below = (first, second) if x.min() > y.max() else (second, first)
        orders = comb(len(x) + len(y), len(x)) / 2
        result.append(
            f"Every run of {above} scores above every run of {below}, so the bootstrap interval of that "
            "probability has no width. It is no certainty: if the two were alike, one would lie above the other in "
            f"1 of {orders:.3g} cases."
        )
    return result


def _lengths(runs: Sequence[RunResult], common: int) -> list[str]:
    result = []
    lasts = _by_value([(run.name, f"{int(run.steps[-1]):,}") for run in runs])
    if len(lasts) > 1:
        result.append(f"The runs end at different steps ({_told(lasts)}); they are compared up to step {common:,}.")
    planned = [(run.name, run.config.get("total_timesteps")) for run in runs]
    totals = _by_value([(name, f"{total:,}") for name, total in planned if isinstance(total, int)])
    if len(totals) > 1:
        result.append(
            f"The runs were planned for different numbers of steps ({_told(totals)}): settings that follow a schedule "
            "differ at the same step."
        )
    return result


def _versions(runs: Sequence[RunResult]) -> list[str]:
    result = []
    for package in SIMULATORS:
        found = _by_value([(run.name, run.versions[package]) for run in runs if package in run.versions])
        if len(found) > 1:
            result.append(f"Versions of {package} differ ({_told(found)}): that changes results.")
    silent = [run.name for run in runs if not set(SIMULATORS) & set(run.versions)]
    if silent and len(silent) < len(runs):
        result.append(f"No simulator versions are recorded for {_list(silent)}; other versions change results.")
    return result


def _sources(groups: Groups, window: int | None) -> list[str]:
    result = []
    found: dict[str, list[str]] = {}
    for label, group in groups.items():
        for source in dict.fromkeys(run.source for run in group):
            found.setdefault(source, []).append(label)
    if len(found) > 1:
        result.append(f"Not the same quantity: {_told(found)}. Training returns include exploration.")
    for source in sorted(SMOOTHED & set(found)):
        width = window or WINDOWS.get(source, 1)
        if width > 1:
            result.append(f"Scores of {_list(found[source])} are means over the last {width} {source} (--window).")
    if TRAINING_MEANS in found:
        result.append(f"Scores of {_list(found[TRAINING_MEANS])} are means over past training episodes, as logged.")
    return result


def _episodes(runs: Sequence[RunResult], at: int) -> list[str]:
    result = []
    steps = _by_value([(run.name, f"{int(run.steps[run.index_at(at)]):,}") for run in runs])
    if len(steps) > 1:
        result.append(f"Not every run was evaluated at step {at:,}: the last before it is taken ({_told(steps)}).")
    evaluated = [run for run in runs if run.source == EVALUATION_EPISODES]
    counts = _by_value([(run.name, str(len(run.returns[run.index_at(at)]))) for run in evaluated])
    if len(counts) > 1:
        result.append(f"Scores are means over different numbers of evaluation episodes ({_told(counts)}).")
    return result


def _settings(groups: Groups) -> list[str]:
    """Runs under one label that were not trained alike."""
    result = []
    for label, group in groups.items():
        configs = [run.config for run in group if run.config]
        names = sorted({name for config in configs for name in config} - INCIDENTAL)
        differing = [name for name in names if len({_key(config.get(name)) for config in configs}) > 1]
        if differing:
            result.append(f"Runs of {label} were trained with different settings: {_list(differing)}.")
    return result


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _seeds(groups: Groups) -> list[str]:
    result = []
    for label, group in groups.items():
        known = [run.seed for run in group if run.seed is not None]
        twice = sorted({seed for seed in known if known.count(seed) > 1})
        if twice:
            result.append(f"{label} has several runs with seed {_list([str(seed) for seed in twice])}.")
    return result


def _few(groups: Groups) -> list[str]:
    result = []
    single = [label for label, group in groups.items() if len(group) == 1]
    if single:
        result.append(
            f"One run only of {_list(single)}: its mean is shown, but no interval exists. Train more seeds, or give "
            "the files of one algorithm the same label (label=FILE label=FILE)."
        )
    for count in sorted({len(group) for group in groups.values() if 1 < len(group) < FEW_RUNS}):
        labels = [label for label, group in groups.items() if len(group) == count]
        result.append(
            f"With {count} runs ({_list(labels)}) a bootstrap 95% interval is too narrow: of normal scores it covers "
            f"the true mean in {100 * bootstrap_coverage(count):.0f} of 100 experiments. Trust the t intervals instead."
        )
    return result


def _by_value(values: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for name, value in values:
        result.setdefault(value, []).append(name)
    return result


def _told(found: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value}: {_list(names)}" for value, names in found.items())


def _list(names: Sequence[str]) -> str:
    """The names, the middle ones counted where there are many."""
    names = list(dict.fromkeys(names))
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return ", ".join(names)
