"""Appendix A.2, proof of Proposition 3, Step 3: the expansion of the value in the step."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expected_following, lift_objective, policy_average
from exactrl.number_systems import namespace
from proofs_checks.claim import LIMIT, POINTWISE, Check, claim
from proofs_checks.claims.discounted import bellman, resolvent
from proofs_checks.claims.mpo.joint_objective import (
    DISCOUNT,
    FEATURES,
    MODEL,
    ON_STAY_OR_LEAVE,
    POLICY,
    PRINTED_STEP,
    STEP,
    Iterate,
    Slopes,
    backup,
    backup_slope,
    iterate,
    kernel,
    model_space,
    moved,
    per_state,
    printed_direction,
    regularised_values,
    slope_size,
    slopes,
    stay_or_leave,
    value_size,
)
from proofs_checks.claims.terms import row, times
from proofs_checks.fields import Discount, Positive, Simplex
from proofs_checks.instances import Problem, Space


@claim(
    "mpo.prop3.resolvent",
    where="App. A.2, Step 3",
    title="The resolvent of one chain in terms of another, to second order",
    statement=r"$(I-\gamma P)^{-1}=(I-\gamma P')^{-1}+\gamma(I-\gamma P')^{-1}(P-P')(I-\gamma P')^{-1}+\gamma^2(I-\gamma P)^{-1}(P-P')(I-\gamma P')^{-1}(P-P')(I-\gamma P')^{-1}$.",
    kind="identity",
    shape=POINTWISE,
    condition="identity",
    explanation=r"$A^{-1}-B^{-1}=A^{-1}(B-A)B^{-1}$, twice.",
)
def the_resolvent_expands(p: Problem) -> Check:
    """Every entry of both sides."""
    discount = per_state(p.discount)
    one, other = resolvent(p, p.first), resolvent(p, p.second)
    matmul = namespace(p.first).matmul
    change = matmul(discount * (p.first - p.second), other)
    right = other + matmul(other, change) + matmul(one, matmul(change, change))
    return Check("identity", one, "==", right, scale=1 / (1 - p.discount) ** 3)


_MATRIX = Simplex(("s", "s"), exponents=(-20, 0))
the_resolvent_expands.both_readings(
    space=Space({"first": _MATRIX, "second": _MATRIX, "discount": Discount()}, {"s": (1, 2, 3, 4)}),
    assumptions=["P, P' stochastic matrices", DISCOUNT],
)


def the_value_as_printed(instance: Problem) -> Check:
    """Both sides as the step vanishes, at every state."""
    p = stay_or_leave(instance)
    now = iterate(p, p.log_policy)
    reward = lift_objective(now.log_q, p.log_policy, p.rewards, row(p.alpha), 0)
    left = regularised_values(p, now.log_q, p.log_policy)
    scale = value_size(p, p.log_policy, now.log_q)
    return Check("value", left, "==", times(now.resolvent, reward), scale=scale)


@claim(
    "mpo.prop3.value",
    where="App. A.2, Step 3",
    title="The regularized value is a resolvent applied to the regularized reward",
    statement=r"$V^{q_{i+1},\pi_{i+1}}_\alpha=(I-\gamma P^{\pi_i})^{-1}r^{q_{i+1},\pi_{i+1}}_\alpha$.",
    kind="identity",
    shape=POINTWISE,
    condition="value",
    intended_statement=r"$V^{q_{i+1},\pi_{i+1}}_\alpha=(I-\gamma P^{q_{i+1}})^{-1}r^{q_{i+1},\pi_{i+1}}_\alpha$.",
    explanation=r"By its definition in A.1 the value is an expectation under $q_{i+1}$, so that the transition matrix is $P^{q_{i+1}}$. The next line of the paper reads as though $P^{\pi_{i+1}}$ were meant, "
    r"which is false as well. Judged in the limit of a vanishing step, where $\pi_{i+1}=\pi_i$ and $q_{i+1}=q_i$, on models of two states, of which the second has no way back, at the uniform policy: the sides differ even there. This is the line at which the proof of Proposition 3 "
    r"cannot be mended: the functional of Step 2 follows $\pi_i$, the value $q_i$. (The intended reading is judged on the first $N$ terms of the sum over steps, as for the functional of Step 2.)",
    hand_check=r"State 1: action 1 stays, action 2 moves to state 2 for good; $r=(\log3,0)$ there, 0 in state 2; $\gamma=\frac12$, $\alpha=1$, $\pi_i$ uniform. "
    r"$V^{\pi_i}(1)=\frac23\log3$, $Q^{\pi_i}(1,\cdot)=(\frac43\log3,0)$, and $q_i$ stays with probability $\frac{3^{4/3}}{1+3^{4/3}}\approx0.81$, not $\frac12$.",
)
def the_value_is_a_resolvent(p: Problem) -> Check:
    """The first terms of the expectation under q, walked step by step, against the resolvent of q."""
    xp = namespace(p.log_policy)
    now = iterate(p, p.log_policy)
    reward = lift_objective(now.log_q, p.log_policy, p.rewards, row(p.alpha), 0)
    chain = kernel(p, now.log_q)
    summed, ahead = reward * 0, reward
    for _ in range(p.terms):
        summed = summed + ahead
        ahead = row(p.discount) * times(chain, ahead)
    whole = times(resolvent(p, chain), reward)
    left_out = xp.max(xp.abs(reward)) / (1 - p.discount)
    for _ in range(p.terms):
        left_out = left_out * p.discount
    scale = value_size(p, p.log_policy, now.log_q)
    return Check("first terms", xp.abs(whole - summed), "<=", left_out[..., None], scale=scale)


the_value_is_a_resolvent.reading(
    "literal",
    space=PRINTED_STEP,
    assumptions=MODEL,
    sides=the_value_as_printed,
)
the_value_is_a_resolvent.reading(
    "intended",
    space=model_space(policy=Simplex(("s", "a")), counts={"terms": (1, 20)}),
    adds=["P^q for P^pi, since the value is an expectation under q"],
    effort=0.3,
)


def _expanded(p: Problem, tangents: Slopes, now: Iterate, values: Any, reaches: Any) -> Any:
    r"""The slope of the right side: that of $T^{\pi,q}_\alpha V$ at fixed values V, behind a resolvent."""
    ahead = bellman(p, p.rewards, values)
    return times(reaches, backup_slope(p, now, ahead, tangents.log_policy, tangents.log_q))


def _slope_by_parts(p: Problem, tangents: Slopes, now: Iterate) -> Any:
    r"""The slope of $V^{\pi,q}_\alpha=V^\pi+(I-\gamma P^q)^{-1}(L-V^\pi)$ with the soft value $L=\alpha\log\mathbb E_\pi e^{Q^\pi/\alpha}$."""
    q = namespace(now.log_q).exp(now.log_q)
    gained = regularised_values(p, now.log_q, now.log_policy) - now.values
    soft = policy_average(q, tangents.action_values + per_state(p.alpha) * tangents.log_policy)
    moved_on = row(p.discount) * policy_average(q, tangents.log_q * expected_following(p.dynamics, gained))
    reaches = resolvent(p, kernel(p, now.log_q))
    return tangents.values + times(reaches, soft - tangents.values + moved_on)


@claim(
    "mpo.prop3.expansion",
    where="App. A.2, Step 3",
    title="The regularized value after the step, to first order",
    statement=r"$V^{q_{i+1},\pi_{i+1}}_\alpha=V^{q_i,\pi_i}_\alpha+(I-\gamma P^{\pi_i})^{-1}\left(T^{q_{i+1},\pi_{i+1}}_\alpha V^{\pi_i}-T^{q_i,\pi_i}_\alpha V^{\pi_i}\right)+O(\beta^2)$.",
    kind="limit",
    shape=LIMIT,
    condition="first order",
    intended_statement=r"$V^{q_{i+1},\pi_{i+1}}_\alpha=V^{q_i,\pi_i}_\alpha+(I-\gamma P^{q_i})^{-1}\left(T^{q_{i+1},\pi_{i+1}}_\alpha V^{q_i,\pi_i}_\alpha-T^{q_i,\pi_i}_\alpha "
    r"V^{q_i,\pi_i}_\alpha\right)+O(\beta^2)$, without remainder if the resolvent is that of $P^{q_{i+1}}$.",
    explanation=ON_STAY_OR_LEAVE
    + r"The expansion of a value under $q$ has the transition matrix of $q$ and the value under $q$ in it; the printed one has those of "
    r"$\pi_i$. They agree where $\gamma=0$ or $q_i=\pi_i$. With the mended expansion Eq. (24) is no longer what is needed: its left side is the printed one.",
    hand_check=r"State 1: action 1 stays, action 2 moves to state 2 for good; $r=(1,0)$ there, 0 in state 2; $\gamma=\frac12$, $\alpha=1$, $\pi_i$ uniform, one logit for action 1 of state 1: "
    r"$V^{\pi_i}(1)=\frac23$, $Q^{\pi_i}(1,\cdot)=(\frac43,0)$, $\sigma=q_i(1\mid1)=0.791$. For $\dot\theta=1$ the printed right side has $\frac43(\sigma-\frac12)=0.388$; the left side is "
    r"$\frac{d}{d\theta}$ of $(\sigma-\mathrm{KL}(\sigma\Vert\pi))/(1-\frac\sigma2)$, which is 0.540.",
)
def the_value_expands(p: Problem) -> list[Check]:
    """With the transition matrix and the value of q: to first order, and exactly for a finite step."""
    now = iterate(p, p.log_policy)
    move = printed_direction(p, now)
    tangents = slopes(p, now, move.logits)
    values = regularised_values(p, now.log_q, p.log_policy)
    first_order = _expanded(p, tangents, now, values, resolvent(p, kernel(p, now.log_q)))
    new = iterate(p, moved(p.log_policy, move.logits, p.step))
    change = backup(p, new.log_q, new.log_policy, values) - backup(p, now.log_q, p.log_policy, values)
    whole = values + times(resolvent(p, kernel(p, new.log_q)), change)
    scale = value_size(p, p.log_policy, now.log_q, new.log_policy, new.log_q) / (1 - p.discount)
    return [
        Check("first order", _slope_by_parts(p, tangents, now), "==", first_order, scale=slope_size(p, now, move)),
        Check("exact", regularised_values(p, new.log_q, new.log_policy), "==", whole, scale=scale),
    ]


def the_value_expands_as_printed(instance: Problem) -> Check:
    """With those of the policy, to first order."""
    p = stay_or_leave(instance)
    now = iterate(p, p.log_policy)
    move = printed_direction(p, now)
    tangents = slopes(p, now, move.logits)
    right = _expanded(p, tangents, now, now.values, now.resolvent)
    return Check("first order", tangents.regularised, "==", right, scale=slope_size(p, now, move))


the_value_expands.reading(
    "literal",
    space=PRINTED_STEP,
    assumptions=STEP,
    sides=the_value_expands_as_printed,
)
the_value_expands.reading(
    "intended",
    space=model_space(
        policy=POLICY, features=FEATURES, initial=Simplex(("s",)), step=Positive(exponents=(-6, 0)), parameters=(1,)
    ),
    adds=["P^q for P^pi and V_alpha^{q,pi} for V^pi, since the value is an expectation under q"],
    effort=0.5,
)
