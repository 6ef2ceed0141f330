"""The canonical decimal of a ball: its value rounded to 20 significant digits, when the ball determines it."""

from __future__ import annotations

from fractions import Fraction

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
    low, high = (_round(_exact(end)) for end in (x.lower(), x.upper()))
    return low if low == high else None


def _exact(x: arb) -> Fraction:
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def _round(x: Fraction) -> str:
    size = abs(x)
    exponent = len(str(size.numerator)) - len(str(size.denominator))
    if Fraction(10) ** exponent > size:
        exponent -= 1
    digits = int(size / Fraction(10) ** (exponent - DIGITS + 1) + Fraction(1, 2))
    if digits == 10**DIGITS:
        digits, exponent = digits // 10, exponent + 1
    text = str(digits).rstrip("0")
    return ("-" if x < 0 else "") + text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{exponent}"
