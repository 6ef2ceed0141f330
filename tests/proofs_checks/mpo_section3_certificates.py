"""Instances that refute claims of Secs. 3 to 3.2 of the MPO paper, both sides by another road, and how to compare.

Probabilities are multiplied out, values summed over steps, maxima taken at the policy that attains them.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import mpmath as mp
from mpmath import exp, log, mpf

from exactrl.number_systems.balls import Balls
from tests.proofs_checks.mpo_certificates import average, divergence, tilted


def chances_of_success(x: dict[str, Any]) -> list[Any]:
    """p(O=1 | tau) of each trajectory: exp(R / alpha), divided by the largest of the policy where that exceeds 1."""
    raw = [exp(r / x["alpha"]) for r in x["returns"]]
    return [v / max(mpf(1), *(v for v, p in zip(raw, x["policy"], strict=True) if p)) for v in raw]


def printed_objective(x: dict[str, Any]) -> Any:
    return average(x["variational"], x["returns"]) / x["alpha"] - divergence(x["variational"], x["policy"])


def elbo_and_objective(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    rows = zip(x["variational"], x["policy"], chances_of_success(x), strict=True)
    return sum(q * log(c * p / q) for q, p, c in rows if q), printed_objective(x)


def objective_and_likelihood(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return printed_objective(x), log(average(x["policy"], chances_of_success(x)))


def mass(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """State by state: what comes before the first counted factor is a sum over a0 and s1 without any weight."""
    states, actions = range(len(x["initial"])), range(len(x["variational"][0]))
    total = sum(x["initial"][s] * mpf(1) for s in states for _ in actions)
    if x["steps"] > 1:
        law = dict.fromkeys(states, total)
        for t in range(1, x["steps"]):
            pairs = {(s, a): w * x["variational"][s][a] for s, w in law.items() for a in actions}
            total = sum(pairs.values())
            if t + 1 < x["steps"]:
                law = {s: sum(w * x["dynamics"][i][a][s] for (i, a), w in pairs.items()) for s in states}
    return total, 1


def summed_values(x: dict[str, Any], policy: Any = None, reward: Any = None) -> list[list[Any]]:
    """Q by adding up steps until what is left is below any digit shown; `reward` is what a state earns afterwards."""
    policy = x["policy"] if policy is None else policy
    states, actions = range(len(x["rewards"])), range(len(x["rewards"][0]))
    reward = [average(policy[s], x["rewards"][s]) for s in states] if reward is None else reward
    V = [mpf(0) for _ in states]
    for _ in range(300):
        ahead = [[average(x["dynamics"][s][a], V) for a in actions] for s in states]
        V = [reward[s] + x["discount"] * average(policy[s], ahead[s]) for s in states]
    return [[x["rewards"][s][a] + x["discount"] * average(x["dynamics"][s][a], V) for a in actions] for s in states]


def one_step_maxima(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    best = []
    for policy, values in zip(x["policy"], summed_values(x), strict=True):
        q = tilted(policy, values, x["alpha"])
        best.append(average(q, values) - x["alpha"] * divergence(q, policy))
    return best[component[0]], average(x["weights"], best)


def same_state(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    s, a = component
    Q = summed_values(x)
    return Q[s][a], x["rewards"][s][a] + x["discount"] * average(x["policy"][s], Q[s])


DYNAMICS = [[["1/2", "1/2"], ["1/5", "4/5"]], [["1", "0"], ["2/3", "1/3"]]]
SUCCESS = {"policy": ["1/4", "3/4"], "variational": ["1/3", "2/3"], "returns": ["2", "-1"], "alpha": "3/2"}
MODEL: dict[str, Any] = {
    "dynamics": DYNAMICS, "rewards": [["1", "-2"], ["0", "3"]], "discount": "1/3",
    "policy": [["1/4", "3/4"], ["1/2", "1/2"]],
}  # fmt: skip

#: claim, relation, condition, both sides by another road, component, instance
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    ("mpo.eq2", "==", "identity", elbo_and_objective, [], SUCCESS),
    ("mpo.eq2", "<=", "lower bound", objective_and_likelihood, [], SUCCESS),
    (
        "mpo.eq3.product", "==", "mass", mass, [],
        {"initial": ["1/3", "2/3"], "dynamics": DYNAMICS, "variational": [["1/4", "3/4"], ["0", "1"]], "steps": 1},
    ),
    (
        "mpo.eq6.objective", "==", "every state", one_step_maxima, [1],
        {**MODEL, "weights": ["2/5", "3/5"], "alpha": "3/2"},
    ),
    ("mpo.eq6.reason", "==", "same state", same_state, [0, 1], MODEL),
]  # fmt: skip

#: fields that cannot move the values of these certificates
IDLE: dict[str, set[str]] = {}


def walks(states: int, actions: int, steps: int) -> Any:
    """All episodes as tuples of pairs."""
    return itertools.product(itertools.product(range(states), range(actions)), repeat=steps)


def real(value: Any) -> Any:
    """The same in mpf."""
    if isinstance(value, list):
        return [real(v) for v in value]
    return mp.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def fractions(value: Any) -> Any:
    if isinstance(value, list):
        return [fractions(v) for v in value]
    return Fraction(value) if isinstance(value, str) else value


def flat(x: Any) -> list[Any]:
    return [mp.mpf(v.str(60, radius=False)) if v.is_finite() else mp.mpf(float(v))
            for v in Balls(x).data.ravel()]  # fmt: skip


def close(x: Any, y: Any) -> bool:
    return bool(x == y or abs(x - y) <= mp.mpf(10) ** -30 * (1 + abs(x) + abs(y)))


def assert_close(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    assert all(close(*pair) for pair in zip(found, expected, strict=True)), (found, expected)
