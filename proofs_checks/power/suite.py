"""Judge the truths and the falsehoods with the search and the certification that claims get, and count."""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from exactrl import __version__
from exactrl.files import read_json
from proofs_checks import certify
from proofs_checks.falsify import PROFILES, search
from proofs_checks.power.specimen import FALSEHOODS, TRUTHS, Collection
from proofs_checks.verify import SWEEP_BITS

SCHEMA = "exactrl.power/1"
MEASURED = Path(__file__).parent / "measured.json"
Result = dict[str, Any]


def judge(kind: str, id: str, profile: str, seed: int) -> Result:
    """Judge one specimen; the random stream depends on the seed and its name alone, as that of a claim does.

    Nothing is shrunk: the first violation that is certain decides.
    """
    specimen = specimens()[kind][id]
    reading = specimen.reading
    words = [seed, *hashlib.sha256(id.encode()).digest()[:8]]
    found = search(reading, np.random.SeedSequence(words), PROFILES[profile].share(reading.effort))
    result: Result = {"kind": kind, "shape": specimen.shape, "verdict": "survived", "instances": found.instances}
    examined = [(i, SWEEP_BITS) for i in found.swept] + [(i, certify.PRECISIONS[-1]) for _, i in found.suspects]
    for instance, bits in examined:
        finding = certify.examine(reading, instance, most_bits=bits)
        if finding.outcome == "violated" and finding.asserted:
            certificate = certify.certificate(reading, instance, finding)
            return {**result, "verdict": "refuted", "certificate": certificate}
        if finding.outcome == "violated" or (finding.outcome == "undecided" and bits > SWEEP_BITS):
            result["verdict"] = "undecided"
    return result


@cache
def specimens() -> dict[str, Collection]:
    """Return the truths and the falsehoods."""
    names = ("truths", "truths_by_shape", "falsehoods", "falsehoods_by_shape", "falsehoods_in_the_limit")
    for name in (*names, "discounted_models"):
        importlib.import_module(f"proofs_checks.power.{name}")
    return {"truth": TRUTHS, "falsehood": FALSEHOODS}


def run(profile: str, seed: int, jobs: int = 1) -> Result:
    """Judge every specimen: {"profile", "seed", "version", "items": {id: {kind, shape, verdict, ...}}}.

    A refuted one carries its certificate.  The result depends neither on `jobs` nor on the order.
    """
    names = [(kind, specimen.id) for kind, chosen in specimens().items() for specimen in chosen]
    work = partial(_judge_named, profile=profile, seed=seed)
    if jobs == 1:
        results = [work(name) for name in names]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
            results = list(pool.map(work, names))
    items = {id: result for (_, id), result in zip(names, results, strict=True)}
    return {"profile": profile, "seed": seed, "version": __version__, "items": items}


def _judge_named(name: tuple[str, str], profile: str, seed: int) -> Result:
    return judge(*name, profile, seed)


def shares(results: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return for each shape how many falsehoods were planted and how many of them were refuted."""
    counts: dict[str, dict[str, int]] = {}
    for item in results["items"].values():
        if item["kind"] == "falsehood":
            count = counts.setdefault(item["shape"], {"planted": 0, "found": 0})
            count["planted"] += 1
            count["found"] += item["verdict"] == "refuted"
    return counts


def summary(results: Mapping[str, Any]) -> Result:
    """Return what is kept of a run: counts by shape, and the verdict on every specimen."""
    truths = [item["verdict"] for item in results["items"].values() if item["kind"] == "truth"]
    return {
        "schema": SCHEMA,
        "version": results["version"],
        "profile": results["profile"],
        "seed": results["seed"],
        "truths": {"planted": len(truths), "refuted": truths.count("refuted")},
        "falsehoods": shares(results),
        "items": {
            id: {name: item[name] for name in ("kind", "shape", "verdict")} for id, item in results["items"].items()
        },
    }


@cache
def load() -> Result:
    """Return the committed measurement."""
    measured: Result = read_json(MEASURED)
    return measured
