"""Between an algorithm and an environment: actions one way, observations the other, and nothing that is not finite.

Alphabet of the shapes: n environments, O entries of an observation, A entries of an action (or A discrete actions).
An algorithm sees observations as float32 (n, O): a vector as it is, a discrete observation as one-hot. It acts by
floats (n, A) in [-1, 1], which are mapped affinely onto the bounds of the action space, or by integers (n,) in 0..A-1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeprl.environments.spaces import describe, kind_of, name_of
from exactrl.entries import FloatArray, entry, short
from exactrl.errors import ExactRLError

__all__ = [
    "ActionTranslation",
    "Place",
    "check_observations",
    "check_reward",
    "observation_writer",
    "translation_of_actions",
]

Place = Callable[[int], str]
"""Says where the row of that index comes from. A function, because messages are rare and steps are not."""


class _BoxActions:
    """Continuous actions: floats (n, A), clipped to [-1, 1], mapped onto [low, high], in the dtype of the space.

    Computed in Python floats: for the few entries of an action that takes less time than a handful of NumPy's calls.
    """

    __slots__ = ("_dtype", "_env_id", "_map", "_shape")

    def __init__(self, env_id: str, n: int, low: FloatArray, high: FloatArray, dtype: np.dtype[Any]) -> None:
        self._env_id, self._shape, self._dtype = env_id, (n, low.size), dtype
        self._map = [_affine(*bounds) for bounds in zip(low.tolist(), high.tolist(), strict=True)]

    def __call__(self, actions: ArrayLike) -> Sequence[Any]:
        array = _shaped(actions, self._shape, self._env_id)
        if array.dtype.kind not in "fiu":
            raise ExactRLError(f"{self._env_id}: actions have dtype {array.dtype}, expected floats in [-1, 1]")
        return [self._mapped(index, row) for index, row in enumerate(array.tolist())]

    def _mapped(self, index: int, row: list[float]) -> NDArray[Any]:
        if not all(map(math.isfinite, row)):
            position = next(i for i, value in enumerate(row) if not math.isfinite(value))
            raise ExactRLError(
                f"{self._env_id}: {entry('actions', [index, position])} is {row[position]}, expected a finite float, "
                "to be clipped to [-1, 1]; the policy has diverged"
            )
        return np.array(
            [
                low if value <= -1 else high if value >= 1 else centre + half * value
                for value, (low, high, centre, half) in zip(row, self._map, strict=True)
            ],
            self._dtype,
        )

    def keep(self, action: Any) -> Any:
        return action.tobytes()

    def plain(self, kept: Sequence[Any]) -> list[Any]:
        return list(np.frombuffer(b"".join(kept), self._dtype).reshape(-1, self._shape[1]).tolist())

    def from_plain(self, plain: Sequence[Any]) -> Sequence[Any]:
        return list(np.array(plain, self._dtype).reshape(len(plain), self._shape[1]))


class _DiscreteActions:
    """Discrete actions: integers (n,) in 0..A-1, to which the first action of the space is added."""

    __slots__ = ("_env_id", "_first", "_shape", "_size")

    def __init__(self, env_id: str, n: int, first: int, size: int) -> None:
        self._env_id, self._shape, self._first, self._size = env_id, (n,), first, size

    def __call__(self, actions: ArrayLike) -> Sequence[Any]:
        array = _shaped(actions, self._shape, self._env_id)
        if array.dtype.kind not in "iu":
            raise ExactRLError(f"{self._env_id}: actions have dtype {array.dtype}, expected integers")
        for index, action in enumerate(array.tolist()):
            if not 0 <= action < self._size:
                raise ExactRLError(f"{self._env_id}: actions[{index}] is {action}, expected 0 to {self._size - 1}")
        return [self._first + action for action in array.tolist()]

    def keep(self, action: Any) -> Any:
        return action

    def plain(self, kept: Sequence[Any]) -> list[Any]:
        return list(kept)

    def from_plain(self, plain: Sequence[Any]) -> Sequence[Any]:
        return [int(action) for action in plain]


ActionTranslation = _BoxActions | _DiscreteActions
"""Called with the actions of an algorithm, one for each of n environments: what each `env.step` is given.

What it returns shares no memory with what it was called with. Raises ExactRLError for another shape or dtype, a float
that is not finite, an integer out of range. `keep` of what an environment is given cannot be changed any more; `plain`
of what was kept is a list of ints, or of lists of A floats, all exact; `from_plain` is its inverse before `keep`.
"""


def translation_of_actions(env: Any, n: int) -> ActionTranslation:
    """The translation for n environments like `env`; raises ExactRLError as `describe` does."""
    spaces = describe(env)
    if spaces.low is None or spaces.high is None:
        return _DiscreteActions(name_of(env), n, int(env.action_space.start), spaces.actions)
    return _BoxActions(name_of(env), n, spaces.low, spaces.high, env.action_space.dtype)


def observation_writer(env: Any) -> Callable[[NDArray[np.float32], Any, Place, int], None]:
    """A function (row, observation, place, index) that writes an observation into `row`, float32 (O,), full of zeros.

    It raises ExactRLError, beginning with `place(index)`, where the observation does not lie in the space; of a Box
    only the shape is looked at. Raises ExactRLError as `describe` does.
    """
    size = describe(env).observation_size
    space = env.observation_space
    first = int(space.start) if kind_of(space) == "Discrete" else 0

    def write_vector(row: NDArray[np.float32], observation: Any, place: Place, index: int) -> None:
        if not isinstance(observation, np.ndarray) or observation.shape != (size,):
            what = f"{type(observation).__name__} of shape {np.shape(observation)}"
            raise ExactRLError(
                f"{place(index)}: the observation is a {what}, expected an array ({size},) as its space says"
            )
        row[:] = observation

    def write_one_hot(row: NDArray[np.float32], observation: Any, place: Place, index: int) -> None:
        position = int(observation) - first
        if not 0 <= position < size:
            expected = f"{first} to {first + size - 1}"
            raise ExactRLError(
                f"{place(index)}: the observation is {short(observation)}, expected {expected} as its space says"
            )
        row[position] = 1.0

    return write_one_hot if kind_of(space) == "Discrete" else write_vector


def check_observations(observations: NDArray[np.float32], place: Place) -> None:
    """Refuse observations, float32 (n, O), that are not finite: ExactRLError, beginning with `place` of the row."""
    fault = _first_not_finite(observations)
    if fault is not None:
        row, position = fault
        raise ExactRLError(
            f"{place(row)}: {entry('observation', [position])} is {observations[fault]}, expected a finite float32; "
            "the simulation has diverged"
        )


def check_reward(reward: float, place: Place, index: int) -> None:
    """Refuse a reward that is not finite: ExactRLError, beginning with `place(index)`."""
    if not math.isfinite(reward):
        raise ExactRLError(
            f"{place(index)}: the reward is {reward}, expected a finite float; the simulation has diverged"
        )


def _affine(low: float, high: float) -> tuple[float, float, float, float]:
    """low, high, and the centre and half length of the interval, so that centre + half v stays in it for |v| <= 1."""
    # Halves first: high - low may be beyond the range of a float.
    centre, half = high / 2 + low / 2, high / 2 - low / 2
    # Rounding is monotone: where the ends do not overstep the bounds, nothing between them does.
    while centre + half > high or centre - half < low:
        half = max(0.0, half - math.ulp(max(abs(low), abs(high))))
    return low, high, centre, half


def _shaped(actions: ArrayLike, shape: tuple[int, ...], env_id: str) -> NDArray[Any]:
    array = np.asarray(actions)
    if array.shape != shape:
        raise ExactRLError(f"{env_id}: actions have shape {array.shape}, expected {shape}")
    return array


def _first_not_finite(array: NDArray[Any]) -> tuple[int, ...] | None:
    """The index of the first entry of an array of numbers that is not finite, or None."""
    # One product tells: it is not finite where an entry is not. It may also overflow, hence the second look.
    if math.isfinite(np.vdot(array, array)):
        return None
    faults = np.argwhere(~np.isfinite(array))
    return tuple(int(i) for i in faults[0]) if len(faults) else None
