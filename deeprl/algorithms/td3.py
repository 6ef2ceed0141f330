r"""Twin delayed DDPG: the smaller of two critics, smoothed target actions, delayed steps of the policy.

$y=r+\gamma\min_i\bar Q_i(s',\operatorname{clip}(\bar\mu(s')+\operatorname{clip}(\sigma\epsilon,\pm c),\pm1))$; the
policy climbs the first critic.
"""

from __future__ import annotations

from torch import Tensor

from deeprl.algorithms.base import Noise, State
from deeprl.algorithms.ddpg import DDPG


class TD3(DDPG):
    """Every `policy_frequency` updates of the critics one of the policy and of all the targets."""

    critics = 2

    def noise(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        return {"next_action": (batch_size, self.actions)}

    def trained(self, updates: int) -> tuple[str, ...]:
        return ("critic", "actor") if (updates + 1) % self.config.policy_frequency == 0 else ("critic",)

    def target_action(self, state: State, observations: Tensor, noise: Noise) -> Tensor:
        limit = self.config.noise_clip
        smoothing = (self.config.policy_noise * noise["next_action"]).clamp(-limit, limit)
        return (self.action(state, "target_actor", observations) + smoothing).clamp(-1, 1)

    def follow(self, state: State, trained: tuple[str, ...]) -> None:
        if "actor" in trained:
            super().follow(state, trained)
