r"""Targets and losses of the actor-critic methods, entry by entry: whoever trains takes the mean over his batch.

Shapes: every argument (...) -> (...), unless said otherwise.  Units: natural logarithms.
Where a gradient must not pass, the caller hands over a constant: a formula does not know what is differentiated.
"""

from __future__ import annotations

from typing import Any

from exactrl.formulas.evaluation import lookahead
from exactrl.number_systems import A, namespace


def bellman_target(rewards: A, continuation: A, next_values: A, gamma: Any) -> A:
    r"""The one-step target $r+\gamma c V(s')$, c = 0 where the episode terminated (not where it was cut off), else 1.

    Source: ECPO, Eqs. 10 and 25; soft Q-learning, Eq. 7.
    """
    return lookahead(rewards, gamma, continuation * next_values)


def sampled_soft_value(action_values: A, log_policy: A, alpha: Any) -> A:
    r"""One action's estimate $Q(s,a)-\alpha\log\pi(a\mid s)$ of a soft value.

    Its mean over $a\sim\pi$ is the soft value of the policy $\pi$; it lies below the soft *optimal* value unless
    $\pi\propto e^{Q/\alpha}$ (claims `ecpo.sec4.onesample` and `ecpo.eq9`).  Its negative is the integrand of the
    policy objective of soft actor-critic.
    Source: ECPO, Eqs. 9 and 22.
    """
    estimate: A = action_values - alpha * log_policy
    return estimate


def squared_error(prediction: A, target: A) -> A:
    r"""Half the squared error $\tfrac12(x-y)^2$.

    Source: ECPO, Eqs. 9, 10, 22, 23 and 25; soft Q-learning, Eq. 11.
    """
    error = prediction - target
    return error * error / 2


def exponential_regression(value: A, target: A, temperature: Any, cap: Any) -> A:
    r"""The loss $\eta^2(e^z-z-1)$, $z=(q-V)/\eta$: its mean is least at the soft value $\eta\log\mathbb E e^{q/\eta}$.

    A single sample of q gives an unbiased gradient in V, which no squared error on q does; where |z| is small the loss
    is $\tfrac12(V-q)^2$.  Above the cap it goes on as its tangent, so that one sample's pull is at most
    $\eta(e^{cap}-1)$.
    Source: `ecpo.eq9.amended`, the repair of ECPO, Eqs. 9 and 22.
    """
    xp = namespace(value, target)
    z = (target - value) / temperature
    capped = xp.minimum(z, cap)
    # (e^c - 1)(1 + z - c) - c is the same with the ones taken out: where z is tiny, nothing cancels against them.
    loss: A = temperature * temperature * (xp.expm1(capped) * (1 + z - capped) - capped)
    return loss


def projection_weight(shaped_advantage: A, cap: Any) -> A:
    r"""Importance weight $e^\omega$ of an action of the reference policy, $\omega=(Q-\tau'\log\bar\pi-V)/(\tau+\tau')$.

    Its mean under the reference is 1 when V is the soft value of Q.  Weights above $e^{cap}$ are cut there.
    Source: ECPO, Eq. 26 (Lemma 7), with the sign of the lemma's proof.
    """
    xp = namespace(shaped_advantage)
    return xp.exp(xp.minimum(shaped_advantage, cap))


def score_function_loss(log_policy: A, advantage: A) -> A:
    r"""The integrand $-\log\pi_\theta(a\mid s)\,\hat A$ whose gradient in $\theta$ is the score-function estimator.

    Source: ECPO, Eq. 6 and Lemma 7; the lecture's likelihood-ratio gradient.
    """
    return -log_policy * advantage


def temperature_loss(log_alpha: A, log_policy: A, target_entropy: Any) -> A:
    r"""The loss $-\log\alpha\,(\log\pi(a\mid s)+\bar{\mathcal H})$: alpha rises while the entropy is below the target.

    Source: the automatic temperature of soft actor-critic, in the logarithm of alpha.
    """
    loss: A = -log_alpha * (log_policy + target_entropy)
    return loss
