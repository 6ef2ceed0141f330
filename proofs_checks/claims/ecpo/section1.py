"""Section 1.1: what is said to lose no generality."""

from __future__ import annotations

from exactrl.formulas import expectation, soft_value, surrogate
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import TEMPERATURES, row
from proofs_checks.claims.ecpo.two_steps import (
    POSITIVE_DYNAMICS,
    POSITIVE_REFERENCE,
    SMALL_SIZES,
    STOCHASTIC,
    TAME,
    flat_dynamics,
    flat_reference,
    flat_returns,
    two_step_scale,
    two_step_space,
)
from proofs_checks.instances import Problem


@claim(
    "ecpo.sec1.wlog",
    where="Sec. 1.1",
    title="Deterministic transitions lose no generality",
    statement=r"Without loss of generality, state transitions are assumed deterministic ($s_{t+1}=f(s_t,a_t)$) and $\gamma=1$; all "
    r"theoretical results for the general stochastic environment are presented in Appendix D.",
    kind="identity",
    shape=OPTIMALITY,
    condition="value",
    explanation="Under deterministic transitions the Lift step over distributions of trajectories is solved by a policy, so its "
    "optimal value is the value of a policy (Eq. 8). Under stochastic transitions it is not: the largest value of the lift "
    r"objective over $\Delta_f$ is $SR_f(\bar\pi)$, and no policy attains it, because a policy cannot choose the next state. "
    "So a result that holds for every deterministic model fails for a stochastic one.",
    hand_check="The best policy averages over the next state before it exponentiates; the lift exponentiates first. Compare "
    r"$\mathbb E_{s_2}\bar V(s_2)$ with $(\tau+\tau')\log\mathbb E_{s_2}\exp\{\bar V(s_2)/(\tau+\tau')\}$.",
)
def the_lift_value_is_the_value_of_a_policy(p: Problem) -> Check:
    """The best value over policies against the best value over densities of trajectories."""
    later = surrogate(p.log_second, p.second_rewards, row(p.tau), row(p.tau_prime))
    expected = expectation(p.log_transitions, later[..., None, :])
    best_policy = surrogate(p.log_first, p.first_rewards + expected, p.tau, p.tau_prime)
    best_density = surrogate(flat_reference(p), flat_returns(p), p.tau, p.tau_prime, flat_dynamics(p))
    return Check("value", best_policy, "==", best_density, scale=two_step_scale(p))


the_lift_value_is_the_value_of_a_policy.reading(
    "literal",
    space=two_step_space(zeros=True, sizes=SMALL_SIZES, **TAME),
    assumptions=["episodic setting, finite state and action spaces", STOCHASTIC, TEMPERATURES],
)
the_lift_value_is_the_value_of_a_policy.reading(
    "intended",
    space=two_step_space(zeros=False, sizes=SMALL_SIZES, **TAME),
    adds=[POSITIVE_DYNAMICS, POSITIVE_REFERENCE],
)


@claim(
    "ecpo.sec1.wlog.amended",
    where="amends Sec. 1.1",
    title="What carries over is an inequality: the lift's value is at least that of every policy",
    statement=r"Under stochastic transitions the optimal value of the Lift step over policies is at most "
    r"$SR_f(\bar\pi)=\max_{\Delta_f}$ of its objective, and at least $SR_f(\bar\pi)$ with the inner soft maximum over next states "
    r"replaced by their mean; both agree when every transition is deterministic.",
    kind="inequality",
    shape=POINTWISE,
    condition="value",
    explanation="Jensen's inequality, once for each random transition; equality when the next state is certain.",
    amends="ecpo.sec1.wlog",
)
def the_lift_value_is_an_upper_bound(p: Problem) -> list[Check]:
    """No policy has more than the lift; with the state values averaged it is exactly the best policy."""
    xp = namespace(p.first)
    check = the_lift_value_is_the_value_of_a_policy.sides(p)
    assert isinstance(check, Check)
    later = surrogate(p.log_second, p.second_rewards, row(p.tau), row(p.tau_prime))
    eta = p.tau + p.tau_prime
    optimistic = soft_value(later[..., None, :] + p.transitions * 0, row(eta), p.log_transitions)
    through_states = surrogate(p.log_first, p.first_rewards + optimistic, p.tau, p.tau_prime)
    spread = xp.max(later) - xp.min(later)
    return [
        Check("value", check.left, "<=", check.right, scale=check.scale),
        Check("gap", check.right - check.left, "<=", spread * spread / (8 * eta), scale=check.scale),
        Check("states", through_states, "==", check.right, scale=check.scale),
    ]


the_lift_value_is_an_upper_bound.both_readings(
    space=two_step_space(zeros=True), assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, TEMPERATURES]
)
