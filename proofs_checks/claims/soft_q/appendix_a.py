"""Appendix A: the soft Q-value of a policy and its entropy parameter."""

from __future__ import annotations

from exactrl.formulas import log_soft_greedy
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    TEMPERATURE,
    model_space,
    policy_field,
    soft_action_values,
    value_size,
)
from proofs_checks.claims.terms import row
from proofs_checks.fields import Positive
from proofs_checks.instances import Problem


@claim(
    "soft_q.eq15.scaling",
    where="App. A, after Eq. 15",
    title="Dividing rewards by the temperature is enough",
    statement=r"For $Q^\pi_{soft}(s,a)=r_0+\mathbb E_{\tau\sim\pi,s_0=s,a_0=a}\left[\sum_{t=1}^\infty\gamma^t(r_t+\mathcal H(\pi(\cdot\mid "
    r"s_t)))\right]$ the entropy parameter is 1; general $\alpha$ is obtained by dividing rewards by $\alpha$.",
    kind="identity",
    shape=POINTWISE,
    condition="scaling",
    explanation=r"With rewards $r/\alpha$ Eq. (15) gives $\frac1\alpha$ times the values for $r$ with entropy parameter $\alpha$, and "
    r"$\exp(Q)$ of the one makes the same policy as $\exp(Q/\alpha)$ of the other.",
)
def rewards_are_divided_by_the_temperature(p: Problem) -> list[Check]:
    """The values, and the policy of Eq. 17 that comes of them."""
    alpha = row(p.alpha)
    values = soft_action_values(p, p.log_policy, p.rewards, alpha)
    divided = soft_action_values(p, p.log_policy, p.rewards / row(alpha))
    scale = value_size(p, p.rewards) + value_size(p, p.rewards * 0) * p.alpha
    policies = log_soft_greedy(values, alpha), log_soft_greedy(divided, 1)
    return [
        Check("scaling", values, "==", row(alpha) * divided, scale=scale),
        Check("policy", policies[0], "==", policies[1], scale=scale / p.alpha),
    ]


rewards_are_divided_by_the_temperature.both_readings(
    space=model_space(policy=policy_field(), alpha=Positive()), assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE]
)
