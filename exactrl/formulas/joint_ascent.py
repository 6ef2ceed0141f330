r"""Pieces of coordinate ascent on MPO's joint objective $\mathcal J(\theta,q)$ for softmax-linear policies.

    objective  $\mathcal J(\theta,q)=\mathbb E_q\sum_t\gamma^t[r_t-\alpha D_{KL}(q\Vert\pi_\theta)]$
    M-step     $\theta'=\theta-\beta\nabla_\theta f$ for $f=\sum_sd(s)D_{KL}(q_s\Vert\pi_{\theta,s})$
    E-step     $q\propto\pi_\theta e^{Q/\alpha}$

Policies are $\pi_\theta(a\mid s)\propto b(a\mid s)e^{\theta\cdot\phi(s,a)}$; the visits
$d(s)=\sum_t\gamma^t\Pr(s_t=s)$ need not sum to 1.
Shapes: S states, A actions, d parameters, any batch before them; log-policies and Q (..., S, A), features
(..., S, A, d), visits (..., S).
"""

from __future__ import annotations

from typing import Any

from exactrl.formulas.mpo import expected_features
from exactrl.formulas.tangents import centred
from exactrl.number_systems import A, namespace

__all__ = ["estep_tangent", "mstep_curvature", "mstep_direction"]


def mstep_direction(log_q: A, log_policy: A, features: A, visits: A) -> A:
    r"""Minus the gradient of the M-step, $-\nabla_\theta f=\sum_sd(s)\sum_a[q(a\mid s)-\pi_\theta(a\mid s)]\phi(s,a)$.

    Shapes: log_q, log_policy (..., S, A), features (..., S, A, d), visits (..., S) -> (..., d).
    Source: MPO, Eq. 18.
    """
    xp = namespace(log_q, log_policy, features, visits)
    return expected_features(xp.exp(log_q) - xp.exp(log_policy), features, visits)


def mstep_curvature(features: A, visits: A) -> A:
    r"""A bound on the second derivatives of f, $L=\frac14\sum_sd(s)\max_{ab}|\phi(s,a)-\phi(s,b)|^2$ at every $\theta$.

    The second derivative along a unit vector u is $\sum_sd(s)\mathrm{Var}_{\pi_\theta}(u\cdot\phi)$, and a variance is
    at most a quarter of the squared range.
    Shapes: features (..., S, A, d), visits (..., S) -> (...).
    Source: what "beta sufficiently small" comes to in MPO, Eq. 23.
    """
    xp = namespace(features, visits)
    apart = features[..., :, None, :] - features[..., None, :, :]
    diameters = xp.max(xp.max(xp.sum(apart * apart)))
    return xp.sum(visits * diameters) / 4


def estep_tangent(log_q: A, tangent: A, action_value_slope: A, alpha: Any) -> A:
    r"""Derivative of $\log q$ for $q\propto\pi e^{Q/\alpha}$: $c+\dot Q/\alpha$ less its mean under q.

    The tangent is $c=\frac d{dt}\log\pi$.
    Shapes: log_q, tangent, action_value_slope (..., S, A), alpha > 0 a scalar or (...) -> (..., S, A).
    Source: MPO, Eq. 19.
    """
    xp = namespace(log_q, tangent, action_value_slope, alpha)
    return centred(log_q, tangent + action_value_slope / xp.per_row(xp.per_row(alpha)))
