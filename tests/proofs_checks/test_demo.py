"""The demonstration: a truth, a falsehood, and the counterexample in fractions."""

import json
from fractions import Fraction

import pytest

from proofs_checks import demo, falsify
from proofs_checks.checker import main as checker
from proofs_checks.demo import FALSE_CLAIM, TRUE_CLAIM, fractions, run_demo

mpmath = pytest.importorskip("mpmath")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(falsify.PROFILES, "quick", falsify.Budget(draws=300, generations=2, population=64, swept=2))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1/2", "1/2"),
        (3, "3"),
        ([], "()"),
        (["1", "2/3"], "(1, 2/3)"),
        ([["0", "1"], ["1/2", "1/2"]], "((0, 1), (1/2, 1/2))"),
    ],
)
def test_nested_rationals_print_as_rows(value, text):
    assert fractions(value) == text


def test_the_demo_tells_of_both_claims():
    text = run_demo(0)
    assert text.index(TRUE_CLAIM) < text.index(FALSE_CLAIM)
    assert "verdict: survived" in text
    assert "seed 0" in text
    assert "verdict: refuted" in text
    assert "counterexample, in exact fractions:" in text
    assert "is certainly false" in text
    assert "by hand:" in text


def test_the_counterexample_can_be_redone_by_hand():
    """The expectation of the one-sample estimate against the soft value, from what is printed alone."""
    lines = dict(
        line.strip().split(" = ", 1) for line in run_demo(0).splitlines() if " = (" in line or "tau" in line[:20]
    )
    row = lambda name: [
        mpmath.mpf(Fraction(x).numerator) / Fraction(x).denominator for x in lines[name][1:-1].split(", ")
    ]
    q, p = row("action_values"), row("reference")
    tau, tau_prime = (
        mpmath.mpf(Fraction(lines[k]).numerator) / Fraction(lines[k]).denominator for k in ("tau", "tau_prime")
    )
    eta = tau + tau_prime
    left = sum(a * (x - tau_prime * mpmath.log(a)) for a, x in zip(p, q, strict=True) if a)
    right = eta * mpmath.log(sum(mpmath.exp((x + tau * mpmath.log(a)) / eta) for a, x in zip(p, q, strict=True) if a))
    sides = next(line for line in run_demo(0).splitlines() if "left side" in line).replace(",", "").split()
    assert float(sides[2]) == pytest.approx(float(left))
    assert float(sides[5].rstrip(":")) == pytest.approx(float(right))
    assert abs(left - right) > 1e-6


def test_as_json_it_is_the_judged_entries_with_a_certificate_to_check():
    results = json.loads(run_demo(0, as_json=True))
    assert list(results) == [TRUE_CLAIM, FALSE_CLAIM]
    assert results[TRUE_CLAIM]["certificate"] is None
    assert results[TRUE_CLAIM]["entry"]["verdict"] in ("survived", "proved")
    assert checker.check(json.dumps(results[FALSE_CLAIM]["certificate"]).encode())


def test_the_demo_follows_its_seed():
    assert run_demo(2) == run_demo(2)


def test_a_truth_without_a_margin_in_floats_is_still_told(monkeypatch):
    entry = {"verdict": "survived", "instances": 1000, "worst_margin": None}
    text = demo._text(TRUE_CLAIM, {"entry": entry, "certificate": None}, 0)
    assert "1,000 instances" in text
