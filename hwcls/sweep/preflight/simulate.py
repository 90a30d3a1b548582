"""How long a sweep will take: a few trials are tried, and the search is played through with what they cost."""

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
from typing import get_args

from pydantic import ValidationError

from hwcls.config.shares import Unit
from hwcls.config.space import Fixed
from hwcls.config.sweep_file import Sweep
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight import prepare
from hwcls.sweep.preflight.dry_run import draw
from hwcls.sweep.preflight.timing import Cost, Labelled, probe
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.pruning import build_scheduler

EVERY = "every trial"  # the label where nothing is compared
DRAWS = 3  # trials of each alternative that are tried in any case
MOST_DRAWS = 30  # and at most
SECONDS = 4.0  # for which more than DRAWS of each alternative are tried
PLAYS = 20  # times that the search is played through
ERROR = (0.6, 1.5)  # how far a short look at a machine misses what it will do later

# Seconds in which nothing trains, as multiples of what a process takes to start and to load what training loads: most
# of this is spent on that. Measured on two cores.
BEFORE = 1.8  # until Ray has started and the search begins
GROUP = 1.55  # until a group of ranks has begun its first trial
SCORE = 0.95  # to score the winners of confirm on test
AFTER = 0.7  # from the last trial's end to the command's
TURNAROUND = 0.035  # between two trials
RECORD = 0.0025  # between two epochs


@dataclass(frozen=True)
class Estimate:
    """What a sweep is expected to take, as ranges that hold the shortest play, the longest, and ERROR."""

    seconds: tuple[float, float]  # wall time of the whole command
    trial_seconds: tuple[float, float]  # in which trials train, added up, confirm runs included
    gpu_hours: tuple[float, float]
    trials: int
    epochs: tuple[int, int]  # of all trials, confirm runs included
    epoch_seconds: dict[str, float]  # median of an epoch, by alternative


def estimate(sweep: Sweep, resources: Resources) -> Estimate:
    """Try some trials of each alternative, then play the search through.

    Raises:
        UserError: The data is not there, or a model that the sweep can draw cannot be built.
    """
    trials = _tried(sweep)
    corners = sweep.corners
    opened = prepare.open_sets(sweep, [*corners, *(trial for _, trial in trials)])
    prepare.check_models(sweep, corners, prepare.shapes_of(opened))
    count = max(1, len(sweep.alternatives))
    found = probe(trials, resources, DRAWS * count, SECONDS * count)
    waits = Waits.of(found.start, resources.workers)
    plays = [Play(sweep, found.costs, waits, resources.concurrent, seed).run() for seed in range(PLAYS)]
    seconds, busy = _range(play.wall for play in plays), _range(play.busy for play in plays)
    gpus = resources.gpus_per_worker * resources.workers / 3600
    return Estimate(
        seconds=seconds,
        trial_seconds=busy,
        gpu_hours=(gpus * busy[0], gpus * busy[1]),
        trials=max(play.trials for play in plays),
        epochs=(min(play.epochs for play in plays), max(play.epochs for play in plays)),
        epoch_seconds={label: median(cost.epoch for cost in costs) for label, costs in found.costs.items()},
    )


def _range(found: Iterable[float]) -> tuple[float, float]:
    """About the median play: how far plays differ and ERROR, which chance does not add up at their worst."""
    values = sorted(found)
    middle = median(values)
    if not middle:
        return 0.0, 0.0
    low, high = (
        math.hypot(math.log(end / middle), math.log(error))
        for end, error in zip((values[0], values[-1]), ERROR, strict=True)
    )
    return middle * math.exp(-low), middle * math.exp(high)


def _tried(sweep: Sweep) -> list[Labelled]:
    """What may be tried: of a grid its own points in any order, else trials drawn at random; alternatives in turns."""
    count, config = MOST_DRAWS * max(1, len(sweep.alternatives)), sweep.config
    if config.search.enumerates:
        points = sweep.space.grid()
        random.Random(config.seed).shuffle(points)
        points = sweep.in_turns(points)[:count]
        labels = [sweep.alternative_label(point) for point in points]
        drawn = [partial(sweep.trial, Fixed(point), seed=config.seed) for point in points]
    else:
        labels = list(islice(cycle(sweep.shares.labels or [None]), count))
        drawn = [partial(draw, sweep, number) for number in range(count)]
    trials = []
    for label, draw_one in zip(labels, drawn, strict=True):
        with suppress(ValidationError):  # a combination that no corner of the space showed: no trial either
            trials.append((label or EVERY, draw_one()))
    return trials


@dataclass(frozen=True)
class Waits:
    """Seconds in which nothing trains; see the constants."""

    before: float
    group: float
    score: float
    after: float
    turnaround: float
    record: float

    @classmethod
    def of(cls, start: float, workers: int) -> Waits:
        """From the seconds that groups of so many workers took to start, all of them at once."""
        process = start / min(workers, 2)  # several ranks start from a process of their own
        return cls(*(process * wait for wait in (BEFORE, GROUP, SCORE, AFTER, TURNAROUND, RECORD)))


class Play:
    """One search with made-up learning curves, on the real early stopping, under a clock of its own.

    After `run`, `wall` holds the seconds of the command, `busy` those in which trials train, added up.
    """

    def __init__(self, sweep: Sweep, costs: Mapping[str, Sequence[Cost]], waits: Waits, slots: int, seed: int) -> None:
        self.sweep, self.costs, self.waits, self.slots = sweep, costs, waits, slots
        self.random = random.Random(seed)
        self.stop = build_scheduler(sweep)
        self.shares = replace(sweep.shares, labels=tuple(costs))
        self.spent: dict[Unit, dict[str, float]] = {unit: dict.fromkeys(costs, 0.0) for unit in get_args(Unit)}
        self.wall = self.busy = 0.0
        self.trials = self.epochs = 0

    def run(self) -> Play:
        """Play to the end."""
        self.wall = self.waits.before + self._side_by_side(self._next) + self._confirm() + self.waits.after
        return self

    def _side_by_side(self, following: Callable[[float], Iterator[float] | None]) -> float:
        """Run what `following(now)` hands out, the seconds of each part of a trial, until it has no more."""
        end = 0.0
        running: list[tuple[float, int, Iterator[float]]] = [(0.0, slot, iter(())) for slot in range(self.slots)]
        while running:
            now, slot, parts = heapq.heappop(running)
            seconds = next(parts, None)
            if seconds is None:  # its trial has ended, or its group is new
                end = now
                trial = following(now)
                if trial is None:
                    continue
                seconds, parts = self.waits.turnaround if now else self.waits.group, trial
            heapq.heappush(running, (now + seconds, slot, parts))
        return end

    def _next(self, now: float) -> Iterator[float] | None:
        """The search's next trial."""
        number = self.trials
        if number >= (self.sweep.total or math.inf) or now >= (self.sweep.config.budget or math.inf):
            return None
        self.trials += 1
        label = self._label(number)
        self.spent["trials"][label] += 1
        return self._searched(number, label, self.random.choice(self.costs[label]))

    def _label(self, number: int) -> str:
        if self.shares.points is not None:
            return self.shares.points[number] or EVERY
        return self.shares.next(self.spent)

    def _searched(self, number: int, label: str, cost: Cost) -> Iterator[float]:
        """A trial, until it is stopped; what it reaches grows towards a value by chance."""
        sign = 1 if self.sweep.config.metric.goal == "maximize" else -1
        goal, speed, best = self.random.random(), self.random.uniform(0.1, 0.4) * cost.epochs, 0.0
        for epoch, seconds in enumerate(self._trained(cost), start=1):
            yield seconds
            self.spent["epochs"][label] += 1
            self.spent["seconds"][label] += seconds
            value = goal * (1 - math.exp(-epoch / speed)) + self.random.gauss(0, 0.01)
            best = max(best, value)
            report = EpochReport(epoch, cost.epochs, sign * value, sign * best)
            if self.stop and self.stop.stops(label, f"trials/{number}", report):
                return

    def _trained(self, cost: Cost) -> Iterator[float]:
        """The seconds of each epoch."""
        for epoch in range(cost.epochs):
            yield cost.epoch + self.waits.record + (0.0 if epoch else cost.build)
            self.busy += cost.epoch
            self.epochs += 1

    def _confirm(self) -> float:
        """The seconds of the confirm runs, on groups that start anew, and of scoring the winners on test."""
        config = self.sweep.config.confirm
        if config is None:
            return 0.0
        runs = []
        for label, costs in self.costs.items():
            for _ in range(min(config.top, int(self.spent["trials"][label]))):
                runs += [self.random.choice(costs)] * config.seeds
        return self._side_by_side(lambda now: self._trained(runs.pop(0)) if runs else None) + self.waits.score
