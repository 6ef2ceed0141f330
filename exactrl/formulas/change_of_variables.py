r"""The density of what a differentiable map makes of noise.

Shapes: any batch (...); the preimages of one action stand on the last axis.
Units: natural logarithms.
Source: soft Q-learning, App. C.2, Eq. 33.
"""

from __future__ import annotations

from exactrl.number_systems import A, namespace

__all__ = ["log_density_of_image", "log_density_over_preimages", "triangular_log_jacobian"]


def log_density_of_image(log_density: A, log_jacobian: A) -> A:
    r"""$\log q(a')=\log p_\xi(\xi')-\log\lvert\det\partial a'/\partial\xi'\rvert$ for an injective map.

    Shapes: both (...) -> (...).
    Source: soft Q-learning, Eq. 33.
    """
    return log_density - log_jacobian


def log_density_over_preimages(log_density: A, log_jacobian: A) -> A:
    r"""The log density where several noises are mapped to one action: $\log\sum_kp_\xi(\xi_k)/\lvert\det_k\rvert$.

    Some of the preimages give a lower bound of it.
    Shapes: both (..., K) -> (...).
    Source: the area formula; soft Q-learning, Eq. 33 where K = 1.
    """
    return namespace(log_density, log_jacobian).logsumexp(log_density_of_image(log_density, log_jacobian))


def triangular_log_jacobian(factor: A) -> A:
    r"""$\log\lvert\det L\rvert$ of a triangular map with a positive diagonal.

    Shapes: factor (..., n, n) -> (...).
    """
    xp = namespace(factor)
    return xp.sum(xp.stack([xp.log(factor[..., k, k]) for k in range(factor.shape[-1])], axis=-1))
