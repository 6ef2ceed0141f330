"""Section 3.2, Theorem 1: regret of ECPO on convex policy classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exactrl.formulas import (
    expectation,
    log_lift,
    mixture,
    nearest_on_segment,
    theorem1_regret_bound,
    theorem1_temperatures,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, size
from proofs_checks.fields import Bounded, Real, Simplex
from proofs_checks.instances import Problem, Space

CONVEX = "Pi is a convex subset of the probabilistic simplex"
FIXED = "tau' = 1/sqrt(T log n), tau + tau' = sqrt(T)/sqrt(2 log n)"
ANYTIME = "tau' = 1/sqrt(t log n), tau + tau' = sqrt(t)/sqrt(2 log n) at step t"
ADDED = [
    "rewards within [-1, 1] (stated in the proof of Lemma 4)",
    "the first policy is uniform, so that KL(pi, pi_1) <= log n (used at the end of the proof)",
    "n >= 2 trajectories; Pi is closed and contains the first policy",
]

Project = Callable[[Problem, Any], Any]


def _regret(p: Problem, log_start: Any, best: Any, project: Project | None, *, anytime: bool) -> Any:
    """The regret of T iterates against the best comparator: sum over t of best - E_{pi_t} r."""
    xp = namespace(log_start)
    log_policy, regret = log_start, best * 0
    for t in range(1, p.horizon + 1):
        regret = regret + best - expectation(log_policy, p.returns)
        if t == p.horizon:
            break
        tau, tau_prime = theorem1_temperatures(xp.asarray(t if anytime else p.horizon), xp.asarray(p.n))
        log_policy = log_lift(log_policy, p.returns, tau, tau_prime)
        if project is not None:
            log_policy = project(p, log_policy)
    return regret


def _check(p: Problem, regret: Any) -> Check:
    xp = namespace(p.returns)
    bound = theorem1_regret_bound(xp.asarray(p.horizon), xp.asarray(p.n))
    return Check("regret", regret, "<=", bound, scale=p.horizon * size(p.returns))


def on_the_simplex(p: Problem, *, anytime: bool) -> Check:
    """The class is the whole simplex: no projection, and the best comparator takes the largest return."""
    best = namespace(p.returns).max(p.returns)
    return _check(p, _regret(p, p.log_start, best, None, anytime=anytime))


def both_regrets(p: Problem, *, anytime: bool) -> tuple[Any, Any]:
    """The regrets from the uniform policy on two convex classes: the simplex, and the segment to a far policy."""
    xp = namespace(p.far)
    uniform = p.far * 0 + xp.asarray(1) / p.n

    def project(p: Problem, log_target: Any) -> Any:
        weight = nearest_on_segment(xp.exp(log_target), uniform, p.far)
        return xp.log(mixture(uniform, p.far, weight))

    whole = _regret(p, xp.log(uniform), xp.max(p.returns), None, anytime=anytime)
    best = xp.maximum(xp.sum(uniform * p.returns), xp.sum(p.far * p.returns))
    return whole, _regret(p, xp.log(uniform), best, project, anytime=anytime)


def both_classes(p: Problem, *, anytime: bool) -> list[Check]:
    """The bound on both convex classes at once."""
    return [_check(p, regret) for regret in both_regrets(p, anytime=anytime)]


_LITERAL = Space(
    {"start": Simplex(("n",), zeros=False, exponents=(-6, 0)), "returns": Real(("n",), exponents=(0, 2))},
    {"n": (2, 3, 5), "horizon": (1, 2, 4, 9)},
    counts=("horizon",),
)
_INTENDED = Space(
    {"far": Simplex(("n",), exponents=(-6, 0)), "returns": Bounded(("n",))},
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
    intended_statement=r"The same bound when $\lVert r\rVert_\infty\le1$, $\pi_1$ is uniform and $n\ge2$.",
    explanation="The theorem states no bound on the rewards and no first policy, and its right side depends on neither. Large "
    "rewards break it in one step; so does, for bounded rewards, a first policy that never takes the best trajectory.",
    hand_check=r"The policy $\pi_1$ needs no update, so for $T=1$ the regret is $\max_\rho r(\rho)-\mathbb E_{\pi_1}r$.",
)
def regret_with_known_horizon(p: Problem) -> Any:
    """On the simplex, against the best trajectory."""
    return on_the_simplex(p, anytime=False)


regret_with_known_horizon.reading("literal", space=_LITERAL, assumptions=[DETERMINISTIC, CONVEX, FIXED])
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
    intended_statement=r"The same bound when $\lVert r\rVert_\infty\le1$, $\pi_1$ is uniform and $n\ge2$.",
    explanation="As for the fixed schedule: nothing printed bounds the rewards.",
    hand_check=r"For $T=1$ no update is made, and the regret is $\max_\rho r(\rho)-\mathbb E_{\pi_1}r$.",
)
def regret_at_any_time(p: Problem) -> Any:
    """On the simplex; the first step has tau < 0, where the lift exists for positive policies only."""
    return on_the_simplex(p, anytime=True)


regret_at_any_time.reading("literal", space=_LITERAL, assumptions=[DETERMINISTIC, CONVEX, ANYTIME])
regret_at_any_time.reading(
    "intended", space=_INTENDED, adds=ADDED, effort=0.3, sides=lambda p: both_classes(p, anytime=True)
)
