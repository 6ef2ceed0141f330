"""The numbers behind the pictures, by other roads: enumeration of tuples, closed forms, the claims' inequalities."""

import itertools
import json
import math

import numpy as np
import pytest

from exactrl import ExactRLError
from proofs_checks.illustrations import Illustration, illustrations_for

ALL = [
    "ecpo.lemma1",
    "ecpo.thm1.fixed",
    "ecpo.thm2.monotone",
    "ecpo.lemma2.lower",
    "ecpo.lemma2.upper",
    "ecpo.sec4.onesample",
]


def data(claim_id):
    (illustration,) = illustrations_for([claim_id])
    return {name: np.array(column) for name, column in illustration.data.items()}


def test_each_claim_with_a_picture_gives_one_and_others_none():
    assert [picture.claim_id for picture in illustrations_for(ALL)] == ALL
    assert illustrations_for(["ecpo.prop1", "no.such.claim"]) == []


def test_data_are_plain_json_and_reproducible():
    first, second = illustrations_for(ALL), illustrations_for(ALL)
    assert first == second
    for picture in first:
        assert json.loads(json.dumps(picture.data, allow_nan=False)) == picture.data
        assert len({(picture.claim_id, picture.kind) for picture in first}) == len(first)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ExactRLError, match=r"columns have lengths \{'a': 1, 'b': 2\}"):
        Illustration("x", "y", "", "", {"a": [1], "b": [1, 2]})


@pytest.mark.parametrize("samples", [1, 2, 4])
def test_the_estimators_expectation_is_the_sum_over_all_tuples(samples):
    columns = data("ecpo.lemma1")
    reference, returns, tau, tau_prime = [0.6, 0.3, 0.1], [0.0, 1.0, 2.0], 0.5, 0.25
    weight = [
        math.exp((r - tau_prime * math.log(p)) / (tau + tau_prime)) for p, r in zip(reference, returns, strict=True)
    ]
    expected = np.zeros(3)
    for drawn in itertools.product(range(3), repeat=samples):
        share = np.array([weight[k] for k in drawn]) / sum(weight[k] for k in drawn)
        scores = np.eye(3)[list(drawn)] - 1 / 3
        expected -= math.prod(reference[k] for k in drawn) * (share @ scores)
    row = list(columns["K"]).index(samples)
    assert [columns[f"expectation_{j}"][row] for j in (1, 2, 3)] == pytest.approx(expected, abs=1e-12)


def test_the_gradient_is_policy_minus_lift_and_the_estimator_nears_it():
    columns = data("ecpo.lemma1")
    lift = np.array([p ** (2 / 3) * math.exp(r / 0.75) for p, r in zip([0.6, 0.3, 0.1], [0, 1, 2], strict=True)])
    truth = 1 / 3 - lift / lift.sum()
    error = np.zeros(len(columns["K"]))
    for j in range(3):
        assert columns[f"gradient_{j + 1}"] == pytest.approx(truth[j], abs=1e-12)
        error += np.abs(columns[f"expectation_{j + 1}"] - truth[j])
    assert (np.diff(error) < 0).all()
    assert error[-1] > 0.1


def test_regret_holds_for_small_rewards_and_breaks_for_large_ones():
    columns = data("ecpo.thm1.fixed")
    assert columns["bound"] == pytest.approx(4 * math.sqrt(30 * math.log(4)))
    assert columns["regret_within_1"][:2] == pytest.approx([0.0, 1.5])  # from uniform: 1 - (1 - 3)/4
    assert columns["regret_times_20"][:2] == pytest.approx([0.0, 30.0])
    assert (columns["regret_within_1"] < columns["bound"]).all()
    assert columns["regret_times_20"][-1] > columns["bound"][-1]
    assert len(columns["t"]) == 31


def test_the_surrogate_rises_while_the_return_once_falls():
    columns = data("ecpo.thm2.monotone")
    assert (np.diff(columns["surrogate"]) >= 0).all()
    assert np.diff(columns["expected_return"]).min() < -0.1
    assert columns["expected_return"][:2] == pytest.approx([18 / 13, 14 / 11])
    by_hand = 2 * math.log(
        sum(math.sqrt(p * math.exp(r)) for p, r in zip([1 / 13, 3 / 13, 9 / 13], [0, 3, 1], strict=True))
    )
    assert columns["surrogate"][0] == pytest.approx(by_hand, abs=1e-12)


def test_the_surrogate_lies_between_its_bounds_and_meets_them():
    lower, upper = data("ecpo.lemma2.lower"), data("ecpo.lemma2.upper")
    policy, returns, tau_prime = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 3.0]), 0.5
    for columns in (lower, upper):
        eta = columns["tau"][:, None] + tau_prime
        closed = eta[:, 0] * np.log(np.exp((returns + columns["tau"][:, None] * np.log(policy)) / eta).sum(axis=1))
        assert columns["surrogate"] == pytest.approx(closed, abs=1e-11)
        assert (columns["tau"][0], columns["tau"][-1]) == pytest.approx((1e-2, 1e3))
    modified = returns - tau_prime * np.log(policy)
    assert lower["lower"] == pytest.approx(policy @ modified, abs=1e-12)
    second = policy @ (modified - modified.max()) ** 2
    assert upper["upper"] == pytest.approx(policy @ modified + second / (2 * (upper["tau"] + tau_prime)), abs=1e-11)
    assert (lower["lower"] <= lower["surrogate"]).all()
    assert (upper["surrogate"] <= upper["upper"]).all()
    assert lower["surrogate"][-1] == pytest.approx(lower["lower"][-1], abs=0.01)
    assert upper["surrogate"][-1] == pytest.approx(upper["upper"][-1], abs=0.01)


def test_one_sample_falls_short_of_the_soft_value():
    columns = data("ecpo.sec4.onesample")
    policy, values, tau_prime = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 3.0]), 0.5
    assert columns["estimate"] == pytest.approx(policy @ (values - tau_prime * np.log(policy)), abs=1e-12)
    eta = columns["tau"] + tau_prime
    soft = [e * math.log(policy @ np.exp((values - tau_prime * np.log(policy)) / e)) for e in eta]
    assert columns["soft_value"] == pytest.approx(soft, abs=1e-11)
    assert (columns["estimate"] < columns["soft_value"]).all()
