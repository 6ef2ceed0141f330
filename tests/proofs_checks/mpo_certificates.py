"""Instances that refute claims of the MPO paper, and the true values of both sides by another road, in mpmath.

Minima are searched, derivatives taken numerically, integrals by quadrature and targets by walking along trajectories.
"""

from __future__ import annotations

import itertools
from typing import Any

from mpmath import diff, exp, log, mp, mpf, npdf, pi, quad, sqrt


def average(weights: Any, values: Any) -> Any:
    return sum(w * v for w, v in zip(weights, values, strict=True) if w)


def divergence(q: Any, p: Any) -> Any:
    return sum(x * log(x / y) for x, y in zip(q, p, strict=True) if x)


def tilted(policy: Any, values: Any, eta: Any) -> Any:
    top = max(v for p, v in zip(policy, values, strict=True) if p)
    weights = [p * exp((v - top) / eta) for p, v in zip(policy, values, strict=True)]
    return [w / sum(weights) for w in weights]


def greedy(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The divergence of policies of Eq. 8 at a temperature so low that what is missing is below any digit shown."""
    eta = mpf(10) ** -6
    rows = [divergence(tilted(p, v, eta), p) for p, v in zip(x["policy"], x["q_values"], strict=True)]
    return average(x["weights"], rows), x["epsilon"]


def printed_target(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The targets of all trajectories of the behaviour policy, each with its chance."""
    states, actions = range(len(x["policy"])), range(len(x["policy"][0]))
    q, gamma = x["q_values"], x["discount"]
    mean = [average(p, v) for p, v in zip(x["policy"], q, strict=True)]
    reward = {
        (s, a): q[s][a] - gamma * average(x["transitions"][s][a], mean) for s, a in itertools.product(states, actions)
    }
    total = mpf(0)
    for walk in itertools.product(states, *[actions, states] * (x["steps"] - 1)):
        following, acts = walk[::2], [component[1], *walk[1::2]]
        chance, trace, target, s = mpf(1), mpf(1), q[component[0]][component[1]], component[0]
        for j, (a, t) in enumerate(zip(acts, following, strict=True)):
            if j:
                b = x["behaviour"][s][a]
                chance *= b
                trace *= min(1, x["policy"][s][a] / b) if b else 0
            chance *= x["transitions"][s][a][t]
            target += gamma**j * trace * (reward[s, a] + mean[t] - q[s][a])
            s = t
        total += chance * target
    return total, q[component[0]][component[1]]


def joint(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    value = average(x["masses"], [average(c, v) for c, v in zip(x["challenger"], x["q_values"], strict=True)])
    eta = x["eta"]
    rows = zip(x["policy"], x["q_values"], strict=True)
    parts = [sum(p * exp(q / eta) for p, q in zip(policy, values, strict=True)) for policy, values in rows]
    return value, eta * x["epsilon"] + eta * average(x["weights"], [log(z) for z in parts])


def tangent(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The Lagrangian along the segment: its rise, and its numerical slope plus what the print adds to it."""
    entries = [
        (mu, p, v, a, b)
        for mu, *rows in zip(x["weights"], x["policy"], x["q_values"], x["first"], x["second"], strict=True)
        for p, v, a, b in zip(*rows, strict=True)
    ]

    def lagrangian(t: Any) -> Any:
        total = x["multiplier"]
        for mu, p, v, a, b in entries:
            z = a + t * (b - a)
            total += mu * z * (v - x["eta"] * log(z / p) - x["multiplier"])
        return total

    moved = sum(mu * (b - a) for mu, _, _, a, b in entries)
    return lagrangian(mpf(1)) - lagrangian(mpf(0)), diff(lagrangian, 0) + 2 * x["multiplier"] * moved


def mass(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    masses = []
    for policy, values in zip(x["policy"], x["q_values"], strict=True):
        z = sum(p * exp(q / x["eta"]) for p, q in zip(policy, values, strict=True))
        masses.append(log(sum(p * exp(q / x["eta"]) * z for p, q in zip(policy, values, strict=True))))
    return average(x["weights"], masses), 0


def prior(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """With the matrix F written out and solved for."""
    n = len(x["step"])
    factor = mp.matrix(n, n)
    for i in range(n):
        for j in range(i + 1):
            factor[i, j] = x["diagonal"][i] if i == j else x["below"][i][j]
    fisher, step = factor * factor.T, mp.matrix(x["step"])
    solved = mp.lu_solve(fisher / x["penalty"], step)
    length = sum(a * b for a, b in zip(step, solved, strict=True))
    return -length / 2, -length


def taylor(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The second derivative of the divergence, numerically, and the printed form of its inverse."""

    def spread(t: Any) -> Any:
        weights = [x["policy"][0], x["policy"][1] * exp(x["feature"] * t)]
        return divergence(x["policy"], [w / sum(weights) for w in weights])

    fisher = diff(spread, 0, 2)
    return diff(lambda t: t * t / fisher, 0, 2), fisher


def least(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return min(x["policy"]), 0


def log_normal(a: Any, mean: Any, deviation: Any) -> Any:
    return -((a - mean) ** 2) / (2 * deviation**2) - log(deviation * sqrt(2 * pi))


def equal_means(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The divergence of equal means, by quadrature in each dimension."""

    def one(m: Any, before: Any, after: Any) -> Any:
        ratio = lambda a: log_normal(a, m, before) - log_normal(a, m, after)
        ends = [m - 40 * before, m, m + 40 * before]
        return quad(lambda a: npdf(a, m, before) * ratio(a), ends)

    with mp.workdps(60):
        return sum(one(*row) for row in zip(x["mean"], x["diagonal_i"], x["diagonal"], strict=True)), 0


def descent(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """Log densities, and a step along the numerical derivative."""

    def lagrangian(m: Any) -> Any:
        spread = (m - x["mean_i"]) ** 2 / (2 * x["deviation"] ** 2)
        return average(x["target"], [log_normal(a, m, x["deviation"]) for a in x["actions"]]) - x["multiplier"] * spread

    step = x["deviation"] ** 2 / (1 + x["multiplier"])
    return lagrangian(x["mean"]), lagrangian(x["mean"] - step * diff(lagrangian, x["mean"]))


STATES = {"policy": [["1/3", "2/3"], ["1/2", "1/2"]], "q_values": [["0", "1"], ["3", "-1/2"]]}
ROOM = {**STATES, "weights": ["1/4", "3/4"], "epsilon": "7/10"}
#: claim, relation, condition, evaluate, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    ("mpo.eq8", ">", "of the printed form", greedy, [], ROOM),
    ("mpo.eq9.minimiser", ">", "a minimiser exists", greedy, [], ROOM),
    (
        "mpo.eq13.retrace", "==", "fixed point", printed_target, [1, 0],
        {
            "policy": [["1/3", "2/3"], ["1/4", "3/4"]], "behaviour": [["1/2", "1/2"], ["2/3", "1/3"]],
            "transitions": [[["1/2", "1/2"], ["1", "0"]], [["1/4", "3/4"], ["1/5", "4/5"]]],
            "q_values": [["1", "2"], ["-1/2", "5"]], "discount": "1/3", "steps": 3,
        },
    ),
    ("mpo.appa.reward", ">", "denominator", least, [], {"policy": ["1/2", "0", "1/2"], "q": ["1/4", "1/4", "1/2"]}),
    (
        "mpo.appd2.program", "<=", "no joint challenger is better", joint, [],
        {
            **STATES, "q_values": [["0", "1"], ["9", "8"]], "weights": ["1/2", "1/2"], "masses": ["1/4", "3/4"],
            "challenger": [["1/3", "2/3"], ["3/4", "1/4"]], "epsilon": "2/5", "eta": "5/2",
        },
    ),
    (
        "mpo.appd2.derivative", "<=", "tangent", tangent, [],
        {
            **STATES, "weights": ["1/4", "3/4"], "first": [["2", "1"], ["1/2", "3"]],
            "second": [["1", "3/4"], ["1/3", "2"]], "eta": "3/2", "multiplier": "2",
        },
    ),
    ("mpo.appd2.normaliser", "==", "printed factor", mass, [], {**STATES, "weights": ["1/4", "3/4"], "eta": "3/2"}),
    (
        "mpo.appd3.prior", "==", "log prior", prior, [],
        {"diagonal": ["1", "2"], "below": [["0", "0"], ["1/2", "0"]], "step": ["1", "-1/3"], "penalty": "3/2"},
    ),
    ("mpo.appd3.taylor", "==", "second derivatives", taylor, [], {"policy": ["1/4", "3/4"], "feature": "2"}),
    (
        "mpo.eq27.parts", "==", "equal means", equal_means, [],
        {"mean": ["1", "-1/2"], "diagonal_i": ["1", "3"], "diagonal": ["2", "1/2"]},
    ),
    (
        "mpo.alg2.theta", "<=", "descent is better", descent, [],
        {
            "target": ["1/3", "2/3"], "actions": ["1", "-2"], "mean": "1/2", "mean_i": "1/4", "deviation": "3/2",
            "multiplier": "1/2",
        },
    ),
]  # fmt: skip

#: fields that cannot move the values of these certificates
IDLE = {
    "mpo.eq8": {"q_values"},  # the best action stays the best
    "mpo.eq9.minimiser": {"q_values"},
    "mpo.appd3.prior": {"below"},  # what stands above the diagonal
    "mpo.eq27.parts": {"mean"},
}
