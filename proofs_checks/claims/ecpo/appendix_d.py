r"""Appendix D: stochastic transitions (Lemma 8, Theorem 3), judged on two-step models."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import lift_objective_with_dynamics, log_lift, nearest_forward, surrogate
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, OPTIMALITY, POINTWISE, Check, Printed, claim
from proofs_checks.claims.ecpo.common import TEMPERATURES, term_size
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
    log_dynamics,
    printed_density,
    two_step_lift,
    two_step_scale,
    two_step_space,
)
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Simplex
from proofs_checks.instances import Problem


@claim(
    "ecpo.appd.lemma8",
    where="App. D.2, Lemma 8",
    title="Closed form of the Lift step under stochastic transitions",
    statement=r"The maximizer of $\mathbb E_{\rho\sim p_{\pi,f}}[r(\rho)-\tau'\log\pi(\rho)]-\tau D_{KL}(p_{\pi,f}\Vert p_{\bar\pi,f})$ "
    r"over $\Delta_f$ is $\bar\pi^*_{\tau,\tau'}(\rho)=\dfrac{\bar\pi(\rho)\exp\{\frac{r(\rho)-\tau'\log\bar\pi(\rho)}{\tau+\tau'}\}}"
    r"{\sum_{\rho'}\bar\pi(\rho')f(\rho')\exp\{\frac{r(\rho')-\tau'\log\bar\pi(\rho')}{\tau+\tau'}\}}$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    intended_statement="The same for a reference policy that is positive everywhere; equivalently, for every reference, "
    r"$\bar\pi^*_{\tau,\tau'}\propto\exp\{\frac{r+\tau\log\bar\pi}{\tau+\tau'}\}$.",
    explanation=r"As for Eq. (5): where $\bar\pi(\rho)=0$ and $\tau'>0$ the printed numerator is $0\cdot\exp\{+\infty\}$.",
    hand_check=r"At a trajectory with $\bar\pi(\rho)=0$: $-\tau'\log\bar\pi(\rho)=+\infty$, so the numerator is $0\cdot\infty$.",
)
def the_stochastic_lift_is_optimal(p: Problem) -> Check:
    """No density of the constraint set has a larger objective than the closed form."""
    joint = (
        p.log_challenger_first[..., :, None, None] + p.log_challenger_state[..., :, :, None] + p.log_challenger_second
    )
    challenger = flat(joint - log_dynamics(p))
    reference, returns, dynamics = flat_reference(p), flat_returns(p), flat_dynamics(p)
    best, other = (
        lift_objective_with_dynamics(x, reference, returns, p.tau, p.tau_prime, dynamics)
        for x in (flat(two_step_lift(p)), challenger)
    )
    return Check("no challenger is better", best, ">=", other, scale=two_step_scale(p))


_CHALLENGER: dict[str, Any] = {
    "challenger_first": Simplex(("actions",), zeros=False),
    "challenger_state": Simplex(("actions", "states"), zeros=False),
    "challenger_second": Simplex(("actions", "states", "actions"), zeros=False),
}
the_stochastic_lift_is_optimal.reading(
    "literal",
    space=two_step_space(zeros=False, **_CHALLENGER),
    assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, TEMPERATURES],
    printed=Printed(two_step_space(zeros=True), printed_density),
)
the_stochastic_lift_is_optimal.reading(
    "intended", space=two_step_space(zeros=False, **_CHALLENGER), adds=[POSITIVE_REFERENCE]
)


@claim(
    "ecpo.appd.policy",
    where="App. D.2, Lemma 8",
    title="The stochastic lift is a policy",
    statement=r"The $\bar\pi^*_{\tau,\tau'}$ of Lemma 8 is a policy, with policy probability $\pi(\rho)=\prod_{t=1}^{T-1}\pi(a_t\mid s_t)$ "
    r"(the unconstrained optimal policy of Eq. 27).",
    kind="existence",
    shape=EXISTENCE,
    condition="policy",
    explanation=r"$\Delta_f$ asks only that $\sum_\rho\pi(\rho)f(\rho)=1$, so the maximiser may make good luck more likely. "
    r"A policy must have $\sum_{a_2}\pi(a_1\mid s_1)\pi(a_2\mid s_2)=\pi(a_1\mid s_1)$ whatever state $s_2$ comes; the lift weighs "
    "each state by its soft value instead. No policy has these trajectory probabilities.",
    hand_check=r"Sum the density over the second action: a policy gives the same number for every $s_2$ after the same $a_1$.",
)
def the_stochastic_lift_is_a_policy(p: Problem) -> Check:
    """After each first action, the mass of the later actions is the same for every state."""
    xp = namespace(p.first)
    mass = xp.sum(xp.exp(two_step_lift(p)))
    return Check("policy", mass, "==", mass * 0 + mass[..., :, 0, None])


the_stochastic_lift_is_a_policy.reading(
    "literal",
    space=two_step_space(zeros=True, sizes=SMALL_SIZES, **TAME),
    assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, TEMPERATURES],
)
the_stochastic_lift_is_a_policy.reading(
    "intended", space=two_step_space(zeros=False, sizes=SMALL_SIZES, **TAME), adds=[POSITIVE_REFERENCE]
)


@claim(
    "ecpo.appd.policy.amended",
    where="amends Lemma 8",
    title="The lift is a policy exactly when all successors of a taken action have the same soft value",
    statement=r"After every first action, $\sum_{a_2}\bar\pi^*_{\tau,\tau'}(a_1,s_2,a_2)$ is proportional to "
    r"$\exp\{\bar V^*(s_2)/(\tau+\tau')\}$ with $\bar V^*$ of Eq. (8), and given $a_1,s_2$ the second action has the Boltzmann policy of "
    r"Eq. (8). So $\bar\pi^*_{\tau,\tau'}$ is a policy if and only if all successors of every action that the reference "
    "takes have the same soft value, as under deterministic transitions.",
    kind="existence",
    shape=EXISTENCE,
    condition="soft values",
    explanation="Summing the Boltzmann density over the later actions leaves the soft value of the state that came.",
    amends="ecpo.appd.policy",
)
def the_lift_weighs_states_by_their_soft_values(p: Problem) -> list[Check]:
    """The mass of each state, and the conditional policy, of the lift over trajectories."""
    xp = namespace(p.first)
    tau, tau_prime = row(p.tau), row(p.tau_prime)
    values = surrogate(p.log_second, p.second_rewards, tau, tau_prime)
    later = log_lift(p.log_second, p.second_rewards, tau, tau_prime)
    lift = two_step_lift(p)
    log_mass = xp.logsumexp(lift)
    advantage = (values - values[..., :1]) / row(p.tau + p.tau_prime)
    expected = xp.exp(log_mass[..., :, :1] + advantage[..., None, :])
    scale = two_step_scale(p) / (p.tau + p.tau_prime) if xp.name == "float64" else 1.0
    return [
        Check("soft values", xp.exp(log_mass), "==", expected, scale=scale),
        Check("later actions", xp.exp(lift), "==", xp.exp(log_mass[..., None] + later[..., None, :, :]), scale=scale),
    ]


the_lift_weighs_states_by_their_soft_values.both_readings(
    space=two_step_space(zeros=True, sizes=SMALL_SIZES, **TAME),
    assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, TEMPERATURES],
)


@claim(
    "ecpo.appd.thm3",
    where="App. D.3, Theorem 3",
    title="ECPO never lowers the surrogate under stochastic transitions",
    statement=r"$SR_f(\pi_{\theta_{t+1}})-SR_f(\pi_{\theta_t})\ge0$ with $SR_f(\pi_\theta)=(\tau+\tau')\log\sum_\rho f(\rho)"
    r"\exp\left\{\frac{r(\rho)+\tau\log\pi_\theta(\rho)}{\tau+\tau'}\right\}$.",
    kind="inequality",
    shape=POINTWISE,
    condition="surrogate",
    explanation="The proof of Theorem 2 carries over although the lift is no policy: only its projection has to be one.",
)
def the_stochastic_surrogate_never_falls(p: Problem) -> Check:
    """The policy nearest to the stochastic lift has at least the surrogate of the current one."""
    log_members = p.log_firsts[..., :, :, None, None] + p.log_seconds[..., :, None, :, :]
    members, returns, dynamics = flat(log_members), flat_returns(p), flat_dynamics(p)
    current = members[..., 0, :]
    lift = log_lift(current, returns, p.tau, p.tau_prime, dynamics)
    joint = members + dynamics[..., None, :]
    new = nearest_forward(lift + dynamics, joint) - dynamics
    after, before = (surrogate(x, returns, p.tau, p.tau_prime, dynamics) for x in (new, current))
    scale = term_size(p, size(p.first_rewards, p.second_rewards), joint, p.tau_prime)
    return Check("surrogate", after, ">=", before, scale=scale)


the_stochastic_surrogate_never_falls.both_readings(
    space=two_step_space(
        zeros=True,
        policies=False,
        sizes={"members": (2, 3), "actions": (1, 2, 3), "states": (1, 2)},
        firsts=Simplex(("members", "actions")),
        seconds=Simplex(("members", "states", "actions")),
    ),
    assumptions=[
        STOCHASTIC,
        "pi_theta_t is the update sequence of ECPO (Eq. 27): the projection is global",
        TEMPERATURES,
    ],
)
