r"""Retrace: off-policy evaluation of a policy pi from trajectories of a behaviour policy b.

    $\mathcal RQ(s,a)=Q(s,a)+\mathbb E_b\left[\sum_{j\ge0}\gamma^j\Big(\prod_{k=1}^jc_k\Big)
      \big(r_j+\gamma\,\mathbb E_\pi Q(s_{j+1},\cdot)-Q(s_j,a_j)\big)\right]$,
    $c_k=\lambda\min\{1,\pi(a_k\mid s_k)/b(a_k\mid s_k)\}$

This is the operator of Munos et al. (2016, Eqs. 3 and 4), a contraction in the sup norm with modulus gamma and the
fixed point $Q^\pi$.  MPO's Eq. 13 has lambda = 1 and prints the bracket without the discount before
$\mathbb E_\pi Q(s_{j+1},\cdot)$, so that in general $Q^\pi$ is not its fixed point where gamma < 1; `as_printed=True`
is that formula, to the letter.

Shapes: S states, A actions, T steps; tables (S, A); along a trajectory (..., T).
"""

from __future__ import annotations

from typing import Any

from exactrl.formulas.divergences import expectation
from exactrl.number_systems import A, namespace

__all__ = [
    "retrace_coefficients",
    "retrace_kernel",
    "retrace_operator",
    "retrace_targets",
    "temporal_differences",
]


def retrace_coefficients(log_policy: A, log_behaviour: A, trace_decay: Any = 1) -> A:
    r"""The traces $c=\lambda\min\{1,\pi/b\}$ of actions that were taken, so that b > 0.

    Shapes: log_policy, log_behaviour (...), of one shape -> (...).
    Source: MPO, Eq. 13 (lambda = 1); Munos et al. (2016), Sec. 3.
    """
    xp = namespace(log_policy, log_behaviour)
    ratio = xp.asarray(log_policy) - xp.asarray(log_behaviour)
    return xp.asarray(trace_decay) * xp.exp(xp.minimum(ratio, 0))


def temporal_differences(rewards: A, q_taken: A, expected_next: A, discount: Any, *, as_printed: bool = False) -> A:
    r"""The brackets $r_j+\gamma\,\mathbb E_\pi Q(s_{j+1},\cdot)-Q(s_j,a_j)$; as printed, without the discount.

    Shapes: all of one shape; expected_next is 0 where the trajectory ends in a terminal state.
    Source: Munos et al. (2016), Eq. 4; as printed, MPO, Eq. 13.
    """
    xp = namespace(rewards, q_taken, expected_next)
    ahead = xp.asarray(expected_next)
    if not as_printed:
        ahead = xp.asarray(discount) * ahead
    return xp.asarray(rewards) + ahead - xp.asarray(q_taken)


def retrace_targets(
    rewards: A,
    q_taken: A,
    expected_next: A,
    coefficients: A,
    discount: Any,
    *,
    steps: int | None = None,
    as_printed: bool = False,
) -> A:
    r"""The targets $Q^{ret}_t=Q(s_t,a_t)+\sum_j\gamma^{j-t}\big(\prod_{k=t+1}^jc_k\big)\delta_j$ along trajectories.

    By the backward recursion $\Delta_t=\delta_t+\gamma c_{t+1}\Delta_{t+1}$; the sum ends with the trajectory, or with
    `steps` terms where that is given (then the recursion runs once for each term).
    Shapes: rewards, q_taken $=Q(s_t,a_t)$, expected_next $=\mathbb E_\pi Q(s_{t+1},\cdot)$, coefficients $c_t$, all
    (..., T) -> (..., T).  The coefficient of the first step of a trajectory is not used.
    Source: MPO, Eq. 13; Munos et al. (2016), Eq. 3.
    """
    xp = namespace(rewards, q_taken, expected_next, coefficients)
    errors = temporal_differences(rewards, q_taken, expected_next, discount, as_printed=as_printed)
    carried = xp.asarray(discount) * xp.asarray(coefficients)
    length = errors.shape[-1]
    if steps is None or steps >= length:
        return xp.asarray(q_taken) + _swept(errors, carried)
    total = errors
    for _ in range(steps - 1):
        ahead = carried[..., 1:] * total[..., 1:]
        total = errors + xp.concat([ahead, errors[..., -1:] * 0], axis=-1)
    return xp.asarray(q_taken) + total


def _swept(errors: A, carried: A) -> A:
    """Return the sums to the end of the trajectory, in one sweep backwards."""
    sums = [errors[..., -1]]
    for t in range(errors.shape[-1] - 2, -1, -1):
        sums.append(errors[..., t] + carried[..., t + 1] * sums[-1])
    return namespace(errors).stack(sums[::-1], axis=-1)


def retrace_kernel(transitions: A, log_policy: A, log_behaviour: A, trace_decay: Any = 1) -> A:
    r"""The kernel $P(s'\mid s,a)\,b(a'\mid s')\,c(s',a')=\lambda P(s'\mid s,a)\min\{b,\pi\}(a'\mid s')$.

    Rows sum to 1 at most; actions that b never takes carry nothing.
    Shapes: transitions (S*A, S), row s*A + a; log_policy, log_behaviour (S, A) -> (S*A, S*A).
    Source: MPO, Eq. 13; Munos et al. (2016), Sec. 3.
    """
    xp = namespace(transitions, log_policy, log_behaviour)
    shared = xp.exp(xp.minimum(xp.asarray(log_policy), xp.asarray(log_behaviour)))
    transitions = xp.asarray(transitions)
    pairs, states = transitions.shape
    kernel = xp.asarray(trace_decay) * transitions[:, :, None] * shared
    return xp.reshape(kernel, (pairs, states * shared.shape[-1]))


def retrace_operator(
    q_values: A,
    rewards: A,
    transitions: A,
    log_policy: A,
    log_behaviour: A,
    discount: Any,
    *,
    steps: int,
    trace_decay: Any = 1,
    as_printed: bool = False,
) -> A:
    r"""The operator on a finite model, truncated to `steps` terms of the sum: $Q+\sum_{j<n}(\gamma P^{cb})^j\delta$.

    One step is the Bellman operator of pi (as printed, without its discount); the full sum is the limit, which
    `exactrl.off_policy.retrace` solves for.
    Shapes: q_values, rewards, log_policy, log_behaviour (S, A), transitions (S*A, S), row s*A + a -> (S, A).
    Source: MPO, Eq. 13; Munos et al. (2016), Eq. 3.
    """
    xp = namespace(q_values, rewards, transitions, log_policy, log_behaviour)
    q_values, transitions = xp.asarray(q_values), xp.asarray(transitions)
    shape, flat = q_values.shape, (transitions.shape[0],)
    ahead = xp.reshape(xp.matmul(transitions, expectation(log_policy, q_values)), shape)
    errors = xp.reshape(temporal_differences(rewards, q_values, ahead, discount, as_printed=as_printed), flat)
    kernel = xp.asarray(discount) * retrace_kernel(transitions, log_policy, log_behaviour, trace_decay)
    total = errors
    for _ in range(steps - 1):
        total = errors + xp.matmul(kernel, total)
    return q_values + xp.reshape(total, shape)
