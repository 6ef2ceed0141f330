"""Every formula in all three number systems on the same rational instances, and autograd against closed forms."""

import warnings
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from flint import arb

from exactrl import formulas
from exactrl.formulas import (
    centred,
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
    reverse_kl_slope,
    soft_value,
    surrogate,
    surrogate_gradient,
    total_variation,
)
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision
from exactrl.number_systems.rationals import float_logs, normalised
from tests.exactrl import test_formulas_joint_ascent as joint_ascent
from tests.exactrl import test_formulas_marginals as marginals
from tests.exactrl import test_formulas_regression as regression
from tests.exactrl import test_linear_quadratic as linear_quadratic
from tests.exactrl import test_particles as particles
from tests.exactrl.test_formulas_soft_bellman import ENTRIES as SOFT_BELLMAN
from tests.exactrl.test_formulas_soft_bellman import Case
from tests.exactrl.three_views import Floats, Intervals, Rationals, Tensors, parts

BITS = 192
# A formula of some twenty roundings, each at most 2^-53 of the largest term: 256 of them is the allowance.
ROUNDING = Fraction(256, 2**53)


# --------------------------------------------------------------------------------------------------------- instances


@dataclass(frozen=True)
class Instance:
    """Distributions p, q, m (a density), dynamics f, returns r, a tangent c, temperatures; everything exact."""

    p: np.ndarray
    q: np.ndarray
    m: np.ndarray
    f: np.ndarray
    r: np.ndarray
    c: np.ndarray
    family: np.ndarray
    tau: np.ndarray
    tau_prime: np.ndarray

    @property
    def scale(self):
        """The size of the largest term that any formula adds up."""
        logs = [float_logs(x) for x in (self.p, self.q, self.m, self.f)]
        log = max(float(np.abs(x[np.isfinite(x)]).max(initial=0)) for x in logs)
        heat = max(float(np.max(np.abs(x))) for x in (self.tau, self.tau_prime))
        terms = 1 + float(np.abs(self.r).max()) + (1 + heat) * (1 + log) + float(np.abs(self.c).max()) * (1 + log)
        return Fraction(terms) * max(1, heat) * max(1, 1 / np.min(self.tau + self.tau_prime))


def drawn(rng, shape, zeros=False, extreme=False, top=30):
    rows = []
    for _ in range(int(np.prod(shape[:-1]))):
        weights = [Fraction(int(k)) for k in rng.integers(1, top, shape[-1])]
        if zeros:
            weights = [w * int(k) for w, k in zip(weights, rng.integers(0, 2, shape[-1]), strict=True)]
            weights[rng.integers(shape[-1])] = Fraction(1)
        if extreme:
            weights = [
                w * Fraction(10) ** int(-k) for w, k in zip(weights, rng.integers(0, 200, shape[-1]), strict=True)
            ]
        rows.append(normalised(weights))
    return np.array(rows, dtype=object).reshape(shape)


KINDS = (
    "generic",
    "zeros",
    "zeros, tau' = 0",
    "zeros, tau = 0",
    "equal rewards",
    "one trajectory",
    "tau' = 0",
    "tau = 0",
    "negative tau",
    "extreme",
    "batch",
)


def instance(kind, seed):
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    size = 1 if kind == "one trajectory" else int(rng.integers(2, 6))
    shape = (3, 2, size) if kind == "batch" else (size,)
    zeros, extreme = "zeros" in kind or kind == "batch", kind == "extreme"

    def ratio(low, high, shape):
        return np.vectorize(lambda k: Fraction(int(k), 12), otypes=[object])(rng.integers(low, high, shape))

    p, q = drawn(rng, shape, zeros, extreme), drawn(rng, shape, False, extreme)
    q = np.where(p == 0, p, q) if zeros and seed % 2 else q  # half of them share the support of p
    f = ratio(1, 15, shape) * (1 if not zeros else np.where(rng.integers(0, 4, shape) > 0, 1, 0))
    f[..., 0] = Fraction(1)  # some trajectory is possible
    r = np.full(shape, Fraction(2, 3)) if kind == "equal rewards" else ratio(-60, 60, shape)
    tau, tau_prime = ratio(3, 40, shape[:-1]), ratio(3, 40, shape[:-1])
    if "tau' = 0" in kind:
        tau_prime = tau_prime * 0
    if "tau = 0" in kind:
        tau = tau * 0
    if kind == "negative tau":
        tau, tau_prime = -tau, tau_prime + tau
    family = drawn(rng, (*shape[:-1], 4, size), zeros and seed % 2 == 0, top=10**9)  # no ties
    return Instance(p, q, drawn(rng, shape) * 2, f, r, ratio(-20, 20, shape), family, tau, tau_prime)


def segment(kind, seed):
    """A positive target and the ends of a segment that is not short, so that its nearest point is well conditioned."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 1])
    shape = (3, 2, 3) if kind == "batch" else (3,)
    target, first, second = drawn(rng, shape), drawn(rng, shape) / 2, drawn(rng, shape) / 2
    first[..., 0] += Fraction(1, 2)
    second[..., 1] += Fraction(1, 2)
    if "zeros" in kind:
        target, first, second = (
            x * [1, 1, 0] / (x * [1, 1, 0]).sum(-1, keepdims=True) for x in (target, first, second)
        )
    return target, first, second


def model(kind, seed):
    """Scores of three steps as rationals, with impossible actions and transitions where the kind asks for zeros."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 2])
    zeros = "zeros" in kind
    states, actions = (1, 1) if kind == "one trajectory" else (3, 2)
    policies = [drawn(rng, (states, actions), zeros) for _ in range(3)]
    rewards = [
        np.vectorize(lambda k: Fraction(int(k), 5), otypes=[object])(rng.integers(-9, 9, (states, actions)))
        for _ in range(3)
    ]
    return policies, rewards, drawn(rng, (states * actions, states), zeros), drawn(rng, (states,), zeros)


# ------------------------------------------------------------------------------------------------------- every formula


def temperatures(s, i):
    return s.number(i.tau), s.number(i.tau_prime)


def scores(s, policies, rewards):
    xp = namespace(s.number(rewards[0]))
    return [s.number(r) + xp.log(s.number(pi)) for pi, r in zip(policies, rewards, strict=True)]


def with_instance(call):
    return lambda s, kind, seed: call(s, instance(kind, seed))


def table(s, kind, seed):
    """An E-step: log-policy (S, A), Q, weights, temperature, radius, another log-policy, members, features."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 3])
    shape = (1, 1) if kind == "one trajectory" else (2, 3)
    policy, weights = drawn(rng, shape, "zeros" in kind), drawn(rng, shape[:1])
    ratio = np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])
    numbers = ratio(rng.integers(-20, 20, shape)), weights, ratio(rng.integers(4, 30, 1))[0], Fraction(1, 10)
    members = drawn(rng, (4, *shape), top=10**9)
    features = ratio(rng.integers(-9, 9, (*shape, 2)))
    return s.log(policy), *map(s.number, numbers), s.log(drawn(rng, shape)), s.log(members), s.number(features)


def featured(s, kind, seed):
    """A policy (S, A) of probabilities, features and weights."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 5])
    shape = (1, 1) if kind == "one trajectory" else (2, 3)
    ratio = np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])
    features = ratio(rng.integers(-9, 9, (*shape, 2)))
    return tuple(map(s.number, (drawn(rng, shape, "zeros" in kind), features, drawn(rng, shape[:1]))))


def member(s, kind, seed, nearest):
    """The member that a comparison picks."""
    t = table(s, kind, seed)
    return t[6][nearest(t)]


def gaussians(kind, seed):
    """Means and factors of two Gaussians, the logarithms of standard deviations among them."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 4])
    n = 1 if kind == "one trajectory" else 3
    ratio = np.vectorize(lambda k: Fraction(int(k), 7), otypes=[object])
    factors = ratio(rng.integers(-9, 9, (2, n, n)))
    factors[:, range(n), range(n)] = ratio(rng.integers(3, 20, (2, n)))
    return ratio(rng.integers(-20, 20, (2, n))), factors


def off_policy(s, kind, seed):
    """Q, rewards (S, A), transitions, policy, behaviour, discount."""
    policies, rewards, transitions, _ = model(kind, seed)
    q, r = rewards[:2]
    return *map(s.number, (q, r, transitions)), s.log(policies[0]), s.log(policies[1]), s.number(Fraction(4, 5))


def along(s, kind, seed):
    """Rewards, Q taken, Q expected, traces of a trajectory, discount."""
    i = instance(kind, seed)
    return s.number(i.r), s.number(i.c), s.number(i.p), s.number(i.q), s.number(Fraction(4, 5))


ENTRIES = {
    "entropy": with_instance(lambda s, i: entropy(s.log(i.p))),
    "cross_entropy": with_instance(lambda s, i: formulas.cross_entropy(s.log(i.p), s.log(i.q))),
    "kl": with_instance(
        lambda s, i: (kl(s.log(i.p), s.log(i.q)), kl(s.log(i.q), s.log(i.p)), kl(s.log(i.p), s.log(i.p)))
    ),
    "total_variation": with_instance(lambda s, i: total_variation(s.log(i.p), s.log(i.q))),
    "expectation": with_instance(lambda s, i: expectation(s.log(i.p), s.number(i.r))),
    "shaped_returns": with_instance(lambda s, i: formulas.shaped_returns(s.log(i.p), s.number(i.r), s.number(i.tau))),
    "total_temperature": with_instance(lambda s, i: formulas.total_temperature(*temperatures(s, i))),
    "log_lift": with_instance(
        lambda s, i: (
            log_lift(s.log(i.p), s.number(i.r), *temperatures(s, i)),
            log_lift(s.log(i.m), s.number(i.r), *temperatures(s, i), s.log(i.f)),
        )
    ),
    "surrogate": with_instance(
        lambda s, i: (
            surrogate(s.log(i.p), s.number(i.r), *temperatures(s, i)),
            surrogate(s.log(i.m), s.number(i.r), *temperatures(s, i), s.log(i.f)),
        )
    ),
    "surrogate_gradient": with_instance(
        lambda s, i: (
            surrogate_gradient(s.log(i.p), s.number(i.r), *temperatures(s, i)),
            surrogate_gradient(s.log(i.m), s.number(i.r), *temperatures(s, i), s.log(i.f)),
        )
    ),
    "lift_objective": with_instance(
        lambda s, i: lift_objective(s.log(i.p), s.log(i.q), s.number(i.r), *temperatures(s, i))
    ),
    "lift_objective_with_dynamics": with_instance(
        lambda s, i: lift_objective_with_dynamics(
            s.log(i.p), s.log(i.m), s.number(i.r), *temperatures(s, i), s.log(i.f)
        )
    ),
    "lift_weights": with_instance(lambda s, i: lift_weights(s.log(i.p), s.number(i.r), *temperatures(s, i))),
    "log_boltzmann": with_instance(
        lambda s, i: (
            log_boltzmann(s.number(i.r), s.number(i.tau + i.tau_prime)),
            log_boltzmann(s.number(i.r), s.number(i.tau + i.tau_prime), s.log(i.m)),
        )
    ),
    "soft_value": with_instance(
        lambda s, i: (
            soft_value(s.number(i.r), s.number(i.tau + i.tau_prime)),
            soft_value(s.number(i.r), s.number(i.tau + i.tau_prime), s.log(i.p)),
        )
    ),
    "centred": with_instance(lambda s, i: centred(s.log(i.p), s.number(i.c))),
    "expectation_slope": with_instance(lambda s, i: expectation_slope(s.log(i.p), s.number(i.r), s.number(i.c))),
    "forward_kl_slope": with_instance(lambda s, i: forward_kl_slope(s.log(i.p), s.number(i.c))),
    "reverse_kl_slope": with_instance(lambda s, i: reverse_kl_slope(s.log(i.p), s.log(i.q), s.number(i.c))),
    "nearest_forward": with_instance(lambda s, i: formulas.nearest_forward(s.log(i.q), s.log(i.family))),
    "nearest_reverse": with_instance(lambda s, i: formulas.nearest_reverse(s.log(i.q), s.log(i.family))),
    "mixture": with_instance(lambda s, i: formulas.mixture(s.number(i.p), s.number(i.q), s.number(i.p[..., 0]))),
    "segment_slope": lambda s, kind, seed: formulas.segment_slope(
        *map(s.number, segment(kind, seed)), s.number(segment(kind, seed)[0][..., 0])
    ),
    "nearest_on_segment": lambda s, kind, seed: formulas.nearest_on_segment(*map(s.number, segment(kind, seed))),
    "log_expected_exp": lambda s, kind, seed: log_expected_exp(
        s.number(np.array(range(-3, model(kind, seed)[2].shape[1] - 3), dtype=object)), s.number(model(kind, seed)[2])
    ),
    "backward_log_partition": lambda s, kind, seed: formulas.backward_log_partition(
        scores(s, *model(kind, seed)[:2]), *map(s.number, model(kind, seed)[2:])
    ),
    "theorem1_temperatures": lambda s, kind, seed: formulas.theorem1_temperatures(
        s.number([1, 2, 3, 100 + seed]), s.number([2 + seed, 3, 10, 10**6])
    ),
    "theorem1_regret_bound": lambda s, kind, seed: formulas.theorem1_regret_bound(
        s.number([1, 10 + seed]), s.number(7)
    ),
    # The density m stands for the policy: an action that was sampled has a positive probability.
    "bellman_target": with_instance(
        lambda s, i: formulas.bellman_target(s.number(i.r), s.number(i.p), s.number(i.c), s.number(Fraction(9, 10)))
    ),
    "sampled_soft_value": with_instance(
        lambda s, i: formulas.sampled_soft_value(s.number(i.r), s.log(i.m), s.number(Fraction(3, 7)))
    ),
    "squared_error": with_instance(lambda s, i: formulas.squared_error(s.number(i.r), s.number(i.c))),
    "exponential_regression": with_instance(
        lambda s, i: formulas.exponential_regression(
            s.number(i.c), s.number(i.r), s.number(Fraction(7, 4)), s.number(Fraction(4, 3))
        )
    ),
    "projection_weight": with_instance(
        lambda s, i: formulas.projection_weight(s.number(i.c), s.number(Fraction(1, 2)))
    ),
    "score_function_loss": with_instance(lambda s, i: formulas.score_function_loss(s.log(i.m), s.number(i.r))),
    "temperature_loss": with_instance(
        lambda s, i: formulas.temperature_loss(s.number(i.c), s.log(i.m), s.number(Fraction(-5, 2)))
    ),
    "gaussian_log_density": with_instance(lambda s, i: formulas.gaussian_log_density(s.number(i.r), s.number(i.c))),
    "squash_log_jacobian": with_instance(lambda s, i: formulas.squash_log_jacobian(s.number(i.r))),
}
ENTRIES |= {
    "dual_value": lambda s, kind, seed: formulas.dual_value(*table(s, kind, seed)[:5]),
    "dual_derivatives": lambda s, kind, seed: formulas.dual_derivatives(*table(s, kind, seed)[:5]),
    "log_estep": lambda s, kind, seed: formulas.log_estep(*(table(s, kind, seed)[k] for k in (0, 1, 3))),
    "tilted_kl": lambda s, kind, seed: formulas.tilted_kl(*table(s, kind, seed)[:2]),
    "expected_kl": lambda s, kind, seed: formulas.expected_kl(*(table(s, kind, seed)[k] for k in (0, 5, 2))),
    "mstep_objective": lambda s, kind, seed: formulas.mstep_objective(*(table(s, kind, seed)[k] for k in (0, 5, 2))),
    "mstep_target": lambda s, kind, seed: formulas.mstep_target(*(table(s, kind, seed)[k] for k in (0, 5, 3))),
    "nearest_table": lambda s, kind, seed: member(s, kind, seed, lambda t: formulas.nearest_table(t[5], t[6], t[2])),
    "nearest_table_within": lambda s, kind, seed: member(
        s, kind, seed, lambda t: formulas.nearest_table_within(t[5], t[0], t[6], t[2], 50)
    ),
    "softmax_fisher": lambda s, kind, seed: formulas.softmax_fisher(*(table(s, kind, seed)[k] for k in (0, 7, 2))),
    "gaussian_kl": lambda s, kind, seed: tuple(
        formulas.gaussian_kl(*(s.number(x[k]) for k in (0, 1) for x in gaussians(kind, seed)))
    ),
    "gaussian_kl_diagonal": lambda s, kind, seed: tuple(
        formulas.gaussian_kl_diagonal(*(s.number(x) for x in (*gaussians(kind, seed)[0], *gaussians(kind, seed)[0])))
    ),
    "solve_lower": lambda s, kind, seed: formulas.solve_lower(*(s.number(x) for x in gaussians(kind, seed)[1])),
    "retrace_coefficients": lambda s, kind, seed: formulas.retrace_coefficients(
        s.log(instance(kind, seed).p), s.log(instance(kind, seed).m)
    ),
    "temporal_differences": lambda s, kind, seed: formulas.temporal_differences(
        *(along(s, kind, seed)[k] for k in (0, 1, 2, 4))
    ),
    "retrace_targets": lambda s, kind, seed: (
        formulas.retrace_targets(*along(s, kind, seed)),
        formulas.retrace_targets(*along(s, kind, seed), steps=2),
    ),
    "retrace_kernel": lambda s, kind, seed: formulas.retrace_kernel(*off_policy(s, kind, seed)[2:5]),
    "retrace_operator": lambda s, kind, seed: formulas.retrace_operator(*off_policy(s, kind, seed), steps=3),
}
ENTRIES |= {
    "softmax_scores": with_instance(lambda s, i: formulas.softmax_scores(s.number(i.p))),
    "centred_features": lambda s, kind, seed: formulas.centred_features(*featured(s, kind, seed)[:2]),
    "expected_features": lambda s, kind, seed: formulas.expected_features(*featured(s, kind, seed)),
}
ENTRIES |= {
    name: lambda s, kind, seed, call=call: call(s, Case(seed, "zeros" in kind)) for name, call in SOFT_BELLMAN.items()
}
ENTRIES |= {
    name: lambda s, kind, seed, call=call: call(s, particles.Case(seed, (2,) if kind == "batch" else ()))
    for name, call in particles.ENTRIES.items()
}
for module, case in (
    (marginals, marginals.Case),
    (linear_quadratic, linear_quadratic.Case),
    (joint_ascent, joint_ascent.instance),
    (regression, regression.drawn),
):
    ENTRIES |= {
        name: lambda s, kind, seed, call=call, case=case: call(s, case(3 * KINDS.index(kind) + seed))
        for name, call in module.ENTRIES.items()
    }
#: without logarithms, so that Fractions pass through them
RATIONAL = (
    "amortised_update", "bellman_target", "centred_features", "chain_of", "chain_slopes", "discounted_system",
    "eliminate", "expected_features", "expected_following", "expected_next", "fitted_multiple",
    "log_density_of_image", "lookahead", "mean_slopes", "next_marginal", "next_marginal_slopes", "next_mass",
    "policy_average", "policy_gradient", "policy_kernel", "polynomial_kernel", "polynomial_kernel_gradient",
    "riccati_backup", "softmax_scores", "squared_error", "through_softmax",
)  # fmt: skip


def test_every_public_formula_has_an_entry():
    assert set(ENTRIES) == set(formulas.__all__)
    assert all(callable(getattr(formulas, name)) for name in formulas.__all__)


def assert_within(number, x, allowance, where):
    """Hold a float inside the ball x, widened by the allowance; infinities must agree."""
    if not x.is_finite():
        assert x == arb(float(number)), f"{where}: {number} instead of {x}"
        return
    ((low, high),) = Balls(x).bounds()
    assert high - low <= Fraction(1, 2 ** (BITS // 2)) * max(1, abs(high)), f"{where}: the ball {x} says little"
    assert np.isfinite(number), f"{where}: {number} instead of {x}"
    slack = allowance * max(1, abs(high))
    assert low - slack <= Fraction(float(number)) <= high + slack, f"{where}: {number} lies outside {x}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ENTRIES)
def test_floats_lie_in_the_balls_and_tensors_equal_floats(name, kind):
    for seed in range(3):
        call = ENTRIES[name]
        with np.errstate(invalid="ignore"):  # warnings have a test of their own
            floats = parts(call(Floats(), kind, seed))
        in_tensors = parts(call(Tensors(), kind, seed))
        with precision(BITS):
            in_balls = parts(call(Intervals(), kind, seed))
            allowance = ROUNDING * instance(kind, seed).scale
            assert len(floats) == len(in_balls) == len(in_tensors)
            for number, tensor, enclosed in zip(floats, in_tensors, in_balls, strict=True):
                assert np.shape(number) == tuple(tensor.shape) == enclosed.shape
                assert tensor.dtype == torch.float64
                size = float(allowance) / 256
                np.testing.assert_allclose(
                    tensor.numpy(), number, rtol=1e-12, atol=size, err_msg=f"{name}, {kind}, {seed}"
                )
                for v, x in zip(np.ravel(number), enclosed.data.ravel(), strict=True):
                    assert_within(v, x, allowance, f"{name}, {kind}, seed {seed}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RATIONAL)
def test_fractions_pass_through_what_has_no_logarithm(name, kind):
    for seed in range(3):
        exact = parts(ENTRIES[name](Rationals(), kind, seed))
        with precision(BITS):
            for fractions, enclosed in zip(exact, parts(ENTRIES[name](Intervals(), kind, seed)), strict=True):
                assert np.shape(fractions) == enclosed.shape
                for x, (low, high) in zip(np.ravel(fractions), enclosed.bounds(), strict=True):
                    assert isinstance(x, Fraction)
                    assert low <= x <= high


@pytest.mark.parametrize("name", ENTRIES)
def test_no_formula_warns_about_zero_probabilities(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("zeros", "zeros, tau' = 0", "zeros, tau = 0", "batch"):
            for seed in range(3):
                ENTRIES[name](Floats(), kind, seed)


@pytest.mark.parametrize("name", ["log_lift", "surrogate", "lift_objective", "kl", "centred"])
def test_a_batch_is_its_rows(name):
    whole = instance("batch", 3)
    rows = [
        Instance(**{k: np.array(v[index]) if np.ndim(v[index]) else v[index] for k, v in vars(whole).items()})
        for index in np.ndindex(3, 2)
    ]
    calls = {
        "log_lift": lambda s, i: log_lift(s.log(i.p), s.number(i.r), s.number(i.tau), s.number(i.tau_prime)),
        "surrogate": lambda s, i: surrogate(s.log(i.p), s.number(i.r), s.number(i.tau), s.number(i.tau_prime)),
        "lift_objective": lambda s, i: lift_objective(
            s.log(i.p), s.log(i.q), s.number(i.r), s.number(i.tau), s.number(i.tau_prime)
        ),
        "kl": lambda s, i: kl(s.log(i.p), s.log(i.q)),
        "centred": lambda s, i: centred(s.log(i.p), s.number(i.c)),
    }
    for s in (Floats(), Tensors()):
        together = np.asarray(calls[name](s, whole)).reshape(6, -1)
        apart = [np.ravel(calls[name](s, row)) for row in rows]
        np.testing.assert_allclose(together, apart, rtol=1e-13, atol=1e-14)


def test_the_balls_are_balls():
    assert isinstance(entropy(Intervals().log([Fraction(1, 3), Fraction(2, 3)])).data[()], arb)


# ---------------------------------------------------------------------------------------------------------- gradients


def tensor(x, grad=True):
    return torch.tensor(x, dtype=torch.float64, requires_grad=grad)


def positive(seed, shape=(5,)):
    rng = np.random.default_rng(seed)
    return tensor(np.log(rng.dirichlet(np.ones(shape[-1]), shape[:-1]))), tensor(rng.normal(size=shape), grad=False)


LOG_F = tensor(np.log([0.5, 1.5, 0.1, 2.0, 0.7]), grad=False)


@pytest.mark.parametrize(("tau", "tau_prime"), [(0.7, 0.2), (1.5, 0.0), (0.0, 1.0), (-0.3, 1.1)])
@pytest.mark.parametrize("log_dynamics", [None, LOG_F], ids=["deterministic", "stochastic"])
def test_autograd_of_the_surrogate_is_the_closed_form(tau, tau_prime, log_dynamics):
    log_policy, returns = positive(1)
    (found,) = torch.autograd.grad(surrogate(log_policy, returns, tau, tau_prime, log_dynamics), log_policy)
    expected = surrogate_gradient(log_policy, returns, tau, tau_prime, log_dynamics)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_autograd_of_a_softmax_policy_gives_the_slopes_of_the_divergences():
    logits, direction = positive(2)
    target, values = positive(3)
    target = target.detach()
    log_policy = torch.log_softmax(logits, -1)
    tangent = centred(log_policy, direction)
    for divergence, slope in [
        (kl(log_policy, target), reverse_kl_slope(log_policy, target, tangent)),
        (kl(target, log_policy), forward_kl_slope(target, tangent)),
        (expectation(log_policy, values), expectation_slope(log_policy, values, tangent)),
    ]:
        (found,) = torch.autograd.grad(divergence, logits, retain_graph=True)
        torch.testing.assert_close(found @ direction, slope, rtol=1e-11, atol=1e-13)


def test_the_scores_are_the_jacobian_of_the_logarithms_of_a_softmax():
    logits, _ = positive(6, (2, 4))
    jacobians = [torch.autograd.functional.jacobian(lambda x: torch.log_softmax(x, -1), row) for row in logits]
    torch.testing.assert_close(formulas.softmax_scores(torch.softmax(logits, -1)), torch.stack(jacobians))


def test_autograd_of_the_lift_objective_vanishes_at_the_lift():
    log_reference, returns = positive(4)
    lift = log_lift(log_reference, returns, 0.6, 0.3).detach().requires_grad_()
    policy = torch.log_softmax(lift, -1)
    (slope,) = torch.autograd.grad(lift_objective(policy, log_reference.detach(), returns, 0.6, 0.3), lift)
    torch.testing.assert_close(slope, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-13)


def test_autograd_of_the_soft_value_is_the_boltzmann_policy():
    values = tensor([0.3, -1.0, 2.0])
    (found,) = torch.autograd.grad(soft_value(values, 0.4), values)
    torch.testing.assert_close(found, log_boltzmann(values, 0.4).exp(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, r: surrogate(x, r, 0.7, 0.2),
        lambda x, r: surrogate(x, r, 0.7, 0.2, LOG_F),
        lambda x, r: log_lift(x, r, 0.7, 0.2),
        lambda x, r: surrogate_gradient(x, r, 0.7, 0.2),
        lambda x, r: kl(x, r),
        lambda x, r: kl(r, x),
        lambda x, r: entropy(x),
        lambda x, r: total_variation(x, r),
        lambda x, r: lift_objective(x, r - 1, r, 0.5, 0.3),
        lambda x, r: lift_objective_with_dynamics(x, r - 1, r, 0.5, 0.3, LOG_F),
        lambda x, r: lift_weights(x, r, 0.5, 0.3),
        lambda x, r: soft_value(r, x[0] ** 2, x),
        lambda x, r: log_expected_exp(x, torch.ones(2, 5, dtype=torch.float64)),
        lambda x, r: reverse_kl_slope(x, r, r),
        lambda x, r: formulas.bellman_target(r, 1 + r, x, 0.9),
        lambda x, r: formulas.sampled_soft_value(r, x, 0.3),
        lambda x, r: formulas.squared_error(x, r),
        lambda x, r: formulas.exponential_regression(x, r, 0.7, 1.0),
        lambda x, r: formulas.exponential_regression(r, x, 0.7, 1.0),
        lambda x, r: formulas.projection_weight(x, -1.5),
        lambda x, r: formulas.score_function_loss(x, r),
        lambda x, r: formulas.temperature_loss(x, r, -2.0),
        lambda x, r: formulas.gaussian_log_density(r, x),
        lambda x, r: formulas.gaussian_log_density(x, r),
        lambda x, r: formulas.squash_log_jacobian(x),
    ],
)
def test_gradcheck(loss):
    log_policy, returns = positive(5)
    assert torch.autograd.gradcheck(lambda x: loss(x, returns), (log_policy,))


ZERO = [0.5, 0.5, 0.0]


def with_zero():
    """A policy with an impossible trajectory, its returns, and both temperatures as things to learn."""
    return tensor(ZERO).log().detach().requires_grad_(), tensor([1.0, 2.0, 3.0], grad=False), tensor(0.7), tensor(0.3)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, r: surrogate(x, r, 0.7, 0.3),
        lambda x, r: surrogate(x, r, 0.0, 1.0),
        lambda x, r: log_lift(x, r, 0.7, 0.3)[:2].sum(),
        lambda x, r: surrogate_gradient(x, r, 0.7, 0.3).sum(),
        lambda x, r: kl(x, x.detach()),
        lambda x, r: kl(x.detach(), x),
        lambda x, r: kl(x, r),
        lambda x, r: entropy(x),
        lambda x, r: expectation(x, r),
        lambda x, r: total_variation(x, x.detach()),
        lambda x, r: lift_objective(x, x.detach(), r, 0.5, 0.3),
        lambda x, r: lift_objective_with_dynamics(x, x.detach(), r, 0.5, 0.3, tensor([0.1, 0.2, 0.3])),
        lambda x, r: soft_value(r, 0.5, x),
        lambda x, r: reverse_kl_slope(x, x.detach(), r),
        lambda x, r: centred(x, r).sum(),
    ],
)
def test_gradients_stay_finite_where_a_trajectory_is_impossible(loss):
    log_policy, returns, _, _ = with_zero()
    (slope,) = torch.autograd.grad(loss(log_policy, returns), log_policy)
    assert slope.isfinite().all()
    assert slope[2] == 0, "nothing depends on a trajectory of probability 0"


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, r, tau, tau_prime: surrogate(x, r, tau, tau_prime),
        lambda x, r, tau, tau_prime: log_lift(x, r, tau, tau_prime)[:2].sum(),
        lambda x, r, tau, tau_prime: surrogate_gradient(x, r, tau, tau_prime).sum(),
        lambda x, r, tau, tau_prime: lift_objective(x, x.detach(), r, tau, tau_prime),
        lambda x, r, tau, tau_prime: lift_objective_with_dynamics(x, x.detach(), r, tau, tau_prime, 0 * r),
    ],
)
def test_gradients_of_temperatures_stay_finite_where_a_trajectory_is_impossible(loss):
    log_policy, returns, tau, tau_prime = with_zero()
    found = torch.autograd.grad(loss(log_policy, returns, tau, tau_prime), (tau, tau_prime))
    # The same problem without the impossible trajectory has the same slopes.
    x, r = log_policy.detach()[:2], returns[:2]
    expected = torch.autograd.grad(loss(x, r, tau, tau_prime), (tau, tau_prime), allow_unused=True)
    for slope, same in zip(found, expected, strict=True):
        torch.testing.assert_close(slope, same)


def test_the_gradient_of_a_slope_by_its_tangent_is_finite_where_both_policies_lack_mass():
    log_policy, _, _, _ = with_zero()
    tangent = tensor([0.5, -0.5, 0.0])
    target = log_policy.detach() - 1
    (slope,) = torch.autograd.grad(reverse_kl_slope(log_policy, target, tangent), tangent)
    torch.testing.assert_close(slope, tensor([0.5, 0.5, 0.0], grad=False))


def test_single_precision_policies_stay_single():
    log_policy, returns = torch.log_softmax(torch.randn(4), -1), torch.randn(4)
    for found in (
        surrogate(log_policy, returns, 0.5, 0.2),
        log_lift(log_policy, returns, 0.5, 0.0),
        entropy(log_policy),
        kl(log_policy, returns),
        expectation(log_policy, returns),
    ):
        assert found.dtype == torch.float32
