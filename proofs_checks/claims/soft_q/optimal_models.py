r"""Models that are drawn by their solution: a positive policy and soft values, from which the rewards follow.

Every pair $(\pi^*,V^*)$ of a positive policy and values has one model in which it is the policy of Theorem 1 and its soft
values, with $r(s,a)=V^*(s)+\alpha\log\pi^*(a\mid s)-\gamma\mathbb E V^*(s')$, and every model is one of these.  So the
fixed point is known exactly, and nothing has to be iterated to find it.
Shapes: S states, A actions; (..., S, A) and (..., S).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exactrl.formulas import soft_policy_value
from proofs_checks.claims.soft_q.common import SIZES, bellman, policy_field, soft_action_values
from proofs_checks.claims.terms import row
from proofs_checks.fields import Discount, Field, Real, Simplex
from proofs_checks.instances import Problem, Space

DRAWN_BY_SOLUTION = (
    r"Models are drawn by their solution: a positive policy and soft values, from which the rewards "
    r"$r=V+\alpha\log\pi-\gamma\mathbb EV$ follow; every model is one of these."
)

#: enough for what two states and two actions already refute
FEW = {"states": (1, 2), "actions": (1, 2)}


def optimal_space(
    *, sizes: Mapping[str, tuple[int, ...]] = SIZES, counts: Mapping[str, tuple[int, ...]] | None = None, **more: Field
) -> Space:
    """Models by their optimal policy and values, with further fields and counts; a field given replaces one of these."""
    fields: dict[str, Field] = {
        "dynamics": Simplex(("states", "actions", "states"), exponents=(-20, 0)),
        "values": Real(("states",)),
        "policy": policy_field(zeros=False),
        "discount": Discount(),
    }
    counts = counts or {}
    return Space(fields | more, {**sizes, **counts}, counts=tuple(counts))


def optimal_action_values(p: Problem, alpha: Any = 1) -> Any:
    """The soft action values of the solution, V + alpha log pi; alpha is 1 or per instance, (..., 1)."""
    return p.values[..., :, None] + (row(alpha) if hasattr(alpha, "ndim") else alpha) * p.log_policy


def rewards_of(p: Problem, alpha: Any = 1) -> Any:
    """The rewards under which the drawn policy and values are the solution."""
    return bellman(p, optimal_action_values(p, alpha), -p.values)


def values_of(p: Problem, log_policy: Any, rewards: Any, alpha: Any = 1) -> tuple[Any, Any]:
    """The soft action values of a policy, and its soft values, which count the entropy of the first step too."""
    action_values = soft_action_values(p, log_policy, rewards, alpha)
    return action_values, soft_policy_value(log_policy, action_values, alpha)
