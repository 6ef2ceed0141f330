"""Appendix A.3: the steps by which Theorem 1 is proved."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    expectation,
    kl,
    mixture,
    nearest_on_segment,
    theorem1_temperatures,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, Printed, claim
from proofs_checks.claims.ecpo.common import (
    DETERMINISTIC,
    POSITIVE_POLICY,
    TEMPERATURES,
    inside_the_segment,
    lift_size,
    lifted,
    on_support,
    printed_divergence,
    printed_lift,
)
from proofs_checks.claims.ecpo.theorem1 import CONVEX, FIXED, segment_regret, simplex_regret
from proofs_checks.claims.ecpo.theorem1_lemmas import lemma4
from proofs_checks.claims.terms import size
from proofs_checks.extended import Extended, total, xlog
from proofs_checks.fields import Bounded, NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Instance, Problem, Space
from proofs_checks.symbolic import three_point_identity

BOUNDED = "rewards within [-1, 1]"


def _lemma4(p: Problem, radius: Any) -> Check:
    logs = on_support(p.log_policy, p.support_policy)
    return lemma4(p, radius, size(logs) * (1 + size(p.returns) / (p.tau + p.tau_prime)))


@claim(
    "ecpo.thm1.lemma4.wlog",
    where="App. A.3, proof of Lemma 4",
    title="Bounded rewards lose no generality in Lemma 4",
    statement=r"In Lemma 4 the assumption $\lVert r\rVert_\infty\le1$ is without loss of generality.",
    kind="identity",
    shape=POINTWISE,
    condition="divergence",
    intended_statement=r"For rewards of any size $R=\lVert r\rVert_\infty$ the lemma holds with $\frac{R^2}{2(\tau+\tau')^2}$: rewards "
    "and temperatures are rescaled together.",
    explanation="Dividing rewards and temperatures by the same number leaves the lift as it is, but not the right side, in which the "
    "temperatures stand alone.",
    hand_check=r"Both sides of Lemma 4 at the instance, whose rewards are larger than 1.",
)
def lemma4_for_any_rewards(p: Problem) -> Check:
    """Lemma 4 with rewards of any size."""
    return _lemma4(p, 1)


def _lemma4_space() -> Space:
    fields = {
        "policy": Simplex(("n",), exponents=(-12, 0)),
        "returns": Real(("n",), exponents=(-2, 2)),
        "tau": Positive(exponents=(-2, 2)),
        "tau_prime": NonNegative(exponents=(-2, 2)),
    }
    return Space(fields, {"n": (1, 2, 3, 24)})


lemma4_for_any_rewards.reading("literal", space=_lemma4_space(), assumptions=[DETERMINISTIC, TEMPERATURES])
lemma4_for_any_rewards.reading(
    "intended",
    space=_lemma4_space(),
    adds=["the bound is rescaled with the rewards"],
    sides=lambda p: _lemma4(p, namespace(p.returns).max(namespace(p.returns).abs(p.returns))),
)


def printed_three_point(instance: Instance) -> Extended:
    """The right side of the three-point identity as printed."""
    policy, member, tau_prime = instance["policy"], instance["member"], instance["tau_prime"]
    lift = printed_lift(policy, instance["returns"], instance["tau"], tau_prime)
    bracket = _printed_bracket(member, policy, lift) + printed_divergence(policy, lift)
    logs = total(xlog(x, q) - xlog(q, q) for x, q in zip(member, policy, strict=True))
    value: Extended = (Extended(instance["tau"]) + tau_prime) * bracket + Extended(tau_prime) * logs
    return value


def _printed_bracket(member: Any, policy: Any, following: Any) -> Extended:
    return printed_divergence(member, [Extended(q) for q in policy]) - printed_divergence(member, following)


def _three_point_space(*, zeros: bool, **more: Any) -> Space:
    fields: dict[str, Any] = {
        "member": Simplex(("n",)),
        "policy": Simplex(("n",), zeros=zeros),
        "returns": Real(("n",)),
        "tau": Positive(),
        "tau_prime": NonNegative(),
    }
    return Space(fields | more, {"n": (1, 2, 3, 5)})


@claim(
    "ecpo.thm1.threepoint",
    where="App. A.3, proof of Theorem 1",
    title="The three-point identity of the lift",
    statement=r"$(\pi-\pi_t)^\top r=(\tau+\tau')\left[D_{KL}(\pi\Vert\pi_t)-D_{KL}(\pi\Vert\bar\pi_{t+1})+D_{KL}(\pi_t\Vert\bar\pi_{t+1})"
    r"\right]+\tau'(\pi-\pi_t)^\top\log\pi_t$.",
    kind="identity",
    shape=POINTWISE,
    condition="identity",
    intended_statement=r"The same where $\pi_t(\rho)>0$ for every trajectory.",
    explanation=r"Where $\pi_t(\rho)=0<\pi(\rho)$ the first two divergences are both $\infty$ and the identity subtracts one from the other.",
    hand_check=r"With $\pi_t(\rho)=0<\pi(\rho)$: $D_{KL}(\pi\Vert\pi_t)-D_{KL}(\pi\Vert\bar\pi_{t+1})=\infty-\infty$.",
)
def the_three_point_identity(p: Problem) -> Check:
    """Both sides for a positive policy and any member."""
    lift = lifted(p, p.log_policy)
    eta = p.tau + p.tau_prime
    left = expectation(p.log_member, p.returns) - expectation(p.log_policy, p.returns)
    bracket = kl(p.log_member, p.log_policy) - kl(p.log_member, lift) + kl(p.log_policy, lift)
    logs = expectation(p.log_member, p.log_policy) - expectation(p.log_policy, p.log_policy)
    scale = lift_size(p, p.log_policy, p.tau_prime) + eta * size(p.log_member)
    return Check("identity", left, "==", eta * bracket + p.tau_prime * logs, scale=scale)


the_three_point_identity.reading(
    "literal",
    space=_three_point_space(zeros=False),
    assumptions=[DETERMINISTIC, "the lift is that of pi_t", "pi in Pi", TEMPERATURES],
    printed=Printed(_three_point_space(zeros=True), printed_three_point),
)
the_three_point_identity.reading(
    "intended", space=_three_point_space(zeros=False), adds=[POSITIVE_POLICY], proof=three_point_identity
)


def _segment_space(*, zeros: bool) -> Space:
    fields = {
        "first_end": Simplex(("n",), zeros=zeros, exponents=(-4, 0)),
        "second_end": Simplex(("n",), zeros=zeros, exponents=(-4, 0)),
        "current": Unit(),
        "member": Unit(),
        "returns": Bounded(("n",)),
        "tau": Positive(exponents=(-1, 2)),
        "tau_prime": NonNegative(exponents=(-1, 2)),
    }
    return Space(fields, {"n": (2, 3, 5)})


@claim(
    "ecpo.thm1.step",
    where="App. A.3, proof of Theorem 1",
    title="The regret of one step",
    statement=r"$(\pi-\pi_t)^\top r\le(\tau+\tau')\left[D_{KL}(\pi\Vert\pi_t)-D_{KL}(\pi\Vert\pi_{t+1})\right]+\frac1{2(\tau+\tau')}+"
    r"\frac{\tau'}{2\tau(\tau+\tau')}+\frac{\tau'(\tau+\tau')}\tau\log n$.",
    kind="inequality",
    shape=POINTWISE,
    condition="step",
    intended_statement=r"The same where $D_{KL}(\pi\Vert\pi_t)$ is finite.",
    explanation=r"Where $\pi_t$ and $\pi_{t+1}$ both lack a trajectory that $\pi$ has, the bracket is $\infty-\infty$. On the whole "
    "simplex that is every step from a policy with a probability 0.",
    hand_check=r"On the simplex $\pi_{t+1}$ has the support of $\pi_t$. With $\pi_t(\rho)=0<\pi(\rho)$ the bracket is $\infty-\infty$.",
)
def the_regret_of_one_step(p: Problem) -> Check:
    """One step on a segment, against any of its members."""
    xp = namespace(p.first_end)
    current = mixture(p.first_end, p.second_end, p.current)
    log_current = xp.log(current)
    target = lifted(p, log_current)
    new = mixture(p.first_end, p.second_end, nearest_on_segment(xp.exp(target), p.first_end, p.second_end))
    member = mixture(p.first_end, p.second_end, p.member)
    log_member = xp.log(member)
    eta = p.tau + p.tau_prime
    bracket = kl(log_member, log_current) - kl(log_member, xp.log(new))
    rest = 1 / (2 * eta) + p.tau_prime / (2 * p.tau * eta) + p.tau_prime * eta / p.tau * xp.log(xp.asarray(p.n))
    left = xp.sum((member - current) * p.returns)
    scale = eta * 20 + rest if xp.name == "float64" else 1.0
    sound = inside_the_segment(p, target)
    return Check("step", left, "<=", eta * bracket + rest, scale=scale, given=sound)


def printed_step(instance: Instance) -> Extended:
    """The bracket of the step as printed, on the whole simplex, where the next policy is the lift."""
    policy = instance["policy"]
    following = printed_lift(policy, instance["returns"], instance["tau"], instance["tau_prime"])
    return _printed_bracket(instance["member"], policy, following)


the_regret_of_one_step.reading(
    "literal",
    space=_segment_space(zeros=False),
    assumptions=[DETERMINISTIC, CONVEX, BOUNDED, TEMPERATURES],
    printed=Printed(_three_point_space(zeros=True, returns=Bounded(("n",))), printed_step),
)
the_regret_of_one_step.reading(
    "intended", space=_segment_space(zeros=False), adds=["KL(pi, pi_t) is finite (pi_t is positive)"]
)


@claim(
    "ecpo.thm1.start",
    where="App. A.3, end of the proof of Theorem 1",
    title="The first policy is within log n of every member",
    statement=r"$D_{KL}(\pi\Vert\pi_1)\le\log n$ for all $\pi\in\Pi$.",
    kind="inequality",
    shape=POINTWISE,
    condition="start",
    intended_statement=r"The same for the uniform first policy.",
    explanation="It holds for the uniform policy, and for no first policy that gives some trajectory less than 1/n while the class "
    "has the policy that always takes it.",
    hand_check=r"A member with all its mass on $\rho$ has $D_{KL}(\pi\Vert\pi_1)=-\log\pi_1(\rho)$.",
)
def the_first_policy_is_near(p: Problem) -> Check:
    """The divergence of a member from the first policy."""
    xp = namespace(p.member)
    return Check(
        "start", kl(p.log_member, p.log_start), "<=", xp.log(xp.asarray(p.n)), scale=size(p.log_member, p.log_start)
    )


the_first_policy_is_near.reading(
    "literal",
    space=Space({"member": Simplex(("n",)), "start": Simplex(("n",), zeros=False)}, {"n": (1, 2, 3, 5)}),
    assumptions=[DETERMINISTIC, CONVEX, "pi_1 is the first policy of the sequence"],
)


def the_uniform_policy_is_near(p: Problem) -> Check:
    """The divergence of a member from the uniform policy."""
    xp = namespace(p.member)
    uniform = xp.log(p.member * 0 + xp.asarray(1) / p.n)
    return Check("start", kl(p.log_member, uniform), "<=", xp.log(xp.asarray(p.n)), scale=size(p.log_member))


the_first_policy_is_near.reading(
    "intended",
    space=Space({"member": Simplex(("n",))}, {"n": (1, 2, 3, 5)}),
    adds=["the first policy is uniform"],
    sides=the_uniform_policy_is_near,
)


@claim(
    "ecpo.thm1.sum",
    where="App. A.3, end of the proof of Theorem 1",
    title="The summed regret with its constants",
    statement=r"$\sum_{t=1}^T(\pi-\pi_t)^\top r\le\sqrt{2T\log n}+\dfrac1{\frac{\sqrt T}{\sqrt{2\log n}}-\frac1{\sqrt{T\log n}}}"
    r"\left(\frac1{\sqrt2}+1\right)+\sqrt{T\log n}$.",
    kind="inequality",
    shape=POINTWISE,
    condition="sum",
    intended_statement=r"The same for $T\ge2$, where $\tau>0$.",
    explanation=r"For $T=1$ the schedule makes $\tau=\frac{\sqrt T}{\sqrt{2\log n}}-\frac1{\sqrt{T\log n}}$ negative, and the right side "
    "with it, while the regret against the best trajectory never is. Lemma 5, which divides by it, does not apply there.",
    hand_check=r"For $T=1$ the right side is $\sqrt{\log n}\,(\sqrt2+1-\frac{1/\sqrt2+1}{1-1/\sqrt2})<0$, and the regret against the best "
    r"trajectory is at least 0.",
)
def the_summed_regret(p: Problem) -> list[Check]:
    """The regret from the uniform policy on the simplex and on a segment, against the printed sum."""
    xp = namespace(p.far)
    horizon, count = xp.asarray(p.horizon), xp.asarray(p.n)
    tau, _ = theorem1_temperatures(horizon, count)
    root = xp.sqrt(horizon * xp.log(count))
    half = xp.sqrt(xp.asarray(2))
    right = half * root + (1 / half + 1) / tau + root
    uniform = p.far * 0 + xp.asarray(1) / p.n
    whole = simplex_regret(p, xp.log(uniform), count)
    segment = segment_regret(p, uniform, xp.sum(p.far) * 0, count, anytime=False)
    scale = p.horizon * size(p.returns)
    return [Check("sum", whole, "<=", right, scale=scale), Check("sum on a segment", segment, "<=", right, scale=scale)]


def _sum_space(*, horizons: tuple[int, ...]) -> Space:
    fields = {"far": Simplex(("n",), exponents=(-6, 0)), "returns": Bounded(("n",))}
    return Space(fields, {"n": (2, 3, 6), "horizon": horizons}, counts=("horizon",))


_SUM_ASSUMPTIONS = [DETERMINISTIC, CONVEX, "KL(pi, pi_1) <= log n (here pi_1 is uniform)", BOUNDED, FIXED]
the_summed_regret.reading("literal", space=_sum_space(horizons=(1, 2, 3, 10)), assumptions=_SUM_ASSUMPTIONS)
the_summed_regret.reading(
    "intended", space=_sum_space(horizons=(2, 3, 8, 25)), adds=["T >= 2, so that tau > 0"], effort=0.3
)
