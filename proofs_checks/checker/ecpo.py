"""ECPO: the two sides of each refuted claim, and the rows of the table.

Notation of the source: n trajectories rho, a reference policy, returns r, temperatures tau and tau', and
eta = tau + tau'.  The lift q(rho) is proportional to reference exp{(r - tau' log reference) / eta}, that is to
exp{(r + tau log reference) / eta}; with tau > 0 it is zero where the reference is zero.  Logarithms are natural, and
0 log 0 = 0.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from flint import arb, fmpq

from .exact_input import Field, Rejected
from .quantities import Logs, divergence, exps, largest, log, log_sum_exp, logs, score_function, total
from .row import (
    FULL_SUPPORT,
    MAX_HORIZON,
    MAX_SAMPLES,
    NONNEGATIVE,
    POSITIVE,
    PROBABILITIES,
    REAL,
    REALS_2,
    REALS_N,
    IllPosed,
    Refuted,
    readings,
)


def scores(log_reference: Logs, returns: list[fmpq], tau: Any, eta: Any) -> Logs:
    """(r + tau log reference) / eta for each trajectory."""
    return [None if lp is None else (r + tau * lp) / eta for lp, r in zip(log_reference, returns, strict=True)]


def log_lift(log_reference: Logs, returns: list[fmpq], tau: Any, eta: Any) -> Logs:
    """Log of the lift, Eq. 5: scores less the log of their normaliser."""
    unnormalised = scores(log_reference, returns, tau, eta)
    log_z = log_sum_exp(unnormalised)
    return [None if x is None else x - log_z for x in unnormalised]


def uniform(n: int) -> list[fmpq]:
    """The uniform policy on n trajectories."""
    return [fmpq(1, n)] * n


def self_normalised(chance: dict[Any, arb], omega: dict[Any, arb], grad: dict[Any, arb], samples: int) -> arb:
    """The expectation of -sum_k exp(omega_k) grad_k / sum_j exp(omega_j) over all K-tuples of independent samples.

    The order of the samples does not matter, so tuples are taken sorted, each with the number of its orders.
    """
    shift = largest(omega.values())
    weight = {rho: (value - shift).exp() for rho, value in omega.items()}
    expectation = arb(0)
    for drawn in itertools.combinations_with_replacement(chance, samples):
        orders = math.factorial(samples) // math.prod(math.factorial(count) for count in Counter(drawn).values())
        probability = math.prod((chance[rho] for rho in drawn), start=arb(orders))
        estimate = -total(weight[rho] * grad[rho] for rho in drawn) / total(weight[rho] for rho in drawn)
        expectation += probability * estimate
    return expectation


def summed_regret(start: list[fmpq], returns: list[fmpq], horizon: int, horizon_at: Callable[[int], int]) -> arb:
    """Regret of Theorem 1 on the simplex, where projection is the identity: max r - E r = E (max r - r), summed."""
    log_n, log_policy, summed = log(len(start)), logs(start), arb(0)
    for t in range(1, horizon + 1):
        summed += total(p * (max(returns) - r) for p, r in zip(exps(log_policy), returns, strict=True))
        if t < horizon:
            tau, eta = schedule(horizon_at(t), log_n)
            log_policy = log_lift(log_policy, returns, tau, eta)
    return summed


def schedule(h: int, log_n: arb) -> tuple[arb, arb]:
    """Theorem 1: tau' = 1 / sqrt(h log n) and eta = sqrt h / sqrt(2 log n), returned as tau and eta."""
    eta = arb(h).sqrt() / (2 * log_n).sqrt()
    return eta - 1 / (h * log_n).sqrt(), eta


def two_steps(x: Any) -> Iterator[tuple[tuple[int, int, int], fmpq, fmpq, fmpq]]:
    """Trajectories (a1, s2, a2) of a two-step process in order: dynamics f, reference density (no f), return."""
    A, S = len(x.first), len(x.second)
    for a, s, b in itertools.product(range(A), range(S), range(A)):
        yield (a, s, b), x.transitions[a][s], x.first[a] * x.second[s][b], x.first_rewards[a] + x.second_rewards[s][b]


def two_step_lift(x: Any) -> tuple[dict[tuple[int, int, int], arb], arb]:
    """The lift of Lemma 8 in a two-step process: log of its density where that is not 0, log of its normaliser.

    The density is exp{(r + tau log reference) / eta} / Z with Z = sum of f exp{(r + tau log reference) / eta}.
    """
    eta = x.tau + x.tau_prime
    score = {rho: (r + x.tau * log(ref)) / eta for rho, _, ref, r in two_steps(x) if ref > 0}
    log_z = log_sum_exp([log(f) + score[rho] for rho, f, ref, _ in two_steps(x) if ref > 0])
    return {rho: value - log_z for rho, value in score.items()}, log_z


# Each function takes the instance x and the component, and returns the left and the right side.


def pmd_convergence(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of E r under PMD on the simplex, against the largest return.

    Projection is the identity there, so that pi_t is proportional to pi_1 exp{(t - 1) r / tau}.  With tau > 0 it comes
    to lie on the trajectories of the largest return among those with pi_1 > 0; elsewhere it stays 0.
    """
    return max(r for r, p in zip(x.returns, x.start, strict=True) if p > 0), max(x.returns)


def prop2_fixed(x: Any, _: list[int]) -> tuple[Any, Any]:
    """PMD at theta = 0 of the class pi_theta proportional to (p_1 e^{u_1 theta}, ..., p_n e^{u_n theta}, theta^2).

    The last trajectory has probability 0 there, and so it has in the lift (tau > 0).  For theta != 0 it has mass, so
    KL(pi_theta || lift) is infinite, and the exact Project step stays at theta = 0.  The derivative of theta^2 is 0;
    what is left is the derivative of E r: sum of p_i (u_i - E_p u) r_i.
    """
    mean = sum((p * u for p, u in zip(x.policy, x.tangent, strict=True)), start=fmpq(0))
    rise = sum((p * (u - mean) * r for p, u, r in zip(x.policy, x.tangent, x.returns, strict=True)), start=fmpq(0))
    return rise, 0


def thm2_fixed(x: Any, _: list[int]) -> tuple[Any, Any]:
    """ECPO with tau' = tau at theta = 0 of the class pi_theta = (theta^2, 1) / (1 + theta^2).

    The lift of (0, 1) is (0, 1), and KL((0, 1) || pi_theta) = log(1 + theta^2) is least, with derivative 0, at 0.  With
    eta = 2 tau: SR = eta log(|theta| e^{r_1 / eta} + e^{r_2 / eta}) - tau log(1 + theta^2), whose slope to the right
    of 0 is eta e^{(r_1 - r_2) / eta}, and to the left its negative.
    """
    eta = 2 * x.tau
    return arb(eta) * arb((x.returns[0] - x.returns[1]) / eta).exp(), 0


def sec3_nonzero(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The smallest probability of the lift, against 0."""
    q = exps(log_lift(logs(x.reference), x.returns, x.tau, x.tau + x.tau_prime))
    smallest = q[0]
    for value in q[1:]:
        smallest = smallest.min(value)
    return smallest, 0


def lemma1(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The expectation of the estimator over all K-tuples of samples, against the gradient of KL(q || pi)."""
    (j,) = component
    eta = x.tau + x.tau_prime
    support = [rho for rho, p in enumerate(x.reference) if p > 0]
    chance = {rho: arb(x.reference[rho]) for rho in support}
    omega = {rho: (x.returns[rho] - x.tau_prime * log(x.reference[rho])) / eta for rho in support}
    grad = {rho: arb(score_function(x.policy, rho, j)) for rho in support}
    q = exps(log_lift(logs(x.reference), x.returns, x.tau, eta))
    gradient = -total(w * score_function(x.policy, rho, j) for rho, w in enumerate(q))
    return self_normalised(chance, omega, grad, x.samples), gradient


def regret(x: Any, horizon_at: Callable[[int], int]) -> tuple[Any, Any]:
    """Regret on the simplex, against 4 sqrt(T log n)."""
    bound = 4 * (x.horizon * log(len(x.start))).sqrt()
    return summed_regret(x.start, x.returns, x.horizon, horizon_at), bound


def thm1_lemma4_wlog(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Lemma 4 for any returns; pi and its lift q are zero at the same places, where 0 log 0 = 0."""
    eta = x.tau + x.tau_prime
    log_q = log_lift(logs(x.policy), x.returns, x.tau, eta)
    change = total((p - q) * log(p) for p, q in zip(x.policy, exps(log_q), strict=True) if p > 0)
    return divergence(x.policy, log_q), 1 / (2 * eta * eta) + x.tau_prime / eta * change


def thm1_start(x: Any, _: list[int]) -> tuple[Any, Any]:
    """KL(pi || pi_1), against log n."""
    return divergence(x.member, logs(x.start)), log(len(x.start))


def thm1_sum_bound(n: int, T: int) -> arb:
    """The last line of the proof: sqrt(2 T log n) + (1 / tau)(1 / sqrt 2 + 1) + sqrt(T log n)."""
    log_n = log(n)
    tau, _ = schedule(T, log_n)
    return (2 * T * log_n).sqrt() + (1 / arb(2).sqrt() + 1) / tau + (T * log_n).sqrt()


def thm1_sum(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Regret on the simplex from the uniform policy, against that bound; `far` plays no part."""
    n = len(x.far)
    return summed_regret(uniform(n), x.returns, x.horizon, lambda t: x.horizon), thm1_sum_bound(n, x.horizon)


def thm1_sum_on_a_segment(x: Any, _: list[int]) -> tuple[Any, Any]:
    """One step on the segment from the uniform policy to `far`: a linear function is largest at an end."""
    n = len(x.far)
    ends = [sum((p * r for p, r in zip(end, x.returns, strict=True)), fmpq(0)) for end in (uniform(n), x.far)]
    return max(ends) - ends[0], thm1_sum_bound(n, 1)


def lemma2_limit0(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR as the temperatures vanish: the largest return on the support of the policy.

    With tau > 0 a trajectory of probability zero adds nothing to SR.  On the support, eta log of a sum of n terms
    exp(s / eta) lies within eta log n of the largest s = r + tau log pi, and that one lies within tau max |log pi| of
    the largest return there.
    """
    return max(r for r, p in zip(x.returns, x.policy, strict=True) if p > 0), max(x.returns)


def lemma2_softmax(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR as tau vanishes and tau' > 0 stays, against the softmax value over all trajectories.

    A trajectory of probability zero adds nothing to SR while tau > 0.  On the support tau log pi vanishes and eta comes
    to be tau', so that finitely many terms have the limits exp{r / tau'}.
    """
    everywhere = [arb(r) / x.tau_prime for r in x.returns]
    support = [value if p > 0 else None for value, p in zip(everywhere, x.policy, strict=True)]
    return x.tau_prime * log_sum_exp(support), x.tau_prime * log_sum_exp(everywhere)


def sec4_onesample(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The mean of Q - tau' log reference over one action from the reference, against the soft optimal value."""
    eta = x.tau + x.tau_prime
    pairs = zip(x.reference, x.action_values, strict=True)
    mean = total(p * (Q - x.tau_prime * log(p)) for p, Q in pairs if p > 0)
    return mean, eta * log_sum_exp(scores(logs(x.reference), x.action_values, x.tau, eta))


def eq9(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The derivative E (V - [Q - tau' log reference]) of the loss at V = V*, which vanishes at a minimum."""
    mean, optimal = sec4_onesample(x, _)
    return optimal - mean, 0


def lemma7(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The gradient of L = sum of p log p - p log pi, against the gradient of Eq. 26 as printed."""
    (j,) = component
    eta = x.tau + x.tau_prime
    left = right = arb(0)
    for a, (ref, Q) in enumerate(zip(x.reference, x.action_values, strict=True)):
        if ref > 0:
            p = ((Q + x.tau * log(ref) - x.value) / eta).exp()
            left -= p * score_function(x.policy, a, j)
            weight = ((Q - x.tau_prime * log(ref) - x.value) / eta).exp()
            right += ref * weight * score_function(x.policy, a, j)
    return left, right


def sec1_wlog(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The largest value of E [r - tau' log pi] - tau KL over policies, against the one over densities, SR_f.

    Over policies: backwards, each state on its own, since log pi(rho) = log pi(a1) + log pi(a2 | s2) and likewise for
    the reference; E_pi [Q + tau log ref - eta log pi] has the largest value eta log sum exp{(Q + tau log ref) / eta}.
    """
    eta = x.tau + x.tau_prime
    second = zip(x.second, x.second_rewards, strict=True)
    V = [eta * log_sum_exp(scores(logs(ref), r, x.tau, eta)) for ref, r in second]
    ahead = [total(f * v for f, v in zip(row, V, strict=True)) for row in x.transitions]
    Q = [r + value for r, value in zip(x.first_rewards, ahead, strict=True)]
    return eta * log_sum_exp(scores(logs(x.first), Q, x.tau, eta)), eta * two_step_lift(x)[1]


def appd_policy(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The density of Lemma 8, summed over the last action, after (a1, s2) and after (a1, 0).

    A policy has density pi(a1) pi(a2 | s2), and its sum over a2 is pi(a1) whatever s2.
    """
    a1, s2 = component
    if s2 == 0:
        raise Rejected("component: the state compared with state 0 must be another one")
    density = {rho: value.exp() for rho, value in two_step_lift(x)[0].items()}
    after = [total(density.get((a1, s, b), arb(0)) for b in range(len(x.first))) for s in (s2, 0)]
    return after[0], after[1]


def appd_prop4_i(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The limit of SR_f as the temperatures vanish: the largest return where the policy is not 0; see lemma2_limit0."""
    return max(r for _, _, ref, r in two_steps(x) if ref > 0), max(r for _, _, _, r in two_steps(x))


def appd_thm4(x: Any, component: list[int]) -> tuple[Any, Any]:
    """Lemma 1 for samples from reference and dynamics, in the logits of the first action."""
    (j,) = component
    eta = x.tau + x.tau_prime
    log_density, _ = two_step_lift(x)
    chance, omega, grad, gradient = {}, {}, {}, arb(0)
    for rho, f, ref, r in two_steps(x):
        if ref > 0:
            chance[rho] = arb(ref * f)
            omega[rho] = (r - x.tau_prime * log(ref)) / eta
            grad[rho] = arb(score_function(x.policy, rho[0], j))
            gradient -= f * log_density[rho].exp() * grad[rho]
    return self_normalised(chance, omega, grad, x.samples), gradient


def regret_domain(x: Any, claim: str) -> None:
    """log n > 0; where tau is negative at the first step, the lift needs a start without zeros."""
    if len(x.start) < 2:
        raise Rejected("start: at least two trajectories are needed, since log 1 = 0")
    if claim.endswith("anytime") and x.horizon >= 2 and min(x.start) == 0:
        raise Rejected("start: must be strictly positive, since tau < 0 at step 1")


def sum_domain(x: Any, _: str) -> None:
    """log n > 0."""
    if len(x.far) < 2:
        raise Rejected("far: at least two trajectories are needed, since log 1 = 0")


def segment_domain(x: Any, claim: str) -> None:
    """The first policy is given; the later ones need a projection, which is not computed here."""
    sum_domain(x, claim)
    if x.horizon > 1:
        raise Rejected("horizon: on a segment only a horizon of 1 is checked, since no policy is projected here")


TEMPERATURES = {"tau": POSITIVE, "tau_prime": NONNEGATIVE}
FULL_FIRST, FULL_SECOND = Field("positive distribution", ("A",)), Field("positive distribution", ("S", "A"))
HORIZON = Field("count", least=1, most=MAX_HORIZON)
SAMPLES, MANY_SAMPLES = (Field("count", least=least, most=MAX_SAMPLES) for least in (1, 2))
WITHIN_1 = Field("within 1", ("n",))
TWO_STEPS = {
    "first": Field("distribution", ("A",)),
    "transitions": Field("positive distribution", ("A", "S")),
    "second": Field("distribution", ("S", "A")),
    "first_rewards": Field("real", ("A",)),
    "second_rewards": Field("real", ("S", "A")),
    **TEMPERATURES,
}
THEOREM4 = {**TWO_STEPS, "policy": FULL_FIRST, "samples": SAMPLES}
LEMMA1 = {"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES, "policy": FULL_SUPPORT, "samples": SAMPLES}
THEOREM1 = {"start": PROBABILITIES, "returns": REALS_N, "horizon": HORIZON}
LIMIT = {"policy": PROBABILITIES, "returns": REALS_N, "tau_rate": POSITIVE, "tau_prime_rate": NONNEGATIVE}
ONE_SAMPLE = {"action_values": REALS_N, "reference": PROBABILITIES, **TEMPERATURES}
SUM = {"far": PROBABILITIES, "returns": WITHIN_1, "horizon": HORIZON}
ONE_POLICY = {"policy": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}
LEMMA7 = {"action_values": REALS_N, "reference": PROBABILITIES, "policy": FULL_SUPPORT, "value": REAL, **TEMPERATURES}

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("ecpo.pmd.convergence", "optimal"): Refuted(
        "==", readings({"start": PROBABILITIES, "returns": REALS_N, "tau": POSITIVE}),
        pmd_convergence, "the limit of the expected return under PMD", "the largest return",
    ),
    ("ecpo.prop2.fixed", "stationary"): Refuted(
        "==", readings({"policy": FULL_SUPPORT, "tangent": REALS_N, "returns": REALS_N, "tau": POSITIVE}),
        prop2_fixed, "the derivative of the expected return at a fixed point of PMD", "",
    ),
    ("ecpo.thm2.fixed", "stationary"): Refuted(
        "==", readings({"returns": REALS_2, "tau": POSITIVE}),
        thm2_fixed, "the slope of SR to the right of a fixed point of ECPO", "",
    ),
    ("ecpo.sec3.nonzero", "nonzero"): Refuted(
        ">", readings({"reference": PROBABILITIES, "returns": REALS_N, **TEMPERATURES}),
        sec3_nonzero, "the smallest probability of the lifted distribution", "",
    ),
    ("ecpo.lemma1", "unbiased"): Refuted(
        "==", readings(LEMMA1, reference=FULL_SUPPORT, samples=MANY_SAMPLES),
        lemma1, "the expectation of the estimator", "the gradient", component=("n",),
    ),
    ("ecpo.thm1.fixed", "regret"): Refuted(
        "<=", readings(THEOREM1), lambda x, _: regret(x, lambda t: x.horizon),
        "the regret", "4 sqrt(T log n)", domain=regret_domain,
    ),
    ("ecpo.thm1.anytime", "regret"): Refuted(
        "<=", readings(THEOREM1), lambda x, _: regret(x, lambda t: t),
        "the regret", "4 sqrt(T log n)", domain=regret_domain,
    ),
    ("ecpo.thm1.lemma4.wlog", "divergence"): Refuted(
        "<=", readings(ONE_POLICY),
        thm1_lemma4_wlog, "the divergence of the policy from its lift", "the bound of Lemma 4",
    ),
    ("ecpo.thm1.start", "start"): Refuted(
        "<=", readings({"member": PROBABILITIES, "start": PROBABILITIES}),
        thm1_start, "the divergence from the first policy", "log n",
    ),
    ("ecpo.thm1.sum", "sum"): Refuted(
        "<=", readings(SUM), thm1_sum, "the regret on the simplex", "the bound", domain=sum_domain,
    ),
    ("ecpo.thm1.sum", "sum on a segment"): Refuted(
        "<=", readings(SUM), thm1_sum_on_a_segment, "the regret on the segment", "the bound", domain=segment_domain,
    ),
    ("ecpo.lemma2.limit0", "limit"): Refuted(
        "==", readings(LIMIT),
        lemma2_limit0, "the limit of SR", "the largest return",
    ),
    ("ecpo.lemma2.softmax", "limit"): Refuted(
        "==", readings({**ONE_POLICY, "tau_prime": POSITIVE}),
        lemma2_softmax, "the limit of SR", "the softmax value over all trajectories",
    ),
    ("ecpo.sec4.onesample", "unbiased"): Refuted(
        "==", readings(ONE_SAMPLE, reference=FULL_SUPPORT),
        sec4_onesample, "the expectation of the one-sample estimate", "the soft optimal value",
    ),
    ("ecpo.eq9", "stationary"): Refuted(
        "==", readings(ONE_SAMPLE, reference=FULL_SUPPORT),
        eq9, "the derivative of the loss at the soft optimal value", "",
    ),
    ("ecpo.lemma7", "gradient"): Refuted(
        "==", readings(LEMMA7),
        lemma7, "the gradient of the loss", "the printed gradient", component=("n",),
    ),
    ("ecpo.sec1.wlog", "value"): Refuted(
        "==", readings(TWO_STEPS),
        sec1_wlog, "the largest value over policies", "the largest value over densities of trajectories",
    ),
    ("ecpo.appd.policy", "policy"): Refuted(
        "==", readings(TWO_STEPS, first=FULL_FIRST, second=FULL_SECOND),
        appd_policy, "the lifted density summed over the last action", "the same sum after state 0",
        component=("A", "S"),
    ),
    ("ecpo.appd.prop4.i", "limit"): Refuted(
        "==", readings(TWO_STEPS), appd_prop4_i, "the limit of SR_f", "the largest return",
    ),
    ("ecpo.appd.thm4", "unbiased"): Refuted(
        "==", readings(THEOREM4, first=FULL_FIRST, second=FULL_SECOND, samples=MANY_SAMPLES),
        appd_thm4, "the expectation of the estimator", "the gradient", component=("A",),
    ),
}  # fmt: skip
