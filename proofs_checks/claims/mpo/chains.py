r"""Chains that policies make of finite models, and their episodes, for claims of the MPO paper about infinite sums.

The discounted visits of a policy are the rows of $(I-\gamma P_q)^{-1}$, from a linear system, exact up to the width of
the balls; a state that cannot be reached has exactly 0 visits, so that a divergence that is infinite there does not
count.  An episode is a tuple $(s_0,a_0),\dots,(s_{n-1},a_{n-1})$.
Shapes: states S, actions A; dynamics (..., S, A, S), rewards and policies (..., S, A), values (..., S), visits
(..., S, S); episodes on the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.formulas import chain_of, lookahead, next_marginal, policy_average, soft_policy_value
from exactrl.number_systems import namespace
from proofs_checks.claims.discounted import reachable, resolvent
from proofs_checks.claims.mpo.common import FINITE
from proofs_checks.claims.terms import row, size, times
from proofs_checks.fields import Discount, Field, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

INFINITE_HORIZON = "infinite horizon, gamma in [0, 1)"
TEMPERATURE = "alpha > 0"
SHARED = [FINITE, INFINITE_HORIZON, TEMPERATURE]
SHORT = (-20, 0)
TINY = 1e-300

SIZES = {"s": (1, 2), "a": (1, 2, 3)}


def model_space(*, counts: dict[str, tuple[int, ...]] | None = None, **more: Field) -> Space:
    """Discounted models with a policy pi, and further fields; `counts` are numbers of steps and the like."""
    fields: dict[str, Field] = {
        "dynamics": Simplex(("s", "a", "s"), exponents=SHORT),
        "rewards": Real(("s", "a"), exponents=(-3, 3)),
        "discount": Discount(),
        "policy": policy_field(),
    }
    return Space(fields | more, SIZES | (counts or {}), counts=tuple(counts or ()))


def policy_field(*, zeros: bool = True) -> Simplex:
    """A policy; zeros are permitted unless the claim excludes them."""
    return Simplex(("s", "a"), zeros=zeros, exponents=SHORT)


def temperature() -> Positive:
    """The temperature alpha of Eqs. 2 and 3."""
    return Positive(exponents=(-2, 2))


def visits(p: Problem, policy: Any, support: Any) -> Any:
    """The expected discounted number of visits to each state from each state, exactly 0 where there can be none."""
    found = resolvent(p, chain_of(policy, p.dynamics))
    if isinstance(found, np.ndarray):
        found = np.maximum(found, TINY)  # rounding must not make a possible visit impossible
    return namespace(policy).where(reachable(p, support), found, 0)


def discounted(weights: Any, per_state: Any) -> Any:
    """Sum of a quantity of the states over the visits from each state, (..., S)."""
    xp = namespace(weights)
    return xp.sum(xp.weighted(weights, per_state[..., None, :]))


def regularised_reward(p: Problem, log_variational: Any) -> Any:
    """The term of Eq. 3 at each state, E_q r - alpha KL(q || pi)."""
    return soft_policy_value(log_variational, p.rewards, row(p.alpha), p.log_policy)


def ahead(p: Problem, values: Any) -> Any:
    """Action values of a step followed by the values, which may be infinite where no step leads."""
    xp = namespace(values)
    following = xp.sum(xp.weighted(p.dynamics, values[..., None, None, :]))
    return lookahead(p.rewards, row(row(p.discount)), following)


def own_values(p: Problem) -> Any:
    """The expected return of the policy from each state, without any divergence."""
    return discounted(visits(p, p.policy, p.support_policy), policy_average(p.policy, p.rewards))


def pair_values(p: Problem) -> Any:
    """The sum of discounted rewards after each pair under the policy, by the chain of pairs: Eq. 5, (..., S, A)."""
    xp = namespace(p.policy)
    states, actions = p.policy.shape[-2:]
    lead = p.policy.shape[:-2]
    steps = p.dynamics[..., None] * p.policy[..., None, None, :, :]
    kernel = xp.reshape(steps, (*lead, states * actions, states * actions))
    flat = xp.reshape(p.rewards, (*lead, states * actions))
    return xp.reshape(times(resolvent(p, kernel), flat), p.rewards.shape)


def model_size(p: Problem, *arrays: Any) -> Any:
    """The size of the terms of a discounted sum, for rounding (floats only)."""
    if namespace(p.policy).name != "float64":
        return 1.0
    return (size(*arrays) + 1) / (1 - p.discount) ** 2


def divergence_size(p: Problem, *logs: Any) -> Any:
    """The size of alpha times the logarithms of policies (floats only)."""
    return row(row(p.alpha)) * (1 + row(row(size(*logs)))) if namespace(p.policy).name == "float64" else 1.0


def log_episodes(p: Problem, log_policy: Any, steps: int, *, from_second: bool = False) -> Any:
    """Log-probability of every episode of the given number of steps, (..., N) with N = (S A)^steps.

    `from_second` leaves out the first action and the transition after it, as a product over t > 0 does.
    """
    xp = namespace(log_policy)
    states, actions = log_policy.shape[-2:]
    lead = log_policy.shape[:-2]
    uncounted = p.dynamics[..., 0] * 0
    first = p.log_initial[..., :, None] + (uncounted if from_second else log_policy)
    logs = xp.reshape(first, (*lead, 1, states, actions))
    for t in range(1, steps):
        step = (p.dynamics * 0 if from_second and t == 1 else p.log_dynamics)[..., None]
        step = step + log_policy[..., None, None, :, :]
        logs = logs[..., None, None] + step[..., None, :, :, :, :]
        logs = xp.reshape(logs, (*lead, -1, states, actions))
    return xp.reshape(logs, (*lead, -1))


def returns_of_episodes(p: Problem, steps: int) -> Any:
    """The undiscounted return of every episode, in the order of `log_episodes`."""
    xp = namespace(p.rewards)
    flat = xp.reshape(p.rewards, (*p.rewards.shape[:-2], -1))
    total = flat
    for _ in range(steps - 1):
        total = total[..., :, None] + flat[..., None, :]
        total = xp.reshape(total, (*flat.shape[:-1], -1))
    return total


def state_laws(p: Problem, policy: Any, steps: int) -> list[Any]:
    """The distribution of the state at each of the first steps, (..., S) each."""
    chain, laws = chain_of(policy, p.dynamics), [p.initial]
    for _ in range(steps - 1):
        laws.append(next_marginal(laws[-1], chain))
    return laws
