"""`--dry-run`: what a sweep would do, said before anything starts; needs no Ray, and torch only to compare models."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from hwcls.config.model import ModelFamily
from hwcls.config.space import Range
from hwcls.config.sweep import EarlyStopping
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.format import format_duration
from hwcls.models.alternatives import same, sentence, variants

SAMPLES = 5


class Random:
    """Draws every parameter at random, as Optuna's RandomSampler does."""

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


def preview(sweep: Sweep) -> dict[str, Any]:
    """The space, sample trials, the trials of each alternative, the rungs, what collides, and which data is missing."""
    from hwcls.sweep.search.rungs import plateau_epoch, rung_limits

    config = sweep.config
    corners = sweep.corners
    early = config.early_terminate
    steps = []
    if early:
        steps = early.rungs(*rung_limits(early, corners))
    warnings = _collisions(early, steps, max(plateau_epoch(t) for t in corners), max(t.epochs for t in corners))
    missing = _missing_data(sweep, corners)
    return {
        "name": config.name,
        "method": config.method,
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
        "samples": [_short(draw(sweep, i)) for i in range(min(SAMPLES, sweep.total or SAMPLES))],
        "per_alternative": sweep.shares.trials_each() or dict.fromkeys(sweep.shares.labels),
        "share": sweep.shares.unit,
        "rungs": steps,
        "warnings": [*warnings, *_same_models(sweep), *missing],
        "missing_data": bool(missing),
    }


def known_data(sweep: Sweep, trials: Sequence[TrialConfig]) -> list[str]:
    """The data sets that trials name; raises UserError, with its place, for an unknown one or one with a wrong path."""
    from hwcls.data.catalog import find_config_spec

    for data in {(trial.data.name, trial.data.path): trial.data for trial in trials}.values():
        try:
            find_config_spec(data)
        except UserError as error:
            where = sweep.source.where(("parameters", *error.where.split(".")))
            raise UserError(error.what, where=where, remedy=error.remedy) from None
    return list(dict.fromkeys(trial.data.name for trial in trials))


def draw(sweep: Sweep, number: int) -> TrialConfig:
    """A trial drawn at random, the alternatives taking turns."""
    fixed = dict(sweep.alternatives[number % len(sweep.alternatives)].settings) if sweep.alternatives else {}
    return sweep.trial(Random(sweep.config.seed * 1009 + number, fixed), seed=sweep.config.seed + number)


def _short(trial: TrialConfig) -> dict[str, Any]:
    return {name: value for name, value in trial.flat().items() if value is not None}


def _collisions(early: EarlyStopping | None, rungs: list[int], fires: int, epochs: int) -> list[str]:
    found = []
    if early and not rungs:
        found.append(f"no trial can be stopped early: the first rung lies at or after the {epochs} epochs")
    if early and early.min_iter and rungs and fires > rungs[0]:  # a rung that hwcls chose is measured to be late enough
        found.append(
            f"a plateau cannot lower the learning rate before epoch {fires}, but the first rung is at epoch {rungs[0]}"
        )
    if fires > epochs:
        found.append(f"a plateau cannot lower the learning rate within the {epochs} epochs")
    return found


def _same_models(sweep: Sweep) -> list[str]:
    """Which variants are one model: hwcls's own families by structure, others, slow to build, by their settings.

    Neither the data nor torch is needed where there is a single model.
    """
    found = variants(sweep)
    if not found:
        return []
    from hwcls.models.summary import identity

    known: dict[str, str] = {}

    def of(trial: TrialConfig) -> str:
        settings = _settings(trial.model)
        if trial.model.slow_to_build:
            return settings
        classes, channels, size = _shape(trial)
        key = f"{settings} {channels} {size}"
        if key not in known:
            known[key] = identity(trial.model, classes=classes, channels=channels, image_size=size)
        return known[key]

    try:
        return [sentence(labels) for labels in same(found, of)]
    except UserError as error:
        return [str(error)]


def _settings(model: ModelFamily) -> str:
    """What tells a model from another; of a head with a single layer only that it is one."""
    values = model.model_dump(mode="json", exclude={"label": True, "head": {"label"}})
    if values.get("head", {}).get("depth") == 1:
        values["head"] = {"depth": 1}
    return json.dumps(values, sort_keys=True)


def _shape(trial: TrialConfig) -> tuple[int, int, int]:
    """Classes, channels and side of a trial's images as far as they are known without the data."""
    from hwcls.data.catalog import find_spec

    spec, data = find_spec(trial.data.name), trial.data
    classes = data.classes if isinstance(data.classes, int) else len(data.classes or range(10))
    return classes, data.channels or spec.channels or 3, data.image_size or spec.image_size or 64


def _missing_data(sweep: Sweep, trials: Sequence[TrialConfig]) -> list[str]:
    from hwcls.data.catalog import find_spec, locate

    found = []
    for name in known_data(sweep, trials):
        if find_spec(name).in_raw_folders and locate(name) is None:
            found.append(
                f"data set {name} is not here yet: `hwcls data fetch {name}` or `hwcls data import {name} PATH`"
            )
    return found


def show(found: dict[str, Any], say: Callable[[str], None]) -> None:
    """Print a preview as text."""
    trials = f"{found['trials']} trials" if found["trials"] else f"as many trials as {found['budget_seconds']:g} s hold"
    say(f"{found['name']}: {trials}, {found['method']}")
    say("\nspace")
    width = max((len(entry["parameter"]) for entry in found["space"]), default=0)
    for entry in found["space"]:
        say(f"  {entry['parameter']:{width}}  {entry['values']}")
    if found["per_alternative"]:
        say("\ntrials of each alternative")
        share = f"its share of the {'time' if found['share'] == 'seconds' else found['share']}"
        for label, count in found["per_alternative"].items():
            say(f"  {label}: {share if count is None else count}")
    say(
        f"\nearly stopping at epochs {', '.join(map(str, found['rungs']))}" if found["rungs"] else "\nno early stopping"
    )
    say(f"\n{len(found['samples'])} trials drawn at random, for instance")
    constant = {k for k in found["samples"][0] if all(s.get(k) == found["samples"][0][k] for s in found["samples"])}
    for sample in found["samples"]:
        words = [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in sample.items() if k not in constant]
        say(f"  {', '.join(words) or 'the same settings'}")
    for warning in found["warnings"]:
        say(f"\nnote: {warning}")


def show_estimate(found: dict[str, Any], say: Callable[[str], None]) -> None:
    """Print an estimate as text."""
    low, high = found["seconds"]
    say(f"\nit will take about {format_duration(low)} to {format_duration(high)} here, {found['resources']}")
    if found["gpu_hours"][1]:
        say("  {:.2g} to {:.2g} GPU-hours".format(*found["gpu_hours"]))
    epochs = " to ".join(f"{count:,}" for count in dict.fromkeys(found["epochs"]))
    say(f"  {found['trials']} trials, {epochs} epochs in all, confirm runs included")
    for label, seconds in found["epoch_seconds"].items():
        say(f"  an epoch of {label}: {seconds:.2g} s")
    say(f"  {found['disk']['text']}")
    for note in found["notes"]:
        say(f"\nnote: {note}")
