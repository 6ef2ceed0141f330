r"""Both KL projections onto the mixtures $\pi_w=\sum_m w_mv_m$ of M given distributions.

    forward   minimise over w   $D_{KL}(q\Vert\pi_w)$     subject to   w >= 0,  sum w = 1
    reverse   minimise over w   $D_{KL}(\pi_w\Vert q)$    subject to   the same

Both are smooth and convex in w, and a primal-dual interior-point method solves them; it needs no trust, because the
duality gap of Frank and Wolfe certifies its answer: with g the gradient in w,
$f(w)-\min f\le\max_m\langle g,w-e_m\rangle=w^\top g-\min_mg_m$.

Shapes: M vertices, N trajectories; log_target (N,), log_vertices (M, N).  Everything stays in logarithms, so that the
ratios $v_m/\pi_w\le1/w_m$ are formed without underflow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from exactrl.entries import FloatArray
from exactrl.number_systems import namespace

__all__ = ["log_mixture", "solve_mixture"]

Derivatives: TypeAlias = tuple[FloatArray, FloatArray]
MOST_ITERATIONS = 100
CENTRING = 0.1
TO_THE_BOUNDARY = 0.99
RESOLUTION = 1e-15


def log_mixture(weights: FloatArray, log_vertices: FloatArray) -> FloatArray:
    """Return log of the mixture.  Shapes: weights (M,), log_vertices (M, N) -> (N,)."""
    xp = namespace(log_vertices)
    result: FloatArray = xp.logsumexp(xp.log(weights)[:, None] + log_vertices, axis=0)
    return result


def solve_mixture(
    log_target: FloatArray, log_vertices: FloatArray, *, forward: bool
) -> tuple[FloatArray, float] | None:
    """Return the optimal weights (M,) and their duality gap; None when the divergence is +inf on the whole polytope.

    The gap is a proven bound on the suboptimality, up to the rounding of its own evaluation.
    """
    lacking = np.isneginf(log_target)
    allowed = np.ones(len(log_vertices), dtype=bool)
    if forward:
        columns = ~lacking
        covered = bool(np.isfinite(log_vertices[:, columns]).any(axis=0).all())
    else:
        allowed = np.asarray(np.isneginf(log_vertices[:, lacking]).all(axis=1))
        covered = bool(allowed.any())
        columns = np.asarray(np.isfinite(log_vertices[allowed]).any(axis=0))
    if not covered:
        return None
    derivatives = _forward(log_target[columns]) if forward else _reverse(log_target[columns])
    found, gap = _interior_point(log_vertices[np.ix_(allowed, columns)], derivatives)
    weights = np.zeros(len(log_vertices))
    weights[allowed] = found
    return weights, gap


def _forward(log_target: FloatArray) -> Callable[[FloatArray, FloatArray], Derivatives]:
    target = np.exp(log_target)

    def derivatives(log_vertices: FloatArray, log_policy: FloatArray) -> Derivatives:
        ratio = np.exp(log_vertices - log_policy)
        return -(ratio @ target), (ratio * target) @ ratio.T

    return derivatives


def _reverse(log_target: FloatArray) -> Callable[[FloatArray, FloatArray], Derivatives]:
    def derivatives(log_vertices: FloatArray, log_policy: FloatArray) -> Derivatives:
        ratio = np.exp(log_vertices - log_policy)
        return np.exp(log_vertices) @ (log_policy - log_target), (ratio * np.exp(log_policy)) @ ratio.T

    return derivatives


def _interior_point(
    log_vertices: FloatArray, derivatives: Callable[[FloatArray, FloatArray], Derivatives]
) -> tuple[FloatArray, float]:
    r"""Minimise over the weight simplex; return the best weights met and their duality gap.

    The optimality conditions $g+\nu-s=0$, $w_ms_m=\mu$, $\sum w=1$ are solved by Newton steps while mu falls to 0.
    """
    size = len(log_vertices)
    weights, best, best_gap, idle = np.full(size, 1.0 / size), np.full(size, 1.0 / size), np.inf, 0
    gradient, hessian = derivatives(log_vertices, log_mixture(weights, log_vertices))
    level = 1.0 - gradient.min()
    slack = gradient + level
    for _ in range(MOST_ITERATIONS):
        gap = float(weights @ gradient - gradient.min())
        idle = 0 if gap < 0.9 * best_gap else idle + 1
        if gap < best_gap:
            best, best_gap = weights, gap
        if best_gap <= RESOLUTION or idle > 12:
            break
        target = CENTRING * float(weights @ slack) / size
        step, level_step = _newton(weights, slack, gradient + level, hessian, target)
        slack_step = target / weights - slack - slack / weights * step
        length = min(1.0, _longest(weights, step), _longest(slack, slack_step))
        residual = _residual(weights, slack, gradient + level - slack, target)
        for _ in range(30):
            new = weights + length * step
            new /= new.sum()
            gradient, hessian = derivatives(log_vertices, log_mixture(new, log_vertices))
            new_slack, new_level = slack + length * slack_step, level + length * level_step
            if _residual(new, new_slack, gradient + new_level - new_slack, target) <= (1 - 0.01 * length) * residual:
                break
            length /= 2
        weights, slack, level = new, new_slack, new_level
    return best, max(best_gap, 0.0)


def _newton(
    weights: FloatArray, slack: FloatArray, dual: FloatArray, hessian: FloatArray, target: float
) -> tuple[FloatArray, float]:
    """Solve (H + S/W) dw + d nu = -(g + nu) + mu / w,  sum dw = 0, in the scaled unknowns dw / w."""
    size = len(weights)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = weights[:, None] * hessian * weights + np.diag(weights * slack)
    system[:size, size] = system[size, :size] = weights
    right = np.append(target - weights * dual, 0.0)
    try:
        solution = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(system, right)[0]
    return weights * solution[:size], float(solution[size])


def _longest(values: FloatArray, step: FloatArray) -> float:
    falling = step < 0
    return float((-TO_THE_BOUNDARY * values[falling] / step[falling]).min()) if falling.any() else 1.0


def _residual(weights: FloatArray, slack: FloatArray, dual: FloatArray, target: float) -> float:
    return float(np.sqrt((weights * dual) @ (weights * dual) + ((weights * slack - target) ** 2).sum()))
