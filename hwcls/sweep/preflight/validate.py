"""Checks before Ray, torch and Optuna are imported: errors that need none of them are reported at once."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwcls.config.model import SOURCES, earlier_model_keys
from hwcls.config.sweep import TRACKERS
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig, earlier_keys
from hwcls.config.yaml_source import YamlSource
from hwcls.data.catalog import find_data_set, locate_config
from hwcls.errors import UserError
from hwcls.models.user.code import accept_named, is_of_results
from hwcls.models.user.trust import accepts_all
from hwcls.reading import read_or_none, read_yaml
from hwcls.sweep.preflight.cuts import check_same_cuts
from hwcls.sweep.preflight.dry_run import check_data_names
from hwcls.sweep.search.earlier_results import check_earlier_results
from hwcls.sweep.storage import environment, results_folder
from hwcls.sweep.storage.mirror import SharedResults
from hwcls.temporary import own_temporary_files
from hwcls.tracking.folders import SweepFolder
from hwcls.training.image_size import is_open, size_sweep


@dataclass(frozen=True)
class Options:
    """How a sweep is run, in addition to its file."""

    results: Path = Path("results")
    new: bool = False
    wandb: str = "auto"
    address: str | None = None
    warm_start: Path | None = None  # another sweep's results, whose trials the sampler knows from the start
    shared: SharedResults | None = None  # shared storage whose working copy `results` is


def check_sweep(sweep: Sweep, options: Options) -> Sweep:
    """Check a sweep before its start; nothing is written.

    Returns:
        The sweep under the name that it runs by: with `--new` a free one.

    Raises:
        UserError: The file, the trackers or the results folder do not permit the start.
    """
    check_data_names(sweep.corners, sweep.source)
    _check_paths(sweep.corners, sweep.source, has_copies=(options.results / sweep.config.name / SOURCES).is_dir())
    accept_named((trial.model for trial in sweep.corners), Path(sweep.source.path))
    _check_trackers(sweep, options.wandb)
    if options.warm_start is not None:
        check_earlier_results(options.warm_start, sweep.config.metric)
    if options.new:
        taken = options.shared.sweep_names() if options.shared else ()
        sweep = sweep.renamed(results_folder.free_name(sweep.config.name, options.results, taken))
    if options.shared:
        options.shared.mirror(sweep.config.name).download()
    folder = options.results / sweep.config.name
    sweep = sweep.begun(read_or_none(read_yaml, folder / "sweep.yaml") or {"method": sweep.config.method})
    change = results_folder.check_folder(folder, sweep.resolved(), Path(sweep.source.path))
    if change is not None:
        sweep = replace(sweep, notes=tuple(dict.fromkeys((*sweep.notes, *change.describe()))))
    check_same_cuts(sweep, SweepFolder(folder))
    split, models = _earlier_split(SweepFolder(folder)), _earlier_models(sweep, SweepFolder(folder))
    sweep = replace(sweep, earlier="val_min" in split, earlier_split=split, earlier_models=models)
    return _with_inputs(_with_rule(sweep, folder), SweepFolder(folder))


def _with_rule(sweep: Sweep, folder: Path) -> Sweep:
    """The sweep with the rule of early stopping that its earlier starts had, where the file leaves it open."""
    before = environment.read_stopping_rule(folder)
    if before is None and SweepFolder(folder).trials():  # of a version that did not record it
        before = "stopping"
    sweep = replace(sweep, rule_before=before)
    early = sweep.early_stopping
    if early is not None and early.pauses and sweep.config.keep == "none":
        what = "keep: none leaves nothing of a trial that pauses, as trials of this sweep do (rule: promotion)"
        raise UserError(what, where=sweep.source.where(("keep",)), remedy="write keep: best, or pass --new")
    return sweep


def _with_inputs(sweep: Sweep, folder: SweepFolder) -> Sweep:
    """The sweep with what its file leaves open of the inputs: a size as its trials have, or chosen now."""
    left_open = {
        (trial.data.name, trial.data.label): find_data_set(trial.data.name).user_files
        for trial in sweep.corners
        if is_open(trial.data, trial.model)
    }
    recorded: dict[str, int | None] = {}
    if "interpolation" in sweep.earlier_split:  # the version that began it took a known data set as its files are
        recorded = {name: None for (name, _), own in left_open.items() if not own}
    for trial in folder.trials().values():
        if {name for name, _ in left_open} <= recorded.keys():
            break
        with contextlib.suppress(UserError):  # damaged: the next one is read
            config = trial.config()
            # others have a size in the file, or are from scratch: theirs is not for these
            own = left_open.get((config.data.name, config.data.label))
            if own or (own is False and config.model.pretrained_from is not None):
                recorded.setdefault(config.data.name, config.data.image_size)
    try:
        return size_sweep(sweep, recorded)
    except UserError as error:
        raise locate_data_error(error, sweep.source) from None


def _earlier_split(folder: SweepFolder) -> dict[str, Any]:
    """What the version that began this sweep meant by keys of `data` that it did not record: 0.1 no `val_min`."""
    for trial in folder.trials().values():
        with contextlib.suppress(UserError):  # damaged: the next one is read
            data = trial.settings().get("data")
            return earlier_keys(data) if isinstance(data, dict) else {}
    return {}


def _earlier_models(sweep: Sweep, folder: SweepFolder) -> dict[str, dict[str, Any]]:
    """What the version that began this sweep meant by keys of `model` that it did not record, by the model's name.

    Only models that had other keys before are looked for, each until a trial has it.
    """
    wanted = {trial.model.name for trial in sweep.corners if earlier_model_keys({"name": trial.model.name})}
    found: dict[str, dict[str, Any]] = {}
    for trial in folder.trials().values() if wanted else ():
        if wanted <= found.keys():
            break
        with contextlib.suppress(UserError):  # damaged: the next one is read
            model = trial.settings().get("model")
            if isinstance(model, dict) and (name := str(model.get("name"))) not in found:
                found[name] = earlier_model_keys(model)
    return found


def _check_trackers(sweep: Sweep, mode: str) -> None:
    for name, settings in sweep.config.trackers.items():
        if name in sweep.config.track:
            settings.check_installed(sweep.source.where(("trackers", name)))
            if is_of_results(Path(sweep.source.path)) and not accepts_all():
                TRACKERS[name].check_trusted(settings, sweep.source.where(("trackers", name)))
    if sweep.config.notify and sweep.config.notify.command is not None:
        from hwcls.sweep.monitor.notify import check_command, notify_config

        notify = notify_config(sweep)
        if notify and notify.command is not None:
            check_command(notify.command, sweep.source.where(("notify", "command")))
    for name in sweep.config.track:
        tracker = TRACKERS[name]
        tracker.check_installed(sweep.source.where(("track",)))
        with own_temporary_files():
            tracker.check_login(mode)


def _check_paths(trials: Sequence[TrialConfig], place: YamlSource, *, has_copies: bool) -> None:
    """Check that the user's files exist: images, and models unless an earlier start has copied them."""
    for data in {(trial.data.name, trial.data.path): trial.data for trial in trials}.values():
        try:
            locate_config(data)
        except UserError as error:
            raise locate_data_error(error, place) from None
    for trial in trials:
        source = trial.model.source_file
        if source is not None and not has_copies and not source.is_file():
            remedy = "name an existing file and its function: my_file.py:build"
            raise UserError(f"no model file '{source}'", where=locate_model(trial, place), remedy=remedy)


def locate_model(trial: TrialConfig, place: YamlSource) -> str:
    """The place of a trial's model in the sweep file."""
    branch = ("choice", trial.model.label) if trial.model.label else ()
    return place.where(("parameters", "model", *branch))


def locate_data_error(error: UserError, place: YamlSource) -> UserError:
    """An error of a data set, with its place in the sweep file."""
    if not error.where.startswith("data."):
        return error
    key, _, rest = error.where.partition(":")
    what = f"{rest.strip()}: {error.what}" if rest else error.what
    return UserError(what, where=place.where(("parameters", *key.split("."))), remedy=error.remedy)
