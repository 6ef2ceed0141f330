r"""Distributions as they come in: (log-)probabilities along the last axis, checked and never renormalised.

Rows of floats sum to 1 within 1e-10, rows of rationals (ints, Fractions, strings "1/3") sum to 1 exactly.
Units: natural logarithms; an outcome that cannot happen has log-probability -inf.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray, FractionArray, Numbers, entry, read_numbers
from exactrl.errors import ExactRLError

__all__ = ["ROW_TOLERANCE", "check_log_distributions", "finite_array", "index_array", "log_distributions"]

ROW_TOLERANCE = 1e-10


def _first(wrong: Any) -> tuple[int, ...] | None:
    found = np.argwhere(wrong)
    return tuple(int(i) for i in found[0]) if len(found) else None


def _finite_numbers(name: str, values: Any) -> Numbers:
    numbers = read_numbers(values, name)
    wrong = _first(~np.isfinite(numbers.floats))
    if wrong is not None:
        raise ExactRLError(f"{entry(name, wrong)} is {numbers.floats[wrong]}: expected a finite number")
    return numbers


def finite_array(name: str, values: Any) -> FloatArray:
    """Return the values as read-only float64.  Raises ExactRLError naming the first entry that is no finite number."""
    return _finite_numbers(name, values).floats


def index_array(name: str, values: Any, limit: int) -> NDArray[np.int64]:
    """Return the values as integers from 0 to limit - 1.  Raises ExactRLError naming the first that is not."""
    numbers = finite_array(name, values)
    wrong = _first((numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= limit))
    if wrong is not None:
        raise ExactRLError(f"{entry(name, wrong)} is {numbers[wrong]:g}: expected an integer from 0 to {limit - 1}")
    result = numbers.astype(np.int64)
    result.setflags(write=False)
    return result


def log_distributions(name: str, probabilities: Any) -> FloatArray:
    """Return the logarithms of distributions along the last axis; rationals such as 10^-1000 keep their support.

    Shapes: probabilities (..., N) -> (..., N), read-only.
    Raises ExactRLError naming the entry or row: negative, NaN, infinite, no number, or a row that does not sum to 1.
    """
    numbers = _finite_numbers(name, probabilities)
    _refuse_empty(name, numbers.floats)
    negative = _first(numbers.is_negative())
    if negative is not None:
        raise ExactRLError(f"{entry(name, negative)} is {numbers.floats[negative]}: expected a probability, at least 0")
    if numbers.rational:
        _refuse_inexact_rows(name, numbers.fractions())
    else:
        _refuse_bad_rows(name, numbers.floats.sum(axis=-1))
    logs = numbers.logs()
    logs.setflags(write=False)
    return logs


def check_log_distributions(name: str, log_probabilities: Any) -> FloatArray:
    """Return log-probabilities as float64, -inf allowed, after checking that each row is a distribution.

    Shapes: log_probabilities (..., N) -> (..., N), read-only.
    Raises ExactRLError naming the entry that is NaN or above 0, or the row that does not sum to 1.
    """
    logs = np.array(read_numbers(log_probabilities, name).floats)
    _refuse_empty(name, logs)
    wrong = _first(~(logs <= ROW_TOLERANCE))
    if wrong is not None:
        raise ExactRLError(f"{entry(name, wrong)} is {logs[wrong]}: expected a log-probability, at most 0")
    _refuse_bad_rows(name, np.exp(logs).sum(axis=-1))
    logs.setflags(write=False)
    return logs


def _refuse_empty(name: str, rows: FloatArray) -> None:
    if rows.ndim == 0 or rows.size == 0:
        raise ExactRLError(f"{name} has shape {rows.shape}: expected at least one probability")


def _refuse_bad_rows(name: str, totals: Any) -> None:
    wrong = _first(~(np.abs(totals - 1.0) <= ROW_TOLERANCE))
    if wrong is not None:
        raise ExactRLError(
            f"{entry(name, wrong)} sums to {float(totals[wrong]):.15g}: expected 1 within {ROW_TOLERANCE:g}; "
            "probabilities are never renormalised"
        )


def _refuse_inexact_rows(name: str, rows: FractionArray) -> None:
    for index in np.ndindex(rows.shape[:-1]):
        total = sum(rows[index], Fraction(0))
        if total != 1:
            raise ExactRLError(
                f"{entry(name, index)} sums to {total}: expected exactly 1, because its entries are rationals"
            )
