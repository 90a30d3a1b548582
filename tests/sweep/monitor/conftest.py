"""What the tests of the monitor share."""

import pytest


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("hwcls.sweep.monitor.eta.time.monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait
