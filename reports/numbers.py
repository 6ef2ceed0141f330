"""Exact numbers as a person reads them: fractions, powers of ten, and the decimal strings of a certificate."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from markupsafe import Markup, escape

__all__ = ["decimal", "exact", "margin"]

SHORTEST_POWER = 7  # 10^7 and above are written as powers
MOST_DIGITS = 400
WORDS = {"inf": "∞", "+inf": "∞", "-inf": "−∞", "nan": "undefined", "None": "none", "True": "yes", "False": "no"}


def exact(value: Any) -> Markup:
    """Return an entry of an instance: "p/q" strings, integers, lists of them as (a, b, c), tables row by row."""
    if isinstance(value, dict):
        rows = [Markup("{}: {}").format(name, exact(entry)) for name, entry in value.items()]
        return Markup("<br>").join(rows)
    if isinstance(value, (list, tuple)):
        if any(isinstance(entry, (list, tuple)) for entry in value):
            return Markup("<br>").join(exact(entry) for entry in value)
        return Markup("(") + Markup(", ").join(exact(entry) for entry in value) + Markup(")")
    text = str(value)
    if re.fullmatch(r"[+-]?\d+(/\d+)?", text):
        return Markup("/").join(_integer(part) for part in text.replace("-", "−").split("/"))
    return escape(WORDS.get(text, text))


def _integer(digits: str) -> Markup:
    """Return an integer with a long tail of zeros as m·10^k; one that is very long is cut, and says so."""
    sign, digits = ("−", digits[1:]) if digits.startswith("−") else ("", digits.lstrip("+"))
    mantissa = digits.rstrip("0")
    zeros = len(digits) - len(mantissa)
    if mantissa and zeros >= SHORTEST_POWER:
        factor = Markup("") if mantissa == "1" else _integer(mantissa) + Markup("·")
        return Markup("{}{}10<sup>{}</sup>").format(sign, factor, zeros)
    if len(digits) > MOST_DIGITS:
        cut = f"{digits[:12]}…{digits[-12:]} [{len(digits)} digits, in full in the certificate]"
        return Markup("{}{}").format(sign, cut)
    return Markup("{}{}").format(sign, digits)


def decimal(text: str | None) -> Markup:
    """Return a decimal string such as 3.33e0 with every digit it has, in plain or in scientific notation."""
    if text is None:
        return Markup("—")
    if text.lower() in WORDS:
        return escape(WORDS[text.lower()])
    try:
        value = Decimal(text)
    except InvalidOperation:
        return escape(text)
    exponent = value.adjusted()
    if value == 0 or -5 <= exponent <= 12:
        return escape(f"{value:f}".replace("-", "−"))
    mantissa = value.scaleb(-exponent)
    return Markup("{}·10<sup>{}</sup>").format(f"{mantissa:f}".replace("-", "−"), f"{exponent}".replace("-", "−"))


def margin(value: Any) -> Markup:
    """Return a margin met in floats, to three digits."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return Markup("—") if value is None else escape(str(value))
    return decimal(f"{number:.3g}")
