"""The demonstration: one true claim, one false one, and the counterexample in fractions."""

from __future__ import annotations

import json
from typing import Any

from proofs_checks.claim import registry
from proofs_checks.verify import Piece, judge

TRUE_CLAIM, FALSE_CLAIM = "ecpo.thm2.monotone", "ecpo.sec4.onesample"


def run_demo(seed: int, *, as_json: bool = False) -> str:
    """Judge both claims in the literal reading and return what to print."""
    results = {id: judge(Piece(id, "literal", "quick", seed)) for id in (TRUE_CLAIM, FALSE_CLAIM)}
    if as_json:
        return json.dumps(results, indent=2)
    return "\n\n".join(_text(id, result, seed) for id, result in results.items())


def _text(id: str, result: dict[str, Any], seed: int) -> str:
    claim, entry = registry()[id], result["entry"]
    lines = [f"{id} ({claim.where}): {claim.title}", f"  {claim.statement}", f"  verdict: {entry['verdict']}"]
    certificate = result["certificate"]
    if certificate is None:
        margin = "none in floats" if entry["worst_margin"] is None else f"{entry['worst_margin']:.2g}"
        lines.append(f"  tried on {entry['instances']:,} instances (seed {seed}); worst margin {margin}")
    else:
        lines.append("  counterexample, in exact fractions:")
        lines += [f"    {name} = {fractions(value)}" for name, value in certificate["instance"].items()]
        lines.append(
            f"  left side {certificate['left']}, right side {certificate['right']}: "
            f"left {certificate['relation']} right is certainly false ({certificate['precision']}-bit balls)"
        )
        lines.append(f"  by hand: {claim.hand_check}")
    return "\n".join(lines)


def fractions(value: Any) -> str:
    """Print nested lists of rational strings as rows in parentheses."""
    return f"({', '.join(fractions(v) for v in value)})" if isinstance(value, list) else str(value)
