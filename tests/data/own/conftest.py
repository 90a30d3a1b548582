"""Folders and archives of files as people have them; the reader decodes no image, so a byte is one."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hwcls.data.formats.raw import EncodedImages, RawData

Write = Callable[..., Path]


@pytest.fixture(params=["folder", "zip", "tar"])
def kind(request: pytest.FixtureRequest) -> str:
    """How a data set is packed."""
    return str(request.param)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes empty images and texts below a folder, which it gives as a folder or packed."""

    def write_all(images: Iterable[str], texts: dict[str, str] | None = None, kind: str = "folder") -> Path:
        root = tmp_path / "photos"
        shutil.rmtree(root, ignore_errors=True)
        for name, text in {**dict.fromkeys(images, "x"), **(texts or {})}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        if kind == "zip":
            with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
                for file in sorted(root.rglob("*")):
                    archive.write(file, file.relative_to(root))
        elif kind == "tar":
            with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as packed:
                packed.add(root, ".")
        return {"folder": root, "zip": tmp_path / "photos.zip", "tar": tmp_path / "photos.tar.gz"}[kind]

    return write_all


def listed(raw: RawData) -> dict[str, dict[str, str]]:
    """The class of each file, by split."""
    found = {}
    for split, part in raw.splits.items():
        assert isinstance(part.images, EncodedImages)
        found[split] = {name: raw.classes[label] for name, label in zip(part.images.names, part.labels, strict=True)}
    return found


def sizes(raw: RawData) -> dict[str, int]:
    """The number of images of each split."""
    return {split: len(part.labels) for split, part in raw.splits.items()}


def numbered(*folders: str, count: int = 3, ending: str = ".jpg") -> list[str]:
    """Names of images in folders; no two have the same last name."""
    return [f"{folder}/{place}_{i}{ending}" for place, folder in enumerate(folders) for i in range(count)]
