"""How the time that was asked for is spent: on which models, how many epochs, how long a search, which confirm runs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hwcls.config.sweep import ConfirmConfig
from hwcls.init.economy import HALF

CONFIRM_SHARE = 0.4  # of the time, at most, for the confirm runs: a budget is that of the search alone
SAVING = 2.0  # epochs that early stopping saves, as a factor: less than was measured on long searches
LEAST_TRIALS = 6  # of each model, for a search to mean something
LAST_TRIAL = 0.4  # of a whole training: what still runs, on average, when the budget ends
IMAGES_SEEN = {"quick": 150_000, "thorough": 1_000_000}  # by a training from scratch, after which it learns little more
FEWEST_SEEN = 4_000  # by a training, or a model is rather dropped: few images take more epochs
PROBE = "probe"  # the model whose features are computed once; dropped last, as it gains most where images are few
ENOUGH, FEWEST = 200, 50  # images of each class: a model is rather dropped than trained on fewer; never fewer
SMALL = 1000  # images: all of them are used


@dataclass(frozen=True)
class Goal:
    """What a sweep file aims at.

    Attributes:
        seconds: The time of the whole command, where none was asked for.
        epochs: The fewest and the most of a training.
        trials: The most trials of each model that are worth their time.
    """

    name: str
    seconds: float
    epochs: tuple[int, int]
    trials: int
    confirm: ConfirmConfig


QUICK = Goal("quick", 6 * 60, (8, 60), 20, ConfirmConfig(top=1, seeds=3))
THOROUGH = Goal("thorough", 90 * 60, (15, 100), 60, ConfirmConfig(top=2, seeds=5))
GOALS = {goal.name: goal for goal in (QUICK, THOROUGH)}
LONG = 30 * 60  # seconds from which a time alone asks for a thorough sweep


def with_more_seeds(goal: Goal) -> Goal:
    """The goal with five seeds of each winner: where images are few, scores differ much from seed to seed."""
    return replace(goal, confirm=goal.confirm.model_copy(update={"seeds": max(5, goal.confirm.seeds)}))


def choose_goal(name: str | None, seconds: float | None) -> Goal:
    """The goal of a name; where only a time was asked for, the one that fits it."""
    if name is None:
        return THOROUGH if (seconds or 0) >= LONG else QUICK
    return GOALS[name]


@dataclass(frozen=True)
class Speed:
    """Seconds of an epoch on all training images: of the settings on average, and of the slowest ones."""

    mean: float
    most: float


@dataclass(frozen=True)
class Pace:
    """How fast this machine is.

    Attributes:
        idle: Seconds in which a sweep trains nothing: its start, that of the confirm runs, scores on test, the page.
        concurrent: Trials at once.
        once: Seconds in which all of them compute the features of all images, once for all trials of PROBE.
    """

    idle: float
    concurrent: int
    speeds: Mapping[str, Speed]  # by model
    once: float = 0.0

    def features(self, models: Iterable[str]) -> float:
        """Seconds of `once` where these models need it."""
        return self.once if PROBE in models else 0.0


@dataclass(frozen=True)
class Schedule:
    """How the time is spent.

    Attributes:
        models: Those that are compared; the others are too slow for the time.
        share: Of the training images, that are used.
        affordable: The share that fits into the time with the fewest epochs; above 1 where there is time left.
        budget: Seconds of the search.
        run_cap: Trials of the search, where more are not worth their time; else None.
        confirm: Seconds of the confirm runs.
        seconds: Of the whole command.
        concurrent: Trials at once.
        features: Seconds in which the features of PROBE are computed, before the search.
    """

    models: tuple[str, ...]
    epochs: int
    share: float
    budget: float
    run_cap: int | None
    confirm: float
    seconds: float
    concurrent: int
    affordable: float = 1.0
    features: float = 0.0


def plan_schedule(goal: Goal, seconds: float, pace: Pace, images: int, classes: int) -> Schedule:
    """Divide `seconds` between the search and the confirm runs.

    As many epochs as fit, within what is useful; where the fewest do not fit, models are dropped, the slowest first, or
    fewer images used, whichever loses less: a model from scratch is not worth half of the images.

    Args:
        images: Of the training split.
        classes: Among which they are.
    """
    free = _free_seconds(seconds, pace)
    least, most = goal.epochs[0], _most_epochs(goal, images)
    models = _fitting_models(goal, free, pace, images, classes)
    affordable = share = _affordable(goal, free, pace, models, least)
    share = 1.0 if share >= 1 else max(fewest_share(images, classes), _round_down(share))
    epochs = next((n for n in range(most, least, -1) if _affordable(goal, free, pace, models, n) >= share), least)
    kept = tuple(label for label in pace.speeds if label in models)
    confirm = _confirm_seconds(goal, pace, kept, epochs) * share
    mean = sum(pace.speeds[label].mean for label in kept) / len(kept)
    last = LAST_TRIAL * epochs * share * max(pace.speeds[label].most for label in kept)
    trial = epochs * share * mean / SAVING
    once = pace.features(kept) * share
    left = max(free - once - confirm - last, LEAST_TRIALS * len(kept) * trial / pace.concurrent)
    cap = goal.trials * len(kept)
    needed = cap * trial / pace.concurrent
    run_cap = cap if needed < left else None
    search = min(left, needed)
    total = pace.idle + once + search + last + confirm
    return Schedule(kept, epochs, share, left, run_cap, confirm, total, pace.concurrent, affordable, once)


def time_for_two(goal: Goal, seconds: float, pace: Pace, images: int, classes: int) -> float:
    """The time in whole minutes, above `seconds`, at which two models fit; `pace` has two or more."""
    minutes = math.floor(seconds / 60) + 1
    while len(_fitting_models(goal, _free_seconds(60 * minutes, pace), pace, images, classes)) < 2:
        minutes = math.ceil(1.05 * minutes)
    return 60.0 * minutes


def _free_seconds(seconds: float, pace: Pace) -> float:
    """What a time leaves for training."""
    return max(seconds - pace.idle, seconds / 4)


def _most_epochs(goal: Goal, images: int) -> int:
    return min(goal.epochs[1], max(goal.epochs[0], round(IMAGES_SEEN[goal.name] / images)))


def _fitting_models(goal: Goal, free: float, pace: Pace, images: int, classes: int) -> tuple[str, ...]:
    """The models for which there is time, the fastest first; at least one."""
    wanted = min(_most_epochs(goal, images), max(goal.epochs[0], math.ceil(FEWEST_SEEN / images)))
    models = tuple(sorted(pace.speeds, key=lambda label: pace.speeds[label].most))
    while len(models) > 1:
        from_scratch = any(label != PROBE for label in models[1:])
        share = _affordable(goal, free, pace, models, wanted)
        if share >= min(1.0, max(ENOUGH * classes / images, HALF * from_scratch)):
            break
        models = _without_slowest(models)
    return models


def fewest_share(images: int, classes: int) -> float:
    """The share of so many images that is used at least, however little time there is."""
    return min(1.0, math.ceil(100 * max(FEWEST * classes, SMALL) / images) / 100)


def _without_slowest(models: tuple[str, ...]) -> tuple[str, ...]:
    """The models, in the order of their speed, without the slowest one, if possible another one than PROBE."""
    others = [label for label in models[1:] if label != PROBE]
    slowest = others[-1] if others else models[-1]
    return tuple(label for label in models if label != slowest)


def _affordable(goal: Goal, free: float, pace: Pace, models: Sequence[str], epochs: int) -> float:
    """The share of the images with which so many epochs fit into `free` seconds; above 1 where there is time left."""
    confirm = _confirm_seconds(goal, pace, models, epochs)
    speeds = [pace.speeds[label] for label in models]
    search = LEAST_TRIALS * epochs * sum(speed.mean for speed in speeds) / SAVING / pace.concurrent
    search += LAST_TRIAL * epochs * max(speed.most for speed in speeds)
    return min(CONFIRM_SHARE * free / confirm, free / (confirm + search + pace.features(models)))


def _confirm_seconds(goal: Goal, pace: Pace, models: Iterable[str], epochs: int) -> float:
    """How long the confirm runs take on all images, in the worst case of the slowest settings."""
    picks: list[float] = []
    reports: list[float] = []
    for label in models:
        pick, report = goal.confirm.runs(goal.trials)
        picks += [epochs * pace.speeds[label].most] * pick
        reports += [epochs * pace.speeds[label].most] * report
    return _parallel([*picks, *reports], pace.concurrent)


def _parallel(runs: Iterable[float], slots: int) -> float:
    """The seconds of some runs, started in their order, `slots` of them at once."""
    ends = [0.0] * slots
    for seconds in runs:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return max(ends)


def _round_down(share: float) -> float:
    """A share that reads well: 0.5, 0.25, 0.07."""
    steps = (0.75, 0.5, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05)
    return next((step for step in steps if step <= share), max(0.001, int(share * 1000) / 1000))
