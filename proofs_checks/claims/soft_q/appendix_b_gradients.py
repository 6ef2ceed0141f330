"""Appendix B: the entropy-regularised policy gradient, before and after the substitution (Eqs. 27 and 29)."""

from __future__ import annotations

from typing import Any

from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import FINITE
from proofs_checks.claims.soft_q.finite_horizon import STEPS, Steps, gradient_size, horizon_space
from proofs_checks.claims.soft_q.optimal_models import FEW
from proofs_checks.fields import Real
from proofs_checks.instances import Problem

_SOFTMAX = [FINITE, STEPS, "the policy is that of Eq. 26, with one energy for each state and action as its parameters"]


def _printed_gradient(p: Problem, steps: Steps, baseline: Any) -> Any:
    """Eq. 27: the score-function term with plain action values and a baseline, and the gradient of the entropy."""
    weights = [values + baseline[..., None] for values in steps.action_values(0)]
    return steps.score_gradient(weights) + steps.entropy_gradient()


@claim(
    "soft_q.eq27",
    where="App. B, Eq. 27",
    title="The entropy-regularised policy gradient",
    statement=r"The entropy-regularized policy gradient is $\mathbb E_{(s_t,a_t)\sim\rho_{\pi^\phi}}\left[\nabla_\phi\log\pi^\phi(a_t\mid s_t)"
    r"(\hat Q_{\pi^\phi}(s_t,a_t)+b^\phi(s_t))\right]+\nabla_\phi\mathbb E_{s_t\sim\rho_{\pi^\phi}}\left[\mathcal H(\pi^\phi(\cdot\mid s_t))\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="gradient",
    explanation=r"With $\hat Q$ the plain $Q$-value, without entropies, and the gradient of the second term taken in full, the movement of the states "
    "included. Any baseline that depends on the state alone drops out, one that depends on the parameters too. The left side is derived "
    r"forwards, through the marginals, without the policy gradient theorem. (With the soft $Q$-value as $\hat Q$ later entropies would count twice. "
    "With discounted values under undiscounted states see `soft_q.appa.average`.)",
)
def the_regularised_policy_gradient(p: Problem) -> Check:
    """The derivative of return and entropies in every logit, against Eq. 27."""
    steps = Steps(p)
    right = _printed_gradient(p, steps, p.baseline)
    return Check("gradient", steps.regularised_gradient(), "==", right, scale=gradient_size(p, p.baseline))


the_regularised_policy_gradient.both_readings(
    space=horizon_space(baseline=Real(("states",), exponents=(-1, 2))),
    assumptions=[*_SOFTMAX, "the estimate of the Q-value is exact: it is judged in expectation"],
    effort=0.1,
)


@claim(
    "soft_q.eq29",
    where="App. B, Eq. 29",
    title="The policy gradient of an energy-based policy",
    statement=r"Substituting Eq. 28 into Eq. 27, noting Eq. 26 ($\pi^\phi=\exp(\mathcal E^\phi-\bar{\mathcal E}^\phi)$) and choosing $b^\phi(s_t)="
    r"\bar{\mathcal E}^\phi(s_t)+1$, the policy gradient is $\mathbb E_{(s_t,a_t)\sim\rho_{\pi^\phi}}\left[(\nabla_\phi\mathcal E^\phi(s_t,a_t)-\nabla_\phi"
    r"\bar{\mathcal E}^\phi(s_t))(\hat Q_{\pi^\phi}(s_t,a_t)-\mathcal E^\phi(s_t,a_t))\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="gradient",
    intended_statement=r"The same with $\hat Q_{\pi^\phi}$ an estimate of the soft $Q$-value of Eq. 15: then it is the gradient of the expected return and "
    "entropies.",
    explanation=r"Eq. 28 leaves out that the states move with the policy (`soft_q.eq28`), so that with the $Q$-value of Eq. 27 the entropy of later "
    "states has no influence on earlier actions. What is missing is what the soft $Q$-value holds beyond the plain one; with it Eq. 29 is right, for every number "
    r"of steps. For trajectories of one step both agree. The baseline has the wrong sign: with it the substitution leaves $\hat Q-\mathcal E+2\bar{\mathcal E}$, and "
    r"$b=1-\bar{\mathcal E}$ would leave $\hat Q-\mathcal E$. Nothing comes of it, since what depends on the state alone has mean 0 against the score.",
    hand_check=r"Two steps, rewards 0, so that $\hat Q=0$. Start in state 1 with $\pi=(\frac12,\frac12)$; action 1 stays, action 2 leads to state 2, whose policy has the "
    r"entropy $\mathcal H_2<\log2$. In the logit of action 1 the expected entropy has the slope $\frac14(\log2-\mathcal H_2)$, and Eq. 29 is 0 there, as both actions have "
    "the same energy.",
)
def the_gradient_of_an_energy_based_policy(p: Problem) -> Check:
    """Eq. 27 with the plain action values and the printed baseline, against Eq. 29 with the same values."""
    steps = Steps(p)
    energies = p.log_policy + p.log_partition[..., None]
    left = _printed_gradient(p, steps, p.log_partition + 1)
    right = steps.score_gradient([values - energies for values in steps.action_values(0)])
    return Check("gradient", left, "==", right, scale=gradient_size(p, p.log_partition))


def the_gradient_with_soft_values(p: Problem) -> list[Check]:
    """The derivative of return and entropies against Eq. 29 with soft action values, and that the baseline is idle."""
    steps = Steps(p)
    energies = p.log_policy + p.log_partition[..., None]
    soft = steps.action_values(1)
    right = steps.score_gradient([values - energies for values in soft])
    printed = p.log_partition[..., None] + 1
    substituted = steps.score_gradient([values + printed - (1 + p.log_policy) for values in soft])
    scale = gradient_size(p, p.log_partition)
    return [
        Check("gradient", steps.regularised_gradient(), "==", right, scale=scale),
        Check("printed baseline", substituted, "==", right, scale=scale),
    ]


_PARTITION = Real(("states",), exponents=(-1, 2))
the_gradient_of_an_energy_based_policy.reading(
    "literal",
    space=horizon_space(sizes=FEW | {"horizon": (1, 2)}, log_partition=_PARTITION),
    assumptions=_SOFTMAX,
    effort=0.1,
)
the_gradient_of_an_energy_based_policy.reading(
    "intended",
    space=horizon_space(log_partition=_PARTITION),
    adds=["the Q-value is the soft one (Eq. 15)"],
    sides=the_gradient_with_soft_values,
    effort=0.1,
)
