"""Shrinking: the smallest instances of planted predicates are found, none that is forbidden, in bounded attempts."""

from fractions import Fraction

import numpy as np
import pytest

from proofs_checks.fields import NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Space
from proofs_checks.shrink import complexity, shrink

SPACE = Space(
    {"p": Simplex(("n",)), "r": Real(("n",)), "t": Positive(), "u": NonNegative()},
    {"n": (1, 2, 3, 5), "K": (1, 2, 4)},
    counts=("K",),
)


def drawn(seed, n=5, K=4, space=SPACE):
    return space.draw(np.random.default_rng(seed), 1, {"n": n, "K": K}).exact(0)


def start(holds, n=5, K=4, space=SPACE):
    """The first drawn instances that satisfy the predicate."""
    found = [i for i in (drawn(s, n, K, space) for s in range(400)) if holds(i)]
    assert len(found) >= 3
    return found[:3]


def always(instance):
    return True


def two_outcomes(i):
    return len(i["r"]) >= 2


def more_than_three(i):
    return max(i["r"]) > 3


def ordered(i):
    return len(i["r"]) >= 2 and i["r"][0] > i["r"][1]


def two_samples(i):
    return i["K"] >= 2


def temperatures_above_one(i):
    return i["t"] + i["u"] > 1


def a_zero_probability(i):
    return min(i["p"]) == 0


def uneven(i):
    return len(set(i["p"])) > 1 and min(i["p"]) > 0


def negative(i):
    return min(i["r"]) < 0


ONE = {"p": ["1"], "r": ["0"], "t": "1", "u": "0", "K": 1}
SMALLEST = {
    always: ONE,
    two_outcomes: ONE | {"p": ["1/2", "1/2"], "r": ["0", "0"]},
    more_than_three: ONE | {"r": ["4"]},
    two_samples: ONE | {"K": 2},
    a_zero_probability: ONE | {"p": ["0", "1"], "r": ["0", "0"]},
    negative: ONE | {"r": ["-1"]},
}


@pytest.mark.parametrize("holds", SMALLEST, ids=lambda f: f.__name__)
def test_the_smallest_instance_is_found(holds):
    expected = SMALLEST[holds]
    for instance in start(holds):
        smallest = SPACE.to_json(shrink(SPACE, instance, holds))
        if holds is a_zero_probability:
            smallest["p"].sort()
        assert smallest == expected


@pytest.mark.parametrize("holds", [ordered, temperatures_above_one, uneven], ids=lambda f: f.__name__)
def test_where_several_are_smallest_one_of_few_numbers_is_found(holds):
    for instance in start(holds):
        smallest = shrink(SPACE, instance, holds)
        assert holds(smallest)
        assert SPACE.permits(smallest)
        assert smallest["K"] == 1
        assert len(smallest["r"]) == (1 if holds is temperatures_above_one else 2)
        assert all(abs(x) <= 2 for x in smallest["r"])
        assert all(x.denominator <= 5 for x in smallest["p"])
        assert smallest["t"] + smallest["u"] <= 2


def test_large_numbers_fall_to_their_first_digit_and_below():
    space = Space({"x": Real()})
    large = {"x": Fraction(73_456_789)}
    assert shrink(space, large, lambda i: i["x"] > 0)["x"] == 1
    assert 1_000 < shrink(space, large, lambda i: i["x"] > 1_000)["x"] <= 2_000
    ugly = {"x": Fraction(355, 113)}
    assert shrink(space, ugly, lambda i: i["x"] > Fraction(1, 3))["x"] == 1
    assert shrink(space, ugly, lambda i: i["x"].denominator > 1)["x"] == Fraction(1, 2)


def test_the_predicate_is_asked_of_permitted_instances_only_and_each_once():
    asked = []

    def holds(instance):
        asked.append(repr(SPACE.to_json(instance)))
        assert SPACE.permits(instance)
        return more_than_three(instance)

    shrink(SPACE, start(more_than_three)[0], holds)
    assert len(asked) == len(set(asked)) > 3


def test_the_result_never_grows_and_the_start_is_kept_as_it_was():
    for seed in range(10):
        instance = drawn(seed)
        before = SPACE.to_json(instance)
        result = shrink(SPACE, instance, uneven)
        assert SPACE.to_json(instance) == before
        assert complexity(SPACE, result) <= complexity(SPACE, instance)


def test_what_cannot_be_shrunk_is_returned():
    instance = drawn(3)
    assert shrink(SPACE, instance, lambda i: False) is instance
    minimal = SPACE.from_json(ONE)
    assert SPACE.to_json(shrink(SPACE, minimal, always)) == ONE


@pytest.mark.parametrize("attempts", [0, 1, 7, 40])
def test_attempts_bound_the_evaluations(attempts):
    asked = 0

    def holds(instance):
        nonlocal asked
        asked += 1
        return asked % 5 == 0

    shrink(SPACE, drawn(1), holds, attempts=attempts)
    assert asked <= attempts


def test_fewer_numbers_come_before_shorter_ones():
    one = SPACE.from_json(ONE)
    long = SPACE.from_json(ONE | {"r": ["98765/43"]})
    two = SPACE.from_json(SMALLEST[two_outcomes])
    more = SPACE.from_json(ONE | {"K": 4})
    assert complexity(SPACE, one) < complexity(SPACE, long) < complexity(SPACE, two)
    assert complexity(SPACE, one) < complexity(SPACE, more)


def test_shrinking_needs_no_luck():
    instance = start(uneven)[0]
    assert SPACE.to_json(shrink(SPACE, instance, uneven)) == SPACE.to_json(shrink(SPACE, instance, uneven))
