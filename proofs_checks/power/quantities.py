"""Quantities that several specimens share, generic over number systems like every formula."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    centred,
    expectation,
    expected_following,
    log_boltzmann,
    lookahead,
    soft_value,
    softmax_scores,
)
from exactrl.number_systems import namespace
from proofs_checks.claims.ecpo.common import mean_score
from proofs_checks.claims.ecpo.two_steps import flat
from proofs_checks.claims.terms import row
from proofs_checks.instances import Problem


def log_count(p: Problem) -> Any:
    """log n."""
    xp = namespace(p.tau if "tau" in vars(p)["_arrays"] else p.first)
    return xp.log(xp.asarray(p.n))


def variance(log_policy: Any, values: Any) -> Any:
    """The variance of the values under a policy."""
    gap = centred(log_policy, values)
    return expectation(log_policy, gap * gap)


def merged(log_policy: Any) -> Any:
    """The policy over coarser outcomes: the last two have become one."""
    xp = namespace(log_policy)
    return xp.concat([log_policy[..., :-2], xp.logsumexp(log_policy[..., -2:], keepdims=True)], axis=-1)


def joint(log_first: Any, log_second: Any) -> Any:
    """Log-probabilities of the leaves of a two-step tree, (..., A*B), from (..., A) and (..., A, B)."""
    return flat(log_first[..., :, None] + log_second, 2)


def weighted_score(p: Problem, weights: Any) -> Any:
    """The mean under `p.policy` of weights times the gradient of log pi(a) in its logits, (..., n)."""
    return mean_score(p.log_policy, weights[..., None] * softmax_scores(p.policy))


def soft_bellman(p: Problem, values: Any) -> Any:
    """The soft Bellman operator of a discounted model."""
    later = lookahead(p.rewards, row(row(p.gamma)), expected_following(p.transitions, values))
    return soft_value(later, row(p.tau))


def exponential_weights_regret(p: Problem) -> Any:
    """The regret of exponential weights with the rate sqrt(2 log n / T), against rewards that an adversary chose."""
    xp = namespace(p.rewards)
    temperature = xp.sqrt(xp.asarray(p.horizon) / (2 * xp.log(xp.asarray(p.n))))
    total, earned = p.rewards[..., 0, :] * 0, p.rewards[..., 0, 0] * 0
    for t in range(p.horizon):
        earned = earned + expectation(log_boltzmann(total, temperature), p.rewards[..., t, :])
        total = total + p.rewards[..., t, :]
    return xp.max(total) - earned
