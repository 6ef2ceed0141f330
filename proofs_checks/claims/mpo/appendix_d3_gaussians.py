"""Appendix D.3: the divergence of Gaussian policies and its two parts (Eq. 27)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import gaussian_kl, gaussian_log_density, solve_lower
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.mpo.common import over_states
from proofs_checks.claims.terms import lower_triangular, size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

GAUSSIANS = "Gaussian policies with positive definite covariances L L^T"
DETERMINANTS = "ln(Sigma/Sigma_i) is the logarithm of the ratio of the determinants"

_SIZES = {"s": (1, 2), "n": (1, 2, 3)}
_FIELDS: dict[str, Any] = {
    "mean_i": Real(("s", "n"), exponents=(-1, 1)),
    "mean": Real(("s", "n"), exponents=(-1, 1)),
    "diagonal_i": Positive(("s", "n"), exponents=(-1, 1)),
    "diagonal": Positive(("s", "n"), exponents=(-1, 1)),
    "below_i": Real(("s", "n", "n"), exponents=(-2, 0)),
    "below": Real(("s", "n", "n"), exponents=(-2, 0)),
    "weights": Simplex(("s",), exponents=(-20, 0)),
}


def _log_density(point: Any, mean: Any, factor: Any, diagonal: Any) -> Any:
    """Log density of a Gaussian at a point, from the noise that leads there."""
    noise = solve_lower(factor, (point - mean)[..., None])[..., 0]
    return gaussian_log_density(noise, namespace(diagonal).log(diagonal))


def _mean_log_ratio(p: Problem) -> Any:
    """E of log N(mu_i, Sigma_i) - log N(mu, Sigma) under the first, by a rule that is exact for quadratic functions.

    The rule averages over the 2n points mu_i +- sqrt(n) times a column of the Cholesky factor.
    """
    xp = namespace(p.mean)
    n = p.mean.shape[-1]
    factor_i, factor = lower_triangular(p.diagonal_i, p.below_i), lower_triangular(p.diagonal, p.below)
    root = xp.sqrt(p.mean[..., 0] * 0 + n)[..., None]
    ratios = []
    for k in range(n):
        for sign in (1, -1):
            point = p.mean_i + sign * root * factor_i[..., :, k]
            ratio = _log_density(point, p.mean_i, factor_i, p.diagonal_i) - _log_density(
                point, p.mean, factor, p.diagonal
            )
            ratios.append(ratio)
    return xp.sum(xp.stack(ratios, axis=-1)) / (2 * n)


def gaussian_rounding(p: Problem, other: str) -> Any:
    """The size of the terms of the divergence of the Gaussian `other` from the policy (floats only).

    A badly scaled factor magnifies in every step of the substitution.
    """
    if namespace(p.mean).name != "float64":
        return 1.0
    magnified = 1 + (size(p.below) + size(p.diagonal)) / p.diagonal.reshape(len(p.diagonal), -1).min(axis=-1)
    terms = size(p.mean) + sum(size(getattr(p, f"{name}_{other}")) for name in ("mean", "diagonal", "below"))
    return (1 + terms * magnified ** (p.mean.shape[-1] + 1)) ** 2


@claim(
    "mpo.eq27.split",
    where="App. D.3, Eq. 27",
    title="The divergence of Gaussian policies is a sum of two parts",
    statement=r"$\int\mu_q(s)\mathrm{KL}(\pi_i(a\mid s,\theta),\pi(a\mid s,\theta))ds=C_\mu+C_\Sigma$ for Gaussian policies, with $C_\mu="
    r"\int\mu_q(s)\frac12\left(\mathrm{tr}(\Sigma^{-1}\Sigma_i)-n+\ln\left(\frac\Sigma{\Sigma_i}\right)\right)ds$ and $C_\Sigma="
    r"\int\mu_q(s)\frac12(\mu-\mu_i)^T\Sigma^{-1}(\mu-\mu_i)ds$.",
    kind="identity",
    shape=POINTWISE,
    condition="sum",
    explanation="The divergence is evaluated as the expectation of the log ratio, which is quadratic in the action, by a rule that is exact for such functions. "
    "In more than one dimension the printed quotient of matrices can only mean that of their determinants.",
)
def the_divergence_is_the_sum(p: Problem) -> Check:
    """The expected log ratio against the two closed forms."""
    factor_i, factor = lower_triangular(p.diagonal_i, p.below_i), lower_triangular(p.diagonal, p.below)
    parts = gaussian_kl(p.mean_i, factor_i, p.mean, factor)
    both = over_states(p, parts.mean + parts.covariance)
    return Check("sum", over_states(p, _mean_log_ratio(p)), "==", both, scale=gaussian_rounding(p, "i"))


the_divergence_is_the_sum.both_readings(
    space=Space(_FIELDS, _SIZES), assumptions=["sums over states for integrals", GAUSSIANS, DETERMINANTS], effort=0.3
)


@claim(
    "mpo.eq27.parts",
    where="App. D.3, Eq. 27",
    title="Each part bears the name of what it measures",
    statement=r"In Eq. 27, $C_\mu$ is the contribution of the mean and $C_\Sigma$ the contribution of the covariance, bounded by $\epsilon_\mu$ "
    r"and $\epsilon_\Sigma$ respectively.",
    kind="identity",
    shape=POINTWISE,
    condition="equal covariances",
    intended_statement=r"$\frac12\int\mu_q(\mu-\mu_i)^T\Sigma^{-1}(\mu-\mu_i)ds$ is the contribution of the mean: it is 0 where the means are equal, and the whole "
    r"divergence where the covariances are. $\frac12\int\mu_q(\mathrm{tr}(\Sigma^{-1}\Sigma_i)-n+\ln(|\Sigma|/|\Sigma_i|))ds$ is that of the "
    "covariance.",
    explanation=r"The two names are exchanged: as printed, $C_\mu$ does not depend on the means, and it does not vanish when they are equal. A bound "
    r"$\epsilon_\mu$ on it would bound the covariance.",
    hand_check=r"One dimension, equal means, $\Sigma_i=1$, $\Sigma=4$: the printed $C_\mu$ is $\frac12(\frac14-1+\ln4)=0.318$.",
)
def each_part_has_its_name(p: Problem) -> list[Check]:
    """With one of the two held equal, the other part is the whole divergence, and the part of what is equal is 0."""
    factor_i, factor = lower_triangular(p.diagonal_i, p.below_i), lower_triangular(p.diagonal, p.below)
    checks = []
    scale = gaussian_rounding(p, "i")
    for name, mean, new, diagonal, below in (
        ("equal covariances", p.mean, factor_i, p.diagonal_i, p.below_i),
        ("equal means", p.mean_i, factor, p.diagonal, p.below),
    ):
        parts = gaussian_kl(p.mean_i, factor_i, mean, new)
        held = Problem({}, {**_arrays(p), "mean": mean, "diagonal": diagonal, "below": below})
        moved, kept = (parts.mean, parts.covariance) if name == "equal covariances" else parts[::-1]
        wide = scale + gaussian_rounding(held, "i")
        checks.append(Check(name, over_states(p, _mean_log_ratio(held)), "==", over_states(p, moved), scale=wide))
        checks.append(Check(f"{name}: the other part", over_states(p, kept), "==", p.weights[..., 0] * 0, scale=wide))
    return checks


def _arrays(p: Problem) -> dict[str, Any]:
    return {name: getattr(p, name) for name in _FIELDS}


def the_printed_part_of_the_mean_vanishes(p: Problem) -> Check:
    """The printed C_mu of two policies that differ in their covariances alone."""
    xp = namespace(p.diagonal)
    above = p.diagonal[..., None] * 0 * p.diagonal[..., None, :]
    parts = gaussian_kl(p.mean, lower_triangular(p.diagonal_i, above), p.mean, lower_triangular(p.diagonal, above))
    scale = size(p.diagonal_i) ** 2 / xp.min(p.diagonal) ** 2 if xp.name == "float64" else 1.0
    return Check("equal means", parts.covariance, "==", parts.mean * 0, scale=scale)


each_part_has_its_name.reading(
    "literal",
    space=Space(
        {
            "mean": Real(("n",)),
            "diagonal_i": Positive(("n",), exponents=(-1, 1)),
            "diagonal": Positive(("n",), exponents=(-1, 1)),
        },
        {"n": (1, 2)},
    ),
    assumptions=["sums over states for integrals", GAUSSIANS, DETERMINANTS],
    sides=the_printed_part_of_the_mean_vanishes,
)
each_part_has_its_name.reading(
    "intended", space=Space(_FIELDS, _SIZES), adds=["the two names are exchanged (a misprint)"], effort=0.3
)
