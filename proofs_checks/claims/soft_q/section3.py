"""Section 3.2: the soft value by importance sampling, and the squared distance of two functions."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    expected_sampled_soft_value,
    importance_soft_value,
    log_soft_greedy,
    policy_average,
    soft_maximum,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import EXPECTATION, POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import FINITE, TEMPERATURE
from proofs_checks.claims.terms import size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

ACTIONS = {"actions": (1, 2, 3, 5)}


def _proposals(*, zeros: bool) -> Space:
    return Space(
        {
            "action_values": Real(("actions",)),
            "proposal": Simplex(("actions",), zeros=zeros),
            "alpha": Positive(),
        },
        ACTIONS,
    )


@claim(
    "soft_q.eq10",
    where="Sec. 3.2, Eq. 10",
    title="The soft value as an expectation under any proposal",
    statement=r"$V^\theta_{soft}(s_t)=\alpha\log\mathbb E_{q_{a'}}\left[\frac{\exp(\frac1\alpha Q^\theta_{soft}(s_t,a'))}{q_{a'}(a')}\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="soft value",
    intended_statement=r"The same for a proposal $q_{a'}$ that gives every action positive probability.",
    explanation=r"The source permits an arbitrary distribution. An action that $q_{a'}$ never takes does not enter the expectation, and its "
    r"$\exp(Q/\alpha)$ is missing; the expectation is the soft value over the actions that $q_{a'}$ takes.",
    hand_check=r"Two actions, $Q=(0,0)$, $\alpha=1$, $q=(1,0)$: $V=\log2$, but $\log\mathbb E_q[\exp(Q)/q]=\log1=0$.",
)
def the_soft_value_is_an_expectation(p: Problem) -> Check:
    """Both sides; actions outside the proposal do not count in the expectation."""
    right = importance_soft_value(p.action_values, p.log_proposal, p.alpha)
    value = soft_maximum(p.action_values, p.alpha)
    return Check("soft value", value, "==", right, scale=size(p.action_values) + p.alpha * size(p.log_proposal))


the_soft_value_is_an_expectation.reading(
    "literal",
    space=_proposals(zeros=True),
    assumptions=[FINITE, TEMPERATURE, "q an arbitrary distribution over the action space"],
)
the_soft_value_is_an_expectation.reading("intended", space=_proposals(zeros=False), adds=["q(a) > 0 for every action"])


@claim(
    "soft_q.sec32.mse",
    where="Sec. 3.2",
    title="Two functions agree exactly where their mean squared distance vanishes",
    statement=r"$g_1(x)=g_2(x)\ \forall x\in\mathbb X\iff\mathbb E_{x\sim q}\left[(g_1(x)-g_2(x))^2\right]=0$ for any strictly positive "
    r"density $q$ on $\mathbb X$.",
    kind="identity",
    shape=POINTWISE,
    condition="distance",
    explanation=r"Judged on finite sets, by $\min_xq(x)\max_x(g_1-g_2)^2\le\mathbb E_q[(g_1-g_2)^2]\le\max_x(g_1-g_2)^2$: either side "
    "of the equivalence is 0 only together with the other. For densities the functions agree almost everywhere, which is less than everywhere "
    "unless they are continuous; that is not judged here.",
)
def the_distance_vanishes_with_the_difference(p: Problem) -> list[Check]:
    """The mean squared distance between two multiples of the largest one."""
    xp = namespace(p.first)
    difference: Any = p.first - p.second
    square = difference * difference
    mean, most = policy_average(p.weights, square), xp.max(square)
    scale = size(square)
    return [
        Check("equal if the distance is 0", mean, ">=", xp.min(p.weights) * most, scale=scale),
        Check("distance 0 if equal", mean, "<=", most, scale=scale),
    ]


the_distance_vanishes_with_the_difference.both_readings(
    space=Space(
        {"first": Real(("points",)), "second": Real(("points",)), "weights": Simplex(("points",), zeros=False)},
        {"points": (1, 2, 3, 5)},
    ),
    assumptions=["finitely many points, sums for integrals", "q strictly positive"],
)


@claim(
    "soft_q.sec32.unbiased",
    where="Sec. 3.2",
    title="Samples of the current policy estimate the soft value without bias",
    statement=r"Using the current policy $\pi(a_t\mid s_t)\propto\exp(\frac1\alpha Q^\theta_{soft}(s_t,a_t))$ as $q_{a'}$ in Eq. 10 "
    "produces an unbiased estimate of the soft value.",
    kind="expectation",
    shape=EXPECTATION,
    condition="unbiased",
    explanation=r"With this proposal $\exp(Q/\alpha)/q$ is the partition function for every action, so that the logarithm of its mean over "
    "any number of samples is exact. It is the only proposal without bias: under any other the logarithm is of a mean that varies.",
)
def the_estimate_of_the_current_policy_is_unbiased(p: Problem) -> Check:
    """The expectation over all tuples of K samples against the soft value."""
    log_proposal = log_soft_greedy(p.action_values, p.alpha)
    mean = expected_sampled_soft_value(p.action_values, log_proposal, p.alpha, p.samples)
    value = soft_maximum(p.action_values, p.alpha)
    return Check("unbiased", mean, "==", value, scale=size(p.action_values) + p.alpha)


the_estimate_of_the_current_policy_is_unbiased.both_readings(
    space=Space(
        {"action_values": Real(("actions",)), "alpha": Positive()},
        {"actions": (1, 2, 3), "samples": (1, 2, 3)},
        counts=("samples",),
    ),
    assumptions=[FINITE, TEMPERATURE, "K independent samples a' of q"],
)
