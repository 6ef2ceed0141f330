r"""How the state marginals of a trajectory (see `chains`) move with the logits of a softmax policy, step by step.

With one logit a state and action, $\partial\pi(a\mid s)/\partial\theta(s,j)=\pi(a\mid s)\{1[a=j]-\pi(j\mid s)\}$; the
derivatives below carry that through the chain forwards, so that no policy gradient theorem is needed.
Shapes: S states, A actions; policies (..., S, A), dynamics (..., S, A, S), chains (..., S, S), marginals (..., S).
A derivative has the two axes of the logit (i, j) before those of what is derived.
"""

from __future__ import annotations

from exactrl.formulas.chains import next_marginal
from exactrl.number_systems import A, namespace

__all__ = ["chain_slopes", "mean_slopes", "next_marginal_slopes"]


def chain_slopes(policy: A, dynamics: A, chain: A) -> A:
    r"""How a row of the chain moves,
    $\partial P_\pi(s'\mid i)/\partial\theta(i,j)=\pi(j\mid i)\{P(s'\mid i,j)-P_\pi(s'\mid i)\}$.

    Shapes: policy (..., S, A), dynamics (..., S, A, S), chain (..., S, S) -> (..., S, A, S).
    """
    moved: A = policy[..., None] * (dynamics - chain[..., None, :])
    return moved


def next_marginal_slopes(slopes: A, marginal: A, chain: A, moved: A) -> A:
    r"""The derivative of the marginal one step later, in the logit (i, j):
    $\sum_s\partial\rho(s)P_\pi(s'\mid s)+\rho(i)\,\partial P_\pi(s'\mid i)$.

    Shapes: slopes, moved (..., S, A, S), marginal (..., S), chain (..., S, S) -> (..., S, A, S).
    """
    return next_marginal(slopes, chain[..., None, None, :, :]) + marginal[..., None, None] * moved


def mean_slopes(slopes: A, marginal: A, values: A, value_slopes: A) -> A:
    r"""The derivative of a mean $\sum_s\rho(s)f(s)$ over the states, in the logit (i, j):
    $\sum_s\partial\rho(s)f(s)+\rho(i)\,\partial f(i)$.

    Both terms are what an entropy-regularised policy gradient needs; the first is the one that Eq. 28 leaves out.
    Shapes: slopes (..., S, A, S), marginal, values (..., S), value_slopes (..., S, A) -> (..., S, A).
    Source: soft Q-learning, Eqs. 27 and 28.
    """
    moved = namespace(slopes, values).sum(slopes * values[..., None, None, :])
    return moved + marginal[..., None] * value_slopes
