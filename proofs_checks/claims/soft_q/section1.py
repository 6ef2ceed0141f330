"""Section 1: the conventional notion of optimality."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expectation
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, Check, claim
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    MODEL,
    deterministic_policies,
    policy_field,
    soft_action_values,
    value_size,
)
from proofs_checks.instances import Problem, Space


def _values(p: Problem, log_policy: Any) -> Any:
    """The standard values of a policy in every state, Eq. 1 with a discount, less those of the reward of the first pair.

    The same is taken from all policies, so that where all rewards are equal all values are 0, exactly.
    """
    return expectation(log_policy, soft_action_values(p, log_policy, p.rewards - p.rewards[..., :1, :1], 0))


def _deterministic_values(p: Problem) -> Any:
    """The values of every deterministic policy, (D, ..., S)."""
    return namespace(p.rewards).stack([_values(p, log_policy) for log_policy in deterministic_policies(p)])


@claim(
    "soft_q.intro.deterministic",
    where="Sec. 1",
    title="The optimal solution is a deterministic policy",
    statement="Under the conventional notion of optimality the optimal solution, at least under full observability, is always a "
    r"deterministic policy, $\pi(a\mid s)\in\{0,1\}$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="deterministic",
    intended_statement="Under the conventional notion of optimality some deterministic policy is always optimal, in all states at once.",
    explanation="Read word for word, whatever is optimal is deterministic; but where actions are equally good, every mixture of them is "
    "optimal too, and the paper itself deals with tasks of several equally good goals. What the textbook that it cites shows, and what the "
    "paper needs, is that one of the optimal policies is deterministic.",
    hand_check=r"One state, two actions with $r=(0,0)$: $\pi=(\frac12,\frac12)$ has the value 0, which is the largest there is.",
)
def an_optimal_policy_is_deterministic(p: Problem) -> Check:
    """A policy that is not deterministic would have to fall short of the best deterministic one in some state."""
    xp = namespace(p.rewards)
    short = xp.max(xp.max(_deterministic_values(p), axis=0) - _values(p, p.log_policy))
    mixed = xp.sum(xp.sum(p.policy * (1 - p.policy)))
    return Check("deterministic", short, ">", 0, scale=value_size(p, p.rewards), given=((mixed, ">", 0),))


def some_optimal_policy_is_deterministic(p: Problem) -> list[Check]:
    """No policy has more than the best deterministic one, and one of these is best in all states."""
    xp = namespace(p.rewards)
    every = _deterministic_values(p)
    best = xp.max(every, axis=0)
    scale = value_size(p, p.rewards)
    short = xp.min(xp.max(best - every), axis=0)
    return [
        Check("no policy is better", _values(p, p.log_policy), "<=", best, scale=scale),
        Check("one for all states", short, "==", short * 0, scale=scale),
    ]


_CONVENTIONAL = [
    FINITE,
    INFINITE_HORIZON,
    "optimal: of the largest discounted return from every state (Eq. 1 with a discount)",
]
an_optimal_policy_is_deterministic.reading(
    "literal",
    space=Space(MODEL | {"policy": policy_field()}, {"states": (1, 2), "actions": (1, 2)}),
    assumptions=[*_CONVENTIONAL, "the policy sees the state"],
    effort=0.5,
)
an_optimal_policy_is_deterministic.reading(
    "intended",
    space=Space(MODEL | {"policy": policy_field()}, {"states": (1, 2), "actions": (1, 2, 3)}),
    adds=["among the optimal policies is a deterministic one; there may be others"],
    sides=some_optimal_policy_is_deterministic,
    effort=0.5,
)
