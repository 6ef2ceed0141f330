"""A finite MDP as JSON data, schema "exactrl.mdp/1": every key required, none unknown, numbers exactly as given.

    {"schema": "exactrl.mdp/1", "n_states": S, "n_actions": A, "horizon": T or null, "discount": number,
     "initial": [S numbers], "transitions": table, "rewards": table}

A number is a JSON number with a point or an exponent for a float, a JSON integer or a string "p/q" for a rational. A
table is nested lists, or {"rows": [...], "cols": [...], "values": [...]} with row s * A + a for a sparse one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import Numbers, short
from exactrl.errors import ExactRLError
from exactrl.tables import SparseTable

if TYPE_CHECKING:
    from exactrl.mdp import FiniteMDP

__all__ = ["SCHEMA", "mdp_from_dict", "mdp_to_dict"]

SCHEMA = "exactrl.mdp/1"

_KEYS = ("schema", "n_states", "n_actions", "horizon", "discount", "initial", "transitions", "rewards")
_TRIPLETS = ("rows", "cols", "values")


def mdp_to_dict(mdp: FiniteMDP) -> dict[str, Any]:
    """The model as JSON data; `mdp_from_dict` gives back an equal model, number for number."""
    parts = mdp.parts()
    return {
        "schema": SCHEMA,
        "n_states": mdp.n_states,
        "n_actions": mdp.n_actions,
        "horizon": mdp.horizon,
        "discount": _number(parts["discount"]),
        "initial": _numbers(parts["initial"]),
        "transitions": _table(parts["transitions"]),
        "rewards": _table(parts["rewards"]),
    }


def mdp_from_dict(data: Any) -> FiniteMDP:
    """The model that JSON data describe.

    Raises ExactRLError naming the key for an unknown or missing key, a wrong type, another schema, and sizes that
    differ from the tables'; and what FiniteMDP raises for the numbers.
    """
    from exactrl.mdp import FiniteMDP

    _check_keys(data, _KEYS, "the model")
    if data["schema"] != SCHEMA:
        raise ExactRLError(f"the model's schema is {short(data['schema'])}, expected {SCHEMA!r}")
    n_states, n_actions = (_size(data[key], key) for key in ("n_states", "n_actions"))
    if not isinstance(data["initial"], list):
        raise ExactRLError(f"the model's initial is of type {type(data['initial']).__name__}, expected a list")
    shape = (n_states * n_actions, n_states)
    transitions, rewards = (_read_table(data[key], key, shape) for key in ("transitions", "rewards"))
    options = {key: data[key] for key in ("horizon", "discount", "initial")}
    mdp = FiniteMDP(transitions, rewards, **options)
    for key, found in (("n_states", mdp.n_states), ("n_actions", mdp.n_actions)):
        if data[key] != found:
            raise ExactRLError(f"the model's {key} is {short(data[key])}, but its transitions have {found}")
    return mdp


def _number(value: Fraction | float) -> int | float | str:
    if isinstance(value, float):
        return value
    try:
        return value.numerator if value.denominator == 1 else str(value)
    except ValueError as error:
        raise ExactRLError(f"a rational of the model has too many digits to be written: {error}") from error


def _numbers(numbers: Numbers) -> Any:
    """Nested lists of JSON numbers."""
    if not numbers.rational:
        return numbers.floats.tolist()
    written: NDArray[np.object_] = np.asarray(np.frompyfunc(_number, 1, 1)(numbers.fractions()), dtype=object)
    return written.tolist()


def _table(table: Numbers | SparseTable) -> Any:
    if isinstance(table, Numbers):
        return _numbers(table)
    return {"rows": table.rows().tolist(), "cols": table.columns.tolist(), "values": _numbers(table.values)}


def _read_table(value: Any, key: str, shape: tuple[int, int]) -> Any:
    if isinstance(value, list):
        return value
    _check_keys(value, _TRIPLETS, f"the model's {key}", "a list, or an object with rows, cols and values")
    for part in _TRIPLETS:
        if not isinstance(value[part], list):
            raise ExactRLError(f"the model's {key}.{part} is of type {type(value[part]).__name__}, expected a list")
    return SparseTable.from_triplets(value["rows"], value["cols"], value["values"], shape, key)


def _check_keys(value: Any, keys: tuple[str, ...], name: str, expected: str = "an object") -> None:
    if not isinstance(value, dict):
        raise ExactRLError(f"{name} is of type {type(value).__name__}, expected {expected}")
    unknown = sorted(str(key) for key in value.keys() - set(keys))
    if unknown:
        raise ExactRLError(f"{name} has the unknown key {short(unknown[0])}, expected {', '.join(keys)}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise ExactRLError(f"{name} lacks the key {missing[0]!r}, expected {', '.join(keys)}")


def _size(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ExactRLError(f"the model's {key} is {short(value)}, expected a positive integer")
    return value
