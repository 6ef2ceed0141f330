"""Instances that refute claims of Sec. 3.3 and App. A.1 of the MPO paper, and both sides by another road, in mpmath.

Discounted sums are summed step by step, quotients and geometric means take the place of cross-multiplied sums of
logarithms.
"""

from __future__ import annotations

from typing import Any

from mpmath import exp, log, mpf

from tests.proofs_checks.mpo_certificates import average, divergence

STEPS = 260  # at a discount of 1/3 what is left out is below any digit shown


def summed_bound(x: dict[str, Any], member: str, prior: Any) -> Any:
    """J for rewards 0, one step after the other; later states are drawn from the weights."""
    charged = [divergence(q, m) for q, m in zip(x["target"], x[member], strict=True)]
    total, law = log(prior), x["initial"]
    for t in range(STEPS):
        total -= x["alpha"] * x["discount"] ** t * average(law, charged)
        law = x["weights"]
    return total


def with_prior(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return summed_bound(x, "second", x["prior"][1]), summed_bound(x, "first", x["prior"][0])


def without_prior(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return summed_bound(x, "second", mpf(1)), summed_bound(x, "first", mpf(1))


def likelihood(x: dict[str, Any], law: str, member: str) -> Any:
    """The geometric mean of the probabilities that a member gives to the actions of a law."""
    product = mpf(1)
    for mu, of_law, of_member in zip(x["weights"], x[law], x[member], strict=True):
        for p, m in zip(of_law, of_member, strict=True):
            product *= m ** (mu * p)
    return product


def multipliers(x: dict[str, Any]) -> tuple[Any, Any]:
    """The least multiplier that prefers near to far, and the largest that prefers it to the old policy."""
    spent = {m: log(likelihood(x, "policy", "policy") / likelihood(x, "policy", m)) for m in ("near", "far")}
    gain = {m: likelihood(x, "target", m) for m in ("policy", "near", "far")}
    least = log(gain["far"] / gain["near"]) / (spent["far"] - spent["near"])
    return least, log(gain["near"] / gain["policy"]) / spent["near"]


def cross_multiplied(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    least, most = multipliers(x)
    near, far = (log(likelihood(x, "policy", "policy") / likelihood(x, "policy", m)) for m in ("near", "far"))
    return least * near * (far - near), most * near * (far - near)


def least_covered(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    (s,) = component
    return sorted(p for p, q in zip(x["policy"][s], x["q"][s], strict=True) if q)[0], 0


def tilted_values(x: dict[str, Any]) -> tuple[list[Any], Any]:
    """The optimal policy of one state and its value, by fixed-point iteration."""
    value = mpf(0)
    for _ in range(STEPS):
        weights = [
            p * exp((r + x["discount"] * value) / x["alpha"]) for p, r in zip(x["policy"], x["rewards"], strict=True)
        ]
        value = x["alpha"] * log(sum(weights))
    return [w / sum(weights) for w in weights], value


MEMBERS: dict[str, Any] = {
    "target": [["1/3", "2/3"], ["1", "0"]], "first": [["1/2", "1/2"], ["4/5", "1/5"]],
    "second": [["1/3", "2/3"], ["1/2", "1/2"]], "weights": ["1/4", "3/4"], "discount": "1/3",
}  # fmt: skip
#: claim, relation, condition, both sides by another road, component, instance; all of the literal reading
INSTANCES: list[tuple[str, str, str, Any, list[int], dict[str, Any]]] = [
    (
        "mpo.eq10", "<=", "same maximiser", with_prior, [],
        {**MEMBERS, "initial": ["1/2", "1/2"], "alpha": "1/5", "prior": ["9/20", "11/20"]},
    ),
    (
        "mpo.eq10", "<=", "same maximiser without a prior", without_prior, [],
        {**MEMBERS, "initial": ["1", "0"], "alpha": "2", "prior": ["1/2", "1/2"], "discount": "1/30"},
    ),
    (
        "mpo.eq12.rewrite", "<=", "some multiplier", cross_multiplied, [],
        {
            "policy": [["1/3", "1/3", "1/3"]], "target": [["0", "0", "1"]], "near": [["1/5", "2/5", "2/5"]],
            "far": [["1/4", "1/4", "1/2"]], "weights": ["1"], "epsilon": "1/20",
        },
    ),
    (
        "mpo.prop2.regularised", ">", "covered", least_covered, [0],
        {"policy": [["0", "1"], ["1/3", "2/3"]], "q": [["1/2", "1/2"], ["1/4", "3/4"]]},
    ),
]  # fmt: skip

#: claim, the undefined operation, instance
ILL_POSED: list[tuple[str, str, dict[str, Any]]] = [
    (
        "mpo.prop2.eq16", "division by 0",
        {"rewards": ["1", "-2", "1/2"], "alpha": "3/2", "policy": ["1/4", "0", "3/4"], "discount": "1/3"},
    ),
]  # fmt: skip

#: fields that cannot move the values of these certificates
IDLE: dict[str, set[str]] = {
    "mpo.eq10": {"prior"},  # of the row without a prior
    "mpo.eq12.rewrite": {"epsilon"},
    "mpo.prop2.eq16": {"rewards", "alpha", "discount"},
}
