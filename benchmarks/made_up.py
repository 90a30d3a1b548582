"""What stands in for trainings and trackers in orchestration.py, so that hwcls's own driver can be measured.

Trials train nothing: they make up their curves, write small files and are saved. A few processes hold them all, so
that hundreds run at once on two cores; each of their calls crosses Ray as a real one does. The tracker's double counts.
Run as a script it is the tracking process, with that double.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hwcls.config.sweep import TRACKERS, TrackerSpec
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import RunInfo

DOUBLE = "double"  # the tracker's name in a sweep file
EVENTS = "double.json"  # in a sweep's folder: how many calls the tracker has had
IMAGES, CLASSES = 180, 10  # of the made-up predictions, as of the digits
PROCESSES = 2  # that hold the trials
SHARE = 0.005  # of a CPU, that each trial takes


@TRACKERS.register(DOUBLE)
class Double(TrackerSpec):
    """A tracker that takes everything and keeps counts."""

    problem: str | None = None

    @classmethod
    def open(cls, sweep: SweepFolder, mode: str) -> list[Double]:
        return [cls(sweep)]

    @classmethod
    def disk_bytes(cls, epochs: int) -> int:
        return 0

    def __init__(self, sweep: SweepFolder) -> None:
        self._path = sweep.path / EVENTS
        self._counts = {"start": 0, "log": 0, "finish": 0}

    def start(self, run: RunInfo) -> None:
        self._counts["start"] += 1

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        self._counts["log"] += 1

    def finish(self, run: RunInfo, result: Result | None) -> None:
        self._counts["finish"] += 1

    def close(self) -> None:
        self._path.write_text(json.dumps(self._counts), "utf-8")


def curve(parameters: Mapping[str, Any], epoch: int) -> float:
    """A made-up accuracy: best at a learning rate of 0.003, a strong decay hurts, epochs help."""
    rate = next(value for name, value in parameters.items() if name.endswith("lr"))
    decay = next(value for name, value in parameters.items() if name.endswith("weight_decay"))
    return 0.95 - 0.05 * abs(math.log10(rate / 0.003)) - decay - 0.3 * math.exp(-epoch / 2)


def made_up_trainable(*, saved_each: bool) -> Any:
    """The trainable that reports as hwcls's group of ranks does.

    Args:
        saved_each: Whether a trial is saved after each epoch, as those of long epochs are; else when the driver asks.
    """
    import numpy as np
    from ray import tune
    from safetensors.numpy import save_file

    from hwcls.sweep.search.messages import JOB, EpochReport
    from hwcls.training.artifacts import save_arrays

    random = np.random.default_rng(0)
    labels = random.integers(CLASSES, size=IMAGES)
    scores = random.dirichlet(np.ones(CLASSES), IMAGES) + 3.0 * np.eye(CLASSES)[labels]
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)

    class MadeUp(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.job, self.epoch = new_config[JOB], 0
            if self.job.checkpoints:
                self.load_checkpoint(self.job.checkpoints[0])
            return True

        def step(self) -> dict[str, Any]:
            self.epoch += 1
            value = curve(self.job.parameters, self.epoch)
            names = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/macro_f1", "lr")
            line = dict.fromkeys(names, value) | {"seconds": 0.01, "images_per_second": 1e5}
            records = ({"epoch": self.epoch, **line},)
            report = EpochReport(self.epoch, self.job.epochs, value, value, records, seconds=0.01)
            return report.to_result() | ({"should_checkpoint": True} if saved_each else {})

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "epoch").write_text(str(self.epoch), "utf-8")
            weights, about = {"w": np.zeros(2_500, np.float32)}, json.dumps({"epoch": self.epoch})
            save_file(weights, Path(checkpoint_dir, "best.safetensors"), {"hwcls": about})
            predictions = {"labels": labels, "scores": scores, "epoch": np.int64(self.epoch)}
            save_arrays(Path(checkpoint_dir, "predictions.npz"), **predictions)

        def load_checkpoint(self, checkpoint: str) -> None:
            self.epoch = int(Path(checkpoint, "epoch").read_text("utf-8"))

    return MadeUp


@contextmanager
def made_up_trainings(at_once: int, *, saved_each: bool) -> Iterator[None]:
    """hwcls's driver in the block runs made-up trials and the tracker's double.

    Args:
        at_once: Trials, for which this machine then has room.
        saved_each: As `made_up_trainable` takes it.
    """
    from hwcls.sweep import driver
    from hwcls.sweep.cluster.resources import Machine
    from hwcls.sweep.monitor.tracking_process import TrackingProcess
    from hwcls.sweep.run import trial_group, tune

    connected, start = driver.connected, TrackingProcess.start

    @contextmanager
    def with_room(address: str | None) -> Iterator[Machine]:
        with connected(address):
            yield Machine(((float(at_once), 0.0),))

    def build_trainable(*arguments: Any) -> Any:
        from ray import cloudpickle
        from ray import tune as ray_tune

        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        trainable = made_up_trainable(saved_each=saved_each)
        return ray_tune.with_resources(trainable, ray_tune.PlacementGroupFactory([{"CPU": SHARE}]))

    def start_with_double(tracking: Any) -> None:
        tracking.command = [sys.executable, __file__, str(tracking.folder), "--mode", "offline"]
        start(tracking)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(driver, "connected", with_room))
        stack.enter_context(mock.patch.object(trial_group, "build_trainable", build_trainable))
        stack.enter_context(mock.patch.object(tune, "plain_actors", _few_actors))
        stack.enter_context(mock.patch.object(TrackingProcess, "start", start_with_double))
        yield


@contextmanager
def _few_actors() -> Iterator[None]:
    """Tune's actors in the block are trainables in a few processes, as `tune_private.plain_actors` makes real ones."""
    from ray.tune.execution.class_cache import _ActorClassCache

    def get(cache: Any, trainable: Any) -> Any:
        if trainable not in cache._cache:
            cache._cache[trainable] = _Actors(trainable)
        return cache._cache[trainable]

    with mock.patch.object(_ActorClassCache, "get", get):
        yield


class _Holder:
    """Holds trainables by number, in an actor."""

    def __init__(self, trainable: Any) -> None:
        self.trainable = trainable
        self.held: dict[int, Any] = {}

    def call(self, number: int, method: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        if method == "__init__":
            self.held[number] = self.trainable(*arguments, **named)
        elif method == "stop":
            self.held.pop(number).stop()
        elif not method.startswith("__"):
            return getattr(self.held[number], method)(*arguments, **named)
        return None


class _Actors:
    """Passes for Ray's class of an actor."""

    def __init__(self, trainable: Any) -> None:
        import ray

        holder = ray.remote(num_cpus=0)(_Holder)
        self.holders, self.count = [holder.remote(trainable) for _ in range(PROCESSES)], 0
        self.passes_for = ray.actor.ActorClass

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self.passes_for

    def options(self, **options: Any) -> _Actors:
        return self

    def remote(self, *arguments: Any, **named: Any) -> _Actor:
        self.count += 1
        actor = _Actor(self.holders[self.count % len(self.holders)], self.count)
        actor.__getattr__("__init__").remote(*arguments, **named)
        return actor


class _Actor:
    """Passes for Ray's handle of an actor."""

    def __init__(self, holder: Any, number: int) -> None:
        self._holder, self._number = holder, number

    @property
    def __ray_ready__(self) -> _Method:
        return _Method(self._holder, self._number, "__ray_ready__")

    @property
    def __ray_terminate__(self) -> _Method:
        return _Method(self._holder, self._number, "stop")

    def __getattr__(self, name: str) -> _Method:
        return _Method(self._holder, self._number, name)


class _Method:
    def __init__(self, holder: Any, number: int, name: str) -> None:
        self.holder, self.number, self.name = holder, number, name

    def remote(self, *arguments: Any, **named: Any) -> Any:
        return self.holder.call.remote(self.number, self.name, arguments, named)


def main() -> None:
    from hwcls.sweep.monitor import tracking_process

    tracking_process.main(sys.argv[1:])


if __name__ == "__main__":
    main()
