"""What trials cost here: as many processes as the sweep will have train a little, side by side as they will."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import TYPE_CHECKING, Any

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources

if TYPE_CHECKING:
    from hwcls.data.imageset import ImageSet
    from hwcls.inspection.profile import TimedTraining
    from hwcls.training.distributed import World

NICE = 15  # Ray's workers let everything else go first
MOST_GROUPS = 8  # that are started for a probe, however many trials run at once
PATIENCE = 1.0  # seconds for each trial
MOST = 20  # steps of one trial
FEW = 8  # images of a first look, on each rank


@dataclass(frozen=True)
class Cost:
    """Seconds that a trial takes."""

    build: float  # until its first step has ended
    epoch: float  # training, and scoring train and val
    epochs: int = 1


@dataclass(frozen=True)
class Probe:
    """What was found."""

    start: float  # seconds until a group of ranks was ready for its first trial, all groups starting at once
    costs: dict[str, list[Cost]]  # of the trials that were tried, by alternative


Labelled = tuple[str, TrialConfig]


def probe(trials: Sequence[Labelled], resources: Resources, fewest: int, seconds: float) -> Probe:
    """Try trials on groups of ranks that run at once, as many as the sweep will have.

    Args:
        trials: What may be tried, in this order; the groups share them out.
        fewest: How many are tried in any case.
        seconds: For how long more are tried.

    Raises:
        UserError: A model that cannot be trained, or too little memory.
    """
    groups = min(resources.concurrent, MOST_GROUPS, len(trials))
    share, devices = len(trials) // groups, _devices(resources, groups)
    context = get_context("spawn")
    processes, answers = [], []
    started = time.time()
    try:
        for group in range(groups):
            receiver, sender = context.Pipe(duplex=False)
            asked = trials[group * share :][:share], resources, devices[group], -(-fewest // groups), seconds
            processes.append(context.Process(target=_group, args=(sender, *asked)))
            processes[-1].start()
            sender.close()
            answers.append(receiver)
        found = [_answer(receiver) for receiver in answers]
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process in processes:
            process.join()
    costs: dict[str, list[Cost]] = {}
    for _, costed in found:
        for label, cost in costed:
            costs.setdefault(label, []).append(cost)
    return Probe(median(ready - started for ready, _ in found), costs)


def _answer(receiver: Connection) -> tuple[float, list[tuple[str, Cost]]]:
    """When a group was ready (seconds since 1970), and what its trials cost."""
    try:
        answer = receiver.recv()
    except EOFError:
        remedy = "is its memory full? pass --no-probe to leave the estimate out"
        raise UserError("a process that timed some training died", remedy=remedy) from None
    if isinstance(answer, UserError):
        raise answer
    ready, costs = answer
    return ready, costs


def _devices(resources: Resources, groups: int) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each group: whole GPUs for each rank, or one that several groups share."""
    if not resources.gpus_per_worker:
        return [""] * groups
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    shares = max(1, int(1 / resources.gpus_per_worker))
    firsts = [group * resources.workers // shares for group in range(groups)]
    return [",".join(every[first : first + resources.workers]) for first in firsts]


def _group(
    sender: Connection, trials: Sequence[Labelled], resources: Resources, devices: str, fewest: int, seconds: float
) -> None:
    """One group, in a process of its own; its ranks are others where there are several."""
    from hwcls.training.threads import configure_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked, who then ends this process
    os.environ["CUDA_VISIBLE_DEVICES"] = devices
    os.nice(NICE)
    configure_threads(resources.cpus_per_worker)
    from hwcls.training.distributed import launch

    try:
        launch(resources.workers, _try, sender, trials, resources.cpus_per_worker, fewest, seconds)
    except UserError as error:
        sender.send(error)


def _try(
    world: World, sender: Connection, trials: Sequence[Labelled], threads: int, fewest: int, seconds: float
) -> None:
    """On each rank of a group: the ranks go through the same trials, rank 0 answers."""
    import torch

    from hwcls.data.imageset import open_data

    torch.set_num_threads(threads)
    data: dict[Any, ImageSet] = {}
    found: list[tuple[str, Cost]] = []
    ready = spent = 0.0
    for label, trial in trials:
        if len(found) >= fewest and spent > seconds:
            break
        key = trial.data.pixels()
        if key not in data:
            data[key] = open_data(trial.data)
        if not found:
            _timed(trial, data[key], world, FEW * world.size)  # loads whatever training loads
            ready = time.time()
        started = time.perf_counter()
        found.append((label, cost(trial, data[key], world)))
        spent += _agreed(world, time.perf_counter() - started)
    if world.rank == 0:
        sender.send((ready, found))


def cost(trial: TrialConfig, data: ImageSet, world: World) -> Cost:
    """What a trial costs on the ranks of `world`: a whole epoch is timed where it is short, else some steps are."""
    from hwcls.training.evaluation import train_sample_size

    images, scored = len(data.train), train_sample_size(data) + len(data.val)
    batch = min(FEW * world.size, images)
    training, build = _timed(trial, data, world, batch)
    each = _agreed(world, training.run(1)[0]) / batch  # seconds per image
    if each * trial.data.batch_size < PATIENCE:  # else it is slow enough for a few images to tell
        batch = min(trial.data.batch_size, images)
        training, build = _timed(trial, data, world, None)
    if each * (images + scored) < PATIENCE:
        started = time.perf_counter()
        training.run_epochs(2)
        return Cost(build, _agreed(world, time.perf_counter() - started) / 2, trial.epochs)
    steps: list[float] = []
    while not steps or (sum(steps) < PATIENCE and len(steps) < MOST):
        steps.append(_agreed(world, training.run(1)[0]))
    started = time.perf_counter()
    training.trainer.evaluate("val", 2 * batch).loss.item()
    score = _agreed(world, time.perf_counter() - started) / min(2 * batch, len(data.val))
    return Cost(build, median(steps) / batch * images + score * scored, trial.epochs)


def _timed(trial: TrialConfig, data: ImageSet, world: World, batch: int | None) -> tuple[TimedTraining, float]:
    """A training after its first step, and the seconds that this took; `batch` stands for the trial's own."""
    from hwcls.inspection import create_recorder
    from hwcls.inspection.profile import TimedTraining, without_pretrained_weights

    if batch is not None:
        changed = {"data": trial.data.model_copy(update={"batch_size": batch}), "norm_batch": None}
        trial = trial.model_copy(update=changed)
    tame = trial.optimizer.model_copy(update={"lr": 1e-6})  # no loss runs away
    started = time.perf_counter()
    training = TimedTraining(
        without_pretrained_weights(trial.model_copy(update={"optimizer": tame})), data, world, create_recorder()
    )
    training.run(1)
    return training, _agreed(world, time.perf_counter() - started)


def _agreed(world: World, seconds: float) -> float:
    """The mean over the ranks, which must all decide alike."""
    import torch

    return world.sum(torch.tensor(seconds, dtype=torch.float64, device=world.device)).item() / world.size
