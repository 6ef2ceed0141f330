"""Instances that refute Eqs. 10, 20 and 28 of soft Q-learning, and both sides by another road, in mpmath.

Values are summed step by step, expectations run over trajectories, and derivatives are taken numerically.
"""

from __future__ import annotations

import itertools
from typing import Any

from mpmath import exp, log, mpf

from tests.proofs_checks.second_routes import partial, softmax


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


DYNAMICS = [[["1/2", "1/2"], ["1", "0"]], [["1/4", "3/4"], ["0", "1"]]]
#: claim, relation, condition, evaluate, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "soft_q.eq10", "==", "soft value", importance, [],
        {"action_values": ["0", "1", "-3"], "proposal": ["1/3", "0", "2/3"], "alpha": "3/2"},
    ),
    (
        "soft_q.eq20", "<=", "second step", second_step, [1, 0],
        {
            "dynamics": DYNAMICS, "rewards": [["1", "-2"], ["0", "3"]], "discount": "1/3",
            "policy": [["1", "0"], ["1/99", "98/99"]],
        },
    ),
    (
        "soft_q.eq28", "==", "gradient", entropy_gradient, [0, 1],
        {"initial": ["2/3", "1/3"], "dynamics": DYNAMICS, "policy": [["1/4", "3/4"], ["2/5", "3/5"]]},
    ),
]  # fmt: skip

#: fields that cannot move the values of these certificates
IDLE: dict[str, set[str]] = {}
