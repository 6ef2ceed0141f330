"""The number systems: every function of the closed list against rationals and 400-bit mpmath, and its refusals."""

import math
import operator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from flint import arb, ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from exactrl.errors import Uncertain
from exactrl.number_systems import Namespace, namespace
from exactrl.number_systems.balls import Balls, ball, precision
from exactrl.number_systems.rationals import as_fractions, float_logs, log_rational, normalised

REFERENCE_BITS = 400
INF = math.inf
THIRD = Fraction(1, 3)
NAN, PLUS, MINUS = arb("nan"), arb.pos_inf(), arb.neg_inf()
ANYTHING = arb(0, INF)

float64 = namespace(np.zeros(1))
tensors = namespace(torch.zeros(1))
balls = namespace(Balls([0]))
SYSTEMS = {"float64": float64, "tensors": tensors, "balls": balls}
each_system = pytest.mark.parametrize("xp", SYSTEMS.values(), ids=SYSTEMS)


def fraction(x: mpmath.mpf) -> Fraction:
    sign, mantissa, exponent, _ = x._mpf_
    return Fraction((-1) ** sign * int(mantissa)) * Fraction(2) ** int(exponent)


def high_precision(x: Any) -> mpmath.mpf:
    return mpmath.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else mpmath.mpf(x)


to_mpf = np.vectorize(high_precision, otypes=[object])


# ------------------------------------------------------------------------------- every function against high precision


def mp(f):
    """Apply a function of mpmath entry by entry."""
    return np.vectorize(f, otypes=[object])


def reduced(f, axis=-1, keepdims=False):
    def reduce(x, _y):
        moved = np.moveaxis(x, axis, -1)
        result = np.empty(moved.shape[:-1], dtype=object)
        for index in np.ndindex(result.shape):
            result[index] = f(list(moved[index]))
        return np.expand_dims(result, axis) if keepdims else result

    return reduce


def loop_matmul(x, y):
    result = np.empty((x.shape[0], y.shape[1]), dtype=object)
    for i, j in np.ndindex(result.shape):
        result[i, j] = sum((x[i, k] * y[k, j] for k in range(x.shape[1])), mpmath.mpf(0))
    return result


def log_sum_exp(xs):
    return mpmath.log(mpmath.fsum(mpmath.exp(x) for x in xs))


CONDITION = np.array([[True, False, True], [False, False, True]])
ANY, POSITIVE, ABOVE_MINUS_ONE = (-20, 20), (Fraction(1, 50), 40), (Fraction(-9, 10), 20)


@dataclass(frozen=True)
class Case:
    """One use of a namespace function, and the same thing said in mpmath; x and y are (2, 3) arrays of rationals."""

    call: Any
    reference: Any
    domain: tuple = ANY


CASES = {
    "exp": Case(lambda xp, x, y: xp.exp(x), lambda x, y: mp(mpmath.exp)(x)),
    "expm1": Case(lambda xp, x, y: xp.expm1(x), lambda x, y: mp(mpmath.expm1)(x)),
    "log": Case(lambda xp, x, y: xp.log(x), lambda x, y: mp(mpmath.log)(x), POSITIVE),
    "log1p": Case(lambda xp, x, y: xp.log1p(x), lambda x, y: mp(mpmath.log1p)(x), ABOVE_MINUS_ONE),
    "sqrt": Case(lambda xp, x, y: xp.sqrt(x), lambda x, y: mp(mpmath.sqrt)(x), POSITIVE),
    "abs": Case(lambda xp, x, y: xp.abs(x), lambda x, y: mp(abs)(x)),
    "softplus": Case(lambda xp, x, y: xp.softplus(x), lambda x, y: mp(lambda v: mpmath.log1p(mpmath.exp(v)))(x)),
    "sum": Case(lambda xp, x, y: xp.sum(x), reduced(mpmath.fsum)),
    "sum axis": Case(lambda xp, x, y: xp.sum(x, axis=0, keepdims=True), reduced(mpmath.fsum, 0, True)),
    "max": Case(lambda xp, x, y: xp.max(x), reduced(max)),
    "max axis": Case(lambda xp, x, y: xp.max(x, axis=-2, keepdims=True), reduced(max, -2, True)),
    "min": Case(lambda xp, x, y: xp.min(x), reduced(min)),
    "min axis": Case(lambda xp, x, y: xp.min(x, axis=0), reduced(min, 0)),
    "matmul": Case(lambda xp, x, y: xp.matmul(x, xp.reshape(y, (3, 2))), lambda x, y: loop_matmul(x, y.reshape(3, 2))),
    "matmul vector": Case(lambda xp, x, y: xp.matmul(x, y[0]), lambda x, y: loop_matmul(x, y[0][:, None])[:, 0]),
    "matmul vectors": Case(
        lambda xp, x, y: xp.matmul(x[0], y[1]), lambda x, y: loop_matmul(x[:1], y[1][:, None])[0, 0]
    ),
    "matmul rows": Case(
        lambda xp, x, y: xp.matmul(x[0], xp.reshape(y, (3, 2))), lambda x, y: loop_matmul(x[:1], y.reshape(3, 2))[0]
    ),
    "where": Case(
        lambda xp, x, y: xp.where(torch.tensor(CONDITION) if xp is tensors else CONDITION, x, y),
        lambda x, y: np.where(CONDITION, x, y),
    ),
    "maximum": Case(lambda xp, x, y: xp.maximum(x, y), lambda x, y: mp(max)(x, y)),
    "maximum scalar": Case(lambda xp, x, y: xp.maximum(x, 1), lambda x, y: mp(lambda v: max(v, 1))(x)),
    "minimum": Case(lambda xp, x, y: xp.minimum(x, y), lambda x, y: mp(min)(x, y)),
    "minimum scalar": Case(lambda xp, x, y: xp.minimum(x, -1), lambda x, y: mp(lambda v: min(v, -1))(x)),
    "clip": Case(lambda xp, x, y: xp.clip(x, -2, 3), lambda x, y: mp(lambda v: min(max(v, -2), 3))(x)),
    "logsumexp": Case(lambda xp, x, y: xp.logsumexp(x), reduced(log_sum_exp)),
    "logsumexp axis": Case(lambda xp, x, y: xp.logsumexp(x, axis=0, keepdims=True), reduced(log_sum_exp, 0, True)),
    "xlogy": Case(lambda xp, x, y: xp.xlogy(x, y), lambda x, y: x * mp(mpmath.log)(y), POSITIVE),
    "weighted": Case(lambda xp, x, y: xp.weighted(x, y), operator.mul),
    "weighted_by_log": Case(lambda xp, x, y: xp.weighted_by_log(xp.log(x), y), operator.mul, POSITIVE),
    "scaled_log": Case(lambda xp, x, y: xp.scaled_log(x, xp.log(y)), lambda x, y: x * mp(mpmath.log)(y), POSITIVE),
    "scaled_log scalar": Case(
        lambda xp, x, y: xp.scaled_log(3, xp.log(y)), lambda x, y: 3 * mp(mpmath.log)(y), POSITIVE
    ),
    "scaled_log zero": Case(lambda xp, x, y: xp.scaled_log(0, x), lambda x, y: 0 * x),
    "stack": Case(lambda xp, x, y: xp.stack([x, y], axis=1), lambda x, y: np.stack([x, y], axis=1)),
    "concat": Case(lambda xp, x, y: xp.concat([x, y], axis=-1), lambda x, y: np.concatenate([x, y], axis=-1)),
    "reshape": Case(lambda xp, x, y: xp.reshape(x, (3, 2)), lambda x, y: x.reshape(3, 2)),
    "moveaxis": Case(lambda xp, x, y: xp.moveaxis(x, 0, -1), lambda x, y: np.moveaxis(x, 0, -1)),
    "select": Case(
        lambda xp, x, y: xp.select(xp.stack([x, y], axis=-2), torch.tensor([1, 0]) if xp is tensors else [1, 0]),
        lambda x, y: np.stack([y[0], x[1]]),
    ),
    "asarray": Case(lambda xp, x, y: xp.asarray(x), lambda x, y: x),
    "identity": Case(lambda xp, x, y: xp.identity(3) * x[0], lambda x, y: np.eye(3, dtype=int) * x[0]),
    "per_row": Case(lambda xp, x, y: xp.per_row(x), lambda x, y: x[..., None]),
    "operators": Case(
        lambda xp, x, y: 2 - (-x) * y + (x - y) * 3 + (1 + x) / 4 - 5 / (7 + x * x),
        lambda x, y: 2 + x * y + (x - y) * 3 + (1 + x) / 4 - 5 / (7 + x * x),
    ),
    "power": Case(lambda xp, x, y: x**3, lambda x, y: x * x * x),
}
# Held by their own tests below: no value, or a value that only the system at hand defines.
APART = {"name", "bisections", "log_two", "log_two_pi", "argmin", "enclosure", "midpoint"}


def test_every_function_of_the_closed_list_is_held_against_high_precision():
    declared = set(vars(Namespace)) | set(Namespace.__annotations__)
    assert {key.split()[0] for key in CASES} - {"operators", "power"} | APART == {n for n in declared if n[0] != "_"}
    for xp in SYSTEMS.values():
        public = {n for n in dir(xp) if n[0] != "_"}
        assert public == {n for n in declared if n[0] != "_"}, "a function outside the closed list"


def rationals_in(low, high):
    return st.builds(Fraction, st.integers(low * 997, high * 997), st.just(997)) | st.integers(low, high).map(Fraction)


def instance(domain, seed):
    """Twelve rationals of the domain, with ends and equal entries among them, a radius, and a point of each ball."""
    rng = np.random.default_rng(seed)
    low, high = map(Fraction, domain)
    pool = [low, high, Fraction(1), *(low + (high - low) * Fraction(int(k), 997) for k in rng.integers(0, 998, 9))]
    centres = [pool[i] for i in rng.integers(0, len(pool), 12)]
    radius = [Fraction(0), Fraction(1, 10**12), Fraction(1, 1000), Fraction(1, 100)][rng.integers(4)]
    return int(rng.integers(53, 65)), centres, radius, [int(k) for k in rng.integers(-1, 2, 12)]


def widened(points, radius):
    """Balls around the points, each with at least the given radius."""
    shaped = np.array([ball(x) + arb(0, 1) * ball(radius) for x in points], dtype=object).reshape(2, 2, 3)
    return Balls(shaped[0]), Balls(shaped[1])


def assert_contains(result, truth, width=None):
    truth = np.asarray(truth, dtype=object)
    assert result.shape == truth.shape
    for (low, high), x in zip(result.bounds(), truth.ravel(), strict=True):
        exact = x if isinstance(x, Fraction) else fraction(mpmath.mpf(x))
        slack = abs(exact) / 2 ** (REFERENCE_BITS - 20)
        assert low - slack <= exact <= high + slack
        if width is not None:
            assert high - low <= width * max(1, abs(exact))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_balls_enclose_and_floats_and_tensors_are_close(name, seed):
    case = CASES[name]
    bits, centres, radius, signs = instance(case.domain, seed)
    points = [x + s * radius for x, s in zip(centres, signs, strict=True)]
    with precision(bits), mpmath.workprec(REFERENCE_BITS):
        x, y = np.split(to_mpf(np.array(points, dtype=object)).reshape(4, 3), 2)
        truth = case.reference(x, y)
        # Rigour: the image of any point of the input balls.  Tightness: exact input loses a few bits, no more.
        assert_contains(case.call(balls, *widened(centres, radius)), truth)
        assert_contains(case.call(balls, *widened(points, 0)), truth, width=Fraction(2) ** (18 - bits))
    floats = np.array([float(v) for v in points]).reshape(2, 2, 3)
    expected = np.asarray(truth, dtype=float)
    size = max(1.0, np.abs(floats).max()) ** 3  # the powers and products above cancel at this size
    found = case.call(float64, *floats)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=2e-15 * size)
    np.testing.assert_allclose(case.call(tensors, *torch.tensor(floats)).numpy(), found, rtol=1e-12, atol=2e-15 * size)


@settings(max_examples=40, deadline=None)
@given(
    bits=st.integers(53, 64), values=st.lists(st.integers(-9, 9).map(lambda k: Fraction(k, 7)), min_size=6, max_size=6)
)
def test_argmin_finds_the_least_or_says_that_it_cannot(bits, values):
    rows = [values[:3], values[3:]]
    expected = [min(range(3), key=row.__getitem__) for row in rows]
    floats = np.array(rows, dtype=float)
    assert float64.argmin(floats).tolist() == tensors.argmin(torch.tensor(floats)).tolist()
    with precision(bits):
        try:
            found = balls.argmin(Balls(rows))
        except Uncertain:
            gaps = [sorted(row)[1] - min(row) for row in rows]
            assert min(gaps) <= Fraction(1, 2 ** (bits - 5)), "distinct values were called a tie"
        else:
            assert [row[i] for row, i in zip(rows, found, strict=True)] == [
                row[i] for row, i in zip(rows, expected, strict=True)
            ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([Fraction(2**100 + 1, 2**100), Fraction(1)], 1, id="closer than floats can tell"),
        pytest.param([Fraction(10) ** 400, Fraction(10) ** 399], 1, id="beyond the range of floats"),
        pytest.param([Fraction(-(10**399)), Fraction(-(10**400))], 1, id="below the range of floats"),
        pytest.param([Fraction(2), MINUS], 1, id="minus infinity"),
        pytest.param([PLUS, Fraction(2)], 1, id="plus infinity"),
    ],
)
def test_argmin_compares_balls_not_their_float_centres(values, expected):
    with precision(4096):
        assert int(balls.argmin(Balls([ball(v) for v in values]))) == expected


def test_argmin_refuses_a_tie_that_cannot_be_excluded():
    with pytest.raises(Uncertain, match="cannot be decided at 53 bits"):
        balls.argmin(Balls([THIRD, Fraction(1, 3), Fraction(1, 2)]))
    with pytest.raises(Uncertain):
        balls.argmin(Balls([arb(1, 1), arb(2, 0.5)]))
    assert int(balls.argmin(Balls([2, 1, 1]))) == 1, "exact balls that are equal: the first is a least one for certain"


@settings(max_examples=30, deadline=None)
@given(low=rationals_in(-5, 5), high=rationals_in(-5, 5))
def test_an_enclosure_holds_both_ends_of_the_bracket_in_balls_and_is_its_middle_in_floats(low, high):
    found = balls.enclosure(Balls([low]), Balls([high]))
    for end in (low, high, (low + high) / 2):
        assert_contains(found, [end])
    middle = float64.enclosure(np.float64(low), np.float64(high))
    assert middle == pytest.approx(float((low + high) / 2), rel=1e-15, abs=1e-15)
    assert tensors.enclosure(torch.tensor(float(low)), torch.tensor(float(high))) == pytest.approx(
        middle, rel=1e-6, abs=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(x=rationals_in(-3, 3), y=rationals_in(-3, 3), r=st.sampled_from([0, 0.25, 1]), t=st.integers(-1, 1))
def test_maximum_minimum_clip_and_abs_enclose_where_balls_overlap(x, y, r, t):
    a, b = Balls([ball(x) + arb(0, r)]), Balls([y])
    point = x + t * Fraction(r)
    assert_contains(balls.maximum(a, b), [max(point, y)])
    assert_contains(balls.minimum(a, b), [min(point, y)])
    assert_contains(balls.clip(a, -1, b), [min(max(point, Fraction(-1)), y)])
    assert_contains(balls.abs(a), [abs(point)])


def test_bisections_follow_the_precision():
    assert float64.bisections == tensors.bisections == 60
    with precision(200):
        assert balls.bisections == 150


@pytest.mark.parametrize(("name", "number"), [("log_two", lambda: 2), ("log_two_pi", lambda: 2 * mpmath.pi)])
def test_constants_are_the_nearest_float_or_enclosed(name, number):
    assert getattr(float64, name) == getattr(tensors, name) == float(mpmath.log(number()))
    with precision(200), mpmath.workprec(REFERENCE_BITS):
        assert_contains(getattr(balls, name), fraction(mpmath.log(number())), width=Fraction(1, 2**195))


# --------------------------------------------------------------------------------------------------- special values


def plain(x):
    """The entries as floats, each ball by its midpoint (an infinite ball is itself)."""
    return [float(v) for v in (x.data if isinstance(x, Balls) else x).ravel()]


@each_system
def test_zero_probabilities_are_ordinary(xp):
    array = balls.asarray if xp is balls else (torch.tensor if xp is tensors else np.array)
    zero = array([0.0, 1.0])
    minus_infinity = array([-INF, 0.0])
    assert plain(xp.log(zero)) == [-INF, 0]
    assert plain(xp.log1p(array([-1.0, 0.0]))) == [-INF, 0]
    assert plain(xp.exp(minus_infinity)) == [0, 1]
    assert plain(xp.expm1(minus_infinity)) == [-1, 0]
    assert plain(xp.xlogy(zero, zero)) == [0, 0]
    assert plain(xp.weighted(zero, minus_infinity)) == [0, 0]
    assert plain(xp.weighted(zero, array([math.nan, 2.0]))) == [0, 2]
    assert plain(xp.weighted(array([2.0, -1.0]), array([-INF, -INF]))) == [-INF, INF]
    assert plain(xp.scaled_log(0, minus_infinity)) == [0, 0]
    assert plain(xp.scaled_log(0.5, minus_infinity)) == [-INF, 0]
    assert plain(xp.scaled_log(zero, array([-INF, -INF]))) == [0, -INF]
    assert plain(xp.max(minus_infinity)) == [0]
    assert plain(xp.min(minus_infinity)) == [-INF]
    assert plain(xp.softplus(array([-INF, INF]))) == [0, INF]


@each_system
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([-INF, -INF], -INF),
        ([-INF, 3.0], 3.0),
        ([INF, 0.0], INF),
        ([INF, -INF], INF),
        ([-INF], -INF),
        ([800.0, -INF], 800),
    ],
)
def test_logsumexp_of_infinite_terms(xp, row, expected):
    array = balls.asarray if xp is balls else (torch.tensor if xp is tensors else np.array)
    assert plain(xp.logsumexp(array(row))) == [expected]
    assert plain(xp.logsumexp(array([row]), axis=-1, keepdims=True)) == [expected]


def test_logsumexp_of_a_large_spread_keeps_the_maximum_and_does_not_overflow():
    for shift in (-1e4, 1e4):
        assert float64.logsumexp(np.array([shift, shift])) == pytest.approx(shift + math.log(2), rel=1e-15)
    low, high = balls.logsumexp(Balls([10**6, 0])).bounds()[0]
    assert low <= 10**6 < high < 10**6 + 1


@pytest.mark.parametrize("unknown", [NAN, ANYTHING, arb(5, INF)], ids=["nan", "anything", "shifted"])
@pytest.mark.parametrize("beside", [0, MINUS], ids=["finite", "minus infinity"])
def test_logsumexp_never_drops_a_ball_that_may_be_anything(unknown, beside):
    found = balls.logsumexp(Balls([unknown, ball(beside)])).data[()]
    assert not found.is_finite()
    assert found.overlaps(arb(10**9)), f"{found} excludes values that the terms allow"


@pytest.mark.parametrize("unknown", [NAN, ANYTHING], ids=["nan", "anything"])
def test_softplus_never_drops_a_ball_that_may_be_anything(unknown):
    found = balls.softplus(Balls([unknown])).data[0]
    assert found.overlaps(arb(1))
    assert found.overlaps(arb(10**9))


def test_softplus_of_a_wide_ball_stays_an_enclosure():
    found = balls.softplus(Balls([arb(0, 1)]))
    for t in (-1, 0, 1):
        assert_contains(found, [fraction(mpmath.log1p(mpmath.exp(mpmath.mpf(t))))], width=4)


# ----------------------------------------------------------------------------------------- what balls refuse to decide

AROUND_ZERO = Balls([arb(0, 1)])


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda: balls.log(AROUND_ZERO), "logarithm of a ball that is not certainly positive"),
        (lambda: balls.log(Balls([-1])), "logarithm of a ball that is not certainly positive"),
        (lambda: balls.log(Balls([NAN])), "logarithm of a ball that is not certainly positive"),
        (lambda: balls.log1p(Balls([arb(-1, 0.5)])), "logarithm of a ball that is not certainly positive"),
        (lambda: balls.xlogy(Balls([1]), AROUND_ZERO), "logarithm of a ball that is not certainly positive"),
        (lambda: Balls([1]) / AROUND_ZERO, "division by a ball that contains 0"),
        (lambda: 1 / AROUND_ZERO, "division by a ball that contains 0"),
        (lambda: Balls([1]) / 0, "division by a ball that contains 0"),
        (lambda: Balls([1]) / Balls([NAN]), "division by a ball that contains 0"),
        (lambda: balls.weighted(AROUND_ZERO, Balls([MINUS])), "an infinite value weighted by a ball that contains 0"),
        (lambda: balls.scaled_log(AROUND_ZERO, Balls([MINUS])), "an infinite value weighted by a ball that contains 0"),
        (lambda: AROUND_ZERO < 0, "cannot be decided at 53 bits"),
        (lambda: AROUND_ZERO <= 0, "cannot be decided at 53 bits"),
        (lambda: AROUND_ZERO > 0, "cannot be decided at 53 bits"),
        (lambda: AROUND_ZERO >= 0, "cannot be decided at 53 bits"),
        (lambda: AROUND_ZERO == 0, "cannot be decided at 53 bits"),
        (lambda: AROUND_ZERO != 0, "cannot be decided at 53 bits"),
        (lambda: Balls([THIRD]) == THIRD, "cannot be decided at 53 bits"),
        (lambda: Balls([NAN]) <= 1, "cannot be decided at 53 bits"),
    ],
)
def test_what_intervals_cannot_decide_raises(refused, message):
    with pytest.raises(Uncertain, match=message):
        refused()


def test_certain_comparisons_are_plain_booleans():
    x = Balls([0, THIRD, 2])
    assert (x < 1).tolist() == [True, True, False]
    assert (x <= 2).tolist() == [True, True, True]
    assert (x > 1).tolist() == [False, False, True]
    assert (x >= 2).tolist() == [False, False, True]
    assert (x == 2).tolist() == [False, False, True]
    assert (x != 2).tolist() == [True, True, False]
    assert (Balls([MINUS, PLUS]) == MINUS).tolist() == [True, False]
    assert (x < 1).dtype == np.bool_


# ------------------------------------------------------------------------------------------------ the class is closed

X = Balls([THIRD, 2])


@pytest.mark.parametrize(
    "escape",
    [
        lambda: np.clip(X, 0, 1),
        lambda: np.minimum(X, 1),
        lambda: np.maximum(X, X),
        lambda: np.sort(X),
        lambda: np.asarray(X),
        lambda: np.asarray(X, dtype=object),
        lambda: np.array([X, X]),
        lambda: np.where([True, False], X, X),
        lambda: np.max(X),
        lambda: np.sum(X),
        lambda: np.argmin(X),
        lambda: np.exp(X),
        lambda: np.isnan(X),
        lambda: np.einsum("i,i", X, X),
        lambda: np.stack([X, X]),
        lambda: np.median(X),
        lambda: Balls([X, X]),
        lambda: bool(X),
        lambda: bool(X[0]),
        lambda: float(X[0]),
        lambda: hash(X),
        lambda: X @ X,
        lambda: X // 2,
        lambda: X % 2,
        lambda: 2**X,
        lambda: X == None,  # noqa: E711
        lambda: operator.setitem(X, 0, 1),
        lambda: balls.where(X, 1, 0),
        lambda: balls.where(1, X, X),
        lambda: balls.where(np.array([1, 0]), X, X),
    ],
)
def test_an_operation_outside_the_list_raises(escape):
    with pytest.raises(TypeError):
        escape()


@pytest.mark.parametrize("exponent", [0.5, 2.5, -0.5, Fraction(1, 2), 2.0])
def test_a_power_that_is_no_integer_is_refused_not_rounded(exponent):
    with pytest.raises(TypeError):
        X**exponent


@pytest.mark.parametrize("exponent", [1, 2, 3])
@pytest.mark.parametrize("radius", [Fraction(1, 2), Fraction(1, 10**12)])
def test_a_power_of_a_ball_around_zero_is_finite_and_encloses(exponent, radius):
    found = Balls([arb(0, 1) * ball(radius)]) ** exponent
    assert found.data[0].is_finite()
    for t in (-radius, Fraction(0), radius):
        assert_contains(found, [t**exponent], width=4 * radius**exponent)


@pytest.mark.parametrize("value", ["1/2", None, 1j, object(), np.bool_(True), [["1"]]])
def test_no_ball_is_made_of_what_is_no_number(value):
    with pytest.raises(TypeError, match="no ball can be made of a"):
        Balls(value)


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (3, Fraction(3)),
        (np.int64(-7), Fraction(-7)),
        (0.1, Fraction(0.1)),
        (np.float32(0.1), Fraction(float(np.float32(0.1)))),
        (fmpq(5, 4), Fraction(5, 4)),
        (arb(2), Fraction(2)),
        (Fraction(3, 8), Fraction(3, 8)),
    ],
)
def test_numbers_become_balls_by_their_exact_value(value, exact):
    for made in (Balls(value), Balls([value])[0], balls.asarray(value)):
        assert made.shape == ()
        assert made.bounds() == [(exact, exact)]
    assert_contains(Balls([THIRD]), [THIRD], width=Fraction(1, 2**50))
    assert Balls(np.array([0.1, 0.2])).bounds() == [(Fraction(0.1),) * 2, (Fraction(0.2),) * 2]
    assert balls.asarray(X) is X


def test_balls_behave_as_an_array():
    matrix = Balls([[1, 2, 3], [4, 5, 6]])
    assert (matrix.shape, matrix.ndim, len(matrix)) == ((2, 3), 2, 2)
    assert matrix[..., None].shape == (2, 3, 1)
    assert [row.shape for row in matrix] == [(3,), (3,)]
    assert matrix[1, 2].bounds() == [(Fraction(6), Fraction(6))]
    assert matrix.matrix() is matrix.matrix(), "a recursion multiplies by it many times"
    assert matrix.matrix().nrows() == 2
    assert repr(Balls([1, 2])).startswith("Balls([1.0")
    assert (np.array([1.0, 2.0]) * X).bounds() == (X * [1, 2]).bounds(), "NumPy arrays are numbers, from either side"
    assert (np.float64(2) - X).shape == (2,)
    assert balls.per_row(2).shape == ()


# ------------------------------------------------------------------------------------------- the systems never mix

T = torch.tensor([1.0, 2.0], dtype=torch.float64)


def test_a_namespace_is_chosen_by_its_arguments():
    assert namespace(1.0, Fraction(1, 2)).name == namespace(np.ones(2), 3).name == "float64"
    assert namespace(np.ones(2), T).name == namespace(1, T).name == "tensors"
    assert namespace(X).name == namespace(np.ones(2), X).name == namespace(X, 1).name == "balls"
    for arrays in ((X, T), (T, 1, X)):
        with pytest.raises(TypeError, match="balls and tensors do not mix in one formula"):
            namespace(*arrays)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda: X + T,
        lambda: X - T,
        lambda: X * T,
        lambda: X / T,
        lambda: T + X,
        lambda: T * X,
        lambda: X < T,
        lambda: X == T,
        lambda: X + T.clone().requires_grad_(),
        lambda: balls.maximum(X, T),
        lambda: balls.where(np.array([True, False]), X, T),
        lambda: balls.weighted(X, T),
        lambda: balls.logsumexp(T),
        lambda: Balls(T),
        lambda: tensors.logsumexp(X),
        lambda: tensors.maximum(T, X),
        lambda: float64.maximum(np.ones(2), X),
        lambda: float64.asarray(X),
        lambda: float64.exp(X),
    ],
)
def test_systems_never_mix_in_an_operation(mixed):
    with pytest.raises((TypeError, AttributeError)):
        mixed()


def test_constants_enter_a_system_by_value():
    assert float64.asarray(Fraction(1, 3)).dtype == np.float64
    assert tensors.asarray(Fraction(1, 3)).dtype == torch.float64
    assert float(tensors.asarray(Fraction(1, 3))) == float64.asarray(Fraction(1, 3)) == 1 / 3
    assert tensors.asarray([1, 2]).dtype == torch.float64
    single = torch.tensor([1.0, 2.0], requires_grad=True)
    assert tensors.asarray(single) is single, "tensors keep their precision and their gradient"
    for xp in (float64, tensors):
        assert xp.per_row(2) == 2
        assert xp.per_row(xp.asarray(2)).shape == ()
        assert xp.per_row(xp.asarray([2, 3])).shape == (2, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tensors.scaled_log(0, x),
        lambda x: tensors.scaled_log(x, x),
        lambda x: tensors.weighted(x, x),
        lambda x: tensors.xlogy(x, x),
        lambda x: tensors.softplus(x),
        lambda x: tensors.clip(x, 0, 1),
        lambda x: tensors.maximum(x, 0.0),
        lambda x: tensors.where(x > 1, 0.0, x),
        lambda x: tensors.where(x > 1, x, 1),
    ],
)
def test_single_precision_tensors_stay_single(call):
    assert call(torch.tensor([1.0, 2.0])).dtype == torch.float32, "a constant must not promote the network's precision"


def test_tensors_of_integers_are_computed_in_double_precision():
    assert tensors.asarray(torch.tensor([3, 5])).dtype == torch.float64


def test_gradients_of_products_are_finite_at_zero():
    x = torch.tensor([0.0, 0.5], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([-INF, 2.0], dtype=torch.float64, requires_grad=True)
    assert [g.tolist() for g in torch.autograd.grad(tensors.weighted(x, y).sum(), (x, y))] == [[0, 2], [0, 0.5]]
    y = torch.tensor([-INF, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(tensors.scaled_log(0, y).sum(), y)[0].tolist() == [0, 0]
    (slope,) = torch.autograd.grad(tensors.softplus(torch.zeros(1, requires_grad=True) + 0 * x[0]).sum(), x)
    assert slope.isfinite().all()


def test_a_product_with_a_zero_weight_keeps_the_slope_of_the_weight():
    weight = torch.tensor([0.0, 0.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([3.0, -INF], dtype=torch.float64)
    (slope,) = torch.autograd.grad(tensors.weighted(weight, x).sum(), weight)
    assert slope.tolist() == [3, 0], "the slope of w x in w is x, also at w = 0"


def test_the_gradient_of_xlogy_is_finite_where_both_are_zero():
    x = torch.tensor([0.0, 0.5], dtype=torch.float64)
    y = torch.tensor([0.0, 2.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(tensors.xlogy(x, y).sum(), y)
    assert slope.tolist() == [0, 0.25], "x log y is 0 for every y where x is 0"


# ---------------------------------------------------------------------------------------------------------- precision


def fail_at(bits):
    with precision(bits):
        raise KeyError(ctx.prec)


def test_precision_holds_inside_its_block_and_is_restored_even_by_an_exception():
    before = ctx.prec
    with precision(200):
        assert ctx.prec == 200
        fine = Balls([THIRD])
        with precision(100):
            assert ctx.prec == 100
        assert ctx.prec == 200
        low, high = fine.bounds()[0]
    assert ctx.prec == before
    with pytest.raises(KeyError, match="77"):
        fail_at(77)
    assert ctx.prec == before
    assert 0 < high - low < Fraction(1, 2**190)


# ---------------------------------------------------------------------------------------------------------- rationals


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.fractions(min_value=Fraction(1, 10**6), max_value=10**6),
        st.builds(lambda m, e: m * Fraction(10) ** e, st.integers(1, 99), st.integers(-1000, 1000)),
        st.builds(lambda m, e: 1 + m * Fraction(10) ** e, st.integers(-9, 9), st.integers(-40, -1)),
    )
)
def test_log_rational_is_the_logarithm_however_extreme(x):
    with mpmath.workprec(REFERENCE_BITS * 10):
        expected = mpmath.log(high_precision(x))
    assert log_rational(x) == pytest.approx(float(expected), rel=4e-15, abs=0)
    with pytest.raises(ValueError, match="is not real"):
        log_rational(-x)


def test_log_rational_of_hand_picked_values():
    assert log_rational(Fraction(1, 10**1000)) == pytest.approx(-1000 * math.log(10), rel=1e-15)
    assert log_rational(Fraction(0)) == -INF
    assert log_rational(Fraction(1)) == 0
    assert log_rational(1 + Fraction(1, 10**30)) == pytest.approx(1e-30, rel=1e-15), "1 + x in floats would be 1"


def test_as_fractions_takes_numbers_by_their_exact_value():
    found = as_fractions([[1, "2/3"], [0.1, Fraction(5, 7)]])
    assert found.tolist() == [[1, Fraction(2, 3)], [Fraction(0.1), Fraction(5, 7)]]
    assert found.dtype == object
    assert as_fractions("1/2").shape == ()
    assert as_fractions(np.array([3, 4])).tolist() == [3, 4]
    with pytest.raises(ValueError, match="NaN"):
        as_fractions([math.nan])
    with pytest.raises(ValueError, match="Invalid literal"):
        as_fractions(["a/b"])
    with pytest.raises(ZeroDivisionError):
        as_fractions(["1/0"])


def test_machine_integers_do_not_overflow_as_rationals():
    big = [np.int64(2**62), np.int64(2**62)]
    assert sum(as_fractions(big)) == 2**63
    assert normalised(big) == [Fraction(1, 2)] * 2
    assert log_rational(sum(as_fractions(big))) == pytest.approx(63 * math.log(2))


def test_float_logs_keep_the_support():
    found = float_logs([[Fraction(1, 10**1000), 0], [1, Fraction(1, 2)]])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[-1000 * math.log(10), -INF], [0, -math.log(2)]], rtol=1e-15)


@given(st.lists(st.integers(0, 10**30), min_size=1).filter(any))
def test_normalised_weights_sum_to_one_exactly(weights):
    found = normalised(weights)
    assert sum(found) == 1
    assert [w * sum(weights) for w in found] == weights


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [-2, 1]])
def test_weights_without_a_positive_sum_are_refused(weights):
    with pytest.raises(ValueError, match="weights need a positive sum to be normalised"):
        normalised(weights)


def test_a_midpoint_is_exact_and_inside_its_ball_and_a_float_is_its_own():
    wide = Balls(arb(1, 0.25))
    middle = balls.midpoint(wide).data[()]
    assert middle.is_exact()
    assert wide.data[()].contains(middle)
    assert float64.midpoint(np.float64(3.5)) == 3.5


def test_a_long_backward_recursion_in_balls_stays_narrow():
    from exactrl.formulas import backward_log_partition

    with precision(128):
        transitions = Balls([[Fraction(1, 3), Fraction(2, 3)], [Fraction(1, 2), Fraction(1, 2)]])
        score = Balls([[Fraction(1, 7)], [Fraction(-2, 5)]])
        value = backward_log_partition([score] * 300, transitions, Balls([Fraction(1, 2), Fraction(1, 2)]))
        assert float(value.data[()].rad()) < 1e-25
