"""What a run writes while it trains: `metrics.csv`, `evaluations.csv`, TensorBoard events, Weights & Biases.

The two tables hold nothing that depends on the clock, so two runs of one seed can be compared byte for byte.  They grow
row by row; a resumed run first cuts them back to where its checkpoint was taken.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exactrl.errors import ExactRLError

EVALUATION_COLUMNS = ("global_step", "episode", "return", "length")


class Table:
    """A CSV file that grows by whole rows and can be cut back to an earlier length."""

    def __init__(self, path: Path, columns: Sequence[str], length: int = 0) -> None:
        self.columns = list(columns)
        self._file = open(path, "ab")  # noqa: SIM115 (as long as the run)
        if self._file.seek(0, os.SEEK_END) > length:
            self._file.truncate(length)
            self._file.seek(0, os.SEEK_END)
        if length == 0:
            self._write([self.columns])

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; a column that a row does not name stays empty."""
        self._write([[_text(row.get(name)) for name in self.columns] for row in rows])

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        # One write for all the rows: a kill leaves whole rows behind it.
        self._file.write(text.getvalue().encode())
        self._file.flush()

    @property
    def length(self) -> int:
        """Bytes so far, for the checkpoint; they are on the disk when this returns."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def require_length(path: Path, length: int) -> None:
    """Raise ExactRLError if a table is shorter than it was when the checkpoint was taken."""
    found = path.stat().st_size if path.exists() else 0
    if found < length:
        raise ExactRLError(f"{path} has {found} bytes, the checkpoint was taken at {length}: rows are missing")


def _text(value: Any) -> str:
    """A float in the fewest digits that give it back."""
    return "" if value is None else repr(float(value)) if isinstance(value, float) else str(value)


class Events:
    """TensorBoard events, and Weights & Biases that follows them; either may be off."""

    def __init__(self, folder: Path, step: int, config: Any) -> None:
        self._writer: Any = None
        self._tracked: Any = None
        if config.track:
            self._tracked = importlib.import_module("wandb").init(
                project="exactrl", name=folder.name, config=config.as_dict(), sync_tensorboard=True, dir=str(folder)
            )
        if config.tensorboard or config.track:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=step or None)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Write what is not None."""
        if self._writer is not None:
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Force what was written to the disk and end the tracking."""
        if self._writer is not None:
            self._writer.close()
        if self._tracked is not None:
            self._tracked.finish()


def require_writers(config: Any) -> None:
    """Raise ExactRLError if a package is missing that the run would write with; nothing is written here."""
    needed = [
        (config.track, "wandb", "--track needs Weights & Biases: pip install wandb, or leave the option out"),
        (
            config.tensorboard or config.track,
            "tensorboard",
            "TensorBoard is missing: pip install tensorboard, or give --no-tensorboard",
        ),
        (config.capture_video, "imageio_ffmpeg", "--capture-video needs pip install imageio imageio-ffmpeg"),
    ]
    for wanted, package, message in needed:
        if wanted and importlib.util.find_spec(package) is None:
            raise ExactRLError(message)
