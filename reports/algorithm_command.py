"""What `exactrl report algorithm` does: verdicts, runs, pages, and the same on the terminal."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from exactrl import __version__
from exactrl.errors import ExactRLError
from reports.algorithm_page import (
    READINGS,
    Verdicts,
    chosen_names,
    cited_claims,
    judge_claims,
    read_verdicts,
    write_algorithm_pages,
)
from reports.algorithm_runs import Suites, read_suites
from reports.commands import _aligned, _progress
from reports.learning_curves import comparison_tables
from reports.study_page import make_folder

__all__ = ["run"]

REFERENCE = Path("benchmarks/reference")


def run(given: Sequence[str], results: Path | None, runs: Path | None, jobs: int, out: Path, as_json: bool) -> None:
    """Write the pages; everything that can be refused is refused before the claims are judged.

    Raises ExactRLError for unknown algorithms, missing or unreadable verdicts and runs, and a folder that cannot be
    written.
    """
    names = chosen_names(given)
    _require_torch()
    suites = _suites(runs)
    ids = cited_claims(names)
    known = read_verdicts(results, ids) if results is not None else None
    make_folder(out)
    verdicts = _judged(ids, out / "claims", jobs) if known is None else known
    settings = _settings(given, results, runs, out)
    claims_page = (out / "claims" if results is None else results) / "index.html"
    with _progress(len(names)) as advance:
        page, records = write_algorithm_pages(out, names, verdicts, suites, settings, claims_page, advance)
    if as_json:
        click.echo(json.dumps({"algorithms": records, "page": str(page)}, indent=2))
    else:
        for record in records:
            _show(record)
    click.echo(f"page: {page}", err=True)


def _require_torch() -> None:
    try:
        import deeprl.algorithms  # noqa: F401
    except ModuleNotFoundError as error:
        raise ExactRLError(
            f"the page needs the package {error.name}: install the extra, e.g. pip install 'exactrl[deep]'"
        ) from None


def _suites(runs: Path | None) -> Suites:
    if runs is not None and not runs.is_dir():
        raise ExactRLError(f"cannot read {runs}: expected a folder of reference runs, SUITE/LABEL/seed-N")
    return read_suites(REFERENCE if runs is None else runs)


def _judged(ids: Sequence[str], out: Path, jobs: int) -> Verdicts:
    if not ids:
        return {}
    from proofs_checks.claim import select
    from proofs_checks.verify import pieces_of

    make_folder(out)
    with _progress(len(pieces_of(select(ids), "quick", 0))) as advance:
        return judge_claims(ids, out, jobs, advance)


def _settings(given: Sequence[str], results: Path | None, runs: Path | None, out: Path) -> dict[str, Any]:
    words = ["exactrl", "report", "algorithm", *given]
    for name, value in (("results", results), ("runs", runs), ("out", out)):
        words += [] if value is None else [f"--{name}", str(value)]
    packages = {name: version(name) for name in ("numpy", "matplotlib", "torch", "rliable")}
    return {
        "command": shlex.join(words),
        "versions": {"exactrl": __version__, **packages, "python": platform.python_version()},
    }


def _show(record: dict[str, Any]) -> None:
    click.echo(record["algorithm"])
    rows = [[id, *(entry["readings"][name] for name in READINGS)] for id, entry in record["verdicts"].items()]
    if rows:
        click.echo(_aligned(["claim", *READINGS], rows))
    for suite, result in record["comparisons"].items():
        for title, header, cells in comparison_tables(result):
            click.echo(f"{suite}: {title}\n{_aligned(header, cells)}")
    if not record["comparisons"]:
        click.echo("no reference runs yet: make reference-runs")
    click.echo("")
