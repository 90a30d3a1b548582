"""What a job asks Slurm for: nodes, CPUs, GPUs, time; checked before anything is submitted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.escape import printable
from hwcls.sweep.cluster.resources import Machine, choose_resources, resource_notes
from hwcls.sweep.cluster.slurm.time_limit import format_time_limit

CPUS_PER_GPU = 4  # where neither --cpus nor the sweep asks for more
CPUS_ALONE = 4  # of a node without GPUs


@dataclass(frozen=True)
class Allocation:
    """The nodes of a job.

    Attributes:
        nodes: How many.
        gpus: Of each node.
        gpu_type: Slurm's name of their type; empty: any.
        cpus: Of each node.
        minutes: The time limit.
        memory: Of each node, in Slurm's words, 0: all of it; empty: Slurm's default.
        partition, account: Empty: Slurm's defaults.
        extra: Further options of sbatch, as they are written.
    """

    nodes: int
    gpus: int
    gpu_type: str
    cpus: int
    minutes: int
    memory: str = ""
    partition: str = ""
    account: str = ""
    extra: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_line("--partition", self.partition)
        check_line("--account", self.account)
        if self.memory and not re.fullmatch(r"0|[1-9][0-9]*[kKmMgGtT]?", self.memory):
            remedy = "write 64G, of each node, or 0 for all"
            raise UserError(f"'{self.memory}' is no amount of memory", where="--mem", remedy=remedy)
        for option in self.extra:
            check_line("--sbatch", option)
            if not re.match(r"--?[A-Za-z]", option):
                raise UserError(f"'{option}' is no option of sbatch", where="--sbatch", remedy=f"write --{option}")

    @property
    def machine(self) -> Machine:
        """The nodes as hwcls places trials on them."""
        return Machine(((float(self.cpus), float(self.gpus)),) * self.nodes)

    def directives(self) -> list[str]:
        """The options of sbatch, one for each line of the script."""
        kind = f"{self.gpu_type}:" if self.gpu_type else ""
        found = {
            "nodes": self.nodes,
            "ntasks-per-node": 1,
            "cpus-per-task": self.cpus,
            "gres": f"gpu:{kind}{self.gpus}" if self.gpus else "",
            "mem": self.memory,
            "time": format_time_limit(self.minutes),
            "partition": self.partition,
            "account": self.account,
        }
        return [f"--{option}={shlex.quote(str(value))}" for option, value in found.items() if value]


def parse_gpus(text: str) -> tuple[str, int]:
    """Type and number of a node's GPUs, from `4` or `a100:4`; raises UserError."""
    found = re.fullmatch(r"(?:([A-Za-z][\w.-]*):)?([0-9]{1,3})", text.strip())
    if not found or (found[1] and int(found[2]) == 0):
        remedy = "write the GPUs of each node: 4, or a100:4"
        raise UserError(f"'{text}' is no number of GPUs", where="--gpus", remedy=remedy)
    return found[1] or "", int(found[2])


def choose_cpus(sweep: Sweep, gpus: int) -> int:
    """CPUs of a node: a few for each GPU, and as many as the workers that share it ask for."""
    asked = sweep.config.resources
    per_worker = asked.cpus_per_worker or 1
    if not gpus:
        return max(CPUS_ALONE, per_worker)
    share = asked.gpus_per_worker if isinstance(asked.gpus_per_worker, float) else 1.0
    workers = int(1 / share) if share else 1  # on one GPU
    return gpus * max(CPUS_PER_GPU, workers * per_worker)


def check_fits(sweep: Sweep, allocation: Allocation) -> list[str]:
    """Notes on what of the nodes the trials of a sweep leave idle.

    Raises:
        UserError: No trial fits on the nodes, or GPUs are asked for that the sweep never uses.
    """
    asked, where = sweep.config.resources, sweep.source.where(("resources",))
    if allocation.gpus and asked.gpus_per_worker == 0:
        remedy = "leave --gpus out, or set resources.gpus_per_worker=1"
        raise UserError(f"gpus_per_worker: 0, but --gpus {allocation.gpus} asks for GPUs", where=where, remedy=remedy)
    chosen = choose_resources(asked, allocation.machine, where)
    notes = resource_notes(asked, chosen, allocation.machine)
    if not allocation.gpus and asked.gpus_per_worker not in (None, 0):
        notes.append(f"gpus_per_worker: {asked.gpus_per_worker}, but no --gpus: the job sees no GPU")
    if sweep.total is not None and sweep.total < chosen.concurrent:
        notes.append(f"{chosen.concurrent} trials fit at once, but the search has {sweep.total}")
    return notes


def check_line(option: str, value: str) -> None:
    """Raise UserError where a value would end the line of the script that it is in."""
    if printable(value) != value:
        raise UserError(f"{value!r} has characters that do not print", where=option, remedy="leave them out")
