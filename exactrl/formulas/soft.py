r"""The soft maximum and the Boltzmann distribution that attains it.

Every lift, soft value and surrogate of the library is one of these two functions of a score.
"""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import A, namespace


def soft_value(values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""Soft maximum $\eta\log\sum_x b(x)\exp\{v(x)/\eta\}$ with base measure b (1 when none is given).

    Shapes: values, log_base (..., N); temperature a scalar or (...) -> (...).  Temperature > 0; values may be -inf.
    Source: ECPO, Eqs. 7-8; Lemma 8; soft Q-learning, Eq. 5.
    """
    xp = namespace(values, temperature)
    values = xp.asarray(values)
    temperature = xp.per_row(temperature)
    score = xp.scaled_log(1 / temperature, values)
    total = xp.logsumexp(score if log_base is None else score + log_base, keepdims=True)
    value: A = (temperature * total)[..., 0]
    return value


def log_boltzmann(values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""Log of the Boltzmann density $\exp\{v(x)/\eta\}/\sum_y b(y)\exp\{v(y)/\eta\}$ for a base measure b.

    Shapes: values, log_base (..., N); temperature a scalar or (...) -> (..., N).
    Source: ECPO, Eqs. 5, 8 and 21; Lemma 8; soft Q-learning, Theorem 1.
    """
    xp = namespace(values, temperature)
    values = xp.asarray(values)
    score = xp.scaled_log(1 / xp.per_row(temperature), values)
    return score - xp.logsumexp(score if log_base is None else score + log_base, keepdims=True)
