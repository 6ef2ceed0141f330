"""Appendix A.1: the policy improvement theorem and the steps of its proof."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    entropy,
    expectation,
    expected_following,
    kl,
    log_soft_greedy,
    policy_average,
    soft_maximum,
    soft_policy_value,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    UNIT_TEMPERATURE,
    model_space,
    policy_field,
    soft_action_values,
    value_size,
)
from proofs_checks.claims.terms import row
from proofs_checks.instances import Problem

ANY_POLICY = [FINITE, INFINITE_HORIZON, UNIT_TEMPERATURE, "any policy pi; its improvement is that of Eq. 17"]


def _improved(p: Problem) -> tuple[Any, Any]:
    """The soft action values of the policy, and the logarithms of the policy of Eq. 17."""
    values = soft_action_values(p, p.log_policy, p.rewards)
    return values, log_soft_greedy(values, 1)


@claim(
    "soft_q.thm4",
    where="App. A.1, Theorem 4, Eq. 17",
    title="The Boltzmann policy of the soft values is nowhere worse",
    statement=r"For $\tilde\pi(\cdot\mid s)\propto\exp(Q^\pi_{soft}(s,\cdot))\ \forall s$: "
    r"$Q^{\tilde\pi}_{soft}(s,a)\ge Q^\pi_{soft}(s,a)\ \forall s,a$.",
    kind="inequality",
    shape=POINTWISE,
    condition="improvement",
    explanation=r"On finite models $Q$ and $\sum_a\exp Q(s,a)$ are bounded, as the theorem asks.",
)
def the_improvement_is_nowhere_worse(p: Problem) -> Check:
    """Both soft action values, each by its own linear system."""
    before, log_improved = _improved(p)
    after = soft_action_values(p, log_improved, p.rewards)
    return Check("improvement", after, ">=", before, scale=value_size(p, p.rewards))


the_improvement_is_nowhere_worse.both_readings(
    space=model_space(policy=policy_field()),
    assumptions=[*ANY_POLICY, "Q and the sums of exp Q are bounded (true of finite models)"],
)


@claim(
    "soft_q.eq18",
    where="App. A.1, Eq. 18",
    title="The Boltzmann policy maximises entropy and value one step ahead",
    statement=r"$\mathcal H(\pi(\cdot\mid s))+\mathbb E_{a\sim\pi}[Q^\pi_{soft}(s,a)]\le\mathcal H(\tilde\pi(\cdot\mid s))"
    r"+\mathbb E_{a\sim\tilde\pi}[Q^\pi_{soft}(s,a)]$.",
    kind="inequality",
    shape=POINTWISE,
    condition="one step",
)
def one_step_ahead_the_improvement_is_better(p: Problem) -> Check:
    """Both sides at every state."""
    values, log_improved = _improved(p)
    left, right = (soft_policy_value(x, values, 1) for x in (p.log_policy, log_improved))
    return Check("one step", left, "<=", right, scale=value_size(p, p.rewards))


one_step_ahead_the_improvement_is_better.both_readings(space=model_space(policy=policy_field()), assumptions=ANY_POLICY)


@claim(
    "soft_q.eq19",
    where="App. A.1, Eq. 19",
    title="Entropy and value fall short of the log-partition function by a divergence",
    statement=r"$\mathcal H(\pi(\cdot\mid s))+\mathbb E_{a\sim\pi}[Q^\pi_{soft}(s,a)]=-D_{KL}(\pi(\cdot\mid s)\Vert"
    r"\tilde\pi(\cdot\mid s))+\log\int\exp(Q^\pi_{soft}(s,a))da$.",
    kind="identity",
    shape=POINTWISE,
    condition="identity",
)
def what_is_missing_is_a_divergence(p: Problem) -> Check:
    """Both sides at every state."""
    values, log_improved = _improved(p)
    right = soft_maximum(values, 1) - kl(p.log_policy, log_improved)
    return Check("identity", soft_policy_value(p.log_policy, values, 1), "==", right, scale=value_size(p, p.rewards))


what_is_missing_is_a_divergence.both_readings(space=model_space(policy=policy_field()), assumptions=ANY_POLICY)


def _second_step(p: Problem, values: Any, log_improved: Any, log_entropy_policy: Any) -> tuple[Any, Any]:
    """Both sides of the second inequality of Eq. 20 for every first pair, (..., S, A), with a given entropy."""
    bonus = entropy(p.log_policy), entropy(log_entropy_policy)
    means = expectation(p.log_policy, values), expectation(log_improved, values)
    improved = namespace(values).exp(log_improved)
    discount = row(row(p.discount))

    def two_steps_ahead(per_state: Any) -> Any:
        later = policy_average(improved, expected_following(p.dynamics, per_state))
        return discount * discount * expected_following(p.dynamics, later)

    left, right = (two_steps_ahead(b + m) for b, m in zip(bonus, means, strict=True))
    return left, right


@claim(
    "soft_q.eq20",
    where="App. A.1, Eq. 20 (second inequality of the chain)",
    title="The second step of the proof of the improvement theorem",
    statement=r"$\gamma^2\mathbb E_{s_2}\left[\mathcal H(\pi(\cdot\mid s_2))+\mathbb E_{a_2\sim\pi}[Q^\pi_{soft}(s_2,a_2)]\right]\le"
    r"\gamma^2\mathbb E_{s_2}\left[\mathcal H(\pi(\cdot\mid s_2))+\mathbb E_{a_2\sim\tilde\pi}[Q^\pi_{soft}(s_2,a_2)]\right]$.",
    kind="inequality",
    shape=POINTWISE,
    condition="second step",
    intended_statement=r"The same with the entropy $\mathcal H(\tilde\pi(\cdot\mid s_2))$ on the right: Eq. (18) under the expectation.",
    explanation=r"Judged as it stands in the copy of the paper at hand, in which other lines of this chain have lost the mark of "
    r"$\tilde\pi$ as well; so the printed paper may well have it. Without it the entropies cancel, and what is left is "
    r"$\mathbb E_\pi Q\le\mathbb E_{\tilde\pi}Q$, which fails for a policy that takes the best action alone.",
    hand_check=r"One state, two actions with $r=(1,0)$, $\pi=(1,0)$: the entropies are the same on both sides, "
    r"$\mathbb E_\pi Q=\max_aQ$, and $\tilde\pi$ gives the worse action some mass.",
)
def the_second_step(p: Problem) -> Check:
    """Both sides as they stand, for every first state and action; the first action of the chain is the improvement's."""
    values, log_improved = _improved(p)
    left, right = _second_step(p, values, log_improved, p.log_policy)
    return Check("second step", left, "<=", right, scale=value_size(p, p.rewards))


def the_second_step_of_the_improvement(p: Problem) -> Check:
    """Both sides with the improvement's own entropy."""
    values, log_improved = _improved(p)
    left, right = _second_step(p, values, log_improved, log_improved)
    return Check("second step", left, "<=", right, scale=value_size(p, p.rewards))


the_second_step.reading("literal", space=model_space(policy=policy_field()), assumptions=ANY_POLICY)
the_second_step.reading(
    "intended",
    space=model_space(policy=policy_field()),
    adds=["the entropy on the right is that of the improved policy"],
    sides=the_second_step_of_the_improvement,
)
