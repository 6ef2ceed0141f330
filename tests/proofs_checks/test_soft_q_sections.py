"""The verdicts on Sections 1 to 3 of soft Q-learning, held against a second route: trajectories listed one by one,
linear programs, optimisers and cases worked by hand.

Nothing here uses the library's formulas, except the last part, which plants falsehoods to see them refuted.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from scipy import optimize

from exactrl.errors import ExactRLError
from proofs_checks import certify
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Sides, registry
from proofs_checks.falsify import Budget, search
from tests.proofs_checks import judging
from tests.proofs_checks.soft_q_section_certificates import INSTANCES
from tests.proofs_checks.test_soft_q_verdicts import (
    Model,
    at_most,
    boltzmann,
    close,
    draw_row,
    flat,
    log_sum_exp,
    mean,
    shannon,
)

SMALL = Budget(draws=150, generations=3, population=100, suspects=2, swept=1)
SEEDS = range(8)

LITERAL_AND_INTENDED = {
    "soft_q.intro.deterministic": ("refuted", "survived"),
    "soft_q.notes.reward": ("survived", "survived"),
    "soft_q.sec2.trajectory": ("refuted", "survived"),
    "soft_q.sec2.trajectory.amended": ("survived", "survived"),
    "soft_q.sec2.boltzmann": ("survived", "survived"),
    "soft_q.eq3.any": ("refuted", "survived"),
    "soft_q.thm1": ("refuted", "survived"),
    "soft_q.thm3": ("survived", "survived"),
    "soft_q.sec31.policy": ("survived", "survived"),
    "soft_q.sec32.residual": ("survived", "survived"),
    "soft_q.eq11": ("refuted", "survived"),
}


@pytest.fixture(autouse=True)
def forty_digits() -> Any:
    with mp.workdps(40):
        yield


HALF = mp.mpf(1) / 2


# (a) The counterexamples, by hand.


def test_a_mixture_of_equal_actions_is_optimal() -> None:
    """One state, r = (0, 0): every policy has the value 0, a mixture too."""
    for x in (Fraction(0), Fraction(1, 2), Fraction(1)):
        assert x * 0 + (1 - x) * 0 == max(0, 0)


def test_the_trajectories_of_the_hand_check() -> None:
    """Action 1 tosses a coin, action 2 does not: 3/2 log 2 for the solution of Eq. 2, log 3 for (2/3, 1/3)."""

    def trajectory_entropy(x: Any) -> Any:
        return shannon([x / 2, x / 2, 1 - x])

    assert close(trajectory_entropy(HALF), 3 * mp.log(2) / 2)
    assert close(trajectory_entropy(mp.mpf(2) / 3), mp.log(3))
    assert mp.log(3) > 3 * mp.log(2) / 2
    grid = [mp.mpf(i) / 60 for i in range(61)]
    assert max(grid, key=lambda x: shannon([x, 1 - x])) == HALF  # all that Eq. 2 counts
    assert close(max(grid, key=trajectory_entropy), mp.mpf(2) / 3)


def test_finite_energies_give_every_action_something() -> None:
    for energy in (0, 50, 10**6):
        assert mp.exp(-energy) / (1 + mp.exp(-energy)) > 0
    assert mp.exp(-mp.inf) / (1 + mp.exp(-mp.inf)) == 0


def test_the_later_reward_of_the_hand_check() -> None:
    """1 now or 2 at the next step, gamma = 2/5, alpha = 1/100: Theorem 1 takes the 1, nearly 1 less in Eq. 2."""
    gamma, alpha = mp.mpf(2) / 5, mp.mpf(1) / 100
    later = [alpha * mp.log(2), 2 + alpha * mp.log(2)]  # two equal actions after either
    assert later == [log_sum_exp([mp.mpf(r)] * 2, alpha) for r in (0, 2)]
    policy = boltzmann([1 + gamma * later[0], gamma * later[1]], alpha)
    assert 2e-9 < policy[1] < 2.1e-9
    undiscounted = mean(policy, [1 + later[0], later[1]]) + alpha * shannon(policy)
    assert 0.99 < later[1] - undiscounted < 1
    without = boltzmann([1 + later[0], later[1]], alpha)
    assert at_most(later[1], mean(without, [1 + later[0], later[1]]) + alpha * shannon(without))  # gamma = 1 is right


def test_an_absorbing_state_that_counts_for_nothing() -> None:
    """Where every action earns -alpha log A the soft value is 0, and the uniform policy earns 0 a step."""
    for actions, alpha, gamma in ((2, HALF, mp.mpf(2) / 5), (3, mp.mpf(7), mp.mpf(9) / 10)):
        reward = -alpha * mp.log(actions)
        assert close(log_sum_exp([reward + gamma * 0] * actions, alpha), mp.mpf(0))
        assert close(reward + alpha * shannon([mp.mpf(1) / actions] * actions), mp.mpf(0))


def test_a_class_without_the_backup() -> None:
    """r = (0, 1), gamma = 0, one value for both actions: least at 1/2, which is not the backup (0, 1)."""
    error = lambda theta: (theta**2 + (1 - theta) ** 2) / 4
    assert error(Fraction(1, 2)) < min(error(Fraction(k, 10)) for k in (0, 4, 6, 10))
    assert error(Fraction(1, 2)) > 0


CASES = [(claim, evaluate, component, x) for claim, _, _, evaluate, component, x in INSTANCES]


def numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [numbers(part) for part in value]
    fraction = Fraction(value)
    return mp.mpf(fraction.numerator) / fraction.denominator


@pytest.mark.parametrize(("claim", "evaluate", "component", "x"), CASES, ids=[c[0] for c in CASES])
def test_certificates_have_the_values_of_the_second_route(claim: str, evaluate: Any, component: Any, x: Any) -> None:
    """Both sides of the library, by another road, and accepted by the checker, which has its own."""
    reading = registry()[claim].readings["literal"]
    instance = reading.space.from_json(x)
    finding = replace(certify.examine(reading, instance), component=tuple(component))
    assert finding.outcome == "violated"
    certificate = certify.certificate(reading, instance, finding)
    with mp.workdps(80):
        sides = evaluate({name: numbers(value) for name, value in x.items()}, component)
        for name, true in zip(("left", "right"), sides, strict=True):
            assert abs(mp.mpf(certificate[name]) - true) <= mp.mpf(10) ** -18 * (1 + abs(true))
    assert checker.check(json.dumps(certificate).encode()).startswith(f"{claim} literal refuted: ")


# (b) What holds, by the second route.


def solved(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Gauss and Jordan in fractions."""
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    for i in range(len(rows)):
        pivot = next(k for k in range(i, len(rows)) if rows[k][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(len(rows)):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]


@pytest.mark.parametrize("seed", SEEDS)
def test_one_deterministic_policy_attains_the_linear_program(seed: int) -> None:
    """The least V with V >= r + gamma P V is the optimum over all policies; a deterministic one has it."""
    rng = random.Random(seed)
    S, A, gamma = rng.randint(1, 3), rng.randint(1, 3), Fraction(rng.randint(0, 9), 10)
    r = [[Fraction(rng.randint(-3, 3)) for _ in range(A)] for _ in range(S)]
    counts = [[[rng.randint(0, 3) for _ in range(S)] for _ in range(A)] for _ in range(S)]
    P = [[[Fraction(k + (sum(row) == 0), sum(row) or S) for k in row] for row in rows] for rows in counts]
    constraints = [[gamma * P[s][a][t] - (s == t) for t in range(S)] for s in range(S) for a in range(A)]
    program = optimize.linprog(
        np.ones(S), A_ub=np.array(constraints, dtype=float), b_ub=[-float(r[s][a]) for s in range(S) for a in range(A)],
        bounds=[(None, None)] * S,
    )  # fmt: skip
    every = []
    for chosen in itertools.product(range(A), repeat=S):
        system = [[(s == t) - gamma * P[s][a][t] for t in range(S)] for s, a in enumerate(chosen)]
        every.append(solved(system, [r[s][a] for s, a in enumerate(chosen)]))
    best = [max(values[s] for values in every) for s in range(S)]
    assert best in every
    assert np.allclose(program.x, np.array(best, dtype=float), atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_entropy_as_a_reward_along_listed_trajectories(seed: int) -> None:
    model = Model(seed)
    policy, alpha, steps = model.policy(), mp.mpf(model.rng.uniform(0.1, 5)), 3
    start = draw_row(model.rng, model.S)
    of_actions = of_states = mp.mpf(0)
    pairs = [(s, a) for s in range(model.S) for a in range(model.A)]
    for path in itertools.product(pairs, repeat=steps):
        chance = start[path[0][0]] * mp.fprod(policy[s][a] for s, a in path)
        chance *= mp.fprod(model.P[s][a][t] for (s, a), (t, _) in itertools.pairwise(path))
        if chance:
            of_actions += chance * mp.fsum(model.r[s][a] - alpha * mp.log(policy[s][a]) for s, a in path)
            of_states += chance * mp.fsum(model.r[s][a] + alpha * shannon(policy[s]) for s, a in path)
    assert close(of_actions, of_states)


def two_step_model(rng: random.Random, *, certain: bool) -> tuple[Any, ...]:
    A, S = rng.randint(1, 3), rng.randint(1, 2)
    chances = [draw_row(rng, S) for _ in range(A)]
    if certain:
        chances = [[mp.mpf(s == row.index(max(row))) for s in range(S)] for row in chances]
    first = [mp.mpf(rng.uniform(-3, 3)) for _ in range(A)]
    second = [[mp.mpf(rng.uniform(-3, 3)) for _ in range(A)] for _ in range(S)]
    return chances, first, second, mp.mpf(rng.uniform(0.1, 3))


def judged(model: tuple[Any, ...], policy: Any, *, dynamics: bool) -> Any:
    """Expected return plus alpha times the entropy of listed trajectories, with that of the dynamics or without."""
    chances, first, second, alpha = model
    total = mp.mpf(0)
    for a, s, b in itertools.product(range(len(first)), range(len(second)), range(len(first))):
        actions = policy[0][a] * policy[1][s][b]
        chance = actions * chances[a][s]
        if chance:
            total += chance * (first[a] + second[s][b] - alpha * mp.log(chance if dynamics else actions))
    return total


def solution(model: tuple[Any, ...]) -> tuple[Any, Any]:
    chances, first, second, alpha = model
    later = [log_sum_exp(row, alpha) for row in second]
    ahead = [r + mean(row, later) for r, row in zip(first, chances, strict=True)]
    return boltzmann(ahead, alpha), [boltzmann(row, alpha) for row in second]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_solution_of_eq_2_and_the_entropy_of_trajectories(seed: int) -> None:
    rng = random.Random(seed)
    for certain in (True, False):
        model = two_step_model(rng, certain=certain)
        best = solution(model)
        for _ in range(20):
            other = draw_row(rng, len(model[1])), [draw_row(rng, len(model[1])) for _ in model[2]]
            # What Eq. 2 counts is the surprise of the actions alone; with certain dynamics it is all there is.
            assert at_most(judged(model, other, dynamics=False), judged(model, best, dynamics=False))
            if certain:
                assert judged(model, other, dynamics=True) == judged(model, other, dynamics=False)


def test_boltzmann_exploration_falls_short() -> None:
    """The witness of the claim: 0.38 alpha more behind one action, of which standard values know less."""
    for alpha in (mp.mpf(1), mp.mpf(10) ** -6, mp.mpf(50)):
        costs = [[mp.mpf(0), -alpha], [mp.mpf(0), mp.mpf(0)]]
        soft = [log_sum_exp(row, alpha) for row in costs]
        assert 0.37 < (soft[1] - soft[0]) / alpha < 0.39
        own = [mean(boltzmann(row, alpha), row) for row in costs]
        assert 0.26 < (own[1] - own[0]) / alpha < 0.28
        best = log_sum_exp(soft, alpha)
        for standard in ([max(row) for row in costs], own):
            policy = boltzmann(standard, alpha)
            assert mean(policy, soft) + alpha * shannon(policy) < best * (1 - mp.mpf(10) ** -4)


def test_boltzmann_exploration_agrees_in_one_state_and_without_a_future() -> None:
    rewards, alpha, gamma = [mp.mpf(0), mp.mpf(1), mp.mpf(-2)], HALF, mp.mpf(9) / 10
    soft = log_sum_exp(rewards, alpha) / (1 - gamma)
    hard = max(rewards) / (1 - gamma)
    for following in (soft, hard, mp.mpf(0)):
        policy = boltzmann([r + gamma * following for r in rewards], alpha)
        assert all(close(*pair) for pair in zip(policy, boltzmann(rewards, alpha), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_greedy_policy_is_best_for_one_step_by_an_optimiser(seed: int) -> None:
    rng = random.Random(seed)
    alpha, values = mp.mpf(rng.uniform(0.2, 4)), [mp.mpf(rng.uniform(-4, 4)) for _ in range(3)]

    def loss(logits: Any) -> float:
        weights = np.exp(logits - logits.max())
        p = weights / weights.sum()
        return float(-(p @ np.array(values, dtype=float)) + float(alpha) * (p @ np.log(p)))

    found = optimize.minimize(loss, np.zeros(3), tol=1e-12).fun
    greedy = boltzmann(values, alpha)
    assert abs(-found - (mean(greedy, values) + alpha * shannon(greedy))) < 1e-8


@pytest.mark.parametrize("seed", SEEDS)
def test_energies_of_any_distribution(seed: int) -> None:
    rng = random.Random(seed)
    p = draw_row(rng, rng.randint(1, 5))
    weights = [mp.exp(mp.log(x)) if x else mp.exp(-mp.inf) for x in p]  # the energy log p of App. B
    assert all(close(w / mp.fsum(weights), x) for w, x in zip(weights, p, strict=True))
    for distance in (HALF, mp.mpf(10) ** -9):
        finite = [-mp.log(x + distance) for x in p]
        weights = [mp.exp(-e) for e in finite]
        away = mp.fsum(abs(w / mp.fsum(weights) - x) for w, x in zip(weights, p, strict=True)) / 2
        assert away <= len(p) * distance


@pytest.mark.parametrize("seed", SEEDS)
def test_no_policy_beats_theorem_1_with_a_discount(seed: int) -> None:
    """Random challengers summed step by step, and the best that an optimiser finds."""
    model = Model(seed)
    alpha = mp.mpf(model.rng.choice([0.3, 1, 4]))
    best = [log_sum_exp(q, alpha) for q in model.optimal(alpha)]
    for _ in range(3):
        policy = model.policy()
        values = model.values_of(policy, alpha=alpha)
        own = [mean(p, q) + alpha * shannon(p) for p, q in zip(policy, values, strict=True)]
        assert all(at_most(*pair) for pair in zip(own, best, strict=True))
    P, r, gamma = (np.array(x, dtype=object).astype(float) for x in (model.P, model.r, model.gamma))

    def loss(logits: Any) -> float:
        table = logits.reshape(model.S, model.A)
        weights = np.exp(table - table.max(axis=1, keepdims=True))
        p = weights / weights.sum(axis=1, keepdims=True)
        step = (p * r).sum(axis=1) - float(alpha) * np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0).sum(axis=1)
        return -float(np.linalg.solve(np.eye(model.S) - gamma * np.einsum("sa,sat->st", p, P), step).sum())

    found = -optimize.minimize(loss, np.zeros(model.S * model.A), tol=1e-12).fun
    assert abs(found - float(mp.fsum(best))) < 1e-5 * (1 + abs(found))


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_iteration_and_its_error(seed: int) -> None:
    model = Model(seed)
    alpha = mp.mpf(model.rng.choice([0.3, 1, 4]))
    optimal = model.optimal(alpha)
    values = [log_sum_exp(q, alpha) for q in optimal]
    own = model.values_of([boltzmann(q, alpha) for q in optimal], alpha=alpha)  # Eq. 4, summed
    assert all(close(*pair) for pair in zip(flat(own), flat(optimal), strict=True))
    start = [mp.mpf(model.rng.uniform(-50, 50)) for _ in values]
    apart = max(abs(x - y) for x, y in zip(start, values, strict=True))
    V = start
    for k in range(1, 8):
        Q = model.ahead(V)
        V = [log_sum_exp(q, alpha) for q in Q]
        bound = model.gamma**k * apart
        assert at_most(max(abs(x - y) for x, y in zip(V, values, strict=True)), bound)
        assert at_most(max(abs(x - y) for x, y in zip(flat(Q), flat(optimal), strict=True)), bound)
        for q, best in zip(Q, optimal, strict=True):
            for x, y in zip(boltzmann(q, alpha), boltzmann(best, alpha), strict=True):
                assert at_most(abs(mp.log(x) - mp.log(y)) * alpha, 2 * bound)
    challenger = model.table()
    error = max(
        abs(x - y)
        for x, y in zip(flat(model.ahead([log_sum_exp(q, alpha) for q in challenger])), flat(challenger), strict=True)
    )
    away = max(abs(x - y) for x, y in zip(flat(challenger), flat(optimal), strict=True))
    assert at_most((1 - model.gamma) * away, error)
    assert at_most(error, (1 + model.gamma) * away)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_table_is_fitted_to_the_backup_by_an_optimiser(seed: int) -> None:
    model = Model(seed)
    target = model.table()
    backup = np.array(flat(model.ahead([log_sum_exp(q) for q in target])), dtype=object).astype(float)
    weights = np.array(draw_row(model.rng, len(backup), zeros=False), dtype=object).astype(float) + 0.1
    found = optimize.lsq_linear(np.diag(np.sqrt(weights)), np.sqrt(weights) * backup).x
    assert np.allclose(found, backup, atol=1e-9)


# (c) The edges: no randomness, all randomness, no discount, tiny and huge temperatures, one state, one action.

TINY_ALPHA, HUGE_ALPHA = f"1/{10**9}", str(10**9)


def outcome(claim: str, data: Any, reading: str = "intended") -> str:
    judged_by = registry()[claim].readings[reading]
    return certify.examine(judged_by, judged_by.space.from_json(data), most_bits=2048).outcome


@pytest.mark.parametrize("alpha", ["1", TINY_ALPHA, HUGE_ALPHA])
@pytest.mark.parametrize("discount", ["0", "999/1000"])
def test_edges_of_known_models(alpha: str, discount: str) -> None:
    alone = {"dynamics": [[["1"]]], "values": ["7"], "policy": [["1"]]}
    unreachable = {
        "dynamics": [[["1", "0"], ["1", "0"]], [["1/3", "2/3"], ["0", "1"]]], "values": ["0", "-1000000"],
        "policy": [["1/2", "1/2"], [f"1/{10**300}", f"{10**300 - 1}/{10**300}"]],
    }  # fmt: skip
    for model, other in ((alone, [["1"]]), (unreachable, [["0", "1"], ["1", "0"]])):
        known = model | {"alpha": alpha, "discount": discount}
        values = [[str(7 * int(Fraction(x))) for x in row] for row in other]
        for claim, more in (
            ("soft_q.thm1", {"challenger": other}),
            ("soft_q.thm1", {"challenger": model["policy"]}),
            ("soft_q.thm3", {"start": ["-3"] * len(other), "steps": 5}),
            ("soft_q.thm3", {"start": model["values"], "steps": 1}),
            ("soft_q.sec31.policy", {"start": ["1000"] * len(other), "steps": 2}),
            ("soft_q.sec32.residual", {"challenger": values}),
        ):
            assert outcome(claim, known | more) in ("satisfied", "tied")


def test_edges_of_two_steps() -> None:
    coin = {"transitions": [["1/2", "1/2"], ["0", "1"]], "first_rewards": ["0", "0"], "alpha": "1"}
    coin |= {"second_rewards": [["0", "0"], ["0", "0"]]}
    more = coin | {"challenger_first": ["2/3", "1/3"], "challenger_second": [["1/2", "1/2"]] * 2}
    assert outcome("soft_q.sec2.trajectory", coin, "literal") == "violated"
    certain = {"transitions": [["0", "1"]] * 2}
    assert outcome("soft_q.sec2.trajectory", coin | certain, "literal") in ("satisfied", "tied")
    assert outcome("soft_q.sec2.trajectory", more | certain) in ("satisfied", "tied")
    assert outcome("soft_q.sec2.trajectory.amended", more) in ("satisfied", "tied")
    alone = {"transitions": [["1"]], "first_rewards": ["5"], "second_rewards": [["-5"]], "alpha": TINY_ALPHA}
    assert outcome("soft_q.sec2.trajectory", alone, "literal") in ("satisfied", "tied")
    alone |= {"challenger_first": ["1"], "challenger_second": [["1"]]}
    for claim in ("soft_q.sec2.trajectory", "soft_q.sec2.trajectory.amended"):
        assert outcome(claim, alone) in ("satisfied", "tied")
    waiting = {"transitions": [["1", "0"], ["0", "1"]], "first_rewards": ["1", "0"], "alpha": "1/100"}
    waiting |= {"second_rewards": [["0", "0"], ["2", "2"]]}
    assert outcome("soft_q.thm1", waiting | {"discount": "2/5"}, "literal") == "violated"
    alike = {"transitions": [["1", "0"]] * 2}  # nothing to trade the present for: the discount does not matter
    assert outcome("soft_q.thm1", waiting | alike | {"discount": "0"}, "literal") in ("satisfied", "tied")
    with pytest.raises(ExactRLError, match=r"^transitions is random: expected probabilities of 0 and 1$"):
        registry()["soft_q.sec2.trajectory"].readings["intended"].space.from_json(more)


def test_edges_of_the_rest() -> None:
    assert outcome("soft_q.eq3.any", {"policy": ["0", "1"], "distance": "1"}) in ("satisfied", "tied")
    assert outcome("soft_q.eq3.any", {"policy": ["1"], "distance": "1/2"}, "intended") in ("satisfied", "tied")
    assert outcome("soft_q.eq3.any", {"policy": [f"1/{10**900}", f"{10**900 - 1}/{10**900}"]}, "literal") == "satisfied"
    model = {"dynamics": [[["1"], ["1"]]], "rewards": [["1", "0"]], "discount": "0"}
    literal = "literal"
    assert outcome("soft_q.intro.deterministic", model | {"policy": [["1/2", "1/2"]]}, literal) == "satisfied"
    assert outcome("soft_q.intro.deterministic", model | {"policy": [["0", "1"]]}, literal) == "not given"
    class_ = model | {"parameter": "0", "alpha": "1", "state_weights": ["1"], "action_weights": ["1/3", "2/3"]}
    assert outcome("soft_q.eq11", class_ | {"features": [["1", "1"]]}, literal) == "violated"
    assert outcome("soft_q.eq11", class_ | {"features": [["7", "0"]]}, literal) in ("satisfied", "tied")
    assert outcome("soft_q.eq11", class_ | {"features": [["0", "0"]]}, literal) == "not given"


# (d) The verdicts, and the certificates before the stand-alone checker.


@pytest.mark.parametrize("claim", LITERAL_AND_INTENDED)
def test_verdicts(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judging.hold(claim, LITERAL_AND_INTENDED[claim], SMALL, monkeypatch)


def refused(claim: str, **instance: Any) -> str:
    """Why the checker refuses an instance, whatever sides are printed."""
    (condition,) = (word for id, word in checker.TABLE if id == claim)
    return judging.refusal(claim, condition, **instance)


def test_the_checker_holds_instances_against_the_hypotheses() -> None:
    one = {"dynamics": [[["1"], ["1"]]], "rewards": [["0", "0"]], "discount": "0"}
    certain = one | {"policy": [["1", "0"]]}
    assert refused("soft_q.intro.deterministic", **certain).startswith("policy: deterministic")
    better = one | {"rewards": [["0", "1"]], "policy": [["1/2", "1/2"]]}
    assert refused("soft_q.intro.deterministic", **better) == "the relation holds on this instance"
    wide = {"dynamics": [[["1"] + ["0"] * 12] * 2] * 13, "rewards": [["0", "0"]] * 13, "policy": [["1/2", "1/2"]] * 13}
    assert refused("soft_q.intro.deterministic", **wide, discount="0").startswith("rewards: more than")
    assert refused("soft_q.eq3.any", policy=["1/2", "1/2"]) == "the relation holds on this instance"
    steps = {
        "transitions": [["1/2", "1/2"], ["1", "0"]], "first_rewards": ["0", "0"], "alpha": "1",
        "second_rewards": [["0", "0"], ["0", "0"]],
    }  # fmt: skip
    assert refused("soft_q.sec2.trajectory", **steps).startswith("left: '1e0' where '1.79")
    certain = steps | {"transitions": [["0", "1"], ["1", "0"]]}
    assert refused("soft_q.sec2.trajectory", **certain).startswith("not settled at 8192 bits")
    assert refused("soft_q.sec2.trajectory", **steps | {"alpha": "0"}) == "alpha: must be > 0"
    assert refused("soft_q.thm1", **steps, discount="1") == "discount: must be at least 0 and below 1"
    many = {"transitions": [["1", "0"]] * 64, "first_rewards": ["0"] * 64, "second_rewards": [["0"] * 64] * 2}
    assert refused("soft_q.sec2.trajectory", **steps | many).startswith("transitions: more than")
    fit = one | {"features": [["0", "0"]], "parameter": "0", "alpha": "1", "state_weights": ["1"]}
    assert refused("soft_q.eq11", **fit, action_weights=["1/2", "1/2"]).startswith("features: all are 0")
    assert refused("soft_q.eq11", **fit, action_weights=["1", "0"]) == "action_weights[1]: must be > 0"


# (e) Planted falsehoods.


def is_refuted(like: str, sides: Sides) -> bool:
    """Whether the search finds an instance that balls certainly refute."""
    reading = replace(registry()[like].readings["intended"], sides=sides)
    found = search(reading, np.random.SeedSequence(3), SMALL)
    suspects = [instance for _, instance in found.suspects] + found.swept
    return any(certify.examine(reading, x).outcome == "violated" for x in suspects)


def changed(like: str, change: Any, check: int = 0) -> Sides:
    """One check of the intended reading, changed."""

    def sides(p: Any) -> Check:
        found: Check = change(p, registry()[like].readings["intended"].checks(p)[check])
        return found

    return sides


PLANTED: dict[str, tuple[str, Any, int]] = {
    "some policy is better than all deterministic ones": (
        "soft_q.intro.deterministic", lambda p, c: replace(c, relation=">="), 0,
    ),
    "every deterministic policy is optimal": (
        "soft_q.intro.deterministic", lambda p, c: replace(c, relation="<"), 1,
    ),
    "half the entropy is a reward": ("soft_q.notes.reward", lambda p, c: replace(c, right=c.right + p.alpha / 2), 0),
    "the trajectories have a little less entropy": (
        "soft_q.sec2.trajectory", lambda p, c: replace(c, right=c.right * 99 / 100), 1,
    ),
    "the objective is least at its solution": (
        "soft_q.sec2.trajectory", lambda p, c: replace(c, relation=">="), 0,
    ),
    "the dynamics count twice": (
        "soft_q.sec2.trajectory.amended", lambda p, c: replace(c, left=2 * c.left), 1,
    ),
    "Boltzmann exploration is worst": ("soft_q.sec2.boltzmann", lambda p, c: replace(c, relation=">="), 0),
    "Boltzmann exploration has all of the objective": (
        "soft_q.sec2.boltzmann", lambda p, c: replace(c, relation="=="), 1,
    ),
    "its own values make up for it": ("soft_q.sec2.boltzmann", lambda p, c: replace(c, relation=">="), 2),
    "the energy is half of log p": ("soft_q.eq3.any", lambda p, c: replace(c, right=c.right / 2), 0),
    "twice as near": ("soft_q.eq3.any", lambda p, c: replace(c, right=c.right / 2), 2),
    "a strict optimum": ("soft_q.thm1", lambda p, c: replace(c, right=c.right - p.alpha[..., None] / 1000), 0),
    "values at a rate of twice the discount": (
        "soft_q.thm3", lambda p, c: replace(c, right=c.right / 2**p.steps), 0,
    ),
    "action values at a rate of twice the discount": (
        "soft_q.thm3", lambda p, c: replace(c, right=c.right / 2**p.steps), 1,
    ),
    "the policy is not recovered": ("soft_q.sec31.policy", lambda p, c: replace(c, relation=">="), 0),
    "the fixed point lies elsewhere": (
        "soft_q.sec32.residual", lambda p, c: replace(c, left=c.left + p.alpha[..., None, None]), 0,
    ),
    "a small error twice as telling": ("soft_q.sec32.residual", lambda p, c: replace(c, left=2 * c.left), 1),
    "the error is at most the distance": (
        "soft_q.sec32.residual", lambda p, c: replace(c, right=c.right / (1 + p.discount) * (1 - p.discount)), 2,
    ),
    "the target lacks a hundredth": ("soft_q.eq11", lambda p, c: replace(c, left=c.left * 99 / 100), 0),
    "all errors are at least the largest": ("soft_q.eq11", lambda p, c: replace(c, left=2 * c.left), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_planted_falsehoods_are_refuted(name: str) -> None:
    like, change, check = PLANTED[name]
    assert is_refuted(like, changed(like, change, check))
    assert not is_refuted(like, changed(like, lambda p, c: c, check))
