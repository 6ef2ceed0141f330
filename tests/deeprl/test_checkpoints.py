"""Checkpoints under kills, flipped bytes and truncation: always one that is whole, or a refusal that says why."""

import hashlib
import os
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

from deeprl import checkpoints
from deeprl.checkpoints import load_newest, newest_first, save
from exactrl import ExactRLError


def written(body, step=0, version=1, magic=b"exactrl\x00"):
    """A checkpoint file put together by hand from the description of the format."""
    rest = struct.pack("<I", version) + struct.pack("<Q", step) + struct.pack("<Q", len(body)) + body
    return magic + hashlib.sha256(rest).digest() + rest


def two(folder):
    """Two checkpoints, and the bytes of the newer."""
    save(folder, 1, {"step": 1, "weights": torch.arange(300.0)})
    path = save(folder, 2, {"step": 2, "weights": torch.arange(300.0) + 1})
    return path, path.read_bytes()


def test_plain_containers_and_tensors_come_back_as_they_were(tmp_path):
    bits = np.random.default_rng(3).bit_generator
    payload = {
        "generator": torch.Generator().manual_seed(5).get_state(),
        "numpy": bits.state,  # integers of 128 bits
        "chunks": [(0, 5, 2**32 - 1)],
        "moments": {
            0: torch.full((2, 3), 0.1, dtype=torch.float64),
            1: [None, True, -1.5, float("inf"), b"\x00\xff", "é"],
        },
    }
    assert save(tmp_path, 123, payload) == tmp_path / "checkpoint-000000000123.pt"
    step, loaded, refused = load_newest(tmp_path)
    assert (step, refused) == (123, [])
    assert torch.equal(loaded.pop("generator"), payload.pop("generator"))
    assert torch.equal(loaded["moments"].pop(0), payload["moments"].pop(0))
    assert loaded == payload
    assert type(loaded["chunks"][0]) is tuple


def test_the_state_of_a_module_is_plain(tmp_path):
    network = torch.nn.Linear(2, 3)
    save(tmp_path, 1, {"network": network.state_dict(), "weight": network.weight})
    payload = load_newest(tmp_path).payload
    assert torch.equal(payload["network"]["weight"], network.weight)
    assert torch.equal(payload["weight"], network.weight)


def test_the_newest_two_are_kept_and_nothing_else(tmp_path):
    folder = tmp_path / "made" / "on the way"
    for step in (5, 10, 99, 100):
        save(folder, step, {"step": step})
    assert [path.name for path in newest_first(folder)] == ["checkpoint-000000000100.pt", "checkpoint-000000000099.pt"]
    (folder / ".checkpoint.tmp").write_bytes(b"left by a kill")
    (folder / "notes.txt").write_text("not ours")
    save(folder, 100, {"step": "again"})
    assert len(newest_first(folder)) == 2
    assert load_newest(folder).payload == {"step": "again"}
    # a run that went back: what lay ahead of it is gone
    save(folder, 98, {})
    save(folder, 97, {})
    assert sorted(os.listdir(folder)) == ["checkpoint-000000000097.pt", "notes.txt"]


def test_a_damaged_newest_does_not_push_out_the_good_one_before_it(tmp_path):
    path, content = two(tmp_path)
    path.write_bytes(content[:-1])
    assert load_newest(tmp_path).step == 1
    save(tmp_path, 2, {"step": 2})
    path.write_bytes(content[:-1])
    (tmp_path / "checkpoint-000000000003.pt").write_bytes(content)
    save(tmp_path, 2, {"step": 2})
    assert [loaded.name[-4:] for loaded in newest_first(tmp_path)] == ["2.pt", "1.pt"]


def test_any_flip_is_refused_and_the_one_before_is_used(tmp_path):
    path, content = two(tmp_path)
    assert len(content) > 1500
    for position in [*range(60), *range(60, len(content), 97), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        loaded = load_newest(tmp_path)
        assert (loaded.step, loaded.payload["step"]) == (1, 1)
        assert len(loaded.refused) == 1
        reason = "not a checkpoint of exactrl" if position < 8 else "is damaged: its content does not have the digest"
        assert reason in loaded.refused[0]
        assert loaded.refused[0].startswith("checkpoint-000000000002.pt: ")


def test_every_thousandth_byte_of_a_large_one_counts(tmp_path):
    save(tmp_path, 1, {"step": 1})
    path = save(tmp_path, 2, {"weights": torch.randn(40_000)})
    content = bytearray(path.read_bytes())
    for position in range(0, len(content), 1000):
        content[position] ^= 0xFF
        path.write_bytes(content)
        assert load_newest(tmp_path).step == 1
        content[position] ^= 0xFF
    path.write_bytes(content)
    assert load_newest(tmp_path).step == 2


def test_any_truncation_or_addition_is_refused(tmp_path):
    path, content = two(tmp_path)
    for length in [*range(70), *range(70, len(content), 101), len(content) - 1]:
        path.write_bytes(content[:length])
        loaded = load_newest(tmp_path)
        assert loaded.step == 1
        assert "is cut short: " in loaded.refused[0] or "(cut short: " in loaded.refused[0]
    path.write_bytes(content + b"\x00")
    assert "is damaged" in load_newest(tmp_path).refused[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is cut short: 0 bytes, less than the header of 60"),
        (written(b"x", 2, magic=b"PK\x03\x04...."), "is not a checkpoint of exactrl"),
        (written(b"not what torch writes", 2), "cannot be read as tensors and plain containers: "),
        (written(b"a layout not yet known", 2, version=2), r"is of format version 2, newer than 1, .*; update exactrl"),
        (written(b"", 3), "holds step 3, not the step of its name; it was renamed"),
    ],
)
def test_what_is_no_checkpoint_of_this_version_is_refused(tmp_path, content, reason):
    path, _ = two(tmp_path)
    path.write_bytes(content)
    loaded = load_newest(tmp_path)
    assert loaded.step == 1
    assert len(loaded.refused) == 1
    with pytest.raises(ExactRLError, match=rf"(?s)no usable checkpoint in .*\n  {path.name}: {reason}.*another --out"):
        load_newest(tmp_path, accept=refuse)


def refuse(payload):
    raise ExactRLError("the replay is damaged: rows 3 to 5")


def test_accept_refuses_as_damage_does(tmp_path):
    two(tmp_path)

    def accept(payload):
        if payload["step"] == 2:
            refuse(payload)

    step, payload, refused = load_newest(tmp_path, accept)
    assert step == payload["step"] == 1
    assert refused == ["checkpoint-000000000002.pt: the replay is damaged: rows 3 to 5"]
    with pytest.raises(ExactRLError) as refusal:
        load_newest(tmp_path, refuse)
    assert str(refusal.value) == (
        f"no usable checkpoint in {tmp_path}:\n"
        "  checkpoint-000000000002.pt: the replay is damaged: rows 3 to 5\n"
        "  checkpoint-000000000001.pt: the replay is damaged: rows 3 to 5\n"
        "start afresh with another --out"
    )


def test_an_error_of_another_kind_in_accept_is_not_swallowed(tmp_path):
    two(tmp_path)
    with pytest.raises(KeyError):
        load_newest(tmp_path, lambda payload: payload["missing"])


def test_no_checkpoint_at_all(tmp_path):
    assert newest_first(tmp_path / "nowhere") == []
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ExactRLError, match=r"no usable checkpoint in .*: there is none\nstart afresh with another"):
            load_newest(folder)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    save(tmp_path, 1, {})
    (tmp_path / "checkpoint-000000000002.pt").mkdir()
    assert "cannot be read: Is a directory" in load_newest(tmp_path).refused[0]


class Hostile:
    """What unpickling makes of it is a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_reading_runs_no_code(tmp_path):
    trap = tmp_path / "trap"
    save(tmp_path / "run", 1, {})
    body = tmp_path / "body"
    torch.save({"state": Hostile(trap)}, body)
    (tmp_path / "run" / "checkpoint-000000000002.pt").write_bytes(written(body.read_bytes(), 2))
    loaded = load_newest(tmp_path / "run")
    assert loaded.step == 1
    assert "cannot be read as tensors and plain containers: UnpicklingError" in loaded.refused[0]
    assert not trap.exists()
    torch.load(body, weights_only=False)["state"].close()
    assert trap.exists()  # the trap does work


def test_a_body_that_is_no_dict_is_refused(tmp_path):
    body = tmp_path / "body"
    torch.save([1], body)
    (tmp_path / "checkpoint-000000000002.pt").write_bytes(written(body.read_bytes(), 2))
    with pytest.raises(ExactRLError, match="holds a list, expected a dict"):
        load_newest(tmp_path)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            {"a": {"b": [0, np.float64(1)]}},
            r"payload\['a'\]\['b'\]\[1\] is a numpy.float64, which could not be read back",
        ),
        ({"a": np.zeros(2)}, r"payload\['a'\] is a numpy.ndarray"),
        ({np.int64(3): 1}, r"a key of payload is a numpy.int64"),
        ({"a": {1, 2}}, r"payload\['a'\] is a builtins.set"),
        ([1], "payload is a list, expected a dict"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, payload, message):
    with pytest.raises(ExactRLError, match=message):
        save(tmp_path, 1, payload)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [-1, 10**12])
def test_a_step_without_a_name_is_refused(tmp_path, step):
    with pytest.raises(ExactRLError, match=f"of step {step}, expected 0 to 999999999999"):
        save(tmp_path, step, {})


def test_a_folder_that_cannot_be_written_is_an_error_that_leaves_no_file(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ExactRLError, match=r"cannot write .*: File exists"):
        save(tmp_path / "file", 1, {})

    def full(*_):
        raise OSError(28, "No space left on device")

    save(tmp_path / "run", 1, {"step": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExactRLError, match=r"cannot write .*000002.pt: No space left on device"):
        save(tmp_path / "run", 2, {"step": 2})
    assert os.listdir(tmp_path / "run") == ["checkpoint-000000000001.pt"]


def test_the_content_is_on_the_disk_before_its_name_and_the_name_before_the_old_ones_go(tmp_path, monkeypatch):
    two(tmp_path)
    calls = []

    def noted(name, original):
        return lambda *arguments: (calls.append(name), original(*arguments))[1]

    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    save(tmp_path, 3, {})
    assert calls[:3] == ["fsync", "replace", "fsync"]
    assert calls[3:] in (["unlink"], [])  # pathlib may have a way of its own
    assert len(newest_first(tmp_path)) == 2


class Killed(BaseException):
    """Stands for SIGKILL just before a call: nothing after it is done."""


def test_a_kill_before_any_of_the_calls_of_a_save_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    """Every order of the disk's calls is cut short at every place; the folder is then as a kill would leave it."""
    calls = [(checkpoints, "_write"), (os, "fsync"), (os, "replace"), (checkpoints, "_sync_folder"), (os, "unlink")]
    for place in range(1, 20):
        folder = tmp_path / str(place)
        save(folder, 1, {"step": 1})
        save(folder, 2, {"step": 2})
        left = place
        with monkeypatch.context() as patch:

            def until_killed(original):
                def call(*arguments, **options):
                    nonlocal left
                    left -= 1
                    if left == 0:
                        raise Killed
                    return original(*arguments, **options)

                return call

            for owner, name in calls:
                patch.setattr(owner, name, until_killed(getattr(owner, name)))
            try:
                save(folder, 3, {"step": 3})
            except Killed:
                pass
            else:
                break
        loaded = load_newest(folder)
        assert loaded.refused == []
        assert loaded.step == loaded.payload["step"] == (2 if place <= 3 else 3)
        save(folder, 4, {"step": 4})
        assert len(os.listdir(folder)) == 2
    assert place > 5


# One process imports PyTorch and forks a child for each kill; every child resumes, and goes on until it is killed.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from deeprl.checkpoints import load_newest, newest_first, save

folder, delays = Path(sys.argv[1]), [float(word) for word in sys.argv[2:]]

def save_for_ever():
    step = load_newest(folder).step if newest_first(folder) else 0
    while True:
        step += 1
        save(folder, step, {"step": step, "weights": torch.full((30_000,), float(step)), "list": list(range(step % 9))})

last = 0
for delay in delays:
    child = os.fork()
    if child == 0:
        save_for_ever()
    while not newest_first(folder):
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loaded = load_newest(folder)
    assert loaded.refused == [], loaded.refused
    assert loaded.step == loaded.payload["step"] >= last
    assert torch.equal(loaded.payload["weights"], torch.full((30_000,), float(loaded.step)))
    assert loaded.payload["list"] == list(range(loaded.step % 9))
    assert len(newest_first(folder)) <= 3
    last = loaded.step
print(last, any(name.endswith(".tmp") for name in os.listdir(folder)))
"""

# A run in miniature: rows drawn from a generator, batches sampled, a running sum that depends on every one of them.
RUN = """
import os, signal, sys, time
from pathlib import Path
import torch
from deeprl.checkpoints import load_newest, newest_first, save
from deeprl.replay import Replay

EVERY = 20

def run(folder, steps):
    folder.mkdir(exist_ok=True)
    replay = Replay({"x": 3, "y": 1}, 70, path=folder / "replay", slack=EVERY)
    generator, total, step = torch.Generator().manual_seed(1), torch.zeros(4, dtype=torch.float64), 0
    if newest_first(folder):
        step, state, refused = load_newest(folder, lambda state: replay.restore(*state["replay"]))
        assert not refused, refused
        generator.set_state(state["generator"])
        total = state["total"]
    while step < steps:
        replay.append(x=torch.rand(1, 3, generator=generator), y=torch.rand(1, generator=generator))
        total = 0.9 * total + replay.sample(generator, 8).double().sum(0)
        step += 1
        if step % EVERY == 0:
            state = {"replay": (replay.count, replay.seal()), "generator": generator.get_state(), "total": total}
            save(folder, step, state)

def forked(folder, steps):
    child = os.fork()
    if child == 0:
        run(folder, steps)
        os._exit(0)
    return child

out = Path(sys.argv[1])
for delay in map(float, sys.argv[2:]):
    child = forked(out / "killed", 10**9)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
reached = load_newest(out / "killed").step if newest_first(out / "killed") else 0
for name in ("killed", "whole"):
    assert os.waitpid(forked(out / name, max(reached, 300) + 100), 0)[1] == 0
killed, whole = (load_newest(out / name).payload for name in ("killed", "whole"))
assert torch.equal(killed["total"], whole["total"]) and torch.equal(killed["generator"], whole["generator"])
assert killed["replay"] == whole["replay"]
print(reached)
"""


def python(script, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the kills are POSIX's")


@needs_fork
def test_killed_savers_always_leave_a_whole_checkpoint(tmp_path):
    draw = random.Random(5)
    last, _ = python(KILLS, tmp_path, *(draw.uniform(0, 0.12) for _ in range(14)))
    assert int(last) >= 14


@needs_fork
def test_a_run_killed_again_and_again_ends_as_one_left_alone(tmp_path):
    draw = random.Random(6)
    (reached,) = python(RUN, tmp_path, *(draw.uniform(0.005, 0.1) for _ in range(10)))
    assert int(reached) >= 0
