"""Maximum a posteriori policy optimisation: Proposition 3 of App. A.2 and the steps of its proof.

What happens to first order in the step beta is read off power series in beta of length 2, through which every quantity
is carried: pi at the moved parameter, V^pi, Q^pi, q proportional to pi e^{Q^pi / alpha}, and the value of q.

The model has two states and two actions.  In state 1 the first action stays, the second leads to state 2 for good; so
with p and u the probabilities of the first action in the two states

    V(2) = w(2) / (1 - discount)  and  V(1) = (w(1) + discount (1 - p) V(2)) / (1 - discount p)

for what is earned in a state, w: the mean reward, less alpha KL(q || pi) where that counts.
"""

from __future__ import annotations

from typing import Any

from flint import arb, arb_mat, arb_series, fmpq

from .comparison import Uncertain
from .exact_input import Field, Rejected
from .quantities import divergence, log, log_sum_exp, logs, total
from .row import POSITIVE, REALS_2, Refuted, readings, small_model

Pair = tuple[Any, Any]
HALF = fmpq(1, 2)


def series(value: Any, slope: Any = 0) -> arb_series:
    """value + slope beta."""
    return arb_series([arb(value), arb(slope)], prec=2)


def moved(p: Any, slope: Any) -> Pair:
    """Two probabilities, p and 1 - p, whose logits come to differ by slope beta more than before.

    The first becomes p / (p + (1 - p) e^(-slope beta)), which moves by slope p (1 - p) to first order.
    """
    first = series(p, slope * p * (1 - p))
    return first, 1 - first


def tilted(policy: Pair, values: Pair, alpha: fmpq) -> Pair:
    """Eq. 19 for two actions: the log odds of q are those of the policy and (Q(1) - Q(2)) / alpha more."""
    odds = (policy[0].log() - policy[1].log()) + (values[0] - values[1]) / arb(alpha)
    first = 1 / (1 + (-odds).exp())
    return first, 1 / (1 + odds.exp())


def spread(q: Pair, policy: Pair) -> Any:
    """KL(q || pi)."""
    return q[0] * (q[0].log() - policy[0].log()) + q[1] * (q[1].log() - policy[1].log())


def mean(policy: Pair, values: Any) -> Any:
    """The mean of two values."""
    return policy[0] * values[0] + policy[1] * values[1]


def chain(law: list[Pair], earned: Pair, discount: fmpq) -> Pair:
    """The values of both states under a law of actions, for what is earned in each."""
    second = earned[1] / arb(1 - discount)
    return (earned[0] + discount * law[0][1] * second) / (1 - discount * law[0][0]), second


def action_values(x: Any, values: Pair) -> list[Pair]:
    """r + discount V(next), where only the first action of state 1 stays there."""
    ahead = [[values[0], values[1]], [values[1], values[1]]]
    return [(r[0] + x.discount * v[0], r[1] + x.discount * v[1]) for r, v in zip(x.rewards, ahead, strict=True)]


def improved(x: Any, policy: list[Pair]) -> tuple[Pair, list[Pair]]:
    """V^pi, and the policy of the E-step."""
    values = chain(policy, (mean(policy[0], x.rewards[0]), mean(policy[1], x.rewards[1])), x.discount)
    return values, [tilted(p, v, x.alpha) for p, v in zip(policy, action_values(x, values), strict=True)]


def earned(x: Any, q: list[Pair], policy: list[Pair]) -> Pair:
    """The regularised reward of each state: E_q r - alpha KL(q || pi)."""
    first, second = (mean(z, r) - x.alpha * spread(z, p) for z, r, p in zip(q, x.rewards, policy, strict=True))
    return first, second


def visits(stay: Any, discount: fmpq) -> Pair:
    """The discounted visits of both states from state 1; together they are 1 / (1 - discount)."""
    first = 1 / (1 - discount * arb(stay))
    return first, 1 / arb(1 - discount) - first


def uniform_step(x: Any) -> arb:
    """How fast Eq. 18 moves the logit of the first action, that of both states, from the uniform policy.

    Minus the gradient is the sum over states of the visits of pi times q(1 | x) - pi(1 | x).
    """
    _, q = improved(x, [moved(HALF, 0)] * 2)
    d = visits(HALF, x.discount)
    return total(d[s] * (q[s][0][0] - HALF) for s in (0, 1))


def joint(x: Any, policy: list[Pair]) -> Pair:
    """V^{pi,q}_alpha at both states; at state 1 it is the joint objective."""
    _, q = improved(x, policy)
    return chain(q, earned(x, q, policy), x.discount)


def one_logit(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Minus the derivative of the joint objective in the step, in the class with one logit for both states."""
    return -joint(x, [moved(HALF, uniform_step(x))] * 2)[0][1], 0


def own_logits(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The same with a logit for every state and action: state 1 pays for staying, state 2 is a lottery of mean 0.

    The two logits of state x move by +- d(x) (q(1 | x) - pi(1 | x)), so that their difference moves by twice that.
    """
    win, lose = x.policy
    x.rewards = [[x.pay, fmpq(0)], [x.prize, -x.prize * win / lose]]
    firsts = HALF, win
    q = improved(x, [moved(p, 0) for p in firsts])[1]
    d = visits(HALF, x.discount)
    rows = zip(firsts, q, d, strict=True)
    return -joint(x, [moved(p, 2 * weight * (z[0][0] - p)) for p, z, weight in rows])[0][1], 0


def resting_point(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The derivative of the joint objective in the one logit, where the step is 0 although this is not.

    With the rewards (0, gap) and (gap, 0) the uniform policy has one value in both states, so that q prefers the second
    action of state 1 as much as the first of state 2; with discount 2/3 it visits both states alike, 3/2 each.  So the
    gradient of Eq. 18 is 3/2 - 3/2 = 0 times the preference.
    """
    x.rewards, x.discount = [[fmpq(0), x.gap], [x.gap, fmpq(0)]], fmpq(2, 3)
    return joint(x, [moved(HALF, 1)] * 2)[0][1], 0


def value(x: Any, component: list[int]) -> tuple[Any, Any]:
    """V^{pi,q}_alpha, a sum along q, against the resolvent of the policy applied to the regularised reward."""
    (s,) = component
    policy = [moved(HALF, 0)] * 2
    _, q = improved(x, policy)
    return joint(x, policy)[s][0], chain(policy, earned(x, q, policy), x.discount)[s][0]


def expansion(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The derivative of V^{pi,q}_alpha in the step, against that of the resolvent of pi_i applied to T V^{pi_i}.

    T V = E_q [r + discount V(next)] - alpha KL(q || pi) with q and pi moving, V and the resolvent staying at step 0.
    """
    (s,) = component
    policy, still = [moved(HALF, uniform_step(x))] * 2, [moved(HALF, 0)] * 2
    _, q = improved(x, policy)
    values, _ = improved(x, still)
    ahead = action_values(x, values)
    backup = tuple(mean(z, v) - x.alpha * spread(z, p) for z, v, p in zip(q, ahead, policy, strict=True))
    return joint(x, policy)[s][1], chain(still, (backup[0], backup[1]), x.discount)[s][1]


def bandit_slope(x: Any) -> arb:
    """q(1) - pi(1) for one state and two actions: minus the gradient in the logit of the first action."""
    score = [log(p) + arb(r / x.alpha) for p, r in zip(x.policy, x.rewards, strict=True)]
    slope: arb = (score[0] - log_sum_exp(score)).exp() - x.policy[0]
    return slope


def certain_norm(x: Any) -> arb:
    """The norm of the gradient, which must be certain to be positive or not."""
    norm = abs(bandit_slope(x))
    if norm.contains(0):
        raise Uncertain
    return norm


def descent(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Half the norm, against its square, by which f = KL(q || pi) falls per unit of a vanishing step."""
    norm = certain_norm(x)
    return norm / 2, norm * norm


def gain(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Half the norm, against the derivative of E_q r - alpha KL(q || pi) in the step, with pi and q moving."""
    norm = certain_norm(x)
    policy = moved(x.policy[0], bandit_slope(x))
    q = tilted(policy, (arb(x.rewards[0]), arb(x.rewards[1])), x.alpha)
    return norm / 2, (mean(q, x.rewards) - x.alpha * spread(q, policy))[1]


def split(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Visits of the walker times T^{pi,q}_alpha V, against visits times T^q V, less f = visits times KL(q || pi).

    The visits d solve d = initial + discount d P, with P the transitions of the walker.
    """
    S, A = len(x.rewards), len(x.rewards[0])
    system = []
    for t in range(S):
        for s in range(S):
            chance = sum((x.walker[s][a] * x.dynamics[s][a][t] for a in range(A)), fmpq(0))
            system.append(arb((1 if s == t else 0) - x.discount * chance))
    try:
        d = arb_mat(S, S, system).solve(arb_mat(S, 1, [arb(p) for p in x.initial])).entries()
    except ZeroDivisionError:
        raise Uncertain from None
    plain, functional = arb(0), arb(0)
    for s in range(S):
        for a in range(A):
            ahead = sum((p * v for p, v in zip(x.dynamics[s][a], x.values, strict=True)), fmpq(0))
            plain += d[s] * x.other[s][a] * (x.rewards[s][a] + x.discount * ahead)
        functional += d[s] * divergence(x.other[s], logs(x.policy[s]))
    return plain - x.alpha * functional, plain - functional


def two_states(x: Any, _: str) -> None:
    """The model has two states."""
    if len(x.rewards) != 2:
        raise Rejected("rewards: expected two states")


STAY_OR_LEAVE = {"rewards": Field("real", ("S", 2)), "discount": Field("discount"), "alpha": POSITIVE}
PAY_OR_LOTTERY = {
    "pay": POSITIVE,
    "prize": POSITIVE,
    "policy": Field("positive distribution", (2,)),
    "discount": Field("discount"),
    "alpha": POSITIVE,
}
BANDIT = {"rewards": REALS_2, "alpha": POSITIVE, "policy": Field("positive distribution", (2,))}
SPLIT = {
    "dynamics": Field("distribution", ("S", "A", "S")),
    "rewards": Field("real", ("S", "A")),
    "discount": Field("discount"),
    "alpha": POSITIVE,
    "values": Field("real", ("S",)),
    "walker": Field("distribution", ("S", "A")),
    "other": Field("distribution", ("S", "A")),
    "policy": Field("positive distribution", ("S", "A")),
    "initial": Field("distribution", ("S",)),
}

FALL = "the fall of the joint objective per unit of a vanishing step"

ROWS: dict[tuple[str, str], Refuted] = {
    ("mpo.sec31.monotone", "guarantee"): Refuted(
        "<=", readings(STAY_OR_LEAVE), one_logit, FALL, "", domain=two_states,
    ),
    ("mpo.prop3.eq21", "rise"): Refuted("<=", readings(PAY_OR_LOTTERY), own_logits, FALL, ""),
    ("mpo.prop3.nondecreasing", "non-decreasing"): Refuted(
        "<=", readings(STAY_OR_LEAVE), one_logit, FALL, "", domain=two_states,
    ),
    ("mpo.prop3.localmax", "stationary"): Refuted(
        "==", readings({"gap": POSITIVE, "alpha": POSITIVE}),
        resting_point, "the derivative of the joint objective where the algorithm rests", "",
    ),
    ("mpo.prop3.eq23", "descent"): Refuted(
        "<=", readings(BANDIT), descent, "half the norm of the gradient", "the fall per unit of a vanishing step",
    ),
    ("mpo.prop3.f3", "split"): Refuted(
        "==", readings(SPLIT), split, "the regularised backup", "the plain one less f", domain=small_model,
    ),
    ("mpo.prop3.eq24", "gain"): Refuted(
        "<=", readings(BANDIT), gain, "half the norm of the gradient", "the gain per unit of a vanishing step",
    ),
    ("mpo.prop3.value", "value"): Refuted(
        "==", readings(STAY_OR_LEAVE), value, "the regularised value", "the printed one",
        component=("S",), domain=two_states,
    ),
    ("mpo.prop3.expansion", "first order"): Refuted(
        "==", readings(STAY_OR_LEAVE), expansion,
        "the slope of the regularised value", "that of the printed expansion",
        component=("S",), domain=two_states,
    ),
}  # fmt: skip
