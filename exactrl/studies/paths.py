"""Objectives along exact iterations, and the steps at which they go down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.studies.methods import Method, Settings
from exactrl.studies.stacked import Stack
from exactrl.studies.sweeps import entropy, expected_return, surrogate

__all__ = ["OBJECTIVES", "Paths", "follow", "went_down"]

#: key: what it is, beside a picture
OBJECTIVES = {
    "return": "expected return",
    "return+entropy": "return + τ′ · entropy",
    "surrogate": "surrogate SR_f",
}
ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class Paths:
    """What B models' iterations did: objective -> values (steps + 1, B); moved, falls[objective] (steps, B)."""

    values: dict[str, FloatArray]
    moved: NDArray[np.bool_]
    falls: dict[str, NDArray[np.bool_]]


def follow(stack: Stack, method: Method, log_policy: FloatArray, settings: Settings, steps: int) -> Paths:
    """Iterate a method from a policy (H, B, S, A) on the models' own rewards, and watch the three objectives.

    The surrogate is the method's own: without entropy its temperatures are tau + tau' and 0.
    """
    own, changes = method.own(settings), []
    rows = {key: list[FloatArray]() for key in OBJECTIVES}
    for k in range(steps + 1):
        earned = expected_return(stack, stack.reward, log_policy)
        rows["return"].append(earned)
        rows["return+entropy"].append(earned + settings.tau_prime * entropy(stack, log_policy))
        rows["surrogate"].append(surrogate(stack, stack.reward, log_policy, own.tau, own.tau_prime))
        if k < steps:
            new = method.step(stack, stack.reward, log_policy, own)
            changes.append(np.abs(np.exp(new) - np.exp(log_policy)).max(axis=(0, 2, 3)))
            log_policy = new
    values = {key: np.array(row) for key, row in rows.items()}
    # Sums over trajectories round in units of the largest exponent: returns, and the entropy times the temperature.
    size = (settings.tau + settings.tau_prime) * stack.horizon * np.log(stack.shape[2] + 1)
    moved = np.array(changes).reshape(steps, stack.shape[0]) > ROUNDING
    return Paths(values, moved, {key: went_down(row, size) for key, row in values.items()})


def went_down(values: FloatArray, size: FloatArray | float = 0.0) -> NDArray[np.bool_]:
    """Which steps lower a value by more than rounding: values (steps + 1, B), size of its terms (B,) -> (steps, B)."""
    scale = 1.0 + np.abs(values).max(axis=0) + size
    return np.asarray(np.diff(values, axis=0) < -ROUNDING * scale)
