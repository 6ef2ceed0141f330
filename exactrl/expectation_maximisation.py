r"""MPO as exact iterations: expectation maximisation on the bound J(q, theta), with the value of the bound tracked.

    bound    $\mathcal J(q,\theta)=\mathbb E_q\sum_t\gamma^t
             [r_t-\alpha D_{KL}(q(\cdot\mid s_t)\Vert\pi_\theta(\cdot\mid s_t))]$
    E-step   q_i from the policy $\pi_i$ and its action values
    M-step   $\pi_{i+1}$ from q_i and $\pi_i$

| E-step | q_i |
|---|---|
| `SoftEStep(alpha)` | $\propto\pi_ie^{Q^{\pi_i}/\alpha}$: one-step improvement at a fixed temperature (Eqs. 6, 19) |
| `ConstrainedEStep(epsilon)` | the same at the dual's minimiser, so that $\mathbb E_\mu D_{KL}\le\epsilon$ (Eqs. 7-9) |
| `FullEStep(alpha)` | the maximiser of the bound itself over all q: classical EM, greedy on the bound |

| M-step | $\pi_{i+1}$ |
|---|---|
| `PenalisedMStep(penalty, policy_class)` | Eq. 11; with penalty 0 the maximiser of the bound, Eq. 10 |
| `ConstrainedMStep(epsilon, policy_class)` | Eq. 12 |
| `GradientMStep(features, step)` | one gradient step, Eq. 18: a generalised M-step |

What holds: $\mathcal J(q_i,\theta_i)\ge\mathcal J(\pi_i,\theta_i)$, the return of $\pi_i$, after each E-step with a
temperature (Eq. 20).  With `FullEStep`, an M-step of the first two kinds under the visits of q_i, and a class that
contains $\pi_i$, J never falls.  With the one-step E-step $\mathcal J(q_{i+1},\theta_{i+1})$ may be below
$\mathcal J(q_i,\theta_{i+1})$; over a class that lacks tables both the bound and the return may fall.

Shapes: S states, A actions, n iterations.  Units: natural logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from exactrl.distributions import check_log_distributions, finite_array
from exactrl.entries import FloatArray, read_number
from exactrl.errors import ExactRLError
from exactrl.estep import read_radius, read_weights, solve_estep
from exactrl.formulas import lift_objective, log_boltzmann, soft_value
from exactrl.formulas.joint_ascent import mstep_direction
from exactrl.formulas.mpo import expected_kl, log_estep
from exactrl.mstep import SoftmaxFeatures, TableClass, Tables, constrained_mstep, penalised_mstep

__all__ = [
    "ConstrainedEStep",
    "ConstrainedMStep",
    "EMIterates",
    "FullEStep",
    "GradientMStep",
    "PenalisedMStep",
    "SoftEStep",
    "expectation_maximisation",
]

MOST_SWEEPS = 500


class Evaluated(Protocol):
    """What an evaluation must tell: $Q$ (S, A), without the penalty of its own step, and the expected return."""

    @property
    def action_values(self) -> Any: ...
    @property
    def expected_return(self) -> Any: ...


class Evaluator(Protocol):
    r"""Evaluates a policy (S, A) that pays $-\alpha D_{KL}(\cdot\Vert b)$ at every step, b the measure (S, A).

    `functools.partial(exactrl.evaluation.evaluate, mdp)` is one.
    """

    def __call__(self, policy: Any, *, alpha: float, measure: Any) -> Evaluated:
        """Return action values and expected return."""
        ...


def _temperature(alpha: Any) -> float:
    number = float(read_number(alpha, "alpha"))
    if not 0.0 < number < math.inf:
        raise ExactRLError(f"alpha is {number}: expected a finite number above 0")
    return number


@dataclass(frozen=True)
class SoftEStep:
    """The one-step E-step at a fixed temperature.  Raises ExactRLError unless alpha is positive and finite."""

    alpha: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _temperature(self.alpha))


@dataclass(frozen=True)
class ConstrainedEStep:
    """The E-step within a divergence; its bound is taken at the temperature eta that it finds (inf: q is the policy).

    Raises ExactRLError unless epsilon is finite and at least 0.
    """

    epsilon: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", read_radius("epsilon", self.epsilon))


@dataclass(frozen=True)
class FullEStep:
    """The complete maximisation of the bound over q, by policy iteration until no state can gain more than tolerance.

    Raises ExactRLError unless alpha and tolerance are positive and finite.
    """

    alpha: float
    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _temperature(self.alpha))
        if not 0.0 < float(read_number(self.tolerance, "tolerance")) < math.inf:
            raise ExactRLError(f"tolerance is {self.tolerance}: expected a finite number above 0")


@dataclass(frozen=True)
class PenalisedMStep:
    """Eq. 11, with penalty 0 Eq. 10; see `exactrl.mstep.penalised_mstep`."""

    penalty: float = 0.0
    policy_class: TableClass = field(default_factory=Tables)


@dataclass(frozen=True)
class ConstrainedMStep:
    """Eq. 12; see `exactrl.mstep.constrained_mstep`."""

    epsilon: float
    policy_class: TableClass = field(default_factory=Tables)


@dataclass(frozen=True, init=False, eq=False)
class GradientMStep:
    r"""One step $\theta_i-\beta\nabla_\theta\mathbb E_\mu D_{KL}(q_i\Vert\pi_\theta)$ of a softmax-linear policy.

    Shapes: features (S, A, d); step beta, finite and at least 0.  The policy it starts from must be of the family.
    Raises ExactRLError for bad features or a bad step.
    Source: MPO, Eq. 18, where mu is the discounted occupancy of $\pi_i$, not normalised.
    """

    features: FloatArray
    step: float

    def __init__(self, features: Any, step: float) -> None:
        object.__setattr__(self, "features", SoftmaxFeatures(features).features)
        object.__setattr__(self, "step", read_radius("step", step))

    def __call__(self, log_q: FloatArray, log_policy: FloatArray, weights: FloatArray) -> FloatArray:
        r"""Return the new log-policy (S, A); adding $\phi^\top\Delta\theta$ to the logits needs no theta."""
        change = self.step * mstep_direction(log_q, log_policy, self.features, weights)
        return log_boltzmann(log_policy + self.features @ change, 1.0)


EStepRule: TypeAlias = SoftEStep | ConstrainedEStep | FullEStep
MStepRule: TypeAlias = PenalisedMStep | ConstrainedMStep | GradientMStep
Weights: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class EMIterates:
    r"""What the iteration did.

    log_policies (n + 1, S, A), log_q (n, S, A).  temperatures (n,): the alpha of each bound, 0 where the constraint is
    idle, inf where q is the policy.  returns (n + 1,): of the policies.
    after_estep, after_mstep (n,): $\mathcal J(q_i,\theta_i)$ and $\mathcal J(q_i,\theta_{i+1})$.
    estep_divergences, mstep_divergences (n,): $\mathbb E_\mu D_{KL}(q_i\Vert\pi_i)$ and
    $\mathbb E_\mu D_{KL}(\pi_i\Vert\pi_{i+1})$.
    """

    log_policies: FloatArray
    log_q: FloatArray
    temperatures: FloatArray
    returns: FloatArray
    after_estep: FloatArray
    after_mstep: FloatArray
    estep_divergences: FloatArray
    mstep_divergences: FloatArray

    @property
    def policies(self) -> FloatArray:
        """The probabilities (n + 1, S, A)."""
        return np.asarray(np.exp(self.log_policies))


def expectation_maximisation(
    log_initial: Any,
    evaluate: Evaluator,
    weights: Weights,
    *,
    estep: EStepRule,
    mstep: MStepRule | None = None,
    mstep_weights: Weights = None,
    steps: int,
) -> EMIterates:
    r"""Alternate E-steps and M-steps from a policy, and track the bound.

    weights: the distribution mu over states (S,), or a function that makes it of a policy (S, A); in the E-step it is
    given $\pi_i$.  In the M-step it is given q_i, and in a `GradientMStep` $\pi_i$, as Eq. 18 has it.
    mstep_weights: another distribution for the M-step, or a function of the probabilities of q_i and $\pi_i$.
    For classical EM give `lambda pi: state_occupancy(mdp, pi, normalised=True)` as weights.
    mstep: by default `PenalisedMStep()` over all tables.
    Raises ExactRLError naming the entry and the step: bad input, or a step without a solution.
    Source: MPO, Sec. 3 and App. A.2.
    """
    policy = check_log_distributions("log_initial", log_initial)
    if policy.ndim != 2:
        raise ExactRLError(f"log_initial has shape {policy.shape}: expected (S, A)")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ExactRLError(f"steps is {steps!r}: expected a number of iterations, at least 0")
    if not isinstance(estep, EStepRule):
        raise ExactRLError(f"estep is a {type(estep).__name__}: expected a SoftEStep, ConstrainedEStep or FullEStep")
    rule = PenalisedMStep() if mstep is None else mstep
    if not isinstance(rule, MStepRule):
        raise ExactRLError(
            f"mstep is a {type(rule).__name__}: expected a PenalisedMStep, ConstrainedMStep or GradientMStep"
        )
    run = _Run(evaluate, weights, mstep_weights, estep, rule)
    rows = []
    for i in range(steps):
        try:
            rows.append(run.iteration(policy))
        except ExactRLError as error:
            raise ExactRLError(f"step {i + 1}: {error}") from error
        policy = rows[-1].log_next
    return _collected(policy, rows, run.expected_return(policy))


@dataclass(frozen=True, eq=False)
class _Row:
    log_policy: FloatArray
    log_q: FloatArray
    log_next: FloatArray
    figures: tuple[float, ...]


def _collected(policy: FloatArray, rows: list[_Row], last: float) -> EMIterates:
    """Stack the iterations; the last return is that of the last policy."""
    shape = (len(rows), *policy.shape)
    figures = np.array([row.figures for row in rows], dtype=np.float64).reshape(len(rows), 6).T
    return EMIterates(
        np.array([*(row.log_policy for row in rows), policy]),
        np.array([row.log_q for row in rows]).reshape(shape),
        figures[0],
        np.append(figures[1], last),
        *figures[2:],
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """The rules of one run."""

    evaluate: Evaluator
    weights: Weights
    mstep_weights: Weights
    estep: EStepRule
    mstep: MStepRule

    def iteration(self, log_policy: FloatArray) -> _Row:
        """One E-step and one M-step with their figures."""
        plain = self.evaluate(np.exp(log_policy), alpha=0.0, measure="counting")
        q_values = finite_array("the action values", plain.action_values)
        mu = _weights(self.weights, log_policy)
        log_q, alpha = self.expectation(log_policy, q_values, mu)
        mu_q = self.visits(log_q, log_policy)
        log_next = self.maximisation(log_q, log_policy, mu_q)
        figures = (
            alpha,
            float(plain.expected_return),
            self.bound(log_q, log_policy, alpha),
            self.bound(log_q, log_next, alpha),
            float(expected_kl(log_q, log_policy, mu)),
            float(expected_kl(log_policy, log_next, mu_q)),
        )
        return _Row(log_policy, log_q, log_next, figures)

    def expectation(self, log_policy: FloatArray, q_values: FloatArray, mu: FloatArray) -> tuple[FloatArray, float]:
        """The E-step: log q (S, A) and the temperature of its bound."""
        if isinstance(self.estep, SoftEStep):
            return log_estep(log_policy, q_values, self.estep.alpha), self.estep.alpha
        if isinstance(self.estep, ConstrainedEStep):
            solution = solve_estep(log_policy, q_values, mu, epsilon=self.estep.epsilon)
            return solution.log_q, solution.eta
        return self.greedy(log_policy, q_values, self.estep), self.estep.alpha

    def greedy(self, log_policy: FloatArray, q_values: FloatArray, rule: FullEStep) -> FloatArray:
        r"""The maximiser of the bound, by policy iteration on the regularised problem.

        A state can gain $\alpha\log\mathbb E_\pi e^{Q/\alpha}-V(s)$ by improving its own action; once none can gain
        more than the tolerance, the bound misses its maximum by at most $tolerance/(1-\gamma)$.
        """
        log_q, measure = log_policy, np.exp(log_policy)
        for _ in range(MOST_SWEEPS):
            now = lift_objective(log_q, log_policy, q_values, rule.alpha, 0.0)
            gain = float(np.max(soft_value(q_values, rule.alpha, log_policy) - now))
            if gain <= rule.tolerance * (1.0 + float(np.max(np.abs(now)))):
                return log_q
            log_q = log_estep(log_policy, q_values, rule.alpha)
            q_values = np.asarray(self.evaluate(np.exp(log_q), alpha=rule.alpha, measure=measure).action_values)
        raise ExactRLError(f"the full E-step still gains {gain:g} after {MOST_SWEEPS} sweeps: give a larger tolerance")

    def visits(self, log_q: FloatArray, log_policy: FloatArray) -> FloatArray:
        """The M-step's weights (S,)."""
        if callable(self.mstep_weights):
            return read_weights(self.mstep_weights(np.exp(log_q), np.exp(log_policy)), len(log_q))
        if self.mstep_weights is not None:
            return read_weights(self.mstep_weights, len(log_q))
        return _weights(self.weights, log_policy if isinstance(self.mstep, GradientMStep) else log_q)

    def maximisation(self, log_q: FloatArray, log_policy: FloatArray, mu: FloatArray) -> FloatArray:
        """The M-step: the new log-policy (S, A)."""
        if isinstance(self.mstep, GradientMStep):
            return self.mstep(log_q, log_policy, mu)
        if isinstance(self.mstep, PenalisedMStep):
            penalty, chosen = self.mstep.penalty, self.mstep.policy_class
            return penalised_mstep(log_q, log_policy, mu, penalty=penalty, policy_class=chosen).log_policy
        epsilon, chosen = self.mstep.epsilon, self.mstep.policy_class
        return constrained_mstep(log_q, log_policy, mu, epsilon=epsilon, policy_class=chosen).log_policy

    def expected_return(self, log_policy: FloatArray) -> float:
        return float(self.evaluate(np.exp(log_policy), alpha=0.0, measure="counting").expected_return)

    def bound(self, log_q: FloatArray, log_policy: FloatArray, alpha: float) -> float:
        r"""The bound $\mathcal J(q,\theta)$; at an infinite temperature only q = pi has a finite one, its return."""
        if alpha in (0.0, math.inf):
            return self.expected_return(log_q) if alpha == 0.0 or np.array_equal(log_q, log_policy) else -math.inf
        if np.any((log_q > -np.inf) & np.isneginf(log_policy)):
            return -math.inf
        return float(self.evaluate(np.exp(log_q), alpha=alpha, measure=np.exp(log_policy)).expected_return)


def _weights(weights: Weights, log_policy: FloatArray) -> FloatArray:
    rule: Callable[[FloatArray], Any] = weights if callable(weights) else lambda _: weights
    return read_weights(rule(np.exp(log_policy)), len(log_policy))
