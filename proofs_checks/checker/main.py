"""Check certificates of refuted and ill-posed claims, alone: this folder needs Python and python-flint, nothing else.

    python -I proofs_checks/checker/main.py FILE...

A certificate names a claim, an instance in exact rationals, and the two sides of the claimed relation.  The checker
reads the instance, holds it against the assumptions that the source prints, evaluates both sides afresh in ball
arithmetic at rising precision, and accepts only if the relation is certainly false and both printed values are the true
ones.  It shares no code with the library: this is the project's one deliberate second copy of its formulas, derived
from the sources again in the most direct way, by plain loops over trajectories, states and actions.

The folder reads in this order: exact_input, comparison, quantities, extended_reals, row, then the claims source by
source, and here the table of claims and the verdict on a file.  The format is described in README.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flint import ctx

if not __package__:  # run as a script: the files beside this one are its package, wherever they lie
    beside = importlib.util.spec_from_file_location("checker", Path(__file__).with_name("__init__.py"))
    assert beside is not None
    assert beside.loader is not None
    sys.modules["checker"] = importlib.util.module_from_spec(beside)
    __package__ = "checker"

from . import (
    ecpo,
    ecpo_undefined,
    mpo,
    mpo_proposition3,
    mpo_section3,
    mpo_steps,
    soft_q,
    soft_q_appendices,
    soft_q_particles,
    soft_q_sections,
)
from .comparison import LADDER, RELATIONS, settle
from .exact_input import MAX_BYTES, Rejected, parse, quoted, whole
from .extended_reals import REASONS, Undefined
from .row import IllPosed, Refuted

SCHEMA = "exactrl.certificate/1"
KEYS = ("schema", "claim", "reading", "verdict", "instance", "condition", "component", "left", "relation", "right",
        "precision", "reason")  # fmt: skip

#: (claim, condition) -> what is shown
TABLE: dict[tuple[str, str], Refuted | IllPosed] = {
    **ecpo.ROWS,
    **ecpo_undefined.ROWS,
    **soft_q.ROWS,
    **soft_q_sections.ROWS,
    **soft_q_appendices.ROWS,
    **soft_q_particles.ROWS,
    **mpo_section3.ROWS,
    **mpo_steps.ROWS,
    **mpo.ROWS,
    **mpo_proposition3.ROWS,
}


def same(name: str, found: object, expected: object) -> None:
    """Reject a value that is not the expected one; 1 is not true, and nothing is compared loosely."""
    if type(found) is not type(expected) or found != expected:
        raise Rejected(f"{name}: {quoted(found)} where {quoted(expected)} is expected")


def exact_keys(where: str, found: object, expected: Iterable[str]) -> dict[str, Any]:
    """Return the JSON object, if its keys are the expected ones."""
    if not isinstance(found, dict):
        raise Rejected(f"{where}: not an object")
    for name in expected:
        if name not in found:
            raise Rejected(f"{where}: key '{name}' is missing")
    for name in found.keys() - set(expected):
        raise Rejected(f"{where}: key {quoted(name)} is unknown")
    return found


def check(data: bytes) -> str:
    """Return one sentence on what the certificate shows, or raise Rejected."""
    file = exact_keys("certificate", parse(data), KEYS)
    same("schema", file["schema"], SCHEMA)
    for name in ("claim", "reading", "verdict", "condition"):
        if not isinstance(file[name], str):
            raise Rejected(f"{name}: {quoted(file[name])} is not a string")
    rows_of = {
        condition: row
        for (name, condition), row in TABLE.items()
        if (name, row.verdict) == (file["claim"], file["verdict"]) and file["reading"] in row.fields
    }
    if not rows_of:
        named = " ".join(file[name] for name in ("claim", "reading", "verdict"))
        raise Rejected(f"claim: nothing is known of {quoted(named)}")
    claim = rows_of.get(file["condition"])
    if claim is None:
        expected = " or ".join(f"'{condition}'" for condition in rows_of)
        raise Rejected(f"condition: {quoted(file['condition'])} where {expected} is expected")
    same("relation", file["relation"], claim.relation)
    if whole("precision", file["precision"]) not in LADDER:
        raise Rejected(f"precision: {file['precision']} is not a power of two between {LADDER[0]} and {LADDER[-1]}")
    fields = claim.fields[file["reading"]]
    given = exact_keys("instance", file["instance"], fields)
    sizes: dict[str | int, int] = {}
    x = SimpleNamespace(**{name: kind.read(name, given[name], sizes) for name, kind in fields.items()})
    claim.domain(x, file["claim"])
    component = file["component"]
    if not isinstance(component, list) or len(component) != len(claim.component):
        raise Rejected(f"component: {quoted(component)} is not a list of {len(claim.component)} integers")
    for i, axis in zip(component, claim.component, strict=True):
        if not 0 <= whole("component", i) < sizes[axis]:
            raise Rejected(f"component: {i} is not between 0 and {sizes[axis] - 1}")
    shown = refute(claim, x, file) if isinstance(claim, Refuted) else expose(claim, x, file)
    return f"{file['claim']} {file['reading']} {file['verdict']}: {shown}, where {describe(given)}."


def refute(claim: Refuted, x: Any, file: dict[str, Any]) -> str:
    """Evaluate both sides and compare them with the printed ones."""
    same("reason", file["reason"], None)
    left, right = settle(lambda: claim.sides(x, file["component"]), claim.relation)
    same("left", file["left"], left)
    same("right", file["right"], right)
    where = f", component {file['component']}," if file["component"] else ""
    beyond = f"{claim.right} = {right}" if claim.right else right
    return f"{claim.left}{where} = {left} {RELATIONS[claim.relation][2]} {beyond}"


def expose(claim: IllPosed, x: Any, file: dict[str, Any]) -> str:
    """Evaluate the printed expression and compare its first undefined operation with the stated one."""
    for name in ("left", "right"):
        same(name, file[name], None)
    same("precision", file["precision"], LADDER[0])
    if file["reason"] not in REASONS:
        raise Rejected(f"reason: {quoted(file['reason'])} is not one of {', '.join(REASONS)}")
    try:
        with ctx.workprec(LADDER[0]):
            claim.evaluate(x)
    except Undefined as undefined:
        same("reason", file["reason"], str(undefined))
        return f"the printed expression asks for {undefined}"
    raise Rejected("every operation of the printed expression is defined on this instance")


def describe(given: dict[str, Any]) -> str:
    """Write the instance as plain text, long numbers shortened."""

    def show(value: Any) -> str:
        if isinstance(value, list):
            return "(" + ", ".join(map(show, value)) + ")"
        text = str(value)
        return text if len(text) <= 40 else f"{text[:16]}...{text[-16:]}"

    return ", ".join(f"{name} = {show(value)}" for name, value in given.items())


EXAMPLE = """\
example:
  python -I proofs_checks/checker/main.py build/verify/certificates/*.json

exit status: 0 all accepted, 1 one or more rejected, 2 wrong usage or a file that cannot be read"""


def main(arguments: list[str] | None = None) -> int:
    """Check the files named on the command line, one line each on standard output, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Check certificates of refuted and ill-posed claims by code of its own, in ball arithmetic.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a certificate, as JSON")
    status = 0
    for path in parser.parse_args(arguments).files:
        shown = ascii(path)[1:-1]
        try:
            with open(path, "rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            print(f"cannot read {shown}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            status = 2
            continue
        try:
            print(f"ok  {shown}  {check(data)}")
        except Rejected as why:
            print(f"REJECTED {shown}: {why}")
            status = max(status, 1)
        except Exception as error:  # whatever cannot be evaluated is not accepted
            print(f"REJECTED {shown}: the sides cannot be evaluated ({type(error).__name__})")
            status = max(status, 1)
    return status


if __name__ == "__main__":
    sys.exit(main())
