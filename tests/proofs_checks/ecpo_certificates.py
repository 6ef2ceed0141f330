"""Instances that refute claims of the ECPO paper, and the true values of both sides by another road, in mpmath.

Probabilities are multiplied out and normalised, expectations are enumerated, and derivatives are taken numerically.
"""

from __future__ import annotations

import itertools
from typing import Any

from mpmath import diff, exp, log, mp, mpf, sqrt

from tests.proofs_checks.second_routes import normalised, partial


def lift(reference: list[Any], returns: list[Any], tau: Any, tau_prime: Any) -> list[Any]:
    """reference^(tau / eta) exp(r / eta), normalised."""
    eta = tau + tau_prime
    pairs = zip(reference, returns, strict=True)
    return normalised([p ** (tau / eta) * exp(r / eta) if p else mpf(0) for p, r in pairs])


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


T01 = {"tau": "1", "tau_prime": "0"}
T32 = {"tau": "3/2", "tau_prime": "1/4"}
TWO_STEPS = {
    "transitions": [["1/2", "1/4", "1/4"], ["1/3", "1/2", "1/6"]],
    "second": [["1/2", "1/2"], ["1/4", "3/4"], ["2/5", "3/5"]],
    "first_rewards": ["1", "-1/2"],
    "second_rewards": [["0", "1"], ["2", "0"], ["1/3", "-1"]],
}
#: claim, relation, condition, evaluate, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "ecpo.prop2.fixed", "==", "stationary", prop2, [],
        {"policy": ["1/4", "3/4"], "tangent": ["1", "-1"], "returns": ["0", "1"], "tau": "2"},
    ),
    ("ecpo.thm2.fixed", "==", "stationary", thm2, [], {"returns": ["0", "3"], "tau": "3"}),
    ("ecpo.sec3.nonzero", ">", "nonzero", sec3, [], {"reference": ["1", "0"], "returns": ["0", "2"], **T01}),
    (
        "ecpo.lemma1", "==", "unbiased", lemma1, [1],
        {"reference": ["1/2", "1/2"], "returns": ["0", "1"], **T01, "policy": ["1/2", "1/2"], "samples": 1},
    ),
    (
        "ecpo.lemma1", "==", "unbiased", lemma1, [2],
        {
            "reference": ["1/2", "0", "1/2"], "returns": ["0", "1", "-2"], **T32, "policy": ["1/2", "1/3", "1/6"],
            "samples": 3,
        },
    ),
    (
        "ecpo.thm1.fixed", "<=", "regret", thm1(False), [],
        {"start": ["1/2", "1/2"], "returns": ["0", "7"], "horizon": 1},
    ),
    (
        "ecpo.thm1.fixed", "<=", "regret", thm1(False), [],
        {"start": ["3/4", "1/4", "0"], "returns": ["0", "10", "20"], "horizon": 4},
    ),
    (
        "ecpo.thm1.anytime", "<=", "regret", thm1(True), [],
        {"start": ["3/4", "1/6", "1/12"], "returns": ["-5", "11", "21"], "horizon": 3},
    ),
    (
        "ecpo.lemma2.limit0", "==", "limit", limit0, [],
        {"policy": ["1/4", "3/4", "0"], "returns": ["-1", "1/3", "2"], "tau_rate": "1", "tau_prime_rate": "0"},
    ),
    (
        "ecpo.sec4.onesample", "==", "unbiased", onesample, [],
        {"action_values": ["0", "1", "5"], "reference": ["1/3", "2/3", "0"], **T32},
    ),
    (
        "ecpo.lemma7", "==", "gradient", lemma7, [1],
        {
            "action_values": ["0", "1", "2"], "reference": ["1/3", "2/3", "0"], "policy": ["1/4", "1/4", "1/2"],
            "value": "1/2", **T32,
        },
    ),
    ("ecpo.appd.policy", "==", "policy", appd_policy, [0, 2], {"first": ["1", "0"], **TWO_STEPS, **T32}),
    ("ecpo.sec1.wlog", "==", "value", sec1_wlog, [], {"first": ["0", "1"], **TWO_STEPS, **T32}),
    (
        "ecpo.pmd.convergence", "==", "optimal", pmd, [],
        {"start": ["1/4", "3/4", "0"], "returns": ["-1", "1/3", "2"], "tau": "3/2"},
    ),
    (
        "ecpo.thm1.lemma4.wlog", "<=", "divergence", lemma4, [],
        {"policy": ["1/2", "1/3", "1/6", "0"], "returns": ["0", "-7", "4", "1"], **T32},
    ),
    ("ecpo.thm1.start", "<=", "start", start, [], {"member": ["1/2", "1/2"], "start": ["0", "1"]}),
    ("ecpo.thm1.start", "<=", "start", start, [], {"member": ["1/9", "8/9"], "start": ["9/10", "1/10"]}),
    (
        "ecpo.thm1.sum", "<=", "sum", thm1_sum, [],
        {"far": ["1/2", "1/3", "1/6"], "returns": ["-1/2", "1/3", "3/4"], "horizon": 1},
    ),
    (
        "ecpo.thm1.sum", "<=", "sum on a segment", thm1_segment, [],
        {"far": ["1/6", "1/4", "7/12"], "returns": ["-1/2", "1/3", "3/4"], "horizon": 1},
    ),
    (
        "ecpo.eq9", "==", "stationary", eq9, [],
        {"action_values": ["0", "1", "5"], "reference": ["1/3", "2/3", "0"], **T32},
    ),
    (
        "ecpo.lemma2.softmax", "==", "limit", softmax_limit, [],
        {"policy": ["1/4", "3/4", "0"], "returns": ["-1", "1/3", "2"], **T32},
    ),
    ("ecpo.appd.prop4.i", "==", "limit", prop4, [], {"first": ["0", "1"], **TWO_STEPS, **T32}),
    (
        "ecpo.appd.thm4", "==", "unbiased", thm4, [1],
        {"first": ["2/5", "3/5"], **TWO_STEPS, **T32, "policy": ["1/3", "2/3"], "samples": 1},
    ),
    (
        "ecpo.appd.thm4", "==", "unbiased", thm4, [0],
        {
            "first": ["2/5", "3/5"], **TWO_STEPS, "second": [["1", "0"], ["1/4", "3/4"], ["0", "1"]], **T32,
            "policy": ["1/4", "3/4"], "samples": 3,
        },
    ),
]  # fmt: skip

#: the same of the intended reading
INTENDED: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "ecpo.lemma1", "==", "unbiased", lemma1, [0],
        {
            "reference": ["1/2", "1/3", "1/6"], "returns": ["0", "1", "-2"], **T32, "policy": ["1/5", "1/5", "3/5"],
            "samples": 2,
        },
    ),
    (
        "ecpo.sec4.onesample", "==", "unbiased", onesample, [],
        {"action_values": ["0", "1"], "reference": ["1/2", "1/2"], **T01},
    ),
    ("ecpo.appd.policy", "==", "policy", appd_policy, [1, 1], {"first": ["2/5", "3/5"], **TWO_STEPS, **T32}),
    ("ecpo.eq9", "==", "stationary", eq9, [], {"action_values": ["0", "-1"], "reference": ["1/4", "3/4"], **T32}),
    (
        "ecpo.appd.thm4", "==", "unbiased", thm4, [0],
        {"first": ["2/5", "3/5"], **TWO_STEPS, **T32, "policy": ["1/4", "3/4"], "samples": 2},
    ),
]  # fmt: skip

TANGENTS = {"policy": ["1/2", "0", "1/2"], "returns": ["0", "1", "2"],
            "first_tangent": ["1", "-1/2", "0"], "second_tangent": ["0", "0", "1"]}  # fmt: skip
BOTH_ZERO = {"tau": "0", "tau_prime": "0"}
#: claim, the first undefined operation, instance; all of the literal reading
ILL_POSED: list[tuple[str, str, dict[str, Any]]] = [
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
]  # fmt: skip

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
    "ecpo.appd.prop4.i": {"second_rewards", "tau", "tau_prime"},
    "ecpo.appd.thm4": {"second_rewards"},  # of an action outside the reference
    "ecpo.sec4.temporal": {"first_rewards", "second_rewards", "tau", "tau_prime"},
    "ecpo.prop2.condition": {"returns", "first_tangent", "second_tangent", "tau"},
    "ecpo.thm2.condition": {"returns", "first_tangent", "second_tangent", "tau", "tau_prime"},
    "ecpo.thm1.threepoint": {"returns", "tau", "tau_prime"},
    "ecpo.thm1.step": {"returns", "tau", "tau_prime"},
    "ecpo.sec4.logexp": {"action_values", "tau", "tau_prime"},
}

#: a certificate of one of these may be one of the other too: both have one SR; one step has one temperature; both
#: begin with one difference
TRUE_ELSEWHERE = {
    "ecpo.lemma2.lower ecpo.lemma2.upper",
    "ecpo.lemma2.upper ecpo.lemma2.lower",
    "ecpo.thm1.fixed ecpo.thm1.anytime",
    "ecpo.thm1.step ecpo.thm1.threepoint",
}
