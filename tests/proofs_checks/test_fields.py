"""Fields: the floats that are searched, the rationals that are certified, and what either may be."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from proofs_checks.fields import Bounded, NonNegative, Positive, Real, Simplex, Unit, normalise

mpmath = pytest.importorskip("mpmath")

SHAPE = (2, 3)
FIELDS = {
    "real": Real(("m", "n")),
    "bounded": Bounded(("m", "n")),
    "unit": Unit(("m", "n")),
    "non-negative": NonNegative(("m", "n")),
    "positive": Positive(("m", "n")),
    "simplex": Simplex(("m", "n")),
    "open simplex": Simplex(("m", "n"), zeros=False),
    "narrow": Positive(("m", "n"), exponents=(-2, 2)),
}
SIGNLESS = [name for name, kind in FIELDS.items() if kind.low >= 0]
every = pytest.mark.parametrize("name", FIELDS)


def drawn(kind, batch=300, seed=1):
    """A drawn batch, then the same one driven on by mutations."""
    rng = np.random.default_rng(seed)
    raw = kind.draw(rng, batch, SHAPE)
    yield raw
    for _ in range(10):
        raw = kind.mutate(rng, raw)
        yield raw


def log_of(x):
    """The logarithm of a Fraction at 50 digits."""
    with mpmath.workdps(50):
        return float(mpmath.log(x.numerator) - mpmath.log(x.denominator))


@every
def test_floats_are_the_exact_values_rounded(name):
    kind = FIELDS[name]
    for raw in drawn(kind):
        values = kind.values(raw)
        assert values.shape == raw.shape[:-1]
        for row, value in zip(raw[:60], values, strict=False):
            exact = kind.exact(row)
            assert all(isinstance(x, Fraction) for x in exact.ravel())
            assert value == pytest.approx(np.array(exact, dtype=float), rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("name", SIGNLESS)
def test_logarithms_are_those_of_the_exact_values_however_small(name):
    kind = FIELDS[name]
    for raw in drawn(kind):
        logs = kind.logs(raw)
        for row, log in zip(raw[:40], logs, strict=False):
            for x, y in zip(kind.exact(row).ravel(), log.ravel(), strict=True):
                if x == 0:
                    assert y == -math.inf
                else:
                    assert y == pytest.approx(log_of(x), rel=1e-12, abs=1e-12)


def test_a_weight_of_ten_to_the_minus_400_keeps_its_support():
    kind = Simplex(("n",))
    raw = np.array([[[3, 0], [7, -400], [0, -5]]])
    assert kind.values(raw)[0].tolist() == [1.0, 0.0, 0.0]
    assert kind.logs(raw)[0, 1] == pytest.approx(math.log(7 / 3) - 400 * math.log(10), rel=1e-15)
    assert kind.logs(raw)[0, 2] == -math.inf
    total = 3 + Fraction(7, 10**400)
    assert kind.exact(raw[0]).tolist() == [3 / total, Fraction(7, 10**400) / total, 0]


def test_when_every_weight_is_tiny_only_their_ratios_count():
    kind = Simplex(("n",))
    raw = np.array([[[1, -400], [3, -400]]])
    assert kind.values(raw)[0] == pytest.approx([0.25, 0.75], rel=1e-13)
    assert kind.exact(raw[0]).tolist() == [Fraction(1, 4), Fraction(3, 4)]


@every
def test_draws_and_mutations_stay_permitted(name):
    kind = FIELDS[name]
    for raw in drawn(kind):
        assert raw.dtype.kind == "i"
        assert raw.shape == (300, *SHAPE, 2)
        assert (raw[..., 0] >= kind.low).all()
        assert (raw[..., 0] <= kind.high).all()
        assert (raw[..., 1] >= kind.exponents[0]).all()
        assert (raw[..., 1] <= kind.exponents[1]).all()
        assert all(kind.fault(kind.exact(row)) is None for row in raw)


@every
def test_draws_follow_their_generator(name):
    kind = FIELDS[name]
    first, second = (kind.draw(np.random.default_rng(5), 50, SHAPE) for _ in range(2))
    assert (first == second).all()
    assert (first != kind.draw(np.random.default_rng(6), 50, SHAPE)).any()


@every
def test_mutations_change_some_entries_and_spare_others(name):
    kind = FIELDS[name]
    rng = np.random.default_rng(2)
    raw = kind.draw(rng, 300, SHAPE)
    before = raw.copy()
    changed = (kind.mutate(rng, raw) != raw).any(axis=-1)
    assert (raw == before).all()
    assert 0.1 < changed.mean() < 0.9


@every
def test_draws_reach_the_special_cases(name):
    kind = FIELDS[name]
    exact = [kind.exact(row) for row in next(drawn(kind, batch=600))]
    assert any(len(set(x.ravel())) == 1 for x in exact), "all entries equal"
    assert any(len(set(x.ravel())) == x.size for x in exact), "no entries equal"
    if kind.low < 0:
        assert any((x < 0).any() for x in exact)
        assert any((x == 0).any() for x in exact)
    if name in ("simplex", "unit", "non-negative"):
        assert any((x == 0).any() for x in exact)
    if name in ("simplex", "open simplex"):
        assert any(((x > 0) & (x < Fraction(1, 10**300))).any() for x in exact)
    if name in ("bounded", "unit"):
        assert any((abs(x) == 1).any() for x in exact)


def test_a_scalar_field_is_a_fraction():
    kind = Positive()
    raw = kind.draw(np.random.default_rng(0), 4, ())
    assert raw.shape == (4, 2)
    for row, value in zip(raw, kind.values(raw), strict=True):
        assert isinstance(kind.exact(row), Fraction)
        assert value == pytest.approx(float(kind.exact(row)))
    assert Unit().exact(np.array([6, 0])) == Fraction(1, 2)


def test_repair_gives_an_empty_row_one_certain_outcome():
    empty = np.zeros((1, 3, 2), dtype=int)
    assert Simplex(("n",)).exact(Simplex(("n",)).repair(empty)[0]).tolist() == [1, 0, 0]
    kind = Simplex(("n",), zeros=False)
    assert kind.exact(kind.repair(empty)[0]).tolist() == [Fraction(1, 3)] * 3
    assert (empty == 0).all()


def array(*values):
    return np.array([Fraction(v) for v in values], dtype=object)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Positive(), Fraction(0), "is not positive: 0"),
        (Positive(("n",)), array(1, -2), "[1] is not positive: -2"),
        (NonNegative(("n",)), array(0, "-1/3"), "[1] is negative: -1/3"),
        (Bounded(("n",)), array("13/12", 0), "[0] is outside [-1, 1]: 13/12"),
        (Unit(("n",)), array("1/2", "-1/12"), "[1] is outside [0, 1]: -1/12"),
        (Simplex(("n",)), array("3/2", "-1/2"), "[1] is negative: -1/2"),
        (Simplex(("n",), zeros=False), array(1, 0), "[1] is not positive: 0"),
        (Simplex(("n",)), array("1/3", "1/3"), "sums to 2/3, expected exactly 1"),
        (Simplex(("m", "n")), np.array([array("1/2", "1/2"), array(1, 1)]), "[1] sums to 2, expected exactly 1"),
    ],
)
def test_faults_name_the_entry(kind, value, words):
    assert kind.fault(value) == words


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Real(("n",)), array(-5, "7/3")),
        (Positive(), Fraction(1, 10**400)),
        (NonNegative(("n",)), array(0, 5)),
        (Bounded(("n",)), array(-1, 1)),
        (Unit(("n",)), array(0, 1)),
        (Simplex(("n",)), array(1, 0)),
        (Simplex(("n",), zeros=False), array("1/3", "2/3")),
    ],
)
def test_what_is_right_has_no_fault(kind, value):
    assert kind.fault(value) is None


def test_weights_order_numbers_as_a_reader_would():
    kind = Real()
    weights = [kind.weight(Fraction(x)) for x in ("0", "1", "-1", "2", "1/2", "10", "355/113", "123456/7919")]
    assert weights[0] == 0
    assert weights == sorted(weights)
    assert weights[1] < weights[2]
    assert Simplex(("n",)).weight(array("1/3", "1/3", "1/3")) == 0
    assert 0 < Simplex(("n",)).weight(array(0, 1)) < Simplex(("n",)).weight(array("1/7", "6/7"))


@every
def test_simpler_values_are_arrays_of_fractions_of_the_same_shape(name):
    kind = FIELDS[name]
    value = kind.exact(kind.draw(np.random.default_rng(3), 1, SHAPE)[0])
    before = value.copy()
    proposals = list(kind.simpler(value))
    assert proposals
    for proposal in proposals:
        assert np.shape(proposal) == SHAPE
        assert all(isinstance(x, Fraction) for x in np.asarray(proposal).ravel())
    assert (value == before).all()


@pytest.mark.parametrize("zeros", [True, False])
def test_simpler_probabilities_are_probabilities(zeros):
    kind = Simplex(("m", "n"), zeros=zeros)
    for raw in drawn(kind, batch=20):
        for proposal in kind.simpler(kind.exact(raw[0])):
            assert kind.fault(proposal) is None


def test_the_simplest_probabilities_come_first():
    proposals = list(Simplex(("n",)).simpler(array("17/100", "83/100")))
    assert proposals[0].tolist() == [Fraction(1, 2)] * 2
    assert [1, 0] in [p.tolist() for p in proposals]
    assert [0, 1] in [p.tolist() for p in proposals]
    assert [Fraction(1, 5), Fraction(4, 5)] in [p.tolist() for p in proposals]


def test_large_numbers_are_rounded_to_one_digit_and_halved():
    proposals = list(Real().simpler(Fraction(4_321_987)))
    assert Fraction(4_000_000) in proposals
    assert Fraction(2_160_993) in proposals
    assert Fraction(0) in proposals


def test_normalise_divides_each_row_exactly():
    rows = normalise(np.array([array(1, 2), array(3, 1)]))
    assert rows.tolist() == [[Fraction(1, 3), Fraction(2, 3)], [Fraction(3, 4), Fraction(1, 4)]]


def test_a_field_is_a_value():
    assert Positive(("n",)) == Positive(("n",))
    assert replace(Positive(("n",)), exponents=(0, 0)) != Positive(("n",))
