"""The store: built once, complete or not at all, found again, verified."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hwcls.config.data import DataConfig, LayoutConfig
from hwcls.data.catalog import DATA_SETS
from hwcls.data.formats.archive import walk_files
from hwcls.data.imageset import Split, open_data
from hwcls.data.integrity import Duplicate, describe_duplicates
from hwcls.data.store import ARRAYS, data_key, open_pixel_store, read_raw_data
from hwcls.errors import UserError

MNIST = DataConfig(name="mnist")


def stores(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache" / "stores"
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(name for name in names if not name.endswith((".lock", ".lease")))


@pytest.fixture
def reads(change_spec: Callable[..., None]) -> list[Path]:
    """The places that MNIST was parsed from."""
    places: list[Path] = []
    real = DATA_SETS["mnist"]

    def read(path: Path) -> object:
        places.append(path)
        return real.read(path)

    change_spec("mnist", read=read)
    return places


def test_cuts_share_one_store(make: SimpleNamespace, raw: Path, tmp_path: Path, reads: list[Path]) -> None:
    make.write_idx(raw / "mnist")
    for config in (MNIST, DataConfig(name="mnist", per_class=3, val=0.4, classes=(1, "7"), split_seed=3, batch_size=8)):
        data = open_data(config)
    assert len(reads) == len(stores(tmp_path)) == 1
    assert data.classes == ("1", "7")
    assert (len(data.train), len(data.val), len(data.test)) == (4, 2, 4)
    assert set(data.train.labels) == {0, 1}
    assert (data.train.rows % 10 == np.where(data.train.labels == 0, 1, 7)).all()


def test_size_channels_and_new_sources_make_another(make: SimpleNamespace, raw: Path, reads: list[Path]) -> None:
    make.write_idx(raw / "mnist")
    open_data(MNIST)
    assert open_data(DataConfig(name="mnist", image_size=14)).train.images.shape == (60, 14, 14, 1)
    three = open_data(DataConfig(name="mnist", channels=3)).train.images
    assert three.shape == (60, 28, 28, 3)
    assert np.array_equal(three[..., 0], three[..., 2])
    assert len(reads) == 3
    os.utime(raw / "mnist" / "train-images-idx3-ubyte", (1, 1))
    open_data(MNIST)
    assert len(reads) == 4
    shutil.move(raw / "mnist", raw / "MNIST.old")
    (raw / "MNIST").mkdir()
    shutil.move(raw / "MNIST.old", raw / "MNIST" / "raw")
    open_data(MNIST)  # elsewhere, but the same files
    assert len(reads) == 4


def test_splits_share_no_image(make: SimpleNamespace, raw: Path) -> None:
    make.write_idx(raw / "mnist", train=200, test=50)
    data = open_data(DataConfig(name="mnist", val=0.3))
    assert not set(data.train.rows) & set(data.val.rows)
    assert len(data.train) + len(data.val) == 200

    def pixels(split: Split) -> set[bytes]:
        return {split.images[row].tobytes() for row in split.rows}

    train, val, test = pixels(data.train), pixels(data.val), pixels(data.test)
    assert (len(train), len(val), len(test)) == (140, 60, 50)
    assert len(train | val | test) == 250


def test_moments_are_those_of_the_training_rows(raw: Path, make: SimpleNamespace) -> None:
    make.write_cifar(raw / "cifar-10-binary.tar.gz")
    data = open_data(DataConfig(name="cifar10", val=0.3, per_class=5))
    pixels = data.train.images[data.train.rows].reshape(-1, 3) / 255
    assert np.allclose(data.mean, pixels.mean(0), atol=1e-12)
    assert np.allclose(data.std, pixels.std(0), atol=1e-9)


def test_images_cannot_be_changed(make: SimpleNamespace, raw: Path) -> None:
    make.write_idx(raw / "mnist")
    data = open_data(MNIST)
    with pytest.raises(ValueError, match="read-only"):
        data.train.images[:] = 0


def test_a_store_larger_than_memory_is_opened(make: SimpleNamespace, raw: Path) -> None:
    """The system refuses a writable map of more than memory and swap; this file takes next to nothing on the disk."""
    make.write_idx(raw / "mnist")
    store = open_pixel_store(MNIST)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    swap = sum(int(line.split()[2]) for line in Path("/proc/swaps").read_text().splitlines()[1:]) << 10
    count = (memory + swap) // 28**2 + 1000
    with open(store.folder / "train.images.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count, 28, 28, 1)}
        )
        file.truncate(file.tell() + count * 28**2)
    store.meta["splits"]["train"]["count"] = count
    images = store.images("train")
    assert images.shape == (count, 28, 28, 1)
    assert not images[-1].any()


def test_verify_names_the_changed_image(make: SimpleNamespace, raw: Path) -> None:
    make.write_idx(raw / "mnist")
    store = open_pixel_store(MNIST)
    assert store.verify() == []
    path = store.folder / "train.images.npy"
    data = bytearray(path.read_bytes())
    data[-28 * 28 * 3] ^= 1  # in the third from the end
    path.write_bytes(data)
    assert store.verify() == ["train: image 57 has changed"]


@pytest.mark.parametrize("kind", ["labels", "sums", "digests"])
def test_verify_names_changed_arrays(make: SimpleNamespace, raw: Path, kind: str) -> None:
    make.write_idx(raw / "mnist")
    store = open_pixel_store(MNIST)
    path = store.folder / f"train.{kind}.npy"
    np.save(path, np.zeros_like(store.array("train", kind)))
    assert open_pixel_store(MNIST).verify()[0] == f"train: the recorded {kind} have changed"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta.json", b""),
        ("meta.json", b"[]"),
        ("meta.json", b'{"splits": {"train": {}}}'),
        ("train.images.npy", b"\x93NUMPY"),
        ("test.labels.npy", b""),
        ("test.sums.npy", None),
    ],
)
def test_a_damaged_store_is_built_again(make: SimpleNamespace, raw: Path, name: str, content: bytes | None) -> None:
    make.write_idx(raw / "mnist")
    store = open_pixel_store(MNIST)
    before = {kind: store.array("test", kind).copy() for kind in ARRAYS}
    (store.folder / name).unlink()
    if content is not None:
        (store.folder / name).write_bytes(content)
    again = open_pixel_store(MNIST)
    assert again.verify() == []
    assert all(np.array_equal(again.array("test", kind), before[kind]) for kind in ARRAYS)


@pytest.mark.parametrize("count", [20, 7])
def test_a_file_that_is_no_array_any_more(make: SimpleNamespace, raw: Path, count: int) -> None:
    make.write_idx(raw / "mnist")
    store = open_pixel_store(MNIST)
    path = store.folder / "test.labels.npy"
    data = path.read_bytes()
    path.write_bytes(data[:6] + b"\xff" * 10 + data[16:] if count == 20 else data.replace(b"(20,)", b"(7,) "))
    with pytest.raises(
        UserError, match=r"test\.labels\.npy: damaged \(.*\) — remove .*, and it is decoded again"
    ) as caught:
        open_pixel_store(MNIST).verify()
    assert "\n" not in str(caught.value)


def test_duplicates_are_reported(make: SimpleNamespace, raw: Path) -> None:
    make.write_idx(raw / "mnist")
    assert open_pixel_store(MNIST).find_duplicates() == []
    path = raw / "mnist" / "t10k-images-idx3-ubyte"
    test = bytearray(path.read_bytes())
    train = (raw / "mnist" / "train-images-idx3-ubyte").read_bytes()
    test[16 : 16 + 784] = train[16 + 4 * 784 : 16 + 5 * 784]
    path.write_bytes(test)
    assert open_pixel_store(MNIST).find_duplicates() == [Duplicate("test", 0, "train", 4, same_label=False)]


def test_a_build_that_dies_leaves_nothing(
    make: SimpleNamespace, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.write_idx(raw / "mnist")
    monkeypatch.setattr("hwcls.data.progress.REPORT_EVERY", -1.0)

    def killed(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_data(MNIST, report=killed)
    assert stores(tmp_path) == []
    lines: list[str] = []
    key = open_pixel_store(MNIST, lines.append).folder
    assert "mnist: train: 100 % of 60 images decoded" in lines
    (key / "meta.json").unlink()  # as after a power cut in the middle of a rename
    stale = key.with_name(f".{key.name}.99999.tmp")
    stale.mkdir()
    assert len(open_data(MNIST).train) == 50  # 10 of 60 in val, one of each class
    assert stores(tmp_path) == [key.name]


def test_full_disk(make: SimpleNamespace, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.write_idx(raw / "mnist")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(UserError, match="65,280 bytes are needed"):
            open_data(MNIST)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000, total=10**9))
        with pytest.raises(UserError, match="disk is full"):
            open_data(MNIST)
    assert stores(tmp_path) == []


BUILD = """
import dataclasses, json, os, sys, time
from pathlib import Path
from hwcls.config.data import DataConfig, LayoutConfig
from hwcls.data.catalog import DATA_SETS
from hwcls.data.imageset import open_data

real, folder = DATA_SETS["mnist"], Path(sys.argv[1])

def read(path):
    (folder / f"read-by-{os.getpid()}").touch()
    time.sleep(1)  # so that the others wait for the lock
    return real.read(path)

DATA_SETS.register("mnist")(dataclasses.replace(real, read=read))
print(json.dumps(open_data(DataConfig(name="mnist")).train.rows.tolist()))
"""


def test_built_once_by_many(make: SimpleNamespace, raw: Path, tmp_path: Path) -> None:
    make.write_idx(raw / "mnist")
    command = [sys.executable, "-c", BUILD, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    opened = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert len(list(tmp_path.glob("read-by-*"))) == 1
    assert opened == [open_data(MNIST).train.rows.tolist()] * 3


def test_resize_is_pils_and_crops_the_centre(make: SimpleNamespace, tmp_path: Path) -> None:
    y, x = np.mgrid[0:40, 0:60]
    wide = np.stack([x * 4, y * 6, 0 * x], 2).astype(np.uint8)
    for name in ("train/a/0.png", "train/a/1.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(wide).save(path)
    data = open_data(DataConfig(name="imagefolder", path=str(tmp_path / "set"), image_size=20))
    want = np.asarray(Image.fromarray(wide).resize((30, 20), Image.Resampling.BILINEAR))[:, 5:25]
    assert data.test.images.shape == (2, 20, 20, 3)
    assert np.abs(data.test.images[0].astype(int) - want).max() <= 1


def test_grey_from_colour_is_luma(make: SimpleNamespace, raw: Path) -> None:
    images = make.write_cifar(raw / "cifar-10-binary.tar.gz")
    grey = open_data(DataConfig(name="cifar10", channels=1)).train.images
    assert np.array_equal(grey[0, ..., 0], np.asarray(Image.fromarray(images[0]).convert("L")))


def test_two_folders_of_like_files_are_two_data_sets(make: SimpleNamespace, tmp_path: Path) -> None:
    sets = []
    for seed in (0, 1):
        for name in ("train/a/0.bmp", "train/a/1.bmp", "train/b/0.bmp", "test/a/0.bmp", "test/b/0.bmp"):
            path = tmp_path / str(seed) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(make.noise(seed, 8, 8, 3)).save(path)
            os.utime(path, (1, 1))
        sets.append(open_data(DataConfig(name="imagefolder", path=str(tmp_path / str(seed)))))
    assert not np.array_equal(sets[0].test.images, sets[1].test.images)


@pytest.mark.slow
def test_killed_in_mid_build_the_next_finishes_it(make: SimpleNamespace, raw: Path, tmp_path: Path) -> None:
    make.write_idx(raw / "mnist", train=5000)
    code = """
import os, signal
import hwcls.data.progress
from hwcls.config.data import DataConfig, LayoutConfig
from hwcls.data.store import open_pixel_store
hwcls.data.progress.REPORT_EVERY = -1.0
open_pixel_store(DataConfig(name="mnist"), lambda line: "% of" in line and os.kill(os.getpid(), signal.SIGKILL))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == -signal.SIGKILL
    [left] = stores(tmp_path)
    assert left.endswith(".partial")
    data = open_data(MNIST)
    assert open_pixel_store(MNIST).verify() == []
    assert len(data.train) == 4500
    [key] = stores(tmp_path)
    assert not key.endswith(".partial")


def test_duplicates_are_reported_when_a_store_is_built(make: SimpleNamespace, raw: Path) -> None:
    files = {f"{split}/{kind}/0.png": make.noise(k, 8, 8) for k, kind in enumerate("ab") for split in ("train", "val")}
    files |= {f"train/{kind}/1.png": make.noise(5, 8, 8) for kind in "ab"}
    make.write_files(raw / "mine", {name: make.png(pixels) for name, pixels in files.items()})
    lines: list[str] = []
    store = open_pixel_store(DataConfig(name="mine"), lines.append)
    assert lines[1:] == [
        "mine: duplicate images: 3 (2 in another split, 1 under another label); `hwcls data verify mine` names them"
    ]
    found = read_raw_data(DataConfig(name="mine"))
    named = [
        (found.image_name(one.split, one.row), found.image_name(one.of_split, one.of_row))
        for one in store.find_duplicates()
    ]
    assert named == [
        ("train/b/1.png", "train/a/1.png"),
        ("val/a/0.png", "train/a/0.png"),
        ("val/b/0.png", "train/b/0.png"),
    ]
    open_pixel_store(DataConfig(name="mine"), lines.append)
    assert len(lines) == 2


def test_an_own_set_of_another_place_is_another(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for seed in (0, 10):
        root = tmp_path / str(seed)
        for k, name in enumerate(("train/a/0.bmp", "train/a/1.bmp", "train/b/0.bmp", "val/a/0.bmp", "val/b/0.bmp")):
            path = root / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(make.noise(seed + k, 8, 8, 3)).save(path)
            os.utime(path, (1, 1))
        monkeypatch.setenv("HWCLS_DATA", str(root))
        found.append(open_data(DataConfig(name="mine")).test.images)
    assert not np.array_equal(*found)


def test_copies_within_train_are_not_divided(make: SimpleNamespace, raw: Path) -> None:
    files = {f"train/{kind}/{i}.png": make.noise(k + i // 2, 8, 8) for k, kind in enumerate("ab") for i in range(20)}
    files |= {f"val/{kind}/0.png": make.noise(100 + k, 8, 8) for k, kind in enumerate("ab")}
    make.write_files(raw / "mine", {name: make.png(pixels) for name, pixels in files.items()})
    for seed in range(3):
        data = open_data(DataConfig(name="mine", val=0.3, split_seed=seed))
        train, val = ({part.images[row].tobytes() for row in part.rows} for part in (data.train, data.val))
        assert not train & val
        assert len(data.train) + len(data.val) == 40
    assert describe_duplicates(open_pixel_store(DataConfig(name="mine")).find_duplicates()).endswith(
        "29 (0 in another split, 18 under another label)"
    )


def test_the_command_that_names_duplicates_opens_the_same_store(make: SimpleNamespace, tmp_path: Path) -> None:
    files = {
        f"{split}/{kind}/{i}.png": make.noise(i, 8, 9) for split in ("train", "val") for kind in "ab" for i in (0, 1)
    }
    make.write_files(tmp_path / "my set", {name: make.png(pixels) for name, pixels in files.items()})
    lines: list[str] = []
    open_pixel_store(
        DataConfig(name="imagefolder", path=str(tmp_path / "my set"), image_size=16, channels=1), lines.append
    )
    line = lines[-1]
    command = f"`hwcls data verify imagefolder --path '{tmp_path}/my set' --set image_size=16 --set channels=1`"
    assert command in line


NOTES = ("photos.yaml", "notes.txt", "README.md", "a/info.json", "b/LICENSE", "sweep.py")
DECIDE = {  # a file in the data's folder, and the layout that reads it
    "a/4.png": None,
    "a/5.JPG": None,
    "a/6.heic": None,
    "images.csv": None,
    "more/labels.parquet": None,
    "labels.txt": LayoutConfig(table="labels.txt"),
}


def test_notes_beside_the_images_change_no_store(make: SimpleNamespace, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    make.write_files(root, {f"{kind}/{i}.png": make.png(make.noise(i, 8, 8)) for kind in "ab" for i in range(4)})
    config = DataConfig(path=str(root))
    folder = open_pixel_store(config).folder
    # as earlier versions named it, so that their stores are found
    listing = [[name, status.st_size, status.st_mtime_ns] for name, status in walk_files(root)]
    text = json.dumps([4, "imagefolder", str(root.resolve()), listing, None, None])
    assert folder.name == f"imagefolder-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    for content in (b"one", b"another"):
        make.write_files(root, dict.fromkeys(NOTES, content))
        assert open_pixel_store(config).folder == folder
        assert len(stores(tmp_path)) == 1


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz", "photos.tar.bz2", "photos.tar.xz"])
def test_another_archive_of_the_same_name_changes_the_store(tmp_path: Path, name: str) -> None:
    config = DataConfig(path=str(tmp_path / name))
    (tmp_path / name).write_bytes(b"one")
    before = data_key(config)
    (tmp_path / name).write_bytes(b"another")
    assert data_key(config) != before


@pytest.mark.parametrize(("name", "layout"), DECIDE.items())
def test_what_may_decide_pixels_or_labels_changes_the_store(
    make: SimpleNamespace, tmp_path: Path, name: str, layout: LayoutConfig | None
) -> None:
    make.write_files(tmp_path / "photos", {"a/0.png": b"", "b/0.png": b"", name: b"one"})
    config = DataConfig(path=str(tmp_path / "photos"), layout=layout)
    before = data_key(config)
    make.write_files(tmp_path / "photos", {name: b"another"})
    assert data_key(config) != before
