"""Heavy: faults of W&B's server against the process that a sweep really starts; what each cost is printed as a table.

pytest -m heavy tests/tracking/test_wandb_table.py
"""

import os
import signal
import threading
import time

import pytest

from hwcls.sweep.monitor.tracking_process import TrackingProcess
from hwcls.tracking.wandb.sync import sync_sweep

pytestmark = pytest.mark.heavy
RUNS, EPOCHS, PACE = 4, 40, 0.25  # 10 s of epochs


class Training:
    """Writes the records as a driver does, in a thread, and measures the longest time that a line took."""

    def __init__(self, sweep, runs):
        self.sweep, self.runs, self.slowest = sweep, runs, 0.0
        self.thread = threading.Thread(target=self._write)

    def _write(self):
        for epoch in range(1, EPOCHS + 1):
            for number in range(self.runs):
                begun = time.monotonic()
                self.sweep.add(
                    self.sweep.trial(number), range(epoch, epoch + 1), "complete" if epoch == EPOCHS else None
                )
                self.slowest = max(self.slowest, time.monotonic() - begun)
            time.sleep(PACE)


@pytest.fixture
def tracked(sweep, server, record_property):
    """Trains while the process follows and `fault(server, process)` is done in the middle; then all must be there."""

    def start(name, fault, runs=RUNS, *, before=None):
        if before is not None:
            before(server)
        tracking, training = TrackingProcess(sweep.path, "online"), Training(sweep, runs)
        tracking.start()
        training.thread.start()
        begun, done = time.monotonic(), False
        while training.thread.is_alive():
            if not done and time.monotonic() - begun > 3:
                fault(server, tracking)
                done = True
            tracking.keep_alive()
            time.sleep(0.05)
        ended = time.monotonic()
        drained = tracking.finish()
        seconds = time.monotonic() - ended
        there = sum(len(set(epochs)) for epochs in server.epochs().values())
        server.status, server.delay = 200, 0.0
        sent = sync_sweep(sweep, "hwcls")  # the default project: another one would get every run
        assert server.epochs() == {f"small-{number}": list(range(1, EPOCHS + 1)) for number in range(runs)}
        assert training.slowest < 1  # training waits for nothing
        missing = runs * EPOCHS - there
        row = (name, f"{missing} of {runs * EPOCHS} rows late, {sent} runs sent by sync", f"{seconds:.1f} s to the end")
        record_property("fault", row)
        return drained, missing, sent

    return start


def later(seconds, act):
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def status(server, value):
    server.status = value


def test_no_fault(tracked):
    assert tracked("none", lambda server, tracking: None) == (True, 0, 0)


def test_32_runs_at_once(tracked):
    assert tracked("none, 32 runs at once", lambda server, tracking: None, runs=32) == (True, 0, 0)


def test_down_at_the_start(tracked):
    def before(server):
        server.status = 500
        later(8, lambda: status(server, 200))

    tracked("down for the first 8 s", lambda server, tracking: None, before=before)


@pytest.mark.parametrize("code", [500, 429, 401])
def test_refuses_for_a_while(tracked, code):
    def fault(server, tracking):
        server.status = code
        later(5, lambda: status(server, 200))

    tracked(f"{code} for 5 s", fault)


@pytest.mark.parametrize("code", [500, 401])
def test_refuses_for_ever(tracked, code):
    _, missing, sent = tracked(f"{code} for ever", lambda server, tracking: status(server, code))
    assert missing > 0
    assert sent == RUNS


def test_slow(tracked):
    def fault(server, tracking):
        server.delay = 1.5

    tracked("each answer takes 1.5 s", fault)


def test_the_process_is_killed(tracked):
    tracked("kill -9 of the process", lambda server, tracking: os.kill(tracking.process.pid, signal.SIGKILL))
