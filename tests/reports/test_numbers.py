"""Exact numbers as a person reads them."""

import math

from reports.numbers import decimal, exact, margin


def test_exact_numbers_read_well():
    assert exact("1/2") == "1/2"
    assert exact(-3) == "−3"
    assert exact("-7/3" + "0" * 9) == "−7/3·10<sup>9</sup>"
    assert exact("1" + "0" * 1000) == "10<sup>1000</sup>"
    assert exact([["1/2", "1/2"], [0, 1]]) == "(1/2, 1/2)<br>(0, 1)"
    assert exact({"a": "1/2", "b": None}) == "a: 1/2<br>b: none"
    assert exact("<x>") == "&lt;x&gt;"
    assert "500 digits, in full in the certificate" in exact("7" * 500)


def test_decimal_strings_keep_every_digit():
    assert decimal("3.3302184446307908825e0") == "3.3302184446307908825"
    assert decimal("-2.50e-3") == "−0.00250"
    assert decimal("1.25e40") == "1.25·10<sup>40</sup>"
    assert decimal("1e-40") == "1·10<sup>−40</sup>"
    assert decimal("-inf") == "−∞"
    assert decimal("[1 +/- <2>]") == "[1 +/- &lt;2&gt;]"
    assert decimal(None) == margin(None) == "—"
    assert margin(1.23456) == "1.23"
    assert margin(math.inf) == "∞"
    assert margin("<") == "&lt;"
