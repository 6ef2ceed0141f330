r"""The M-step onto softmax-linear policies: a convex problem, solved with a certificate.

    minimise over theta   $\mathbb E_\mu D_{KL}(m(\cdot\mid s)\Vert\pi_\theta(\cdot\mid s))$,
    $\pi_\theta(a\mid s)\propto\exp\{\phi(s,a)^\top\theta\}$

Solver and certificate are those of `softmax_fit`.  With a Gaussian prior of precision P the objective is strongly
convex, and its gradient g gives the bound $\frac12g^\top P^{-1}g$.

The minimum is not attained exactly when the moments of m lie on the relative boundary of those the family can reach,
which needs zeros in m; then the infimum is that of the family restricted to the smallest face around them.

Shapes: S states, A actions, d features; features (S, A, d), log_target (S, A), weights (S,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.formulas import log_boltzmann
from exactrl.formulas.mpo import softmax_fisher
from exactrl.softmax_fit import MOST_STEPS, SoftmaxFit, SoftmaxProblem, newton_step, smallest_face, whitened

__all__ = ["solve_softmax_prior", "solve_softmax_tables"]


def solve_softmax_tables(
    log_target: FloatArray, log_policy: FloatArray, features: FloatArray, weights: FloatArray
) -> SoftmaxFit:
    """Return the nearest policy; where only a limit of the family is, that limit, with the old policy elsewhere.

    Shapes: log_target, log_policy (the old policy, kept in states of weight 0 when theta is None) (S, A).
    """
    rows = weights > 0
    target, phi, mu = log_target[rows], features[rows], weights[rows]
    face = _faces(np.isfinite(target), phi)
    phi = np.where(face[..., None], phi - (phi * face[..., None]).sum(1, keepdims=True) / face.sum(1)[:, None, None], 0)
    coordinates, back = whitened(phi)
    fit = SoftmaxProblem(target, face, coordinates, mu)
    beta, gap = fit.solve()
    if face.all():
        theta = back @ beta
        return SoftmaxFit(log_boltzmann(features @ theta, 1.0), theta, gap)
    table = log_policy.copy()
    table[rows] = fit.log_policy(beta)
    return SoftmaxFit(table, None, gap)


def _faces(support: NDArray[np.bool_], features: FloatArray) -> NDArray[np.bool_]:
    """Return which actions have features on the smallest face, state by state: (S, A), (S, A, d) -> (S, A).

    One direction serves all states, so that differences from an action of the support stand in one list.
    """
    first = features[np.arange(len(features)), support.argmax(axis=1)]
    differences = (features - first[:, None]).reshape(-1, features.shape[-1])
    return smallest_face(support.ravel(), differences).reshape(support.shape)


def solve_softmax_prior(
    log_target: FloatArray, features: FloatArray, weights: FloatArray, centre: FloatArray, precision: FloatArray
) -> SoftmaxFit:
    r"""Minimise $\mathbb E_\mu D_{KL}(m\Vert\pi_\theta)+\frac12(\theta-\theta_i)^\top P(\theta-\theta_i)$.

    Shapes: log_target (S, A), features (S, A, d), weights (S,), centre (d,), precision (d, d) positive definite.
    Raises ExactRLError when the precision is not positive definite.
    """
    try:
        np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        raise ExactRLError("precision is not positive definite: expected the inverse of a covariance") from None
    fit = SoftmaxProblem(log_target, np.ones(log_target.shape, dtype=np.bool_), features, weights)

    def objective(theta: FloatArray) -> float:
        return fit.divergence(fit.log_policy(theta)) + float((theta - centre) @ precision @ (theta - centre)) / 2

    theta = centre
    best, best_gap = theta, np.inf
    for _ in range(MOST_STEPS):  # pragma: no branch
        log_policy = fit.log_policy(theta)
        slope = fit.moments - fit.expected(np.exp(log_policy)) - precision @ (theta - centre)
        gap = float(slope @ np.linalg.solve(precision, slope)) / 2
        if not gap < best_gap * (1 - 1e-3) and gap < 1e-9:
            break
        if gap < best_gap:
            best, best_gap = theta, gap
        step = newton_step(softmax_fisher(log_policy, features, weights) + precision, slope)
        start = objective(theta)
        while objective(theta + step) > start - 1e-4 * float(step @ slope) and float(step @ slope) > 1e-9:
            step = step / 2
        theta = theta + step
    return SoftmaxFit(fit.log_policy(best), best, best_gap)
