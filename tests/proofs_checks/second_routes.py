"""What the second routes share: numbers in many digits, logits, sides as they are printed, and certificates of them."""

from __future__ import annotations

import decimal
from fractions import Fraction
from typing import Any

from mpmath import diff, exp, log, mp, mpf

Certificate = dict[str, Any]

BLANK = {"schema": "exactrl.certificate/1", "component": [], "left": None, "right": None, "precision": 64}


def numbers(value: Any) -> Any:
    """The same in mpmath's numbers, at the precision that is set; counts stay integers."""
    if isinstance(value, dict):
        return {name: numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [numbers(part) for part in value]
    if isinstance(value, str | Fraction):
        exact = Fraction(value)
        return mpf(exact.numerator) / exact.denominator
    return value


def printed(value: Any) -> str:
    """Twenty digits through the decimal module."""
    if value == mp.inf:
        return "inf"
    rounded = decimal.Context(prec=20, rounding=decimal.ROUND_HALF_UP).create_decimal(mp.nstr(mpf(value), 60))
    if abs(mpf(value)) < mp.eps * 10**10:  # what numerical derivatives leave of zero
        return "0"
    sign, digits, exponent = rounded.as_tuple()
    text = "".join(map(str, digits))
    tail = text[1:].rstrip("0")
    return "-" * sign + text[0] + ("." + tail if tail else "") + f"e{int(exponent) + len(text) - 1}"


def normalised(weights: list[Any]) -> list[Any]:
    return [w / sum(weights) for w in weights]


def softmax(logits: list[Any]) -> list[Any]:
    return normalised([exp(x) for x in logits])


def partial(function: Any, policy: list[Any], j: int) -> Any:
    """The derivative of function(pi) in the j-th logit of a softmax policy."""
    logits = [log(p) for p in policy]
    return diff(lambda x: function(softmax([x if i == j else logit for i, logit in enumerate(logits)])), logits[j])


def refuted(reading: str, row: tuple[str, str, str, Any, list[int], dict[str, Any]]) -> Certificate:
    """The certificate of an instance, with the sides that the second route finds."""
    claim, relation, condition, evaluate, component, x = row
    with mp.workdps(80):
        left, right = map(printed, evaluate(numbers(x), component))
    named = {"claim": claim, "reading": reading, "verdict": "refuted", "instance": x, "condition": condition}
    sides = {"component": component, "left": left, "relation": relation, "right": right, "precision": 128}
    return {**BLANK, **named, **sides, "reason": None}


def ill_posed(claim: str, reason: str, x: dict[str, Any]) -> Certificate:
    """The certificate of an expression that is undefined on an instance."""
    named = {"claim": claim, "reading": "literal", "verdict": "ill-posed", "instance": x, "condition": "defined"}
    return {**BLANK, **named, "relation": "undefined", "reason": reason}
