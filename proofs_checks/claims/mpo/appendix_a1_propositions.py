"""Appendix A.1, Propositions 1 and 2: regularised and plain values, and their Bellman equations."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expectation, kl, log_boltzmann, soft_score
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, OPTIMALITY, POINTWISE, Check, Printed, claim
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.mpo.common import FINITE
from proofs_checks.claims.mpo.regularised import (
    INFINITE_DIVERGENCE,
    plain_operator,
    plain_value,
    regularised_operator,
    regularised_size,
    regularised_value,
    restricted,
)
from proofs_checks.claims.soft_q.common import INFINITE_HORIZON, MODEL, deterministic_policies, value_size
from proofs_checks.claims.terms import row
from proofs_checks.extended import Extended, total
from proofs_checks.fields import Discount, Field, Positive, Real, Simplex
from proofs_checks.instances import Instance, Problem, Space

TEMPERATURE = "alpha > 0"
COVERED = "pi(a|x) > 0 wherever q(a|x) > 0 (the implication of A.1 is printed the wrong way round)"
_SIZES = {"states": (1, 2), "actions": (1, 2, 3)}


def _model(**more: Field) -> Space:
    """Discounted models with a temperature and further fields."""
    return Space(MODEL | {"alpha": Positive()} | more, _SIZES)


def _policy(**options: Any) -> Simplex:
    return Simplex(("states", "actions"), **options)


def _values() -> Real:
    return Real(("states",))


@claim(
    "mpo.prop1.value",
    where="App. A.1, Proposition 1",
    title="Regularisation lowers the values",
    statement=r"$V^{\pi,q}_\alpha\le V^q$.",
    kind="inequality",
    shape=POINTWISE,
    condition="value",
    explanation=r"The two differ by $\alpha$ times the discounted divergences under $q$. Where $q$ sooner or later takes an action that $\pi$ lacks, "
    r"the divergence is $+\infty$, the regularised value $-\infty$, and the inequality holds all the same.",
)
def the_regularised_value_is_lower(p: Problem) -> Check:
    """Both values, each by its own linear system."""
    charged = regularised_value(p, p.log_q, p.support_q, p.log_policy, p.support_policy, p.rewards)
    scale = regularised_size(p, p.rewards, logs=(p.log_q, p.log_policy))
    return Check("value", charged, "<=", plain_value(p, p.log_q, p.rewards), scale=scale)


the_regularised_value_is_lower.both_readings(
    space=_model(policy=_policy(), q=_policy()),
    assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE, "any q and pi", INFINITE_DIVERGENCE],
)


@claim(
    "mpo.prop1.operator",
    where="App. A.1, Proposition 1",
    title="Regularisation lowers the Bellman operator",
    statement=r"$T^{\pi,q}_\alpha V\le T^qV$.",
    kind="inequality",
    shape=POINTWISE,
    condition="operator",
    explanation=r"At every state the two differ by $\alpha\,\mathrm{KL}(q\Vert\pi)$, $+\infty$ where $q$ takes an action that $\pi$ lacks.",
)
def the_regularised_operator_is_lower(p: Problem) -> list[Check]:
    """Both operators as printed, and that the mean of the logarithm is the divergence."""
    charged = regularised_operator(p, p.log_q, p.log_policy, p.rewards, p.values)
    scale = regularised_size(p, p.rewards, p.values, logs=(p.log_q, p.log_policy))
    logarithm = -expectation(p.log_q, soft_score(p.log_q, p.rewards * 0, 1, p.log_policy))
    return [
        Check("operator", charged, "<=", plain_operator(p, p.log_q, p.rewards, p.values), scale=scale),
        Check("divergence", logarithm, "==", kl(p.log_q, p.log_policy), scale=scale),
    ]


the_regularised_operator_is_lower.both_readings(
    space=_model(policy=_policy(), q=_policy(), values=_values()),
    assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE, "any q, pi and V", INFINITE_DIVERGENCE],
)


def _fixed_point(p: Problem, operator: Any, value: Any, one_step: Any, scale: Any) -> list[Check]:
    """The value stays; it is the sum over all steps; and the operator contracts, so that nothing else stays."""
    xp = namespace(value)
    summed, weight = value * 0, p.discount * 0 + 1
    for _ in range(p.steps):
        summed, weight = operator(summed), weight * p.discount
    tail = row(weight / (1 - p.discount)) * xp.max(xp.abs(one_step), keepdims=True)
    after = xp.max(xp.abs(operator(p.first) - operator(p.second)))
    before = p.discount * xp.max(xp.abs(p.first - p.second))
    return [
        Check("fixed point", operator(value), "==", value, scale=scale),
        Check("sum over steps", xp.abs(value - summed), "<=", tail, scale=scale),
        Check("contraction", after, "<=", before, scale=scale),
    ]


_UNIQUE = "a fixed point is a real function of the state"
_STEPS = {**_SIZES, "steps": (1, 2, 5)}


def _evaluation(**more: Field) -> Space:
    fields = {**MODEL, "q": _policy(), "first": _values(), "second": _values(), **more}
    return Space(fields, _STEPS, counts=("steps",))


@claim(
    "mpo.prop2.regularised",
    where="App. A.1, Proposition 2, Eq. 14",
    title="The regularised value is the unique fixed point of its operator",
    statement=r"$V^{\pi,q}_\alpha$ is the unique fixed point of $T^{\pi,q}_\alpha$.",
    kind="existence",
    shape=EXISTENCE,
    condition="fixed point",
    intended_statement=r"If $q(a\mid x)>0$ implies $\pi(a\mid x)>0$, $V^{\pi,q}_\alpha$ is the unique fixed point of $T^{\pi,q}_\alpha$.",
    explanation=r"A.1 asks that $q$ takes every action of $\pi$, not that it takes no others. Where it takes another one, $\mathrm{KL}(q\Vert\pi)=+\infty$, "
    r"$T^{\pi,q}_\alpha V=-\infty$ there for every $V$, and no real function is a fixed point. (In extended values $-\infty$ is one, but then it is not the only one: "
    r"a state that never comes to such an action has its real value or $-\infty$.) With the implication turned round the operator contracts with modulus "
    r"$\gamma$, its fixed point is unique, and it is the discounted sum.",
    hand_check=r"One state, $\pi=(1,0)$, $q=(1/2,1/2)$: $\mathbb E_q\log(q/\pi)=\frac12\log\frac12+\frac12\log\frac{1/2}0=+\infty$, whatever $V$ is.",
)
def the_regularised_value_is_the_fixed_point(p: Problem) -> list[Check]:
    """With q on the actions of the policy."""
    log_q, support_q = restricted(p, p.log_q, p.support_q)
    value = regularised_value(p, log_q, support_q, p.log_policy, p.support_policy, p.rewards)
    one_step = expectation(log_q, p.rewards) - row(p.alpha) * kl(log_q, p.log_policy)
    scale = regularised_size(p, p.rewards, p.first, p.second, logs=(p.log_q, p.log_policy))
    operator = lambda V: regularised_operator(p, log_q, p.log_policy, p.rewards, V)
    return _fixed_point(p, operator, value, one_step, scale)


def the_operator_has_real_values(p: Problem) -> Check:
    """The least probability under the policy of an action that q takes, all of them here."""
    least = namespace(p.policy).min(p.policy)
    return Check("covered", least, ">", least * 0)


_SHORT = (-20, 0)  # in floats a smaller probability may be 0 without being a counterexample
the_regularised_value_is_the_fixed_point.reading(
    "literal",
    space=Space({"policy": _policy(exponents=_SHORT), "q": _policy(zeros=False, exponents=_SHORT)}, _SIZES),
    assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE, "q and pi as in A.1", _UNIQUE],
    sides=the_operator_has_real_values,
)
the_regularised_value_is_the_fixed_point.reading(
    "intended",
    space=_evaluation(policy=_policy(), alpha=Positive()),
    adds=[COVERED],
    effort=0.25,
)


@claim(
    "mpo.prop2.plain",
    where="App. A.1, Proposition 2, Eq. 15",
    title="The value is the unique fixed point of its operator",
    statement=r"$V^q$ is the unique fixed point of $T^q$.",
    kind="existence",
    shape=EXISTENCE,
    condition="fixed point",
    explanation=r"Judged in three parts: the fixed point, that it is the sum over all steps up to a tail of $\gamma^n\max|r_q|/(1-\gamma)$, and the contraction.",
)
def the_value_is_the_fixed_point(p: Problem) -> list[Check]:
    """The same three parts without a charge."""
    scale = value_size(p, p.rewards, p.first, p.second)
    operator = lambda V: plain_operator(p, p.log_q, p.rewards, V)
    return _fixed_point(p, operator, plain_value(p, p.log_q, p.rewards), expectation(p.log_q, p.rewards), scale)


the_value_is_the_fixed_point.both_readings(
    space=_evaluation(), assumptions=[FINITE, INFINITE_HORIZON, _UNIQUE], effort=0.25
)


@claim(
    "mpo.prop2.eq16",
    where="App. A.1, Proposition 2, Eq. 16",
    title="At the regularised optimum the Bellman equation holds action by action",
    statement=r"$V^{\pi,*}_\alpha(x)=r^{\pi,q^{\pi,*}_\alpha}_\alpha(x,a)+\gamma\mathbb E_{y\sim p(\cdot\mid x,a)}[V^{\pi,*}_\alpha(y)]$ for all "
    r"actions $a\in A$, and not in expectation w.r.t. $a\sim q(\cdot\mid x)$ only.",
    kind="identity",
    shape=OPTIMALITY,
    condition="Bellman",
    intended_statement=r"The same for all actions $a$ with $\pi(a\mid x)>0$.",
    explanation=r"Every positive tilt of $\pi$ and every $V$ belong to one reward function, $r=V(x)+\alpha\log(q/\pi)-\gamma\mathbb EV(y)$, and every reward function "
    r"comes from one of them; so $q$ and $V$ are drawn, and that $q$ is optimal is checked against challengers. An action that $\pi$ lacks has "
    r"$q^{\pi,*}_\alpha=0$ too, and $\log(q/\pi)=\log(0/0)$ is undefined. Read as the limit $e^{(Q-V)/\alpha}$ of the ratio, the equation holds there as well.",
    hand_check=r"One state, $\pi=(1,0)$: every other policy than $q=\pi$ has the value $-\infty$, and at the second action $q/\pi=0/0$.",
)
def the_bellman_equation_holds_at_every_action(p: Problem) -> list[Check]:
    """The equation at the actions of the policy, against the value of q by a linear system; and q against a challenger."""
    xp = namespace(p.log_policy)
    log_ratio = log_boltzmann(p.log_tilt, 1, p.log_policy)
    log_q = p.log_policy + log_ratio
    rewards = bellman(p, p.values[..., None] + row(row(p.alpha)) * log_ratio, -p.values)
    value = regularised_value(p, log_q, p.support_policy, p.log_policy, p.support_policy, rewards)
    other = regularised_value(p, p.log_challenger, p.support_challenger, p.log_policy, p.support_policy, rewards)
    right = bellman(p, soft_score(log_q, rewards, row(p.alpha), p.log_policy), value)
    here = value[..., None] + rewards * 0
    logs = (p.log_policy, p.log_tilt, p.log_challenger)
    scale = regularised_size(p, p.values, rewards, logs=logs)
    if xp.name == "float64":
        scale = scale / (1 - p.discount)
    return [
        Check("Bellman", xp.where(p.support_policy, right, here), "==", here, scale=scale),
        Check("no challenger is better", other, "<=", value, scale=scale),
        Check("value drawn", value, "==", p.values, scale=scale, asserted=False),
    ]


def printed_bellman(instance: Instance) -> Extended:
    """The right side as printed, at every action of a model with one state."""
    alpha, policy, rewards = instance["alpha"], instance["policy"], instance["rewards"]
    weights = [Extended(b) * (Extended(r) / alpha).exp() for b, r in zip(policy, rewards, strict=True)]
    mass = total(weights)
    value = Extended(alpha) * mass.log() / (1 - instance["discount"])
    right = Extended(0)
    for b, r, w in zip(policy, rewards, weights, strict=True):
        right = Extended(r) - Extended(alpha) * (w / mass / b).log() + Extended(instance["discount"]) * value
    return right


_TAME: dict[str, Field] = {"rewards": Real(("actions",), exponents=(-2, 1)), "alpha": Positive(exponents=(-1, 2))}


def _optimum(*, zeros: bool) -> Space:
    fields = {name: kind for name, kind in MODEL.items() if name != "rewards"}
    return Space(
        {
            **fields,
            "alpha": Positive(),
            "policy": _policy(zeros=zeros),
            "tilt": Positive(("states", "actions")),
            "values": _values(),
            "challenger": _policy(),
        },
        _SIZES,
    )


the_bellman_equation_holds_at_every_action.reading(
    "literal",
    space=_optimum(zeros=False),
    assumptions=[FINITE, INFINITE_HORIZON, TEMPERATURE, "pi an arbitrary policy (A.1)"],
    printed=Printed(
        Space({**_TAME, "policy": Simplex(("actions",)), "discount": Discount()}, {"actions": (1, 2, 3)}),
        printed_bellman,
    ),
)
the_bellman_equation_holds_at_every_action.reading(
    "intended", space=_optimum(zeros=True), adds=["pi(a|x) > 0 for the action a", INFINITE_DIVERGENCE], effort=0.5
)


def _best_values(p: Problem) -> Any:
    """The largest value over deterministic policies, state by state."""
    xp = namespace(p.rewards)
    found = [plain_value(p, log_policy, p.rewards) for log_policy in deterministic_policies(p)]
    return xp.max(xp.stack(found, axis=-1))


@claim(
    "mpo.prop2.eq17",
    where="App. A.1, Proposition 2, Eq. 17",
    title="The Bellman optimality equation",
    statement=r"$V^*(x)=\max_{a\in A}\left[r(x,a)+\gamma\mathbb E_{y\sim p(\cdot\mid x,a)}[V^*(y)]\right]$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="Bellman",
    explanation=r"$V^*$ is computed as it is defined, as the largest value over policies: over the deterministic ones, of which there are finitely many, and no "
    "policy drawn has more.",
)
def the_optimal_value_satisfies_the_bellman_equation(p: Problem) -> list[Check]:
    """The equation, and that the largest value over deterministic policies is that over all."""
    xp = namespace(p.rewards)
    best = _best_values(p)
    scale = value_size(p, p.rewards)
    return [
        Check("Bellman", best, "==", xp.max(bellman(p, p.rewards, best)), scale=scale),
        Check("no policy is better", plain_value(p, p.log_challenger, p.rewards), "<=", best, scale=scale),
    ]


the_optimal_value_satisfies_the_bellman_equation.both_readings(
    space=Space(MODEL | {"challenger": _policy()}, _SIZES), assumptions=[FINITE, INFINITE_HORIZON], effort=0.25
)
