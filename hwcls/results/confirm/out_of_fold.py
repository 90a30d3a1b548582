"""The winners of a cross-validation on all images but test: each is predicted by runs that were not trained on it."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.metrics import predicted_classes
from hwcls.results.confirm.plan import confirm_winners, winner_runs
from hwcls.results.load import ConfirmRun, SweepResults
from hwcls.statistics import Estimate, cross_validated
from hwcls.training.artifacts import load_arrays, save_predictions

FILE = "out_of_fold.npz"  # in confirm/<label>/


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The winner of one alternative on N images.

    Attributes:
        trial: Its number.
        folds: Of each round.
        missing: Runs without sound predictions, of the rounds that have begun.
        rows: (N,) of the data set's training images, ascending.
        labels, scores: (N,) the classes, (N, K) probabilities, means over the rounds.
        rounds, wrong: (N,) how many runs predict an image, and how many of them are wrong.
        accuracy: None where a round has a single fold.
        folder: Of one of the runs.
    """

    label: str
    trial: int
    folds: int
    missing: int
    rows: NDArray[Any]
    labels: NDArray[Any]
    scores: NDArray[Any]
    rounds: NDArray[Any]
    wrong: NDArray[Any]
    accuracy: Estimate | None
    folder: Path


@functools.lru_cache(maxsize=1)
def find_out_of_fold(sweep: SweepResults) -> list[OutOfFold]:
    """The winners that were cross-validated, the most accurate first."""
    found = [_join(label, runs) for label, runs in winner_runs(sweep).items()]
    known = [one for one in found if one is not None]
    return sorted(known, key=lambda one: -one.accuracy.mean if one.accuracy else 0.0)


def _join(label: str, runs: Sequence[ConfirmRun]) -> OutOfFold | None:
    """The predictions of an alternative's folds together; None where none of its runs is a fold."""
    by_round: dict[int, list[dict[str, NDArray[Any]]]] = defaultdict(list)
    folds, sound = 0, 0
    for run in runs:
        if run.cut is None or run.cut.folds is None:
            continue
        folds = run.cut.folds
        arrays, of_round = load_arrays(run.run.folder / "predictions.npz"), by_round[run.cut.val_seed]
        if {"rows", "labels", "scores"} <= arrays.keys() and 0 < len(arrays["rows"]) == len(arrays["labels"]):
            of_round.append(arrays)
            sound += 1
    every = [arrays for of_round in by_round.values() for arrays in of_round]
    if not every or len({arrays["scores"].shape[1] for arrays in every}) > 1:
        return None
    rows = np.unique(np.concatenate([arrays["rows"] for arrays in every]))  # (N,)
    labels, rounds, wrong = (np.zeros(len(rows), np.int64) for _ in range(3))
    scores = np.zeros((len(rows), every[0]["scores"].shape[1]), np.float32)
    for arrays in every:
        at = np.searchsorted(rows, arrays["rows"])
        labels[at] = arrays["labels"]
        scores[at] += arrays["scores"]
        rounds[at] += 1
        wrong[at] += ~_hits(arrays)
    whole = [[_hits(arrays) for arrays in of_round] for of_round in by_round.values() if len(of_round) > 1]
    return OutOfFold(
        label=label,
        trial=runs[0].run.number,
        folds=folds,
        missing=folds * len(by_round) - sound,
        rows=rows,
        labels=labels,
        scores=scores / rounds[:, None],
        rounds=rounds,
        wrong=wrong,
        accuracy=cross_validated(whole) if whole else None,
        folder=runs[0].run.folder,
    )


def _hits(arrays: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    labels, scores = arrays["labels"], arrays["scores"].astype(np.float32)
    return np.asarray(predicted_classes(scores, labels) == labels)


@dataclass(frozen=True, eq=False)
class OftenWrong:
    """The images that winners get wrong, the most often wrong first, of equal ones the most confident errors.

    Attributes:
        rows: (E,) of the data set's training images.
        labels, guesses, confidence: (E,) the class, the most probable other one, and the mean of its probability.
        runs, wrong: (E,) how many runs predict an image, and how many of them are wrong.
        folder: Of one of the runs.
    """

    rows: NDArray[Any]
    labels: NDArray[Any]
    guesses: NDArray[Any]
    confidence: NDArray[Any]
    runs: NDArray[Any]
    wrong: NDArray[Any]
    folder: Path


def rank_wrong(found: Sequence[OutOfFold]) -> OftenWrong | None:
    """The images that any winner gets wrong; None without winners. Those of other data than the first are left out."""
    if not found:
        return None
    first = found[0]
    same = [one for one in found if np.array_equal(one.rows, first.rows) and np.array_equal(one.labels, first.labels)]
    same = [one for one in same if one.scores.shape == first.scores.shape]
    runs, wrong = (np.sum([getattr(one, name) for one in same], 0) for name in ("rounds", "wrong"))
    others = np.nan_to_num(np.mean([one.scores for one in same], 0))  # (N, K)
    others[np.arange(len(others)), first.labels] = -1
    guesses, confidence = others.argmax(1), others.max(1)
    order = np.lexsort((-confidence, -wrong / runs))
    order = order[wrong[order] > 0]
    return OftenWrong(
        rows=first.rows[order],
        labels=first.labels[order],
        guesses=guesses[order],
        confidence=confidence[order],
        runs=runs[order],
        wrong=wrong[order],
        folder=first.folder,
    )


def write_out_of_fold(sweep: SweepResults) -> None:
    """Write each cross-validated winner's confirm/<label>/out_of_fold.npz, where it is not up to date.

    That of a trial which is no winner any more, as one that is left out, is removed.
    """
    found = {one.folder.parent / FILE: one for one in find_out_of_fold(sweep)}
    for path, one in found.items():
        newest = max(file.stat().st_mtime for file in path.parent.glob("*/predictions.npz"))
        arrays = {name: np.asarray(getattr(one, name)) for name in ("rows", "labels", "rounds", "wrong", "trial")}
        known = load_arrays(path)  # a run may have ended between the reading of its sweep and the writing
        is_same = known.keys() >= arrays.keys() and all(np.array_equal(known[name], arrays[name]) for name in arrays)
        if is_same and path.stat().st_mtime >= newest:
            continue
        save_predictions(path, **arrays, scores=one.scores.astype(np.float16))
    winners = set(confirm_winners(sweep).values())
    for path in sweep.folder.glob(f"confirm/*/{FILE}"):
        if path not in found and _trial_of(path) not in winners:
            path.unlink()


def _trial_of(path: Path) -> int | None:
    """The trial whose scores a file has; None where it is damaged."""
    trial = load_arrays(path).get("trial")
    return int(trial) if trial is not None else None


def summarize_out_of_fold(sweep: SweepResults) -> list[dict[str, Any]]:
    """The same as JSON-ready values, one for each winner."""
    return [
        {
            "label": one.label,
            "trial": one.trial,
            "folds": one.folds,
            "missing": one.missing,
            "rounds": int(one.rounds.max()),
            "images": len(one.rows),
            "wrong": int((one.wrong > 0).sum()),
            **{key: getattr(one.accuracy, end) if one.accuracy else None for key, end in ENDS.items()},
            "file": str(one.folder.parent / FILE),
        }
        for one in find_out_of_fold(sweep)
    ]


ENDS = {"accuracy": "mean", "low": "low", "high": "high"}
