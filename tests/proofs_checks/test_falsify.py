"""The search: margins by hand, planted violations of several subtleties, and streams that depend on the seed alone."""

import math

import numpy as np
import pytest

from proofs_checks.claim import Check, Reading
from proofs_checks.falsify import FULL, PROFILES, QUICK, SUSPICIOUS, Budget, evaluate, margins, search
from proofs_checks.fields import Bounded, Positive, Real, Simplex
from proofs_checks.instances import Space

INF, NAN = math.inf, math.nan
BUDGET = Budget(draws=400, generations=12, population=200)
PAIR = Space({"x": Real(("n",))}, {"n": (2,)})


def reading(space, sides):
    return Reading("toy", "literal", (), space, sides, "c")


def seed(n=0):
    return np.random.SeedSequence(n)


def margin(left, relation, right, **options):
    return margins([Check("c", np.asarray([left]), relation, np.asarray([right]), **options)], 1)[0]


@pytest.mark.parametrize(
    ("left", "relation", "right", "expected"),
    [
        (3.0, "<=", 1.0, -2 / 4),
        (1.0, "<=", 3.0, 2 / 4),
        (3.0, ">=", 1.0, 2 / 4),
        (1.0, ">=", 3.0, -2 / 4),
        (3.0, "==", 1.0, -2 / 4),
        (1.0, "==", 3.0, -2 / 4),
        (3.0, "<", 1.0, -2 / 4),
        (1.0, ">", 3.0, -2 / 4),
        (1.0, "<", 3.0, 2 / 4),
        (2.0, "<=", 2.0, 0.0),
        (2.0, ">=", 2.0, 0.0),
        (2.0, "==", 2.0, 0.0),
        (2.0, "<", 2.0, -1.0),
        (2.0, ">", 2.0, -1.0),
        (0.0, "<=", 0.0, 0.0),
        (-3.0, "<=", -1.0, 2 / 4),
        (INF, "<=", 1.0, -1.0),
        (INF, ">=", 1.0, 1.0),
        (-INF, ">=", 1.0, -1.0),
        (-INF, "<=", INF, 1.0),
        (INF, "<=", -INF, -1.0),
        (INF, "==", INF, 0.0),
        (-INF, "==", -INF, 0.0),
        (INF, "==", 0.0, -1.0),
        (INF, "<=", INF, 0.0),
        (INF, "<", INF, -1.0),
        (1e308, "<=", -1e308, -1.0),
        (1e-320, "<=", 0.0, -1.0),
    ],
)
def test_margins_by_hand(left, relation, right, expected):
    assert margin(left, relation, right, scale=0.0) == pytest.approx(expected)


@pytest.mark.parametrize("relation", ["==", "<=", ">=", "<", ">"])
@pytest.mark.parametrize(("left", "right"), [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (NAN, INF)])
def test_what_floats_cannot_evaluate_has_no_margin(left, relation, right):
    assert math.isnan(margin(left, relation, right))


def test_the_scale_is_the_size_that_rounding_is_relative_to():
    assert margin(3.0, "<=", 1.0, scale=4.0) == pytest.approx(-2 / 8)
    assert margin(3.0, "<=", 1.0) == pytest.approx(-2 / 5)
    tiny = margin(1e-10, "<=", 0.0, scale=1e6)
    assert SUSPICIOUS < tiny < 0


def test_each_instance_has_the_margin_of_its_worst_component():
    left = np.array([[1.0, 2.0], [5.0, 1.0], [NAN, 9.0]])
    result = margins([Check("c", left, "<=", 2.0, scale=np.array([0.0, 1.0, 1.0]))], 3)
    assert result[:2] == pytest.approx([0.0, -3 / 8])
    assert math.isnan(result[2])


def test_the_worst_check_counts_and_a_check_without_value_leaves_none():
    one = Check("a", np.array([1.0, 3.0, 1.0]), "<=", 2.0)
    two = Check("b", np.array([3.0, 1.0, NAN]), "<=", 2.0)
    for checks in ([one, two], [two, one]):
        result = margins(checks, 3)
        assert result[:2] == pytest.approx([-1 / 6, -1 / 6])
        assert math.isnan(result[2])


def test_nothing_asserted_is_no_violation():
    assert margins([], 3).tolist() == [INF] * 3


def test_a_constant_side_stands_for_the_whole_batch():
    assert margins([Check("c", 3.0, "<=", 1.0)], 4) == pytest.approx([-2 / 5] * 4)


@pytest.mark.parametrize(
    ("given", "asserted"),
    [
        ((1.0, "<", 2.0), True),
        ((2.0, "<", 1.0), False),
        ((2.0, ">", 1.0), True),
        ((1.0, ">=", 2.0), False),
        ((2.0, "<", 2.0), False),
        ((NAN, "<", 1.0), False),
        ((INF, ">", 1.0), True),
    ],
)
def test_a_check_whose_condition_fails_says_nothing(given, asserted):
    left, relation, right = given
    condition = ((np.array([left, 1.0]), relation, np.array([right, 1.0])),)
    result = margins([Check("c", np.array([3.0, 3.0]), "<=", 1.0, given=condition)], 2)
    assert result[0] == (pytest.approx(-2 / 5) if asserted else INF)


@pytest.mark.parametrize("relation", ["==", "<=", ">="])
def test_a_condition_that_holds_with_equality_is_given(relation):
    condition = ((np.array([2.0]), relation, np.array([2.0])),)
    assert margins([Check("c", np.array([3.0]), "<=", 1.0, given=condition)], 1)[0] == pytest.approx(-2 / 5)


def test_conditions_of_several_components_must_all_hold():
    condition = ((np.array([[1.0, 2.0], [1.0, 0.0]]), ">", 0.5),)
    result = margins([Check("c", np.array([3.0, 3.0]), "<=", 1.0, given=condition)], 2)
    assert result.tolist() == [pytest.approx(-2 / 5), INF]


def test_a_constant_condition_stands_for_the_whole_batch():
    check = Check("c", np.array([3.0, 3.0]), "<=", 1.0, given=((0.0, "<", 1.0),))
    assert margins([check], 2) == pytest.approx([-2 / 5] * 2)


SIMPLEX = Space({"p": Simplex(("n",)), "r": Real(("n",)), "t": Positive()}, {"n": (2, 3)})
PLANTED = {
    "half of all instances": (PAIR, lambda p: (p.x[..., 0], "<=", p.x[..., 1])),
    "equal entries": (PAIR, lambda p: (abs(p.x[..., 0] - p.x[..., 1]), ">", 0)),
    "strict at the boundary": (PAIR, lambda p: (p.x[..., 0] ** 2 + p.x[..., 1] ** 2, ">", 0)),
    "near the largest sizes": (PAIR, lambda p: (p.x[..., 0] + p.x[..., 1], "<=", 190 * 10**6)),
    "a narrow ratio": (
        Space({"x": Positive(("n",))}, {"n": (2,)}),
        lambda p: (p.x[..., 0] / p.x[..., 1], ">=", 1e-7),
    ),
    "one corner of a cube": (
        Space({"x": Bounded(("n",))}, {"n": (4,)}),
        lambda p: (p.x[..., 0] + p.x[..., 1] - p.x[..., 2] - p.x[..., 3], "<=", 3.9),
    ),
    "a small defect in an identity": (PAIR, lambda p: (p.x[..., 0] * (1 + 1e-8), "==", p.x[..., 0])),
    "a probability of zero": (SIMPLEX, lambda p: (p.p[..., 0], ">", 0)),
    "a tiny but positive probability": (
        SIMPLEX,
        lambda p: Check("c", -p.log_p[..., 0], "<=", 700.0, given=((p.log_p[..., 0], ">", -1e300),)),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_violations_are_found(name):
    space, sides = PLANTED[name]
    planted = reading(space, sides)
    found = search(planted, seed(), QUICK)
    assert found.worst_margin < SUSPICIOUS
    assert found.suspects
    assert found.suspects[0][0] == found.worst_margin
    assert all(space.permits(instance) for _, instance in found.suspects)


def test_mutation_finds_what_drawing_alone_does_not():
    planted = reading(*PLANTED["near the largest sizes"])
    drawn = search(planted, seed(), Budget(draws=2_000, generations=0, population=1_000))
    assert not drawn.suspects
    driven = search(planted, seed(), Budget(draws=500, generations=40, population=400))
    total = [sum(instance["x"]) for _, instance in driven.suspects]
    assert total
    assert min(total) > 190 * 10**6


def test_a_true_relation_raises_no_suspicion():
    true = reading(PAIR, lambda p: Check("c", (p.x[..., 0] - p.x[..., 1]) ** 2, ">=", 0))
    found = search(true, seed(), BUDGET)
    assert found.suspects == []
    assert found.worst_margin == 0


def test_what_has_no_value_in_floats_is_suspected_last_and_is_no_margin():
    def sides(p):
        x = p.x[..., 0]
        return np.where(x > 3, np.nan, x), "<=", 2

    found = search(reading(PAIR, sides), seed(), BUDGET)
    margin_of = [m for m, _ in found.suspects]
    settled = [m for m in margin_of if not math.isnan(m)]
    assert settled == sorted(settled)
    assert margin_of[: len(settled)] == settled
    assert math.isfinite(found.worst_margin)
    nothing = search(reading(PAIR, lambda p: (p.x[..., 0] * np.nan, "<=", 2)), seed(), BUDGET)
    assert len(nothing.suspects) == 2 * BUDGET.suspects  # arbitrary instances, and levelled ones
    assert nothing.worst_margin == INF


def test_a_check_that_asserts_nothing_raises_no_suspicion():
    given = reading(PAIR, lambda p: Check("c", p.x[..., 0], "<", p.x[..., 0], given=((p.x[..., 0], ">", 1e9),)))
    found = search(given, seed(), BUDGET)
    assert found.suspects == []
    assert found.worst_margin == INF


@pytest.mark.parametrize("sizes", [(2,), (1, 2, 5)])
def test_budgets_count_evaluations(sizes):
    seen = []

    def sides(p):
        seen.append(len(p.x))
        return p.x[..., 0], "<=", 0

    space = Space({"x": Real(("n",))}, {"n": sizes})
    found = search(reading(space, sides), seed(), Budget(draws=4_500, generations=3, population=400, swept=4))
    assert found.instances == sum(seen) == len(sizes) * (4_500 + 2_250 + 2 * 3 * 100)  # levelled ones: half
    assert max(seen) <= 2_000
    assert len(found.swept) == 4 * len(sizes)
    assert len(found.suspects) == 2 * 4 * len(sizes)


def plain(found, space):
    return (
        found.instances,
        found.worst_margin,
        [(m, space.to_json(i)) for m, i in found.suspects],
        [space.to_json(i) for i in found.swept],
    )


def test_the_search_follows_its_seed_and_nothing_else():
    planted = reading(*PLANTED["a tiny but positive probability"])
    first = plain(search(planted, seed(3), BUDGET), SIMPLEX)
    search(reading(PAIR, lambda p: (p.x[..., 0], "<=", 0)), seed(8), BUDGET)
    np.random.seed(0)  # the global generator must not matter
    assert plain(search(planted, seed(3), BUDGET), SIMPLEX) == first
    assert plain(search(planted, seed(4), BUDGET), SIMPLEX) != first


def test_evaluate_is_the_margin_of_the_readings_checks():
    space = Space({"x": Real()})
    batch = space.draw(np.random.default_rng(0), 50, {})
    x = batch.problem().x
    result = evaluate(reading(space, lambda p: (p.x, "<=", 1)), batch)
    assert result == pytest.approx((1 - x) / (abs(x) + 2))


def test_the_full_profile_tries_more_of_everything():
    assert PROFILES == {"quick": QUICK, "full": FULL}
    for name in ("draws", "generations", "population", "swept"):
        assert getattr(FULL, name) > getattr(QUICK, name)
