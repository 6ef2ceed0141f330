"""Appendix D.2: the derivation of the E-step."""

from __future__ import annotations

from typing import Any

from exactrl.formulas import dual_value, expected_kl, kl
from exactrl.number_systems import namespace
from proofs_checks.claim import OPTIMALITY, POINTWISE, Check, claim
from proofs_checks.claims.mpo.common import (
    ETA,
    FINITE,
    RADIUS,
    estep_space,
    log_normaliser,
    over_states,
    term_size,
    tilted,
    value_of,
)
from proofs_checks.claims.mpo.section32 import BINDING, CLOSED
from proofs_checks.claims.terms import size
from proofs_checks.fields import Positive, Real, Simplex
from proofs_checks.instances import Problem

PER_STATE = "q(.|s) sums to 1 in every state"


@claim(
    "mpo.appd2.program",
    where="App. D.2",
    title="The program of the derivation has the printed solution",
    statement=r"The E-step program with constraints $\int\mu_q(s)\mathrm{KL}(q(a\mid s),\pi(a\mid s,\theta_i))da<\epsilon$ and "
    r"$\iint\mu_q(s)q(a\mid s)da\,ds=1$ (multipliers $\eta$ and $\gamma$) has Eq. 8 as solution and Eq. 9 as dual.",
    kind="optimality",
    shape=OPTIMALITY,
    condition="no challenger is better",
    intended_statement=r"With $\int q(a\mid s)da=1$ in every state, a policy of Eq. 8 solves the program whose $\epsilon$ is its divergence, and "
    r"$g(\eta)$ is the value.",
    explanation=r"One normalisation for all states lets $q$ carry mass from states where $Q$ is small to states where it is large. The solution "
    r"of that program is $q(a\mid s)=\pi e^{Q/\eta}/Z$ with one $Z$ for all states, and its value exceeds what Eq. (9) allows. Who takes the notation "
    r"$q(a\mid s)$ to say that $q$ sums to 1 in every state has the intended reading, in which the printed constraint is idle.",
    hand_check=r"Two states of weight 1/2 with one action and $Q=0$ and $1$: Eq. (8) has the value 1/2. With $q=0$ in the first state and $2$ in the "
    r"second the joint mass is 1, the divergence $\log2$ and the value 1, while $g(\eta)=\eta\epsilon+\frac12$ at $\eta=1/3$, $\epsilon=1$ is 5/6.",
)
def the_program_has_the_printed_solution(p: Problem) -> list[Check]:
    """A policy of Eq. 8 against other policies, and its value against the dual."""
    log_q = tilted(p, p.eta)
    radius, spread = (expected_kl(x, p.log_policy, p.weights) for x in (log_q, p.log_challenger))
    best, other = value_of(p, log_q), value_of(p, p.log_challenger)
    scale = term_size(p, p.eta)
    dual = dual_value(p.log_policy, p.q_values, p.weights, p.eta, radius)
    return [
        Check("no challenger is better", other - p.eta * (spread - radius), "<=", best, scale=scale),
        Check("dual", dual, "==", best, scale=scale),
    ]


def no_joint_challenger_exceeds_the_dual(p: Problem) -> Check:
    """A challenger normalised over states and actions together, of divergence below epsilon, against the dual."""
    xp = namespace(p.log_policy)
    log_joint = xp.per_row(p.log_masses) + p.log_challenger
    log_base = xp.per_row(p.log_weights) + p.log_policy
    spread = xp.sum(kl(log_joint, log_base))
    value = xp.sum(xp.sum(xp.exp(log_joint) * p.q_values))
    dual = dual_value(p.log_policy, p.q_values, p.weights, p.eta, p.epsilon)
    scale = term_size(p, p.eta)
    return Check("no joint challenger is better", value, "<=", dual, scale=scale, given=((spread, "<", p.epsilon),))


_SHORT = (-6, 0)
the_program_has_the_printed_solution.reading(
    "literal",
    space=estep_space(
        policy=Simplex(("s", "a"), exponents=_SHORT),
        q_values=Real(("s", "a"), exponents=(-1, 1)),
        weights=Simplex(("s",), exponents=_SHORT),
        masses=Simplex(("s",), exponents=_SHORT),
        challenger=Simplex(("s", "a"), exponents=_SHORT),
        epsilon=Positive(exponents=(-2, 1)),
        eta=Positive(exponents=(-2, 1)),
    ),
    assumptions=[FINITE, RADIUS, ETA],
    sides=no_joint_challenger_exceeds_the_dual,
)
the_program_has_the_printed_solution.reading(
    "intended",
    space=estep_space(eta=Positive(), challenger=Simplex(("s", "a"))),
    adds=[PER_STATE, CLOSED, BINDING],
)


def _lagrangian(p: Problem, log_q: Any, q: Any) -> Any:
    """The Lagrangian less its constant eta epsilon + gamma, of which no derivative depends."""
    xp = namespace(q)
    divergence = xp.sum(xp.weighted(q, log_q - p.log_policy))
    value = xp.sum(q * p.q_values) - p.eta[..., None] * divergence - p.multiplier[..., None] * xp.sum(q)
    return over_states(p, value)


def _tangent(p: Problem, sign: int) -> Check:
    """A concave function stays below its tangent: the derivative at one q against the rise to another."""
    xp = namespace(p.first)
    eta, multiplier = (x[..., None, None] for x in (p.eta, p.multiplier))
    slope = p.q_values - eta * (p.log_first - p.log_policy) - (eta + sign * multiplier)
    linear = over_states(p, xp.sum(slope * (p.second - p.first)))
    rise = _lagrangian(p, p.log_second, p.second) - _lagrangian(p, p.log_first, p.first)
    scale: Any = 1.0
    if xp.name == "float64":
        logs = 1 + size(p.log_policy) + size(p.log_first) + size(p.log_second)
        scale = (size(p.q_values) + p.eta * logs + abs(p.multiplier)) * (size(p.first) + size(p.second))
    return Check("tangent", rise, "<=", linear, scale=scale)


@claim(
    "mpo.appd2.derivative",
    where="App. D.2",
    title="The derivative of the Lagrangian",
    statement=r"$\partial_qL(q,\eta,\gamma)=Q_{\theta_i}(a,s)-\eta\log q(a\mid s)+\eta\log\pi(a\mid s,\theta_i)-(\eta-\gamma)$ for "
    r"$L=\int\mu_q\int qQ_{\theta_i}+\eta\left(\epsilon-\int\mu_q\int q\log\frac q\pi\right)+\gamma\left(1-\iint\mu_qq\right)$.",
    kind="identity",
    shape=POINTWISE,
    condition="tangent",
    intended_statement=r"$\partial_qL=Q_{\theta_i}(a,s)-\eta\log q(a\mid s)+\eta\log\pi(a\mid s,\theta_i)-(\eta+\gamma)$, per unit of $\mu_q(s)$.",
    explanation=r"The term $-\gamma\iint\mu_qq$ contributes $-\gamma$, not $+\gamma$. In both readings the derivative is taken per unit of "
    r"$\mu_q(s)$. It is judged as the tangent of a concave function of $q$, which lies above it and is unique where $q>0$.",
    hand_check=r"One action with $\pi=1$, $Q=0$, $\eta=1$: $L=\epsilon-q\log q+\gamma(1-q)$ has the derivative $-\log q-1-\gamma$; the print "
    r"has $-\log q-1+\gamma$.",
)
def the_lagrangian_has_the_derivative(p: Problem) -> Check:
    """With the sign that follows from the Lagrangian."""
    return _tangent(p, 1)


def the_lagrangian_has_the_printed_derivative(p: Problem) -> Check:
    """With the sign as printed."""
    return _tangent(p, -1)


_LAGRANGIAN = estep_space(
    policy=Simplex(("s", "a"), zeros=False, exponents=(-20, 0)),
    first=Positive(("s", "a"), exponents=(-3, 2)),
    second=Positive(("s", "a"), exponents=(-3, 2)),
    eta=Positive(exponents=(-3, 3)),
    multiplier=Real(exponents=(-3, 3)),
)
the_lagrangian_has_the_derivative.reading(
    "literal",
    space=_LAGRANGIAN,
    assumptions=[FINITE, ETA, "q > 0 and pi > 0, where the derivative is defined"],
    sides=the_lagrangian_has_the_printed_derivative,
)
the_lagrangian_has_the_derivative.reading(
    "intended", space=_LAGRANGIAN, adds=["-(eta + gamma) for -(eta - gamma) (a misprint)"]
)


@claim(
    "mpo.appd2.normaliser",
    where="App. D.2",
    title="The normaliser of the solution",
    statement=r"$\exp\left(-\frac{\eta-\gamma}\eta\right)=\int\pi(a\mid s,\theta_i)\exp\left(\frac{Q_{\theta_i}(a,s)}\eta\right)da$ for "
    r"$q(a\mid s)=\pi(a\mid s,\theta_i)\exp\left(\frac{Q_{\theta_i}(a,s)}\eta\right)\exp\left(-\frac{\eta-\gamma}\eta\right)$.",
    kind="identity",
    shape=POINTWISE,
    condition="normalised",
    intended_statement=r"$\exp\left(-\frac{\eta-\gamma_s}\eta\right)=1/\int\pi(a\mid s,\theta_i)\exp\left(\frac{Q_{\theta_i}(a,s)}\eta\right)da$, with a "
    r"multiplier of its own in every state.",
    explanation="The factor that normalises $q$ is the reciprocal of the integral, and it differs from state to state. Judged as: with that factor the "
    "logarithm of the mass of $q$ is 0.",
    hand_check=r"One action, $Q=\eta$: the integral is $e$, and $q=e\cdot e$.",
)
def the_factor_normalises(p: Problem) -> Check:
    """The mass of the policy of Eq. 8 in every state."""
    mass = namespace(p.log_policy).logsumexp(tilted(p, p.eta))
    return Check("normalised", mass, "==", mass * 0, scale=term_size(p, p.eta))


def the_printed_factor_normalises(p: Problem) -> Check:
    """The log mass with the printed factor, at one state: twice the log of the integral."""
    soft = log_normaliser(p, p.eta)
    return Check("printed factor", 2 * soft / p.eta, "==", soft * 0, scale=term_size(p, p.eta) / p.eta)


the_factor_normalises.reading(
    "literal",
    space=estep_space(policy=Simplex(("s", "a"), exponents=(-20, 0)), eta=Positive()),
    assumptions=[FINITE, ETA, "q normalised"],
    sides=the_printed_factor_normalises,
)
the_factor_normalises.reading(
    "intended",
    space=estep_space(eta=Positive()),
    adds=["the reciprocal of the integral (a misprint)", "one multiplier a state"],
)
