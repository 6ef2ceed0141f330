r"""Optimal soft and hard values in balls: enclosures at any precision, from the exact values of model and temperature.

A point near the fixed point is found by Newton's method on exact midpoints (soft policy iteration); what proves it are
MacQueen's bounds of one application of the operator in balls, as in `exactrl.soft_iteration`.
Shapes: S states, A actions, T horizon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from exactrl.entries import FloatArray, Numbers
from exactrl.errors import ExactRLError
from exactrl.formulas.soft_bellman import fixed_point_shifts, hard_value, log_soft_greedy, soft_maximum, temperature_gap
from exactrl.mdp import FiniteMDP
from exactrl.model_tables import Measure, read_measure, read_temperature, tables_of, working_precision
from exactrl.number_systems import namespace
from exactrl.soft_iteration import soft_policy_iteration

if TYPE_CHECKING:
    from exactrl.number_systems.balls import Balls

__all__ = ["SoftBalls", "soft_enclosure"]

_MOST_STEPS = 200


@dataclass(frozen=True, eq=False)
class SoftBalls:
    """Enclosures of the optimal values: `Balls` of shapes (S,) and (S, A), with a horizon (T + 1, S) and (T, S, A)."""

    values: Balls
    action_values: Balls


def soft_enclosure(mdp: FiniteMDP, alpha: Any, *, measure: Measure = "counting", bits: int = 128) -> SoftBalls:
    r"""Enclosures of the optimal (soft) values at any precision, from the exact values of model and temperature.

    With a horizon it is backward induction in balls.  The width falls with bits, the working precision.  Needs
    python-flint; meant for small models.
    Raises ExactRLError for a malformed temperature, measure or precision, and where a row of the model sums to so much
    more than 1 that $\gamma$ times it is not below 1.
    Source: soft Q-learning, Theorems 1-3; MacQueen 1966.
    """
    temperature, base = read_temperature(alpha), read_measure(measure, mdp.n_states, mdp.n_actions)
    with working_precision("balls", bits):
        operator = _BallOperator(mdp, temperature, base)
        if mdp.horizon is not None:
            return operator.backward(mdp.horizon)
        return operator.enclose(_float_start(mdp, alpha, measure), bits)


def _float_start(mdp: FiniteMDP, alpha: Any, measure: Measure) -> FloatArray:
    try:
        return soft_policy_iteration(mdp, alpha, measure=measure, tolerance=None, sweeps=50).values
    except ExactRLError:
        return np.zeros(mdp.n_states)


class _BallOperator:
    """The soft Bellman operator in balls."""

    def __init__(self, mdp: FiniteMDP, temperature: Fraction | float, base: Numbers | None) -> None:
        self.tables: Any = tables_of(mdp, "balls")
        self.xp: Any = namespace(self.tables.initial)
        self.alpha: Any = self.tables.temperature(temperature) if temperature else 0
        self.log_base = None if base is None else self.tables.logs(base)
        sums = mdp.transitions_exact.sum(axis=-1)
        self.masses = (min(sums.min(), 1), max(sums.max(), 1))
        if mdp.horizon is None and not mdp.discount_exact * self.masses[1] < 1:
            raise ExactRLError(
                f"a row of the transitions sums to {float(self.masses[1])!r} and the discount is {mdp.discount!r}: "
                "expected a product below 1; give the transitions as rationals"
            )

    def maximum(self, q: Any) -> Any:
        """The soft maximum; where alpha is far below the radii of q, enclosed by the hard one and the gap between."""
        found = soft_maximum(q, self.alpha, self.log_base)
        wide = np.array([not x.is_finite() for x in found.data], dtype=np.bool_)
        if not wide.any():
            return found
        counting = self.xp.asarray(np.zeros(q.shape, dtype=int))
        low, high = temperature_gap(self.alpha, counting if self.log_base is None else self.log_base, 1)
        hard = hard_value(q, self.log_base)
        return self.xp.where(wide, self.xp.enclosure(hard + low, hard + high), found)

    def backward(self, horizon: int) -> SoftBalls:
        values, action_values = [self.tables.rewards[..., 0] * 0], []
        for _ in range(horizon):
            action_values.append(self.tables.lookahead(values[-1]))
            values.append(self.maximum(action_values[-1]))
        return SoftBalls(self.xp.stack(values[::-1]), self.xp.stack(action_values[::-1]))

    def enclose(self, start: FloatArray, bits: int) -> SoftBalls:
        """Newton steps from exact midpoints, until the enclosure is narrow and gets no narrower."""
        values, best, best_width = self.xp.asarray(start), None, math.inf
        for _ in range(_MOST_STEPS):
            q = self.tables.lookahead(values)
            backed_up = self.maximum(q)
            residual = backed_up - values
            low, high = fixed_point_shifts(residual, self.tables.discount, *self.masses)
            found = SoftBalls(self._between(backed_up, low, high), self._between(q, low, high))
            width = max(float(2 * x.rad()) for x in found.values.data)
            done = width >= best_width / 2 and best_width <= 2.0 ** (-bits // 2) * (1 + self._size(values))
            if width < best_width or best is None:
                best, best_width = found, width
            if done:
                break
            values = self.xp.midpoint(values + self._correction(q, residual))
        assert best is not None
        return best

    def _between(self, x: Any, low: Any, high: Any) -> Any:
        return self.xp.enclosure(x + low, x + high)

    def _size(self, values: Any) -> float:
        return max(abs(float(x)) for x in values.data)

    def _correction(self, q: Any, residual: Any) -> Any:
        """What the chain of the greedy policy makes of the residual; the residual itself where precision fails."""
        try:
            kernel = self.tables.kernel(self.xp.midpoint(self._greedy(q)))
            correction = self.tables.solve(kernel, self.xp.midpoint(residual))
        except ZeroDivisionError:
            return residual
        return correction if all(x.is_finite() for x in correction.data) else residual

    def _greedy(self, q: Any) -> Any:
        return self.xp.exp(log_soft_greedy(self.xp.midpoint(q), self.alpha, self.log_base))
