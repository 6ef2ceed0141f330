"""Instances that refute claims of Sections 1 to 3 of soft Q-learning, and both sides by another road, in mpmath.

Values are summed step by step, minimisers searched, and trajectories listed with their probabilities.
"""

from __future__ import annotations

import itertools
from typing import Any

from mpmath import diff, exp, findroot, log, mp, mpf


def log_sum_exp(values: Any, alpha: Any) -> Any:
    top = max(values)
    return top + alpha * log(sum(exp((v - top) / alpha) for v in values))


def boltzmann(values: Any, alpha: Any) -> list[Any]:
    return [exp((v - log_sum_exp(values, alpha)) / alpha) for v in values]


def discounted(x: dict[str, Any], policy: Any) -> list[Any]:
    """The values of a policy, summed until what is left is below any digit shown."""
    values = [mpf(0)] * len(policy)
    for _ in range(2 if x["discount"] == 0 else int(90 * mp.log(10) / -log(x["discount"])) + 2):
        values = [
            sum(
                p * (r + x["discount"] * sum(c * v for c, v in zip(row, values, strict=True)))
                for p, r, row in zip(*of_state, strict=True)
            )
            for of_state in zip(policy, x["rewards"], x["dynamics"], strict=True)
        ]
    return values


def shortfall(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """What is lost to the best policy, which is searched: here nothing, because rewards are equal."""
    states, actions = len(x["policy"]), len(x["policy"][0])
    own = discounted(x, x["policy"])
    every = [
        discounted(x, [[mpf(a == b) for b in range(actions)] for a in chosen])
        for chosen in itertools.product(range(actions), repeat=states)
    ]
    lost = max(max(values[s] for values in every) - own[s] for s in range(states))
    return (mpf(0) if abs(lost) < mpf(10) ** -60 else lost), 0


def listed(x: dict[str, Any], first: Any, second: Any) -> list[tuple[Any, Any, Any]]:
    """Probability, probability of the actions alone, and return of every trajectory."""
    return [
        (
            first[a] * chance * second[s][b],
            first[a] * second[s][b],
            x["first_rewards"][a] + x["second_rewards"][s][b],
        )
        for a, chances in enumerate(x["transitions"])
        for s, chance in enumerate(chances)
        for b in range(len(x["first_rewards"]))
    ]


def solution(x: dict[str, Any], discount: Any) -> tuple[Any, Any]:
    alpha = x["alpha"]
    later = [log_sum_exp(row, alpha) for row in x["second_rewards"]]
    ahead = [sum(c * v for c, v in zip(row, later, strict=True)) for row in x["transitions"]]
    first = boltzmann([r + discount * v for r, v in zip(x["first_rewards"], ahead, strict=True)], alpha)
    return first, [boltzmann(row, alpha) for row in x["second_rewards"]]


def greatest(judged: Any, second: Any) -> Any:
    """The largest value over the first of two actions' chances, at a root of the numerical derivative.

    How the second actions are chosen does not bear on it, nor on what is lost by it.
    """
    slope = lambda t: diff(lambda u: judged(([u, 1 - u], second)), t)
    share = findroot(slope, (mpf("0.01"), mpf("0.99")), solver="anderson")
    return judged(([share, 1 - share], second))


def trajectories(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    def judged(policy: Any) -> Any:
        return sum(p * (r - x["alpha"] * log(p)) for p, _, r in listed(x, *policy) if p)

    own = solution(x, 1)
    return greatest(judged, own[1]), judged(own)


def without_a_discount(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The mean surprise of the actions, step by step, is the sum of the entropies."""

    def judged(policy: Any) -> Any:
        return sum(p * (r - x["alpha"] * log(actions)) for p, actions, r in listed(x, *policy) if p)

    own = solution(x, x["discount"])
    return greatest(judged, own[1]), judged(own)


def least(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return min(x["policy"]), 0


def fitted(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The minimiser of the squared error as a root of its numerical derivative."""
    values = [log_sum_exp([x["parameter"] * f for f in row], x["alpha"]) for row in x["features"]]
    entries = [
        (
            x["state_weights"][s] * x["action_weights"][a],
            x["features"][s][a],
            r + x["discount"] * sum(c * v for c, v in zip(x["dynamics"][s][a], values, strict=True)),
        )
        for s, row in enumerate(x["rewards"])
        for a, r in enumerate(row)
    ]

    def error(theta: Any) -> Any:
        return sum(w * (y - theta * f) ** 2 for w, f, y in entries) / 2

    theta = findroot(lambda t: diff(error, t), (mpf(-1), mpf(2)))
    s, a = component
    _, feature, backup = entries[s * len(x["rewards"][0]) + a]
    return theta * feature, backup


MODEL = {"dynamics": [[["1/2", "1/2"], ["1", "0"]], [["0", "1"], ["1/3", "2/3"]]], "discount": "1/4"}
FORKED = {
    "transitions": [["1/2", "1/2"], ["1", "0"]],
    "first_rewards": ["0", "1/3"],
    "second_rewards": [["0", "1"], ["2", "0"]],
    "alpha": "3/2",
}
#: claim, relation, condition, evaluate, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "soft_q.intro.deterministic", ">", "deterministic", shortfall, [],
        {**MODEL, "rewards": [["2", "2"], ["2", "2"]], "policy": [["1/3", "2/3"], ["0", "1"]]},
    ),
    ("soft_q.sec2.trajectory", "<=", "no policy has more", trajectories, [], FORKED),
    ("soft_q.eq3.any", ">", "represented", least, [], {"policy": ["1/2", "0", "1/2"]}),
    ("soft_q.thm1", "<=", "no policy has more", without_a_discount, [], {**FORKED, "discount": "1/5"}),
    (
        "soft_q.eq11", "==", "backup", fitted, [1, 0],
        {
            **MODEL, "rewards": [["0", "1"], ["-1", "1/2"]], "features": [["1", "2"], ["1/2", "-1"]],
            "parameter": "3/2", "alpha": "2", "state_weights": ["1/4", "3/4"], "action_weights": ["2/3", "1/3"],
        },
    ),
]  # fmt: skip

#: fields that cannot move the values of these certificates: where rewards are equal, nothing is lost at any discount
IDLE = {"soft_q.intro.deterministic": {"discount"}}
