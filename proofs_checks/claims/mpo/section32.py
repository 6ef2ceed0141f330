"""Section 3.2: the E-step under a hard constraint, its solution and its dual (Eqs. 7-9)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import dual_value, expected_kl
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.mpo.common import (
    ETA,
    FINITE,
    RADIUS,
    estep_space,
    log_normaliser,
    term_size,
    tilted,
    value_of,
)
from proofs_checks.fields import NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem

CLOSED = "the constraint is read as at most epsilon, as a maximum needs it"
BINDING = "epsilon is the divergence of a policy of Eq. 8, so that the constraint binds"
_ACTIVE = r"$\epsilon<\mathbb E_\mu[-\log\pi(A^*_s\mid s)]$, where $A^*_s$ are the actions of largest $Q$ among those that $\pi$ takes"


def _greedy(p: Problem) -> tuple[Any, Any]:
    """The divergence of the greedy policy nearest to pi, and the weight of the actions of pi that it gives up."""
    xp = namespace(p.log_policy)
    allowed = xp.where(p.support_policy, p.q_values, float("-inf"))
    below = (xp.max(allowed, keepdims=True) > allowed) & p.support_policy
    left = xp.logsumexp(xp.where(below, float("-inf"), p.log_policy))
    some = below.any(axis=-1)
    divergence = xp.sum(xp.weighted(p.weights, xp.where(some, -left, left * 0)))
    lost = xp.sum(xp.where(some & p.support_weights, p.weights, p.weights * 0))
    return divergence, lost


_WHOLE: dict[str, Any] = {
    "policy": Simplex(("s", "a"), exponents=(-20, 0)),
    "q_values": Real(("s", "a"), exponents=(0, 3)),
    "epsilon": Positive(exponents=(-3, 1)),
}


def solution_has_the_printed_form(p: Problem) -> Check:
    """Some optimal policy without the constraint would have to be outside it."""
    divergence, lost = _greedy(p)
    return Check("of the printed form", divergence, ">", p.epsilon, given=((lost, ">", p.epsilon * 0),))


@claim(
    "mpo.eq8",
    where="Sec. 3.2, Eqs. 7-8",
    title="Closed form of the constrained E-step",
    statement=r"The solution of $\max_q\mathbb E_{\mu(s)}\mathbb E_{q(a\mid s)}[Q_{\theta_i}(s,a)]$ s.t. $\mathbb E_{\mu(s)}"
    r"[\mathrm{KL}(q(a\mid s),\pi(a\mid s,\theta_i))]<\epsilon$ is $q_i(a\mid s)\propto\pi(a\mid s,\theta_i)\exp\left("
    r"\frac{Q_{\theta_i}(s,a)}{\eta^*}\right)$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    intended_statement=r"If $\epsilon=\mathbb E_\mu[\mathrm{KL}(q_\eta,\pi)]$ for $q_\eta\propto\pi e^{Q/\eta}$, then $q_\eta$ solves the program "
    r"with $\le\epsilon$. Such an $\eta>0$ exists for every $0<\epsilon<\mathbb E_\mu[-\log\pi(A^*_s\mid s)]$, where $A^*_s$ are the "
    r"actions of largest $Q$ among those that $\pi$ takes.",
    explanation="Where the constraint leaves room for a greedy policy, that one is optimal, and every optimal policy takes none but "
    r"the best actions; Eq. (8) gives every action of $\pi$ positive probability, whatever $\eta^*>0$. The greedy policy is the limit of Eq. (8) as "
    r"$\eta\to0$; where the constraint binds, Eq. (8) is right.",
    hand_check=r"$\pi=(1/2,1/2)$, $Q=(0,1)$, $\epsilon=1$: $q=(0,1)$ has divergence $\log2<1$ and value 1, the largest there is; "
    "Eq. (8) has values below 1 only.",
)
def the_tilted_policy_is_optimal(p: Problem) -> Check:
    """Less eta times its divergence no challenger has more, so that none of at most this divergence has more at all."""
    log_q = tilted(p, p.eta)
    radius, spread = (expected_kl(x, p.log_policy, p.weights) for x in (log_q, p.log_challenger))
    best, other = value_of(p, log_q), value_of(p, p.log_challenger)
    scale = term_size(p, p.eta)
    return Check("no challenger is better", other - p.eta * spread, "<=", best - p.eta * radius, scale=scale)


the_tilted_policy_is_optimal.reading(
    "literal",
    space=estep_space(**_WHOLE),
    assumptions=[FINITE, RADIUS],
    sides=solution_has_the_printed_form,
)
_CHALLENGED: dict[str, Any] = {"eta": Positive(), "challenger": Simplex(("s", "a"))}
the_tilted_policy_is_optimal.reading("intended", space=estep_space(**_CHALLENGED), adds=[CLOSED, BINDING])


@claim(
    "mpo.eq9.convex",
    where="Sec. 3.2, Eq. 9",
    title="The dual of the E-step is convex",
    statement=r"$g(\eta)=\eta\epsilon+\eta\int\mu(s)\log\int\pi(a\mid s,\theta_i)\exp\left(\frac{Q_{\theta_i}(s,a)}\eta\right)da\,ds$ "
    "is convex.",
    kind="inequality",
    shape=POINTWISE,
    condition="convex",
    explanation=r"$\eta\log\mathbb E_\pi e^{Q/\eta}$ is the perspective of the cumulant function of $Q$.",
)
def the_dual_is_convex(p: Problem) -> Check:
    """The dual between two temperatures against the chord."""
    low, high, share = p.eta, p.other_eta, p.share
    between = (1 - share) * low + share * high
    ends = (dual_value(p.log_policy, p.q_values, p.weights, x, p.epsilon) for x in (low, high))
    middle = dual_value(p.log_policy, p.q_values, p.weights, between, p.epsilon)
    first, second = ends
    scale = term_size(p, low, high) + p.epsilon * (low + high)
    return Check("convex", middle, "<=", (1 - share) * first + share * second, scale=scale)


the_dual_is_convex.both_readings(
    space=estep_space(eta=Positive(), other_eta=Positive(), share=Unit(), epsilon=NonNegative()),
    assumptions=[FINITE, ETA, "epsilon >= 0"],
)


@claim(
    "mpo.eq9.duality",
    where="Sec. 3.2, Eq. 9; App. D.2",
    title="The dual has the value of the constrained E-step",
    statement=r"$g$ is the dual function of the program in Eq. 7: its minimal value over $\eta>0$ equals the optimal value of Eq. 7.",
    kind="identity",
    shape=OPTIMALITY,
    condition="weak duality",
    explanation="Judged in three parts that make it up: every policy has at most the value of the dual at its own divergence; they "
    r"meet at $\epsilon=\mathbb E_\mu[\mathrm{KL}(q_\eta,\pi)]$, which takes every value below the divergence of the greedy policy; and beyond that the "
    r"dual comes down to the greedy value as $\eta\to0$.",
)
def the_dual_has_the_value_of_the_program(p: Problem) -> list[Check]:
    """Weak duality, equality at a policy of Eq. 8, and the greedy value as an upper bound of the second term."""
    xp = namespace(p.log_policy)
    log_q = tilted(p, p.eta)
    radius, spread = (expected_kl(x, p.log_policy, p.weights) for x in (log_q, p.log_challenger))
    soft = log_normaliser(p, p.eta)
    greedy = xp.max(xp.where(p.support_policy, p.q_values, float("-inf")))
    scale = term_size(p, p.eta)
    return [
        Check("weak duality", value_of(p, p.log_challenger), "<=", p.eta * spread + soft, scale=scale),
        Check("strong duality", value_of(p, log_q), "==", p.eta * radius + soft, scale=scale),
        Check("greedy value", soft, "<=", xp.sum(xp.weighted(p.weights, greedy)), scale=scale),
    ]


the_dual_has_the_value_of_the_program.both_readings(
    space=estep_space(**_CHALLENGED),
    assumptions=[FINITE, RADIUS, "the minimal value is the infimum of g, the optimal value a supremum"],
)


@claim(
    "mpo.eq9.minimiser",
    where="Sec. 3.2, Eq. 9",
    title="The temperature of the E-step minimises the dual",
    statement=r"The $\eta^*$ of Eq. 8 is obtained by minimising $g(\eta)$.",
    kind="existence",
    shape=EXISTENCE,
    condition="minimal",
    intended_statement=r"If $\epsilon=\mathbb E_\mu[\mathrm{KL}(q_\eta,\pi)]$, as some $\eta>0$ has it whenever "
    + _ACTIVE
    + r", then $g$ is least at $\eta$.",
    explanation=r"$g'(\eta)=\epsilon-\mathbb E_\mu[\mathrm{KL}(q_\eta,\pi)]$, and the divergence rises from 0 to that of the greedy policy, "
    r"$\mathbb E_\mu[-\log\pi(A^*_s\mid s)]$, as $\eta$ falls to 0, without reaching it unless $Q$ is constant. So $g$ has no minimiser "
    r"on $\eta>0$ where $\epsilon$ is at least that large. (Instances on which $Q$ is constant, where Eq. (8) does not depend on $\eta$, are left aside.)",
    hand_check=r"$\pi=(1/2,1/2)$, $Q=(0,1)$, $\epsilon=1$: $g(\eta)=\eta(1-\log2)+\eta\log(1+e^{1/\eta})$ rises everywhere, from 1.",
)
def the_dual_is_least_at_the_temperature(p: Problem) -> Check:
    """No temperature has a smaller dual than the one whose divergence is epsilon."""
    radius = expected_kl(tilted(p, p.eta), p.log_policy, p.weights)
    here, there = (dual_value(p.log_policy, p.q_values, p.weights, x, radius) for x in (p.eta, p.other_eta))
    scale = term_size(p, p.eta, p.other_eta) * (1 + p.other_eta / p.eta)
    return Check("minimal", here, "<=", there, scale=scale)


def the_dual_has_a_minimiser(p: Problem) -> Check:
    """The divergence of the greedy policy, which that of Eq. 8 stays below, would have to exceed epsilon."""
    divergence, lost = _greedy(p)
    return Check("a minimiser exists", divergence, ">", p.epsilon, given=((lost, ">", p.epsilon * 0),))


the_dual_is_least_at_the_temperature.reading(
    "literal",
    space=estep_space(**_WHOLE),
    assumptions=[FINITE, RADIUS],
    sides=the_dual_has_a_minimiser,
)
the_dual_is_least_at_the_temperature.reading(
    "intended", space=estep_space(eta=Positive(), other_eta=Positive()), adds=[CLOSED, BINDING]
)
