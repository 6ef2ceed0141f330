r"""Linear-quadratic control with and without an entropy bonus, one backward step at a time.

The state moves as $x'=Ax+Bu+w$ with noise w of mean 0, a step costs $x^\top Sx+u^\top Ru$, and the reward is minus the
cost.  With values $V(x)=-x^\top Px+c$ a step ahead the action values are quadratic in u, with curvature
$M=R+\gamma B^\top PB$, so that the optimal control is $u=-Kx$ with $MK=\gamma B^\top PA$, and the policy
$\exp\{(Q-V)/\alpha\}$ is $\mathcal N(-Kx,\frac\alpha2M^{-1})$.

Everything but logarithms is rational: arrays of Fractions pass through unchanged.
Shapes: n states, m controls; A (..., n, n), B (..., n, m), S and P (..., n, n), R (..., m, m), discount (...).
Source: soft Q-learning, Sec. 4 and Eqs. 5-7; Todorov 2008.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

from exactrl.formulas.chains import matrixwise
from exactrl.number_systems import A, namespace

__all__ = [
    "Backup",
    "eliminate",
    "gaussian_soft_gap",
    "riccati_backup",
    "soft_control_bonus",
]


class Backup(NamedTuple, Generic[A]):
    """One step back: the quadratic form P of the cost to go, the gain K, and the curvature M in the control."""

    cost_to_go: A
    gain: A
    curvature: A


def riccati_backup(transition: A, control: A, state_cost: A, control_cost: A, ahead: A, discount: Any) -> Backup[A]:
    r"""$M=R+\gamma B^\top P'B$, $MK=\gamma B^\top P'A$, $P=S+\gamma A^\top P'A-(\gamma B^\top P'A)^\top K$.

    Shapes: transition (..., n, n), control (..., n, m), state_cost and ahead P' (..., n, n), control_cost (..., m, m),
    discount (...) -> (..., n, n), (..., m, n), (..., m, m).
    Source: soft Q-learning, Sec. 4; Bellman's equation for quadratic values.
    """
    xp = namespace(transition, control, state_cost, control_cost, ahead)
    discount = matrixwise(discount)
    carried = discount * xp.matmul(ahead, transition)
    curvature = control_cost + discount * xp.matmul(_transpose(control), xp.matmul(ahead, control))
    mixed = xp.matmul(_transpose(control), carried)
    gain, _ = eliminate(curvature, mixed)
    value = state_cost + xp.matmul(_transpose(transition), carried) - xp.matmul(_transpose(mixed), gain)
    return Backup(value, gain, curvature)


def eliminate(matrix: A, right: A) -> tuple[A, A]:
    r"""The solution X of $MX=B$ for a positive definite M, and the pivots, whose product is $\det M$.

    Shapes: matrix (..., m, m), right (..., m, k) -> (..., m, k), (..., m).
    """
    xp = namespace(matrix, right)
    size = matrix.shape[-1]
    rows = [xp.concat([matrix[..., k, :], right[..., k, :]], axis=-1) for k in range(size)]
    for k in range(size):
        for i in range(k + 1, size):
            rows[i] = rows[i] - rows[i][..., k, None] / rows[k][..., k, None] * rows[k]
    solved: dict[int, A] = {}
    for k in reversed(range(size)):
        rest = rows[k][..., size:]
        for j in range(k + 1, size):
            rest = rest - rows[k][..., j, None] * solved[j]
        solved[k] = rest / rows[k][..., k, None]
    pivots = xp.stack([rows[k][..., k] for k in range(size)], axis=-1)
    return xp.stack([solved[k] for k in range(size)], axis=-2), pivots


def soft_control_bonus(pivots: A, temperature: A) -> A:
    r"""How far the soft value exceeds the hard one.

    $\alpha\log\int e^{-u^\top Mu/\alpha}du=\frac\alpha2(m\log\pi\alpha-\log\det M)$.

    Shapes: pivots (..., m), temperature (...) -> (...).
    Source: soft Q-learning, Eq. 5.
    """
    xp = namespace(pivots, temperature)
    log_pi = xp.log_two_pi - xp.log_two
    bonus: A = temperature / 2 * (pivots.shape[-1] * (log_pi + xp.log(temperature)) - xp.sum(xp.log(pivots)))
    return bonus


def gaussian_soft_gap(shift: A, factor: A, curvature: A, log_diagonal: A, pivots: A, temperature: A) -> A:
    r"""What a Gaussian policy $\mathcal N(-Kx+\delta,LL^\top)$ lacks of the soft value.

    $\delta^\top M\delta+\mathrm{tr}(MLL^\top)-\frac{\alpha m}2-\frac\alpha2\log\det\left(\frac2\alpha MLL^\top\right)$:
    $\alpha$ times its divergence from $\exp\{(Q-V)/\alpha\}$.

    Shapes: shift (..., m), factor L (..., m, m), curvature M (..., m, m), log_diagonal of L and pivots of M (..., m),
    temperature (...) -> (...).
    Source: soft Q-learning, Eq. 12.
    """
    xp = namespace(shift, factor, curvature, pivots, temperature)
    size = shift.shape[-1]
    weighted = xp.matmul(curvature, xp.concat([shift[..., None], factor], axis=-1))
    spread = xp.sum(xp.sum(weighted * xp.concat([shift[..., None], factor], axis=-1)))
    log_scale = xp.log_two - xp.log(temperature)
    log_det = size * log_scale + xp.sum(xp.log(pivots)) + 2 * xp.sum(log_diagonal)
    gap: A = spread - temperature / 2 * (size + log_det)
    return gap


def _transpose(matrix: Any) -> Any:
    return namespace(matrix).moveaxis(matrix, -1, -2)
