"""The formulas by other roads: loops in mpmath, SciPy, a conic solver, enumeration, special cases, and bad input."""

import itertools
import math
from fractions import Fraction

import cvxpy as cp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from exactrl.errors import ExactRLError, Uncertain
from exactrl.formulas import (
    backward_log_partition,
    centred,
    cross_entropy,
    entropy,
    expectation,
    expectation_slope,
    forward_kl_slope,
    kl,
    lift_objective,
    lift_objective_with_dynamics,
    lift_weights,
    log_boltzmann,
    log_expected_exp,
    log_lift,
    mixture,
    nearest_forward,
    nearest_on_segment,
    nearest_reverse,
    reverse_kl_slope,
    segment_slope,
    shaped_returns,
    soft_value,
    surrogate,
    surrogate_gradient,
    theorem1_regret_bound,
    theorem1_temperatures,
    total_temperature,
    total_variation,
)
from exactrl.number_systems.balls import Balls, ball, precision

INF = math.inf
seeds = pytest.mark.parametrize("seed", range(4))


def log(x):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(x, dtype=float))


def dirichlet(rng, *shape):
    return rng.dirichlet(np.full(shape[-1], 0.8), size=shape[:-1])


def problem(seed, n=6):
    """A policy, a reference, dynamics, returns and two temperatures."""
    rng = np.random.default_rng(seed)
    f = rng.uniform(0.2, 2.0, n)
    return dirichlet(rng, n), dirichlet(rng, n), f, rng.normal(size=n) * 2, *rng.uniform(0.2, 1.5, 2)


# ---------------------------------------------------------------------------------------------------------- divergences

probabilities = st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any).map(lambda w: np.array(w) / sum(w))


@settings(max_examples=60, deadline=None)
@given(probabilities, st.integers(0, 10**6))
def test_divergences_agree_with_scipy(p, seed):
    q = np.random.default_rng(seed).dirichlet(np.ones(len(p)))
    q = np.where(seed % 3 == 0, q * (np.arange(len(p)) > 0), q)
    assert entropy(log(p)) == pytest.approx(special.entr(p).sum(), rel=1e-12, abs=1e-14)
    assert kl(log(p), log(q)) == pytest.approx(special.rel_entr(p, q).sum(), rel=1e-9, abs=1e-13)
    assert cross_entropy(log(p), log(q)) == pytest.approx(-special.xlogy(p, q).sum(), rel=1e-12, abs=1e-14)
    assert total_variation(log(p), log(q)) == pytest.approx(
        sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2, abs=1e-14
    )
    assert expectation(log(p), q) == pytest.approx(float(np.dot(p, q)), rel=1e-12, abs=1e-15)


def test_divergences_by_hand():
    half, third = log([1 / 2, 1 / 2]), log([1 / 3, 2 / 3])
    assert entropy(half) == pytest.approx(math.log(2))
    assert entropy(log([1, 0, 0])) == 0
    assert kl(half, third) == pytest.approx(math.log(9 / 8) / 2)
    assert kl(third, half) == pytest.approx(math.log(32 / 27) / 3)
    assert kl(log([1, 0]), log([0, 1])) == cross_entropy(log([1, 0]), log([0, 1])) == INF
    assert total_variation(half, third) == pytest.approx(1 / 6)
    assert total_variation(log([1, 0]), log([0, 1])) == 1
    assert expectation(log([1, 0]), np.array([3.0, INF])) == 3, "outcomes of probability 0 do not count"


def test_a_support_below_the_range_of_floats_is_not_lost():
    rare = np.array([0.0, -1000 * math.log(10)])  # 10^-1000 is 0 as a float, and still in the support
    assert kl(rare, log([1, 0])) == INF
    assert cross_entropy(rare, log([1, 0])) == INF
    with precision(4096):
        tiny = Fraction(1, 10**1000)
        logs = Balls([ball(1 - tiny).log(), ball(tiny).log()])
        assert float(kl(logs, Balls([0, -INF])).data[()]) == INF


# --------------------------------------------------------------------------------------------------- lift and surrogate


def loop_surrogate(p, r, tau, tau_prime, f=None):
    """The definition, term by term at 60 digits; terms of probability 0 are 0^(tau/eta)."""
    with mpmath.workdps(60):
        eta = mpmath.mpf(tau) + mpmath.mpf(tau_prime)
        total = mpmath.mpf(0)
        for i, (x, y) in enumerate(zip(p, r, strict=True)):
            weight = mpmath.mpf(x) ** (mpmath.mpf(tau) / eta) * mpmath.exp(mpmath.mpf(y) / eta)
            total += weight * (1 if f is None else mpmath.mpf(f[i]))
        return float(eta * mpmath.log(total))


@settings(max_examples=60, deadline=None)
@given(probabilities, st.integers(0, 10**6), st.sampled_from([(0.7, 0.2), (1.3, 0.0), (0.0, 0.5), (2.0, -0.5)]))
def test_the_surrogate_is_its_definition(p, seed, temperatures):
    rng = np.random.default_rng(seed)
    r, f = rng.normal(size=len(p)) * 3, rng.uniform(0.1, 2, len(p))
    assert surrogate(log(p), r, *temperatures) == pytest.approx(
        loop_surrogate(p, r, *temperatures), rel=1e-12, abs=1e-13
    )
    assert surrogate(log(p), r, *temperatures, log(f)) == pytest.approx(
        loop_surrogate(p, r, *temperatures, f), rel=1e-12, abs=1e-13
    )


def test_a_negative_tau_is_accepted():
    p, _, _, r, _, _ = problem(0)
    assert surrogate(log(p), r, -0.3, 0.8) == pytest.approx(loop_surrogate(p, r, -0.3, 0.8), rel=1e-13)
    assert surrogate(log([1, 0]), np.zeros(2), -0.3, 0.8) == INF, "0 to a negative power"


@seeds
def test_the_lift_is_the_optimum_of_its_objective_by_a_conic_solver(seed):
    _, reference, f, r, tau, tau_prime = problem(seed, 4)
    policy = cp.Variable(4, nonneg=True)
    objective = r @ policy - tau * cp.sum(cp.rel_entr(policy, reference)) + tau_prime * cp.sum(cp.entr(policy))
    best = cp.Problem(cp.Maximize(objective), [cp.sum(policy) == 1]).solve(solver=cp.CLARABEL)
    lift = log_lift(log(reference), r, tau, tau_prime)
    np.testing.assert_allclose(np.exp(lift), policy.value, atol=2e-4)
    assert lift_objective(lift, log(reference), r, tau, tau_prime) == pytest.approx(best, abs=1e-6)
    assert surrogate(log(reference), r, tau, tau_prime) == pytest.approx(best, abs=1e-6), (
        "SR is the value of the optimum"
    )
    # With dynamics the variable is the density times f (Lemma 8).
    joint = cp.Variable(4, nonneg=True)
    shaped = r @ joint - tau_prime * cp.sum(cp.rel_entr(joint, f)) - tau * cp.sum(cp.rel_entr(joint, f * reference))
    best = cp.Problem(cp.Maximize(shaped), [cp.sum(joint) == 1]).solve(solver=cp.CLARABEL)
    lift = log_lift(log(reference), r, tau, tau_prime, log(f))
    np.testing.assert_allclose(np.exp(lift) * f, joint.value, atol=2e-4)
    assert lift_objective_with_dynamics(lift, log(reference), r, tau, tau_prime, log(f)) == pytest.approx(
        best, abs=1e-6
    )
    assert surrogate(log(reference), r, tau, tau_prime, log(f)) == pytest.approx(best, abs=1e-6)


@seeds
def test_no_other_policy_does_better_than_the_lift(seed):
    _, reference, f, r, tau, tau_prime = problem(seed)
    rivals = log(dirichlet(np.random.default_rng(seed + 100), 500, 6))
    for negative in (0, 2):
        heat = (tau - negative, tau_prime + negative)
        best = surrogate(log(reference), r, *heat)
        assert lift_objective(log_lift(log(reference), r, *heat), log(reference), r, *heat) == pytest.approx(
            best, rel=1e-10
        )
        assert (lift_objective(rivals, log(reference), r, *heat) <= best).all()
        best = surrogate(log(reference), r, *heat, log(f))
        densities = rivals - log(f)
        assert (lift_objective_with_dynamics(densities, log(reference), r, *heat, log(f)) <= best + 1e-12).all()


@seeds
def test_the_lift_loses_what_the_divergence_says(seed):
    """F(lift) - F(pi) = (tau + tau') KL(pi || lift), for every pi."""
    p, reference, f, r, tau, tau_prime = problem(seed)
    lift = log_lift(log(reference), r, tau, tau_prime)
    assert np.exp(lift).sum() == pytest.approx(1, rel=1e-14)
    gap = surrogate(log(reference), r, tau, tau_prime) - lift_objective(log(p), log(reference), r, tau, tau_prime)
    assert gap == pytest.approx((tau + tau_prime) * kl(log(p), lift), rel=1e-10)
    assert (np.exp(log_lift(log(reference), r, tau, tau_prime, log(f))) * f).sum() == pytest.approx(1, rel=1e-14)


@seeds
def test_without_entropy_the_lift_is_mirror_descent(seed):
    _, reference, _, r, tau, _ = problem(seed)
    exponential = reference * np.exp(r / tau)
    np.testing.assert_allclose(np.exp(log_lift(log(reference), r, tau, 0)), exponential / exponential.sum(), rtol=1e-12)
    assert surrogate(log(reference), r, tau, 0) == pytest.approx(tau * math.log(exponential.sum()), rel=1e-12)


@seeds
def test_without_a_reference_the_lift_is_the_boltzmann_policy(seed):
    _, reference, _, r, _, tau_prime = problem(seed)
    np.testing.assert_allclose(
        np.exp(log_lift(log(reference), r, 0, tau_prime)), special.softmax(r / tau_prime), rtol=1e-12
    )
    np.testing.assert_allclose(log_boltzmann(r, tau_prime), special.log_softmax(r / tau_prime), rtol=1e-12, atol=1e-14)
    assert soft_value(r, tau_prime) == pytest.approx(tau_prime * special.logsumexp(r / tau_prime), rel=1e-13)
    assert surrogate(log(reference), r, 0, tau_prime) == pytest.approx(soft_value(r, tau_prime), rel=1e-13)
    assert surrogate(log([1, 0]), np.array([1.0, 3.0]), 0, 1) == pytest.approx(math.log(math.e + math.e**3)), (
        "0 log 0 = 0"
    )


def test_the_surrogate_of_the_uniform_policy_with_equal_rewards():
    for n, reward, tau, tau_prime in [(1, 2.0, 0.5, 0.1), (4, -1.5, 0.3, 0.9), (7, 0.0, -0.2, 0.7)]:
        uniform = np.full(n, -math.log(n))
        expected = reward + tau_prime * math.log(n)
        assert surrogate(uniform, np.full(n, reward), tau, tau_prime) == pytest.approx(expected, rel=1e-13, abs=1e-14)
        np.testing.assert_allclose(log_lift(uniform, np.full(n, reward), tau, tau_prime), uniform, rtol=1e-13)


def test_limits_of_the_surrogate():
    p, _, _, r, _, _ = problem(3)
    assert surrogate(log(p), r, 1e-6, 1e-6) == pytest.approx(r.max(), abs=1e-4), "no temperature: the best trajectory"
    mean = np.dot(p, r)
    assert surrogate(log(p), r, 1e6, 0) == pytest.approx(mean, abs=1e-4), "infinite tau: the expected return"
    assert surrogate(log(p), r, 1e6, 0.4) == pytest.approx(mean + 0.4 * entropy(log(p)), abs=1e-4)
    assert soft_value(np.array([1e4, 0.0]), 1e-3) == 1e4, "no overflow"


def test_a_trajectory_without_probability_has_no_lift():
    lift = log_lift(log([0.5, 0.5, 0]), np.array([0.0, 1.0, 100.0]), 0.5, 0.5)
    assert lift[2] == -INF
    np.testing.assert_allclose(np.exp(lift[:2]), special.softmax([0, 1]), rtol=1e-13)
    assert surrogate_gradient(log([0.5, 0.5, 0]), np.zeros(3), 0.5, 0.5)[2] == 0


@seeds
@pytest.mark.parametrize("stochastic", [False, True])
def test_the_surrogate_gradient_by_differences(seed, stochastic):
    p, _, f, r, tau, tau_prime = problem(seed)
    rest = (r, tau, tau_prime, log(f) if stochastic else None)
    found = optimize.approx_fprime(log(p), lambda x: float(surrogate(x, *rest)), 1e-7)
    np.testing.assert_allclose(surrogate_gradient(log(p), *rest), found, atol=1e-6)


@seeds
def test_weights_of_the_self_normalised_estimator(seed):
    """Reweighting the reference by exp(omega) gives the lift (Lemma 1)."""
    _, reference, _, r, tau, tau_prime = problem(seed)
    weights = np.exp(lift_weights(log(reference), r, tau, tau_prime))
    weighted = reference * weights
    np.testing.assert_allclose(
        np.exp(log_lift(log(reference), r, tau, tau_prime)), weighted / weighted.sum(), rtol=1e-12
    )


def test_objectives_with_trivial_dynamics_coincide():
    p, reference, _, r, tau, tau_prime = problem(1)
    zero = np.zeros(6)
    assert lift_objective_with_dynamics(log(p), log(reference), r, tau, tau_prime, zero) == pytest.approx(
        lift_objective(log(p), log(reference), r, tau, tau_prime), rel=1e-13
    )
    assert surrogate(log(p), r, tau, tau_prime, zero) == surrogate(log(p), r, tau, tau_prime)


def test_objectives_by_plain_loops():
    p, reference, f, r, tau, tau_prime = problem(2)
    expected = with_dynamics = 0.0
    density = p / (p * f).sum()
    for x, y, z, d, w in zip(p, reference, r, density, f, strict=True):
        expected += x * (z - tau * math.log(x / y) - tau_prime * math.log(x))
        with_dynamics += d * w * (z - tau_prime * math.log(d) - tau * math.log(d / y))
    assert lift_objective(log(p), log(reference), r, tau, tau_prime) == pytest.approx(expected, rel=1e-12)
    assert lift_objective_with_dynamics(log(density), log(reference), r, tau, tau_prime, log(f)) == pytest.approx(
        with_dynamics, rel=1e-12
    )
    assert lift_objective(log([1, 0]), log([0, 1]), np.ones(2), 0.5, 0.5) == -INF
    assert lift_objective(log([1, 0]), log([0, 1]), np.ones(2), 0, 0.5) == 1, "tau = 0: the reference does not count"


# ----------------------------------------------------------------------------------------------------------- projection


@seeds
def test_the_nearest_member_by_a_loop(seed):
    rng = np.random.default_rng(seed)
    target, family = dirichlet(rng, 3, 4), dirichlet(rng, 3, 5, 4)
    for k in range(3):
        forward = min(family[k], key=lambda member: special.rel_entr(target[k], member).sum())
        reverse = min(family[k], key=lambda member: special.rel_entr(member, target[k]).sum())
        np.testing.assert_array_equal(nearest_forward(log(target[k]), log(family[k])), log(forward))
        np.testing.assert_array_equal(nearest_reverse(log(target), log(family))[k], log(reverse))


def test_a_tie_is_resolved_in_floats_and_refused_in_balls():
    members = [[0.2, 0.8], [0.8, 0.2]]
    np.testing.assert_array_equal(nearest_forward(log([0.5, 0.5]), log(members)), log(members[0]))
    thirds = [[Fraction(1, 3), Fraction(2, 3)], [Fraction(2, 3), Fraction(1, 3)]]
    family, target = ([[ball(x).log() for x in row] for row in rows] for rows in (thirds, [[Fraction(1, 2)] * 2]))
    for nearest in (nearest_forward, nearest_reverse):
        with pytest.raises(Uncertain):
            nearest(Balls(target)[0], Balls(family))


@seeds
def test_the_nearest_point_of_a_segment_by_a_scalar_minimiser(seed):
    target, first, second = dirichlet(np.random.default_rng(seed), 3, 5)
    found = optimize.minimize_scalar(
        lambda w: special.rel_entr(target, (1 - w) * first + w * second).sum(), bounds=(0, 1), method="bounded"
    )
    assert nearest_on_segment(target, first, second) == pytest.approx(found.x, abs=1e-4)
    slope = optimize.approx_fprime([0.3], lambda w: np.dot(target, log((1 - w[0]) * first + w[0] * second)), 1e-7)
    assert segment_slope(target, first, second, np.array(0.3)) == pytest.approx(slope[0], rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(mixture(first, second, np.array(0.3)), 0.7 * first + 0.3 * second, rtol=1e-14)


def test_the_nearest_point_of_a_segment_at_its_ends_and_by_hand():
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert nearest_on_segment(np.array([0.25, 0.75]), first, second) == pytest.approx(0.75, abs=1e-15)
    assert nearest_on_segment(np.array([0.9, 0.1]), np.array([0.8, 0.2]), second) == pytest.approx(0, abs=1e-15)
    assert nearest_on_segment(np.array([0.1, 0.9]), first, np.array([0.2, 0.8])) == pytest.approx(1, abs=1e-15)
    assert segment_slope(np.array([0.5, 0.5, 0]), np.array([0.5, 0.5, 0]), np.array([1.0, 0, 0]), np.array(0.0)) == 0


@pytest.mark.parametrize("weight", [Fraction(0), Fraction(1, 3), Fraction(3, 7), Fraction(1)])
def test_in_balls_the_nearest_point_of_a_segment_is_enclosed(weight):
    first, second = [Fraction(1, 3), Fraction(2, 3)], [Fraction(3, 5), Fraction(2, 5)]
    target = [a + weight * (b - a) for a, b in zip(first, second, strict=True)]  # on the segment: its own nearest point
    with precision(128):
        low, high = nearest_on_segment(Balls(target), Balls(first), Balls(second)).bounds()[0]
    assert low <= weight <= high
    assert high - low <= Fraction(1, 2**90)


def test_in_balls_a_nearest_point_at_the_middle_is_enclosed_too():
    first, second = [Fraction(1, 3), Fraction(2, 3)], [Fraction(2, 3), Fraction(1, 3)]
    with precision(128):
        low, high = nearest_on_segment(Balls([Fraction(1, 2)] * 2), Balls(first), Balls(second)).bounds()[0]
    assert low <= Fraction(1, 2) <= high
    assert high - low <= Fraction(1, 2**40)


def test_of_equally_near_points_the_first_is_taken_and_balls_leave_them_all():
    point = np.array([0.25, 0.75])
    assert nearest_on_segment(np.array([0.5, 0.5]), point, point) == pytest.approx(0, abs=1e-15)
    third = Balls([Fraction(1, 3), Fraction(2, 3)])  # no ball is exact here, so the slope stays open
    low, high = nearest_on_segment(third, third, third).bounds()[0]
    assert low <= 0
    assert high >= 1


# ------------------------------------------------------------------------------------------------------------- tangents


def along(logits, direction, t):
    return special.log_softmax(logits + t * direction)


@seeds
def test_slopes_are_derivatives_along_a_softmax_path(seed):
    rng = np.random.default_rng(seed)
    logits, direction, values = rng.normal(size=(3, 5))
    target = log(dirichlet(rng, 5))
    policy = along(logits, direction, 0)
    tangent = centred(policy, direction)
    assert np.dot(np.exp(policy), tangent) == pytest.approx(0, abs=1e-14)
    h = 1e-5
    ends = along(logits, direction, h), along(logits, direction, -h)
    np.testing.assert_allclose(tangent, (ends[0] - ends[1]) / (2 * h), atol=1e-8)
    for slope, measure in [
        (expectation_slope(policy, values, tangent), lambda x: np.dot(np.exp(x), values)),
        (reverse_kl_slope(policy, target, tangent), lambda x: special.rel_entr(np.exp(x), np.exp(target)).sum()),
        (forward_kl_slope(target, tangent), lambda x: special.rel_entr(np.exp(target), np.exp(x)).sum()),
    ]:
        assert slope == pytest.approx((measure(ends[0]) - measure(ends[1])) / (2 * h), abs=1e-8)


# --------------------------------------------------------------------------------------------------------- trajectories


@seeds
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_the_backward_recursion_is_a_sum_over_all_trajectories(seed, horizon):
    rng = np.random.default_rng(seed)
    S, A = 3, 2
    transitions, initial = dirichlet(rng, S * A, S), dirichlet(rng, S)
    transitions[0] = np.eye(S)[seed % S]
    scores = [log(dirichlet(rng, S, A)) + rng.normal(size=(S, A)) for _ in range(horizon)]
    scores[-1][0, 0] = -INF
    total = 0.0
    for states in itertools.product(range(S), repeat=horizon):
        for actions in itertools.product(range(A), repeat=horizon):
            weight = initial[states[0]]
            for t in range(horizon):
                weight *= math.exp(scores[t][states[t], actions[t]])
                if t + 1 < horizon:
                    weight *= transitions[states[t] * A + actions[t], states[t + 1]]
            total += weight
    assert backward_log_partition(scores, transitions, initial) == pytest.approx(math.log(total), rel=1e-13, abs=1e-14)


def test_log_expected_exp_by_scipy():
    rng = np.random.default_rng(0)
    values, transitions = rng.normal(size=4) * 50, dirichlet(rng, 3, 4)
    expected = [special.logsumexp(values, b=row) for row in transitions]
    np.testing.assert_allclose(log_expected_exp(values, transitions), expected, rtol=1e-13)
    np.testing.assert_allclose(log_expected_exp(values + 1e4, transitions), np.add(expected, 1e4), rtol=1e-13)
    assert log_expected_exp(np.array([-INF, 0.0]), np.eye(2)).tolist() == [-INF, 0]


# ------------------------------------------------------------------------------------------------------------ schedules


def test_temperatures_and_bound_of_theorem_1():
    for t, n in [(1, 2), (5, 10), (1000, 3)]:
        tau, tau_prime = theorem1_temperatures(t, n)
        with mpmath.workdps(50):
            root = mpmath.sqrt(t * mpmath.log(n))
            expected = mpmath.sqrt(mpmath.mpf(t) / (2 * mpmath.log(n))) - 1 / root
            assert tau_prime == pytest.approx(float(1 / root), rel=1e-14)
            assert tau == pytest.approx(float(expected), rel=1e-13)
            assert theorem1_regret_bound(t, n) == pytest.approx(float(4 * root), rel=1e-14)
    assert theorem1_temperatures(1, 2)[0] < 0, "negative at the first step"
    tau, tau_prime = theorem1_temperatures(np.arange(1, 4), np.array(6))
    np.testing.assert_allclose((tau + tau_prime) ** 2 * 2 * math.log(6), [1, 2, 3], rtol=1e-13)


# ------------------------------------------------------------------------------------------------- mixed number systems

LOGS, FAMILY, RETURNS = log([0.25, 0.75]), log([[0.5, 0.5], [0.1, 0.9]]), np.array([1.0, -2.0])
FIRST, SECOND, WEIGHT = np.array([0.5, 0.5]), np.array([0.125, 0.875]), np.array(0.25)
SQUARE, SCORES = np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([[0.0], [-1.0]])

#: formula, its arguments, and how many of them, from the first, choose the number system
MIXED = {
    "entropy": (entropy, (LOGS,), 1),
    "cross_entropy": (cross_entropy, (LOGS, log([0.5, 0.5])), 2),
    "kl": (kl, (LOGS, log([0.5, 0.5])), 2),
    "total_variation": (total_variation, (LOGS, log([0.5, 0.5])), 2),
    "expectation": (expectation, (LOGS, RETURNS), 2),
    "shaped_returns": (shaped_returns, (LOGS, RETURNS, 0.5), 2),
    "log_lift": (log_lift, (LOGS, RETURNS, 0.5, 0.25), 2),
    "surrogate": (surrogate, (LOGS, RETURNS, 0.5, 0.25), 2),
    "surrogate_gradient": (surrogate_gradient, (LOGS, RETURNS, 0.5, 0.25), 2),
    "lift_objective": (lift_objective, (LOGS, log([0.5, 0.5]), RETURNS, 0.5, 0.25), 3),
    "lift_objective_with_dynamics": (
        lambda a, b, c, d: lift_objective_with_dynamics(a, b, c, 0.5, 0.25, d),
        (LOGS, log([0.5, 0.5]), RETURNS, log([2.0, 0.5])),
        4,
    ),
    "lift_weights": (lift_weights, (LOGS, RETURNS, 0.5, 0.25), 2),
    "soft_value": (soft_value, (RETURNS, np.array(0.5)), 2),
    "log_boltzmann": (log_boltzmann, (RETURNS, np.array(0.5)), 2),
    "nearest_forward": (nearest_forward, (LOGS, FAMILY), 2),
    "nearest_reverse": (nearest_reverse, (LOGS, FAMILY), 2),
    "segment_slope": (segment_slope, (np.exp(LOGS), FIRST, SECOND, WEIGHT), 3),
    "nearest_on_segment": (nearest_on_segment, (np.exp(LOGS), FIRST, SECOND), 3),
    "reverse_kl_slope": (reverse_kl_slope, (LOGS, log([0.5, 0.5]), RETURNS), 3),
    "log_expected_exp": (log_expected_exp, (RETURNS, SQUARE), 2),
    "backward_log_partition": (
        lambda a, b, *c: backward_log_partition(c, a, b),
        (SQUARE, FIRST, SCORES, SCORES * 2, SCORES * 3),
        5,
    ),
    "theorem1_temperatures": (lambda t, n: theorem1_temperatures(t, n)[0], (np.array(3.0), np.array(5.0)), 2),
    "theorem1_regret_bound": (theorem1_regret_bound, (np.array(3.0), np.array(5.0)), 2),
}
#: these work on what they are given, without making arrays of it
BARE = {"nearest_forward", "nearest_reverse", "segment_slope", "nearest_on_segment", "reverse_kl_slope"}
BARE |= {"log_expected_exp", "backward_log_partition"}
BY_ONE = [(name, i) for name, (_, _, count) in MIXED.items() if name not in BARE for i in range(count)]
BY_ONE += [("nearest_forward", 1), ("nearest_reverse", 1)]
BY_TWO = [(name, i, j) for name, (_, _, count) in MIXED.items() for i in range(count) for j in range(count) if i != j]


@pytest.mark.parametrize(("name", "position"), BY_ONE)
def test_one_argument_in_balls_or_tensors_takes_the_others_along(name, position):
    formula, arguments, _ = MIXED[name]
    expected = formula(*arguments)
    mixed = list(arguments)
    mixed[position] = Balls(arguments[position])
    enclosed = formula(*mixed)
    assert isinstance(enclosed, Balls)
    np.testing.assert_allclose(
        np.array([float(x) for x in enclosed.data.ravel()]).reshape(np.shape(expected)), expected, rtol=1e-12
    )
    mixed[position] = torch.tensor(arguments[position])
    found = formula(*mixed)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "of_balls", "of_tensors"), BY_TWO)
def test_balls_and_tensors_in_one_formula_are_refused(name, of_balls, of_tensors):
    formula, arguments, _ = MIXED[name]
    mixed = list(arguments)
    mixed[of_balls], mixed[of_tensors] = Balls(arguments[of_balls]), torch.tensor(arguments[of_tensors])
    with pytest.raises(TypeError, match="balls and tensors do not mix in one formula"):
        formula(*mixed)


@pytest.mark.parametrize("formula", [log_lift, surrogate, surrogate_gradient])
def test_balls_and_tensors_are_refused_in_the_dynamics_too(formula):
    for returns, log_dynamics in [(Balls(RETURNS), torch.tensor(LOGS)), (torch.tensor(RETURNS), Balls(LOGS))]:
        with pytest.raises(TypeError, match="balls and tensors do not mix in one formula"):
            formula(LOGS, returns, 0.5, 0.25, log_dynamics)


# ------------------------------------------------------------------------------------------------------------ bad input

BAD_TEMPERATURES = [
    (0, 0),
    (1, -1),
    (0.5, -0.75),
    (math.nan, 1.0),
    (1.0, math.nan),
    (INF, 1.0),
    (1.0, -INF),
    (np.array([1.0, 0.0]), 0.0),
    (np.array([1.0, math.nan]), 0.0),
    (torch.tensor([1.0, -2.0]), 1.0),
    (Fraction(1, 3), Fraction(-1, 3)),
    (Balls([1, 0]), 0),
]


@pytest.mark.parametrize(("tau", "tau_prime"), BAD_TEMPERATURES)
def test_a_total_temperature_that_is_not_positive_and_finite_is_refused(tau, tau_prime):
    with pytest.raises(ExactRLError, match=r"tau \+ tau_prime is .*expected a positive finite number"):
        total_temperature(tau, tau_prime)


@pytest.mark.parametrize(
    "tau",
    [np.array([1.0, INF]), np.array(INF), torch.tensor([INF, 1.0]), Balls([1.0, INF])],
    ids=["array", "scalar", "tensor", "balls"],
)
def test_an_infinite_temperature_in_an_array_is_refused_too(tau):
    with pytest.raises(ExactRLError, match=r"tau \+ tau_prime is .*expected a positive finite number"):
        total_temperature(tau, 1.0)


@pytest.mark.parametrize("formula", [log_lift, surrogate, surrogate_gradient, lift_weights])
@pytest.mark.parametrize(("tau", "tau_prime"), [(0, 0), (0.5, -1.0), (math.nan, 1.0), (1.0, INF)])
def test_every_formula_that_divides_by_the_temperature_refuses_a_bad_one(formula, tau, tau_prime):
    with pytest.raises(ExactRLError, match=r"tau \+ tau_prime is"):
        formula(log([0.5, 0.5]), np.zeros(2), tau, tau_prime)


def test_temperatures_that_balls_cannot_decide_raise_uncertain():
    with pytest.raises(Uncertain):
        total_temperature(Balls([Fraction(1, 3)]), Balls([Fraction(-1, 3)]))


def test_a_sound_total_temperature_is_returned():
    assert total_temperature(0.5, 0.25) == 0.75
    assert total_temperature(-1, 2) == 1
    assert total_temperature(Fraction(1, 3), Fraction(1, 6)) == Fraction(1, 2)
    assert total_temperature(np.array([1.0, 2.0]), 1).tolist() == [2, 3]
    assert total_temperature(np.float64(1), np.float64(2)) == 3


SHAPES = (  # fmt: skip
    r"log-probabilities, returns and dynamics have shapes \({}\), \({}\): "
    r"expected the same number of trajectories on the last axis"
)


@pytest.mark.parametrize("formula", [shaped_returns, log_lift, surrogate, surrogate_gradient])
@pytest.mark.parametrize(
    ("log_policy", "returns", "left", "right"),
    [
        (np.zeros(2), np.zeros(3), "2,", "3,"),
        (np.zeros(1), np.zeros(3), "1,", "3,"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "2, 3", "3, 2"),
        (np.zeros(()), np.zeros(2), "", "2,"),
        (np.zeros(2), 1.0, "2,", ""),
        (torch.zeros(2), torch.zeros(3), "2,", "3,"),
        (Balls([0, 0]), Balls([1]), "2,", "1,"),
    ],
)
def test_a_different_number_of_trajectories_is_refused(formula, log_policy, returns, left, right):
    rest = (1,) if formula is shaped_returns else (1, 1)
    with pytest.raises(ExactRLError, match=SHAPES.format(left, right)):
        formula(log_policy, returns, *rest)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lift_weights(np.zeros(1), np.zeros(3), 1, 1),
        lambda: lift_objective(np.zeros(1), np.zeros(1), np.zeros(3), 1, 1),
        lambda: lift_objective(np.zeros(3), np.zeros(1), np.zeros(3), 1, 1),
        lambda: lift_objective_with_dynamics(np.zeros(3), np.zeros(3), np.zeros(3), 1, 1, np.zeros(1)),
        lambda: log_lift(np.zeros(3), np.zeros(3), 1, 1, np.zeros(1)),
        lambda: surrogate(np.zeros(3), np.zeros(3), 1, 1, np.zeros(1)),
        lambda: surrogate(np.zeros(3), np.zeros(3), 1, 1, np.zeros(2)),
    ],
)
def test_arrays_of_another_length_are_not_broadcast_along_the_trajectories(call):
    with pytest.raises(ExactRLError, match="expected the same number of trajectories on the last axis"):
        call()


@pytest.mark.parametrize("formula", [log_lift, surrogate])
def test_lists_are_welcome_where_the_interface_is_fixed(formula):
    found = formula([math.log(0.5)] * 2, [0.0, 1.0], 0.5, Fraction(1, 2))
    np.testing.assert_allclose(found, formula(log([0.5, 0.5]), np.array([0.0, 1.0]), 0.5, 0.5))
