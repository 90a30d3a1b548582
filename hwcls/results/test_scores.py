"""The winners on test: scores by class over their seeds, and the images that all of them get wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.results.confirm.plan import confirm_label, confirm_winners
from hwcls.results.load import SweepResults
from hwcls.results.scored_runs import score_confirmed
from hwcls.training.artifacts import load_arrays

KINDS = ("precision", "recall", "f1", "area")  # area: under the one-vs-rest ROC curve, AUC
DRAWS = 2000  # of the bootstrap
ADDED = (0.5, 0.5, 0.5, 0.0)  # images that are hit, missed, wrong and of other classes, beside those of test


@dataclass(frozen=True, eq=False)
class WinnerScores:
    """The winner of one alternative on K classes, over S seeds."""

    name: str
    trial: int  # its number
    values: NDArray[Any]  # (S, 4, K): KINDS in [0, 1], AUC is NaN for a class without images
    support: NDArray[Any]  # (K,) test images
    confusions: NDArray[Any]  # (S, K, K) images: rows true, columns predicted

    @property
    def title(self) -> str:
        """The alternative; without `compare` its trial."""
        return f"trial {self.trial}" if self.name == confirm_label(None) else self.name

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> NDArray[Any]:
        """(4, K) over the seeds."""
        return np.asarray(self.values.mean(0))

    @property
    def spread(self) -> NDArray[Any]:
        """(4, K), the standard deviation from seed to seed; NaN with a single seed."""
        return self.values.std(0, ddof=1) if self.seeds > 1 else np.full(self.values.shape[1:], np.nan)

    def macro(self) -> NDArray[Any]:
        """(4,) means over the classes that have test images."""
        return np.asarray(self.mean[:, self.support > 0].mean(1))

    def f1_intervals(self) -> NDArray[Any]:
        """(2, K): where 95 % of F1 are over seeds and as many new test images; a bootstrap of each class by itself.

        Half an image more is hit, missed and wrong in each class, so that a perfect one is not certain; draws without
        any image of the class say nothing of it.
        """
        hits = np.diagonal(self.confusions, axis1=1, axis2=2)  # (S, K)
        total = self.confusions.sum((1, 2))[:, None]  # (S, 1)
        missed, wrong = self.confusions.sum(2) - hits, self.confusions.sum(1) - hits  # (S, K) each
        counts = np.stack([hits, missed, wrong, total - hits - missed - wrong], -1) + ADDED  # (S, K, 4)
        draws = -(-DRAWS // self.seeds)
        shares = counts / counts.sum(-1, keepdims=True)  # (S, K, 4)
        drawn = np.random.default_rng(0).multinomial(int(total[0, 0]), shares, (draws, *shares.shape[:2]))
        twice = 2 * drawn[..., 0]  # (draws, S, K)
        seen = twice + drawn[..., 1] + drawn[..., 2]
        f1 = np.where(seen > 0, twice / np.maximum(seen, 1), np.nan)
        return np.asarray(np.nanquantile(f1.reshape(-1, f1.shape[-1]), (0.025, 0.975), axis=0))


@dataclass(frozen=True, eq=False)
class CommonErrors:
    """Test images that every run gets wrong: hard ones, or ones with a wrong label."""

    images: NDArray[Any]  # (E,) their places in the test split, the most confident errors first
    labels: NDArray[Any]  # (N,) of the test split
    scores: NDArray[Any]  # (N, K) means over the runs
    runs: int
    folder: Path  # of one of the runs


def score_winners(sweep: SweepResults, classes: int) -> list[WinnerScores]:
    """Each winner that was scored on test, the best macro F1 first; runs with broken predictions are left out."""
    won, found = confirm_winners(sweep), dict[str, list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]]()
    for run in (run for one in score_confirmed(sweep).values() for run in one.runs):
        stored = load_arrays(run.run.folder / "test_predictions.npz")
        labels, scores = stored.get("labels"), stored.get("scores")
        if labels is None or scores is None or scores.shape != (len(labels), classes) or not len(labels):
            continue
        scores = scores.astype(np.float32)
        confusion = metrics.confusion_matrix(labels, metrics.predicted_classes(scores, labels), classes)  # (K, K)
        each = metrics.per_class(confusion)
        values = np.stack([each.precision, each.recall, each.f1, metrics.roc_auc(scores, labels)])  # (4, K)
        found.setdefault(run.label, []).append((values, each.support, confusion))
    winning = [
        WinnerScores(name, won[name], np.stack([v for v, _, _ in rows]), rows[0][1], np.stack([c for *_, c in rows]))
        for name, rows in found.items()
    ]
    return sorted(winning, key=lambda one: -one.macro()[2])


def find_common_errors(sweep: SweepResults, classes: int) -> CommonErrors | None:
    """The test images that every run that reports a winner gets wrong; None with fewer than two such runs.

    Runs with broken predictions are left out. Probabilities that are NaN say nothing of an image.
    """
    labels, scores, folder = None, [], None
    for run in (run for one in score_confirmed(sweep).values() for run in one.runs):
        stored = load_arrays(run.run.folder / "test_predictions.npz")
        if "labels" not in stored or "scores" not in stored:
            continue
        whole = stored["scores"].shape == (len(stored["labels"]), classes)
        if whole and (labels is None or np.array_equal(labels, stored["labels"])):
            labels, folder = stored["labels"], run.run.folder
            scores.append(stored["scores"].astype(np.float32))  # (N, K)
    if labels is None or folder is None or len(scores) < 2:
        return None
    missed = np.flatnonzero(np.all([(t.argmax(1) != labels) & ~np.isnan(t).any(1) for t in scores], 0))
    mean = np.mean(scores, 0)
    order = np.argsort(-mean[missed].max(1), kind="stable")
    return CommonErrors(missed[order], labels, mean, len(scores), folder)


def build_class_rows(found: Sequence[WinnerScores], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row per class: for each winner the means of KINDS over the seeds, and the standard deviation of F1."""
    made = []
    for place, name in enumerate(names):
        f1 = [_known(one.mean[2, place]) or 0.0 for one in found]
        values = [
            {
                **dict(zip(KINDS, map(_known, one.mean[:, place]), strict=True)),
                "spread": _known(one.spread[2, place]),
                "most": len(found) > 1 and bool(one.support[place]) and own == max(f1) and f1.count(own) == 1,
            }
            for one, own in zip(found, f1, strict=True)
        ]
        made.append({"name": name, "images": int(found[0].support[place]), "values": values})
    return made


def summarize_classes(found: Sequence[WinnerScores], names: Sequence[str]) -> list[dict[str, Any]]:
    """One JSON-ready row per winner and class."""
    return [
        {"label": one.name, "trial": one.trial, "class": row["name"], "images": row["images"], "seeds": one.seeds}
        | {("f1_spread" if key == "spread" else key): value for key, value in cell.items() if key != "most"}
        for row in (build_class_rows(found, names) if found else [])
        for one, cell in zip(found, row["values"], strict=True)
    ]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
