"""A search by promotion on a real Ray, whose driver is killed while trials wait at a rung."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sweep.faults import STEPS, Disturbed, kill

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def command(sweep):
    words = [sys.executable, "-m", "hwcls", "sweep", str(sweep.file), "--results", str(sweep.results)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*words, "--wandb", "off"], cwd=ROOT, text=True, **pipes)


def test_paused_trials_outlive_the_driver(tmp_path):
    changes = {"early_terminate": {"type": "asha", "rule": "promotion"}, "track": ["tensorboard"]}
    sweep = Disturbed(tmp_path, trials=9, epochs=9, pause=0.05, changes=changes)
    first = command(sweep)
    sweep.wait_until(lambda: len(list(sweep.path.glob("trials/*/paused.json"))) >= 4 or first.poll() is not None)
    waiting = {path.parent.name for path in sweep.path.glob("trials/*/paused.json")}
    kill(first.pid)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, output
    before = {number: len(lines) for number, lines in sweep.numbers().items()}
    again = command(sweep)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert "paused" in output
    found = sweep.numbers()
    assert len(found) == 9
    status = {}
    for number, lines in found.items():
        assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
        assert len(lines) in (1, 3, 9)
        assert len(lines) >= before.get(number, 0)
        result = json.loads((sweep.path / f"trials/{number}/result.json").read_text())
        status[number] = result["status"]
        assert result["cost"]["parameters"] > 0
        assert (sweep.path / f"trials/{number}/best.safetensors").exists()
    assert Counter(status.values()) == {"complete": 6, "stopped": 3}
    assert all(sweep.done_twice()[int(number)] == 0 for number in waiting if before[int(number)] == 1)
    assert sum(sweep.done_twice().values()) * STEPS <= 2 * 9 * STEPS
    assert not list(sweep.path.glob("trials/*/paused.json"))
    assert not (sweep.path / "tune").exists()
    assert len(list(sweep.path.glob("tensorboard/trials/*/events*"))) == 9
