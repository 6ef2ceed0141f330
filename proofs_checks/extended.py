"""Extended reals, for evaluating a formula exactly as it is printed.

log 0 = -inf, exp(-inf) = 0, exp(+inf) = +inf, x / inf = 0.  Of the products with an infinite factor only x log x and
x log y at x = 0 are 0 (`xlog`); every other undefined operation raises `Undefined`, which makes a reading ill-posed.
"""

from __future__ import annotations

from typing import Any

from flint import arb

from exactrl.errors import Uncertain
from exactrl.number_systems.balls import ball


class Undefined(ArithmeticError):
    """An operation that the extended reals do not define; the message names it."""


class Extended:
    """A finite ball, +inf or -inf."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value: arb = value.value if isinstance(value, Extended) else ball(value)

    @property
    def finite(self) -> bool:
        """Whether the number is finite."""
        return bool(self.value.is_finite())

    @property
    def zero(self) -> bool:
        """Whether the number is exactly 0; a ball that merely contains 0 raises Uncertain."""
        if self.value == 0:
            return True
        if self.finite and self.value.contains(0):
            raise Uncertain(f"{self.value} may be 0")
        return False

    def __add__(self, other: Any) -> Extended:
        other = Extended(other)
        if not self.finite and not other.finite and (self.value > 0) != (other.value > 0):
            raise Undefined("inf - inf")
        return Extended(self.value + other.value)

    def __neg__(self) -> Extended:
        return Extended(-self.value)

    def __sub__(self, other: Any) -> Extended:
        return self + -Extended(other)

    def __mul__(self, other: Any) -> Extended:
        other = Extended(other)
        if (not self.finite and other.zero) or (not other.finite and self.zero):
            raise Undefined("0 * inf")
        return Extended(self.value * other.value)

    def __truediv__(self, other: Any) -> Extended:
        other = Extended(other)
        if other.zero:
            raise Undefined("division by 0")
        if not other.finite:
            if not self.finite:
                raise Undefined("inf / inf")
            return Extended(0)
        return Extended(self.value / other.value)

    def __abs__(self) -> Extended:
        return Extended(abs(self.value))

    def exp(self) -> Extended:
        """Return the exponential."""
        return Extended(self.value.exp()) if self.finite or self.value < 0 else self

    def log(self) -> Extended:
        """Return the logarithm; of 0 it is -inf."""
        if self.zero:
            return Extended(arb.neg_inf())
        if self.value < 0:
            raise Undefined("log of a negative number")
        return Extended(self.value.log()) if self.finite else self


def xlog(x: Any, y: Any) -> Extended:
    """Return x log y, which is 0 at x = 0 by convention."""
    x = Extended(x)
    return Extended(0) if x.zero else x * Extended(y).log()


def total(terms: Any) -> Extended:
    """Sum extended reals from left to right."""
    result = Extended(0)
    for term in terms:
        result = result + term
    return result
