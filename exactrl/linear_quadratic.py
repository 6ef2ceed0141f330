r"""Linear-quadratic control with an entropy bonus: optimal gains, maximum entropy policies, and values.

The state moves as $x'=Ax+Bu+w$ with noise w of mean 0 and covariance W, a step costs $x^\top Sx+u^\top Ru$, the last
state of a horizon $x^\top S_Tx$, and rewards are minus costs.  The maximum entropy policy of step t is
$\mathcal N(-K_tx,\frac\alpha2M_t^{-1})$ and its soft value $V_t(x)=-x^\top P_tx+c_t$; gains and quadratic forms are
those of ordinary control, whatever $\alpha$ is.

Number systems: `"floats"`; `"rationals"` (Fractions, exact; without the constants, which hold logarithms); `"balls"`,
each of which provably contains the true value.  The exact systems need a horizon.
Shapes: n states, m controls, T steps.
Source: soft Q-learning, Eqs. 2-7 and Sec. 4; Todorov 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.entries import Numbers, entry, read_number, read_numbers, short
from exactrl.errors import ExactRLError
from exactrl.formulas.linear_quadratic import Backup, eliminate, riccati_backup, soft_control_bonus
from exactrl.model_tables import NumberSystem, working_precision
from exactrl.number_systems import namespace
from exactrl.validation import read_discount, read_horizon

__all__ = ["LinearQuadratic", "MaxEntControl", "max_entropy_control"]

_SYMMETRY = 1e-12
_DOUBLINGS = 60


@dataclass(frozen=True, eq=False)
class MaxEntControl:
    r"""Gains $K_t$, covariances $\frac\alpha2M_t^{-1}$, quadratic forms $P_t$ and constants $c_t$ of the soft values.

    Shapes: gains (T, m, n), covariances (T, m, m), cost_to_go (T + 1, n, n), constants (T + 1,), or without the first
    axis where there is no horizon.  constants is None in rationals.
    """

    gains: Any
    covariances: Any
    cost_to_go: Any
    constants: Any


class LinearQuadratic:
    """A linear-quadratic problem, checked and immutable.

    transition A (n, n), control B (n, m), state_cost S and final_cost (n, n) positive semidefinite, control_cost R
    (m, m) positive definite, noise W (n, n) positive semidefinite or None, discount in [0, 1], horizon or None.
    Without a horizon there is no final cost, and the discount may be 1 only without noise.

    Raises ExactRLError naming the entry that is no finite number or breaks the symmetry, the shape that does not fit,
    or the matrix that is not definite.
    """

    def __init__(
        self, transition: Any, control: Any, state_cost: Any, control_cost: Any, *, final_cost: Any = None,
        noise: Any = None, discount: Any = 1, horizon: int | None = None,
    ) -> None:  # fmt: skip
        self.transition = _matrix("transition", transition)
        n = self.transition.shape[0]
        if self.transition.shape != (n, n) or n == 0:
            raise ExactRLError(f"transition has shape {self.transition.shape}: expected (n, n) with n >= 1")
        self.control = _matrix("control", control)
        if self.control.shape[0] != n or self.control.shape[1] == 0:
            raise ExactRLError(f"control has shape {self.control.shape}: expected ({n}, m) with m >= 1")
        m = self.control.shape[1]
        self.state_cost = _semidefinite("state_cost", state_cost, n)
        self.control_cost = _semidefinite("control_cost", control_cost, m, strictly=True)
        self.horizon = read_horizon(horizon)
        if horizon is None and final_cost is not None:
            raise ExactRLError("final_cost is given and horizon is None: expected a horizon, or no final cost")
        self.final_cost = self.state_cost if final_cost is None else _semidefinite("final_cost", final_cost, n)
        self.noise = None if noise is None else _semidefinite("noise", noise, n)
        self.discount = read_discount(discount, 1 if horizon is None else self.horizon)


def max_entropy_control(
    problem: LinearQuadratic, alpha: Any, *, numbers: NumberSystem = "floats", bits: int = 128
) -> MaxEntControl:
    r"""The maximum entropy policies and soft values of a linear-quadratic problem.

    alpha: a positive temperature.  With a horizon by the Riccati recursion; without one by doubling the horizon until
    nothing changes, in floats.
    Raises ExactRLError for a temperature that is not positive, another number system, the exact systems without a
    horizon, and where the costs of longer horizons grow without bound.
    Source: soft Q-learning, Eqs. 5-7 and Sec. 4.
    """
    temperature = _read_positive(alpha)
    if numbers not in ("floats", "rationals", "balls"):
        raise ExactRLError(f"numbers is {short(numbers)}: expected 'floats', 'rationals' or 'balls'")
    if problem.horizon is None:
        if numbers != "floats":
            raise ExactRLError(
                f"numbers is {numbers!r} and the problem has no horizon: expected 'floats', or a horizon=T"
            )
        return _endless(problem, float(temperature))
    with working_precision(numbers, bits):
        return _recursion(problem, problem.horizon, temperature, numbers)


# With a horizon


def _recursion(problem: LinearQuadratic, horizon: int, temperature: Any, numbers: NumberSystem) -> MaxEntControl:
    def read(x: Numbers | Fraction | float) -> Any:
        return _in_system(x, numbers)

    transition, control = read(problem.transition), read(problem.control)
    state_cost, control_cost = read(problem.state_cost), read(problem.control_cost)
    alpha, discount = read(temperature), read(problem.discount)
    xp = namespace(transition)
    forms, gains, covariances = [read(problem.final_cost)], [], []
    constants: list[Any] = [alpha * 0]
    for _ in range(horizon):
        backup = riccati_backup(transition, control, state_cost, control_cost, forms[-1], discount)
        covariance, pivots = _covariance(backup.curvature, alpha)
        if numbers != "rationals":
            lost = _trace(forms[-1], read(problem.noise)) if problem.noise is not None else alpha * 0
            constants.append(discount * (constants[-1] - lost) + soft_control_bonus(pivots, alpha))
        forms.append(backup.cost_to_go)
        gains.append(backup.gain)
        covariances.append(covariance)
    kept = None if numbers == "rationals" else xp.stack(constants[::-1])
    return MaxEntControl(xp.stack(gains[::-1]), xp.stack(covariances[::-1]), xp.stack(forms[::-1]), kept)


def _covariance(curvature: Any, alpha: Any) -> tuple[Any, Any]:
    inverse, pivots = eliminate(curvature, namespace(curvature).identity(curvature.shape[-1]))
    return alpha / 2 * inverse, pivots


def _trace(first: Any, second: Any) -> Any:
    xp = namespace(first)
    return xp.sum(xp.sum(first * second))


def _in_system(x: Numbers | Fraction | float, numbers: NumberSystem) -> Any:
    if numbers == "floats":
        return x.floats if isinstance(x, Numbers) else np.float64(x)
    exact = x.fractions() if isinstance(x, Numbers) else Fraction(x)
    if numbers == "rationals":
        return exact
    from exactrl.number_systems.balls import Balls

    return Balls(exact)


# Without a horizon


def _endless(problem: LinearQuadratic, alpha: float) -> MaxEntControl:
    """The limit of longer and longer horizons, each twice as long as the one before."""
    discount = float(problem.discount)
    if discount == 1 and problem.noise is not None and problem.noise.floats.any():
        raise ExactRLError(
            "discount is 1, there is noise and no horizon: the costs are infinite; give a discount below 1"
        )
    root = math.sqrt(discount)
    transition, control = problem.transition.floats, problem.control.floats
    state_cost, control_cost = problem.state_cost.floats, problem.control_cost.floats
    form = _doubled(root * transition, root * control, state_cost, control_cost)
    backup: Backup[Any] = riccati_backup(transition, control, state_cost, control_cost, form, discount)
    covariance, pivots = _covariance(backup.curvature, alpha)
    if discount == 1:
        return MaxEntControl(backup.gain, covariance, form, None)
    lost = 0.0 if problem.noise is None else float(np.sum(form * problem.noise.floats))
    bonus = float(soft_control_bonus(pivots, np.float64(alpha)))
    return MaxEntControl(backup.gain, covariance, form, (bonus - discount * lost) / (1 - discount))


def _doubled(transition: Any, control: Any, state_cost: Any, control_cost: Any) -> Any:
    r"""The quadratic form of horizon $2^k$ for rising k, until it stays.

    Two problems of the same length are joined by eliminating the state between them.
    """
    free, reach, form = transition, control @ np.linalg.solve(control_cost, control.T), state_cost
    identity = np.eye(len(form))
    for _ in range(_DOUBLINGS):
        if np.abs(free).max() > 1e100 or np.abs(form).max() > 1e100:
            break
        joined = np.linalg.solve(identity + reach @ form, np.concatenate([free, reach @ free.T], axis=1))
        through, spread = joined[:, : len(form)], joined[:, len(form) :]
        longer = form + free.T @ form @ through
        if np.abs(longer - form).max() <= 1e-15 * np.abs(longer).max():
            return (longer + longer.T) / 2
        free, reach, form = free @ through, reach + free @ spread, longer
    raise ExactRLError(
        "the cost of longer and longer horizons does not settle: expected controls that stabilise what costs; "
        "lower the discount, or give a horizon"
    )


# What the caller gives


def _read_positive(alpha: Any) -> Fraction | float:
    value = read_number(alpha, "alpha")
    if not (math.isfinite(value) and value > 0):
        raise ExactRLError(f"alpha is {value}: expected a positive finite temperature")
    return value


def _matrix(name: str, value: Any) -> Numbers:
    numbers = read_numbers(value, name)
    if len(numbers.shape) != 2:
        raise ExactRLError(f"{name} has shape {numbers.shape}: expected a matrix")
    wrong = np.argwhere(~np.isfinite(numbers.floats))
    if len(wrong):
        where = tuple(wrong[0].tolist())
        raise ExactRLError(f"{entry(name, where)} is {numbers.floats[where]}: expected a finite number")
    return numbers


def _semidefinite(name: str, value: Any, size: int, *, strictly: bool = False) -> Numbers:
    """A symmetric matrix without negative directions, decided on the exact values."""
    numbers = _matrix(name, value)
    if numbers.shape != (size, size):
        raise ExactRLError(f"{name} has shape {numbers.shape}: expected ({size}, {size})")
    floats = numbers.floats
    uneven = np.argwhere(~(np.abs(floats - floats.T) <= _SYMMETRY * np.abs(floats).max(initial=0)))
    if len(uneven):
        i, j = (int(k) for k in uneven[0])
        raise ExactRLError(
            f"{entry(name, (i, j))} is {floats[i, j]} and {entry(name, (j, i))} is {floats[j, i]}: "
            "expected a symmetric matrix"
        )
    fault = _definiteness_fault(numbers.fractions(), strictly, 0 if numbers.rational else Fraction(1, 10**12))
    if fault:
        kind = "definite" if strictly else "semidefinite"
        raise ExactRLError(f"{name} is not positive {kind}: {fault}")
    return numbers


def _definiteness_fault(matrix: Any, strictly: bool, allowance: Fraction | int) -> str | None:
    """Eliminate with the largest diagonal entry first; say which direction is not positive, or None."""
    rest = {(i, j): (matrix[i, j] + matrix[j, i]) / 2 for i in range(len(matrix)) for j in range(len(matrix))}
    left = list(range(len(matrix)))
    slack = allowance * max((abs(x) for x in rest.values()), default=Fraction(0))
    while left:
        pivot = max(left, key=lambda i: rest[i, i])
        value = rest[pivot, pivot]
        if value <= slack:
            lowest = min(left, key=lambda i: rest[i, i])
            crossed = next(((i, j) for i in left for j in left if abs(rest[i, j]) > slack), None)
            if strictly or rest[lowest, lowest] < -slack:
                return f"direction {lowest} has curvature {float(rest[lowest, lowest]):g} once the others are optimal"
            return None if crossed is None else f"directions {crossed[0]} and {crossed[1]} have a negative combination"
        left.remove(pivot)
        for i in left:
            for j in left:
                rest[i, j] = rest[i, j] - rest[i, pivot] * rest[pivot, j] / value
    return None
