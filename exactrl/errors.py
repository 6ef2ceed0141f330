"""The exceptions of the project: one family for bad input, one for a comparison that balls cannot decide."""

from __future__ import annotations

__all__ = ["ExactRLError", "Uncertain"]


class ExactRLError(ValueError):
    """Bad input: the message says what was wrong, where, what was expected, and what to do.

    Raised before any work is lost; input is never silently repaired.
    """


class Uncertain(ArithmeticError):
    """A comparison of balls that overlap: neither answer is certain. Raise the precision, or ask for less."""
