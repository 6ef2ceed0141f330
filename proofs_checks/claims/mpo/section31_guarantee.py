"""Section 3.1: the guarantee of monotonic improvement that Appendix A is to prove."""

from __future__ import annotations

from proofs_checks.claim import LIMIT, Check, claim
from proofs_checks.claims.mpo.joint_objective import (
    MENDED,
    MENDED_STEPS,
    ON_STAY_OR_LEAVE,
    PRINTED_STEP,
    SHARED_LOGIT,
    STEP,
    STEP_AT_MOST,
    joint_objective_rises,
    mended_sequence_rises,
    stay_or_leave,
)
from proofs_checks.instances import Problem


@claim(
    "mpo.sec31.monotone",
    where="Sec. 3.1",
    title="A variant of the algorithm improves monotonically",
    statement=r"If $p(\theta)$ is an uninformative prior, a variant of the algorithm (that of Appendix A) has a monotonic improvement guarantee.",
    kind="inequality",
    shape=LIMIT,
    condition="guarantee",
    intended_statement=r"The variant with the E-step $q_{i+1}\propto\pi_{i+1}e^{Q/\alpha}$ for the regularized $Q=Q^{q_i}_{\theta_{i+1}}$ of Eq. (4), and with the visits "
    r"of $q_i$ as weights in the gradient step, never lowers $\mathcal J$ if the step is at most 1/smoothness.",
    explanation=ON_STAY_OR_LEAVE
    + r"The objective is $\mathcal J(\theta,q)$ of Eq. (3). The variant of Appendix A chooses $q$ by $Q^{\pi_i}$, as though $\pi_i$ and not $q$ acted from the "
    r"next step on, and weighs states by the visits of $\pi_i$, while $\mathcal J$ is an expectation under $q$. So neither half of the iteration follows "
    r"$\mathcal J$, which can fall to first order in the step: no step is small enough. The sentence speaks of a variant, and there is one: coordinate "
    r"ascent on $\mathcal J$ itself, which the intended reading states.",
    hand_check=SHARED_LOGIT,
)
def a_variant_improves(p: Problem) -> Check:
    """The derivative of the joint objective along the printed step."""
    return joint_objective_rises(stay_or_leave(p), "guarantee")


a_variant_improves.reading("literal", space=PRINTED_STEP, assumptions=STEP)
a_variant_improves.reading(
    "intended",
    space=MENDED_STEPS,
    adds=[MENDED, STEP_AT_MOST],
    sides=mended_sequence_rises,
    effort=0.2,
)
