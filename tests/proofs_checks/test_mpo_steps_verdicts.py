"""The verdicts on the MPO paper's steps, their certificates before the checker, edges and planted falsehoods.

They are those of Sec. 3.3, footnote 2 and Apps. A.1, D and D.4.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from proofs_checks import certify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.falsify import Budget
from tests.proofs_checks import judging
from tests.proofs_checks.mpo_steps_certificates import ILL_POSED, INSTANCES
from tests.proofs_checks.second_routes import ill_posed, refuted

SMALL = Budget(draws=200, generations=3, population=120, suspects=4, swept=2)

LITERAL_AND_INTENDED = {
    "mpo.eq10": ("refuted", "survived"),
    "mpo.eq12.rewrite": ("refuted", "survived"),
    "mpo.sec4.footnote2": ("proved", "proved"),
    "mpo.prop1.value": ("survived", "survived"),
    "mpo.prop1.operator": ("survived", "survived"),
    "mpo.prop2.regularised": ("refuted", "survived"),
    "mpo.prop2.plain": ("survived", "survived"),
    "mpo.prop2.eq16": ("ill-posed", "survived"),
    "mpo.prop2.eq17": ("survived", "survived"),
    "mpo.appd.softplus": ("survived", "survived"),
    "mpo.appd4.mstep": ("survived", "survived"),
}


# (a) The edges.

EDGES: dict[str, list[dict[str, Any]]] = {
    "mpo.prop1.value": [
        {"dynamics": [[["1"]]], "rewards": [["7"]], "discount": "0", "alpha": "1", "policy": [["1"]], "q": [["1"]]},
        {
            "dynamics": [[["1"], ["1"]]], "rewards": [["3", "3"]], "discount": "11/12", "alpha": f"1/{10**9}",
            "policy": [[f"1/{10**300}", f"{10**300 - 1}/{10**300}"]], "q": [["1", "0"]],
        },
    ],
    "mpo.prop2.eq16": [
        {
            "dynamics": [[["1"], ["1"]]], "discount": "999/1000", "alpha": str(10**6), "policy": [["1", "0"]],
            "tilt": [["1", "5"]], "values": ["0"], "challenger": [["0", "1"]],
        },
    ],
    "mpo.eq10": [
        {
            "dynamics": [[["1"], ["1"]]], "rewards": [["1", "1"]], "discount": "11/12", "alpha": "1", "initial": ["1"],
            "target": [["1/2", "1/2"]], "first": [["1", "0"]], "second": [["0", "1"]], "prior": ["1/2", "1/2"],
        },
    ],
    "mpo.eq12.rewrite": [
        {
            "policy": [["1", "0"]], "target": [["0", "1"]], "challenger": [["0", "1"]], "member": [["1", "0"]],
            "weights": ["1"], "penalty": f"1/{10**12}",
        },
    ],
}  # fmt: skip


@pytest.mark.parametrize("claim", EDGES)
def test_edges(claim: str) -> None:
    reading = registry()[claim].readings["intended"]
    for data in EDGES[claim]:
        outcome = certify.examine(reading, reading.space.from_json(data), most_bits=2048).outcome
        assert outcome in ("satisfied", "tied", "not given")


# (b) The verdicts, and the certificates before the stand-alone checker.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


@pytest.mark.parametrize("row", INSTANCES, ids=[f"{row[0]}: {row[2]}" for row in INSTANCES])
def test_the_checker_agrees_with_the_second_route(row: Any) -> None:
    file = refuted("literal", row)
    assert checker.check(json.dumps(file).encode()).startswith(f"{row[0]} literal refuted: ")
    reading = registry()[row[0]].readings["literal"]
    assert certify.examine(reading, reading.space.from_json(row[5]), only=row[2]).outcome == "violated"
    for side in ("left", "right"):
        with pytest.raises(checker.Rejected, match=f"^{side}: '1.5e0' where '{file[side]}' is expected$"):
            checker.check(json.dumps(file | {side: "1.5e0"}).encode())


@pytest.mark.parametrize(("claim", "reason", "x"), ILL_POSED)
def test_the_checker_meets_the_same_undefined_operation(claim: str, reason: str, x: Any) -> None:
    file = ill_posed(claim, reason, x)
    assert checker.check(json.dumps(file).encode()).startswith(f"{claim} literal ill-posed: ")
    with pytest.raises(checker.Rejected, match=r"^reason: "):
        checker.check(json.dumps(file | {"reason": "0 * inf"}).encode())
    full = file | {"instance": x | {"policy": ["1/4", "1/4", "1/2"]}}
    with pytest.raises(checker.Rejected, match=r"^every operation of the printed expression is defined"):
        checker.check(json.dumps(full).encode())


def refused(index: int, **changed: Any) -> str:
    """Why the checker refuses a changed instance, whatever sides are printed."""
    claim, _, condition, _, component, x = INSTANCES[index]
    return judging.refusal(claim, condition, component, **(x | changed))


def test_the_checker_holds_instances_against_the_hypotheses() -> None:
    assert refused(0, prior=["1/100", "99/100"]).startswith("first: Eq. 10 does not certainly prefer it")
    assert refused(0, prior=["0", "1"]) == "prior[0]: must be > 0"
    assert refused(0, discount="1") == "discount: must be at least 0 and below 1"
    assert refused(1, initial=["1/4", "3/4"]) == "the relation holds on this instance"
    assert refused(1, weights=["1", "0"]).startswith("first: the expected logarithm does not certainly prefer it")
    assert refused(2, epsilon="1/25").startswith("near: not certainly within epsilon")
    assert refused(2, epsilon="1/10").startswith("far: not certainly beyond epsilon")
    assert refused(2, near=[["1/2", "1/2", "0"]]).startswith("near: lacks an action")
    assert refused(2, near=[["2/5", "2/5", "1/5"]]).startswith("near: not certainly better")
    assert refused(2, far=[["1/20", "11/20", "2/5"]]).startswith("far: not certainly better")
    assert refused(2, far=[["1/1000", "499/1000", "1/2"]]) == "the relation holds on this instance"
    assert refused(3, policy=[["1/2", "1/2"], ["1", "0"]]) == "the relation holds on this instance"
    assert refused(3, q=[["1", "0"], ["1/2", "1/2"]]) == "q[0][1]: must be > 0"


# (c) Planted falsehoods.


def changed(like: str, name: str, change: Any) -> Sides:
    """One check of the intended reading, changed."""

    def sides(p: Any) -> Check:
        checks = registry()[like].readings["intended"].checks(p)
        return change(p, next(check for check in checks if check.name == name))

    return sides


PLANTED = {
    "regularised values are higher": ("mpo.prop1.value", "value", lambda p, c: replace(c, relation=">=")),
    "the regularised operator is strictly lower": (
        "mpo.prop1.operator", "operator", lambda p, c: replace(c, relation="<"),
    ),
    "the mean logarithm is twice the divergence": (
        "mpo.prop1.operator", "divergence", lambda p, c: replace(c, right=2 * c.right),
    ),
    "the regularised operator contracts by half the discount": (
        "mpo.prop2.regularised", "contraction", lambda p, c: replace(c, right=c.right / 2),
    ),
    "the tail is half as long": ("mpo.prop2.plain", "sum over steps", lambda p, c: replace(c, right=c.right / 2)),
    "the fixed point is a hundredth higher": (
        "mpo.prop2.plain", "fixed point", lambda p, c: replace(c, right=c.right * 101 / 100),
    ),
    "the equation holds without the logarithm": (
        "mpo.prop2.eq16", "Bellman", lambda p, c: replace(c, left=c.left + (c.left - c.right) + c.right / 100),
    ),
    "a challenger is never worse": (
        "mpo.prop2.eq16", "no challenger is better", lambda p, c: replace(c, relation=">="),
    ),
    "every policy is optimal": ("mpo.prop2.eq17", "no policy is better", lambda p, c: replace(c, relation=">=")),
    "the bound without the factor": (
        "mpo.eq10", "objective", lambda p, c: replace(c, right=c.right * (1 - p.discount) / p.alpha),
    ),
    "the preferred parameter is worse": ("mpo.eq10", "same maximiser", lambda p, c: replace(c, relation=">=")),
    "the mixture is worst": ("mpo.eq12.rewrite", "tables", lambda p, c: replace(c, relation=">=")),
    "any member solves the constrained problem": ("mpo.eq12.rewrite", "any class", lambda p, c: replace(c, given=())),
    "the parameter doubles": ("mpo.sec4.footnote2", "grows", lambda p, c: replace(c, right=2 * c.right)),
    "the diagonal exceeds 1": ("mpo.appd.softplus", "positive diagonal", lambda p, c: replace(c, right=c.right + 1)),
    "another table fits better": ("mpo.appd4.mstep", "tables", lambda p, c: replace(c, relation=">=")),
    "the loss is at least 1": ("mpo.appd4.mstep", "Gaussian policies", lambda p, c: replace(c, right=c.right + 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str) -> None:
    like, check, change = PLANTED[name]
    assert judging.verdict_on(like, changed(like, check, change), SMALL) == "refuted"
