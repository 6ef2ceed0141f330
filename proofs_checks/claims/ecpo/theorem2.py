"""Section 3.2, Theorem 2: ECPO and its surrogate."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    centred,
    forward_kl_slope,
    log_lift,
    nearest_forward,
    surrogate,
    surrogate_gradient,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURES, family_space, lift_size, lifted
from proofs_checks.claims.terms import size
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
    explanation=r"In the class $\pi_\theta=(\theta^2,1)/(1+\theta^2)$ the point $\theta=0$ is a fixed point for every step size, every number "
    r"of steps and the exact Project step: the lift of $(0,1)$ is $(0,1)$, and $D_{KL}((0,1)\Vert\pi_\theta)=\log(1+\theta^2)$. But with "
    r"$\tau=\tau'$ the surrogate has a kink there: it rises linearly in both directions, so the fixed point is a sharp local "
    "minimum of what ECPO is to raise; its derivative, which Eq. (16) asks to be 0, does not exist.",
    hand_check=r"With $\eta=2\tau$: $SR(\pi_\theta)=\eta\log(|\theta|e^{r_1/\eta}+e^{r_2/\eta})-\tau\log(1+\theta^2)$, whose slopes at $\theta=0$ are "
    r"$\pm\eta e^{(r_1-r_2)/\eta}$.",
)
def ecpo_fixed_points_are_stationary(p: Problem) -> Check:
    """The slope of the surrogate to the right of theta = 0, for equal temperatures."""
    xp = namespace(p.returns)
    eta = 2 * p.tau
    slope = eta * xp.exp((p.returns[..., 0] - p.returns[..., 1]) / eta)
    return Check("stationary", slope, "==", p.tau * 0, scale=1e-6 * p.tau)


def _surrogate_slope(p: Problem, log_policy: Any, tangent: Any) -> Any:
    xp = namespace(log_policy)
    return xp.sum(surrogate_gradient(log_policy, p.returns, p.tau, p.tau_prime) * tangent)


ecpo_fixed_points_are_stationary.reading(
    "literal",
    space=Space({"returns": Real((2,), exponents=(-1, 0)), "tau": Positive(exponents=(0, 2))}),
    assumptions=[
        DETERMINISTIC,
        "arbitrary parametrization",
        "the Project step is optimized by gradient descent",
        TEMPERATURES + ", here tau' = tau",
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
