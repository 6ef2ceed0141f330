"""Matrices of an instance: squares and products with vectors, shapes (..., n, n) and (..., n)."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace


def squared(factor: Any) -> Any:
    """F F'."""
    xp = namespace(factor)
    return xp.matmul(factor, xp.moveaxis(factor, -1, -2))


def times(matrix: Any, vector: Any) -> Any:
    """The matrix applied to the vector."""
    return namespace(matrix).matmul(matrix, vector[..., None])[..., 0]
