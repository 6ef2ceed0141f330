"""Which objective rises along MPO and policy iteration: closed forms, plain loops, and what must never fall."""

import mpmath
import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.evaluation import evaluate
from exactrl.sources import bandit, garnet
from exactrl.studies import improvement
from exactrl.studies.discounted import DiscountedProblem, discounted
from exactrl.studies.improvement import (
    IMPROVEMENT_METHODS,
    ImprovementMethod,
    ImprovementOptions,
    follow_improvement,
    pieces_of,
    shared_observations,
    study_improvement,
)

REWARDS, GAMMA, ALPHA = [0.5, -0.25, 1.0], 0.75, 0.4
FEW = ImprovementOptions(iterations=4, problems=3, sweep_iterations=3)


def arms():
    return discounted("arms", bandit(REWARDS), GAMMA)


def start_of(rng, states, actions):
    table = rng.dirichlet(np.ones(actions), size=states)
    return np.log(table)


def follow(name, mdp, start, steps=3, alpha=ALPHA, step_size=0.3):
    return follow_improvement(mdp, IMPROVEMENT_METHODS[name], start, alpha, step_size, steps)[0]


@pytest.mark.parametrize("name", ["EM, full E-step", "EM, one-step E-step"])
def test_one_state_has_a_closed_form(name):
    """Over all tables pi_k is proportional to pi_0 e^(k r / alpha), and both E-steps are one: Q - V is r - E r."""
    first = [mpmath.mpf(1) / 2, mpmath.mpf(1) / 8, mpmath.mpf(3) / 8]
    values = follow(name, arms().mdp, np.log([[0.5, 0.125, 0.375]]))
    for k in range(4):
        weights = [p * mpmath.exp(k * r / ALPHA) for p, r in zip(first, REWARDS, strict=True)]
        policy = [w / sum(weights) for w in weights]
        earned = sum(p * r for p, r in zip(policy, REWARDS, strict=True)) / (1 - GAMMA)
        entropy = -sum(p * mpmath.log(p) for p in policy) / (1 - GAMMA)
        bound = ALPHA * mpmath.log(sum(p * mpmath.exp(r / ALPHA) for p, r in zip(policy, REWARDS, strict=True)))
        assert values["return"][k] == pytest.approx(float(earned), rel=1e-11)
        assert values["soft return"][k] == pytest.approx(float(earned + ALPHA * entropy), rel=1e-11)
        assert values["bound"][k] == pytest.approx(float(bound / (1 - GAMMA)), rel=1e-9)


def test_policy_iteration_on_one_state_is_done_after_one_step():
    start = np.log([[0.5, 0.125, 0.375]])
    soft, hard = (follow(f"{kind} policy iteration", arms().mdp, start) for kind in ("soft", "hard"))
    best = ALPHA * mpmath.log(sum(mpmath.exp(r / ALPHA) for r in REWARDS)) / (1 - GAMMA)
    assert soft["soft return"][1:] == pytest.approx([float(best)] * 3)
    assert hard["return"][1:] == pytest.approx([1.0 / (1 - GAMMA)] * 3)
    assert hard["soft return"][1:] == pytest.approx(hard["return"][1:])
    assert "bound" not in soft


def loops(mdp, policy, alpha, seen, kind, step_size, steps):
    """Return and bound of MPO, by plain loops over states and a series in the place of every linear system."""
    states, actions = range(mdp.n_states), range(mdp.n_actions)
    P, r, gamma, mu = np.asarray(mdp.transitions), mdp.expected_rewards, mdp.discount, mdp.initial

    def series(table, bonus):
        value, weight, visits = np.zeros(len(states)), mu.copy(), np.zeros(len(states))
        for _ in range(400):
            value = np.array([
                sum(table[s, a] * (r[s, a] - bonus[s, a] + gamma * P[s, a] @ value) for a in actions) for s in states
            ])  # fmt: skip
        for _ in range(400):
            visits = visits + weight
            weight = gamma * np.array([
                sum(weight[s] * table[s, a] * P[s, a, t] for s in states for a in actions) for t in states
            ])  # fmt: skip
        return value, visits

    rows = []
    for _ in range(steps + 1):
        value, old_visits = series(policy, np.zeros_like(policy))
        q = np.array([[r[s, a] + gamma * P[s, a] @ value for a in actions] for s in states])
        new = policy * np.exp(q / alpha)
        new /= new.sum(axis=1, keepdims=True)
        bound, visits = series(new, alpha * np.log(new / policy))
        rows.append((mu @ value, mu @ bound))
        following = policy.copy()
        for group in set(seen):
            members = [s for s in states if seen[s] == group]
            if kind == "exact":
                mixed = sum(visits[s] * new[s] for s in members) / sum(visits[s] for s in members)
            else:
                slope = sum(old_visits[s] * (new[s] - policy[s]) for s in members)
                mixed = policy[members[0]] * np.exp(step_size * slope)
                mixed = mixed / mixed.sum()
            following[members] = mixed
        policy = following
    return np.array(rows).T


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["exact", "gradient"])
def test_one_step_iterations_agree_with_plain_loops(kind, shared):
    mdp = garnet(4, 2, 2, seed=7, discount=0.8)
    seen = shared_observations(4) if shared else list(range(4))
    assert shared_observations(5) == [0, 0, 1, 1, 2]
    start = start_of(np.random.default_rng(1), 4, 2)[[seen.index(x) for x in seen]]
    name = ("EM, one-step E-step" if kind == "exact" else "gradient M-step") + (", shared" if shared else "")
    values = follow(name, mdp, start)
    returns, bounds = loops(mdp, np.exp(start), ALPHA, seen, kind, 0.3, 3)
    assert values["return"] == pytest.approx(returns, abs=1e-9)
    assert values["bound"] == pytest.approx(bounds, abs=1e-9)


def test_the_full_e_step_beats_every_other_q_at_the_bound():
    mdp = garnet(3, 2, 2, seed=2, discount=0.7)
    rng = np.random.default_rng(3)
    start = start_of(rng, 3, 2)
    best = follow("EM, full E-step", mdp, start, steps=1)["bound"][0]

    def bound(q):
        return float(evaluate(mdp, q, alpha=ALPHA, measure=np.exp(start)).expected_return)

    rivals = [bound(np.exp(start_of(rng, 3, 2))) for _ in range(50)]
    assert max(rivals) < best
    assert follow("EM, one-step E-step", mdp, start, steps=1)["bound"][0] <= best


def test_light_evaluation_is_evaluation():
    mdp, rng = garnet(4, 3, 2, seed=3, discount=0.9), np.random.default_rng(0)
    policy, measure = np.exp(start_of(rng, 4, 3)), np.exp(start_of(rng, 4, 3))
    policy[0] = [1.0, 0.0, 0.0]
    light = improvement._Values(mdp)
    for alpha, base in ((0.0, "counting"), (0.5, "counting"), (0.5, measure)):
        wanted, found = evaluate(mdp, policy, alpha=alpha, measure=base), light(policy, alpha=alpha, measure=base)
        assert found.expected_return == pytest.approx(wanted.expected_return)
        np.testing.assert_allclose(found.action_values, wanted.action_values, atol=1e-12)


def test_probabilities_that_underflow_do_no_harm():
    mdp = garnet(3, 2, 2, seed=1, discount=0.9)
    values = follow("EM, full E-step, shared", mdp, np.log(np.full((3, 2), 0.5)), steps=20, alpha=1e-3)
    assert all(np.isfinite(row).all() for row in values.values())


def test_what_is_said_never_to_fall_never_falls_and_what_may_does():
    problem = DiscountedProblem("small", garnet(6, 3, 2, seed=1, discount=0.9))
    study = study_improvement(problem, ImprovementOptions(iterations=10, problems=12, sweep_iterations=6))
    assert not any(track.falls[key] for track in study.tracks for key in track.rises)
    claimed = [share for share in study.shares if share.claimed]
    assert len({(share.method, share.objective) for share in claimed}) == 7
    assert all(share.falling == 0 < share.steps for share in claimed)
    falling = {(share.method, share.objective) for share in study.shares if share.falling}
    assert ("soft policy iteration", "return") in falling
    assert ("hard policy iteration", "soft return") in falling
    assert ("EM, one-step E-step, shared", "bound") in falling
    assert ("EM, full E-step, shared", "bound") not in falling


def test_a_claim_that_is_false_is_seen_to_fall(monkeypatch):
    false = ImprovementMethod("soft policy iteration", None, rises=("return",))
    monkeypatch.setattr(improvement, "IMPROVEMENT_METHODS", {false.name: false})
    options = ImprovementOptions(iterations=5, problems=12, sweep_iterations=6)
    study = study_improvement(DiscountedProblem("small", garnet(6, 3, 2, seed=1, discount=0.9)), options)
    (share,) = [share for share in study.shares if share.claimed]
    assert share.falling > 0
    assert share.largest_fall > 1e-3


def test_the_first_policy_is_of_the_class_and_studies_repeat_under_their_seed():
    mdp = garnet(5, 2, 2, seed=0, discount=0.5)
    for name in IMPROVEMENT_METHODS:
        method = IMPROVEMENT_METHODS[name]
        table = np.exp(improvement._start(mdp, method, "random", np.random.default_rng(0)))
        assert table.sum(axis=1) == pytest.approx(np.ones(5))
        assert bool((table[0] == table[1]).all()) is method.shared
    uniform = improvement._start(mdp, method, "uniform", np.random.default_rng(0))
    assert np.exp(uniform) == pytest.approx(np.full((5, 2), 0.5))
    problem, counted = DiscountedProblem("small", mdp), []
    study = study_improvement(problem, FEW, lambda: counted.append(0))
    assert len(counted) == pieces_of(FEW)
    assert study == study_improvement(problem, FEW)
    other = ImprovementOptions(iterations=4, problems=3, sweep_iterations=3, seed=1)
    assert study != study_improvement(problem, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"step_size": float("inf")}, "step_size is inf"),
        ({"problems": 0}, "problems is 0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"start": "best"}, "start is 'best'"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ExactRLError, match=message):
        ImprovementOptions(**options)


def test_a_model_with_too_many_parameters_is_refused():
    big = DiscountedProblem("big", garnet(500, 9, 1, seed=0, discount=0.5, sparse=True))
    with pytest.raises(ExactRLError, match=r"4,500 state-action pairs, .* --family ecpo"):
        study_improvement(big, FEW)
