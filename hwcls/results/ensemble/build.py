"""Chooses a sweep's ensemble on val, scores it once on test beside the winner, and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.format import format_metric, join_words, name_metric
from hwcls.inspection.ensemble.choose import LEAST, choose_members
from hwcls.inspection.ensemble.model import Ensemble, report_views
from hwcls.inspection.ensemble.soup import Soup, why_not_soup
from hwcls.inspection.evaluate import SplitScores, evaluate_trial
from hwcls.inspection.load_trained import Trained, count_test_read, load_trained
from hwcls.metrics import metric_per_image
from hwcls.results.best.choose import choose_best
from hwcls.results.confirm.plan import confirm_metric
from hwcls.results.ensemble.candidates import Candidate, Candidates, find_candidates
from hwcls.results.ensemble.folder import Chosen, Scored, check_own, write_ensemble
from hwcls.results.load import SweepResults
from hwcls.statistics import PairedComparison, compare_paired
from hwcls.tracking.folders import ENSEMBLE


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        top: The most models that are averaged.
        views: Of each image, whose probabilities are averaged.
        soup: Whether weights are averaged, in place of probabilities.
        more: Further sweeps' or trials' folders with candidates.
    """

    top: int = 5
    views: int = 1
    soup: bool = False
    more: tuple[Path, ...] = ()


def build_ensemble(sweep: SweepResults, request: Request, say: ProgressReporter) -> dict[str, Any] | None:
    """Choose an ensemble on val, score it and the winner on test, and write it to ensemble/.

    Returns its ensemble.json; or None, where no average is better on val than the best model alone: then test is not
    read and nothing is written. `say` gets this, other notes and the progress.

    Raises:
        UserError: There is no candidate, a member is damaged, or ensemble/ is a folder of another program.
    """
    winner = choose_best(sweep)
    if winner is None or winner.weights is None:
        what = "no trial has a value yet" if winner is None else "no weights were kept"
        raise UserError(what, where=str(sweep.folder), remedy="sweep with keep: best, or wait for its first epoch")
    check_own(sweep.folder / ENSEMBLE)  # before test is read
    candidates = find_candidates(sweep, request.more)
    say(candidates.describe())
    _check_images(load_trained(candidates.found[0].folder))
    chosen = (_choose_soup if request.soup else _choose)(sweep, candidates, request, say)
    val = evaluate_trial(chosen.model, "val", say)
    if (reason := _why_not(sweep, chosen, candidates.found[0], val.values[sweep.metric])) is not None:
        say(f"{reason}: nothing was written, test was not read")
        return None
    alone = load_trained(winner.weights)
    if not np.array_equal(alone.data.test.labels, chosen.model.data_sets[0].test.labels):
        raise UserError("the winner has other images in test", where=str(sweep.folder), remedy="restore the images")
    times = count_test_read(sweep.folder / ENSEMBLE)
    count = "once" if times == 1 else f"{times} times"
    say(f"test has now been read {count} outside confirm: do not choose a model by it")
    test = evaluate_trial(chosen.model, "test", say)
    compared = _compare(sweep, test, evaluate_trial(alone, "test"))
    return write_ensemble(sweep, chosen, Scored({**val.values, **test.values}, compared, winner))


def _check_images(model: Trained) -> None:
    """Raise UserError where val or test has other images than in training: scores would not be comparable."""
    for split in ("val", "test"):
        if changed := model.changed_images(split):
            raise UserError(changed, where=str(model.path), remedy="restore the images or train again")


def _why_not(sweep: SweepResults, chosen: Chosen, best: Candidate, value: float) -> str | None:
    """Why an average is not worth a look at test: it is not better on val than the best model alone; None: it is.

    A soup, which costs no more than that model, may be as good.
    """
    single, gain = len(chosen.keys) < 2 and chosen.model.views == 1, sweep.sign * (value - best.value)
    if not single and (gain > LEAST or (chosen.kind == "soup" and gain > -LEAST)):
        return None
    name, alone = name_metric(sweep.metric), format_metric(sweep.metric, best.value)
    text = f"no average is better on val than {best.key} alone ({name} {alone})"
    if single:
        return text
    views = f" over {chosen.model.views} views" if chosen.model.views > 1 else ""
    return f"{text}: that of {join_words(chosen.keys)}{views} has {format_metric(sweep.metric, value)}"


def _choose(sweep: SweepResults, candidates: Candidates, request: Request, say: ProgressReporter) -> Chosen:
    """The average of probabilities that is best on val, by the predictions that the trainings kept."""
    found = candidates.found
    times = choose_members(
        [one.scores for one in found], found[0].labels, sweep.metric.partition("/")[2], sweep.goal, request.top
    )
    members = [found[place] for place in times]
    counts = list(times.values())
    models = tuple(load_trained(one.folder) for one in members)
    shares = tuple(count / sum(counts) for count in counts)
    ensemble = Ensemble(sweep.folder / ENSEMBLE, models, shares)
    if request.views > 1:
        ensemble = ensemble.with_views(request.views)
        report_views(ensemble, request.views, say)
    return Chosen("ensemble", ensemble, tuple(one.key for one in members), tuple(counts), found[0].value)


def _choose_soup(sweep: SweepResults, candidates: Candidates, request: Request, say: ProgressReporter) -> Chosen:
    """The average of weights that is best on val; raises UserError where no two candidates can be averaged."""
    group = _find_soup(candidates.found)[: request.top]
    metric = sweep.metric

    def judge(model: Trained) -> float:
        return sweep.sign * evaluate_trial(model, "val").values[metric]

    places, mixed = Soup([load_trained(one.folder) for one in group], judge).choose()
    keys = tuple(group[place].key for place in places)
    soup = Ensemble(sweep.folder / ENSEMBLE, (mixed,), (1.0,))
    if request.views > 1:
        soup = soup.with_views(request.views)
        report_views(soup, request.views, say)
    return Chosen("soup", soup, keys, (1,) * len(keys), candidates.found[0].value)


def _find_soup(found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates whose weights can be averaged with those of the best one that has any such."""
    for one in found:
        group = [other for other in found if other is one or not why_not_soup(one.config, other.config)]
        if len(group) > 1:
            return group
    best, reasons = found[0], [why_not_soup(found[0].config, other.config) for other in found[1:]]
    why = reasons[0] if reasons else "there is a single candidate"
    what = f"no two models can be averaged by their weights: {best.key} and {found[1].key}: {why}" if reasons else why
    remedy = "a soup needs models of one architecture that began with the same pretrained weights; leave --soup out"
    raise UserError(what, where="--soup", remedy=remedy)


def _compare(sweep: SweepResults, test: SplitScores, own: SplitScores) -> PairedComparison:
    """The ensemble and the winner on the same images of test."""
    metric = confirm_metric(sweep).partition("/")[2]
    values = [metric_per_image(metric, one.labels, one.scores) for one in (test, own)]
    return compare_paired(values[0], values[1], most=float("inf") if metric == "loss" else 1.0)
