"""Runs of several algorithms side by side: one comparison an environment, at a step that every run has reached.

The result is plain data, ready for JSON; the terminal and the page show nothing else. A warning names whatever makes
the runs less comparable than they look: other simulator versions, other lengths, few runs, training returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprl.comparison_warnings import separations, warnings_of
from deeprl.results import RunResult
from deeprl.statistics import (
    CONFIDENCE,
    RESAMPLES,
    GroupEstimates,
    PairEstimates,
    curve_band,
    estimate_group,
    estimate_pair,
)
from exactrl.errors import ExactRLError

__all__ = ["CompareOptions", "compare_runs", "pieces_of"]

SCHEMA = "exactrl.compare/1"
Groups = dict[str, list[RunResult]]

THRESHOLDS = 101
CURVE_POINTS = 200


@dataclass(frozen=True)
class CompareOptions:
    """What the numbers depend on, besides the runs.

    at: the step of the scores, the last that all runs have where None. window: entries that a score of a training log
    is the mean of. random_returns: environment -> return of a random policy, the zero of normalised scores.
    """

    at: int | None = None
    seed: int = 0
    resamples: int = RESAMPLES
    metric: str = "return"
    window: int | None = None
    normalise: bool = False
    random_returns: Mapping[str, float] = field(default_factory=dict)


def pieces_of(runs: Sequence[RunResult], options: CompareOptions) -> int:
    """How many times `compare_runs` will call `advance`."""
    sizes = [len(groups) for groups in _environments(runs).values()]
    pieces = sum(2 * size + size * (size - 1) // 2 for size in sizes)
    return pieces + (sizes[0] + sizes[0] * (sizes[0] - 1) // 2 if options.normalise else 0)


def compare_runs(
    runs: Sequence[RunResult], options: CompareOptions, advance: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Compare the runs, environment by environment, and over all of them where scores are to be normalised.

    Returns a dictionary of schema exactrl.compare/1, described in `reports.learning_page`.
    Raises ExactRLError for no runs, a run given twice, a step that some run has not reached, and where scores cannot be
    normalised: no return of a random policy, an algorithm missing in an environment, unequal numbers of runs.
    """
    if not runs:
        raise ExactRLError("no runs to compare, expected at least one")
    _refuse_doubles(runs)
    environments = [_compare_environment(env, groups, options, advance) for env, groups in _environments(runs).items()]
    return {
        "schema": SCHEMA,
        "metric": options.metric,
        "confidence": CONFIDENCE,
        "seed": options.seed,
        "resamples": options.resamples,
        "environments": environments,
        "normalised": _compare_normalised(environments, options, advance) if options.normalise else None,
    }


def _environments(runs: Sequence[RunResult]) -> dict[str, Groups]:
    """Runs by environment, then by label, each in the order in which it was first given."""
    result: dict[str, Groups] = {}
    for run in runs:
        result.setdefault(run.env_id or "an unnamed environment", {}).setdefault(run.label, []).append(run)
    return result


def _refuse_doubles(runs: Sequence[RunResult]) -> None:
    for first, second in combinations(runs, 2):
        if first.label != second.label or first.env_id != second.env_id or first.seed != second.seed:
            continue
        if first.path.resolve() == second.path.resolve() and first.seed is not None:
            raise ExactRLError(f"{first.name} ({first.path}) is given twice: copies make intervals too narrow")
        same = first.steps.shape == second.steps.shape and np.array_equal(first.curve(1), second.curve(1))
        if same and np.array_equal(first.steps, second.steps):
            paths = f"{first.path} and {second.path}"
            raise ExactRLError(
                f"{paths} hold the same results under the label {first.label}: is one a copy? Leave it out"
            )


def _compare_environment(
    env_id: str, groups: Groups, options: CompareOptions, advance: Callable[[], object]
) -> dict[str, Any]:
    everyone = [run for group in groups.values() for run in group]
    shortest = min(everyone, key=lambda run: int(run.steps[-1]))
    common = int(shortest.steps[-1])
    at = common if options.at is None else options.at
    if at > common:
        raise ExactRLError(
            f"{env_id}: not every run has reached step {at}; {shortest.name} ({shortest.path}) ends at step {common}, "
            f"expected --at {common} or less"
        )
    entries = {label: [_run_entry(run, at, options) for run in group] for label, group in groups.items()}
    scores = {label: np.array([entry["score"] for entry in group]) for label, group in entries.items()}
    thresholds = _thresholds(np.concatenate(list(scores.values())))
    made = []
    for label, group in groups.items():
        estimates = estimate_group(scores[label], thresholds, resamples=options.resamples, seed=options.seed)
        advance()
        curve = _curve(group, common, options)
        advance()
        made.append({"label": label, "runs": entries[label], **_group_entry(estimates), "curve": curve})
    return {
        "env_id": env_id,
        "at": at,
        "common_last_step": common,
        "warnings": warnings_of(env_id, groups, at, common, options.window) + separations(scores),
        "thresholds": thresholds.tolist(),
        "groups": made,
        "pairs": _pairs(scores, options, advance),
    }


def _run_entry(run: RunResult, at: int, options: CompareOptions) -> dict[str, Any]:
    index = run.index_at(at)
    return {
        "path": str(run.path),
        "seed": run.seed,
        "source": run.source,
        "step": int(run.steps[index]),
        "episodes": len(run.returns[index]),
        "score": float(run.curve(options.window)[index]),
        "last_step": int(run.steps[-1]),
        "versions": run.versions,
    }


def _thresholds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evenly spaced over all scores and a little beyond them."""
    low, high = float(scores.min()), float(scores.max())
    beyond = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return np.linspace(low - beyond, high + beyond, THRESHOLDS)


def _group_entry(made: GroupEstimates) -> dict[str, Any]:
    return {
        "mean": made.mean,
        "standard_deviation": made.standard_deviation,
        "mean_t_interval": _ends(made.mean_t_interval),
        "mean_bootstrap_interval": _ends(made.mean_bootstrap_interval),
        "iqm": made.iqm,
        "iqm_interval": _ends(made.iqm_interval),
        "profile": made.profile.tolist(),
        "profile_low": None if made.profile_low is None else made.profile_low.tolist(),
        "profile_high": None if made.profile_high is None else made.profile_high.tolist(),
    }


def _curve(group: Sequence[RunResult], common: int, options: CompareOptions) -> dict[str, Any]:
    """Scores of each run on the steps of the group, each held until the run's next evaluation; mean and band."""
    first = max(int(run.steps[0]) for run in group)
    steps = np.unique(np.concatenate([run.steps for run in group]))
    steps = steps[(steps >= min(first, common)) & (steps <= common)]
    if len(steps) > CURVE_POINTS:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, CURVE_POINTS).round().astype(int))]
    places = [np.searchsorted(run.steps, steps, side="right") - 1 for run in group]
    scores = np.stack([run.curve(options.window)[place] for run, place in zip(group, places, strict=True)])
    band = curve_band(scores, resamples=options.resamples, seed=options.seed) if len(group) > 1 else None
    return {
        "steps": steps.tolist(),
        "runs": scores.tolist(),
        "mean": scores.mean(axis=0).tolist(),
        "low": band[0].tolist() if band else None,
        "high": band[1].tolist() if band else None,
    }


def _pairs(
    scores: Mapping[str, NDArray[np.float64]], options: CompareOptions, advance: Callable[[], object]
) -> list[dict[str, Any]]:
    result = []
    for first, second in combinations(scores, 2):
        made = estimate_pair(scores[first], scores[second], resamples=options.resamples, seed=options.seed)
        result.append({"first": first, "second": second, **_pair_entry(made)})
        advance()
    return result


def _pair_entry(made: PairEstimates) -> dict[str, Any]:
    return {
        "probability": made.probability,
        "probability_interval": _ends(made.probability_interval),
        "difference": made.difference,
        "difference_interval": _ends(made.difference_interval),
        "welch_interval": _ends(made.welch_interval),
    }


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _compare_normalised(
    environments: Sequence[Mapping[str, Any]], options: CompareOptions, advance: Callable[[], object]
) -> dict[str, Any]:
    """All environments together: in each, the random policy scores 0 and the best mean of an algorithm scores 1."""
    references = [_reference(environment, options) for environment in environments]
    scores = _normalised_scores(environments, references)
    thresholds = _thresholds(np.concatenate([matrix.ravel() for matrix in scores.values()]))
    groups = []
    for label, matrix in scores.items():
        made = estimate_group(matrix, thresholds, resamples=options.resamples, seed=options.seed)
        groups.append({"label": label, "runs": matrix.tolist(), **_group_entry(made)})
        advance()
    return {
        "references": references,
        "thresholds": thresholds.tolist(),
        "groups": groups,
        "pairs": _pairs(scores, options, advance),
    }


def _reference(environment: Mapping[str, Any], options: CompareOptions) -> dict[str, Any]:
    env_id = environment["env_id"]
    if env_id not in options.random_returns:
        raise ExactRLError(
            f"{env_id}: scores cannot be normalised without the return of a random policy; "
            f"give it as --random-return {env_id}=VALUE"
        )
    best = max(environment["groups"], key=lambda group: float(group["mean"]))
    zero = float(options.random_returns[env_id])
    if best["mean"] <= zero:
        raise ExactRLError(
            f"{env_id}: the best mean is {best['mean']:.6g}, no better than the random policy's {zero:.6g}; scores "
            "between the two cannot be told apart. Leave out --normalise or this environment"
        )
    return {"env_id": env_id, "random": zero, "best": best["mean"], "best_label": best["label"]}


def _normalised_scores(
    environments: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
) -> dict[str, NDArray[np.float64]]:
    """Arrays (N, M) by label; every algorithm needs the same number of runs in every environment."""
    result = {}
    labels = list(dict.fromkeys(group["label"] for environment in environments for group in environment["groups"]))
    for label in labels:
        columns = []
        for environment, reference in zip(environments, references, strict=True):
            found = [group for group in environment["groups"] if group["label"] == label]
            if not found:
                raise ExactRLError(f"{label} has no run in {environment['env_id']}: normalised means need it in each")
            scores = np.array([run["score"] for run in found[0]["runs"]])
            columns.append((scores - reference["random"]) / (reference["best"] - reference["random"]))
        counts = {
            str(environment["env_id"]): len(column) for environment, column in zip(environments, columns, strict=True)
        }
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} in {env_id}" for env_id, count in counts.items())
            raise ExactRLError(f"{label} has unequal numbers of runs ({told}); expected the same in each environment")
        result[label] = np.stack(columns, axis=1)
    return result
