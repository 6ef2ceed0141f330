"""Maximum a posteriori policy optimisation: the M-step of Sec. 3.3 and the Bellman equations of App. A.1.

A target q(a | s) of the M-step, the policy before it pi_i(a | s), members of the class, weights mu(s) of the states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flint import arb, ctx, fmpq

from .comparison import LADDER
from .exact_input import Field, Rejected
from .extended_reals import exp, over, plus, times
from .quantities import log, total
from .row import POSITIVE, IllPosed, Refuted, readings

Table = list[list[fmpq]]


def certainly_positive(gap: Callable[[], arb], complaint: str) -> None:
    """Reject the instance unless a number is positive beyond doubt."""
    for precision in LADDER:
        with ctx.workprec(precision):
            value = gap()
            if value > 0:
                return
            if value <= 0:
                break
    raise Rejected(complaint)


def covered(weights: list[fmpq], first: Table, second: Table) -> bool:
    """Whether the second table takes every action of the first, in the states of positive weight."""
    for mu, p, m in zip(weights, first, second, strict=True):
        if mu > 0 and any(x > 0 and y == 0 for x, y in zip(p, m, strict=True)):
            return False
    return True


def mean_log(weights: list[fmpq], first: Table, second: Table) -> arb:
    """The sum of mu(s) p(a | s) log m(a | s), where it is finite."""
    return total(
        mu * x * log(y)
        for mu, p, m in zip(weights, first, second, strict=True)
        for x, y in zip(p, m, strict=True)
        if mu > 0 and x > 0
    )


def printed(x: Any, member: Table, prior: fmpq) -> arb:
    """Eq. 10: E_mu E_q log pi + log p(theta)."""
    return mean_log(x.weights, x.target, member) + log(prior)


def bound(x: Any, member: Table, prior: fmpq) -> arb:
    """Eq. 3 for rewards 0: -alpha sum over t of discount^t E KL(q || pi), and log p(theta).

    The first state comes from the initial distribution and every later one from mu, whatever came before; so mu is
    stationary, and the expected discounted visits to s are initial(s) + discount / (1 - discount) mu(s).
    """
    visits = [i + x.discount / (1 - x.discount) * mu for i, mu in zip(x.initial, x.weights, strict=True)]
    spread = mean_log(visits, x.target, x.target) - mean_log(visits, x.target, member)
    return log(prior) - spread * arb(x.alpha)


def mpo_eq10(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The bound at the second member, against that at the first, which Eq. 10 prefers."""
    return bound(x, x.second, x.prior[1]), bound(x, x.first, x.prior[0])


def mpo_eq10_domain(x: Any, _: str) -> None:
    """Eq. 10 prefers the first member."""
    certainly_positive(
        lambda: printed(x, x.first, x.prior[0]) - printed(x, x.second, x.prior[1]),
        "first: Eq. 10 does not certainly prefer it to the second",
    )


def mpo_eq10_no_prior(x: Any, _: list[int]) -> tuple[Any, Any]:
    """The same without log p(theta), that is with the prior 1 for both."""
    return bound(x, x.second, fmpq(1)), bound(x, x.first, fmpq(1))


def mpo_eq10_no_prior_domain(x: Any, _: str) -> None:
    """The expected logarithm prefers the first member."""
    certainly_positive(
        lambda: printed(x, x.first, fmpq(1)) - printed(x, x.second, fmpq(1)),
        "first: the expected logarithm does not certainly prefer it to the second",
    )


def divergence_from_old(x: Any, member: Table) -> arb:
    """E_mu KL(pi_i || member)."""
    return mean_log(x.weights, x.policy, x.policy) - mean_log(x.weights, x.policy, member)


def mpo_eq12(x: Any, _: list[int]) -> tuple[Any, Any]:
    """With objective o and divergence k, near is preferred by o - lambda k to far if lambda is at least
    (o_far - o_near) / (k_far - k_near), and to the old policy if lambda is at most (o_near - o_old) / k_near.

    Some lambda does both only if the first quotient is at most the second: both multiplied by the denominators.
    """
    old, near, far = (mean_log(x.weights, x.target, m) for m in (x.policy, x.near, x.far))
    within, beyond = (divergence_from_old(x, m) for m in (x.near, x.far))
    return (far - near) * within, (near - old) * (beyond - within)


def mpo_eq12_domain(x: Any, _: str) -> None:
    """Of old, near and far only far is outside the constraint, and near is the better one of the others."""
    for name, member in (("policy", x.policy), ("near", x.near), ("far", x.far)):
        if not (covered(x.weights, x.target, member) and covered(x.weights, x.policy, member)):
            raise Rejected(f"{name}: lacks an action of the target or of the old policy, so that an infinity decides")

    def better(member: Table, other: Table) -> arb:
        return mean_log(x.weights, x.target, member) - mean_log(x.weights, x.target, other)

    def beyond(member: Table) -> arb:
        return divergence_from_old(x, member) - arb(x.epsilon)

    certainly_positive(lambda: better(x.near, x.policy), "near: not certainly better than the old policy")
    certainly_positive(lambda: -beyond(x.near), "near: not certainly within epsilon")
    certainly_positive(lambda: better(x.far, x.near), "far: not certainly better than near")
    certainly_positive(lambda: beyond(x.far), "far: not certainly beyond epsilon")


def mpo_prop2(x: Any, component: list[int]) -> tuple[Any, Any]:
    """The least probability under pi of an action that q takes in a state: where it is 0, KL(q || pi) is infinite.

    Then T V is -inf in that state for every real V, and no real V is a fixed point.
    """
    (s,) = component
    return min(p for p, q in zip(x.policy[s], x.q[s], strict=True) if q > 0), 0


def mpo_eq16(x: Any) -> None:
    """r - alpha log(q / pi) + discount V at every action of one state.

    There q is pi e^{r / alpha} / Z with Z the sum of pi e^{r / alpha}: the continuation discount V is the same for all
    actions.  And V is alpha log Z / (1 - discount).
    """
    weights = [times(p, exp(r / x.alpha)) for p, r in zip(x.policy, x.rewards, strict=True)]
    mass = total(weights)
    value = x.alpha * log(mass) / (1 - x.discount)
    for p, r, weight in zip(x.policy, x.rewards, weights, strict=True):
        plus(r - x.alpha * log(over(weight / mass, p)), x.discount * value)


TABLE_SA, FULL_SA = Field("distribution", ("S", "A")), Field("positive distribution", ("S", "A"))
EQ10 = {
    "target": TABLE_SA, "first": FULL_SA, "second": FULL_SA, "prior": Field("positive distribution", (2,)),
    "initial": Field("distribution", ("S",)), "weights": Field("distribution", ("S",)), "discount": Field("discount"),
    "alpha": POSITIVE,
}  # fmt: skip
EQ12 = {
    "policy": TABLE_SA, "target": TABLE_SA, "near": TABLE_SA, "far": TABLE_SA,
    "weights": Field("distribution", ("S",)), "epsilon": POSITIVE,
}  # fmt: skip

ROWS: dict[tuple[str, str], Refuted | IllPosed] = {
    ("mpo.eq10", "same maximiser"): Refuted(
        "<=", readings(EQ10), mpo_eq10,
        "the bound at the second parameter", "that at the one Eq. 10 prefers", domain=mpo_eq10_domain,
    ),
    ("mpo.eq10", "same maximiser without a prior"): Refuted(
        "<=", readings(EQ10), mpo_eq10_no_prior,
        "the bound at the second parameter", "that at the one Eq. 10 prefers", domain=mpo_eq10_no_prior_domain,
    ),
    ("mpo.eq12.rewrite", "some multiplier"): Refuted(
        "<=", readings(EQ12), mpo_eq12,
        "what the multiplier needs against the farther policy", "what it may be for the nearer one, cross-multiplied",
        domain=mpo_eq12_domain,
    ),
    ("mpo.prop2.regularised", "covered"): Refuted(
        ">", readings({"policy": TABLE_SA, "q": FULL_SA}), mpo_prop2,
        "the least probability under pi of an action that q takes", "", component=("S",),
    ),
    ("mpo.prop2.eq16", "defined"): IllPosed(
        readings({
            "rewards": Field("real", ("A",)), "alpha": POSITIVE, "policy": Field("distribution", ("A",)),
            "discount": Field("discount"),
        }),
        mpo_eq16,
    ),
}  # fmt: skip
