"""`--dry-run`: what a sweep would run; needs no Ray, and torch only to compare models."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from hwcls.config.data import ChosenSize
from hwcls.config.model import ModelFamily
from hwcls.config.space import Range
from hwcls.config.sweep import TRACKERS, EarlyStopping, SweepConfig
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.config.yaml_source import YamlSource
from hwcls.data.augment.defaults import format_augment, summarise_augments
from hwcls.errors import UserError
from hwcls.format import format_count, format_duration, format_significant, join_words
from hwcls.models.alternatives import describe_same_models, expand_alternatives, group_same_models
from hwcls.sweep.monitor.progress import describe_parameters
from hwcls.sweep.preflight.notes import describe_notes
from hwcls.training.image_size import sizes_by_title

SAMPLES = 5
MOST_DRAWN = 100  # for each of them, until one can be trained


class RandomSuggest:
    """Samples every parameter at random, as Optuna's RandomSampler does, except for the `fixed` ones."""

    def __init__(self, seed: int, fixed: dict[str, Any]) -> None:
        self.random, self.fixed = random.Random(seed), fixed

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self.fixed.get(name, self.random.choice(choices))

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        if name in self.fixed:
            return float(self.fixed[name])
        if log:
            return float(low * (high / low) ** self.random.random())
        if step:
            return low + step * self.random.randint(0, int((high - low) / step + 1e-9))
        return self.random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        if name in self.fixed:
            return int(self.fixed[name])
        if log:
            return int(min(high, max(low, round(low * (high / low) ** self.random.random()))))
        return int(self.random.randrange(low, high + 1, step))


def plan_sweep(sweep: Sweep, notes: Sequence[str] | None = None, described: Sequence[str] = ()) -> dict[str, Any]:
    """The space, sample trials, the trials of each alternative, the rungs and warnings, as JSON-ready values.

    `notes` and `described` are those of `Prepared`; None: notes are found without it, as far as the data is here.
    """
    from hwcls.sweep.search.rungs import plateau_epoch, rung_limits

    config = sweep.config
    corners = sweep.corners
    early = sweep.early_stopping
    steps = []
    if early:
        steps = early.rungs(*rung_limits(early, corners))
    warnings = _schedule_warnings(early, steps, max(plateau_epoch(t) for t in corners), max(t.epochs for t in corners))
    missing = missing_data(check_data_names(corners, sweep.source))
    if notes is None:
        notes = [*_split_notes(corners), *_same_models(sweep)]
    return {
        "name": config.name,
        "method": config.method,
        "metrics": [config.metric.name, *(cost.name for cost in config.metric.costs)],
        "trials": sweep.total,
        "budget_seconds": config.budget,
        "space": [
            {
                "parameter": p.name,
                "values": str(p),
                "only_under": under,
                "kind": "range" if isinstance(p, Range) else "values",
            }
            for p, under in sweep.space.parameters()
        ],
        "data": list(described),
        "image_size": {title: vars(chosen) for title, chosen in sizes_by_title(sweep).items()},
        "augment": summarise_augments(corners),
        "samples": list(map(_flat_settings, _sample_trials(sweep))),
        "per_alternative": sweep.shares.trials_each() or dict.fromkeys(sweep.shares.labels),
        "share": sweep.shares.unit,
        "rungs": steps,
        "pauses": bool(early and early.pauses),
        "confirm": _confirm_counts(sweep),
        "tracking": describe_tracking(config),
        "warnings": [*warnings, *describe_notes(sweep), *notes, *missing],
        "missing_data": bool(missing),
    }


def _confirm_counts(sweep: Sweep) -> dict[str, Any] | None:
    """The confirm runs: how many pick the winners and how many report them, on which cuts; None without confirm."""
    config = sweep.config.confirm
    if config is None:
        return None
    each = {label: int(min(size, trials)) for label, trials, size in sweep.sizes}
    counts = sweep.confirm_runs(each, list(each) or list(sweep.shares.labels) or [None]).values()
    picks, reports = sum(count for count, _ in counts), sum(count for _, count in counts)
    found = {"picks": picks, "reports": reports, "runs": picks + reports}
    return found | {"splits": config.splits, "folds": config.fold_count}


def describe_tracking(config: SweepConfig) -> list[str]:
    """Where the runs of each tracker go, as far as environment variables decide it."""
    found = {name: TRACKERS[name].describe_environment(config.project) for name in config.track}
    return [f"{name}: {text}" for name, text in found.items() if text]


def check_data_names(trials: Sequence[TrialConfig], place: YamlSource) -> list[str]:
    """The data sets of some trials; raises UserError at its place in the sweep file for an unknown name or a path."""
    from hwcls.data.catalog import find_config_spec

    for data in {(trial.data.name, trial.data.path): trial.data for trial in trials}.values():
        try:
            find_config_spec(data)
        except UserError as error:
            where = place.where(("parameters", *error.where.split(".")))
            raise UserError(error.what, where=where, remedy=error.remedy) from None
    return list(dict.fromkeys(trial.data.name for trial in trials))


def sample_trial(sweep: Sweep, number: int) -> TrialConfig:
    """A random trial; the alternatives take turns. Raises ValidationError where it cannot be trained."""
    fixed = dict(sweep.alternatives[number % len(sweep.alternatives)].settings) if sweep.alternatives else {}
    return sweep.trial(RandomSuggest(sweep.config.seed * 1009 + number, fixed), seed=sweep.config.seed + number)


def _sample_trials(sweep: Sweep) -> list[TrialConfig]:
    """A few random trials; one that cannot be trained is drawn again."""
    found, turn = [], SAMPLES * max(1, len(sweep.alternatives))
    for first in range(min(SAMPLES, sweep.total or SAMPLES)):
        for number in range(first, first + MOST_DRAWN * turn, turn):  # of one alternative
            with contextlib.suppress(ValidationError):
                found.append(sample_trial(sweep, number))
                break
    return found or [sweep.corners[0]]


def _flat_settings(trial: TrialConfig) -> dict[str, Any]:
    return {name: value for name, value in trial.flat().items() if value is not None}


def _schedule_warnings(early: EarlyStopping | None, rungs: list[int], fires: int, epochs: int) -> list[str]:
    found = []
    if early and not rungs:
        found.append(f"no trial can be stopped early: the first rung is not before the last epoch, {epochs}")
    if early and early.min_iter and rungs and fires > rungs[0]:  # default rungs are late enough, as measured
        found.append(
            f"a plateau cannot lower the learning rate before epoch {fires}, but the first rung is at epoch {rungs[0]}"
        )
    if fires > epochs:
        found.append(f"a plateau cannot lower the learning rate in {format_count(epochs, 'epoch')}")
    return found


def _same_models(sweep: Sweep) -> list[str]:
    """Which variants are the same model: by structure, or by settings where building is slow.

    A sweep with a single model needs neither data nor torch.
    """
    found = expand_alternatives(sweep)
    if not found:
        return []
    from hwcls.models.summary import compute_identity

    known: dict[str, str] = {}

    def fingerprint(trial: TrialConfig) -> str:
        settings = _distinguishing_settings(trial.model)
        if trial.model.slow_to_build:
            return settings
        classes, channels, size = _shape(trial)
        key = f"{settings} {channels} {size}"
        if key not in known:
            known[key] = compute_identity(trial.model, classes=classes, channels=channels, image_size=size)
        return known[key]

    try:
        return [describe_same_models(labels) for labels in group_same_models(found, fingerprint)]
    except UserError as error:
        return [str(error)]


def _distinguishing_settings(model: ModelFamily) -> str:
    """The settings that make a model different from others; a head with one layer has no width."""
    values = model.model_dump(mode="json", exclude={"label": True, "head": {"label"}})
    if values.get("head", {}).get("depth") == 1:
        values["head"] = {"depth": 1}
    return json.dumps(values, sort_keys=True)


def _shape(trial: TrialConfig) -> tuple[int, int, int]:
    """Classes, channels and side of a trial's images, guessed where only the data could tell."""
    from hwcls.data.catalog import find_data_set

    spec, data = find_data_set(trial.data.name), trial.data
    classes = data.classes if isinstance(data.classes, int) else len(data.classes or range(10))
    return classes, data.channels or spec.channels or 3, data.image_size or spec.image_size or 64


def missing_data(names: Sequence[str]) -> list[str]:
    """A note for each data set that is to be fetched before it can be read."""
    from hwcls.data.catalog import find_data_set, locate

    missing = [name for name in names if find_data_set(name).in_raw_folders and locate(name) is None]
    remedy = "`hwcls data fetch {0}` or `hwcls data import {0} PATH`"
    return [f"data set {name} is missing: {remedy.format(name)}" for name in missing]


def _split_notes(trials: Sequence[TrialConfig]) -> list[str]:
    """What is to be known of the splits of the data sets that are here: classes that nothing judges, a small test."""
    from hwcls.data.catalog import locate_config
    from hwcls.data.imageset import count_images
    from hwcls.results.notes.test_size import split_notes

    found = []
    for data in dict.fromkeys(trial.data.pixels() for trial in trials):
        with contextlib.suppress(UserError):  # what cannot be read is an error of the start
            if locate_config(data) is not None:
                found += [f"{data.title}: {note}" for note in split_notes(data.name, *count_images(data))]
    return list(dict.fromkeys(found))


def print_plan(found: dict[str, Any], write: Callable[[str], None]) -> None:
    """Print the result of `plan_sweep` as text."""
    if found["trials"]:
        extent = format_count(found["trials"], "trial")
    else:
        extent = f"trials for {format_duration(found['budget_seconds'])}"
    front = f", the Pareto front of {join_words(found['metrics'])}" if len(found["metrics"]) > 1 else ""
    write(f"{found['name']}: {extent}, {found['method']}{front}")
    write("\nspace")
    width = max((len(entry["parameter"]) for entry in found["space"]), default=0)
    for entry in found["space"]:
        write(f"  {entry['parameter']:{width}}  {entry['values']}")
    sizes = [f"{title}: {ChosenSize(**chosen)}" for title, chosen in found["image_size"].items()]
    if lines := [*found["data"], *sizes]:
        write("\ndata")
    for line in lines:
        write(f"  {line}")
    write("\naugmentation")
    for entry in found["augment"]:
        write(f"  {format_augment(entry)}")
    if found["per_alternative"]:
        write("\ntrials of each alternative")
        share = f"its share of the {'time' if found['share'] == 'seconds' else found['share']}"
        for label, count in found["per_alternative"].items():
            write(f"  {label}: {share if count is None else count}")
    how = "trials pause, and the best go on," if found["pauses"] else "early stopping"
    write(f"\n{how} at epochs {', '.join(map(str, found['rungs']))}" if found["rungs"] else "\nno early stopping")
    if found["confirm"]:
        picks = "{picks} runs pick the winners, ".format(**found["confirm"]) if found["confirm"]["picks"] else ""
        reports, whom = found["confirm"]["reports"], "points of the front" if front else "them"
        others = format_count(reports, "other" if picks else "run")
        text = f"\nconfirm: {picks}{others} {'reports' if reports == 1 else 'report'} {whom} on test"
        if found["confirm"]["folds"]:
            text += f", each without one of {found['confirm']['folds']} folds of train and val"
        elif found["confirm"]["splits"]:
            text += ", each on a cut of train and val of its own"
        write(text)
    write(f"\n{len(found['samples'])} random example trials")
    constant = {k for k in found["samples"][0] if all(s.get(k) == found["samples"][0][k] for s in found["samples"])}
    for sample in found["samples"]:
        varied = {name: value for name, value in sample.items() if name not in constant}
        write(f"  {describe_parameters('the same settings', varied)}")
    if found["tracking"]:
        write("\ntracking")
    for line in found["tracking"]:
        write(f"  {line}")
    for warning in found["warnings"]:
        write(f"\nnote: {warning}")


def print_estimate(found: dict[str, Any], write: Callable[[str], None], *, confirm: bool) -> None:
    """Print an estimate as text; `confirm`: confirm runs are part of it."""
    low, high = found["seconds"]
    write(f"\nit will take about {format_duration(low)} to {format_duration(high)} here, {found['resources']}")
    if found["gpu_share"]:
        write(f"  {found['gpu_share']['text']}")
    low, high = found["start_seconds"]
    write(f"  of it {format_duration(low)} to {format_duration(high)} until the first trial trains")
    for job in found["features"]:
        once = f"once: {format_duration(job['seconds'])}" if job["pending"] else "there already"
        write(f"  {job['what']}, {once}")
    if found["gpu_hours"][1]:
        write(f"  {' to '.join(format_significant(hours, 2) for hours in found['gpu_hours'])} GPU-hours")
    low, high = found["epochs"]
    epochs = format_count(high, "epoch") if low == high else f"{low:,} to {high:,} epochs"
    each = format_duration(sum(found["trial_seconds"]) / 2 / max(found["trials"], 1))
    length = f" of about {each}" if found["features"] and not confirm else ""
    also = ", confirm runs included" if confirm else ""
    write(f"  {format_count(found['trials'], 'trial')}{length}, {epochs} in all{also}")
    for label, seconds in found["epoch_seconds"].items():
        write(f"  an epoch of {label}: {format_duration(seconds)}")
    write(f"  {found['disk']['text']}")
    write(f"  {found['cache']['text']}")
    for note in found["notes"]:
        write(f"\nnote: {note}")
