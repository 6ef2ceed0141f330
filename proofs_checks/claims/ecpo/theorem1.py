"""Section 3.2, Theorem 1: regret of ECPO on convex policy classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exactrl.formulas import (
    expectation,
    kl,
    log_lift,
    mixture,
    nearest_on_segment,
    theorem1_regret_bound,
    theorem1_temperatures,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, Given, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC
from proofs_checks.claims.terms import size
from proofs_checks.fields import Bounded, Modest, Simplex, Unit, Whole
from proofs_checks.instances import Problem, Space

CONVEX = "Pi is a convex subset of the probabilistic simplex"
FIXED = "tau' = 1/sqrt(T log n), tau + tau' = sqrt(T)/sqrt(2 log n)"
ANYTIME = "tau' = 1/sqrt(t log n), tau + tau' = sqrt(t)/sqrt(2 log n) at step t"
ADDED = [
    "rewards within [-1, 1] (stated in the proof of Lemma 4)",
    "KL(pi, pi_1) <= log n for all members (used at the end of the proof), as from the uniform first policy",
    "n >= 2 trajectories; Pi is closed, contains the first policy, and some member is positive everywhere",
]

Project = Callable[[Any], Any]


def _regret(p: Problem, log_start: Any, best: Any, count: Any, *, anytime: bool, **options: Any) -> Any:
    """The regret of T iterates against the best comparator: sum over t of best - E_{pi_t} r.

    `log_copies` are the logarithms of how many equal trajectories each entry stands for; `project` maps a lift to the class.
    """
    xp = namespace(log_start)
    log_copies, project = options.get("log_copies"), options.get("project")
    log_policy, regret = log_start, best * 0
    for t in range(1, p.horizon + 1):
        joint = log_policy if log_copies is None else log_policy + log_copies
        regret = regret + best - expectation(joint, p.returns)
        if t == p.horizon:
            break
        tau, tau_prime = theorem1_temperatures(xp.asarray(t if anytime else p.horizon), count)
        log_policy = log_lift(log_policy, p.returns, tau, tau_prime, log_copies)
        if project is not None:
            log_policy = project(log_policy)
    return regret


def simplex_regret(p: Problem, log_start: Any, count: Any, *, anytime: bool = False, log_copies: Any = None) -> Any:
    """The regret on the whole simplex, where the lift needs no projection, against the largest return."""
    best = namespace(p.returns).max(p.returns)
    return _regret(p, log_start, best, count, anytime=anytime, log_copies=log_copies)


def segment_regret(p: Problem, near: Any, weight: Any, count: Any, *, anytime: bool, log_copies: Any = None) -> Any:
    """The regret on the segment from `near` to the far policy, from the point at the given weight."""
    xp = namespace(p.far)

    def log_density(probabilities: Any) -> Any:
        logs = xp.log(probabilities)
        return logs if log_copies is None else logs - log_copies

    def project(log_target: Any) -> Any:
        target = xp.exp(log_target if log_copies is None else log_target + log_copies)
        return log_density(mixture(near, p.far, nearest_on_segment(target, near, p.far)))

    best = xp.maximum(xp.sum(near * p.returns), xp.sum(p.far * p.returns))
    start = log_density(mixture(near, p.far, weight))
    return _regret(p, start, best, count, anytime=anytime, log_copies=log_copies, project=project)


def _check(name: str, p: Problem, regret: Any, count: Any, given: Given = ()) -> Check:
    bound = theorem1_regret_bound(namespace(p.returns).asarray(p.horizon), count)
    return Check(name, regret, "<=", bound, scale=p.horizon * size(p.returns), given=given)


def on_the_simplex(p: Problem, *, anytime: bool) -> Check:
    """The class is the whole simplex: no projection, and the best comparator takes the largest return."""
    xp = namespace(p.returns)
    count = xp.asarray(p.n)
    return _check("regret", p, simplex_regret(p, p.log_start, count, anytime=anytime), count)


def both_classes(p: Problem, *, anytime: bool) -> list[Check]:
    """The simplex from the uniform policy, and a segment from any of its points that is near enough to its ends.

    Each entry stands for a whole number of equal trajectories, so that n may be astronomical.
    """
    xp = namespace(p.far)
    count = xp.sum(p.copies)
    log_n = xp.log(count)
    uniform = p.log_copies * 0 - log_n[..., None]
    whole = simplex_regret(p, uniform, count, anytime=anytime, log_copies=p.log_copies)
    start = xp.log(mixture(p.near, p.far, p.weight))
    near_enough: Given = tuple((kl(end, start), "<=", log_n) for end in (p.log_near, p.log_far))
    part = segment_regret(p, p.near, p.weight, count, anytime=anytime, log_copies=p.log_copies)
    return [_check("regret", p, whole, count), _check("regret on a segment", p, part, count, near_enough)]


def _literal_space(horizons: tuple[int, ...], least: int) -> Space:
    """First policies with probabilities down to about 10^least, and rewards within [-1, 1]."""
    fields = {"start": Simplex(("n",), zeros=False, exponents=(least, 0)), "returns": Modest(("n",))}
    return Space(fields, {"n": (2, 3), "horizon": horizons}, counts=("horizon",), least={"horizon": 1})


_INTENDED = Space(
    {
        "copies": Whole(("n",)),
        "near": Simplex(("n",), zeros=False, exponents=(-6, 0)),
        "far": Simplex(("n",), exponents=(-6, 0)),
        "weight": Unit(),
        "returns": Bounded(("n",)),
    },
    {"n": (2, 3, 6), "horizon": (1, 2, 3, 8, 25)},
    counts=("horizon",),
)


@claim(
    "ecpo.thm1.fixed",
    where="Sec. 3.2, Theorem 1",
    title="Regret of ECPO with the schedule for a known horizon",
    statement=r"$\forall\pi\in\Pi:\ \sum_{t=1}^T\mathbb E_{\rho\sim\pi}r(\rho)-\sum_{t=1}^T\mathbb E_{\rho\sim\pi_t}r(\rho)"
    r"\le4\sqrt{T\log n}$, where $\pi_t$ is defined by Eq. (5) (followed by projection, App. A.3) with $\pi_{t-1}$ as the "
    r"reference policy and $n$ is the number of trajectories.",
    kind="inequality",
    shape=POINTWISE,
    condition="regret",
    intended_statement=r"The same bound when $\lVert r\rVert_\infty\le1$, $D_{KL}(\pi\Vert\pi_1)\le\log n$ for all $\pi\in\Pi$ and $n\ge2$.",
    explanation="The theorem states neither a first policy nor a bound on the rewards, and its right side depends on neither. From a "
    "first policy that hardly ever takes the best trajectory the updates need more than T steps to find it, whether that "
    "policy is counted or not; and rewards of any size scale the left side alone. The counterexample keeps the rewards within [-1, 1].",
    hand_check=r"Each update multiplies the logarithm of the odds by $\tau/(\tau+\tau')$ and adds $(r_1-r_2)/(\tau+\tau')$; while the odds stay "
    r"tiny, every step costs nearly $\max_\rho r-\min_\rho r$.",
)
def regret_with_known_horizon(p: Problem) -> Any:
    """On the simplex, against the best trajectory."""
    return on_the_simplex(p, anytime=False)


regret_with_known_horizon.reading(
    "literal", space=_literal_space((3, 6, 9), -60), assumptions=[DETERMINISTIC, CONVEX, FIXED]
)
regret_with_known_horizon.reading(
    "intended", space=_INTENDED, adds=ADDED, effort=0.3, sides=lambda p: both_classes(p, anytime=False)
)


@claim(
    "ecpo.thm1.anytime",
    where="Sec. 3.2, Theorem 1 (variant in brackets); end of App. A.3",
    title="Regret of ECPO with the anytime schedule",
    statement=r"The bound $\sum_{t=1}^T(\pi-\pi_t)^\top r\le4\sqrt{T\log n}$ for all $\pi\in\Pi$ also holds with "
    r"$\tau'=1/\sqrt{t\log n}$ and $\tau+\tau'=\sqrt t/\sqrt{2\log n}$ at step $t$.",
    kind="inequality",
    shape=POINTWISE,
    condition="regret",
    intended_statement=r"The same bound when $\lVert r\rVert_\infty\le1$, $D_{KL}(\pi\Vert\pi_1)\le\log n$ for all $\pi\in\Pi$ and $n\ge2$.",
    explanation=r"As for the fixed schedule. At the first step $\tau<0$, which turns the odds of the first policy round: from a policy that "
    "nearly always takes the best trajectory it leads to one that hardly ever does.",
    hand_check=r"Each update multiplies the logarithm of the odds by $\tau/(\tau+\tau')$, at $t=1$ by $1-\sqrt2<0$, and adds "
    r"$(r_1-r_2)/(\tau+\tau')$.",
)
def regret_at_any_time(p: Problem) -> Any:
    """On the simplex; the first step has tau < 0, where the lift exists for positive policies only."""
    return on_the_simplex(p, anytime=True)


regret_at_any_time.reading(
    "literal", space=_literal_space((6, 9, 15), -300), assumptions=[DETERMINISTIC, CONVEX, ANYTIME]
)
regret_at_any_time.reading(
    "intended", space=_INTENDED, adds=ADDED, effort=0.3, sides=lambda p: both_classes(p, anytime=True)
)
