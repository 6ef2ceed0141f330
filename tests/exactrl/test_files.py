"""Files are whole or absent, and JSON is read strictly."""

import json
import os
import stat

import pytest

from exactrl.errors import ExactRLError
from exactrl.files import read_json, write_json_atomically, write_text_atomically


def test_text_is_written_as_given_and_replaces_what_stood_there(tmp_path):
    path = tmp_path / "page.html"
    write_text_atomically(path, "old")
    write_text_atomically(path, "τ ≥ 0\r\nnew\n")
    assert path.read_bytes() == "τ ≥ 0\r\nnew\n".encode()
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text_atomically(str(link), "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_json_round_trip(tmp_path):
    path, data = tmp_path / "a.json", {"a": [1, 0.1, "τ", None, True], "b": {"c": 5e-324}}
    write_json_atomically(path, data)
    assert read_json(path) == data
    assert path.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.json"
    path.write_text("old")
    monkeypatch.setattr(os, failing, _fail(OSError(28, "No space left on device")))
    with pytest.raises(ExactRLError, match=r"cannot write .*a\.json: No space left on device; choose a folder"):
        write_json_atomically(path, [1])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_interruption_passes_through_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", _fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_text_atomically(tmp_path / "a", "text")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_synchronised_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", _fail(OSError(13, "no")))
    write_text_atomically(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"


def test_a_missing_folder_and_a_folder_as_target_are_refused(tmp_path):
    with pytest.raises(ExactRLError, match=r"the folder .*missing does not exist; create it first"):
        write_text_atomically(tmp_path / "missing" / "a", "text")
    with pytest.raises(ExactRLError, match="it is a folder, expected the name of a file"):
        write_text_atomically(tmp_path, "text")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ExactRLError, match="Permission denied; choose a folder you may write"):
        write_text_atomically(tmp_path / "a", "text")


@pytest.mark.parametrize("content", [float("nan"), {"a": [float("inf")]}, {1, 2}, [10**5000]])
def test_what_is_not_json_is_refused_before_a_file_is_touched(tmp_path, content):
    with pytest.raises(ExactRLError, match="the content is not JSON"):
        write_json_atomically(tmp_path / "a.json", content)
    assert os.listdir(tmp_path) == []


def test_text_without_a_utf8_form_is_refused(tmp_path):
    with pytest.raises(ExactRLError, match="character 2 of the text has no UTF-8 form"):
        write_text_atomically(tmp_path / "a", "ab\ud800")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b": ]', r"malformed JSON at line 2, column 7"),
        ("", r"malformed JSON at line 1, column 1"),
        ('{"a": 1, "b": {"c": 1, "d": 2, "c": 3}}', "the key 'c' stands twice"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[1e999]", "the number 1e999 is beyond the range of a float"),
        ("[" + "9" * 5000 + "]", "cannot read"),
        ("[" * 100_000, "cannot read"),
    ],
)
def test_bad_json_is_refused_by_its_place(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ExactRLError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_missing_files_folders_and_bytes_are_refused(tmp_path):
    with pytest.raises(ExactRLError, match="there is no such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ExactRLError, match="Is a directory"):
        read_json(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    with pytest.raises(ExactRLError, match=r"not UTF-8 text \(byte 2\)"):
        read_json(tmp_path / "latin.json")


def test_the_default_layout_is_readable_and_indent_none_is_one_line(tmp_path):
    write_json_atomically(tmp_path / "a.json", {"a": [1]}, indent=None)
    assert (tmp_path / "a.json").read_text() == '{"a": [1]}\n'
    write_json_atomically(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.json").read_text() == json.dumps({"a": [1]}, indent=2) + "\n"


def _fail(error):
    def function(*args, **kwargs):
        raise error

    return function
