"""A replay of transitions that outlives its process: append-only, sampled uniformly, checked for damage.

Row number i (0, 1, 2, ... over the whole run) is one transition, its fields side by side in float32. Only the last
`capacity` rows, the window, are ever sampled. Row i lies at place i modulo R, where the storage has

    R = capacity + 2 slack   places, and slack is the number of transitions between two checkpoints.

Why the 2 slack: a run that is killed has written past its newest checkpoint, and that checkpoint may turn out to be
damaged, so that the one before must do. A checkpoint taken after C rows needs rows C - capacity to C - 1. Until the
second checkpoint after it, at most C + 2 slack rows are written, and row j erases row j - R: the last of them, row
C + 2 slack - 1, erases row C - capacity - 1, the one just before those needed. So either of the last two checkpoints
can be resumed; the rows beyond it are appended again, with the same values, since the run depends on its state alone.
`append` refuses a row that would break this promise.

With a file the storage is memory-mapped and shared: what was appended survives `kill -9` with no further ado, and
`seal`, called at each checkpoint, forces it to the disk as well. `seal` also returns checksums (CRC-32) of exactly the
window, in chunks that end where the row number is a multiple of `CHUNK_ROWS`; a chunk's checksum is carried on as rows
are appended, so a row is read once when it comes and once more when its chunk leaves the window. `restore` compares.
The count of rows is not in the file: it belongs to the checkpoint.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from exactrl.errors import ExactRLError

__all__ = ["CHUNK_ROWS", "Chunk", "Replay"]

CHUNK_ROWS = 4096
"""A checksum covers at most so many rows: few enough to name the damage, many enough to keep the list short."""

Chunk = tuple[int, int, int]
"""Rows first <= i < stop, and the CRC-32 of their bytes in order: (first, stop, crc)."""


class Replay:
    """The last `capacity` transitions of a run, to sample from; see the module for how it survives a kill.

    fields: name -> width, in the order in which they lie in a row, for example
        {"observation": 17, "action": 6, "reward": 1, "next_observation": 17, "terminated": 1}.
    capacity: transitions that are sampled, at least 1.
    path: the file that holds the rows. It is created sparse, so that it takes up room on the disk only as it fills;
        an existing one keeps its content. Without it the rows live in memory, paged in as they are written.
    slack: transitions between two checkpoints; with 0 nothing is promised about resuming once rows are overwritten.

    Raises ExactRLError for no fields, a width or capacity below 1, a negative slack, and a file of another size.
    """

    def __init__(self, fields: Mapping[str, int], capacity: int, *, path: Path | None = None, slack: int = 0) -> None:
        _check_sizes(fields, capacity, slack)
        self.fields = dict(fields)
        self.capacity = capacity
        self.slack = slack
        self.path = path
        self.width = sum(fields.values())
        self.rows = capacity + 2 * slack
        shape = (self.rows, self.width)
        self._mapped = None if path is None else _open_mapped(Path(path), shape)
        self._array = np.zeros(shape, np.float32) if self._mapped is None else np.asarray(self._mapped)
        self._tensor = torch.from_numpy(self._array)
        self._columns: list[tuple[str, npt.NDArray[np.float32], int]] = []
        begin = 0
        for name, width in fields.items():
            self._columns.append((name, self._array[:, begin : begin + width], width))
            begin += width
        self._count = 0
        self._sealed = 0
        self._chunks: list[Chunk] = []
        self._limit = self._last_harmless_count(0)

    @property
    def count(self) -> int:
        """Rows appended so far, over the whole run."""
        return self._count

    @property
    def size(self) -> int:
        """Rows that can be sampled: the smaller of `count` and `capacity`."""
        return min(self._count, self.capacity)

    def append(self, /, **values: npt.ArrayLike) -> None:
        """Write n rows: one array (n, width) for each field, or (n,) where the width is 1; stored as float32.

        Raises ExactRLError for a missing or unknown field, another shape, more than `capacity` rows at once, and, with
        a file and slack, rows that would overwrite what one of the last two checkpoints needs. None of these counts.
        """
        leading = np.asarray(values.get(self._columns[0][0]))
        n = len(leading) if leading.ndim else 1
        begin = self._count % self.rows
        stop = begin + n
        if n > self.capacity or self._count + n > self._limit:
            raise ExactRLError(self._too_many(n))
        if values.keys() != self.fields.keys():
            raise ExactRLError(f"append was given the fields {sorted(values)}, expected {sorted(self.fields)}")
        for name, column, width in self._columns:
            value = np.asarray(values[name])
            if value.shape != (n, width):
                if width != 1 or value.shape != (n,):
                    raise ExactRLError(self._wrong_shape(name, value.shape, n))
                value = value[:, None]
            if stop <= self.rows:
                column[begin:stop] = value
            else:
                column[begin:] = value[: self.rows - begin]
                column[: stop - self.rows] = value[self.rows - begin :]
        self._count += n

    def sample(self, generator: torch.Generator, batch_size: int, *, out: Tensor | None = None) -> Tensor:
        """`batch_size` rows drawn uniformly, with replacement, from the last `size`: a copy (batch_size, width).

        Every draw comes from `generator` (on the CPU), in one call, whatever the state of the ring. The rows are
        float32; `out`, of their shape, receives them instead of a new tensor. For several batches at once, draw their
        total and give it another shape.
        Raises ExactRLError while nothing has been appended, and for a batch size below 1 or an `out` that does not fit.
        """
        if self._count == 0:
            raise ExactRLError("cannot sample: the replay is empty; append transitions first")
        if batch_size < 1:
            raise ExactRLError(f"cannot sample {batch_size} rows, expected at least 1")
        if out is not None and (out.shape != (batch_size, self.width) or out.dtype != torch.float32):
            given = f"{tuple(out.shape)} {out.dtype}"
            raise ExactRLError(f"out is {given}, expected ({batch_size}, {self.width}) torch.float32")
        places = torch.randint(self._count - self.size, self._count, (batch_size,), generator=generator)
        if self._count > self.rows:
            places.remainder_(self.rows)
        return torch.index_select(self._tensor, 0, places, out=out)

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """The fields of `rows` (..., width), as views: (..., width of the field), or (...) where that width is 1.

        Raises ExactRLError if the last axis is not as wide as a row.
        """
        if rows.ndim == 0 or rows.shape[-1] != self.width:
            raise ExactRLError(f"rows have shape {tuple(rows.shape)}, expected (..., {self.width})")
        parts = rows.split_with_sizes(list(self.fields.values()), -1)
        return {
            name: part.squeeze(-1) if width == 1 else part
            for (name, width), part in zip(self.fields.items(), parts, strict=True)
        }

    def seal(self) -> list[Chunk]:
        """Force the rows to the disk and return the checksums of the window; to be called at each checkpoint.

        The chunks (first, stop, crc) are plain numbers; they follow one another and cover exactly the last `size` rows.
        Raises ExactRLError, naming the rows, if a chunk that begins to leave the window is no longer what was appended.
        """
        first = self._count - self.size
        chunks = [chunk for chunk in self._chunks if chunk[1] > first]
        begin = max(self._sealed, first)
        while begin < self._count:
            stop = min(self._count, begin - begin % CHUNK_ROWS + CHUNK_ROWS)
            carried = chunks.pop() if chunks and begin % CHUNK_ROWS else (begin, begin, 0)
            chunks.append((carried[0], stop, self._crc(begin, stop, carried[2])))
            begin = stop
        if chunks and chunks[0][0] < first:
            if chunks[0][0] >= self._count - self.rows:
                self._verify(chunks[0])
            chunks[0] = (first, chunks[0][1], self._crc(first, chunks[0][1]))
        if self._mapped is not None:
            self._mapped.flush()
        if self._count > self._sealed:  # sealing twice at one place does not make the checkpoint before it obsolete
            self._limit = self._last_harmless_count(self._sealed)
        self._chunks, self._sealed = chunks, self._count
        return list(chunks)

    def restore(self, count: int, chunks: Iterable[Iterable[int]]) -> None:
        """Go back to the moment when `seal` returned `chunks` and `count` rows had been appended.

        Raises ExactRLError, leaving the replay as it was, if the chunks do not cover the last rows before `count`, or
        if the storage does not hold the rows that were sealed; the message names them.
        """
        sealed: list[Chunk] = []
        begin = max(0, count - self.capacity)
        for first, stop, crc in chunks:
            if first != begin or stop <= first:
                raise ExactRLError(f"the checksums skip from row {begin} to rows {first} to {stop - 1}")
            sealed.append((first, stop, crc))
            begin = stop
        if begin != count:
            raise ExactRLError(f"the checksums cover the rows before {begin}, expected all before {count}")
        for chunk in sealed:
            self._verify(chunk)
        self._count = self._sealed = count
        self._chunks = sealed
        # The checkpoint before this one was taken at most `slack` rows earlier, and may still be needed.
        self._limit = self._last_harmless_count(count - self.slack)

    def _last_harmless_count(self, sealed: int) -> int:
        """How far rows may be appended before they erase one that the checkpoint after `sealed` rows needs."""
        if self.slack == 0 or self._mapped is None:
            return sys.maxsize
        return self.rows + max(0, sealed - self.capacity)

    def _crc(self, first: int, stop: int, crc: int = 0) -> int:
        """The CRC-32 of rows first <= i < stop (at most `rows` of them), carried on from `crc`."""
        begin, end = first % self.rows, first % self.rows + stop - first
        crc = zlib.crc32(self._array[begin:end].data, crc)
        return zlib.crc32(self._array[: end - self.rows].data, crc) if end > self.rows else crc

    def _verify(self, chunk: Chunk) -> None:
        first, stop, crc = chunk
        if self._crc(first, stop) != crc:
            where = "in memory" if self.path is None else f"in {self.path}"
            raise ExactRLError(
                f"the replay {where} is damaged: rows {first} to {stop - 1} are not those that were appended; "
                "resume from another checkpoint, or start afresh"
            )

    def _wrong_shape(self, name: str, shape: tuple[int, ...], n: int) -> str:
        width = self.fields[name]
        return f"field {name!r} has shape {shape}, expected ({n}, {width})" + (f" or ({n},)" if width == 1 else "")

    def _too_many(self, n: int) -> str:
        if n > self.capacity:
            return f"{n} rows at once are more than the capacity of {self.capacity}; append them in parts"
        return (
            f"row {self._count + n - 1} would overwrite what one of the last two checkpoints needs: "
            f"seal the replay at least every {self.slack} rows (the slack), or give it more slack"
        )


def _check_sizes(fields: Mapping[str, int], capacity: int, slack: int) -> None:
    if not fields:
        raise ExactRLError("a replay needs at least one field")
    for name, width in fields.items():
        if width < 1:
            raise ExactRLError(f"field {name!r} has width {width}, expected at least 1")
    if capacity < 1:
        raise ExactRLError(f"the capacity is {capacity}, expected at least 1")
    if slack < 0:
        raise ExactRLError(f"the slack is {slack}, expected at least 0")


def _open_mapped(path: Path, shape: tuple[int, int]) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    """The file as a shared array: made where there is none, or an empty one left by a kill just after its creation."""
    expected = 4 * shape[0] * shape[1]
    try:
        with open(path, "ab") as file:
            size = file.tell()
            if size == 0:
                size = file.truncate(expected)
        if size != expected:
            raise ExactRLError(
                f"the replay file {path} has {size} bytes, expected {expected} "
                f"({shape[0]} rows of {shape[1]} float32): it belongs to another run; give this one another folder"
            )
        return np.memmap(path, np.float32, "r+", shape=shape)
    except OSError as error:
        raise ExactRLError(f"cannot open the replay file {path}: {error.strerror or error}") from error
