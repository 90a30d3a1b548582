"""The confirm runs of a sweep: some pick the winner of each alternative on validation, others report it on test.

A score that also chose the winner is too high on average (the winner's curse), so the two never share a run. Results
of versions before there were roles continue as they began: every run of a winner both chose and reports it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from pydantic import ValidationError

from hwcls.config.sweep import PICK_SEEDS, ConfirmConfig
from hwcls.results.confirm.cuts import Cut, plan_cut
from hwcls.results.front.find import choose_points
from hwcls.results.load import PICK, REPORT, ConfirmRun, SweepResults

FIRST_SEED, FIRST_PICK_SEED = 10_000_000, 1_000_000_000  # of runs that report and that pick; the search's are smaller
SEEDS_OF_TRIAL = 1000


def seed_of(trial: int, place: int, *, picks: bool = False) -> int:
    """The seed of a trial's confirm run; `place`: among the runs of the trial that have its role, from 0."""
    return (FIRST_PICK_SEED if picks else FIRST_SEED) + SEEDS_OF_TRIAL * trial + place


def place_of(seed: int, trial: int, *, picks: bool = False) -> int | None:
    """The `place` of which `seed_of` makes this seed; None where it makes none, as of an earlier version's run."""
    place = seed - seed_of(trial, 0, picks=picks)
    return place if 0 <= place < SEEDS_OF_TRIAL else None


@dataclass(frozen=True)
class PlannedRun:
    """One retraining of a trial."""

    label: str
    trial: int
    seed: int
    role: str | None = None  # as ConfirmRun.role
    cut: Cut | None = None  # as ConfirmRun.cut

    @property
    def key(self) -> str:
        return f"confirm/{self.label}/{self.seed}"


@dataclass(frozen=True)
class ConfirmPlan:
    """The runs of all alternatives, as far as the records decide them."""

    runs: tuple[PlannedRun, ...] = ()  # picks, and the reports of alternatives whose picks have ended
    winners: Mapping[str, int] = field(default_factory=dict)  # the trial, by alternative; none where every pick failed
    waiting: Mapping[str, int] = field(default_factory=dict)  # reports that follow, of alternatives whose picks run
    points: frozenset[int] = frozenset()  # of several metrics: those of the front that are reported

    def reports(self, run: ConfirmRun) -> bool:
        """Whether a run is one that reports a winner, or a point of the front, on test."""
        number = run.run.number
        return run.role != PICK and (number in self.points or self.winners.get(run.label) == number)

    @property
    def total(self) -> int:
        """All runs, those included whose trial is not decided."""
        return len(self.runs) + sum(self.waiting.values())


def confirm_config(sweep: SweepResults) -> ConfirmConfig | None:
    """The `confirm` of a results folder's sweep.yaml; None without one, or where it cannot be read."""
    try:
        return ConfirmConfig.model_validate(sweep.settings.get("confirm"))
    except ValidationError:
        return None


def plan_confirm(sweep: SweepResults, config: ConfirmConfig | None) -> ConfirmPlan:
    """Every confirm run of a sweep whose search has ended, in the order in which they are trained."""
    if config is None:
        return ConfirmPlan()
    if sweep.costs:
        return _plan_front(sweep, config)
    candidates = _candidates(sweep, config.top)
    if reports_on_picks(sweep):
        runs = [
            PlannedRun(label, trial, seed_of(trial, place))
            for label, trials in candidates.items()
            for trial in trials
            for place in range(config.seeds)
        ]
        found = {label: choose_winner(sweep, label, trials) for label, trials in candidates.items()}
        return ConfirmPlan(tuple(runs), {label: trial for label, trial in found.items() if trial is not None})
    ended = {run.key for run in sweep.confirm if run.run.ended}
    picks: list[PlannedRun] = []
    reports: list[PlannedRun] = []
    winners, waiting = dict[str, int](), dict[str, int]()
    for label, trials in candidates.items():
        own = _picks(label, trials, config)
        picks += own
        if any(run.key not in ended for run in own):
            waiting[label] = config.seeds
        elif (winner := choose_winner(sweep, label, trials)) is not None:
            winners[label] = winner
            reports += [
                PlannedRun(label, winner, seed_of(winner, place), REPORT, plan_cut(config, place, picks=False))
                for place in range(config.seeds)
            ]
    return ConfirmPlan((*picks, *reports), winners, waiting)


def _plan_front(sweep: SweepResults, config: ConfirmConfig) -> ConfirmPlan:
    """Of several metrics: points of the front, each on fresh seeds, none of which chose it.

    Winners are the first point, the best by the first metric, and those of other alternatives that are the best of
    theirs: a cheap one says nothing about how good its alternative is.
    """
    points = [point.trial for point in choose_points(sweep, config.top)]
    ranked = [trial for trial in sweep.ranked() if trial.can_win]
    best = {trial.label: trial.value for trial in reversed(ranked)}
    runs, winners = list[PlannedRun](), dict[str, int]()
    for trial in points:
        label = confirm_label(trial.label)
        if not winners or trial.value == best[trial.label]:
            winners.setdefault(label, trial.number)
        runs += [
            PlannedRun(label, trial.number, seed_of(trial.number, place), REPORT, plan_cut(config, place, picks=False))
            for place in range(config.seeds)
        ]
    return ConfirmPlan(tuple(runs), winners, points=frozenset(trial.number for trial in points))


def reports_on_picks(sweep: SweepResults) -> bool:
    """Whether the confirm runs are of a version in which the runs that chose a winner also report it."""
    return bool(sweep.confirm) and all(run.role is None for run in sweep.confirm)


def choose_winner(sweep: SweepResults, label: str, trials: Sequence[int]) -> int | None:
    """The trial with the best mean on validation over its picks; None where no pick is complete.

    A trial that failed on a seed comes after those that did not. Of equal ones the first wins.

    Args:
        sweep: The results.
        label: The alternative.
        trials: Those to choose from, the best of the search first; a single one needs no pick.
    """
    if len(trials) < 2:
        return next(iter(trials), None)
    values: dict[int, list[float]] = {trial: [] for trial in trials}
    for run in sweep.confirm:
        if run.label == label and run.complete and run.role in (PICK, None) and run.run.number in values:
            values[run.run.number].append(sweep.sign * float(run.run.value or 0.0))
    able = [trial for trial in trials if values[trial]]
    if reports_on_picks(sweep):
        return max(able, key=lambda trial: fmean(values[trial]), default=None)
    return max(able, key=lambda trial: (len(values[trial]), fmean(values[trial])), default=None)


def confirm_label(label: str | None) -> str:
    """The name of an alternative's folder in `confirm/`."""
    return "best" if label is None else label


def confirm_metric(sweep: SweepResults) -> str:
    """The sweep's metric on the test split."""
    return f"test/{sweep.metric.partition('/')[2]}"


@functools.lru_cache(maxsize=1)
def confirm_winners(sweep: SweepResults) -> dict[str, int]:
    """The winner of each alternative, among its trials that were scored on test.

    Several were scored if a longer search made another trial win; until that one is scored the last winner stands,
    unless there are several metrics: another point of the front does not stand for the best one.
    """
    scored: dict[str, set[int]] = {}
    for run in sweep.confirm:
        if run.complete and run.role != PICK and confirm_metric(sweep) in (run.test or {}):
            scored.setdefault(run.label, set()).add(run.run.number)
    config = confirm_config(sweep)
    if sweep.costs:
        front = _plan_front(sweep, config or ConfirmConfig()).winners
        return {label: number for label, number in front.items() if number in scored.get(label, ())}
    planned, ranked, winners = plan_confirm(sweep, config).winners, sweep.ranked(), dict[str, int]()
    for label, trials in scored.items():
        ordered = [trial.number for trial in ranked if trial.number in trials]
        ordered += sorted(trials - set(ordered))
        chosen = planned.get(label)
        if chosen not in trials:
            chosen = choose_winner(sweep, label, ordered)
        winners[label] = ordered[0] if chosen is None else chosen
    return winners


@functools.lru_cache(maxsize=1)
def winner_runs(sweep: SweepResults) -> dict[str, list[ConfirmRun]]:
    """The runs that report the winner of each alternative: complete, scored on test, and none that picked it."""
    won, metric = confirm_winners(sweep), confirm_metric(sweep)
    found: dict[str, list[ConfirmRun]] = {}
    for run in sweep.confirm:
        if run.complete and run.role != PICK and run.run.number == won.get(run.label) and metric in (run.test or {}):
            found.setdefault(run.label, []).append(run)
    return found


@functools.lru_cache(maxsize=1)
def point_runs(sweep: SweepResults) -> dict[int, list[ConfirmRun]]:
    """Of several metrics: the runs of each trial that were scored on test, also of one that left the front since."""
    metric, found = confirm_metric(sweep), dict[int, list[ConfirmRun]]()
    for run in sweep.confirm if sweep.costs else ():
        if run.complete and run.role != PICK and metric in (run.test or {}):
            found.setdefault(run.run.number, []).append(run)
    return found


def find_splits(sweep: SweepResults) -> Literal["cuts", "folds"] | None:
    """How train and val of the runs that report winners were cut; None: as in the search."""
    cuts = [run.cut for runs in winner_runs(sweep).values() for run in runs]
    if not cuts or None in cuts:
        return None
    return "cuts" if any(cut is not None and cut.folds is None for cut in cuts) else "folds"


def _candidates(sweep: SweepResults, top: int) -> dict[str, list[int]]:
    """The best trials of each alternative, no two with the same settings, and those that have picks already."""
    together = reports_on_picks(sweep)  # then settings may repeat, as they did
    picked = {(run.label, run.run.number) for run in sweep.confirm if run.role == PICK}
    found: dict[str, list[int]] = {confirm_label(trial.label): [] for trial in sweep.trials}
    seen: dict[str, set[str]] = {label: set() for label in found}
    for trial in sweep.ranked():
        label = confirm_label(trial.label)
        if not trial.can_win:
            continue
        known = seen[label]
        if len(known) < top:
            drawn = {**trial.parameters, "seed": trial.number if together else None}  # a confirm run has its own seed
            settings = json.dumps(drawn, sort_keys=True, default=str)
            if settings not in known:
                known.add(settings)
                found[label].append(trial.number)
                continue
        if (label, trial.number) in picked:
            found[label].append(trial.number)
    return found


def _picks(label: str, trials: Sequence[int], config: ConfirmConfig) -> list[PlannedRun]:
    """Each trial of several on the same cuts."""
    if len(trials) < 2:
        return []
    return [
        PlannedRun(label, trial, seed_of(trial, place, picks=True), PICK, plan_cut(config, place, picks=True))
        for trial in trials
        for place in range(PICK_SEEDS)
    ]
