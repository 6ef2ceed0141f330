"""Files that are whole or absent: text and JSON written to a temporary name and renamed, JSON read strictly.

A reader never sees half a file: the new content is written beside the target, forced to disk and renamed over it; on
any failure the temporary file is removed and the old content stands. Reading refuses what JSON leaves open: duplicate
keys, NaN and Infinity, numbers too large for a float.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
from pathlib import Path
from typing import Any

from exactrl.errors import ExactRLError

__all__ = ["read_json", "write_json_atomically", "write_text_atomically"]

_serial = itertools.count()


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8, newlines as given) to `path`: all of it or nothing.

    A symbolic link is followed, so that the file it names is replaced and the link stays.
    Raises ExactRLError where the folder is missing or cannot be written, or `path` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise ExactRLError(f"cannot write {path}: it is a folder, expected the name of a file")
    if not target.parent.is_dir():
        raise ExactRLError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
    data = _encode(path, text)
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.{next(_serial)}.tmp")
    try:
        _write_to_disk(temporary, data)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise ExactRLError(f"cannot write {path}: {reason}; choose a folder you may write") from error
        raise
    _sync_folder(target.parent)


def write_json_atomically(path: str | os.PathLike[str], obj: Any, *, indent: int | None = 2) -> None:
    """Write `obj` as JSON (UTF-8, one newline at the end), all or nothing; floats round-trip exactly.

    Raises ExactRLError for NaN or infinite numbers and for what JSON cannot hold, before any file is touched.
    """
    try:
        text = json.dumps(obj, indent=indent, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ExactRLError(f"cannot write {path}: the content is not JSON: {error}") from error
    write_text_atomically(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """The content of a JSON file.

    Raises ExactRLError for a missing or unreadable file, text that is not UTF-8, malformed JSON (with line and column),
    duplicate keys, NaN or Infinity, and numbers beyond the range of a float.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ExactRLError(f"cannot read {path}: there is no such file") from None
    except OSError as error:
        raise ExactRLError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ExactRLError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from error
    try:
        return json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ExactRLError(f"cannot read {path}: malformed JSON at {where}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ExactRLError(f"cannot read {path}: {error}") from error


def _encode(path: str | os.PathLike[str], text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ExactRLError(f"cannot write {path}: character {error.start} of the text has no UTF-8 form") from error


def _write_to_disk(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to disk, where the system lets a folder be opened and synchronised."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ExactRLError(f"the key {twice!r} stands twice in one object, expected once")
    return result


def _refuse_constant(name: str) -> float:
    raise ExactRLError(f"{name} is not JSON, expected a finite number")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ExactRLError(f"the number {digits} is beyond the range of a float, expected a finite number")
    return value
