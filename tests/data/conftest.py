"""Small data sets in the official layouts, and a cache and a raw folder of their own for every test."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hwcls.config.data import AugmentConfig
from hwcls.data.catalog import DATA_SETS, DataSetSpec
from hwcls.data.imageset import ImageSet, Split


@pytest.fixture(autouse=True)
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that HWCLS_DATA names, empty; the cache is next to it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("HWCLS_DATA", str(folder))
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def change_spec(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`change_spec(name, field=value, ...)` changes what hwcls knows of a data set."""

    def change(name: str, **changes: object) -> None:
        changed: DataSetSpec = replace(DATA_SETS[name], **changes)  # type: ignore[arg-type]
        monkeypatch.setitem(DATA_SETS._components, name, changed)

    return change


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_idx(folder: Path, train: int = 60, test: int = 20, gz: bool = False) -> dict[str, np.ndarray]:
    """An MNIST of random images; returns the arrays by file prefix."""
    folder.mkdir(parents=True)
    arrays = {}
    for seed, (prefix, count) in enumerate((("train", train), ("t10k", test))):
        arrays[prefix] = noise(seed, count, 28, 28)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in ((f"{prefix}-images-idx3-ubyte", arrays[prefix]), (f"{prefix}-labels-idx1-ubyte", labels)):
            data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            (folder / (name + ".gz" * gz)).write_bytes(gzip.compress(data) if gz else data)
    return arrays


def tiny_files(per_class: int = 6, val: int = 8) -> dict[str, bytes]:
    """A TinyImageNet of four classes, one of them grey, as file name to bytes."""
    wnids = ["n03", "n01", "n02", "n04"]
    files = {
        "wnids.txt": "\n".join(wnids).encode(),
        "words.txt": b"n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane, bird\nn04\tbus\nn99\tunused\n",
    }
    for k, wnid in enumerate(wnids):
        for i in range(per_class):
            shape = (64, 64) if wnid == "n04" else (64, 64, 3)
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(noise(100 * k + i, *shape))
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"x"
    lines = [f"val_{i}.JPEG\t{wnids[i % 4]}\t0\t0\t62\t62" for i in range(val + 3)]  # three are not in this sample
    files["val/val_annotations.txt"] = "\n".join(lines).encode()
    for i in range(val):
        files[f"val/images/val_{i}.JPEG"] = jpeg(noise(1000 + i, 64, 64, 3))
    files["test/images/test_0.JPEG"] = jpeg(noise(5000, 64, 64, 3))
    return files


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(f"tiny-imagenet-200/{name}", data)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def write_cifar(path: Path, per_file: int = 20) -> np.ndarray:
    """A CIFAR-10 binary archive; returns its training images (N, 32, 32, 3)."""
    images = noise(7, 6 * per_file, 32, 32, 3)
    with tarfile.open(path, "w:gz") as archive:
        for k, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
            part = images[k * per_file : (k + 1) * per_file]
            labels = (np.arange(per_file) % 10).astype(np.uint8)[:, None]
            data = np.concatenate([labels, part.transpose(0, 3, 1, 2).reshape(per_file, -1)], 1).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return images[: 5 * per_file]


def made_set(count: int = 53, side: int = 12, channels: int = 3, classes: int = 4, same: bool = False) -> ImageSet:
    """An ImageSet of random pixels in memory; `same` repeats one image."""
    images = noise(3, 2 * count + 20, side, side, channels)
    if same:
        images[:] = images[0]
    labels = np.arange(len(images)) % classes
    rows = np.random.default_rng(0).permutation(len(images))

    def split(rows: np.ndarray) -> Split:
        rows = np.sort(rows).astype(np.int64)
        return Split(images, labels[rows].astype(np.int64), rows)

    return ImageSet(
        name="made",
        classes=tuple(f"c{i}" for i in range(classes)),
        image_size=side,
        channels=channels,
        mean=(0.4, 0.5, 0.6)[:channels],
        std=(0.2, 0.25, 0.3)[:channels],
        train=split(rows[:count]),
        val=split(rows[count : count + 20]),
        test=split(rows[count + 20 :]),
        augment=AugmentConfig(),
    )


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers of small data sets."""
    makers = (jpeg, png, noise, write_idx, tiny_files, write_zip, write_files, write_cifar, made_set)
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})
