"""Policy evaluation: floats, rationals, balls, plain loops over trajectories, power series, autograd, differences."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.sparse
import torch

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.evaluation import evaluate, occupancy, return_gradient, state_occupancy
from exactrl.formulas.evaluation import soft_logit_gradient
from exactrl.model_tables import FloatTables, read_measure, read_temperature
from exactrl.number_systems.balls import precision
from exactrl.policies import AliasedPolicy, TabularPolicy
from exactrl.sources import chain, garnet, grid, river_swim
from tests.exactrl.brute_force import trajectories

MODELS = {
    "garnet": garnet(4, 3, 2, seed=1, exact=True, discount="9/10"),
    "next-state rewards": FiniteMDP(
        [[["1/2", "1/2"], [1, 0]], [[0, 1], ["1/3", "2/3"]]],
        [[[1, -2], [3, 0]], [[0, "1/7"], [5, -1]]], discount="3/4", initial=["1/5", "4/5"],
    ),
    "gamma 0": garnet(3, 2, 3, seed=3, exact=True, discount=0),
    "chain": chain(4, slip="1/5", discount="1/2"),
    "one state": garnet(1, 3, 1, seed=4, exact=True, discount="99/100"),
    "one action": garnet(4, 1, 2, seed=5, exact=True, discount="9/10"),
    "sparse": garnet(5, 2, 2, seed=6, exact=True, discount="9/10", sparse=True),
}  # fmt: skip
HORIZONS = {
    "garnet": garnet(3, 2, 2, seed=1, exact=True, horizon=3, discount="9/10"),
    "undiscounted": garnet(2, 3, 2, seed=2, exact=True, horizon=3),
    "one step": garnet(3, 2, 2, seed=3, exact=True, horizon=1),
    "sparse": garnet(3, 2, 2, seed=4, exact=True, horizon=3, sparse=True, initial=["1/3", 0, "2/3"]),
}


def rational_policy(mdp, seed=0, *, zeros=False, steps=None):
    rng = np.random.default_rng(seed)
    shape = (mdp.n_states,) if steps is None else (steps, mdp.n_states)
    weights = rng.integers(0 if zeros else 1, 9, (*shape, mdp.n_actions)) + 0
    weights[..., 0] += 1
    totals = weights.sum(axis=-1)
    rows = [[Fraction(int(w), int(t)) for w in row] for row, t in
            zip(weights.reshape(-1, mdp.n_actions), totals.reshape(-1), strict=True)]  # fmt: skip
    return np.array(rows, dtype=object).reshape(weights.shape)


def as_floats(x):
    return np.asarray(x, dtype=float)


def bounds(balls):
    """Rational ends, read off at a precision beyond that of the balls."""
    with precision(10_000):
        return balls.bounds()


def assert_all_agree(floats, exact, balls, scale=1.0):
    """Floats near rationals, rationals inside balls, and the balls narrow."""
    assert np.shape(floats) == np.shape(exact) == balls.shape
    np.testing.assert_allclose(floats, as_floats(exact), rtol=1e-12, atol=1e-12 * scale)
    for x, (low, high) in zip(np.ravel(np.asarray(exact, dtype=object)), bounds(balls), strict=True):
        assert low <= x <= high
        assert high - low < Fraction(1, 10**25)


# -------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_values_of_a_discounted_model_in_three_number_systems(name, zeros):
    mdp = MODELS[name]
    policy = rational_policy(mdp, zeros=zeros)
    floats, exact, balls = (evaluate(mdp, policy, numbers=n) for n in ("floats", "rationals", "balls"))
    for field in ("values", "action_values", "advantages", "expected_return"):
        assert_all_agree(*(getattr(x, field) for x in (floats, exact, balls)), scale=100)
    # Bellman's equations, exactly.
    gamma, P, r = mdp.discount_exact, mdp.transitions_exact, mdp.expected_rewards_exact
    assert (exact.action_values == r + gamma * (P * exact.values).sum(-1)).all()
    assert (exact.values == (policy * exact.action_values).sum(-1)).all()
    assert ((policy * exact.advantages).sum(-1) == 0).all()
    assert exact.expected_return == (mdp.initial_exact * exact.values).sum()


@pytest.mark.parametrize("name", MODELS)
def test_values_are_the_sum_of_discounted_rewards(name):
    mdp = MODELS[name]
    policy = rational_policy(mdp)
    P = as_floats((policy[..., None] * mdp.transitions_exact).sum(axis=1))
    reward = as_floats((policy * mdp.expected_rewards_exact).sum(axis=1))
    values, law = np.zeros(mdp.n_states), np.eye(mdp.n_states)
    for t in range(6000):
        values += mdp.discount**t * (law @ reward)
        law = law @ P
    np.testing.assert_allclose(evaluate(mdp, policy).values, values, rtol=1e-11, atol=1e-11)


def plain(mdp, policy, alpha):
    """Expected return plus alpha times the entropy of every step, over all trajectories one by one."""
    policy = np.broadcast_to(policy, (mdp.horizon, mdp.n_states, mdp.n_actions))
    with mpmath.workdps(30):
        total = mpmath.mpf(0)
        for states, actions, pi, dynamics, earned in trajectories(mdp, policy):
            if pi == 0:
                continue
            bonus = mpmath.fsum(
                mpmath.mpf(float(mdp.discount_exact**t)) * -mpmath.log(mpmath.mpf(p.numerator) / p.denominator)
                for t, p in enumerate(policy[t, states[t], a] for t, a in enumerate(actions))
            )
            weight = mpmath.mpf((pi * dynamics).numerator) / (pi * dynamics).denominator
            total += weight * (mpmath.mpf(earned.numerator) / earned.denominator + alpha * bonus)
        return float(total)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("name", HORIZONS)
def test_values_over_a_horizon_are_sums_over_trajectories(name, timed, zeros):
    mdp = HORIZONS[name]
    policy = rational_policy(mdp, zeros=zeros, steps=mdp.horizon if timed else None)
    floats, exact, balls = (evaluate(mdp, policy, numbers=n) for n in ("floats", "rationals", "balls"))
    for field in ("values", "action_values", "advantages", "expected_return"):
        assert_all_agree(*(getattr(x, field) for x in (floats, exact, balls)), scale=10)
    T, S, A = mdp.horizon, mdp.n_states, mdp.n_actions
    assert (exact.values.shape, exact.action_values.shape) == ((T + 1, S), (T, S, A))
    everything = trajectories(mdp, policy)
    assert exact.expected_return == sum(pi * f * r for _, _, pi, f, r in everything)
    np.testing.assert_allclose(
        floats.expected_return, TrajectorySpace(mdp).expected_return(policy), rtol=1e-12, atol=1e-13
    )
    for alpha in (Fraction(1, 2), Fraction(3)):
        soft = evaluate(mdp, policy, alpha=alpha)
        assert abs(soft.expected_return - plain(mdp, policy, float(alpha))) < 1e-11
        enclosed = evaluate(mdp, policy, alpha=alpha, numbers="balls")
        for x, (low, high) in zip(np.ravel(soft.values), bounds(enclosed.values), strict=True):
            assert abs(x - float(low)) < 1e-12 * (1 + abs(x))
            assert high - low < Fraction(1, 10**25)


@pytest.mark.parametrize("measure", ["counting", "normalised", ["1/2", 2, 1], [[1, 2, 3]] * 4])
def test_soft_values_are_the_values_of_the_regularised_reward(measure):
    mdp, alpha = MODELS["garnet"], 0.7
    policy = as_floats(rational_policy(mdp))
    base = {"counting": 1.0, "normalised": 1 / 3}.get(measure) if isinstance(measure, str) else as_floats(
        [[Fraction(x) for x in row] for row in (measure if isinstance(measure[0], list) else [measure])]
    )  # fmt: skip
    shaped = mdp.replace(rewards=mdp.expected_rewards - alpha * np.log(policy / base))
    soft, hard = evaluate(mdp, policy, alpha=alpha, measure=measure), evaluate(shaped, policy)
    np.testing.assert_allclose(soft.values, hard.values, rtol=1e-12)
    np.testing.assert_allclose(soft.action_values - alpha * np.log(policy / base), hard.action_values, rtol=1e-11)
    enclosed = evaluate(mdp, policy, alpha=Fraction(7, 10), measure=measure, numbers="balls", bits=200)
    for x, (low, high) in zip(soft.values, bounds(enclosed.values), strict=True):
        assert abs(x - float(low)) < 1e-12 * (1 + abs(x))
        assert high - low < Fraction(1, 10**40)


def test_actions_of_no_probability_and_no_measure_do_not_count():
    mdp = MODELS["garnet"]
    policy = [["1/4", 0, "3/4"]] * 4
    with_measure = evaluate(mdp, policy, alpha=1, measure=[1, 0, 1], numbers="balls")
    without = evaluate(mdp, policy, alpha=1, numbers="balls")
    for (low, high), (other_low, other_high) in zip(bounds(with_measure.values), bounds(without.values), strict=True):
        assert max(low, other_low) <= min(high, other_high)


def test_extreme_probabilities_keep_their_logarithms():
    mdp = FiniteMDP([[[1], [1]]], [[0, 0]], discount="1/2")
    tiny = Fraction(1, 10**1000)
    enclosed = evaluate(mdp, [[tiny, 1 - tiny]], alpha=10**1000, numbers="balls", bits=8000)
    ((low, high),) = bounds(enclosed.values)
    expected = 2 * (1000 * math.log(10) + 1)  # 2 alpha (p log 1/p + (1 - p) log 1/(1 - p)), p = 1 / alpha
    assert abs(float(low) - expected) < 1e-9
    assert low <= high


def test_policy_objects_are_evaluated_in_floats():
    mdp = MODELS["garnet"]
    policy = rational_policy(mdp)
    np.testing.assert_allclose(
        evaluate(mdp, TabularPolicy(policy), alpha=1).values, evaluate(mdp, policy, alpha=1).values, rtol=1e-12
    )
    horizon = mdp.replace(horizon=3)
    timed = rational_policy(horizon, steps=3)
    for given in (policy, timed):
        one, two = evaluate(horizon, TabularPolicy(given)), evaluate(horizon, given)
        np.testing.assert_allclose(one.values, two.values, rtol=1e-12)
    with pytest.raises(ExactRLError, match=r"policy is a AliasedPolicy, whose logarithms are rounded"):
        evaluate(mdp, AliasedPolicy([0, 0, 0, 0], [["1/2", "1/4", "1/4"]]), numbers="rationals")


# ----------------------------------------------------------------------------------------- sparse and large


def large(branching=3, n_states=1500, discount=0.95):
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(2 * n_states), branching)
    columns = (np.repeat(np.arange(n_states), 2 * branching) + rng.integers(0, 40, rows.size)) % n_states
    table = scipy.sparse.coo_array((rng.random(rows.size), (rows, columns)), shape=(2 * n_states, n_states)).tocsr()
    table.sum_duplicates()
    table = scipy.sparse.diags_array(1 / table.sum(axis=1)) @ table
    return FiniteMDP(scipy.sparse.csr_array(table), rng.normal(size=(n_states, 2)), discount=discount)


def test_a_large_sparse_model_gives_what_its_dense_twin_gives():
    mdp = large()
    policy = np.random.default_rng(1).dirichlet(np.ones(2), mdp.n_states)
    sparse, dense = evaluate(mdp, policy, alpha=0.3), evaluate(mdp.dense(), policy, alpha=0.3)
    np.testing.assert_allclose(sparse.values, dense.values, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(
        state_occupancy(mdp, policy, normalised=True), state_occupancy(mdp.dense(), policy, normalised=True), rtol=1e-9
    )
    np.testing.assert_allclose(
        occupancy(mdp.replace(horizon=4), policy, normalised=False),
        occupancy(mdp.dense().replace(horizon=4), policy, normalised=False), rtol=1e-12, atol=1e-15,
    )  # fmt: skip


@pytest.mark.parametrize("sparse", [True, False])
def test_what_the_iterative_solver_cannot_do_elimination_does(monkeypatch, sparse):
    import scipy.sparse.linalg

    mdp = large(n_states=1100)
    tables = FloatTables(mdp if sparse else mdp.dense())
    kernel = tables.kernel(np.full((1100, 2), 0.5))
    right = np.random.default_rng(0).normal(size=1100)
    iterative = tables.solve(kernel, right)
    monkeypatch.setattr(scipy.sparse.linalg, "gmres", lambda *_, **__: (None, 1))
    np.testing.assert_allclose(tables.solve(kernel, right), iterative, rtol=1e-9, atol=1e-11)


# ----------------------------------------------------------------------------------------------- occupancies


@pytest.mark.parametrize("name", MODELS)
def test_occupancies_weigh_the_rewards_to_the_return(name):
    mdp = MODELS[name]
    policy = rational_policy(mdp, seed=1)
    rewards, gamma = mdp.expected_rewards_exact, mdp.discount_exact
    exact = occupancy(mdp, policy, normalised=False, numbers="rationals")
    assert (exact * rewards).sum() == evaluate(mdp, policy, numbers="rationals").expected_return
    assert exact.sum() == 1 / (1 - gamma)
    shares = occupancy(mdp, policy, normalised=True, numbers="rationals")
    assert shares.sum() == 1
    assert (shares == (1 - gamma) * exact).all()
    states = state_occupancy(mdp, policy, normalised=True, numbers="rationals")
    assert (shares == states[:, None] * policy).all()
    flow = (exact[..., None] * mdp.transitions_exact).sum(axis=(0, 1))
    assert (exact.sum(axis=1) == mdp.initial_exact + gamma * flow).all()
    for normalised in (True, False):
        assert_all_agree(
            *(occupancy(mdp, policy, normalised=normalised, numbers=n) for n in ("floats", "rationals", "balls")), 100
        )
        assert_all_agree(
            *(state_occupancy(mdp, policy, normalised=normalised, numbers=n) for n in ("floats", "rationals", "balls")),
            100,
        )


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("name", HORIZONS)
def test_occupancies_over_a_horizon_count_the_visits_of_trajectories(name, timed):
    mdp = HORIZONS[name]
    policy = rational_policy(mdp, steps=mdp.horizon if timed else None)
    expected = np.full((mdp.n_states, mdp.n_actions), Fraction(0))
    for states, actions, pi, f, _ in trajectories(mdp, policy):
        for t, a in enumerate(actions):
            expected[states[t], a] += pi * f * mdp.discount_exact**t
    assert (occupancy(mdp, policy, normalised=False, numbers="rationals") == expected).all()
    assert (state_occupancy(mdp, policy, normalised=False, numbers="rationals") == expected.sum(axis=1)).all()
    assert occupancy(mdp, policy, normalised=True, numbers="rationals").sum() == 1
    for n in ("floats", "balls"):
        found = occupancy(mdp, policy, normalised=False, numbers=n)
        if n == "floats":
            np.testing.assert_allclose(found, as_floats(expected), rtol=1e-13)


def test_the_difference_of_two_policies_is_one_policys_advantage_under_the_others_visits():
    mdp = MODELS["garnet"]
    old, new = rational_policy(mdp, 1), rational_policy(mdp, 2)
    first, second = (evaluate(mdp, p, numbers="rationals") for p in (old, new))
    visits = occupancy(mdp, new, normalised=False, numbers="rationals")
    assert second.expected_return - first.expected_return == (visits * first.advantages).sum()


# ------------------------------------------------------------------------------------------------- gradients


def differences(mdp, policy):
    """Exact difference quotients of the rational return: the second differences bound what they miss."""
    step = Fraction(1, 10**12)
    slopes = np.empty(policy.shape, dtype=object)
    P, r = mdp.transitions_exact, mdp.expected_rewards_exact
    for index in np.ndindex(policy.shape):
        ends = []
        for sign in (1, -1):
            moved = policy.copy()
            moved[index] += sign * step
            ends.append(exact_return(mdp, moved, P, r))
        slopes[index] = (ends[0] - ends[1]) / (2 * step)
    return as_floats(slopes)


def exact_return(mdp, table, P, r):
    """The return of any table, a distribution or not, in Fractions: by Cramer-free elimination or by steps."""
    gamma = mdp.discount_exact
    if mdp.horizon is not None:
        values = np.full(mdp.n_states, Fraction(0))
        for t in reversed(range(mdp.horizon)):
            pi = table if table.ndim == 2 else table[t]
            values = (pi * (r + gamma * (P * values).sum(-1))).sum(-1)
        return (mdp.initial_exact * values).sum()
    import sympy

    kernel = (table[..., None] * P).sum(axis=1)
    matrix = sympy.eye(mdp.n_states) - sympy.Matrix(
        mdp.n_states, mdp.n_states, [sympy.Rational(x.numerator, x.denominator) for x in (gamma * kernel).ravel()]
    )
    reward = (table * r).sum(axis=1)
    solution = matrix.LUsolve(sympy.Matrix([sympy.Rational(x.numerator, x.denominator) for x in reward]))
    return sum(m * Fraction(int(v.p), int(v.q)) for m, v in zip(mdp.initial_exact, solution, strict=True))


@pytest.mark.parametrize("name", ["next-state rewards", "chain", "gamma 0"])
def test_the_policy_gradient_is_the_limit_of_differences(name):
    mdp = MODELS[name]
    policy = rational_policy(mdp)
    exact = return_gradient(mdp, policy, wrt="policy", numbers="rationals")
    np.testing.assert_allclose(as_floats(exact), differences(mdp, policy), rtol=1e-9, atol=1e-12)
    assert_all_agree(*(return_gradient(mdp, policy, wrt="policy", numbers=n) for n in ("floats", "rationals", "balls")))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("name", HORIZONS)
def test_gradients_over_a_horizon_by_differences_and_by_the_score_of_every_trajectory(name, timed):
    mdp = HORIZONS[name]
    policy = rational_policy(mdp, steps=mdp.horizon if timed else None)
    exact = return_gradient(mdp, policy, wrt="policy", numbers="rationals")
    assert exact.shape == policy.shape
    np.testing.assert_allclose(as_floats(exact), differences(mdp, policy), rtol=1e-9, atol=1e-12)
    score = np.full(policy.shape, Fraction(0))  # sum over trajectories of p f r sum_t grad log pi(a_t | s_t), in logits
    for states, actions, pi, f, r in trajectories(mdp, policy):
        for t, a in enumerate(actions):
            row = (t, states[t]) if timed else (states[t],)
            score[(*row, a)] += pi * f * r
            score[row] -= pi * f * r * policy[row]
    assert (return_gradient(mdp, policy, wrt="logits", numbers="rationals") == score).all()
    for wrt in ("policy", "logits"):
        assert_all_agree(*(return_gradient(mdp, policy, wrt=wrt, numbers=n) for n in ("floats", "rationals", "balls")))


def torch_return(mdp, table, log_table, alpha, log_base):
    """The regularised return by PyTorch's own solver, for autograd."""
    P, r = torch.tensor(mdp.dense().transitions), torch.tensor(mdp.expected_rewards)
    shaped = r - alpha * (log_table - log_base)
    if mdp.horizon is None:
        kernel = torch.einsum("sa,sat->st", table, P)
        system = torch.eye(mdp.n_states, dtype=torch.float64) - mdp.discount * kernel
        values = torch.linalg.solve(system, (table * shaped).sum(-1))
    else:
        values = torch.zeros(mdp.n_states, dtype=torch.float64)
        for t in reversed(range(mdp.horizon)):
            now = (table * shaped)[t] if table.ndim == 3 else table * shaped
            pi = table[t] if table.ndim == 3 else table
            values = (now + mdp.discount * pi * (P @ values)).sum(-1)
    return torch.tensor(mdp.initial) @ values


@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize("measure", ["counting", "normalised"])
@pytest.mark.parametrize(
    "mdp", [MODELS["garnet"], MODELS["sparse"], HORIZONS["garnet"], HORIZONS["sparse"]],
    ids=["discounted", "sparse", "horizon", "sparse horizon"],
)  # fmt: skip
def test_gradients_are_autograds(mdp, measure, alpha):
    log_base = 0.0 if measure == "counting" else -math.log(mdp.n_actions)
    for steps in (None,) if mdp.horizon is None else (None, mdp.horizon):
        policy = as_floats(rational_policy(mdp, steps=steps))
        table = torch.tensor(policy, requires_grad=True)
        (slope,) = torch.autograd.grad(torch_return(mdp, table, table.log(), alpha, log_base), table)
        found = return_gradient(mdp, policy, wrt="policy", alpha=alpha, measure=measure)
        np.testing.assert_allclose(found, slope.numpy(), rtol=1e-10, atol=1e-12)
        logits = torch.tensor(np.log(policy) + 0.3, requires_grad=True)
        log_table = torch.log_softmax(logits, -1)
        (slope,) = torch.autograd.grad(torch_return(mdp, log_table.exp(), log_table, alpha, log_base), logits)
        found = return_gradient(mdp, policy, wrt="logits", alpha=alpha, measure=measure)
        np.testing.assert_allclose(found, slope.numpy(), rtol=1e-9, atol=1e-12)
        enclosed = return_gradient(
            mdp, policy, wrt="logits", alpha=Fraction(alpha), measure=measure, numbers="balls", bits=192
        )
        for x, (low, _) in zip(found.ravel(), bounds(enclosed), strict=True):
            assert abs(x - float(low)) < 1e-11


def test_gradients_of_the_soft_return_by_differences():
    mdp, alpha, h = MODELS["garnet"], 0.4, 1e-5
    policy = as_floats(rational_policy(mdp))
    found = return_gradient(mdp, policy, wrt="logits", alpha=alpha)
    for index in np.ndindex(policy.shape):
        ends = []
        for sign in (1, -1):
            logits = np.log(policy)
            logits[index] += sign * h
            moved = np.exp(logits)
            ends.append(evaluate(mdp, moved / moved.sum(-1, keepdims=True), alpha=alpha).expected_return)
        assert abs((ends[0] - ends[1]) / (2 * h) - found[index]) < 1e-7


def test_an_action_of_probability_zero_pulls_infinitely_in_the_table_and_not_at_all_in_logits():
    mdp = MODELS["garnet"]
    policy = [["1/4", 0, "3/4"]] * 4
    assert (return_gradient(mdp, policy, wrt="policy", alpha=1)[:, 1] == np.inf).all()
    for measure in ("counting", [1, 0, 1]):
        logits = return_gradient(mdp, policy, wrt="logits", alpha=1, measure=measure)
        assert (logits[:, 1] == 0).all()
        np.testing.assert_allclose(logits.sum(-1), 0, atol=1e-14)


def test_without_temperature_the_soft_formula_is_visits_times_policy_times_advantage():
    mdp = MODELS["garnet"]
    policy = as_floats(rational_policy(mdp))
    evaluated, visits = evaluate(mdp, policy), state_occupancy(mdp, policy, normalised=False)
    expected = visits[:, None] * policy * evaluated.advantages
    np.testing.assert_allclose(return_gradient(mdp, policy, wrt="logits"), expected, rtol=1e-11, atol=1e-13)
    soft = soft_logit_gradient(visits, np.log(policy), evaluated.action_values, 0.0)
    np.testing.assert_allclose(soft, expected, rtol=1e-11, atol=1e-13)


# ----------------------------------------------------------------------------------------------- what is refused

BAD = [
    ({"alpha": -1}, r"alpha is -1: expected a finite temperature, at least 0"),
    ({"alpha": math.nan}, r"alpha is nan: expected a finite temperature"),
    ({"alpha": "x"}, r"alpha is 'x' \(str\), expected a number"),
    ({"alpha": 1e-310}, r"alpha is 1e-310: expected 0 \(the hard maximum\) or 1e-300 to 1e\+300 in floats"),
    ({"alpha": 10**400}, r"alpha is Fraction\(1000.*expected 0 \(the hard maximum\) or 1e-300"),
    (
        {"alpha": 1, "measure": [[1e308, 0, 0]] * 4, "policy": [[1, 0, 0]] * 4, "rewards": 1e308},
        r"the values exceed float64: scale rewards and alpha down",
    ),
    ({"alpha": 1, "numbers": "rationals"}, r"logarithms are not rational: take numbers='balls'"),
    ({"numbers": "decimals"}, r"numbers is 'decimals': expected 'floats', 'rationals' or 'balls'"),
    ({"bits": 1}, r"bits is 1: expected an integer between 2 and 1,000,000"),
    ({"bits": True}, r"bits is True: expected an integer"),
    ({"measure": "uniform"}, r"measure is 'uniform': expected 'counting', 'normalised' or weights"),
    ({"measure": [1, 2]}, r"measure has shape \(2,\): expected \(3,\) or \(4, 3\)"),
    ({"measure": [1, -1, 1]}, r"measure\[1\] is -1.0: expected a finite weight, at least 0"),
    ({"measure": [1, math.nan, 1]}, r"measure\[1\] is nan: expected a finite weight"),
    ({"measure": [[1, 1, 1]] * 3 + [[0, 0, 0]]}, r"measure\[3\] is 0 for every action: expected some mass"),
    ({"measure": [1, 0, 1], "alpha": 1}, r"policy\[0, 1\] is positive where the base measure is 0"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_what_is_refused(options, message):
    mdp = MODELS["garnet"]
    options = {"policy": rational_policy(mdp), **options}
    mdp = mdp.replace(rewards=np.full((4, 3), options.pop("rewards", 1.0)))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ExactRLError, match=message):
        evaluate(mdp, **options)


def test_policies_and_questions_that_do_not_fit():
    mdp = MODELS["garnet"]
    policy = rational_policy(mdp)
    with pytest.raises(ExactRLError, match=r"wrt is 'theta': expected 'policy' or 'logits'"):
        return_gradient(mdp, policy, wrt="theta")
    with pytest.raises(ExactRLError, match=r"policy has shape \(1, 4, 3\) and the model no horizon: expected \(S, A\)"):
        evaluate(mdp, policy[None])
    with pytest.raises(ExactRLError, match=r"policy\[0\] sums to"):
        evaluate(mdp, [["1/2", "1/4", "1/3"]] * 4)
    with pytest.raises(ExactRLError, match=r"policy has shape"):
        occupancy(mdp, policy[:2], normalised=True)


def test_measures_and_temperatures_as_they_are_read():
    assert read_measure("counting", 2, 3) is None
    assert read_measure("normalised", 2, 3).fractions().tolist() == [Fraction(1, 3)] * 3
    assert read_temperature("1/3") == Fraction(1, 3)


@pytest.mark.parametrize("mdp", [grid(2, 3, discount=0.9), river_swim(4, discount=0.95)], ids=["grid", "river"])
def test_models_of_floats_mean_their_binary_values(mdp):
    policy = np.random.default_rng(0).dirichlet(np.ones(mdp.n_actions), mdp.n_states)
    assert_all_agree(*(evaluate(mdp, policy, numbers=n).values for n in ("floats", "rationals", "balls")), 100)
