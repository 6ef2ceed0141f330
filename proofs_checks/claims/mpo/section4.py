"""Section 4: the policy evaluation operator (Eq. 13)."""

from __future__ import annotations

from typing import Any

import numpy as np

from exactrl.formulas import expectation, expected_following, lookahead, retrace_operator
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, Check, claim
from proofs_checks.claims.mpo.common import FINITE
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Discount, Real, Simplex
from proofs_checks.instances import Problem, Space


def _rewards(p: Problem) -> Any:
    """The rewards under which the given values are those of the policy: Q(s,a) - gamma E[E_pi Q(s')]."""
    following = expected_following(p.transitions, expectation(p.log_policy, p.q_values))
    return lookahead(p.q_values, -row(row(p.discount)), following)


def _operator(p: Problem, q_values: Any, rewards: Any, *, as_printed: bool) -> Any:
    """The expected targets of the first `steps` terms from every pair, one instance after the other."""

    def one(q: Any, r: Any, transitions: Any, log_policy: Any, log_behaviour: Any, discount: Any) -> Any:
        xp = namespace(q)
        flat = xp.reshape(transitions, (q.shape[0] * q.shape[1], q.shape[0]))
        return retrace_operator(q, r, flat, log_policy, log_behaviour, discount, steps=p.steps, as_printed=as_printed)

    arguments = (q_values, rewards, p.transitions, p.log_policy, p.log_behaviour, p.discount)
    if q_values.ndim == 2:
        return one(*arguments)
    return np.stack([one(*instance) for instance in zip(*arguments, strict=True)])


def _rounding(p: Problem) -> Any:
    return size(p.q_values) * 4**p.steps


@claim(
    "mpo.eq13.retrace",
    where="Sec. 4, Eq. 13",
    title="The Retrace operator evaluates the policy",
    statement=r"The policy evaluation operator from the Retrace algorithm, used to fit $Q_{\theta_i}$, is $Q^{ret}_t=Q_{\phi'}(s_t,a_t)+"
    r"\sum_{j=t}^\infty\gamma^{j-t}\left(\prod_{k=t+1}^jc_k\right)\left[r(s_j,a_j)+\mathbb E_{\pi(a\mid s_{j+1})}[Q_{\phi'}(s_{j+1},a)]"
    r"-Q_{\phi'}(s_j,a_j)\right]$, $c_k=\min\left(1,\frac{\pi(a_k\mid s_k)}{b(a_k\mid s_k)}\right)$.",
    kind="identity",
    shape=EXISTENCE,
    condition="fixed point",
    intended_statement=r"With $\gamma\,\mathbb E_{\pi}[Q_{\phi'}(s_{j+1},\cdot)]$ in the bracket the expected target has the fixed point $Q^\pi$ "
    r"and contracts with modulus $\gamma$, however many terms are summed.",
    explanation=r"The print lacks $\gamma$ before $\mathbb E_\pi[Q(s_{j+1},\cdot)]$. Judged on the sum after $N$ terms, as the paper truncates it, at "
    r"$Q_{\phi'}=Q^\pi$: an operator that evaluates $\pi$ leaves its values in place.",
    hand_check=r"One state, one action, $\gamma=0$, $r=1$, so that $Q^\pi=1$: the printed target is $1+[1+1-1]=2$. With $\gamma=1/2$ and $r=1$, "
    r"$Q^\pi=2$, and the whole printed sum with $c_k=1$ is $2+\sum_j2^{-j}[1+2-2]=4$.",
)
def the_operator_evaluates_the_policy(p: Problem) -> list[Check]:
    """The values of the policy stay, and two functions come nearer by the discount."""
    xp = namespace(p.q_values)
    rewards = _rewards(p)
    kept, other = (_operator(p, q, rewards, as_printed=False) for q in (p.q_values, p.challenger))

    def distance(x: Any, y: Any) -> Any:
        return xp.max(xp.max(xp.abs(x - y)))

    scale = size(p.q_values, p.challenger) * 4**p.steps
    near = p.discount * distance(p.q_values, p.challenger)
    return [
        Check("fixed point", kept, "==", p.q_values, scale=_rounding(p)),
        Check("contraction", distance(kept, other), "<=", near, scale=scale),
    ]


def the_printed_operator_keeps_the_values(p: Problem) -> Check:
    """The printed operator, applied to the values of the policy."""
    target = _operator(p, p.q_values, _rewards(p), as_printed=True)
    return Check("fixed point", target, "==", p.q_values, scale=_rounding(p))


_MODEL: dict[str, Any] = {
    "policy": Simplex(("s", "a"), exponents=(-4, 0)),
    "behaviour": Simplex(("s", "a"), exponents=(-4, 0)),
    "transitions": Simplex(("s", "a", "s"), exponents=(-4, 0)),
    "q_values": Real(("s", "a"), exponents=(-1, 1)),
    "discount": Discount(),
}
_SIZES = {"s": (1, 2), "a": (1, 2), "steps": (1, 2, 3)}
the_operator_evaluates_the_policy.reading(
    "literal",
    space=Space(_MODEL, _SIZES, counts=("steps",)),
    assumptions=[FINITE, "b an arbitrary behaviour policy", "0 <= gamma < 1"],
    sides=the_printed_operator_keeps_the_values,
    effort=0.1,
)
the_operator_evaluates_the_policy.reading(
    "intended",
    space=Space({**_MODEL, "challenger": Real(("s", "a"), exponents=(-1, 1))}, _SIZES, counts=("steps",)),
    adds=["gamma stands before the expectation in the bracket (a misprint)"],
    effort=0.1,
)
