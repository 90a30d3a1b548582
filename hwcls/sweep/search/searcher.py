"""The search: Optuna through Ray Tune, the same budget for every alternative, resumed from its journal."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import Trial, TrialState
from pydantic import ValidationError
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from hwcls import files
from hwcls.config.space import Fixed, Space
from hwcls.config.sweep_file import Sweep, first_settings
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.samplers import Journal, sampler
from hwcls.sweep.search.warm_start import borrow
from hwcls.sweep.storage.journal_format import BORROWED
from hwcls.sweep.storage.user_code import with_copied_source
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "stopped_by_user": TrialState.PRUNED}


class Draw:
    """The define-by-run space: asks an Optuna trial for every parameter of the tree."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, trial: Any) -> None:
        self.space.draw(trial)


class FairSearch(OptunaSearch):  # type: ignore[misc]
    """OptunaSearch that pins each trial's alternative in turn, tells Optuna how trials really end, and goes on."""

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        resources: Resources,
        sources: dict[str, str],
        source: Path | None = None,  # another sweep's results, whose trials are known from the start
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.folder, self.resources, self.sources = sweep, folder, resources, sources
        config = sweep.config
        journal = folder.path / "study.journal"
        journal.parent.mkdir(parents=True, exist_ok=True)
        files.cut_torn_line(journal)
        self.journal = Journal(journal)
        super().__init__(
            space=Draw(sweep.space),
            metric="best",
            mode="max" if config.metric.goal == "maximize" else "min",
            sampler=sampler(config.method, config.seed + self.journal.count()),  # a restart draws other ones
            study_name=config.name,
            storage=JournalStorage(self.journal),
        )
        self.study: optuna.Study = self._ot_study
        self.grid = sweep.grid
        self.first = first_settings(sweep)
        known = self.study.get_trials(deepcopy=False)
        self.borrowed_of: tuple[int, int] | None = None
        if source is not None and not known:
            self.borrowed_of = borrow(self.study, sweep, source)
            known = self.study.get_trials(deepcopy=False)
        self.borrowed = sum(BORROWED in trial.user_attrs for trial in known)  # they come first and have no folder
        if source is not None and not self.borrowed and known:
            remedy = "leave --from out to go on, or pass --new to use a new folder"
            raise UserError("this sweep has begun without it", where=f"--from {source}", remedy=remedy)
        known = self.known()
        self.waiting = sum(trial.state == TrialState.WAITING for trial in known)
        self.unfinished = [trial for trial in known if trial.state == TrialState.RUNNING]
        self.count = len(known) - self.waiting  # trials that were ever asked for
        labels = [sweep.alternative_label(_settings(trial)) for trial in known]
        self.labels: Counter[str | None] = Counter(labels)  # trials of each alternative
        self.seconds: dict[str | None, float] = defaultdict(float)  # of training, by alternative
        self.epochs: Counter[str | None] = Counter()
        for number, trial_folder in folder.trials().items():
            label, lines = labels[number] if number < len(labels) else None, trial_folder.records()
            self.seconds[label] += sum(line.get("seconds") or 0.0 for line in lines)
            self.epochs[label] += len(lines)
        self.spent_before = sum(self.seconds.values()) / resources.concurrent
        self.started = time.monotonic()

    @property
    def total(self) -> int | None:
        """How many trials there will be; None when only a time budget ends the search."""
        return self.sweep.total

    @property
    def spent(self) -> float:
        """Seconds of the budget that are gone: this start's, and about what earlier starts took."""
        return self.spent_before + time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds of the budget in which new trials begin; None without one."""
        return None if self.sweep.config.budget is None else max(0.0, self.sweep.config.budget - self.spent)

    @property
    def finished(self) -> bool:
        """Whether no trial is left to ask for; those that run when a time budget ends run to their end."""
        if self.unfinished:
            return False
        if self.left == 0.0:
            return True
        return self.total is not None and self.count >= self.total

    @property
    def running(self) -> bool:
        """Whether a trial was handed out that has not ended."""
        return bool(self._ot_trials)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial: first those that a crash cut off, then new ones."""
        while not self.finished:
            if self.unfinished:
                frozen = self.unfinished.pop(0)
                self._ot_trials[trial_id] = Trial(self.study, frozen._trial_id)
                self.sweep.space.draw(self._ot_trials[trial_id])  # what was drawn stays, the rest is drawn now
            else:
                self._enqueue()
                super().suggest(trial_id)
            trial = self._ot_trials[trial_id]
            try:
                return self._job(trial.number - self.borrowed, dict(trial.params))
            except ValidationError:  # a combination that no corner of the space showed
                self.study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
        return str(Searcher.FINISHED)

    def _enqueue(self) -> None:
        """Pin what the next trial must try: a grid point, a setting of `first`, or the alternative that is behind."""
        number, self.count = self.count, self.count + 1
        if self.waiting:  # a crash came between pinning and asking
            self.waiting -= 1
            return
        point: dict[str, Any] = {}
        if self.grid is not None:
            point = self.grid[number]
        else:
            if number < len(self.first):
                point = self.first[number]
            if self.sweep.alternatives and self.sweep.alternative_label(point) is None:
                point = {**self._next_alternative(), **point}
            if self.sweep.config.method == "random":  # seeded by trial, so that a restart draws the same
                self.study.sampler = optuna.samplers.RandomSampler(seed=self.sweep.config.seed * 100_003 + number)
        if point:
            self.study.enqueue_trial(point)
        self.labels[self.sweep.alternative_label(point)] += 1

    def _next_alternative(self) -> dict[str, Any]:
        """The settings that pin the alternative whose turn it is."""
        label = self.sweep.shares.next({"trials": self.labels, "epochs": self.epochs, "seconds": self.seconds})
        return next(dict(one.settings) for one in self.sweep.alternatives if one.label == label)

    def _job(self, number: int, settings: dict[str, Any]) -> dict[str, Any]:
        config = self.sweep.trial(
            Fixed(settings),
            seed=self.sweep.config.seed + number,
            workers=self.resources.workers,
            threads=self.resources.cpus_per_worker,
        )
        folder = self.folder.trial(number)
        if (folder.path / "config.yaml").exists():
            config = folder.config()
        else:
            self.journal.sync()  # no trial has a folder that the study does not know
            config = with_copied_source(config, self.sources)
            folder.write_config(config)
        return {
            "key": f"trials/{number}",
            "label": self.sweep.alternative_label(settings),
            "parameters": self.sweep.space.drawn(settings),
            "config": config.to_dict(),
            "resources": self.resources.to_dict(),
            "keep": self.sweep.config.keep,
            "hang_after": self.sweep.config.hang_after,
            "checkpoints": folder.checkpoints(),
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch; what it took counts for its alternative at once."""
        self._report(trial_id, result)
        self._spend(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna COMPLETE, PRUNED (stopped early) or FAIL (an error, or a loss that is not finite).

        Tune brings a trial's last result here and not to `on_trial_result`.
        """
        if result and "epoch" in result:
            self._spend(trial_id, result)
        if error or not result or "failure" in result or "epoch" not in result:
            self.study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
            return
        self._report(trial_id, result)
        trial = self._ot_trials.pop(trial_id)
        if result["epoch"] < result["epochs"]:
            self.study.tell(trial, state=TrialState.PRUNED)  # its value is the last one reported
        elif math.isfinite(result["best"]):
            self.study.tell(trial, result["best"])
        else:
            self.study.tell(trial, state=TrialState.FAIL)

    def _report(self, trial_id: str, result: dict[str, Any]) -> None:
        value, epoch = result.get("value"), result.get("epoch")
        if value is not None and epoch is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an epoch that a restart repeats is reported again
                self._ot_trials[trial_id].report(value, epoch)

    def _spend(self, trial_id: str, result: dict[str, Any]) -> None:
        label = self.sweep.alternative_label(self._ot_trials[trial_id].params)
        self.seconds[label] += result.get("time_this_iter_s", 0.0)
        self.epochs[label] += 1

    def settle(self, number: int, result: Result) -> None:
        """Make the study agree with a trial that stands as ended in the records."""
        for frozen in self.unfinished:
            if frozen.number - self.borrowed == number:
                self.unfinished.remove(frozen)
                state = STATES.get(result.status, TrialState.FAIL) if result.best else TrialState.FAIL
                complete = state == TrialState.COMPLETE
                value = result.best[self.sweep.config.metric.name] if result.best and complete else None
                self.study.tell(Trial(self.study, frozen._trial_id), value, state=state)
                return

    def known(self) -> list[optuna.trial.FrozenTrial]:
        """What the study says of each trial, by number."""
        return self.study.get_trials(deepcopy=False)[self.borrowed :]

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal and the records hold all that a restart needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


def _settings(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What was drawn for a trial, and before that what was pinned."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
