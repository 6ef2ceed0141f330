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
    exponent = _whole((abs(x).mid().log() / arb(10).log()).mid())
    digits = None if exponent is None else _digits(x, exponent)
    if exponent is None or digits is None:
        return None
    # The guess of the exponent may be one off beside a power of ten.
    shift = len(str(digits)) - DIGITS
    if shift:
        exponent += shift
        digits = _digits(x, exponent)
    if digits is None:
        return None
    if digits == 10**DIGITS:
        digits, exponent = digits // 10, exponent + 1
    text = str(digits).rstrip("0")
    return ("-" if x < 0 else "") + text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{exponent}"


def _digits(x: arb, exponent: int) -> int | None:
    """The 20 digits of |x| whose leading one stands at 10^exponent, or None where the ball leaves a choice."""
    return _whole(abs(x) * arb(10) ** (DIGITS - 1 - exponent) + arb(1) / 2)


def _whole(x: arb) -> int | None:
    whole = x.floor().unique_fmpz()
    return None if whole is None else int(whole)
