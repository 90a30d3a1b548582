"""Decoding that is interrupted and continued: nothing is decoded twice, and the bytes are the same."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data import disk
from hwcls.data.cache import leases, limit
from hwcls.data.decoding import decode, shards
from hwcls.data.formats.archive import FolderTree
from hwcls.data.progress import ProgressMeter
from hwcls.data.store import open_pixel_store
from hwcls.errors import UserError

COUNT = 60  # photos to train on, in tasks of four


@pytest.fixture
def folder(make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {f"train/{'ab'[i % 2]}/{i:03}.png": make.png(make.noise(i, 16, 16, 3)) for i in range(COUNT)}
    files |= {f"test/{kind}/0.png": make.png(make.noise(100 + k, 16, 16, 3)) for k, kind in enumerate("ab")}
    make.write_files(tmp_path / "photos", files)
    monkeypatch.setattr(decode, "CHUNK", 4)
    monkeypatch.setattr(shards, "SHARD", 8 * 12 * 12 * 3)  # two tasks
    return tmp_path / "photos"


def config(folder: Path, size: int = 12) -> DataConfig:
    return DataConfig(name="imagefolder", path=str(folder), image_size=size, channels=3)


def contents(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def partial() -> Path:
    [found] = (limit.cache_folder() / "stores").glob(".*.partial")
    return found


@pytest.fixture
def whole(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """The files of an uninterrupted store of the photos as they are now."""

    def build() -> dict[str, bytes]:
        with monkeypatch.context() as patch:
            patch.setenv("HWCLS_CACHE", str(tmp_path / "elsewhere"))
            return contents(open_pixel_store(config(folder)).folder)

    return build


@pytest.fixture
def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`interrupt(n)` begins to decode and is interrupted after n tasks, as by Ctrl-C."""

    def begin(tasks: int) -> None:
        run = decode.run_tasks

        def some(work: Iterator[Callable[[], None]]) -> Iterator[None]:
            for number, _ in enumerate(run(work), 1):
                yield
                if number == tasks:
                    raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(decode, "run_tasks", some)
            with pytest.raises(KeyboardInterrupt):
                open_pixel_store(config(folder))

    return begin


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the photos that are decoded."""
    names: list[str] = []
    real = decode._decode_files

    def noted(images: decode.EncodedImages, *rest: object) -> np.ndarray:
        names.extend(images.names)
        return real(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "_decode_files", noted)
    return names


@pytest.mark.parametrize("tasks", [1, 2, 7, 15])
def test_what_is_missing_is_decoded_and_nothing_else(
    folder: Path,
    whole: Callable[[], dict[str, bytes]],
    interrupt: Callable[[int], None],
    decoded: list[str],
    tasks: int,
) -> None:
    expected = whole()
    interrupt(tasks)
    assert json.loads((partial() / shards.RECORD).read_text())["done"] == {"train": 4 * tasks}
    decoded.clear()
    lines: list[str] = []
    store = open_pixel_store(config(folder), lines.append)
    assert len(decoded) == COUNT - 4 * tasks + 2
    assert f"; {4 * tasks} of them are there already, in " in lines[0]
    assert contents(store.folder) == expected
    assert store.verify() == []
    assert not list(store.folder.parent.glob(".*.partial"))


def test_it_may_be_interrupted_again_and_again(
    folder: Path, whole: Callable[[], dict[str, bytes]], interrupt: Callable[[int], None], decoded: list[str]
) -> None:
    for _ in range(4):
        interrupt(3)
    assert json.loads((partial() / shards.RECORD).read_text())["done"] == {"train": 48}
    assert contents(open_pixel_store(config(folder)).folder) == whole()


def test_a_process_that_is_killed_loses_a_shard_at_most(
    folder: Path, monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[int], None]
) -> None:
    """Nothing is recorded by a process that cannot say goodbye, except after every second task."""
    record, saved = shards.Unfinished.record, []

    def noted(self: shards.Unfinished) -> None:
        saved.append(dict(self.done))
        record(self)

    monkeypatch.setattr(shards.Unfinished, "record", noted)
    interrupt(5)
    assert saved == [{"train": count} for count in (0, 8, 16, 20)]


def test_other_photos_or_settings_are_decoded_from_the_start(
    folder: Path, whole: Callable[[], dict[str, bytes]], interrupt: Callable[[int], None], decoded: list[str]
) -> None:
    interrupt(7)
    decoded.clear()
    assert len(open_pixel_store(config(folder, 10)).array("train", "images")) == COUNT
    assert len(decoded) == COUNT + 2
    os.utime(folder / "train" / "a" / "000.png", (1, 1))
    decoded.clear()
    assert contents(open_pixel_store(config(folder)).folder) == whole()
    assert len(decoded) == 2 * (COUNT + 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / shards.RECORD).write_text("{"),
        lambda path: (path / shards.RECORD).unlink(),
        lambda path: (path / "train.images.npy").write_bytes((path / "train.images.npy").read_bytes()[:-1]),
        lambda path: (path / "train.sums.npy").unlink(),
        lambda path: np.save(path / "train.digests.npy", np.zeros(3, np.uint64)),
        lambda path: (path / shards.RECORD).write_text((path / shards.RECORD).read_text().replace("bilinear", "box")),
        lambda path: (path / shards.RECORD).write_text((path / shards.RECORD).read_text().replace("train", "more")),
    ],
    ids=["record", "no record", "cut off", "missing", "other shape", "other settings", "other splits"],
)
def test_a_damaged_part_is_decoded_from_the_start(
    folder: Path,
    whole: Callable[[], dict[str, bytes]],
    interrupt: Callable[[int], None],
    decoded: list[str],
    damage: Callable[[Path], object],
) -> None:
    expected = whole()
    interrupt(7)
    damage(partial())
    decoded.clear()
    assert contents(open_pixel_store(config(folder)).folder) == expected
    assert len(decoded) == COUNT + 2


def test_the_range_of_wide_pixels_is_kept(
    make: SimpleNamespace, folder: Path, whole: Callable[[], dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is measured once, at the first image that needs it; those before it are not decoded again."""
    for name in ("b/051.png", "b/053.png"):
        wide = (make.noise(7, 16, 16).astype(np.uint16) * 16).astype("<u2")
        (folder / "train" / name).write_bytes(make.png(wide))
    expected = whole()
    assert b'"low"' in expected["meta.json"]
    real, names = decode._decode_files, []

    def interrupted(images: decode.EncodedImages, *rest: object) -> np.ndarray:
        if rest[2] is not None and images.names[0] == "train/b/053.png":  # after the range is used
            raise KeyboardInterrupt
        return real(images, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(decode, "_decode_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_pixel_store(config(folder))
    record = json.loads((partial() / shards.RECORD).read_text())
    assert record["done"] == {"train": 56}
    assert record["levels"]["high"] > 255

    def noted(images: decode.EncodedImages, *rest: object) -> np.ndarray:
        names.extend(images.names)
        return real(images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "_decode_files", noted)
    monkeypatch.setattr(decode, "measure_range", None)  # not called
    assert contents(open_pixel_store(config(folder)).folder) == expected
    assert len(names) == 4 + 2


def test_a_damaged_photo_is_named_and_nothing_is_left(folder: Path) -> None:
    (folder / "train" / "b" / "051.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(UserError, match=r"train/b/051\.png: not a readable image"):
        open_pixel_store(config(folder))
    assert not list((limit.cache_folder() / "stores").glob(".*.partial"))


def test_all_damaged_photos_are_named_at_once_and_above_some_tens_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of another split, and those after the chunk in which decoding stopped."""
    monkeypatch.setattr("hwcls.data.decoding.check.MOST_NAMED", 2)
    for name in ("a/001", "b/051", "b/052"):
        (folder / "train" / f"{name}.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(
        UserError, match=r"3 of \d+ images cannot be read .*: train/a/001\.png, train/b/051\.png and 1 m"
    ):
        open_pixel_store(config(folder))


def test_only_what_is_missing_needs_space(
    folder: Path, interrupt: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(7)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8000, total=10**9))
        open_pixel_store(config(folder))
    shutil.rmtree(limit.cache_folder())
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8000, total=10**9))
        with pytest.raises(UserError, match="the disk is full"):
            open_pixel_store(config(folder))


def fails(number: int) -> Callable[..., None]:
    """A call that the operating system refuses."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def break_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProgressMeter, "update", fails(errno.EPIPE))


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (lambda patch: patch.setenv(limit.LIMIT, "5 gigs"), r"HWCLS_CACHE_LIMIT: '5 gigs' is no size"),
        (lambda patch: patch.setattr(disk, "free_bytes", lambda folder: 10), "the disk is full"),
        (lambda patch: patch.setattr(shards, "_write", fails(errno.ENOSPC)), "the disk is full"),
        (break_report, "Broken pipe"),
        (
            lambda patch: patch.setattr(FolderTree, "read", fails(errno.EIO)),
            r"png: cannot be read \(Input/output",
        ),
        (lambda patch: patch.setattr(Path, "read_text", fails(errno.EIO)), "Input/output error"),
        (lambda patch: patch.setattr(shards, "_open_array", fails(errno.EMFILE)), "Too many open files"),
        (lambda patch: patch.setattr(decode, "decode_to_size", fails(errno.ENOMEM)), "Cannot allocate memory"),
    ],
    ids=["limit", "space", "full", "report", "photo", "record", "arrays", "memory"],
)
def test_an_error_that_is_no_fault_of_the_photos_keeps_what_is_decoded(
    folder: Path,
    whole: Callable[[], dict[str, bytes]],
    interrupt: Callable[[int], None],
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    cause: Callable[[pytest.MonkeyPatch], None],
    error: str,
) -> None:
    expected = whole()
    interrupt(7)
    with monkeypatch.context() as patch:
        cause(patch)
        with pytest.raises((UserError, OSError), match=error):
            open_pixel_store(config(folder))
    done = json.loads((partial() / shards.RECORD).read_text())["done"]["train"]
    assert done >= 28
    decoded.clear()
    assert contents(open_pixel_store(config(folder)).folder) == expected
    assert len(decoded) == COUNT - done + 2


def test_an_error_before_anything_is_decoded_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_write", fails(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        open_pixel_store(config(folder))
    assert not list((limit.cache_folder() / "stores").glob(".*.partial"))


def test_a_split_that_does_not_fit_takes_no_space(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    """Its blocks are reserved before it is decoded; those that were to be had are given back."""
    real = os.posix_fallocate

    def full(file: int, start: int, size: int) -> None:
        if size < 200:  # the last of the three of the test split
            fails(errno.ENOSPC)()
        real(file, start, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(UserError, match="the disk is full"):
            open_pixel_store(config(folder))
    assert not list(partial().glob("test.*"))
    assert json.loads((partial() / shards.RECORD).read_text())["done"] == {"train": COUNT}
    decoded.clear()
    assert open_pixel_store(config(folder)).verify() == []
    assert len(decoded) == 2


def test_what_was_interrupted_counts_in_the_cache_and_can_be_removed(
    folder: Path, interrupt: Callable[[int], None]
) -> None:
    interrupt(7)
    [entry] = limit.list_entries()
    assert entry.data_set == "imagefolder"
    assert str(entry).startswith("imagefolder (decoded in part) (")
    assert limit.remove_entries() == ([], [entry])  # this process still holds it
    for path in list(leases._held):
        os.close(leases._held.pop(path))
    assert limit.remove_entries() == ([entry], [])
    assert not list((limit.cache_folder() / "stores").glob(".*.partial"))


BUILD = """
import os, signal, sys, time
from hwcls.config.data import DataConfig
from hwcls.data.decoding import decode, shards
from hwcls.data.store import open_pixel_store

decode.CHUNK, shards.SHARD = 4, 8 * 12 * 12 * 3
real = shards._write

def slow(arrays, start, pixels):
    if start >= 24 and sys.argv[2] == "slow":
        time.sleep(4)  # until the second process has started
    real(arrays, start, pixels)

shards._write = slow
print("begun", flush=True)
config = DataConfig(name="imagefolder", path=sys.argv[1], image_size=12, channels=3)
print(open_pixel_store(config, lambda line: print(line, flush=True)).folder)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_another_process_continues_what_one_that_ends_has_left(
    folder: Path, whole: Callable[[], dict[str, bytes]], end: signal.Signals
) -> None:
    """The second one waits for the lock meanwhile."""
    expected = whole()

    def start(pace: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", BUILD, str(folder), pace]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = start("slow")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = list((limit.cache_folder() / "stores").glob(f".*.partial/{shards.RECORD}"))
        if found and json.loads(found[0].read_text())["done"].get("train", 0) >= 16:
            break
        time.sleep(0.01)
    second = start("fast")
    assert second.stdout is not None
    assert second.stdout.readline() == "begun\n"
    time.sleep(0.2)
    first.send_signal(end)
    first.communicate(timeout=60)
    assert first.returncode == -end
    out, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    line, *_, store = out.splitlines()
    done = int(line.split(" of them are there already")[0].split()[-1])
    assert 16 <= done < COUNT
    assert contents(Path(store)) == expected
