"""Measure how long trials take here: as many processes as the sweep will have train for a moment in parallel."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from statistics import median
from typing import TYPE_CHECKING, Any

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources

if TYPE_CHECKING:
    from hwcls.data.imageset import ImageSet
    from hwcls.inspection.profile import TimedTraining
    from hwcls.training.distributed import World

NICE = 15  # lets every other process go first, as Ray's workers do
MAX_GROUPS = 8  # groups of ranks that are started, however many trials run at once
LONG_ENOUGH = 1.0  # seconds of measurement for each trial
MAX_STEPS = 20  # of one trial
FEW = 8  # images per rank in the first measurement


@dataclass(frozen=True)
class TrialTime:
    """Seconds that a trial takes."""

    build: float  # until its steps take as long as all that follow: the first ones, on a GPU a capture
    epoch: float  # training, and evaluation on train and val
    epochs: int = 1


@dataclass(frozen=True)
class Timing:
    """Measured times."""

    start: float  # seconds until a group of ranks was ready for its first trial, when all groups start at once
    trials: dict[str, list[TrialTime]]  # by alternative
    features: tuple[float, ...] = ()  # seconds of an image on one process while all compute, for each backbone


Labelled = tuple[str, TrialConfig]


class CrashedError(UserError):
    """A process that measured has ended without a result; a caller adds how to do without the measurement.

    Args:
        exit_code: As `multiprocessing` has it: the negative number of the signal that ended it.
    """

    def __init__(self, exit_code: int) -> None:
        names = {-one: one.name for one in signal.Signals}
        why = f"ended by {names[exit_code]}" if exit_code in names else f"exit code {exit_code}"
        killed = exit_code == -signal.SIGKILL  # as the kernel does where memory is short
        remedy = "the memory is probably full: free some and try again" if killed else "a library has crashed"
        super().__init__(f"a process that measured training times crashed ({why})", remedy=remedy)


def time_trials(
    trials: Sequence[Labelled],
    resources: Resources,
    fewest: int,
    seconds: float,
    features: Sequence[TrialConfig] = (),
) -> Timing:
    """Measure trials on groups of ranks that run at the same time, as many as the sweep will have.

    Args:
        trials: Candidates, in order; each group gets its part of them.
        fewest: The minimum number that is measured.
        seconds: How long more are measured.
        features: Trials whose cached features are timed as well: how long it takes to compute them.

    Raises:
        UserError: A model cannot be trained, or there is too little memory.
    """
    parts = split_evenly(trials, min(resources.concurrent, MAX_GROUPS))
    groups, devices = len(parts), _devices(resources, len(parts))
    context = get_context("spawn")
    processes, receivers = [], []
    started = time.time()
    try:
        for group in range(groups):
            receiver, sender = context.Pipe(duplex=False)
            least = -(-fewest // groups)
            arguments = parts[group], resources, devices[group], least, seconds, features
            processes.append(context.Process(target=_group, args=(sender, *arguments)))
            processes[-1].start()
            sender.close()
            receivers.append(receiver)
        found = [_receive(*pair) for pair in zip(receivers, processes, strict=True)]
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process in processes:
            process.join()
    times: dict[str, list[TrialTime]] = {}
    for _, measured, _ in found:
        for label, time_of_trial in measured:
            times.setdefault(label, []).append(time_of_trial)
    extraction = tuple(map(median, zip(*(seconds for _, _, seconds in found), strict=True)))
    return Timing(median(ready - started for ready, _, _ in found), times, extraction)


def split_evenly(trials: Sequence[Labelled], most: int) -> list[Sequence[Labelled]]:
    """All trials in at most so many parts, in order; none is empty, and none is more than one longer than another."""
    parts = min(most, len(trials))
    ends = [len(trials) * part // parts for part in range(parts + 1)]
    return [trials[start:end] for start, end in pairwise(ends)]


Measured = tuple[float, list[tuple[str, TrialTime]], list[float]]


def _receive(receiver: Connection, process: BaseProcess) -> Measured:
    """When a group was ready (seconds since 1970), the times of its trials, and seconds of each backbone's features."""
    try:
        message = receiver.recv()
    except EOFError:
        process.join()
        raise CrashedError(process.exitcode or 0) from None
    if isinstance(message, UserError):
        raise message
    measured: Measured = message
    return measured


def _devices(resources: Resources, groups: int) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each group: a GPU for each rank, or one that several groups share."""
    if not resources.gpus_per_worker:
        return [""] * groups
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    shares = max(1, int(1 / resources.gpus_per_worker))
    firsts = [group * resources.workers // shares for group in range(groups)]
    return [",".join(every[first : first + resources.workers]) for first in firsts]


def _group(
    sender: Connection,
    trials: Sequence[Labelled],
    resources: Resources,
    devices: str,
    fewest: int,
    seconds: float,
    features: Sequence[TrialConfig],
) -> None:
    """Run one group in this process; several ranks are further processes."""
    from hwcls.training.threads import configure_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    os.environ["CUDA_VISIBLE_DEVICES"] = devices
    os.nice(NICE)
    configure_threads(resources.cpus_per_worker)
    from hwcls.training.launch import launch

    try:
        launch(resources.workers, _time_on_rank, sender, trials, resources, fewest, seconds, features)
    except UserError as error:
        sender.send(error)


def _time_on_rank(
    world: World,
    sender: Connection,
    trials: Sequence[Labelled],
    resources: Resources,
    fewest: int,
    seconds: float,
    features: Sequence[TrialConfig],
) -> None:
    """Run on each rank of a group: all ranks measure the same trials, rank 0 sends the times."""
    import torch

    from hwcls.data.imageset import open_data
    from hwcls.training.features.extract import time_extraction
    from hwcls.training.memory import limit_memory

    torch.set_num_threads(resources.cpus_per_worker)
    limit_memory(resources.gpus_per_worker, world.device)
    data: dict[Any, ImageSet] = {}
    found: list[tuple[str, TrialTime]] = []
    ready = spent = 0.0
    for label, trial in trials:
        if len(found) >= fewest and spent > seconds:
            break
        key = trial.data.pixels()
        if key not in data:
            data[key] = open_data(trial.data)
        if not found:
            _warm_up(trial, data[key], world, FEW * world.size)  # imports everything that training needs
            ready = time.time()
        started = time.perf_counter()
        found.append((label, time_trial(trial, data[key], world)))
        spent += _mean_over_ranks(world, time.perf_counter() - started)
    extraction = [time_extraction(one, open_data(one.data), world.device, LONG_ENOUGH) for one in features]
    if world.rank == 0:
        sender.send((ready, found, extraction))


def time_trial(trial: TrialConfig, data: ImageSet, world: World) -> TrialTime:
    """Measure a trial on the ranks of `world`: a complete epoch if that is short, else some steps."""
    from hwcls.training.evaluation import train_sample_size

    images, scored = len(data.train), train_sample_size(data) + len(data.val)
    batch = min(FEW * world.size, images)
    training, build = _warm_up(trial, data, world, batch)
    each = _mean_over_ranks(world, training.run(1)[0]) / batch  # seconds per image
    if each * trial.data.batch_size < LONG_ENOUGH:  # else a few images take long enough to measure
        batch = min(trial.data.batch_size, images)
        training, build = _warm_up(trial, data, world, None)
    if each * (images + scored) < LONG_ENOUGH:
        started = time.perf_counter()
        training.run_epochs(2)
        return TrialTime(build, _mean_over_ranks(world, time.perf_counter() - started) / 2, trial.epochs)
    steps: list[float] = []
    while not steps or (sum(steps) < LONG_ENOUGH and len(steps) < MAX_STEPS):
        steps.append(_mean_over_ranks(world, training.run(1)[0]))
    started = time.perf_counter()
    training.trainer.evaluate("val", 2 * batch).loss.item()
    score = _mean_over_ranks(world, time.perf_counter() - started) / min(2 * batch, len(data.val))
    return TrialTime(build, median(steps) / batch * images + score * scored, trial.epochs)


def _warm_up(trial: TrialConfig, data: ImageSet, world: World, batch: int | None) -> tuple[TimedTraining, float]:
    """A training that has warmed up, and the seconds until then; `batch` replaces the trial's batch size."""
    from hwcls.inspection import create_recorder
    from hwcls.inspection.profile import TimedTraining

    if batch is not None:
        changed = {"data": trial.data.model_copy(update={"batch_size": batch}), "norm_batch": None}
        trial = trial.model_copy(update=changed)
    slow = trial.optimizer.model_copy(update={"lr": 1e-6})  # so that no loss diverges
    started = time.perf_counter()
    training = TimedTraining(trial.model_copy(update={"optimizer": slow}), data, world, create_recorder())
    training.warm_up()
    return training, _mean_over_ranks(world, time.perf_counter() - started)


def _mean_over_ranks(world: World, seconds: float) -> float:
    """The mean over the ranks, so that all make the same decisions."""
    import torch

    return world.sum(torch.tensor(seconds, dtype=torch.float64, device=world.device)).item() / world.size
