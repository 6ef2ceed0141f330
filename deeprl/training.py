"""The one loop of the off-policy algorithms: act, store, update, evaluate, log, checkpoint.

A `Trainer` trains one seed, or a stack of seeds in one process (shapes: S seeds, n environments a seed).  All that is
random comes from the seed: networks, random actions, batches and noise from one torch generator, each environment from
its own NumPy one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeprl import checkpoints
from deeprl.algorithms import ALGORITHMS
from deeprl.algorithms.base import Algorithm, State
from deeprl.config import Config
from deeprl.environments import require
from deeprl.evaluation import evaluate, record_video
from deeprl.guards import check_metrics, stop
from deeprl.members import Member
from deeprl.memory import keep_freed_memory
from deeprl.records import Events, require_writers
from exactrl.errors import ExactRLError

# Evaluations begin from these seeds on: no training environment is seeded so.
EVALUATION_SEED = 1_000_000
SEEDS_APART = 1_000

BOUNDS = "bounds on what the environment returns, or on the actions that it is given"

Report = Callable[["Trainer"], None]


class Trainer:
    """Train `config.seed` (and the `seeds` - 1 after it, stacked) into the folder `out`; without one nothing is kept.

    Raises ExactRLError, before anything is written, for an environment that cannot be made or that the algorithm cannot
    take, a device that is not there, and a package that is missing.
    """

    def __init__(self, config: Config, out: Path | None = None, report: Report | None = None) -> None:
        self.config = config = config.resolved()
        self.out = out
        self.report = report or (lambda trainer: None)
        self.device = _device(config.device)
        if out is not None:
            require_writers(config)
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        self.members = [Member(config, config.seed + k, self._folder_of(k)) for k in range(config.seeds)]
        spaces = self.members[0].environments.spaces
        kind = ALGORITHMS[config.algorithm]
        require(
            spaces, config.env_id, config.algorithm, continuous=kind.continuous_actions, discrete=kind.discrete_actions
        )
        self.algorithm: Algorithm = kind(config, spaces.observation_size, spaces.actions, discrete=spaces.discrete)
        if config.compile:
            from deeprl.compilation import compiled

            self.algorithm.differentiate = compiled(self.algorithm, config.seeds, self.device)
        states = [self.algorithm.initial_state(member.generator) for member in self.members]
        self.state = (State.stack(states) if len(states) > 1 else states[0]).to(self.device)
        self._update = self._captured() if self.device.type == "cuda" else self.algorithm.update
        self.step = 0
        # What a resumed run has to say of newer checkpoints that it could not use.
        self.refused: list[str] = []
        self.events: list[Events | None] = []
        # Metrics since the last row of the table.
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self.last_evaluation: list[float] | None = None
        self.started, self.first_step = time.perf_counter(), 0

    def _folder_of(self, index: int) -> Path | None:
        if self.out is None or self.config.seeds == 1:
            return self.out
        return self.out / f"seed-{self.config.seed + index}"

    def _captured(self) -> Callable[..., Any]:
        from deeprl.acceleration import CapturedUpdate

        return CapturedUpdate(self.algorithm, self.state)

    # ------------------------------------------------------------------------------------------------------- the loop

    @property
    def finished(self) -> bool:
        return self.step >= self.config.total_timesteps

    def run(self) -> None:
        """Train from where the run stands to the end; what has been begun is closed in any case."""
        try:
            self.open()
            while not self.finished:
                self.advance()
        finally:
            self.close()

    def open(self) -> None:
        """Reset the environments of a run that begins, and start its records and its clock."""
        if self.step == 0:
            for index, member in enumerate(self.members):
                member.begin(self.algorithm)
                # Where nothing can be drawn, that is found out now and not after hours.
                self._film(index)
        self.started, self.first_step = time.perf_counter(), self.step
        self.events = [Events(m.folder, self.step, self.config) if m.folder else None for m in self.members]

    def close(self) -> None:
        """Close environments and files."""
        for member in self.members:
            member.close()
        for written in self.events:
            if written is not None:
                written.close()

    def advance(self) -> None:
        """Take one step in every environment, and whatever falls due with it."""
        config, before = self.config, self.step
        self._collect()
        self.step += config.num_envs
        for _ in range(self._updates_due(before)):
            self._learn()

        def due(interval: int) -> bool:
            return interval > 0 and self.step // interval > before // interval

        evaluates = due(config.evaluation_interval) or (self.finished and config.evaluation_interval > 0)
        logs = due(config.log_interval) or self.finished
        keeps = due(config.checkpoint_interval) or (self.finished and config.checkpoint_interval > 0)
        if self.device.type != "cpu" and (evaluates or logs or keeps):
            # A look at every update would hold an accelerator up; this one comes before anything is kept.
            check_metrics(self, self._means())
        if evaluates:
            self._evaluate()
        if logs:
            self._log()
        if keeps:
            self.checkpoint()
        self.report(self)

    def _collect(self) -> None:
        """Take one step in every environment of every seed."""
        noises = [member.draw_action_noise(self.algorithm) for member in self.members]
        if self.step < self.config.learning_starts:
            actions = [member.random_actions(self.algorithm) for member in self.members]
        else:
            observations = np.stack([member.observations for member in self.members])
            with torch.inference_mode():
                chosen = self.algorithm.explore(
                    self.state,
                    torch.from_numpy(observations).to(self.device),
                    (noises[0][None] if len(noises) == 1 else torch.stack(noises)).to(self.device),
                )
            actions = list(chosen.cpu().numpy())
        for member, action in zip(self.members, actions, strict=True):
            try:
                member.step(action)
            except ExactRLError as error:
                stop(self, f"seed {member.seed}: {error}", BOUNDS)

    def _updates_due(self, before: int) -> int:
        """How many updates belong to the step just taken: `gradient_steps` for every `train_frequency` steps."""
        starts, frequency = self.config.learning_starts, self.config.train_frequency
        rounds = max(self.step - starts, 0) // frequency - max(before - starts, 0) // frequency
        return rounds * self.config.gradient_steps

    def _learn(self) -> None:
        batches = [member.sample(self.algorithm, self.config.batch_size) for member in self.members]
        if len(batches) == 1:
            batch, noise = ({name: x[None] for name, x in part.items()} for part in batches[0])
        else:
            batch, noise = (
                {name: torch.stack([p[name] for p in parts]) for name in parts[0]}
                for parts in zip(*batches, strict=True)
            )
        metrics = self._update(self.state, _on(batch, self.device), _on(noise, self.device))
        if self.device.type == "cpu":
            check_metrics(self, metrics)
        for name, value in metrics.items():
            if name in self._sums:
                self._sums[name] += value
                self._counts[name] += 1
            else:
                self._sums[name], self._counts[name] = value.clone(), 1

    # ------------------------------------------------------------------------------------------- looking, and keeping

    def act_of(self, index: int) -> Callable[[Any], Any]:
        """The policy of one seed without exploration, as `deeprl.evaluation` wants it."""
        state = self.state if len(self.members) == 1 else self.state.of_seed(index)
        return greedy(self.algorithm, state.to("cpu"))

    def _evaluate(self) -> None:
        """Evaluate every seed, each time in a new environment: nothing of an earlier evaluation can remain in it."""
        config, self.last_evaluation = self.config, []
        for index, member in enumerate(self.members):
            act, seed = self.act_of(index), _evaluation_seed(member)
            try:
                episodes = evaluate(act, config.env_id, episodes=config.evaluation_episodes, seed=seed)
            except ExactRLError as error:
                stop(self, f"evaluation of seed {member.seed}: {error}", BOUNDS)
            self.last_evaluation.append(member.evaluated(self.step, episodes))
            self._film(index)

    def _film(self, index: int) -> None:
        """Record an episode of one seed's policy, if that is wanted."""
        member = self.members[index]
        if self.config.capture_video and member.folder is not None:
            path = member.folder / "videos" / f"step-{self.step}.mp4"
            path.parent.mkdir(exist_ok=True)
            record_video(self.act_of(index), self.config.env_id, path, seed=_evaluation_seed(member))

    def _means(self) -> dict[str, Tensor]:
        """The mean of each metric since the last row, (S,)."""
        return {name: (total / self._counts[name]).cpu() for name, total in self._sums.items()}

    def _log(self) -> None:
        means = {name: values.tolist() for name, values in self._means().items()}
        self._sums, self._counts = {}, {}
        rate = (self.step - self.first_step) / max(time.perf_counter() - self.started, 1e-9)
        for index, member in enumerate(self.members):
            row = member.log(self.step, self.state.updates, {name: values[index] for name, values in means.items()})
            written = self.events[index]
            if written is not None:
                written.add(self.step, {name: value for name, value in row.items() if name != "global_step"})
                written.add(self.step, {"steps_per_second": rate})

    def checkpoint(self, folder: str = "checkpoints") -> None:
        """Save everything that the rest of the run depends on."""
        if self.out is None:
            return
        payload = {
            "config": self.config.as_dict(),
            "step": self.step,
            "updates": self.state.updates,
            "state": {name: tensor.cpu() for name, tensor in self.state.tensors().items()},
            "members": [member.saved() for member in self.members],
            "sums": {name: value.cpu() for name, value in self._sums.items()},
            "counts": dict(self._counts),
        }
        checkpoints.save(self.out / folder, self.step, payload)

    def resume(self) -> None:
        """Go back to the newest checkpoint that is whole; from the beginning where none was taken.

        Raises ExactRLError if there are checkpoints and none is usable.
        """
        if self.out is None or not checkpoints.newest_first(self.out / "checkpoints"):
            return

        def accept(payload: dict[str, Any]) -> None:
            _require_same(payload["config"], self.config)
            for member, saved in zip(self.members, payload["members"], strict=True):
                member.check(saved)

        loaded = checkpoints.load_newest(self.out / "checkpoints", accept)
        self.refused = loaded.refused
        payload = loaded.payload
        self.step = payload["step"]
        self.state.load(payload["state"], payload["updates"])
        self._sums = {name: value.to(self.device) for name, value in payload["sums"].items()}
        self._counts = dict(payload["counts"])
        for member, saved in zip(self.members, payload["members"], strict=True):
            member.restore(saved, self.algorithm)


def greedy(algorithm: Algorithm, state: State) -> Callable[[Any], Any]:
    """The policy of one seed without exploration: observations (B, O) -> actions (B, A), or integers (B,)."""

    def act(observations: Any) -> Any:
        actions = algorithm.act(state, torch.as_tensor(observations, dtype=algorithm.dtype)[None])[0].numpy()
        return actions.argmax(axis=-1) if algorithm.discrete else actions

    return act


def _evaluation_seed(member: Member) -> int:
    return EVALUATION_SEED + SEEDS_APART * member.seed


def _require_same(saved: dict[str, Any], config: Config) -> None:
    """Raise ExactRLError if a checkpoint is of another configuration."""
    now = config.as_dict()
    changed = [name for name in now if saved.get(name) != now[name] and name not in config.FREE]
    if changed:
        what = ", ".join(f"{name} was {saved.get(name)!r} and is {now[name]!r}" for name in changed)
        raise ExactRLError(f"is of another configuration: {what}; only {', '.join(config.FREE)} may change")


def _on(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return tensors if device.type == "cpu" else {name: x.to(device, non_blocking=True) for name, x in tensors.items()}


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ExactRLError("--device cuda: this machine (or this build of torch) has no CUDA device; take --device cpu")
    return torch.device(name)
