r"""Optimal soft and hard values between proven bounds: soft value iteration, soft policy iteration, and balls.

The soft Bellman operator of a discounted model is $(\mathcal TV)(s)=\alpha\log\sum_ab(a)\exp\{Q_V(s,a)/\alpha\}$ with
$Q_V=r+\gamma PV$; for $\alpha=0$ it is the maximum of $Q_V$.  It is monotone, and adding c to V adds $\gamma c$, so
that *any* V encloses the fixed point (MacQueen's bounds): with the residual $\delta=\mathcal TV-V$,

    $\mathcal TV+\frac\gamma{1-\gamma}\min\delta\le V^*\le\mathcal TV+\frac\gamma{1-\gamma}\max\delta$

and $Q^*$ lies as near to $Q_V$.  How V was found does not matter: both iterations stop by these bounds, never by a
distance between iterates.

In floats the bounds hold for the exact binary values of the model, rounding included.  They rest on IEEE double
precision, on sums of n products that err by at most n half units whatever their order, and on NumPy's exp and log
erring by at most 4 units in the last place.  `soft_balls.soft_enclosure` computes in balls and rests on none of this.

Shapes: S states, A actions, T horizon.  $\alpha\ge0$; base measures as in `exactrl.evaluation`.
Source: soft Q-learning, Theorems 1-4; MacQueen 1966; Porteus 1971.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from exactrl.distributions import ROW_TOLERANCE, finite_array
from exactrl.entries import FloatArray, read_number, short
from exactrl.errors import ExactRLError
from exactrl.formulas.soft_bellman import fixed_point_shifts, log_soft_greedy, soft_maximum
from exactrl.mdp import FiniteMDP
from exactrl.model_tables import FloatTables, Measure, read_measure, read_temperature

__all__ = [
    "SoftBounds",
    "soft_backward_induction",
    "soft_bounds",
    "soft_policy_iteration",
    "soft_value_iteration",
]

_UNIT = 2.0**-53
# Allowances are sums of first-order terms, computed in floats: a hundredth more covers the rest of both.
_MARGIN = 1.01
_TINY = 1e-290
# The mass of a row, which its tolerance and the rounding of the factor gamma / (1 - gamma) may move.
_MASSES = (1 - 2 * ROW_TOLERANCE, 1 + 2 * ROW_TOLERANCE)


@dataclass(frozen=True, eq=False)
class SoftBounds:
    r"""Proven bounds of the optimal values, and the policy that is soft greedy for the point between them.

    Shapes: values_lower, values_upper (S,), action_values_lower, action_values_upper and log_policy (S, A); with a
    horizon (T + 1, S), (T, S, A).  For alpha = 0 the policy takes the first of the best actions.
    sweeps: how often the operator was applied.
    """

    values_lower: FloatArray
    values_upper: FloatArray
    action_values_lower: FloatArray
    action_values_upper: FloatArray
    log_policy: FloatArray
    sweeps: int

    @property
    def values(self) -> FloatArray:
        """The middle of the bounds of V*."""
        return self.values_lower / 2 + self.values_upper / 2

    @property
    def action_values(self) -> FloatArray:
        """The middle of the bounds of Q*."""
        return self.action_values_lower / 2 + self.action_values_upper / 2

    @property
    def width(self) -> float:
        """The greatest distance between two bounds."""
        widths = (self.values_upper - self.values_lower, self.action_values_upper - self.action_values_lower)
        return max(float(x.max()) for x in widths)


# The operator in floats, with what rounding can do


class _Operator:
    """One application of the soft Bellman operator in floats, with its proven errors."""

    def __init__(self, mdp: FiniteMDP, alpha: Any, measure: Measure) -> None:
        self.tables = FloatTables(mdp)
        temperature, base = read_temperature(alpha), read_measure(measure, mdp.n_states, mdp.n_actions)
        self.alpha: Any = self.tables.temperature(temperature) if temperature else 0
        self.log_base = None if base is None else self.tables.logs(base)
        self.mdp = mdp
        self.terms = _longest_row(mdp)
        rewards = self.tables.mdp.rewards
        self.largest_reward = float(np.abs(rewards.data if hasattr(rewards, "indptr") else rewards).max(initial=0))
        self._refuse_overflow()

    def _refuse_overflow(self) -> None:
        """Refuse values beyond float64: every step earns at most a reward and alpha times the entropy."""
        logs = self._largest_log()
        length = 1 / (1 - self.mdp.discount) if self.mdp.horizon is None else self.mdp.horizon
        most = length * (self.largest_reward + float(self.alpha) * (logs + math.log(self.mdp.n_actions)))
        if not most < 1e300:
            raise ExactRLError(
                f"alpha is {float(self.alpha):g} and rewards are up to {self.largest_reward:g}: the values exceed "
                "float64; scale both down, or use soft_enclosure"
            )

    def _largest_log(self) -> float:
        if self.log_base is None:
            return 0.0
        return float(np.abs(self.log_base[np.isfinite(self.log_base)]).max())

    def apply(self, values: FloatArray) -> _Step:
        """Q_V and TV, how far each may be from its exact value, and what to add to them for the bounds."""
        q = self.tables.lookahead(values)
        backed_up = soft_maximum(q, self.alpha, self.log_base)
        residual = backed_up - values
        size = _size(values)
        most_q = self.largest_reward + self.mdp.discount * size
        rounded = _MARGIN * _UNIT * (self.terms + 8) * most_q + _TINY
        error = rounded + self._maximum_error(_size(backed_up))
        size = max(size, most_q, _size(backed_up))
        least, most = float(residual.min()), float(residual.max())
        slack = error + _MARGIN * _UNIT * 2 * size
        low, high = fixed_point_shifts(np.array([least - slack, most + slack]), self.mdp.discount, *_MASSES)
        slack = _MARGIN * _UNIT * 4 * (size + abs(float(low)) + abs(float(high)))
        distance = max(abs(least), abs(most))
        return _Step(q, backed_up, residual, rounded, error, float(low) - slack, float(high) + slack, distance)

    def _maximum_error(self, size: float) -> float:
        r"""What the soft maximum adds: of its sum (in logs), times alpha, and of adding the largest value back.

        A term exp(y + log b - top) errs by 5 half units of |y|, 10 of |log b|, one of |top| and 8 of exp itself;
        weighted by the terms, their exponents add up to A / e at most, and |top| is at most the greatest |log b|.  The
        sum errs by A half units, its logarithm by 8 of at most log A.  The hard maximum is exact.
        """
        if not self.alpha:
            return 0.0
        actions, logs = self.mdp.n_actions, self._largest_log()
        relative = 12 * actions + 32 * (1 + logs + math.log(actions))
        return _MARGIN * _UNIT * (relative * float(self.alpha) + 4 * size) + _TINY

    def log_policy(self, q: FloatArray) -> FloatArray:
        """The soft greedy policy; for alpha = 0 the first of the best actions."""
        return log_soft_greedy(q, self.alpha, self.log_base)

    def newton(self, step: _Step) -> FloatArray:
        """The value of the soft greedy policy: TV = V + residual, and the residual again through its chain."""
        kernel = self.tables.kernel(np.exp(self.log_policy(step.q)))
        correction: FloatArray = self.tables.solve(kernel, step.residual, accuracy=1e-4)
        return step.backed_up - step.residual + correction


@dataclass(frozen=True)
class _Step:
    """One application to some V: Q_V and TV with their errors; low and high, to be added to both; |TV - V|."""

    q: FloatArray
    backed_up: FloatArray
    residual: FloatArray
    q_error: float
    error: float
    low: float
    high: float
    distance: float

    @property
    def width(self) -> float:
        return self.high - self.low + 2 * self.error

    def spent(self, before: float) -> bool:
        """Whether another sweep has nothing to gain: the residual is far within its error, or near it and not falling.

        Rounding alone can keep a residual at twice the error.
        """
        return self.distance <= self.error / 16 or before <= self.distance <= 4 * self.error

    def bounds(self, operator: _Operator, sweeps: int) -> SoftBounds:
        shifts = (self.low - self.error, self.high + self.error, self.low - self.q_error, self.high + self.q_error)
        values, q = self.backed_up, self.q
        return SoftBounds(
            values + shifts[0], values + shifts[1], q + shifts[2], q + shifts[3], operator.log_policy(q), sweeps
        )


def _size(x: FloatArray) -> float:
    return max(abs(float(x.max())), abs(float(x.min())))


def _longest_row(mdp: FiniteMDP) -> int:
    transitions = mdp.transitions
    return int(np.diff(transitions.indptr).max()) if mdp.is_sparse else mdp.n_states


# The iterations


def soft_bounds(mdp: FiniteMDP, values: Any, alpha: Any, *, measure: Measure = "counting") -> SoftBounds:
    r"""Bounds of V* and Q* that any values (S,) prove by one application of the operator.

    Raises ExactRLError for a model with a horizon, values of another shape, a malformed temperature or measure.
    Source: MacQueen 1966; soft Q-learning, App. A.2.
    """
    operator = _discounted(mdp, alpha, measure)
    return operator.apply(_start(mdp, values)).bounds(operator, 1)


def soft_value_iteration(
    mdp: FiniteMDP, alpha: Any, *, measure: Measure = "counting", tolerance: float | None = 1e-8,
    start: Any = None, sweeps: int = 100_000,
) -> SoftBounds:  # fmt: skip
    r"""Soft Q-iteration $V\leftarrow\mathcal TV$, until the proven bounds are no further apart than the tolerance.

    start: values (S,), or None for zeros.  tolerance None: as narrow as floats can prove for this iteration.
    Raises ExactRLError where the tolerance is less than floats can prove, where it is not reached within the sweeps,
    and for malformed input.
    Source: soft Q-learning, Theorem 3.
    """
    return _iterate(_discounted(mdp, alpha, measure), _start(mdp, start), tolerance, sweeps, newton=False)


def soft_policy_iteration(
    mdp: FiniteMDP, alpha: Any, *, measure: Measure = "counting", tolerance: float | None = 1e-8,
    start: Any = None, sweeps: int = 1_000,
) -> SoftBounds:  # fmt: skip
    r"""Soft policy iteration, Newton's method on the soft Bellman equation, until the bounds are close enough.

    Each sweep evaluates the soft greedy policy: fast where the model mixes slowly or the discount is close to 1.
    start, tolerance, sweeps and what is raised: as for `soft_value_iteration`.
    Source: soft Q-learning, Theorem 4 and Eq. 21.
    """
    return _iterate(_discounted(mdp, alpha, measure), _start(mdp, start), tolerance, sweeps, newton=True)


def _iterate(operator: _Operator, values: FloatArray, tolerance: Any, sweeps: Any, *, newton: bool) -> SoftBounds:
    tolerance, sweeps = _read_tolerance(tolerance), _read_sweeps(sweeps)
    before, width = math.inf, math.inf
    for count in range(1, sweeps + 1):
        step = operator.apply(values)
        width = step.width
        if tolerance is not None and width <= tolerance:
            return step.bounds(operator, count)
        if step.spent(before):
            if tolerance is None:
                return step.bounds(operator, count)
            raise ExactRLError(
                f"tolerance is {tolerance:g}: float64 proves only {width:.1e} for this model; "
                "expected more than that, or None for as narrow as it gets; soft_enclosure proves less"
            )
        before = step.distance
        values = operator.newton(step) if newton else step.backed_up + (step.low + step.high) / 2
    wanted = "as little as floats can prove" if tolerance is None else f"{tolerance:g}"
    raise ExactRLError(f"the bounds are {width:.1e} apart after {sweeps} sweeps: expected {wanted}; allow more sweeps")


def _discounted(mdp: FiniteMDP, alpha: Any, measure: Measure) -> _Operator:
    if mdp.horizon is not None:
        raise ExactRLError(
            f"the model has a horizon of {mdp.horizon}: expected a discounted model without one, "
            "mdp.replace(horizon=None); or use soft_backward_induction"
        )
    if not mdp.discount * _MASSES[1] < 1:
        raise ExactRLError(f"discount is {mdp.discount!r}: expected at most 1 - {2 * ROW_TOLERANCE:g} in floats")
    return _Operator(mdp, alpha, measure)


def _start(mdp: FiniteMDP, values: Any) -> FloatArray:
    if values is None:
        return np.zeros(mdp.n_states)
    found = finite_array("values", values)
    if found.shape != (mdp.n_states,):
        raise ExactRLError(f"values has shape {found.shape}: expected ({mdp.n_states},)")
    return found


def _read_tolerance(tolerance: Any) -> float | None:
    if tolerance is None:
        return None
    value = float(read_number(tolerance, "tolerance"))
    if not 0 < value < math.inf:
        raise ExactRLError(f"tolerance is {value}: expected a positive finite width, or None")
    return value


def _read_sweeps(sweeps: Any) -> int:
    if isinstance(sweeps, bool) or not isinstance(sweeps, (int, np.integer)) or sweeps < 1:
        raise ExactRLError(f"sweeps is {short(sweeps)}: expected a positive int")
    return int(sweeps)


# With a horizon


def soft_backward_induction(mdp: FiniteMDP, alpha: Any, *, measure: Measure = "counting") -> SoftBounds:
    r"""Proven bounds of the optimal (soft) values over a horizon, by $V_t=\mathcal TV_{t+1}$ from $V_{T+1}=0$.

    Raises ExactRLError for a model without a horizon, a malformed temperature or measure.
    Source: soft Q-learning, Eqs. 2, 5 and 7.
    """
    if mdp.horizon is None:
        raise ExactRLError("the model has no horizon: use soft_value_iteration, or mdp.replace(horizon=20)")
    operator = _Operator(mdp, alpha, measure)
    values, error = np.zeros(mdp.n_states), 0.0
    tops, actions = [(values, 0.0)], []
    for _ in range(mdp.horizon):
        step = operator.apply(values)
        carried = _MASSES[1] * mdp.discount * error
        slack = _MARGIN * _UNIT * 2 * float(max(np.abs(step.q).max(), np.abs(step.backed_up).max()))
        error = _MARGIN * (step.error + slack) + carried
        actions.append((step.q, _MARGIN * (step.q_error + slack) + carried, operator.log_policy(step.q)))
        values = step.backed_up
        tops.append((values, error))
    lower, upper = (np.stack([v + sign * e for v, e in tops[::-1]]) for sign in (-1, 1))
    q_lower, q_upper = (np.stack([q + sign * e for q, e, _ in actions[::-1]]) for sign in (-1, 1))
    return SoftBounds(lower, upper, q_lower, q_upper, np.stack([x for *_, x in actions[::-1]]), mdp.horizon)
