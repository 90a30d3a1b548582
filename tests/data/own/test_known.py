"""Known data sets as images in class folders, under their own names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data.catalog import list_data_sets
from hwcls.data.formats.idx import CLOTHES
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.errors import UserError


def write_digits(make: SimpleNamespace, root: Path, train: str, test: str, names: tuple[str, ...]) -> np.ndarray:
    """Two training images and a test image of each class; (10, 28, 28) uint8, the test images."""
    pixels = np.stack([make.noise(i, 28, 28) for i in range(30)])
    for number, name in enumerate(names):
        files = {f"{train}/{name}/{i}.png": make.png(pixels[10 * i + number]) for i in range(2)}
        make.write_files(root, {**files, f"{test}/{name}/x.png": make.png(pixels[20 + number])})
    return pixels[20:]


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("mnist_png/training", "mnist_png/testing"), ("a/b/Train", "a/b/Test"), ("TRAIN", "TEST")],
)
def test_mnist_as_png_folders(make: SimpleNamespace, tmp_path: Path, train: str, test: str) -> None:
    pixels = write_digits(make, tmp_path / "got", train, test, tuple("0123456789"))
    import_data_set("mnist", tmp_path / "got")
    data = open_data(DataConfig(name="mnist"))
    assert (data.classes, data.image_size, data.channels) == (tuple("0123456789"), 28, 1)
    assert np.array_equal(data.test.images[..., 0], pixels)
    assert data.test.labels.tolist() == list(range(10))
    assert {entry["name"]: entry["found"] for entry in list_data_sets()}["mnist"] is not None


@pytest.mark.parametrize("numbers", [True, False])
def test_classes_have_the_known_names_in_the_known_order(make: SimpleNamespace, tmp_path: Path, numbers: bool) -> None:
    names = tuple(str(i) if numbers else name.replace("/", "_").lower() for i, name in enumerate(CLOTHES))
    pixels = write_digits(make, tmp_path / "got", "train", "test", names)
    import_data_set("fashion_mnist", tmp_path / "got")
    data = open_data(DataConfig(name="fashion_mnist"))
    assert data.classes == CLOTHES
    assert np.array_equal(data.test.images[np.argsort(data.test.labels)][..., 0], pixels)


def test_in_the_raw_folder(make: SimpleNamespace, raw: Path) -> None:
    write_digits(make, raw / "mnist", "train", "test", tuple("0123456789"))
    assert len(open_data(DataConfig(name="mnist")).test) == 10


def test_by_a_table(make: SimpleNamespace, tmp_path: Path) -> None:
    rows = ["file_name,label,split"]
    for i in range(30):
        make.write_files(tmp_path / "got", {f"img/{i}.png": make.png(make.noise(i, 28, 28))})
        rows.append(f"{i}.png,{CLOTHES[i % 10]},{'test' if i >= 20 else 'train'}")
    (tmp_path / "got" / "labels.csv").write_text("\n".join(rows))
    import_data_set("fashion_mnist", tmp_path / "got")
    data = open_data(DataConfig(name="fashion_mnist"))
    assert (data.classes, len(data.test)) == (CLOTHES, 10)


def test_what_is_another_data_set(make: SimpleNamespace, tmp_path: Path) -> None:
    write_digits(make, tmp_path / "nine", "train", "test", tuple("012345678"))
    with pytest.raises(UserError, match="this is not mnist: no class '9'"):
        import_data_set("mnist", tmp_path / "nine")
    write_digits(make, tmp_path / "pets", "train", "test", ("cat", "dog"))
    with pytest.raises(UserError, match="this is not mnist: a class 'cat'"):
        import_data_set("mnist", tmp_path / "pets")
    write_digits(make, tmp_path / "whole", "x", "x", tuple("0123456789"))
    with pytest.raises(UserError, match="mnist has a test split, and here is none"):
        import_data_set("mnist", tmp_path / "whole")
