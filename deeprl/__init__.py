"""Networks on MuJoCo, trained through the update rules of `exactrl.formulas`.

import deeprl
agent = deeprl.train(deeprl.SACConfig(env_id="Pendulum-v1", total_timesteps=20_000), out="runs/pendulum")
agent = deeprl.load("runs/pendulum")
action = agent.act(observation)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeprl.config import DDPGConfig, ECACConfig, SACConfig, SACScoreConfig, TD3Config

if TYPE_CHECKING:
    from deeprl.agent import Agent, load, train

__all__ = ["Agent", "DDPGConfig", "ECACConfig", "SACConfig", "SACScoreConfig", "TD3Config", "load", "train"]


def __getattr__(name: str) -> Any:
    # torch is imported with the first of these, not with the package: `exactrl train --help` needs none of it.
    if name in ("Agent", "load", "train"):
        from deeprl import agent

        return getattr(agent, name)
    raise AttributeError(f"module 'deeprl' has no attribute {name!r}")
