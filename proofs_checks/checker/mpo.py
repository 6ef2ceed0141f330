"""Maximum a posteriori policy optimisation: its refuted claims.

States s of weight mu(s), a policy pi(a | s), values Q(s, a), a radius epsilon; multipliers eta and gamma.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from flint import arb, ctx, fmpq

from .comparison import LADDER
from .exact_input import Field, Rejected
from .quantities import log, log_sum_exp, total
from .row import MAX_HORIZON, NONNEGATIVE, POSITIVE, REAL, REALS_N, IllPosed, Refuted, readings


def states(x: Any) -> Iterator[tuple[fmpq, list[fmpq], list[fmpq]]]:
    """Weight, policy and values of each state."""
    yield from zip(x.weights, x.policy, x.q_values, strict=True)


def best_actions(policy: list[fmpq], values: list[fmpq]) -> fmpq:
    """The probability of the actions of largest value among those that the policy takes."""
    best = max(v for p, v in zip(policy, values, strict=True) if p > 0)
    return sum((p for p, v in zip(policy, values, strict=True) if p > 0 and v == best), fmpq(0))


def mpo_greedy(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The least divergence of a policy that is optimal without the constraint, against epsilon.

    Such a policy takes only the best actions A of its state, and of these pi(. | A) is nearest, at -log pi(A).
    A policy proportional to pi e^{Q / eta} stays below this divergence, which it has in the limit eta to 0 only; so the
    slope of the dual, epsilon - divergence, is positive everywhere if epsilon is at least as large.
    """
    return total(-mu * log(best_actions(policy, values)) for mu, policy, values in states(x) if mu > 0), x.epsilon


def mpo_greedy_domain(x: Any, _: str) -> None:
    """Where Q is constant on every policy nothing depends on eta, and nothing is claimed."""
    if all(mu == 0 or best_actions(policy, values) == 1 for mu, policy, values in states(x)):
        raise Rejected("q_values: constant among the actions of the policy in every state of positive weight")


def log_partition(policy: list[fmpq], values: list[fmpq], eta: Any) -> arb:
    """log of the sum of pi exp(Q / eta)."""
    return log_sum_exp([log(p) + arb(v) / eta for p, v in zip(policy, values, strict=True) if p > 0])


def mpo_retrace(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The printed target summed over paths of up to `steps` terms, at Q = Q^pi, against Q.

    Q is the value of pi under the rewards r = Q - gamma E[E_pi Q].  From (s, a) the bracket has the mean
    r + E[E_pi Q] - Q; the next pair comes with P b, and its trace min(1, pi / b) makes that P min(b, pi).
    """
    s0, a0 = component
    pairs = list(itertools.product(range(len(x.policy)), range(len(x.policy[0]))))
    both = zip(x.policy, x.q_values, strict=True)
    mean = [sum((p * q for p, q in zip(policy, values, strict=True)), fmpq(0)) for policy, values in both]
    bracket = {}
    for s, a in pairs:
        ahead = sum((f * v for f, v in zip(x.transitions[s][a], mean, strict=True)), fmpq(0))
        reward = x.q_values[s][a] - x.discount * ahead
        bracket[s, a] = reward + ahead - x.q_values[s][a]
    weight, target = {(s0, a0): fmpq(1)}, x.q_values[s0][a0]
    for _ in range(x.steps):
        target += sum((w * bracket[pair] for pair, w in weight.items()), fmpq(0))
        following = {pair: fmpq(0) for pair in pairs}
        for (s, a), w in weight.items():
            for t, b in pairs:
                following[t, b] += w * x.discount * x.transitions[s][a][t] * min(x.behaviour[t][b], x.policy[t][b])
        weight = following
    return target, x.q_values[s0][a0]


def mpo_retrace_domain(x: Any, _: str) -> None:
    """A discount below 1, and little work."""
    if not x.discount < 1:
        raise Rejected("discount: must be < 1")
    if len(x.policy) * len(x.policy[0]) > 16:
        raise Rejected("policy: more than 16 pairs of a state and an action")


def mpo_joint(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The value of masses m(s, a) = mu(s) q(a | s) that sum to 1 over all pairs, against the dual at eta."""
    value = fmpq(0)
    for mass, chosen, values in zip(x.masses, x.challenger, x.q_values, strict=True):
        value += mass * sum((c * v for c, v in zip(chosen, values, strict=True)), fmpq(0))
    soft = total(mu * log_partition(policy, values, x.eta) for mu, policy, values in states(x))
    return value, x.eta * (x.epsilon + soft)


def mpo_joint_domain(x: Any, _: str) -> None:
    """The divergence, the sum of m log(m / (mu pi)), is certainly below epsilon."""
    pairs = []
    for mu, mass, chosen, policy in zip(x.weights, x.masses, x.challenger, x.policy, strict=True):
        pairs += [(mass * c, mu * p) for c, p in zip(chosen, policy, strict=True) if mass * c > 0]
    if any(base == 0 for _, base in pairs):
        raise Rejected("challenger: mass where the policy has none, so that the divergence is infinite")
    for precision in LADDER:
        with ctx.workprec(precision):
            gap = total(m * (log(m) - log(base)) for m, base in pairs) - x.epsilon
            if gap < 0:
                return
            if gap >= 0:
                break
    raise Rejected("epsilon: the divergence of the challenger is not certainly below it")


def mpo_tangent(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The rise of the Lagrangian from the first q to the second, against that of the printed tangent at the first.

    L is concave in q, so that a derivative at the first q lies above the rise.
    """
    rise = linear = arb(0)
    for s, (mu, policy, values) in enumerate(states(x)):
        for p, v, q, r in zip(policy, values, x.first[s], x.second[s], strict=True):
            for sign, z in ((1, r), (-1, q)):
                rise += sign * mu * z * (v - x.eta * (log(z) - log(p)) - x.multiplier)
            slope = v - x.eta * log(q) + x.eta * log(p) - (x.eta - x.multiplier)
            linear += mu * (r - q) * slope
    return rise, linear


def mpo_normaliser(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The average over states of the log mass of pi e^{Q / eta} Z, where Z, the printed factor, is its sum."""
    return 2 * total(mu * log_partition(policy, values, x.eta) for mu, policy, values in states(x)), 0


def mpo_taylor(x: Any, _: list[int]) -> tuple[Any, Any]:
    """Second derivatives for two actions, logits 0 and c theta: of theta^2 / F, and of the divergence, F = c^2 p q."""
    information = x.feature * x.feature * x.policy[0] * x.policy[1]
    return 2 / information, information


def mpo_prior(x: Any, _: list[int]) -> tuple[Any, Any]:
    """-1/2 d' (F / lambda)^-1 d, against -lambda d' F^-1 d, for F = L L': d' F^-1 d is the square of L^-1 d."""
    solved: list[fmpq] = []
    for i, d in enumerate(x.step):
        known = sum((x.below[i][j] * solved[j] for j in range(i)), fmpq(0))
        solved.append((d - known) / x.diagonal[i])
    length = x.penalty * sum((z * z for z in solved), fmpq(0))
    return -length / 2, -length


def mpo_reward(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The least denominator of q / pi among the actions that q takes."""
    return min(p for p, q in zip(x.policy, x.q, strict=True) if q > 0), 0


def mpo_parts(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The printed C_mu of two Gaussians of one mean and diagonal covariances: 1/2 (tr - n + log |S| / |S_i|)."""
    trace = sum(((i / j) ** 2 for i, j in zip(x.diagonal_i, x.diagonal, strict=True)), fmpq(-len(x.diagonal)))
    return total([trace, *(2 * log(j / i) for i, j in zip(x.diagonal_i, x.diagonal, strict=True))]) / 2, 0


def mpo_descent(x: Any, _: list[int]) -> tuple[Any, Any]:
    """E_q log N(a; m, sigma^2) - multiplier (m - m_i)^2 / (2 sigma^2) before and after a step of descent in m.

    The derivative is (E_q a - m - multiplier (m - m_i)) / sigma^2; the step size is sigma^2 / (1 + multiplier).
    """
    pull = sum((q * a for q, a in zip(x.target, x.actions, strict=True)), fmpq(0)) - x.mean
    pull -= x.multiplier * (x.mean - x.mean_i)

    def lagrangian(mean: fmpq) -> arb:
        squares = sum((q * (a - mean) ** 2 for q, a in zip(x.target, x.actions, strict=True)), fmpq(0))
        squares += x.multiplier * (mean - x.mean_i) ** 2
        return arb(-squares / (2 * x.deviation**2)) - log(x.deviation) - (2 * arb.pi()).log() / 2

    return lagrangian(x.mean), lagrangian(x.mean - pull / (1 + x.multiplier))


STATES_MPO = {
    "policy": Field("distribution", ("s", "a")),
    "q_values": Field("real", ("s", "a")),
    "weights": Field("distribution", ("s",)),
}
GREEDY_MPO = {**STATES_MPO, "epsilon": POSITIVE}
FULL_MPO, MASSES_MPO = Field("positive distribution", ("s", "a")), Field("positive", ("s", "a"))

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("mpo.eq8", "of the printed form"): Refuted(
        ">", readings(GREEDY_MPO), mpo_greedy,
        "the least divergence of an optimal policy without the constraint", "epsilon", domain=mpo_greedy_domain,
    ),
    ("mpo.eq9.minimiser", "a minimiser exists"): Refuted(
        ">", readings(GREEDY_MPO), mpo_greedy,
        "the divergence that those of Eq. 8 stay below", "epsilon", domain=mpo_greedy_domain,
    ),
    ("mpo.eq13.retrace", "fixed point"): Refuted(
        "==", readings({
            "policy": Field("distribution", ("s", "a")), "behaviour": Field("distribution", ("s", "a")),
            "transitions": Field("distribution", ("s", "a", "s")), "q_values": Field("real", ("s", "a")),
            "discount": NONNEGATIVE, "steps": Field("count", least=1, most=MAX_HORIZON),
        }),
        mpo_retrace, "the printed target at the values of the policy", "their value",
        component=("s", "a"), domain=mpo_retrace_domain,
    ),
    ("mpo.appa.reward", "denominator"): Refuted(
        ">", readings({"policy": Field("distribution", ("a",)), "q": Field("positive distribution", ("a",))}),
        mpo_reward, "the least probability under pi of an action that q takes", "",
    ),
    ("mpo.appd2.program", "no joint challenger is better"): Refuted(
        "<=", readings({
            **GREEDY_MPO, "masses": Field("distribution", ("s",)), "challenger": Field("distribution", ("s", "a")),
            "eta": POSITIVE,
        }),
        mpo_joint, "the value of the challenger", "the dual", domain=mpo_joint_domain,
    ),
    ("mpo.appd2.derivative", "tangent"): Refuted(
        "<=", readings({
            **STATES_MPO, "policy": FULL_MPO, "first": MASSES_MPO, "second": MASSES_MPO, "eta": POSITIVE,
            "multiplier": REAL,
        }),
        mpo_tangent, "the rise of the Lagrangian", "that of its printed tangent",
    ),
    ("mpo.appd2.normaliser", "printed factor"): Refuted(
        "==", readings({**STATES_MPO, "eta": POSITIVE}),
        mpo_normaliser, "the logarithm of the mass with the printed factor", "",
    ),
    ("mpo.appd3.prior", "log prior"): Refuted(
        "==", readings({
            "diagonal": Field("positive", ("n",)), "below": Field("real", ("n", "n")), "step": REALS_N,
            "penalty": POSITIVE,
        }),
        mpo_prior, "the rise of the log prior", "that of the printed penalty",
    ),
    ("mpo.appd3.taylor", "second derivatives"): Refuted(
        "==", readings({"policy": Field("positive distribution", (2,)), "feature": POSITIVE}),
        mpo_taylor, "the second derivative of the printed form", "that of the divergence",
    ),
    ("mpo.eq27.parts", "equal means"): Refuted(
        "==", readings({
            "mean": REALS_N, "diagonal_i": Field("positive", ("n",)), "diagonal": Field("positive", ("n",)),
        }),
        mpo_parts, "the printed part of the mean for equal means", "",
    ),
    ("mpo.alg2.theta", "descent is better"): Refuted(
        "<=", readings({
            "target": Field("distribution", ("a",)), "actions": Field("real", ("a",)), "mean": REAL, "mean_i": REAL,
            "deviation": POSITIVE, "multiplier": NONNEGATIVE,
        }),
        mpo_descent, "the Lagrangian before the step", "that after it",
    ),
}  # fmt: skip
