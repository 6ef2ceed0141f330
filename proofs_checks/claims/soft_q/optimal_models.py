r"""Models that are drawn by their solution: a positive policy and soft values, from which the rewards follow.

Every pair $(\pi^*,V^*)$ of a positive policy and values has one model in which it is the policy of Theorem 1 and its soft
values, with $r(s,a)=V^*(s)+\alpha\log\pi^*(a\mid s)-\gamma\mathbb E V^*(s')$, and every model is one of these.  So the
fixed point is known exactly, and nothing has to be iterated to find it.  The temperature is that of the instance, 1 where
it has none.
Shapes: S states, A actions; (..., S, A) and (..., S).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exactrl.formulas import soft_policy_value
from exactrl.number_systems import namespace
from proofs_checks.claim import Check
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.soft_q.common import SIZES, policy_field, soft_action_values, value_size
from proofs_checks.claims.terms import row
from proofs_checks.fields import Discount, Field, Positive, Real, Simplex
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


def known_space(*, steps: tuple[int, ...] = (), **more: Field) -> Space:
    """Such models with a temperature, with further fields, and a number of steps where one is given."""
    counts = {"steps": steps} if steps else {}
    sizes = {"states": (1, 2), "actions": (1, 2, 3)} if steps else SIZES
    return optimal_space(sizes=sizes, counts=counts, alpha=Positive(), **more)


def temperature(p: Problem) -> Any:
    """The temperature of the instance, to meet states, (..., 1); 1 where it has none."""
    return row(p.alpha) if hasattr(p, "alpha") else 1


def optimal_action_values(p: Problem) -> Any:
    """The soft action values of the solution, V + alpha log pi."""
    alpha = row(row(p.alpha)) if hasattr(p, "alpha") else 1
    return p.values[..., :, None] + alpha * p.log_policy


def rewards_of(p: Problem) -> Any:
    """The rewards under which the drawn policy and values are the solution."""
    return bellman(p, optimal_action_values(p), -p.values)


def values_of(p: Problem, log_policy: Any, rewards: Any) -> tuple[Any, Any]:
    """The soft action values of a policy, and its soft values, which count the entropy of the first step too."""
    action_values = soft_action_values(p, log_policy, rewards, temperature(p))
    return action_values, soft_policy_value(log_policy, action_values, temperature(p))


def known_size(p: Problem, *arrays: Any) -> Any:
    """The size of the terms of discounted sums on a model with a temperature (floats only)."""
    if namespace(p.policy).name != "float64":
        return 1.0
    return value_size(p, p.values, row(row(p.alpha)) * p.log_policy, *arrays) + p.alpha


def of_equation_4(p: Problem) -> Check:
    """That the drawn values are those of Eq. 4; a failure would be a mistake of ours."""
    found = soft_action_values(p, p.log_policy, rewards_of(p), temperature(p))
    return Check("Eq. 4", found, "==", optimal_action_values(p), scale=known_size(p), asserted=False)
