"""Warm start (`--from`): adds the trials of an earlier sweep to a new study."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.reading import damage_named
from hwcls.sweep.search.earlier_results import check_earlier_results
from hwcls.sweep.search.study.rebuild import what_it_was
from hwcls.sweep.search.study.replay import Replay
from hwcls.sweep.storage.journal_format import BORROWED, COSTS
from hwcls.tracking.left_out import find_left_out

log = logging.getLogger(__name__)


def warm_start(study: optuna.Study, sweep: Sweep, source: Path | None) -> tuple[int, int] | None:
    """Add the trials of `source` to a study at its first start, as `add_earlier_trials`; None where there is none.

    Raises:
        UserError: `source` cannot be used, or the search has already started without it.
    """
    if source is None:
        return None
    known = study.get_trials(deepcopy=False)
    if not known:
        return add_earlier_trials(study, sweep, source)
    if BORROWED not in known[0].user_attrs:
        remedy = "remove --from to resume, or pass --new to use a new folder"
        raise UserError("--from only applies at the first start", where=f"--from {source}", remedy=remedy)
    return None


def add_earlier_trials(study: optuna.Study, sweep: Sweep, source: Path) -> tuple[int, int]:
    """Add the ended trials of the results folder `source` to a new study.

    Returns:
        How many were added, of how many; the others are outside this sweep's space.

    Raises:
        UserError: `source` holds no sweep, it was ranked by another metric, or this space holds none of its trials.
    """
    check_earlier_results(source, sweep.config.metric)
    journal = source / "study.journal"
    if not journal.exists():
        raise UserError("has no study.journal", where=f"--from {source}")
    with damage_named(journal):
        if not journal.read_bytes().endswith(b"\n"):
            log.warning("%s ends in the middle of a line; trials may be missing", journal)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        names = optuna.get_all_study_names(storage)
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} studies instead of one")
        trials = optuna.load_study(study_name=names[0], storage=storage).get_trials(deepcopy=False)
    ended = _list_ended(trials, source)
    added = 0
    for trial, was in ended:
        replay = Replay(was["params"])
        try:
            sweep.space.draw(replay)
            copied = _copy_trial(trial, was, replay.distributions, source)
        except (LookupError, ValueError):  # this space cannot draw it
            continue
        study.add_trial(copied)
        added += 1
    if not added:
        what = f"none of its {len(ended)} ended trials is in this sweep's space"
        raise UserError(what, where=f"--from {source}", remedy="remove --from")
    return added, len(ended)


def _list_ended(trials: Sequence[FrozenTrial], source: Path) -> list[tuple[FrozenTrial, dict[str, Any]]]:
    """The trials that have ended with settings, and what they were before their sweep left them out, if it did.

    One that a user excluded is none; one outside of the sweep's present space may be in another one.
    """
    offset = sum(BORROWED in trial.user_attrs for trial in trials)
    excluded = {offset + number for number, why in find_left_out(source).items() if why.by_user}
    found = [(trial, what_it_was(trial)) for trial in trials if trial.number not in excluded]
    return [(trial, was) for trial, was in found if was["state"] in ("COMPLETE", "PRUNED") and was["params"]]


def _copy_trial(
    trial: FrozenTrial, was: Mapping[str, Any], distributions: dict[str, BaseDistribution], source: Path
) -> FrozenTrial:
    costs = {name: value for name, value in trial.user_attrs.items() if name == COSTS}
    return optuna.trial.create_trial(
        state=TrialState[was["state"]],
        values=was["values"],
        params={name: was["params"][name] for name in distributions},
        distributions=distributions,
        intermediate_values={int(epoch): value for epoch, value in was["epochs"].items()},
        user_attrs={**costs, BORROWED: trial.user_attrs.get(BORROWED, str(source))},
    )
