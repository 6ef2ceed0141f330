"""Appendix A.1: the regularised reward."""

from __future__ import annotations

from exactrl.formulas import kl
from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, Check, claim
from proofs_checks.claims.mpo.common import FINITE
from proofs_checks.claims.mpo.regularised import restricted
from proofs_checks.fields import Simplex
from proofs_checks.instances import Problem, Space


@claim(
    "mpo.appa.reward",
    where="App. A.1",
    title="The regularised reward is defined",
    statement=r"For any $q$ such that, for all $x,a$, $\{\pi(a\mid x)>0\}\implies\{q(a\mid x)>0\}$, the $\pi$-regularized reward "
    r"$r^{\pi,q}_\alpha(x,a)=r(x,a)-\alpha\log\frac{q(a\mid x)}{\pi(a\mid x)}$ is defined.",
    kind="existence",
    shape=EXISTENCE,
    condition="finite",
    intended_statement=r"If $\{q(a\mid x)>0\}\implies\{\pi(a\mid x)>0\}$, the reward is defined at every action that $q$ takes, and so is its expectation "
    r"under $q$.",
    explanation=r"The implication is printed the wrong way round: it permits actions that $q$ takes and $\pi$ does not, where the denominator is 0.",
    hand_check=r"$\pi=(1,0)$, $q=(1/2,1/2)$: at the second action $q/\pi=\frac12/0$.",
)
def the_reward_is_defined(p: Problem) -> list[Check]:
    """The divergence of a policy that the other one covers is finite, and so is each logarithm."""
    xp = namespace(p.policy)
    infinite = xp.sum(p.policy) * 0 + float("inf")
    log_q, support = restricted(p, p.log_other, p.support_other)
    ratio = xp.where(support, log_q, 0) - xp.where(support, p.log_policy, 0)
    return [
        Check("finite", xp.abs(ratio), "<", infinite[..., None]),
        Check("finite expectation", kl(log_q, p.log_policy), "<", infinite),
    ]


def the_denominator_is_positive(p: Problem) -> Check:
    """The least probability of the policy among the actions that q takes, all of them here."""
    return Check("denominator", namespace(p.policy).min(p.policy), ">", namespace(p.policy).sum(p.policy) * 0)


_SHORT = (-20, 0)  # in floats a smaller probability may be 0 without being a counterexample
the_reward_is_defined.reading(
    "literal",
    space=Space(
        {"policy": Simplex(("a",), exponents=_SHORT), "q": Simplex(("a",), zeros=False, exponents=_SHORT)},
        {"a": (1, 2, 3)},
    ),
    assumptions=[FINITE, "alpha > 0"],
    sides=the_denominator_is_positive,
)
the_reward_is_defined.reading(
    "intended",
    space=Space({"policy": Simplex(("a",)), "other": Simplex(("a",))}, {"a": (1, 2, 3)}),
    adds=["pi(a|x) > 0 wherever q(a|x) > 0 (the implication is printed the wrong way round)"],
)
