"""The loop: what is stored, when updates come, what is written, and that the seed decides all of it."""

import itertools

import pytest
import torch

from deeprl.records import EVALUATION_COLUMNS
from deeprl.training import Trainer
from exactrl import ExactRLError
from tests.deeprl.small_runs import HERE, bits, final_state, rows, small, tables


def trained(config, folder=None):
    trainer = Trainer(config, folder)
    trainer.run()
    return trainer


def spied(config, folder=None):
    """Train; also return what the environments returned at each step, and the step of each update."""
    trainer = Trainer(config, folder)
    steps, updates = [], []
    member = trainer.members[0]
    step, update = member.environments.step, trainer._update

    def see_step(actions):
        steps.append((member.observations, actions, step(actions)))
        return steps[-1][2]

    def see_update(*arguments):
        updates.append(trainer.step)
        return update(*arguments)

    member.environments.step, trainer._update = see_step, see_update
    trainer.run()
    return trainer, steps, updates


@pytest.mark.parametrize("algorithm", ["sac", "sac-score", "td3", "ddpg", "ecac"])
def test_two_runs_of_one_seed_agree_in_every_bit_and_two_seeds_do_not(tmp_path, algorithm):
    for name, seed in {"one": 3, "again": 3, "other": 4}.items():
        config = small(algorithm, env_id=HERE + "Plain-v0", total_timesteps=120, seed=seed)
        trained(config, tmp_path / name)
    assert tables(tmp_path / "one") == tables(tmp_path / "again")
    assert final_state(tmp_path / "one") == final_state(tmp_path / "again")
    assert tables(tmp_path / "one")["metrics.csv"] != tables(tmp_path / "other")["metrics.csv"]


def test_without_a_folder_the_numbers_are_the_same(tmp_path):
    config = small(env_id=HERE + "Plain-v0", total_timesteps=120)
    kept, unkept = trained(config, tmp_path), trained(config)
    assert bits(kept.state.tensors()) == bits(unkept.state.tensors())
    assert kept.last_evaluation == unkept.last_evaluation


def test_looking_does_not_disturb(tmp_path):
    """Evaluations, log rows and checkpoints draw nothing from the seed."""
    config = small(env_id=HERE + "Either-v0", total_timesteps=150)
    quiet = config.replace(evaluation_interval=0, checkpoint_interval=0, log_interval=10_000)
    assert bits(trained(config).state.tensors()) == bits(trained(quiet, tmp_path).state.tensors())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluations.csv", "metrics.csv"]
    assert [row["global_step"] for row in rows(tmp_path / "metrics.csv")] == ["150"]
    assert rows(tmp_path / "evaluations.csv") == []


def test_rows_stand_at_their_intervals_and_at_the_end(tmp_path):
    trained(small(total_timesteps=130, evaluation_interval=50, evaluation_episodes=2, log_interval=40), tmp_path)
    assert [row["global_step"] for row in rows(tmp_path / "metrics.csv")] == ["40", "80", "120", "130"]
    evaluations = rows(tmp_path / "evaluations.csv")
    assert tuple(evaluations[0]) == EVALUATION_COLUMNS
    assert [(row["global_step"], row["episode"]) for row in evaluations] == [
        (step, episode) for step in ("50", "100", "130") for episode in ("0", "1")
    ]
    # nothing of the clock: every column is named here
    assert list(rows(tmp_path / "metrics.csv")[0]) == [
        "global_step", "episodes", "episode_return", "episode_length", "evaluation_return", "updates",
        "q_loss", "q", "policy_loss", "entropy", "alpha",
    ]  # fmt: skip


def test_the_mean_of_the_evaluation_is_that_of_its_episodes(tmp_path):
    trainer = trained(small(total_timesteps=60, evaluation_interval=60, evaluation_episodes=3), tmp_path)
    returns = [float(row["return"]) for row in rows(tmp_path / "evaluations.csv")]
    assert trainer.last_evaluation == [pytest.approx(sum(returns) / 3, abs=1e-9)]
    assert float(rows(tmp_path / "metrics.csv")[-1]["evaluation_return"]) == trainer.last_evaluation[0]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_the_replay_holds_what_happened_and_a_truncation_is_no_termination(num_envs):
    config = small(env_id=HERE + "Either-v0", total_timesteps=60, num_envs=num_envs, buffer_size=1_000)
    trainer, steps, _ = spied(config)
    replay = trainer.members[0].replay
    assert replay.count == trainer.step
    stored = replay.split(torch.from_numpy(replay._array[: replay.count]))
    kinds = set()
    for index, (before, actions, result) in enumerate(steps):
        for which in range(num_envs):
            row = index * num_envs + which
            assert stored["observation"][row].tolist() == before[which].tolist()
            assert stored["action"][row].tolist() == actions[which].tolist()
            assert stored["next_observation"][row].tolist() == result.next_observations[which].tolist()
            assert stored["reward"][row] == torch.tensor(result.rewards[which], dtype=torch.float32)
            assert stored["terminated"][row] == float(result.terminated[which])
            kinds.add((bool(result.terminated[which]), bool(result.truncated[which])))
            if result.terminated[which] or result.truncated[which]:
                # the successor is the true one, at the episode's last step, not the first of the next episode
                assert stored["next_observation"][row][0] == 5
    assert kinds == {(False, False), (True, False), (False, True)}


def test_the_loop_acts_on_what_it_has_just_observed():
    _, steps, _ = spied(small(env_id=HERE + "Either-v0", total_timesteps=60))
    for (_, _, result), (before, _, _) in itertools.pairwise(steps):
        assert before.tolist() == result.observations.tolist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, list(range(41, 61))),
        ({"learning_starts": 0}, list(range(1, 61))),
        ({"train_frequency": 7, "gradient_steps": 2}, [47, 47, 54, 54]),
        ({"num_envs": 3}, [42, 42] + [step for step in range(45, 61, 3) for _ in range(3)]),
        ({"num_envs": 4, "train_frequency": 3}, [44, 48, 52, 52, 56, 60]),
        ({"learning_starts": 60}, []),
        ({"learning_starts": 10**6}, []),
    ],
)
def test_updates_come_when_they_are_due(changes, expected):
    """gradient_steps updates for every train_frequency environment steps after learning_starts, whatever num_envs."""
    trainer, _, updates = spied(small(env_id=HERE + "Plain-v0", total_timesteps=60, **changes))
    assert updates == expected
    assert trainer.state.updates == len(expected)


def test_a_total_that_num_envs_does_not_divide_is_passed_by_less_than_one_round(tmp_path):
    trainer = trained(small(env_id=HERE + "Plain-v0", total_timesteps=100, num_envs=3), tmp_path)
    assert trainer.step == trainer.members[0].replay.count == 102
    assert rows(tmp_path / "metrics.csv")[-1]["global_step"] == "102"
    assert rows(tmp_path / "evaluations.csv")[-1]["global_step"] == "102"


def test_before_learning_starts_actions_are_uniform_and_then_the_policy_s():
    _, steps, _ = spied(small(total_timesteps=300, learning_starts=290, num_envs=10, evaluation_interval=0))
    random = torch.tensor([action for _, actions, _ in steps[:29] for action in actions.ravel().tolist()])
    # 290 uniform numbers: mean 0, deviation 1/sqrt(3); five standard errors
    assert abs(random.mean()) < 5 / (3 * 290) ** 0.5
    assert abs(random.std() - 3**-0.5) < 0.1
    assert random.min() >= -1
    assert random.max() <= 1


def test_discrete_actions_are_stored_one_hot():
    trainer, _, _ = spied(small("ecac", env_id="CartPole-v1", total_timesteps=80, buffer_size=1_000))
    replay = trainer.members[0].replay
    stored = replay.split(torch.from_numpy(replay._array[: replay.count]))["action"]
    assert stored.shape == (80, 2)
    assert (stored.sum(dim=-1) == 1).all()
    assert set(stored.ravel().tolist()) == {0.0, 1.0}


def test_metrics_are_means_since_the_last_row(tmp_path):
    trainer = Trainer(small(env_id=HERE + "Plain-v0", total_timesteps=90), tmp_path)
    losses, update = [], trainer._update

    def see(*arguments):
        metrics = update(*arguments)
        losses.append(metrics["q_loss"].item())
        return metrics

    trainer._update = see
    trainer.run()
    logged = [row["q_loss"] for row in rows(tmp_path / "metrics.csv")]
    assert logged[0] == "", "no update before step 40"
    assert float(logged[1]) == pytest.approx(sum(losses[:20]) / 20, rel=1e-6)
    assert float(logged[2]) == pytest.approx(sum(losses[20:]) / 30, rel=1e-6)


def test_what_cannot_be_trained_is_refused_before_a_folder_is_made(tmp_path):
    folder = tmp_path / "run"
    for changes, message in [
        ({"env_id": "HalfCheeta-v5"}, "registered names near it: HalfCheetah-v5"),
        ({"env_id": "CartPole-v1"}, "sac takes continuous actions (a Box); CartPole-v1 has 2 discrete ones"),
        ({"env_id": HERE + "Pixels-v0"}, "Pixels-v0 has pixel observations"),
        ({"env_id": HERE + "Dictionary-v0"}, "FlattenObservation"),
    ]:
        with pytest.raises(ExactRLError) as caught:
            Trainer(small(**changes), folder)
        assert message in str(caught.value)
    assert not folder.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(ExactRLError, match=r"--device cuda: .* has no CUDA device; take --device cpu"):
        Trainer(small(device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_packages_that_are_missing_are_named_before_a_folder_is_made(tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for changes, message in [
        ({"track": True}, "--track needs Weights & Biases: pip install wandb"),
        ({"tensorboard": True}, "pip install tensorboard, or give --no-tensorboard"),
        ({"capture_video": True}, "pip install imageio imageio-ffmpeg"),
    ]:
        with pytest.raises(ExactRLError, match=message):
            Trainer(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    Trainer(small(tensorboard=True)).close()  # without a folder nothing is written, so nothing is missing
