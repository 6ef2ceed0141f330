"""verify: the same verdicts whatever the processes and interruptions, the documented JSON, folders in order."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from exactrl import ExactRLError, __version__
from proofs_checks import falsify
from proofs_checks import verify as module
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Claim, registry, select
from proofs_checks.falsify import Budget
from proofs_checks.fields import Real
from proofs_checks.instances import Space
from proofs_checks.verify import GOOD, Piece, differences, judge, pieces_of, verify

IDS = ("ecpo.prop2.fixed", "ecpo.sec3.nonzero", "ecpo.sec4.onesample", "ecpo.lemma7")
READING = {"assumptions", "verdict", "instances", "worst_margin", "certificate", "proof", "seconds"}


@pytest.fixture
def small(monkeypatch):
    """A search of a few milliseconds a reading."""
    monkeypatch.setitem(falsify.PROFILES, "quick", Budget(draws=200, generations=2, population=64, swept=2))


def add(monkeypatch, id, literal, intended=None, amends=None, **options):
    """Register a claim about a real number x for the length of a test."""
    space = Space({"x": Real()})
    toy = Claim(id, "toy", "Here", "T", "$x$", "inequality", "pointwise", literal, "c", amends=amends)
    if intended is None:
        toy.both_readings(space=space, assumptions=["x is real"], **options)
    else:
        toy.reading("literal", space=space, assumptions=["x is real"])
        toy.reading("intended", space=space, sides=intended, adds=["more"])
    monkeypatch.setitem(registry(), id, toy)
    return toy


TRUE = lambda p: (p.x * p.x, ">=", 0)
FALSE = lambda p: (p.x, "<=", 2)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A folder with the verdicts on real claims, and what verify returned."""
    out = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(falsify.PROFILES, "quick", Budget(draws=200, generations=2, population=64, swept=2))
        return out, *verify(select(["ecpo.lemma1", "ecpo.eq5.lift", *IDS]), out=out, seed=5)


TOYS = ("toy.false", "toy.true", "toy.wide", "toy.guarded")


@pytest.fixture
def toys(small, monkeypatch):
    """Claims that are judged in a few milliseconds: two false ones, one true, one with two readings."""
    add(monkeypatch, "toy.false", FALSE)
    add(monkeypatch, "toy.true", TRUE)
    add(monkeypatch, "toy.wide", lambda p: (p.x, ">=", -5), lambda p: (p.x + 10**9, ">=", 0))
    add(monkeypatch, "toy.guarded", lambda p: Check("c", p.x, "<", 0, given=((p.x, "<", -1),)))
    return select(TOYS)


def settled(out):
    """What stands in the folder, without the seconds."""
    verdicts = json.loads((out / "verdicts.json").read_text())
    for claim in verdicts["claims"]:
        for reading in claim["readings"].values():
            assert reading.pop("seconds") >= 0
    certificates = {p.name: p.read_text() for p in (out / "certificates").iterdir()}
    return verdicts, certificates


def tree(out):
    return sorted(str(p.relative_to(out)) for p in out.rglob("*"))


# ----------------------------------------------------------------------------------------------------------- schema


def test_the_json_is_the_documented_one(judged):
    out, verdicts, certificates = judged
    assert json.loads((out / "verdicts.json").read_text()) == verdicts
    assert set(verdicts) == {"schema", "version", "seed", "profile", "claims"}
    assert verdicts["schema"] == "exactrl.verdicts/1"
    assert (verdicts["version"], verdicts["seed"], verdicts["profile"]) == (__version__, 5, "quick")
    ids = [c["id"] for c in verdicts["claims"]]
    assert ids == [id for id in registry() if id in ids]
    assert set(ids) == {"ecpo.lemma1", "ecpo.lemma1.amended", "ecpo.sec4.onesample.amended", "ecpo.eq5.lift", *IDS}
    named = set()
    for claim in verdicts["claims"]:
        assert set(claim) == {"id", "source", "where", "readings", "amendments"}
        assert claim["source"] == "ecpo"
        assert claim["where"] == registry()[claim["id"]].where
        assert list(claim["readings"]) == ["literal", "intended"]
        for name, entry in claim["readings"].items():
            assert READING <= set(entry) <= READING | {"reason"}
            assert entry["assumptions"] == list(registry()[claim["id"]].readings[name].assumptions)
            assert entry["verdict"] in (*GOOD, "refuted", "ill-posed", "undecided")
            assert isinstance(entry["instances"], int)
            assert entry["instances"] > 0
            assert entry["worst_margin"] is None or isinstance(entry["worst_margin"], float)
            assert isinstance(entry["seconds"], float)
            assert (entry["verdict"] == "proved") == (entry["proof"] is not None)
            assert (entry["verdict"] in ("refuted", "ill-posed")) == (entry["certificate"] is not None)
            if entry["certificate"]:
                path = Path(entry["certificate"])
                assert not path.is_absolute()
                named.add(path.name)
                data = (out / path).read_bytes()
                assert json.loads(data)["claim"] == claim["id"]
                assert checker.check(data)
    assert {p.name for p in (out / "certificates").iterdir()} == named
    assert {f"{name}.json" for name in certificates} == named


def test_what_fails_as_printed_has_an_amendment_that_stands(judged):
    _, verdicts, _ = judged
    by_id = {c["id"]: c for c in verdicts["claims"]}
    for claim in verdicts["claims"]:
        for amendment in claim["amendments"]:
            assert set(amendment) == {"id", "statement", "verdict"}
            assert amendment["statement"]
        if claim["readings"]["literal"]["verdict"] in ("refuted", "ill-posed"):
            assert any(a["verdict"] in GOOD for a in claim["amendments"]), claim["id"]
        else:
            assert claim["amendments"] == []
    assert [a["id"] for a in by_id["ecpo.lemma7"]["amendments"]] == ["ecpo.lemma7.intended"]
    (amendment,) = by_id["ecpo.lemma1"]["amendments"]
    assert amendment["id"] == "ecpo.lemma1.amended"
    assert amendment["verdict"] == by_id["ecpo.lemma1.amended"]["readings"]["literal"]["verdict"]
    intended = by_id["ecpo.lemma7"]["readings"]["intended"]["verdict"]
    assert by_id["ecpo.lemma7"]["amendments"][0]["verdict"] == intended


# --------------------------------------------------------------------------------------------------------- verdicts


def verdict(id, name="literal", seed=0):
    return judge(Piece(id, name, "quick", seed))["entry"]


def test_a_planted_falsehood_is_refuted_by_its_smallest_instance(small, monkeypatch):
    add(monkeypatch, "toy.false", FALSE)
    result = judge(Piece("toy.false", "literal", "quick", 0))
    assert result["entry"]["verdict"] == "refuted"
    assert result["certificate"]["instance"] == {"x": "3"}
    assert (result["certificate"]["left"], result["certificate"]["right"]) == ("3e0", "2e0")


def test_a_truth_survives_or_is_proved(small, monkeypatch):
    add(monkeypatch, "toy.true", TRUE)
    add(monkeypatch, "toy.proved", TRUE, proof=lambda: "by squares")
    assert verdict("toy.true")["verdict"] == "survived"
    assert verdict("toy.true")["proof"] is None
    assert verdict("toy.proved")["verdict"] == "proved"
    assert verdict("toy.proved")["proof"] == "by squares"


def test_a_proof_does_not_save_what_is_refuted(small, monkeypatch):
    add(monkeypatch, "toy.false", FALSE, proof=lambda: "by hope")
    assert verdict("toy.false")["verdict"] == "refuted"
    assert verdict("toy.false")["proof"] is None


def test_a_violated_guard_of_our_own_leaves_a_reading_undecided(small, monkeypatch):
    add(monkeypatch, "toy.open", lambda p: Check("rate", p.x, "<=", 2, asserted=False))
    entry = verdict("toy.open")
    assert entry["verdict"] == "undecided"
    assert "'rate'" in entry["reason"]
    assert entry["certificate"] is None


def test_a_suspicion_of_floats_alone_is_dropped(small, monkeypatch):
    """In floats 1e-30 is swallowed, so the sides seem to cross; in balls they do not."""

    def sides(p):
        return (p.x + 10**9) - 10**9 - p.x, "==", 0

    add(monkeypatch, "toy.rounding", sides)
    assert verdict("toy.rounding")["worst_margin"] < 0
    assert verdict("toy.rounding")["verdict"] == "survived"


def test_a_reading_depends_on_its_name_and_seed_alone(small):
    def run(id, seed=0):
        entry = verdict(id, seed=seed)
        return {k: v for k, v in entry.items() if k != "seconds"}

    first = run("ecpo.thm2.monotone")
    run("ecpo.lemma7")
    assert run("ecpo.thm2.monotone") == first
    margins = {run("ecpo.lemma2.lower", seed)["worst_margin"] for seed in range(4)}
    assert len(margins) > 1


def test_the_order_and_choice_of_claims_do_not_matter(toys, tmp_path):
    verify(toys, out=tmp_path / "all")
    verify(select(["toy.false"]), out=tmp_path / "one")
    verify(list(reversed(toys)), out=tmp_path / "reversed")
    everything, certificates = settled(tmp_path / "all")
    one, own = settled(tmp_path / "one")
    assert settled(tmp_path / "reversed") == (everything, certificates)
    assert one["claims"] == [c for c in everything["claims"] if c["id"] == "toy.false"]
    assert own.items() <= certificates.items()


def test_shared_readings_are_judged_once_and_amendments_with_their_claims():
    names = [p.name for p in pieces_of(select(["ecpo.prop1", "ecpo.lemma1", "ecpo.lemma1.amended"]), "quick", 3)]
    assert names == ["ecpo.prop1.literal", "ecpo.lemma1.literal", "ecpo.lemma1.intended", "ecpo.lemma1.amended.literal"]


# ------------------------------------------------------------------------------------- processes and interruptions


def test_two_processes_give_the_verdicts_of_one(tmp_path):
    claims = select(["ecpo.prop2.fixed", "ecpo.lemma7"])
    seen = []
    verify(claims, out=tmp_path / "one", seed=1)
    verify(claims, out=tmp_path / "two", seed=1, jobs=2, progress=lambda *step: seen.append(step))
    assert settled(tmp_path / "two") == settled(tmp_path / "one")
    assert [done for done, _, _ in seen] == [1, 2, 3, 4]
    assert {total for _, total, _ in seen} == {4}
    assert {name for _, _, name in seen} == {p.name for p in pieces_of(claims, "quick", 1)}


def killed_at(point, out, claims):
    """Run in a child that kills itself before or after its n-th rename of a file; return whether it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count, replace = 0, os.replace

            def deadly(*names):
                nonlocal count
                if count == point // 2 and point % 2 == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(*names)
                if count == point // 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

            os.replace = deadly
            verify(claims, out=out)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("seed", range(8))
def test_a_run_killed_at_any_moment_resumes_to_the_same_verdicts(toys, tmp_path, seed):
    verify(toys, out=tmp_path / "whole")
    expected = settled(tmp_path / "whole")
    files = len(pieces_of(toys, "quick", 0)) + len(expected[1]) + 1
    out = tmp_path / "killed"
    rng = random.Random(seed)
    points = [rng.randrange(2 * files) for _ in range(3)]
    assert sum(killed_at(point, out, toys) for point in points) > 0
    verify(toys, out=out)
    assert settled(out) == expected
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_json_is_ever_half_written(toys, tmp_path):
    for point in range(0, 24, 2):
        out = tmp_path / str(point)
        killed_at(point, out, toys)
        for path in out.rglob("*.json"):
            json.loads(path.read_text())


def test_finished_readings_are_not_judged_again(toys, tmp_path, monkeypatch):
    calls = []

    def counted(piece):
        calls.append(piece.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return judge(piece)

    monkeypatch.setattr(module, "judge", counted)
    with pytest.raises(KeyboardInterrupt):
        verify(toys, out=tmp_path)
    assert not (tmp_path / "verdicts.json").exists()
    done, calls[3:] = calls[:3], [None] * 10
    steps = []
    verify(toys, out=tmp_path, progress=lambda *step: steps.append(step))
    again = calls[13:]
    assert not set(done) & set(again)
    assert set(done) | set(again) == {p.name for p in pieces_of(toys, "quick", 0)}
    assert [s[0] for s in steps] == list(range(1, len(steps) + 1))
    assert not (tmp_path / ".parts").exists()


def saved_parts(claims, out, monkeypatch, count=2):
    """Interrupt a run after some readings; return its part files."""
    with monkeypatch.context() as patch:
        calls = []

        def stop(piece):
            calls.append(piece)
            if len(calls) > count:
                raise KeyboardInterrupt
            return judge(piece)

        patch.setattr(module, "judge", stop)
        with pytest.raises(KeyboardInterrupt):
            verify(claims, out=out)
    parts = sorted((out / ".parts").glob("*.json"))
    assert len(parts) == count
    return parts


def lie(part):
    """Make a saved verdict recognisable."""
    data = json.loads(part.read_text())
    data["result"]["entry"]["instances"] = 123456789
    return data


def test_a_part_of_this_very_run_is_believed(toys, tmp_path, monkeypatch):
    part = saved_parts(toys, tmp_path, monkeypatch)[0]
    part.write_text(json.dumps(lie(part)))
    verify(toys, out=tmp_path)
    assert "123456789" in (tmp_path / "verdicts.json").read_text()


@pytest.mark.parametrize(
    "spoil", ["cut", "empty", "binary", "list", "version", "claim", "reading", "profile", "seed", "no result"]
)
def test_parts_cut_short_or_of_another_run_are_judged_again(toys, tmp_path, monkeypatch, spoil):
    verify(toys, out=tmp_path / "whole")
    out = tmp_path / "resumed"
    part = saved_parts(toys, out, monkeypatch)[0]
    data = lie(part)
    keys = ["version", "claim", "reading", "profile", "seed"]
    if spoil in keys:
        data["key"][keys.index(spoil)] = 99
    if spoil == "no result":
        del data["result"]
    text = json.dumps([data] if spoil == "list" else data)
    part.write_bytes({"cut": text[:-40].encode(), "empty": b"", "binary": b"\xff\x00"}.get(spoil, text.encode()))
    verify(toys, out=out)
    assert settled(out) == settled(tmp_path / "whole")


def test_another_seed_does_not_take_up_where_this_one_stopped(toys, tmp_path, monkeypatch):
    for part in saved_parts(toys, tmp_path / "a", monkeypatch):
        part.write_text(json.dumps(lie(part)))
    verify(toys, out=tmp_path / "a", seed=1)
    verify(toys, out=tmp_path / "b", seed=1)
    assert settled(tmp_path / "a") == settled(tmp_path / "b")


# ------------------------------------------------------------------------------------------------------- the folder


def test_a_finished_run_leaves_verdicts_and_certificates_only(toys, tmp_path):
    out = tmp_path / "deep" / "down"
    _, certificates = verify(toys, out=out)
    assert tree(out) == sorted(["certificates", *(f"certificates/{n}.json" for n in certificates), "verdicts.json"])


def test_a_second_run_replaces_the_first_and_its_certificates(toys, tmp_path, monkeypatch):
    verify(toys, out=tmp_path)
    (tmp_path / "certificates" / "ecpo.gone.literal.json").write_text("{}")
    (tmp_path / "certificates" / "notes.txt").write_text("mine")
    verify(select(["toy.false"]), out=tmp_path)
    assert sorted(p.name for p in (tmp_path / "certificates").iterdir()) == ["notes.txt", "toy.false.literal.json"]
    assert [c["id"] for c in json.loads((tmp_path / "verdicts.json").read_text())["claims"]] == ["toy.false"]


def test_what_a_kill_left_among_the_parts_does_not_stop_the_next_run(toys, tmp_path):
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / ".ecpo.lemma7.literal.json.123.0.tmp").write_text("{")
    verify(toys, out=tmp_path)
    assert (tmp_path / "verdicts.json").exists()
    assert not (tmp_path / ".parts").exists()


def blocked(out, what):
    """Put something in the way of the output folder; return the folder to ask for."""
    if what == "file":
        out.write_text("mine")
    elif what == "file above":
        out.write_text("mine")
        return out / "below"
    elif what == "proc":
        return Path("/proc/exactrl")
    else:
        out.mkdir()
        if what in ("verdicts.json", "index.html"):
            (out / what).mkdir()
        else:
            (out / what).write_text("mine")
    return out


WAYS = ["file", "file above", "proc", ".parts", "certificates", "verdicts.json"]


@pytest.mark.parametrize("what", WAYS)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch, what):
    if what == "proc" and not Path("/proc").is_dir():
        pytest.skip("no /proc")
    monkeypatch.setattr(module, "judge", lambda piece: pytest.fail("work was begun"))
    out = blocked(tmp_path / "out", what)
    before = tree(tmp_path)
    with pytest.raises(ExactRLError, match=r"cannot be written|cannot write"):
        verify(select(["ecpo.lemma7"]), out=out)
    assert tree(tmp_path) == before


def test_a_disk_that_fails_at_the_end_loses_no_work(toys, tmp_path, monkeypatch):
    def full(path, *_, **__):
        if Path(path).name == "verdicts.json":
            raise ExactRLError(f"cannot write {path}: No space left on device")
        return honest(path, *_, **__)

    honest = module.write_json_atomically
    monkeypatch.setattr(module, "write_json_atomically", full)
    with pytest.raises(ExactRLError, match="No space left"):
        verify(toys, out=tmp_path)
    monkeypatch.setattr(module, "write_json_atomically", honest)
    monkeypatch.setattr(module, "judge", lambda piece: pytest.fail("judged again"))
    verify(toys, out=tmp_path)
    assert (tmp_path / "verdicts.json").exists()


def test_a_folder_can_be_moved_with_its_certificates(small, tmp_path):
    verify(select(["ecpo.lemma7"]), out=tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    (claim,) = json.loads((tmp_path / "b" / "verdicts.json").read_text())["claims"]
    assert checker.check((tmp_path / "b" / claim["readings"]["literal"]["certificate"]).read_bytes())


# ---------------------------------------------------------------------------------------------------- expectations


def test_differences_name_what_was_expected_and_what_came():
    verdicts = {
        "claims": [{"id": "a.b", "readings": {"literal": {"verdict": "refuted"}, "intended": {"verdict": "proved"}}}]
    }
    assert differences(verdicts, {}) == []
    assert differences(verdicts, {"a.b": {"literal": "refuted", "intended": "proved"}}) == []
    assert differences(verdicts, {"a.b": {"literal": "survived"}}) == ["a.b literal: expected survived, got refuted"]
    assert differences(verdicts, {"a.c": {"literal": "proved"}}) == ["a.c literal: expected proved, got no verdict"]
    both = {"a.b": {"literal": "proved", "intended": "refuted"}}
    assert len(differences(verdicts, both)) == 2
