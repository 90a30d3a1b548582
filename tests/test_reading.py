"""Files that are no files: reading them ends at once."""

import os
import socket
from pathlib import Path

import pytest

from hwcls.reading import DamagedFile, read_file, read_yaml


def test_pipes_devices_and_sockets_are_damage(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DamagedFile, match=r"is damaged \(a pipe or a device\)"):
            read_yaml(path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        with pytest.raises(DamagedFile, match=r"is damaged \(no such device or address\)"):
            read_yaml(tmp_path / "socket")
    (tmp_path / "file").write_bytes(b"abc")
    assert read_file(tmp_path / "file", bytes, offset=1) == b"bc"
