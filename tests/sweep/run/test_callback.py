"""The driver's callback, told by hand what Tune tells it."""

import errno
from types import SimpleNamespace

import pytest

from hwcls.config.sweep import SweepConfig
from hwcls.errors import UserError
from hwcls.sweep.monitor.progress import Quiet
from hwcls.sweep.run import callback as module
from hwcls.sweep.run.callback import Recorder
from hwcls.tracking.folders import SweepFolder

CONFIG = SweepConfig(name="told", run_cap=2, parameters={})


def trial(number, tmp_path, error=None):
    file = tmp_path / f"error-{number}.txt"
    file.write_text(error or "")
    return SimpleNamespace(
        trial_id=f"tune-{number}",
        config={"key": f"trials/{number}", "label": None, "parameters": {}, "config": {"epochs": 9}},
        error_file=str(file) if error else None,
        run_metadata=SimpleNamespace(num_failures=2),
        last_result=None,
    )


def line(epoch):
    return {"epoch": epoch, "val/accuracy": 0.5}


def result(epoch, done=False):
    return {"epoch": epoch, "records": [line(n) for n in range(1, epoch + 1)], "done": done}


@pytest.fixture
def told(tmp_path):
    return Recorder(SweepFolder(tmp_path), CONFIG, Quiet(), lambda: None)


@pytest.fixture
def two(told, tmp_path):
    trials = [trial(n, tmp_path) for n in range(2)]
    for each in trials:
        told.on_trial_start(0, trials, each)
    return trials


def test_leaving_waits_until_every_running_trial_is_saved(told, two, tmp_path):
    calls = []
    told.leave(lambda: calls.append("now"))
    for each in two:
        assert calls == []
        found = result(1)
        told.on_trial_result(0, two, each, found)
        assert found["should_checkpoint"]
        told.on_checkpoint(0, two, each, SimpleNamespace(path=str(tmp_path)))
    assert calls == ["now"]
    told.on_checkpoint(0, two, two[0], SimpleNamespace(path=str(tmp_path)))
    assert calls == ["now"]


def test_leaving_does_not_wait_for_what_does_not_run(told):
    calls = []
    told.leave(lambda: calls.append("now"))
    assert calls == ["now"]


def test_a_trial_that_restarts_is_not_waited_for(told, two, tmp_path):
    calls = []
    told.on_trial_recover(0, two, trial(0, tmp_path, error="ValueError: x"))
    told.leave(lambda: calls.append("now"))
    told.on_trial_recover(0, two, trial(1, tmp_path, error="ValueError: x"))
    assert calls == ["now"]


def test_restarts_are_forgotten_with_a_new_epoch(told, two):
    told.on_trial_result(0, two, two[0], result(1))
    assert two[0].run_metadata.num_failures == 0
    two[0].run_metadata.num_failures = 1
    told.on_trial_result(0, two, two[0], result(1))  # the same epoch, trained again
    assert two[0].run_metadata.num_failures == 1


@pytest.mark.parametrize("hook", ["on_trial_recover", "on_trial_error"])
def test_a_workers_full_disk_ends_the_sweep_and_fails_no_trial(told, tmp_path, hook):
    full = trial(0, tmp_path, error="Traceback\nOSError: [Errno 28] No space left on device: '/x/state.pt'\n")
    with pytest.raises(UserError, match="the disk is full") as raised:
        getattr(told, hook)(0, [full], full)
    assert "resumes" in raised.value.remedy
    assert "No space left on device: '/x/state.pt'" in raised.value.what
    assert told._folder(full).result() is None


def test_what_cannot_be_kept_of_a_checkpoint_ends_the_sweep(told, two, monkeypatch, tmp_path):
    """Tune drops what is raised in on_checkpoint: the trial must not stand as complete without its weights."""

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "copy_outputs", full)
    told.on_trial_result(0, two, two[0], result(9, done=True))
    told.on_checkpoint(0, two, two[0], SimpleNamespace(path=str(tmp_path)))
    two[0].last_result = result(9, done=True)
    for hook in (told.on_step_end, told.on_trial_complete):
        with pytest.raises(OSError, match="No space"):
            hook(0, two, **({"trial": two[0]} if hook == told.on_trial_complete else {}))
    assert told._folder(two[0]).result() is None
