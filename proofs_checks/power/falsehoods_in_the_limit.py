"""Planted falsehoods about limits, convergence and existence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exactrl.formulas import (
    entropy,
    expectation,
    kl,
    log_boltzmann,
    soft_value,
    surrogate,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, EXISTENCE, LIMIT, Check, registry
from proofs_checks.claims.ecpo.common import family_space, lift_size, lifted
from proofs_checks.claims.terms import size, spread
from proofs_checks.fields import NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem
from proofs_checks.power.quantities import soft_bellman, variance
from proofs_checks.power.specimen import FALSEHOODS, check_of, over, space_of
from proofs_checks.power.truths_by_shape import MODELS

_N: dict[str, tuple[int, ...]] = {"n": (2, 3, 5)}


@FALSEHOODS.add(
    "a cold limit off by one per cent",
    shape=LIMIT,
    statement=r"$SR(\pi)\to1.01\max_\rho r(\rho)$ as $\tau\to0$, $\tau'\to0$, for a positive policy.",
    why="The limit is the largest return.",
    space=space_of("ecpo.lemma2.limit0"),
)
def a_cold_limit_off_by_one_per_cent(p: Problem) -> list[Check]:
    """The limit in closed form, certified by its rate, against a wrong one."""
    first, *rates = registry()["ecpo.lemma2.limit0"].readings["intended"].checks(p)
    return [replace(first, right=101 * first.right / 100), *rates]


@FALSEHOODS.add(
    "a hot limit off by one per cent",
    shape=LIMIT,
    statement=r"$SR(\pi)\to\mathbb E_\pi r+0.99\,\tau'\mathcal H(\pi)$ as $\tau\to\infty$.",
    why=r"The limit has the whole of $\tau'\mathcal H(\pi)$.",
    space=space_of("ecpo.lemma2.limitinf"),
)
def a_hot_limit_off_by_one_per_cent(p: Problem) -> list[Check]:
    """The limit in closed form, certified by its rate, against a wrong one."""
    first, *rates = registry()["ecpo.lemma2.limitinf"].readings["intended"].checks(p)
    return [replace(first, right=first.right - p.tau_prime * entropy(p.log_policy) / 100), *rates]


@FALSEHOODS.add(
    "the cold policy is deterministic",
    shape=LIMIT,
    statement=r"$\max_\rho\pi(\rho)\to1$ as $\tau\to0$ for $\pi\propto e^{r/\tau}$.",
    why="With k largest returns the limit is 1/k: false only at ties.",
    space=over({"n": (2, 3)}, returns=Real(("n",), exponents=(0, 0)), tau=Positive(exponents=(0, 0))),
)
def the_cold_policy_is_deterministic(p: Problem) -> list[Check]:
    """Whole returns, so that a tie is certain: 1 over their number, against 1."""
    xp = namespace(p.returns)
    most = xp.max(p.returns, keepdims=True)
    best = xp.sum(xp.where(p.returns == most, 1, p.returns * 0))
    checks = [Check("planted", 1 / best, "==", 0 * best + 1)]
    for factor in (100, 10_000):
        tau = p.tau / factor
        gap = xp.abs(xp.max(xp.exp(log_boltzmann(p.returns, tau))) - 1 / best)
        checks.append(Check(f"rate at 1/{factor}", gap, "<=", p.n * tau, asserted=False))
    return checks


@FALSEHOODS.add(
    "the second-order term without its mean",
    shape=LIMIT,
    statement=r"$2\tau(\tau\log\mathbb E_\pi e^{r/\tau}-\mathbb E_\pi r)\to\mathbb E_\pi r^2$ as $\tau\to\infty$.",
    why=r"The limit is the variance, by a distance of at most $(\max r-\min r)^3/(3\tau)$.",
    space=over(_N, policy=Simplex(("n",)), returns=Real(("n",), exponents=(-1, 1)), tau=Positive(exponents=(0, 2))),
)
def the_second_order_term(p: Problem) -> list[Check]:
    """The variance, certified by a rate, against the second moment."""
    xp = namespace(p.policy)
    limit, mean = variance(p.log_policy, p.returns), expectation(p.log_policy, p.returns)
    scale = size(p.returns) * size(p.returns)
    checks = [Check("planted", limit, "==", expectation(p.log_policy, p.returns * p.returns), scale=scale)]
    for factor in (1, 10):
        tau = factor * p.tau
        value = 2 * tau * (surrogate(p.log_policy, p.returns, tau, 0) - mean)
        bound = spread(p.returns) * spread(p.returns) * spread(p.returns) / (3 * tau)
        rate = tau * (lift_size(p, p.log_policy) + tau) + scale
        checks.append(Check(f"rate at {factor}", xp.abs(value - limit), "<=", bound, scale=rate, asserted=False))
    return checks


@FALSEHOODS.add(
    "PMD converges at rate 1/t^2",
    shape=CONVERGENCE,
    statement=r"The gap of PMD after $t$ steps is at most $\frac\tau{t^2}D_{KL}(\pi^*\Vert\pi_1)$.",
    why=r"$r=(1,0)$, $\pi_1=(\epsilon,1-\epsilon)$, $\tau=2t/\log\frac1\epsilon$: the bound is $2/t$, and the odds are still $\sqrt\epsilon$.",
    space=space_of("ecpo.pmd.convergence"),
)
def pmd_with_a_faster_rate(p: Problem) -> Check:
    """The proximal-point rate with the square of the number of steps."""
    check = check_of("ecpo.pmd.convergence", "rate", p)
    return replace(check, right=check.right / p.steps)


@FALSEHOODS.add(
    "ECPO reaches the optimum",
    shape=CONVERGENCE,
    statement=r"ECPO with a fixed $\tau'>0$ converges on the simplex to a policy of the largest return.",
    why=r"It converges to $\propto e^{r/\tau'}$, a fixed point of the lift, which earns less unless all returns are equal.",
    space=over(
        _N,
        returns=Real(("n",), exponents=(-1, 1)),
        tau=Positive(exponents=(-1, 1)),
        tau_prime=Positive(exponents=(-1, 1)),
    ),
)
def ecpo_reaches_the_optimum(p: Problem) -> list[Check]:
    """The fixed point in closed form, and that it is one."""
    xp = namespace(p.returns)
    fixed = log_boltzmann(p.returns, p.tau_prime)
    stays = kl(fixed, lifted(p, fixed))
    earned = expectation(fixed, p.returns)
    scale = size(p.returns) * (1 + size(p.returns) / p.tau_prime)
    return [
        Check("planted", earned, "==", xp.max(p.returns), scale=size(p.returns)),
        Check("fixed point", stays, "==", 0 * p.tau, scale=scale, asserted=False),
    ]


@FALSEHOODS.add(
    "a contraction a hundredth too fast",
    shape=CONVERGENCE,
    statement=r"$\lVert Tv-Tw\rVert_\infty\le0.99\,\gamma\lVert v-w\rVert_\infty$ for the soft Bellman operator.",
    why=r"If $v-w$ is constant, so is $Tv-Tw$, and $\gamma$ times as large.",
    space=MODELS,
)
def a_contraction_too_fast(p: Problem) -> Check:
    """One step from two value functions."""
    xp = namespace(p.rewards)
    left = xp.max(xp.abs(soft_bellman(p, p.first_values) - soft_bellman(p, p.second_values)))
    right = 99 * p.gamma * xp.max(xp.abs(p.first_values - p.second_values)) / 100
    scale = size(p.rewards, p.first_values, p.second_values) + p.tau
    return Check("planted", left, "<=", right, scale=scale)


@FALSEHOODS.add(
    "irreducible chains converge",
    shape=CONVERGENCE,
    statement=r"A chain that leaves its two states with probabilities $a>0$ and $b>0$ has a second eigenvalue below 1 in modulus.",
    why=r"False only for $a=b=1$, where it swaps the two states for ever: $1-a-b=-1$.",
    space=over({}, a=Unit(), b=Unit()),
)
def irreducible_chains_converge(p: Problem) -> Check:
    """The modulus of the second eigenvalue."""
    given: Any = ((p.a, ">", 0), (p.b, ">", 0))
    return Check("planted", namespace(p.a).abs(1 - p.a - p.b), "<", 0 * p.a + 1, given=given)


@FALSEHOODS.add(
    "the entropy term makes the lift positive",
    shape=EXISTENCE,
    statement=r"With $\tau'>0$ the lift gives every trajectory positive probability, whatever its reference.",
    why=r"False only with a zero probability: where $\bar\pi(\rho)=0$ and $\tau>0$, $-\tau D_{KL}$ outweighs every entropy.",
    space=over(
        _N,
        reference=Simplex(("n",), exponents=(-4, 0)),
        returns=Real(("n",), exponents=(0, 0)),
        tau=Positive(exponents=(0, 1)),
        tau_prime=Positive(exponents=(0, 1)),
    ),
)
def the_entropy_term_makes_the_lift_positive(p: Problem) -> Check:
    """The least probability of the lift."""
    xp = namespace(p.log_reference)
    return Check("planted", xp.min(xp.exp(lifted(p, p.log_reference))), ">", p.tau * 0, scale=1e-6)


@FALSEHOODS.add(
    "one member is nearest both ways",
    shape=EXISTENCE,
    statement=r"Some member of every class minimises both $D_{KL}(q\Vert\pi)$ and $D_{KL}(\pi\Vert q)$, $q$ the lift of the first.",
    why="A broad and a narrow member: covering and seeking modes disagree.",
    space=family_space(entropy=True),
)
def one_member_is_nearest_both_ways(p: Problem) -> Check:
    """The member nearest in one direction, where it is unique, is not beaten in the other."""
    xp = namespace(p.log_family)
    target = lifted(p, p.log_family[..., 0, :])
    backward = kl(p.log_family, target[..., None, :])
    forward = kl(target[..., None, :], p.log_family)
    chosen = xp.select(backward[..., None], xp.argmin(forward))[..., 0]
    return Check("planted", chosen, "<=", xp.min(backward), scale=size(p.log_family) + size(target))


@FALSEHOODS.add(
    "a deterministic policy is always enough",
    shape=EXISTENCE,
    statement=r"For every $\tau\ge0$ some deterministic policy maximises $\mathbb E_\pi r+\tau\mathcal H(\pi)$.",
    why=r"False for every $\tau>0$ that the returns are within reach of: $\tau\log\sum e^{r/\tau}>\max r$.",
    space=over(_N, returns=Real(("n",)), tau=NonNegative()),
)
def a_deterministic_policy_is_enough(p: Problem) -> Check:
    """The largest return against the soft maximum, which some policy attains."""
    xp = namespace(p.returns)
    most = xp.max(p.returns)
    soft = soft_value(p.returns, xp.where(p.tau > 0, p.tau, 1))
    return Check("planted", most, ">=", xp.where(p.tau > 0, soft, most), scale=size(p.returns) + p.tau)


@FALSEHOODS.add(
    "a coercivity a twentieth too strong",
    shape=EXISTENCE,
    statement=r"Along every direction the Project objective of a softmax policy grows at least at the rate $1.05\,\min_\rho q(\rho)\,(\max-\min)_\rho v^\top\phi(\rho)$.",
    why=r"Two trajectories, the more likely one with the larger feature: the rate is exactly $\min_\rho q(\rho)$ times the spread.",
    space=over(_N, target=Simplex(("n",), zeros=False, exponents=(-4, 0)), along=Real(("n",), exponents=(-2, 2))),
)
def a_coercivity_too_strong(p: Problem) -> Check:
    """The growth along a direction against a bound that is sharp without the factor."""
    xp = namespace(p.target)
    rate = xp.max(p.along) - expectation(p.log_target, p.along)
    return Check("planted", rate, ">=", 21 * xp.min(p.target) * spread(p.along) / 20, scale=size(p.along))


@FALSEHOODS.add(
    "all divergences are finite",
    shape=EXISTENCE,
    statement=r"For every pair of policies there is a finite $C$ with $D_{KL}(p\Vert q)\le C$.",
    why=r"False only with a zero probability: $p=(\frac12,\frac12)$, $q=(1,0)$.",
    space=over(_N, first=Simplex(("n",)), second=Simplex(("n",))),
)
def all_divergences_are_finite(p: Problem) -> Check:
    """The divergence against infinity."""
    return Check("planted", kl(p.log_first, p.log_second), "<", 0 * p.first[..., 0] + float("inf"))
