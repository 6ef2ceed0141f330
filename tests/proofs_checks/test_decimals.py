"""The canonical decimal, against the decimal module (correctly rounded quotients) and mpmath."""

import decimal as python_decimal
import random
from fractions import Fraction

import pytest
from flint import arb, fmpq

from exactrl.number_systems.balls import ball, precision
from proofs_checks.decimals import decimal

mpmath = pytest.importorskip("mpmath")

ROUNDING = python_decimal.Context(
    prec=20, rounding=python_decimal.ROUND_HALF_UP, Emax=python_decimal.MAX_EMAX, Emin=python_decimal.MIN_EMIN
)


def canonical(rounded):
    sign, digits, exponent = rounded.as_tuple()
    text = "".join(map(str, digits))
    tail = text[1:].rstrip("0")
    return "-" * sign + text[0] + ("." + tail if tail else "") + f"e{exponent + len(text) - 1}"


def expected(x):
    return canonical(ROUNDING.divide(python_decimal.Decimal(x.numerator), python_decimal.Decimal(x.denominator)))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ("1", "1e0"),
        ("-1", "-1e0"),
        ("1/2", "5e-1"),
        ("10", "1e1"),
        ("1/3", "3.3333333333333333333e-1"),
        ("-2/3", "-6.6666666666666666667e-1"),
        ("123456", "1.23456e5"),
        ("1/1000", "1e-3"),
        # A tie in the 21st digit goes away from zero.
        ("100000000000000000005", "1.0000000000000000001e20"),
        ("-100000000000000000005", "-1.0000000000000000001e20"),
        ("100000000000000000004", "1e20"),
        ("100000000000000000015", "1.0000000000000000002e20"),
        # Nines that round up to the next power of ten, and nines that do not.
        ("999999999999999999995", "1e21"),
        ("999999999999999999994", "9.9999999999999999999e20"),
        ("99999999999999999999", "9.9999999999999999999e19"),
        ("9999999999999999999", "9.999999999999999999e18"),
    ],
)
def test_values_by_hand(x, text):
    with precision(512):
        assert decimal(ball(Fraction(x))) == text


def test_random_fractions_agree_with_correctly_rounded_quotients():
    rng = random.Random(0)
    for _ in range(400):
        x = Fraction(rng.choice([-1, 1]) * rng.randint(1, 10 ** rng.randint(1, 30)), rng.randint(1, 10**25))
        x *= Fraction(10) ** rng.randint(-400, 400)
        with precision(4096):
            assert decimal(ball(x)) == expected(x)


@pytest.mark.parametrize("power", [0, 1, 7, 19, 20, 21, 308, 400, 4299, 4300, 5000, 20_000])
@pytest.mark.parametrize("sign", [-1, 1])
def test_powers_of_ten(power, sign):
    with precision(128):
        assert decimal(sign * arb(10) ** power) in (None, f"{'-' * (sign < 0)}1e{power}")
    with precision(70_000):
        assert decimal(arb(sign * 10**power)) == f"{'-' * (sign < 0)}1e{power}"


@pytest.mark.parametrize("power", [1, 18, 19, 20, 21, 22, 50, 300])
def test_beside_a_power_of_ten_the_answer_is_right_or_withheld(power):
    for gap in [j for k in range(1, 45) for j in (2**k, 10**k // 2, 3 * 10**k)]:
        for side in (-1, 1):
            x = Fraction(10) ** power * (1 + Fraction(side, gap))
            for bits in (40, 64, 70, 80, 128, 160):
                with precision(bits):
                    assert decimal(ball(x)) in (None, expected(x))
            with precision(1024):
                assert decimal(ball(x)) == expected(x)


def test_exact_balls_of_many_bits_are_never_misread_at_low_precision():
    rng = random.Random(1)
    for _ in range(300):
        n = 10 ** rng.randint(15, 40) + rng.choice([-1, 1]) * rng.randint(0, 10 ** rng.randint(0, 20))
        for bits in (53, 64, 128):
            with precision(bits):
                assert decimal(arb(n)) in (None, expected(Fraction(n)))


@pytest.mark.parametrize("k", [29, 30, 31, 60, 95])
def test_powers_of_two_end_in_5_so_that_ties_are_common(k):
    for numerator in (1, -1, 3, 10**9, 2 * 10**30):
        with precision(1024):
            assert decimal(arb(numerator) / 2**k) == expected(Fraction(numerator, 2**k))


@pytest.mark.parametrize("text", ["9.31322574615478515625e-30", "-1.00000000000000000005", "9.99999999999999999995e7"])
def test_a_tie_that_no_ball_can_hold_exactly_is_withheld_until_the_last_precision(text):
    x = Fraction(text)
    with precision(8192):
        assert decimal(ball(x)) is None
        assert decimal(ball(x), last=True) in (None, expected(x))


def test_a_low_precision_withholds_rather_than_guesses():
    third = Fraction(1, 3)
    with precision(30):
        assert decimal(ball(third)) is None
    with precision(128):
        assert decimal(ball(third)) == "3.3333333333333333333e-1"
        assert decimal(arb(fmpq(1, 3), arb(10) ** -15)) is None


def mp_text(x):
    return canonical(ROUNDING.create_decimal(mpmath.nstr(x, 45, strip_zeros=False, min_fixed=1, max_fixed=0)))


@pytest.mark.parametrize("exponent", [-(10**12), -(10**6), -10_000, -1, 1, 10_000, 10**6, 10**12])
@pytest.mark.parametrize("sign", [-1, 1])
def test_exponentials_far_beyond_floats(exponent, sign):
    with mpmath.workdps(60), precision(256):
        assert decimal(sign * arb(exponent).exp()) == mp_text(sign * mpmath.exp(exponent))


@pytest.mark.parametrize(("n", "d"), [(7, 3), (10**6, 7), (1, 10**9), (22, 7)])
def test_irrational_numbers(n, d):
    with mpmath.workdps(60), precision(256):
        x, y = arb(fmpq(n, d)), mpmath.mpf(n) / d
        assert decimal(x.log()) == mp_text(mpmath.log(y))
        assert decimal(x.sqrt()) == mp_text(mpmath.sqrt(y))
        assert decimal(-x.atan()) == mp_text(-mpmath.atan(y))


def test_zero_and_balls_around_it():
    assert decimal(arb(0)) == "0"
    assert decimal(arb(0), last=True) == "0"
    around = arb(0, arb(10) ** -100)
    assert decimal(around) is None
    assert decimal(around, last=True) == "0"
    with precision(256):
        assert decimal(arb(fmpq(3, 10**100), arb(10) ** -130)) == "3e-100"


def test_the_last_precision_does_not_make_up_digits():
    assert decimal(arb(1, arb(10) ** -5), last=True) is None


def test_infinities_and_indeterminate():
    assert decimal(arb.pos_inf()) == "inf"
    assert decimal(arb.neg_inf()) == "-inf"
    assert decimal(arb.nan()) is None
    assert decimal(arb(0, arb.pos_inf())) is None
    assert decimal(arb.pos_inf(), last=True) == "inf"
