"""Enumeration of trajectories in blocks of constant memory.

The space is cut once: prefixes are expanded layer by layer in chunks, and the suffixes of every reachable state are
tabulated.  A block is the outer sum of the prefixes that end in a state and the suffixes that start there, so each
trajectory costs one addition for each of its three quantities; where few prefixes share a state, a block gathers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from exactrl.edges import Edges, Floats, Ints, ragged

_WORTH_AN_OUTER_SUM = 4096


@dataclass(frozen=True)
class Block:
    """Quantities of the trajectories of one block, each of shape (M,)."""

    log_policy: Floats
    returns: Floats
    log_dynamics: Floats


@dataclass(frozen=True)
class Steps:
    """What an edge adds to a trajectory: log policy probability, discounted reward and log dynamics.

    Shapes: log_policy (T, S, A), discounts (T,).
    """

    edges: Edges
    log_policy: Floats
    discounts: Floats

    def start(self) -> Floats:
        """Return the three sums (3, M) of the trajectories of length 0, one for each starting state."""
        states = self.edges.starts
        return np.stack([np.zeros(len(states)), np.zeros(len(states)), self.edges.log_initial[states]])

    def at(self, t: int, edge: Ints | slice = slice(None)) -> Floats:
        """Return the three additions (3, M) of some edges at step t."""
        edges = self.edges
        return np.stack([
            self.log_policy[t, edges.source[edge], edges.action[edge]],
            self.discounts[t] * edges.reward.floats[edge],
            edges.log_probability[edge],
        ])  # fmt: skip


def listing(steps: Steps) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """Return states (N, T+1), actions (N, T), log_policy, returns and log_dynamics (N,) of all trajectories."""
    edges, sums = steps.edges, steps.start()
    states, actions = edges.starts[:, None], np.empty((len(edges.starts), 0), dtype=np.int64)
    for t in range(len(steps.discounts)):
        position, edge = edges.expand(states[:, -1])
        states = np.concatenate([states[position], edges.target[edge, None]], axis=1)
        actions = np.concatenate([actions[position], edges.action[edge, None]], axis=1)
        sums = sums[:, position] + steps.at(t, edge)
    return states, actions, sums[0], sums[1], sums[2]


@dataclass(frozen=True)
class Suffixes:
    """The trajectories from a state to the end: columns first[s] .. first[s] + length[s] of the table (3, M)."""

    table: Floats
    first: Ints
    length: Ints


@dataclass(frozen=True)
class Blocks:
    """Iterate over the blocks of a trajectory space; memory stays near `size` trajectories whatever their number."""

    steps: Steps
    size: int = 1 << 15

    def __iter__(self) -> Iterator[Block]:
        cut, suffixes = self._suffixes()
        for states, sums in self._prefixes(cut):
            present, count = np.unique(states, return_counts=True)
            if np.sum(count * suffixes.length[present]) < _WORTH_AN_OUTER_SUM * len(present):
                yield from self._gathered(states, sums, suffixes)
                continue
            rows = np.split(np.argsort(states, kind="stable"), np.cumsum(count)[:-1])
            for s, chosen in zip(present.tolist(), rows, strict=True):
                first, length = suffixes.first[s], suffixes.length[s]
                yield from self._outer(sums[:, chosen], suffixes.table[:, first : first + length])

    def _outer(self, prefix: Floats, suffix: Floats) -> Iterator[Block]:
        width = max(1, self.size // suffix.shape[1])
        for start in range(0, prefix.shape[1], width):
            part = prefix[:, start : start + width]
            yield Block(*((p[:, None] + q[None, :]).ravel() for p, q in zip(part, suffix, strict=True)))

    def _gathered(self, states: Ints, sums: Floats, suffixes: Suffixes) -> Iterator[Block]:
        lengths = suffixes.length[states]
        ends = np.cumsum(lengths)
        start = 0
        while start < len(states):
            before = ends[start] - lengths[start]
            stop = max(start + 1, int(np.searchsorted(ends, before + self.size, side="right")))
            position, index = ragged(suffixes.first[states[start:stop]], lengths[start:stop])
            yield Block(*(sums[:, start:stop][:, position] + suffixes.table[:, index]))
            start = stop

    def _suffixes(self) -> tuple[int, Suffixes]:
        """Tabulate as many last layers as keep each table within the block size, and all within 64 blocks."""
        edges, horizon = self.steps.edges, len(self.steps.discounts)
        reachable = edges.reachable(horizon)
        states = np.flatnonzero(reachable[horizon])
        found = self._collected(states, np.zeros((3, len(states))), np.ones(len(states), dtype=np.int64))
        for t in reversed(range(horizon)):
            states = np.flatnonzero(reachable[t])
            entry, edge = edges.expand(states)
            sizes = np.bincount(entry, weights=found.length[edges.target[edge]], minlength=len(states))
            if sizes.max() > self.size or sizes.sum() > 64 * self.size:
                return t + 1, found
            position, index = ragged(found.first[edges.target[edge]], found.length[edges.target[edge]])
            table = found.table[:, index] + self.steps.at(t, edge)[:, position]
            found = self._collected(states, table, sizes.astype(np.int64))
        return 0, found

    def _collected(self, states: Ints, table: Floats, lengths: Ints) -> Suffixes:
        n_states = len(self.steps.edges.out)
        first, length = np.zeros(n_states, dtype=np.int64), np.zeros(n_states, dtype=np.int64)
        first[states], length[states] = np.cumsum(lengths) - lengths, lengths
        return Suffixes(table, first, length)

    def _prefixes(self, cut: int) -> Iterator[tuple[Ints, Floats]]:
        """Yield the prefixes up to the cut, depth first, in chunks that fit a block or expand one single state."""
        edges = self.steps.edges
        stack = [(0, edges.starts, self.steps.start())]
        while stack:
            t, states, sums = stack.pop()
            if t == cut:
                yield states, sums
                continue
            fitting = max(1, int(np.searchsorted(np.cumsum(edges.out[states]), self.size, side="right")))
            if fitting < len(states):
                stack.append((t, states[fitting:], sums[:, fitting:]))
            position, edge = edges.expand(states[:fitting])
            stack.append((t + 1, edges.target[edge], sums[:, position] + self.steps.at(t, edge)))
