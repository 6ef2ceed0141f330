r"""Values under a divergence that is charged at every step: what Sections 3.1 and 3.3 and Appendix A.1 speak of.

$V^{\pi,q}_\alpha=(I-\gamma P_q)^{-1}(r_q-\alpha\,\mathrm{KL}(q\Vert\pi))$ is the solution of a linear system.  Where q ever
takes an action that $\pi$ lacks, the divergence is $+\infty$ and the value $-\infty$.
Shapes: states S, actions A; log-policies and supports (..., S, A), values and whatever is charged (..., S).
"""

from __future__ import annotations

import math
from typing import Any

from exactrl.formulas import expectation, kl, soft_score
from exactrl.number_systems import namespace
from proofs_checks.claims.discounted import bellman, reachable
from proofs_checks.claims.soft_q.common import soft_action_values
from proofs_checks.claims.terms import row, size
from proofs_checks.instances import Problem

INFINITE_DIVERGENCE = "KL(q||pi) = +inf where q takes an action that pi lacks; what has weight 0 does not count"


def lacking(support_q: Any, support_policy: Any) -> Any:
    """The states in which q takes an action that the policy lacks."""
    return (support_q & ~support_policy).any(axis=-1)


def reaching(p: Problem, support_q: Any, marked: Any) -> Any:
    """The states from which q comes to a marked state sooner or later, at a discount above 0."""
    ahead = (reachable(p, support_q) & marked[..., None, :]).any(axis=-1)
    return marked | (p.support_discount[..., None] & ahead)


def plain_value(p: Problem, log_q: Any, rewards: Any) -> Any:
    """$V^q$, from rewards of pairs."""
    return expectation(log_q, soft_action_values(p, log_q, rewards, 0))


def discounted_sum(p: Problem, log_q: Any, support_q: Any, earned: Any, endless: Any) -> Any:
    """The discounted sum under q of what a state earns; -inf where a state that is `endless` is ahead."""
    xp = namespace(log_q)
    of_pairs = xp.where(endless, 0, earned)[..., None] + p.dynamics[..., 0] * 0
    return xp.where(reaching(p, support_q, endless), -math.inf, plain_value(p, log_q, of_pairs))


def regularised_value(
    p: Problem, log_q: Any, support_q: Any, log_policy: Any, support_policy: Any, rewards: Any
) -> Any:
    r"""$V^{\pi,q}_\alpha$."""
    earned = expectation(log_q, rewards) - row(p.alpha) * kl(log_q, log_policy)
    return discounted_sum(p, log_q, support_q, earned, lacking(support_q, support_policy))


def plain_operator(p: Problem, log_q: Any, rewards: Any, values: Any) -> Any:
    """$T^qV$."""
    return expectation(log_q, bellman(p, rewards, values))


def regularised_operator(p: Problem, log_q: Any, log_policy: Any, rewards: Any, values: Any) -> Any:
    r"""$T^{\pi,q}_\alpha V$, from the reward as it is printed."""
    return plain_operator(p, log_q, soft_score(log_q, rewards, row(p.alpha), log_policy), values)


def restricted(p: Problem, log_q: Any, support_q: Any) -> tuple[Any, Any]:
    """The logarithms and the support of q on the actions of p.policy; of p.policy itself where they share none."""
    xp = namespace(log_q)
    both = support_q & p.support_policy
    some = both.any(axis=-1)
    support = both | (~some[..., None] & p.support_policy)
    kept = xp.where(both, log_q, -math.inf)
    mass = xp.where(some, xp.logsumexp(kept), 0)
    chosen = xp.where(both, log_q - mass[..., None], xp.where(support, p.log_policy, -math.inf))
    return chosen, support


def regularised_size(p: Problem, *arrays: Any, logs: tuple[Any, ...] = ()) -> Any:
    """The size of the terms of a regularised sum: of arrays, and of logarithms times the temperature (floats only)."""
    if namespace(*arrays).name != "float64":
        return 1.0
    return (size(*arrays) + (1 + p.alpha) * size(*logs)) / (1 - p.discount)
