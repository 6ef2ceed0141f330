"""Appendix A.2: the regularized joint policy gradient and Proposition 3."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import expected_features, kl, through_softmax
from exactrl.number_systems import namespace
from proofs_checks.claim import CONVERGENCE, LIMIT, OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.mpo.joint_objective import (
    FEATURES,
    MENDED,
    MENDED_STEP,
    MENDED_STEPS,
    MODEL,
    ON_STAY_OR_LEAVE,
    POLICY,
    PRINTED_STEP,
    SHARED_LOGIT,
    SOFTMAX,
    START,
    STEP,
    STEP_AT_MOST,
    TABULAR,
    TABULAR_STEP,
    UNINFORMATIVE,
    Iterate,
    at_start,
    backup,
    iterate,
    joint_objective,
    joint_objective_rises,
    mended_sequence_rises,
    mended_step,
    model_space,
    pay_or_lottery,
    printed_direction,
    regularised_values,
    slope_size,
    slopes,
    stay_or_leave,
    value_size,
)
from proofs_checks.claims.terms import row, spread
from proofs_checks.fields import Positive, Simplex
from proofs_checks.instances import Problem, Space

ANY = Simplex(("s", "a"))


@claim(
    "mpo.prop3.eq19",
    where="App. A.2, Proposition 3, Eq. 19",
    title="Closed form of the one-step E-step",
    statement=r"$q_i(a\mid x)=\dfrac{\pi_i(a\mid x)e^{\frac1\alpha Q^{\pi_i}(x,a)}}{\mathbb E_{b\sim\pi_i(\cdot\mid x)}[e^{\frac1\alpha Q^{\pi_i}(x,b)}]}$ for "
    r"$q_i=\arg\max_qT^{\pi_{\theta_i},q}_\alpha V^{\pi_{\theta_i}}$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    explanation=r"Judged at every state with its shortfall: a challenger $q$ falls short of $q_i$ by exactly $\alpha\mathrm{KL}(q\Vert q_i)$, so that "
    r"$q_i$ is the only maximiser.",
)
def the_estep_is_optimal(p: Problem) -> list[Check]:
    """The value of the E-step's policy and of a challenger at every state."""
    now = iterate(p, p.log_policy)
    best = backup(p, now.log_q, p.log_policy, now.values)
    other = backup(p, p.log_challenger, p.log_policy, now.values)
    missing = row(p.alpha) * kl(p.log_challenger, now.log_q)
    scale = value_size(p, p.log_policy, p.log_challenger, now.log_q)
    return [
        Check("no challenger is better", other, "<=", best, scale=scale),
        Check("shortfall", best - other, "==", missing, scale=scale),
    ]


the_estep_is_optimal.both_readings(space=model_space(policy=ANY, challenger=ANY), assumptions=MODEL, effort=0.5)


@claim(
    "mpo.prop3.eq20",
    where="App. A.2, Proposition 3, Eq. 20",
    title="The regularized value of the E-step's policy is at least that of the policy",
    statement=r"$V^{\pi_i,q_i}_\alpha\ge V^{\pi_i}$.",
    kind="inequality",
    shape=POINTWISE,
    condition="improvement",
    explanation=r"$T^{\pi_i,q_i}_\alpha V^{\pi_i}\ge V^{\pi_i}$, and the operator is monotone with the left side as its fixed point.",
)
def the_estep_improves(p: Problem) -> Check:
    """Both values at every state, each by its own linear system."""
    now = iterate(p, p.log_policy)
    improved = regularised_values(p, now.log_q, p.log_policy)
    return Check("improvement", now.values, "<=", improved, scale=value_size(p, p.log_policy, now.log_q))


the_estep_improves.both_readings(space=model_space(policy=ANY), assumptions=MODEL)


@claim(
    "mpo.prop3.eq21",
    where="App. A.2, Proposition 3, Eqs. 18 and 21",
    title="A step of the algorithm raises the joint objective by a multiple of the gradient's norm",
    statement=r"For $\theta_{i+1}=\theta_i-\beta\nabla_\theta\mathbb E_{\pi_i}\left[\sum_{t\ge0}\gamma^t\mathrm{KL}(q_k(\cdot\mid x_t)\Vert\pi_\theta(\cdot\mid x_t))"
    r"\mid_{\theta=\theta_i}\mid x_0,\pi_i\right]$ and $q_i=\arg\max_qT^{\pi_{\theta_i},q}_\alpha V^{\pi_{\theta_i}}$: "
    r"$\mathcal J(\theta_{i+1},q_{i+1})\ge\mathcal J(\theta_i,q_i)+c\,g_i$, where $c$ is a numerical constant and $g_i$ is the norm of the gradient minimized "
    "by the algorithm.",
    kind="inequality",
    shape=LIMIT,
    condition="rise",
    explanation=r"Judged by what every reading of $c\ge0$ and $g_i$ implies, be $c$ a constant or a multiple of the step, be $g_i$ the norm or its square: "
    r"$\frac d{d\beta}\mathcal J(\theta_{i+1},q_{i+1})\ge0$ at $\beta=0$. A negative derivative refutes it for every sufficiently small step. With $d^\pi,d^q$ for the "
    r"discounted visits from $x_0$, $\frac d{d\beta}\mathcal J=\alpha\sum_xd^q(x)\sum_aq_i\nabla_\theta\log\pi\cdot\dot\theta+\gamma\sum_{x,a}d^q(x)\dot q_i(a\mid x)\,"
    r"\mathbb E_y[V^{\pi_i,q_i}_\alpha(y)-V^{\pi_i}(y)]$, while $\dot\theta=\sum_xd^\pi(x)\sum_aq_i\nabla_\theta\log\pi$. The first term can be negative where states share "
    r"parameters, since $d^q\ne d^\pi$ (`mpo.prop3.nondecreasing`); the second even where they do not, since the E-step judges actions by $V^{\pi_i}$ and $\mathcal J$ by "
    r"$V^{\pi_i,q_i}_\alpha$. That is the case judged here, the most favourable one: state 1 pays for staying or leaves for good, state 2 is a lottery of mean 0 under "
    r"$\pi_i$. (Where $\gamma=0$ the derivative is $\alpha\lVert\nabla f\rVert^2$, and as $\alpha$ grows the step becomes one along the policy gradient.)",
    hand_check=r"A logit for each state and action. In state 1 staying pays 1, leaving for good 0; in state 2 the actions pay 9 and $-9$; $\gamma=\frac16$, $\alpha=1$, "
    r"$\pi_i$ uniform. $V^{\pi_i}(2)=0$, so that $q_i$ prefers to stay, and the step raises that logit; but $V^{\pi_i,q_i}_\alpha(2)\approx(9-\log2)/\frac56=9.97$, so that under "
    r"$\mathcal J$ leaving is better. The two terms of the derivative are $0.157$ and $-0.160$.",
)
def the_joint_objective_rises(p: Problem) -> Check:
    """The derivative of the joint objective along the step, with a logit for every state and action."""
    return joint_objective_rises(pay_or_lottery(p), "rise")


the_joint_objective_rises.both_readings(space=TABULAR_STEP, assumptions=STEP)

MENDED_ASSUMPTIONS = [*MODEL, START, SOFTMAX, UNINFORMATIVE, MENDED, STEP_AT_MOST]


@claim(
    "mpo.prop3.eq21.amended",
    where="amends App. A.2, Proposition 3, Eq. 21",
    title="Coordinate ascent on the joint objective raises it by the step times the squared norm of the gradient",
    statement=r"For $\theta_{i+1}=\theta_i-\beta\nabla_\theta f(q_i,q_i,\theta_i)$ with $0\le\beta\le1/L$, and $q_{i+1}\propto\pi_{i+1}e^{Q/\alpha}$ for the regularized "
    r"$Q=Q^{q_i}_{\theta_{i+1}}$ of Eq. (4), from any $\theta_i$ and $q_i$: $\mathcal J(\theta_{i+1},q_{i+1})\ge\mathcal J(\theta_i,q_i)+\frac{\alpha\beta}2\lVert"
    r"\nabla_\theta f(q_i,q_i,\theta_i)\rVert^2$, where $L$ bounds the second derivatives of $f$.",
    kind="inequality",
    shape=POINTWISE,
    condition="rise",
    explanation=r"For fixed $q$, $\mathcal J=\mathbb E_q[\sum_t\gamma^tr_t]-\alpha f(q,q,\theta)$: the M-step needs the visits of $q$. For fixed $\theta$, the E-step is one of soft "
    r"policy improvement, from $q_i$ and not from $\pi_i$.",
    amends="mpo.prop3.eq21",
)
def coordinate_ascent_rises(p: Problem) -> Check:
    """One step from any policy and any q."""
    ascent = mended_step(p, p.log_policy, p.log_q)
    before = joint_objective(p, p.log_policy, p.log_q) + p.alpha * ascent.step * ascent.squared_norm / 2
    after = joint_objective(p, ascent.log_policy, ascent.log_q)
    scale = value_size(p, p.log_policy, p.log_q, ascent.log_policy, ascent.log_q)
    return Check("rise", before, "<=", after, scale=scale)


coordinate_ascent_rises.both_readings(space=MENDED_STEP, assumptions=MENDED_ASSUMPTIONS, effort=0.5)


def _policy_gradient(p: Problem, now: Iterate, visits: Any) -> Any:
    r"""The gradient of the return $V^\pi(x_0)$ in theta, (..., d)."""
    policy = namespace(visits).exp(now.log_policy)
    return expected_features(through_softmax(policy, now.action_values), p.features, visits)


@claim(
    "mpo.prop3.eq21.hot",
    where="amends App. A.2, Proposition 3, Eq. 21",
    title="At high temperatures a step of the algorithm raises the joint objective, along the policy gradient",
    statement=r"For the printed algorithm, $\alpha\frac d{d\beta}\mathcal J(\theta_{i+1},q_{i+1})\to\lVert\nabla_\theta V^{\pi_i}(x_0)\rVert^2$ at $\beta=0$ as $\alpha\to\infty$. With "
    r"$D=\frac1{1-\gamma}$, $\sigma$ the largest range of $Q^{\pi_i}(x,\cdot)$, $\Phi=\max|\phi|$ and $\alpha\ge\sigma$, they differ by at most $\frac{D^2\Phi^2\sigma^3}\alpha"
    r"\left[\frac32+3(3+6\gamma D+\frac{\gamma D(1+2\gamma D)}4)\right]$.",
    kind="limit",
    shape=LIMIT,
    condition="rate",
    explanation=r"$\alpha(q_i-\pi_i)\to\pi_i(Q^{\pi_i}-V^{\pi_i})$, so that the step becomes one of policy gradient ascent and $\mathcal J$ the return. So $\mathcal J$ does rise at every "
    r"$\theta_i$ with $\nabla V\ne0$, at temperatures that are large enough for it.",
    amends="mpo.prop3.eq21",
)
def hot_steps_follow_the_policy_gradient(p: Problem) -> Check:
    """The slope of the joint objective, times the temperature, against the squared policy gradient."""
    xp = namespace(p.policy)
    now = iterate(p, p.log_policy)
    move = printed_direction(p, now)
    slope = p.alpha * at_start(p, slopes(p, now, move.logits).regularised)
    gradient = _policy_gradient(p, now, move.visits)
    squared = xp.sum(gradient * gradient)
    sigma = xp.max(spread(now.action_values))
    phi_squared = xp.max(xp.max(xp.sum(p.features * p.features)))
    horizon = 1 / (1 - p.discount)
    ahead = p.discount * horizon
    # |gradient| <= horizon phi sigma, so that no square root is needed
    factor = 3 * (3 + 6 * ahead + ahead * (1 + 2 * ahead) / 4) + xp.asarray(3) / 2
    bound = horizon * horizon * phi_squared * sigma * sigma * sigma * factor / p.alpha
    scale = p.alpha * slope_size(p, now, move)
    return Check("rate", xp.abs(slope - squared), "<=", bound, scale=scale, given=((sigma, "<=", p.alpha),))


hot_steps_follow_the_policy_gradient.both_readings(
    space=model_space(
        policy=POLICY, features=FEATURES, initial=Simplex(("s",)), alpha=Positive(exponents=(0, 4)), parameters=(1,)
    ),
    assumptions=[*MODEL, START, SOFTMAX, UNINFORMATIVE],
    effort=0.5,
)


@claim(
    "mpo.prop3.nondecreasing",
    where="App. A.2, after Proposition 3",
    title="The values of the sequence do not decrease",
    statement=r"The values $\mathcal J(\theta_i,q_i)$ of the sequence $(\pi_{\theta_i},q_i)$ are non-decreasing.",
    kind="inequality",
    shape=LIMIT,
    condition="non-decreasing",
    explanation=ON_STAY_OR_LEAVE
    + r"A sequence that starts where $\frac d{d\beta}\mathcal J<0$ decreases at its first step, however small. The derivative is that of `mpo.prop3.eq21`; judged here where states "
    r"share a parameter, so that the gradient of Eq. (18), weighed by the visits of $\pi_i$, may point against that of $\mathcal J$, weighed by those of $q_i$.",
    hand_check=SHARED_LOGIT,
)
def the_values_do_not_decrease(p: Problem) -> Check:
    """The derivative of the joint objective along the first step, with one logit for both states."""
    return joint_objective_rises(stay_or_leave(p), "non-decreasing")


the_values_do_not_decrease.both_readings(space=PRINTED_STEP, assumptions=STEP)


@claim(
    "mpo.prop3.nondecreasing.amended",
    where="amends App. A.2, after Proposition 3",
    title="The values of coordinate ascent on the joint objective do not decrease",
    statement=r"From $q_0\propto\pi_0e^{Q^{\pi_0}/\alpha}$ on, the sequence of the amended Eq. (21) has non-decreasing values $\mathcal J(\theta_i,q_i)$.",
    kind="inequality",
    shape=POINTWISE,
    condition="rise",
    explanation=r"The values are bounded by $\max_q V^q(x_0)$, so that they converge.",
    amends="mpo.prop3.nondecreasing",
)
def the_values_of_coordinate_ascent_do_not_decrease(p: Problem) -> Check:
    """The last of several steps."""
    return mended_sequence_rises(p)


the_values_of_coordinate_ascent_do_not_decrease.both_readings(
    space=MENDED_STEPS, assumptions=MENDED_ASSUMPTIONS, effort=0.2
)


def _stuck(p: Problem) -> Problem:
    """The fixed point: leaving pays, and so does the first action of state 2; the policy is uniform, gamma = 2/3."""
    xp = namespace(p.gap)
    rewards = [[p.gap * 0, p.gap], [p.gap, p.gap * 0]]
    arrays = {
        "rewards": xp.stack([xp.stack(pair, axis=-1) for pair in rewards], axis=-2),
        "discount": p.gap * 0 + xp.asarray(2) / 3,
        "alpha": p.alpha,
    }
    return stay_or_leave(Problem({}, arrays))


@claim(
    "mpo.prop3.localmax",
    where="App. A.2, after Proposition 3",
    title="The sequence converges to a local maximum",
    statement=r"The sequence $(\pi_{\theta_i},q_i)$ converges to a local maximum and the algorithm keeps improving the performance until the gradient vanishes.",
    kind="convergence",
    shape=CONVERGENCE,
    condition="stationary",
    explanation=r"Where states share parameters, the gradient of Eq. (18) weighs them by the visits of $\pi_i$, that of $\mathcal J$ by those of $q_i$; so the one can vanish where the other does not. "
    r"Judged at such a point: a sequence that starts there stays, and on the model below, for $\Delta=\alpha$, small steps lead to it from both sides. Both $\partial_\theta\mathcal J(\theta,q_i)$ and the whole derivative "
    r"of $\mathcal J(\theta,q(\theta))$ are positive there: the sequence comes to rest on a slope of what it is to maximise. (That the performance improves until then is "
    r"`mpo.prop3.nondecreasing`.)",
    hand_check=r"State 1: action 1 pays 0 and stays, action 2 pays $\Delta$ and moves to state 2 for good; there the actions pay $\Delta$ and 0. $\gamma=\frac23$, one logit "
    r"$\theta$ for action 1 in both states, $\theta_i=0$: $V^{\pi_i}$ is the same in both, $q_i=(1-\sigma,\sigma)$ in state 1 and reversed in state 2, "
    r"$\sigma=\frac1{1+e^{-\Delta/\alpha}}$. $d^{\pi_i}=(\frac32,\frac32)$, so that the gradient is 0; $d^{q_i}(1)=\frac3{1+2\sigma}<\frac32$ and $d^{q_i}(2)=3-d^{q_i}(1)$, so that "
    r"$\frac{\partial\mathcal J}{\partial\theta}=\alpha(\sigma-\frac12)(d^{q_i}(2)-d^{q_i}(1))>0$.",
)
def the_fixed_point_is_stationary(p: Problem) -> list[Check]:
    """The gradient of Eq. 18 at the fixed point, and the derivative of the joint objective in the parameter."""
    stuck = _stuck(p)
    now = iterate(stuck, stuck.log_policy)
    still = printed_direction(stuck, now)
    slope = at_start(stuck, slopes(stuck, now, stuck.rewards * 0 + stuck.features[..., 0]).regularised)
    scale = value_size(stuck, now.log_policy, now.log_q)
    return [
        Check("stationary", slope, "==", p.alpha * 0, scale=scale),
        Check("fixed point", still.squared_norm, "==", p.alpha * 0, scale=scale * scale, asserted=False),
    ]


the_fixed_point_is_stationary.both_readings(
    space=Space({"gap": Positive(exponents=(-1, 1)), "alpha": Positive(exponents=(-1, 1))}),
    assumptions=STEP,
)


@claim(
    "mpo.prop3.localmax.amended",
    where="amends App. A.2, after Proposition 3",
    title="With a parameter for every state and action, the gradient vanishes at global maxima only",
    statement=r"Let every state and action have a logit of its own, every state a positive initial probability, and $\epsilon=\max_{x,a}\frac{|\partial f/\partial\theta_{xa}|}"
    r"{d^{\pi_i}(x)\pi_i(a\mid x)}<1$. Then $\mathcal J(\theta,q)\le\mathcal J(\theta_i,q_i)+\frac\alpha{1-\gamma}\log\frac{1+\epsilon}{1-\epsilon}$ for all $\theta$ and $q$.",
    kind="inequality",
    shape=CONVERGENCE,
    condition="global maximum",
    explanation=r"$\partial f/\partial\theta_{xa}=-d^{\pi_i}(x)(q_i-\pi_i)(a\mid x)$, so that $\epsilon$ bounds $|q_i/\pi_i-1|$, and $\alpha\log(q_i/\pi_i)$ is the advantage less a "
    r"number of the state that is not negative. So $\epsilon$ bounds all advantages, and these the distance to the best return. It is said of the points where the gradient vanishes, "
    r"not of whether the sequence comes to one.",
    amends="mpo.prop3.localmax",
)
def no_gradient_means_a_global_maximum(p: Problem) -> Check:
    """Any other policy and q against the iterate."""
    xp = namespace(p.policy)
    now = iterate(p, p.log_policy)
    move = printed_direction(p, now)
    relative = xp.abs(move.logits) / (move.visits[..., None] * xp.exp(p.log_policy))
    most = xp.max(xp.max(relative))
    here = joint_objective(p, p.log_policy, now.log_q)
    there = joint_objective(p, p.log_other, p.log_challenger)
    room = p.alpha * (xp.log1p(xp.minimum(most, 1)) - xp.log1p(-xp.minimum(most, 1))) / (1 - p.discount)
    scale = value_size(p, p.log_policy, now.log_q, p.log_other, p.log_challenger)
    return Check("global maximum", there, "<=", here + room, scale=scale, given=((most, "<", p.alpha * 0 + 1),))


no_gradient_means_a_global_maximum.both_readings(
    space=model_space(
        policy=Simplex(("s", "a"), zeros=False, exponents=(-3, 0)),
        other=Simplex(("s", "a"), zeros=False, exponents=(-3, 0)),
        challenger=ANY,
        initial=Simplex(("s",), zeros=False, exponents=(-3, 0)),
    ),
    assumptions=[*MODEL, START, TABULAR, UNINFORMATIVE],
)
