"""Statistics of a handful of training runs: aggregates, intervals and comparisons that do not promise too much.

A score is one number a run and environment: the mean return of its evaluation episodes at one step. Scores stand in
arrays of shape (N, M), N runs of M environments, in the unit of the return; (N,) is read as one environment. All
intervals have nominal coverage 95%. Bootstrap intervals are percentile intervals that resample the runs of each
environment and each group apart; `rliable` draws them. With few runs they are too narrow (`bootstrap_coverage` says
how much), so intervals from Student's t stand beside them wherever there is one environment.

Source: Agarwal, Schwarzer, Castro, Courville and Bellemare, Deep reinforcement learning at the edge of the statistical
precipice, 2021 (interquartile mean, performance profiles, probability of improvement).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from exactrl.errors import ExactRLError

__all__ = [
    "CONFIDENCE",
    "RESAMPLES",
    "GroupEstimates",
    "PairEstimates",
    "bootstrap_coverage",
    "bootstrap_interval",
    "curve_band",
    "estimate_group",
    "estimate_pair",
    "interquartile_mean",
    "performance_profile",
    "probability_of_improvement",
    "summary",
    "t_interval",
    "welch_interval",
]

Floats = NDArray[np.float64]
Interval = tuple[float, float]

CONFIDENCE = 0.95
RESAMPLES = 5000
QUARTER = 0.25
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class GroupEstimates:
    """What the scores of one algorithm say; an interval is None where it does not exist (one run, or no spread).

    profile, profile_low, profile_high: (K,), the share of scores above each of K thresholds.
    """

    mean: float
    standard_deviation: float | None
    mean_t_interval: Interval | None
    mean_bootstrap_interval: Interval | None
    iqm: float
    iqm_interval: Interval | None
    profile: Floats
    profile_low: Floats | None
    profile_high: Floats | None


@dataclass(frozen=True)
class PairEstimates:
    """What the scores of two algorithms say of the first against the second; None where an interval does not exist."""

    probability: float
    probability_interval: Interval | None
    difference: float
    difference_interval: Interval | None
    welch_interval: Interval | None


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle half of all N M scores: floor(N M / 4) are left out at either end, so of three scores none.

    Shapes: scores (N, M) or (N,). Raises ExactRLError for no scores, more than two axes and scores that are not finite.
    """
    return _iqm(_matrix(scores))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Share of all N M scores above each threshold.

    Shapes: scores (N, M) or (N,), thresholds (K,) -> (K,). Raises ExactRLError as `interquartile_mean` does.
    """
    return _profile(_matrix(scores), np.asarray(thresholds, dtype=np.float64))


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> float:
    """Probability that a run of the first scores above a run of the second, ties counted half, averaged over M.

    This is Mann and Whitney's U over N N'. Shapes: first (N, M) or (N,), second (N', M) or (N',). Raises ExactRLError
    for bad scores and for differing M.
    """
    return _improvement(*_pair(first, second))


def bootstrap_interval(
    statistic: Callable[..., Floats], *groups: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Floats, Floats]:
    """Lower and upper ends of the 95% percentile interval of each entry of a statistic.

    Shapes: groups (N_g, M) or (N_g,); `statistic(*groups)` takes arrays (N_g, M) and returns (K,) -> two arrays (K,).
    Each group and each column is resampled apart, with replacement. The interval depends on scores, seed and resamples
    alone; the state of `numpy.random` is left as it was.
    Raises ExactRLError for bad scores, a group of one run, fewer than 2 resamples, and where rliable is missing.
    """
    arrays = [_matrix(group) for group in groups]
    if min(len(array) for array in arrays) < 2:
        raise ExactRLError("an interval needs at least two runs in each group, found one; train more seeds")
    if resamples < 2:
        raise ExactRLError(f"resamples = {resamples}, expected at least 2")
    try:
        from rliable.library import get_interval_estimates
    except ModuleNotFoundError as error:
        raise ExactRLError(f"intervals need the package {error.name}: pip install 'exactrl[deep]'") from None
    given: Any = arrays[0] if len(arrays) == 1 else arrays
    with _seeded(seed):
        _, ends = get_interval_estimates(
            {"": given}, statistic, reps=resamples, confidence_interval_size=CONFIDENCE, method="percentile"
        )
    return np.asarray(ends[""][0], dtype=np.float64), np.asarray(ends[""][1], dtype=np.float64)


def estimate_group(
    scores: ArrayLike, thresholds: ArrayLike = (), *, resamples: int = RESAMPLES, seed: int = 0
) -> GroupEstimates:
    """Mean, interquartile mean and performance profile of one algorithm, with intervals where N > 1.

    Shapes: scores (N, M) or (N,), thresholds (K,). The interval from t is that of the mean of one environment (M = 1).
    Raises ExactRLError for bad scores and fewer than 2 resamples.
    """
    array, taus = _matrix(scores), np.asarray(thresholds, dtype=np.float64)
    several = len(array) > 1
    mean_ends = iqm_ends = low = high = None
    if several:
        statistic = lambda x: np.concatenate([[x.mean(), _iqm(x)], _profile(x, taus)])
        lows, highs = bootstrap_interval(statistic, array, resamples=resamples, seed=seed)
        mean_ends, iqm_ends = [(float(lows[k]), float(highs[k])) for k in range(2)]
        low, high = lows[2:], highs[2:]
    one = array.shape[1] == 1
    deviation = float(array.std(ddof=1)) if several and one else None
    student = t_interval(array[:, 0]) if several and one else None
    return GroupEstimates(
        float(array.mean()), deviation, student, mean_ends, _iqm(array), iqm_ends, _profile(array, taus), low, high
    )


def estimate_pair(first: ArrayLike, second: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> PairEstimates:
    """Probability of improvement and difference of means, first minus second, with intervals where both have N > 1.

    Shapes: first (N, M) or (N,), second (N', M) or (N',). Welch's interval is given for one environment (M = 1).
    Raises ExactRLError for bad scores, differing M and fewer than 2 resamples.
    """
    x, y = _pair(first, second)
    ends: list[Interval | None] = [None, None]
    student = None
    if min(len(x), len(y)) > 1:
        statistic = lambda a, b: np.array([_improvement(a, b), a.mean() - b.mean()])
        lows, highs = bootstrap_interval(statistic, x, y, resamples=resamples, seed=seed)
        ends = [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]
        student = welch_interval(x[:, 0], y[:, 0]) if x.shape[1] == 1 else None
    return PairEstimates(_improvement(x, y), ends[0], float(x.mean() - y.mean()), ends[1], student)


def t_interval(scores: ArrayLike) -> Interval:
    """Student's 95% interval of the mean, mean ± t(N - 1) s / sqrt(N); exact where scores are normal.

    Shapes: scores (N,). Raises ExactRLError for bad scores and for one score.
    """
    array = _matrix(scores).ravel()
    if len(array) < 2:
        raise ExactRLError("an interval needs at least two runs in each group, found one; train more seeds")
    from scipy.stats import t

    half = float(t.ppf(1 - TAIL, len(array) - 1)) * float(array.std(ddof=1)) / float(np.sqrt(len(array)))
    return float(array.mean()) - half, float(array.mean()) + half


def welch_interval(first: ArrayLike, second: ArrayLike) -> Interval | None:
    """Welch's 95% interval of the difference of means, first minus second, without assuming equal variances.

    Shapes: first (N,), second (N',). None where neither group varies: no spread can be estimated then.
    Raises ExactRLError for bad scores and for a group of one run.
    """
    x, y = (side.ravel() for side in _pair(first, second))
    if min(len(x), len(y)) < 2:
        raise ExactRLError("an interval needs at least two runs in each group, found one; train more seeds")
    if np.ptp(x) == 0 and np.ptp(y) == 0:
        return None
    from scipy.stats import ttest_ind

    ends = ttest_ind(x, y, equal_var=False).confidence_interval(CONFIDENCE)
    return float(ends.low), float(ends.high)


def curve_band(scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Floats, Floats]:
    """Ends of the bootstrap 95% interval of the mean over runs, at each of E steps by itself.

    Shapes: scores (N, E) -> two arrays (E,). Raises ExactRLError for bad scores and for one run.
    """
    return bootstrap_interval(lambda x: x.mean(axis=0), scores, resamples=resamples, seed=seed)


@cache
def bootstrap_coverage(runs: int) -> float:
    """Share of experiments in which the bootstrap 95% interval of the mean of `runs` normal scores covers the truth.

    With two or three runs the interval reaches from the least score to the greatest and misses only where all of them
    lie on one side: 1 - 2^(1 - runs). From four on by simulation with a fixed seed, to within 0.03.
    Raises ExactRLError for fewer than 2 runs.
    """
    if runs < 2:
        raise ExactRLError("an interval needs at least two runs in each group, found one; train more seeds")
    if runs**-runs > TAIL:
        return 1 - 2.0 ** (1 - runs)
    generator = np.random.default_rng(runs)
    covered, experiments, batch = 0, 2000, 100
    for _ in range(experiments // batch):
        scores = generator.standard_normal((batch, runs))
        drawn = generator.integers(runs, size=(batch, 500 * runs))
        means = np.take_along_axis(scores, drawn, axis=1).reshape(batch, 500, runs).mean(axis=2)
        low, high = np.quantile(means, [TAIL, 1 - TAIL], axis=1)
        covered += int(np.sum((low <= 0) & (high >= 0)))
    return covered / experiments


def summary(scores: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """The final scores of one algorithm in one environment, as JSON can hold them.

    Shapes: scores (N,), one a run. Keys: runs, mean, standard_deviation, mean_t_interval, mean_bootstrap_interval, iqm,
    iqm_interval, minimum, maximum, seed, resamples; intervals are [low, high], or None for one run.
    Raises ExactRLError for bad scores and fewer than 2 resamples.
    """
    array = _matrix(scores).ravel()
    made = estimate_group(array, resamples=resamples, seed=seed)
    return {
        "runs": len(array),
        "mean": made.mean,
        "standard_deviation": made.standard_deviation,
        "mean_t_interval": _listed(made.mean_t_interval),
        "mean_bootstrap_interval": _listed(made.mean_bootstrap_interval),
        "iqm": made.iqm,
        "iqm_interval": _listed(made.iqm_interval),
        "minimum": float(array.min()),
        "maximum": float(array.max()),
        "seed": seed,
        "resamples": resamples,
    }


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generator and put it back: rliable draws from it, whatever `random_state` it is handed."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def _matrix(scores: ArrayLike) -> Floats:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        shape = np.shape(scores)
        raise ExactRLError(f"scores have shape {shape}, expected (runs,) or (runs, environments), neither of them zero")
    if not np.isfinite(array).all():
        run, environment = np.argwhere(~np.isfinite(array))[0]
        value = array[run, environment]
        raise ExactRLError(f"the score of run {run}, environment {environment} (from 0) is {value}, not finite")
    return array


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    x, y = _matrix(first), _matrix(second)
    if x.shape[1] != y.shape[1]:
        raise ExactRLError(f"{x.shape[1]} environments against {y.shape[1]}, expected the same number in both groups")
    return x, y


# rliable's own metrics call SciPy for every resample, at a hundred times the cost; a test holds these against them.
def _iqm(scores: Floats) -> float:
    ordered = np.sort(scores, axis=None)
    cut = int(QUARTER * ordered.size)
    return float(ordered[cut : ordered.size - cut].mean())


def _profile(scores: Floats, thresholds: Floats) -> Floats:
    return np.asarray((scores.ravel()[:, None] > thresholds).mean(axis=0), dtype=np.float64)


def _improvement(first: Floats, second: Floats) -> float:
    sign = np.sign(first[:, None, :] - second[None, :, :])
    return float((1 + sign.mean()) / 2)
