"""Faults injected into a running sweep, and the checks of its results afterwards.

The sweep trains a user's own model that writes a line for each training step, so that work done twice can be counted,
sleeps, so that an epoch is slow on a busy machine as well, and injects the fault that a marker file is named after.
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from hwcls.training.trainer import derive_seed

MODEL = """
import os
import time
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, classes, folder, pause):
        super().__init__()
        self.layer, self.folder, self.pause = nn.Linear(inputs, classes), Path(folder), pause

    def injected(self, name):
        try:
            os.rename(self.folder / name, self.folder / f"{name}.{os.getpid()}")
            return True
        except OSError:
            return False

    def forward(self, x):
        scale = 1.0
        if self.training and torch.is_grad_enabled() and len(x) > 2:  # the check before the start has 2
            with open(self.folder / "steps", "a") as log:
                log.write(f"{torch.initial_seed()} {os.getpid()} {time.time()}\\n")
            time.sleep(self.pause)
            if self.injected("raise"):
                raise RuntimeError("broken on purpose")
            if self.injected("hang"):
                time.sleep(1e6)
            if self.injected("memory"):
                raise torch.OutOfMemoryError("CUDA out of memory, injected")
            scale = float("nan") if self.injected("nan") else 1.0
        return self.layer(x.flatten(1)) * scale


def build(classes, channels, image_size, folder, pause):
    return Net(channels * image_size**2, classes, folder, pause)
"""
STEPS = 3  # an epoch has


@dataclass
class Disturbed:
    """One sweep with its steps on record.

    Args:
        folder: Of the sweep file, the model and the results.
        trials: Of the search, drawn at random, never stopped early.
        epochs: Of each.
        pause: Seconds that a step takes.
        changes: Further entries of the sweep file.
    """

    folder: Path
    trials: int = 3
    epochs: int = 8
    pause: float = 0.1
    changes: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "counted.py").write_text(MODEL)
        model = {"name": f"{self.folder}/counted.py:build", "folder": str(self.folder), "pause": self.pause}
        values = {
            "name": "disturbed",
            "method": "random",
            "run_cap": self.trials,
            "track": [],
            "hang_after": 60,
            **self.changes,
            "parameters": {
                "data": {"name": "digits", "batch_size": 64, "per_class": 20},
                "model": model,
                "optimizer": {"name": "adam", "lr": {"min": 1e-3, "max": 1e-1, "log": True}},
                "epochs": self.epochs,
            },
        }
        self.file = self.folder / "disturbed.yaml"
        self.file.write_text(yaml.safe_dump(values, sort_keys=False))
        self.results = self.folder / "results"
        self.path = self.results / "disturbed"
        self.raylets: set[int] = set()

    def sent(self) -> Path:
        """The sweep file as it can be submitted: with a relative path to its model."""
        values = yaml.safe_load(self.file.read_text())
        values["parameters"]["model"]["name"] = "counted.py:build"
        self.file.write_text(yaml.safe_dump(values, sort_keys=False))
        return self.file

    def steps(self) -> list[tuple[int, int, float]]:
        """(seed of the epoch, process, time) of each training step so far."""
        try:
            lines = (self.folder / "steps").read_text().splitlines()
        except FileNotFoundError:
            return []
        rows = [line.split() for line in lines]
        return [(int(row[0]), int(row[1]), float(row[2])) for row in rows if len(row) == 3]

    def wait_until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not reached():
            assert time.monotonic() < end, f"only {len(self.steps())} steps"
            time.sleep(0.02)

    def wait_for_epochs(self, trial: int, count: int) -> None:
        """Until a trial has so many epochs on record."""
        self.wait_until(lambda: len(self.numbers().get(trial, [])) >= count)

    def inject(self, fault: str) -> None:
        """Inject a fault into the next step of any trial: raise, hang, memory or nan."""
        (self.folder / fault).touch()

    def done_twice(self) -> dict[int, float]:
        """For each trial the epochs that were trained more than once, in epochs."""
        counted = Counter(seed for seed, _, _ in self.steps())
        return {
            trial: sum(max(0, counted[seed] - STEPS) for seed in seeds) / STEPS for trial, seeds in self.seeds().items()
        }

    def seeds(self) -> dict[int, list[int]]:
        """The seed of each epoch of each trial."""
        found = {}
        for path in self.path.glob("trials/*/config.yaml"):
            seed = yaml.safe_load(path.read_text())["seed"]
            found[int(path.parent.name)] = [derive_seed(seed, epoch, 0) for epoch in range(1, self.epochs + 1)]
        return found

    def numbers(self) -> dict[int, list[dict]]:
        """Each trial's records without their times."""
        found = {}
        for path in self.path.glob("trials/*/metrics.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            times = ("seconds", "images_per_second")
            found[int(path.parent.name)] = [{k: v for k, v in line.items() if k not in times} for line in lines]
        return dict(sorted(found.items()))

    def recovered(self, since: float) -> float | None:
        """Seconds from `since` until every trial that it interrupted trains again, on another process; None: none."""
        again: list[float] = []
        for trial in self.seeds():
            steps = [(pid, when) for seed, pid, when in self.steps() if seed in self.seeds()[trial]]
            before = [pid for pid, when in steps if when <= since]
            after = [when for pid, when in steps if before and when > since and pid != before[-1]]
            again += after[:1]
        return max(again) - since if again else None

    def rank(self, trial: int | None = None) -> int:
        """The process of the latest step, of any trial or of one."""
        seeds = self.seeds().get(trial)
        pid = [pid for seed, pid, _ in self.steps() if not seeds or seed in seeds][-1]
        self.raylets.add(psutil.Process(pid).ppid())
        return pid

    def busy_rank(self) -> int:
        """A process in the middle of its trial, as soon as there is one."""
        self.wait_until(lambda: len(self.steps()) > self.epochs * STEPS // 2)
        return self.rank()

    def supervisors(self) -> list[int]:
        """The processes that supervise ranks, of the same Ray as the latest step."""
        return [pid for pid, title in _at_work(psutil.Process(self.rank()).ppid()) if "Rank" not in title]

    def check(self, undisturbed: dict[int, list[dict]]) -> None:
        """What holds after any fault that a sweep survives: nothing lost, nothing twice, nothing left running."""
        found = self.numbers()
        assert list(found) == list(range(self.trials))
        for number, lines in found.items():
            assert [line["epoch"] for line in lines] == list(range(1, self.epochs + 1)), number
            result = json.loads((self.path / "trials" / str(number) / "result.json").read_text())
            assert result["status"] == "complete"
            assert (self.path / "trials" / str(number) / "best.safetensors").exists()
        assert found == undisturbed
        seconds = STEPS * self.pause
        for number, epochs in self.done_twice().items():
            assert epochs <= 1 or epochs * seconds <= 30, number
        self.check_nothing_runs()

    def check_nothing_runs(self) -> None:
        """No rank and no supervisor lives on under a Ray that this sweep has run on."""
        end = time.monotonic() + 30
        while left := [found for raylet in self.raylets for found in _at_work(raylet)]:
            assert time.monotonic() < end, left
            time.sleep(0.2)


def kill(pid: int, sent: int = signal.SIGKILL) -> None:
    os.kill(pid, sent)


def _at_work(raylet: int) -> list[tuple[int, str]]:
    """(process, title) of every worker of a Ray node that is an actor or runs a task."""
    found = []
    try:
        for child in psutil.Process(raylet).children():
            title = " ".join(child.cmdline())
            if title.startswith("ray::") and not title.strip().endswith(("IDLE", "Agent")):
                found.append((child.pid, title))
    except psutil.NoSuchProcess:
        pass
    return found
