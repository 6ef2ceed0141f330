"""Quantities that the sources share.  A logarithm of zero is None: what has no mass carries no weight."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flint import arb, fmpq

Logs = list[Any]


def log(x: Any) -> arb:
    """Log of a positive rational or ball."""
    return arb(x).log()


def total(terms: Iterable[Any]) -> arb:
    """Sum of balls and rationals."""
    return sum(terms, arb(0))


def largest(values: Iterable[arb]) -> arb:
    """Largest midpoint, an exact number: what exponents are shifted by before exp."""
    mids = [value.mid() for value in values]
    best = mids[0]
    for mid in mids[1:]:
        best = mid if mid > best else best
    return best


def log_sum_exp(logs: Logs) -> arb:
    """log of the sum of exp."""
    finite = [x for x in logs if x is not None]
    shift = largest(finite)
    return shift + log(total((x - shift).exp() for x in finite))


def logs(probabilities: list[fmpq]) -> Logs:
    """Log of each probability, None for zero."""
    return [log(p) if p > 0 else None for p in probabilities]


def exps(log_values: Logs) -> list[arb]:
    """Undo `logs`."""
    return [arb(0) if x is None else x.exp() for x in log_values]


def divergence(p: list[fmpq], log_q: Logs) -> Any:
    """KL(p || q), the float inf where p > 0 = q."""
    pairs = [(x, log_y) for x, log_y in zip(p, log_q, strict=True) if x > 0]
    if any(log_y is None for _, log_y in pairs):
        return math.inf
    return total(x * (log(x) - log_y) for x, log_y in pairs)


def shannon(policy: list[fmpq]) -> arb:
    """H(pi) = -sum of pi log pi."""
    return -total(p * log(p) for p in policy if p > 0)


def score_function(policy: list[fmpq], rho: int, j: int) -> fmpq:
    """d log pi(rho) / d logit_j of a softmax policy with one logit a trajectory: 1[rho = j] - pi(j)."""
    return (1 if rho == j else 0) - policy[j]
