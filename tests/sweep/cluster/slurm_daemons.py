"""A Slurm of our own on this machine: munged, slurmctld and two slurmd, which stand for two nodes of two CPUs."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIG = """
ClusterName=hwcls
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=20
NodeName=node1 NodeHostname={host} NodeAddr=localhost Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=node2 NodeHostname={host} NodeAddr=localhost Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=main Nodes=node1,node2 Default=YES State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=node1,node2 State=UP PriorityTier=2
"""


def why_not() -> str:
    """Why Slurm cannot be started here; empty where it can."""
    missing = [program for program in PROGRAMS if _find(program) is None]
    return f"{', '.join(missing)} missing: apt-get install slurm-wlm munge" if missing else ""


class Slurm:
    """Talks to the daemons."""

    def __init__(self, folder: Path) -> None:
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def call(self, *words: object) -> str:
        """Run one of Slurm's commands; AssertionError with what it said where it fails."""
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, env=self.environment, timeout=120
        )
        assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}"
        return done.stdout

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, Restarts, ExitCode, ..."""
        shown = self.call("scontrol", "--oneliner", "show", "job", number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait_for(self, number: str, state: str, seconds: float = 240) -> dict[str, str]:
        """Wait until a job is in a state; returns what Slurm knows of it."""
        until = time.monotonic() + seconds
        while (job := self.job(number))["JobState"] != state:
            assert time.monotonic() < until, job
            time.sleep(0.5)
        return job

    def start_again(self, number: str) -> None:
        """Start a requeued job now: Slurm waits for two minutes."""
        self.wait_for(number, "PENDING")
        self.call("scontrol", "update", f"JobId={number}", "StartTime=now")


@contextmanager
def running_slurm(folder: Path) -> Iterator[Slurm]:
    """The daemons while the block runs; at its end no job and none of them is left."""
    for name in ("state", "log"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    values = {"folder": folder, "host": socket.gethostname().partition(".")[0], "ports": _free_ports(3)}
    (folder / "slurm.conf").write_text(CONFIG.format(**values, user=getpass.getuser()))
    slurm = Slurm(folder)
    munged = [f"--{name}={folder}/munge.{end}" for name, end in MUNGED.items()]
    commands = [
        ["munged", "--force", "--foreground", "--num-threads=2", *munged],
        ["slurmctld", "-D", "-i"],
        *(["slurmd", "-D", "-N", node] for node in ("node1", "node2")),
    ]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for number, (program, *options) in enumerate(commands):
            with open(folder / "log" / f"{number}-{program}", "wb") as log:
                command = [str(_find(program)), *options]
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log, env=slurm.environment))
            _wait_until_ready(folder, slurm, program)
        yield slurm
        slurm.call("scancel", "--user", getpass.getuser())
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)


MUNGED = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def _wait_until_ready(folder: Path, slurm: Slurm, program: str) -> None:
    """Wait for munged's socket, for the controller's answer, or, after each slurmd, for a further idle node."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if program == "munged" and (folder / "munge.socket").exists():
            return
        if program != "munged":
            done = subprocess.run(
                ["sinfo", "-h", "-N", "-p", "main", "-o", "%T"], capture_output=True, text=True, env=slurm.environment
            )
            if done.returncode == 0 and (program == "slurmctld" or "idle" in done.stdout.split()):
                return
        time.sleep(0.2)
    raise AssertionError("\n".join(path.read_text(errors="replace") for path in (folder / "log").iterdir()))


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
