"""Rebuilds study.journal where trials are left out or counted again, or the space has changed.

Optuna neither changes the values of a categorical parameter in a study nor forgets a trial. So the study is written
again: every trial keeps its number; one that counts gets the distributions of the present space, the others have failed
for Optuna, which all samplers pass over, and keep what they were as an attribute. What the study must agree with is in
sweep.yaml and the folders of the trials: after a crash before the rename the next start rebuilds the old journal.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hwcls import files
from hwcls.config.sweep_file import Sweep
from hwcls.reading import read_or_none, read_yaml
from hwcls.sweep.search.journal import Journal
from hwcls.sweep.search.study.replay import Replay
from hwcls.sweep.storage.changes.outside import Outside, find_settings
from hwcls.sweep.storage.journal_format import BORROWED, LEFT_OUT
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.left_out import LeftOut, find_left_out, read_changes

VERSION, LINES = "version", "lines"  # of a study: what it agrees with; the lines of the journals before it
HIDDEN = "hidden"  # of a trial that is not in the present space: what it was
NOT_BEGUN = "it had not begun when the sweep file was changed"


def rebuild_changed(journal: Journal, storage: JournalStorage, sweep: Sweep, folder: SweepFolder) -> bool:
    """Rebuild a journal that does not agree with the sweep's space, or with who is left out; whether it did."""
    settings = read_or_none(read_yaml, folder.path / "sweep.yaml") or {}
    left_out = find_left_out(folder.path, settings)
    version = _needed_version(sweep, settings, left_out)
    known = next(iter(storage.get_all_studies()), None)
    if known is None or known.user_attrs.get(VERSION, "") == version:
        return False
    old = optuna.load_study(study_name=known.study_name, storage=storage)
    trials = _Mapping(sweep, folder, left_out).all(old.get_trials(deepcopy=False))
    attributes = {**known.user_attrs, VERSION: version, LINES: earlier_lines(known) + journal.count()}
    _replace(journal.path, old, attributes, trials)
    return True


def earlier_lines(study: Any) -> int:
    """The lines of the journals before a rebuilt one."""
    return int(study.user_attrs.get(LINES, 0))


def _needed_version(sweep: Sweep, settings: Mapping[str, Any], left_out: Mapping[int, LeftOut]) -> str:
    """What a study must agree with, empty where nothing was ever changed or excluded."""
    keys = {changed.key for change in read_changes(settings).log for changed in change.changed}
    if not left_out and not any(key.startswith("parameters.") for key in keys):
        return ""
    space = [str(parameter) for parameter in sweep.space.parameters()]
    content = json.dumps([space, {number: str(why) for number, why in left_out.items()}])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _replace(path: Path, old: optuna.Study, attributes: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> None:
    """Replace a journal by one with these trials, at once."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # of a start that was killed
        files.remove(leftover)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        journal = Journal(temporary)
        storage = JournalStorage(journal)
        study = optuna.create_study(storage=storage, study_name=old.study_name, directions=old.directions)
        for name, value in attributes.items():
            study.set_user_attr(name, value)
        study.add_trials(trials)
        journal.sync()
        os.replace(temporary, path)
    finally:
        files.remove(temporary)
    files.sync_folder(path.parent)


class _Mapping:
    """Trials of a study as those of the present space."""

    def __init__(self, sweep: Sweep, folder: SweepFolder, left_out: Mapping[int, LeftOut]) -> None:
        self.sweep, self.left_out = sweep, left_out
        self.folders = folder.trials()

    def all(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Without those that were pinned and not asked for, the last ones: the search pins again."""
        asked = [trial for trial in trials if trial.state != TrialState.WAITING]
        offset = sum(BORROWED in trial.user_attrs for trial in asked)
        return [self._one(trial, trial.number - offset) for trial in asked]

    def _one(self, trial: FrozenTrial, number: int) -> FrozenTrial:
        was = what_it_was(trial)
        if BORROWED in trial.user_attrs:
            return self._present(trial, was, was["params"]) or _hidden(trial, was)
        if number in self.left_out:
            return _hidden(trial, was, str(self.left_out[number]))
        if number not in self.folders:  # it failed before it began, or a crash came before its first line
            if was["state"] == TrialState.RUNNING.name:
                return _hidden(trial, was, NOT_BEGUN)
            return self._present(trial, was, was["params"]) or _hidden(trial, was)
        try:
            recorded = find_settings(self.sweep, self.folders[number])
        except Outside:  # it was judged with more tolerance
            return _hidden(trial, was)
        drawn = self._present(trial, was, {**recorded, **was["params"]})
        return drawn or self._present(trial, was, recorded) or _hidden(trial, was)

    def _present(self, trial: FrozenTrial, was: Mapping[str, Any], params: Mapping[str, Any]) -> FrozenTrial | None:
        """The trial in the present space; None where that cannot draw it."""
        replay = Replay(params)
        try:
            self.sweep.space.draw(replay)
            found = create_trial(
                state=TrialState[was["state"]],
                values=was["values"],
                params={name: params[name] for name in replay.distributions},
                distributions=replay.distributions,
                intermediate_values={int(epoch): value for epoch, value in was["epochs"].items()},
                user_attrs=_own_attributes(trial),
            )
        except (LookupError, ValueError):
            return None
        return _dated(found, trial)


def what_it_was(trial: FrozenTrial) -> dict[str, Any]:
    """State, value and settings, also of a trial that was left out."""
    if HIDDEN in trial.user_attrs:
        return dict(trial.user_attrs[HIDDEN])
    return {
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "epochs": trial.intermediate_values,
    }


def _hidden(trial: FrozenTrial, was: Mapping[str, Any], why: str | None = None) -> FrozenTrial:
    """A trial that Optuna counts as failed; `why` it does not count for the search either, None where it does."""
    attributes = {**_own_attributes(trial), HIDDEN: dict(was)} | ({LEFT_OUT: why} if why else {})
    return _dated(create_trial(state=TrialState.FAIL, user_attrs=attributes), trial)


def _own_attributes(trial: FrozenTrial) -> dict[str, Any]:
    return {name: value for name, value in trial.user_attrs.items() if name not in (LEFT_OUT, HIDDEN)}


def _dated(new: FrozenTrial, old: FrozenTrial) -> FrozenTrial:
    new.datetime_start = old.datetime_start or new.datetime_start
    if new.state.is_finished():
        new.datetime_complete = old.datetime_complete or new.datetime_complete
    return new
