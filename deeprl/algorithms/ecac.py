r"""Exploratory conservative actor-critic: ECPO, Sec. 4, Eqs. 8-11, and Algorithm 2 of Appendix C.

With the reference policy $\bar\pi$ frozen for M updates, $\eta=\tau+\tau'$ and
$q=\min_iQ_i(s,a)-\tau'\log\bar\pi(a\mid s)$, $a\sim\bar\pi$:

* soft value, Eq. 9 repaired (`ecpo.eq9.consistent`):
  $L_V=\mathbb E\,\tfrac12(V(s)-[\min_iQ_i(s,b)+\tau\log\bar\pi(b\mid s)-\eta\log\pi(b\mid s)])^2$, $b\sim\pi$, least at
  the V of Eq. 8 when the policy is the lift, and at the policy's own objective, which is no higher, until it is;
  as printed (`ecpo.eq9`, refuted): $L_V=\mathbb E\,\tfrac12(V(s)-q)^2$, least at a value that is too low;
  exponential (`ecpo.eq9.amended`): $L_V=\mathbb E\,\eta^2(e^z-z-1)$, $z=(q-V(s))/\eta$, least at the V of Eq. 8
  whatever the policy, for exact Q; of learned ones it takes the errors for values and can diverge (Hopper);
* soft Q-function, Eqs. 10 and 25: $L_Q=\mathbb E\,\tfrac12(Q_i(s,a)-r-\gamma\bar V(s'))^2$ with the target network
$\bar V$;
* policy, Eq. 11 by Lemma 7 with the sign of its proof (`ecpo.lemma7`): $L_\pi=-\mathbb
E\,e^{(q-V(s))/\eta}\log\pi(a\mid s)$.

All gradients are taken at the same parameters, then one optimiser step moves them all (Algorithm 2, lines 11-12).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from deeprl.algorithms.base import Algorithm, Batch, Metrics, Noise, State, per_seed
from deeprl.networks import Network
from exactrl.formulas import (
    bellman_target,
    exponential_regression,
    projection_weight,
    sampled_soft_value,
    score_function_loss,
    shaped_returns,
    squared_error,
)


class ECAC(Algorithm):
    """Twin soft Q-functions, a soft value with its target, a policy projected onto its lift."""

    discrete_actions = True
    targets: ClassVar[dict[str, str]] = {"target_value": "value", "reference": "actor"}

    def _networks(self) -> dict[str, Network]:
        hidden = self.config.hidden_sizes
        return super()._networks() | {"value": Network((self.observation_size, *hidden, 1))}

    @property
    def value_regression(self) -> str:
        """What the soft value is learned by; --as-printed overrides the option."""
        return "printed" if self.config.as_printed else str(self.config.value_regression)

    def noise(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        shape = (batch_size, self.policy.noise_width)
        return {"action": shape, "own_action": shape} if self.value_regression == "consistent" else {"action": shape}

    def metric_names(self) -> tuple[str, ...]:
        return ("q_loss", "q", "value_loss", "policy_loss", "value", "weight", "entropy")

    def trained(self, updates: int) -> tuple[str, ...]:
        return ("critic", "actor", "value")

    def before_update(self, state: State) -> None:
        """Set the reference policy to the policy (Algorithm 2, line 8): every M updates, without projection at each."""
        if not self.config.projection or state.updates % self.config.gradient_steps == 0:
            state.parameters["reference"].flat.copy_(state.parameters["actor"].flat)

    def follow(self, state: State, trained: tuple[str, ...]) -> None:
        state.parameters["target_value"].flat.lerp_(state.parameters["value"].flat, self.config.tau)

    def losses(self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]) -> tuple[Tensor, Metrics]:
        observations = batch["observation"]
        temperature = self.config.kl_temperature + self.config.entropy_temperature
        with torch.no_grad():
            reference = self.networks["actor"](state.parameters["reference"].constants, observations)
            sample = self.policy.sample(reference, noise["action"])
            least = self.action_values(state, "critic", observations, sample.action).amin(dim=1)
            shaped = sampled_soft_value(least, sample.log_density, self.config.entropy_temperature)
        values = self.networks["value"](state.parameters["value"].leaves, observations)[..., 0]
        output = self.networks["actor"](state.parameters["actor"].leaves, observations)
        if self.value_regression == "exponential":
            value_loss = per_seed(exponential_regression(values, shaped, temperature, self.config.max_log_weight))
        elif self.value_regression == "printed":
            value_loss = per_seed(squared_error(values, shaped))
        else:
            target = self.consistent_value(state, observations, output.detach(), reference, noise["own_action"])
            value_loss = per_seed(squared_error(values, target))
        critic_loss, mean = self.critic_loss(state, batch)
        weights = projection_weight((shaped - values.detach()) / temperature, self.config.max_log_weight)
        log_density = self.policy.log_density(output, sample.origin)
        actor_loss = per_seed(score_function_loss(log_density, weights))
        metrics = {"q_loss": critic_loss, "q": mean, "value_loss": value_loss, "policy_loss": actor_loss}
        metrics |= {"value": values.detach().mean(dim=-1), "weight": weights.mean(dim=-1)}
        metrics["entropy"] = -sample.log_density.mean(dim=-1)
        return (value_loss + critic_loss + actor_loss).sum(), metrics

    def consistent_value(
        self, state: State, observations: Tensor, output: Tensor, reference: Tensor, noise: Tensor
    ) -> Tensor:
        r"""$Q+\tau\log\bar\pi-(\tau+\tau')\log\pi$ at one action of the policy, (S, B); ECPO, Sec. 4, before Eq. 8."""
        tau, tau_prime = self.config.kl_temperature, self.config.entropy_temperature
        with torch.no_grad():
            own = self.policy.sample(output, noise)
            least = self.action_values(state, "critic", observations, own.action).amin(dim=1)
            shaped = shaped_returns(self.policy.log_density(reference, own.origin), least, tau)
            return sampled_soft_value(shaped, own.log_density, tau + tau_prime)

    def critic_loss(self, state: State, batch: Batch) -> tuple[Tensor, Tensor]:
        """Regress both soft Q-functions on the target value of the next state (Eq. 25)."""
        with torch.no_grad():
            network = self.networks["value"]
            next_values = network(state.parameters["target_value"].constants, batch["next_observation"])[..., 0]
            target = bellman_target(batch["reward"], 1 - batch["terminated"], next_values, self.config.gamma)
        prediction = self.action_values(state, "critic", batch["observation"], batch["action"], learn=True)
        return per_seed(squared_error(prediction, target[:, None])), prediction.detach().mean(dim=(1, 2))
