r"""MPO's E-step between rational bounds: the dual's minimiser by interval Newton in balls.

$g'(\eta)=\epsilon-\mathbb E_\mu D_{KL}(q_\eta\Vert\pi)$ rises strictly unless Q is constant on the support of pi in
every state of positive weight.  So if X is an interval, m a point of it, and $N=m-g'(m)/g''(X)$ lies inside X, then
X contains exactly one minimiser, and N contains it (interval Newton).  Everything is evaluated from exact values:
rationals as they are, floats by their binary value, rows of float probabilities divided by their exact sum.

Shapes: S states, A actions.  Units: natural logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.distributions import finite_array, log_distributions
from exactrl.entries import FractionArray, read_number, read_numbers
from exactrl.errors import ExactRLError, Uncertain
from exactrl.estep import read_radius, read_weights, solve_estep
from exactrl.formulas import expectation
from exactrl.formulas.mpo import dual_derivatives, log_estep
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls, precision

__all__ = ["Bounds", "EStepEnclosure", "enclose_estep"]

Bounds = tuple[Fraction, Fraction]
MOST_BITS = 1_000_000


@dataclass(frozen=True)
class EStepEnclosure:
    """What is proven about the E-step.

    value: bounds of the optimal value.  eta: bounds that contain exactly one minimiser of the dual; (0, 0) where the
    constraint is idle, None where epsilon is 0 and the dual only falls.  active: whether the constraint binds.
    """

    value: Bounds
    eta: Bounds | None
    active: bool


def enclose_estep(policy: Any, q_values: Any, weights: Any, *, epsilon: Any, bits: int = 128) -> EStepEnclosure:
    r"""Enclose the maximum of $\mathbb E_\mu\mathbb E_q Q$ subject to $\mathbb E_\mu D_{KL}(q\Vert\pi)\le\epsilon$.

    Shapes: policy (S, A) of probabilities, q_values (S, A), weights (S,); floats or rationals.
    Raises ExactRLError naming the entry for bad input, and when `bits` of working precision decide too little: whether
    the constraint binds, or where the minimiser lies.
    Source: MPO, Eqs. 7-9.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= MOST_BITS:
        raise ExactRLError(f"bits is {bits!r}: expected an integer between 2 and {MOST_BITS:,}, the working precision")
    problem = _Exact(policy, q_values, weights, epsilon)
    with precision(bits):
        try:
            return problem.enclosure()
        except (Uncertain, ValueError, OverflowError) as error:
            if isinstance(error, ExactRLError):
                raise
            raise ExactRLError(f"the E-step cannot be enclosed at {bits} bits: give more ({error})") from error


class _Exact:
    """The E-step in rationals; only states of positive weight are kept."""

    def __init__(self, policy: Any, q_values: Any, weights: Any, epsilon: Any) -> None:
        logs, values = log_distributions("policy", policy), finite_array("q_values", q_values)
        if logs.ndim != 2 or values.shape != logs.shape:
            raise ExactRLError(f"policy has shape {logs.shape} and q_values {values.shape}: expected (S, A) for both")
        mu = read_weights(weights, len(logs))
        read_radius("epsilon", epsilon)
        self.radius = Fraction(read_number(epsilon, "epsilon"))
        exact_mu = read_numbers(weights, "weights").fractions()
        rows = np.asarray(exact_mu > 0, dtype=np.bool_)
        self.floats = (logs, values, mu, float(self.radius))
        self.mu: FractionArray = exact_mu[rows]
        chances = read_numbers(policy, "policy").fractions()[rows]
        self.policy: FractionArray = chances / chances.sum(axis=1, keepdims=True)
        exact = read_numbers(q_values, "q_values").fractions()[rows]
        support = np.asarray(self.policy > 0, dtype=np.bool_)
        self.top = np.array([max(q[kept]) for q, kept in zip(exact, support, strict=True)], dtype=object)
        self.below: FractionArray = (exact - self.top[:, None]) * support

    def enclosure(self) -> EStepEnclosure:
        """Return the bounds at the present precision."""
        greedy = (self.policy * (self.below == 0)).sum(axis=1)
        base = self.mu @ self.top
        if np.all(greedy == 1) or self._idle(greedy):
            return EStepEnclosure((base, base), (Fraction(0), Fraction(0)), False)
        if self.radius == 0:
            value = base + self.mu @ (self.policy * self.below).sum(axis=1)
            return EStepEnclosure((value, value), None, True)
        xp = namespace(Balls(0))
        self.log_policy, self.values, self.weights = xp.log(Balls(self.policy)), Balls(self.below), Balls(self.mu)
        eta = self._minimiser()
        log_q = log_estep(self.log_policy, self.values, eta)
        gained = xp.sum(self.weights * expectation(log_q, self.values))
        ((low, high),) = gained.bounds()
        return EStepEnclosure((base + low, base + min(high, Fraction(0))), eta.bounds()[0], True)

    def _idle(self, greedy: FractionArray) -> bool:
        """Return whether epsilon is at least the divergence of the greedy policy, if that is certain."""
        xp = namespace(Balls(0))
        most = -xp.sum(Balls(self.mu) * xp.log(Balls(greedy)))
        return bool(most <= Balls(self.radius))

    def _minimiser(self) -> Balls:
        """Return a ball that contains exactly one minimiser, as narrow as the precision allows."""
        logs, values, mu, radius = self.floats
        guess = solve_estep(logs, values, mu, epsilon=radius).eta
        if not 0.0 < guess < float("inf"):
            raise Uncertain(f"floats find no minimiser to begin with, only {guess}")
        for reach in (Fraction(1, 10**9), Fraction(1, 10**5), Fraction(1, 100)):
            around = Balls(Fraction(guess)) * namespace(Balls(0)).enclosure(Balls(1 - reach), Balls(1 + reach))
            step = self._newton(around)
            if _arb(around).contains_interior(_arb(step)):
                return self._narrowed(step)
        raise Uncertain(f"no interval around {guess} maps into itself")

    def _newton(self, eta: Balls) -> Balls:
        middle = namespace(eta).midpoint(eta)
        slope, _ = dual_derivatives(self.log_policy, self.values, self.weights, middle, Balls(self.radius))
        _, curvature = dual_derivatives(self.log_policy, self.values, self.weights, eta, Balls(self.radius))
        return middle - slope / curvature

    def _narrowed(self, eta: Balls) -> Balls:
        """Return the interval after Newton's steps, intersected, until they narrow it no longer."""
        while True:
            both = Balls(_arb(eta).intersection(_arb(self._newton(eta))))
            if _arb(both).rad() > _arb(eta).rad() / 2:
                return both
            eta = both


def _arb(ball: Balls) -> Any:
    """Return the one ball of an array without axes."""
    return ball.data[()]
