"""Starts of a sweep without Ray: the real folder, study and records, with trials whose values a function gives."""

from __future__ import annotations

from collections.abc import Callable

from ray.tune.search import Searcher

from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.run.callback import build_result
from hwcls.sweep.run.reconcile import reconcile
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.pruning import build_scheduler
from hwcls.sweep.search.searcher import FairSearch
from hwcls.sweep.storage.results_folder import open_folder

Value = Callable[..., float]  # of a job


def begin(sweep, results, trials: int | None = None, value: Value = lambda job: 0.5, finish: bool = True, source=None):
    """A start of a checked sweep: at most `trials` jobs, the last one in mid-run without `finish`; `source`: --from.

    Returns:
        The search, the scheduler, and the jobs.
    """
    sweep = check_sweep(sweep, Options(results=results))
    jobs = []
    with open_folder(results / sweep.config.name, sweep.resolved()) as folder:
        search = FairSearch(sweep, folder, Resources(1, 1, 0.0, 1), {}, source)
        scheduler = build_scheduler(sweep)
        reconcile(sweep, folder, search, scheduler)
        while trials is None or len(jobs) < trials:
            config = search.suggest(str(len(jobs)))
            if config == Searcher.FINISHED:
                break
            job = config[JOB]
            jobs.append(job)
            trial, found = folder.trial(int(job.key.rpartition("/")[2])), value(job)
            last = finish or len(jobs) != trials
            for epoch in range(1, (job.epochs if last else 1) + 1):
                trial.append_missing([{"epoch": epoch, "val/accuracy": found, "seconds": 1.0}])
            report = EpochReport(epoch, job.epochs, found, found)
            if not last:
                search.on_trial_result(str(len(jobs) - 1), report.to_result())
                break
            search.on_trial_complete(str(len(jobs) - 1), report.to_result())
            trial.write_result(build_result(trial, sweep.config.metric, "complete", job.label, dict(job.parameters)))
    return search, scheduler, jobs
