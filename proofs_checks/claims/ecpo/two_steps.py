r"""Two-step models of Appendix D: a first action, a random state, a second action.

A trajectory is (a1, s2, a2), its dynamics f = P(s2 | a1) > 0, its return the sum of the two rewards.
Shapes: first (..., A), transitions (..., A, S), second (..., S, A); trajectories are flattened to (..., A*S*A).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exactrl.formulas import log_lift
from exactrl.number_systems import namespace
from proofs_checks.claims.ecpo.common import term_size
from proofs_checks.claims.terms import size
from proofs_checks.extended import Extended, xlog
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space

STOCHASTIC = "stochastic transitions f (App. D.1), gamma = 1, episodic"
POSITIVE_DYNAMICS = "f(rho) > 0 for every trajectory"
POSITIVE_REFERENCE = "the reference policy gives every action positive probability"


def two_step_space(
    *, zeros: bool, policies: bool = True, sizes: Mapping[str, tuple[int, ...]] | None = None, **more: Any
) -> Space:
    """Two-step models with positive dynamics, the reference policy (unless `policies` is false), and further fields."""
    fields: dict[str, Any] = {
        "transitions": Simplex(("actions", "states"), zeros=False, exponents=(-20, 0)),
        "first_rewards": Real(("actions",)),
        "second_rewards": Real(("states", "actions")),
        "tau": Positive(),
        "tau_prime": NonNegative(),
    }
    if policies:
        fields |= {"first": Simplex(("actions",), zeros=zeros), "second": Simplex(("states", "actions"), zeros=zeros)}
    return Space(fields | more, sizes or {"actions": (1, 2, 3), "states": (1, 2, 3)})


def log_joint(log_first: Any, log_second: Any) -> Any:
    """Log policy probability of every trajectory, (..., A, S, A)."""
    return log_first[..., :, None, None] + log_second[..., None, :, :]


def returns_of(p: Problem) -> Any:
    """The return of every trajectory, (..., A, S, A)."""
    return p.first_rewards[..., :, None, None] + p.second_rewards[..., None, :, :]


def log_dynamics(p: Problem) -> Any:
    """Log dynamics of every trajectory, (..., A, S, A)."""
    return returns_of(p) * 0 + p.log_transitions[..., None]


def flat(x: Any, axes: int = 3) -> Any:
    """Join the last axes into one over trajectories."""
    return namespace(x).reshape(x, (*x.shape[:-axes], -1))


def two_step_lift(p: Problem) -> Any:
    """Log density of Lemma 8's lift over the trajectories, (..., A, S, A)."""
    log_reference = log_joint(p.log_first, p.log_second)
    lift = log_lift(flat(log_reference), flat(returns_of(p)), p.tau, p.tau_prime, flat(log_dynamics(p)))
    return namespace(lift).reshape(lift, log_reference.shape)


def two_step_scale(p: Problem) -> Any:
    """The size of the terms of a stochastic lift or surrogate, for rounding."""
    logs = flat(log_joint(p.log_first, p.log_second) + p.log_transitions[..., None])
    return term_size(p, size(p.first_rewards, p.second_rewards), logs, p.tau_prime)


def flat_reference(p: Problem) -> Any:
    """Log density of the reference, (..., N)."""
    return flat(log_joint(p.log_first, p.log_second))


def flat_returns(p: Problem) -> Any:
    """Returns of the trajectories, (..., N)."""
    return flat(returns_of(p))


def flat_dynamics(p: Problem) -> Any:
    """Log dynamics of the trajectories, (..., N)."""
    return flat(log_dynamics(p))


def printed_density(instance: Instance) -> list[Extended]:
    """The numerator of Lemma 8 as printed, for each trajectory."""
    eta = Extended(instance["tau"]) + instance["tau_prime"]
    numerators = []
    for a, first in enumerate(instance["first"]):
        for s, row in enumerate(instance["second"]):
            for b, second in enumerate(row):
                reward = Extended(instance["first_rewards"][a]) + instance["second_rewards"][s][b]
                reference = first * second
                numerators.append(Extended(reference) * ((reward - xlog(instance["tau_prime"], reference)) / eta).exp())
    return numerators


TAME: dict[str, Any] = {
    "first_rewards": Real(("actions",), exponents=(-2, 1)),
    "second_rewards": Real(("states", "actions"), exponents=(-2, 1)),
    "tau": Positive(exponents=(-1, 2)),
    "tau_prime": NonNegative(exponents=(-1, 2)),
}
SMALL_SIZES = {"actions": (1, 2), "states": (1, 2, 3)}
