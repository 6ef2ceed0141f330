"""What `exactrl report source` does: the verdicts of a folder, a page for each source, and the same on the terminal."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from exactrl import __version__
from reports.commands import _aligned
from reports.page import READINGS
from reports.source_page import chosen_sources, read_run, write_source_page
from reports.study_page import make_folder

__all__ = ["run"]


def run(given: Sequence[str], verdicts: Path, out: Path, as_json: bool) -> None:
    """Write the pages; everything that can be refused is refused before anything is written.

    Raises ExactRLError for unknown sources, missing or outdated verdicts, and a folder that cannot be written.
    """
    names = chosen_sources(given)
    read = read_run(verdicts, names)
    make_folder(out)
    words = ["exactrl", "report", "source", *names, "--verdicts", str(verdicts), "--out", str(out)]
    settings = {
        "command": shlex.join(words),
        "versions": {"exactrl": __version__, "python": platform.python_version()},
    }
    made = [write_source_page(out, read, name, settings) for name in names]
    if as_json:
        click.echo(json.dumps({"sources": [record for _, record in made]}, indent=2))
    else:
        click.echo("\n\n".join(_text(record) for _, record in made))
    for page, _ in made:
        click.echo(f"page: {page}", err=True)


def _text(record: dict[str, Any]) -> str:
    kinds = list(dict.fromkeys(verdict for counts in record["counts"].values() for verdict in counts))
    rows = [
        [READINGS[name][0], *(str(counts.get(kind, 0)) for kind in kinds)] for name, counts in record["counts"].items()
    ]
    lines = [record["title"], _aligned(["reading", *kinds], rows)]
    for title, ids in (("does not hold", record["fails"]), ("undecided", record["open"])):
        lines.append(f"{title}: {', '.join(ids) or 'nothing'}")
    lines.append(f"not to be copied literally: {', '.join(record['not_literally']) or 'nothing'}")
    return "\n".join(lines)
