"""The process that follows the records: W&B, TensorBoard and the page, restartable at any moment.

Run as `python -m hwcls.sweep.monitor.tracking_process DIR --wandb MODE`; it drains and ends when its standard input
closes, which also happens when the driver is killed.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.tracker import Tracker, note, write_troubles

log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "off", "auto"]
POLL = 0.5  # seconds
PAGE_EVERY = 20.0  # seconds between two pages while trials end
PAGE_SHARE = 20  # they lie so many times further apart than the last one took
AGAIN = 5.0  # seconds before a process that ended by itself is started again, each time twice as long,
LONGEST = 300.0  # but no longer than this
DRAIN = 60.0  # seconds that the driver waits at the end; what W&B has not got by then, `hwcls wandb sync` sends


class Consumers:
    """The driver's handle on that process."""

    def __init__(self, folder: Path, wandb: str) -> None:
        self.command = [sys.executable, "-m", "hwcls.sweep.monitor.tracking_process", str(folder), "--wandb", wandb]
        self.environment = dict(os.environ)  # with the W&B key, which the workers do not get
        self.folder, self.log = folder, folder / "tracking.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.patience = AGAIN

    def start(self) -> None:
        """Begin to follow, once there is something to follow."""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.started = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for the driver, which then lets this one drain
            )

    def keep_alive(self) -> None:
        """Start the process again if it died; its cursors tell it where to go on."""
        if self.process is None or self.process.poll() is None or time.monotonic() - self.started < self.patience:
            return
        if self.patience == AGAIN * 2:  # once may be chance
            log.warning("the tracking process crashed twice; restarting it; see %s", self.log)
        self.patience = min(2 * self.patience, LONGEST)
        self._close()
        self.process = self._start()

    @contextmanager
    def drains(self) -> Iterator[None]:
        """It drains from the end of the block on, beside what the driver still has to end."""
        try:
            yield
        finally:
            self._close()

    def finish(self, patience: float = DRAIN) -> bool:
        """Let it drain and end; False when it had to be killed."""
        if self.process is None:
            return True
        if self.process.poll():  # it died: what it had not sent is sent now
            self._close()
            self.process = self._start()
        self._close()
        try:
            return self.process.wait(patience) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            late = (
                f"the trackers were not done {patience:.0f} s after the end; `hwcls wandb sync {self.folder}` goes on"
            )
            write_troubles(SweepFolder(self.folder), [late])
            return False

    def _close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


def follow(path: Path, wandb: Mode) -> bool:
    """Feed the trackers and write the page until standard input closes; returns whether the last page was written."""
    import yaml

    from hwcls.inspection.media import media
    from hwcls.report.html.page import write_page
    from hwcls.tracking.follower import Follower

    folder = SweepFolder(path)
    lock = FileLock(path / ".tracking.lock", timeout=0)
    while not _locked(lock):  # the one of an earlier start is still draining, or `hwcls wandb sync`
        if _closed(POLL):
            note(folder, "another process fed the trackers to the end: what came meanwhile was not delivered")
            return False
    settings = yaml.safe_load((path / "sweep.yaml").read_text("utf-8"))
    project = settings.get("project", "hwcls")
    trackers, problems = _opened(settings.get("track", ["wandb"]), folder, project, wandb)
    write_troubles(folder, problems)
    follower = Follower(folder, trackers, project, media, artifacts=bool(settings.get("artifacts")))
    page = Page(folder, write_page)
    while not _closed(POLL):
        follower.poll(again=False)
        page.keep_up(follower.ended)
    while follower.poll():
        pass
    write_troubles(folder, problems + _behind(folder, follower.behind()))
    written = page.write()
    follower.close()
    return written


def _opened(names: Sequence[str], folder: SweepFolder, project: str, wandb: Mode) -> tuple[list[Tracker], list[str]]:
    """The trackers that can be opened, and what is to be said: one that cannot takes no other with it."""
    from hwcls.tracking.follower import by_patience, open_trackers

    trackers: list[Tracker] = []
    problems = []
    for name in by_patience(names):
        try:
            opened = open_trackers([name], folder, project, wandb)
        except UserError as error:
            note(folder, str(error))
            problems.append(str(error))
            continue
        trackers += opened
        problems += [tracker.problem for tracker in opened if tracker.problem]
    return trackers, problems


def _behind(folder: SweepFolder, refused: dict[str, str]) -> list[str]:
    """What is said of runs that a tracker has not taken."""
    if not refused:
        return []
    key, error = next(iter(refused.items()))
    runs = key if len(refused) == 1 else f"{len(refused)} runs"
    return [f"{runs} did not arrive ({error}); `hwcls wandb sync {folder.path}` sends what W&B lacks"]


class Page:
    """The page, rewritten while trials end: it takes longer with each of them, but a twentieth of the time at most."""

    def __init__(self, folder: SweepFolder, write_page: Callable[[Path], Path]) -> None:
        self.folder, self.write_page = folder, write_page
        self.shows = -1  # ended runs
        self.due = 0.0  # time.monotonic()

    def keep_up(self, ended: int) -> None:
        """Write it if it shows less than `ended` ended runs and is due again."""
        begun = time.monotonic()
        if ended == self.shows or begun < self.due:
            return
        self.shows = ended
        self.write()
        now = time.monotonic()
        self.due = now + max(PAGE_EVERY, PAGE_SHARE * (now - begun))

    def write(self) -> bool:
        """Whether it could be written."""
        try:
            self.write_page(self.folder.path)
            return True
        except Exception as error:  # the trackers go on without the page
            note(self.folder, f"report.html was not written: {type(error).__name__}: {error}")
            return False


def _locked(lock: FileLock) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    return True


def _closed(seconds: float) -> bool:
    """Wait; True once standard input has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


def main(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wandb", default="auto")
    options = parser.parse_args(arguments)
    sys.exit(0 if follow(options.folder, options.wandb) else 1)


if __name__ == "__main__":
    main()
