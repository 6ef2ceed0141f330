"""One seed of a run: its generator, its environments, its replay, its tables.  The networks are with the trainer."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprl.algorithms.base import Algorithm
from deeprl.config import Config
from deeprl.environments import Environments
from deeprl.evaluation import Episode
from deeprl.records import EVALUATION_COLUMNS, Table, require_length
from deeprl.replay import Replay

LEADING_COLUMNS = ("global_step", "episodes", "episode_return", "episode_length", "evaluation_return", "updates")


class Member:
    """Everything of one seed but its networks.  folder: where its tables and its replay stand; None keeps nothing."""

    def __init__(self, config: Config, seed: int, folder: Path | None) -> None:
        self.config, self.seed, self.folder = config, seed, folder
        self.environments = Environments(config.env_id, num_envs=config.num_envs, seed=seed)
        spaces = self.environments.spaces
        # Networks, random actions, batches and noise come from this one; the environments have their own.
        self.generator = torch.Generator().manual_seed(seed)
        self.observations: NDArray[np.float32] = np.zeros((config.num_envs, spaces.observation_size), np.float32)
        self.finished: list[tuple[float, int]] = []
        self.latest_return: float | None = None
        self.episodes = 0
        self.evaluation: float | None = None
        self.tables: dict[str, Table] = {}
        self.replay = self._make_replay() if folder is None else None

    def _make_replay(self) -> Replay:
        """The replay, in a file where the run can be resumed; makes the folder."""
        config, spaces = self.config, self.environments.spaces
        size = spaces.observation_size
        fields = {
            "observation": size,
            "action": spaces.actions,
            "next_observation": size,
            "reward": 1,
            "terminated": 1,
        }
        # More rows than steps are never needed; rounding up to whole steps of all environments.
        capacity = min(config.buffer_size, config.total_timesteps + config.num_envs)
        kept = self.folder is not None and config.checkpoint_interval > 0
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        return Replay(
            fields,
            capacity,
            path=self.folder / "replay.float32" if kept and self.folder else None,
            slack=config.checkpoint_interval + config.num_envs if kept else 0,
        )

    def _open_tables(self, algorithm: Algorithm, lengths: dict[str, int]) -> None:
        if self.folder is None:
            return
        columns = {"metrics": [*LEADING_COLUMNS, *algorithm.metric_names()], "evaluations": list(EVALUATION_COLUMNS)}
        self.tables = {
            name: Table(self.folder / f"{name}.csv", columns[name], lengths.get(name, 0)) for name in columns
        }

    def begin(self, algorithm: Algorithm) -> None:
        """Start from the beginning: empty tables, empty replay, first observations."""
        self.replay = self.replay or self._make_replay()
        self._open_tables(algorithm, {})
        self.observations = self.environments.reset()

    def close(self) -> None:
        """Close the environments and the tables."""
        self.environments.close()
        for table in self.tables.values():
            table.close()

    # ----------------------------------------------------------------------------------------------------- experience

    def draw_action_noise(self, algorithm: Algorithm) -> Tensor:
        """What exploration takes at one step, (n, W); drawn at every step, also where the action is random."""
        draw = torch.rand if algorithm.policy.uniform_noise else torch.randn
        return draw(
            (self.config.num_envs, algorithm.policy.noise_width), generator=self.generator, dtype=algorithm.dtype
        )

    def random_actions(self, algorithm: Algorithm) -> NDArray[np.float32]:
        """Uniform over the box, or over the discrete actions as one-hot rows."""
        count = self.config.num_envs
        if algorithm.discrete:
            chosen = torch.randint(algorithm.actions, (count,), generator=self.generator)
            return np.asarray(torch.nn.functional.one_hot(chosen, algorithm.actions).float().numpy())
        return np.asarray((torch.rand((count, algorithm.actions), generator=self.generator) * 2 - 1).numpy())

    def step(self, actions: NDArray[np.float32]) -> None:
        """Step the environments with actions (n, A) and store what happened."""
        assert self.replay is not None
        taken = actions.argmax(axis=-1) if self.environments.spaces.discrete else actions
        result = self.environments.step(taken)
        self.replay.append(
            observation=self.observations,
            action=actions,
            next_observation=result.next_observations,
            reward=result.rewards,
            terminated=result.terminated,
        )
        self.observations = result.observations
        for _, total, length in result.episodes:
            self.finished.append((total, length))
            self.latest_return = total

    def sample(self, algorithm: Algorithm, batch_size: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A batch and the noise for one update."""
        assert self.replay is not None
        batch = self.replay.split(self.replay.sample(self.generator, batch_size))
        for name in ("observation", "action", "next_observation"):
            batch[name] = batch[name].reshape(batch_size, -1)
        return batch, algorithm.draw_noise(self.generator, batch_size)

    # -------------------------------------------------------------------------------------------------------- records

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> float:
        """Write an evaluation down and return its mean."""
        self.evaluation = statistics.fmean(episode.total for episode in episodes)
        if "evaluations" in self.tables:
            self.tables["evaluations"].append(
                [
                    {"global_step": step, "episode": index, "return": float(one.total), "length": one.length}
                    for index, one in enumerate(episodes)
                ]
            )
        return self.evaluation

    def log(self, step: int, updates: int, means: dict[str, float]) -> dict[str, Any]:
        """Write a row of metrics: what happened since the last one."""
        self.episodes += len(self.finished)
        row: dict[str, Any] = {
            "global_step": step,
            "episodes": self.episodes,
            "episode_return": statistics.fmean(total for total, _ in self.finished) if self.finished else None,
            "episode_length": statistics.fmean(length for _, length in self.finished) if self.finished else None,
            "evaluation_return": self.evaluation,
            "updates": updates,
            **means,
        }
        self.finished, self.evaluation = [], None
        if "metrics" in self.tables:
            self.tables["metrics"].append([row])
        return row

    # ---------------------------------------------------------------------------------------------------- checkpoints

    def saved(self) -> dict[str, Any]:
        """Plain values and tensors from which `restore` goes on."""
        assert self.replay is not None
        return {
            "seed": self.seed,
            "generator": self.generator.get_state(),
            "environments": self.environments.state(),
            "replay": self.replay.seal(),
            "count": self.replay.count,
            "tables": {name: table.length for name, table in self.tables.items()},
            "finished": list(self.finished),
            "episodes": self.episodes,
            "evaluation": self.evaluation,
        }

    def check(self, saved: dict[str, Any]) -> None:
        """Raise ExactRLError unless tables, replay and environments can go back to `saved`."""
        if self.folder is not None:
            for name, length in saved["tables"].items():
                require_length(self.folder / f"{name}.csv", length)
        self.replay = self.replay or self._make_replay()
        self.replay.restore(saved["count"], saved["replay"])
        self.observations = self.environments.restore(saved["environments"])

    def restore(self, saved: dict[str, Any], algorithm: Algorithm) -> None:
        """Take up the rest of what `check` has accepted."""
        self.generator.set_state(saved["generator"])
        self._open_tables(algorithm, saved["tables"])
        self.finished = [(total, length) for total, length in saved["finished"]]
        self.episodes, self.evaluation = saved["episodes"], saved["evaluation"]
