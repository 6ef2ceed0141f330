r"""Stein variational gradient descent: kernels, the direction that moves samples, and its way into a network.

For a law $\pi$ of actions and the target $p\propto\exp(Q/\alpha)$ the direction at y is

    $\Delta f(y)=\mathbb E_{a\sim\pi}[\kappa(a,y)\nabla Q(a)+\alpha\nabla_a\kappa(a,y)]$,

which is $\alpha$ times that of Liu & Wang (2016), because $\nabla\log p=\nabla Q/\alpha$.  Along it the divergence
$D_{KL}(\pi\Vert p)$ falls at the rate $\lVert\Delta f\rVert_{\mathcal H}^2/\alpha$; no other element of the space
$\mathcal H$ of the kernel that is as long makes it fall faster.

The second half of the file has the integrals in closed form for a Gaussian policy with independent coordinates,
$\mathcal N(m,\operatorname{diag}v)$, and $Q(a)=\sum_ig_i(a_i-m_i)-\frac12h_i(a_i-m_i)^2$ up to a constant.

Shapes: M samples a, K samples y, d coordinates of an action; any batch before them.
Source: soft Q-learning, Sec. 3.3, Eq. 13, and App. C.1; Liu & Wang 2016.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

from exactrl.number_systems import A, namespace

__all__ = [
    "DirectionMoments",
    "amortised_update",
    "gaussian_direction",
    "gaussian_direction_moments",
    "gaussian_discrepancy",
    "polynomial_kernel",
    "polynomial_kernel_gradient",
    "rbf_kernel",
    "rbf_kernel_gradient",
    "svgd_direction",
    "uniform_repulsion",
]


def rbf_kernel(points: A, others: A, bandwidth: A) -> A:
    r"""The Gaussian kernel $\kappa(x_i,y_j)=\exp(-\lVert x_i-y_j\rVert^2/h)$.

    Shapes: points (..., M, d), others (..., K, d), bandwidth (...) -> (..., M, K).
    Source: soft Q-learning, App. D.1.
    """
    xp = namespace(points, others, bandwidth)
    apart = points[..., :, None, :] - others[..., None, :, :]
    return xp.exp(-xp.sum(apart * apart) / _over(bandwidth, 2))


def rbf_kernel_gradient(points: A, others: A, bandwidth: A) -> A:
    r"""Its gradient in the first argument, $-\frac2h(x_i-y_j)\kappa(x_i,y_j)$.

    Shapes: points (..., M, d), others (..., K, d), bandwidth (...) -> (..., M, K, d).
    Source: soft Q-learning, Eq. 13 and App. D.1.
    """
    apart = points[..., :, None, :] - others[..., None, :, :]
    gradient: A = -2 * apart / _over(bandwidth, 3) * rbf_kernel(points, others, bandwidth)[..., None]
    return gradient


def polynomial_kernel(points: A, others: A, degree: int) -> A:
    r"""The kernel $\kappa(x_i,y_j)=(1+x_i^\top y_j)^p$, whose space holds the polynomials of degree p.

    Shapes: points (..., M, d), others (..., K, d) -> (..., M, K).
    Source: Liu & Wang 2016, Sec. 3.
    """
    xp = namespace(points, others)
    base = 1 + xp.sum(points[..., :, None, :] * others[..., None, :, :])
    return _power(base, degree)


def polynomial_kernel_gradient(points: A, others: A, degree: int) -> A:
    r"""Its gradient in the first argument, $p(1+x_i^\top y_j)^{p-1}y_j$.

    Shapes: points (..., M, d), others (..., K, d) -> (..., M, K, d).
    Source: Liu & Wang 2016, Sec. 3.
    """
    outer = degree * _power_or_one(points, others, degree - 1)
    return outer[..., None] * others[..., None, :, :]


def svgd_direction(kernel: A, kernel_gradient: A, gradients: A, temperature: Any) -> A:
    r"""$\Delta f_j=\frac1M\sum_i\kappa(a_i,y_j)\nabla Q(a_i)+\alpha\nabla_{a_i}\kappa(a_i,y_j)$.

    temperature 0 leaves the term out that keeps the samples apart.
    Shapes: kernel (..., M, K), kernel_gradient (..., M, K, d), gradients (..., M, d), temperature (...) -> (..., K, d).
    Source: soft Q-learning, Eq. 13, the expectation over samples.
    """
    xp = namespace(kernel, kernel_gradient, gradients, temperature)
    pulled = kernel[..., None] * gradients[..., :, None, :]
    return xp.sum(pulled + _over(temperature, 3) * kernel_gradient, axis=-3) / kernel.shape[-2]


def amortised_update(directions: A, jacobians: A) -> A:
    r"""What the directions make of the parameters of a network, $\frac1K\sum_j\Delta f_j^\top\partial_\phi f(\xi_j)$.

    Shapes: directions (..., K, d), jacobians (..., K, d, P) -> (..., P).
    Source: soft Q-learning, Eq. 14.
    """
    xp = namespace(directions, jacobians)
    return xp.sum(xp.sum(directions[..., None] * jacobians, axis=-2), axis=-2) / directions.shape[-2]


# Integrals in closed form


class DirectionMoments(NamedTuple, Generic[A]):
    r"""The means of $\Delta f(m+\sigma\xi)$ and of $\Delta f(m+\sigma\xi)\,\xi$ over the noise, each (..., d)."""

    mean: A
    noise: A


def gaussian_direction(points: A, mean: A, variance: A, slope: A, curvature: A, bandwidth: A, temperature: A) -> A:
    r"""The direction at points, for the Gaussian kernel and a Gaussian policy.

    $\Delta f_i(y)=Z(y)\left[g_i+\frac{2(\alpha-h_iv_i)}{b+2v_i}(y_i-m_i)\right]$ with
    $Z(y)=\mathbb E_a\kappa(a,y)=\prod_i\sqrt{\frac b{b+2v_i}}\exp\left(-\frac{(y_i-m_i)^2}{b+2v_i}\right)$.

    Shapes: points (..., K, d), mean, variance, slope, curvature (..., d), bandwidth b, temperature (...)
    -> (..., K, d).
    Source: soft Q-learning, Eq. 13.
    """
    xp = namespace(points, mean, variance, slope, curvature, bandwidth, temperature)
    b = _over(bandwidth, 1)
    wide = b + 2 * variance
    apart = points - mean[..., None, :]
    log_weight = xp.log(b / wide)[..., None, :] / 2 - apart * apart / wide[..., None, :]
    rise = 2 * (_over(temperature, 1) - curvature * variance) / wide
    direction: A = xp.exp(xp.sum(log_weight))[..., None] * (slope[..., None, :] + rise[..., None, :] * apart)
    return direction


def gaussian_discrepancy(variance: A, slope: A, curvature: A, bandwidth: A, temperature: A) -> A:
    r"""The squared length of that direction, $\lVert\Delta f\rVert_{\mathcal H}^2$.

    $\prod_i\sqrt{\frac b{b+4v_i}}\;\sum_i\left[g_i^2+\frac{2(\alpha-h_iv_i)^2}{b+4v_i}\right]$: $\alpha^2$ times the
    squared kernelised Stein discrepancy.

    Shapes: variance, slope, curvature (..., d), bandwidth, temperature (...) -> (...).
    Source: Liu & Wang 2016, Eq. 5; soft Q-learning, Eq. 13.
    """
    xp = namespace(variance, slope, curvature, bandwidth, temperature)
    b = _over(bandwidth, 1)
    excess = _over(temperature, 1) - curvature * variance
    terms = slope * slope + 2 * excess * excess / (b + 4 * variance)
    return xp.exp(xp.sum(xp.log(b / (b + 4 * variance))) / 2) * xp.sum(terms)


def gaussian_direction_moments(
    deviation: A, slope: A, curvature: A, bandwidth: A, temperature: A
) -> DirectionMoments[A]:
    r"""What the direction of a Gaussian policy makes of its location and of its scale.

    With $\zeta=\prod_i\sqrt{b/(b+4v_i)}$ they are $\zeta g_i$ and $\zeta\frac{2(\alpha-h_iv_i)\sigma_i}{b+4v_i}$.
    Shapes: deviation, slope, curvature (..., d), bandwidth, temperature (...) -> two of (..., d).
    Source: soft Q-learning, Eq. 14, for $f(\xi)=m+\sigma\xi$.
    """
    xp = namespace(deviation, slope, curvature, bandwidth, temperature)
    variance = deviation * deviation
    b = _over(bandwidth, 1)
    weight = xp.exp(xp.sum(xp.log(b / (b + 4 * variance)), keepdims=True) / 2)
    excess = _over(temperature, 1) - curvature * variance
    return DirectionMoments(weight * slope, weight * (2 * excess * deviation / (b + 4 * variance)))


def uniform_repulsion(points: A, width: A, bandwidth: A, temperature: A) -> A:
    r"""The direction where Q is constant and the policy uniform on $[0,w]$.

    $\alpha\,\mathbb E_a[\partial_a\kappa(a,y)]=\frac\alpha w(\kappa(w,y)-\kappa(0,y))$ for the Gaussian kernel.
    Shapes: points (..., K), width, bandwidth, temperature (...) -> (..., K).
    Source: soft Q-learning, Eq. 13.
    """
    xp = namespace(points, width, bandwidth, temperature)
    width, b = _over(width, 1), _over(bandwidth, 1)
    upper, lower = (xp.exp(-(end - points) * (end - points) / b) for end in (width, width * 0))
    moved: A = _over(temperature, 1) / width * (upper - lower)
    return moved


def _over(x: Any, axes: int) -> Any:
    """A number of the batch shape, to meet arrays with more axes."""
    xp = namespace(x)
    for _ in range(axes):
        x = xp.per_row(x)
    return x


def _power(base: A, degree: int) -> A:
    power = base
    for _ in range(degree - 1):
        power = power * base
    return power


def _power_or_one(points: A, others: A, degree: int) -> A:
    kernel = polynomial_kernel(points, others, max(degree, 1))
    return kernel if degree else kernel * 0 + 1
