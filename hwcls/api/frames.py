"""What a sweep found as pandas data frames; one without rows has its columns too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hwcls.api.objects import Confirmed, PairComparison
from hwcls.results.compare import build_leaderboard
from hwcls.results.confirm.plan import confirm_metric
from hwcls.results.load import SweepResults, TrialResult, is_finite

if TYPE_CHECKING:
    import pandas as pd

STATE = ("trial", "label", "status")
COST = "cost/"  # before the names of costs: some are those of settings too
PARAMETER = "parameter/"  # before a setting's name that is another column's, as in leaderboard.csv


def trial_frame(sweep: SweepResults) -> pd.DataFrame:
    """A row a trial, by number: state, metrics of the best epoch, cost, settings."""
    metrics, settings = _metric_names(sweep, sweep.trials), setting_columns(sweep)
    costs = _names(trial.cost for trial in sweep.trials)
    rows = [
        {"trial": trial.number, "label": trial.label, "status": trial.status, "epoch": (trial.best or {}).get("epoch")}
        | {name: _number((trial.best or {}).get(name)) for name in metrics}
        | {"epochs": len(trial.records), "seconds": trial.seconds}
        | {COST + name: trial.cost.get(name) for name in costs}
        | {column: trial.parameters.get(name) for name, column in settings.items()}
        | {"error": trial.error, "folder": str(trial.folder)}
        for trial in sorted(sweep.trials, key=lambda one: one.number)
    ]
    columns = [*STATE, "epoch", *metrics, "epochs", "seconds", *(COST + name for name in costs), *settings.values()]
    return _frame(rows, [*columns, "error", "folder"], floats=(*metrics, "seconds"))


def setting_columns(sweep: SweepResults) -> dict[str, str]:
    """The settings that were drawn: the column of each in the trials' frame, by its name."""
    taken = {*STATE, "epoch", "epochs", "seconds", "error", "folder"}
    names = _names(trial.parameters for trial in sweep.trials)
    return {name: f"{PARAMETER}{name}" if name in taken else name for name in names}


def curve_frame(sweep: SweepResults) -> pd.DataFrame:
    """A row a trial and epoch: every metric that was recorded, the learning rate, seconds, images a second."""
    metrics = _names(line for trial in sweep.trials for line in trial.records if "epoch" in line)
    metrics = [name for name in dict.fromkeys(("train/loss", sweep.metric, *metrics)) if name != "epoch"]
    rows = [
        {"trial": trial.number, "label": trial.label, "epoch": line["epoch"]} | {n: line.get(n) for n in metrics}
        for trial in sorted(sweep.trials, key=lambda one: one.number)
        for line in trial.records
    ]
    return _frame(rows, ["trial", "label", "epoch", *metrics], floats=("train/loss", sweep.metric))


def leaderboard_frame(sweep: SweepResults) -> pd.DataFrame:
    """The rows of leaderboard.csv: trials, best first, failed ones and those left out last."""
    rows = build_leaderboard(sweep)
    label = ["label"] if sweep.compare is not None else []
    empty = ["rank", "trial", *label, "status", "epoch", sweep.metric, "epochs", "seconds", "error"]
    return _frame(rows, list(rows[0]) if rows else empty, floats=(sweep.metric,))


def confirmed_frame(sweep: SweepResults, confirmed: Sequence[Confirmed]) -> pd.DataFrame:
    """A row a trial that was scored on test, best first: its mean over the seeds and the 95 % interval."""
    metric = confirm_metric(sweep)
    rows = [
        {"label": one.label, "trial": one.trial, "seeds": one.seeds, metric: one.mean, "low": one.low, "high": one.high}
        for one in confirmed
    ]
    return _frame(rows, ["label", "trial", "seeds", metric, "low", "high"], floats=(metric, "low", "high"))


def confirm_run_frame(sweep: SweepResults) -> pd.DataFrame:
    """A row a retraining: the trial that it repeats, its seed and role, its metrics on validation and on test."""
    metrics = _metric_names(sweep, [one.run for one in sweep.confirm])
    tests = list(dict.fromkeys((confirm_metric(sweep), *_names(one.test or {} for one in sweep.confirm))))
    rows = [
        {"label": one.label, "trial": one.run.number, "seed": one.seed, "role": one.role, "status": one.run.status}
        | {"epoch": (one.run.best or {}).get("epoch")}
        | {name: _number((one.run.best or {}).get(name)) for name in metrics}
        | {name: (one.test or {}).get(name) for name in tests}
        | {"seconds": one.run.seconds, "error": one.run.error, "folder": str(one.run.folder)}
        for one in sweep.confirm
    ]
    columns = ["label", "trial", "seed", "role", "status", "epoch", *metrics, *tests, "seconds", "error", "folder"]
    return _frame(rows, columns, floats=(*metrics, *tests, "seconds"))


def comparison_frame(comparisons: Sequence[PairComparison]) -> pd.DataFrame:
    """A row a pair of confirmed alternatives: the lead of the better one on test, and whether it is significant."""
    names = list(PairComparison.__dataclass_fields__)
    found = _frame([vars(one) for one in comparisons], names, floats=("mean", "low", "high", "p", "more_seeds"))
    return found.astype({"differs": bool})  # also without any pair, so that it can select rows


def _frame(rows: Sequence[dict[str, Any]], columns: Sequence[str], floats: Iterable[str]) -> pd.DataFrame:
    """The rows; a missing number is NaN, also in a column that has none at all."""
    import pandas as pd

    found = pd.DataFrame(rows, columns=list(columns))
    return found.astype(dict.fromkeys(floats, "float64"))


def _metric_names(sweep: SweepResults, trials: Sequence[TrialResult]) -> list[str]:
    """The sweep's metric, then every other one of val and of train."""
    seen = [name for name in _names(trial.best or {} for trial in trials) if name.startswith(("val/", "train/"))]
    return list(dict.fromkeys((sweep.metric, *sorted(seen, key=lambda name: name.startswith("train/")))))


def _names(rows: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _number(value: object) -> float | None:
    return float(value) if is_finite(value) else None
