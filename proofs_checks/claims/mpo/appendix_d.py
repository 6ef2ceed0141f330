"""Appendix D: the covariance of the policy, from any real numbers."""

from __future__ import annotations

from typing import Any

from exactrl.number_systems import namespace
from proofs_checks.claim import EXISTENCE, Check, claim
from proofs_checks.claims.terms import lower_triangular
from proofs_checks.fields import Real
from proofs_checks.instances import Problem, Space


def _softplus(x: Any) -> Any:
    """log(1 + e^x) as printed; floats, which have no e^-1000, see it from -300 on."""
    xp = namespace(x)
    if xp.name == "float64":
        return xp.softplus(xp.maximum(x, -300.0))
    return xp.log1p(xp.exp(x))


@claim(
    "mpo.appd.softplus",
    where="App. D",
    title="The softplus of the diagonal makes a covariance",
    statement=r"$\Sigma=AA^T$ with lower triangular $A$ and diagonal $A_{ii}\leftarrow\log(1+\exp(A_{ii}))$ has positive diagonal elements of $A$ (a valid full covariance).",
    kind="existence",
    shape=EXISTENCE,
    condition="positive diagonal",
    explanation=r"$\log(1+e^x)>0$ for every real $x$, so that $A$ is invertible and $x^\top\Sigma x=|A^\top x|^2>0$ for $x\ne0$. In floating point the softplus of a large negative number is 0.",
)
def the_covariance_is_positive_definite(p: Problem) -> list[Check]:
    """The diagonal is positive, and so is the quadratic form of a direction that is not 0."""
    xp = namespace(p.outputs)
    diagonal = _softplus(xp.stack([p.outputs[..., k, k] for k in range(p.outputs.shape[-1])], axis=-1))
    pushed = xp.sum(lower_triangular(diagonal, p.outputs) * p.direction[..., :, None], axis=-2)
    length, there = xp.sum(pushed * pushed), xp.sum(p.direction * p.direction)
    return [
        Check("positive diagonal", diagonal, ">", diagonal * 0),
        Check("positive definite", length, ">", length * 0, given=((there, ">", there * 0),)),
    ]


the_covariance_is_positive_definite.both_readings(
    space=Space(
        {"outputs": Real(("n", "n"), exponents=(-2, 3)), "direction": Real(("n",), exponents=(-2, 2))}, {"n": (1, 2, 3)}
    ),
    assumptions=["the outputs of the network are real numbers"],
)
