"""Planted falsehoods of the pointwise shape: known inequalities with a constant, a term or a direction slightly wrong.

Each names an instance, or a limit of instances, at which it fails by a closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from exactrl.formulas import (
    entropy,
    expectation,
    kl,
    log_boltzmann,
    log_lift,
    mixture,
    nearest_forward,
    nearest_reverse,
    soft_value,
    surrogate,
    total_variation,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, Sides
from proofs_checks.claims.ecpo.common import family_space, lift_size, lifted
from proofs_checks.claims.ecpo.theorem1 import both_classes, simplex_regret
from proofs_checks.claims.ecpo.two_steps import flat, flat_dynamics, flat_returns
from proofs_checks.claims.terms import size, spread
from proofs_checks.fields import Bounded, NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem, Space
from proofs_checks.power.quantities import log_count
from proofs_checks.power.specimen import FALSEHOODS, check_of, over, space_of

_N: dict[str, tuple[int, ...]] = {"n": (2, 3, 5)}
_PAIR = over(_N, first=Simplex(("n",), zeros=False), second=Simplex(("n",), zeros=False))
_VALUED = over(_N, policy=Simplex(("n",)), returns=Real(("n",)), tau=Positive())


def _plant(id: str, *, statement: str, why: str, space: Space, effort: float = 1.0) -> Callable[[Sides], Sides]:
    return FALSEHOODS.add(id, shape=POINTWISE, statement=statement, why=why, space=space, effort=effort)


@_plant(
    "Lemma 4 with 1/3",
    statement=r"$D_{KL}(\pi\Vert\bar\pi^*)\le\frac1{3\eta^2}+\frac{\tau'}\eta(\pi-\bar\pi^*)^\top\log\pi$ for rewards within $[-1,1]$.",
    why=r"$\pi=(\frac12,\frac12)$, $r=(1,-1)$, $\tau'=0$: the left side is $\log\cosh(1/\tau)$, which is $1/(2\tau^2)$ to first order.",
    space=space_of("ecpo.thm1.lemma4", n=(2, 3, 6)),
)
def lemma4_with_a_third(p: Problem) -> Check:
    """Lemma 4 with a smaller constant."""
    check, eta = check_of("ecpo.thm1.lemma4", "divergence", p), p.tau + p.tau_prime
    return replace(check, right=check.right - 1 / (6 * eta * eta))


@_plant(
    "Lemma 5 with half the logarithm",
    statement=r"$D_{KL}(\bar\pi^*\Vert\pi)\le\frac1{2\tau\eta}+\frac{\tau'}\tau\cdot\frac12\log n$ for rewards within $[-1,1]$.",
    why=r"Equal rewards, one trajectory of weight 1 and $n-1$ of weight $e^{-xc}$ with $c=\tau'/\tau$: for $c\to\infty$ the left side is "
    r"$c\,x\,\frac{(n-1)e^{-x}}{1+(n-1)e^{-x}}$ to first order. At $x=2.3$ and $n=24$ that is $1.604\,c$ against $1.589\,c$; for $n\le16$ it is true.",
    space=space_of("ecpo.thm1.lemma5", n=(24,)),
)
def lemma5_with_half_the_logarithm(p: Problem) -> Check:
    """Lemma 5 with half of its second term."""
    check = check_of("ecpo.thm1.lemma5", "divergence", p)
    return replace(check, right=check.right - p.tau_prime / p.tau * log_count(p) / 2)


@_plant(
    "Lemma 2 with 1/(3 eta)",
    statement=r"$SR(\pi)\le\mathbb E_\pi\hat r+\frac1{3\eta}\mathbb E_\pi[(\hat r-\hat r_\infty)^2]$.",
    why=r"$\pi=(1-\epsilon,\epsilon)$, $r=(1,0)$, $\tau'=0$: to first order in $\epsilon$ and $1/\tau$ the gap is $\frac{\epsilon}{2\tau}$ against $\frac{\epsilon}{3\tau}$.",
    space=space_of("ecpo.lemma2.upper", n=(2, 3)),
)
def lemma2_with_a_third(p: Problem) -> Check:
    """Lemma 2's upper bound with a smaller constant."""
    check = check_of("ecpo.lemma2.upper", "upper bound", p)
    xp = namespace(p.policy)
    mean = expectation(p.log_policy, p.returns - xp.scaled_log(xp.per_row(p.tau_prime), p.log_policy))
    return replace(check, right=mean + 2 * (check.right - mean) / 3)


@_plant(
    "Hoeffding with 1/9",
    statement=r"$\tau\log\mathbb E_\pi e^{r/\tau}-\mathbb E_\pi r\le\frac{(\max r-\min r)^2}{9\tau}$.",
    why=r"$\pi=(\frac12,\frac12)$, $r=(0,1)$: the gap is $\tau\log\cosh\frac1{2\tau}$, which is $\frac1{8\tau}$ to first order.",
    space=_VALUED,
)
def hoeffding_with_a_ninth(p: Problem) -> Check:
    """Hoeffding's lemma with a smaller constant."""
    gap = surrogate(p.log_policy, p.returns, p.tau, 0) - expectation(p.log_policy, p.returns)
    bound = spread(p.returns) * spread(p.returns) / (9 * p.tau)
    return Check("planted", gap, "<=", bound, scale=lift_size(p, p.log_policy))


@_plant(
    "Pinsker with 0.55",
    statement=r"$D_{KL}(p\Vert q)\ge0.55\,\lVert p-q\rVert_1^2$.",
    why=r"$p=(\frac12+d,\frac12-d)$, $q$ uniform: the divergence is $2d^2+O(d^4)$, the right side $2.2\,d^2$.",
    space=_PAIR,
)
def pinsker_with_more(p: Problem) -> Check:
    """Pinsker's inequality with a larger constant."""
    distance = total_variation(p.log_first, p.log_second)
    scale = size(p.log_first, p.log_second)
    return Check("planted", kl(p.log_first, p.log_second), ">=", 11 * distance * distance / 5, scale=scale)


@_plant(
    "the divergence is symmetric",
    statement=r"$D_{KL}(p\Vert q)=D_{KL}(q\Vert p)$ for positive policies.",
    why=r"$p=(\frac12,\frac12)$, $q=(\frac14,\frac34)$: $\frac12\log\frac43$ against $\frac34\log3-\log2$, 0.144 against 0.131; equal for $q=(p_2,p_1)$.",
    space=_PAIR,
)
def symmetric_divergence(p: Problem) -> Check:
    """Both directions."""
    scale = size(p.log_first, p.log_second)
    return Check("planted", kl(p.log_first, p.log_second), "==", kl(p.log_second, p.log_first), scale=scale)


@_plant(
    "triangle inequality",
    statement=r"$J(p,r)\le J(p,q)+J(q,r)$ for $J(p,q)=D_{KL}(p\Vert q)+D_{KL}(q\Vert p)$.",
    why=r"Three equally spaced policies near the uniform one: $J$ is a squared distance to second order, and $4>1+1$.",
    space=over(
        _N,
        first=Simplex(("n",), zeros=False, exponents=(-6, 0)),
        second=Simplex(("n",), zeros=False, exponents=(-6, 0)),
        third=Simplex(("n",), zeros=False, exponents=(-6, 0)),
    ),
)
def triangle_inequality(p: Problem) -> Check:
    """The symmetrised divergence by way of a third policy."""

    def distance(x: Any, y: Any) -> Any:
        return kl(x, y) + kl(y, x)

    right = distance(p.log_first, p.log_second) + distance(p.log_second, p.log_third)
    scale = size(p.log_first, p.log_second, p.log_third)
    return Check("planted", distance(p.log_first, p.log_third), "<=", right, scale=scale)


@_plant(
    "entropy is convex",
    statement=r"$\mathcal H((1-\lambda)p+\lambda q)\le(1-\lambda)\mathcal H(p)+\lambda\mathcal H(q)$.",
    why=r"$p=(1,0)$, $q=(0,1)$, $\lambda=\frac12$: $\log2$ against 0.",
    space=over(_N, first=Simplex(("n",)), second=Simplex(("n",)), weight=Unit()),
)
def convex_entropy(p: Problem) -> Check:
    """Concavity with its sign turned."""
    xp = namespace(p.first)
    left = entropy(xp.log(mixture(p.first, p.second, p.weight)))
    right = (1 - p.weight) * entropy(p.log_first) + p.weight * entropy(p.log_second)
    return Check("planted", left, "<=", right, scale=size(p.log_first, p.log_second))


@_plant(
    "soft maximum, nearly",
    statement=r"$\tau\log\sum e^{r/\tau}\le\max r+0.98\,\tau\log n$.",
    why="Equal returns attain the full $\\tau\\log n$; returns that differ by a tenth of tau do not.",
    space=over(_N, returns=Real(("n",)), tau=Positive()),
)
def nearly_the_soft_maximum(p: Problem) -> Check:
    """False only where all returns are nearly equal."""
    bound = namespace(p.returns).max(p.returns) + 98 * p.tau * log_count(p) / 100
    return Check("planted", soft_value(p.returns, p.tau), "<=", bound, scale=size(p.returns) + p.tau)


@_plant(
    "softmax with a smaller Lipschitz constant",
    statement=r"$\lVert\mathrm{softmax}(x/\tau)-\mathrm{softmax}(y/\tau)\rVert_1\le0.9\,\lVert x-y\rVert_\infty/\tau$.",
    why=r"$x=(d,-d)$, $y=-x$, $\tau=1$: $2\tanh d$ against $1.8\,d$.",
    space=over(_N, returns=Real(("n",), exponents=(-2, 2)), others=Real(("n",), exponents=(-2, 2)), tau=Positive()),
)
def smaller_lipschitz_constant(p: Problem) -> Check:
    """Two Boltzmann policies of one temperature."""
    xp = namespace(p.returns)
    distance = 2 * total_variation(log_boltzmann(p.returns, p.tau), log_boltzmann(p.others, p.tau))
    right = 9 * xp.max(xp.abs(p.returns - p.others)) / (10 * p.tau)
    return Check("planted", distance, "<=", right, scale=1 + size(p.returns, p.others) / p.tau)


def _improvement(p: Problem, project: Any, *, of_the_return: bool) -> Check:
    current = p.log_family[..., 0, :]
    new = project(lifted(p, current), p.log_family)
    after, before = (
        expectation(x, p.returns) if of_the_return else surrogate(x, p.returns, p.tau, p.tau_prime)
        for x in (new, current)
    )
    tau_prime = p.tau_prime if "tau_prime" in vars(p)["_arrays"] else 0.0
    return Check("planted", after, ">=", before, scale=lift_size(p, p.log_family, tau_prime))


@_plant(
    "Theorem 2 with the other divergence",
    statement=r"$SR$ never falls when the lift is projected by $\arg\min_\pi D_{KL}(\pi\Vert\bar\pi^*)$.",
    why="The reverse projection has no Jensen step: a member may be near the lift in one direction only.",
    space=family_space(entropy=True),
)
def theorem2_with_the_other_divergence(p: Problem) -> Check:
    """ECPO with PMD's projection."""
    return _improvement(p, nearest_reverse, of_the_return=False)


@_plant(
    "PMD with the other divergence",
    statement=r"The return never falls when PMD's lift is projected by $\arg\min_\pi D_{KL}(\bar\pi^*_\tau\Vert\pi)$.",
    why="Moment matching: the nearest member may cover all good trajectories and many bad ones.",
    space=family_space(entropy=False),
)
def pmd_with_the_other_divergence(p: Problem) -> Check:
    """PMD with ECPO's projection."""
    return _improvement(p, nearest_forward, of_the_return=True)


@_plant(
    "ECPO raises the return",
    statement=r"$\mathbb E_{\pi_{t+1}}r\ge\mathbb E_{\pi_t}r$ for ECPO with $\tau'\ge0$.",
    why=r"From the best vertex of a class that also has the uniform policy, a large $\tau'$ leads to the uniform one.",
    space=family_space(entropy=True),
)
def ecpo_raises_the_return(p: Problem) -> Check:
    """ECPO judged by the return."""
    return _improvement(p, nearest_forward, of_the_return=True)


@_plant(
    "Theorem 3 without the dynamics",
    statement=r"ECPO under stochastic transitions never lowers $SR$, without $f$ in the sum.",
    why=r"The update raises $\sum_\rho f\exp\{\cdot\}$; without $f$ an unlikely trajectory counts as much as a likely one.",
    space=space_of("ecpo.appd.thm3", members=(2,), actions=(2,), states=(2, 3)),
)
def theorem3_without_the_dynamics(p: Problem) -> Check:
    """The stochastic update judged by the deterministic surrogate."""
    members = flat(p.log_firsts[..., :, :, None, None] + p.log_seconds[..., :, None, :, :])
    returns, dynamics = flat_returns(p), flat_dynamics(p)
    current = members[..., 0, :]
    lift = log_lift(current, returns, p.tau, p.tau_prime, dynamics)
    joint = members + dynamics[..., None, :]
    new = nearest_forward(lift + dynamics, joint) - dynamics
    after, before = (surrogate(x, returns, p.tau, p.tau_prime) for x in (new, current))
    scale = check_of("ecpo.appd.thm3", "surrogate", p).scale
    return Check("planted", after, ">=", before, scale=scale)


@_plant(
    "Theorem 1 with 1.2",
    statement=r"The regret of ECPO is at most $1.2\sqrt{T\log n}$ under the assumptions of the intended reading.",
    why="True for few trajectories; with one good one among many equal ones of spread rewards the regret reaches twice that.",
    space=space_of("ecpo.thm1.fixed"),
    effort=0.3,
)
def theorem1_with_less(p: Problem) -> list[Check]:
    """Theorem 1 with a smaller constant; each entry stands for a whole number of equal trajectories."""
    return [replace(check, right=3 * check.right / 10) for check in both_classes(p, anytime=False)]


@_plant(
    "regret without the first round",
    statement=r"ECPO's regret from the uniform policy is at most $4(T-1)$, for rewards within $[-1,1]$.",
    why=r"True for $T\ge2$, where each round costs at most 2; for $T=1$ it says that the uniform policy is optimal.",
    space=over({"n": (2, 3), "horizon": (1, 2, 3, 8)}, ("horizon",), returns=Bounded(("n",))),
)
def regret_without_the_first_round(p: Problem) -> Check:
    """False only at horizon 1."""
    xp = namespace(p.returns)
    count = xp.asarray(p.n)
    regret = simplex_regret(p, p.returns * 0 - xp.log(count), count)
    return Check("planted", regret, "<=", xp.asarray(4 * (p.horizon - 1)), scale=p.horizon)


@_plant(
    "ECPO remembers",
    statement=r"With equal rewards the lift keeps a millionth of the information: $D_{KL}(\bar\pi^*\Vert u)\ge10^{-6}D_{KL}(\pi\Vert u)$, $u$ uniform.",
    why=r"The lift is $\propto\pi^{\tau/\eta}$; for $\tau/\eta\to0$ the left side falls as $(\tau/\eta)^2$: false beyond a ratio of about 1000.",
    space=over(
        _N,
        policy=Simplex(("n",), zeros=False, exponents=(-2, 0)),
        returns=Real(),
        tau=Positive(),
        tau_prime=NonNegative(),
    ),
)
def ecpo_remembers(p: Problem) -> Check:
    """False only where the entropy's temperature is a thousand times the other."""
    equal = p.policy * 0 + p.returns[..., None]
    uniform = p.policy * 0 - log_count(p)
    left = kl(log_lift(p.log_policy, equal, p.tau, p.tau_prime), uniform)
    return Check("planted", left, ">=", kl(p.log_policy, uniform) / 10**6)


@_plant(
    "an entropy bound for few outcomes",
    statement=r"$\mathcal H(p)\le\log n-\frac12\max_\rho(p(\rho)-\frac1n)^2\cdot n$.",
    why=r"With all mass on one outcome $\log n-\mathcal H=\log n$ against $\frac{(n-1)^2}{2n}$: from $n=6$ on the right side is negative.",
    space=over({"n": (2, 5, 8)}, policy=Simplex(("n",))),
)
def entropy_bound(p: Problem) -> Check:
    """True for few outcomes, false for many."""
    xp = namespace(p.policy)
    gap = xp.max(xp.abs(p.policy - 1 / xp.asarray(p.n)))
    right = xp.log(xp.asarray(p.n)) - gap * gap * p.n / 2
    return Check("planted", entropy(p.log_policy), "<=", right, scale=size(p.log_policy))
