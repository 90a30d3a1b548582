"""Tracking process: feeds the trackers and rewrites report.html; can be restarted at any moment.

Run as `python -m hwcls.sweep.monitor.tracking_process DIR --mode MODE`. When its standard input closes, it delivers
what is left and exits. The driver writes there first how it ended; without that it was killed. If the driver is gone by
then, this process runs notify.command.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hwcls.config.sweep import TRACKERS, NotifyConfig, SweepConfig
from hwcls.errors import UserError
from hwcls.escape import shell_word
from hwcls.format import format_duration
from hwcls.reading import read_or_none, read_yaml
from hwcls.sweep.monitor.ending import Ending
from hwcls.temporary import SOCKET_LIMIT, TemporaryFolder, open_folder
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.log import LOG, log_tracking, write_problems
from hwcls.tracking.shapes import SweepShape
from hwcls.tracking.tracker import ShowsSweeps, Tracker, serving_order

log = logging.getLogger(__name__)

TRACK = SweepConfig.model_fields["track"].default
NOTIFY = "HWCLS_NOTIFY"  # the variable that has the notify section of a sweep file which may run its command
POLL_SECONDS = 0.5
PAGE_SECONDS = 20.0  # between two pages while trials end, at least
PAGE_SHARE = 20  # and at least this many times the seconds that the last page took
RESTART_SECONDS = 5.0  # before a crashed process is restarted, doubled each time
MAX_RESTART_SECONDS = 300.0
LONGEST_FOLDER = SOCKET_LIMIT - 40  # W&B may have a socket in it
NICE = 15  # as Ray's workers: it may wait, trials do not
DRAIN_SECONDS = 60.0  # that the driver waits at the end; what is not uploaded by then, the sync command uploads


class TrackingProcess:
    """The driver's handle on the tracking process of a results folder.

    Args:
        folder: The results.
        mode: That of --wandb.
        notify: Whom to notify of the end.
    """

    def __init__(self, folder: Path, mode: str, notify: NotifyConfig | None = None) -> None:
        # -P: a file of the working folder, such as token.py, is no module of Python
        self.command = [sys.executable, "-P", "-m", "hwcls.sweep.monitor.tracking_process", str(folder), "--mode", mode]
        self.command += ["--driver", str(os.getpid())]
        self.environment = dict(os.environ)  # with the secrets of the trackers, which workers do not get
        self.environment |= {NOTIFY: notify.model_dump_json() if notify else ""}
        self.ending: Ending | None = None  # of the driver, once it is known
        self.folder, self.log_path = folder, folder / LOG
        self.process: subprocess.Popen[bytes] | None = None
        self.temporary: TemporaryFolder | None = None  # of W&B, which a killed process would leave
        self.restart_after = RESTART_SECONDS

    def start(self) -> None:
        """Start it, once there is something to follow."""
        self.started = time.monotonic()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self.temporary = self.temporary or open_folder(LONGEST_FOLDER)
        with open(self.log_path, "ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**self.environment, "TMPDIR": str(self.temporary.path)},
                pass_fds=(self.temporary.descriptor,),
                start_new_session=True,  # Ctrl-C is for the driver, which then lets this process drain
            )

    def keep_alive(self) -> None:
        """Restart the process if it crashed; it continues from its cursors."""
        if self.process is None or self.process.poll() is None:
            return
        if time.monotonic() - self.started < self.restart_after:
            return
        if self.restart_after == RESTART_SECONDS * 2:  # one crash may be chance
            log.warning("the tracking process crashed twice; restarting it (see %s)", self.log_path)
        self.restart_after = min(2 * self.restart_after, MAX_RESTART_SECONDS)
        self._close_input()
        self.start()

    @contextmanager
    def draining(self) -> Iterator[None]:
        """At the end of the block, or with its error, the process begins to drain, while the driver ends the rest."""
        try:
            yield
        except BaseException as error:
            self.ending = Ending.of_error(error)
            raise
        finally:
            self._close_input()

    def finish(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Let it drain and exit; False when it had to be killed or failed."""
        if self.process is None:
            return True
        if self.process.poll():  # it crashed: the rest is delivered now
            self._close_input()
            self.start()
        self._close_input()
        try:
            return self._wait(seconds)
        finally:
            if self.temporary is not None:
                self.temporary.remove()

    def _wait(self, seconds: float) -> bool:
        assert self.process is not None, "started"
        try:
            return self.process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            problem = f"the trackers were not done {format_duration(seconds)} after the end{_sync_hint(self.folder)}"
            write_problems(SweepFolder(self.folder), [problem])
            return False

    def _close_input(self) -> None:
        if self.process is None or self.process.stdin is None or self.process.stdin.closed:
            return
        with suppress(OSError):  # it has crashed
            if self.ending is not None:
                self.process.stdin.write(self.ending.to_bytes())
            self.process.stdin.close()


def track_sweep(path: Path, mode: str, driver: DriverInput) -> bool:
    """Feed the trackers and write the page until the driver ends; returns whether the last page was written."""
    from hwcls.inspection.media import build_media
    from hwcls.report.html.page import write_page
    from hwcls.tracking.follower import Follower

    folder = SweepFolder(path)
    lock = FileLock(path / ".tracking.lock", timeout=0)
    while not _acquire(lock):  # the process of an earlier start is still draining, or a sync command runs
        if driver.closes(POLL_SECONDS):
            log.warning("another process fed the trackers until the end; what was recorded since was not delivered")
            return False
    settings = read_yaml(path / "sweep.yaml", SweepShape)
    project = settings.get("project", "hwcls")
    trackers, problems = _open_each(settings.get("track", TRACK), folder, mode)
    write_problems(folder, problems)
    follower = Follower(folder, trackers, project, build_media, artifacts=bool(settings.get("artifacts")))
    page = PageWriter(folder, partial(write_page, running=True))
    while not driver.closes(POLL_SECONDS):
        follower.poll(recheck=False)
        page.update(follower.ended_runs)
    while follower.poll():
        pass
    write_problems(folder, problems + _describe_undelivered(folder, follower.undelivered()))
    written = PageWriter(folder, write_page).write()
    problems += conclude(folder, project, trackers, driver.ending)
    follower.close()  # which delivers the page
    write_problems(folder, problems + _describe_undelivered(folder, follower.undelivered()))
    return written


def conclude(folder: SweepFolder, project: str, trackers: Sequence[Tracker], ending: Ending) -> list[str]:
    """Show the sweep as a whole and send alerts of its end; returns what failed, which fails nothing else."""
    from hwcls.results.load import load_results
    from hwcls.results.sweep_summary import summarize_sweep
    from hwcls.sweep.monitor.notify import build_message

    showing = [tracker for tracker in trackers if isinstance(tracker, ShowsSweeps)]
    notify = read_notify()
    if notify is None and not showing:
        return []
    try:
        message = build_message(folder.path, ending)
        alert = message.alert() if notify and notify.wandb and message.event in notify.on else None
        if alert and not showing:
            return ["notify.wandb: no alert was sent, as W&B is off (--wandb, wandb's mode) or could not be opened"]
        summary = summarize_sweep(load_results(folder.path), project, folder.path / "report.html")
        return [problem for tracker in showing for problem in tracker.conclude(summary, alert)]
    except Exception as error:  # of any library, or a damaged file
        problem = f"the end of the sweep was not shown: {type(error).__name__}: {error}"
        log.warning("%s", problem)
        return [problem]


def read_notify() -> NotifyConfig | None:
    """Whom the driver wants to be notified."""
    return NotifyConfig.model_validate_json(given) if (given := os.environ.get(NOTIFY)) else None


def notify_for(driver: DriverInput, path: Path) -> None:
    """Run the user's command where the driver cannot do it any more."""
    from hwcls.sweep.monitor.notify import run_command

    if (notify := read_notify()) and driver.is_gone():
        run_command(notify, path, driver.ending)


def _open_each(names: Sequence[str], folder: SweepFolder, mode: str) -> tuple[list[Tracker], list[str]]:
    """The trackers that can be opened, and the problems; one that cannot be opened does not affect the others."""
    trackers: list[Tracker] = []
    problems = []
    for name in serving_order(names):
        try:
            opened = TRACKERS[name].open(folder, mode)
        except UserError as error:
            log.warning("%s", error)
            problems.append(str(error))
            continue
        trackers += opened
        problems += [tracker.problem for tracker in opened if tracker.problem]
    return trackers, problems


def _describe_undelivered(folder: SweepFolder, errors: dict[str, str]) -> list[str]:
    if not errors:
        return []
    key, error = next(iter(errors.items()))
    runs = key if len(errors) == 1 else f"{len(errors)} runs"
    return [f"{runs} did not arrive ({error}){_sync_hint(folder.path)}"]


def _sync_hint(folder: Path) -> str:
    """The commands that upload what is missing, for the end of a message; empty if no tracker has one."""
    settings = read_or_none(read_yaml, folder / "sweep.yaml", SweepShape)
    names = serving_order(settings.get("track", TRACK)) if settings else []
    commands = [TRACKERS[name].sync_command for name in names if name in TRACKERS.names()]
    shown = [f"`{command} {shell_word(folder)}`" for command in commands if command]
    return f"; {' and '.join(shown)} uploads what is missing" if shown else ""


class PageWriter:
    """Rewrites report.html while trials end; a page takes longer with each trial, so a twentieth of the time at most.

    Args:
        folder: The sweep's folder.
        write_page: Writes the page of a results folder.
    """

    def __init__(self, folder: SweepFolder, write_page: Callable[[Path], Path]) -> None:
        self.folder, self.write_page = folder, write_page
        self.ended_runs = -1  # on the last page
        self.next_at = 0.0  # time.monotonic()

    def update(self, ended_runs: int) -> None:
        """Write the page if more runs have ended and enough time has passed."""
        begun = time.monotonic()
        if ended_runs == self.ended_runs or begun < self.next_at:
            return
        self.ended_runs = ended_runs
        self.write()
        now = time.monotonic()
        self.next_at = now + max(PAGE_SECONDS, PAGE_SHARE * (now - begun))

    def write(self) -> bool:
        """Write the page; False when that failed."""
        try:
            self.write_page(self.folder.path)
            return True
        except Exception as error:  # the trackers continue without the page
            log.warning("report.html was not written: %s: %s", type(error).__name__, error)
            return False


def _acquire(lock: FileLock) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    return True


class DriverInput:
    """Standard input, on which the driver writes how it ended; `pid` is its process."""

    def __init__(self, pid: int) -> None:
        self.pid, self.received = pid, b""

    @property
    def ending(self) -> Ending:
        """How it ended, once the input has."""
        return Ending.parse(self.received)

    def is_gone(self) -> bool:
        """Whether it can no longer notify: its end came without an ending, or it is no longer this process's parent."""
        return os.getppid() != self.pid or (self.closes(0) and self.ending.state == "killed")

    def closes(self, seconds: float) -> bool:
        """Wait for so long; True once it has ended."""
        while select.select([sys.stdin], [], [], seconds)[0]:
            if not (content := os.read(sys.stdin.fileno(), 4_096)):
                return True
            self.received += content
        return False


def main(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--driver", type=int, default=os.getppid())
    options = parser.parse_args(arguments)
    driver = DriverInput(options.driver)
    os.nice(NICE)
    with log_tracking(SweepFolder(options.folder)):
        try:
            written = track_sweep(options.folder, options.mode, driver)
        finally:
            notify_for(driver, options.folder)
    sys.exit(0 if written else 1)


if __name__ == "__main__":
    main()
