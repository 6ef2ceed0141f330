r"""Weighted least squares with one feature: what a mean squared error is least at when values are multiples of it."""

from __future__ import annotations

from exactrl.number_systems import A, namespace


def fitted_multiple(feature: A, target: A, weights: A) -> A:
    r"""The number $\theta=\sum_xq\,\phi y\,/\sum_xq\,\phi^2$ at which $\mathbb E_q[\frac12(y-\theta\phi)^2]$ is least.

    Shapes: feature, target, weights (..., N) -> (...).  Needs a feature that is not 0 wherever there is weight.
    Source: soft Q-learning, Eq. 11, for the class $Q^\theta=\theta\phi$.
    """
    xp = namespace(feature, target, weights)
    return xp.sum(weights * feature * target) / xp.sum(weights * feature * feature)
