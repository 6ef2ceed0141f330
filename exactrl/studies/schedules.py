r"""Theorem 1's temperatures and bound for numbers of trajectories far beyond floats: only log n enters.

With $n=2^j$ they depend on $T$ and $j=\log_2n$ only: $\tau'=1/\sqrt{Tj\log2}$, $\tau+\tau'=\sqrt{T/j}/\sqrt{2\log2}$
and $4\sqrt{Tj\log2}$, that is, on the formulas at $n=2$ with $Tj$ or $T/j$ steps.
"""

from __future__ import annotations

import math

from exactrl.errors import ExactRLError
from exactrl.formulas import theorem1_regret_bound, theorem1_temperatures

__all__ = ["bound_for", "temperatures_for"]


def temperatures_for(steps: int, n: int) -> tuple[float, float]:
    """The pair (tau, tau') that Theorem 1 prescribes for T steps and n trajectories, n an integer of any size.

    Raises ExactRLError for n = 1, where log n = 0, and for T = 1, where tau is negative.
    Source: ECPO, Theorem 1.
    """
    if n < 2 or steps < 2:
        raise ExactRLError(f"T is {steps} and n is {n}: expected at least 2 steps and 2 trajectories")
    j = math.log2(n)
    tau_prime = float(theorem1_temperatures(steps * j, 2)[1])
    return float(sum(theorem1_temperatures(steps / j, 2))) - tau_prime, tau_prime


def bound_for(steps: int, n: int) -> float:
    r"""The bound $4\sqrt{T\log n}$, n an integer of any size.  Source: ECPO, Theorem 1."""
    return float(theorem1_regret_bound(steps * math.log2(n), 2))
