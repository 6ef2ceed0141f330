r"""Finite Markov decision processes: validated, immutable, dense or sparse, over a finite horizon or discounted.

A model has states s in {0 .. S-1}, actions a in {0 .. A-1}, a kernel P(s' | s, a), rewards r(s, a) or r(s, a, s'), a
law of the first state and a bound on the return: a horizon T, which means T actions, or a discount gamma below 1. The
return of a trajectory s_0, a_0, s_1, ... is sum_t gamma^t r(s_t, a_t, s_{t+1}), its dynamics are
initial(s_0) * prod_t P(s_{t+1} | s_t, a_t).

Numbers keep what they mean: a float is its exact binary value, an int, a Fraction or a string "1/3" is that rational.
The same model can thus be evaluated in floats, in rationals and in balls (`transitions` and `transitions_exact`, and so
on). Rows must sum to 1, within 1e-10 in floats and exactly in rationals, and are never renormalised.
"""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray, FractionArray, Numbers
from exactrl.errors import ExactRLError
from exactrl.tables import SparseTable
from exactrl.validation import read_discount, read_horizon, read_initial, read_rewards, read_transitions

__all__ = ["FiniteMDP"]

_FIELDS = ("transitions", "rewards", "horizon", "discount", "initial")


class FiniteMDP:
    """A finite MDP that cannot be changed; see the module's text for what it means.

    transitions: (S, A, S), or sparse of shape (S * A, S) with row s * A + a (SciPy's, or a `SparseTable`, which can
    hold rationals). rewards: (S, A) or (S, A, S), or sparse (S * A, S); per next state kept as the transitions are.
    Entries: floats, ints, Fractions or strings such as "1/3". horizon: number of actions, or None. discount: in [0, 1],
    below 1 without a horizon. initial: (S,), or a state's index, or None for the uniform law.

    Raises ExactRLError naming the entry for whatever does not fit.
    """

    __slots__ = ("_cache", "_discount", "_horizon", "_initial", "_n_actions", "_n_states", "_rewards", "_transitions")

    _transitions: Numbers | SparseTable
    _rewards: Numbers | SparseTable
    _initial: Numbers
    _horizon: int | None
    _discount: Fraction | float
    _n_states: int
    _n_actions: int
    _cache: dict[str, Any]

    def __init__(
        self, transitions: Any, rewards: Any, *, horizon: Any = None, discount: Any = 1.0, initial: Any = None
    ) -> None:
        table, n_states, n_actions = read_transitions(transitions)
        sparse = isinstance(table, SparseTable)
        length = read_horizon(horizon)
        self._set("_transitions", table)
        self._set("_rewards", read_rewards(rewards, n_states, n_actions, sparse=sparse))
        self._set("_initial", read_initial(initial, n_states))
        self._set("_horizon", length)
        self._set("_discount", read_discount(discount, length))
        self._set("_n_states", n_states)
        self._set("_n_actions", n_actions)
        self._set("_cache", {})

    # What the model is

    @property
    def n_states(self) -> int:
        """S."""
        return self._n_states

    @property
    def n_actions(self) -> int:
        """A."""
        return self._n_actions

    @property
    def horizon(self) -> int | None:
        """T, the number of actions; None without a horizon."""
        return self._horizon

    @property
    def discount(self) -> float:
        """Discount gamma, as the nearest float."""
        return float(self._discount)

    @property
    def discount_exact(self) -> Fraction:
        """Discount gamma, as given."""
        return Fraction(self._discount)

    @property
    def transitions(self) -> Any:
        """P(s' | s, a): read-only (S, A, S), or for a sparse model a fresh CSR array (S * A, S) over read-only data."""
        return _floats(self._transitions)

    @property
    def rewards(self) -> Any:
        """Rewards: read-only (S, A) or (S, A, S), or per next state in a sparse model a CSR array (S * A, S)."""
        return _floats(self._rewards)

    @property
    def initial(self) -> FloatArray:
        """The law of the first state: read-only (S,)."""
        return self._initial.floats

    # Exact values

    @property
    def exact(self) -> bool:
        """Whether every entry of transitions, rewards and initial was given as a rational (None and an index are)."""
        tables = (self._transitions, self._rewards, self._initial)
        return all(_numbers(table).rational for table in tables)

    @property
    def transitions_exact(self) -> FractionArray:
        """P(s' | s, a) as Fractions, read-only, dense (S, A, S); computed once."""
        return self._fractions("transitions", self._transitions)

    @property
    def rewards_exact(self) -> FractionArray:
        """Rewards as Fractions, read-only, dense (S, A) or (S, A, S); computed once."""
        return self._fractions("rewards", self._rewards)

    @property
    def initial_exact(self) -> FractionArray:
        """The law of the first state as Fractions, read-only (S,)."""
        return self._fractions("initial", self._initial)

    # What follows from it

    @property
    def is_sparse(self) -> bool:
        """Whether the transitions are kept as a sparse table."""
        return isinstance(self._transitions, SparseTable)

    @property
    def is_deterministic(self) -> bool:
        """Whether the law of the first state and every row are point masses, decided on the exact values."""
        numbers = _numbers(self._transitions)
        stored = int(np.count_nonzero(~numbers.is_zero()))
        ones = int(np.count_nonzero(numbers.floats == 1.0 if numbers.given is None else numbers.given == 1))
        starts = int(np.count_nonzero(~self._initial.is_zero()))
        return starts == 1 and stored == ones == self._n_states * self._n_actions

    @property
    def expected_rewards(self) -> FloatArray:
        """Expected rewards r(s, a) = sum_s' P(s' | s, a) r(s, a, s'): read-only (S, A)."""
        if "expected_rewards" not in self._cache:
            self._cache["expected_rewards"] = _frozen(self._expect_rewards())
        result: FloatArray = self._cache["expected_rewards"]
        return result

    @property
    def expected_rewards_exact(self) -> FractionArray:
        """Expected rewards r(s, a) as Fractions: read-only (S, A)."""
        rewards = self.rewards_exact
        return rewards if rewards.ndim == 2 else _frozen((self.transitions_exact * rewards).sum(axis=-1))

    def expect_next(self, values: FloatArray) -> FloatArray:
        """Expectation over the next state in floats, sum_s' P(s' | s, a) values(s').

        Shapes: (S,) -> (S, A), or (S, K) -> (S, A, K).
        """
        matrix: Any = self.transitions if self.is_sparse else _floats(self._transitions).reshape(-1, self._n_states)
        result: FloatArray = np.asarray(matrix @ values)
        return result.reshape(self._n_states, self._n_actions, *result.shape[1:])

    # The same model otherwise

    def parts(self) -> dict[str, Any]:
        """The constructor's arguments as they are kept: `Numbers` or `SparseTable`, exact values included."""
        return {field: getattr(self, f"_{field}") for field in _FIELDS}

    def replace(self, **changes: Any) -> FiniteMDP:
        """A copy with some of transitions, rewards, horizon, discount, initial changed, validated anew."""
        unknown = sorted(set(changes) - set(_FIELDS))
        if unknown:
            raise ExactRLError(f"replace() got {', '.join(unknown)}, expected some of {', '.join(_FIELDS)}")
        return FiniteMDP(**{**self.parts(), **changes})

    def dense(self) -> FiniteMDP:
        """The same model with dense tables; the model itself where it is dense already."""
        return self if not self.is_sparse else self.replace(**self._converted(to_sparse=False))

    def sparse(self) -> FiniteMDP:
        """The same model with a sparse table; the model itself where it is sparse already."""
        return self if self.is_sparse else self.replace(**self._converted(to_sparse=True))

    # JSON

    def to_dict(self) -> dict[str, Any]:
        """The model as JSON data (schema "exactrl.mdp/1"): rationals as ints and strings "p/q", floats as numbers."""
        from exactrl.mdp_json import mdp_to_dict

        return mdp_to_dict(self)

    @classmethod
    def from_dict(cls, data: Any) -> FiniteMDP:
        """The model that `to_dict` wrote; raises ExactRLError naming the key that does not fit."""
        from exactrl.mdp_json import mdp_from_dict

        return mdp_from_dict(data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as a JSON file, all of it or nothing."""
        from exactrl.files import write_json_atomically

        write_json_atomically(path, self.to_dict(), indent=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FiniteMDP:
        """Read a model from a JSON file; raises ExactRLError naming the file, and the key or entry that is wrong."""
        from exactrl.files import read_json

        data = read_json(path)
        try:
            return cls.from_dict(data)
        except ExactRLError as error:
            raise ExactRLError(f"cannot read {path}: {error}") from error

    # An immutable value

    def __repr__(self) -> str:
        bounds = [] if self._horizon is None else [f"horizon={self._horizon}"]
        bounds += [] if self._discount == 1 else [f"discount={self._discount}"]
        kinds = ["exact" if self.exact else "float", "sparse" if self.is_sparse else "dense"]
        return f"FiniteMDP({', '.join([f'{self._n_states} states', f'{self._n_actions} actions', *bounds, *kinds])})"

    def __eq__(self, other: object) -> bool:
        """Equal models hold exactly the same numbers, dense or sparse, given as floats or as rationals."""
        if not isinstance(other, FiniteMDP):
            return NotImplemented
        one, two = (self, other) if self.is_sparse == other.is_sparse else (self.sparse(), other.sparse())
        return (
            one._horizon == two._horizon
            and one.discount_exact == two.discount_exact
            and one._initial.equals(two._initial)
            and _equal(one._transitions, two._transitions)
            and _equal(one._rewards, two._rewards)
        )

    def __hash__(self) -> int:
        parts = [_numbers(table) for table in (self._transitions, self._rewards, self._initial)]
        content = [part.floats[~part.is_zero()].tobytes() for part in parts]
        return hash((self._n_states, self._n_actions, self._horizon, self.discount_exact, *content))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, tuple(self.parts()[field] for field in _FIELDS)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"FiniteMDP is immutable: {name} cannot be set; use replace({name}=...)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"FiniteMDP is immutable: {name} cannot be deleted")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _converted(self, *, to_sparse: bool) -> dict[str, Any]:
        """Both tables in the other representation; rewards (S, A) stay as they are."""
        tables = {"transitions": self._transitions, "rewards": self._rewards}
        for name, table in tables.items():
            if isinstance(table, SparseTable):
                tables[name] = table.dense(self._n_states)
            elif to_sparse and len(table.shape) == 3:
                tables[name] = SparseTable.from_dense(table)
        return tables

    def _expect_rewards(self) -> FloatArray:
        transitions: Any = self.transitions
        rewards: Any = self.rewards
        if isinstance(self._rewards, SparseTable):
            products: FloatArray = np.asarray((transitions * rewards).sum(axis=1))
            return products.reshape(self._n_states, self._n_actions)
        result: FloatArray = rewards if rewards.ndim == 2 else np.einsum("ijk,ijk->ij", transitions, rewards)
        return result

    def _fractions(self, name: str, table: Numbers | SparseTable) -> FractionArray:
        if name not in self._cache:
            dense = table.dense(self._n_states) if isinstance(table, SparseTable) else table
            self._cache[name] = dense.fractions()
        result: FractionArray = self._cache[name]
        return result


def _rebuild(transitions: Any, rewards: Any, horizon: Any, discount: Any, initial: Any) -> FiniteMDP:
    """What pickling and copying call: the constructor with its arguments in order."""
    return FiniteMDP(transitions, rewards, horizon=horizon, discount=discount, initial=initial)


def _numbers(table: Numbers | SparseTable) -> Numbers:
    return table.values if isinstance(table, SparseTable) else table


def _floats(table: Numbers | SparseTable) -> Any:
    return table.csr() if isinstance(table, SparseTable) else table.floats


def _equal(one: Numbers | SparseTable, two: Numbers | SparseTable) -> bool:
    if isinstance(one, SparseTable) and isinstance(two, SparseTable):
        return one.equals(two)
    return isinstance(one, Numbers) and isinstance(two, Numbers) and one.equals(two)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
