r"""Directional derivatives of divergences and expectations along a parametrised policy.

A tangent is $c(\rho)=\frac{d}{d\theta}\log\pi_\theta(\rho)$, so that $\sum_\rho\pi_\theta(\rho)c(\rho)=0$; every
differentiable parametrisation of a positive policy moves along such a vector.
Shapes: all arrays (..., N) -> (...).
"""

from __future__ import annotations

from exactrl.formulas.divergences import expectation
from exactrl.number_systems import A, namespace


def centred(log_policy: A, direction: A) -> A:
    r"""The tangent $c=u-\mathbb E_\pi u$ of a softmax policy whose logits move along u.

    Shapes: log_policy, direction (..., N) -> (..., N).
    """
    return direction - expectation(log_policy, direction)[..., None]


def softmax_scores(policy: A) -> A:
    r"""The tangents along single logits, $\partial\log\pi(\rho)/\partial\theta_j=1[\rho=j]-\pi(j)$.

    Shapes: policy (..., N) of probabilities -> (..., N, N), the logit j on the last axis.
    Source: ECPO, Lemmas 1 and 7; soft Q-learning, Eq. 28.
    """
    return namespace(policy).identity(policy.shape[-1]) - policy[..., None, :]


def expectation_slope(log_policy: A, values: A, tangent: A) -> A:
    r"""Derivative of the expected value, $\sum_\rho\pi(\rho)c(\rho)v(\rho)$.

    Source: ECPO, Eq. 12.
    """
    return expectation(log_policy, tangent * values)


def reverse_kl_slope(log_policy: A, log_target: A, tangent: A) -> A:
    r"""Derivative of $D_{KL}(\pi_\theta\Vert q)$, $\sum_\rho\pi(\rho)c(\rho)[\log\pi(\rho)-\log q(\rho)]$.

    Source: ECPO, Eq. 14.
    """
    xp = namespace(log_policy, log_target, tangent)
    weight = xp.exp(log_policy) * tangent
    return xp.sum(xp.weighted(weight, log_policy) - xp.weighted(weight, log_target))


def forward_kl_slope(log_target: A, tangent: A) -> A:
    r"""Derivative of $D_{KL}(q\Vert\pi_\theta)$, $-\sum_\rho q(\rho)c(\rho)$ (ECPO's Project step).

    Source: ECPO, Eq. 18.
    """
    return -expectation(log_target, tangent)
