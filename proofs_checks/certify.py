"""Certification: a suspicion becomes a fact, or not, in ball arithmetic at rising precision.

The same sides that were searched in float64 are evaluated in balls.  A relation is certainly false when every point of
the two intervals violates it; it is left alone when it certainly holds
or the sides agree to two thirds of the highest precision, and undecided otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from flint import arb

from exactrl.errors import ExactRLError, Uncertain
from exactrl.number_systems.balls import Balls, precision
from proofs_checks.claim import Check, Printed, Reading
from proofs_checks.decimals import decimal
from proofs_checks.extended import Undefined
from proofs_checks.instances import Instance

PRECISIONS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
SCHEMA = "exactrl.certificate/1"
Outcome = Literal["violated", "satisfied", "tied", "not given", "undecided"]


@dataclass(frozen=True)
class Finding:
    """What balls say of one instance: the outcome, and for a violation the check, component and precision."""

    outcome: Outcome
    check: str = ""
    component: tuple[int, ...] = ()
    relation: str = ""
    precision: int = 0
    asserted: bool = True


def _violated(left: arb, relation: str, right: arb) -> bool:
    if relation == "==":
        if not (left.is_finite() and right.is_finite()):
            return bool((left < right) or (left > right))
        return not bool((left - right).contains(0))
    decide = {"<=": left > right, ">=": left < right, "<": left >= right, ">": left <= right}
    return bool(decide[relation])


def _satisfied(left: arb, relation: str, right: arb) -> bool:
    decide = {"==": left == right, "<=": left <= right, ">=": left >= right, "<": left < right, ">": left > right}
    return bool(decide[relation])


def _tied(left: arb, right: arb, bits: int) -> bool:
    """Whether the sides agree to two thirds of the working precision."""
    difference = abs(left - right)
    return bool(difference.is_finite() and difference < (abs(left) + abs(right) + 1) / arb(2) ** (2 * bits // 3))


def _judge(check: Check, bits: int) -> Finding:
    worst: Outcome = "satisfied"
    for index, x, y in _components(check.left, check.right):
        if _violated(x, check.relation, y):
            return Finding("violated", check.name, index, check.relation, bits, check.asserted)
        if not _satisfied(x, check.relation, y):
            # Only ever-narrower balls settle what is left, except where the sides agree beyond any doubt.
            worst = "tied" if _tied(x, y, bits) and worst != "undecided" else "undecided"
    return Finding(worst, check.name, (), check.relation, bits, check.asserted)


def _components(left: Any, right: Any) -> Iterator[tuple[tuple[int, ...], arb, arb]]:
    """Yield the index and both sides of every component of a relation."""
    arrays: list[Any] = list(np.broadcast_arrays(Balls(left).data, Balls(right).data))
    for index in np.ndindex(arrays[0].shape):
        yield index, arrays[0][index], arrays[1][index]


def _given(check: Check) -> Outcome | None:
    for left, relation, right in check.given:
        for _, x, y in _components(left, right):
            if _violated(x, relation, y):
                return "not given"
            if not _satisfied(x, relation, y):
                return "undecided"
    return None


def examine(
    reading: Reading, instance: Instance, *, only: str | None = None, most_bits: int = PRECISIONS[-1]
) -> Finding:
    """Judge an instance in balls, at rising precision until every check is settled or `most_bits` are spent."""
    last = Finding("undecided")
    for bits in (b for b in PRECISIONS if b <= most_bits):
        with precision(bits):
            try:
                findings = []
                for check in reading.checks(reading.space.problem(instance)):
                    if only is None or check.name == only:
                        blocked = _given(check)
                        findings.append(Finding(blocked, check.name) if blocked else _judge(check, bits))
            except Uncertain:
                continue
        violated = sorted((f for f in findings if f.outcome == "violated"), key=lambda f: not f.asserted)
        if violated:
            return violated[0]
        open_ = [f for f in findings if f.outcome in ("undecided", "tied")]
        if not open_:
            return findings[0] if findings else Finding("not given")
        last = open_[0]
    return last


def undefined(printed: Printed, instance: Instance) -> str | None:
    """Return the first undefined operation of the printed expression on an instance, or None."""
    for bits in PRECISIONS:
        with precision(bits):
            try:
                printed.evaluate(instance)
            except Undefined as operation:
                return str(operation)
            except Uncertain:
                continue
        return None
    return None


def certificate(reading: Reading, instance: Instance, finding: Finding) -> dict[str, Any]:
    """Write the certificate of a violation: exact instance, relation, both sides to 20 digits."""
    left, right = _sides(reading, instance, finding)
    return {
        "schema": SCHEMA,
        "claim": reading.claim,
        "reading": reading.name,
        "verdict": "refuted",
        "instance": reading.space.to_json(instance),
        "condition": finding.check,
        "component": list(finding.component),
        "left": left,
        "relation": finding.relation,
        "right": right,
        "precision": finding.precision,
        "reason": None,
    }


def ill_posed_certificate(reading: Reading, instance: Instance, reason: str) -> dict[str, Any]:
    """Write the certificate of an undefined expression."""
    assert reading.printed is not None
    return {
        "schema": SCHEMA,
        "claim": reading.claim,
        "reading": reading.name,
        "verdict": "ill-posed",
        "instance": reading.printed.space.to_json(instance),
        "condition": "defined",
        "component": [],
        "left": None,
        "relation": "undefined",
        "right": None,
        "precision": PRECISIONS[0],
        "reason": reason,
    }


def _sides(reading: Reading, instance: Instance, finding: Finding) -> tuple[str, str]:
    texts: list[str | None] = [None, None]
    for bits in PRECISIONS:
        if bits < finding.precision:
            continue
        with precision(bits):
            try:
                checks = reading.checks(reading.space.problem(instance))
            except Uncertain:
                continue
            check = next(c for c in checks if c.name == finding.check)
            sides = next((x, y) for index, x, y in _components(check.left, check.right) if index == finding.component)
            texts = [decimal(x, last=bits == PRECISIONS[-1]) for x in sides]
        if texts[0] is not None and texts[1] is not None:
            return texts[0], texts[1]
    raise ExactRLError(f"the sides of {reading.claim} cannot be rounded to 20 digits at {PRECISIONS[-1]} bits")
