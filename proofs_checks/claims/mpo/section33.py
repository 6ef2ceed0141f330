"""Section 3.3: what the M-step maximises (Eq. 10), and its hard constraint (Eqs. 11 and 12)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import entropy, expected_kl, kl, mstep_objective, mstep_target
from exactrl.formulas.divergences import cross_entropy
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, Given, claim
from proofs_checks.claims.mpo.common import FINITE, weighted_mean
from proofs_checks.claims.mpo.regularised import (
    INFINITE_DIVERGENCE,
    discounted_sum,
    lacking,
    plain_value,
    regularised_size,
    regularised_value,
)
from proofs_checks.claims.soft_q.common import INFINITE_HORIZON, MODEL
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Discount, Field, Positive, Simplex
from proofs_checks.instances import Problem, Space

TEMPERATURE = "alpha > 0"
TWO_MEMBERS = "theta is one of two, of prior probabilities p(theta) > 0"


@claim(
    "mpo.eq10",
    where="Sec. 3.3, Eq. 10",
    title="The M-step maximises the lower bound",
    statement=r"$\max_\theta\mathcal J(q_i,\theta)=\max_\theta\mathbb E_{\mu_q(s)}\left[\mathbb E_{q(a\mid s)}[\log\pi(a\mid s,\theta)]\right]+\log p(\theta)$ after "
    r"dropping terms independent of $\theta$.",
    kind="identity",
    shape=POINTWISE,
    condition="same maximiser",
    intended_statement=r"$\mathcal J(q,\theta)=C+\frac\alpha{1-\gamma}\left[\mathbb E_{d_q}\mathbb E_q\log\pi(a\mid s,\theta)+\frac{1-\gamma}\alpha\log p(\theta)\right]$, where $d_q$ is the "
    r"normalised discounted state distribution of $q$ and $C$ does not depend on $\theta$; so both have the same maximisers.",
    explanation=r"In Eq. (3) the expectation of $\log\pi$ has the factor $\alpha$ and is summed over discounted steps, and the prior is not. So what is left of "
    r"$\mathcal J$ is $\frac\alpha{1-\gamma}\mathbb E_{d_q}\mathbb E_q\log\pi+\log p(\theta)$: the factor cannot be dropped beside a prior that depends on $\theta$, though it "
    r"can be absorbed in it; and the states count as often as $q$ meets them from the start, discounted, not as in the stationary distribution, which changes the "
    r"maximiser wherever states share parameters. Judged as: of two parameters the one that Eq. (10) prefers is no worse under $\mathcal J$; in the literal reading the next "
    r"state is drawn from $\mu_q$ whatever came before, so that $\mu_q$ is stationary, and rewards are 0. Without a prior, and with a parameter for every state, the "
    r"maximiser is $q$ under either distribution.",
    hand_check=r"One state, $\gamma=0$, $\alpha=2$, $q=(1,0)$, $\pi_1=q$, $\pi_2=(1/2,1/2)$, $p=(1/4,3/4)$: Eq. (10) has $\log\frac14<\log\frac12+\log\frac34=\log\frac38$, and $\mathcal J$ "
    r"has $\log\frac14>2\log\frac12+\log\frac34=\log\frac3{16}$.",
)
def the_mstep_maximises_the_bound(p: Problem) -> list[Check]:
    """The bound of each member by linear systems, against its closed form; and the order of the two."""
    factor = p.alpha / (1 - p.discount)
    constant = weighted_mean(p.initial, plain_value(p, p.log_target, p.rewards))
    nothing_lacks = lacking(p.support_target, p.support_target)
    spread = discounted_sum(p, p.log_target, p.support_target, entropy(p.log_target), nothing_lacks)
    constant = constant + p.alpha * weighted_mean(p.initial, spread)
    bounds, objectives = [], []
    members = (p.log_first, p.support_first), (p.log_second, p.support_second)
    for i, (log_member, support) in enumerate(members):
        value = regularised_value(p, p.log_target, p.support_target, log_member, support, p.rewards)
        bounds.append(weighted_mean(p.initial, value) + p.log_prior[..., i])
        likelihood = -cross_entropy(p.log_target, log_member)
        visited = discounted_sum(p, p.log_target, p.support_target, likelihood, lacking(p.support_target, support))
        objectives.append((1 - p.discount) * weighted_mean(p.initial, visited) + p.log_prior[..., i] / factor)
    scale = regularised_size(p, p.rewards, p.log_prior, logs=(p.log_target, p.log_first, p.log_second))
    exact = [
        Check("objective", bound, "==", constant + factor * objective, scale=scale)
        for bound, objective in zip(bounds, objectives, strict=True)
    ]
    preferred: Given = ((objectives[0], ">", objectives[1]),)
    return [*exact, Check("same maximiser", bounds[1], "<=", bounds[0], scale=scale, given=preferred)]


def the_printed_mstep_maximises_the_bound(p: Problem) -> list[Check]:
    """Of the two members the one that Eq. 10 prefers, with the prior and without it, against the bound."""
    ahead = p.discount / (1 - p.discount)
    printed, bound = [], []
    for log_member in (p.log_first, p.log_second):
        divergence = kl(p.log_target, log_member)
        printed.append(mstep_objective(p.log_target, log_member, p.weights))
        bound.append(-p.alpha * (weighted_mean(p.initial, divergence) + ahead * weighted_mean(p.weights, divergence)))
    checks = []
    for name, prior in (("same maximiser", p.log_prior), ("same maximiser without a prior", p.log_prior * 0)):
        left, right = (x + prior[..., i] for i, x in enumerate(bound))
        first, second = (x + prior[..., i] for i, x in enumerate(printed))
        checks.append(Check(name, right, "<=", left, given=((first, ">", second),)))
    return checks


_SHORT = (-3, 0)


def _table(*, zeros: bool = True) -> Simplex:
    return Simplex(("states", "actions"), zeros=zeros, exponents=_SHORT)


_MEMBERS: dict[str, Field] = {
    "target": _table(),
    "first": _table(),
    "second": _table(),
    "prior": Simplex((2,), zeros=False, exponents=_SHORT),
    "initial": Simplex(("states",), exponents=_SHORT),
    "discount": Discount(),
}
_SIZES = {"states": (1, 2), "actions": (1, 2, 3)}
the_mstep_maximises_the_bound.reading(
    "literal",
    space=Space(
        {
            **_MEMBERS,
            "first": _table(zeros=False),
            "second": _table(zeros=False),
            "weights": Simplex(("states",), exponents=_SHORT),
            "alpha": Positive(exponents=(-2, 1)),
        },
        _SIZES,
    ),
    assumptions=[
        FINITE,
        INFINITE_HORIZON,
        TEMPERATURE,
        TWO_MEMBERS,
        "mu_q the stationary distribution of q",
        INFINITE_DIVERGENCE,
    ],
    sides=the_printed_mstep_maximises_the_bound,
    effort=0.3,
)
the_mstep_maximises_the_bound.reading(
    "intended",
    space=Space({**MODEL, **_MEMBERS, "alpha": Positive()}, _SIZES),
    adds=[
        "the distribution is the normalised discounted one, with which Eq. 3 weighs the states",
        "the factor (1 - gamma)/alpha is absorbed in the prior",
    ],
    effort=0.25,
)


def _penalised(p: Problem, log_member: Any) -> tuple[Any, Any]:
    """The objective of the M-step without its penalty, and the divergence that is charged."""
    return mstep_objective(p.log_target, log_member, p.weights), expected_kl(p.log_policy, log_member, p.weights)


@claim(
    "mpo.eq12.rewrite",
    where="Sec. 3.3, Eqs. 11-12",
    title="The penalised M-step can be written with a hard constraint",
    statement=r"$\max_\pi\mathbb E_{\mu_q}\left[\mathbb E_q\log\pi(a\mid s,\theta)-\lambda\mathrm{KL}(\pi(a\mid s,\theta_i),\pi(a\mid s,\theta))\right]$ can be re-written as "
    r"$\max_\pi\mathbb E_{\mu_q}\mathbb E_q\log\pi(a\mid s,\theta)$ s.t. $\mathbb E_{\mu_q}\mathrm{KL}(\pi(a\mid s,\theta_i),\pi(a\mid s,\theta))<\epsilon$.",
    kind="identity",
    shape=POINTWISE,
    condition="some multiplier",
    intended_statement=r"A maximiser of Eq. (11) over any class of policies maximises Eq. (12) with $\le\epsilon$ for its own divergence $\epsilon$. Over all tables that is "
    r"$(q+\lambda\pi_i)/(1+\lambda)$, whose divergence takes every value $0<\epsilon<\mathbb E_{\mu_q}\mathrm{KL}(\pi_i,q)$ as $\lambda$ runs through the positive numbers.",
    explanation=r"Judged as: the maximiser under the constraint maximises the penalised objective for some $\lambda>0$; on classes of three policies, $\pi_i$ among them. Any policy representation is allowed, and "
    r"on a class that is not convex the constrained maximiser may lie below the concave hull of what the class attains, where no $\lambda$ prefers it (a duality gap). "
    r"Even over all tables the two differ where the constraint is idle ($\lambda=0$), and with $<\epsilon$, as printed, a constraint that binds has no maximiser. From the "
    r"penalty to the constraint the step is right for every class.",
    hand_check=r"$\pi_i=(1/3,1/3,1/3)$, $q=(0,0,1)$, a class of $\pi_i$, $\pi_1=(1/5,2/5,2/5)$ and $\pi_2=(1/4,1/4,1/2)$: divergences $0$, $0.049$, $0.057$, objectives $\log\frac13$, $\log\frac25$, "
    r"$\log\frac12$. With $\epsilon=1/20$ the constrained maximiser is $\pi_1$; the penalised objective prefers it to $\pi_i$ for $\lambda<3.8$ only, and to $\pi_2$ for "
    r"$\lambda>28$ only.",
)
def the_penalised_maximiser_solves_the_constrained_problem(p: Problem) -> list[Check]:
    """The mixture against any table; and on any class a maximiser of the one against members within its divergence."""
    mixture = mstep_target(p.log_target, p.log_policy, row(p.penalty))
    best, spent = _penalised(p, mixture)
    other, charged = _penalised(p, p.log_challenger)
    scale: Any = 1.0
    if namespace(p.penalty).name == "float64":
        scale = (1 + p.penalty) * size(p.log_target, p.log_policy, mixture, p.log_challenger, p.log_member)
    checks = [Check("tables", other + p.penalty * spent, "<=", best + p.penalty * charged, scale=scale)]
    member, own = _penalised(p, p.log_member)
    chosen: Given = ((member - p.penalty * own, ">", other - p.penalty * charged), (charged, "<", own))
    return [*checks, Check("any class", other, "<=", member, scale=scale, given=chosen)]


def some_multiplier_has_the_constrained_maximiser(p: Problem) -> Check:
    """The constrained maximiser of three members beats the farther one for multipliers that beat the nearer one too."""
    old, _ = _penalised(p, p.log_policy)
    (near, within), (far, beyond) = (_penalised(p, x) for x in (p.log_near, p.log_far))
    constrained: Given = ((near, ">", old), (within, "<", p.epsilon))
    outside: Given = ((far, ">", near), (beyond, ">=", p.epsilon))
    left, right = (far - near) * within, (near - old) * (beyond - within)
    return Check("some multiplier", left, "<=", right, given=(*constrained, *outside))


def _states_table() -> Simplex:
    return Simplex(("s", "a"), exponents=(-2, 0))


the_penalised_maximiser_solves_the_constrained_problem.reading(
    "literal",
    space=Space(
        {
            "policy": _states_table(),
            "target": _states_table(),
            "near": _states_table(),
            "far": _states_table(),
            "weights": Simplex(("s",), exponents=(-2, 0)),
            "epsilon": Positive(exponents=(-3, 1)),
        },
        {"s": (1,), "a": (2, 3)},
    ),
    assumptions=[
        FINITE,
        "any policy representation (Sec. 3.3)",
        "lambda > 0",
        "epsilon > 0",
        "a divergence is +inf where pi lacks an action of pi_i",
    ],
    sides=some_multiplier_has_the_constrained_maximiser,
    effort=0.3,
)
the_penalised_maximiser_solves_the_constrained_problem.reading(
    "intended",
    space=Space(
        {
            "policy": Simplex(("s", "a")),
            "target": Simplex(("s", "a")),
            "challenger": Simplex(("s", "a")),
            "member": Simplex(("s", "a")),
            "weights": Simplex(("s",)),
            "penalty": Positive(),
        },
        {"s": (1, 2), "a": (1, 2, 3)},
    ),
    adds=[
        "the constraint is read as at most epsilon, as a maximum needs it",
        "epsilon is the divergence of the penalised maximiser",
    ],
)
