"""Section 3.2: the action values of the current policy and the one-step objective (Eqs. 5 and 6)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    chain_of,
    dual_value,
    expectation,
    expected_kl,
    log_boltzmann,
    log_estep,
    policy_average,
    soft_policy_value,
    soft_value,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.mpo.chains import (
    INFINITE_HORIZON,
    SHARED,
    TEMPERATURE,
    ahead,
    discounted,
    divergence_size,
    model_size,
    model_space,
    own_values,
    pair_values,
    policy_field,
    regularised_reward,
    temperature,
    visits,
)
from proofs_checks.claims.mpo.common import FINITE, over_states
from proofs_checks.claims.terms import row, size, times
from proofs_checks.fields import Discount, Positive, Simplex
from proofs_checks.instances import Problem, Space

UNREGULARISED = [FINITE, INFINITE_HORIZON]


@claim(
    "mpo.eq5",
    where="Sec. 3.2, Eq. 5",
    title="At the current policy the regularised action values are the usual ones",
    statement=r"For $q=\pi_{\theta_i}$: $Q^q_{\theta_i}(s,a)=Q_{\theta_i}(s,a)=\mathbb E_{\pi_{\theta_i},s_0=s,a_0=a}\left[\sum_t\gamma^tr_t\right]$, "
    r"since $\mathrm{KL}(q\Vert\pi_i)=0$.",
    kind="identity",
    shape=POINTWISE,
    condition="action values",
)
def the_action_values_are_the_usual_ones(p: Problem) -> list[Check]:
    """Eq. 4 by the chain of states with its divergences, against the rewards alone by the chain of pairs."""
    xp = namespace(p.policy)
    values = discounted(visits(p, p.policy, p.support_policy), regularised_reward(p, p.log_policy))
    scale = model_size(p, p.rewards, divergence_size(p, p.log_policy))
    divergence = regularised_reward(p, p.log_policy) - expectation(p.log_policy, p.rewards)
    return [
        Check("action values", ahead(p, values), "==", pair_values(p), scale=scale),
        Check("no divergence", divergence, "==", xp.sum(p.policy * 0), scale=scale),
    ]


the_action_values_are_the_usual_ones.both_readings(space=model_space(alpha=temperature()), assumptions=SHARED)


def _exponents(p: Problem, q_values: Any) -> Any:
    """The size of what is exponentiated (floats only)."""
    if namespace(p.policy).name != "float64":
        return 1.0
    terms = model_size(p, q_values, divergence_size(p, p.log_policy))
    return terms * (1 + terms / p.alpha)


@claim(
    "mpo.eq6.objective",
    where="Sec. 3.2, Eq. 6",
    title="The one-step objective in its three forms",
    statement=r"$\max_q\bar{\mathcal J}_s(q,\theta_i)=\max_qT^{\pi,q}Q_{\theta_i}(s,a)=\max_q\mathbb E_{\mu(s)}\left[\mathbb E_{q(\cdot\mid s)}"
    r"[Q_{\theta_i}(s,a)]-\alpha\mathrm{KL}(q\Vert\pi_i)\right]$.",
    kind="identity",
    shape=OPTIMALITY,
    condition="one step",
    intended_statement=r"$\max_q\mathbb E_{\mu(s)}\left[T^{\pi,q}V_{\theta_i}(s)\right]=\max_q\mathbb E_{\mu(s)}\left[\mathbb E_{q(\cdot\mid s)}[Q_{\theta_i}(s,a)]"
    r"-\alpha\mathrm{KL}(q\Vert\pi_i)\right]=\mathbb E_{\mu(s)}\left[\alpha\log\mathbb E_{\pi_i}e^{Q_{\theta_i}/\alpha}\right]$, and the objectives agree for "
    r"every $q$.",
    explanation=r"The operator is printed as an expectation over the actions of one state $s$, and its value differs from state to state, "
    r"while the last form averages over $s$ with $\mu$. With the average in all forms (or in none) they agree, for every $q$ and so in their "
    r"maxima; and since $q$ may differ from state to state, a policy that is best in every state is best on average, so that the maximiser is not touched by the slip.",
    hand_check=r"Two states of weight 1/2 with one action each, $\gamma=0$, rewards 0 and 1: there is only one $q$, without divergence. "
    r"$T^{\pi,q}Q$ is 0 in the first state and 1 in the second, the last form is 1/2.",
)
def the_objectives_agree(p: Problem) -> list[Check]:
    """Both objectives at any q, none above the closed form of the maximum, and the policy that attains it."""
    xp = namespace(p.policy)
    values, q_values = own_values(p), pair_values(p)
    following = times(chain_of(p.variational, p.dynamics), values)
    stepped = over_states(p, regularised_reward(p, p.log_variational) + row(p.discount) * following)
    objective = over_states(p, soft_policy_value(p.log_variational, q_values, row(p.alpha), p.log_policy))
    best = dual_value(p.log_policy, q_values, p.weights, p.alpha, 0)
    tilted = log_estep(p.log_policy, q_values, p.alpha)
    attained = over_states(p, soft_policy_value(tilted, q_values, row(p.alpha), p.log_policy))
    scale = _exponents(p, p.rewards) + divergence_size(p, p.log_variational)[..., 0, 0] if xp.name == "float64" else 1.0
    return [
        Check("one step", stepped, "==", objective, scale=scale),
        Check("maximum", objective, "<=", best, scale=scale),
        Check("maximiser", attained, "==", best, scale=scale),
    ]


def the_printed_objectives_agree(p: Problem) -> Check:
    """The maxima in closed form: that of the operator at each state, and that of the average."""
    q_values = pair_values(p)
    of_state = soft_value(ahead(p, own_values(p)), row(p.alpha), p.log_policy)
    average = dual_value(p.log_policy, q_values, p.weights, p.alpha, 0)
    return Check("every state", of_state, "==", row(average), scale=_exponents(p, p.rewards))


_WEIGHTED: dict[str, Any] = {"weights": Simplex(("s",)), "alpha": temperature()}
_OPERATOR = "T^{pi,q} is applied to V of pi_i, as its printed definition says"
the_objectives_agree.reading(
    "literal",
    space=model_space(**_WEIGHTED),
    assumptions=[*SHARED, _OPERATOR],
    sides=the_printed_objectives_agree,
    effort=0.3,
)
the_objectives_agree.reading(
    "intended",
    space=model_space(variational=policy_field(), **_WEIGHTED),
    adds=["the average over mu(s) stands in all three forms"],
    effort=0.5,
)


@claim(
    "mpo.eq6.reason",
    where="Sec. 3.2, after Eq. 6",
    title="The values that justify the one-step objective",
    statement=r"$V_{\theta_i}(s)=\mathbb E_{q(a\mid s)}[Q_{\theta_i}(s,a)]$ and thus $Q_{\theta_i}(s,a)=r(s,a)+\gamma V_{\theta_i}(s)$.",
    kind="identity",
    shape=POINTWISE,
    condition="value",
    intended_statement=r"$V_{\theta_i}(s)=\mathbb E_{\pi_{\theta_i}(a\mid s)}[Q_{\theta_i}(s,a)]$ and $Q_{\theta_i}(s,a)=r(s,a)+\gamma\,\mathbb E_{p(s'\mid s,a)}"
    r"[V_{\theta_i}(s')]$.",
    explanation=r"The value after the step is that of the next state, $\mathbb E_{p(s'\mid s,a)}[V_{\theta_i}(s')]$, as in the operator printed above the line; "
    r"the printed one is that of $s$ itself. Refuted by that part alone, at $q=\pi_{\theta_i}$, with which the section starts. For the $q$ that is being optimised "
    r"the first part fails as well: $V_{\theta_i}=\mathbb E_q[Q_{\theta_i}]$ is a property of $q=\pi_{\theta_i}$.",
    hand_check=r"Two states with one action, $\gamma=\frac12$; the first leads to the second, which stays, with rewards 0 and 1. $V=(1,2)$ and "
    r"$Q(s_1)=0+\frac12\cdot2=1$; the print has $0+\frac12\cdot1$.",
)
def the_action_values_come_from_the_next_state(p: Problem) -> list[Check]:
    """Values by the chain of states, action values by the chain of pairs."""
    values, q_values = own_values(p), pair_values(p)
    scale = model_size(p, p.rewards)
    return [
        Check("value", values, "==", policy_average(p.policy, q_values), scale=scale),
        Check("next state", q_values, "==", ahead(p, values), scale=scale),
    ]


def the_action_values_come_from_the_same_state(p: Problem) -> list[Check]:
    """The same as printed, at q = pi_i."""
    values, q_values = own_values(p), pair_values(p)
    scale = model_size(p, p.rewards)
    printed = p.rewards + row(row(p.discount)) * values[..., None]
    return [
        Check("value", values, "==", policy_average(p.policy, q_values), scale=scale),
        Check("same state", q_values, "==", printed, scale=scale),
    ]


the_action_values_come_from_the_next_state.reading(
    "literal",
    space=model_space(),
    assumptions=[*UNREGULARISED, "q = pi_i, with which the section starts"],
    sides=the_action_values_come_from_the_same_state,
    effort=0.3,
)
the_action_values_come_from_the_next_state.reading(
    "intended",
    space=model_space(),
    assumptions=UNREGULARISED,
    adds=[
        "q = pi_i, with which the section starts",
        "the value after a step is that of the next state, in expectation",
    ],
    effort=0.5,
)


@claim(
    "mpo.eq6.partial",
    where="Sec. 3.2",
    title="Maximising the one-step objective leaves the whole one improvable",
    statement=r"Maximizing Eq. 6, thus obtaining $q_i=\arg\max_q\bar{\mathcal J}(q,\theta_i)$, does not fully optimize $\mathcal J$.",
    kind="optimality",
    shape=EXISTENCE,
    condition="improvable",
    explanation=r"Read as: there are problems in which $q_i$ does not maximise $\mathcal J$ (it does for $\gamma=0$, and in every model of one state, where all "
    r"action values move alike). Every instance is such a problem: from the first state one action leads to a state with two actions of rewards 0 and $g>0$, "
    r"the other to one without rewards; then nothing more happens. $q_i$ values the first action by $\gamma\mathbb E_\pi r$, the best $q$ by "
    r"$\gamma\alpha\log\mathbb E_\pi e^{r/\alpha}$, which is more. In the second state both choose alike.",
)
def the_one_step_maximiser_can_be_improved(p: Problem) -> Check:
    """The objective from the first state, of the one-step maximiser and of the best policy."""
    xp = namespace(p.first)
    rewards = xp.stack([p.gain * 0, p.gain], axis=-1)
    later = soft_value(rewards, p.alpha, p.log_second)  # both take the tilted policy, which attains this value

    def action_values(value: Any) -> Any:
        return xp.stack([p.discount * value, value * 0], axis=-1)

    expected = action_values(expectation(p.log_second, rewards))
    one_step = log_boltzmann(expected, p.alpha, p.log_first) + p.log_first
    reached = soft_policy_value(one_step, action_values(later), p.alpha, p.log_first)
    best = soft_value(action_values(later), p.alpha, p.log_first)
    scale = size(p.gain) * (1 + size(p.gain) / p.alpha) if xp.name == "float64" else 1.0
    return Check("improvable", reached, "<", best, scale=scale, given=((p.discount, ">", p.discount * 0),))


_POSITIVE = Simplex((2,), zeros=False, exponents=(-3, 0))
the_one_step_maximiser_can_be_improved.both_readings(
    space=Space(
        {
            "first": _POSITIVE,
            "second": _POSITIVE,
            "gain": Positive(exponents=(-2, 1)),
            "alpha": temperature(),
            "discount": Discount(),
        },
        {},
    ),
    assumptions=[FINITE, TEMPERATURE, "existence: gamma > 0 and pi > 0 in the problems that are shown"],
)


@claim(
    "mpo.sec32.direction",
    where="Sec. 3.2",
    title="The divergence of the E-step is reversed",
    statement=r"The KL of the E-step, $\mathrm{KL}(q\Vert\pi_i)$, is reversed when compared to the KL used by TRPO and PPO.",
    kind="identity",
    shape=POINTWISE,
    condition="reversed",
    explanation=r"TRPO constrains $\mathrm{KL}(\pi_{old}\Vert\pi_{new})$ (Schulman et al. 2015, Eqs. 12-14) and the penalised form of PPO subtracts it (Schulman et al. "
    r"2017b, Sec. 4), an expectation of $\log\frac{\pi_{old}}{\pi_{new}}$ under the old policy. In the E-step $q$ is the new policy and $\pi_i$ the old one. Judged as: the "
    r"one is the other with the two policies exchanged, and the two are told apart, in that a new policy that gives up an action has a finite divergence in "
    "the E-step and an infinite one in TRPO.",
)
def the_divergence_is_reversed(p: Problem) -> list[Check]:
    """The divergence of a step from an old policy to a new one, in both algorithms."""
    xp = namespace(p.policy)
    estep = expected_kl(p.log_variational, p.log_policy, p.weights)
    exchanged = _trust_region(p, old="variational", new="policy")
    trust = _trust_region(p, old="policy", new="variational")
    scale = size(p.log_policy, p.log_variational)
    narrower = (p.support_variational <= p.support_policy).all(axis=(-2, -1))
    given_up = (p.support_policy & ~p.support_variational & p.support_weights[..., None]).any(axis=(-2, -1))
    gives_up = xp.where(narrower & given_up, estep * 0 + 1, 0)
    return [
        Check("reversed", estep, "==", exchanged, scale=scale),
        Check("told apart", estep, "<", trust, scale=scale, given=((gives_up, ">", gives_up * 0),)),
    ]


def _trust_region(p: Problem, *, old: str, new: str) -> Any:
    """The mean over states of E_old log(old / new); +inf where the new policy gives up an action of the old one."""
    xp = namespace(p.policy)
    taken = getattr(p, f"support_{old}")
    log_old, log_new = (xp.where(taken, getattr(p, f"log_{name}"), 0) for name in (old, new))
    return over_states(p, xp.sum(xp.weighted(getattr(p, old), log_old - log_new)))


the_divergence_is_reversed.both_readings(
    space=Space(
        {
            "policy": Simplex(("s", "a"), exponents=(-20, 0)),
            "variational": Simplex(("s", "a"), exponents=(-20, 0)),
            "weights": Simplex(("s",), exponents=(-20, 0)),
        },
        {"s": (1, 2), "a": (1, 2, 3)},
    ),
    assumptions=[FINITE, "q is the new policy, pi_i the old one"],
)
