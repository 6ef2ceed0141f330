"""What the tests of verdicts share: judging a claim with a small budget, and judging sides that were planted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from proofs_checks import verify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Reading, Sides, registry
from proofs_checks.falsify import Budget, search
from proofs_checks.instances import Space

FORGED = "7.5e0"
Judged = dict[str, tuple[str, dict[str, Any] | None]]


def judge(claim: str, budget: Budget, monkeypatch: pytest.MonkeyPatch) -> Judged:
    """Verdict and certificate of each reading that the claim has of its own, both without amendments."""
    monkeypatch.setitem(verify.PROFILES, "quick", budget)
    results = [
        (piece.reading, verify.judge(piece))
        for piece in verify.pieces_of([registry()[claim]], "quick", 0)
        if piece.claim == claim
    ]
    return {reading: (result["entry"]["verdict"], result["certificate"]) for reading, result in results}


def hold(claim: str, expected: tuple[str, str], budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the verdicts against the expected ones, and each certificate before the checker, forged sides too."""
    both = dict(zip(("literal", "intended"), expected, strict=True))
    judged = judge(claim, budget, monkeypatch)
    assert "literal" in judged
    if "intended" not in judged:
        assert both["literal"] == both["intended"], "one reading has one verdict"
    for reading, (verdict, certificate) in judged.items():
        assert verdict == both[reading]
        assert (certificate is not None) == (verdict in ("refuted", "ill-posed"))
        if certificate is not None:
            accepted = checker.check(json.dumps(certificate).encode())
            assert accepted.startswith(f"{claim} {reading} {verdict}: ")
            for side in ("left", "right"):
                assert certificate[side] != FORGED
                told = f"{side}: '{FORGED}' where {certificate[side]!a} is expected"
                with pytest.raises(checker.Rejected, match=f"^{re.escape(told)}$"):
                    checker.check(json.dumps(certificate | {side: FORGED}).encode())


def verdict_on(like: str, sides: Sides, budget: Budget, *, space: Space | None = None) -> str:
    """The verdict on planted sides over the space of a claim's intended reading."""
    own: Reading = registry()[like].readings["intended"]
    reading = replace(own, sides=sides, space=space or own.space, printed=None, proof=None)
    found = search(reading, np.random.SeedSequence(3), budget)
    return verify._settle(reading, found, budget, np.random.SeedSequence(4))[0]


def refusal(claim: str, condition: str, component: list[int] | None = None, **instance: Any) -> str:
    """Why the checker refuses an instance of a refuted claim, whatever sides are printed."""
    row = checker.TABLE[claim, condition]
    file = {
        "schema": checker.SCHEMA, "claim": claim, "reading": "literal", "verdict": "refuted", "instance": instance,
        "condition": condition, "component": component or [0] * len(row.component), "left": "1e0",
        "relation": row.relation, "right": "0", "precision": 128, "reason": None,
    }  # fmt: skip
    with pytest.raises(checker.Rejected) as why:
        checker.check(json.dumps(file).encode())
    return str(why.value)
