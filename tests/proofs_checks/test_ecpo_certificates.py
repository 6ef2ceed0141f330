"""The second routes of the ECPO paper, held against closed forms, brute force and extreme numbers."""

from __future__ import annotations

import pytest
from mpmath import exp, log, mp, mpf, sqrt

from tests.proofs_checks.ecpo_certificates import T01, T32, TWO_STEPS, best_policy, objective, sec1_wlog
from tests.proofs_checks.second_routes import normalised, numbers, printed
from tests.proofs_checks.valid_certificates import accepted, named


@pytest.fixture(autouse=True)
def eighty_digits():
    with mp.workdps(80):
        yield


def test_closed_forms():
    """Worked by hand: -3/8, 6 exp(-1/2), 3.5 against 4 sqrt(log 2), 1/2 against log((1 + e)/2)."""
    assert named("ecpo.prop2.fixed")["left"] == "-3.75e-1"
    assert named("ecpo.thm2.fixed")["left"] == printed(6 * exp(-mpf(1) / 2))
    bound = named("ecpo.thm1.fixed")
    assert (bound["left"], bound["right"]) == ("3.5e0", "3.3302184446307910254e0")
    one = named("ecpo.sec4.onesample", "intended")
    assert (one["left"], one["right"]) == ("5e-1", printed(log((1 + exp(1)) / 2)))


@pytest.mark.parametrize("first", [["0", "1"], ["2/5", "3/5"]])
def test_no_policy_does_better_than_the_best_one(first):
    """And the density of trajectories that does better still is none: its value is the right side."""
    instance = {"first": first, **TWO_STEPS, **T32}
    x = {name: numbers(value) for name, value in instance.items()}
    best = objective(x, best_policy(x))
    for shift in range(1, 40):
        weights = [mpf((7 * i + shift * (i + 3)) % 11 + 1) for i in range(8)]
        first = [p * w for p, w in zip(x["first"], weights[:2], strict=True)]
        second = [
            [p * w for p, w in zip(row, weights[2 * s + 2 :][:2], strict=True)] for s, row in enumerate(x["second"])
        ]
        first, second = normalised(first), [normalised(row) for row in second]
        assert objective(x, lambda rho, a=first, b=second: a[rho[0]] * b[rho[1]][rho[2]]) < best
    left, right = sec1_wlog(x, [])
    assert left < right


def test_closed_forms_of_the_longer_proofs():
    """Worked by hand: a fair coin after one action is worth 1/2, or log((1 + e)/2); the rest likewise."""
    coin = {"first": ["1"], "transitions": [["1/2", "1/2"]], "second": [["1"], ["1"]]}
    rewards = {"first_rewards": ["0"], "second_rewards": [["0"], ["1"]]}
    wlog = named("ecpo.sec1.wlog", **coin, **rewards, **T01)
    assert accepted(wlog | {"left": "5e-1", "right": printed(log((1 + exp(1)) / 2))})
    assert named("ecpo.thm1.start")["left"] == "inf"
    coin_bound = (sqrt(2) + 1 + (1 / sqrt(2) + 1) / (1 / sqrt(2) - 1)) * sqrt(log(2))
    whole = named("ecpo.thm1.sum", far=["0", "1"], returns=["1", "-1"], horizon=1)
    assert accepted(whole | {"left": "1e0", "right": printed(coin_bound)})
    segment = whole | {"condition": "sum on a segment"}
    assert accepted(segment | {"left": "0", "right": printed(coin_bound)})
    wide = named("ecpo.thm1.lemma4.wlog", policy=["1/2", "1/2"], returns=["0", "3"], **T01)
    assert accepted(wide | {"left": printed(log((1 + exp(3)) / 2) - mpf(3) / 2), "right": "5e-1"})


def test_extreme_probabilities_and_returns():
    tiny = f"1/{10**1000}"
    rest = f"{10**1000 - 1}/{10**1000}"
    assert accepted(named("ecpo.sec3.nonzero", reference=[rest, tiny, "0"], returns=["0", f"-{10**12}", "0"]))
    reference = {"reference": [rest, tiny], "action_values": ["0", "10000"], "tau": "1", "tau_prime": "0"}
    extreme = named("ecpo.sec4.onesample", "intended", **reference)
    with mp.workdps(6000):
        p = mpf(10) ** -1000
        extreme |= {"left": printed(10000 * p), "right": printed(log((1 - p) + p * exp(10000)))}
    assert accepted(extreme)
