"""`exactrl compare`: its numbers by hand, its warnings and refusals, the page and that its numbers are recorded."""

import json
import re
import shlex
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from click.testing import CliRunner

from deeprl.comparison import CompareOptions, compare_runs
from exactrl.cli import InstalledCommands, main
from exactrl.errors import ExactRLError
from reports.learning_curves import interval, number
from reports.learning_page import sentences

QUICK = ["--resamples", "200"]
VERSIONS = {"mujoco": "3.17.0", "gymnasium": "1.2.0"}


@pytest.fixture(autouse=True)
def _the_command_is_found(monkeypatch):
    entry = EntryPoint("compare", "reports.learning_curves:compare", "exactrl.commands")
    monkeypatch.setattr(InstalledCommands, "_entries", lambda self: {"compare": entry})


def run(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def data(*arguments):
    result = run(*arguments, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def train(folder, seed=1, finals=(10.0,), steps=(100, 200), **config):
    """Write one run whose evaluations all hold the returns `finals`, plus the step over 100."""
    folder.mkdir(parents=True)
    rows = [f"{step},{k},{x + step / 100},5" for step in steps for k, x in enumerate(finals)]
    (folder / "evaluations.csv").write_text("\n".join(["global_step,episode,return,length", *rows, ""]))
    settings = {"algorithm": "sac", "env_id": "Hopper-v5", "seed": seed, "total_timesteps": 200, "versions": VERSIONS}
    (folder / "config.json").write_text(json.dumps({**settings, **config}))
    return folder


def algorithm(folder, finals, **config):
    for seed, final in enumerate(finals, 1):
        train(folder / f"seed-{seed}", seed, (final - 1, final + 1), **config)
    return folder


@pytest.fixture
def sac(tmp_path):
    return algorithm(tmp_path / "sac", [10, 20, 60])


@pytest.fixture
def td3(tmp_path):
    return algorithm(tmp_path / "td3", [8, 30], algorithm="td3")


def test_scores_means_and_pairs_by_hand(sac, td3):
    made = data(sac, td3, "--seed", 3)
    (part,) = made["environments"]
    assert (part["env_id"], part["at"], made["seed"], made["resamples"]) == ("Hopper-v5", 200, 3, 200)
    first, second = part["groups"]
    assert [entry["score"] for entry in first["runs"]] == [12, 22, 62]  # mean over episodes, plus 2 at step 200
    assert [entry["score"] for entry in second["runs"]] == [10, 32]
    assert first["iqm"] == first["mean"] == pytest.approx(32)
    assert first["iqm_interval"] == [12, 62]
    assert second["iqm_interval"] == [10, 32]
    assert first["curve"]["steps"] == [100, 200]
    assert first["curve"]["mean"] == pytest.approx([31, 32])
    (pair,) = part["pairs"]
    assert pair["probability"] == pytest.approx(4 / 6)
    assert pair["difference"] == pytest.approx(11)
    assert pair["welch_interval"][0] < pair["difference_interval"][0] < 11


def test_an_earlier_step_and_another_metric(sac):
    early = data(sac, "--at", 150)["environments"][0]
    assert [entry["score"] for entry in early["groups"][0]["runs"]] == [11, 21, 61]
    assert early["groups"][0]["runs"][0]["step"] == 100
    assert early["common_last_step"] == 200
    assert data(sac, "--metric", "length")["environments"][0]["groups"][0]["mean"] == 5


def test_tables_on_stdout_and_warnings_on_stderr(sac, td3):
    result = run(sac, td3, *QUICK)
    assert result.exit_code == 0
    assert re.search(r"^sac +3 +32\.00 \[12\.00, 62\.00\] +32\.00 ± 65\.72 +26\.46 +200$", result.stdout, re.MULTILINE)
    assert re.search(r"^sac against td3 +0\.67 \[", result.stdout, re.MULTILINE)
    assert "bootstrap: 200 resamples, seed 0" in result.stdout
    assert "warning" not in result.stdout
    assert "warning: With 3 runs (sac) a bootstrap 95% interval is too narrow" in result.stderr
    assert "the true mean in 75 of 100 experiments" in result.stderr


def warnings_for(*arguments):
    made = data(*arguments)
    return " ".join([*made["notes"], *made["environments"][0]["warnings"]])


def test_one_run_has_a_mean_and_the_page_says_that_no_interval_exists(sac, tmp_path):
    one = train(tmp_path / "one")
    made = run(f"alone={one}", sac, *QUICK)
    assert made.exit_code == 0
    assert re.search(r"^alone +1 +12\.00 \[no interval\] +12\.00 +none", made.stdout, re.MULTILINE)
    assert "One run only of alone: its mean is shown, but no interval exists." in made.stderr


def test_runs_that_differ_are_compared_up_to_the_common_step_and_the_reader_is_told(tmp_path):
    long = train(tmp_path / "long", steps=(100, 200, 400), total_timesteps=400)
    other = train(tmp_path / "other", 2, steps=(50, 190), versions={"mujoco": "3.3.0"}, learning_rate=0.1, gamma=0.9)
    text = warnings_for(long, other)
    assert "end at different steps (400: sac seed 1; 190: sac seed 2); they are compared up to step 190" in text
    assert "planned for different numbers of steps (400: sac seed 1; 200: sac seed 2)" in text
    assert "Versions of mujoco differ (3.17.0: sac seed 1; 3.3.0: sac seed 2): that changes results" in text
    assert "Not every run was evaluated at step 190" in text
    assert "Runs of sac were trained with different settings: gamma, learning_rate" in text
    assert data(long, other)["environments"][0]["groups"][0]["curve"]["steps"] == [100, 190]


def test_other_warnings(sac, tmp_path):
    twice = train(tmp_path / "twice", 3, (1, 2, 3))
    text = warnings_for(sac, twice)
    assert "sac has several runs with seed 3" in text
    assert "different numbers of evaluation episodes" in text
    monitor = tmp_path / "monitor.csv"
    monitor.write_text("#{}\nr,l,t\n" + "1,10,0\n" * 30)
    progress = tmp_path / "progress.csv"
    progress.write_text("time/total_timesteps,rollout/ep_rew_mean\n100,3\n300,4\n")
    text = warnings_for(sac, f"m={monitor}", f"p={progress}")
    assert "Not the same quantity" in text
    assert "Scores of m are means over the last 10 training episodes (--window)" in text
    assert "Scores of p are means over past training episodes" in text
    assert "No simulator versions are recorded for m, p" in text
    assert "Taken to be of Hopper-v5" in text
    far = algorithm(tmp_path / "far", [100, 200, 300], algorithm="far")
    assert "Every run of far scores above every run of sac" in warnings_for(sac, far)
    assert "in 1 of 10 cases" in warnings_for(sac, far)  # 2 of (6 choose 3)


def test_files_without_an_environment(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("t,score\n10,1\n20,2\n")
    named = ["--step-column", "t", "--return-column", "score"]
    assert "No file names its environment" in warnings_for(log, *named)
    made = data(log, *named, "--env-id", "Ant-v5")
    assert made["environments"][0]["env_id"] == "Ant-v5"
    assert made["notes"] == []


def test_environments_are_compared_one_by_one_and_together_only_if_asked(tmp_path):
    for env_id, scale in (("Hopper-v5", 1), ("Ant-v5", 100)):
        algorithm(tmp_path / env_id / "a", [10 * scale, 18 * scale], env_id=env_id, algorithm="a")
        algorithm(tmp_path / env_id / "b", [5 * scale, 7 * scale], env_id=env_id, algorithm="b")
    folders = [tmp_path / env_id / name for env_id in ("Hopper-v5", "Ant-v5") for name in "ab"]
    apart = data(*folders)
    assert [part["env_id"] for part in apart["environments"]] == ["Hopper-v5", "Ant-v5"]
    assert apart["normalised"] is None
    flags = ["--normalise", "--random-return", "Hopper-v5=0", "--random-return", "Ant-v5=2"]
    tables = run(*folders, *flags, *QUICK, "--html", tmp_path / "page").stdout
    assert "normalised scores over Hopper-v5, Ant-v5" in tables
    made = json.loads((tmp_path / "page" / "compare.json").read_text())["normalised"]
    assert made["references"][0] == {"env_id": "Hopper-v5", "random": 0, "best": 16, "best_label": "a"}
    assert made["groups"][0]["mean"] == pytest.approx(1)
    assert np.array(made["groups"][1]["runs"])[:, 0] == pytest.approx([7 / 16, 9 / 16])
    assert "normalised-profiles.svg" in {file.name for file in (tmp_path / "page").iterdir()}


def refusal(*arguments):
    result = run(*arguments, *QUICK)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def test_refusals(sac, td3, tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "none")
    assert "not every run has reached step 300; sac seed 1" in refusal(sac, "--at", 300)
    assert "no result at or before step 5: its first is at 100" in refusal(sac, "--at", 5)
    assert "sac seed 1" in (told := refusal(sac, sac / "seed-1"))
    assert "is given twice" in told
    copy = train(tmp_path / "copy", 2, (19, 21))
    assert "hold the same results under the label sac" in refusal(sac, copy)
    assert "expected RUN or LABEL=RUN" in refusal("=x")
    assert "give it as --random-return Hopper-v5=VALUE" in refusal(sac, "--normalise")
    assert "expected ENV=VALUE" in refusal(sac, "--normalise", "--random-return", "Hopper-v5")
    assert "no better than the random policy's" in refusal(sac, "--normalise", "--random-return", "Hopper-v5=99")
    ant = algorithm(tmp_path / "ant", [1, 2], env_id="Ant-v5")
    zero = ["--normalise", "--random-return", "Hopper-v5=0", "--random-return", "Ant-v5=0"]
    assert "sac has unequal numbers of runs (3 in Hopper-v5, 2 in Ant-v5)" in refusal(sac, ant, *zero)
    assert "td3 has no run in Ant-v5" in refusal(td3, ant, *zero)
    log = tmp_path / "log.csv"
    log.write_text("Step,Value\n200,1\n")
    assert "names no environment, and the others are of Ant-v5, Hopper-v5: give --env-id" in refusal(sac, ant, log)
    assert "cannot write in the folder" in refusal(sac, "--html", log)
    assert "Missing argument" in refusal()


class Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links, self.text, self.hidden = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("style", "svg", "code")
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[name] for name in ("href", "src", "xlink:href") if name in attrs]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "svg", "code")

    def handle_data(self, text):
        if not self.hidden:
            self.text.append(text)


@pytest.fixture
def page(sac, td3, tmp_path):
    made = run(sac, td3, "--at", 100, *QUICK, "--html", tmp_path / "page")
    assert made.exit_code == 0, made.output
    assert f"page: {tmp_path / 'page' / 'index.html'}" in made.stderr
    return tmp_path / "page"


def test_the_page_stands_alone_and_the_command_makes_the_same_bytes(page, tmp_path):
    outline = Outline()
    outline.feed((page / "index.html").read_text())
    assert len(set(outline.ids)) == len(outline.ids)
    for link in outline.links:
        assert link.removeprefix("#") in outline.ids if link.startswith("#") else (page / link).is_file(), link
    names = {"curves", "scores", "profiles", "improvement"}
    pictures = {f"Hopper-v5-{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {file.name for file in page.iterdir()} == pictures | {"index.html", "compare.json"}
    for name in names:
        ET.fromstring((page / f"Hopper-v5-{name}.svg").read_text())
    recorded = json.loads((page / "compare.json").read_text())
    words = shlex.split(recorded["settings"]["command"])
    before = {file.name: file.read_bytes() for file in page.iterdir()}
    assert run(*words[2:]).exit_code == 0
    assert {file.name: file.read_bytes() for file in page.iterdir()} == before


def numbers_in(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return {x for entry in value for x in numbers_in(entry)}
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_every_decimal_number_on_the_page_stands_in_the_json(page):
    recorded = json.loads((page / "compare.json").read_text())
    shown = {number(x) for x in numbers_in(recorded)} | {f"{x:.2f}" for x in numbers_in(recorded)}
    for group in recorded["environments"][0]["groups"]:
        low, high = group["mean_t_interval"]
        shown.add(number((high - low) / 2))
    outline = Outline()
    outline.feed((page / "index.html").read_text().split("<footer>")[0])
    met = re.findall(r"−?\d[\d,]*\.\d+", " ".join(outline.text))
    assert len(met) > 25
    for text in met:
        assert text in shown, text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.6, "12,346"),
        (-123.45, "−123.5"),
        (1.5, "1.50"),
        (0.25, "0.250"),
        (0.0012, "0.0012"),
        (0, "0.000"),
        (None, "none"),
    ],
)
def test_numbers_as_people_read_them(value, text):
    assert number(value) == text


def test_intervals_as_people_read_them():
    assert interval([1, 2.5]) == "[1.00, 2.50]"
    assert interval([0, 1], digits=1) == "[0.0, 1.0]"
    assert interval(None) == "[no interval]"


def test_long_logs_are_thinned_and_many_algorithms_keep_their_looks(tmp_path):
    files = []
    for k in range(8):
        files.append(tmp_path / f"log{k}.csv")
        files[-1].write_text(
            "Step,Value\n" + "".join(f"{step},{step / 1000 + k}\n" for step in range(0, 900_000, 1000))
        )
    made = data(*files, "--html", tmp_path / "page", "--at", 500_000)
    assert "One run only of log0, log1, log2 and 5 more" in (tmp_path / "page" / "index.html").read_text()
    steps = made["environments"][0]["groups"][0]["curve"]["steps"]
    assert len(steps) == 200
    assert (steps[0], steps[-1]) == (0, 899_000)
    assert made["environments"][0]["groups"][0]["mean"] == 500
    assert len(made["environments"][0]["pairs"]) == 28


def test_the_words_say_what_is_settled_and_what_is_not(sac, td3, tmp_path):
    low = algorithm(tmp_path / "low", [1, 1.5, 2], algorithm="low")
    high = algorithm(tmp_path / "high", [90, 91, 92], algorithm="high")
    (part,) = data(low, high, sac)["environments"]
    told = sentences(part)
    assert told[0].startswith(
        "The highest interquartile mean of the algorithms with more than one run is that of high: 93.00 ["
    )
    assert told[1].startswith("high is above low: the difference of the means is −89.50, Welch 95% interval [−91.")
    assert told[1].endswith("(low minus high).")
    assert told[2].startswith("The runs do not settle which of low and sac is higher")
    assert told[3].startswith("The runs do not settle which of high and sac is higher")
    assert told[4] == "These are 3 comparisons, each with an interval of its own and no correction for their number."


@pytest.mark.parametrize("open_pairs", [3, 4, 9])
def test_many_open_pairs_are_counted_and_only_settled_ones_told(open_pairs):
    pair = lambda k, low, high: {"first": f"a{k}", "second": f"b{k}", "difference": 1.0, "welch_interval": [low, high]}
    pairs = [pair(k, -1.0, 2.0) for k in range(open_pairs)] + [pair(99, 0.5, 2.0)]
    told = sentences({"groups": [], "pairs": pairs})
    assert sum("is above" in sentence for sentence in told) == 1
    each = sum("do not settle which" in sentence for sentence in told)
    counted = [sentence for sentence in told if sentence.startswith(f"Of {open_pairs + 1} pairs")]
    assert (each, len(counted)) == ((open_pairs, 0) if open_pairs <= 3 else (0, 1))
    assert all(f"do not settle {open_pairs};" in sentence for sentence in counted)


def test_a_picture_that_cannot_be_written_is_told(sac, tmp_path):
    (tmp_path / "page" / "Hopper-v5-curves.png").mkdir(parents=True)
    assert "cannot write" in run(sac, *QUICK, "--html", tmp_path / "page").stderr
    assert not list((tmp_path / "page").glob(".*"))


def test_nothing_to_compare_is_refused():
    with pytest.raises(ExactRLError, match="no runs to compare"):
        compare_runs([], CompareOptions())
