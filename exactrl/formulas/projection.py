r"""Global KL projections that are closed enough to run in every number system: finite families and segments.

ECPO projects with $\arg\min_{\pi\in\Pi}D_{KL}(q\Vert\pi)$ (forward), PMD with $\arg\min_{\pi\in\Pi}D_{KL}(\pi\Vert q)$
(reverse).
"""

from __future__ import annotations

from typing import Any

from exactrl.errors import Uncertain
from exactrl.formulas.divergences import kl
from exactrl.number_systems import A, namespace


def nearest_forward(log_target: A, log_family: A) -> A:
    r"""The member that minimises $D_{KL}(q\Vert\pi)$.

    Shapes: log_target (..., N), log_family (..., M, N) -> (..., N).  In balls a tie raises Uncertain.
    Source: ECPO, Eq. 4.
    """
    xp = namespace(log_target, log_family)
    return xp.select(log_family, xp.argmin(kl(log_target[..., None, :], log_family)))


def nearest_reverse(log_target: A, log_family: A) -> A:
    r"""The member that minimises $D_{KL}(\pi\Vert q)$.

    Shapes: log_target (..., N), log_family (..., M, N) -> (..., N).  In balls a tie raises Uncertain.
    Source: ECPO, Eq. 3.
    """
    xp = namespace(log_target, log_family)
    return xp.select(log_family, xp.argmin(kl(log_family, log_target[..., None, :])))


def mixture(first: A, second: A, weight: A) -> A:
    r"""The point $(1-\lambda)a+\lambda b$ of a segment.

    Shapes: first, second (..., N); weight (...) -> (..., N).
    """
    return first + weight[..., None] * (second - first)


def segment_slope(target: A, first: A, second: A, weight: A) -> A:
    r"""Derivative in $\lambda$ of $\sum_\rho q(\rho)\log[(1-\lambda)a(\rho)+\lambda b(\rho)]$, which falls.

    Shapes: target, first, second (..., N); weight (...) -> (...).
    """
    xp = namespace(target, first, second)
    point = mixture(first, second, weight)
    return xp.sum(xp.weighted(target, (second - first) / xp.where(point > 0, point, 1)))


def nearest_on_segment(target: A, first: A, second: A) -> A:
    r"""The weight $\lambda\in[0,1]$ of the point that minimises $D_{KL}(q\Vert(1-\lambda)a+\lambda b)$, by bisection.

    The objective is convex in $\lambda$, so the sign of its slope brackets the minimum; in balls the result encloses
    it.
    Shapes: target, first, second (..., N) -> (...).
    Source: ECPO, App. A.3 (projection onto a convex set).
    """
    xp = namespace(target, first, second)
    low: Any = xp.sum(target) * 0
    high = low + 1
    for _ in range(xp.bisections):
        for share in (8, 7):
            middle = low + (high - low) * share / 16
            try:
                rising = segment_slope(target, first, second, middle) > 0
                break
            except Uncertain:
                pass
        else:
            break
        low, high = xp.where(rising, middle, low), xp.where(rising, high, middle)
    return xp.enclosure(low, high)
