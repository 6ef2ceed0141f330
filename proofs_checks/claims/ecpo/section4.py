"""Section 4 and Appendix C: the actor-critic extension (Eq. 8, the one-sample estimate, Lemma 7)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    expectation,
    forward_kl_slope,
    lift_objective,
    lift_weights,
    log_lift,
    sampled_soft_value,
    shaped_returns,
    softmax_scores,
    surrogate,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import EXPECTATION, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURES, hoeffding_gap, on_support, term_size
from proofs_checks.claims.ecpo.two_steps import flat
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space
from proofs_checks.symbolic import tree_recursion_identity


@claim(
    "ecpo.eq8.value",
    where="Sec. 4, Eq. 8",
    title="The soft optimal value of the lift objective",
    statement=r"The soft optimal value of $O_{ECPO}$ is $\bar V^*(s)=(\tau+\tau')\log\sum_a\exp\left\{\frac{\bar Q^*(s,a)+\tau\log"
    r"\bar\pi(a\mid s)}{\tau+\tau'}\right\}$ with $\bar Q^*(s,a)=r(s,a)+\gamma\bar V^*(s')$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="value",
    explanation="Judged on two-step deterministic trees with gamma = 1 (Sec. 1.1): the recursion over states against the sum "
    "over trajectories, and against challengers. A state carries its time step, as episodes end.",
)
def the_soft_value_is_the_optimum(p: Problem) -> list[Check]:
    """The recursion gives the value of the lift over trajectories, and no policy has more."""
    later = surrogate(p.log_second, p.second_rewards, row(p.tau), row(p.tau_prime))
    value = surrogate(p.log_first, p.first_rewards + later, p.tau, p.tau_prime)
    returns, log_reference, log_challenger = (
        flat(x, 2)
        for x in (
            p.first_rewards[..., :, None] + p.second_rewards,
            p.log_first[..., :, None] + p.log_second,
            p.log_challenger_first[..., :, None] + p.log_challenger_second,
        )
    )
    lift = log_lift(log_reference, returns, p.tau, p.tau_prime)
    attained = lift_objective(lift, log_reference, returns, p.tau, p.tau_prime)
    other = lift_objective(log_challenger, log_reference, returns, p.tau, p.tau_prime)
    scale = term_size(p, size(returns), log_reference, p.tau_prime)
    return [
        Check("value", value, "==", attained, scale=scale),
        Check("no challenger is better", value, ">=", other, scale=scale),
    ]


the_soft_value_is_the_optimum.both_readings(
    space=Space(
        {
            "first": Simplex(("actions",)),
            "second": Simplex(("actions", "later")),
            "first_rewards": Real(("actions",)),
            "second_rewards": Real(("actions", "later")),
            "challenger_first": Simplex(("actions",)),
            "challenger_second": Simplex(("actions", "later")),
            "tau": Positive(),
            "tau_prime": NonNegative(),
        },
        {"actions": (1, 2, 3), "later": (1, 2, 3)},
    ),
    assumptions=[DETERMINISTIC, "the optimal policy maximises O_ECPO at s, and V* is its value", TEMPERATURES],
    proof=tree_recursion_identity,
)


def action_space(*, zeros: bool, **more: Any) -> Space:
    """Action values, a reference and temperatures at one state, with further fields."""
    fields = {
        "action_values": Real(("n",), exponents=(-3, 3)),
        "reference": Simplex(("n",), zeros=zeros, exponents=(-12, 0)),
        "tau": Positive(exponents=(-3, 3)),
        "tau_prime": NonNegative(exponents=(-3, 3)),
    }
    return Space(fields | more, {"n": (1, 2, 3, 5)})


def one_sample(p: Problem) -> Any:
    """The one-sample estimate Q - tau' log reference of each action that the reference takes."""
    logs = on_support(p.log_reference, p.support_reference)
    return sampled_soft_value(p.action_values, logs, row(p.tau_prime))


def one_sample_mean(p: Problem) -> Any:
    """The mean of the one-sample estimate Q - tau' log reference under the reference."""
    return expectation(p.log_reference, one_sample(p))


def value_scale(p: Problem) -> Any:
    """The size of the terms of the soft value, for rounding."""
    return term_size(p, size(p.action_values), p.log_reference, p.tau_prime)


@claim(
    "ecpo.sec4.onesample",
    where="Sec. 4, before Eq. 9",
    title="One sampled action estimates the soft optimal value",
    statement=r"Sampling one single action $a\sim\bar\pi(\cdot\mid s)$ gives a Monte-Carlo estimate "
    r"$\bar V^*(s)\approx\bar Q^*(s,a)-\tau'\log\bar\pi(a\mid s)$ of the soft optimal value.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation=r"The logarithm stands outside the expectation in $\bar V^*=(\tau+\tau')\log\mathbb E_{\bar\pi}\exp\{\cdot\}$. "
    "With one sample the two cancel, so the estimate has the mean of its exponent, which by Jensen's inequality lies below "
    "the value whenever the exponent varies. More data do not help: Eq. (9) regresses onto this mean.",
    hand_check=r"$\mathbb E_{a\sim\bar\pi}[\bar Q^*-\tau'\log\bar\pi]$ against $(\tau+\tau')\log\sum_a\exp\{\frac{\bar Q^*+\tau\log"
    r"\bar\pi}{\tau+\tau'}\}$.",
)
def the_one_sample_estimate_is_unbiased(p: Problem) -> Check:
    """The mean of the estimate equals the soft value."""
    value = surrogate(p.log_reference, p.action_values, p.tau, p.tau_prime)
    return Check("unbiased", one_sample_mean(p), "==", value, scale=value_scale(p))


the_one_sample_estimate_is_unbiased.reading(
    "literal",
    space=action_space(zeros=True),
    assumptions=[DETERMINISTIC, "a is sampled from the reference", TEMPERATURES],
)
the_one_sample_estimate_is_unbiased.reading(
    "intended", space=action_space(zeros=False), adds=["the reference gives every action positive probability"]
)


@claim(
    "ecpo.sec4.onesample.amended",
    where="amends the estimate before Eq. 9",
    title="The one-sample estimate is a lower bound in expectation, with a gap that falls as the temperature grows",
    statement=r"$\mathbb E_{a\sim\bar\pi}[\bar Q^*(s,a)-\tau'\log\bar\pi(a\mid s)]\le\bar V^*(s)$, and the gap is at most "
    r"$\frac{(\max_a\hat q-\min_a\hat q)^2}{8(\tau+\tau')}$ with $\hat q=\bar Q^*-\tau'\log\bar\pi$ on the support of $\bar\pi$.",
    kind="inequality",
    shape=POINTWISE,
    condition="lower bound",
    explanation="Jensen's inequality and Hoeffding's lemma.",
    amends="ecpo.sec4.onesample",
)
def the_one_sample_estimate_is_a_lower_bound(p: Problem) -> list[Check]:
    """Jensen's inequality from below, Hoeffding's lemma from above."""
    value, mean = surrogate(p.log_reference, p.action_values, p.tau, p.tau_prime), one_sample_mean(p)
    gap = hoeffding_gap(one_sample(p), p.tau + p.tau_prime, p.support_reference)
    scale = value_scale(p)
    return [
        Check("lower bound", mean, "<=", value, scale=scale),
        Check("gap", value - mean, "<=", gap, scale=scale),
    ]


the_one_sample_estimate_is_a_lower_bound.both_readings(
    space=action_space(zeros=True), assumptions=[DETERMINISTIC, "a is sampled from the reference", TEMPERATURES]
)


def log_policy_target(p: Problem) -> Any:
    """The logarithm of what the policy loss projects, exp{(Q + tau log reference - V) / (tau + tau')}, (..., n)."""
    xp = namespace(p.log_reference)
    shaped = shaped_returns(p.log_reference, p.action_values, p.tau)
    return (shaped - xp.per_row(p.value)) / xp.per_row(p.tau + p.tau_prime)


@claim(
    "ecpo.lemma7",
    where="App. C, Lemma 7, Eq. 26",
    title="The policy gradient of ECAC by importance sampling",
    statement=r"$\nabla_\theta L(\theta)=\nabla_\theta\mathbb E_{s\sim\mathcal D}\left[\mathbb E_{a\sim\bar\pi}\left[\exp\left\{"
    r"\frac{Q_\psi(s,a)-\tau'\log\bar\pi(a\mid s)-V_\phi(s)}{\tau+\tau'}\right\}\log\pi_\theta(a\mid s)\right]\right]$ for "
    r"$L(\theta)=\mathbb E_{s\sim\mathcal D}D_{KL}\left(\exp\{\frac{Q_\psi(s,\cdot)+\tau\log\bar\pi(\cdot\mid s)-V_\phi(s)}"
    r"{\tau+\tau'}\}\Vert\pi_\theta(\cdot\mid s)\right)$.",
    kind="identity",
    shape=POINTWISE,
    condition="gradient",
    intended_statement=r"The same with a minus sign on the right, as in the last line of the paper's own proof.",
    explanation="The printed gradient lacks the minus sign of its own proof: descending along it moves the policy away from "
    "the target.",
    hand_check=r"With logits, $\nabla_{\theta_j}\log\pi_\theta(a)=1[a=j]-\pi_\theta(j)$ and $p_a=\exp\{\frac{Q+\tau\log\bar\pi-V}"
    r"{\tau+\tau'}\}$: the left side is $-p_j+\pi_\theta(j)\sum_ap_a$, the printed right side its negative.",
)
def the_printed_gradient(p: Problem) -> Check:
    """Each component of the gradient in the logits, against Eq. 26 as printed."""
    return _gradient(p, sign=1)


def _gradient(p: Problem, *, sign: int) -> Check:
    xp = namespace(p.policy)
    shift = xp.per_row(p.value) / xp.per_row(p.tau + p.tau_prime)
    logs = on_support(p.log_reference, p.support_reference)
    weight = xp.weighted(p.reference, xp.exp(lift_weights(logs, p.action_values, p.tau, p.tau_prime) - shift))
    tangents = xp.moveaxis(softmax_scores(p.policy), -1, -2)  # one row a logit
    left = forward_kl_slope(log_policy_target(p)[..., None, :], tangents)
    scale = 1e-6 + (xp.max(weight) if xp.name == "float64" else 0)
    return Check("gradient", left, "==", sign * xp.sum(weight[..., None, :] * tangents), scale=scale)


_GRADIENT: dict[str, Any] = {
    "policy": Simplex(("n",), zeros=False, exponents=(-6, 0)),
    "value": Real(exponents=(-1, 1)),
    "action_values": Real(("n",), exponents=(-1, 1)),
    "tau": Positive(exponents=(0, 2)),
    "tau_prime": NonNegative(exponents=(0, 2)),
}

the_printed_gradient.reading(
    "literal", space=action_space(zeros=False, **_GRADIENT), assumptions=[DETERMINISTIC, TEMPERATURES]
)
the_printed_gradient.reading(
    "intended",
    space=action_space(zeros=False, **_GRADIENT),
    adds=[
        "the minus sign that the last line of the proof has",
        "pi_theta is positive and differentiable",
        "the reference gives every action positive probability",
    ],
    sides=lambda p: _gradient(p, sign=-1),
)
