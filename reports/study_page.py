"""The folder of a report: a page that opens without a network, its pictures as PNG and SVG, numbers and settings."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from exactrl import __version__
from exactrl.errors import ExactRLError
from exactrl.files import write_json_atomically, write_text_atomically
from reports.page import _environment
from reports.panels import Picture, inline_svg, png, svg, table

__all__ = ["Report", "Section", "make_folder", "write_report"]


Table: TypeAlias = tuple[str, list[str], list[list[str]]]


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own: anchor, title, paragraphs, the problem, tables, pictures."""

    anchor: str
    title: str
    paragraphs: list[str]
    problem: str
    tables: list[Table]
    pictures: list[Picture]


@dataclass(frozen=True)
class Report:
    """What a page shows: a title, paragraphs, the problem, tables (title, header, rows), pictures, all settings.

    sections: what stands below in parts of its own; a page of sections alone has no problem of its own ("").
    """

    title: str
    paragraphs: list[str]
    problem: str
    tables: list[Table]
    pictures: list[Picture]
    settings: dict[str, Any]
    sections: tuple[Section, ...] = ()

    def parts(self) -> list[Report | Section]:
        """The page itself where it shows a problem, then its sections."""
        return [*([self] if self.problem else []), *self.sections]


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


def write_report(out: Path, report: Report, study: dict[str, Any]) -> Path:
    """Write index.html, NAME.png, NAME.svg and NAME.csv of each picture, settings.json, and the study as study.json.

    Returns the page's path.
    """
    for picture in (picture for part in report.parts() for picture in part.pictures):
        _write_bytes(out / f"{picture.name}.png", png(picture))
        write_text_atomically(out / f"{picture.name}.svg", svg(picture))
        text = io.StringIO()
        header, rows = table(picture)
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        write_text_atomically(out / f"{picture.name}.csv", text.getvalue())
    write_json_atomically(out / "settings.json", report.settings)
    write_json_atomically(out / "study.json", study)
    template = _environment().get_template("report.html.j2")
    page = out / "index.html"
    write_text_atomically(page, template.render(report=report, drawn=inline_svg, version=__version__))
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
