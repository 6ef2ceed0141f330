"""The studies behind the reports: recursions against enumeration, special cases by hand, and what must never fall."""

import numpy as np
import pytest

from exactrl import ExactRLError, FiniteMDP, TrajectorySpace
from exactrl.formulas import expectation, kl, log_lift
from exactrl.mirror_descent import ecpo, regret, theorem1_bound, theorem1_schedule
from exactrl.policy_classes import FiniteFamily, Simplex
from exactrl.projections import project_forward_tabular, project_reverse
from exactrl.sources import bandit, chain, garnet, tree
from exactrl.studies.adversaries import reward_pool, search_worst, starting_sequences
from exactrl.studies.families import FAMILY_METHODS, follow_families, random_families
from exactrl.studies.methods import METHODS, Settings, methods_for
from exactrl.studies.monotonicity import MonotonicityOptions, study_monotonicity
from exactrl.studies.paths import follow, went_down
from exactrl.studies.problems import choose_problem, rescaled
from exactrl.studies.regret import RegretOptions, fitted_rate, fixed_regret, sequence_regret, study_regret
from exactrl.studies.schedules import bound_for, temperatures_for
from exactrl.studies.stacked import stack_of
from exactrl.studies.sweeps import (
    best_return,
    entropy,
    expected_return,
    lifted_visits,
    return_range,
    soft_sweep,
    surrogate,
    visits,
)

TAU, TAU_PRIME = 0.7, 0.3
SMALL = RegretOptions(steps=8, adversarial_steps=4, sweep_steps=4, sequences=4, rounds=1)


def one(x):
    return np.array([x])


def settings(count=1, tau=TAU, tau_prime=TAU_PRIME, step_size=1.0):
    return Settings(np.full(count, tau), np.full(count, tau_prime), step_size)


@pytest.fixture(params=["stochastic", "random start, discounted", "next-state rewards"])
def model(request):
    rng = np.random.default_rng(3)
    if request.param == "stochastic":
        return garnet(3, 2, 2, seed=1, horizon=3, initial=0)
    if request.param == "random start, discounted":
        return garnet(3, 2, 2, seed=2, horizon=3, discount=0.8, initial=[0.5, 0.25, 0.25])
    law = rng.dirichlet(np.ones(2), size=(2, 3))
    law[0, 1] = [1.0, 0.0]
    return FiniteMDP(law, rng.standard_normal((2, 3, 2)), horizon=3)


@pytest.fixture
def policy(model):
    return stack_of([model]).random_policy(np.random.default_rng(0))


def test_sums_over_trajectories_agree_with_enumeration(model, policy):
    stack, space, table = stack_of([model]), TrajectorySpace(model), np.exp(policy[:, 0])
    rewards = stack.reward
    near = pytest.approx
    assert expected_return(stack, rewards, policy)[0] == near(space.expected_return(table, method="enumeration"))
    assert entropy(stack, policy)[0] == near(space.policy_entropy(table, method="enumeration"))
    value = space.surrogate(table, tau=TAU, tau_prime=TAU_PRIME, method="enumeration")
    assert surrogate(stack, rewards, policy, one(TAU), one(TAU_PRIME))[0] == near(value)
    returns = space.enumerate(table).returns
    assert [end[0] for end in return_range(stack, rewards)] == near([returns.min(), returns.max()])


@pytest.mark.parametrize("tau_prime", [0.0, TAU_PRIME])
def test_the_forward_sweep_is_the_projection_of_the_enumerated_lift(model, policy, tau_prime):
    stack, listed = stack_of([model]), TrajectorySpace(model).enumerate(np.exp(policy[:, 0]))
    log_target = log_lift(listed.log_policy, listed.returns, TAU, tau_prime, listed.log_dynamics)
    projected = project_forward_tabular(
        listed.states[:, :-1], listed.actions, log_target, listed.log_dynamics,
        n_observations=model.n_states, n_actions=model.n_actions, time_dependent=True,
    )  # fmt: skip
    sweep = soft_sweep(stack, stack.reward, policy, one(TAU), one(tau_prime), forward=True)
    counts = lifted_visits(stack, stack.reward, sweep)[:, 0]
    np.testing.assert_allclose(counts.sum(axis=-1), projected.visits, atol=1e-13)
    seen = projected.visits > 1e-12
    np.testing.assert_allclose(np.exp(sweep.log_policy[:, 0])[seen], projected.probabilities[seen], atol=1e-12)
    np.testing.assert_allclose(counts, projected.visits[..., None] * projected.probabilities, atol=1e-13)


def deterministic_policies(stack):
    """Every deterministic policy of a one-step model, mixed with the uniform one in three proportions."""
    S, A = stack.shape[1:]
    for actions in np.ndindex(*[A] * S):
        for weight in (0.1, 0.5, 0.9):
            yield weight * np.eye(A)[list(actions)] + (1 - weight) / A


@pytest.mark.parametrize("key", ["pmd", "pmd-entropy"])
def test_the_reverse_sweep_beats_every_other_policy_at_its_objective(model, policy, key):
    stack, space, method = stack_of([model]), TrajectorySpace(model), METHODS[key]
    own = method.own(settings())
    new = method.step(stack, stack.reward, policy, own)
    start = space.enumerate(np.exp(policy[:, 0]))

    def objective(table):
        listed = space.enumerate(table)
        joint = listed.log_policy + listed.log_dynamics
        divergence = kl(joint, start.log_policy + start.log_dynamics)
        earned = expectation(joint, listed.returns - own.tau_prime[0] * listed.log_policy)
        return float(earned - own.tau[0] * divergence)

    best, rng = objective(np.exp(new[:, 0])), np.random.default_rng(1)
    rivals = [np.exp(new[:, 0]) * np.exp(0.05 * rng.standard_normal(new[:, 0].shape)) for _ in range(30)]
    rivals = [rival / rival.sum(axis=-1, keepdims=True) for rival in rivals]
    assert max(objective(rival) for rival in [*rivals, *deterministic_policies(stack)]) < best


def test_the_reverse_projection_onto_a_family_with_the_sweep_in_it_is_the_sweep():
    model = tree(2, 2, seed=4)
    stack, space = stack_of([model]), TrajectorySpace(model)
    policy = stack.random_policy(np.random.default_rng(5))
    own = METHODS["pmd"].own(settings())
    new = METHODS["pmd"].step(stack, stack.reward, policy, own)
    listed = space.enumerate(np.exp(policy[:, 0]))
    target = log_lift(listed.log_policy, listed.returns, own.tau[0], 0.0)
    rng = np.random.default_rng(6)
    members = [new, policy, *(stack.random_policy(rng) for _ in range(20))]
    rows = np.exp([space.enumerate(np.exp(member[:, 0])).log_policy for member in members])
    assert project_reverse(target, FiniteFamily(rows)).index == 0


def test_with_deterministic_dynamics_the_direction_does_not_matter_and_the_lift_is_reached():
    model = chain(4, horizon=5)
    stack, space = stack_of([model]), TrajectorySpace(model)
    policy = stack.random_policy(np.random.default_rng(7))
    sweeps = [soft_sweep(stack, stack.reward, policy, one(TAU), one(TAU_PRIME), forward=f) for f in (True, False)]
    np.testing.assert_array_equal(sweeps[0].log_policy, sweeps[1].log_policy)
    listed = space.enumerate(np.exp(policy[:, 0]))
    lifted = log_lift(listed.log_policy, listed.returns, TAU, TAU_PRIME)
    np.testing.assert_allclose(space.enumerate(np.exp(sweeps[0].log_policy[:, 0])).log_policy, lifted, atol=1e-12)
    assert [m.key for m in methods_for(stack)] == ["ecpo", "pmd", "ecpo-one-step", "ment"]
    assert set(methods_for(stack)[0].rises) == {"surrogate", "return+entropy"}
    assert len(methods_for(stack_of([garnet(3, 2, 2, seed=1, horizon=2, initial=0)]))) == len(METHODS)


@pytest.mark.parametrize("key", ["ment", "ecpo-one-step"])
def test_gradient_steps_follow_the_slope_of_their_objective(model, policy, key):
    stack, h = stack_of([model]), 1e-6
    target = lifted_visits(
        stack, stack.reward, soft_sweep(stack, stack.reward, policy, one(TAU), one(TAU_PRIME), forward=True)
    )

    def objective(logits):
        table = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        if key == "ment":
            return float((expected_return(stack, stack.reward, table) + TAU_PRIME * entropy(stack, table))[0])
        return float(np.sum(target * table))  # minus the forward divergence, up to a constant

    def centred(table):
        return table - table.mean(axis=-1, keepdims=True)

    numerical = np.zeros_like(policy)
    for place in np.ndindex(policy.shape):
        bump = np.zeros_like(policy)
        bump[place] = h
        numerical[place] = (objective(policy + bump) - objective(policy - bump)) / (2 * h)
    moved = METHODS[key].step(stack, stack.reward, policy, settings(step_size=0.5)) - policy
    np.testing.assert_allclose(centred(moved), 0.5 * centred(numerical), atol=1e-7)


def test_models_side_by_side_give_what_each_gives_alone():
    models = [garnet(3, 2, 2, seed=seed, horizon=3) for seed in range(4)]
    stack = stack_of(models)
    policy = stack.random_policy(np.random.default_rng(8))
    together = {key: method.step(stack, stack.reward, policy, settings(4)) for key, method in METHODS.items()}
    for b, model in enumerate(models):
        alone = stack_of([model])
        for key, method in METHODS.items():
            new = method.step(alone, alone.reward, policy[:, b : b + 1], settings())
            np.testing.assert_allclose(together[key][:, b], new[:, 0], atol=1e-12)
    assert visits(stack, policy).sum(axis=(2, 3)) == pytest.approx(np.ones((3, 4)))


def test_schedules_agree_with_theorem_1_and_reach_beyond_floats():
    for steps, n in ((2, 2), (30, 7), (1000, 10**30)):
        assert temperatures_for(steps, n) == pytest.approx(theorem1_schedule(steps, n))
        assert bound_for(steps, n) == pytest.approx(theorem1_bound(steps, n))
    assert bound_for(100, 10**400) == pytest.approx(4 * np.sqrt(100 * 400 * np.log(10)))
    assert sum(temperatures_for(50, 10**400)) == pytest.approx(np.sqrt(50 / (800 * np.log(10))))
    with pytest.raises(ExactRLError, match="n is 1"):
        temperatures_for(5, 1)


def test_regret_of_ecpo_agrees_with_the_iteration_over_all_trajectories():
    model = tree(3, 2, seed=0)
    stack, returns = stack_of([model]), TrajectorySpace(model).enumerate(np.full((15, 2), 0.5)).returns
    rewards, factor = rescaled(stack)
    assert np.ptp(factor[0] * returns) == pytest.approx(2)
    for steps in (2, 5, 16):
        tau, tau_prime = theorem1_schedule(steps, 8)
        uniform = np.full(8, -np.log(8))
        path = ecpo(
            uniform, factor[0] * returns, tau=tau, tau_prime=tau_prime, policy_class=Simplex(8), steps=steps - 1
        )
        wanted = regret(path.log_policies, factor[0] * returns, Simplex(8))[-1]
        assert fixed_regret(stack, rewards, METHODS["ecpo"], [steps], 8) == pytest.approx([wanted])


def test_regret_of_a_policy_that_stays_by_hand():
    stack = stack_of([bandit([1.0, -1.0])])
    # A step size too small to see: the uniform policy earns 0 where the best arm earns 1, step after step.
    assert fixed_regret(stack, stack.reward, METHODS["ment"], [2, 10], 2, 1e-300) == pytest.approx([2, 10])
    pool = reward_pool(stack, stack.reward, np.random.default_rng(0))
    # Rewards r, r, -r: the best arm in hindsight earns 1 + 1 - 1.
    found = sequence_regret(stack, pool, np.array([[0, 0, 1]]), METHODS["ment"], 2, 1e-300)
    assert found == pytest.approx([1])


def test_regret_with_changing_rewards_agrees_with_the_iteration_over_all_trajectories():
    model = tree(2, 2, seed=3)
    stack, n = stack_of([model]), 4
    pool = reward_pool(stack, rescaled(stack)[0], np.random.default_rng(2))
    low, high = return_range(stack.repeated(len(pool)), pool)
    assert high - low == pytest.approx(2 * np.ones(len(pool)))
    np.testing.assert_array_equal(pool[1::2], -pool[::2])
    sequences = np.random.default_rng(4).integers(len(pool), size=(3, 6))
    space, half = TrajectorySpace(model), np.full((7, 2), 0.5)
    listed = space.enumerate(half)
    returns = np.array([
        pool[j, listed.states[:, :-1], listed.actions, 0].sum(axis=1) for j in range(len(pool))
    ])  # fmt: skip
    tau, tau_prime = theorem1_schedule(6, n)
    for row, value in zip(sequences, sequence_regret(stack, pool, sequences, METHODS["ecpo"], n), strict=True):
        path = ecpo(
            np.full(n, -np.log(n)), returns[row], tau=tau, tau_prime=tau_prime, policy_class=Simplex(n), steps=6
        )
        assert value == pytest.approx(regret(path.log_policies[:6], returns[row], Simplex(n))[-1])


def test_the_search_only_ever_gets_worse_and_finds_a_planted_sequence():
    rng = np.random.default_rng(0)
    first = starting_sequences(8, 6, 4, rng)
    assert first.shape == (8, 6)
    assert not first[0].any()

    def score(rows):
        return np.sum(rows == 3, axis=1).astype(float)

    found, row = search_worst(score, first, tables=4, rounds=40, rng=rng)
    assert found == 6
    assert (row == 3).all()
    assert search_worst(score, first, tables=4, rounds=0, rng=rng)[0] == score(first).max()


def test_the_best_return_is_that_of_the_best_deterministic_policy():
    model = garnet(2, 2, 2, seed=5, horizon=1)
    stack = stack_of([model])
    tables = [np.eye(2)[list(actions)] for actions in np.ndindex(2, 2)]
    wanted = max(TrajectorySpace(model).expected_return(table) for table in tables)
    assert best_return(stack, stack.reward) == pytest.approx([wanted])


def test_fitted_rates():
    steps = [2, 4, 8, 16, 32]
    assert fitted_rate(steps, [3 * T**0.5 for T in steps]) == pytest.approx(0.5)
    assert fitted_rate(steps, [0.0] * 5) is None


def test_what_is_said_never_to_fall_never_falls_and_what_may_does():
    study = study_monotonicity(choose_problem("chain", None, None, horizon=4, seed=0), MonotonicityOptions(problems=60))
    assert all(share.falling == 0 for share in study.shares if share.claimed)
    assert sum(share.claimed for share in study.shares) == 8
    falling = {(s.kind, s.method, s.objective) for s in study.shares if s.falling}
    assert {("garnet", "ECPO", "return"), ("family", "ECPO", "return"), ("garnet", "PMD", "surrogate")} <= falling
    assert not any(track.falls[key] for track in study.tracks for key in track.rises)
    for parting in study.partings[1:]:
        assert parting.track.falls["return"]
        assert not parting.track.falls["surrogate"]


def test_falls_are_steps_below_rounding_and_large_gradient_steps_do_fall():
    assert went_down(np.array([[1.0], [1.0 - 1e-14], [0.9], [2.0]])).ravel().tolist() == [False, True, False]
    stack = stack_of([garnet(3, 3, 2, seed=seed, horizon=3) for seed in range(20)])
    start = stack.random_policy(np.random.default_rng(0))
    paths = follow(stack, METHODS["ment"], start, settings(20, 1.0, 1.0, step_size=30.0), 5)
    assert paths.falls["return+entropy"].any()


def test_families_project_globally():
    families = random_families(20, 6, 4, np.random.default_rng(0))
    for key in FAMILY_METHODS:
        own = METHODS[key].own(settings(20))
        paths = follow_families(families, METHODS[key], settings(20), 1)
        for b in range(20):
            family = FiniteFamily(np.exp(families.log_members[b]))
            lifted = log_lift(families.log_members[b, 0], families.returns[b], own.tau[b], own.tau_prime[b])
            if key.startswith("pmd"):
                chosen = project_reverse(lifted, family).log_policy
                assert paths.values["return"][1, b] == pytest.approx(expectation(chosen, families.returns[b]))


def test_studies_repeat_under_their_seed_and_differ_under_another():
    problem = choose_problem("bandit", None, None, horizon=None, seed=1)
    assert study_regret(problem, SMALL) == study_regret(problem, SMALL)
    options = MonotonicityOptions(problems=5, iterations=3)
    assert study_monotonicity(problem, options) == study_monotonicity(problem, options)
    assert study_monotonicity(problem, options) != study_monotonicity(
        problem, MonotonicityOptions(problems=5, iterations=3, seed=2)
    )


def test_regret_study_holds_the_amended_bound_on_the_built_in_problems():
    for name in ("bandit", "tree"):
        study = study_regret(choose_problem(name, None, None, horizon=None if name == "bandit" else 2, seed=0), SMALL)
        for method in list(study.fixed)[:2]:
            assert all(x <= b for x, b in zip(study.fixed[method], study.bound, strict=True))
            hard = study.adversarial[method]
            assert all(x <= b for x, b in zip(hard.found, study.adversarial_bound, strict=True))
            assert all(m <= w for m, w in zip(hard.mean, hard.found, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"problem": "bandti"}, "--problem is 'bandti': .* did you mean bandit"),
        ({"problem": "bandit", "env_id": "FrozenLake-v1"}, "--problem and --env-id were given together"),
        ({"env_id": "FrozenLke-v1"}, "FrozenLake"),
        ({"problem": "bandit", "horizon": 3}, "a bandit has one decision"),
        ({"problem": "tree", "horizon": 0}, "--horizon is 0"),
    ],
)
def test_bad_problems_are_refused_by_name(given, message):
    source = {"problem": None, "env_id": None, "mdp": None, "horizon": None, "seed": 0, **given}
    with pytest.raises(ExactRLError, match=message):
        choose_problem(**source)


def test_a_model_without_a_horizon_or_a_choice_is_refused(tmp_path):
    path = tmp_path / "m.json"
    garnet(2, 2, 1, seed=0, discount=0.9).save(path)
    with pytest.raises(ExactRLError, match=r"m\.json has no horizon"):
        choose_problem(None, None, path, horizon=None, seed=0)
    assert choose_problem(None, None, path, horizon=3, seed=0).stack.horizon == 3
    bandit([1.0]).save(path)
    with pytest.raises(ExactRLError, match="single trajectory"):
        choose_problem(None, None, path, horizon=None, seed=0)
    with pytest.raises(ExactRLError, match="no horizon"):
        stack_of([garnet(2, 2, 1, seed=0, discount=0.9)])
    with pytest.raises(ExactRLError, match="expected one size"):
        stack_of([bandit([1.0, 2.0]), bandit([1.0])])
    with pytest.raises(ExactRLError, match="expected the one to repeat"):
        stack_of([bandit([1.0]), bandit([2.0])]).repeated(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0, "tau_prime": 0.0}, "tau \\+ tau_prime is 0"),
        ({"tau": -1.0}, "tau is -1"),
        ({"tau_prime": float("nan")}, "tau_prime is nan"),
        ({"problems": 0}, "problems is 0"),
        ({"step_size": 0.0}, "step_size is 0"),
        ({"start": "best"}, "start is 'best'"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ExactRLError, match=message):
        MonotonicityOptions(**options)
    if "step_size" in options:
        with pytest.raises(ExactRLError, match=message):
            RegretOptions(**options)
    with pytest.raises(ExactRLError, match="steps is 1"):
        RegretOptions(steps=1)
