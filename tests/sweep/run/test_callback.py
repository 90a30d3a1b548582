"""The driver's callback, called by hand as Tune calls it."""

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hwcls.config.sweep import SweepConfig
from hwcls.errors import UserError
from hwcls.sweep.monitor.progress import Quiet
from hwcls.sweep.run import callback as module
from hwcls.sweep.run.callback import RecordCallback
from hwcls.sweep.search.messages import JOB, REPORT, EpochReport
from hwcls.sweep.storage.checkpoint_store import write_place
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result

CONFIG = SweepConfig(name="recorded", run_cap=2, parameters={})


def trial(number, tmp_path, error=None):
    file = tmp_path / f"error-{number}.txt"
    file.write_text(error or "")
    return SimpleNamespace(
        trial_id=f"tune-{number}",
        config={
            JOB: SimpleNamespace(
                key=f"trials/{number}",
                name=f"trials-{number}",
                label=None,
                parameters={},
                extra={},
                epochs=9,
                keep="best",
            )
        },
        error_file=str(file) if error else None,
        run_metadata=SimpleNamespace(num_failures=2),
        last_result=None,
    )


def line(epoch):
    return {"epoch": epoch, "val/accuracy": 0.5}


def result(epoch):
    return EpochReport(epoch, 9, 0.5, 0.5, tuple(line(n) for n in range(1, epoch + 1))).to_result()


@pytest.fixture
def callback(tmp_path):
    return RecordCallback(SweepFolder(tmp_path), CONFIG, Quiet(), lambda: None)


@pytest.fixture
def two(callback, tmp_path):
    trials = [trial(n, tmp_path) for n in range(2)]
    for each in trials:
        callback.on_trial_start(0, trials, each)
    return trials


def test_an_interrupt_waits_until_every_running_trial_is_saved(callback, two, tmp_path):
    calls = []
    callback.interrupt_when_saved(lambda: calls.append("now"))
    for each in two:
        assert calls == []
        found = result(1)
        callback.on_trial_result(0, two, each, found)
        assert found["should_checkpoint"]
        callback.on_checkpoint(0, two, each, SimpleNamespace(path=str(tmp_path)))
    assert calls == ["now"]
    callback.on_checkpoint(0, two, two[0], SimpleNamespace(path=str(tmp_path)))
    assert calls == ["now"]


def test_no_checkpoint_is_requested_of_a_trial_that_the_ranks_no_longer_hold(callback, two):
    for saveable in (True, False):
        report = EpochReport(1, 9, 0.5, 0.5, (line(1),), failure="the model ends the process", saveable=saveable)
        found = report.to_result()
        callback.on_trial_result(0, two, two[0], found)
        assert found.get("should_checkpoint", False) == saveable


def test_an_interrupt_does_not_wait_for_what_does_not_run(callback):
    calls = []
    callback.interrupt_when_saved(lambda: calls.append("now"))
    assert calls == ["now"]


def test_a_trial_that_restarts_is_not_waited_for(callback, two, tmp_path):
    calls = []
    callback.on_trial_recover(0, two, trial(0, tmp_path, error="ValueError: x"))
    callback.interrupt_when_saved(lambda: calls.append("now"))
    callback.on_trial_recover(0, two, trial(1, tmp_path, error="ValueError: x"))
    assert calls == ["now"]


def test_restarts_are_forgotten_with_a_new_epoch(callback, two):
    callback.on_trial_result(0, two, two[0], result(1))
    assert two[0].run_metadata.num_failures == 0
    two[0].run_metadata.num_failures = 1
    callback.on_trial_result(0, two, two[0], result(1))  # the same epoch, trained again
    assert two[0].run_metadata.num_failures == 1


@pytest.mark.parametrize("hook", ["on_trial_recover", "on_trial_error"])
def test_a_workers_full_disk_ends_the_sweep_and_fails_no_trial(callback, tmp_path, hook):
    full = trial(0, tmp_path, error="Traceback\nOSError: [Errno 28] No space left on device: '/x/state.pt'\n")
    with pytest.raises(UserError, match="the disk is full") as raised:
        getattr(callback, hook)(0, [full], full)
    assert "resumes" in raised.value.remedy
    assert "No space left on device: '/x/state.pt'" in raised.value.what
    assert callback._folder(full.config[JOB]).result() is None


def test_what_cannot_be_kept_of_a_checkpoint_ends_the_sweep(callback, two, monkeypatch, tmp_path):
    """Tune drops what is raised in on_checkpoint: the trial must not stand as complete without its weights."""

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "copy_outputs", full)
    callback.on_trial_result(0, two, two[0], result(9))
    callback.on_checkpoint(0, two, two[0], SimpleNamespace(path=str(tmp_path)))
    two[0].last_result = result(9)
    for hook in (callback.on_step_end, callback.on_trial_complete):
        with pytest.raises(OSError, match="No space"):
            hook(0, two, **({"trial": two[0]} if hook == callback.on_trial_complete else {}))
    assert callback._folder(two[0].config[JOB]).result() is None


def test_what_was_written_while_a_trial_trained_is_kept_and_its_files_are_linked(callback, two, tmp_path):
    (tmp_path / "sweep.yaml").write_text("name: recorded\n")
    folder = callback._folder(two[0].config[JOB])
    for epoch in (1, 2, 3):
        saved = Path(callback.folder.saved_in("trials-0"), f"checkpoint_{epoch:06d}")
        saved.mkdir(parents=True)
        (saved / "best.safetensors").write_bytes(b"best of %d" % epoch)
        found = result(epoch)
        found[REPORT] = replace(found[REPORT], checkpoint=str(saved))
        callback.on_trial_result(0, two, two[0], found)
        assert "should_checkpoint" not in found
        assert (folder.path / "best.safetensors").samefile(saved / "best.safetensors")
    assert [Path(path).name for path in folder.checkpoints()] == ["checkpoint_000003", "checkpoint_000002"]
    assert {path.name for path in saved.parent.iterdir()} == {"checkpoint_000003", "checkpoint_000002"}


def test_what_restarts_left_unreported_goes_once_it_is_older_than_what_a_trial_resumes_from(callback, two, tmp_path):
    (tmp_path / "sweep.yaml").write_text("name: recorded\n")
    saved_in, left = Path(callback.folder.saved_in("trials-0")), []
    for epoch in range(1, 10):
        (saved_in / f"checkpoint_{epoch:06d}").mkdir(parents=True)
        if epoch % 3 == 0:  # the ranks died before they could report it
            continue
        report = EpochReport(epoch, 9, 0.5, 0.5, checkpoint=str(saved_in / f"checkpoint_{epoch:06d}"))
        callback.on_trial_result(0, two, two[0], report.to_result() | {"done": False})
        left.append(sorted(int(path.name[-6:]) for path in saved_in.iterdir()))
    assert left == [[1], [1, 2], [2, 3, 4], [4, 5], [5, 6, 7], [7, 8]]


def test_the_place_that_tune_has_is_followed_and_goes_with_the_trial(callback, two, tmp_path):
    (tmp_path / "sweep.yaml").write_text("name: recorded\n")
    saved = Path(callback.folder.saved_in("trials-0"))
    for epoch in (8, 9):
        (saved / f"checkpoint_{epoch:06d}").mkdir(parents=True)
        (saved / f"checkpoint_{epoch:06d}/best.safetensors").write_bytes(b"%d" % epoch)
        (tmp_path / f"tune/t/checkpoint_{epoch}").mkdir(parents=True)
        named = tmp_path / f"tune/t/checkpoint_{epoch}"
        write_place(named, str(saved / f"checkpoint_{epoch:06d}"))
        callback.on_trial_result(0, two, two[0], found := result(epoch))
        callback.on_checkpoint(0, two, two[0], SimpleNamespace(path=str(named)))
        assert [path.name for path in named.parent.iterdir()] == [named.name]  # Tune restores the latest
    folder = callback._folder(two[0].config[JOB])
    assert (folder.path / "best.safetensors").read_bytes() == b"9"
    (saved / "checkpoint_000007").mkdir()  # which a restart left
    two[0].last_result = found
    callback.on_trial_complete(0, two, two[0])
    assert folder.result().status == "complete"
    assert not saved.exists()
    assert not named.exists()


def checkpoints(folder, count):
    for number in range(count):
        path = folder.path.parents[1] / "tune" / folder.path.name / f"checkpoint_{number:06d}"
        path.mkdir(parents=True)
        folder.add_checkpoint(str(path))


def test_a_paused_trial_keeps_one_checkpoint_and_has_no_result(callback, two, tmp_path):
    (tmp_path / "sweep.yaml").write_text("name: recorded\n")
    callback.on_trial_result(0, two, two[0], found := result(3))
    two[0].last_result = found
    folder = SweepFolder(tmp_path).trial(0)
    checkpoints(folder, 2)
    callback.paused = {"trials/0"}
    callback.on_trial_complete(0, two, two[0])
    assert folder.result() is None
    assert len(folder.checkpoints()) == 1
    assert folder.checkpoints()[0].endswith("checkpoint_000001")
    waiting = folder.paused()
    assert (waiting.status, waiting.best) == ("stopped", {"epoch": 1, "val/accuracy": 0.5})
    assert callback.running == {"tune-1"}
    shown = []
    callback.progress = SimpleNamespace(started=lambda *told: shown.append(told))
    callback.on_trial_start(0, two, two[0])  # it continues, as another trial for Tune
    assert folder.paused() is None
    assert shown == [("trials/0", None, {}, 3, 9, 0.5)]  # with the best value that it has reached


def test_where_it_went_on_an_old_mark_means_nothing(tmp_path):
    """The driver was killed between its mark and its end."""
    folder = SweepFolder(tmp_path).trial(0)
    folder.append(line(1))
    folder.pause(Result("stopped", None, None, {}, 0.0))
    assert folder.paused() is not None
    folder.append(line(2))
    assert folder.paused() is None
