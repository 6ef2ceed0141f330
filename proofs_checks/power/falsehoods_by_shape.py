"""Planted falsehoods about optima and expectations."""

from __future__ import annotations

from dataclasses import replace

from exactrl.formulas import (
    entropy,
    expectation,
    lift_objective,
    log_boltzmann,
    log_lift,
    nearest_forward,
    surrogate,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import EXPECTATION, OPTIMALITY, Check
from proofs_checks.claims.ecpo.common import family_space, lift_size, lift_space, lifted
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem
from proofs_checks.power.quantities import variance, weighted_score
from proofs_checks.power.specimen import FALSEHOODS, check_of, over, space_of
from proofs_checks.power.truths import VALUED
from proofs_checks.power.truths_by_shape import SCORED

_N: dict[str, tuple[int, ...]] = {"n": (2, 3, 5)}


@FALSEHOODS.add(
    "Proposition 1 with the other divergence",
    shape=OPTIMALITY,
    statement=r"$\arg\min_{\pi\in\Pi}D_{KL}(\bar\pi^*_\tau\Vert\pi)$ maximises $\mathbb E_\pi r-\tau D_{KL}(\pi\Vert\bar\pi)$ over $\Pi$.",
    why="With two members that are near the lift in one direction each, the directions disagree.",
    space=family_space(entropy=False, reference=Simplex(("n",), zeros=False)),
)
def proposition1_with_the_other_divergence(p: Problem) -> Check:
    """The forward projection against every member."""
    xp = namespace(p.log_family)
    new = nearest_forward(lifted(p, p.log_reference), p.log_family)
    attained = lift_objective(new, p.log_reference, p.returns, p.tau, 0)
    objectives = lift_objective(p.log_family, p.log_reference[..., None, :], p.returns[..., None, :], row(p.tau), 0)
    scale = lift_size(p, p.log_family) + p.tau * size(p.log_reference)
    return Check("planted", attained, ">=", xp.max(objectives), scale=scale)


@FALSEHOODS.add(
    "the lift without its logarithm",
    shape=OPTIMALITY,
    statement=r"$q\propto\bar\pi\exp\{r/(\tau+\tau')\}$ maximises $\mathbb E_\pi r-\tau D_{KL}(\pi\Vert\bar\pi)+\tau'\mathcal H(\pi)$.",
    why=r"$r=0$, $\tau=\tau'$, $\bar\pi=(\frac1{10},\frac9{10})$: the maximiser is $\propto\sqrt{\bar\pi}=(\frac14,\frac34)$, not $\bar\pi$.",
    space=lift_space(zeros=False, challenger=Simplex(("n",))),
)
def the_lift_without_its_logarithm(p: Problem) -> Check:
    """A challenger against Eq. 5 without the term -tau' log of the reference."""
    wrong = log_lift(p.log_reference, p.returns, p.tau + p.tau_prime, 0)
    best, other = (lift_objective(x, p.log_reference, p.returns, p.tau, p.tau_prime) for x in (wrong, p.log_challenger))
    return Check("planted", best, ">=", other, scale=lift_size(p, p.log_reference, p.tau_prime))


@FALSEHOODS.add(
    "Eq. 8 with a discount inside",
    shape=OPTIMALITY,
    statement=r"The value of the lift over trajectories with $\gamma=1$ is Eq. (8) with $\bar Q^*=r+0.99\,\bar V^*(s')$.",
    why="One action at each step and a second reward of 1: 0.99 against 1.",
    space=space_of("ecpo.eq8.value"),
)
def equation8_with_a_discount(p: Problem) -> Check:
    """The recursion with a wrong discount against the value over trajectories."""
    check = check_of("ecpo.eq8.value", "value", p)
    later = surrogate(p.log_second, p.second_rewards, row(p.tau), row(p.tau_prime))
    value = surrogate(p.log_first, p.first_rewards + 99 * later / 100, p.tau, p.tau_prime)
    return replace(check, left=value)


@FALSEHOODS.add(
    "a policy a tenth too warm",
    shape=OPTIMALITY,
    statement=r"$\pi\propto\exp\{r/(1.1\tau)\}$ maximises $\mathbb E_\pi r+\tau\mathcal H(\pi)$.",
    why=r"The maximiser is $\propto\exp\{r/\tau\}$; the loss is $\tau$ times the divergence between the two, of second order in the tenth.",
    space=over(_N, challenger=Simplex(("n",)), returns=Real(("n",)), tau=Positive()),
)
def a_policy_too_warm(p: Problem) -> Check:
    """A challenger must come within the divergence of the two Boltzmann policies."""
    wrong = log_boltzmann(p.returns, 11 * p.tau / 10)
    best, other = (expectation(x, p.returns) + p.tau * entropy(x) for x in (wrong, p.log_challenger))
    scale = size(p.returns) + p.tau + size(p.returns) * size(p.returns) / p.tau
    return Check("planted", best, ">=", other, scale=scale)


@FALSEHOODS.add(
    "the mean minimises the absolute error",
    shape=OPTIMALITY,
    statement=r"$\mathbb E_\pi|r-\mathbb E_\pi r|\le\mathbb E_\pi|r-c|$ for every $c$.",
    why=r"$\pi=(\frac34,\frac14)$, $r=(0,1)$: $\frac38$ against $\frac14$ at the median $c=0$.",
    space=over(_N, policy=Simplex(("n",)), returns=Real(("n",)), centre=Real()),
)
def the_mean_for_the_median(p: Problem) -> Check:
    """The mean against any centre."""
    xp = namespace(p.policy)
    mean = expectation(p.log_policy, p.returns)[..., None]
    left, right = (expectation(p.log_policy, xp.abs(p.returns - c)) for c in (mean, p.centre[..., None]))
    return Check("planted", left, "<=", right, scale=size(p.returns))


@FALSEHOODS.add(
    "Lemma 1 with three samples",
    shape=EXPECTATION,
    statement=r"The self-normalised estimator of Eq. (6) is unbiased for $K=3$.",
    why="A ratio of two sample means is biased: two trajectories, returns 0 and 1, a uniform reference and policy.",
    space=space_of("ecpo.lemma1", samples=(3,)),
)
def lemma1_with_three_samples(p: Problem) -> Check:
    """The sum over all triples."""
    return check_of("ecpo.lemma1", "unbiased", p)


@FALSEHOODS.add(
    "a small constant in the bias",
    shape=EXPECTATION,
    statement=r"The bias of Eq. (6) is at most $\frac{1/2}K\frac{\mathbb E_{\bar\pi}\exp\{2\omega\}}{Z^2}\max_\rho|\nabla_\theta\log\pi_\theta(\rho)|$.",
    why=r"$K=2$, $\bar\pi=(\frac15,\frac45)$, weights $(4,1)$, a uniform policy: the bias is $0.5-0.296=0.204$, the bound $0.195$.",
    space=space_of("ecpo.lemma1.amended", samples=(1, 2, 3)),
)
def a_small_constant_in_the_bias(p: Problem) -> Check:
    """The amended Lemma 1 with 1/2 for 12."""
    check = check_of("ecpo.lemma1.amended", "bias", p)
    return replace(check, right=check.right / 24)


@FALSEHOODS.add(
    "clipped importance sampling",
    shape=EXPECTATION,
    statement=r"$\mathbb E_{a\sim q}\min\{\frac{\pi(a)}{q(a)},50\}r(a)=\mathbb E_{a\sim\pi}r(a)$.",
    why="False only where a ratio exceeds 50 and the return there is not 0.",
    space=SCORED,
)
def clipped_importance_sampling(p: Problem) -> Check:
    """Reweighted samples with a bound on the weights."""
    xp = namespace(p.policy)
    ratio = xp.minimum(xp.exp(p.log_policy - p.log_behaviour), 50)
    left = expectation(p.log_behaviour, ratio * p.returns)
    return Check("planted", left, "==", expectation(p.log_policy, p.returns), scale=size(p.returns))


@FALSEHOODS.add(
    "a baseline that knows the action",
    shape=EXPECTATION,
    statement=r"$\mathbb E_\pi[(r-\max\{r,b\})\nabla\log\pi]=\mathbb E_\pi[r\nabla\log\pi]-\mathbb E_\pi[b\nabla\log\pi]$.",
    why=r"True where all returns are at most $b$, and where all are above it by the same; elsewhere the baseline depends on the action.",
    space=SCORED,
)
def a_baseline_that_knows_the_action(p: Problem) -> Check:
    """A baseline that changes where an action earns more than it."""
    xp = namespace(p.policy)
    constant = p.baseline[..., None]
    left = weighted_score(p, p.returns - xp.maximum(p.returns, constant))
    right = weighted_score(p, p.returns - constant)
    return Check("planted", left, "==", right, scale=size(p.returns) + size(p.baseline))


@FALSEHOODS.add(
    "sample variance with 1/K",
    shape=EXPECTATION,
    statement=r"$\mathbb E\frac1K\sum_k(x_k-\bar x)^2$ is the variance, for $K=2$.",
    why=r"It is $\frac12$ of the variance.",
    space=VALUED,
)
def sample_variance_with_one_over_k(p: Problem) -> Check:
    """The expectation over pairs, as a finite sum."""
    gap = p.returns[..., :, None] - p.returns[..., None, :]
    left = expectation(p.log_policy, expectation(p.log_policy[..., None, :], gap * gap)) / 4
    scale = size(p.returns) * size(p.returns)
    return Check("planted", left, "==", variance(p.log_policy, p.returns), scale=scale)
