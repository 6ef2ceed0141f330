"""Optimal soft values: linear and conic programs, long plain iterations, enumeration, and bounds that must hold."""

import itertools
import math
from fractions import Fraction

import cvxpy as cp
import mpmath
import numpy as np
import pytest
import scipy.optimize
from flint import arb

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.evaluation import evaluate
from exactrl.formulas import soft_bellman as formulas
from exactrl.number_systems.balls import precision
from exactrl.soft_balls import soft_enclosure
from exactrl.soft_iteration import (
    soft_backward_induction,
    soft_bounds,
    soft_policy_iteration,
    soft_value_iteration,
)
from exactrl.sources import chain, garnet, river_swim, tree

ITERATIONS = [soft_value_iteration, soft_policy_iteration]
MODELS = {
    "garnet": garnet(4, 3, 2, seed=1, exact=True, discount="9/10"),
    "floats": garnet(6, 4, 6, seed=2, discount=0.8),
    "next-state rewards": FiniteMDP(
        [[["1/2", "1/2"], [1, 0]], [[0, 1], ["1/3", "2/3"]]],
        [[[1, -2], [3, 0]], [[0, "1/7"], [5, -1]]],
        discount="3/4",
    ),
    "river": river_swim(5, discount=0.95),
    "sparse": garnet(7, 2, 2, seed=3, discount=0.9, sparse=True),
    "one action": garnet(3, 1, 2, seed=4, discount=0.9),
    "one state": garnet(1, 4, 1, seed=5, discount=0.99),
    "gamma 0": garnet(3, 3, 3, seed=6, discount=0),
}
ALPHAS = (0, Fraction(1, 1000), "1/2", 3.0)
MEASURES = ("counting", "normalised", "weights")


def weights(mdp, measure):
    """The measure as given, and as numbers: some actions without mass in the third."""
    A = mdp.n_actions
    if measure == "weights":
        given = [Fraction(1 + a, 3) if a != 1 else Fraction(0) for a in range(A)]
        return given, np.array(given, dtype=float)
    return measure, np.full(A, 1.0 if measure == "counting" else 1 / A)


def inside(bounds, balls):
    """Whether the proven bounds hold: no enclosure of the truth may lie beyond one of them."""
    with precision(300):
        for low, high, found in (
            (bounds.values_lower, bounds.values_upper, balls.values),
            (bounds.action_values_lower, bounds.action_values_upper, balls.action_values),
        ):
            ends = found.bounds()
            assert all(Fraction(x) <= e[1] for x, e in zip(low.ravel().tolist(), ends, strict=True))
            assert all(Fraction(x) >= e[0] for x, e in zip(high.ravel().tolist(), ends, strict=True))
    return True


# --------------------------------------------------------------------------------------- other roads to the optimum


@pytest.mark.parametrize("iteration", ITERATIONS)
@pytest.mark.parametrize("name", MODELS)
def test_hard_values_are_the_linear_programs(name, iteration):
    mdp = MODELS[name]
    S, A = mdp.n_states, mdp.n_actions
    P, r = mdp.dense().transitions, mdp.expected_rewards
    rows = (np.repeat(np.eye(S), A, axis=0) - mdp.discount * P.reshape(-1, S)) * -1
    solved = scipy.optimize.linprog(np.ones(S), A_ub=rows, b_ub=-r.ravel(), bounds=(None, None), method="highs")
    found = iteration(mdp, 0)
    assert found.width <= 1e-8
    np.testing.assert_allclose(found.values, solved.x, rtol=1e-7, atol=1e-7)
    greedy = evaluate(mdp, np.exp(found.log_policy))
    np.testing.assert_allclose(greedy.values, solved.x, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("iteration", ITERATIONS)
@pytest.mark.parametrize("name", ["garnet", "sparse", "next-state rewards"])
def test_soft_values_are_the_conic_programs(name, iteration):
    mdp, alpha = MODELS[name], 0.5
    P, r = mdp.dense().transitions, mdp.expected_rewards
    V = cp.Variable(mdp.n_states)
    constraints = [
        alpha * cp.log_sum_exp((r[s] + mdp.discount * (P[s] @ V)) / alpha) <= V[s] for s in range(mdp.n_states)
    ]
    cp.Problem(cp.Minimize(cp.sum(V)), constraints).solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(iteration(mdp, alpha).values, V.value, rtol=1e-6, atol=1e-6)


def long_iteration(mdp, alpha, base, digits=30, sweeps=1500):
    """Plain value iteration in many digits."""
    with mpmath.workdps(digits):
        P = [[[mpmath.mpf(p.numerator) / p.denominator for p in row] for row in s] for s in mdp.transitions_exact]
        r = [[mpmath.mpf(x.numerator) / x.denominator for x in row] for row in mdp.expected_rewards_exact]
        gamma = mpmath.mpf(mdp.discount_exact.numerator) / mdp.discount_exact.denominator
        alpha = mpmath.mpf(Fraction(alpha).numerator) / Fraction(alpha).denominator
        values = [mpmath.mpf(0)] * mdp.n_states
        for _ in range(sweeps):
            new = []
            for s in range(mdp.n_states):
                q = [r[s][a] + gamma * mpmath.fdot(P[s][a], values) for a in range(mdp.n_actions) if base[a] > 0]
                b = [mpmath.mpf(w.numerator) / w.denominator for w in base if w > 0]
                total = mpmath.fsum(w * mpmath.exp(x / alpha) for w, x in zip(b, q, strict=True)) if alpha else 0
                new.append(alpha * mpmath.log(total) if alpha else max(q))
            values = new
        return [Fraction(int(mpmath.floor(v * 10**28)), 10**28) for v in values]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("alpha", [0, Fraction(1, 10), Fraction(2)])
def test_enclosures_contain_a_long_plain_iteration(alpha, measure):
    mdp = MODELS["next-state rewards"]
    given, _ = weights(mdp, measure)
    base = given if measure == "weights" else [Fraction(1, 2 if measure == "normalised" else 1)] * 2
    truth = long_iteration(mdp, alpha, base)
    balls = soft_enclosure(mdp, alpha, measure=given, bits=100)
    with precision(200):
        for x, (low, high) in zip(truth, balls.values.bounds(), strict=True):
            assert low - Fraction(1, 10**25) <= x <= high + Fraction(1, 10**25)
            assert high - low < Fraction(1, 10**26)
    for iteration in ITERATIONS:
        found = iteration(mdp, alpha, measure=given, tolerance=None)
        assert all(lo <= x <= hi for lo, x, hi in zip(found.values_lower, truth, found.values_upper, strict=True))


# --------------------------------------------------------------------------------------------- what is proven holds


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", MODELS)
def test_bounds_hold_whatever_values_they_start_from(name, alpha, measure):
    mdp = MODELS[name]
    given, _ = weights(mdp, measure)
    truth = soft_enclosure(mdp, alpha, measure=given, bits=200)
    rng = np.random.default_rng(0)
    for size in (0.0, 1.0, 1e6):
        start = size * rng.normal(size=mdp.n_states)
        assert inside(soft_bounds(mdp, start, alpha, measure=given), truth)
        for iteration in ITERATIONS:
            for tolerance in (1e-3, 1e-8, None):
                found = iteration(mdp, alpha, measure=given, tolerance=tolerance, start=start)
                assert inside(found, truth)
                assert found.width <= (tolerance or 1e-9)
    near = soft_bounds(mdp, found.values, alpha, measure=given)
    assert inside(near, truth)
    assert near.width < 1e-9


@pytest.mark.parametrize("alpha", [0, 1e-300, 1e-100, 1e-6, 1e6, 1e100])
@pytest.mark.parametrize("measure", MEASURES)
def test_temperatures_of_any_size_stay_proven(alpha, measure):
    mdp = MODELS["garnet"]
    given, _ = weights(mdp, measure)
    truth = soft_enclosure(mdp, alpha, measure=given, bits=160)
    for iteration in ITERATIONS:
        found = iteration(mdp, alpha, measure=given, tolerance=None)
        assert inside(found, truth)
        assert found.width < 1e-11 * (1 + alpha)
        np.testing.assert_allclose(np.exp(found.log_policy).sum(-1), 1, rtol=1e-12)
    widths = [float(2 * x.rad()) for x in truth.values.data]
    assert max(widths) < 1e-40 * (1 + alpha)


def test_temperatures_beyond_floats_are_enclosed_in_balls():
    mdp = MODELS["garnet"]
    hard = soft_enclosure(mdp, 0, bits=200)
    for measure in MEASURES[:2]:
        tiny = soft_enclosure(mdp, Fraction(1, 10**1000), measure=measure, bits=200)
        with precision(300):
            assert all(x.overlaps(y) for x, y in zip(hard.values.data, tiny.values.data, strict=True))
            assert all(float(x.rad()) < 1e-50 for x in tiny.values.data)


@pytest.mark.parametrize("seed", [*range(30), 131])  # in 131 rounding keeps the residual at the size of its error
def test_drawn_models_of_all_scales_end_and_stay_proven(seed):
    rng = np.random.default_rng(seed)
    S, A = rng.integers(1, 9), rng.integers(1, 6)
    P = rng.dirichlet(np.full(S, rng.choice([0.1, 1.0])), (S, A))
    P /= P.sum(-1, keepdims=True)
    rewards = rng.normal(size=(S, A)) * 10.0 ** rng.integers(-6, 9)
    mdp = FiniteMDP(P, rewards, discount=float(rng.choice([0, 0.5, 0.9, 0.99, 0.9999])))
    alpha = float(rng.choice([0, 1e-250, 1e-8, 0.1, 1, 50, 1e8]))
    weighed = list(rng.random(A) * 10.0 ** rng.integers(-8, 8) + 1e-300)
    measure = ["counting", "normalised", weighed][rng.integers(3)]
    truth = soft_enclosure(mdp, alpha, measure=measure, bits=160)
    for iteration in ITERATIONS[mdp.discount > 0.99 :]:
        assert inside(iteration(mdp, alpha, measure=measure, tolerance=None), truth)


def test_rows_that_miss_one_stay_proven():
    transitions = np.array([[[0.5, 0.5 + 5e-11], [0.25, 0.75 - 5e-11]], [[1.0, 0.0], [0.3, 0.7]]])
    mdp = FiniteMDP(transitions, [[1.0, -2.0], [0.5, 30.0]], discount=0.999)
    for alpha in (0, 0.5):
        truth = soft_enclosure(mdp, alpha, bits=200)
        for iteration in ITERATIONS:
            found = iteration(mdp, alpha, tolerance=None)
            assert inside(found, truth)
            assert found.width < 1e-6


def test_the_library_of_floats_keeps_its_promise_on_exp_and_log():
    rng = np.random.default_rng(0)
    with precision(200):
        for function, name, points in (
            (np.exp, "exp", -np.abs(rng.normal(size=20_000)) * 10.0 ** rng.uniform(-8, 2.8, 20_000)),
            (np.log, "log", np.concatenate([rng.uniform(1, 20, 20_000), 1 + 10.0 ** rng.uniform(-15, 0, 20_000)])),
        ):
            points = points[points > -700]
            found = function(points)
            for x, y in zip(points.tolist(), found.tolist(), strict=True):
                error = abs(getattr(arb(x), name)() - arb(y))
                assert error <= 4 * arb(math.ulp(y))


@pytest.mark.parametrize("alpha", [0, 0.3])
def test_the_hard_way_is_a_norm_and_the_bounds_are_never_wider(alpha):
    """||Q - Q*|| <= ||TQ - Q|| / (1 - gamma), which the span can only better."""
    mdp = MODELS["garnet"]
    rng = np.random.default_rng(1)
    P, gamma = mdp.transitions.reshape(-1, 4), mdp.discount
    best = soft_policy_iteration(mdp, alpha).action_values
    for _ in range(20):
        Q = rng.normal(size=(4, 3)) * 5
        residual = formulas.soft_bellman_operator(Q, mdp.expected_rewards, gamma, P, alpha) - Q
        assert np.abs(Q - best).max() <= np.abs(residual).max() / (1 - gamma) + 1e-7
        V = formulas.soft_maximum(Q, alpha)
        step = soft_bounds(mdp, V, alpha)
        backed_up = (step.values_lower + step.values_upper) / 2
        assert step.width <= 2 * gamma / (1 - gamma) * np.abs(V - backed_up).max() * 10 + 1e-9


# ------------------------------------------------------------------------------------------------------ convergence


@pytest.mark.parametrize("name", ["garnet", "river", "sparse"])
def test_the_soft_greedy_policy_is_worth_the_soft_value(name):
    mdp = MODELS[name]
    for measure in MEASURES:
        given, _ = weights(mdp, measure)
        found = soft_policy_iteration(mdp, 0.5, measure=given, tolerance=1e-9)
        worth = evaluate(mdp, np.exp(found.log_policy), alpha=0.5, measure=given)
        np.testing.assert_allclose(worth.values, found.values, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(worth.action_values, found.action_values, rtol=1e-8, atol=1e-8)


def test_policy_iteration_needs_few_sweeps_where_value_iteration_needs_many():
    mdp = chain(30, slip=0.1, discount=0.999)
    few, many = soft_policy_iteration(mdp, 0.01, tolerance=1e-6), soft_value_iteration(mdp, 0.01, tolerance=1e-6)
    assert few.sweeps < 40 < 10 * few.sweeps < many.sweeps
    np.testing.assert_allclose(few.values, many.values, atol=2e-6)


@pytest.mark.parametrize("discount", [0.9, 0.99])
@pytest.mark.parametrize("n_states", [150, 1200])
def test_models_of_some_size_by_both_iterations(n_states, discount):
    mdp = garnet(n_states, 3, 4, seed=7, discount=discount, sparse=True)
    for model in (mdp, mdp.dense()):
        one, two = (iteration(model, 0.2, tolerance=1e-7) for iteration in ITERATIONS)
        assert (one.values_lower <= two.values_upper).all()
        assert (two.values_lower <= one.values_upper).all()
        np.testing.assert_allclose(one.values, two.values, atol=2e-7)


def test_a_start_at_the_answer_needs_one_sweep():
    mdp = MODELS["garnet"]
    first = soft_value_iteration(mdp, 0.5, tolerance=1e-12 * 100)
    assert soft_value_iteration(mdp, 0.5, start=first.values).sweeps == 1


@pytest.mark.parametrize("measure", MEASURES[:2])
def test_the_limit_of_small_temperatures_and_its_rate(measure):
    mdp = MODELS["garnet"]
    logs = np.zeros(3) if measure == "counting" else np.full(3, -math.log(3))
    hard = soft_policy_iteration(mdp, 0, tolerance=1e-11).values
    gaps = []
    for alpha in (1.0, 0.1, 1e-2, 1e-3, 1e-5):
        gap = soft_policy_iteration(mdp, alpha, measure=measure, tolerance=1e-10).values - hard
        low, high = formulas.temperature_gap(alpha, logs, 1 / (1 - mdp.discount))
        assert (gap >= low - 1e-9).all()
        assert (gap <= high + 1e-9).all()
        gaps.append(np.abs(gap).max())
    assert all(a > b - 1e-9 for a, b in itertools.pairwise(gaps))
    assert gaps[-1] < 1e-3
    equal = mdp.replace(rewards=np.ones((4, 3)))  # where nothing distinguishes the actions, the rate is attained
    found = soft_policy_iteration(equal, 0.5, measure=measure).values
    expected = 10 * (1 + (0.5 * math.log(3) if measure == "counting" else 0))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


# ----------------------------------------------------------------------------------------------------- with a horizon


@pytest.mark.parametrize("alpha", [Fraction(1, 2), 3])
@pytest.mark.parametrize("discount", [1, "9/10"])
def test_deterministic_horizons_are_sums_over_all_trajectories(alpha, discount):
    """alpha log sum exp(return / alpha) over trajectories is the soft value where dynamics are deterministic."""
    mdp = tree(3, 2, seed=0, exact=True)
    found = soft_backward_induction(mdp, alpha)
    space = TrajectorySpace(mdp)
    uniform = np.full((mdp.n_states, 2), 0.5)
    expected = space.surrogate(uniform, tau=0.0, tau_prime=float(alpha), method="enumeration")
    np.testing.assert_allclose(mdp.initial @ found.values[0], expected, rtol=1e-12)
    assert inside(found, soft_enclosure(mdp, alpha, bits=200))
    soft = evaluate(mdp, np.exp(found.log_policy), alpha=alpha)
    np.testing.assert_allclose(soft.values, found.values, rtol=1e-12, atol=1e-12)
    other = mdp.replace(discount=discount)
    assert inside(soft_backward_induction(other, alpha), soft_enclosure(other, alpha, bits=200))


def test_hard_horizons_are_the_best_of_all_deterministic_policies():
    mdp = garnet(2, 2, 2, seed=1, exact=True, horizon=3, discount="3/4", initial=0)
    returns = []
    for choice in itertools.product(range(2), repeat=6):
        policy = np.eye(2, dtype=int)[np.array(choice).reshape(3, 2)]
        returns.append(evaluate(mdp, policy, numbers="rationals").expected_return)
    found = soft_backward_induction(mdp, 0)
    assert found.values_lower[0, 0] <= max(returns) <= found.values_upper[0, 0]
    assert found.width < 1e-12
    assert evaluate(mdp, np.exp(found.log_policy), numbers="rationals").expected_return == max(returns)
    ((low, high), *_) = soft_enclosure(mdp, 0).values[0].bounds()
    assert low <= max(returns) <= high


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("sparse", [False, True])
def test_stochastic_horizons_are_better_than_any_policy(measure, sparse):
    mdp = garnet(4, 3, 3, seed=2, horizon=5, discount=0.9, sparse=sparse)
    given, base = weights(mdp, measure)
    for alpha in (0, 0.5):
        found = soft_backward_induction(mdp, alpha, measure=given)
        assert inside(found, soft_enclosure(mdp, alpha, measure=given, bits=150))
        worth = evaluate(mdp, np.exp(found.log_policy), alpha=alpha, measure=given)
        np.testing.assert_allclose(worth.values, found.values, rtol=1e-11, atol=1e-11)
        for policy in np.random.default_rng(0).dirichlet(np.ones(3), (10, 5, 4)):
            policy = policy * (base > 0)
            policy = policy / policy.sum(-1, keepdims=True)
            assert (evaluate(mdp, policy, alpha=alpha, measure=given).values[0] <= found.values_upper[0]).all()


# ------------------------------------------------------------------------------------------------------ what is refused

BAD = [
    ({"alpha": -1}, r"alpha is -1: expected a finite temperature"),
    ({"alpha": 1e-301}, r"alpha is 1e-301: expected 0 \(the hard maximum\)"),
    ({"alpha": 1e300}, r"alpha is 1e\+300 and rewards are up to .*the values exceed float64"),
    ({"tolerance": 0}, r"tolerance is 0.0: expected a positive finite width, or None"),
    ({"tolerance": math.nan}, r"tolerance is nan: expected a positive finite width"),
    ({"tolerance": 1e-18}, r"tolerance is 1e-18: float64 proves only .* for this model"),
    ({"sweeps": 0}, r"sweeps is 0: expected a positive int"),
    ({"sweeps": True}, r"sweeps is True: expected a positive int"),
    ({"sweeps": 2}, r"the bounds are .* apart after 2 sweeps: expected 1e-08; allow more sweeps"),
    ({"sweeps": 1, "tolerance": None}, r"apart after 1 sweeps: expected as little as floats can prove"),
    ({"start": [0.0, 1.0]}, r"values has shape \(2,\): expected \(4,\)"),
    ({"start": [0.0, 1.0, math.inf, 0.0]}, r"values\[2\] is inf: expected a finite number"),
    ({"measure": "uniform"}, r"measure is 'uniform'"),
]


@pytest.mark.parametrize("iteration", ITERATIONS)
@pytest.mark.parametrize(("options", "message"), BAD)
def test_what_is_refused(iteration, options, message):
    with pytest.raises(ExactRLError, match=message):
        iteration(MODELS["garnet"], **{"alpha": 0.5, **options})


def test_horizons_where_they_belong():
    mdp = MODELS["garnet"]
    for iteration in ITERATIONS:
        with pytest.raises(ExactRLError, match=r"the model has a horizon of 3: expected a discounted model"):
            iteration(mdp.replace(horizon=3), 0.5)
    with pytest.raises(ExactRLError, match=r"the model has no horizon: use soft_value_iteration"):
        soft_backward_induction(mdp, 0.5)


def test_discounts_too_close_to_one():
    mdp = MODELS["garnet"].replace(discount=1 - 1e-12)
    with pytest.raises(ExactRLError, match=r"discount is 0.999999999999: expected at most 1 - 2e-10 in floats"):
        soft_value_iteration(mdp, 0.5)
    balls = soft_enclosure(
        mdp.replace(rewards=np.zeros((4, 3), dtype=int), discount=1 - Fraction(1, 10**12)), 0, bits=200
    )
    assert all(x == 0 or float(x.rad()) < 1e-30 for x in balls.values.data)
    rows = FiniteMDP([[[1 + 5e-11]]], [[1.0]], discount=1 - 1e-11)
    with pytest.raises(ExactRLError, match=r"a row of the transitions sums to .* expected a product below 1"):
        soft_enclosure(rows, 0)


@pytest.mark.parametrize("bits", [1, 10**7, True, "64"])
def test_precisions_that_are_none(bits):
    with pytest.raises(ExactRLError, match=r"bits is .*: expected an integer between 2 and 1,000,000"):
        soft_enclosure(MODELS["garnet"], 0.5, bits=bits)


@pytest.mark.parametrize("bits", [2, 8, 24])
@pytest.mark.parametrize("alpha", [0, "1/2"])
def test_low_precision_encloses_widely(bits, alpha):
    mdp = MODELS["garnet"]
    wide, narrow = soft_enclosure(mdp, alpha, bits=bits), soft_enclosure(mdp, alpha, bits=128)
    with precision(200):
        assert all(x.overlaps(y) for x, y in zip(wide.values.data, narrow.values.data, strict=True))
