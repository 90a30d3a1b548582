"""Keys and passwords that a job would keep and show to others: they are refused before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.escape import has_key

WHAT = "has a password or key in a URL, which the job would keep and show"
REMEDY = "leave it out, and set it where the sweep runs: for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def check_options(results: str, sets: Sequence[str]) -> None:
    """Raise UserError where an option in the job's command, --results or one of --set, has a key."""
    for where, text in [("--results", results), *((_name(entry), entry) for entry in sets)]:
        if has_key(text):
            raise UserError(WHAT, where=where, remedy=REMEDY)


def check_notification(sweep: Sweep, sets: Sequence[str]) -> None:
    """Raise UserError where one of --set has the command that notifies, in which a key may be."""
    for entry in sets:
        if sweep.config.notify and sweep.config.notify.command and "notify" in _name(entry) and "command" in entry:
            what = "has a command that may hold a key, which the job would show"
            raise UserError(what, where=_name(entry), remedy="write it into the sweep file")


def check_file(file: Path) -> None:
    """Raise UserError where a sweep file that is uploaded has a key in a URL."""
    for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1):
        if has_key(line):
            raise UserError(WHAT, where=f"{file}:{number}", remedy=REMEDY)


def _name(entry: str) -> str:
    return f"--set {entry.partition('=')[0].strip()}"
