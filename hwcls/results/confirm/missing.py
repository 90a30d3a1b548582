"""The confirm runs that are planned and not complete: they failed, were interrupted or have not started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hwcls.escape import shell_word
from hwcls.results.confirm.plan import ConfirmPlan, confirm_config, confirm_metric, plan_confirm
from hwcls.results.confirm.search_end import has_all_trials
from hwcls.results.load import PICK, REPORT, ConfirmRun, SweepResults
from hwcls.tracking.left_out import CONFIRM, read_changes


@dataclass(frozen=True)
class MissingRun:
    """A planned run that does not count as confirmed."""

    label: str
    trial: int | None  # None: the winner is not picked yet
    seed: int | None
    role: str | None  # as ConfirmRun.role
    reason: str
    failed: bool  # it is not trained again; another seed can take its place
    replaced: bool = False  # it failed, but its winner has as many reports as were asked for


def find_missing(sweep: SweepResults) -> list[MissingRun]:
    """The missing runs of a sweep whose search has ended; none while trials run, as confirm then refuses to start."""
    if not all(trial.ended for trial in sweep.trials) or not (sweep.confirm or has_all_trials(sweep)):
        return []
    plan = plan_confirm(sweep, confirm_config(sweep))
    known = {run.key: run for run in sweep.confirm}
    found = []
    for run in plan.runs:
        own = known.get(run.key)
        reason = _reason(sweep, plan, own)
        if reason:
            failed = own is not None and own.run.ended and not own.complete
            found.append(MissingRun(run.label, run.trial, run.seed, run.role, reason, failed))
    for label, count in plan.waiting.items():
        found += [MissingRun(label, None, None, REPORT, "not started", failed=False)] * count
    reports: Counter[tuple[str, int | None]] = Counter()
    reports.update((run.label, run.run.number) for run in sweep.confirm if run.complete and run.role != PICK)
    asked = count_asked(sweep)
    enough = {key for key, count in reports.items() if count >= asked}
    return [
        replace(run, replaced=run.failed and run.role != PICK and (run.label, run.trial) in enough) for run in found
    ]


def count_asked(sweep: SweepResults) -> int:
    """The reports of a winner that the sweep file asks for, without those that `hwcls confirm` has added since."""
    config = confirm_config(sweep)
    asked = config.seeds if config else 0
    log = ((one.by, changed) for one in reversed(read_changes(sweep.settings).log) for changed in one.changed)
    for by, changed in log:
        if changed.key == "confirm.seeds":
            if by != CONFIRM or not (changed.old or "").isdecimal():
                break
            asked = int(changed.old or 0)
    return asked


def resume_command(sweep: SweepResults, missing: list[MissingRun]) -> str | None:
    """The command that runs what is missing; None where nothing can be done about it, as while the sweep is running."""
    if sweep.running:
        return None
    command = confirm_command(sweep)
    if any(not run.failed for run in missing):
        return command
    lacking = [run for run in missing if run.role != PICK and not run.replaced]
    failed = Counter((run.label, run.trial) for run in lacking)  # of each trial, as seeds are added
    config = confirm_config(sweep)
    folds = (config.fold_count if config else None) or 1  # which are repeated as a whole
    return f"{command} --add-seeds {-(-max(failed.values()) // folds) * folds}" if failed else None


def confirm_command(sweep: SweepResults) -> str:
    """The command that plans and trains the confirm runs that the trials of today ask for."""
    return f"hwcls confirm {shell_word(sweep.folder)}"


def _reason(sweep: SweepResults, plan: ConfirmPlan, run: ConfirmRun | None) -> str | None:
    """Why a run does not count as confirmed; None where it does."""
    if run is None or not (run.run.ended or run.run.records):
        return "started" if sweep.running and run is not None else "not started"
    if not run.run.ended:
        return f"not finished, epoch {run.run.records[-1]['epoch']}"
    if run.run.failed:
        return f"failed: {run.run.error}"
    if not run.complete:
        return run.run.status.replace("_", " ")
    return "not scored on test" if plan.reports(run) and confirm_metric(sweep) not in (run.test or {}) else None
