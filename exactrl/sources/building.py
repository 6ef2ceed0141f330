"""What the sources share: a law written entry by entry becomes a model; sizes, seeds and probabilities are checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.entries import read_number
from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.tables import SparseTable

__all__ = ["Law", "build", "generator", "read_finite", "read_probability", "read_size"]

MAX_DENSE_ENTRIES = 10**8

Number = Fraction | float


class Law:
    """The outcomes of each (state, action), written one at a time; outcomes with the same next state add up.

    Their rewards average with the probabilities as weights, so that the expected return of any policy stays the same.
    """

    def __init__(self, n_states: int, n_actions: int) -> None:
        self.n_states = n_states
        self.n_actions = n_actions
        self._outcomes: dict[tuple[int, int], tuple[Number, Number]] = {}

    def add(self, state: int, action: int, probability: Number, following: int, reward: Number = Fraction(0)) -> None:
        """One outcome of an action; an outcome of probability zero is left out."""
        if probability == 0:
            return
        place = (state * self.n_actions + action, following)
        known, known_reward = self._outcomes.get(place, (Fraction(0), reward))
        total = known + probability
        if known_reward != reward:
            reward = (known * known_reward + probability * reward) / total
        self._outcomes[place] = (total, reward)

    def absorb(self, state: int) -> None:
        """Every action stays in the state for ever, without reward."""
        for action in range(self.n_actions):
            self.add(state, action, Fraction(1), state)

    def triplets(self) -> Iterator[tuple[int, int, Number, Number]]:
        """Row (state * A + action), next state, probability, reward of each outcome."""
        for (row, following), (probability, reward) in self._outcomes.items():
            yield row, following, probability, reward


def build(
    law: Law,
    *,
    sparse: bool,
    horizon: Any,
    discount: Any,
    initial: Any,
    rewards: Sequence[Sequence[Number]] | None = None,
) -> FiniteMDP:
    """The model of a law, with the law's rewards per next state or with `rewards` (S, A); dense unless `sparse`.

    Raises ExactRLError for a dense table beyond 10^8 entries, before it is made.
    """
    entries = law.n_states**2 * law.n_actions
    if not sparse and entries > MAX_DENSE_ENTRIES:
        raise ExactRLError(
            f"a dense table of {law.n_states} states and {law.n_actions} actions has {entries} entries, "
            f"expected at most {MAX_DENSE_ENTRIES}: ask for sparse=True"
        )
    rows, cols, probabilities, earned = (list(part) for part in zip(*law.triplets(), strict=True))

    def table(values: list[Number], name: str) -> Any:
        shape = (law.n_states * law.n_actions, law.n_states)
        result = SparseTable.from_triplets(rows, cols, values, shape, name)
        return result if sparse else result.dense(law.n_states)

    earnings = table(earned, "rewards") if rewards is None else rewards
    return FiniteMDP(table(probabilities, "transitions"), earnings, horizon=horizon, discount=discount, initial=initial)


def read_size(value: Any, name: str, least: int = 1) -> int:
    """An integer of at least `least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ExactRLError(f"{name} is {value!r}, expected an int of at least {least}")
    return int(value)


def read_finite(value: Any, name: str) -> Number:
    """A finite number, exact where it was given as a rational."""
    number = read_number(value, name)
    if not math.isfinite(number):
        raise ExactRLError(f"{name} is {number}, expected a finite number")
    return number


def read_probability(value: Any, name: str) -> Number:
    """A number from 0 to 1, exact where it was given as a rational."""
    number = read_number(value, name)
    if not 0 <= number <= 1:
        raise ExactRLError(f"{name} is {number}, expected a probability from 0 to 1")
    return number


def generator(seed: Any) -> np.random.Generator:
    """NumPy's default generator for an explicit seed."""
    return np.random.default_rng(read_size(seed, "seed", 0))
