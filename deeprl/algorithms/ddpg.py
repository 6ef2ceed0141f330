r"""Deep deterministic policy gradient.

$L_Q=\mathbb E\,\tfrac12(Q(s,a)-r-\gamma\bar Q(s',\bar\mu(s')))^2$, $L_\mu=-\mathbb E\,Q(s,\mu(s))$.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from deeprl.algorithms.base import Algorithm, Batch, Metrics, Noise, State, per_seed
from deeprl.distributions import Deterministic
from deeprl.networks import Network
from exactrl.formulas import bellman_target, squared_error


class DDPG(Algorithm):
    """One critic, a deterministic policy, targets of both, Gaussian exploration."""

    targets: ClassVar[dict[str, str]] = {"target_critic": "critic", "target_actor": "actor"}
    critics = 1

    def _policy(self) -> Deterministic:
        return Deterministic(self.actions)

    def _networks(self) -> dict[str, Network]:
        hidden = self.config.hidden_sizes
        return {
            "actor": Network((self.observation_size, *hidden, self.actions)),
            "critic": Network((self.observation_size + self.actions, *hidden, 1), copies=self.critics),
        }

    def noise(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        return {}

    def metric_names(self) -> tuple[str, ...]:
        return ("q_loss", "q", "policy_loss")

    def action(self, state: State, name: str, observations: Tensor, *, learn: bool = False) -> Tensor:
        """The deterministic action of the policy or of its target."""
        parameters = state.parameters[name]
        return self.policy.mode(
            self.networks["actor"](parameters.leaves if learn else parameters.constants, observations)
        )

    def target_action(self, state: State, observations: Tensor, noise: Noise) -> Tensor:
        return self.action(state, "target_actor", observations)

    def losses(self, state: State, batch: Batch, noise: Noise, trained: tuple[str, ...]) -> tuple[Tensor, Metrics]:
        with torch.no_grad():
            following = batch["next_observation"]
            action = self.target_action(state, following, noise)
            next_values = self.action_values(state, "target_critic", following, action).amin(dim=1)
            target = bellman_target(batch["reward"], 1 - batch["terminated"], next_values, self.config.gamma)
        observations = batch["observation"]
        prediction = self.action_values(state, "critic", observations, batch["action"], learn=True)
        critic = per_seed(squared_error(prediction, target[:, None]))
        metrics = {"q_loss": critic, "q": prediction.detach().mean(dim=(1, 2))}
        if "actor" not in trained:
            return critic.sum(), metrics
        chosen = self.action(state, "actor", observations, learn=True)
        actor = per_seed(-self.policy_values(state, observations, chosen))
        return (critic + actor).sum(), metrics | {"policy_loss": actor}

    def policy_values(self, state: State, observations: Tensor, actions: Tensor) -> Tensor:
        """What the policy climbs, (S, B): the first critic."""
        network, critic = self.networks["critic"], state.parameters["critic"].constants
        if self.critics == 1:
            return network.by_seed(network(critic, observations, actions))[:, 0]
        first = [view.unflatten(0, (state.seeds, self.critics))[:, 0] for view in critic]
        single = Network(network.sizes, bias=network.bias, features=network.features)
        return single(first, observations, actions)[..., 0]

    def explore(self, state: State, observations: Tensor, noise: Tensor) -> Tensor:
        action = self.action(state, "actor", observations)
        return (action + self.config.exploration_noise * noise).clamp(-1, 1)
