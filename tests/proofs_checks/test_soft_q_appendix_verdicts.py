"""The claims of Appendices A and B of soft Q-learning as the referee judges them: counterexamples, values, edges,
certificates, verdicts and planted falsehoods.  The second route is that of soft_q_appendix_certificates.
"""

from __future__ import annotations

import copy
import decimal
import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from exactrl.formulas import log_soft_greedy
from exactrl.number_systems import namespace
from proofs_checks import certify, verify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.claims.soft_q.finite_horizon import Steps
from proofs_checks.claims.soft_q.optimal_models import optimal_action_values
from proofs_checks.falsify import Budget, search
from tests.proofs_checks import judging
from tests.proofs_checks.soft_q_appendix_certificates import DYNAMICS, IDLE, ILL_POSED, INSTANCES, KEPT

SMALL = Budget(draws=400, generations=4, population=160, suspects=3, swept=1)

LITERAL_AND_INTENDED = {
    "soft_q.appa.average": ("refuted", "survived"),
    "soft_q.appa.objective": ("refuted", "survived"),
    "soft_q.notes.single_sum": ("ill-posed", "survived"),
    "soft_q.eq21.monotone": ("survived", "survived"),
    "soft_q.eq21.converge": ("survived", "survived"),
    "soft_q.appa1.form": ("refuted", "survived"),
    "soft_q.appa2.unique": ("survived", "survived"),
    "soft_q.eq27": ("survived", "survived"),
    "soft_q.eq29": ("refuted", "survived"),
    "soft_q.eq32": ("refuted", "survived"),
    "soft_q.appb.recover": ("survived", "survived"),
    "soft_q.appb.constant": ("refuted", "survived"),
}
ONE_STEP = [["1/2", "1/2"], ["1/2", "1/2"]]
TINY, REST = f"1/{10**30}", f"{10**30 - 1}/{10**30}"


def examined(claim: str, data: Any, reading: str = "intended", most_bits: int = 512) -> str:
    judged = registry()[claim].readings[reading]
    return certify.examine(judged, judged.space.from_json(data), most_bits=most_bits).outcome


def holds(claim: str, data: Any, reading: str = "intended") -> bool:
    return examined(claim, data, reading) in ("satisfied", "tied")


# (a) The counterexamples of the hand checks, in balls.

COUNTEREXAMPLES = [
    (
        "soft_q.appa.average",
        {
            "dynamics": [[["3/4", "1/4"], ["1/4", "3/4"]], ONE_STEP], "rewards": [["1", "0"], ["10", "10"]],
            "discount": "0", "policy": ONE_STEP,
        },
    ),
    (
        "soft_q.appa.objective",
        {
            "dynamics": [[["3/4", "1/4"], ["1/4", "3/4"]]] * 2, "values": ["-5", "3"], "policy": ONE_STEP,
            "discount": "0", "alpha": "1", "challenger": [["0", "1"], ["0", "1"]],
        },
    ),
    (
        "soft_q.appa1.form",
        {
            "dynamics": [[["1", "0"], ["1", "0"]], [["0", "1"], ["0", "1"]]], "values": ["0", "0"],
            "policy": ONE_STEP, "discount": "0", "initial": ["1", "0"], "other": [["1/2", "1/2"], ["1/3", "2/3"]],
        },
    ),
    (
        "soft_q.eq29",
        {
            "initial": ["1", "0"], "dynamics": [[["1", "0"], ["0", "1"]], [["0", "1"], ["0", "1"]]],
            "rewards": [["0", "0"], ["0", "0"]], "policy": [["1/2", "1/2"], ["1/4", "3/4"]],
            "log_partition": ["0", "0"], "horizon": 2,
        },
    ),
    (
        "soft_q.eq32",
        {
            "action_values": [["0", "0"]], "advantages": [["1", "0"]], "state_weights": ["1"],
            "action_weights": ["1/2", "1/2"],
        },
    ),
    (
        "soft_q.appb.constant",
        {
            "dynamics": [[["1", "0"]], [["0", "1"]]], "values": ["0", "1"], "policy": [["1"], ["1"]], "discount": "0",
            "shifts": ["0", "-1"],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "data"), COUNTEREXAMPLES, ids=[c for c, _ in COUNTEREXAMPLES])
def test_the_counterexamples_refute_the_literal_reading_alone(claim: str, data: Any) -> None:
    assert examined(claim, data, "literal") == "violated"
    readings = registry()[claim].readings
    if set(readings["intended"].space.fields) == set(readings["literal"].space.fields):
        assert holds(claim, data)


def test_what_the_hypotheses_exclude_is_no_counterexample() -> None:
    """One step, every state reached, equal shifts, a challenger below 0 or a rich Theorem 1: nothing is refuted."""
    data: dict[str, Any] = dict(COUNTEREXAMPLES)
    assert holds("soft_q.eq29", data["soft_q.eq29"] | {"horizon": 1}, "literal")
    assert holds("soft_q.appa1.form", data["soft_q.appa1.form"] | {"initial": ["1/2", "1/2"]}, "literal")
    assert holds("soft_q.appb.constant", data["soft_q.appb.constant"] | {"shifts": ["-1", "-1"]}, "literal")
    objective = data["soft_q.appa.objective"]
    assert examined("soft_q.appa.objective", objective | {"values": ["-3", "5"]}, "literal") == "not given"
    assert holds("soft_q.appa.objective", objective | {"values": ["-5", "2"]}, "literal")


# (b) The sides that the referee prints, and the checker, against the second route.


def printed(value: Any) -> str:
    """Twenty digits through the decimal module."""
    rounded = decimal.Context(prec=20, rounding=decimal.ROUND_HALF_UP).create_decimal(mp.nstr(mp.mpf(value), 60))
    if abs(value) < mp.eps * 10**10:  # what numerical derivatives leave of zero
        return "0"
    sign, digits, exponent = rounded.as_tuple()
    text = "".join(map(str, digits))
    tail = text[1:].rstrip("0")
    return "-" * sign + text[0] + ("." + tail if tail else "") + f"e{exponent + len(text) - 1}"


def numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [numbers(v) for v in value]
    return mp.mpf(Fraction(value).numerator) / Fraction(value).denominator if isinstance(value, str) else value


def of_second_route() -> list[dict[str, Any]]:
    found = []
    with mp.workdps(80):
        for claim, relation, condition, evaluate, component, x in INSTANCES:
            left, right = map(printed, evaluate({name: numbers(v) for name, v in x.items()}, component))
            found.append({
                "schema": certify.SCHEMA, "claim": claim, "reading": "literal", "verdict": "refuted", "instance": x,
                "condition": condition, "component": component, "left": left, "relation": relation, "right": right,
                "precision": 128, "reason": None,
            })  # fmt: skip
    for claim, reason, x in ILL_POSED:
        found.append({
            "schema": certify.SCHEMA, "claim": claim, "reading": "literal", "verdict": "ill-posed", "instance": x,
            "condition": "defined", "component": [], "left": None, "relation": "undefined", "right": None,
            "precision": 64, "reason": reason,
        })  # fmt: skip
    return found


CERTIFICATES = of_second_route()
every_certificate = pytest.mark.parametrize("certificate", CERTIFICATES, ids=[c["claim"] for c in CERTIFICATES])


def refused(certificate: Any) -> str:
    with pytest.raises(checker.Rejected) as why:
        checker.check(json.dumps(certificate).encode())
    return str(why.value)


@every_certificate
def test_the_checker_accepts_what_the_second_route_finds(certificate: Any) -> None:
    sentence = checker.check(json.dumps(certificate).encode())
    assert sentence.startswith(f"{certificate['claim']} literal {certificate['verdict']}: ")


@every_certificate
def test_the_referee_finds_the_same_sides(certificate: Any) -> None:
    reading = registry()[certificate["claim"]].readings["literal"]
    if certificate["verdict"] == "ill-posed":
        assert reading.printed is not None
        instance = reading.printed.space.from_json(certificate["instance"])
        assert certify.undefined(reading.printed, instance) == certificate["reason"]
        return
    instance = reading.space.from_json(certificate["instance"])
    component = tuple(certificate["component"])
    finding = certify.Finding("violated", certificate["condition"], component, certificate["relation"], 128)
    written = certify.certificate(reading, instance, finding)
    assert (written["left"], written["right"]) == (certificate["left"], certificate["right"])


@every_certificate
def test_forged_sides_are_rejected(certificate: Any) -> None:
    if certificate["verdict"] == "ill-posed":
        assert "reason" in refused(certificate | {"reason": "0 * inf"})
        refused(certificate | {"left": "0"})
        return
    for side, other in (("left", "right"), ("right", "left")):
        true = certificate[side]
        forged = {"0", "1e0", "inf", "", f"-{true}", true + "0", certificate[other]} - {true}
        if true != "0":
            forged |= {true.replace("e", "1e"), str(9 - int(true.lstrip("-")[0])) + true.lstrip("-")[1:]} - {true}
        for value in forged:
            refused(certificate | {side: value})


@every_certificate
def test_numbers_that_matter_cannot_be_changed(certificate: Any) -> None:
    """Adding 1/7 to any real number of the instance moves a side, unless that number is idle."""
    kinds = checker.TABLE[certificate["claim"], certificate["condition"]].fields["literal"]
    for name, kind in kinds.items():
        if kind.rule == "real" and name not in IDLE.get(certificate["claim"], set()) and certificate["left"]:
            changed = copy.deepcopy(certificate)
            place = changed["instance"][name]
            s = certificate["component"][0] if certificate["component"] else 0
            if isinstance(place[s], list):
                place[s][0] = str(Fraction(place[s][0]) + Fraction(1, 7))
            else:
                place[s] = str(Fraction(place[s]) + Fraction(1, 7))
            refused(changed)


def named(claim: str, **instance: Any) -> dict[str, Any]:
    found = copy.deepcopy(next(c for c in CERTIFICATES if c["claim"] == claim))
    found["instance"] |= instance
    return found


def test_the_checker_holds_instances_against_the_hypotheses() -> None:
    assert refused(named("soft_q.appa.average", policy=[["1", "0"], ["1/2", "1/2"]])) == "policy[0][1]: must be > 0"
    assert refused(named("soft_q.appa.average", dynamics=KEPT)) == "dynamics[0][0][1]: must be > 0"
    assert refused(named("soft_q.appa.average", discount="1")) == "discount: must be at least 0 and below 1"
    assert "holds" in refused(named("soft_q.appa.average", rewards=[["1", "0"], ["0", "0"]]))
    assert "does not earn less than 0" in refused(named("soft_q.appa.objective", values=["6", "4"]))
    assert refused(named("soft_q.appa.objective", dynamics=KEPT)) == "dynamics[0][0][1]: must be > 0"
    assert refused(named("soft_q.appa.objective", alpha="0")) == "alpha: must be > 0"
    assert "not settled" in refused(named("soft_q.appa1.form", initial=["1/2", "1/2"]))
    assert refused(named("soft_q.appa1.form", other=[["1", "0"]] * 2)) == "other[0][1]: must be > 0"
    assert "not settled" in refused(named("soft_q.eq29", horizon=1))
    assert "trajectories" in refused(named("soft_q.eq29", horizon=7))
    assert "holds" in refused(named("soft_q.appb.constant", shifts=["1", "1"]))
    for rewards in (["2", "0", "1"], ["0", "0", "0"], ["2", "-1", "3"]):
        assert "is defined" in refused(named("soft_q.notes.single_sum", rewards=rewards))


# (c) The edges: one action, one state, no discount, equal rewards, unreachable states, tiny and huge numbers.

MODELS = [
    {"dynamics": [[["1"]]], "rewards": [["7"]], "discount": "0", "policy": [["1"]]},
    {"dynamics": [[["1"], ["1"]]], "rewards": [["3", "3"]], "discount": "999/1000", "policy": [["0", "1"]]},
    {"dynamics": KEPT, "rewards": [["0", "0"], ["1000000", "-1"]], "discount": "0", "policy": [["0", "1"], ["1", "0"]]},
    {"dynamics": KEPT, "rewards": [["-5", "2"], ["0", "1"]], "discount": "9/10", "policy": [["0", "1"], [TINY, REST]]},
]  # fmt: skip
SOLUTIONS = [
    {"dynamics": [[["1"]]], "values": ["7"], "discount": "0", "policy": [["1"]]},
    {"dynamics": [[["1"], ["1"]]], "values": ["3"], "discount": "999/1000", "policy": [[TINY, REST]]},
    {"dynamics": KEPT, "values": ["0", "1000000"], "discount": "99/100", "policy": [["1/2", "1/2"], [TINY, REST]]},
]


def shaped(model: Any, fill: Any) -> list[list[str]]:
    return [fill(len(row)) for row in model["policy"]]


def first(n: int) -> list[str]:
    return ["1"] + ["0"] * (n - 1)


def test_edges_of_the_iteration() -> None:
    for model in MODELS:
        assert holds("soft_q.eq21.monotone", model | {"steps": 4})
        assert holds("soft_q.appa1.form", model | {"challenger": shaped(model, first)})
    for model in SOLUTIONS:
        assert holds("soft_q.eq21.converge", model | {"start": shaped(model, first), "steps": 4})
        assert holds("soft_q.appa2.unique", model | {"other": shaped(model, lambda n: ["0"] * n)})
        assert holds("soft_q.appb.constant", model | {"found": shaped(model, lambda n: ["-50"] * n)})
        for alpha in ("1", TINY, str(10**9)):
            assert holds("soft_q.appa.objective", model | {"challenger": shaped(model, first), "alpha": alpha})


def test_edges_of_the_gradients() -> None:
    for model in MODELS:
        states = len(model["policy"])
        positive = {"policy": shaped(model, lambda n: [TINY, REST][:n] if n > 1 else ["1"])}
        fields = {"dynamics": model["dynamics"], "rewards": model["rewards"], **positive}
        fields |= {"initial": first(states)}
        for horizon in (1, 3):
            assert holds("soft_q.eq27", fields | {"baseline": ["1000000"] * states, "horizon": horizon})
            for claim in ("soft_q.eq29", "soft_q.appb.recover"):
                assert holds(claim, fields | {"log_partition": ["-1000000"] * states, "horizon": horizon})


def test_edges_of_the_long_run() -> None:
    sticky = [[[REST, TINY], [TINY, REST]], [["1/2", "1/2"], [TINY, REST]]]
    for dynamics, discount in ((DYNAMICS, "0"), (sticky, "0"), (sticky, "999999/1000000")):
        model = {
            "dynamics": dynamics,
            "rewards": [["1", "0"], ["1000000", "-3"]],
            "policy": [["1/2", "1/2"], [TINY, REST]],
        }
        assert holds("soft_q.appa.average", model | {"discount": discount})
        assert holds("soft_q.notes.single_sum", model | {"alpha": "1000000", "steps": 3})
    alone = {"dynamics": [[["1"]]], "rewards": [["1"]], "policy": [["1"]]}
    assert holds("soft_q.appa.average", alone | {"discount": "0"})
    assert holds("soft_q.appa.average", alone | {"discount": "0"}, "literal")


# (d) The verdicts.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "SHRUNK", 1)  # one violation is made small, not the simplest of many
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


# (e) Planted falsehoods.


def verdict_on(like: str, sides: Sides) -> str:
    """Two of everything are enough to see these."""
    reading = registry()[like].readings["intended"]
    reading = replace(
        reading, sides=sides, space=replace(reading.space, sizes=dict.fromkeys(reading.space.sizes, (2,)))
    )
    found = search(reading, np.random.SeedSequence(3), SMALL)
    return verify._settle(reading, found, SMALL, np.random.SeedSequence(4))[0]


def changed(like: str, change: Any, check: int = 0) -> tuple[str, Sides]:
    """A check of a claim with another right side."""

    def sides(p: Any) -> Check:
        found = registry()[like].readings["intended"].checks(p)[check]
        return replace(found, right=change(p, found))

    return like, sides


def soft_values_count_later_entropies_twice(p: Any) -> Check:
    """Eq. 27 with the soft action values."""
    steps = Steps(p)
    right = steps.score_gradient(steps.action_values(1)) + steps.entropy_gradient()
    return Check("planted", steps.regularised_gradient(), "==", right)


def no_entropy_of_the_own_step(p: Any) -> Check:
    """Eq. 29 without the energy."""
    steps = Steps(p)
    return Check("planted", steps.regularised_gradient(), "==", steps.score_gradient(steps.action_values(1)))


def one_shift_for_all_at_convergence(p: Any) -> Check:
    """Q is nowhere further than its largest error from Q* plus its shift at the first state."""
    errors = registry()["soft_q.appb.constant"].readings["intended"].checks(p)[0].right
    apart = p.found - optimal_action_values(p)
    return Check("planted", apart - apart[..., :1, :1], "<=", apart * 0 + namespace(apart).max(errors)[..., None, None])


def the_policy_is_reached_at_once(p: Any) -> Check:
    """The first improvement is the solution."""
    check = registry()["soft_q.eq21.converge"].readings["intended"].checks(p)[1]
    return replace(check, right=check.right * 0)


def any_function_makes_the_policy(p: Any) -> Check:
    return Check("planted", log_soft_greedy(p.other, 1), "==", p.log_policy)


PLANTED: dict[str, tuple[str, Sides]] = {
    "the bias forgotten": changed("soft_q.appa.average", lambda p, c: c.right * 101 / 100, 1),
    "the average without 1 - gamma": changed("soft_q.appa.average", lambda p, c: c.right * 2, 0),
    "a bias that vanishes faster": changed("soft_q.appa.average", lambda p, c: c.right / 1000, 3),
    "a challenger must be worse by a tenth": changed(
        "soft_q.appa.objective", lambda p, c: c.right - namespace(c.right).abs(c.right) / 10
    ),
    "T / 2 instead of (T + 1) / 2": changed("soft_q.notes.single_sum", lambda p, c: c.right * p.steps / (p.steps + 1)),
    "inner sums one term short": changed("soft_q.notes.single_sum", lambda p, c: c.right * (p.steps - 1) / p.steps, 1),
    "each step gains a little": changed("soft_q.eq21.monotone", lambda p, c: c.right + 1),
    "a rate of half the discount": changed("soft_q.eq21.converge", lambda p, c: c.right / 2, 2),
    "one improvement is enough": ("soft_q.eq21.converge", the_policy_is_reached_at_once),
    "an improvement gains twice the divergence": changed("soft_q.appa1.form", lambda p, c: c.right * 2 + 0),
    "no challenger is better at all": changed("soft_q.appa1.form", lambda p, c: c.right * 0, 1),
    "half the residual bounds the distance": changed("soft_q.appa2.unique", lambda p, c: c.right / 2, 1),
    "any function makes the optimal policy": ("soft_q.appa2.unique", any_function_makes_the_policy),
    "soft values in Eq. 27": ("soft_q.eq27", soft_values_count_later_entropies_twice),
    "Eq. 29 without the energy": ("soft_q.eq29", no_entropy_of_the_own_step),
    "Eq. 32 halved": changed("soft_q.eq32", lambda p, c: c.right / 2),
    "the update twice the policy gradient": changed("soft_q.appb.recover", lambda p, c: c.right * 2, 1),
    "one shift for all states": ("soft_q.appb.constant", one_shift_for_all_at_convergence),
    "a tenth of the error bounds the shifts": changed("soft_q.appb.constant", lambda p, c: c.right / 10),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "SHRUNK", 1)
    monkeypatch.setattr(verify, "shrink", lambda space, instance, holds: instance)
    like, sides = PLANTED[name]
    assert verdict_on(like, sides) == "refuted"
