"""Appendix B: policy gradients and soft Q-learning."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import (
    chain_of,
    entropy,
    expected_following,
    log_boltzmann,
    next_marginal,
    softmax_scores,
    through_softmax,
)
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.soft_q.common import FINITE, SIZES, policy_field
from proofs_checks.claims.terms import size
from proofs_checks.fields import Real, Simplex
from proofs_checks.instances import Problem, Space


def _second_visits(p: Problem) -> Any:
    """The distribution of the second state, (..., S)."""
    return next_marginal(p.initial, chain_of(p.policy, p.dynamics))


def _entropy_slopes(p: Problem) -> Any:
    """The derivative of the entropy of a state in the logits of that state, -pi (log pi + H)."""
    return -through_softmax(p.policy, p.log_policy)


def _printed_gradient(p: Problem, visits: Any) -> Any:
    """The right side: minus the mean of the score times 1 + log pi, summed over the actions of each state."""
    xp = namespace(p.policy)
    weights = visits[..., :, None] * (p.policy * (1 + p.log_policy))
    return -xp.sum(weights[..., None] * softmax_scores(p.policy), axis=-2)


@claim(
    "soft_q.eq28",
    where="App. B, Eq. 28",
    title="The gradient of the expected entropy",
    statement=r"$-\nabla_\phi\mathbb E_{s_t\sim\rho_{\pi^\phi}}\left[\mathbb E_{a_t\sim\pi^\phi(a_t\mid s_t)}[\log\pi^\phi(a_t\mid s_t)]"
    r"\right]=-\mathbb E_{(s_t,a_t)\sim\rho_{\pi^\phi}}\left[\nabla_\phi\log\pi^\phi(a_t\mid s_t)(1+\log\pi^\phi(a_t\mid s_t))\right]$.",
    kind="identity",
    shape=POINTWISE,
    condition="gradient",
    intended_statement=r"The same with the distribution of the states held fixed: "
    r"$\mathbb E_{s_t\sim\rho}[\nabla_\phi\mathcal H(\pi^\phi(\cdot\mid s_t))]$ on the left.",
    explanation=r"$\rho_{\pi^\phi}$ is the marginal of the trajectory distribution that the policy induces, so it moves with $\phi$ too, and "
    r"$\mathbb E_{s_t\sim\rho_{\pi^\phi}}[\nabla_\phi\log\rho_{\pi^\phi}(s_t)\,\mathcal H(\pi^\phi(\cdot\mid s_t))]$ is missing on the right. "
    "Judged at the second step, for a softmax policy in its logits. At the first step the states do not depend on the policy, and both sides agree.",
    hand_check=r"Start in state 1 with $\pi=(\frac12,\frac12)$; action 1 stays there and action 2 leads to state 2, whose policy has the entropy "
    r"$\mathcal H_2<\log2$. In the logit of action 1 the expected entropy of the second step has the slope $\frac14(\log2-\mathcal H_2)$, "
    r"and the right side is 0.",
)
def the_gradient_of_the_entropy(p: Problem) -> Check:
    """Every logit, at the second step of a trajectory: the state's own entropy, and where the next states lie."""
    visits = _second_visits(p)
    own = visits[..., :, None] * _entropy_slopes(p)
    moved = p.initial[..., :, None] * through_softmax(p.policy, expected_following(p.dynamics, entropy(p.log_policy)))
    return Check("gradient", own + moved, "==", _printed_gradient(p, visits), scale=size(p.log_policy))


def the_gradient_with_states_held_fixed(p: Problem) -> Check:
    """Every logit, at the second step of a trajectory, the distribution of the states held fixed."""
    visits = _second_visits(p)
    left = visits[..., :, None] * _entropy_slopes(p)
    return Check("gradient", left, "==", _printed_gradient(p, visits), scale=size(p.log_policy))


_GRADIENT_SPACE = Space(
    {
        "initial": Simplex(("states",), exponents=(-20, 0)),
        "dynamics": Simplex(("states", "actions", "states"), exponents=(-20, 0)),
        "policy": policy_field(zeros=False),
    },
    SIZES,
)
_SOFTMAX = [FINITE, "the policy is that of Eq. 26, with one energy for each state and action as its parameters"]
the_gradient_of_the_entropy.reading("literal", space=_GRADIENT_SPACE, assumptions=_SOFTMAX)
the_gradient_of_the_entropy.reading(
    "intended",
    space=_GRADIENT_SPACE,
    adds=["the gradient does not act on the distribution of the states"],
    sides=the_gradient_with_states_held_fixed,
)


@claim(
    "soft_q.appb.shift",
    where="App. B, end",
    title="A constant shift of the energy leaves the policy as it is",
    statement=r"The resulting policy is still correct, since the Boltzmann distribution $\pi^\phi(a_t\mid s_t)=\exp(\mathcal E^\phi(s_t,a_t)-"
    r"\bar{\mathcal E}^\phi(s_t))$ in Eq. 26 is independent of constant shifts in the energy function.",
    kind="identity",
    shape=POINTWISE,
    condition="policy",
    explanation="The shift may differ from state to state.",
)
def the_policy_is_free_of_shifts(p: Problem) -> Check:
    """The logarithms of both policies."""
    shifted = p.energies + p.shifts[..., :, None]
    left, right = log_boltzmann(shifted, 1), log_boltzmann(p.energies, 1)
    return Check("policy", left, "==", right, scale=size(p.energies, p.shifts))


the_policy_is_free_of_shifts.both_readings(
    space=Space({"energies": Real(("states", "actions")), "shifts": Real(("states",))}, SIZES),
    assumptions=[FINITE, "one shift a state"],
)
