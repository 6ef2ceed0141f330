r"""Trajectories of T steps without a discount, under a softmax policy: what Appendix B takes gradients of.

The objective is $J=\sum_{t<T}\mathbb E_{s_t\sim\rho_t}\left[\mathbb E_\pi r(s_t,\cdot)+\mathcal H(\pi(\cdot\mid s_t))\right]$; an expectation
over $(s_t,a_t)\sim\rho_\pi$ is summed over the steps, as in Eq. 2.  Gradients are in the logits (one for each state and
action), (..., S, A); marginals are (..., S).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exactrl.formulas import (
    chain_of,
    chain_slopes,
    entropy,
    expected_following,
    mean_slopes,
    next_marginal,
    next_marginal_slopes,
    policy_average,
    soft_policy_value,
    through_softmax,
)
from exactrl.number_systems import namespace
from proofs_checks.claims.soft_q.common import SIZES, policy_field
from proofs_checks.fields import Field, Real, Simplex
from proofs_checks.instances import Problem, Space

STEPS = "trajectories of T steps without a discount; an expectation over rho sums over the steps"


def horizon_space(*, sizes: Mapping[str, tuple[int, ...]] = SIZES, **more: Field) -> Space:
    """Models with rewards, a positive policy and a horizon, and further fields."""
    fields: dict[str, Field] = {
        "initial": Simplex(("states",), exponents=(-20, 0)),
        "dynamics": Simplex(("states", "actions", "states"), exponents=(-20, 0)),
        "rewards": Real(("states", "actions"), exponents=(-1, 2)),
        "policy": policy_field(zeros=False),
    }
    return Space(fields | more, {"horizon": (1, 2, 3), **sizes}, counts=("horizon",))


class Steps:
    """The marginals of the steps, with their derivatives, and the action values to go (plain or soft) of each step."""

    def __init__(self, p: Problem) -> None:
        self.p = p
        chain = chain_of(p.policy, p.dynamics)
        moved = chain_slopes(p.policy, p.dynamics, chain)
        self.marginals, self.slopes = [p.initial], [moved * 0]
        for _ in range(p.horizon - 1):
            self.slopes.append(next_marginal_slopes(self.slopes[-1], self.marginals[-1], chain, moved))
            self.marginals.append(next_marginal(self.marginals[-1], chain))

    def action_values(self, temperature: int) -> list[Any]:
        """The action values of every step; with temperature 1 soft ones, Eq. 15, else plain ones."""
        p = self.p
        found = [p.rewards]
        for _ in range(p.horizon - 1):
            later = soft_policy_value(p.log_policy, found[0], temperature)
            found.insert(0, p.rewards + expected_following(p.dynamics, later))
        return found

    def score_gradient(self, weights: list[Any]) -> Any:
        """The sum over the steps of E[grad log pi(a | s) x_t(s, a)] for the weights x_t."""
        gradient: Any = self.p.policy * 0
        for marginal, weight in zip(self.marginals, weights, strict=True):
            gradient = gradient + marginal[..., None] * through_softmax(self.p.policy, weight)
        return gradient

    def mean_gradient(self, per_state: Any, own: Any) -> Any:
        """The derivative of the sum over the steps of the mean of what a state is worth, of own slopes (..., S, A)."""
        gradient: Any = self.p.policy * 0
        for slopes, marginal in zip(self.slopes, self.marginals, strict=True):
            gradient = gradient + mean_slopes(slopes, marginal, per_state, own)
        return gradient

    def return_gradient(self) -> Any:
        """The gradient of the expected return, derived forwards."""
        p = self.p
        return self.mean_gradient(policy_average(p.policy, p.rewards), through_softmax(p.policy, p.rewards))

    def entropy_gradient(self) -> Any:
        """The gradient of the expected entropies, the movement of the states included."""
        p = self.p
        own = -through_softmax(p.policy, p.log_policy)
        return self.mean_gradient(entropy(p.log_policy), own)

    def regularised_gradient(self) -> Any:
        """The gradient of J, derived forwards."""
        return self.return_gradient() + self.entropy_gradient()


def gradient_size(p: Problem, *arrays: Any) -> Any:
    """The size of the terms of a gradient, for rounding (floats only)."""
    xp = namespace(p.policy)
    if xp.name != "float64":
        return 1.0
    parts = [abs(x).reshape(len(x), -1).max(axis=-1) for x in (p.rewards, p.log_policy, *arrays)]
    return (1 + sum(parts)) * p.horizon**2
