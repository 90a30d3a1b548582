"""What the heaviest trials take of a GPU: they train for a moment, one after the other, in a process of their own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from hwcls.errors import UserError
from hwcls.sweep.cluster.connect import first_line
from hwcls.sweep.preflight.gpu_share.choose import GpuUse, Measurement
from hwcls.sweep.preflight.gpu_share.mps import mps_pipe
from hwcls.sweep.preflight.timing import CrashedError, Labelled
from hwcls.temporary import temporary_folder

if TYPE_CHECKING:
    import torch

    from hwcls.data.imageset import ImageSet
    from hwcls.inspection.profile import TimedTraining
    from hwcls.training.distributed import World

TIMEOUT = 600.0  # seconds for all trials
SECONDS = 1.0  # of steps that are timed, for each trial
FEWEST_STEPS, MOST_STEPS = 5, 50
TRACED = 10  # steps whose kernels are recorded
SCORED = 4096  # images of val, as a scored batch may take more memory than a trained one


def measure_in_process(trials: Sequence[Labelled]) -> Measurement:
    """Measure trials on the first GPU of this machine, in a process that ends with it.

    Raises:
        UserError: A model cannot be trained, or the process crashed or took too long.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, trials), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(TIMEOUT):
            raise UserError(f"it took longer than {TIMEOUT:.0f} s")
        message = receiver.recv()
    except EOFError:
        process.join()
        raise CrashedError(process.exitcode or 0) from None
    finally:
        process.kill()
        process.join()
    if isinstance(message, UserError):
        raise message
    assert isinstance(message, Measurement)
    return message


def _run(sender: Connection, trials: Sequence[Labelled]) -> None:
    """Run in the new process; sends a Measurement or a UserError."""
    from hwcls.training.threads import configure_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    os.environ["CUDA_VISIBLE_DEVICES"] = (os.environ.get("CUDA_VISIBLE_DEVICES") or "0").split(",")[0]
    configure_threads(1)
    sender.send(try_measuring(trials))


def try_measuring(trials: Sequence[Labelled]) -> Measurement | UserError:
    """The result of `measure_here`, or why there is none: what fails here fails in a trial too, which reports it."""
    try:
        return measure_here(trials)
    except UserError as error:
        return error
    except Exception as error:
        return UserError(f"{type(error).__name__}: {first_line(error)}")


def measure_here(trials: Sequence[Labelled]) -> Measurement:
    """Measure trials on the GPU of this process, which must not have used it before.

    Raises:
        UserError: torch cannot use the GPU, or a model cannot be trained.
    """
    import torch

    from hwcls.data.imageset import open_data
    from hwcls.training.distributed import World

    if not torch.cuda.is_available():
        raise UserError(f"torch {torch.__version__} cannot use the GPU")
    torch.set_num_threads(1)
    world, uses = World(), []
    data: tuple[Any, ImageSet] | None = None  # one at a time, as the workers of a sweep keep it
    for label, trial in trials:
        if data is None or data[0] != trial.data.pixels():
            data = trial.data.pixels(), open_data(trial.data)
        uses.append(measure_trial((label, trial), data[1], world))
    _, total = torch.cuda.mem_get_info(world.device)
    return Measurement(torch.cuda.get_device_name(world.device), total, mps_pipe() is not None, tuple(uses))


def measure_trial(labelled: Labelled, data: ImageSet, world: World) -> GpuUse:
    """Train some steps of a trial: first timed, as in a sweep, then with their kernels recorded; raises UserError."""
    import torch

    from hwcls.inspection import create_recorder
    from hwcls.inspection.profile import TimedTraining
    from hwcls.training.memory import free_memory
    from hwcls.training.step import graph

    label, trial = labelled
    free_memory()  # what the trial before has left
    torch.cuda.reset_peak_memory_stats(world.device)
    slow = trial.optimizer.model_copy(update={"lr": 1e-6})  # so that no loss diverges
    training = TimedTraining(trial.model_copy(update={"optimizer": slow}), data, world, create_recorder())
    training.timer.device = torch.device("cpu")  # a step does not wait for the one before, as in a trial
    training.run(graph.WARM_UP + 1)  # until the step is captured
    step = _step_seconds(training, world.device)
    kernels = _record_kernels(training, world.device)
    training.trainer.evaluate("val", SCORED)
    whole = step * TRACED
    # the profiler may have no access to the GPU: then nothing is known, and the trial counts as if it used all of it
    busy, occupied = kernel_seconds(kernels) if kernels else (whole, whole)
    return GpuUse(label, _process_memory(world.device), min(1.0, busy / whole), min(1.0, occupied / whole))


def _step_seconds(training: TimedTraining, device: torch.device) -> float:
    """Seconds from one step to the next, evaluation included where an epoch has fewer steps."""
    from hwcls.training.latency import now

    steps = FEWEST_STEPS
    while True:
        started = now(device)
        training.run(steps)
        each = (now(device) - started) / steps
        if each * steps >= SECONDS or steps == MOST_STEPS:
            return each
        steps = MOST_STEPS


def _record_kernels(training: TimedTraining, device: torch.device) -> list[Mapping[str, Any]]:
    """The GPU kernels of TRACED steps, as events of Chrome's trace format."""
    from torch.profiler import ProfilerActivity, profile

    from hwcls.training.latency import now

    now(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        training.run(TRACED)
        now(device)
    with temporary_folder() as folder:
        path = folder / "trace.json"
        profiler.export_chrome_trace(str(path))
        events: list[Mapping[str, Any]] = json.loads(path.read_text("utf-8", errors="replace"))["traceEvents"]
    return [event for event in events if event.get("cat") == "kernel"]


def kernel_seconds(kernels: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds in which at least one kernel runs, and seconds in which they would fill every multiprocessor.

    Args:
        kernels: Trace events: `ts` and `dur` in microseconds; the `args` have the launch's "blocks per SM", which is
            below 1 where some multiprocessors get no block.
    """
    busy, occupied, end = 0.0, 0.0, 0.0
    for event in sorted(kernels, key=lambda event: float(event["ts"])):
        start, length = float(event["ts"]), float(event["dur"])
        busy += max(0.0, start + length - max(start, end))
        occupied += length * min(1.0, float(event.get("args", {}).get("blocks per SM", 1.0)))
        end = max(end, start + length)
    return busy / 1e6, occupied / 1e6


def _process_memory(device: torch.device) -> int:
    """Bytes that this process has taken of its GPU at most: torch's, and the CUDA context with its kernels.

    What other processes hold on the GPU counts as the context: a GPU that others use is shared by fewer trials.
    """
    import torch

    free, total = torch.cuda.mem_get_info(device)
    context = total - free - torch.cuda.memory_reserved(device)
    return int(torch.cuda.max_memory_reserved(device) + max(0, context))
