r"""The temperatures that Theorem 1 of ECPO prescribes, and its regret bound."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace


def theorem1_temperatures(step: Any, count: Any) -> tuple[Any, Any]:
    r"""Temperatures $\tau'=1/\sqrt{t\log n}$ and $\tau=\sqrt t/\sqrt{2\log n}-\tau'$, as the pair (tau, tau_prime).

    The fixed schedule has t = T at every step, the anytime schedule t the number of the step.  tau is negative for t =
    1; n = 1 divides by log 1 = 0, which the caller must exclude.
    Shapes: step, count arrays of one number system that broadcast, or scalars.
    Source: ECPO, Theorem 1.
    """
    xp = namespace(step, count)
    step, log_count = xp.asarray(step), xp.log(xp.asarray(count))
    tau_prime = 1 / xp.sqrt(step * log_count)
    return xp.sqrt(step) / xp.sqrt(2 * log_count) - tau_prime, tau_prime


def theorem1_regret_bound(horizon: Any, count: Any) -> Any:
    r"""The regret bound $4\sqrt{T\log n}$.

    Source: ECPO, Theorem 1.
    """
    xp = namespace(horizon, count)
    return 4 * xp.sqrt(xp.asarray(horizon) * xp.log(xp.asarray(count)))
