"""Section 3 and Appendix B: the Lift step and its estimator (Eq. 5, remark (a), Lemma 1)."""

from __future__ import annotations

from typing import Any

from exactrl.estimators import normalised_expectation, self_normalised_expectation
from exactrl.formulas import kl, lift_objective, lift_weights, softmax_scores
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, EXPECTATION, OPTIMALITY, POINTWISE, Check, Printed, claim
from proofs_checks.claims.ecpo.common import (
    DETERMINISTIC,
    POSITIVE_REFERENCE,
    TEMPERATURES,
    lift_size,
    lift_space,
    lifted,
    mean_score,
    on_support,
    printed_numerators,
    self_normalised_bias,
)
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import lift_identity

# Moderate sizes only: in floats the exponential of an extreme logarithm is 0 without being a counterexample.
_SHORT = (-20, 0)


@claim(
    "ecpo.sec3.zero_avoiding",
    where="Sec. 3",
    title="One direction of the divergence forbids mass, the other demands it",
    statement=r"$D_{KL}(\pi_\theta\Vert q)$ is infinite if $q=0$ and $\pi_\theta>0$ somewhere, and $D_{KL}(q\Vert\pi_\theta)$ is "
    r"zero-avoiding in $\pi_\theta$: if $q>0$ then $\pi_\theta>0$ wherever the divergence is finite.",
    kind="inequality",
    shape=POINTWISE,
    condition="infinite",
)
def missing_mass_is_infinite(p: Problem) -> list[Check]:
    """A divergence is infinite where the second policy lacks mass of the first, and finite otherwise."""
    xp = namespace(p.policy)
    nothing = xp.sum(p.policy) * 0
    infinite = nothing + float("inf")
    checks = []
    for name, first, second, lacking in (
        ("reverse", p.log_policy, p.log_target, p.support_policy & ~p.support_target),
        ("forward", p.log_target, p.log_policy, p.support_target & ~p.support_policy),
    ):
        missing, divergence = lacking.any(axis=-1), kl(first, second)
        checks.append(Check(f"{name} is infinite", xp.where(missing, divergence, infinite), "==", infinite))
        checks.append(Check(f"{name} is finite", xp.where(missing, nothing, divergence), "<", infinite))
    return checks


missing_mass_is_infinite.both_readings(
    space=Space(
        {"policy": Simplex(("n",), exponents=_SHORT), "target": Simplex(("n",), exponents=_SHORT)},
        {"n": (1, 2, 3, 5)},
    ),
    assumptions=[DETERMINISTIC],
)


@claim(
    "ecpo.sec3.nonzero",
    where="Sec. 3, remark (a)",
    title="The lifted policy is nonzero everywhere",
    statement=r"By Eq. (5), the $q=\bar\pi^*_{\tau,\tau'}$ in ECPO is nonzero everywhere.",
    kind="existence",
    shape=EXISTENCE,
    condition="nonzero",
    intended_statement=r"If the reference policy is positive everywhere, so is $q=\bar\pi^*_{\tau,\tau'}$.",
    explanation=r"With $\tau>0$ the lift has exactly the support of its reference: where $\bar\pi(\rho)=0$, so is $q(\rho)$.",
    hand_check=r"Eq. (5) multiplies by $\bar\pi(\rho)$: with $\tau'=0$ the numerator at a trajectory of reference probability 0 "
    r"is $0\cdot\exp\{r(\rho)/\tau\}=0$.",
)
def the_lift_is_positive(p: Problem) -> Any:
    """The least probability of the lift is above 0."""
    xp = namespace(p.log_reference)
    return xp.min(xp.exp(lifted(p, p.log_reference))), ">", p.tau * 0


_MODERATE: dict[str, Any] = {
    "returns": Real(("n",), exponents=(0, 0)),
    "tau": Positive(exponents=(0, 1)),
    "tau_prime": NonNegative(exponents=(0, 1)),
}

the_lift_is_positive.reading(
    "literal",
    space=lift_space(**_MODERATE, reference=Simplex(("n",), exponents=(-4, 0))),
    assumptions=[DETERMINISTIC, TEMPERATURES],
)
the_lift_is_positive.reading(
    "intended",
    space=lift_space(**_MODERATE, reference=Simplex(("n",), zeros=False, exponents=(-4, 0))),
    adds=[POSITIVE_REFERENCE],
)


@claim(
    "ecpo.eq5.lift",
    where="Sec. 3.1, Eq. 5; Lemma 6, Eq. 19",
    title="Closed form of the Lift step",
    statement=r"The Lift step $\arg\max_{\pi\in\Delta}\mathbb E_{\rho\sim\pi}r(\rho)-\tau D_{KL}(\pi\Vert\bar\pi)+\tau'\mathcal H(\pi)$ "
    r"has the solution $\bar\pi^*_{\tau,\tau'}(\rho)=\dfrac{\bar\pi(\rho)\exp\{\frac{r(\rho)-\tau'\log\bar\pi(\rho)}{\tau+\tau'}\}}"
    r"{\sum_{\rho'}\bar\pi(\rho')\exp\{\frac{r(\rho')-\tau'\log\bar\pi(\rho')}{\tau+\tau'}\}}$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    intended_statement="The same for a reference policy that is positive everywhere; equivalently, for every reference, "
    r"$\bar\pi^*_{\tau,\tau'}\propto\exp\{\frac{r+\tau\log\bar\pi}{\tau+\tau'}\}$, which is 0 where $\bar\pi$ is 0.",
    explanation=r"Where $\bar\pi(\rho)=0$ and $\tau'>0$ the printed numerator is $0\cdot\exp\{+\infty\}$, which has no value. "
    "The form of Eq. (21) does not divide the reference out, and has one.",
    hand_check=r"At the trajectory with $\bar\pi(\rho)=0$: $-\tau'\log\bar\pi(\rho)=+\infty$, so the numerator is $0\cdot\infty$.",
)
def the_lift_is_optimal(p: Problem) -> Any:
    """No challenger on the simplex has a larger objective than the closed form."""
    tau_prime = p.tau_prime
    best = lift_objective(lifted(p, p.log_reference), p.log_reference, p.returns, p.tau, tau_prime)
    other = lift_objective(p.log_challenger, p.log_reference, p.returns, p.tau, tau_prime)
    return Check("no challenger is better", best, ">=", other, scale=lift_size(p, p.log_reference, tau_prime))


the_lift_is_optimal.reading(
    "literal",
    space=lift_space(challenger=Simplex(("n",))),
    assumptions=[DETERMINISTIC, "reference policy", TEMPERATURES],
    printed=Printed(lift_space(), printed_numerators),
)
the_lift_is_optimal.reading(
    "intended",
    space=lift_space(zeros=False, challenger=Simplex(("n",))),
    adds=[POSITIVE_REFERENCE],
    proof=lift_identity(entropy=True, dynamics=False),
)


@claim(
    "ecpo.lemma1",
    where="Sec. 3.1, Lemma 1, Eq. 6",
    title="The self-normalised gradient estimator is unbiased",
    statement=r"With $\omega_k=\frac{r(\rho_k)-\tau'\log\bar\pi(\rho_k)}{\tau+\tau'}$, the estimator "
    r"$-\sum_{k=1}^K\frac{\exp\{\omega_k\}}{\sum_{j=1}^K\exp\{\omega_j\}}\nabla_\theta\log\pi_\theta(\rho_k)$ of "
    r"$\nabla_\theta D_{KL}(\bar\pi^*_{\tau,\tau'}\Vert\pi_\theta)$ is unbiased.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation="A ratio of two sample means is biased. Its expectation over K samples is a finite sum over K-tuples and "
    "differs from the gradient; for one sample the weight is always 1, so that the reference is imitated, not the lift. "
    "No added assumption rescues the word unbiased: the estimator is consistent, with a bias that falls as 1/K.",
    hand_check=r"Policy and logits: $\nabla_{\theta_j}\log\pi_\theta(\rho)=1[\rho=j]-\pi_\theta(j)$. For $K=1$ the expectation is "
    r"$-(\bar\pi(j)-\pi_\theta(j))$, the gradient $-(q(j)-\pi_\theta(j))$ with $q$ the lift.",
)
def the_estimator_is_unbiased(p: Problem) -> Check:
    """Every component of the expectation over K-tuples equals the component of the gradient."""
    scores = softmax_scores(p.policy)
    expected = self_normalised_expectation(p.log_reference, exponents(p), scores, p.samples)
    return Check("unbiased", -expected, "==", -mean_score(lifted(p, p.log_reference), scores))


def exponents(p: Problem) -> Any:
    """The exponents omega; at trajectories of probability 0, which are never sampled, any finite number."""
    return lift_weights(on_support(p.log_reference, p.support_reference), p.returns, p.tau, p.tau_prime)


_ESTIMATOR_SIZES = {"n": (1, 2, 3), "samples": (1, 2, 3)}


def estimator_space(*, zeros: bool, samples: tuple[int, ...]) -> Space:
    """References, returns, temperatures, a softmax policy and a number of samples."""
    fields = {
        "reference": Simplex(("n",), zeros=zeros, exponents=(-6, 0)),
        "returns": Real(("n",), exponents=(-2, 2)),
        "tau": Positive(exponents=(-2, 2)),
        "tau_prime": NonNegative(exponents=(-2, 2)),
        "policy": Simplex(("n",), zeros=False, exponents=(-6, 0)),
    }
    return Space(fields, {"n": (1, 2, 3), "samples": samples}, counts=("samples",))


the_estimator_is_unbiased.reading(
    "literal",
    space=estimator_space(zeros=True, samples=(1, 2, 3)),
    assumptions=[DETERMINISTIC, "K i.i.d. samples from the reference policy", TEMPERATURES],
)
the_estimator_is_unbiased.reading(
    "intended",
    space=estimator_space(zeros=False, samples=(2, 3, 4)),
    adds=[POSITIVE_REFERENCE, "K >= 2", "pi_theta is a softmax policy in its logits"],
)


@claim(
    "ecpo.lemma1.amended",
    where="amends Lemma 1",
    title="With the exact normaliser the estimator is unbiased; self-normalised, its bias is at most of order 1/K",
    statement=r"$-\frac1K\sum_{k=1}^K\frac{\exp\{\omega_k\}}{Z}\nabla_\theta\log\pi_\theta(\rho_k)$ with "
    r"$Z=\mathbb E_{\rho\sim\bar\pi}\exp\{\omega(\rho)\}$ is unbiased, and every component of the bias of Eq. (6) is at most "
    r"$\frac{12}K\cdot\frac{\mathbb E_{\bar\pi}\exp\{2\omega\}}{Z^2}\max_\rho|\nabla_\theta\log\pi_\theta(\rho)|$.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation="The second part is the known bound on the bias of self-normalised importance sampling.",
    amends="ecpo.lemma1",
)
def the_normalised_estimator_is_unbiased(p: Problem) -> list[Check]:
    """The exactly normalised estimator has the gradient as its mean; the self-normalised one comes near at rate 1/K."""
    xp = namespace(p.log_reference)
    scores, omega = softmax_scores(p.policy), exponents(p)
    gradient = -mean_score(lifted(p, p.log_reference), scores)
    bias = -self_normalised_expectation(p.log_reference, omega, scores, p.samples) - gradient
    bound = self_normalised_bias(p.log_reference, omega, scores, p.samples)
    return [
        Check("unbiased", -normalised_expectation(p.log_reference, omega, scores), "==", gradient),
        Check("bias", xp.abs(bias), "<=", bound),
    ]


the_normalised_estimator_is_unbiased.both_readings(
    space=estimator_space(zeros=False, samples=(1, 2, 3, 20)),
    assumptions=[DETERMINISTIC, "K i.i.d. samples from the reference policy", TEMPERATURES, POSITIVE_REFERENCE],
    effort=0.5,
)
