r"""The Markov chain that a policy makes of a finite model: its kernel, a step forwards, a step back, a discounted sum.

None of it has a logarithm, so that NumPy arrays of Fractions pass through unchanged.
Shapes: S states, A actions, any batch before them; policies (..., S, A), dynamics (..., S, A, S), chains (..., S, S),
marginals and values (..., S).  As a model stores them, transitions are (..., S*A, S) with row s*A + a.
"""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import A, namespace

__all__ = [
    "chain_of",
    "discounted_system",
    "expected_following",
    "expected_next",
    "next_marginal",
    "next_mass",
    "policy_kernel",
]


def chain_of(policy: A, dynamics: A) -> A:
    r"""The chain of a policy, $P_\pi(s'\mid s)=\sum_a\pi(a\mid s)P(s'\mid s,a)$.

    Shapes: policy (..., S, A), dynamics (..., S, A, S) -> (..., S, S).
    """
    return namespace(policy, dynamics).matmul(policy[..., None, :], dynamics)[..., 0, :]


def policy_kernel(policy: A, transitions: A) -> A:
    r"""The chain of a policy from the transitions of a model, $P_\pi(s'\mid s)=\sum_a\pi(a\mid s)P(s'\mid s,a)$.

    Shapes: policy (S, A), transitions (S*A, S) -> (S, S).
    """
    states, actions = policy.shape
    return chain_of(policy, namespace(policy, transitions).reshape(transitions, (states, actions, states)))


def next_marginal(marginal: A, chain: A) -> A:
    r"""The marginal one step later, $\rho'(s')=\sum_s\rho(s)P_\pi(s'\mid s)$.

    Shapes: marginal (..., S), chain (..., S, S) -> (..., S).
    """
    return namespace(marginal, chain).matmul(marginal[..., None, :], chain)[..., 0, :]


def next_mass(occupancy: A, transitions: A) -> A:
    r"""The mass that arrives in each state, $\sum_{s,a}x(s,a)P(s'\mid s,a)$.

    Shapes: occupancy (S, A), transitions (S*A, S) -> (S,).
    """
    xp = namespace(occupancy, transitions)
    return xp.matmul(xp.reshape(occupancy, (transitions.shape[0],)), transitions)


def expected_next(transitions: A, values: A) -> A:
    r"""The expectation over the next state, $\sum_{s'}P(s'\mid s,a)V(s')$, from the transitions of a model.

    Shapes: transitions (..., S*A, S), values (..., S) -> (..., S, A).
    """
    xp = namespace(transitions, values)
    rows, states = transitions.shape[-2:]
    if values.ndim == 1:
        found = xp.matmul(transitions, values)
    else:
        found = xp.matmul(transitions, values[..., None])[..., 0]
    return xp.reshape(found, (*found.shape[:-1], states, rows // states))


def expected_following(dynamics: A, values: A) -> A:
    r"""The expectation over the next state, $\sum_{s'}P(s'\mid s,a)V(s')$.

    Shapes: dynamics (..., S, A, S), values (..., S) -> (..., S, A).
    """
    *batch, states, actions, _ = dynamics.shape
    rows = namespace(dynamics, values).reshape(dynamics, (*batch, states * actions, states))
    return expected_next(rows, values)


def discounted_system(chain: A, discount: Any) -> A:
    r"""The matrix $I-\gamma P$ of a discounted sum.

    Values are $V=(I-\gamma P_\pi)^{-1}r_\pi$, visits $d=(I-\gamma P_\pi^\top)^{-1}\mu$.
    It has an inverse for $0\le\gamma<1$, because the chain loses mass at every step.
    Shapes: chain (..., S, S), discount a scalar or (...) -> (..., S, S).
    Source: Puterman 1994, Theorem 6.1.1.
    """
    carried: A = matrixwise(discount) * chain
    return namespace(chain, discount).identity(chain.shape[-1]) - carried


def matrixwise(x: Any) -> Any:
    """A number of the batch shape, to meet matrices; a Fraction stays one."""
    return x[..., None, None] if getattr(x, "ndim", 0) else x
