"""Section 3.2, Theorem 2: ECPO and its surrogate."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    centred,
    forward_kl_slope,
    log_lift,
    nearest_forward,
    square_odds_policy,
    surrogate,
    surrogate_gradient,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURES, family_space, lift_size, lifted, size
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import ecpo_slope_identity


@claim(
    "ecpo.thm2.monotone",
    where="Sec. 3.2, Theorem 2.1, Eq. 7",
    title="ECPO never lowers the surrogate",
    statement=r"$SR(\pi_{\theta_{t+1}})-SR(\pi_{\theta_t})\ge0$ for ECPO, where "
    r"$SR(\pi)=(\tau+\tau')\log\sum_\rho\exp\left\{\frac{r(\rho)+\tau\log\pi(\rho)}{\tau+\tau'}\right\}$.",
    kind="inequality",
    shape=POINTWISE,
    condition="surrogate",
    explanation=r"By Jensen's inequality the surrogate rises by at least $\tau$ times the decrease of the Project objective.",
)
def the_surrogate_never_falls(p: Problem) -> Check:
    """The globally projected lift has at least the surrogate of the current policy."""
    current = p.log_family[..., 0, :]
    new = nearest_forward(lifted(p, current), p.log_family)
    after, before = (surrogate(policy, p.returns, p.tau, p.tau_prime) for policy in (new, current))
    return Check("surrogate", after, ">=", before, scale=lift_size(p, p.log_family, p.tau_prime))


the_surrogate_never_falls.both_readings(
    space=family_space(entropy=True),
    assumptions=[DETERMINISTIC, "arbitrary parametrization", "the Project step is globally solved", TEMPERATURES],
)


@claim(
    "ecpo.thm2.fixed",
    where="Sec. 3.2, Theorem 2.2",
    title="Fixed points of ECPO are stationary points of the surrogate",
    statement=r"The fixed points of ECPO are stationary points of $SR(\pi_\theta)$.",
    kind="optimality",
    shape=CONVERGENCE,
    condition="stationary",
    intended_statement=r"If the gradient of the Project objective $D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_\theta)$ vanishes at "
    r"$\theta_t$ and $\pi_{\theta_t}>0$, then $\theta_t$ is a stationary point of $SR(\pi_\theta)$.",
    explanation="As for Proposition 2.2: gradient descent can return to the policy that it left. In the class "
    r"$\pi_\theta=(\theta^2,1)/(1+\theta^2)$ the step of size $\alpha=2\theta/F'(\theta)$ on the Project objective $F$ leads "
    r"from $\theta$ to $-\theta$, the same policy, at every iteration, although the derivative of $SR$ is not 0.",
    hand_check=r"With $\pi=\theta^2/(1+\theta^2)$ and $q$ the lift of $(\pi,1-\pi)$: $F'(\theta)=2(\pi-q)/\theta>0$, the step "
    r"$\alpha=2\theta/F'(\theta)$ leads to $-\theta$, and $\frac{d}{d\theta}SR=-\tau F'(\theta)\ne0$.",
)
def ecpo_fixed_points_are_stationary(p: Problem) -> Check:
    """At a step that returns to the same policy, the derivative of the surrogate would have to vanish."""
    log_policy, tangent = square_odds_policy(p.theta)
    slope = forward_kl_slope(log_lift(log_policy, p.returns, p.tau, p.tau_prime), tangent)
    derivative = _surrogate_slope(p, log_policy, tangent)
    return Check("stationary", derivative, "==", p.tau * 0, scale=1e-6 * p.tau, given=((slope, ">", 0),))


def _surrogate_slope(p: Problem, log_policy: Any, tangent: Any) -> Any:
    xp = namespace(log_policy)
    return xp.sum(surrogate_gradient(log_policy, p.returns, p.tau, p.tau_prime) * tangent)


ecpo_fixed_points_are_stationary.reading(
    "literal",
    space=Space(
        {
            "theta": Positive(exponents=(-2, 2)),
            "returns": Real((2,)),
            "tau": Positive(),
            "tau_prime": NonNegative(),
        }
    ),
    assumptions=[
        DETERMINISTIC,
        "arbitrary parametrization",
        "the Project step is optimized by gradient descent",
        TEMPERATURES,
    ],
)


def ecpo_stationary_direction(p: Problem) -> Check:
    """Along a direction in which the Project objective is flat, the surrogate is flat."""
    target = log_lift(p.log_policy, p.returns, p.tau, p.tau_prime)
    u, v = (centred(p.log_policy, x) for x in (p.first_tangent, p.second_tangent))
    a, b = (forward_kl_slope(target, c) for c in (u, v))
    flat = b[..., None] * u - a[..., None] * v
    slope = _surrogate_slope(p, p.log_policy, flat)
    return Check("stationary", slope, "==", p.tau * 0, scale=p.tau * size(u) * size(v) * size(target))


ecpo_fixed_points_are_stationary.reading(
    "intended",
    space=Space(
        {
            "policy": Simplex(("n",), zeros=False, exponents=(-8, 0)),
            "returns": Real(("n",)),
            "first_tangent": Real(("n",), exponents=(-1, 1)),
            "second_tangent": Real(("n",), exponents=(-1, 1)),
            "tau": Positive(),
            "tau_prime": NonNegative(),
        },
        {"n": (2, 3, 5)},
    ),
    adds=[
        "the policy is differentiable in theta and positive at theta_t (where a probability is 0 the surrogate need not be "
        "differentiable)",
        "a fixed point is a point at which the gradient of the Project objective vanishes (Eq. 18): one that every small "
        "gradient step leaves in place",
    ],
    sides=ecpo_stationary_direction,
    proof=ecpo_slope_identity,
)
