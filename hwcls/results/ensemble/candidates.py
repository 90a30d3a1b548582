"""The runs of a sweep that an ensemble may average: those with predictions on val and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError, wrong_folder
from hwcls.format import format_count, join_words
from hwcls.metrics import metric_per_image
from hwcls.reading import report_damage
from hwcls.results.load import SweepResults, load_results
from hwcls.tracking.folders import TrialFolder
from hwcls.training.artifacts import WEIGHTS, has_weights, load_arrays, read_weights_epoch

NO_WEIGHTS, DAMAGED, OTHER_IMAGES = "without weights", "without sound predictions on val", "trained on other images"
LEFT_OUT = (NO_WEIGHTS, DAMAGED, OTHER_IMAGES)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A run that may be a member.

    Attributes:
        key: Its folder in that of its sweep, or as it was named.
        value: The sweep's metric on val.
        labels, scores: (N,) the classes of val, (N, K) its probabilities, float16.
    """

    key: str
    folder: Path
    config: TrialConfig
    value: float
    labels: NDArray[Any] = field(repr=False)
    scores: NDArray[Any] = field(repr=False)


@dataclass(frozen=True)
class Candidates:
    """The runs that may be members, the best on val first, and how many may not, by reason."""

    found: tuple[Candidate, ...]
    left_out: Counter[str]

    def describe(self) -> str:
        """How many there are, and why others are none."""
        words = [f"{count:,} {why}" for why in LEFT_OUT if (count := self.left_out[why])]
        text = format_count(len(self.found), "candidate") + (f" ({join_words(words)})" if words else "")
        remedy = "a sweep keeps weights unless keep: none; hwcls train repeats a run, and its folder can be named here"
        return f"{text}; {remedy}" if self.left_out[NO_WEIGHTS] else text


def find_candidates(sweep: SweepResults, more: Sequence[Path] = ()) -> Candidates:
    """The runs of a sweep, and of other sweeps' or trials' folders, that were trained on the same images.

    Raises:
        UserError: None of the sweep's runs can be a member, or none of those in a folder of `more`.
    """
    left_out: Counter[str] = Counter()
    own = _read(sweep, _runs(sweep), left_out)
    if not own:
        words = join_words([f"{count:,} {why}" for why, count in left_out.items()]) or "none has ended"
        remedy = "sweep with keep: best, or repeat runs with hwcls train and name their folders"
        raise UserError(f"no trial can be a member: {words}", where=str(sweep.folder), remedy=remedy)
    first = _of_most(own, sweep.sign)
    every = [*own, *(run for path in more for run in _read_more(sweep, path, first, left_out))]
    same = [one for one in every if _has_same_images(one, first)]
    left_out[OTHER_IMAGES] += len(every) - len(same)
    ranked = sorted(same, key=lambda one: -sweep.sign * one.value)
    return Candidates(tuple(ranked), left_out)


def _runs(sweep: SweepResults) -> Iterable[tuple[str, Path]]:
    """The folders of a sweep's trials and confirm runs that ended with a value, by key."""
    yield from ((f"trials/{one.number}", one.folder) for one in sweep.trials if _has_ended(one))
    yield from ((one.key, one.run.folder) for one in sweep.confirm if _has_ended(one.run))


def _has_ended(run: Any) -> bool:
    return run.ended and not run.failed and run.value is not None


def _read(sweep: SweepResults, runs: Iterable[tuple[str, Path]], left_out: Counter[str]) -> list[Candidate]:
    found = []
    for key, folder in runs:
        if not has_weights(folder / WEIGHTS[0]):
            left_out[NO_WEIGHTS] += 1
        elif (one := _read_run(sweep, key, folder)) is None:
            left_out[DAMAGED] += 1
        else:
            found.append(one)
    return found


def _read_run(sweep: SweepResults, key: str, folder: Path) -> Candidate | None:
    arrays, config = load_arrays(folder / "predictions.npz"), _read_config(folder)
    labels, scores = arrays.get("labels"), arrays.get("scores")
    if config is None or labels is None or scores is None or not len(labels):
        return None
    if not np.isfinite(scores).all() or not _is_of(arrays, folder / WEIGHTS[0]):
        return None
    values = metric_per_image(sweep.metric.partition("/")[2], labels, scores.astype(np.float32))
    return Candidate(key, folder, config, float(values.mean()), labels, scores)


def _read_config(folder: Path) -> TrialConfig | None:
    try:
        return TrialFolder(folder).config()
    except UserError as error:
        report_damage(folder / "config.yaml", error.what)
        return None


def _is_of(arrays: dict[str, NDArray[Any]], weights: Path) -> bool:
    """Whether predictions are of the epoch that the weights are of, where both say it."""
    epoch = read_weights_epoch(weights)
    return epoch is None or "epoch" not in arrays or int(arrays["epoch"]) == epoch


def _read_more(sweep: SweepResults, path: Path, first: Candidate, left_out: Counter[str]) -> list[Candidate]:
    """The runs of a further folder; raises UserError where none can be averaged with `first`."""
    runs: list[tuple[str, Path]] = [(str(path), path)]
    if (path / "sweep.yaml").is_file():
        runs = [(str(path / key), folder) for key, folder in _runs(load_results(path))]
    elif not (path / "config.yaml").is_file():
        raise wrong_folder(path, "holds neither a trial nor a sweep", "name a sweep's folder or a trial's")
    missing: Counter[str] = Counter()
    found = _read(sweep, runs, missing)
    if not found:
        words = join_words([f"{count:,} {why}" for why, count in missing.items()]) or "no run has ended"
        raise UserError(f"nothing to average: {words}", where=str(path), remedy="hwcls train repeats a run")
    if not any(_has_same_images(one, first) for one in found):
        title, own = found[0].config.data.title, first.config.data.title
        what = f"trained on {title}, not on {own}" if title != own else f"trained on other images or splits of {own}"
        raise UserError(what, where=str(path), remedy="only models of the same classes and splits can be averaged")
    left_out.update(missing)
    return found


def _of_most(found: Sequence[Candidate], sign: int) -> Candidate:
    """The best candidate of those that most have their images in common with: confirm runs may have other splits."""
    groups: list[list[Candidate]] = []
    for one in found:
        group = next((group for group in groups if _has_same_images(one, group[0])), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    most = max(groups, key=lambda group: len(group))
    return max(most, key=lambda one: sign * one.value)


def _has_same_images(one: Candidate, other: Candidate) -> bool:
    """Whether both were trained and judged on the same images, however they are decoded."""
    return one.config.data.images() == other.config.data.images() and np.array_equal(one.labels, other.labels)
