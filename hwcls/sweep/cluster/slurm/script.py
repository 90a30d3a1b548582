"""The batch script of a sweep: Ray on the nodes of the job, and `hwcls sweep` on it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.sweep.cluster.slurm.allocation import Allocation, check_line

HERE = Path(__file__).parent
AWAIT_NODES = "hwcls.sweep.cluster.slurm.await_nodes"
NODES_TIMEOUT = 300  # seconds for Ray to start, and again for all nodes to join
WARNING = 120  # seconds before the time limit when Slurm sends its signal
SAVING = 90  # of them for the sweep to save


@dataclass(frozen=True)
class Job:
    """What runs in an allocation.

    Attributes:
        name: Of the job.
        folder: To run in, that of the submission.
        command: Words of `hwcls sweep`, without an address.
        python: The interpreter on the nodes.
        setup: Lines of shell that come first.
        requeues: How often the job may start again after its time limit.
    """

    name: str
    folder: Path
    command: Sequence[str]
    python: str
    setup: str = ""
    requeues: int = 10

    def __post_init__(self) -> None:
        check_line("--job-name", self.name)
        check_line("the current folder", str(self.folder))
        check_line("--python", self.python)
        if "\0" in self.setup:
            raise UserError("has a null character", where="--setup")

    def output(self, number: str) -> Path:
        """Where Slurm writes what the job prints; `number` is the job's."""
        return self.folder / f"slurm-{number}.out"


def build_script(allocation: Allocation, job: Job) -> str:
    """The script for `sbatch`; where it gets one node alone, the sweep starts Ray itself."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    secrets = sorted({name for tracker in TRACKERS.all().values() for name in tracker.secrets})
    return environment.get_template("job.sh.jinja").render(
        directives=[
            f"--job-name={shlex.quote(job.name)}",
            *allocation.directives(),
            *_directives(job),
            *allocation.extra,
        ],
        folder=shlex.quote(str(job.folder)),
        setup=job.setup.rstrip(),
        python=shlex.quote(job.python),
        requeues=job.requeues,
        saving=SAVING,
        nodes=allocation.nodes,
        gpus=allocation.gpus,
        secrets=secrets,
        limit=NODES_TIMEOUT,
        await_nodes=AWAIT_NODES,
        command=shlex.join(job.command),
    )


def _directives(job: Job) -> list[str]:
    """The options of sbatch for the output, to which a restart appends, and for the end of a start.

    After a preemption Slurm starts the job again by itself; before the time limit it sends the script a signal.
    """
    output = str(job.output("\0")).replace("%", "%%").replace("\0", "%j")  # Slurm's %j is the number, and %% a %
    return [f"--output={shlex.quote(output)}", "--open-mode=append", "--requeue", f"--signal=B:USR1@{WARNING}"]
