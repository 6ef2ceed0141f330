"""The stand-alone checker accepts true certificates, whose values come from mpmath here, and rejects every forgery."""

from __future__ import annotations

import ast
import contextlib
import copy
import decimal
import io
import itertools
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("flint")

from mpmath import diff, exp, log, mp, mpf, sqrt, tanh  # noqa: E402

from proofs_checks.checker import main as checker  # noqa: E402

SOURCE = Path(checker.__file__)
Certificate = dict[str, Any]


# ------------------------------------------------------------------------ true values, by another road
# Probabilities are multiplied out and normalised, derivatives are taken numerically at 80 digits.


@pytest.fixture(autouse=True)
def eighty_digits():
    with mp.workdps(80):
        yield


def number(text: str) -> Any:
    value = Fraction(text)
    return mpf(value.numerator) / value.denominator


def numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [numbers(part) for part in value]
    return number(value) if isinstance(value, str) else value


def printed(value: Any) -> str:
    """Twenty digits through the decimal module."""
    rounded = decimal.Context(prec=20, rounding=decimal.ROUND_HALF_UP).create_decimal(mp.nstr(mpf(value), 60))
    if abs(mpf(value)) < mp.eps * 10**10:  # what numerical derivatives leave of zero
        return "0"
    sign, digits, exponent = rounded.as_tuple()
    text = "".join(map(str, digits))
    tail = text[1:].rstrip("0")
    return "-" * sign + text[0] + ("." + tail if tail else "") + f"e{exponent + len(text) - 1}"


def normalised(weights: list[Any]) -> list[Any]:
    return [w / sum(weights) for w in weights]


def softmax(logits: list[Any]) -> list[Any]:
    return normalised([exp(x) for x in logits])


def lift(reference: list[Any], returns: list[Any], tau: Any, tau_prime: Any) -> list[Any]:
    """reference^(tau / eta) exp(r / eta), normalised."""
    eta = tau + tau_prime
    pairs = zip(reference, returns, strict=True)
    return normalised([p ** (tau / eta) * exp(r / eta) if p else mpf(0) for p, r in pairs])


def partial(function: Any, policy: list[Any], j: int) -> Any:
    """The derivative of function(pi) in the j-th logit of a softmax policy."""
    logits = [log(p) for p in policy]
    return diff(lambda x: function(softmax([x if i == j else logit for i, logit in enumerate(logits)])), logits[j])


def cross_entropy(weights: list[Any], policy: list[Any]) -> Any:
    return -sum(w * log(p) for w, p in zip(weights, policy, strict=True))


def squares(theta: Any) -> list[Any]:
    return normalised([theta**2, mpf(1)])


def prop2(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return diff(lambda t: sum(p * r for p, r in zip(squares(t), x["returns"], strict=True)), x["theta"]), 0


def thm2(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    tau, eta = x["tau"], x["tau"] + x["tau_prime"]

    def surrogate(t: Any) -> Any:
        return eta * log(sum(p ** (tau / eta) * exp(r / eta) for p, r in zip(squares(t), x["returns"], strict=True)))

    return diff(surrogate, x["theta"]), 0


def sec3(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    return min(lift(x["reference"], x["returns"], x["tau"], x["tau_prime"])), 0


def lemma1(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    """The estimator is minus the mean of grad log pi under self-normalised weights: all ordered tuples."""
    (j,), eta, ref = component, x["tau"] + x["tau_prime"], x["reference"]
    support = [i for i, p in enumerate(ref) if p]
    weight = {i: exp(x["returns"][i] / eta) * ref[i] ** (-x["tau_prime"] / eta) for i in support}
    grad = {i: partial(lambda policy, i=i: log(policy[i]), x["policy"], j) for i in support}
    left = mpf(0)
    for samples in itertools.product(support, repeat=x["samples"]):
        shares = normalised([weight[i] for i in samples])
        left -= mp.fprod(ref[i] for i in samples) * sum(s * grad[i] for s, i in zip(shares, samples, strict=True))
    q = lift(ref, x["returns"], x["tau"], x["tau_prime"])
    return left, partial(lambda policy: cross_entropy(q, policy), x["policy"], j)


def thm1(anytime: bool) -> Any:
    def sides(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
        policy, T, log_n = x["start"], x["horizon"], log(len(x["start"]))
        regret = mpf(0)
        for t in range(1, T + 1):
            regret += sum(p * (max(x["returns"]) - r) for p, r in zip(policy, x["returns"], strict=True))
            h = t if anytime else T
            tau_prime = 1 / sqrt(h * log_n)
            policy = lift(policy, x["returns"], sqrt(h) / sqrt(2 * log_n) - tau_prime, tau_prime)
        return regret, 4 * sqrt(T * log_n)

    return sides


def limit0(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    """SR at temperatures so small that what remains is below any digit shown."""
    t = mpf(10) ** -70
    tau, eta = t * x["tau_rate"], t * (x["tau_rate"] + x["tau_prime_rate"])
    values = [(r + tau * log(p)) / eta for p, r in zip(x["policy"], x["returns"], strict=True) if p]
    return eta * (max(values) + log(sum(exp(v - max(values)) for v in values))), max(x["returns"])


def onesample(x: dict[str, Any], _: list[int]) -> tuple[Any, Any]:
    eta, pairs = x["tau"] + x["tau_prime"], list(zip(x["reference"], x["action_values"], strict=True))
    left = sum(p * Q for p, Q in pairs) + x["tau_prime"] * sum(p * log(1 / p) for p, _ in pairs if p)
    return left, log(sum(p ** (x["tau"] / eta) * exp(Q / eta) for p, Q in pairs if p) ** eta)


def lemma7(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    eta = x["tau"] + x["tau_prime"]
    pairs = zip(x["reference"], x["action_values"], strict=True)
    p = [exp((Q - x["value"]) / eta) * ref ** (x["tau"] / eta) if ref else mpf(0) for ref, Q in pairs]
    left = partial(lambda policy: cross_entropy(p, policy), x["policy"], component[0])
    return left, -left


def appd_policy(x: dict[str, Any], component: list[int]) -> tuple[Any, Any]:
    eta, (A, S) = x["tau"] + x["tau_prime"], (len(x["first"]), len(x["second"]))

    def weight(a: int, s: int) -> Any:
        r = [x["first_rewards"][a] + x["second_rewards"][s][b] for b in range(A)]
        ref = [x["first"][a] * x["second"][s][b] for b in range(A)]
        return sum(p ** (x["tau"] / eta) * exp(v / eta) for p, v in zip(ref, r, strict=True) if p)

    mass = sum(x["transitions"][a][s] * weight(a, s) for a in range(A) for s in range(S))
    return weight(*component) / mass, weight(component[0], 0) / mass


# ---------------------------------------------------------------------------------- the valid certificates


def refuted(claim: str, reading: str, relation: str, condition: str, sides: Any, component: list[int], **x: Any) -> Any:
    return claim, reading, relation, condition, sides, component, x


T01 = {"tau": "1", "tau_prime": "0"}
T32 = {"tau": "3/2", "tau_prime": "1/4"}
TWO_STEPS = {
    "transitions": [["1/2", "1/4", "1/4"], ["1/3", "1/2", "1/6"]],
    "second": [["1/2", "1/2"], ["1/4", "3/4"], ["2/5", "3/5"]],
    "first_rewards": ["1", "-1/2"],
    "second_rewards": [["0", "1"], ["2", "0"], ["1/3", "-1"]],
}
REFUTED = [
    refuted("ecpo.prop2.fixed", "literal", "==", "stationary", prop2, [], theta="1/2", returns=["0", "1"], tau="2"),
    refuted("ecpo.thm2.fixed", "literal", "==", "stationary", thm2, [], theta="2", returns=["0", "3"], **T32),
    refuted("ecpo.sec3.nonzero", "literal", ">", "nonzero", sec3, [], reference=["1", "0"], returns=["0", "2"], **T01),
    refuted(
        "ecpo.lemma1", "literal", "==", "unbiased", lemma1, [1],
        reference=["1/2", "1/2"], returns=["0", "1"], **T01, policy=["1/2", "1/2"], samples=1,
    ),
    refuted(
        "ecpo.lemma1", "literal", "==", "unbiased", lemma1, [2],
        reference=["1/2", "0", "1/2"], returns=["0", "1", "-2"], **T32, policy=["1/2", "1/3", "1/6"], samples=3,
    ),
    refuted(
        "ecpo.lemma1", "intended", "==", "unbiased", lemma1, [0],
        reference=["1/2", "1/3", "1/6"], returns=["0", "1", "-2"], **T32, policy=["1/5", "1/5", "3/5"], samples=2,
    ),
    refuted("ecpo.thm1.fixed", "literal", "<=", "regret", thm1(False), [],
            start=["1/2", "1/2"], returns=["0", "7"], horizon=1),
    refuted("ecpo.thm1.fixed", "literal", "<=", "regret", thm1(False), [],
            start=["3/4", "1/4", "0"], returns=["0", "10", "20"], horizon=4),
    refuted("ecpo.thm1.anytime", "literal", "<=", "regret", thm1(True), [],
            start=["3/4", "1/6", "1/12"], returns=["-5", "11", "21"], horizon=3),
    refuted(
        "ecpo.lemma2.limit0", "literal", "==", "limit", limit0, [],
        policy=["1/4", "3/4", "0"], returns=["-1", "1/3", "2"], tau_rate="1", tau_prime_rate="0",
    ),
    refuted("ecpo.sec4.onesample", "literal", "==", "unbiased", onesample, [],
            action_values=["0", "1", "5"], reference=["1/3", "2/3", "0"], **T32),
    refuted("ecpo.sec4.onesample", "intended", "==", "unbiased", onesample, [],
            action_values=["0", "1"], reference=["1/2", "1/2"], **T01),
    refuted(
        "ecpo.lemma7", "literal", "==", "gradient", lemma7, [1],
        action_values=["0", "1", "2"], reference=["1/3", "2/3", "0"], policy=["1/4", "1/4", "1/2"], value="1/2", **T32,
    ),
    refuted("ecpo.appd.policy", "literal", "==", "policy", appd_policy, [0, 2], first=["1", "0"], **TWO_STEPS, **T32),
    refuted("ecpo.appd.policy", "intended", "==", "policy", appd_policy, [1, 1],
            first=["2/5", "3/5"], **TWO_STEPS, **T32),
]  # fmt: skip
BOTH_ZERO = {"tau": "0", "tau_prime": "0"}
ILL_POSED = [
    ("ecpo.eq5.lift", "0 * inf", {"reference": ["1", "0"], "returns": ["0", "1"], "tau": "1", "tau_prime": "1/2"}),
    ("ecpo.appd.lemma8", "0 * inf", {"first": ["1", "0"], **TWO_STEPS, **T32}),
    ("ecpo.lemma2.lower", "division by 0", {"policy": ["1"], "returns": ["0"], **BOTH_ZERO}),
    ("ecpo.lemma2.upper", "inf - inf", {"policy": ["1/2", "1/2", "0"], "returns": ["0", "1", "1"], **T32}),
    ("ecpo.lemma2.upper", "division by 0", {"policy": ["1/2", "1/2"], "returns": ["0", "1"], **BOTH_ZERO}),
]

BLANK = {"schema": "exactrl.certificate/1", "component": [], "left": None, "right": None, "precision": 64}


def certificates() -> list[Certificate]:
    found: list[Certificate] = []
    with mp.workdps(80):
        for claim, reading, relation, condition, evaluate, component, x in REFUTED:
            left, right = map(printed, evaluate({name: numbers(value) for name, value in x.items()}, component))
            named = {"claim": claim, "reading": reading, "verdict": "refuted", "instance": x, "condition": condition}
            sides = {"component": component, "left": left, "relation": relation, "right": right, "precision": 128}
            found.append({**BLANK, **named, **sides, "reason": None})
    for claim, reason, x in ILL_POSED:
        named = {"claim": claim, "reading": "literal", "verdict": "ill-posed", "instance": x, "condition": "defined"}
        found.append({**BLANK, **named, "relation": "undefined", "reason": reason})
    return copy.deepcopy(found)


CERTIFICATES = certificates()
NAMES = [f"{c['claim']}-{c['reading']}-{i}" for i, c in enumerate(CERTIFICATES)]
every_certificate = pytest.mark.parametrize("certificate", CERTIFICATES, ids=NAMES)


def named(claim: str, reading: str = "literal", **instance: Any) -> Certificate:
    """The first certificate of a reading, some instance fields replaced."""
    found = copy.deepcopy(next(c for c in CERTIFICATES if (c["claim"], c["reading"]) == (claim, reading)))
    found["instance"] |= instance
    return found


@pytest.fixture
def run(tmp_path):
    """Check one file in this process: its content to (exit status, the one line written)."""
    path = tmp_path / "certificate.json"

    def bytes_of(content: Any) -> bytes:
        return content if isinstance(content, bytes) else json.dumps(content).encode()

    def check(content: Any) -> tuple[int, str]:
        path.write_bytes(bytes_of(content))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = checker.main([str(path)])
        assert out.getvalue().count("\n") == 1
        return status, out.getvalue().replace(str(path), "FILE").strip()

    def rejected(content: Any) -> str:
        """The reason; any other exception, which main would turn into a rejection too, fails the test."""
        with pytest.raises(checker.Rejected) as why:
            checker.check(bytes_of(content))
        assert str(why.value).isprintable()
        return str(why.value)

    check.rejected = rejected
    return check


# ------------------------------------------------------------------------------------------------ what is accepted


@every_certificate
def test_a_true_certificate_is_accepted(run, certificate):
    status, line = run(certificate)
    assert status == 0, line
    assert line.startswith(f"ok  FILE  {certificate['claim']} {certificate['reading']} {certificate['verdict']}: ")


def test_every_row_of_the_table_has_a_certificate_here():
    rows = {(c["claim"], c["reading"], c["verdict"]) for c in CERTIFICATES}
    known = {(claim, r, verdict) for (claim, verdict), row in checker.TABLE.items() for r in row.fields}
    assert rows == known
    assert len(rows) == 17


def test_closed_forms():
    """Worked by hand: -16/25, -tanh(1/4), 3.5 against 4 sqrt(log 2), 1/2 against log((1 + e)/2)."""
    half = named("ecpo.thm2.fixed", theta="1", returns=["0", "1"], tau="1", tau_prime="1")
    half["left"] = printed(-tanh(mpf(1) / 4))
    assert checker.check(json.dumps(half).encode())
    assert named("ecpo.prop2.fixed")["left"] == "-6.4e-1"
    bound = named("ecpo.thm1.fixed")
    assert (bound["left"], bound["right"]) == ("3.5e0", "3.3302184446307910254e0")
    one = named("ecpo.sec4.onesample", "intended")
    assert (one["left"], one["right"]) == ("5e-1", printed(log((1 + exp(1)) / 2)))


def test_the_sentence_names_values_and_instance(run):
    assert run(named("ecpo.thm1.fixed"))[1] == (
        "ok  FILE  ecpo.thm1.fixed literal refuted: the regret = 3.5e0 is not at most 4 sqrt(T log n) = "
        "3.3302184446307910254e0, where start = (1/2, 1/2), returns = (0, 7), horizon = 1."
    )
    assert run(named("ecpo.lemma2.lower"))[1] == (
        "ok  FILE  ecpo.lemma2.lower literal ill-posed: the printed expression asks for division by 0, "
        "where policy = (1), returns = (0), tau = 0, tau_prime = 0."
    )


def test_what_refutes_the_intended_reading_refutes_the_literal_one(run):
    for certificate in CERTIFICATES:
        if certificate["reading"] == "intended":
            assert run(certificate | {"reading": "literal"})[0] == 0


def test_extreme_probabilities_and_returns(run):
    tiny = f"1/{10**1000}"
    rest = f"{10**1000 - 1}/{10**1000}"
    assert run(named("ecpo.sec3.nonzero", reference=[rest, tiny, "0"], returns=["0", f"-{10**12}", "0"]))[0] == 0
    reference = {"reference": [rest, tiny], "action_values": ["0", "10000"], "tau": "1", "tau_prime": "0"}
    extreme = named("ecpo.sec4.onesample", "intended", **reference)
    with mp.workdps(6000):
        p = mpf(10) ** -1000
        extreme |= {"left": printed(10000 * p), "right": printed(log((1 - p) + p * exp(10000)))}
    assert run(extreme)[0] == 0


# ------------------------------------------------------------------------------------------------ what is rejected

#: fields that cannot move the values of these certificates, so that a change may leave a certificate that is still true
IDLE = {
    "ecpo.prop2.fixed": {"tau"},
    "ecpo.sec3.nonzero": {"returns", "tau", "tau_prime"},
    "ecpo.lemma2.limit0": {"returns", "tau_rate", "tau_prime_rate"},
    "ecpo.eq5.lift": {"returns", "tau", "tau_prime"},
    "ecpo.appd.lemma8": {"first_rewards", "second_rewards", "tau", "tau_prime"},
    "ecpo.lemma2.lower": {"returns"},
    "ecpo.lemma2.upper": {"returns", "tau", "tau_prime"},
    "ecpo.lemma7": {"action_values"},  # of an action outside the reference
    "ecpo.lemma1": {"returns"},  # of a trajectory outside the reference
    "ecpo.appd.policy": {"first_rewards"},  # of an action outside the reference
    "ecpo.sec4.onesample": {"action_values"},  # of an action outside the reference
}
#: a certificate of one of these may be one of the other too: both have one SR; one step has one temperature
TRUE_ELSEWHERE = {
    "ecpo.lemma2.lower ecpo.lemma2.upper",
    "ecpo.lemma2.upper ecpo.lemma2.lower",
    "ecpo.thm1.fixed ecpo.thm1.anytime",
}
MISSPELT: list[Any] = ["2/4", "-0", "0/1", "1.0", "01", "+1", " 1", "1 ", "1\n", "1/1", "1/0", "1/-2", "-", "", "/"]
MISSPELT += ["\u0661", "0x1", "1e3", "nan", "inf", "1_0", "--1", "\u22121", 1, 1.0, 0.5, True, None, [], {}, ["1"]]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Yield the place of every number of an instance."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))
    else:
        yield path, value


def replaced(certificate: Certificate, path: tuple[Any, ...], value: Any) -> Certificate:
    changed = copy.deepcopy(certificate)
    place = changed["instance"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@every_certificate
def test_forged_sides(run, certificate):
    for side, other in (("left", "right"), ("right", "left")):
        true = certificate[side]
        forged: list[Any] = ["0", "1e0", "inf", "-inf", "nan", "", None, 0, 0.5, True, certificate[other]]
        if true is not None:
            forged += [f"-{true}", true + "0", f"+{true}", f" {true}", true.replace("e", "E"), true.replace("e", "0e")]
            digits = [i for i, c in enumerate(true) if c.isdigit()]
            forged += [true[:i] + str((int(true[i]) + 1) % 10) + true[i + 1 :] for i in digits]
        for value in forged:
            if value != true or type(value) is not type(true):
                run.rejected(certificate | {side: value})


@every_certificate
def test_forged_words(run, certificate):
    words = {
        "schema": ["exactrl.certificate/2", "", None, 1],
        "claim": [*{claim for claim, _ in checker.TABLE}, "ecpo", "", None, ["ecpo.lemma1"], "\ud800"],
        "reading": ["intended", "amended", "", None, {}],
        "verdict": ["refuted", "ill-posed", "proved", None, []],
        "condition": ["limit", "regret", "", None],
        "relation": ["==", "<=", ">=", "<", ">", "undefined", "!=", None],
        "precision": [0, 1, 32, 65, 96, 16384, -64, 64.0, "64", True, None, 10**30],
        "reason": [*checker.REASONS, "", 0, False, [], None],
    }
    for name, values in words.items():
        for value in values:
            if value != certificate[name] or type(value) is not type(certificate[name]):
                forged = certificate | {name: value}
                if name == "claim" and f"{certificate['claim']} {value}" in TRUE_ELSEWHERE and run(forged)[0] == 0:
                    continue
                run.rejected(forged)


@every_certificate
def test_forged_component(run, certificate):
    true = certificate["component"]
    forged: list[Any] = [None, 0, "0", {}, [*true, 0], true[:-1] if true else [0], [[]]]
    for i, _ in enumerate(true):
        forged += [[*true[:i], value, *true[i + 1 :]] for value in (-1, -2, 64, 0.0, True, "1", None)]
        forged += [[*true[:i], value, *true[i + 1 :]] for value in range(3) if value != true[i]]
    for value in forged:
        run.rejected(certificate | {"component": value})


@every_certificate
def test_misspelt_numbers(run, certificate):
    seen = set()
    for path, true in leaves(certificate["instance"]):
        for value in MISSPELT if path[0] not in seen else ["2/4", "-0", "1.0", 1.0, None]:
            if isinstance(true, str) or type(value) is not int:
                reason = run.rejected(replaced(certificate, path, value))
                assert path[0] in reason or "not allowed" in reason  # a float is refused before it has a place
        seen.add(path[0])


@every_certificate
def test_changed_numbers(run, certificate):
    for path, true in leaves(certificate["instance"]):
        changed = true + 1 if isinstance(true, int) else str(Fraction(true) + Fraction(1, 7))
        status, line = run(replaced(certificate, path, changed))
        assert status == 1 or path[0] in IDLE.get(certificate["claim"], ()), line


@every_certificate
def test_changed_keys(run, certificate):
    text = json.dumps(certificate)
    for name in certificate:
        run.rejected({key: value for key, value in certificate.items() if key != name})
        twice = run.rejected((text[:-1] + f', "{name}": {json.dumps(certificate[name])}}}').encode())
        assert twice == f"key '{name}' stands twice"
    assert "unknown" in run.rejected(certificate | {"note": ""})
    instance = certificate["instance"]
    for name in instance:
        missing = certificate | {"instance": {key: value for key, value in instance.items() if key != name}}
        assert run.rejected(missing) == f"instance: key '{name}' is missing"
    assert "unknown" in run.rejected(certificate | {"instance": instance | {"gamma": "1"}})
    for value in (None, [], "", 1):
        assert run.rejected(certificate | {"instance": value}) == "instance: not an object"


@every_certificate
def test_changed_shapes(run, certificate):
    for name, value in certificate["instance"].items():
        if isinstance(value, list):
            for changed in ([], value[:-1], [*value, value[-1]], [value], value[0], {"0": value[0]}, [value[0]] * 65):
                run.rejected(certificate | {"instance": certificate["instance"] | {name: changed}})


@every_certificate
def test_truncated_files(run, certificate):
    data = json.dumps(certificate).encode()
    for length in range(len(data)):
        assert run.rejected(data[:length]).startswith("not JSON")


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
def test_files_that_are_no_certificates(run, data, why):
    assert why in run.rejected(data)


def test_messages_name_the_field(run):
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
        ("ecpo.prop2.fixed", "theta", "-1"): "theta: must be > 0",
        ("ecpo.prop2.fixed", "returns", ("1", "0")): "F'(theta) > 0 fails",
        ("ecpo.thm2.fixed", "returns", ("1", "0")): "F'(theta) > 0 fails",
        ("ecpo.sec3.nonzero", "reference", ("1/2", "1/2")): "the relation holds on this instance",
        ("ecpo.thm1.fixed", "returns", ("0", "1")): "the relation holds on this instance",
        ("ecpo.eq5.lift", "tau_prime", "0"): "every operation of the printed expression is defined",
        ("ecpo.eq5.lift", "reference", ("1/2", "1/2")): "every operation of the printed expression is defined",
        ("ecpo.lemma2.lower", "tau", "1"): "every operation of the printed expression is defined",
        ("ecpo.appd.policy", "transitions", (("1", "0", "0"), ("1/3", "1/2", "1/6"))): "transitions[0][1]: must be > 0",
    }.items():
        claim, name, value = changed
        assert why in run.rejected(named(claim, **{name: json.loads(json.dumps(value))}))
    one = named("ecpo.thm1.fixed", start=["1"], returns=["9"])
    assert run.rejected(one) == "start: at least two trajectories are needed, since log 1 = 0"
    assert run.rejected(named("ecpo.lemma1", "intended", samples=1)) == "samples: 1 is not between 2 and 8"
    assert "must be > 0" in run.rejected(named("ecpo.lemma1", "intended", reference=["1/2", "1/2", "0"]))
    assert "another one" in run.rejected(named("ecpo.appd.policy") | {"component": [0, 0]})
    assert run.rejected(named("ecpo.appd.policy", "intended", first=["1", "0"])) == "first[1]: must be > 0"


def test_work_is_bounded(run):
    n = 64
    uniform, zeros = [f"1/{n}"] * n, ["0"] * n
    wide = named("ecpo.lemma1", reference=uniform, returns=zeros, policy=uniform, samples=4)
    assert run.rejected(wide) == "samples: more than 1000000 tuples"
    row = {"first": uniform, "first_rewards": zeros, "transitions": [["1/2", "1/2"]] * n}
    many = named("ecpo.appd.policy", **row, second=[uniform] * 2, second_rewards=[zeros] * 2)
    assert run.rejected(many) == "first: more than 4096 trajectories"


def test_equal_sides_are_never_accepted(run):
    """q = reference: the estimator is unbiased here, and no precision shows a difference."""
    fair = named("ecpo.lemma1", returns=["0", "0"]) | {"left": "0", "right": "0"}
    assert run.rejected(fair).startswith("not settled at 8192 bits")


# ------------------------------------------------------------------------------------------------ as a program


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", str(SOURCE), *arguments], capture_output=True, text=True, check=False)


def test_as_a_program(tmp_path):
    good, bad, broken = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "broken.json"
    good.write_text(json.dumps(CERTIFICATES[0]))
    bad.write_text(json.dumps(CERTIFICATES[0] | {"left": "-6.5e-1"}))
    broken.write_text(json.dumps(CERTIFICATES[0])[:100])
    assert checker.main([str(good), str(bad), str(broken)]) == 1
    accepted = alone(str(good), str(good))
    assert (accepted.returncode, accepted.stdout.count("ok  "), accepted.stderr) == (0, 2, "")
    mixed = alone(str(good), str(bad), str(broken))
    assert (mixed.returncode, mixed.stdout.count("REJECTED"), mixed.stderr) == (1, 2, "")
    missing = alone(str(tmp_path / "missing.json"), str(tmp_path), str(bad))
    assert missing.returncode == 2
    assert missing.stderr.count("cannot read") == 2
    assert missing.stdout.startswith(f"REJECTED {bad}: left: '-6.5e-1' where '-6.4e-1' is expected")
    usage, told = alone(), alone("--help")
    assert (usage.returncode, told.returncode) == (2, 0)
    assert "example:" in told.stdout
    assert "Traceback" not in accepted.stderr + mixed.stderr + missing.stderr + usage.stderr


def test_the_checker_imports_nothing_of_the_project():
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(str(node.module).split(".")[0])
    assert found - set(sys.stdlib_module_names) == {"flint"}


def test_what_fails_in_evaluation_is_rejected_in_one_line(tmp_path, capsys, monkeypatch):
    path = tmp_path / "certificate.json"
    path.write_text("{}")
    monkeypatch.setattr(checker, "check", lambda data: 1 // 0)
    assert checker.main([str(path)]) == 1
    assert capsys.readouterr().out == f"REJECTED {path}: the sides cannot be evaluated (ZeroDivisionError)\n"


@pytest.mark.parametrize(
    ("top", "bottom", "expected"),
    [
        (1, 1, "1e0"),
        (-1, 1000, "-1e-3"),
        (1, 2**30, "9.3132257461547851563e-10"),
        (-1, 2**30, "-9.3132257461547851563e-10"),
        (10**20 - 1, 10**20, "9.9999999999999999999e-1"),
        (10**21 - 1, 10**21, "1e0"),
        (2, 3, "6.6666666666666666667e-1"),
        (0, 1, "0"),
    ],
)
def test_rounding(top, bottom, expected):
    with checker.ctx.workprec(256):
        assert checker.decimal(checker.arb(checker.fmpq(top, bottom)), last=False) == expected


def test_rounding_waits_for_narrow_balls():
    with checker.ctx.workprec(64):
        third = checker.arb(checker.fmpq(1, 3))
        assert checker.decimal(third, last=False) is None
        assert checker.decimal(third * 3 - 1, last=False) is None
        assert checker.decimal(third * 3 - 1, last=True) == "0"
        assert checker.decimal(checker.arb("nan"), last=True) is None


def test_extended_reals():
    zero, inf = checker.fmpq(0), float("inf")
    for operation, reason in [
        (lambda: checker.plus(inf, -inf), "inf - inf"),
        (lambda: checker.minus(-inf, -inf), "inf - inf"),
        (lambda: checker.times(zero, -inf), "0 * inf"),
        (lambda: checker.over(inf, zero), "division by 0"),
    ]:
        with pytest.raises(checker.Undefined, match=reason.replace("*", r"\*")):
            operation()
    assert checker.exp(-inf) == 0
    assert checker.exp(inf) == inf
    assert checker.over(-inf, checker.fmpq(2)) == -inf
    assert checker.scaled_log(zero, zero) == 0
    assert checker.scaled_log(checker.fmpq(1), zero) == -inf
