"""Lease on a sweep in shared storage, kept alive by a heartbeat object: one driver works on it at a time."""

from __future__ import annotations

import json
import secrets
import socket
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.errors import UserError
from hwcls.format import format_duration
from hwcls.sweep.storage.object_store import Store, open_store

TTL = 60.0  # seconds after its last heartbeat when a lease expires
DRIVER = "driver.json"  # the heartbeat object: the machine that works on the sweep, or did last, and its last heartbeat
MIRROR = ".mirror"  # in a working copy that is not uploaded completely: the id of its driver


@dataclass
class Lease:
    """One driver's lease on the sweep at `url`, whose working copy is `local`.

    A driver that was killed is recognised by the id in its working copy. An object that cannot be read, or is gone,
    proves nothing: storage fails in many ways. Every call raises OSError where the storage does not respond.
    """

    url: str
    local: Path
    previous: str | None = None  # id of the last driver, as of `owns_copy`
    renewed: float = 0.0  # time of this driver's last heartbeat

    def __post_init__(self) -> None:
        try:
            self.id = (self.local / MIRROR).read_text("utf-8", "replace")
        except OSError:
            self.id = secrets.token_hex(8)

    @cached_property
    def store(self) -> Store:
        """The sweep's folder on the storage."""
        return open_store(self.url)

    def owns_copy(self) -> bool:
        """Whether the working copy is the latest one; UserError where another driver holds the lease."""
        last = self._read_holder()
        self.previous = last.get("id")
        if self.previous == self.id or (not last and (self.local / MIRROR).exists()):  # only here: not yet uploaded
            return True
        self.id = secrets.token_hex(8)  # a download that is interrupted leaves no working copy
        return False

    def acquire(self) -> None:
        """Take the lease; UserError where another driver has taken it since `owns_copy`."""
        last = self._read_holder()
        if last and last.get("id") not in (self.previous, self.id):
            raise UserError("another driver has just worked on this sweep", where=self.url, remedy="start again")
        self.renew()
        files.write_text(self.local / MIRROR, self.id)

    def check(self) -> None:
        """Raise UserError where another driver has taken over."""
        last = self._read_holder()
        if last and last.get("id") != self.id:
            raise UserError(f"{last.get('host')} has taken over this sweep", where=self.url)

    def check_after_pause(self) -> None:
        """As `check`, if the last heartbeat was long ago: this machine may have been suspended."""
        if time.time() - self.renewed > TTL / 2:
            self.check()

    def renew(self) -> None:
        """Send a heartbeat; due every few seconds."""
        self._write_heartbeat(time.time())
        self.renewed = time.time()

    def release(self) -> None:
        """Give the lease up once everything is uploaded."""
        self._write_heartbeat(0.0)
        (self.local / MIRROR).unlink()

    def _write_heartbeat(self, seen: float) -> None:
        self.store.write(DRIVER, json.dumps({"host": socket.gethostname(), "id": self.id, "seen": seen}).encode())

    def _read_holder(self) -> dict[str, Any]:
        """The last driver's heartbeat object, {} where none is known; UserError where it is another driver's lease."""
        try:
            last: dict[str, Any] = json.loads(self.store.read(DRIVER))
            age = time.time() - float(last["seen"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}
        if age < TTL and last.get("id") != self.id:
            remedy = f"wait for it; if that machine is lost, start again in {format_duration(TTL - age)}"
            what = f"{last.get('host')} works on this sweep, last heartbeat {format_duration(age)} ago"
            raise UserError(what, where=self.url, remedy=remedy)
        return last
