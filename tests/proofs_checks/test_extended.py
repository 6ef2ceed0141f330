"""Extended reals: every rule, and every operation that has no value."""

import itertools
import math
from fractions import Fraction

import pytest
from flint import arb

from exactrl.errors import Uncertain
from proofs_checks.extended import Extended, Undefined, total, xlog

INF = math.inf
NUMBERS = [-INF, -2, Fraction(-1, 2), 0, Fraction(1, 3), 1, 5, INF]
PAIRS = list(itertools.product(NUMBERS, repeat=2))


def number(x):
    if x == INF:
        return Extended(arb.pos_inf())
    return Extended(arb.neg_inf()) if x == -INF else Extended(x)


def value(x):
    """The float of an extended real."""
    assert isinstance(x, Extended)
    if x.finite:
        return float(x.value.mid())
    return INF if x.value > 0 else -INF


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_sums_and_differences(x, y):
    for sign, name in ((1, "__add__"), (-1, "__sub__")):
        operation = getattr(number(x), name)
        if math.isinf(x) and math.isinf(y) and x != sign * y:
            with pytest.raises(Undefined, match=r"^inf - inf$"):
                operation(number(y))
        else:
            assert value(operation(number(y))) == pytest.approx(float(x) + sign * float(y))


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_products(x, y):
    if (math.isinf(x) and y == 0) or (math.isinf(y) and x == 0):
        with pytest.raises(Undefined, match=r"^0 \* inf$"):
            number(x) * number(y)
    else:
        assert value(number(x) * number(y)) == pytest.approx(float(x) * float(y))


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_quotients(x, y):
    if y == 0:
        with pytest.raises(Undefined, match=r"^division by 0$"):
            number(x) / number(y)
    elif math.isinf(x) and math.isinf(y):
        with pytest.raises(Undefined, match=r"^inf / inf$"):
            number(x) / number(y)
    else:
        assert value(number(x) / number(y)) == pytest.approx(float(x) / float(y))


@pytest.mark.parametrize("x", NUMBERS)
def test_functions_of_one_number(x):
    assert value(-number(x)) == pytest.approx(-float(x))
    assert value(abs(number(x))) == pytest.approx(abs(float(x)))
    assert value(number(x).exp()) == pytest.approx(math.exp(x))
    if x < 0:
        with pytest.raises(Undefined, match=r"^log of a negative number$"):
            number(x).log()
    else:
        assert value(number(x).log()) == pytest.approx(math.log(x) if x else -INF)


@pytest.mark.parametrize(("x", "y"), PAIRS)
def test_x_log_y_is_zero_at_zero_whatever_y_is(x, y):
    if x == 0:
        assert value(xlog(number(x), number(y))) == 0
    elif y < 0:
        with pytest.raises(Undefined):
            xlog(number(x), number(y))
    elif math.isinf(x) and y == 1:
        with pytest.raises(Undefined, match=r"^0 \* inf$"):
            xlog(number(x), number(y))
    else:
        expected = float(x) * (math.log(y) if y else -INF)
        assert value(xlog(number(x), number(y))) == pytest.approx(expected)


def test_plain_numbers_may_stand_on_the_right():
    assert value(Extended(2) + 3) == 5
    assert value(Extended(2) - Fraction(1, 2)) == 1.5
    assert value(Extended(2) * 0) == 0
    assert value(Extended(1) / 4) == 0.25


def test_sums_run_from_left_to_right_and_stop_at_the_first_undefined_term():
    assert value(total([])) == 0
    assert value(total([1, Fraction(1, 2)])) == 1.5
    assert value(total([1, number(INF), 5])) == INF
    with pytest.raises(Undefined, match=r"inf - inf"):
        total([number(INF), 1, number(-INF)])


def test_a_ball_around_zero_is_neither_zero_nor_not():
    doubtful = Extended(arb(0, 1))
    for operation in (
        lambda: Extended(1) / doubtful,
        lambda: doubtful * number(INF),
        lambda: number(INF) * doubtful,
        doubtful.log,
        lambda: xlog(doubtful, 2),
        lambda: doubtful.zero,
    ):
        with pytest.raises(Uncertain):
            operation()


def test_a_ball_beside_zero_is_decided():
    assert not Extended(arb(2, 1)).zero
    assert value(Extended(1) / Extended(arb(2, 1))) > 0


def test_undefined_is_an_arithmetic_error():
    assert issubclass(Undefined, ArithmeticError)
    assert not issubclass(Undefined, Uncertain)
