"""Spaces: batches in floats, instances in rationals, problems in balls; what is permitted and refused."""

import copy
import json
import math
from fractions import Fraction

import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.number_systems.balls import precision
from proofs_checks.fields import Bounded, NonNegative, Positive, Real, Simplex
from proofs_checks.instances import Problem, Space

SPACE = Space(
    {
        "policy": Simplex(("S", "n")),
        "positive": Simplex(("n",), zeros=False),
        "returns": Real(("n",)),
        "bounded": Bounded(("S",)),
        "tau": Positive(),
        "tau_prime": NonNegative(),
    },
    {"S": (1, 2), "n": (1, 2, 3), "K": (1, 2, 4)},
    counts=("K",),
)
HALF = Fraction(1, 2)


def instances(seed=0, batch=30, rounds=3):
    rng = np.random.default_rng(seed)
    for sizes in SPACE.combinations():
        drawn = SPACE.draw(rng, batch, sizes)
        for _ in range(rounds):
            yield from (drawn.exact(i) for i in range(len(drawn)))
            drawn = drawn.mutated(rng)


def example(**changes):
    instance = {
        "policy": np.array([[HALF, HALF], [Fraction(1), Fraction(0)]], dtype=object),
        "positive": np.array([Fraction(1, 3), Fraction(2, 3)], dtype=object),
        "returns": np.array([Fraction(-3), Fraction(7, 2)], dtype=object),
        "bounded": np.array([Fraction(1), Fraction(-1, 12)], dtype=object),
        "tau": Fraction(1, 10**400),
        "tau_prime": Fraction(0),
        "K": 2,
    }
    return instance | changes


def test_combinations_come_small_first_and_all_of_them():
    combinations = list(SPACE.combinations())
    assert combinations[0] == {"S": 1, "n": 1, "K": 1}
    assert combinations[-1] == {"S": 2, "n": 3, "K": 4}
    sums = [sum(c.values()) for c in combinations]
    assert sums == sorted(sums)
    assert len({tuple(c.items()) for c in combinations}) == len(combinations) == 2 * 3 * 3
    assert list(Space({"x": Real()}).combinations()) == [{}]


def test_what_is_drawn_or_mutated_is_permitted():
    for instance in instances():
        SPACE.refuse_faults(instance)
        assert SPACE.permits(instance)


def test_a_mutation_touches_one_field_of_each_instance():
    rng = np.random.default_rng(4)
    batch = SPACE.draw(rng, 300, {"S": 2, "n": 3, "K": 1})
    children = batch.mutated(rng)
    touched = np.array(
        [(batch.raw[name] != children.raw[name]).reshape(300, -1).any(axis=1) for name in batch.raw], dtype=int
    )
    assert touched.sum(axis=0).max() == 1
    assert touched.sum(axis=0).mean() > 0.4
    assert (touched.sum(axis=1) > 0).all()


def test_rows_are_taken_with_all_their_fields():
    batch = SPACE.draw(np.random.default_rng(0), 20, {"S": 1, "n": 2, "K": 4})
    taken = batch.take([7, 7, 3])
    assert len(taken) == 3
    assert [SPACE.to_json(taken.exact(i)) for i in range(3)] == [SPACE.to_json(batch.exact(i)) for i in (7, 7, 3)]


def test_json_gives_the_same_instance_back():
    for instance in instances(seed=1, batch=10):
        text = json.dumps(SPACE.to_json(instance))
        again = SPACE.from_json(json.loads(text))
        assert list(again) == list(instance)
        for name, value in instance.items():
            assert np.array_equal(again[name], value)
            assert isinstance(again[name], type(value))
        assert json.dumps(SPACE.to_json(again)) == text


def test_rationals_are_printed_in_lowest_terms():
    printed = SPACE.to_json(example())
    assert printed["policy"] == [["1/2", "1/2"], ["1", "0"]]
    assert printed["returns"] == ["-3", "7/2"]
    assert printed["tau"] == "1/1" + "0" * 400
    assert printed["K"] == 2
    for instance in instances(seed=2, batch=5):
        for text in np.array(SPACE.to_json(instance)["policy"]).ravel():
            assert text == str(Fraction(text))


def test_other_spellings_are_read_as_the_same_number():
    data = SPACE.to_json(example()) | {"returns": ["-6/2", 3.5]}
    assert SPACE.from_json(data)["returns"].tolist() == [-3, Fraction(7, 2)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tau": "0"}, r"^tau is not positive: 0$"),
        ({"tau_prime": "-1/7"}, r"^tau_prime is negative: -1/7$"),
        ({"policy": [["1/2", "1/2"], ["1/2", "1/3"]]}, r"^policy \[1\] sums to 5/6, expected exactly 1$"),
        ({"policy": [["1/2", "1/2"], ["-1", "2"]]}, r"^policy \[1, 0\] is negative: -1$"),
        ({"positive": ["0", "1"]}, r"^positive \[0\] is not positive: 0$"),
        ({"positive": ["1/4", "1/4"]}, r"^positive sums to 1/2, expected exactly 1$"),
        ({"bounded": ["0", "2"]}, r"^bounded \[1\] is outside \[-1, 1\]: 2$"),
        ({"returns": ["0", "0", "0"]}, r"^returns has shape \(3,\): expected \(2,\)$"),
        ({"tau": ["1"]}, r"^tau has shape \(1,\): expected \(\)$"),
        ({"tau": "1/0"}, r"^tau is no array of rationals"),
        ({"tau": "one"}, r"^tau is no array of rationals"),
        ({"tau": None}, r"^tau is no array of rationals"),
        ({"tau": math.nan}, r"^tau is no array of rationals"),
        ({"tau": math.inf}, r"^tau is no array of rationals"),
        ({"tau": {"a": 1}}, r"^tau is no array of rationals"),
        ({"policy": [["1"], ["1/2", "1/2"]]}, r"^policy is no array of rationals"),
        ({"K": 2.0}, r"^K is 2.0: expected a whole number$"),
        ({"K": True}, r"^K is True: expected a whole number$"),
        ({"K": "2"}, r"^K is '2': expected a whole number$"),
        ({"K": 0}, r"^K is 0: expected at least 1$"),
        ({"sigma": "1"}, r"the instance has fields .*'sigma'.*: expected"),
    ],
)
def test_refusals_name_the_entry(changes, words):
    with pytest.raises(ExactRLError, match=words):
        SPACE.from_json(SPACE.to_json(example()) | changes)


def test_a_missing_field_is_named():
    data = SPACE.to_json(example())
    del data["tau"]
    with pytest.raises(ExactRLError, match=r"expected .*'tau'"):
        SPACE.from_json(data)


def test_an_instance_without_entries_is_refused():
    space = Space({"returns": Real(("n",))}, {"n": (1, 2)})
    with pytest.raises(ExactRLError, match=r"^n is 0: expected at least 1$"):
        space.from_json({"returns": []})


def test_floats_see_what_balls_enclose():
    for sizes in ({"S": 2, "n": 3, "K": 2}, {"S": 1, "n": 1, "K": 1}):
        batch = SPACE.draw(np.random.default_rng(9), 40, sizes)
        floats = batch.problem()
        assert (floats.K, floats.n) == (sizes["K"], sizes["n"])
        for i in range(len(batch)):
            instance = batch.exact(i)
            with precision(128):
                balls = SPACE.problem(instance)
                assert (balls.K, balls.n) == (sizes["K"], sizes["n"])
                for name in SPACE.fields:
                    ball, exact = getattr(balls, name), np.ravel(instance[name])
                    assert all(low <= x <= high for (low, high), x in zip(ball.bounds(), exact, strict=True))
                    assert np.ravel(getattr(floats, name)[i]) == pytest.approx(
                        exact.astype(float), rel=1e-11, abs=1e-300
                    )
                for name in ("policy", "positive", "tau", "tau_prime"):
                    logs = getattr(balls, f"log_{name}").data.ravel()
                    assert np.ravel(getattr(floats, f"log_{name}")[i]) == pytest.approx(
                        [float(x.mid()) for x in logs], rel=1e-12, abs=1e-12
                    )
                    support = np.ravel(getattr(balls, f"support_{name}"))
                    assert support.tolist() == [bool(x > 0) for x in np.ravel(instance[name])]
                    assert support.tolist() == np.ravel(getattr(floats, f"support_{name}")[i]).tolist()
                assert not hasattr(balls, "log_returns")


def test_a_problem_names_what_it_lacks_and_can_be_copied():
    problem = Problem({"n": 2}, {"tau": 1.0, "returns": 2.0})
    with pytest.raises(AttributeError, match=r"no 'theta': it has \['returns', 'tau'\]"):
        _ = problem.theta
    assert copy.copy(problem).tau == 1.0


def test_smaller_instances_are_permitted_or_refused_and_never_an_accident():
    seen = 0
    for instance in instances(seed=3, batch=2, rounds=2):
        before = SPACE.to_json(instance)
        for proposal in SPACE.smaller(instance):
            assert SPACE.permits(proposal) in (True, False)
            seen += SPACE.permits(proposal)
        assert SPACE.to_json(instance) == before
    assert seen > 100


def test_dropping_an_outcome_renormalises_and_drops_it_everywhere():
    instance = example(policy=np.array([[HALF, HALF], [Fraction(1, 4), Fraction(3, 4)]], dtype=object))
    proposals = [SPACE.to_json(p) for p in SPACE.smaller(instance) if SPACE.permits(p)]
    dropped = [p for p in proposals if len(p["returns"]) == 1]
    assert [p["returns"] for p in dropped] == [["7/2"], ["-3"]]
    assert all(p["policy"] == [["1"], ["1"]] and p["positive"] == ["1"] for p in dropped)
    fewer = [p for p in proposals if len(p["policy"]) == 1]
    assert [p["policy"] for p in fewer] == [[["1/4", "3/4"]], [["1/2", "1/2"]]]
    assert [p["bounded"] for p in fewer] == [["-1/12"], ["1"]]
    assert {p["K"] for p in proposals} == {1, 2}


def test_an_outcome_that_carries_all_probability_is_not_dropped():
    proposals = [SPACE.to_json(p) for p in SPACE.smaller(example())]
    assert all(p["policy"][-1] != ["0"] for p in proposals)


def test_the_last_entry_is_never_dropped():
    space = Space({"returns": Real(("n",))}, {"n": (1, 2)})
    one = {"returns": np.array([Fraction(5)], dtype=object)}
    assert all(len(p["returns"]) == 1 for p in space.smaller(one))


def test_a_square_field_loses_a_row_and_the_same_column():
    space = Space({"kernel": Simplex(("S", "S"))}, {"S": (1, 2, 3)})
    third = Fraction(1, 3)
    kernel = np.full((3, 3), third, dtype=object)
    smaller = [p for p in space.smaller({"kernel": kernel}) if p["kernel"].shape == (2, 2) and space.permits(p)]
    assert len(smaller) == 3
    assert smaller[0]["kernel"].tolist() == [[HALF, HALF], [HALF, HALF]]
