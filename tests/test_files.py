"""Atomic writes, and errors that name the file."""

import errno
import os
from pathlib import Path

import pytest

from hwcls import files


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
