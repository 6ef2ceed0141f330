"""What the sides of claims of every source are made with: sizes of terms, batch shapes, matrices, linear systems."""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.errors import Uncertain
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


def spread(values: Any) -> Any:
    """The largest entry less the least, (..., N) -> (...)."""
    xp = namespace(values)
    return xp.max(values) - xp.min(values)


def lower_triangular(diagonal: Any, below: Any) -> Any:
    """The matrix with the given diagonal (..., n) and what another one (..., n, n) has below its own."""
    xp = namespace(diagonal)
    n = diagonal.shape[-1]
    rows = [
        [diagonal[..., j] if j == k else below[..., j, k] if k < j else below[..., j, k] * 0 for k in range(n)]
        for j in range(n)
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def times(matrix: Any, vector: Any) -> Any:
    """The matrix (..., m, n) applied to the vector (..., n)."""
    return namespace(matrix, vector).matmul(matrix, vector[..., None])[..., 0]


def solve(system: Any, right: Any) -> Any:
    """The x with system x = right, shapes (..., n, n) and (..., n, k); the system has a solution.

    Raises Uncertain where balls are too wide to tell that it has one.
    """
    if namespace(system, right).name == "float64":
        return np.linalg.solve(system, right)
    from exactrl.number_systems.balls import Balls

    try:
        found = system.matrix().solve(right.matrix())
    except ZeroDivisionError:
        raise Uncertain("the balls are too wide to solve the linear system") from None
    return Balls(np.array(found.entries(), dtype=object).reshape(right.shape))


def inverse(system: Any) -> Any:
    """The inverse of a matrix (..., n, n) that has one; raises Uncertain as `solve` does."""
    return solve(system, namespace(system).identity(system.shape[-1]))
