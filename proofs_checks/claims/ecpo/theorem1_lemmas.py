"""Appendix A.3: Lemmas 3, 4 and 5, on which Theorem 1 rests."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expectation, kl, mixture, nearest_on_segment
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURES, inside_the_segment, lifted, on_support
from proofs_checks.claims.ecpo.theorem1 import CONVEX
from proofs_checks.claims.terms import size
from proofs_checks.fields import Bounded, NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem, Space


@claim(
    "ecpo.thm1.lemma3",
    where="App. A.3, Lemma 3",
    title="Projection onto a convex class comes no farther from its members",
    statement=r"$\forall\pi\in\Pi:\ D_{KL}(\pi\Vert\pi_{t+1})\le D_{KL}(\pi\Vert\bar\pi_{t+1})$ with $\pi_{t+1}="
    r"\arg\min_{\pi\in\Pi}D_{KL}(\bar\pi_{t+1}\Vert\pi)$, $\forall t\ge0$.",
    kind="inequality",
    shape=POINTWISE,
    condition="distance",
    explanation="Judged on segments, the convex classes in which every comparison of two members takes place: by the "
    "optimality condition at the projection, seen from the member pi, only the segment between the two matters.",
)
def projection_comes_no_farther(p: Problem) -> Check:
    """Any member of a segment is at least as near to the projection as to the lift that was projected."""
    xp = namespace(p.first_end)
    target = lifted(p, xp.log(mixture(p.first_end, p.second_end, p.current)))
    new = mixture(p.first_end, p.second_end, nearest_on_segment(xp.exp(target), p.first_end, p.second_end))
    member = xp.log(mixture(p.first_end, p.second_end, p.member))
    sound = inside_the_segment(p, target)
    return Check("distance", kl(member, xp.log(new)), "<=", kl(member, target), scale=10.0, given=sound)


projection_comes_no_farther.both_readings(
    space=Space(
        {
            "first_end": Simplex(("n",), exponents=(-6, 0)),
            "second_end": Simplex(("n",), exponents=(-6, 0)),
            "current": Unit(),
            "member": Unit(),
            "returns": Real(("n",), exponents=(-2, 1)),
            "tau": Positive(exponents=(-1, 2)),
            "tau_prime": NonNegative(exponents=(-1, 2)),
        },
        {"n": (2, 3, 5)},
    ),
    assumptions=[DETERMINISTIC, CONVEX, TEMPERATURES, "the minimum is attained"],
)

_LEMMA4_SPACE = Space(
    {
        "policy": Simplex(("n",)),
        "returns": Bounded(("n",)),
        "tau": Positive(exponents=(-3, 3)),
        "tau_prime": NonNegative(exponents=(-3, 3)),
    },
    {"n": (1, 2, 3, 6, 24)},
)


def lemma4(p: Problem, radius: Any, scale: Any) -> Check:
    """Lemma 4 with 1 replaced by the square of a radius."""
    lift, logs = lifted(p, p.log_policy), on_support(p.log_policy, p.support_policy)
    eta = p.tau + p.tau_prime
    difference = expectation(p.log_policy, logs) - expectation(lift, logs)
    right = radius * radius / (2 * eta * eta) + p.tau_prime / eta * difference
    return Check("divergence", kl(p.log_policy, lift), "<=", right, scale=scale)


@claim(
    "ecpo.thm1.lemma4",
    where="App. A.3, Lemma 4",
    title="Bound on the divergence from the policy to its lift",
    statement=r"$D_{KL}(\pi_t\Vert\bar\pi_{t+1})\le\frac1{2(\tau+\tau')^2}+\frac{\tau'}{\tau+\tau'}(\pi_t-\bar\pi_{t+1})^\top\log\pi_t$.",
    kind="inequality",
    shape=POINTWISE,
    condition="divergence",
    explanation="Pinsker's inequality and the largest value of a quadratic.",
)
def divergence_to_the_lift(p: Problem) -> Check:
    """The divergence of the policy from its lift, for rewards within [-1, 1]."""
    return lemma4(p, 1, size(on_support(p.log_policy, p.support_policy)))


divergence_to_the_lift.both_readings(
    space=_LEMMA4_SPACE, assumptions=[DETERMINISTIC, "rewards within [-1, 1] (stated in the proof)", TEMPERATURES]
)


@claim(
    "ecpo.thm1.lemma5",
    where="App. A.3, Lemma 5",
    title="Bound on the divergence from the lift to the policy",
    statement=r"$D_{KL}(\bar\pi_{t+1}\Vert\pi_t)\le\frac1{2\tau(\tau+\tau')}+\frac{\tau'}\tau\log n$.",
    kind="inequality",
    shape=POINTWISE,
    condition="divergence",
    explanation=r"It divides by $\tau$: at the first step of Theorem 1's schedules, where $\tau<0$, its right side is negative "
    "and it cannot be used.",
)
def divergence_from_the_lift(p: Problem) -> Check:
    """The divergence of the lift from the policy, for rewards within [-1, 1]."""
    xp = namespace(p.policy)
    eta = p.tau + p.tau_prime
    right = 1 / (2 * p.tau * eta) + p.tau_prime / p.tau * xp.log(xp.asarray(p.n))
    scale = size(on_support(p.log_policy, p.support_policy))
    return Check("divergence", kl(lifted(p, p.log_policy), p.log_policy), "<=", right, scale=scale)


divergence_from_the_lift.both_readings(
    space=_LEMMA4_SPACE, assumptions=[DETERMINISTIC, "rewards within [-1, 1] (as in Lemma 4)", TEMPERATURES]
)
