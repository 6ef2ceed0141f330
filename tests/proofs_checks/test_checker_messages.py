"""What the checker says of the files that it rejects."""

from __future__ import annotations

import json

import pytest

from tests.proofs_checks.valid_certificates import CERTIFICATES, named, rejected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"null", "certificate: not an object"),
        (b"[]", "certificate: not an object"),
        (b"NaN", "number 'NaN' is not allowed"),
        (b'{"precision": -Infinity}', "number '-Infinity' is not allowed"),
        (b'{"precision": 64.0}', "number '64.0' is not allowed"),
        (b'{"precision": -0}', "integer '-0' is not canonical or too long"),
        (b'{"precision": ' + b"9" * 6000 + b"}", "is not canonical or too long"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * 1_000_001, "larger than 1000000 bytes"),
        (b'{"\x1b[31m\\n": 0, "' + b"x" * 500 + b'": 0}', "not JSON"),
        (b'{"\\u001b\\n": 0, "\\u001b\\n": 0}', "stands twice"),
    ],
)
def test_files_that_are_no_certificates(data, why):
    assert why in rejected(data)


def test_messages_name_the_field():
    for changed, why in {
        ("ecpo.thm1.fixed", "returns", ("0", "14/2")): "returns[1]: '14/2' is not canonical",
        ("ecpo.thm1.fixed", "start", ("1/2", "1/3")): "start: probabilities do not sum to 1 exactly",
        ("ecpo.thm1.fixed", "start", ("3/2", "-1/2")): "start[1]: must be >= 0",
        ("ecpo.thm1.fixed", "start", ("1",)): "returns: 2 entries where 1 are expected",
        ("ecpo.thm1.fixed", "horizon", 0): "horizon: 0 is not between 1 and 200",
        ("ecpo.thm1.fixed", "horizon", 201): "horizon: 201 is not between 1 and 200",
        ("ecpo.thm1.anytime", "start", ("1/2", "1/2", "0")): "start: must be strictly positive",
        ("ecpo.thm1.fixed", "returns", ("0", "9" * 5001)): "returns[1]: more than 5000 digits",
        ("ecpo.lemma1", "policy", ("1", "0")): "policy[1]: must be > 0",
        ("ecpo.lemma1", "tau", "0"): "tau: must be > 0",
        ("ecpo.lemma1", "tau_prime", "-1"): "tau_prime: must be >= 0",
        ("ecpo.lemma1", "samples", 9): "samples: 9 is not between 1 and 8",
        ("ecpo.prop2.fixed", "policy", ("1", "0")): "policy[1]: must be > 0",
        ("ecpo.prop2.fixed", "returns", ("1", "1")): "the relation holds on this instance",
        ("ecpo.thm2.fixed", "tau", "0"): "tau: must be > 0",
        ("ecpo.sec3.nonzero", "reference", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.thm1.fixed", "returns", ("0", "1")): "the relation holds on this instance",
        ("ecpo.eq5.lift", "tau_prime", "0"): "every operation of the printed expression is defined",
        ("ecpo.eq5.lift", "reference", ("1/2", "1/2")): "every operation of the printed expression is defined",
        ("ecpo.lemma2.lower", "tau", "1"): "every operation of the printed expression is defined",
        ("ecpo.thm1.sum", "returns", ("-1", "0", "8/7")): "returns[2]: must be between -1 and 1",
        ("ecpo.thm1.sum", "returns", ("-8/7", "0", "1")): "returns[0]: must be between -1 and 1",
        ("ecpo.thm1.sum", "horizon", 2): "the relation holds on this instance",
        ("ecpo.thm1.step", "returns", ("0", "2")): "returns[1]: must be between -1 and 1",
        ("ecpo.thm1.step", "member", ("0", "1")): "every operation of the printed expression is defined",
        ("ecpo.thm1.threepoint", "policy", ("1/2", "1/2")): "every operation of the printed expression is defined",
        (
            "ecpo.prop2.condition",
            "policy",
            ("1/2", "1/4", "1/4"),
        ): "every operation of the printed expression is defined",
        (
            "ecpo.thm2.condition",
            "policy",
            ("1/2", "1/4", "1/4"),
        ): "every operation of the printed expression is defined",
        ("ecpo.sec4.logexp", "tau_prime", "0"): "every operation of the printed expression is defined",
        ("ecpo.lemma2.softmax", "tau_prime", "0"): "tau_prime: must be > 0",
        ("ecpo.lemma2.softmax", "policy", ("1/4", "1/4", "1/2")): "not settled at 8192 bits",
        ("ecpo.thm1.start", "start", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.thm1.lemma4.wlog", "returns", ("0", "1", "0", "1")): "the relation holds on this instance",
        ("ecpo.pmd.convergence", "start", ("1/4", "1/4", "1/2")): "the relation holds on this instance",
        ("ecpo.appd.prop4.i", "first", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.appd.thm4", "policy", ("1", "0")): "policy[1]: must be > 0",
        ("ecpo.appd.thm4", "policy", ("1/3", "1/3", "1/3")): "policy: 3 entries where 2 are expected",
        ("ecpo.appd.policy", "transitions", (("1", "0", "0"), ("1/3", "1/2", "1/6"))): "transitions[0][1]: must be > 0",
    }.items():
        claim, name, value = changed
        assert why in rejected(named(claim, **{name: json.loads(json.dumps(value))}))
    for changed, why in {
        ("soft_q.eq10", "proposal", ("1/3", "1/3", "1/3")): "not settled at 8192 bits",
        ("soft_q.eq10", "alpha", "0"): "alpha: must be > 0",
        ("soft_q.eq20", "discount", "1"): "discount: must be at least 0 and below 1",
        ("soft_q.eq20", "discount", "-1/2"): "discount: must be at least 0 and below 1",
        ("soft_q.eq20", "discount", "0"): "the relation holds on this instance",
        ("soft_q.eq20", "policy", (("1/2", "1/2"), ("1/2", "1/2"))): "the relation holds on this instance",
        ("soft_q.eq28", "policy", (("1/2", "1/2"), ("1", "0"))): "policy[1][1]: must be > 0",
        ("soft_q.eq28", "policy", (("1/4", "3/4"), ("1/4", "3/4"))): "not settled at 8192 bits",
    }.items():
        claim, name, value = changed
        assert why in rejected(named(claim, **{name: json.loads(json.dumps(value))}))
    one = named("ecpo.thm1.fixed", start=["1"], returns=["9"])
    assert rejected(one) == "start: at least two trajectories are needed, since log 1 = 0"
    one = named("ecpo.thm1.sum", far=["1"], returns=["1"])
    assert rejected(one) == "far: at least two trajectories are needed, since log 1 = 0"
    longer = next(c for c in CERTIFICATES if c["condition"] == "sum on a segment")
    longer = longer | {"instance": longer["instance"] | {"horizon": 2}}
    assert rejected(longer).startswith("horizon: on a segment only a horizon of 1 is checked")
    unknown = named("ecpo.thm1.sum") | {"condition": "regret"}
    assert rejected(unknown) == "condition: 'regret' where 'sum' or 'sum on a segment' is expected"
    assert rejected(named("ecpo.appd.thm4", "intended", samples=1)) == "samples: 1 is not between 2 and 8"
    assert rejected(named("ecpo.appd.thm4", "intended", first=["1", "0"])) == "first[1]: must be > 0"
    assert "must be > 0" in rejected(named("ecpo.eq9", "intended", reference=["1", "0"]))
    assert rejected(named("ecpo.lemma1", "intended", samples=1)) == "samples: 1 is not between 2 and 8"
    assert "must be > 0" in rejected(named("ecpo.lemma1", "intended", reference=["1/2", "1/2", "0"]))
    assert "another one" in rejected(named("ecpo.appd.policy") | {"component": [0, 0]})
    assert rejected(named("ecpo.appd.policy", "intended", first=["1", "0"])) == "first[1]: must be > 0"


def test_work_is_bounded():
    n = 64
    uniform, zeros = [f"1/{n}"] * n, ["0"] * n
    wide = named("ecpo.lemma1", reference=uniform, returns=zeros, policy=uniform, samples=4)
    assert rejected(wide) == "samples: more than 1000000 tuples"
    row = {"first": uniform, "first_rewards": zeros, "transitions": [["1/2", "1/2"]] * n}
    many = named("ecpo.appd.policy", **row, second=[uniform] * 2, second_rewards=[zeros] * 2)
    assert rejected(many) == "first: more than 4096 trajectories"
    assert rejected(named("ecpo.appd.thm4", samples=6)) == "samples: more than 1000000 tuples"
    states = [["1"] + ["0"] * 8] * 9
    large = named("soft_q.eq28", initial=states[0], dynamics=[states[:8]] * 9, policy=[["1/8"] * 8] * 9)
    assert rejected(large) == "dynamics: more than 4096 pairs of steps"


def test_equal_sides_are_never_accepted():
    """q = reference: the estimator is unbiased here, and no precision shows a difference."""
    fair = named("ecpo.lemma1", returns=["0", "0"]) | {"left": "0", "right": "0"}
    assert rejected(fair).startswith("not settled at 8192 bits")
