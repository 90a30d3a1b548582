"""Results on shared storage: a sweep works in a folder on the driver's disk, whose files are uploaded as objects.

The storage always holds a state to resume from: the study is uploaded before the records of its trials, but reports a
trial as ended only after all its files are there; any other file follows those that it refers to, and deletions come
last. A lost driver machine costs the last EVERY seconds of records and the epochs since the last checkpoint, which are
trained again. A driver that restarts on the same machine resumes from its working copy, which may be ahead.
"""

from __future__ import annotations

import _thread
import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hwcls.data.cache.working_copies import COPIES, refuse_working_copy
from hwcls.data.catalog import cache_folder
from hwcls.errors import UserError
from hwcls.reading import read_json, read_or_none
from hwcls.sweep.storage.journal_format import drop_ends
from hwcls.sweep.storage.lease import DRIVER, MIRROR, Lease
from hwcls.sweep.storage.object_store import Store, is_url, join_url, open_store, short_reason
from hwcls.tracking.shapes import ElsewhereShape

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two uploads
DRAIN = 120.0  # seconds that the end of a sweep waits for storage that does not respond
JOURNAL = "study.journal"  # knows every trial, so it is uploaded first
RESULT = re.compile(r"trials/(\d+)/result\.json")  # uploaded after all other files of its trial
LAST = ("checkpoint.json", "result.json", "best.json", "leaderboard.csv", "report.html")  # refer to other files
ELSEWHERE = "elsewhere.json"  # in a checkpoint's folder: where its state is on the storage
STATES = "state"  # the folder of the storage with the states of checkpoints
INTERNAL = (".lock", ".tracking.lock", MIRROR, DRIVER)

Stamp = tuple[int, int, int]  # time, size and inode: a file that was replaced has another inode


@dataclass
class Mirror:
    """One sweep's folder on the storage, and its working copy.

    Args:
        url: Of the sweep's folder.
        local: The working copy.
    """

    url: str
    local: Path
    uploaded: dict[str, Stamp] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)  # the folder of each checkpoint's state, by its ELSEWHERE file
    downloaded: bool = False
    down: bool = False
    error: UserError | None = None  # another driver has taken over

    def __post_init__(self) -> None:
        self.lease = Lease(self.url, self.local)

    @property
    def store(self) -> Store:
        return self.lease.store

    def download(self) -> None:
        """Make the working copy equal to the storage, unless it is the latest one itself.

        Raises:
            UserError: It cannot be read, or another driver works on this sweep.
        """
        if self.downloaded:
            return
        with self._storage_errors():
            is_latest, objects = self.lease.owns_copy(), self.store.list_objects()
            if is_latest:  # any local file may not have been uploaded; any missing one was deleted
                self.uploaded = dict.fromkeys((name for name in objects if not _is_internal(name)), (0, 0, 0))
            else:
                self._replace_copy(objects)
                self.uploaded = self._local_files()
        self.downloaded = True
        for name in self._local_files():
            self._index_state(name)

    def _replace_copy(self, objects: list[str]) -> None:
        for name in set(self._local_files()) - set(objects):
            (self.local / name).unlink()  # of an earlier driver on this machine
        for name in objects:
            if not _is_internal(name):
                self.store.download(name, self.local / name)
        if DRIVER in objects:  # a driver has worked there: what it left before a first trial is taken for its own
            self.local.mkdir(parents=True, exist_ok=True)
            (self.local / ".lock").touch()

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"cannot be read and written ({short_reason(error)})"
            raise UserError(what, where=self.url, remedy="check the URL and its permissions") from None

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Hold the lease and upload changes while the block runs, and everything that is left at its end.

        Raises:
            UserError: At the start: another driver works on this sweep, or nothing can be written there. At the end:
                the storage did not respond, or another driver has taken over; the working copy has what it lacks.
        """
        self.error = None
        with self._storage_errors():
            self.lease.acquire()
        main = threading.current_thread() is threading.main_thread()
        ended, drained, lock = threading.Event(), threading.Event(), threading.Lock()

        def on_lost(error: UserError) -> None:
            with lock:
                if self.error is None:
                    log.warning("%s", error)
                if self.error is None and main and not ended.is_set():
                    _thread.interrupt_main()  # further results could not be uploaded
                self.error = error

        threads = [
            threading.Thread(target=_repeat, args=(work, until, on_lost), daemon=True)
            for work, until in ((self.upload_changes, ended), (self._renew_lease, drained))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            with lock:
                ended.set()
            threads[0].join()
            try:
                self._upload_rest()
            finally:
                drained.set()
                threads[1].join()
            with suppress(OSError):  # the lease expires by itself in a minute
                self.lease.release()
            self.downloaded = False

    def _renew_lease(self) -> None:
        with suppress(OSError):  # `upload_changes` logs it
            self.lease.check()
            self.lease.renew()

    def _upload_rest(self) -> None:
        deadline = time.monotonic() + DRAIN
        while not self.error and not self.upload_changes():
            if time.monotonic() > deadline:
                remedy = f"everything is in {self.local}; the same command on this machine uploads it"
                raise UserError("the shared storage does not respond", where=self.url, remedy=remedy)
            time.sleep(EVERY)
        if self.error:
            remedy = f"the later results of this driver are in {self.local}"
            raise UserError(self.error.what, where=self.url, remedy=remedy)

    def upload_changes(self) -> bool:
        """Upload changed files and delete removed ones; False where the storage does not respond.

        Raises:
            UserError: Another driver works on this sweep; nothing was changed.
        """
        try:
            self.lease.check()
            found = self._local_files()  # before the journal is read, so that it knows every trial among them
            changed = [name for name, stamp in found.items() if self.uploaded.get(name) != stamp]
            for name in sorted(changed, key=lambda name: (_upload_order(name), name)):
                self._upload(name, found[name])
            if JOURNAL in found and self.uploaded.get(JOURNAL) != found[JOURNAL]:  # with the ends that were held back
                self._upload(JOURNAL, found[JOURNAL])
            for name in set(self.uploaded) - set(found):
                self._delete(name)
        except UserError:
            raise
        except Exception as error:  # any, as it would end the thread unnoticed
            if not self.down:
                log.warning("%s does not respond (%s); retrying every %.0f s", self.url, short_reason(error), EVERY)
                log.debug("what failed:", exc_info=True)  # for sweep.log
            self.down = True
            return False
        if self.down:
            log.info("%s responds again; every change is uploaded", self.url)
        self.down = False
        return True

    def _upload(self, name: str, stamp: Stamp) -> None:
        try:
            complete = content = (self.local / name).read_bytes()
        except FileNotFoundError:  # deleted since the listing
            return
        if name == JOURNAL:
            ended = {int(trial[1]) for uploaded in self.uploaded if (trial := RESULT.fullmatch(uploaded))}
            started = {int(path.name) for path in self.local.glob("trials/*") if path.name.isdigit()}
            content = drop_ends(complete, started - ended)
        self.lease.check_after_pause()
        if self.error:
            raise self.error
        self.store.write(name, content)
        self.uploaded[name] = stamp if content == complete else (0, 0, 0)
        self._index_state(name)

    def _delete(self, name: str) -> None:
        self.store.delete(name)
        if state := self.states.pop(name, None):
            self.store.delete_folder(state)
        del self.uploaded[name]

    def _index_state(self, name: str) -> None:
        is_checkpoint = PurePosixPath(name).name == ELSEWHERE
        if is_checkpoint and (found := read_or_none(read_json, self.local / name, ElsewhereShape)):
            self.states[name] = found["folder"]

    def _local_files(self) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        for folder, inner, names in os.walk(self.local):  # tolerates folders that are deleted meanwhile
            inner[:] = [name for name in inner if not name.endswith(".tmp")]
            for path in (Path(folder, name) for name in names if name not in INTERNAL and not name.endswith(".tmp")):
                try:
                    status = path.stat()
                except OSError:  # deleted since the listing
                    continue
                found[path.relative_to(self.local).as_posix()] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return found

    def delete_states(self) -> None:
        """Delete the states of all checkpoints: the sweep has ended."""
        with suppress(OSError):
            self.lease.check()
            self.store.delete_folder(STATES)
        self.states.clear()


class SharedResults:
    """A results folder on shared storage: `url`, and `local`, the folder of the working copies of its sweeps."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self.local = cache / COPIES / hashlib.blake2b(self.url.encode(), digest_size=8).hexdigest()
        self.opened: dict[str, Mirror] = {}

    def mirror(self, name: str) -> Mirror:
        """One sweep's folder."""
        return self.opened.setdefault(name, Mirror(join_url(self.url, name), self.local / name))

    def sweep_names(self) -> list[str]:
        """The names of all sweeps; raises UserError where the storage does not respond."""
        try:
            return open_store(self.url).list_folders()
        except OSError as error:
            raise UserError(f"cannot be read ({short_reason(error)})", where=self.url) from None


def locate_results(results: str) -> tuple[Path, SharedResults | None]:
    """The folder to work in, and the shared storage that it mirrors, if any.

    Raises UserError where `results` is only the working copy of results on shared storage.
    """
    if is_url(results):
        shared = SharedResults(results, cache_folder())
        return shared.local, shared
    local = Path(results).expanduser()
    refuse_working_copy(local, remedy="name the shared storage itself: s3://bucket/prefix")
    return local, None


def _repeat(work: Callable[[], object], until: threading.Event, on_lost: Callable[[UserError], None]) -> None:
    """Work every few seconds until an event, or until a UserError, which `on_lost` gets."""
    try:
        while not until.wait(EVERY):
            work()
    except UserError as error:
        on_lost(error)


def _is_internal(name: str) -> bool:
    """Whether an object is no file of the results: the lease, and the states of checkpoints."""
    return PurePosixPath(name).name in INTERNAL or name.startswith(f"{STATES}/")


def _upload_order(name: str) -> int:
    """The study first, files that refer to others last."""
    return 0 if name == JOURNAL else 2 if PurePosixPath(name).name in LAST else 1
