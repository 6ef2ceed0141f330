"""Appendices A.1 and A.2: the identities behind Propositions 1 and 2."""

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
    surrogate,
)
from proofs_checks.claim import POINTWISE, Check, Printed, claim
from proofs_checks.claims.ecpo.common import (
    DETERMINISTIC,
    TEMPERATURE,
    TRAJECTORIES,
    family_space,
    lift_size,
    lifted,
    printed_lift,
)
from proofs_checks.claims.terms import size
from proofs_checks.extended import Extended, total
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space
from proofs_checks.symbolic import lift_identity, pmd_monotone_identity, pmd_slope_identity


@claim(
    "ecpo.prop1.identity",
    where="App. A.1",
    title="The divergence from the lift is the regularised return up to a constant",
    statement=r"$-\tau D_{KL}(\pi_\theta\Vert\bar\pi^*_\tau)=\mathbb E_{\rho\sim\pi_\theta}r(\rho)-\tau D_{KL}(\pi_\theta\Vert\bar\pi)"
    r"-Z_{\bar\pi}$ with $Z_{\bar\pi}=\tau\log\sum_\rho\bar\pi(\rho)\exp\{r(\rho)/\tau\}$.",
    kind="identity",
    shape=POINTWISE,
    condition="identity",
    explanation=r"Where $\pi_\theta$ has mass that $\bar\pi$ lacks, both sides are $-\infty$.",
)
def the_divergence_is_the_objective(p: Problem) -> Check:
    """Both sides for one policy."""
    left = -(p.tau * kl(p.log_policy, lifted(p, p.log_reference)))
    constant = surrogate(p.log_reference, p.returns, p.tau, 0)
    right = lift_objective(p.log_policy, p.log_reference, p.returns, p.tau, 0) - constant
    scale = lift_size(p, p.log_reference) + p.tau * size(p.log_policy)
    return Check("identity", left, "==", right, scale=scale)


the_divergence_is_the_objective.both_readings(
    space=Space(
        {"policy": Simplex(("n",)), "reference": Simplex(("n",)), "returns": Real(("n",)), "tau": Positive()},
        TRAJECTORIES,
    ),
    assumptions=[DETERMINISTIC, "reference policy given", TEMPERATURE],
    proof=lift_identity(entropy=False, dynamics=False),
)


def _improvement(p: Problem, current: Any, new: Any) -> tuple[Any, Any, Any]:
    """The rise of the return, and the terms of App. A.2's identity."""
    lift = log_lift(current, p.returns, p.tau, 0)
    rise = expectation(new, p.returns) - expectation(current, p.returns)
    return rise, p.tau * (kl(current, lift) - kl(new, lift) + kl(new, current)), p.tau * kl(new, current)


@claim(
    "ecpo.prop2.identity",
    where="App. A.2",
    title="The rise of the return is a sum of divergences",
    statement=r"$\mathbb E_{\pi_{\theta_{t+1}}}r-\mathbb E_{\pi_{\theta_t}}r=\tau\left[D_{KL}(\pi_{\theta_t}\Vert\bar\pi^*_\tau)-"
    r"D_{KL}(\pi_{\theta_{t+1}}\Vert\bar\pi^*_\tau)+D_{KL}(\pi_{\theta_{t+1}}\Vert\pi_{\theta_t})\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="identity",
    explanation="By the first line of the proof the new policy is the projected iterate. It has no mass where the current policy has "
    "none, because it minimises a divergence that is finite at the current policy; so every term is finite.",
)
def the_rise_is_a_sum_of_divergences(p: Problem) -> Check:
    """Both sides for the globally projected lift, on a finite class."""
    current = p.log_family[..., 0, :]
    new = nearest_reverse(lifted(p, current), p.log_family)
    rise, right, _ = _improvement(p, current, new)
    return Check("identity", rise, "==", right, scale=lift_size(p, p.log_family))


the_rise_is_a_sum_of_divergences.both_readings(
    space=family_space(entropy=False),
    assumptions=[
        DETERMINISTIC,
        "the lift is that of the current policy, and the new policy its projection (first line of App. A.2)",
        TEMPERATURE,
    ],
    proof=pmd_monotone_identity,
)


@claim(
    "ecpo.prop2.lower",
    where="App. A.2",
    title="PMD raises the return by at least the divergence of its step",
    statement=r"$\mathbb E_{\pi_{\theta_{t+1}}}r-\mathbb E_{\pi_{\theta_t}}r\ge\tau D_{KL}(\pi_{\theta_{t+1}}\Vert\pi_{\theta_t})\ge0$.",
    kind="inequality",
    shape=POINTWISE,
    condition="rise",
)
def the_rise_is_at_least_the_step(p: Problem) -> list[Check]:
    """The globally projected lift, on a finite class."""
    current = p.log_family[..., 0, :]
    new = nearest_reverse(lifted(p, current), p.log_family)
    rise, _, step = _improvement(p, current, new)
    scale = size(p.returns) + p.tau * size(p.log_family)
    return [Check("rise", rise, ">=", step, scale=scale), Check("step", step, ">=", p.tau * 0, scale=scale)]


the_rise_is_at_least_the_step.both_readings(
    space=family_space(entropy=False),
    assumptions=[DETERMINISTIC, "the Project step is globally solved", TEMPERATURE],
    proof=pmd_monotone_identity,
)


def slope_space(*, zeros: bool, entropy: bool = False) -> Space:
    """A policy, two tangent directions, returns and temperatures."""
    fields: dict[str, Any] = {
        "policy": Simplex(("n",), zeros=zeros, exponents=(-8, 0)),
        "returns": Real(("n",)),
        "first_tangent": Real(("n",), exponents=(-1, 1)),
        "second_tangent": Real(("n",), exponents=(-1, 1)),
        "tau": Positive(),
    }
    if entropy:
        fields["tau_prime"] = NonNegative()
    return Space(fields, {"n": (2, 3, 5)})


def moving_mass(policy: Any, direction: Any) -> list[Any]:
    """The tangent of the probabilities of a softmax whose logits move along a direction."""
    mean = sum(q * u for q, u in zip(policy, direction, strict=True))
    return [q * (u - mean) for q, u in zip(policy, direction, strict=True)]


def printed_pmd_slope(instance: Instance) -> Extended:
    """Eq. 14 as printed, along a tangent of probabilities: the sum of [log pi - log lift + 1] d pi."""
    policy, direction = instance["policy"], instance["first_tangent"]
    lift = printed_lift(policy, instance["returns"], instance["tau"])
    moves = moving_mass(policy, direction)
    if not any(moves):
        return Extended(0)  # a policy that does not move: both derivatives are 0
    return total((Extended(q).log() - x.log() + 1) * m for q, x, m in zip(policy, lift, moves, strict=True))


@claim(
    "ecpo.prop2.condition",
    where="App. A.2, Eqs. 12-15",
    title="The Project objective of PMD is stationary exactly where the return is",
    statement=r"$\left.\frac{d D_{KL}(\pi_\theta\Vert\bar\pi^*_\tau)}{d\theta}\right\rvert_{\theta=\theta_t}=0\iff\sum_\rho r(\rho)"
    r"\left.\frac{d\pi_\theta(\rho)}{d\theta}\right\rvert_{\theta=\theta_t}=0$.",
    kind="identity",
    shape=POINTWISE,
    condition="stationary",
    intended_statement=r"The same where $\pi_{\theta_t}(\rho)>0$ for every trajectory.",
    explanation=r"Where $\pi_{\theta_t}(\rho)=0$ the lift is 0 too and Eq. (14) subtracts $\log0$ from $\log0$; the divergence is "
    "infinite for every policy that gives the trajectory any mass, and has no derivative.",
    hand_check=r"At a trajectory with $\pi_{\theta_t}(\rho)=0$ the bracket of Eq. (14) is $\log0-\log0+1=-\infty+\infty$.",
)
def the_slopes_vanish_together(p: Problem) -> list[Check]:
    """Each slope vanishes along the directions in which the other does."""
    target = log_lift(p.log_policy, p.returns, p.tau, 0)
    u, v = (centred(p.log_policy, x) for x in (p.first_tangent, p.second_tangent))
    checks = []
    scale = size(p.returns) * size(u) * size(v) * size(p.log_policy, target)
    for name, first, second in (
        ("return where projection is flat", _projection(p, target), _return(p)),
        ("projection where return is flat", _return(p), _projection(p, target)),
    ):
        flat = first(v)[..., None] * u - first(u)[..., None] * v
        checks.append(Check(name, second(flat), "==", p.tau * 0, scale=scale * (1 + 1 / p.tau)))
    return checks


def _projection(p: Problem, target: Any) -> Any:
    return lambda tangent: reverse_kl_slope(p.log_policy, target, tangent)


def _return(p: Problem) -> Any:
    return lambda tangent: expectation_slope(p.log_policy, p.returns, tangent)


the_slopes_vanish_together.reading(
    "literal",
    space=slope_space(zeros=False),
    assumptions=[DETERMINISTIC, "tau > 0", "the lift is that of the current policy"],
    printed=Printed(slope_space(zeros=True), printed_pmd_slope),
)
the_slopes_vanish_together.reading(
    "intended", space=slope_space(zeros=False), adds=["pi(rho) > 0 for every trajectory"], proof=pmd_slope_identity
)
