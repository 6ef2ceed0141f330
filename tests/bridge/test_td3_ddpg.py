"""DDPG's and TD3's updates against exact evaluation of a deterministic policy and its exact gradient."""

import numpy as np
import pytest
import torch

from deeprl import DDPGConfig, TD3Config
from deeprl.algorithms import DDPG, TD3
from exactrl.evaluation import evaluate
from tests.bridge.finite import (
    PRECISIONS,
    Oracle,
    World,
    assert_follows,
    begin,
    distance,
    outer,
    quadratic_basis,
    quadratic_slope,
    tensor,
)

# Some of these are clipped as noises, some as actions.
SMOOTHING = np.array([-2.0, -0.5, 0.25, 3.0])


def basis(action):
    return outer([np.stack(quadratic_basis(a), -1) for a in action.T])


def slopes(action):
    """(S, d, A)."""
    each = [np.stack(quadratic_basis(a), -1) for a in action.T]
    steep = [np.stack(quadratic_slope(a), -1) for a in action.T]
    return np.stack([outer([*each[:k], one, *each[k + 1 :]]) for k, one in enumerate(steep)], axis=1)


class Exact(Oracle):
    """The deterministic policy gradient in closed form, the target's noises as a finite sum."""

    twins = False
    noises = None

    def due(self):
        """Whether this update trains the policy."""
        return not self.twins or (self.updates + 1) % self.config.policy_frequency == 0

    def target_actions(self):
        action = np.tanh(self.actor_scale * self.tables["target_actor"])
        if self.noises is None:
            return [action]
        limit = self.config.noise_clip
        smoothing = np.clip(self.config.policy_noise * self.noises, -limit, limit)
        return [np.clip(action + one, -1, 1) for one in smoothing]

    def gradients(self):
        world, tables = self.world, self.tables
        values = [
            np.einsum("csa,sa->cs", tables["target_critic"], basis(action)).min(axis=0)
            for action in self.target_actions()
        ]
        target = world.backup(np.mean(values, axis=0), self.config.gamma)
        found = {"critic": (tables["critic"] - target) / (world.states * world.actions)}
        if self.due():
            action = np.tanh(self.actor_scale * tables["actor"])
            slope = (slopes(action) * tables["critic"][0][:, None]).sum(-1)
            found["actor"] = -self.actor_scale * slope * (1 - action**2) / world.states
        return found

    def follow(self):
        if self.due():
            self.towards("target_critic", "critic")
            self.towards("target_actor", "actor")


class ExactTD3(Exact):
    twins = True


def settings(kind, world, **changes):
    rate = world.states * world.actions / 2
    return kind(**{"optimizer": "sgd", "learning_rate": rate, "gamma": 0.75, "tau": 0.25, **changes})


def problem(world, config, dtype, *, seed=0, actor_scale=0.5):
    rng = np.random.default_rng([seed, 3])
    twins = isinstance(config, TD3Config)
    critics = 2 if twins else 1
    one, two = rng.normal(size=(2, critics, world.states, world.actions))
    actor, target = rng.normal(size=(2, world.states, world.coordinates)) / actor_scale
    start = {"critic": one, "target_critic": two, "actor": actor, "target_actor": target}
    networks = world.networks(world.coordinates, copies=critics, actor_scale=actor_scale)
    algorithm = (TD3 if twins else DDPG)(config, world.states, world.coordinates, dtype=dtype, networks=networks)
    oracle = (ExactTD3 if twins else Exact)(world, config, start, actor_scale=actor_scale)
    points, noise = np.zeros((1, world.coordinates)), {}
    if twins:
        points = np.stack([np.roll(SMOOTHING, k) for k in range(world.coordinates)], -1)
        oracle.noises = points
    rows = world.rows(len(points), seed)
    if twins:
        noise = {"next_action": tensor(points[rows[3]], dtype)[None]}
    return algorithm, oracle, world.batch(rows, dtype), noise


DDPG_OPTIONS = {
    "plain": {},
    "gamma 0": {"gamma": 0.0},
    "gamma 1": {"gamma": 1.0},
    "targets at once": {"tau": 1.0},
    "targets never": {"tau": 0.0},
    "adam": {"optimizer": "adam", "learning_rate": 0.03},
}
TD3_OPTIONS = {
    **DDPG_OPTIONS,
    "every update": {"policy_frequency": 1},
    "every third": {"policy_frequency": 3},
    "no smoothing": {"policy_noise": 0.0},
    "no room for noise": {"noise_clip": 0.0},
    "much noise": {"policy_noise": 1.0, "noise_clip": 2.0},
}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [(DDPGConfig, name) for name in DDPG_OPTIONS] + [(TD3Config, name) for name in TD3_OPTIONS],
)
def test_the_update_is_the_exact_one(kind, options, dtype):
    chosen = TD3_OPTIONS[options] if kind is TD3Config else DDPG_OPTIONS[options]
    for seed in range(2):
        world = World(seed, coordinates=1 + seed % 2)
        config = settings(kind, world, **chosen)
        _, moved = assert_follows(*problem(world, config, dtype, seed=seed), steps=7, where=f"{options}, model {seed}:")
        assert min(moved["critic"], moved["actor"]) > 0.02
        assert (min(moved["target_critic"], moved["target_actor"]) > 0) == (config.tau > 0)


@pytest.mark.parametrize("frequency", [1, 2, 3])
def test_policy_and_targets_move_once_in_so_many_updates(frequency):
    world = World(1)
    config = settings(TD3Config, world, policy_frequency=frequency)
    algorithm, oracle, batch, noise = problem(world, config, torch.float64)
    state = begin(algorithm, oracle.tables)
    for update in range(1, 3 * frequency + 1):
        before = state.clone()
        metrics = algorithm.update(state, batch, noise)
        due = update % frequency == 0
        for name in ("actor", "target_actor", "target_critic"):
            same = torch.equal(before.parameters[name].flat, state.parameters[name].flat)
            assert same != due, f"{name} at update {update}"
        assert not torch.equal(before.parameters["critic"].flat, state.parameters["critic"].flat)
        assert ("policy_loss" in metrics) == due


@pytest.mark.parametrize("kind", [DDPGConfig, TD3Config])
def test_with_a_tabular_policy_held_the_critic_converges_to_its_value(kind):
    """tanh of +-40 is +-1 in double precision and its slope 0: a policy on the model's own actions, which stays."""
    world = World(9, coordinates=2)
    rate = float(world.states * world.actions)
    extra = {"policy_noise": 0.0, "policy_frequency": 1} if kind is TD3Config else {}
    config = settings(kind, world, learning_rate=rate, tau=1.0, gamma=0.5, **extra)
    algorithm, oracle, batch, noise = problem(world, config, torch.float64, actor_scale=1.0)
    chosen = np.array([[40.0, -40.0], [-40.0, -40.0], [40.0, 40.0]])
    oracle.tables["actor"] = oracle.tables["target_actor"] = chosen
    state = begin(algorithm, oracle.tables)
    for _ in range(60):
        algorithm.update(state, batch, noise)
    assert distance(state, {"actor": chosen}) == 0
    policy = np.concatenate([basis(np.sign(chosen)), np.eye(1, world.actions)])
    exact = evaluate(world.mdp(config.gamma), policy).action_values[:-1]
    assert distance(state, {"critic": np.stack([exact] * algorithm.critics)}) < 1e-10


def test_the_policy_climbs_the_first_critic_and_the_target_takes_the_smaller():
    world = World(2)
    config = settings(TD3Config, world, policy_frequency=1)
    algorithm, oracle, batch, noise = problem(world, config, torch.float64)
    start = {name: table.copy() for name, table in oracle.tables.items()}

    def after(name, table):
        state = begin(algorithm, {**start, name: table})
        algorithm.update(state, batch, noise)
        return state.parameters["actor"].flat.clone(), state.parameters["critic"].flat.clone()

    swapped = after("critic", start["critic"] + np.array([0.0, 1.0])[:, None, None] * start["critic"])
    torch.testing.assert_close(after("critic", start["critic"])[0], swapped[0], rtol=0, atol=0)
    # A target critic far above the other is never the smaller one: what it says does not matter.
    high = [
        after("target_critic", start["target_critic"] + np.array([0.0, height])[:, None, None])[1]
        for height in (90, 95)
    ]
    torch.testing.assert_close(*high, rtol=0, atol=0)
