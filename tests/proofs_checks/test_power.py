"""The power of the search: truths stand, planted falsehoods fall, and the committed measurement is current."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from exactrl import __version__
from proofs_checks import certify
from proofs_checks.claim import CONVERGENCE, EXISTENCE, EXPECTATION, LIMIT, OPTIMALITY, POINTWISE, registry
from proofs_checks.falsify import Budget, levelled, search, tightness, with_ties_of
from proofs_checks.fields import Simplex
from proofs_checks.instances import Space
from proofs_checks.power import __main__ as command
from proofs_checks.power import suite
from proofs_checks.power.specimen import Collection, over
from reports.page import write_verify_page

SHAPES = {POINTWISE, OPTIMALITY, EXPECTATION, LIMIT, CONVERGENCE, EXISTENCE}
FALSE = {
    "<=": lambda x, y: x > y,
    ">=": lambda x, y: x < y,
    "==": lambda x, y: x != y,
    "<": lambda x, y: x >= y,
    ">": lambda x, y: x <= y,
}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return suite.run("quick", 0)


def of_kind(results: dict[str, Any], kind: str) -> dict[str, Any]:
    return {id: item for id, item in results["items"].items() if item["kind"] == kind}


def test_no_truth_is_refuted(results: dict[str, Any]) -> None:
    truths = of_kind(results, "truth")
    assert len(truths) >= 20
    assert {id: item["verdict"] for id, item in truths.items() if item["verdict"] != "survived"} == {}


def test_every_planted_falsehood_is_refuted_by_a_certificate_that_certainly_violates(results: dict[str, Any]) -> None:
    planted = of_kind(results, "falsehood")
    assert len(planted) >= 20
    assert [id for id, item in planted.items() if item["verdict"] != "refuted"] == []
    for id, item in planted.items():
        written = json.loads(json.dumps(item["certificate"]))
        reading = suite.specimens()["falsehood"][id].reading
        instance = reading.space.from_json(written["instance"])
        finding = certify.examine(reading, instance, only=written["condition"])
        assert (finding.outcome, finding.asserted) == ("violated", True)
        left, right = (Decimal(written[side]) for side in ("left", "right"))
        assert left == right or FALSE[written["relation"]](left, right)  # equal: they differ beyond 20 digits


def test_each_shape_of_the_paper_has_planted_falsehoods_and_nothing_else_has(results: dict[str, Any]) -> None:
    shares = suite.shares(results)
    assert {claim.shape for claim in registry().values() if claim.source == "ecpo"} <= set(shares) == SHAPES
    assert all(count["planted"] >= 3 for count in shares.values())
    assert sum(count["planted"] for count in shares.values()) == len(of_kind(results, "falsehood"))


def test_the_committed_measurement_is_current(results: dict[str, Any]) -> None:
    """Run `make power` where this fails."""
    assert suite.summary(results) == suite.load()
    assert suite.load()["version"] == __version__


def test_shares_count_what_was_found() -> None:
    item = lambda kind, shape, verdict: {"kind": kind, "shape": shape, "verdict": verdict}
    items = {
        "a": item("falsehood", LIMIT, "refuted"),
        "b": item("falsehood", LIMIT, "survived"),
        "c": item("falsehood", EXISTENCE, "undecided"),
        "d": item("truth", LIMIT, "survived"),
    }
    expected = {LIMIT: {"planted": 2, "found": 1}, EXISTENCE: {"planted": 1, "found": 0}}
    assert suite.shares({"items": items}) == expected
    summed = suite.summary({"items": items, "version": "1", "profile": "quick", "seed": 3})
    assert summed["truths"] == {"planted": 1, "refuted": 0}
    assert summed["falsehoods"] == expected


def test_specimens_stay_out_of_the_registry_and_say_why() -> None:
    for chosen in suite.specimens().values():
        for specimen in chosen:
            assert specimen.id not in registry()
            assert specimen.statement.strip()
            assert specimen.why.strip()


def test_a_specimen_is_added_once() -> None:
    collection = Collection()
    add = lambda: collection.add("x", shape=LIMIT, statement="s", why="w", space=over({}))
    add()(lambda p: (1, "<=", 2))
    assert "x" in collection
    with pytest.raises(AssertionError, match="defined twice"):
        add()(lambda p: (1, "<=", 2))


def test_a_falsehood_whose_check_guards_a_closed_form_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    from proofs_checks.claim import Check

    collection = Collection()
    space = over({"n": (2,)}, first=Simplex(("n",)))
    sides = lambda p: Check("guard", 0 * p.first[..., 0] + 1, "<=", 0 * p.first[..., 0], asserted=False)
    collection.add("guarded", shape=LIMIT, statement="s", why="w", space=space)(sides)
    monkeypatch.setattr(suite, "specimens", lambda: {"truth": collection})
    assert suite.judge("truth", "guarded", "quick", 0)["verdict"] == "undecided"


def run_of_six() -> dict[str, Any]:
    item = {"kind": "falsehood", "shape": LIMIT, "verdict": "survived", "instances": 1}
    return {"profile": "quick", "seed": 5, "version": __version__, "items": {"missed": item}}


def test_the_command_prints_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "run", lambda profile, seed, jobs: run_of_six())
    monkeypatch.setattr(command, "MEASURED", tmp_path / "measured.json")
    printed = CliRunner().invoke(command.main, ["--seed", "5", "--write"])
    assert printed.exit_code == 0
    assert "0 of 1 planted falsehoods found" in printed.output
    assert "missed: a falsehood was survived" in printed.output
    assert json.loads((tmp_path / "measured.json").read_text())["seed"] == 5


def test_two_processes_give_the_same(monkeypatch: pytest.MonkeyPatch, results: dict[str, Any]) -> None:
    few = {kind: list(chosen)[-2:] for kind, chosen in suite.specimens().items()}
    monkeypatch.setattr(suite, "specimens", lambda: few)  # the processes have all of them
    got = suite.run("quick", 0, jobs=2)["items"]
    assert len(got) == 4
    assert got == {id: results["items"][id] for id in got}


# The page.


def page_text(tmp_path: Path, profile: str, verdict: str, shape: str, instances: int = 9000) -> str:
    reading = {"assumptions": [], "verdict": verdict, "instances": instances, "worst_margin": 0.1, "certificate": None,
               "proof": None, "reason": None}  # fmt: skip
    claim = {"id": "x.y", "source": "x", "where": "1", "readings": {"literal": reading}, "amendments": []}
    run = {"version": "1", "seed": 0, "profile": profile, "claims": [claim]}
    return write_verify_page(tmp_path, run, {"x.y": {"shape": shape}}, {}, []).read_text(encoding="utf-8")


def test_the_page_shows_the_share_beside_survived(tmp_path: Path) -> None:
    for shape, count in suite.load()["falsehoods"].items():
        words = f"finds {count['found']} of {count['planted']} planted falsehoods of this shape ({shape})"
        assert words in page_text(tmp_path, "quick", "survived", shape)


@pytest.mark.parametrize(
    ("profile", "verdict", "shape", "instances"),
    [("full", "survived", LIMIT, 9), ("quick", "refuted", LIMIT, 9), ("quick", "survived", "order", 9),
     ("quick", "survived", LIMIT, 1)],
)  # fmt: skip
def test_the_page_shows_no_share_that_was_not_measured(
    tmp_path: Path, profile: str, verdict: str, shape: str, instances: int
) -> None:
    assert "falsehoods of this shape" not in page_text(tmp_path, profile, verdict, shape, instances)


# The search for instances whose entries are mostly equal.


def test_levelled_instances_have_few_values_and_ties_survive_mutation() -> None:
    rng = np.random.default_rng(2)
    space = Space({"policy": Simplex(("n",))}, {"n": (12,)})
    batch = levelled(space.draw(rng, 300, {"n": 12}), rng)
    distinct = lambda b: np.array([len({tuple(entry) for entry in row}) for row in b.raw["policy"].tolist()])
    assert np.median(distinct(batch)) <= 3
    children = with_ties_of(batch, batch.mutated(rng))
    assert (distinct(children) <= distinct(batch) + 1).all()  # a row of zeros is repaired
    assert any((a != b).any() for a, b in zip(batch.raw["policy"], children.raw["policy"], strict=True))
    assert all(space.permits(children.exact(i)) for i in range(20))


def test_tightness_is_in_proportion_and_silent_where_rounding_speaks() -> None:
    from proofs_checks.claim import Check

    check = Check("x", np.array([1.0, 1e-9, 2.0]), "<=", np.array([1.5, 1e-9, 1.0]), scale=1.0)
    guard = Check("y", np.array([9.0] * 3), "<=", np.array([0.0] * 3), asserted=False)
    assert tightness([check, guard], 3) == pytest.approx([0.2, 1.0, -1 / 3])
    spread = Check("z", np.ones((2, 3)), "==", np.array([[1.0, 1.0, 3.0], [1.0, 1.0, 1.0]]), scale=np.ones(2))
    assert tightness([spread], 2) == pytest.approx([-0.5, 0.0])


def test_equal_entries_find_what_independent_ones_never_meet() -> None:
    reading = suite.specimens()["falsehood"]["Lemma 5 with half the logarithm"].reading
    quick = Budget(draws=2_000, generations=12, population=1_000)
    for seed in range(3):
        assert search(reading, np.random.SeedSequence(seed), quick).worst_margin < -1e-4
