"""Textbook truths that must never be refuted."""

from __future__ import annotations

from exactrl.formulas import (
    entropy,
    expectation,
    kl,
    log_boltzmann,
    log_lift,
    mixture,
    soft_value,
    surrogate,
    total_variation,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check
from proofs_checks.claims.ecpo.common import hoeffding_gap, lift_size
from proofs_checks.claims.terms import size, spread
from proofs_checks.fields import Bounded, NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem
from proofs_checks.power.quantities import (
    exponential_weights_regret,
    joint,
    log_count,
    merged,
    variance,
)
from proofs_checks.power.specimen import TRUTHS, over

_N: dict[str, tuple[int, ...]] = {"n": (2, 3, 5)}
PAIR = over(_N, first=Simplex(("n",)), second=Simplex(("n",)))
_TAME_PAIR = over(
    _N, first=Simplex(("n",), exponents=(-6, 0)), second=Simplex(("n",), exponents=(-6, 0)), weight=Unit()
)
VALUED = over(_N, policy=Simplex(("n",)), returns=Real(("n",)), tau=Positive())
VALUES = over(_N, returns=Real(("n",)), others=Real(("n",)), tau=Positive())


@TRUTHS.add(
    "gibbs",
    shape=POINTWISE,
    statement=r"$D_{KL}(p\Vert q)\ge0$.",
    why="Gibbs' inequality.",
    space=PAIR,
)
def gibbs(p: Problem) -> Check:
    """The divergence is never negative."""
    divergence = kl(p.log_first, p.log_second)
    return Check("gibbs", divergence, ">=", 0 * p.first[..., 0], scale=size(p.log_first, p.log_second))


@TRUTHS.add(
    "pinsker",
    shape=POINTWISE,
    statement=r"$D_{KL}(p\Vert q)\ge\frac12\lVert p-q\rVert_1^2$.",
    why="Pinsker's inequality.",
    space=PAIR,
)
def pinsker(p: Problem) -> Check:
    """The divergence against the square of the total variation."""
    distance = total_variation(p.log_first, p.log_second)
    scale = size(p.log_first, p.log_second)
    return Check("pinsker", kl(p.log_first, p.log_second), ">=", 2 * distance * distance, scale=scale)


@TRUTHS.add(
    "jensen",
    shape=POINTWISE,
    statement=r"$\tau\log\mathbb E_\pi e^{r/\tau}\ge\mathbb E_\pi r$.",
    why="Jensen's inequality.",
    space=VALUED,
)
def jensen(p: Problem) -> Check:
    """Log-mean-exp against the mean."""
    value = surrogate(p.log_policy, p.returns, p.tau, 0)
    return Check("jensen", value, ">=", expectation(p.log_policy, p.returns), scale=lift_size(p, p.log_policy))


@TRUTHS.add(
    "hoeffding",
    shape=POINTWISE,
    statement=r"$\tau\log\mathbb E_\pi e^{r/\tau}-\mathbb E_\pi r\le\frac{(\max r-\min r)^2}{8\tau}$.",
    why="Hoeffding's lemma.",
    space=VALUED,
)
def hoeffding(p: Problem) -> Check:
    """The gap in Jensen's inequality."""
    gap = surrogate(p.log_policy, p.returns, p.tau, 0) - expectation(p.log_policy, p.returns)
    bound = hoeffding_gap(p.returns, p.tau)
    return Check("hoeffding", gap, "<=", bound, scale=lift_size(p, p.log_policy))


@TRUTHS.add(
    "data processing",
    shape=POINTWISE,
    statement=r"$D_{KL}(Tp\Vert Tq)\le D_{KL}(p\Vert q)$ where $T$ makes one outcome of two.",
    why="Data processing, by the log-sum inequality.",
    space=PAIR,
)
def data_processing(p: Problem) -> Check:
    """Coarser outcomes are harder to tell apart."""
    coarse = kl(merged(p.log_first), merged(p.log_second))
    scale = size(p.log_first, p.log_second)
    return Check("data processing", coarse, "<=", kl(p.log_first, p.log_second), scale=scale)


@TRUTHS.add(
    "convex divergence",
    shape=POINTWISE,
    statement=r"$D_{KL}((1-\lambda)p+\lambda q\Vert u)\le(1-\lambda)D_{KL}(p\Vert u)+\lambda D_{KL}(q\Vert u)$ with $u$ uniform.",
    why=r"$x\log x$ is convex.",
    space=_TAME_PAIR,
)
def convex_divergence(p: Problem) -> Check:
    """Along a segment, against the uniform policy."""
    xp = namespace(p.first)
    uniform = p.first * 0 - log_count(p)
    left = kl(xp.log(mixture(p.first, p.second, p.weight)), uniform)
    right = (1 - p.weight) * kl(p.log_first, uniform) + p.weight * kl(p.log_second, uniform)
    return Check("convex divergence", left, "<=", right, scale=size(p.log_first, p.log_second))


@TRUTHS.add(
    "soft maximum",
    shape=POINTWISE,
    statement=r"$\max r\le\tau\log\sum e^{r/\tau}\le\max r+\tau\log n$.",
    why="The largest term is at most the sum, and that at most n times the largest term.",
    space=VALUES,
)
def soft_maximum(p: Problem) -> list[Check]:
    """The soft maximum between its bounds."""
    xp = namespace(p.returns)
    value, most = soft_value(p.returns, p.tau), xp.max(p.returns)
    scale = size(p.returns) + p.tau
    return [
        Check("from below", most, "<=", value, scale=scale),
        Check("from above", value, "<=", most + p.tau * log_count(p), scale=scale),
    ]


@TRUTHS.add(
    "falling in temperature",
    shape=POINTWISE,
    statement=r"$\tau\log\mathbb E_\pi e^{r/\tau}$ falls as $\tau$ grows.",
    why="Power means: Jensen's inequality for the convex power of the ratio of temperatures.",
    space=over(_N, policy=Simplex(("n",)), returns=Real(("n",)), tau=Positive(), more=NonNegative()),
)
def falling_in_temperature(p: Problem) -> Check:
    """Two temperatures, the second at least the first."""
    cold, hot = (soft_value(p.returns, tau, p.log_policy) for tau in (p.tau, p.tau + p.more))
    scale = size(p.returns) + (p.tau + p.more) * size(p.log_policy)
    return Check("falling in temperature", hot, "<=", cold, scale=scale)


@TRUTHS.add(
    "softmax is Lipschitz",
    shape=POINTWISE,
    statement=r"$\lVert\mathrm{softmax}(x/\tau)-\mathrm{softmax}(y/\tau)\rVert_1\le\lVert x-y\rVert_\infty/\tau$.",
    why="The second derivative of log-sum-exp along d is a variance, at most the square of the largest entry of d.",
    space=over(_N, returns=Real(("n",), exponents=(-2, 2)), others=Real(("n",), exponents=(-2, 2)), tau=Positive()),
)
def softmax_is_lipschitz(p: Problem) -> Check:
    """Two Boltzmann policies of one temperature."""
    xp = namespace(p.returns)
    distance = 2 * total_variation(log_boltzmann(p.returns, p.tau), log_boltzmann(p.others, p.tau))
    right = xp.max(xp.abs(p.returns - p.others)) / p.tau
    return Check("softmax is Lipschitz", distance, "<=", right, scale=1 + size(p.returns, p.others) / p.tau)


@TRUTHS.add(
    "three points",
    shape=POINTWISE,
    statement=r"$D_{KL}(p\Vert r)=D_{KL}(p\Vert q)+D_{KL}(q\Vert r)+(p-q)^\top(\log q-\log r)$ for positive policies.",
    why="Expand the divergences.",
    space=over(
        _N,
        first=Simplex(("n",), zeros=False, exponents=(-20, 0)),
        second=Simplex(("n",), zeros=False, exponents=(-20, 0)),
        third=Simplex(("n",), zeros=False, exponents=(-20, 0)),
    ),
)
def three_points(p: Problem) -> Check:
    """The law of cosines of the divergence."""
    ratio = p.log_second - p.log_third
    cross = expectation(p.log_first, ratio) - expectation(p.log_second, ratio)
    right = kl(p.log_first, p.log_second) + kl(p.log_second, p.log_third) + cross
    scale = size(p.log_first, p.log_second, p.log_third)
    return Check("three points", kl(p.log_first, p.log_third), "==", right, scale=scale)


@TRUTHS.add(
    "mirror descent",
    shape=POINTWISE,
    statement=r"$(u-p)^\top r\le\tau[D_{KL}(u\Vert p)-D_{KL}(u\Vert p^+)]+\frac{(\max r-\min r)^2}{8\tau}$ with $p^+\propto p\,e^{r/\tau}$.",
    why=r"The three-point identity, and Hoeffding's lemma for $D_{KL}(p\Vert p^+)$.",
    space=over(
        _N,
        policy=Simplex(("n",), zeros=False, exponents=(-6, 0)),
        comparator=Simplex(("n",)),
        returns=Real(("n",), exponents=(-2, 2)),
        tau=Positive(exponents=(-2, 3)),
    ),
)
def mirror_descent(p: Problem) -> Check:
    """One step against any comparator."""
    new = log_lift(p.log_policy, p.returns, p.tau, 0)
    left = expectation(p.log_comparator, p.returns) - expectation(p.log_policy, p.returns)
    progress = p.tau * (kl(p.log_comparator, p.log_policy) - kl(p.log_comparator, new))
    bound = progress + hoeffding_gap(p.returns, p.tau)
    return Check("mirror descent", left, "<=", bound, scale=lift_size(p, p.log_policy))


@TRUTHS.add(
    "variance",
    shape=POINTWISE,
    statement=r"$\mathbb E_\pi(r-\mathbb E_\pi r)^2=\mathbb E_\pi r^2-(\mathbb E_\pi r)^2\le\frac14(\max r-\min r)^2$.",
    why="Expand the square; Popoviciu's inequality.",
    space=VALUED,
)
def variance_identity(p: Problem) -> list[Check]:
    """The identity and the bound."""
    mean = expectation(p.log_policy, p.returns)
    scale = size(p.returns) * size(p.returns)
    right = expectation(p.log_policy, p.returns * p.returns) - mean * mean
    value = variance(p.log_policy, p.returns)
    return [
        Check("identity", value, "==", right, scale=scale),
        Check("bound", 4 * value, "<=", spread(p.returns) * spread(p.returns), scale=scale),
    ]


@TRUTHS.add(
    "exponential weights",
    shape=POINTWISE,
    statement=r"Exponential weights with the rate $\sqrt{2\log n/T}$ have regret at most $\sqrt{2T\log n}$ against adversarial rewards within $[-1,1]$.",
    why="The potential argument with Hoeffding's lemma.",
    space=over({"n": (2, 3), "horizon": (1, 2, 6)}, rewards=Bounded(("horizon", "n"))),
)
def exponential_weights(p: Problem) -> Check:
    """Rewards chosen by an adversary who sees the policies."""
    xp = namespace(p.rewards)
    bound = xp.sqrt(2 * p.horizon * xp.log(xp.asarray(p.n)))
    return Check("exponential weights", exponential_weights_regret(p), "<=", bound, scale=p.horizon)


@TRUTHS.add(
    "entropy",
    shape=POINTWISE,
    statement=r"$0\le\mathcal H(p)\le\log n$ and $D_{KL}(p\Vert u)=\log n-\mathcal H(p)$ with $u$ uniform.",
    why="Expand the divergence from the uniform policy.",
    space=PAIR,
)
def entropy_bounds(p: Problem) -> list[Check]:
    """Entropy and divergence from the uniform policy."""
    value, scale = entropy(p.log_first), size(p.log_first)
    distance = kl(p.log_first, p.first * 0 - log_count(p))
    return [
        Check("from below", value, ">=", 0 * value, scale=scale),
        Check("from above", value, "<=", 0 * value + log_count(p), scale=scale),
        Check("identity", distance, "==", log_count(p) - value, scale=scale),
    ]


_TREE_SIZES: dict[str, tuple[int, ...]] = {"actions": (2, 3), "later": (2,)}
TREES = over(
    _TREE_SIZES,
    first=Simplex(("actions",)),
    second=Simplex(("actions", "later")),
    other_first=Simplex(("actions",)),
    other_second=Simplex(("actions", "later")),
    first_rewards=Real(("actions",)),
    second_rewards=Real(("actions", "later")),
    tau=Positive(),
)


@TRUTHS.add(
    "chain rule",
    shape=POINTWISE,
    statement=r"$D_{KL}(p\Vert q)=D_{KL}(p_1\Vert q_1)+\mathbb E_{a\sim p_1}D_{KL}(p_2(\cdot\mid a)\Vert q_2(\cdot\mid a))$ on a tree of two steps.",
    why="The logarithm of a product is a sum.",
    space=TREES,
)
def chain_rule(p: Problem) -> Check:
    """The divergence of trajectories from that of actions."""
    left = kl(joint(p.log_first, p.log_second), joint(p.log_other_first, p.log_other_second))
    later = expectation(p.log_first, kl(p.log_second, p.log_other_second))
    right = kl(p.log_first, p.log_other_first) + later
    scale = size(p.log_first, p.log_second, p.log_other_first, p.log_other_second)
    return Check("chain rule", left, "==", right, scale=scale)
