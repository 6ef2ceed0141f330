"""The verdicts on Secs. 3 to 3.2 of the MPO paper, their certificates before the checker, and planted falsehoods."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from exactrl.number_systems.balls import precision
from proofs_checks import verify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.falsify import Budget, search
from tests.proofs_checks import judging
from tests.proofs_checks.mpo_section3_certificates import INSTANCES, assert_close, flat, fractions, real

SMALL = Budget(draws=150, generations=3, population=120, suspects=4, swept=1)

LITERAL_AND_INTENDED = {
    "mpo.eq1": ("survived", "survived"),
    "mpo.eq2": ("refuted", "survived"),
    "mpo.eq3.product": ("refuted", "survived"),
    "mpo.eq3.decomposition": ("survived", "survived"),
    "mpo.eq3.prior": ("survived", "survived"),
    "mpo.eq4": ("survived", "survived"),
    "mpo.eq3.augmented": ("survived", "survived"),
    "mpo.eq5": ("survived", "survived"),
    "mpo.eq6.objective": ("refuted", "survived"),
    "mpo.eq6.reason": ("refuted", "survived"),
    "mpo.eq6.partial": ("survived", "survived"),
    "mpo.sec32.direction": ("survived", "survived"),
}


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


# (a) The verdicts, and the certificates before the stand-alone checker.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


def file_of(claim: str, condition: str, component: list[int], **instance: Any) -> bytes:
    row = checker.TABLE[claim, condition]
    file = {
        "schema": checker.SCHEMA, "claim": claim, "reading": "literal", "verdict": "refuted", "instance": instance,
        "condition": condition, "component": component, "left": "1e0", "relation": row.relation, "right": "0",
        "precision": 128, "reason": None,
    }  # fmt: skip
    return json.dumps(file).encode()


@pytest.mark.parametrize(("claim", "relation", "condition", "route", "component", "x"), INSTANCES)
def test_the_checker_has_the_values_of_the_second_route(
    claim: str, relation: str, condition: str, route: Any, component: list[int], x: dict[str, Any]
) -> None:
    true = route({name: real(fractions(value)) for name, value in x.items()}, component)
    row = checker.TABLE[claim, condition]
    sizes: dict[str | int, int] = {}
    read = {name: kind.read(name, x[name], sizes) for name, kind in row.fields["literal"].items()}
    with precision(256):
        found = flat(list(row.sides(SimpleNamespace(**read), component)))
    assert row.relation == relation
    assert_close(found, list(true))


def refused(claim: str, condition: str, component: list[int], **instance: Any) -> str:
    with pytest.raises(checker.Rejected) as why:
        checker.check(file_of(claim, condition, component, **instance))
    return str(why.value)


def test_the_checker_holds_instances_against_the_hypotheses() -> None:
    success = {"policy": ["1", "0"], "variational": ["1/2", "1/2"], "returns": ["1", "1"], "alpha": "1"}
    for condition in ("identity", "lower bound"):
        assert refused("mpo.eq2", condition, [], **success).startswith("variational: mass where the policy has none")
        fair = success | {"policy": ["1/2", "1/2"]}
        assert refused("mpo.eq2", condition, [], **fair | {"alpha": "0"}) == "alpha: must be > 0"
        lost = fair | {"returns": ["0", "-1"]}
        assert refused("mpo.eq2", condition, [], **lost).startswith(("the relation holds", "not settled at 8192 bits"))
    wide = {"initial": ["1"], "dynamics": [[["1"]] * 9], "variational": [["1"] + ["0"] * 8], "steps": 12}
    assert refused("mpo.eq3.product", "mass", [], **wide).startswith("steps: more than 4096 trajectories")
    one = {"initial": ["1"], "dynamics": [[["1"]]], "variational": [["1"]], "steps": 2}
    assert refused("mpo.eq3.product", "mass", [], **one) == "the relation holds on this instance"
    model: dict[str, Any] = {"dynamics": [[["1"]]], "rewards": [["1"]], "discount": "1/2", "policy": [["1"]]}
    assert refused("mpo.eq6.reason", "same state", [0, 0], **model) == "the relation holds on this instance"
    assert refused("mpo.eq6.reason", "same state", [0, 1], **model).startswith("component: ")
    assert refused("mpo.eq6.reason", "same state", [0, 0], **model | {"discount": "1"}).startswith("discount: ")


# (b) Planted falsehoods.


def verdict_on(like: str, changed_sides: Sides) -> str:
    reading = replace(registry()[like].readings["intended"], sides=changed_sides)
    found = search(reading, np.random.SeedSequence(3), SMALL.share(reading.effort))
    return verify._settle(reading, found, SMALL, np.random.SeedSequence(4))[0]


def changed(like: str, change: Any, check: int) -> Sides:
    """One check of the intended reading, changed."""

    def of(p: Any) -> Check:
        found: Check = change(p, registry()[like].readings["intended"].checks(p)[check])
        return found

    return of


def swapped(p: Any, check: Check) -> Check:
    return replace(check, left=check.right, right=check.left)


PLANTED: dict[str, tuple[str, Any, int]] = {
    "the bound lies above": ("mpo.eq1", swapped, 0),
    "the bound is strict": ("mpo.eq1", lambda p, c: replace(c, relation=">"), 0),
    "the constant counts twice": ("mpo.eq2", lambda p, c: replace(c, right=2 * c.right - c.left - p.surprisal), 0),
    "episodes have half a mass": ("mpo.eq3.product", lambda p, c: replace(c, right=c.right / 2), 0),
    "the divergence of one step is that of all": ("mpo.eq3.decomposition",
                                                  lambda p, c: replace(c, right=c.right / p.steps), 0),
    "the prior counts alpha times": ("mpo.eq3.prior",
                                     lambda p, c: replace(c, right=c.right + (p.alpha - 1) * p.log_prior), 0),
    "the objective bounds the evidence from above": ("mpo.eq3.prior", swapped, 1),
    "the tail is half as long": ("mpo.eq3.prior", lambda p, c: replace(c, right=c.right * p.discount), 2),
    "the value forgets the divergence": ("mpo.eq4", lambda p, c: replace(c, right=c.right + p.alpha[..., None] / 9), 0),
    "the augmented return is half": ("mpo.eq3.augmented", lambda p, c: replace(c, right=c.right / 2), 0),
    "the action values are the rewards": ("mpo.eq5", lambda p, c: replace(c, right=p.rewards), 0),
    "the objective is the reward": ("mpo.eq6.objective", lambda p, c: replace(c, left=c.left * 2), 0),
    "every policy is best": ("mpo.eq6.objective", lambda p, c: replace(c, relation="=="), 1),
    "the values are the action values": ("mpo.eq6.reason",
                                         lambda p, c: replace(c, left=p.rewards[..., 0], right=c.right), 0),
    "the one-step maximiser is best": ("mpo.eq6.partial", lambda p, c: replace(c, relation=">="), 0),
    "TRPO has the divergence of the E-step": ("mpo.sec32.direction",
                                              lambda p, c: replace(c, relation="==", given=()), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str) -> None:
    like, change, check = PLANTED[name]
    assert verdict_on(like, changed(like, change, check)) == "refuted"
