r"""MPO's M-step: weighted maximum likelihood, with a penalty, a trust region or a prior, over classes of policies.

    penalised     maximise over pi in Pi   $\mathbb E_\mu[\mathbb E_q\log\pi-\lambda D_{KL}(\pi_i\Vert\pi)]$
    constrained   maximise over pi in Pi   $\mathbb E_\mu\mathbb E_q\log\pi$
                  subject to               $\mathbb E_\mu D_{KL}(\pi_i\Vert\pi)\le\epsilon$
    with a prior  maximise over theta      $\mathbb E_\mu\mathbb E_q\log\pi_\theta-\frac12(\theta-\theta_i)^\top
                                           P(\theta-\theta_i)$

The penalised step is the forward projection of $(q+\lambda\pi_i)/(1+\lambda)$.  On a convex class of tables, and on
softmax-linear policies, whose objective and constraint are concave and convex in theta, the constrained step is the
penalised one with the multiplier $\lambda^*\ge0$ at which the constraint binds, or $\lambda=0$ where it is idle.  On a
finite family it is a comparison, and need not be the penalised step for any lambda.

| class | penalised | constrained | certificate |
|---|---|---|---|
| `Tables` | closed form | root of one equation | duality gap |
| `AliasedTables` | closed form | root of one equation | duality gap |
| `SoftmaxFeatures` | Newton | root of one equation | duality gap |
| `FiniteTables` | comparison | comparison | the runner-up's margin |

Shapes: S states, A actions, M members; log-policies (S, A), weights (S,).  Units: natural logarithms.  States of weight
0 keep the old policy where the class lets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from exactrl.distributions import check_log_distributions, finite_array, index_array, log_distributions
from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.estep import read_radius, read_weights
from exactrl.formulas import log_boltzmann
from exactrl.formulas.mpo import expected_kl, mstep_objective, mstep_target, nearest_table, nearest_table_within
from exactrl.softmax_mstep import solve_softmax_prior, solve_softmax_tables

__all__ = [
    "AliasedTables",
    "FiniteTables",
    "MStep",
    "SoftmaxFeatures",
    "TableClass",
    "Tables",
    "constrained_mstep",
    "penalised_mstep",
    "prior_mstep",
]


@dataclass(frozen=True)
class Tables:
    """All tables (S, A) of action probabilities."""


@dataclass(frozen=True, init=False, eq=False)
class AliasedTables:
    """Tables whose states share their probabilities where they share an observation.

    Shapes: observation_of_state (S,) of integers from 0.  Raises ExactRLError naming the entry that is none.
    """

    observation_of_state: NDArray[np.int64]

    def __init__(self, observation_of_state: Any) -> None:
        seen = index_array("observation_of_state", observation_of_state, 2**31)
        if seen.ndim != 1:
            raise ExactRLError(f"observation_of_state has shape {seen.shape}: expected (S,)")
        object.__setattr__(self, "observation_of_state", seen)


@dataclass(frozen=True, init=False, eq=False)
class FiniteTables:
    """M tables and nothing between them.  Shapes: members (M, S, A).  Raises ExactRLError naming the row."""

    log_members: FloatArray

    def __init__(self, members: Any) -> None:
        logs = log_distributions("members", members)
        if logs.ndim != 3:
            raise ExactRLError(f"members have shape {logs.shape}: expected (M, S, A), one table a member")
        object.__setattr__(self, "log_members", logs)


@dataclass(frozen=True, init=False, eq=False)
class SoftmaxFeatures:
    r"""The policies $\pi_\theta(a\mid s)\propto\exp\{\phi(s,a)^\top\theta\}$.

    Shapes: features (S, A, d).  Raises ExactRLError naming the entry that is not finite.
    """

    features: FloatArray

    def __init__(self, features: Any) -> None:
        features = finite_array("features", features)
        if features.ndim != 3 or features.size == 0:
            raise ExactRLError(f"features have shape {features.shape}: expected (S, A, d), none of them 0")
        object.__setattr__(self, "features", features)


TableClass: TypeAlias = Tables | AliasedTables | FiniteTables | SoftmaxFeatures


@dataclass(frozen=True, eq=False)
class MStep:
    r"""A policy and why no other of the class is better.

    log_policy (S, A).  objective: $\mathbb E_\mu\mathbb E_q\log\pi$.
    divergence: $\mathbb E_\mu D_{KL}(\pi_i\Vert\pi)$.
    penalty: the lambda given, or the constraint's multiplier, 0 where it is idle (on a finite family None).
    gap: no policy of the class has an objective, penalty included, above this one's by more, up to rounding.
    theta (d,): of softmax features, None where only a limit of the family reaches the optimum.
    index, margin: of a finite family, the best member and how much better it is than the next.
    """

    log_policy: FloatArray
    objective: float
    divergence: float
    penalty: float | None = None
    gap: float = 0.0
    theta: FloatArray | None = None
    index: int | None = None
    margin: float | None = None

    @property
    def policy(self) -> FloatArray:
        """The probabilities (S, A)."""
        return np.asarray(np.exp(self.log_policy))


def penalised_mstep(
    log_target: Any, log_policy: Any, weights: Any, *, penalty: float = 0.0, policy_class: TableClass | None = None
) -> MStep:
    r"""Maximise $\mathbb E_\mu[\mathbb E_q\log\pi-\lambda D_{KL}(\pi_i\Vert\pi)]$ over a class.

    By default the class is all tables.  With penalty 0 this is the M-step with an uninformative prior, Eq. 10.
    Shapes: log_target (q), log_policy (pi_i) (S, A), weights (S,).
    Raises ExactRLError naming the entry: no distribution, shapes that do not fit, a negative penalty.
    Source: MPO, Eqs. 10, 11 and 26.
    """
    problem = _read(log_target, log_policy, weights, policy_class)
    strength = read_radius("penalty", penalty)
    mixed = mstep_target(problem.log_target, problem.log_policy, strength)
    if not isinstance(problem.policy_class, FiniteTables):
        return problem.result(*problem.fit(mixed), strength)
    index = int(nearest_table(mixed, problem.policy_class.log_members, problem.weights))
    costs = expected_kl(mixed, problem.policy_class.log_members, problem.weights)
    return problem.member(index, costs * (1.0 + strength), strength)


def constrained_mstep(
    log_target: Any, log_policy: Any, weights: Any, *, epsilon: float, policy_class: TableClass | None = None
) -> MStep:
    r"""Maximise $\mathbb E_\mu\mathbb E_q\log\pi$ subject to $\mathbb E_\mu D_{KL}(\pi_i\Vert\pi)\le\epsilon$.

    Shapes: log_target (q), log_policy (pi_i) (S, A), weights (S,).
    Raises ExactRLError naming the entry, and when no policy of the class is within epsilon of the old one.
    Source: MPO, Eq. 12.
    """
    problem = _read(log_target, log_policy, weights, policy_class)
    radius = read_radius("epsilon", epsilon)
    if isinstance(problem.policy_class, FiniteTables):
        members = problem.policy_class.log_members
        away = expected_kl(problem.log_policy, members, problem.weights)
        _refuse_none_within(float(away.min()), radius)
        index = int(nearest_table_within(problem.log_target, problem.log_policy, members, problem.weights, radius))
        costs = np.where(away > radius, np.inf, expected_kl(problem.log_target, members, problem.weights))
        return problem.member(index, costs, None)
    free = problem.result(*problem.fit(problem.log_target), 0.0)
    if free.divergence <= radius:
        return free
    return problem.bound(radius)


def prior_mstep(log_target: Any, weights: Any, *, features: Any, theta: Any, precision: Any) -> MStep:
    r"""Maximise $\mathbb E_\mu\mathbb E_q\log\pi_\theta-\frac12(\theta-\theta_i)^\top P(\theta-\theta_i)$.

    The last term is the logarithm of a Gaussian prior around theta_i, but for a constant.
    The trust region to second order is $P=\lambda F$ with F from `softmax_fisher`; Eq. 25 prints $P=2\lambda F^{-1}$.
    Shapes: log_target (S, A), weights (S,), features (S, A, d), theta (d,) the prior's mean, precision P (d, d).
    Raises ExactRLError naming the entry, and when the precision is not symmetric or not positive definite.
    Source: MPO, Eqs. 10 and 25.
    """
    phi, centre, inverse = SoftmaxFeatures(features), finite_array("theta", theta), finite_array("precision", precision)
    size = phi.features.shape[-1]
    if centre.shape != (size,) or inverse.shape != (size, size):
        raise ExactRLError(
            f"theta has shape {centre.shape} and precision {inverse.shape}: expected ({size},) and ({size}, {size})"
        )
    if not np.allclose(inverse, inverse.T, rtol=1e-12, atol=0.0):
        raise ExactRLError("precision is not symmetric: expected the inverse of a covariance")
    problem = _read(log_target, log_boltzmann(phi.features @ centre, 1.0), weights, phi)
    fit = solve_softmax_prior(problem.log_target, phi.features, problem.weights, centre, inverse)
    return problem.result(fit.log_policy, fit.theta, fit.gap, 0.0)


def _read(log_target: Any, log_policy: Any, weights: Any, policy_class: TableClass | None) -> _Problem:
    target = check_log_distributions("log_target", log_target)
    policy = check_log_distributions("log_policy", log_policy)
    if target.ndim != 2 or target.shape != policy.shape:
        raise ExactRLError(
            f"log_target has shape {target.shape} and log_policy {policy.shape}: expected (S, A) for both"
        )
    chosen = Tables() if policy_class is None else policy_class
    if not isinstance(chosen, TableClass):
        raise ExactRLError(f"policy_class is a {type(chosen).__name__}: expected one of exactrl.mstep")
    expected: tuple[str, tuple[int, ...], tuple[int, ...]] | None = None
    if isinstance(chosen, AliasedTables):
        expected = "observation_of_state", chosen.observation_of_state.shape, target.shape[:1]
    elif isinstance(chosen, FiniteTables):
        expected = "each member", chosen.log_members.shape[1:], target.shape
    elif isinstance(chosen, SoftmaxFeatures):
        expected = "features for each parameter", chosen.features.shape[:2], target.shape
    if expected is not None and expected[1] != expected[2]:
        raise ExactRLError(f"policy_class has shape {expected[1]} for {expected[0]}: expected {expected[2]}")
    return _Problem(target, policy, read_weights(weights, len(target)), chosen)


def _refuse_none_within(least: float, radius: float) -> None:
    if least > radius:
        raise ExactRLError(
            f"no policy of the class is within epsilon = {radius:g} of log_policy, the nearest is at {least:g}: "
            "expected a larger epsilon, or a class that contains the old policy"
        )


@dataclass(frozen=True, eq=False)
class _Problem:
    """An M-step that has been checked."""

    log_target: FloatArray
    log_policy: FloatArray
    weights: FloatArray
    policy_class: TableClass

    def divergence(self, log_table: FloatArray) -> float:
        """How far the table is from the old policy."""
        return max(float(expected_kl(self.log_policy, log_table, self.weights)), 0.0)

    def result(self, log_table: FloatArray, theta: FloatArray | None, gap: float, penalty: float) -> MStep:
        """The step with its figures; the gap of a projection counts 1 + penalty times in the objective."""
        objective = float(mstep_objective(self.log_target, log_table, self.weights))
        return MStep(log_table, objective, self.divergence(log_table), penalty, (1.0 + penalty) * gap, theta)

    def member(self, index: int, costs: FloatArray, penalty: float | None) -> MStep:
        """The member of the finite class, and by how much the others cost more."""
        members = self.policy_class.log_members  # type: ignore[union-attr]
        second = float(np.delete(costs, index).min(initial=np.inf))
        margin = 0.0 if second == costs[index] else second - float(costs[index])
        step = self.result(members[index], None, 0.0, 0.0)
        return MStep(step.log_policy, step.objective, step.divergence, penalty, index=index, margin=margin)

    def fit(self, log_mixture: FloatArray) -> tuple[FloatArray, FloatArray | None, float]:
        """The forward projection of a table onto the class: log-table (S, A), theta, gap."""
        if isinstance(self.policy_class, SoftmaxFeatures):
            fit = solve_softmax_tables(log_mixture, self.log_policy, self.policy_class.features, self.weights)
            return fit.log_policy, fit.theta, fit.gap
        if isinstance(self.policy_class, AliasedTables):
            return self._aliased(log_mixture, self.policy_class.observation_of_state), None, 0.0
        return np.where(self.weights[:, None] > 0, log_mixture, self.log_policy), None, 0.0

    def _aliased(self, log_mixture: FloatArray, seen: NDArray[np.int64]) -> FloatArray:
        """Each observation's average; where it has weight 0, that of the old policy over its states."""
        counts = np.zeros((int(seen.max()) + 1, 2, log_mixture.shape[1]))
        np.add.at(counts[:, 0], seen, self.weights[:, None] * np.exp(log_mixture))
        np.add.at(counts[:, 1], seen, np.exp(self.log_policy))
        visits = counts.sum(axis=-1)
        chosen = np.where(visits[:, 0] > 0, 0, 1)
        rows = np.arange(len(counts))
        with np.errstate(divide="ignore", invalid="ignore"):
            log_rows = np.log(counts[rows, chosen] / visits[rows, chosen][:, None])
        return np.asarray(log_rows[seen])

    def bound(self, radius: float) -> MStep:
        """The constrained step where the constraint binds, from the share w = 1 / (1 + lambda) of q in the mixture.

        The divergence rises with w.  Its square root is nearly linear, so that Brent's method takes few steps; the
        share found is then lowered, by units in the last place, until the step is feasible.
        """
        from scipy.optimize import brentq

        def away(share: float) -> float:
            return self.divergence(self._at(share)[0])

        _refuse_none_within(away(0.0), radius)
        share = float(brentq(_rooted(away, radius), 0.0, 1.0, xtol=1e-300, rtol=1e-15, maxiter=500))
        shrink = 2.0**-52
        while away(share) > radius:
            share, shrink = share * (1.0 - shrink), min(2 * shrink, 0.5)
        table, theta, gap = self._at(share)
        step = self.result(table, theta, gap, 1.0 / share - 1.0 if share > 0.0 else math.inf)
        if step.penalty == math.inf:  # nothing else is feasible
            return MStep(table, step.objective, step.divergence, math.inf, 0.0, theta)
        slack = (1.0 / share - 1.0) * max(radius - step.divergence, 0.0)
        return MStep(table, step.objective, step.divergence, step.penalty, step.gap + slack, theta)

    def _at(self, share: float) -> tuple[FloatArray, FloatArray | None, float]:
        mixed = self.log_policy if share == 0.0 else mstep_target(self.log_target, self.log_policy, 1.0 / share - 1.0)
        return self.fit(mixed)


def _rooted(away: Callable[[float], float], radius: float) -> Callable[[float], float]:
    return lambda share: min(math.sqrt(2.0 * away(share)), 1e3) - math.sqrt(2.0 * radius)
