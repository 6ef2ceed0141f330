"""The replay against a plain list of rows: what it samples, what survives on disk, what damage it notices."""

import io
import itertools
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deeprl import replay as module
from deeprl.replay import Replay
from exactrl import ExactRLError

FIELDS = {"observation": 3, "reward": 1, "action": 2}


def transition(i):
    """Row number i: every entry differs from every other, and is exact in float32."""
    return [8.0 * i + k + 1 for k in range(6)]


def append(replay, first, stop):
    rows = np.array([transition(i) for i in range(first, stop)]).reshape(-1, 6)
    replay.append(observation=rows[:, :3], reward=rows[:, 3], action=rows[:, 4:])


def window(replay):
    """The rows that can be sampled, found by drawing until each has almost surely come up."""
    drawn = replay.sample(torch.Generator().manual_seed(0), 60 * replay.size)
    return sorted({tuple(row) for row in drawn.tolist()})


def expected_window(count, capacity):
    return [tuple(transition(i)) for i in range(max(0, count - capacity), count)]


def through_a_file(chunks):
    """What a checkpoint makes of them."""
    buffer = io.BytesIO()
    torch.save(chunks, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(("capacity", "slack"), [(1, 0), (5, 0), (5, 2), (7, 3)])
def test_the_window_is_the_last_rows_whatever_the_portions(tmp_path, mapped, capacity, slack):
    replay = Replay(FIELDS, capacity, path=tmp_path / "rows" if mapped else None, slack=slack)
    portions = itertools.cycle([1, 1, min(3, capacity), 0, min(2, capacity), capacity])
    while replay.count < 6 * (capacity + slack):
        count = replay.count
        append(
            replay, count, count + min(next(portions), max(slack, 1)) if mapped and slack else count + next(portions)
        )
        replay.seal()
        assert replay.size == min(replay.count, capacity)
        if replay.count:
            assert window(replay) == expected_window(replay.count, capacity)


@pytest.mark.parametrize("count", [30, 130, 131, 1000])
def test_sampling_is_uniform_over_the_window(count):
    replay = Replay({"i": 1}, 50, slack=7)
    for i in range(count):
        replay.append(i=np.array([i]))
    drawn = replay.sample(torch.Generator().manual_seed(count), 100_000).flatten().long()
    first = count - replay.size
    assert drawn.min() >= first
    seen = torch.bincount(drawn - first, minlength=replay.size).numpy()
    assert len(seen) == replay.size
    assert stats.chisquare(seen).pvalue > 1e-3
    pairs = torch.bincount((drawn[::2] - first) * replay.size + drawn[1::2] - first, minlength=replay.size**2).numpy()
    assert stats.chisquare(pairs).pvalue > 1e-3  # one draw tells nothing of the next


def test_every_draw_comes_from_the_generator_in_one_call():
    replay = Replay({"i": 1}, 8)
    replay.append(i=np.arange(6))
    ours, theirs = (torch.Generator().manual_seed(3) for _ in range(2))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = replay.sample(ours, 5)
    torch.randint(6, (5,), generator=theirs)
    assert torch.equal(ours.get_state(), theirs.get_state())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(replay.sample(torch.Generator().manual_seed(3), 5), first)
    assert not torch.equal(replay.sample(ours, 5), first)


def test_a_batch_is_a_copy_and_its_fields_are_views_of_it():
    replay = Replay(FIELDS, 4)
    append(replay, 0, 1)
    generator = torch.Generator()
    out = torch.empty(2, 6)
    assert replay.sample(generator, 2, out=out) is out
    fields = replay.split(out)
    assert list(fields) == ["observation", "reward", "action"]
    assert fields["observation"].tolist() == [[1, 2, 3]] * 2
    assert fields["reward"].tolist() == [4, 4]
    assert fields["action"].tolist() == [[5, 6]] * 2
    out.zero_()
    assert all(not value.any() for value in fields.values())
    assert window(replay) == expected_window(1, 4)
    assert replay.split(torch.zeros(3, 2, 6))["reward"].shape == (3, 2)
    assert replay.split(torch.zeros(3, 2, 6))["action"].shape == (3, 2, 2)


def test_fields_may_come_as_lists_tensors_booleans_and_columns():
    replay = Replay({"a": 2, "done": 1}, 4)
    replay.append(done=[True], a=[[0.1, 2]])
    replay.append(a=torch.tensor([[0.1, 2.0]]), done=np.array([[True]]))
    rows = replay.sample(torch.Generator(), 50)
    assert torch.equal(rows, torch.tensor([0.1, 2, 1]).expand(50, 3))


@pytest.mark.parametrize("chunk_rows", [1, 3, 4096])
def test_either_of_the_last_two_seals_restores_at_every_moment(tmp_path, monkeypatch, chunk_rows):
    """By exhaustion: tiny rings, all intervals up to the slack, every moment until the ring has turned three times."""
    monkeypatch.setattr(module, "CHUNK_ROWS", chunk_rows)
    for capacity, slack in itertools.product([1, 2, 5], [1, 2, 3]):
        for interval in range(1, slack + 1):
            path = tmp_path / f"{capacity}-{slack}-{interval}"
            replay = Replay(FIELDS, capacity, path=path, slack=slack)
            seals = []
            for count in range(3 * replay.rows):
                if count % interval == 0:
                    seals.append((count, replay.seal()))
                append(replay, count, count + 1)
                for sealed, chunks in seals[-2:]:
                    again = Replay(FIELDS, capacity, path=path, slack=slack)
                    again.restore(sealed, chunks)
                    held = [again._array[i % again.rows].tolist() for i in range(sealed - again.size, sealed)]
                    assert held == [transition(i) for i in range(sealed - again.size, sealed)]


def test_the_slack_is_not_larger_than_it_must_be(tmp_path):
    """One row more than the promise allows is refused; written all the same, it does erase a row that is needed."""
    path = tmp_path / "rows"
    replay = Replay(FIELDS, 5, path=path, slack=2)
    seals = []
    for count in range(0, 20, 2):
        seals.append((count, replay.seal()))
        append(replay, count, count + 2)
    with pytest.raises(ExactRLError, match=r"row 20 would overwrite .* seal the replay at least every 2 rows"):
        append(replay, 20, 21)
    assert replay.count == 20
    sealed, chunks = seals[-2]
    again = Replay(FIELDS, 5, path=path, slack=2)
    again.restore(sealed, chunks)
    append(again, 16, 18)  # as far as the slack goes: the checkpoint before this one may be needed yet
    with pytest.raises(ExactRLError, match="row 18 would overwrite"):
        append(again, 18, 19)
    replay._array[20 % 9] = transition(20)
    with pytest.raises(ExactRLError, match=r"damaged: rows 11 to 15 are not"):
        again.restore(sealed, chunks)
    assert again.count == 18


def test_sealing_twice_at_one_place_leaves_the_checkpoint_before_it_safe(tmp_path):
    replay = Replay(FIELDS, 5, path=tmp_path / "rows", slack=2)
    for count in range(0, 20, 2):
        append(replay, count, count + 2)
        before, chunks = replay.count, replay.seal()
    append(replay, 20, 22)
    assert replay.seal() == replay.seal()
    append(replay, 22, 24)
    with pytest.raises(ExactRLError, match="row 24 would overwrite"):
        append(replay, 24, 25)
    again = Replay(FIELDS, 5, path=tmp_path / "rows", slack=2)
    again.restore(before, chunks)


def test_without_slack_or_file_rows_are_overwritten_freely(tmp_path):
    for replay in (Replay(FIELDS, 3, path=tmp_path / "rows"), Replay(FIELDS, 3, slack=2)):
        for i in range(30):
            append(replay, i, i + 1)
        chunks = replay.seal()
        assert [chunk[:2] for chunk in chunks] == [(27, 30)]
        replay.restore(30, chunks)
        assert window(replay) == expected_window(30, 3)


def test_the_chunks_cover_the_window_and_read_each_row_once(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    replay = Replay(FIELDS, 10, slack=5)
    read = []
    crc = Replay._crc
    monkeypatch.setattr(Replay, "_crc", lambda self, a, b, c=0: read.append((a, b)) or crc(self, a, b, c))
    bounds = []
    for count in range(5, 30, 5):
        append(replay, count - 5, count)
        chunks = replay.seal()
        assert all(type(number) is int for chunk in chunks for number in chunk)
        bounds.append([chunk[:2] for chunk in chunks])
    assert bounds[1] == [(0, 4), (4, 8), (8, 10)]
    assert bounds[2] == [(5, 8), (8, 12), (12, 15)]
    assert bounds[4] == [(15, 16), (16, 20), (20, 24), (24, 25)]
    # the third seal reads the new rows, verifies the chunk that begins to leave, and keeps what stays of it
    assert read[4:8] == [(10, 12), (12, 15), (4, 8), (5, 8)]
    reads = len(read)
    assert replay.seal() == chunks
    assert len(read) == reads


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.one_of(st.integers(1, 4), st.sampled_from(["seal", "reopen", "step back", "sample"])), max_size=60),
)
def test_any_history_agrees_with_a_list(tmp_path_factory, capacity, slack, chunk_rows, history):
    """The model: a list of the row numbers appended, cut back when the replay is restored."""
    path = tmp_path_factory.mktemp("replay") / "rows"
    replay = Replay(FIELDS, capacity, path=path, slack=slack)
    rows = []
    seals = [(0, replay.seal())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_ROWS", chunk_rows)
        for event in history:
            if event == "seal":
                seals.append((len(rows), through_a_file(replay.seal())))
            elif event == "sample":
                if rows:
                    assert window(replay) == [tuple(transition(i)) for i in rows[-capacity:]]
            elif event in ("reopen", "step back"):
                if event == "step back" and len(seals) > 1:
                    seals.pop()
                replay = Replay(FIELDS, capacity, path=path, slack=slack)
                replay.restore(*seals[-1])
                rows = rows[: seals[-1][0]]
                # going back twice is promised only after new checkpoints have been taken
                seals = [seals[-1]]
            else:
                n = min(event, capacity, seals[-1][0] + slack - len(rows))
                append(replay, len(rows), len(rows) + n)
                rows.extend(range(len(rows), len(rows) + n))
            assert replay.count == len(rows)


def test_any_flipped_byte_of_the_window_is_noticed_and_the_rest_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    path = tmp_path / "rows"
    replay = Replay({"x": 1}, 5, path=path, slack=2)
    for count in range(0, 20, 2):
        replay.append(x=np.arange(count, count + 2))
        chunks = replay.seal()
    content = path.read_bytes()
    assert len(content) == 9 * 4
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        row = next(i for i in range(11, 20) if i % 9 == position // 4)
        again = Replay({"x": 1}, 5, path=path, slack=2)
        if row < 15:
            again.restore(20, chunks)
            assert again.count == 20
        else:
            first = max(15, row - row % 2)
            with pytest.raises(
                ExactRLError, match=rf"rows {first} to {row - row % 2 + 1} are not those that were append"
            ):
                again.restore(20, chunks)
            assert again.count == 0


def test_sealing_forces_the_rows_to_the_disk(tmp_path, monkeypatch):
    forced = []
    monkeypatch.setattr(np.memmap, "flush", lambda self: forced.append(self.tolist()))
    replay = Replay({"x": 1}, 2, path=tmp_path / "rows")
    replay.append(x=[3, 4])
    replay.seal()
    assert forced == [[[3], [4]]]


def test_damage_to_a_chunk_that_leaves_the_window_is_not_sealed_over():
    replay = Replay({"x": 1}, 5, slack=2)
    replay.append(x=np.arange(5))
    replay.seal()
    replay._array[3] = 7
    replay.append(x=np.arange(2))
    with pytest.raises(ExactRLError, match=r"the replay in memory is damaged: rows 0 to 6 are not"):
        replay.seal()


def test_an_empty_replay_seals_and_restores():
    replay = Replay(FIELDS, 5, slack=2)
    assert replay.seal() == []
    replay.restore(0, [])
    with pytest.raises(ExactRLError, match="the replay is empty"):
        replay.sample(torch.Generator(), 1)


@pytest.mark.parametrize(
    ("count", "chunks", "message"),
    [
        (4, [(0, 2, 0)], "cover the rows before 2, expected all before 4"),
        (4, [(1, 4, 0)], "skip from row 0 to rows 1 to 3"),
        (9, [(0, 9, 0)], "skip from row 4 to rows 0 to 8"),
        (4, [(0, 2, 0), (3, 4, 0)], "skip from row 2 to rows 3 to 3"),
        (4, [(0, 0, 0)], "skip from row 0 to rows 0 to -1"),
        (2, [], "cover the rows before 0, expected all before 2"),
    ],
)
def test_checksums_that_do_not_fit_the_count_are_refused(count, chunks, message):
    with pytest.raises(ExactRLError, match=message):
        Replay(FIELDS, 5).restore(count, chunks)


def test_a_file_of_another_size_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "rows"
    Replay(FIELDS, 5, path=path)
    with pytest.raises(ExactRLError, match=r"has 120 bytes, expected 144 \(6 rows of 6 float32\).*another folder"):
        Replay(FIELDS, 6, path=path)
    assert path.stat().st_size == 120
    with pytest.raises(ExactRLError, match=r"cannot open the replay file .*No such file or directory"):
        Replay(FIELDS, 5, path=tmp_path / "nowhere" / "rows")


def test_a_new_file_is_sparse_and_one_left_empty_by_a_kill_is_filled(tmp_path):
    path = tmp_path / "rows"
    path.touch()
    Replay({"x": 42}, 1_000_000, path=path, slack=10_000)
    assert path.stat().st_size == 1_020_000 * 42 * 4
    if sys.platform == "linux":
        assert path.stat().st_blocks * 512 < 2**20


@pytest.mark.parametrize(
    ("fields", "capacity", "slack", "message"),
    [
        ({}, 5, 0, "at least one field"),
        ({"a": 0}, 5, 0, "field 'a' has width 0, expected at least 1"),
        ({"a": 1}, 0, 0, "the capacity is 0, expected at least 1"),
        ({"a": 1}, 5, -1, "the slack is -1, expected at least 0"),
    ],
)
def test_impossible_sizes_are_refused(fields, capacity, slack, message):
    with pytest.raises(ExactRLError, match=message):
        Replay(fields, capacity, slack=slack)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": np.zeros((1, 2))}, r"fields \['a'\], expected \['a', 'r'\]"),
        ({}, r"fields \[\], expected"),
        ({"a": np.zeros((1, 2)), "b": np.zeros(1)}, r"fields \['a', 'b'\], expected \['a', 'r'\]"),
        ({"a": np.zeros((2, 2)), "r": np.zeros(1)}, r"'r' has shape \(1,\), expected \(2, 1\) or \(2,\)"),
        ({"a": np.zeros(2), "r": np.zeros(2)}, r"'a' has shape \(2,\), expected \(2, 2\)$"),
        ({"a": np.zeros((1, 2)), "r": 0.5}, r"'r' has shape \(\), expected \(1, 1\) or \(1,\)"),
        ({"a": np.zeros((6, 2)), "r": np.zeros(6)}, "6 rows at once are more than the capacity of 5"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_do_not_count(values, message):
    replay = Replay({"a": 2, "r": 1}, 5)
    with pytest.raises(ExactRLError, match=message):
        replay.append(**values)
    assert replay.count == 0


def test_batches_that_cannot_be_are_refused():
    replay = Replay({"a": 2}, 5)
    replay.append(a=np.zeros((1, 2)))
    with pytest.raises(ExactRLError, match="cannot sample 0 rows"):
        replay.sample(torch.Generator(), 0)
    with pytest.raises(ExactRLError, match=r"out is \(3, 2\) torch.float32, expected \(4, 2\) torch.float32"):
        replay.sample(torch.Generator(), 4, out=torch.empty(3, 2))
    with pytest.raises(ExactRLError, match=r"torch.float64, expected"):
        replay.sample(torch.Generator(), 3, out=torch.empty(3, 2, dtype=torch.float64))
    with pytest.raises(ExactRLError, match=r"shape \(4, 3\), expected \(..., 2\)"):
        replay.split(torch.zeros(4, 3))
