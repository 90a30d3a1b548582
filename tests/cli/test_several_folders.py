"""Commands that take results folders take several; the others say that they take one."""

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app

EARLIER = Path(__file__).parents[1] / "earlier" / "results_0.1.zip"


def invoke(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def folders(tmp_path):
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extractall(tmp_path)
    found = tmp_path / "finished", tmp_path / "unfinished"
    for folder in found:
        (folder / "report.html").unlink(missing_ok=True)
    return found


def test_report_writes_the_page_of_each_folder(folders):
    done = invoke("report", *folders, folders[0])
    comparison = folders[0] / "comparison-unfinished.html"
    pages = [f"report: {folder / 'report.html'}" for folder in folders]
    assert done.stdout.splitlines() == [*pages, f"comparison: {comparison}"]
    assert "Two sweeps compared" in comparison.read_text("utf-8")
    assert all("<title>" in (folder / "report.html").read_text("utf-8") for folder in folders)
    files = [{"report": str(f / "report.html"), "leaderboard": str(f / "leaderboard.csv")} for f in folders]
    both = [one | {"comparison": str(comparison)} for one in files]
    assert json.loads(invoke("report", *folders, "--json").stdout) == both
    assert json.loads(invoke("report", folders[0], "--json").stdout) == files[0]


def test_report_writes_nothing_where_one_is_no_results_folder(folders, tmp_path):
    done = invoke("report", folders[0], tmp_path / "none")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"hwcls: {tmp_path / 'none'}: there is no such folder")
    assert not (folders[0] / "report.html").exists()


def test_mlflow_sync_delivers_each_folder(folders, monkeypatch):
    monkeypatch.setattr("hwcls.tracking.mlflow.sync.sync_sweep", lambda sweep, *rest, **more: (2, "http://host"))
    assert invoke("mlflow", "sync", folders[0]).stdout == "2 runs delivered to http://host\n"
    done = invoke("mlflow", "sync", *folders)
    assert done.stdout.splitlines() == [f"{folder}: 2 runs delivered to http://host" for folder in folders]


def test_sync_uploads_each_folder(folders, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "hwcls.tracking.wandb.sync.sync_sweep",
        lambda sweep, project, *rest, **more: seen.append((sweep.path, project)) or 2,
    )
    assert invoke("wandb", "sync", folders[0]).stdout == "2 runs uploaded to W&B\n"
    done = invoke("wandb", "sync", *folders)
    assert done.stdout.splitlines() == [f"{folder}: 2 runs uploaded to W&B" for folder in folders]
    assert seen[1:] == [(folder, "hwcls") for folder in folders]


@pytest.mark.parametrize("command", ["sync", "workspace", "report"])
def test_a_project_that_wandb_refuses_is_refused_before_the_upload(folders, command):
    path = folders[1] / "sweep.yaml"
    path.write_text(path.read_text("utf-8") + "\nproject: team/project\n", "utf-8")
    done = invoke("wandb", command, *folders)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"hwcls: {path}: project: W&B refuses 'team/project'")


def test_an_entity_is_a_name(folders):
    done = invoke("wandb", "workspace", folders[0], "--entity", "team/project")
    assert done.stderr == "hwcls: --entity: 'team/project' is not a user or team of W&B — write its name alone\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("dashboard a b", "dashboard: takes one folder, not also b — run it for each folder"),
        ("confirm a b c", "confirm: takes one folder, not also b c — run it for each folder"),
        ("train a b", "train: takes one config, not also b — run it for each config"),
        ("explain a b c", "explain: takes a and b, not also c — leave it out"),
        ("doctor a", "doctor: takes no arguments, not also a — leave it out"),
        ("data fetch a b", "data fetch: takes one name, not also b — run it for each name"),
    ],
)
def test_too_many_arguments(words, message):
    done = invoke(*words.split())
    assert done.exit_code == 2
    assert done.stderr.strip().endswith(message)
    assert done.stderr.count("\n") == 1
