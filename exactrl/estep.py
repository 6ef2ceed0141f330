r"""MPO's E-step exactly, by its one-dimensional dual.

    maximise over q   $\mathbb E_\mu\mathbb E_q Q$   subject to   $\mathbb E_\mu D_{KL}(q\Vert\pi)\le\epsilon$

The maximiser is $q\propto\pi e^{Q/\eta}$ with the eta that minimises the dual g of Eq. 9.  In $\beta=1/\eta$ the
divergence $h(\beta)=\mathbb E_\mu D_{KL}(q\Vert\pi)$ rises from 0 to
$h(\infty)=-\mathbb E_\mu\log\pi(\arg\max Q)$, the maximum taken over the support of pi, and the minimiser solves
$h(\beta)=\epsilon$: by Newton's method within a bracket, on $\sqrt{2h}$, which is nearly linear where h is small, or on
$\log(h(\infty)-h)$, which is where h saturates.

Two corners have no minimiser.  Where $\epsilon\ge h(\infty)$ the constraint is idle: the greedy policy on the support
of pi is optimal, $g(\eta)$ falls to the optimum as eta falls to 0, and eta is reported as 0.  Where $\epsilon=0$ and
$h(\infty)>0$ only pi is feasible, g falls to the optimum as eta grows, and eta is reported as inf.

The printed constraint is strict.  Its supremum is this maximum, and is attained only where the constraint is idle with
$\epsilon>h(\infty)$.

Shapes: S states, A actions.  Units: natural logarithms.  Rows of pi that miss 1 by rounding are read as divided by
their sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from exactrl.distributions import check_log_distributions, finite_array, log_distributions
from exactrl.entries import FloatArray, entry, read_number
from exactrl.errors import ExactRLError
from exactrl.formulas import log_boltzmann
from exactrl.formulas.mpo import dual_derivatives, dual_value, log_estep, tilted_kl
from exactrl.number_systems import namespace

__all__ = ["EStep", "read_estep", "solve_estep"]

MOST_STEPS = 400
LARGEST = 1e290
RESOLUTION = 1e-14
UNIT = 2.0**-53


@dataclass(frozen=True, eq=False)
class EStep:
    r"""The E-step's solution and what is certain about it.

    log_q (S, A): the maximiser's logarithm.  eta: the dual's minimiser, 0 where the constraint is idle, inf where
    epsilon is 0.  divergence: $\mathbb E_\mu D_{KL}(q\Vert\pi)$; residual: what it misses epsilon by, 0 where idle.
    lower, upper: a bracket of the optimal value; rounding is allowed for.  active: whether the constraint binds.
    """

    log_q: FloatArray
    eta: float
    divergence: float
    residual: float
    lower: float
    upper: float
    active: bool

    @property
    def q(self) -> FloatArray:
        """The probabilities (S, A)."""
        return np.asarray(np.exp(self.log_q))


def solve_estep(log_policy: Any, q_values: Any, weights: Any, *, epsilon: float) -> EStep:
    r"""Maximise $\mathbb E_\mu\mathbb E_q Q$ subject to $\mathbb E_\mu D_{KL}(q\Vert\pi)\le\epsilon$.

    The bracket: for every eta > 0, g(eta) is no less than the optimum; and the mixture of q with pi that shrinks its
    divergence to epsilon by convexity is feasible, so that its value is no more.  Both ends allow for every rounding
    of their evaluation, of `exp` and `log` by four units in the last place.
    Shapes: log_policy, q_values (S, A), weights (S,), a distribution over states.
    Raises ExactRLError naming the entry: no distribution, no finite number, a negative epsilon, a spread of Q beyond
    the range of a float.
    Source: MPO, Eqs. 7-9 and App. D.2.
    """
    logs, values, mu, radius = read_estep(log_policy, q_values, weights, epsilon)
    scaled = _Scaled(logs, values, mu)
    if radius >= scaled.most:
        return scaled.idle(logs, radius)
    if radius == 0.0:
        return scaled.only_the_policy(logs)
    beta, divergence = scaled.solve(radius)
    log_q = log_estep(scaled.log_full, scaled.below_top, 1.0 / beta)
    lower, upper = scaled.bracket(log_q, beta, divergence, radius)
    with np.errstate(over="ignore"):
        eta = float(np.float64(scaled.scale) / beta)
    return EStep(log_q, eta, divergence, divergence - radius, lower, upper, True)


def read_estep(
    log_policy: Any, q_values: Any, weights: Any, epsilon: Any
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Return the parts of an E-step as float64, after checking each of them.  Raises ExactRLError naming the entry."""
    logs = check_log_distributions("log_policy", log_policy)
    values = finite_array("q_values", q_values)
    if logs.ndim != 2 or values.shape != logs.shape:
        raise ExactRLError(f"log_policy has shape {logs.shape} and q_values {values.shape}: expected (S, A) for both")
    return logs, values, read_weights(weights, len(logs)), read_radius("epsilon", epsilon)


def read_weights(weights: Any, n_states: int) -> FloatArray:
    """Return the weights of the states (S,).  Raises ExactRLError unless they are a distribution."""
    log_distributions("weights", weights)
    mu = finite_array("weights", weights)
    if mu.shape != (n_states,):
        raise ExactRLError(f"weights have shape {mu.shape}: expected ({n_states},), one for each state")
    return mu


def read_radius(name: str, value: Any) -> float:
    """Return a number that is at least 0 and finite.  Raises ExactRLError otherwise."""
    number = float(read_number(value, name))
    if not 0.0 <= number < math.inf:
        raise ExactRLError(f"{name} is {number}: expected a finite number, at least 0")
    return number


class _Scaled:
    """The problem in units of the spread of Q: values in [-1, 0], the best action on the support at 0.

    Only the states of positive weight decide; arrays over them lie in Fortran's order, so that sums over actions run
    along contiguous states.
    """

    def __init__(self, logs: FloatArray, values: FloatArray, mu: FloatArray) -> None:
        logs, values = np.asfortranarray(logs), np.asfortranarray(values)
        support = logs > -np.inf
        top = np.where(support, values, -np.inf).max(axis=1)
        with np.errstate(over="ignore"):
            below = np.where(support, values - top[:, None], 0.0)
        rows = mu > 0
        self.scale = -float(below[rows].min(initial=0.0))
        if not np.isfinite(below).all():
            where = [int(i) for i in np.argwhere(~np.isfinite(below))[0]]
            raise ExactRLError(
                f"{entry('q_values', where)} lies more than 1.8e308 below the best action of its state: "
                "expected a spread within the range of a float; divide q_values by a constant"
            )
        with np.errstate(over="ignore", under="ignore"):
            self.below_top: FloatArray = below / self.scale if self.scale > 0 else below
        self.log_full: FloatArray = logs
        if not rows.all():
            logs, mu, top = np.asfortranarray(logs[rows]), mu[rows], top[rows]
        self.visited, self.mu, self.top = rows, mu, top
        self.values: FloatArray = self.below_top if rows.all() else np.asfortranarray(self.below_top[rows])
        policy = np.exp(logs)
        total = policy.sum(axis=1, keepdims=True)
        self.log_policy, self.policy = logs - np.log(total), policy / total
        self.mean: FloatArray = (self.policy * self.values).sum(axis=1)
        best = np.where(self.values == 0.0, self.log_policy, -np.inf)
        self.most = max(float(-(mu @ namespace(best).logsumexp(best))), 0.0) if self.scale > 0 else 0.0

    # The divergence as a function of beta = 1 / eta, and its root

    def divergence(self, beta: float, radius: float) -> tuple[float, float]:
        """Return h(beta) and h'(beta); where the radius is small, by a sum in which nothing cancels."""
        eta = 1.0 / beta
        slope, curvature = dual_derivatives(self.log_policy, self.values, self.mu, eta, 0.0)
        value = -float(slope)
        if radius < 1e-3:
            value = float(self.mu @ tilted_kl(self.log_policy, log_boltzmann(self.values, eta, self.log_policy)))
        return max(value, 0.0), float(curvature) * eta * eta

    def solve(self, radius: float) -> tuple[float, float]:
        """Return the root of h(beta) = radius and the divergence there."""
        centred = self.values - self.mean[:, None]
        squares = self.policy * centred * centred
        variance, third = (float(self.mu @ x.sum(axis=1)) for x in (squares, squares * centred))
        start = math.sqrt(2.0 * radius / variance) if variance > 0.0 else 1.0
        if start <= 1e-10:
            return start, radius  # the next term of the expansion is smaller by the factor beta
        bend = 1.0 + 2.0 / 3.0 * start * third / variance if variance > 0.0 else 1.0  # h = variance b^2/2 + third b^3/3
        start /= math.sqrt(min(max(bend, 0.25), 4.0))
        return _root(lambda beta: self.divergence(beta, radius), radius, self.most, min(start, LARGEST))

    # What is certain

    def noise(self, q: FloatArray, beta: float) -> float:
        r"""Bound the rounding of divergences and log-partitions, and in units of eta that of $\mathbb E_q Q$.

        A score has relative rounding of a few units, so that a sum weighted by q errs by a few units times
        $\mathbb E_q(1+|t|)(1+|t|+|\log\pi|)$ with t the score; each of the A + S additions adds one unit.
        """
        logs = np.where(self.policy > 0.0, np.abs(self.log_policy), 0.0)
        score = 1.0 - self.values * beta
        sizes = q * score * (score + logs) + self.policy * (1.0 + logs)
        return UNIT * (64 + 2 * sum(logs.shape)) * float(self.mu @ sizes.sum(axis=1))

    def bracket(self, log_q: FloatArray, beta: float, divergence: float, radius: float) -> tuple[float, float]:
        """Return a lower and an upper bound of the optimal value, in the units of Q."""
        eta = 1.0 / beta
        q = np.exp(log_q if self.visited.all() else log_q[self.visited])
        noise = self.noise(q, beta)
        of_policy, of_q = float(self.mu @ self.mean), float(self.mu @ (q * self.values).sum(axis=1))
        share = min(radius / (divergence + noise), 1.0)
        lower = (1.0 - share) * of_policy + share * of_q - (share * eta + 1.0 - share) * noise - 8 * UNIT * (share < 1)
        dual = float(dual_value(self.log_policy, self.values, self.mu, eta, radius)) + eta * (noise + 8 * UNIT * radius)
        pinsker = of_policy + math.sqrt(radius / 2.0) * (1.0 + 1e-9) + noise
        return self.unscaled(max(lower, -1.0), min(dual, pinsker, 0.0))

    def unscaled(self, lower: float, upper: float) -> tuple[float, float]:
        """Return bounds of a value in units of Q, rounded outwards."""
        base, size = float(self.mu @ self.top), float(self.mu @ np.abs(self.top))
        slack = UNIT * (len(self.mu) + 16)
        return (
            base + self.scale * lower - slack * (size - self.scale * lower),
            base + self.scale * upper + slack * (size - self.scale * upper),
        )

    # The corners

    def idle(self, logs: FloatArray, radius: float) -> EStep:
        """Return the greedy policy, pi restricted to the best actions of its support."""
        greedy = np.where((self.below_top == 0.0) & (logs > -np.inf), logs, -np.inf)
        log_q = log_boltzmann(np.zeros_like(greedy), 1.0, greedy) + greedy
        _, upper = self.unscaled(0.0, 0.0)
        noise = self.noise(np.exp(log_q[self.visited]), 0.0)
        share = 1.0 if self.most + noise <= radius or self.most == 0.0 else radius / (self.most + noise)
        lower, _ = self.unscaled((1.0 - share) * -1.0, 0.0)
        return EStep(log_q, 0.0, self.most, 0.0, lower, upper, False)

    def only_the_policy(self, logs: FloatArray) -> EStep:
        """Return pi itself, the only feasible policy where epsilon is 0."""
        value, noise = float(self.mu @ self.mean), self.noise(self.policy, 0.0)
        lower, upper = self.unscaled(max(value - noise, -1.0), min(value + noise, 0.0))
        return EStep(logs, math.inf, 0.0, 0.0, lower, upper, True)


def _root(
    divergence: Callable[[float], tuple[float, float]], radius: float, most: float, start: float
) -> tuple[float, float]:
    """Return beta with h(beta) = radius to rounding, and h(beta); at the end of the floats, the last beta that is low.

    Steps are taken within the bracket; where one leaves it, or does not halve the error, the bracket is halved in
    logarithm.
    """
    low, high, beta, growth, before = 0.0, math.inf, start, 4.0, math.inf
    last: tuple[float, float, float] | None = None
    for _ in range(MOST_STEPS):  # pragma: no branch
        value, slope = divergence(beta)
        error = abs(value - radius)
        if error <= RESOLUTION * radius + 8 * UNIT * math.sqrt(radius) or (beta >= LARGEST and value < radius):
            break
        low, high = (beta, high) if value < radius else (low, beta)
        if high - low <= 4 * UNIT * high < math.inf:
            break
        point = _straightened(beta, value, slope, radius, most)
        step = _step(point, last)
        if not (low < step < high and step <= LARGEST) or error > before / 2:
            if low == 0.0 or high == math.inf:
                step = min(beta * growth, LARGEST) if high == math.inf else beta / growth
                growth = min(growth * growth, 1e64)
            else:
                step = math.sqrt(low) * math.sqrt(high) if high > 4 * low else low + (high - low) / 2
        beta, before, last = step, error, point
    return beta, value


def _straightened(
    beta: float, value: float, slope: float, radius: float, most: float
) -> tuple[float, float, float] | None:
    """Return beta, y(h(beta)) - y(radius) and d beta / dy with y = sqrt(2 h), or -log(h(inf) - h) where h saturates."""
    if not slope > 0.0:
        return None
    if radius > most / 2 and value < most:
        return beta, math.log((most - radius) / (most - value)), (most - value) / slope
    root = math.sqrt(2.0 * value)
    return beta, root - math.sqrt(2.0 * radius), root / slope


def _step(point: tuple[float, float, float] | None, last: tuple[float, float, float] | None) -> float:
    """Return the next beta: Newton's, or the zero of the cubic beta(y) through both points and slopes; nan if none."""
    if point is None:
        return math.nan
    beta, y, slope = point
    newton = beta - y * slope
    if last is None or last[1] == y:
        return newton
    before, z, steep = last
    chord = (before - beta) / (z - y)
    bend = (chord - slope) / (z - y)
    third = (slope + steep - 2.0 * chord) / (z - y) ** 2
    return newton + y * y * (bend - third * z)
