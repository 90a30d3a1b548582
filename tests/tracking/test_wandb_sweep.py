"""What W&B gets of a sweep as a whole: a real wandb client against the server on the loopback."""

from __future__ import annotations

import json
import time

import pytest

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.tracking.follower import Follower
from hwcls.tracking.tracker import Alert, Axis, SweepSummary
from hwcls.tracking.wandb import run
from hwcls.tracking.wandb.report import save_report
from hwcls.tracking.wandb.sync import sync_sweep
from tests.tracking.readers import inspect

pytestmark = pytest.mark.slow


def recorded_artifacts(path):
    """Name and aliases of the artifacts in an offline run."""
    records = [one["artifact"] for one in inspect(path, path.stat().st_mtime_ns) if one["type"] == "artifact"]
    return [(one["name"], set(one["aliases"])) for one in records]


ANSWER = "On test cnn has the highest accuracy."
ALERT = Alert("hwcls demo: ended", ANSWER, "INFO")


@pytest.fixture
def summary(sweep):
    """Of the sweep, with a page."""
    page = sweep.path / "report.html"
    page.write_text("<html>page</html>")
    rows = [{"alternative": "cnn", "trials": 2}, {"alternative": "a|b", "trials": 1}]
    return SweepSummary("demo", "p", "val/accuracy", "maximize", [Axis("lr", log=True)], ANSWER, rows, page)


def configure(sweep, **settings):
    text = json.dumps({"name": "demo", "compare": "model", "trackers": {"wandb": settings}})
    (sweep.path / "sweep.yaml").write_text(text)


def make_best(sweep, key):
    """best/ as the end of a sweep writes it."""
    sweep.best.path.mkdir(exist_ok=True)
    about = {"run": key, "why": "", "weights": {"sha256": "", "bytes": 7}}
    (sweep.best.path / "best.json").write_text(json.dumps(about))
    (sweep.best.path / "best.safetensors").write_bytes(key.encode())
    (sweep.best.path / "config.yaml").write_text("seed: 0")
    (sweep.best.path / "notes.txt").write_text("of the user")


def track(sweep, summary, mode="online", alert=None):
    """One start of a sweep that ends; what could not be shown of it."""
    (tracker,) = TRACKERS["wandb"].open(sweep, mode)
    follower = Follower(sweep, [tracker], "p")
    while follower.poll():
        assert follower.undelivered() == {}
    problems = tracker.conclude(summary, alert)
    follower.close()
    return problems


def test_runs_are_called_as_the_sweep_file_says(sweep, server, summary):
    configure(sweep, entity="team", tags=["thesis", "small"], notes="why", group="mine", job_type="classify")
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    assert track(sweep, summary) == []
    (own,) = server.runs.values()
    first = own["upserts"][0]
    assert (own["group"], own["kind"], first["entity"], first["notes"]) == ("mine", "classify", "team", "why")
    assert first["tags"] == ["small", "demo", "thesis"]
    assert server.unknown == []


def test_best_is_an_artifact_whose_aliases_move_and_that_the_registry_links(sweep, server, summary):
    configure(sweep, registry="model")
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    sweep.add(sweep.trial(1), range(1, 3), "complete")
    make_best(sweep, "trials/1")
    assert track(sweep, summary) == []
    (logged,) = server.logged("demo")
    assert logged["aliases"] == {"best", "latest"}
    assert sorted(logged["files"]) == ["best.json", "best.safetensors", "config.yaml"]
    assert server.artifacts.links == [("org-entity", "wandb-registry-model", "demo", ["best"], logged["id"])]
    sweep.add(sweep.confirm_run("small", 1007001), range(1, 3), "complete")
    make_best(sweep, "confirm/small/1007001")
    assert track(sweep, summary) == []
    assert server.logged("demo")[-1]["aliases"] == {"best", "confirmed", "latest"}
    assert server.artifacts.links[-1][3] == ["best", "confirmed"]
    assert server.unknown == []


def test_the_page_is_an_artifact_once_and_an_alert_is_sent(sweep, server, summary):
    configure(sweep, page=True)
    assert track(sweep, summary, alert=ALERT) == []
    assert track(sweep, summary) == []
    assert [one["files"] for one in server.logged("demo-page")] == [["report.html"]]
    assert server.alerts == [("hwcls demo: ended", ANSWER, "INFO")]
    (own,) = server.runs.values()
    assert (own["name"], own["kind"], own["state"], own["summary"]["answer"]) == ("demo", "sweep", "finished", ANSWER)
    summary.page.write_text("<html>another</html>")
    assert track(sweep, summary) == []
    assert len(server.logged("demo-page")) == 2
    assert server.unknown == []


def test_another_entity_gets_the_page_too(sweep, server, summary, monkeypatch):
    configure(sweep, page=True)
    assert track(sweep, summary) == []
    monkeypatch.setenv("WANDB_ENTITY", "team")
    assert [track(sweep, summary), track(sweep, summary)] == [[], []]
    assert len(server.logged("demo-page")) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_report_is_saved_and_later_replaced(sweep, server, summary):
    pytest.importorskip("wandb_workspaces", reason="pip install 'hwcls[workspace]'")
    configure(sweep, report=True)
    for _ in range(2):
        assert track(sweep, summary) == []
    (saved,) = server.views.values()
    assert (saved["type"], saved["displayName"], saved["description"]) == ("runs", "hwcls demo", ANSWER)
    blocks = json.loads(saved["spec"])["blocks"]
    assert "| cnn | 2 |\n| a\\|b | 1 |" in next(one["content"] for one in blocks if one["type"] == "markdown-block")
    grids = [one["metadata"] for one in blocks if one["type"] == "panel-grid"]
    for (runs,) in (grid["runSets"] for grid in grids):
        (chosen,) = runs["filters"]["filters"]
        assert (chosen["key"], chosen["value"]) == ({"section": "config", "name": "sweep"}, "demo")
    panels = [panel["viewType"] for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    assert {"Run History Line Plot", "Parallel Coordinates Plot", "Parameter Importance", "Scatter Plot"} <= set(panels)
    assert server.unknown == []


@pytest.mark.filterwarnings("ignore")
def test_a_report_is_of_the_entity_of_the_runs_and_replaced_until_that_changes(sweep, server, summary, monkeypatch):
    pytest.importorskip("wandb_workspaces", reason="pip install 'hwcls[workspace]'")
    configure(sweep, report=True, entity="file")
    monkeypatch.setenv("WANDB_ENTITY", "variable")
    for _ in range(2):
        assert track(sweep, summary) == []
    assert [one["entityName"] for one in server.views.values()] == ["variable"]
    for _ in range(2):
        save_report(sweep, summary, "option")
    assert [one["entityName"] for one in server.views.values()] == ["variable", "option"]
    monkeypatch.delenv("WANDB_ENTITY")
    assert track(sweep, summary) == []
    assert [one["entityName"] for one in server.views.values()] == ["variable", "option", "file"]


def test_nothing_that_fails_fails_the_sweep(sweep, server, summary):
    """One line each; a later sync links what the registry did not take."""
    configure(sweep, registry="model/flowers", page=True)
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    make_best(sweep, "trials/0")
    server.artifacts.has_registry = False
    (problem,) = track(sweep, summary)
    assert problem.startswith("W&B did not take the link in the registry: Unable to find organization for entity 'me'")
    assert "\n" not in problem
    assert problem in (sweep.path / "tracking.log").read_text()
    assert server.epochs() == {"small-0": [1, 2], "demo": []}
    with pytest.raises(UserError, match="did not take the link"):
        sync_sweep(sweep, "p", summary=summary)
    server.artifacts.has_registry = True
    assert sync_sweep(sweep, "p", summary=summary) == 1
    assert [link[1:3] for link in server.artifacts.links] == [("wandb-registry-model", "flowers")]
    assert sync_sweep(sweep, "p", summary=summary) == 0
    assert len(server.artifacts.links) == len(server.logged("demo-page")) == 1


def test_a_server_that_is_down_at_the_end_costs_a_line(sweep, server, summary, monkeypatch):
    configure(sweep, page=True, report=True)
    (tracker,) = TRACKERS["wandb"].open(sweep, "online")
    monkeypatch.setattr(run, "INIT_SECONDS", 2.0)
    server.status = 500
    began = time.monotonic()
    problems = tracker.conclude(summary, ALERT)
    assert time.monotonic() - began < 10
    (problem,) = problems
    assert problem.startswith("W&B did not take page, report and alert: ")
    assert "\n" not in problem


def test_offline_the_artifacts_are_recorded_and_synced_later(sweep, server, summary):
    configure(sweep, registry="model", page=True, report=True)
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    make_best(sweep, "trials/0")
    problems = track(sweep, summary, "offline", ALERT)
    assert problems == [
        f"W&B's registry gets the weights when `hwcls wandb sync {sweep.path}` uploads them",
        "W&B is offline and got no report and no alert",
    ]
    assert server.runs == {}
    logged = [one for path in (sweep.path / "wandb").glob("offline-run-*/*.wandb") for one in recorded_artifacts(path)]
    assert dict(logged) == {"demo": {"best", "latest"}, "demo-page": {"latest"}}
    assert sync_sweep(sweep, "p", summary=summary) == 1
    assert [len(server.logged(name)) for name in ("demo", "demo-page")] == [1, 1]
    assert server.artifacts.links[0][3] == ["best"]
    assert not list((sweep.path / "wandb").glob("offline-run-*"))
