"""SAC's update against exact soft policy evaluation and the exact gradient of its objective."""

import numpy as np
import pytest
import torch

from deeprl import SACConfig
from deeprl.algorithms import SAC
from exactrl.evaluation import evaluate
from tests.bridge.finite import (
    LOG_TWO_PI,
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


class ExactSAC(Oracle):
    """Gaussian policy: the means over all actions in closed form, by the first two moments."""

    @property
    def alpha(self):
        return np.exp(self.tables["log_alpha"][0]) if self.config.autotune else self.config.alpha

    @property
    def target_entropy(self):
        given = self.config.target_entropy
        return -self.world.coordinates if given is None else given

    def policy(self):
        """Mean and log deviation (S, d), the weights of the model's actions and their slopes in both (S, A)."""
        mean, log_deviation = np.split(self.actor_scale * self.tables["actor"], 2, axis=-1)
        square = np.exp(2 * log_deviation)
        # E f(x) of a quadratic f is f of the first two moments: m and m^2 + sigma^2.
        each = [
            np.stack(quadratic_basis(m), -1) + v[:, None] * [0.5, -1, 0.5]
            for m, v in zip(mean.T, square.T, strict=True)
        ]
        by_mean = [np.stack(quadratic_slope(m), -1) for m in mean.T]
        by_log = [v[:, None] * [1.0, -2.0, 1.0] for v in square.T]

        def slopes(inner):
            replaced = [[*each[:k], one, *each[k + 1 :]] for k, one in enumerate(inner)]
            return np.stack([outer(weights) for weights in replaced], axis=1)

        return log_deviation, outer(each), slopes(by_mean), slopes(by_log)

    def entropy(self, log_deviation):
        return (0.5 + log_deviation + LOG_TWO_PI / 2).sum(axis=-1)

    def gradients(self):
        world, tables, alpha = self.world, self.tables, self.alpha
        log_deviation, weights, by_mean, by_log = self.policy()
        entropy = self.entropy(log_deviation)
        values = (weights * self.least(tables["target_critic"], weights)).sum(-1) + alpha * entropy
        target = world.backup(values, self.config.gamma)
        least = self.least(tables["critic"], weights)[:, None]
        slope = np.concatenate([-(by_mean * least).sum(-1), -(by_log * least).sum(-1) - alpha], axis=-1)
        found = {
            "critic": (tables["critic"] - target) / (world.states * world.actions),
            "actor": self.actor_scale * slope / world.states,
        }
        if self.config.autotune:
            found["log_alpha"] = np.array([entropy.mean() - self.target_entropy])
        return found


def two_points(coordinates):
    """Equally likely noises with the moments of a normal up to the third: (J, d)."""
    return np.stack(np.meshgrid(*[[-1.0, 1.0]] * coordinates, indexing="ij"), -1).reshape(-1, coordinates)


def noises(points, rows, dtype):
    """Every pair of an action's and a next action's noise, by the noise index of the rows."""
    count, index = len(points), rows[3]
    return {
        "action": tensor(points[index % count], dtype)[None],
        "next_action": tensor(points[index // count], dtype)[None],
    }


def settings(world, **changes):
    rate = world.states * world.actions / 2
    chosen = {"policy": "gaussian", "optimizer": "sgd", "learning_rate": rate, "gamma": 0.75, "tau": 0.25, "alpha": 0.5}
    return SACConfig(**{**chosen, "target_entropy": 1.0, "autotune": False, **changes})


def tables(world, config, seed, *, gap=6.0):
    """Random tables; the twins differ by a sign that depends on the state, far enough for it to rule everywhere."""
    rng = np.random.default_rng([seed, 99])
    sign = np.where(rng.integers(0, 2, size=(world.states, 1)), gap, -gap)
    sign[:2] = [[gap], [-gap]]
    one, two = rng.normal(size=(2, world.states, world.actions)) / 2
    actor = np.concatenate(
        [
            rng.uniform(-0.5, 0.5, (world.states, world.coordinates)),
            rng.uniform(-1, -0.5, (world.states, world.coordinates)),
        ],
        -1,
    )
    found = {"critic": [one, one + sign], "target_critic": [two, two - sign], "actor": actor}
    return found | ({"log_alpha": [np.log(config.alpha)]} if config.autotune else {})


def exact_problem(world, config, dtype, *, seed=0, actor_scale=0.125, gap=6.0):
    algorithm = SAC(
        config,
        world.states,
        world.action_size,
        dtype=dtype,
        networks=world.networks(2 * world.coordinates, actor_scale=actor_scale),
    )
    points = two_points(world.coordinates)
    rows = world.rows(len(points) ** 2, seed)
    start = tables(world, config, seed, gap=gap)
    start["actor"] = start["actor"] / actor_scale
    oracle = ExactSAC(world, config, start, actor_scale=actor_scale)
    return algorithm, oracle, world.batch(rows, dtype), noises(points, rows, dtype)


OPTIONS = {
    "plain": {},
    "autotune": {"autotune": True, "alpha": 0.3, "learning_rate": 0.5, "target_entropy": 0.2},
    "autotune, target entropy by default": {"autotune": True, "learning_rate": 0.25, "target_entropy": None},
    "no temperature": {"alpha": 0.0},
    "gamma 0": {"gamma": 0.0},
    "gamma 1": {"gamma": 1.0},
    "targets at once": {"tau": 1.0},
    "targets never": {"tau": 0.0},
    "adam": {"optimizer": "adam", "learning_rate": 0.03},
    "adam, autotune": {"optimizer": "adam", "learning_rate": 0.03, "autotune": True},
}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_update_is_the_exact_one(options, dtype):
    for seed in range(2):
        world = World(seed, coordinates=1 + seed % 2)
        config = settings(world, **OPTIONS[options])
        _, moved = assert_follows(
            *exact_problem(world, config, dtype, seed=seed), steps=6, where=f"{options}, model {seed}:"
        )
        assert moved["critic"] > 0.05
        assert moved["actor"] > 0.02
        assert "log_alpha" not in moved or moved["log_alpha"] > 0.05
        assert (moved["target_critic"] > 0) == (config.tau > 0)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("coordinates", [1, 2])
def test_with_the_policy_held_the_critics_converge_to_its_soft_value(coordinates, alpha):
    """A Gaussian that moves by 2^-60 of a step: its weights on the model's actions are a policy for exactrl."""
    world = World(5, coordinates=coordinates)
    config = settings(world, learning_rate=float(world.states * world.actions), tau=1.0, gamma=0.5, alpha=alpha)
    algorithm, oracle, batch, noise = exact_problem(world, config, torch.float64, actor_scale=2.0**-30)
    oracle.tables["actor"][:, :coordinates] *= 0.2  # |m| < m^2 + sigma^2: the weights are probabilities
    state = begin(algorithm, oracle.tables)
    for _ in range(60):
        algorithm.update(state, batch, noise)
    log_deviation, weights, _, _ = oracle.policy()
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-14)
    bonus = alpha * world.transitions[..., :-1] @ oracle.entropy(log_deviation)
    policy = np.concatenate([weights, np.full((1, world.actions), 1 / world.actions)])
    mdp = world.mdp(config.gamma, rewards=world.rewards + config.gamma * bonus)
    exact = evaluate(mdp, policy / policy.sum(-1, keepdims=True)).action_values[:-1]
    found = state.parameters["critic"].flat.numpy().reshape(2, world.states, world.actions)
    np.testing.assert_allclose(found, [exact, exact], atol=1e-10)


# ----------------------------------------------------------- any noise, any policy: the sampled update, derived by hand


class SampledSAC(ExactSAC):
    """The update for given rows and noises of one coordinate each, with the chain rule written out."""

    def draw(self, states, noise):
        mean, log_deviation = np.split(self.actor_scale * self.tables["actor"][states], 2, axis=-1)
        origin = mean + np.exp(log_deviation) * noise
        log_density = (-(noise**2) / 2 - log_deviation - LOG_TWO_PI / 2).sum(-1)
        if self.config.policy == "gaussian":
            return origin, np.ones_like(origin), np.exp(log_deviation) * noise, log_density, np.zeros_like(origin)
        action = np.tanh(origin)
        return (
            action,
            1 - action**2,
            np.exp(log_deviation) * noise,
            log_density - np.log(1 - action**2).sum(-1),
            2 * action,
        )

    def at(self, critics, states, action):
        """The smaller critic at these actions and its slope in each coordinate."""
        bases = [np.stack(quadratic_basis(a), -1) for a in action.T]
        slopes = [np.stack(quadratic_slope(a), -1) for a in action.T]
        values = np.einsum("cba,ba->cb", critics[:, states], outer(bases))
        rows = np.arange(len(states))
        chosen = critics[values.argmin(axis=0), states]
        slope = [(chosen * outer([*bases[:k], slopes[k], *bases[k + 1 :]])).sum(-1) for k in range(len(bases))]
        return values.min(axis=0)[rows], np.stack(slope, -1)

    def gradients(self, rows, action, next_action):
        world, tables, alpha = self.world, self.tables, self.alpha
        s, a, slot, _ = rows
        following = world.following[s, a, slot]
        alive = following < world.states
        after = np.where(alive, following, 0)
        drawn, _, _, log_density, _ = self.draw(after, next_action)
        value, _ = self.at(tables["target_critic"], after, drawn)
        target = world.earned[s, a, following] + self.config.gamma * alive * (value - alpha * log_density)
        critic = np.zeros_like(tables["critic"])
        for i in range(2):
            np.add.at(critic[i], (s, a), (tables["critic"][i, s, a] - target) / len(s))
        drawn, by_origin, by_log, log_density, log_slope = self.draw(s, action)
        _, slope = self.at(tables["critic"], s, drawn)
        by_mean = alpha * log_slope - slope * by_origin  # of alpha log pi - Q, through the origin of the action
        outputs = np.concatenate([by_mean, by_mean * by_log - alpha], -1)
        actor = np.zeros_like(tables["actor"])
        np.add.at(actor, s, self.actor_scale * outputs / len(s))
        found = {"critic": critic, "actor": actor}
        if self.config.autotune:
            found["log_alpha"] = np.array([-(log_density.mean() + self.target_entropy)])
        return found


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("policy", ["gaussian", "tanh-gaussian"])
@pytest.mark.parametrize("options", ["plain", "autotune", "adam, autotune"])
def test_for_any_noise_the_update_is_the_derivative_by_hand(options, policy, dtype):
    for seed in range(2):
        world = World(seed, coordinates=1 + seed)
        config = settings(world, **{**OPTIONS[options], "policy": policy})
        algorithm, exact, _, _ = exact_problem(world, config, dtype, seed=seed, gap=0.3)
        oracle = SampledSAC(world, config, exact.tables, actor_scale=exact.actor_scale)
        rows = world.rows(4, seed)
        rng = np.random.default_rng(seed)
        drawn = {name: rng.normal(size=(rows.shape[1], world.coordinates)) for name in ("action", "next_action")}
        noise = {name: tensor(x, dtype)[None] for name, x in drawn.items()}
        assert_follows(
            algorithm, oracle, world.batch(rows, dtype), noise, steps=4, where=f"model {seed}:", rows=rows, **drawn
        )


def test_the_sampled_and_the_closed_form_are_the_same_on_two_points():
    """Two derivations of the expected answer must agree before either judges."""
    world = World(2, coordinates=2)
    config = settings(world, autotune=True)
    _, exact, _, _ = exact_problem(world, config, torch.float64)
    sampled = SampledSAC(world, config, exact.tables, actor_scale=exact.actor_scale)
    points = two_points(2)
    rows = world.rows(len(points) ** 2)
    one = exact.gradients()
    two = sampled.gradients(rows, points[rows[3] % 4], points[rows[3] // 4])
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-11, atol=1e-13)


def test_a_narrow_squashed_policy_is_the_deterministic_limit():
    """Deviation e^-14: the two points agree with any symmetric law up to its square, 7e-13."""
    world, deviation = World(4), -14.0
    config = settings(world, policy="tanh-gaussian", learning_rate=1.0)
    algorithm, exact, batch, noise = exact_problem(world, config, torch.float64, actor_scale=1.0)
    start = exact.tables
    start["actor"][:, 1] = deviation
    state = begin(algorithm, start)
    algorithm.update(state, batch, noise)
    action, alpha = np.tanh(start["actor"][:, 0]), config.alpha
    basis = np.stack(quadratic_basis(action), -1)
    entropy = 0.5 + deviation + LOG_TWO_PI / 2 + np.log(1 - action**2)
    values = (basis * exact.least(start["target_critic"], basis)).sum(-1) + alpha * entropy
    slope = (np.stack(quadratic_slope(action), -1) * exact.least(start["critic"], basis)).sum(-1)
    expected = {
        "critic": start["critic"] - (start["critic"] - world.backup(values, config.gamma)) / 9,
        "actor": start["actor"] - np.stack([2 * alpha * action - slope * (1 - action**2), np.full(3, -alpha)], -1) / 3,
    }
    assert distance(state, expected) < 1e-10
