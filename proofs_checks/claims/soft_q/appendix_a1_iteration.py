"""Appendix A.1, after Theorem 4: the soft policy iteration, its limit, and the form of the optimal policy."""

from __future__ import annotations

from exactrl.formulas import kl, log_soft_greedy
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.discounted import reachable
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    MODEL,
    SIZES,
    UNIT_TEMPERATURE,
    largest,
    policy_field,
    soft_action_values,
    value_size,
)
from proofs_checks.claims.soft_q.optimal_models import (
    DRAWN_BY_SOLUTION,
    FEW,
    optimal_action_values,
    optimal_space,
    rewards_of,
    values_of,
)
from proofs_checks.claims.terms import row
from proofs_checks.fields import Simplex
from proofs_checks.instances import Problem, Space

_ASSUMED = [FINITE, INFINITE_HORIZON, UNIT_TEMPERATURE]
_STEPS = (1, 4)


@claim(
    "soft_q.eq21.monotone",
    where="App. A.1, Eq. 21",
    title="Soft policy iteration never lowers a soft action value",
    statement=r"Under $\pi_{i+1}(\cdot\mid s)\propto\exp(Q^{\pi_i}_{soft}(s,\cdot))$, $Q^{\pi_i}_{soft}(s,a)$ improves monotonically.",
    kind="inequality",
    shape=POINTWISE,
    condition="monotone",
    explanation="Theorem 4, step after step, from any first policy, deterministic ones included.",
)
def the_iteration_never_lowers_a_value(p: Problem) -> list[Check]:
    """Each step's soft action values against those of the step before."""
    values = soft_action_values(p, p.log_policy, p.rewards)
    scale = value_size(p, p.rewards)
    checks = []
    for step in range(1, p.steps + 1):
        following = soft_action_values(p, log_soft_greedy(values, 1), p.rewards)
        checks.append(Check(f"monotone at step {step}", following, ">=", values, scale=scale))
        values = following
    return checks


the_iteration_never_lowers_a_value.both_readings(
    space=Space(MODEL | {"policy": policy_field()}, SIZES | {"steps": _STEPS}, counts=("steps",)),
    assumptions=[*_ASSUMED, "an arbitrary first policy"],
    effort=0.2,
)


@claim(
    "soft_q.eq21.converge",
    where="App. A.1, after Eq. 21",
    title="Soft policy iteration converges to a policy of the energy-based form",
    statement=r"$\pi_i$ converges to $\pi_\infty$ with $\pi_\infty(a\mid s)\propto_a\exp(Q^{\pi_\infty}(s,a))$.",
    kind="convergence",
    shape=CONVERGENCE,
    condition="rate",
    explanation=r"On finite models no further condition is needed. With $Q^*$ and $\pi^*$ the solution, $\lVert Q^{\pi_i}-Q^*\rVert\le\gamma^i\lVert Q^{\pi_0}-Q^*"
    r"\rVert$, since a step of the iteration gains at least what a soft backup gains; and the logarithms of $\pi_{i+1}$ and $\pi^*$ differ by at most "
    r"twice that. So the limit is $\pi^*$, whatever the first policy, and $\pi^*\propto\exp Q^{\pi^*}$. "
    + DRAWN_BY_SOLUTION,
)
def the_iteration_converges(p: Problem) -> list[Check]:
    """The rate from the first policy, and the form of the limit."""
    rewards = rewards_of(p)
    best = optimal_action_values(p)
    values = soft_action_values(p, p.log_start, rewards)
    gap = largest(values - best)
    scale = value_size(p, p.values, p.log_policy, rewards)
    own = soft_action_values(p, p.log_policy, rewards)
    checks = [Check("form of the limit", log_soft_greedy(own, 1), "==", p.log_policy, scale=scale)]
    for step in range(1, p.steps + 1):
        log_policy = log_soft_greedy(values, 1)
        distance = namespace(best).abs(log_policy - p.log_policy)
        checks.append(Check(f"policy {step}", distance, "<=", distance * 0 + row(row(2 * gap)), scale=scale))
        values = soft_action_values(p, log_policy, rewards)
        gap = p.discount * gap
        checks.append(Check(f"rate at step {step}", largest(values - best), "<=", gap, scale=scale))
    return checks


the_iteration_converges.both_readings(
    space=optimal_space(start=policy_field(), counts={"steps": _STEPS}),
    assumptions=[*_ASSUMED, "an arbitrary first policy", "the regularity conditions: the model is finite"],
    effort=0.2,
)


@claim(
    "soft_q.appa1.form",
    where="App. A.1, end",
    title="Non-optimal policies can be improved, and the optimal policy has the energy-based form",
    statement=r"Any non-optimal policy can be improved this way, and the optimal policy must satisfy the energy-based form $\pi(a\mid s)\propto_a\exp(Q^\pi(s,a))$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="energy-based form",
    intended_statement=r"With optimal meaning that no policy has a larger soft value $V^\pi(s)=\mathbb E_\pi Q^\pi+\mathcal H(\pi)$ at any state: "
    r"$V^{\tilde\pi}(s)-V^\pi(s)\ge D_{KL}(\pi(\cdot\mid s)\Vert\tilde\pi(\cdot\mid s))$ for the $\tilde\pi$ of Eq. 17, and no policy is better than $\pi$ "
    r"by more than the largest of these divergences over $1-\gamma$. So a policy is optimal exactly if it has the form.",
    explanation=r"The objectives that the paper maximises (Eqs. 2 and 16) weigh states by the trajectories of the policy, from where those start. A state that "
    "is never visited has no weight: an optimal policy may do there what it likes, and need not have the form. That is all that is wrong; if optimal means "
    "optimal from every state, as in the policy improvement theorem that the section starts from, both parts hold. "
    + DRAWN_BY_SOLUTION,
    hand_check=r"Two states that keep themselves, $\gamma=0$, rewards 0, start in state 1. Uniform in state 1 is optimal, whatever the policy in state 2; with "
    r"$\pi(\cdot\mid2)=(\frac13,\frac23)$ it is not of the form, which asks for $(\frac12,\frac12)$.",
)
def the_optimal_policy_has_the_form(p: Problem) -> list[Check]:
    """A policy that is that of the solution wherever it is ever seen: optimal from its start; its logarithms against Q - V."""
    xp = namespace(p.policy)
    rewards = rewards_of(p)
    reached = (p.support_initial[..., :, None] & reachable(p, p.support_policy)).any(axis=-2)
    log_policy = xp.where(reached[..., None], p.log_policy, p.log_other)
    action_values, values = values_of(p, log_policy, rewards)
    scale = value_size(p, p.values, p.log_policy, p.log_other, rewards)
    start, best = xp.sum(p.initial * values), xp.sum(p.initial * p.values)
    return [
        Check("energy-based form", log_policy, "==", log_soft_greedy(action_values, 1), scale=scale),
        Check("optimal", start, "==", best, scale=scale, asserted=False),
    ]


def optimal_exactly_with_the_form(p: Problem) -> list[Check]:
    """What an improvement gains at every state, and how far below a challenger a policy can be."""
    xp = namespace(p.rewards)
    action_values, values = values_of(p, p.log_policy, p.rewards)
    log_improved = log_soft_greedy(action_values, 1)
    _, improved = values_of(p, log_improved, p.rewards)
    _, other = values_of(p, p.log_challenger, p.rewards)
    short = kl(p.log_policy, log_improved)
    scale = value_size(p, p.rewards)
    shortest = xp.max(short) / (1 - p.discount)
    return [
        Check("improvement", improved - values, ">=", short, scale=scale),
        Check(
            "no challenger is better", other - values, "<=", values * 0 + row(shortest), scale=scale / (1 - p.discount)
        ),
    ]


the_optimal_policy_has_the_form.reading(
    "literal",
    space=optimal_space(
        sizes=FEW,
        initial=Simplex(("states",), exponents=(-20, 0)),
        other=Simplex(("states", "actions"), zeros=False, exponents=(-3, 0)),
    ),
    assumptions=_ASSUMED,
    effort=0.3,
)
the_optimal_policy_has_the_form.reading(
    "intended",
    space=Space(MODEL | {"policy": policy_field(), "challenger": policy_field()}, SIZES),
    adds=["optimal: largest soft value at every state"],
    sides=optimal_exactly_with_the_form,
    effort=0.5,
)
