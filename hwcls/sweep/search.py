"""The search: Optuna through Ray Tune, the same budget for every alternative, resumed from its journal."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from hwcls import files
from hwcls.config.load import Sweep, first_settings
from hwcls.config.space import Fixed, Space
from hwcls.sweep.prepare import with_sources
from hwcls.sweep.resources import Resources
from hwcls.tracking.records import Result, SweepFolder

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "stopped_by_user": TrialState.PRUNED}


class Draw:
    """The define-by-run space: asks an Optuna trial for every parameter of the tree."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def __call__(self, trial: Any) -> None:
        self.space.draw(trial)


class FairSearch(OptunaSearch):  # type: ignore[misc]
    """OptunaSearch that pins each trial's alternative in turn, tells Optuna how trials really end, and goes on."""

    def __init__(self, sweep: Sweep, folder: SweepFolder, resources: Resources, sources: dict[str, str]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.folder, self.resources, self.sources = sweep, folder, resources, sources
        config = sweep.config
        journal = folder.path / "study.journal"
        journal.parent.mkdir(parents=True, exist_ok=True)
        files.cut_torn_line(journal)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                space=Draw(sweep.space),
                metric="best",
                mode="max" if config.metric.goal == "maximize" else "min",
                sampler=_sampler(
                    config.method, config.seed + _journal_lines(journal)
                ),  # a restart must not draw the same again
                study_name=config.name,
                storage=JournalStorage(JournalFileBackend(str(journal))),
            )
        self.study: optuna.Study = self._ot_study
        self.grid = sweep.space.grid() if config.method == "grid" else None
        self.first = first_settings(sweep)
        self.started = time.monotonic()
        known = self.study.get_trials(deepcopy=False)
        self.waiting = sum(trial.state == TrialState.WAITING for trial in known)
        self.unfinished = [trial for trial in known if trial.state == TrialState.RUNNING]
        self.count = len(known) - self.waiting  # trials that were ever asked for
        self.labels: dict[str | None, int] = {}
        self.seconds: dict[str | None, float] = {}
        for trial in known:
            if trial.state != TrialState.WAITING:
                label = sweep.label(trial.params)
                self.labels[label] = self.labels.get(label, 0) + 1
        for trial_folder in folder.trials().values():
            self._spend(
                sweep.label_of(trial_folder.settings()),
                sum(line.get("seconds") or 0 for line in trial_folder.records()),
            )

    @property
    def total(self) -> int | None:
        """How many trials there will be; None when only a time budget ends the search."""
        return len(self.grid) if self.grid is not None else self.sweep.config.run_cap

    @property
    def finished(self) -> bool:
        """Whether no trial is left to ask for."""
        if self.unfinished:
            return False
        budget = self.sweep.config.budget
        if budget is not None and sum(self.seconds.values()) / self.resources.concurrent >= budget:
            return True
        return self.total is not None and self.count >= self.total

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial: first those that a crash cut off, then new ones."""
        if self.unfinished:
            frozen = self.unfinished.pop(0)
            self._ot_trials[trial_id] = Trial(self.study, frozen._trial_id)
            self.sweep.space.draw(self._ot_trials[trial_id])  # what was drawn stays, what was not is drawn now
        elif self.finished:
            return str(Searcher.FINISHED)
        else:
            self._enqueue()
            super().suggest(trial_id)
        trial = self._ot_trials[trial_id]
        return self._job(trial.number, dict(trial.params))

    def _enqueue(self) -> None:
        """Pin what the next trial must try: a grid point, a setting of `first`, or the alternative that is behind."""
        if self.waiting:
            self.waiting -= 1
            self.count += 1
            return
        point: dict[str, Any] = {}
        if self.grid is not None:
            point = self.grid[self.count]
        else:
            if self.count < len(self.first):
                point = self.first[self.count]
            if self.sweep.alternatives and self.sweep.label(point) is None:
                point = {**self._behind(), **point}
            if self.sweep.config.method == "random":  # seeded by trial, so that a restart draws the same
                self.study.sampler = optuna.samplers.RandomSampler(seed=self.sweep.config.seed * 100_003 + self.count)
        if point:
            self.study.enqueue_trial(point)
        label = self.sweep.label(point)
        self.labels[label] = self.labels.get(label, 0) + 1
        self.count += 1

    def _behind(self) -> dict[str, Any]:
        spent = self.seconds if self.sweep.config.run_cap is None else self.labels
        return dict(
            min(self.sweep.alternatives, key=lambda a: (spent.get(a.label, 0), self.labels.get(a.label, 0))).settings
        )

    def _job(self, number: int, settings: dict[str, Any]) -> dict[str, Any]:
        config = self.sweep.trial(
            Fixed(settings),
            seed=self.sweep.config.seed + number,
            workers=self.resources.workers,
            threads=self.resources.cpus_per_worker,
        )
        folder = self.folder.trial(number)
        if not (folder.path / "config.yaml").exists():
            folder.write_config(with_sources(config, self.sources))
        return {
            "key": f"trials/{number}",
            "label": self.sweep.label(settings),
            "parameters": self.sweep.space.drawn(settings),
            "config": folder.config().to_dict(),
            "resources": self.resources.to_dict(),
            "checkpoints": folder.checkpoints(),
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an epoch; what a trial spent counts for its alternative at once."""
        self._report(trial_id, result)
        trial = self._ot_trials[trial_id]
        self._spend(self.sweep.label(trial.params), result.get("time_this_iter_s", 0.0))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna COMPLETE, PRUNED (stopped early) or FAIL (an error, or a loss that is not finite)."""
        if error or not result or "failure" in result or "epoch" not in result:
            self.study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
            return
        self._report(trial_id, result)
        trial = self._ot_trials.pop(trial_id)
        if result["epoch"] >= result["epochs"]:
            self.study.tell(trial, result["best"])
        else:
            self.study.tell(trial, state=TrialState.PRUNED)  # its value is the last one reported

    def _report(self, trial_id: str, result: dict[str, Any]) -> None:
        value, epoch = result.get("value"), result.get("epoch")
        if value is not None and epoch is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an epoch that a restart repeats is reported again
                self._ot_trials[trial_id].report(value, epoch)

    def _spend(self, label: str | None, seconds: float) -> None:
        self.seconds[label] = self.seconds.get(label, 0.0) + seconds

    def settle(self, number: int, result: Result) -> None:
        """Make the study agree with a trial that stands as ended in the records."""
        for frozen in self.unfinished:
            if frozen.number == number:
                self.unfinished.remove(frozen)
                state = STATES.get(result.status, TrialState.FAIL)
                best = result.best[self.sweep.config.metric.name] if result.best else None
                value = best if state == TrialState.COMPLETE else None
                self.study.tell(Trial(self.study, frozen._trial_id), value, state=state)
                return

    def state_of(self, number: int) -> TrialState | None:
        """What the study says of a trial."""
        trials = self.study.get_trials(deepcopy=False)
        return trials[number].state if number < len(trials) else None

    def settings_of(self, number: int) -> dict[str, Any]:
        """What the study drew for a trial, by parameter name."""
        return dict(self.study.get_trials(deepcopy=False)[number].params)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal and the records hold all that a restart needs."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


def _journal_lines(journal: Path) -> int:
    """How many lines a study's journal holds: 0 at the first start."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _sampler(method: str, seed: int) -> optuna.samplers.BaseSampler:
    if method == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=seed)
