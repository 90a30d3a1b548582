"""Everything that hwcls uses of Ray Tune's private API: check it when Ray is upgraded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITTEN_FOR = "2.60"  # the Ray release; tests/sweep/run/test_tune_private.py compares it with the installed one


@contextmanager
def no_snapshots() -> Iterator[None]:
    """Tune neither writes the state of all trials in the block nor reads it at the end: hwcls has its own records."""
    import importlib

    from ray.tune.execution.tune_controller import TuneController

    module: Any = importlib.import_module("ray.tune.tune")
    kept = TuneController.checkpoint, module.ExperimentAnalysis
    TuneController.checkpoint = lambda self, force=False, wait=False: None
    module.ExperimentAnalysis = lambda **given: None
    try:
        yield
    finally:
        TuneController.checkpoint, module.ExperimentAnalysis = kept


def release_trial(trial: Any) -> None:
    """Let go of what Tune keeps of a trial that has ended: its job, of thousands the most of the driver's memory.

    Its last result and its last checkpoint have copies of it, as Tune's trainables add their config to results.
    """
    trial.config = trial._Trial__unresolved_config = trial.evaluated_params = {}
    known = trial.run_metadata
    known.last_result, known.metric_analysis, known.metric_n_steps, known.checkpoint_manager = {}, {}, {}, None


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
