"""Opens the study of a sweep, which its journal keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from hwcls import files
from hwcls.config.sweep import Searched
from hwcls.config.sweep_file import Sweep
from hwcls.reading import damage_named
from hwcls.sweep.search.journal import Journal
from hwcls.sweep.search.optuna_private import OneStudyStorage
from hwcls.sweep.search.study.rebuild import earlier_lines, rebuild_changed
from hwcls.sweep.storage.journal_format import RANKED
from hwcls.tracking.folders import SweepFolder


def open_study(sweep: Sweep, folder: SweepFolder, at_once: int = 1) -> tuple[Journal, optuna.Study]:
    """The study with its journal: a new one, or that of earlier starts, rebuilt where the sweep was changed since.

    Args:
        sweep: The sweep.
        folder: Its results folder.
        at_once: Trials that run at the same time.
    """
    config, path = sweep.config, folder.path / "study.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    journal, storage = _open_journal(path)
    if rebuild_changed(journal, storage, sweep, folder):
        journal, storage = _open_journal(path)
    known = storage.get_all_studies()  # one; the folder may have been renamed since
    lines = journal.count() + sum(map(earlier_lines, known))
    study = optuna.create_study(
        storage=storage,
        study_name=known[0].study_name if known else config.name,
        directions=[config.metric.goal, *(cost.goal for cost in config.metric.costs)],
        load_if_exists=True,
    )
    if not known:
        study.set_user_attr(RANKED, True)
    study.sampler = build_sampler(sweep, study, config.seed + lines, at_once)  # a restart draws other trials
    return journal, study


def build_sampler(sweep: Sweep, study: optuna.Study, seed: int, at_once: int = 1) -> Any:
    """The sampler of a study; one that began before samplers knew the alternatives does without them."""
    known = sweep.alternatives and RANKED in study.user_attrs
    compared = next(iter(sweep.alternatives[0].settings)) if known else None
    searched = Searched(sweep.space, compared, sweep.config.seed, len(study.directions), at_once)
    return sweep.config.search.sampler(seed, searched)


def _open_journal(path: Path) -> tuple[Journal, OneStudyStorage]:
    with damage_named(path):
        files.cut_partial_line(path)
        journal = Journal(path)
        return journal, OneStudyStorage(journal)
