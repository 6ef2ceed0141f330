r"""The backward recursion in float64: log-partition and tilted expectations over all trajectories of a model.

The fast path of a step is one matrix-vector product; where the values of the next states lie too far apart for float64 (or
are infinite) the step falls back to a logsumexp over successors, so that support is never lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exactrl.errors import ExactRLError
from exactrl.formulas import log_expected_exp
from exactrl.mdp import FiniteMDP
from exactrl.number_systems import namespace

Floats = NDArray[np.float64]
_SAFE_SPREAD = 600.0


class Recursion:
    r"""The sweep $W_t(s)=\log\sum_a\exp\{x_t(s,a)\}\sum_{s'}P\exp\{\gamma^{t-1}r(s,a,s')/\eta+W_{t+1}(s')\}$.

    Here $x_t=(\gamma^{t-1}r(s,a)+\tau\log\pi_t(a\mid s))/\eta$; a reward that depends on the successor moves inside the sum.
    Shapes: log_policy (T, S, A).
    """

    def __init__(self, mdp: FiniteMDP, log_policy: Floats, tau: float, temperature: float) -> None:
        self.mdp, self.temperature = mdp, temperature
        self.shape = (mdp.n_states, mdp.n_actions)
        self.discounts = float(mdp.discount) ** np.arange(len(log_policy))
        self.policy_scores = namespace(log_policy).scaled_log(tau, log_policy) / temperature
        self.per_successor = getattr(mdp.rewards, "ndim", 2) == 3 or not isinstance(mdp.rewards, np.ndarray)
        self.matrix = mdp.transitions if mdp.is_sparse else np.asarray(mdp.transitions).reshape(-1, mdp.n_states)

    def log_partition(self) -> float:
        """Return W at the initial law."""
        return self._sweep(with_returns=False)[0]

    def tilted_return(self) -> float:
        """Return the expected return under the tilted (lifted) distribution of trajectories."""
        log_total, value = self._sweep(with_returns=True)
        if not np.isfinite(log_total):
            raise ExactRLError(
                f"the lift does not exist: its log-normaliser is {log_total}; "
                "a zero probability under a negative tau makes the lift's objective unbounded"
            )
        return value

    def _sweep(self, *, with_returns: bool) -> tuple[float, float]:
        log_values, returns = np.zeros(self.shape[0]), np.zeros(self.shape[0])
        for t in reversed(range(len(self.policy_scores))):
            score = self.policy_scores[t]
            reward = np.zeros(self.shape) if self.per_successor else self.discounts[t] * self.mdp.rewards
            expected, following = self._successors(t, log_values, returns, with_returns)
            score = score + reward / self.temperature + expected
            log_values = namespace(score).logsumexp(score)
            if with_returns:
                returns = self._average(score, log_values, reward + following)
        initial = np.asarray(self.mdp.initial, dtype=np.float64)
        with np.errstate(divide="ignore"):
            score = np.where(initial > 0, np.log(initial) + np.where(initial > 0, log_values, 0.0), -np.inf)
        total = namespace(score).logsumexp(score)
        return float(total), float(self._average(score, total, returns)) if with_returns else 0.0

    @staticmethod
    def _average(score: Floats, total: Any, values: Floats) -> Floats:
        """Average the values with the weights exp(score - total); rows without mass give 0."""
        finite = np.isfinite(total)
        weight = np.exp(np.where(finite[..., None], score - np.where(finite, total, 0.0)[..., None], -np.inf))
        return np.asarray(np.sum(np.where(weight > 0, weight * values, 0.0), axis=-1))

    def _successors(self, t: int, log_values: Floats, returns: Floats, with_returns: bool) -> tuple[Floats, Floats]:
        """Return, for every (s, a), log E exp of the next value and the tilted mean of the next return."""
        spread = float(np.max(log_values) - np.min(log_values))
        if self.per_successor or not spread < _SAFE_SPREAD:
            return self._successors_in_logs(t, log_values, returns)
        expected = log_expected_exp(log_values, self.matrix).reshape(self.shape)
        if not with_returns:
            return expected, expected
        top = np.max(log_values)
        mass = np.exp(log_values - top)
        return expected, (self.matrix @ (mass * returns) / (self.matrix @ mass)).reshape(self.shape)

    def _successors_in_logs(self, t: int, log_values: Floats, returns: Floats) -> tuple[Floats, Floats]:
        dense = self.mdp.dense()
        positive = np.asarray(dense.transitions) > 0
        reward = np.zeros(positive.shape)
        if self.per_successor:
            reward = np.asarray(self.discounts[t] * dense.rewards)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.log(dense.transitions) + reward / self.temperature + log_values
        score = np.where(positive, score, -np.inf)
        total = namespace(score).logsumexp(score)
        return total, self._average(score, total, reward + returns)
