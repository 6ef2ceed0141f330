"""Appendix A.2: the soft Bellman equation and the contraction of its operator."""

from __future__ import annotations

from exactrl.formulas import log_soft_greedy, soft_maximum
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    SIZES,
    UNIT_TEMPERATURE,
    largest,
    model_space,
    soft_action_values,
    soft_backup,
    value_size,
)
from proofs_checks.claims.soft_q.optimal_models import optimal_space, rewards_of
from proofs_checks.claims.terms import size
from proofs_checks.fields import Real
from proofs_checks.instances import Problem, Space


@claim(
    "soft_q.eq23",
    where="App. A.2, Eqs. 22-23",
    title="The policy of its own soft values satisfies the soft Bellman equation",
    statement=r"For $V^\pi_{soft}(s)=\log\int\exp(Q^\pi_{soft}(s,a))da$: $Q^\pi_{soft}(s,a)=r(s,a)+\gamma\mathbb E_{s'\sim p_s}"
    r"[V^\pi_{soft}(s')]$, where $\pi(a\mid s)=\exp(Q^\pi_{soft}(s,a)-V^\pi_{soft}(s))$.",
    kind="identity",
    shape=POINTWISE,
    condition="Bellman",
    explanation=r"Every pair of a positive policy $\pi$ and values $V$ has one model that meets the hypothesis, with "
    r"$r(s,a)=V(s)+\log\pi(a\mid s)-\gamma\mathbb E V(s')$, and every model is one of these; so policies and values are drawn "
    r"and the rewards computed. $Q^\pi$ comes from Eq. (15), by a linear system.",
)
def the_soft_bellman_equation_of_a_policy(p: Problem) -> list[Check]:
    """The equation, and that the drawn policy meets the hypothesis."""
    rewards = rewards_of(p)
    action_values = soft_action_values(p, p.log_policy, rewards)
    right = bellman(p, rewards, soft_maximum(action_values, 1))
    scale = value_size(p, p.values, p.log_policy)
    boltzmann = log_soft_greedy(action_values, 1)
    return [
        Check("Bellman", action_values, "==", right, scale=scale),
        Check("hypothesis", boltzmann, "==", p.log_policy, scale=scale, asserted=False),
    ]


the_soft_bellman_equation_of_a_policy.both_readings(
    space=optimal_space(),
    assumptions=[FINITE, INFINITE_HORIZON, UNIT_TEMPERATURE, "pi = exp(Q - V) for its own soft values"],
)


@claim(
    "soft_q.appa2.contraction",
    where="App. A.2, Eq. 24",
    title="The soft Bellman operator is a contraction",
    statement=r"$\lVert\mathcal TQ_1-\mathcal TQ_2\rVert\le\gamma\lVert Q_1-Q_2\rVert$ for $\mathcal TQ(s,a)=r(s,a)+\gamma"
    r"\mathbb E_{s'\sim p_s}\left[\log\int\exp Q(s',a')da'\right]$.",
    kind="inequality",
    shape=POINTWISE,
    condition="contraction",
    explanation="Equality holds where the two differ by a constant.",
)
def the_soft_operator_contracts(p: Problem) -> Check:
    """The distance after a backup against the discounted distance before it."""
    after = largest(soft_backup(p, p.first_values) - soft_backup(p, p.second_values))
    before = p.discount * largest(p.first_values - p.second_values)
    return Check("contraction", after, "<=", before, scale=size(p.rewards, p.first_values, p.second_values))


the_soft_operator_contracts.both_readings(
    space=model_space(first_values=Real(("states", "actions")), second_values=Real(("states", "actions"))),
    assumptions=[FINITE, INFINITE_HORIZON, UNIT_TEMPERATURE, "max norm"],
)


@claim(
    "soft_q.eq25",
    where="App. A.2, Eq. 25",
    title="The log-partition function moves no further than the values",
    statement=r"If $\epsilon=\lVert Q_1-Q_2\rVert=\max_{s,a}\lvert Q_1(s,a)-Q_2(s,a)\rvert$ then $\log\int\exp(Q_1(s',a'))da'\le"
    r"\epsilon+\log\int\exp(Q_2(s',a'))da'$.",
    kind="inequality",
    shape=POINTWISE,
    condition="bound",
)
def the_log_partition_moves_no_further(p: Problem) -> Check:
    """Both sides at every state."""
    distance = namespace(p.first_values).per_row(largest(p.first_values - p.second_values))
    left, right = soft_maximum(p.first_values, 1), distance + soft_maximum(p.second_values, 1)
    return Check("bound", left, "<=", right, scale=size(p.first_values, p.second_values))


the_log_partition_moves_no_further.both_readings(
    space=Space({"first_values": Real(("states", "actions")), "second_values": Real(("states", "actions"))}, SIZES),
    assumptions=[FINITE, UNIT_TEMPERATURE],
)
