"""Quantities that several specimens share, generic over number systems like every formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.formulas import expectation, log_boltzmann, soft_value
from exactrl.number_systems import namespace
from proofs_checks.claims.terms import row
from proofs_checks.instances import Problem


def spread(values: Any) -> Any:
    """The largest entry minus the least."""
    xp = namespace(values)
    return xp.max(values) - xp.min(values)


def log_count(p: Problem) -> Any:
    """log n."""
    xp = namespace(p.tau if "tau" in vars(p)["_arrays"] else p.first)
    return xp.log(xp.asarray(p.n))


def variance(log_policy: Any, values: Any) -> Any:
    """The variance of the values under a policy."""
    gap = values - expectation(log_policy, values)[..., None]
    return expectation(log_policy, gap * gap)


def merged(log_policy: Any) -> Any:
    """The policy over coarser outcomes: the last two have become one."""
    xp = namespace(log_policy)
    return xp.concat([log_policy[..., :-2], xp.logsumexp(log_policy[..., -2:], keepdims=True)], axis=-1)


def joint(log_first: Any, log_second: Any) -> Any:
    """Log-probabilities of the leaves of a two-step tree, (..., A*B), from (..., A) and (..., A, B)."""
    both = log_first[..., :, None] + log_second
    return namespace(both).reshape(both, (*both.shape[:-2], -1))


def scores(p: Problem) -> Any:
    """The gradients of log pi(a) in the logits of the softmax policy `p.policy`, 1[a = j] - pi_j: (..., n, n)."""
    return np.eye(p.n, dtype=int).astype(object if p.policy.ndim == 1 else float) + -p.policy[..., None, :]


def mean_score(log_law: Any, weights: Any, score: Any) -> Any:
    """The mean under a law of weight times score, (..., d)."""
    xp = namespace(log_law)
    return xp.sum((xp.exp(log_law) * weights)[..., None] * score, axis=-2)


def soft_bellman(p: Problem, values: Any) -> Any:
    """The soft Bellman operator of a discounted model."""
    xp = namespace(p.transitions)
    later = xp.sum(p.transitions * values[..., None, None, :])
    return soft_value(p.rewards + p.gamma[..., None, None] * later, row(p.tau))


def exponential_weights_regret(p: Problem) -> Any:
    """The regret of exponential weights with the rate sqrt(2 log n / T), against rewards that an adversary chose."""
    xp = namespace(p.rewards)
    temperature = xp.sqrt(xp.asarray(p.horizon) / (2 * xp.log(xp.asarray(p.n))))
    total, earned = p.rewards[..., 0, :] * 0, p.rewards[..., 0, 0] * 0
    for t in range(p.horizon):
        earned = earned + expectation(log_boltzmann(total, temperature), p.rewards[..., t, :])
        total = total + p.rewards[..., t, :]
    return xp.max(total) - earned
