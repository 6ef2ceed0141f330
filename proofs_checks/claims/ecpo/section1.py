"""Section 1.1: what is said to lose no generality."""

from __future__ import annotations

from exactrl.formulas import expectation, kl, lift_objective_with_dynamics, log_lift, soft_value, surrogate
from proofs_checks.claim import OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import TEMPERATURES, hoeffding_gap
from proofs_checks.claims.ecpo.two_steps import (
    POSITIVE_DYNAMICS,
    POSITIVE_REFERENCE,
    SMALL_SIZES,
    STOCHASTIC,
    TAME,
    flat,
    flat_dynamics,
    flat_reference,
    flat_returns,
    log_joint,
    two_step_scale,
    two_step_space,
)
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Simplex
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
    intended_statement=r"With the definitions of Appendix D, the lift objective of every policy is $SR_f(\bar\pi)-(\tau+\tau')"
    r"D_{KL}(p_{\pi,f}\Vert p_{\bar\pi^*,f})$ (Proposition 1), and $SR_f$ rises by at least $\tau$ times the fall of the Project "
    "objective (Theorem 2).",
    explanation="Under deterministic transitions the Lift step over distributions of trajectories is solved by a policy, so its "
    "optimal value is the value of a policy (Eq. 8). Under stochastic transitions it is not: the largest value of the lift "
    r"objective over $\Delta_f$ is $SR_f(\bar\pi)$, and no policy attains it, because a policy cannot choose the next state. "
    "So a result that holds for every deterministic model fails for a stochastic one; Eq. (8) writes one symbol for both. "
    "Propositions 1-3 and Theorem 1 have no version in Appendix D.",
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


def results_carry_over(p: Problem) -> list[Check]:
    """With the definitions of Appendix D: the identity behind Proposition 1 and the Lift step, for any policy."""
    log_policy = flat(log_joint(p.log_challenger_first, p.log_challenger_second))
    reference, returns, dynamics = flat_reference(p), flat_returns(p), flat_dynamics(p)
    objective = lift_objective_with_dynamics(log_policy, reference, returns, p.tau, p.tau_prime, dynamics)
    value = surrogate(reference, returns, p.tau, p.tau_prime, dynamics)
    lift = log_lift(reference, returns, p.tau, p.tau_prime, dynamics)
    distance = (p.tau + p.tau_prime) * kl(log_policy + dynamics, lift + dynamics)
    rise = surrogate(log_policy, returns, p.tau, p.tau_prime, dynamics) - value
    gain = p.tau * (kl(lift + dynamics, reference + dynamics) - kl(lift + dynamics, log_policy + dynamics))
    scale = two_step_scale(p) + (p.tau + p.tau_prime) * size(log_policy, lift)
    return [
        Check("objective and divergence", objective, "==", value - distance, scale=scale),
        Check("surrogate and projection", rise, ">=", gain, scale=scale),
    ]


the_lift_value_is_the_value_of_a_policy.reading(
    "intended",
    space=two_step_space(
        zeros=False,
        sizes=SMALL_SIZES,
        challenger_first=Simplex(("actions",), zeros=False, exponents=(-6, 0)),
        challenger_second=Simplex(("states", "actions"), zeros=False, exponents=(-6, 0)),
        **TAME,
    ),
    adds=[
        POSITIVE_DYNAMICS,
        POSITIVE_REFERENCE,
        "what carries over is Proposition 1, the Lift step and Theorem 2, with the definitions of Appendix D",
    ],
    sides=results_carry_over,
)


@claim(
    "ecpo.sec1.wlog.amended",
    where="amends Sec. 1.1",
    title="What carries over is an inequality: the lift's value is at least that of every policy",
    statement=r"With one random transition, the optimal value of the Lift step over policies is at most $SR_f(\bar\pi)$, its value over "
    r"$\Delta_f$, and at least $SR_f(\bar\pi)-\frac{(\max_s\bar V^*(s)-\min_s\bar V^*(s))^2}{8(\tau+\tau')}$ over the states $s$ that may "
    "come; both agree when the transition is deterministic.",
    kind="inequality",
    shape=POINTWISE,
    condition="value",
    explanation="Jensen's inequality from above, Hoeffding's lemma from below.",
    amends="ecpo.sec1.wlog",
)
def the_lift_value_is_an_upper_bound(p: Problem) -> list[Check]:
    """No policy has more than the lift; with the state values averaged it is exactly the best policy."""
    check = the_lift_value_is_the_value_of_a_policy.sides(p)
    assert isinstance(check, Check)
    later = surrogate(p.log_second, p.second_rewards, row(p.tau), row(p.tau_prime))
    eta = p.tau + p.tau_prime
    optimistic = soft_value(later[..., None, :] + p.transitions * 0, row(eta), p.log_transitions)
    through_states = surrogate(p.log_first, p.first_rewards + optimistic, p.tau, p.tau_prime)
    return [
        Check("value", check.left, "<=", check.right, scale=check.scale),
        Check("gap", check.right - check.left, "<=", hoeffding_gap(later, eta), scale=check.scale),
        Check("states", through_states, "==", check.right, scale=check.scale),
    ]


the_lift_value_is_an_upper_bound.both_readings(
    space=two_step_space(zeros=True), assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, TEMPERATURES]
)
