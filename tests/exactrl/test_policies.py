"""Policies against their definitions, and every kind of bad input with its message."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.distributions import check_log_distributions, finite_array, index_array, log_distributions
from exactrl.policies import AliasedPolicy, Policy, SoftmaxLinearPolicy, TabularPolicy, as_log_policy

STATIONARY = np.array([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
SIZES = {"horizon": 2, "n_states": 3, "n_actions": 2}


def test_a_stationary_table_is_the_same_at_every_step():
    logs = TabularPolicy(STATIONARY).log_probabilities(4)
    assert logs.shape == (4, 3, 2)
    assert logs[3, 1].tolist() == [0.0, -np.inf]
    assert np.array_equal(TabularPolicy(STATIONARY).probabilities(4)[2], STATIONARY)


def test_a_table_over_time_keeps_its_steps_and_its_horizon():
    table = np.stack([STATIONARY, STATIONARY[::-1]])
    assert np.array_equal(np.exp(TabularPolicy(table).log_probabilities(2)), table)
    with pytest.raises(ExactRLError, match=r"policy depends on time and has 2 steps: expected 3, the horizon"):
        TabularPolicy(table).log_probabilities(3)


def test_a_softmax_policy_is_the_ratio_of_exponentials():
    rng = np.random.default_rng(1)
    features, theta = rng.normal(size=(3, 2, 4)), rng.normal(size=4)
    expected = np.exp(features @ theta) / np.exp(features @ theta).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(SoftmaxLinearPolicy(features, theta).probabilities(2)[1], expected, rtol=1e-14)


def test_a_softmax_policy_survives_large_scores():
    logs = SoftmaxLinearPolicy([[[1000.0], [-1000.0]]], [1.0]).log_probabilities(1)
    assert logs[0, 0].tolist() == [0.0, -2000.0]


def test_aliased_states_share_their_row():
    policy = AliasedPolicy([0, 1, 0], [[0.2, 0.8], [1.0, 0.0]])
    assert np.allclose(policy.probabilities(1)[0], [[0.2, 0.8], [1.0, 0.0], [0.2, 0.8]])
    over_time = AliasedPolicy([0, 1, 0], np.stack([[[0.2, 0.8], [1.0, 0.0]]] * 2))
    assert over_time.probabilities(2).shape == (2, 3, 2)


def test_rationals_far_below_the_floats_stay_in_the_support():
    tiny = Fraction(1, 10**1000)
    logs = TabularPolicy([[tiny, 1 - tiny]]).log_probabilities(1)
    assert logs[0, 0, 0] == pytest.approx(-1000 * np.log(10))
    assert TabularPolicy([["1/3", "2/3"]]).probabilities(1)[0, 0, 0] == pytest.approx(1 / 3)


def test_policies_are_immutable():
    policy = TabularPolicy(STATIONARY)
    with pytest.raises(AttributeError):
        policy.log_table = STATIONARY
    for array in (policy.log_table, policy.log_probabilities(2), as_log_policy(STATIONARY, **SIZES)):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0


def test_one_policy_in_three_representations_gives_one_table():
    with np.errstate(divide="ignore"):
        aliased = AliasedPolicy([0, 1, 2], STATIONARY)
    answers = [
        as_log_policy(p, **SIZES)
        for p in (STATIONARY, STATIONARY.tolist(), np.stack([STATIONARY] * 2), TabularPolicy(STATIONARY), aliased)
    ]
    assert all(np.array_equal(answers[0], answer) for answer in answers)


class Uniform:
    def __init__(self, shift=0.0):
        self.shift = shift

    def log_probabilities(self, horizon):
        return np.full((horizon, 3, 2), np.log(0.5) + self.shift)


def test_a_policy_of_somebody_else_is_accepted_and_checked():
    assert isinstance(Uniform(), Policy)
    assert np.allclose(np.exp(as_log_policy(Uniform(), **SIZES)), 0.5)
    with pytest.raises(ExactRLError, match=r"log policy\[0, 0\] sums to 0\.99"):
        as_log_policy(Uniform(-0.01), **SIZES)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([[0.25, 0.75], [0.5, 0.48], [1, 0]], r"policy\[1\] sums to 0\.98: expected 1 .* never renormalised"),
        ([[[0.5, 0.5]] * 3, [[0.5, 0.5], [0.5, 0.5], [0.6, 0.5]]], r"policy\[1, 2\] sums to 1\.1"),
        ([[0.5, 0.5], [1.5, -0.5], [1, 0]], r"policy\[1, 1\] is -0\.5: expected a probability, at least 0"),
        ([[0.5, 0.5], [1, 0], [float("nan"), 1.0]], r"policy\[2, 0\] is nan: expected a finite number"),
        ([[0.5, 0.5], [1, 0], [1.0, float("inf")]], r"policy\[2, 1\] is inf: expected a finite number"),
        ([[Fraction(1, 3), Fraction(1, 3)]] * 3, r"policy\[0\] sums to 2/3: expected exactly 1"),
        ([[0.5, 0.5]] * 2, r"policy has shape \(2, 2, 2\) over the horizon: expected \(2, 3, 2\), that is \(T, S, A\)"),
        ([0.5, 0.5], r"policy has shape \(2,\): expected \(S, A\) or \(T, S, A\)"),
        ([[0.5, 0.5], [1.0]], r"policy is ragged"),
        ([["a", "b"]], r"policy\[0, 0\] is 'a'"),
        ([], r"policy has shape \(0,\): expected at least one probability"),
        ("uniform", r"policy is a str: expected a policy object or an array"),
        (None, r"policy is a NoneType: expected a policy object"),
        (TabularPolicy, r"policy is a type: expected a policy object"),
    ],
)
def test_bad_policies_are_refused_by_their_entry(policy, message):
    with pytest.raises(ExactRLError, match=message):
        as_log_policy(policy, **SIZES)


@pytest.mark.parametrize("horizon", [0, -1, 1.5, True])
def test_a_horizon_is_a_positive_integer(horizon):
    with pytest.raises(ExactRLError, match="expected a positive number of actions"):
        TabularPolicy(STATIONARY).log_probabilities(horizon)


def test_bad_parameters_of_policies_are_refused():
    with pytest.raises(ExactRLError, match=r"features have shape \(1, 2, 1\) and theta \(2,\): expected"):
        SoftmaxLinearPolicy([[[1.0], [2.0]]], [1.0, 2.0])
    with pytest.raises(ExactRLError, match=r"theta\[0\] is nan"):
        SoftmaxLinearPolicy([[[1.0], [2.0]]], [float("nan")])
    with pytest.raises(ExactRLError, match=r"observation_of_state\[1\] is 2: expected an integer from 0 to 1"):
        AliasedPolicy([0, 2], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ExactRLError, match=r"observation_of_state has shape \(1, 2\): expected \(S,\)"):
        AliasedPolicy([[0, 1]], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ExactRLError, match=r"policy has shape \(2,\): expected \(O, A\) or \(T, O, A\)"):
        AliasedPolicy([0, 0], [0.5, 0.5])


def test_distributions_are_checked_in_probabilities_and_in_logarithms():
    assert check_log_distributions("p", log_distributions("p", [0.5, 0.5, 0.0])).tolist()[2] == -np.inf
    with pytest.raises(ExactRLError, match=r"p\[1\] is nan: expected a log-probability, at most 0"):
        check_log_distributions("p", [0.0, float("nan")])
    with pytest.raises(ExactRLError, match=r"p\[0\] is 0\.5: expected a log-probability"):
        check_log_distributions("p", [0.5, 0.5])
    with pytest.raises(ExactRLError, match=r"p sums to 0\.5"):
        check_log_distributions("p", [np.log(0.5)])
    with pytest.raises(ExactRLError, match=r"i\[0\] is 0\.5: expected an integer from 0 to 3"):
        index_array("i", [0.5], 4)
    assert finite_array("x", [[1, 2]]).dtype == np.float64


def test_the_import_brings_no_scipy():
    code = "import sys, exactrl.policies, exactrl.projections, exactrl.mirror_descent; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
