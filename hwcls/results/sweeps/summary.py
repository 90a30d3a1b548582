"""What a list of sweeps says of each: its state, how far it is, and its answer in a few words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hwcls import __version__
from hwcls.errors import UserError
from hwcls.reading import UnreadableFile, read_json, read_or_none
from hwcls.results.answer import describe_briefly
from hwcls.results.confirm.missing import find_missing
from hwcls.results.confirm.plan import confirm_config, plan_confirm
from hwcls.results.confirm.search_end import has_all_trials, read_limits, untrainable
from hwcls.results.load import SweepResults, TrialResult, load_outcomes, mark_running
from hwcls.results.sweeps.find import last_written
from hwcls.tracking.folders import SweepFolder, is_in_use
from hwcls.tracking.shapes import EnvironmentShape

RUNNING = "running"  # a driver works in the folder
FINISHED = "finished"  # nothing is left to do, though trials may have failed
INTERRUPTED = "interrupted"  # the sweep's command resumes it
OTHER_VERSION = "another version"  # of hwcls wrote it, and this one cannot read it
DAMAGED = "damaged"


@dataclass(frozen=True)
class Progress:
    """Trials that have ended and trials in all, the same of confirm runs, and how many of both failed.

    A trial whose settings cannot be trained has ended, without a run that failed.
    """

    trials: int = 0
    total: int | None = None  # None: a time budget ends the search
    confirm: int = 0
    confirm_total: int | None = None  # None: the search has not ended, or there is no confirm
    failed: int = 0
    unfinished: int = 0  # trials that have started and not ended: they run, wait at a rung, or were interrupted


@dataclass(frozen=True)
class SweepSummary:
    """One sweep of a list."""

    folder: Path
    state: str  # one of the constants above
    answer: str  # in a sentence; for a folder that cannot be read, why
    written: float | None  # time of its last record
    progress: Progress = Progress()
    metric: str = ""
    best: TrialResult | None = None  # on validation

    @property
    def name(self) -> str:
        return SweepFolder(self.folder).name

    @property
    def running(self) -> bool:
        return self.state == RUNNING

    @property
    def readable(self) -> bool:
        """Whether its results can be shown."""
        return self.state not in (OTHER_VERSION, DAMAGED)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        best = self.best
        found = None if best is None else {"trial": best.number, "label": best.label, self.metric: best.value}
        written = None if self.written is None else datetime.fromtimestamp(self.written, UTC)
        return {
            "name": self.name,
            "folder": str(self.folder),
            "state": self.state,
            **vars(self.progress),
            "metric": self.metric or None,
            "best": found,
            "answer": self.answer,
            "written": written and written.isoformat(timespec="seconds"),
        }


def summarize_sweep(path: Path) -> SweepSummary:
    """The summary of a results folder, from its small files; one that cannot be read has a state that says so."""
    written, in_use = last_written(path), is_in_use(path)  # before the records are read: a trial may end meanwhile
    try:
        sweep = load_outcomes(path)
    except UserError as error:
        return SweepSummary(path, *_explain_unreadable(path, error), written)
    sweep = mark_running(sweep) if in_use else sweep
    ranked = [trial for trial in sweep.ranked() if trial.value is not None and not trial.failed]
    best = ranked[0] if ranked else None
    return SweepSummary(path, _state(sweep), describe_briefly(sweep), written, _progress(sweep), sweep.metric, best)


def _state(sweep: SweepResults) -> str:
    if sweep.running:
        return RUNNING
    return FINISHED if _is_searched(sweep) and all(run.failed for run in find_missing(sweep)) else INTERRUPTED


def _is_searched(sweep: SweepResults) -> bool:
    return bool(sweep.trials) and all(trial.ended for trial in sweep.trials) and has_all_trials(sweep)


def _progress(sweep: SweepResults) -> Progress:
    begun = _is_searched(sweep) or sweep.confirm
    planned = plan_confirm(sweep, confirm_config(sweep)).total if begun else 0
    confirm = sum(one.run.ended for one in sweep.confirm)
    runs = [*sweep.trials, *(one.run for one in sweep.confirm)]
    return Progress(
        trials=sum(trial.ended for trial in sweep.trials) + untrainable(sweep),
        total=read_limits(sweep)[0],
        confirm=confirm,
        confirm_total=max(planned, confirm) or None,  # seeds may have been added to those in the file
        failed=sum(run.failed for run in runs),
        unfinished=sum(not trial.ended for trial in sweep.trials),
    )


def _explain_unreadable(path: Path, error: UserError) -> tuple[str, str]:
    """The state of a folder whose sweep.yaml is not as this version writes it, and why."""
    environment = read_or_none(read_json, path / "environment.json", EnvironmentShape) or {}
    version = (environment.get("versions") or {}).get("hwcls")
    if version in (None, __version__) or isinstance(error, UnreadableFile):
        return DAMAGED, str(UserError(error.what, where=error.where))
    return OTHER_VERSION, f"hwcls {version} wrote it, this is {__version__}: its sweep.yaml {error.what}"
