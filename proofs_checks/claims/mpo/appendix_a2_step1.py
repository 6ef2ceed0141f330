"""Appendix A.2, proof of Proposition 3, Step 1: the new E-step, and the descent of the functional f."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import kl
from exactrl.number_systems import namespace
from proofs_checks.claim import LIMIT, POINTWISE, Check, claim
from proofs_checks.claims.mpo.joint_objective import (
    BANDIT_STEP,
    FEATURES,
    MODEL,
    POLICY,
    STEP,
    STEP_AT_MOST,
    backup,
    bandit,
    from_start,
    iterate,
    model_space,
    moved,
    printed_direction,
    safe_step,
    value_size,
)
from proofs_checks.claims.terms import size
from proofs_checks.fields import Simplex, Unit
from proofs_checks.instances import Problem


@claim(
    "mpo.prop3.eq22",
    where="App. A.2, Step 1, Eq. 22",
    title="The new E-step is at least as good as the old one, one step ahead of the new policy",
    statement=r"$\mathbb E_{a\sim q_{i+1}}[Q^{\pi_{i+1}}(x,a)]-\alpha\mathrm{KL}(q_{i+1}(\cdot\mid x)\Vert\pi_{i+1}(\cdot\mid x))\ge"
    r"\mathbb E_{a\sim q_i}[Q^{\pi_{i+1}}(x,a)]-\alpha\mathrm{KL}(q_i(\cdot\mid x)\Vert\pi_{i+1}(\cdot\mid x))$.",
    kind="inequality",
    shape=POINTWISE,
    condition="better",
    explanation=r"Judged for any two policies $\pi_i$ and $\pi_{i+1}$, each with its own E-step.",
)
def the_new_estep_is_better(p: Problem) -> Check:
    """Both sides at every state, with the E-steps of two policies."""
    old, new = iterate(p, p.log_policy), iterate(p, p.log_next)
    left = backup(p, new.log_q, new.log_policy, new.values)
    right = backup(p, old.log_q, new.log_policy, new.values)
    return Check("better", right, "<=", left, scale=value_size(p, new.log_policy, new.log_q, old.log_q))


the_new_estep_is_better.both_readings(
    space=model_space(policy=Simplex(("s", "a")), next=Simplex(("s", "a"))), assumptions=MODEL
)


def functional(p: Problem, log_q: Any, log_policy: Any, visits: Any) -> Any:
    r"""The functional $f=\sum_xd(x)\mathrm{KL}(q(\cdot\mid x)\Vert\pi_\theta(\cdot\mid x))$."""
    return namespace(visits).sum(visits * kl(log_q, log_policy))


@claim(
    "mpo.prop3.eq23",
    where="App. A.2, Step 1, Eq. 23",
    title="A gradient step lowers the functional by the step times half the norm of its gradient",
    statement=r"$f(\pi_i,q_i,\theta_{i+1})\le f(\pi_i,q_i,\theta_i)-\beta g_i$ with $g_i=\frac12\lVert\nabla_\theta f(\pi_i,q_i,\theta_i)\rVert$ and "
    r"$f(\pi,q,\theta)=\mathbb E_\pi\left[\sum_{t\ge0}\gamma^t\mathrm{KL}(q(\cdot\mid x_t)\Vert\pi_\theta(\cdot\mid x_t))\mid x_0,\pi\right]$.",
    kind="inequality",
    shape=LIMIT,
    condition="descent",
    intended_statement=r"With the squared norm, $g_i=\frac12\lVert\nabla_\theta f(\pi_i,q_i,\theta_i)\rVert^2$, for every step $\beta\le1/L$ where $L$ bounds the second derivatives of $f$.",
    explanation=r"Judged on one state with two actions and $\gamma=0$, where $\theta$ is the logit of the first action. To first order $f$ falls by $\beta\lVert\nabla f\rVert^2$. That is less than $\frac\beta2\lVert\nabla f\rVert$ as soon as the norm is below $\frac12$, and so no step is "
    r"sufficiently small near a point where the gradient vanishes. With the square it holds: $f(\theta-\beta\nabla f)\le f-\beta(1-\frac{L\beta}2)\lVert\nabla f\rVert^2$.",
    hand_check=r"One state, $\gamma=0$, $\pi_i=(\frac12,\frac12)$, logits $(\theta,0)$, $r=(\alpha\log3,0)$: $q_i=(\frac34,\frac14)$, $\nabla f=-\frac14$. "
    r"To first order $f$ falls by $\frac\beta{16}$, not by $\frac\beta8$.",
)
def a_step_lowers_the_functional(p: Problem) -> Check:
    """The printed fall against the true one, both per unit of a vanishing step."""
    one = bandit(p)
    move = printed_direction(one, iterate(one, one.log_policy))
    norm = namespace(move.squared_norm).sqrt(move.squared_norm)
    return Check("descent", norm / 2, "<=", move.squared_norm, scale=1e-6 * size(move.logits))


def a_safe_step_lowers_the_functional(p: Problem) -> Check:
    """The functional before and after a step of at most 1/L."""
    now = iterate(p, p.log_policy)
    move = printed_direction(p, now)
    step = safe_step(p, move.visits)
    log_new = moved(p.log_policy, move.logits, step)
    before, after = (functional(p, now.log_q, x, move.visits) for x in (p.log_policy, log_new))
    scale: Any = 1.0
    if namespace(before).name == "float64":
        scale = size(from_start(p, now.resolvent)) * size(now.log_q, p.log_policy, log_new)
    return Check("descent", after + step * move.squared_norm / 2, "<=", before, scale=scale)


a_step_lowers_the_functional.reading("literal", space=BANDIT_STEP, assumptions=STEP)
a_step_lowers_the_functional.reading(
    "intended",
    space=model_space(policy=POLICY, features=FEATURES, share=Unit(), initial=Simplex(("s",))),
    adds=["g_i is half the squared norm (a misprint)", STEP_AT_MOST],
    sides=a_safe_step_lowers_the_functional,
    effort=0.5,
)
