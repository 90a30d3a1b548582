"""A results folder as plain values, whether its trials ended, run or failed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from hwcls.config.data import OWN_IMAGES
from hwcls.config.optim import CostConfig, MetricConfig
from hwcls.config.space_parser import RecordedSpace
from hwcls.config.sweep import EarlyStopping
from hwcls.config.trial import flat_name, flatten
from hwcls.errors import UserError, wrong_folder
from hwcls.escape import printable
from hwcls.reading import DamagedFile, UnreadableFile, read_json, read_or_none, read_yaml, report_damage
from hwcls.results.confirm.cuts import Cut
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.left_out import LeftOut, find_left_out
from hwcls.tracking.records import Result
from hwcls.tracking.shapes import DataShape, EnvironmentShape, ModelsShape, SweepShape
from hwcls.training.artifacts import read_class_count

UNFINISHED = "unfinished"  # no result.json: running or interrupted
PAUSED = "paused"  # it waits at a rung of early stopping, and continues if it is promoted
RUNNING = "running"  # no result.json, and a driver works in the folder: see `mark_running`
ROLES = PICK, REPORT = "pick", "report"  # of confirm runs
Record = Mapping[str, Any]
Recorded = tuple[Result | None, Sequence[Record]]  # result.json of a trial, and its epochs
ReadTrial = Callable[[TrialFolder], Recorded]


@dataclass(frozen=True)
class TrialResult:
    """One trial, finished or not."""

    number: int
    folder: Path
    label: str | None  # of the alternative that `compare` names
    status: str  # one of records.STATUSES, UNFINISHED, RUNNING or PAUSED
    records: tuple[Record, ...]  # one per epoch, in order
    best: Record | None  # the metrics of the best epoch; None when no epoch has a finite metric
    value: float | None  # of the sweep's metric in `best`
    parameters: Mapping[str, Any]  # what was drawn, by flat name
    seconds: float
    error: str | None
    cost: Mapping[str, Any]  # parameters, flops, receptive_field, inference_ms; empty while it runs

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    @property
    def ended(self) -> bool:
        return self.status not in (UNFINISHED, RUNNING, PAUSED)

    @property
    def can_win(self) -> bool:
        """Whether it can be confirmed, or be on the front: it has a value, and no user stopped it."""
        return self.value is not None and self.status in ("complete", "stopped")


@dataclass(frozen=True)
class ConfirmRun:
    """A trial trained again with a new seed: to pick a winner on validation, or to report it on test."""

    label: str
    seed: int
    run: TrialResult  # `number` is that of the trial it repeats, -1 while unknown
    test: Mapping[str, float] | None  # test/accuracy and so on
    role: str | None = None  # "pick" or "report"; None in results of versions whose winners were reported on picks
    cut: Cut | None = None  # of train and val; None: that of the search

    @property
    def key(self) -> str:
        """Its folder in that of the sweep."""
        return f"confirm/{self.label}/{self.seed}"

    @property
    def complete(self) -> bool:
        return self.run.status == "complete" and self.run.value is not None


@dataclass(frozen=True)
class LeftOutTrial:
    """A trial that does not count, and why."""

    trial: TrialResult
    reason: LeftOut
    confirm: tuple[ConfirmRun, ...] = ()  # which do not count either


@dataclass(frozen=True, eq=False)
class SweepResults:
    """The contents of a results folder."""

    folder: Path
    name: str
    settings: Mapping[str, Any]  # sweep.yaml
    metric: str
    goal: str  # maximize or minimize
    compare: str | None
    data: Mapping[str, Any] | None
    same_models: tuple[tuple[str, ...], ...]  # groups of alternatives that are the same model
    environment: Mapping[str, Any] | None
    trials: tuple[TrialResult, ...]
    confirm: tuple[ConfirmRun, ...]
    looks: tuple[Mapping[str, int], ...] = ()  # seeds of each alternative, or point, at every verdict on test
    running: bool = False  # whether a driver is known to work in the folder now
    costs: tuple[CostConfig, ...] = ()  # the further metrics of a sweep with several
    left_out: tuple[LeftOutTrial, ...] = ()  # neither in `trials` nor in `confirm`: in no ranking, chart or verdict

    def count_test_scores(self) -> int:
        """How often confirm runs were scored on test: those of trials that are left out have been seen as well."""
        every = [*self.confirm, *(run for one in self.left_out for run in one.confirm)]
        return sum(run.test is not None for run in every)

    @property
    def stopping(self) -> str | None:
        """The rule of early stopping, in any of the forms that a sweep file has it in; None without one."""
        early = self.settings.get("early_terminate")
        name = early.get("type", EarlyStopping().type) if isinstance(early, Mapping) else early
        return None if name is None or str(name).casefold() == "none" else str(name)

    @property
    def sign(self) -> int:
        """1 to maximize, -1 to minimize."""
        return -1 if self.goal == "minimize" else 1

    @cached_property
    def compared(self) -> str | None:
        """The flat name of the setting that `compare` names, whose value is a trial's label; None without one."""
        if self.compare is None:
            return None
        path, space = tuple(self.compare.removeprefix("parameters.").split(".")), RecordedSpace(self.settings).space
        return (space.flat_names if space else {}).get(path, flat_name(path))

    @property
    def labels(self) -> list[str | None]:
        """The alternatives with a trial: numbers by value, then words alphabetically, a stable order while it grows."""

        def key(label: str | None) -> tuple[bool, float, str]:
            try:
                return False, float(label or ""), ""
            except ValueError:
                return True, 0.0, label or ""

        return sorted({trial.label for trial in self.trials}, key=key)

    def ranked(self) -> list[TrialResult]:
        """The trials, best first, then those without a value, failed ones last."""

        def key(trial: TrialResult) -> tuple[bool, bool, float, int]:
            return trial.failed, trial.value is None, -self.sign * (trial.value or 0.0), trial.number

        return sorted(self.trials, key=key)


def load_results(path: Path) -> SweepResults:
    """Read a results folder; truncated lines, missing files and running trials are tolerated.

    Raises UserError if `path` is not a results folder.
    """
    return _load(path, _read_all)


def load_outcomes(path: Path) -> SweepResults:
    """As `load_results`, with the best epoch alone of the trials that have ended: it reads their result.json only."""
    return _load(path, _read_outcome)


def _load(path: Path, read: ReadTrial) -> SweepResults:
    settings = read_settings(path)
    metric = _mapping(settings.get("metric"))
    name, goal = str(metric.get("name", "val/accuracy")), str(metric.get("goal", "maximize"))
    space = RecordedSpace(settings)
    folder, models = SweepFolder(path), read_or_none(read_json, path / "models.json", ModelsShape)

    trials = [_trial(n, source, read(source), name, goal, space) for n, source in folder.trials().items()]
    left_out = find_left_out(path, settings)
    filled = _fill_parameters(trials, space)
    found = SweepResults(
        folder=path,
        name=str(settings.get("name") or path.name),
        settings=settings,
        metric=name,
        goal=goal,
        costs=_costs(metric),
        compare=space.compare,
        data=_with_path(read_data(folder), folder),
        same_models=tuple(map(tuple, models["same"])) if models else (),
        environment=read_or_none(read_json, path / "environment.json", EnvironmentShape),
        trials=tuple(trial for trial in filled if trial.number not in left_out),
        confirm=(),
        left_out=tuple(LeftOutTrial(t, left_out[t.number]) for t in filled if t.number in left_out),
    )
    return reload_confirm(found)


def read_data(folder: SweepFolder) -> Mapping[str, Any] | None:
    """data.json; None where it is missing or damaged, also if it has other classes than all predictions."""
    path = folder.path / "data.json"
    data: Mapping[str, Any] | None = read_or_none(read_json, path, DataShape)
    known = [len(one["classes"]) for one in (data or {}, *(data or {}).get("others", ())) if one.get("classes")]
    if not known:
        return data
    files = [trial.path / "predictions.npz" for trial in folder.trials().values()]
    files += [run.path / "test_predictions.npz" for run in folder.confirm_runs().values()]
    predicted: Counter[int] = Counter()
    for file in files:  # the first one is enough unless something is damaged
        count = read_class_count(file)
        if count in known:
            return data
        predicted.update([] if count is None else [count])
    if not predicted:
        return data
    classes = "1 class" if known[0] == 1 else f"{known[0]} classes"
    report_damage(path, f"is damaged ({classes}, predictions have {predicted.most_common(1)[0][0]})")
    return None


def _with_path(data: Mapping[str, Any] | None, folder: SweepFolder) -> Mapping[str, Any] | None:
    """data.json with the path of a user's own images, which earlier versions recorded with each trial alone."""
    entries = [] if data is None else [data, *data.get("others", ())]
    if data is None or all(map(_has_path, entries)):
        return data
    configs = (read_or_none(read_yaml, trial.path / "config.yaml") or {} for trial in folder.trials().values())
    paths = (path for config in configs if (path := _mapping(config.get("data")).get("path")))
    known = dict.fromkeys(paths) if len(entries) > 1 else [next(paths, None)]
    if len(known) != 1:  # of several folders it was not recorded which is whose
        return data
    first, *others = (one if _has_path(one) else {**one, "path": next(iter(known))} for one in entries)
    return {**first, "others": others} if others else first


def _has_path(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of data.json says which images it is of: known data sets need no path."""
    return entry.get("name") != OWN_IMAGES or isinstance(entry.get("path"), str)


def reload_confirm(sweep: SweepResults) -> SweepResults:
    """The same results with the confirm runs as they are on disk now."""

    def read(number: int, source: TrialFolder) -> TrialResult:
        return _trial(number, source, _read_all(source), sweep.metric, sweep.goal, space)

    folder, space = SweepFolder(sweep.folder), RecordedSpace(sweep.settings)
    runs = tuple(_confirm_run(*key, source, read) for key, source in folder.confirm_runs().items())
    left_out = {
        one.trial.number: replace(one, confirm=tuple(run for run in runs if run.run.number == one.trial.number))
        for one in sweep.left_out
    }
    confirm = tuple(run for run in runs if run.run.number not in left_out)
    return replace(sweep, confirm=confirm, looks=tuple(folder.looks()), left_out=tuple(left_out.values()))


def mark_running(sweep: SweepResults) -> SweepResults:
    """The same results while a driver works in their folder: what has not ended is running."""

    def mark(trial: TrialResult) -> TrialResult:
        return replace(trial, status=RUNNING) if trial.status == UNFINISHED else trial

    confirm = tuple(replace(one, run=mark(one.run)) for one in sweep.confirm)
    return replace(sweep, trials=tuple(map(mark, sweep.trials)), confirm=confirm, running=True)


def is_finite(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def best_record(records: Iterable[Record], metric: str, goal: str) -> Record | None:
    """The first record with the best finite `metric`, None if there is none."""
    sign = -1 if goal == "minimize" else 1
    return max(
        (line for line in records if is_finite(line.get(metric))), key=lambda line: sign * line[metric], default=None
    )


def _read_all(source: TrialFolder) -> Recorded:
    return source.result(), source.records()


def _read_outcome(source: TrialFolder) -> Recorded:
    """What a trial's result has of its best epoch; all epochs while it has none."""
    result = source.result()
    if result is None:
        return None, source.records()
    return result, [result.best] if result.best else []


def _trial(
    number: int, source: TrialFolder, recorded: Recorded, metric: str, goal: str, space: RecordedSpace
) -> TrialResult:
    result, epochs = recorded
    lines = {line["epoch"]: line for line in epochs if isinstance(line.get("epoch"), int)}
    records = tuple(lines[epoch] for epoch in sorted(lines))
    best = best_record(records, metric, goal)
    if result is not None and result.best and is_finite(result.best.get(metric)):
        if result.best.get("epoch") not in lines:
            report_damage(source.metrics_path, f"lacks epoch {result.best.get('epoch')}, the best one")
        best = {**lines.get(result.best.get("epoch", 0), {}), **result.best}
    waiting, error = None if result else source.paused(), None
    known = result or waiting
    if result is not None and result.status == "failed":
        error = printable(" ".join((result.error or "no recorded reason").split()))
    return TrialResult(
        number=number,
        folder=source.path,
        label=_label(source, known, space),
        status=result.status if result else PAUSED if waiting else UNFINISHED,
        records=records,
        best=best,
        value=float(best[metric]) if best else None,
        parameters=_mapping(known.parameters) if known else {},
        seconds=float(result.seconds) if result else sum(r["seconds"] for r in records if is_finite(r.get("seconds"))),
        error=error,
        cost=_mapping(result.extra.get("cost")) if result else source.cost(),
    )


def _costs(metric: Record) -> tuple[CostConfig, ...]:
    try:
        return MetricConfig.model_validate(dict(metric)).costs
    except ValidationError:  # of another version
        return ()


def _label(source: TrialFolder, result: Result | None, space: RecordedSpace) -> str | None:
    if result is not None:
        return None if result.label is None else printable(str(result.label))
    return None if space.compare is None else space.label(_config(source))


def _fill_parameters(trials: list[TrialResult], source: RecordedSpace) -> list[TrialResult]:
    """Fill the parameters of trials that run or were interrupted from their config: what the sweep file searches."""
    if all(trial.ended or trial.status == PAUSED for trial in trials):
        return trials
    space = source.space
    drawn = {name for trial in trials for name in trial.parameters}

    def recorded(trial: TrialResult) -> dict[str, Any]:
        config = _config(TrialFolder(trial.folder))
        if space is not None:
            return space.recorded_settings(config)
        return {name: value for name, value in flatten(config).items() if name in drawn}

    return [
        trial if trial.ended or trial.status == PAUSED else replace(trial, parameters=recorded(trial))
        for trial in trials
    ]


def _confirm_run(folder_label: str, seed: int, source: TrialFolder, read: Any) -> ConfirmRun:
    result = source.result()
    extra = result.extra if result else {}
    known = {**source.purpose(), **extra}
    number, role = known.get("trial"), known.get("role")
    run = read(number if isinstance(number, int) else -1, source)
    test = extra.get("test") or next((line for line in source.records() if "epoch" not in line), None)
    scores = {key: value for key, value in _mapping(test).items() if key.startswith("test/") and is_finite(value)}
    cut = Cut.from_record(known.get("cut"))
    return ConfirmRun(run.label or folder_label, seed, run, scores or None, role if role in ROLES else None, cut)


def read_settings(path: Path) -> dict[str, Any]:
    """The sweep file that a results folder keeps; raises UserError if `path` is not a results folder."""
    file = path / "sweep.yaml"
    remedy = "name a folder that 'hwcls sweep' wrote, such as results/quickstart"
    try:
        settings: dict[str, Any] = read_yaml(file, SweepShape)
    except FileNotFoundError:
        raise wrong_folder(path, "is not a results folder (it has no sweep.yaml)", remedy) from None
    except UnreadableFile:
        raise
    except DamagedFile as error:
        raise UserError(error.what, where=error.where, remedy=f"restore it, or {remedy}") from None
    return settings


def _config(source: TrialFolder) -> dict[str, Any]:
    try:
        return source.settings()
    except UserError as error:
        report_damage(source.path / "config.yaml", error.what)
        return {}


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
