"""The user's own files on their way to the processes that train."""

from pathlib import Path

import pytest

from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.storage.user_code import copy_sources, write_sources

MODEL = "from torch import nn\n\ndef build(classes, channels, image_size):\n    return nn.Flatten()\n"


def test_an_earlier_version_of_the_file_gives_way(sweep_file, tmp_path):
    lies = tmp_path / "source/net.py"
    trial = load_sweep(sweep_file(compare=None, parameters={"model": {"name": f"{lies}:build"}})).corners[0]
    write_sources({str(lies): b"old"}, trial)
    write_sources({str(lies): b"new"}, trial)
    assert lies.read_bytes() == b"new"
    before = lies.stat().st_ino
    write_sources({str(lies): b"new"}, trial)
    assert lies.stat().st_ino == before  # nothing was written


def test_a_changed_file_is_seen_wherever_it_was_sent_to(sweep_file, tmp_path, monkeypatch):
    """Each submitted job has a folder of its own, whose name changes with the files in it."""
    for job, text in (("job1", MODEL), ("job2", MODEL), ("job3", MODEL.replace("Flatten", "Identity"))):
        (tmp_path / job).mkdir()
        (tmp_path / job / "net.py").write_text(text)
    sweep = load_sweep(sweep_file(compare=None, parameters={"model": {"name": "net.py:build"}}))
    monkeypatch.chdir(tmp_path / "job1")
    kept = copy_sources(sweep, tmp_path / "results")
    assert Path(kept["net.py:build"].rpartition(":")[0]).read_text() == MODEL
    monkeypatch.chdir(tmp_path / "job2")
    assert copy_sources(sweep, tmp_path / "results") == kept
    monkeypatch.chdir(tmp_path / "job3")
    with pytest.raises(UserError, match="has changed since this sweep began"):
        copy_sources(sweep, tmp_path / "results")
