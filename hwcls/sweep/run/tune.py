"""The one call of Ray Tune."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ray import tune

from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.callback import Recorder
from hwcls.sweep.search.pruning import InOrder
from hwcls.tracking.folders import SweepFolder, TrialFolder


class Source(Protocol):
    """A Tune searcher that knows when it has nothing more to hand out."""

    @property
    def finished(self) -> bool: ...
    @property
    def running(self) -> bool: ...


def tune_run(
    trainable: Any,
    opened: SweepFolder,
    search: Source,
    scheduler: Any,
    recorder: Recorder,
    resources: Resources,
    max_restarts: int,
) -> bool:
    """Let Tune run what `search` asks for; True when it was interrupted before the end.

    `trainable` goes from trial to trial and reports what `WarmGroup` does. The recorder forgets old checkpoints: were
    Tune told how many to keep, it would write all trials there ever were to disk with every such checkpoint.
    """
    scheduler = scheduler or InOrder()
    scheduler.stop_requested = lambda key: TrialFolder(opened.path / key).stop_requested()
    with _handlers_kept():
        tune.run(
            trainable,
            name="tune",
            storage_path=str(opened.path.resolve()),
            search_alg=search,
            scheduler=scheduler,
            callbacks=[recorder],
            num_samples=-1,
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            max_failures=max_restarts,
            trial_dirname_creator=lambda trial: f"{trial.config['key'].replace('/', '-')}-{trial.trial_id}",
            raise_on_failed_trial=False,
            verbose=0,
        )
    return search.running or not search.finished


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Tune leaves its own handlers behind, which would swallow the Ctrl-C of what comes after the trials."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
