"""Statistics of few runs, against SciPy, rliable's own metrics, brute force, and all bootstrap samples written out."""

import itertools
import math
import sys

import numpy as np
import pytest
from scipy import stats

from deeprl import statistics
from exactrl.errors import ExactRLError

THREE = [3120.0, 4810.0, 4025.0]
OTHER = [2950.0, 3990.0, 2204.0]


def sets():
    generator = np.random.default_rng(1)
    shapes = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 3), (8, 2), (10, 1)]
    return [generator.normal(size=shape).round(1) for shape in shapes]


@pytest.mark.parametrize("scores", sets())
def test_the_interquartile_mean_is_scipys_trimmed_mean(scores):
    assert statistics.interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None), abs=1e-12)


def test_of_three_scores_nothing_is_left_out_and_of_four_the_extremes_are():
    assert statistics.interquartile_mean([1, 2, 6]) == pytest.approx(3)
    assert statistics.interquartile_mean([-100, 2, 6, 1000]) == pytest.approx(4)


def test_probability_of_improvement_counts_all_pairs():
    first, second = np.array([[1, 5], [2, 5], [7, 0]]), np.array([[2, 5], [0, 9]])
    columns = []
    for k in range(2):
        pairs = list(itertools.product(first[:, k], second[:, k]))
        columns.append(sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs) / len(pairs))
    assert statistics.probability_of_improvement(first, second) == pytest.approx(np.mean(columns))
    u = stats.mannwhitneyu(THREE, OTHER).statistic
    assert statistics.probability_of_improvement(THREE, OTHER) == pytest.approx(u / 9)


def test_the_metrics_are_those_of_rliable():
    from rliable import library, metrics

    x, y = np.random.default_rng(2).normal(size=(2, 5, 3)).round(1)
    taus = np.linspace(-2, 2, 9)
    assert statistics.interquartile_mean(x) == pytest.approx(metrics.aggregate_iqm(x))
    assert statistics.probability_of_improvement(x, y) == pytest.approx(metrics.probability_of_improvement(x, y))
    assert statistics.performance_profile(x, taus) == pytest.approx(library.score_distributions(x, taus))


def every_resample(scores):
    return [np.array(drawn) for drawn in itertools.product(scores, repeat=len(scores))]


def percentiles(values):
    return np.quantile(values, [0.025, 0.975], method="inverted_cdf")


def test_intervals_of_three_runs_are_those_of_all_27_samples_and_of_all_729_pairs():
    samples, others = every_resample(THREE), every_resample(OTHER)
    group = statistics.estimate_group(THREE, seed=4)
    assert group.iqm_interval == pytest.approx(percentiles([stats.trim_mean(x, 0.25) for x in samples]))
    assert group.mean_bootstrap_interval == (min(THREE), max(THREE))
    both = list(itertools.product(samples, others))
    assert len(both) == 729
    pair = statistics.estimate_pair(THREE, OTHER, resamples=5000)
    exact = percentiles([x.mean() - y.mean() for x, y in both])
    # 5,000 draws against the exact percentiles: a neighbouring atom at most, of some 700
    assert pair.difference_interval == pytest.approx(exact, abs=60)
    chance = percentiles([np.mean(np.sign(x[:, None] - y) / 2 + 0.5) for x, y in both])
    assert pair.probability_interval == pytest.approx(chance, abs=1 / 9 + 1e-9)


def test_each_environment_is_resampled_by_itself():
    scores = np.array([[0.0, 100.0], [1.0, 101.0]])
    exact = percentiles([(a + b) / 2 for a in (0, 0.5, 0.5, 1) for b in (100, 100.5, 100.5, 101)])
    assert statistics.estimate_group(scores).mean_bootstrap_interval == pytest.approx(exact)


def test_the_profile_and_its_band():
    made = statistics.estimate_group(THREE, [3000, 3500, 4500, 5000])
    assert made.profile == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert list(made.profile_low) == [1, 0, 0, 0]  # all three below 3,500: 1 of 27, more than 2.5%
    assert list(made.profile_high) == [1, 1, 1, 0]


def test_t_and_welch_intervals_by_their_formulas():
    x, y = np.array(THREE), np.array(OTHER)
    low, high = statistics.t_interval(x)
    half = 4.302652729911275 * math.sqrt(sum((x - x.mean()) ** 2) / 2 / 3)  # t(2) at 97.5%
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half))
    u, v = x.var(ddof=1) / 3, y.var(ddof=1) / 3
    freedom = (u + v) ** 2 / (u**2 / 2 + v**2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(u + v)
    difference = x.mean() - y.mean()
    assert statistics.welch_interval(x, y) == pytest.approx((difference - half, difference + half))
    assert statistics.welch_interval([2, 2], [1, 1, 1]) is None


def test_the_same_seed_gives_the_same_interval_and_the_global_generator_is_left_alone():
    scores = np.random.default_rng(3).normal(size=9)
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    first = statistics.estimate_group(scores, resamples=200, seed=1)
    assert np.array_equal(np.random.random(3), expected)
    assert statistics.estimate_group(scores, resamples=200, seed=1).iqm_interval == first.iqm_interval
    assert statistics.estimate_group(scores, resamples=200, seed=2).iqm_interval != first.iqm_interval


def test_a_curve_band_holds_the_mean_and_reaches_the_extremes_of_three_runs():
    curves = np.array([[0.0, 1.0, 5.0], [1.0, 1.0, 7.0], [2.0, 1.0, 12.0]])
    low, high = statistics.curve_band(curves, resamples=1000)
    assert low.tolist() == [0, 1, 5]
    assert high.tolist() == [2, 1, 12]


@pytest.mark.parametrize("runs", [2, 3, 4])
def test_the_coverage_of_few_runs_by_writing_out_all_their_resamples(runs):
    scores = np.random.default_rng(6).normal(size=(4000, runs))
    samples = np.array(list(itertools.product(range(runs), repeat=runs)))
    low, high = np.quantile(scores[:, samples].mean(axis=2), [0.025, 0.975], axis=1, method="inverted_cdf")
    covered = np.mean((low <= 0) & (high >= 0))
    assert statistics.bootstrap_coverage(runs) == pytest.approx(covered, abs=0.03)


def test_the_coverage_grows_with_the_runs_and_stays_below_what_is_promised():
    assert 0.5 == statistics.bootstrap_coverage(2) < 0.8 < statistics.bootstrap_coverage(10) < 0.95


def test_the_summary_of_a_training_with_several_seeds():
    made = statistics.summary(THREE, seed=5, resamples=500)
    assert made["runs"] == 3
    assert made["mean"] == made["iqm"] == pytest.approx(3985)
    assert made["standard_deviation"] == pytest.approx(np.std(THREE, ddof=1))
    assert made["mean_t_interval"] == pytest.approx(list(statistics.t_interval(THREE)))
    assert made["iqm_interval"] == [3120, 4810] == [made["minimum"], made["maximum"]]
    assert (made["seed"], made["resamples"]) == (5, 500)


def test_one_run_has_a_mean_and_no_interval():
    made = statistics.summary([5.0])
    assert made["mean"] == made["iqm"] == 5
    assert made["mean_t_interval"] is made["iqm_interval"] is made["standard_deviation"] is None
    pair = statistics.estimate_pair([5000.0], THREE)
    assert pair.probability == 1
    assert pair.probability_interval is pair.difference_interval is pair.welch_interval is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: statistics.interquartile_mean([]), r"scores have shape \(0,\), expected \(runs,\) or"),
        (lambda: statistics.summary([1, math.nan]), "the score of run 1, environment 0 .* is nan, not finite"),
        (lambda: statistics.estimate_pair([[1, 2]], [[1], [2]]), "2 environments against 1"),
        (lambda: statistics.t_interval([1]), "at least two runs in each group, found one"),
        (lambda: statistics.welch_interval([1], [2, 3]), "at least two runs in each group, found one"),
        (lambda: statistics.curve_band([[1, 2]]), "at least two runs in each group, found one"),
        (lambda: statistics.bootstrap_coverage(1), "at least two runs in each group, found one"),
        (lambda: statistics.summary([1, 2], resamples=1), "resamples = 1, expected at least 2"),
    ],
)
def test_bad_scores_are_refused(call, message):
    with pytest.raises(ExactRLError, match=message):
        call()


def test_without_rliable_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rliable.library", None)
    with pytest.raises(ExactRLError, match=r"intervals need the package rliable.*: pip install 'exactrl\[deep\]'"):
        statistics.summary([1, 2])
