r"""Policies of a finite decision process, and the one function that makes a table of log-probabilities of each.

Shapes: S states, A actions, T horizon, O observations, d features.  A table (S, A) is stationary, a table (T, S, A)
depends on time.  Units: natural logarithms; an action that is never taken has log-probability -inf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from exactrl.distributions import check_log_distributions, finite_array, index_array, log_distributions
from exactrl.entries import FloatArray, short
from exactrl.errors import ExactRLError
from exactrl.formulas import log_boltzmann

__all__ = ["AliasedPolicy", "Policy", "SoftmaxLinearPolicy", "TabularPolicy", "as_log_policy"]


@runtime_checkable
class Policy(Protocol):
    """Whatever can say its log-probabilities (T, S, A) for a horizon T."""

    def log_probabilities(self, horizon: int) -> FloatArray:
        """Return log pi_t(a | s), shape (T, S, A)."""
        ...


def _over_time(log_table: FloatArray, horizon: int) -> FloatArray:
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or horizon < 1:
        raise ExactRLError(f"horizon is {short(horizon)}: expected a positive number of actions")
    if log_table.ndim == 2:
        return np.broadcast_to(log_table, (int(horizon), *log_table.shape))
    if len(log_table) != horizon:
        raise ExactRLError(f"policy depends on time and has {len(log_table)} steps: expected {horizon}, the horizon")
    return log_table


class _Tables:
    """What the policies below share: `log_table`, (S, A) or (T, S, A), spread over the horizon."""

    log_table: FloatArray

    def log_probabilities(self, horizon: int) -> FloatArray:
        """Return log pi_t(a | s), (T, S, A), read-only.  Raises ExactRLError when the table has another horizon."""
        return _over_time(self.log_table, horizon)

    def probabilities(self, horizon: int) -> FloatArray:
        """Return pi_t(a | s), (T, S, A).  Raises ExactRLError when the table has another horizon."""
        return np.asarray(np.exp(self.log_probabilities(horizon)))


def _log_table(probabilities: Any, rows: str) -> FloatArray:
    table = log_distributions("policy", probabilities)
    if table.ndim not in (2, 3):
        raise ExactRLError(f"policy has shape {table.shape}: expected ({rows}, A) or (T, {rows}, A)")
    return table


@dataclass(frozen=True, init=False, eq=False)
class TabularPolicy(_Tables):
    """A table of action probabilities, (S, A) stationary or (T, S, A) depending on time; floats or rationals.

    Raises ExactRLError naming the entry or the row that is no distribution.
    """

    log_table: FloatArray

    def __init__(self, probabilities: Any) -> None:
        object.__setattr__(self, "log_table", _log_table(probabilities, "S"))


@dataclass(frozen=True, init=False, eq=False)
class SoftmaxLinearPolicy(_Tables):
    r"""One-layer softmax policy $\pi_\theta(a\mid s)\propto\exp\{\phi(s,a)^\top\theta\}$.

    Shapes: features (S, A, d), theta (d,).
    Raises ExactRLError naming the entry that is not finite, or the shapes that do not fit.
    Source: ECPO, Proposition 3.
    """

    features: FloatArray
    theta: FloatArray
    log_table: FloatArray

    def __init__(self, features: Any, theta: Any) -> None:
        features, theta = finite_array("features", features), finite_array("theta", theta)
        if features.ndim != 3 or theta.shape != features.shape[-1:]:
            raise ExactRLError(
                f"features have shape {features.shape} and theta {theta.shape}: expected (S, A, d) and (d,)"
            )
        table = log_boltzmann(features @ theta, 1.0)
        table.setflags(write=False)
        for name, value in {"features": features, "theta": theta, "log_table": table}.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, init=False, eq=False)
class AliasedPolicy(_Tables):
    """A policy that sees only an observation of the state: states with one observation share their probabilities.

    Shapes: observation_of_state (S,) of integers below O; probabilities (O, A), or (T, O, A) depending on time.
    Raises ExactRLError naming the state whose observation has no row, or the row that is no distribution.
    """

    observation_of_state: NDArray[np.int64]
    log_table: FloatArray

    def __init__(self, observation_of_state: Any, probabilities: Any) -> None:
        rows = _log_table(probabilities, "O")
        seen = index_array("observation_of_state", observation_of_state, rows.shape[-2])
        if seen.ndim != 1:
            raise ExactRLError(f"observation_of_state has shape {seen.shape}: expected (S,)")
        table = rows[..., seen, :]
        table.setflags(write=False)
        object.__setattr__(self, "observation_of_state", seen)
        object.__setattr__(self, "log_table", table)


def as_log_policy(policy: Any, *, horizon: int, n_states: int, n_actions: int) -> FloatArray:
    """Return log pi_t(a | s) of a policy object, or of an array (S, A) or (T, S, A) of probabilities.

    Shapes: -> (T, S, A), read-only; stationary policies are broadcast over time.
    Raises ExactRLError naming the entry: wrong shape, a row that is no distribution, or anything else than a policy.
    """
    if isinstance(policy, type) or not isinstance(policy, Policy):
        if isinstance(policy, type) or not (isinstance(policy, (list, tuple)) or hasattr(policy, "__array__")):
            kind = type(policy).__name__
            raise ExactRLError(f"policy is a {kind}: expected a policy object or an array (S, A) or (T, S, A)")
        policy = TabularPolicy(policy)
    logs: FloatArray = policy.log_probabilities(horizon)
    if not isinstance(policy, _Tables):
        logs = check_log_distributions("log policy", logs)
    if logs.shape != (horizon, n_states, n_actions):
        expected = (horizon, n_states, n_actions)
        raise ExactRLError(f"policy has shape {logs.shape} over the horizon: expected {expected}, that is (T, S, A)")
    return logs
