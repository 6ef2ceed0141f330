"""Matrices of an instance: factors, squares and products with vectors, shapes (..., n, n) and (..., n)."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace


def lower_triangular(diagonal: Any, below: Any) -> Any:
    """The matrix with the given diagonal (..., n) and what another one (..., n, n) has below its own."""
    xp = namespace(diagonal)
    n = diagonal.shape[-1]
    rows = [
        [diagonal[..., j] if j == k else below[..., j, k] if k < j else below[..., j, k] * 0 for k in range(n)]
        for j in range(n)
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def squared(factor: Any) -> Any:
    """F F'."""
    xp = namespace(factor)
    return xp.matmul(factor, xp.moveaxis(factor, -1, -2))


def times(matrix: Any, vector: Any) -> Any:
    """The matrix applied to the vector."""
    return namespace(matrix).matmul(matrix, vector[..., None])[..., 0]
