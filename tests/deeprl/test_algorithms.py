"""What all algorithms owe: an update depends on its arguments alone, gradients stay where they belong, seeds stack."""

import math

import numpy as np
import pytest
import torch

from deeprl import DDPGConfig, ECACConfig, SACConfig, SACScoreConfig, TD3Config
from deeprl.algorithms import ALGORITHMS
from deeprl.algorithms.base import State, per_seed
from deeprl.algorithms.sac import leave_one_out
from deeprl.config import CONFIGS
from exactrl import ExactRLError

OBSERVATION, ACTIONS, ROWS = 5, 3, 32


def make(name, *, dtype=torch.float32, discrete=False, **options):
    extra = {"train_frequency": 1, "gradient_steps": 4} if name == "ecac" else {}
    config = CONFIGS[name](**{"hidden_sizes": (16, 16), "learning_rate": 1e-2, **extra, **options}).resolved()
    return ALGORITHMS[name](config, OBSERVATION, ACTIONS, discrete=discrete, dtype=dtype)


# Every algorithm, and every option that takes another road through its update.
KINDS = {
    "sac": ("sac", {}),
    "sac, fixed temperature": ("sac", {"autotune": False, "alpha": 0.2}),
    "sac, gaussian": ("sac", {"policy": "gaussian"}),
    "sac, sgd": ("sac", {"optimizer": "sgd"}),
    "sac-score": ("sac-score", {}),
    "sac-score, discrete": ("sac-score", {"discrete": True}),
    "td3": ("td3", {}),
    "ddpg": ("ddpg", {}),
    "ecac": ("ecac", {}),
    "ecac, as printed": ("ecac", {"as_printed": True}),
    "ecac, exponential": ("ecac", {"value_regression": "exponential"}),
    "ecac, gaussian, no projection": ("ecac", {"policy": "gaussian", "projection": False}),
    "ecac, discrete, no entropy": ("ecac", {"discrete": True, "entropy": False}),
}


def algorithm_of(kind, dtype=torch.float32):
    name, options = KINDS[kind]
    return make(name, dtype=dtype, **options)


def data(algorithm, seed=0, rows=ROWS):
    """A random batch and its noise, for one seed."""
    g = torch.Generator().manual_seed(1000 + seed)

    def draw(*shape):
        return torch.randn(shape, generator=g).to(algorithm.dtype)[None]

    action = torch.tanh(draw(rows, ACTIONS))
    if algorithm.discrete:
        action = torch.nn.functional.one_hot(action.argmax(-1), ACTIONS).to(algorithm.dtype)
    batch = {
        "observation": draw(rows, OBSERVATION),
        "action": action,
        "next_observation": draw(rows, OBSERVATION),
        "reward": draw(rows),
        "terminated": (draw(rows) > 1).to(algorithm.dtype),
    }
    return batch, {name: x[None] for name, x in algorithm.draw_noise(g, rows).items()}


def start(algorithm, seed=0):
    return algorithm.initial_state(torch.Generator().manual_seed(seed))


def together(parts):
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def assert_same(one, two):
    assert one.updates == two.updates
    for name, x in one.tensors().items():
        assert torch.equal(x, two.tensors()[name]), name


# -------------------------------------------------------------------------------------------- nothing but its arguments


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_depends_on_its_arguments_alone_to_the_bit(kind):
    algorithm = algorithm_of(kind)
    state = start(algorithm)
    inputs = [data(algorithm, seed) for seed in range(6)]
    for batch, noise in inputs[:3]:
        algorithm.update(state, batch, noise)
    copy, kept = state.clone(), [{k: x.clone() for k, x in part.items()} for pair in inputs for part in pair]
    generator = torch.get_rng_state()
    first = [algorithm.update(state, *pair) for pair in inputs[3:]]
    assert torch.equal(generator, torch.get_rng_state()), "it drew from the global generator"
    for before, after in zip(kept, [part for pair in inputs for part in pair], strict=True):
        assert all(torch.equal(before[k], after[k]) for k in before), "it changed its batch or its noise"
    # Another object of the same configuration, the copied state, other global numbers.
    torch.manual_seed(77)
    other = algorithm_of(kind)
    other.update(start(other, 5), *inputs[0])
    second = [other.update(copy, *pair) for pair in inputs[3:]]
    assert_same(state, copy)
    for one, two in zip(first, second, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_one_number_a_seed_and_carry_no_graph(kind):
    algorithm = algorithm_of(kind)
    state = start(algorithm)
    seen = set()
    for seed in range(2):
        metrics = algorithm.update(state, *data(algorithm, seed))
        assert all(x.shape == (1,) and not x.requires_grad and x.isfinite().all() for x in metrics.values())
        seen |= set(metrics)
    assert seen == set(algorithm.metric_names())
    assert state.updates == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_end_does_not_matter(kind):
    algorithm = algorithm_of(kind)
    batch, noise = data(algorithm)
    batch["terminated"] = torch.ones_like(batch["terminated"])
    changed = {**batch, "next_observation": batch["next_observation"] * 3 + 1}
    one, two = start(algorithm), start(algorithm)
    for _ in range(2):
        algorithm.update(one, batch, noise)
        algorithm.update(two, changed, noise)
    assert_same(one, two)


# ------------------------------------------------------------------------------------------ gradients where they belong

LOSS_OF = {"critic": "q_loss", "actor": "policy_loss", "value": "value_loss"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_is_trained_by_its_own_loss_alone(kind):
    algorithm = algorithm_of(kind, torch.float64)
    state = start(algorithm)
    algorithm.update(state, *data(algorithm, 1))
    algorithm.before_update(state)
    trained = algorithm.trained(1)
    assert "actor" in trained
    loss, metrics = algorithm.losses(state, *data(algorithm), trained)
    for name in trained:
        if name not in LOSS_OF:
            continue
        leaves = state.parameters[name].leaves
        whole = torch.autograd.grad(loss, leaves, retain_graph=True)
        own = torch.autograd.grad(metrics[LOSS_OF[name]].sum(), leaves, retain_graph=True)
        for x, y in zip(whole, own, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-14)
            assert x.abs().max() > 0
        for other, metric in LOSS_OF.items():
            if other != name and metric in metrics:
                leaked = torch.autograd.grad(metrics[metric].sum(), leaves, retain_graph=True, allow_unused=True)
                assert all(g is None for g in leaked), f"the {metric} reaches the {name}"
    followers = [leaf for target in algorithm.targets for leaf in state.parameters[target].leaves]
    assert all(g is None for g in torch.autograd.grad(loss, followers, allow_unused=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_zero_moves_only_what_follows(kind):
    name, options = KINDS[kind]
    algorithm = make(name, **{**options, "learning_rate": 0.0})
    state = start(algorithm)
    for target, source in algorithm.targets.items():
        if target != "reference":
            state.parameters[target].flat.copy_(state.parameters[source].flat + 1)
    before = state.clone()
    for seed in range(2):
        algorithm.update(state, *data(algorithm, seed))
    for one in algorithm.trained(1):
        assert torch.equal(before.parameters[one].flat, state.parameters[one].flat), one
    lag = (1 - algorithm.config.tau) ** (1 if name == "td3" else 2)
    for target, source in algorithm.targets.items():
        if target != "reference":
            apart = state.parameters[target].flat - state.parameters[source].flat
            torch.testing.assert_close(apart, torch.full_like(apart, lag), rtol=1e-5, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- many seeds


@pytest.mark.parametrize(("dtype", "updates"), [(torch.float32, 10), (torch.float64, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_stacked_seeds_train_as_single_ones(kind, dtype, updates):
    algorithm = algorithm_of(kind, dtype)
    single = [start(algorithm, seed) for seed in range(3)]
    stacked = State.stack(single)
    for update in range(updates):
        inputs = [data(algorithm, 10 * update + seed) for seed in range(3)]
        apart = [algorithm.update(state, *pair) for state, pair in zip(single, inputs, strict=True)]
        metrics = algorithm.update(stacked, *(together(list(part)) for part in zip(*inputs, strict=True)))
        limit = 1e-5 if dtype == torch.float32 else 1e-12
        for name, x in metrics.items():
            torch.testing.assert_close(x, torch.cat([one[name] for one in apart]), rtol=10 * limit, atol=10 * limit)
    for seed, state in enumerate(single):
        found = stacked.of_seed(seed)
        assert found.updates == state.updates == updates
        for name, x in found.tensors().items():
            torch.testing.assert_close(x, state.tensors()[name], rtol=0, atol=limit)


@pytest.mark.parametrize("kind", KINDS)
def test_of_seed_undoes_stack_to_the_bit(kind):
    algorithm = algorithm_of(kind)
    states = [start(algorithm, seed) for seed in range(3)]
    for seed, state in enumerate(states):
        for update in range(2):
            algorithm.update(state, *data(algorithm, 10 * seed + update))
    stacked = State.stack(states)
    for seed, state in enumerate(states):
        assert_same(stacked.of_seed(seed), state)
    again = State.stack([stacked.of_seed(seed) for seed in range(3)])
    assert_same(again, stacked)
    # And what is taken out trains on as if it had never been in.
    taken = stacked.of_seed(1)
    algorithm.update(taken, *data(algorithm, 50))
    algorithm.update(states[1], *data(algorithm, 50))
    assert_same(taken, states[1])


# ------------------------------------------------------------------------------------------------------------ the state


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_comes_from_its_generator_and_targets_start_as_copies(kind):
    algorithm = algorithm_of(kind)
    state = start(algorithm, 3)
    assert_same(state, start(algorithm, 3))
    assert any(not torch.equal(x, start(algorithm, 4).tensors()[name]) for name, x in state.tensors().items())
    for target, source in algorithm.targets.items():
        assert torch.equal(state.parameters[target].flat, state.parameters[source].flat)
        assert state.parameters[target].flat.data_ptr() != state.parameters[source].flat.data_ptr()
    assert set(state.moments) == set(algorithm.networks) | set(algorithm.scalars())


@pytest.mark.parametrize("kind", KINDS)
def test_the_tensors_of_a_state_restore_it(kind):
    algorithm = algorithm_of(kind)
    state = start(algorithm)
    for seed in range(3):
        algorithm.update(state, *data(algorithm, seed))
    kept = {name: x.clone() for name, x in state.tensors().items()}
    other = start(algorithm, 9)
    other.load(kept, state.updates)
    assert_same(state, other)
    for seed in range(3, 6):
        algorithm.update(state, *data(algorithm, seed))
        algorithm.update(other, *data(algorithm, seed))
    assert_same(state, other.to("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_actions_have_the_shape_and_the_range_of_the_space(kind):
    algorithm = algorithm_of(kind)
    state = State.stack([start(algorithm, seed) for seed in range(2)])
    observations = torch.randn(2, 7, OBSERVATION) * 10
    width = algorithm.policy.noise_width
    noise = torch.rand(2, 7, width) if algorithm.policy.uniform_noise else torch.randn(2, 7, width)
    greedy = algorithm.act(state, observations)
    explored = algorithm.explore(state, observations, noise).detach()
    assert greedy.shape == explored.shape == (2, 7, ACTIONS)
    assert (greedy.abs() <= 1).all()
    if KINDS[kind][1].get("policy") != "gaussian":
        assert (explored.abs() <= 1).all()
    if algorithm.discrete:
        assert (greedy.sum(-1) == 1).all()
        assert (explored.sum(-1) == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_the_shapes_and_the_law_that_are_declared(kind):
    algorithm = algorithm_of(kind)
    found = algorithm.draw_noise(torch.Generator().manual_seed(0), 500)
    assert {name: tuple(x.shape) for name, x in found.items()} == algorithm.noise(500)
    for x in found.values():
        assert x.dtype == algorithm.dtype
        assert (x.min() >= 0) == algorithm.policy.uniform_noise


@pytest.mark.parametrize("name", ["td3", "ddpg"])
def test_exploration_adds_the_given_noise_and_stays_in_the_box(name):
    algorithm = make(name, exploration_noise=0.5)
    state, observations = start(algorithm), torch.randn(1, 4, OBSERVATION)
    noise = torch.tensor([-9.0, -0.1, 0.1, 9.0]).reshape(1, 4, 1).expand(1, 4, ACTIONS)
    expected = (algorithm.act(state, observations) + 0.5 * noise).clamp(-1, 1)
    torch.testing.assert_close(algorithm.explore(state, observations, noise).detach(), expected)


# -------------------------------------------------------------------------------------------------------------- details


def test_the_target_entropy_by_default():
    assert make("sac").target_entropy == -ACTIONS
    assert make("sac-score", discrete=True).target_entropy == math.log(ACTIONS) / 2
    assert make("sac", target_entropy=0.0).target_entropy == 0


def test_the_temperature_starts_at_alpha_and_is_fixed_without_autotune():
    tuned, fixed = make("sac", alpha=0.3), make("sac", alpha=0.3, autotune=False)
    assert tuned.alpha(start(tuned)).item() == pytest.approx(0.3)
    assert fixed.alpha(start(fixed)) == 0.3
    assert fixed.scalars() == {}
    with pytest.raises(ExactRLError, match=r"^alpha is 0.*: expected more than 0"):
        SACConfig(alpha=0.0)
    assert SACConfig(alpha=0.0, autotune=False).alpha == 0


def test_a_cap_below_zero_is_refused():
    """The value's loss would have no least value: its slope never vanishes."""
    with pytest.raises(ExactRLError, match=r"^max_log_weight is -1.0: expected at least 0"):
        ECACConfig(max_log_weight=-1.0)


def test_leave_one_out_is_each_less_the_mean_of_the_others():
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [6.0, 60.0]])
    torch.testing.assert_close(leave_one_out(x, 0), torch.tensor([[-3.0, -30.0], [-1.5, -15.0], [4.5, 45.0]]))
    assert leave_one_out(x, 1).tolist() == [[-9.0, 9.0], [-18.0, 18.0], [-54.0, 54.0]]


def test_losses_are_means_over_rows_and_sums_over_critics():
    losses = torch.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_allclose(per_seed(losses), [1 + 4, 7 + 10])
    np.testing.assert_allclose(per_seed(losses[:, 0]), [1, 7])


def test_every_name_has_its_configuration():
    assert set(ALGORITHMS) == set(CONFIGS) == {"sac", "sac-score", "td3", "ddpg", "ecac"}
    kinds = {"sac": SACConfig, "sac-score": SACScoreConfig, "td3": TD3Config, "ddpg": DDPGConfig, "ecac": ECACConfig}
    assert kinds == CONFIGS
