"""Files of one JSON object per line, read up to the last complete line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hwcls.reading import read_file, read_or_none, report_damage

Line = dict[str, Any]


def read_lines(path: Path, fits: Callable[[Line], bool] = bool) -> Iterator[Line]:
    """The objects of a file that `fits` accepts, none where it is missing.

    A partial last line is left out, and so are damaged ones, which are reported.
    """
    lines, _ = read_lines_from(path, 0, fits)
    return (value for _, value in lines)


def read_lines_from(path: Path, offset: int, fits: Callable[[Line], bool] = bool) -> tuple[list[tuple[int, Line]], int]:
    """The objects from a byte offset on, each with the offset of its line, and the offset after the last line."""
    content = read_or_none(read_file, path, bytes, offset) or b""
    lines, damaged = [], 0
    for line in content.split(b"\n")[:-1]:
        value = _parse(line, fits)
        if value is None:
            damaged += 1
        else:
            lines.append((offset, value))
        offset += len(line) + 1
    if damaged:
        report_damage(path, f"has {damaged} damaged line" + ("s" if damaged > 1 else ""))
    return lines, offset


def read_backwards(path: Path, block: int = 4096, fits: Callable[[Line], bool] = bool) -> Iterator[Line]:
    """The objects of a file, the last one first; only as many blocks are read as the caller needs."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError:
        return  # reported where the lines are read
    with file:
        start = file.seek(0, os.SEEK_END)
        rest = b""  # the end of a line that begins in an earlier block
        complete = False  # what follows the last newline is nothing, or a partial line
        while start > 0:
            size = min(block, start)
            start -= size
            file.seek(start)
            rest, *lines = (file.read(size) + rest).split(b"\n")
            for line in reversed(lines):
                if complete and (value := _parse(line, fits)) is not None:
                    yield value
                complete = True
        if complete and (value := _parse(rest, fits)) is not None:
            yield value


def _parse(line: bytes, fits: Callable[[Line], bool]) -> Line | None:
    """The object of a line, None where it is cut, as by a full disk: that epoch is trained again."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and fits(value) else None
