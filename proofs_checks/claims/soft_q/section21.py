"""Section 2.1: the maximum entropy objective, and what sets it apart from Boltzmann exploration."""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.formulas import (
    chain_of,
    entropy,
    expectation,
    hard_value,
    log_soft_greedy,
    next_marginal,
    policy_average,
    soft_policy_value,
    soft_score,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import FINITE, SIZES, TEMPERATURE, policy_field
from proofs_checks.claims.soft_q.two_steps import (
    CHALLENGER,
    TWO_STEPS,
    boltzmann,
    challenger,
    dynamics_entropy,
    expected_return,
    most_entropic,
    most_trajectories,
    objective,
    policy_entropies,
    trajectory_entropy,
    two_step_size,
    two_step_space,
)
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Raw, Real, Simplex
from proofs_checks.instances import Problem, Space


def _visits(p: Problem) -> list[Any]:
    """The distributions of the states at the first steps, each (..., S)."""
    chain = chain_of(p.policy, p.dynamics)
    found = [p.initial]
    for _ in range(p.steps - 1):
        found.append(next_marginal(found[-1], chain))
    return found


@claim(
    "soft_q.notes.reward",
    where="Sec. 2.1, note after Eq. 2",
    title="Entropy as a reward of the action, or of the state",
    statement=r"$\sum_t\mathbb E_{(s_t,a_t)\sim\rho_\pi}[r(s_t,a_t)-\alpha\log\pi(a_t\mid s_t)]=\sum_t\mathbb E_{(s_t,a_t)\sim\rho_\pi}"
    r"[r(s_t,a_t)+\alpha\mathcal H(\pi(\cdot\mid s_t))]$, so Eq. 2 is the objective with reward $r'=r-\alpha\log\pi$, or with "
    r"$r'=r+\alpha\mathcal H$.",
    kind="identity",
    shape=POINTWISE,
    condition="objective",
    explanation=r"In every state and at every step the mean of $-\log\pi(a\mid s)$ over the actions is the entropy. Judged as the sum over the first "
    r"steps, for any number of them; an action of probability 0, whose reward $-\alpha\log\pi$ is infinite, is never taken.",
)
def both_rewards_have_the_same_objective(p: Problem) -> Check:
    """The expected sums of both rewards."""
    xp = namespace(p.policy)
    alpha = row(row(p.alpha))
    of_action = expectation(p.log_policy, soft_score(p.log_policy, p.rewards, row(p.alpha)))
    of_state = expectation(p.log_policy, p.rewards + alpha * entropy(p.log_policy)[..., None])
    sums = [sum((policy_average(v, x) for v in _visits(p)), xp.asarray(0)) for x in (of_action, of_state)]
    scale = p.steps * (size(p.rewards) + p.alpha * size(p.log_policy))
    return Check("objective", sums[0], "==", sums[1], scale=scale)


both_rewards_have_the_same_objective.both_readings(
    space=Space(
        {
            "initial": Simplex(("states",), exponents=(-20, 0)),
            "dynamics": Simplex(("states", "actions", "states"), exponents=(-20, 0)),
            "rewards": Real(("states", "actions")),
            "policy": policy_field(),
            "alpha": Positive(),
        },
        {"states": (1, 2), "actions": (1, 2, 3), "steps": (1, 2, 4)},
        counts=("steps",),
    ),
    assumptions=[FINITE, TEMPERATURE],
    effort=0.5,
)


def _judged(p: Problem, policy: Any, entropies: Any) -> Any:
    """The return of a policy and its trajectory entropy, less what is not counted."""
    return expected_return(p, policy) + p.alpha * (trajectory_entropy(p, policy) - entropies)


@claim(
    "soft_q.sec2.trajectory",
    where="Sec. 2.1",
    title="The objective maximises the entropy of whole trajectories",
    statement=r"The maximum entropy objective maximizes the entropy of the entire trajectory distribution for the policy $\pi$.",
    kind="identity",
    shape=OPTIMALITY,
    condition="no policy has more",
    intended_statement=r"Where the dynamics are deterministic, $\sum_t\mathbb E[\mathcal H(\pi(\cdot\mid s_t))]$ is the entropy of the "
    r"trajectory distribution (given the first state), so that the solution of Eq. (2) has the largest return plus $\alpha$ times that entropy.",
    explanation=r"The entropy of the trajectories is $\sum_t\mathbb E[\mathcal H(\pi(\cdot\mid s_t))]+\sum_t\mathbb E[\mathcal H(p_s(\cdot\mid "
    r"s_t,a_t))]$, up to that of the first state. Eq. (2) has the first sum only, and the second depends on the policy: one that prefers "
    "actions with random outcomes has more trajectories. The paper's dynamics are random. Rewards count in both readings: what is judged is the "
    r"return plus $\alpha$ times the entropy. Were the entropy of the trajectories meant without that of the dynamics, which is the causal "
    "entropy of Ziebart (2010), the sentence would say that Eq. (2) maximises itself, and be true.",
    hand_check=r"No rewards, $\alpha=1$; action 1 leads to one of two states by a fair coin, action 2 to the first of them, and there nothing "
    r"is left to choose. Eq. (2) is largest at $\pi=(\frac12,\frac12)$, whose trajectories have probabilities $\frac14,\frac14,\frac12$ and "
    r"entropy $\frac32\log2=1.04$; $\pi=(\frac23,\frac13)$ makes all three equally likely: $\log3=1.10$.",
)
def the_objective_is_about_trajectories(p: Problem) -> Check:
    """Return and trajectory entropy of the best policy for them against those of the solution of Eq. 2."""
    left, right = (_judged(p, x, 0) for x in (most_trajectories(p), most_entropic(p)))
    return Check("no policy has more", left, "<=", right, scale=two_step_size(p))


def the_entropies_are_those_of_trajectories(p: Problem) -> list[Check]:
    """The identity for any policy, and the solution of Eq. 2 against a challenger."""
    policy, best = challenger(p), most_entropic(p)
    left, right = (_judged(p, x, 0) for x in (policy, best))
    entropies = policy_entropies(p, policy), trajectory_entropy(p, policy)
    return [
        Check("no policy has more", left, "<=", right, scale=two_step_size(p) + p.alpha * size(*policy)),
        Check("entropy", entropies[0], "==", entropies[1], scale=size(*policy)),
    ]


class Certain(Simplex):
    """Distributions on the last axis that leave nothing to chance."""

    def repair(self, raw: Raw) -> Raw:
        """Return raw rows that keep the first of their largest weights."""
        kept = super().repair(raw)[..., 0]
        chosen = kept.argmax(axis=-1, keepdims=True) == np.arange(kept.shape[-1])
        return np.stack([chosen.astype(np.int64), np.zeros_like(kept)], axis=-1)

    def fault(self, value: Any) -> str | None:
        """Say what is wrong with an exact value, or None."""
        random = any(0 < x < 1 for x in np.asarray(value, dtype=object).ravel())
        return super().fault(value) or ("is random: expected probabilities of 0 and 1" if random else None)


the_objective_is_about_trajectories.reading(
    "literal", space=two_step_space(actions=(1, 2)), assumptions=[FINITE, TEMPERATURE, TWO_STEPS], effort=0.25
)
the_objective_is_about_trajectories.reading(
    "intended",
    space=two_step_space(Certain(("actions", "states")), **CHALLENGER),
    adds=["deterministic dynamics"],
    sides=the_entropies_are_those_of_trajectories,
)


@claim(
    "soft_q.sec2.trajectory.amended",
    where="amends Sec. 2.1",
    title="The objective maximises the entropy of trajectories, less that of the dynamics",
    statement=r"The solution of Eq. (2) has the largest return plus $\alpha$ times the entropy of the trajectory distribution less "
    r"$\sum_t\mathbb E[\mathcal H(p_s(\cdot\mid s_t,a_t))]$, the part of that entropy that the dynamics make.",
    kind="identity",
    shape=OPTIMALITY,
    condition="no policy has more",
    explanation="The entropy of trajectories is that of the policy and that of the dynamics, step by step.",
    amends="soft_q.sec2.trajectory",
)
def the_objective_is_about_actions_along_trajectories(p: Problem) -> list[Check]:
    """The identity for any dynamics and policy, and the solution of Eq. 2 against a challenger."""
    policy, best = challenger(p), most_entropic(p)
    left, right = (_judged(p, x, dynamics_entropy(p, x)) for x in (policy, best))
    parts = policy_entropies(p, policy) + dynamics_entropy(p, policy)
    return [
        Check("no policy has more", left, "<=", right, scale=two_step_size(p) + p.alpha * size(*policy)),
        Check("entropy", parts, "==", trajectory_entropy(p, policy), scale=size(*policy, p.log_transitions)),
    ]


the_objective_is_about_actions_along_trajectories.both_readings(
    space=two_step_space(**CHALLENGER), assumptions=[FINITE, TEMPERATURE, TWO_STEPS]
)


def _forked_problem(p: Problem) -> Problem:
    """Two first actions; after the one, two actions of which the second costs alpha; after the other, two equal ones."""
    xp = namespace(p.alpha)
    fork, costs = (xp.asarray(np.array(x)) for x in ([[1, 0], [0, 1]], [[0, -1], [0, 0]]))
    later = row(row(p.alpha)) * costs
    arrays = {"transitions": fork, "first_rewards": later[..., 1, :], "second_rewards": later, "alpha": p.alpha}
    return Problem({"actions": 2, "states": 2}, arrays)


@claim(
    "soft_q.sec2.boltzmann",
    where="Sec. 2.1, Sec. 4",
    title="Boltzmann exploration is greedy for entropy",
    statement=r"The greedy Boltzmann policy $\pi\propto\exp(Q/\alpha)$ with the standard $Q$-function maximizes entropy at the current "
    "time step only and differs from the maximum entropy policy.",
    kind="optimality",
    shape=EXISTENCE,
    condition="one step",
    explanation=r"Two parts. In every state $\pi\propto\exp(Q/\alpha)$ has the largest $\mathbb E_\pi Q+\alpha\mathcal H(\pi)$ of all policies, "
    "for any values $Q$: the entropy of the current step, with that of later steps left out. And it differs from the maximum entropy policy, which "
    "says that the two methods are not the same: a witness proves it, shown for every temperature. A first action leads "
    r"to two actions of which one costs $\alpha$, another to two equal ones. The standard values of both are equal (or, for "
    r"the values of the Boltzmann policy itself, differ by $0.27\alpha$), while the maximum entropy policy counts $0.38\alpha$ more entropy "
    "and reward after the second. On some models the two policies agree, such as those of one state, and those with a discount of 0; the "
    "paper does not say that they never do.",
)
def the_boltzmann_policy_is_greedy_for_entropy(p: Problem) -> list[Check]:
    """The variational formula for any values, and the objective of Eq. 2 at a witness for the temperature."""
    alpha = row(p.alpha)
    greedy = log_soft_greedy(p.action_values, alpha)
    here, there = (soft_policy_value(x, p.action_values, alpha) for x in (greedy, p.log_challenger))
    scale = size(p.action_values) + p.alpha * size(p.log_challenger)
    fork = _forked_problem(p)
    best = objective(fork, most_entropic(fork)) / p.alpha
    optimal_values = hard_value(fork.second_rewards)
    own_values = expectation(log_soft_greedy(fork.second_rewards, alpha), fork.second_rewards)
    with_optimal, with_own = (
        objective(fork, boltzmann(fork, values)) / p.alpha for values in (optimal_values, own_values)
    )
    return [
        Check("one step", there, "<=", here, scale=scale),
        Check("falls short with the optimal values", with_optimal, "<", best),
        Check("falls short with its own values", with_own, "<", best),
    ]


the_boltzmann_policy_is_greedy_for_entropy.both_readings(
    space=Space(
        {
            "action_values": Real(("states", "actions")),
            "alpha": Positive(),
            "challenger": Simplex(("states", "actions")),
        },
        SIZES,
    ),
    assumptions=[
        FINITE,
        TEMPERATURE,
        "the standard Q-function is that of Eq. (1), optimal or of the Boltzmann policy itself",
        "that the two policies differ means: on some model",
    ],
)
