r"""Soft Bellman equations: the backup, its hard limit, bounds of its fixed point, and its sampled form.

With a base measure b over the actions (1 when none is given: the counting measure) and a temperature $\alpha$ the soft
value of action values Q is $V(s)=\alpha\log\sum_ab(a\mid s)\exp\{Q(s,a)/\alpha\}$, the maximum over policies of
$\mathbb E_\pi Q-\alpha D_{KL}(\pi\Vert b)$; under the counting measure that is $\mathbb E_\pi Q+\alpha\mathcal H(\pi)$.

Shapes: S states, A actions, K samples; action values, log-policies and log-bases (..., A), transitions (S*A, S) with
row s*A + a.  Units: natural logarithms; 0 log 0 = 0.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np

from exactrl.errors import ExactRLError
from exactrl.formulas.chains import expected_next
from exactrl.formulas.divergences import entropy, expectation, kl
from exactrl.formulas.evaluation import lookahead
from exactrl.formulas.multisets import log_orders
from exactrl.formulas.soft import log_boltzmann, soft_value
from exactrl.number_systems import A, Namespace, namespace

MOST_NUMBERS = 10**7


def _lacking(log_base: Any) -> Any:
    """Where the base measure has no mass."""
    return log_base == -math.inf


def hard_value(values: A, log_base: A | None = None) -> A:
    r"""The hard maximum $\max_{a:b(a)>0}Q(s,a)$: what the soft value tends to as $\alpha\to0$, for any base measure b.

    Shapes: values, log_base (..., A) -> (...).
    Source: soft Q-learning, Sec. 2.2, after Theorem 2.
    """
    xp = namespace(values, log_base)
    values = xp.asarray(values)
    return xp.max(values if log_base is None else xp.where(_lacking(log_base), -math.inf, values))


def soft_maximum(values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""Soft value $\alpha\log\sum_ab(a)\exp\{Q(s,a)/\alpha\}$ for $\alpha>0$, the hard maximum for the number 0.

    It is `soft_value` shifted by the maximum, so that $Q/\alpha$ cannot overflow however small $\alpha$ is.
    Shapes: values, log_base (..., A); temperature a scalar or (...) -> (...).
    Source: soft Q-learning, Eqs. 5 and 9.
    """
    if _is_zero(temperature):
        return hard_value(values, log_base)
    xp = namespace(values, temperature, log_base)
    top = xp.midpoint(hard_value(values, log_base))
    gap: A = xp.asarray(temperature) * soft_value(_below(xp, values, top, temperature, log_base), 1, log_base)
    return top + gap


def log_soft_greedy(values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""Log-probabilities of the policy $\pi(a\mid s)=b(a)\exp\{(Q(s,a)-V(s))/\alpha\}$ for $\alpha>0$.

    For the number 0 it takes the first of the best actions with b > 0; in balls a tie raises Uncertain.
    Shapes: values, log_base (..., A); temperature a scalar or (...) -> (..., A); -inf where b is 0.
    Source: soft Q-learning, Eqs. 6 and 17.
    """
    xp = namespace(values, temperature, log_base)
    if _is_zero(temperature):
        allowed = values if log_base is None else xp.where(_lacking(log_base), -math.inf, values)
        return xp.log(xp.asarray(xp.identity(values.shape[-1])[xp.argmin(-allowed)]))
    top = xp.midpoint(hard_value(values, log_base))
    density = log_boltzmann(_below(xp, values, top, temperature, log_base), 1, log_base)
    return density if log_base is None else density + log_base


def _below(xp: Namespace[A], values: A, top: A, temperature: Any, log_base: A | None) -> A:
    r"""The scores $(Q-\max Q)/\alpha$; 0 where the base has no mass, so that nothing there can overflow."""
    shifted = xp.asarray(values) - top[..., None]
    kept = shifted if log_base is None else xp.where(_lacking(log_base), 0, shifted)
    return xp.weighted(1 / xp.per_row(temperature), kept)


def _is_zero(temperature: Any) -> bool:
    return isinstance(temperature, (int, float, Fraction)) and temperature == 0


def soft_policy_value(log_policy: A, values: A, temperature: Any, log_base: A | None = None) -> A:
    r"""The soft value of a policy, $\mathbb E_\pi Q-\alpha D_{KL}(\pi\Vert b)$: $\mathbb E_\pi Q+\alpha\mathcal H(\pi)$
    under the counting measure.

    Shapes: log_policy, values, log_base (..., A); temperature a scalar or (...) -> (...).
    Any $\alpha\ge0$; -inf where $\alpha>0$ and the policy takes an action that b lacks.
    Source: soft Q-learning, Eqs. 2, 15 and 19.
    """
    xp = namespace(log_policy, values, temperature, log_base)
    bonus = entropy(log_policy) if log_base is None else -kl(log_policy, log_base)
    return expectation(log_policy, values) + xp.scaled_log(xp.asarray(temperature), bonus)


def soft_bellman_operator(
    values: A, rewards: A, discount: Any, transitions: A, temperature: Any, log_base: A | None = None
) -> A:
    r"""Soft Bellman operator $\mathcal TQ(s,a)=r(s,a)+\gamma\sum_{s'}P(s'\mid s,a)\,V_Q(s')$ with the soft value V_Q.

    Shapes: values, rewards (S, A), transitions (S*A, S), log_base (A,) or (S, A) -> (S, A).  Any $\alpha\ge0$.
    Source: soft Q-learning, Theorem 3, Eqs. 7-9 and 24.
    """
    return lookahead(rewards, discount, expected_next(transitions, soft_maximum(values, temperature, log_base)))


def fixed_point_shifts(residual: A, discount: Any, least_mass: Any = 1, most_mass: Any = 1) -> tuple[A, A]:
    r"""Numbers $l\le u$ with $\mathcal TV+l\le V^*\le\mathcal TV+u$ and $Q_V+l\le Q^*\le Q_V+u$, from $\mathcal TV-V$.

    With $\delta$ the least and the greatest entry of the residual, they are $\frac{\gamma\rho}{1-\gamma\rho}\delta$;
    $\rho=1$ is the mass of every row of the transitions, or lies between the two masses given.  They hold for every
    monotone operator with $\mathcal T(V+c)=\mathcal TV+\gamma c$, the hard and the soft alike, whatever V is.
    Shapes: residual (S,) -> (), ().  Needs $\gamma\rho<1$.
    Source: MacQueen 1966; Porteus 1971; soft Q-learning, App. A.2 (that the operator contracts).
    """
    xp = namespace(residual, discount, least_mass, most_mass)
    factors = [discount * mass / (1 - discount * mass) for mass in (least_mass, most_mass)]
    low, high = xp.min(residual), xp.max(residual)
    return xp.minimum(factors[0] * low, factors[1] * low), xp.maximum(factors[0] * high, factors[1] * high)


def temperature_gap(temperature: Any, log_base: A, length: Any) -> tuple[A, A]:
    r"""Bounds of $V_\alpha-V_0$ for the optimal soft and hard values, each of the rate $O(\alpha)$.

    A step adds between $\alpha\min_{a:b(a)>0}\log b(a)$ and $\alpha\log\sum_ab(a)$, all steps
    `length` $=\sum_t\gamma^t$ times as much ($1/(1-\gamma)$ without a horizon).  Under the counting measure that is
    $0\le V_\alpha-V_0\le\alpha\log A/(1-\gamma)$, under the normalised one
    $-\alpha\log A/(1-\gamma)\le V_\alpha-V_0\le0$.
    Shapes: log_base (A,) or (S, A) -> (), ().
    Source: soft Q-learning, Sec. 2.2, after Theorem 2.
    """
    xp = namespace(log_base, temperature, length)
    flat = xp.reshape(log_base, (-1, log_base.shape[-1]))
    least = xp.min(xp.min(xp.where(_lacking(flat), math.inf, flat)))
    return temperature * length * least, temperature * length * xp.max(xp.logsumexp(flat))


# The soft value from samples


def importance_soft_value(values: A, log_proposal: A, temperature: Any) -> A:
    r"""The soft value as an expectation, $\alpha\log\mathbb E_{a\sim q}[\exp\{Q(s,a)/\alpha\}/q(a)]$.

    Actions that q never takes do not count, as in any expectation under q.
    Shapes: values, log_proposal (..., A) -> (...).  $\alpha>0$.
    Source: soft Q-learning, Eq. 10.
    """
    return soft_maximum(values, temperature, log_proposal - _where_sampled(log_proposal))


def _where_sampled(log_proposal: A) -> A:
    """The log-proposal, 0 where nothing is ever sampled."""
    xp = namespace(log_proposal)
    return xp.where(_lacking(log_proposal), 0, log_proposal)


def soft_value_estimate(values: A, log_proposal: A, temperature: Any) -> A:
    r"""Estimate of the soft value from K samples, $\alpha\log\frac1K\sum_k\exp\{Q(s,a_k)/\alpha\}/q(a_k)$.

    Shapes: values Q(s, a_k) and log_proposal log q(a_k) of the samples (..., K) -> (...).  $\alpha>0$.
    Source: soft Q-learning, Eq. 10, with its expectation replaced by a mean.
    """
    xp = namespace(values, log_proposal, temperature)
    log_count = xp.log(xp.asarray(values.shape[-1]))
    return soft_maximum(values, temperature, -log_proposal - log_count)


def expected_sampled_soft_value(values: A, log_proposal: A, temperature: Any, samples: int) -> A:
    r"""Expectation of `soft_value_estimate` over K independent samples of q, as a finite sum.

    The $A^K$ tuples are summed as multisets, each as often as it can be ordered.
    Shapes: values, log_proposal (..., A), the proposal normalised -> (...).  $\alpha>0$.
    Raises ExactRLError when K is not a positive int, or the multisets hold more than 10^7 numbers.
    Source: soft Q-learning, Eq. 10 and Sec. 3.2.
    """
    xp = namespace(values, log_proposal, temperature)
    drawn, log_orders = _multisets(xp, values.shape[-1], samples)
    log_weight: A = xp.sum(log_proposal[..., drawn]) + log_orders
    estimate = soft_value_estimate(values[..., drawn], _where_sampled(log_proposal)[..., drawn], _per_row(temperature))
    return expectation(log_weight, estimate)


def _per_row(temperature: Any) -> Any:
    return temperature[..., None] if getattr(temperature, "ndim", 0) else temperature


def _multisets(xp: Namespace[Any], actions: int, samples: int) -> tuple[Any, Any]:
    """Return all multisets of K actions (M, K) and the logarithms of the numbers of their orders (M,)."""
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ExactRLError(f"samples is {samples!r}: expected a positive int, the number K of sampled actions")
    count = math.comb(actions + samples - 1, samples)
    if count * samples > MOST_NUMBERS:
        raise ExactRLError(
            f"{samples} samples of {actions} actions make {count:,} multisets: "
            f"expected at most {MOST_NUMBERS:,} numbers in all; take fewer samples or actions"
        )
    drawn = np.array(list(itertools.combinations_with_replacement(range(actions), samples)), dtype=np.int64)
    times = np.stack([(drawn == action).sum(axis=1) for action in range(actions)], axis=1)
    return drawn, log_orders(xp, times)


def sampled_soft_bias(values: A, log_proposal: A, temperature: Any, samples: int) -> A:
    r"""Bias of `soft_value_estimate`: its expectation over K samples of q, minus the soft value over all actions.

    Never positive (Jensen); where q lacks actions the bias does not vanish as K grows.
    Shapes: values, log_proposal (..., A) -> (...).  $\alpha>0$.
    Source: soft Q-learning, Sec. 3.2 (which calls it zero for q the soft greedy policy).
    """
    expected = expected_sampled_soft_value(values, log_proposal, temperature, samples)
    return expected - soft_maximum(values, temperature)


def expected_sampled_soft_bellman(
    values: A, rewards: A, discount: Any, transitions: A, temperature: Any, log_proposal: A, samples: int
) -> A:
    r"""Expectation of the sampled soft backup $r+\gamma\sum_{s'}P(s'\mid s,a)\hat V(s')$ with K actions per next state.

    Shapes: values, rewards, log_proposal (S, A), transitions (S*A, S) -> (S, A).  $\alpha>0$.
    Source: soft Q-learning, Eqs. 10 and 11.
    """
    expected = expected_sampled_soft_value(values, log_proposal, temperature, samples)
    return lookahead(rewards, discount, expected_next(transitions, expected))
