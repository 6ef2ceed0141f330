"""Appendix C: the estimate of the policy update, the best proposal, and the density of sampled actions."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import gaussian_log_density, soft_maximum, squash_log_jacobian
from exactrl.formulas.change_of_variables import (
    log_density_of_image,
    log_density_over_preimages,
    triangular_log_jacobian,
)
from exactrl.formulas.linear_quadratic import eliminate
from exactrl.formulas.particles import amortised_update, rbf_kernel, rbf_kernel_gradient, svgd_direction
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import TEMPERATURE
from proofs_checks.claims.soft_q.matrices import squared
from proofs_checks.claims.terms import lower_triangular, row, size
from proofs_checks.fields import Modest, NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem, Space

GAUSSIAN_KERNEL = "the kernel is Gaussian, exp(-|a - a'|^2 / h) (App. D.1)"


def _update(p: Problem, temperature: Any) -> Any:
    """The double sum over both sets of samples, one entry a parameter."""
    kernel = rbf_kernel(p.samples, p.others, p.bandwidth)
    slopes = rbf_kernel_gradient(p.samples, p.others, p.bandwidth)
    return amortised_update(svgd_direction(kernel, slopes, p.gradients, temperature), p.jacobians)


@claim(
    "soft_q.appc1",
    where="App. C.1",
    title="The empirical estimate of the policy update",
    statement=r"Substituting (13) into (14) gives the empirical estimate $\frac1{KM}\sum_{j=1}^K\sum_{i=1}^M\left(\kappa(a^{(i)}_t,\hat a^{(j)}_t)\nabla_{a'}"
    r"Q_{soft}(s_t,a')\mid_{a'=a^{(i)}_t}+\nabla_{a'}\kappa(a',\hat a^{(j)}_t)\mid_{a'=a^{(i)}_t}\right)\nabla_\phi f^\phi(\tilde\xi^{(j)};s_t)$.",
    kind="identity",
    shape=POINTWISE,
    condition="substituted",
    intended_statement=r"The same with $\alpha\nabla_{a'}\kappa$, as Eq. (13) has it.",
    explanation=r"The print lacks $\alpha$ before the gradient of the kernel. With it the estimate is Eq. (14) with both expectations replaced by averages. Judged for any samples, "
    r"gradients of $Q$ and derivatives of the network; the two sets of samples may be the same. Two remarks that are not judged: with one set for both the pairs $i=j$ make "
    r"the estimate biased, and it estimates a direction in which $J_\pi$ falls, although it bears the name $\hat\nabla_\phi J_\pi$.",
    hand_check=r"$K=M=1$, $a=1$, $\hat a=0$, $h=1$, $\nabla Q=0$, $\nabla f=1$, $\alpha=2$: $\nabla\kappa=-2e^{-1}$, so Eqs. (13) and (14) give $-4e^{-1}$ and the print $-2e^{-1}$.",
)
def the_estimate_is_the_substituted_direction(p: Problem) -> Check:
    """The double sum written out, with the temperature, against the composition of Eqs. 13 and 14."""
    return _substituted(p, p.alpha)


def the_printed_estimate_is_the_substituted_direction(p: Problem) -> Check:
    """The same without it."""
    return _substituted(p, p.alpha * 0 + 1)


def _substituted(p: Problem, printed: Any) -> Check:
    """The printed sum, its terms expanded by samples, against Eq. 13 at every other sample, then Eq. 14."""
    xp = namespace(p.samples)
    temperature = row(row(printed))
    total: Any = 0
    for j in range(p.others.shape[-2]):
        other = p.others[..., j, None, :]
        kernel = rbf_kernel(p.samples, other, p.bandwidth)
        slopes = rbf_kernel_gradient(p.samples, other, p.bandwidth)[..., 0, :]
        terms = kernel * p.gradients + temperature * slopes
        total = total + xp.sum(xp.sum(terms[..., None] * p.jacobians[..., j, None, :, :], axis=-2), axis=-2)
    estimate = total / (p.others.shape[-2] * p.samples.shape[-2])
    scale: Any = 1.0
    if xp.name == "float64":
        reach = p.alpha * (size(p.samples) + size(p.others)) / p.bandwidth
        scale = size(p.jacobians) * (size(p.gradients) + reach)
    return Check("substituted", estimate, "==", _update(p, p.alpha), scale=scale)


_SAMPLES = Space(
    {
        "samples": Real(("m", "d"), exponents=(-1, 1)),
        "others": Real(("k", "d"), exponents=(-1, 1)),
        "gradients": Real(("m", "d")),
        "jacobians": Real(("k", "d", "parameters")),
        "bandwidth": Positive(exponents=(-1, 2)),
        "alpha": Positive(),
    },
    {"m": (1, 2), "k": (1, 2), "d": (1, 2), "parameters": (1,)},
)
the_estimate_is_the_substituted_direction.reading(
    "literal",
    space=_SAMPLES,
    assumptions=[
        "samples a of the network for Eq. 13, samples of the network for Eq. 14",
        TEMPERATURE,
        GAUSSIAN_KERNEL,
    ],
    sides=the_printed_estimate_is_the_substituted_direction,
    effort=0.3,
)
the_estimate_is_the_substituted_direction.reading(
    "intended", space=_SAMPLES, adds=["alpha stands before the gradient of the kernel (a misprint)"], effort=0.3
)


@claim(
    "soft_q.appc2.optimal",
    where="App. C.2",
    title="The Boltzmann policy is the best proposal for the soft value",
    statement=r"The proposal $q_{a'}(\cdot)\propto\exp(\frac1\alpha Q_{soft}(s,\cdot))$ is optimal for Eq. 10.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no proposal has less variance",
    explanation=r"With this proposal $\exp(Q/\alpha)/q$ is the partition function at every action, so that one sample gives the soft value exactly; no proposal can have "
    r"a smaller second moment, by Jensen's inequality. Judged for quadratic $Q$ on the real line with Gaussian proposals, all that have a finite variance "
    r"(those with $\sigma^2>\alpha/2h$), and for any $Q$ on finitely many actions with any proposal.",
)
def the_boltzmann_proposal_is_optimal(p: Problem) -> list[Check]:
    """The weight at any action, and the second moments of other proposals against the square of the mean."""
    xp = namespace(p.action)
    value = p.height / p.alpha + (xp.log_two_pi + xp.log(p.alpha) - xp.log(p.curvature)) / 2
    apart = p.action - p.centre
    log_deviation = (xp.log(p.alpha) - xp.log(p.curvature)) / 2
    log_proposal = gaussian_log_density((apart * xp.exp(-log_deviation))[..., None], log_deviation[..., None])
    weight = (p.height - p.curvature * apart * apart / 2) / p.alpha - log_proposal
    gaussian = _log_second_moment(p)
    temperature = xp.per_row(p.alpha)
    finite = xp.logsumexp(2 * p.action_values / temperature - p.log_proposal)
    mean = soft_maximum(p.action_values, p.alpha) / p.alpha
    scale: Any = 1.0
    if xp.name == "float64":
        reach = (xp.abs(p.action) + xp.abs(p.centre) + xp.abs(p.mean)) ** 2 * p.curvature * (1 + 1 / p.excess)
        scale = 2 + xp.abs(value) + xp.abs(p.log_excess) + (xp.abs(p.height) + reach) / p.alpha
    wide = size(p.action_values) / p.alpha + size(p.log_proposal) if xp.name == "float64" else 1.0
    return [
        Check("one weight for all", weight, "==", value, scale=scale),
        Check("no Gaussian proposal has less variance", gaussian, ">=", 2 * value, scale=scale),
        Check("no proposal has less variance", finite, ">=", 2 * mean, scale=wide),
    ]


def _log_second_moment(p: Problem) -> Any:
    r"""$\log\int e^{2Q/\alpha}/q$ for $q=\mathcal N(\mu,\sigma^2)$ with $\sigma^2=\frac\alpha{2h}(1+e)$, $e>0$.

    With $x=a-c$ and $\delta=\mu-c$ the exponent is $-\frac12Dx^2-\frac{\delta x}{\sigma^2}+\frac{\delta^2}{2\sigma^2}$,
    $D=\frac{2h}\alpha-\frac1{\sigma^2}=\frac e{\sigma^2}$.
    """
    xp = namespace(p.mean)
    variance = p.alpha * (1 + p.excess) / (2 * p.curvature)
    shift = p.mean - p.centre
    squares = shift * shift / (2 * variance) * (1 + 1 / p.excess)
    log_integral = xp.log_two_pi + xp.log(variance) - p.log_excess / 2
    return 2 * p.height / p.alpha + log_integral + squares


the_boltzmann_proposal_is_optimal.both_readings(
    space=Space(
        {
            "centre": Real(exponents=(-1, 1)),
            "curvature": Positive(),
            "height": Real(exponents=(-1, 1)),
            "alpha": Positive(),
            "action": Real(exponents=(-1, 1)),
            "mean": Real(exponents=(-1, 1)),
            "excess": Positive(),
            "action_values": Real(("actions",)),
            "proposal": Simplex(("actions",), zeros=False),
        },
        {"actions": (1, 2, 3)},
    ),
    assumptions=[TEMPERATURE, "optimal: of least variance among the estimates of the partition function"],
)


@claim(
    "soft_q.eq33",
    where="App. C.2, Eq. 33",
    title="The density of a sampled action",
    statement=r"If $\xi'$ and $a'=f^\phi(\xi';s)$ have the same dimension, and if the Jacobian matrix $\frac{\partial a'}{\partial\xi'}$ is non-singular, "
    r"then the probability density is $q_{a'}(a')=p_\xi(\xi')\frac1{\lvert\det(\partial a'/\partial\xi')\rvert}$.",
    kind="identity",
    shape=POINTWISE,
    condition="density",
    intended_statement=r"The same for an injective $f^\phi(\cdot;s)$; in general the right side is to be summed over all $\xi'$ that are mapped to $a'$.",
    explanation=r"A Jacobian that is nowhere singular makes $f$ injective near each point, but not as a whole unless the dimension is 1 and the noise has an interval as "
    r"its range. Judged for $f(x,y)=e^x\left(\cos\frac{2\pi y}T,\sin\frac{2\pi y}T\right)$ and noise $\mathcal N(0,I)$, as the algorithm draws it: the determinant is "
    r"$\frac{2\pi}Te^{2x}>0$, and all $(x,y+kT)$ are mapped to one action. Three of them have more density together than the print gives. "
    "Who takes a non-singular Jacobian to stand for an invertible sampler has the intended reading.",
    hand_check=r"$T=1$, $\xi'=(0,0)$: the print gives $p_\xi(0,0)/2\pi$; $(0,1)$ is mapped to the same action, with $e^{-1/2}p_\xi(0,0)/2\pi$ more.",
)
def the_density_of_an_injective_map(p: Problem) -> list[Check]:
    """Affine maps of Gaussian noise, a squash that makes logistic noise uniform, and a bent map of uniform noise."""
    return [_affine_map(p), _squashed_logistic(p), *_bent_map(p)]


def _affine_map(p: Problem) -> Check:
    """The density of L xi + b by Eq. 33 against that of N(b, LL')."""
    xp = namespace(p.noise)
    factor = lower_triangular(p.diagonal, p.below)
    by_jacobian = log_density_of_image(gaussian_log_density(p.noise, p.noise * 0), triangular_log_jacobian(factor))
    away = xp.matmul(factor, p.noise[..., None])
    solved, pivots = eliminate(squared(factor), away)
    squares = xp.sum(away[..., 0] * solved[..., 0])
    density = -squares / 2 - xp.sum(xp.log(pivots) + xp.log_two_pi) / 2
    scale: Any = 1.0
    if xp.name == "float64":
        condition = ((1 + size(p.below) + size(p.diagonal)) * size(1 / p.diagonal)) ** 4
        scale = (1 + size(p.noise)) ** 2 * condition
    return Check("affine", by_jacobian, "==", density, scale=scale)


def _squashed_logistic(p: Problem) -> Check:
    """Noise with distribution function 1 / (1 + exp(-x)), under tanh(x / 2): the uniform density 1/2 on (-1, 1)."""
    xp = namespace(p.logit)
    log_density = -p.logit - 2 * xp.softplus(-p.logit)
    log_jacobian = squash_log_jacobian(p.logit[..., None] / 2) - xp.log_two
    found = log_density_of_image(log_density, log_jacobian)
    return Check(
        "squashed", found, "==", found * 0 - xp.log_two, scale=2 + xp.abs(p.logit) if xp.name == "float64" else 1.0
    )


def _bent_map(p: Problem) -> list[Check]:
    """Uniform noise t under t + b t^2: the density falls, so the mass of an interval lies between its ends' densities."""
    xp = namespace(p.first)
    low, high = xp.minimum(p.first, p.second), xp.maximum(p.first, p.second)
    length = (high - low) * (1 + p.bend * (high + low))
    densities = [xp.exp(log_density_of_image(t * 0, xp.log1p(2 * p.bend * t))) for t in (low, high)]
    mass, scale = high - low, 1 + p.bend if xp.name == "float64" else 1.0
    return [
        Check("bent, from above", mass, "<=", densities[0] * length, scale=scale),
        Check("bent, from below", mass, ">=", densities[1] * length, scale=1.0),
    ]


def three_preimages_have_no_more(p: Problem) -> Check:
    """The noises (x, y - T), (x, y) and (x, y + T) together against the print."""
    xp = namespace(p.first)
    noise = xp.stack([xp.stack([p.first, p.second + k * p.period], axis=-1) for k in (-1, 0, 1)], axis=-2)
    log_density = gaussian_log_density(noise, noise * 0)
    log_jacobian = xp.log_two_pi - p.log_period + 2 * p.first
    together = log_density_over_preimages(log_density, log_jacobian[..., None])
    printed = log_density_of_image(log_density[..., 1], log_jacobian)
    scale = 1 + size(noise) ** 2 if xp.name == "float64" else 1.0
    return Check("density", together, "<=", printed, scale=scale)


the_density_of_an_injective_map.reading(
    "literal",
    space=Space({"first": Real(exponents=(-1, 0)), "second": Real(exponents=(-1, 0)), "period": Positive()}),
    assumptions=["xi' and a' have the same dimension", "the Jacobian is non-singular, everywhere"],
    sides=three_preimages_have_no_more,
)
the_density_of_an_injective_map.reading(
    "intended",
    space=Space(
        {
            "diagonal": Positive(("n",), high=9, exponents=(-1, 1)),
            "below": Modest(("n", "n")),
            "noise": Real(("n",), exponents=(-1, 0)),
            "logit": Real(exponents=(-2, 1)),
            "first": Unit(),
            "second": Unit(),
            "bend": NonNegative(),
        },
        {"n": (1, 2, 3)},
    ),
    adds=["the map is injective"],
)
