"""Soft Bellman formulas: three number systems, plain sums over tuples, closed forms, autograd."""

import itertools
import math
import warnings
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from exactrl import ExactRLError
from exactrl.errors import Uncertain
from exactrl.formulas import kl, soft_value
from exactrl.formulas import soft_bellman as f
from exactrl.formulas.chains import expected_next, next_mass, policy_kernel
from exactrl.formulas.evaluation import (
    lookahead,
    policy_average,
    policy_gradient,
    soft_logit_gradient,
    soft_policy_gradient,
    soft_score,
    through_softmax,
)
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision
from exactrl.number_systems.rationals import normalised
from tests.exactrl.three_views import Floats, Intervals, Tensors, parts

ROUNDING = 1e-13


def distributions(rng, shape, zeros=False):
    rows = []
    for _ in range(int(np.prod(shape[:-1]))):
        weights = [int(k) for k in rng.integers(1, 30, shape[-1])]
        if zeros:
            weights = [w * int(k) for w, k in zip(weights, rng.integers(0, 2, shape[-1]), strict=True)]
            weights[rng.integers(shape[-1])] = 7
        rows.append(normalised(weights))
    return np.array(rows, dtype=object).reshape(shape)


class Case:
    """A small rational model: action values, rewards, a policy, base measures, with and without zeros."""

    def __init__(self, seed, zeros=False):
        rng = np.random.default_rng(seed)
        S, A = 3, 1 + seed % 3
        ratio = np.vectorize(lambda k: Fraction(int(k), 12), otypes=[object])
        self.q, self.r = ratio(rng.integers(-60, 60, (S, A))), ratio(rng.integers(-30, 30, (S, A)))
        self.untied = self.q + [Fraction(k, 100) for k in range(A)]
        self.pi, self.proposal = distributions(rng, (S, A), zeros), distributions(rng, (S, A), zeros)
        self.base = np.where(self.pi == 0, 0, ratio(rng.integers(1, 40, (S, A))))
        self.P = distributions(rng, (S * A, S), zeros)
        self.v, self.visits = ratio(rng.integers(-60, 60, S)), ratio(rng.integers(1, 60, S))
        self.alpha, self.gamma = Fraction(int(rng.integers(3, 40)), 12), Fraction(int(rng.integers(0, 12)), 12)


ENTRIES = {
    "hard_value": lambda s, c: (f.hard_value(s.number(c.q)), f.hard_value(s.number(c.q), s.log(c.base))),
    "soft_maximum": lambda s, c: (
        f.soft_maximum(s.number(c.q), s.number(c.alpha)),
        f.soft_maximum(s.number(c.q), c.alpha, s.log(c.base)),
        f.soft_maximum(s.number(c.q), 0, s.log(c.base)),
        f.soft_maximum(s.number(c.q), s.number([c.alpha, c.alpha + 1, c.alpha + 2]), s.log(c.base)),
    ),
    "log_soft_greedy": lambda s, c: (
        f.log_soft_greedy(s.number(c.q), s.number(c.alpha)),
        f.log_soft_greedy(s.number(c.q), s.number(c.alpha), s.log(c.base)),
        f.log_soft_greedy(s.number(c.untied), 0),
        f.log_soft_greedy(s.number(c.untied), Fraction(0), s.log(c.base)),
    ),
    "soft_policy_value": lambda s, c: (
        f.soft_policy_value(s.log(c.pi), s.number(c.q), s.number(c.alpha)),
        f.soft_policy_value(s.log(c.pi), s.number(c.q), c.alpha, s.log(c.base)),
        f.soft_policy_value(s.log(c.pi), s.number(c.q), 0, s.log(c.base)),
    ),
    "soft_bellman_operator": lambda s, c: (
        f.soft_bellman_operator(s.number(c.q), s.number(c.r), s.number(c.gamma), s.number(c.P), s.number(c.alpha)),
        f.soft_bellman_operator(s.number(c.q), s.number(c.r), s.number(c.gamma), s.number(c.P), 0, s.log(c.base)),
    ),
    "fixed_point_shifts": lambda s, c: (
        *f.fixed_point_shifts(s.number(c.v), s.number(c.gamma)),
        *f.fixed_point_shifts(s.number(c.v), s.number(c.gamma), s.number(Fraction(9, 10)), 1),
    ),
    "temperature_gap": lambda s, c: (
        *f.temperature_gap(s.number(c.alpha), s.log(c.base), s.number(3)),
        *f.temperature_gap(s.number(c.alpha), s.log(c.base[0]), s.number(3)),
    ),
    "importance_soft_value": lambda s, c: f.importance_soft_value(s.number(c.q), s.log(c.proposal), s.number(c.alpha)),
    "soft_value_estimate": lambda s, c: f.soft_value_estimate(
        s.number(c.q), s.log(distributions(np.random.default_rng(5), c.q.shape)), s.number(c.alpha)
    ),
    "expected_sampled_soft_value": lambda s, c: (
        f.expected_sampled_soft_value(s.number(c.q), s.log(c.proposal), s.number(c.alpha), 1),
        f.expected_sampled_soft_value(s.number(c.q), s.log(c.proposal), s.number([c.alpha, 1, 2]), 3),
    ),
    "sampled_soft_bias": lambda s, c: f.sampled_soft_bias(s.number(c.q), s.log(c.proposal), s.number(c.alpha), 2),
    "expected_sampled_soft_bellman": lambda s, c: f.expected_sampled_soft_bellman(
        s.number(c.q), s.number(c.r), s.number(c.gamma), s.number(c.P), s.number(c.alpha), s.log(c.proposal), 2
    ),
    "policy_average": lambda s, c: policy_average(s.number(c.pi), s.number(c.q)),
    "policy_kernel": lambda s, c: policy_kernel(s.number(c.pi), s.number(c.P)),
    "expected_next": lambda s, c: expected_next(s.number(c.P), s.number(c.v)),
    "next_mass": lambda s, c: next_mass(s.number(c.pi), s.number(c.P)),
    "lookahead": lambda s, c: lookahead(s.number(c.r), s.number(c.gamma), s.number(c.q)),
    "through_softmax": lambda s, c: through_softmax(s.number(c.pi), s.number(c.q)),
    "policy_gradient": lambda s, c: policy_gradient(s.number(c.visits), s.number(c.q)),
    "soft_score": lambda s, c: (
        soft_score(s.log(c.pi), s.number(c.q), s.number(c.alpha)),
        soft_score(s.log(distributions(np.random.default_rng(3), c.q.shape)), s.number(c.q), 0),
    ),
    "soft_policy_gradient": lambda s, c: soft_policy_gradient(
        s.number(c.visits), s.log(c.pi), s.number(c.q), s.number(c.alpha)
    ),
    "soft_logit_gradient": lambda s, c: (
        soft_logit_gradient(s.number(c.visits), s.log(c.pi), s.number(c.q), s.number(c.alpha)),
        soft_logit_gradient(s.number(c.visits), s.log(c.pi), s.number(c.q), s.number(c.alpha), s.log(c.base)),
    ),
}


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", ENTRIES)
def test_floats_lie_in_the_balls_and_tensors_equal_floats(name, zeros):
    for seed in range(6):
        case = Case(seed, zeros)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            floats = parts(ENTRIES[name](Floats(), case))
        tensors = parts(ENTRIES[name](Tensors(), case))
        with precision(192):
            balls = parts(ENTRIES[name](Intervals(), case))
            assert len(floats) == len(tensors) == len(balls)
            for number, tensor, ball in zip(floats, tensors, balls, strict=True):
                assert np.shape(number) == tuple(tensor.shape) == ball.shape
                assert tensor.dtype == torch.float64
                np.testing.assert_allclose(tensor.numpy(), number, rtol=1e-12, atol=ROUNDING)
                for x, enclosed in zip(np.ravel(number), ball.data.ravel(), strict=True):
                    if not enclosed.is_finite():
                        assert float(enclosed.mid()) == x or float(enclosed) == x
                        continue
                    assert float(enclosed.rad()) < 1e-40, "the ball says little"
                    assert abs(float(enclosed.mid()) - x) <= ROUNDING * (1 + abs(x)), f"{name}, seed {seed}"


# ------------------------------------------------------------------------------------------ the maximum, soft and hard


def test_the_soft_maximum_is_scipys_logsumexp_where_that_does_not_overflow():
    rng = np.random.default_rng(0)
    q, base = rng.normal(size=(5, 4)), rng.random((5, 4))
    for alpha in (0.3, 1.0, 7.0):
        expected = alpha * logsumexp(q / alpha, b=base, axis=-1)
        np.testing.assert_allclose(f.soft_maximum(q, alpha, np.log(base)), expected, rtol=1e-13)
        np.testing.assert_allclose(f.soft_maximum(q, alpha), soft_value(q, alpha), rtol=1e-13)


def test_at_temperature_0_the_first_of_the_best_actions_is_taken():
    q = np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 9.0]])
    base = np.array([[0.0, -np.inf, -1.0], [0.0, 0.0, -np.inf]])
    for zero in (0, 0.0, Fraction(0)):
        assert np.exp(f.log_soft_greedy(q, zero)).tolist() == [[0, 1, 0], [0, 0, 1]]
        assert np.exp(f.log_soft_greedy(q, zero, base)).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert f.log_soft_greedy(torch.tensor(q), 0).tolist() == f.log_soft_greedy(q, 0).tolist()
    with pytest.raises(Uncertain):
        f.log_soft_greedy(Balls([Fraction(1, 3), Fraction(1, 3)]), 0)


@pytest.mark.parametrize("alpha", [1e-300, 1e-100, 1e-3, 1.0, 1e3, 1e100, 1e300])
def test_no_temperature_overflows(alpha):
    q = np.array([[1e5, -1e5, 99999.0], [0.0, 0.0, -1e300]])
    warnings.simplefilter("error")
    for log_base, low, high in ((None, 0.0, math.log(3)), (np.full(3, -math.log(3)), -math.log(3), 0.0)):
        found = f.soft_maximum(q, alpha, log_base)
        slack = 1e-13 * (1e5 + alpha)
        assert (found >= q.max(-1) + alpha * low - slack).all()
        assert (found <= q.max(-1) + alpha * high + slack).all()
        policy = np.exp(f.log_soft_greedy(q, alpha, log_base))
        np.testing.assert_allclose(policy.sum(-1), 1, rtol=1e-12)


def test_actions_without_mass_count_neither_softly_nor_hard():
    q, base = np.array([1e308, 1.0, 2.0]), np.log([1e-320, 1.0, 1.0])
    base[0] = -np.inf
    assert f.hard_value(q, base) == 2.0
    assert f.soft_maximum(q, 1e-300, base) == 2.0
    np.testing.assert_allclose(f.soft_maximum(q, 1.0, base), np.log(np.exp(1) + np.exp(2)), rtol=1e-14)
    policy = f.log_soft_greedy(q, 1e-300, base)
    assert policy[0] == -np.inf
    assert policy[2] == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_the_soft_maximum_is_the_best_soft_value_and_misses_any_other_by_a_divergence(seed):
    case, s = Case(seed), Floats()
    q, base, alpha = s.number(case.q), s.log(case.base), float(case.alpha)
    for log_base in (None, base):
        greedy = f.log_soft_greedy(q, alpha, log_base)
        best = f.soft_maximum(q, alpha, log_base)
        np.testing.assert_allclose(f.soft_policy_value(greedy, q, alpha, log_base), best, rtol=1e-12, atol=1e-12)
        for pi in np.random.default_rng(seed).dirichlet(np.ones(q.shape[1]), (20, 3)):
            value = f.soft_policy_value(np.log(pi), q, alpha, log_base)
            np.testing.assert_allclose(best - value, alpha * kl(np.log(pi), greedy), rtol=1e-9, atol=1e-11)


def test_a_policy_outside_the_measure_is_worth_nothing():
    base = np.array([-np.inf, 0.0])
    assert f.soft_policy_value(np.log([0.5, 0.5]), np.ones(2), 0.1, base) == -np.inf
    assert f.soft_policy_value(np.log([0.5, 0.5]), np.ones(2), 0, base) == 1.0


def test_the_limit_has_the_stated_rate_and_attains_it():
    with precision(200):
        q = Balls([[1, 1, 1], [1, 0, -1]])
        hard = f.hard_value(q)
        for k in range(0, 60, 6):
            alpha = Balls(Fraction(1, 10**k))
            for log_base in (None, namespace(q).log(Balls([Fraction(1, 3)] * 3))):
                zeros = Balls(np.zeros(3, dtype=int)) if log_base is None else log_base
                low, high = f.temperature_gap(alpha, zeros, 1)
                gap = f.soft_maximum(q, alpha, log_base) - hard
                for x in gap.data:
                    assert not x < low.data[()]
                    assert not x > high.data[()]
                assert gap.data[0].overlaps(high.data[()])  # equal values: the whole entropy, or no penalty
    np.testing.assert_allclose(f.temperature_gap(2.0, np.zeros((4, 3)), 10.0), (0.0, 20 * math.log(3)), rtol=1e-14)
    np.testing.assert_allclose(
        f.temperature_gap(2.0, np.full(3, -math.log(3)), 10.0), (-20 * math.log(3), 0.0), atol=1e-13
    )


def test_shifts_of_a_residual_by_hand():
    assert f.fixed_point_shifts(np.array([1.0, 3.0]), 0.5) == (1.0, 3.0)
    low, high = f.fixed_point_shifts(np.array([-1.0, 1.0]), 0.5, 0.8, 1.0)  # .4/.6 = 2/3 and .5/.5 = 1
    assert (low, high) == (-1.0, 1.0)
    low, high = f.fixed_point_shifts(np.array([1.0, 1.0]), 0.5, 0.8, 1.0)
    assert (round(low, 15), high) == (round(2 / 3, 15), 1.0)


# ------------------------------------------------------------------------------------------------------------- samples


def plain_expectation(q, proposal, alpha, K):
    """The sum over all K-tuples, one by one, in 30 digits."""
    with mpmath.workdps(30):
        total = mpmath.mpf(0)
        for drawn in itertools.product(range(len(q)), repeat=K):
            weight = mpmath.fprod(mpmath.mpf(float(proposal[a])) for a in drawn)
            if weight:
                terms = [mpmath.exp(mpmath.mpf(float(q[a])) / alpha) / mpmath.mpf(float(proposal[a])) for a in drawn]
                total += weight * alpha * mpmath.log(mpmath.fsum(terms) / K)
        return float(total)


@pytest.mark.parametrize("K", [1, 2, 3, 5])
def test_the_expectation_over_samples_is_the_sum_over_all_tuples(K):
    rng = np.random.default_rng(K)
    for A in (1, 2, 4):
        q, proposal = rng.normal(size=A), rng.dirichlet(np.ones(A))
        for alpha in (0.5, 2.0):
            found = f.expected_sampled_soft_value(q, np.log(proposal), alpha, K)
            assert abs(found - plain_expectation(q, proposal, alpha, K)) < 1e-12
    q, proposal = np.array([1.0, -1.0, 5.0]), np.array([0.5, 0.5, 0.0])
    with np.errstate(divide="ignore"):
        found = f.expected_sampled_soft_value(q, np.log(proposal), 1.0, K)
    assert abs(found - plain_expectation(q, proposal, 1.0, K)) < 1e-12


def test_one_sample_has_a_closed_form():
    q, proposal = np.array([0.3, -1.0, 2.0]), np.array([0.2, 0.3, 0.5])
    expected = np.sum(proposal * (q - 0.7 * np.log(proposal)))
    np.testing.assert_allclose(f.expected_sampled_soft_value(q, np.log(proposal), 0.7, 1), expected, rtol=1e-14)


@pytest.mark.parametrize("seed", range(6))
def test_samples_of_the_soft_greedy_policy_are_unbiased_and_all_others_fall_short(seed):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=4)
    greedy = f.log_soft_greedy(q, 0.5)
    other = np.log(rng.dirichlet(np.ones(4)))
    for K in (1, 2, 4):
        assert abs(f.sampled_soft_bias(q, greedy, 0.5, K)) < 1e-14
        drawn = rng.integers(0, 4, (10, K))  # not in expectation only: every single estimate is exact
        np.testing.assert_allclose(
            f.soft_value_estimate(q[drawn], greedy[drawn], 0.5), f.soft_maximum(q, 0.5), rtol=1e-13
        )
    biases = [f.sampled_soft_bias(q, other, 0.5, K) for K in range(1, 9)]
    assert all(b < 0 for b in biases)
    assert all(b < c for b, c in itertools.pairwise(biases))


def test_the_bias_of_a_uniform_proposal_is_certain():
    with precision(128):
        log_half = namespace(Balls(0)).log(Balls([Fraction(1, 2)] * 2))
        bias = f.sampled_soft_bias(Balls([0, 1]), log_half, 1, 1)
        assert bias < 0
    assert abs(float(bias.data[()]) - (0.5 + math.log(2) - math.log(1 + math.e))) < 1e-15


def test_importance_weights_give_the_soft_value_where_the_proposal_has_all_the_support():
    q = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(
        f.importance_soft_value(q, np.log([0.2, 0.3, 0.5]), 0.7), f.soft_maximum(q, 0.7), rtol=1e-14
    )
    with np.errstate(divide="ignore"):
        lacking = np.log([0.5, 0.5, 0.0])
    np.testing.assert_allclose(f.importance_soft_value(q, lacking, 0.7), f.soft_maximum(q[:2], 0.7), rtol=1e-14)
    limit = f.soft_maximum(q[:2], 0.7) - f.soft_maximum(q, 0.7)
    assert f.sampled_soft_bias(q, lacking, 0.7, 40) < limit < -1


def test_a_sampled_backup_is_the_backup_of_the_expected_sample():
    case, s = Case(2), Floats()
    q, r, P, alpha, gamma = s.number(case.q), s.number(case.r), s.number(case.P), float(case.alpha), float(case.gamma)
    proposal = s.log(case.proposal)
    sampled = f.expected_sampled_soft_bellman(q, r, gamma, P, alpha, proposal, 3)
    values = np.array([plain_expectation(x, np.exp(p), alpha, 3) for x, p in zip(q, proposal, strict=True)])
    np.testing.assert_allclose(sampled, r + gamma * (P @ values).reshape(r.shape), rtol=1e-12)
    exact = f.soft_bellman_operator(q, r, gamma, P, alpha)
    assert (sampled <= exact).all()


@pytest.mark.parametrize("samples", [0, -1, 1.0, True, None])
def test_the_number_of_samples_is_a_positive_int(samples):
    with pytest.raises(ExactRLError, match=r"samples is .*: expected a positive int, the number K"):
        f.expected_sampled_soft_value(np.zeros(2), np.log([0.5, 0.5]), 1.0, samples)


def test_too_many_samples_are_refused_before_any_work():
    with pytest.raises(ExactRLError, match=r"50 samples of 50 actions make .* multisets: expected at most 10,000,000"):
        f.expected_sampled_soft_value(np.zeros(50), np.full(50, -math.log(50)), 1.0, 50)


# ------------------------------------------------------------------------------------------------------------ autograd


def test_the_slope_of_the_soft_maximum_is_the_soft_greedy_policy():
    q = torch.tensor([[0.3, -1.0, 2.0], [5.0, 4.0, -2.0]], dtype=torch.float64, requires_grad=True)
    log_base = torch.log(torch.tensor([0.1, 0.2, 3.0], dtype=torch.float64))
    for base in (None, log_base):
        (slope,) = torch.autograd.grad(f.soft_maximum(q, 0.4, base).sum(), q)
        torch.testing.assert_close(slope, f.log_soft_greedy(q, 0.4, base).exp().detach(), rtol=1e-12, atol=1e-15)


def test_slopes_stay_finite_beside_actions_that_are_never_sampled():
    q = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    proposal = torch.log(torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(f.expected_sampled_soft_value(q, proposal, 0.5, 3), q)
    assert slope.isfinite().all()
    assert slope[2] == 0
    torch.testing.assert_close(slope.sum(), torch.tensor(1.0, dtype=torch.float64))


def test_the_operator_passes_gradcheck():
    case, s = Case(2), Tensors()
    r, P = s.number(case.r), s.number(case.P)
    q = s.number(case.q).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: f.soft_bellman_operator(x, r, 0.9, P, 0.7), (q,))
    assert torch.autograd.gradcheck(lambda x: f.sampled_soft_bias(x, s.log(case.proposal), 0.7, 2), (q,))
