"""Instances that refute claims of App. A.2 of the MPO paper, and the true values of both sides by another road.

The whole iteration is run: a parameter, its softmax policy, its values, its E-step, the value of that under itself.
Derivatives in the step are taken numerically of this, at as many digits as the precision in force allows.
"""

from __future__ import annotations

from typing import Any

from mpmath import diff, exp, mp, mpf, sqrt

from tests.proofs_checks.mpo_certificates import average, divergence

CHAIN = [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]


class Process:
    """A model with rewards r, dynamics P, a discount and a temperature, and policies given as rows of probabilities."""

    def __init__(self, rewards: Any, dynamics: Any, discount: Any, alpha: Any) -> None:
        self.r, self.P, self.discount, self.alpha = rewards, dynamics, discount, alpha
        self.states = range(len(rewards))

    def solve(self, policy: Any, earned: Any) -> Any:
        """The values of what is earned in each state."""
        matrix = mp.matrix(len(earned), len(earned))
        for s in self.states:
            for t in self.states:
                chance = average(policy[s], [row[t] for row in self.P[s]])
                matrix[s, t] = (s == t) - self.discount * chance
        return list(mp.lu_solve(matrix, mp.matrix(earned)))

    def ahead(self, values: Any) -> Any:
        return [
            [r + self.discount * average(p, values) for r, p in zip(self.r[s], self.P[s], strict=True)]
            for s in self.states
        ]

    def values(self, policy: Any) -> Any:
        return self.solve(policy, [average(p, r) for p, r in zip(policy, self.r, strict=True)])

    def estep(self, policy: Any, action_values: Any) -> Any:
        """Eq. 19, shifted by the largest value."""
        rows = []
        for p, v in zip(policy, action_values, strict=True):
            weights = [x * exp((y - max(v)) / self.alpha) for x, y in zip(p, v, strict=True)]
            rows.append([w / sum(weights) for w in weights])
        return rows

    def improved(self, policy: Any) -> Any:
        return self.estep(policy, self.ahead(self.values(policy)))

    def earned(self, q: Any, policy: Any, action_values: Any) -> Any:
        """E_q of the action values, less alpha KL(q || pi), in each state."""
        rows = zip(q, policy, action_values, strict=True)
        return [average(z, v) - self.alpha * divergence(z, p) for z, p, v in rows]

    def regularised(self, q: Any, policy: Any) -> Any:
        return self.solve(q, self.earned(q, policy, self.r))

    def visits(self, policy: Any, start: Any) -> Any:
        """The discounted visits: what a reward of 1 in one state is worth from the start."""
        return [average(start, self.solve(policy, [mpf(s == t) for s in self.states])) for t in self.states]


def softmax(policy: Any, logits: Any) -> Any:
    rows = []
    for p, h in zip(policy, logits, strict=True):
        weights = [x * exp(y) for x, y in zip(p, h, strict=True)]
        rows.append([w / sum(weights) for w in weights])
    return rows


def uniform() -> Any:
    return [[mpf(1) / 2] * 2] * 2


def stay_or_leave(x: dict[str, Any]) -> tuple[Process, Any]:
    """The process, and the logits that Eq. 18 adds to the uniform policy per unit of the step: one for both states."""
    process = Process(x["rewards"], CHAIN, x["discount"], x["alpha"])
    q, d = process.improved(uniform()), process.visits(uniform(), [1, 0])
    slope = sum(weight * (row[0] - mpf(1) / 2) for weight, row in zip(d, q, strict=True))
    return process, [[slope, 0], [slope, 0]]


def times(step: Any, logits: Any) -> Any:
    return [[step * h for h in row] for row in logits]


def one_logit(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    process, logits = stay_or_leave(x)

    def joint(step: Any) -> Any:
        policy = softmax(uniform(), times(step, logits))
        return process.regularised(process.improved(policy), policy)[0]

    return -diff(joint, 0), 0


def lottery(x: dict[str, Any]) -> tuple[Process, Any, Any]:
    """The process, its policy, and the logits that Eq. 18 adds, one for each state and action."""
    win, lose = x["policy"]
    rewards = [[x["pay"], mpf(0)], [x["prize"], -x["prize"] * win / lose]]
    process, policy = Process(rewards, CHAIN, x["discount"], x["alpha"]), [[mpf(1) / 2] * 2, [win, lose]]
    rows = zip(process.visits(policy, [1, 0]), process.improved(policy), policy, strict=True)
    return process, policy, [[d * (z - p) for z, p in zip(q, row, strict=True)] for d, q, row in rows]


def own_logits(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    process, policy, logits = lottery(x)

    def joint(step: Any) -> Any:
        new = softmax(policy, times(step, logits))
        return process.regularised(process.improved(new), new)[0]

    return -diff(joint, 0), 0


def resting_point(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    gap = x["gap"]
    process = Process([[mpf(0), gap], [gap, mpf(0)]], CHAIN, mpf(2) / 3, x["alpha"])

    def joint(theta: Any) -> Any:
        policy = softmax(uniform(), [[theta, 0], [theta, 0]])
        return process.regularised(process.improved(policy), policy)[0]

    return diff(joint, 0), 0


def value(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    (s,) = component
    process, _ = stay_or_leave(x)
    q = process.improved(uniform())
    printed = process.solve(uniform(), process.earned(q, uniform(), process.r))
    return process.regularised(q, uniform())[s], printed[s]


def expansion(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    (s,) = component
    process, logits = stay_or_leave(x)
    still = process.ahead(process.values(uniform()))

    def true(step: Any) -> Any:
        policy = softmax(uniform(), times(step, logits))
        return process.regularised(process.improved(policy), policy)[s]

    def printed(step: Any) -> Any:
        policy = softmax(uniform(), times(step, logits))
        return process.solve(uniform(), process.earned(process.improved(policy), policy, still))[s]

    return diff(true, 0), diff(printed, 0)


def bandit(x: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The functional f of the logit of the first action, q as a function of it, and its value with Eq. 24's terms."""
    process = Process([x["rewards"]], [[[1], [1]]], mpf(0), x["alpha"])
    q = process.improved([x["policy"]])

    def functional(theta: Any) -> Any:
        return divergence(q[0], softmax([x["policy"]], [[theta, 0]])[0])

    def gained(theta: Any) -> Any:
        policy = softmax([x["policy"]], [[theta, 0]])
        return process.earned(process.improved(policy), policy, [x["rewards"]])[0]

    return functional, gained, diff(functional, 0)


def descent(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    functional, _gained, slope = bandit(x)
    return sqrt(slope * slope) / 2, -diff(lambda step: functional(-step * slope), 0)


def gain(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    _functional, gained, slope = bandit(x)
    return sqrt(slope * slope) / 2, diff(lambda step: gained(-step * slope), 0)


def split(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    process = Process(x["rewards"], x["dynamics"], x["discount"], x["alpha"])
    d, ahead = process.visits(x["walker"], x["initial"]), process.ahead(x["values"])
    plain = [average(z, v) for z, v in zip(x["other"], ahead, strict=True)]
    functional = average(d, [divergence(z, p) for z, p in zip(x["other"], x["policy"], strict=True)])
    return average(d, process.earned(x["other"], x["policy"], ahead)), average(d, plain) - functional


SHARED: dict[str, Any] = {"rewards": [["1", "0"], ["0", "1"]], "discount": "3/4", "alpha": "1"}
#: claim, relation, condition, both sides by another road, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "mpo.sec31.monotone", "<=", "guarantee", one_logit, [],
        {"rewards": [["2", "1/7"], ["-1/3", "1"]], "discount": "5/6", "alpha": "1"},
    ),
    (
        "mpo.prop3.eq21", "<=", "rise", own_logits, [],
        {"pay": "1", "prize": "9", "policy": ["1/2", "1/2"], "discount": "1/6", "alpha": "1"},
    ),
    ("mpo.prop3.nondecreasing", "<=", "non-decreasing", one_logit, [], SHARED),
    ("mpo.prop3.localmax", "==", "stationary", resting_point, [], {"gap": "2", "alpha": "3/2"}),
    (
        "mpo.prop3.eq23", "<=", "descent", descent, [],
        {"rewards": ["2/3", "0"], "alpha": "3/2", "policy": ["1/3", "2/3"]},
    ),
    (
        "mpo.prop3.f3", "==", "split", split, [],
        {
            "dynamics": [[["1/3", "2/3"], ["1", "0"]], [["1/2", "1/2"], ["1/5", "4/5"]]],
            "rewards": [["1", "-2"], ["0", "3"]], "discount": "2/3", "alpha": "1/2", "values": ["2", "-1"],
            "walker": [["1/3", "2/3"], ["1/2", "1/2"]], "other": [["2/3", "1/3"], ["1/4", "3/4"]],
            "policy": [["1/2", "1/2"], ["2/3", "1/3"]], "initial": ["1/5", "4/5"],
        },
    ),
    ("mpo.prop3.eq24", "<=", "gain", gain, [], {"rewards": ["0", "1/2"], "alpha": "2/3", "policy": ["1/4", "3/4"]}),
    ("mpo.prop3.value", "==", "value", value, [0], {**SHARED, "rewards": [["2", "1/2"], ["0", "1/3"]]}),
    ("mpo.prop3.expansion", "==", "first order", expansion, [0], {**SHARED, "rewards": [["2", "1/2"], ["0", "1/3"]]}),
]  # fmt: skip

#: fields that cannot move the values of these certificates
IDLE: dict[str, set[str]] = {}
