"""Linear-quadratic control: Riccati's equation by SciPy, the whole cost minimised at once, soft values integrated."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_are
from scipy.stats import multivariate_normal

from exactrl import ExactRLError
from exactrl.formulas import linear_quadratic as formulas
from exactrl.formulas.linear_quadratic import eliminate, gaussian_soft_gap, riccati_backup, soft_control_bonus
from exactrl.linear_quadratic import LinearQuadratic, max_entropy_control
from exactrl.number_systems.balls import Balls, precision
from tests.exactrl.three_views import Floats, Intervals, Tensors, parts

SEEDS = range(6)


def ratios(rng, shape, low=-9, high=9):
    return np.vectorize(lambda k: Fraction(int(k), 6), otypes=[object])(rng.integers(low, high, shape))


class Case:
    """A random problem in rationals; costs are F F' and F F' + I."""

    def __init__(self, seed, n=None, m=None):
        rng = np.random.default_rng(seed)
        self.n, self.m = n or 1 + seed % 3, m or 1 + seed % 2
        self.transition, self.control = ratios(rng, (self.n, self.n)), ratios(rng, (self.n, self.m))
        factors = [ratios(rng, (k, k)) for k in (self.n, self.m, self.n, self.n)]
        squares = [f @ f.T for f in factors]
        self.state_cost, self.final_cost, self.noise = squares[0], squares[2], squares[3]
        self.control_cost = squares[1] + np.eye(self.m, dtype=int)
        self.discount, self.alpha = Fraction(int(rng.integers(1, 12)), 12), Fraction(int(rng.integers(1, 30)), 7)
        self.state, self.shift = ratios(rng, self.n), ratios(rng, self.m)
        self.factor = np.tril(ratios(rng, (self.m, self.m)), -1) + np.diag(ratios(rng, self.m, 1, 9))

    def tables(self):
        return self.transition, self.control, self.state_cost, self.control_cost

    def problem(self, **options):
        return LinearQuadratic(*self.tables(), **{"discount": self.discount, "horizon": 3, **options})


def floats(x):
    return np.array(x, dtype=float)


# The formulas in three number systems


def backup(s, c):
    return riccati_backup(*map(s.number, c.tables()), s.number(c.final_cost), s.number(c.discount))


def gap(s, c):
    curvature = s.number(c.control_cost)
    pivots = eliminate(curvature, curvature)[1]
    diagonal = np.diag(c.factor)
    return gaussian_soft_gap(
        s.number(c.shift), s.number(c.factor), curvature, s.log(diagonal), pivots, s.number(c.alpha)
    )


ENTRIES = {
    "riccati_backup": backup,
    "eliminate": lambda s, c: eliminate(s.number(c.control_cost), s.number(c.control.T)),
    "soft_control_bonus": lambda s, c: soft_control_bonus(
        eliminate(s.number(c.control_cost), s.number(c.control_cost))[1], s.number(c.alpha)
    ),
    "gaussian_soft_gap": gap,
}


def test_every_public_formula_has_an_entry():
    assert {"Backup", *ENTRIES} == set(formulas.__all__)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ENTRIES)
def test_floats_and_tensors_lie_near_the_enclosure(name, seed):
    case = Case(seed)
    with precision(192):
        views = [parts(ENTRIES[name](view, case)) for view in (Floats(), Tensors(), Intervals())]
        for found, tensors, enclosed in zip(*views, strict=True):
            assert isinstance(tensors, torch.Tensor)
            for x, y, (low, high) in zip(np.ravel(found), np.ravel(tensors.numpy()), enclosed.bounds(), strict=True):
                assert 0 <= high - low < Fraction(1, 2**110) * (1 + abs(low))
                for value in (x, y):
                    assert abs(Fraction(float(value)) - low) <= Fraction(1, 10**11) * (10 + abs(low))


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_are_their_instances(seed):
    cases = [Case(seed + k, 2, 2) for k in (0, 6, 12)]
    stacked = [floats([getattr(c, name) for c in cases]) for name in
               ("transition", "control", "state_cost", "control_cost", "final_cost", "discount")]  # fmt: skip
    batch = riccati_backup(*stacked)
    for i, case in enumerate(cases):
        one = backup(Floats(), case)
        assert all(np.allclose(x[i], y, rtol=1e-12) for x, y in zip(batch, one, strict=True))


# Optimal control by other roads


def rollout_cost(case, state, controls):
    """The discounted cost of controls (T, m) from a state, without noise."""
    A, B, S, R = map(floats, case.tables())
    total, factor = 0.0, 1.0
    for u in controls:
        total += factor * (state @ S @ state + u @ R @ u)
        state, factor = A @ state + B @ u, factor * float(case.discount)
    return total + factor * (state @ floats(case.final_cost) @ state)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_gains_are_those_of_the_jointly_best_controls(seed, horizon):
    """The whole cost is quadratic in all controls; its Hessian and gradient from differences, which are exact then."""
    case = Case(seed)
    control = max_entropy_control(case.problem(horizon=horizon, final_cost=case.final_cost), case.alpha)
    start, size = floats(case.state), horizon * case.m
    cost = lambda u: rollout_cost(case, start, u.reshape(horizon, case.m))
    units = np.eye(size)
    gradient = np.array([(cost(e) - cost(-e)) / 2 for e in units])
    hessian = np.array([[cost(e + f) - cost(e) - cost(f) + cost(0 * e) for f in units] for e in units])
    best = np.linalg.solve(hessian, -gradient)
    assert np.allclose(-control.gains[0] @ start, best[: case.m], rtol=1e-6, atol=1e-8)
    assert np.isclose(start @ control.cost_to_go[0] @ start, cost(best), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_gains_without_a_horizon_are_those_of_the_riccati_equation(seed):
    case = Case(seed)
    control = max_entropy_control(case.problem(horizon=None, discount=Fraction(9, 10)), case.alpha)
    root = math.sqrt(0.9)
    A, B, S, R = map(floats, case.tables())
    expected = solve_discrete_are(root * A, root * B, S, R)
    assert np.allclose(control.cost_to_go, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    curvature = R + 0.9 * B.T @ expected @ B
    assert np.allclose(control.gains, np.linalg.solve(curvature, 0.9 * B.T @ expected @ A), rtol=1e-7, atol=1e-9)
    assert np.allclose(control.covariances, float(case.alpha) / 2 * np.linalg.inv(curvature), rtol=1e-8)


def test_longer_horizons_approach_the_one_without_end():
    case = Case(2)
    options = {"discount": Fraction(1, 2), "noise": case.noise}
    endless = max_entropy_control(case.problem(horizon=None, **options), case.alpha)
    long = max_entropy_control(case.problem(horizon=80, **options), case.alpha)
    assert np.allclose(long.gains[0], endless.gains, rtol=1e-10)
    assert np.allclose(long.cost_to_go[0], endless.cost_to_go, rtol=1e-10)
    assert np.isclose(long.constants[0], endless.constants, rtol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_three_number_systems_agree(seed):
    case = Case(seed)
    problem = case.problem(final_cost=case.final_cost, noise=case.noise)
    found, exact = (max_entropy_control(problem, case.alpha, numbers=kind) for kind in ("floats", "rationals"))
    balls = max_entropy_control(problem, case.alpha, numbers="balls", bits=160)
    assert exact.constants is None
    assert all(isinstance(x, Fraction) for x in exact.gains.ravel())
    for name in ("gains", "covariances", "cost_to_go"):
        rational, enclosed = getattr(exact, name), getattr(balls, name).bounds()
        assert all(low <= x <= high for x, (low, high) in zip(rational.ravel(), enclosed, strict=True))
        assert np.allclose(floats(rational), getattr(found, name), rtol=1e-9, atol=1e-11)
    assert np.allclose([float(low) for low, _ in balls.constants.bounds()], found.constants, rtol=1e-10)


# Soft values


def test_soft_values_are_integrals():
    """One state, one control, two steps and Gaussian noise: alpha log of the integral of exp(Q / alpha), on grids."""
    A, B, S, R, W, discount, alpha = 0.8, 0.5, 1.5, 0.7, 0.3, 0.9, 0.6
    problem = LinearQuadratic([[A]], [[B]], [[S]], [[R]], noise=[[W]], discount=discount, horizon=2)
    control = max_entropy_control(problem, alpha)
    noise = np.arange(-60, 61) / 5
    chances = np.exp(-noise * noise / 2) / (5 * math.sqrt(2 * math.pi))
    u, width = np.linspace(-12, 12, 2401, retstep=True)

    def action_values(x, values):
        ahead = values((A * x + B * u)[:, None] + math.sqrt(W) * noise) @ chances
        return -(S * x * x + R * u * u) + discount * ahead

    def soft(q):
        return alpha * (math.log(width * np.sum(np.exp((q - q.max()) / alpha))) + q.max() / alpha)

    last = lambda x: -S * x * x
    form, constant = control.cost_to_go[1, 0, 0], control.constants[1]
    for x in (-1.0, 0.0, 2.5):
        assert math.isclose(soft(action_values(x, last)), -form * x * x + constant, rel_tol=1e-10)
        q = action_values(x, lambda y: -form * y * y + constant)
        value = soft(q)
        assert math.isclose(value, -control.cost_to_go[0, 0, 0] * x * x + control.constants[0], rel_tol=1e-10)
        policy = width * np.exp((q - value) / alpha)
        mean = policy @ u
        assert math.isclose(mean, -control.gains[0, 0, 0] * x, abs_tol=1e-10)
        assert math.isclose(policy @ (u - mean) ** 2, control.covariances[0, 0, 0], rel_tol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_gap_is_the_temperature_times_a_divergence(seed):
    """Against N(0, alpha / 2 M^-1): the expected log ratio by SciPy's densities over a rule exact for quadratics."""
    case = Case(seed)
    n, alpha = case.m, float(case.alpha)
    shift, factor, curvature = map(floats, (case.shift, case.factor, case.control_cost))
    points = [shift + sign * math.sqrt(n) * factor[:, k] for k in range(n) for sign in (1, -1)]
    ours = multivariate_normal(shift, factor @ factor.T)
    target = multivariate_normal(np.zeros(n), alpha / 2 * np.linalg.inv(curvature))
    divergence = np.mean([ours.logpdf(x) - target.logpdf(x) for x in points])
    assert divergence > 0
    assert math.isclose(gap(Floats(), case), alpha * divergence, rel_tol=1e-10)


def test_the_policy_itself_has_no_gap():
    curvature = np.array([[2.0, 1.0], [1.0, 3.0]])
    factor = np.linalg.cholesky(0.35 * np.linalg.inv(curvature))
    pivots = eliminate(curvature, curvature)[1]
    found = gaussian_soft_gap(np.zeros(2), factor, curvature, np.log(np.diag(factor)), pivots, np.float64(0.7))
    assert abs(found) < 1e-14
    assert math.isclose(np.prod(pivots), 5)


# What is refused

GOOD = {"transition": [[1, 0], [0, 1]], "control": [[1], [0]], "state_cost": [[1, 0], [0, 1]], "control_cost": [[1]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": [[1, 2]]}, r"transition has shape \(1, 2\): expected \(n, n\) with n >= 1"),
        ({"transition": [1, 2]}, r"transition has shape \(2,\): expected a matrix"),
        ({"transition": [[1, math.nan], [0, 1]]}, r"transition\[0, 1\] is nan: expected a finite number"),
        ({"control": [[1]]}, r"control has shape \(1, 1\): expected \(2, m\) with m >= 1"),
        ({"state_cost": [[1]]}, r"state_cost has shape \(1, 1\): expected \(2, 2\)"),
        ({"state_cost": [[1, 2], [0, 1]]}, r"state_cost\[0, 1\] is 2.0 and state_cost\[1, 0\] is 0.0: .* symmetric"),
        (
            {"state_cost": [[1, 2], [2, 1]]},
            r"state_cost is not positive semidefinite: direction 1 has curvature -3",
        ),
        (
            {"state_cost": [[0, 1], [1, 0]]},
            r"not positive semidefinite: directions 0 and 1 have a negative comb",
        ),
        ({"control_cost": [[0]]}, r"control_cost is not positive definite: direction 0 has curvature 0"),
        ({"final_cost": [[-1, 0], [0, 1]], "horizon": 1}, r"final_cost is not positive semidefinite"),
        ({"final_cost": [[1, 0], [0, 1]]}, r"final_cost is given and horizon is None"),
        ({"noise": [[-1, 0], [0, 0]]}, r"noise is not positive semidefinite"),
        ({"discount": 2, "horizon": 2}, r"discount is 2, expected a finite number from 0 to 1"),
        ({"horizon": 0}, r"horizon is 0, expected a positive int"),
        ({"control": "x"}, r"control is 'x' \(str\), expected an array"),
    ],
)
def test_bad_problems_are_refused(change, message):
    with pytest.raises(ExactRLError, match=message):
        LinearQuadratic(**{**GOOD, **change})


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({"horizon": 2}, {"alpha": 0}, r"alpha is 0: expected a positive finite temperature"),
        ({"horizon": 2}, {"alpha": math.inf}, r"alpha is inf"),
        ({"horizon": 2}, {"alpha": 1, "numbers": "reals"}, r"numbers is 'reals': expected 'floats'"),
        ({}, {"alpha": 1, "numbers": "balls"}, r"numbers is 'balls' and the problem has no horizon"),
        ({"noise": [[1, 0], [0, 1]]}, {"alpha": 1}, r"there is noise and no horizon: the costs are infinite"),
        ({"discount": 1}, {"alpha": 1}, r"does not settle: expected controls that stabilise what costs"),
        ({"transition": [[1, 0], [0, 3]], "discount": "1/2"}, {"alpha": 1}, r"does not settle"),
    ],
)
def test_bad_calls_are_refused(options, call, message):
    problem = LinearQuadratic(**{**GOOD, **options})
    with pytest.raises(ExactRLError, match=message):
        max_entropy_control(problem, **call)


def test_a_cost_on_the_edge_is_permitted():
    """Semidefinite with an exact zero direction, and floats that miss symmetry or definiteness by rounding."""
    LinearQuadratic(**{**GOOD, "state_cost": [[1, 1], [1, 1]]})
    LinearQuadratic(**{**GOOD, "state_cost": [[0, 0], [0, 0]]})
    factor = np.array([[0.1], [0.3]])
    LinearQuadratic(**{**GOOD, "state_cost": factor @ factor.T})
    undiscounted = max_entropy_control(LinearQuadratic([[0.5]], [[1]], [[1]], [[1]]), 1)
    assert undiscounted.constants is None
    assert undiscounted.gains.shape == (1, 1)


def test_balls_refuse_a_pivot_that_may_be_zero():
    from exactrl.errors import Uncertain

    with precision(64), pytest.raises(Uncertain):
        eliminate(Balls([[0]]), Balls([[1]]))
