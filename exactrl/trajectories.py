r"""Trajectory spaces: every trajectory of a finite-horizon model, by enumeration and by a recursion that needs none.

A trajectory of horizon T is $\rho=(s_1,a_1,\dots,s_T,a_T,s_{T+1})$.  Its policy probability is
$\pi(\rho)=\prod_t\pi_t(a_t\mid s_t)$, its dynamics $f(\rho)=\mu(s_1)\prod_tP(s_{t+1}\mid s_t,a_t)$ (the initial law
included), its return $r(\rho)=\sum_t\gamma^{t-1}r(s_t,a_t,s_{t+1})$.  Only trajectories with f > 0 exist.

Every quantity has two independent routes that must agree: the recursion costs T sweeps over S x A x S, the enumeration
goes through all trajectories in blocks of constant memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from exactrl.enumeration import Blocks, Edges
from exactrl.errors import ExactRLError
from exactrl.formulas import log_lift, soft_value, surrogate, total_temperature
from exactrl.mdp import FiniteMDP
from exactrl.policies import as_log_policy
from exactrl.recursion import Recursion

Floats = NDArray[np.float64]
Method = Literal["recursion", "enumeration"]


@dataclass(frozen=True)
class Trajectories:
    """All trajectories of a small space, one a row.

    Shapes: states (N, T+1), actions (N, T); log_policy, returns, log_dynamics (N,).
    """

    states: NDArray[np.int64]
    actions: NDArray[np.int64]
    log_policy: Floats
    returns: Floats
    log_dynamics: Floats


class TrajectorySpace:
    """All trajectories of a finite-horizon `FiniteMDP`, and the sums over them that ECPO's theory is about.

    `policy` is everywhere a policy object or an array of probabilities (S, A) or (T, S, A).
    Raises ExactRLError for a model without a horizon.
    """

    def __init__(self, mdp: FiniteMDP, *, enumeration_limit: int = 10**8) -> None:
        if mdp.horizon is None:
            raise ExactRLError(
                "the model has no horizon, so its trajectories are infinite: give one, e.g. mdp.replace(horizon=20)"
            )
        self.mdp = mdp
        self.horizon: int = mdp.horizon
        self.enumeration_limit = enumeration_limit
        self._edges = Edges.of(mdp)

    def __repr__(self) -> str:
        return f"TrajectorySpace({self.mdp!r}, count={self.count})"

    @property
    def count(self) -> int:
        """The number of trajectories with positive dynamics, as an exact integer."""
        return self._edges.count(self.horizon)

    def surrogate(self, policy: Any, *, tau: float, tau_prime: float, method: Method = "recursion") -> float:
        r"""Return $SR_f(\pi)$ (ECPO, Eq. 7 and Theorem 3).

        Any tau, tau_prime with tau + tau_prime > 0.  A zero action with tau < 0 makes the surrogate +inf.
        Raises ExactRLError for a malformed policy or temperature, or an enumeration beyond the limit.
        """
        temperature = float(total_temperature(tau, tau_prime))
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return temperature * Recursion(self.mdp, log_policy, float(tau), temperature).log_partition()
        parts = [
            surrogate(block.log_policy, block.returns, tau, tau_prime, block.log_dynamics)
            for block in self._blocks(log_policy, method)
        ]
        return float(soft_value(np.array(parts), temperature))

    def expected_return(self, policy: Any, *, method: Method = "recursion") -> float:
        r"""Return $\mathbb E_{\rho\sim p_{\pi,f}}\,r(\rho)$."""
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return self._expected(log_policy, self.mdp.expected_rewards[None] * self._discounts()[:, None, None])
        return self._mean(log_policy, "returns", method)

    def policy_entropy(self, policy: Any, *, method: Method = "recursion") -> float:
        r"""Return $\mathbb E_{\rho\sim p_{\pi,f}}[-\log\pi(\rho)]$: the entropy of the actions, not of the dynamics."""
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return self._expected(log_policy, -np.where(np.isneginf(log_policy), 0.0, log_policy))
        return -self._mean(log_policy, "log_policy", method)

    def lifted_return(self, policy: Any, *, tau: float, tau_prime: float, method: Method = "recursion") -> float:
        r"""Return the expected return under the lifted distribution times the dynamics, $\sum_\rho\bar\pi^*f\,r$ (Lemma 8).

        Raises ExactRLError when the lift does not exist: tau < 0 and a zero action (its objective is unbounded), or a
        policy that gives every trajectory weight zero.
        """
        temperature = float(total_temperature(tau, tau_prime))
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return Recursion(self.mdp, log_policy, float(tau), temperature).tilted_return()
        self._method(method)
        values, returns = [], []
        for block in self._blocks(log_policy, method):
            values.append(float(surrogate(block.log_policy, block.returns, tau, tau_prime, block.log_dynamics)))
            lifted = log_lift(block.log_policy, block.returns, tau, tau_prime, block.log_dynamics) + block.log_dynamics
            returns.append(float(np.sum(np.exp(lifted) * block.returns)) if np.isfinite(values[-1]) else 0.0)
        total = float(soft_value(np.array(values), temperature))
        if not np.isfinite(total):
            raise ExactRLError(
                f"the lift does not exist: its normaliser is {total}, because tau < 0 meets a zero probability"
            )
        return float(np.sum(np.exp((np.array(values) - total) / temperature) * np.array(returns)))

    def enumerate(self, policy: Any) -> Trajectories:
        """List every trajectory with its log policy probability, return and log dynamics (limit: enumeration_limit)."""
        log_policy = self._log_policy(policy)
        self._refuse_if_too_large()
        return Trajectories(*self._edges.listing(self.horizon, log_policy))

    def _log_policy(self, policy: Any) -> Floats:
        return as_log_policy(policy, horizon=self.horizon, n_states=self.mdp.n_states, n_actions=self.mdp.n_actions)

    def _discounts(self) -> Floats:
        return np.asarray(float(self.mdp.discount) ** np.arange(self.horizon), dtype=np.float64)

    def _method(self, method: str) -> None:
        if method not in ("recursion", "enumeration"):
            raise ExactRLError(f"method is {method!r}: expected 'recursion' or 'enumeration'")

    def _refuse_if_too_large(self) -> None:
        if self.count > self.enumeration_limit:
            raise ExactRLError(
                f"enumerating {_scientific(self.count)} trajectories exceeds the limit of {self.enumeration_limit:,}: "
                'use method="recursion", which needs no enumeration'
            )

    def _blocks(self, log_policy: Floats, method: str) -> Blocks:
        self._method(method)
        self._refuse_if_too_large()
        return Blocks(self._edges, self.horizon, log_policy)

    def _mean(self, log_policy: Floats, field: Literal["returns", "log_policy"], method: str) -> float:
        total = 0.0
        for block in self._blocks(log_policy, method):
            weight = np.exp(block.log_policy + block.log_dynamics)
            total += float(np.sum(np.where(weight > 0, weight * np.where(weight > 0, getattr(block, field), 0.0), 0.0)))
        return total

    def _expected(self, log_policy: Floats, per_step: Floats) -> float:
        values = np.zeros(self.mdp.n_states)
        for log_p, x in zip(np.exp(log_policy[::-1]), per_step[::-1], strict=True):
            values = np.sum(log_p * (x + (self._edges.matrix @ values).reshape(x.shape)), axis=-1)
        return float(np.asarray(self.mdp.initial) @ values)


def _scientific(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"about 10^{len(str(count)) - 1}"
