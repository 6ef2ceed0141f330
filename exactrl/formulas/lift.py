r"""Lift and surrogate of ECPO, the mirror-descent lift of PMD as their special case tau' = 0.

Shapes: N trajectories on the last axis, any batch before it; temperatures are scalars or have the batch shape.
With stochastic dynamics, policies are densities with respect to f: $\sum_\rho\pi(\rho)f(\rho)=1$.
Units: natural logarithms; 0 log 0 = 0.
"""

from __future__ import annotations

import math
from typing import Any

from exactrl.errors import ExactRLError
from exactrl.formulas.divergences import entropy, expectation, kl
from exactrl.formulas.evaluation import soft_score
from exactrl.formulas.soft import log_boltzmann, soft_value
from exactrl.number_systems import A, Namespace, namespace


def total_temperature(tau: Any, tau_prime: Any) -> Any:
    r"""The temperature $\eta=\tau+\tau'$ of lift and surrogate, scalars or arrays alike.

    Raises ExactRLError when it is not positive and finite (NaN included).
    Source: ECPO, Lemma 2.
    """
    total = tau + tau_prime
    if not (_everywhere(total > 0) and _everywhere(total < math.inf)):
        raise ExactRLError(
            f"tau + tau_prime is {total}: expected a positive finite number, because lift and surrogate divide by it"
        )
    return total


def _everywhere(condition: Any) -> bool:
    return condition if isinstance(condition, bool) else bool(condition.all())


def _outcomes(xp: Namespace[Any], *arrays: Any) -> list[Any]:
    """Return the arrays of one number system, after checking that they have the same trajectories on the last axis."""
    found = [xp.asarray(x) for x in arrays]
    if not all(x.ndim and x.shape[-1] == found[0].shape[-1] for x in found):
        raise ExactRLError(
            f"log-probabilities, returns and dynamics have shapes {', '.join(str(tuple(x.shape)) for x in found)}: "
            "expected the same number of trajectories on the last axis"
        )
    return found


def _refuse_other_lengths(returns: Any, log_dynamics: Any) -> None:
    if log_dynamics is not None:
        _outcomes(namespace(returns, log_dynamics), returns, log_dynamics)


def shaped_returns(log_policy: A, returns: A, tau: Any) -> A:
    r"""The score $r(\rho)+\tau\log\pi(\rho)$ that lift and surrogate share.

    Shapes: log_policy, returns (..., N) -> (..., N).
    Source: ECPO, Eqs. 7 and 21.
    """
    xp = namespace(log_policy, returns)
    log_policy, returns = _outcomes(xp, log_policy, returns)
    return returns + xp.scaled_log(xp.per_row(tau), log_policy)


def log_lift(log_reference: A, returns: A, tau: Any, tau_prime: Any, log_dynamics: A | None = None) -> A:
    r"""Log of the lifted policy $\bar\pi^*_{\tau,\tau'}\propto\exp\{(r+\tau\log\bar\pi)/(\tau+\tau')\}$.

    It maximises $\mathbb E r-\tau D_{KL}(\pi\Vert\bar\pi)+\tau'\mathcal H(\pi)$ over the simplex; with log_dynamics it
    is the density of Lemma 8, which maximises the same objective subject to $\sum_\rho\pi(\rho)f(\rho)=1$.

    Shapes: log_reference, returns, log_dynamics (..., N) -> (..., N).
    Any tau, tau' with tau + tau' > 0; where the reference is zero and tau > 0 the lift is zero.
    Raises ExactRLError when tau + tau' is not positive.
    Source: ECPO, Eqs. 5 and 21; Lemma 8.
    """
    _refuse_other_lengths(returns, log_dynamics)
    return log_boltzmann(shaped_returns(log_reference, returns, tau), total_temperature(tau, tau_prime), log_dynamics)


def surrogate(log_policy: A, returns: A, tau: Any, tau_prime: Any, log_dynamics: A | None = None) -> A:
    r"""Surrogate $SR_f(\pi)=(\tau+\tau')\log\sum_\rho f(\rho)\exp\{(r(\rho)+\tau\log\pi(\rho))/(\tau+\tau')\}$.

    Shapes: log_policy, returns, log_dynamics (..., N) -> (...).
    Any tau, tau' with tau + tau' > 0.  Raises ExactRLError when it is not positive.
    Source: ECPO, Eq. 7; with dynamics, Theorem 3.
    """
    _refuse_other_lengths(returns, log_dynamics)
    return soft_value(shaped_returns(log_policy, returns, tau), total_temperature(tau, tau_prime), log_dynamics)


def lift_objective(log_policy: A, log_reference: A, returns: A, tau: Any, tau_prime: Any) -> A:
    r"""The objective of the Lift step, $\mathbb E_\pi r-\tau D_{KL}(\pi\Vert\bar\pi)+\tau'\mathcal H(\pi)$.

    Shapes: log_policy, log_reference, returns (..., N) -> (...); -inf where tau > 0 and the reference lacks mass.
    Source: ECPO, Eq. 4; with tau' = 0, Eq. 2.
    """
    xp = namespace(log_policy, log_reference, returns)
    log_policy, log_reference, returns = _outcomes(xp, log_policy, log_reference, returns)
    divergence = xp.scaled_log(xp.asarray(tau), kl(log_policy, log_reference))
    return expectation(log_policy, returns) - divergence + xp.asarray(tau_prime) * entropy(log_policy)


def lift_objective_with_dynamics(
    log_policy: A, log_reference: A, returns: A, tau: Any, tau_prime: Any, log_dynamics: A
) -> A:
    r"""The stochastic Lift objective $\mathbb E_{p_{\pi,f}}[r-\tau'\log\pi]-\tau D_{KL}(p_{\pi,f}\Vert p_{\bar\pi,f})$.

    Shapes: all arrays (..., N) -> (...).
    Source: ECPO, Eq. 27.
    """
    xp = namespace(log_policy, log_reference, returns, log_dynamics)
    log_policy, log_reference, returns, log_dynamics = _outcomes(xp, log_policy, log_reference, returns, log_dynamics)
    log_joint = log_policy + log_dynamics
    reward = expectation(log_joint, soft_score(log_policy, returns, tau_prime))
    return reward - xp.scaled_log(xp.asarray(tau), kl(log_joint, log_reference + log_dynamics))


def surrogate_gradient(log_policy: A, returns: A, tau: Any, tau_prime: Any, log_dynamics: A | None = None) -> A:
    r"""Gradient of the surrogate in the log-probabilities, $\partial SR_f/\partial\log\pi(\rho)=\tau f\bar\pi^*$.

    Shapes: log_policy, returns, log_dynamics (..., N) -> (..., N).
    Source: ECPO, Eq. 16.
    """
    xp = namespace(log_policy, returns)
    lifted = log_lift(log_policy, returns, tau, tau_prime, log_dynamics)
    return xp.per_row(tau) * xp.exp(lifted if log_dynamics is None else lifted + log_dynamics)


def lift_weights(log_reference: A, returns: A, tau: Any, tau_prime: Any) -> A:
    r"""The exponents $\omega=(r-\tau'\log\bar\pi)/(\tau+\tau')$ of the self-normalised estimator.

    Shapes: log_reference, returns (..., N) -> (..., N); at sampled trajectories the reference is positive.
    Source: ECPO, Lemma 1.
    """
    xp = namespace(log_reference, returns)
    log_reference, returns = _outcomes(xp, log_reference, returns)
    return soft_score(log_reference, returns, tau_prime) / xp.per_row(total_temperature(tau, tau_prime))
