"""Arrays and weights on disk, and how they come from a worker into the trial's folder; needs no torch."""

from __future__ import annotations

import io
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hwcls import files

OUTPUTS = ("predictions.npz", "confusion", "inspection.npz")
WEIGHTS = ("best.safetensors", "last.safetensors")


def take_outputs(source: Path, target: Path, *, weights: bool = True) -> None:
    """Copy what a worker wrote into a trial's folder; confusion matrices that are no longer kept go."""
    for name in (*OUTPUTS, *(WEIGHTS if weights else ())):
        found = source / name
        if found.is_dir():
            shutil.rmtree(target / name, ignore_errors=True)
            shutil.copytree(found, target / name)
        elif found.is_file():
            with open(found, "rb") as file:
                files.write_with(target / name, partial(shutil.copyfileobj, file))


def weights_epoch(path: Path) -> int | None:
    """The epoch that a weights file of hwcls is from; None when it is missing or not whole."""
    try:
        with safe_open(path, framework="np") as file:
            return int(json.loads(file.metadata()["hwcls"])["epoch"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError):
        return None


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write a compressed .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write_with(path, lambda file: file.write(buffer.getvalue()))
