"""The page of a source: what holds, what does not, what was repaired, and what a program must not copy literally.

Verdicts, counts, counterexamples and amendments come from a folder of `exactrl verify`; statements and explanations
from the claims; which claims make an update rule from `source_facts`.  SOURCE.json beside SOURCE.html, schema
exactrl.source/1:

    source, title, settings    the command that writes the page again, and versions
    judged                     {version, seed, profile} of the verdicts, and their folder
    counts                     {reading: {verdict: how many claims}}, amending claims apart
    holds, fails, open         ids: both readings stand; the printed one does not; one is undecided (and none fails)
    repaired                   [{claim, id, statement, verdict}], what stands in the place of a printed statement
    rules                      [{title, place, claims: {id: {literal, intended}}, literally: whether all may be copied}]
    not_literally              ids of the claims in rules that must not be copied as printed
"""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from exactrl import __version__
from exactrl.errors import ExactRLError
from exactrl.files import read_json, write_json_atomically, write_text_atomically
from proofs_checks.catalogue import catalogue
from proofs_checks.claim import amendments_of, registry
from proofs_checks.verify import GOOD
from reports.page import LEGEND, READINGS, _claim, _counts, _environment, _safe
from reports.source_facts import source_of

__all__ = ["Run", "chosen_sources", "read_run", "source_record", "write_source_page"]

SCHEMA = "exactrl.source/1"
BAD = ("refuted", "ill-posed")
SHOWN = 4


@dataclass(frozen=True)
class Run:
    """The verdicts of a folder and the certificates that they name, by the certificates' names."""

    folder: Path
    verdicts: dict[str, Any]
    certificates: dict[str, dict[str, Any]]

    def of(self, source: str) -> list[dict[str, Any]]:
        """The entries of a source, in its own order."""
        return [entry for entry in self.verdicts["claims"] if entry["source"] == source]


def chosen_sources(names: Sequence[str]) -> list[str]:
    """Return the sources to write pages of.  Raises ExactRLError for one without claims, with the nearest ones."""
    known = list(dict.fromkeys(claim.source for claim in registry().values()))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower().strip(), known, n=2, cutoff=0.5)
            hint = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise ExactRLError(
                f"no claims of a source {name!r} are installed{hint}: expected one of {', '.join(known)}"
            )
    return list(dict.fromkeys(names))


# The verdicts


def read_run(folder: Path, names: Sequence[str]) -> Run:
    """Return the verdicts in a folder of `exactrl verify`, all of them on the claims of these sources as they are now.

    Raises ExactRLError, with the command that makes them, for a folder without verdicts or without their page, and for
    verdicts that lack a claim or a certificate, or were made by another version or of other claims.
    """
    path = folder / "verdicts.json"
    if not path.is_file():
        raise ExactRLError(f"{folder} holds no verdicts: make them with `{_command(folder, names, {})}`")
    found = read_json(path)
    try:
        entries = {entry["id"]: entry for entry in found["claims"]}
        why = _out_of_date(found, entries, names)
        made = _command(folder, [*(entry["source"] for entry in entries.values()), *names], found)
        paths = {x["certificate"] for n in names for x in _readings(entries.values(), n) if x["certificate"]}
    except (KeyError, TypeError, AttributeError):
        raise ExactRLError(f"{path} holds no verdicts: expected the file that `exactrl verify` writes") from None
    lost = [file for file in ("index.html", *sorted(paths)) if not (folder / file).is_file()]
    why = why or (f"its {lost[0]} is missing" if lost else "")
    if why:
        raise ExactRLError(f"{path} is out of date: {why}; make it again with `{made}`")
    return Run(folder, found, {Path(file).stem: read_json(folder / file) for file in paths})


def _readings(entries: Iterable[Mapping[str, Any]], source: str) -> list[Mapping[str, Any]]:
    return [reading for entry in entries if entry["source"] == source for reading in entry["readings"].values()]


def _command(folder: Path, names: Iterable[str], run: Mapping[str, Any]) -> str:
    words = ["exactrl", "verify", *sorted(dict.fromkeys(names)), "--out", str(folder)]
    for option, default in (("profile", "quick"), ("seed", 0)):
        words += [f"--{option}", str(run[option])] if run.get(option, default) != default else []
    return shlex.join(words)


def _out_of_date(found: Mapping[str, Any], entries: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return in what the verdicts differ from the claims of these sources; nothing where they do not."""
    claims = {id: claim for id, claim in registry().items() if claim.source in names}
    absent = [
        id for id, claim in claims.items() if set(entries.get(id, {"readings": ()})["readings"]) != set(claim.readings)
    ]
    if absent:
        return f"it has no verdict on {_some(absent)}"
    if found["version"] != __version__:
        return f"version {found['version']} made it and this is {__version__}"
    gone = [id for id, entry in entries.items() if entry["source"] in names and id not in claims]
    if gone:
        return f"it judges {_some(gone)}, which is no claim any more"
    for id, claim in claims.items():
        for name, reading in claim.readings.items():
            if list(reading.assumptions) != list(entries[id]["readings"][name]["assumptions"]):
                return f"the assumptions of {id} ({name}) have changed"
        stands = {amendment["id"]: amendment["statement"] for amendment in entries[id]["amendments"]}
        expected = {amendment.id: amendment.statement for amendment in amendments_of(claim)}
        if _verdict(entries[id], "literal") not in GOOD and not expected.items() <= stands.items():
            return f"the amendments of {id} have changed"
    return ""


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{', '.join(ids[:SHOWN])}{more}"


# The content


def _verdict(entry: Mapping[str, Any], reading: str) -> str:
    return str(entry["readings"][reading]["verdict"])


def _fails(entry: Mapping[str, Any]) -> bool:
    return any(_verdict(entry, reading) in BAD for reading in READINGS)


def source_record(run: Run, source: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what SOURCE.json holds."""
    facts, entries = source_of(source), run.of(source)
    amending = {id for id, claim in registry().items() if claim.amends}
    printed = [entry for entry in entries if entry["id"] not in amending]
    good = [entry["id"] for entry in printed if all(_verdict(entry, name) in GOOD for name in READINGS)]
    bad = [entry["id"] for entry in printed if _fails(entry)]
    by_id = {entry["id"]: entry for entry in printed}
    rules = []
    for step in facts.rules:
        cited = {id: {name: _verdict(by_id[id], name) for name in READINGS} for id in step.claims if id in by_id}
        literally = all(readings["literal"] in GOOD for readings in cited.values())
        rules += [{"title": step.title, "place": step.source, "claims": cited, "literally": literally}] if cited else []
    unsafe = [id for rule in rules for id, readings in rule["claims"].items() if readings["literal"] not in GOOD]
    return {
        "schema": SCHEMA,
        "source": source,
        "title": facts.title,
        "settings": dict(settings),
        "judged": {key: run.verdicts[key] for key in ("version", "seed", "profile")} | {"folder": str(run.folder)},
        "counts": {reading: dict(counts) for reading, counts in _counts(printed).items()},
        "holds": good,
        "fails": bad,
        "open": [entry["id"] for entry in printed if entry["id"] not in {*good, *bad}],
        "repaired": [{"claim": e["id"], **amendment} for e in printed for amendment in e["amendments"]],
        "rules": rules,
        "not_literally": list(dict.fromkeys(unsafe)),
    }


def write_source_page(out: Path, run: Run, source: str, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Write SOURCE.html and SOURCE.json, each whole or not at all; return the page, and the content of the JSON."""
    record = source_record(run, source, settings)
    link = quote(Path(os.path.relpath(run.folder.resolve(), out.resolve())).as_posix())
    texts = catalogue([claim for claim in registry().values() if claim.source == source])
    claims = {entry["id"]: _shown(entry, run, texts, link) for entry in run.of(source)}
    template = _environment().get_template("source.html.j2")
    html = template.render(
        record=record, facts=source_of(source), claims=claims, readings=READINGS, legend=LEGEND, bad=BAD, link=link,
        anchors={id: _safe(id) for id in claims}, fails=record["fails"], safe=_safe,
    )  # fmt: skip
    write_json_atomically(out / f"{_safe(source)}.json", record)
    page = out / f"{_safe(source)}.html"
    write_text_atomically(page, html)
    return page, record


def _shown(entry: Mapping[str, Any], run: Run, texts: Mapping[str, Any], link: str) -> dict[str, Any]:
    """What the template shows of a claim: as on the page of the verdicts, with links that lead there from here."""
    claim = _claim(entry, run.verdicts, texts, run.certificates, [])
    for reading in claim["readings"].values():
        if reading["path"]:
            reading["link"] = f"{link}/{reading['link']}"
            reading["check"] = f"exactrl check {shlex.quote(str(run.folder / reading['path']))}"
    return {**claim, "link": f"{link}/index.html#{claim['anchor']}"}
