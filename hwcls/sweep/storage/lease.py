"""Who works on a sweep that lies on shared storage: one driver at a time, known by an object that says it lives."""

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
from hwcls.sweep.storage.object_store import Store, open_store

FRESH = 60.0  # seconds after which a driver that does not say that it lives is taken for dead
DRIVER = "driver.json"  # the object: which machine works on the sweep, or did last, and when it was seen
MIRROR = ".mirror"  # in a working copy of which not all has been sent: the driver that worked on it


@dataclass
class Claim:
    """One driver's claim to the sweep at `url`, of which `local` is its working copy.

    A driver that was killed is known again by what it left in its working copy. Where the object cannot be read, or is
    gone, nothing is concluded from it: storage fails in many ways. What does not answer is an OSError.
    """

    url: str
    local: Path
    before: str | None = None  # the driver that worked there last, when this one looked
    seen: float = 0.0  # when this driver last said that it lives

    def __post_init__(self) -> None:
        try:
            self.me = (self.local / MIRROR).read_text("utf-8")
        except OSError:
            self.me = secrets.token_hex(8)

    @cached_property
    def store(self) -> Store:
        """The storage itself."""
        return open_store(self.url)

    def look(self) -> bool:
        """Whether the working copy is the one that was worked on last; UserError where another driver lives."""
        last = self._last()
        self.before = last.get("id")
        if self.before == self.me or (not last and (self.local / MIRROR).exists()):  # what was not sent is only here
            return True
        self.me = secrets.token_hex(8)  # what a download that is cut off leaves is no working copy
        return False

    def take(self) -> None:
        """From here on this driver works on the sweep; UserError where another one has since it looked."""
        last = self._last()
        if last and last.get("id") not in (self.before, self.me):
            raise UserError("another driver has just worked on this sweep", where=self.url, remedy="start again")
        self.say_alive()
        files.write_text(self.local / MIRROR, self.me)

    def check(self) -> None:
        """Raises UserError where another driver has taken over."""
        last = self._last()
        if last and last.get("id") != self.me:
            raise UserError(f"{last.get('host')} has taken this sweep over", where=self.url)

    def check_after_sleep(self) -> None:
        """As `check`, where this driver has said nothing for long: its machine may have been suspended."""
        if time.time() - self.seen > FRESH / 2:
            self.check()

    def say_alive(self) -> None:
        """As often as every few seconds."""
        self._write(time.time())
        self.seen = time.time()

    def give_up(self) -> None:
        """All has been sent; anybody may go on."""
        self._write(0.0)
        (self.local / MIRROR).unlink()

    def _write(self, seen: float) -> None:
        self.store.write(DRIVER, json.dumps({"host": socket.gethostname(), "id": self.me, "seen": seen}).encode())

    def _last(self) -> dict[str, Any]:
        """The driver that worked there last, {} where none is known; UserError where it still lives."""
        try:
            last: dict[str, Any] = json.loads(self.store.read(DRIVER))
            ago = time.time() - float(last["seen"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}
        if ago < FRESH and last.get("id") != self.me:
            remedy = f"wait for it; if that machine is lost, start again in {FRESH - ago:.0f} s"
            what = f"{last.get('host')} works on this sweep, seen {ago:.0f} s ago"
            raise UserError(what, where=self.url, remedy=remedy)
        return last
