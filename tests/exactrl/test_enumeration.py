"""Enumeration: exact counts, blocks of constant memory, and refusals that name the recursion."""

import tracemalloc

import numpy as np
import pytest

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.edges import Edges
from exactrl.enumeration import Blocks, Steps
from exactrl.sources import garnet, tree
from tests.exactrl.brute_force import trajectories


def blocks(mdp, policy, size):
    log_policy = np.broadcast_to(np.log(policy), (mdp.horizon, mdp.n_states, mdp.n_actions))
    return Blocks(Steps(Edges.of(mdp), log_policy, mdp.discount ** np.arange(mdp.horizon)), size)


@pytest.mark.parametrize(
    "mdp", [garnet(3, 2, 2, seed=0, horizon=4), tree(6, 2, seed=0), garnet(4, 1, 3, seed=1, horizon=5)]
)
@pytest.mark.parametrize("size", [1, 7, 64, 1 << 15])
@pytest.mark.parametrize("outer", [0, 10**9])
def test_blocks_hold_every_trajectory_once(mdp, size, outer, monkeypatch):
    monkeypatch.setattr("exactrl.enumeration._WORTH_AN_OUTER_SUM", outer)
    policy = np.random.default_rng(0).dirichlet(np.ones(mdp.n_actions), size=mdp.n_states)
    found = [np.stack([b.log_policy, b.returns, b.log_dynamics]) for b in blocks(mdp, policy, size)]
    assert max(part.shape[1] for part in found) <= max(size, mdp.n_states * mdp.n_actions)
    expected = [(np.log(float(pi)), float(r), np.log(float(f))) for *_, pi, f, r in trajectories(mdp, policy)]
    found, expected = np.concatenate(found, axis=1), np.array(expected).T
    assert found.shape == expected.shape
    order = [np.lexsort(np.round(x, 9)) for x in (found, expected)]
    assert np.allclose(found[:, order[0]], expected[:, order[1]], rtol=1e-12, atol=1e-12)


def test_counts_are_exact_integers_of_any_size():
    dense = FiniteMDP(np.full((10, 10, 10), 0.1), np.zeros((10, 10)), horizon=50)
    assert TrajectorySpace(dense).count == 10 * 100**50
    assert TrajectorySpace(dense.replace(initial=3, horizon=49)).count == 100**49
    assert TrajectorySpace(tree(12, 2, seed=0, sparse=True)).count == 2**12
    assert TrajectorySpace(dense.replace(horizon=2500)).count == 10 * 100**2500


def test_memory_stays_small_over_sixteen_million_trajectories():
    mdp = garnet(4, 4, 4, seed=0, horizon=6, initial=0)
    space = TrajectorySpace(mdp)
    assert space.count == 2**24
    policy = np.full((4, 4), 0.25)
    tracemalloc.start()
    try:
        value = space.surrogate(policy, tau=0.5, tau_prime=0.5, method="enumeration")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert value == pytest.approx(space.surrogate(policy, tau=0.5, tau_prime=0.5), rel=1e-12)


def test_memory_stays_small_where_a_state_has_many_edges():
    mdp = FiniteMDP(np.full((2, 400, 2), 0.5), np.zeros((2, 400)), horizon=2)
    tracemalloc.start()
    try:
        total = sum(block.returns.size for block in blocks(mdp, np.full((2, 400), 1 / 400), 1 << 10))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 2 * 800**2
    assert peak < 4 * 2**20


def test_a_space_too_large_is_refused_before_any_work():
    space = TrajectorySpace(garnet(10, 10, 10, seed=0, horizon=2500))
    policy = np.full((10, 10), 0.1)
    message = r'about 10\^5001 trajectories exceeds the limit of 100,000,000: use method="recursion"'
    for call in (space.expected_return, space.policy_entropy):
        with pytest.raises(ExactRLError, match=message):
            call(policy, method="enumeration")
    with pytest.raises(ExactRLError, match=message):
        space.lifted_return(policy, tau=1.0, tau_prime=0.0, method="enumeration")
    assert "horizon=2500" in repr(space)


def test_the_limit_is_the_callers():
    space = TrajectorySpace(tree(5, 2, seed=0), enumeration_limit=31)
    policy = np.full((63, 2), 0.5)
    for call in (lambda: space.enumerate(policy), lambda: space.expected_return(policy, method="enumeration")):
        with pytest.raises(ExactRLError, match="enumerating 32 trajectories exceeds the limit of 31"):
            call()
    assert len(TrajectorySpace(space.mdp, enumeration_limit=32).enumerate(policy).returns) == 32


def test_a_list_that_would_fill_the_memory_is_refused():
    space = TrajectorySpace(garnet(4, 4, 4, seed=0, horizon=6), enumeration_limit=10**12)
    with pytest.raises(ExactRLError, match="exceeds the limit of 6,250,000"):
        space.enumerate(np.full((4, 4), 0.25))
