"""Targets, losses and densities of actor-critic methods: by definition, by numerical minimisation, by integration."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from exactrl.formulas import (
    bellman_target,
    exponential_regression,
    gaussian_log_density,
    log_lift,
    projection_weight,
    sampled_soft_value,
    score_function_loss,
    soft_value,
    squared_error,
    squash_log_jacobian,
    surrogate,
    temperature_loss,
)
from exactrl.number_systems.balls import Balls, precision

NO_CAP = math.inf
FEW = settings(max_examples=40, deadline=None)


def numbers(low=-10.0, high=10.0):
    return st.floats(low, high, allow_subnormal=False)


def gradient(loss, x):
    """Derivative of a loss of one number, by autograd in double precision."""
    x = torch.tensor(float(x), dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss(x), x)[0].item()


def problem(seed, actions=5):
    """A reference policy, action values and both temperatures."""
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(actions))), rng.normal(size=actions) * 2, *rng.uniform(0.1, 1.5, size=2)


# ------------------------------------------------------------------------------------------------------------- targets


@FEW
@given(numbers(), st.sampled_from([0.0, 1.0]), numbers(), st.floats(0, 1))
def test_bellman_target_is_what_is_paid_and_what_follows(reward, continuation, value, gamma):
    found = bellman_target(np.array(reward), np.array(continuation), np.array(value), gamma)
    expected = reward if continuation == 0 else reward + gamma * value
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=0)
    assert bellman_target(np.array(reward), np.array(1.0), np.array(value), 0.0) == reward


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_the_sampled_soft_value_is_the_policys_and_below_the_optimal_one(seed):
    log_policy, values, alpha, _ = problem(seed)
    policy = np.exp(log_policy)
    mean = policy @ sampled_soft_value(values, log_policy, alpha)
    np.testing.assert_allclose(mean, sum(p * (q - alpha * np.log(p)) for p, q in zip(policy, values, strict=True)))
    assert mean < soft_value(values, alpha)
    best = values / alpha - logsumexp(values / alpha)
    # For the policy exp(Q / alpha) every single action tells the soft value.
    np.testing.assert_allclose(sampled_soft_value(values, best, alpha), alpha * logsumexp(values / alpha), rtol=1e-12)


def test_without_temperature_the_soft_value_is_the_action_value():
    np.testing.assert_array_equal(sampled_soft_value(np.array([1.0, 2.0]), np.array([-3.0, -0.1]), 0.0), [1.0, 2.0])


@FEW
@given(numbers(), numbers())
def test_squared_error_is_half_and_even(x, y):
    found = squared_error(np.array(x), np.array(y))
    assert found == squared_error(np.array(y), np.array(x)) == (x - y) ** 2 / 2
    assert gradient(lambda v: squared_error(v, y), x) == x - y


# ------------------------------------------------------------------------------- the regression that finds a soft value


@pytest.mark.parametrize("seed", range(6))
def test_the_exponential_regression_is_least_at_the_soft_value(seed):
    log_reference, values, tau, tau_prime = problem(seed)
    targets, eta = sampled_soft_value(values, log_reference, tau_prime), tau + tau_prime

    def risk(v):
        return np.exp(log_reference) @ exponential_regression(np.array(v), targets, eta, NO_CAP)

    found = optimize.minimize_scalar(risk, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10}).x
    expected = eta * logsumexp(targets / eta + log_reference)
    np.testing.assert_allclose(expected, surrogate(log_reference, values, tau, tau_prime), rtol=1e-13)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The slope says it to the last figures; it is 0 nowhere else, for the loss is convex.
    v = torch.tensor(expected, requires_grad=True)
    slope = torch.autograd.grad(
        torch.tensor(log_reference).exp() @ exponential_regression(v, torch.tensor(targets), eta, NO_CAP), v
    )[0]
    assert abs(slope) < 1e-13 * eta
    # The printed squared error is least below it.
    assert np.exp(log_reference) @ targets < expected


@FEW
@given(numbers(-3, 3), numbers(-3, 3), st.floats(0.1, 5))
def test_the_exponential_regression_by_its_definition(value, target, eta):
    found = exponential_regression(np.array(value), np.array(target), eta, NO_CAP)
    with mpmath.workdps(60):
        z = (mpmath.mpf(target) - mpmath.mpf(value)) / mpmath.mpf(eta)
        expected = float(mpmath.mpf(eta) ** 2 * (mpmath.expm1(z) - z))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)
    assert found >= -1e-15
    np.testing.assert_allclose(
        gradient(lambda v: exponential_regression(v, target, eta, NO_CAP), value),
        -eta * math.expm1((target - value) / eta),
        rtol=1e-11,
        atol=1e-13,
    )


@FEW
@given(numbers(-3, 3), numbers(-30, 30), st.floats(0.1, 3), st.floats(0.5, 5))
def test_above_the_cap_the_exponential_regression_is_its_tangent(value, target, eta, cap):
    z = (target - value) / eta
    pull = gradient(lambda v: exponential_regression(v, target, eta, cap), value)
    np.testing.assert_allclose(pull, -eta * math.expm1(min(z, cap)), rtol=1e-11, atol=1e-13)
    assert abs(pull) <= eta * max(1, math.expm1(cap)) * (1 + 1e-12)
    found = exponential_regression(np.array(value), np.array(target), eta, cap)
    if z > cap:
        # Value and slope at the cap, continued in a straight line.
        edge = exponential_regression(np.array(0.0), np.array(cap * eta), eta, NO_CAP)
        np.testing.assert_allclose(found, edge + eta * math.expm1(cap) * (target - value - cap * eta), rtol=1e-11)
    else:
        assert found == exponential_regression(np.array(value), np.array(target), eta, NO_CAP)


@FEW
@given(numbers(-3, 3), numbers(-3, 3), st.sampled_from([1e2, 1e4, 1e8, 1e12]))
def test_at_a_huge_temperature_the_exponential_regression_is_the_squared_error(value, target, eta):
    found = exponential_regression(np.array(value), np.array(target), eta, 5.0)
    # Rounding: a few units in the last place of z = (q - V) / eta, times eta^2.
    rounding = 1e-15 * eta * (1 + abs(value - target))
    np.testing.assert_allclose(found, (value - target) ** 2 / 2, rtol=12 / eta, atol=rounding)
    pull = gradient(lambda v: exponential_regression(v, target, eta, 5.0), value)
    np.testing.assert_allclose(pull, value - target, rtol=6 / eta, atol=1e-15 * eta)


@pytest.mark.parametrize("eta", [1e-100, 1e-6, 1e-3])
def test_at_a_tiny_temperature_loss_and_pull_stay_finite(eta):
    values, targets = np.array([-50.0, 0.0, 3.0]), np.array([50.0, 0.0, -3.0])
    assert np.isfinite(exponential_regression(values, targets, eta, 5.0)).all()
    v = torch.tensor(values, requires_grad=True)
    (pull,) = torch.autograd.grad(exponential_regression(v, torch.tensor(targets), eta, 5.0).sum(), v)
    np.testing.assert_allclose(pull, [-eta * math.expm1(5), 0, eta], rtol=1e-9)


def test_single_precision_stays_single_and_keeps_its_sign():
    v = torch.linspace(-1e-2, 1e-2, 101)
    loss = exponential_regression(v, torch.zeros(101), 3.0, 5.0)
    assert loss.dtype == torch.float32
    assert (loss >= -1e-8).all()


# ------------------------------------------------------------------------------------------ the policy's two estimators


@pytest.mark.parametrize("tau_prime", [None, 0.0])
@pytest.mark.parametrize("seed", range(4))
def test_projection_weights_turn_the_reference_into_the_lift(seed, tau_prime):
    log_reference, values, tau, drawn = problem(seed)
    tau_prime = drawn if tau_prime is None else tau_prime
    value = surrogate(log_reference, values, tau, tau_prime)
    advantage = (sampled_soft_value(values, log_reference, tau_prime) - value) / (tau + tau_prime)
    weights = projection_weight(advantage, NO_CAP)
    np.testing.assert_allclose(np.exp(log_reference) @ weights, 1, rtol=1e-13)
    lift = np.exp(log_lift(log_reference, values, tau, tau_prime))
    np.testing.assert_allclose(np.exp(log_reference) * weights, lift, rtol=1e-12)
    # The gradient that these weights give in the logits is that of the forward divergence: the policy less the lift.
    logits = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    log_policy = logits.log_softmax(-1)
    loss = torch.tensor(np.exp(log_reference)) @ score_function_loss(log_policy, torch.tensor(weights))
    (slope,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(slope.numpy(), log_policy.detach().exp().numpy() - lift, atol=1e-14)


@FEW
@given(numbers(-20, 20), numbers(-2, 8))
def test_projection_weights_are_cut_at_the_cap(advantage, cap):
    found = projection_weight(np.array(advantage), cap)
    np.testing.assert_allclose(found, min(math.exp(advantage), math.exp(cap)), rtol=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_score_function_is_the_gradient_of_the_expectation(seed):
    log_reference, values, alpha, _ = problem(seed)
    logits = torch.tensor(log_reference, requires_grad=True)
    log_policy = logits.log_softmax(-1)
    policy = log_policy.exp()
    estimates = sampled_soft_value(torch.tensor(values), log_policy, alpha)
    (exact,) = torch.autograd.grad(-(policy * estimates).sum(), logits, retain_graph=True)
    for baseline in (0.0, 7.0):
        loss = (policy.detach() * score_function_loss(log_policy, estimates.detach() - baseline)).sum()
        (found,) = torch.autograd.grad(loss, logits, retain_graph=True)
        torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-14)


@FEW
@given(numbers(-5, 5), numbers(-5, 5), numbers(-5, 5))
def test_the_temperature_rises_while_the_entropy_is_too_low(log_alpha, log_policy, target):
    slope = gradient(lambda x: temperature_loss(x, log_policy, target), log_alpha)
    entropy = -log_policy
    np.testing.assert_allclose(-slope, target - entropy, rtol=1e-15)


# ----------------------------------------------------------------------------------------------------------- densities


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_gaussian_log_density_is_scipys(size):
    rng = np.random.default_rng(size)
    mean, log_deviation, noise = rng.normal(size=(3, size))
    x = mean + np.exp(log_deviation) * noise
    expected = multivariate_normal(mean, np.diag(np.exp(2 * log_deviation))).logpdf(x)
    np.testing.assert_allclose(gaussian_log_density(noise, log_deviation), expected, rtol=1e-13)


@FEW
@given(numbers(-18, 18), numbers(-18, 18))
def test_the_jacobian_is_the_derivative_of_tanh(x, y):
    with mpmath.workdps(60):
        expected = float(sum(mpmath.log(mpmath.sech(v) ** 2) for v in (mpmath.mpf(x), mpmath.mpf(y))))
    np.testing.assert_allclose(squash_log_jacobian(np.array([x, y])), expected, rtol=1e-14, atol=1e-14)
    points = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(squash_log_jacobian(points), points)
    np.testing.assert_allclose(slope, -2 * np.tanh([x, y]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_jacobian_is_finite_where_tanh_is_one(dtype):
    x = torch.tensor([[-1e30], [-300.0], [-20.0], [0.0], [20.0], [300.0], [1e30]], dtype=dtype, requires_grad=True)
    found = squash_log_jacobian(x)
    far = 2 * (x[:, 0].detach().abs() - math.log(2))
    torch.testing.assert_close(-found.detach(), torch.where(far > 0, far, 0.0), rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(slope, -2 * torch.tanh(x.detach()))
    assert found.dtype == dtype


@pytest.mark.parametrize(("mean", "log_deviation"), [(0.0, 0.0), (0.7, -0.5), (-1.0, 0.4)])
def test_the_squashed_density_integrates_to_one(mean, log_deviation):
    def density(action):
        x = np.arctanh(np.array([action]))
        noise = (x - mean) / np.exp(log_deviation)
        return math.exp(gaussian_log_density(noise, np.array([log_deviation])) - squash_log_jacobian(x))

    total, error = integrate.quad(density, -1, 1, epsabs=1e-11, epsrel=1e-11, limit=200)
    assert abs(total - 1) < 1e-9 + error

    def entropy(x):
        noise = np.array([(x - mean) / np.exp(log_deviation)])
        log_normal = gaussian_log_density(noise, np.array([log_deviation]))
        return -math.exp(log_normal) * (log_normal - squash_log_jacobian(np.array([x])))

    # The uniform law on [-1, 1] has the largest entropy, log 2.
    assert integrate.quad(entropy, -12, 12)[0] < math.log(2)


def rational(x):
    sign, mantissa, exponent, _ = x._mpf_
    return Fraction((-1) ** sign * int(mantissa)) * Fraction(2) ** int(exponent)


def test_balls_enclose_the_constants_too():
    """A float of log 2 pi or log 2 in a formula would leave the true value outside the ball."""
    with precision(256), mpmath.workprec(600):
        truths = [
            (gaussian_log_density(Balls([0]), Balls([0])), -mpmath.log(2 * mpmath.pi) / 2),
            (squash_log_jacobian(Balls([1])), 2 * mpmath.log(mpmath.sech(1))),
            (squash_log_jacobian(Balls([-30])), 2 * mpmath.log(mpmath.sech(30))),
        ]
        for found, truth in truths:
            ((low, high),) = found.bounds()
            assert low <= rational(truth) <= high
            assert high - low < 2**-200
