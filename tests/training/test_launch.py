"""The ranks of one machine: where one fails, dies or hangs, all end soon, and one line names the cause."""

import errno
import itertools
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from torch import nn

from hwcls.errors import UserError
from hwcls.training import launch as module
from hwcls.training.distributed import wrap_ddp
from hwcls.training.errors import MemoryRanOutError, is_lost_peer
from hwcls.training.launch import launch

SOON = 10.0  # seconds from the failure to the end of all ranks
FAILING = 1  # the rank that does


class Broken(torch.autograd.Function):
    """Fails in the backward pass."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("broken in backward")


def _fail(folder, stage):
    (folder / "failed").write_text(str(time.time()))
    raise ValueError(f"broken in {stage}")


def _train(world, folder, stage):
    """Three steps and a checkpoint, as a training has them; FAILING fails at `stage`, the others wait for it."""
    torch.set_num_threads(1)
    (folder / f"pid-{world.rank}").write_text(str(os.getpid()))
    fails = world.rank == FAILING
    if fails and stage == "start":
        _fail(folder, stage)
    model = nn.Linear(4, 2)
    ddp = wrap_ddp(model, world)
    for step in range(3):
        now = fails and step == 1
        if now and stage == "forward":
            _fail(folder, stage)
        out = ddp(torch.ones(2, 4))
        if now and stage == "backward":
            (folder / "failed").write_text(str(time.time()))
            out = Broken.apply(out)
        out.sum().backward()
        if now and stage == "all-reduce":
            (folder / "failed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        world.sum(torch.ones(1))
    if stage == "checkpoint" and fails:
        _fail(folder, stage)
    world.sum(torch.ones(1))  # the others begin the next epoch
    if stage == "leave" and fails:
        module.leave_world = lambda: _fail(folder, stage)
    if stage == "leave" and not fails:
        time.sleep(60)  # still at work


def _check_all_ended(folder, size):
    assert time.time() - float((folder / "failed").read_text()) < SOON
    pids = [int((folder / f"pid-{rank}").read_text()) for rank in range(size) if (folder / f"pid-{rank}").exists()]
    assert pids
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


STAGES = ("start", "forward", "backward", "all-reduce", "checkpoint", "leave")
OF_FOUR = ("start", "all-reduce", "leave")  # where the number of ranks may matter


@pytest.mark.parametrize(
    ("stage", "size"),
    [
        pytest.param(stage, size, marks=pytest.mark.slow if size == 2 or stage in OF_FOUR else pytest.mark.heavy)
        for size in (2, 4)
        for stage in STAGES
    ],
)
def test_a_rank_that_fails_ends_the_others(tmp_path, stage, size):
    with pytest.raises(UserError) as caught:
        launch(size, _train, tmp_path, stage)
    _check_all_ended(tmp_path, size)
    if stage == "all-reduce":
        assert str(caught.value) == "rank 1 was ended by SIGKILL — the memory may be full; the same command resumes"
    else:
        assert str(caught.value).startswith(f"rank 1 failed: ValueError: broken in {stage} (test_launch.py, line ")


def _refuse(world):
    if world.rank == FAILING:
        raise UserError("no", where="here", remedy="do that")
    world.sum(torch.zeros(1))  # waits for the other in vain


@pytest.mark.slow
def test_a_user_error_of_a_rank_is_raised_unchanged():
    with pytest.raises(UserError) as caught:
        launch(2, _refuse)
    assert str(caught.value) == "here: no — do that"


def _hang(world, folder):
    (folder / f"pid-{world.rank}").write_text(str(os.getpid()))
    if world.rank == FAILING:
        (folder / "failed").write_text(str(time.time()))
        time.sleep(600)
    world.sum(torch.zeros(1))


def _impatient(*arguments):
    module.HANG_AFTER = 4.0
    module._rank_main(*arguments)


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_its_place(tmp_path, monkeypatch):
    start = module.get_context

    def context(method):
        found = start(method)
        process = found.Process
        monkeypatch.setattr(found, "Process", lambda target, args: process(target=_impatient, args=args), raising=False)
        return found

    monkeypatch.setattr(module, "get_context", context)
    with pytest.raises(UserError) as caught:
        launch(2, _hang, tmp_path)
    _check_all_ended(tmp_path, 2)
    assert "hung: no step finished in 4.0 s; " in str(caught.value)
    assert "rank 1 was at " in str(caught.value)
    assert "test_launch.py:" in str(caught.value)
    assert "in _hang" in str(caught.value)


def _wait(world, folder):
    (folder / f"pid-{world.rank}").write_text(str(os.getpid()))
    if world.rank == FAILING:
        time.sleep(600)  # in Python
    world.sum(torch.zeros(1))  # in gloo


def _launch_and_wait(folder):
    launch(2, _wait, folder)


@pytest.mark.slow
def test_ranks_do_not_outlive_their_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from tests.training.test_launch import _launch_and_wait\n"
        "if __name__ == '__main__': _launch_and_wait(Path(sys.argv[1]))\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root}
    parent = subprocess.Popen([sys.executable, str(program), str(tmp_path)], env=environment)
    files = [tmp_path / "pid-0", tmp_path / "pid-1"]
    _await(lambda: all(file.exists() and file.read_text() for file in files), 60)
    ranks = [int(file.read_text()) for file in files]
    parent.kill()
    parent.wait(SOON)
    _await(lambda: not any(psutil.pid_exists(rank) for rank in ranks), SOON)


def _await(reached, seconds):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_several_ranks_on_one_gpu_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError) as caught:
        launch(2, _refuse)
    assert str(caught.value) == (
        "workers: each of the 2 workers needs a GPU of its own, but there are 1 — lower it, or set "
        'CUDA_VISIBLE_DEVICES="" to train on CPUs'
    )


class Ended:
    """A rank that has ended."""

    sentinel = 0

    def __init__(self, exitcode):
        self.exitcode = exitcode

    def is_alive(self):
        return False


def test_the_cause_is_told_from_its_consequences(tmp_path, capfd):
    """A rank that was killed, and one that lost it; then an error of a third one, which came first or later."""
    ranks = [Ended(1), Ended(-signal.SIGKILL), Ended(1)]
    for rank in range(3):
        module._stacks(tmp_path, rank).touch()
    lost = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    module._write_error(lost, tmp_path, 0)
    assert "rank 1 was ended by SIGKILL" in str(module._cause(ranks, tmp_path))
    module._stacks(tmp_path, 1).write_text('Timeout (0:10:00)!\n\nThread 1\n  File "mine.py", line 3 in forward\n')
    capfd.readouterr()
    assert str(module._cause(ranks, tmp_path)).startswith(
        "hung: no step finished in 10 min; rank 1 was at mine.py:3 in forward"
    )
    assert capfd.readouterr().err == f"rank 1\n{(tmp_path / 'stacks-1').read_text()}\n"  # no other one hung
    module._write_error(MemoryRanOutError(4), tmp_path, 2)
    assert module._cause(ranks, tmp_path).smaller == 4
    assert [is_lost_peer(error) for error in module._read_errors(tmp_path)] == [False, True]


def test_a_full_disk_of_a_rank_stays_an_error_of_the_system_without_a_traceback(tmp_path, capfd):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "checkpoint/state.pt")
    module._write_error(full, tmp_path, 1)
    cause = module._cause([Ended(1), Ended(1)], tmp_path)
    assert (type(cause), cause.errno, cause.filename) == (OSError, errno.ENOSPC, "checkpoint/state.pt")
    assert capfd.readouterr().err == ""
    module._write_error(OSError("of no file"), tmp_path, 0)
    assert "OSError: of no file" in capfd.readouterr().err


def test_a_rank_that_dies_while_it_is_asked_is_not_overlooked(monkeypatch):
    """Its end is seen before its exit code is there."""

    class Ending:
        sentinel = 0

        def __init__(self):
            self.codes = itertools.chain([None], itertools.repeat(-9))

        @property
        def exitcode(self):
            return next(self.codes)

    monkeypatch.setattr(module.connection, "wait", lambda sentinels: sentinels)
    assert module._one_fails([Ending(), Ended(0)])
    assert not module._one_fails([Ended(0), Ended(0)])


def test_a_lost_rank_is_all_that_is_known(tmp_path):
    """The first one ended before it could open its file."""
    assert str(module._cause([Ended(1)], tmp_path)) == "a rank ended without an error — the same command resumes"
    module._write_error(RuntimeError("[a/gloo/b.cc] Connection reset"), tmp_path, 0)
    assert "Connection reset" in str(module._cause([Ended(1)], tmp_path))
