"""A run that goes wrong stops at once, says why, keeps its state, and can be taken up from before it went wrong."""

import math

import pytest
import torch

from deeprl import checkpoints, runs
from deeprl.guards import FAILURE
from deeprl.launching import run_one
from deeprl.training import Trainer
from exactrl import ExactRLError
from tests.deeprl.small_runs import HERE, final_state, rows, small, tables


def stopped(config, folder, resume=False):
    with pytest.raises(ExactRLError) as caught:
        run_one(config, folder, resume=resume, tell=lambda line: None)
    return str(caught.value)


CASES = {
    "NanReward-v0": "stopped at step 54, update 14: seed 1: environment 0 of tests.deeprl.small_runs:NanReward-v0, at "
    "step 5 of its episode: the reward is nan, expected a finite float",
    "NanObservation-v0": "stopped at step 54, update 14: seed 1: environment 0 of "
    "tests.deeprl.small_runs:NanObservation-v0, at step 5 of its episode: observation[1] is nan",
    "InfiniteLoss-v0": "stopped at step 41, update 1: q_loss of seed 1 is inf",
    "HugeReward-v0": "the mean Q-value of seed 1 is ",
}


@pytest.mark.parametrize("env_id", CASES)
def test_a_run_that_goes_wrong(tmp_path, env_id):
    config = small(
        env_id=HERE + env_id, learning_rate=0.3 if env_id == "HugeReward-v0" else 3e-4, total_timesteps=2_000
    )
    if env_id == "HugeReward-v0":
        config = config.replace(q_limit=1e3, evaluation_interval=0)
    message = stopped(config, tmp_path)
    assert CASES[env_id] in message
    assert message.startswith("stopped at step ")
    assert f"the state is saved in {tmp_path / FAILURE}" in message
    assert "What may help: " in message
    # the state at the stop, apart from the checkpoints, which are all from before it
    step, payload, refused = checkpoints.load_newest(tmp_path / FAILURE)
    assert message.startswith(f"stopped at step {step}, update {payload['updates']}: ")
    assert refused == []
    good = checkpoints.load_newest(tmp_path / "checkpoints")
    assert good.step < step or (good.step == step and payload["updates"] > good.payload["updates"])
    assert all(tensor.isfinite().all() for tensor in good.payload["state"].values())
    assert f"--resume goes back to checkpoint-{good.step:012d}.pt" in message
    assert all(math.isfinite(float(row["q_loss"])) for row in rows(tmp_path / "metrics.csv") if row["q_loss"])


def test_taken_up_it_meets_the_same_from_the_last_good_checkpoint(tmp_path):
    config = small(env_id=HERE + "HugeReward-v0", learning_rate=0.3, q_limit=1e3, total_timesteps=2_000)
    first = stopped(config, tmp_path)
    before, state = tables(tmp_path), final_state(tmp_path)
    assert stopped(runs.read_config(tmp_path), tmp_path, resume=True) == first
    assert (tables(tmp_path), final_state(tmp_path)) == (before, state)


def test_a_higher_limit_may_be_written_into_the_configuration(tmp_path):
    """q_limit changes no number, so the run ends as if the limit had been high from the beginning."""
    config = small(env_id=HERE + "HugeReward-v0", learning_rate=0.03, total_timesteps=160)
    high = config.replace(q_limit=1e30)
    run_one(high, tmp_path / "high", resume=False)
    largest = max(abs(float(row["q"])) for row in rows(tmp_path / "high" / "metrics.csv") if row["q"])
    low = config.replace(q_limit=largest / 2)
    assert "beyond q_limit" in stopped(low, tmp_path / "low")
    path = tmp_path / "low" / "config.json"
    path.write_text(path.read_text().replace(f'"q_limit": {low.q_limit!r}', '"q_limit": 1e30'))
    run_one(runs.read_config(tmp_path / "low"), tmp_path / "low", resume=True, tell=lambda line: None)
    assert tables(tmp_path / "low") == tables(tmp_path / "high")
    assert final_state(tmp_path / "low")["state"] == final_state(tmp_path / "high")["state"]


def test_the_seed_of_a_stack_that_went_wrong_is_named(tmp_path):
    trainer = Trainer(small(env_id=HERE + "Plain-v0", seeds=2, learning_starts=10), tmp_path)
    update, calls = trainer._update, []

    def poisoned(*arguments):
        metrics = update(*arguments)
        calls.append(None)
        return metrics | ({"q_loss": torch.tensor([1.0, math.nan])} if len(calls) == 5 else {})

    trainer._update = poisoned
    with pytest.raises(ExactRLError, match=r"stopped at step 15, update 5: q_loss of seed 2 is nan"):
        trainer.run()


def test_without_a_folder_nothing_is_saved_and_nothing_promised():
    with pytest.raises(ExactRLError) as caught:
        Trainer(small(env_id=HERE + "NanReward-v0")).run()
    assert "the reward is nan" in str(caught.value)
    assert "saved" not in str(caught.value)
    assert "--resume" not in str(caught.value)


def test_where_the_state_cannot_be_saved_the_cause_is_named_all_the_same(tmp_path):
    (tmp_path / FAILURE).write_text("in the way")
    message = stopped(small(env_id=HERE + "NanReward-v0"), tmp_path)
    assert "the reward is nan" in message
    assert "the state could not be saved (cannot write " in message


def test_without_checkpoints_nothing_is_promised(tmp_path):
    message = stopped(small(env_id=HERE + "NanReward-v0", checkpoint_interval=0), tmp_path)
    assert checkpoints.load_newest(tmp_path / FAILURE).step == 54
    assert "--resume" not in message


def test_an_evaluation_that_goes_wrong_stops_the_run(tmp_path):
    """The environment's life begins anew with each evaluation; one of sixty steps reaches what is wrong with it."""
    config = small(env_id=HERE + "NanReward-v0", total_timesteps=50, evaluation_episodes=12, evaluation_interval=50)
    message = stopped(config, tmp_path)
    assert message.startswith("stopped at step 50, update 10: evaluation of seed 1: ")
    assert "the reward is nan" in message


def test_on_an_accelerator_the_look_comes_before_anything_is_kept(tmp_path, monkeypatch):
    """The means since the last row tell what single updates would have told, before a checkpoint can hold it."""
    trainer = Trainer(small(env_id=HERE + "Plain-v0", log_interval=1_000, evaluation_interval=0), tmp_path)
    update = trainer._update

    def poisoned(*arguments):
        metrics = update(*arguments)
        return metrics | {"q_loss": torch.tensor([math.inf if trainer.state.updates == 60 else 1.0])}

    # Another device without one: nothing is moved, and no single update is looked at.
    monkeypatch.setattr("deeprl.training._on", lambda tensors, device: tensors)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *_, **__: tensor)
    trainer.device, trainer._update = torch.device("meta"), poisoned
    with pytest.raises(ExactRLError, match=r"stopped at step 120, update 80: q_loss of seed 1 is inf"):
        trainer.run()
    assert checkpoints.load_newest(tmp_path / "checkpoints").step == 80
