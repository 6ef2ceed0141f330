"""Several environments of one id, stepped together, whose state can be saved anywhere and restored to the last bit.

The loop is our own, over plain environments, because a saved state is the state of a generator before the last reset
and the actions since, which asks for three things: every environment owns its generator, is reset without a seed, and
is given exactly the actions that are kept. The alphabet of the shapes is that of `translating`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeprl.environments.making import make
from deeprl.environments.spaces import Spaces, describe
from deeprl.environments.translating import (
    check_observations,
    check_reward,
    observation_writer,
    translation_of_actions,
)
from exactrl.entries import short
from exactrl.errors import ExactRLError

__all__ = ["Environments", "Step", "check_integer"]

# Sets the generators of environments apart from whatever else is spawned from the same seed: the letters "env".
_SPAWN_KEY = 0x656E76


class Step(NamedTuple):
    """One step of n environments.

    observations: float32 (n, O), what to act on next: the first observation of a new episode where one has ended.
    next_observations: float32 (n, O), the true successors, also where the episode has ended; the same array as
        `observations` where none has.
    rewards: float64 (n,).
    terminated: bool (n,), the successor is terminal: its value is zero.
    truncated: bool (n,), the episode was cut off, for instance by a time limit: the successor keeps its value. An
        environment may report both.
    episodes: (index, return, length) of every episode that ended, in the order of the environments.
    """

    observations: NDArray[np.float32]
    next_observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    episodes: list[tuple[int, float, int]]


class Environments:
    """`num_envs` environments registered as `env_id`, reset as soon as an episode ends.

    Environment i draws all its randomness from PCG64(SeedSequence(seed, spawn_key=(0x656E76, i))), so that its episodes
    depend on the seed, on i and on the actions alone, not on `num_envs`. Action spaces are never sampled.

    env_id, num_envs: as given. spaces: the sizes.
    Raises ExactRLError for an id that cannot be made, spaces that are not supported, num_envs below 1, a negative seed.
    """

    def __init__(self, env_id: str, *, num_envs: int = 1, seed: int) -> None:
        check_integer("num_envs", num_envs, least=1)
        check_integer("seed", seed, least=0)
        self.env_id = env_id
        self.num_envs = num_envs
        first = make(env_id)
        self.spaces: Spaces = describe(first)
        self._translate_actions = translation_of_actions(first, num_envs)
        self._keep = self._translate_actions.keep
        self._write = observation_writer(first)
        envs = [first, *(make(env_id) for _ in range(num_envs - 1))]
        self._running = [_Running(env, _generator(seed, index)) for index, env in enumerate(envs)]

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode in every environment: its first observations, float32 (n, O).

        The generators go on from where they are: a second reset draws other episodes.
        Raises ExactRLError for an observation that is not finite.
        """
        observations = np.zeros((self.num_envs, self.spaces.observation_size), np.float32)
        for index in range(self.num_envs):
            self._reset_one(index, observations)
        return observations

    def step(self, actions: ArrayLike) -> Step:
        """Take one step in every environment.

        actions: floats (n, A), clipped to [-1, 1] and mapped affinely onto the bounds; or integers (n,) in 0..A-1.
        Raises ExactRLError for bad actions, and, naming environment and step, for an observation or reward that is not
        finite; after that, only `reset` and `restore` are of use.
        """
        n = self.num_envs
        successors = np.zeros((n, self.spaces.observation_size), np.float32)
        rewards, terminated, truncated = np.empty(n), np.empty(n, np.bool_), np.empty(n, np.bool_)
        ended = []
        for index, action in enumerate(self._translate_actions(actions)):
            running = self._running[index]
            observation, reward, terminal, cut = running.step(action, self._keep(action))
            self._write(successors[index], observation, self._place, index)
            check_reward(reward, self._place, index)
            rewards[index], terminated[index], truncated[index] = reward, terminal, cut
            if terminal or cut:
                ended.append(index)
        check_observations(successors, self._place)
        if not ended:
            return Step(successors, successors, rewards, terminated, truncated, [])
        observations, episodes = successors.copy(), []
        for index in ended:
            running = self._running[index]
            episodes.append((index, running.total, running.length))
            self._reset_one(index, observations)
        return Step(observations, successors, rewards, terminated, truncated, episodes)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit by bit in another process, as dicts, lists, strings, ints and floats alone.

        For each environment: the generator before the last reset, the actions since as the environment was given them,
        and what replaying them must lead to. An episode without end keeps all its actions.
        Raises ExactRLError before the first reset.
        """
        return {"env_id": self.env_id, "entries": [self._state_of(running) for running in self._running]}

    def restore(self, state: Mapping[str, Any]) -> NDArray[np.float32]:
        """Go back to a saved state by replaying its episodes: the observations to act on next, float32 (n, O).

        Raises ExactRLError where the state is of other environments or cut short, and where the replay does not reach
        the very same observation, return, length and generator state: then the environment cannot be replayed.
        """
        entries = self._entries_of(state)
        observations = np.zeros((self.num_envs, self.spaces.observation_size), np.float32)
        for index, (running, saved) in enumerate(zip(self._running, entries, strict=True)):
            try:
                reached = self._replay(running, saved)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise ExactRLError(
                    f"entries[{index}] of the saved state of {self.env_id} cannot be read "
                    f"({type(error).__name__}: {error}), expected what `state` returned"
                ) from error
            if not reached:
                raise ExactRLError(
                    f"environment {index} of {self.env_id} cannot be replayed: the same generator and the same "
                    f"{running.length} actions did not lead to the same observation; it draws randomness or keeps "
                    "state outside np_random, or its version is another than when it was saved"
                )
            self._write(observations[index], running.observation, self._place, index)
        return observations

    def close(self) -> None:
        """Close every environment."""
        for running in self._running:
            running.env.close()

    def _reset_one(self, index: int, observations: NDArray[np.float32]) -> None:
        """Reset one environment and write its first observation into its row of `observations`."""
        observations[index] = 0
        self._write(observations[index], self._running[index].reset(), self._place, index)
        check_observations(observations, self._place)

    def _place(self, index: int) -> str:
        length = self._running[index].length
        step = f"step {length}" if length else "the reset"
        return f"environment {index} of {self.env_id}, at {step} of its episode"

    def _state_of(self, running: _Running) -> dict[str, Any]:
        if running.generator_before is None:
            raise ExactRLError(f"{self.env_id} has no state to save yet, expected a call of `reset` first")
        return {
            "generator_before": running.generator_before,
            "actions": self._translate_actions.plain(running.actions),
            "generator": running.generator_state(),
            "observation": np.asarray(running.observation).tolist(),
            "total": running.total,
            "length": running.length,
        }

    def _entries_of(self, state: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The entries of a saved state, one for each environment."""
        if not (isinstance(state, Mapping) and isinstance(state.get("entries"), list) and "env_id" in state):
            raise ExactRLError(f"the saved state is {short(state)}, expected what `state` returned")
        if state["env_id"] != self.env_id:
            raise ExactRLError(f"the saved state is of {state['env_id']}, expected one of {self.env_id}")
        if len(state["entries"]) != self.num_envs:
            raise ExactRLError(f"the saved state has {len(state['entries'])} environments, expected {self.num_envs}")
        return list(state["entries"])

    def _replay(self, running: _Running, saved: Mapping[str, Any]) -> bool:
        """Replay a saved episode; whether it reached what was saved."""
        actions = self._translate_actions.from_plain(saved["actions"])
        running.set_generator(saved["generator_before"])
        running.reset()
        for action in actions:
            running.step(action, self._keep(action))
        reached = np.asarray(running.observation)
        return (
            reached.tobytes() == np.array(saved["observation"], dtype=reached.dtype).tobytes()
            and (running.total, running.length) == (saved["total"], saved["length"])
            and running.generator_state() == saved["generator"]
        )


class _Running:
    """One environment and the episode it is in: the generator before its reset, and the actions since."""

    __slots__ = ("actions", "env", "generator_before", "length", "observation", "total")

    def __init__(self, env: Any, generator: np.random.Generator) -> None:
        self.env = env
        self.env.unwrapped.np_random = generator
        self.generator_before: dict[str, Any] | None = None
        self.actions: list[Any] = []
        self.observation: Any = None
        self.total, self.length = 0.0, 0

    def reset(self) -> Any:
        self.generator_before = self.generator_state()
        self.actions = []
        self.total, self.length = 0.0, 0
        self.observation, _ = self.env.reset()
        return self.observation

    def step(self, action: Any, kept: Any) -> tuple[Any, float, bool, bool]:
        if self.generator_before is None:
            raise ExactRLError("no episode has begun, expected a call of `reset` before `step`")
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self.observation = observation
        self.actions.append(kept)
        reward = float(reward)
        self.total += reward
        self.length += 1
        return observation, reward, bool(terminated), bool(truncated)

    def generator_state(self) -> dict[str, Any]:
        return dict(self.env.unwrapped.np_random.bit_generator.state)

    def set_generator(self, state: Mapping[str, Any]) -> None:
        generator = np.random.Generator(np.random.PCG64())
        generator.bit_generator.state = state
        self.env.unwrapped.np_random = generator


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_SPAWN_KEY, index))))


def check_integer(name: str, value: int, *, least: int) -> None:
    """Refuse what is not an integer of at least `least`; `name` stands for it in the message."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ExactRLError(f"{name} is {short(value)}, expected an integer of at least {least}")
