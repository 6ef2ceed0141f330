"""Extended reals: rationals, balls for other finite values, and the floats inf and -inf.

Conventions: log 0 = -inf, exp(-inf) = 0, exp(inf) = inf; x log y is 0 at x = 0, and nothing else that is undefined is
given a value.
"""

from __future__ import annotations

import math
from typing import Any

from flint import arb, fmpq

from .quantities import Logs, log

Extended = Any
REASONS = ("0 * inf", "inf - inf", "division by 0", "inf / inf", "log of a negative number")


class Undefined(Exception):
    """An operation on extended reals has no value; the message is one of REASONS."""


def plus(x: Extended, y: Extended) -> Extended:
    """x + y."""
    if isinstance(x, float) and isinstance(y, float) and x != y:
        raise Undefined("inf - inf")
    return x if isinstance(x, float) else y if isinstance(y, float) else x + y


def minus(x: Extended, y: Extended) -> Extended:
    """x - y."""
    return plus(x, -y)


def times(x: fmpq, y: Extended) -> Extended:
    """x y for a rational x."""
    if not isinstance(y, float):
        return x * y
    if x == 0:
        raise Undefined("0 * inf")
    return y if x > 0 else -y


def over(x: Extended, y: fmpq) -> Extended:
    """x / y for a rational y."""
    if y == 0:
        raise Undefined("division by 0")
    return x / y if not isinstance(x, float) else x if y > 0 else -x


def exp(x: Extended) -> Extended:
    """exp x."""
    if isinstance(x, float):
        return math.inf if x > 0 else fmpq(0)
    return arb(x).exp()


def scaled_log(scale: fmpq, x: fmpq) -> Extended:
    """scale * log x for x >= 0, which is 0 for scale = 0 by convention."""
    if scale == 0:
        return fmpq(0)
    return times(scale, log(x) if x > 0 else -math.inf)


def extended_divergence(p: list[fmpq], log_q: Logs) -> Extended:
    """KL(p || q), the sum over trajectories of p log p - p log q, both 0 at p = 0."""
    summed: Extended = fmpq(0)
    for x, log_y in zip(p, log_q, strict=True):
        if x > 0:
            summed = plus(summed, minus(x * log(x), times(x, -math.inf if log_y is None else log_y)))
    return summed
