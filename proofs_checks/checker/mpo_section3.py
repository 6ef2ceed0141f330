"""Maximum a posteriori policy optimisation, Secs. 3 to 3.2: the lower bound, its product, the one-step objective.

Trajectories tau with probabilities p(tau) and q(tau) and returns R(tau); or a model with dynamics P(s' | s, a), rewards
r, a discount and a policy pi, whose values V and Q are exact rationals.
"""

from __future__ import annotations

import itertools
from typing import Any

from flint import arb, fmpq, fmpq_mat

from .exact_input import Field, Rejected
from .quantities import divergence, log, log_sum_exp, logs, total
from .row import (
    MAX_TRAJECTORIES,
    MODEL,
    POSITIVE,
    PROBABILITIES,
    REALS_N,
    IllPosed,
    Refuted,
    readings,
    small_model,
)


def log_likelihoods(x: Any) -> list[fmpq]:
    """log p(O=1 | tau) = R / alpha + log c: a probability is at most 1, and c is the nearest to 1 that makes it so.

    Trajectories that the policy never takes need none.
    """
    most = max([fmpq(0), *(R for R, p in zip(x.returns, x.policy, strict=True) if p > 0)])
    return [(R - most) / x.alpha for R in x.returns]


def objective(x: Any) -> Any:
    """J(q, pi) = E_q [R / alpha] - KL(q || p)."""
    return total(q * R / x.alpha for q, R in zip(x.variational, x.returns, strict=True)) - divergence(
        x.variational, logs(x.policy)
    )


def mpo_eq2_identity(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The sum of q (log p(O=1 | tau) + log p - log q) over the trajectories that q takes, against J."""
    left = arb(0)
    for q, p, likelihood in zip(x.variational, x.policy, log_likelihoods(x), strict=True):
        if q > 0:
            left += q * (likelihood + log(p) - log(q))
    return left, objective(x)


def mpo_eq2_bound(x: Any, _: list[int]) -> tuple[Any, Any]:
    """J against log p(O=1), the log of the sum of p times the likelihood."""
    joint = [log(p) + likelihood for p, likelihood in zip(x.policy, log_likelihoods(x), strict=True) if p > 0]
    return objective(x), log_sum_exp(joint)


def mpo_eq2_domain(x: Any, _: str) -> None:
    """Finite sides."""
    if any(q > 0 and p == 0 for q, p in zip(x.variational, x.policy, strict=True)):
        raise Rejected("variational: mass where the policy has none, so that both sides are minus infinity")


def mpo_product(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The sum over all (s0, a0), ..., (s_n, a_n) of p(s0) and the factors with t > 0.

    Those are q(a_t | s_t) for t > 0, and p(s_{t+1} | s_t, a_t) for t > 0, which leads to the states from s2 on.
    """
    pairs = list(itertools.product(range(len(x.initial)), range(len(x.variational[0]))))
    mass = fmpq(0)
    for episode in itertools.product(pairs, repeat=x.steps):
        weight = x.initial[episode[0][0]]
        for t, (s, a) in enumerate(episode):
            if t > 0:
                weight *= x.variational[s][a]
            if t > 0 and t + 1 < x.steps:
                weight *= x.dynamics[s][a][episode[t + 1][0]]
        mass += weight
    return mass, 1


def mpo_product_domain(x: Any, _: str) -> None:
    """Bound the enumeration."""
    if (len(x.initial) * len(x.variational[0])) ** x.steps > MAX_TRAJECTORIES:
        raise Rejected(f"steps: more than {MAX_TRAJECTORIES} trajectories")


def state_values(x: Any) -> list[fmpq]:
    """V = r_pi + discount P_pi V, a linear system, solved exactly."""
    S, A = len(x.rewards), len(x.rewards[0])
    system, right = [], []
    for s in range(S):
        right.append(sum((x.policy[s][a] * x.rewards[s][a] for a in range(A)), fmpq(0)))
        for t in range(S):
            chance = sum((x.policy[s][a] * x.dynamics[s][a][t] for a in range(A)), fmpq(0))
            system.append((1 if s == t else 0) - x.discount * chance)
    solved: list[fmpq] = fmpq_mat(S, S, system).solve(fmpq_mat(S, 1, right)).entries()
    return solved


def action_value(x: Any, V: list[fmpq], s: int, a: int) -> fmpq:
    """Q(s, a) = r + discount times the mean of V at the next state."""
    ahead = sum((p * v for p, v in zip(x.dynamics[s][a], V, strict=True)), fmpq(0))
    return fmpq(x.rewards[s][a] + x.discount * ahead)


def mpo_eq6_objective(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The largest E_q [Q - alpha log(q / pi)] at one state, against the largest average over states.

    In each state q proportional to pi e^{Q / alpha} is best, and has alpha log of the sum of pi e^{Q / alpha}; every
    state may have the best q of its own, so that the largest average is the average of these.
    """
    V = state_values(x)
    best = []
    for s, policy in enumerate(x.policy):
        scores = [log(p) + action_value(x, V, s, a) / x.alpha for a, p in enumerate(policy) if p > 0]
        best.append(x.alpha * log_sum_exp(scores))
    return best[component[0]], total(mu * b for mu, b in zip(x.weights, best, strict=True))


def mpo_eq6_reason(x: Any, component: list[int]) -> tuple[Any, Any]:
    """Q(s, a) against r(s, a) + discount V(s)."""
    s, a = component
    V = state_values(x)
    return action_value(x, V, s, a), x.rewards[s][a] + x.discount * V[s]


SUCCESS = {"policy": PROBABILITIES, "variational": PROBABILITIES, "returns": REALS_N, "alpha": POSITIVE}
EPISODES = {
    "initial": Field("distribution", ("S",)),
    "dynamics": Field("distribution", ("S", "A", "S")),
    "variational": Field("distribution", ("S", "A")),
    "steps": Field("count", least=1, most=12),
}

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("mpo.eq2", "identity"): Refuted(
        "==", readings(SUCCESS), mpo_eq2_identity,
        "the right side of Eq. 1", "the printed J(q, pi)", domain=mpo_eq2_domain,
    ),
    ("mpo.eq2", "lower bound"): Refuted(
        "<=", readings(SUCCESS), mpo_eq2_bound,
        "the printed J(q, pi)", "the log-likelihood of success", domain=mpo_eq2_domain,
    ),
    ("mpo.eq3.product", "mass"): Refuted(
        "==", readings(EPISODES), mpo_product, "the mass of the printed product", "", domain=mpo_product_domain,
    ),
    ("mpo.eq6.objective", "every state"): Refuted(
        "==", readings({**MODEL, "weights": Field("distribution", ("S",)), "alpha": POSITIVE}), mpo_eq6_objective,
        "the largest value of the operator at a state", "the largest average over states",
        component=("S",), domain=small_model,
    ),
    ("mpo.eq6.reason", "same state"): Refuted(
        "==", readings(MODEL), mpo_eq6_reason,
        "the action value", "the printed one", component=("S", "A"), domain=small_model,
    ),
}  # fmt: skip
