"""`exactrl train` and `exactrl evaluate` as a user meets them."""

import dataclasses
import json
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from deeprl import runs
from deeprl.commands import evaluate, train
from deeprl.config import CONFIGS
from exactrl.cli import main
from tests.deeprl.small_runs import HERE, ROOT, Terminal, final_state, options, rows, small, tables, tree


def invoke(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def fails(*words):
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    config = small(env_id=HERE + "Plain-v0", total_timesteps=100)
    result = invoke("train", *options(config), "--out", folder)
    assert result.exit_code == 0, result.output
    return config, folder, result


def test_a_run(plain):
    config, folder, result = plain
    score = rows(folder / "evaluations.csv")[-1]["return"]
    assert result.stdout == f"return {float(score):.1f} over 1 episodes; the run is in {folder}\n"
    assert runs.read_config(folder) == config
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "checkpoints", "config.json", "evaluations.csv", "metrics.csv", "replay.float32"
    ]  # fmt: skip


def test_no_progress_where_there_is_no_terminal(plain):
    _, _, result = plain
    assert result.stderr == ""


def test_the_options_are_the_fields(plain, tmp_path):
    """Every field of every configuration is an option of its command, explained, with its default shown."""
    for name, kind in CONFIGS.items():
        command = train.commands[name]
        found = {parameter.name: parameter for parameter in command.params}
        assert set(found) == {"out"} | {entry.name for entry in dataclasses.fields(kind)}
        shown = command.get_help(click.Context(command, info_name=name))
        flat = " ".join(shown.split())
        for entry in dataclasses.fields(kind):
            assert f"--{entry.name.replace('_', '-')} " in shown + " "
            assert entry.metadata["help"] in flat.replace("- ", "-") or entry.metadata["help"] in flat
            if isinstance(entry.default, bool):
                # A line may break after a hyphen.
                default = f"[default: {'' if entry.default else 'no-'}{entry.name.replace('_', '-')}]"
                assert default in flat.replace("- ", "-")
            elif isinstance(entry.default, tuple):
                assert f"[default: {','.join(map(str, entry.default))}]" in flat
            elif entry.default is not None:
                assert f"[default: {entry.default}]" in flat
        assert "Example:" in shown


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_the_command_line_of_a_configuration_gives_it_back(monkeypatch, algorithm, tmp_path):
    got = []
    monkeypatch.setattr("deeprl.commands._run", lambda config, folder, resume: got.append((config, folder, resume)))
    config = small(algorithm, hidden_sizes=(7, 5, 3), gamma=0.5, seed=12, tensorboard=True)
    assert invoke("train", *options(config), "--out", tmp_path).exit_code == 0
    assert got == [(config, tmp_path, False)]


def test_numbers_as_people_write_them(monkeypatch):
    got = []
    monkeypatch.setattr("deeprl.commands._run", lambda config, folder, resume: got.append(config))
    words = [
        "--total-timesteps",
        "2e4",
        "--buffer-size",
        "1_000_000",
        "--batch-size",
        "1.28e2",
        "--hidden-sizes",
        "64,32",
    ]
    assert invoke("train", "sac", *words, "--q-limit", "1e9", "--no-autotune").exit_code == 0
    assert (got[0].total_timesteps, got[0].buffer_size, got[0].batch_size) == (20_000, 1_000_000, 128)
    assert (got[0].hidden_sizes, got[0].q_limit, got[0].autotune) == ((64, 32), 1e9, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch-size", "x"], "Invalid value for '--batch-size': 'x' is not a whole number such as 20000 or 2e4"),
        (["--batch-size", "2.5"], "'2.5' is not a whole number"),
        (["--batch-size", "inf"], "'inf' is not a whole number"),
        (["--batch-size", "nan"], "'nan' is not a whole number"),
        (["--batch-size", "1e99999999"], "is not a whole number"),
        (["--batch-size", "0"], "batch_size is 0: expected at least 1"),
        (["--gamma", "1.5"], "gamma is 1.5: expected between 0 and 1"),
        (["--gamma", "nan"], "gamma is nan: expected a finite number"),
        (["--hidden-sizes", "64;64"], "'64;64' is not a list of widths such as 256,256"),
        (["--hidden-sizes", "64,0"], "hidden_sizes is (64, 0): expected integers of at least 1"),
        (["--optimizer", "lion"], "'lion' is not one of 'adam', 'sgd'"),
        (["--policy-noise", "1"], "No such option"),
        (["--env-id", "Hoper-v5"], "registered names near it: Hopper-v5"),
        (["--env-id", "Hopper"], "expected Hopper-v5"),
        (["--env-id", "CartPole-v1"], "try sac-score or ecac"),
        (["--env-id", HERE + "Pixels-v0"], "has pixel observations"),
        (["--env-id", HERE + "Dictionary-v0", "--seeds", "2"], "FlattenObservation"),
        (["--env-id", "Pendulum-v1", "--device", "cuda"], "--device cuda: this machine"),
        (["--env-id", "Pendulum-v1", "--device", "cuda", "--seeds", "2"], "--device cuda: this machine"),
        (["--env-id", "Pendulum-v1", "--track"], "--track needs Weights & Biases: pip install wandb"),
    ],
)
def test_what_is_refused_before_a_folder_is_made(tmp_path, words, message):
    import importlib.util

    import torch

    if ("cuda" in words and torch.cuda.is_available()) or ("--track" in words and importlib.util.find_spec("wandb")):
        pytest.skip("this is possible here")
    assert message in fails("train", "sac", *words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run(plain):
    config, folder, _ = plain
    before = tree(folder)
    for extra in ([], ["--seeds", "2"]):
        found = fails("train", *options(config), *extra, "--out", folder)
        assert f"holds a run already: give another --out, or take it up with --resume {folder}" in found
    assert tree(folder) == before


def test_resume(plain, tmp_path):
    _, folder, _ = plain
    assert "name an algorithm, or give --resume RUN" in fails("train")
    assert "--resume takes the algorithm from the run" in fails("train", "--resume", folder, "sac")
    assert "holds no run: there is no config.json in it" in fails("train", "--resume", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    before = tree(folder)
    done = invoke("train", "--resume", folder)
    assert (done.exit_code, done.stderr) == (0, f"{folder}: is finished, all 100 steps are done\n")
    assert tree(folder) == before


def test_without_a_folder_one_is_found(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = small(env_id=HERE + "Plain-v0", total_timesteps=20, evaluation_interval=0)
    for place in ("runs/" + HERE + "Plain-v0-sac-1", "runs/" + HERE + "Plain-v0-sac-1-2"):
        result = invoke("train", *options(config))
        assert result.stdout == f"the run is in {place}; it was not evaluated (--evaluation-interval 0)\n"
        assert runs.holds_run(tmp_path / place)


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, tmp_path):
    from deeprl.training import Trainer

    advance = Trainer.advance

    def interrupted(trainer):
        if trainer.step == 50:
            raise KeyboardInterrupt
        advance(trainer)

    config = small(env_id=HERE + "Plain-v0", total_timesteps=100)
    assert invoke("train", *options(config), "--out", tmp_path / "whole").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", interrupted)
        result = invoke("train", *options(config), "--out", tmp_path / "a run")
    assert result.exit_code == 130
    assert result.stderr == f"interrupted; go on with exactrl train --resume '{tmp_path / 'a run'}'\n"
    result = invoke("train", "--resume", tmp_path / "a run")
    assert result.exit_code == 0
    assert "goes on from step 40 of 100" in result.stderr
    assert tables(tmp_path / "a run") == tables(tmp_path / "whole")
    assert final_state(tmp_path / "a run") == final_state(tmp_path / "whole")


def test_a_run_that_goes_wrong_ends_with_status_2(tmp_path):
    config = small(env_id=HERE + "NanReward-v0")
    found = fails("train", *options(config), "--out", tmp_path / "run")
    assert found.startswith("Error: stopped at step 54, update 14: seed 1: environment 0 of ")


def test_a_terminal_shows_a_bar(monkeypatch, tmp_path):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal.file)
    monkeypatch.setattr("deeprl.progress.REFRESH", 0.0)
    config = small(env_id=HERE + "Plain-v0", total_timesteps=200)
    train.main([*options(config), "--out", str(tmp_path / "run")], standalone_mode=False)
    monkeypatch.undo()
    shown = terminal.text()
    assert f"sac on {config.env_id}, seed 1, in " in shown
    assert "100%" in shown
    assert "200/200" in shown
    assert "step/s, return 0, evaluation 0]" in shown
    assert "00:00<00:0" in shown, "time taken and time left"


def test_evaluate(plain, tmp_path):
    config, folder, _ = plain
    result = invoke("evaluate", folder, "--episodes", 3, "--seed", 5)
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first == f"sac on {config.env_id} after 100 steps, seeds 5 to 7"
    assert second.startswith("return ")
    assert second.endswith(" (standard deviation between episodes) over 3 episodes")
    record = json.loads(invoke("evaluate", folder, "--episodes", 3, "--seed", 5, "--json").stdout)
    assert (record["step"], record["seed"], record["lengths"]) == (100, 5, [5, 5, 5])
    assert record["mean"] == pytest.approx(sum(record["returns"]) / 3)
    single = json.loads(invoke("evaluate", folder, "--episodes", 1, "--json").stdout)
    assert single["standard_deviation"] is None
    again = json.loads(invoke("evaluate", folder, "--episodes", 1, "--seed", 6, "--json").stdout)
    assert again["returns"] == record["returns"][1:2]


def test_evaluate_what_is_not_there(tmp_path, plain):
    assert "holds no run" in fails("evaluate", tmp_path)
    assert "is not in the range" in fails("evaluate", plain[1], "--episodes", "0")


def test_evaluate_passes_over_a_damaged_checkpoint_and_says_so(tmp_path):
    config = small(env_id=HERE + "Plain-v0", total_timesteps=100)
    invoke("train", *options(config), "--out", tmp_path)
    newest = tmp_path / "checkpoints" / "checkpoint-000000000100.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    result = invoke("evaluate", tmp_path, "--json")
    assert json.loads(result.stdout)["step"] == 80
    assert result.stderr.startswith("refused checkpoint-000000000100.pt: is damaged")


@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_evaluate_films(tmp_path, plain):
    pytest.importorskip("imageio_ffmpeg")
    found = fails("evaluate", plain[1], "--episodes", 1, "--video", tmp_path / "film.mp4")
    assert "cannot be made with render_mode='rgb_array'" in found
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("words", [["train", "--help"], ["train", "sac", "--help"], ["evaluate", "--help"]])
def test_help_comes_at_once(words):
    program = (
        "import sys\nfrom exactrl.cli import main\n"
        f"main({words!r}, standalone_mode=False)\n"
        "slow = {'torch', 'gymnasium', 'mujoco', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    began = time.process_time(), time.monotonic()
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "Example" in found.stdout
    # a fifth of a second by itself; the machine may be busy
    assert time.monotonic() - began[1] < 5


def test_the_group_itself():
    shown = invoke("train", "--help").stdout
    assert all(name in shown for name in CONFIGS)
    assert "--resume" in shown
    assert evaluate.name == "evaluate"
