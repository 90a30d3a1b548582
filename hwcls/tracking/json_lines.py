"""Files of one JSON object per line, read up to the last complete line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, none where it is missing; a partial last line and damaged ones are left out."""
    lines, _ = read_lines_from(path, 0)
    return (value for _, value in lines)


def read_lines_from(path: Path, offset: int) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """The objects from a byte offset on, each with the offset of its line, and the offset after the last line."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    lines = []
    for line in content.split(b"\n")[:-1]:
        lines += [(offset, value) for value in _parse(line)]
        offset += len(line) + 1
    return lines, offset


def read_backwards(path: Path, block: int = 4096) -> Iterator[dict[str, Any]]:
    """The objects of a file, the last one first; only as many blocks are read as the caller needs."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return
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
                if complete:
                    yield from _parse(line)
                complete = True
        if complete:
            yield from _parse(rest)


def _parse(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        value = json.loads(line)
    except ValueError:
        return  # cut in the middle by a full disk: the epoch is trained again
    if isinstance(value, dict):
        yield value
