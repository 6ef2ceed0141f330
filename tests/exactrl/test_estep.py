"""MPO's E-step: against a conic solver, against balls, at its corners; and the enclosure against a case by hand."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from exactrl import ExactRLError, estep_enclosure
from exactrl.estep import solve_estep
from exactrl.estep_enclosure import enclose_estep


def logs(table):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(table, dtype=float))


def drawn(seed, states=3, actions=4, concentration=1.0):
    rng = np.random.default_rng(seed)
    policy = rng.dirichlet(np.full(actions, concentration), states)
    return policy, rng.normal(size=(states, actions)), rng.dirichlet(np.ones(states))


def divergence(q, policy, mu):
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(mu @ np.where(q > 0, q * np.log(q / policy), 0.0).sum(axis=1))


def by_cone(policy, values, mu, epsilon):
    """The optimal value and q by an exponential cone: the oracle, not the certificate."""
    cp = pytest.importorskip("cvxpy")
    q = cp.Variable(policy.shape, nonneg=True)
    away = cp.sum(cp.multiply(mu[:, None], cp.rel_entr(q, np.where(policy > 0, policy, 1.0))))
    rules = [cp.sum(q, axis=1) == 1, away <= epsilon, cp.multiply(q, policy == 0) == 0]
    program = cp.Problem(cp.Maximize(cp.sum(cp.multiply(mu[:, None] * values, q))), rules)
    return program.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9), q.value


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_conic_solver_finds_the_same(seed, epsilon):
    policy, values, mu = drawn(seed)
    if seed == 1:
        policy[0] = [0.0, 0.5, 0.5, 0.0]
    optimum, q = by_cone(policy, values, mu, epsilon)
    found = solve_estep(logs(policy), values, mu, epsilon=epsilon)
    assert optimum == pytest.approx(found.lower, abs=3e-7)
    np.testing.assert_allclose(found.q, q, atol=2e-4)
    assert divergence(found.q, policy, mu) == pytest.approx(epsilon, rel=1e-12)
    assert found.active
    assert abs(found.residual) < 1e-15
    assert found.lower <= found.upper < found.lower + 1e-9


def test_a_thousand_states_within_the_residual_asked_for():
    policy, values, _ = drawn(0, 1000, 10)
    found = solve_estep(logs(policy), values, np.full(1000, 1e-3), epsilon=0.1)
    assert abs(found.residual) <= 1e-12
    assert found.upper - found.lower < 1e-9


def test_the_bracket_holds_the_proven_value_and_eta_the_proven_minimiser():
    rng = np.random.default_rng(1)
    for seed in range(60):
        states, actions = rng.integers(1, 4), rng.integers(1, 5)
        policy, values, mu = drawn(seed, states, actions, 10 ** rng.uniform(-1.5, 1))
        values = values * 10.0 ** rng.uniform(-6, 6, size=(states, 1)) if seed % 2 else values
        epsilon = 10.0 ** rng.uniform(-9, 1)
        found = solve_estep(logs(policy), values, mu, epsilon=epsilon)
        proven = enclose_estep(policy, values, mu, epsilon=epsilon, bits=256)
        assert found.active == proven.active
        assert Fraction(found.lower) <= proven.value[1]
        assert Fraction(found.upper) >= proven.value[0]
        assert found.eta == pytest.approx(float(proven.eta[0]), rel=1e-9)
        assert proven.eta[1] - proven.eta[0] <= proven.eta[0] / 10**30


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_the_scale_of_q_does_not_matter(scale):
    policy, values, mu = drawn(3)
    found, plain = (solve_estep(logs(policy), values * k, mu, epsilon=0.1) for k in (scale, 1.0))
    np.testing.assert_allclose(found.q, plain.q, rtol=1e-12)
    assert found.eta == pytest.approx(plain.eta * scale, rel=1e-12)
    assert found.lower == pytest.approx(plain.lower * scale, rel=1e-9)
    shifted = solve_estep(logs(policy), values + 1e6, mu, epsilon=0.1)
    assert shifted.eta == pytest.approx(plain.eta, rel=1e-8)


@pytest.mark.parametrize("epsilon", [1e-300, 1e-30, 1e-20, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
def test_tiny_radii_keep_their_relative_precision(epsilon):
    """Two actions, pi = (1/2, 1/2), Q = (0, 1): D = log 2 - H(q) is tanh-shaped and known to second order."""
    found = solve_estep(np.log([[0.5, 0.5]]), [[0.0, 1.0]], [1.0], epsilon=epsilon)
    x = 1 / (2 * found.eta)  # q = (1 -+ tanh x) / 2 and D = x tanh x - log cosh x = x^2/2 - x^4/4 + ...
    expected = x**2 / 2 - x**4 / 4
    assert expected == pytest.approx(epsilon, rel=max(1e-6 * math.sqrt(1e-12 / max(epsilon, 1e-24)), x**3))
    assert found.lower <= 0.5 + math.tanh(x) / 2 <= found.upper


def test_only_the_policy_is_within_radius_zero():
    policy, values, mu = drawn(5)
    found = solve_estep(logs(policy), values, mu, epsilon=0)
    assert found.eta == math.inf
    assert found.active
    np.testing.assert_array_equal(found.log_q, logs(policy))
    assert found.lower <= mu @ (policy * values).sum(axis=1) <= found.upper
    proven = enclose_estep(policy, values, mu, epsilon=0)
    assert proven.eta is None
    assert proven.value[0] == proven.value[1]
    assert found.lower <= proven.value[0] <= found.upper


def test_an_idle_constraint_leaves_the_greedy_policy_on_the_support():
    """pi = (1/4, 1/4, 1/2, 0), Q = (1, 1, 0, 9): greedy on the support is (1/2, 1/2, 0, 0), at log 2."""
    policy, values = [[0.25, 0.25, 0.5, 0.0]], [[1.0, 1.0, 0.0, 9.0]]
    found = solve_estep(logs(policy), values, [1.0], epsilon=0.7)
    np.testing.assert_allclose(found.q, [[0.5, 0.5, 0.0, 0.0]])
    assert (found.eta, found.residual, found.active) == (0.0, 0.0, False)
    assert found.divergence == pytest.approx(math.log(2), rel=1e-15)
    assert found.lower <= 1.0 <= found.upper < found.lower + 1e-12
    below = solve_estep(logs(policy), values, [1.0], epsilon=math.log(2) - 1e-9)
    assert below.active
    assert 0 < below.eta < 0.1
    exact = [[Fraction(1, 4), Fraction(1, 4), Fraction(1, 2), 0]]
    proven = enclose_estep(exact, values, [1], epsilon=Fraction(7, 10))
    assert (proven.value, proven.eta, proven.active) == ((1, 1), (0, 0), False)
    assert enclose_estep(exact, values, [1], epsilon=Fraction(69, 100)).active


def test_at_the_very_edge_the_lower_bound_stays_below():
    policy, values, mu = drawn(2)
    best = values.argmax(axis=1)
    edge = float(-mu @ np.log(policy[np.arange(3), best]))
    optimum = float(mu @ values.max(axis=1))
    for epsilon in (edge, np.nextafter(edge, 0), np.nextafter(edge, 9), edge * (1 - 1e-13)):
        found = solve_estep(logs(policy), values, mu, epsilon=epsilon)
        assert found.lower <= optimum <= found.upper + 1e-12
        assert found.upper - found.lower < 1e-9


@pytest.mark.parametrize("values", [[[3.0, 3.0], [-1.0, -1.0]], [[7.0, 3.0], [-1.0, 5.0]]])
def test_where_q_is_constant_on_the_support_nothing_can_be_gained(values):
    policy = [[0.5, 0.5], [0.3, 0.7]] if values[0][0] == 3.0 else [[0.0, 1.0], [1.0, 0.0]]
    for epsilon in (0.0, 1.0):
        found = solve_estep(logs(policy), values, [0.5, 0.5], epsilon=epsilon)
        assert (found.eta, found.divergence, found.active) == (0.0, 0.0, False)
        np.testing.assert_allclose(found.q, policy)
        assert found.lower <= 1.0 <= found.upper
        assert enclose_estep(policy, values, [0.5, 0.5], epsilon=epsilon).value == (1, 1)


def test_states_of_weight_zero_follow_the_others_temperature():
    policy, values, _ = drawn(7)
    values[2] *= 1e200
    mu = np.array([0.4, 0.6, 0.0])
    found = solve_estep(logs(policy), values, mu, epsilon=0.2)
    alone = solve_estep(logs(policy[:2]), values[:2], mu[:2], epsilon=0.2)
    assert (found.eta, found.lower, found.upper) == (alone.eta, alone.lower, alone.upper)
    np.testing.assert_array_equal(found.q[:2], alone.q)
    assert found.q[2, values[2].argmax()] == 1.0
    idle = solve_estep(logs(policy), values, mu, epsilon=50)
    assert idle.lower <= mu[:2] @ values[:2].max(axis=1) <= idle.upper


def test_a_probability_below_the_floats_stays_in_the_support():
    log_policy = np.array([[0.0, -2000.0]])
    found = solve_estep(log_policy, [[0.0, 1.0]], [1.0], epsilon=1000.0)
    assert found.q[0, 1] == pytest.approx(0.5, rel=1e-2)
    assert abs(found.residual) < 1e-9
    proven = enclose_estep([[1 - Fraction(1, 10**800), Fraction(1, 10**800)]], [[0, 1]], [1], epsilon=900)
    assert float(proven.value[0]) == pytest.approx(0.489, abs=1e-2)


def test_scales_that_differ_by_the_whole_range_of_floats():
    """Two plateaus, and a difference of 1e-300 that no temperature in floats resolves: the bracket is tight still."""
    values = [[0.0, -1e-300, -1.0]]
    found = solve_estep(logs([[1 / 3, 1 / 3, 1 / 3]]), values, [1.0], epsilon=0.9)
    assert found.eta <= 1e-289
    assert found.divergence <= 0.9
    assert found.lower <= 0.0 <= found.upper < found.lower + 1e-14
    mixed = solve_estep(
        logs([[0.5, 0.5], [0.5, 0.5]]), [[0.0, 1.0], [0.0, 1e-40]], [0.5, 0.5], epsilon=0.75 * math.log(2)
    )
    assert abs(mixed.residual) < 1e-14
    assert 1e-41 < mixed.eta < 1e-39


def test_the_enclosure_of_a_case_by_hand():
    """pi = (1/2, 1/2), Q = (0, 1): at eta = 1 / log 3 q is (1/4, 3/4), whose divergence is 3/4 log 3 - log 2."""
    half = [[Fraction(1, 2), Fraction(1, 2)]]
    radius = Fraction(0.75 * math.log(3) - math.log(2))
    for epsilon, side in ((radius - Fraction(1, 10**9), 1), (radius + Fraction(1, 10**9), -1)):
        proven = enclose_estep(half, [[0, 1]], [1], epsilon=epsilon)
        low, high = proven.eta
        assert high - low < Fraction(1, 10**30)
        assert (float(low) - 1 / math.log(3)) * side > 0
        assert (float(proven.value[0]) - 0.75) * side < 0
        assert float(low) == pytest.approx(1 / math.log(3), rel=1e-7)


def test_a_sign_of_the_slope_at_both_ends_of_the_enclosure():
    """g' at the ends, in high precision and by its definition, has the signs of a minimum."""
    mpmath = pytest.importorskip("mpmath")
    policy, values, mu = [[Fraction(1, 3), Fraction(2, 3)]], [[Fraction(2, 7), -1]], [1]
    proven = enclose_estep(policy, values, mu, epsilon=Fraction(1, 20), bits=100)
    assert proven.eta is not None
    with mpmath.workdps(80):

        def slope(eta):
            eta = mpmath.mpf(eta.numerator) / eta.denominator
            v = [mpmath.mpf(x.numerator) / x.denominator / eta for x in map(Fraction, values[0])]
            w = [mpmath.mpf(x.numerator) / x.denominator * mpmath.exp(t) for x, t in zip(policy[0], v, strict=True)]
            q = [x / sum(w) for x in w]
            away = sum(x * (t - mpmath.log(sum(w))) for x, t in zip(q, v, strict=True))
            return mpmath.mpf(1) / 20 - away

        assert slope(proven.eta[0]) < 0 < slope(proven.eta[1])


def test_a_poor_guess_widens_the_interval_and_a_hopeless_one_is_refused(monkeypatch):
    policy, values, mu = drawn(4)
    proven = enclose_estep(policy, values, mu, epsilon=0.1)
    found = solve_estep(logs(policy), values, mu, epsilon=0.1)

    def guess(factor):
        monkeypatch.setattr(estep_enclosure, "solve_estep", lambda *_, **__: replace(found, eta=found.eta * factor))
        return enclose_estep(policy, values, mu, epsilon=0.1)

    widened = guess(1 + 1e-6)
    assert widened.eta[0] <= proven.eta[1]
    assert proven.eta[0] <= widened.eta[1]
    with pytest.raises(ExactRLError, match=r"cannot be enclosed at 128 bits: give more \(no interval around"):
        guess(2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -0.1}, r"epsilon is -0.1: expected a finite number, at least 0"),
        ({"epsilon": math.nan}, r"epsilon is nan"),
        ({"weights": [0.5, 0.4, 0.05]}, r"weights sums to 0.95"),
        ({"weights": [0.5, 0.5]}, r"weights have shape \(2,\): expected \(3,\)"),
        ({"q_values": np.zeros((3, 3))}, r"q_values \(3, 3\): expected \(S, A\) for both"),
        ({"q_values": np.full((3, 4), np.nan)}, r"q_values\[0, 0\] is nan: expected a finite number"),
    ],
)
def test_bad_input_is_named(change, message):
    policy, values, mu = drawn(0)
    given = {"q_values": values, "weights": mu, "epsilon": 0.1} | change
    with pytest.raises(ExactRLError, match=message):
        solve_estep(logs(policy), **given)
    with pytest.raises(ExactRLError, match=message):
        enclose_estep(policy, **given)


def test_more_bad_input_is_named():
    policy, values, mu = drawn(0)
    with pytest.raises(ExactRLError, match=r"log_policy\[0\] sums to"):
        solve_estep(logs(policy * 0.9), values, mu, epsilon=0.1)
    with pytest.raises(ExactRLError, match=r"q_values\[0, 1\] lies more than 1.8e308 below the best action"):
        solve_estep(logs(policy[:1, :2] / policy[:1, :2].sum()), [[1.7e308, -1.7e308]], [1.0], epsilon=0.1)
    with pytest.raises(ExactRLError, match=r"q_values\[0, 1\] lies more than 1.8e308 below the best action"):
        enclose_estep([[0.5, 0.5]], [[1.7e308, -1.7e308]], [1.0], epsilon=0.1)
    with pytest.raises(ExactRLError, match="bits is 1: expected an integer between 2"):
        enclose_estep(policy, values, mu, epsilon=0.1, bits=1)
    half, near = [[Fraction(1, 2), Fraction(1, 2)]], Fraction(math.log(2))  # less than log 2 by 2e-17
    with pytest.raises(ExactRLError, match=r"cannot be enclosed at 53 bits: give more \(.*cannot be decided"):
        enclose_estep(half, [[0, 1]], [1], epsilon=near, bits=53)
    with pytest.raises(ExactRLError, match=r"cannot be enclosed at 200 bits: give more \(floats find no minimiser"):
        enclose_estep(half, [[0, 1]], [1], epsilon=near, bits=200)
    with pytest.raises(ExactRLError, match=r"cannot be enclosed at 20 bits: give more \(.*"):
        enclose_estep(policy, values, mu, epsilon=1e-12, bits=20)
