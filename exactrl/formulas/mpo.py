r"""MPO's E-step, its one-dimensional dual, and the objectives of its M-step.

    E-step   maximise $\mathbb E_\mu\mathbb E_q Q$  subject to  $\mathbb E_\mu D_{KL}(q\Vert\pi)\le\epsilon$
    dual     minimise $g(\eta)=\eta\epsilon+\eta\,\mathbb E_\mu\log\mathbb E_\pi e^{Q/\eta}$  over $\eta>0$
    M-step   maximise $\mathbb E_\mu\mathbb E_q\log\pi$, less $\lambda\,\mathbb E_\mu D_{KL}(\pi_i\Vert\pi)$,
             or subject to $\mathbb E_\mu D_{KL}(\pi_i\Vert\pi)\le\epsilon$

Shapes: S states, A actions, any batch before them; log-policies and Q (..., S, A), weights mu (..., S), temperatures
and radii scalars or (...).
Units: natural logarithms; 0 log 0 = 0.
"""

from __future__ import annotations

from typing import Any

from exactrl.formulas.divergences import cross_entropy, kl
from exactrl.formulas.soft import log_boltzmann, soft_value
from exactrl.number_systems import A, namespace

__all__ = [
    "centred_features",
    "dual_derivatives",
    "dual_value",
    "expected_features",
    "expected_kl",
    "log_estep",
    "mstep_objective",
    "mstep_target",
    "nearest_table",
    "nearest_table_within",
    "softmax_fisher",
    "tilted_kl",
]


def dual_value(log_policy: A, q_values: A, weights: A, eta: Any, epsilon: Any) -> A:
    r"""The dual $g(\eta)=\eta\epsilon+\eta\sum_s\mu(s)\log\sum_a\pi(a\mid s)\exp\{Q(s,a)/\eta\}$.

    For every eta > 0 it is an upper bound of the E-step's optimal value (weak duality).
    Shapes: log_policy, q_values (..., S, A), weights (..., S), eta > 0 and epsilon scalars or (...) -> (...).
    Source: MPO, Eq. 9.
    """
    xp = namespace(log_policy, q_values, weights, eta)
    soft = soft_value(q_values, xp.per_row(eta), log_policy)
    return xp.asarray(eta) * xp.asarray(epsilon) + xp.sum(xp.asarray(weights) * soft)


def dual_derivatives(log_policy: A, q_values: A, weights: A, eta: Any, epsilon: Any) -> tuple[A, A]:
    r"""First and second derivative of the dual, $g'=\epsilon-\mathbb E_\mu D_{KL}(q_\eta\Vert\pi)$ and
    $g''=\mathbb E_\mu\mathrm{Var}_{q_\eta}(Q)/\eta^3$ with $q_\eta\propto\pi e^{Q/\eta}$.

    Shapes: as for `dual_value` -> a pair of (...).
    Source: MPO, Eqs. 8 and 9 (Algorithm 2 follows g').
    """
    xp = namespace(log_policy, q_values, weights, eta)
    log_ratio = log_boltzmann(q_values, xp.per_row(eta), log_policy)
    tilted, weights = xp.exp(log_ratio + xp.asarray(log_policy)), xp.asarray(weights)
    divergence = xp.sum(tilted * log_ratio, keepdims=True)
    centred = log_ratio - divergence
    variance = xp.sum(weights * xp.sum(tilted * centred * centred))
    return xp.asarray(epsilon) - xp.sum(weights * divergence[..., 0]), variance / xp.asarray(eta)


def log_estep(log_policy: A, q_values: A, eta: Any) -> A:
    r"""Log of the E-step's policy $q(a\mid s)\propto\pi(a\mid s)\exp\{Q(s,a)/\eta\}$.

    Shapes: log_policy, q_values (..., S, A), eta > 0 a scalar or (...) -> (..., S, A).
    Source: MPO, Eqs. 8 and 19.
    """
    xp = namespace(log_policy, q_values, eta)
    return log_boltzmann(q_values, xp.per_row(eta), log_policy) + xp.asarray(log_policy)


def tilted_kl(log_policy: A, log_ratio: A) -> A:
    r"""Divergence $D_{KL}(\pi e^x\Vert\pi)=\sum_a\pi(a)[x(a)e^{x(a)}-e^{x(a)}+1]$ of a tilted policy.

    Equal to $\sum_a\pi e^x x$ where both are normalised; no term is negative, so that a small divergence keeps its
    relative precision, and rows that miss 1 by $\delta$ cost $\delta^2$ only.
    Shapes: log_policy, log_ratio (..., A), the ratio finite -> (...).
    """
    xp = namespace(log_policy, log_ratio)
    log_policy, log_ratio = xp.asarray(log_policy), xp.asarray(log_ratio)
    rises, falls = xp.maximum(log_ratio, 0), xp.maximum(-log_ratio, 0)
    gained = xp.exp(log_policy + log_ratio) * (log_ratio + xp.expm1(-rises))
    return xp.sum(gained - xp.exp(log_policy) * xp.expm1(-falls))


def expected_kl(log_p: A, log_q: A, weights: A) -> A:
    r"""Divergence over states, $\mathbb E_\mu D_{KL}(p(\cdot\mid s)\Vert q(\cdot\mid s))$; states of weight 0 do not
    count.

    Shapes: log_p, log_q (..., S, A), weights (..., S) -> (...).
    Source: MPO, Eqs. 7 and 12.
    """
    xp = namespace(log_p, log_q, weights)
    return xp.sum(xp.weighted(xp.asarray(weights), kl(log_p, log_q)))


def mstep_objective(log_target: A, log_policy: A, weights: A) -> A:
    r"""The objective $\mathbb E_\mu\mathbb E_q\log\pi(a\mid s)$; -inf where the policy lacks mass that q has.

    Shapes: log_target, log_policy (..., S, A), weights (..., S) -> (...).
    Source: MPO, Eqs. 10 and 12.
    """
    xp = namespace(log_target, log_policy, weights)
    return -xp.sum(xp.weighted(xp.asarray(weights), cross_entropy(log_target, log_policy)))


def mstep_target(log_target: A, log_policy: A, penalty: Any) -> A:
    r"""Log of the mixture $(q+\lambda\pi_i)/(1+\lambda)$, the penalised M-step's maximiser over all tables.

    On any class, the penalised M-step is the forward projection of this mixture, because its objective is
    $(1+\lambda)\,\mathbb E_\mu\sum_a\frac{q+\lambda\pi_i}{1+\lambda}\log\pi$ plus what does not depend on the policy.
    Shapes: log_target, log_policy (..., A), penalty >= 0 a scalar or (...) -> (..., A).
    Source: MPO, Eqs. 11 and 26.
    """
    xp = namespace(log_target, log_policy, penalty)
    penalty = xp.per_row(xp.asarray(penalty))
    kept = xp.log(penalty) + xp.asarray(log_policy)
    return xp.logsumexp(xp.stack([xp.asarray(log_target), kept], axis=-1)) - xp.log1p(penalty)


def expected_features(table: A, features: A, weights: A) -> A:
    r"""The mean $\sum_s\mu(s)\sum_ax(a\mid s)\phi(s,a)$ of the features under a table, or under a difference of tables.

    Shapes: table (..., S, A), features (..., S, A, d), weights (..., S) -> (..., d).
    Source: MPO, Eq. 18 and App. D.3.
    """
    xp = namespace(table, features, weights)
    return xp.sum(xp.sum((weights[..., None] * table)[..., None] * features, axis=-2), axis=-2)


def centred_features(policy: A, features: A) -> A:
    r"""The features less their mean in each state, $\phi(s,a)-\sum_b\pi(b\mid s)\phi(s,b)$.

    They are the scores $\nabla_\theta\log\pi_\theta(a\mid s)$ of a softmax-linear policy.
    Shapes: policy (..., S, A) of probabilities, features (..., S, A, d) -> (..., S, A, d).
    """
    return features - namespace(policy, features).sum(policy[..., None] * features, axis=-2, keepdims=True)


def softmax_fisher(log_policy: A, features: A, weights: A) -> A:
    r"""Fisher information $\mathbb E_\mu\mathrm{Cov}_{\pi(\cdot\mid s)}(\phi(s,\cdot))$ of a softmax-linear policy.

    Half its quadratic form is the second-order term of $\mathbb E_\mu D_{KL}(\pi_{\theta_i}\Vert\pi_\theta)$.
    Shapes: log_policy (S, A), features (S, A, d), weights (S,) -> (d, d).
    Source: MPO, App. D.3.
    """
    xp = namespace(log_policy, features, weights)
    probability = xp.exp(xp.asarray(log_policy))
    centred = centred_features(probability, xp.asarray(features))
    scaled = xp.asarray(weights)[..., None, None] * probability[..., None] * centred
    rows, columns, size = features.shape
    flat = (rows * columns, size)
    return xp.matmul(xp.moveaxis(xp.reshape(scaled, flat), 0, 1), xp.reshape(centred, flat))


def nearest_table(log_target: A, log_members: A, weights: A) -> Any:
    r"""The position of the member that minimises $\mathbb E_\mu D_{KL}(q\Vert\pi)$: the M-step on a finite family.

    Shapes: log_target (..., S, A), log_members (..., M, S, A), weights (..., S) -> (...).  In balls a tie raises
    Uncertain.
    Source: MPO, Eq. 10; of the mixture of `mstep_target`, Eq. 11.
    """
    xp = namespace(log_target, log_members, weights)
    return xp.argmin(expected_kl(log_target[..., None, :, :], log_members, weights[..., None, :]))


def nearest_table_within(log_target: A, log_policy: A, log_members: A, weights: A, epsilon: Any) -> Any:
    r"""The same among the members with $\mathbb E_\mu D_{KL}(\pi_i\Vert\pi)\le\epsilon$, of which there must be one.

    Shapes: log_target, log_policy (..., S, A), log_members (..., M, S, A), weights (..., S) -> (...).  In balls a tie,
    or a divergence that may be epsilon, raises Uncertain.
    Source: MPO, Eq. 12.
    """
    xp = namespace(log_target, log_policy, log_members, weights)
    spread = weights[..., None, :]
    kept = ~(expected_kl(log_policy[..., None, :, :], log_members, spread) > epsilon)
    return xp.argmin(xp.where(kept, expected_kl(log_target[..., None, :, :], log_members, spread), float("inf")))
