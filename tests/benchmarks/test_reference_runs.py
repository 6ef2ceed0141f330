"""The queue of learning runs: what is killed is taken up, what is finished is kept and not run again."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reference_runs.py"
TINY = ("--hidden-sizes", "8,8", "--learning-starts", "100", "--batch-size", "8", "--evaluation-interval", "200")
TINY += ("--evaluation-episodes", "2", "--checkpoint-interval", "100", "--log-interval", "100", "--no-tensorboard")


@pytest.fixture
def queue(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("reference_runs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reference_runs", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RUNNING", tmp_path / "running")
    monkeypatch.setattr(module, "FINISHED", tmp_path / "finished")
    return module


def tiny(queue, steps=400, **changes):
    return queue.Job("tiny", "td3", 1, "td3", "Pendulum-v1", steps, TINY, **changes)


def test_a_finished_run_is_kept_with_its_configuration_and_evaluations_alone(queue):
    job = tiny(queue)
    assert not job.finished
    assert queue.run([job], 1, None) == 0
    assert job.finished
    kept = sorted(path.name for path in (queue.FINISHED / job.name).iterdir())
    assert kept == ["config.json", "evaluations.csv"]
    assert (queue.FINISHED / job.name / "evaluations.csv").read_text().count("\n") == 1 + 2 * 2


def test_a_killed_run_is_resumed_and_ends_like_one_that_was_not(queue, tmp_path):
    whole, killed = tiny(queue), tiny(queue, steps=400)
    assert queue.run([whole], 1, None) == 0
    expected = (queue.FINISHED / whole.name / "evaluations.csv").read_bytes()
    queue.RUNNING, queue.FINISHED = tmp_path / "again", tmp_path / "kept"
    folder = queue.RUNNING / killed.name
    process = subprocess.Popen(killed.command(None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(folder.glob("checkpoints/*.pt")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert killed.command(None)[1:3] == ["train", "--resume"]
    assert queue.run([killed], 1, None) == 0
    assert (queue.FINISHED / killed.name / "evaluations.csv").read_bytes() == expected


def test_a_run_that_fails_is_counted_and_keeps_nothing(queue):
    job = queue.Job("tiny", "td3", 1, "td3", "NoSuchEnvironment-v0", 400)
    assert queue.run([job], 1, None) == 1
    assert not job.finished
    assert "NoSuchEnvironment" in (queue.RUNNING / f"{job.name}.log").read_text()


def test_a_peer_without_its_environment_is_left_out_and_said(queue, capsys):
    job = tiny(queue, peer=True)
    assert queue.run([job], 1, None) == 0
    assert "--peers-python is not given" in capsys.readouterr().err


def test_every_job_has_its_own_place_and_pairs_share_their_settings(queue):
    everything = queue.jobs()
    assert len({job.name for job in everything}) == len(everything)
    pairs = [job for job in everything if job.suite == "halfcheetah-100k"]
    for job in pairs:
        if job.peer:
            twin = next(x for x in pairs if f"sb3-{x.label}" == job.label and x.seed == job.seed)
            assert (twin.env_id, twin.steps, twin.algorithm) == (job.env_id, job.steps, job.algorithm)
