"""`hwcls init` from looking at the data to the file in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from hwcls import files
from hwcls.config.data import DataConfig
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.init.budget import (
    Goal,
    Pace,
    Schedule,
    choose_goal,
    fewest_share,
    plan_schedule,
    time_for_two,
    with_more_seeds,
)
from hwcls.init.economy import HALF, Economy, list_economies, next_economy
from hwcls.init.facts import DataFacts, MachineFacts, describe_data, look_at_machine
from hwcls.init.measure import pace_of, time_models
from hwcls.init.plan import (
    BACKBONES,
    FINE_TUNED,
    Choice,
    Model,
    Plan,
    Wish,
    choose_models,
    choose_side,
    duration,
    make_plan,
    with_budget,
    with_fewer_pixels,
    with_time,
)
from hwcls.init.render import render
from hwcls.models.timm import VIEWS
from hwcls.models.weights.find import find_offline_weights, may_have_weights
from hwcls.sweep.preflight.simulate import ALL, RUNS, Simulation, Waits
from hwcls.sweep.preflight.timing import Timing

CLOSE = 0.05  # a simulated time this near to the wanted one is not corrected
CORRECTIONS = 3  # of the budget, at most
# the models that are measured last, where others leave time for them: at least so many times the seconds of cnn
SLOWER = {"residual": 2.0, FINE_TUNED: 3.0}


@dataclass(frozen=True)
class Found:
    """What there is to choose by.

    Attributes:
        config: Of the data, with the size that was chosen.
        side: That size, and why.
        weights: A backbone whose pretrained weights are on this machine; None where there are none.
    """

    config: DataConfig
    side: Choice
    data: DataFacts
    machine: MachineFacts
    weights: str | None


@dataclass(frozen=True)
class Written:
    """The file that was written.

    Attributes:
        epoch_seconds: The shortest and the longest epoch of each model that was measured, on all training images.
        schedule: How its time is spent.
        for_two: Where only one model fits, the options with which about two do; else None.
    """

    path: Path
    plan: Plan
    epoch_seconds: dict[str, tuple[float, float]]
    schedule: Schedule
    for_two: str | None


def look(config: DataConfig, goal: Goal, report: ProgressReporter) -> Found:
    """Look at the data, which is decoded, and at the machine.

    Raises:
        UserError: The data cannot be read, or has too few images to split.
    """
    from hwcls.data.decoding.decode import sample_sizes
    from hwcls.data.imageset import open_data
    from hwcls.data.store import read_raw_data

    raw = read_raw_data(config)
    sizes, machine = sample_sizes(raw.splits["train"].images), look_at_machine()
    weights = next(filter(find_offline_weights, BACKBONES), None) if may_have_weights() else None
    side = choose_side(sizes.shared_side, sizes.short_side, machine, goal, weights)
    config = config.model_copy(update={"image_size": side.value})
    return Found(config, side, describe_data(raw, sizes, open_data(config, report)), machine, weights)


def create(found: Found, wish: Wish, out: Path, report: ProgressReporter) -> Written:
    """Measure this machine, choose, and write the file, which was read back before.

    Raises:
        UserError: A model cannot be trained, or `out` exists.
    """
    if found.data.is_small:
        wish = replace(wish, goal=with_more_seeds(wish.goal))
    at, models, timing, schedule = _measure(found, wish, report)
    side = with_fewer_pixels(found.side, at.side, wish.seconds)
    plan = make_plan(wish, found.data, found.machine, side, models, schedule)
    plan = _fit_budget(plan, schedule, timing, wish.seconds, out)
    _load(render(plan), out, keep=True)
    seconds = {
        label: (min(time.epoch for time in times), max(time.epoch for time in times))
        for label, times in timing.trials.items()
    }
    for_two = None
    if len(schedule.models) == 1 < len(models):
        for_two = _options_for_two(wish, found, at, _with_slow(timing, models))
    return Written(out, plan, seconds, schedule, for_two)


def _measure(found: Found, wish: Wish, report: ProgressReporter) -> tuple[Economy, tuple[Model, ...], Timing, Schedule]:
    """Measure models, more cheaply until enough of the images fit into the time: how, the models, times and schedule.

    The slow models are only measured where the others leave time for them.
    """
    from hwcls.data.imageset import open_data

    images, classes = found.data.images, len(found.data.classes)
    steps = list_economies(found.side.value, wish.goal.epochs[0], pretrained=bool(found.weights))
    needed = max(HALF, fewest_share(images, classes))
    at: Economy | None = steps[0]
    side = 0
    while at is not None:
        now = at
        config = found.config.model_copy(update={"image_size": now.side})
        if now.side != side:
            report(f"measuring how fast this machine trains, at {now.side} x {now.side} pixels")
        side = now.side
        open_data(config)  # decoded once, for all processes that measure
        models = choose_models(found.machine, wish.goal, now.side, found.weights, narrow=now.narrow)
        goal = replace(wish.goal, epochs=(now.epochs, wish.goal.epochs[1]))
        plan = partial(_schedule, replace(wish, goal=goal), found)
        timing = time_models([model for model in models if model.label not in SLOWER], config)
        schedule = plan(timing)
        at = next_economy(steps, now, schedule.affordable, needed)
    expected = plan(_with_slow(timing, models))
    slow = [model for model in models if model.label in SLOWER and model.label in expected.models]
    if slow:
        timing = replace(timing, trials={**timing.trials, **time_models(slow, config).trials})
        schedule = plan(timing)
    return now, models, timing, schedule


def _schedule(wish: Wish, found: Found, timing: Timing) -> Schedule:
    pace = _pace(wish, found, timing)
    return plan_schedule(wish.goal, wish.seconds, pace, found.data.images, len(found.data.classes))


def _options_for_two(wish: Wish, found: Found, at: Economy, timing: Timing) -> str:
    """The options with which two models fit without economies, as with more time there are fewer of these."""
    dearer = at.epochs / (wish.goal.epochs[0] * at.cost)  # an epoch without economies, against one with them
    trials = {
        label: [replace(time, epoch=dearer * time.epoch) for time in every] for label, every in timing.trials.items()
    }
    pace = _pace(wish, found, replace(timing, trials=trials))
    seconds = time_for_two(wish.goal, wish.seconds, pace, found.data.images, len(found.data.classes))
    goal = "" if choose_goal(None, seconds).name == wish.goal.name else f" --goal {wish.goal.name}"
    return f"--for {duration(seconds)}{goal}"


def _pace(wish: Wish, found: Found, timing: Timing) -> Pace:
    counts = {split: sum(every) for split, every in found.data.counts.items()}
    # each view mirrors half of the images, and one that looks as in an earlier view is copied
    mirrored = round((1 - 0.5 ** (VIEWS - 1)) * counts["train"]) if wish.mirror else 0
    return pace_of(timing, found.machine.concurrent, sum(counts.values()) + mirrored)


def _with_slow(timing: Timing, models: tuple[Model, ...]) -> Timing:
    """The times as if the slow models that were not measured were as fast as they can be expected to be."""
    slow = {
        model.label: [replace(time, epoch=SLOWER[model.label] * time.epoch) for time in timing.trials["cnn"]]
        for model in models
        if model.label in SLOWER
    }
    return replace(timing, trials={**slow, **timing.trials})


def _fit_budget(plan: Plan, schedule: Schedule, timing: Timing, seconds: float, out: Path) -> Plan:
    """The plan with the budget that makes the whole command take `seconds`, by the simulation of a dry run."""
    times = {
        label: [replace(time, epoch=time.epoch * schedule.share, epochs=schedule.epochs) for time in every]
        for label, every in timing.trials.items()
        if label in schedule.models
    }
    if len(times) == 1:  # nothing is compared
        times = {ALL: next(iter(times.values()))}

    def simulate(plan: Plan) -> float:
        sweep, waits = _load(render(plan), out, keep=False), Waits.from_start(timing.start, workers=1)
        if schedule.features:  # computed by processes of their own
            waits = replace(waits, before=waits.before + waits.group + schedule.features)
        walls = [Simulation(sweep, times, waits, schedule.concurrent, seed).run().wall for seed in range(RUNS)]
        return median(walls)

    wall, budget = simulate(plan), schedule.budget
    for _ in range(CORRECTIONS):
        if schedule.run_cap is not None or abs(wall - seconds) <= CLOSE * seconds:
            break
        budget = max(budget - (wall - seconds), schedule.budget / 2)
        plan = with_budget(plan, budget)
        wall = simulate(plan)
    return with_time(plan, wall)


def check_free(out: Path) -> None:
    """Raise UserError where `out` exists, as a sweep file is never overwritten, or its folder cannot be written."""
    if os.path.lexists(out):
        raise UserError("exists, and is not overwritten", where=str(out), remedy="write another one with --out FILE")
    above = next(place for place in out.absolute().parents if os.path.lexists(place))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        what = "cannot be written" if above.is_dir() else "is no folder"
        raise UserError(what, where=str(above), remedy="name another file: --out FILE")


def _load(text: str, out: Path, *, keep: bool) -> Sweep:
    """The sweep of a text, read as the file at `out` would be; it stays there with `keep`."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.init")
    try:
        files.write_text(temporary, text)
        sweep = load_sweep(temporary)
        if keep:
            _rename_new(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return sweep


def _rename_new(source: Path, target: Path) -> None:
    """Rename a file to a name that is free."""
    check_free(target)
    try:
        os.link(source, target)  # unlike a rename it fails where the name was taken meanwhile
    except FileExistsError:
        check_free(target)
    except OSError:  # a file system without links
        os.replace(source, target)
    files.sync_folder(target.parent)
