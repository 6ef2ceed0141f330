r"""The Project step: globally optimal KL projections in both directions, each with its certificate of optimality.

    forward   arg min over pi in Pi   $D_{KL}(q\Vert\pi)$     ECPO, Eq. 4   (mean seeking)
    reverse   arg min over pi in Pi   $D_{KL}(\pi\Vert q)$    PMD, Eq. 3    (mode seeking)

| class | forward | reverse | certificate |
|---|---|---|---|
| simplex | the target itself | the target itself | none needed |
| finite family | comparison | comparison | the runner-up's margin |
| segment, polytope | convex | convex | Frank-Wolfe duality gap |
| softmax family | convex (Proposition 3) | refused: not convex | dual gap |
| tabular, aliased policies | closed form | - | none needed |

Shapes: N trajectories; targets are log-probabilities (N,).  Units: natural logarithms, 0 log 0 = 0.  A divergence is
+inf where its first distribution has mass that the second lacks; a projection has divergence +inf only if every member
has, and then it is some member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from exactrl.distributions import check_log_distributions, finite_array, index_array
from exactrl.entries import FloatArray
from exactrl.errors import ExactRLError
from exactrl.formulas import expectation, kl
from exactrl.mixtures import log_mixture, solve_mixture
from exactrl.number_systems import namespace
from exactrl.policy_classes import FiniteFamily, PolicyClass, Polytope, Simplex, SoftmaxFamily
from exactrl.softmax_projection import solve_softmax

__all__ = ["Projection", "TabularProjection", "project_forward", "project_forward_tabular", "project_reverse"]


@dataclass(frozen=True, eq=False)
class Projection:
    """A member of the class nearest to the target, and why no other is nearer.

    log_policy (N,): the member.  divergence: its divergence, +inf only if every member's is.
    gap: no member's divergence is below divergence - gap, up to the rounding of the certificate.
    index, margin: of a finite family, the first nearest member and how much farther the second is (0 for a tie).
    weights (M,): of a segment or polytope.  theta (d,): of a softmax family.
    attained: False when the divergence is an infimum that only limits of the family reach; log_policy is such a limit.
    """

    log_policy: FloatArray
    divergence: float
    gap: float = 0.0
    index: int | None = None
    margin: float | None = None
    weights: FloatArray | None = None
    theta: FloatArray | None = None
    attained: bool = True

    @property
    def policy(self) -> FloatArray:
        """The member's probabilities (N,)."""
        return np.asarray(np.exp(self.log_policy))


def project_forward(log_target: Any, policy_class: PolicyClass) -> Projection:
    r"""The projection $\arg\min_{\pi\in\Pi}D_{KL}(q\Vert\pi)$.

    Shapes: log_target (N,), the log-probabilities of q.
    Raises ExactRLError when the target is no distribution over the class's trajectories.
    Source: ECPO, Eq. 4; for a softmax family, Proposition 3.
    """
    target = _target(log_target, policy_class)
    if not isinstance(policy_class, SoftmaxFamily):
        return _project(target, policy_class, forward=True)
    fit = solve_softmax(target, policy_class.features)
    divergence = float(kl(target, fit.log_policy))
    return Projection(fit.log_policy, divergence, fit.gap, theta=fit.theta, attained=fit.theta is not None)


def project_reverse(log_target: Any, policy_class: PolicyClass) -> Projection:
    r"""The projection $\arg\min_{\pi\in\Pi}D_{KL}(\pi\Vert q)$.

    Shapes: log_target (N,), the log-probabilities of q.
    Raises ExactRLError when the target is no distribution over the class's trajectories, and for a softmax family,
    where the problem is not convex and no certificate exists.
    Source: ECPO, Eq. 3.
    """
    target = _target(log_target, policy_class)
    if isinstance(policy_class, SoftmaxFamily):
        raise ExactRLError(
            "the reverse projection onto a softmax family is not convex, "
            "so that no certificate of global optimality exists: project onto a FiniteFamily of softmax members instead"
        )
    return _project(target, policy_class, forward=False)


def _target(log_target: Any, policy_class: PolicyClass) -> FloatArray:
    target = check_log_distributions("log_target", log_target)
    if not isinstance(policy_class, PolicyClass):
        raise ExactRLError(f"policy_class is a {type(policy_class).__name__}: expected one of exactrl.policy_classes")
    if target.shape != (policy_class.n,):
        raise ExactRLError(f"log_target has shape {target.shape}: expected ({policy_class.n},), as the class has")
    return target


def _project(target: FloatArray, policy_class: Simplex | Polytope | FiniteFamily, *, forward: bool) -> Projection:
    if isinstance(policy_class, Simplex):
        return Projection(target, 0.0)
    if isinstance(policy_class, FiniteFamily):
        return _nearest_member(target, policy_class.log_members, forward=forward)
    solution = solve_mixture(target, policy_class.log_vertices, forward=forward)
    if solution is None:
        weights, gap = np.full(len(policy_class.log_vertices), 1.0 / len(policy_class.log_vertices)), 0.0
    else:
        weights, gap = solution
    log_policy = log_mixture(weights, policy_class.log_vertices)
    return Projection(log_policy, float(_divergences(target, log_policy, forward=forward)), gap, weights=weights)


def _divergences(target: FloatArray, log_policies: FloatArray, *, forward: bool) -> FloatArray:
    return kl(target, log_policies) if forward else kl(log_policies, target)


def _nearest_member(target: FloatArray, log_members: FloatArray, *, forward: bool) -> Projection:
    divergences = _divergences(target, log_members, forward=forward)
    index = int(namespace(divergences).argmin(divergences))
    others = np.delete(divergences, index)
    least, second = float(divergences[index]), float(others.min(initial=np.inf))
    margin = 0.0 if least == second else second - least
    return Projection(log_members[index], least, index=index, margin=np.inf if not len(others) else margin)


@dataclass(frozen=True, eq=False)
class TabularProjection:
    """The nearest tabular or aliased policy.

    probabilities: (O, A), or (T, O, A) depending on time; uniform where the target never comes.
    visits: expected number of visits, (O,) or (T, O).  divergence: between the two trajectory distributions.
    """

    probabilities: FloatArray
    visits: FloatArray
    divergence: float
    gap: float = 0.0


def project_forward_tabular(
    observations: Any,
    actions: Any,
    log_target: Any,
    log_dynamics: Any = None,
    *,
    n_observations: int,
    n_actions: int,
    time_dependent: bool = False,
) -> TabularProjection:
    r"""The forward projection $\arg\min_\pi D_{KL}(p_{q,f}\Vert p_{\pi,f})$ onto all tabular or aliased policies.

    The divergence is a constant minus $\sum_{o,a}n(o,a)\log\pi(a\mid o)$ with n the expected visit counts under the
    target, so that Gibbs' inequality, observation by observation, gives the minimiser $\pi(a\mid o)=n(o,a)/n(o)$.

    Shapes: observations (states, for a tabular policy) and actions (N, T) of the enumerated trajectories; log_target
    (N,), the target's density with respect to the dynamics, as `log_lift` returns it; log_dynamics (N,), absent when
    the dynamics are deterministic.
    Raises ExactRLError naming the entry: an index out of range, a shape that does not fit, no distribution.
    Source: ECPO, Eq. 4; with dynamics, Eq. 27.
    """
    seen = index_array("observations", observations, n_observations)
    done = index_array("actions", actions, n_actions)
    if seen.ndim != 2 or seen.shape != done.shape:
        raise ExactRLError(f"observations have shape {seen.shape} and actions {done.shape}: expected (N, T) for both")
    log_density, log_joint = _joint(log_target, log_dynamics, len(seen))
    horizon = seen.shape[1]
    steps = np.broadcast_to(np.arange(horizon) if time_dependent else np.zeros(horizon, dtype=int), seen.shape)
    counts = np.zeros((horizon if time_dependent else 1, n_observations, n_actions))
    np.add.at(counts, (steps, seen, done), np.broadcast_to(np.exp(log_joint)[:, None], seen.shape))
    visits = counts.sum(axis=-1)
    table = np.full_like(counts, 1.0 / n_actions)
    np.divide(counts, visits[..., None], out=table, where=visits[..., None] > 0)
    log_policy = namespace(table).log(table)[steps, seen, done].sum(axis=-1)
    divergence = float(expectation(log_joint, log_density) - expectation(log_joint, log_policy))
    if not time_dependent:
        table, visits = table[0], visits[0]
    return TabularProjection(table, visits, divergence)


def _joint(log_target: Any, log_dynamics: Any, count: int) -> tuple[FloatArray, FloatArray]:
    """Return the target's log density and log probability, each (N,), the probabilities checked."""
    if log_dynamics is None:
        log_joint = check_log_distributions("log_target", log_target)
        density = log_joint
    else:
        dynamics = finite_array("log_dynamics", log_dynamics)
        density = np.asarray(log_target, dtype=np.float64)
        if density.shape != dynamics.shape:
            raise ExactRLError(
                f"log_target has shape {density.shape} and log_dynamics {dynamics.shape}: expected (N,) for both"
            )
        log_joint = check_log_distributions("log_target + log_dynamics", density + dynamics)
    if log_joint.shape != (count,):
        raise ExactRLError(f"log_target has shape {log_joint.shape}: expected ({count},), one entry a trajectory")
    return density, log_joint
