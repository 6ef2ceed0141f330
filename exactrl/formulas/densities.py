r"""Log densities of the policies that networks parametrise: a Gaussian written in its noise, and a squashed one.

Shapes: the coordinates of an action stand on the last axis and are summed there, any batch before it.
Units: natural logarithms.
"""

from __future__ import annotations

from exactrl.number_systems import A, namespace


def gaussian_log_density(noise: A, log_deviation: A) -> A:
    r"""Log density of $x=\mu+\sigma\epsilon$ under $\mathcal N(\mu,\operatorname{diag}\sigma^2)$, from the noise $\epsilon=(x-\mu)/\sigma$.

    $\sum_i-\tfrac12\epsilon_i^2-\log\sigma_i-\tfrac12\log 2\pi$.

    Shapes: noise, log_deviation (..., A) -> (...).
    Source: MPO, App. E; the reparameterised form of soft actor-critic.
    """
    xp = namespace(noise, log_deviation)
    return -xp.sum(noise * noise / 2 + log_deviation + xp.log_two_pi / 2, axis=-1)


def squash_log_jacobian(x: A) -> A:
    r"""Log of the Jacobian of $a=\tanh x$, $\sum_i\log(1-\tanh^2x_i)$, without cancellation: it is $-2\log\cosh x$.

    The log density of the squashed action is that of x less this.

    Shapes: x (..., A) -> (...).
    Source: soft Q-learning, App. C.2, Eq. 33 for $f=\tanh$.
    """
    xp = namespace(x)
    distance = xp.abs(x)
    return -2 * xp.sum(distance + xp.log1p(xp.expm1(-2 * distance) / 2), axis=-1)
