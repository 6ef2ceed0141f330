r"""Two-step models: one first state, a first action, a random second state, a second action; then the episode ends.

They are the smallest models in which a policy can choose where its future entropy lies.  Both steps count in full, as
in Eq. (2), unless a discount is given.
Shapes: first (..., A), transitions (..., A, S), second (..., S, A); trajectories (a1, s2, a2) are flattened.
"""

from __future__ import annotations

from typing import Any

from exactrl.formulas import entropy, expectation, log_soft_greedy, lookahead, soft_maximum, soft_policy_value
from exactrl.number_systems import namespace
from proofs_checks.claims.terms import row, size, times
from proofs_checks.fields import Field, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

TWO_STEPS = (
    "Eq. (2) on models of two steps from a given first state (they suffice to refute); after the end nothing is earned"
)

LogPolicy = tuple[Any, Any]


CHALLENGER: dict[str, Any] = {
    "challenger_first": Simplex(("actions",)),
    "challenger_second": Simplex(("states", "actions")),
}


def two_step_space(transitions: Field | None = None, actions: tuple[int, ...] = (1, 2, 3), **more: Any) -> Space:
    """Two-step models with a temperature, and further fields."""
    fields: dict[str, Any] = {
        "transitions": transitions or Simplex(("actions", "states"), exponents=(-20, 0)),
        "first_rewards": Real(("actions",)),
        "second_rewards": Real(("states", "actions")),
        "alpha": Positive(),
    }
    return Space(fields | more, {"actions": actions, "states": (1, 2)})


def challenger(p: Problem) -> LogPolicy:
    """Log-probabilities of the challenging policy."""
    return p.log_challenger_first, p.log_challenger_second


def _ahead(p: Problem, first_rewards: Any, values: Any, discount: Any) -> Any:
    """Values of the first actions, given those of the second states."""
    return lookahead(first_rewards, discount, times(p.transitions, values))


def most_entropic(p: Problem, discount: Any = 1, bonus: Any = 0) -> LogPolicy:
    """Log-probabilities of the policy of Theorem 1: the soft Bellman equation, solved from the end.

    Without a discount it solves Eq. 2.  `bonus` is added to the rewards of the first actions.
    """
    alpha = row(p.alpha)
    values = soft_maximum(p.second_rewards, alpha)
    first = _ahead(p, p.first_rewards + bonus, values, discount)
    return log_soft_greedy(first, p.alpha), log_soft_greedy(p.second_rewards, alpha)


def most_trajectories(p: Problem) -> LogPolicy:
    """Log-probabilities of the policy of the largest return plus alpha times the entropy of trajectories.

    To it the entropy of what an action leads to is a reward of the action.
    """
    return most_entropic(p, bonus=row(p.alpha) * entropy(p.log_transitions))


def boltzmann(p: Problem, values: Any) -> LogPolicy:
    """Log-probabilities of Boltzmann exploration, for standard values of the second states."""
    first = _ahead(p, p.first_rewards, values, 1)
    return log_soft_greedy(first, p.alpha), log_soft_greedy(p.second_rewards, row(p.alpha))


def objective(p: Problem, policy: LogPolicy) -> Any:
    """Eq. 2: the expected sum of rewards and entropies."""
    later = soft_policy_value(policy[1], p.second_rewards, row(p.alpha))
    return soft_policy_value(policy[0], _ahead(p, p.first_rewards, later, 1), p.alpha)


def expected_return(p: Problem, policy: LogPolicy) -> Any:
    """Eq. 1: the expected sum of rewards."""
    later = expectation(policy[1], p.second_rewards)
    return expectation(policy[0], _ahead(p, p.first_rewards, later, 1))


def policy_entropies(p: Problem, policy: LogPolicy) -> Any:
    """The expected sum of the entropies of the policy."""
    later = _ahead(p, p.first_rewards * 0, entropy(policy[1]), 1)
    return entropy(policy[0]) + expectation(policy[0], later)


def dynamics_entropy(p: Problem, policy: LogPolicy) -> Any:
    """The expected entropy of the second state, given the first action."""
    return expectation(policy[0], entropy(p.log_transitions))


def trajectory_entropy(p: Problem, policy: LogPolicy) -> Any:
    """The entropy of the distribution of whole trajectories, of which every one is listed."""
    joint = (policy[0][..., None] + p.log_transitions)[..., None] + policy[1][..., None, :, :]
    return entropy(namespace(joint).reshape(joint, (*joint.shape[:-3], -1)))


def two_step_size(p: Problem) -> Any:
    """The size of the terms of the objective, for rounding (floats only)."""
    return size(p.first_rewards, p.second_rewards) + p.alpha * size(p.log_transitions)
