"""The Python side of `exactrl train`: train a configuration, load a run, ask the agent for an action."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from deeprl import checkpoints, launching, runs
from deeprl.algorithms import ALGORITHMS
from deeprl.algorithms.base import Algorithm, State
from deeprl.config import Config
from deeprl.environments import make
from deeprl.environments.spaces import Spaces, describe
from deeprl.environments.translating import observation_writer, translation_of_actions
from deeprl.evaluation import Episode, evaluate
from deeprl.training import Trainer, greedy
from exactrl.errors import ExactRLError


@dataclass
class Agent:
    """A trained policy of one seed.

    config: its configuration. spaces: sizes and action bounds. step: environment steps so far. refused: a line for each
    newer checkpoint that could not be used.
    """

    config: Config
    spaces: Spaces
    algorithm: Algorithm = field(repr=False)
    state: State = field(repr=False)
    step: int
    # Closed: only its spaces are looked at.
    environment: Any = field(repr=False)
    refused: list[str] = field(default_factory=list)

    def act(self, observation: ArrayLike) -> Any:
        """The action without exploration, as the environment takes it, for one observation or a batch.

        observation: (O,) or (B, O); of a discrete observation space also the integer itself.
        Returns an array (A,) or (B, A) within the bounds and of the dtype of the action space; for discrete actions an
        int or an array (B,) of them.
        Raises ExactRLError for an observation of another size, or one that is not finite.
        """
        rows, single = self._rows(observation)
        chosen = greedy(self.algorithm, self.state)(rows)
        actions = translation_of_actions(self.environment, len(rows))(chosen)
        return actions[0] if single else np.stack(actions)

    def _rows(self, observation: ArrayLike) -> tuple[Any, bool]:
        """Float32 (B, O), and whether one observation was given without a batch."""
        size = self.spaces.observation_size
        try:
            given = np.asarray(observation, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ExactRLError(f"the observation is not an array of numbers: {error}") from None
        if given.ndim == 0 and not self.environment.observation_space.shape:
            rows = np.zeros((1, size), np.float32)
            observation_writer(self.environment)(rows[0], observation, lambda _: self.config.env_id, 0)
            return rows, True
        rows = given[None] if given.ndim == 1 else given
        if rows.ndim != 2 or rows.shape[1] != size or not len(rows):
            raise ExactRLError(f"the observation has shape {given.shape}: expected ({size},) or (B, {size})")
        if not np.isfinite(rows).all():
            where = [int(index) for index in np.argwhere(~np.isfinite(given))[0]]
            raise ExactRLError(f"the observation is not finite: entry {where} is {given[tuple(where)]}")
        return rows, given.ndim == 1

    def evaluate(self, episodes: int = 10, seed: int = 0) -> list[Episode]:
        """Run whole episodes without exploration; episode j is reset with seed + j."""
        return evaluate(greedy(self.algorithm, self.state), self.config.env_id, episodes=episodes, seed=seed)


def train(config: Config, out: str | os.PathLike[str] | None = None) -> Agent | list[Agent]:
    """Train `config` (all its seeds, one after the other) and return the agent, a list of them for several seeds.

    out: the run's folder, as `exactrl train --out`; without it nothing is written.
    Raises ExactRLError for a bad configuration or environment, and if training goes wrong (see `deeprl.guards`).
    """
    folder = None if out is None else Path(out)
    if config.seeds == 1:
        return _train_one(config, folder)
    singles = [config.replace(seed=config.seed + k, seeds=1, jobs=0) for k in range(config.seeds)]
    if folder is None:
        return [_train_one(single, None) for single in singles]
    runs.require_free(folder)
    Trainer(singles[0], folder).close()
    with runs.locked(folder):
        runs.begin(folder, config.resolved())
        return [_train_one(single, folder / f"seed-{single.seed}") for single in singles]


def _train_one(config: Config, folder: Path | None) -> Agent:
    if folder is None:
        trainer = Trainer(config)
        trainer.run()
    else:
        trainer = launching.run_one(config, folder, resume=False)
    env = make(config.env_id)
    env.close()
    return Agent(trainer.config, describe(env), trainer.algorithm, trainer.state.to("cpu"), trainer.step, env)


def load(run: str | os.PathLike[str]) -> Agent:
    """Load the agent of the newest checkpoint in the folder of a run of one seed.

    Raises ExactRLError for a folder that holds no run, several seeds (name one), or no usable checkpoint.
    """
    folder = Path(run)
    config = runs.read_config(folder)
    if config.seeds > 1:
        raise ExactRLError(f"{folder} holds {config.seeds} seeds: name one, such as {folder / f'seed-{config.seed}'}")
    env = make(config.env_id)
    env.close()
    spaces = describe(env)
    algorithm = ALGORITHMS[config.algorithm](config, spaces.observation_size, spaces.actions, discrete=spaces.discrete)
    # Seeds that were trained on one stack share its checkpoints.
    source = folder.resolve().parent if runs.is_stacked(folder) else folder
    _, payload, refused = checkpoints.load_newest(source / "checkpoints")
    seeds = [member["seed"] for member in payload["members"]]
    blanks = [algorithm.initial_state(torch.Generator()) for _ in seeds]
    state = State.stack(blanks) if len(blanks) > 1 else blanks[0]
    state.load(payload["state"], payload["updates"])
    return Agent(config, spaces, algorithm, state.of_seed(seeds.index(config.seed)), payload["step"], env, refused)
