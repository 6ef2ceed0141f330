"""The kinds of numbers an instance is made of, drawn as exact rationals in a form that searches fast.

A raw number is a pair of integers (m, e).  Floats see values and logarithms computed from the integers, so that a
probability such as 10^-1000 keeps its support; the exact rational is built only when an instance is certified.

Shapes: a raw array is (B, *shape, 2) with the batch B first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Raw = NDArray[np.int64]
Floats = NDArray[np.float64]
Exact = Any  # nested object array of Fractions, or a Fraction for shape ()

_SIMPLE = [Fraction(v) for v in (0, 1, -1, 2, -2, Fraction(1, 2), 3, Fraction(1, 3), 4, 5, 10)]


@dataclass(frozen=True)
class Field:
    """A named array of an instance; `shape` lists dimension names or fixed sizes."""

    shape: tuple[str | int, ...] = ()

    #: ranges of the integers; subclasses narrow them
    low: int = -99
    high: int = 99
    exponents: tuple[int, int] = (-6, 6)

    def draw(self, rng: np.random.Generator, batch: int, shape: tuple[int, ...]) -> Raw:
        """Draw a batch: small whole numbers, equal entries, moderate and extreme sizes, each for a share of it."""
        style = rng.integers(0, 5, size=(batch,) + (1,) * len(shape))
        mantissa = rng.integers(self.low, self.high + 1, size=(batch, *shape))
        small = rng.integers(max(self.low, -3), min(self.high, 4) + 1, size=(batch, *shape))
        mantissa = np.where(style <= 1, small, mantissa)
        first = mantissa.reshape(batch, -1)[:, :1].reshape((batch,) + (1,) * len(shape))
        mantissa = np.where(style == 2, first, mantissa)
        wide = rng.integers(self.exponents[0], self.exponents[1] + 1, size=(batch, *shape))
        near = rng.integers(-1, 2, size=(batch, *shape))
        exponent = np.where(style == 4, wide, np.where(style == 3, near, 0))
        return self.repair(np.stack([mantissa, np.clip(exponent, *self.exponents)], axis=-1))

    def mutate(self, rng: np.random.Generator, raw: Raw) -> Raw:
        """Change a random part of every entry a little."""
        touched = rng.random(raw.shape[:-1]) < 0.4
        mantissa = np.where(touched, raw[..., 0] + rng.integers(-3, 4, size=touched.shape), raw[..., 0])
        shift = rng.integers(-1, 2, size=touched.shape) * (rng.random(touched.shape) < 0.3)
        mutated = np.stack(
            [np.clip(mantissa, self.low, self.high), np.clip(raw[..., 1] + shift, *self.exponents)], axis=-1
        )
        return self.repair(mutated)

    def repair(self, raw: Raw) -> Raw:
        """Return the nearest raw array that the field permits."""
        return raw

    def values(self, raw: Raw) -> Floats:
        """Return float64 values (B, *shape)."""
        return raw[..., 0] * 10.0 ** raw[..., 1]

    def logs(self, raw: Raw) -> Floats:
        """Return float64 logarithms (B, *shape); only for fields that are never negative."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(raw[..., 0].astype(np.float64)) + raw[..., 1] * math.log(10.0))

    def support(self, raw: Raw) -> NDArray[np.bool_]:
        """Return which entries are positive (B, *shape), exactly."""
        return np.asarray(raw[..., 0] > 0)

    def exact(self, raw: Raw) -> Exact:
        """Return the exact value of one instance's raw array (*shape, 2)."""
        result = np.empty(raw.shape[:-1], dtype=object)
        for index in np.ndindex(result.shape):
            m, e = (int(x) for x in raw[index])
            result[index] = Fraction(m) * Fraction(10) ** e
        return result if result.shape else result[()]

    def fault(self, value: Exact) -> str | None:
        """Say what is wrong with an exact value, or None."""
        return None

    def weight(self, value: Exact) -> int:
        """Return how hard the value is to work with by hand."""
        return sum(_weight(x) for x in np.asarray(value, dtype=object).ravel())

    def simpler(self, value: Exact) -> Iterator[Exact]:
        """Propose simpler exact values, the simplest first."""
        array: Any = np.asarray(value, dtype=object)
        if array.ndim:
            for constant in _SIMPLE[:2]:
                yield np.full(array.shape, constant, dtype=object)
        for index in np.ndindex(array.shape):
            for candidate in _simpler_number(array[index]):
                changed = array.copy()
                changed[index] = candidate
                yield changed if array.ndim else changed[()]


def _weight(x: Fraction) -> int:
    if x == 0:
        return 0
    top, bottom = abs(x.numerator), x.denominator
    return (top if top <= 16 else 16 + 2 * top.bit_length()) + 3 * min(bottom - 1, 4 + bottom.bit_length()) + (x < 0)


def _simpler_number(x: Fraction) -> Iterator[Fraction]:
    yield from (v for v in _SIMPLE if v != x)
    for bound in (1, 2, 3, 10):
        near = x.limit_denominator(bound)
        if near != x:
            yield near
    if 2 < abs(x) <= 16:
        yield x - 1 if x > 0 else x + 1
    if abs(x) > 10:
        digits = len(str(abs(int(x)))) - 1
        yield Fraction(round(x / 10**digits)) * 10**digits
        yield Fraction(int(x / 2))


@dataclass(frozen=True)
class Real(Field):
    """Any real number."""


@dataclass(frozen=True)
class Bounded(Field):
    """A real number within [-1, 1], in twelfths."""

    low: int = -12
    high: int = 12
    exponents: tuple[int, int] = (0, 0)

    def values(self, raw: Raw) -> Floats:
        return raw[..., 0] / 12.0

    def logs(self, raw: Raw) -> Floats:
        return super().logs(raw) - math.log(12.0)

    def exact(self, raw: Raw) -> Exact:
        return _divided(super().exact(raw), 12)

    def fault(self, value: Exact) -> str | None:
        return _first_fault(value, lambda x: abs(x) > 1, "is outside [-1, 1]")


@dataclass(frozen=True)
class Modest(Bounded):
    """Any real number, drawn within [-1, 1] because nothing larger is needed; a user's own may have any size."""

    def fault(self, value: Exact) -> str | None:
        return None

    def simpler(self, value: Exact) -> Iterator[Exact]:
        return (x for x in super(Bounded, self).simpler(value) if super(Modest, self).fault(x) is None)


@dataclass(frozen=True)
class Unit(Bounded):
    """A number within [0, 1], in twelfths."""

    low: int = 0

    def fault(self, value: Exact) -> str | None:
        return _first_fault(value, lambda x: not 0 <= x <= 1, "is outside [0, 1]")


@dataclass(frozen=True)
class Discount(Unit):
    """A discount factor: a number of [0, 1), drawn in twelfths."""

    high: int = 11

    def fault(self, value: Exact) -> str | None:
        return _first_fault(value, lambda x: not 0 <= x < 1, "is outside [0, 1)")


@dataclass(frozen=True)
class NonNegative(Field):
    """A number at least 0."""

    low: int = 0

    def fault(self, value: Exact) -> str | None:
        return _first_fault(value, lambda x: x < 0, "is negative")


@dataclass(frozen=True)
class Positive(Field):
    """A number above 0."""

    low: int = 1

    def fault(self, value: Exact) -> str | None:
        return _first_fault(value, lambda x: x <= 0, "is not positive")


@dataclass(frozen=True)
class Whole(Positive):
    """A whole number of at least 1."""

    exponents: tuple[int, int] = (0, 17)

    def fault(self, value: Exact) -> str | None:
        return _first_fault(value, lambda x: x < 1 or x.denominator != 1, "is no whole number of at least 1")


@dataclass(frozen=True)
class Simplex(Field):
    """Probabilities on the last axis: weights m 10^e normalised exactly.  `zeros` permits probabilities of 0."""

    low: int = 0
    high: int = 20
    exponents: tuple[int, int] = (-400, 0)
    zeros: bool = True

    def repair(self, raw: Raw) -> Raw:
        mantissa = raw[..., 0]
        if not self.zeros:
            mantissa = np.maximum(mantissa, 1)
        empty = ~(mantissa > 0).any(axis=-1)
        mantissa = mantissa.copy()
        mantissa[..., 0] = np.where(empty, 1, mantissa[..., 0])
        return np.stack([mantissa, raw[..., 1]], axis=-1)

    def logs(self, raw: Raw) -> Floats:
        weights = super().logs(raw)
        top = weights.max(axis=-1, keepdims=True)
        with np.errstate(under="ignore"):
            return np.asarray(weights - top - np.log(np.sum(np.exp(weights - top), axis=-1, keepdims=True)))

    def values(self, raw: Raw) -> Floats:
        with np.errstate(under="ignore"):
            return np.exp(self.logs(raw))

    def exact(self, raw: Raw) -> Exact:
        return normalise(super().exact(raw))

    def fault(self, value: Exact) -> str | None:
        array = np.asarray(value, dtype=object)
        lowest = (lambda x: x < 0) if self.zeros else (lambda x: x <= 0)
        wrong = _first_fault(array, lowest, "is negative" if self.zeros else "is not positive")
        if wrong is None:
            for index in np.ndindex(array.shape[:-1]):
                if array[index].sum() != 1:
                    wrong = f"{list(index) or ''} sums to {array[index].sum()}, expected exactly 1".strip()
        return wrong

    def weight(self, value: Exact) -> int:
        rows = np.asarray(value, dtype=object)
        rows = rows.reshape(-1, rows.shape[-1])
        return sum(0 if all(x == row[0] for x in row) else super(Simplex, self).weight(row) for row in rows)

    def simpler(self, value: Exact) -> Iterator[Exact]:
        array = np.asarray(value, dtype=object)
        yield np.full(array.shape, Fraction(1, array.shape[-1]), dtype=object)
        for index in np.ndindex(array.shape[:-1]):
            for row in self._simpler_rows(array[index]):
                changed = array.copy()
                changed[index] = row
                yield changed

    def _simpler_rows(self, row: Any) -> Iterator[Any]:
        size = len(row)
        yield np.full(size, Fraction(1, size), dtype=object)
        if self.zeros:
            for i in range(size):
                yield np.array([Fraction(int(j == i)) for j in range(size)], dtype=object)
        least = min(p for p in row if p > 0)
        digits = [len(str(int(p / least))) - 1 if p > 0 else -1 for p in row]
        for fewer in ([k // 2 for k in digits], [k - 1 for k in digits], digits):
            powers = [Fraction(10 ** max(f, 0)) if k >= 0 else Fraction(0) for k, f in zip(digits, fewer, strict=True)]
            yield normalise(np.array(powers, dtype=object))
        for parts in (2, 3, 4, 5, 10):
            rounded = [Fraction(round(p * parts)) for p in row]
            kept = [max(w, Fraction(1)) if p > 0 else w for w, p in zip(rounded, row, strict=True)]
            for weights in (np.array(w, dtype=object) for w in ((rounded, kept) if self.zeros else (kept,))):
                if weights.sum() > 0:
                    yield normalise(weights)


def normalise(weights: Any) -> Any:
    """Divide the last axis of an object array of Fractions exactly by its sums."""
    return weights / weights.sum(axis=-1, keepdims=True)


def _divided(value: Exact, by: int) -> Exact:
    return value / by if isinstance(value, Fraction) else np.asarray(value / Fraction(by), dtype=object)


def _first_fault(value: Exact, wrong: Any, words: str) -> str | None:
    array = np.asarray(value, dtype=object)
    for index in np.ndindex(array.shape):
        if wrong(array[index]):
            return f"{list(index) if index else ''} {words}: {array[index]}".strip()
    return None
