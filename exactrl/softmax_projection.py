r"""The forward KL projection onto a one-layer softmax family over trajectories, convex by Proposition 3 of ECPO.

    minimise over theta   $D_{KL}(q\Vert\pi_\theta)$,    $\pi_\theta(\rho)\propto\exp\{\phi(\rho)^\top\theta\}$

Certificate: for every p with the moments of q, $\mathbb E_p\phi=\mathbb E_q\phi$, and every theta,
$D_{KL}(q\Vert\pi_\theta)=D_{KL}(p\Vert\pi_\theta)+\mathcal H(p)-\mathcal H(q)\ge\mathcal H(p)-\mathcal H(q)$, so that
$D_{KL}(p\Vert\pi_\theta)$ bounds the suboptimality of theta.  Such a p is made from the iterate by tilting it,
$p=\pi_\theta\,(1+c^\top(\phi-\mathbb E_{\pi_\theta}\phi))$ with c the solution of
$\mathrm{Cov}_{\pi_\theta}(\phi)\,c=\mathbb E_q\phi-\mathbb E_{\pi_\theta}\phi$; where that is not positive, p = q
serves, and the bound is the divergence itself.

The minimum is not attained exactly when $\mathbb E_q\phi$ lies on the relative boundary of the convex hull of the
features.  Then the infimum is that of the family restricted to the smallest face around it, a limit of the family.

Shapes: N trajectories, d features; features (N, d), log_target (N,).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.formulas import kl, log_boltzmann

__all__ = ["SoftmaxFit", "smallest_face", "solve_softmax"]

MOST_STEPS = 200
RESOLUTION = 1e-15


@dataclass(frozen=True, eq=False)
class SoftmaxFit:
    """The best policy found: its logarithm (N,), theta (d,) or None where the infimum is not attained, and the gap."""

    log_policy: FloatArray
    theta: FloatArray | None
    gap: float


def solve_softmax(log_target: FloatArray, features: FloatArray) -> SoftmaxFit:
    """Return the forward projection; on the boundary, the limit of the family that has the infimum, with theta None.

    Raises ExactRLError when the linear program for the face fails.
    """
    face = smallest_face(np.isfinite(log_target), features)
    coordinates, back = _whitened(features[face])
    beta, gap = _newton(log_target[face], coordinates)
    log_policy = np.full(len(features), -np.inf)
    log_policy[face] = log_boltzmann(coordinates @ beta, 1.0)
    return SoftmaxFit(log_policy, back @ beta if face.all() else None, gap)


def smallest_face(support: NDArray[np.bool_], features: FloatArray) -> NDArray[np.bool_]:
    r"""Return which trajectories have features on the smallest face that contains the features of the support.

    A linear program looks for the direction u that separates most of the others:
    maximise sum t  subject to  $u^\top(\phi_i-\phi_0)\ge t_i$, 0 <= t <= 1 off the support,
    $u^\top(\phi_i-\phi_0)=0$ on it.

    Shapes: support (N,) of booleans, features (N, d) -> (N,) of booleans.
    """
    if support.all():
        return support
    from scipy.optimize import linprog

    differences = features - features[support][0]
    others, same = differences[~support], differences[support]
    count, size = others.shape
    solution = linprog(
        np.concatenate([np.zeros(size), -np.ones(count)]),
        A_ub=np.hstack([-others, np.eye(count)]),
        b_ub=np.zeros(count),
        A_eq=np.hstack([same, np.zeros((len(same), count))]),
        b_eq=np.zeros(len(same)),
        bounds=[(None, None)] * size + [(0.0, 1.0)] * count,
    )
    face = support.copy()
    if solution.x is None:
        raise ExactRLError(f"the smallest face around the target was not found: {solution.message}")
    face[~support] = solution.x[size:] < 0.5
    return face


def _whitened(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return orthogonal coordinates (N, r) of unit scale of the features, and the map (d, r) back to theta."""
    left, scales, right = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    kept = scales > scales.max(initial=0.0) * 1e-12
    spread = np.sqrt(len(features))
    return left[:, kept] * spread, (right[kept].T / scales[kept]) * spread


def _newton(log_target: FloatArray, coordinates: FloatArray) -> tuple[FloatArray, float]:
    """Minimise log-partition minus target moment by damped Newton; return the best beta (r,) met and its gap."""
    moments = np.exp(log_target) @ coordinates
    beta = np.zeros(coordinates.shape[1])
    best, best_gap, idle = beta, np.inf, 0
    for _ in range(MOST_STEPS):
        log_policy = log_boltzmann(coordinates @ beta, 1.0)
        policy = np.exp(log_policy)
        mean = policy @ coordinates
        centred = coordinates - mean
        step = _solve((centred.T * policy) @ centred, moments - mean)
        gap = _gap(log_target, log_policy, beta, moments, coordinates, centred @ step)
        idle = 0 if gap < 0.9 * best_gap else idle + 1
        if gap < best_gap:
            best, best_gap = beta, gap
        if best_gap <= RESOLUTION or idle > 12:
            break
        beta = beta + _damped(step, beta, moments, coordinates, float(step @ (moments - mean)))
    return best, best_gap


def _solve(covariance: FloatArray, moments: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(covariance, moments, rcond=1e-17)[0], dtype=np.float64)


def _damped(
    step: FloatArray, beta: FloatArray, moments: FloatArray, coordinates: FloatArray, decrement: float
) -> FloatArray:
    """Return the step halved until the objective falls enough; below the resolution of the objective it is whole."""
    if decrement < 1e-9:
        return step
    start = _objective(beta, moments, coordinates)
    for _ in range(40):
        if _objective(beta + step, moments, coordinates) <= start - 1e-4 * decrement:
            break
        step, decrement = step / 2, decrement / 2
    return step


def _objective(beta: FloatArray, moments: FloatArray, coordinates: FloatArray) -> float:
    scores = coordinates @ beta - moments @ beta
    top = scores.max()
    return float(np.log(np.exp(scores - top).sum()) + top)


def _gap(
    log_target: FloatArray,
    log_policy: FloatArray,
    beta: FloatArray,
    moments: FloatArray,
    coordinates: FloatArray,
    tilt: FloatArray,
) -> float:
    """Bound the suboptimality of beta by the KL divergence of the tilted policy, or by the divergence itself.

    What rounding leaves of the difference in moments is added at its price in the objective.
    """
    bound = float(kl(log_target, log_policy))
    if np.all(tilt > -1.0):
        policy = np.exp(log_policy)
        left = np.abs((policy * (1.0 + tilt)) @ coordinates - moments) @ np.abs(beta)
        bound = min(bound, float(policy @ ((1.0 + tilt) * np.log1p(tilt) - tilt)) + float(left))
    return max(bound, 0.0)
