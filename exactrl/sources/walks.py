"""Walks: the chain of Strens, the river swim, and grids with walls, holes and a goal.

A slip or current given as a rational ("1/10", Fraction(1, 10)) keeps the model exact; as a float it does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.sources.building import Law, build, read_finite, read_probability, read_size

__all__ = ["chain", "grid", "river_swim"]

Cell = tuple[int, int]

_MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


def chain(
    length: int = 5,
    *,
    slip: Any = 0,
    small: Any = 2,
    large: Any = 10,
    horizon: int | None = None,
    discount: Any = 1.0,
    initial: Any = 0,
    sparse: bool = False,
) -> FiniteMDP:
    """The chain: action 0 goes one state forward, action 1 back to state 0; with probability `slip` the other happens.

    Going back earns `small`; going forward earns nothing, but in the last state, where one stays, it earns `large`.
    Strens' own has slip "1/5". Source: Strens, A Bayesian framework for reinforcement learning, 2000.
    """
    length, slip = read_size(length, "length", 2), read_probability(slip, "slip")
    small, large = read_finite(small, "small"), read_finite(large, "large")
    law = Law(length, 2)
    for state in range(length):
        ahead = (min(state + 1, length - 1), large if state == length - 1 else Fraction(0))
        for action, (intended, other) in enumerate(((ahead, (0, small)), ((0, small), ahead))):
            law.add(state, action, 1 - slip, *intended)
            law.add(state, action, slip, *other)
    return build(law, sparse=sparse, horizon=horizon, discount=discount, initial=initial)


def river_swim(
    length: int = 6,
    *,
    horizon: int | None = None,
    discount: Any = 1.0,
    initial: Any = 0,
    sparse: bool = False,
) -> FiniteMDP:
    """The river swim, exact: action 0 drifts left, action 1 swims right against the current.

    Swimming from an inner state goes right, stays, goes left with 7/20, 12/20, 1/20; from the left bank right or stays
    with 3/5, 2/5; from the right bank stays or goes left with 3/5, 2/5. Drifting at the left bank earns 1/200, swimming
    at the right bank 1. Source: Osband, Russo, Van Roy, (More) efficient reinforcement learning via posterior
    sampling, 2013, after Strehl and Littman, 2008.
    """
    length = read_size(length, "length", 2)
    law, last = Law(length, 2), length - 1
    for state in range(length):
        law.add(state, 0, Fraction(1), max(state - 1, 0))
    for state in range(1, last):
        for following, twentieths in ((state + 1, 7), (state, 12), (state - 1, 1)):
            law.add(state, 1, Fraction(twentieths, 20), following)
    for state, following, fifths in ((0, 1, 3), (0, 0, 2), (last, last, 3), (last, last - 1, 2)):
        law.add(state, 1, Fraction(fifths, 5), following)
    rewards = [[Fraction(state == 0, 200), Fraction(state == last)] for state in range(length)]
    return build(law, rewards=rewards, sparse=sparse, horizon=horizon, discount=discount, initial=initial)


def grid(
    rows: int,
    cols: int,
    *,
    start: Cell = (0, 0),
    goal: Cell | None = None,
    walls: Iterable[Cell] = (),
    holes: Iterable[Cell] = (),
    slip: Any = 0,
    step_reward: Any = 0,
    goal_reward: Any = 1,
    horizon: int | None = None,
    discount: Any = 1.0,
    sparse: bool = False,
) -> FiniteMDP:
    """A grid: actions 0 .. 3 go up, right, down, left; with probability `slip` one goes to either side instead, evenly.

    States are the cells without walls, row by row. A move into a wall or over the edge stays. Every move earns
    `step_reward`, the one that enters the goal `goal_reward` besides. Goal (default: the last cell) and holes absorb.
    """
    rows, cols = read_size(rows, "rows"), read_size(cols, "cols")
    solid = {_cell(cell, rows, cols, "walls") for cell in walls}
    ends = {_cell(cell, rows, cols, "holes") for cell in holes}
    target = _cell((rows - 1, cols - 1) if goal is None else goal, rows, cols, "goal")
    first = _cell(start, rows, cols, "start")
    for name, cell in (("start", first), ("goal", target)):
        if cell in solid or cell in ends:
            raise ExactRLError(f"{name} {cell} is a wall or a hole, expected a free cell")
    slip, step = read_probability(slip, "slip"), read_finite(step_reward, "step_reward")
    bonus = read_finite(goal_reward, "goal_reward")
    free = [(row, col) for row in range(rows) for col in range(cols) if (row, col) not in solid]
    state_of = {cell: state for state, cell in enumerate(free)}
    law = Law(len(free), 4)
    for cell, state in state_of.items():
        if cell == target or cell in ends:
            law.absorb(state)
            continue
        for action, (turn, probability) in itertools.product(range(4), ((0, 1 - slip), (1, slip / 2), (3, slip / 2))):
            reached = _moved(cell, (action + turn) % 4)
            reached = reached if reached in state_of else cell
            law.add(state, action, probability, state_of[reached], step + bonus if reached == target else step)
    return build(law, sparse=sparse, horizon=horizon, discount=discount, initial=state_of[first])


def _moved(cell: Cell, direction: int) -> Cell:
    down, right = _MOVES[direction]
    return cell[0] + down, cell[1] + right


def _cell(value: Any, rows: int, cols: int, name: str) -> Cell:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ExactRLError(f"{name} holds {value!r}, expected a cell (row, column)")
    row, col = (read_size(part, f"a coordinate of {name}", 0) for part in value)
    if row >= rows or col >= cols:
        raise ExactRLError(f"{name} holds {(row, col)}, expected a cell of the {rows} x {cols} grid, counted from 0")
    return row, col
