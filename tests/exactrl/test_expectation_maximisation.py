"""MPO's iterations: the bound by another evaluation, what rises and what need not, the rules and their messages."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.estep import solve_estep
from exactrl.evaluation import evaluate, state_occupancy
from exactrl.expectation_maximisation import (
    ConstrainedEStep,
    ConstrainedMStep,
    FullEStep,
    GradientMStep,
    PenalisedMStep,
    SoftEStep,
    expectation_maximisation,
)
from exactrl.formulas import log_boltzmann
from exactrl.mstep import AliasedTables, FiniteTables, SoftmaxFeatures
from exactrl.sources import garnet

S, A = 5, 3


def problem(seed=0):
    """A model, its evaluator and occupancy, a policy."""
    rng = np.random.default_rng(seed)
    mdp = garnet(S, A, 2, seed=seed, discount=0.9)
    visits = partial(state_occupancy, mdp, normalised=True)
    return mdp, partial(evaluate, mdp), visits, np.log(rng.dirichlet(np.ones(A), S)), rng


def bound(mdp, q, policy, alpha):
    """J(q, theta) from its definition: a chain with augmented rewards, summed over 4000 steps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.where(q > 0, q * np.log(q / policy), 0.0).sum(axis=1) if alpha else 0.0
    rewards = (q * mdp.expected_rewards).sum(axis=1) - alpha * penalty
    chain = np.einsum("sa,sat->st", q, mdp.transitions)
    law, total = mdp.initial, 0.0
    for t in range(400):
        total += mdp.discount**t * (law @ rewards)
        law = law @ chain
    return total


def assert_tracks(mdp, run):
    for i, alpha in enumerate(run.temperatures):
        q, old, new = np.exp(run.log_q[i]), run.policies[i], run.policies[i + 1]
        if not math.isinf(alpha):
            assert run.after_estep[i] == pytest.approx(bound(mdp, q, old, alpha), abs=1e-9)
            if np.isfinite(run.after_mstep[i]):
                assert run.after_mstep[i] == pytest.approx(bound(mdp, q, new, alpha), abs=1e-9)
    for value, policy in zip(run.returns, run.policies, strict=True):
        assert value == pytest.approx(bound(mdp, policy, policy, 0.0), abs=1e-9)


RULES = {
    "soft": (SoftEStep(0.3), PenalisedMStep()),
    "constrained": (ConstrainedEStep(0.1), ConstrainedMStep(0.05)),
    "full": (FullEStep(0.3), PenalisedMStep(0.5)),
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_what_its_definition_says(rules, seed):
    mdp, evaluator, visits, policy, _ = problem(seed)
    estep, mstep = RULES[rules]
    run = expectation_maximisation(policy, evaluator, visits, estep=estep, mstep=mstep, steps=4)
    assert run.log_policies.shape == (5, S, A)
    assert run.log_q.shape == (4, S, A)
    assert_tracks(mdp, run)
    assert np.all(run.after_estep >= run.returns[:-1] - 1e-12)  # Eq. 20
    if rules == "constrained":
        np.testing.assert_allclose(run.estep_divergences, 0.1, rtol=1e-9)
        assert np.all(run.mstep_divergences <= 0.05 + 1e-15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mstep", [PenalisedMStep(), PenalisedMStep(2.0), ConstrainedMStep(0.01)])
def test_classical_em_never_lowers_the_bound(seed, mstep):
    _, evaluator, visits, policy, _ = problem(seed)
    run = expectation_maximisation(policy, evaluator, visits, estep=FullEStep(0.5), mstep=mstep, steps=8)
    path = np.stack([run.after_estep, run.after_mstep], axis=1).ravel()
    assert np.all(np.diff(path) >= -1e-10)


def test_classical_em_never_lowers_the_bound_in_a_softmax_class_either():
    mdp, evaluator, visits, _, rng = problem(1)
    features = rng.normal(size=(S, A, 2))
    policy = log_boltzmann(features @ rng.normal(size=2), 1.0)
    mstep = PenalisedMStep(policy_class=SoftmaxFeatures(features))
    run = expectation_maximisation(policy, evaluator, visits, estep=FullEStep(0.5), mstep=mstep, steps=8)
    path = np.stack([run.after_estep, run.after_mstep], axis=1).ravel()
    assert np.all(np.diff(path) >= -1e-10)
    assert_tracks(mdp, run)


def test_the_full_estep_is_the_optimum_of_the_regularised_problem():
    """By value iteration on V = alpha log E_pi exp(Q / alpha)."""
    mdp, evaluator, visits, policy, _ = problem(2)
    run = expectation_maximisation(policy, evaluator, visits, estep=FullEStep(0.7), steps=1)
    values = np.zeros(S)
    for _ in range(600):
        q = mdp.expected_rewards + mdp.discount * mdp.transitions @ values
        values = 0.7 * np.log((np.exp(policy) * np.exp(q / 0.7)).sum(axis=1))
    assert run.after_estep[0] == pytest.approx(mdp.initial @ values, rel=1e-11)


def test_with_the_partial_estep_bound_and_return_may_fall_over_a_class_that_lacks_tables():
    """Three states that share one row of probabilities."""
    falls = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mdp = garnet(3, 2, 2, seed=seed, discount=0.95)
        row = rng.dirichlet(np.ones(2)) + 1e-3
        policy = np.log(np.repeat(row[None] / row.sum(), 3, axis=0))
        run = expectation_maximisation(
            policy,
            partial(evaluate, mdp),
            partial(state_occupancy, mdp, normalised=True),
            estep=SoftEStep(0.1),
            mstep=PenalisedMStep(policy_class=AliasedTables([0, 0, 0])),
            steps=3,
        )
        assert np.all(run.after_estep >= run.returns[:-1] - 1e-10)  # Eq. 20 holds all the same
        falls.append((np.diff(run.after_estep).min(), np.diff(run.returns).min()))
    assert min(bound for bound, _ in falls) < -0.1
    assert min(value for _, value in falls) < -0.1


def test_tables_that_follow_q_improve_at_every_step_and_reach_the_optimum():
    mdp, evaluator, visits, policy, _ = problem(3)
    for estep in (SoftEStep(0.05), ConstrainedEStep(0.5)):
        run = expectation_maximisation(policy, evaluator, visits, estep=estep, steps=60)
        assert np.all(np.diff(run.returns) >= -1e-10)
        values = np.zeros(S)
        for _ in range(500):
            values = (mdp.expected_rewards + mdp.discount * mdp.transitions @ values).max(axis=1)
        assert run.returns[-1] == pytest.approx(mdp.initial @ values, rel=1e-3)


def test_the_constrained_estep_is_the_solver_and_its_corners_have_a_bound():
    mdp, evaluator, visits, policy, _ = problem(0)
    mu = np.full(S, 1 / S)
    run = expectation_maximisation(policy, evaluator, mu, estep=ConstrainedEStep(0.2), steps=1)
    q_values = evaluate(mdp, np.exp(policy)).action_values
    np.testing.assert_allclose(run.log_q[0], solve_estep(policy, q_values, mu, epsilon=0.2).log_q, rtol=1e-12)
    idle = expectation_maximisation(policy, evaluator, visits, estep=ConstrainedEStep(99.0), steps=1)
    assert idle.temperatures[0] == 0.0
    assert_tracks(mdp, idle)
    still = expectation_maximisation(policy, evaluator, visits, estep=ConstrainedEStep(0.0), steps=1)
    assert still.temperatures[0] == math.inf
    assert still.after_estep[0] == still.after_mstep[0] == still.returns[0] == pytest.approx(still.returns[1])
    moved = FiniteTables(np.exp(policy[::-1])[None])
    away = expectation_maximisation(
        policy, evaluator, visits, estep=ConstrainedEStep(0.0), mstep=PenalisedMStep(policy_class=moved), steps=1
    )
    assert away.after_mstep[0] == -math.inf
    corner = FiniteTables(np.eye(A)[[0, 1, 2, 0, 1]][None])
    lost = expectation_maximisation(
        policy, evaluator, visits, estep=SoftEStep(0.5), mstep=PenalisedMStep(policy_class=corner), steps=1
    )
    assert lost.after_mstep[0] == -math.inf


def test_a_gradient_step_is_the_gradient_by_differences_and_lowers_the_divergence():
    _, evaluator, visits, _, rng = problem(4)
    features, theta, alpha = rng.normal(size=(S, A, 2)), rng.normal(size=2), 0.5
    policy = log_boltzmann(features @ theta, 1.0)
    mu = visits(np.exp(policy))
    rules = {"estep": SoftEStep(alpha), "mstep": GradientMStep(features, 1e-3), "steps": 1}
    run = expectation_maximisation(policy, evaluator, visits, **rules)
    for chosen in (mu, lambda q, pi: visits(pi)):
        again = expectation_maximisation(policy, evaluator, visits, mstep_weights=chosen, **rules)
        np.testing.assert_allclose(again.log_policies, run.log_policies, rtol=1e-14)
    log_q = run.log_q[0]

    def f(theta):
        new = log_boltzmann(features @ theta, 1.0)
        return mu @ (np.exp(log_q) * (log_q - new)).sum(axis=1)

    h = 1e-6
    gradient = np.array([(f(theta + h * e) - f(theta - h * e)) / (2 * h) for e in np.eye(2)])
    np.testing.assert_allclose(
        run.log_policies[1], log_boltzmann(features @ (theta - 1e-3 * gradient), 1.0), atol=1e-10
    )
    assert f(theta - 1e-3 * gradient) < f(theta)


def test_no_steps_are_no_steps():
    mdp, evaluator, visits, policy, _ = problem(0)
    run = expectation_maximisation(policy, evaluator, visits, estep=SoftEStep(1.0), steps=0)
    assert run.log_q.shape == (0, S, A)
    assert run.temperatures.shape == (0,)
    assert run.returns == pytest.approx([bound(mdp, np.exp(policy), np.exp(policy), 0.0)])


def test_a_full_estep_that_does_not_settle_says_so():
    """An evaluator that contradicts itself, so that every sweep finds a gain."""
    turn = iter(range(10**6))
    flip = lambda *_, **__: SimpleNamespace(action_values=[[float(next(turn) % 2), 0.5]], expected_return=0.0)
    with pytest.raises(ExactRLError, match=r"step 1: the full E-step still gains .* after 500 sweeps"):
        expectation_maximisation(np.log([[0.5, 0.5]]), flip, [1.0], estep=FullEStep(1.0), steps=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_initial": np.log([0.5, 0.5])}, r"log_initial has shape \(2,\): expected \(S, A\)"),
        ({"steps": -1}, "steps is -1: expected a number of iterations, at least 0"),
        ({"estep": 0.1}, "estep is a float: expected a SoftEStep"),
        ({"mstep": 0.1}, "mstep is a float: expected a PenalisedMStep"),
        ({"weights": [1.0]}, r"step 1: weights have shape \(1,\): expected \(5,\)"),
        ({"mstep": ConstrainedMStep(-1.0)}, "step 1: epsilon is -1.0"),
    ],
)
def test_bad_input_is_named(change, message):
    _, evaluator, visits, policy, _ = problem()
    given = {"log_initial": policy, "evaluate": evaluator, "weights": visits, "estep": SoftEStep(1.0), "steps": 2}
    with pytest.raises(ExactRLError, match=message):
        expectation_maximisation(**(given | change))


def test_bad_rules_are_named():
    with pytest.raises(ExactRLError, match=r"alpha is 0\.0: expected a finite number above 0"):
        SoftEStep(0)
    with pytest.raises(ExactRLError, match="alpha is inf"):
        FullEStep(math.inf)
    with pytest.raises(ExactRLError, match="tolerance is 0: expected a finite number above 0"):
        FullEStep(1.0, 0)
    with pytest.raises(ExactRLError, match=r"epsilon is -1\.0"):
        ConstrainedEStep(-1)
    with pytest.raises(ExactRLError, match="step is nan"):
        GradientMStep([[[1.0]]], math.nan)
