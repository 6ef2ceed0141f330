"""The folder of a run: what is written beside every result, and how it is read again."""

from __future__ import annotations

import contextlib
import platform
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deeprl.config import Config, from_dict
from exactrl.errors import ExactRLError
from exactrl.files import read_json, write_json_atomically

LOCK = ".lock"
RECORDED = ("exactrl", "mujoco", "gymnasium", "torch", "numpy")


def versions() -> dict[str, str]:
    """What a result depends on besides the configuration."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold it; the system lets go of it however the process ends.

    Raises ExactRLError if another process holds it.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise ExactRLError(f"cannot write in {folder}: {error.strerror or error}; choose another --out") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExactRLError(f"{folder} is in use: another process trains there; wait for it, or stop it") from None
        except OSError:
            pass  # a file system that has no locks: the run must not fail for that
        yield


def require_free(folder: Path) -> None:
    """Raise ExactRLError if a run is in `folder` already."""
    if holds_run(folder):
        raise ExactRLError(f"{folder} holds a run already: give another --out, or take it up with --resume {folder}")


def holds_run(folder: Path) -> bool:
    return (folder / "config.json").exists()


def begin(folder: Path, config: Config, stacked_in: Path | None = None) -> None:
    """Write `config.json` into a new run's folder.  Raises ExactRLError if a run is there already.

    stacked_in: the folder that has the checkpoints of this seed, where several seeds are trained on one stack.
    """
    require_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    record = {**config.as_dict(), "versions": versions(), "command": command}
    if stacked_in is not None:
        record["stacked_in"] = stacked_in.name
    write_json_atomically(folder / "config.json", record)


def read_config(folder: Path) -> Config:
    """Return the configuration of the run in `folder`.  Raises ExactRLError if there is none, or it is damaged."""
    beside = ("versions", "command", "stacked_in")
    values = {name: value for name, value in _record(folder).items() if name not in beside}
    try:
        return from_dict(values)
    except ExactRLError as error:
        raise ExactRLError(f"{folder / 'config.json'}: {error}") from None


def is_stacked(folder: Path) -> bool:
    """Whether the checkpoints of this seed are in the folder above it, with those of other seeds."""
    return "stacked_in" in _record(folder)


def require_resumable(folder: Path) -> None:
    """Raise ExactRLError for a run that keeps no checkpoints, and for one seed of a stack."""
    if is_stacked(folder):
        stack = folder.resolve().parent
        raise ExactRLError(f"{folder} is one seed of a stack: take up all of them with --resume {stack}")
    if _record(folder).get("checkpoint_interval") == 0:
        raise ExactRLError(
            f"{folder} keeps no checkpoints (checkpoint_interval is 0): start it again with another --out"
        )


def changed_versions(folder: Path) -> list[str]:
    """Say which packages have another version now than when the run began."""
    recorded, now = _record(folder).get("versions"), versions()
    if not isinstance(recorded, dict):
        raise ExactRLError(f"{folder / 'config.json'} holds no versions of packages: it is damaged")
    return [f"{name} {recorded[name]} -> {now.get(name)}" for name in recorded if recorded[name] != now.get(name)]


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise ExactRLError(f"{folder} holds no run: there is no config.json in it")
    record = read_json(path)
    if not isinstance(record, dict):
        raise ExactRLError(f"{path} is not the configuration of a run")
    return record
