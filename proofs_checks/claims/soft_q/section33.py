"""Section 3.3: Stein variational gradient descent (Eq. 13) and its way into the sampling network (Eq. 14)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import gaussian_kl_diagonal
from exactrl.formulas.particles import (
    gaussian_direction,
    gaussian_direction_moments,
    gaussian_discrepancy,
    rbf_kernel,
    uniform_repulsion,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import TEMPERATURE
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Real, Unit
from proofs_checks.instances import Problem, Space

CONTINUOUS = "a continuous action space"
GAUSSIAN_KERNEL = "the kernel is Gaussian, exp(-|a - a'|^2 / h) (App. D.1)"
WHOLE_SPACE = "the action space is R^d, so that perturbed samples stay in it"
SMALL_STEP = "to first order in the length of the step; where the direction vanishes, nothing changes"
GAUSSIAN_MODEL = "pi is a Gaussian with independent coordinates, Q a concave quadratic function without mixed terms"
_MILD = (-1, 1)


def _slope(p: Problem) -> Any:
    """The gradient of Q at the mean of the policy."""
    return -p.curvature * (p.mean - p.centre)


def _float_scale(*terms: Any) -> Any:
    """The size of the largest term, for floats."""
    return size(*terms) if namespace(*terms).name == "float64" else 1.0


@claim(
    "soft_q.eq13.direction",
    where="Sec. 3.3, Eq. 13",
    title="The Stein variational gradient lowers the divergence, and nothing in the kernel's space does so faster",
    statement=r"Perturbing samples along $\Delta f^\phi(\cdot;s_t)=\mathbb E_{a_t\sim\pi^\phi}\left[\kappa(a_t,f^\phi(\cdot;s_t))\nabla_{a'}"
    r"Q^\theta_{soft}(s_t,a')\mid_{a'=a_t}+\alpha\nabla_{a'}\kappa(a',f^\phi(\cdot;s_t))\mid_{a'=a_t}\right]$ reduces $D_{KL}\left(\pi^\phi"
    r"(\cdot\mid s_t)\Vert\exp(\frac1\alpha(Q^\theta_{soft}(s_t,\cdot)-V^\theta_{soft}))\right)$; it is the optimal (most greedy) direction in "
    r"the reproducing kernel Hilbert space of $\kappa$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="the samples stay among the actions",
    intended_statement=r"On $A=\mathbb R^d$ the divergence falls at the rate $\lVert\Delta f\rVert_{\mathcal H}^2/\alpha$ as the step starts, and along "
    r"no other function of that length in the space of $\kappa$ faster.",
    explanation=r"The paper bounds its rewards (Sec. 2.1), so that $\int_A\exp(Q/\alpha)da$ is finite only if $A$ has finite volume, and its experiments bound "
    r"the actions. At an edge of such a set the term $\alpha\nabla\kappa$ pushes samples outwards, where the target has no mass: the divergence becomes infinite, however "
    r"small the step. Judged for $A=[-w,w]$, constant $Q$ and $\pi^\phi$ uniform on $[0,w]$, where the divergence is $\log2$. Liu and Wang ask for functions that vanish "
    r"at the edge or a target on all of $\mathbb R^d$; the authors may take that for granted, since their $Q^\theta$ is a network. There the signs, the place of "
    r"$\alpha$ and the argument of the gradient in Eq. (13) are right. Where the direction vanishes nothing is reduced: with a kernel of a small space that may "
    r"happen away from the target as well.",
    hand_check=r"$A=[-1,1]$, $Q=0$, $\alpha=h=1$, $\pi^\phi$ uniform on $[0,1]$: $\Delta f(1)=\int_0^1\partial_a\kappa(a,1)da=\kappa(1,1)-\kappa(0,1)=1-e^{-1}>0$, "
    "and the samples near 1 leave $A$.",
)
def the_direction_is_the_steepest(p: Problem) -> list[Check]:
    """The Gaussian kernel against challengers, and a whole step with the kernel 1 + xy, whose law stays Gaussian."""
    return [_no_challenger_is_faster(p), *_an_affine_step(p)]


def _no_challenger_is_faster(p: Problem) -> Check:
    """The rate along sum_j w_j kappa(z_j, .), which is its product with the direction, against their lengths."""
    xp = namespace(p.mean)
    variance = p.deviation * p.deviation
    slope = _slope(p)
    here = gaussian_direction(p.points, p.mean, variance, slope, p.curvature, p.bandwidth, p.alpha)
    rate = xp.sum(xp.sum(p.weights * here))
    kernel = rbf_kernel(p.points, p.points, p.bandwidth)
    products = xp.sum(p.weights[..., :, None, :] * p.weights[..., None, :, :])
    length = xp.sum(xp.sum(kernel * products))
    steepest = gaussian_discrepancy(variance, slope, p.curvature, p.bandwidth, p.alpha)
    cancelled = xp.sum(xp.sum(xp.abs(products))) * steepest if xp.name == "float64" else 1.0
    return Check("no direction is faster", rate * rate, "<=", length * steepest, scale=cancelled)


def _an_affine_step(p: Problem) -> list[Check]:
    r"""A step along $\Delta f(y)=g+(mg-hv+\alpha)y$ of the kernel 1 + xy, in the first coordinate.

    The divergence is a convex quadratic function of the step less log(1 + step slope), so that a step below the given
    length lowers it by half of what its rate at 0 promises, which is $(g^2+(mg-hv+\alpha)^2)/\alpha$.
    """
    xp = namespace(p.mean)
    mean, deviation, curvature, centre = (x[..., 0] for x in (p.mean, p.deviation, p.curvature, p.centre))
    pull = -curvature * (mean - centre)
    slope = mean * pull - curvature * deviation * deviation + p.alpha
    rate = (pull * pull + slope * slope) / p.alpha
    moved = pull + slope * mean
    bend = curvature / p.alpha * (moved * moved + deviation * deviation * slope * slope) + 4 * slope * slope
    step = p.share * rate / (bend + 2 * xp.abs(slope) * rate + 1)
    log_deviation, target = xp.log(deviation), (centre, curvature, p.alpha)
    before = _divergence(mean, log_deviation, *target)
    after = _divergence(mean + step * moved, log_deviation + xp.log1p(step * slope), *target)
    reach = curvature / p.alpha * (mean * mean + centre * centre + deviation * deviation)
    scale = _float_scale(before, after) + reach if xp.name == "float64" else 1.0
    return [
        Check("a step lowers the divergence", after, "<=", before - step * rate / 2, scale=scale),
        Check("the step keeps the order", xp.abs(step * slope), "<=", step * 0 + 1, asserted=False),
    ]


def _divergence(mean: Any, log_deviation: Any, centre: Any, curvature: Any, alpha: Any) -> Any:
    """From a one-dimensional Gaussian to the target exp(Q / alpha), the Gaussian around the centre."""
    xp = namespace(mean)
    log_target = (xp.log(alpha) - xp.log(curvature)) / 2
    parts = gaussian_kl_diagonal(*(x[..., None] for x in (mean, log_deviation, centre, log_target)))
    return parts.mean + parts.covariance


def the_uniform_policy_stays_among_the_actions(p: Problem) -> Check:
    """Where samples at the upper end of [0, w] go, less w."""
    away = uniform_repulsion(p.width[..., None], p.width, p.bandwidth, p.alpha)
    return Check("the samples stay among the actions", away[..., 0], "<=", p.width * 0, scale=p.alpha / p.width)


_GAUSSIANS: dict[str, Any] = {
    "mean": Real(("d",), exponents=_MILD),
    "deviation": Positive(("d",), exponents=_MILD),
    "centre": Real(("d",), exponents=_MILD),
    "curvature": Positive(("d",), exponents=_MILD),
    "bandwidth": Positive(exponents=(-2, 2)),
    "alpha": Positive(exponents=(-2, 2)),
}
the_direction_is_the_steepest.reading(
    "literal",
    space=Space({"width": Positive(), "bandwidth": Positive(), "alpha": Positive()}),
    assumptions=[CONTINUOUS, TEMPERATURE, GAUSSIAN_KERNEL],
    sides=the_uniform_policy_stays_among_the_actions,
)
the_direction_is_the_steepest.reading(
    "intended",
    space=Space(
        {**_GAUSSIANS, "points": Real(("k", "d"), exponents=_MILD), "weights": Real(("k", "d")), "share": Unit()},
        {"d": (1, 2), "k": (1, 2)},
    ),
    adds=[WHOLE_SPACE, SMALL_STEP, GAUSSIAN_MODEL],
)


@claim(
    "soft_q.eq14",
    where="Sec. 3.3, Eqs. 12 and 14",
    title="The chain rule carries the direction into the network",
    statement=r"For $J_\pi(\phi;s_t)=D_{KL}\left(\pi^\phi(\cdot\mid s_t)\Vert\exp(\frac1\alpha(Q^\theta_{soft}(s_t,\cdot)-V^\theta_{soft}))\right)$, "
    r"$\Delta f^\phi$ is not strictly the gradient of $J_\pi$; with the assumption $\frac{\partial J_\pi}{\partial a_t}\propto\Delta f^\phi$ the chain rule "
    r"gives $\frac{\partial J_\pi(\phi;s_t)}{\partial\phi}\propto\mathbb E_\xi\left[\Delta f^\phi(\xi;s_t)\frac{\partial f^\phi(\xi;s_t)}{\partial\phi}\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="tangent",
    explanation=r"The derivative of $J_\pi$ with respect to the sample of noise $\xi$ is $-\frac1\alpha\nabla Q(a)+\nabla\log\pi^\phi(a)$. Judged for Gaussian policies "
    r"and quadratic $Q$ with a kernel for which the assumption is true, $\kappa=k\left(1+\frac{(x-m)(y-m)}{\sigma^2}\right)$: "
    r"$\Delta f=-k\alpha\,\partial J/\partial a$, and the derivative that follows is the slope of a tangent below the convex $J$. The factor of "
    r"proportionality is negative: a method that minimises $J_\pi$ has to add the right side of Eq. (14), not to subtract it. Whether the "
    r"assumption may be made is another claim.",
)
def the_chain_rule_gives_the_gradient(p: Problem) -> list[Check]:
    """The tangent along the network that leads to another location and scale, and the assumption at any sample."""
    xp = namespace(p.mean)
    pull = _slope(p)
    spread = p.alpha - p.curvature * p.deviation * p.deviation
    moved, stretched = p.other_mean - p.mean, p.other_deviation - p.deviation
    backpropagated = p.kernel_size * (pull * moved + spread / p.deviation * stretched)
    target = p.centre, p.curvature, p.alpha
    before = _divergence(p.mean, xp.log(p.deviation), *target)
    after = _divergence(p.other_mean, xp.log(p.other_deviation), *target)
    direction = p.kernel_size * (pull + spread * p.noise / p.deviation)
    per_sample = -(pull - p.curvature * p.deviation * p.noise) / p.alpha - p.noise / p.deviation
    reach = (xp.abs(p.mean) + xp.abs(p.other_mean) + xp.abs(p.centre) + p.deviation + p.other_deviation) ** 2
    ratio = 1 + p.other_deviation / p.deviation
    scale = 1 + p.curvature / p.alpha * reach + ratio if xp.name == "float64" else 1.0
    wide = (
        p.kernel_size * (xp.abs(p.noise) + 1) * (xp.abs(pull) + p.curvature * p.deviation + p.alpha / p.deviation)
        if xp.name == "float64"
        else 1.0
    )
    return [
        Check("tangent", after - before, ">=", -backpropagated / (p.kernel_size * p.alpha), scale=scale),
        Check(
            "assumption", direction, "==", -p.kernel_size * p.alpha * per_sample, scale=wide, asserted=False
        ),
    ]  # fmt: skip


_LINE: dict[str, Any] = {
    "mean": Real(exponents=_MILD),
    "deviation": Positive(exponents=_MILD),
    "centre": Real(exponents=_MILD),
    "curvature": Positive(exponents=_MILD),
    "alpha": Positive(exponents=(-2, 2)),
}
the_chain_rule_gives_the_gradient.both_readings(
    space=Space(
        {
            **_LINE,
            "other_mean": Real(exponents=_MILD),
            "other_deviation": Positive(exponents=_MILD),
            "kernel_size": Positive(),
            "noise": Real(exponents=_MILD),
        }
    ),
    assumptions=[
        "Delta f of Eq. 13",
        "the derivative of J with respect to the samples is proportional to Delta f",
        TEMPERATURE,
        GAUSSIAN_MODEL,
        "f(xi) = mean + deviation xi, and the parameter moves both along a line",
    ],
)


@claim(
    "soft_q.eq14.descent",
    where="Sec. 3.3, before and after Eq. 14",
    title="Steps along Eq. 14 lower the divergence of the sampling network",
    statement=r"It turns out that we can set $\frac{\partial J_\pi}{\partial a_t}\propto\Delta f^\phi$: any gradient-based optimization method that "
    r"follows $\mathbb E_\xi\left[\Delta f^\phi(\xi;s_t)\frac{\partial f^\phi(\xi;s_t)}{\partial\phi}\right]$ learns the optimal sampling network parameters.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="J does not rise",
    intended_statement=r"$\frac{\partial J_\pi}{\partial\phi}\cdot\mathbb E_\xi\left[\Delta f^\phi\frac{\partial f^\phi}{\partial\phi}\right]\le0$ where the network "
    r"moves every sample freely, as location and scale do for a Gaussian policy and quadratic $Q$.",
    explanation=r"The direction averages the gradient that $J_\pi$ has at each sample over its neighbours, so it shrinks some components more than others. "
    r"A network whose parameters tie these together then weighs them wrongly, and may go uphill however small the step is. Judged in the sign that favours the claim, "
    r"for $Q=-\frac12a^2$ and $f^\theta(\xi)=m+\sigma\xi+\theta(u+w\xi)$ at $\theta=0$. The paper concedes that $\Delta f$ is not strictly the gradient; "
    r"what fails is that it may be set in its place for any network. On a line of networks that passes through the target both components agree, and $J_\pi$ falls.",
    hand_check=r"$Q=-\frac12a^2$, $\alpha=h=1$, $m=1$, $\sigma=2$, $f^\theta=1+\theta+(2-\theta)\xi$: $\frac{dJ}{d\theta}=1-\frac32=-\frac12$, while "
    r"$\mathbb E_\xi[\Delta f\,\partial_\theta f]=-\sqrt{1/17}\left(1-\frac8{17}\cdot\frac32\right)=-\frac5{17\sqrt{17}}$: following it lowers $\theta$ and raises $J$.",
)
def following_the_direction_lowers_the_divergence(p: Problem) -> list[Check]:
    """Location and scale of every coordinate as parameters of their own."""
    moments, gradients, scale = _both_gradients(p)
    xp = namespace(p.mean)
    products = [xp.sum(g * m) for g, m in zip(gradients, moments, strict=True)]
    return [Check("J does not rise", products[0] + products[1], "<=", products[0] * 0, scale=scale)]


def following_the_direction_lowers_it_for_one_parameter(p: Problem) -> Check:
    """A network with one parameter that moves location and scale along a line, and Q = -a^2 / 2."""
    mean, deviation = p.mean[..., None], p.deviation[..., None]
    target = {"centre": mean * 0, "curvature": mean * 0 + 1}
    model = Problem({}, {"mean": mean, "deviation": deviation, **target, "bandwidth": p.bandwidth, "alpha": p.alpha})
    moments, gradients, scale = _both_gradients(model)
    update, slope = (x[0][..., 0] * p.shift + x[1][..., 0] * p.stretch for x in (moments, gradients))
    wide = scale * _float_scale(p.shift, p.stretch) ** 2
    return Check("J does not rise", slope * update, "<=", update * 0, scale=wide)


def _both_gradients(p: Problem) -> tuple[Any, Any, Any]:
    """What Eq. 14 gives for location and scale, the derivatives of J, and the size of products of the two."""
    slope = _slope(p)
    moments = gaussian_direction_moments(p.deviation, slope, p.curvature, p.bandwidth, p.alpha)
    temperature = row(p.alpha)
    gradients = -slope / temperature, p.curvature * p.deviation / temperature - 1 / p.deviation
    terms = p.curvature * p.deviation, slope, temperature / p.deviation
    scale = _float_scale(*terms) ** 2 / p.alpha if namespace(slope).name == "float64" else 1.0
    return moments, gradients, scale


_SMALL: dict[str, Any] = {"high": 9, "exponents": (0, 0)}
following_the_direction_lowers_the_divergence.reading(
    "literal",
    space=Space(
        {
            **{name: Real(low=-9, **_SMALL) for name in ("mean", "shift", "stretch")},
            **{name: Positive(**_SMALL) for name in ("deviation", "bandwidth", "alpha")},
        }
    ),
    assumptions=["Delta f of Eq. 13", TEMPERATURE, GAUSSIAN_KERNEL, GAUSSIAN_MODEL, "exact expectations"],
    sides=following_the_direction_lowers_it_for_one_parameter,
)
following_the_direction_lowers_the_divergence.reading(
    "intended",
    space=Space(_GAUSSIANS, {"d": (1, 2)}),
    adds=["the network moves every sample freely: location and scale are parameters of their own"],
)
