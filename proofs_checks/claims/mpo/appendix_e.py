"""Appendix E: the gradients of Algorithm 2."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import dual_derivatives, dual_value, gaussian_kl_diagonal, gaussian_log_density
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, Check, claim
from proofs_checks.claims.mpo.common import ETA, FINITE, estep_space, term_size
from proofs_checks.claims.terms import size
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space


@claim(
    "mpo.alg2.eta",
    where="App. E, Algorithm 2, lines 8 and 16",
    title="Gradient descent on the temperature lowers the dual",
    statement=r"Find better policy by gradient descent: $\delta_\eta=\partial_\eta g(\eta)$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="tangent",
    explanation=r"Judged as: $\partial_\eta g=\epsilon-\mathbb E_\mu\mathrm{KL}(q_\eta\Vert\pi)$ is the slope of a tangent below $g$, so that every lower value of $g$ "
    "lies on the side to which descent moves. How far a step may go is another question: too long a one makes $\\eta$ negative.",
)
def descent_moves_towards_lower_values(p: Problem) -> list[Check]:
    """The tangent below the dual, and the sign of the slope against any temperature with a smaller dual."""
    here, there = (dual_value(p.log_policy, p.q_values, p.weights, x, p.epsilon) for x in (p.eta, p.other_eta))
    slope, _ = dual_derivatives(p.log_policy, p.q_values, p.weights, p.eta, p.epsilon)
    move = p.other_eta - p.eta
    scale = (term_size(p, p.eta, p.other_eta) + p.epsilon * (p.eta + p.other_eta)) * (1 + p.other_eta / p.eta)
    return [
        Check("tangent", here + slope * move, "<=", there, scale=scale),
        Check("downhill", slope * move, "<=", p.eta * 0, scale=scale, given=((there, "<=", here),)),
    ]


descent_moves_towards_lower_values.both_readings(
    space=estep_space(eta=Positive(), other_eta=Positive(), epsilon=NonNegative()),
    assumptions=[FINITE, ETA, "epsilon >= 0", "exact gradients"],
)


def _lagrangian(p: Problem, mean: Any) -> Any:
    """E_q log N(a; mean, sigma^2) less the multiplier times the part of the divergence that the mean contributes."""
    xp = namespace(p.actions)
    log_deviation = p.log_deviation[..., None]
    noise = (p.actions - mean[..., None]) * xp.exp(-log_deviation)
    densities = gaussian_log_density(noise[..., None], log_deviation[..., None])
    spread = gaussian_kl_diagonal(p.mean_i[..., None], log_deviation, mean[..., None], log_deviation).mean
    return xp.sum(xp.weighted(p.target, densities)) - p.multiplier * spread


def _step(p: Problem) -> tuple[Any, Any]:
    """The derivative of the Lagrangian in the mean, and the step size at which it is largest, 1/smoothness."""
    xp = namespace(p.actions)
    variance = p.deviation * p.deviation
    pull = xp.sum(xp.weighted(p.target, p.actions)) - p.mean - p.multiplier * (p.mean - p.mean_i)
    return pull / variance, variance / (1 + p.multiplier)


def _scale(p: Problem) -> Any:
    if namespace(p.actions).name != "float64":
        return 1.0
    reach = (size(p.actions) + size(p.mean) + size(p.mean_i)) / p.deviation
    return (1 + reach * reach) * (1 + p.multiplier) ** 2 * (1 + abs(p.log_deviation))


@claim(
    "mpo.alg2.theta",
    where="App. E, Algorithm 2, lines 8 and 20",
    title="Gradient descent on the Lagrangian of the M-step improves the policy",
    statement=r"Find better policy by gradient descent: $\delta_\theta=\partial_\theta L(\theta,\eta_\mu,\eta_\Sigma)$ with $L$ the generalised Lagrangian of D.3.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="better",
    intended_statement=r"A step of size at most 1/smoothness along $+\partial_\theta L$ raises $L$ by at least half that size times the squared gradient.",
    explanation=r"D.3 maximises $L$ over $\theta$ (and minimises it over the multipliers). Descent along $\partial_\theta L$ lowers it. Judged for the mean of a "
    r"one-dimensional Gaussian policy at one state; the step size is the one at which $L$ would be largest on the other side.",
    hand_check=r"$q$ sits at $a=1$, the mean at 0, $\sigma=1$, no constraint: $\partial_\theta L=1$, and descent moves the mean to $-1$, away from $a$.",
)
def ascent_raises_the_lagrangian(p: Problem) -> Check:
    """One step uphill."""
    slope, step = _step(p)
    rise = _lagrangian(p, p.mean + step * slope) - _lagrangian(p, p.mean)
    return Check("better", rise, ">=", step * slope * slope / 2, scale=_scale(p))


def descent_raises_the_lagrangian(p: Problem) -> Check:
    """The same step downhill, as printed."""
    slope, step = _step(p)
    return Check(
        "descent is better", _lagrangian(p, p.mean), "<=", _lagrangian(p, p.mean - step * slope), scale=_scale(p)
    )


_GAUSSIAN = Space(
    {
        "target": Simplex(("a",), exponents=(-20, 0)),
        "actions": Real(("a",), exponents=(-2, 2)),
        "mean": Real(exponents=(-2, 2)),
        "mean_i": Real(exponents=(-2, 2)),
        "deviation": Positive(exponents=(-2, 2)),
        "multiplier": NonNegative(exponents=(-2, 2)),
    },
    {"a": (1, 2, 3)},
)
ascent_raises_the_lagrangian.reading(
    "literal",
    space=_GAUSSIAN,
    assumptions=[FINITE, "exact gradients", "theta is the mean of a one-dimensional Gaussian policy at one state"],
    sides=descent_raises_the_lagrangian,
)
ascent_raises_the_lagrangian.reading("intended", space=_GAUSSIAN, adds=["gradient ascent in theta (a misprint)"])
