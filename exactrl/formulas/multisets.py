"""What independent samples come to when their order is forgotten: a piece of the exact expectations of estimators."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from exactrl.number_systems import A, Namespace


def log_orders(xp: Namespace[A], counts: NDArray[np.int64]) -> A:
    r"""Logarithm of the number of orders of a multiset, $\log\frac{K!}{\prod_ic_i!}$ for $\sum_ic_i=K$.

    Shapes: counts (M, N) of whole numbers, every row with the same sum -> (M,).
    """
    samples = int(counts[0].sum())
    logs = [xp.log(xp.asarray(max(k, 1))) for k in range(samples + 1)]
    log_factorials = xp.stack(list(itertools.accumulate(logs)))
    return log_factorials[samples] - xp.sum(log_factorials[counts])
