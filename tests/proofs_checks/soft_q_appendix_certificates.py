"""Instances that refute claims of Appendices A and B of soft Q-learning, and both sides by another road, in mpmath.

Derivatives are taken numerically, long runs by squaring the chain until nothing moves, and values by summing steps.
"""

from __future__ import annotations

from typing import Any

from mpmath import diff, exp, log, matrix, mp, mpf

Table = list[list[Any]]


def dot(p: Any, values: Any) -> Any:
    return sum((x * v for x, v in zip(p, values, strict=True)), mpf(0))


def entropy(p: Any) -> Any:
    return -sum(x * log(x) for x in p if x)


def log_sum_exp(values: Any) -> Any:
    return log(sum(exp(v - max(values)) for v in values)) + max(values)


def softmax(logits: Any) -> list[Any]:
    return [exp(v - log_sum_exp(logits)) for v in logits]


def chain(x: dict[str, Any], policy: Table) -> Any:
    return matrix([[dot(p, [row[t] for row in rows]) for t in range(len(policy))]
                   for p, rows in zip(policy, x["dynamics"], strict=True)])  # fmt: skip


def long_run(x: dict[str, Any], policy: Table) -> list[Any]:
    """Where the chain is after 2^12 steps."""
    P = chain(x, policy)
    for _ in range(12):
        P = P * P
    return [P[0, s] for s in range(P.cols)]


def summed(x: dict[str, Any], policy: Table, per_state: list[Any]) -> list[Any]:
    """The discounted sum of what each state earns, until what is left is below any digit shown."""
    P, earned = chain(x, policy), matrix(per_state)
    total, factor = earned.copy(), mpf(1)
    for _ in range(1 if x["discount"] == 0 else int(100 * mp.log(10) / -log(x["discount"])) + 1):
        earned, factor = P * earned, factor * x["discount"]
        total += factor * earned
    return list(total)


def action_values(x: dict[str, Any], rewards: Table, values: list[Any]) -> Table:
    return [[r + x["discount"] * dot(row, values) for r, row in zip(rs, rows, strict=True)]
            for rs, rows in zip(rewards, x["dynamics"], strict=True)]  # fmt: skip


def in_logits(policy: Table, function: Any) -> Table:
    """The derivatives of a function of the policy in every logit."""
    logits = [[log(p) for p in row] for row in policy]

    def moved(s: int, a: int, t: Any) -> Table:
        return [softmax([v if (i, j) != (s, a) else t for j, v in enumerate(row)]) for i, row in enumerate(logits)]

    return [[diff(lambda t, s=s, a=a: function(moved(s, a, t)), v) for a, v in enumerate(row)]
            for s, row in enumerate(logits)]  # fmt: skip


def average_ascent(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The sum of d(s) d pi(a | s) Q(s, a), term by term, times the numerical derivative of the average."""
    policy, rewards = x["policy"], x["rewards"]

    def average(moving: Table) -> Any:
        return dot(long_run(x, moving), [dot(p, r) for p, r in zip(moving, rewards, strict=True)])

    d = long_run(x, policy)
    Q = action_values(x, rewards, summed(x, policy, [dot(p, r) for p, r in zip(policy, rewards, strict=True)]))
    direction = in_logits(policy, lambda moving: sum(w * dot(p, q) for w, p, q in zip(d, moving, Q, strict=True)))
    slopes = in_logits(policy, average)
    return mpf(0), sum(dot(a, b) for a, b in zip(direction, slopes, strict=True))


def rewards_of(x: dict[str, Any], alpha: Any) -> Table:
    ahead = [[x["discount"] * dot(row, x["values"]) for row in rows] for rows in x["dynamics"]]
    return [[v + alpha * log(p) - b for p, b in zip(ps, bs, strict=True)]
            for v, ps, bs in zip(x["values"], x["policy"], ahead, strict=True)]  # fmt: skip


def challenger_average(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """The part of the soft value that a step discounts away, in the long run."""
    rewards = rewards_of(x, x["alpha"])
    per_state = [dot(c, r) + x["alpha"] * entropy(c) for c, r in zip(x["challenger"], rewards, strict=True)]
    values = summed(x, x["challenger"], per_state)
    return (1 - x["discount"]) * dot(long_run(x, x["challenger"]), values), mpf(0)


def energy_form(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """In these models the first state keeps itself, and the others are never seen."""
    policy = [x["policy"][0], *x["other"][1:]]
    rewards = rewards_of(x, mpf(1))
    values = summed(x, policy, [dot(p, r) + entropy(p) for p, r in zip(policy, rewards, strict=True)])
    s, a = component
    return log(policy[s][a]), log(softmax(action_values(x, rewards, values)[s])[a])


def energy_gradient(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The numerical derivative of return and entropies, and of the printed integrand, all but the score held fixed."""
    s, j = component
    policy, rewards = x["policy"], x["rewards"]

    def marginals(moving: Table) -> list[Any]:
        P, row, found = chain(x, moving), matrix([x["initial"]]), []
        for _ in range(x["horizon"]):
            found.append(list(row))
            row = row * P
        return found

    def objective(moving: Table) -> Any:
        worth = [dot(p, r) + entropy(p) for p, r in zip(moving, rewards, strict=True)]
        return sum(dot(row, worth) for row in marginals(moving))

    weighed = [[mpf(0)] * len(policy[0]) for _ in policy]
    values = [mpf(0)] * len(policy)
    for marginal in reversed(marginals(policy)):
        Q = action_values({**x, "discount": mpf(1)}, rewards, values)
        values = [dot(p, q) for p, q in zip(policy, Q, strict=True)]
        for i, w in enumerate(marginal):
            energies = [log(p) + x["log_partition"][i] for p in policy[i]]
            weighed[i] = [u + w * (q - e) for u, q, e in zip(weighed[i], Q[i], energies, strict=True)]
    right = in_logits(policy, lambda moving: sum(dot(p, w) for p, w in zip(moving, weighed, strict=True)))
    return in_logits(policy, objective)[s][j], right[s][j]


def bellman_gradient(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The numerical derivative of the loss, and of Q - V with the error held fixed."""
    s, j = component
    Q, weights = x["action_values"][s], [x["state_weights"][s] * w for w in x["action_weights"]]

    def moved(t: Any) -> list[Any]:
        return [q if a != j else t for a, q in enumerate(Q)]

    def errors(values: list[Any]) -> list[Any]:
        return [b + log_sum_exp(values) - q for b, q in zip(x["advantages"][s], values, strict=True)]

    fixed = [w * e for w, e in zip(weights, errors(Q), strict=True)]
    left = diff(lambda t: dot(weights, [e**2 / 2 for e in errors(moved(t))]), Q[j])
    return left, diff(lambda t: dot(fixed, [q - log_sum_exp(moved(t)) for q in moved(t)]), Q[j])


def shifts(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The soft action values by soft value iteration; the values that are learnt, by their own soft advantage."""
    rewards = rewards_of(x, mpf(1))
    Q = rewards
    for _ in range(400):
        Q = action_values(x, rewards, [log_sum_exp(q) for q in Q])
    found = [[v + c for v in q] for q, c in zip(Q, x["shifts"], strict=True)]
    (s, a), value = component, [log_sum_exp(q) for q in found]
    target = Q[s][a] - log_sum_exp(Q[s]) + value[s]
    return target - Q[s][a], found[0][0] - Q[0][0]


DYNAMICS = [[["3/4", "1/4"], ["1/4", "3/4"]], [["1/2", "1/2"], ["1/3", "2/3"]]]
KEPT = [[["1", "0"], ["1", "0"]], [["1/2", "1/2"], ["0", "1"]]]
SOLUTION = {"values": ["1", "-2"], "policy": [["1/3", "2/3"], ["1/2", "1/2"]], "discount": "1/3"}
#: claim, relation, condition, evaluate, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "soft_q.appa.average", "<=", "ascent", average_ascent, [],
        {
            "dynamics": DYNAMICS, "rewards": [["1", "0"], ["10", "9"]], "discount": "1/5",
            "policy": [["1/2", "1/2"], ["2/3", "1/3"]],
        },
    ),
    (
        "soft_q.appa.objective", "<=", "no challenger is better", challenger_average, [],
        {
            "dynamics": DYNAMICS, "values": ["-6", "4"], "policy": [["1/2", "1/2"], ["2/3", "1/3"]],
            "discount": "1/5", "alpha": "1/2", "challenger": [["0", "1"], ["1/4", "3/4"]],
        },
    ),
    (
        "soft_q.appa1.form", "==", "energy-based form", energy_form, [1, 0],
        {**SOLUTION, "dynamics": KEPT, "initial": ["1", "0"], "other": [["1/2", "1/2"], ["1/5", "4/5"]]},
    ),
    (
        "soft_q.eq29", "==", "gradient", energy_gradient, [0, 1],
        {
            "initial": ["2/3", "1/3"], "dynamics": DYNAMICS, "rewards": [["1", "-1/2"], ["0", "3"]],
            "policy": [["1/3", "2/3"], ["1/4", "3/4"]], "log_partition": ["1/2", "-1"], "horizon": 3,
        },
    ),
    (
        "soft_q.eq32", "==", "gradient", bellman_gradient, [0, 1],
        {
            "action_values": [["0", "1", "-2"]], "advantages": [["-1", "1/2", "3"]], "state_weights": ["1"],
            "action_weights": ["1/4", "1/2", "1/4"],
        },
    ),
    (
        "soft_q.appb.constant", "==", "one constant", shifts, [1, 0],
        {
            "dynamics": [[["3/4", "1/4"]], [["1/3", "2/3"]]], "values": ["1", "-2"], "policy": [["1"], ["1"]],
            "discount": "1/3", "shifts": ["1/2", "-1/3"],
        },
    ),
]  # fmt: skip

#: claim, the first undefined operation, instance; all of the literal reading
ILL_POSED: list[tuple[str, str, dict[str, Any]]] = [
    ("soft_q.notes.single_sum", "inf - inf", {"weights": ["1/3", "0", "2/3"], "rewards": ["2", "0", "-1/2"]}),
]

#: fields that cannot move the values of these certificates
IDLE = {
    "soft_q.notes.single_sum": {"rewards"},  # their signs alone
    "soft_q.appa1.form": {"initial", "values"},  # only whether a state is ever seen; the values cancel
    "soft_q.eq29": {"log_partition"},  # it has mean 0 against the score
    "soft_q.appb.constant": {"dynamics", "values", "policy", "discount"},
}
