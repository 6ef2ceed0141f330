"""Soft Q-learning, Sections 1 to 3: the refuted claims of the paper's body that are about policies and their objective.

Models of two steps: a first action a, a state s with probability P(s | a), a second action b; nothing is earned later.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from flint import arb, fmpq, fmpq_mat

from .exact_input import Field, Rejected
from .quantities import log, log_sum_exp, shannon, total
from .row import MAX_TRAJECTORIES, MODEL, POSITIVE, PROBABILITIES, REAL, IllPosed, Refuted, readings

# ------------------------------------------------------------------------------------------ the conventional objective


def exact_values(x: Any, policy: list[list[Any]]) -> list[fmpq]:
    """The discounted values of a policy, V = r_pi + discount P_pi V, solved in rationals."""
    states, actions = range(len(x.rewards)), range(len(x.rewards[0]))
    system, right = [], []
    for s in states:
        right.append([sum((policy[s][a] * x.rewards[s][a] for a in actions), fmpq(0))])
        chances = [sum((policy[s][a] * x.dynamics[s][a][t] for a in actions), fmpq(0)) for t in states]
        system.append([(1 if s == t else 0) - x.discount * chances[t] for t in states])
    return list(fmpq_mat(system).solve(fmpq_mat(right)).entries())


def soft_q_intro(x: Any, _: list[int]) -> tuple[Any, Any]:
    """How far the policy falls short of the best deterministic one, in the state where it does most."""
    S, A = len(x.rewards), len(x.rewards[0])
    best = [
        exact_values(x, [[fmpq(int(a == chosen[s])) for a in range(A)] for s in range(S)])
        for chosen in itertools.product(range(A), repeat=S)
    ]
    own = exact_values(x, x.policy)
    return max(max(values[s] for values in best) - own[s] for s in range(S)), arb(0)


def soft_q_intro_domain(x: Any, _: str) -> None:
    """The policy must leave something to chance, and the deterministic ones must be few."""
    if len(x.rewards[0]) ** len(x.rewards) > MAX_TRAJECTORIES:
        raise Rejected(f"rewards: more than {MAX_TRAJECTORIES} deterministic policies")
    if all(p in (0, 1) for row in x.policy for p in row):
        raise Rejected("policy: deterministic, so that the claim says nothing of it")


# -------------------------------------------------------------------------------------------------- models of two steps


def paths(x: Any) -> Iterator[tuple[int, int, int, fmpq]]:
    """Every a, s, b with P(s | a)."""
    for a, chances in enumerate(x.transitions):
        for s, chance in enumerate(chances):
            for b in range(len(x.second_rewards[s])):
                yield a, s, b, chance


def soft_policy(x: Any, discount: fmpq, bonus: list[Any] | None = None) -> tuple[list[Any], list[list[Any]]]:
    """The logs of the policy of Eq. 6, exp((Q - V) / alpha), backwards from the second step by Eqs. 5 and 7.

    `bonus` over alpha is added to the rewards of the first actions.
    """
    second = [[arb(r / x.alpha) for r in row] for row in x.second_rewards]
    V = [log_sum_exp(row) for row in second]  # over alpha, as all that follows
    ahead = [total(p * v for p, v in zip(row, V, strict=True)) for row in x.transitions]
    more = bonus or [arb(0)] * len(ahead)
    first = [r / x.alpha + extra + discount * v for r, extra, v in zip(x.first_rewards, more, ahead, strict=True)]
    top = log_sum_exp(first)
    return [q - top for q in first], [[q - v for q in row] for row, v in zip(second, V, strict=True)]


def worth(x: Any, policy: tuple[list[Any], list[list[Any]]], count_dynamics: bool) -> arb:
    """The expectation of rewards - alpha log pi(a) - alpha log pi(b | s), and of - alpha log P(s | a) where it counts.

    The mean of - log pi over the actions of a state is the entropy there, which is what Eq. 2 adds; with the dynamics
    the three logarithms add up to that of the whole trajectory.
    """
    value = arb(0)
    for a, s, b, chance in paths(x):
        first, second = policy[0][a], policy[1][s][b]
        if chance > 0:
            surprise = first + second + (log(chance) if count_dynamics else 0)
            earned = x.first_rewards[a] + x.second_rewards[s][b]
            value += first.exp() * second.exp() * chance * (earned - x.alpha * surprise)
    return value


def soft_q_trajectory(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Return plus alpha times the entropy of trajectories, for a challenger and for the solution of Eq. 2.

    The challenger counts the entropy of what an action leads to as a reward of that action.
    """
    challenger = soft_policy(x, fmpq(1), [shannon(row) for row in x.transitions])
    return worth(x, challenger, True), worth(x, soft_policy(x, fmpq(1)), True)


def soft_q_thm1(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Eq. 2, which has no discount, for a challenger that has none and for the policy of Theorem 1, which discounts."""
    return worth(x, soft_policy(x, fmpq(1)), False), worth(x, soft_policy(x, x.discount), False)


def two_step_domain(x: Any, _: str) -> None:
    """Bound the trajectories."""
    if len(x.first_rewards) ** 2 * len(x.second_rewards) > MAX_TRAJECTORIES:
        raise Rejected(f"transitions: more than {MAX_TRAJECTORIES} trajectories")


# ------------------------------------------------------------------------------------------------ energies and errors


def soft_q_eq3(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The least probability; exp(-E) / sum of exp(-E) is above 0 for every action, whatever the energies E."""
    return arb(min(x.policy)), arb(0)


def soft_q_eq11(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The least squares fit theta phi to the soft backup of thetabar phi, and that backup, at one pair.

    The derivative of the mean of (y - theta phi)^2 is 0 at theta = E[phi y] / E[phi^2].
    """
    S, A = len(x.rewards), len(x.rewards[0])
    V = [x.alpha * log_sum_exp([arb(x.parameter * phi / x.alpha) for phi in row]) for row in x.features]
    backup = [
        [
            x.rewards[s][a] + x.discount * total(p * v for p, v in zip(x.dynamics[s][a], V, strict=True))
            for a in range(A)
        ]
        for s in range(S)
    ]
    product, square = arb(0), fmpq(0)
    for s in range(S):
        for a in range(A):
            weight = x.state_weights[s] * x.action_weights[a]
            product += weight * x.features[s][a] * backup[s][a]
            square += weight * x.features[s][a] * x.features[s][a]
    s, a = component
    return product / square * x.features[s][a], backup[s][a]


def soft_q_eq11_domain(x: Any, _: str) -> None:
    """A feature that is 0 everywhere leaves nothing to fit."""
    if all(phi == 0 for row in x.features for phi in row):
        raise Rejected("features: all are 0, so that every parameter is a minimiser")


TWO_STEPS = {
    "transitions": Field("distribution", ("A", "S")),
    "first_rewards": Field("real", ("A",)),
    "second_rewards": Field("real", ("S", "A")),
    "alpha": POSITIVE,
}

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("soft_q.intro.deterministic", "deterministic"): Refuted(
        ">", readings(MODEL), soft_q_intro,
        "what the policy lacks to the best deterministic one", "", domain=soft_q_intro_domain,
    ),
    ("soft_q.sec2.trajectory", "no policy has more"): Refuted(
        "<=", readings(TWO_STEPS), soft_q_trajectory,
        "the return and trajectory entropy of the challenger", "those of the solution of Eq. 2", domain=two_step_domain,
    ),
    ("soft_q.eq3.any", "represented"): Refuted(
        ">", readings({"policy": PROBABILITIES}), soft_q_eq3, "the least probability", "",
    ),
    ("soft_q.thm1", "no policy has more"): Refuted(
        "<=", readings(TWO_STEPS | {"discount": Field("discount")}), soft_q_thm1,
        "Eq. 2 for the challenger", "Eq. 2 for the policy of Theorem 1", domain=two_step_domain,
    ),
    ("soft_q.eq11", "backup"): Refuted(
        "==", readings({
            **{name: kind for name, kind in MODEL.items() if name != "policy"},
            "features": Field("real", ("S", "A")), "parameter": REAL, "alpha": POSITIVE,
            "state_weights": Field("positive distribution", ("S",)),
            "action_weights": Field("positive distribution", ("A",)),
        }),
        soft_q_eq11, "the minimiser", "the soft backup", component=("S", "A"), domain=soft_q_eq11_domain,
    ),
}  # fmt: skip
