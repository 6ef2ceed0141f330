"""Trajectory spaces: recursion, enumeration and plain loops in exact arithmetic give one answer to 1e-12."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.formulas import log_lift, surrogate
from exactrl.policies import AliasedPolicy, SoftmaxLinearPolicy, TabularPolicy
from exactrl.sources import bandit, chain, garnet, grid, river_swim, tree
from tests.exactrl.brute_force import BruteForce, trajectories

METHODS = ("recursion", "enumeration")
TEMPERATURES = [(0.5, 0.25), (0.0, 0.75), (1.25, 0.0), (-0.375, 1.0), (2.0, -1.5), (0.0625, 0.0), (8.0, 24.0)]


def per_successor(mdp, seed):
    """The same model with random rewards for every successor (zero for many)."""
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(mdp.n_states, mdp.n_actions, mdp.n_states))
    rewards[rng.random(rewards.shape) < 0.3] = 0.0
    return FiniteMDP(mdp.transitions if not mdp.is_sparse else mdp.dense().transitions, rewards,
                     horizon=mdp.horizon, discount=mdp.discount_exact, initial=mdp.initial)  # fmt: skip


MODELS = {
    "bandit": bandit([0.5, -1.0, 2.0]),
    "exact bandit": bandit(["1/3", "-1/7"]),
    "tree": tree(4, 3, seed=0),
    "exact tree": tree(5, 2, seed=1, exact=True, discount="9/10"),
    "garnet": garnet(4, 3, 2, seed=2, horizon=3),
    "exact garnet": garnet(3, 2, 2, seed=3, horizon=4, exact=True, initial=["1/2", 0, "1/2"]),
    "sparse garnet": garnet(6, 2, 2, seed=4, horizon=4, sparse=True, discount=0.9, initial=[0.25, 0, 0.75, 0, 0, 0]),
    "per successor": per_successor(garnet(3, 3, 2, seed=5, horizon=3), 5),
    "per successor, discounted": per_successor(garnet(3, 2, 2, seed=6, horizon=4, discount=0.5), 6),
    "per successor, sparse": per_successor(garnet(5, 2, 2, seed=7, horizon=4), 7).sparse(),
    "per successor, one number": per_successor(garnet(2, 9, 2, seed=7, horizon=2), 8),
    "discount 0": garnet(3, 2, 3, seed=8, horizon=3, discount=0),
    "chain": chain(4, slip="1/5", horizon=4),
    "grid": grid(2, 2, slip=0.25, step_reward=-0.125, horizon=2, sparse=True),
    "river": river_swim(3, horizon=5),
    "horizon 1": garnet(4, 3, 2, seed=9, horizon=1),
    "one state": garnet(1, 3, 1, seed=10, horizon=4),
    "one action": garnet(3, 1, 3, seed=11, horizon=4),
    "one of each": garnet(1, 1, 1, seed=12, horizon=7),
    "rewards all zero, sparse": FiniteMDP(
        scipy.sparse.csr_array(np.eye(2)), scipy.sparse.csr_array((2, 2)), horizon=3
    ),
}  # fmt: skip


def policies(mdp, seed=0):
    """Stationary, time-dependent, and each with actions that are never taken."""
    rng = np.random.default_rng(seed)
    for shape in ((mdp.n_states,), (mdp.horizon, mdp.n_states)):
        dense = rng.dirichlet(np.ones(mdp.n_actions), size=shape)
        yield dense
        if mdp.n_actions > 1:
            sparse = dense.copy()
            sparse[..., ::2, 0] = 0.0
            yield sparse / sparse.sum(axis=-1, keepdims=True)


def close(value, expected, scale=0.0):
    return abs(value - float(expected)) <= 1e-12 * max(abs(float(expected)), scale)


@pytest.mark.parametrize("name", MODELS)
def test_three_roads_give_one_answer(name):
    mdp = MODELS[name]
    space = TrajectorySpace(mdp)
    for policy in policies(mdp):
        brute = BruteForce(mdp, policy)
        assert space.count == len(brute.all)
        size = max(abs(float(r)) for *_, r in brute.all)
        for method in METHODS:
            assert close(space.expected_return(policy, method=method), brute.expected_return(), size / 16)
            assert close(space.policy_entropy(policy, method=method), brute.policy_entropy())
        for tau, tau_prime in TEMPERATURES:
            expected, expected_lifted = brute.surrogate_and_lifted_return(tau, tau_prime)
            values = [space.surrogate(policy, tau=tau, tau_prime=tau_prime, method=method) for method in METHODS]
            if expected == math.inf:
                assert values == [math.inf, math.inf]
                continue
            assert all(close(value, expected, tau + tau_prime) for value in values)
            for method in METHODS:
                lifted = space.lifted_return(policy, tau=tau, tau_prime=tau_prime, method=method)
                assert close(lifted, expected_lifted, size / 16)


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_action_under_negative_tau_has_no_lift(method):
    space = TrajectorySpace(garnet(3, 2, 2, seed=0, horizon=3))
    policy = [[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]
    assert space.surrogate(policy, tau=-0.25, tau_prime=1.0, method=method) == math.inf
    with pytest.raises(ExactRLError, match=r"the lift does not exist.*negative"):
        space.lifted_return(policy, tau=-0.25, tau_prime=1.0, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_action_out_of_reach_does_no_harm(method):
    mdp = chain(5, horizon=2)  # from state 0, two actions end in state 2 at most, and act in state 1 at most
    policy = np.full((5, 2), 0.5)
    policy[2:] = [1.0, 0.0]
    brute = BruteForce(mdp, policy)
    space = TrajectorySpace(mdp)
    for read, expected in zip(
        (space.surrogate, space.lifted_return), brute.surrogate_and_lifted_return(-0.5, 1.0), strict=True
    ):
        assert close(read(policy, tau=-0.5, tau_prime=1.0, method=method), expected)


@pytest.mark.parametrize("exact", [False, True])
def test_a_deterministic_model_is_the_formula_itself(exact):
    returns = [Fraction(1, 3), Fraction(-2), Fraction(5, 7)] if exact else [0.3, -2.0, 0.7]
    policy = np.array([[0.25, 0.5, 0.25]])
    space = TrajectorySpace(bandit(returns))
    values = np.array(returns, dtype=float)
    for tau, tau_prime in TEMPERATURES:
        direct = float(surrogate(np.log(policy[0]), values, tau, tau_prime))
        lift = np.exp(log_lift(np.log(policy[0]), values, tau, tau_prime))
        for method in METHODS:
            assert close(space.surrogate(policy, tau=tau, tau_prime=tau_prime, method=method), direct)
            assert close(space.lifted_return(policy, tau=tau, tau_prime=tau_prime, method=method), lift @ values)


def test_lists_policy_objects_and_arrays_are_one_policy():
    space = TrajectorySpace(garnet(3, 2, 2, seed=1, horizon=3))
    rows = [[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]
    objects = [np.array(rows), TabularPolicy(rows), np.array([rows] * 3), AliasedPolicy([0, 1, 1], rows[:2]),
               SoftmaxLinearPolicy(np.eye(6).reshape(3, 2, 6), np.log(np.ravel(rows)))]  # fmt: skip
    expected = space.surrogate(rows, tau=0.5, tau_prime=0.5)
    assert all(close(space.surrogate(policy, tau=0.5, tau_prime=0.5), expected) for policy in objects)


def test_temperatures_may_be_rationals_and_numpy_numbers():
    space, policy = TrajectorySpace(bandit([1.0, 2.0])), [[0.5, 0.5]]
    expected = space.surrogate(policy, tau=0.5, tau_prime=0.25)
    for tau, tau_prime in ((Fraction(1, 2), "1/4"), (np.float64(0.5), np.array(0.25))):
        assert space.surrogate(policy, tau=tau, tau_prime=tau_prime) == expected


def test_the_list_of_trajectories():
    mdp = garnet(3, 2, 2, seed=3, horizon=3, exact=True, initial=[0, "1/4", "3/4"])
    policy = [[0, 1], ["1/3", "2/3"], ["1/2", "1/2"]]
    listed = TrajectorySpace(mdp).enumerate(policy)
    expected = trajectories(mdp, policy)
    assert len(listed.states) == len(expected)
    for k, (states, actions, pi, f, r) in enumerate(expected):
        assert tuple(listed.states[k]) == states
        assert tuple(listed.actions[k]) == actions
        assert listed.log_policy[k] == (-math.inf if pi == 0 else pytest.approx(math.log(pi), abs=1e-14))
        assert listed.returns[k] == pytest.approx(float(r), abs=1e-14)
        assert listed.log_dynamics[k] == pytest.approx(math.log(f), rel=1e-14)


# What is refused

SPACE = TrajectorySpace(garnet(2, 2, 2, seed=0, horizon=3))
FAIR = [[0.5, 0.5], [0.5, 0.5]]
BAD_POLICIES = {
    "shape": ([[0.5, 0.5]], r"policy has shape \(3, 1, 2\).*\(3, 2, 2\)"),
    "a vector": ([0.5, 0.5], r"policy has shape \(2,\)"),
    "steps": ([FAIR] * 2, "2 steps: expected 3"),
    "NaN": ([[0.5, 0.5], [math.nan, 1.0]], r"policy\[1, 0\] is nan"),
    "negative": ([[1.5, -0.5], [0.5, 0.5]], r"policy\[0, 1\] is -0.5"),
    "sum": ([[0.5, 0.5], [0.5, 0.48]], r"policy\[1\] sums to 0.98"),
    "rational sum": ([[1, 0], ["1/3", "1/3"]], r"policy\[1\] sums to 2/3"),
    "no policy": (None, "policy is a NoneType"),
}
BAD_TEMPERATURES = {
    "zero": (0.5, -0.5, "tau \\+ tau_prime is 0.0: expected a positive"),
    "negative": (-1.0, 0.5, "tau \\+ tau_prime is -0.5"),
    "NaN": (math.nan, 1.0, "tau is nan"),
    "NaN prime": (1.0, math.nan, "tau_prime is nan"),
    "infinite": (math.inf, -1.0, "tau is inf"),
    "beyond floats": (10**400, 1, "tau is inf"),
    "text": ("warm", 1.0, "tau is 'warm'"),
    "boolean": (True, 1.0, "tau is True"),
    "missing": (None, 1.0, "tau is None"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("policy", "message"), BAD_POLICIES.values(), ids=list(BAD_POLICIES))
def test_a_malformed_policy_is_refused_by_every_method(policy, message, method):
    options = {"tau": 0.5, "tau_prime": 0.5, "method": method}
    with pytest.raises(ExactRLError, match=message):
        SPACE.surrogate(policy, **options)
    with pytest.raises(ExactRLError, match=message):
        SPACE.lifted_return(policy, **options)
    with pytest.raises(ExactRLError, match=message):
        SPACE.expected_return(policy, method=method)
    with pytest.raises(ExactRLError, match=message):
        SPACE.policy_entropy(policy, method=method)
    with pytest.raises(ExactRLError, match=message):
        SPACE.enumerate(policy)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("tau", "tau_prime", "message"), BAD_TEMPERATURES.values(), ids=list(BAD_TEMPERATURES))
def test_a_bad_temperature_is_refused(tau, tau_prime, message, method):
    with pytest.raises(ExactRLError, match=message):
        SPACE.surrogate(FAIR, tau=tau, tau_prime=tau_prime, method=method)
    with pytest.raises(ExactRLError, match=message):
        SPACE.lifted_return(FAIR, tau=tau, tau_prime=tau_prime, method=method)


def test_scores_beyond_float64_are_refused():
    space = TrajectorySpace(bandit([1e10, 0.0]))
    with pytest.raises(
        ExactRLError, match=r"tau \+ tau_prime is 1e-300, and rewards are up to 1e\+10.*exceeds float64"
    ):
        space.surrogate([[0.5, 0.5]], tau=1e-300, tau_prime=0.0)


def test_an_unknown_method_and_a_model_without_horizon_are_refused():
    for call in (SPACE.expected_return, SPACE.policy_entropy):
        with pytest.raises(ExactRLError, match="method is 'magic': expected 'recursion' or 'enumeration'"):
            call(FAIR, method="magic")
    for call in (SPACE.surrogate, SPACE.lifted_return):
        with pytest.raises(ExactRLError, match="method is 'magic'"):
            call(FAIR, tau=0.5, tau_prime=0.5, method="magic")
    with pytest.raises(ExactRLError, match=r"no horizon.*mdp.replace\(horizon=20\)"):
        TrajectorySpace(garnet(2, 2, 2, seed=0, discount=0.9))
