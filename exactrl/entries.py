"""Numbers as they come in: a float means its exact binary value, a rational stays a rational.

An array is *rational* when every entry was given as an int, a Fraction or a string such as "1/3"; one float among them
makes it an array of floats. Rationals are kept exactly beside their nearest floats, so that the same table can be
evaluated in floats, in rationals and in balls. Nothing is repaired: what is not a number is refused by its index.
"""

from __future__ import annotations

import itertools
import numbers
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.errors import ExactRLError
from exactrl.number_systems.rationals import float_logs

__all__ = ["FloatArray", "FractionArray", "Numbers", "entry", "fractions_of", "read_number", "read_numbers", "short"]

FloatArray = NDArray[np.float64]
FractionArray = NDArray[np.object_]

EXPECTED_NUMBER = "expected a number: a float, an int, a Fraction or a string such as '1/3'"
_NESTED = (list, tuple, range, np.ndarray)
_NO_LENGTH = "no length (it is a single entry)"
_RATIONAL = re.compile(r"\s*[+-]?\d+(/\d+|(\.\d*)?([eE][+-]?\d{1,4})?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A read-only array of numbers: nearest floats, and the exact values behind them.

    floats: float64, any shape. given: Fractions of the same shape, or None where the floats are the exact values.
    rational: True when every entry was given as a rational.
    """

    floats: FloatArray
    given: FractionArray | None
    rational: bool

    def __post_init__(self) -> None:
        self.floats.setflags(write=False)
        if self.given is not None:
            self.given.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Numbers, (self.floats, self.given, self.rational)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the floats, and of the Fractions where there are any."""
        return self.floats.shape

    def fractions(self) -> FractionArray:
        """The exact values as Fractions, read-only, of the same shape; entries must be finite."""
        return fractions_of(self.floats) if self.given is None else self.given

    def logs(self) -> FloatArray:
        """Their logarithms in float64: -inf for an exact zero only, where they are exact."""
        with np.errstate(divide="ignore"):
            return np.log(self.floats) if self.given is None else float_logs(self.given)

    def apply(self, rearrange: Callable[[NDArray[Any]], NDArray[Any]]) -> Numbers:
        """The same numbers in another arrangement (reshape, indexing), floats and Fractions alike, copied."""
        given = None if self.given is None else rearrange(self.given).copy()
        return Numbers(rearrange(self.floats).copy(), given, self.rational)

    def is_zero(self) -> NDArray[np.bool_]:
        """Which entries are exactly zero (a rational may be positive and its nearest float zero)."""
        return np.asarray((self.floats if self.given is None else self.given) == 0, dtype=np.bool_)

    def is_negative(self) -> NDArray[np.bool_]:
        """Which entries are below zero, decided on the exact values."""
        return np.asarray((self.floats if self.given is None else self.given) < 0, dtype=np.bool_)

    def equals(self, other: Numbers) -> bool:
        """Whether both hold exactly the same values in the same shape, however they were given."""
        if self.given is None and other.given is None:
            return np.array_equal(self.floats, other.floats)
        return self.shape == other.shape and bool(np.all(self.fractions() == other.fractions()))


def fractions_of(floats: FloatArray) -> FractionArray:
    """The exact binary values of finite floats as Fractions, read-only, equal values sharing one object."""
    unique, inverse = np.unique(floats, return_inverse=True)
    values = np.empty(unique.shape, dtype=object)
    values[:] = [Fraction(value) for value in unique.tolist()]
    result = values[inverse].reshape(floats.shape)
    result.setflags(write=False)
    return result


def read_number(value: Any, where: str) -> Fraction | float:
    """One number: a Fraction for an int, a Fraction or a rational string, a float for a float (which may be nan).

    Raises ExactRLError, naming `where`, for anything else; booleans and complex numbers are refused.
    """
    result = _number_or_none(value)
    if result is None:
        raise ExactRLError(f"{where} is {short(value)} ({type(value).__name__}), {EXPECTED_NUMBER}")
    return result


def read_numbers(value: Any, name: str) -> Numbers:
    """An array of numbers of any shape from an array or nested lists; `name` stands for it in messages.

    Raises ExactRLError naming the entry for ragged lists and for what is not a number. NaN and infinity pass: who knows
    what the entries mean refuses them.
    """
    if isinstance(value, Numbers):
        return value
    if isinstance(value, (list, tuple, range)):
        shape, flat = _flatten(value, name)
    elif hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "fiu" and array.dtype.itemsize <= 8:
            return _from_numeric(array)
        shape, flat = array.shape, array.reshape(-1).tolist()
    else:
        raise ExactRLError(f"{name} is {short(value)} ({type(value).__name__}), expected an array or nested lists")
    return _from_flat(flat, shape, name)


def entry(name: str, index: Sequence[int]) -> str:
    """The entry as it is written in messages: transitions[0, 1, 2]; the name alone for no index."""
    return f"{name}[{', '.join(str(int(i)) for i in index)}]" if len(index) else name


def _from_numeric(array: NDArray[Any]) -> Numbers:
    floats = np.array(array, dtype=np.float64, order="C")
    if array.dtype.kind == "f":
        return Numbers(floats, None, False)
    if array.size == 0 or float(np.abs(floats).max()) < 2.0**53:
        return Numbers(floats, None, True)
    given = np.empty(array.size, dtype=object)
    given[:] = [Fraction(value) for value in array.reshape(-1).tolist()]
    return Numbers(floats, given.reshape(array.shape), True)


def _from_flat(flat: list[Any], shape: tuple[int, ...], name: str) -> Numbers:
    if set(map(type, flat)) == {float}:
        return Numbers(np.array(flat, dtype=np.float64).reshape(shape), None, False)
    values = [_number_or_none(value) for value in flat]
    if None in values:
        position = values.index(None)
        read_number(flat[position], entry(name, _unravel(position, shape)))
    floats = np.empty(len(values), dtype=np.float64)
    for position, value in enumerate(values):
        floats[position] = _nearest_float(value, name, position, shape)
    if not all(isinstance(value, Fraction) for value in values):
        return Numbers(floats.reshape(shape), None, False)
    given = np.empty(len(values), dtype=object)
    given[:] = values
    return Numbers(floats.reshape(shape), given.reshape(shape), True)


def _nearest_float(value: Any, name: str, position: int, shape: tuple[int, ...]) -> float:
    try:
        return float(value)
    except OverflowError:
        where = entry(name, _unravel(position, shape))
        raise ExactRLError(f"{where} is beyond the range of a float, expected less than 1.8e308 in size") from None


def _flatten(value: Sequence[Any], name: str) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and entries of nested lists, refusing ragged ones by the first sub-list that differs."""
    shape: tuple[int, ...] = (len(value),)
    level = list(value)
    while any(issubclass(kind, _NESTED) for kind in set(map(type, level))):
        sizes = [_size(item) for item in level]
        if len(set(sizes)) > 1:
            odd = next(i for i, size in enumerate(sizes) if size != sizes[0])
            here, first = entry(name, _unravel(odd, shape)), entry(name, (0,) * len(shape))
            raise ExactRLError(f"{name} is ragged: {here} has {sizes[odd]} where {first} has {sizes[0]}")
        if sizes[0] == _NO_LENGTH:
            return shape, [np.asarray(item).item() for item in level]
        shape += (len(level[0]),)
        level = list(itertools.chain.from_iterable(level))
    return shape, level


def _size(item: Any) -> str:
    nested = item.ndim > 0 if isinstance(item, np.ndarray) else isinstance(item, _NESTED)
    return f"length {len(item)}" if nested else _NO_LENGTH


def _unravel(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(position, shape))


def _number_or_none(value: Any) -> Fraction | float | None:
    """What `read_number` reads, or None for what is not a number."""
    if type(value) is float:
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_, np.longdouble)):
        return None
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, str):
        return _rational_or_none(value)
    return float(value) if isinstance(value, (float, np.floating)) else None


def _rational_or_none(text: str) -> Fraction | None:
    try:
        return Fraction(text) if _RATIONAL.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):
        return None


def short(value: Any) -> str:
    """The value as it is written in messages: its repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
