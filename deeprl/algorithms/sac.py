r"""Soft actor-critic: soft policy evaluation by regression, a step towards $\exp(Q/\alpha)$ through the sampled action.

$L_Q=\mathbb E\,\tfrac12\bigl(Q(s,a)-r-\gamma(\min_i\bar Q_i(s',a')-\alpha\log\pi(a'\mid s'))\bigr)^2$,
$L_\pi=\mathbb E\,[\alpha\log\pi(a\mid s)-\min_iQ_i(s,a)]$ with $a=f_\theta(s,\epsilon)$,
$L_\alpha=-\log\alpha\,\mathbb E[\log\pi(a\mid s)+\bar{\mathcal H}]$.

All gradients are taken at the same parameters, then one optimiser step moves them all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deeprl.algorithms.base import Algorithm, Batch, Metrics, Noise, State, per_seed
from exactrl.formulas import bellman_target, sampled_soft_value, score_function_loss, squared_error, temperature_loss


class SAC(Algorithm):
    """Twin critics, a squashed Gaussian policy, the temperature adapted to a target entropy."""

    @property
    def target_entropy(self) -> float:
        if self.config.target_entropy is not None:
            return float(self.config.target_entropy)
        return math.log(self.actions) / 2 if self.discrete else -float(self.actions)

    def scalars(self) -> dict[str, float]:
        return {"log_alpha": math.log(self.config.alpha)} if self.config.autotune else {}

    def noise(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        shape = (batch_size, self.policy.noise_width)
        return {"action": shape, "next_action": shape}

    def trained(self, updates: int) -> tuple[str, ...]:
        return ("critic", "actor", *self.scalars())

    def metric_names(self) -> tuple[str, ...]:
        return ("q_loss", "q", "policy_loss", "entropy", *(["alpha"] if self.config.autotune else []))

    def alpha(self, state: State) -> Tensor | float:
        """The temperature, (S, 1) or a number; no gradient passes."""
        if not self.config.autotune:
            return float(self.config.alpha)
        return state.parameters["log_alpha"].constants[0].exp()[:, None]

    def losses(self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]) -> tuple[Tensor, Metrics]:
        alpha = self.alpha(state)
        critic, values = self.critic_loss(state, batch, noise["next_action"], alpha)
        actor, log_density = self.actor_loss(state, batch["observation"], noise["action"], alpha)
        loss = critic + actor
        metrics = {"q_loss": critic, "q": values, "policy_loss": actor, "entropy": -log_density.mean(dim=-1)}
        if self.config.autotune:
            log_alpha = state.parameters["log_alpha"].leaves[0][:, None]
            loss = loss + per_seed(temperature_loss(log_alpha, log_density.detach(), self.target_entropy))
            metrics["alpha"] = alpha[:, 0]
        return loss.sum(), metrics

    def critic_loss(self, state: State, batch: Batch, noise: Tensor, alpha: Tensor | float) -> tuple[Tensor, Tensor]:
        """Regress both critics on the soft value of the next state, estimated by one action of the policy."""
        with torch.no_grad():
            following = batch["next_observation"]
            sample = self.policy.sample(self.networks["actor"](state.parameters["actor"].constants, following), noise)
            values = self.action_values(state, "target_critic", following, sample.action).amin(dim=1)
            next_values = sampled_soft_value(values, sample.log_density, alpha)
            target = bellman_target(batch["reward"], 1 - batch["terminated"], next_values, self.config.gamma)
        prediction = self.action_values(state, "critic", batch["observation"], batch["action"], learn=True)
        return per_seed(squared_error(prediction, target[:, None])), prediction.detach().mean(dim=(1, 2))

    def actor_loss(
        self, state: State, observations: Tensor, noise: Tensor, alpha: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        """The policy's objective through the sampled action; also the log densities (S, B)."""
        sample = self.policy.sample(self.networks["actor"](state.parameters["actor"].leaves, observations), noise)
        values = self.action_values(state, "critic", observations, sample.action).amin(dim=1)
        return per_seed(-sampled_soft_value(values, sample.log_density, alpha)), sample.log_density


class SACScore(SAC):
    r"""The same objective by the score function, $-\log\pi(a_k\mid s)\,(\hat V_k-b_k)$ with $\hat V=Q-\alpha\log\pi$.

    Of K independent actions each one's baseline is the mean of the others, so the gradient stays unbiased.
    """

    discrete_actions = True

    def noise(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        width = self.policy.noise_width
        return {"action": (self.config.policy_samples * batch_size, width), "next_action": (batch_size, width)}

    def actor_loss(
        self, state: State, observations: Tensor, noise: Tensor, alpha: Tensor | float
    ) -> tuple[Tensor, Tensor]:
        count = self.config.policy_samples
        output = self.networks["actor"](state.parameters["actor"].leaves, observations)
        # The K actions of a state stand B apart, so that the observations need no copy of a copy.
        repeated = output.repeat(1, count, 1)
        with torch.no_grad():
            sample = self.policy.sample(repeated, noise)
            values = self.action_values(state, "critic", observations.repeat(1, count, 1), sample.action).amin(dim=1)
            estimates = sampled_soft_value(values, sample.log_density, alpha)
            advantages = leave_one_out(estimates.unflatten(-1, (count, -1)), dim=-2).flatten(-2)
        log_density = self.policy.log_density(repeated, sample.origin)
        return per_seed(score_function_loss(log_density, advantages)), sample.log_density


def leave_one_out(estimates: Tensor, dim: int) -> Tensor:
    """Each estimate less the mean of the others along `dim`."""
    count = estimates.shape[dim]
    return (estimates - estimates.mean(dim=dim, keepdim=True)) * (count / (count - 1))
