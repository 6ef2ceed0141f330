"""The command line: exit statuses, data on stdout, one line for bad input, and never a traceback."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from exactrl import __version__
from exactrl.cli import main
from proofs_checks import falsify
from proofs_checks import verify as verify_module
from proofs_checks.checker import main as checker
from proofs_checks.claim import Check, Claim, registry
from proofs_checks.fields import Real
from proofs_checks.instances import Space

CHEAP = "ecpo.lemma7"
COMMANDS = ("claims", "verify", "check", "demo")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(falsify.PROFILES, "quick", falsify.Budget(draws=200, generations=2, population=64, swept=2))


@pytest.fixture
def toy(monkeypatch):
    """A function that registers a claim about a real number x for the length of a test."""

    def add(id, sides):
        made = Claim(id, "toy", "Here", "A toy", "$x$", "inequality", "pointwise", sides, "c")
        made.both_readings(space=Space({"x": Real()}), assumptions=["x is real"])
        monkeypatch.setitem(registry(), id, made)

    return add


def run(*arguments):
    """Run in process; an exception other than an exit fails the test."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise AssertionError(f"exactrl {arguments} ended in {result.exception!r}") from result.exception
    return result


def refused(*arguments):
    """Run what must be refused: status 2, nothing on stdout, no traceback; return the message on stderr."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def shell(*arguments, **options):
    command = [sys.executable, "-m", "exactrl.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# ------------------------------------------------------------------------------------------------------------- help


def test_help_lists_the_commands_and_the_exit_statuses():
    text = run("--help").stdout
    assert all(re.search(rf"^  {name} ", text, re.M) for name in COMMANDS)
    assert "Example" in text
    assert "0 done, 1 a result differs" in " ".join(text.split())
    assert run("-h").stdout == text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_an_example(name):
    text = run(name, "--help").stdout
    assert re.search(rf"Examples?: +exactrl {name}", text)
    assert "--json" in text


def test_the_version():
    assert run("--version").stdout.split()[-1] == __version__


def test_no_command_and_an_unknown_one():
    assert run().exit_code in (0, 2)
    assert "frobnicate" in refused("frobnicate")
    assert "--frobnicate" in refused("verify", "--frobnicate")


def test_a_package_that_is_not_installed_is_named(tmp_path):
    """The core alone has no jinja2: the command says what to install, and leaves no traceback."""
    code = "import sys; sys.modules['jinja2'] = None; from exactrl.cli import main; main()"
    out = tmp_path / "out"
    finished = subprocess.run(
        [sys.executable, "-c", code, "verify", CHEAP, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert "jinja2" in finished.stderr
    assert not out.exists()


# ----------------------------------------------------------------------------------------------------------- claims


def test_claims_lists_each_claim_on_a_line():
    lines = run("claims").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(registry())
    assert run("claims", "ecpo").stdout.splitlines() == [line for line in lines if line.startswith("ecpo.")]


def test_one_claim_is_shown_with_its_readings():
    text = run("claims", "ecpo.lemma1").stdout
    claim = registry()["ecpo.lemma1"]
    assert text.startswith("ecpo.lemma1\n")
    for part in (claim.title, claim.where, claim.statement, claim.explanation):
        assert part in text
    for name, reading in claim.readings.items():
        assert f"{name} reading assumes: {'; '.join(reading.assumptions)}" in text


def test_claims_as_json():
    everything = json.loads(run("claims", "--json").stdout)
    assert list(everything) == list(registry())
    one = json.loads(run("claims", CHEAP, "--json").stdout)
    assert one == {CHEAP: everything[CHEAP]}
    for id, claim in everything.items():
        known = registry()[id]
        assert claim["statement"] == known.statement
        assert claim["readings"] == {n: {"assumptions": list(r.assumptions)} for n, r in known.readings.items()}


@pytest.mark.parametrize("command", ["claims", "verify"])
@pytest.mark.parametrize("id", ["ecpo.lem", "ecpo.lemma", "ecpo.thm1", "nonsense", "ECPO.lemma1"])
def test_unknown_and_partial_ids_are_refused_with_near_ones(tmp_path, command, id):
    options = ["--out", tmp_path / "out"] if command == "verify" else []
    message = refused(command, id, *options)
    assert f"{id!r}" in message
    assert re.search(r"did you mean .*ecpo", message)
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


# ----------------------------------------------------------------------------------------------------------- verify


def test_verify_writes_verdicts_certificates_and_a_page(tmp_path):
    result = run("verify", CHEAP, "ecpo.sec3.nonzero", "--out", tmp_path)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["claim", "literal", "intended"]
    assert rows[1:] == [["ecpo.sec3.nonzero", "refuted", "survived"], [CHEAP, "refuted", "survived"]]
    assert str(tmp_path / "index.html") in result.stderr
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    page = (tmp_path / "index.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    articles = re.findall(r"<article\b.*?</article>", page, re.S)
    headings = [re.sub(r"<[^>]*>", " ", article.split("</h3>")[0]).split()[0] for article in articles]
    for claim in verdicts["claims"]:
        assert headings.count(claim["id"]) == 1
        assert registry()[claim["id"]].title in page.replace("&#39;", "'")
        for reading in claim["readings"].values():
            if reading["certificate"]:
                assert (tmp_path / reading["certificate"]).is_file()
                assert reading["certificate"] in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.replace('href="http://www.w3.org', ""))


def test_verify_as_json_prints_what_it_wrote(tmp_path):
    result = run("verify", CHEAP, "--out", tmp_path, "--json", "--seed", 7)
    assert json.loads(result.stdout) == json.loads((tmp_path / "verdicts.json").read_text())
    assert json.loads(result.stdout)["seed"] == 7
    assert "seed 7, profile quick" in result.stderr


def expectation(tmp_path, content):
    path = tmp_path / "expected.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_verdicts_as_expected_exit_with_0(tmp_path):
    path = expectation(tmp_path, {CHEAP: {"literal": "refuted", "intended": "survived"}})
    assert run("verify", CHEAP, "--out", tmp_path / "out", "--expect", path).exit_code == 0


def test_a_difference_exits_with_1_and_is_named(tmp_path):
    path = expectation(tmp_path, {CHEAP: {"literal": "survived", "intended": "survived"}})
    result = run("verify", CHEAP, "--out", tmp_path / "out", "--expect", path)
    assert result.exit_code == 1
    assert f"{CHEAP} literal: expected survived, got refuted" in result.stderr
    assert "intended" not in result.stderr
    assert (tmp_path / "out" / "index.html").is_file()


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "7",
        {"ecpo.nonsense": {"literal": "proved"}},
        {"ecpo": {"literal": "proved"}},
        {CHEAP: "refuted"},
        {CHEAP: {"friendly": "refuted"}},
        {CHEAP: {"literal": "wrong"}},
        {CHEAP: {"literal": 3}},
    ],
)
def test_malformed_expectations_are_refused_before_any_work(tmp_path, monkeypatch, content):
    monkeypatch.setattr(verify_module, "judge", lambda piece: pytest.fail("work was begun"))
    path = tmp_path / "none.json" if content is None else expectation(tmp_path, content)
    message = refused("verify", CHEAP, "--out", tmp_path / "out", "--expect", path)
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_undecided_reading_exits_with_3_unless_it_differs(tmp_path, toy):
    toy("toy.open", lambda p: Check("rate", p.x, "<=", 2, asserted=False))
    assert run("verify", "toy.open", "--out", tmp_path / "a").exit_code == 3
    path = expectation(tmp_path, {"toy.open": {"literal": "undecided"}})
    assert run("verify", "toy", "--out", tmp_path / "b", "--expect", path).exit_code == 3
    path = expectation(tmp_path, {"toy.open": {"literal": "proved"}})
    assert run("verify", "toy", "--out", tmp_path / "c", "--expect", path).exit_code == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", "-1"),
        ("--seed", "x"),
        ("--seed", "1.5"),
        ("--jobs", "0"),
        ("--jobs", "-2"),
        ("--jobs", "two"),
        ("--profile", "x"),
        ("--profile",),
    ],
)
def test_bad_options_are_refused(tmp_path, options):
    message = refused("verify", CHEAP, "--out", tmp_path / "out", *options)
    assert options[0] in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["file", "file above", "proc", "verdicts.json", "index.html"])
def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch, what):
    monkeypatch.setattr(verify_module, "judge", lambda piece: pytest.fail("work was begun"))
    out = tmp_path / "out"
    if what == "proc":
        out = Path("/proc/exactrl")
    elif what in ("file", "file above"):
        out.write_text("mine")
        out = out / "below" if what == "file above" else out
    else:
        (out / what).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    message = refused("verify", CHEAP, "--out", out)
    assert str(out) in message
    assert sorted(tmp_path.rglob("*")) == before


def test_piped_output_is_data_without_control_characters(tmp_path):
    finished = shell(
        "verify", "ecpo.prop2.fixed", "--out", tmp_path / "out", "--json", env=os.environ | {"TERM": "xterm"}
    )
    assert finished.returncode == 0
    assert json.loads(finished.stdout)["claims"]
    assert not CONTROL.search(finished.stdout)
    assert not CONTROL.search(finished.stderr)
    assert "Traceback" not in finished.stderr


def test_bad_input_in_a_shell_is_one_line_on_stderr():
    finished = shell("verify", "ecpo.lem")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert len(finished.stderr.strip().splitlines()) == 1
    assert "ecpo.lemma1" in finished.stderr


# ------------------------------------------------------------------------------------------------------------ check


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Good certificates, and files that are none."""
    folder = tmp_path_factory.mktemp("certificates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(falsify.PROFILES, "quick", falsify.Budget(draws=200, generations=2, population=64, swept=2))
        run("verify", CHEAP, "ecpo.sec3.nonzero", "--out", folder)
    good = folder / "certificates" / f"{CHEAP}.literal.json"
    forged = folder / "forged.json"
    forged.write_text(json.dumps(json.loads(good.read_text()) | {"right": "-4e-1"}))
    malformed = folder / "malformed.json"
    malformed.write_text("{")
    other = folder / "certificates" / "ecpo.sec3.nonzero.literal.json"
    return {"good": good, "other": other, "forged": forged, "malformed": malformed, "missing": folder / "none.json"}


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["good"], 0),
        (["good", "other"], 0),
        (["forged"], 1),
        (["malformed"], 1),
        (["good", "forged"], 1),
        (["missing"], 2),
        (["good", "missing"], 2),
        (["forged", "missing"], 2),
    ],
)
def test_check_accepts_rejects_or_cannot_read(certificates, capfd, names, status):
    files = [certificates[name] for name in names]
    result = run("check", *files)
    assert result.exit_code == status
    lines = result.stdout.splitlines()
    told = [name for name in names if name != "missing"]
    assert [line.split()[0] for line in lines] == ["ok" if name in ("good", "other") else "REJECTED" for name in told]
    assert ("none.json" in result.stderr + capfd.readouterr().err) == ("missing" in names)
    as_json = run("check", *files, "--json")
    assert as_json.exit_code == status
    data = json.loads(as_json.stdout)
    assert [entry["accepted"] for entry in data][: len(told)] == [name in ("good", "other") for name in told]
    assert all(str(certificates[name]) in entry["message"] for name, entry in zip(told, data, strict=False))


def test_check_as_json_tells_of_every_file(certificates):
    names = ["good", "missing", "forged"]
    data = json.loads(run("check", *(certificates[n] for n in names), "--json").stdout)
    assert [entry["accepted"] for entry in data] == [True, False, False]


def test_check_needs_a_file_and_takes_names_that_look_like_options(certificates, tmp_path):
    assert "FILES" in refused("check")
    assert "cannot read -x" in shell("check", "--", "-x").stderr
    odd = tmp_path / "two\nlines.json"
    odd.write_text(certificates["good"].read_text())
    assert len(run("check", odd).stdout.splitlines()) == 1


# ------------------------------------------------------------------------------------------------------------- demo


def test_demo_prints_fractions():
    text = run("demo").stdout
    assert "verdict: refuted" in text
    assert re.search(r"\(\d+/\d+, \d+/\d+\)", text)
    assert set(json.loads(run("demo", "--json", "--seed", 3).stdout)) == {"ecpo.thm2.monotone", "ecpo.sec4.onesample"}
    assert "--seed" in refused("demo", "--seed", "-4")


# ------------------------------------------------------------------------------------------------------ a small fuzzer


def allowed(arguments):
    result = run(*arguments)
    assert result.exit_code in (0, 1, 2, 3), (arguments, result.output)
    assert "Traceback" not in result.output
    return result.exit_code


WORDS = [
    *COMMANDS,
    "toy",
    "toy.true",
    "ecpo.lem",
    "ecpo.lemma7 ",
    "",
    "-",
    "--",
    "--json",
    "--help",
    "--seed",
    "7",
    "-1",
]
WORDS += [
    "--jobs",
    "1",
    "0",
    "--profile",
    "quick",
    "slow",
    "--expect",
    "--out",
    "é",
    "a\tb",
    "%s",
    "{}",
    "/dev/null",
    "\udcff",
]


def test_any_command_line_ends_in_a_documented_status(tmp_path, toy, monkeypatch):
    toy("toy.true", lambda p: (p.x * p.x, ">=", 0))
    monkeypatch.chdir(tmp_path)
    rng = random.Random(0)
    statuses = set()
    for _ in range(100):
        command = rng.choice([*COMMANDS[:3], rng.choice(WORDS)])
        words = [w for w in rng.choices(WORDS, k=rng.randint(0, 4)) if command != "demo" or w != "quick"]
        if command == "verify" or "verify" in words:
            words.append("toy.true")
        statuses.add(allowed([command, *words]))
    assert {0, 2} <= statuses


def mutated(rng, text):
    """Change, drop, double or insert a few bytes, or put a value of another kind somewhere."""
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(data))
        j = min(len(data), i + rng.randint(1, 8))
        data[i:j] = rng.choice([b"", data[i:j] * 2, bytes([rng.randrange(256)]), b"null", b"[]", b"1e999", b'"', b"-"])
    return bytes(data)


def test_any_expectation_file_ends_in_a_documented_status(tmp_path, toy):
    toy("toy.true", lambda p: (p.x * p.x, ">=", 0))
    rng = random.Random(1)
    path = tmp_path / "expected.json"
    original = json.dumps({"toy.true": {"literal": "survived", "intended": "refuted"}, CHEAP: {"literal": "refuted"}})
    for _ in range(50):
        path.write_bytes(mutated(rng, original))
        assert allowed(["verify", "toy.true", "--out", tmp_path / "out", "--expect", path]) in (0, 1, 2)


def test_any_certificate_file_ends_in_a_documented_status(certificates, tmp_path, capfd):
    rng = random.Random(2)
    original = certificates["good"].read_text()
    path = tmp_path / "certificate.json"
    for case in range(50):
        content = mutated(rng, original)
        path.write_bytes(content)
        if case < 5:
            assert allowed(["check", path]) in (0, 1, 2)
        status = checker.main([str(path)])
        assert status in (0, 1, 2)
        if status == 0:
            assert json.loads(content) == json.loads(original)
    assert "Traceback" not in "".join(capfd.readouterr())
