r"""The backward recursion over trajectories: sums over all of them at the cost of one sweep over states a step.

A sum $\sum_\rho f(\rho)\exp\{\sum_t x_t(s_t,a_t)\}$ over trajectories factors along the dynamics, so its logarithm
obeys $W_t(s)=\log\sum_a\exp\{x_t(s,a)\}\sum_{s'}P(s'\mid s,a)\exp W_{t+1}(s')$ with $W_{T+1}=0$.
"""

from __future__ import annotations

from collections.abc import Sequence

from exactrl.number_systems import A, namespace


def log_expected_exp(log_values: A, transitions: A) -> A:
    r"""Return $\log\sum_{s'}P(s'\mid\cdot)\exp W(s')$ by one matrix-vector product, shifted by the maximum of W.

    Shapes: log_values (S,), transitions (M, S) -> (M,).
    In float64, entries more than about 700 below the maximum underflow to no mass: the caller keeps the spread in
    range.
    """
    xp = namespace(log_values, transitions)
    top = xp.midpoint(xp.max(log_values))
    return xp.log(xp.matmul(transitions, xp.exp(log_values - top))) + top


def backward_log_partition(scores: Sequence[A], transitions: A, initial: A) -> A:
    r"""Log-partition function $\log\sum_\rho f(\rho)\exp\{\sum_t x_t(s_t,a_t)\}$ over all trajectories.

    Shapes: scores, one (S, A) array for each of the T steps; transitions (S*A, S), row s*A + a; initial (S,) -> ().
    Source: ECPO, Eq. 7 and Theorem 3, by dynamic programming.
    """
    xp = namespace(transitions, initial, *scores)
    rows, columns = scores[-1].shape
    log_values = xp.logsumexp(scores[-1])
    for score in reversed(scores[:-1]):
        expected = xp.reshape(log_expected_exp(log_values, transitions), (rows, columns))
        log_values = xp.logsumexp(score + expected)
    return log_expected_exp(log_values, xp.reshape(initial, (1, rows)))[0]
