"""Words and spaces that several claims of the MPO paper share: states s with weights, actions a, sums for integrals."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import dual_value, expectation, log_estep
from exactrl.number_systems import namespace
from proofs_checks.claims.terms import size
from proofs_checks.fields import Field, Real, Simplex
from proofs_checks.instances import Problem, Space

FINITE = "finitely many states and actions, sums for integrals"
RADIUS = "epsilon > 0 (no policy meets a divergence below 0)"
ETA = "eta > 0"

SIZES = {"s": (1, 2), "a": (1, 2, 3)}


def estep_space(*, zeros: bool = True, **more: Field) -> Space:
    """Policies, action values and state weights of an E-step, with further fields."""
    fields: dict[str, Field] = {
        "policy": Simplex(("s", "a"), zeros=zeros),
        "q_values": Real(("s", "a")),
        "weights": Simplex(("s",)),
    }
    return Space(fields | more, SIZES)


def over_states(p: Problem, values: Any) -> Any:
    """The average over states; those of weight 0 do not count, whatever their value."""
    return weighted_mean(p.weights, values)


def weighted_mean(weights: Any, values: Any) -> Any:
    """The average on the last axis; what has weight 0 does not count, whatever its value."""
    xp = namespace(weights)
    return xp.sum(xp.weighted(weights, values))


def value_of(p: Problem, log_q: Any) -> Any:
    """The objective of the E-step: the expected action value of a policy."""
    return over_states(p, expectation(log_q, p.q_values))


def tilted(p: Problem, eta: Any) -> Any:
    """The log-policy of Eq. 8 at a temperature."""
    return log_estep(p.log_policy, p.q_values, eta)


def log_normaliser(p: Problem, eta: Any) -> Any:
    """The second term of the dual, eta times the average of the logarithms of the normalisers."""
    return dual_value(p.log_policy, p.q_values, p.weights, eta, 0)


def term_size(p: Problem, *etas: Any) -> Any:
    """The size of the terms of an E-step, magnified by that of the exponents (floats only)."""
    if namespace(p.log_policy).name != "float64":
        return 1.0
    terms: Any = 1.0
    for eta in etas:
        one = size(p.q_values) + eta * size(p.log_policy)
        terms = terms + one * (1 + one / eta)
    return terms
