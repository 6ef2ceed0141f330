"""The canonical decimal of a ball: its value rounded to 20 significant digits, when the ball determines it."""

from __future__ import annotations

from flint import arb

DIGITS = 20


def decimal(x: arb, *, last: bool = False) -> str | None:
    """Return the value to the nearest 20 digits, or None when the ball is too wide to tell.

    A ball that contains 0 without being exactly 0 is too wide, except at the `last` precision, where it counts as "0".
    """
    if x == 0:
        return "0"
    if not x.is_finite():
        return "inf" if x > 0 else "-inf" if x < 0 else None
    if x.contains(0):
        return "0" if last else None
    guess = _whole((abs(x).mid().log() / arb(10).log()).mid())
    if guess is None:
        return None
    # The guess may be one off beside a power of ten: the exponent is the largest with 10^exponent <= |x| for certain.
    for exponent in (guess + 1, guess, guess - 1):
        scaled = _scaled(abs(x), DIGITS - 1 - exponent)
        if scaled >= 10 ** (DIGITS - 1):
            digits = _whole(scaled + arb(1) / 2)
            return None if digits is None else ("-" if x < 0 else "") + _spell(str(digits), exponent)
    return None


def _spell(digits: str, exponent: int) -> str:
    exponent += len(digits) - DIGITS  # 9.99...9 may have become 10
    tail = digits[1:].rstrip("0")
    return digits[0] + ("." + tail if tail else "") + f"e{exponent}"


def _scaled(x: arb, power: int) -> arb:
    """x 10^power; a division where that is exact, so that ties are seen."""
    return x * arb(10) ** power if power >= 0 else x / arb(10) ** -power


def _whole(x: arb) -> int | None:
    whole = x.floor().unique_fmpz()
    return None if whole is None else int(whole)
