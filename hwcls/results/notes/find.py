"""What a reader must know before trusting the values: few test images, pretrained weights, unjudged classes, NaN."""

from __future__ import annotations

import numpy as np

from hwcls.format import format_count, join_words
from hwcls.results.best.choose import choose_best
from hwcls.results.best.trained_on import describe_share
from hwcls.results.confirm.plan import winner_runs
from hwcls.results.diagnostics import class_names, load_diagnostics
from hwcls.results.load import SweepResults
from hwcls.results.notes.changes import list_left_out
from hwcls.results.notes.pretrained import describe_pretrained
from hwcls.results.notes.test_size import judge_test_size
from hwcls.tracking.folders import BEST, SweepFolder
from hwcls.training.artifacts import load_arrays


def find_notes(sweep: SweepResults) -> list[str]:
    """One sentence each."""
    return [
        *_small_test(sweep),
        *_share_of_train(sweep),
        *_best_left_out(sweep),
        *_pretrained(sweep),
        *_unjudged(sweep),
        *_not_a_number(sweep),
    ]


def _small_test(sweep: SweepResults) -> list[str]:
    note = judge_test_size(sweep)
    return [f"{note[:1].upper()}{note[1:]}."] if note else []


def _share_of_train(sweep: SweepResults) -> list[str]:
    best = choose_best(sweep)
    note = "" if best is None else describe_share(best.weights or best.run.folder)
    return [f"The best model was {note}."] if note else []


def _best_left_out(sweep: SweepResults) -> list[str]:
    """Of best/ where no other run kept its weights: it stays, as its copy may be the only one."""
    key = SweepFolder(sweep.folder).best_run() if sweep.left_out else None
    if key not in list_left_out(sweep) or ((best := choose_best(sweep)) is not None and best.weights is not None):
        return []  # or it is replaced at the end of the sweep
    return [f"{BEST}/ still has the weights of {key}, which is left out: no run that counts has kept any."]


def _pretrained(sweep: SweepResults) -> list[str]:
    note = describe_pretrained(sweep)
    return [note] if note else []


def _unjudged(sweep: SweepResults) -> list[str]:
    from hwcls.data.imageset import describe_unjudged

    names = class_names(sweep)
    counts = (sweep.data or {}).get("images_per_class")
    try:
        notes = describe_unjudged(names, counts) if isinstance(counts, dict) else _unjudged_by_predictions(sweep, names)
    except (KeyError, TypeError, ValueError):  # of another version, or damaged
        return []
    return [f"{note[:1].upper()}{note[1:]}. Averages over classes leave them out." for note in notes]


def _unjudged_by_predictions(sweep: SweepResults, names: list[str]) -> list[str]:
    """For results of earlier versions, which did not record the images of each class in val."""
    for one in load_diagnostics(sweep)[:1]:
        absent = [name for name, count in zip(names, one.per_class.support, strict=False) if not count]
        return [f"no val image of {join_words(absent)}: no val metric judges them"] if absent else []
    return []


def _not_a_number(sweep: SweepResults) -> list[str]:
    notes = []
    for one in load_diagnostics(sweep):
        if count := int(np.isnan(one.scores).any(1).sum()):
            where = f"trial {one.trial.number} has no probabilities (NaN) for {format_count(count, 'val image')}"
            notes.append(f"{where}: they count as wrong.")
    for label, runs in winner_runs(sweep).items():
        found = [load_arrays(run.run.folder / "test_predictions.npz").get("scores") for run in runs]
        if count := sum(
            int(np.isnan(scores).any(1).sum()) for scores in found if scores is not None and scores.ndim == 2
        ):
            where = f"the confirm runs of {label} have no probabilities (NaN) for {format_count(count, 'test image')}"
            notes.append(f"{where} together: they count as wrong.")
    return [f"{note[:1].upper()}{note[1:]}" for note in notes]
