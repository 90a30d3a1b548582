"""The driver of a sweep: prepare, connect, search, confirm, report; it can be killed and restarted at any moment."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls.config.sweep import ResourcesConfig
from hwcls.config.sweep_file import Sweep
from hwcls.data.disk import is_disk_full
from hwcls.errors import UserError
from hwcls.format import format_count, format_duration
from hwcls.models.user.code import accept_named
from hwcls.report.html.page import write_page
from hwcls.results.best.folder import update_best
from hwcls.results.confirm.search_end import count_tried, starts_no_more
from hwcls.sweep.cluster.connect import connected
from hwcls.sweep.cluster.resources import (
    Machine,
    Resources,
    choose_resources,
    require_usable_gpus,
    resource_notes,
    this_machine,
)
from hwcls.sweep.monitor.ending import Ending
from hwcls.sweep.monitor.eta import Ahead
from hwcls.sweep.monitor.logs import log_to_file
from hwcls.sweep.monitor.notify import notify_config, run_command
from hwcls.sweep.monitor.progress import ProgressFor
from hwcls.sweep.monitor.tracking_process import TrackingProcess
from hwcls.sweep.preflight.disk_usage import check_results_disk, estimate_disk_usage
from hwcls.sweep.preflight.dry_run import describe_tracking
from hwcls.sweep.preflight.features.disk import CacheUsage
from hwcls.sweep.preflight.notes import describe_notes
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.run import confirm_plan
from hwcls.sweep.run.background import Background
from hwcls.sweep.run.termination import Termination
from hwcls.sweep.storage import environment, results_folder
from hwcls.sweep.storage.mirror import Mirror
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.left_out import CONFIRM, find_left_out
from hwcls.training.image_size import sizes_by_title

if TYPE_CHECKING:
    from hwcls.sweep.cluster.nodes import Nodes
    from hwcls.sweep.preflight.features.jobs import FeatureJob
    from hwcls.sweep.preflight.gpu_share.choose import Measurement
    from hwcls.sweep.preflight.prepare import Prepared
    from hwcls.sweep.run.callback import RecordCallback
    from hwcls.sweep.search.searcher import FairSearch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a start of a sweep ended."""

    folder: SweepFolder
    interrupted: bool  # by Ctrl-C or SIGTERM: the same command resumes
    nothing_to_do: bool  # it had ended before
    failed: tuple[str, ...]  # keys of failed trials


def run(sweep: Sweep, options: Options, progress_for: ProgressFor) -> Outcome:
    """Run a sweep to its end, or resume it.

    Raises:
        UserError: The file, the data, a model, the folder or the machine does not permit it.
    """
    sweep = check_sweep(sweep, options)
    if options.address is None and sweep.config.resources != ResourcesConfig():  # the defaults fit any machine
        require_usable_gpus(sweep.config.resources)
        choose_resources(sweep.config.resources, this_machine(), _where(sweep))
    mirror = options.shared.mirror(sweep.config.name) if options.shared else None
    place = options.results / sweep.config.name
    with (
        results_folder.open_folder(place, sweep.resolved(), by=_changed_by(sweep, place)) as folder,
        log_to_file(folder.path / results_folder.LOG),
        mirror.uploading() if mirror else nullcontext(),
        _errors_logged(folder.path),
    ):
        if _is_finished(sweep, folder):  # its folder stays as it is, sweep.log too
            _drop_checkpoints(folder, mirror)
            _update_best(folder)  # a kill may have come before it
            for note in sweep.notes:  # its file was changed
                log.warning("%s", note)
            if sweep.notes:
                write_page(folder.path)
            return Outcome(folder, interrupted=False, nothing_to_do=True, failed=_failed(folder))
        accept_named((trial.model for trial in sweep.corners), Path(sweep.source.path), remember=True)
        environment.log_start()
        environment.write_environment(folder.path, sweep.source.changes())
        notify = notify_config(sweep)
        if notify != sweep.config.notify:
            log.warning("notify.command is not run for the sweep.yaml of a results folder; --trust-code runs it")
        tracking = TrackingProcess(folder.path, options.wandb, notify)
        try:
            interrupted = _Start(sweep, options, folder, mirror, tracking, progress_for).run()
        except BaseException as error:
            tracking.ending = Ending.of_error(error)
            raise
        finally:
            if not tracking.finish():
                write_page(folder.path)
            if notify and tracking.ending:
                run_command(notify, folder.path, tracking.ending)
        log.debug("interrupted; the same command resumes" if interrupted else "the sweep has ended")
        return Outcome(folder, interrupted=interrupted, nothing_to_do=False, failed=_failed(folder))


@dataclass(frozen=True)
class _Start:
    """One start of a sweep that has something left to do."""

    sweep: Sweep
    options: Options
    folder: SweepFolder
    mirror: Mirror | None
    tracking: TrackingProcess
    progress_for: ProgressFor

    def run(self) -> bool:
        """Prepare, connect, search, confirm; True when it was interrupted."""
        preparation = Background(self._prepare)  # while Ray starts, which takes as long
        with (
            Termination() as termination,
            preparation.raises_here(),
            connected(self.options.address) as machine,
            self.tracking.draining(),
        ):
            prepared = preparation.result()
            resources, nodes = self._place_trials(prepared, machine)
            search, scheduler = self._open_search(prepared, resources)
            self._compute_features(prepared.features, resources)
            search.spending.begin()
            callback = self._start_recording(search)
            termination.leave = callback.interrupt_when_saved
            with nodes.watched() if nodes else nullcontext():
                interrupted = self._train(search, scheduler, callback, resources)
            self.tracking.ending = Ending("interrupted" if interrupted else "ended")
            return interrupted

    def _prepare(self) -> Prepared:
        """Prepare data and models, and import Tune and Optuna, which takes seconds."""
        if self.options.address is None:
            require_usable_gpus(self.sweep.config.resources)  # before the first trial holds one
        from hwcls.sweep.preflight.prepare import prepare

        prepared = prepare(self.sweep, self.folder.path)
        from hwcls.sweep.search import searcher  # noqa: F401

        return prepared

    def _place_trials(self, prepared: Prepared, machine: Machine) -> tuple[Resources, Nodes | None]:
        """What each trial gets of this machine or cluster, and the prepared nodes of a cluster."""
        asked, where, nodes = self.sweep.config.resources, _where(self.sweep), None
        if self.options.address:
            from hwcls.sweep.cluster.nodes import wait_for_resources

            resources, machine = wait_for_resources(asked, where)
            nodes = self._prepare_nodes(prepared, resources)
        asked = self._share_gpus(asked, prepared, machine)
        resources = choose_resources(asked, machine, where)
        if nodes:
            nodes.resources = resources
        for note in resource_notes(asked, resources, machine):
            log.warning("%s", note)
        return resources, nodes

    def _prepare_nodes(self, prepared: Prepared, resources: Resources) -> Nodes:
        """The nodes of a cluster, each with the data."""
        from hwcls.sweep.cluster.nodes import Nodes
        from hwcls.sweep.storage.weights import needed_weights

        nodes = Nodes(prepared.data, needed_weights(self.sweep.corners), resources)
        nodes.prepare()
        return nodes

    def _share_gpus(self, asked: ResourcesConfig, prepared: Prepared, machine: Machine) -> ResourcesConfig:
        """The resources with `gpus_per_worker: auto` resolved, which is logged and recorded for later starts."""
        from hwcls.sweep.preflight.gpu_share.resolve import resolve_share, with_share

        def measure() -> Measurement:
            from hwcls.sweep.preflight.gpu_share.with_ray import measure_with_ray
            from hwcls.sweep.preflight.prepare import list_heaviest

            log.info("measuring what the heaviest trials take of a GPU (gpus_per_worker: auto)")
            return measure_with_ray(list_heaviest(self.sweep, prepared.sources))

        share = resolve_share(asked, machine, self.folder.path, measure)
        if share is not None:
            log.info("%s", share)
            if share.is_measured:
                environment.write_gpu_share(self.folder.path, share.gpus_per_worker, share.reason)
        return with_share(asked, share)

    def _open_search(self, prepared: Prepared, resources: Resources) -> tuple[FairSearch, Any]:
        """Searcher and scheduler, reconciled with the records of earlier starts."""
        from hwcls.sweep.run.reconcile import reconcile
        from hwcls.sweep.search import pruning
        from hwcls.sweep.search.searcher import FairSearch
        from hwcls.sweep.search.stopping.paused import PausedTrials

        usage = estimate_disk_usage(self.sweep, prepared.models, prepared.data_size, resources.concurrent)
        low_disk = check_results_disk(usage, self.folder.path)
        search = FairSearch(self.sweep, self.folder, resources, prepared.sources, self.options.warm_start)
        scheduler = pruning.build_scheduler(self.sweep)
        search.paused = PausedTrials(self.sweep, scheduler)
        reconcile(self.sweep, self.folder, search, scheduler)
        results = self.mirror.url if self.mirror else self.folder.path
        name, budget = self.sweep.config.name, self.sweep.config.budget
        log.info("%s: %s, %s; results in %s", name, _extent(search, budget), resources, results)
        log.info("%s", usage)
        if pauses := search.paused.describe():
            log.info("%s", pauses)
        if prepared.features:
            log.info("%s", CacheUsage.of(prepared.features, prepared.pixels))
        for title, chosen in sizes_by_title(self.sweep).items():
            log.info("%s: %s", title, chosen)
        for line in describe_tracking(self.sweep.config):
            log.info("%s", line)
        for note in describe_notes(self.sweep):
            log.warning("%s", note)
        if low_disk:
            log.warning("%s", low_disk)
        return search, scheduler

    def _compute_features(self, jobs: Sequence[FeatureJob], resources: Resources) -> None:
        """Compute what all trials share; it takes its time before the budget of the search begins."""
        if not jobs:
            return
        started, facts = time.monotonic(), [job.facts() for job in jobs]
        try:
            if self.options.address or any(job.pending for job in jobs):
                self._run_extraction(jobs, resources)
        finally:
            environment.write_features(self.folder.path, facts, time.monotonic() - started)

    def _run_extraction(self, jobs: Sequence[FeatureJob], resources: Resources) -> None:
        from hwcls.sweep.run.extraction import list_places, run_workers

        started, total, pending = time.monotonic(), sum(job.images for job in jobs), sum(job.pending for job in jobs)
        for job in jobs:
            if job.pending:
                log.info("%s: %s to compute, once for all trials", job, f"{job.pending:,}")
        trials = tuple(trial for job in jobs for trial in job.trials)
        places = list_places(resources, trials, cluster=bool(self.options.address))
        run_workers(places, total, self.sweep.config.max_restarts)
        if pending:
            log.info("features: computed in %s", format_duration(time.monotonic() - started))

    def _start_recording(self, search: FairSearch) -> RecordCallback:
        """Open the progress view and start what writes and follows the records."""
        from hwcls.sweep.run.callback import RecordCallback
        from hwcls.sweep.run.reconcile import end_paused, read_unfinished

        left_out = search.left_out
        counted = {n: trial for n, trial in self.folder.trials().items() if n not in left_out}
        ended = {f"trials/{n}": result for n, trial in counted.items() if (result := trial.result())}
        begun = {n: trial for n, trial in counted.items() if f"trials/{n}" not in ended}
        unfinished = read_unfinished(self.sweep, begun, search)
        ahead = Ahead.of_search(
            confirm_plan.expected_epochs(self.sweep), search.paused.expected_epochs(search.spending.by_unit())
        )
        progress = self.progress_for(search.total, len(ended), search.spending.left, ahead)
        for key, result in (ended | unfinished).items():
            progress.reached_before(key, result)
        results_folder.drop_leftovers(self.folder)
        self.tracking.start()
        callback = RecordCallback(self.folder, self.sweep.config, progress, self.tracking.keep_alive)
        callback.paused, callback.end_paused = search.paused, partial(end_paused, self.sweep, self.folder, search)
        return callback

    def _train(self, search: FairSearch, scheduler: Any, callback: RecordCallback, resources: Resources) -> bool:
        """Run the trials of the search, then the confirm runs; True when they were interrupted."""
        from hwcls.sweep.cluster.connect import driver_node_resource
        from hwcls.sweep.run import confirm_run
        from hwcls.sweep.run.reconcile import end_paused
        from hwcls.sweep.run.trial_group import build_trainable
        from hwcls.sweep.run.tune import tune_run
        from hwcls.sweep.search.searcher import count_untrainable

        environment.write_effective(self.folder.path, _decided(self.sweep, resources))
        restarts = self.sweep.config.max_restarts
        store = self.mirror.url if self.mirror else ""
        group = build_trainable(resources, driver_node_resource() if self.options.address else "", store)
        if not search.finished and tune_run(group, self.folder, search, scheduler, callback, resources, restarts):
            return True
        untrainable = count_untrainable(search)
        if untrainable and not self.folder.trials():
            raise _none_trainable(self.sweep, untrainable)
        environment.write_search_end(self.folder.path, search.spending.spent, untrainable)
        callback.show_ended(end_paused(self.sweep, self.folder, search, last=True))
        if confirm_run.run(self.sweep, self.folder, group, resources, callback, self.progress_for):
            return True
        _update_best(self.folder)
        _drop_checkpoints(self.folder, self.mirror)
        return False


def _decided(sweep: Sweep, resources: Resources) -> dict[str, Any]:
    """What the machine and the space decided, where the sweep file leaves it open."""
    from hwcls.sweep.search.rungs import rung_limits

    early = sweep.early_stopping
    rungs = early.rungs(*rung_limits(early, sweep.corners)) if early else []
    found = {"resources": vars(resources), "share": sweep.shares.unit, "rungs": rungs}
    return found | ({"early_terminate": early.model_dump(exclude_none=True)} if early else {})


def _where(sweep: Sweep) -> str:
    """The place of the resources in the sweep file, for errors."""
    return sweep.source.where(("resources",))


def _none_trainable(sweep: Sweep, trials: int) -> UserError:
    what = f"nothing was trained: {format_count(trials, 'trial')} drew settings that cannot be trained together"
    remedy = "allow more trials, or put settings that exclude each other under different labels of a choice"
    return UserError(what, where=sweep.source.where(("parameters",)), remedy=remedy)


def _drop_checkpoints(folder: SweepFolder, mirror: Mirror | None) -> None:
    """Remove every checkpoint: the sweep has ended."""
    shutil.rmtree(folder.path / "tune", ignore_errors=True)
    if mirror:
        mirror.delete_states()


def _update_best(folder: SweepFolder) -> None:
    """Bring best/ up to date; where a damaged file or a permission prevents that, the sweep ends as it would."""
    try:
        update_best(folder.path)
    except (UserError, OSError) as error:
        if is_disk_full(error):
            raise
        log.warning("best/ was not written: %s", error)


def _extent(search: FairSearch, budget: float | None) -> str:
    """How many trials or how much time the search has, and how much of it is done."""
    words = [format_count(search.total, "trial")] if search.total is not None else []
    if search.warm_start is not None:
        words.append("warm-started from {} of {} earlier ones".format(*search.warm_start))
    if budget is not None:
        total, left = format_duration(budget), format_duration(search.spending.left or 0.0)
        if search.spending.left == 0.0:
            words.append(f"no new trials, as the budget of {total} is used up")
        else:
            words.append(f"new trials for {total if search.count == 0 else f'{left} of {total}'}")
    if count := search.count - len(search.left_out):
        waiting = len(search.paused)
        words.append(f"{count - len(search.unfinished) - waiting} of them done before")
        words += [f"{waiting} paused"] if waiting else []
    return ", ".join(words)


def _changed_by(sweep: Sweep, place: Path) -> str | None:
    """The command that changes settings where it is not a sweep file: `hwcls confirm` reads those of the results."""
    return CONFIRM if Path(sweep.source.path).absolute() == (place / "sweep.yaml").absolute() else None


def _is_finished(sweep: Sweep, folder: SweepFolder) -> bool:
    """Whether nothing is left to do, known from the records alone: then Ray need not start."""
    ended = {number: trial.result() for number, trial in folder.trials().items()}
    if not ended or any(result is None for result in ended.values()):
        return False
    left_out, spent = find_left_out(folder.path), environment.read_budget_spent(folder.path)
    drawn = [result.parameters for number, result in ended.items() if result and number not in left_out]
    tried = count_tried(sweep, drawn) + environment.read_untrainable(folder.path)
    if not starts_no_more(tried, sweep.total, spent, sweep.config.budget):
        return False
    return not confirm_plan.is_incomplete(sweep, folder.path)


def _failed(folder: SweepFolder) -> tuple[str, ...]:
    """Keys of failed trials and confirm runs, without those of trials that are left out."""
    left_out = find_left_out(folder.path)
    every = {f"trials/{n}": t for n, t in folder.trials().items() if n not in left_out}
    every |= {f"confirm/{label}/{seed}": t for (label, seed), t in folder.confirm_runs().items()}
    results = {key: result for key, trial in every.items() if (result := trial.result())}
    return tuple(
        key for key, one in results.items() if one.status == "failed" and one.extra.get("trial") not in left_out
    )


@contextmanager
def _errors_logged(path: Path) -> Iterator[None]:
    """Log what ends the block; a full disk becomes one error about the results, whichever file it was."""
    try:
        yield
    except OSError as error:
        log.debug("ended by %s: %s", type(error).__name__, error)
        if is_disk_full(error):
            raise results_folder.full_disk(path) from None
        raise
    except BaseException as error:
        log.debug("ended by %s: %s", type(error).__name__, error)
        raise
