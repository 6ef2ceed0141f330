"""What the sides of claims of every source are made with: the size of their terms, and batch shapes."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace


def size(*values: Any) -> Any:
    """The size of the largest finite entry of each instance, plus 1: what rounding is relative to (floats only)."""
    xp = namespace(*values)
    if xp.name != "float64":
        return 1.0
    total: Any = 1.0
    for value in values:
        array = xp.asarray(value)
        finite = xp.where(abs(array) < float("inf"), abs(array), 0.0)
        total = total + finite.reshape(finite.shape[0], -1).max(axis=-1) if finite.ndim else total + finite
    return total


def row(x: Any) -> Any:
    """A number of the batch shape, to meet arrays with one more axis."""
    return x[..., None] if x.ndim else x
