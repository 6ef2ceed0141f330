"""The verdicts on App. A.2 of the MPO paper, their certificates before the checker, edges and planted falsehoods."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from exactrl.number_systems import namespace
from proofs_checks import certify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.claims.mpo import joint_objective as terms
from proofs_checks.falsify import Budget, search
from tests.proofs_checks import judging
from tests.proofs_checks.mpo_proposition3_certificates import INSTANCES
from tests.proofs_checks.second_routes import refuted

SMALL = Budget(draws=300, generations=4, population=200, suspects=3, swept=1)

LITERAL_AND_INTENDED = {
    "mpo.sec31.monotone": ("refuted", "survived"),
    "mpo.prop3.eq19": ("survived", "survived"),
    "mpo.prop3.eq20": ("survived", "survived"),
    "mpo.prop3.eq21": ("refuted", "refuted"),
    "mpo.prop3.eq21.amended": ("survived", "survived"),
    "mpo.prop3.eq21.hot": ("survived", "survived"),
    "mpo.prop3.nondecreasing": ("refuted", "refuted"),
    "mpo.prop3.nondecreasing.amended": ("survived", "survived"),
    "mpo.prop3.localmax": ("refuted", "refuted"),
    "mpo.prop3.localmax.amended": ("survived", "survived"),
    "mpo.prop3.eq22": ("survived", "survived"),
    "mpo.prop3.eq23": ("refuted", "survived"),
    "mpo.prop3.f2": ("survived", "survived"),
    "mpo.prop3.f3": ("refuted", "survived"),
    "mpo.prop3.remainder": ("survived", "survived"),
    "mpo.prop3.eq24": ("refuted", "survived"),
    "mpo.prop3.resolvent": ("survived", "survived"),
    "mpo.prop3.value": ("refuted", "survived"),
    "mpo.prop3.expansion": ("refuted", "survived"),
}


# (a) The verdicts, and the certificates before the stand-alone checker.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


def test_every_claim_of_the_appendix_has_an_expected_verdict() -> None:
    found = {id for id in registry() if id.startswith("mpo.prop3.") or id == "mpo.sec31.monotone"}
    assert found == set(LITERAL_AND_INTENDED)


@pytest.mark.parametrize("row", INSTANCES, ids=[row[0] for row in INSTANCES])
def test_the_checker_and_the_library_find_the_values_of_the_other_road(row: Any) -> None:
    claim, _, condition, _, component, instance = row
    file = refuted("literal", row)
    assert "literal refuted" in checker.check(json.dumps(file).encode())
    reading = registry()[claim].readings["literal"]
    finding = certify.examine(reading, reading.space.from_json(instance))
    assert (finding.outcome, finding.check, list(finding.component)) == ("violated", condition, component)
    again = certify.certificate(reading, reading.space.from_json(instance), finding)
    assert (again["left"], again["right"]) == (file["left"], file["right"])
    for name, value in instance.items():
        if isinstance(value, str):
            other = file | {"instance": instance | {name: str(Fraction(value) + Fraction(1, 7))}}
            with pytest.raises(checker.Rejected):
                checker.check(json.dumps(other).encode())


def test_a_third_state_is_refused() -> None:
    three = {"rewards": [["1", "0"], ["0", "1"], ["0", "0"]], "discount": "3/4", "alpha": "1"}
    why = judging.refusal("mpo.prop3.nondecreasing", "non-decreasing", **three)
    assert "expected two states" in why


# (b) The edges: one action, one state, no future, a discount near 1, equal rewards, tiny chances, unreachable states.

UNREACHABLE = [[["1", "0"], ["1", "0"]], [["1/3", "2/3"], ["0", "1"]]]
ALMOST = [f"1/{10**40}", f"{10**40 - 1}/{10**40}"]
EDGES: list[dict[str, Any]] = [
    {"dynamics": [[["1"]]], "rewards": [["7"]], "discount": "0", "rows": [["1"]],
     "features": [[["3"]]], "states": ["1"]},
    {"dynamics": [[["1"], ["1"]]], "rewards": [["3", "3"]], "discount": "11/12", "rows": [["1/3", "2/3"]],
     "features": [[["1"], ["-1"]]], "states": ["1"]},
    {"dynamics": UNREACHABLE, "rewards": [["0", "0"], ["1000000", "-1"]], "discount": "0",
     "rows": [["1/2", "1/2"], ALMOST], "features": [[["0"], ["0"]], [["1"], ["2"]]], "states": ["1", "0"]},
    {"dynamics": UNREACHABLE, "rewards": [["-5", "2"], ["0", "1"]], "discount": "999/1000",
     "rows": [ALMOST, ["1/2", "1/2"]], "features": [[["100"], ["0"]], [["1/7"], ["0"]]], "states": ["1/2", "1/2"]},
]  # fmt: skip
POLICIES = ("policy", "next", "challenger", "walker", "other", "q")


def from_edge(claim: str, edge: dict[str, Any], alpha: str) -> Any:
    """The instance of the intended reading that has the numbers of an edge."""
    known: dict[str, Any] = dict.fromkeys(POLICIES, edge["rows"]) | {
        "initial": edge["states"],
        "values": edge["states"],
    }
    known |= {name: edge[name] for name in ("dynamics", "rewards", "discount", "features")}
    known |= {"alpha": alpha, "share": "1", "step": "1/1000", "steps": 2, "terms": 3}
    reading = registry()[claim].readings["intended"]
    names = (*reading.space.fields, *reading.space.counts)
    return reading, reading.space.from_json({name: known[name] for name in names})


HOLDS_ON_MODELS = [
    id
    for id, verdicts in LITERAL_AND_INTENDED.items()
    if verdicts[1] == "survived"
    and id not in ("mpo.prop3.resolvent", "mpo.prop3.localmax.amended", "mpo.prop3.eq21.hot")
]


@pytest.mark.parametrize("claim", HOLDS_ON_MODELS)
def test_edges(claim: str) -> None:
    for edge in EDGES:
        for alpha in ("1", "1/1000", "1000000"):
            reading, instance = from_edge(claim, edge, alpha)
            finding = certify.examine(reading, instance, most_bits=2048)
            assert finding.outcome in ("satisfied", "tied", "undecided"), (edge, alpha)
            if alpha == "1":
                assert finding.outcome != "undecided", (edge, alpha)


# (c) Planted falsehoods.


def found_false(like: str, sides: Sides, budget: Budget = SMALL) -> bool:
    """Whether the search finds an instance that balls confirm."""
    reading = replace(registry()[like].readings["intended"], sides=sides)
    found = search(reading, np.random.SeedSequence(3), budget)
    return any(certify.examine(reading, x, most_bits=512).outcome == "violated" for _, x in found.suspects)


def changed(like: str, change: Any, *, which: int = 0) -> Sides:
    """One check of the claim, with another right side."""

    def sides(p: Any) -> Check:
        checks = registry()[like].readings["intended"].checks(p)
        return replace(checks[which], right=change(p, checks[which]))

    return sides


def the_visits_of_the_policy(p: Any) -> Check:
    """The M-step of the print within the mended sequence: a step under the visits of pi, q held."""
    now = terms.iterate(p, p.log_policy)
    visits = terms.from_start(p, now.resolvent)
    move = terms.direction(p, p.log_q, p.log_policy, visits)
    new = terms.moved(p.log_policy, move.logits, terms.safe_step(p, visits))
    before, after = (terms.joint_objective(p, x, p.log_q) for x in (p.log_policy, new))
    return Check("planted", before, "<=", after)


def the_estep_of_the_policy(p: Any) -> Check:
    """The E-step of the print within the mended one: from Q^pi, whatever q is."""
    before = terms.joint_objective(p, p.log_policy, p.log_q)
    return Check("planted", before, "<=", terms.joint_objective(p, p.log_policy, terms.iterate(p, p.log_policy).log_q))


def twice_the_gain(p: Any) -> Check:
    check = first_check("mpo.prop3.eq20", p)
    return replace(check, left=check.left + (check.right - check.left) * 2)


def first_check(claim: str, p: Any) -> Check:
    return registry()[claim].readings["intended"].checks(p)[0]


def a_remainder_of_third_order(p: Any) -> Check:
    check = first_check("mpo.prop3.remainder", p)
    return replace(check, right=check.right * p.step / 100)


def five_times_the_gain(p: Any) -> Check:
    """The step alone gains at most twice as much as the amended Eq. 21 says."""
    check, ascent = first_check("mpo.prop3.eq21.amended", p), terms.mended_step(p, p.log_policy, p.log_q)
    return replace(check, left=check.left + 2 * p.alpha * ascent.step * ascent.squared_norm)


def the_whole_squared_norm(p: Any) -> Check:
    """Eq. 23 without the half: more than a convex function falls."""
    check = first_check("mpo.prop3.eq23", p)
    move = terms.printed_direction(p, terms.iterate(p, p.log_policy))
    return replace(check, left=check.left + terms.safe_step(p, move.visits) * move.squared_norm / 2)


def a_third_of_the_room(p: Any) -> Check:
    check = first_check("mpo.prop3.localmax.amended", p)
    here = terms.joint_objective(p, p.log_policy, terms.iterate(p, p.log_policy).log_q)
    return replace(check, right=here + (check.right - here) / 3)


def without_the_last_term(p: Any) -> Check:
    """The expansion of the resolvent to first order, as though it were exact."""
    xp = namespace(p.first)
    one, other = terms.resolvent(p, p.first), terms.resolvent(p, p.second)
    change = terms.per_state(p.discount) * (p.first - p.second)

    def product(x: Any, y: Any) -> Any:
        return xp.sum(x[..., :, :, None] * y[..., None, :, :], axis=-2)

    return Check("planted", one, "==", other + product(other, product(change, other)))


PLANTED: dict[str, tuple[str, Sides]] = {
    "Eq. 19 with half the shortfall": (
        "mpo.prop3.eq19", changed("mpo.prop3.eq19", lambda p, c: c.right / 2, which=1),
    ),
    "Eq. 20 with twice the gain": ("mpo.prop3.eq20", twice_the_gain),
    "Eq. 22 with a margin": (
        "mpo.prop3.eq22", changed("mpo.prop3.eq22", lambda p, c: c.right - namespace(c.right).abs(c.right) / 1000),
    ),
    "the amended Eq. 21 with five times the gain": ("mpo.prop3.eq21.amended", five_times_the_gain),
    "an M-step under the visits of the policy": ("mpo.prop3.eq21.amended", the_visits_of_the_policy),
    "an E-step from the values of the policy": ("mpo.prop3.eq21.amended", the_estep_of_the_policy),
    "the limit at high temperatures at the rate of its square": (
        "mpo.prop3.eq21.hot", changed("mpo.prop3.eq21.hot", lambda p, c: c.right / p.alpha / 1000),
    ),
    "a global maximum within a third of the room": ("mpo.prop3.localmax.amended", a_third_of_the_room),
    "Eq. 23 without the half": ("mpo.prop3.eq23", the_whole_squared_norm),
    "the functional after fewer steps": ("mpo.prop3.f2", changed("mpo.prop3.f2", lambda p, c: c.right / 2)),
    "the split with a little more": (
        "mpo.prop3.f3", changed("mpo.prop3.f3", lambda p, c: c.right + namespace(c.right).abs(c.right) / 10**6),
    ),
    "a remainder of third order": ("mpo.prop3.remainder", a_remainder_of_third_order),
    "Eq. 24 with more than the gain": ("mpo.prop3.eq24", changed("mpo.prop3.eq24", lambda p, c: c.right / 3)),
    "the resolvent to first order": ("mpo.prop3.resolvent", without_the_last_term),
    "the value after fewer steps": ("mpo.prop3.value", changed("mpo.prop3.value", lambda p, c: c.right / 2)),
    "the expansion with half the slope": (
        "mpo.prop3.expansion", changed("mpo.prop3.expansion", lambda p, c: c.right / 2),
    ),
    "the exact expansion a little off": (
        "mpo.prop3.expansion",
        changed("mpo.prop3.expansion", lambda p, c: c.right + namespace(c.right).abs(c.right) / 10**6, which=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_found(name: str) -> None:
    assert found_false(*PLANTED[name])


def test_what_is_true_is_not_found_false_by_the_same_search() -> None:
    for claim in ("mpo.prop3.eq20", "mpo.prop3.eq21.amended", "mpo.prop3.eq24"):
        assert not found_false(claim, registry()[claim].readings["intended"].sides)
