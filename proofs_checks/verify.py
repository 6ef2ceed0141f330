"""`exactrl verify`: every chosen claim, in both readings, becomes a verdict.

Each reading is one piece of work with its own random stream, derived from the seed and its name; so the verdicts depend
neither on the number of processes nor on interruptions.  A finished piece is kept in the output folder until all are
done, and a run that was killed takes up where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import exactrl
import proofs_checks
from exactrl import __version__
from exactrl.errors import ExactRLError
from exactrl.files import read_json, write_json_atomically
from exactrl.number_systems.rationals import as_fractions
from proofs_checks import certify
from proofs_checks.claim import Claim, Reading, amendments_of, registry
from proofs_checks.falsify import PROFILES, Budget, Search, search
from proofs_checks.instances import strings
from proofs_checks.own_problem import read_instance, read_model, with_fixed
from proofs_checks.shrink import complexity, shrink

SCHEMA = "exactrl.verdicts/1"
PARTS = ".parts"
SWEEP_BITS = 256
SHRUNK = 6
GOOD = ("proved", "certified", "survived")
Result = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """One reading of one claim, to be judged."""

    claim: str
    reading: str
    profile: str
    seed: int
    #: the user's own problem: JSON text of {"instance": fields} or {"fixed": fields}
    own: str | None = None

    @property
    def name(self) -> str:
        """The name of its certificate."""
        return f"{self.claim}.{self.reading}"


def judge(piece: Piece) -> Result:
    """Judge one reading: search, certify, shrink; returns its entry of the verdicts and its certificate, if any."""
    started = time.perf_counter()
    reading = registry()[piece.claim].readings[piece.reading]  # type: ignore[index]
    own = json.loads(piece.own) if piece.own else {}
    if "instance" in own:
        found, (verdict, certificate, reason) = Search(instances=1), _settle_instance(reading, own["instance"])
        return _result(piece, reading, found, verdict, certificate, reason, None, started)
    if "fixed" in own:
        reading = with_fixed(reading, {name: _rationals(value) for name, value in own["fixed"].items()})
    words = [piece.seed, *hashlib.sha256(piece.name.encode()).digest()[:8]]
    budget = PROFILES[piece.profile].share(reading.effort)
    found = search(reading, np.random.SeedSequence(words), budget)
    verdict, certificate, reason = _settle(reading, found, budget, np.random.SeedSequence([*words, 1]))
    proof = None
    if verdict == "survived" and reading.proof is not None:
        proof, verdict = reading.proof(), "proved"
    return _result(piece, reading, found, verdict, certificate, reason, proof, started)


def _result(
    piece: Piece,
    reading: Reading,
    found: Search,
    verdict: str,
    certificate: Result | None,
    reason: str | None,
    proof: str | None,
    started: float,
) -> Result:
    return {
        "entry": {
            "assumptions": list(reading.assumptions),
            "verdict": verdict,
            "reason": reason,
            "instances": found.instances,
            "worst_margin": None if not np.isfinite(found.worst_margin) else found.worst_margin,
            "certificate": f"certificates/{piece.name}.json" if certificate else None,
            "proof": proof,
            "seconds": round(time.perf_counter() - started, 3),
        },
        "certificate": certificate,
    }


def _rationals(value: Any) -> Any:
    array = as_fractions(value)
    return array if array.shape else array[()]


def _settle_instance(reading: Reading, data: Result) -> tuple[str, Result | None, str | None]:
    """Judge the one instance that the user gave."""
    if reading.printed is not None and set(data) == {*reading.printed.space.fields, *reading.printed.space.counts}:
        instance = reading.printed.space.from_json(data)
        undefined = certify.undefined(reading.printed, instance)
        if undefined is not None:
            return "ill-posed", certify.ill_posed_certificate(reading, instance, undefined), f"undefined: {undefined}"
        if not reading.space.permits(instance):
            return "survived", None, None
    instance = reading.space.from_json(data)
    finding = certify.examine(reading, instance)
    if finding.outcome == "violated" and finding.asserted:
        return "refuted", certify.certificate(reading, instance, finding), None
    if finding.outcome in ("satisfied", "tied"):
        return "survived", None, None
    if finding.outcome == "not given":
        return "undecided", None, f"the instance does not meet the hypothesis of {finding.check!r}"
    return "undecided", None, f"{finding.check!r} stayed open at {certify.PRECISIONS[-1]} bits"


def _settle(
    reading: Reading, found: Search, budget: Budget, seed: np.random.SeedSequence
) -> tuple[str, Result | None, str | None]:
    """Turn what the search saw into a verdict, a certificate and a reason."""
    unsettled = None
    violations: list[tuple[Any, certify.Finding]] = []
    examined = [(i, SWEEP_BITS) for i in found.swept] + [(i, certify.PRECISIONS[-1]) for _, i in found.suspects]
    for instance, bits in examined:
        finding = certify.examine(reading, instance, most_bits=bits)
        if finding.outcome == "violated" and finding.asserted:
            violations.append((instance, finding))
            if len(violations) == SHRUNK:
                break
        elif finding.outcome == "violated":
            unsettled = f"the closed form used for {finding.check!r} fails, so nothing can be concluded"
        elif bits == SWEEP_BITS:
            found.instances += finding.outcome != "undecided"
        elif finding.outcome == "undecided":
            what = finding.check or reading.condition
            unsettled = f"a suspicion about {what!r} stayed open at {certify.PRECISIONS[-1]} bits"
    if violations:
        return "refuted", _refutation(reading, violations), None
    if reading.printed is not None:
        certificate = _ill_posed(reading, budget, seed)
        if certificate is not None:
            return "ill-posed", certificate, f"undefined: {certificate['reason']}"
    return ("undecided", None, unsettled) if unsettled else ("survived", None, None)


def _refutation(reading: Reading, violations: list[tuple[Any, certify.Finding]]) -> Result:
    """Shrink every violation as far as it goes and certify the simplest result."""
    space = reading.space

    def shrunk(instance: Any, check: str) -> Any:
        return shrink(space, instance, lambda c: certify.examine(reading, c, only=check).outcome == "violated")

    candidates = [(shrunk(instance, finding.check), finding.check) for instance, finding in violations]
    smallest, check = min(candidates, key=lambda pair: (complexity(space, pair[0]), repr(space.to_json(pair[0]))))
    return certify.certificate(reading, smallest, certify.examine(reading, smallest, only=check))


def _ill_posed(reading: Reading, budget: Budget, seed: np.random.SeedSequence) -> Result | None:
    printed = reading.printed
    assert printed is not None
    rng = np.random.default_rng(seed)
    for sizes in printed.space.combinations():
        batch = printed.space.draw(rng, min(200, budget.draws), sizes)
        for i in range(len(batch)):
            instance = batch.exact(i)
            reason = certify.undefined(printed, instance)
            if reason is not None:
                smallest = shrink(printed.space, instance, lambda c: certify.undefined(printed, c) is not None)
                return certify.ill_posed_certificate(reading, smallest, certify.undefined(printed, smallest) or reason)
    return None


def own_pieces(
    claims: Sequence[Claim], profile: str, seed: int, *, instance: Path | None, mdp: Path | None
) -> list[Piece]:
    """Return the readings of the claims that permit the user's own instance or model, with that problem in them.

    Raises ExactRLError naming the entry when a claim does not take the problem.
    """
    pieces = []
    for claim in claims:
        if instance is not None:
            problems = {name: {"instance": _encoded(x)} for name, x in read_instance(instance, claim).items()}
        else:
            assert mdp is not None
            problems = {name: {"fixed": _encoded(x)} for name, x in read_model(mdp, claim).items()}
        pieces += [Piece(claim.id, name, profile, seed, json.dumps(problem)) for name, problem in problems.items()]
    return pieces


def _encoded(fields: Result) -> Result:
    return {name: strings(value) for name, value in fields.items()}


def pieces_of(claims: Sequence[Claim], profile: str, seed: int) -> list[Piece]:
    """Return the readings to judge, those of amendments too; a reading that both names share is judged once."""
    chosen = list(claims)
    chosen += [a for c in claims for a in amendments_of(c) if a not in chosen]
    return [
        Piece(c.id, name, profile, seed) for c in chosen for name, reading in c.readings.items() if reading.name == name
    ]


def verify(
    claims: Sequence[Claim],
    *,
    out: Path,
    profile: str = "quick",
    seed: int = 0,
    jobs: int = 1,
    pieces: Sequence[Piece] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> tuple[Result, dict[str, Result]]:
    """Judge the claims, write verdicts.json and the certificates, and return both.

    `pieces` are the readings to judge, all of the claims' when there are none; `progress(done, total, name)` is called
    as readings finish.
    Raises ExactRLError when the output folder cannot be written.
    """
    pieces = pieces_of(claims, profile, seed) if pieces is None else pieces
    parts = _prepare(out)
    results: dict[Piece, Result] = {p: r for p in pieces if (r := _finished(parts, p)) is not None}
    for done, piece in enumerate(results, start=1):
        progress(done, len(pieces), piece.name)
    todo = [p for p in pieces if p not in results]
    for piece, result in _run(todo, jobs):
        results[piece] = result
        write_json_atomically(parts / f"{piece.name}.json", {"key": _key(piece), "result": result})
        progress(len(results), len(pieces), piece.name)
    by_name = {p.name: results[p] for p in pieces}
    verdicts = _assemble(pieces, by_name, profile, seed)
    certificates = {name: r["certificate"] for name, r in by_name.items() if r["certificate"]}
    _write(out, parts, verdicts, certificates)
    return verdicts, certificates


def _run(pieces: Sequence[Piece], jobs: int) -> Iterator[tuple[Piece, Result]]:
    if jobs == 1 or len(pieces) <= 1:
        for piece in pieces:
            yield piece, judge(piece)
        return
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(jobs, len(pieces)), mp_context=context) as pool:
        futures = {pool.submit(judge, piece): piece for piece in pieces}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _prepare(out: Path) -> Path:
    parts, folder = out / PARTS, out / "certificates"
    for path in (out / "verdicts.json", out / "index.html"):
        if path.is_dir():
            raise ExactRLError(f"the output folder {out} cannot be written: {path} is a folder; choose another --out")
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder")
        for cut_short in folder.glob(".*.tmp"):
            cut_short.unlink()
        for cut_short in out.glob(".*.tmp"):
            cut_short.unlink()
        parts.mkdir(parents=True, exist_ok=True)
        (out / "certificates").mkdir(exist_ok=True)
        probe = parts / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise ExactRLError(
            f"the output folder {out} cannot be written: {error.strerror or error}; choose another --out"
        ) from None
    return parts


@cache
def _code() -> str:
    """A digest of the code that judges, so that a part judged by other code is not believed."""
    digest = hashlib.sha256()
    for package in (exactrl, proofs_checks):
        for file in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _key(piece: Piece) -> list[Any]:
    return [__version__, _code(), piece.claim, piece.reading, piece.profile, piece.seed, piece.own]


def _finished(parts: Path, piece: Piece) -> Result | None:
    path = parts / f"{piece.name}.json"
    if not path.exists():
        return None
    try:
        saved = read_json(path)
    except ExactRLError:
        return None  # cut short by a kill: judged again
    return (
        saved["result"] if isinstance(saved, dict) and saved.get("key") == _key(piece) and "result" in saved else None
    )


def _assemble(pieces: Sequence[Piece], results: dict[str, Result], profile: str, seed: int) -> Result:
    judged = {p.claim for p in pieces}
    entries = []
    for id, claim in registry().items():
        if id in judged:
            judged_readings = {name: results.get(f"{id}.{r.name}") for name, r in claim.readings.items()}
            readings = {name: result["entry"] for name, result in judged_readings.items() if result is not None}
            amendments = _amendments(claim, results)
            entry = {"id": id, "source": claim.source, "where": claim.where}
            entries.append({**entry, "readings": readings, "amendments": amendments})
    return {"schema": SCHEMA, "version": __version__, "seed": seed, "profile": profile, "claims": entries}


def _amendments(claim: Claim, results: dict[str, Result]) -> list[Result]:
    """A literal reading that fails is amended by the intended one where that holds, else by claims of their own."""
    names = {name: f"{claim.id}.{r.name}" for name, r in claim.readings.items()}
    verdicts = {name: results[key]["entry"]["verdict"] for name, key in names.items() if key in results}
    if verdicts.get("literal", GOOD[0]) in GOOD:
        return []
    found = []
    if verdicts.get("intended") in GOOD:
        statement = claim.intended_statement or claim.statement
        found = [{"id": f"{claim.id}.intended", "statement": statement, "verdict": verdicts["intended"]}]
    return found + [
        {"id": a.id, "statement": a.statement, "verdict": results[f"{a.id}.literal"]["entry"]["verdict"]}
        for a in amendments_of(claim)
        if f"{a.id}.literal" in results
    ]


def _write(out: Path, parts: Path, verdicts: Result, certificates: dict[str, Result]) -> None:
    folder = out / "certificates"
    for stale in folder.glob("*.json"):
        if stale.stem not in certificates:
            stale.unlink()
    for name, certificate in certificates.items():
        write_json_atomically(folder / f"{name}.json", certificate)
    write_json_atomically(out / "verdicts.json", verdicts)
    shutil.rmtree(parts, ignore_errors=True)


def differences(verdicts: Result, expected: dict[str, dict[str, str]]) -> list[str]:
    """Compare with expected verdicts {id: {reading: verdict}}; one line for each difference."""
    got = {c["id"]: {name: r["verdict"] for name, r in c["readings"].items()} for c in verdicts["claims"]}
    lines = []
    for id, readings in expected.items():
        for name, verdict in readings.items():
            actual = got.get(id, {}).get(name)
            if actual != verdict:
                lines.append(f"{id} {name}: expected {verdict}, got {actual or 'no verdict'}")
    return lines
