"""Words and spaces that several claims of the ECPO paper share.

A bandit with n arms is a deterministic episodic model with n trajectories, and every distribution on the trajectories
of a deterministic tree is a policy; so claims of Sections 2-4 about trajectories are judged on distributions over n of
them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from exactrl.formulas import log_lift
from exactrl.number_systems import namespace
from proofs_checks.claim import Given
from proofs_checks.claims.terms import size
from proofs_checks.extended import Extended, total, xlog
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space

DETERMINISTIC = "deterministic transitions, gamma = 1, episodic (Sec. 1.1)"
TEMPERATURES = "tau > 0, tau' >= 0 (temperatures)"
TEMPERATURE = "tau > 0 (a temperature)"
POSITIVE_REFERENCE = "the reference policy gives every trajectory positive probability"
POSITIVE_POLICY = "pi(rho) > 0 for every trajectory"

TRAJECTORIES = {"n": (1, 2, 3, 5)}


def lift_space(*, zeros: bool = True, **more: Any) -> Space:
    """References, returns and temperatures of a Lift step, with further fields."""
    fields = {
        "reference": Simplex(("n",), zeros=zeros),
        "returns": Real(("n",)),
        "tau": Positive(),
        "tau_prime": NonNegative(),
    }
    return Space(fields | more, TRAJECTORIES)


def family_space(*, entropy: bool, **more: Any) -> Space:
    """A finite policy class (its first member is the current policy), returns and temperatures."""
    fields = {"family": Simplex(("m", "n")), "returns": Real(("n",)), "tau": Positive()}
    if entropy:
        fields["tau_prime"] = NonNegative()
    return Space(fields | more, {"m": (2, 4), "n": (1, 2, 3, 5)})


def lifted(p: Problem, log_policy: Any) -> Any:
    """The lift of a policy under the problem's returns and temperatures; without tau_prime it is PMD's."""
    tau_prime = p.tau_prime if "tau_prime" in vars(p)["_arrays"] else 0
    return log_lift(log_policy, p.returns, p.tau, tau_prime)


def lift_size(p: Problem, log_policy: Any, tau_prime: Any = 0.0) -> Any:
    """The size of the terms of a lift or surrogate, for rounding (floats only)."""
    return term_size(p, size(p.returns), log_policy, tau_prime)


def term_size(p: Problem, rewards: Any, log_policy: Any, tau_prime: Any) -> Any:
    """Rewards and logarithms times the temperature, magnified by the size of the exponents that rounding perturbs."""
    if namespace(log_policy).name != "float64":
        return 1.0
    eta = p.tau + tau_prime
    terms = rewards + eta * size(log_policy)
    return terms * (1 + np.divide(terms, eta, out=np.zeros_like(terms), where=eta > 0))


def on_support(log_policy: Any, support: Any) -> Any:
    """The logarithms of a policy, 0 where its probability is 0: there nothing is ever sampled, and 0 log 0 = 0."""
    return namespace(log_policy).where(support, log_policy, 0)


def hoeffding_gap(values: Any, temperature: Any, support: Any = None) -> Any:
    """Hoeffding's bound on the gap in Jensen's inequality, (max - min)^2 / (8 temperature), over a support if given."""
    xp = namespace(values)
    low, high = (values if support is None else xp.where(support, values, sign * math.inf) for sign in (1, -1))
    width = xp.max(high) - xp.min(low)
    return width * width / (8 * temperature)


def self_normalised_bias(log_law: Any, omega: Any, scores: Any, samples: int) -> Any:
    """The bound on the bias of a self-normalised estimator of K samples, 12/K E e^{2w} / (E e^w)^2 max |score|."""
    xp = namespace(log_law)
    ratio = xp.exp(xp.logsumexp(log_law + 2 * omega) - 2 * xp.logsumexp(log_law + omega))
    return 12 * ratio[..., None] * xp.max(xp.abs(scores), axis=-2) / samples


def mean_score(log_weights: Any, scores: Any) -> Any:
    """The mean of the scores (..., N, d) under weights given by their logarithms, (..., d)."""
    xp = namespace(log_weights)
    return xp.sum(xp.exp(log_weights)[..., None] * scores, axis=-2)


def inside_the_segment(p: Problem, log_target: Any) -> Given:
    """In floats a projection nearer to an end of the segment than rounding says nothing; balls visit those."""
    xp = namespace(p.first_end)
    if xp.name != "float64":
        return ()
    masses = (log_target, xp.log(p.first_end), xp.log(p.second_end))
    return tuple((xp.min(xp.where(x == -math.inf, 0, x)), ">", -10.0) for x in masses)


def printed_numerators(instance: Instance, name: str = "reference") -> list[Extended]:
    """Eq. 5 as printed: the reference times exp{(r - tau' log reference) / (tau + tau')}, for each trajectory."""
    eta = Extended(instance["tau"]) + instance["tau_prime"]
    return [
        Extended(b) * ((Extended(r) - xlog(instance["tau_prime"], b)) / eta).exp()
        for b, r in zip(instance[name], instance["returns"], strict=True)
    ]


def printed_weights(policy: Any, returns: Any, tau: Any, tau_prime: Any = 0) -> list[Extended]:
    """The exponentials exp{(r + tau log policy) / (tau + tau')} of Eqs. 7 and 21 in extended reals."""
    eta = Extended(tau) + tau_prime
    return [((Extended(r) + xlog(tau, q)) / eta).exp() for q, r in zip(policy, returns, strict=True)]


def printed_lift(policy: Any, returns: Any, tau: Any, tau_prime: Any = 0) -> list[Extended]:
    """The solution of the Lift step in extended reals, in the form of Eq. 21, which is 0 where the policy is."""
    weights = printed_weights(policy, returns, tau, tau_prime)
    normaliser = total(weights)
    return [w / normaliser for w in weights]


def printed_divergence(first: Any, second: Any) -> Extended:
    """A divergence in extended reals, term by term."""
    return total(xlog(x, x) - xlog(x, y) for x, y in zip(first, second, strict=True))
