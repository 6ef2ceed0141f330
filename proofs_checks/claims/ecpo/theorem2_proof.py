"""Appendix A.4: the steps by which Theorem 2 is proved."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import centred, forward_kl_slope, kl, log_lift, surrogate, surrogate_gradient
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, Printed, claim
from proofs_checks.claims.ecpo.appendix_a2 import moving_mass, slope_space
from proofs_checks.claims.ecpo.common import (
    DETERMINISTIC,
    TEMPERATURES,
    TRAJECTORIES,
    lift_size,
    lifted,
    printed_weights,
)
from proofs_checks.claims.terms import size
from proofs_checks.extended import Extended, total
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space
from proofs_checks.symbolic import ecpo_slope_identity


@claim(
    "ecpo.thm2.jensen",
    where="App. A.4",
    title="The surrogate rises by at least tau times the fall of the Project objective",
    statement=r"$SR(\pi_{\theta_{t+1}})-SR(\pi_{\theta_t})\ge\tau\left[D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_{\theta_t})-"
    r"D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_{\theta_{t+1}})\right]$.",
    kind="inequality",
    shape=POINTWISE,
    condition="rise",
    explanation="Jensen's inequality for the logarithm of a mean under the lift; it holds for every new policy.",
)
def the_surrogate_rises_with_the_projection(p: Problem) -> Check:
    """Any new policy, against the divergences from the lift of the current one."""
    lift = lifted(p, p.log_current)
    rise = surrogate(p.log_new, p.returns, p.tau, p.tau_prime) - surrogate(p.log_current, p.returns, p.tau, p.tau_prime)
    right = p.tau * (kl(lift, p.log_current) - kl(lift, p.log_new))
    scale = lift_size(p, p.log_current, p.tau_prime) + lift_size(p, p.log_new, p.tau_prime)
    return Check("rise", rise, ">=", right, scale=scale)


the_surrogate_rises_with_the_projection.both_readings(
    space=Space(
        {
            "new": Simplex(("n",)),
            "current": Simplex(("n",)),
            "returns": Real(("n",)),
            "tau": Positive(),
            "tau_prime": NonNegative(),
        },
        TRAJECTORIES,
    ),
    assumptions=[DETERMINISTIC, "the lift is that of the current policy", TEMPERATURES],
)


def printed_ecpo_slope(instance: Instance) -> Extended:
    """Eq. 16 as printed, along a tangent of probabilities: each term divides by pi(rho)."""
    policy, direction = instance["policy"], instance["first_tangent"]
    moves = moving_mass(policy, direction)
    if not any(moves):
        return Extended(0)  # a policy that does not move: both derivatives are 0
    weights = printed_weights(policy, instance["returns"], instance["tau"], instance["tau_prime"])
    slopes = [w * (Extended(1) / q) * m for w, q, m in zip(weights, policy, moves, strict=True)]
    return total(slopes) / total(weights)


@claim(
    "ecpo.thm2.condition",
    where="App. A.4, Eqs. 16-18",
    title="The Project objective of ECPO is stationary exactly where the surrogate is",
    statement=r"$\left.\frac{dD_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_\theta)}{d\theta}\right\rvert_{\theta=\theta_t}=0\iff"
    r"\left.\frac{dSR(\pi_\theta)}{d\theta}\right\rvert_{\theta=\theta_t}=0$.",
    kind="identity",
    shape=POINTWISE,
    condition="stationary",
    intended_statement=r"The same where $\pi_{\theta_t}(\rho)>0$ for every trajectory.",
    explanation=r"Eq. (16) divides by $\pi_\theta(\rho)$. At a probability of 0 the surrogate need not be differentiable: along "
    r"$\pi_\theta=(\sin^2\theta,\cos^2\theta)$ with $\tau=\tau'$ it has a kink at $\theta=0$, where the Project objective is flat.",
    hand_check=r"At a trajectory with $\pi_{\theta_t}(\rho)=0$ the factor $\frac1{\pi_\theta(\rho)}$ divides by 0.",
)
def the_slopes_vanish_together(p: Problem) -> list[Check]:
    """Each slope vanishes along the directions in which the other does."""
    xp = namespace(p.policy)
    target = log_lift(p.log_policy, p.returns, p.tau, p.tau_prime)
    weights = surrogate_gradient(p.log_policy, p.returns, p.tau, p.tau_prime)
    u, v = (centred(p.log_policy, x) for x in (p.first_tangent, p.second_tangent))

    def projection(tangent: Any) -> Any:
        return forward_kl_slope(target, tangent)

    def rise(tangent: Any) -> Any:
        return xp.sum(weights * tangent)

    scale = size(u) * size(v) * size(target) * p.tau
    checks = []
    for name, first, second in (
        ("surrogate where projection is flat", projection, rise),
        ("projection where surrogate is flat", rise, projection),
    ):
        flat = first(v)[..., None] * u - first(u)[..., None] * v
        checks.append(Check(name, second(flat), "==", p.tau * 0, scale=scale))
    return checks


the_slopes_vanish_together.reading(
    "literal",
    space=slope_space(zeros=False, entropy=True),
    assumptions=[DETERMINISTIC, "tau > 0", "the lift is that of the current policy"],
    printed=Printed(slope_space(zeros=True, entropy=True), printed_ecpo_slope),
)
the_slopes_vanish_together.reading(
    "intended",
    space=slope_space(zeros=False, entropy=True),
    adds=["pi(rho) > 0 for every trajectory"],
    proof=ecpo_slope_identity,
)
