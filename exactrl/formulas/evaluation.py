r"""Policy evaluation and its gradients, piece by piece.

They hold in every number system; those without logarithms hold for NumPy arrays of Fractions too.
Shapes: S states, A actions; policies, rewards, action values (S, A).
"""

from __future__ import annotations

import math
from typing import Any

from exactrl.formulas.tangents import centred
from exactrl.number_systems import A, namespace


def policy_average(policy: A, values: A) -> A:
    r"""The average over the actions, $\sum_a\pi(a\mid s)x(s,a)$.

    Shapes: policy, values (..., A) -> (...).
    """
    return namespace(policy, values).sum(policy * values)


def lookahead(rewards: A, discount: Any, following: A) -> A:
    r"""Action values of a step followed by V, $Q(s,a)=r(s,a)+\gamma\,\mathbb E_{s'}V(s')$.

    Shapes: rewards, following (S, A) -> (S, A), following as from `expected_next`.
    Source: soft Q-learning, Eqs. 7, 8 and 23.
    """
    discounted: A = discount * following
    return rewards + discounted


def through_softmax(policy: A, gradient: A) -> A:
    r"""Gradient in the logits of a softmax policy from the gradient g in its table, $\pi(a)\{g(a)-\sum_b\pi(b)g(b)\}$.

    Shapes: policy, gradient (..., A) -> (..., A).
    """
    return policy * (gradient - policy_average(policy, gradient)[..., None])


def policy_gradient(visits: A, action_values: A) -> A:
    r"""Gradient of the expected return in the policy table, $\partial J/\partial\pi(a\mid s)=d(s)Q^\pi(s,a)$.

    The entries of the table count as independent; $d(s)=\sum_t\gamma^t\Pr(s_t=s)$ is not normalised.
    Shapes: visits (..., S), action_values (..., S, A) -> (..., S, A).
    Source: Sutton, McAllester, Singh, Mansour 2000, Theorem 1; soft Q-learning, Eq. 27.
    """
    return visits[..., None] * action_values


def soft_score(log_policy: A, action_values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""What a regularised policy gradient weighs, $Q^\pi_{soft}(s,a)-\alpha\log\frac{\pi(a\mid s)}{b(a\mid s)}$.

    Its average over the policy is the soft value of the policy; b = 1 when no base measure is given.
    Shapes: log_policy, action_values, log_base (..., A) -> (..., A); with $\alpha>0$, +inf where the policy is 0.
    Source: soft Q-learning, Eqs. 27-29.
    """
    xp = namespace(log_policy, action_values, temperature, log_base)
    log_ratio: Any = xp.asarray(log_policy)
    if log_base is not None:
        log_ratio = log_ratio - xp.where(log_ratio == -math.inf, 0, log_base)
    penalty: A = xp.scaled_log(xp.per_row(temperature), log_ratio)
    return action_values - penalty


def soft_policy_gradient(visits: A, log_policy: A, action_values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""Gradient of the regularised return in the policy table,
    $\partial J_\alpha/\partial\pi(a\mid s)=d(s)\{Q^\pi_{soft}(s,a)-\alpha\log\frac{\pi(a\mid s)}{b(a\mid s)}-\alpha\}$.

    The entries of the table count as independent; with $\alpha>0$ it is +inf where the policy is 0.
    Shapes: visits (..., S), log_policy, action_values, log_base (..., S, A) -> (..., S, A).
    Source: soft Q-learning, Eqs. 27 and 28.
    """
    xp = namespace(log_policy, action_values, temperature, log_base)
    slope: A = soft_score(log_policy, action_values, temperature, log_base) - xp.per_row(temperature)
    return policy_gradient(visits, slope)


def soft_logit_gradient(visits: A, log_policy: A, action_values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""Gradient of the regularised return in the logits of a softmax policy,
    $\partial J_\alpha/\partial\theta(s,a)=d(s)\pi(a\mid s)\{x(s,a)-\sum_b\pi(b\mid s)x(s,b)\}$ with x the `soft_score`.

    With $\alpha=0$ that is $d(s)\pi(a\mid s)A^\pi(s,a)$.  It is 0 where the policy is.
    Shapes: visits (..., S), log_policy, action_values, log_base (..., S, A) -> (..., S, A).
    Source: soft Q-learning, Eqs. 27-29 (for logits as the energies).
    """
    xp = namespace(log_policy, action_values, temperature, log_base)
    score = soft_score(log_policy, action_values, temperature, log_base)
    return visits[..., None] * xp.weighted_by_log(log_policy, centred(log_policy, score))
