"""Projections against a conic solver, brute force and their own certificates."""

from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exactrl import ExactRLError
from exactrl.formulas import kl
from exactrl.formulas.projection import nearest_forward, nearest_on_segment, nearest_reverse
from exactrl.policy_classes import FiniteFamily, Polytope, Segment, Simplex, SoftmaxFamily, log_extreme_points
from exactrl.projections import project_forward, project_forward_tabular, project_reverse

PROJECTIONS = {"forward": project_forward, "reverse": project_reverse}
both = pytest.mark.parametrize("direction", ["forward", "reverse"])


def divergence(direction, log_target, log_policy):
    return kl(log_target, log_policy) if direction == "forward" else kl(log_policy, log_target)


def dirichlet(rng, *shape):
    return rng.dirichlet(np.full(shape[-1], 0.7), size=shape[:-1])


def log(x):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(x, dtype=float))


def conic(direction, target, vertices):
    """Solve the projection by an exponential-cone program: an independent derivation and an independent solver."""
    weights = cp.Variable(len(vertices), nonneg=True)
    policy = vertices.T @ weights
    pair = (target, policy) if direction == "forward" else (policy, target)
    problem = cp.Problem(cp.Minimize(cp.sum(cp.rel_entr(*pair))), [cp.sum(weights) == 1])
    problem.solve(solver=cp.CLARABEL)
    return problem.value


@both
@pytest.mark.parametrize("seed", range(5))
def test_polytopes_agree_with_a_conic_solver(direction, seed):
    rng = np.random.default_rng(seed)
    vertices, target = dirichlet(rng, 2 + seed, 7), dirichlet(rng, 7)
    found = PROJECTIONS[direction](log(target), Polytope(vertices))
    assert found.divergence == pytest.approx(conic(direction, target, vertices), abs=1e-6)
    np.testing.assert_allclose(found.policy, found.weights @ vertices, atol=1e-14)
    assert found.gap <= 1e-12


@both
def test_a_segment_agrees_with_a_fine_grid_and_with_its_polytope(direction):
    rng = np.random.default_rng(3)
    for _ in range(10):
        a, b, target = dirichlet(rng, 3, 5)
        found = PROJECTIONS[direction](log(target), Segment(a, b))
        mixing = np.linspace(0.0, 1.0, 20001)[:, None]
        grid = divergence(direction, log(target), log(mixing * a + (1 - mixing) * b)).min()
        assert grid - 1e-6 <= found.divergence <= grid + 1e-12
        assert found.divergence == PROJECTIONS[direction](log(target), Polytope([a, b])).divergence


@both
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    members=st.integers(1, 9),
    n=st.integers(2, 12),
    spread=st.sampled_from([1.0, 8.0, 60.0]),
)
def test_no_member_of_a_polytope_beats_the_certificate(direction, seed, members, n, spread):
    rng = np.random.default_rng(seed)
    scores = spread * rng.normal(size=(members + 1, n))
    scores[rng.random(scores.shape) < 0.15] = -np.inf
    scores[:, 0] = 0.0
    rows = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    vertices, target = rows[:-1], rows[-1]
    found = PROJECTIONS[direction](log(target), Polytope(vertices))
    mixtures = np.concatenate([vertices, dirichlet(rng, 200, members) @ vertices])
    rivals = divergence(direction, log(target), log(mixtures))
    if found.divergence == np.inf:
        assert np.all(rivals == np.inf)
    else:
        assert found.gap <= 1e-11
        assert np.all(rivals >= found.divergence - found.gap - 1e-12)


@both
def test_the_gap_holds_for_probabilities_beyond_the_floats(direction):
    tiny = Fraction(1, 10**500)
    vertices = [[tiny, 1 - tiny, 0], [1 - tiny, tiny, 0], [Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)]]
    target = np.array([-1400.0, -900.0, 0.0])
    found = PROJECTIONS[direction](target, Polytope(vertices))
    assert found.gap <= 1e-11
    if direction == "forward":  # only the last vertex reaches the outcome that has all the mass
        assert found.divergence == pytest.approx(np.log(4))
    else:  # the outcomes that cost 1400 and 900 are avoided as far as the vertices allow
        assert found.weights == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)


@both
def test_projecting_onto_the_simplex_is_the_identity(direction):
    target = log([0.2, 0.8, 0.0])
    for whole in (Simplex(3), Polytope(np.eye(3))):
        found = PROJECTIONS[direction](target, whole)
        np.testing.assert_allclose(found.policy, np.exp(target), atol=1e-12)
        assert abs(found.divergence) <= 1e-12


@both
def test_a_member_projects_onto_itself(direction):
    rng = np.random.default_rng(9)
    vertices = dirichlet(rng, 4, 6)
    member = dirichlet(rng, 4) @ vertices
    found = PROJECTIONS[direction](log(member), Polytope(vertices))
    assert found.divergence == pytest.approx(0.0, abs=1e-12)
    assert PROJECTIONS[direction](log(member), FiniteFamily([vertices[0], member])).index == 1


@both
def test_a_finite_family_is_a_comparison_with_its_margin(direction):
    rng = np.random.default_rng(4)
    members, target = dirichlet(rng, 30, 6), dirichlet(rng, 6)
    every = [float(divergence(direction, log(target), log(m))) for m in members]
    found = PROJECTIONS[direction](log(target), FiniteFamily(members))
    assert found.index == int(np.argmin(every))
    assert found.divergence == pytest.approx(min(every), rel=1e-14)
    assert found.margin == pytest.approx(sorted(every)[1] - min(every), rel=1e-12)
    assert found.gap == 0.0
    assert PROJECTIONS[direction](log(target), FiniteFamily(members[:1])).margin == np.inf
    assert PROJECTIONS[direction](log(target), FiniteFamily(members[[0, 0]])).margin == 0.0


def test_the_formulas_that_run_in_balls_choose_the_same_members():
    rng = np.random.default_rng(12)
    for _ in range(10):
        members, target = dirichlet(rng, 4, 6), log(dirichlet(rng, 6))
        family, segment = FiniteFamily(members), Segment(members[0], members[1])
        np.testing.assert_array_equal(project_forward(target, family).log_policy, nearest_forward(target, log(members)))
        np.testing.assert_array_equal(project_reverse(target, family).log_policy, nearest_reverse(target, log(members)))
        share = nearest_on_segment(np.exp(target), members[0], members[1])
        assert project_forward(target, segment).weights[1] == pytest.approx(share, abs=1e-6)


def test_the_two_directions_cover_and_seek_modes():
    members = FiniteFamily([[0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3]])
    target = log([0.55, 0.449, 0.001])
    assert project_forward(target, members).index == 1
    assert project_reverse(target, FiniteFamily([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])).index == 0


def test_zeros_make_a_divergence_infinite_only_when_every_member_has_it_infinite():
    target = log([0.5, 0.5, 0.0])
    outside, inside = [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]
    for where in (FiniteFamily([outside]), Polytope([outside])):
        assert project_forward(target, where).divergence == np.inf
        assert project_reverse(target, where).divergence == np.inf
    assert project_reverse(target, Segment(outside, inside)).weights.tolist() == [0.0, 1.0]
    assert project_forward(target, Segment(outside, inside)).divergence < np.inf
    assert project_reverse(target, FiniteFamily([outside, inside])).index == 1


@pytest.mark.parametrize("seed", range(4))
def test_the_softmax_projection_agrees_with_a_conic_solver(seed):
    rng = np.random.default_rng(seed)
    features, target = rng.normal(size=(8, 3)), dirichlet(rng, 8)
    found = project_forward(log(target), SoftmaxFamily(features))
    theta = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.log_sum_exp(features @ theta) - (target @ features) @ theta))
    problem.solve(solver=cp.CLARABEL)
    assert found.divergence == pytest.approx(problem.value + target @ np.log(target), abs=1e-6)
    np.testing.assert_allclose(found.policy @ features, target @ features, atol=1e-8)
    scores = features @ found.theta
    np.testing.assert_allclose(found.policy, np.exp(scores) / np.exp(scores).sum(), rtol=1e-10)
    assert found.gap <= 1e-12
    assert found.attained


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 12), d=st.integers(1, 5), spread=st.sampled_from([0.1, 1.0, 20.0]))
def test_no_softmax_member_beats_the_certificate(seed, n, d, spread):
    rng = np.random.default_rng(seed)
    features, scores = spread * rng.normal(size=(n, d)), spread * rng.normal(size=n)
    target = scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()
    found = project_forward(target, SoftmaxFamily(features))
    thetas = found.theta + rng.normal(size=(200, d)) * 10.0 ** rng.uniform(-6, 1, size=(200, 1)) / spread
    rivals = thetas @ features.T
    rivals -= np.logaddexp.reduce(rivals, axis=1, keepdims=True)
    assert np.all(kl(target, rivals) >= found.divergence - found.gap - 1e-10)
    assert found.gap <= 1e-7


def test_redundant_features_change_nothing():
    rng = np.random.default_rng(2)
    features, target = rng.normal(size=(6, 2)), log(dirichlet(rng, 6))
    doubled = np.hstack([features, features @ rng.normal(size=(2, 3)), np.ones((6, 1))])
    once, twice = (project_forward(target, SoftmaxFamily(f)) for f in (features, doubled))
    assert once.divergence == pytest.approx(twice.divergence, abs=1e-13)
    assert project_forward(target, SoftmaxFamily(np.ones((6, 1)))).policy == pytest.approx(np.full(6, 1 / 6))


def test_a_moment_on_the_boundary_is_an_infimum_that_no_member_attains():
    features = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.0]])
    found = project_forward(log([0.75, 0.0, 0.0, 0.25, 0.0]), SoftmaxFamily(features))
    assert not found.attained
    assert found.theta is None
    assert np.isneginf(found.log_policy[[1, 2]]).all()
    assert found.policy @ features == pytest.approx([0.25, 0.0], abs=1e-9)
    # Members far along the face come close to the limit, and stay above it.
    theta = np.array([[np.log(found.policy[3] / found.policy[0]), -k] for k in (1.0, 5.0, 30.0)])
    scores = theta @ features.T
    rivals = kl(log([0.75, 0.0, 0.0, 0.25, 0.0]), scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
    assert np.all(np.diff(rivals) < 0)
    assert found.divergence <= rivals[-1] <= found.divergence + 1e-10


def test_zeros_of_the_target_inside_the_hull_do_no_harm():
    features = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    found = project_forward(log([0.5, 0.5, 0.0, 0.0]), SoftmaxFamily(features))
    assert found.attained
    assert found.policy == pytest.approx(np.full(4, 0.25))
    point = project_forward(log([0.0, 0.0, 1.0]), SoftmaxFamily([[0.0], [1.0], [2.0]]))
    assert point.policy.tolist() == [0.0, 0.0, 1.0]
    assert not point.attained


def test_the_tabular_projection_is_the_table_of_visits():
    """Two steps, two observations: every trajectory of a two-step chain whose action is the next observation."""
    rng = np.random.default_rng(5)
    actions = np.array([[i, j] for i in range(2) for j in range(2)])
    observations = np.stack([np.zeros(4, dtype=int), actions[:, 0]], axis=1)
    target = dirichlet(rng, 4)
    found = project_forward_tabular(observations, actions, log(target), n_observations=3, n_actions=2)
    table = cp.Variable((2, 2))
    logs = [cp.log(table[0, first]) + cp.log(table[first, second]) for first, second in actions]
    problem = cp.Problem(cp.Minimize(-cp.sum(cp.multiply(target, cp.hstack(logs)))), [cp.sum(table, axis=1) == 1])
    problem.solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(found.probabilities[:2], table.value, atol=1e-4)
    assert found.divergence == pytest.approx(problem.value + target @ np.log(target), abs=1e-6)
    assert found.probabilities[2].tolist() == [0.5, 0.5]
    assert found.visits.sum() == pytest.approx(2.0)


def test_a_time_dependent_table_represents_every_distribution_of_a_tree_of_actions():
    rng = np.random.default_rng(6)
    actions = np.array([[i, j] for i in range(2) for j in range(3)])
    observations = np.stack([np.zeros(6, dtype=int), 1 + actions[:, 0]], axis=1)
    sizes = {"n_observations": 3, "n_actions": 3, "time_dependent": True}
    found = project_forward_tabular(observations, actions, log(dirichlet(rng, 6)), **sizes)
    assert found.probabilities.shape == (2, 3, 3)
    assert found.visits.shape == (2, 3)
    assert found.divergence == pytest.approx(0.0, abs=1e-14)


def test_the_tabular_projection_with_dynamics_weighs_by_the_joint_probability():
    """One action, then a coin of the world: the target's density is constant on the coin, so the table matches it."""
    observations, actions = np.zeros((4, 1), dtype=int), np.array([[0], [0], [1], [1]])
    dynamics = np.log([0.9, 0.1, 0.3, 0.7])
    density = log([0.2, 0.2, 0.8, 0.8])
    found = project_forward_tabular(observations, actions, density, dynamics, n_observations=1, n_actions=2)
    assert found.probabilities[0] == pytest.approx([0.2, 0.8])
    assert found.divergence == pytest.approx(0.0, abs=1e-14)


def test_no_table_beats_the_tabular_projection():
    rng = np.random.default_rng(7)
    observations, actions = rng.integers(0, 2, size=(12, 3)), rng.integers(0, 3, size=(12, 3))
    target, dynamics = dirichlet(rng, 12), np.log(rng.uniform(0.1, 1.0, size=12))
    found = project_forward_tabular(
        observations, actions, log(target) - dynamics, dynamics, n_observations=2, n_actions=3
    )
    tables = np.concatenate([found.probabilities[None], dirichlet(rng, 300, 2, 3)])
    logs = np.log(tables)[:, observations, actions].sum(axis=-1)
    rivals = (target * (log(target) - dynamics - logs)).sum(axis=-1)
    assert rivals[0] == pytest.approx(found.divergence, abs=1e-13)
    assert rivals.min() >= found.divergence - 1e-13


def test_what_a_projection_refuses():
    family = FiniteFamily([[0.5, 0.5]])
    with pytest.raises(ExactRLError, match=r"not convex.*project onto a FiniteFamily of softmax members instead"):
        project_reverse(log([0.5, 0.5]), SoftmaxFamily([[0.0], [1.0]]))
    with pytest.raises(ExactRLError, match=r"log_target has shape \(3,\): expected \(2,\), as the class has"):
        project_forward(log([0.5, 0.25, 0.25]), family)
    with pytest.raises(ExactRLError, match=r"log_target\[0\] is 0\.5: expected a log-probability, at most 0"):
        project_forward([0.5, 0.5], family)
    with pytest.raises(ExactRLError, match=r"log_target sums to 0\.9"):
        project_forward(log([0.5, 0.4]), family)
    with pytest.raises(ExactRLError, match=r"policy_class is a list: expected one of"):
        project_forward(log([0.5, 0.5]), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Simplex(0), r"n is 0: expected a positive number of trajectories"),
        (lambda: Polytope([[0.5, 0.5], [0.5, 0.4]]), r"vertices\[1\] sums to 0\.9"),
        (lambda: Polytope([0.5, 0.5]), r"vertices has shape \(2,\): expected \(M, N\)"),
        (lambda: Segment([0.5, 0.5], [1.0]), r"a has shape \(2,\) and b \(1,\): expected \(N,\) for both"),
        (lambda: FiniteFamily([[0.5, 0.5], [1.5, -0.5]]), r"members\[1, 1\] is -0\.5"),
        (lambda: SoftmaxFamily([[0.0], [np.inf]]), r"features\[1, 0\] is inf"),
        (lambda: SoftmaxFamily([0.0, 1.0]), r"features have shape \(2,\): expected \(N, d\)"),
        (lambda: log_extreme_points(SoftmaxFamily([[0.0], [1.0]])), r"SoftmaxFamily has no list of extreme points"),
    ],
)
def test_bad_policy_classes_are_refused(make, message):
    with pytest.raises(ExactRLError, match=message):
        make()


def test_bad_enumerations_are_refused():
    sizes = {"n_observations": 2, "n_actions": 2}
    with pytest.raises(ExactRLError, match=r"actions\[0, 1\] is 2: expected an integer from 0 to 1"):
        project_forward_tabular([[0, 1]], [[0, 2]], [0.0], **sizes)
    with pytest.raises(ExactRLError, match=r"observations have shape \(1, 2\) and actions \(1, 1\)"):
        project_forward_tabular([[0, 1]], [[0]], [0.0], **sizes)
    with pytest.raises(ExactRLError, match=r"log_target has shape \(2,\): expected \(1,\), one entry a trajectory"):
        project_forward_tabular([[0, 1]], [[0, 1]], log([0.5, 0.5]), **sizes)
    with pytest.raises(ExactRLError, match=r"log_target has shape \(1,\) and log_dynamics \(2,\)"):
        project_forward_tabular([[0, 1]], [[0, 1]], [0.0], [0.0, 0.0], **sizes)
    with pytest.raises(ExactRLError, match=r"log_target \+ log_dynamics sums to 0\.5"):
        project_forward_tabular([[0, 1]], [[0, 1]], [0.0], log([0.5]), **sizes)
