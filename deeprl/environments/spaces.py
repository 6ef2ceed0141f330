"""The sizes of an environment, and the spaces that are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError

__all__ = ["Spaces", "describe", "kind_of", "name_of", "require"]

# What `require` proposes where the caller proposes nothing.
_TAKE_DISCRETE = ("sac-score", "ecac")
_WRAP = "register an environment that is this one wrapped in gymnasium.wrappers.{}, and name that instead"
_FLATTEN, _TRANSFORM = _WRAP.format("FlattenObservation"), _WRAP.format("TransformAction")


@dataclass(frozen=True, slots=True, eq=False)
class Spaces:
    """The sizes of an environment.

    observation_size: O, the length of an observation vector (for a discrete observation, of its one-hot vector).
    actions: A, the dimension of a continuous action, or the number of discrete ones.
    discrete: True where an action is one of A integers.
    low, high: float64 (A,), the bounds of a continuous action in the environment's own units; None where discrete.
    """

    observation_size: int
    actions: int
    discrete: bool
    low: FloatArray | None = None
    high: FloatArray | None = None


def describe(env: Any) -> Spaces:
    """The sizes of a gymnasium environment.

    Observations: a Box of rank 1 with any bounds, or Discrete. Actions: a Box of rank 1 of floats with finite bounds
    low < high, or Discrete.
    Raises ExactRLError, naming the environment and the space, for every other space, and says what to do about it.
    """
    observation_size = _observation_size(env.observation_space, name_of(env))
    space = env.action_space
    if kind_of(space) == "Discrete":
        return Spaces(observation_size, int(space.n), discrete=True)
    low, high = _action_bounds(space, name_of(env))
    return Spaces(observation_size, low.size, discrete=False, low=low, high=high)


def require(
    spaces: Spaces,
    env_id: str,
    algorithm: str,
    *,
    continuous: bool,
    discrete: bool,
    instead: Sequence[str] | None = None,
) -> None:
    """Refuse an environment whose actions the algorithm cannot take.

    continuous, discrete: the kinds of action that `algorithm` takes. instead: names of algorithms to propose.
    Raises ExactRLError naming the algorithm, the environment and its actions.
    """
    if spaces.discrete:
        taken, takes, has = discrete, "continuous actions (a Box)", f"{spaces.actions} discrete ones"
        proposed = _TAKE_DISCRETE if instead is None else instead
    else:
        taken, takes, has = continuous, "discrete actions", f"continuous ones (a Box of dimension {spaces.actions})"
        proposed = instead or ()
    if not taken:
        remedy = f"try {' or '.join(proposed)}" if proposed else "take an algorithm for those"
        raise ExactRLError(f"{algorithm} takes {takes}; {env_id} has {has}: {remedy}")


def name_of(env: Any) -> str:
    """The id of an environment as messages write it; the name of its class where it was made without an id."""
    return type(env.unwrapped).__name__ if env.spec is None else str(env.spec.id)


def kind_of(space: Any) -> str:
    """The name of the gymnasium space that `space` is one of, subclasses included; that of its class otherwise."""
    from gymnasium import spaces

    kinds = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Dict", "Tuple")
    return next((kind for kind in kinds if isinstance(space, getattr(spaces, kind))), type(space).__name__)


def _observation_size(space: Any, env_id: str) -> int:
    expected = "expected a vector (a Box of rank 1) or a Discrete space"
    if kind_of(space) == "Discrete":
        return int(space.n)
    if kind_of(space) != "Box":
        raise ExactRLError(f"{env_id} has observations of {_text(space)}, {expected}; {_FLATTEN}")
    rank = len(space.shape)
    if rank == 3:
        raise ExactRLError(
            f"{env_id} has pixel observations, {_text(space)}, {expected}: the networks here are not convolutional; "
            "take an environment that observes its state"
        )
    if rank != 1:
        raise ExactRLError(f"{env_id} has observations of rank {rank}, {_text(space)}, {expected}; {_FLATTEN}")
    if space.shape[0] == 0:
        raise ExactRLError(
            f"{env_id} has empty observations, {_text(space)}, expected at least one entry; add a constant"
        )
    return int(space.shape[0])


def _action_bounds(space: Any, env_id: str) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bounds of a continuous action space, float64 (A,), onto which [-1, 1] can be mapped."""
    floats = kind_of(space) == "Box" and space.dtype in (np.float16, np.float32, np.float64)
    if not floats or len(space.shape) != 1:
        expected = "expected a Box of rank 1 of floats, or a Discrete space"
        raise ExactRLError(f"{env_id} has actions of {_text(space)}, {expected}; {_TRANSFORM}")
    if space.shape[0] == 0:
        raise ExactRLError(
            f"{env_id} has empty actions, {_text(space)}, expected at least one entry; nothing is to be learnt"
        )
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    for index in range(low.size):
        where = f"{env_id}: action[{index}] of {_text(space)} has the bounds [{low[index]:g}, {high[index]:g}]"
        if not (math.isfinite(low[index]) and math.isfinite(high[index])):
            raise ExactRLError(
                f"{where}, expected finite ones; {_TRANSFORM} with the bounds within which actions make sense"
            )
        if not low[index] < high[index]:
            raise ExactRLError(f"{where}, expected low < high; {_TRANSFORM} without that entry")
    return low, high


def _text(space: Any) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 120 else text[:117] + "..."
