r"""The M-step onto softmax-linear policies: a convex problem, solved by damped Newton with a certificate.

    minimise over theta   $\mathbb E_\mu D_{KL}(m(\cdot\mid s)\Vert\pi_\theta(\cdot\mid s))$,
    $\pi_\theta(a\mid s)\propto\exp\{\phi(s,a)^\top\theta\}$

Certificate, as for one distribution: for every table p with
$\mathbb E_\mu\mathbb E_p\phi=\mathbb E_\mu\mathbb E_m\phi$, $\mathbb E_\mu D_{KL}(p\Vert\pi_\theta)$ bounds the
suboptimality of theta.  Such a p is made from the iterate by tilting it,
$p=\pi_\theta(1+c^\top(\phi-\mathbb E_{\pi_\theta}\phi))$ with the Newton step c; where that is not
positive, p = m serves.  With a Gaussian prior of precision P the objective is strongly convex, and its gradient g gives
the bound $\frac12g^\top P^{-1}g$.

The minimum is not attained exactly when the moments of m lie on the relative boundary of those the family can reach,
which needs zeros in m; then the infimum is that of the family restricted to the smallest face around them.

Shapes: S states, A actions, d features; features (S, A, d), log_target (S, A), weights (S,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.formulas import log_boltzmann
from exactrl.formulas.mpo import expected_kl, softmax_fisher
from exactrl.softmax_projection import smallest_face

__all__ = ["SoftmaxTableFit", "solve_softmax_prior", "solve_softmax_tables"]

MOST_STEPS = 200
RESOLUTION = 1e-15


@dataclass(frozen=True, eq=False)
class SoftmaxTableFit:
    """The best policy found: its logarithm (S, A), theta (d,) or None if the infimum is not attained, and the gap."""

    log_policy: FloatArray
    theta: FloatArray | None
    gap: float


def solve_softmax_tables(
    log_target: FloatArray, log_policy: FloatArray, features: FloatArray, weights: FloatArray
) -> SoftmaxTableFit:
    """Return the nearest policy; where only a limit of the family is, that limit, with the old policy elsewhere.

    Shapes: log_target, log_policy (the old policy, kept in states of weight 0 when theta is None) (S, A).
    """
    rows = weights > 0
    target, phi, mu = log_target[rows], features[rows], weights[rows]
    face = _faces(np.isfinite(target), phi)
    phi = np.where(face[..., None], phi - (phi * face[..., None]).sum(1, keepdims=True) / face.sum(1)[:, None, None], 0)
    coordinates, back = _whitened(phi)
    fit = _Fit(target, face, coordinates, mu)
    beta, gap = fit.solve()
    if face.all():
        theta = back @ beta
        return SoftmaxTableFit(log_boltzmann(features @ theta, 1.0), theta, gap)
    table = log_policy.copy()
    table[rows] = fit.log_policy(beta)
    return SoftmaxTableFit(table, None, gap)


def _faces(support: NDArray[np.bool_], features: FloatArray) -> NDArray[np.bool_]:
    """Return which actions have features on the smallest face, state by state: (S, A), (S, A, d) -> (S, A).

    One direction serves all states, so that differences from an action of the support stand in one list.
    """
    first = features[np.arange(len(features)), support.argmax(axis=1)]
    differences = (features - first[:, None]).reshape(-1, features.shape[-1])
    return smallest_face(support.ravel(), differences).reshape(support.shape)


def _whitened(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return coordinates (S, A, r) of unit scale of features that are centred in each state, and the map to theta."""
    states, actions, size = features.shape
    left, scales, right = np.linalg.svd(features.reshape(-1, size), full_matrices=False)
    kept = scales > scales.max(initial=0.0) * 1e-12
    spread = np.sqrt(states * actions)
    return (left[:, kept] * spread).reshape(states, actions, -1), (right[kept].T / scales[kept]) * spread


class _Fit:
    """The problem in whitened coordinates on its face."""

    def __init__(
        self, log_target: FloatArray, face: NDArray[np.bool_], coordinates: FloatArray, weights: FloatArray
    ) -> None:
        self.log_target, self.face, self.coordinates, self.weights = log_target, face, coordinates, weights
        self.moments = self.expected(np.exp(log_target))

    def expected(self, table: FloatArray) -> FloatArray:
        """The average of the coordinates over a table, (r,)."""
        return np.asarray(np.einsum("s,sa,sad->d", self.weights, table, self.coordinates))

    def log_policy(self, beta: FloatArray) -> FloatArray:
        """The policy at beta, on the face (S, A)."""
        return log_boltzmann(np.where(self.face, self.coordinates @ beta, -np.inf), 1.0)

    def divergence(self, log_policy: FloatArray) -> float:
        """How far the policy is from the target."""
        return float(expected_kl(self.log_target, log_policy, self.weights))

    def solve(self) -> tuple[FloatArray, float]:
        """Return the best beta (r,) met and its gap.

        beta errs by the root of the gap, so that a small gap is no reason to stop while it still falls: the constrained
        step measures divergences along these solutions, which must not jitter.
        """
        beta = np.zeros(self.coordinates.shape[-1])
        best, best_gap, idle = beta, np.inf, 0
        for _ in range(MOST_STEPS):  # pragma: no branch
            log_policy = self.log_policy(beta)
            slope = self.moments - self.expected(np.exp(log_policy))
            step = _newton_step(softmax_fisher(log_policy, self.coordinates, self.weights), slope)
            gap = self.gap(log_policy, beta, step)
            idle = 0 if gap < 0.9 * best_gap else idle + 1
            if gap < max(best_gap, RESOLUTION):
                best, best_gap = beta, gap
            if (best_gap <= RESOLUTION and idle > 0) or idle > 12:
                break
            beta = beta + self.damped(step, beta, float(step @ slope))
        return best, best_gap

    def damped(self, step: FloatArray, beta: FloatArray, decrement: float) -> FloatArray:
        """Return the step halved until the divergence falls enough; below its resolution, the step is whole."""
        if decrement < 1e-9:
            return step
        start = self.divergence(self.log_policy(beta))
        for _ in range(40):  # pragma: no branch
            if self.divergence(self.log_policy(beta + step)) <= start - 1e-4 * decrement:
                break
            step, decrement = step / 2, decrement / 2
        return step

    def gap(self, log_policy: FloatArray, beta: FloatArray, step: FloatArray) -> float:
        """Bound the suboptimality of beta; what rounding leaves of the moments is added at its price."""
        bound = self.divergence(log_policy)
        policy = np.exp(log_policy)
        centred = self.coordinates - (policy[..., None] * self.coordinates).sum(axis=1, keepdims=True)
        tilt = np.where(self.face, centred @ step, 0.0)
        if np.all(tilt > -1.0):
            left = np.abs(self.expected(policy * (1.0 + tilt)) - self.moments) @ np.abs(beta)
            tilted = (policy * ((1.0 + tilt) * np.log1p(tilt) - tilt)).sum(axis=1)
            bound = min(bound, float(self.weights @ tilted) + float(left))
        return max(bound, 0.0)


def _newton_step(curvature: FloatArray, slope: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(curvature, slope, rcond=1e-17)[0], dtype=np.float64)


def solve_softmax_prior(
    log_target: FloatArray, features: FloatArray, weights: FloatArray, centre: FloatArray, precision: FloatArray
) -> SoftmaxTableFit:
    r"""Minimise $\mathbb E_\mu D_{KL}(m\Vert\pi_\theta)+\frac12(\theta-\theta_i)^\top P(\theta-\theta_i)$.

    Shapes: log_target (S, A), features (S, A, d), weights (S,), centre (d,), precision (d, d) positive definite.
    Raises ExactRLError when the precision is not positive definite.
    """
    try:
        np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        raise ExactRLError("precision is not positive definite: expected the inverse of a covariance") from None
    fit = _Fit(log_target, np.ones(log_target.shape, dtype=np.bool_), features, weights)

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
        step = _newton_step(softmax_fisher(log_policy, features, weights) + precision, slope)
        start = objective(theta)
        while objective(theta + step) > start - 1e-4 * float(step @ slope) and float(step @ slope) > 1e-9:
            step = step / 2
        theta = theta + step
    return SoftmaxTableFit(fit.log_policy(best), best, best_gap)
