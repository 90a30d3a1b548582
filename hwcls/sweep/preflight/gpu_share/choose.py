"""How many trials share a GPU: what its memory, its computing time and the CPUs beside it allow."""

from __future__ import annotations

from dataclasses import dataclass

from hwcls.config.sweep import AUTO, ResourcesConfig
from hwcls.format import format_bytes
from hwcls.sweep.cluster.resources import UNIT, Machine

MOST = 8  # trials on a GPU: more add little, and each takes a CPU
USABLE = (
    0.8  # of a worker's share of the memory: above it the images would not stay on the GPU, and fragments need room
)


@dataclass(frozen=True)
class GpuUse:
    """What a trial takes of its GPU while it trains."""

    label: str
    memory: int  # bytes at the peak: tensors, its own copy of the images, the CUDA context of its process
    busy: float  # share of the time in which a kernel runs, 0 to 1
    occupied: float  # the same with each kernel weighted by the share of multiprocessors that it fills, 0 to 1


@dataclass(frozen=True)
class Measurement:
    """The trials measured on a GPU, one at least."""

    gpu: str  # its name
    memory: int  # bytes that it has
    mps: bool  # whether NVIDIA's MPS lets kernels of several processes run at the same time
    uses: tuple[GpuUse, ...]


@dataclass(frozen=True)
class Share:
    """The part of a GPU that each worker gets, and why."""

    gpus_per_worker: float
    reason: str
    is_measured: bool = False  # or a measurement was tried: later starts of the sweep keep it

    def __str__(self) -> str:
        return f"gpus_per_worker: {AUTO} is {self.gpus_per_worker:g}: {self.reason}"


@dataclass(frozen=True)
class Limit:
    """How many trials on a GPU something allows, in words too."""

    trials: int
    what: str

    def __str__(self) -> str:
        return f"{self.trials} by {self.what}"


def choose_share(found: Measurement, others: list[Limit]) -> Share:
    """The largest number of trials on a GPU that each limit allows, `others` being those of `host_limits`.

    Kernels of several processes take turns, so that about 1 / busy trials keep a GPU at work. Under MPS they run at the
    same time as long as multiprocessors are free, and 1 / occupied do.
    """
    limits = [_time_limit(found), _memory_limit(found), *others]
    trials = max(1, min(MOST, *(limit.trials for limit in limits)))
    together = (
        f"{trials} trials share a GPU by {'MPS' if found.mps else 'time slices (see docs/how-to/share_a_gpu.md)'}"
    )
    how = together if trials > 1 else "a trial has a GPU of its own"
    reason = f"{how}: {', '.join(map(str, limits))}, {MOST} at most; measured on {found.gpu}"
    return Share(share_of(trials), reason, is_measured=True)


def host_limits(config: ResourcesConfig, machine: Machine) -> list[Limit]:
    """What the CPUs of the nodes with GPUs allow, and the trials at once that are asked for."""
    cpus = min((cpus / gpus for cpus, gpus in machine.all_nodes if gpus), default=1.0)
    found = [Limit(int(cpus // (config.cpus_per_worker or 1)), "CPUs")]
    if config.concurrent:
        found.append(Limit(-(-config.concurrent // max(1, int(machine.gpus))), f"concurrent: {config.concurrent}"))
    return found


def share_of(trials: int) -> float:
    """The share of so many trials on a GPU, in whole units of Ray: they never exceed the GPU."""
    return UNIT // trials / UNIT


def _time_limit(found: Measurement) -> Limit:
    shares = {use.label: use.occupied if found.mps else use.busy for use in found.uses}
    label, share = max(shares.items(), key=lambda item: item[1])
    what = f"computing ({label} fills {100 * share:.0f} %)" if found.mps else f"time ({label} {100 * share:.0f} %)"
    return Limit(int(1 / max(share, 0.01) + 0.5), what)


def _memory_limit(found: Measurement) -> Limit:
    largest = max(found.uses, key=lambda use: use.memory)
    size = f"{format_bytes(largest.memory)} of {format_bytes(found.memory)}"
    return Limit(int(USABLE * found.memory / max(largest.memory, 1)), f"memory ({largest.label} {size})")
