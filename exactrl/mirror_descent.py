r"""PMD and ECPO as exact iterations over distributions of trajectories, and the regret along them.

One iteration lifts the current policy off the class and projects it back:

    PMD    $\bar\pi_{t+1}=\arg\max_{\pi\in\Delta}\mathbb E_\pi r-\tau D_{KL}(\pi\Vert\pi_t)$,
           $\pi_{t+1}=\arg\min_{\pi\in\Pi}D_{KL}(\pi\Vert\bar\pi_{t+1})$
    ECPO   $\bar\pi_{t+1}=\arg\max_{\pi\in\Delta}\mathbb E_\pi r-\tau D_{KL}(\pi\Vert\pi_t)+\tau'\mathcal H(\pi)$,
           $\pi_{t+1}=\arg\min_{\pi\in\Pi}D_{KL}(\bar\pi_{t+1}\Vert\pi)$

Shapes: N trajectories, T steps; log-probabilities (T, N); returns (N,), or (T, N) where they change from step to step.
Temperatures are numbers, or functions of the step t = 1, 2, ...; any tau, tau' with tau + tau' > 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from exactrl.distributions import check_log_distributions, finite_array
from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.formulas import expectation, log_lift, theorem1_regret_bound, theorem1_temperatures
from exactrl.policy_classes import PolicyClass, log_extreme_points
from exactrl.projections import Projection, project_forward, project_reverse

__all__ = [
    "Iterates",
    "Temperature",
    "ecpo",
    "pmd",
    "regret",
    "theorem1_anytime_schedule",
    "theorem1_bound",
    "theorem1_schedule",
]

Temperature: TypeAlias = float | Callable[[int], float]


@dataclass(frozen=True, eq=False)
class Iterates:
    """What an iteration did.

    log_policies (T + 1, N): the initial policy and each projected one.  log_lifted (T, N): what was projected.
    returns (T, N), tau (T,), tau_prime (T,): what each step used.  projections: T results with their certificates.
    """

    log_policies: FloatArray
    log_lifted: FloatArray
    returns: FloatArray
    tau: FloatArray
    tau_prime: FloatArray
    projections: tuple[Projection, ...]

    @property
    def policies(self) -> FloatArray:
        """The probabilities (T + 1, N)."""
        return np.asarray(np.exp(self.log_policies))


def pmd(log_initial: Any, returns: Any, *, tau: Temperature, policy_class: PolicyClass, steps: int) -> Iterates:
    r"""Policy mirror descent: lift with tau' = 0, then $\arg\min_{\pi\in\Pi}D_{KL}(\pi\Vert\bar\pi^*_\tau)$.

    Shapes: log_initial (N,) log-probabilities; returns (N,) or (steps, N).
    Raises ExactRLError for a bad shape or entry, a temperature that is not positive, or a step without a projection.
    Source: ECPO, Eq. 3.
    """
    return _iterate(log_initial, returns, (tau, 0.0), policy_class, steps, project_reverse)


def ecpo(
    log_initial: Any,
    returns: Any,
    *,
    tau: Temperature,
    tau_prime: Temperature,
    policy_class: PolicyClass,
    steps: int,
) -> Iterates:
    r"""ECPO: entropy-regularised lift, forward projection $\arg\min_{\pi\in\Pi}D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi)$.

    Shapes: log_initial (N,) log-probabilities; returns (N,) or (steps, N).
    Raises ExactRLError for a bad shape or entry, tau + tau' <= 0, or a step without a lift or a projection.
    Source: ECPO, Eqs. 4 and 5.
    """
    return _iterate(log_initial, returns, (tau, tau_prime), policy_class, steps, project_forward)


def _iterate(
    log_initial: Any,
    returns: Any,
    temperatures: tuple[Temperature, Temperature],
    policy_class: PolicyClass,
    steps: int,
    project: Callable[[Any, PolicyClass], Projection],
) -> Iterates:
    policy = check_log_distributions("log_initial", log_initial)
    if policy.ndim != 1:
        raise ExactRLError(f"log_initial has shape {policy.shape}: expected (N,)")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 0:
        raise ExactRLError(f"steps is {steps!r}: expected a number of iterations, at least 0")
    rewards = _each_step(returns, steps, len(policy))
    tau, tau_prime = (_schedule(name, x, steps) for name, x in zip(("tau", "tau_prime"), temperatures, strict=True))
    policies, lifted, projections = [policy], [], []
    for t in range(steps):
        lift = _lift(policy, rewards[t], float(tau[t]), float(tau_prime[t]), t + 1)
        projection = project(lift, policy_class)
        if projection.divergence == math.inf:
            raise ExactRLError(
                f"step {t + 1}: every member of the class has infinite divergence to the lifted policy; "
                "give the class a member with the support of the lift"
            )
        policy = projection.log_policy
        policies.append(policy)
        lifted.append(lift)
        projections.append(projection)
    log_lifted = np.array(lifted).reshape(steps, len(policy))
    return Iterates(np.array(policies), log_lifted, rewards, tau, tau_prime, tuple(projections))


def _lift(policy: FloatArray, returns: FloatArray, tau: float, tau_prime: float, t: int) -> FloatArray:
    impossible = np.isneginf(policy)
    if tau < 0 and impossible.any():
        where = int(np.argmax(impossible))
        raise ExactRLError(
            f"step {t}: the lift is undefined, because tau is {tau:g} and trajectory {where} has probability 0; "
            "with a negative tau every trajectory needs a positive probability"
        )
    try:
        return log_lift(policy, returns, tau, tau_prime)
    except ExactRLError as error:
        raise ExactRLError(f"step {t}: {error}") from error


def _each_step(returns: Any, steps: int, n: int) -> FloatArray:
    rewards = finite_array("returns", returns)
    if rewards.shape not in ((n,), (steps, n)):
        raise ExactRLError(f"returns have shape {rewards.shape}: expected ({n},) or ({steps}, {n})")
    return np.broadcast_to(rewards, (steps, n))


def _schedule(name: str, temperature: Temperature, steps: int) -> FloatArray:
    values = [temperature(t) if callable(temperature) else temperature for t in range(1, steps + 1)]
    return finite_array(name, np.array(values, dtype=np.float64))


def theorem1_schedule(horizon: int, n: int) -> tuple[float, float]:
    r"""Temperatures tau, tau' with $\tau'=1/\sqrt{T\log n}$ and $\tau+\tau'=\sqrt T/\sqrt{2\log n}$.

    T steps, n trajectories.  At T = 1 tau is negative; tau + tau' is not.
    Raises ExactRLError for T < 1, and for n = 1, where log n = 0.
    Source: ECPO, Theorem 1.
    """
    _refuse_one_trajectory(n)
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or horizon < 1:
        raise ExactRLError(f"horizon is {horizon!r}: expected a positive number of steps")
    tau, tau_prime = theorem1_temperatures(horizon, n)
    return float(tau), float(tau_prime)


def theorem1_anytime_schedule(n: int) -> tuple[Callable[[int], float], Callable[[int], float]]:
    r"""Functions tau(t), tau'(t) with $\tau'=1/\sqrt{t\log n}$ and $\tau+\tau'=\sqrt t/\sqrt{2\log n}$, t = 1, 2, ...

    Raises ExactRLError for n = 1, where log n = 0.
    Source: ECPO, Theorem 1, the variant in brackets.
    """
    _refuse_one_trajectory(n)
    return (lambda t: theorem1_schedule(t, n)[0]), (lambda t: theorem1_schedule(t, n)[1])


def _refuse_one_trajectory(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 2:
        raise ExactRLError(f"n is {n!r}: expected at least 2 trajectories, because the schedule divides by log n")


def theorem1_bound(horizon: int, n: int) -> float:
    r"""The bound $4\sqrt{T\log n}$ on the regret after T steps over n trajectories.  Source: ECPO, Theorem 1."""
    return float(theorem1_regret_bound(horizon, n))


def regret(log_policies: Any, returns: Any, comparator: Any) -> FloatArray:
    r"""Cumulative regret $\sum_{s\le t}(\mathbb E_\pi r_s-\mathbb E_{\pi_s}r_s)$ for t = 1 ... T.

    It counts exactly the policies given.  Against a class or several comparators, the best in hindsight at each t.

    Shapes: log_policies (T, N); returns (N,) or (T, N); comparator log-probabilities (N,) or (M, N), or a policy class
    -> (T,).
    Raises ExactRLError for a bad shape or entry, and for a softmax family as the comparator.
    Source: ECPO, Theorem 1.
    """
    policies = check_log_distributions("log_policies", log_policies)
    if policies.ndim != 2:
        raise ExactRLError(f"log_policies have shape {policies.shape}: expected (T, N)")
    rewards = _each_step(returns, *policies.shape)
    if isinstance(comparator, PolicyClass):
        rivals = log_extreme_points(comparator)
    else:
        rivals = np.atleast_2d(check_log_distributions("comparator", comparator))
    if rivals.ndim != 2 or rivals.shape[1] != policies.shape[1]:
        n = policies.shape[1]
        raise ExactRLError(f"comparator has shape {rivals.shape}: expected ({n},) or (M, {n})")
    advantages = expectation(rivals[:, None], rewards) - expectation(policies, rewards)
    result: FloatArray = np.cumsum(advantages, axis=1).max(axis=0)
    return result
