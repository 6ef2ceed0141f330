r"""The backward recursion in float64: log-partition and tilted expectation over all trajectories of a model.

The sum over trajectories is a product of T kernels $K_t(s,s')=\sum_a\exp\{x_t(s,a,s')\}P(s'\mid s,a)$, so a step is one
matrix-vector product, rescaled.  It is `formulas.backward_log_partition` arranged for speed: where policy and reward do
not change with time, the kernel is built once.  Where the numbers of a step lie too far apart for float64, or are
infinite, the whole sweep is done in logarithms over the edges instead, so that support is never lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exactrl.edges import Edges, Floats
from exactrl.errors import ExactRLError
from exactrl.mdp import FiniteMDP
from exactrl.number_systems import namespace

# Products of two such numbers with any entry that matters stay above the smallest float by 40 orders of magnitude.
_SAFE_RATIO = 1e-130


@dataclass(frozen=True)
class _Kernel:
    """K and its reward-weighted twin, both divided by exp(log_scale): dense (S, S), or edge by edge (E,)."""

    log_scale: float
    weights: Floats
    rewarded: Floats | None


class Recursion:
    r"""The sweep $W_t(s)=\log\sum_{a,s'}P(s'\mid s,a)\exp\{x_t(s,a,s')+W_{t+1}(s')\}$ with $W_{T+1}=0$.

    Here $x_t=(\gamma^{t-1}r(s,a,s')+\tau\log\pi_t(a\mid s))/\eta$.
    Shapes: log_policy (T, S, A), discounts (T,).
    """

    def __init__(
        self, mdp: FiniteMDP, edges: Edges, log_policy: Floats, discounts: Floats, tau: float, temperature: float
    ) -> None:
        self.mdp, self.edges, self.log_policy, self.discounts = mdp, edges, log_policy, discounts
        self.tau, self.temperature = tau, temperature
        self.per_edge = mdp.is_sparse or mdp.rewards.ndim == 3
        self.stationary = bool(log_policy.strides[0] == 0 and discounts[0] == discounts[-1])

    def log_partition(self) -> float:
        """Return W at the initial law."""
        return self._sweep(with_returns=False)[0]

    def tilted_return(self) -> float:
        """Return the expected return under the tilted (lifted) distribution of trajectories."""
        log_total, value = self._sweep(with_returns=True)
        if not math.isfinite(log_total):
            raise ExactRLError(
                f"the lift does not exist: its log-normaliser is {log_total}, "
                "because a zero probability under a negative tau makes its objective unbounded"
            )
        return value

    def _sweep(self, *, with_returns: bool) -> tuple[float, float]:
        return self._by_products(with_returns) or self._in_logs(with_returns)

    def _policy_scores(self, t: int) -> Floats:
        log_policy = self.log_policy[t]
        scores: Floats = namespace(log_policy).scaled_log(self.tau, log_policy) / self.temperature
        return scores

    def _by_products(self, with_returns: bool) -> tuple[float, float] | None:
        """Sweep by rescaled matrix-vector products; None where float64 has too small a range for one of them."""
        values, returns = np.ones(self.mdp.n_states), np.zeros(self.mdp.n_states)
        log_scale, kernel = 0.0, None
        for t in reversed(range(len(self.discounts))):
            if kernel is None or not self.stationary:
                kernel = self._kernel(t, with_returns)
                if kernel is None:
                    return None
            if kernel.rewarded is not None:
                returns = self._times(kernel.weights, returns) + self._times(kernel.rewarded, values)
            values = self._times(kernel.weights, values)
            top = values.max()
            if not values.min() > _SAFE_RATIO * top:
                return None
            values = values / top
            returns = returns / top
            log_scale += math.log(top) + kernel.log_scale
        initial = self.edges.initial.floats
        total = float(initial @ values)
        return log_scale + math.log(total), float(initial @ returns) / total

    def _times(self, kernel: Floats, values: Floats) -> Floats:
        if kernel.ndim == 2:
            return kernel @ values
        return np.add.reduceat(kernel * values[self.edges.target], self.edges.first)

    def _kernel(self, t: int, with_returns: bool) -> _Kernel | None:
        with np.errstate(invalid="ignore"):
            scores = self._edge_scores(t) if self.per_edge else self._pair_scores(t)
            starts = self.edges.first if self.per_edge else np.arange(0, scores.size, self.mdp.n_actions)
            tops = np.maximum.reduceat(scores.ravel(), starts)
            top, bottom = float(tops.max()), float(tops.min())
            if not (math.isfinite(top) and bottom - top > math.log(_SAFE_RATIO)):
                return None
            weights = np.exp(scores - top)
        if self.per_edge:
            rewards = self.discounts[t] * self.edges.reward.floats
            return _Kernel(top, self._gathered(weights), self._gathered(weights * rewards) if with_returns else None)
        rewarded = self._summed(weights * (self.discounts[t] * self.mdp.rewards)) if with_returns else None
        return _Kernel(top, self._summed(weights), rewarded)

    def _pair_scores(self, t: int) -> Floats:
        return np.asarray(self._policy_scores(t) + self.mdp.rewards * (self.discounts[t] / self.temperature))

    def _edge_scores(self, t: int) -> Floats:
        edges = self.edges
        reward = edges.reward.floats * self.discounts[t] / self.temperature
        return np.asarray(self._policy_scores(t)[edges.source, edges.action] + reward + edges.log_probability)

    def _summed(self, weights: Floats) -> Floats:
        """Sum weights (S, A) over the actions of a dense model: (S, S)."""
        return np.asarray(np.matmul(weights[:, None, :], self.mdp.transitions)[:, 0, :])

    def _gathered(self, weights: Floats) -> Floats:
        """Sum edge weights that share both states where that makes a smaller table: (S, S), else (E,) as they are."""
        n_states = self.mdp.n_states
        if not self.stationary or len(weights) < n_states**2:
            return weights
        place = self.edges.source * n_states + self.edges.target
        sums: Floats = np.bincount(place, weights, minlength=n_states**2).astype(np.float64)
        return sums.reshape(n_states, n_states)

    def _in_logs(self, with_returns: bool) -> tuple[float, float]:
        """Sweep in logarithms, edge by edge; infinite values of states that cannot be reached do no harm."""
        edges = self.edges
        log_values, returns = np.zeros(self.mdp.n_states), np.zeros(self.mdp.n_states)
        for t in reversed(range(len(self.discounts))):
            scores = self._edge_scores(t) + log_values[edges.target]
            log_values = self._logsumexp(scores)
            if with_returns:
                weights = self._weights(scores, log_values[edges.source])
                tilted = weights * (self.discounts[t] * edges.reward.floats + returns[edges.target])
                returns = np.add.reduceat(tilted, edges.first)
        starts = edges.starts
        scores = edges.log_initial[starts] + log_values[starts]
        total = namespace(scores).logsumexp(scores)
        return float(total), float(self._weights(scores, total) @ returns[starts])

    def _logsumexp(self, scores: Floats) -> Floats:
        """Return log sum exp over the edges of each state: (E,) -> (S,)."""
        tops = np.maximum.reduceat(scores, self.edges.first)
        shift = np.where(np.isfinite(tops), tops, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            return np.log(np.add.reduceat(np.exp(scores - shift[self.edges.source]), self.edges.first)) + shift

    @staticmethod
    def _weights(scores: Floats, log_totals: Floats) -> Floats:
        """Return exp(scores - log_totals), 0 where the total is infinite."""
        finite = np.isfinite(log_totals)
        return np.asarray(np.exp(np.where(finite, scores, -np.inf) - np.where(finite, log_totals, 0.0)))
