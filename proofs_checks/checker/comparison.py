"""Certain comparisons: a relation is false, and digits are right, only where balls leave no doubt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flint import arb, ctx, fmpq

from .exact_input import Rejected

LADDER = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
DIGITS = 20  # significant digits of the two sides

#: relation -> (certainly false, certainly true, how it fails), judged on the ball of left - right
RELATIONS: dict[str, tuple[Callable[[arb], bool], Callable[[arb], bool], str]] = {
    "==": (lambda gap: gap.is_finite() and not gap.contains(0), lambda gap: gap.is_zero(), "is not equal to"),
    "<=": (lambda gap: gap > 0, lambda gap: gap <= 0, "is not at most"),
    ">": (lambda gap: gap <= 0, lambda gap: gap > 0, "is not above"),
}


class Uncertain(Exception):
    """This precision cannot tell; the next one may."""


def decimal(x: arb, last: bool) -> str | None:
    """Round to nearest at 20 significant digits, the same for every number of the ball; None if that is not certain.

    With 10^e <= |x| < 10^(e+1) the digits are floor(|x| 10^(19-e) + 1/2), halves away from zero.  Rounding is monotone,
    so one answer for both ends holds for the ball.  At the last precision a ball that still contains 0 counts as 0.
    """
    if x.is_zero() or (last and x.is_finite() and x.contains(0)):
        return "0"
    if not x.is_finite() or x.contains(0):
        return None
    size, sign = abs(x), "-" if x < 0 else ""
    with ctx.workprec(ctx.prec + 256):
        guess = (size.lower().log() / arb(10).log()).mid().floor().unique_fmpz()
        for exponent in () if guess is None else (int(guess) + 1, int(guess), int(guess) - 1):
            k = DIGITS - 1 - exponent
            scaled = size * arb(10) ** k if k >= 0 else size / arb(10) ** -k
            if scaled >= 10 ** (DIGITS - 1):  # certainly: a ball around a power of ten is taken one place lower
                digits = (scaled + fmpq(1, 2)).floor().unique_fmpz()
                return None if digits is None else sign + spell(str(digits), exponent)
    return None


def spell(digits: str, exponent: int) -> str:
    """Write digits 10^(exponent - 19) as 'd.ddd' without trailing zeros, then 'e' and the exponent."""
    exponent += len(digits) - DIGITS  # 9.99...9 may have become 10
    tail = digits[1:].rstrip("0")
    return digits[0] + ("." + tail if tail else "") + f"e{exponent}"


def settle(sides: Callable[[], tuple[Any, Any]], relation: str) -> tuple[str, str]:
    """Evaluate both sides at rising precision until the relation is certainly false and both roundings are certain.

    A side that is infinite is the float inf, never a ball, so that a ball without bounds is not taken for it.
    """
    certainly_false, certainly_true, _ = RELATIONS[relation]
    for precision in LADDER:
        with ctx.workprec(precision):
            try:
                values = sides()
            except Uncertain:
                continue
            left, right = map(arb, values)
            if certainly_true(left - right):
                raise Rejected("the relation holds on this instance")
            if not certainly_false(left - right):
                continue
            printed = [
                "inf" if isinstance(value, float) else decimal(side, last=precision == LADDER[-1])
                for value, side in zip(values, (left, right), strict=True)
            ]
            if printed[0] is not None and printed[1] is not None:
                return printed[0], printed[1]
    raise Rejected(f"not settled at {LADDER[-1]} bits: no certain violation, or digits that stay open")
