"""Everything that hwcls uses of Ray Tune's private API: check it when Ray is upgraded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITTEN_FOR = "2.60"  # the Ray release; tests/sweep/run/test_tune_private.py compares it with the installed one


@contextmanager
def no_snapshots() -> Iterator[None]:
    """Tune neither keeps nor writes trials that have ended in the block, nor reads them at the end.

    hwcls has its own records and progress view; of thousands of trials Tune's would be most of the driver's memory.
    """
    import importlib

    from ray.tune.execution.tune_controller import TuneController

    module: Any = importlib.import_module("ray.tune.tune")
    kept = TuneController.checkpoint, module.ExperimentAnalysis, module._create_default_callbacks
    TuneController.checkpoint = _forget_ended
    module.ExperimentAnalysis = lambda **given: None
    module._create_default_callbacks = lambda callbacks, **options: callbacks  # its progress view has every trial
    try:
        yield
    finally:
        TuneController.checkpoint, module.ExperimentAnalysis, module._create_default_callbacks = kept


def _forget_ended(controller: Any, force: bool = False, wait: bool = False) -> None:
    """In place of a snapshot, which Tune takes after each event and at the end."""
    ended = controller._stopped_trials | controller._failed_trials
    for trial in ended:
        controller._trials.remove(trial)
    controller._live_trials -= ended
    for kept in (controller._stopped_trials, controller._failed_trials, controller._trials_to_cache):
        kept.clear()


@contextmanager
def plain_actors() -> Iterator[None]:
    """Tune's trials in the block run in Ray's usual workers.

    Tune gives them variables that hwcls does not use, so that they need processes that Ray's agent starts.
    """
    import ray
    from ray.tune.execution.class_cache import _ActorClassCache

    kept, _ActorClassCache.get = (
        _ActorClassCache.get,
        lambda self, trainable: self._cache.setdefault(trainable, ray.remote(trainable)),
    )
    try:
        yield
    finally:
        _ActorClassCache.get = kept


def forget_failures(trial: Any) -> None:
    """Have Tune count the restarts of a trial from 0 again, so that `max_failures` are those in a row."""
    trial.run_metadata.num_failures = 0


def request_checkpoint(result: dict[str, Any]) -> None:
    """Have Tune save the trial after this result, from a callback that is handed the result."""
    result["should_checkpoint"] = True


def error_text(trial: Any) -> str:
    """The traceback of a trial's latest error; empty where Tune wrote none."""
    path = trial.error_file
    try:
        return Path(path).read_text("utf-8") if path else ""
    except OSError:
        return ""
