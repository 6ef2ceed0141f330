"""The folder of a report: a page that opens without a network, its pictures as PNG and SVG, numbers and settings."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exactrl import __version__
from exactrl.errors import ExactRLError
from exactrl.files import write_json_atomically, write_text_atomically
from reports.page import _environment
from reports.panels import Picture, inline_svg, png, svg, table

__all__ = ["Report", "make_folder", "write_report"]


@dataclass(frozen=True)
class Report:
    """What a page shows: a title, paragraphs, the problem, tables (title, header, rows), pictures, all settings."""

    title: str
    paragraphs: list[str]
    problem: str
    tables: list[tuple[str, list[str], list[list[str]]]]
    pictures: list[Picture]
    settings: dict[str, Any]


def make_folder(out: Path) -> None:
    """Make the folder and see that files can be written there, before any work.

    Raises ExactRLError where it cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ExactRLError(f"cannot write in the folder {out}: {reason}; choose another with --out") from error


def write_report(out: Path, report: Report) -> Path:
    """Write index.html, NAME.png, NAME.svg and NAME.csv of each picture, and settings.json; return the page's path."""
    for picture in report.pictures:
        _write_bytes(out / f"{picture.name}.png", png(picture))
        write_text_atomically(out / f"{picture.name}.svg", svg(picture))
        text = io.StringIO()
        header, rows = table(picture)
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        write_text_atomically(out / f"{picture.name}.csv", text.getvalue())
    write_json_atomically(out / "settings.json", report.settings)
    template = _environment().get_template("report.html.j2")
    pictures = [{"picture": picture, "svg": inline_svg(picture)} for picture in report.pictures]
    page = out / "index.html"
    write_text_atomically(page, template.render(report=report, pictures=pictures, version=__version__))
    return page


def _write_bytes(path: Path, data: bytes) -> None:
    """Write beside the target and rename, so that no reader sees half a picture."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ExactRLError(f"cannot write {path}: {error.strerror or error}; choose a folder you may write") from error
