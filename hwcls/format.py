"""Numbers, durations, sizes and counts as people read them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hwcls.escape import hide_credentials, printable

if TYPE_CHECKING:
    from hwcls.statistics import Estimate

_SET_PRIVATE = re.compile(r"^((?:--set=)?\s*(?:presets\.[^.=]+\.)?notify(?:\.[\w*]+)?\s*=).*", re.DOTALL)
PRIVATE, HIDDEN = ("notify.command",), "(hidden)"  # settings that may hold a key, and what stands for their value
BYTE_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")  # powers of 1000, as disks are sold


def format_number(value: object) -> str:
    """Any value in one line: floats with four significant digits or more, as YAML reads them; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return printable(str(value))
    return format_significant(value, 4)


def format_significant(value: float, digits: int) -> str:
    """A number with so many significant digits or more: 45679 rather than 4.568e+04; zero without a sign."""
    value = value or 0.0
    return f"{value:.0f}" if 10**digits - 0.5 <= abs(value) < 1e15 else f"{value:.{digits}g}"


def format_fixed(value: float, digits: int) -> str:
    """A number with a fixed number of decimals, a real minus, and no minus before zero."""
    text = f"{round(value, digits + 6):.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")


def format_decimals(value: float | None, digits: int) -> str:
    """A number with a fixed number of decimals, a dash for None, NaN and infinity."""
    return "–" if value is None or not math.isfinite(value) else format_fixed(value, digits)


def format_cell(column: str, value: object) -> str:
    """A value in a table: metrics with four decimals, so that their digits line up."""
    if "/" in column and isinstance(value, float) and abs(value) < 1000:
        return format_fixed(value, 4)
    return format_number(value)


def format_count(count: int, noun: str) -> str:
    """A count with its noun: 1 trial, 2 trials, 2 classes."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def format_duration(seconds: float) -> str:
    """Seconds in their two largest units: 36 ms, 0.8 s, 45 s, 3 min 20 s, 1 h 40 min, 1 d 1 h."""
    if seconds < 0.095:
        return f"{1000 * seconds:.0f} ms" if seconds > 0 else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _join_units((minutes, "min"), (rest, "s"))
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return _join_units((hours, "h"), (minutes, "min"))
    return _join_units(*zip(divmod(round(seconds / 3600), 24), ("d", "h"), strict=True))


def format_age(seconds: float) -> str:
    """How long ago something was, in its largest unit: just now, 40 s ago, 3 min ago, 12 d ago."""
    if seconds < 5:
        return "just now"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def order_by_difference(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The names in some rows, those with the most different values first, else in their order."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, set()).add(str(value))
    return sorted(values, key=lambda name: -len(values[name]))


def format_bytes(count: float) -> str:
    """Bytes in decimal units with two or more digits: 640 bytes, 12 KB, 1.3 GB."""
    power = 0
    while power < len(BYTE_UNITS) - 1 and count / 1000**power >= 999.5:
        power += 1
    value = count / 1000**power
    digits = 1 if power > 1 and value < 9.95 else 0
    return f"{value:,.{digits}f} {BYTE_UNITS[power]}"


def hide_private(value: object, key: str = "") -> object:
    """A setting of a sweep file by its dotted key, without what may hold keys of the user: commands, credentials."""
    if isinstance(value, Mapping):
        return {name: hide_private(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [hide_private(inner, key) for inner in value]
    if key in PRIVATE and value is not None:
        return HIDDEN
    return hide_credentials(value) if isinstance(value, str) else value


def hide_private_word(word: str) -> str:
    """A word of a command line, without what `hide_private` hides, as in --set notify.command=..."""
    return hide_credentials(_SET_PRIVATE.sub(rf"\1{HIDDEN}", word))


def split_credentials(address: str) -> tuple[str, str]:
    """A single address without its user and password, and these as USER:PASSWORD; the last @ ends a password."""
    scheme, mark, rest = address.partition("://")
    given, at, place = rest.rpartition("@")
    if not at or rest.startswith("/"):  # as of a file: it has no user
        return address, ""
    return f"{scheme}{mark}{place}", given


def format_percent(share: float) -> str:
    """A share as a percentage with one decimal, the same for means that differ by how they were summed alone."""
    return f"{format_fixed(100 * share, 1)} %"


def format_points(share: float) -> str:
    """A difference of shares in percentage points, signed only when negative."""
    return format_fixed(100 * share, 2)


def format_p(p: float, alpha: float) -> str:
    """An adjusted p and the level that it must be below, with as many digits as tell them apart."""
    for digits in range(2, 17):
        own, level = f"{p:.{digits}g}", f"{alpha:.{digits}g}"
        if own != level:
            break
    return f"p {own}, significant below {level}"


def name_metric(metric: str) -> str:
    """A metric's name in a sentence: test/macro_f1 is macro F1."""
    return metric.rpartition("/")[2].replace("_", " ").replace("f1", "F1")


def format_metric(metric: str, value: float) -> str:
    """A metric's value: accuracies as percentages."""
    return format_percent(value) if metric.endswith("/accuracy") else format_fixed(value, 4)


def format_difference(metric: str, value: float, *, unit: bool = True) -> str:
    """A difference of two values of a metric: accuracies in percentage points."""
    if not metric.endswith("/accuracy"):
        return format_metric(metric, value)
    return f"{format_points(value)} points" if unit else format_points(value)


def format_interval(metric: str, estimate: Estimate) -> str:
    """A mean and its interval."""
    mean, low, high = (format_metric(metric, value) for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} (95 % interval {low} to {high})"


def join_words(words: Sequence[str], joint: str = "and") -> str:
    """A list in a sentence: a; a and b; a, b and c."""
    return f" {joint} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _join_units(*parts: tuple[int, str]) -> str:
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def plain_name(title: str) -> str:
    """What a title becomes as the name of a sweep or of an import: letters, digits and _ . + -."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", plain).strip("_.+-")[:60] or "images"
