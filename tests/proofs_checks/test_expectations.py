"""Expected verdicts: read whole or refused with the entry named."""

import json

import pytest

from exactrl import ExactRLError
from proofs_checks.expectations import VERDICTS, read_expectations


def write(tmp_path, content):
    path = tmp_path / "expected.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"ecpo.lemma1": {}},
        {"ecpo.lemma1": {"literal": "refuted"}},
        {"ecpo.lemma1": {"literal": "refuted", "intended": "survived"}, "ecpo.prop1": {"intended": "proved"}},
    ],
)
def test_what_is_right_is_returned(tmp_path, data):
    assert read_expectations(write(tmp_path, data)) == data


@pytest.mark.parametrize("verdict", ["proved", "certified", "survived", "refuted", "ill-posed", "undecided"])
def test_every_verdict_may_be_expected(tmp_path, verdict):
    assert verdict in VERDICTS
    data = {"ecpo.prop1": {"literal": verdict}}
    assert read_expectations(write(tmp_path, data)) == data


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "malformed JSON"),
        ("{", "malformed JSON at line 1"),
        ("not json", "malformed JSON"),
        ('{"ecpo.prop1": {"literal": NaN}}', "NaN"),
        ('{"ecpo.prop1": {}, "ecpo.prop1": {}}', "'ecpo.prop1' stands twice"),
        ([], "expected an object"),
        ("null", "expected an object"),
        ("3", "expected an object"),
        ('"ecpo"', "expected an object"),
        ({"ecpo.prop1": "proved"}, "ecpo.prop1 is 'proved': expected an object"),
        ({"ecpo.prop1": None}, "ecpo.prop1 is None: expected an object"),
        ({"ecpo.prop1": ["literal"]}, "ecpo.prop1 is "),
        ({"ecpo.prop9": {"literal": "proved"}}, "'ecpo.prop9'.*did you mean.*ecpo.prop"),
        ({"ecpo.prop1": {"friendly": "proved"}}, "ecpo.prop1 has a reading 'friendly': expected literal or intended"),
        ({"ecpo.prop1": {"literal": "true"}}, "ecpo.prop1 literal is 'true': expected one of proved"),
        ({"ecpo.prop1": {"literal": True}}, "ecpo.prop1 literal is True: expected one of"),
        ({"ecpo.prop1": {"literal": None}}, "ecpo.prop1 literal is None: expected one of"),
        ({"ecpo.prop1": {"literal": ["proved"]}}, r"ecpo.prop1 literal is \['proved'\]: expected one of"),
        ({"ecpo.prop1": {"literal": {"a": 1}}}, "ecpo.prop1 literal is "),
    ],
)
def test_what_is_not_of_the_form_is_refused_by_name(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(ExactRLError, match=words) as refusal:
        read_expectations(path)
    assert str(path) in str(refusal.value)


def test_a_source_is_no_claim(tmp_path):
    with pytest.raises(ExactRLError, match="ecpo"):
        read_expectations(write(tmp_path, {"ecpo": {"literal": "proved"}}))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ExactRLError, match="there is no such file"):
        read_expectations(tmp_path / "none.json")
    with pytest.raises(ExactRLError, match="cannot read"):
        read_expectations(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ExactRLError, match="UTF-8"):
        read_expectations(tmp_path / "binary")
