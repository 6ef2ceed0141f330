"""Enumeration of trajectories in blocks of constant memory.

The space is cut once: prefixes are expanded layer by layer in chunks, and the suffixes of every state are tabulated.  A
block is the outer sum of the prefixes that end in a state and the suffixes that start there, so each trajectory costs one
addition for each of its three quantities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.mdp import FiniteMDP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Quantities of the trajectories of one block, each of shape (M,)."""

    log_policy: Floats
    returns: Floats
    log_dynamics: Floats


@dataclass(frozen=True)
class Edges:
    """The positive transitions (s, a, s') of a model as flat arrays sorted by s; E of them.

    Shapes: source, action, target (E,) integers; log_probability, reward (E,); first, out (S,): where the edges of a state
    start and how many it has; matrix (S*A, S), dense or CSR.
    """

    source: Ints
    action: Ints
    target: Ints
    log_probability: Floats
    reward: Floats
    first: Ints
    out: Ints
    log_initial: Floats
    discount: float
    matrix: Any

    @classmethod
    def of(cls, mdp: FiniteMDP) -> Edges:
        """Read the edges off a model, in the order of (s, a, s')."""
        n_states, n_actions = mdp.n_states, mdp.n_actions
        if mdp.is_sparse:
            matrix = mdp.transitions
            coordinates = matrix.tocoo()
            order = np.lexsort((coordinates.col, coordinates.row))
            row, target = coordinates.row[order].astype(np.int64), coordinates.col[order].astype(np.int64)
            probability = coordinates.data[order]
            row, target, probability = (x[probability > 0] for x in (row, target, probability))
        else:
            matrix = np.asarray(mdp.transitions).reshape(n_states * n_actions, n_states)
            row, target = np.nonzero(matrix > 0)
            probability = matrix[row, target]
        source, action = row // n_actions, row % n_actions
        out = np.bincount(source, minlength=n_states)
        with np.errstate(divide="ignore"):
            log_initial = np.log(np.asarray(mdp.initial, dtype=np.float64))
        return cls(
            source, action, target, np.log(probability), _edge_rewards(mdp, source, action, target),
            np.concatenate([[0], np.cumsum(out)[:-1]]), out, log_initial, float(mdp.discount), matrix,
        )  # fmt: skip

    @cached_property
    def starts(self) -> Ints:
        """The states with positive initial probability."""
        return np.flatnonzero(np.isfinite(self.log_initial))

    def count(self, horizon: int) -> int:
        """Count the trajectories of the horizon exactly, in Python integers."""
        return sum(self.counts(horizon)[s] for s in self.starts.tolist())

    def counts(self, horizon: int) -> list[int]:
        """Count the trajectories of the horizon from every state."""
        counts = [1] * len(self.out)
        pairs = list(zip(self.source.tolist(), self.target.tolist(), strict=True))
        for _ in range(horizon):
            following = [0] * len(counts)
            for s, target in pairs:
                following[s] += counts[target]
            counts = following
        return counts

    def step_tables(self, horizon: int, log_policy: Floats) -> tuple[Floats, Floats]:
        """Return the log policy probability (T, E) and the discounted reward (T, E) of every edge at every step."""
        discounts = self.discount ** np.arange(horizon)
        return log_policy[:, self.source, self.action], discounts[:, None] * self.reward[None, :]

    def expand(self, states: Ints) -> tuple[Ints, Ints]:
        """Return, for every continuation of every entry by one edge, the entry's position and the edge."""
        repeats = self.out[states]
        position = np.repeat(np.arange(len(states)), repeats)
        before = np.cumsum(repeats) - repeats
        edge = np.arange(len(position)) - before[position] + self.first[states][position]
        return position, edge

    def listing(self, horizon: int, log_policy: Floats) -> tuple[Ints, Ints, Floats, Floats, Floats]:
        """Return states (N, T+1), actions (N, T), log_policy, returns and log_dynamics (N,) of all trajectories."""
        policy, reward = self.step_tables(horizon, log_policy)
        states, actions = self.starts[:, None], np.empty((len(self.starts), 0), dtype=np.int64)
        sums = np.stack([np.zeros(len(states)), np.zeros(len(states)), self.log_initial[self.starts]])
        for t in range(horizon):
            position, edge = self.expand(states[:, -1])
            states = np.concatenate([states[position], self.target[edge, None]], axis=1)
            actions = np.concatenate([actions[position], self.action[edge, None]], axis=1)
            sums = sums[:, position] + np.stack([policy[t, edge], reward[t, edge], self.log_probability[edge]])
        return states, actions, sums[0], sums[1], sums[2]


def _edge_rewards(mdp: FiniteMDP, source: Ints, action: Ints, target: Ints) -> Floats:
    rewards = mdp.rewards
    if getattr(rewards, "ndim", 0) == 3:
        return np.asarray(rewards[source, action, target], dtype=np.float64)
    if not isinstance(rewards, np.ndarray):  # a sparse (S*A, S) matrix of rewards per successor
        return np.asarray(rewards.tocsr()[source * mdp.n_actions + action, target], dtype=np.float64).ravel()
    return np.asarray(rewards[source, action], dtype=np.float64)


@dataclass(frozen=True)
class Blocks:
    """Iterate over the blocks of a trajectory space; memory stays near `size` trajectories whatever their number."""

    edges: Edges
    horizon: int
    log_policy: Floats
    size: int = 1 << 15

    def __iter__(self) -> Iterator[Block]:
        policy, reward = self.edges.step_tables(self.horizon, self.log_policy)
        cut, suffixes = self._suffixes(policy, reward)
        for states, sums in self._prefixes(cut, policy, reward):
            order = np.argsort(states, kind="stable")
            present, first = np.unique(states[order], return_index=True)
            for s, rows in zip(present.tolist(), np.split(order, first[1:]), strict=True):
                yield from self._outer(sums[:, rows], suffixes[s])

    def _outer(self, prefix: Floats, suffix: Floats) -> Iterator[Block]:
        width = max(1, self.size // suffix.shape[1])
        for start in range(0, prefix.shape[1], width):
            part = prefix[:, start : start + width]
            yield Block(*((p[:, None] + q[None, :]).ravel() for p, q in zip(part, suffix, strict=True)))

    def _suffixes(self, policy: Floats, reward: Floats) -> tuple[int, list[Floats]]:
        """Tabulate the last layers: as many as keep each state's table within the block size."""
        edges, n_states = self.edges, len(self.edges.out)
        tables = [np.zeros((3, 1)) for _ in range(n_states)]
        for t in reversed(range(self.horizon)):
            sizes = np.bincount(
                edges.source, weights=[tables[s].shape[1] for s in edges.target.tolist()], minlength=n_states
            )
            if sizes.max() > self.size or sizes.sum() > 64 * self.size:
                return t + 1, tables
            step = np.stack([policy[t], reward[t], edges.log_probability])
            tables = [
                np.concatenate([tables[edges.target[e]] + step[:, e, None] for e in range(f, f + n)], axis=1)
                for f, n in zip(edges.first.tolist(), edges.out.tolist(), strict=True)
            ]
        return 0, tables

    def _prefixes(self, cut: int, policy: Floats, reward: Floats) -> Iterator[tuple[Ints, Floats]]:
        """Yield the prefixes up to the cut in chunks, depth first."""
        edges = self.edges
        zeros = np.zeros(len(edges.starts))
        stack = [(0, edges.starts, np.stack([zeros, zeros, edges.log_initial[edges.starts]]))]
        while stack:
            t, states, sums = stack.pop()
            if t == cut:
                yield states, sums
                continue
            position, edge = edges.expand(states)
            following = sums[:, position] + np.stack([policy[t, edge], reward[t, edge], edges.log_probability[edge]])
            for start in range(0, len(edge), self.size):
                part = slice(start, start + self.size)
                stack.append((t + 1, edges.target[edge[part]], following[:, part]))
