"""Known truths and planted falsehoods about discounted models and E-steps, the ground of MPO and soft Q-learning."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expectation, expected_sampled_soft_value, kl, log_estep, log_soft_greedy, soft_maximum
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, EXPECTATION, LIMIT, OPTIMALITY, POINTWISE, Check
from proofs_checks.claims.mpo.common import estep_space, log_normaliser, over_states, term_size, value_of
from proofs_checks.claims.soft_q.common import (
    largest,
    model_space,
    policy_field,
    soft_action_values,
    soft_backup,
    value_size,
)
from proofs_checks.claims.terms import size, spread
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem
from proofs_checks.power.specimen import FALSEHOODS, TRUTHS, over

POLICIES = model_space(policy=policy_field())
MODERATE, WARM = Real((1, "n"), exponents=(-2, 2)), Positive(exponents=(-1, 2))
CHALLENGED = estep_space(challenger=Simplex(("s", "a"), zeros=False), eta=WARM)
TWO_VALUES = model_space(first=Real(("states", "actions")), second=Real(("states", "actions")))


def _returns(p: Problem, log_policy: Any) -> Any:
    """The action values of a policy without entropy."""
    return soft_action_values(p, log_policy, p.rewards, 0)


@TRUTHS.add(
    "exponentiated improvement",
    shape=POINTWISE,
    statement=r"$Q^{\tilde\pi}\ge Q^\pi$ for $\tilde\pi\propto\pi e^{Q^\pi}$, the values being those of rewards alone.",
    why=r"$\mathbb E_{\tilde\pi}Q^\pi\ge\mathbb E_\pi Q^\pi$ at every state, since tilting by an increasing function raises a mean.",
    space=POLICIES,
)
def exponentiated_improvement(p: Problem) -> Check:
    """Both action values, each by its own linear system."""
    before = _returns(p, p.log_policy)
    after = _returns(p, log_estep(p.log_policy, before, before[..., 0, 0] * 0 + 1))
    return Check("exponentiated improvement", after, ">=", before, scale=value_size(p, p.rewards))


@TRUTHS.add(
    "weak duality of the E-step",
    shape=OPTIMALITY,
    statement=r"$\mathbb E_\mu[\mathbb E_qQ-\eta D_{KL}(q\Vert\pi)]\le\eta\,\mathbb E_\mu\log\mathbb E_\pi e^{Q/\eta}$ for every $q$ and $\eta>0$.",
    why="The Gibbs variational principle at every state.",
    space=CHALLENGED,
)
def weak_duality(p: Problem) -> Check:
    """A challenger against the dual without its radius."""
    return _challenged(p, "weak duality of the E-step", kl(p.log_challenger, p.log_policy))


@TRUTHS.add(
    "a warm E-step stays near",
    shape=LIMIT,
    statement=r"$D_{KL}(q_\eta\Vert\pi)\to0$ for $q_\eta\propto\pi e^{Q/\eta}$ as $\eta\to\infty$.",
    why=r"It is $\int_0^{1/\eta}s\,\mathrm{Var}_sQ\,ds\le(\max Q-\min Q)^2/(8\eta^2)$.",
    space=over({"n": (2, 3, 5)}, policy=Simplex((1, "n"), exponents=(-6, 0)), values=MODERATE, eta=WARM),
)
def a_warm_estep(p: Problem) -> list[Check]:
    """The divergence along a path, against a bound that vanishes."""
    checks = []
    for factor in (1, 1000):
        eta = p.eta * factor
        divergence = kl(log_estep(p.log_policy, p.values, eta), p.log_policy)[..., 0]
        width = spread(p.values)[..., 0] / eta
        scale = 1 + size(p.log_policy) + size(p.values) / eta
        # Where values are equal both sides are 0, which balls cannot tell however many their bits.
        given: Any = ((width, ">", 0 * width),)
        checks.append(Check(f"rate at {factor}", divergence, "<=", width * width / 8, scale=scale, given=given))
    return checks


@FALSEHOODS.add(
    "an improvement that is too cold",
    shape=POINTWISE,
    statement=r"$Q^{\tilde\pi}_{soft}\ge Q^\pi_{soft}$ for $\tilde\pi\propto e^{2Q^\pi_{soft}}$ at temperature 1.",
    why=r"At the soft optimal policy every other one is worse: one state, two actions, $r=(0,1)$, $\pi\propto e^r$, $\gamma>0$.",
    space=POLICIES,
)
def an_improvement_that_is_too_cold(p: Problem) -> Check:
    """Theorem 4 of soft Q-learning with half the temperature."""
    before = soft_action_values(p, p.log_policy, p.rewards)
    after = soft_action_values(p, log_soft_greedy(2 * before, 1), p.rewards)
    return Check("planted", after, ">=", before, scale=value_size(p, p.rewards))


@FALSEHOODS.add(
    "the soft policy earns more",
    shape=POINTWISE,
    statement=r"$Q^{\tilde\pi}\ge Q^\pi$ for $\tilde\pi\propto e^{Q^\pi}$, the values being those of rewards alone.",
    why=r"Of the best policy nothing can be better, and $\tilde\pi$ takes other actions too: $r=(0,1)$, $\pi=(0,1)$, $\gamma>0$.",
    space=POLICIES,
)
def the_soft_policy_earns_more(p: Problem) -> Check:
    """The exponentiated improvement without the policy that it improves."""
    before = _returns(p, p.log_policy)
    after = _returns(p, log_soft_greedy(before, 1))
    return Check("planted", after, ">=", before, scale=value_size(p, p.rewards))


@FALSEHOODS.add(
    "an E-step that forgets the policy",
    shape=OPTIMALITY,
    statement=r"$q\propto e^{Q/\eta}$ maximises $\mathbb E_\mu[\mathbb E_qQ-\eta D_{KL}(q\Vert\pi)]$.",
    why=r"$Q=0$, $\pi=(\frac13,\frac23)$: $q=\pi$ loses nothing, $q=(\frac12,\frac12)$ loses $\eta D_{KL}(q\Vert\pi)$.",
    space=estep_space(zeros=False, challenger=Simplex(("s", "a")), eta=WARM),
)
def an_estep_that_forgets_the_policy(p: Problem) -> Check:
    """A challenger against the Boltzmann policy."""
    wrong = log_soft_greedy(p.q_values, p.eta[..., None])
    best, other = (value_of(p, q) - p.eta * over_states(p, kl(q, p.log_policy)) for q in (wrong, p.log_challenger))
    return Check("planted", best, ">=", other, scale=term_size(p, p.eta))


@FALSEHOODS.add(
    "duality with the divergence reversed",
    shape=OPTIMALITY,
    statement=r"$\mathbb E_\mu[\mathbb E_qQ-\eta D_{KL}(\pi\Vert q)]\le\eta\,\mathbb E_\mu\log\mathbb E_\pi e^{Q/\eta}$ for every positive $q$.",
    why=r"$\pi=(\frac1{100},\frac{99}{100})$, $Q=(9,0)$, $\eta=4$, $q=(\frac12,\frac12)$: $1.95$ against $0.33$.",
    space=CHALLENGED,
)
def duality_reversed(p: Problem) -> Check:
    """A challenger that pays the other divergence."""
    return _challenged(p, "planted", kl(p.log_policy, p.log_challenger))


def _challenged(p: Problem, name: str, divergence: Any) -> Check:
    """The value of a challenger less eta times a divergence, against the dual without its radius."""
    left = value_of(p, p.log_challenger) - p.eta * over_states(p, divergence)
    return Check(name, left, "<=", log_normaliser(p, p.eta), scale=term_size(p, p.eta) + size(p.log_challenger))


@FALSEHOODS.add(
    "two samples of a uniform proposal",
    shape=EXPECTATION,
    statement=r"The sampled soft value of Eq. (10) with two actions of the uniform proposal is biased by at most $\frac\alpha5$.",
    why=r"Two actions, $Q=(0,M)$: both samples are the worse one with chance $\frac14$, and the bias grows with $M$.",
    space=over({"n": (2, 3)}, values=Real(("n",)), alpha=Positive()),
)
def two_samples(p: Problem) -> Check:
    """The expectation over all pairs of actions."""
    uniform = log_soft_greedy(p.values * 0, p.alpha)
    mean = expected_sampled_soft_value(p.values, uniform, p.alpha, 2)
    bias = soft_maximum(p.values, p.alpha) - mean
    return Check("planted", bias, "<=", p.alpha / 5, scale=size(p.values) + p.alpha)


@FALSEHOODS.add(
    "a hard limit at the rate of two actions",
    shape=LIMIT,
    statement=r"$\alpha\log\sum_ae^{Q/\alpha}-\max_aQ\le\alpha\log2$, so that the limit $\alpha\to0$ is reached at this rate.",
    why=r"Three actions that tie are $\alpha\log3$ above their maximum.",
    space=over({"n": (2, 3, 5)}, values=Real(("n",)), alpha=Positive()),
)
def a_hard_limit_of_two(p: Problem) -> Check:
    """The gap against a rate that is too good."""
    xp = namespace(p.values)
    gap = soft_maximum(p.values, p.alpha) - xp.max(p.values)
    return Check("planted", gap, "<=", p.alpha * xp.log(xp.asarray(2)), scale=size(p.values) + p.alpha)


@FALSEHOODS.add(
    "a contraction a thousandth too strong",
    shape=CONVERGENCE,
    statement=r"$\lVert\mathcal TQ_1-\mathcal TQ_2\rVert\le\frac{999}{1000}\gamma\lVert Q_1-Q_2\rVert$ for the soft Bellman operator.",
    why="Values that differ by a constant move by exactly the discount.",
    space=TWO_VALUES,
)
def a_contraction_too_strong(p: Problem) -> Check:
    """The distance after one application."""
    left = largest(soft_backup(p, p.first) - soft_backup(p, p.second))
    right = 999 * p.discount * largest(p.first - p.second) / 1000
    return Check("planted", left, "<=", right, scale=size(p.first, p.second, p.rewards))


@FALSEHOODS.add(
    "the E-step moves values towards the greedy ones",
    shape=CONVERGENCE,
    statement=r"Halving $\eta$ at least halves what $\mathbb E_{q_\eta}Q$ lacks of the largest value on the support of $\pi$.",
    why=r"For large $\eta$ the lack hardly changes: $\pi=(\frac12,\frac12)$, $Q=(0,1)$, $\eta=100$.",
    space=over({"n": (2, 3)}, policy=Simplex((1, "n"), zeros=False, exponents=(-6, 0)), values=MODERATE, eta=WARM),
)
def the_estep_towards_the_greedy(p: Problem) -> Check:
    """What the mean lacks at a temperature and at half of it."""
    xp = namespace(p.values)
    warm, cold = (
        (xp.max(p.values) - expectation(log_estep(p.log_policy, p.values, eta), p.values))[..., 0]
        for eta in (p.eta, p.eta / 2)
    )
    scale = size(p.values) * (1 + size(p.values) / p.eta)
    return Check("planted", cold, "<=", warm / 2, scale=scale, given=((warm, ">", 0 * warm),))
