r"""The numbers behind the pictures: small instances of a claim, computed by the exact core and nowhere else.

An illustration shows what a claim says on one instance; it judges nothing.  Its `data` are columns of equal
length, every number that the picture shows among them, so that they can stand beside the picture as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from exactrl.errors import ExactRLError
from exactrl.estimators import self_normalised_expectation
from exactrl.formulas import (
    expectation,
    lift_weights,
    log_lift,
    sampled_soft_value,
    softmax_scores,
    surrogate,
)
from exactrl.mirror_descent import ecpo, regret, theorem1_bound, theorem1_schedule
from exactrl.policy_classes import FiniteFamily, Simplex
from proofs_checks.claim import registry
from proofs_checks.instances import Problem

__all__ = ["Illustration", "illustrations_for"]

Column: TypeAlias = list[float] | list[int]
Floats: TypeAlias = NDArray[np.float64]

SAMPLES = range(1, 13)
REGRET_STEPS = 30
REGRET_SCALE = 20
SURROGATE_STEPS = 5
TEMPERATURES = np.logspace(-2, 3, 41)


@dataclass(frozen=True)
class Illustration:
    """One picture of a claim: title and caption are texts with $...$ formulas, data named columns of equal length."""

    claim_id: str
    kind: str
    title: str
    caption: str
    data: dict[str, Column]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.data.items()}
        if len(set(lengths.values())) > 1:
            raise ExactRLError(f"{self.claim_id}: the columns have lengths {lengths}, expected one length for all")


def illustrations_for(ids: Iterable[str]) -> list[Illustration]:
    """Return the illustrations of the claims named, in the order named; a claim without a picture yields none."""
    return [_ILLUSTRATIONS[claim_id](claim_id) for claim_id in ids if claim_id in _ILLUSTRATIONS]


def _column(values: Floats) -> list[float]:
    return [float(value) for value in np.asarray(values)]


def _fractions(numerators: list[int]) -> Floats:
    counts = np.array(numerators, dtype=np.float64)
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _estimator(claim_id: str) -> Illustration:
    """The expectation of the self-normalised estimator for a softmax policy in its logits, against K."""
    tau, tau_prime = 0.5, 0.25
    log_reference, returns = np.log(_fractions([6, 3, 1])), np.array([0.0, 1.0, 2.0])
    policy = _fractions([1, 1, 1])
    scores = -softmax_scores(policy)  # row rho holds -grad log pi(rho)
    exponent = lift_weights(log_reference, returns, tau, tau_prime)
    means = np.array([self_normalised_expectation(log_reference, exponent, scores, samples) for samples in SAMPLES])
    truth = expectation(log_lift(log_reference, returns, tau, tau_prime), scores.T)
    data: dict[str, Column] = {"K": list(SAMPLES)}
    for j in range(3):
        data[f"expectation_{j + 1}"] = _column(means[:, j])
        data[f"gradient_{j + 1}"] = _column(np.full(len(SAMPLES), truth[j]))
    return Illustration(
        claim_id,
        "estimator",
        "The estimator's expectation against the number of samples",
        "Markers: the exact expectation of each of the estimator's three components, over all ways to draw $K$ "
        "samples. Lines: the component of $\\nabla_\\theta D_{KL}(\\bar\\pi^*_{\\tau,\\tau'}\\Vert\\pi_\\theta)$ it "
        "is to estimate. An unbiased estimator would lie on the line at every $K$. Three trajectories, "
        "$\\bar\\pi=(6,3,1)/10$, $r=(0,1,2)$, $\\tau=1/2$, $\\tau'=1/4$, softmax policy with equal logits.",
        data,
    )


def _regret(claim_id: str) -> Illustration:
    """Regret of ECPO on the simplex with Theorem 1's schedule, for rewards within [-1, 1] and for larger ones."""
    base = np.array([1.0, -1.0, -1.0, -1.0])
    n = len(base)
    tau, tau_prime = theorem1_schedule(REGRET_STEPS, n)
    data: dict[str, Column] = {"t": list(range(REGRET_STEPS + 1))}
    for name, scale in (("regret_within_1", 1), (f"regret_times_{REGRET_SCALE}", REGRET_SCALE)):
        returns = scale * base
        uniform = np.log(_fractions([1] * n))
        path = ecpo(uniform, returns, tau=tau, tau_prime=tau_prime, policy_class=Simplex(n), steps=REGRET_STEPS)
        data[name] = [0.0, *_column(regret(path.log_policies[:REGRET_STEPS], returns, Simplex(n)))]
    data["bound"] = [theorem1_bound(REGRET_STEPS, n)] * (REGRET_STEPS + 1)
    return Illustration(
        claim_id,
        "regret",
        "Cumulative regret against the bound of Theorem 1",
        f"ECPO on the whole simplex over $n={n}$ trajectories from the uniform policy, with the schedule of Theorem 1 "
        f"for $T={REGRET_STEPS}$ steps. The bound $4\\sqrt{{T\\log n}}$ speaks of the end, $t=T$. It does not depend "
        f"on the size of the rewards: with $r=(1,-1,-1,-1)$ it holds, with ${REGRET_SCALE}\\,r$ the first step "
        "alone exceeds it.",
        data,
    )


def _surrogate_path(claim_id: str) -> Illustration:
    """Surrogate and expected return along ECPO on a family of four policies, where the projection is a comparison."""
    members = np.stack([_fractions(row) for row in ([1, 3, 9], [3, 3, 5], [9, 12, 4], [6, 11, 2])])
    returns, tau, tau_prime = np.array([0.0, 3.0, 1.0]), 1.0, 1.0
    family = FiniteFamily(members)
    path = ecpo(np.log(members[0]), returns, tau=tau, tau_prime=tau_prime, policy_class=family, steps=SURROGATE_STEPS)
    data: dict[str, Column] = {
        "t": list(range(SURROGATE_STEPS + 1)),
        "surrogate": _column(surrogate(path.log_policies, returns, tau, tau_prime)),
        "expected_return": _column(expectation(path.log_policies, returns)),
    }
    return Illustration(
        claim_id,
        "path",
        "Surrogate and expected return along the iterations",
        "ECPO on a class of four policies over three trajectories, projected exactly: the surrogate $SR$ never falls; "
        "the expected return may, and here it does at the first step. $r=(0,3,1)$, $\\tau=\\tau'=1$, policies "
        "$(1,3,9)/13$, $(3,3,5)/11$, $(9,12,4)/25$, $(6,11,2)/19$, started at the first.",
        data,
    )


_BOUND_INSTANCE = "Three trajectories, $\\pi=(5,3,2)/10$, $r=(0,1,3)$, $\\tau'=1/2$."


def _bound(claim_id: str, name: str, title: str, caption: str) -> Illustration:
    """The two sides of a claim that bounds the surrogate, the very ones that are judged, against tau."""
    rows = (len(TEMPERATURES), 1)
    policy = np.tile(_fractions([5, 3, 2]), rows)
    arrays = {
        "policy": policy,
        "log_policy": np.log(policy),
        "support_policy": policy > 0,
        "returns": np.tile([0.0, 1.0, 3.0], rows),
        "tau": TEMPERATURES,
        "tau_prime": np.full(len(TEMPERATURES), 0.5),
    }
    (check,) = registry()[claim_id].readings["intended"].checks(Problem({"n": 3}, arrays))
    small, large = (np.broadcast_to(side, TEMPERATURES.shape) for side in (check.left, check.right))
    bound, value = (small, large) if name == "lower" else (large, small)
    data: dict[str, Column] = {"tau": _column(TEMPERATURES), "surrogate": _column(value), name: _column(bound)}
    return Illustration(claim_id, "bound", title, f"{caption} {_BOUND_INSTANCE}", data)


def _lower_bound(claim_id: str) -> Illustration:
    return _bound(
        claim_id,
        "lower",
        "The surrogate and its lower bound",
        "$SR(\\pi)$ against $\\tau$, and the lower bound $\\mathbb E_{\\rho\\sim\\pi}r(\\rho)+\\tau'\\mathcal H(\\pi)$ "
        "that it approaches as $\\tau\\to\\infty$.",
    )


def _upper_bound(claim_id: str) -> Illustration:
    return _bound(
        claim_id,
        "upper",
        "The surrogate and its upper bound",
        "$SR(\\pi)$ against $\\tau$, with the upper bound of the lemma; both tend to "
        "$\\mathbb E_{\\rho\\sim\\pi}\\hat r(\\rho)$ as $\\tau\\to\\infty$.",
    )


def _one_sample(claim_id: str) -> Illustration:
    """The soft optimal value and the expectation of its one-sample estimate at one state, against tau."""
    log_reference, action_values, tau_prime = np.log(_fractions([5, 3, 2])), np.array([0.0, 1.0, 3.0]), 0.5
    estimate = float(expectation(log_reference, sampled_soft_value(action_values, log_reference, tau_prime)))
    return Illustration(
        claim_id,
        "value",
        "The soft optimal value and what one sample estimates",
        "One state, three actions: $\\bar V^*(s)$ and the exact expectation of "
        "$\\bar Q^*(s,a)-\\tau'\\log\\bar\\pi(a\\mid s)$ over $a\\sim\\bar\\pi$. "
        "The estimate lies below the value at every $\\tau$ and meets it "
        "only as $\\tau\\to\\infty$. $\\bar\\pi=(5,3,2)/10$, $\\bar Q^*=(0,1,3)$, $\\tau'=1/2$.",
        {
            "tau": _column(TEMPERATURES),
            "soft_value": [float(surrogate(log_reference, action_values, tau, tau_prime)) for tau in TEMPERATURES],
            "estimate": [estimate] * len(TEMPERATURES),
        },
    )


_ILLUSTRATIONS: dict[str, Callable[[str], Illustration]] = {
    "ecpo.lemma1": _estimator,
    "ecpo.thm1.fixed": _regret,
    "ecpo.thm2.monotone": _surrogate_path,
    "ecpo.lemma2.lower": _lower_bound,
    "ecpo.lemma2.upper": _upper_bound,
    "ecpo.sec4.onesample": _one_sample,
}
