"""Appendix B: the gradient of the Bellman error, the policy gradient that it recovers, and where it ends (Eqs. 30-32)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import log_soft_greedy, soft_maximum, soft_policy_value
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    SIZES,
    UNIT_TEMPERATURE,
    largest,
    value_size,
)
from proofs_checks.claims.soft_q.finite_horizon import STEPS, Steps, gradient_size, horizon_space
from proofs_checks.claims.soft_q.optimal_models import (
    DRAWN_BY_SOLUTION,
    optimal_action_values,
    optimal_space,
    rewards_of,
    values_of,
)
from proofs_checks.claims.terms import row, size, spread
from proofs_checks.fields import Real, Simplex
from proofs_checks.instances import Problem, Space

_TABLE = "one parameter for each state and action"


def _error_and_slopes(p: Problem) -> tuple[Any, Any, Any]:
    """Eq. 31 less Q, and how Q(s, a) and V(s) move with every entry of row s: (..., S, A), (A, A), (..., S, 1, A)."""
    xp = namespace(p.action_values)
    error = p.advantages + soft_maximum(p.action_values, 1)[..., None] - p.action_values
    value_slopes = xp.exp(log_soft_greedy(p.action_values, 1))[..., None, :]
    return error, xp.identity(p.actions), value_slopes


def _weighted_mean(p: Problem, per_action: Any) -> Any:
    """The expectation over states and actions; the state of the derivative is its own: (..., S, A, A) -> (..., S, A)."""
    weights = p.state_weights[..., :, None] * p.action_weights[..., None, :]
    return namespace(per_action).sum(weights[..., None] * per_action, axis=-2)


def _printed_direction(p: Problem) -> Any:
    """Eq. 32: E[(grad Q - grad V) (target - Q)]."""
    error, moved, value_slopes = _error_and_slopes(p)
    return _weighted_mean(p, (moved - value_slopes) * error[..., None])


def _error_gradient(p: Problem) -> Any:
    """The derivative of half the mean squared error by the chain rule: the target moves with V, the advantage does not."""
    error, moved, value_slopes = _error_and_slopes(p)
    slopes_of_error = value_slopes - moved
    return _weighted_mean(p, error[..., None] * slopes_of_error)


@claim(
    "soft_q.eq32",
    where="App. B, Eqs. 30-32",
    title="The gradient of the Bellman error",
    statement=r"The gradient of the Bellman error $\hat J_Q(\theta)=\mathbb E_{s_t\sim q_{s_t},a_t\sim q_{a_t}}\left[\frac12(\hat Q^\theta_{soft}(s_t,a_t)-"
    r"Q^\theta_{soft}(s_t,a_t))^2\right]$ with $\hat Q^\theta_{soft}=\hat A^{\bar\theta}_{soft}+V^\theta_{soft}$ is $\mathbb E\left[(\nabla_\theta Q^\theta_{soft}"
    r"(s_t,a_t)-\nabla_\theta V^\theta_{soft}(s_t))(\hat Q^\theta_{soft}(s_t,a_t)-Q^\theta_{soft}(s_t,a_t))\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="gradient",
    intended_statement=r"The printed expectation is $-\nabla_\theta\hat J_Q(\theta)$, the direction of a descent step on the Bellman error.",
    explanation=r"The derivative of $\frac12(\hat A+V-Q)^2$ is $(\nabla V-\nabla Q)(\hat A+V-Q)$: the printed sign is the opposite. Whoever descends along the printed "
    "expression as a gradient moves away from the target; whoever adds it moves towards it.",
    hand_check=r"One state, two actions, $Q=(0,0)$, $\hat A=(1,0)$, each action with weight $\frac12$, derivative in $Q(s,a_1)$: $\nabla V=\frac12$, and the errors are "
    r"$(1+\log2,\log2)$. The gradient is $\frac12(\frac12-1)(1+\log2)+\frac12\cdot\frac12\log2=-\frac14$; the print has $+\frac14$.",
)
def the_gradient_of_the_bellman_error(p: Problem) -> Check:
    """The derivative in every entry of Q, against Eq. 32."""
    return Check("gradient", _error_gradient(p), "==", _printed_direction(p), scale=size(p.action_values, p.advantages))


def the_descent_direction_of_the_bellman_error(p: Problem) -> Check:
    """Minus the derivative in every entry of Q, against Eq. 32."""
    return Check(
        "gradient", -_error_gradient(p), "==", _printed_direction(p), scale=size(p.action_values, p.advantages)
    )


_REGRESSION = Space(
    {
        "action_values": Real(("states", "actions"), exponents=(-1, 1)),
        "advantages": Real(("states", "actions"), exponents=(-1, 1)),
        "state_weights": Simplex(("states",), exponents=(-20, 0)),
        "action_weights": Simplex(("actions",), exponents=(-20, 0)),
    },
    SIZES,
)
the_gradient_of_the_bellman_error.reading(
    "literal",
    space=_REGRESSION,
    assumptions=[FINITE, UNIT_TEMPERATURE, _TABLE, "the advantage does not contribute to the gradient"],
)
the_gradient_of_the_bellman_error.reading(
    "intended",
    space=_REGRESSION,
    adds=["the printed expression is the direction of the update, minus the gradient"],
    sides=the_descent_direction_of_the_bellman_error,
)


@claim(
    "soft_q.appb.recover",
    where="App. B, after Eq. 32",
    title="The update of the Bellman error is the policy gradient",
    statement=r"With $\mathcal E^\phi=Q^\theta_{soft}$ and $q_{s_t}q_{a_t}=\rho_{\pi^\phi}$ the update of Eq. 32 recovers the policy gradient in Eq. 29: "
    "entropy-regularized policy gradient can be viewed as performing soft $Q$-learning.",
    kind="identity",
    shape=POINTWISE,
    condition="policy gradient",
    explanation=r"Then $V^\theta_{soft}=\bar{\mathcal E}^\phi$, and the target $\hat A+V^\theta$ differs from $\hat Q_{\pi^\phi}$ by a number that depends on the state "
    "alone, which has mean 0 against the score. Held against the gradient of expected return and entropies, derived forwards. Two things are said elsewhere: "
    r"for Eq. 29 to be the policy gradient $\hat Q_{\pi^\phi}$ must be the soft $Q$-value (`soft_q.eq29`), as the soft advantage of Eq. 31 is; and Eq. 32 as printed is minus the "
    "gradient of the Bellman error (`soft_q.eq32`), so that descending on that error ascends the objective.",
)
def the_update_is_the_policy_gradient(p: Problem) -> list[Check]:
    """Eq. 32 under the distribution of the policy, against Eq. 29 and against the derivative of the objective."""
    steps = Steps(p)
    energies = p.log_policy + p.log_partition[..., None]
    soft = steps.action_values(1)
    targets = [v - soft_policy_value(p.log_policy, v, 1)[..., None] + p.log_partition[..., None] for v in soft]
    update = steps.score_gradient([target - energies for target in targets])
    scale = gradient_size(p, p.log_partition)
    return [
        Check("Eq. 29", update, "==", steps.score_gradient([v - energies for v in soft]), scale=scale),
        Check("policy gradient", update, "==", steps.regularised_gradient(), scale=scale),
    ]


the_update_is_the_policy_gradient.both_readings(
    space=horizon_space(log_partition=Real(("states",), exponents=(-1, 2))),
    assumptions=[
        FINITE,
        STEPS,
        "the policy is that of Eq. 26, with one energy for each state and action as its parameters",
        "Eqs. 29-32: the estimates are exact, those of the soft advantage and the soft Q-value of the policy",
    ],
    effort=0.1,
)


@claim(
    "soft_q.appb.constant",
    where="App. B, end",
    title="At convergence Q is the soft Q-value up to an additive constant",
    statement=r"At convergence $Q^\theta_{soft}$ approximates the soft $Q$-value up to an additive constant.",
    kind="convergence",
    shape=CONVERGENCE,
    condition="one constant",
    intended_statement=r"At convergence $Q^\theta_{soft}(s,a)=Q^*_{soft}(s,a)+c(s)$, with one constant for each state; and if the errors of Eq. 30 are at most $\epsilon$, "
    r"then $Q^\theta-Q^*$ differs between the actions of a state by at most $2\epsilon/(1-\gamma)$.",
    explanation=r"The error $\hat A+V^\theta-Q^\theta$ is 0 exactly where $Q^\theta-V^\theta$ is the advantage, and $V^\theta(s)$ may be anything: a shift of all actions of a "
    "state moves $V^\\theta(s)$ along with them. So the shift is one of each state, not one constant, and does not vanish: a gradient step keeps "
    r"$\sum_aQ^\theta(s,a)$ as it is in every state. The policy does not see it (`soft_q.appb.shift`), but the values of two states cannot be compared. "
    + DRAWN_BY_SOLUTION,
    hand_check=r"$\gamma=0$, two states, one action, rewards 0 and 1, so that the soft $Q$-value is $(0,1)$ and the advantage 0. From $Q^\theta=0$ the target is "
    r"$0+V^\theta=0$: converged, with the shifts 0 and $-1$.",
)
def one_constant_for_all_states(p: Problem) -> list[Check]:
    """At a function whose target is itself: how far it is from the soft action values, against how far at the first pair."""
    best = optimal_action_values(p)
    found = best + p.shifts[..., :, None]
    value = soft_maximum(found, 1)
    target = best - soft_maximum(best, 1)[..., None] + value[..., None]
    shifts = found - best
    scale = size(p.values, p.log_policy, p.shifts)
    return [
        Check("one constant", shifts, "==", shifts * 0 + shifts[..., :1, :1], scale=scale),
        Check("converged", target, "==", found, scale=scale, asserted=False),
    ]


def one_constant_for_each_state(p: Problem) -> list[Check]:
    """At any function: how much its distance differs within a state, against its largest error of Eq. 30."""
    rewards = rewards_of(p)
    best = optimal_action_values(p)
    log_policy = log_soft_greedy(p.found, 1)
    action_values, values = values_of(p, log_policy, rewards)
    target = action_values - values[..., None] + soft_maximum(p.found, 1)[..., None]
    errors = target - p.found
    scale = value_size(p, p.values, p.log_policy, p.found, rewards)
    apart = p.found - best
    within = (1 - row(p.discount)) * spread(apart)
    bound = within * 0 + row(2 * largest(errors))
    own = p.found - action_values
    shifts = soft_maximum(p.found, 1) - values
    return [
        Check("one constant a state", within, "<=", bound, scale=scale),
        Check("of the policy itself", own, "==", shifts[..., None] - errors, scale=scale),
    ]


one_constant_for_all_states.reading(
    "literal",
    space=optimal_space(shifts=Real(("states",))),
    assumptions=[FINITE, INFINITE_HORIZON, UNIT_TEMPERATURE, _TABLE, "the target is that of Eq. 31"],
)
one_constant_for_all_states.reading(
    "intended",
    space=optimal_space(found=Real(("states", "actions"), exponents=(-2, 2))),
    adds=["a constant for each state", "the advantage is that of the policy of Q"],
    sides=one_constant_for_each_state,
)
