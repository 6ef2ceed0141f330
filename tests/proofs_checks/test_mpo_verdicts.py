"""The verdicts on the MPO paper, held against a second route: cases worked by hand, a grid of policies, quadrature.

Nothing here uses the library's formulas, except the last part, which plants falsehoods to see them refuted.
"""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import mpmath as mp
import pytest

from proofs_checks import verify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.falsify import Budget
from proofs_checks.fields import Discount
from tests.proofs_checks import judging

SMALL = Budget(draws=300, generations=4, population=200, suspects=6, swept=1)

LITERAL_AND_INTENDED = {
    "mpo.eq8": ("refuted", "survived"),
    "mpo.eq9.convex": ("survived", "survived"),
    "mpo.eq9.duality": ("survived", "survived"),
    "mpo.eq9.minimiser": ("refuted", "survived"),
    "mpo.eq13.retrace": ("refuted", "survived"),
    "mpo.appa.reward": ("refuted", "survived"),
    "mpo.appd2.program": ("refuted", "survived"),
    "mpo.appd2.derivative": ("refuted", "survived"),
    "mpo.appd2.normaliser": ("refuted", "survived"),
    "mpo.appd3.prior": ("refuted", "survived"),
    "mpo.appd3.taylor": ("refuted", "survived"),
    "mpo.eq27.split": ("survived", "survived"),
    "mpo.eq27.parts": ("refuted", "survived"),
    "mpo.alg2.eta": ("survived", "survived"),
    "mpo.alg2.theta": ("refuted", "survived"),
}


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


def entropy_gap(p: Any, base: Any) -> Any:
    """KL(p || base) of two distributions on the same points."""
    return mp.fsum(x * mp.log(x / y) for x, y in zip(p, base, strict=True) if x)


def dual(policy: Any, values: Any, eta: Any, epsilon: Any) -> Any:
    return eta * epsilon + eta * mp.log(mp.fsum(p * mp.exp(v / eta) for p, v in zip(policy, values, strict=True)))


# (a) Cases by hand, and the programs by brute force.

FAIR, VALUES = [mp.mpf("0.5")] * 2, [0, 1]


def best_on_a_grid(epsilon: Any, policy: Any = FAIR) -> tuple[Any, Any]:
    """The largest E_q Q over q = (1 - x, x) with a divergence below epsilon, and its x."""
    points = [mp.mpf(i) / 4000 for i in range(4001)]
    feasible = [x for x in points if entropy_gap([1 - x, x], policy) < epsilon]
    return max(feasible), max(feasible)


def test_with_room_for_the_greedy_policy_the_dual_has_no_minimiser() -> None:
    best, x = best_on_a_grid(1)
    assert (best, x) == (1, 1)
    temperatures = [mp.mpf(10) ** (mp.mpf(k) / 10) for k in range(-15, 30)]
    values = [dual(FAIR, VALUES, eta, 1) for eta in temperatures]
    assert all(a < b for a, b in pairwise(values))
    assert values[0] > 1
    assert mp.almosteq(dual(FAIR, VALUES, mp.mpf(10) ** -9, 1), 1, abs_eps=mp.mpf(10) ** -8)
    for eta in temperatures:
        weights = [p * mp.exp(v / eta) for p, v in zip(FAIR, VALUES, strict=True)]
        assert weights[1] / sum(weights) < 1


@pytest.mark.parametrize("epsilon", ["0.05", "0.3", "0.65"])
def test_without_it_the_minimum_is_the_value_and_the_tilted_policy_attains_it(epsilon: str) -> None:
    radius = mp.mpf(epsilon)
    best, x = best_on_a_grid(radius)
    slope = lambda t: mp.diff(lambda u: dual(FAIR, VALUES, u, radius), t)
    eta = mp.findroot(slope, (mp.mpf("0.02"), mp.mpf(50)), solver="anderson")
    assert abs(dual(FAIR, VALUES, eta, radius) - best) < mp.mpf(1) / 2000
    assert abs(mp.exp(1 / eta) / (1 + mp.exp(1 / eta)) - x) < mp.mpf(1) / 2000
    assert mp.diff(lambda u: dual(FAIR, VALUES, u, radius), eta, 2) > 0


def test_an_action_outside_the_policy_counts_for_nothing() -> None:
    policy = [mp.mpf(1) / 2, mp.mpf(1) / 2, mp.mpf(0)]
    assert dual(policy, [0, 1, 100], mp.mpf(2), 0) == dual(FAIR, VALUES, mp.mpf(2), 0)
    reading = registry()["mpo.eq9.minimiser"].readings["literal"]
    third = {"policy": [["1/2", "1/2", "0"]], "q_values": [["0", "1", "100"]], "weights": ["1"]}
    for epsilon, outcome in (("1", "refuted"), ("1/2", "survived")):
        assert verify._settle_instance(reading, third | {"epsilon": epsilon})[0] == outcome
    # Equal values, one action, a state without weight: nothing depends on the temperature.
    for values, weights in ((["2", "2", "9"], ["1"]),):
        flat = third | {"q_values": [values], "weights": weights, "epsilon": "1"}
        assert verify._settle_instance(reading, flat)[0] == "undecided"


def test_the_printed_target_doubles_the_values() -> None:
    """One state, one action, r = 1, gamma = 1/2: Q = 2, the whole printed sum is 4, with the discount it is 2."""
    value, discount = mp.mpf(2), mp.mpf(1) / 2
    printed = value + mp.nsum(lambda j: discount**j * (1 + value - value), [0, mp.inf])
    mended = value + mp.nsum(lambda j: discount**j * (1 + discount * value - value), [0, mp.inf])
    assert mp.almosteq(printed, 4)
    assert mp.almosteq(mended, 2)


def test_one_normalisation_for_all_states_moves_mass_between_them() -> None:
    masses, weights = [mp.mpf(0), mp.mpf(1)], FAIR
    assert mp.almosteq(entropy_gap(masses, weights), mp.log(2))
    assert masses[1] * 1 > mp.mpf(1) / 3 * 1 + mp.mpf(1) / 2  # the dual at eta = 1/3, epsilon = 1
    per_state = mp.mpf(1) / 2 * 0 + mp.mpf(1) / 2 * 1  # one action a state leaves no other policy
    assert per_state < masses[1]


def test_the_lagrangian_has_the_mended_derivative() -> None:
    eta, gamma, q = mp.mpf(3) / 2, mp.mpf(2), mp.mpf(1) / 3
    slope = mp.diff(lambda z: z * 5 - eta * z * mp.log(z / mp.mpf("0.25")) + gamma * (1 - z), q)
    common = 5 - eta * mp.log(q) + eta * mp.log(mp.mpf("0.25"))
    assert mp.almosteq(slope, common - (eta + gamma))
    assert not mp.almosteq(slope, common - (eta - gamma))


def test_the_factor_of_the_solution_is_the_reciprocal() -> None:
    z = mp.fsum(p * mp.exp(v) for p, v in zip(FAIR, VALUES, strict=True))
    assert mp.almosteq(mp.fsum(p * mp.exp(v) / z for p, v in zip(FAIR, VALUES, strict=True)), 1)
    assert mp.almosteq(mp.fsum(p * mp.exp(v) * z for p, v in zip(FAIR, VALUES, strict=True)), z * z)


def test_the_second_order_term_of_the_divergence() -> None:
    spread = lambda t: entropy_gap(FAIR, [1 / (1 + mp.exp(t)), 1 / (1 + mp.exp(-t))])
    coefficient = mp.taylor(spread, 0, 2)[2]
    assert mp.almosteq(coefficient, mp.mpf(1) / 8)  # F/2 with F = 1/4; the print has 1/F = 4


@pytest.mark.parametrize("seed", range(3))
def test_the_two_parts_of_a_gaussian_divergence_by_quadrature(seed: int) -> None:
    rng = random.Random(seed)
    mean_i, mean = (mp.mpf(rng.randint(-2, 2)) for _ in range(2))
    before, after = (mp.mpf(rng.randint(1, 5)) / 2 for _ in range(2))

    def spread(m: Any, new: Any) -> Any:
        ratio = lambda a: mp.log(mp.npdf(a, mean_i, before)) - mp.log(mp.npdf(a, m, new))
        ends = [mean_i - 15 * before, mean_i, mean_i + 15 * before]
        return mp.quad(lambda a: mp.npdf(a, mean_i, before) * ratio(a), ends)

    of_the_mean = (mean - mean_i) ** 2 / (2 * after**2)
    of_the_covariance = ((before / after) ** 2 - 1 + 2 * mp.log(after / before)) / 2
    assert mp.almosteq(spread(mean, after), of_the_mean + of_the_covariance, 1e-20, 1e-20)
    assert mp.almosteq(spread(mean_i, after), of_the_covariance, 1e-20, 1e-20)
    assert mp.almosteq(spread(mean, before), (mean - mean_i) ** 2 / (2 * before**2), 1e-20, 1e-20)


def test_a_discount_of_one_is_refused() -> None:
    assert Discount().fault(Fraction(11, 12)) is None
    assert Discount().fault(Fraction(1)) == "is outside [0, 1): 1"


# (b) The verdicts, and the certificates before the stand-alone checker.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


def refused(claim: str, **instance: Any) -> str:
    """Why the checker refuses an instance, whatever sides are printed."""
    (condition,) = (word for id, word in checker.TABLE if id == claim)
    return judging.refusal(claim, condition, **instance)


def test_the_checker_holds_instances_against_the_hypotheses() -> None:
    flat = {"policy": [["1/2", "1/2"]], "q_values": [["1", "1"]], "weights": ["1"], "epsilon": "1"}
    assert refused("mpo.eq8", **flat).startswith("q_values: constant among the actions of the policy")
    assert refused("mpo.eq9.minimiser", **flat | {"epsilon": "0"}) == "epsilon: must be > 0"
    tight = flat | {"q_values": [["0", "1"]], "epsilon": "1/2"}
    assert refused("mpo.eq9.minimiser", **tight) == "the relation holds on this instance"
    states = {"policy": [["1"], ["1"]], "q_values": [["0"], ["7"]], "weights": ["1/2", "1/2"], "eta": "1"}
    joint = states | {"masses": ["0", "1"], "challenger": [["1"], ["1"]]}
    assert refused("mpo.appd2.program", **joint, epsilon="1/2").startswith("epsilon: the divergence of the challenger")
    same = joint | {"masses": ["1/2", "1/2"], "epsilon": "1"}
    assert refused("mpo.appd2.program", **same) == "the relation holds on this instance"
    away = joint | {"weights": ["1", "0"], "epsilon": "1"}
    assert refused("mpo.appd2.program", **away).startswith("challenger: mass where the policy has none")
    model = {"policy": [["1"]], "behaviour": [["1"]], "transitions": [[["1"]]], "q_values": [["1"]], "steps": 1}
    assert refused("mpo.eq13.retrace", **model, discount="1") == "discount: must be < 1"
    wide = {
        "policy": [["1"] + ["0"] * 16], "behaviour": [["1"] + ["0"] * 16], "transitions": [[["1"]] * 17],
        "q_values": [["0"] * 17],
    }  # fmt: skip
    assert refused("mpo.eq13.retrace", **model | wide, discount="0").startswith("policy: more than 16 pairs")
    assert refused("mpo.appa.reward", policy=["1", "0"], q=["1", "0"]) == "q[1]: must be > 0"


# (c) Planted falsehoods.


def changed(like: str, change: Any, check: int = 0) -> Sides:
    """One check of the intended reading, changed."""

    def sides(p: Any) -> Check:
        return change(p, registry()[like].readings["intended"].checks(p)[check])

    return sides


PLANTED = {
    "the dual is concave": ("mpo.eq9.convex", lambda p, c: replace(c, relation=">="), 0),
    "weak duality without the radius": ("mpo.eq9.duality", lambda p, c: replace(c, left=c.left * 102 / 100), 0),
    "the bound of the greedy value is strict": ("mpo.eq9.duality", lambda p, c: replace(c, relation="<"), 2),
    "the temperature maximises the dual": ("mpo.eq9.minimiser", lambda p, c: replace(c, relation=">="), 0),
    "the tilted policy is worst": ("mpo.eq8", lambda p, c: replace(c, relation=">="), 0),
    "the operator contracts by half the discount": ("mpo.eq13.retrace", lambda p, c: replace(c, right=c.right / 2), 1),
    "a remainder of a fortieth": ("mpo.appd3.taylor", lambda p, c: replace(c, right=c.right / 40), 0),
    "the divergence is its double": ("mpo.eq27.split", lambda p, c: replace(c, right=2 * c.right), 0),
    "the slope is flat": ("mpo.alg2.eta", lambda p, c: replace(c, left=c.right, right=c.left), 0),
    "ascent gains twice as much": ("mpo.alg2.theta", lambda p, c: replace(c, right=102 * c.right / 100), 0),
    "the tangent lies below": ("mpo.appd2.derivative", lambda p, c: replace(c, relation=">="), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str) -> None:
    like, change, check = PLANTED[name]
    assert judging.verdict_on(like, changed(like, change, check), SMALL) == "refuted"
