"""Appendix A.6 and Appendix B: what Lemma 2, Lemma 6 and Lemma 1 are proved from."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    lift_objective,
    log_boltzmann,
    shaped_returns,
    soft_policy_value,
    soft_value,
    softmax_scores,
    surrogate,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import EXPECTATION, LIMIT, OPTIMALITY, Check, claim
from proofs_checks.claims.ecpo.common import (
    DETERMINISTIC,
    POSITIVE_POLICY,
    TEMPERATURES,
    lift_size,
    lift_space,
    lifted,
    mean_score,
    on_support,
)
from proofs_checks.claims.ecpo.section3 import estimator_space, exponents
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import lift_identity


@claim(
    "ecpo.lemma2.variational",
    where="App. A.6",
    title="The surrogate is the value of the Lift step",
    statement=r"$SR(\pi)=\max_{\pi'\in\Delta}\ \mathbb E_{\rho\sim\pi'}r(\rho)-\tau D_{KL}(\pi'\Vert\pi)+\tau'\mathcal H(\pi')$.",
    kind="identity",
    shape=OPTIMALITY,
    condition="attained",
)
def the_surrogate_is_the_lift_value(p: Problem) -> list[Check]:
    """The lift attains the surrogate, and no challenger exceeds it."""
    value = surrogate(p.log_reference, p.returns, p.tau, p.tau_prime)
    attained, other = (
        lift_objective(x, p.log_reference, p.returns, p.tau, p.tau_prime)
        for x in (lifted(p, p.log_reference), p.log_challenger)
    )
    scale = lift_size(p, p.log_reference, p.tau_prime)
    return [
        Check("attained", attained, "==", value, scale=scale),
        Check("no challenger is better", other, "<=", value, scale=scale),
    ]


the_surrogate_is_the_lift_value.both_readings(
    space=lift_space(challenger=Simplex(("n",))),
    assumptions=[DETERMINISTIC, TEMPERATURES],
    proof=lift_identity(entropy=True, dynamics=False),
)


@claim(
    "ecpo.lemma2.softmax",
    where="App. A.6, proof of (i)",
    title="As tau vanishes, the surrogate tends to the soft maximum of the returns",
    statement=r"As $\tau\to0$, $SR(\pi_\theta)\to\tau'\log\sum_\rho\exp\{r(\rho)/\tau'\}$.",
    kind="limit",
    shape=LIMIT,
    condition="limit",
    intended_statement=r"The same for $\tau'>0$ and a policy that is positive everywhere.",
    explanation=r"With $\tau>0$ a trajectory of probability 0 does not count in the surrogate, so the limit is the soft maximum over "
    r"the support: $|SR(\pi)-\tau'\log\sum_{\pi(\rho)>0}\exp\{r(\rho)/\tau'\}|\le\tau(\log n+\max_{\pi(\rho)>0}|\log\pi(\rho)|)$.",
    hand_check=r"If $\pi$ puts all its mass on one trajectory $\rho$, then $SR(\pi)=r(\rho)$ for every $\tau>0$.",
)
def the_cold_limit_is_the_soft_maximum(p: Problem) -> list[Check]:
    """The limit in closed form against the claimed one; the rate bound certifies the closed form along the path."""
    xp = namespace(p.policy)
    supported = xp.where(p.support_policy, p.returns, -float("inf"))
    limit = soft_value(supported, p.tau_prime)
    logs = on_support(p.log_policy, p.support_policy)
    scale = lift_size(p, p.log_policy, p.tau_prime)
    checks = [Check("limit", limit, "==", soft_value(p.returns, p.tau_prime), scale=scale)]
    for step in (1, 100, 10_000):
        tau = p.tau / step
        value = surrogate(p.log_policy, p.returns, tau, p.tau_prime)
        bound = tau * (xp.log(xp.asarray(p.n)) + xp.max(xp.abs(logs)))
        checks.append(Check(f"rate at 1/{step}", xp.abs(value - limit), "<=", bound, scale=scale, asserted=False))
    return checks


def _soft_space(*, zeros: bool) -> Space:
    fields = {
        "policy": Simplex(("n",), zeros=zeros, exponents=(-12, 0)),
        "returns": Real(("n",), exponents=(-2, 2)),
        "tau": Positive(exponents=(-2, 2)),
        "tau_prime": Positive(exponents=(-1, 2)),
    }
    return Space(fields, {"n": (1, 2, 3, 6)})


the_cold_limit_is_the_soft_maximum.reading(
    "literal", space=_soft_space(zeros=True), assumptions=[DETERMINISTIC, "tau' > 0 fixed (the limit divides by it)"]
)
the_cold_limit_is_the_soft_maximum.reading("intended", space=_soft_space(zeros=False), adds=[POSITIVE_POLICY])


@claim(
    "ecpo.lemma6.eq21",
    where="App. B, Lemma 6, Eqs. 20-21",
    title="The lift in the form that no zero probability breaks",
    statement=r"The maximizer of $\mathbb E_{\rho\sim\pi}[r(\rho)+\tau\log\bar\pi(\rho)]+(\tau+\tau')\mathcal H(\pi)$ over $\Delta$ is "
    r"$\bar\pi^*_{\tau,\tau'}(\rho)\propto\exp\left\{\frac{r(\rho)+\tau\log\bar\pi(\rho)}{\tau+\tau'}\right\}$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
)
def the_boltzmann_lift_is_optimal(p: Problem) -> Check:
    """No challenger has a larger reshaped reward with entropy, zero probabilities included."""
    shaped = expectation_of_shaped(p, lifted(p, p.log_reference)), expectation_of_shaped(p, p.log_challenger)
    return Check(
        "no challenger is better", shaped[0], ">=", shaped[1], scale=lift_size(p, p.log_reference, p.tau_prime)
    )


def expectation_of_shaped(p: Problem, log_policy: Any) -> Any:
    """Eq. 20: the mean of r + tau log reference, plus (tau + tau') times the entropy."""
    return soft_policy_value(log_policy, shaped_returns(p.log_reference, p.returns, p.tau), p.tau + p.tau_prime)


the_boltzmann_lift_is_optimal.both_readings(
    space=lift_space(challenger=Simplex(("n",))),
    assumptions=[DETERMINISTIC, TEMPERATURES],
    proof=lift_identity(entropy=True, dynamics=False),
)


@claim(
    "ecpo.lemma1.ratio",
    where="App. B, proof of Lemma 1, first line",
    title="Importance sampling with the exact ratio is unbiased",
    statement=r"$-\frac1K\sum_{k=1}^K\frac{\bar\pi^*_{\tau,\tau'}(\rho_k)}{\bar\pi(\rho_k)}\nabla_\theta\log\pi_\theta(\rho_k)$ is the first "
    r"step ($\approx$) of the proof that the estimator is unbiased; judged as: its expectation is "
    r"$\nabla_\theta D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_\theta)$.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation=r"With $\tau>0$ the lift has no mass where the reference has none, so that no trajectory is missed. The bias of Lemma 1 "
    "enters with the next step, which replaces the normaliser by a sample mean.",
)
def the_exact_ratio_is_unbiased(p: Problem) -> Check:
    """The mean under the reference of the ratio of Eq. 5 times the score, against the mean of the score under Eq. 21."""
    xp = namespace(p.log_reference)
    scores, omega = softmax_scores(p.policy), exponents(p)
    ratio = xp.exp(log_boltzmann(omega, 1, p.log_reference))
    expected = xp.sum(xp.weighted(p.reference[..., None], ratio[..., None] * scores), axis=-2)
    return Check("unbiased", -expected, "==", -mean_score(lifted(p, p.log_reference), scores))


the_exact_ratio_is_unbiased.both_readings(
    space=estimator_space(zeros=True, samples=(1,)),
    assumptions=[
        DETERMINISTIC,
        "the samples are i.i.d. from the reference policy",
        "the scores exist (here: pi_theta is a softmax policy in its logits)",
        TEMPERATURES,
    ],
)
