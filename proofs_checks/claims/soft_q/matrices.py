"""Squares of matrices, and their products with vectors: shapes (..., n, n) and (..., n)."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace
from proofs_checks.claims.terms import times

__all__ = ["squared", "times"]


def squared(factor: Any) -> Any:
    """F F'."""
    xp = namespace(factor)
    return xp.matmul(factor, xp.moveaxis(factor, -1, -2))
