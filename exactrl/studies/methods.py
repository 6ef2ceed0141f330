r"""The methods that the studies compare, each one step from a policy to the next, exactly and in expectation.

| key | Lift | Project |
|---|---|---|
| `ecpo` | tau, tau' | forward, solved (Eq. 4) |
| `ecpo-no-entropy` | tau + tau', 0 | forward, solved |
| `ecpo-one-step` | tau, tau' | one gradient step on the forward divergence |
| `pmd` | tau + tau', 0 | reverse, solved (Eqs. 2 and 3) |
| `pmd-entropy` | tau, tau' | reverse, solved (Sec. 5.3) |
| `ment` | - | one gradient step on the expected return plus tau' times the entropy |

Gradient steps act on the logits of a tabular softmax, one logit for each time, state and action.
Source: ECPO, Sec. 5.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from exactrl.entries import FloatArray
from exactrl.formulas import log_boltzmann, soft_logit_gradient
from exactrl.studies.stacked import Stack
from exactrl.studies.sweeps import lifted_visits, policy_values, soft_sweep, visits

__all__ = ["METHODS", "Method", "Settings", "methods_for"]


@dataclass(frozen=True, eq=False)
class Settings:
    """What a step depends on besides model and policy: temperatures (B,), and the size of a gradient step."""

    tau: FloatArray
    tau_prime: FloatArray
    step_size: float = 1.0


Step: TypeAlias = Callable[[Stack, FloatArray, FloatArray, Settings], FloatArray]


@dataclass(frozen=True)
class Method:
    """A method: its key, its name, one step, whether it has an entropy term, and what it is said never to lower.

    rises: some of "return", "return+entropy", "surrogate"; empty where nothing is claimed for steps of finite size.
    """

    key: str
    name: str
    step: Step
    entropy: bool
    rises: tuple[str, ...]

    def own(self, settings: Settings) -> Settings:
        """The method's own temperatures: without entropy tau' is 0 and tau the former sum."""
        if self.entropy:
            return settings
        total = settings.tau + settings.tau_prime
        return Settings(total, np.zeros_like(total), settings.step_size)


def _solved(forward: bool) -> Step:
    def step(stack: Stack, rewards: FloatArray, log_policy: FloatArray, own: Settings) -> FloatArray:
        return soft_sweep(stack, rewards, log_policy, own.tau, own.tau_prime, forward=forward).log_policy

    return step


def _one_gradient_step(stack: Stack, rewards: FloatArray, log_policy: FloatArray, own: Settings) -> FloatArray:
    """Descend once on D(lift || policy): the slope in a logit is n(s) pi(a|s) - n(s, a), n the lift's visits."""
    sweep = soft_sweep(stack, rewards, log_policy, own.tau, own.tau_prime, forward=True)
    counts = lifted_visits(stack, rewards, sweep)
    slope = counts - counts.sum(axis=-1, keepdims=True) * np.exp(log_policy)
    return np.asarray(log_boltzmann(log_policy + own.step_size * slope, 1.0))


def _ment(stack: Stack, rewards: FloatArray, log_policy: FloatArray, own: Settings) -> FloatArray:
    """Ascend once on E r + tau' H: the slope in a logit is n(s, a) (Q(s, a) - tau' log pi(a|s) - V(s))."""
    _, action_values = policy_values(stack, rewards, log_policy, own.tau_prime)
    present = visits(stack, log_policy).sum(axis=-1)
    slope = soft_logit_gradient(present, log_policy, action_values, own.tau_prime[:, None])
    return np.asarray(log_boltzmann(log_policy + own.step_size * slope, 1.0))


METHODS = {
    method.key: method
    for method in (
        Method("ecpo", "ECPO", _solved(forward=True), True, ("surrogate",)),
        Method("pmd", "PMD", _solved(forward=False), False, ("return",)),
        Method("ecpo-no-entropy", "ECPO without entropy", _solved(forward=True), False, ("surrogate",)),
        Method("pmd-entropy", "PMD + entropy", _solved(forward=False), True, ("return+entropy",)),
        Method("ecpo-one-step", "ECPO, one gradient step", _one_gradient_step, True, ()),
        Method("ment", "MENT, exact gradient", _ment, True, ()),
    )
}


def methods_for(stack: Stack) -> list[Method]:
    """The methods that differ on these models; those that are one with deterministic dynamics bear both names.

    With deterministic dynamics the lift of a policy is a policy, so the direction of the projection does not matter.
    """
    if not stack.deterministic:
        return list(METHODS.values())
    twins = {
        "ecpo": ("ECPO = PMD + entropy", "pmd-entropy"),
        "pmd": ("PMD = ECPO without entropy", "ecpo-no-entropy"),
    }
    kept = []
    for method in METHODS.values():
        if method.key in twins:
            name, twin = twins[method.key]
            kept.append(replace(method, name=name, rises=(*method.rises, *METHODS[twin].rises)))
        elif method.key not in {twin for _, twin in twins.values()}:
            kept.append(method)
    return kept
