"""Claims: registration, readings, selection, and what a mistyped id is answered."""

from dataclasses import FrozenInstanceError
from itertools import pairwise

import pytest

from exactrl import ExactRLError
from proofs_checks import claim as module
from proofs_checks.claim import Check, Claim, Reading, amendments_of, claim, registry, select
from proofs_checks.fields import Real
from proofs_checks.instances import Problem, Space

ECPO = """prop1 prop2.monotone prop2.fixed eq5.lift sec3.nonzero lemma1 thm1.fixed thm1.anytime thm1.lemma3 thm1.lemma4
thm1.lemma5 thm2.monotone thm2.fixed lemma2.lower lemma2.upper lemma2.limit0 lemma2.limitinf prop3.convex eq8.value
sec4.onesample lemma7 appd.lemma8 appd.policy appd.thm3"""
LINE = Space({"x": Real()})
WORDS = {
    "where": "Here",
    "title": "T",
    "statement": "$x$",
    "kind": "inequality",
    "shape": "pointwise",
    "condition": "c",
}


@pytest.fixture
def empty(monkeypatch):
    """A registry of its own."""
    monkeypatch.setattr(module, "_REGISTRY", {})


@claim("toy.given", **WORDS)
def _given(p):
    return p.x, ">=", 0


module._REGISTRY.pop("toy.given")


def test_a_decorated_function_becomes_a_claim(empty):
    made = claim("toy.one", **WORDS, amends="toy.zero")(lambda p: (p.x, "<=", 1))
    assert isinstance(made, Claim)
    assert (made.id, made.source, made.where, made.amends) == ("toy.one", "toy", "Here", "toy.zero")
    assert made.readings == {}
    assert list(module._REGISTRY.items()) == [("toy.one", made)]


def test_an_id_is_given_once(empty):
    claim("toy.one", **WORDS)(lambda p: (p.x, "<=", 1))
    with pytest.raises(ExactRLError, match=r"^the claim toy\.one is defined twice$"):
        claim("toy.one", **WORDS)(lambda p: (p.x, ">=", 1))


def test_the_intended_reading_keeps_the_assumptions_and_adds_its_own(empty):
    made = claim("toy.one", **WORDS)(lambda p: (p.x, "<=", 1))
    made.reading("literal", space=LINE, assumptions=["a", "b"])
    made.reading("intended", space=LINE, adds=["c"])
    assert made.readings["literal"].assumptions == ("a", "b")
    assert made.readings["intended"].assumptions == ("a", "b", "c")
    assert made.readings["intended"].sides is made.sides


def test_a_reading_may_have_assumptions_and_sides_of_its_own(empty):
    made = claim("toy.one", **WORDS)(lambda p: (p.x, "<=", 1))
    made.reading("literal", space=LINE, assumptions=["a"])
    other = lambda p: (p.x, ">=", 1)
    made.reading("intended", space=LINE, assumptions=["b"], adds=["c"], sides=other)
    assert made.readings["intended"].assumptions == ("b", "c")
    assert made.readings["intended"].sides is other


def test_both_readings_are_one(empty):
    made = claim("toy.one", **WORDS)(lambda p: (p.x, "<=", 1))
    made.both_readings(space=LINE, assumptions=["a"])
    assert made.readings["intended"] is made.readings["literal"]
    assert made.readings["intended"].name == "literal"


@pytest.mark.parametrize(
    ("sides", "names"),
    [
        (lambda p: (p.x, "<=", 1), ["c"]),
        (lambda p: Check("own name", p.x, "<=", 1), ["own name"]),
        (lambda p: [Check("a", p.x, "<=", 1), Check("b", p.x, ">", 0)], ["a", "b"]),
        (lambda p: (Check("a", p.x, "<=", 1), Check("b", p.x, ">", 0), Check("d", p.x, ">", 0)), ["a", "b", "d"]),
        (lambda p: [], []),
    ],
)
def test_sides_may_be_a_relation_a_check_or_several(sides, names):
    reading = Reading("toy", "literal", (), LINE, sides, "c")
    checks = reading.checks(Problem({}, {"x": 3.0}))
    assert [c.name for c in checks] == names
    assert all(c.left == 3.0 for c in checks)


def test_checks_are_immutable():
    with pytest.raises(FrozenInstanceError):
        Check("a", 1, "<=", 2).left = 5


def test_the_claims_of_the_paper_are_there_in_two_readings_each():
    known = registry()
    assert {f"ecpo.{name}" for name in ECPO.split()} <= set(known)
    for id, c in known.items():
        assert id == c.id
        assert c.source == id.split(".")[0]
        assert set(c.readings) == {"literal", "intended"}
        assert c.title
        assert c.where
        assert "$" in c.statement
        assert c.amends is None or c.amends in known
        for name, reading in c.readings.items():
            assert reading.claim == id
            assert reading.assumptions, (id, name)
        extra = set(c.readings["literal"].assumptions) - set(c.readings["intended"].assumptions)
        assert not extra, f"{id}: the intended reading drops {extra}"


def test_claims_stand_in_the_order_of_the_paper():
    places = list(registry())
    for first, second in pairwise(["ecpo.prop1", "ecpo.sec3.nonzero", "ecpo.thm1.fixed", "ecpo.thm2.monotone"]):
        assert places.index(first) < places.index(second)


def test_amendments_point_back():
    known = registry()
    assert [a.id for a in amendments_of(known["ecpo.lemma1"])] == ["ecpo.lemma1.amended"]
    assert amendments_of(known["ecpo.prop1"]) == []


def ids(patterns):
    return [c.id for c in select(patterns)]


def test_nothing_selects_everything():
    assert ids([]) == list(registry())
    assert ids(()) == list(registry())


def test_ids_and_sources_are_selected_once_in_the_order_of_the_paper():
    assert ids(["ecpo.lemma7", "ecpo.prop1", "ecpo.lemma7"]) == ["ecpo.prop1", "ecpo.lemma7"]
    assert ids(["ecpo"]) == [id for id in registry() if id.startswith("ecpo.")]
    assert ids(["ecpo.prop1", "ecpo"]) == ids(["ecpo"])


def test_a_second_source_is_selected_by_its_name(monkeypatch):
    monkeypatch.setitem(registry(), "toy.given", _given)
    assert ids(["toy"]) == ["toy.given"]
    assert "toy.given" not in ids(["ecpo"])


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("ecpo.lem", "ecpo.lemma"),
        ("ecpo.lemma", "ecpo.lemma1"),
        ("ecpo.lemma2", "ecpo.lemma2.lower"),
        ("ecpo.thm1", "ecpo.thm1.fixed"),
        ("ecpo.thm2.", "ecpo.thm2.fixed"),
        ("ecpo.prop2.monoton", "ecpo.prop2.monotone"),
        ("lemma7", "ecpo.lemma7"),
        ("ECPO.LEMMA7", "ecpo.lemma7"),
        ("ecop", "ecpo"),
        (" ecpo", "ecpo"),
        ("nonsense", "ecpo"),
        ("", "."),
        ("*", "."),
    ],
)
def test_unknown_and_partial_ids_are_refused_with_the_nearest(pattern, near):
    with pytest.raises(ExactRLError) as refusal:
        select(["ecpo.prop1", pattern])
    message = str(refusal.value)
    assert f"no claim has the id {pattern!r}" in message
    assert "did you mean" in message
    assert near in message.split("did you mean")[1]
    assert "`exactrl claims` lists them" in message
