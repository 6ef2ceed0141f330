r"""The forward KL projection onto a softmax family, by damped Newton with a certificate: one state or many.

    minimise over beta   $\mathbb E_\mu D_{KL}(m(\cdot\mid s)\Vert\pi_\beta(\cdot\mid s))$,
    $\pi_\beta(a\mid s)\propto\exp\{\phi(s,a)^\top\beta\}$

Certificate: for every table p with the moments of m, $\mathbb E_\mu\mathbb E_p\phi=\mathbb E_\mu\mathbb E_m\phi$, and
every beta, $\mathbb E_\mu D_{KL}(m\Vert\pi_\beta)$ is $\mathbb E_\mu D_{KL}(p\Vert\pi_\beta)$ plus a constant, so that
this divergence of p bounds the suboptimality of beta.  Such a p is made from the iterate by tilting it,
$p=\pi_\beta(1+c^\top(\phi-\mathbb E_{\pi_\beta}\phi))$ with the Newton step c; where that is not positive, p = m
serves, and the bound is the divergence itself.

Shapes: S states (1 for a distribution over trajectories), A actions, r coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.formulas import log_boltzmann
from exactrl.formulas.mpo import centred_features, expected_features, expected_kl, softmax_fisher

__all__ = ["MOST_STEPS", "SoftmaxFit", "SoftmaxProblem", "newton_step", "smallest_face", "whitened"]

MOST_STEPS = 200
RESOLUTION = 1e-15


@dataclass(frozen=True, eq=False)
class SoftmaxFit:
    """The best policy found: its logarithm (S, A) or (N,), theta (d,) or None if it is a limit, and the gap."""

    log_policy: FloatArray
    theta: FloatArray | None
    gap: float


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


def whitened(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return coordinates (S, A, r) of unit scale of features that are centred in each state, and the map to theta."""
    states, actions, size = features.shape
    left, scales, right = np.linalg.svd(features.reshape(-1, size), full_matrices=False)
    kept = scales > scales.max(initial=0.0) * 1e-12
    spread = np.sqrt(states * actions)
    return (left[:, kept] * spread).reshape(states, actions, -1), (right[kept].T / scales[kept]) * spread


class SoftmaxProblem:
    """The problem in coordinates (S, A, r) on its face (S, A)."""

    def __init__(
        self, log_target: FloatArray, face: NDArray[np.bool_], coordinates: FloatArray, weights: FloatArray
    ) -> None:
        self.log_target, self.face, self.coordinates, self.weights = log_target, face, coordinates, weights
        self.moments = self.expected(np.exp(log_target))

    def expected(self, table: FloatArray) -> FloatArray:
        """The average of the coordinates over a table, (r,)."""
        return expected_features(table, self.coordinates, self.weights)

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
            step = newton_step(softmax_fisher(log_policy, self.coordinates, self.weights), slope)
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
        tilt = np.where(self.face, centred_features(policy, self.coordinates) @ step, 0.0)
        if np.all(tilt > -1.0):
            left = np.abs(self.expected(policy * (1.0 + tilt)) - self.moments) @ np.abs(beta)
            tilted = (policy * ((1.0 + tilt) * np.log1p(tilt) - tilt)).sum(axis=1)
            bound = min(bound, float(self.weights @ tilted) + float(left))
        return max(bound, 0.0)


def newton_step(curvature: FloatArray, slope: FloatArray) -> FloatArray:
    """The Newton step, of least norm where the curvature has null directions."""
    return np.asarray(np.linalg.lstsq(curvature, slope, rcond=1e-17)[0], dtype=np.float64)
