"""Training and acting from Python."""

import gymnasium
import numpy as np
import pytest

import deeprl
from deeprl import checkpoints, runs
from deeprl.config import CONFIGS
from deeprl.launching import run_one
from deeprl.training import Trainer
from exactrl import ExactRLError
from tests.deeprl.small_runs import HERE, bits, small, tree


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pendulum") / "run"
    return deeprl.train(small(total_timesteps=100, learning_rate=0.03), folder), folder


def test_trained_and_loaded_agents_act_alike(pendulum):
    trained, folder = pendulum
    loaded = deeprl.load(folder)
    assert loaded.config == trained.config == runs.read_config(folder)
    assert loaded.step == trained.step == 100
    assert bits(loaded.state.tensors()) == bits(trained.state.tensors())
    observations = np.random.default_rng(0).normal(size=(50, 3))
    assert loaded.act(observations).tobytes() == trained.act(observations).tobytes()


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_every_algorithm_acts_within_the_bounds(algorithm):
    agent = deeprl.train(small(algorithm, env_id=HERE + "Plain-v0", total_timesteps=80, learning_rate=0.1))
    actions = agent.act(np.random.default_rng(0).normal(scale=1e3, size=(100, 3)))
    assert actions.shape == (100, 2)
    assert actions.dtype == np.float32
    assert (actions >= [-1, 0]).all()
    assert (actions <= [3, 10]).all()
    assert (actions[:, 1] > 3).any(), "onto the bounds of the space, not of [-1, 1]"


def test_one_observation_and_a_batch_of_one(pendulum):
    agent, _ = pendulum
    one = agent.act([1.0, 0.0, 0.5])
    assert one.shape == (1,)
    assert agent.act([[1.0, 0.0, 0.5]]).shape == (1, 1)
    np.testing.assert_array_equal(agent.act([[1.0, 0.0, 0.5]])[0], one)


def test_an_episode_by_hand_is_the_evaluation_s(pendulum):
    """The actions of `act`, in the environment's own units, give the very return that an evaluation gives."""
    agent, _ = pendulum
    env = gymnasium.make("Pendulum-v1")
    observation, _ = env.reset(seed=12)
    total, over = 0.0, False
    while not over:
        action = agent.act(observation)
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    assert agent.evaluate(episodes=1, seed=12)[0].total == total


def test_discrete_actions_are_those_of_the_environment():
    agent = deeprl.train(small("sac-score", env_id=HERE + "Three-v0", total_timesteps=60))
    env = agent.environment
    one = agent.act(np.zeros(3))
    assert isinstance(one, int)
    assert env.action_space.contains(np.int64(one)), "the space begins at 2"
    many = agent.act(np.random.default_rng(0).normal(size=(20, 3)))
    assert many.shape == (20,)
    assert set(many.tolist()) <= {2, 3, 4}


def test_discrete_observations_may_be_given_as_they_come():
    agent = deeprl.train(small("ecac", env_id="FrozenLake-v1", total_timesteps=60, evaluation_interval=0))
    for state in (0, 15):
        assert agent.act(state) == agent.act(np.eye(16)[state])
    with pytest.raises(ExactRLError, match="expected 0 to 15"):
        agent.act(16)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ([1.0, 2.0], r"the observation has shape \(2,\): expected \(3,\) or \(B, 3\)"),
        ([[[1.0, 2.0, 3.0]]], r"the observation has shape \(1, 1, 3\)"),
        (np.zeros((0, 3)), r"the observation has shape \(0, 3\)"),
        (1.0, r"the observation has shape \(\)"),
        ([1.0, np.nan, 0.0], r"the observation is not finite: entry \[1\] is nan"),
        ([[0, 0, 0], [0, 0, np.inf]], r"the observation is not finite: entry \[1, 2\] is inf"),
        ({"x": 1}, "the observation is not an array of numbers"),
        (["a", "b", "c"], "the observation is not an array of numbers"),
    ],
)
def test_an_observation_that_cannot_be(pendulum, observation, message):
    with pytest.raises(ExactRLError, match=message):
        pendulum[0].act(observation)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agents = deeprl.train(small(env_id=HERE + "Plain-v0", total_timesteps=50, seeds=2, tensorboard=True))
    assert [agent.config.seed for agent in agents] == [1, 2]
    assert tree(tmp_path) == {}


def test_a_folder_with_several_seeds(tmp_path):
    deeprl.train(small(env_id=HERE + "Plain-v0", total_timesteps=50, seeds=2), tmp_path)
    with pytest.raises(ExactRLError, match=r"holds 2 seeds: name one, such as .*seed-1"):
        deeprl.load(tmp_path)
    assert deeprl.load(tmp_path / "seed-2").config.seed == 2


def test_what_cannot_be_loaded(tmp_path, pendulum):
    with pytest.raises(ExactRLError, match=r"holds no run: there is no config\.json in it"):
        deeprl.load(tmp_path)
    runs.begin(tmp_path / "begun", small())
    with pytest.raises(ExactRLError, match="no usable checkpoint"):
        deeprl.load(tmp_path / "begun")
    before = tree(pendulum[1])
    with pytest.raises(ExactRLError, match="holds a run already"):
        deeprl.train(small(), pendulum[1])
    assert tree(pendulum[1]) == before


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path):
    run_one(small(env_id=HERE + "Plain-v0", total_timesteps=100), tmp_path, resume=False)
    newest = checkpoints.newest_first(tmp_path / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    agent = deeprl.load(tmp_path)
    assert agent.step == 80
    assert agent.refused[0].startswith("checkpoint-000000000100.pt: is damaged")
    trainer = Trainer(small(env_id=HERE + "Plain-v0", total_timesteps=100), tmp_path)
    trainer.resume()
    trainer.close()
    assert bits(agent.state.tensors()) == bits(trainer.state.tensors())
