"""The rows of all runs in one JSON file, by PART/ITEM, so that nothing is measured twice."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.on_gpu.inputs import Setting
from benchmarks.on_gpu.part import Row
from benchmarks.on_gpu.run import NOT_MEASURED
from hwcls.errors import UserError
from hwcls.files import write_text


def describe_machine(setting: Setting) -> dict[str, Any]:
    """What rows of one table must have in common."""
    name = torch.cuda.get_device_name(setting.device) if setting.cuda else platform.machine()
    return {"device": name, "torch": torch.__version__, "batch": setting.batch, "images": setting.images}


class Results:
    """What was measured so far.

    Args:
        path: Of the file; it may not exist yet.
        machine: See `describe_machine`.

    Raises:
        UserError: The file is no such file, or has rows of another machine or with other options.
    """

    def __init__(self, path: Path, machine: dict[str, Any]) -> None:
        self.path, self.machine = path, machine
        self.rows: dict[str, Row] = {}
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text("utf-8"))
            self.rows, there = found["rows"], found["machine"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError("holds no rows", where=str(path), remedy="name another file with --json") from None
        if other := [key for key in machine if there.get(key) != machine[key]]:
            what = ", ".join(f"{key} {there.get(key)}, not {machine[key]}" for key in other)
            raise UserError(f"has rows of {what}", where=str(path), remedy="name another file with --json")

    def missing(self, names: list[str]) -> list[str]:
        """Those of PART/ITEM that are still to be measured."""
        return [name for name in names if not self.rows.get(name) or self.rows[name].keys() & set(NOT_MEASURED)]

    def add(self, name: str, row: Row) -> None:
        """Keep a row, on the disk as well."""
        self.rows[name] = row
        write_text(self.path, json.dumps({"machine": self.machine, "rows": self.rows}, indent=2) + "\n")
