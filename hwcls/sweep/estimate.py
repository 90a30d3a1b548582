"""How long a sweep will take: a few steps of each alternative are timed, and the search is played through with them."""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import TrialScheduler

from hwcls.config.load import Sweep, check_corners
from hwcls.config.trial import TrialConfig
from hwcls.sweep import prepare
from hwcls.sweep.early_stop import FairStop, scheduler
from hwcls.sweep.preview import draw
from hwcls.sweep.resources import Resources

if TYPE_CHECKING:
    from hwcls.data.imageset import ImageSet

DRAWS = 3  # trials of each alternative that are timed
PATIENCE = 1.0  # seconds for each
MOST = 20  # steps for each
FEW = 8  # images of a first look
FORWARD = 0.35  # of a training step's time: an image that is only scored
START = 8.0  # seconds in which Ray starts and nothing trains
TURNAROUND = 0.1  # seconds between two trials
PLAYS = 20  # times that the search is played through
ERROR = (0.8, 1.6)  # how far a timed step misses: all cores are busy later, and caches cold at first


@dataclass(frozen=True)
class Estimate:
    """What a sweep is expected to take, from the shortest play to the longest, widened by ERROR."""

    seconds: tuple[float, float]  # wall time
    gpu_hours: tuple[float, float]
    trials: int
    epochs: tuple[int, int]  # of all trials, confirm runs included
    epoch_seconds: dict[str, float]  # median of an epoch, by alternative


def estimate(sweep: Sweep, resources: Resources) -> Estimate:
    """Time a few steps of some trials of each alternative, then play the search through.

    Raises:
        UserError: The data is not there, or a model that the sweep can draw cannot be built.
    """
    opened = prepare.open_sets(sweep, check_corners(sweep), say=lambda text: None)
    prepare.check_models(sweep, check_corners(sweep), prepare.shapes_of(opened))
    costs: dict[str, list[float]] = defaultdict(list)
    trials: list[TrialConfig] = []
    for number in range(DRAWS * max(1, len(sweep.alternatives))):
        trial = draw(sweep, number)
        key = trial.data.pixels()
        if key not in opened:
            opened |= prepare.open_sets(sweep, [trial], say=lambda text: None)
        costs[_label(sweep, trial)].append(epoch_seconds(trial, opened[key]) / resources.workers)
        trials.append(trial)
    plays = [
        Play(sweep, costs, max(t.epochs for t in trials), resources.concurrent, seed).run() for seed in range(PLAYS)
    ]
    seconds = [play.wall for play in plays]
    gpus = resources.gpus_per_worker * resources.workers / 3600
    busy = [play.busy * gpus for play in plays]
    return Estimate(
        seconds=(START + ERROR[0] * min(seconds), START + ERROR[1] * max(seconds)),
        gpu_hours=(ERROR[0] * min(busy), ERROR[1] * max(busy)),
        trials=max(play.trials for play in plays),
        epochs=(min(play.epochs for play in plays), max(play.epochs for play in plays)),
        epoch_seconds={label: median(found) for label, found in costs.items()},
    )


def epoch_seconds(trial: TrialConfig, data: ImageSet) -> float:
    """Seconds that an epoch of a trial takes on one rank: training, and scoring train and val."""
    import torch

    from hwcls.training.trainer import TRAIN_SAMPLE

    torch.set_num_threads(trial.threads)
    images = len(data.train)
    scored = min(images, TRAIN_SAMPLE) + len(data.val)
    each = _seconds_per_image(trial, data, FEW)
    if each * trial.data.batch_size < PATIENCE:  # else it is slow enough for a few images to tell
        each = _seconds_per_image(trial, data, trial.data.batch_size)
    return each * (images + FORWARD * scored)


def _seconds_per_image(trial: TrialConfig, data: ImageSet, batch: int) -> float:
    """The median step with a batch of so many images, augmentation included, after one that warms up."""
    from hwcls.inspection.profile import TimedTrainer, cheap

    batch = min(batch, trial.data.batch_size, len(data.train))
    changed = {"data": trial.data.model_copy(update={"batch_size": batch}), "workers": 1, "norm_batch": None}
    trainer = TimedTrainer(cheap(trial.model_copy(update=changed)), data)
    trainer.run(1)
    steps: list[float] = []
    while not steps or (sum(steps) < PATIENCE and len(steps) < MOST):
        steps += trainer.run(1)
    return median(steps) / batch


def _label(sweep: Sweep, trial: TrialConfig) -> str:
    return sweep.label_of(trial.to_dict()) or "every trial"


class Play:
    """One search with made-up learning curves, on the real early stopping, under a clock of its own."""

    def __init__(self, sweep: Sweep, costs: Mapping[str, Sequence[float]], epochs: int, slots: int, seed: int) -> None:
        self.sweep, self.costs, self.last, self.slots = sweep, costs, epochs, slots
        self.random = random.Random(seed)
        self.stop: FairStop | None = scheduler(sweep)
        self.wall = self.busy = 0.0
        self.trials = self.epochs = 0

    def run(self) -> Play:
        """Play to the end; then `wall`, `busy` (seconds in which a trial trains), `trials` and `epochs` are known."""
        config = self.sweep.config
        total = len(self.sweep.space.grid()) if config.method == "grid" else config.run_cap
        budget = config.budget or math.inf
        running: list[tuple[float, int, Any, Iterator[float]]] = []
        now = 0.0
        while True:
            while len(running) < self.slots and now < budget and (total is None or self.trials < total):
                self._begin(running, now)
            if not running:
                break
            now, number, trial, pace = heapq.heappop(running)
            seconds = next(pace, None)  # None: its last epoch has ended, or it was stopped
            if seconds is None:
                now += TURNAROUND
                continue
            heapq.heappush(running, (now + seconds, number, trial, pace))
            self.busy += seconds
            self.epochs += 1
        self.wall = now
        self._confirm()
        return self

    def _begin(self, running: list[Any], now: float) -> None:
        labels = list(self.costs)
        label, number = labels[self.trials % len(labels)], self.trials
        self.trials += 1
        trial = SimpleNamespace(config={"label": label, "key": f"trials/{number}"})
        if self.stop:
            self.stop.on_trial_add(None, trial)
        heapq.heappush(running, (now, number, trial, self._pace(trial, self.random.choice(self.costs[label]))))

    def _pace(self, trial: Any, seconds: float) -> Iterator[float]:
        """The seconds of each epoch, until the trial is stopped; what it reaches grows towards a value by chance."""
        goal, speed, best = self.random.random(), self.random.uniform(0.1, 0.4) * self.last, 0.0
        for epoch in range(1, self.last + 1):
            yield seconds
            value = goal * (1 - math.exp(-epoch / speed)) + self.random.gauss(0, 0.01)
            best = max(best, value)
            sign = 1 if self.sweep.config.metric.goal == "maximize" else -1
            told = {"epoch": epoch, "value": sign * value, "best": sign * best}
            if self.stop and self.stop.on_trial_result(None, trial, told) == TrialScheduler.STOP:
                return

    def _confirm(self) -> None:
        """Every run of `confirm` to its last epoch."""
        config = self.sweep.config.confirm
        if config is None:
            return
        for label in self.costs:
            runs = min(config.top, -(-self.trials // len(self.costs))) * config.seeds
            spent = runs * self.last * self.random.choice(self.costs[label])
            self.busy += spent
            self.wall += spent / self.slots
            self.epochs += runs * self.last
