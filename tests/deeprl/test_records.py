"""The tables of a run: whole rows, cut back to a length, exact numbers; events and films beside them."""

import csv
import math

import pytest

from deeprl import runs
from deeprl.launching import run_one
from deeprl.records import Events, Table, require_length
from deeprl.results import read_run
from exactrl import ExactRLError
from tests.deeprl.small_runs import HERE, rows, small


def test_a_table_grows_by_rows_and_is_cut_back(tmp_path):
    path = tmp_path / "table.csv"
    table = Table(path, ["step", "value"])
    table.append([{"step": 1, "value": 0.1}, {"step": 2}])
    length = table.length
    assert length == path.stat().st_size
    table.append([{"step": 3, "value": 1e-300}])
    table.close()
    again = Table(path, ["step", "value"], length)
    assert again.length == length, "also before anything is written"
    again.append([{"value": math.pi, "step": 4}])
    assert again.length == path.stat().st_size
    again.close()
    assert path.read_text() == "step,value\n1,0.1\n2,\n4,3.141592653589793\n"
    Table(path, ["step", "value"]).close()
    assert path.read_text() == "step,value\n"


def test_every_float_comes_back_as_it_was(tmp_path):
    numbers = [0.1, -0.0, 1 / 3, 5e-324, 1.7976931348623157e308, 16777217.0]
    table = Table(tmp_path / "table.csv", ["value"])
    table.append([{"value": number} for number in numbers])
    table.close()
    with open(tmp_path / "table.csv", newline="") as file:
        found = [float(row["value"]) for row in csv.DictReader(file)]
    assert [value.hex() for value in found] == [value.hex() for value in numbers]


def test_a_table_that_is_too_short(tmp_path):
    path = tmp_path / "table.csv"
    require_length(path, 0)
    with pytest.raises(ExactRLError, match=r"table.csv has 0 bytes, the checkpoint was taken at 5: rows are missing"):
        require_length(path, 5)
    path.write_text("12345")
    require_length(path, 5)


def test_events_hold_what_the_table_holds_and_the_speed(tmp_path):
    config = small(env_id=HERE + "Plain-v0", total_timesteps=90, tensorboard=True)
    run_one(config, tmp_path, resume=False)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    for name in ("q_loss", "episode_return", "evaluation_return", "updates"):
        logged = {event.step: event.value for event in events.Scalars(name)}
        table = {int(row["global_step"]): float(row[name]) for row in rows(tmp_path / "metrics.csv") if row[name]}
        assert logged == pytest.approx(table, rel=1e-6)
    assert all(event.value > 0 for event in events.Scalars("steps_per_second"))
    assert "steps_per_second" not in rows(tmp_path / "metrics.csv")[0]


def test_weights_and_biases_is_given_the_configuration(tmp_path, monkeypatch):
    import sys
    import types

    said = {}

    class Tracked:
        def finish(self):
            said["finished"] = True

    def init(**keywords):
        said.update(keywords)
        return Tracked()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    config = small(track=True)
    events = Events(tmp_path, 0, config)
    events.add(1, {"value": 2.0, "nothing": None})
    events.close()
    assert said["config"] == config.as_dict()
    assert said["sync_tensorboard"]
    assert said["finished"]


def test_the_record_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/exactrl", "train", "sac", "--out", "a folder"])
    runs.begin(tmp_path / "run", small("ecac").resolved())
    from exactrl.files import read_json

    record = read_json(tmp_path / "run" / "config.json")
    assert record["command"] == "exactrl train sac --out 'a folder'"
    assert set(record["versions"]) == {"python", "exactrl", "mujoco", "gymnasium", "torch", "numpy"}
    assert record["algorithm"] == "ecac"
    assert record["kl_temperature"] == 0.5, "resolved, not None"
    assert runs.read_config(tmp_path / "run") == small("ecac").resolved()
    assert runs.changed_versions(tmp_path / "run") == []
    with pytest.raises(ExactRLError, match=r"holds a run already: give another --out, or take it up with --resume "):
        runs.begin(tmp_path / "run", small())


def test_the_results_of_a_run_are_read_back(tmp_path):
    run_one(small(total_timesteps=60, evaluation_interval=30, evaluation_episodes=2), tmp_path, resume=False)
    found = read_run(tmp_path)
    assert found.steps.tolist() == [30, 60]
    assert [len(returns) for returns in found.returns] == [2, 2]
    assert (found.label, found.env_id, found.seed) == ("sac", "Pendulum-v1", 1)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ExactRLError, match=r"cannot write in .*file: .*; choose another --out"),
        runs.locked(tmp_path / "file"),
    ):
        pass


def test_films(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    config = small(env_id=HERE + "Drawn-v0", total_timesteps=60, evaluation_interval=60, capture_video=True)
    run_one(config, tmp_path / "filmed", resume=False)
    assert sorted(path.name for path in (tmp_path / "filmed" / "videos").iterdir()) == ["step-0.mp4", "step-60.mp4"]
    run_one(config.replace(capture_video=False), tmp_path / "plain", resume=False)
    for name in ("metrics.csv", "evaluations.csv"):
        assert (tmp_path / "filmed" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_an_environment_that_cannot_be_filmed_is_refused_at_the_start(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(ExactRLError, match="cannot be made with render_mode='rgb_array'"):
        run_one(small(env_id=HERE + "Plain-v0", capture_video=True), tmp_path, resume=False)
    assert rows(tmp_path / "metrics.csv") == []
