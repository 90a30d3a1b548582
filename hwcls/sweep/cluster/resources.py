"""The CPUs and GPUs of each trial, chosen from the machine or cluster or checked before the start."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError
from hwcls.training.gpu import has_gpu_driver, refuse_unusable_driver

MAX_CPUS_PER_GPU = 8  # more do not speed up its batches
UNIT = 10_000  # Ray counts in ten-thousandths


@dataclass(frozen=True)
class Machine:
    """CPUs and GPUs of each node, and of those that an autoscaler may start."""

    nodes: tuple[tuple[float, float], ...]  # (CPUs, GPUs)
    startable: tuple[tuple[float, float], ...] = ()

    @property
    def all_nodes(self) -> tuple[tuple[float, float], ...]:
        return self.nodes + self.startable

    @property
    def cpus(self) -> float:
        return sum(cpus for cpus, _ in self.all_nodes)

    @property
    def gpus(self) -> float:
        return sum(gpus for _, gpus in self.all_nodes)

    def slots(self, cpus: int, gpus: float) -> int:
        """How many ranks fit, each on one node, a fraction of a GPU on one GPU.

        All ranks are equal, so any grouping of that many ranks fits.
        """
        each = UNIT // max(1, round(gpus * UNIT))  # ranks on one GPU
        return int(sum(min(node[0] // cpus, int(node[1]) * each if gpus else math.inf) for node in self.all_nodes))

    def __str__(self) -> str:
        counts = {"CPU": self.cpus, "GPU": self.gpus}
        total = " and ".join(f"{count:g} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
        if len(self.all_nodes) == 1:
            return total
        most = max(cpus for cpus, _ in self.all_nodes), max(gpus for _, gpus in self.all_nodes)
        yet = f", {len(self.startable)} of them yet to start" if self.startable else ""
        return f"{total} on {len(self.all_nodes)} nodes{yet}, at most {most[0]:g} and {most[1]:g} on one"


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs of each trial, and how many trials run at once."""

    workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    concurrent: int

    @property
    def per_worker(self) -> str:
        """CPUs and GPUs of one worker, in words."""
        return f"{self.cpus_per_worker} CPU" + (f" and {self.gpus_per_worker:g} GPU" if self.gpus_per_worker else "")

    def __str__(self) -> str:
        trial = f"{self.workers} workers of {self.per_worker}" if self.workers > 1 else self.per_worker
        if self.concurrent == 1:
            return f"one trial at a time, on {trial}"
        return f"{self.concurrent} trials at once, each on {trial}"


def usable_cpus(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The CPUs that this process may use, which a batch system or a container (`quota`) may limit."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time, period = map(float, quota.read_text("utf-8").split())
    except (OSError, ValueError):  # no Linux, no container, or "max"
        return cpus
    return max(1, min(cpus, int(time / period)))


def this_machine() -> Machine:
    """The CPUs that this process may use, and the GPUs that torch can use."""
    gpus = 0
    if has_gpu_driver():
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0  # an old driver counts them all the same
    return Machine(((float(usable_cpus()), float(gpus)),))


def require_usable_gpus(config: ResourcesConfig) -> None:
    """Raise UserError where trials of this machine are to have GPUs, but torch cannot use its driver."""
    if config.gpus_per_worker != 0:
        refuse_unusable_driver("set gpus_per_worker: 0")


def choose_resources(config: ResourcesConfig, machine: Machine, where: str) -> Resources:
    """A GPU per rank where there are any, else a core; as many trials at once as fit.

    With a GPU, a rank gets as many CPUs, up to MAX_CPUS_PER_GPU, as reduce no number of trials at once. `auto`, which
    is resolved elsewhere, counts as a whole GPU.

    Raises:
        UserError: The machine can never run a single trial.
    """
    asked = config.gpus_per_worker
    gpus = asked if isinstance(asked, float) else float(machine.gpus > 0)

    def at_once(cpus: int) -> int:
        fitting = machine.slots(cpus, gpus) // config.workers
        return min(fitting, config.concurrent or fitting)

    free = [cpus for cpus in range(1, MAX_CPUS_PER_GPU + 1 if gpus else 2) if at_once(cpus) == at_once(1) > 0]
    cpus = config.cpus_per_worker or max(free, default=1)
    chosen = Resources(config.workers, cpus, gpus, at_once(cpus))
    if not chosen.concurrent:
        remedy = "lower workers, cpus_per_worker or gpus_per_worker"
        if not isinstance(asked, float) and gpus:
            remedy = "lower workers or cpus_per_worker, or set gpus_per_worker: 0 to train on CPUs"
        what = f"a trial needs {config.workers} x {chosen.per_worker}, but there are {machine}"
        raise UserError(what, where=where, remedy=remedy)
    return chosen


def resource_notes(config: ResourcesConfig, chosen: Resources, machine: Machine) -> list[str]:
    """Requested concurrency that does not fit, and GPUs that stay idle unintentionally."""
    notes = []
    if config.concurrent and chosen.concurrent < config.concurrent:
        notes.append(f"{config.concurrent} trials at once do not fit, only {chosen.concurrent}")
    idle = machine.gpus - chosen.concurrent * chosen.workers * chosen.gpus_per_worker
    if chosen.gpus_per_worker and idle >= 1 and config.concurrent is None:
        trial = f"{chosen.workers} x {chosen.per_worker}"
        verb = "stays" if int(idle) == 1 else "stay"
        notes.append(f"{int(idle)} of {machine.gpus:g} GPUs {verb} idle: no further trial of {trial} fits")
    return notes
