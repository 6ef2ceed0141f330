"""Checkpoints that are whole or refused: written beside, forced to disk, renamed; read only if every byte is right.

A file `checkpoint-000000012000.pt` (the step, in twelve digits) is a header and a body:

    magic (8 bytes), SHA-256 of all that follows (32), version (4), step (8), length of the body (8); then the body,

numbers little-endian. The body is what `torch.save` writes. The header keeps this form in every version, so that a
newer file is told from a damaged one. The digest guards against accidents (a disk, a copy cut short), not against
forgery; against that, reading never runs code out of a file: only tensors and plain containers come back.

A run keeps its two newest checkpoints: where the newest is damaged, the one before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from exactrl.errors import ExactRLError

__all__ = ["Loaded", "load_newest", "newest_first", "save"]

MAGIC = b"exactrl\x00"
VERSION = 1
_LARGEST_STEP = 10**12 - 1
_TEMPORARY = ".checkpoint.tmp"  # one name: what a killed run left is overwritten, and gone with the next rename
_NAME = re.compile(r"checkpoint-(\d{12})\.pt")
_NUMBERS = struct.Struct("<IQQ")
_HEADER = len(MAGIC) + hashlib.sha256().digest_size + _NUMBERS.size
_PLAIN = (type(None), bool, int, float, str, bytes)


class Loaded(NamedTuple):
    """A checkpoint that was read whole: its step, its payload, and a line for each newer one that was refused."""

    step: int
    payload: dict[str, Any]
    refused: list[str]


def save(folder: Path, step: int, payload: dict[str, Any]) -> Path:
    """Write `payload` as the checkpoint of `step`, all of it or nothing, and keep it and the one before it.

    payload: a dict of None, bool, int, float, str, bytes, tensors, and lists, tuples and dicts (ordered ones too) of
        these. NumPy scalars and arrays are refused here, as they would be when read. A tensor is written with all the
        storage that it is a view of.
    The folder is made if need be. Other checkpoints are removed once this one is in place: those older than the two,
    and any of a later step, which a run that went back to an earlier checkpoint has left behind.
    Raises ExactRLError for a step below 0 or above 10^12 - 1, for anything else in the payload, and for a folder that
    cannot be written.
    """
    if not 0 <= step <= _LARGEST_STEP:
        raise ExactRLError(f"cannot save a checkpoint of step {step}, expected 0 to {_LARGEST_STEP}")
    if not isinstance(payload, dict):
        raise ExactRLError(f"payload is a {type(payload).__name__}, expected a dict")
    _check_plain(payload, "payload")
    body = io.BytesIO()
    torch.save(payload, body)
    folder = Path(folder)
    target = folder / f"checkpoint-{step:012d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _TEMPORARY, step, body.getbuffer())
        os.replace(folder / _TEMPORARY, target)
        _sync_folder(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            (folder / _TEMPORARY).unlink()
        raise ExactRLError(f"cannot write {target}: {error.strerror or error}") from error
    before = [path for path in newest_first(folder) if path.name < target.name]
    for path in newest_first(folder):
        if path not in (target, *before[:1]):
            path.unlink(missing_ok=True)
    return target


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, whole or not, the latest step first; empty where there is no such folder."""
    folder = Path(folder)
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(filter(_NAME.fullmatch, names), reverse=True)]


def load_newest(folder: Path, accept: Callable[[dict[str, Any]], object] | None = None) -> Loaded:
    """The newest checkpoint in `folder` that is whole, is of a version known here, and that `accept` does not refuse.

    accept: called with the payload; it refuses by raising ExactRLError (for example when the replay does not match).
    Tensors come back on the CPU. Nothing in the folder is changed.
    Raises ExactRLError, with the reason for each file, if there is no such checkpoint.
    """
    refused: list[str] = []
    for path in newest_first(folder):
        try:
            step, payload = _read(path)
            if accept is not None:
                accept(payload)
        except ExactRLError as error:
            refused.append(f"{path.name}: {error}")
        else:
            return Loaded(step, payload, refused)
    reasons = "".join(f"\n  {line}" for line in refused) or " there is none"
    raise ExactRLError(f"no usable checkpoint in {folder}:{reasons}\nstart afresh with another --out")


def _write(path: Path, step: int, body: memoryview) -> None:
    numbers = _NUMBERS.pack(VERSION, step, len(body))
    digest = hashlib.sha256(numbers)
    digest.update(body)
    with open(path, "wb") as file:
        file.write(MAGIC + digest.digest() + numbers)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> tuple[int, dict[str, Any]]:
    """Step and payload of one file; raises ExactRLError with the reason, without the name, if it is to be refused."""
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise ExactRLError(f"cannot be read: {error.strerror or error}") from error
    if content[: len(MAGIC)] != MAGIC[: len(content)]:
        raise ExactRLError("is not a checkpoint of exactrl: its first bytes are not the expected ones")
    if len(content) < _HEADER:
        raise ExactRLError(f"is cut short: {len(content)} bytes, less than the header of {_HEADER}")
    digest, rest = content[len(MAGIC) : _HEADER - _NUMBERS.size], content[_HEADER - _NUMBERS.size :]
    version, step, length = _NUMBERS.unpack_from(rest)
    if hashlib.sha256(rest).digest() != digest:
        present = len(content) - _HEADER
        cut = f" (cut short: {present} of {length} bytes)" if present < length else ""
        raise ExactRLError(f"is damaged: its content does not have the digest it was written with{cut}")
    if version > VERSION:
        raise ExactRLError(
            f"is of format version {version}, newer than {VERSION}, the newest known here; update exactrl"
        )
    if path.name != f"checkpoint-{step:012d}.pt":
        raise ExactRLError(f"holds step {step}, not the step of its name; it was renamed")
    return step, _unpack(content[_HEADER:])


def _unpack(body: memoryview) -> dict[str, Any]:
    try:
        payload = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # torch promises no family of exceptions for a body that it will not read
        reason = str(error).partition("\n")[0]
        raise ExactRLError(
            f"cannot be read as tensors and plain containers: {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(payload, dict):
        raise ExactRLError(f"holds a {type(payload).__name__}, expected a dict")
    return payload


def _check_plain(value: object, where: str) -> None:
    """Refuse at once what could not be read back: by then the run would be over."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):  # type: ignore[arg-type]
            _check_plain(item, f"{where}[{index}]")
    elif type(value) not in _PLAIN and not isinstance(value, torch.Tensor):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ExactRLError(
            f"{where} is a {kind}, which could not be read back; "
            "expected a tensor, None, bool, int, float, str, bytes, or a list, tuple or dict of these"
        )


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
