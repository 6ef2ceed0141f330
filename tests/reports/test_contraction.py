"""The contraction study and its page: closed forms, an independent iteration in mpmath, planted faults, refusals."""

import csv
import json
from dataclasses import asdict

import mpmath
import numpy as np
import pytest
from click.testing import CliRunner

from exactrl import ExactRLError, FiniteMDP
from exactrl.cli import main
from exactrl.sources import bandit, garnet
from exactrl.studies import contraction
from exactrl.studies.contraction import ContractionOptions, pieces_of, study_contraction
from exactrl.studies.discounted import DISCOUNTED, DiscountedProblem, choose_discounted, discounted
from reports.contraction import contraction_report, contraction_tables

REWARDS, GAMMA = [0.5, -0.25, 1.0], 0.75


def run(*arguments):
    return CliRunner().invoke(main, ["report", "contraction", *map(str, arguments)])


def approach(study, method, alpha):
    (found,) = [x for x in study.approaches if (x.method, x.temperature) == (method, alpha)]
    return found


@pytest.fixture(scope="module")
def arms():
    return discounted("arms", bandit(REWARDS), GAMMA)


@pytest.fixture(scope="module")
def small():
    return DiscountedProblem("small", garnet(3, 2, 2, seed=5, discount=0.8))


def test_one_state_has_a_closed_form(arms):
    """V* = m / (1 - gamma), m = alpha log sum e^(r / alpha), and Q_n - Q* = gamma^n (V_{Q_0} - V*) from n = 1 on."""
    study = study_contraction(arms, ContractionOptions(temperatures=(0.3, 2.0), iterations=20))
    for alpha in (0.0, 0.3, 2.0):
        soft = [mpmath.mpf(r) for r in REWARDS]
        m = alpha * mpmath.log(sum(mpmath.exp(r / alpha) for r in soft)) if alpha else max(soft)
        first = alpha * mpmath.log(3)
        found = approach(study, "value iteration", alpha)
        start = max(abs(r + GAMMA * m / (1 - GAMMA)) for r in soft)
        wanted = [start, *(GAMMA**n * abs(first - m / (1 - GAMMA)) for n in range(1, 21))]
        assert found.distances == pytest.approx([float(x) for x in wanted], rel=1e-10)
        assert found.rate_bounds == pytest.approx([float(start) * GAMMA**n for n in range(21)], rel=1e-12)
        # From n = 2 on the values move along a constant, where the bound a posteriori is the distance itself.
        assert found.step_bounds[2:] == pytest.approx(found.distances[2:], rel=1e-9)
        assert found.step_bounds[0] is None
        # MacQueen's bounds are exact there; what is left is the tolerance of a row's mass and rounding.
        assert max(found.half_widths[1:]) < 1e-8
        # The soft greedy policy does not depend on the only state's value: one evaluation after the first is the end.
        assert approach(study, "policy iteration", alpha).reached == 1


def test_the_hard_limit_of_one_state_has_a_closed_form(arms):
    study = study_contraction(arms, ContractionOptions(temperatures=(1.0,), iterations=1))
    for gap in study.gaps:
        base = 1.0 if gap.measure == "counting" else 1 / 3
        for k, alpha in enumerate(gap.temperatures):
            exact = alpha * mpmath.log(sum(base * mpmath.exp((mpmath.mpf(r) - 1) / alpha) for r in REWARDS))
            wanted = float(exact / (1 - GAMMA))
            assert gap.least[k] == gap.greatest[k] == pytest.approx(wanted, abs=gap.resolution[k] + 1e-13)
            bounds = sorted([0.0, float(alpha * mpmath.log(3 if base == 1 else mpmath.mpf(1) / 3) / (1 - GAMMA))])
            assert [gap.lower[k], gap.upper[k]] == pytest.approx(bounds)
        assert gap.exceeded == []


def test_equal_rewards_attain_the_bound_of_the_hard_limit():
    study = study_contraction(discounted("equal", bandit([2.0, 2.0]), 0.5), ContractionOptions((1.0,), 1))
    assert study.gaps[0].greatest == pytest.approx(study.gaps[0].upper)
    # Under the uniform base measure equal actions cost nothing.
    assert study.gaps[1].greatest == pytest.approx([0.0] * 11, abs=1e-10)


def mp_values(model, alpha, digits=40):
    """Q*, and the iterates of both methods, by plain loops in mpmath."""
    states, actions = range(model.n_states), range(model.n_actions)
    P, r = np.asarray(model.transitions), model.expected_rewards
    mpf, gamma = mpmath.mpf, mpmath.mpf(model.discount)

    def value(row):
        top = max(row)
        return top + alpha * mpmath.log(sum(mpmath.exp((q - top) / alpha) for q in row)) if alpha else top

    def back_up(q):
        v = [value(row) for row in q]
        return [[mpf(r[s, a]) + gamma * sum(mpf(P[s, a, t]) * v[t] for t in states) for a in actions] for s in states]

    def evaluate(q):
        policy = []
        for row in q:
            if alpha:
                v = value(row)
                policy.append([mpmath.exp((x - v) / alpha) for x in row])
            else:
                policy.append([mpf(a == max(actions, key=lambda b, row=row: (row[b], -b))) for a in actions])
        system, right = mpmath.eye(len(states)), mpmath.matrix(len(states), 1)
        for s in states:
            for a in actions:
                p = policy[s][a]
                bonus = -alpha * mpmath.log(p) if alpha and p else 0
                right[s] += p * (mpf(r[s, a]) + bonus)
                for t in states:
                    system[s, t] -= gamma * p * mpf(P[s, a, t])
        v = mpmath.lu_solve(system, right)
        return [[mpf(r[s, a]) + gamma * sum(mpf(P[s, a, t]) * v[t] for t in states) for a in actions] for s in states]

    with mpmath.workdps(digits):
        zero = [[mpf(0) for _ in actions] for _ in states]
        best = zero
        for _ in range(500):
            best = back_up(best)
        far = [[], []]
        for rows, step, q in ((far[0], back_up, zero), (far[1], evaluate, evaluate(zero))):
            for _ in range(6):
                rows.append(
                    max(abs(x - y) for one, two in zip(q, best, strict=True) for x, y in zip(one, two, strict=True))
                )
                q = step(q)
        return far


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_distances_agree_with_an_iteration_in_mpmath(small, alpha):
    study = study_contraction(small, ContractionOptions(temperatures=(0.4,), iterations=5))
    for method, wanted in zip(("value iteration", "policy iteration"), mp_values(small.mdp, alpha), strict=True):
        found = approach(study, method, alpha)
        known = found.distances + [0.0] * (len(wanted) - len(found.distances))
        assert known == pytest.approx([float(x) for x in wanted], abs=2 * found.resolution)
        if found.reached is not None:
            assert found.reached == len(found.distances)


def test_no_bound_is_exceeded_and_policy_iteration_is_as_fast(small):
    study = study_contraction(small, ContractionOptions(temperatures=(0.05, 5.0), start="random", seed=3))
    assert not any(x.exceeded for x in [*study.approaches, *study.gaps])
    for x in study.approaches:
        for n, (distance, rate, move) in enumerate(zip(x.distances, x.rate_bounds, x.step_bounds, strict=True)):
            assert distance <= rate * (1 + 1e-9) + x.resolution
            assert n == 0 or distance <= move * (1 + 1e-9) + x.resolution
        assert x.contraction is None or x.contraction <= 0.8 + 1e-6
        assert x.method == "value iteration" or x.reached is not None


def test_a_wrong_operator_is_caught(small, monkeypatch):
    options = ContractionOptions(temperatures=(1.0,), iterations=30)
    honest = contraction._backed_up
    monkeypatch.setattr(contraction, "_backed_up", lambda mdp, q, alpha: honest(mdp, q, alpha) + 0.1)
    study = study_contraction(small, options)
    assert {name for name, _ in approach(study, "value iteration", 1.0).exceeded} == {"a priori", "a posteriori"}
    assert approach(study, "policy iteration", 1.0).exceeded == []
    text = contraction_report(small, options, study, {}).paragraphs[-1]
    assert text.startswith("Exceeded for certain: value iteration, hard: a priori at n = ")


def test_a_wrong_bound_of_the_hard_limit_is_caught(small, monkeypatch):
    honest = contraction.temperature_gap
    monkeypatch.setattr(contraction, "temperature_gap", lambda *given: tuple(x / 2 for x in honest(*given)))
    study = study_contraction(small, ContractionOptions(temperatures=(1.0,), iterations=1))
    assert max(study.gaps[0].exceeded) == 100.0
    assert min(study.gaps[1].exceeded) == 0.001


def test_enclosures_that_do_not_meet_are_told_apart(small):
    from exactrl.soft_iteration import soft_policy_iteration

    one, other = (soft_policy_iteration(small.mdp, alpha) for alpha in (0.5, 0.6))
    assert contraction._overlap(one, one)
    assert not contraction._overlap(one, other)


def test_nothing_to_earn_is_reached_at_once():
    problem = DiscountedProblem("nothing", FiniteMDP([[[1.0], [1.0]]], [[0.0, 0.0]], discount=0.5))
    study = study_contraction(problem, ContractionOptions((1.0,), 3))
    found = approach(study, "value iteration", 0.0)
    assert (found.reached, found.distances, found.contraction) == (0, [], None)
    tables = contraction_tables(study)
    assert tables[0][2][0][1:-1] == ["0 (reached)", "–", "–", "–", "–"]
    assert contraction_report(problem, ContractionOptions((1.0,), 3), study, {}).pictures


def test_discount_0_is_one_step():
    study = study_contraction(
        DiscountedProblem("now", garnet(3, 2, 2, seed=0, discount=0)), ContractionOptions((1.0,), 5)
    )
    assert approach(study, "value iteration", 1.0).reached == 1
    assert contraction_report(
        choose_discounted("chain", None, None, discount=0, seed=0), ContractionOptions(), study, {}
    )


def test_the_same_seed_gives_the_same_study_and_progress_counts_every_piece():
    counted = []
    options = ContractionOptions((1.0,), 3, start="random", seed=4)
    problem = choose_discounted("garnet", None, None, discount=0.5, seed=4)
    study = study_contraction(problem, options, lambda: counted.append(0))
    assert len(counted) == pieces_of(options)
    assert study == study_contraction(problem, options)
    assert study != study_contraction(problem, ContractionOptions((1.0,), 3, start="random", seed=5))


@pytest.mark.parametrize("name", list(DISCOUNTED))
def test_built_in_problems_are_discounted(name):
    problem = choose_discounted(name, None, None, discount=None, seed=1)
    assert (problem.mdp.horizon, problem.mdp.discount) == (None, 0.9)
    assert problem.description().endswith("discount 0.9, no horizon")


def test_the_command_writes_the_page_and_its_numbers_and_writes_them_again(tmp_path):
    given = ["--env-id", "FrozenLake-v1", "--discount", "0.5", "--temperatures", "0.1,1", "--iterations", "6"]
    result = run(*given, "--start", "random", "--seed", "2", "--out", tmp_path / "a", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    problem = choose_discounted(None, "FrozenLake-v1", None, discount=0.5, seed=2)
    study = study_contraction(problem, ContractionOptions((0.1, 1.0), 6, "random", 2))
    assert data["study"] == json.loads(json.dumps(asdict(study)))
    assert json.loads((tmp_path / "a" / "study.json").read_text()) == data["study"]
    for name in ("value-iteration", "policy-iteration", "bounds", "limit"):
        assert {(tmp_path / "a" / f"{name}.{kind}").is_file() for kind in ("csv", "png", "svg")} == {True}
    with open(tmp_path / "a" / "value-iteration.csv", encoding="utf-8", newline="") as file:
        drawn = [float(row["y"]) for row in csv.DictReader(file) if row["series"] == "hard"]
    found = approach(study, "value iteration", 0.0).distances
    assert drawn == [x / found[0] for x in found]
    assert "No bound was exceeded" in (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    again = run(*data["settings"]["command"].split()[3:], "--out", tmp_path / "b")
    assert again.stdout.startswith("FrozenLake-v1: 16 states, 4 actions, stochastic, discount 0.5, no horizon")
    assert "From the soft values to the hard ones" in again.stdout
    for file in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problem", "chian"], "--problem is 'chian': expected one of garnet, chain, river-swim"),
        (["--problem", "chain", "--env-id", "FrozenLake-v1"], "--problem and --env-id were given together"),
        (["--discount", "1"], "--discount is 1.0: expected at least 0 and below 1"),
        (["--discount", "nan"], "--discount is nan"),
        (["--temperatures", "0.1;1"], "--temperatures is '0.1;1': expected numbers with commas between them"),
        (["--temperatures", "0,1"], "the temperature 0 is no finite number above 0"),
        (["--temperatures", "inf"], "the temperature inf is no finite number above 0"),
        (["--temperatures", "1,2,3,4,5,6"], "6 temperatures were given: expected 1 to 5"),
        (["--iterations", "0"], "iterations is 0"),
        (["--start", "best"], "start is 'best': expected zero or random"),
        (["--mdp", "missing.json"], "there is no such file"),
        (["--env-id", "FrozenLke-v1"], "FrozenLake"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_ends_in_status_2(arguments, message, tmp_path):
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_of_ones_own_must_be_discounted(tmp_path):
    path = tmp_path / "m.json"
    garnet(2, 2, 1, seed=0, horizon=3).save(path)
    with pytest.raises(ExactRLError, match=r"m\.json has a horizon of 3: give --discount"):
        choose_discounted(None, None, path, discount=None, seed=0)
    assert choose_discounted(None, None, path, discount=0.25, seed=0).mdp.discount == 0.25
    garnet(2, 2, 1, seed=0, discount=0.5).save(path)
    assert choose_discounted(None, None, path, discount=None, seed=0).mdp.discount == 0.5
    big = garnet(2100, 1, 1, seed=0, discount=0.5, sparse=True)
    with pytest.raises(ExactRLError, match=r"2,100 states, .* expected at most 2,000"):
        DiscountedProblem("big", big)


def test_help_shows_examples():
    result = run("--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output
