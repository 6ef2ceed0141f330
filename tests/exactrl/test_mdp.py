"""The model: what goes in comes out number for number, and what does not fit is refused by its entry."""

import copy
import json
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from exactrl.entries import Numbers, read_numbers
from exactrl.errors import ExactRLError, Uncertain
from exactrl.mdp import FiniteMDP
from exactrl.tables import SparseTable

HALF, THIRD = Fraction(1, 2), Fraction(1, 3)
STAY = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
MIXED = [[[0.5, 0.5], [1.0, 0.0]], [[0.25, 0.75], [0.0, 1.0]]]
REWARDS = [[1.0, 2.0], [3.0, -4.0]]


def model(transitions=MIXED, rewards=REWARDS, **options):
    return FiniteMDP(transitions, rewards, **({"horizon": 3} | options))


@st.composite
def models(draw):
    """Small random models, exact or not, dense or sparse, every form of rewards and initial law."""
    n_states, n_actions = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    exact = draw(st.booleans())
    floats = st.floats(-1e300, 1e300, allow_nan=False)
    number = st.fractions(-5, 5, max_denominator=10**6) if exact else floats

    def law():
        weights = draw(st.lists(st.integers(0, 50), min_size=n_states, max_size=n_states).filter(any))
        return [Fraction(w, sum(weights)) if exact else w / sum(weights) for w in weights]

    shape = (n_states, n_actions) if draw(st.booleans()) else (n_states, n_actions, n_states)
    size = int(np.prod(shape))
    rewards = np.array([*draw(st.lists(number, min_size=size, max_size=size)), None], dtype=object)[:-1]
    initial = draw(st.sampled_from(["none", "index", "law"]))
    mdp = FiniteMDP(
        [[law() for _ in range(n_actions)] for _ in range(n_states)],
        rewards.reshape(shape),
        horizon=draw(st.integers(1, 9)),
        discount=draw(st.sampled_from([1, 1.0, 0, "9/10", 0.9, Fraction(1, 7)])),
        initial={"none": None, "index": 0, "law": law()}[initial],
    )
    return mdp.sparse() if draw(st.booleans()) else mdp


# What comes out


def test_a_float_model_keeps_its_numbers():
    mdp = model(discount=0.9, initial=[0.25, 0.75])
    assert (mdp.n_states, mdp.n_actions, mdp.horizon, mdp.discount) == (2, 2, 3, 0.9)
    assert np.array_equal(mdp.transitions, MIXED)
    assert np.array_equal(mdp.rewards, REWARDS)
    assert np.array_equal(mdp.initial, [0.25, 0.75])
    assert not mdp.exact
    assert mdp.transitions.dtype == mdp.rewards.dtype == mdp.initial.dtype == np.float64


def test_floats_mean_their_exact_binary_values():
    mdp = model([[[0.1, 0.9], [0.5, 0.5]], [[1.0, 0.0], [0.3, 0.7]]], discount=0.1)
    assert mdp.transitions_exact[0, 0, 0] == Fraction(0.1) != Fraction(1, 10)
    assert mdp.rewards_exact[1, 1] == -4
    assert mdp.discount_exact == Fraction(0.1)


def test_rationals_of_every_kind_stay_exact():
    mdp = FiniteMDP([[["1/3", Fraction(2, 3)], [1, 0]], [["0.25", " 3/4 "], [np.int64(0), "1"]]], [[1, "-1/7"], [2, 3]],
                    discount="9/10", initial=["1/3", "2/3"])  # fmt: skip
    assert mdp.exact
    assert mdp.transitions_exact[0, 0, 0] == THIRD
    assert mdp.transitions_exact[1, 0].tolist() == [Fraction(1, 4), Fraction(3, 4)]
    assert mdp.rewards_exact[0, 1] == Fraction(-1, 7)
    assert mdp.initial_exact.tolist() == [THIRD, 2 * THIRD]
    assert mdp.discount_exact == Fraction(9, 10)
    assert mdp.transitions[0, 0, 0] == 1 / 3
    assert all(type(value) is Fraction for value in mdp.transitions_exact.flat)


@pytest.mark.parametrize("part", ["transitions", "rewards", "initial"])
def test_one_float_makes_a_model_inexact(part):
    parts = {"transitions": STAY, "rewards": [[1, 2], [3, 4]], "initial": [1, 0]}
    assert FiniteMDP(**parts, horizon=1).exact
    floats = np.array(parts[part], dtype=object)
    floats[(0,) * floats.ndim] = 1.0
    assert not FiniteMDP(**{**parts, part: floats}, horizon=1).exact


def test_integer_arrays_are_exact_beyond_the_floats_too():
    mdp = model(np.array(STAY), np.array([[2**53 + 1, 0], [1, 2]]))
    assert mdp.exact
    assert mdp.rewards_exact[0, 0] == 2**53 + 1
    assert mdp.rewards[0, 0] == 2.0**53


def test_probabilities_below_the_floats_keep_their_support():
    tiny = Fraction(1, 10**1000)
    mdp = FiniteMDP([[[tiny, 1 - tiny]], [[0, 1]]], [[0], [0]], horizon=2)
    assert mdp.transitions[0, 0, 0] == 0
    assert mdp.sparse().dense().transitions_exact[0, 0, 0] == tiny
    assert not mdp.is_deterministic
    assert FiniteMDP.from_dict(mdp.sparse().to_dict()) == mdp


def test_the_initial_law_is_uniform_a_point_or_given():
    assert model().initial_exact.tolist() == [HALF, HALF]
    assert model(initial=1).initial.tolist() == [0.0, 1.0]
    assert model(initial=np.int32(0)).initial_exact.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("transitions", "initial", "expected"),
    [(STAY, 0, True), (STAY, None, False), (MIXED, 0, False), (np.array(STAY, float), [0.0, 1.0], True)],
)
def test_deterministic_means_point_masses_everywhere(transitions, initial, expected):
    assert model(transitions, initial=initial).is_deterministic is expected
    assert model(transitions, initial=initial).sparse().is_deterministic is expected


def test_a_single_outcome_just_below_one_is_no_point_mass():
    assert not FiniteMDP([[[1 - 1e-12]]], [[0.0]], horizon=1).is_deterministic


@given(models())
def test_expectations_agree_with_plain_sums_dense_and_sparse(mdp):
    probabilities, rewards = mdp.transitions_exact, mdp.rewards_exact
    for s, a in np.ndindex(mdp.n_states, mdp.n_actions):
        row = range(mdp.n_states)
        expected = rewards[s, a] if rewards.ndim == 2 else sum(probabilities[s, a, n] * rewards[s, a, n] for n in row)
        assert mdp.expected_rewards_exact[s, a] == expected
        assert mdp.expected_rewards[s, a] == pytest.approx(float(expected), rel=1e-12, abs=1e-12 * _size(rewards))
    values = np.arange(mdp.n_states) + 1.0
    following = np.array([[sum(probabilities[s, a] * [Fraction(v) for v in values]) for a in range(mdp.n_actions)]
                          for s in range(mdp.n_states)], dtype=float)  # fmt: skip
    np.testing.assert_allclose(mdp.expect_next(values), following, rtol=1e-12)
    np.testing.assert_allclose(mdp.expect_next(np.stack([values, -values], 1))[..., 1], -following, rtol=1e-12)


# Sparse models


@given(models())
def test_dense_and_sparse_are_one_model(mdp):
    dense, sparse = mdp.dense(), mdp.sparse()
    assert (dense.is_sparse, sparse.is_sparse) == (False, True)
    assert dense == sparse == mdp
    assert hash(dense) == hash(sparse)
    assert sparse.dense().exact == dense.exact == sparse.exact
    assert np.array_equal(sparse.transitions.toarray().reshape(dense.transitions.shape), dense.transitions)
    assert np.array_equal(sparse.transitions_exact, dense.transitions_exact)
    assert np.array_equal(sparse.rewards_exact, dense.rewards_exact)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array", "lil_matrix"])
def test_every_scipy_format_is_read(kind):
    matrix = getattr(scipy.sparse, kind)(np.array(MIXED).reshape(4, 2))
    assert model(matrix) == model()
    assert model(matrix).is_sparse


def test_sparse_integers_are_exact_and_repeated_places_add_up():
    twice = scipy.sparse.coo_array(([0.5, 0.5, 1.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert FiniteMDP(twice, [[0], [0]], horizon=1).transitions.toarray().tolist() == [[0, 1], [1, 0]]
    assert FiniteMDP(scipy.sparse.csr_array(np.array(STAY).reshape(4, 2)), [[1, 2], [3, 4]], horizon=1).exact


def test_rewards_follow_the_transitions():
    per_next = np.arange(8.0).reshape(2, 2, 2)
    sparse = scipy.sparse.csr_array(per_next.reshape(4, 2))
    assert model(rewards=sparse).rewards.shape == (2, 2, 2)
    assert scipy.sparse.issparse(model(rewards=per_next).sparse().rewards)
    assert model(scipy.sparse.csr_array(np.array(MIXED).reshape(4, 2)), per_next) == model(rewards=sparse)
    assert model().sparse().rewards.shape == (2, 2)
    assert model() != model(rewards=per_next)


def test_changing_what_a_sparse_model_hands_out_leaves_it_alone():
    mdp = model().sparse()
    handed = mdp.transitions
    with pytest.raises(ValueError, match="read-only"):
        handed.data[0] = 7.0
    with pytest.raises(ValueError, match="read-only"):
        handed[0, 0] = 7.0
    handed.data = np.zeros(handed.nnz)
    assert mdp == model()


# JSON


@given(models())
def test_json_gives_back_every_number(mdp):
    again = FiniteMDP.from_dict(json.loads(json.dumps(mdp.to_dict())))
    assert again == mdp
    assert hash(again) == hash(mdp)
    assert (again.exact, again.is_sparse, again.discount_exact) == (mdp.exact, mdp.is_sparse, mdp.discount_exact)
    assert again.to_dict() == mdp.to_dict()


def test_rationals_are_written_as_strings_and_ints(tmp_path):
    mdp = FiniteMDP([[["1/3", "2/3"]], [[0, 1]]], [[2], ["-1/2"]], discount="1/2", initial=1)
    path = tmp_path / "model.json"
    mdp.save(path)
    assert json.loads(path.read_text()) == {
        "schema": "exactrl.mdp/1", "n_states": 2, "n_actions": 1, "horizon": None, "discount": "1/2",
        "initial": [0, 1], "transitions": [[["1/3", "2/3"]], [[0, 1]]], "rewards": [[2], ["-1/2"]],
    }  # fmt: skip
    assert mdp.sparse().to_dict()["transitions"] == {
        "rows": [0, 0, 1], "cols": [0, 1, 1], "values": ["1/3", "2/3", 1],
    }  # fmt: skip
    assert FiniteMDP.load(path) == mdp


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 1}, "the model has the unknown key 'gamma', expected schema, n_states"),
        ({"schema": "exactrl.mdp/2"}, "the model's schema is 'exactrl.mdp/2', expected 'exactrl.mdp/1'"),
        ({"horizon": ...}, "the model lacks the key 'horizon'"),
        ({"horizon": "3"}, "horizon is '3', expected a positive int"),
        ({"n_states": 3}, "the model's n_states is 3, but its transitions have 2"),
        ({"n_actions": True}, "the model's n_actions is True, expected a positive integer"),
        ({"n_states": 0}, "the model's n_states is 0, expected a positive integer"),
        ({"initial": 1}, "the model's initial is of type int, expected a list"),
        ({"transitions": "x"}, "the model's transitions is of type str, expected a list, or an object"),
        ({"transitions": {"rows": [], "cols": []}}, "the model's transitions lacks the key 'values'"),
        ({"rewards": {"rows": 1, "cols": [], "values": []}}, r"the model's rewards\.rows is of type int"),
        ({"rewards": {"rows": [], "cols": [], "values": [], "x": 1}}, "the model's rewards has the unknown key 'x'"),
        ({"rewards": [[1, None], [1, 1]]}, r"rewards\[0, 1\] is None \(NoneType\), expected a number"),
        ({"rewards": [[1, True], [1, 1]]}, r"rewards\[0, 1\] is True \(bool\), expected a number"),
        ({"discount": True}, r"discount is True \(bool\), expected a number"),
    ],
)
def test_a_malformed_model_is_refused_by_its_key(tmp_path, change, message):
    data = {key: value for key, value in {**model().to_dict(), **change}.items() if value is not ...}
    with pytest.raises(ExactRLError, match=message):
        FiniteMDP.from_dict(data)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ExactRLError, match=rf"cannot read .*bad\.json: {message}"):
        FiniteMDP.load(path)


def test_what_is_no_object_and_what_has_too_many_digits_is_refused():
    with pytest.raises(ExactRLError, match="the model is of type list, expected an object"):
        FiniteMDP.from_dict([])
    with pytest.raises(ExactRLError, match="too many digits"):
        model(rewards=[[Fraction(1, 10**5000), 0], [0, 0]]).to_dict()


# Bad input


@pytest.mark.parametrize(
    ("transitions", "message"),
    [
        ([[[0.5, 0.48], [1, 0]], [[0, 1], [0, 1]]],
         r"^transitions\[0, 0\] sums to 0\.98, expected 1 \(tolerance 1e-10\): probabilities are never renormalised$"),
        ([[[1.0, 0], [1, 0]], [[0, 1], [0.5, 0.5 + 2e-10]]], r"transitions\[1, 1\] sums to 1\.0000000002, expected 1"),
        ([[[HALF, "49/100"], [1, 0]], [[0, 1], [0, 2]]],
         r"transitions\[0, 0\] sums to 99/100, expected exactly 1: .* \(2 such rows in all\)"),
        (np.array([[[1, 1], [1, 0]], [[0, 1], [0, 1]]]), r"transitions\[0, 0\] sums to 2, expected exactly 1"),
        ([[[THIRD, 1 - THIRD - Fraction(1, 10**40)], [1, 0]], [[0, 1], [0, 1]]], r"\[0, 0\] sums to .* exactly 1"),
        ([[[1.5, -0.5], [1, 0]], [[0, 1], [0, 1]]],
         r"transitions\[0, 0, 1\] is -0\.5, expected a probability, not negative"),
        ([[[1 + Fraction(1, 10**999), Fraction(-1, 10**999)], [1, 0]], [[0, 1], [0, 1]]],
         r"transitions\[0, 0, 1\] is -1/10+, expected a probability"),
        ([[[1, 0], [1, float("nan")]], [[0, 1], [0, 1]]], r"transitions\[0, 1, 1\] is nan, expected a finite number"),
        ([[[1, 0], [1, 0]], [[0, float("inf")], [0, 1]]], r"transitions\[1, 0, 1\] is inf, expected a finite number"),
        ([[[1, 0], [1, 0]], [[0, 1], [0]]],
         r"transitions is ragged: transitions\[1, 1\] has length 1 where transitions\[0, 0\] has length 2"),
        ([[[1, 0], [1, 0]], 5], r"ragged: transitions\[1\] has no length \(it is a single entry\) where .*length 2"),
        ([[[1, "a half"], [1, 0]], [[0, 1], [0, 1]]], r"transitions\[0, 0, 1\] is 'a half' \(str\), expected a number"),
        ([[[1, "1/0"], [1, 0]], [[0, 1], [0, 1]]], r"transitions\[0, 0, 1\] is '1/0' \(str\), expected a number"),
        ([[[1, 2j], [1, 0]], [[0, 1], [0, 1]]], r"transitions\[0, 0, 1\] is 2j \(complex\), expected a number"),
        (np.eye(2, dtype=bool).reshape(2, 1, 2), r"transitions\[0, 0, 0\] is True \(bool\), expected a number"),
        (np.ones((1, 1, 1), dtype=np.longdouble), r"is .*1\.0.* \(longdouble\), expected a number"),
        ([[1, 0], [0, 1]], r"transitions has shape \(2, 2\), expected \(S, A, S\)"),
        (np.ones((2, 2, 3)), r"transitions has shape \(2, 2, 3\), expected \(S, A, S\)"),
        ([], r"transitions has shape \(0,\), expected"),
        ([[], []], r"transitions has shape \(2, 0\), expected"),
        (np.ones((0, 0, 0)), r"transitions has shape \(0, 0, 0\), expected .* with S, A >= 1"),
        (None, r"transitions is None \(NoneType\), expected an array"),
        ({"rows": "a" * 99}, r"transitions is \{'rows': 'a+\.\.\. \(dict\), expected an array"),
        (scipy.sparse.csr_array(np.ones((3, 2))), r"transitions has shape \(3, 2\), expected \(S \* A, S\)"),
        (scipy.sparse.csr_array(np.array([[0.5, 0.5], [1, 0], [0, 1], [0, 0.9]])), r"transitions\[1, 1\] sums to 0\.9"),
        (scipy.sparse.csr_array(np.array([[2, -1.0], [1, 0], [0, 1], [0, 1]])), r"transitions\[0, 0, 1\] is -1\.0"),
        (scipy.sparse.csr_array(np.array([[1, 0], [1, 0], [0, 1], [np.nan, 1]])), r"transitions\[1, 1, 0\] is nan"),
        (scipy.sparse.csr_array(np.eye(2, dtype=bool)), "transitions is sparse of type bool, expected a number"),
        (scipy.sparse.coo_array(np.ones(3)), r"transitions is sparse with 1 dimension\(s\), expected shape"),
    ],
)  # fmt: skip
def test_bad_transitions_are_refused_by_their_entry(transitions, message):
    with pytest.raises(ExactRLError, match=message):
        model(transitions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": [[1, 2], [3, float("nan")]]}, r"rewards\[1, 1\] is nan, expected a finite number"),
        ({"rewards": [[1, 2], [3, 10**400]]}, r"rewards\[1, 1\] is beyond the range of a float"),
        ({"rewards": [1, 2]}, r"rewards has shape \(2,\), expected \(2, 2\) or \(2, 2, 2\)"),
        ({"rewards": scipy.sparse.csr_array(np.ones((2, 2)))}, r"rewards has shape \(2, 2\), .* or sparse \(4, 2\)"),
        (
            {"rewards": scipy.sparse.csr_array(np.full((4, 2), np.inf))},
            r"rewards\[0, 0, 0\] is inf, .* \(8 such entries in all\)",
        ),
        ({"horizon": None}, "horizon is None and discount is 1, expected one that bounds the return: give horizon=T"),
        ({"horizon": 0}, r"horizon is 0, expected a positive int \(the number of actions\)"),
        ({"horizon": True}, "horizon is True, expected a positive int"),
        ({"horizon": 2.0}, r"horizon is 2\.0, expected a positive int"),
        ({"discount": 1.5}, r"discount is 1\.5, expected a finite number from 0 to 1"),
        ({"discount": "-1/2"}, "discount is -1/2, expected"),
        ({"discount": float("nan")}, "discount is nan, expected"),
        ({"discount": None}, r"discount is None \(NoneType\), expected a number"),
        ({"initial": 2}, "initial is state 2, expected a state from 0 to 1"),
        ({"initial": -1}, "initial is state -1, expected"),
        ({"initial": [0.5, 0.4]}, r"initial sums to 0\.9, expected 1 \(tolerance 1e-10\)"),
        ({"initial": ["1/2", "1/3"]}, "initial sums to 5/6, expected exactly 1"),
        ({"initial": [1.5, -0.5]}, r"initial\[1\] is -0\.5, expected a probability"),
        ({"initial": [1.0]}, r"initial has shape \(1,\), expected \(2,\)"),
        ({"initial": True}, r"initial is True \(bool\), expected an array"),
    ],
)
def test_bad_rewards_bounds_and_initial_laws_are_refused(change, message):
    with pytest.raises(ExactRLError, match=message):
        model(**change)


@pytest.mark.parametrize(
    ("rows", "cols", "values", "message"),
    [
        ([0, 1], [0], [1], "table: rows, cols and values have 2, 1 and 1 entries, expected equally many"),
        ([0, 0], [1, 1], [1, 1], "table: row 0, column 1 stands twice"),
        ([0, 2], [1, 1], [1, 1], r"table rows\[1\] is 2, expected an index from 0 to 1"),
        ([0.0], [1], [1], r"table rows\[0\] is 0\.0, expected an integer"),
        ([True], [1], [1], r"table rows\[0\] is True, expected an integer"),
        ([2**70], [1], [1], "table rows has type object"),
        (np.zeros((1, 1), dtype=int), [1], [1], "table rows has type int64 and shape"),
        ("0", [1], [1], "table rows is str, expected a list of integers"),
    ],
)
def test_bad_triplets_are_refused(rows, cols, values, message):
    with pytest.raises(ExactRLError, match=message):
        SparseTable.from_triplets(rows, cols, values, (2, 2), "table")


def test_a_sparse_table_sorts_its_triplets_and_drops_zeros():
    table = SparseTable.from_triplets([1, 0, 0], [0, 1, 0], ["1/2", 3, 0], (2, 2), "table")
    assert table.csr().toarray().tolist() == [[0, 3], [0.5, 0]]
    assert table.rows().tolist() == [0, 1]
    assert SparseTable.from_triplets([], [], [], (2, 2), "table").csr().nnz == 0


def test_numbers_of_odd_origin_are_read():
    assert read_numbers([np.float32(0.5), np.array(2), range(3)[1]], "x").floats.tolist() == [0.5, 2, 1]
    assert model(discount=np.array(0.5)).discount == 0.5
    assert read_numbers([np.array(1), np.array(2)], "x").rational
    assert read_numbers([range(2), np.array([3, 4])], "x").shape == (2, 2)
    assert read_numbers(np.array(["1/3", "1e-3"]), "x").fractions().tolist() == [THIRD, Fraction(1, 1000)]
    assert read_numbers(np.zeros((0,), dtype=int), "x").rational
    numbers = read_numbers(["1/3"], "x")
    assert isinstance(numbers, Numbers)
    assert read_numbers(numbers, "x") is numbers


# An immutable value


def test_nothing_can_be_set_or_written():
    mdp = model()
    with pytest.raises(AttributeError, match=r"immutable: horizon cannot be set; use replace\(horizon="):
        mdp.horizon = 5
    with pytest.raises(AttributeError, match="immutable: rewards cannot be deleted"):
        del mdp.rewards
    arrays = [mdp.transitions, mdp.rewards, mdp.initial, mdp.expected_rewards, mdp.transitions_exact,
              mdp.rewards_exact, mdp.initial_exact, model(rewards=MIXED).expected_rewards]  # fmt: skip
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[(0,) * array.ndim] = 9


def test_the_model_keeps_no_hold_on_what_it_was_given():
    transitions, initial = np.array(MIXED), np.array([HALF, HALF])
    mdp = model(transitions, initial=initial)
    transitions[0, 0], initial[0] = 7.0, 9
    assert mdp == model()


def test_replace_changes_what_is_named_and_validates():
    mdp = model().replace(horizon=None, discount="1/2", initial=1)
    assert (mdp.horizon, mdp.discount, mdp.initial.tolist()) == (None, 0.5, [0, 1])
    assert np.array_equal(mdp.transitions, MIXED)
    with pytest.raises(ExactRLError, match=r"replace\(\) got gamma, expected some of transitions, rewards"):
        model().replace(gamma=1)
    with pytest.raises(ExactRLError, match="horizon is None and discount is 1"):
        model().replace(horizon=None)


def test_equality_is_of_content():
    assert model([[[HALF, HALF], [1, 0]], [["1/4", "3/4"], [0, 1]]]) == model()
    different = [
        {"horizon": 4},
        {"discount": 0.5},
        {"initial": 0},
        {"rewards": [[1, 2], [3, 4]]},
        {"transitions": STAY},
    ]
    assert all(model(**change) != model() for change in different)
    assert model().sparse() != model(STAY).sparse()
    assert model() != "a model"
    assert FiniteMDP([[[1]]], [[0]], horizon=3) != model()
    assert len({model(), model().sparse(), model(horizon=4)}) == 2


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda mdp: pickle.loads(pickle.dumps(mdp))])
def test_copies_are_equal_and_still_read_only(again):
    for mdp in (model(), model(STAY).sparse(), FiniteMDP([[["1/3", "2/3"]], [[0, 1]]], [[1], [2]], discount="1/2")):
        assert again(mdp) == mdp
        assert again(mdp).exact == mdp.exact
        assert not again(mdp).initial.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            (again(mdp).transitions.data if mdp.is_sparse else again(mdp).transitions[0])[0] = 9


def test_repr_is_short():
    assert repr(model(discount=0.9)) == "FiniteMDP(2 states, 2 actions, horizon=3, discount=0.9, float, dense)"
    assert repr(model(STAY, [[1, 2], [3, 4]]).sparse()) == "FiniteMDP(2 states, 2 actions, horizon=3, exact, sparse)"
    assert repr(model(horizon=None, discount="1/2")) == "FiniteMDP(2 states, 2 actions, discount=1/2, float, dense)"


def test_the_families_of_errors():
    assert issubclass(ExactRLError, ValueError)
    assert issubclass(Uncertain, ArithmeticError)


def test_importing_and_using_a_dense_model_leaves_scipy_alone():
    code = "import sys, exactrl.mdp as m; m.FiniteMDP([[[1]]], [[0]], horizon=1); assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def _size(rewards):
    return max(1.0, *(abs(float(value)) for value in rewards.flat))
