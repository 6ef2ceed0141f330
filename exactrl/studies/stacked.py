r"""Models of one size side by side, so that one recursion in NumPy serves them all.

Shapes: B models, S states, A actions, K the most next states of any (s, a), H the models' own horizon (actions in an
episode).  Fewer next states than K are padded with probability 0.  Policies depend on time: log-probabilities
(H, B, S, A).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exactrl.edges import Edges, ragged
from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP

__all__ = ["Stack", "stack_of"]

MOST_NUMBERS = 2 * 10**7


@dataclass(frozen=True, eq=False)
class Stack:
    """B models of one size.

    log_probability, probability, reward (B, S, A, K); log_initial (B, S); discounts (H,), the weight of each step.
    target (B, S, A, K): the next state's place among all B S states, so that a gather serves all models at once.
    """

    log_probability: FloatArray
    probability: FloatArray
    reward: FloatArray
    target: NDArray[np.int64]
    log_initial: FloatArray
    discounts: FloatArray

    @property
    def horizon(self) -> int:
        """H, the number of actions in an episode."""
        return len(self.discounts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (B, S, A) of one step of a policy."""
        return self.target.shape[:3]

    @property
    def deterministic(self) -> bool:
        """Whether every model has one start and one next state for each action."""
        starts = np.isfinite(self.log_initial).sum(axis=-1)
        return bool((starts == 1).all() and self.target.shape[3] == 1)

    def next_values(self, values: FloatArray) -> FloatArray:
        """The values of the next states: (B, S) -> (B, S, A, K)."""
        return np.asarray(values.reshape(-1)[self.target])

    def repeated(self, count: int) -> Stack:
        """The only model of this stack, `count` times."""
        if len(self.target) != 1:
            raise ExactRLError(f"the stack has {len(self.target)} models, expected the one to repeat")
        tables = (self.log_probability, self.probability, self.reward, self.log_initial)
        logs, probability, reward, initial = (np.repeat(x, count, axis=0) for x in tables)
        shifts = np.arange(count)[:, None, None, None] * self.shape[1]
        return Stack(logs, probability, reward, self.target + shifts, initial, self.discounts)

    def uniform(self) -> FloatArray:
        """The policy that takes every action alike: log-probabilities (H, B, S, A)."""
        return np.full((self.horizon, *self.shape), -np.log(self.shape[2]))

    def random_policy(self, rng: np.random.Generator) -> FloatArray:
        """A policy drawn uniformly from the simplex in each state and step: log-probabilities (H, B, S, A)."""
        draws = rng.standard_exponential((self.horizon, *self.shape))
        return np.asarray(np.log(draws / draws.sum(axis=-1, keepdims=True)))


def stack_of(models: Sequence[FiniteMDP]) -> Stack:
    """Stack models with the same numbers of states and actions, the same horizon and discount.

    Raises ExactRLError for a model without a horizon, models that differ in size, and tables that need no end of
    memory.
    """
    sizes = {(mdp.n_states, mdp.n_actions, mdp.horizon, mdp.discount) for mdp in models}
    if len(sizes) != 1:
        raise ExactRLError(f"the models have sizes {sorted(sizes, key=str)}: expected one size for all")
    n_states, n_actions, horizon, discount = sizes.pop()
    if horizon is None:
        raise ExactRLError("the model has no horizon, expected a number of actions: give one, e.g. --horizon 10")
    edges = [Edges.of(mdp) for mdp in models]
    pairs = [edge.source * n_actions + edge.action for edge in edges]
    counts = [np.bincount(pair, minlength=n_states * n_actions) for pair in pairs]
    width = max(int(count.max()) for count in counts)
    shape = (len(models), n_states * n_actions, width)
    if np.prod(shape, dtype=object) > MOST_NUMBERS:
        raise ExactRLError(
            f"the tables have {np.prod(shape, dtype=object):,} numbers: expected at most {MOST_NUMBERS:,}"
        )
    logs, reward = np.full(shape, -np.inf), np.zeros(shape)
    target = np.zeros(shape, dtype=np.int64) + np.arange(len(models))[:, None, None] * n_states
    for b, (edge, pair, count) in enumerate(zip(edges, pairs, counts, strict=True)):
        place = ragged(np.zeros_like(count), count)[1]
        logs[b, pair, place], reward[b, pair, place] = edge.log_probability, edge.reward.floats
        target[b, pair, place] = edge.target + b * n_states
    full = (len(models), n_states, n_actions, width)
    logs, reward = logs.reshape(full), reward.reshape(full)
    initial = np.stack([edge.log_initial for edge in edges])
    discounts = discount ** np.arange(horizon, dtype=np.float64)
    return Stack(logs, np.exp(logs), reward, target.reshape(full), initial, discounts)
