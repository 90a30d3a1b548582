"""An MPS daemon is found where it listens, and only there."""

import os

from hwcls.sweep.preflight.gpu_share import mps


def test_a_daemon_is_found_where_it_reads(tmp_path, monkeypatch):
    monkeypatch.setenv(mps.VARIABLE, str(tmp_path))
    assert mps.mps_pipe() is None
    os.mkfifo(tmp_path / "control")
    assert mps.mps_pipe() is None  # left behind by a daemon that has ended
    reader = os.open(tmp_path / "control", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert mps.mps_pipe() == tmp_path
    finally:
        os.close(reader)


def test_the_default_folder_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.delenv(mps.VARIABLE, raising=False)
    monkeypatch.setattr(mps, "DEFAULT", str(tmp_path))
    os.mkfifo(tmp_path / "control")
    reader = os.open(tmp_path / "control", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert mps.mps_pipe() == tmp_path
    finally:
        os.close(reader)
