"""Section 2.2: the soft Bellman equation and its hard limit."""

from __future__ import annotations

from exactrl.formulas import hard_value, log_soft_greedy, soft_maximum
from exactrl.number_systems import namespace
from proofs_checks.claim import LIMIT, POINTWISE, Check, claim
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    TEMPERATURE,
    model_space,
    soft_action_values,
    soft_backup,
)
from proofs_checks.claims.soft_q.optimal_models import known_size, known_space, rewards_of
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Real
from proofs_checks.instances import Problem


@claim(
    "soft_q.thm2",
    where="Sec. 2.2, Theorem 2, Eq. 7",
    title="The soft Q-function satisfies the soft Bellman equation",
    statement=r"$Q^*_{soft}(s_t,a_t)=r_t+\gamma\mathbb E_{s_{t+1}\sim\rho_\pi}[V^*_{soft}(s_{t+1})]$ with $V^*_{soft}$ of Eq. 5 "
    r"and $Q^*_{soft}$ of Eq. 4.",
    kind="identity",
    shape=POINTWISE,
    condition="Bellman",
    explanation=r"The expectation is over the state that follows $s_t,a_t$. Eq. (4) is about the policy of Eq. (6), "
    r"$\pi=\exp\{(Q-V)/\alpha\}$. Every pair of a positive policy $\pi$ and values $V$ has one model in which it is that policy, with "
    r"$r(s,a)=V(s)+\alpha\log\pi(a\mid s)-\gamma\mathbb E V(s')$, and every model is one of these; so policies and values are drawn "
    "and the rewards computed. The values of Eq. (4) come from a linear system.",
)
def the_soft_bellman_equation(p: Problem) -> list[Check]:
    """The equation, and that the drawn policy is that of Eq. 6."""
    alpha, rewards = row(p.alpha), rewards_of(p)
    action_values = soft_action_values(p, p.log_policy, rewards, alpha)
    right = bellman(p, rewards, soft_maximum(action_values, alpha))
    scale = known_size(p)
    greedy = row(alpha) * log_soft_greedy(action_values, alpha)
    return [
        Check("Bellman", action_values, "==", right, scale=scale),
        Check("Eq. 6", greedy, "==", row(alpha) * p.log_policy, scale=scale, asserted=False),
    ]


the_soft_bellman_equation.both_readings(
    space=known_space(),
    assumptions=[
        FINITE,
        INFINITE_HORIZON,
        TEMPERATURE,
        "the soft Q-function is that of Eq. 4, for the policy of Eq. 6",
    ],
)


@claim(
    "soft_q.sec2.hardlimit",
    where="Sec. 2.2, after Theorem 2",
    title="As the temperature vanishes, the soft equation becomes the hard one",
    statement=r"As $\alpha\to0$, Eq. 5 approaches a hard maximum over the actions and the soft Bellman equation becomes the standard one.",
    kind="limit",
    shape=LIMIT,
    condition="hard maximum",
    explanation=r"For all action values $0\le\alpha\log\sum_a\exp\{Q(s,a)/\alpha\}-\max_aQ(s,a)\le\alpha\log A$, whatever $Q$ is, so that "
    r"$Q^*_{soft}$ may change with $\alpha$; a backup differs from the standard one by at most $\gamma\alpha\log A$.",
)
def the_soft_equation_becomes_the_hard_one(p: Problem) -> list[Check]:
    """Distances to the maximum and to the standard backup, against bounds that vanish with the temperature."""
    xp = namespace(p.rewards)
    hard = hard_value(p.action_values)
    standard = bellman(p, p.rewards, hard)
    log_actions = xp.log(xp.asarray(p.actions))
    checks = []
    for step in (1, 1000, 10**6):
        alpha = row(p.alpha) / step
        scale = size(p.rewards, p.action_values) + p.alpha
        bound = alpha * log_actions
        value = xp.abs(soft_maximum(p.action_values, alpha) - hard)
        backup = xp.abs(soft_backup(p, p.action_values, alpha) - standard)
        checks += [
            Check(f"hard maximum at 1/{step}", value, "<=", value * 0 + bound, scale=scale),
            Check(f"backup at 1/{step}", backup, "<=", backup * 0 + row(row(p.discount) * bound), scale=scale),
        ]
    return checks


the_soft_equation_becomes_the_hard_one.both_readings(
    space=model_space(action_values=Real(("states", "actions")), alpha=Positive(exponents=(-2, 2))),
    assumptions=[FINITE, "alpha > 0 on the way (paths alpha / n)"],
)
