"""The least squares fit of one feature, in three number systems, against the exact minimiser and its neighbours."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from exactrl.formulas.regression import fitted_multiple
from exactrl.number_systems.balls import Balls, precision


def drawn(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    feature, target = ([Fraction(int(k), 7) for k in rng.integers(-20, 20, n)] for _ in range(2))
    feature[0] += 10
    return feature, target, [Fraction(int(k), 5) for k in rng.integers(1, 9, n)]


ENTRIES = {"fitted_multiple": lambda s, c: fitted_multiple(*map(s.number, c))}


def error(theta, feature, target, weights):
    return sum(w * (y - theta * f) ** 2 for f, y, w in zip(feature, target, weights, strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_exact_minimiser_in_every_number_system(seed):
    case = drawn(seed)
    # A quadratic is known from three of its values: its minimum lies at the vertex of the parabola through them.
    low, middle, high = (error(t, *case) for t in (-1, 0, 1))
    vertex = Fraction(low - high, 2 * (low + high - 2 * middle))
    for step in (Fraction(1, 100), -3):
        assert error(vertex + step, *case) > error(vertex, *case)
    arrays = [np.array(x, dtype=float) for x in case]
    assert fitted_multiple(*arrays) == pytest.approx(float(vertex), rel=1e-13, abs=1e-13)
    assert fitted_multiple(*map(torch.tensor, arrays)).item() == pytest.approx(float(vertex), rel=1e-13, abs=1e-13)
    with precision(128):
        ((low_end, high_end),) = fitted_multiple(*(Balls(np.array(x, dtype=object)) for x in case)).bounds()
        assert low_end <= vertex <= high_end
        assert high_end - low_end < Fraction(1, 10**30)


def test_a_batch_is_fitted_row_by_row():
    rows = [np.array([x[:1] * 3 for x in (drawn(s)[k] for s in range(4))], dtype=float) for k in range(3)]
    assert fitted_multiple(*rows).shape == (4,)
    for i, found in enumerate(fitted_multiple(*rows)):
        assert found == pytest.approx(fitted_multiple(*(x[i] for x in rows)), rel=1e-14)
