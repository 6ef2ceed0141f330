r"""The stationary distribution of a policy, the average over it, and how both move with the logits of the policy.

All of them are solutions of linear systems.  With E the matrix of ones, $d^\top(I-P_\pi+E)=1^\top$ for the stationary d
of a chain with one recurrent class, and $\partial d$ solves the same system for $d(i)\,\partial P_\pi(\cdot\mid i)$.
Shapes: S states, A actions; chains (..., S, S), per state (..., S), in the logits (..., S, A).
"""

from __future__ import annotations

from typing import Any

from exactrl.formulas import discounted_system
from exactrl.number_systems import namespace
from proofs_checks.claims.terms import solve
from proofs_checks.fields import Simplex

ONE_CLASS = "every transition has positive probability, so that each policy has one stationary distribution"


def positive_dynamics() -> Simplex:
    """Dynamics under which each policy has one stationary distribution."""
    return Simplex(("states", "actions", "states"), zeros=False, exponents=(-3, 0))


def _transposed_system(chain: Any) -> Any:
    """The transpose of I - P + E."""
    return namespace(chain).moveaxis(discounted_system(chain, 1) + 1, -1, -2)


def stationary(chain: Any) -> Any:
    """The stationary distribution of a chain, (..., S)."""
    return solve(_transposed_system(chain), (chain * 0 + 1)[..., :1])[..., 0]


def stationary_slopes(chain: Any, distribution: Any, moved: Any) -> Any:
    """The derivative of the stationary distribution in every logit, (..., S, A, S); moved as from `chain_slopes`."""
    xp = namespace(chain)
    pushed = distribution[..., None, None] * moved
    *batch, states, actions, _ = pushed.shape
    columns = xp.moveaxis(xp.reshape(pushed, (*batch, states * actions, states)), -1, -2)
    found = xp.moveaxis(solve(_transposed_system(chain), columns), -1, -2)
    return xp.reshape(found, (*batch, states, actions, states))


def overlap(chain: Any) -> Any:
    """1 less the largest total variation between two rows, (...): a step shrinks spans by at least that much."""
    xp = namespace(chain)
    gaps = xp.sum(xp.abs(chain[..., :, None, :] - chain[..., None, :, :])) / 2
    return 1 - xp.max(xp.max(gaps))
