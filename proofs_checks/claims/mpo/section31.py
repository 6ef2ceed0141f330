"""Section 3.1: the regularised objective, its action values, and the problem with an augmented reward (Eqs. 3 and 4)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import kl, soft_policy_value, soft_score, soft_value
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, Given, claim
from proofs_checks.claims.mpo.chains import (
    SHARED,
    SHORT,
    ahead,
    discounted,
    divergence_size,
    log_episodes,
    model_size,
    model_space,
    policy_field,
    regularised_reward,
    returns_of_episodes,
    state_laws,
    temperature,
    visits,
)
from proofs_checks.claims.mpo.common import FINITE
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Simplex
from proofs_checks.instances import Problem, Space

SAME_FORM = "q factors in the same way as p_pi, whose product starts at t = 0 (Sec. 2.2)"
_EPISODES: dict[str, Any] = {
    "initial": Simplex(("s",), exponents=SHORT),
    "dynamics": Simplex(("s", "a", "s"), exponents=SHORT),
    "variational": policy_field(),
}
_SIZES = {"s": (1, 2), "a": (1, 2, 3), "steps": (1, 2, 3)}


def _episode_space(**more: Any) -> Space:
    return Space(_EPISODES | more, _SIZES, counts=("steps",))


_COUNTED = [FINITE, "trajectories of a few steps"]


@claim(
    "mpo.eq3.product",
    where="Sec. 3.1, before Eq. 3",
    title="The printed product is a distribution over trajectories",
    statement=r"$q(\tau)=p(s_0)\prod_{t>0}p(s_{t+1}\mid s_t,a_t)q(a_t\mid s_t)$ is a distribution over trajectories that factors in the same way "
    r"as $p_\pi(\tau)=p(s_0)\prod_{t\ge0}p(s_{t+1}\mid s_t,a_t)\pi(a_t\mid s_t)$.",
    kind="identity",
    shape=POINTWISE,
    condition="mass",
    intended_statement=r"$q(\tau)=p(s_0)\prod_{t\ge0}p(s_{t+1}\mid s_t,a_t)q(a_t\mid s_t)$ is one.",
    explanation=r"A product over $t>0$ leaves out the first action and the step that follows it, so that nothing says how probable $a_0$ and $s_1$ are and the "
    r"masses of all trajectories add up to more than 1. The words of the sentence, and Sec. 2.2, have $t\ge0$: an evident misprint. What is "
    r"said of a $q$ of the right form is judged in `mpo.eq3.decomposition`.",
    hand_check=r"One state, two actions, one step: $q(\tau)=p(s_0)=1$ for both trajectories, which makes 2.",
)
def the_product_is_a_distribution(p: Problem) -> Check:
    """The mass of all trajectories, the product over t >= 0."""
    return _mass(log_episodes(p, p.log_variational, p.steps))


def the_printed_product_is_a_distribution(p: Problem) -> Check:
    """The same without the factors of the first step: its action and the state after it are merely counted."""
    return _mass(log_episodes(p, p.log_variational, p.steps, from_second=True))


def _mass(logs: Any) -> Check:
    xp = namespace(logs)
    mass = xp.sum(xp.exp(logs))
    return Check("mass", mass, "==", mass * 0 + 1)


the_product_is_a_distribution.reading(
    "literal", space=_episode_space(), assumptions=_COUNTED, sides=the_printed_product_is_a_distribution, effort=0.1
)
the_product_is_a_distribution.reading(
    "intended", space=_episode_space(), adds=["t >= 0 for t > 0 (a misprint)"], effort=0.1
)


@claim(
    "mpo.eq3.decomposition",
    where="Sec. 3.1, before Eq. 3",
    title="The divergence of trajectories is a sum over steps",
    statement=r"For $q(\tau)=p(s_0)\prod_{t>0}p(s_{t+1}\mid s_t,a_t)q(a_t\mid s_t)$ the KL over trajectories decomposes into a KL over the "
    "individual state-conditional action distributions.",
    kind="identity",
    shape=POINTWISE,
    condition="decomposition",
    explanation=r"$\mathrm{KL}(q(\tau)\Vert p_\pi(\tau))=\sum_t\mathbb E_q[\mathrm{KL}(q(\cdot\mid s_t)\Vert\pi(\cdot\mid s_t))]$: the dynamics cancel. "
    r"That $q$ factors in the same way as $p_\pi$ is printed in words, and so the product is taken over $t\ge0$, as that of $p_\pi$ is; "
    "the product as printed is judged in `mpo.eq3.product`.",
)
def the_divergence_is_a_sum_over_steps(p: Problem) -> Check:
    """The divergence by enumeration against that of the steps, weighted by the states that q visits."""
    xp = namespace(p.variational)
    whole = kl(*(log_episodes(p, x, p.steps) for x in (p.log_variational, p.log_policy)))
    of_states = kl(p.log_variational, p.log_policy)
    laws = state_laws(p, p.variational, p.steps)
    summed = sum(xp.sum(xp.weighted(law, of_states)) for law in laws)
    scale = size(p.log_variational, p.log_policy, p.log_initial, p.log_dynamics) * p.steps
    return Check("decomposition", whole, "==", summed, scale=scale)


the_divergence_is_a_sum_over_steps.both_readings(
    space=_episode_space(policy=policy_field()), assumptions=[*_COUNTED, SAME_FORM], effort=0.2
)


@claim(
    "mpo.eq3.prior",
    where="Sec. 3.1, Eq. 3",
    title="The discounted objective with a prior is a lower bound like that of Eq. 2",
    statement=r"$\mathcal J(q,\theta)=\mathbb E_q\left[\sum_{t=0}^\infty\gamma^t[r_t-\alpha\mathrm{KL}(q(a\mid s_t)\Vert\pi(a\mid s_t,\theta))]\right]"
    r"+\log p(\theta)$ is the infinite-horizon analogue of Eq. 2; the term $\log p(\theta)$ is a prior over policy parameters and can be motivated "
    "by a maximum a-posteriori estimation problem.",
    kind="identity",
    shape=POINTWISE,
    condition="analogue",
    explanation=r"An analogue is taken to exist if some inference problem has this objective. It has: let an episode go on with probability $\gamma$ after every "
    r"step, whatever is done. The divergence of its trajectories is $\mathbb E_q\sum_t\gamma^t\mathrm{KL}_t$, so that Eq. (3) is $\alpha$ times Eq. (2) of "
    r"that process, plus $\log p(\theta)$; judged on episodes cut off after $N$ steps, whose objective comes within "
    r"$\frac{\gamma^N}{1-\gamma}\max_s\lvert\mathbb E_qr-\alpha\mathrm{KL}\rvert$ of Eq. (3). So Eq. (3) is, up to a constant, $\alpha$ times a lower bound of "
    r"$\log p_\theta(O=1)+\frac1\alpha\log p(\theta)$: a maximum a-posteriori problem whose prior is proportional to $p(\theta)^{1/\alpha}$. For the prior "
    r"$p(\theta)$ itself the last term of Eq. (3) would need the factor $\alpha$, or else the sum before it the factor $1/\alpha$, as in Eq. (10), which has lost "
    r"that $\alpha$ on the way. (A likelihood is at most 1, so rewards are to be shifted "
    r"below 0 first; that moves Eq. (3) by a constant.)",
)
def the_objective_is_that_of_episodes_that_may_end(p: Problem) -> list[Check]:
    """Episodes of random length by enumeration, the sum over steps, and the limit of no cut-off."""
    xp = namespace(p.policy)
    prior = p.log_prior
    reward = regularised_reward(p, p.log_variational)
    laws, factor, cut_off = state_laws(p, p.variational, p.steps), p.discount * 0 + 1, p.discount * 0
    for law in laws:
        cut_off = cut_off + factor * xp.sum(xp.weighted(law, reward))
        factor = factor * p.discount
    log_q, log_p, returns = _episodes_of_random_length(p)
    bound = soft_policy_value(log_q, returns / xp.per_row(p.alpha), 1, log_p)
    evidence = soft_value(returns, p.alpha, log_p)
    from_first = discounted(visits(p, p.variational, p.support_variational), reward)
    endless = xp.sum(xp.weighted(p.initial, from_first))
    most = xp.max(xp.abs(reward))
    tail = factor * most / (1 - p.discount)
    finite: Given = ((most, "<", p.alpha * 0 + float("inf")),)
    logs = (p.log_policy, p.log_variational, p.log_initial, p.log_dynamics)
    scale = model_size(p, p.rewards, divergence_size(p, *logs), prior)
    return [
        Check("analogue", cut_off + prior, "==", p.alpha * (bound + prior / p.alpha), scale=scale),
        Check("posterior", cut_off + prior, "<=", evidence + prior, scale=scale),
        Check("tail", xp.abs(endless - cut_off), "<=", tail, scale=scale, given=finite),
    ]


def _episodes_of_random_length(p: Problem) -> tuple[Any, Any, Any]:
    """Log-probabilities under q and pi, and returns, of episodes that go on with probability gamma, at most `steps`."""
    xp = namespace(p.policy)
    alive, of_length = p.discount * 0 + 1, []
    for n in range(1, p.steps + 1):
        log_chance = xp.per_row(xp.log(alive if n == p.steps else alive * (1 - p.discount)))
        log_q, log_p = (log_episodes(p, x, n) + log_chance for x in (p.log_variational, p.log_policy))
        of_length.append((log_q, log_p, returns_of_episodes(p, n)))
        alive = alive * p.discount
    log_q, log_p, returns = (xp.concat(columns, axis=-1) for columns in zip(*of_length, strict=True))
    return log_q, log_p, returns


the_objective_is_that_of_episodes_that_may_end.both_readings(
    space=model_space(
        counts={"steps": (1, 2, 3)},
        initial=Simplex(("s",), exponents=SHORT),
        variational=policy_field(),
        alpha=temperature(),
        prior=Positive(exponents=(-6, 2)),
    ),
    assumptions=[*SHARED, "p(theta) > 0 (where it is 0 both sides are minus infinity)"],
    effort=0.1,
)


def _variational_space() -> Space:
    return model_space(variational=policy_field(), alpha=temperature())


def _size(p: Problem) -> Any:
    return model_size(p, p.rewards, divergence_size(p, p.log_policy, p.log_variational))


@claim(
    "mpo.eq4",
    where="Sec. 3.1, Eq. 4",
    title="The action values leave out the first divergence and the prior",
    statement=r"With $Q^q_\theta(s,a)=r_0+\mathbb E_{q(\tau),s_0=s,a_0=a}\left[\sum_{t\ge1}\gamma^t[r_t-\alpha\mathrm{KL}(q_t\Vert\pi_t)]\right]$, the "
    r"regularized value is $\mathbb E_qQ^q_\theta-\alpha\mathrm{KL}(q_0\Vert\pi_0)$: $\mathrm{KL}(q_0\Vert\pi_0)$ and $p(\theta)$ are not part of the "
    r"$Q$-function.",
    kind="identity",
    shape=POINTWISE,
    condition="value",
    explanation=r"The value of a state is the sum of Eq. (3) over the visits from it; $\mathcal J(q,\theta)$ is its mean over $s_0$, plus $\log p(\theta)$.",
)
def the_value_is_that_of_the_action_values(p: Problem) -> Check:
    """The value of every state by its visits, against action values that begin with the reward."""
    values = discounted(visits(p, p.variational, p.support_variational), regularised_reward(p, p.log_variational))
    right = soft_policy_value(p.log_variational, ahead(p, values), row(p.alpha), p.log_policy)
    return Check("value", values, "==", right, scale=_size(p))


the_value_is_that_of_the_action_values.both_readings(space=_variational_space(), assumptions=SHARED)


@claim(
    "mpo.eq3.augmented",
    where="Sec. 3.1",
    title="The objective is an expected return with an augmented reward",
    statement=r"Optimizing $\mathcal J$ with respect to $q$ is equivalent to solving an expected reward RL problem with augmented reward "
    r"$\tilde r_t=r_t-\alpha\log\frac{q(a_t\mid s_t)}{\pi(a_t\mid s_t,\theta)}$.",
    kind="identity",
    shape=POINTWISE,
    condition="return",
    explanation=r"For every $q$ the two objectives differ by $\log p(\theta)$, which does not depend on $q$. The augmented reward does: it is that of the policy "
    r"that is judged, not a reward fixed beforehand. Where $q$ takes what $\pi$ does not, both are $-\infty$.",
)
def the_objective_is_an_augmented_return(p: Problem) -> Check:
    """The augmented reward summed over visits to pairs, against that of Eq. 3 over visits to states, from each state."""
    xp = namespace(p.policy)
    weights = visits(p, p.variational, p.support_variational)
    augmented = soft_score(p.log_variational, p.rewards, row(p.alpha), p.log_policy)
    pairs = weights[..., None] * p.variational[..., None, :, :]
    left = xp.sum(xp.sum(xp.weighted(pairs, augmented[..., None, :, :])))
    return Check("return", left, "==", discounted(weights, regularised_reward(p, p.log_variational)), scale=_size(p))


the_objective_is_an_augmented_return.both_readings(space=_variational_space(), assumptions=SHARED)
