r"""Divergence between Gaussians, and its split into what the mean and what the covariance contributes.

    $D_{KL}(\mathcal N(\mu_i,\Sigma_i)\Vert\mathcal N(\mu,\Sigma))
      =\underbrace{\tfrac12(\mu-\mu_i)^\top\Sigma^{-1}(\mu-\mu_i)}_{\text{mean}}
      +\underbrace{\tfrac12\left(\mathrm{tr}(\Sigma^{-1}\Sigma_i)-n+\ln\frac{|\Sigma|}{|\Sigma_i|}\right)}_{\text{covariance}}$

MPO's Eq. 27 prints the second term under the name $C_\mu$ and the first under $C_\Sigma$; here each bears the name of
what it measures.  The first arguments are the reference $\mathcal N(\mu_i,\Sigma_i)$, the old policy.

Shapes: n dimensions on the last axis, any batch before it; a full covariance is given by its lower triangular Cholesky
factor (..., n, n) with a positive diagonal, a diagonal one by the logarithms of its standard deviations (..., n).
Units: natural logarithms.
"""

from __future__ import annotations

from typing import Generic, NamedTuple

from exactrl.number_systems import A, namespace

__all__ = ["KLParts", "gaussian_kl", "gaussian_kl_diagonal", "solve_lower"]


class KLParts(NamedTuple, Generic[A]):
    """What the mean and what the covariance contributes to the divergence; neither is negative, their sum is it."""

    mean: A
    covariance: A


def gaussian_kl_diagonal(mean_i: A, log_std_i: A, mean: A, log_std: A) -> KLParts[A]:
    r"""Both parts of $D_{KL}(\mathcal N(\mu_i,\mathrm{diag}\,\sigma_i^2)\Vert\mathcal N(\mu,\mathrm{diag}\,\sigma^2))$.

    $\frac12\sum_k(\mu-\mu_i)_k^2/\sigma_k^2$ and $\frac12\sum_k(\rho_k-1-\ln\rho_k)$ with $\rho=\sigma_i^2/\sigma^2$.
    Shapes: all (..., n) -> two of (...).
    Source: MPO, Eq. 27.
    """
    xp = namespace(mean_i, log_std_i, mean, log_std)
    mean_i, log_std_i, mean, log_std = (xp.asarray(x) for x in (mean_i, log_std_i, mean, log_std))
    standardised = (mean - mean_i) * xp.exp(-log_std)
    log_ratio = 2 * (log_std_i - log_std)
    return KLParts(xp.sum(standardised * standardised) / 2, xp.sum(xp.expm1(log_ratio) - log_ratio) / 2)


def gaussian_kl(mean_i: A, factor_i: A, mean: A, factor: A) -> KLParts[A]:
    r"""Both parts of $D_{KL}(\mathcal N(\mu_i,L_iL_i^\top)\Vert\mathcal N(\mu,LL^\top))$.

    $\frac12\lVert L^{-1}(\mu-\mu_i)\rVert^2$ and
    $\frac12(\lVert L^{-1}L_i\rVert_F^2-n)+\sum_k\ln(L_{kk}/(L_i)_{kk})$.
    Shapes: means (..., n), factors (..., n, n) lower triangular with a positive diagonal; what stands above the
    diagonal is not read -> two of (...).
    Source: MPO, Eq. 27 and App. D.
    """
    xp = namespace(mean_i, factor_i, mean, factor)
    mean_i, factor_i, mean, factor = (xp.asarray(x) for x in (mean_i, factor_i, mean, factor))
    size = factor.shape[-1]
    standardised = solve_lower(factor, (mean - mean_i)[..., None])[..., 0]
    spread = solve_lower(factor, _lower(factor_i))
    diagonals = [xp.log(factor[..., k, k]) - xp.log(factor_i[..., k, k]) for k in range(size)]
    trace = xp.sum(xp.sum(spread * spread)) - size
    return KLParts(xp.sum(standardised * standardised) / 2, trace / 2 + xp.sum(xp.stack(diagonals, axis=-1)))


def solve_lower(factor: A, right: A) -> A:
    r"""Solve $LX=B$ by forward substitution.

    Shapes: factor (..., n, n) lower triangular with a positive diagonal, right (..., n, m) -> (..., n, m).
    """
    xp = namespace(factor, right)
    factor, right = xp.asarray(factor), xp.asarray(right)
    rows: list[A] = []
    for k in range(factor.shape[-1]):
        left = right[..., k, :]
        for j, row in enumerate(rows):
            left = left - factor[..., k, j, None] * row
        rows.append(left / factor[..., k, k, None])
    return xp.stack(rows, axis=-2)


def _lower(factor: A) -> A:
    """Return the factor with exact zeros above the diagonal."""
    xp = namespace(factor)
    size = factor.shape[-1]
    rows = []
    for k in range(size):
        entries = [factor[..., k, j] if j <= k else factor[..., k, j] * 0 for j in range(size)]
        rows.append(xp.stack(entries, axis=-1))
    return xp.stack(rows, axis=-2)
