"""Appendix D.4: the M-step where the variational distribution is parametric."""

from __future__ import annotations

from exactrl.formulas import gaussian_kl, mstep_objective
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, Check, claim
from proofs_checks.claims.mpo.appendix_d3_gaussians import gaussian_rounding
from proofs_checks.claims.mpo.common import over_states
from proofs_checks.claims.terms import lower_triangular, size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem, Space


@claim(
    "mpo.appd4.mstep",
    where="App. D.4",
    title="With a variational distribution of the policy's own structure the M-step copies its parameters",
    statement=r"With a parametric variational distribution of the same structure as the policy, the M-step reduces to $\theta_{i+1}=\theta^q$.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="Gaussian policies",
    explanation=r"$\mathbb E_{\mu_q}\mathbb E_q[\log q-\log\pi_\theta]$ is an average divergence, 0 at $\theta=\theta^q$ and never negative; so $\theta^q$ maximises Eq. (10) without a prior, and any "
    r"other maximiser is the same policy in every state of positive weight. That is the M-step meant here: D.4 puts the KL constraint into the E-step instead. With the "
    r"penalty of Eq. (11) kept in the M-step, the maximiser over tables would be $(q+\lambda\pi_i)/(1+\lambda)$, and for the mean of a Gaussian of fixed width "
    r"$(\mu^q+\lambda\mu_i)/(1+\lambda)$, which is $\theta^q$ only where $q=\pi_i$.",
)
def no_other_parameter_fits_better(p: Problem) -> list[Check]:
    """What another Gaussian policy, and another table, lose against q itself."""
    xp = namespace(p.mean)
    own = lower_triangular(p.diagonal_q, p.below_q)
    loss = gaussian_kl(p.mean_q, own, p.mean, lower_triangular(p.diagonal, p.below))
    lost = over_states(p, loss.mean + loss.covariance)
    best, other = (mstep_objective(p.log_target, x, p.weights) for x in (p.log_target, p.log_challenger))
    logs = size(p.log_target, p.log_challenger) if xp.name == "float64" else 1.0
    return [
        Check("Gaussian policies", lost, ">=", lost * 0, scale=gaussian_rounding(p, "q")),
        Check("tables", other, "<=", best, scale=logs),
    ]


no_other_parameter_fits_better.both_readings(
    space=Space(
        {
            "mean_q": Real(("s", "n"), exponents=(-1, 1)),
            "mean": Real(("s", "n"), exponents=(-1, 1)),
            "diagonal_q": Positive(("s", "n"), exponents=(-1, 1)),
            "diagonal": Positive(("s", "n"), exponents=(-1, 1)),
            "below_q": Real(("s", "n", "n"), exponents=(-2, 0)),
            "below": Real(("s", "n", "n"), exponents=(-2, 0)),
            "weights": Simplex(("s",), exponents=(-20, 0)),
            "target": Simplex(("s", "a")),
            "challenger": Simplex(("s", "a")),
        },
        {"s": (1, 2), "n": (1, 2), "a": (2, 3)},
    ),
    assumptions=[
        "sums over states for integrals",
        "Gaussian policies with positive definite covariances L L^T, or tables of action probabilities",
        "theta^q is a parameter of the policy (the same structure)",
        "the M-step is Eq. 10 without a prior: D.4 puts the KL constraint into the E-step",
    ],
    effort=0.3,
)
