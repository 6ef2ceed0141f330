"""The page of `exactrl verify`: one file that opens without a network, and the numbers of its pictures as CSV.

Everything shown comes from the dictionaries handed in; everything is escaped; formulas are MathML, pictures inline SVG.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from exactrl.errors import ExactRLError
from exactrl.files import write_text_atomically
from proofs_checks.illustrations import Illustration
from proofs_checks.power.suite import load
from reports.figures import svg
from reports.mathml import render, render_plain
from reports.numbers import decimal, exact, margin

__all__ = ["write_verify_page"]

READINGS = {
    "literal": ("As printed", "exactly the printed assumptions and nothing else"),
    "intended": ("As intended", "what a friendly expert would take it to mean"),
}
RELATIONS = {"<=": "≤", ">=": "≥", "==": "=", "=": "=", "!=": "≠", "<": "<", ">": ">"}
SYMBOLS = {
    "tau": "$\\tau$", "tau_prime": "$\\tau'$", "eta": "$\\eta$", "gamma": "$\\gamma$", "theta": "$\\theta$",
    "returns": "$r$", "rewards": "$r$", "policy": "$\\pi$", "reference": "$\\bar\\pi$", "dynamics": "$f$",
    "samples": "$K$", "transitions": "$P$", "action_values": "$Q$",
}  # fmt: skip
#: verdict: what it means, what it does not mean
LEGEND = {
    "proved": (
        "A symbolic proof for the sizes it names.",
        "It says nothing about other sizes, nor where a policy has zeros: the algebra holds on the support.",
    ),
    "certified": (
        "Interval arithmetic has excluded every violation above a stated size in a whole box of instances.",
        "It says nothing outside the box, nor about violations smaller than that.",
    ),
    "survived": (
        "No violation among the instances drawn, nor among those that an adversarial search drove on from the worst.",
        "It is no proof: a counterexample may be rare, large, or of a kind that is never drawn. The share of planted "
        "falsehoods beside it tests the search; it is not the probability that the statement is true.",
    ),
    "refuted": (
        "An instance in exact fractions meets the assumptions and certainly breaks the statement; anyone can recheck.",
        "It says nothing about amended forms, nor that the idea is worthless: the amendment, where there is one, says "
        "what still stands.",
    ),
    "ill-posed": (
        "An instance that the assumptions permit makes some expression of the statement undefined.",
        "It does not say that the statement is false where everything is defined; a counterexample where everything is "
        "defined would take precedence.",
    ),
    "undecided": (
        "The budget or the precision ran out before an answer; the reason is given.",
        "It is no evidence, neither for the statement nor against it.",
    ),
}


def write_verify_page(
    out: Path,
    verdicts: dict[str, Any],
    catalogue: dict[str, Any],
    certificates: dict[str, dict[str, Any]],
    illustrations: list[Illustration],
) -> Path:
    """Write `out/index.html` and `out/data/CLAIM.KIND.csv`, each whole or not at all; return the path of the page.

    Pictures of claims without a verdict are left out.  Raises ExactRLError where the folder cannot be written.
    """
    judged = {claim["id"] for claim in verdicts["claims"]}
    amending = {amendment["id"] for claim in verdicts["claims"] for amendment in claim.get("amendments") or []} & judged
    shown = [picture for picture in illustrations if picture.claim_id in judged]
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            run=verdicts,
            claims=[_claim(claim, verdicts, catalogue, certificates, shown) for claim in verdicts["claims"]],
            counts=_counts([claim for claim in verdicts["claims"] if claim["id"] not in amending]),
            amending=amending,
            readings=READINGS,
            legend=LEGEND,
        )
    )
    _write_data(out, shown)
    page = out / "index.html"
    write_text_atomically(page, html)
    return page


def _environment() -> Environment:
    loader = PackageLoader("reports")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(formulas=render, plain=render_plain, exact=exact, decimal=decimal, margin=margin)
    return environment


def _safe(name: str) -> str:
    """Return a name that is safe as an anchor and as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".") or "unnamed"


def _counts(claims: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, int]]]:
    """Return for each reading how many claims have which verdict, in the order of the legend."""
    result = {}
    for reading in READINGS:
        count = Counter(str(claim["readings"][reading]["verdict"]) for claim in claims if reading in claim["readings"])
        known = [(verdict, count[verdict]) for verdict in LEGEND if count[verdict]]
        result[reading] = known + sorted((verdict, n) for verdict, n in count.items() if verdict not in LEGEND)
    return result


def _claim(
    claim: Mapping[str, Any],
    run: Mapping[str, Any],
    catalogue: Mapping[str, Any],
    certificates: Mapping[str, Mapping[str, Any]],
    illustrations: Sequence[Illustration],
) -> dict[str, Any]:
    """Return what the template shows of one claim."""
    identity = claim["id"]
    entry = catalogue.get(identity, {})
    seed, profile = shlex.quote(str(run["seed"])), shlex.quote(str(run["profile"]))
    return {
        "id": identity,
        "anchor": _safe(identity),
        "where": claim["where"],
        "source": claim["source"],
        "title": entry.get("title") or identity,
        "kind": entry.get("kind") or "",
        "statement": entry.get("statement") or "",
        "intended_statement": entry.get("intended_statement") or "",
        "explanation": entry.get("explanation") or "",
        "hand_check": entry.get("hand_check") or "",
        "readings": {
            name: _reading(reading, _certificate_of(reading, f"{identity}.{name}", certificates))
            | {"power": _power(reading, entry.get("shape"), run["profile"])}
            for name, reading in claim["readings"].items()
        },
        "amendments": [{**amendment, "anchor": _safe(amendment["id"])} for amendment in claim.get("amendments") or []],
        "pictures": [_picture(picture) for picture in illustrations if picture.claim_id == identity],
        "command": f"exactrl verify {shlex.quote(identity)} --seed {seed} --profile {profile}",
    }


def _certificate_of(
    reading: Mapping[str, Any], name: str, certificates: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Return the certificate of a reading; where both readings share one, it is filed under the name in its path."""
    shared = str(reading.get("certificate") or "").rpartition("/")[2].removesuffix(".json")
    return certificates.get(name) or certificates.get(shared)


def _reading(reading: Mapping[str, Any], certificate: Mapping[str, Any] | None) -> dict[str, Any]:
    path = reading.get("certificate")
    return {
        "assumptions": reading.get("assumptions") or [],
        "verdict": reading["verdict"],
        "instances": reading.get("instances"),
        "worst_margin": reading.get("worst_margin"),
        "proof": reading.get("proof") or "",
        "reason": reading.get("reason") or (certificate or {}).get("reason") or "",
        "certificate": _certificate(certificate) if certificate else None,
        "path": path,
        "link": quote(path) if path else "",
        "check": f"exactrl check {shlex.quote(path)}" if path else "",
    }


def _power(reading: Mapping[str, Any], shape: str | None, profile: str) -> str:
    """Return what share of planted falsehoods of a shape the search finds, for a reading that survived one like it."""
    measured = load()
    count = measured["falsehoods"].get(shape)
    searched = reading["verdict"] == "survived" and reading.get("instances") not in (None, 1)
    if not searched or profile != measured["profile"] or not count:
        return ""
    share = f"{count['found']} of {count['planted']}"
    return f"The {profile} profile finds {share} planted falsehoods of this shape ({shape})."


def _certificate(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counterexample: named values, both sides, and the relation between them."""
    relation = certificate.get("relation")
    sides = certificate.get("left") is not None or certificate.get("right") is not None
    instance = certificate.get("instance") or {}
    return {
        "instance": [(name, SYMBOLS.get(name, ""), value) for name, value in instance.items()],
        "left": certificate.get("left"),
        "relation": RELATIONS.get(str(relation), str(relation)) if relation else "",
        "right": certificate.get("right"),
        "has_sides": sides,
        "condition": certificate.get("condition") or "",
        "component": _component(certificate.get("component")),
        "precision": certificate.get("precision"),
    }


def _component(component: Any) -> str:
    """Return where in an array the relation fails, counted from 1; nothing for a relation of two numbers."""
    if component is None or component == []:
        return ""
    indices = component if isinstance(component, list) else [component]
    return ", ".join(str(index + 1) if isinstance(index, int) else str(index) for index in indices)


def _data_name(illustration: Illustration) -> str:
    return f"{_safe(illustration.claim_id)}.{_safe(illustration.kind)}.csv"


def _picture(illustration: Illustration) -> dict[str, Any]:
    return {
        "svg": svg(illustration),
        "title": illustration.title,
        "caption": illustration.caption,
        "data": f"data/{_data_name(illustration)}",
    }


def _write_data(out: Path, illustrations: Sequence[Illustration]) -> None:
    folder = out / "data"
    if illustrations:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise ExactRLError(f"cannot make the folder {folder}: {reason}; choose a folder you may write") from error
    for illustration in illustrations:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(illustration.data)
        writer.writerows(zip(*illustration.data.values(), strict=True))
        write_text_atomically(folder / _data_name(illustration), text.getvalue())
