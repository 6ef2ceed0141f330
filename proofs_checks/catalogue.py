"""The claims as data: what pages and `--json` show of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proofs_checks.claim import Claim, amendments_of


def catalogue(claims: Sequence[Claim]) -> dict[str, dict[str, Any]]:
    """Return {id: description} of the claims and of those that amend them."""
    chosen = list(claims)
    chosen += [a for c in claims for a in amendments_of(c) if a not in chosen]
    return {c.id: _describe(c) for c in chosen}


def _describe(claim: Claim) -> dict[str, Any]:
    return {
        "source": claim.source,
        "where": claim.where,
        "title": claim.title,
        "statement": claim.statement,
        "kind": claim.kind,
        "shape": claim.shape,
        "explanation": claim.explanation,
        "intended_statement": claim.intended_statement or None,
        "hand_check": claim.hand_check or None,
        "amends": claim.amends,
        "readings": {name: {"assumptions": list(r.assumptions)} for name, r in claim.readings.items()},
    }
