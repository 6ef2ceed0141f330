"""Exact input: strict JSON, canonical rationals, and the fields of an instance with their rules."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flint import fmpq, fmpz

MAX_BYTES = 1_000_000
MAX_DIGITS = 5_000  # of a numerator or a denominator
MAX_SIZE = 64  # of an axis of an array


class Rejected(Exception):
    """The certificate does not show what it says; the message tells why."""


def quoted(value: object) -> str:
    """Show a value of the file on one line of printable characters, shortened."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def parse(data: bytes) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no floats, no NaN, no long integers, no deep nesting."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, count in Counter(name for name, _ in items).most_common(1):
            if count > 1:
                raise Rejected(f"key {quoted(name)} stands twice")
        return dict(items)

    def integer(text: str) -> int:
        if len(text) > 9 or text == "-0":
            raise Rejected(f"integer {quoted(text)} is not canonical or too long")
        return int(text)

    def refuse(text: str) -> Any:
        raise Rejected(f"number {quoted(text)} is not allowed: values are integers or strings of rationals")

    if len(data) > MAX_BYTES:
        raise Rejected(f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=refuse, parse_constant=refuse)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Rejected(f"not JSON: {error}") from None
    except RecursionError:
        raise Rejected("not a certificate: nested too deeply") from None


def rational(where: str, value: object) -> fmpq:
    """Read '-?digits' or '-?digits/digits' in lowest terms, in the one canonical spelling."""
    match = re.fullmatch(r"(-?[0-9]+)(?:/([0-9]+))?", value) if isinstance(value, str) else None
    if match is None:
        raise Rejected(f"{where}: {quoted(value)} is not an exact rational such as '3', '-1/2'")
    if max(len(part or "") for part in match.groups()) > MAX_DIGITS:
        raise Rejected(f"{where}: more than {MAX_DIGITS} digits")
    top, bottom = fmpz(match[1]), fmpz(match[2] or "1")
    number = fmpq(top, bottom) if bottom != 0 else None
    if number is None or value != (f"{number.p}" if number.q == 1 else f"{number.p}/{number.q}"):
        raise Rejected(f"{where}: {quoted(value)} is not canonical: lowest terms, no leading zeros, no '-0'")
    return number


def whole(where: str, value: object) -> int:
    """Read a JSON integer; true and false are not integers."""
    if type(value) is not int:
        raise Rejected(f"{where}: {quoted(value)} is not an integer")
    return value


@dataclass(frozen=True)
class Field:
    """What an instance holds under a name: an array of rationals with named or fixed axes, or a count, and its rule."""

    rule: str
    axes: tuple[str | int, ...] = ()
    least: int = 1
    most: int = 1

    def read(self, where: str, value: object, sizes: dict[str | int, int]) -> Any:
        """Read the value exactly and hold it against the rule; `sizes` collects the lengths of the named axes."""
        if self.rule == "count":
            number = whole(where, value)
            if not self.least <= number <= self.most:
                raise Rejected(f"{where}: {number} is not between {self.least} and {self.most}")
            return number
        array = read_array(where, value, self.axes, sizes)
        for place, row in rows(where, array, len(self.axes)):
            for i, entry in enumerate(row):
                name = f"{place}[{i}]" if self.axes else place
                if self.rule in ("positive", "positive distribution") and not entry > 0:
                    raise Rejected(f"{name}: must be > 0")
                if self.rule in ("nonnegative", "distribution") and not entry >= 0:
                    raise Rejected(f"{name}: must be >= 0")
                if self.rule == "within 1" and not -1 <= entry <= 1:
                    raise Rejected(f"{name}: must be between -1 and 1")
                if self.rule == "discount" and not 0 <= entry < 1:
                    raise Rejected(f"{name}: must be at least 0 and below 1")
            if self.rule.endswith("distribution") and sum(row, fmpq(0)) != 1:
                raise Rejected(f"{place}: probabilities do not sum to 1 exactly")
        return array


def read_array(where: str, value: object, axes: tuple[str | int, ...], sizes: dict[str | int, int]) -> Any:
    """Read nested lists of rationals."""
    if not axes:
        return rational(where, value)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIZE:
        raise Rejected(f"{where}: not a list of 1 to {MAX_SIZE} entries")
    expected = sizes.setdefault(axes[0], len(value)) if isinstance(axes[0], str) else axes[0]
    if len(value) != expected:
        raise Rejected(f"{where}: {len(value)} entries where {expected} are expected")
    return [read_array(f"{where}[{i}]", entry, axes[1:], sizes) for i, entry in enumerate(value)]


def rows(where: str, array: Any, depth: int) -> Iterator[tuple[str, list[fmpq]]]:
    """Yield the rows along the last axis, each with its place; a scalar is a row of one."""
    if depth <= 1:
        yield where, array if depth else [array]
    else:
        for i, part in enumerate(array):
            yield from rows(f"{where}[{i}]", part, depth - 1)
