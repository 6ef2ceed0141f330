"""Section 2, after Proposition 1: convergence of PMD on convex classes."""

from __future__ import annotations

from exactrl.formulas import expectation, log_lift
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURE, lift_size
from proofs_checks.claims.terms import size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space


@claim(
    "ecpo.pmd.convergence",
    where="Sec. 2, after Proposition 1",
    title="PMD converges to the optimal policy on a convex class",
    statement=r"When $\Pi$ is convex, PMD (lift $\pi_{\theta_t}$ to $\bar\pi^*_\tau$, then project) converges to the optimal policy.",
    kind="convergence",
    shape=CONVERGENCE,
    condition="optimal",
    intended_statement=r"When $\Pi$ is convex and closed and $D_{KL}(\pi\Vert\pi_1)<\infty$ for an optimal $\pi\in\Pi$, the return of "
    r"$\pi_{t+1}$ is at least the optimum minus $\frac{\tau}{t}D_{KL}(\pi\Vert\pi_1)$.",
    explanation="A trajectory of probability 0 keeps it for ever: the lift has the support of the policy that was lifted. A first "
    "policy without the best trajectory never finds it. With its support complete, PMD is the proximal point method and "
    "converges at rate 1/t.",
    hand_check=r"On the whole simplex the projection changes nothing, and a policy with all its mass on one trajectory is its own lift.",
)
def pmd_reaches_the_optimum(p: Problem) -> Check:
    """The limit of the iterates: the best return on the support of the start, against the best of all."""
    xp = namespace(p.start)
    reached = xp.max(xp.where(p.support_start, p.returns, -float("inf")))
    return Check("optimal", reached, "==", xp.max(p.returns), scale=size(p.returns))


pmd_reaches_the_optimum.reading(
    "literal",
    space=Space({"start": Simplex(("n",)), "returns": Real(("n",)), "tau": Positive()}, {"n": (2, 3, 5)}),
    assumptions=[DETERMINISTIC, "Pi is convex (here the whole simplex)", TEMPERATURE],
)


def pmd_converges_at_rate_one_over_t(p: Problem) -> Check:
    """The proximal-point rate on the simplex, from a positive start."""
    xp = namespace(p.start)
    log_policy = p.log_start
    for _ in range(p.steps):
        log_policy = log_lift(log_policy, p.returns, p.tau, 0)
    # A trajectory as comparator is at divergence -log pi_1 from the start; the best of them is the optimum.
    gap = p.returns - expectation(log_policy, p.returns)[..., None]
    bound = xp.per_row(p.tau) * -p.log_start / p.steps
    return Check("rate", gap, "<=", bound, scale=lift_size(p, p.log_start) * p.steps)


pmd_reaches_the_optimum.reading(
    "intended",
    space=Space(
        {"start": Simplex(("n",), zeros=False), "returns": Real(("n",)), "tau": Positive()},
        {"n": (2, 3, 5), "steps": (1, 2, 5, 20)},
        counts=("steps",),
    ),
    adds=["the first policy gives every trajectory positive probability", "Pi is closed (here the whole simplex)"],
    sides=pmd_converges_at_rate_one_over_t,
)
