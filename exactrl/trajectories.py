r"""Trajectory spaces: every trajectory of a finite-horizon model, by enumeration and by a recursion that needs none.

A trajectory of horizon T is $\rho=(s_1,a_1,\dots,s_T,a_T,s_{T+1})$.  Its policy probability is
$\pi(\rho)=\prod_t\pi_t(a_t\mid s_t)$, its dynamics $f(\rho)=\mu(s_1)\prod_tP(s_{t+1}\mid s_t,a_t)$ (the initial law
included), its return $r(\rho)=\sum_t\gamma^{t-1}r(s_t,a_t,s_{t+1})$.  Only trajectories with f > 0 exist.

Every quantity has two independent routes that must agree: the recursion costs T sweeps over S x A x S, the enumeration
goes through all trajectories in blocks of constant memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from exactrl.edges import Edges
from exactrl.entries import read_number
from exactrl.enumeration import Block, Blocks, Steps, listing
from exactrl.errors import ExactRLError
from exactrl.formulas import expectation, log_boltzmann, log_lift, soft_value, surrogate, total_temperature
from exactrl.mdp import FiniteMDP
from exactrl.policies import as_log_policy
from exactrl.recursion import Recursion

Floats = NDArray[np.float64]
Method = Literal["recursion", "enumeration"]
_LISTED_NUMBERS = 10**8


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
        self._discounts: Floats = np.asarray(mdp.discount ** np.arange(self.horizon), dtype=np.float64)
        self._largest_reward = float(np.abs(self._edges.reward.floats).max())

    def __repr__(self) -> str:
        return f"TrajectorySpace({self.mdp!r})"

    @cached_property
    def count(self) -> int:
        """The number of trajectories with positive dynamics, as an exact integer."""
        return self._edges.count(self.horizon)

    def surrogate(self, policy: Any, *, tau: float, tau_prime: float, method: Method = "recursion") -> float:
        r"""Return $SR_f(\pi)$ (ECPO, Eq. 7 and Theorem 3).

        Any tau, tau_prime with tau + tau_prime > 0.  A zero action with tau < 0 makes the surrogate +inf.
        Rounding errors are relative to the larger of |SR| and tau + tau_prime; `surrogate_enclosure` has none.
        Raises ExactRLError for a malformed policy or temperature, or an enumeration beyond the limit.
        """
        tau, tau_prime, temperature = self._temperatures(tau, tau_prime)
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return temperature * self._recursion(log_policy, tau, temperature).log_partition()
        parts = [_surrogate(block, tau, tau_prime) for block in self._blocks(log_policy, method)]
        return float(soft_value(np.array(parts), temperature))

    def surrogate_enclosure(
        self, policy: Any, *, tau: Any, tau_prime: Any, bits: int = 128
    ) -> tuple[Fraction, Fraction]:
        r"""Return rational bounds of $SR_f(\pi)$, proven from the exact values of model, policy and temperatures.

        policy: an array (S, A) or (T, S, A) of floats, taken at their exact binary values, or of rationals.
        bits: working precision of the balls; the width falls with it.  Needs python-flint.
        Raises ExactRLError for bad input, and where the surrogate is +inf: tau < 0 and a zero action in reach.
        """
        try:
            from exactrl.enclosure import surrogate_bounds
        except ModuleNotFoundError as error:
            raise ExactRLError("surrogate_enclosure needs python-flint: pip install 'exactrl[proofs]'") from error
        return surrogate_bounds(self._edges, self.mdp, policy, tau, tau_prime, bits)

    def expected_return(self, policy: Any, *, method: Method = "recursion") -> float:
        r"""Return $\mathbb E_{\rho\sim p_{\pi,f}}\,r(\rho)$."""
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return self._expected(log_policy, self.mdp.expected_rewards[None] * self._discounts[:, None, None])
        return sum(_mean(block, block.returns) for block in self._blocks(log_policy, method))

    def policy_entropy(self, policy: Any, *, method: Method = "recursion") -> float:
        r"""Return $\mathbb E_{\rho\sim p_{\pi,f}}[-\log\pi(\rho)]$: the entropy of the actions, not of the dynamics."""
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return self._expected(log_policy, -np.where(np.isneginf(log_policy), 0.0, log_policy))
        return sum(_mean(block, -block.log_policy) for block in self._blocks(log_policy, method))

    def lifted_return(self, policy: Any, *, tau: float, tau_prime: float, method: Method = "recursion") -> float:
        r"""Return $\sum_\rho\bar\pi^*f\,r$, the expected return under lifted distribution times dynamics (Lemma 8).

        Raises ExactRLError when the lift does not exist: tau < 0 and a zero action (its objective is unbounded).
        """
        tau, tau_prime, temperature = self._temperatures(tau, tau_prime)
        log_policy = self._log_policy(policy)
        if method == "recursion":
            return self._recursion(log_policy, tau, temperature).tilted_return()
        values, returns = [], []
        for block in self._blocks(log_policy, method):
            values.append(_surrogate(block, tau, tau_prime))
            if values[-1] == math.inf:
                raise ExactRLError("the lift does not exist: tau is negative and a trajectory has probability zero")
            returns.append(0.0 if values[-1] == -math.inf else _lifted_mean(block, tau, tau_prime))
        return float(expectation(log_boltzmann(np.array(values), temperature), np.array(returns)))

    def enumerate(self, policy: Any) -> Trajectories:
        """List every trajectory with its log policy probability, return and log dynamics.

        Raises ExactRLError for a malformed policy, beyond enumeration_limit, and where the list exceeds 10^8 numbers.
        """
        log_policy = self._log_policy(policy)
        self._refuse_if_too_large(min(self.enumeration_limit, _LISTED_NUMBERS // (2 * self.horizon + 4)))
        return Trajectories(*listing(Steps(self._edges, log_policy, self._discounts)))

    def _log_policy(self, policy: Any) -> Floats:
        return as_log_policy(policy, horizon=self.horizon, n_states=self.mdp.n_states, n_actions=self.mdp.n_actions)

    def _temperatures(self, tau: Any, tau_prime: Any) -> tuple[float, float, float]:
        """Return tau, tau_prime and their sum as floats, after checking that scores of trajectories fit in float64."""
        tau, tau_prime = _finite("tau", tau), _finite("tau_prime", tau_prime)
        temperature = float(total_temperature(tau, tau_prime))
        if not math.isfinite(self.horizon * self._largest_reward / temperature):
            raise ExactRLError(
                f"tau + tau_prime is {temperature:g}, and rewards are up to {self._largest_reward:g} over "
                f"{self.horizon} steps: their quotient exceeds float64; scale them, or use surrogate_enclosure"
            )
        return tau, tau_prime, temperature

    def _recursion(self, log_policy: Floats, tau: float, temperature: float) -> Recursion:
        return Recursion(self.mdp, self._edges, log_policy, self._discounts, tau, temperature)

    def _refuse_if_too_large(self, limit: int) -> None:
        if self.count > limit:
            raise ExactRLError(
                f"enumerating {_scientific(self.count)} trajectories exceeds the limit of {limit:,}: "
                'use method="recursion", which needs no enumeration'
            )

    def _blocks(self, log_policy: Floats, method: str) -> Iterator[Block]:
        if method not in ("recursion", "enumeration"):
            raise ExactRLError(f"method is {method!r}: expected 'recursion' or 'enumeration'")
        self._refuse_if_too_large(self.enumeration_limit)
        return iter(Blocks(Steps(self._edges, log_policy, self._discounts)))

    def _expected(self, log_policy: Floats, per_step: Floats) -> float:
        """Return the expectation of a sum over the steps: per_step (T, S, A)."""
        values = np.zeros(self.mdp.n_states)
        for probability, x in zip(np.exp(log_policy[::-1]), per_step[::-1], strict=True):
            values = np.sum(probability * (x + self.mdp.expect_next(values)), axis=-1)
        return float(self.mdp.initial @ values)


def _mean(block: Block, values: Floats) -> float:
    """Sum values over a block with the weights of its trajectories; those of weight zero may hold infinities."""
    return float(expectation(block.log_policy + block.log_dynamics, values))


def _surrogate(block: Block, tau: float, tau_prime: float) -> float:
    return float(surrogate(block.log_policy, block.returns, tau, tau_prime, block.log_dynamics))


def _lifted_mean(block: Block, tau: float, tau_prime: float) -> float:
    log_density = log_lift(block.log_policy, block.returns, tau, tau_prime, block.log_dynamics)
    return float(expectation(log_density + block.log_dynamics, block.returns))


def _finite(name: str, value: Any) -> float:
    try:
        number = float(read_number(value, name))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ExactRLError(f"{name} is {number}: expected a finite number")
    return number


def _scientific(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"about 10^{math.floor(math.log10(count))}"
