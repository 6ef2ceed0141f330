"""Soft Q-learning, the paper Reinforcement Learning with Deep Energy-Based Policies: its refuted claims.

A policy pi on a model with dynamics P(s' | s, a), rewards r and a discount; sums for integrals.
"""

from __future__ import annotations

from typing import Any

from flint import arb, arb_mat, fmpq

from .comparison import Uncertain
from .exact_input import Field
from .quantities import exps, log, log_sum_exp, score_function, shannon, total
from .row import MODEL, POSITIVE, PROBABILITIES, REALS_N, IllPosed, Refuted, readings, small_model


def soft_action_values(x: Any) -> list[list[arb]]:
    """Eq. 15, with the entropy parameter 1: Q(s, a) = r + discount sum of P V, where V = H(pi) + sum of pi Q.

    So V - discount P_pi V = r_pi + H(pi), a linear system that is solved in balls.
    """
    S, A = len(x.rewards), len(x.rewards[0])
    system, right = [], []
    for s in range(S):
        right.append(total(x.policy[s][a] * x.rewards[s][a] for a in range(A)) + shannon(x.policy[s]))
        for t in range(S):
            chance = sum((x.policy[s][a] * x.dynamics[s][a][t] for a in range(A)), fmpq(0))
            system.append(arb((1 if s == t else 0) - x.discount * chance))
    try:
        V = arb_mat(S, S, system).solve(arb_mat(S, 1, right)).entries()
    except ZeroDivisionError:
        raise Uncertain from None
    ahead = [[total(p * v for p, v in zip(row, V, strict=True)) for row in of_state] for of_state in x.dynamics]
    return [[x.rewards[s][a] + x.discount * ahead[s][a] for a in range(A)] for s in range(S)]


def soft_q_eq10(x: Any, _: list[int]) -> tuple[Any, Any]:
    """alpha log of the sum of exp(Q / alpha), against the same sum over the actions that the proposal takes.

    E_q [exp(Q / alpha) / q] is the sum of q exp(Q / alpha) / q over the actions with q > 0.
    """
    every = [arb(Q / x.alpha) for Q in x.action_values]
    taken = [score for score, q in zip(every, x.proposal, strict=True) if q > 0]
    return x.alpha * log_sum_exp(every), x.alpha * log_sum_exp(taken)


def soft_q_eq20(x: Any, component: list[int]) -> tuple[Any, Any]:
    """discount^2 E_{s2} of H(pi) + E_pi Q, against that of H(pi) + E_q Q with q proportional to exp Q.

    s2 is reached from (s, a) by way of s1 and an action of q.
    """
    s, a = component
    Q = soft_action_values(x)
    q = [exps([value - log_sum_exp(row) for value in row]) for row in Q]

    def value(law: list[Any], s2: int) -> arb:
        return shannon(x.policy[s2]) + total(p * v for p, v in zip(law, Q[s2], strict=True))

    left = right = arb(0)
    for s1, first in enumerate(x.dynamics[s][a]):
        for a1, chance in enumerate(q[s1]):
            for s2, second in enumerate(x.dynamics[s1][a1]):
                weight = x.discount * x.discount * first * second * chance
                left += weight * value(x.policy[s2], s2)
                right += weight * value(q[s2], s2)
    return left, right


def soft_q_eq28(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The derivative of E H(pi(. | s2)) in one logit of a softmax policy, against the printed expectation.

    E H = sum over s1, a1, s2 of start pi(a1 | s1) P(s2 | s1, a1) H(s2).  The logit j of state s changes pi(a | s) at
    the rate pi(a | s) (1[a = j] - pi(j | s)), and H(s) = -sum of pi log pi at the rate -sum of d pi (log pi + 1).
    """
    s, j = component
    slope = [p * score_function(x.policy[s], a, j) for a, p in enumerate(x.policy[s])]
    left = right = arb(0)
    for s1, start in enumerate(x.initial):
        for a1, following in enumerate(x.dynamics[s1]):
            for s2, chance in enumerate(following):
                if s1 == s:
                    left += start * slope[a1] * chance * shannon(x.policy[s2])
                if s2 == s:
                    weight = start * x.policy[s1][a1] * chance
                    left -= weight * total(d * (log(p) + 1) for d, p in zip(slope, x.policy[s], strict=True))
                    for a, p in enumerate(x.policy[s]):
                        right -= weight * p * score_function(x.policy[s], a, j) * (1 + log(p))
    return left, right


SECOND_STEP = {
    "initial": Field("distribution", ("S",)),
    "dynamics": Field("distribution", ("S", "A", "S")),
    "policy": Field("positive distribution", ("S", "A")),
}

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("soft_q.eq10", "soft value"): Refuted(
        "==", readings({"action_values": REALS_N, "proposal": PROBABILITIES, "alpha": POSITIVE}),
        soft_q_eq10, "the soft value", "its expectation under the proposal",
    ),
    ("soft_q.eq20", "second step"): Refuted(
        "<=", readings(MODEL), soft_q_eq20,
        "the second step under the policy", "the second step as printed", component=("S", "A"), domain=small_model,
    ),
    ("soft_q.eq28", "gradient"): Refuted(
        "==", readings(SECOND_STEP), soft_q_eq28,
        "the gradient of the expected entropy", "the printed expectation", component=("S", "A"), domain=small_model,
    ),
}  # fmt: skip
