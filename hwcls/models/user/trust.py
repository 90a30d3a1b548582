"""Which users' code may run: that of sweep files started here, and what the user has accepted with --trust-code."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hwcls.errors import UserError

VARIABLE = "HWCLS_TRUSTED_CODE"  # checksums that this command and its processes may run, or ALL
ALL = "all"  # --trust-code: everything may run, and is remembered

log = logging.getLogger(__name__)


def state_file() -> Path:
    """The user's own record: one line for each trusted checksum. On Linux ~/.local/state/hwcls/trusted_code."""
    from platformdirs import user_state_path

    return user_state_path("hwcls", appauthor=False) / "trusted_code"


def accept_all() -> None:
    """Let this command and its processes run any code, and remember it."""
    os.environ[VARIABLE] = ALL


def accepts_all() -> bool:
    """Whether this command was given --trust-code."""
    return ALL in os.environ.get(VARIABLE, "").split()


@contextmanager
def all_accepted(wanted: bool) -> Iterator[None]:
    """Where it is wanted, any code may run while the block does, and is remembered."""
    before = os.environ.get(VARIABLE)
    if wanted:
        accept_all()
    try:
        yield
    finally:
        if wanted:
            os.environ.pop(VARIABLE)
            os.environ |= {} if before is None else {VARIABLE: before}


def accept(checksum: str) -> None:
    """Let this command and its processes run code of this checksum, without remembering it."""
    accepted = os.environ.get(VARIABLE, "").split()
    if ALL not in accepted and checksum not in accepted:
        os.environ[VARIABLE] = " ".join([*accepted, checksum])


def remember(checksum: str, source: str) -> None:
    """Let code of this checksum run from now on; where the record cannot be written, in this command alone."""
    accept(checksum)
    if checksum in _remembered():
        return
    path = state_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"{checksum} {json.dumps(str(Path(source).resolve()))}\n")
    except OSError as error:
        log.debug("%s cannot be written: %s", path, error.strerror)


def require(source: str, checksum: str, function: str, names: Collection[str]) -> None:
    """Raise UserError unless code may run; with --trust-code it is remembered instead.

    Args:
        source: The file, for the error.
        checksum: Of the file and its neighbours.
        function: What would be called.
        names: Of the file and the neighbours that it imports.
    """
    accepted = os.environ.get(VARIABLE, "").split()
    if ALL in accepted:
        remember(checksum, source)
        return
    if checksum in accepted or checksum in _remembered():
        return
    others = [name for name in names if name != Path(source).name]
    what = f"would run {function}() of this file" + (f" and {', '.join(others)}" if others else "")
    what += ", which no sweep on this machine has run"
    raise UserError(what, where=source, remedy="read it, then pass --trust-code once")


def _remembered() -> set[str]:
    try:
        text = state_file().read_text("utf-8", errors="replace")
    except OSError:
        return set()
    return {line.partition(" ")[0] for line in text.splitlines()}
