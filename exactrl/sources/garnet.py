"""Garnet: random models of a given size and branching, drawn from a seed."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.sources.building import Law, Number, build, generator, read_size

__all__ = ["garnet"]


def garnet(
    n_states: int,
    n_actions: int,
    branching: int,
    *,
    seed: int,
    exact: bool = False,
    horizon: int | None = None,
    discount: Any = 1.0,
    initial: Any = None,
    sparse: bool = False,
) -> FiniteMDP:
    """A random model: each (state, action) has `branching` next states and a reward r(s, a) of its own.

    The next states are drawn without replacement; their probabilities are the pieces of [0, 1] between branching - 1
    uniform cuts; rewards are standard normal. Where `exact`, cuts are distinct multiples of 1/D with
    D = max(1000, 10 branching), and rewards are uniform on {-10/10, ..., 10/10}.
    Source: Archibald, McKinnon, Thomas, On the generation of Markov decision processes, 1995;
    Bhatnagar, Sutton, Ghavamzadeh, Lee, Natural actor-critic algorithms, 2009.
    """
    n_states, n_actions = read_size(n_states, "n_states"), read_size(n_actions, "n_actions")
    if read_size(branching, "branching") > n_states:
        raise ExactRLError(f"branching is {branching}, expected at most the number of states, {n_states}")
    rng = generator(seed)
    law, rewards = Law(n_states, n_actions), []
    for row in range(n_states * n_actions):
        following = rng.choice(n_states, size=branching, replace=False).tolist()
        for state, probability in zip(following, _pieces(rng, branching, exact), strict=True):
            law.add(*divmod(row, n_actions), probability, state)
        rewards.append(Fraction(int(rng.integers(-10, 11)), 10) if exact else float(rng.standard_normal()))
    pairs = [rewards[row : row + n_actions] for row in range(0, len(rewards), n_actions)]
    return build(law, rewards=pairs, sparse=sparse, horizon=horizon, discount=discount, initial=initial)


def _pieces(rng: np.random.Generator, count: int, exact: bool) -> list[Number]:
    """Lengths of the `count` pieces of [0, 1] between random cuts."""
    if not exact:
        ends = [0.0, *np.sort(rng.random(count - 1)).tolist(), 1.0]
        return [high - low for low, high in itertools.pairwise(ends)]
    unit = max(1000, 10 * count)
    cuts = [0, *sorted(rng.choice(np.arange(1, unit), size=count - 1, replace=False).tolist()), unit]
    return [Fraction(high - low, unit) for low, high in itertools.pairwise(cuts)]
