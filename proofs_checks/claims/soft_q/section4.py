"""Section 4: maximum entropy policies of linear-quadratic systems, and the actor without the term of the kernel."""

from __future__ import annotations

from typing import Any

from exactrl.formulas.linear_quadratic import Backup, eliminate, gaussian_soft_gap, riccati_backup
from exactrl.formulas.particles import rbf_kernel, svgd_direction
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, Check, claim
from proofs_checks.claims.soft_q.common import TEMPERATURE
from proofs_checks.claims.soft_q.matrices import squared, times
from proofs_checks.claims.terms import lower_triangular, row, size
from proofs_checks.fields import Modest, Positive, Real, Unit
from proofs_checks.instances import Problem, Space

LINEAR_QUADRATIC = (
    "linear dynamics with additive noise of mean 0, reward -(x'Sx + u'Ru) with S positive semidefinite and R "
    "positive definite"
)
HORIZON = "a finite horizon, discount in [0, 1]; values over longer horizons converge to those without one"


def _costs(p: Problem) -> tuple[Any, Any]:
    return squared(p.state_factor), squared(lower_triangular(p.control_diagonal, p.control_below))


def _first_backup(p: Problem) -> Backup[Any]:
    """Dynamic programming over the steps: the backup of the first one."""
    state_cost, control_cost = _costs(p)
    backup = riccati_backup(p.transition, p.control, state_cost, control_cost, state_cost, p.discount)
    for _ in range(p.steps - 1):
        backup = riccati_backup(p.transition, p.control, state_cost, control_cost, backup.cost_to_go, p.discount)
    return backup


def _joint_minimiser(p: Problem) -> tuple[Any, Any]:
    r"""The first control of those that together minimise the whole cost, and the pivots of the linear system.

    With $x_t=A^tx_0+\sum_{k<t}A^{t-1-k}Bu_k$ the derivative in $u_k$, over $2\gamma^k$, is
    $Ru_k+\sum_{t>k}\gamma^{t-k}(A^{t-1-k}B)^\top Sx_t$.
    """
    xp = namespace(p.state)
    state_cost, control_cost = _costs(p)
    free, reach = [p.state], [p.control]
    for _ in range(p.steps):
        free.append(times(p.transition, free[-1]))
        reach.append(xp.matmul(p.transition, reach[-1]))
    weighted = [xp.matmul(xp.moveaxis(r, -1, -2), state_cost) for r in reach]
    powers = [p.discount * 0 + 1]
    for _ in range(p.steps):
        powers.append(powers[-1] * p.discount)

    def block(k: int, j: int) -> Any:
        total = control_cost if k == j else control_cost * 0
        for t in range(max(k, j) + 1, p.steps + 1):
            total = total + powers[t - k][..., None, None] * xp.matmul(weighted[t - 1 - k], reach[t - 1 - j])
        return total

    def constant(k: int) -> Any:
        terms = [powers[t - k][..., None] * times(weighted[t - 1 - k], free[t]) for t in range(k + 1, p.steps + 1)]
        return -sum(terms[1:], terms[0])

    matrix = xp.concat([xp.concat([block(k, j) for j in range(p.steps)], axis=-1) for k in range(p.steps)], axis=-2)
    right = xp.concat([constant(k) for k in range(p.steps)], axis=-1)
    solved, pivots = eliminate(matrix, right[..., None])
    return solved[..., : p.control.shape[-1], 0], pivots


def _condition(p: Problem, *pivots: Any) -> Any:
    """How much a linear system magnifies rounding (floats only)."""
    if namespace(p.state).name != "float64":
        return 1.0
    costs = [size(x) for x in _costs(p)]
    least = sum(1 / abs(x).min(axis=-1) for x in pivots)
    return ((1 + sum(costs)) * (1 + least)) ** 2


@claim(
    "soft_q.sec4.lqr",
    where="Sec. 4",
    title="For linear-quadratic systems the mean of the maximum entropy policy is the optimal control",
    statement=r"In the case of linear-quadratic systems, the mean of the maximum entropy policy, $\mathbb E_{\pi^*_{MaxEnt}(\cdot\mid s)}[a]$, is exactly the optimal deterministic policy.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="the same control",
    explanation=r"The soft value is the hard one plus a number that does not depend on the state, since the curvature of the action values does not, so "
    r"that both Riccati recursions are one. The mean comes from dynamic programming over soft values, the optimal control from minimising the whole cost "
    r"over all controls together. That $\mathcal N(-Kx,\frac\alpha2M^{-1})$ is the maximum entropy policy is held against other Gaussian policies.",
)
def the_mean_is_the_optimal_control(p: Problem) -> list[Check]:
    """The mean at a state against the first of the jointly optimal controls; and a Gaussian challenger."""
    xp = namespace(p.state)
    backup = _first_backup(p)
    best, joint_pivots = _joint_minimiser(p)
    mean = -times(backup.gain, p.state)
    _, pivots = eliminate(backup.curvature, backup.curvature)
    factor = lower_triangular(p.other_diagonal, p.other_below)
    gap = gaussian_soft_gap(p.shift, factor, backup.curvature, p.log_other_diagonal, pivots, p.alpha)
    condition = _condition(p, pivots, joint_pivots)
    spread: Any = 1.0
    if xp.name == "float64":
        terms = (size(p.shift) + size(factor)) ** 2 * size(backup.curvature)
        spread = terms + p.alpha * (1 + size(p.log_other_diagonal) + abs(xp.log(p.alpha)) + condition**0.5)
    return [
        Check("the same control", mean, "==", best, scale=size(p.state) * condition),
        Check("no Gaussian policy has more", gap, ">=", gap * 0, scale=spread),
    ]


def _positive(shape: tuple[str, ...]) -> Positive:
    return Positive(shape, high=9, exponents=(-1, 1))


the_mean_is_the_optimal_control.both_readings(
    space=Space(
        {
            "transition": Modest(("n", "n")),
            "control": Modest(("n", "m")),
            "state_factor": Modest(("n", "n")),
            "control_diagonal": _positive(("m",)),
            "control_below": Modest(("m", "m")),
            "discount": Unit(),
            "alpha": Positive(exponents=(-2, 2)),
            "state": Real(("n",), exponents=(-1, 1)),
            "shift": Real(("m",), exponents=(-3, 1)),
            "other_diagonal": _positive(("m",)),
            "other_below": Modest(("m", "m")),
        },
        {"n": (1, 2), "m": (1, 2), "steps": (1, 2, 3)},
        counts=("steps",),
    ),
    assumptions=[LINEAR_QUADRATIC, HORIZON, TEMPERATURE, "the policy of Eq. 6"],
    effort=0.2,
)


def _without_repulsion(samples: Any, gradients: Any, bandwidth: Any) -> Any:
    """The directions of one-dimensional samples when the gradient of the kernel is left out, (..., M)."""
    points = samples[..., None]
    kernel = rbf_kernel(points, points, bandwidth)
    return svgd_direction(kernel, kernel[..., None] * 0, gradients[..., None], 0)[..., 0]


@claim(
    "soft_q.sec4.map",
    where="Sec. 4",
    title="Without the term of the kernel the actor estimates a MAP action",
    statement=r"Without the $\kappa$ term the actor would estimate a maximum a posteriori (MAP) action.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="a MAP action",
    intended_statement=r"Where $Q$ is concave in the action, every step of such an actor of length at most 1/smoothness raises the mean of $Q$ over the samples until all "
    r"are at its maximum.",
    explanation=r"What is left follows $\nabla Q$, so the objective is the mean of $Q$, which the MAP action maximises: that much is true. But the actor stops at any local "
    r"maximum, and several of its samples may stop at different ones, so that it need not even settle on one action. Judged for $Q'(a)=-a(a-g)(a-g-g')$, "
    r"with all samples at the peak $0$, where every direction is 0 whether or not the gradients are weighted by $\kappa$, and $Q''(0)<0$. The "
    r"authors know that DDPG, which they call the MAP variant of their method, may commit to the lesser mode (Sec. 5.2), and may mean no more than an estimate.",
    hand_check=r"$Q'(a)=-a(a-1)(a-3)$: the actor at $a=0$ stays and attracts everything below 1, but $Q(3)-Q(0)=\frac94$.",
)
def ascent_ends_at_the_maximum(p: Problem) -> list[Check]:
    """Samples of a concave quadratic Q: a step with kernel weights, and one along the bare gradient, as in DDPG."""
    xp = namespace(p.samples)
    curvature, centre = row(p.curvature), row(p.centre)
    gradients = -curvature * (p.samples - centre)
    directions = _without_repulsion(p.samples, gradients, p.bandwidth)
    before, after = (
        -curvature * (x - centre) * (x - centre) / 2
        for x in (p.samples, p.samples + row(p.share) / curvature * directions)
    )
    rate = xp.sum(gradients * directions) * p.share / p.curvature
    stepped = p.samples + row(p.share) / curvature * gradients
    scale = p.curvature * (size(p.samples) + size(p.centre)) ** 2 if xp.name == "float64" else 1.0
    near = size(p.samples) + size(p.centre)
    return [
        Check("a step raises Q", xp.sum(after - before), ">=", rate / 2, scale=scale),
        Check("the direction points uphill", rate, ">=", rate * 0, scale=scale),
        Check("samples approach", stepped - centre, "==", (1 - row(p.share)) * (p.samples - centre), scale=near),
    ]  # fmt: skip


def the_actor_stops_at_the_best_peak(p: Problem) -> list[Check]:
    """The other peak against the one at which all samples stay."""
    xp = namespace(p.gap)
    peaks = xp.stack([p.gap * 0, p.gap, p.gap + p.other_gap], axis=-1)
    samples = peaks[..., :1] + xp.asarray([0, 0])
    gradients = -_product_of_three(samples[..., :, None] - peaks[..., None, :])
    moved = _without_repulsion(samples, gradients, p.gap * 0 + 1)
    rise = (p.gap + p.other_gap) * (p.gap + p.other_gap) * (p.gap + p.other_gap) * (p.other_gap - p.gap) / 12
    return [
        Check("a MAP action", rise, "<=", rise * 0, scale=xp.abs(rise) if xp.name == "float64" else 1.0),
        Check("the samples stay", moved, "==", moved * 0, asserted=False),
    ]


def _product_of_three(x: Any) -> Any:
    return x[..., 0] * x[..., 1] * x[..., 2]


ascent_ends_at_the_maximum.reading(
    "literal",
    space=Space({"gap": Positive(), "other_gap": Positive()}),
    assumptions=[TEMPERATURE, "the update of Eqs. 13 and 14 without the gradient of the kernel, exact"],
    sides=the_actor_stops_at_the_best_peak,
)
ascent_ends_at_the_maximum.reading(
    "intended",
    space=Space(
        {
            "samples": Real(("samples_number",), exponents=(-1, 1)),
            "centre": Real(exponents=(-1, 1)),
            "curvature": Positive(),
            "bandwidth": Positive(exponents=(-2, 2)),
            "share": Unit(),
        },
        {"samples_number": (1, 2, 3)},
    ),
    adds=["Q is concave in the action (judged for quadratic functions)", "steps of at most 1/smoothness"],
)
