"""The edges of a model: its positive transitions (s, a, s') as flat arrays, exact values included.

Whether a transition is possible is decided on the exact value, so a rational such as 10^-1000, whose nearest float is
0, is an edge like any other: floats see its logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import Numbers
from exactrl.mdp import FiniteMDP
from exactrl.tables import SparseTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Edges:
    """The positive transitions (s, a, s') of a model in the order of (s, a, s'); E of them.

    Shapes: source, action, target, probability, reward, log_probability (E,); initial, log_initial (S,); first and
    out (S,), where the edges of a state start and how many it has.  Every state has at least one.
    """

    source: Ints
    action: Ints
    target: Ints
    probability: Numbers
    reward: Numbers
    initial: Numbers
    log_probability: Floats
    log_initial: Floats
    first: Ints
    out: Ints

    @classmethod
    def of(cls, mdp: FiniteMDP) -> Edges:
        """Read the edges off a model."""
        parts = mdp.parts()
        row, target, probability = _positive(parts["transitions"], mdp.n_states)
        source, action = row // mdp.n_actions, row % mdp.n_actions
        out = np.bincount(source, minlength=mdp.n_states).astype(np.int64)
        reward = _edge_rewards(parts["rewards"], row, target, mdp.n_states)
        return cls(
            source, action, target, probability, reward, parts["initial"],
            probability.logs(), parts["initial"].logs(), np.cumsum(out) - out, out,
        )  # fmt: skip

    @cached_property
    def starts(self) -> Ints:
        """The states with positive initial probability."""
        return np.flatnonzero(~self.initial.is_zero())

    def count(self, horizon: int) -> int:
        """Count the trajectories of the horizon exactly: a Python integer, however large."""
        counts = np.full(len(self.out), 1, dtype=object)
        for _ in range(horizon):
            counts = np.add.reduceat(counts[self.target], self.first)
        return int(np.sum(counts[self.starts]))

    def reachable(self, horizon: int) -> NDArray[np.bool_]:
        """Return which states some trajectory visits after t actions, (T+1, S)."""
        visited = np.zeros((horizon + 1, len(self.out)), dtype=np.bool_)
        visited[0, self.starts] = True
        for t in range(horizon):
            visited[t + 1, self.target[visited[t, self.source]]] = True
        return visited

    def expand(self, states: Ints) -> tuple[Ints, Ints]:
        """Return, for every continuation of every entry by one edge, the entry's position and the edge."""
        return ragged(self.first[states], self.out[states])


def ragged(first: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Return, for each of the lengths[k] items of every k, its k and its index first[k], first[k] + 1, ..."""
    position = np.repeat(np.arange(len(lengths)), lengths)
    before = np.cumsum(lengths) - lengths
    return position, np.arange(len(position)) + (first - before)[position]


def _positive(table: Numbers | SparseTable, n_states: int) -> tuple[Ints, Ints, Numbers]:
    """The rows, columns and values of the entries that are not exactly zero, in their order."""
    if isinstance(table, SparseTable):
        return table.rows(), table.columns, table.values
    places = np.flatnonzero(~table.is_zero())
    return places // n_states, places % n_states, table.apply(lambda data: data.reshape(-1)[places])


def _edge_rewards(table: Numbers | SparseTable, row: Ints, target: Ints, n_states: int) -> Numbers:
    if not isinstance(table, SparseTable):
        place = row if len(table.shape) == 2 else row * n_states + target
        return table.apply(lambda data: data.reshape(-1)[place])
    stored, wanted = table.rows() * n_states + table.columns, row * n_states + target
    position = np.searchsorted(stored, wanted)
    found = np.append(stored, -1)[position] == wanted

    def pick(data: NDArray[Any]) -> NDArray[Any]:
        zero = Fraction(0) if data.dtype == object else 0.0
        padded = np.append(data, np.array([zero], dtype=data.dtype))
        return padded[np.where(found, position, len(data))]

    return table.values.apply(pick)
