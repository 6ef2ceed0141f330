r"""Entropy, Kullback-Leibler divergence and total variation of distributions given by their logarithms.

Shapes: log-probabilities are (..., N) with N outcomes on the last axis and any batch before it; results are (...).
Units: natural logarithms.  Conventions: 0 log 0 = 0; a divergence is +inf where the first distribution has mass that
the second lacks.
"""

from __future__ import annotations

from exactrl.number_systems import A, namespace


def entropy(log_policy: A) -> A:
    r"""Entropy $\mathcal H(\pi) = -\sum_\rho \pi(\rho)\log\pi(\rho)$.

    Shapes: log_policy (..., N) -> (...).
    Source: ECPO, Eq. 4.
    """
    xp = namespace(log_policy)
    log_policy = xp.asarray(log_policy)
    return -xp.sum(xp.weighted_by_log(log_policy, log_policy))


def cross_entropy(log_p: A, log_q: A) -> A:
    r"""Cross entropy $-\sum_\rho p(\rho)\log q(\rho)$; +inf where q lacks mass that p has.

    Shapes: log_p, log_q (..., N) -> (...).
    """
    xp = namespace(log_p, log_q)
    log_p, log_q = xp.asarray(log_p), xp.asarray(log_q)
    return -xp.sum(xp.weighted_by_log(log_p, log_q))


def kl(log_p: A, log_q: A) -> A:
    r"""Kullback-Leibler divergence $D_{KL}(p\Vert q) = \sum_\rho p(\rho)\log\frac{p(\rho)}{q(\rho)}$.

    Shapes: log_p, log_q (..., N), not necessarily normalised -> (...).
    Source: ECPO, Eqs. 2-4.
    """
    xp = namespace(log_p, log_q)
    log_p, log_q = xp.asarray(log_p), xp.asarray(log_q)
    return xp.sum(xp.weighted_by_log(log_p, log_p)) + cross_entropy(log_p, log_q)


def total_variation(log_p: A, log_q: A) -> A:
    r"""Total variation $\frac12\sum_\rho|p(\rho)-q(\rho)|$.

    Shapes: log_p, log_q (..., N) -> (...).
    """
    xp = namespace(log_p, log_q)
    log_p, log_q = xp.asarray(log_p), xp.asarray(log_q)
    return xp.sum(xp.abs(xp.exp(log_p) - xp.exp(log_q))) / 2


def expectation(log_policy: A, values: A) -> A:
    r"""Expectation $\mathbb E_{\rho\sim\pi}\,v(\rho)$; outcomes of probability 0 do not count, whatever their value.

    Shapes: log_policy, values (..., N) -> (...).
    """
    xp = namespace(log_policy, values)
    log_policy, values = xp.asarray(log_policy), xp.asarray(values)
    return xp.sum(xp.weighted_by_log(log_policy, values))
