"""Section 3.2, Lemma 2: bounds and limits of the surrogate."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expectation, sampled_soft_value, soft_policy_value, soft_score, surrogate
from exactrl.number_systems import namespace
from proofs_checks.claim import LIMIT, POINTWISE, Check, Given, Printed, claim
from proofs_checks.claims.ecpo.common import (
    DETERMINISTIC,
    POSITIVE_POLICY,
    hoeffding_gap,
    lift_size,
    on_support,
    printed_weights,
    term_size,
)
from proofs_checks.claims.terms import row, size
from proofs_checks.extended import Extended, total, xlog
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space

ANY_POLICY = "any policy pi"
SIZES = {"n": (1, 2, 3, 20)}
PRINTED_RANGE = "tau >= 0, tau' >= 0"
POSITIVE_SUM = "tau + tau' > 0 (the surrogate divides by it)"


def _space(*, zeros: bool, tau: Any = None) -> Space:
    return Space(
        {
            "policy": Simplex(("n",), zeros=zeros),
            "returns": Real(("n",)),
            "tau": tau or NonNegative(),
            "tau_prime": NonNegative(),
        },
        SIZES,
    )


def _positive_temperatures(p: Problem) -> tuple[Any, Any]:
    """Temperatures with a positive sum; an instance in which both are 0 is judged as printed, not here."""
    xp = namespace(p.policy)
    vanishing = p.tau + p.tau_prime == 0
    return xp.where(vanishing, 1, p.tau), p.tau_prime


def printed_surrogate(instance: Instance) -> Extended:
    """SR as printed, in extended reals."""
    eta = Extended(instance["tau"]) + instance["tau_prime"]
    weights = printed_weights(instance["policy"], instance["returns"], instance["tau"], instance["tau_prime"])
    value: Extended = eta * total(weights).log()
    return value


def printed_upper_bound(instance: Instance) -> Extended:
    """SR and the upper bound of Lemma 2 as printed."""
    printed_surrogate(instance)
    shaped = [
        Extended(r) - xlog(instance["tau_prime"], x)
        for x, r in zip(instance["policy"], instance["returns"], strict=True)
    ]
    largest: Extended = max((abs(x) for x in shaped), key=lambda x: float(x.value.mid()) if x.finite else float("inf"))
    return total(Extended(x) * ((s - largest) * (s - largest)) for x, s in zip(instance["policy"], shaped, strict=True))


@claim(
    "ecpo.lemma2.lower",
    where="Sec. 3.2, Lemma 2",
    title="The surrogate is at least the entropy-regularised return",
    statement=r"$\mathbb E_{\rho\sim\pi}r(\rho)+\tau'\mathcal H(\pi)\le SR(\pi)$.",
    kind="inequality",
    shape=POINTWISE,
    condition="lower bound",
    intended_statement=r"The same for $\tau+\tau'>0$.",
    explanation=r"The printed range $\tau\ge0$, $\tau'\ge0$ includes $\tau=\tau'=0$, where $SR$ divides by 0.",
    hand_check=r"With $\tau=\tau'=0$ the exponent $\frac{r(\rho)+\tau\log\pi(\rho)}{\tau+\tau'}$ divides by 0.",
)
def the_surrogate_is_at_least_the_regularised_return(p: Problem) -> Check:
    """The policy itself is a candidate in the maximisation whose value the surrogate is."""
    tau, tau_prime = _positive_temperatures(p)
    lower = soft_policy_value(p.log_policy, p.returns, tau_prime)
    value = surrogate(p.log_policy, p.returns, tau, tau_prime)
    defined: Given = ((p.tau + p.tau_prime, ">", 0),)
    return Check("lower bound", lower, "<=", value, scale=lift_size(p, p.log_policy, tau_prime), given=defined)


the_surrogate_is_at_least_the_regularised_return.reading(
    "literal",
    space=_space(zeros=True),
    assumptions=[DETERMINISTIC, ANY_POLICY, PRINTED_RANGE],
    printed=Printed(_space(zeros=True), printed_surrogate),
)
the_surrogate_is_at_least_the_regularised_return.reading("intended", space=_space(zeros=True), adds=[POSITIVE_SUM])


@claim(
    "ecpo.lemma2.upper",
    where="Sec. 3.2, Lemma 2",
    title="The surrogate is at most the regularised return plus a variance term",
    statement=r"$SR(\pi)\le\mathbb E_{\rho\sim\pi}\hat r(\rho)+\frac1{2\eta}\mathbb E_{\rho\sim\pi}\left[(\hat r(\rho)-\hat "
    r"r_\infty)^2\right]$ with $\hat r=r-\tau'\log\pi$, $\hat r_\infty=\lVert\hat r\rVert_\infty$, $\eta=\tau+\tau'$.",
    kind="inequality",
    shape=POINTWISE,
    condition="upper bound",
    intended_statement=r"The same for $\tau+\tau'>0$, and $\pi(\rho)>0$ for every trajectory or $\tau'=0$.",
    explanation=r"The printed range includes $\tau=\tau'=0$, where $SR$ divides by 0; and where a probability is 0 while "
    r"$\tau'>0$, $\hat r=\hat r_\infty=\infty$, whose difference has no value.",
    hand_check=r"With $\tau=\tau'=0$ the exponent $\frac{r(\rho)+\tau\log\pi(\rho)}{\tau+\tau'}$ divides by 0.",
)
def the_surrogate_is_at_most_the_variance_bound(p: Problem) -> Check:
    """The bound of the second-order expansion about the largest shaped return."""
    xp = namespace(p.policy)
    tau, tau_prime = _positive_temperatures(p)
    shaped = soft_score(p.log_policy, p.returns, tau_prime)
    gap = shaped - xp.max(xp.abs(shaped), keepdims=True)
    upper = expectation(p.log_policy, shaped) + expectation(p.log_policy, gap * gap) / (2 * (tau + tau_prime))
    value = surrogate(p.log_policy, p.returns, tau, tau_prime)
    # A probability of 0 makes r-hat infinite unless tau' is 0.
    finite = p.support_policy.all(axis=-1) | (p.tau_prime == 0)
    defined: Given = ((p.tau + p.tau_prime, ">", 0), (xp.where(finite, 1, 0), ">", 0))
    return Check("upper bound", value, "<=", upper, scale=lift_size(p, p.log_policy, tau_prime), given=defined)


the_surrogate_is_at_most_the_variance_bound.reading(
    "literal",
    space=_space(zeros=True),
    assumptions=[DETERMINISTIC, ANY_POLICY, PRINTED_RANGE],
    printed=Printed(_space(zeros=True), printed_upper_bound),
)
the_surrogate_is_at_most_the_variance_bound.reading(
    "intended", space=_space(zeros=True), adds=[POSITIVE_SUM, "pi(rho) > 0 for every trajectory, or tau' = 0"]
)

_STEPS = (1, 100, 10_000)


@claim(
    "ecpo.lemma2.limit0",
    where="Sec. 3.2, Lemma 2 (i)",
    title="As both temperatures vanish, the surrogate tends to the largest return",
    statement=r"$SR(\pi)\to\max_\rho r(\rho)$ as $\tau\to0,\ \tau'\to0$.",
    kind="limit",
    shape=LIMIT,
    condition="limit",
    intended_statement=r"The same for a policy that is positive everywhere.",
    explanation=r"With $\tau>0$ a trajectory of probability 0 does not count in the surrogate, so the limit is the largest "
    r"return on the support of $\pi$: $|SR(\pi)-\max_{\pi(\rho)>0}r(\rho)|\le(\tau+\tau')\log n+\tau\max_{\pi(\rho)>0}|\log\pi(\rho)|$.",
    hand_check=r"If $\pi$ puts all its mass on one trajectory $\rho$, then $SR(\pi)=r(\rho)$ for all temperatures with $\tau>0$.",
)
def the_cold_limit_is_the_largest_return(p: Problem) -> list[Check]:
    """The limit in closed form against the claimed one; the rate bound certifies the closed form along the path."""
    xp = namespace(p.policy)
    supported = xp.where(p.support_policy, p.returns, -float("inf"))
    limit = xp.max(supported)
    finite_logs = on_support(p.log_policy, p.support_policy)
    checks = [Check("limit", limit, "==", xp.max(p.returns), scale=size(p.returns))]
    for step in _STEPS:
        tau, tau_prime = p.tau_rate / step, p.tau_prime_rate / step
        value = surrogate(p.log_policy, p.returns, tau, tau_prime)
        log_n = xp.log(xp.asarray(p.n))
        bound = (tau + tau_prime) * log_n + tau * xp.max(xp.abs(finite_logs))
        scale = size(p.returns) + size(finite_logs) * (p.tau_rate + p.tau_prime_rate)
        checks.append(Check(f"rate at 1/{step}", xp.abs(value - limit), "<=", bound, scale=scale, asserted=False))
    return checks


def _path_space(*, zeros: bool) -> Space:
    return Space(
        {
            "policy": Simplex(("n",), zeros=zeros),
            "returns": Real(("n",)),
            "tau_rate": Positive(exponents=(-2, 2)),
            "tau_prime_rate": NonNegative(exponents=(-2, 2)),
        },
        SIZES,
    )


the_cold_limit_is_the_largest_return.reading(
    "literal",
    space=_path_space(zeros=True),
    assumptions=[DETERMINISTIC, ANY_POLICY, "tau > 0 and tau' >= 0 on the way (paths tau = a t, tau' = b t)"],
)
the_cold_limit_is_the_largest_return.reading("intended", space=_path_space(zeros=False), adds=[POSITIVE_POLICY])


@claim(
    "ecpo.lemma2.limitinf",
    where="Sec. 3.2, Lemma 2 (ii)",
    title="As tau grows, the surrogate tends to the entropy-regularised return",
    statement=r"$SR(\pi)\to\mathbb E_{\rho\sim\pi}r(\rho)+\tau'\mathcal H(\pi)$ as $\tau\to\infty$.",
    kind="limit",
    shape=LIMIT,
    condition="limit",
    explanation=r"With $\hat r=r-\tau'\log\pi$ on the support of $\pi$, Hoeffding's lemma gives "
    r"$0\le SR(\pi)-\mathbb E_\pi\hat r\le\frac{(\max\hat r-\min\hat r)^2}{8(\tau+\tau')}$, which tends to 0.",
)
def the_hot_limit_is_the_regularised_return(p: Problem) -> list[Check]:
    """The distance to the claimed limit is at most Hoeffding's bound, which vanishes as tau grows."""
    claimed = soft_policy_value(p.log_policy, p.returns, p.tau_prime)
    logs = on_support(p.log_policy, p.support_policy)
    shaped = sampled_soft_value(p.returns, logs, row(p.tau_prime))
    checks = [
        Check(
            "limit", expectation(p.log_policy, shaped), "==", claimed, scale=size(p.returns) + p.tau_prime * size(logs)
        )
    ]
    for factor in (1, 1000, 10**6):
        tau = p.tau * factor
        gap = surrogate(p.log_policy, p.returns, tau, p.tau_prime) - claimed
        scale = term_size(p, size(p.returns), logs, tau + p.tau_prime)
        bound = hoeffding_gap(shaped, tau + p.tau_prime, p.support_policy)
        checks.append(Check(f"below at {factor} tau", gap, ">=", p.tau * 0, scale=scale, asserted=False))
        checks.append(Check(f"rate at {factor} tau", gap, "<=", bound, scale=scale, asserted=False))
    return checks


the_hot_limit_is_the_regularised_return.both_readings(
    space=_space(zeros=True, tau=Positive()), assumptions=[DETERMINISTIC, ANY_POLICY, "tau' >= 0 fixed"]
)
