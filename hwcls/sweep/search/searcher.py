"""The search: Optuna as a Tune searcher, with an equal share for each alternative, resumed from its journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError
from ray.tune.search import Searcher

from hwcls.config.sweep_file import Sweep, first_settings
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.finite_space import FiniteSpace
from hwcls.sweep.search.job_builder import JobBuilder
from hwcls.sweep.search.messages import EpochReport, report_in
from hwcls.sweep.search.optuna_private import drawn_or_pinned, resume_trial, shown_to_sampler
from hwcls.sweep.search.spending import Spending
from hwcls.sweep.search.stopping.paused import PausedTrials
from hwcls.sweep.search.study.open import build_sampler, open_study
from hwcls.sweep.search.study.outcome import NO_PLACE, close_trial, end_trial, report_epoch
from hwcls.sweep.search.study.unsaved import UnsavedSearcher
from hwcls.sweep.search.warm_start import warm_start
from hwcls.sweep.storage.environment import read_budget_spent
from hwcls.sweep.storage.journal_format import BORROWED, LEFT_OUT
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result


@dataclass(frozen=True)
class Running:
    """A trial that runs now; a trial's settings are costly to ask Optuna for."""

    trial: Trial
    key: str
    label: str | None  # its alternative


class FairSearch(UnsavedSearcher):
    """Asks Optuna for trials, pins the alternative whose turn it is, and reports to Optuna how each trial ended.

    Args:
        sweep: The sweep.
        folder: Its results folder, with study.journal.
        resources: Of each trial.
        sources: As JobBuilder takes them.
        source: The results of an earlier sweep (`--from`), whose trials the sampler then knows from the start.

    Raises:
        UserError: `source` cannot be used, or the search has already started without it.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        resources: Resources,
        sources: dict[str, str],
        source: Path | None = None,
    ) -> None:
        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.folder = sweep, folder
        self.jobs = JobBuilder(sweep, folder, resources, sources)
        self.first, self.finite = first_settings(sweep), FiniteSpace(sweep)
        self.journal, self.study = open_study(sweep, folder, resources.concurrent)
        self.warm_start = warm_start(self.study, sweep, source)
        self.running: dict[str, Running] = {}  # by Tune's id
        self.paused = PausedTrials(sweep, None)  # replaced where trials pause
        known = self.study.get_trials(deepcopy=False)
        self.offset = sum(BORROWED in trial.user_attrs for trial in known)  # the first have no folder
        known = known[self.offset :]
        self.pinned = sum(trial.state == TrialState.WAITING for trial in known)  # but not asked for before a crash
        running = (trial for trial in known if trial.state == TrialState.RUNNING)
        self._unfinished = {trial.number - self.offset: trial for trial in running}  # and do not wait
        self.count = len(known) - self.pinned  # trials that were ever asked for
        self.finite.begin_grid(map(drawn_or_pinned, known))
        self.spending = _spent_before(sweep, folder, known, resources.concurrent)

    @property
    def total(self) -> int | None:
        """Trials in all; None when only a time budget ends the search."""
        return self.sweep.total

    @property
    def finished(self) -> bool:
        """Whether no trial is left to ask for; trials that run when a time budget ends are completed."""
        return not self._unfinished and self._is_over and self._next_paused() is None

    @property
    def _is_over(self) -> bool:
        """Whether no new trial is to come."""
        if self.spending.left == 0.0:
            return True
        if self.sweep.grid is not None:  # not by the count: an excluded point may be there twice once it is included
            return not self.finite.open and not self.pinned
        return self.total is not None and self.spending.trials.total() - self.pinned >= self.total

    @property
    def _is_ending(self) -> bool:
        """Whether no new trial is to come while there are paused ones to go on with."""
        left, spending = self.spending.left, self.spending
        kept = self.paused.kept(spending.by_unit(), spending.concurrent)
        return self._is_over or (left is not None and left <= kept)

    def _next_paused(self) -> str | None:
        """The key of the paused trial that continues next."""
        running = {one.key: one.label for one in self.running.values()}
        late = self.spending.left == 0.0
        return self.paused.next(running, self.spending.charged(), last=self._is_ending, late=late)

    def _key(self, trial: Trial | FrozenTrial) -> str:
        return f"trials/{trial.number - self.offset}"

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial: first those that a crash interrupted, then paused ones that go on, then new ones.

        None: there is none until a trial that runs has come to its next rung.
        """
        while (trial := self._next_trial()) is not None:
            self.sweep.space.draw(trial)  # of a resumed trial what was not drawn before the crash
            settings = dict(trial.params)
            try:
                job = self.jobs.build(trial.number - self.offset, settings, self.journal.sync)
            except ValidationError:  # a combination that no corner of the space showed
                self.study.tell(trial, state=TrialState.FAIL)
                self.spending.end_trial(self.sweep.alternative_label(settings), self._key(trial))
                continue
            self.running[trial_id] = Running(trial, self._key(trial), self.sweep.alternative_label(settings))
            return job.to_config()
        return None if self.running and self.paused.first_rung is not None else str(Searcher.FINISHED)

    def _next_trial(self) -> Trial | None:
        if self._unfinished:
            frozen = self._unfinished.pop(next(iter(self._unfinished)))
            self._seed(frozen.number - self.offset)
            return resume_trial(self._as_seen, frozen)
        if (key := self._next_paused()) is not None:
            frozen = self.known_trials()[int(key.rpartition("/")[2])]
            self._leave(frozen)
            return resume_trial(self.study, frozen)
        if self._is_over or (self._is_ending and self.running):  # which may let a paused one go on
            return None
        self._pin_next()
        return self._as_seen.ask()

    @property
    def _as_seen(self) -> optuna.Study:
        """The study as the sampler sees it."""
        return shown_to_sampler(self.study, self.paused.first_rung, self.paused.shown)

    def _pin_next(self) -> None:
        """Pin what the next trial must try: a grid point, a setting of `first`, or the alternative whose turn it is."""
        number, self.count = self.count, self.count + 1
        self._seed(number)
        if self.pinned:  # a crash came between pinning and asking
            self.pinned -= 1
            return
        settings: dict[str, Any] = {}
        if self.sweep.grid is not None:
            settings = self.finite.open.popleft()
        else:
            if number < len(self.first):
                settings = self.first[number]
            if self.sweep.alternatives and self.sweep.alternative_label(settings) is None:
                settings = {**self._next_alternative(), **settings}
            if number >= len(self.first):
                settings |= self.finite.next(self.sweep.alternative_label(settings), self.known_trials)
        if settings:
            self.study.enqueue_trial(settings)
        self.spending.trials[self.sweep.alternative_label(settings)] += 1

    def _seed(self, number: int) -> None:
        """Have a trial drawn by its number, where the method does so, whatever crash came before."""
        if self.sweep.config.search.seeded_by_trial:
            self.study.sampler = build_sampler(self.sweep, self.study, self.sweep.config.seed * 100_003 + number)

    def _next_alternative(self) -> dict[str, Any]:
        """The settings that pin the alternative whose turn it is."""
        label = self.sweep.shares.next(self.spending.charged())
        return next(dict(one.settings) for one in self.sweep.alternatives if one.label == label)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch to Optuna; it counts for its alternative at once."""
        report = report_in(result)
        if report is not None:
            running = self.running[trial_id]
            self._count(running, report)
            report_epoch(running.trial, report, self.sweep.config.metric)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """End a trial in the study, where one that pauses runs on; Tune passes the last result here alone."""
        running, report = self.running.pop(trial_id), report_in(result)
        if report is not None:
            self._count(running, report)
        if running.key in self.paused and report is not None and not error:
            report_epoch(running.trial, report, self.sweep.config.metric)
            return
        self.spending.end_trial(running.label, running.key)
        failed = error or report is None or report.failure is not None
        by_user = not (report and report.done) and TrialFolder(self.folder.path / running.key).stop_requested()
        self.paused.leave(running.label, running.key, gives_place=failed or by_user)
        self.paused.shown.pop(running.trial.number, None)
        end_trial(self.study, running.trial, report, self.sweep.config.metric, error=error)

    def _count(self, running: Running, report: EpochReport) -> None:
        if report.failure is None:  # the records have nothing of an epoch that failed
            self.spending.add_epoch(running.label, running.key, report.seconds)

    def _leave(self, trial: FrozenTrial, *, gives_place: bool = False) -> None:
        self.paused.shown.pop(trial.number, None)
        self.paused.leave(self.sweep.alternative_label(trial.params), self._key(trial), gives_place=gives_place)

    def pause(self, number: int) -> None:
        """A trial of an earlier start waits: it does not resume at once."""
        self._unfinished.pop(number, None)

    def close(self, frozen: FrozenTrial, result: Result) -> None:
        """End a trial in the study that has ended in the records."""
        self._leave(frozen, gives_place=result.status in NO_PLACE)
        if frozen.state == TrialState.RUNNING:
            self.pause(frozen.number - self.offset)
            close_trial(self.study, frozen, result, self.sweep.config.metric)

    @property
    def unfinished(self) -> list[FrozenTrial]:
        """The trials that a crash interrupted and that have not resumed yet."""
        return list(self._unfinished.values())

    @property
    def left_out(self) -> set[int]:
        """The numbers of the trials that do not count."""
        return {number for number, trial in enumerate(self.known_trials()) if LEFT_OUT in trial.user_attrs}

    def known_trials(self) -> list[FrozenTrial]:
        """The study's trials of this sweep, by number."""
        return self.study.get_trials(deepcopy=False)[self.offset :]


def count_untrainable(search: FairSearch) -> int:
    """How many trials count that have no folder, as their settings are a combination that cannot be trained."""
    folders = search.folder.trials()
    known = (trial for number, trial in enumerate(search.known_trials()) if number not in folders)
    return sum(trial.state == TrialState.FAIL and LEFT_OUT not in trial.user_attrs for trial in known)


def _spent_before(sweep: Sweep, opened: SweepFolder, known: list[FrozenTrial], concurrent: int) -> Spending:
    """What the trials of earlier starts had."""
    spending = Spending(sweep.config.budget, concurrent)
    labels = [sweep.alternative_label(drawn_or_pinned(trial)) for trial in known]
    spending.trials.update(label for number, label in enumerate(labels) if LEFT_OUT not in known[number].user_attrs)
    folders = opened.trials()
    for number, folder in folders.items():
        label = labels[number] if number < len(labels) else None
        counts = number >= len(known) or LEFT_OUT not in known[number].user_attrs
        seconds = (line.get("seconds") or 0.0 for line in folder.records())
        spending.add_earlier(label, f"trials/{number}", seconds, counts=counts)
    for number, trial in enumerate(known):
        key, left_out = f"trials/{number}", LEFT_OUT in trial.user_attrs
        if key not in spending.begun and not left_out and _has_ended(trial, folders.get(number)):
            spending.end_trial(labels[number], key)
    spending.before = max(spending.before, read_budget_spent(opened.path))  # which counts more than epochs
    return spending


def _has_ended(trial: FrozenTrial, folder: TrialFolder | None) -> bool:
    """Whether a trial has ended in the study or, before a crash, in the records alone."""
    return trial.state.is_finished() or (folder is not None and folder.result() is not None)
