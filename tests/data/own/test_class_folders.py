"""Class folders with splits: what splits are called, one spelling of a name, and what is left out."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data.formats.image_types import DANGLING, HEIC, SPECIAL, LeftOut, is_image, summarise
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.data.own.read import may_be_own_images, read_own_images
from hwcls.errors import UserError

COMPOSED, APART = "caf\u00e9", "cafe\u0301"  # NFC, and NFD as macOS writes it


def write_set(make: SimpleNamespace, root: Path, *folders: str, images: int = 3) -> Path:
    """Folders of random images."""
    for seed, folder in enumerate(folders):
        for i in range(images):
            make.write_files(root, {f"{folder}/{seed}_{i}.png": make.png(make.noise(100 * seed + i, 8, 8))})
    return root


def pack(root: Path) -> Path:
    with zipfile.ZipFile(root.with_suffix(".zip"), "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, file.relative_to(root))
    return root.with_suffix(".zip")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "valid", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "dev", "eval")],
)
def test_a_split_has_several_names(
    make: SimpleNamespace, tmp_path: Path, train: str, val: str, test: str, packed: bool
) -> None:
    names = (train, val, test)
    root = write_set(make, tmp_path / "set", *(f"{name}/{kind}" for name in names for kind in "ab"))
    make.write_files(root, {f"{val}/b/more.png": make.png(make.noise(77, 8, 8))})
    path = pack(root) if packed else root
    assert may_be_own_images(path)
    found = read_own_images(path)
    assert {split: len(part.labels) for split, part in found.splits.items()} == {"train": 6, "val": 7, "test": 6}
    assert found.left_out == {}


def test_two_folders_of_one_split_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write_set(make, tmp_path, *(f"{name}/{kind}" for name in ("train", "val", "valid") for kind in "ab"))
    with pytest.raises(UserError, match=r"val/ and valid/ are both val; it holds .*valid/ \(6 images\).* — join them"):
        read_own_images(root)


def test_images_of_folders_that_are_no_split_are_named(make: SimpleNamespace, tmp_path: Path) -> None:
    places = [f"{name}/{kind}" for name in ("train", "test", "holdout") for kind in "ab"]
    found = read_own_images(write_set(make, tmp_path, *places))
    [line] = summarise(found.left_out)
    assert line.startswith("left out: images in holdout/, which is no split (6), such as holdout/a/4_0.png — move them")


def test_links_to_nothing_and_junk(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write_set(make, tmp_path, "train/a", "train/b", "test/a", "test/b")
    (root / "train" / "a" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "train" / "b" / "round").symlink_to(root / "train" / "b" / "round")
    make.write_files(root, {"train/a/Thumbs.db": b"x", "train/b/desktop.ini": b"x", "@eaDir/a.png": b"x"})
    os.mkfifo(root / "train/b/pipe.png")
    expected = {"train/a/gone.png": DANGLING, "train/b/pipe.png": SPECIAL, "train/b/round": DANGLING}
    assert read_own_images(root).left_out == expected


def test_a_class_of_files_that_cannot_be_decoded(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwcls.data.formats.image_types._optional_endings", lambda: ())
    assert not is_image("x.heic")
    root = write_set(make, tmp_path, "train/a", "train/b", "test/a", "test/b")
    make.write_files(root, {"train/a/IMG_1.HEIC": b"x", "train/a/IMG_2.heif": b"x", "train/a/.x.heic": b"x"})
    found = read_own_images(root).left_out
    assert found == {"train/a/IMG_1.HEIC": HEIC, "train/a/IMG_2.heif": HEIC}
    [line] = summarise(found)
    assert "HEIC photos (2), such as train/a/IMG_1.HEIC — install a decoder: pip install 'hwcls[heif]'" in line
    for i in range(3):
        (root / "train" / "a" / f"0_{i}.png").unlink()
    with pytest.raises(UserError, match=r"train/a: no images in this class folder, but HEIC photos \(2\) — install"):
        read_own_images(root)


def test_other_files_are_named_by_their_ending(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write_set(make, tmp_path, "train/a", "train/b", "test/a", "test/b")
    make.write_files(root, {"train/a/x.xyz": b"x", "train/a/noend": b"x", "train/a/y.XYZ": b"x", "readme.txt": b"x"})
    lines = summarise(read_own_images(root).left_out)
    assert lines[0].startswith("left out: files that are no images by their ending (.xyz) (2), such as train/a/x.xyz")
    assert lines[1].startswith("left out: files without an ending (1), such as train/a/noend — images need one")
    assert len(lines) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_one_name_in_two_spellings_is_one_class(make: SimpleNamespace, tmp_path: Path, packed: bool) -> None:
    places = (f"train/{COMPOSED}", f"train/{APART}", "train/b", f"test/{APART}", "test/b")
    root = write_set(make, tmp_path / "set", *places)
    import_data_set("mine", pack(root) if packed else root)
    data = open_data(DataConfig(name="mine", classes=(APART, "b")))
    assert data.classes == (COMPOSED, "b")
    assert np.bincount(data.test.labels).tolist() == [3, 3]
    assert len(data.train) + len(data.val) == 9


def test_a_data_set_of_one_name_in_two_spellings(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write_set(make, tmp_path / "set", "train/a", "train/b", "test/a", "test/b")
    import_data_set(f"x{APART}", root)
    assert open_data(DataConfig(name=f"x{COMPOSED}")).name == f"x{COMPOSED}"
    assert DataConfig(name=f"x{APART}") == DataConfig(name=f"x{COMPOSED}")


def test_a_zip_of_macos_that_does_not_say_that_its_names_are_utf8(make: SimpleNamespace, tmp_path: Path) -> None:
    files = {f"{split}/{kind}/{i}.png": make.png(make.noise(i, 8, 8)) for split in ("train", "test")
             for kind in ("ZZZZZ", "b") for i in range(2)}  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    raw = (tmp_path / "a.zip").read_bytes().replace(b"ZZZZZ", COMPOSED.encode())
    (tmp_path / "a.zip").write_bytes(raw)
    assert read_own_images(tmp_path / "a.zip").classes == ("b", COMPOSED)


def test_each_kind_of_left_out_file_has_one_line() -> None:
    many = {f"{i}.jxl": LeftOut("JPEG XL images", "convert them") for i in range(1200)}
    assert summarise(many) == ["left out: JPEG XL images (1,200), such as 0.jxl — convert them"]
