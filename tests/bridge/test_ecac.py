"""ECAC's update against Eqs. 8 to 11 of ECPO on tables: exact gradients, fixed points, whole iterations."""

import numpy as np
import pytest
import torch

from deeprl import ECACConfig
from deeprl.algorithms import ECAC
from exactrl.evaluation import evaluate
from exactrl.formulas import log_lift, surrogate
from exactrl.mirror_descent import ecpo
from exactrl.policy_classes import Simplex
from exactrl.soft_iteration import soft_value_iteration
from tests.bridge.finite import (
    LOG_TWO_PI,
    PRECISIONS,
    Oracle,
    World,
    assert_follows,
    begin,
    distance,
    quadratic_basis,
    tensor,
)
from tests.bridge.test_sac_score import CELLS, grid_policy, log_softmax


class ExactECAC(Oracle):
    """Every mean over actions is a sum over the reference policy."""

    @property
    def temperature(self):
        return self.config.kl_temperature + self.config.entropy_temperature

    def prepare(self):
        if not self.config.projection or self.updates % self.config.gradient_steps == 0:
            self.tables["reference"] = self.tables["actor"]

    def follow(self):
        self.towards("target_value", "value")

    def critic_gradient(self):
        target = self.world.backup(self.value_scale * self.tables["target_value"], self.config.gamma)
        return (self.tables["critic"] - target) / (self.world.states * self.world.actions)

    def weight(self, shaped, values):
        """An action's weight, for shaped action values q and values V."""
        return np.exp(np.minimum((shaped - values) / self.temperature, self.config.max_log_weight))

    def gradients(self, own):
        """own: the noises of the policy's own actions, which are on no grid; (J,), the same in every state."""
        tables, states, config = self.tables, self.world.states, self.config
        log_reference = log_softmax(self.actor_scale * tables["reference"])
        log_policy = log_softmax(self.actor_scale * tables["actor"])
        reference, policy = np.exp(log_reference), np.exp(log_policy)
        least, values = tables["critic"].min(axis=0), self.value_scale * tables["value"][:, None]
        shaped = least - config.entropy_temperature * log_reference
        weight = self.weight(shaped, values)
        mass = reference * weight
        if config.as_printed:
            pull = values - (reference * shaped).sum(-1, keepdims=True)
        elif config.value_regression == "exponential":
            pull = self.temperature * (1 - mass.sum(-1, keepdims=True))
        else:
            targets = least + config.kl_temperature * log_reference - self.temperature * log_policy
            pull = values - (self.drawn(policy, own) * targets).sum(-1, keepdims=True)
        return {
            "critic": self.critic_gradient(),
            "actor": self.actor_scale * (policy * mass.sum(-1, keepdims=True) - mass) / states,
            "value": self.value_scale * pull[:, 0] / states,
        }

    @staticmethod
    def drawn(policy, noises):
        """How often each action is drawn with the given noises, by the distribution function: rows that add up to 1."""
        edges = np.cumsum(policy, axis=-1)[:, :-1, None]
        chosen = (edges <= noises).sum(axis=1)
        return np.stack([(chosen == action).mean(axis=-1) for action in range(policy.shape[-1])], axis=-1)


def settings(world, **changes):
    chosen = {
        "optimizer": "sgd", "learning_rate": world.states * world.actions / 2, "gamma": 0.75, "tau": 0.25,
        "kl_temperature": 0.8, "entropy_temperature": 0.4, "gradient_steps": 100,
    }  # fmt: skip
    return ECACConfig(**{**chosen, **changes}).resolved()


def problem(world, config, dtype, *, seed=0, actor_scale=0.5, value_scale=0.5, policy=None):
    rng = np.random.default_rng([seed, 5])
    one = rng.normal(size=(2, world.states, world.actions))
    policy = grid_policy(rng, world.states, world.actions) if policy is None else policy
    value, target = rng.normal(size=(2, world.states)) / value_scale
    logits = np.log(policy) / actor_scale
    start = {"critic": one, "actor": logits, "reference": logits, "value": value, "target_value": target}
    algorithm = ECAC(
        config, world.states, world.action_size, discrete=True, dtype=dtype,
        networks=world.networks(world.actions, actor_scale=actor_scale, value_scale=value_scale),
    )  # fmt: skip
    return algorithm, ExactECAC(world, config, start, actor_scale=actor_scale, value_scale=value_scale)


OWN = (np.arange(CELLS) + 0.5) / CELLS


def full(world, dtype, seed=0):
    """A batch with every noise of the grid in every state, for the reference's actions and for the policy's own."""
    rows = world.rows(CELLS, seed)
    noise = tensor(OWN[rows[3]], dtype)[None, :, None]
    return world.batch(rows, dtype), {"action": noise, "own_action": noise}


EXPONENTIAL = {"value_regression": "exponential"}
OPTIONS = {
    "repaired": {},
    "as printed": {"as_printed": True},
    "exponential": EXPONENTIAL,
    "exponential, weights cut": {"max_log_weight": 0.2, **EXPONENTIAL},
    "exponential, adam": {"optimizer": "adam", "learning_rate": 0.03, **EXPONENTIAL},
    "exponential, as printed after all": {"as_printed": True, **EXPONENTIAL},
    "no entropy": {"entropy": False},
    "no entropy, as printed": {"entropy": False, "as_printed": True},
    "entropy alone": {"kl_temperature": 0.0},
    "weights cut": {"max_log_weight": 0.2},
    "weights not cut": {"max_log_weight": 50.0},
    "targets at once": {"tau": 1.0},
    "targets never": {"tau": 0.0},
    "gamma 0": {"gamma": 0.0},
    "gamma 1": {"gamma": 1.0},
    "adam": {"optimizer": "adam", "learning_rate": 0.03},
    "adam, as printed": {"optimizer": "adam", "learning_rate": 0.03, "as_printed": True},
}


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_update_is_the_exact_one(options, dtype):
    """The reference stays, so that its noises stay exact while the policy goes where it will."""
    for seed in range(2):
        world = World(seed, discrete=True)
        config = settings(world, **OPTIONS[options])
        algorithm, oracle = problem(world, config, dtype, seed=seed)
        _, moved = assert_follows(
            algorithm, oracle, *full(world, dtype, seed), steps=8, where=f"{options}, model {seed}:", own=OWN
        )
        assert min(moved["critic"], moved["actor"], moved["value"]) > 0.02
        assert moved["reference"] == 0
        assert (moved["target_value"] > 0) == (config.tau > 0)


@pytest.mark.parametrize("projection", [True, False])
def test_the_reference_is_taken_when_the_algorithm_says(projection):
    """At the first of every M updates, without projection at every one; then the policy must be on the grid again."""
    world, rng = World(3, discrete=True), np.random.default_rng(0)
    config = settings(world, projection=projection, gradient_steps=3)
    algorithm, oracle = problem(world, config, torch.float64)
    batch, noise = full(world, torch.float64)
    state = begin(algorithm, oracle.tables)
    for update in range(9):
        if update % 3 == 0 or not projection:
            logits = np.log(grid_policy(rng, world.states, world.actions)) / oracle.actor_scale
            oracle.tables["actor"] = logits
            state.parameters["actor"].flat.copy_(torch.tensor(logits.reshape(-1)))
        algorithm.update(state, batch, noise)
        oracle.update(own=OWN)
        assert distance(state, oracle.tables) < 1e-10


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("regression", ["consistent", "exponential"])
def test_the_policys_gradient_is_that_of_the_divergence_from_the_lift(regression, seed):
    """With the exact soft value: Eq. 11 differentiated, the policy less `log_lift`; the exponential loss rests."""
    world = World(seed, discrete=True)
    config = settings(world, value_regression=regression)
    algorithm, oracle = problem(world, config, torch.float64, seed=seed)
    tau, tau_prime = config.kl_temperature, config.entropy_temperature
    log_reference = log_softmax(oracle.actor_scale * oracle.tables["reference"])
    least = oracle.tables["critic"].min(axis=0)
    value = surrogate(log_reference, least, tau, tau_prime)
    oracle.tables["value"] = value / oracle.value_scale
    batch, noise = full(world, torch.float64)
    state = begin(algorithm, oracle.tables)
    algorithm.update(state, batch, noise)
    slope = np.exp(log_reference) - np.exp(log_lift(log_reference, least, tau, tau_prime))
    moved = config.learning_rate * oracle.actor_scale * slope / world.states
    assert distance(state, {"actor": oracle.tables["actor"] - moved}) < 1e-12
    assert (distance(state, {"value": oracle.tables["value"]}) < 1e-12) == (regression == "exponential")


def run_to_rest(world, config, updates=400):
    algorithm, oracle = problem(world, config, torch.float64, actor_scale=1.0)
    batch, noise = full(world, torch.float64)
    state = begin(algorithm, oracle.tables)
    reference = np.exp(log_softmax(oracle.actor_scale * oracle.tables["reference"]))
    for _ in range(updates):
        algorithm.update(state, batch, noise)
    tables = {name: one.flat.numpy() for name, one in state.parameters.items()}
    q = tables["critic"].reshape(2, world.states, world.actions)
    np.testing.assert_allclose(q[0], q[1], atol=1e-10)
    logits = oracle.actor_scale * tables["actor"].reshape(world.states, world.actions)
    return reference, oracle.value_scale * tables["value"], q[0], np.exp(log_softmax(logits))


@pytest.mark.parametrize("regression", ["consistent", "exponential"])
def test_the_repaired_update_rests_at_the_soft_optimal_value_of_eq_8(regression):
    r"""For a fixed reference: soft value iteration on the reward $r+\tau\log\bar\pi$ at temperature $\tau+\tau'$.

    The policy's own actions are drawn with twelve noises, a poor grid; at the lift every action has the same target.
    """
    world = World(10, discrete=True)
    repaired = {"learning_rate": 9.0, "gamma": 0.5, "tau": 1.0, "gradient_steps": 10**9}
    config = settings(world, value_regression=regression, **repaired)
    tau, tau_prime = config.kl_temperature, config.entropy_temperature
    eta = tau + tau_prime
    reference, value, q, policy = run_to_rest(world, config)
    log_reference = np.log(reference)
    mdp = world.mdp(config.gamma, rewards=world.rewards + tau * log_reference, alpha=eta)
    exact = soft_value_iteration(mdp, eta, tolerance=1e-12)
    np.testing.assert_allclose(value, exact.values[:-1], atol=1e-10)
    np.testing.assert_allclose(q + tau * log_reference, exact.action_values[:-1], atol=1e-10)
    np.testing.assert_allclose(policy, np.exp(log_lift(log_reference, q, tau, tau_prime)), atol=1e-10)


def test_as_printed_it_rests_at_the_references_own_soft_value_which_is_too_low():
    r"""The mean of $Q-\tau'\log\bar\pi$ evaluates the reference at temperature $\tau'$ (claim `ecpo.eq9`)."""
    world = World(10, discrete=True)
    config = settings(world, learning_rate=9.0, gamma=0.5, tau=1.0, gradient_steps=10**9, as_printed=True)
    tau, tau_prime = config.kl_temperature, config.entropy_temperature
    reference, value, q, policy = run_to_rest(world, config)
    ended = np.full((1, world.actions), 1 / world.actions)
    mdp = world.mdp(config.gamma, alpha=tau_prime)
    exact = evaluate(mdp, np.concatenate([reference, ended]), alpha=tau_prime)
    np.testing.assert_allclose(value, exact.values[:-1], atol=1e-10)
    np.testing.assert_allclose(q, exact.action_values[:-1], atol=1e-10)
    log_reference = np.log(reference)
    assert (value < surrogate(log_reference, q, tau, tau_prime) - 1e-3).all()
    # The weights no longer have mean 1, but the policy still rests at the lift of its own (too low) Q.
    np.testing.assert_allclose(policy, np.exp(log_lift(log_reference, q, tau, tau_prime)), atol=1e-10)


@pytest.mark.parametrize("regression", ["consistent", "exponential"])
def test_on_a_problem_of_one_step_it_is_ecpo(regression):
    """Whole iterations of M updates each; rewards are chosen so that every lift is a policy on the grid."""
    policies = np.array([[2, 2, 1], [1, 3, 1], [1, 1, 3], [2, 1, 2]]) / CELLS
    world = World(0, discrete=True, states=1)
    world.following[:] = world.states
    config = settings(world, learning_rate=3.0, gradient_steps=200, tau=1.0, value_regression=regression)
    tau, tau_prime = config.kl_temperature, config.entropy_temperature
    returns = (tau + tau_prime) * np.log(policies[1:]) - tau * np.log(policies[:-1]) + 0.3
    exact = ecpo(
        np.log(policies[0]),
        returns,
        tau=tau,
        tau_prime=tau_prime,
        policy_class=Simplex(world.actions),
        steps=len(returns),
    )
    algorithm, oracle = problem(world, config, torch.float64, actor_scale=1.0, policy=policies[:1])
    oracle.tables["value"] = np.zeros(1)
    state = begin(algorithm, oracle.tables)
    for step, reward in enumerate(returns):
        world.earned[0, :, -1] = reward
        batch, noise = full(world, torch.float64)
        for _ in range(config.gradient_steps):
            algorithm.update(state, batch, noise)
        policy = log_softmax(state.parameters["actor"].flat.numpy())
        np.testing.assert_allclose(np.exp(policy), exact.policies[step + 1], atol=1e-10)
        value = oracle.value_scale * state.parameters["value"].flat.numpy()
        expected = surrogate(exact.log_policies[step], reward, tau, tau_prime)
        np.testing.assert_allclose(value, [expected], atol=1e-10)


# ---------------------------------------------------------------------------------------------------- actions of a box


class SampledECAC(ExactECAC):
    """The update for given rows and noises of a Gaussian reference, squashed or not, by the chain rule."""

    def log_density(self, name, s, origin):
        """Log density of tanh of the origin, or of the origin itself, under the policy of that name."""
        mean, log_deviation = (self.actor_scale * self.tables[name][s]).T
        plain = -(((origin - mean) / np.exp(log_deviation)) ** 2) / 2 - log_deviation - LOG_TWO_PI / 2
        return plain - np.log1p(-(np.tanh(origin) ** 2)) if self.squashed else plain

    @property
    def squashed(self):
        return self.config.policy == "tanh-gaussian"

    def draw(self, name, s, drawn):
        """The origins of what a policy draws, and the smaller critic there."""
        mean, log_deviation = (self.actor_scale * self.tables[name][s]).T
        origin = mean + np.exp(log_deviation) * drawn
        basis = np.stack(quadratic_basis(np.tanh(origin) if self.squashed else origin), -1)
        return origin, np.einsum("cba,ba->cb", self.tables["critic"][:, s], basis).min(axis=0)

    def gradients(self, rows, drawn, own):
        tables, config, s = self.tables, self.config, rows[0]
        origin, least = self.draw("reference", s, drawn)
        shaped = least - config.entropy_temperature * self.log_density("reference", s, origin)
        values = self.value_scale * tables["value"][s]
        weight = self.weight(shaped, values)
        if config.as_printed:
            pull = values - shaped
        elif config.value_regression == "exponential":
            pull = self.temperature * (1 - weight)
        else:
            at, target = self.draw("actor", s, own)
            target = target + config.kl_temperature * self.log_density("reference", s, at)
            pull = values - target + self.temperature * self.log_density("actor", s, at)
        mean, log_deviation = (self.actor_scale * tables["actor"][s]).T
        score = (origin - mean) / np.exp(log_deviation)
        slope = -weight[:, None] * np.stack([score / np.exp(log_deviation), score**2 - 1], -1)
        actor, value = np.zeros_like(tables["actor"]), np.zeros_like(tables["value"])
        np.add.at(actor, s, self.actor_scale * slope / len(s))
        np.add.at(value, s, self.value_scale * pull / len(s))
        return {"critic": self.critic_gradient(), "actor": actor, "value": value}


def box_problem(world, config, dtype, seed):
    rng = np.random.default_rng([seed, 6])
    logits = np.stack([rng.uniform(-0.5, 0.5, world.states), rng.uniform(-0.7, -0.3, world.states)], -1)
    start = {"critic": rng.normal(size=(2, world.states, 3)), "actor": logits, "reference": logits}
    start |= {"value": rng.normal(size=world.states), "target_value": rng.normal(size=world.states)}
    # Not scaled up by the rate of a table: a policy far from its reference has scores without bound.
    scales = {"actor_scale": 2.0**-4, "value_scale": 0.5}
    start |= {name: start[name] / scales["actor_scale"] for name in ("actor", "reference")}
    algorithm = ECAC(config, world.states, 1, dtype=dtype, networks=world.networks(2, **scales))
    return algorithm, start, scales


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("policy", ["gaussian", "tanh-gaussian"])
@pytest.mark.parametrize(
    "options",
    ["repaired", "as printed", "no entropy", "weights cut", "adam", "exponential", "exponential, weights cut"],
)
def test_in_a_box_for_any_noise_the_update_is_the_derivative_by_hand(options, policy, dtype):
    for seed in range(2):
        world = World(seed)
        config = settings(world, **{**OPTIONS[options], "policy": policy, "gradient_steps": 3})
        algorithm, start, scales = box_problem(world, config, dtype, seed)
        oracle = SampledECAC(world, config, start, **scales)
        rows = world.rows(4, seed)
        drawn, own = (tensor(x, dtype) for x in np.random.default_rng(seed).normal(size=(2, rows.shape[1])))
        noise = {"action": drawn[None, :, None], "own_action": own[None, :, None]}
        exact = {"rows": rows, "drawn": drawn.double().numpy(), "own": own.double().numpy()}
        assert_follows(algorithm, oracle, world.batch(rows, dtype), noise, steps=7, where=f"model {seed}:", **exact)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("options", ["repaired", "as printed"])
def test_a_gaussian_has_its_exact_mean(options, dtype):
    r"""Two noises suffice where the target is a quadratic in the action; of an exponential there is no such sum.

    As printed the target's mean is $\mathbb E_{\bar\pi}Q+\tau'\mathcal H(\bar\pi)$, repaired it is
    $\mathbb E_\pi Q-\tau D_{KL}(\pi\Vert\bar\pi)+\tau'\mathcal H(\pi)$, each by its closed form.
    """
    world = World(1)
    config = settings(world, policy="gaussian", gradient_steps=10**9, **OPTIONS[options])
    algorithm, start, scales = box_problem(world, config, dtype, 1)
    start["critic"][1] = start["critic"][0]
    start["actor"] = start["reference"] + np.random.default_rng(7).normal(size=start["actor"].shape)
    rows = world.rows(2)
    state = begin(algorithm, start)
    state.updates = 1  # so that the reference stays what it is
    values = scales["value_scale"] * start["value"]
    signs = tensor(2 * rows[3] - 1, dtype)[None, :, None]
    algorithm.update(state, world.batch(rows, dtype), {"action": signs, "own_action": signs})
    name = "reference" if config.as_printed else "actor"
    mean, log_deviation = (scales["actor_scale"] * start[name]).T
    centre, log_width = (scales["actor_scale"] * start["reference"]).T
    variance, width = np.exp(2 * log_deviation), np.exp(2 * log_width)
    low, middle, high = quadratic_basis(mean)
    weights = np.stack([low + variance / 2, middle - variance, high + variance / 2], -1)
    entropy = 0.5 + log_deviation + LOG_TWO_PI / 2
    divergence = log_width - log_deviation + (variance + (mean - centre) ** 2) / (2 * width) - 0.5
    target = (weights * start["critic"][0]).sum(-1) + config.entropy_temperature * entropy
    target -= config.kl_temperature * divergence
    assert config.as_printed == (np.abs(divergence).max() < 1e-12)
    expected = start["value"] - config.learning_rate * scales["value_scale"] * (values - target) / world.states
    assert distance(state, {"value": expected}) < (1e-10 if dtype == torch.float64 else 1e-5)
