"""Section 3.2, Proposition 3: the Project step of a one-layer softmax network is convex."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expectation, kl, log_boltzmann
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURES, lifted
from proofs_checks.claims.terms import size, spread
from proofs_checks.fields import NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import softmax_hessian


def _log_policy(p: Problem, theta: Any) -> Any:
    """Log-probabilities of all trajectories of a two-step tree under softmax policies with features phi_s."""
    xp = namespace(theta)
    first = log_boltzmann(xp.sum(p.first_features * theta[..., None, :]), 1)
    second = log_boltzmann(xp.sum(p.second_features * theta[..., None, None, :]), 1)
    joint = first[..., :, None] + second
    return xp.reshape(joint, (*joint.shape[:-2], -1))


@claim(
    "ecpo.prop3.convex",
    where="Sec. 3.2, Proposition 3",
    title="The Project objective of a one-layer softmax policy is convex",
    statement=r"Given any $\bar\pi$, $D_{KL}(\bar\pi\Vert\pi_\theta)$ is a convex function of $\theta$.",
    kind="inequality",
    shape=POINTWISE,
    condition="convex",
    explanation="The Hessian is the covariance of the features, a sum of squares, expected along the trajectories of the target.",
)
def the_projection_is_convex(p: Problem) -> Check:
    """The divergence at a mixture of parameters is at most the mixture of the divergences."""
    xp = namespace(p.target_first)
    weight = p.weight[..., None]
    between = (1 - weight) * p.first_theta + weight * p.second_theta
    log_target = xp.reshape(p.log_target_first[..., :, None] + p.log_target_second, (*p.target_second.shape[:-2], -1))
    left, first, second = (kl(log_target, _log_policy(p, t)) for t in (between, p.first_theta, p.second_theta))
    scale = size(p.first_features, p.second_features) * size(p.first_theta, p.second_theta) * 4
    return Check("convex", left, "<=", (1 - p.weight) * first + p.weight * second, scale=scale)


the_projection_is_convex.both_readings(
    space=Space(
        {
            "first_features": Real(("actions", "d"), exponents=(-2, 2)),
            "second_features": Real(("actions", "actions", "d"), exponents=(-2, 2)),
            "target_first": Simplex(("actions",)),
            "target_second": Simplex(("actions", "actions")),
            "first_theta": Real(("d",), exponents=(-2, 2)),
            "second_theta": Real(("d",), exponents=(-2, 2)),
            "weight": Unit(),
        },
        {"actions": (1, 2, 3), "d": (1, 2)},
    ),
    assumptions=[DETERMINISTIC, "pi_theta(s) = softmax(phi_s^T theta)"],
    proof=softmax_hessian,
)


@claim(
    "ecpo.prop3.global",
    where="Sec. 3.2, before Proposition 3",
    title="The Project step of a one-layer softmax policy has a global solution",
    statement=r"For a one-layer softmax network policy, the Project step $\min_\theta D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_\theta)$ can "
    r"be solved to global optimality.",
    kind="existence",
    shape=EXISTENCE,
    condition="coercive",
    explanation="The objective lies above its tangents (Proposition 3), so a stationary point is a global minimum. There is one, because "
    "the lift of a softmax policy is positive: along every direction in which the objective is not constant it grows without "
    r"bound, at the rate $\max_\rho v^\top\phi(\rho)-\mathbb E_q v^\top\phi\ge\min_\rho q(\rho)\,(\max-\min)_\rho v^\top\phi(\rho)$. "
    "For a target with zeros the minimum need not be attained.",
)
def the_objective_is_coercive(p: Problem) -> list[Check]:
    """The objective lies above its tangents, and grows along every direction in which it is not constant."""
    xp = namespace(p.features)
    along = xp.sum(p.features * p.direction[..., None, :])
    log_policy = log_boltzmann(xp.sum(p.features * p.theta[..., None, :]), 1)
    moved = log_boltzmann(xp.sum(p.features * (p.theta + p.direction)[..., None, :]), 1)
    log_lifted = lifted(p, log_policy)
    slope = expectation(log_policy, along) - expectation(log_lifted, along)
    rise = kl(log_lifted, moved) - kl(log_lifted, log_policy)
    rate = xp.max(along) - expectation(log_lifted, along)
    least = xp.min(xp.exp(log_lifted))
    scale = size(along) + size(log_policy) + size(moved)
    return [
        Check("stationary is global", rise, ">=", slope, scale=scale),
        Check("coercive", rate, ">=", least * spread(along), scale=scale),
    ]


the_objective_is_coercive.both_readings(
    space=Space(
        {
            "features": Real(("n", "d"), exponents=(-2, 0)),
            "theta": Real(("d",), exponents=(-2, 0)),
            "direction": Real(("d",), exponents=(-2, 2)),
            "returns": Real(("n",), exponents=(-2, 1)),
            "tau": Positive(exponents=(-1, 2)),
            "tau_prime": NonNegative(exponents=(-1, 2)),
        },
        {"n": (1, 2, 4), "d": (1, 2)},
    ),
    assumptions=[DETERMINISTIC, "one-layer softmax network policy; the lift is that of such a policy", TEMPERATURES],
)
