"""PMD and ECPO along whole runs: special cases, monotonicity, the regret bound, and a case worked by hand."""

import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.formulas import expectation, surrogate
from exactrl.mirror_descent import (
    ecpo,
    pmd,
    regret,
    theorem1_anytime_schedule,
    theorem1_bound,
    theorem1_schedule,
)
from exactrl.policy_classes import FiniteFamily, Polytope, Segment, Simplex, SoftmaxFamily


def log(x):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(x, dtype=float))


def uniform(n):
    return np.full(n, -np.log(n))


def test_one_step_worked_by_hand():
    """Reference (1/4, 3/4), returns log 9 and 0, tau = tau' = 1: the lift is proportional to (9/4, 3/4)^(1/2)."""
    run = ecpo(log([0.25, 0.75]), [np.log(9), 0.0], tau=1.0, tau_prime=1.0, policy_class=Simplex(2), steps=1)
    root = np.sqrt(3.0)
    np.testing.assert_allclose(run.policies[1], [root / (1 + root), 1 / (1 + root)], rtol=1e-14)
    by_hand = pmd(log([0.25, 0.75]), [np.log(9), 0.0], tau=1.0, policy_class=Simplex(2), steps=1)
    np.testing.assert_allclose(by_hand.policies[1], [3 / 4, 1 / 4], rtol=1e-14)


def test_on_the_simplex_a_run_without_entropy_is_multiplicative_weights():
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(6, 4))
    expected = np.exp(returns.sum(axis=0) / 1.7)
    for run in (
        pmd(uniform(4), returns, tau=1.7, policy_class=Simplex(4), steps=6),
        ecpo(uniform(4), returns, tau=1.7, tau_prime=0.0, policy_class=Simplex(4), steps=6),
    ):
        np.testing.assert_allclose(run.policies[-1], expected / expected.sum(), rtol=1e-12)
        np.testing.assert_array_equal(run.log_lifted, run.log_policies[1:])


@pytest.mark.parametrize("seed", range(8))
def test_pmd_never_lowers_the_return(seed):
    rng = np.random.default_rng(seed)
    returns, members = rng.normal(size=7), rng.dirichlet(np.ones(7), size=5)
    for policy_class in (FiniteFamily(members), Polytope(members), Segment(members[0], members[1]), Simplex(7)):
        run = pmd(log(members[0]), returns, tau=0.5 + rng.random(), policy_class=policy_class, steps=6)
        assert np.all(np.diff(expectation(run.log_policies, returns)) >= -1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_ecpo_never_lowers_the_surrogate(seed):
    rng = np.random.default_rng(seed)
    returns, members, features = rng.normal(size=7), rng.dirichlet(np.ones(7), size=9), rng.normal(size=(7, 2))
    starts = [log(members[0]), log(members[0]), uniform(7)]
    classes = [FiniteFamily(members), Polytope(members), SoftmaxFamily(features)]
    for start, policy_class in zip(starts, classes, strict=True):
        tau, tau_prime = rng.uniform(0.1, 2.0, size=2)
        run = ecpo(start, returns, tau=tau, tau_prime=tau_prime, policy_class=policy_class, steps=6)
        assert np.all(np.diff(surrogate(run.log_policies, returns, tau, tau_prime)) >= -1e-10)


def test_pmd_on_a_polytope_converges_to_its_best_vertex():
    vertices = np.array([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])
    run = pmd(uniform(3), [1.0, 0.0, 0.5], tau=0.2, policy_class=Polytope(vertices), steps=40)
    np.testing.assert_allclose(run.policies[-1], vertices[0], atol=1e-6)
    assert all(p.gap <= 1e-11 for p in run.projections)


def test_a_run_records_what_each_step_used():
    run = ecpo(uniform(3), [1.0, 0.0, 0.5], tau=lambda t: t, tau_prime=2.0, policy_class=Simplex(3), steps=4)
    assert run.tau.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert run.tau_prime.tolist() == [2.0] * 4
    assert run.log_policies.shape == (5, 3)
    assert run.log_lifted.shape == run.returns.shape == (4, 3)
    assert len(run.projections) == 4
    none = pmd(uniform(3), [1.0, 0.0, 0.5], tau=1.0, policy_class=Simplex(3), steps=0)
    assert none.log_policies.shape == (1, 3)
    assert none.log_lifted.shape == (0, 3)


def test_the_schedules_of_theorem_1():
    tau, tau_prime = theorem1_schedule(9, 5)
    assert tau_prime == pytest.approx(1 / np.sqrt(9 * np.log(5)))
    assert tau + tau_prime == pytest.approx(3 / np.sqrt(2 * np.log(5)))
    anytime = theorem1_anytime_schedule(5)
    assert [f(9) for f in anytime] == [tau, tau_prime]
    assert theorem1_schedule(1, 5)[0] < 0 < sum(theorem1_schedule(1, 5))
    assert theorem1_bound(9, 5) == pytest.approx(12 * np.sqrt(np.log(5)))


@pytest.mark.parametrize("horizon", [2, 10, 60])
@pytest.mark.parametrize("returns", [[1.0, 0.0, -1.0, 0.9], [0.2, 0.1, 0.0, 1.0]])
def test_the_regret_stays_under_the_bound_on_small_examples(horizon, returns):
    tau, tau_prime = theorem1_schedule(horizon, 4)
    for policy_class in (Simplex(4), Segment([0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7])):
        run = ecpo(uniform(4), returns, tau=tau, tau_prime=tau_prime, policy_class=policy_class, steps=horizon)
        assert regret(run.log_policies[1:], returns, policy_class)[-1] <= theorem1_bound(horizon, 4)


def test_regret_is_the_sum_of_what_the_best_would_have_earned():
    rng = np.random.default_rng(1)
    policies, members = rng.dirichlet(np.ones(4), size=5), rng.dirichlet(np.ones(4), size=3)
    returns = rng.normal(size=(5, 4))
    earned = np.cumsum((policies * returns).sum(axis=1))
    single = np.cumsum(returns @ members[1]) - earned
    np.testing.assert_allclose(regret(log(policies), returns, log(members[1])), single, rtol=1e-12)
    best = np.max([np.cumsum(returns @ m) for m in members], axis=0) - earned
    for comparator in (FiniteFamily(members), Polytope(members), log(members)):
        np.testing.assert_allclose(regret(log(policies), returns, comparator), best, rtol=1e-12)
    points = np.cumsum(returns, axis=0).max(axis=1) - earned
    np.testing.assert_allclose(regret(log(policies), returns, Simplex(4)), points, rtol=1e-12)
    fixed = regret(log(policies), returns[0], log(members[1]))
    np.testing.assert_allclose(np.diff(fixed), (returns[0] * (members[1] - policies[1:])).sum(axis=1), rtol=1e-9)


def test_a_negative_tau_is_allowed_until_a_probability_is_zero():
    arguments = {"tau": -0.5, "tau_prime": 1.0, "policy_class": Simplex(2), "steps": 1}
    assert np.isfinite(ecpo(log([0.5, 0.5]), [1.0, 0.0], **arguments).log_policies).all()
    with pytest.raises(ExactRLError, match=r"step 1: the lift is undefined, because tau is -0\.5 and trajectory 1"):
        ecpo(log([1.0, 0.0]), [1.0, 0.0], **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_initial": [0.5, 0.5]}, r"log_initial\[0\] is 0\.5: expected a log-probability"),
        ({"log_initial": np.log([[0.5, 0.5]])}, r"log_initial has shape \(1, 2\): expected \(N,\)"),
        ({"returns": [1.0]}, r"returns have shape \(1,\): expected \(2,\) or \(3, 2\)"),
        ({"returns": [1.0, np.nan]}, r"returns\[1\] is nan"),
        ({"tau": -1.0}, r"step 1: tau \+ tau_prime is -0\.5: expected a positive finite number"),
        ({"tau": lambda t: 1.0 - t}, r"step 2: tau \+ tau_prime is -0\.5"),
        ({"tau": float("inf")}, r"tau\[0\] is inf"),
        ({"steps": -1}, r"steps is -1: expected a number of iterations"),
        ({"policy_class": FiniteFamily([[1.0, 0.0]])}, r"step 1: every member of the class has infinite divergence"),
        ({"policy_class": Simplex(3)}, r"log_target has shape \(2,\): expected \(3,\)"),
    ],
)
def test_bad_runs_are_refused(changes, message):
    arguments = {
        "log_initial": np.log([0.5, 0.5]),
        "returns": [1.0, 0.0],
        "tau": 1.0,
        "tau_prime": 0.5,
        "policy_class": Simplex(2),
        "steps": 3,
    }
    with pytest.raises(ExactRLError, match=message):
        ecpo(**(arguments | changes))


def test_bad_schedules_and_comparators_are_refused():
    for schedule in (lambda: theorem1_schedule(5, 1), lambda: theorem1_anytime_schedule(1)):
        with pytest.raises(ExactRLError, match=r"n is 1: expected at least 2 trajectories, .* divides by log n"):
            schedule()
    with pytest.raises(ExactRLError, match=r"horizon is 0: expected a positive number of steps"):
        theorem1_schedule(0, 3)
    with pytest.raises(ExactRLError, match=r"comparator has shape \(1, 3\): expected \(2,\) or \(M, 2\)"):
        regret([uniform(2)], [1.0, 0.0], uniform(3))
    with pytest.raises(ExactRLError, match=r"log_policies have shape \(2,\): expected \(T, N\)"):
        regret(uniform(2), [1.0, 0.0], uniform(2))
    with pytest.raises(ExactRLError, match=r"SoftmaxFamily has no list of extreme points"):
        regret([uniform(2)], [1.0, 0.0], SoftmaxFamily([[0.0], [1.0]]))
    with pytest.raises(ExactRLError, match=r"not convex"):
        pmd(uniform(2), [1.0, 0.0], tau=1.0, policy_class=SoftmaxFamily([[0.0], [1.0]]), steps=1)
