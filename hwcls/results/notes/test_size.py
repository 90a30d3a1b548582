"""Whether test has enough images to tell two models apart, and how many would do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hwcls.data.catalog import find_data_set
from hwcls.data.imageset import describe_unjudged
from hwcls.format import format_count, format_percent
from hwcls.results.confirm.plan import confirm_label, winner_runs
from hwcls.results.diagnostics import load_diagnostics
from hwcls.results.load import ConfirmRun, SweepResults, is_finite
from hwcls.results.representatives import choose_representatives
from hwcls.results.scored_runs import score_confirmed
from hwcls.statistics import count_images_needed, smallest_difference
from hwcls.training.artifacts import load_arrays

SMALLEST_DIFFERENCE = 0.05  # in accuracy, that test should detect
ASSUMED = 0.2  # how often one of two models is right and the other wrong, before any is trained


def describe_test_size(images: int, *, accuracy: float | None = None, disagreement: float | None = None) -> str | None:
    """One sentence where `images` are too few to tell 5 points apart (5 % level, 80 % power); else None.

    Args:
        images: Of test.
        accuracy: Of the best model, if `disagreement` is not known.
        disagreement: How often one of the two best models is right and the other wrong. Without both: ASSUMED.
    """
    if disagreement is not None:
        why = f" (the two best disagree on {format_percent(disagreement)} of the images)"
    elif accuracy is not None:
        why = f" (if another model, about as good as this one with {format_percent(accuracy)}, errs independently)"
    else:
        disagreement, why = ASSUMED, " (if they disagree on a fifth of the images)"
    needed = count_images_needed(SMALLEST_DIFFERENCE, accuracy=accuracy, disagreement=disagreement)
    if images >= needed:
        return None
    least = math.ceil(round(100 * smallest_difference(images, accuracy=accuracy, disagreement=disagreement), 6))
    few = f"models apart by less than {least} points" if least < 100 else "any two models apart"
    has = f"test has {format_count(images, 'image')}: too few to tell {few}"
    return f"{has}; about {_round(needed):,} would tell {100 * SMALLEST_DIFFERENCE:.0f} points{why}"


def split_notes(name: str, classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[str]:
    """What to know of the splits before anything is trained: classes that nothing judges, a test that is too small.

    Args:
        name: The data set's; the size of test is only judged where the images are the user's own, who may add some.
        counts: The images of each class, by split, as `ImageSet.counts` has them.
    """
    few = describe_test_size(sum(counts["test"])) if find_data_set(name).user_files else None
    return [*describe_unjudged(classes, counts), *([few] if few else [])]


def judge_test_size(sweep: SweepResults) -> str | None:
    """`describe_test_size` by what the models of a sweep got right; None too where that, or the size, is not known."""
    images = (sweep.data or {}).get("test")
    if not isinstance(images, int) or images < 1:
        return None
    disagreement = _disagreement_on_test(sweep)
    if disagreement is None:
        disagreement = _disagreement_on_val(sweep)
    accuracy = _best_accuracy(sweep)
    if accuracy is None and disagreement is None:
        return None
    return describe_test_size(images, accuracy=accuracy, disagreement=disagreement)


def _disagreement_on_test(sweep: SweepResults) -> float | None:
    """Of the runs of one winner and those of another, the two best ones on test; None with a single winner."""
    best = sorted(score_confirmed(sweep).values(), key=lambda one: -sweep.sign * one.mean)[:2]
    tables = [[hits for run in one.runs if (hits := _hits(run)) is not None] for one in best]
    if len(tables) < 2:
        return None
    shares = [float((a != b).mean()) for a, b in product(*tables) if a.shape == b.shape]
    return float(np.mean(shares)) if shares else None


def _disagreement_on_val(sweep: SweepResults) -> float | None:
    found = load_diagnostics(sweep)[:2]
    if len(found) < 2 or not np.array_equal(found[0].labels, found[1].labels):
        return None
    first, second = (one.predicted == one.labels for one in found)
    return float((first != second).mean())


def _hits(run: ConfirmRun) -> NDArray[np.bool_] | None:
    """Which test images a run gets right, (N,)."""
    stored = load_arrays(run.run.folder / "test_predictions.npz")
    labels, scores = stored.get("labels"), stored.get("scores")
    if labels is None or scores is None or scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        return None
    return np.asarray(scores.argmax(1) == labels)


def _best_accuracy(sweep: SweepResults) -> float | None:
    """On test over the seeds of the winner, else on val of the best trial."""
    for one in choose_representatives(sweep)[:1]:
        runs = winner_runs(sweep).get(confirm_label(one.label), []) if one.confirmed else []
        scores = [run.test["test/accuracy"] for run in runs if run.test and "test/accuracy" in run.test]
        if scores:
            return float(np.mean(scores))
        own = (one.trial.best or {}).get("val/accuracy")
        return float(own) if is_finite(own) else None
    return None


def _round(count: int) -> int:
    """To two significant digits."""
    return int(f"{float(f'{count:.2g}'):.0f}")
