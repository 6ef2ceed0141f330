"""One exact number as each number system sees it: `number(x)` and `log(x)` of Fractions; and the parts of a result."""

import numpy as np
import torch

from exactrl.number_systems import namespace
from exactrl.number_systems.balls import Balls
from exactrl.number_systems.rationals import as_fractions, float_logs


class Floats:
    def number(self, x):
        return np.array(as_fractions(x), dtype=float)[()]

    def log(self, x):
        return float_logs(as_fractions(x))[()]


class Tensors(Floats):
    def number(self, x):
        return torch.tensor(super().number(x))

    def log(self, x):
        return torch.tensor(super().log(x))


class Intervals:
    def number(self, x):
        return Balls(as_fractions(x))

    def log(self, x):
        x = Balls(as_fractions(x))
        return namespace(x).log(x)


class Rationals:
    """The Fractions themselves, for formulas without logarithms."""

    def number(self, x):
        return as_fractions(x)[()]


def parts(result):
    return result if isinstance(result, tuple) else (result,)
