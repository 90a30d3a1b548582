"""Time limits of Slurm jobs, in hwcls's words for durations and in Slurm's."""

from __future__ import annotations

import math
import re

from hwcls.config.sweep import parse_duration
from hwcls.errors import UserError

SHORTEST = 5  # minutes: Ray starts in one, and the last two are for saving
LONGEST = 366 * 24 * 60
REMEDY = "write 8h, 30m, 1h30m, minutes (90), or Slurm's 8:00:00 or 1-12:00:00"
_SLURM = (  # its own forms but for plain minutes, which `parse_time_limit` takes first
    re.compile(r"(?P<days>\d+)-(?P<hours>\d+)(:(?P<minutes>\d+)(:(?P<seconds>\d+))?)?"),
    re.compile(r"(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)"),
    re.compile(r"(?P<minutes>\d+):(?P<seconds>\d+)"),
)


def parse_time_limit(text: str) -> int:
    """Whole minutes of a time limit.

    Raises:
        UserError: It is none, or no sensible one.
    """
    minutes = _read_minutes(text.strip())
    if minutes < SHORTEST:
        what = f"{text} is too short for a sweep: Ray has to start, and the last two minutes are for saving"
        raise UserError(what, where="--time", remedy=f"give it at least {SHORTEST} minutes")
    if minutes > LONGEST:
        raise UserError(f"{text} is longer than a year", where="--time", remedy=REMEDY)
    return minutes


def format_time_limit(minutes: int) -> str:
    """Minutes as Slurm writes them: 08:00:00, 1-12:00:00."""
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-" * (days > 0) + f"{rest // 60:02d}:{rest % 60:02d}:00"


def _read_minutes(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    for form in _SLURM:
        if (found := form.fullmatch(text)) and len(text) < 30:
            days, hours, minutes, seconds = (int(found.groupdict().get(unit) or 0) for unit in _UNITS)
            return math.ceil(((days * 24 + hours) * 60 + minutes) + seconds / 60)
    try:
        return math.ceil(float(str(parse_duration(text))) / 60)
    except (ValueError, OverflowError):
        raise UserError(f"'{text}' is no time limit", where="--time", remedy=REMEDY) from None


_UNITS = ("days", "hours", "minutes", "seconds")
