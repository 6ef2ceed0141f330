"""ECPO: the printed expressions of the ill-posed claims, and the rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flint import fmpq

from .ecpo import ONE_POLICY, ONE_SAMPLE, TEMPERATURES, TWO_STEPS, WITHIN_1, log_lift, two_steps
from .exact_input import Field
from .extended_reals import Extended, exp, extended_divergence, minus, over, plus, scaled_log, times
from .quantities import log, logs
from .row import NONNEGATIVE, POSITIVE, PROBABILITIES, REALS_N, IllPosed, Refuted, readings


def lift_numerators(x: Any, trajectories: Iterable[tuple[fmpq, fmpq]]) -> None:
    """reference * exp{(r - tau' log reference) / (tau + tau')}, one trajectory after the other."""
    for reference, r in trajectories:
        times(reference, exp(over(minus(r, scaled_log(x.tau_prime, reference)), x.tau + x.tau_prime)))


def surrogate(x: Any) -> None:
    """SR = eta log of the sum of exp{(r + tau log pi) / eta}.

    Once the exponents are defined so is the rest: at least one is finite, since the policy sums to 1, and none is +inf.
    """
    for p, r in zip(x.policy, x.returns, strict=True):
        over(plus(r, scaled_log(x.tau, p)), x.tau + x.tau_prime)


def lemma2_upper(x: Any) -> None:
    """SR, then rhat = r - tau' log pi and its largest absolute value, then the sum of pi (rhat - rhat_inf)^2.

    The term E rhat is read as E r + tau' H(pi), where 0 log 0 = 0; the squares leave no such reading.
    """
    surrogate(x)
    rhat = [minus(r, scaled_log(x.tau_prime, p)) for p, r in zip(x.policy, x.returns, strict=True)]
    if any(isinstance(value, float) for value in rhat):  # otherwise everything is finite
        summed: Extended = fmpq(0)
        for p, value in zip(x.policy, rhat, strict=True):
            distance = minus(value, math.inf)
            summed = plus(summed, times(p, math.inf if isinstance(distance, float) else distance * distance))


def sec4_temporal(x: Any) -> None:
    """E_{a ~ pi} of r + O(pi, s') + tau log reference - eta log pi, each product of a probability and a term alone."""
    eta = x.tau + x.tau_prime

    def consistent(policy: list[fmpq], reference: list[fmpq], rewards: list[Extended]) -> Extended:
        summed: Extended = fmpq(0)
        for p, b, r in zip(policy, reference, rewards, strict=True):
            summed = plus(summed, times(p, r))
            if p > 0:
                summed = plus(summed, times(x.tau * p, log(b) if b > 0 else -math.inf))
                summed = minus(summed, eta * p * log(p))
        return summed

    rows = zip(x.policy_second, x.second, x.second_rewards, strict=True)
    later = [consistent(policy, reference, list(rewards)) for policy, reference, rewards in rows]
    consistent(x.policy_first, x.first, [plus(r, v) for r, v in zip(x.first_rewards, later, strict=True)])


def thm1_step(x: Any) -> Extended:
    """KL(pi || pi_t) - KL(pi || lift); on the simplex the lift is the next policy.  All else in the bound is finite."""
    lift = log_lift(logs(x.policy), x.returns, x.tau, x.tau + x.tau_prime)
    return minus(extended_divergence(x.member, logs(x.policy)), extended_divergence(x.member, lift))


def thm1_threepoint(x: Any) -> None:
    """KL(pi || pi_t) - KL(pi || lift) + KL(pi_t || lift).

    Where this is defined, pi is 0 wherever pi_t is, and (pi - pi_t) log pi_t is 0 there by convention: all is finite.
    """
    lift = log_lift(logs(x.policy), x.returns, x.tau, x.tau + x.tau_prime)
    plus(thm1_step(x), extended_divergence(x.policy, lift))


def tangent(x: Any) -> list[fmpq]:
    """The derivative of pi_theta along logits that move by u = first_tangent: pi (u - E u)."""
    mean = sum((p * u for p, u in zip(x.policy, x.first_tangent, strict=True)), fmpq(0))
    return [p * (u - mean) for p, u in zip(x.policy, x.first_tangent, strict=True)]


def prop2_condition(x: Any) -> None:
    """Eq. 14: the sum of [log pi - log lift + 1] d pi, where lift is that of PMD."""
    summed: Extended = fmpq(0)
    lift = log_lift(logs(x.policy), x.returns, x.tau, x.tau)
    for lp, lq, d in zip(logs(x.policy), lift, tangent(x), strict=True):
        difference = minus(*(-math.inf if value is None else value for value in (lp, lq)))
        summed = plus(summed, times(d, plus(difference, fmpq(1))))


def thm2_condition(x: Any) -> None:
    """Eq. 16: the sum of exp{(r + tau log pi) / eta} (1 / pi) d pi."""
    summed: Extended = fmpq(0)
    for p, r, d in zip(x.policy, x.returns, tangent(x), strict=True):
        weight = exp(over(plus(r, scaled_log(x.tau, p)), x.tau + x.tau_prime))
        summed = plus(summed, times(d, times(over(fmpq(1), p), weight)))


ANY_TEMPERATURES = {"tau": NONNEGATIVE, "tau_prime": NONNEGATIVE}
TREE = {
    "first": Field("distribution", ("A",)),
    "second": Field("distribution", ("A", "L")),
    "first_rewards": Field("real", ("A",)),
    "second_rewards": Field("real", ("A", "L")),
    "policy_first": Field("distribution", ("A",)),
    "policy_second": Field("distribution", ("A", "L")),
    **TEMPERATURES,
}
TANGENTS = {"policy": PROBABILITIES, "returns": REALS_N, "first_tangent": REALS_N, "second_tangent": REALS_N}

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("ecpo.eq5.lift", "defined"): IllPosed(
        readings({"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}),
        lambda x: lift_numerators(x, zip(x.reference, x.returns, strict=True)),
    ),
    ("ecpo.appd.lemma8", "defined"): IllPosed(
        readings(TWO_STEPS), lambda x: lift_numerators(x, ((ref, r) for _, _, ref, r in two_steps(x))),
    ),
    ("ecpo.sec4.temporal", "defined"): IllPosed(readings(TREE), sec4_temporal),
    ("ecpo.sec4.logexp", "defined"): IllPosed(
        readings(ONE_SAMPLE), lambda x: lift_numerators(x, zip(x.reference, x.action_values, strict=True)),
    ),
    ("ecpo.lemma2.lower", "defined"): IllPosed(
        readings({"policy": PROBABILITIES, "returns": REALS_N, **ANY_TEMPERATURES}), surrogate,
    ),
    ("ecpo.lemma2.upper", "defined"): IllPosed(
        readings({"policy": PROBABILITIES, "returns": REALS_N, **ANY_TEMPERATURES}), lemma2_upper,
    ),
    ("ecpo.thm1.step", "defined"): IllPosed(
        readings({"member": PROBABILITIES, **ONE_POLICY, "returns": WITHIN_1}), thm1_step,
    ),
    ("ecpo.thm1.threepoint", "defined"): IllPosed(
        readings({"member": PROBABILITIES, **ONE_POLICY}), thm1_threepoint,
    ),
    ("ecpo.prop2.condition", "defined"): IllPosed(readings({**TANGENTS, "tau": POSITIVE}), prop2_condition),
    ("ecpo.thm2.condition", "defined"): IllPosed(readings({**TANGENTS, **TEMPERATURES}), thm2_condition),
}  # fmt: skip
