"""The exact expectations against brute force over all tuples, against sampling, and in three number systems."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.estimators import expected_weights, normalised_expectation, self_normalised_expectation
from exactrl.formulas import lift_weights, log_lift
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls


def problem(seed, n, d):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(n))), rng.normal(size=n), rng.normal(size=(n, d))


def all_tuples(log_reference, exponent, scores, samples):
    """The definition itself: every one of the N^K tuples."""
    total = np.zeros(scores.shape[1])
    for draw in itertools.product(range(len(log_reference)), repeat=samples):
        weights = np.exp(exponent[list(draw)])
        total += np.exp(log_reference[list(draw)].sum()) * (weights / weights.sum()) @ scores[list(draw)]
    return total


@pytest.mark.parametrize(("n", "samples"), [(1, 3), (2, 1), (2, 6), (3, 4), (4, 5)])
def test_multisets_give_what_all_tuples_give(n, samples):
    log_reference, exponent, scores = problem(n * samples, n, 2)
    found = self_normalised_expectation(log_reference, exponent, scores, samples)
    np.testing.assert_allclose(found, all_tuples(log_reference, exponent, scores, samples), rtol=1e-12, atol=1e-14)


def test_sampling_agrees_within_its_standard_error():
    log_reference, exponent, scores = problem(11, 4, 1)
    rng = np.random.default_rng(0)
    draws = rng.choice(4, size=(200_000, 3), p=np.exp(log_reference))
    weights = np.exp(exponent[draws])
    values = ((weights / weights.sum(axis=1, keepdims=True)) * scores[draws, 0]).sum(axis=1)
    exact = self_normalised_expectation(log_reference, exponent, scores, 3)[0]
    assert abs(values.mean() - exact) <= 5 * values.std() / np.sqrt(len(values))


def test_the_expected_weights_go_from_the_reference_to_the_lift():
    log_reference, returns, _ = problem(5, 3, 1)
    exponent = lift_weights(log_reference, returns, 0.5, 0.5)
    lift = np.exp(log_lift(log_reference, returns, 0.5, 0.5))
    np.testing.assert_allclose(expected_weights(log_reference, exponent, 1), np.exp(log_reference), rtol=1e-13)
    errors = [np.abs(expected_weights(log_reference, exponent, k) - lift).sum() for k in (1, 4, 16, 64, 256)]
    assert np.all(np.diff(errors) < 0)
    assert errors[-2] / errors[-1] == pytest.approx(4.0, rel=0.1)  # the bias is of order 1 / K
    assert expected_weights(log_reference, exponent, 256).sum() == pytest.approx(1.0, abs=1e-11)


def test_the_normalised_estimator_is_the_expectation_under_the_lift():
    log_reference, returns, scores = problem(6, 5, 3)
    exponent = lift_weights(log_reference, returns, 0.7, 0.2)
    lift = np.exp(log_lift(log_reference, returns, 0.7, 0.2))
    np.testing.assert_allclose(normalised_expectation(log_reference, exponent, scores), lift @ scores, rtol=1e-12)


def test_equal_exponents_make_both_estimators_unbiased():
    log_reference, _, scores = problem(7, 4, 2)
    for exponent in (np.zeros(4), np.full(4, 800.0)):
        expected = np.exp(log_reference) @ scores
        sampled = self_normalised_expectation(log_reference, exponent, scores, 5)
        np.testing.assert_allclose(sampled, expected, rtol=1e-11)
        np.testing.assert_allclose(normalised_expectation(log_reference, exponent, scores), expected, rtol=1e-11)


def test_one_case_worked_by_hand_in_balls_and_floats():
    """Reference (1/2, 1/2), weights 1 and 3, K = 2: E w = 1/4 (1, 0) + 1/2 (1/4, 3/4) + 1/4 (0, 1) = (3/8, 5/8)."""
    half, three = Balls([Fraction(1, 2), Fraction(1, 2)]), Balls([1, 3])
    xp = namespace(half)
    found = expected_weights(xp.log(half), xp.log(three), 2)
    for (low, high), exact in zip(found.bounds(), (Fraction(3, 8), Fraction(5, 8)), strict=True):
        assert low <= exact <= high
        assert high - low < Fraction(1, 10**10)
    np.testing.assert_allclose(expected_weights(np.log([0.5, 0.5]), np.log([1.0, 3.0]), 2), [3 / 8, 5 / 8], rtol=1e-14)


def test_balls_hold_the_floats():
    log_reference, exponent, scores = problem(8, 3, 2)
    balls = [Balls(x.tolist()) for x in (log_reference, exponent, scores)]
    for floats, enclosed in (
        (self_normalised_expectation(log_reference, exponent, scores, 4), self_normalised_expectation(*balls, 4)),
        (normalised_expectation(log_reference, exponent, scores), normalised_expectation(*balls)),
    ):
        for value, (low, high) in zip(floats, enclosed.bounds(), strict=True):
            assert low - Fraction(1, 10**12) <= Fraction(value) <= high + Fraction(1, 10**12)


def test_tensors_agree_and_carry_gradients():
    torch = pytest.importorskip("torch")
    log_reference, exponent, scores = problem(9, 3, 2)
    tensors = [torch.tensor(x, requires_grad=True) for x in (log_reference, exponent, scores)]
    found = self_normalised_expectation(*tensors, 3)
    np.testing.assert_allclose(
        found.detach().numpy(), self_normalised_expectation(log_reference, exponent, scores, 3), rtol=1e-12
    )
    found.sum().backward()
    weights = expected_weights(log_reference, exponent, 3)
    np.testing.assert_allclose(tensors[2].grad.numpy(), np.repeat(weights[:, None], 2, axis=1), rtol=1e-12)


def test_a_batch_is_its_rows():
    rng = np.random.default_rng(10)
    log_reference = np.log(rng.dirichlet(np.ones(3), size=(2, 4)))
    exponent, scores = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 3, 2))
    found = self_normalised_expectation(log_reference, exponent, scores, 3)
    normalised = normalised_expectation(log_reference, exponent, scores)
    assert found.shape == normalised.shape == (2, 4, 2)
    for i in np.ndindex(2, 4):
        row = (log_reference[i], exponent[i], scores[i])
        np.testing.assert_allclose(found[i], self_normalised_expectation(*row, 3), rtol=1e-13)
        np.testing.assert_allclose(normalised[i], normalised_expectation(*row), rtol=1e-13)


@pytest.mark.parametrize("system", [np.asarray, Balls])
def test_trajectories_of_probability_zero_are_never_drawn(system):
    """Their exponent -tau' log 0 is +inf and their score may be anything."""
    log_reference = [-float("inf"), float(np.log(0.25)), float(np.log(0.75))]
    exponent, scores = [float("inf"), 0.5, -0.5], [[float("inf")], [1.0], [2.0]]
    arguments = [system(x) for x in (log_reference, exponent, scores)]
    without = [np.asarray(x[1:]) for x in (log_reference, exponent, scores)]
    for estimate in (lambda *xs: self_normalised_expectation(*xs, 3), normalised_expectation):
        found = estimate(*arguments)
        value = found[0] if system is np.asarray else found.bounds()[0][0]
        assert float(value) == pytest.approx(estimate(*without)[0], rel=1e-12)


def test_zeros_may_differ_along_a_batch():
    log_reference = np.array([[-np.inf, np.log(0.25), np.log(0.75)], [np.log(0.25), np.log(0.75), -np.inf]])
    found = expected_weights(log_reference, np.array([[np.inf, 0.5, -0.5], [0.5, -0.5, np.inf]]), 3)
    assert found[0, 0] == found[1, 2] == 0.0
    np.testing.assert_allclose(found[0, 1:], found[1, :2], rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(1), np.zeros(2), np.zeros((1, 1)), 2), r"log_reference has shape \(1,\) and weights_exp"),
        ((np.zeros(1), np.zeros(1), np.zeros((2, 1)), 2), r"scores have shape \(2, 1\) and log_reference \(1,\)"),
        ((np.zeros(1), np.zeros(1), np.zeros(1), 2), r"scores have shape \(1,\)"),
        ((np.zeros(1), np.zeros(1), np.zeros((1, 1)), 0), r"samples is 0: expected at least 1 sample"),
        ((np.full(2, -np.inf), np.zeros(2), np.zeros((2, 1)), 2), r"log_reference is -inf everywhere"),
        (
            (np.full(50, -np.log(50)), np.zeros(50), np.zeros((50, 1)), 10),
            r"10 samples of 50 trajectories make 62828356305 multisets: expected at most 2000000",
        ),
    ],
)
def test_bad_estimators_are_refused(arguments, message):
    with pytest.raises(ExactRLError, match=message):
        self_normalised_expectation(*arguments)
