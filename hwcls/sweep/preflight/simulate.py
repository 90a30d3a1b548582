"""Estimate how long a sweep takes: time a few trials, then simulate the search with these times."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any, get_args

from pydantic import ValidationError

from hwcls.config.shares import Unit
from hwcls.config.space import Fixed
from hwcls.config.sweep_file import Sweep
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.monitor.eta import AFTER, GROUP, SCORE
from hwcls.sweep.preflight import prepare
from hwcls.sweep.preflight.dry_run import sample_trial
from hwcls.sweep.preflight.timing import CrashedError, Labelled, Timing, TrialTime, time_trials
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.pruning import build_scheduler
from hwcls.sweep.search.stopping.paused import PausedTrials

ALL = "every trial"  # the label where nothing is compared
MIN_TIMED = 3  # timed trials of each alternative
MAX_TIMED = 30
SECONDS = 4.0  # for each alternative; within them more than MIN_TIMED trials are timed
RUNS = 20  # simulations
ERROR = (0.6, 1.5)  # actual over estimated time: a short measurement is not exact

# Idle times as multiples of the time in which a process starts and imports what training needs, which dominates them.
# Set by hand to what starts and ends take on two cores.
BEFORE = 2.2  # until Ray runs and the search starts
TURNAROUND = 0.035  # between two trials
RECORD = 0.0025  # between two epochs


@dataclass(frozen=True)
class SweepEstimate:
    """The expected cost of a sweep, as ranges that cover all simulations and ERROR."""

    seconds: tuple[float, float]  # wall time of the command, with its start
    start_seconds: tuple[float, float]  # until the first trial trains
    trial_seconds: tuple[float, float]  # total training time, confirm runs included
    gpu_hours: tuple[float, float]
    trials: int
    epochs: tuple[int, int]  # of all trials, confirm runs included
    epoch_seconds: dict[str, float]  # median of an epoch, by alternative
    features: list[dict[str, Any]]  # what is computed once, before the first trial: `what`, `pending` images, `seconds`


def estimate_duration(sweep: Sweep, resources: Resources) -> SweepEstimate:
    """Time some trials of each alternative, then simulate the search.

    Raises:
        UserError: Data is missing, or a model of the sweep cannot be built.
    """
    trials = _sample_trials(sweep)
    sets = prepare.open_data_sets([*sweep.corners, *(trial for _, trial in trials)], sweep.source)
    prepare.check_models_build(sweep.corners, prepare.shapes_of(sets), sweep.source)
    count = max(1, len(sweep.alternatives))
    jobs = prepare.list_features(sweep)
    pending = [job for job in jobs if job.pending]
    try:
        firsts = [job.trials[0] for job in pending]
        timing = time_trials(trials, resources, MIN_TIMED * count, SECONDS * count, firsts)
    except CrashedError as error:
        raise UserError(error.what, remedy=f"{error.remedy}; --no-probe skips the estimate") from None
    waits = Waits.from_start(timing.start, resources.workers)
    from hwcls.training.features.rows import count_distinct  # loads torch

    counts = [count_distinct(job.trials, open_data) for job in pending]
    extraction = dict(zip((job.folder for job in pending), feature_seconds(counts, timing, resources), strict=True))
    if pending:  # by processes of their own, before the first trial
        waits = replace(waits, before=waits.before + waits.group + sum(extraction.values()))

    def simulate(speed: float = 1.0) -> list[Simulation]:
        times = _scale(timing.trials, speed)
        return [Simulation(sweep, times, waits, resources.concurrent, seed).run() for seed in range(RUNS)]

    runs = simulate()
    epochs = [run.epochs for run in runs]
    if sweep.config.budget is not None:  # how many fit into it depends on their seconds, which have an error
        epochs += [run.epochs for speed in ERROR for run in simulate(speed)]
    seconds, busy = _range(run.wall for run in runs), _range(run.busy for run in runs)
    gpus = resources.gpus_per_worker * resources.workers / 3600
    return SweepEstimate(
        seconds=seconds,
        start_seconds=_range([waits.before + waits.group]),
        trial_seconds=busy,
        gpu_hours=(gpus * busy[0], gpus * busy[1]),
        trials=max(run.trials for run in runs),
        epochs=(min(epochs), max(epochs)),
        epoch_seconds={label: median(time.epoch for time in times) for label, times in timing.trials.items()},
        features=[
            {"what": str(job), "pending": job.pending, "seconds": extraction.get(job.folder, 0.0)} for job in jobs
        ],
    )


def feature_seconds(images: Sequence[int], timing: Timing, resources: Resources) -> list[float]:
    """How long the features of so many images take, by backbone, on all processes of the trials that run at once."""
    processes = resources.workers * resources.concurrent
    return [count * each / processes for count, each in zip(images, timing.features, strict=True)]


def _range(found: Iterable[float]) -> tuple[float, float]:
    """A range around the median: the spread of the simulations and ERROR, added as independent errors."""
    values = sorted(found)
    middle = median(values)
    if not middle:
        return 0.0, 0.0
    low, high = (
        math.hypot(math.log(end / middle), math.log(error))
        for end, error in zip((values[0], values[-1]), ERROR, strict=True)
    )
    return middle * math.exp(-low), middle * math.exp(high)


def _scale(times: Mapping[str, Sequence[TrialTime]], factor: float) -> dict[str, list[TrialTime]]:
    """Trials that take `factor` times as long."""
    return {
        label: [replace(one, build=factor * one.build, epoch=factor * one.epoch) for one in measured]
        for label, measured in times.items()
    }


def _sample_trials(sweep: Sweep) -> list[Labelled]:
    """Candidates for timing: shuffled points of a grid, else random trials; the alternatives take turns."""
    count, config = MAX_TIMED * max(1, len(sweep.alternatives)), sweep.config
    if config.search.enumerates:
        points = sweep.space.grid()
        random.Random(config.seed).shuffle(points)
        points = sweep.interleave(points)[:count]
        labels = [sweep.alternative_label(point) for point in points]
        sampled = [partial(sweep.trial, Fixed(point), seed=config.seed) for point in points]
    else:
        labels = list(islice(cycle(sweep.shares.labels or [None]), count))
        sampled = [partial(sample_trial, sweep, number) for number in range(count)]
    trials = []
    for label, sample in zip(labels, sampled, strict=True):
        with suppress(ValidationError):  # an invalid combination is no trial of the search either
            trials.append((label or ALL, sample()))
    return trials


def train_share(sweep: Sweep) -> float:
    """The images that a run which reports a winner is trained on, over those of a trial: other ones with folds."""
    config, data = sweep.config.confirm, sweep.corners[0].data
    return (1 - 1 / config.fold_count) / (1 - data.val) if config and config.fold_count else 1.0


@dataclass(frozen=True)
class Waits:
    """Idle times in seconds; see the constants."""

    before: float
    group: float
    score: float
    after: float
    turnaround: float
    record: float

    @classmethod
    def from_start(cls, start: float, workers: int) -> Waits:
        """From the time in which groups of so many workers started, all at once."""
        process = start / min(workers, 2)  # several ranks are started by another process
        return cls(*(process * wait for wait in (BEFORE, GROUP, SCORE, AFTER, TURNAROUND, RECORD)))


class Simulation:
    """One simulated search: random learning curves, the real early stopping, a simulated clock.

    After `run`, `wall` is the duration of the command in seconds, `busy` the total training time.
    """

    def __init__(
        self, sweep: Sweep, times: Mapping[str, Sequence[TrialTime]], waits: Waits, slots: int, seed: int
    ) -> None:
        every = [time for measured in times.values() for time in measured]
        times = {**{label: every for label in sweep.shares.labels if label not in times}, **times}  # none was timed
        self.sweep, self.times, self.waits, self.slots = sweep, times, waits, slots
        self.random = random.Random(seed)
        self.stop = build_scheduler(sweep)
        self.paused = PausedTrials(sweep, self.stop)
        self.running: dict[str, str | None] = {}  # trials by key, and their alternatives
        self.waiting: dict[str, tuple[str, Iterator[float | None]]] = {}  # paused ones, and what follows of each
        self.shares = replace(sweep.shares, labels=tuple(times))
        self.spent: dict[Unit, dict[str, float]] = {unit: dict.fromkeys(times, 0.0) for unit in get_args(Unit)}
        self.wall = self.busy = 0.0
        self.trials = self.epochs = 0

    def run(self) -> Simulation:
        """Simulate until the end."""
        self.wall = self.waits.before + self._run_in_parallel(self._next_trial) + self._confirm() + self.waits.after
        return self

    def _run_in_parallel(self, next_trial: Callable[[float], Iterator[float] | None]) -> float:
        """Run trials in all slots until `next_trial(now)` returns None; a trial yields the seconds of its parts."""
        end, idle = 0.0, list[int]()
        running: list[tuple[float, int, Iterator[float]]] = [(0.0, slot, iter(())) for slot in range(self.slots)]
        while running:
            now, slot, parts = heapq.heappop(running)
            seconds = next(parts, None)
            if seconds is not None:
                heapq.heappush(running, (now + seconds, slot, parts))
                continue
            end = now  # its trial has ended or pauses, or its group is new
            idle.append(slot)
            while idle and (trial := next_trial(now)) is not None:  # others may have waited for what has ended
                heapq.heappush(running, (now + (self.waits.turnaround if now else self.waits.group), idle.pop(), trial))
        return end

    def _next_trial(self, now: float) -> Iterator[float] | None:
        """The next trial of the search, None at its end."""
        number, budget = self.trials, self.sweep.config.budget or math.inf
        over = number >= (self.sweep.total or math.inf) or now >= budget
        last = over or now >= budget - self.paused.kept(self.spent, self.slots)
        key = self.paused.next(self.running, self.spent, last=last, late=now >= budget)
        if key is not None:
            label, parts = self.waiting.pop(key)
            self.paused.leave(label, key)
            self.running[key] = label
            return self._until_pause(key, label, parts)
        if over or (last and self.running):
            return None
        self.trials += 1
        label, key = self._label(number), f"trials/{number}"
        self.spent["trials"][label] += 1
        self.running[key] = label
        return self._until_pause(key, label, self._search_trial(key, label, self.random.choice(self.times[label])))

    def _until_pause(self, key: str, label: str, parts: Iterator[float | None]) -> Iterator[float]:
        """The parts of a trial until it ends or pauses; what follows then waits."""
        for seconds in parts:
            if seconds is None:
                self.waiting[key] = label, parts
                break
            yield seconds
        del self.running[key]

    def _label(self, number: int) -> str:
        if self.shares.points is not None:
            return self.shares.points[number] or ALL
        return self.shares.next(self.spent)

    def _search_trial(self, key: str, label: str, time: TrialTime) -> Iterator[float | None]:
        """Train until early stopping ends the trial, None where it pauses; its metric approaches a random value."""
        sign = 1 if self.sweep.config.metric.goal == "maximize" else -1
        goal, speed, best = self.random.random(), self.random.uniform(0.1, 0.4) * time.epochs, 0.0
        for epoch, seconds in enumerate(self._train(time), start=1):
            yield seconds
            self.spent["epochs"][label] += 1
            self.spent["seconds"][label] += seconds
            value = goal * (1 - math.exp(-epoch / speed)) + self.random.gauss(0, 0.01)
            best = max(best, value)
            report = EpochReport(epoch, time.epochs, sign * value, sign * best)
            if self.stop and self.stop.stops(label, key, report):
                if not self.stop.pause(label, key):
                    return
                yield None
                yield time.build

    def _train(self, time: TrialTime) -> Iterator[float]:
        """Yield the seconds of each epoch."""
        for epoch in range(time.epochs):
            self.busy += time.epoch  # before it, as early stopping may end the trial with it
            self.epochs += 1
            yield time.epoch + self.waits.record + (0.0 if epoch else time.build)

    def _confirm(self) -> float:
        """The seconds of the confirm runs, on new groups, and of scoring the winners on test."""
        config = self.sweep.config.confirm
        if config is None:
            return 0.0
        runs: list[TrialTime] = []
        distinct = {label or ALL: int(min(trials, size)) for label, trials, size in self.sweep.sizes}
        shares = (1.0, train_share(self.sweep))
        trials = {label: int(count) for label, count in self.spent["trials"].items()}
        settings = {label: min(count, distinct.get(label, config.top)) for label, count in trials.items()}
        counts = self.sweep.confirm_runs(settings, list(self.times))
        for place in (0, 1):  # the picks of every alternative, then its reports
            for label, times in self.times.items():
                drawn = [self.random.choice(times) for _ in range(counts[label][place])]
                runs += [replace(time, epoch=time.epoch * shares[place]) for time in drawn]
        return self._run_in_parallel(lambda now: self._train(runs.pop(0)) if runs else None) + self.waits.score
