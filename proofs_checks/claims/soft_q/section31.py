"""Section 3.1 and the first lines of Section 3.2: soft Q-iteration, its limit, and the error that vanishes there."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import log_soft_greedy, soft_maximum
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, OPTIMALITY, Check, claim
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.soft_q.common import FINITE, INFINITE_HORIZON, TEMPERATURE, largest
from proofs_checks.claims.soft_q.optimal_models import (
    DRAWN_BY_SOLUTION,
    known_size,
    known_space,
    of_equation_4,
    optimal_action_values,
    rewards_of,
)
from proofs_checks.claims.terms import row
from proofs_checks.fields import Real
from proofs_checks.instances import Problem


def _iterated(p: Problem) -> tuple[Any, Any, Any]:
    """Action values and values after some updates of Eqs. 8 and 9, and the bound of their errors."""
    xp = namespace(p.values)
    rewards, alpha = rewards_of(p), row(p.alpha)
    values = p.start
    action_values = optimal_action_values(p)
    for _ in range(p.steps):
        action_values = bellman(p, rewards, values)
        values = soft_maximum(action_values, alpha)
    return action_values, values, p.discount**p.steps * xp.max(xp.abs(p.start - p.values))


_ITERATIONS = known_space(steps=(1, 2, 10), start=Real(("states",)))


@claim(
    "soft_q.thm3",
    where="Sec. 3.1, Theorem 3, Eqs. 8-9",
    title="Soft Q-iteration converges",
    statement=r"The fixed-point iteration $Q_{soft}(s_t,a_t)\leftarrow r_t+\gamma\mathbb E_{s_{t+1}\sim p_s}[V_{soft}(s_{t+1})]$, $V_{soft}(s_t)"
    r"\leftarrow\alpha\log\int_A\exp(\frac1\alpha Q_{soft}(s_t,a'))da'$ converges to $Q^*_{soft}$ and $V^*_{soft}$.",
    kind="convergence",
    shape=CONVERGENCE,
    condition="values",
    explanation=r"After $k$ updates from any $V_0$ both errors are at most $\gamma^k\max_s\lvert V_0(s)-V^*_{soft}(s)\rvert$, which is judged. On finite "
    r"models everything that the theorem assumes is true. " + DRAWN_BY_SOLUTION,
)
def soft_iteration_converges(p: Problem) -> list[Check]:
    """The errors after some updates against a rate that vanishes."""
    xp = namespace(p.values)
    action_values, values, bound = _iterated(p)
    scale = known_size(p, p.start)
    return [
        Check("values", xp.max(xp.abs(values - p.values)), "<=", bound, scale=scale),
        Check("action values", largest(action_values - optimal_action_values(p)), "<=", bound, scale=scale),
        of_equation_4(p),
    ]


soft_iteration_converges.both_readings(
    space=_ITERATIONS,
    assumptions=[
        FINITE,
        INFINITE_HORIZON,
        TEMPERATURE,
        "Q and V bounded, the sums of exp(Q / alpha) finite, the optimal Q finite (true of finite models)",
    ],
    effort=0.25,
)


@claim(
    "soft_q.sec31.policy",
    where="Sec. 3.1, after Eq. 9",
    title="Soft Q-iteration recovers the maximum entropy policy",
    statement=r"The maximum entropy policy in (6), $\exp(\frac1\alpha(Q^*_{soft}-V^*_{soft}))$, can be recovered by iteratively applying the soft Bellman backup operator until convergence.",
    kind="convergence",
    shape=CONVERGENCE,
    condition="policy",
    explanation=r"After $k$ updates the logarithm of $\pi\propto\exp(Q_{soft}/\alpha)$ is wrong by at most $\frac{2\gamma^k}\alpha\max_s\lvert V_0(s)-"
    r"V^*_{soft}(s)\rvert$, which is judged. " + DRAWN_BY_SOLUTION,
)
def soft_iteration_recovers_the_policy(p: Problem) -> Check:
    """The error of the log-probabilities, times alpha, against a rate that vanishes."""
    action_values, _, bound = _iterated(p)
    error = row(row(p.alpha)) * (log_soft_greedy(action_values, row(p.alpha)) - p.log_policy)
    return Check("policy", largest(error), "<=", 2 * bound, scale=known_size(p, p.start))


soft_iteration_recovers_the_policy.both_readings(
    space=_ITERATIONS, assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE], effort=0.25
)


@claim(
    "soft_q.sec32.residual",
    where="Sec. 3.2",
    title="Minimising the soft Bellman error finds the optimal values",
    statement=r"The optimal value function is the fixed point of the soft Bellman backup and can be found by optimizing for a $Q$-function for which "
    r"$\lvert\mathcal TQ-Q\rvert$ is minimized at all states and actions.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="fixed point",
    explanation=r"$Q^*_{soft}$ has the error 0, and no other function has: $(1-\gamma)\lVert Q-Q^*_{soft}\rVert\le\lVert\mathcal TQ-Q\rVert\le(1+\gamma)"
    r"\lVert Q-Q^*_{soft}\rVert$, which is judged, so that a small error finds values that are nearly right. That is about all functions $Q$ of "
    "states and actions; in a class that leaves some out the error may have no function that makes it least everywhere. "
    + DRAWN_BY_SOLUTION,
)
def the_error_finds_the_optimal_values(p: Problem) -> list[Check]:
    """The optimal values stay, and any other values are as far from them as their error tells."""
    alpha, rewards, optimal = row(p.alpha), rewards_of(p), optimal_action_values(p)
    scale = known_size(p, p.challenger)

    def error(action_values: Any) -> Any:
        return bellman(p, rewards, soft_maximum(action_values, alpha)) - action_values

    away, found = largest(p.challenger - optimal), largest(error(p.challenger))
    return [
        Check("fixed point", error(optimal), "==", optimal * 0, scale=scale),
        Check("no other", (1 - p.discount) * away, "<=", found, scale=scale),
        Check("near means small", found, "<=", (1 + p.discount) * away, scale=scale),
        of_equation_4(p),
    ]


the_error_finds_the_optimal_values.both_readings(
    space=known_space(challenger=Real(("states", "actions"))),
    assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE, "Q ranges over all functions of states and actions"],
    effort=0.5,
)
