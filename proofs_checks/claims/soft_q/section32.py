"""Section 3.2: the squared error that is minimised in place of soft Q-iteration."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import importance_soft_value, policy_average, squared_error
from exactrl.formulas.regression import fitted_multiple
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, Check, claim
from proofs_checks.claims.discounted import bellman
from proofs_checks.claims.soft_q.common import (
    FINITE,
    INFINITE_HORIZON,
    TEMPERATURE,
    model_space,
    over_all,
    soft_backup,
)
from proofs_checks.claims.terms import row, size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem


def _weights(p: Problem) -> Any:
    """The probability of every pair under the two sampling distributions."""
    return p.state_weights[..., :, None] * p.action_weights[..., None, :]


@claim(
    "soft_q.eq11",
    where="Sec. 3.2, Eq. 11",
    title="Soft Q-iteration as the minimisation of a squared error",
    statement=r"Soft $Q$-iteration is expressed in an equivalent form as minimizing $J_Q(\theta)=\mathbb E_{s_t\sim q_{s_t},a_t\sim q_{a_t}}\left[\frac12"
    r"(\hat Q^{\bar\theta}_{soft}(s_t,a_t)-Q^\theta_{soft}(s_t,a_t))^2\right]$ with $\hat Q^{\bar\theta}_{soft}(s_t,a_t)=r_t+\gamma\mathbb E_{s_{t+1}"
    r"\sim p_s}[V^{\bar\theta}_{soft}(s_{t+1})]$.",
    kind="identity",
    shape=OPTIMALITY,
    condition="backup",
    intended_statement=r"If some $\theta$ has $Q^\theta_{soft}=\hat Q^{\bar\theta}_{soft}$, as in a table, then $J_Q$ is least there and nowhere else, and "
    r"$Q^\theta_{soft}$ is the soft Bellman backup of $Q^{\bar\theta}_{soft}$.",
    explanation=r"The identity that the paper notes says when $J_Q$ is 0. The parameters of a function approximator need not have a function "
    r"for the backup $\hat Q^{\bar\theta}_{soft}$ among theirs; then the least $J_Q$ is positive, the minimiser is the nearest function under the sampling "
    "distributions and changes with them, and the step is not one of soft $Q$-iteration, which sets every entry to its backup. Judged on the class of "
    r"the multiples $Q^\theta=\theta\phi$ of one feature.",
    hand_check=r"One state, two actions, $r=(0,1)$, $\gamma=0$, $Q^\theta(a)=\theta$: the backup is $(0,1)$, and $J_Q$ under equal weights is least at "
    r"$\theta=\frac12$.",
)
def minimising_is_soft_iteration(p: Problem) -> list[Check]:
    """The target by Eq. 10 is the soft backup, and the squared error is 0 there and positive elsewhere."""
    xp = namespace(p.rewards)
    values = importance_soft_value(p.action_values, p.log_proposal[..., None, :] + p.action_values * 0, row(p.alpha))
    target, backup = bellman(p, p.rewards, values), soft_backup(p, p.action_values, row(p.alpha))
    weights = over_all(_weights(p))
    at_backup, elsewhere = (policy_average(weights, over_all(squared_error(x, target))) for x in (backup, p.challenger))
    worst = xp.max(over_all(squared_error(p.challenger, target)))
    scale = size(p.rewards, p.action_values, p.challenger) + p.alpha * size(p.log_proposal)
    return [
        Check("target", target, "==", backup, scale=scale),
        Check("least at the backup", at_backup, "==", at_backup * 0, scale=scale * scale),
        Check("only there", xp.min(weights) * worst, "<=", elsewhere, scale=scale * scale),
    ]


def minimising_over_a_class_is_soft_iteration(p: Problem) -> Check:
    """The minimiser among the multiples of a feature against the backup of such a multiple."""
    xp = namespace(p.rewards)
    backup = soft_backup(p, row(row(p.parameter)) * p.features, row(p.alpha))
    present = xp.sum(over_all(p.features * p.features))
    features = xp.where(row(row(present > 0)), p.features, 1)  # a feature that is 0 everywhere is not judged
    fitted = fitted_multiple(over_all(features), over_all(backup), over_all(_weights(p)))
    scale = size(p.rewards) + p.alpha + size(p.parameter) * size(p.features)
    return Check("backup", row(row(fitted)) * p.features, "==", backup, scale=scale, given=((present, ">", 0),))


_SAMPLING: dict[str, Any] = {
    "alpha": Positive(),
    "state_weights": Simplex(("states",), zeros=False, exponents=(-20, 0)),
    "action_weights": Simplex(("actions",), zeros=False, exponents=(-20, 0)),
}
minimising_is_soft_iteration.reading(
    "literal",
    space=model_space(features=Real(("states", "actions"), exponents=(-2, 2)), parameter=Real(), **_SAMPLING),
    assumptions=[
        FINITE,
        INFINITE_HORIZON,
        TEMPERATURE,
        "q_s and q_a positive; V by Eq. 10 for the parameters of the target, with a proposal that is positive",
        "theta are the parameters of some function approximator",
    ],
    sides=minimising_over_a_class_is_soft_iteration,
    effort=0.5,
)
minimising_is_soft_iteration.reading(
    "intended",
    space=model_space(
        action_values=Real(("states", "actions")),
        challenger=Real(("states", "actions")),
        proposal=Simplex(("actions",), zeros=False, exponents=(-20, 0)),
        **_SAMPLING,
    ),
    adds=["the function approximator can represent the target (a table can)"],
    effort=0.5,
)
