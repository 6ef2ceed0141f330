r"""Appendix D.3 and D.4: limits of the stochastic surrogate (Proposition 4) and its estimator (Theorem 4)."""

from __future__ import annotations

from typing import Any

from exactrl.estimators import normalised_expectation, self_normalised_expectation
from exactrl.formulas import expectation, lift_weights, sampled_soft_value, softmax_scores, surrogate
from exactrl.number_systems import namespace
from proofs_checks.claim import EXPECTATION, LIMIT, Check, claim
from proofs_checks.claims.ecpo.common import (
    TEMPERATURES,
    hoeffding_gap,
    mean_score,
    on_support,
    self_normalised_bias,
    term_size,
)
from proofs_checks.claims.ecpo.two_steps import (
    POSITIVE_DYNAMICS,
    POSITIVE_REFERENCE,
    STOCHASTIC,
    TAME,
    flat,
    flat_dynamics,
    flat_reference,
    flat_returns,
    returns_of,
    two_step_lift,
    two_step_space,
)
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Simplex
from proofs_checks.instances import Problem, Space

POSITIVE_POLICY = "the policy gives every action positive probability"


def _on_support(p: Problem) -> tuple[Any, Any, Any]:
    """Which trajectories the policy can take, their log-probabilities (0 elsewhere), and all log-probabilities."""
    log_policy = flat_reference(p)
    mask = p.support_first[..., :, None, None] & p.support_second[..., None, :, :]
    mask = mask.reshape(log_policy.shape)
    return mask, on_support(log_policy, mask), log_policy


@claim(
    "ecpo.appd.prop4.i",
    where="App. D.3, Proposition 4 (i)",
    title="As both temperatures vanish, the stochastic surrogate tends to the largest return",
    statement=r"$SR_f(\pi_\theta)\to\max_\rho r(\rho)$ as $\tau\to0,\ \tau'\to0$.",
    kind="limit",
    shape=LIMIT,
    condition="limit",
    intended_statement="The same for a policy that gives every action positive probability.",
    explanation=r"As for Lemma 2 (i): with $\tau>0$ a trajectory that the policy never takes does not count, so the limit is the largest "
    "return on the support.",
    hand_check="If the policy never takes some action, the returns behind that action do not enter the surrogate.",
)
def the_cold_limit(p: Problem) -> list[Check]:
    """The limit in closed form against the claimed one; the rate bound certifies the closed form along the path."""
    mask, logs, log_policy = _on_support(p)
    xp = namespace(log_policy)
    returns, dynamics = flat_returns(p), flat_dynamics(p)
    limit = xp.max(xp.where(mask, returns, -float("inf")))
    checks = [Check("limit", limit, "==", xp.max(returns), scale=size(returns))]
    spread = xp.max(xp.abs(dynamics)) + xp.abs(xp.logsumexp(dynamics))
    for step in (1, 100, 10_000):
        tau, tau_prime = p.tau / step, p.tau_prime / step
        value = surrogate(log_policy, returns, tau, tau_prime, dynamics)
        bound = (tau + tau_prime) * spread + tau * xp.max(xp.abs(logs))
        scale = size(returns) + (tau + tau_prime) * size(logs, dynamics)
        checks.append(Check(f"rate at 1/{step}", xp.abs(value - limit), "<=", bound, scale=scale, asserted=False))
    return checks


_SIZES = {"actions": (1, 2), "states": (1, 2)}
_PATH = "tau > 0 and tau' >= 0 on the way (paths tau = a t, tau' = b t)"
the_cold_limit.reading(
    "literal",
    space=two_step_space(zeros=True, sizes=_SIZES, **TAME),
    assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, _PATH],
)
the_cold_limit.reading("intended", space=two_step_space(zeros=False, sizes=_SIZES, **TAME), adds=[POSITIVE_POLICY])


@claim(
    "ecpo.appd.prop4.ii",
    where="App. D.3, Proposition 4 (ii)",
    title="As tau grows and tau' vanishes, the stochastic surrogate tends to the expected return",
    statement=r"$SR_f(\pi_\theta)\to\mathbb E_{\rho\sim p_{\pi_\theta,f}}r(\rho)$ as $\tau\to\infty,\ \tau'\to0$.",
    kind="limit",
    shape=LIMIT,
    condition="rate",
    explanation=r"Hoeffding's lemma bounds $SR_f-\mathbb E\hat r$ by $\frac{(\max\hat r-\min\hat r)^2}{8(\tau+\tau')}$, and "
    r"$\mathbb E\hat r-\mathbb E r$ is $\tau'$ times an entropy.",
)
def the_hot_limit(p: Problem) -> list[Check]:
    """The distance to the expected return is at most a bound that vanishes along the path."""
    mask, logs, log_policy = _on_support(p)
    xp = namespace(log_policy)
    returns, dynamics = flat_returns(p), flat_dynamics(p)
    claimed = expectation(log_policy + dynamics, returns)
    checks = []
    for factor in (1, 1000, 10**6):
        tau, tau_prime = p.tau * factor, p.tau_prime / factor
        shaped = sampled_soft_value(returns, logs, row(tau_prime))
        bound = hoeffding_gap(shaped, tau + tau_prime, mask) + tau_prime * xp.max(xp.abs(logs))
        gap = xp.abs(surrogate(log_policy, returns, tau, tau_prime, dynamics) - claimed)
        scale = term_size(p, size(returns), logs, tau + tau_prime) + tau * size(dynamics)
        checks.append(Check(f"rate at {factor} tau", gap, "<=", bound, scale=scale))
    return checks


the_hot_limit.both_readings(
    space=two_step_space(zeros=True, sizes=_SIZES, **TAME), assumptions=[STOCHASTIC, POSITIVE_DYNAMICS]
)


def _estimator(p: Problem) -> tuple[Any, Any, Any, Any]:
    """Sampling law, exponents, scores of the first action's logits, and the true gradient."""
    _, logs, log_policy = _on_support(p)
    xp = namespace(log_policy)
    first = softmax_scores(p.policy)
    columns = [flat(returns_of(p) * 0 + first[..., :, None, None, j]) for j in range(p.actions)]
    scores = xp.stack(columns, axis=-1)
    omega = lift_weights(logs, flat_returns(p), p.tau, p.tau_prime)
    gradient = -mean_score(flat(two_step_lift(p)) + flat_dynamics(p), scores)
    return log_policy + flat_dynamics(p), omega, scores, gradient


@claim(
    "ecpo.appd.thm4",
    where="App. D.4, Theorem 4, Eq. 29",
    title="The self-normalised estimator is unbiased under stochastic transitions",
    statement=r"With $\omega_k=\frac{r(\rho_k)-\tau'\log\bar\pi(\rho_k)}{\tau+\tau'}$, $-\sum_{k=1}^K\frac{\exp\{\omega_k\}}{\sum_{j=1}^K"
    r"\exp\{\omega_j\}}\nabla_\theta\log\pi_\theta(\rho_k)$ is an unbiased gradient estimator of "
    r"$\nabla_\theta D_{KL}(p_{\bar\pi^*_{\tau,\tau'},f}\Vert p_{\pi_\theta,f})$.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation="Biased for the same reason as Lemma 1: it is a ratio of two sample means.",
    hand_check=r"With logits for the first action: for $K=1$ the expectation is $-(\bar\pi(j\mid s_1)-\pi_\theta(j\mid s_1))$, whatever the "
    "returns are.",
)
def the_stochastic_estimator_is_unbiased(p: Problem) -> Check:
    """Every component in the logits of the first action."""
    law, omega, scores, gradient = _estimator(p)
    return Check("unbiased", -self_normalised_expectation(law, omega, scores, p.samples), "==", gradient)


def _estimator_space(*, zeros: bool, samples: tuple[int, ...]) -> Space:
    sizes = {**_SIZES, "samples": samples}
    policy = Simplex(("actions",), zeros=False, exponents=(-6, 0))
    space = two_step_space(zeros=zeros, sizes=sizes, policy=policy, **TAME)
    return Space(space.fields, space.sizes, counts=("samples",))


_SAMPLES = "K i.i.d. samples from the reference policy interacting with the environment"
the_stochastic_estimator_is_unbiased.reading(
    "literal",
    space=_estimator_space(zeros=True, samples=(1, 2)),
    assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, _SAMPLES, TEMPERATURES],
)
the_stochastic_estimator_is_unbiased.reading(
    "intended",
    space=_estimator_space(zeros=False, samples=(2, 3)),
    adds=[POSITIVE_REFERENCE, "K >= 2", "pi_theta is a softmax policy in its logits"],
)


@claim(
    "ecpo.appd.thm4.amended",
    where="amends Theorem 4",
    title="With the exact normaliser the stochastic estimator is unbiased; self-normalised, its bias is at most of order 1/K",
    statement=r"$-\frac1K\sum_{k=1}^K\frac{\exp\{\omega_k\}}Z\nabla_\theta\log\pi_\theta(\rho_k)$ with "
    r"$Z=\mathbb E_{\rho\sim p_{\bar\pi,f}}\exp\{\omega(\rho)\}$ is unbiased, and every component of the bias of Eq. (29) is at most "
    r"$\frac{12}K\cdot\frac{\mathbb E\exp\{2\omega\}}{Z^2}\max_\rho|\nabla_\theta\log\pi_\theta(\rho)|$.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation="As for Lemma 1.",
    amends="ecpo.appd.thm4",
)
def the_normalised_stochastic_estimator_is_unbiased(p: Problem) -> list[Check]:
    """The exactly normalised estimator has the gradient as its mean; the self-normalised one comes near at rate 1/K."""
    law, omega, scores, gradient = _estimator(p)
    xp = namespace(law)
    bias = -self_normalised_expectation(law, omega, scores, p.samples) - gradient
    bound = self_normalised_bias(law, omega, scores, p.samples)
    return [
        Check("unbiased", -normalised_expectation(law, omega, scores), "==", gradient),
        Check("bias", xp.abs(bias), "<=", bound),
    ]


the_normalised_stochastic_estimator_is_unbiased.both_readings(
    space=_estimator_space(zeros=False, samples=(1, 2, 3)),
    assumptions=[STOCHASTIC, POSITIVE_DYNAMICS, _SAMPLES, TEMPERATURES, POSITIVE_REFERENCE],
)
