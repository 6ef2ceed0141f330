"""The verdicts on the soft Q-learning paper, held against a second route: sums over steps, derived by hand, in mpmath.

Nothing here uses the library's formulas, except the last part, which plants falsehoods to see them refuted.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from exactrl.formulas import expected_sampled_soft_value, kl, log_soft_greedy, soft_maximum
from exactrl.number_systems import namespace
from exactrl.number_systems.balls import precision
from proofs_checks import certify
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.claims.soft_q.common import (
    bellman,
    largest,
    soft_action_values,
    soft_backup,
    value_size,
)
from proofs_checks.falsify import Budget
from proofs_checks.fields import Discount
from proofs_checks.instances import Problem
from tests.proofs_checks import judging

SMALL = Budget(draws=150, generations=3, population=120, suspects=4, swept=1)

LITERAL_AND_INTENDED = {
    "soft_q.thm2": ("survived", "survived"),
    "soft_q.sec2.hardlimit": ("survived", "survived"),
    "soft_q.eq10": ("refuted", "survived"),
    "soft_q.sec32.mse": ("survived", "survived"),
    "soft_q.sec32.unbiased": ("survived", "survived"),
    "soft_q.eq15.scaling": ("survived", "survived"),
    "soft_q.thm4": ("survived", "survived"),
    "soft_q.eq18": ("survived", "survived"),
    "soft_q.eq19": ("survived", "survived"),
    "soft_q.eq20": ("refuted", "survived"),
    "soft_q.eq23": ("survived", "survived"),
    "soft_q.appa2.contraction": ("survived", "survived"),
    "soft_q.eq25": ("survived", "survived"),
    "soft_q.eq28": ("refuted", "survived"),
    "soft_q.appb.shift": ("survived", "survived"),
}
SEEDS = range(15)
TINY = mp.mpf(10) ** -25


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


# A second route to every quantity: lists of mpf, zeros allowed, 0 log 0 = 0.


def mean(p: Any, values: Any) -> Any:
    return mp.fsum(x * v for x, v in zip(p, values, strict=True) if x)


def shannon(p: Any) -> Any:
    return -mp.fsum(x * mp.log(x) for x in p if x)


def log_sum_exp(values: Any, alpha: Any = 1) -> Any:
    top = max(values)
    return top + alpha * mp.log(mp.fsum(mp.exp((v - top) / alpha) for v in values))


def boltzmann(values: Any, alpha: Any = 1) -> list[Any]:
    return [mp.exp((v - log_sum_exp(values, alpha)) / alpha) for v in values]


def draw_row(rng: random.Random, n: int, *, zeros: bool = True) -> list[Any]:
    weights = [mp.mpf(0) if zeros and rng.random() < 0.3 else mp.mpf(10) ** -rng.uniform(0, 3) for _ in range(n)]
    weights[rng.randrange(n)] += 1
    return [w / mp.fsum(weights) for w in weights]


class Model:
    """A small model, drawn; the discount is 0 for some."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.S, self.A = rng.randint(1, 3), rng.randint(1, 3)
        self.P = [[draw_row(rng, self.S) for _ in range(self.A)] for _ in range(self.S)]
        self.r = self.table()
        self.gamma = mp.mpf(rng.choice([0, 1, 5, 8])) / 10

    def table(self) -> list[list[Any]]:
        rng = self.rng
        return [[mp.mpf(rng.choice([rng.randint(-2, 2), rng.uniform(-6, 6)])) for _ in range(self.A)] for _ in self.P]

    def policy(self, *, zeros: bool = True) -> list[list[Any]]:
        return [draw_row(self.rng, self.A, zeros=zeros) for _ in self.P]

    def ahead(self, V: Any, r: Any = None) -> list[list[Any]]:
        """r + gamma E V."""
        rewards = self.r if r is None else r
        return [
            [x + self.gamma * mean(p, V) for x, p in zip(*rows, strict=True)]
            for rows in zip(rewards, self.P, strict=True)
        ]

    def values_of(self, policy: Any, r: Any = None, alpha: Any = 1) -> list[list[Any]]:
        """Eq. 15 by summing steps until what is left is below any digit that counts."""
        state_worth = [alpha * shannon(p) for p in policy]
        Q = self.r if r is None else r
        for _ in range(500):
            Q = self.ahead([h + mean(p, q) for h, p, q in zip(state_worth, policy, Q, strict=True)], r)
        return Q

    def optimal(self, alpha: Any) -> list[list[Any]]:
        """Soft value iteration."""
        Q = self.r
        for _ in range(500):
            Q = self.ahead([log_sum_exp(q, alpha) for q in Q])
        return Q


def flat(table: Any) -> list[Any]:
    return [x for row in table for x in row]


def close(x: Any, y: Any) -> bool:
    return bool(abs(x - y) <= TINY * (1 + abs(x) + abs(y)))


def at_most(x: Any, y: Any) -> bool:
    return bool(x <= y or close(x, y))


# (a) The counterexamples, by hand.


def test_eq10_misses_what_the_proposal_never_takes() -> None:
    """Q = (0, 0) and q = (1, 0): E_q [exp(Q) / q] = exp(0) / 1, while the sum of exp Q is 2."""
    assert mp.log(1 * (mp.exp(0) / 1)) < log_sum_exp([mp.mpf(0), mp.mpf(0)])
    assert close(log_sum_exp([mp.mpf(0), mp.mpf(0)]), mp.log(2))


def test_eq20_as_it_stands_fails_for_a_greedy_policy() -> None:
    """One state, r = (1, 0), gamma = 1/2, always the first action: Q = (2, 1), E_pi Q = 2, E_improved Q < 2."""
    policy = [[mp.mpf(1), mp.mpf(0)]]
    Q = [mp.mpf(2), mp.mpf(1)]
    assert [1 + Q[0] / 2, 0 + Q[0] / 2] == Q
    improved = boltzmann(Q)
    assert mean(policy[0], Q) == 2 > mean(improved, Q)
    assert shannon(improved) + mean(improved, Q) > 2  # with the improvement's entropy it holds
    assert close(mean(improved, Q), 1 + 1 / (1 + mp.exp(-1)))


def test_eq28_drops_the_movement_of_the_states() -> None:
    """From state 1, action 1 stays and action 2 leads to a state of entropy H2: the slope is (log 2 - H2) / 4."""
    second = [mp.mpf(1) / 4, mp.mpf(3) / 4]

    def expected_entropy(theta: Any) -> Any:
        own = boltzmann([theta, mp.mpf(0)])
        return own[0] * shannon(own) + own[1] * shannon(second)

    slope = mp.diff(expected_entropy, 0)
    assert abs(slope - (mp.log(2) - shannon(second)) / 4) < 1e-15
    printed = -mp.fsum(mp.mpf(1) / 2 * s * (1 + mp.log(mp.mpf(1) / 2)) for s in (mp.mpf(1) / 2, -mp.mpf(1) / 2)) / 2
    assert printed == 0
    assert abs(slope) > 0.03


COUNTEREXAMPLES = [
    ("soft_q.eq10", {"action_values": ["0", "0"], "proposal": ["1", "0"], "alpha": "1"}),
    (
        "soft_q.eq20",
        {"dynamics": [[["1"], ["1"]]], "rewards": [["1", "0"]], "discount": "1/2", "policy": [["1", "0"]]},
    ),
    (
        "soft_q.eq28",
        {
            "initial": ["1", "0"],
            "dynamics": [[["1", "0"], ["0", "1"]], [["0", "1"], ["0", "1"]]],
            "policy": [["1/2", "1/2"], ["1/4", "3/4"]],
        },
    ),
]


@pytest.mark.parametrize(("claim", "data"), COUNTEREXAMPLES, ids=[c for c, _ in COUNTEREXAMPLES])
def test_the_counterexamples_refute_the_literal_reading_alone(claim: str, data: Any) -> None:
    readings = registry()[claim].readings
    instance = readings["literal"].space.from_json(data)
    assert certify.examine(readings["literal"], instance).outcome == "violated"
    if readings["intended"].space.permits(instance):
        assert certify.examine(readings["intended"], instance, most_bits=256).outcome in ("satisfied", "tied")


# (b) What holds, by the second route.


@pytest.mark.parametrize("seed", SEEDS)
def test_the_improvement_theorem_and_its_steps(seed: int) -> None:
    model = Model(seed)
    policy = model.policy()
    Q = model.values_of(policy)
    improved = [boltzmann(q) for q in Q]
    assert all(at_most(*pair) for pair in zip(flat(Q), flat(model.values_of(improved)), strict=True))  # Theorem 4
    rows = list(zip(policy, improved, Q, strict=True))
    for p, b, q in rows:
        value = shannon(p) + mean(p, q)
        divergence = mp.fsum(x * mp.log(x / y) for x, y in zip(p, b, strict=True) if x)
        assert close(value, log_sum_exp(q) - divergence)  # Eq. 19
        assert at_most(value, shannon(b) + mean(b, q))  # Eq. 18
    before, after = ([shannon(rows[s][i]) + mean(rows[s][i], Q[s]) for s in range(model.S)] for i in (0, 1))
    for first in itertools.chain(*model.P):
        two_steps = [
            mp.fsum(first[s1] * b * model.P[s1][a1][s2] for s1 in range(model.S) for a1, b in enumerate(improved[s1]))
            for s2 in range(model.S)
        ]
        assert at_most(model.gamma**2 * mean(two_steps, before), model.gamma**2 * mean(two_steps, after))  # Eq. 20


@pytest.mark.parametrize("seed", SEEDS)
def test_the_soft_bellman_equations(seed: int) -> None:
    """Soft value iteration ends at a policy whose own values, summed over steps, satisfy Eqs. 4-7 and 23."""
    model = Model(seed)
    for alpha in (mp.mpf(1), mp.mpf(1) / 3, mp.mpf(7)):
        Q = model.optimal(alpha)
        policy = [boltzmann(q, alpha) for q in Q]
        own = model.values_of(policy, alpha=alpha)
        right = model.ahead([log_sum_exp(q, alpha) for q in own])
        assert all(close(*pair) for pair in zip(flat(own), flat(right), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_operator_and_its_limit(seed: int) -> None:
    model = Model(seed)
    first, second = model.table(), model.table()
    distance = max(abs(x - y) for x, y in zip(flat(first), flat(second), strict=True))
    backups = [flat(model.ahead([log_sum_exp(q) for q in table])) for table in (first, second)]
    assert at_most(max(abs(x - y) for x, y in zip(*backups, strict=True)), model.gamma * distance)  # Eq. 24
    for p, q in zip(first, second, strict=True):
        assert at_most(log_sum_exp(p), distance + log_sum_exp(q))  # Eq. 25
        for alpha in (mp.mpf(1), mp.mpf(10) ** -3, mp.mpf(10) ** -9):
            assert at_most(max(p), log_sum_exp(p, alpha))
            assert at_most(log_sum_exp(p, alpha), max(p) + alpha * mp.log(model.A))


@pytest.mark.parametrize("seed", SEEDS)
def test_rewards_divided_by_the_temperature(seed: int) -> None:
    model = Model(seed)
    policy, alpha = model.policy(), mp.mpf(10) ** model.rng.uniform(-2, 2)
    whole = flat(model.values_of(policy, alpha=alpha))
    divided = flat(model.values_of(policy, [[x / alpha for x in row] for row in model.r]))
    assert all(close(x, alpha * y) for x, y in zip(whole, divided, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_importance_sampling_of_the_soft_value(seed: int) -> None:
    rng = random.Random(seed)
    n, alpha = rng.randint(1, 4), mp.mpf(10) ** rng.uniform(-1, 1)
    Q, q = [mp.mpf(rng.uniform(-5, 5)) for _ in range(n)], draw_row(rng, n, zeros=False)
    value = log_sum_exp(Q, alpha)
    ratio = [mp.exp(x / alpha) / p for x, p in zip(Q, q, strict=True)]
    assert close(alpha * mp.log(mean(q, ratio)), value)  # Eq. 10
    current = boltzmann(Q, alpha)
    for samples in (1, 2, 3):
        expected = mp.mpf(0)
        for drawn in itertools.product(range(n), repeat=samples):
            weights = [mp.exp(Q[i] / alpha) / current[i] for i in drawn]
            expected += mp.fprod(current[i] for i in drawn) * alpha * mp.log(mp.fsum(weights) / samples)
        assert close(expected, value)  # Sec. 3.2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mean_squared_distance_in_fractions(seed: int) -> None:
    """It is 0 for equal functions and positive for others, however small the weight where they differ."""
    rng = random.Random(seed)
    n = rng.randint(1, 5)
    first = [Fraction(rng.randint(-9, 9), rng.randint(1, 9)) for _ in range(n)]
    second = [x if rng.random() < 0.5 else x + Fraction(rng.randint(-1, 1), 10**9) for x in first]
    weights = [Fraction(1, 10 ** rng.randint(0, 400)) for _ in range(n)]
    distance = sum(w * (x - y) ** 2 for w, x, y in zip(weights, first, second, strict=True)) / sum(weights)
    assert (distance == 0) == (first == second)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_gradient_with_the_states_held_fixed_and_shifts(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randint(1, 4)
    logits, shift = [mp.mpf(rng.uniform(-3, 3)) for _ in range(n)], mp.mpf(rng.uniform(-50, 50))
    p = boltzmann(logits)
    assert all(close(*pair) for pair in zip(p, boltzmann([x + shift for x in logits]), strict=True))
    for j in range(n):
        slope = mp.diff(
            lambda x, j=j: shannon(boltzmann([x if i == j else v for i, v in enumerate(logits)])), logits[j]
        )
        printed = -mp.fsum(x * ((i == j) - p[j]) * (1 + mp.log(x)) for i, x in enumerate(p))
        assert abs(slope - printed) < 1e-15


# (c) The quantities of the claims, against the same route.


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_action_values_in_floats(seed: int) -> None:
    model = Model(seed)
    policy = model.policy(zeros=False)
    expected = flat(model.values_of(policy, alpha=mp.mpf(2)))

    def floats(x: Any) -> Any:
        return np.array(x, dtype=object).astype(float)[None]

    arrays = {"dynamics": floats(model.P), "rewards": floats(model.r), "discount": np.array([float(model.gamma)])}
    p = Problem({"states": model.S, "actions": model.A}, arrays)
    with np.errstate(all="ignore"):
        found = soft_action_values(p, np.log(floats(policy)), p.rewards, np.array([[2.0]]))
    assert np.allclose(found.ravel(), np.array(expected, dtype=float), rtol=1e-12)


def test_soft_action_values_in_balls_hold_a_value_worked_by_hand() -> None:
    """One state, uniform over two actions, rewards 0 and 1, gamma = 1/2: V = 2 (1/2 + log 2), Q = r + V / 2."""
    space = registry()["soft_q.thm4"].readings["literal"].space
    data = {"dynamics": [[["1"], ["1"]]], "rewards": [["0", "1"]], "discount": "1/2", "policy": [["1/2", "1/2"]]}
    with precision(128):
        p = space.problem(space.from_json(data))
        found = soft_action_values(p, p.log_policy, p.rewards)
        for x, reward in zip(found.data[0], (0, 1), strict=True):
            assert abs(float(x.mid()) - (reward + 0.5 + float(mp.log(2)))) < 1e-15
            assert float(x.rad()) < 1e-35


# (d) The edges: one action, one state, no discount, equal rewards, tiny and huge temperatures, unreachable states.

UNREACHABLE = [[["1", "0"], ["1", "0"]], [["1/3", "2/3"], ["0", "1"]]]
EDGES: dict[str, list[dict[str, Any]]] = {
    "models": [
        {"dynamics": [[["1"]]], "rewards": [["7"]], "discount": "0", "policy": [["1"]]},
        {"dynamics": [[["1"], ["1"]]], "rewards": [["3", "3"]], "discount": "11/12", "policy": [["0", "1"]]},
        {"dynamics": UNREACHABLE, "rewards": [["0", "0"], ["1000000", "-1"]], "discount": "0",
         "policy": [["0", "1"], ["0", "1"]]},
        {"dynamics": UNREACHABLE, "rewards": [["-5", "2"], ["0", "1"]], "discount": "999/1000",
         "policy": [["1/2", "1/2"], [f"1/{10**300}", f"{10**300 - 1}/{10**300}"]]},
    ],
    "temperatures": ["1", f"1/{10**9}", str(10**9)],
}  # fmt: skip


def holds(claim: str, data: Any) -> bool:
    reading = registry()[claim].readings["intended"]
    return certify.examine(reading, reading.space.from_json(data), most_bits=1024).outcome in ("satisfied", "tied")


@pytest.mark.parametrize("claim", ["thm4", "eq18", "eq19", "eq20"])
def test_edges_of_the_improvement(claim: str) -> None:
    assert all(holds(f"soft_q.{claim}", model) for model in EDGES["models"])


def test_edges_of_the_temperature() -> None:
    for alpha in EDGES["temperatures"]:
        assert all(holds("soft_q.eq15.scaling", model | {"alpha": alpha}) for model in EDGES["models"])
        for values in (["0"], ["1", "1", "1"], ["0", "1000000"]):
            one = {"action_values": values, "alpha": alpha}
            assert holds("soft_q.sec32.unbiased", one | {"samples": 2})
            assert holds("soft_q.eq10", one | {"proposal": [f"1/{len(values)}"] * len(values)})
        for discount in ("0", "999/1000"):
            model = {"dynamics": UNREACHABLE, "discount": discount, "values": ["0", "-7"], "alpha": alpha}
            assert holds("soft_q.thm2", model | {"policy": [["1/2", "1/2"], [f"1/{10**30}", f"{10**30 - 1}/{10**30}"]]})


def test_a_discount_of_one_is_refused() -> None:
    assert Discount().fault(Fraction(1)) == "is outside [0, 1): 1"
    assert Discount().fault(Fraction(-1, 2)) == "is outside [0, 1): -1/2"
    assert Discount().fault(Fraction(999, 1000)) is None


# (e) The verdicts.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


# (f) Planted falsehoods.


def changed(like: str, change: Any) -> Sides:
    """The claim's first check with another right side."""

    def sides(p: Any) -> Check:
        check = registry()[like].readings["intended"].checks(p)[0]
        return replace(check, right=change(p, check))

    return sides


def improved_once_is_enough(p: Any) -> Check:
    """A second improvement gains nothing."""
    once = log_soft_greedy(soft_action_values(p, p.log_policy, p.rewards), 1)
    values = soft_action_values(p, once, p.rewards)
    twice = soft_action_values(p, log_soft_greedy(values, 1), p.rewards)
    return Check("planted", twice, "<=", values, scale=value_size(p, p.rewards))


def a_tighter_contraction(p: Any) -> Check:
    """The factor is 3/4 of the discount: equality at values that differ by a constant tells."""
    after = largest(soft_backup(p, p.first_values) - soft_backup(p, p.second_values))
    return Check("planted", after, "<=", p.discount * largest(p.first_values - p.second_values) * 3 / 4)


def other_divergence(p: Any) -> Check:
    values = soft_action_values(p, p.log_policy, p.rewards)
    greedy = log_soft_greedy(values, 1)
    check = registry()["soft_q.eq19"].readings["intended"].checks(p)[0]
    return replace(check, right=soft_maximum(values, 1) - 2 * kl(p.log_policy, greedy))


def uniform_proposal(p: Any) -> Check:
    log_proposal = log_soft_greedy(p.action_values * 0, 1)
    alpha = p.alpha
    estimate = expected_sampled_soft_value(p.action_values, log_proposal, alpha, p.samples)
    return Check("planted", estimate, "==", soft_maximum(p.action_values, alpha))


def reward_twice(p: Any) -> Check:
    check = registry()["soft_q.eq15.scaling"].readings["intended"].checks(p)[0]
    return replace(check, right=check.right + bellman(p, p.rewards, p.rewards[..., 0] * 0) / 1000)


PLANTED: dict[str, tuple[str, Sides]] = {
    "one improvement is optimal": ("soft_q.thm4", improved_once_is_enough),
    "Eq. 18 with a margin": (
        "soft_q.eq18",
        changed("soft_q.eq18", lambda p, c: c.right - namespace(c.right).abs(c.right) / 1000),
    ),
    "Eq. 19 with twice the divergence": ("soft_q.eq19", other_divergence),
    "a contraction by 3/4 of the discount": ("soft_q.appa2.contraction", a_tighter_contraction),
    "Eq. 25 with half the distance": (
        "soft_q.eq25",
        changed("soft_q.eq25", lambda p, c: (c.right + soft_maximum(p.second_values, 1)) / 2),
    ),
    "a uniform proposal without bias": ("soft_q.sec32.unbiased", uniform_proposal),
    "rewards that count a little more": ("soft_q.eq15.scaling", reward_twice),
    "the hard limit without log A": (
        "soft_q.sec2.hardlimit",
        changed("soft_q.sec2.hardlimit", lambda p, c: c.right * 9 / 10),
    ),
    "the distance without its weight": (
        "soft_q.sec32.mse",
        changed("soft_q.sec32.mse", lambda p, c: c.right * 2),
    ),
    "the gradient halved": ("soft_q.eq28", changed("soft_q.eq28", lambda p, c: c.right / 2)),
    "the Bellman equation short of a hundredth": (
        "soft_q.eq23",
        changed("soft_q.eq23", lambda p, c: c.right * 99 / 100),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str) -> None:
    like, sides = PLANTED[name]
    assert judging.verdict_on(like, sides, SMALL) == "refuted"
