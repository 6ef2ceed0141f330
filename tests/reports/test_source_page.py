"""The page of a source: a hand-written run with every verdict, a real one of few claims, refusals of stale verdicts."""

import json
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from exactrl import ExactRLError, __version__
from exactrl.cli import main
from proofs_checks.claim import Claim, registry
from reports import source_page
from reports.algorithm_facts import Step
from reports.source_facts import SOURCES, Source, source_of
from reports.source_page import chosen_sources, read_run, source_record, write_source_page

CERTIFICATE = {
    "claim": "toy.eq1", "reading": "literal", "verdict": "refuted",
    "instance": {"tau": "1/2", "returns": ["-3/7", "1"]},
    "condition": "$x\\le1$", "component": None, "left": "2", "relation": "<=", "right": "1", "precision": 128,
    "reason": None,
}  # fmt: skip
#: id: verdicts of both readings, whether it has a certificate, what stands in its place
TOY = {
    "toy.eq1": ("refuted", "survived", True, [("toy.eq1.intended", "survived"), ("toy.eq1.amended", "proved")]),
    "toy.eq1.amended": ("proved", "proved", False, []),
    "toy.eq2": ("proved", "certified", False, []),
    "toy.eq3": ("ill-posed", "refuted", True, []),
    "toy.eq4": ("undecided", "survived", False, []),
    "toy.eq5": ("survived", "survived", False, []),
}
RULES = (
    Step("Wrong step", (), "Eq. 1", claims=("toy.eq1", "toy.eq2", "toy.eq1.amended")),
    Step("Right step", (), "Eq. 5", claims=("toy.eq5",)),
    Step("Open step", (), "Eq. 4", claims=("toy.eq4", "toy.none")),
    Step("Unknown step", (), "Eq. 9", claims=("toy.none",)),
)


def toy_claims():
    claims = {}
    for id in TOY:
        statement = "$y\\le1$" if id.endswith("amended") else "$x\\le1$"
        claim = Claim(
            id, "toy", f"Sec. {id[-1]}", f"Title of {id}", statement, "inequality", "pointwise", lambda p: None,
            "holds", hand_check="Put $x=2$." if id == "toy.eq1" else "",
            amends="toy.eq1" if id.endswith("amended") else None,
        )  # fmt: skip
        claim.readings = {name: SimpleNamespace(name=name, assumptions=("$x>0$",)) for name in ("literal", "intended")}
        claims[id] = claim
    return claims


def toy_run():
    entries = []
    for id, (literal, intended, certified, amendments) in TOY.items():
        readings = {}
        for name, verdict in (("literal", literal), ("intended", intended)):
            bad = verdict in ("refuted", "ill-posed")
            path = f"certificates/{id}.{name}.json" if certified and bad else None
            readings[name] = {
                "assumptions": ["$x>0$"], "verdict": verdict, "instances": 10, "worst_margin": 0.5, "certificate": path,
                "reason": "the precision ran out" if verdict == "undecided" else None, "proof": None, "seconds": 0.1,
            }  # fmt: skip
        stand = [{"id": i, "statement": f"$y\\le{k}$", "verdict": v} for k, (i, v) in enumerate(amendments)]
        entries.append(
            {"id": id, "source": "toy", "where": f"Sec. {id[-1]}", "readings": readings, "amendments": stand}
        )
    return {"schema": "exactrl.verdicts/1", "version": __version__, "seed": 3, "profile": "quick", "claims": entries}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    claims = toy_claims()
    monkeypatch.setattr(source_page, "registry", lambda: claims)
    monkeypatch.setattr(source_page, "amendments_of", lambda c: [a for a in claims.values() if a.amends == c.id])
    monkeypatch.setitem(SOURCES, "toy", Source("A toy", "Nobody, 2000", RULES))
    folder = tmp_path / "made here"
    (folder / "certificates").mkdir(parents=True)
    data = toy_run()
    write(folder, data)
    (folder / "index.html").write_text("".join(f'<h3 id="{id}"></h3>' for id in [*TOY, "legend"]))
    for entry in data["claims"]:
        for name, reading in entry["readings"].items():
            if reading["certificate"]:
                content = CERTIFICATE | {"claim": entry["id"], "reading": name, "verdict": reading["verdict"]}
                (folder / reading["certificate"]).write_text(json.dumps(content))
    return folder, data, claims


def write(folder, data):
    (folder / "verdicts.json").write_text(json.dumps(data))


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.sections, self.tags = [], [], [], {}, set()
        self.here = None

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        if tag == "h2":
            self.here = given.get("id")
        self.ids += [given["id"]] if "id" in given else []
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and self.here:
            self.sections[self.here] = self.sections.get(self.here, "") + data


def outline(path):
    seen = Outline()
    seen.feed(path.read_text(encoding="utf-8"))
    assert seen.open == []
    return seen


def made(toy, tmp_path):
    folder, _, _ = toy
    out = tmp_path / "out"
    out.mkdir()
    return write_source_page(out, read_run(folder, ["toy"]), "toy", {"command": "again", "versions": {"exactrl": "1"}})


def test_the_record_sorts_every_claim_by_its_verdicts(toy, tmp_path):
    page, record = made(toy, tmp_path)
    assert json.loads(page.with_suffix(".json").read_text()) == record
    assert record["holds"] == ["toy.eq2", "toy.eq5"]
    assert record["fails"] == ["toy.eq1", "toy.eq3"]
    assert record["open"] == ["toy.eq4"]
    # The claim that amends another is no claim of the source: it counts nowhere but among what was repaired.
    assert record["counts"] == {
        "literal": {"proved": 1, "survived": 1, "refuted": 1, "ill-posed": 1, "undecided": 1},
        "intended": {"certified": 1, "survived": 3, "refuted": 1},
    }
    assert [(x["claim"], x["id"], x["verdict"]) for x in record["repaired"]] == [
        ("toy.eq1", "toy.eq1.intended", "survived"), ("toy.eq1", "toy.eq1.amended", "proved"),
    ]  # fmt: skip
    assert [(rule["title"], rule["literally"], list(rule["claims"])) for rule in record["rules"]] == [
        ("Wrong step", False, ["toy.eq1", "toy.eq2"]),
        ("Right step", True, ["toy.eq5"]),
        ("Open step", False, ["toy.eq4"]),
    ]  # fmt: skip
    assert record["not_literally"] == ["toy.eq1", "toy.eq4"]
    assert record["judged"]["seed"] == 3


def test_the_page_says_what_the_record_holds_and_every_link_leads_somewhere(toy, tmp_path):
    page, record = made(toy, tmp_path)
    seen = outline(page)
    assert len(seen.ids) == len(set(seen.ids))
    assert not {"script", "link", "img", "iframe"} & seen.tags
    for link in seen.links:
        target, _, anchor = link.partition("#")
        path = page.parent / target.replace("%20", " ")
        assert anchor in seen.ids if not target else path.is_file(), link
        assert not (target and anchor) or anchor in outline(path).ids, link
    assert "../made%20here/certificates/toy.eq1.literal.json" in seen.links
    assert {"toy.eq1", "toy.eq3"} <= set(seen.ids)
    parts = seen.sections
    rejected, accepted = parts["copy"].split("May be copied as printed")
    assert "Wrong step" in rejected
    assert "Open step" in rejected
    assert "toy.eq2" not in rejected
    assert "Right step" in accepted
    assert "Put" in parts["fails"]
    assert "−3/7" in parts["fails"]
    assert "exactrl check" in parts["fails"]
    assert "the precision ran out" in parts["open"]
    for id in record["holds"]:
        assert id in parts["holds"]
        assert id not in parts["fails"]


def test_a_source_where_all_is_well_says_so(toy, tmp_path, monkeypatch):
    folder, data, claims = toy
    kept = [entry for entry in data["claims"] if entry["id"] in ("toy.eq2", "toy.eq5")]
    monkeypatch.setattr(source_page, "registry", lambda: {id: claims[id] for id in ("toy.eq2", "toy.eq5")})
    write(folder, data | {"claims": kept})
    page, record = made(toy, tmp_path)
    parts = outline(page).sections
    assert "Every update rule below may be copied as printed" in parts["copy"]
    assert "no reading was refuted" in parts["fails"]
    assert "Nothing" in parts["repaired"]
    assert record["fails"] == record["repaired"] == record["open"] == []


def test_a_source_unknown_to_the_table_has_a_page_without_rules(toy, tmp_path, monkeypatch):
    monkeypatch.delitem(SOURCES, "toy")
    assert source_of("toy").rules == ()
    page, _ = made(toy, tmp_path)
    assert "No update rules of this source are known" in outline(page).sections["copy"]


def changed(data, id, **changes):
    for entry in data["claims"]:
        if entry["id"] == id:
            entry.update(changes)
    return data


def restated(data):
    return [stand | {"statement": "another"} for stand in data["claims"][0]["amendments"]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d | {"claims": d["claims"][1:]}, "no verdict on toy.eq1; make it again with `exactrl verify toy"),
        (lambda d: d | {"claims": []}, r"no verdict on toy.eq1, toy.eq1.amended, toy.eq2, toy.eq3 and 2 more"),
        (lambda d: d | {"version": "0.0.1"}, f"version 0.0.1 made it and this is {__version__}"),
        (lambda d: d | {"claims": [*d["claims"], d["claims"][4] | {"id": "toy.old"}]}, "toy.old, which is no claim"),
        (lambda d: changed(d, "toy.eq1", amendments=[]), "the amendments of toy.eq1 have changed"),
        (lambda d: changed(d, "toy.eq1", amendments=restated(d)), "the amendments of toy.eq1 have changed"),
        (lambda d: changed(d, "toy.eq5", readings={"literal": {"certificate": None}}), "no verdict on toy.eq5"),
        (lambda d: d | {"claims": [1]}, "holds no verdicts: expected the file"),
        (lambda d: {"claims": d["claims"]}, "holds no verdicts: expected the file"),
        (lambda d: [], "holds no verdicts: expected the file"),
    ],
)  # fmt: skip
def test_stale_verdicts_are_refused_with_the_command_that_makes_them(toy, spoil, message):
    folder, data, _ = toy
    write(folder, spoil(data))
    with pytest.raises(ExactRLError, match=message):
        read_run(folder, ["toy"])


def test_changed_assumptions_and_lost_files_are_refused(toy):
    folder, _, claims = toy
    read_run(folder, ["toy"])
    claims["toy.eq2"].readings["intended"].assumptions = ("$x>1$",)
    with pytest.raises(ExactRLError, match=r"the assumptions of toy.eq2 \(intended\) have changed"):
        read_run(folder, ["toy"])
    claims["toy.eq2"].readings["intended"].assumptions = ("$x>0$",)
    (folder / "certificates/toy.eq3.intended.json").unlink()
    with pytest.raises(ExactRLError, match=r"certificates/toy.eq3.intended.json is missing"):
        read_run(folder, ["toy"])
    (folder / "index.html").unlink()
    with pytest.raises(ExactRLError, match=r"index.html is missing"):
        read_run(folder, ["toy"])
    shutil.rmtree(folder)
    with pytest.raises(ExactRLError, match=r"holds no verdicts: make them with `exactrl verify toy --out"):
        read_run(folder, ["toy"])


def test_the_command_to_run_keeps_other_sources_profile_and_seed(toy):
    folder, data, _ = toy
    other = data["claims"][1] | {"id": "ecpo.prop1", "source": "ecpo"}
    write(folder, data | {"claims": [*data["claims"][1:], other], "profile": "full"})
    with pytest.raises(ExactRLError, match=r"exactrl verify ecpo toy --out '.*' --profile full --seed 3`"):
        read_run(folder, ["toy"])


def test_every_rule_names_claims_that_exist_and_are_no_amendments_of_their_own():
    known = registry()
    for name, source in SOURCES.items():
        cited = [id for rule in source.rules for id in rule.claims]
        assert all(id in known and known[id].source == name for id in cited), [id for id in cited if id not in known]


def test_sources_are_known_by_name():
    assert chosen_sources(["mpo", "ecpo", "mpo"]) == ["mpo", "ecpo"]
    with pytest.raises(ExactRLError, match=r"no claims of a source 'mop' are installed \(did you mean mpo"):
        chosen_sources(["mop"])


REAL = ("mpo.alg2.eta", "mpo.alg2.theta", "mpo.eq27.split", "mpo.eq27.parts")


def test_real_verdicts_make_a_page(tmp_path, monkeypatch):
    claims = {id: claim for id, claim in registry().items() if id in REAL}
    monkeypatch.setattr(source_page, "registry", lambda: claims)
    verified = CliRunner().invoke(main, ["verify", *REAL, "--out", str(tmp_path / "v")])
    assert verified.exit_code in (0, 3), verified.output
    words = ["report", "source", "mpo", "--verdicts", str(tmp_path / "v"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)["sources"]
    raw = json.loads((tmp_path / "v/verdicts.json").read_text())["claims"]
    bad = [c["id"] for c in raw if {r["verdict"] for r in c["readings"].values()} & {"refuted", "ill-posed"}]
    printed = [c["id"] for c in raw if c["readings"]["literal"]["verdict"] in ("refuted", "ill-posed")]
    assert record["fails"] == bad
    assert set(record["not_literally"]) == set(printed)
    assert "mpo.alg2.theta" in record["not_literally"]
    text = (tmp_path / "out/mpo.html").read_text(encoding="utf-8")
    for c in raw:
        for amendment in c["amendments"]:
            assert amendment["id"] in text
        for reading in c["readings"].values():
            assert reading["certificate"] is None or f"../v/{reading['certificate']}" in text
    shown = CliRunner().invoke(main, words)
    assert "not to be copied literally: " + ", ".join(record["not_literally"]) in shown.stdout
    assert record["settings"]["command"] == " ".join(["exactrl", *words])


def test_bad_input_ends_in_status_2_before_anything_is_written(tmp_path):
    for words, message in (
        (["mop"], "no claims of a source 'mop'"),
        (["mpo", "--verdicts", str(tmp_path / "none")], "holds no verdicts: make them with `exactrl verify mpo --out"),
    ):
        result = CliRunner().invoke(main, ["report", "source", *words, "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_record_is_plain_data(toy):
    folder, _, _ = toy
    record = source_record(read_run(folder, ["toy"]), "toy", {"command": "again", "versions": {}})
    assert json.loads(json.dumps(record)) == record
