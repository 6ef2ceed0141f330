"""Runs that are killed at random moments and taken up end with the very numbers of the run that nobody touched.

In the ordinary suite the command is killed six times, and the trainer three times in each configuration;
EXACTRL_KILLS=20 makes all of these twenty (some ten minutes).
"""

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from deeprl import checkpoints, launching, runs
from deeprl.commands import train
from deeprl.launching import run_one
from deeprl.training import Trainer
from exactrl import ExactRLError
from tests.deeprl.small_runs import HERE, ROOT, Terminal, bits, final_state, options, rows, small, tables, tree

KILLS = int(os.environ.get("EXACTRL_KILLS", "6"))
KILLS_A_KIND = int(os.environ.get("EXACTRL_KILLS", "3"))
SEED = 11
COMMAND = [sys.executable, "-m", "exactrl.cli", "train"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def whole(config, folder):
    """The uninterrupted run: its tables and its final state, and how long it took."""
    began = time.monotonic()
    run_one(config, folder, resume=False)
    return tables(folder), final_state(folder), time.monotonic() - began


def interrupted(config, folder, steps):
    """Train so many steps, then drop everything as it is, as a kill would: tables open, no checkpoint taken."""
    trainer = Trainer(config, folder)
    runs.begin(folder, trainer.config)
    trainer.open()
    while trainer.step < steps:
        trainer.advance()
    return trainer


def resumed(folder):
    """Take up a run in this process; return what was said."""
    said = []
    run_one(runs.read_config(folder), folder, resume=True, tell=said.append)
    return "\n".join(said)


# ------------------------------------------------------------------------------------------------------------- kills


def _train(config, folder, out):
    """In a process of its own: begin the run, or take it up."""
    with open(out, "a") as file:
        os.dup2(file.fileno(), 2)
    run_one(config, folder, resume=runs.holds_run(folder))


@pytest.fixture(scope="module")
def processes():
    """Processes that find torch imported: started in milliseconds, so that kills hit training and not imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deeprl.training", "tests.deeprl.small_runs"])
    return context


def progress(folder):
    """Bytes in the tables: they grow with every row."""
    return sum(path.stat().st_size for path in folder.rglob("*.csv"))


def kill_again_and_again(processes, config, folder, kills, rng, duration):
    """Kill runs of `config` until `kills` are done; every run that ends by itself is handed out."""
    done, count, where = 0, 0, set()
    while done < kills:
        count += 1
        run = folder / str(count)
        assert count <= kills, "most runs end before they are killed"
        while True:
            process = processes.Process(target=_train, args=(config, run, folder / "said"))
            process.start()
            if rng.random() < 0.5 or not run.exists():
                process.join(rng.uniform(0, 0.9 * duration))
            else:  # at once after some row was written
                before, deadline = progress(run), time.monotonic() + 10
                while process.is_alive() and progress(run) <= before and time.monotonic() < deadline:
                    time.sleep(0.001)
                process.join(rng.uniform(0, 0.1 * duration))
            if done == kills or not process.is_alive():
                process.join()
                assert process.exitcode == 0, (folder / "said").read_text()
                break
            process.kill()
            process.join()
            done += 1
            found = checkpoints.newest_first(run / "checkpoints")
            where.add(found[0].name if found else "none")
        yield run, where
    assert done == kills


KINDS = {
    "sac": small("sac", seed=5),
    "sac on Hopper": small("sac", env_id="Hopper-v5", total_timesteps=240),
    "td3 with three environments": small("td3", num_envs=3, checkpoint_interval=50),
    "ecac": small("ecac", env_id="Hopper-v5", total_timesteps=240),
    "ecac, discrete": small("ecac", env_id="CartPole-v1"),
    "sac-score": small("sac-score", total_timesteps=200, policy_samples=2),
    "sac, two seeds on a stack": small("sac", seeds=2, total_timesteps=200),
    "ddpg, two seeds of two on a stack": small("ddpg", seeds=2, num_envs=2, total_timesteps=200),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_kills_at_any_moment_change_nothing(tmp_path, processes, kind):
    config = KINDS[kind]
    expected_tables, expected_state, duration = whole(config, tmp_path / "whole")
    rng = random.Random(f"{SEED} {kind}")
    (tmp_path / "killed").mkdir()
    moments = set()
    for run, where in kill_again_and_again(processes, config, tmp_path / "killed", KILLS_A_KIND, rng, duration):
        assert tables(run) == expected_tables
        assert final_state(run) == expected_state
        assert tree(run).keys() >= tree(tmp_path / "whole").keys()
        moments |= where
    print(f"{kind}: {KILLS_A_KIND} kills, found {sorted(moments)}")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_the_command_is_killed_and_taken_up(tmp_path):
    """`exactrl train` and `exactrl train --resume` in processes of their own, killed in their start-up too."""
    rng, done, count = random.Random(SEED), 0, 0
    algorithms = ["sac", "td3", "ecac"]
    expected = {}
    while done < KILLS:
        algorithm = algorithms[count % len(algorithms)]
        config = small(algorithm, total_timesteps=500, checkpoint_interval=50)
        if algorithm not in expected:
            expected[algorithm] = whole(config, tmp_path / algorithm)
        duration, run = expected[algorithm][2], tmp_path / f"run {count}"
        count += 1
        while True:
            begun = runs.holds_run(run)
            words = ["--resume", str(run)] if begun else [*options(config), "--out", str(run)]
            process = start(words)
            if done < KILLS and rng.random() < 0.8:
                before, deadline = progress(run), time.monotonic() + 60
                while process.poll() is None and progress(run) <= before and time.monotonic() < deadline:
                    time.sleep(0.002)
                time.sleep(rng.uniform(0, 0.7 * duration))
            elif done < KILLS:  # in its imports, most likely
                time.sleep(rng.uniform(0, 2))
            if done == KILLS or process.poll() is not None:
                assert process.wait() == 0
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
        assert tables(run) == expected[algorithm][0]
        assert final_state(run) == expected[algorithm][1]


def start(words):
    return subprocess.Popen([*COMMAND, *words], env=ENVIRONMENT, stdout=subprocess.DEVNULL, start_new_session=True)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_seeds_side_by_side_end_with_their_parent_and_are_taken_up(tmp_path):
    """Only the parent is killed; taken up on a terminal the seeds' files are those of each seed alone."""
    config = small(seeds=2, jobs=2, total_timesteps=400, log_interval=20)
    both = tmp_path / "both"
    parent = start([*options(config), "--out", str(both)])
    deadline = time.monotonic() + 120
    while len(tables(both)) < 4 or not all(checkpoints.newest_first(both / f"seed-{k}/checkpoints") for k in (1, 2)):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while alive(parent.pid):
        assert time.monotonic() < deadline, "the seeds' processes go on without their parent"
        time.sleep(0.01)
    terminal = Terminal()
    again = subprocess.run(
        [*COMMAND, "--resume", str(both)], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=terminal.file, timeout=200
    )
    shown = terminal.text()
    assert again.returncode == 0, shown
    for seed in (1, 2):
        alone = config.replace(seed=seed, seeds=1, jobs=0)
        expected_tables, expected_state, _ = whole(alone, tmp_path / str(seed))
        assert tables(both / f"seed-{seed}") == expected_tables
        assert final_state(both / f"seed-{seed}") == expected_state
        assert f"seed {seed}" in shown
        assert runs.read_config(both / f"seed-{seed}") == alone.resolved()
    assert "steps/s" in shown
    assert "100.0%" in shown
    assert "done, return" in shown
    assert b"interquartile mean of the return over 2 seeds" in again.stdout


# ------------------------------------------------------------------------------------- what a run that was killed left


def test_a_run_that_was_left_before_its_first_checkpoint_begins_again(tmp_path):
    config = small(env_id=HERE + "Either-v0", total_timesteps=120)
    expected_tables, expected_state, _ = whole(config, tmp_path / "whole")
    interrupted(config, tmp_path / "left", 39)
    assert len(rows(tmp_path / "left" / "metrics.csv")) == 1
    assert "goes on from step 0 of 120" in resumed(tmp_path / "left")
    assert (tables(tmp_path / "left"), final_state(tmp_path / "left")) == (expected_tables, expected_state)


@pytest.mark.parametrize("steps", [40, 59, 80, 119])
def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path, steps):
    config = small("ecac", env_id=HERE + "Either-v0", total_timesteps=120)
    expected_tables, expected_state, _ = whole(config, tmp_path / "whole")
    interrupted(config, tmp_path / "left", steps)
    assert f"goes on from step {steps - steps % 40} of 120" in resumed(tmp_path / "left")
    assert (tables(tmp_path / "left"), final_state(tmp_path / "left")) == (expected_tables, expected_state)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("EXACTRL_KILLS" not in os.environ, reason="minutes of compiling: set EXACTRL_KILLS")
@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_a_compiled_run_goes_on_as_well(tmp_path, algorithm):
    config = small(algorithm, compile=True)
    expected_tables, expected_state, _ = whole(config, tmp_path / "whole")
    interrupted(config, tmp_path / "run", 80)
    resumed(tmp_path / "run")
    assert tables(tmp_path / "run") == expected_tables
    assert final_state(tmp_path / "run") == expected_state


def test_a_checkpoint_without_a_row_since_the_one_before(tmp_path):
    """Rows come less often than checkpoints: the length of a table that was cut back is its length."""
    config = small(env_id=HERE + "Either-v0", total_timesteps=200, log_interval=95, checkpoint_interval=20)
    expected_tables, expected_state, _ = whole(config, tmp_path / "whole")
    left = tmp_path / "left"
    interrupted(config, left, 99)  # a row at 95 beyond the checkpoint at 80
    for until in (85, 108):
        trainer = Trainer(runs.read_config(left), left)
        trainer.resume()
        trainer.open()
        while trainer.step < until:
            trainer.advance()
    resumed(left)
    assert (tables(left), final_state(left)) == (expected_tables, expected_state)


@pytest.mark.parametrize("damage", ["cut", "flipped", "replay", "table"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_used(tmp_path, damage):
    config = small(env_id=HERE + "Either-v0", total_timesteps=200)
    expected_tables, expected_state, _ = whole(config, tmp_path / "whole")
    left = tmp_path / "left"
    trainer = interrupted(config, left, 130)
    newest = left / "checkpoints" / "checkpoint-000000000120.pt"
    content = bytearray(newest.read_bytes())
    if damage == "cut":
        newest.write_bytes(content[:-100])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    elif damage == "replay":
        replay = trainer.members[0].replay
        replay._array[100 % replay.rows] += 1  # the checkpoint at 80 needs no row 100
    else:
        table = left / "metrics.csv"
        table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:3]))  # up to step 60
    said = resumed(left)
    reason = {"replay": "the replay", "table": "rows are missing"}.get(damage, "is damaged")
    assert "refused checkpoint-000000000120.pt: " in said
    assert reason in said
    assert "went back to the checkpoint before it" in said
    assert "goes on from step 80 of 200" in said
    assert (tables(left), final_state(left)) == (expected_tables, expected_state)


def test_no_usable_checkpoint_is_an_error(tmp_path):
    interrupted(small(env_id=HERE + "Plain-v0"), tmp_path, 90)
    for path in checkpoints.newest_first(tmp_path / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-1])
    before = tables(tmp_path)
    with pytest.raises(ExactRLError, match=r"no usable checkpoint in (?s:.*)start afresh with another --out"):
        resumed(tmp_path)
    assert tables(tmp_path) == before


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_finished_run_is_finished(tmp_path, seeds):
    config = small(env_id=HERE + "Plain-v0", total_timesteps=60, seeds=seeds, tensorboard=True)
    run_one(config, tmp_path, resume=False)
    before = tree(tmp_path)
    if seeds == 1:
        result = CliRunner().invoke(train, ["--resume", str(tmp_path)])
        assert result.exit_code == 0
        assert "is finished, all 60 steps are done" in result.stderr
        assert result.stdout.startswith("return ")
    else:
        assert "is finished, all 60 steps are done" in resumed(tmp_path)
    assert tree(tmp_path) == before


# ----------------------------------------------------------------------------------------------------- what is refused


def refusal(folder):
    with pytest.raises(ExactRLError) as caught:
        resumed(folder)
    return str(caught.value)


def test_nothing_to_take_up(tmp_path):
    assert "holds no run: there is no config.json in it" in refusal(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"command"', "", "malformed JSON"),
        ('"batch_size": 16', '"batch_size": 0', "config.json: batch_size is 0: expected at least 1"),
        ('"batch_size": 16', '"batch_size": "16"', "config.json: batch_size is '16': expected an integer"),
        ('"sac"', '"sarsa"', "the algorithm is 'sarsa': expected one of sac"),
        ("batch_size", "batchsize", "sac has no option batchsize"),
        ('"seed": 1', '"seed": 2', "is of another configuration: seed was 1 and is 2; only jobs"),
        ('"versions": {', '"versions": 1, "x": {', "sac has no option x"),
    ],
)
def test_a_configuration_that_was_changed(tmp_path, before, after, message):
    interrupted(small(env_id=HERE + "Plain-v0"), tmp_path, 45)
    path = tmp_path / "config.json"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert message in refusal(tmp_path)


def test_a_configuration_that_is_none(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    assert "is not the configuration of a run" in refusal(tmp_path)


def test_another_version_of_a_package_is_said_and_not_refused(tmp_path):
    interrupted(small(env_id=HERE + "Plain-v0", total_timesteps=60), tmp_path, 45)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace(f'"torch": "{runs.versions()["torch"]}"', '"torch": "1.0"'))
    assert f"results may differ: torch 1.0 -> {runs.versions()['torch']}" in resumed(tmp_path)


def test_a_run_without_checkpoints_cannot_be_taken_up(tmp_path):
    interrupted(small(env_id=HERE + "Plain-v0", checkpoint_interval=0), tmp_path, 45)
    before = tables(tmp_path)
    assert "keeps no checkpoints (checkpoint_interval is 0): start it again with another --out" in refusal(tmp_path)
    assert tables(tmp_path) == before


def test_one_seed_of_a_stack_cannot_be_taken_up_alone(tmp_path):
    run_one(small(env_id=HERE + "Plain-v0", total_timesteps=50, seeds=2), tmp_path, resume=False)
    assert f"is one seed of a stack: take up all of them with --resume {tmp_path}" in refusal(tmp_path / "seed-2")


def test_a_stack_killed_between_its_folders_gets_the_missing_ones(tmp_path):
    config = small(env_id=HERE + "Plain-v0", total_timesteps=50, seeds=2)
    expected_tables, expected_state, _ = whole(config, tmp_path / "whole")
    runs.begin(tmp_path / "left", config.resolved())
    assert "goes on from step 0" in resumed(tmp_path / "left")
    assert (tables(tmp_path / "left"), final_state(tmp_path / "left")) == (expected_tables, expected_state)
    assert runs.read_config(tmp_path / "left" / "seed-2").seed == 2


def _hold(folder, connection):
    with runs.locked(folder):
        connection.send("held")
        connection.recv()


def test_two_processes_in_one_folder(tmp_path, processes):
    """The second is refused; a killed process holds nothing."""
    config = small(env_id=HERE + "Plain-v0", total_timesteps=50)
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    message = "is in use: another process trains there; wait for it, or stop it"
    with pytest.raises(ExactRLError, match=message):
        run_one(config, tmp_path, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == [runs.LOCK]
    process.kill()
    process.join()
    run_one(config, tmp_path, resume=False)
    with runs.locked(tmp_path), pytest.raises(ExactRLError, match=message):
        run_one(config, tmp_path, resume=True)
    with runs.locked(tmp_path), pytest.raises(ExactRLError, match=message):
        launching.run_seeds(config.replace(seeds=2), tmp_path, resume=True)


def test_the_state_that_is_resumed_is_the_state_that_was_saved(tmp_path):
    """Each part by itself, so that a failure of the tests above is found quickly."""
    config = small(env_id=HERE + "Either-v0", num_envs=2)
    trainer = interrupted(config, tmp_path, 80)
    again = Trainer(config, tmp_path)
    again.resume()
    assert again.step == trainer.step == 80
    assert bits(again.state.tensors()) == bits(trainer.state.tensors())
    assert again.state.updates == trainer.state.updates
    before, after = trainer.members[0], again.members[0]
    assert bits(after.generator.get_state()) == bits(before.generator.get_state())
    assert after.observations.tolist() == before.observations.tolist()
    assert after.environments.state() == before.environments.state()
    assert (after.episodes, after.finished) == (before.episodes, before.finished)
    assert bits(again._means()) == bits(trainer._means())
    with contextlib.closing(again), contextlib.closing(trainer):
        assert bits(after.sample(again.algorithm, 16)) == bits(before.sample(trainer.algorithm, 16))
