"""Certification: outcomes on planted relations, expressions without a value, certificates the checker accepts."""

import copy
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx

from exactrl import ExactRLError
from exactrl.errors import Uncertain
from proofs_checks import certify, falsify
from proofs_checks.certify import PRECISIONS, certificate, examine, ill_posed_certificate, undefined
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Printed, Reading, registry
from proofs_checks.extended import Extended
from proofs_checks.fields import NonNegative, Positive, Real
from proofs_checks.instances import Space
from proofs_checks.verify import Piece, judge

mpmath = pytest.importorskip("mpmath")

PAIR = Space({"x": Real(("n",)), "t": Positive()}, {"n": (2, 3)})


def reading(sides, space=PAIR, **options):
    return Reading("toy", "literal", (), space, sides, "c", **options)


def instance(*x, t="1"):
    return {"x": np.array([Fraction(v) for v in x], dtype=object), "t": Fraction(t)}


def balls(*values):
    from exactrl.number_systems.balls import Balls

    array = np.empty(len(values), dtype=object)
    array[:] = values
    return Balls(array)


def first(p, relation):
    return Check("c", p.x[..., 0], relation, p.x[..., 1])


@pytest.mark.parametrize(
    ("x", "relation", "y", "outcome"),
    [
        ("1", "<=", "2", "satisfied"),
        ("2", "<=", "1", "violated"),
        ("1/4", "<=", "1/4", "satisfied"),
        ("1", "<", "1", "violated"),
        ("1", ">", "1", "violated"),
        ("1", "<", "2", "satisfied"),
        ("2", "==", "2", "satisfied"),
        ("2", "==", "3", "violated"),
        ("3", ">=", "4", "violated"),
        ("4", ">=", "3", "satisfied"),
        # A third has no exact ball: the sides agree beyond doubt, and that is neither violated nor decided.
        ("1/3", "==", "1/3", "tied"),
        ("1/3", "<=", "1/3", "tied"),
        # A difference far below floats is still a difference; one beyond 60 digits is not looked for.
        (f"{10**55 + 1}/{10**55}", "<=", "1", "violated"),
        ("1", "<=", f"{10**55 + 1}/{10**55}", "satisfied"),
        (f"1/{10**400}", "<=", "0", "violated"),
    ],
)
def test_relations_between_rationals(x, relation, y, outcome):
    assert examine(reading(lambda p: first(p, relation)), instance(x, y)).outcome == outcome


@pytest.mark.parametrize(
    ("left", "relation", "right", "outcome"),
    [
        ("inf", "<=", "inf", "satisfied"),
        ("inf", "==", "inf", "satisfied"),
        ("inf", "<", "inf", "violated"),
        ("inf", "<=", "1", "violated"),
        ("-inf", "<=", "inf", "satisfied"),
        ("-inf", "==", "inf", "violated"),
        ("-inf", ">=", "0", "violated"),
        ("inf", "==", "1", "violated"),
        ("nan", "==", "1", "undecided"),
        ("nan", "<=", "1", "undecided"),
        ("nan", "==", "nan", "undecided"),
        ("wide", "==", "0", "undecided"),
        ("wide", "<=", "0", "undecided"),
        ("wide", "<=", "2", "satisfied"),
        ("wide", ">=", "2", "violated"),
        ("wide", "==", "2", "violated"),
    ],
)
def test_relations_with_infinite_wide_and_undefined_balls(left, relation, right, outcome):
    ball = {"inf": arb.pos_inf(), "-inf": arb.neg_inf(), "nan": arb.nan(), "wide": arb(0, 1), "0": 0, "1": 1, "2": 2}
    sides = lambda p: Check("c", balls(ball[left]), relation, balls(arb(ball[right])))
    assert examine(reading(sides), instance(0, 0)).outcome == outcome


def test_a_violation_names_its_check_component_and_precision():
    sides = lambda p: [
        Check("good", p.x, "<=", 10),
        Check("bad", p.x, "<=", p.t, asserted=False),
    ]
    finding = examine(reading(sides), instance(1, 5, 2, t=3))
    assert (finding.outcome, finding.check, finding.component) == ("violated", "bad", (1,))
    assert (finding.relation, finding.precision, finding.asserted) == ("<=", 64, False)


def test_precision_rises_only_as_far_as_it_must():
    close = lambda p: Check("c", p.x[..., 0], "<=", p.x[..., 1])
    finding = examine(reading(close), instance(Fraction(1, 3) + Fraction(1, 10**50), "1/3"))
    assert finding.outcome == "violated"
    assert finding.precision == 256
    low = examine(reading(close), instance(Fraction(1, 3) + Fraction(1, 10**50), "1/3"), most_bits=128)
    assert low.outcome == "tied"  # they agree to two thirds of 128 bits


def test_the_working_precision_is_left_as_it_was():
    before = ctx.prec
    examine(reading(lambda p: first(p, "<=")), instance("1/3", "1/3"))
    assert ctx.prec == before


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (lambda p: ((p.t, ">", 0),), "violated"),
        (lambda p: ((p.t, ">", 1),), "not given"),
        (lambda p: ((p.t, "==", 1),), "violated"),
        (lambda p: ((p.t, ">", 0), (p.x[..., 0], "<", 0)), "not given"),
        (lambda p: ((p.x, "<", 10),), "violated"),
        (lambda p: ((p.x, "<", 4),), "not given"),
        (lambda p: ((balls(arb(0, 1)), ">", 0),), "undecided"),
    ],
)
def test_a_condition_must_be_given(given, outcome):
    sides = lambda p: Check("c", p.x[..., 0], "<=", p.x[..., 1], given=given(p))
    assert examine(reading(sides), instance(5, 3)).outcome == outcome


def test_one_violated_check_refutes_whatever_the_others_say():
    sides = lambda p: [
        Check("open", balls(arb(0, 1)), "<=", 0),
        Check("not given", p.t, "<", 0, given=((p.t, "<", 0),)),
        Check("bad", p.t, "<", 1),
    ]
    assert examine(reading(sides), instance(0, 0)).check == "bad"


def test_one_open_check_keeps_an_instance_open():
    sides = lambda p: [Check("good", p.t, "<=", 1), Check("open", balls(arb(0, 1)), "<=", 0)]
    finding = examine(reading(sides), instance(0, 0))
    assert (finding.outcome, finding.check) == ("undecided", "open")


def test_components_are_judged_one_by_one():
    sides = lambda p: Check("c", balls(arb(1), arb(0, 1), arb(3)), "<=", balls(arb(2), arb(0), arb(2)))
    finding = examine(reading(sides), instance(0, 0))
    assert (finding.outcome, finding.component) == ("violated", (2,))
    mixed = lambda p: Check("c", p.x, "==", balls(arb(1) / 3, arb(0, 1)))
    assert examine(reading(mixed), instance("1/3", 0)).outcome == "undecided"


def test_only_the_named_check_is_judged():
    sides = lambda p: [Check("a", p.t, "<", 1), Check("b", p.t, "<=", 1)]
    assert examine(reading(sides), instance(0, 0), only="b").outcome == "satisfied"
    assert examine(reading(sides), instance(0, 0), only="a").outcome == "violated"
    assert examine(reading(sides), instance(0, 0), only="none").outcome == "not given"


def test_an_uncertain_step_asks_for_more_bits():
    asked = []

    def sides(p):
        asked.append(ctx.prec)
        if ctx.prec < 1024:
            raise Uncertain("too few bits")
        return p.t, "<", 1

    finding = examine(reading(sides), instance(0, 0))
    assert (finding.outcome, finding.precision) == ("violated", 1024)
    assert asked == [64, 128, 256, 512, 1024]


def test_what_stays_uncertain_is_undecided_at_every_precision():
    asked = []

    def sides(p):
        asked.append(ctx.prec)
        raise Uncertain("never")

    assert examine(reading(sides), instance(0, 0)).outcome == "undecided"
    assert asked == list(PRECISIONS)


# --------------------------------------------------------------------------------------------- printed expressions

TEMPERATURES = Space({"tau": NonNegative(), "tau_prime": NonNegative()})


def temperatures(tau, tau_prime):
    return {"tau": Fraction(tau), "tau_prime": Fraction(tau_prime)}


def test_a_printed_expression_without_a_value_names_the_operation():
    printed = Printed(TEMPERATURES, lambda i: Extended(1) / (Extended(i["tau"]) + i["tau_prime"]))
    assert undefined(printed, temperatures(0, 0)) == "division by 0"
    assert undefined(printed, temperatures(0, 1)) is None


def test_a_doubtful_printed_expression_is_evaluated_again_with_more_bits():
    def evaluate(i):
        if ctx.prec < 512:
            raise Uncertain("too few bits")
        return Extended(-1).log()

    assert undefined(Printed(TEMPERATURES, evaluate), temperatures(1, 1)) == "log of a negative number"

    def never(i):
        raise Uncertain("never")

    assert undefined(Printed(TEMPERATURES, never), temperatures(1, 1)) is None


def test_the_certificate_of_an_undefined_expression():
    printed = Printed(TEMPERATURES, lambda i: None)
    made = ill_posed_certificate(reading(lambda p: (), printed=printed), temperatures(0, "2/4"), "division by 0")
    assert made == {
        "schema": "exactrl.certificate/1",
        "claim": "toy",
        "reading": "literal",
        "verdict": "ill-posed",
        "instance": {"tau": "0", "tau_prime": "1/2"},
        "condition": "defined",
        "component": [],
        "left": None,
        "relation": "undefined",
        "right": None,
        "precision": 64,
        "reason": "division by 0",
    }


# ---------------------------------------------------------------------------------------------------- certificates


def test_the_certificate_of_a_violation_holds_both_sides_to_twenty_digits():
    sides = lambda p: [Check("a", p.t, "<=", 5), Check("b", p.x, "<=", p.t)]
    toy = reading(sides)
    bad = instance(0, "22/7", t="1/3")
    made = certificate(toy, bad, examine(toy, bad))
    assert made == {
        "schema": "exactrl.certificate/1",
        "claim": "toy",
        "reading": "literal",
        "verdict": "refuted",
        "instance": {"x": ["0", "22/7"], "t": "1/3"},
        "condition": "b",
        "component": [1],
        "left": "3.1428571428571428571e0",
        "relation": "<=",
        "right": "3.3333333333333333333e-1",
        "precision": 64,
        "reason": None,
    }


def test_sides_that_agree_to_many_digits_are_still_written():
    toy = reading(lambda p: first(p, "<="))
    bad = instance(Fraction(1, 3) + Fraction(1, 10**50), "1/3")
    made = certificate(toy, bad, examine(toy, bad))
    assert made["left"] == made["right"] == "3.3333333333333333333e-1"
    assert made["precision"] == 256


def test_sides_that_cannot_be_rounded_are_refused():
    toy = reading(lambda p: Check("c", balls(arb(5, 1)), "<=", 1))
    with pytest.raises(ExactRLError, match="sides of toy cannot be rounded to 20 digits at 8192 bits"):
        certificate(toy, instance(0, 0), examine(toy, instance(0, 0)))


def test_the_one_sample_estimate_by_hand():
    literal = registry()["ecpo.sec4.onesample"].readings["literal"]
    by_hand = literal.space.from_json(
        {"action_values": ["0", "1"], "reference": ["1/2", "1/2"], "tau": "1", "tau_prime": "0"}
    )
    finding = examine(literal, by_hand)
    made = certificate(literal, by_hand, finding)
    with mpmath.workdps(40):
        value = mpmath.log((1 + mpmath.e) / 2)
        assert (made["left"], made["right"]) == ("5e-1", mpmath.nstr(value * 10, 20) + "e-1")
    assert checker.check(json.dumps(made).encode())


KEYS = ["schema", "claim", "reading", "verdict", "instance", "condition", "component"]
KEYS += ["left", "relation", "right", "precision", "reason"]
CHEAP = [
    ("ecpo.prop2.fixed", "literal"),
    ("ecpo.sec3.nonzero", "literal"),
    ("ecpo.eq5.lift", "literal"),
    ("ecpo.lemma1", "literal"),
    ("ecpo.thm2.fixed", "literal"),
    ("ecpo.lemma2.lower", "literal"),
    ("ecpo.lemma2.upper", "literal"),
    ("ecpo.lemma2.limit0", "literal"),
    ("ecpo.sec4.onesample", "intended"),
    ("ecpo.lemma7", "literal"),
    ("ecpo.appd.lemma8", "literal"),
    ("ecpo.appd.policy", "literal"),
]


@pytest.mark.parametrize(("claim", "name"), CHEAP)
def test_what_the_search_certifies_the_checker_accepts_and_no_forgery_of_it(monkeypatch, claim, name):
    monkeypatch.setitem(falsify.PROFILES, "quick", falsify.Budget(draws=300, generations=3, population=64, swept=2))
    made = judge(Piece(claim, name, "quick", 1))["certificate"]
    assert made is not None
    assert list(made) == KEYS
    space = registry()[claim].readings[name]
    space = space.space if made["verdict"] == "refuted" else space.printed.space
    assert space.to_json(space.from_json(made["instance"])) == made["instance"]
    assert claim in checker.check(json.dumps(made).encode())
    for key in ("left", "right") if made["verdict"] == "refuted" else ("reason",):
        forged = copy.deepcopy(made) | {key: "7.25e-3"}
        with pytest.raises(checker.Rejected):
            checker.check(json.dumps(forged).encode())


def test_precisions_rise():
    assert list(PRECISIONS) == sorted(set(PRECISIONS))
    assert PRECISIONS[-1] == 8192
    assert all(math.log2(bits).is_integer() for bits in PRECISIONS)
    assert certify.SCHEMA == "exactrl.certificate/1"
