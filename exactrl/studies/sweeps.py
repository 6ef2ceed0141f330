r"""Recursions over time and states that do without the list of trajectories.

**Forward projection (ECPO).**  The lifted distribution $\bar\pi^*f$ of Lemma 8 is a Markov chain again: with
$\eta=\tau+\tau'$ and $V_{H+1}=0$, backwards in t,

    $Q_t(s,a)=\eta\log\sum_{s'}P(s'\mid s,a)\exp\{(r_t(s,a,s')+V_{t+1}(s'))/\eta\}$
    $V_t(s)=\eta\log\sum_a\exp\{(Q_t(s,a)+\tau\log\pi_t(a\mid s))/\eta\}$

it takes action a with probability $\exp\{(Q_t(s,a)+\tau\log\pi_t(a\mid s)-V_t(s))/\eta\}$ and then moves by
$P\exp\{(r_t+V_{t+1}-Q_t)/\eta\}$.  The nearest policy in $D_{KL}(\bar\pi^*f\Vert\pi f)$ takes actions as often as the
lift does in that state and step, which is that very probability.  At the start,
$SR_f=\eta\log\sum_s\mu(s)\exp\{V_1(s)/\eta\}$.

**Reverse projection (PMD).**  The maximiser of $\mathbb E r-\tau D_{KL}+\tau'\mathcal H$ over policies obeys the same
recursion with $Q_t=\sum_{s'}P(s'\mid s,a)(r_t+V_{t+1})$: a mean where the lift has a soft maximum.  With deterministic
dynamics the two are one (ECPO, Eq. 8).

Shapes as in `stacked`; rewards (B, S, A, K); temperatures (B,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exactrl.entries import FloatArray
from exactrl.formulas import (
    expectation,
    log_boltzmann,
    shaped_returns,
    soft_policy_value,
    soft_value,
    total_temperature,
)
from exactrl.studies.stacked import Stack

__all__ = [
    "SoftSweep",
    "best_return",
    "entropy",
    "expected_return",
    "lifted_visits",
    "policy_values",
    "return_range",
    "soft_sweep",
    "surrogate",
    "visits",
]


@dataclass(frozen=True, eq=False)
class SoftSweep:
    """A soft backward recursion: log_policy, action_values (H, B, S, A), values (H + 1, B, S), its temperature (B,)."""

    log_policy: FloatArray
    action_values: FloatArray
    values: FloatArray
    temperature: FloatArray


def soft_sweep(
    stack: Stack, rewards: FloatArray, log_policy: FloatArray, tau: FloatArray, tau_prime: FloatArray, *, forward: bool
) -> SoftSweep:
    """The projected lift of a policy: nearest in the forward direction (ECPO), or in the reverse one (PMD).

    Raises ExactRLError when tau + tau' is not positive.
    Source: ECPO, Eq. 8 and Lemma 8 (forward); Eqs. 2 and 3 (reverse).
    """
    temperature = total_temperature(tau, tau_prime)
    values = np.zeros((stack.horizon + 1, *stack.shape[:2]))
    action_values, projected = np.empty_like(log_policy), np.empty_like(log_policy)
    for t in reversed(range(stack.horizon)):
        outcomes = stack.discounts[t] * rewards + stack.next_values(values[t + 1])
        if forward and stack.target.shape[3] > 1:
            action_values[t] = soft_value(outcomes, temperature[:, None, None], stack.log_probability)
        else:
            action_values[t] = np.sum(stack.probability * outcomes, axis=-1)
        score = shaped_returns(log_policy[t], action_values[t], tau[:, None])
        values[t] = soft_value(score, temperature[:, None])
        projected[t] = log_boltzmann(score, temperature[:, None])
    return SoftSweep(projected, action_values, values, temperature)


def surrogate(
    stack: Stack, rewards: FloatArray, log_policy: FloatArray, tau: FloatArray, tau_prime: FloatArray
) -> FloatArray:
    """The surrogate SR_f of each model's policy, (B,).  Source: ECPO, Theorem 3; Eq. 7 with f = 1."""
    sweep = soft_sweep(stack, rewards, log_policy, tau, tau_prime, forward=True)
    return np.asarray(soft_value(sweep.values[0], sweep.temperature, stack.log_initial))


def lifted_visits(stack: Stack, rewards: FloatArray, sweep: SoftSweep) -> FloatArray:
    """How often the lifted distribution of a forward sweep takes each action: expected visits (H, B, S, A)."""
    eta = sweep.temperature
    start = np.exp(log_boltzmann(sweep.values[0], eta, stack.log_initial) + stack.log_initial)
    kernels = []
    for t in range(stack.horizon):
        gain = stack.discounts[t] * rewards + stack.next_values(sweep.values[t + 1]) - sweep.action_values[t][..., None]
        kernels.append(np.exp(stack.log_probability + gain / eta[:, None, None, None]))
    return _visits(stack, start, sweep.log_policy, kernels)


def visits(stack: Stack, log_policy: FloatArray) -> FloatArray:
    """How often a policy takes each action: expected visits (H, B, S, A)."""
    return _visits(stack, np.exp(stack.log_initial), log_policy, [stack.probability] * stack.horizon)


def _visits(stack: Stack, start: FloatArray, log_policy: FloatArray, kernels: list[FloatArray]) -> FloatArray:
    counts, present = np.empty_like(log_policy), start
    for t, kernel in enumerate(kernels):
        counts[t] = present[..., None] * np.exp(log_policy[t])
        moved = (counts[t][..., None] * kernel).reshape(-1)
        arrived = np.bincount(stack.target.reshape(-1), moved, minlength=start.size)
        present = np.asarray(arrived, dtype=np.float64).reshape(start.shape)
    return counts


def policy_values(
    stack: Stack, rewards: FloatArray, log_policy: FloatArray, tau_prime: FloatArray
) -> tuple[FloatArray, FloatArray]:
    r"""Values (H + 1, B, S) and action values (H, B, S, A) of a policy under the reward $r-\tau'\log\pi$.

    The action values count the entropy of later actions only; (B,) temperatures of 0 give the plain values.
    """
    values, action_values = np.zeros((stack.horizon + 1, *stack.shape[:2])), np.empty_like(log_policy)
    earned = np.sum(stack.probability * rewards, axis=-1)
    for t in reversed(range(stack.horizon)):
        later = np.sum(stack.probability * stack.next_values(values[t + 1]), axis=-1)
        action_values[t] = stack.discounts[t] * earned + later
        values[t] = soft_policy_value(log_policy[t], action_values[t], tau_prime[:, None])
    return values, action_values


def expected_return(stack: Stack, rewards: FloatArray, log_policy: FloatArray) -> FloatArray:
    """The expected return of each model's policy, (B,)."""
    values, _ = policy_values(stack, rewards, log_policy, np.zeros(len(rewards)))
    return np.asarray(expectation(stack.log_initial, values[0]))


def entropy(stack: Stack, log_policy: FloatArray) -> FloatArray:
    r"""The entropy $\mathbb E[-\log\pi(\rho)]$ of each policy's actions, in nats, (B,)."""
    ones = np.ones(stack.shape[0])
    values, _ = policy_values(stack, np.zeros_like(stack.reward), log_policy, ones)
    return np.asarray(expectation(stack.log_initial, values[0]))


def best_return(stack: Stack, rewards: FloatArray) -> FloatArray:
    """The largest expected return of any policy, (B,)."""
    values = np.zeros(stack.shape[:2])
    for t in reversed(range(stack.horizon)):
        outcomes = stack.discounts[t] * rewards + stack.next_values(values)
        values = np.sum(stack.probability * outcomes, axis=-1).max(axis=-1)
    return np.asarray(expectation(stack.log_initial, values))


def return_range(stack: Stack, rewards: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The least and the greatest return of any trajectory that can happen, (B,) each."""
    possible, starts = np.isfinite(stack.log_probability), np.isfinite(stack.log_initial)
    ends = []
    for sign in (-1.0, 1.0):
        values = np.zeros(stack.shape[:2])
        for t in reversed(range(stack.horizon)):
            outcomes = sign * stack.discounts[t] * rewards + stack.next_values(values)
            values = np.where(possible, outcomes, -np.inf).max(axis=(-1, -2))
        ends.append(sign * np.where(starts, values, -np.inf).max(axis=-1))
    return ends[0], ends[1]
