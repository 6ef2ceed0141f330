"""`exactrl report`: the folder it writes, its numbers, its refusals; and the panels it draws."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib import colors

from exactrl.cli import main
from exactrl.sources import bandit, garnet
from reports.panels import Line, Panel, Picture, _spread, draw, inline_svg, png, svg, table

REGRET = ["regret", "--steps", "8", "--adversarial-steps", "4", "--sequences", "2", "--rounds", "1"]
MONOTONICITY = ["monotonicity", "--iterations", "4", "--problems", "4", "--discounted-problems", "1"]
ECPO_ALONE = [*MONOTONICITY, "--family", "ecpo"]


def run(*arguments):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@pytest.fixture(scope="module", params=[REGRET, MONOTONICITY], ids=["regret", "monotonicity"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    model = folder / "model.json"
    garnet(3, 2, 2, seed=0, horizon=2, initial=0).save(model)
    result = run(*request.param, "--mdp", model, "--seed", "3", "--out", folder / "out", "--json")
    assert result.exit_code == 0, result.output
    return request.param, folder / "out", json.loads(result.stdout), model


def test_the_folder_holds_page_pictures_numbers_and_settings(made):
    _, out, data, _ = made
    names = {file.stem for file in out.glob("*.csv")}
    assert len(names) >= 3
    assert {file.stem for file in out.glob("*.png")} == {file.stem for file in out.glob("*.svg")} == names
    assert not list(out.glob(".*"))
    assert json.loads((out / "settings.json").read_text()) == data["settings"]
    assert json.loads((out / "study.json").read_text()) == data["study"]
    assert data["settings"]["options"]["seed"] == 3
    assert set(data["settings"]["versions"]) == {"exactrl", "numpy", "matplotlib", "python"}


def test_the_command_in_the_settings_makes_the_same_bytes(made, tmp_path):
    _, out, data, _ = made
    words = data["settings"]["command"].split()
    assert words[:2] == ["exactrl", "report"]
    assert run(*words[2:], "--out", tmp_path).exit_code == 0
    for file in out.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return {x for entry in value for x in numbers_in(entry)}
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_every_plotted_measurement_comes_from_the_study(made):
    arguments, out, data, _ = made
    known = numbers_in(data["study"])
    measured = {
        "regret": ["fixed", "adversarial", "sizes", "scales"],
        "monotonicity": ["tracks", "partings", "rises-tables", "rises-shared"],
    }
    for name in measured[arguments[0]]:
        with open(out / f"{name}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) > 5
        for row in rows:
            assert float(row["y"]) in known or row["series"].startswith("trivial"), row


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_its_links_lead_somewhere(made):
    _, out, _, _ = made
    text = (out / "index.html").read_text(encoding="utf-8")
    seen = Outline()
    seen.feed(text)
    assert seen.open == []
    assert len(seen.ids) == len(set(seen.ids))
    assert not {"script", "link", "img", "iframe"} & seen.tags
    for link in seen.links:
        assert link[1:] in seen.ids if link.startswith("#") else (out / link).is_file(), link
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/2000/svg",
    }


@pytest.mark.parametrize("arguments", [REGRET, ECPO_ALONE], ids=["regret", "monotonicity"])
def test_the_terminal_gets_a_table_and_no_progress(arguments, tmp_path):
    result = run(*arguments, "--problem", "tree", "--horizon", "2", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tree of depth 2: 13 states, 3 actions, deterministic")
    assert "PMD = ECPO without entropy" in result.stdout
    assert "computing" not in result.output
    assert not (tmp_path / "rises-tables.csv").exists()
    assert result.stderr == f"page: {tmp_path / 'index.html'}\n"


def test_toy_text_environments_are_problems(tmp_path):
    result = run(*ECPO_ALONE, "--env-id", "FrozenLake-v1", "--horizon", "3", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "FrozenLake-v1: 16 states, 4 actions, stochastic, episodes of 3 actions" in result.stdout


def test_the_progress_bar_counts_every_piece_and_shows_on_a_terminal_only(monkeypatch, capsys):
    from exactrl.studies import monotonicity, regret
    from exactrl.studies.problems import choose_problem
    from reports import commands

    problem, counted = choose_problem("tree", None, None, horizon=2, seed=0), []
    options = regret.RegretOptions(steps=2, adversarial_steps=4, sweep_steps=2, sequences=2, rounds=0)
    regret.study_regret(problem, options, lambda: counted.append(0))
    assert len(counted) == regret.pieces_of(problem, options)
    counted.clear()
    few = monotonicity.MonotonicityOptions(iterations=1, problems=2, sweep_iterations=1)
    monotonicity.study_monotonicity(problem, few, lambda: counted.append(0))
    assert len(counted) == monotonicity.pieces_of(problem)
    for terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda shown=terminal: shown)
        with commands._progress(2) as advance:
            advance()
        assert ("computing" in capsys.readouterr().err) is terminal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*REGRET, "--problem", "tre"], "--problem is 'tre': expected one of bandit, tree, chain; did you mean tree?"),
        ([*MONOTONICITY, "--env-id", "FrozenLake"], "FrozenLake-v1"),
        ([*MONOTONICITY, "--tau", "0", "--tau-prime", "0"], "tau + tau_prime is 0"),
        ([*MONOTONICITY, "--tau", "-2"], "tau is -2"),
        ([*MONOTONICITY, "--family", "trpo"], "--family is 'trpo': expected one of all, ecpo, mpo"),
        ([*MONOTONICITY, "--discount", "1"], "--discount is 1.0: expected at least 0 and below 1"),
        ([*MONOTONICITY, "--alpha", "0"], "alpha is 0.0: expected a positive finite number"),
        ([*REGRET, "--steps", "1"], "steps is 1"),
        ([*REGRET, "--mdp", "missing.json"], "there is no such file"),
    ],
)
def test_bad_input_is_named_and_ends_in_status_2(arguments, message, tmp_path):
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_and_a_model_without_a_horizon_are_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run(*REGRET, "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "cannot write in the folder" in result.stderr
    garnet(2, 2, 1, seed=0, discount=0.9).save(tmp_path / "m.json")
    result = run(*MONOTONICITY, "--mdp", tmp_path / "m.json", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "has no horizon, so its trajectories are infinite: give --horizon T for ECPO and PMD, or --family mpo" in (
        " ".join(result.stderr.split())
    )
    result = run(*REGRET, "--mdp", tmp_path / "m.json", "--out", tmp_path / "out")
    assert "has no horizon, so its trajectories are infinite: give --horizon T" in " ".join(result.stderr.split())
    assert "mpo" not in result.stderr
    bandit([0, 1]).save(tmp_path / "fine.json")
    assert run(*ECPO_ALONE, "--mdp", tmp_path / "fine.json", "--out", tmp_path / "new" / "deep").exit_code == 0


def test_help_shows_examples():
    for words in ([], ["regret"], ["monotonicity"], ["contraction"], ["source"]):
        result = run(*words, "--help")
        assert result.exit_code == 0
        assert "Examples:" in result.output


def test_the_second_family_is_the_same_model_without_its_horizon(tmp_path):
    from exactrl.studies.discounted import discounted
    from exactrl.studies.improvement import ImprovementOptions, study_improvement
    from exactrl.studies.problems import choose_problem

    words = ["--problem", "chain", "--alpha", "0.5", "--discount", "0.6", "--start", "uniform", "--step-size", "0.2"]
    result = run(*MONOTONICITY, *words, "--family", "mpo", "--out", tmp_path, "--json")
    data = json.loads(result.stdout)
    chain = discounted("chain", choose_problem("chain", None, None, horizon=None, seed=0).mdp, 0.6)
    options = ImprovementOptions(0.5, 0.2, 4, 1, start="uniform")
    assert data["study"]["improvement"] == json.loads(json.dumps(asdict(study_improvement(chain, options))))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "discount 0.6, no horizon" in text
    seen = Outline()
    seen.feed(text)
    assert [id for id in seen.ids if id in ("ecpo", "mpo")] == ["mpo"]
    assert set(data["study"]) == {"improvement"}
    assert not (tmp_path / "tracks.csv").exists()
    assert "Nothing fell that is said never to" in text


def test_mpo_takes_a_model_without_a_horizon_as_it_is(tmp_path):
    """Under its own discount or the one given; one with a horizon loses it; the page's command makes it again."""
    from exactrl.studies.discounted import discounted
    from exactrl.studies.improvement import ImprovementOptions, study_improvement

    mdp, options = garnet(3, 2, 2, seed=0, discount=0.7), ImprovementOptions(iterations=4, problems=1)
    mdp.save(tmp_path / "endless.json")
    mdp.replace(horizon=3).save(tmp_path / "episodes.json")
    for file, words, discount in (
        ("endless.json", [], 0.7),
        ("endless.json", ["--discount", "0.4"], 0.4),
        ("episodes.json", [], 0.7),
    ):
        arguments = ["--mdp", tmp_path / file, "--family", "mpo", *words]
        result = run(*MONOTONICITY, *arguments, "--out", tmp_path / "out", "--json")
        assert result.exit_code == 0, result.output
        data = json.loads(result.stdout)
        expected = study_improvement(discounted(file, mdp, discount), options)
        assert data["study"]["improvement"] == json.loads(json.dumps(asdict(expected)))
        assert data["settings"]["name"] == file
        assert f"{file}: 3 states, 2 actions, stochastic, discount {discount}, no horizon" in (
            (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
        )
    again = run(*data["settings"]["command"].split()[2:], "--out", tmp_path / "again", "--json")
    assert json.loads(again.stdout)["study"] == data["study"]
    for words, message in ((["--problem", "tree"], "were given together"), (["--horizon", "0"], "--horizon is 0")):
        result = run(*MONOTONICITY, *arguments, *words, "--out", tmp_path / "no")
        assert (result.exit_code, message in result.stderr) == (2, True)


LINES = tuple(Line(f"line {k}", [1.0, 10.0, 100.0], [1.0, 2.0 + k, 5.0], k, (1,) if k == 0 else ()) for k in range(6))
PICTURE = Picture("p", "T & <t>", "c", (Panel("one", "x (s)", "y (m)", LINES, log_x=True, log_y=True),))


def test_lines_differ_by_more_than_colour_and_falls_are_ringed():
    axes = draw(PICTURE).axes[0]
    drawn = [line for line in axes.get_lines() if line.get_markerfacecolor() != "none"]
    looks = [(line.get_marker(), str(line._unscaled_dash_pattern)) for line in drawn]
    assert len(set(looks)) == len({marker for marker, _ in looks}) == len(LINES)
    assert len({colors.to_hex(line.get_color()) for line in drawn}) == len(LINES)
    (ring,) = (line for line in axes.get_lines() if line.get_markerfacecolor() == "none")
    assert ring.get_xydata().tolist() == [[10.0, 2.0]]
    assert [row[3:] for row in table(PICTURE)[1] if row[-1]] == [[10.0, "y (m)", 2.0, 1]]
    names = sorted(text.xyann[1] for text in axes.texts)
    assert min(np.diff(names)) > 0.08


def test_pictures_are_deterministic_well_formed_and_follow_the_page():
    assert svg(PICTURE) == svg(PICTURE)
    assert png(PICTURE) == png(PICTURE)
    ET.fromstring(svg(PICTURE))
    inline = ET.fromstring(inline_svg(PICTURE))
    assert inline[0].text == "T & <t>"
    assert "var(--series-6)" in str(inline_svg(PICTURE))
    assert "date" not in svg(PICTURE)


def test_labels_spread_about_their_middle_and_stay_inside():
    assert _spread([0.5], 0.1) == [0.5]
    assert _spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert _spread([0.99, 1.0], 0.1) == pytest.approx([0.9, 1.0])
    assert _spread([0.1, 0.9], 0.1) == [0.1, 0.9]
