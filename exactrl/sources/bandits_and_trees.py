"""The smallest models: a bandit (one decision), and a tree (every sequence of actions is a trajectory of its own)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.entries import Numbers, read_numbers
from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.sources.building import Law, build, generator, read_size

__all__ = ["bandit", "tree"]


def bandit(rewards: Any) -> FiniteMDP:
    """One state, one decision: action a earns rewards[a]. Horizon 1; exact where the rewards are rationals.

    rewards: (A,).
    """
    values = read_numbers(rewards, "rewards")
    if len(values.shape) != 1 or not values.shape[0]:
        raise ExactRLError(f"rewards has shape {values.shape}, expected (A,) with A >= 1")
    return FiniteMDP([[[1]] * values.shape[0]], values.apply(lambda data: data[np.newaxis, :]), horizon=1)


def tree(
    depth: int,
    branching: int,
    *,
    rewards: Any = None,
    seed: int | None = None,
    exact: bool = False,
    discount: Any = 1.0,
    sparse: bool = False,
) -> FiniteMDP:
    """The complete deterministic tree: from each inner node, action a leads to child a; leaves are absorbing.

    Nodes are numbered breadth first from the root 0: the children of node i are i * branching + 1 + a. Horizon `depth`;
    N = branching ** depth trajectories, one for each sequence of actions, in lexicographic order of the sequences.

    rewards: (I, branching) for the I inner nodes' edges, or (N,): each trajectory's reward, earned by its last action.
    Without them `seed` draws the edges' rewards: uniform on [-1, 1], or on {-10/10, ..., 10/10} where `exact`.
    Raises ExactRLError unless exactly one of rewards and seed is given.
    """
    depth, branching = read_size(depth, "depth"), read_size(branching, "branching")
    inner, leaves = sum(branching**level for level in range(depth)), branching**depth
    if inner + leaves > 10**6:
        raise ExactRLError(f"the tree has {inner + leaves} nodes, expected at most 10^6: lower depth or branching")
    if (rewards is None) == (seed is None):
        raise ExactRLError("tree() needs either rewards or seed, expected exactly one of them")
    if rewards is None:
        edges = _drawn(inner, branching, seed, exact)
    else:
        edges = _edges(read_numbers(rewards, "rewards"), inner, leaves, branching)
    law = Law(inner + leaves, branching)
    values: list[list[Any]] = (edges.fractions() if edges.rational else edges.floats).tolist()
    for node in range(inner):
        for action in range(branching):
            law.add(node, action, Fraction(1), node * branching + 1 + action, values[node][action])
    for leaf in range(inner, inner + leaves):
        law.absorb(leaf)
    return build(law, sparse=sparse, horizon=depth, discount=discount, initial=0)


def _drawn(inner: int, branching: int, seed: int | None, exact: bool) -> Numbers:
    rng = generator(seed)
    if exact:
        draws = rng.integers(-10, 11, size=(inner, branching)).tolist()
        return read_numbers([[Fraction(draw, 10) for draw in row] for row in draws], "rewards")
    return read_numbers(rng.uniform(-1.0, 1.0, size=(inner, branching)), "rewards")


def _edges(values: Numbers, inner: int, leaves: int, branching: int) -> Numbers:
    """Rewards of the edges (I, branching); those of trajectories (N,) move to the last edges, zero elsewhere."""
    if values.shape == (inner, branching):
        return values
    if values.shape != (leaves,):
        raise ExactRLError(f"rewards has shape {values.shape}, expected ({inner}, {branching}) or ({leaves},)")
    before = (inner - leaves // branching) * branching
    return values.apply(lambda data: np.concatenate([np.zeros(before, data.dtype), data]).reshape(inner, branching))
