"""What a model may be: every part of a finite MDP checked entry by entry, nothing repaired.

Alphabet of the shapes: S states, A actions. A refused entry is named by its index, as in transitions[2, 1, 0], whether
the table came dense or sparse. Rows of probabilities sum to 1 within 1e-10 in floats and exactly in rationals.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import Numbers, entry, read_number, read_numbers, short
from exactrl.errors import ExactRLError
from exactrl.tables import SparseTable, is_scipy_sparse

__all__ = ["ROW_TOLERANCE", "read_discount", "read_horizon", "read_initial", "read_rewards", "read_transitions"]

ROW_TOLERANCE = 1e-10

Table = Numbers | SparseTable


def read_transitions(value: Any) -> tuple[Table, int, int]:
    """The transition table with its numbers of states and actions: dense (S, A, S), or sparse (S * A, S).

    Raises ExactRLError for a wrong shape, S or A of zero, an entry that is no probability, a row not summing to 1.
    """
    table = _read_table(value, "transitions")
    if isinstance(table, SparseTable):
        n_states = table.shape[1]
        if n_states == 0 or table.shape[0] == 0 or table.shape[0] % n_states:
            raise ExactRLError(
                f"transitions has shape {table.shape}, expected (S * A, S) with S, A >= 1: row s * A + a"
            )
        n_actions = table.shape[0] // n_states
    else:
        if len(table.shape) != 3 or table.shape[0] != table.shape[2] or 0 in table.shape:
            raise ExactRLError(f"transitions has shape {table.shape}, expected (S, A, S) with S, A >= 1")
        n_states, n_actions = table.shape[:2]
    _check_probabilities(table, "transitions", n_actions)
    _check_sums(table, "transitions", n_actions)
    return table, n_states, n_actions


def read_rewards(value: Any, n_states: int, n_actions: int, *, sparse: bool) -> Table:
    """The rewards (S, A), or (S, A, S) kept as the transitions are: sparse (S * A, S) where `sparse`.

    Raises ExactRLError for a wrong shape and for entries that are not finite numbers.
    """
    table = _read_table(value, "rewards")
    expected = f"({n_states}, {n_actions}) or ({n_states}, {n_actions}, {n_states})"
    if isinstance(table, SparseTable):
        if table.shape != (n_states * n_actions, n_states):
            raise ExactRLError(
                f"rewards has shape {table.shape}, expected {expected}, or sparse ({n_states * n_actions}, {n_states})"
            )
        _check_finite(table, "rewards", n_actions)
        return table if sparse else table.dense(n_states)
    if table.shape not in ((n_states, n_actions), (n_states, n_actions, n_states)):
        raise ExactRLError(f"rewards has shape {table.shape}, expected {expected}")
    _check_finite(table, "rewards", n_actions)
    return SparseTable.from_dense(table) if sparse and len(table.shape) == 3 else table


def read_initial(value: Any, n_states: int) -> Numbers:
    """The law of the first state (S,): uniform for None, a point mass for a state's index, else a distribution."""
    if value is None:
        return read_numbers([Fraction(1, n_states)] * n_states, "initial")
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if not 0 <= value < n_states:
            raise ExactRLError(f"initial is state {short(int(value))}, expected a state from 0 to {n_states - 1}")
        return read_numbers([int(state == value) for state in range(n_states)], "initial")
    law = read_numbers(value, "initial")
    if law.shape != (n_states,):
        raise ExactRLError(f"initial has shape {law.shape}, expected ({n_states},), a state's index or None (uniform)")
    _check_probabilities(law, "initial", 1)
    _check_sums(law, "initial", 1)
    return law


def read_horizon(value: Any) -> int | None:
    """A positive number of actions, or None for a model without a horizon."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ExactRLError(f"horizon is {short(value)}, expected a positive int (the number of actions) or None")
    return int(value)


def read_discount(value: Any, horizon: int | None) -> Fraction | float:
    """The discount in [0, 1]; below 1 where there is no horizon."""
    discount = read_number(value, "discount")
    if not (math.isfinite(discount) and 0 <= discount <= 1):
        raise ExactRLError(f"discount is {discount}, expected a finite number from 0 to 1")
    if horizon is None and discount == 1:
        raise ExactRLError(
            "horizon is None and discount is 1, expected one that bounds the return: "
            "give horizon=T (the number of actions) or a discount below 1"
        )
    return discount


def _read_table(value: Any, name: str) -> Table:
    if isinstance(value, SparseTable):
        return value
    return SparseTable.from_scipy(value, name) if is_scipy_sparse(value) else read_numbers(value, name)


def _values(table: Table) -> Numbers:
    return table.values if isinstance(table, SparseTable) else table


def _name(table: Table, name: str, position: int, n_actions: int) -> str:
    """The entry at a position among the table's values, as transitions[s, a, s']."""
    if isinstance(table, SparseTable):
        return entry(name, (*divmod(int(table.rows()[position]), n_actions), int(table.columns[position])))
    return entry(name, np.unravel_index(position, table.shape))  # type: ignore[arg-type]


def _others(count: int, kind: str) -> str:
    return f" ({count} such {kind} in all)" if count > 1 else ""


def _check_finite(table: Table, name: str, n_actions: int) -> None:
    floats = _values(table).floats.reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(floats))
    if wrong.size:
        where = _name(table, name, int(wrong[0]), n_actions)
        raise ExactRLError(f"{where} is {floats[wrong[0]]}, expected a finite number{_others(wrong.size, 'entries')}")


def _check_probabilities(table: Table, name: str, n_actions: int) -> None:
    _check_finite(table, name, n_actions)
    values = _values(table)
    wrong = np.flatnonzero(values.is_negative())
    if wrong.size:
        where = _name(table, name, int(wrong[0]), n_actions)
        shown = (values.floats if values.given is None else values.given).reshape(-1)[wrong[0]]
        raise ExactRLError(f"{where} is {shown}, expected a probability, not negative{_others(wrong.size, 'entries')}")


def _check_sums(table: Table, name: str, n_actions: int) -> None:
    """Each row sums to 1: exactly for rationals, within ROW_TOLERANCE for floats."""
    sums = _row_sums(table)
    exact = _values(table).rational
    wrong = np.flatnonzero(sums != 1 if exact else ~(np.abs(sums - 1.0) <= ROW_TOLERANCE))
    if wrong.size:
        where = name if name == "initial" else entry(name, divmod(int(wrong[0]), n_actions))
        tolerance = "exactly 1" if exact else f"1 (tolerance {ROW_TOLERANCE:.0e})"
        raise ExactRLError(
            f"{where} sums to {_shown_sum(sums[wrong[0]])}, expected {tolerance}: probabilities are never renormalised"
            f"{_others(wrong.size, 'rows')}"
        )


def _row_sums(table: Table) -> NDArray[Any]:
    """Sums over the last axis, flattened: Fractions where the table holds Fractions, else floats."""
    values = _values(table)
    data: NDArray[Any] = values.floats if values.given is None else values.given
    if not isinstance(table, SparseTable):
        return np.atleast_1d(np.asarray(data.sum(axis=-1))).reshape(-1)
    sums = np.zeros(table.shape[0], dtype=data.dtype)
    np.add.at(sums, table.rows(), data)
    return sums


def _shown_sum(total: Any) -> str:
    """Enough digits to see the difference from 1, no more."""
    if isinstance(total, (Fraction, int)):
        return str(total)
    return next(text for text in (f"{total:.{digits}g}" for digits in (6, 12, 17)) if float(text) != 1)
