"""Appendix D.3: the prior of the M-step and the divergence it stands for (Eq. 25)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from exactrl.formulas import centred, expectation, gaussian_kl, kl, log_boltzmann, solve_lower
from exactrl.number_systems import namespace
from proofs_checks.claim import LIMIT, POINTWISE, Check, claim
from proofs_checks.claims.mpo.common import FINITE
from proofs_checks.claims.terms import lower_triangular, size, spread
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

EXACT_FISHER = "the Fisher information is exact"


def _prior(p: Problem, factor: Any) -> Check:
    """The log density at theta less the one at theta_i, against the printed penalty times a factor."""
    xp = namespace(p.diagonal)
    cholesky = lower_triangular(p.diagonal, p.below)
    deviations = cholesky / xp.sqrt(p.penalty)[..., None, None]
    fall = gaussian_kl(p.step, deviations, p.step * 0, deviations).mean
    solved = solve_lower(cholesky, p.step[..., None])[..., 0]
    penalty = p.penalty * xp.sum(solved * solved)
    scale = 1.0 if xp.name != "float64" else fall * (1 + size(p.below)) / xp.min(p.diagonal)
    return Check("log prior", -fall, "==", -(penalty * factor), scale=scale)


@claim(
    "mpo.appd3.prior",
    where="App. D.3, Eq. 25",
    title="The penalty that the Gaussian prior adds to the M-step",
    statement=r"With the prior $p(\theta)\approx\mathcal N(\mu=\theta_i,\Sigma=F_{\theta_i}/\lambda)$ the M-step becomes, dropping constants, "
    r"$\max_\pi\int\mu_q(s)\int q(a\mid s)\log\pi(a\mid s,\theta)da\,ds-\lambda(\theta-\theta_i)^TF^{-1}_{\theta_i}(\theta-\theta_i)$.",
    kind="identity",
    shape=POINTWISE,
    condition="log prior",
    intended_statement=r"The penalty is $\frac\lambda2(\theta-\theta_i)^TF^{-1}_{\theta_i}(\theta-\theta_i)$.",
    explanation=r"$\log\mathcal N(\theta;\theta_i,\Sigma)=-\frac12(\theta-\theta_i)^T\Sigma^{-1}(\theta-\theta_i)$ plus a constant. "
    r"The factor 1/2 multiplies what depends on $\theta$, so it is no constant that may be dropped; it may be absorbed in $\lambda$, which then is another one.",
    hand_check=r"One parameter, $F=\lambda=1$, $\theta-\theta_i=1$: the log prior falls by 1/2, the printed penalty is 1.",
)
def the_prior_adds_half_the_penalty(p: Problem) -> Check:
    """With the factor 1/2."""
    return _prior(p, Fraction(1, 2))


def the_prior_adds_the_printed_penalty(p: Problem) -> Check:
    """Without it."""
    return _prior(p, 1)


_PRIOR = Space(
    {
        "diagonal": Positive(("n",), exponents=(-2, 2)),
        "below": Real(("n", "n"), exponents=(-2, 1)),
        "step": Real(("n",), exponents=(-2, 2)),
        "penalty": Positive(exponents=(-3, 3)),
    },
    {"n": (1, 2, 3)},
)
the_prior_adds_half_the_penalty.reading(
    "literal",
    space=_PRIOR,
    assumptions=["F is positive definite, F = L L^T", "lambda > 0"],
    sides=the_prior_adds_the_printed_penalty,
)
the_prior_adds_half_the_penalty.reading("intended", space=_PRIOR, adds=["lambda/2 for lambda (a misprint)"])


def _family(p: Problem) -> tuple[Any, Any]:
    """The divergence along logits that move by t times a feature, and the Fisher information at t = 0."""
    ratio = log_boltzmann(p.step[..., None] * p.feature, 1, p.log_policy)
    away = centred(p.log_policy, p.feature)
    return kl(p.log_policy, p.log_policy + ratio), expectation(p.log_policy, away * away)


@claim(
    "mpo.appd3.taylor",
    where="App. D.3, after Eq. 25",
    title="The penalty is the second-order approximation of the divergence",
    statement=r"$(\theta-\theta_i)^TF^{-1}_{\theta_i}(\theta-\theta_i)$ is the second order Taylor approximation of "
    r"$\int\mu_q(s)\mathrm{KL}(\pi(a\mid s,\theta_i),\pi(a\mid s,\theta))ds$.",
    kind="limit",
    shape=LIMIT,
    condition="remainder",
    intended_statement=r"$\frac12(\theta-\theta_i)^TF_{\theta_i}(\theta-\theta_i)$ is it, for policies $\pi_\theta\propto\pi e^{\theta\phi}$.",
    explanation="The second derivative of the divergence is the Fisher information itself, not its inverse, and the second order term has the factor "
    r"1/2. The intended reading is judged with a bound on the remainder, $R^3|t|^3/6$ for features of range $R$: the third derivative of "
    r"$\log\sum\pi e^{t\phi}$ is a third central moment.",
    hand_check=r"A fair coin with $\phi=(0,1)$: $F=1/4$, so the second derivative is 1/4; that of the printed form is $2F^{-1}=8$.",
)
def the_remainder_is_of_third_order(p: Problem) -> list[Check]:
    """The divergence less half the quadratic form, within a third-order bound on either side."""
    xp = namespace(p.log_policy)
    divergence, fisher = _family(p)
    reach = xp.abs(p.step) * spread(p.feature)
    half, bound = p.step * p.step * fisher / 2, reach * reach * reach / 6
    scale = 1 + reach + abs(p.step) * size(p.feature) if xp.name == "float64" else 1.0
    return [
        Check("remainder", divergence - half, "<=", bound, scale=scale),
        Check("remainder below", half - divergence, "<=", bound, scale=scale),
    ]


def the_second_derivatives_agree(p: Problem) -> Check:
    """Those of the divergence and of the printed form for two actions and one parameter: F and 2/F."""
    xp = namespace(p.policy)
    fisher = p.feature * p.feature * xp.exp(xp.sum(p.log_policy))
    return Check("second derivatives", 2 / fisher, "==", fisher)


the_remainder_is_of_third_order.reading(
    "literal",
    space=Space({"policy": Simplex((2,), zeros=False, exponents=(-20, 0)), "feature": Positive(exponents=(-3, 3))}, {}),
    assumptions=[FINITE, EXACT_FISHER],
    sides=the_second_derivatives_agree,
)
the_remainder_is_of_third_order.reading(
    "intended",
    space=Space(
        {"policy": Simplex(("a",)), "feature": Real(("a",), exponents=(-3, 3)), "step": Real(exponents=(-3, 3))},
        {"a": (1, 2, 3)},
    ),
    adds=["F for its inverse, and the factor 1/2 (misprints)", "one direction of a softmax policy, along a feature"],
)
