"""Runs read from folders of `exactrl train` and from the files of other libraries; what is refused, and how."""

import json
import math

import numpy as np
import pytest

from deeprl.results import Columns, read_run, read_runs
from exactrl.errors import ExactRLError

VERSIONS = {"mujoco": "3.17.0", "gymnasium": "1.2.0"}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def exactrl_run(folder, seed, values, **config):
    """Write one run: values are {step: returns}."""
    rows = [f"{step},{k},{x},9" for step, returns in values.items() for k, x in enumerate(returns)]
    write(folder / "evaluations.csv", "\n".join(["global_step,episode,return,length", *rows, ""]))
    settings = {"algorithm": "sac", "env_id": "Hopper-v5", "seed": seed, "total_timesteps": 200, "versions": VERSIONS}
    write(folder / "config.json", json.dumps({**settings, **config}))
    return folder


def test_a_folder_of_train_is_read_with_its_settings(tmp_path):
    run = read_run(exactrl_run(tmp_path / "run", 3, {100: [1, 2], 200: [3, 5, 7]}))
    assert (run.label, run.env_id, run.seed, run.versions) == ("sac", "Hopper-v5", 3, VERSIONS)
    assert run.steps.tolist() == [100, 200]
    assert [entry.tolist() for entry in run.returns] == [[1, 2], [3, 5, 7]]
    assert run.curve().tolist() == [1.5, 5]
    assert run.curve(10).tolist() == [1.5, 5]  # evaluations are never smoothed
    assert [run.index_at(step) for step in (100, 199, 200, 999)] == [0, 0, 1, 1]
    assert read_run(tmp_path / "run", columns=Columns(metric="length")).curve().tolist() == [9, 9]
    assert run.name == "sac seed 3"


def test_a_folder_of_seeds_is_as_many_runs_in_the_order_of_the_seeds(tmp_path):
    for seed in (10, 2):
        exactrl_run(tmp_path / f"seed-{seed}", seed, {100: [seed]})
    write(tmp_path / "seed-notes.txt", "")
    runs = read_runs(tmp_path, label="mine")
    assert [(run.label, run.seed) for run in runs] == [("mine", 2), ("mine", 10)]
    with pytest.raises(ExactRLError, match="holds 2 runs, expected one"):
        read_run(tmp_path)


def test_without_config_the_folder_gives_the_name(tmp_path):
    folder = exactrl_run(tmp_path / "sb3-sac-1", 1, {10: [4]})
    (folder / "config.json").unlink()
    run = read_run(folder, env_id="Ant-v5")
    assert (run.label, run.env_id, run.seed, run.versions) == ("sb3-sac-1", "Ant-v5", None, {})


FOREIGN = {
    "progress.csv": (
        "time/total_timesteps,rollout/ep_rew_mean,eval/mean_reward\n50,1.5,\n100,2.5,7\n100,2.5,\n200,,8\n",
        "evaluation means", [100, 200], [7, 8],
    ),
    "training/progress.csv": (
        "rollout/ep_rew_mean,time/total_timesteps\n,50\n2.5,100\n", "training means", [100], [2.5],
    ),
    "monitor.csv": (
        '#{"t_start": 1.0, "env_id": "Hopper-v5"}\nr,l,t\n1.0,10,0.1\n3.0,20,0.2\n', "training episodes",
        [10, 30], [1, 3],
    ),
    "log.csv": ("Wall time,Step,Value\n1.0,10,5\n2.0,20,6\n", "logged values", [10, 20], [5, 6]),
    "cleanrl.csv": (
        "global_step,charts/episodic_return\n10,5\n20,6\n", "training episodes", [10, 20], [5, 6],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_libraries_are_known_by_their_columns(name, tmp_path):
    text, source, steps, values = FOREIGN[name]
    run = read_run(write(tmp_path / "sb3" / name, text))
    assert run.source == source
    assert run.steps.tolist() == steps
    assert run.curve(1).tolist() == values
    assert run.env_id == ("Hopper-v5" if name == "monitor.csv" else None)
    assert run.seed is None
    assert run.label == {"log.csv": "log", "cleanrl.csv": "cleanrl", "training/progress.csv": "training"}.get(
        name, "sb3"
    )
    folder = (tmp_path / "sb3" / name).parent
    assert read_run(folder).steps.tolist() == steps


def test_an_npz_of_evaluations(tmp_path):
    np.savez(
        tmp_path / "evaluations.npz", timesteps=[10, 20], results=[[1.0, 3.0], [5.0, 9.0]], ep_lengths=[[1, 1], [1, 1]]
    )
    run = read_run(tmp_path, label="sb3")
    assert (run.source, run.steps.tolist(), run.curve().tolist()) == ("evaluation episodes", [10, 20], [2, 7])


def test_training_episodes_are_averaged_over_the_last_ten(tmp_path):
    returns = np.random.default_rng(0).normal(size=25)
    rows = "".join(f"{x!r},5,0\n" for x in returns.tolist())
    run = read_run(write(tmp_path / "monitor.csv", "#{}\nr,l,t\n" + rows))
    for width, expected in ((None, 10), (4, 4)):
        means = [returns[max(0, k + 1 - expected) : k + 1].mean() for k in range(25)]
        assert run.curve(width) == pytest.approx(means)


def test_columns_may_be_named_and_a_seed_column_makes_several_runs(tmp_path):
    file = write(tmp_path / "mine.csv", "seed,t,score\n1,10,5\n2,10,7\n1,20,6\n2,20,8\n")
    runs = read_runs(file, columns=Columns("t", "score"))
    assert [(run.seed, run.steps.tolist(), run.curve(1).tolist()) for run in runs] == [
        (1, [10, 20], [5, 6]),
        (2, [10, 20], [7, 8]),
    ]


def test_weights_and_biases_gives_a_column_a_run(tmp_path):
    header = '"global_step","a - charts/episodic_return","a - charts/episodic_return__MIN","b - charts/episodic_return"'
    runs = read_runs(write(tmp_path / "wandb.csv", f"{header}\n10,1,0,\n20,2,0,4\n"))
    assert [(run.label, run.steps.tolist()) for run in runs] == [("a", [10, 20]), ("b", [20])]


REFUSED = {
    "": "is empty: it has no line at all",
    "global_step,episode,return,length\n": "is empty: it has a header and no rows",
    "global_step,episode,return,length\n10,0,1.5,9\n10,1,nan,9\n": "line 3: return is 'nan', expected a finite number",
    "global_step,episode,return,length\n10,0,high,9\n": "line 2: return is 'high', expected a finite number",
    "global_step,episode,return,length\n10,0,,9\n": "line 2: a blank cell",
    "global_step,episode,return,length\n10,0,1\n": "line 2: 3 cells, expected 4; was the file cut short",
    "global_step,episode,return,length\n10,0,1,9\n10,0,2,9\n": "line 3: episode 0 of step 10 stands twice",
    "global_step,episode,return,length\n20,0,1,9\n10,0,2,9\n": "line 3: step 10 after 20",
    "time/total_timesteps,eval/mean_reward\n20,1\n10,2\n": "line 3: time/total_timesteps is 10 after 20",
    "time/total_timesteps,eval/mean_reward\n20,\n": "is empty: no row has a number in 'eval/mean_reward'",
    "#{}\nr,l,t\n1,inf,0\n": "line 3: l is 'inf'",
    "#{}\nr,l,t\n1,,0\n": "line 3: a blank cell",
    "epoch,score\n1,2\n": "no step column that is known; its columns are 'epoch', 'score'. .*--step-column",
    "Step,score\n1,2\n": "no return column that is known; its columns are 'Step', 'score'",
    "seed,Step,Value\n1.5,1,2\n": "line 2: the seed is 1.5, expected an integer",
}


@pytest.mark.parametrize("text", REFUSED)
def test_bad_tables_are_refused_with_the_row(text, tmp_path):
    with pytest.raises(ExactRLError, match=f"table.csv.*{REFUSED[text]}"):
        read_runs(write(tmp_path / "table.csv", text))


def test_bad_paths_and_settings_are_refused(tmp_path):
    with pytest.raises(ExactRLError, match="no such file or folder"):
        read_runs(tmp_path / "none")
    with pytest.raises(ExactRLError, match=r"is not the folder of a run.*found CSV files: none"):
        read_runs(tmp_path)
    begun = write(tmp_path / "begun" / "config.json", "{}").parent
    with pytest.raises(ExactRLError, match="has not reached its first evaluation"):
        read_runs(begun)
    with pytest.raises(ExactRLError, match=r"seed is '1', expected an integer"):
        read_runs(exactrl_run(tmp_path / "seed", "1", {10: [1]}))
    write(exactrl_run(tmp_path / "list", 1, {10: [1]}) / "config.json", "[]")
    with pytest.raises(ExactRLError, match="holds no object"):
        read_runs(tmp_path / "list")
    (tmp_path / "latin.csv").write_bytes(b"Step,Value\n1,\xff\n")
    with pytest.raises(ExactRLError, match="not UTF-8"):
        read_runs(tmp_path / "latin.csv")
    log = write(tmp_path / "log.csv", "Step,Value\n10,1\n")
    with pytest.raises(ExactRLError, match="no column 'score'"):
        read_runs(log, columns=Columns(value="score"))
    with pytest.raises(ExactRLError, match="no evaluation episodes, so no length"):
        read_runs(log, columns=Columns(metric="length"))
    with pytest.raises(ExactRLError, match="no result at or before step 5: its first is at 10"):
        read_run(log).index_at(5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"timesteps": [1]}, "expected timesteps and results"),
        ({"timesteps": [1, 2], "results": [[1.0]]}, r"timesteps \(2,\) and results \(1, 1\)"),
        ({"timesteps": [1, 2], "results": [[1.0], [math.nan]]}, "row 1 of results: a return is not finite"),
        ({"timesteps": [2, 1], "results": [[1.0], [1.0]]}, "timesteps go back"),
    ],
)
def test_bad_npz_files_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "evaluations.npz", **arrays)
    with pytest.raises(ExactRLError, match=message):
        read_runs(tmp_path)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    for content in (b"PK\x03\x04 cut short", b"no archive", b""):
        (tmp_path / "evaluations.npz").write_bytes(content)
        with pytest.raises(ExactRLError, match="cannot read"):
            read_runs(tmp_path)
