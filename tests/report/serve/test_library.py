"""Which page of a sweep is served, and what is read again."""

from __future__ import annotations

import fcntl
import os

import pytest
import yaml

from hwcls import files
from hwcls.report.html.page import write_page
from hwcls.report.serve.index import render_list
from hwcls.report.serve.library import Library
from hwcls.results.sweeps import summary
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.mlflow.place import find_place


@pytest.fixture
def library(folder, tmp_path):
    return Library(folder, tmp_path / "pages")


@pytest.fixture
def lock(folder):
    """Holds the lock of `tiny`, as its driver does, while it is called."""
    with open(folder / "tiny" / ".lock", "w") as file:
        yield lambda: fcntl.flock(file, fcntl.LOCK_EX)


def test_a_page_that_is_as_new_as_the_records_is_served_as_it_is(library, folder):
    own = write_page(folder / "tiny")
    assert library.find_page("tiny") == own
    assert library.find_page("nowhere") is None


def test_an_older_page_is_made_again_once_elsewhere(library, folder):
    own = write_page(folder / "tiny")
    os.utime(own, (0, 0))
    made = library.find_page("tiny")
    assert made.parent == library._pages
    first = made.stat().st_mtime_ns
    assert library.find_page("tiny").stat().st_mtime_ns == first
    with open(folder / "tiny" / "trials" / "4" / "metrics.jsonl", "ab") as file:
        file.write(b"\n")
    assert library.find_page("tiny").stat().st_mtime_ns > first
    assert own.stat().st_mtime == 0


def test_while_a_sweep_runs_its_driver_keeps_the_page(library, folder, lock):
    own = write_page(folder / "tiny", running=True)
    os.utime(own, (0, 0))
    lock()
    assert library.find_page("tiny") == own


def test_a_page_that_says_running_after_a_kill_is_made_again(library, folder):
    write_page(folder / "tiny", running=True)
    made = library.find_page("tiny")
    assert made.parent == library._pages
    assert "This sweep is running" not in made.read_text("utf-8")


def test_a_running_sweep_without_a_page_of_its_own_has_one_that_loads_itself_again(library, folder, lock):
    lock()
    assert 'http-equiv="refresh"' in library.find_page("tiny").read_text("utf-8")


def test_running_sweeps_come_first_and_only_what_changed_is_read_again(library, folder, results, lock, monkeypatch):
    newer = results.sweep(folder / "newer")
    os.utime(newer.path / "sweep.yaml", (9e9, 9e9))
    read = []
    monkeypatch.setattr(
        "hwcls.report.serve.library.summarize_sweep",
        lambda path: read.append(path.name) or summary.summarize_sweep(path),
    )
    assert [row.summary.name for row in library.list_sweeps()] == ["newer", "tiny"]
    lock()
    assert [row.summary.name for row in library.list_sweeps()] == ["tiny", "newer"]
    assert read == ["newer", "tiny", "tiny"]
    results.trial(newer.trial(0), [0.5])
    library.list_sweeps()
    assert read[3:] == ["newer"]


def test_a_folder_that_does_not_exist_yet_has_no_sweeps(tmp_path):
    assert Library(tmp_path / "later", tmp_path).list_sweeps() == []


def test_what_trackers_write_later_is_shown_without_a_change_of_the_records(library, folder, monkeypatch):
    (row,) = library.list_sweeps()
    assert (row.wandb, row.mlflow, row.commands) == ((), (), ())
    monkeypatch.setattr("hwcls.report.serve.library.summarize_sweep", lambda path: pytest.fail("it is read again"))
    change = b'{"run": "trials/0", "entry": {"url": "https://wandb.example/me/p/runs/1"}}'
    sweep = folder / "tiny"
    files.append_line(sweep / "wandb" / "cursor.jsonl", change)
    (sweep / "tensorboard").mkdir()
    files.write_text(sweep / "mlflow" / "mlflow.db", "")
    (row,) = library.list_sweeps()
    assert row.wandb == ("https://wandb.example/me/p",)
    assert row.commands == (
        f"tensorboard --logdir {sweep}/tensorboard",
        f"uvx mlflow@3.17 server --backend-store-uri sqlite:///{sweep}/mlflow/mlflow.db",
    )


def test_a_server_of_mlflow_is_shown_where_it_has_runs(library, folder, monkeypatch):
    def served():
        (row,) = library.list_sweeps()
        return row.mlflow

    file, lab, other = folder / "tiny" / "sweep.yaml", "http://mlflow.lab:5000", "https://mlflow.example/runs"
    settings = yaml.safe_load(file.read_text("utf-8"))
    files.write_yaml(file, settings | {"trackers": {"mlflow": {"uri": lab}}})
    assert served() == ()
    sweep = SweepFolder(folder / "tiny")
    Cursor(find_place(sweep).cursor)  # written when the server gets the first run
    assert served() == (lab,)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other.replace("//", "//me:key@"))
    assert served() == (lab,)
    Cursor(find_place(sweep).cursor)
    assert served() == (lab, other)
    files.write_yaml(file, settings | {"trackers": {"mlflow": {"uri": "javascript:alert(1)"}}})
    assert served() == (other,)
    assert f'<a href="{other}" rel="noreferrer">MLflow</a>' in render_list(library.list_sweeps())
