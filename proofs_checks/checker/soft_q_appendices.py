"""Soft Q-learning, Appendices A and B: the refuted claims about objectives, gradients and what is learnt.

A softmax policy has one logit for each state and action; the logit j of state s moves pi(a | s) at the rate
pi(a | s) (1[a = j] - pi(j | s)).  Where the source leaves the entropy parameter out it is 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from flint import arb, fmpq, fmpq_mat

from .exact_input import Field, Rejected
from .extended_reals import Extended, plus, times
from .quantities import exps, log, log_sum_exp, score_function, shannon, total
from .row import MAX_TRAJECTORIES, MODEL, POSITIVE, IllPosed, Refuted, readings, small_model
from .soft_q import soft_action_values

POSITIVE_DYNAMICS = Field("positive distribution", ("S", "A", "S"))
POSITIVE_POLICY = Field("positive distribution", ("S", "A"))
REALS_S, REALS_SA = Field("real", ("S",)), Field("real", ("S", "A"))


def solve(system: list[list[fmpq]], right: list[fmpq]) -> list[fmpq]:
    """The exact solution of a linear system that has one."""
    matrix = fmpq_mat(len(right), len(right), list(itertools.chain(*system)))
    return [fmpq(entry) for entry in matrix.solve(fmpq_mat(len(right), 1, right)).entries()]


def chain(x: Any, policy: list[list[fmpq]]) -> list[list[fmpq]]:
    """P_pi(s' | s), the sum over a of pi(a | s) P(s' | s, a)."""
    n = range(len(policy))
    return [[sum((p * row[t] for p, row in zip(policy[s], x.dynamics[s], strict=True)), fmpq(0)) for t in n] for s in n]


def stationary(P: list[list[fmpq]]) -> list[fmpq]:
    """The d with d P = d and sum 1: all equations of d (I - P) = 0 but the last, which the others imply, and the sum.

    Transitions are positive, so there is exactly one.
    """
    n = range(len(P))
    system = [[fmpq(int(s == t)) - P[s][t] for s in n] for t in n]
    system[-1] = [fmpq(1)] * len(P)
    return solve(system, [fmpq(0)] * (len(P) - 1) + [fmpq(1)])


def average_ascent(x: Any, _: list[int]) -> tuple[Any, Any]:
    """0, against the sum over all logits of the discounted direction times the derivative of the average reward.

    Both are d(s) pi(j | s) (Q(s, j) - sum over a of pi Q).  The direction has Q = r + discount P V with
    V = r_pi + discount P_pi V; the derivative has Q = r + P h with h = r_pi - average + P_pi h, where h(last) = 0.
    """
    n = range(len(x.rewards))
    P = chain(x, x.policy)
    d = stationary(P)
    earned = [
        sum((p * r for p, r in zip(*rows, strict=True)), fmpq(0)) for rows in zip(x.policy, x.rewards, strict=True)
    ]
    average = sum((w * r for w, r in zip(d, earned, strict=True)), fmpq(0))
    V = solve([[fmpq(int(s == t)) - x.discount * P[s][t] for t in n] for s in n], earned)
    poisson = [[fmpq(int(s == t)) - P[s][t] for t in n] for s in n]
    poisson[-1] = [fmpq(int(t == len(n) - 1)) for t in n]
    h = solve(poisson, [*(r - average for r in earned[:-1]), fmpq(0)])

    def slopes(discount: fmpq, later: list[fmpq]) -> list[fmpq]:
        found = []
        for s, policy in enumerate(x.policy):
            ahead = [sum((p * v for p, v in zip(row, later, strict=True)), fmpq(0)) for row in x.dynamics[s]]
            Q = [r + discount * v for r, v in zip(x.rewards[s], ahead, strict=True)]
            mean = sum((p * q for p, q in zip(policy, Q, strict=True)), fmpq(0))
            found += [d[s] * p * (q - mean) for p, q in zip(policy, Q, strict=True)]
        return found

    pairs = zip(slopes(x.discount, V), slopes(fmpq(1), h), strict=True)
    return arb(0), arb(sum((a * b for a, b in pairs), fmpq(0)))


def rewards_by_solution(x: Any, alpha: fmpq) -> list[list[arb]]:
    """r = V + alpha log pi - discount P V: the rewards under which pi is the policy of Theorem 1 and V its soft values.

    With Q = V + alpha log pi, alpha log of the sum of exp(Q / alpha) is V, so Q = r + discount P V solves Eqs. 4 to 6.
    """
    return [
        [
            v + alpha * log(p) - x.discount * sum((w * u for w, u in zip(row, x.values, strict=True)), fmpq(0))
            for p, row in zip(policy, of_state, strict=True)
        ]
        for v, policy, of_state in zip(x.values, x.policy, x.dynamics, strict=True)
    ]


def challenger_average(x: Any, _: list[int]) -> tuple[Any, Any]:
    """What the challenger earns a step in the long run, reward and alpha times entropy, against 0.

    The sum over t of E V(s_t) grows by this over 1 - discount a step, so it is +inf where this is positive.
    """
    d = stationary(chain(x, x.challenger))
    rewards = rewards_by_solution(x, x.alpha)
    rows = zip(d, x.challenger, rewards, strict=True)
    return total(
        w * (total(p * r for p, r in zip(c, rs, strict=True)) + x.alpha * shannon(c)) for w, c, rs in rows
    ), arb(0)


def negative_for_theorem_1(x: Any, claim: str) -> None:
    """The policy of Theorem 1 must earn less than 0 a step, so that its sum is -inf.

    Of V = E_pi r + alpha H(pi) + discount P_pi V the mean over its stationary d leaves (1 - discount) d V a step.
    """
    small_model(x, claim)
    d = stationary(chain(x, x.policy))
    if sum((w * v for w, v in zip(d, x.values, strict=True)), fmpq(0)) >= 0:
        raise Rejected("values: the policy of Theorem 1 does not earn less than 0 a step in the long run")


def double_sum(x: Any) -> None:
    """E over the states of the sum of r over all later steps, for states that keep themselves and have one action."""
    summed: Extended = fmpq(0)
    for weight, reward in zip(x.weights, x.rewards, strict=True):
        if weight > 0:
            summed = plus(summed, times(weight, math.inf if reward > 0 else -math.inf if reward < 0 else fmpq(0)))


def energy_form(x: Any, component: list[int]) -> tuple[Any, Any]:
    """log pi(a | s), against Q(s, a) - log of the sum of exp Q(s, .), for a policy that is optimal from its start.

    It is that of Theorem 1 wherever it is ever seen, and `other` elsewhere.
    """
    s, a = component
    seen = {t for t, p in enumerate(x.initial) if p > 0}
    while True:
        further = {u for t in seen for row in x.dynamics[t] for u, p in enumerate(row) if p > 0} - seen
        if not further:
            break
        seen |= further
    policy = [x.policy[t] if t in seen else x.other[t] for t in range(len(x.policy))]
    model = SimpleNamespace(
        dynamics=x.dynamics, discount=x.discount, policy=policy, rewards=rewards_by_solution(x, fmpq(1))
    )
    Q = soft_action_values(model)
    return log(policy[s][a]), Q[s][a] - log_sum_exp(Q[s])


def trajectories(x: Any) -> Iterator[tuple[tuple[tuple[int, int], ...], fmpq]]:
    """Yield (s, a) of every step, and the probability of that."""
    for walk in itertools.product(itertools.product(range(len(x.policy)), range(len(x.policy[0]))), repeat=x.horizon):
        chance = fmpq(1)
        for t, (s, a) in enumerate(walk):
            chance *= (x.initial[s] if t == 0 else x.dynamics[walk[t - 1][0]][walk[t - 1][1]][s]) * x.policy[s][a]
        if chance > 0:
            yield walk, chance


def few_trajectories(x: Any, _: str) -> None:
    """Bound the enumeration."""
    if (len(x.policy) * len(x.policy[0])) ** x.horizon > MAX_TRAJECTORIES:
        raise Rejected(f"horizon: more than {MAX_TRAJECTORIES} trajectories")


def energy_gradient(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The derivative of E[sum of r + H(s_t)] in a logit, and the mean of the sum of scores times (Q - energy).

    For the first every trajectory counts with the sum of all its scores, and H moves at the rate -sum of
    d pi (log pi + 1).  Eq. 27 is that derivative.  For the second Q(s_t, a_t) is what the trajectory still earns,
    without entropies.
    """
    s, j = component
    H = [shannon(policy) for policy in x.policy]
    H_slope = -total(p * score_function(x.policy[s], a, j) * (log(p) + 1) for a, p in enumerate(x.policy[s]))
    left = right = arb(0)
    for walk, chance in trajectories(x):
        scores = [score_function(x.policy[s], a, j) if t == s else fmpq(0) for t, a in walk]
        earned = [x.rewards[t][a] for t, a in walk]
        left += chance * sum(scores, fmpq(0)) * (sum(earned, fmpq(0)) + total(H[t] for t, _ in walk))
        left += chance * sum(t == s for t, _ in walk) * H_slope
        for step, (t, a) in enumerate(walk):
            energy = log(x.policy[t][a]) + x.log_partition[t]
            right += chance * scores[step] * (sum(earned[step:], fmpq(0)) - energy)
    return left, right


def bellman_gradient(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The derivative of E (A + V - Q)^2 / 2 in the entry Q(s, j), V = log of the sum of exp Q, and the printed one.

    V(s) moves with Q(s, j) at the rate exp(Q(s, j) - V(s)), and Q(s, a) at the rate 1[a = j].
    """
    s, j = component
    Q = [arb(q) for q in x.action_values[s]]
    V = log_sum_exp(Q)
    rate = exps([Q[j] - V])[0]
    left = right = arb(0)
    for a, weight in enumerate(x.action_weights):
        error = x.advantages[s][a] + V - Q[a]
        own = int(a == j)
        left += x.state_weights[s] * weight * error * (rate - own)
        right += x.state_weights[s] * weight * (own - rate) * error
    return left, right


def shifts(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The distance from the soft action values of the target at Q = V + log pi + shift, and that at the first pair.

    The soft values of Q are V + shift and the soft advantage is log pi, so that the target is Q itself: converged.
    """

    def distance(s: int, a: int) -> arb:
        best = [x.values[s] + log(p) for p in x.policy[s]]
        target = (best[a] - log_sum_exp(best)) + log_sum_exp([q + x.shifts[s] for q in best])
        return arb(target - best[a])

    return distance(*component), distance(0, 0)


SOLUTION = {
    "dynamics": Field("distribution", ("S", "A", "S")),
    "values": REALS_S,
    "policy": POSITIVE_POLICY,
    "discount": Field("discount"),
}
START = Field("distribution", ("S",))

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("soft_q.appa.average", "ascent"): Refuted(
        "<=", readings({**MODEL, "dynamics": POSITIVE_DYNAMICS, "policy": POSITIVE_POLICY}), average_ascent,
        "no ascent: 0", "the slope of the average reward along the direction", domain=small_model,
    ),
    ("soft_q.appa.objective", "no challenger is better"): Refuted(
        "<=", readings({
            **SOLUTION, "dynamics": POSITIVE_DYNAMICS, "alpha": POSITIVE,
            "challenger": Field("distribution", ("S", "A")),
        }),
        challenger_average, "what the challenger earns a step, where the policy of Theorem 1 loses", "",
        domain=negative_for_theorem_1,
    ),
    ("soft_q.notes.single_sum", "defined"): IllPosed(
        {"literal": {"weights": Field("distribution", ("S",)), "rewards": REALS_S}}, double_sum
    ),
    ("soft_q.appa1.form", "energy-based form"): Refuted(
        "==", readings({**SOLUTION, "initial": START, "other": POSITIVE_POLICY}), energy_form,
        "the logarithm of a policy that is optimal from its start", "that of the energy-based form",
        component=("S", "A"), domain=small_model,
    ),
    ("soft_q.eq29", "gradient"): Refuted(
        "==", readings({
            "initial": START, "dynamics": Field("distribution", ("S", "A", "S")), "rewards": REALS_SA,
            "policy": POSITIVE_POLICY, "log_partition": REALS_S, "horizon": Field("count", least=1, most=12),
        }),
        energy_gradient, "the gradient of return and entropies", "the printed expectation",
        component=("S", "A"), domain=few_trajectories,
    ),
    ("soft_q.eq32", "gradient"): Refuted(
        "==", readings({
            "action_values": REALS_SA, "advantages": REALS_SA, "state_weights": START,
            "action_weights": Field("distribution", ("A",)),
        }),
        bellman_gradient, "the gradient of the Bellman error", "the printed expectation", component=("S", "A"),
    ),
    ("soft_q.appb.constant", "one constant"): Refuted(
        "==", readings({**SOLUTION, "shifts": REALS_S}), shifts,
        "the shift of a converged Q", "that at the first pair", component=("S", "A"), domain=small_model,
    ),
}  # fmt: skip
