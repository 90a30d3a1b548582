"""Everything that hwcls uses of Ray Tune's private API: check it when Ray is upgraded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITTEN_FOR = "2.60"  # the Ray release; tests/sweep/run/test_tune_private.py compares it with the installed one


@contextmanager
def no_snapshots() -> Iterator[None]:
    """Tune neither keeps nor writes trials that have ended in the block, nor reads them at the end.

    hwcls has its own records; of thousands of trials Tune's would be most of the driver's memory.
    """
    from ray.tune.execution.tune_controller import TuneController

    with (
        _replaced(TuneController, checkpoint=_forget_ended),
        _replaced(_tune_module(), ExperimentAnalysis=lambda **given: None),
    ):
        yield


@contextmanager
def no_output() -> Iterator[None]:
    """Tune shows nothing in the block: hwcls has its own progress view, and says which trials wait for nodes.

    Tune's view would keep every trial, and its warning of missing nodes goes by how many trials there are.
    """
    from ray.tune.execution.insufficient_resources_manager import _InsufficientResourcesManager

    with (
        _replaced(
            _tune_module(),
            get_air_verbosity=lambda verbose: None,  # RAY_AIR_NEW_OUTPUT=1 needs a view among the callbacks
            _create_default_callbacks=lambda callbacks, **options: callbacks,
        ),
        _replaced(_InsufficientResourcesManager, on_no_available_trials=lambda self, all_trials: None),
    ):
        yield


def _tune_module() -> Any:
    """`ray.tune.tune`, which as an attribute of `ray.tune` is something else."""
    return importlib.import_module("ray.tune.tune")


@contextmanager
def _replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Attributes of a class or a module have other values in the block."""
    kept = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)


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

    with _replaced(
        _ActorClassCache,
        get=lambda self, trainable: self._cache.setdefault(trainable, ray.remote(trainable)),
    ):
        yield


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
