"""The claims of Sec. 3.3, footnote 2 and Apps. A.1, D and D.4 of the MPO paper, held against a second route.

Models are evaluated by summing step by step, M-steps by searching a grid, Retrace by walking along trajectories, a
Gaussian M-step by quadrature.  Nothing here uses the library's formulas.
"""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from exactrl.number_systems.balls import Balls
from proofs_checks import certify, verify
from proofs_checks.claim import registry
from tests.proofs_checks.mpo_certificates import average, divergence
from tests.proofs_checks.mpo_steps_certificates import INSTANCES, multipliers, tilted_values
from tests.proofs_checks.second_routes import numbers

SEEDS = range(6)


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


def strings(value: Any) -> Any:
    return [strings(v) for v in value] if isinstance(value, list) else str(value)


def middle(x: Any) -> Any:
    """The midpoint of a ball as an mpmath number."""
    return mp.mpf(x.str(35, radius=False)) if x.is_finite() else mp.mpf("inf" if x > 0 else "-inf")


def sides_of(claim: str, reading: str, data: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What the claim computes on an instance, in balls: {check: (left, right)} as nested lists."""
    chosen = registry()[claim].readings[reading]
    instance = chosen.space.from_json(data)
    checks = chosen.checks(chosen.space.problem(instance))

    def plain(x: Any) -> Any:
        array = Balls(x).data
        return np.vectorize(middle, otypes=[object])(array).tolist() if array.ndim else middle(array[()])

    return {check.name: (plain(check.left), plain(check.right)) for check in checks}


def close(x: Any, y: Any) -> bool:
    return x == y or bool(abs(x - y) <= mp.mpf(10) ** -12 * (1 + abs(x) + abs(y)))


# Random models in fractions, and discounted sums step by step.


def draw_row(rng: random.Random, n: int, *, zeros: bool = True) -> list[Fraction]:
    weights = [Fraction(0 if zeros and rng.random() < 0.3 else rng.randint(1, 9)) for _ in range(n)]
    weights[rng.randrange(n)] += 1
    return [w / sum(weights) for w in weights]


def draw_model(seed: int, *, states: int = 2, actions: int = 3) -> dict[str, Any]:
    rng = random.Random(seed)
    table = lambda **options: [draw_row(rng, actions, **options) for _ in range(states)]
    policy = table(zeros=False)
    return {
        "dynamics": [[draw_row(rng, states) for _ in range(actions)] for _ in range(states)],
        "rewards": [[Fraction(rng.randint(-9, 9), rng.randint(1, 5)) for _ in range(actions)] for _ in range(states)],
        "discount": Fraction(rng.choice([0, 3, 6, 8]), 12),
        "alpha": Fraction(rng.randint(1, 30), 10),
        "policy": policy,
        "q": table(),
        "rng": rng,
    }


def summed(x: dict[str, Any], law: Any, earned: Any) -> list[Any]:
    """The discounted sum of what each state earns, from each state, along the law of the states under a policy."""
    states = range(len(law))
    found = []
    for start in states:
        chance = [mp.mpf(int(s == start)) for s in states]
        total, weight = mp.mpf(0), mp.mpf(1)
        while weight > mp.mpf(10) ** -30:
            total += weight * sum(c * e for c, e in zip(chance, earned, strict=True) if c)
            chance = [
                sum(chance[s] * p * x["dynamics"][s][a][t] for s in states for a, p in enumerate(law[s]))
                for t in states
            ]
            weight *= x["discount"]
        found.append(total)
    return found


def mean_rewards(x: dict[str, Any], law: Any) -> list[Any]:
    return [average(row, r) for row, r in zip(law, x["rewards"], strict=True)]


def as_data(x: dict[str, Any], **more: Any) -> dict[str, Any]:
    names = ("dynamics", "rewards", "discount", "alpha", "policy", "q")
    return {name: strings(x[name]) for name in names} | {name: strings(value) for name, value in more.items()}


# (a) Propositions 1 and 2.


@pytest.mark.parametrize("seed", SEEDS)
def test_both_values_step_by_step(seed: int) -> None:
    model = draw_model(seed)
    x = numbers({name: value for name, value in model.items() if name != "rng"})
    plain = summed(x, x["q"], mean_rewards(x, x["q"]))
    charged = [
        r - x["alpha"] * divergence(q, p) for r, q, p in zip(mean_rewards(x, x["q"]), x["q"], x["policy"], strict=True)
    ]
    left, right = sides_of("mpo.prop1.value", "literal", as_data(model))["value"]
    assert all(map(close, left, summed(x, x["q"], charged)))
    assert all(map(close, right, plain))
    assert all(a <= b for a, b in zip(left, right, strict=True))


def test_an_infinite_divergence_reaches_back_to_the_states_before_it() -> None:
    """State 1 takes an action that pi lacks; state 0 leads there, state 2 does not."""
    data = {
        "dynamics": [[["0", "1", "0"]] * 2, [["0", "1", "0"]] * 2, [["0", "0", "1"]] * 2],
        "rewards": [["1", "1"]] * 3, "alpha": "1", "policy": [["1", "0"]] * 3,
        "q": [["1", "0"], ["1/2", "1/2"], ["1", "0"]],
    }  # fmt: skip
    for discount, expected in (("1/2", [-mp.inf, -mp.inf, 2]), ("0", [1, -mp.inf, 1])):
        left, right = sides_of("mpo.prop1.value", "literal", data | {"discount": discount})["value"]
        assert left == expected
        assert right == ([2, 2, 2] if discount == "1/2" else [1, 1, 1])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_operators_as_printed(seed: int) -> None:
    model = draw_model(seed)
    values = [Fraction(3), Fraction(-5, 2)]
    x = numbers({name: value for name, value in model.items() if name != "rng"} | {"values": values})
    left, right = sides_of("mpo.prop1.operator", "literal", as_data(model, values=values))["operator"]
    for s, (low, high) in enumerate(zip(left, right, strict=True)):
        total = total_charged = mp.mpf(0)
        for a, q in enumerate(x["q"][s]):
            ahead = x["rewards"][s][a] + x["discount"] * average(x["dynamics"][s][a], x["values"])
            total += q * ahead
            total_charged += q * (ahead - x["alpha"] * mp.log(q / x["policy"][s][a])) if q else 0
        assert close(low, total_charged)
        assert close(high, total)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fixed_points_are_the_sums_over_steps(seed: int) -> None:
    """With q already on the actions of pi, nothing is restricted."""
    model = draw_model(seed)
    x = numbers({name: value for name, value in model.items() if name != "rng"})
    free = as_data(model, first=[0, 1], second=[Fraction(-3), Fraction(1, 2)]) | {"steps": 2}
    plain = {name: value for name, value in free.items() if name not in ("policy", "alpha")}
    charge = [x["alpha"] * divergence(q, p) for q, p in zip(x["q"], x["policy"], strict=True)]
    for claim, data, charged in (
        ("mpo.prop2.regularised", free, charge), ("mpo.prop2.plain", plain, [0] * len(charge)),
    ):  # fmt: skip
        earned = [r - c for r, c in zip(mean_rewards(x, x["q"]), charged, strict=True)]
        found = sides_of(claim, "intended", data)
        assert all(map(close, found["fixed point"][0], summed(x, x["q"], earned)))
        assert found["contraction"][0] <= found["contraction"][1]


def test_without_the_implication_no_real_function_is_a_fixed_point() -> None:
    """One state, pi = (1, 0), q = (1 - e, e): the charge grows without bound as pi(2) falls to 0."""
    charges = [divergence([mp.mpf("0.5")] * 2, [1 - t, t]) for t in (mp.mpf(10) ** -k for k in (10, 100, 1000))]
    assert charges[0] < charges[1] < charges[2]
    assert charges[2] > 1000
    reading = registry()["mpo.prop2.regularised"].readings["literal"]
    for policy, outcome in ((["1", "0"], "refuted"), (["1/2", "1/2"], "survived")):
        data = {"policy": [policy], "q": [["1/2", "1/2"]]}
        assert verify._settle_instance(reading, data)[0] == outcome


@pytest.mark.parametrize("seed", SEEDS)
def test_the_regularised_optimum_by_iteration(seed: int) -> None:
    """From the rewards alone, by the soft backup: the equation holds at every action, and no policy does better."""
    model = draw_model(seed)
    x = numbers({name: value for name, value in model.items() if name != "rng"})
    states, actions = range(2), range(3)
    V = [mp.mpf(0)] * 2
    for _ in range(250):
        ahead = [
            [x["rewards"][s][a] + x["discount"] * average(x["dynamics"][s][a], V) for a in actions] for s in states
        ]
        V = [
            x["alpha"] * mp.log(sum(p * mp.exp(Q / x["alpha"]) for p, Q in zip(x["policy"][s], ahead[s], strict=True)))
            for s in states
        ]
    best = [
        [p * mp.exp((Q - V[s]) / x["alpha"]) for p, Q in zip(x["policy"][s], ahead[s], strict=True)] for s in states
    ]
    for s, a in itertools.product(states, actions):
        assert close(ahead[s][a] - x["alpha"] * mp.log(best[s][a] / x["policy"][s][a]), V[s])

    def value(law: Any) -> list[Any]:
        earned = [
            r - x["alpha"] * divergence(q, p) for r, q, p in zip(mean_rewards(x, law), law, x["policy"], strict=True)
        ]
        return summed(x, law, earned)

    assert all(map(close, value(best), V))
    for _ in range(5):
        other = numbers([draw_row(model["rng"], 3) for _ in states])
        assert all(a <= b + mp.mpf(10) ** -25 for a, b in zip(value(other), V, strict=True))


def test_the_drawn_optimum_is_that_of_its_rewards() -> None:
    """One state: the rewards that the claim makes of a tilt and a value lead back to both by iteration."""
    data = {
        "dynamics": [[["1"], ["1"], ["1"]]], "discount": "1/3", "alpha": "3/2", "policy": [["1/4", "1/4", "1/2"]],
        "tilt": [["1", "3", "2"]], "values": ["5"], "challenger": [["1", "0", "0"]],
    }  # fmt: skip
    x = numbers({"policy": ["1/4", "1/4", "1/2"], "tilt": ["1", "3", "2"], "alpha": "3/2", "discount": "1/3"})
    mass = average(x["policy"], x["tilt"])
    x["rewards"] = [5 * (1 - x["discount"]) + x["alpha"] * mp.log(t / mass) for t in x["tilt"]]
    best, value = tilted_values(x)
    assert close(value, 5)
    assert all(map(close, best, [p * t / mass for p, t in zip(x["policy"], x["tilt"], strict=True)]))
    found = sides_of("mpo.prop2.eq16", "intended", data)
    assert all(close(entry, 5) for entry in found["Bellman"][0][0])
    alone = (x["rewards"][0] - x["alpha"] * mp.log(4)) / (1 - x["discount"])
    assert close(found["no challenger is better"][0][0], alone)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_optimal_value_by_value_iteration(seed: int) -> None:
    model = draw_model(seed)
    x = numbers({name: value for name, value in model.items() if name != "rng"})
    V = [mp.mpf(0)] * 2
    for _ in range(250):
        V = [
            max(x["rewards"][s][a] + x["discount"] * average(x["dynamics"][s][a], V) for a in range(3))
            for s in range(2)
        ]
    data = as_data(model, challenger=model["q"])
    found = sides_of("mpo.prop2.eq17", "literal", {k: v for k, v in data.items() if k not in ("alpha", "policy", "q")})
    assert all(map(close, found["Bellman"][0], V))
    assert all(map(close, found["no policy is better"][0], summed(x, x["q"], mean_rewards(x, x["q"]))))


# (b) The M-step.


def test_the_mstep_prefers_another_parameter_than_the_bound() -> None:
    """The case by hand: one state, gamma = 0, alpha = 2, q = (1, 0), pi_1 = q, pi_2 = (1/2, 1/2), p = (1/4, 3/4)."""
    members = ([1, 0], mp.mpf(1) / 4), ([mp.mpf(1) / 2] * 2, mp.mpf(3) / 4)
    printed = [mp.log(member[0]) + mp.log(p) for member, p in members]
    bound = [-2 * divergence([1, 0], member) + mp.log(p) for member, p in members]
    assert printed[0] < printed[1]
    assert bound[0] > bound[1]


def test_without_a_prior_the_distribution_of_the_states_decides() -> None:
    """Two states that share a policy, of which the chain leaves the first at once: gamma = 1/4 puts 3/4 there."""
    policies = [[1 - t, t] for t in (mp.mpf(i) / 100 for i in range(1, 100))]
    target = [[mp.mpf(1), mp.mpf(0)], [mp.mpf(0), mp.mpf(1)]]
    discounted = lambda m: sum(
        w * average(q, [mp.log(v) for v in m]) for w, q in zip((0.75, 0.25), target, strict=True)
    )
    assert max(policies, key=discounted)[1] == mp.mpf(25) / 100
    stationary = lambda m: average(target[1], [mp.log(v) for v in m])
    assert max(policies, key=stationary)[1] == mp.mpf(99) / 100


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_step_by_step_and_its_closed_form(seed: int) -> None:
    model = draw_model(seed)
    rng = model["rng"]
    more = {
        "target": model["q"], "first": model["policy"], "second": [draw_row(rng, 3, zeros=False) for _ in range(2)],
        "prior": draw_row(rng, 2, zeros=False), "initial": draw_row(rng, 2),
    }  # fmt: skip
    data = {k: v for k, v in as_data(model, **more).items() if k not in ("policy", "q")}
    found = registry()["mpo.eq10"].readings["intended"]
    checks = found.checks(found.space.problem(found.space.from_json(data)))
    x = numbers({name: value for name, value in (model | more).items() if name != "rng"})
    for member, prior, check in zip(("first", "second"), x["prior"], checks, strict=False):
        earned = [
            r - x["alpha"] * divergence(q, p)
            for r, q, p in zip(mean_rewards(x, x["target"]), x["target"], x[member], strict=True)
        ]
        bound = average(x["initial"], summed(x, x["target"], earned)) + mp.log(prior)
        assert close(middle(check.left.data[()]), bound)
        assert close(middle(check.right.data[()]), bound)


def test_no_multiplier_has_the_constrained_maximiser() -> None:
    """The class by hand: the multiplier would have to be above 28 and below 3.8."""
    x = numbers(next(data for claim, *_, data in INSTANCES if claim == "mpo.eq12.rewrite"))
    least, most = multipliers(x)
    assert 28 < least < 29
    assert 3.7 < most < 3.8
    spent = {m: divergence(x["policy"][0], x[m][0]) for m in ("policy", "near", "far")}
    objective = {m: mp.log(x[m][0][2]) for m in spent}
    assert max((m for m in spent if spent[m] < x["epsilon"]), key=objective.__getitem__) == "near"
    for k in range(-60, 61):
        penalty = mp.mpf(10) ** (mp.mpf(k) / 20)
        assert max(spent, key=lambda m: objective[m] - penalty * spent[m]) != "near"


@pytest.mark.parametrize("penalty", ["1/3", "2"])
def test_over_tables_the_two_programs_agree_on_a_grid(penalty: str) -> None:
    """pi_i = (1/2, 1/2), q = (1/4, 3/4): the best of both is the mixture, to the mesh of the grid."""
    strength, old, target = numbers(penalty), [mp.mpf("0.5")] * 2, [mp.mpf("0.25"), mp.mpf("0.75")]
    grid = [[1 - t, t] for t in (mp.mpf(i) / 2000 for i in range(1, 2000))]
    fit = lambda m: average(target, [mp.log(v) for v in m])
    best = max(grid, key=lambda m: fit(m) - strength * divergence(old, m))
    mixture = [(q + strength * p) / (1 + strength) for q, p in zip(target, old, strict=True)]
    within = [m for m in grid if divergence(old, m) <= divergence(old, mixture) + mp.mpf(10) ** -20]
    assert abs(best[1] - mixture[1]) <= mp.mpf(1) / 2000
    assert abs(max(within, key=fit)[1] - mixture[1]) <= mp.mpf(1) / 2000
    idle = [m for m in grid if divergence(old, m) < 1]  # a constraint that is idle: the maximiser is q itself
    assert max(idle, key=fit)[1] == target[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gaussian_fits_itself_best_by_quadrature(seed: int) -> None:
    rng = random.Random(seed)
    mean, deviation, other, width = (mp.mpf(rng.randint(1, 9)) / 3 for _ in range(4))
    density = lambda a, m, d: mp.npdf(a, m, d)
    expected = lambda m, d: mp.quad(
        lambda a: density(a, mean, deviation) * mp.log(density(a, m, d)),
        [mean - 12 * deviation, mean, mean + 12 * deviation],
    )
    with mp.workdps(15):
        best, rest = expected(mean, deviation), expected(other, width)
        data = {
            "mean_q": [[strings(Fraction(int(3 * mean), 3))]], "mean": [[strings(Fraction(int(3 * other), 3))]],
            "diagonal_q": [[strings(Fraction(int(mp.nint(3 * deviation)), 3))]],
            "diagonal": [[strings(Fraction(int(mp.nint(3 * width)), 3))]],
            "below_q": [[["0"]]], "below": [[["0"]]], "weights": ["1"],
            "target": [["1/4", "3/4"]], "challenger": [["1/2", "1/2"]],
        }  # fmt: skip
        data["mean_q"], data["mean"] = ([[str(Fraction(int(mp.nint(3 * v)), 3))]] for v in (mean, other))
        found = sides_of("mpo.appd4.mstep", "literal", data)
        assert abs(found["Gaussian policies"][0] - (best - rest)) < mp.mpf(10) ** -9
        assert close(found["tables"][1], mp.log(0.25) / 4 + 3 * mp.log(0.75) / 4)
        assert close(found["tables"][0], mp.log(0.5))


def test_with_the_penalty_kept_the_mean_would_stop_short() -> None:
    """q = N(1, 1), pi_i = N(0, 1): -(m - 1)^2 / 2 - penalty m^2 / 2 is largest at 1 / (1 + penalty)."""
    for penalty in (mp.mpf(1) / 2, mp.mpf(3)):
        best = mp.findroot(lambda m, c=penalty: mp.diff(lambda t: -((t - 1) ** 2) / 2 - c * t**2 / 2, m), 0.3)
        assert close(best, 1 / (1 + penalty))


# (c) Retrace, and the covariance.


def walked_targets(w: Any, discount: Any, chance: Any, steps: int) -> dict[Any, Any]:
    """The targets of Eq. 13, mended, by walking along every trajectory of the behaviour."""
    feature = {(0, 0): 0, (0, 1): 1, (1, 0): 0, (1, 1): 2}
    behaviour = {0: 1 - chance, 1: chance}
    found = {}
    for pair in feature:
        total = feature[pair] * w
        for later in itertools.product((0, 1), repeat=steps - 1):
            pairs = [pair]
            for action in later:
                pairs.append((pairs[-1][1], action))
            probability = mp.fprod(behaviour[a] for a in later)
            for j, here in enumerate(pairs):
                trace = mp.fprod(min(1, (1 if a == 1 else 0) / behaviour[a]) for _, a in pairs[1 : j + 1])
                ahead = feature[here[1], 1] * w
                total += probability * discount**j * trace * (discount * ahead - feature[here] * w)
        found[pair] = total
    return found


@pytest.mark.parametrize(
    ("patience", "rarity", "steps"), [("0", "0", 1), ("0", "0", 6), ("5", "3", 4), ("1/2", "10", 2)]
)
def test_the_parameter_grows_along_walked_trajectories(patience: str, rarity: str, steps: int) -> None:
    discount, chance, w = 1 - 1 / (12 + numbers(patience)), 1 / (2 + numbers(rarity)), mp.mpf(3)
    targets = walked_targets(w, discount, chance, steps)
    weight = lambda s, a: (chance if s else 1 - chance) * (chance if a else 1 - chance)
    loss = lambda v: sum(weight(s, a) * ((a * (1 + s)) * v - y) ** 2 for (s, a), y in targets.items())
    fitted = mp.findroot(lambda v: mp.diff(loss, v), w)
    assert fitted > w * 66 / 65 - mp.mpf(10) ** -15
    data = {"parameter": "3", "patience": patience, "rarity": rarity, "steps": steps}
    assert close(sides_of("mpo.sec4.footnote2", "literal", data)["grows"][0], fitted)


def test_the_whole_sum_grows_too_and_a_table_does_not() -> None:
    """At beta = 1/2 the factor is 6 gamma / (5 (2 - gamma)); the same targets in a table shrink by the discount.

    What is left out after n terms falls like (gamma beta)^n, so that two lengths give the limit.
    """
    discount, chance = mp.mpf(11) / 12, mp.mpf(1) / 2
    fitted = []
    for steps in (3, 4):
        targets = walked_targets(mp.mpf(1), discount, chance, steps)
        assert max(abs(y) for y in targets.values()) <= discount * 2
        fitted.append((targets[0, 1] + 2 * targets[1, 1]) / 5)
    ratio = discount * chance
    assert close((fitted[1] - ratio * fitted[0]) / (1 - ratio), mp.mpf(66) / 65)
    behaviour = [1 - chance, chance]  # the next state is the action: stationary from the first step on
    assert [sum(behaviour[s] * behaviour[t] for s in (0, 1)) for t in (0, 1)] == behaviour


def test_below_the_threshold_the_same_example_is_stable() -> None:
    """So the growth is no artefact: gamma = 1/2 shrinks the parameter."""
    targets = walked_targets(mp.mpf(1), mp.mpf(1) / 2, mp.mpf(1) / 2, 6)
    assert (targets[0, 1] + 2 * targets[1, 1]) / 5 < mp.mpf(1) / 2


@pytest.mark.parametrize("output", ["0", "-50", "-100000", "99999", "1/3"])
def test_the_softplus_in_many_digits(output: str) -> None:
    data = {"outputs": [[output, "7"], ["-3", "1"]], "direction": ["1", "-2"]}
    reading = registry()["mpo.appd.softplus"].readings["literal"]
    assert certify.examine(reading, reading.space.from_json(data)).outcome == "satisfied"
    softplus = lambda t: t + mp.log1p(mp.exp(-t)) if t > 0 else mp.log1p(mp.exp(t))
    factor = mp.matrix([[softplus(numbers(output)), 0], [-3, softplus(mp.mpf(1))]])
    form = (mp.matrix([[1, -2]]) * factor * factor.T * mp.matrix([1, -2]))[0]
    assert close(sides_of("mpo.appd.softplus", "literal", data)["positive definite"][0] / form, 1)
    with mp.workdps(200):
        assert all(v > 0 for v in mp.eigsy(factor * factor.T, eigvals_only=True)) or numbers(output) < -1000
