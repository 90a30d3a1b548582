"""What each trial gets of the machine or cluster, chosen or checked before the start."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError


@dataclass(frozen=True)
class Machine:
    """What there is: CPUs and GPUs, per node."""

    nodes: tuple[tuple[float, float], ...]  # (CPUs, GPUs)

    @property
    def cpus(self) -> float:
        return sum(cpus for cpus, _ in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(gpus for _, gpus in self.nodes)

    def __str__(self) -> str:
        nodes = f" on {len(self.nodes)} nodes" if len(self.nodes) > 1 else ""
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs{nodes}"


@dataclass(frozen=True)
class Resources:
    """What each trial gets, and how many run at once."""

    workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    concurrent: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        gpus = f" and {self.gpus_per_worker:g} GPU" if self.gpus_per_worker else ""
        workers = (
            f"{self.workers} workers of {self.cpus_per_worker} CPU{gpus}"
            if self.workers > 1
            else f"{self.cpus_per_worker} CPU{gpus}"
        )
        return (
            f"{self.concurrent} trials at once, each on {workers}"
            if self.concurrent > 1
            else f"one trial at a time, on {workers}"
        )


def usable_cpus() -> int:
    """The CPUs that this process may use, which a batch system may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine() -> Machine:
    """The CPUs that this process may use, and torch's GPUs."""
    import torch

    return Machine(((float(usable_cpus()), float(torch.cuda.device_count())),))


def choose(config: ResourcesConfig, machine: Machine, where: str) -> Resources:
    """A GPU per rank where there is one, else a core; as many trials at once as fit.

    Raises:
        UserError: The machine can never run a single trial.
    """
    gpus = config.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if machine.gpus >= config.workers else 0.0
    if gpus:
        share = max(1, int(machine.cpus // max(1, machine.gpus / gpus)))
        cpus = config.cpus_per_worker or min(share, 8)
    else:
        cpus = config.cpus_per_worker or 1
    slots = sum(_slots(node, cpus, gpus) for node in machine.nodes)
    if slots < config.workers:
        each = f"{cpus} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        what = f"a trial needs {config.workers} x {each}, but there are {machine}"
        raise UserError(what, where=where, remedy="lower workers, cpus_per_worker or gpus_per_worker")
    fitting = slots // config.workers
    return Resources(config.workers, cpus, gpus, min(config.concurrent or fitting, fitting))


def _slots(node: tuple[float, float], cpus: int, gpus: float) -> int:
    """Ranks that fit on one node."""
    by_cpu = int(node[0] // cpus)
    return min(by_cpu, int(node[1] / gpus + 1e-9)) if gpus else by_cpu
