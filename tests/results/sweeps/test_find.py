"""Which folders are sweeps, and when they were last written."""

from __future__ import annotations

import os

import pytest

from hwcls.errors import UserError
from hwcls.results.sweeps.find import find_sweeps, last_written


def test_the_folders_with_a_sweep_file_by_name(results, tmp_path):
    for name in ("b", "a"):
        results.sweep(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "sweep.yaml").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in find_sweeps(tmp_path)] == ["a", "b", "damaged"]


def test_a_sweep_stands_for_itself(results, tmp_path):
    assert find_sweeps(results.sweep(tmp_path).path) == [tmp_path]


def test_a_folder_that_is_missing_or_none_is_one_line(tmp_path):
    with pytest.raises(UserError, match="there is no such folder — name the folder that holds the sweeps"):
        find_sweeps(tmp_path / "results")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be read"):
        find_sweeps(tmp_path / "file")


def test_the_last_record_of_any_run_counts_and_no_file_made_from_records(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "mlp", 0.9, seeds=1)
    (tmp_path / "report.html").touch()
    for folder, _, names in os.walk(tmp_path):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.utime(path, (100, 100))
    os.utime(tmp_path / "report.html", (900, 900))
    os.utime(tmp_path, (900, 900))
    assert last_written(tmp_path) == 100
    os.utime(sweep.trial(4).metrics_path, (200, 200))
    assert last_written(tmp_path) == 200
    os.utime(sweep.confirm_run("mlp", 1000).path, (300, 300))  # a file more
    assert last_written(tmp_path) == 300
    assert last_written(tmp_path / "nowhere") is None
