r"""Words, spaces and quantities that several claims of the soft Q-learning paper share.

Claims are judged on finite models, with sums for integrals.  Values over an infinite horizon are solutions of a linear
system, exact up to the width of the balls: $V^\pi=(I-\gamma P_\pi)^{-1}(r_\pi+\alpha\mathcal H(\pi))$.
Shapes: states S, actions A; dynamics (..., S, A, S), rewards, policies and action values (..., S, A), values (..., S).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from exactrl.formulas import chain_of, soft_maximum, soft_policy_value
from exactrl.number_systems import namespace
from proofs_checks.claims.discounted import bellman, discounted_values
from proofs_checks.claims.terms import size
from proofs_checks.fields import Discount, Real, Simplex
from proofs_checks.instances import Problem, Space

FINITE = "finitely many states and actions, sums for integrals"
INFINITE_HORIZON = "infinite horizon, gamma in [0, 1)"
UNIT_TEMPERATURE = "the entropy parameter is 1 (App. A, after Eq. 15)"
TEMPERATURE = "alpha > 0"


MODEL: dict[str, Any] = {
    "dynamics": Simplex(("states", "actions", "states"), exponents=(-20, 0)),
    "rewards": Real(("states", "actions")),
    "discount": Discount(),
}
SIZES = {"states": (1, 2, 3), "actions": (1, 2, 3)}


def model_space(**more: Any) -> Space:
    """Discounted models with further fields."""
    return Space(MODEL | more, SIZES)


def policy_field(*, zeros: bool = True) -> Simplex:
    """A policy."""
    return Simplex(("states", "actions"), zeros=zeros)


def soft_backup(p: Problem, action_values: Any, temperature: Any = 1) -> Any:
    """The soft Bellman operator, Eq. 24."""
    return bellman(p, p.rewards, soft_maximum(action_values, temperature))


def soft_action_values(p: Problem, log_policy: Any, rewards: Any, temperature: Any = 1) -> Any:
    """The soft action values of a policy, Eq. 15: its own first step earns no entropy."""
    xp = namespace(log_policy)
    per_state = soft_policy_value(log_policy, rewards, temperature)
    chain = chain_of(xp.exp(log_policy), p.dynamics)
    return bellman(p, rewards, discounted_values(chain, per_state, p.discount))


def deterministic_policies(p: Problem) -> list[Any]:
    """The logarithms of every deterministic policy, (..., S, A) each."""
    xp = namespace(p.rewards)
    certain = p.rewards * 0
    choices = itertools.product(range(p.actions), repeat=p.states)
    return [certain + xp.where(np.array(c)[:, None] == np.arange(p.actions), 0, -math.inf) for c in choices]


def over_all(x: Any) -> Any:
    """Join states and actions into one axis."""
    return namespace(x).reshape(x, (*x.shape[:-2], -1))


def largest(x: Any) -> Any:
    """The max norm over states and actions."""
    xp = namespace(x)
    return xp.max(xp.abs(over_all(x)))


def value_size(p: Problem, *arrays: Any) -> Any:
    """The size of the terms of a discounted sum, for rounding (floats only)."""
    if namespace(*arrays).name != "float64":
        return 1.0
    return (size(*arrays) + 2) / (1 - p.discount)
