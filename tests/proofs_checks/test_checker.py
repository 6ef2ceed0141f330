"""The stand-alone checker accepts true certificates, whose values come from mpmath here, and rejects every forgery."""

from __future__ import annotations

import ast
import contextlib
import copy
import decimal
import io
import itertools
import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("flint")

from flint import arb, ctx, fmpq  # noqa: E402
from mpmath import diff, exp, log, mp, mpf, sqrt  # noqa: E402

from proofs_checks.checker import comparison, extended_reals, quantities  # noqa: E402
from proofs_checks.checker import main as checker  # noqa: E402
from tests.proofs_checks import (  # noqa: E402
    mpo_certificates,
    mpo_proposition3_certificates,
    mpo_section3_certificates,
    mpo_steps_certificates,
    soft_q_appendix_certificates,
    soft_q_particles_certificates,
    soft_q_section_certificates,
)

SOURCE = Path(checker.__file__)
OF_OTHER_SOURCES = (
    mpo_certificates,
    mpo_section3_certificates,
    mpo_steps_certificates,
    mpo_proposition3_certificates,
    soft_q_section_certificates,
    soft_q_appendix_certificates,
    soft_q_particles_certificates,
)
Certificate = dict[str, Any]


# ------------------------------------------------------------------------ true values, by another road
# Probabilities are multiplied out and normalised, derivatives are taken numerically at 80 digits.


@pytest.fixture(autouse=True)
def eighty_digits():
    with mp.workdps(80):
        yield


def number(text: str) -> Any:
    value = Fraction(text)
    return mpf(value.numerator) / value.denominator


def numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [numbers(part) for part in value]
    return number(value) if isinstance(value, str) else value


def printed(value: Any) -> str:
    """Twenty digits through the decimal module."""
    if value == mp.inf:
        return "inf"
    rounded = decimal.Context(prec=20, rounding=decimal.ROUND_HALF_UP).create_decimal(mp.nstr(mpf(value), 60))
    if abs(mpf(value)) < mp.eps * 10**10:  # what numerical derivatives leave of zero
        return "0"
    sign, digits, exponent = rounded.as_tuple()
    text = "".join(map(str, digits))
    tail = text[1:].rstrip("0")
    return "-" * sign + text[0] + ("." + tail if tail else "") + f"e{exponent + len(text) - 1}"


def normalised(weights: list[Any]) -> list[Any]:
    return [w / sum(weights) for w in weights]


def softmax(logits: list[Any]) -> list[Any]:
    return normalised([exp(x) for x in logits])


def lift(reference: list[Any], returns: list[Any], tau: Any, tau_prime: Any) -> list[Any]:
    """reference^(tau / eta) exp(r / eta), normalised."""
    eta = tau + tau_prime
    pairs = zip(reference, returns, strict=True)
    return normalised([p ** (tau / eta) * exp(r / eta) if p else mpf(0) for p, r in pairs])


def partial(function: Any, policy: list[Any], j: int) -> Any:
    """The derivative of function(pi) in the j-th logit of a softmax policy."""
    logits = [log(p) for p in policy]
    return diff(lambda x: function(softmax([x if i == j else logit for i, logit in enumerate(logits)])), logits[j])


def cross_entropy(weights: list[Any], policy: list[Any]) -> Any:
    return -sum(w * log(p) for w, p in zip(weights, policy, strict=True))


def prop2(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    def mean_return(t: Any) -> Any:
        odds = [p * exp(u * t) for p, u in zip(x["policy"], x["tangent"], strict=True)]
        policy = normalised([*odds, t**2])
        return sum(p * r for p, r in zip(policy, [*x["returns"], mpf(7)], strict=True))

    return diff(mean_return, 0), 0


def thm2(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    tau = x["tau"]

    def surrogate(t: Any) -> Any:
        policy = normalised([t**2, mpf(1)])
        return 2 * tau * log(sum(mp.sqrt(p) * exp(r / (2 * tau)) for p, r in zip(policy, x["returns"], strict=True)))

    return diff(surrogate, 0, direction=1), 0


def sec3(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return min(lift(x["reference"], x["returns"], x["tau"], x["tau_prime"])), 0


def lemma1(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The estimator is minus the mean of grad log pi under self-normalised weights: all ordered tuples."""
    (j,), eta, ref = component, x["tau"] + x["tau_prime"], x["reference"]
    support = [i for i, p in enumerate(ref) if p]
    weight = {i: exp(x["returns"][i] / eta) * ref[i] ** (-x["tau_prime"] / eta) for i in support}
    grad = {i: partial(lambda policy, i=i: log(policy[i]), x["policy"], j) for i in support}
    left = mpf(0)
    for samples in itertools.product(support, repeat=x["samples"]):
        shares = normalised([weight[i] for i in samples])
        left -= mp.fprod(ref[i] for i in samples) * sum(s * grad[i] for s, i in zip(shares, samples, strict=True))
    q = lift(ref, x["returns"], x["tau"], x["tau_prime"])
    return left, partial(lambda policy: cross_entropy(q, policy), x["policy"], j)


def thm1(anytime: bool) -> Any:
    def sides(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
        policy, T, log_n = x["start"], x["horizon"], log(len(x["start"]))
        regret = mpf(0)
        for t in range(1, T + 1):
            regret += sum(p * (max(x["returns"]) - r) for p, r in zip(policy, x["returns"], strict=True))
            h = t if anytime else T
            tau_prime = 1 / sqrt(h * log_n)
            policy = lift(policy, x["returns"], sqrt(h) / sqrt(2 * log_n) - tau_prime, tau_prime)
        return regret, 4 * sqrt(T * log_n)

    return sides


def limit0(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """SR at temperatures so small that what remains is below any digit shown."""
    t = mpf(10) ** -70
    tau, eta = t * x["tau_rate"], t * (x["tau_rate"] + x["tau_prime_rate"])
    values = [(r + tau * log(p)) / eta for p, r in zip(x["policy"], x["returns"], strict=True) if p]
    return eta * (max(values) + log(sum(exp(v - max(values)) for v in values))), max(x["returns"])


def onesample(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    eta, pairs = x["tau"] + x["tau_prime"], list(zip(x["reference"], x["action_values"], strict=True))
    left = sum(p * Q for p, Q in pairs) + x["tau_prime"] * sum(p * log(1 / p) for p, _ in pairs if p)
    return left, log(sum(p ** (x["tau"] / eta) * exp(Q / eta) for p, Q in pairs if p) ** eta)


def lemma7(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    eta = x["tau"] + x["tau_prime"]
    pairs = zip(x["reference"], x["action_values"], strict=True)
    p = [exp((Q - x["value"]) / eta) * ref ** (x["tau"] / eta) if ref else mpf(0) for ref, Q in pairs]
    left = partial(lambda policy: cross_entropy(p, policy), x["policy"], component[0])
    return left, -left


def appd_policy(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    eta, (A, S) = x["tau"] + x["tau_prime"], (len(x["first"]), len(x["second"]))

    def weight(a: int, s: int) -> Any:
        r = [x["first_rewards"][a] + x["second_rewards"][s][b] for b in range(A)]
        ref = [x["first"][a] * x["second"][s][b] for b in range(A)]
        return sum(p ** (x["tau"] / eta) * exp(v / eta) for p, v in zip(ref, r, strict=True) if p)

    mass = sum(x["transitions"][a][s] * weight(a, s) for a in range(A) for s in range(S))
    return weight(*component) / mass, weight(component[0], 0) / mass


def trajectories(x: dict[str, Any]) -> Any:
    """Trajectories of two steps as (a1, s2, a2), dynamics and return."""
    A, S = range(len(x["first"])), range(len(x["second"]))
    for a, s, b in itertools.product(A, S, A):
        yield (a, s, b), x["transitions"][a][s], x["first_rewards"][a] + x["second_rewards"][s][b]


def two_step_reference(x: dict[str, Any], rho: tuple[int, int, int]) -> Any:
    return x["first"][rho[0]] * x["second"][rho[1]][rho[2]]


def objective(x: dict[str, Any], density: Any) -> Any:
    """E [r - tau' log pi] - tau KL(p_pi || p_ref), trajectory by trajectory, for a density of trajectories."""
    value = mpf(0)
    for rho, f, r in trajectories(x):
        p = density(rho)
        if p:
            value += f * p * (r - x["tau_prime"] * log(p) - x["tau"] * log(p / two_step_reference(x, rho)))
    return value


def two_step_density(x: dict[str, Any]) -> Any:
    """The best density of trajectories: reference^(tau / eta) exp(r / eta), normalised with the dynamics."""
    eta = x["tau"] + x["tau_prime"]
    weight = {
        rho: two_step_reference(x, rho) ** (x["tau"] / eta) * exp(r / eta) if two_step_reference(x, rho) else mpf(0)
        for rho, _, r in trajectories(x)
    }
    mass = sum(f * weight[rho] for rho, f, _ in trajectories(x))
    return lambda rho: weight[rho] / mass


def best_policy(x: dict[str, Any]) -> Any:
    """Second step first: pi(a2 | s2) is the lift of the reference there, pi(a1) that with the values that follow."""
    tau, tau_prime = x["tau"], x["tau_prime"]
    second, values = [], []
    for ref, rewards in zip(x["second"], x["second_rewards"], strict=True):
        pi = lift(ref, rewards, tau, tau_prime)
        second.append(pi)
        terms = [p * (r - tau_prime * log(p) - tau * log(p / q)) for p, q, r in zip(pi, ref, rewards, strict=True) if p]
        values.append(sum(terms))
    ahead = [sum(f * v for f, v in zip(row, values, strict=True)) for row in x["transitions"]]
    first = lift(x["first"], [r + v for r, v in zip(x["first_rewards"], ahead, strict=True)], tau, tau_prime)
    return lambda rho: first[rho[0]] * second[rho[1]][rho[2]]


def sec1_wlog(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The objective at its two maximizers."""
    return objective(x, best_policy(x)), objective(x, two_step_density(x))


def pmd(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """Two hundred steps of PMD."""
    policy = x["start"]
    for _step in range(200):
        policy = lift(policy, x["returns"], x["tau"], mpf(0))
    return sum(p * r for p, r in zip(policy, x["returns"], strict=True)), max(x["returns"])


def divergence(p: list[Any], q: list[Any]) -> Any:
    return sum((a * log(a / b) if b else mp.inf) for a, b in zip(p, q, strict=True) if a)


def lemma4(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    policy, eta = x["policy"], x["tau"] + x["tau_prime"]
    q = lift(policy, x["returns"], x["tau"], x["tau_prime"])
    negentropy = sum(p * log(p) for p in policy if p)
    crossed = sum(w * log(p) for w, p in zip(q, policy, strict=True) if p)
    return divergence(policy, q), (1 / eta**2) / 2 + (x["tau_prime"] / eta) * (negentropy - crossed)


def start(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return divergence(x["member"], x["start"]), log(len(x["start"]))


def sum_bound(n: int, T: int) -> Any:
    tau = sqrt(T) / sqrt(2 * log(n)) - 1 / sqrt(T * log(n))
    return sqrt(2 * T * log(n)) + 1 / tau * (1 / sqrt(2) + 1) + sqrt(T * log(n))


def thm1_sum(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    n = len(x["far"])
    left, _bound = thm1(False)(x | {"start": [mpf(1) / n] * n}, [])
    return left, sum_bound(n, x["horizon"])


def thm1_segment(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """One step, against eleven policies between the uniform one and the far one."""
    n, far = len(x["far"]), sum(p * r for p, r in zip(x["far"], x["returns"], strict=True))
    even = sum(x["returns"]) / n
    return max((1 - mpf(i) / 10) * even + mpf(i) / 10 * far - even for i in range(11)), sum_bound(n, 1)


def eq9(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The loss is differentiated numerically at the soft optimal value."""
    pairs = [(p, Q - x["tau_prime"] * log(p)) for p, Q in zip(x["reference"], x["action_values"], strict=True) if p]
    return diff(lambda V: sum(p * (V - target) ** 2 / 2 for p, target in pairs), onesample(x, component)[1]), 0


def softmax_limit(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """SR at a tau so small that what remains is below any digit shown."""
    tau, tau_prime = mpf(10) ** -70, x["tau_prime"]
    eta, pairs = tau + tau_prime, zip(x["policy"], x["returns"], strict=True)
    surrogate = eta * log(sum(p ** (tau / eta) * exp(r / eta) for p, r in pairs if p))
    return surrogate, log(sum(exp(r / tau_prime) for r in x["returns"])) * tau_prime


def prop4(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """SR_f at temperatures so small that what remains is below any digit shown."""
    tau, eta = mpf(10) ** -70 * x["tau"], mpf(10) ** -70 * (x["tau"] + x["tau_prime"])
    known = [(f, (r + tau * log(two_step_reference(x, rho))) / eta) for rho, f, r in trajectories(x)
             if two_step_reference(x, rho)]  # fmt: skip
    top = max(v for _, v in known)
    return eta * (top + log(sum(f * exp(v - top) for f, v in known))), max(r for _, _, r in trajectories(x))


def thm4(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """All ordered tuples of trajectories, each with its chance under reference and dynamics."""
    (j,), eta = component, x["tau"] + x["tau_prime"]
    known = [(two_step_reference(x, rho), f, r, rho[0]) for rho, f, r in trajectories(x) if two_step_reference(x, rho)]
    weight = [exp(r / eta) * p ** (-x["tau_prime"] / eta) for p, _, r, _ in known]
    slopes = [partial(lambda policy, a=a: log(policy[a]), x["policy"], j) for a in range(len(x["first"]))]
    left = mpf(0)
    for drawn in itertools.product(range(len(known)), repeat=x["samples"]):
        shares = normalised([weight[i] for i in drawn])
        estimate = sum(s * slopes[known[i][3]] for s, i in zip(shares, drawn, strict=True))
        left -= mp.fprod(known[i][0] * known[i][1] for i in drawn) * estimate
    density, marginal = two_step_density(x), [mpf(0)] * len(x["first"])
    for rho, f, _ in trajectories(x):
        marginal[rho[0]] += f * density(rho)
    return left, partial(lambda policy: cross_entropy(marginal, policy), x["policy"], j)


def importance(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    pairs = [(q, exp(Q / x["alpha"])) for q, Q in zip(x["proposal"], x["action_values"], strict=True)]
    return x["alpha"] * log(sum(w for _, w in pairs)), x["alpha"] * log(sum(q * (w / q) for q, w in pairs if q))


def soft_values_by_steps(x: dict[str, Any]) -> list[list[Any]]:
    """Eq. 15 for a horizon so long that the rest is below any digit shown."""
    entropies = [sum(p * log(1 / p) for p in row if p) for row in x["policy"]]
    Q = x["rewards"]
    while True:
        V = [
            h + sum(p * v for p, v in zip(row, q, strict=True))
            for h, row, q in zip(entropies, x["policy"], Q, strict=True)
        ]
        new = [
            [
                r + x["discount"] * sum(p * v for p, v in zip(row, V, strict=True))
                for r, row in zip(rewards, rows, strict=True)
            ]
            for rewards, rows in zip(x["rewards"], x["dynamics"], strict=True)
        ]
        if max(abs(a - b) for u, v in zip(new, Q, strict=True) for a, b in zip(u, v, strict=True)) < mpf(10) ** -70:
            return new
        Q = new


def second_step(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The law of the second state is a product of two kernels."""
    Q, states = soft_values_by_steps(x), range(len(x["rewards"]))
    improved = [softmax(row) for row in Q]
    chain = [
        [sum(p * row[t] for p, row in zip(improved[s], x["dynamics"][s], strict=True)) for t in states] for s in states
    ]
    first = x["dynamics"][component[0]][component[1]]
    law = [sum(first[s] * chain[s][t] for s in states) for t in states]
    sides = []
    for policies in (x["policy"], improved):
        worth = [
            sum(p * log(1 / p) for p in x["policy"][t] if p)
            + sum(p * v for p, v in zip(policies[t], Q[t], strict=True))
            for t in states
        ]
        sides.append(x["discount"] ** 2 * sum(p * w for p, w in zip(law, worth, strict=True)))
    return sides[0], sides[1]


def entropy_gradient(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The expected entropy of the second step, trajectory by trajectory, differentiated numerically."""
    (state, j), states, actions = component, range(len(x["policy"])), range(len(x["policy"][0]))

    def laws(own: list[Any]) -> list[list[Any]]:
        return [own if s == state else row for s, row in enumerate(x["policy"])]

    def chance(policy: list[list[Any]], s: int, a: int, t: int) -> Any:
        return x["initial"][s] * policy[s][a] * x["dynamics"][s][a][t]

    def expected_entropy(own: list[Any]) -> Any:
        policy, walks = laws(own), itertools.product(states, actions, states)
        return sum(chance(policy, s, a, t) * sum(p * log(1 / p) for p in policy[t]) for s, a, t in walks)

    own = x["policy"][state]
    scores = [partial(lambda policy, b=b: log(policy[b]), own, j) for b in actions]
    right = -sum(
        chance(x["policy"], s, a, state) * own[b] * scores[b] * (1 + log(own[b]))
        for s, a, b in itertools.product(states, actions, actions)
    )
    return partial(expected_entropy, own, j), right


# ---------------------------------------------------------------------------------- the valid certificates


def refuted(claim: str, reading: str, relation: str, condition: str, sides: Any, component: list[int], **x: Any) -> Any:
    return claim, reading, relation, condition, sides, component, x


T01 = {"tau": "1", "tau_prime": "0"}
T32 = {"tau": "3/2", "tau_prime": "1/4"}
TWO_STEPS = {
    "transitions": [["1/2", "1/4", "1/4"], ["1/3", "1/2", "1/6"]],
    "second": [["1/2", "1/2"], ["1/4", "3/4"], ["2/5", "3/5"]],
    "first_rewards": ["1", "-1/2"],
    "second_rewards": [["0", "1"], ["2", "0"], ["1/3", "-1"]],
}
SOFT_Q = [[["1/2", "1/2"], ["1", "0"]], [["1/4", "3/4"], ["0", "1"]]]
REFUTED = [
    refuted("ecpo.prop2.fixed", "literal", "==", "stationary", prop2, [], policy=["1/4", "3/4"], tangent=["1", "-1"],
            returns=["0", "1"], tau="2"),
    refuted("ecpo.thm2.fixed", "literal", "==", "stationary", thm2, [], returns=["0", "3"], tau="3"),
    refuted("ecpo.sec3.nonzero", "literal", ">", "nonzero", sec3, [], reference=["1", "0"], returns=["0", "2"], **T01),
    refuted(
        "ecpo.lemma1", "literal", "==", "unbiased", lemma1, [1],
        reference=["1/2", "1/2"], returns=["0", "1"], **T01, policy=["1/2", "1/2"], samples=1,
    ),
    refuted(
        "ecpo.lemma1", "literal", "==", "unbiased", lemma1, [2],
        reference=["1/2", "0", "1/2"], returns=["0", "1", "-2"], **T32, policy=["1/2", "1/3", "1/6"], samples=3,
    ),
    refuted(
        "ecpo.lemma1", "intended", "==", "unbiased", lemma1, [0],
        reference=["1/2", "1/3", "1/6"], returns=["0", "1", "-2"], **T32, policy=["1/5", "1/5", "3/5"], samples=2,
    ),
    refuted("ecpo.thm1.fixed", "literal", "<=", "regret", thm1(False), [],
            start=["1/2", "1/2"], returns=["0", "7"], horizon=1),
    refuted("ecpo.thm1.fixed", "literal", "<=", "regret", thm1(False), [],
            start=["3/4", "1/4", "0"], returns=["0", "10", "20"], horizon=4),
    refuted("ecpo.thm1.anytime", "literal", "<=", "regret", thm1(True), [],
            start=["3/4", "1/6", "1/12"], returns=["-5", "11", "21"], horizon=3),
    refuted(
        "ecpo.lemma2.limit0", "literal", "==", "limit", limit0, [],
        policy=["1/4", "3/4", "0"], returns=["-1", "1/3", "2"], tau_rate="1", tau_prime_rate="0",
    ),
    refuted("ecpo.sec4.onesample", "literal", "==", "unbiased", onesample, [],
            action_values=["0", "1", "5"], reference=["1/3", "2/3", "0"], **T32),
    refuted("ecpo.sec4.onesample", "intended", "==", "unbiased", onesample, [],
            action_values=["0", "1"], reference=["1/2", "1/2"], **T01),
    refuted(
        "ecpo.lemma7", "literal", "==", "gradient", lemma7, [1],
        action_values=["0", "1", "2"], reference=["1/3", "2/3", "0"], policy=["1/4", "1/4", "1/2"], value="1/2", **T32,
    ),
    refuted("ecpo.appd.policy", "literal", "==", "policy", appd_policy, [0, 2], first=["1", "0"], **TWO_STEPS, **T32),
    refuted("ecpo.appd.policy", "intended", "==", "policy", appd_policy, [1, 1],
            first=["2/5", "3/5"], **TWO_STEPS, **T32),
    refuted("ecpo.sec1.wlog", "literal", "==", "value", sec1_wlog, [], first=["0", "1"], **TWO_STEPS, **T32),
    refuted("ecpo.pmd.convergence", "literal", "==", "optimal", pmd, [],
            start=["1/4", "3/4", "0"], returns=["-1", "1/3", "2"], tau="3/2"),
    refuted("ecpo.thm1.lemma4.wlog", "literal", "<=", "divergence", lemma4, [],
            policy=["1/2", "1/3", "1/6", "0"], returns=["0", "-7", "4", "1"], **T32),
    refuted("ecpo.thm1.start", "literal", "<=", "start", start, [], member=["1/2", "1/2"], start=["0", "1"]),
    refuted("ecpo.thm1.start", "literal", "<=", "start", start, [], member=["1/9", "8/9"], start=["9/10", "1/10"]),
    refuted("ecpo.thm1.sum", "literal", "<=", "sum", thm1_sum, [],
            far=["1/2", "1/3", "1/6"], returns=["-1/2", "1/3", "3/4"], horizon=1),
    refuted("ecpo.thm1.sum", "literal", "<=", "sum on a segment", thm1_segment, [],
            far=["1/6", "1/4", "7/12"], returns=["-1/2", "1/3", "3/4"], horizon=1),
    refuted("ecpo.eq9", "literal", "==", "stationary", eq9, [],
            action_values=["0", "1", "5"], reference=["1/3", "2/3", "0"], **T32),
    refuted("ecpo.eq9", "intended", "==", "stationary", eq9, [],
            action_values=["0", "-1"], reference=["1/4", "3/4"], **T32),
    refuted("ecpo.lemma2.softmax", "literal", "==", "limit", softmax_limit, [],
            policy=["1/4", "3/4", "0"], returns=["-1", "1/3", "2"], **T32),
    refuted("ecpo.appd.prop4.i", "literal", "==", "limit", prop4, [], first=["0", "1"], **TWO_STEPS, **T32),
    refuted("ecpo.appd.thm4", "literal", "==", "unbiased", thm4, [1],
            first=["2/5", "3/5"], **TWO_STEPS, **T32, policy=["1/3", "2/3"], samples=1),
    refuted("ecpo.appd.thm4", "literal", "==", "unbiased", thm4, [0], **{
        "first": ["2/5", "3/5"], **TWO_STEPS, "second": [["1", "0"], ["1/4", "3/4"], ["0", "1"]],
        **T32, "policy": ["1/4", "3/4"], "samples": 3,
    }),
    refuted("ecpo.appd.thm4", "intended", "==", "unbiased", thm4, [0],
            first=["2/5", "3/5"], **TWO_STEPS, **T32, policy=["1/4", "3/4"], samples=2),
    refuted("soft_q.eq10", "literal", "==", "soft value", importance, [],
            action_values=["0", "1", "-3"], proposal=["1/3", "0", "2/3"], alpha="3/2"),
    refuted("soft_q.eq20", "literal", "<=", "second step", second_step, [1, 0],
            dynamics=SOFT_Q, rewards=[["1", "-2"], ["0", "3"]], discount="1/3", policy=[["1", "0"], ["1/99", "98/99"]]),
    refuted("soft_q.eq28", "literal", "==", "gradient", entropy_gradient, [0, 1],
            initial=["2/3", "1/3"], dynamics=SOFT_Q, policy=[["1/4", "3/4"], ["2/5", "3/5"]]),
]  # fmt: skip
REFUTED += [
    refuted(claim, "literal", relation, condition, evaluate, component, **x)
    for module in OF_OTHER_SOURCES
    for claim, relation, condition, evaluate, component, x in module.INSTANCES
]
TANGENTS = {"policy": ["1/2", "0", "1/2"], "returns": ["0", "1", "2"],
            "first_tangent": ["1", "-1/2", "0"], "second_tangent": ["0", "0", "1"]}  # fmt: skip
BOTH_ZERO = {"tau": "0", "tau_prime": "0"}
ILL_POSED = [
    ("ecpo.eq5.lift", "0 * inf", {"reference": ["1", "0"], "returns": ["0", "1"], "tau": "1", "tau_prime": "1/2"}),
    ("ecpo.appd.lemma8", "0 * inf", {"first": ["1", "0"], **TWO_STEPS, **T32}),
    ("ecpo.lemma2.lower", "division by 0", {"policy": ["1"], "returns": ["0"], **BOTH_ZERO}),
    ("ecpo.lemma2.upper", "inf - inf", {"policy": ["1/2", "1/2", "0"], "returns": ["0", "1", "1"], **T32}),
    ("ecpo.lemma2.upper", "division by 0", {"policy": ["1/2", "1/2"], "returns": ["0", "1"], **BOTH_ZERO}),
    (
        "ecpo.sec4.temporal", "0 * inf",
        {
            "first": ["1/2", "1/2"], "second": [["1", "0"], ["1/2", "1/2"]], "policy_first": ["0", "1"],
            "policy_second": [["1/2", "1/2"], ["1", "0"]], "first_rewards": ["0", "1"],
            "second_rewards": [["0", "1"], ["2", "3"]], **T32,
        },
    ),
    ("ecpo.prop2.condition", "inf - inf", {**TANGENTS, "tau": "2"}),
    ("ecpo.thm2.condition", "division by 0", {**TANGENTS, **T32}),
    ("ecpo.thm1.threepoint", "inf - inf", {"member": ["0", "1"], "policy": ["1", "0"], "returns": ["0", "7"], **T32}),
    ("ecpo.thm1.step", "inf - inf", {"member": ["1/2", "1/2"], "policy": ["0", "1"], "returns": ["-1", "1/2"], **T32}),
    ("ecpo.sec4.logexp", "0 * inf", {"action_values": ["0", "1"], "reference": ["0", "1"], **T32}),
    *mpo_steps_certificates.ILL_POSED,
    *soft_q_appendix_certificates.ILL_POSED,
]  # fmt: skip

BLANK = {"schema": "exactrl.certificate/1", "component": [], "left": None, "right": None, "precision": 64}


def certificates() -> list[Certificate]:
    found: list[Certificate] = []
    with mp.workdps(80):
        for claim, reading, relation, condition, evaluate, component, x in REFUTED:
            left, right = map(printed, evaluate({name: numbers(value) for name, value in x.items()}, component))
            named = {"claim": claim, "reading": reading, "verdict": "refuted", "instance": x, "condition": condition}
            sides = {"component": component, "left": left, "relation": relation, "right": right, "precision": 128}
            found.append({**BLANK, **named, **sides, "reason": None})
    for claim, reason, x in ILL_POSED:
        named = {"claim": claim, "reading": "literal", "verdict": "ill-posed", "instance": x, "condition": "defined"}
        found.append({**BLANK, **named, "relation": "undefined", "reason": reason})
    return copy.deepcopy(found)


CERTIFICATES = certificates()
NAMES = [f"{c['claim']}-{c['reading']}-{i}" for i, c in enumerate(CERTIFICATES)]
every_certificate = pytest.mark.parametrize("certificate", CERTIFICATES, ids=NAMES)


def named(claim: str, reading: str = "literal", **instance: Any) -> Certificate:
    """The first certificate of a reading, some instance fields replaced."""
    found = copy.deepcopy(next(c for c in CERTIFICATES if (c["claim"], c["reading"]) == (claim, reading)))
    found["instance"] |= instance
    return found


@pytest.fixture
def run(tmp_path):
    """Check one file in this process: its content to (exit status, the one line written)."""
    path = tmp_path / "certificate.json"

    def bytes_of(content: Any) -> bytes:
        return content if isinstance(content, bytes) else json.dumps(content).encode()

    def check(content: Any) -> tuple[int, str]:
        path.write_bytes(bytes_of(content))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = checker.main([str(path)])
        assert out.getvalue().count("\n") == 1
        return status, out.getvalue().replace(str(path), "FILE").strip()

    def rejected(content: Any) -> str:
        """The reason; any other exception, which main would turn into a rejection too, fails the test."""
        with pytest.raises(checker.Rejected) as why:
            checker.check(bytes_of(content))
        assert str(why.value).isprintable()
        return str(why.value)

    check.rejected = rejected
    return check


# ------------------------------------------------------------------------------------------------ what is accepted


@every_certificate
def test_a_true_certificate_is_accepted(run, certificate):
    status, line = run(certificate)
    assert status == 0, line
    assert line.startswith(f"ok  FILE  {certificate['claim']} {certificate['reading']} {certificate['verdict']}: ")


def test_every_row_of_the_table_has_a_certificate_here():
    rows = {(c["claim"], c["reading"], c["verdict"], c["condition"]) for c in CERTIFICATES}
    known = {(claim, r, row.verdict, word) for (claim, word), row in checker.TABLE.items() for r in row.fields}
    assert rows == known
    assert len(rows) >= 49


def test_closed_forms():
    """Worked by hand: -3/8, 6 exp(-1/2), 3.5 against 4 sqrt(log 2), 1/2 against log((1 + e)/2)."""
    assert named("ecpo.prop2.fixed")["left"] == "-3.75e-1"
    assert named("ecpo.thm2.fixed")["left"] == printed(6 * exp(-mpf(1) / 2))
    bound = named("ecpo.thm1.fixed")
    assert (bound["left"], bound["right"]) == ("3.5e0", "3.3302184446307910254e0")
    one = named("ecpo.sec4.onesample", "intended")
    assert (one["left"], one["right"]) == ("5e-1", printed(log((1 + exp(1)) / 2)))


def test_the_sentence_names_values_and_instance(run):
    assert run(named("ecpo.thm1.fixed"))[1] == (
        "ok  FILE  ecpo.thm1.fixed literal refuted: the regret = 3.5e0 is not at most 4 sqrt(T log n) = "
        "3.3302184446307910254e0, where start = (1/2, 1/2), returns = (0, 7), horizon = 1."
    )
    assert run(named("ecpo.lemma2.lower"))[1] == (
        "ok  FILE  ecpo.lemma2.lower literal ill-posed: the printed expression asks for division by 0, "
        "where policy = (1), returns = (0), tau = 0, tau_prime = 0."
    )


def test_what_refutes_the_intended_reading_refutes_the_literal_one(run):
    for certificate in CERTIFICATES:
        if certificate["reading"] == "intended":
            assert run(certificate | {"reading": "literal"})[0] == 0


@pytest.mark.parametrize("first", [["0", "1"], ["2/5", "3/5"]])
def test_no_policy_does_better_than_the_best_one(first):
    """And the density of trajectories that does better still is none: its value is the right side."""
    instance = {"first": first, **TWO_STEPS, **T32}
    x = {name: numbers(value) for name, value in instance.items()}
    best = objective(x, best_policy(x))
    for shift in range(1, 40):
        weights = [mpf((7 * i + shift * (i + 3)) % 11 + 1) for i in range(8)]
        first = [p * w for p, w in zip(x["first"], weights[:2], strict=True)]
        second = [
            [p * w for p, w in zip(row, weights[2 * s + 2 :][:2], strict=True)] for s, row in enumerate(x["second"])
        ]
        first, second = normalised(first), [normalised(row) for row in second]
        assert objective(x, lambda rho, a=first, b=second: a[rho[0]] * b[rho[1]][rho[2]]) < best
    left, right = sec1_wlog(x, [])
    assert left < right


def test_closed_forms_of_the_longer_proofs(run):
    """Worked by hand: a fair coin after one action is worth 1/2, or log((1 + e)/2); the rest likewise."""
    coin = {"first": ["1"], "transitions": [["1/2", "1/2"]], "second": [["1"], ["1"]]}
    rewards = {"first_rewards": ["0"], "second_rewards": [["0"], ["1"]]}
    wlog = named("ecpo.sec1.wlog", **coin, **rewards, **T01)
    assert run(wlog | {"left": "5e-1", "right": printed(log((1 + exp(1)) / 2))})[0] == 0
    assert named("ecpo.thm1.start")["left"] == "inf"
    coin_bound = (sqrt(2) + 1 + (1 / sqrt(2) + 1) / (1 / sqrt(2) - 1)) * sqrt(log(2))
    whole = named("ecpo.thm1.sum", far=["0", "1"], returns=["1", "-1"], horizon=1)
    assert run(whole | {"left": "1e0", "right": printed(coin_bound)})[0] == 0
    segment = whole | {"condition": "sum on a segment"}
    assert run(segment | {"left": "0", "right": printed(coin_bound)})[0] == 0
    wide = named("ecpo.thm1.lemma4.wlog", policy=["1/2", "1/2"], returns=["0", "3"], **T01)
    assert run(wide | {"left": printed(log((1 + exp(3)) / 2) - mpf(3) / 2), "right": "5e-1"})[0] == 0


def test_extreme_probabilities_and_returns(run):
    tiny = f"1/{10**1000}"
    rest = f"{10**1000 - 1}/{10**1000}"
    assert run(named("ecpo.sec3.nonzero", reference=[rest, tiny, "0"], returns=["0", f"-{10**12}", "0"]))[0] == 0
    reference = {"reference": [rest, tiny], "action_values": ["0", "10000"], "tau": "1", "tau_prime": "0"}
    extreme = named("ecpo.sec4.onesample", "intended", **reference)
    with mp.workdps(6000):
        p = mpf(10) ** -1000
        extreme |= {"left": printed(10000 * p), "right": printed(log((1 - p) + p * exp(10000)))}
    assert run(extreme)[0] == 0


# ------------------------------------------------------------------------------------------------ what is rejected

#: fields that cannot move the values of these certificates, so that a change may leave a certificate that is still true
IDLE = {
    "ecpo.prop2.fixed": {"tau"},
    "ecpo.sec3.nonzero": {"returns", "tau", "tau_prime"},
    "ecpo.lemma2.limit0": {"returns", "tau_rate", "tau_prime_rate"},
    "ecpo.eq5.lift": {"returns", "tau", "tau_prime"},
    "ecpo.appd.lemma8": {"first_rewards", "second_rewards", "tau", "tau_prime"},
    "ecpo.lemma2.lower": {"returns"},
    "ecpo.lemma2.upper": {"returns", "tau", "tau_prime"},
    "ecpo.lemma7": {"action_values"},  # of an action outside the reference
    "ecpo.lemma1": {"returns"},  # of a trajectory outside the reference
    "ecpo.appd.policy": {"first_rewards"},  # of an action outside the reference
    "ecpo.sec4.onesample": {"action_values"},  # of an action outside the reference
    "ecpo.eq9": {"action_values"},  # of an action outside the reference
    "ecpo.sec1.wlog": {"first_rewards"},  # of an action outside the reference
    "ecpo.pmd.convergence": {"returns", "tau"},
    "ecpo.thm1.lemma4.wlog": {"returns"},  # of a trajectory outside the policy
    "ecpo.lemma2.softmax": {"tau"},
    "ecpo.appd.prop4.i": {"first_rewards", "second_rewards", "tau", "tau_prime"},
    "ecpo.appd.thm4": {"second_rewards"},  # of an action outside the reference
    "ecpo.sec4.temporal": {
        "first",
        "second",
        "policy_first",
        "policy_second",
        "first_rewards",
        "second_rewards",
        "tau",
        "tau_prime",
    },
    "ecpo.prop2.condition": {"returns", "first_tangent", "second_tangent", "tau"},
    "ecpo.thm2.condition": {"returns", "first_tangent", "second_tangent", "tau", "tau_prime"},
    "ecpo.thm1.threepoint": {"returns", "tau", "tau_prime"},
    "ecpo.thm1.step": {"returns", "tau", "tau_prime"},
    "ecpo.sec4.logexp": {"action_values", "tau", "tau_prime"},
}
for module in OF_OTHER_SOURCES:
    IDLE |= module.IDLE
#: a certificate of one of these may be one of the other too: both have one SR; one step has one temperature; both
#: begin with one difference
TRUE_ELSEWHERE = {
    "ecpo.lemma2.lower ecpo.lemma2.upper",
    "ecpo.lemma2.upper ecpo.lemma2.lower",
    "ecpo.thm1.fixed ecpo.thm1.anytime",
    "ecpo.thm1.step ecpo.thm1.threepoint",
}
MISSPELT: list[Any] = ["2/4", "-0", "0/1", "1.0", "01", "+1", " 1", "1 ", "1\n", "1/1", "1/0", "1/-2", "-", "", "/"]
MISSPELT += ["\u0661", "0x1", "1e3", "nan", "inf", "1_0", "--1", "\u22121", 1, 1.0, 0.5, True, None, [], {}, ["1"]]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Yield the place of every number of an instance."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))
    else:
        yield path, value


def replaced(certificate: Certificate, path: tuple[Any, ...], value: Any) -> Certificate:
    changed = copy.deepcopy(certificate)
    place = changed["instance"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def forged_sides(certificate: Certificate) -> Any:
    for side, other in (("left", "right"), ("right", "left")):
        true = certificate[side]
        forged: list[Any] = ["0", "1e0", "inf", "-inf", "nan", "", None, 0, 0.5, True, certificate[other]]
        if true is not None:
            digits = [i for i, c in enumerate(true) if c.isdigit()]
            forged += [true[:i] + str((int(true[i]) + 1) % 10) + true[i + 1 :] for i in digits]
            forged += [f"-{true}", true + "0", f"+{true}", f" {true}", true.replace("e", "E"), true.replace("e", "0e")]
        for value in forged:
            if value != true or type(value) is not type(true):
                yield certificate | {side: value}


def forged_words(certificate: Certificate) -> Any:
    words = {
        "schema": ["exactrl.certificate/2", "", None, 1],
        "claim": [*{claim: None for claim, _ in checker.TABLE}, "ecpo", "", None, ["ecpo.lemma1"], "\ud800"],
        "reading": ["intended", "amended", "", None, {}],
        "verdict": ["refuted", "ill-posed", "proved", None, []],
        "condition": [*{word: None for _, word in checker.TABLE}, "", None, ["sum"], {}],
        "relation": ["==", "<=", ">=", "<", ">", "undefined", "!=", None],
        "precision": [0, 1, 32, 65, 96, 16384, -64, 64.0, "64", True, None, 10**30],
        "reason": [*checker.REASONS, "", 0, False, [], None],
    }
    for name, values in words.items():
        for value in values:
            if value != certificate[name] or type(value) is not type(certificate[name]):
                yield certificate | {name: value}


def forged_components(certificate: Certificate) -> Any:
    true = certificate["component"]
    forged: list[Any] = [None, 0, "0", {}, [*true, 0], true[:-1] if true else [0], [[]]]
    for i, _ in enumerate(true):
        forged += [[*true[:i], value, *true[i + 1 :]] for value in (-1, -2, 64, 0.0, True, "1", None)]
        forged += [[*true[:i], value, *true[i + 1 :]] for value in range(3) if value != true[i]]
    for value in forged:
        yield certificate | {"component": value}


def misspelt(certificate: Certificate) -> Any:
    seen = set()
    for path, true in leaves(certificate["instance"]):
        for value in MISSPELT if path[0] not in seen else ["2/4", "-0", "1.0", 1.0, None]:
            if isinstance(true, str) or type(value) is not int:
                yield path[0], replaced(certificate, path, value)
        seen.add(path[0])


@every_certificate
def test_forged_sides(run, certificate):
    for forged in forged_sides(certificate):
        run.rejected(forged)


@every_certificate
def test_forged_words(run, certificate):
    for forged in forged_words(certificate):
        if f"{certificate['claim']} {forged['claim']}" not in TRUE_ELSEWHERE or run(forged)[0] != 0:
            run.rejected(forged)


@every_certificate
def test_forged_component(run, certificate):
    for forged in forged_components(certificate):
        run.rejected(forged)


@every_certificate
def test_misspelt_numbers(run, certificate):
    for name, forged in misspelt(certificate):
        reason = run.rejected(forged)
        assert name in reason or "not allowed" in reason  # a float is refused before it has a place


def test_more_than_a_thousand_forgeries_as_a_program(tmp_path):
    """Distinct files, up to forty of each certificate, all rejected for a reason, with nothing on standard error."""
    files: dict[str, str] = {}
    for certificate in CERTIFICATES:
        sides = list(forged_sides(certificate))
        words = [forged for forged in forged_words(certificate) if forged["claim"] == certificate["claim"]]
        numbers_of = [forged for _, forged in misspelt(certificate)]
        for kind, share in ((sides, 16), (words, 16), (numbers_of, 8)):
            step = -(-len(kind) // share)
            files |= {json.dumps(forged, sort_keys=True): certificate["claim"] for forged in kind[::step]}
    assert len(files) >= 1000
    assert set(files.values()) == {claim for claim, _ in checker.TABLE}
    assert not files.keys() & {json.dumps(certificate, sort_keys=True) for certificate in CERTIFICATES}
    for i, text in enumerate(files):
        (tmp_path / f"{i}.json").write_text(text)
    checked = alone(*(str(tmp_path / f"{i}.json") for i in range(len(files))))
    assert (checked.returncode, checked.stderr) == (1, "")
    lines = checked.stdout.splitlines()
    assert len(lines) == len(files)
    for i, line in enumerate(lines):
        assert line.startswith(f"REJECTED {tmp_path / f'{i}.json'}: ")
        assert "cannot be evaluated" not in line


@every_certificate
def test_changed_numbers(run, certificate):
    for path, true in leaves(certificate["instance"]):
        changed = true + 1 if isinstance(true, int) else str(Fraction(true) + Fraction(1, 7))
        status, line = run(replaced(certificate, path, changed))
        assert status == 1 or path[0] in IDLE.get(certificate["claim"], ()), line


@every_certificate
def test_changed_keys(run, certificate):
    text = json.dumps(certificate)
    for name in certificate:
        run.rejected({key: value for key, value in certificate.items() if key != name})
        twice = run.rejected((text[:-1] + f', "{name}": {json.dumps(certificate[name])}}}').encode())
        assert twice == f"key '{name}' stands twice"
    assert "unknown" in run.rejected(certificate | {"note": ""})
    instance = certificate["instance"]
    for name in instance:
        missing = certificate | {"instance": {key: value for key, value in instance.items() if key != name}}
        assert run.rejected(missing) == f"instance: key '{name}' is missing"
    assert "unknown" in run.rejected(certificate | {"instance": instance | {"gamma": "1"}})
    for value in (None, [], "", 1):
        assert run.rejected(certificate | {"instance": value}) == "instance: not an object"


@every_certificate
def test_changed_shapes(run, certificate):
    for name, value in certificate["instance"].items():
        if isinstance(value, list):
            for changed in ([], value[:-1], [*value, value[-1]], [value], value[0], {"0": value[0]}, [value[0]] * 65):
                run.rejected(certificate | {"instance": certificate["instance"] | {name: changed}})


@every_certificate
def test_truncated_files(run, certificate):
    data = json.dumps(certificate).encode()
    for length in range(len(data)):
        assert run.rejected(data[:length]).startswith("not JSON")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"null", "certificate: not an object"),
        (b"[]", "certificate: not an object"),
        (b"NaN", "number 'NaN' is not allowed"),
        (b'{"precision": -Infinity}', "number '-Infinity' is not allowed"),
        (b'{"precision": 64.0}', "number '64.0' is not allowed"),
        (b'{"precision": -0}', "integer '-0' is not canonical or too long"),
        (b'{"precision": ' + b"9" * 6000 + b"}", "is not canonical or too long"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * 1_000_001, "larger than 1000000 bytes"),
        (b'{"\x1b[31m\\n": 0, "' + b"x" * 500 + b'": 0}', "not JSON"),
        (b'{"\\u001b\\n": 0, "\\u001b\\n": 0}', "stands twice"),
    ],
)
def test_files_that_are_no_certificates(run, data, why):
    assert why in run.rejected(data)


def test_messages_name_the_field(run):
    for changed, why in {
        ("ecpo.thm1.fixed", "returns", ("0", "14/2")): "returns[1]: '14/2' is not canonical",
        ("ecpo.thm1.fixed", "start", ("1/2", "1/3")): "start: probabilities do not sum to 1 exactly",
        ("ecpo.thm1.fixed", "start", ("3/2", "-1/2")): "start[1]: must be >= 0",
        ("ecpo.thm1.fixed", "start", ("1",)): "returns: 2 entries where 1 are expected",
        ("ecpo.thm1.fixed", "horizon", 0): "horizon: 0 is not between 1 and 200",
        ("ecpo.thm1.fixed", "horizon", 201): "horizon: 201 is not between 1 and 200",
        ("ecpo.thm1.anytime", "start", ("1/2", "1/2", "0")): "start: must be strictly positive",
        ("ecpo.thm1.fixed", "returns", ("0", "9" * 5001)): "returns[1]: more than 5000 digits",
        ("ecpo.lemma1", "policy", ("1", "0")): "policy[1]: must be > 0",
        ("ecpo.lemma1", "tau", "0"): "tau: must be > 0",
        ("ecpo.lemma1", "tau_prime", "-1"): "tau_prime: must be >= 0",
        ("ecpo.lemma1", "samples", 9): "samples: 9 is not between 1 and 8",
        ("ecpo.prop2.fixed", "policy", ("1", "0")): "policy[1]: must be > 0",
        ("ecpo.prop2.fixed", "returns", ("1", "1")): "the relation holds on this instance",
        ("ecpo.thm2.fixed", "tau", "0"): "tau: must be > 0",
        ("ecpo.sec3.nonzero", "reference", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.thm1.fixed", "returns", ("0", "1")): "the relation holds on this instance",
        ("ecpo.eq5.lift", "tau_prime", "0"): "every operation of the printed expression is defined",
        ("ecpo.eq5.lift", "reference", ("1/2", "1/2")): "every operation of the printed expression is defined",
        ("ecpo.lemma2.lower", "tau", "1"): "every operation of the printed expression is defined",
        ("ecpo.thm1.sum", "returns", ("-1", "0", "8/7")): "returns[2]: must be between -1 and 1",
        ("ecpo.thm1.sum", "returns", ("-8/7", "0", "1")): "returns[0]: must be between -1 and 1",
        ("ecpo.thm1.sum", "horizon", 2): "the relation holds on this instance",
        ("ecpo.thm1.step", "returns", ("0", "2")): "returns[1]: must be between -1 and 1",
        ("ecpo.thm1.step", "member", ("0", "1")): "every operation of the printed expression is defined",
        ("ecpo.thm1.threepoint", "policy", ("1/2", "1/2")): "every operation of the printed expression is defined",
        (
            "ecpo.prop2.condition",
            "policy",
            ("1/2", "1/4", "1/4"),
        ): "every operation of the printed expression is defined",
        (
            "ecpo.thm2.condition",
            "policy",
            ("1/2", "1/4", "1/4"),
        ): "every operation of the printed expression is defined",
        ("ecpo.sec4.logexp", "tau_prime", "0"): "every operation of the printed expression is defined",
        ("ecpo.lemma2.softmax", "tau_prime", "0"): "tau_prime: must be > 0",
        ("ecpo.lemma2.softmax", "policy", ("1/4", "1/4", "1/2")): "not settled at 8192 bits",
        ("ecpo.thm1.start", "start", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.thm1.lemma4.wlog", "returns", ("0", "1", "0", "1")): "the relation holds on this instance",
        ("ecpo.pmd.convergence", "start", ("1/4", "1/4", "1/2")): "the relation holds on this instance",
        ("ecpo.appd.prop4.i", "first", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.appd.thm4", "policy", ("1", "0")): "policy[1]: must be > 0",
        ("ecpo.appd.thm4", "policy", ("1/3", "1/3", "1/3")): "policy: 3 entries where 2 are expected",
        ("ecpo.appd.policy", "transitions", (("1", "0", "0"), ("1/3", "1/2", "1/6"))): "transitions[0][1]: must be > 0",
    }.items():
        claim, name, value = changed
        assert why in run.rejected(named(claim, **{name: json.loads(json.dumps(value))}))
    for changed, why in {
        ("soft_q.eq10", "proposal", ("1/3", "1/3", "1/3")): "not settled at 8192 bits",
        ("soft_q.eq10", "alpha", "0"): "alpha: must be > 0",
        ("soft_q.eq20", "discount", "1"): "discount: must be at least 0 and below 1",
        ("soft_q.eq20", "discount", "-1/2"): "discount: must be at least 0 and below 1",
        ("soft_q.eq20", "discount", "0"): "the relation holds on this instance",
        ("soft_q.eq20", "policy", (("1/2", "1/2"), ("1/2", "1/2"))): "the relation holds on this instance",
        ("soft_q.eq28", "policy", (("1/2", "1/2"), ("1", "0"))): "policy[1][1]: must be > 0",
        ("soft_q.eq28", "policy", (("1/4", "3/4"), ("1/4", "3/4"))): "not settled at 8192 bits",
    }.items():
        claim, name, value = changed
        assert why in run.rejected(named(claim, **{name: json.loads(json.dumps(value))}))
    one = named("ecpo.thm1.fixed", start=["1"], returns=["9"])
    assert run.rejected(one) == "start: at least two trajectories are needed, since log 1 = 0"
    one = named("ecpo.thm1.sum", far=["1"], returns=["1"])
    assert run.rejected(one) == "far: at least two trajectories are needed, since log 1 = 0"
    longer = next(c for c in CERTIFICATES if c["condition"] == "sum on a segment")
    longer = longer | {"instance": longer["instance"] | {"horizon": 2}}
    assert run.rejected(longer).startswith("horizon: on a segment only a horizon of 1 is checked")
    unknown = named("ecpo.thm1.sum") | {"condition": "regret"}
    assert run.rejected(unknown) == "condition: 'regret' where 'sum' or 'sum on a segment' is expected"
    assert run.rejected(named("ecpo.appd.thm4", "intended", samples=1)) == "samples: 1 is not between 2 and 8"
    assert run.rejected(named("ecpo.appd.thm4", "intended", first=["1", "0"])) == "first[1]: must be > 0"
    assert "must be > 0" in run.rejected(named("ecpo.eq9", "intended", reference=["1", "0"]))
    assert run.rejected(named("ecpo.lemma1", "intended", samples=1)) == "samples: 1 is not between 2 and 8"
    assert "must be > 0" in run.rejected(named("ecpo.lemma1", "intended", reference=["1/2", "1/2", "0"]))
    assert "another one" in run.rejected(named("ecpo.appd.policy") | {"component": [0, 0]})
    assert run.rejected(named("ecpo.appd.policy", "intended", first=["1", "0"])) == "first[1]: must be > 0"


def test_work_is_bounded(run):
    n = 64
    uniform, zeros = [f"1/{n}"] * n, ["0"] * n
    wide = named("ecpo.lemma1", reference=uniform, returns=zeros, policy=uniform, samples=4)
    assert run.rejected(wide) == "samples: more than 1000000 tuples"
    row = {"first": uniform, "first_rewards": zeros, "transitions": [["1/2", "1/2"]] * n}
    many = named("ecpo.appd.policy", **row, second=[uniform] * 2, second_rewards=[zeros] * 2)
    assert run.rejected(many) == "first: more than 4096 trajectories"
    assert run.rejected(named("ecpo.appd.thm4", samples=6)) == "samples: more than 1000000 tuples"
    states = [["1"] + ["0"] * 8] * 9
    large = named("soft_q.eq28", initial=states[0], dynamics=[states[:8]] * 9, policy=[["1/8"] * 8] * 9)
    assert run.rejected(large) == "dynamics: more than 4096 pairs of steps"


def test_equal_sides_are_never_accepted(run):
    """q = reference: the estimator is unbiased here, and no precision shows a difference."""
    fair = named("ecpo.lemma1", returns=["0", "0"]) | {"left": "0", "right": "0"}
    assert run.rejected(fair).startswith("not settled at 8192 bits")


# ------------------------------------------------------------------------------------------------ as a program


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", str(SOURCE), *arguments], capture_output=True, text=True, check=False)


def test_as_a_program(tmp_path):
    good, bad, broken = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "broken.json"
    good.write_text(json.dumps(CERTIFICATES[0]))
    bad.write_text(json.dumps(CERTIFICATES[0] | {"left": "-6.5e-1"}))
    broken.write_text(json.dumps(CERTIFICATES[0])[:100])
    assert checker.main([str(good), str(bad), str(broken)]) == 1
    accepted = alone(str(good), str(good))
    assert (accepted.returncode, accepted.stdout.count("ok  "), accepted.stderr) == (0, 2, "")
    mixed = alone(str(good), str(bad), str(broken))
    assert (mixed.returncode, mixed.stdout.count("REJECTED"), mixed.stderr) == (1, 2, "")
    missing = alone(str(tmp_path / "missing.json"), str(tmp_path), str(bad))
    assert missing.returncode == 2
    assert missing.stderr.count("cannot read") == 2
    assert missing.stdout.startswith(f"REJECTED {bad}: left: '-6.5e-1' where '-3.75e-1' is expected")
    usage, told = alone(), alone("--help")
    assert (usage.returncode, told.returncode) == (2, 0)
    assert "example:" in told.stdout
    assert "Traceback" not in accepted.stderr + mixed.stderr + missing.stderr + usage.stderr


def test_the_checker_imports_nothing_of_the_project():
    found, beside = set(), set()
    for file in SOURCE.parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1
                beside |= {node.module} if node.module else {alias.name for alias in node.names}
    assert found - set(sys.stdlib_module_names) == {"flint"}
    assert beside <= {file.stem for file in SOURCE.parent.glob("*.py")}


def test_the_folder_works_anywhere_alone(tmp_path):
    shutil.copytree(SOURCE.parent, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("__pycache__"))
    good = tmp_path / "good.json"
    good.write_text(json.dumps(CERTIFICATES[0]))
    command = [sys.executable, "-I", str(tmp_path / "elsewhere" / "main.py"), str(good)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (told.returncode, told.stdout[:4], told.stderr) == (0, "ok  ", "")


def test_what_fails_in_evaluation_is_rejected_in_one_line(tmp_path, capsys, monkeypatch):
    path = tmp_path / "certificate.json"
    path.write_text("{}")
    monkeypatch.setattr(checker, "check", lambda data: 1 // 0)
    assert checker.main([str(path)]) == 1
    assert capsys.readouterr().out == f"REJECTED {path}: the sides cannot be evaluated (ZeroDivisionError)\n"


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (1, 1, "1e0"),
        (-1, 1000, "-1e-3"),
        (1, 2**30, "9.3132257461547851563e-10"),
        (-1, 2**30, "-9.3132257461547851563e-10"),
        (10**20 - 1, 10**20, "9.9999999999999999999e-1"),
        (10**21 - 1, 10**21, "1e0"),
        (2, 3, "6.6666666666666666667e-1"),
        (0, 1, "0"),
    ],
)
def test_rounding(top, bottom, expected):
    with ctx.workprec(256):
        assert comparison.decimal(arb(fmpq(top, bottom)), last=False) == expected


def test_rounding_waits_for_narrow_balls():
    with ctx.workprec(64):
        third = arb(fmpq(1, 3))
        assert comparison.decimal(third, last=False) is None
        assert comparison.decimal(third * 3 - 1, last=False) is None
        assert comparison.decimal(third * 3 - 1, last=True) == "0"
        assert comparison.decimal(arb("nan"), last=True) is None


def test_an_infinite_side_is_never_a_wide_ball(run):
    for wide in (arb("inf"), arb("nan"), arb(0, "inf")):
        with pytest.raises(checker.Rejected, match="not settled"):
            comparison.settle(lambda wide=wide: (wide, 0), "<=")
    assert comparison.settle(lambda: (float("inf"), 2), "<=") == ("inf", "2e0")


def test_divergence_in_extended_reals():
    half, one, zero = fmpq(1, 2), fmpq(1), fmpq(0)
    assert extended_reals.extended_divergence([one, zero], quantities.logs([half, half])).overlaps(quantities.log(2))
    assert extended_reals.extended_divergence([zero, one], quantities.logs([zero, one])) == 0
    assert extended_reals.extended_divergence([half, half], quantities.logs([zero, one])) == float("inf")


def test_extended_reals():
    zero, inf = fmpq(0), float("inf")
    for operation, reason in [
        (lambda: extended_reals.plus(inf, -inf), "inf - inf"),
        (lambda: extended_reals.minus(-inf, -inf), "inf - inf"),
        (lambda: extended_reals.times(zero, -inf), "0 * inf"),
        (lambda: extended_reals.over(inf, zero), "division by 0"),
    ]:
        with pytest.raises(checker.Undefined, match=reason.replace("*", r"\*")):
            operation()
    assert extended_reals.exp(-inf) == 0
    assert extended_reals.exp(inf) == inf
    assert extended_reals.over(-inf, fmpq(2)) == -inf
    assert extended_reals.scaled_log(zero, zero) == 0
    assert extended_reals.scaled_log(fmpq(1), zero) == -inf
