"""The one call of Ray Tune."""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ray import tune

from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.callback import RecordCallback
from hwcls.sweep.run.tune_private import no_output, no_snapshots, plain_actors
from hwcls.sweep.search.messages import job_of
from hwcls.sweep.search.pruning import FifoScheduler
from hwcls.tracking.folders import SweepFolder, TrialFolder


class FiniteSearcher(Protocol):
    """A Tune searcher that knows when no trial is left."""

    @property
    def finished(self) -> bool: ...
    @property
    def running(self) -> Collection[str]: ...  # trials that have not ended, by Tune's id


def tune_run(
    trainable: Any,
    opened: SweepFolder,
    search: FiniteSearcher,
    scheduler: Any,
    callback: RecordCallback,
    resources: Resources,
    max_restarts: int,
) -> bool:
    """Run the trials of `search` with Tune.

    `trainable` takes a Job for each trial and reports EpochReports, as WarmGroup does. The callback removes old
    checkpoints: with Tune's `num_to_keep` Tune would write all trials there ever were to disk with each removal.

    Returns:
        Whether it was interrupted before the end.
    """
    scheduler = scheduler or FifoScheduler()
    scheduler.stop_requested = lambda key: TrialFolder(opened.path / key).stop_requested()
    with _keep_signal_handlers(), plain_actors(), no_snapshots(), no_output():
        tune.run(
            trainable,
            name="tune",
            storage_path=str(opened.path.resolve()),
            search_alg=search,
            scheduler=scheduler,
            callbacks=[callback],
            num_samples=-1,
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            max_failures=max_restarts,
            trial_dirname_creator=lambda trial: f"{job_of(trial).name}-{trial.trial_id}",
            raise_on_failed_trial=False,
            verbose=0,
        )
    return bool(search.running) or not search.finished


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Tune leaves its own handlers behind, which would ignore a Ctrl-C after the trials."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
