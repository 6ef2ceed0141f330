"""`exactrl report algorithm`: facts that the code confirms, verdicts that come from results, curves from runs."""

import ast
import csv
import dataclasses
import json
import re
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import exactrl.formulas
from deeprl.algorithms import ALGORITHMS
from deeprl.comparison import CompareOptions
from deeprl.config import CONFIGS
from exactrl.cli import main
from proofs_checks.claim import registry
from reports.algorithm_page import FACTS, cited_claims, learned
from reports.algorithm_settings import configuration, published_table, shown
from reports.mathml import render

ROOT = Path(__file__).parents[2]
CITED = cited_claims(list(FACTS))


def run(*arguments):
    return CliRunner().invoke(main, ["report", "algorithm", *map(str, arguments)])


def refused(*arguments):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


def write_results(folder, changes=None):
    """A folder as `exactrl verify` leaves it; every verdict is `survived` but for the changes."""
    verdicts = {id: dict.fromkeys(("literal", "intended"), "survived") for id in CITED} | (changes or {})
    claims = [
        {"id": id, "readings": {name: {"verdict": verdict} for name, verdict in readings.items()}}
        for id, readings in verdicts.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verdicts.json").write_text(json.dumps({"claims": claims}))
    anchors = "".join(f'<p id="{name}"></p>' for name in [*verdicts, "legend"])
    (folder / "index.html").write_text(anchors)
    return folder


def write_run(folder, algorithm, returns, **settings):
    """One finished run: evaluations at 1000, 2000, ... with two episodes each, one above and one below."""
    folder.mkdir(parents=True)
    config = {"env_id": "Pendulum-v1", "seed": int(folder.name.removeprefix("seed-")), **settings}
    whole = CONFIGS[algorithm](**config).as_dict() if algorithm in CONFIGS else {"algorithm": algorithm, **config}
    (folder / "config.json").write_text(json.dumps(whole))
    with open(folder / "evaluations.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["global_step", "episode", "return", "length"])
        for k, value in enumerate(returns, 1):
            writer.writerows([[1000 * k, 0, value - 3, 10], [1000 * k, 1, value + 3, 10]])


SCORES = {"sac": [-150.0, -170.0, -160.0], "sb3-sac": [-140.0, -155.0, -175.0], "sac-score": [-900.0, -800.0, -850.0]}


@pytest.fixture(scope="module", autouse=True)
def _few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.algorithm_runs.CompareOptions", partial(CompareOptions, resamples=100))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("algorithms")
    for label, scores in SCORES.items():
        algorithm = "Stable-Baselines3 sac" if label == "sb3-sac" else label
        extra = {"learning_starts": 1234} if label == "sac" else {}
        for seed, score in enumerate(scores, 1):
            write_run(folder / "runs/small" / label / f"seed-{seed}", algorithm, [score - 500, score], **extra)
    results = write_results(
        folder / "results",
        {
            "ecpo.eq9": {"literal": "refuted", "intended": "undecided"},
            "ecpo.lemma7": {"literal": "ill-posed", "intended": "proved"},
        },
    )
    out = folder / "out"
    result = run("--results", results, "--runs", folder / "runs", "--out", out, "--json")
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout), folder


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.rows, self.cell = [], [], [], set(), [], None

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data


def outline(path):
    seen = Outline()
    seen.feed(path.read_text(encoding="utf-8"))
    assert seen.open == []
    return seen


# ------------------------------------------------------------------------------------------- what the code confirms


def formulas_used(kind):
    """Names of exactrl.formulas in the code of the methods that this class has in the end."""
    names = set()
    for name in dir(kind):
        method = getattr(kind, name)
        if (getattr(method, "__module__", None) or "").startswith("deeprl.algorithms"):
            names |= set(getattr(getattr(method, "__code__", None), "co_names", ()))
    return names & set(exactrl.formulas.__all__)


@pytest.mark.parametrize("name", FACTS)
def test_the_functions_named_are_those_that_the_algorithm_calls(name):
    told = {function for step in FACTS[name].steps for function in step.functions}
    assert told == formulas_used(ALGORITHMS[name])


def test_every_algorithm_has_a_page():
    assert set(FACTS) == set(ALGORITHMS) == set(CONFIGS)


@pytest.mark.parametrize("name", FACTS)
def test_the_bridge_tests_named_are_there(name):
    tree = ast.parse((ROOT / FACTS[name].bridge).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {test for _, test in FACTS[name].established} <= functions


def test_the_claims_cited_exist_and_a_refuted_one_stands_beside_its_amendment():
    assert set(CITED) <= set(registry())
    for name in FACTS:
        cited = cited_claims([name])
        for id, claim in registry().items():
            if claim.amends in cited:
                assert id in cited, f"{name} cites {claim.amends} without {id}"


def options_in(texts):
    return {option for text in texts for option in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text)}


@pytest.mark.parametrize("name", FACTS)
def test_the_options_in_the_texts_exist(name):
    facts = FACTS[name]
    texts = [facts.symbols, *facts.differences, *(step.text for step in facts.steps)]
    texts += [text for _, text in (*facts.repairs, *facts.modes)]
    known = {entry.name for entry in dataclasses.fields(CONFIGS[name])} | {"log_lift"}
    assert options_in(texts) <= known
    for option, _ in facts.modes:
        assert option.split()[0].removeprefix("--").removeprefix("no-").replace("-", "_") in known


@pytest.mark.parametrize("name", FACTS)
def test_every_formula_can_be_set(name):
    facts = FACTS[name]
    texts = [f"${formula}$" for step in facts.steps for formula in step.formulas]
    texts += [step.text for step in facts.steps] + [facts.symbols, *facts.differences]
    for text in texts:
        assert 'class="tex"' not in render(text), text


def test_what_is_learned_is_what_a_state_holds():
    assert learned("ecac") == [["actor", "1", "reference"], ["critic", "2", "none"], ["value", "1", "target_value"]]
    assert learned("ddpg") == [["actor", "1", "target_actor"], ["critic", "1", "target_critic"]]
    assert learned("sac")[-1] == ["log_alpha", "1 number", "none"]


def test_table_4_is_that_of_the_paper():
    _, rows = published_table()
    assert {env: tuple(map(float, numbers)) for env, *numbers in rows} == {
        "Walker2d": (1.5, 0.2, 5e-4),
        "Hopper": (0.5, 0.05, 5e-4),
        "HalfCheetah": (0.5, 0.2, 3e-4),
        "Ant": (1.0, 0.1, 3e-4),
        "Humanoid": (2.0, 0.05, 3e-4),
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_the_tables_hold_every_field_once_as_the_command_line_has_it(name):
    own, shared = configuration(CONFIGS[name])
    options = [row[0].replace("[no-]", "") for row in own + shared]
    assert sorted(options) == sorted(f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(CONFIGS[name]))
    told = CliRunner().invoke(main, ["train", name, "--help"], terminal_width=400).output
    for option, (_, _, _, text) in zip(options, own + shared, strict=True):
        assert option in told
        assert text in " ".join(told.split())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "derived"), (True, "on"), ((300, 300), "300, 300"), (1e6, "1,000,000"), (3e-4, "0.0003"), ("adam", "adam")],
)
def test_settings_are_shown_as_people_write_them(value, text):
    assert shown(value) == text


# --------------------------------------------------------------------------------------------------- what is written


def test_the_folder_holds_a_page_and_its_numbers_for_each_and_an_index(made):
    out, data, _ = made
    assert {file.name for file in out.iterdir()} == {
        "index.html",
        *(f"{n}.{k}" for n in FACTS for k in ("html", "json")),
    }
    assert [record["algorithm"] for record in data["algorithms"]] == list(FACTS)
    for record in data["algorithms"]:
        assert json.loads((out / f"{record['algorithm']}.json").read_text()) == record


@pytest.mark.parametrize("name", [*FACTS, "index"])
def test_a_page_stands_alone_and_its_links_lead_somewhere(made, name):
    out = made[0]
    seen = outline(out / f"{name}.html")
    assert len(seen.ids) == len(set(seen.ids))
    assert not {"script", "link", "img", "iframe"} & seen.tags
    for link in seen.links:
        file, _, anchor = link.partition("#")
        target = out / file if file else out / f"{name}.html"
        assert target.is_file(), link
        assert not anchor or anchor in outline(target).ids, link
    text = (out / f"{name}.html").read_text(encoding="utf-8")
    assert 'class="tex"' not in text
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/2000/svg",
    }


def verdicts_beside(text, id):
    """The two badges that follow the link to a claim."""
    rest = text[text.index(f"<code>{id}</code>") :]
    return re.findall(r'class="badge v-([a-z-]+)"', rest)[:2]


def test_verdicts_are_those_of_the_results(made):
    text = (made[0] / "ecac.html").read_text(encoding="utf-8")
    assert verdicts_beside(text, "ecpo.eq9") == ["refuted", "undecided"]
    assert verdicts_beside(text, "ecpo.lemma7") == ["ill-posed", "proved"]
    assert verdicts_beside(text, "ecpo.eq10") == ["survived", "survived"]
    assert made[1]["algorithms"][-1]["verdicts"]["ecpo.eq9"]["readings"] == {
        "literal": "refuted",
        "intended": "undecided",
    }


def test_returns_are_those_of_the_runs_with_the_peer_beside(made):
    out = made[0]
    rows = {row[0]: row for row in outline(out / "sac.html").rows if row[0] in SCORES}
    assert set(rows) == {"sac", "sb3-sac"}
    for label in rows:
        told = rows[label][3].replace("−", "-").split(" ± ")
        assert float(told[0]) == pytest.approx(np.mean(SCORES[label]), abs=0.06)
        half = 4.302652729749464 * np.std(SCORES[label], ddof=1) / np.sqrt(3)  # the t quantile of 2 degrees of freedom
        assert float(told[1]) == pytest.approx(half, rel=5e-3)
        assert rows[label][1] == "3"
    text = (out / "sac.html").read_text(encoding="utf-8")
    assert text.count("<svg") - text.count('<svg viewBox="0 0 16 16"') == 2
    assert "sac: <code>learning_starts</code> 1,234." in text
    assert "Pendulum-v1" in (out / "sac-score.html").read_text(encoding="utf-8")


def test_without_runs_a_page_says_so_and_how_to_make_them(made):
    text = (made[0] / "td3.html").read_text(encoding="utf-8")
    assert "There are no reference runs of this algorithm yet" in text
    assert text.count("make reference-runs") == 2
    assert "No statement of the ECPO paper enters this update" in text


def test_one_algorithm_has_no_index_and_the_terminal_gets_its_tables(made, tmp_path):
    folder = made[2]
    result = run("ecac", "--results", folder / "results", "--runs", folder / "runs", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert {file.name for file in tmp_path.iterdir()} == {"ecac.html", "ecac.json"}
    assert re.search(r"ecpo\.eq9 +refuted +undecided", result.stdout)
    assert "no reference runs yet: make reference-runs" in result.stdout
    assert result.stderr == f"page: {tmp_path / 'ecac.html'}\n"
    assert ">all algorithms<" not in (tmp_path / "ecac.html").read_text(encoding="utf-8")


def test_the_command_on_a_page_makes_the_same_bytes(made, tmp_path):
    folder = made[2]
    run("sac-score", "--results", folder / "results", "--runs", folder / "runs", "--out", tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    command = json.loads(before["sac-score.json"])["settings"]["command"]
    assert command.encode() in before["sac-score.html"]
    words = command.split()
    assert words[:3] == ["exactrl", "report", "algorithm"]
    assert run(*words[3:]).exit_code == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_without_results_the_claims_are_judged_and_their_page_is_linked(tmp_path):
    (tmp_path / "runs").mkdir()
    result = run("sac", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    verdicts = json.loads((tmp_path / "out/claims/verdicts.json").read_text())
    found = {claim["id"]: claim["readings"]["literal"]["verdict"] for claim in verdicts["claims"]}
    text = (tmp_path / "out/sac.html").read_text(encoding="utf-8")
    for id in cited_claims(["sac"]):
        assert verdicts_beside(text, id)[0] == found[id]
        assert f'href="claims/index.html#{id}"' in text
        assert id in outline(tmp_path / "out/claims/index.html").ids


def test_an_algorithm_that_cites_nothing_has_nothing_judged(tmp_path):
    (tmp_path / "runs").mkdir()
    result = run("td3", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"td3.html", "td3.json"}


# --------------------------------------------------------------------------------------------------------- refusals


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deeprl.algorithms", None)
    assert "the page needs the package deeprl.algorithms: install the extra" in refused("td3", "--out", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SAC", "no algorithm has the name 'SAC' (did you mean sac?): expected one of sac, sac-score, "),
        ("eca", "did you mean ecac"),
        ("zzz", "no algorithm has the name 'zzz': expected one of sac, sac-score, td3, ddpg, ecac"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message, tmp_path):
    assert message in refused(name, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_that_lack_a_verdict_name_the_command_that_makes_it(tmp_path):
    results = write_results(tmp_path / "results")
    data = json.loads((results / "verdicts.json").read_text())
    data["claims"] = [claim for claim in data["claims"] if claim["id"] != "ecpo.eq9"]
    (results / "verdicts.json").write_text(json.dumps(data))
    message = refused("ecac", "--results", results, "--out", tmp_path / "out")
    assert "has no verdict on ecpo.eq9: make them with `exactrl verify ecpo.eq8.value" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"claims": [1]}', '{"claims": [{"id": "ecpo.eq9"}]}'])
def test_results_of_another_form_are_refused(content, tmp_path):
    (tmp_path / "verdicts.json").write_text(content)
    assert "verdict" in refused("ecac", "--results", tmp_path, "--out", tmp_path / "out")


def test_results_without_their_page_are_refused(tmp_path):
    (write_results(tmp_path) / "index.html").unlink()
    assert "has no page that verdicts can be linked to" in refused(
        "sac", "--results", tmp_path, "--out", tmp_path / "o"
    )


def test_a_missing_folder_of_results_or_runs_is_refused(tmp_path):
    assert "there is no such file" in refused("sac", "--results", tmp_path / "none", "--out", tmp_path / "out")
    assert "expected a folder of reference runs" in refused("td3", "--runs", tmp_path / "none")


def test_a_broken_run_is_refused_by_name(tmp_path):
    folder = tmp_path / "runs/small/td3/seed-1"
    write_run(folder, "td3", [1.0, 2.0])
    with open(folder / "evaluations.csv", "a", encoding="utf-8") as file:
        file.write("3000,0,nan,10\n")
    message = refused("td3", "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    assert "evaluations.csv, line 6: return is 'nan', expected a finite number" in message
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    assert "choose another with --out" in refused("td3", "--runs", tmp_path, "--out", tmp_path / "out")


def test_help_has_examples():
    result = run("--help")
    assert result.exit_code == 0
    assert "exactrl report algorithm sac ecac" in " ".join(result.output.split())
