"""Section 2: Policy Mirror Descent (Propositions 1 and 2)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    centred,
    expectation,
    expectation_slope,
    kl,
    lift_objective,
    log_lift,
    nearest_reverse,
    reverse_kl_slope,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURE, family_space, lift_size, lifted
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import lift_identity, pmd_monotone_identity, pmd_slope_identity


@claim(
    "ecpo.prop1",
    where="Sec. 2, Proposition 1",
    title="Project after Lift solves the regularised problem over the class",
    statement=r"$\arg\max_{\pi_\theta\in\Pi}\ \mathbb E_{\rho\sim\pi_\theta}r(\rho)-\tau D_{KL}(\pi_\theta\Vert\bar\pi)"
    r"=\arg\min_{\pi_\theta\in\Pi}D_{KL}(\pi_\theta\Vert\bar\pi^*_\tau)$, where $\bar\pi^*_\tau="
    r"\arg\max_{\pi\in\Delta}\mathbb E_{\rho\sim\pi}r(\rho)-\tau D_{KL}(\pi\Vert\bar\pi)$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="same members",
    explanation="The two objectives differ by the factor $-\\tau$ and a constant, so they order every class alike.",
)
def project_after_lift(p: Problem) -> list[Check]:
    """Whatever minimises the divergence maximises the objective, and the other way round."""
    xp = namespace(p.log_family)
    scores = lift_objective(p.log_family, p.log_reference[..., None, :], p.returns[..., None, :], row(p.tau), 0)
    divergences = kl(p.log_family, log_lift(p.log_reference, p.returns, p.tau, 0)[..., None, :])
    chosen = xp.select(scores[..., None], xp.argmin(divergences))[..., 0]
    best = xp.select(divergences[..., None], xp.argmin(-scores))[..., 0]
    terms = lift_size(p, p.log_family) + p.tau * size(p.log_reference)
    return [
        Check("projection maximises", chosen, ">=", xp.max(scores), scale=terms),
        Check("maximiser projects", best, "<=", xp.min(divergences), scale=terms / p.tau),
    ]


project_after_lift.both_readings(
    space=family_space(entropy=False, reference=Simplex(("n",))),
    assumptions=[DETERMINISTIC, "a reference policy is given", "Pi may be non-convex", TEMPERATURE],
    proof=lift_identity(entropy=False, dynamics=False),
)


@claim(
    "ecpo.prop2.monotone",
    where="Sec. 2, Proposition 2.1",
    title="PMD never lowers the expected return",
    statement=r"$\mathbb E_{\rho\sim\pi_{\theta_{t+1}}}r(\rho)-\mathbb E_{\rho\sim\pi_{\theta_t}}r(\rho)\ge 0$ for PMD.",
    kind="inequality",
    shape=POINTWISE,
    condition="return",
)
def pmd_never_lowers_the_return(p: Problem) -> Any:
    """The globally projected lift earns at least what the current policy earns."""
    current = p.log_family[..., 0, :]
    new = nearest_reverse(lifted(p, current), p.log_family)
    return Check("return", expectation(new, p.returns), ">=", expectation(current, p.returns), scale=size(p.returns))


pmd_never_lowers_the_return.both_readings(
    space=family_space(entropy=False),
    assumptions=[DETERMINISTIC, "arbitrary parametrization", "the Project step is globally solved", TEMPERATURE],
    proof=pmd_monotone_identity,
)


@claim(
    "ecpo.prop2.fixed",
    where="Sec. 2, Proposition 2.2",
    title="Fixed points of PMD are stationary points of the expected return",
    statement=r"The fixed points of PMD are stationary points of $\mathbb E_{\rho\sim\pi_\theta}r(\rho)$.",
    kind="optimality",
    shape=CONVERGENCE,
    condition="stationary",
    intended_statement=r"If the gradient of the Project objective $D_{KL}(\pi_\theta\Vert\bar\pi^*_\tau)$ vanishes at $\theta_t$, "
    r"then $\theta_t$ is a stationary point of $\mathbb E_{\rho\sim\pi_\theta}r(\rho)$.",
    explanation="The paper's proof differentiates the Project objective at a fixed point. Where the policy has a probability of 0 "
    r"there is nothing to differentiate. In the class $\pi_\theta\propto(p_1e^{u_1\theta},\dots,p_ne^{u_n\theta},\theta^2)$ at "
    r"$\theta=0$ the last trajectory has probability 0, and so it has in the lift. Every other member gives it mass, so its "
    r"divergence from the lift is infinite: the Project step, solved exactly, stays at $\theta=0$. The derivative of the expected "
    "return there is any number. "
    r"Long gradient steps fail too: in $(\theta^2,1)/(1+\theta^2)$ a step of size $2\theta/F'(\theta)$ on the Project objective $F$ leads to "
    r"$-\theta$, the same policy, although the return is not stationary.",
    hand_check=r"The lift of $(p_1,\dots,p_n,0)$ ends in 0, so $D_{KL}(\pi_\theta\Vert\bar\pi^*_\tau)=\infty$ for every $\theta\ne0$ and "
    r"$\theta=0$ is the only minimiser. There $\frac{d}{d\theta}\mathbb E r=\sum_ip_i(u_i-\sum_jp_ju_j)r_i$.",
)
def pmd_fixed_points_are_stationary(p: Problem) -> Check:
    """At theta = 0, which every exact Project step leaves in place, the derivative of the return would have to vanish."""
    tangent = centred(p.log_policy, p.tangent)
    slope = expectation_slope(p.log_policy, p.returns, tangent)
    return Check("stationary", slope, "==", p.tau * 0, scale=size(p.returns) * size(p.tangent) * 1e-6)


pmd_fixed_points_are_stationary.reading(
    "literal",
    space=Space(
        {
            "policy": Simplex(("n",), zeros=False, exponents=(-6, 0)),
            "tangent": Real(("n",), exponents=(-1, 1)),
            "returns": Real(("n",), exponents=(-2, 2)),
            "tau": Positive(),
        },
        {"n": (2, 3)},
    ),
    assumptions=[
        DETERMINISTIC,
        "arbitrary parametrization",
        "the Project step is optimized by (multiple steps of) gradient descent (judged as solved exactly)",
        TEMPERATURE,
    ],
)


def pmd_stationary_direction(p: Problem) -> Check:
    """Along a direction in which the Project objective is flat, the return is flat."""
    target = log_lift(p.log_policy, p.returns, p.tau, 0)
    u, v = (centred(p.log_policy, x) for x in (p.first_tangent, p.second_tangent))
    a, b = (reverse_kl_slope(p.log_policy, target, c) for c in (u, v))
    flat = b[..., None] * u - a[..., None] * v
    slope = expectation_slope(p.log_policy, p.returns, flat)
    scale = size(p.returns) * size(u) * size(v) * size(p.log_policy, target)
    return Check("stationary", slope, "==", p.tau * 0, scale=scale)


pmd_fixed_points_are_stationary.reading(
    "intended",
    space=Space(
        {
            "policy": Simplex(("n",), zeros=False, exponents=(-8, 0)),
            "returns": Real(("n",)),
            "first_tangent": Real(("n",), exponents=(-1, 1)),
            "second_tangent": Real(("n",), exponents=(-1, 1)),
            "tau": Positive(),
        },
        {"n": (2, 3, 5)},
    ),
    adds=[
        "the policy is differentiable in theta and positive at theta_t",
        "a fixed point is a point at which the gradient of the Project objective vanishes (Eq. 14): one that every small "
        "gradient step leaves in place",
    ],
    sides=pmd_stationary_direction,
    proof=pmd_slope_identity,
)
