"""The recursion where float64 has too small a range, on the real tables, and beside the formula it is arranged from."""

import math
from fractions import Fraction

import numpy as np
import pytest

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.edges import Edges
from exactrl.formulas import backward_log_partition
from exactrl.policies import as_log_policy
from exactrl.recursion import Recursion
from exactrl.sources import chain, garnet, toy_text
from tests.exactrl.brute_force import BruteForce


def close(value, expected, scale=0.0):
    return abs(value - float(expected)) <= 1e-12 * max(abs(float(expected)), scale)


def recursion(mdp, policy, tau, temperature):
    log_policy = as_log_policy(policy, horizon=mdp.horizon, n_states=mdp.n_states, n_actions=mdp.n_actions)
    return Recursion(mdp, Edges.of(mdp), log_policy, mdp.discount ** np.arange(mdp.horizon), tau, temperature)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"discount": 0.75}, {"sparse": True}])
def test_products_and_logarithms_agree_with_the_formula(options, seed):
    mdp = garnet(5, 3, 3, seed=seed, horizon=12, **options)
    rng = np.random.default_rng(seed)
    for policy in (rng.dirichlet(np.ones(3), size=5), rng.dirichlet(np.ones(3), size=(12, 5))):
        sweep = recursion(mdp, policy, 0.4, 0.7)
        products, logs = sweep._by_products(True), sweep._in_logs(True)
        dense = mdp.dense()
        log_policy = np.broadcast_to(np.log(policy), (12, 5, 3))
        scores = [(mdp.discount**t * dense.rewards + 0.4 * log_policy[t]) / 0.7 for t in range(12)]
        formula = backward_log_partition(scores, dense.transitions.reshape(15, 5), dense.initial)
        assert close(products[0], logs[0])
        assert close(products[1], logs[1])
        assert close(products[0], formula)


@pytest.mark.parametrize("temperature", [1e-12, 1e-5, 1e-3, 10.0, 1e6])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_any_temperature_and_any_scale_of_rewards(temperature, scale):
    mdp = garnet(3, 2, 2, seed=1, horizon=3)
    mdp = mdp.replace(rewards=mdp.rewards * scale)
    policy = [[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]
    space, options = TrajectorySpace(mdp), {"tau": 0.75 * temperature, "tau_prime": 0.25 * temperature}
    surrogate, lifted = BruteForce(mdp, policy).surrogate_and_lifted_return(**options)
    for method in ("recursion", "enumeration"):
        assert close(space.surrogate(policy, method=method, **options), surrogate, temperature)
        assert close(
            space.lifted_return(policy, method=method, **options), lifted, max(scale, scale**2 / temperature * 1e-3)
        )


def test_values_too_far_apart_for_float64_go_through_logarithms():
    # State 0 leads to 1 and 2, whose values differ by 2000; a sweep by plain products loses state 2 altogether.
    mdp = FiniteMDP(
        [[[0, "1/2", "1/2"]], [[0, 1, 0]], [[0, 0, 1]]], [[0], [1000], [-1000]], horizon=2, initial=[0, 0, 1]
    )
    policy = np.ones((3, 1))
    assert recursion(mdp, policy, 0.5, 1.0)._by_products(False) is None
    assert TrajectorySpace(mdp).surrogate(policy, tau=0.5, tau_prime=0.5) == -2000
    start = TrajectorySpace(mdp.replace(initial=0))
    assert start.surrogate(policy, tau=0.5, tau_prime=0.5) == pytest.approx(1000 - math.log(2), rel=1e-14)


def test_a_rational_whose_float_is_zero_keeps_its_support():
    tiny = Fraction(1, 10**1000)
    mdp = FiniteMDP([[[1 - tiny, tiny]], [[0, 1]]], [[0], [5000]], horizon=2, initial=[1 - tiny**2, tiny**2])
    policy = [[1], [1]]
    space, brute = TrajectorySpace(mdp), BruteForce(mdp, policy)
    assert space.count == len(brute.all) == 4
    for tau_prime in (0.0, 0.5):
        surrogate, lifted = brute.surrogate_and_lifted_return(0.5, tau_prime)
        for method in ("recursion", "enumeration"):
            options = {"tau": 0.5, "tau_prime": tau_prime, "method": method}
            assert close(space.surrogate(policy, **options), surrogate, 5000)
            assert close(space.lifted_return(policy, **options), lifted)
        lower, upper = space.surrogate_enclosure(policy, tau=0.5, tau_prime=tau_prime)
        assert close(float(lower), surrogate)
        assert close(float(upper), surrogate)
    sparse = TrajectorySpace(mdp.sparse())
    assert close(sparse.surrogate(policy, tau=0.5, tau_prime=0.0), space.surrogate(policy, tau=0.5, tau_prime=0.0))


def test_rational_policies_keep_their_support():
    tiny = Fraction(1, 10**1000)
    mdp = chain(2, horizon=2)
    policy = [[tiny, 1 - tiny], ["1/2", "1/2"]]
    space = TrajectorySpace(mdp.replace(rewards=[[0, 0], [4000, 0]]))
    surrogate, lifted = BruteForce(space.mdp, policy).surrogate_and_lifted_return(0.25, 0.75)
    for method in ("recursion", "enumeration"):
        assert close(space.surrogate(policy, tau=0.25, tau_prime=0.75, method=method), surrogate)
        assert close(space.lifted_return(policy, tau=0.25, tau_prime=0.75, method=method), lifted)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"])
def test_the_real_tables_run_by_recursion_and_refuse_enumeration(name, sparse):
    mdp = toy_text(name, horizon=30, sparse=sparse)
    space = TrajectorySpace(mdp)
    policy = np.full((mdp.n_states, mdp.n_actions), 1 / mdp.n_actions)
    options = {"tau": 0.5, "tau_prime": 0.0}
    value, lifted, mean = (
        space.surrogate(policy, **options),
        space.lifted_return(policy, **options),
        space.expected_return(policy),
    )
    assert mean <= value <= lifted  # Jensen, and the variational form of the surrogate at tau' = 0
    assert space.policy_entropy(policy) == pytest.approx(30 * math.log(mdp.n_actions), rel=1e-12)
    digits = math.floor(math.log10(space.count))
    with pytest.raises(ExactRLError, match=rf'about 10\^{digits} trajectories.*100,000,000.*method="recursion"'):
        space.surrogate(policy, method="enumeration", **options)


def test_a_small_real_table_by_both_roads():
    mdp = toy_text("FrozenLake-v1", horizon=6)
    space, policy = TrajectorySpace(mdp), np.full((16, 4), 0.25)
    policy[0] = [0.0, 0.5, 0.5, 0.0]
    for read in (space.surrogate, space.lifted_return):
        values = [read(policy, tau=0.125, tau_prime=0.25, method=method) for method in ("recursion", "enumeration")]
        assert close(*values)
    assert close(space.expected_return(policy), space.expected_return(policy, method="enumeration"))
