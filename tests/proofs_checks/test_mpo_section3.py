"""The verdicts on Secs. 3 to 3.2 of the MPO paper, held against a second route: episodes written out, steps summed up.

Nothing here uses the library's formulas; `test_mpo_section3_verdicts.py` has the verdicts and planted falsehoods.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from typing import Any

import mpmath as mp
import pytest

from exactrl.number_systems.balls import precision
from proofs_checks import certify, verify
from proofs_checks.checker import main as checker
from proofs_checks.claim import registry
from tests.proofs_checks.mpo_certificates import average, divergence, tilted
from tests.proofs_checks.mpo_section3_certificates import (
    assert_close,
    close,
    flat,
    fractions,
    real,
    summed_values,
    walks,
)

SEEDS = range(8)


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


# Random instances in fractions, with zeros, and what the claims compute on them.


def draw_row(rng: random.Random, n: int, *, zeros: bool = True) -> list[Fraction]:
    weights = [Fraction(0 if zeros and rng.random() < 0.3 else rng.randint(1, 9)) for _ in range(n)]
    weights[rng.randrange(n)] += 1
    return [w / sum(weights) for w in weights]


def draw_model(seed: int) -> dict[str, Any]:
    """Two policies of which the second covers the first in most models, but not in all."""
    rng = random.Random(seed)
    S, A = rng.randint(1, 2), rng.randint(1, 3)
    return {
        "initial": draw_row(rng, S),
        "dynamics": [[draw_row(rng, S) for _ in range(A)] for _ in range(S)],
        "rewards": [[Fraction(rng.randint(-9, 9), rng.randint(1, 4)) for _ in range(A)] for _ in range(S)],
        "discount": Fraction(rng.choice([0, 1, 2]), 4),
        "policy": [draw_row(rng, A, zeros=seed % 4 == 0) for _ in range(S)],
        "variational": [draw_row(rng, A) for _ in range(S)],
        "weights": draw_row(rng, S),
        "alpha": Fraction(rng.randint(1, 9), 3),
        "prior": Fraction(rng.randint(1, 9), 7),
        "steps": rng.randint(1, 3),
    }


def strings(value: Any) -> Any:
    if isinstance(value, list):
        return [strings(v) for v in value]
    return str(value) if isinstance(value, Fraction) else value


def sides(claim: str, reading: str, data: dict[str, Any], condition: str) -> tuple[list[Any], list[Any]]:
    """Both sides of a check in balls of 256 bits, flattened, their midpoints as mpf."""
    found = registry()[claim].readings[reading]
    wanted = set(found.space.fields) | set(found.space.counts)
    instance = found.space.from_json({name: strings(v) for name, v in data.items() if name in wanted})
    with precision(256):
        (check,) = (c for c in found.checks(found.space.problem(instance)) if c.name == condition)
        return flat(check.left), flat(check.right)


def gap(q: list[Any], p: list[Any]) -> Any:
    """A divergence that may be infinite."""
    return mp.inf if any(x and not y for x, y in zip(q, p, strict=True)) else divergence(q, p)


def episodes(x: dict[str, Any], policy: Any, steps: int) -> dict[Any, Any]:
    """The probability of every episode."""
    found = {}
    for walk in walks(len(x["initial"]), len(x["policy"][0]), steps):
        chance = x["initial"][walk[0][0]]
        for t, (s, a) in enumerate(walk):
            chance *= policy[s][a] * (x["dynamics"][walk[t - 1][0]][walk[t - 1][1]][s] if t else 1)
        found[walk] = chance
    return found


def regularised_values(x: dict[str, Any]) -> list[Any]:
    """The sums of Eq. 3 from each state, step by step; minus infinity where a divergence on the way is infinite."""
    states = range(len(x["policy"]))
    gaps = [gap(q, p) for q, p in zip(x["variational"], x["policy"], strict=True)]
    lost = [g == mp.inf for g in gaps]
    step = [
        [x["discount"] * average(x["variational"][s], [row[t] for row in x["dynamics"][s]]) for t in states]
        for s in states
    ]
    for _ in states:
        lost = [lost[s] or any(step[s][t] and lost[t] for t in states) for s in states]
    reward = [
        average(x["variational"][s], x["rewards"][s]) - x["alpha"] * (0 if gaps[s] == mp.inf else gaps[s])
        for s in states
    ]
    V = [mp.mpf(0) for _ in states]
    for _ in range(300):
        V = [reward[s] + average(step[s], V) for s in states]
    return [-mp.inf if lost[s] else V[s] for s in states]


# (a) The counterexamples, by hand.


def test_a_likelihood_of_success_is_no_more_than_one() -> None:
    """One trajectory of return 1: whatever c <= 1/e, J = 1 lies above log p(O=1) = log c + 1."""
    for c in (1 / mp.e, mp.mpf("0.1"), mp.mpf(10) ** -9):
        assert c * mp.e <= 1 + mp.eps
        assert mp.log(c * mp.e) <= mp.eps < 1


def test_the_printed_product_leaves_the_first_action_uncounted() -> None:
    """One state and two actions, one step: p(s0) for each of two trajectories."""
    assert sum(1 for _ in walks(1, 2, 1)) == 2


def test_the_value_after_a_step_is_that_of_the_next_state() -> None:
    """0 -> 1 -> 1 -> ..., rewards 0 and 1, gamma = 1/2: V = (1, 2), Q(0) = 1, and the print has 1/2."""
    value = [Fraction(1), Fraction(2)]
    assert [0 + value[1] / 2, 1 + value[1] / 2] == value
    assert 0 + value[0] / 2 == Fraction(1, 2)


COUNTEREXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("mpo.eq2", {"policy": ["1"], "variational": ["1"], "returns": ["1"], "alpha": "1"}),
    (
        "mpo.eq3.product",
        {"initial": ["1"], "dynamics": [[["1"], ["1"]]], "variational": [["1/2", "1/2"]], "steps": 1},
    ),
    (
        "mpo.eq6.objective",
        {
            "dynamics": [[["1", "0"]], [["0", "1"]]], "rewards": [["0"], ["1"]], "discount": "0",
            "policy": [["1"], ["1"]], "weights": ["1/2", "1/2"], "alpha": "1",
        },
    ),
    (
        "mpo.eq6.reason",
        {
            "dynamics": [[["0", "1"]], [["0", "1"]]], "rewards": [["0"], ["1"]], "discount": "1/2",
            "policy": [["1"], ["1"]],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "data"), COUNTEREXAMPLES, ids=[c for c, _ in COUNTEREXAMPLES])
def test_the_counterexamples_refute_the_literal_reading_alone(claim: str, data: Any) -> None:
    readings = registry()[claim].readings
    outcome, certificate, _ = verify._settle_instance(readings["literal"], data)
    assert outcome == "refuted"
    assert checker.check(json.dumps(certificate).encode())
    asked = readings["intended"].space.fields
    more = {"surprisal": "0", "variational": data.get("variational", data.get("policy"))}
    whole = data | {name: value for name, value in more.items() if name in asked}
    assert verify._settle_instance(readings["intended"], whole)[0] == "survived"


def test_without_positive_returns_the_printed_bound_holds() -> None:
    """c = 1 is then a likelihood."""
    data = {"policy": ["1/2", "1/2"], "variational": ["1/3", "2/3"], "returns": ["0", "-7"], "alpha": "2"}
    assert verify._settle_instance(registry()["mpo.eq2"].readings["literal"], data)[0] == "survived"
    away = data | {"policy": ["0", "1"], "variational": ["0", "1"], "returns": ["100", "-7"]}
    assert verify._settle_instance(registry()["mpo.eq2"].readings["literal"], away)[0] == "survived"


def test_one_state_or_one_value_for_all_leaves_the_average_out() -> None:
    for dynamics, rewards in (([[["1"], ["1"]]], [["0", "3"]]), ([[["1", "0"]], [["1", "0"]]], [["2"], ["2"]])):
        flat_policy = [["1/2"] * 2] if len(rewards) == 1 else [["1"], ["1"]]
        data = {"dynamics": dynamics, "rewards": rewards, "discount": "1/2", "policy": flat_policy, "alpha": "1"}
        data["weights"] = ["1"] if len(rewards) == 1 else ["1/4", "3/4"]
        assert verify._settle_instance(registry()["mpo.eq6.objective"].readings["literal"], data)[0] == "survived"


# (b) The quantities of the claims, and that they hold, by the second route.


@pytest.mark.parametrize("seed", SEEDS)
def test_the_lower_bound_of_the_likelihood(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randint(1, 4)
    data: dict[str, Any] = {"policy": draw_row(rng, n, zeros=seed % 2 == 0), "variational": draw_row(rng, n)}
    data |= {"returns": [Fraction(rng.randint(-9, 9), 2) for _ in range(n)], "alpha": Fraction(rng.randint(1, 9), 3)}
    data["surprisal"] = Fraction(rng.randint(0, 3), 2)
    x = {name: real(value) for name, value in data.items()}
    top = max(x["returns"])
    chances = [mp.exp((r - top) / x["alpha"] - x["surprisal"]) for r in x["returns"]]
    success = mp.log(average(x["policy"], chances))
    rows = list(zip(x["variational"], x["policy"], chances, strict=True))
    bound = -mp.inf if any(q and not p for q, p, _ in rows) else mp.fsum(q * mp.log(c * p / q) for q, p, c in rows if q)
    left, right = sides("mpo.eq1", "literal", data, "lower bound")
    assert_close(left + right, [success, bound])
    assert bound <= success + mp.mpf(10) ** -30
    posterior = [p * c / average(x["policy"], chances) for _, p, c in rows]
    assert close(success - gap(x["variational"], posterior), bound)
    objective = average(x["variational"], x["returns"]) / x["alpha"] - gap(x["variational"], x["policy"])
    left, right = sides("mpo.eq2", "intended", data, "identity")
    assert_close(left + right, [bound, objective - top / x["alpha"] - x["surprisal"]])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_divergence_of_episodes(seed: int) -> None:
    """By enumeration, and as the mean along the way of the divergences at its states."""
    data = draw_model(seed)
    x = {name: real(value) for name, value in data.items()}
    q, p = (episodes(x, x[name], x["steps"]) for name in ("variational", "policy"))
    whole = gap(list(q.values()), list(p.values()))
    gaps = [gap(a, b) for a, b in zip(x["variational"], x["policy"], strict=True)]
    along = mp.fsum(chance * sum(gaps[s] for s, _ in walk) for walk, chance in q.items() if chance)
    assert close(whole, along)
    left, right = sides("mpo.eq3.decomposition", "literal", data, "decomposition")
    assert_close(left + right, [whole, along])
    assert_close(sides("mpo.eq3.product", "intended", data, "mass")[0], [mp.fsum(q.values())])
    count = len(x["policy"][0]) * (len(x["initial"]) if x["steps"] > 1 else 1)
    assert_close(sides("mpo.eq3.product", "literal", data, "mass")[0], [count])


@pytest.mark.parametrize("seed", SEEDS)
def test_episodes_that_may_end(seed: int) -> None:
    """The objective cut off after some steps, one episode of every length after the other, and the endless one."""
    data = draw_model(seed)
    x = {name: real(value) for name, value in data.items()}
    gamma, n = x["discount"], x["steps"]
    inference = mp.mpf(0)
    for length in range(1, n + 1):
        chance = gamma ** (length - 1) * (1 if length == n else 1 - gamma)
        if chance:
            q, p = (episodes(x, x[name], length) for name in ("variational", "policy"))
            earned = mp.fsum(w * sum(x["rewards"][s][a] for s, a in walk) for walk, w in q.items())
            inference += chance * (earned - x["alpha"] * gap(list(q.values()), list(p.values())))
    expected = inference + mp.log(x["prior"])
    left, right = sides("mpo.eq3.prior", "literal", data, "analogue")
    assert_close(left + right, [expected, expected])
    if expected != -mp.inf and all(gap(*pair) < mp.inf for pair in zip(x["variational"], x["policy"], strict=True)):
        endless = average(x["initial"], regularised_values(x))
        assert_close(sides("mpo.eq3.prior", "literal", data, "tail")[0], [abs(endless - inference)])


@pytest.mark.parametrize("seed", SEEDS)
def test_regularised_values(seed: int) -> None:
    data = draw_model(seed)
    x = {name: real(value) for name, value in data.items()}
    values = regularised_values(x)
    for claim, condition in (("mpo.eq4", "value"), ("mpo.eq3.augmented", "return")):
        left, right = sides(claim, "literal", data, condition)
        assert_close(left + right, values * 2)
    own = summed_values(x)
    left, right = sides("mpo.eq5", "literal", data, "action values")
    assert_close(left + right, [v for row in own for v in row] * 2)
    means = [average(p, v) for p, v in zip(x["policy"], own, strict=True)]
    left, right = sides("mpo.eq6.reason", "intended", data, "value")
    assert_close(left + right, means * 2)
    left, right = sides("mpo.eq6.reason", "literal", data, "same state")
    printed = [r + x["discount"] * v for row, v in zip(x["rewards"], means, strict=True) for r in row]
    assert_close(left + right, [v for row in own for v in row] + printed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_one_step_objective(seed: int) -> None:
    """Its value at a policy, its maximum at the tilted policy, and none of many others above it."""
    data = draw_model(seed)
    x = {name: real(value) for name, value in data.items()}
    Q = summed_values(x)

    def objective(q: Any) -> Any:
        rows = [average(a, v) - x["alpha"] * gap(a, p) for a, v, p in zip(q, Q, x["policy"], strict=True)]
        return average(x["weights"], rows)

    best = objective([tilted(p, v, x["alpha"]) for p, v in zip(x["policy"], Q, strict=True)])
    at_q = objective(x["variational"])
    assert_close([v for side in sides("mpo.eq6.objective", "intended", data, "one step") for v in side], [at_q] * 2)
    assert_close([v for side in sides("mpo.eq6.objective", "intended", data, "maximiser") for v in side], [best] * 2)
    rng = random.Random(seed)
    for _ in range(200):
        assert objective([real(draw_row(rng, len(v))) for v in Q]) <= best + mp.mpf(10) ** -30


def test_the_one_step_maximiser_falls_short_on_a_grid() -> None:
    """First and second policy fair, g = 1, alpha = 1, gamma = 1/2: a grid over the first choice beats q_i."""
    half, one = mp.mpf(1) / 2, mp.mpf(1)
    later = mp.log((1 + mp.e) / 2)  # the value of the tilted policy in the second state
    chosen = tilted([half, half], [mp.mpf(0), one], one)
    assert close(average(chosen, [0, 1]) - divergence(chosen, [half, half]), later)

    def whole(x: Any) -> Any:
        return half * x * later - divergence([x, 1 - x], [half, half])

    one_step = mp.exp(half * half) / (1 + mp.exp(half * half))  # E_pi r = 1/2, discounted by 1/2
    best = max(whole(mp.mpf(k) / 1000) for k in range(1, 1000))
    assert best > whole(one_step) + mp.mpf(10) ** -4
    data: dict[str, Any] = {"first": [Fraction(1, 2)] * 2, "second": [Fraction(1, 2)] * 2, "discount": Fraction(1, 2)}
    data |= {"gain": Fraction(1), "alpha": Fraction(1)}
    left, right = sides("mpo.eq6.partial", "literal", data, "improvable")
    assert close(left[0], whole(one_step))
    assert 0 <= right[0] - best < mp.mpf(10) ** -6


def test_without_a_discount_or_with_equal_rewards_there_is_no_witness() -> None:
    reading = registry()["mpo.eq6.partial"].readings["literal"]
    data = {"first": ["1/2", "1/2"], "second": ["1/2", "1/2"], "gain": "1", "alpha": "1", "discount": "0"}
    assert certify.examine(reading, reading.space.from_json(data)).outcome == "not given"
    assert reading.space.fields["gain"].fault(Fraction(0)) is not None


def test_the_two_directions_of_the_divergence() -> None:
    """A fair coin, of which the new policy keeps one side: log 2 in the E-step, infinity in TRPO."""
    data: dict[str, Any] = {"policy": [[Fraction(1, 2)] * 2], "variational": [[Fraction(1), Fraction(0)]]}
    data["weights"] = [Fraction(1)]
    estep, trust = sides("mpo.sec32.direction", "literal", data, "told apart")
    assert close(estep[0], mp.log(2))
    assert trust == [mp.inf]
    rng = random.Random(5)
    old, new = draw_row(rng, 3, zeros=False), draw_row(rng, 3, zeros=False)
    data |= {"policy": [old], "variational": [new]}
    estep, trust = sides("mpo.sec32.direction", "literal", data, "told apart")
    assert_close(estep + trust, [divergence(real(new), real(old)), divergence(real(old), real(new))])
    assert_close(sides("mpo.sec32.direction", "literal", data, "reversed")[1], [divergence(real(new), real(old))])


# (c) The edges: one action, no discount, unreachable states, actions that only one of the policies takes.

UNREACHED: dict[str, Any] = {  # pi lacks what q takes in the second state, where q never comes
    "initial": ["1", "0"], "dynamics": [[["1", "0"], ["0", "1"]], [["0", "1"], ["1/3", "2/3"]]],
    "rewards": [["5", "-1"], ["0", "1000"]], "discount": "11/12", "policy": [["1/2", "1/2"], ["0", "1"]],
    "variational": [["1", "0"], ["1/2", "1/2"]], "weights": ["1", "0"], "alpha": "1/100", "prior": "1/9", "steps": 3,
}  # fmt: skip
REACHED = UNREACHED | {"variational": [["1/2", "1/2"], ["1", "0"]], "weights": ["1/2", "1/2"]}
ONE: dict[str, Any] = {
    "initial": ["1"], "dynamics": [[["1"]]], "rewards": [["-3"]], "discount": "0", "policy": [["1"]],
    "variational": [["1"]], "weights": ["1"], "alpha": "100", "prior": "7", "steps": 1,
}  # fmt: skip
EQUAL = ONE | {
    "dynamics": [[["1"], ["1"]]], "rewards": [["4", "4"]], "policy": [["1", "0"]], "variational": [["1", "0"]],
    "discount": "999/1000",
}  # fmt: skip
ON_MODELS = ["mpo.eq3.product", "mpo.eq3.decomposition", "mpo.eq3.prior", "mpo.eq4", "mpo.eq3.augmented", "mpo.eq5",
             "mpo.eq6.objective", "mpo.eq6.reason", "mpo.sec32.direction"]  # fmt: skip


@pytest.mark.parametrize("claim", ON_MODELS)
@pytest.mark.parametrize("data", [UNREACHED, REACHED, ONE, EQUAL], ids=["unreached", "reached", "one", "equal"])
def test_at_the_edges(claim: str, data: dict[str, Any]) -> None:
    reading = registry()[claim].readings["intended"]
    wanted = set(reading.space.fields) | set(reading.space.counts)
    instance = reading.space.from_json({name: value for name, value in data.items() if name in wanted})
    for check in {c.name for c in reading.checks(reading.space.problem(instance))}:
        outcome = certify.examine(reading, instance, only=check, most_bits=512).outcome
        assert outcome in ("satisfied", "tied") or (outcome == "not given" and check in ("tail", "told apart"))


def test_what_cannot_be_reached_does_not_count() -> None:
    """The divergence is infinite in the second state, where the first policy never comes and the second one does."""
    for data, expected in ((UNREACHED, mp.mpf(60) + 12 * mp.log(mp.mpf(1) / 2) / 100), (REACHED, -mp.inf)):
        exact = {name: fractions(value) for name, value in data.items()}
        assert close(sides("mpo.eq4", "literal", exact, "value")[0][0], expected)
