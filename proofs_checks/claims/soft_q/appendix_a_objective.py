"""Appendix A: what policy gradients under a discount factor optimise, and the objectives that the paper writes down."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    chain_of,
    chain_slopes,
    expected_following,
    lookahead,
    mean_slopes,
    next_marginal,
    policy_average,
    soft_policy_value,
    through_softmax,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import LIMIT, OPTIMALITY, POINTWISE, Check, Printed, claim
from proofs_checks.claims.discounted import discounted_values
from proofs_checks.claims.soft_q.common import FINITE, INFINITE_HORIZON, SIZES, TEMPERATURE, policy_field, value_size
from proofs_checks.claims.soft_q.optimal_models import DRAWN_BY_SOLUTION, FEW, optimal_space, rewards_of, values_of
from proofs_checks.claims.soft_q.steady_state import (
    ONE_CLASS,
    overlap,
    positive_dynamics,
    stationary,
    stationary_slopes,
)
from proofs_checks.claims.terms import row, size, spread
from proofs_checks.extended import Extended, total
from proofs_checks.fields import Discount, Field, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space

SOFTMAX = "the policy is a softmax policy with one logit for each state and action, and positive"


class _LongRun:
    """A softmax policy in the long run: its stationary distribution, its average reward and the gradient of that."""

    def __init__(self, p: Problem) -> None:
        xp = namespace(p.policy)
        self.p = p
        self.chain = chain_of(p.policy, p.dynamics)
        self.distribution = stationary(self.chain)
        self.per_state = policy_average(p.policy, p.rewards)
        self.average = xp.sum(self.distribution * self.per_state)
        moved = chain_slopes(p.policy, p.dynamics, self.chain)
        self.moved = stationary_slopes(self.chain, self.distribution, moved)
        own = through_softmax(p.policy, p.rewards)
        self.gradient = mean_slopes(self.moved, self.distribution, self.per_state, own)

    def values(self, discount: Any) -> Any:
        """The discounted values, (..., S)."""
        return discounted_values(self.chain, self.per_state, discount)

    def discounted_direction(self, discount: Any) -> Any:
        """The discounted policy gradient with undiscounted states, sum of d(s) grad pi(a | s) Q(s, a), (..., S, A)."""
        ahead = expected_following(self.p.dynamics, self.values(discount))
        action_values = lookahead(self.p.rewards, row(row(discount)), ahead)
        return self.distribution[..., None] * through_softmax(self.p.policy, action_values)


def _summed(x: Any) -> Any:
    xp = namespace(x)
    return xp.sum(xp.sum(x))


@claim(
    "soft_q.appa.average",
    where="App. A",
    title="Discounted policy gradients optimise average reward",
    statement="Discounted policy gradients typically do not optimize the true discounted objective; instead they optimize "
    r"average reward. (The state distribution is not discounted, only the rewards are, by $\gamma^t$.)",
    kind="identity",
    shape=LIMIT,
    condition="ascent",
    intended_statement=r"With $d_\pi$ the stationary distribution, $\nabla\eta=\sum_sd_\pi(s)\sum_a\nabla\pi(a\mid s)Q^\pi_\gamma(s,a)+(1-\gamma)"
    r"\sum_s\nabla d_\pi(s)V^\pi_\gamma(s)$ for the average reward $\eta$, and the second term vanishes as $\gamma\to1$: the discounted "
    r"policy gradient tends to that of average reward. The objective $(1-\gamma)\mathbb E_{s\sim d_\pi}[V^\pi_\gamma(s)]$ is $\eta$ for every $\gamma$.",
    explanation=r"For a fixed $\gamma<1$ the direction may lower the average reward to first order: what an action earns "
    r"beyond the horizon $1/(1-\gamma)$ it does not see. It is the gradient of $\eta$ less the bias $(1-\gamma)\sum_s\nabla d_\pi(s)V_\gamma(s)$, "
    r"which is $O(1-\gamma)$; so the discount trades variance against bias. Judged on the inner product of the direction and the gradient "
    "of the average reward, in all logits.",
    hand_check=r"$\gamma=0$, uniform policy, two states. In state 1 the first action earns 1 and leads to states (1, 2) with $(\frac34,\frac14)$, the second "
    r"earns 0 and leads there with $(\frac14,\frac34)$; in state 2 both earn 10 and lead to $(\frac12,\frac12)$. Then $d=(\frac12,\frac12)$, the direction "
    r"in the first logit of state 1 is $\frac12\cdot\frac14\cdot(1-0)>0$, but with $x$ the chance from 1 to 2, $\eta=\{\frac12\pi(1\mid1)+10x\}/(\frac12+x)$ and "
    r"$x=\frac34-\frac12\pi(1\mid1)$, so that $d\eta/d\pi(1\mid1)=\frac12-\frac14(10-\frac12)<0$.",
)
def discounted_gradients_raise_the_average(p: Problem) -> Check:
    """The inner product of the discounted direction and the gradient of the average reward is not negative."""
    run = _LongRun(p)
    inner = _summed(run.discounted_direction(p.discount) * run.gradient)
    return Check("ascent", inner * 0, "<=", inner, scale=size(p.rewards) ** 2 / (1 - p.discount))


def discounted_gradients_tend_to_that_of_the_average(p: Problem) -> list[Check]:
    """The objective, the bias in closed form, and that it vanishes at a linear rate as the discount tends to 1."""
    xp = namespace(p.policy)
    run = _LongRun(p)
    values = run.values(p.discount)
    scale = size(p.rewards) / (1 - p.discount) if xp.name == "float64" else 1.0
    bias = (1 - row(row(p.discount))) * xp.sum(run.moved * values[..., None, None, :])
    objective = (1 - p.discount) * xp.sum(run.distribution * values)
    checks = [
        Check("objective", objective, "==", run.average, scale=scale),
        Check("bias", run.discounted_direction(p.discount) + bias, "==", run.gradient, scale=scale),
    ]
    size_of_moves = xp.sum(xp.abs(run.moved)) / 2
    for step in (1, 100, 10**4):
        rest = (1 - p.discount) / step
        distance = xp.abs(run.discounted_direction(1 - rest) - run.gradient) * row(row(overlap(run.chain)))
        bound = size_of_moves * row(row(rest * spread(run.per_state)))
        checks.append(Check(f"vanishing bias at 1/{step}", distance, "<=", bound, scale=scale * step))
    return checks


_LONG_RUN_MODEL: dict[str, Field] = {
    "dynamics": positive_dynamics(),
    "rewards": Real(("states", "actions")),
    "discount": Discount(),
    "policy": Simplex(("states", "actions"), zeros=False, exponents=(-3, 0)),
}
_EASY = {
    "rewards": Real(("states", "actions"), exponents=(0, 0)),
    "policy": Simplex(("states", "actions"), zeros=False, exponents=(0, 0)),
}


discounted_gradients_raise_the_average.reading(
    "literal",
    space=Space(_LONG_RUN_MODEL | _EASY, FEW),
    assumptions=[
        FINITE,
        INFINITE_HORIZON,
        "states are distributed as in the long run, rewards are discounted",
        SOFTMAX,
        ONE_CLASS,
    ],
    effort=0.3,
)
discounted_gradients_raise_the_average.reading(
    "intended",
    space=Space(_LONG_RUN_MODEL, SIZES),
    adds=["in the limit of gamma to 1, where the discount only serves to reduce variance"],
    sides=discounted_gradients_tend_to_that_of_the_average,
    effort=0.3,
)


def _soft_average(p: Problem, log_policy: Any, policy: Any, rewards: Any, alpha: Any) -> Any:
    """The long-run average of the reward and entropy that a policy earns a step."""
    distribution = stationary(chain_of(policy, p.dynamics))
    return namespace(policy).sum(distribution * soft_policy_value(log_policy, rewards, alpha))


@claim(
    "soft_q.appa.objective",
    where="App. A, objective before Eq. 15; Eq. 16",
    title="The policy of Theorem 1 maximises the objective that weighs by visits",
    statement=r"The policy of Theorem 1 maximizes $\sum_t\mathbb E_{(s_t,a_t)\sim\rho_\pi}\left[\sum_{l=t}^\infty\gamma^{l-t}\mathbb E_{(s_l,a_l)}"
    r"[r(s_l,a_l)+\alpha\mathcal H(\pi(\cdot\mid s_l))\mid s_t,a_t]\right]$, the objective that is optimized under a discount factor, each "
    r"state-action tuple weighted by its probability $\rho_\pi$ under the current policy.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    intended_statement=r"From every state, and so from every distribution of states that does not move with $\pi$, the policy of Theorem 1 maximizes "
    r"$\mathbb E\left[\sum_{l=t}^\infty\gamma^{l-t}(r(s_l,a_l)+\alpha\mathcal H(\pi(\cdot\mid s_l)))\right]$.",
    explanation=r"$\rho_\pi$ is that of the policy that is maximised over, and it is not discounted: a later reward is counted from every earlier "
    r"step as well, so the objective prefers policies that reach good states, beyond the horizon of $\gamma$. In the long run a step adds "
    r"$\mathbb E_{d_\pi}[V^\pi]=\frac1{1-\gamma}\mathbb E_{d_\pi}[r+\alpha\mathcal H]$, an average soft reward, which the policy of Theorem 1 does not "
    r"maximise. Refuted on models in which every transition has positive probability, where that average is negative for the policy of Theorem 1 and positive for a challenger, so that the sum over t is $-\infty$ and "
    r"$+\infty$. (Adding a constant to all rewards changes no policy and brings every pair of unequal averages to this form.) "
    + DRAWN_BY_SOLUTION,
    hand_check=r"$\gamma=0$, $\alpha=1$, two states; action $i$ leads to state $i$ with probability $\frac34$, and both actions earn $-5-\log2$ in state 1 and "
    r"$3-\log2$ in state 2. The policy of Theorem 1 is uniform; with its entropy it earns $-5$ and 3, so $-1$ a step. Taking action 2 always earns "
    r"$\frac34\cdot3-\frac14\cdot5-\log2=1-\log2>0$ a step.",
)
def the_visits_objective_is_maximised(p: Problem) -> Check:
    """No challenger has a positive long-run average of soft rewards where that of Theorem 1's policy is negative."""
    alpha, rewards = row(p.alpha), rewards_of(p)
    own = _soft_average(p, p.log_policy, p.policy, rewards, alpha)
    other = _soft_average(p, p.log_challenger, p.challenger, rewards, alpha)
    zero = other * 0
    scale = value_size(p, p.values, rewards) + p.alpha
    return Check("no challenger is better", other, "<=", zero, scale=scale, given=((own, "<", zero),))


def every_state_is_maximised(p: Problem) -> Check:
    """The soft values of the challenger are at most those of Theorem 1's policy, at every state."""
    rewards = rewards_of(p)
    _, other = values_of(p, p.log_challenger, rewards)
    scale = value_size(p, p.values, rewards) + p.alpha / (1 - p.discount)
    return Check("no challenger is better", other, "<=", p.values, scale=scale)


_CHALLENGED: dict[str, Any] = {"alpha": Positive(exponents=(-2, 2)), "challenger": policy_field()}
_LONG_RUN: dict[str, Any] = {"dynamics": positive_dynamics(), "values": Real(("states",), exponents=(0, 0))}
the_visits_objective_is_maximised.reading(
    "literal",
    space=optimal_space(sizes=FEW, **(_CHALLENGED | _LONG_RUN)),
    assumptions=[
        FINITE,
        INFINITE_HORIZON,
        TEMPERATURE,
        "rho_pi is not discounted",
    ],
    effort=0.3,
)
the_visits_objective_is_maximised.reading(
    "intended",
    space=optimal_space(**_CHALLENGED),
    adds=["the weights of the states do not move with the policy that is maximised over"],
    sides=every_state_is_maximised,
)


def _later_terms(p: Problem, earned: Any) -> list[Any]:
    """What a pair earns in expectation after 0, 1, ... further steps, (..., S, A) each."""
    terms = [earned]
    for _ in range(p.steps - 1):
        terms.append(expected_following(p.dynamics, policy_average(p.policy, terms[-1])))
    return terms


def _sums(p: Problem) -> tuple[Any, Any, Any]:
    """From the stationary distribution: inner sums up to step T, inner sums of T terms, and the single sum."""
    xp = namespace(p.policy)
    bonus = soft_policy_value(p.log_policy, p.rewards * 0, row(p.alpha))
    terms = _later_terms(p, p.rewards + bonus[..., None])
    chain = chain_of(p.policy, p.dynamics)
    marginal = stationary(chain)
    double = ahead = single = xp.sum(marginal) * 0
    for t in range(p.steps):
        means = [xp.sum(marginal * policy_average(p.policy, term)) for term in terms]
        double = double + sum(means[1 : p.steps - t], means[0])
        ahead = ahead + sum(means[1:], means[0])
        single = single + means[0]
        marginal = next_marginal(marginal, chain)
    return double, ahead, single


def _printed_double_sum(instance: Instance) -> None:
    """The double sum from a steady state in which every state keeps itself and has a single action.

    The inner sum adds the same reward for ever; states of probability 0 do not count in the expectation over them.
    """
    forever = []
    for weight, reward in zip(instance["weights"], instance["rewards"], strict=True):
        if weight > 0:
            inner = Extended(float("inf")) * reward if reward else Extended(0)
            forever.append(inner * weight)
    a_step = total(forever)
    for _ in range(2):
        a_step = a_step + a_step


@claim(
    "soft_q.notes.single_sum",
    where="App. A, note on the undiscounted objective",
    title="Without a discount, the double sum and the single sum have the same maximisers",
    statement=r"$\arg\max_\pi\sum_t\mathbb E_{\rho_\pi}\left[\sum_{l=t}^\infty\mathbb E_{(s_l,a_l)}[r(s_l,a_l)+\alpha\mathcal H(\pi(\cdot\mid s_l))"
    r"\mid s_t,a_t]\right]=\arg\max_\pi\sum_t\mathbb E_{(s_t,a_t)\sim\rho_\pi}[r(s_t,a_t)+\alpha\mathcal H(\pi(\cdot\mid s_t))]$.",
    kind="identity",
    shape=POINTWISE,
    condition="sums to the same step",
    intended_statement=r"For sums over the first $T$ steps, from the stationary distribution of each policy, the double sum is "
    r"$\frac{T+1}2$ times the single one (and $T$ times, if every inner sum has $T$ terms); so both have the same maximisers, those of the average "
    r"$\mathbb E_{d_\pi}[r+\alpha\mathcal H]$.",
    explanation=r"Without a discount both sums diverge: for every policy of positive average they are $+\infty$, and in a steady state with "
    r"several recurrent classes the inner sums may be $+\infty$ in one and $-\infty$ in the other, whose mean has no value. Over finitely many steps the "
    r"note is right, though the bracket depends on where it starts: only its mean over the steady state does not. Without a steady state it "
    r"fails, as the double sum counts the reward of step $l$ as often as there are steps before it.",
    hand_check="Two states that keep themselves, one action, rewards 1 and $-1$, each state with probability 1/2 (a steady state): the inner sum is "
    r"$+\infty$ in the first and $-\infty$ in the second, and their mean is $\infty-\infty$.",
)
def the_double_sum_has_the_same_maximisers(p: Problem) -> list[Check]:
    """Over T steps from the steady state the double sum is (T + 1) / 2 times the single one, whatever the policy."""
    double, ahead, single = _sums(p)
    scale = (size(p.rewards) + 2 * p.alpha) * p.steps**2
    return [
        Check("sums to the same step", double, "==", single * (p.steps + 1) / 2, scale=scale),
        Check("sums of the same length", ahead, "==", single * p.steps, scale=scale),
    ]


_STEADY = Space(
    {
        "dynamics": positive_dynamics(),
        "rewards": Real(("states", "actions")),
        "policy": policy_field(),
        "alpha": Positive(exponents=(-2, 2)),
    },
    SIZES | {"steps": (1, 3)},
    counts=("steps",),
)
the_double_sum_has_the_same_maximisers.reading(
    "literal",
    space=_STEADY,
    assumptions=[FINITE, TEMPERATURE, "no discount factor", "the policy has reached its steady state"],
    printed=Printed(
        Space({"weights": Simplex(("states",)), "rewards": Real(("states",))}, {"states": (1, 2, 3)}),
        _printed_double_sum,
    ),
    effort=0.2,
)
the_double_sum_has_the_same_maximisers.reading(
    "intended",
    space=_STEADY,
    adds=["the sums are over finitely many steps", ONE_CLASS],
    effort=0.2,
)
