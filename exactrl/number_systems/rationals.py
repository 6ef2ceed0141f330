"""Exact rationals in, numbers of any system out.

Extreme probabilities are exact rationals such as 10^-1000; floats see only their logarithms, so support is never lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np


def _fraction(x: Any) -> Fraction:
    return Fraction(int(x) if isinstance(x, np.integer) else x)


def log_rational(x: Fraction) -> float:
    """Return log x in float64 for any rational x >= 0, however large its terms; 0 gives -inf."""
    if x < 0:
        raise ValueError(f"the logarithm of {x} is not real")
    if x == 0:
        return -math.inf
    if Fraction(1, 2) < x < 2:
        return math.log1p(float(x - 1))
    return math.log(x.numerator) - math.log(x.denominator)


def as_fractions(x: Any) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Return nested ints, Fractions, floats (exactly) or strings "p/q" as an object array of Fractions."""
    array: Any = np.asarray(x, dtype=object)
    result = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        result[index] = _fraction(array[index])
    return result


def float_logs(x: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the logarithms of an array of Fractions as float64, 0 as -inf."""
    array = np.asarray(x, dtype=object)
    values: list[Any] = array.ravel().tolist()
    return np.array([log_rational(Fraction(v)) for v in values], dtype=np.float64).reshape(array.shape)


def normalised(weights: Iterable[Fraction | int]) -> list[Fraction]:
    """Return the weights divided exactly by their sum."""
    values = [_fraction(w) for w in weights]
    total = sum(values, Fraction(0))
    if total <= 0:
        raise ValueError("weights need a positive sum to be normalised")
    return [v / total for v in values]
