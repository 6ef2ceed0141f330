"""SymPy proofs of the identities behind some claims, at the sizes named.

Logarithms of probabilities enter as symbols of their own, so that each identity is a polynomial one and its proof
needs no simplification heuristics: an expression is 0 because it expands to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import sympy as sp

SIZES = (2, 3, 4)


class NotProved(AssertionError):
    """An expression that was claimed to vanish does not."""


def _require_zero(expression: Any, what: str) -> None:
    if sp.expand(expression) != 0:
        raise NotProved(f"{what}: the difference of the two sides is {sp.expand(expression)}, not 0")


def _require_nonnegative(expression: Any, variables: Sequence[Any], what: str) -> None:
    """A quotient of polynomials without a negative coefficient is at least 0 wherever its variables are."""
    quotient = [sp.Poly(part, *variables) for part in sp.fraction(sp.cancel(expression))]
    if quotient[1].eval(dict.fromkeys(variables, 0)) <= 0 or any(c < 0 for part in quotient for c in part.coeffs()):
        raise NotProved(f"{what} is {sp.cancel(expression)}, not a quotient of polynomials with positive coefficients")


def _symbols(name: str, n: int) -> list[Any]:
    return list(sp.symbols(f"{name}0:{n}", real=True))


def _sum_to_one(n: int, name: str = "p") -> list[Any]:
    """n probabilities of which the last is 1 minus the others."""
    free = _symbols(name, n - 1)
    return [*free, 1 - sum(free)]


def _dot(*factors: Sequence[Any]) -> Any:
    return sum((sp.prod(row) for row in zip(*factors, strict=True)), sp.Integer(0))


def lift_identity(*, entropy: bool, dynamics: bool) -> Callable[[], str]:
    """Return the proof that objective(pi) = eta log Z - eta KL(pi || lift), whose last term is what the claim "
    "optimises.
    """

    def prove() -> str:
        tau, log_z = sp.symbols("tau log_z", positive=True)
        tau_prime = sp.Symbol("tau_prime", nonnegative=True) if entropy else sp.Integer(0)
        eta = tau + tau_prime
        for n in SIZES:
            p, log_p, log_b, r = _sum_to_one(n), _symbols("lp", n), _symbols("lb", n), _symbols("r", n)
            objective = _dot(p, r) - tau * (_dot(p, log_p) - _dot(p, log_b)) - tau_prime * _dot(p, log_p)
            log_lift = [(x + tau * b) / eta - log_z for x, b in zip(r, log_b, strict=True)]
            divergence = _dot(p, log_p) - _dot(p, log_lift)
            _require_zero(sp.together(objective - eta * log_z + eta * divergence) * eta, "the lift identity")
        name = "(tau + tau')" if entropy else "tau"
        return (
            f"SymPy, n = 2, 3, 4: the objective equals {name} times [log Z - KL(pi || lift)] for all policies on "
            "the support of "
            "the reference. Maximising it is minimising the divergence, which by Gibbs' inequality vanishes at the "
            "lift alone."
        )

    return prove


def pmd_monotone_identity() -> str:
    """Prove the identity of App. A.2 from which the monotone improvement of PMD follows."""
    tau, log_z = sp.symbols("tau log_z", positive=True)
    for n in SIZES:
        new, old = _sum_to_one(n, "p"), _sum_to_one(n, "q")
        log_new, log_old, r = _symbols("lp", n), _symbols("lq", n), _symbols("r", n)
        log_lift = [b + x / tau - log_z for x, b in zip(r, log_old, strict=True)]
        kl_old = _dot(old, log_old) - _dot(old, log_lift)
        kl_new = _dot(new, log_new) - _dot(new, log_lift)
        kl_between = _dot(new, log_new) - _dot(new, log_old)
        _require_zero(_dot(new, r) - _dot(old, r) - tau * (kl_old - kl_new + kl_between), "the identity of App. A.2")
    return (
        "SymPy, n = 2, 3, 4: the return rises by tau [KL(old || lift) - KL(new || lift) + KL(new || old)]; the "
        "first difference "
        "is at least 0 because the projection is global, the last divergence by Gibbs' inequality."
    )


def pmd_slope_identity() -> str:
    """Prove that along every tangent the slope of PMD's Project objective is -1/tau times that of the return."""
    tau, log_z = sp.symbols("tau log_z", positive=True)
    for n in SIZES:
        p, r, log_p = _sum_to_one(n), _symbols("r", n), _symbols("lp", n)
        direction = _symbols("u", n)
        tangent = [u - _dot(p, direction) for u in direction]
        log_lift = [b + x / tau - log_z for x, b in zip(r, log_p, strict=True)]
        slope = _dot(p, tangent, [a - b for a, b in zip(log_p, log_lift, strict=True)])
        _require_zero(slope * tau + _dot(p, tangent, r), "the slopes of PMD")
    return (
        "SymPy, n = 2, 3, 4: along every tangent of a positive policy the slope of KL(pi || lift) is -1/tau times "
        "the slope of the "
        "return, so both vanish together."
    )


def ecpo_slope_identity() -> str:
    """Prove that along every tangent the slope of the surrogate is -tau times that of ECPO's Project objective."""
    tau = sp.Symbol("tau", positive=True)
    for n in SIZES:
        weight, tangent = _symbols("w", n), _symbols("c", n)
        total = sum(weight)
        lift = [w / total for w in weight]
        # SR = eta log sum exp{(r + tau log pi)/eta}: each exponential w moves at the rate w tau c / eta.
        surrogate_slope = _dot(weight, [tau * c for c in tangent]) / total
        _require_zero(sp.together(surrogate_slope - tau * _dot(lift, tangent)) * total, "the slopes of ECPO")
    return (
        "SymPy, n = 2, 3, 4: along every tangent of a positive policy the slope of SR is tau times the lift's mean "
        "of the tangent, "
        "which is -tau times the slope of KL(lift || pi), so both vanish together."
    )


def three_point_identity() -> str:
    """Prove the three-point identity of App. A.3."""
    tau, log_z = sp.symbols("tau log_z", positive=True)
    tau_prime = sp.Symbol("tau_prime", nonnegative=True)
    eta = tau + tau_prime
    for n in SIZES:
        member, current = _sum_to_one(n, "p"), _sum_to_one(n, "q")
        log_member, log_current, r = _symbols("lp", n), _symbols("lq", n), _symbols("r", n)
        log_lift = [(x + tau * b) / eta - log_z for x, b in zip(r, log_current, strict=True)]
        bracket = _dot(member, log_member) - _dot(member, log_current)
        bracket -= _dot(member, log_member) - _dot(member, log_lift)
        bracket += _dot(current, log_current) - _dot(current, log_lift)
        right = eta * bracket + tau_prime * (_dot(member, log_current) - _dot(current, log_current))
        left = _dot(member, r) - _dot(current, r)
        _require_zero(sp.together(left - right) * eta, "the three-point identity")
    return "SymPy, n = 2, 3, 4: both sides agree for every member and every positive policy."


def softmax_hessian() -> str:
    """Prove that the Hessian of the Project objective is a sum of squares."""
    for n in SIZES:
        theta = sp.Symbol("theta", real=True)
        features, weights = _symbols("f", n), _symbols("b", n)
        total = sum(sp.exp(f * theta) for f in features)
        objective = -_dot(weights, [f * theta for f in features]) + sum(weights) * sp.log(total)
        second = sp.diff(objective, theta, 2)
        x = [sp.exp(f * theta) for f in features]
        squares = sum(x[i] * x[j] * (features[i] - features[j]) ** 2 for i in range(n) for j in range(i))
        _require_zero(sp.expand(sp.together(second * total**2 - sum(weights) * squares)), "the Hessian")
    return (
        "SymPy, 2, 3 and 4 actions: along every line in theta the second derivative of KL(target || pi_theta) at a "
        "state is "
        "sum over pairs of pi(a) pi(b) (f_a - f_b)^2 >= 0; over a trajectory these add up with the target's visit "
        "weights."
    )


def tree_recursion_identity() -> str:
    """Prove that the sum over the trajectories of a two-step tree factors into the recursion of Eq. 8."""
    for n in (2, 3):
        first = _symbols("x", n)
        second = [_symbols(f"y{a}_", n) for a in range(n)]
        trajectories = sum(first[a] * y for a in range(n) for y in second[a])
        recursion = sum(first[a] * sum(second[a]) for a in range(n))
        _require_zero(trajectories - recursion, "the recursion")
    lift_identity(entropy=True, dynamics=False)()
    return (
        "SymPy, two-step trees with 2 and 3 actions: with x = exp{(r + tau log reference)/eta}, the sum over "
        "trajectories of the "
        "products of x is the nested sum of Eq. 8; that eta times its logarithm is the optimum is the identity of "
        "Eq. 5."
    )


def fitted_retrace_growth(
    feature: Sequence[Sequence[int]], example: Callable[[Any, Any], tuple[Any, Any]], least: Fraction
) -> Callable[[], str]:
    """Return the proof that fitted Retrace multiplies its parameter by `least` or more (MPO, Sec. 4, footnote 2).

    Action a leads to state a; the policy always takes action 1, the behaviour with probability beta, rewards are 0.
    `feature` has one row for each state; `example` makes gamma and beta of two variables that are not negative.
    """

    def prove() -> str:
        beta, gamma = sp.symbols("beta gamma", positive=True)
        pairs = [(s, a) for s in range(2) for a in range(2)]
        values = sp.Matrix([feature[s][a] for s, a in pairs])
        evaluate = sp.Matrix(4, 4, lambda i, j: int(pairs[j] == (pairs[i][1], 1)))  # P^pi
        traced = beta * evaluate  # P min(b, pi): the policy takes action 1 alone
        targets = values + (sp.eye(4) - gamma * traced).LUsolve((gamma * evaluate - sp.eye(4)) * values)
        taken = [1 - beta, beta]
        weights = [taken[s] * taken[a] for s, a in pairs]
        growth = sp.factor(_dot(weights, values, targets) / _dot(weights, values, values))
        told = gamma * (1 - beta) * (2 + 2 * beta) / ((1 - gamma * beta) * (1 + 3 * beta))
        _require_zero(sp.numer(sp.together(growth - told)), "the growth factor")
        halved = growth.subs(beta, sp.Rational(1, 2)) - 6 * gamma / (5 * (2 - gamma))
        _require_zero(sp.numer(sp.together(halved)), "the growth factor at beta = 1/2")
        x, y = sp.symbols("x y", nonnegative=True)
        discount, chance = example(x, y)
        excess = growth.subs({gamma: discount, beta: chance}) - sp.Rational(least.numerator, least.denominator)
        _require_nonnegative(excess, (x, y), f"the growth factor less {least}")
        return (
            "SymPy, 2 states and 2 actions, a witness: with the whole sum, each round multiplies w by gamma (1 - beta)"
            "(2 + 2 beta) / ((1 - gamma beta)(1 + 3 beta)); at beta = 1/2 that is 6 gamma / (5 (2 - gamma)), above 1 "
            f"for gamma > 10/11. For gamma = {discount} and beta = {chance} with x, y >= 0 the factor less {least} is "
            "a quotient of polynomials in x and y without a negative coefficient."
        )

    return prove
