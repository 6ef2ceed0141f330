"""The M-step: against a conic solver, by enumeration, in closed form; the corners and the messages."""

import math

import numpy as np
import pytest

from exactrl import ExactRLError
from exactrl.formulas import log_boltzmann
from exactrl.formulas.mpo import softmax_fisher
from exactrl.mstep import (
    AliasedTables,
    FiniteTables,
    SoftmaxFeatures,
    constrained_mstep,
    penalised_mstep,
    prior_mstep,
)

S, A, D = 4, 3, 5


def logs(table):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(table, dtype=float))


def drawn(seed, zeros=False):
    """q, pi_i, weights, features; pi_i is of the softmax family at theta_i."""
    rng = np.random.default_rng(seed)
    q, mu = rng.dirichlet(np.ones(A), S), rng.dirichlet(np.ones(S))
    if zeros:
        q = np.where(q == q.max(axis=1, keepdims=True), 1.0, 0.0)
    features, theta = rng.normal(size=(S, A, D)), rng.normal(size=D)
    return logs(q), log_boltzmann(features @ theta, 1.0), mu, features, theta


def average(log_target, log_policy, mu):
    q = np.exp(log_target)
    with np.errstate(invalid="ignore"):
        return float(mu @ np.where(q > 0, q * log_policy, 0.0).sum(axis=1))


def away(log_old, log_new, mu):
    with np.errstate(invalid="ignore"):
        return float(mu @ np.where(log_old > -np.inf, np.exp(log_old) * (log_old - log_new), 0.0).sum(axis=1))


class Cone:
    """The programs in an exponential cone, over tables or over theta: the oracle of these tests."""

    def __init__(self, seed, zeros=False, softmax=False):
        self.cp = cp = pytest.importorskip("cvxpy")
        log_q, log_old, mu, features, self.centre = drawn(seed, zeros)
        q, old = np.exp(log_q), np.exp(log_old)
        entropy = float(mu @ (old * log_old).sum(axis=1))
        if softmax:
            self.theta = cp.Variable(D)
            partition = mu @ cp.hstack([cp.log_sum_exp(features[s] @ self.theta) for s in range(S)])
            mean = lambda table: np.einsum("s,sa,sad->d", mu, table, features) @ self.theta
            self.objective, cross, self.rules = mean(q) - partition, mean(old) - partition, []
        else:
            x = cp.Variable((S, A))
            self.objective = cp.sum(cp.multiply(mu[:, None] * q, cp.log(x)))
            cross = cp.sum(cp.multiply(mu[:, None] * old, cp.log(x)))
            self.rules = [cp.sum(x, axis=1) == 1]
        self.away = entropy - cross

    def solve(self, objective, *rules):
        return self.cp.Problem(self.cp.Maximize(objective), [*self.rules, *rules]).solve(solver="CLARABEL")


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_conic_solver_finds_the_same(seed, zeros, softmax):
    log_q, log_old, mu, features, _ = drawn(seed, zeros)
    cone = Cone(seed, zeros, softmax)
    options = {"policy_class": SoftmaxFeatures(features)} if softmax else {}
    soft = penalised_mstep(log_q, log_old, mu, penalty=0.7, **options)
    assert soft.objective - 0.7 * soft.divergence == pytest.approx(
        cone.solve(cone.objective - 0.7 * cone.away), abs=1e-6
    )
    hard = constrained_mstep(log_q, log_old, mu, epsilon=0.05, **options)
    assert hard.objective == pytest.approx(cone.solve(cone.objective, cone.away <= 0.05), abs=1e-6)
    for step in (soft, hard):
        assert step.gap < 1e-13
        assert step.objective == pytest.approx(average(log_q, step.log_policy, mu), rel=1e-13)
        assert step.divergence == pytest.approx(away(log_old, step.log_policy, mu), rel=1e-12)
        np.testing.assert_allclose(step.policy.sum(axis=1), 1.0, rtol=1e-13)
    assert 0.05 - 1e-13 <= hard.divergence <= 0.05
    again = penalised_mstep(log_q, log_old, mu, penalty=hard.penalty, **options)
    np.testing.assert_allclose(again.policy, hard.policy, atol=1e-9)
    if softmax:
        np.testing.assert_allclose(hard.log_policy, log_boltzmann(features @ hard.theta, 1.0), atol=1e-13)


def test_over_all_tables_the_penalised_step_is_a_mixture_and_the_free_one_is_q():
    log_q, log_old, mu, *_ = drawn(0)
    soft = penalised_mstep(log_q, log_old, mu, penalty=3)
    np.testing.assert_allclose(soft.policy, (np.exp(log_q) + 3 * np.exp(log_old)) / 4, rtol=1e-14)
    np.testing.assert_allclose(penalised_mstep(log_q, log_old, mu).policy, np.exp(log_q))
    idle = constrained_mstep(log_q, log_old, mu, epsilon=9)
    np.testing.assert_allclose(idle.policy, np.exp(log_q))
    assert (idle.penalty, idle.gap) == (0.0, 0.0)


@pytest.mark.parametrize("epsilon", [0.0, 1e-16, 1e-10, 1e-4])
def test_small_radii_stay_feasible_and_their_gap_small(epsilon):
    log_q, log_old, mu, *_ = drawn(1, zeros=True)
    step = constrained_mstep(log_q, log_old, mu, epsilon=epsilon)
    assert step.divergence <= epsilon
    assert step.gap <= 1e-7
    if epsilon == 0:
        np.testing.assert_array_equal(step.log_policy, log_old)
        assert step.penalty == math.inf


def test_states_of_weight_zero_keep_the_old_policy():
    log_q, log_old, _, features, _ = drawn(2, zeros=True)
    mu = np.array([0.5, 0.5, 0.0, 0.0])
    for step in (penalised_mstep(log_q, log_old, mu), constrained_mstep(log_q, log_old, mu, epsilon=0.01)):
        np.testing.assert_array_equal(step.log_policy[2:], log_old[2:])
    narrow = SoftmaxFeatures(features[..., :2])
    limit = penalised_mstep(log_q, log_old, np.array([1.0, 0, 0, 0]), policy_class=narrow)
    if limit.theta is None:
        np.testing.assert_array_equal(limit.log_policy[1:], log_old[1:])


def test_aliased_tables_average_over_their_states():
    log_q, _, mu, *_ = drawn(3)
    seen = [0, 1, 0, 3]
    rng = np.random.default_rng(0)
    log_old = np.log(rng.dirichlet(np.ones(A), 4))[seen]
    step = penalised_mstep(log_q, log_old, mu, penalty=1, policy_class=AliasedTables(seen))
    mixed = (np.exp(log_q) + np.exp(log_old)) / 2
    shared = (mu[[0, 2], None] * mixed[[0, 2]]).sum(axis=0) / mu[[0, 2]].sum()
    np.testing.assert_allclose(step.policy, [shared, mixed[1], shared, mixed[3]], rtol=1e-13)
    hard = constrained_mstep(log_q, log_old, mu, epsilon=0.02, policy_class=AliasedTables(seen))
    assert 0.02 - 1e-14 < hard.divergence <= 0.02
    assert hard.gap < 1e-13
    unseen = penalised_mstep(log_q, log_old, np.array([0.0, 0.5, 0.0, 0.5]), policy_class=AliasedTables(seen))
    np.testing.assert_allclose(unseen.policy[0], np.exp(log_old[0]), rtol=1e-13)
    np.testing.assert_array_equal(unseen.policy[0], unseen.policy[2])


def test_a_finite_family_is_a_comparison_and_no_penalty_need_find_the_constrained_member():
    """Eqs. 11 and 12 part on a class that is not convex."""
    parted = [both_ways(seed) for seed in range(6)]
    assert any(parted)


def both_ways(seed):
    """Hold both kinds against enumeration; return the constrained members that no penalty finds."""
    log_q, log_old, mu, *_ = drawn(seed)
    members = np.random.default_rng(seed).dirichlet(np.full(A, 5.0), (12, S))
    scores = [average(log_q, np.log(m), mu) for m in members]
    far = [away(log_old, np.log(m), mu) for m in members]
    chosen = set()
    for penalty in np.concatenate([[0], np.geomspace(1e-3, 1e3, 60)]):
        step = penalised_mstep(log_q, log_old, mu, penalty=penalty, policy_class=FiniteTables(members))
        values = np.array(scores) - penalty * np.array(far)
        assert step.index == values.argmax()
        assert step.margin == pytest.approx(values.max() - np.partition(values, -2)[-2], abs=1e-11 * (1 + penalty))
        chosen.add(step.index)
    found = set()
    for radius in sorted(far):
        step = constrained_mstep(log_q, log_old, mu, epsilon=radius + 1e-12, policy_class=FiniteTables(members))
        allowed = [k for k in range(12) if far[k] <= radius + 1e-12]
        assert step.index == max(allowed, key=scores.__getitem__)
        assert step.penalty is None
        found.add(step.index)
    return found - chosen


def test_a_finite_family_has_margins_and_may_be_too_far():
    log_q, log_old, mu, *_ = drawn(4)
    members = np.random.default_rng(4).dirichlet(np.ones(A), (40, S))
    only = penalised_mstep(log_q, log_old, mu, policy_class=FiniteTables(members[:1]))
    assert only.margin == math.inf
    twins = penalised_mstep(log_q, log_old, mu, policy_class=FiniteTables(members[[0, 0]]))
    assert (twins.index, twins.margin) == (0, 0.0)
    with pytest.raises(ExactRLError, match=r"no policy of the class is within epsilon = 1e-09 of log_policy, the near"):
        constrained_mstep(log_q, log_old, mu, epsilon=1e-9, policy_class=FiniteTables(members))


def test_a_softmax_step_that_is_not_attained_is_the_limit_on_its_face():
    """One feature in two states: q puts all on the action that has it, so that theta would be infinite."""
    features = np.zeros((2, 2, 1))
    features[0, 1, 0] = features[1, 1, 0] = 1.0
    q, old, mu = [[0.0, 1.0], [0.0, 1.0]], np.log([[0.5, 0.5], [0.5, 0.5]]), [0.5, 0.5]
    limit = penalised_mstep(logs(q), old, mu, policy_class=SoftmaxFeatures(features))
    assert limit.theta is None
    np.testing.assert_array_equal(limit.policy, q)
    assert limit.objective == 0.0
    one = penalised_mstep(logs(q), old, [1.0, 0.0], policy_class=SoftmaxFeatures(features))
    np.testing.assert_allclose(one.policy, [[0.0, 1.0], [0.5, 0.5]])
    mixed = penalised_mstep(logs([[0.0, 1.0], [0.5, 0.5]]), old, mu, policy_class=SoftmaxFeatures(features))
    np.testing.assert_allclose(mixed.policy, [[0.25, 0.75], [0.25, 0.75]], rtol=1e-12)
    assert mixed.theta[0] == pytest.approx(math.log(3), rel=1e-12)


def test_a_distant_start_is_damped_and_the_gap_is_honest():
    rng = np.random.default_rng(5)
    for _ in range(20):
        features = rng.normal(size=(3, 4, 2)) * 10.0 ** rng.uniform(-3, 3, size=2)
        q = rng.dirichlet(np.full(4, 0.02), 3) + 1e-9
        q /= q.sum(axis=1, keepdims=True)
        mu = rng.dirichlet(np.ones(3))
        step = penalised_mstep(np.log(q), np.log(q), mu, policy_class=SoftmaxFeatures(features))
        slope = np.einsum("s,sa,sad->d", mu, q - step.policy, features)
        assert np.abs(slope * np.linalg.norm(features, axis=(0, 1)) ** -1).max() < 1e-6
        for change in rng.normal(size=(20, 2)) * 1e-3 / np.linalg.norm(features, axis=(0, 1)):
            other = average(np.log(q), log_boltzmann(features @ (step.theta + change), 1.0), mu)
            assert other <= step.objective + step.gap + 1e-13


def test_a_newton_step_that_overshoots_is_halved():
    """Fifty actions, of which one has a feature: the first step, 24 times the spread, would put all mass on it."""
    features = np.zeros((1, 50, 1))
    features[0, 0, 0] = 1.0
    q = np.full((1, 50), 0.5 / 49)
    q[0, 0] = 0.5
    step = penalised_mstep(np.log(q), np.log(q), [1.0], policy_class=SoftmaxFeatures(features))
    assert step.theta[0] == pytest.approx(math.log(49), rel=1e-12)
    assert step.gap < 1e-14


def test_a_prior_of_two_kinds_against_the_conic_solver():
    log_q, _, mu, features, theta = drawn(6)
    log_old = log_boltzmann(features @ theta, 1.0)
    fisher = softmax_fisher(log_old, features, mu) + 1e-3 * np.eye(D)
    for precision in (0.3 * np.eye(D), 2.0 * fisher):
        step = prior_mstep(log_q, mu, features=features, theta=theta, precision=precision)
        cone = Cone(6, softmax=True)
        cost = cone.cp.quad_form(cone.theta - theta, cone.cp.psd_wrap(precision)) / 2
        value = step.objective - (step.theta - theta) @ precision @ (step.theta - theta) / 2
        assert value == pytest.approx(cone.solve(cone.objective - cost), abs=1e-7)
        assert step.gap < 1e-12
    sure = prior_mstep(log_q, mu, features=features, theta=theta, precision=1e9 * np.eye(D))
    np.testing.assert_allclose(sure.theta, theta, atol=1e-8)
    far = prior_mstep(log_q, mu, features=features * 30, theta=theta * 9, precision=1e-6 * np.eye(D))
    free = penalised_mstep(log_q, log_old, mu, policy_class=SoftmaxFeatures(features * 30))
    assert far.objective == pytest.approx(free.objective, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, o, m, f: penalised_mstep(q[:2], o, m), r"log_target has shape \(2, 3\) and log_policy \(4, 3\)"),
        (lambda q, o, m, f: penalised_mstep(q, o, m, penalty=-1), "penalty is -1.0: expected a finite number"),
        (lambda q, o, m, f: penalised_mstep(q, o, m, policy_class=[q]), "policy_class is a list: expected one of"),
        (lambda q, o, m, f: AliasedTables([[0, 1]]), r"observation_of_state has shape \(1, 2\): expected \(S,\)"),
        (lambda q, o, m, f: AliasedTables([0, -1]), r"observation_of_state\[1\] is -1"),
        (lambda q, o, m, f: FiniteTables([[0.5, 0.5]]), r"members have shape \(1, 2\): expected \(M, S, A\)"),
        (lambda q, o, m, f: SoftmaxFeatures([[1.0]]), r"features have shape \(1, 1\): expected \(S, A, d\)"),
        (
            lambda q, o, m, f: penalised_mstep(q, o, m, policy_class=AliasedTables([0, 1])),
            r"policy_class has shape \(2,\) for observation_of_state: expected \(4,\)",
        ),
        (
            lambda q, o, m, f: penalised_mstep(q, o, m, policy_class=FiniteTables(np.exp(q)[None, :2])),
            r"policy_class has shape \(2, 3\) for each member: expected \(4, 3\)",
        ),
        (
            lambda q, o, m, f: penalised_mstep(q, o, m, policy_class=SoftmaxFeatures(f[:3])),
            r"policy_class has shape \(3, 3\) for features for each parameter: expected \(4, 3\)",
        ),
        (
            lambda q, o, m, f: constrained_mstep(
                q, np.log(np.roll(np.exp(o), 1, 1)), m, epsilon=0, policy_class=SoftmaxFeatures(f[..., :1])
            ),
            "no policy of the class is within epsilon = 0",
        ),
        (
            lambda q, o, m, f: prior_mstep(q, m, features=f, theta=[0], precision=[[1]]),
            r"theta has shape \(1,\) and precision \(1, 1\): expected \(5,\) and \(5, 5\)",
        ),
        (
            lambda q, o, m, f: prior_mstep(q, m, features=f, theta=np.zeros(D), precision=np.triu(np.ones((D, D)))),
            "precision is not symmetric",
        ),
        (
            lambda q, o, m, f: prior_mstep(q, m, features=f, theta=np.zeros(D), precision=np.zeros((D, D))),
            "precision is not positive definite",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    log_q, log_old, mu, features, _ = drawn(0)
    with pytest.raises(ExactRLError, match=message):
        call(log_q, log_old, mu, features)
