"""A trial's arrays and weights on disk, and how they are copied into its folder; needs no torch."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hwcls import files
from hwcls.reading import read_file, read_or_none, report_damage
from hwcls.training.array_shapes import check_arrays

OUTPUTS = ("predictions.npz", "confusion", "inspection.npz")
Array = np.ndarray[Any, Any]
WEIGHTS = ("best.safetensors", "last.safetensors")
STATE = "state.pt"  # in a checkpoint, what a trial resumes from


def copy_outputs(source: Path, target: Path, *, weights: bool = True) -> None:
    """Copy a worker's outputs into a trial's folder; confusion matrices that are no longer kept are removed.

    Where the file system can link them nothing is copied: files of either folder are replaced, never changed in place.
    """
    for name in (*OUTPUTS, *(WEIGHTS if weights else ())):
        found = source / name
        if found.is_dir():
            kept = {path.name for path in found.iterdir()}
            for path in (target / name).glob("*.npz"):
                if path.name not in kept:
                    path.unlink()
            for inner in kept:
                _copy_file(found / inner, target / name / inner)
        elif found.is_file():
            _copy_file(found, target / name)


def _copy_file(source: Path, target: Path) -> None:
    try:
        files.link(source, target)
    except OSError:
        with open(source, "rb") as file:
            files.write_with(target, partial(shutil.copyfileobj, file))


def has_weights(path: Path) -> bool:
    """Whether there is a weights file; a damaged one, which is logged, is none."""
    if not os.path.lexists(path):
        return False
    try:
        with safe_open(path, framework="np"):
            return True
    except (OSError, SafetensorError) as error:
        report_damage(path, f"is damaged ({' '.join(str(error).split()) or type(error).__name__})")
        return False


def read_weights_metadata(path: Path) -> dict[str, Any]:
    """Epoch, config and inputs of a weights file; empty where it is missing, truncated or of another program."""
    try:
        with safe_open(path, framework="np") as file:
            return dict(json.loads(file.metadata()["hwcls"]))
    except (OSError, SafetensorError, TypeError, KeyError, ValueError):
        return {}


def read_weights_epoch(path: Path) -> int | None:
    """The epoch of a weights file; None where `read_weights_metadata` has none."""
    epoch = read_weights_metadata(path).get("epoch")
    return epoch if isinstance(epoch, int) else None


def read_weight_names(path: Path) -> set[str]:
    """The names of the tensors in a weights file; none where it is missing or damaged."""
    try:
        with safe_open(path, framework="np") as file:
            return set(file.keys())
    except (OSError, SafetensorError):
        return set()


def save_arrays(path: Path, **arrays: Any) -> None:
    """Write a compressed .npz, complete or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write_with(path, lambda file: file.write(buffer.getbuffer()))


def save_predictions(path: Path, **arrays: Any) -> None:
    """As `save_arrays`, not compressed: with many scores that takes 50 times as long and saves a fifth."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write_with(path, lambda file: file.write(buffer.getbuffer()))


def load_arrays(path: Path) -> dict[str, Array]:
    """The arrays of one of a trial's .npz files, none where it is missing or, which is logged, damaged."""
    return read_or_none(read_arrays, path) or {}


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of one of a trial's .npz files; raises FileNotFoundError, DamagedFile."""

    def parse(content: bytes) -> dict[str, Array]:
        zipfile.ZipFile(io.BytesIO(content)).close()  # np.load also takes what is no .npz
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = dict(stored)
        check_arrays(path.stem if path.parent.name != "confusion" else "confusion", arrays)
        return arrays

    return read_file(path, parse)


def read_class_count(path: Path) -> int | None:
    """The number of classes in a file of predictions, from its header alone; None where it has none to tell."""
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as stored, stored.open("scores.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape = read(file)[0]
        return int(shape[1]) if len(shape) == 2 else None
    return None


def save_confusion(matrix: Array, path: Path) -> None:
    """Write a (K, K) count matrix as its non-zero entries: row (true), col (predicted), count, classes."""
    row, col = np.nonzero(matrix)
    counts = {"count": matrix[row, col], "classes": np.int64(len(matrix))}
    save_arrays(path, row=row.astype(np.int32), col=col.astype(np.int32), **counts)


def load_confusion(path: Path) -> Array:
    """Read `save_confusion`'s file: (K, K) int64; raises KeyError where it is missing or damaged."""
    stored = load_arrays(path)
    matrix = np.zeros((int(stored["classes"]),) * 2, np.int64)  # (K, K)
    matrix[stored["row"], stored["col"]] = stored["count"]
    return matrix


def load_confusions(folder: Path) -> dict[int, Array]:
    """The readable confusion matrices of a trial's folder, by epoch."""
    found = {}
    for path in folder.glob("confusion/*.npz"):
        with contextlib.suppress(KeyError):
            if path.stem.isdecimal():
                found[int(path.stem)] = load_confusion(path)
    return dict(sorted(found.items()))
