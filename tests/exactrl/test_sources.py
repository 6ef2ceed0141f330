"""The sources against other routes: small tables by hand, counting, and gymnasium's own environments stepped."""

import builtins
import itertools
from fractions import Fraction

import gymnasium
import numpy as np
import pytest

from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.sources import bandit, chain, garnet, grid, river_swim, toy_text, tree
from exactrl.sources.building import Law, build
from exactrl.sources.toy_text import _merged

THIRD = Fraction(1, 3)


# Bandits and trees


def test_a_bandit_is_one_decision():
    mdp = bandit([1, "1/3", -2])
    assert mdp == FiniteMDP([[[1], [1], [1]]], [[1, THIRD, -2]], horizon=1)
    assert mdp.exact
    assert mdp.is_deterministic
    assert not bandit(np.array([0.5, 1.5])).exact


@pytest.mark.parametrize(("depth", "branching"), [(1, 1), (1, 4), (3, 2), (2, 3), (4, 1)])
def test_each_sequence_of_actions_is_a_trajectory_of_its_own(depth, branching):
    returns = [Fraction(i, 7) for i in range(1, branching**depth + 1)]
    mdp = tree(depth, branching, rewards=returns)
    assert mdp.exact
    assert mdp.is_deterministic
    assert mdp.horizon == depth
    ends, found = set(), []
    for actions in itertools.product(range(branching), repeat=depth):
        state, total = _follow(mdp, actions)
        ends.add(state)
        found.append(total)
    assert found == returns
    assert len(ends) == branching**depth
    for leaf in ends:
        assert all(mdp.transitions_exact[leaf, :, leaf] == 1)
        assert not mdp.expected_rewards[leaf].any()


def test_edges_of_a_tree_earn_what_they_were_given():
    edges = np.arange(6.0).reshape(3, 2)
    mdp = tree(2, 2, rewards=edges, discount=0.5)
    assert np.array_equal(mdp.expected_rewards[:3], edges)
    assert mdp.discount == 0.5
    assert _follow(mdp, (1, 0))[1] == 1 + 4


def test_a_drawn_tree_repeats_with_its_seed():
    assert tree(3, 2, seed=1) == tree(3, 2, seed=1) != tree(3, 2, seed=2)
    assert not tree(2, 2, seed=1).exact
    exact = tree(2, 3, seed=1, exact=True, sparse=True)
    assert exact.exact
    assert exact.is_sparse
    assert all(abs(reward) <= 1 and 10 * reward == int(10 * reward) for reward in exact.expected_rewards_exact.flat)


def _follow(mdp, actions):
    state, total = int(np.argmax(mdp.initial)), Fraction(0)
    for action in actions:
        following = int(np.argmax(mdp.transitions[state, action]))
        total += mdp.rewards_exact[state, action, following]
        state = following
    return state, total


# Walks


def test_the_chain_by_hand():
    mdp = chain(3, slip="1/5", horizon=4)
    ahead, back = Fraction(4, 5), Fraction(1, 5)
    by_hand = [
        [[back, ahead, 0], [ahead, back, 0]],
        [[back, 0, ahead], [ahead, 0, back]],
        [[back, 0, ahead], [ahead, 0, back]],
    ]
    rewards = [[2 * back, 2 * ahead], [2 * back, 2 * ahead], [2 * back + 10 * ahead, 2 * ahead + 10 * back]]
    assert mdp.exact
    assert np.array_equal(mdp.transitions_exact, np.array(by_hand))
    assert np.array_equal(mdp.expected_rewards_exact, np.array(rewards))
    assert mdp.initial.tolist() == [1, 0, 0]


def test_the_chain_without_slip_is_deterministic_and_floats_stay_floats():
    assert chain(horizon=2).is_deterministic
    assert not chain(horizon=2, slip=0.2).exact
    assert chain(horizon=2, slip="1/5", small="1/2", large=0).rewards_exact.max() == Fraction(1, 2)
    assert chain(4, horizon=2, slip=1).transitions[:, 0, 0].tolist() == [1, 1, 1, 1]


def test_the_river_swim_by_hand():
    mdp = river_swim(3, discount="19/20", sparse=True)
    assert mdp.exact
    twentieths = [[[20, 0, 0], [8, 12, 0]], [[20, 0, 0], [1, 12, 7]], [[0, 20, 0], [0, 8, 12]]]
    assert np.array_equal(mdp.transitions_exact * 20, np.array(twentieths))
    assert mdp.rewards_exact.tolist() == [[Fraction(1, 200), 0], [0, 0], [0, 1]]
    assert river_swim(2, horizon=1).transitions_exact[0, 1].tolist() == [Fraction(2, 5), Fraction(3, 5)]


def test_a_small_grid_by_hand():
    mdp = grid(2, 2, walls=[(0, 1)], slip="1/2", step_reward=-1, goal_reward=5, horizon=3)
    assert mdp.n_states == 3
    up, right, down, left = mdp.transitions_exact[0]
    assert up.tolist() == [1, 0, 0]
    assert right.tolist() == [Fraction(3, 4), Fraction(1, 4), 0]
    assert down.tolist() == [Fraction(1, 2), Fraction(1, 2), 0]
    assert left.tolist() == [Fraction(3, 4), Fraction(1, 4), 0]
    assert mdp.transitions_exact[1, 1].tolist() == [Fraction(1, 4), Fraction(1, 4), Fraction(1, 2)]
    assert mdp.rewards_exact[1, 1].tolist() == [-1, -1, 4]
    assert mdp.transitions_exact[2, :, 2].tolist() == [1, 1, 1, 1]
    assert not mdp.rewards[2].any()
    assert grid(1, 3, start=[0, 2], goal=(0, 0), horizon=2).is_deterministic


@pytest.mark.parametrize("map_name", ["4x4", "8x8"])
def test_the_grid_is_frozen_lake(map_name):
    lake = toy_text("FrozenLake-v1", horizon=9, map_name=map_name)
    desc = gymnasium.make("FrozenLake-v1", map_name=map_name).unwrapped.desc
    ours = grid(*desc.shape, holes=[tuple(map(int, cell)) for cell in np.argwhere(desc == b"H")], slip="2/3", horizon=9)
    order = [3, 2, 1, 0]  # ours: up, right, down, left; gymnasium's: left, down, right, up
    np.testing.assert_allclose(ours.transitions, lake.transitions[:, order], atol=1e-15)
    np.testing.assert_allclose(ours.expected_rewards, lake.expected_rewards[:, order], atol=1e-15)
    assert np.array_equal(ours.initial, lake.initial)


# Garnet


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("branching", [1, 3, 5])
def test_garnet_has_its_size_and_branching(branching, exact):
    mdp = garnet(5, 2, branching, seed=3, exact=exact, discount="9/10", initial=0)
    assert mdp.exact is exact
    assert (np.count_nonzero(mdp.transitions, axis=-1) == branching).all()
    assert mdp.rewards.shape == (5, 2)
    assert mdp == garnet(5, 2, branching, seed=3, exact=exact, discount="9/10", initial=0, sparse=True)
    assert mdp != garnet(5, 2, branching, seed=4, exact=exact, discount="9/10", initial=0)


def test_garnet_probabilities_are_spacings_of_uniform_cuts():
    """The spacings of [0, 1] by two uniform cuts have mean 1/3 and second moment 1/6."""
    pieces = garnet(300, 10, 3, seed=0, discount=0.5, sparse=True).transitions.data
    assert pieces.mean() == pytest.approx(1 / 3, abs=1e-9)
    assert (pieces**2).mean() == pytest.approx(1 / 6, abs=0.005)
    exact = garnet(60, 10, 3, seed=0, discount=0.5, exact=True).transitions
    assert (exact[exact > 0] ** 2).mean() == pytest.approx(1 / 6, abs=0.02)


# Gymnasium's tables


TABLES = [
    ("FrozenLake-v1", {}, 0),
    ("FrozenLake-v1", {"is_slippery": False, "map_name": "8x8"}, 0),
    ("FrozenLake-v1", {"success_rate": 0.7, "reward_schedule": (10, -5, -1)}, 0),
    ("CliffWalking-v1", {}, 1),
    ("CliffWalkingSlippery-v1", {}, 1),
    ("Taxi-v4", {}, 1),
    ("Taxi-v4", {"is_rainy": True}, 1),
]


@pytest.mark.parametrize(("env_id", "kwargs", "extra"), TABLES)
def test_toy_text_is_the_table_by_brute_force(env_id, kwargs, extra):
    """Expected reward and next-state law of every pair, summed entry by entry; after termination nothing is earned."""
    env = gymnasium.make(env_id, **kwargs).unwrapped
    mdp = toy_text(env_id, horizon=5, **kwargs)
    n_states = len(env.P)
    assert mdp.n_states == n_states + extra
    ended = {to for row in env.P.values() for outcomes in row.values() for _, to, _, end in outcomes if end}
    for state, row in env.P.items():
        for action, outcomes in row.items():
            law, reward = np.zeros(mdp.n_states), 0.0
            for probability, to, earned, end in outcomes:
                law[n_states if extra and end else to] += probability
                reward += probability * earned
            np.testing.assert_allclose(mdp.transitions[state, action], law, atol=1e-15)
            assert mdp.expected_rewards[state, action] == pytest.approx(reward, abs=1e-12)
    for state in [n_states] if extra else ended:
        assert (mdp.transitions[state, :, state] == 1).all()
        assert not mdp.rewards[state].any()
    assert np.array_equal(mdp.initial[:n_states], env.initial_state_distrib)
    assert mdp == toy_text(env_id, horizon=5, sparse=True, **kwargs)


@pytest.mark.parametrize(("env_id", "kwargs", "extra"), TABLES)
def test_toy_text_predicts_the_stepped_environment(env_id, kwargs, extra):
    """Mean return over a horizon of uniformly random actions: the recursion against episodes of the real thing."""
    mdp = toy_text(env_id, horizon=12, sparse=True, **kwargs)
    values = squares = np.zeros(mdp.n_states)
    matrix, table = mdp.transitions.toarray(), mdp.rewards.toarray()
    for _ in range(12):
        second = (matrix * (table**2 + 2 * table * values + squares)).sum(1).reshape(-1, mdp.n_actions).mean(1)
        values = (matrix * (table + values)).sum(1).reshape(-1, mdp.n_actions).mean(1)
        squares = second
    mean, variance = mdp.initial @ values, mdp.initial @ squares - (mdp.initial @ values) ** 2
    returns = _played(gymnasium.make(env_id, **kwargs), 12, 1500)
    assert abs(np.mean(returns) - mean) <= 4.5 * np.sqrt(variance / len(returns)) + 1e-9


def _played(env, horizon, episodes):
    rng = np.random.default_rng(5)
    env.reset(seed=7)
    returns = []
    for _ in range(episodes):
        env.reset()
        total, ended = 0.0, False
        for action in rng.integers(env.action_space.n, size=horizon).tolist():
            if not ended:
                _, reward, ended, _, _ = env.step(action)
                total += reward
        returns.append(total)
    return returns


def test_probabilities_and_deterministic_environments_are_kept_as_they_are():
    assert toy_text("CliffWalking-v1", horizon=3).is_deterministic
    lake = toy_text("FrozenLake-v1", discount=0.99)
    assert lake.transitions[6, 0, 10] == gymnasium.make("FrozenLake-v1").unwrapped.P[6][0][2][0]
    assert lake.horizon is None
    assert not lake.exact


def test_outcomes_with_one_next_state_are_merged_exactly():
    merged = _merged([(0.1, 4, 3.0, False), (0.2, 4, -1.0, False), (0.0, 5, 9.0, False), (0.7, 4, 1.0, True)], 8)
    mass = Fraction(0.1) + Fraction(0.2)
    assert merged == {4: (mass, (3 * Fraction(0.1) - Fraction(0.2)) / mass), 8: (Fraction(0.7), Fraction(1))}
    law = Law(1, 1)
    law.add(0, 0, Fraction(1, 4), 0, Fraction(8))
    law.add(0, 0, Fraction(3, 4), 0, Fraction(4))
    assert list(law.triplets()) == [(0, 0, 1, 5)]


def test_a_table_without_an_initial_law_starts_anywhere(monkeypatch):
    class Tiny(gymnasium.Env):
        P = {0: {0: [(1.0, 0, 2.0, False)]}, 1: {0: [(1.0, 0, 1.0, False)]}}  # noqa: RUF012

    monkeypatch.setitem(gymnasium.registry, "Tiny-v0", gymnasium.envs.registration.EnvSpec("Tiny-v0", Tiny))
    mdp = toy_text("Tiny-v0", horizon=2, disable_env_checker=True)
    assert mdp.initial.tolist() == [0.5, 0.5]
    assert mdp.expected_rewards.tolist() == [[2.0], [1.0]]
    with pytest.raises(ExactRLError, match="it has no limit of its own"):
        toy_text("Tiny-v0", disable_env_checker=True)


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bandit([]), r"rewards has shape \(0,\), expected \(A,\)"),
        (lambda: bandit([[1, 2]]), r"rewards has shape \(1, 2\), expected \(A,\)"),
        (lambda: bandit([1, float("inf")]), r"rewards\[0, 1\] is inf"),
        (lambda: tree(0, 2, seed=1), "depth is 0, expected an int of at least 1"),
        (lambda: tree(2, True, seed=1), "branching is True, expected an int"),
        (lambda: tree(2, 2), "tree.. needs either rewards or seed, expected exactly one"),
        (lambda: tree(2, 2, seed=1, rewards=[1, 2, 3, 4]), "expected exactly one"),
        (lambda: tree(2, 2, rewards=[1, 2]), r"rewards has shape \(2,\), expected \(3, 2\) or \(4,\)"),
        (lambda: tree(30, 2, seed=1), "nodes, expected at most 10.6: lower depth or branching"),
        (lambda: tree(13, 2, seed=1), "has 536805378 entries, expected at most 100000000: ask for sparse=True"),
        (lambda: tree(2, 2, seed=-1), "seed is -1, expected an int of at least 0"),
        (lambda: tree(2, 2, seed=1.5), r"seed is 1\.5, expected an int"),
        (lambda: chain(1, horizon=1), "length is 1, expected an int of at least 2"),
        (lambda: chain(3, slip=1.5, horizon=1), r"slip is 1\.5, expected a probability from 0 to 1"),
        (lambda: chain(3, slip=float("nan"), horizon=1), "slip is nan, expected a probability"),
        (lambda: chain(3, large=float("inf"), horizon=1), "large is inf, expected a finite number"),
        (lambda: chain(3), "horizon is None and discount is 1"),
        (lambda: grid(2, 2, start=(2, 0), horizon=1), r"start holds \(2, 0\), expected a cell of the 2 x 2 grid"),
        (lambda: grid(2, 2, goal=3, horizon=1), r"goal holds 3, expected a cell \(row, column\)"),
        (lambda: grid(2, 2, walls=[(0, -1)], horizon=1), "a coordinate of walls is -1, expected an int"),
        (lambda: grid(2, 2, holes=[(1, 1)], horizon=1), r"goal \(1, 1\) is a wall or a hole, expected a free cell"),
        (lambda: grid(2, 2, walls=[(0, 0)], horizon=1), r"start \(0, 0\) is a wall or a hole"),
        (lambda: garnet(3, 2, 4, seed=0, horizon=1), "branching is 4, expected at most the number of states, 3"),
        (lambda: garnet(3, 2, 2, seed=None, horizon=1), "seed is None, expected an int"),
        (lambda: toy_text("Taxi-v3", horizon=1), r"gymnasium .* has no environment 'Taxi-v3', expected e\.g\. Taxi-v4"),
        (lambda: toy_text("CartPol-v1", horizon=1), r"expected e\.g\. CartPole-v1"),
        (lambda: toy_text("zzzz", horizon=1), r"expected e\.g\. Blackjack-v1, FrozenLake-v1"),
        (lambda: toy_text(3, horizon=1), "env_id is 3, expected a string such as 'FrozenLake-v1'"),
        (lambda: toy_text("Blackjack-v1", horizon=1), "Blackjack-v1 has no table P"),
        (lambda: toy_text("FrozenLake-v1", map_name="9x9", horizon=1), "cannot make 'FrozenLake-v1' with .*KeyError"),
        (lambda: toy_text("Taxi-v4", fickle_passenger=True, horizon=1), "not described by its table P: leave it False"),
        (lambda: toy_text("FrozenLake-v1"), r"needs horizon=T or a discount below 1.*\(horizon=100 is the limit"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ExactRLError, match=message):
        call()


def test_the_largest_dense_table_is_refused_before_it_is_made():
    with pytest.raises(ExactRLError, match="ask for sparse=True"):
        build(Law(10**5, 1), sparse=False, horizon=1, discount=1, initial=0)
    assert tree(13, 2, seed=1, sparse=True).n_states == 2**14 - 1


def test_a_missing_gymnasium_is_said(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "gymnasium":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExactRLError, match="needs gymnasium, which is not installed"):
        toy_text("FrozenLake-v1", horizon=1)
