"""Models of known optimal soft values (see `optimal_models`) at any temperature, and the guard that they are optimal."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace
from proofs_checks.claim import Check
from proofs_checks.claims.soft_q import optimal_models
from proofs_checks.claims.soft_q.common import SIZES, soft_action_values, value_size
from proofs_checks.claims.terms import row
from proofs_checks.fields import Positive
from proofs_checks.instances import Problem, Space

DRAWN = optimal_models.DRAWN_BY_SOLUTION


def known_space(*, steps: tuple[int, ...] = (), **more: Any) -> Space:
    """Models of known optimal soft values, with further fields, and a number of steps where one is given."""
    counts = {"steps": steps} if steps else {}
    sizes = {"states": (1, 2), "actions": (1, 2, 3)} if steps else SIZES
    return optimal_models.optimal_space(sizes=sizes, counts=counts, alpha=Positive(), **more)


def optimal_action_values(p: Problem) -> Any:
    """The soft Q-function of Eqs. 4 and 7."""
    return optimal_models.optimal_action_values(p, row(p.alpha))


def rewards_of(p: Problem) -> Any:
    """The rewards under which the drawn values and policy are the optimal ones."""
    return optimal_models.rewards_of(p, row(p.alpha))


def known_size(p: Problem, *arrays: Any) -> Any:
    """The size of the terms of discounted sums on such a model (floats only)."""
    if namespace(p.policy).name != "float64":
        return 1.0
    return value_size(p, p.values, row(row(p.alpha)) * p.log_policy, *arrays) + p.alpha


def of_equation_4(p: Problem) -> Check:
    """That the drawn values are those of Eq. 4; a failure would be a mistake of ours."""
    found = soft_action_values(p, p.log_policy, rewards_of(p), row(p.alpha))
    return Check("Eq. 4", found, "==", optimal_action_values(p), scale=known_size(p), asserted=False)
