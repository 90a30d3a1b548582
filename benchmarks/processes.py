"""Wall time of a command from start to exit, and the CPU time of all processes that it starts. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SUBREAPER = 36  # prctl's: whoever loses its parent becomes this process's child, so that none escapes the count
TICKS = os.sysconf("SC_CLK_TCK")  # a second
EVERY = 0.2  # seconds between two looks: what a process spends after the last look at it is missed
PATIENCE = 5.0  # seconds that processes may outlive the command


@dataclass(frozen=True)
class Run:
    """The cost of a command."""

    started: float  # as time.time()
    wall: float  # seconds
    cpu: float  # user + system seconds, all descendants included
    code: int


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    look: Callable[[float], None],
    limit: float = float("inf"),
) -> Run:
    """Run a command to its end or to its limit of CPU seconds, after which it and what it has started are killed.

    `look` is called every 0.2 s with the CPU seconds spent so far. What it raises ends the command, and is raised here.
    """
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    before = reaped()
    with open(log, "wb") as out:
        started = time.time()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(environment))
        family, ended, errors = Family(), threading.Event(), list[Exception]()

        def spent() -> float:
            return max(family.seconds(), reaped() - before)

        def watch() -> None:
            try:
                while not ended.wait(EVERY):
                    running = family.look()
                    if spent() > limit:
                        kill(running)
                    look(spent())
            except Exception as error:
                errors.append(error)
                process.kill()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            code = process.wait()
            wall = time.time() - started
        finally:
            ended.set()
            watcher.join()
            process.kill()
            family.end(PATIENCE if spent() <= limit else 0.0)
    if errors:
        raise errors[0]
    return Run(started, wall, spent(), code)


def kill(pids: Sequence[int]) -> None:
    """End processes at once, those that have ended already being no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def reaped() -> float:
    """Seconds of children that were waited for; a process that ignores SIGCHLD, as Ray's do, hides its own."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Family:
    """All processes that come of this one."""

    def __init__(self) -> None:
        self.ticks: dict[tuple[int, str], int] = {}  # by process and its start

    def look(self) -> list[int]:
        """Note what each has spent so far; returns those that run."""
        children = defaultdict(list)
        stats = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, fields = int(path.parent.name), path.read_text("utf-8").rsplit(")", 1)[1].split()
            except OSError:  # it has ended
                continue
            children[int(fields[1])].append(pid)
            stats[pid] = fields  # state, parent, ...; user and system ticks at 11 and 12, start at 19
        members = list(children[os.getpid()])
        for pid in members:
            members += children[pid]
        for pid in members:
            self.ticks[pid, stats[pid][19]] = int(stats[pid][11]) + int(stats[pid][12])
        return [pid for pid in members if stats[pid][0] != "Z"]

    def end(self, patience: float) -> None:
        """Let the processes end, or kill them after so many seconds, and take their zombies away."""
        until = time.monotonic() + patience
        while running := self.look():
            kill(running if time.monotonic() > until else [])
            time.sleep(EVERY)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)

    def seconds(self) -> float:
        return sum(self.ticks.values()) / TICKS
