"""Atomic writes, and errors that name the file."""

import errno
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hwcls import files
from hwcls.config.yaml_source import parse_value

# what YAML 1.1 or 1.2 takes for something else than text, or for nothing at all
ODD_TEXTS = [
    *("1e-3", "1e3", "+1E5", "0o7", "0x1F", "0b11", "010", "08", "1_000", "1_0e3", "3", "-3", "1.", ".5", "1.5e3"),
    *("yes", "No", "on", "true", "null", "Null", "~", "", ".inf", "-.Inf", ".nan", "12:30", "1:30.5", "2020-01-01"),
    *("=", "= ", "<<", "- a", "? a", "a: b", "a #b", "#a", "&a", "*a", "!a", "%a", "@a", "`a", "|", ">", "[a", "{a"),
    *("'", '"', " a", "a ", "a\nb", "a\n", "\ta", "---", "...", "é", "名前", "1e3.yaml", "64_32", "a,b", "0.1-0"),
]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("write", [files.write_text, lambda path, text: files.append_line(path, text.encode())])
def test_a_full_disk_names_the_file(tmp_path, monkeypatch, write):
    """The system's error has no file name where the disk fills up during a write."""
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as raised:
        write(tmp_path / "some.txt", "text")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "some.txt"))
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_whether_a_file_can_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    refused = {tmp_path: tmp_path, tmp_path / "taken" / "a" / "grid.png": tmp_path / "taken"}
    for path, named in refused.items():
        with pytest.raises(OSError) as found:
            files.check_writable(path)
        assert found.value.filename == str(named)
    files.check_writable(tmp_path / "new" / "folder" / "grid.png")
    monkeypatch.chdir(tmp_path)
    files.check_writable(Path("grid.png"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the root user may write everywhere
    with pytest.raises(PermissionError) as found:
        files.check_writable(tmp_path / "new" / "folder" / "grid.png")
    assert found.value.filename == str(tmp_path / "new")


def test_whether_files_can_be_written_in_a_folder_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    for path in (tmp_path / "taken", tmp_path / "taken" / "figures"):
        with pytest.raises(NotADirectoryError) as found:
            files.check_writable_folder(path)
        assert found.value.filename == str(tmp_path / "taken")
    (tmp_path / "figures" / "_").mkdir(parents=True)
    files.check_writable_folder(tmp_path / "figures")
    files.check_writable_folder(tmp_path / "new" / "figures")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the root user may write everywhere
    for path, named in {tmp_path / "figures": "figures", tmp_path / "new" / "figures": "new"}.items():
        with pytest.raises(PermissionError) as found:
            files.check_writable_folder(path)
        assert found.value.filename == str(tmp_path / named)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "some.txt"
    files.write_text(path, "old")
    with pytest.raises(TypeError), files.open_atomic(path, "w") as file:
        file.write(b"no text")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_partial_line_is_removed_before_the_next(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    files.append_line(path, b"three")
    assert path.read_bytes() == b"one\nthree\n"


def read_both(value):
    """By the reader of sweep files, and by that of other YAML files."""
    text = files.to_yaml(value)
    return [parse_value(text, "x"), yaml.safe_load(text)]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_text_in_yaml_is_read_back_as_text(text):
    value = {"a": text, "list": [text], text: 1}
    assert read_both(value) == [value, value]


@settings(max_examples=200, deadline=None)
@given(text=st.text("-+._:~=<0123456789abefinoxyINF ", max_size=8))
def test_any_text_in_yaml_is_read_back_as_text(text):
    assert read_both({"a": text}) == [{"a": text}] * 2


def test_numbers_and_plain_words_are_written_without_quotes():
    value = {"lr": 1e-05, "high": 1e20, "epochs": 10, "keep": True, "none": None, "path": "../photos", "name": "v0.2"}
    text = files.to_yaml(value)
    assert not {"'", '"'} & set(text)
    assert yaml.safe_load(text) == value
