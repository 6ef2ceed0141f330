"""Section 3: the lower bound on the likelihood of success (Eqs. 1 and 2)."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import soft_policy_value, soft_value
from exactrl.number_systems import namespace
from proofs_checks.claim import POINTWISE, Check, claim
from proofs_checks.claims.terms import size
from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

LIKELIHOOD = "p(O=1|tau) = c exp(sum of r_t / alpha), at most 1, with any c > 0 that this permits"
EPISODES = "finite horizon, undiscounted; finitely many trajectories, sums for integrals"
TEMPERATURE = "alpha > 0 (a temperature)"
ANY_LAW = "q any distribution over trajectories"

_FIELDS: dict[str, Any] = {
    "policy": Simplex(("n",), exponents=(-100, 0)),
    "variational": Simplex(("n",), exponents=(-100, 0)),
    "returns": Real(("n",), exponents=(-3, 3)),
    "alpha": Positive(exponents=(-3, 3)),
}
_SIZES = {"n": (1, 2, 3, 5)}
_SPACE = Space(_FIELDS | {"surprisal": NonNegative(exponents=(-3, 2))}, _SIZES)


def _log_factor(p: Problem) -> Any:
    """log c: the best trajectory succeeds with probability exp(-surprisal), which may be anything up to 1."""
    return -(namespace(p.returns).max(p.returns) / p.alpha) - p.surprisal


def _nearest_log_factor(p: Problem) -> Any:
    """log c for the largest c up to 1: 0 where no return is positive, else the best trajectory succeeds for certain.

    Trajectories that pi never takes need no likelihood.
    """
    xp = namespace(p.returns)
    most = xp.max(xp.where(p.support_policy, p.returns, float("-inf")))
    return -(xp.maximum(most, 0) / p.alpha)


def _log_likelihood(p: Problem, log_factor: Any) -> Any:
    """log p(O=1 | tau) of each trajectory."""
    xp = namespace(p.returns)
    return p.returns / xp.per_row(p.alpha) + xp.per_row(log_factor)


def _log_success(p: Problem, log_factor: Any) -> Any:
    """log p_pi(O=1)."""
    return soft_value(_log_likelihood(p, log_factor), 1, p.log_policy)


def _lower_bound(p: Problem, log_factor: Any) -> Any:
    """The right side of Eq. 1."""
    return soft_policy_value(p.log_variational, _log_likelihood(p, log_factor), 1, p.log_policy)


def _objective(p: Problem) -> Any:
    """J(q, pi) of Eq. 2."""
    scaled = p.returns / namespace(p.returns).per_row(p.alpha)
    return soft_policy_value(p.log_variational, scaled, 1, p.log_policy)


def _scale(p: Problem) -> Any:
    if namespace(p.returns).name != "float64":
        return 1.0
    return size(p.returns) * (1 + 1 / p.alpha) + size(p.log_policy, p.log_variational)


@claim(
    "mpo.eq1",
    where="Sec. 3, Eq. 1",
    title="The evidence lower bound on the likelihood of success",
    statement=r"$\log p_\pi(O=1)=\log\int p_\pi(\tau)p(O=1\mid\tau)d\tau\ge\int q(\tau)\left[\log p(O=1\mid\tau)+\log\frac{p_\pi(\tau)}"
    r"{q(\tau)}\right]d\tau$.",
    kind="inequality",
    shape=POINTWISE,
    condition="lower bound",
    explanation=r"What is missing is the divergence of $q$ from the posterior $p_\pi(\tau\mid O=1)$. Where $q$ has mass that $p_\pi$ lacks the "
    r"right side is $-\infty$. Any distribution over finitely many trajectories is one that a policy induces.",
)
def the_likelihood_exceeds_the_bound(p: Problem) -> Check:
    """Both sides for any likelihood of the form that the section gives it."""
    log_factor = _log_factor(p)
    scale = _scale(p) + p.surprisal
    return Check("lower bound", _log_success(p, log_factor), ">=", _lower_bound(p, log_factor), scale=scale)


the_likelihood_exceeds_the_bound.both_readings(space=_SPACE, assumptions=[EPISODES, TEMPERATURE, LIKELIHOOD, ANY_LAW])


@claim(
    "mpo.eq2",
    where="Sec. 3, Eqs. 1-2",
    title="The lower bound as expected reward less a divergence",
    statement=r"$\int q(\tau)\left[\log p(O=1\mid\tau)+\log\frac{p_\pi(\tau)}{q(\tau)}\right]d\tau=\mathbb E_q\left[\sum_tr_t/\alpha\right]"
    r"-\mathrm{KL}(q(\tau)\Vert p_\pi(\tau))=\mathcal J(q,\pi)$, a lower bound on $\log p_\pi(O=1)$.",
    kind="identity",
    shape=POINTWISE,
    condition="identity",
    intended_statement=r"With $p(O=1\mid\tau)=c\,\exp(\sum_tr_t/\alpha)$: the left side is $\mathcal J(q,\pi)+\log c$, and that is at most "
    r"$\log p_\pi(O=1)$. $\log c$ depends on neither $q$ nor $\pi$.",
    explanation=r"Eq. (2) drops the constant $\log c$ that $\propto$ stands for. It changes no maximiser, and so nothing in the algorithm, but the sign "
    r"of equality and the lower bound need $c=1$, which a likelihood admits only where no return is positive. For a best return above 0, $c<1$ and "
    r"$\mathcal J$ may exceed $\log p_\pi(O=1)\le0$. The literal reading is judged with the $c$ nearest to 1 that keeps probabilities at most 1 where $\pi$ leads.",
    hand_check=r"One trajectory with the return 1, $\alpha=1$, $q=p_\pi$: $\mathcal J=1$. A probability is at most 1, so $c\le1/e$, and both "
    r"$\log p_\pi(O=1)$ and the left side are $1+\log c\le0$.",
)
def the_constant_is_all_that_is_missing(p: Problem) -> list[Check]:
    """Eq. 2 with the constant, as an identity and as a lower bound."""
    log_factor = _log_factor(p)
    with_constant, scale = _objective(p) + log_factor, _scale(p) + p.surprisal
    return [
        Check("identity", _lower_bound(p, log_factor), "==", with_constant, scale=scale),
        Check("lower bound", with_constant, "<=", _log_success(p, log_factor), scale=scale),
    ]


def the_printed_objective_is_the_bound(p: Problem) -> list[Check]:
    """Eq. 2 as printed, as an identity and as a lower bound, with the constant that suits it best."""
    log_factor = _nearest_log_factor(p)
    return [
        Check("identity", _lower_bound(p, log_factor), "==", _objective(p), scale=_scale(p)),
        Check("lower bound", _objective(p), "<=", _log_success(p, log_factor), scale=_scale(p)),
    ]


the_constant_is_all_that_is_missing.reading(
    "literal",
    space=Space(_FIELDS, _SIZES),
    assumptions=[EPISODES, TEMPERATURE, LIKELIHOOD, ANY_LAW],
    sides=the_printed_objective_is_the_bound,
)
the_constant_is_all_that_is_missing.reading(
    "intended",
    space=_SPACE,
    assumptions=[EPISODES, TEMPERATURE, LIKELIHOOD, ANY_LAW],
    adds=["equal up to the constant log c, which depends on neither q nor pi"],
)
