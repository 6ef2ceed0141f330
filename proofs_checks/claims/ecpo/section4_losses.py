"""Section 4 and Appendix C: temporal consistency, the policy of Eq. 8, and the losses of ECAC."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    centred,
    forward_kl_slope,
    kl,
    lift_objective,
    lift_weights,
    log_boltzmann,
    log_lift,
    sampled_soft_value,
    shaped_returns,
    soft_policy_value,
    soft_value,
    surrogate,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, POINTWISE, Check, Printed, claim
from proofs_checks.claims.ecpo.common import DETERMINISTIC, TEMPERATURES, on_support, printed_numerators, term_size
from proofs_checks.claims.ecpo.section4 import (
    action_space,
    log_policy_target,
    one_sample_mean,
    value_scale,
)
from proofs_checks.claims.ecpo.two_steps import flat
from proofs_checks.claims.terms import row, size
from proofs_checks.extended import Extended, total, xlog
from proofs_checks.fields import NonNegative, Positive, Real, Simplex, Unit
from proofs_checks.instances import Instance, Problem, Space
from proofs_checks.symbolic import tree_recursion_identity

POSITIVE_ACTIONS = "the reference gives every action positive probability"


def _tree_space(**more: Any) -> Space:
    fields: dict[str, Any] = {
        "first": Simplex(("actions",), exponents=(-20, 0)),
        "second": Simplex(("actions", "later"), exponents=(-20, 0)),
        "first_rewards": Real(("actions",)),
        "second_rewards": Real(("actions", "later")),
        "tau": Positive(),
        "tau_prime": NonNegative(),
    }
    return Space(fields | more, {"actions": (1, 2, 3), "later": (1, 2, 3)})


def _tree(p: Problem) -> tuple[Any, Any]:
    """Returns and log reference of all trajectories of the two-step tree."""
    returns = flat(p.first_rewards[..., :, None] + p.second_rewards, 2)
    return returns, flat(p.log_first[..., :, None] + p.log_second, 2)


def _consistent(p: Problem, log_policy: Any, log_reference: Any, rewards: Any, tau: Any, tau_prime: Any) -> Any:
    """The right side of the temporal consistency at one state: E_{a ~ pi} of r + tau log reference - eta log pi."""
    return soft_policy_value(log_policy, shaped_returns(log_reference, rewards, tau), tau + tau_prime)


@claim(
    "ecpo.sec4.temporal",
    where="Sec. 4",
    title="Temporal consistency of the lift objective",
    statement=r"$O_{ECPO}(\pi,s)=\mathbb E_{a\sim\pi(\cdot\mid s)}\left[r(s,a)+O_{ECPO}(\pi,s')+\tau\log\bar\pi(a\mid s)-(\tau+\tau')"
    r"\log\pi(a\mid s)\right]$ for $O_{ECPO}(\pi,s)=\mathbb E_{\rho\sim\pi}r(\rho)-\tau D_{KL}(\pi\Vert\bar\pi)+\tau'\mathcal H(\pi)$.",
    kind="identity",
    shape=POINTWISE,
    condition="consistent",
    intended_statement="The same where the reference gives every action positive probability.",
    explanation="Judged on two-step trees; a state carries its time step, as episodes end. Where the policy never takes an action behind "
    r"which the reference forbids what the policy would do, the printed expectation contains $0\cdot(-\infty)$.",
    hand_check=r"At the action with $\pi(a\mid s)=0$: $O_{ECPO}(\pi,s')=-\infty$ there, and $\pi(a\mid s)\,O_{ECPO}(\pi,s')=0\cdot(-\infty)$.",
)
def the_objective_is_consistent(p: Problem) -> Check:
    """The objective over trajectories against the recursion over states."""
    returns, log_reference = _tree(p)
    log_policy = flat(p.log_policy_first[..., :, None] + p.log_policy_second, 2)
    whole = lift_objective(log_policy, log_reference, returns, p.tau, p.tau_prime)
    tau, tau_prime = row(p.tau), row(p.tau_prime)
    later = _consistent(p, p.log_policy_second, p.log_second, p.second_rewards, tau, tau_prime)
    steps = _consistent(p, p.log_policy_first, p.log_first, p.first_rewards + later, p.tau, p.tau_prime)
    scale = term_size(p, size(returns), log_reference, p.tau_prime) + (p.tau + p.tau_prime) * size(log_policy)
    return Check("consistent", whole, "==", steps, scale=scale)


def printed_consistency(instance: Instance) -> Extended:
    """The right side as printed at the first state, each product of a probability and a value on its own."""
    tau, eta = instance["tau"], instance["tau"] + instance["tau_prime"]

    def objective(policy: Any, reference: Any, rewards: Any) -> Extended:
        terms = []
        for x, b, r in zip(policy, reference, rewards, strict=True):
            terms.append(Extended(x) * r + Extended(tau) * xlog(x, b) - Extended(eta) * xlog(x, x))
        return total(terms)

    rows = zip(instance["policy_second"], instance["second"], instance["second_rewards"], strict=True)
    later = [objective(*rows_of_state) for rows_of_state in rows]
    rewards = [Extended(r) + v for r, v in zip(instance["first_rewards"], later, strict=True)]
    return objective(instance["policy_first"], instance["first"], rewards)


def _policies(**options: Any) -> Space:
    return _tree_space(
        policy_first=Simplex(("actions",), exponents=(-20, 0)),
        policy_second=Simplex(("actions", "later"), exponents=(-20, 0)),
        **options,
    )


_POSITIVE_TREE: dict[str, Any] = {
    "first": Simplex(("actions",), zeros=False, exponents=(-20, 0)),
    "second": Simplex(("actions", "later"), zeros=False, exponents=(-20, 0)),
}
the_objective_is_consistent.reading(
    "literal",
    space=_policies(**_POSITIVE_TREE),
    assumptions=[DETERMINISTIC, TEMPERATURES],
    printed=Printed(_policies(), printed_consistency),
)
the_objective_is_consistent.reading("intended", space=_policies(**_POSITIVE_TREE), adds=[POSITIVE_ACTIONS])


@claim(
    "ecpo.eq8.policy",
    where="Sec. 4, Eq. 8",
    title="The optimal policy of the lift objective",
    statement=r"The optimal policy is $\bar\pi^*(a\mid s)=\exp\left\{\frac{\bar Q^*(s,a)+\tau\log\bar\pi(a\mid s)-\bar V^*(s)}{\tau+\tau'}"
    r"\right\}$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
)
def the_boltzmann_policy_is_optimal(p: Problem) -> list[Check]:
    """The product of the policies of Eq. 8 is the lift over trajectories, and no policy has more."""
    xp = namespace(p.second)
    returns, log_reference = _tree(p)
    tau, tau_prime = row(p.tau), row(p.tau_prime)
    later = surrogate(p.log_second, p.second_rewards, tau, tau_prime)
    first = log_lift(p.log_first, p.first_rewards + later, p.tau, p.tau_prime)
    second = log_lift(p.log_second, p.second_rewards, tau, tau_prime)
    best, other = (
        lift_objective(flat(x, 2), log_reference, returns, p.tau, p.tau_prime)
        for x in (first[..., :, None] + second, p.log_challenger_first[..., :, None] + p.log_challenger_second)
    )
    scale = term_size(p, size(returns), log_reference, p.tau_prime)
    product = xp.exp(flat(first[..., :, None] + second, 2))
    lift = xp.exp(log_lift(log_reference, returns, p.tau, p.tau_prime))
    noise = scale / (p.tau + p.tau_prime) if xp.name == "float64" else 1.0
    return [
        Check("no challenger is better", best, ">=", other, scale=scale),
        Check("lift", product, "==", lift, scale=noise),
    ]


the_boltzmann_policy_is_optimal.both_readings(
    space=_tree_space(challenger_first=Simplex(("actions",)), challenger_second=Simplex(("actions", "later"))),
    assumptions=[DETERMINISTIC, "V* is the value of the optimal policy", TEMPERATURES],
    proof=tree_recursion_identity,
)


def printed_mean_of_exponentials(instance: Instance) -> Extended:
    """The expectation before Eq. 9 as printed: the sum of reference times exp{(Q - tau' log reference)/eta}."""
    return total(printed_numerators({**instance, "returns": instance["action_values"]}))


@claim(
    "ecpo.sec4.logexp",
    where="Sec. 4, before Eq. 9",
    title="The soft value as an expectation under the reference",
    statement=r"$\bar V^*(s)=(\tau+\tau')\log\mathbb E_{a\sim\bar\pi}\left[\exp\left\{\frac{\bar Q^*(s,a)-\tau'\log\bar\pi(a\mid s)}"
    r"{\tau+\tau'}\right\}\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="value",
    intended_statement="The same where the reference gives every action positive probability.",
    explanation=r"An action of reference probability 0 contributes $0\cdot\exp\{+\infty\}$ to the expectation when $\tau'>0$. Eq. (8) has "
    "no such term.",
    hand_check=r"At the action with $\bar\pi(a\mid s)=0$: $-\tau'\log\bar\pi=+\infty$, so its term is $0\cdot\infty$.",
)
def the_value_is_an_expectation(p: Problem) -> Check:
    """Eq. 8 against the expectation of exponentials."""
    eta = p.tau + p.tau_prime
    omega = lift_weights(p.log_reference, p.action_values, p.tau, p.tau_prime)
    expected = soft_value(row(eta) * omega, eta, p.log_reference)
    value = surrogate(p.log_reference, p.action_values, p.tau, p.tau_prime)
    return Check("value", value, "==", expected, scale=value_scale(p))


the_value_is_an_expectation.reading(
    "literal",
    space=action_space(zeros=False),
    assumptions=[DETERMINISTIC, "V*, Q* of Eq. 8", TEMPERATURES],
    printed=Printed(action_space(zeros=True), printed_mean_of_exponentials),
)
the_value_is_an_expectation.reading("intended", space=action_space(zeros=False), adds=[POSITIVE_ACTIONS])


@claim(
    "ecpo.eq9",
    where="Sec. 4, Eq. 9",
    title="Regression onto one-sample targets learns the soft value",
    statement=r"The soft optimal value $\bar V^*$ is learned by minimizing $L(\phi)=\mathbb E_{s\sim\mathcal D}\left[\frac12\left(V_\phi(s)-"
    r"[Q_\psi(s,a)-\tau'\log\bar\pi(a\mid s)]\right)^2\right]$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="stationary",
    explanation="A squared loss is minimised by the mean of its targets, which lies below the soft value (Jensen's inequality), even "
    r"with the exact $Q_\psi=\bar Q^*$ and unlimited data.",
    hand_check=r"$\frac{dL}{dV}=V-\mathbb E_{a\sim\bar\pi}[Q-\tau'\log\bar\pi]$ at $V=\bar V^*$ is not 0.",
)
def the_regression_finds_the_value(p: Problem) -> Check:
    """The derivative of the expected loss at the soft value."""
    value = surrogate(p.log_reference, p.action_values, p.tau, p.tau_prime)
    return Check("stationary", value - one_sample_mean(p), "==", p.tau * 0, scale=value_scale(p))


_REPLAY = "replay buffer; one action sampled from the reference"
the_regression_finds_the_value.reading(
    "literal", space=action_space(zeros=True), assumptions=[DETERMINISTIC, _REPLAY, TEMPERATURES]
)
the_regression_finds_the_value.reading(
    "intended",
    space=action_space(zeros=False),
    adds=[POSITIVE_ACTIONS, "Q_psi is exact, V_phi is tabular, data are unlimited"],
)


@claim(
    "ecpo.eq9.amended",
    where="amends Eq. 9",
    title="Regressing the exponential of the target learns the soft value",
    statement=r"The minimiser $m$ of $\mathbb E_{a\sim\bar\pi}\frac12\left(m-\exp\left\{\frac{Q-\tau'\log\bar\pi(a\mid s)}{\tau+\tau'}\right\}"
    r"\right)^2$ satisfies $\bar V^*(s)=(\tau+\tau')\log m$; the minimiser of Eq. (9) is at most $\bar V^*(s)$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="value",
    explanation="The mean of the exponentials is what the logarithm of Eq. (8) is taken of.",
    amends="ecpo.eq9",
)
def the_regression_of_exponentials_finds_the_value(p: Problem) -> list[Check]:
    """The mean of the exponentials gives the value; the mean of the targets stays below."""
    xp = namespace(p.reference)
    eta = p.tau + p.tau_prime
    omega = lift_weights(on_support(p.log_reference, p.support_reference), p.action_values, p.tau, p.tau_prime)
    log_mean = xp.logsumexp(p.log_reference + omega)
    value = surrogate(p.log_reference, p.action_values, p.tau, p.tau_prime)
    scale = value_scale(p)
    return [
        Check("value", eta * log_mean, "==", value, scale=scale),
        Check("below", one_sample_mean(p), "<=", value, scale=scale),
    ]


the_regression_of_exponentials_finds_the_value.both_readings(
    space=action_space(zeros=False),
    assumptions=[DETERMINISTIC, "a is sampled from the reference", POSITIVE_ACTIONS, TEMPERATURES],
)


@claim(
    "ecpo.eq9.consistent",
    where="amends Eq. 9",
    title="Regressing on the policy's own actions learns its objective, at the lift the soft value",
    statement=r"With $b\sim\pi(\cdot\mid s)$ instead of $a\sim\bar\pi(\cdot\mid s)$, the minimiser of $\mathbb E_b\,\frac12\left(V-["
    r"Q(s,b)+\tau\log\bar\pi(b\mid s)-(\tau+\tau')\log\pi(b\mid s)]\right)^2$ is the objective of the Lift step of $\pi$, at most "
    r"$\bar V^*(s)$; at $\pi=\bar\pi^*$ the target of every action is $\bar V^*(s)$ itself.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="value",
    explanation=r"This is the temporal consistency that Section 4 derives; the printed target is what it becomes for $\pi=\bar\pi$. One sample is "
    "enough: at the lift it has no variance, and before that its mean is a lower bound.",
    amends="ecpo.eq9",
)
def the_regression_on_own_actions_finds_the_value(p: Problem) -> list[Check]:
    """The mean of the targets is the policy's objective and stays below the value; at the lift they all are the value."""
    tau, eta = p.tau, p.tau + p.tau_prime
    value = surrogate(p.log_reference, p.action_values, tau, p.tau_prime)
    mean = _consistent(p, p.log_policy, p.log_reference, p.action_values, tau, p.tau_prime)
    objective = lift_objective(p.log_policy, p.log_reference, p.action_values, tau, p.tau_prime)
    lift = log_lift(p.log_reference, p.action_values, tau, p.tau_prime)
    targets = sampled_soft_value(shaped_returns(p.log_reference, p.action_values, tau), lift, row(eta))
    scale = value_scale(p) + eta * size(p.log_policy)
    return [
        Check("objective", mean, "==", objective, scale=scale),
        Check("below", mean, "<=", value, scale=scale),
        Check("value", targets, "==", row(value), scale=scale),
    ]


the_regression_on_own_actions_finds_the_value.both_readings(
    space=action_space(zeros=False, policy=Simplex(("n",), exponents=(-12, 0))),
    assumptions=[DETERMINISTIC, "b is sampled from the policy", POSITIVE_ACTIONS, TEMPERATURES],
)


@claim(
    "ecpo.eq10",
    where="Sec. 4, Eq. 10",
    title="The soft Bellman error is minimised by the soft Q-function",
    statement=r"The soft $Q$-function $r(s,a)+\gamma V_\phi(s')$ of the state-value network is learned by minimizing the soft Bellman error "
    r"$L(\psi)=\mathbb E_{(s,a,s')\sim\mathcal D}\left[\frac12\left(Q_\psi(s,a)-[r(s,a)+\gamma V_\phi(s')]\right)^2\right]$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    explanation="On the pairs that the data hold; of the others a loss over the data says nothing. With deterministic transitions the "
    "target of a pair is one number, and the least loss is 0.",
)
def the_bellman_error_is_minimal(p: Problem) -> list[Check]:
    """No other function has a smaller loss, and one that differs on the data has a larger one."""
    target = p.rewards + row(p.discount) * p.next_values
    scale = size(p.rewards, p.next_values, p.challenger) * size(p.rewards, p.next_values, p.challenger)
    best, other = _squared_loss(p, target, target), _squared_loss(p, p.challenger, target)
    error = p.challenger - target
    return [
        Check("no challenger is better", best, "<=", other, scale=scale),
        Check("unique on the data", p.data * error * error / 2, "<=", other[..., None], scale=scale),
    ]


def _squared_loss(p: Problem, values: Any, target: Any) -> Any:
    return namespace(p.data).sum(p.data * (values - target) * (values - target)) / 2


the_bellman_error_is_minimal.both_readings(
    space=Space(
        {
            "data": Simplex(("n",)),
            "rewards": Real(("n",), exponents=(-2, 2)),
            "next_values": Real(("n",), exponents=(-2, 2)),
            "challenger": Real(("n",), exponents=(-2, 2)),
            "discount": Unit(),
        },
        {"n": (1, 2, 4)},
    ),
    assumptions=[DETERMINISTIC, "replay data", "Q_psi can take any values (tabular)"],
)


@claim(
    "ecpo.alg2.descent",
    where="App. C, Algorithm 2, lines 11-12",
    title="Gradient descent on the losses of ECAC lowers them",
    statement=r"$\theta,\phi,\psi_1,\psi_2$ are updated by gradient descent on $L(\theta),L(\phi),L(\psi_1),L(\psi_2)$ of Eqs. 22-24.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="policy loss",
    explanation="Judged as: a gradient step of size 1/smoothness lowers each loss by at least half the step size times the squared "
    "gradient. It says nothing of what the losses are worth: see Eq. (9), and Lemma 7 for the sign of the policy gradient.",
)
def descent_lowers_the_losses(p: Problem) -> list[Check]:
    """One step on the policy loss in the logits, and one on a squared loss."""
    return descent_checks(p)


def descent_checks(p: Problem) -> list[Check]:
    """The slope of the policy loss, and what one step of size 1/smoothness takes off either loss."""
    xp = namespace(p.logits)
    log_target = log_policy_target(p)
    log_policy = log_boltzmann(p.logits, 1)
    mass = xp.sum(xp.exp(log_target))
    gradient = xp.exp(log_policy) * mass[..., None] - xp.exp(log_target)
    # The Hessian in the logits is the mass times a covariance of indicators, whose largest eigenvalue is at most 1/2.
    step = 2 / mass
    after = log_boltzmann(p.logits - step[..., None] * gradient, 1)
    fall = kl(log_target, log_policy) - kl(log_target, after)
    squares = xp.sum(gradient * gradient)
    slope = forward_kl_slope(log_target, centred(log_policy, gradient))
    error = p.value - xp.max(p.action_values)
    moved = error - p.step * error
    scale = mass * (1 + size(p.logits) + size(log_target)) if xp.name == "float64" else 1.0
    return [
        Check("slope", slope, "==", squares, scale=scale * mass),
        Check("policy loss", fall, ">=", step * squares / 2, scale=scale),
        Check(
            "squared loss", (error * error - moved * moved) / 2, ">=", p.step * error * error / 2, scale=error * error
        ),
    ]


_DESCENT_SPACE = Space(
    {
        "logits": Real(("n",), exponents=(-1, 0)),
        "action_values": Real(("n",), exponents=(-2, 0)),
        "reference": Simplex(("n",), exponents=(-4, 0)),
        "value": Real(exponents=(-2, 0)),
        "step": Unit(),
        "tau": Positive(exponents=(0, 2)),
        "tau_prime": NonNegative(exponents=(0, 2)),
    },
    {"n": (1, 2, 3)},
)


def descent_is_downhill(p: Problem) -> Check:
    """To first order: the slope of the policy loss along its negative gradient is minus the squared gradient."""
    return descent_checks(p)[0]


descent_lowers_the_losses.reading(
    "literal",
    space=_DESCENT_SPACE,
    assumptions=[DETERMINISTIC, TEMPERATURES],
    sides=descent_is_downhill,
)
descent_lowers_the_losses.reading("intended", space=_DESCENT_SPACE, adds=["a step size of at most 1/smoothness"])
