r"""Log densities of the policies that networks parametrise: a Gaussian written in its noise, and a squashed one.

Shapes: the coordinates of an action stand on the last axis and are summed there, any batch before it.
Units: natural logarithms.
"""

from __future__ import annotations

from exactrl.number_systems import A, namespace


def gaussian_log_density(noise: A, log_deviation: A) -> A:
    r"""Log density of $x=\mu+\sigma\epsilon$ under $\mathcal N(\mu,\operatorname{diag}\sigma^2)$, from the noise.

    $\sum_i-\tfrac12\epsilon_i^2-\log\sigma_i-\tfrac12\log 2\pi$.

    Shapes: noise, log_deviation (..., A) -> (...).
    Source: MPO, App. E; the reparameterised form of soft actor-critic.
    """
    xp = namespace(noise, log_deviation)
    return -xp.sum(noise * noise / 2 + log_deviation + xp.log_two_pi / 2, axis=-1)


def squash_log_jacobian(x: A) -> A:
    r"""Log Jacobian of $a=\tanh x$, without cancellation: $\sum_i2(\log 2-x_i-\operatorname{softplus}(-2x_i))$.

    The log density of the squashed action is that of x less this.

    Shapes: x (..., A) -> (...).
    Source: soft Q-learning, App. C.2, Eq. 33 for $f=\tanh$.
    """
    xp = namespace(x)
    return xp.sum(2 * (xp.log_two - x - xp.softplus(-2 * x)), axis=-1)
