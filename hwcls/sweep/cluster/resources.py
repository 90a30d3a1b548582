"""What each trial gets of the machine or cluster, chosen or checked before the start."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError
from hwcls.sweep.storage.environment import has_gpu_driver

MOST_CPUS = 8  # beside a GPU: what prepares batches for it has no use for more
UNIT = 10_000  # Ray counts in ten-thousandths


@dataclass(frozen=True)
class Machine:
    """What there is, and what an autoscaler may add: CPUs and GPUs, per node."""

    nodes: tuple[tuple[float, float], ...]  # (CPUs, GPUs)
    coming: tuple[tuple[float, float], ...] = ()

    @property
    def every(self) -> tuple[tuple[float, float], ...]:
        return self.nodes + self.coming

    @property
    def cpus(self) -> float:
        return sum(cpus for cpus, _ in self.every)

    @property
    def gpus(self) -> float:
        return sum(gpus for _, gpus in self.every)

    def slots(self, cpus: int, gpus: float) -> int:
        """Ranks that fit, each on one node, and a part of a GPU on one GPU.

        All ranks are alike, so that any `slots` of them fit, whichever of them belong together.
        """
        each = UNIT // max(1, round(gpus * UNIT))  # ranks on one GPU
        return int(sum(min(node[0] // cpus, int(node[1]) * each if gpus else math.inf) for node in self.every))

    def __str__(self) -> str:
        whole = f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"
        if len(self.every) == 1:
            return whole
        most = max(cpus for cpus, _ in self.every), max(gpus for _, gpus in self.every)
        yet = f", {len(self.coming)} of them yet to start" if self.coming else ""
        return f"{whole} on {len(self.every)} nodes{yet}, at most {most[0]:g} and {most[1]:g} on one"


@dataclass(frozen=True)
class Resources:
    """What each trial gets, and how many run at once."""

    workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    concurrent: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def worker(self) -> str:
        """What one worker gets, in words."""
        return f"{self.cpus_per_worker} CPU" + (f" and {self.gpus_per_worker:g} GPU" if self.gpus_per_worker else "")

    def __str__(self) -> str:
        trial = f"{self.workers} workers of {self.worker}" if self.workers > 1 else self.worker
        if self.concurrent == 1:
            return f"one trial at a time, on {trial}"
        return f"{self.concurrent} trials at once, each on {trial}"


def usable_cpus(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The CPUs that this process may use, which a batch system or a container (`quota`) may have cut down."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time, period = map(float, quota.read_text("utf-8").split())
    except (OSError, ValueError):  # no Linux, no container, or "max"
        return cpus
    return max(1, min(cpus, int(time / period)))


def this_machine() -> Machine:
    """The CPUs that this process may use, and torch's GPUs."""
    gpus = 0
    if has_gpu_driver():
        import torch

        gpus = torch.cuda.device_count()
    return Machine(((float(usable_cpus()), float(gpus)),))


def choose(config: ResourcesConfig, machine: Machine, where: str) -> Resources:
    """A GPU per rank where there are any, else a core; as many trials at once as fit.

    Beside a GPU a rank gets as many CPUs, up to MOST_CPUS, as cost no trial its place.

    Raises:
        UserError: The machine can never run a single trial.
    """
    gpus = config.gpus_per_worker if config.gpus_per_worker is not None else float(machine.gpus > 0)

    def at_once(cpus: int) -> int:
        fitting = machine.slots(cpus, gpus) // config.workers
        return min(fitting, config.concurrent or fitting)

    free = [cpus for cpus in range(1, MOST_CPUS + 1 if gpus else 2) if at_once(cpus) == at_once(1) > 0]
    cpus = config.cpus_per_worker or max(free, default=1)
    chosen = Resources(config.workers, cpus, gpus, at_once(cpus))
    if not chosen.concurrent:
        remedy = "lower workers, cpus_per_worker or gpus_per_worker"
        if config.gpus_per_worker is None and gpus:
            remedy = "lower workers or cpus_per_worker, or set gpus_per_worker: 0 to train on CPUs"
        what = f"a trial needs {config.workers} x {chosen.worker}, but there are {machine}"
        raise UserError(what, where=where, remedy=remedy)
    return chosen


def notes(config: ResourcesConfig, chosen: Resources, machine: Machine) -> list[str]:
    """What of the request cannot be, and what of the machine stays idle without having been asked to."""
    found = []
    if config.concurrent and chosen.concurrent < config.concurrent:
        found.append(f"{config.concurrent} trials at once do not fit, but {chosen.concurrent}")
    idle = machine.gpus - chosen.concurrent * chosen.workers * chosen.gpus_per_worker
    if chosen.gpus_per_worker and idle >= 1 and config.concurrent is None:
        trial = f"{chosen.workers} x {chosen.worker}"
        found.append(f"{int(idle)} of {machine.gpus:g} GPUs stay idle: no further trial of {trial} fits")
    return found
