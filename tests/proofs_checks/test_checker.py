"""The stand-alone checker accepts true certificates, whose values come from mpmath here, and rejects every forgery."""

from __future__ import annotations

import ast
import contextlib
import copy
import io
import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from flint import arb, ctx, fmpq

from proofs_checks.checker import comparison, extended_reals, quantities
from proofs_checks.checker import main as checker
from tests.proofs_checks.ecpo_certificates import TRUE_ELSEWHERE
from tests.proofs_checks.valid_certificates import (
    CERTIFICATES,
    IDLE,
    Certificate,
    every_certificate,
    named,
    rejected,
)

SOURCE = Path(checker.__file__)


@pytest.fixture
def run(tmp_path):
    """Check one file in this process: its content to (exit status, the one line written)."""
    path = tmp_path / "certificate.json"

    def check(content: Certificate) -> tuple[int, str]:
        path.write_text(json.dumps(content))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = checker.main([str(path)])
        assert out.getvalue().count("\n") == 1
        return status, out.getvalue().replace(str(path), "FILE").strip()

    return check


# ------------------------------------------------------------------------------------------------ what is accepted


@every_certificate
def test_a_true_certificate_is_accepted(run, certificate):
    status, line = run(certificate)
    assert status == 0, line
    assert line.startswith(f"ok  FILE  {certificate['claim']} {certificate['reading']} {certificate['verdict']}: ")


def test_every_row_of_the_table_has_a_certificate_here():
    rows = {(c["claim"], c["reading"], c["verdict"], c["condition"]) for c in CERTIFICATES}
    known = {(claim, r, row.verdict, word) for (claim, word), row in checker.TABLE.items() for r in row.fields}
    assert rows == known
    assert len(rows) >= 49


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


# ------------------------------------------------------------------------------------------------ what is rejected

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


def forged_sides(certificate: Certificate) -> Any:
    for side, other in (("left", "right"), ("right", "left")):
        true = certificate[side]
        forged: list[Any] = ["0", "1e0", "inf", "-inf", "nan", "", None, 0, 0.5, True, certificate[other]]
        if true is not None:
            digits = [i for i, c in enumerate(true) if c.isdigit()]
            forged += [true[:i] + str((int(true[i]) + 1) % 10) + true[i + 1 :] for i in digits]
            forged += [f"-{true}", true + "0", f"+{true}", f" {true}", true.replace("e", "E"), true.replace("e", "0e")]
        for value in forged:
            if value != true or type(value) is not type(true):
                yield side, certificate | {side: value}


def forged_words(certificate: Certificate) -> Any:
    words = {
        "schema": ["exactrl.certificate/2", "", None, 1],
        "claim": [*{claim: None for claim, _ in checker.TABLE}, "ecpo", "", None, ["ecpo.lemma1"], "\ud800"],
        "reading": ["intended", "amended", "", None, {}],
        "verdict": ["refuted", "ill-posed", "proved", None, []],
        "condition": [*{word: None for _, word in checker.TABLE}, "", None, ["sum"], {}],
        "relation": ["==", "<=", ">=", "<", ">", "undefined", "!=", None],
        "precision": [0, 1, 32, 65, 96, 16384, -64, 64.0, "64", True, None, 10**30],
        "reason": [*checker.REASONS, "", 0, False, [], None],
    }
    for name, values in words.items():
        for value in values:
            if value != certificate[name] or type(value) is not type(certificate[name]):
                yield certificate | {name: value}


def forged_components(certificate: Certificate) -> Any:
    true = certificate["component"]
    forged: list[Any] = [None, 0, "0", {}, [*true, 0], true[:-1] if true else [0], [[]]]
    for i, _ in enumerate(true):
        forged += [[*true[:i], value, *true[i + 1 :]] for value in (-1, -2, 64, 0.0, True, "1", None)]
        forged += [[*true[:i], value, *true[i + 1 :]] for value in range(3) if value != true[i]]
    for value in forged:
        yield certificate | {"component": value}


def misspelt(certificate: Certificate) -> Any:
    seen = set()
    for path, true in leaves(certificate["instance"]):
        for value in MISSPELT if path[0] not in seen else ["2/4", "-0", "1.0", 1.0, None]:
            if isinstance(true, str) or type(value) is not int:
                yield path[0], replaced(certificate, path, value)
        seen.add(path[0])


@every_certificate
def test_forged_sides(certificate):
    """Each is refused for the side that was forged, in one form, with the true value beside it."""
    for side, forged in forged_sides(certificate):
        reason = rejected(forged)
        if isinstance(forged[side], float):  # refused before it has a place
            assert reason.startswith(f"number '{forged[side]}' is not allowed")
        else:
            assert reason == f"{side}: {forged[side]!a} where {certificate[side]!a} is expected"


@every_certificate
def test_forged_words(run, certificate):
    for forged in forged_words(certificate):
        if f"{certificate['claim']} {forged['claim']}" not in TRUE_ELSEWHERE or run(forged)[0] != 0:
            rejected(forged)


@every_certificate
def test_forged_component(certificate):
    for forged in forged_components(certificate):
        rejected(forged)


@every_certificate
def test_misspelt_numbers(certificate):
    for name, forged in misspelt(certificate):
        reason = rejected(forged)
        assert name in reason or "not allowed" in reason  # a float is refused before it has a place


def test_more_than_a_thousand_forgeries_as_a_program(tmp_path):
    """Distinct files, up to forty of each certificate, all rejected for a reason, with nothing on standard error."""
    files: dict[str, str] = {}
    for certificate in CERTIFICATES:
        sides = [forged for _, forged in forged_sides(certificate)]
        words = [forged for forged in forged_words(certificate) if forged["claim"] == certificate["claim"]]
        numbers_of = [forged for _, forged in misspelt(certificate)]
        for kind, share in ((sides, 16), (words, 16), (numbers_of, 8)):
            step = -(-len(kind) // share)
            files |= {json.dumps(forged, sort_keys=True): certificate["claim"] for forged in kind[::step]}
    assert len(files) >= 1000
    assert set(files.values()) == {claim for claim, _ in checker.TABLE}
    assert not files.keys() & {json.dumps(certificate, sort_keys=True) for certificate in CERTIFICATES}
    for i, text in enumerate(files):
        (tmp_path / f"{i}.json").write_text(text)
    checked = alone(*(str(tmp_path / f"{i}.json") for i in range(len(files))))
    assert (checked.returncode, checked.stderr) == (1, "")
    lines = checked.stdout.splitlines()
    assert len(lines) == len(files)
    for i, line in enumerate(lines):
        assert line.startswith(f"REJECTED {tmp_path / f'{i}.json'}: ")
        assert "cannot be evaluated" not in line


@every_certificate
def test_changed_numbers(run, certificate):
    for path, true in leaves(certificate["instance"]):
        changed = true + 1 if isinstance(true, int) else str(Fraction(true) + Fraction(1, 7))
        status, line = run(replaced(certificate, path, changed))
        assert status == 1 or path[0] in IDLE.get(certificate["claim"], ()), line


@every_certificate
def test_changed_keys(certificate):
    text = json.dumps(certificate)
    for name in certificate:
        rejected({key: value for key, value in certificate.items() if key != name})
        twice = rejected((text[:-1] + f', "{name}": {json.dumps(certificate[name])}}}').encode())
        assert twice == f"key '{name}' stands twice"
    assert "unknown" in rejected(certificate | {"note": ""})
    instance = certificate["instance"]
    for name in instance:
        missing = certificate | {"instance": {key: value for key, value in instance.items() if key != name}}
        assert rejected(missing) == f"instance: key '{name}' is missing"
    assert "unknown" in rejected(certificate | {"instance": instance | {"gamma": "1"}})
    for value in (None, [], "", 1):
        assert rejected(certificate | {"instance": value}) == "instance: not an object"


@every_certificate
def test_changed_shapes(certificate):
    for name, value in certificate["instance"].items():
        if isinstance(value, list):
            for changed in ([], value[:-1], [*value, value[-1]], [value], value[0], {"0": value[0]}, [value[0]] * 65):
                rejected(certificate | {"instance": certificate["instance"] | {name: changed}})


@every_certificate
def test_truncated_files(certificate):
    data = json.dumps(certificate).encode()
    for length in range(len(data)):
        assert rejected(data[:length]).startswith("not JSON")


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
    assert missing.stdout.startswith(f"REJECTED {bad}: left: '-6.5e-1' where '-3.75e-1' is expected")
    usage, told = alone(), alone("--help")
    assert (usage.returncode, told.returncode) == (2, 0)
    assert "example:" in told.stdout
    assert "Traceback" not in accepted.stderr + mixed.stderr + missing.stderr + usage.stderr


def test_the_checker_imports_nothing_of_the_project():
    found, beside = set(), set()
    for file in SOURCE.parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1
                beside |= {node.module} if node.module else {alias.name for alias in node.names}
    assert found - set(sys.stdlib_module_names) == {"flint"}
    assert beside <= {file.stem for file in SOURCE.parent.glob("*.py")}


def test_the_folder_works_anywhere_alone(tmp_path):
    shutil.copytree(SOURCE.parent, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("__pycache__"))
    good = tmp_path / "good.json"
    good.write_text(json.dumps(CERTIFICATES[0]))
    command = [sys.executable, "-I", str(tmp_path / "elsewhere" / "main.py"), str(good)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (told.returncode, told.stdout[:4], told.stderr) == (0, "ok  ", "")


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
    with ctx.workprec(256):
        assert comparison.decimal(arb(fmpq(top, bottom)), last=False) == expected


def test_rounding_waits_for_narrow_balls():
    with ctx.workprec(64):
        third = arb(fmpq(1, 3))
        assert comparison.decimal(third, last=False) is None
        assert comparison.decimal(third * 3 - 1, last=False) is None
        assert comparison.decimal(third * 3 - 1, last=True) == "0"
        assert comparison.decimal(arb("nan"), last=True) is None


def test_an_infinite_side_is_never_a_wide_ball():
    for wide in (arb("inf"), arb("nan"), arb(0, "inf")):
        with pytest.raises(checker.Rejected, match="not settled"):
            comparison.settle(lambda wide=wide: (wide, 0), "<=")
    assert comparison.settle(lambda: (float("inf"), 2), "<=") == ("inf", "2e0")


def test_divergence_in_extended_reals():
    half, one, zero = fmpq(1, 2), fmpq(1), fmpq(0)
    assert extended_reals.extended_divergence([one, zero], quantities.logs([half, half])).overlaps(quantities.log(2))
    assert extended_reals.extended_divergence([zero, one], quantities.logs([zero, one])) == 0
    assert extended_reals.extended_divergence([half, half], quantities.logs([zero, one])) == float("inf")


def test_extended_reals():
    zero, inf = fmpq(0), float("inf")
    for operation, reason in [
        (lambda: extended_reals.plus(inf, -inf), "inf - inf"),
        (lambda: extended_reals.minus(-inf, -inf), "inf - inf"),
        (lambda: extended_reals.times(zero, -inf), "0 * inf"),
        (lambda: extended_reals.over(inf, zero), "division by 0"),
    ]:
        with pytest.raises(checker.Undefined, match=reason.replace("*", r"\*")):
            operation()
    assert extended_reals.exp(-inf) == 0
    assert extended_reals.exp(inf) == inf
    assert extended_reals.over(-inf, fmpq(2)) == -inf
    assert extended_reals.scaled_log(zero, zero) == 0
    assert extended_reals.scaled_log(fmpq(1), zero) == -inf
