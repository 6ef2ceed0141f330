"""Several seeds: what one seed computes does not depend on whether others are trained beside it."""

import pytest
import torch

import deeprl
from deeprl import launching, runs
from deeprl.config import CONFIGS
from deeprl.launching import Worker, run_one
from deeprl.progress import LiveTable
from deeprl.training import Trainer
from exactrl import ExactRLError
from tests.deeprl.small_runs import HERE, Terminal, bits, final_state, rows, small, tables


def advanced(config, updates):
    """A trainer after so many updates of each network, and the batches that it saw."""
    trainer = Trainer(config)
    trainer.open()
    while trainer.state.updates < updates:
        trainer.advance()
    trainer.close()
    return trainer


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_a_stack_of_seeds_agrees_with_each_seed_alone(algorithm):
    """Over the first ten updates, to 1e-5: the stacked product of matrices may round otherwise."""
    config = small(algorithm, env_id=HERE + "Plain-v0", seed=3, learning_starts=30, evaluation_interval=0)
    stacked = advanced(config.replace(seeds=3), 10)
    for index in range(3):
        single = advanced(config.replace(seed=3 + index), 10)
        assert stacked.state.updates == single.state.updates == 10
        own = stacked.state.of_seed(index)
        for name, tensor in single.state.tensors().items():
            torch.testing.assert_close(own.tensors()[name], tensor, rtol=1e-5, atol=1e-5, msg=name)
        for name, means in single._means().items():
            torch.testing.assert_close(stacked._means()[name][index], means[0], rtol=1e-5, atol=1e-5, msg=name)


def test_a_stack_s_environments_and_random_actions_are_those_of_each_seed_alone():
    """Until the policy acts nothing depends on the arithmetic of the stack, so everything agrees in every bit."""
    config = small(env_id=HERE + "Either-v0", total_timesteps=60, learning_starts=60, num_envs=2)
    stacked = Trainer(config.replace(seeds=2))
    stacked.run()
    for index in range(2):
        single = Trainer(config.replace(seed=1 + index))
        single.run()
        theirs, own = stacked.members[index].replay, single.members[0].replay
        assert bits(theirs._tensor) == bits(own._tensor)
        assert stacked.members[index].episodes == single.members[0].episodes


def test_a_stack_writes_a_folder_a_seed(tmp_path):
    config = small(env_id=HERE + "Plain-v0", total_timesteps=60, seeds=2, seed=7)
    trainer = run_one(config, tmp_path, resume=False)
    assert len(trainer.last_evaluation) == 2
    assert set(tables(tmp_path)) == {
        f"seed-{seed}/{name}.csv" for seed in (7, 8) for name in ("metrics", "evaluations")
    }
    for seed in (7, 8):
        assert runs.read_config(tmp_path / f"seed-{seed}") == config.replace(seed=seed, seeds=1)
        assert runs.is_stacked(tmp_path / f"seed-{seed}")
    # each seed's agent comes out of the common checkpoint
    for index, seed in enumerate((7, 8)):
        agent = deeprl.load(tmp_path / f"seed-{seed}")
        assert bits(agent.state.tensors()) == bits(trainer.state.of_seed(index).tensors())


def test_the_seeds_of_deeprl_train_are_those_of_each_seed_alone(tmp_path):
    config = small("td3", env_id=HERE + "Plain-v0", total_timesteps=80, seed=4)
    agents = deeprl.train(config.replace(seeds=2), tmp_path / "both")
    for agent, seed in zip(agents, (4, 5), strict=True):
        deeprl.train(config.replace(seed=seed), tmp_path / str(seed))
        own = tmp_path / "both" / f"seed-{seed}"
        assert tables(own) == tables(tmp_path / str(seed))
        assert final_state(own) == final_state(tmp_path / str(seed))
        assert agent.config.seed == seed
    assert rows(tmp_path / "4" / "metrics.csv") != rows(tmp_path / "5" / "metrics.csv")


@pytest.mark.slow
def test_of_seeds_side_by_side_one_that_fails_stops_no_other(tmp_path):
    """That they are those of each seed alone, killed or not, is in test_resume.py."""
    wrong = small(env_id=HERE + "NanReward-v0", total_timesteps=80, seeds=2, jobs=2)
    with pytest.raises(ExactRLError) as caught:
        launching.run_seeds(wrong, tmp_path / "wrong", resume=False)
    first, second = str(caught.value).splitlines()
    assert first.startswith("seed 1: stopped at step 54, update 14: ")
    assert second.startswith("seed 2: stopped at step 54, update 14: ")


def test_seeds_that_cannot_be_trained_are_refused_before_a_folder_is_made(tmp_path):
    for changes, message in [
        ({"env_id": "Hoper-v5"}, "registered names near it: Hopper-v5"),
        ({"env_id": "CartPole-v1"}, "sac takes continuous actions"),
    ]:
        for start in (lambda config: launching.run_seeds(config, tmp_path / "run", resume=False),
                      lambda config: deeprl.train(config, tmp_path / "run")):  # fmt: skip
            with pytest.raises(ExactRLError, match=message):
                start(small(seeds=2, **changes))
    assert not (tmp_path / "run").exists()


def test_the_live_table_has_a_line_a_seed(monkeypatch, tmp_path):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal.file)
    config = small()
    workers = [Worker(seed, config, tmp_path, False) for seed in (1, 2, 3)]
    table = LiveTable(workers, 1_000)
    table.show()
    workers[0].step, workers[0].rate, workers[0].text = 250, 50.0, "return -3, evaluation -2"
    workers[1].over, workers[1].step, workers[1].text = True, 1_000, "done, return -1"
    workers[2].text = "failed: " + "a long\nmessage " * 20
    table.show()
    table.say("seed 1: a line that stays")
    table.show()
    shown = terminal.text()
    assert "250  25.0%      50 steps/s, 0:15 left" in shown
    assert "return -3, evaluation -2" in shown
    assert "1,000 100.0%" in shown
    assert "\x1b[3F" in shown, "the second table is drawn over the first"
    assert "seed 1: a line that stays" in shown
    lines = [line for line in shown.replace("\r", "").split("\n") if line]
    assert max(len(line.replace("\x1b[K", "").replace("\x1b[3F", "")) for line in lines) <= 99


def test_elsewhere_there_is_no_table(capsys, tmp_path):
    table = LiveTable([Worker(1, small(), tmp_path, False)], 1_000)
    table.show()
    assert capsys.readouterr().err == ""
    table.say("seed 1: what must be said")
    assert capsys.readouterr().err == "seed 1: what must be said\n"
