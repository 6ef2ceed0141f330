"""Reward sequences that change from step to step: random ones, and the worst that a seeded search finds.

A sequence is a row of indices into a pool of reward tables, every one of which is scaled so that the returns of
trajectories span an interval of length 2; each table stands in the pool with its negative.
Shapes: M tables (M, S, A, K); sequences (B, T) of integers below M.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.studies.stacked import Stack
from exactrl.studies.sweeps import return_range

__all__ = ["Sequences", "reward_pool", "search_worst", "starting_sequences"]

Sequences = NDArray[np.int64]

RANDOM_TABLES = 5


def reward_pool(stack: Stack, rewards: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The model's own rewards and random ones, r(s, a) uniform and rescaled, each with its negative: (M, S, A, K)."""
    tables = [np.broadcast_to(rewards[0], stack.target.shape[1:])]
    for _ in range(RANDOM_TABLES):
        drawn = rng.uniform(-1.0, 1.0, size=(1, *stack.shape[1:], 1))
        table = np.broadcast_to(drawn, stack.target.shape).copy()
        least, greatest = return_range(stack, table)
        tables.append((table * (2 / float(greatest[0] - least[0])))[0])
    return np.asarray(np.stack([sign * table for table in tables for sign in (1.0, -1.0)]))


def search_worst(
    regret: Callable[[Sequences], FloatArray],
    first: Sequences,
    *,
    tables: int,
    rounds: int,
    rng: np.random.Generator,
) -> tuple[float, Sequences]:
    """The largest regret found and its sequence, by a search that keeps the best quarter and rewrites blocks of it.

    first (B, T): sequences to begin with; each of `rounds` further rounds tries about as many.
    """
    population, values = first, regret(first)
    for _ in range(rounds):
        order = np.argsort(-values, kind="stable")[: max(1, len(first) // 4)]
        parents, best = population[order], values[order]
        children = np.stack([_rewritten(parents[k % len(parents)], tables, rng) for k in range(len(first))])
        population, values = np.concatenate([parents, children]), np.concatenate([best, regret(children)])
    worst = int(np.argmax(values))
    return float(values[worst]), population[worst]


def starting_sequences(count: int, steps: int, tables: int, rng: np.random.Generator) -> Sequences:
    """Half of them constant over a few long stretches, the first of these constant throughout; half independent."""
    rows = rng.integers(tables, size=(count, steps))
    for k in range(0, count, 2):
        cuts = np.sort(rng.integers(1, steps + 1, size=min(k // 4, 3)))
        rows[k] = rng.integers(tables, size=len(cuts) + 1)[np.searchsorted(cuts, np.arange(steps), side="right")]
    rows[0] = 0
    return rows


def _rewritten(sequence: Sequences, tables: int, rng: np.random.Generator) -> Sequences:
    """A copy with one block of random length set to one table, or negated."""
    steps = len(sequence)
    length = int(np.ceil(steps ** rng.uniform(0.0, 1.0)))
    start = int(rng.integers(0, steps - length + 1))
    child, block = sequence.copy(), slice(start, start + length)
    child[block] = child[block] ^ 1 if rng.random() < 0.5 else rng.integers(tables)
    return child
