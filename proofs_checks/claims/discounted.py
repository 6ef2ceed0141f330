r"""Finite discounted models, as the claims of several sources hold them: a step ahead, and sums over all steps.

Sums over an infinite horizon are solutions of a linear system, exact up to the width of the balls.
Shapes: states S, actions A; dynamics (..., S, A, S), rewards and action values (..., S, A), values (..., S), chains and
resolvents (..., S, S); p.discount of the batch shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.formulas import discounted_system, expected_following, lookahead
from proofs_checks.claims.terms import inverse, row, solve
from proofs_checks.instances import Problem


def bellman(p: Problem, rewards: Any, values: Any) -> Any:
    """Action values of a step followed by the values."""
    return lookahead(rewards, row(row(p.discount)), expected_following(p.dynamics, values))


def resolvent(p: Problem, chain: Any) -> Any:
    r"""The matrix $(I-\gamma P)^{-1}$: the expected discounted visits to each state from each state."""
    return inverse(discounted_system(chain, p.discount))


def discounted_values(chain: Any, per_state: Any, discount: Any) -> Any:
    """The discounted sum of what each state earns, (..., S); discount of the batch shape or a number."""
    return solve(discounted_system(chain, discount), per_state[..., None])[..., 0]


def reachable(p: Problem, support: Any) -> Any:
    """Which states a policy with the given support can be in after any number of steps, (..., S, S)."""
    step = (support[..., None] & p.support_dynamics).any(axis=-2)
    found = step | np.eye(step.shape[-1], dtype=bool)
    for _ in range(step.shape[-1]):
        found = (found[..., :, :, None] & found[..., None, :, :]).any(axis=-2)
    return found
