"""Files of one JSON object per line, read up to the last complete line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_lines(path: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """The JSON objects of a lines file from a byte offset on, up to the last whole line."""
    try:
        content = path.read_bytes()[offset:]
    except FileNotFoundError:
        return
    for line in content.split(b"\n")[:-1]:
        yield from _object(line)


def read_backwards(path: Path, block: int = 4096) -> Iterator[dict[str, Any]]:
    """The JSON objects of a lines file, the last whole line first; of the file no more is read than it takes."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return
    with file:
        start = file.seek(0, os.SEEK_END)
        held = b""  # the end of a line that begins in a block further in front
        ended = False  # behind the last newline stands nothing, or a torn line
        while start > 0:
            size = min(block, start)
            start -= size
            file.seek(start)
            held, *lines = (file.read(size) + held).split(b"\n")
            for line in reversed(lines):
                if ended:
                    yield from _object(line)
                ended = True
        if ended:
            yield from _object(held)


def _object(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        value = json.loads(line)
    except ValueError:
        return  # torn in the middle by a full disk: the epoch is run again
    if isinstance(value, dict):
        yield value
