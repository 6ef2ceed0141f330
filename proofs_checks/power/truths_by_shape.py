"""Textbook truths of the shapes that are not pointwise."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    centred,
    cross_entropy,
    entropy,
    expectation,
    lift_objective,
    log_boltzmann,
    next_marginal,
    soft_value,
    surrogate,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, EXISTENCE, EXPECTATION, LIMIT, OPTIMALITY, Check
from proofs_checks.claims.ecpo.common import hoeffding_gap, lift_size
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Real, Simplex, Unit
from proofs_checks.instances import Problem
from proofs_checks.power.quantities import joint, log_count, soft_bellman, variance, weighted_score
from proofs_checks.power.specimen import TRUTHS, over
from proofs_checks.power.truths import PAIR, TREES, VALUED, VALUES

_N: dict[str, tuple[int, ...]] = {"n": (2, 3, 5)}
SCORED = over(
    {"n": (2, 3)},
    policy=Simplex(("n",), zeros=False, exponents=(-6, 0)),
    behaviour=Simplex(("n",), zeros=False, exponents=(-6, 0)),
    returns=Real(("n",), exponents=(-2, 2)),
    baseline=Real(exponents=(-2, 2)),
)


@TRUTHS.add(
    "soft Bellman optimality",
    shape=OPTIMALITY,
    statement=r"On a tree of two steps no policy has more return plus $\tau$ times entropy than the soft values by backward recursion.",
    why="The Gibbs variational principle at every state.",
    space=TREES,
)
def soft_bellman_optimality(p: Problem) -> Check:
    """The recursion against any policy."""
    xp = namespace(p.first)
    value = soft_value(p.first_rewards + soft_value(p.second_rewards, row(p.tau)), p.tau)
    total = p.first_rewards[..., :, None] + p.second_rewards
    policy = joint(p.log_first, p.log_second)
    attained = expectation(policy, xp.reshape(total, (*total.shape[:-2], -1))) + p.tau * entropy(policy)
    scale = size(p.first_rewards, p.second_rewards) + p.tau * size(p.log_first, p.log_second)
    return Check("soft Bellman optimality", value, ">=", attained, scale=scale)


@TRUTHS.add(
    "Gibbs variational principle",
    shape=OPTIMALITY,
    statement=r"$\tau\log\mathbb E_qe^{r/\tau}\ge\mathbb E_\pi r-\tau D_{KL}(\pi\Vert q)$ for every $\pi$.",
    why="The difference is the divergence from the Boltzmann policy.",
    space=over(_N, policy=Simplex(("n",)), challenger=Simplex(("n",)), returns=Real(("n",)), tau=Positive()),
)
def gibbs_variational_principle(p: Problem) -> Check:
    """Log-mean-exp against any challenger."""
    value = surrogate(p.log_policy, p.returns, p.tau, 0)
    other = lift_objective(p.log_challenger, p.log_policy, p.returns, p.tau, 0)
    return Check("Gibbs variational principle", value, ">=", other, scale=lift_size(p, p.log_policy))


@TRUTHS.add(
    "honest forecasts",
    shape=OPTIMALITY,
    statement=r"$-\mathbb E_p\log p\le-\mathbb E_p\log q$ for every $q$.",
    why="The difference is a divergence.",
    space=PAIR,
)
def honest_forecasts(p: Problem) -> Check:
    """The logarithmic score is proper."""
    scale = size(p.log_first, p.log_second)
    return Check("honest forecasts", entropy(p.log_first), "<=", cross_entropy(p.log_first, p.log_second), scale=scale)


@TRUTHS.add(
    "least squares",
    shape=OPTIMALITY,
    statement=r"$\mathbb E_\pi(r-\mathbb E_\pi r)^2\le\mathbb E_\pi(r-c)^2$ for every $c$.",
    why=r"The difference is $(c-\mathbb E_\pi r)^2$.",
    space=over(_N, policy=Simplex(("n",)), returns=Real(("n",)), centre=Real()),
)
def least_squares(p: Problem) -> Check:
    """The mean against any centre."""
    gap = p.returns - p.centre[..., None]
    scale = size(p.returns) * size(p.returns)
    return Check(
        "least squares",
        variance(p.log_policy, p.returns),
        "<=",
        expectation(p.log_policy, gap * gap),
        scale=scale,
    )


@TRUTHS.add(
    "importance sampling",
    shape=EXPECTATION,
    statement=r"$\mathbb E_{a\sim q}\frac{\pi(a)}{q(a)}r(a)=\mathbb E_{a\sim\pi}r(a)$ for positive $q$.",
    why="The ratio cancels.",
    space=SCORED,
)
def importance_sampling(p: Problem) -> Check:
    """Reweighted samples of another policy."""
    xp = namespace(p.policy)
    ratio = xp.exp(p.log_policy - p.log_behaviour)
    right = expectation(p.log_policy, p.returns)
    return Check(
        "importance sampling", expectation(p.log_behaviour, ratio * p.returns), "==", right, scale=size(p.returns)
    )


@TRUTHS.add(
    "baseline",
    shape=EXPECTATION,
    statement=r"$\mathbb E_\pi[(r-b)\nabla\log\pi]=\mathbb E_\pi[r\nabla\log\pi]$ for every constant $b$.",
    why="The mean score is 0.",
    space=SCORED,
)
def baseline(p: Problem) -> Check:
    """A constant baseline changes no component of the policy gradient."""
    left = weighted_score(p, p.returns - p.baseline[..., None])
    right = weighted_score(p, p.returns)
    return Check("baseline", left, "==", right, scale=size(p.returns) + size(p.baseline))


@TRUTHS.add(
    "policy gradient",
    shape=EXPECTATION,
    statement=r"$\mathbb E_\pi[r\,\partial_{\theta_j}\log\pi]=\pi_j(r_j-\mathbb E_\pi r)$ for a softmax policy in its logits.",
    why="The derivative of the expected return in closed form.",
    space=SCORED,
)
def policy_gradient(p: Problem) -> Check:
    """Every component of the score-function estimator."""
    left = weighted_score(p, p.returns)
    right = p.policy * centred(p.log_policy, p.returns)
    return Check("policy gradient", left, "==", right, scale=size(p.returns))


@TRUTHS.add(
    "sample variance",
    shape=EXPECTATION,
    statement=r"$\mathbb E\frac12(x_1-x_2)^2$ of two independent draws is the variance.",
    why="Expand the square; the draws are independent.",
    space=VALUED,
)
def sample_variance(p: Problem) -> Check:
    """The expectation over pairs, as a finite sum."""
    gap = p.returns[..., :, None] - p.returns[..., None, :]
    left = expectation(p.log_policy, expectation(p.log_policy[..., None, :], gap * gap)) / 2
    scale = size(p.returns) * size(p.returns)
    return Check("sample variance", left, "==", variance(p.log_policy, p.returns), scale=scale)


@TRUTHS.add(
    "cold limit",
    shape=LIMIT,
    statement=r"$\tau\log\sum e^{r/\tau}\to\max r$ as $\tau\to0$.",
    why=r"The distance is at most $\tau\log n$.",
    space=VALUES,
)
def cold_limit(p: Problem) -> list[Check]:
    """The distance along a path, against a bound that vanishes."""
    xp = namespace(p.returns)
    checks = []
    for factor in (1, 100, 10_000):
        tau = p.tau / factor
        gap = xp.abs(soft_value(p.returns, tau) - xp.max(p.returns))
        checks.append(Check(f"rate at 1/{factor}", gap, "<=", tau * log_count(p), scale=size(p.returns) + p.tau))
    return checks


@TRUTHS.add(
    "hot limit",
    shape=LIMIT,
    statement=r"$\tau(\log\sum e^{r/\tau}-\log n)\to\frac1n\sum r$ as $\tau\to\infty$.",
    why=r"By Hoeffding's lemma the distance is at most $(\max r-\min r)^2/(8\tau)$.",
    space=VALUES,
)
def hot_limit(p: Problem) -> list[Check]:
    """The distance along a path, against a bound that vanishes."""
    xp = namespace(p.returns)
    mean = xp.sum(p.returns) / p.n
    checks = []
    for factor in (1, 1000):
        tau = p.tau * factor
        gap = xp.abs(soft_value(p.returns, tau) - tau * log_count(p) - mean)
        bound = hoeffding_gap(p.returns, tau)
        checks.append(Check(f"rate at {factor}", gap, "<=", bound, scale=size(p.returns) + tau))
    return checks


_MODEL: dict[str, Any] = {
    "rewards": Real(("states", "actions"), exponents=(-2, 2)),
    "transitions": Simplex(("states", "actions", "states"), exponents=(-6, 0)),
    "gamma": Unit(),
    "tau": Positive(exponents=(-1, 2)),
    "first_values": Real(("states",), exponents=(-2, 2)),
    "second_values": Real(("states",), exponents=(-2, 2)),
}
MODELS = over({"states": (2, 3), "actions": (1, 2)}, **_MODEL)


@TRUTHS.add(
    "soft value iteration",
    shape=CONVERGENCE,
    statement=r"The soft Bellman operator contracts: $\lVert Tv-Tw\rVert_\infty\le\gamma\lVert v-w\rVert_\infty$.",
    why="The soft maximum moves by no more than its arguments do, and the mean over next states as well.",
    space=MODELS,
)
def soft_value_iteration(p: Problem) -> Check:
    """One step from two value functions."""
    xp = namespace(p.rewards)
    left = xp.max(xp.abs(soft_bellman(p, p.first_values) - soft_bellman(p, p.second_values)))
    right = p.gamma * xp.max(xp.abs(p.first_values - p.second_values))
    scale = size(p.rewards, p.first_values, p.second_values) + p.tau
    return Check("soft value iteration", left, "<=", right, scale=scale)


@TRUTHS.add(
    "kernels bring together",
    shape=CONVERGENCE,
    statement=r"$\lVert pP-qP\rVert_1\le\lVert p-q\rVert_1$ for every transition kernel $P$.",
    why="The triangle inequality, summed over next states.",
    space=over(_N, first=Simplex(("n",)), second=Simplex(("n",)), kernel=Simplex(("n", "n"))),
)
def kernels_bring_together(p: Problem) -> Check:
    """One step of a Markov chain from two distributions."""
    xp = namespace(p.kernel)
    gap = p.first - p.second
    moved = next_marginal(gap, p.kernel)
    return Check("kernels bring together", xp.sum(xp.abs(moved)), "<=", xp.sum(xp.abs(gap)), scale=1)


@TRUTHS.add(
    "stationary distribution",
    shape=EXISTENCE,
    statement=r"The chain that leaves its states with probabilities $a$ and $b$, not both 0, has a stationary distribution: $(b,a)/(a+b)$.",
    why="Both states pass on the mass $ab/(a+b)$.",
    space=over({}, leaving=Simplex((2,), exponents=(-6, 0)), slower=Unit()),
)
def stationary_distribution(p: Problem) -> Check:
    """The mass that each state passes on."""
    a, b = p.leaving[..., 0], p.leaving[..., 1] * p.slower
    total = a + b
    given: Any = ((total, ">", 0),)
    total = namespace(a).where(total > 0, total, 1)
    return Check("stationary distribution", b / total * a, "==", a / total * b, given=given)


@TRUTHS.add(
    "Boltzmann attains the soft maximum",
    shape=EXISTENCE,
    statement=r"Some policy attains $\max_\pi\mathbb E_\pi r+\tau\mathcal H(\pi)=\tau\log\sum e^{r/\tau}$.",
    why=r"$\pi\propto e^{r/\tau}$ does.",
    space=VALUES,
)
def boltzmann_attains(p: Problem) -> Check:
    """The value of the Boltzmann policy."""
    policy = log_boltzmann(p.returns, p.tau)
    attained = expectation(policy, p.returns) + p.tau * entropy(policy)
    scale = size(p.returns) + p.tau + size(p.returns) * size(p.returns) / p.tau
    return Check("attained", attained, "==", soft_value(p.returns, p.tau), scale=scale)
