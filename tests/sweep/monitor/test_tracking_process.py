"""How often the page is written, and how the tracking process is kept alive."""

import itertools
import sys

import pytest
import yaml
from filelock import FileLock

from hwcls.sweep.monitor import tracking_process
from hwcls.sweep.monitor.tracking_process import (
    MAX_RESTART_SECONDS,
    PAGE_SECONDS,
    RESTART_SECONDS,
    PageWriter,
    TrackingProcess,
)
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.log import log_tracking, read_problems
from hwcls.tracking.tracker import serving_order


@pytest.mark.parametrize(("takes", "pause"), [(0.1, PAGE_SECONDS), (3.0, 60.0)])
def test_the_page_takes_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch, takes, pause):
    now, written = [100.0], []
    monkeypatch.setattr(tracking_process.time, "monotonic", lambda: now[0])

    def write_page(path):
        written.append(now[0])
        now[0] += takes

    page = PageWriter(SweepFolder(tmp_path), write_page)
    for ended in range(1, 2000):
        page.update(ended)
        now[0] += 0.5
    apart = [later - earlier - takes for earlier, later in itertools.pairwise(written)]
    assert len(apart) > 3
    assert apart == pytest.approx([pause] * len(apart), abs=0.5)


def test_the_page_waits_for_ended_trials(tmp_path):
    written = []
    page = PageWriter(SweepFolder(tmp_path), written.append)
    for _ in range(3):
        page.next_at = 0.0
        page.update(1)
    assert len(written) == 1


def test_a_page_that_fails_is_noted(tmp_path):
    def write_page(path):
        raise ValueError("no page")

    with log_tracking(SweepFolder(tmp_path)):
        assert not PageWriter(SweepFolder(tmp_path), write_page).write()
    assert "report.html was not written: ValueError: no page" in (tmp_path / "tracking.log").read_text()


def test_a_process_that_keeps_crashing_is_restarted_ever_more_rarely_and_reported_once(tmp_path, monkeypatch, caplog):
    now, starts = [100.0], []
    monkeypatch.setattr(tracking_process.time, "monotonic", lambda: now[0])
    found = TrackingProcess(tmp_path, "off")
    found.command = [sys.executable, "-c", "raise SystemExit(3)"]
    found.start()
    for _ in range(20):
        found.process.wait()
        before = found.process
        while found.process is before:
            now[0] += 1.0
            found.keep_alive()
        starts.append(now[0])
    apart = [later - earlier for earlier, later in itertools.pairwise([100.0, *starts])]
    assert apart[:4] == [RESTART_SECONDS, 2 * RESTART_SECONDS, 4 * RESTART_SECONDS, 8 * RESTART_SECONDS]
    assert apart[-1] == MAX_RESTART_SECONDS
    (message,) = caplog.messages
    assert message == f"the tracking process crashed twice; restarting it (see {tmp_path / 'tracking.log'})"
    assert not found.finish()


@pytest.fixture
def ended(tmp_path):
    """A results folder, and a follower of it whose standard input is closed: it drains and ends."""
    folder = tmp_path / "tiny"
    folder.mkdir()

    def track(**settings):
        (folder / "sweep.yaml").write_text(
            yaml.safe_dump({"name": "tiny", "metric": {"name": "val/accuracy"}, **settings})
        )
        found = TrackingProcess(folder, "auto")
        found.start()
        return found.finish()

    track.folder = SweepFolder(folder)
    return track


def test_the_command_that_uploads_the_rest_can_be_copied(tmp_path):
    folder = tmp_path / "my results"
    folder.mkdir()
    (folder / "sweep.yaml").write_text("track: [wandb]\n")
    [problem] = tracking_process._describe_undelivered(SweepFolder(folder), {"trials/0": "timed out"})
    assert problem == f"trials/0 did not arrive (timed out); `hwcls wandb sync '{folder}'` uploads what is missing"


@pytest.mark.slow
def test_a_last_page_that_fails_is_for_the_driver_to_write(ended):
    (ended.folder.path / "report.html").mkdir()  # no file can take its place
    assert not ended(track=[])
    assert "report.html was not written" in (ended.folder.path / "tracking.log").read_text()


@pytest.mark.slow
def test_a_tracker_that_cannot_be_opened_takes_no_other_with_it(ended, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "")
    assert ended(track=["nonsense", "tensorboard", "wandb"])
    assert (ended.folder.path / "tensorboard" / "cursor.jsonl").exists()
    unknown, offline = read_problems(ended.folder)
    assert "unknown tracker 'nonsense'" in unknown
    assert offline.startswith("W&B is offline: there are no credentials")
    assert f"hwcls wandb sync {ended.folder.path}" in offline
    assert "W&amp;B is offline: there are no credentials" in (ended.folder.path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_while_another_feeds_the_trackers_the_driver_writes_the_page(ended):
    with FileLock(ended.folder.path / ".tracking.lock"):
        assert not ended(track=[])
    assert "another process fed the trackers" in (ended.folder.path / "tracking.log").read_text()


def test_what_waits_for_a_server_comes_last():
    assert serving_order(["wandb", "tensorboard", "wandb"]) == ["tensorboard", "wandb"]
