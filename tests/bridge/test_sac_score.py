"""SAC by the score function: exact soft policy evaluation and the exact gradient, all tuples of actions enumerated."""

import itertools

import numpy as np
import pytest
import torch

from deeprl import SACScoreConfig
from deeprl.algorithms import SACScore
from exactrl.evaluation import evaluate
from exactrl.soft_iteration import soft_value_iteration
from tests.bridge.finite import PRECISIONS, Oracle, World, assert_follows, begin, distance, tensor

CELLS = 5


def log_softmax(logits):
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def grid_policy(rng, states, actions, cells=CELLS):
    """Probabilities that are positive multiples of 1/cells, (S, A)."""
    return (
        1 + np.array([rng.multinomial(cells - actions, np.full(actions, 1 / actions)) for _ in range(states)])
    ) / cells


class ExactSACScore(Oracle):
    """Every mean over actions is a sum over the policy."""

    @property
    def alpha(self):
        return np.exp(self.tables["log_alpha"][0]) if self.config.autotune else self.config.alpha

    def log_policy(self):
        return log_softmax(self.actor_scale * self.tables["actor"])

    def gradients(self):
        world, tables, alpha = self.world, self.tables, self.alpha
        log_policy = self.log_policy()
        policy = np.exp(log_policy)
        values = (policy * (tables["target_critic"].min(axis=0) - alpha * log_policy)).sum(-1)
        target = world.backup(values, self.config.gamma)
        score = tables["critic"].min(axis=0) - alpha * log_policy
        slope = -policy * (score - (policy * score).sum(-1, keepdims=True))
        found = {
            "critic": (tables["critic"] - target) / (world.states * world.actions),
            "actor": self.actor_scale * slope / world.states,
        }
        if self.config.autotune:
            entropy = -(policy * log_policy).sum(-1).mean()
            wanted = self.config.target_entropy
            found["log_alpha"] = np.array([entropy - (np.log(world.actions) / 2 if wanted is None else wanted)])
        return found


def settings(world, **changes):
    rate = world.states * world.actions / 2
    chosen = {"optimizer": "sgd", "learning_rate": rate, "gamma": 0.75, "tau": 0.25, "alpha": 0.5, "policy_samples": 2}
    return SACScoreConfig(**{**chosen, "autotune": False, **changes})


def problem(world, config, dtype, *, seed=0, policy=None, actor_scale=0.25):
    rng = np.random.default_rng([seed, 7])
    policy = grid_policy(rng, world.states, world.actions) if policy is None else policy
    one, two = rng.normal(size=(2, 2, world.states, world.actions))
    start = {"critic": one, "target_critic": two, "actor": np.log(policy) / actor_scale}
    if config.autotune:
        start["log_alpha"] = [np.log(config.alpha)]
    algorithm = SACScore(
        config, world.states, world.action_size, discrete=True, dtype=dtype,
        networks=world.networks(world.actions, actor_scale=actor_scale),
    )  # fmt: skip
    return algorithm, ExactSACScore(world, config, start, actor_scale=actor_scale)


def full(world, config, dtype, seed=0, cells=CELLS):
    """A batch with every tuple of noises in every state, and every noise at every next state."""
    tuples = np.array(list(itertools.product(range(cells), repeat=config.policy_samples)))
    rows = world.rows(len(tuples), seed)
    index = tuples[rows[3]]
    middles = (index + 0.5) / cells
    noise = {
        "action": tensor(middles.T.reshape(-1, 1), dtype)[None],
        "next_action": tensor(middles[:, :1], dtype)[None],
    }
    return world.batch(rows, dtype), noise


OPTIONS = {
    "plain": {},
    "autotune": {"autotune": True, "alpha": 0.3},
    "autotune, target entropy": {"autotune": True, "alpha": 0.3, "target_entropy": 0.8},
    "no temperature": {"alpha": 0.0},
    "three samples": {"policy_samples": 3},
    "adam": {"optimizer": "adam", "learning_rate": 0.03, "autotune": True},
}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_update_is_the_exact_one(options, dtype):
    """One update from each of several policies; after it the policy is no longer one that a grid tells exactly."""
    for seed in range(2):
        world = World(seed, discrete=True)
        config = settings(world, **OPTIONS[options])
        algorithm, oracle = problem(world, config, dtype, seed=seed)
        _, moved = assert_follows(algorithm, oracle, *full(world, config, dtype, seed), steps=1, where=f"model {seed}:")
        assert min(moved["critic"], moved["actor"]) > 1e-3


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_many_updates_with_the_policy_held(alpha, dtype):
    world = World(1, discrete=True)
    config = settings(world, alpha=alpha)
    algorithm, oracle = problem(world, config, dtype, actor_scale=2.0**-30)
    assert_follows(algorithm, oracle, *full(world, config, dtype), steps=8)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_with_the_policy_held_the_critics_converge_to_its_soft_value(alpha):
    world = World(3, discrete=True)
    config = settings(world, learning_rate=float(world.states * world.actions), tau=1.0, gamma=0.5, alpha=alpha)
    algorithm, oracle = problem(world, config, torch.float64, actor_scale=2.0**-30)
    batch, noise = full(world, config, torch.float64)
    state = begin(algorithm, oracle.tables)
    for _ in range(60):
        algorithm.update(state, batch, noise)
    policy = np.exp(oracle.log_policy())
    # The linear system of soft policy evaluation, written out; exactrl solves it too.
    entropy = -(policy * np.log(policy)).sum(-1)
    inner = world.transitions[..., :-1]
    kernel = np.einsum("sa,sat->st", policy, inner)
    paid = (policy * world.rewards).sum(-1) + alpha * entropy
    values = np.linalg.solve(np.eye(world.states) - config.gamma * kernel, paid)
    expected = world.backup(values, config.gamma)
    found = state.parameters["critic"].flat.numpy().reshape(2, world.states, world.actions)
    np.testing.assert_allclose(found, [expected, expected], atol=1e-10)
    policy = np.concatenate([policy, np.full((1, world.actions), 1 / world.actions)])
    exact = evaluate(world.mdp(config.gamma, alpha=alpha), policy, alpha=alpha).action_values[:-1]
    np.testing.assert_allclose(expected, exact, atol=1e-11)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_soft_optimal_policy_is_a_fixed_point_for_any_noise(dtype):
    r"""At $\pi\propto e^{Q^*/\alpha}$ every action has the same $Q-\alpha\log\pi$: no sample moves anything."""
    world, alpha = World(6, discrete=True), 0.5
    config = settings(world, alpha=alpha, policy_samples=4)
    q = soft_value_iteration(world.mdp(config.gamma, alpha=alpha), alpha, tolerance=1e-12).action_values[:-1]
    algorithm, oracle = problem(world, config, dtype, policy=np.exp(log_softmax(q / alpha)))
    oracle.tables["critic"] = oracle.tables["target_critic"] = np.stack([q, q])
    state = begin(algorithm, oracle.tables)
    batch = world.batch(world.rows(3), dtype)
    # Single transitions scatter about their mean: the exact backup of each pair is what is regressed on.
    slots = world.rows(3)
    values = alpha * np.logaddexp.reduce(q / alpha, axis=-1)
    following = world.following[slots[0], slots[1], slots[2]]
    arrived = np.where(following < world.states, values[np.minimum(following, world.states - 1)], 0)
    batch["reward"] = tensor(q[slots[0], slots[1]] - config.gamma * arrived, dtype)[None]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        algorithm.update(state, batch, algorithm.draw_noise(generator, slots.shape[1]))
    assert distance(state, oracle.tables) < (1e-10 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_for_any_noise_the_baseline_is_the_mean_of_the_others(samples):
    """The update by loops: each sampled action's score times its estimate less the mean of the other estimates."""
    world = World(8, discrete=True)
    config = settings(world, policy_samples=samples, alpha=0.3)
    algorithm, oracle = problem(world, config, torch.float64)
    rows = world.rows(1)
    count = rows.shape[1]
    batch, noise = world.batch(rows, torch.float64), algorithm.draw_noise(torch.Generator().manual_seed(3), count)
    start = oracle.tables["actor"]
    log_policy = oracle.log_policy()
    policy = np.exp(log_policy)
    drawn = noise["action"].numpy().reshape(samples, count)
    gradient = np.zeros_like(start)
    for b, s in enumerate(rows[0]):
        actions = [int((policy[s].cumsum() <= u).sum()) for u in drawn[:, b]]
        estimates = [oracle.tables["critic"][:, s, a].min() - config.alpha * log_policy[s, a] for a in actions]
        for k, a in enumerate(actions):
            others = np.mean(estimates[:k] + estimates[k + 1 :])
            gradient[s] -= (np.eye(world.actions)[a] - policy[s]) * (estimates[k] - others) / samples / count
    state = begin(algorithm, oracle.tables)
    algorithm.update(state, batch, noise)
    expected = start - config.learning_rate * oracle.actor_scale * gradient
    assert distance(state, {"actor": expected}) < 1e-12


def test_an_action_of_no_probability_is_never_drawn_and_hurts_nobody():
    world = World(2, discrete=True)
    config = settings(world)
    algorithm, oracle = problem(world, config, torch.float64)
    oracle.tables["actor"][:] = [0.0, -4000.0, 0.0]
    oracle.tables["critic"][:, :, 1] = 1e6
    assert_follows(algorithm, oracle, *full(world, config, torch.float64, cells=4), steps=1)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("policy", ["gaussian", "tanh-gaussian"])
def test_continuous_actions_for_any_noise(policy, dtype):
    r"""In a box the score is $\epsilon/\sigma$ in the mean and $\epsilon^2-1$ in the log deviation, squashed or not."""
    world = World(3)
    config = settings(world, policy=policy, policy_samples=3, learning_rate=1.0)
    algorithm = SACScore(config, world.states, 1, dtype=dtype, networks=world.networks(2))
    rng = np.random.default_rng(4)
    critic = rng.normal(size=(2, world.states, 3))
    start = {"actor": rng.uniform(-0.5, 0.5, (world.states, 2)), "critic": critic, "target_critic": critic}
    rows = world.rows(2)
    count = rows.shape[1]
    noise = {
        name: tensor(rng.normal(size=(1, n, 1)), dtype) for name, n in (("action", 3 * count), ("next_action", count))
    }
    s, epsilon = rows[0], noise["action"].double().numpy().reshape(3, count)
    mean, log_deviation = start["actor"][s].T
    origin = mean + np.exp(log_deviation) * epsilon
    action = np.tanh(origin) if policy == "tanh-gaussian" else origin
    log_density = -(epsilon**2) / 2 - log_deviation - np.log(2 * np.pi) / 2
    if policy == "tanh-gaussian":
        log_density = log_density - np.log1p(-(action**2))
    basis = np.stack([(action**2 - action) / 2, 1 - action**2, (action**2 + action) / 2], -1)
    estimates = np.einsum("kba,cba->ckb", basis, critic[:, s]).min(axis=0) - config.alpha * log_density
    advantage = (estimates - estimates.mean(axis=0)) * 3 / 2
    score = np.stack([epsilon / np.exp(log_deviation), epsilon**2 - 1], -1)
    gradient = np.zeros_like(start["actor"])
    for k in range(3):
        np.add.at(gradient, s, -score[k] * advantage[k][:, None] / (3 * count))
    state = begin(algorithm, start)
    algorithm.update(state, world.batch(rows, dtype), noise)
    limit = 1e-10 if dtype == torch.float64 else 1e-5
    assert distance(state, {"actor": start["actor"] - gradient}) < limit
