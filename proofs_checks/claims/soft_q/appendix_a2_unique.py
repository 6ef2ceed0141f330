"""Appendix A.2, end: the solution of the soft Bellman equation, and the policy that it makes, are unique."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import log_soft_greedy, soft_maximum
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, Check, claim
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    UNIT_TEMPERATURE,
    largest,
    value_size,
)
from proofs_checks.claims.soft_q.optimal_models import (
    DRAWN_BY_SOLUTION,
    optimal_action_values,
    optimal_space,
    rewards_of,
)
from proofs_checks.claims.terms import row
from proofs_checks.fields import Real
from proofs_checks.instances import Problem


@claim(
    "soft_q.appa2.unique",
    where="App. A.2, end",
    title="One function solves the soft Bellman equation, and one policy is made of it",
    statement="Only one $Q$-value satisfies the soft Bellman equation, and the optimal policy of Theorem 1 is unique.",
    kind="existence",
    shape=EXISTENCE,
    condition="unique",
    explanation=r"Judged with a bound: any $Q$ is within $\lVert\mathcal TQ-Q\rVert/(1-\gamma)$ of the solution, and the logarithms of its policy of Eq. 6 are "
    "within twice that of those of the solution's; so whatever satisfies the equation is the solution, at all states and actions. (Another policy may be as good "
    "from a given start, if it differs where it never comes: see `soft_q.appa1.form`.) " + DRAWN_BY_SOLUTION,
)
def one_function_solves_the_equation(p: Problem) -> list[Check]:
    """The solution solves it, and any other function is no further from it than its own residual says."""
    xp = namespace(p.values)
    rewards = rewards_of(p)
    best = optimal_action_values(p)
    scale = value_size(p, p.values, p.log_policy, p.other, rewards)
    rest = 1 - p.discount

    def backup(action_values: Any) -> Any:
        return bellman(p, rewards, soft_maximum(action_values, 1))

    residual = largest(backup(p.other) - p.other)
    distance = rest * largest(p.other - best)
    policies = row(row(rest)) * xp.abs(log_soft_greedy(p.other, 1) - p.log_policy)
    return [
        Check("solution", backup(best), "==", best, scale=scale),
        Check("unique", distance, "<=", residual, scale=scale),
        Check("unique policy", policies, "<=", policies * 0 + row(row(2 * residual)), scale=scale),
    ]


one_function_solves_the_equation.both_readings(
    space=optimal_space(other=Real(("states", "actions"))),
    assumptions=[FINITE, INFINITE_HORIZON, UNIT_TEMPERATURE, "the policy of Theorem 1 is that of Eq. 6 for this Q"],
)
