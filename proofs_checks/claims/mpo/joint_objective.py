r"""Words, spaces and quantities of Appendix A.2: the joint objective of a policy and its E-step, and one step of Eq. 18.

    $\mathcal J(\theta,q)=V^{\pi_\theta,q}_\alpha(x_0)$, $q_i\propto\pi_ie^{Q^{\pi_i}/\alpha}$,
    $\theta_{i+1}=\theta_i-\beta\nabla_\theta f(\pi_i,q_i,\theta_i)$

Policies are softmax-linear, $\pi_\theta(a\mid x)\propto\pi_i(a\mid x)e^{\theta\cdot\phi(x,a)}$ with $\theta_i=0$; what happens to first order
in the step depends on the policy and its scores alone, so that nothing is lost.  Features that several states share make a class
of limited capacity; with one feature a state and action (`tabular`) every policy is in the class.
Shapes: states s, actions a, parameters d; dynamics (..., S, A, S), visits (..., S), the resolvent (..., S, S).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from exactrl.formulas import (
    centred,
    chain_of,
    estep_tangent,
    expectation,
    expectation_slope,
    expected_following,
    lift_objective,
    log_boltzmann,
    log_estep,
    mstep_curvature,
    mstep_direction,
    next_marginal,
    policy_average,
    soft_score,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import Check
from proofs_checks.claims.discounted import bellman, resolvent
from proofs_checks.claims.terms import row, size, times
from proofs_checks.fields import Discount, Field, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem, Space

FINITE = "finitely many states and actions, sums for integrals"
TEMPERATURE = "alpha > 0 (App. A.1)"
DISCOUNT = "0 <= gamma < 1"
UNINFORMATIVE = "uninformative prior: log p(theta) is constant"
START = "x_0 is a state, or drawn from a distribution (App. A.2 permits it)"
SOFTMAX = "a parametrized policy, here a softmax in features times theta"
TABULAR = "one parameter for every state and action, so that the class contains every positive policy"
#: where a derivative is negative, it is so on models this small
ON_STAY_OR_LEAVE = (
    "Judged by the derivative in the step at $\\beta=0$, on models of two states in which the first action of state 1 stays and the second "
    "leaves for good, at the uniform policy, with one logit for the first action of both states. "
)
SMALL_STEP = "the step beta, also called eta, is sufficiently small; q_k is q_i"
MODEL = [FINITE, DISCOUNT, TEMPERATURE]
STEP = [*MODEL, START, SOFTMAX, UNINFORMATIVE, SMALL_STEP]
#: a counterexample to several claims
SHARED_LOGIT = (
    r"State 1: action 1 pays 1 and stays, action 2 pays 0 and moves to state 2 for good; there the actions pay 0 and 1. $\gamma=\frac34$, $\alpha=1$, one logit $\theta$ for action 1 in both "
    r"states, $\theta_i=0$: $V^{\pi_i}=(2,2)$, $q_i=(\sigma,1-\sigma)$ in state 1 and reversed in state 2, $\sigma=\frac e{1+e}$. The visits of $\pi_i$ are $(1.6,2.4)$, so that "
    r"$\dot\theta=-0.8(\sigma-\frac12)<0$; those of $q_i$ are $(2.21,1.79)$, so that $\frac d{d\theta}\mathcal J=0.43(\sigma-\frac12)>0$."
)

POLICY = Simplex(("s", "a"), zeros=False, exponents=(-3, 0))
FEATURES = Real(("s", "a", "d"), exponents=(-1, 0))
_MODEL: dict[str, Field] = {
    "dynamics": Simplex(("s", "a", "s"), exponents=(-6, 0)),
    "rewards": Real(("s", "a"), exponents=(-2, 1)),
    "discount": Discount(),
    "alpha": Positive(exponents=(-2, 2)),
}


def model_space(*, parameters: tuple[int, ...] = (1, 2), counts: dict[str, Any] | None = None, **more: Field) -> Space:
    """Discounted models with a temperature and further fields; `counts` are numbers of the instance."""
    sizes: dict[str, tuple[int, ...]] = {"s": (1, 2), "a": (2, 3)}
    if any("d" in field.shape for field in more.values()):
        sizes["d"] = parameters
    return Space(_MODEL | more, sizes | (counts or {}), counts=tuple(counts or ()), least=dict.fromkeys(sizes, 1))


#: what leads where in a model of two states without a way back
_STAY_OR_LEAVE = [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
#: one step of Eq. 18 on the models of `stay_or_leave`, `pay_or_lottery` and `bandit`, and steps of the mended algorithm on any
PRINTED_STEP = Space(
    {"rewards": Real((2, 2), exponents=(0, 0)), "discount": Discount(), "alpha": Positive(exponents=(-1, 0))}
)
TABULAR_STEP = Space(
    {
        "pay": Positive(exponents=(-1, 0)),
        "prize": Positive(exponents=(-1, 0)),
        "policy": Simplex((2,), zeros=False, exponents=(-2, 0)),
        "discount": Discount(),
        "alpha": Positive(exponents=(-1, 0)),
    }
)
BANDIT_STEP = Space(
    {
        "rewards": Real((2,), exponents=(-1, 0)),
        "alpha": Positive(exponents=(-1, 0)),
        "policy": Simplex((2,), zeros=False, exponents=(-2, 0)),
    }
)
_ANY_STEP: dict[str, Field] = _MODEL | {
    "policy": POLICY, "features": FEATURES, "share": Unit(), "initial": Simplex(("s",))
}  # fmt: skip
MENDED_STEP = Space(_ANY_STEP | {"q": POLICY}, {"s": (1, 2), "a": (2, 3), "d": (1, 2)}, least={"a": 1})
MENDED_STEPS = Space(
    _ANY_STEP, {"s": (2,), "a": (2, 3), "d": (1,), "steps": (1, 3)}, counts=("steps",), least={"s": 1, "a": 1}
)
STEP_AT_MOST = "the step is at most 1/L with L = sum of d(x) max |phi(x,a) - phi(x,b)|^2 / 4 over the visits d"
MENDED = "the E-step takes the regularized Q of q_i under theta_{i+1} (Eq. 4), the M-step the visits of q_i: coordinate ascent on J"


def per_state(x: Any) -> Any:
    """A number of the batch shape, to meet states and actions."""
    return row(row(x))


def backup(p: Problem, log_q: Any, log_policy: Any, values: Any) -> Any:
    r"""The regularised operator $T^{\pi,q}_\alpha V$ at every state."""
    return lift_objective(log_q, log_policy, bellman(p, p.rewards, values), row(p.alpha), 0)


def kernel(p: Problem, log_policy: Any) -> Any:
    """The transition matrix of a policy."""
    return chain_of(namespace(log_policy).exp(log_policy), p.dynamics)


def from_start(p: Problem, matrix: Any) -> Any:
    """The row of a matrix (..., S, S) at the first state, or its average over the initial distribution: (..., S)."""
    if hasattr(p, "initial"):
        return next_marginal(p.initial, matrix)
    return matrix[..., 0, :]


def at_start(p: Problem, values: Any) -> Any:
    """Values (..., S) at the first state, or their average over the initial distribution."""
    if hasattr(p, "initial"):
        return namespace(values).sum(p.initial * values)
    return values[..., 0]


def regularised_values(p: Problem, log_q: Any, log_policy: Any) -> Any:
    r"""$V^{\pi,q}_\alpha=(I-\gamma P^q)^{-1}r^{\pi,q}_\alpha$ at every state."""
    reward = lift_objective(log_q, log_policy, p.rewards, row(p.alpha), 0)
    return times(resolvent(p, kernel(p, log_q)), reward)


@dataclass(frozen=True)
class Iterate:
    """A policy with its resolvent, values and action values, and the policy q of its E-step."""

    log_policy: Any
    resolvent: Any
    values: Any
    action_values: Any
    log_q: Any


def iterate(p: Problem, log_policy: Any) -> Iterate:
    """Evaluate a policy and make its E-step."""
    xp = namespace(log_policy)
    reaches = resolvent(p, kernel(p, log_policy))
    values = times(reaches, policy_average(xp.exp(log_policy), p.rewards))
    action_values = bellman(p, p.rewards, values)
    return Iterate(log_policy, reaches, values, action_values, log_estep(log_policy, action_values, p.alpha))


@dataclass(frozen=True)
class Direction:
    """Where Eq. 18 moves the logits, (..., S, A), per unit of the step; the squared norm of the gradient; the visits."""

    logits: Any
    squared_norm: Any
    visits: Any


def direction(p: Problem, log_q: Any, log_policy: Any, visits: Any) -> Direction:
    """Minus the gradient of f under the given visits; without features the class is tabular."""
    xp = namespace(log_policy)
    if hasattr(p, "features"):
        slope = mstep_direction(log_q, log_policy, p.features, visits)
        return Direction(xp.sum(p.features * slope[..., None, None, :]), xp.sum(slope * slope), visits)
    logits = visits[..., None] * (xp.exp(log_q) - xp.exp(log_policy))
    return Direction(logits, xp.sum(xp.sum(logits * logits)), visits)


def printed_direction(p: Problem, now: Iterate) -> Direction:
    """Eq. 18: the visits of the policy weigh the states."""
    return direction(p, now.log_q, now.log_policy, from_start(p, now.resolvent))


def moved(log_policy: Any, logits: Any, step: Any) -> Any:
    """The policy after a step in its logits."""
    return log_boltzmann(log_policy + per_state(step) * logits, 1)


@dataclass(frozen=True)
class Slopes:
    r"""Derivatives at step 0: of $\log\pi$, $Q^\pi$ and $\log q$, (..., S, A), of $V^\pi$ and $V^{\pi,q}_\alpha$, (..., S)."""

    log_policy: Any
    values: Any
    action_values: Any
    log_q: Any
    regularised: Any


def backup_slope(p: Problem, now: Iterate, action_values: Any, tangent: Any, tangent_q: Any) -> Any:
    r"""The slope of $T^{\pi,q}_\alpha V$ at fixed V, $\sum_aq\{\dot{\log q}[Q-\alpha\log\frac q\pi]+\alpha\dot{\log\pi}\}$ with $Q=r+\gamma PV$."""
    score = soft_score(now.log_q, action_values, row(p.alpha), now.log_policy)
    return expectation_slope(now.log_q, score, tangent_q) + row(p.alpha) * expectation(now.log_q, tangent)


def slopes(p: Problem, now: Iterate, logits: Any) -> Slopes:
    r"""Differentiate a policy, its E-step and $V^{\pi,q}_\alpha=(I-\gamma P^q)^{-1}r^{\pi,q}_\alpha$ along a direction of the logits.

    $\dot V^\pi=(I-\gamma P^\pi)^{-1}\sum_a\pi\,\dot{\log\pi}\,Q^\pi$ and $\dot Q^\pi=\gamma P\dot V^\pi$; then
    $\dot V^{\pi,q}_\alpha=(I-\gamma P^q)^{-1}\sum_aq\{\dot{\log q}[r+\gamma PV^{\pi,q}_\alpha-\alpha\log\frac q\pi]+\alpha\dot{\log\pi}\}$.
    """
    tangent = centred(now.log_policy, logits)
    value_slope = times(now.resolvent, expectation_slope(now.log_policy, now.action_values, tangent))
    action_value_slope = per_state(p.discount) * expected_following(p.dynamics, value_slope)
    tangent_q = estep_tangent(now.log_q, tangent, action_value_slope, p.alpha)
    ahead = bellman(p, p.rewards, regularised_values(p, now.log_q, now.log_policy))
    rise = backup_slope(p, now, ahead, tangent, tangent_q)
    regularised = times(resolvent(p, kernel(p, now.log_q)), rise)
    return Slopes(tangent, value_slope, action_value_slope, tangent_q, regularised)


def value_size(p: Problem, *logs: Any) -> Any:
    """The size of discounted sums of rewards and divergences, for rounding (floats only)."""
    if namespace(p.rewards).name != "float64":
        return 1.0
    return (size(p.rewards) + p.alpha * size(*logs)) / (1 - p.discount)


def stay_or_leave(p: Problem) -> Problem:
    """The smallest model on which the steps of A.2 part: the first action stays in state 1, the second leaves for good.

    The policy is uniform; its class has a single logit, that of the first action in both states.
    """
    xp = namespace(p.rewards)
    arrays = {
        "dynamics": xp.asarray(np.array(_STAY_OR_LEAVE)),
        "rewards": p.rewards,
        "discount": p.discount,
        "alpha": p.alpha,
        "log_policy": p.rewards * 0 - xp.log_two,
        "features": xp.asarray(np.array([[[1], [0]], [[1], [0]]])),
    }
    return Problem({}, arrays)


def pay_or_lottery(p: Problem) -> Problem:
    """The same chain without shared parameters: state 1 pays for staying, state 2 is a lottery of mean 0 under the policy.

    The policy is uniform in state 1 and given in state 2, where it wins the prize with its first action.
    """
    xp = namespace(p.pay)
    win, lose = p.policy[..., 0], p.policy[..., 1]
    rewards = [[p.pay, p.pay * 0], [p.prize, -p.prize * win / lose]]
    half = p.log_policy * 0 - xp.log_two
    arrays = {
        "dynamics": xp.asarray(np.array(_STAY_OR_LEAVE)),
        "rewards": xp.stack([xp.stack(pair, axis=-1) for pair in rewards], axis=-2),
        "discount": p.discount,
        "alpha": p.alpha,
        "log_policy": xp.stack([half, p.log_policy], axis=-2),
    }
    return Problem({}, arrays)


def bandit(p: Problem) -> Problem:
    """One state, two actions, no discounted future, and the logit of the first action."""
    xp = namespace(p.rewards)
    arrays = {
        "dynamics": xp.asarray(np.array([[[1], [1]]])),
        "rewards": p.rewards[..., None, :],
        "discount": p.alpha * 0,
        "alpha": p.alpha,
        "log_policy": p.log_policy[..., None, :],
        "features": xp.asarray(np.array([[[1], [0]]])),
    }
    return Problem({}, arrays)


def slope_size(p: Problem, now: Iterate, move: Direction) -> Any:
    """The size of the terms of a slope, for rounding (floats only)."""
    if namespace(p.rewards).name != "float64":
        return 1.0
    value = value_size(p, now.log_policy, now.log_q)
    return value * (1 + value / p.alpha) * size(move.logits) / (1 - p.discount)


def joint_objective_rises(p: Problem, name: str) -> Check:
    r"""How much $\mathcal J(\theta_i,q_i)$ falls to first order in the step of Eq. 18; it may not."""
    now = iterate(p, p.log_policy)
    move = printed_direction(p, now)
    rise = at_start(p, slopes(p, now, move.logits).regularised)
    return Check(name, -rise, "<=", rise * 0, scale=slope_size(p, now, move))


def safe_step(p: Problem, visits: Any) -> Any:
    """A share of the largest step, 1/L, for which a step is known to lower f as far as Eq. 23 asks."""
    millionths = namespace(visits).maximum(mstep_curvature(p.features, visits) * 1_000_000, 1)
    return p.share * 1_000_000 / millionths


@dataclass(frozen=True)
class Ascent:
    """What a step of the mended algorithm comes to: both policies, the step and the squared norm of its gradient."""

    log_policy: Any
    log_q: Any
    step: Any
    squared_norm: Any


def mended_step(p: Problem, log_policy: Any, log_q: Any) -> Ascent:
    r"""Coordinate ascent on $\mathcal J$: Eq. 18 under the visits of q, then $q\propto\pi e^{Q^{q}_\theta/\alpha}$ with the Q of Eq. 4."""
    visits = from_start(p, resolvent(p, kernel(p, log_q)))
    move = direction(p, log_q, log_policy, visits)
    step = safe_step(p, visits)
    log_new = moved(log_policy, move.logits, step)
    action_values = bellman(p, p.rewards, regularised_values(p, log_q, log_new))
    return Ascent(log_new, log_estep(log_new, action_values, p.alpha), step, move.squared_norm)


def joint_objective(p: Problem, log_policy: Any, log_q: Any) -> Any:
    r"""The joint objective $\mathcal J(\theta,q)$."""
    return at_start(p, regularised_values(p, log_q, log_policy))


def mended_sequence_rises(p: Problem) -> Check:
    """The last of several mended steps from a policy and its E-step, against the one before."""
    log_policy, log_q = p.log_policy, iterate(p, p.log_policy).log_q
    for _ in range(p.steps - 1):
        ascent = mended_step(p, log_policy, log_q)
        log_policy, log_q = ascent.log_policy, ascent.log_q
    before = joint_objective(p, log_policy, log_q)
    ascent = mended_step(p, log_policy, log_q)
    after = joint_objective(p, ascent.log_policy, ascent.log_q)
    scale = value_size(p, log_policy, log_q, ascent.log_policy, ascent.log_q)
    return Check("rise", before, "<=", after, scale=scale)
