"""Results on shared storage: a sweep works in a folder of the driver's disk, which is uploaded as whole objects.

What the storage holds can always be gone on from: the study goes up before the records of its trials, but does not say
that a trial has ended before all of that is there; any other file goes up after those that it speaks of, and what is
deleted goes last. A driver's machine that is lost takes the last EVERY seconds of records with it, and the epochs since
the last checkpoint; both are trained again. One that is not goes on from its working copy, which may know more.
"""

from __future__ import annotations

import _thread
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hwcls.errors import UserError
from hwcls.sweep.storage.journal_format import without_ends
from hwcls.sweep.storage.lease import DRIVER, MIRROR, Claim
from hwcls.sweep.storage.object_store import Store, open_store

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two uploads
DRAIN = 120.0  # seconds that the end of a sweep waits for storage that does not answer
JOURNAL = "study.journal"  # knows every trial, so it goes up first
RESULT = re.compile(r"trials/(\d+)/result\.json")  # all else of a trial is there when this is
LAST = ("checkpoint.json", "result.json", "leaderboard.csv", "report.html")  # speak of other files
ELSEWHERE = "elsewhere.json"  # in a checkpoint's folder: where on the storage its state lies
STATES = "state"  # the folder of the storage that holds them
COPIES = "results"  # the folder of the cache that holds working copies
OWN = (".lock", ".tracking.lock", MIRROR, DRIVER)

Stamp = tuple[int, int, int]  # time, size and inode: a file that was replaced has another inode


@dataclass
class Shared:
    """One sweep's folder on the storage, and its working copy.

    Args:
        url: Of the sweep's folder.
        local: The working copy.
    """

    url: str
    local: Path
    sent: dict[str, Stamp] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)  # where the state of each checkpoint lies, by its pointer
    taken: bool = False
    down: bool = False
    error: UserError | None = None  # another driver has taken over

    def __post_init__(self) -> None:
        self.claim = Claim(self.url, self.local)

    @property
    def store(self) -> Store:
        return self.claim.store

    def take(self) -> None:
        """Make the working copy what the storage holds, unless it is the one that was worked on last.

        Raises:
            UserError: It cannot be read, or another driver works on this sweep.
        """
        if self.taken:
            return
        with self._usable():
            mine, there = self.claim.look(), self.store.listing()
            if not mine:
                self._bring(there)
                self.sent = self._files()
            else:  # of what is here anything may not have been sent; what is not here was deleted
                self.sent = dict.fromkeys((name for name in there if not _own(name)), (0, 0, 0))
        self.taken = True
        for name in self._files():
            self._note_state(name)

    def _bring(self, there: list[str]) -> None:
        for name in set(self._files()) - set(there):
            (self.local / name).unlink()  # of an older driver here
        for name in there:
            if not _own(name):
                self.store.get(name, self.local / name)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"cannot be read and written ({_why(error)})"
            raise UserError(what, where=self.url, remedy="check the place and its permissions") from None

    @contextmanager
    def mirrored(self) -> Iterator[None]:
        """What changes in the working copy goes up while the block runs, and all of it at the end.

        Raises:
            UserError: At the start: another driver works on this sweep, or nothing can be written there. At the end:
                the storage did not answer, or another driver has taken over; the working copy holds what it lacks.
        """
        self.error = None
        with self._usable():
            self.claim.take()
        main = threading.current_thread() is threading.main_thread()
        ended, drained, one = threading.Event(), threading.Event(), threading.Lock()

        def lost(error: UserError) -> None:
            with one:
                if self.error is None:
                    log.warning("%s", error)
                if self.error is None and main and not ended.is_set():
                    _thread.interrupt_main()  # what it goes on to do, nobody would get
                self.error = error

        threads = [
            threading.Thread(target=_repeat, args=(work, until, lost), daemon=True)
            for work, until in ((self.send, ended), (self._live, drained))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            with one:
                ended.set()
            threads[0].join()
            try:
                self._drain()
            finally:
                drained.set()
                threads[1].join()
            with suppress(OSError):  # else it is out of date in a minute
                self.claim.give_up()
            self.taken = False

    def _live(self) -> None:
        with suppress(OSError):  # `send` says so
            self.claim.check()
            self.claim.say_alive()

    def _drain(self) -> None:
        until = time.monotonic() + DRAIN
        while not self.error and not self.send():
            if time.monotonic() > until:
                remedy = f"all is in {self.local}; the same command on this machine sends it"
                raise UserError("the shared results do not answer", where=self.url, remedy=remedy)
            time.sleep(EVERY)
        if self.error:
            remedy = f"what this one did since is in {self.local}"
            raise UserError(self.error.what, where=self.url, remedy=remedy)

    def send(self) -> bool:
        """Upload what has changed, delete what is gone; False where the storage does not answer.

        Raises:
            UserError: Another driver works on this sweep; nothing was changed.
        """
        try:
            self.claim.check()
            found = self._files()  # before the journal is read, so that it knows every trial among them
            changed = [name for name, stamp in found.items() if self.sent.get(name) != stamp]
            for name in sorted(changed, key=lambda name: (_turn(name), name)):
                self._put(name, found[name])
            if JOURNAL in found and self.sent.get(JOURNAL) != found[JOURNAL]:  # held back ends, which may go now
                self._put(JOURNAL, found[JOURNAL])
            for name in set(self.sent) - set(found):
                self._delete(name)
        except OSError as error:
            if not self.down:
                log.warning("%s does not answer (%s); retrying every %.0f s", self.url, _why(error), EVERY)
            self.down = True
            return False
        if self.down:
            log.info("%s answers again; every change is uploaded", self.url)
        self.down = False
        return True

    def _put(self, name: str, stamp: Stamp) -> None:
        try:
            whole = content = (self.local / name).read_bytes()
        except FileNotFoundError:  # since the listing
            return
        if name == JOURNAL:
            there = {int(trial[1]) for sent in self.sent if (trial := RESULT.fullmatch(sent))}
            begun = {int(path.name) for path in self.local.glob("trials/*") if path.name.isdigit()}
            content = without_ends(whole, begun - there)
        self.claim.check_after_sleep()
        if self.error:
            raise self.error
        self.store.write(name, content)
        self.sent[name] = stamp if content == whole else (0, 0, 0)
        self._note_state(name)

    def _delete(self, name: str) -> None:
        self.store.delete(name)
        if state := self.states.pop(name, None):
            self.store.delete_folder(state)
        del self.sent[name]

    def _note_state(self, name: str) -> None:
        if PurePosixPath(name).name == ELSEWHERE:
            with suppress(OSError, ValueError, KeyError):
                self.states[name] = str(json.loads((self.local / name).read_text("utf-8"))["folder"])

    def _files(self) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        for folder, _, names in os.walk(self.local):  # which minds no folder that goes meanwhile
            for path in (Path(folder, name) for name in names if name not in OWN and not name.endswith(".tmp")):
                try:
                    status = path.stat()
                except OSError:  # gone since the listing
                    continue
                found[path.relative_to(self.local).as_posix()] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return found

    def forget_states(self) -> None:
        """The sweep has ended: no trial goes on from a checkpoint."""
        with suppress(OSError):
            self.claim.check()
            self.store.delete_folder(STATES)
        self.states.clear()


class Place:
    """A folder of results on shared storage: `url`, and `local`, where its sweeps are worked on here."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self.local = cache / COPIES / hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()
        self.opened: dict[str, Shared] = {}

    def sweep(self, name: str) -> Shared:
        """One sweep's folder."""
        return self.opened.setdefault(name, Shared(f"{self.url}/{name}", self.local / name))

    def names(self) -> list[str]:
        """The sweeps that lie there; raises UserError where the storage does not answer."""
        try:
            return open_store(self.url).folders()
        except OSError as error:
            raise UserError(f"cannot be read ({_why(error)})", where=self.url) from None


def _repeat(work: Callable[[], object], until: threading.Event, lost: Callable[[UserError], None]) -> None:
    """Work every few seconds until an event; `lost` gets what ends it before that."""
    try:
        while not until.wait(EVERY):
            work()
    except UserError as error:
        lost(error)


def _own(name: str) -> bool:
    """Whether an object is none of the sweep's files: who works there, and the states of checkpoints."""
    return PurePosixPath(name).name in OWN or name.startswith(f"{STATES}/")


def _turn(name: str) -> int:
    """When a file goes up: the study first, what speaks of others last."""
    return 0 if name == JOURNAL else 2 if PurePosixPath(name).name in LAST else 1


def _why(error: OSError) -> str:
    return " ".join(str(error).split())[:160]
