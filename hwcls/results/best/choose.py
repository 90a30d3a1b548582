"""The run whose weights stand for a sweep: what `hwcls predict results/<sweep>` and the like use.

The alternative is the one that the sweep's answer names. Of its confirmed winner it is the confirm run whose score on
test is nearest to the mean of its seeds: a typical one, not the luckiest, which would disappoint on new images. Where
the weights of that run were not kept, it is the next nearest that has some, or else the winner's own trial of the
search. Without a confirmed winner it is the best trial on validation that has weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from hwcls.format import format_count, format_metric, format_number, name_metric
from hwcls.results.confirm.plan import confirm_label, confirm_metric
from hwcls.results.load import ConfirmRun, SweepResults, TrialResult
from hwcls.results.representatives import Representative, choose_representatives
from hwcls.results.scored_runs import score_confirmed
from hwcls.tracking.folders import SweepFolder
from hwcls.training.artifacts import WEIGHTS, has_weights


@dataclass(frozen=True)
class BestRun:
    """A trial or confirm run that may stand for its sweep."""

    key: str  # its folder in the sweep's: trials/7, confirm/cnn/10007002
    run: TrialResult  # `number` is that of the trial, also of a confirm run
    label: str | None  # of the alternative; None without `compare`
    score: str  # in words: the winner's mean on test, else its own
    how: str  # it was chosen, in words
    seed: int | None = None  # of a confirm run
    test: Mapping[str, float] = field(default_factory=dict)  # of this run; empty where it was not scored there
    mean: Mapping[str, float] = field(default_factory=dict)  # of the sweep's metric on test over the winner's seeds
    seeds: int = 0  # of that mean; 0: not confirmed
    weights: Path | None = None  # the folder that has them: the run's own, or best/; None: none were kept

    @property
    def name(self) -> str:
        """The seed or the trial."""
        return f"trial {self.run.number}" if self.seed is None else f"seed {self.seed}"

    @property
    def why(self) -> str:
        """Which it is, how it was chosen, and its score."""
        trial = f"trial {self.run.number}" + ("" if self.label is None else f" ({format_number(self.label)})")
        if self.seed is None:
            return f"{trial}, {self.how}: {self.score}"
        return f"{trial}, seed {self.seed} ({self.how}), {self.score}"


def choose_best(sweep: SweepResults) -> BestRun | None:
    """The best run that has weights, or else the best one without; None where no trial has a value."""
    runs = _candidates(sweep)
    for place, one in enumerate(runs):
        if (folder := _find_weights(sweep, one)) is not None:
            kept = f"{one.how}, of those whose weights were kept" if place else one.how
            return replace(one, how=kept, weights=folder)
    return next(iter(runs), None)


def choose_repeated(sweep: SweepResults) -> BestRun | None:
    """The best run, whether its weights were kept or not: to train it again."""
    return next(iter(_candidates(sweep)), None)


def find_copy(sweep: SweepResults, run: BestRun) -> Path | None:
    """best/, if it is a copy of this run; what is damaged in it is logged, and none."""
    folder = SweepFolder(sweep.folder)
    return folder.best.path if folder.best_run() == run.key and has_weights(folder.best.path / WEIGHTS[0]) else None


def _candidates(sweep: SweepResults) -> list[BestRun]:
    """The runs that may stand for the sweep, the first choice first."""
    chosen = choose_representatives(sweep)
    if chosen and chosen[0].confirmed:
        return _of_winner(sweep, chosen[0])
    ranked = [trial for trial in sweep.ranked() if trial.value is not None and not trial.failed]
    found = [_of_trial(sweep, trial, "the best on validation") for trial in ranked]
    return [replace(one, score=f"{one.score}, not confirmed on test") for one in found]


def _of_winner(sweep: SweepResults, winner: Representative) -> list[BestRun]:
    """The runs that report the winner, those nearest to their mean first, of equally near ones the lower score; then
    its own trial."""
    metric, scored = confirm_metric(sweep), score_confirmed(sweep)[confirm_label(winner.label)]
    runs, mean = scored.runs, fmean(scored.values)
    scores = {run.seed: value for run, value in zip(runs, scored.values, strict=True)}

    def key(run: ConfirmRun) -> tuple[float, float, int]:
        score = scores[run.seed]
        return round(abs(score - mean), 9), sweep.sign * score, run.seed

    name, seeds = f"{name_metric(metric)} on test", format_count(len(runs), "seed")
    how = f"nearest to the mean of {seeds}" if len(runs) > 1 else "the only seed"
    own = _of_trial(sweep, winner.trial, "the confirmed winner, as the search trained it")
    found = [
        replace(
            own,
            key=run.key,
            run=run.run,
            seed=run.seed,
            score=f"{name} {format_metric(metric, mean)}",
            how=how,
            test=dict(run.test or {}),
        )
        for run in sorted(runs, key=key)
    ]
    return [replace(one, mean={metric: mean}, seeds=len(runs)) for one in (*found, own)]


def _of_trial(sweep: SweepResults, trial: TrialResult, how: str) -> BestRun:
    score = f"{sweep.metric} {format_number(trial.value)}"
    return BestRun(f"trials/{trial.number}", trial, trial.label, score, how)


def _find_weights(sweep: SweepResults, one: BestRun) -> Path | None:
    """The folder with the weights of a run: its own, or best/, where that is its copy."""
    if has_weights(one.run.folder / WEIGHTS[0]):
        return one.run.folder
    return find_copy(sweep, one)
