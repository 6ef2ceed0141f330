"""Sparse tables over (state, action, next state): compressed rows of `Numbers`, exact values included.

SciPy's sparse matrices hold no Fractions, so the table keeps its own compressed rows and hands out SciPy's view of
them. Row s * A + a belongs to state s and action a.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exactrl.entries import EXPECTED_NUMBER, Numbers, read_numbers
from exactrl.errors import ExactRLError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SparseTable", "is_scipy_sparse"]

IndexArray = NDArray[np.int64]
_ZERO = Fraction(0)


def is_scipy_sparse(value: Any) -> bool:
    """Whether `value` is a SciPy sparse array or matrix; never imports SciPy (who holds one has imported it)."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


@dataclass(frozen=True, slots=True, eq=False)
class SparseTable:
    """Compressed rows, sorted, no duplicates, no stored zeros (a rational that underflows a float stays).

    shape (R, C); indptr (R + 1,); columns and values (nnz,).
    """

    shape: tuple[int, int]
    indptr: IndexArray
    columns: IndexArray
    values: Numbers

    def __post_init__(self) -> None:
        self.indptr.setflags(write=False)
        self.columns.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseTable, (self.shape, self.indptr, self.columns, self.values)

    @classmethod
    def from_triplets(cls, rows: Any, cols: Any, values: Any, shape: tuple[int, int], name: str) -> SparseTable:
        """The table with value values[k] at (rows[k], cols[k]) and zero elsewhere.

        Raises ExactRLError for unequal lengths, indices that are no integers or out of range, and repeated places.
        """
        numbers = read_numbers(values, f"{name} values")
        row_of, column_of = _indices(rows, shape[0], f"{name} rows"), _indices(cols, shape[1], f"{name} cols")
        if not (numbers.shape == row_of.shape == column_of.shape):
            lengths = f"{row_of.size}, {column_of.size} and {numbers.floats.size}"
            raise ExactRLError(f"{name}: rows, cols and values have {lengths} entries, expected equally many")
        place = row_of * shape[1] + column_of
        order = np.argsort(place, kind="stable")
        repeated = np.flatnonzero(np.diff(place[order]) == 0)
        if repeated.size:
            row, column = divmod(int(place[order][repeated[0]]), shape[1])
            raise ExactRLError(f"{name}: row {row}, column {column} stands twice, expected once; add the values up")
        kept = order[~numbers.is_zero()[order]]
        indptr = np.concatenate(([0], np.cumsum(np.bincount(row_of[kept], minlength=shape[0])))).astype(np.int64)
        return cls(shape, indptr, column_of[kept], numbers.apply(lambda data: data[kept]))

    @classmethod
    def from_scipy(cls, matrix: Any, name: str) -> SparseTable:
        """From any SciPy sparse array or matrix of two dimensions; repeated places add up, as SciPy means them."""
        if matrix.ndim != 2:
            raise ExactRLError(f"{name} is sparse with {matrix.ndim} dimension(s), expected shape (S * A, S)")
        if matrix.dtype.kind not in "fiu":
            raise ExactRLError(f"{name} is sparse of type {matrix.dtype}, {EXPECTED_NUMBER}")
        csr = matrix.tocsr(copy=True)
        csr.sum_duplicates()
        rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
        return cls.from_triplets(rows, csr.indices, csr.data, csr.shape, name)

    @classmethod
    def from_dense(cls, numbers: Numbers) -> SparseTable:
        """From a dense table (S, A, C): the same numbers, shape (S * A, C)."""
        states, actions, columns = numbers.shape
        kept = np.flatnonzero(~numbers.is_zero())
        values = numbers.apply(lambda data: data.reshape(-1)[kept])
        return cls.from_triplets(kept // columns, kept % columns, values, (states * actions, columns), "table")

    def rows(self) -> IndexArray:
        """The row of each stored value, (nnz,)."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int64), np.diff(self.indptr))

    def csr(self) -> csr_array[Any]:
        """SciPy's view of the nearest floats: a fresh wrapper, so that changing it leaves the table alone."""
        from scipy.sparse import csr_array

        matrix = csr_array((self.values.floats, self.columns, self.indptr), shape=self.shape, copy=False)
        matrix.has_canonical_format = True
        return matrix

    def dense(self, n_states: int) -> Numbers:
        """The same numbers as a dense table (S, A, C)."""
        rows, shape = self.rows(), (n_states, self.shape[0] // n_states, self.shape[1])

        def scatter(values: NDArray[Any]) -> NDArray[Any]:
            table = np.zeros(self.shape, dtype=values.dtype)
            if values.dtype == object:
                table.fill(_ZERO)
            table[rows, self.columns] = values
            return table.reshape(shape)

        return self.values.apply(scatter)

    def equals(self, other: SparseTable) -> bool:
        """Whether both hold exactly the same numbers in the same places."""
        same_places = np.array_equal(self.indptr, other.indptr) and np.array_equal(self.columns, other.columns)
        return self.shape == other.shape and same_places and self.values.equals(other.values)


def _indices(indices: Any, bound: int, name: str) -> IndexArray:
    """One-dimensional integer indices in 0 .. bound - 1, copied."""
    if not isinstance(indices, (Sequence, np.ndarray)) or isinstance(indices, str):
        raise ExactRLError(f"{name} is {type(indices).__name__}, expected a list of integers")
    for position, index in enumerate(indices if not isinstance(indices, np.ndarray) else ()):
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise ExactRLError(f"{name}[{position}] is {index!r}, expected an integer")
    array = np.asarray(indices if len(indices) else np.empty(0, dtype=np.int64))
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ExactRLError(f"{name} has type {array.dtype} and shape {array.shape}, expected a list of small integers")
    outside = np.flatnonzero((array < 0) | (array >= bound))
    if outside.size:
        position = int(outside[0])
        raise ExactRLError(f"{name}[{position}] is {array[position]}, expected an index from 0 to {bound - 1}")
    return array.astype(np.int64)
