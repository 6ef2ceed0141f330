r"""The forward KL projection onto a one-layer softmax family over trajectories, convex by Proposition 3 of ECPO.

    minimise over theta   $D_{KL}(q\Vert\pi_\theta)$,    $\pi_\theta(\rho)\propto\exp\{\phi(\rho)^\top\theta\}$

Solver and certificate are those of `softmax_fit`, with the trajectories as the actions of one state.

The minimum is not attained exactly when $\mathbb E_q\phi$ lies on the relative boundary of the convex hull of the
features.  Then the infimum is that of the family restricted to the smallest face around it, a limit of the family.

Shapes: N trajectories, d features; features (N, d), log_target (N,).
"""

from __future__ import annotations

import numpy as np

from exactrl.entries import FloatArray
from exactrl.softmax_fit import SoftmaxFit, SoftmaxProblem, smallest_face, whitened

__all__ = ["solve_softmax"]


def solve_softmax(log_target: FloatArray, features: FloatArray) -> SoftmaxFit:
    """Return the forward projection; on the boundary, the limit of the family that has the infimum, with theta None.

    Raises ExactRLError when the linear program for the face fails.
    """
    face = smallest_face(np.isfinite(log_target), features)
    kept = features[face]
    coordinates, back = whitened((kept - kept.mean(axis=0))[None])
    problem = SoftmaxProblem(log_target[face][None], np.ones((1, len(kept)), dtype=np.bool_), coordinates, np.ones(1))
    beta, gap = problem.solve()
    log_policy = np.full(len(features), -np.inf)
    log_policy[face] = problem.log_policy(beta)[0]
    return SoftmaxFit(log_policy, back @ beta if face.all() else None, gap)
