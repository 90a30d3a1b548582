"""The cache is bounded: what was used least recently goes first, never what is in use, never an import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.data import DataConfig
from hwcls.data.cache import leases, limit
from hwcls.data.imageset import open_data
from hwcls.data.store import has_pixel_store, open_pixel_store
from hwcls.errors import UserError

SIDE = 32
HOLD = """
import sys
from hwcls.config.data import DataConfig
from hwcls.data.store import open_pixel_store
open_pixel_store(DataConfig(name="imagefolder", path=sys.argv[1], image_size=32))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _nothing_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process."""
    monkeypatch.setattr(leases, "_held", {})
    yield
    close()


@pytest.fixture
def photos(make: SimpleNamespace, tmp_path: Path) -> list[DataConfig]:
    """Four data sets of the same size."""
    for number in range(4):
        for split in ("train", "test"):
            for name in ("a", "b"):
                folder = tmp_path / f"set{number}" / split / name
                folder.mkdir(parents=True)
                for i in range(3):
                    (folder / f"{i}.png").write_bytes(make.png(make.noise(10 * number + i, 40, 60, 3)))
    paths = [str(tmp_path / f"set{number}") for number in range(4)]
    return [DataConfig(name="imagefolder", path=path, image_size=SIDE) for path in paths]


def close() -> None:
    """Give up what this process holds, as its end would."""
    for file in leases._held.values():
        os.close(file)
    leases._held.clear()


def build(config: DataConfig, used: float | None = None) -> list[str]:
    """Open a data set and close it again, as if used at some time; what was reported."""
    lines: list[str] = []
    store = open_pixel_store(config, lines.append)
    close()
    if used is not None:
        for path in (store.folder, leases._lease(store.folder)):
            os.utime(path, (used, used))
    return lines


@contextmanager
def another_process(config: DataConfig) -> Iterator[subprocess.Popen[str]]:
    """It has the data set open while the block runs."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(config.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def set_limit(monkeypatch: pytest.MonkeyPatch, stores: float) -> None:
    """Room for so many of these data sets."""
    [size] = {entry.bytes for entry in limit.list_entries() if entry.side}
    monkeypatch.setenv(limit.LIMIT, str(int(stores * size)))


def here(photos: list[DataConfig]) -> list[bool]:
    return [has_pixel_store(config) for config in photos]


def test_the_least_recently_used_is_removed_and_named(
    photos: list[DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, config in enumerate(photos[:3]):
        build(config, used=1000.0 + number)
    set_limit(monkeypatch, 3.5)
    build(photos[0])  # which makes the second one the oldest
    lines = build(photos[3])
    assert here(photos) == [True, False, True, True]
    [line] = [line for line in lines if line.startswith("cache: ")]
    assert line.startswith("cache: removed imagefolder 32 x 32 (40 KB), used least recently, to stay below ")
    assert "(HWCLS_CACHE_LIMIT sets it)" in line


def test_what_a_process_uses_stays_until_it_ends(photos: list[DataConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    build(photos[0], used=1000.0)
    build(photos[1], used=2000.0)
    set_limit(monkeypatch, 2.5)
    with another_process(photos[0]) as process:
        os.utime(leases._lease(open_pixel_store(photos[0]).folder), (1000.0, 1000.0))
        close()
        build(photos[2])
        assert here(photos) == [True, False, True, False]
        process.kill()
        process.wait()
        os.utime(leases._lease(open_pixel_store(photos[0]).folder), (1000.0, 1000.0))
        close()
        build(photos[3])
        assert here(photos) == [False, False, True, True]


def test_what_this_process_uses_stays_however_small_the_limit(
    photos: list[DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_data(photos[0])
    set_limit(monkeypatch, 0.1)
    lines: list[str] = []
    second = open_data(photos[1], lines.append)
    assert here(photos) == [True, True, False, False]
    [line] = [line for line in lines if line.startswith("cache: ")]
    assert re.fullmatch(
        r"cache: takes \d+ KB, more than its limit of 4 KB \(HWCLS_CACHE_LIMIT sets it\); nothing else can be removed",
        line,
    )
    assert len(np.unique(first.train.images)) > 1
    assert len(second.train) > 1


def test_imports_and_downloads_are_never_removed(
    make: SimpleNamespace, photos: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwcls.data.importer import import_data_set

    done = import_data_set("mine", str(photos[0].path))
    before = {path: path.read_bytes() for path in done.path.rglob("*") if path.is_file()}
    build(DataConfig(name="mine", image_size=SIDE), used=1000.0)
    monkeypatch.setenv(limit.LIMIT, "1KB")
    build(photos[1])
    assert not has_pixel_store(DataConfig(name="mine", image_size=SIDE))
    assert {path: path.read_bytes() for path in done.path.rglob("*") if path.is_file()} == before
    assert len(open_data(DataConfig(name="mine", image_size=SIDE)).test) == 6  # decoded again


def test_a_full_disk_makes_room_too(photos: list[DataConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    build(photos[0], used=1000.0)
    free = iter([10, *[10**9] * 9])
    monkeypatch.setenv(limit.LIMIT, "1GB")
    monkeypatch.setattr(limit.shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free), total=10**9))
    build(photos[1])
    assert here(photos) == [False, True, False, False]


def test_indexes_are_part_of_it(photos: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "cache" / "index" / "mine-0123.npz"
    index.parent.mkdir(parents=True)
    index.write_bytes(b"x" * 100_000)
    os.utime(index, (1000.0, 1000.0))
    assert str(limit.list_entries()[0]) == "mine (index) (100 KB)"
    monkeypatch.setenv(limit.LIMIT, "90KB")
    assert any("removed mine (index) (100 KB)" in line for line in build(photos[0]))
    assert not index.exists()


def test_damaged_and_unfinished_folders_do_no_harm(
    photos: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(photos[0], used=2000.0)
    stores = tmp_path / "cache" / "stores"
    damaged = stores / "old-0123456789abcdef"
    damaged.mkdir()
    (damaged / "meta.json").write_text("{")
    (damaged / "train.images.npy").write_bytes(b"x" * 100_000)
    (stores / "loose-file").write_bytes(b"x")
    os.utime(damaged, (1000.0, 1000.0))
    killed = stores / ".gone-0123456789abcdef.1.tmp"
    killed.mkdir()
    (killed / "train.images.npy").write_bytes(b"x" * 10_000_000)
    monkeypatch.setenv(limit.LIMIT, "140KB")
    assert any("removed old (100 KB)" in line for line in build(photos[1]))
    assert here(photos) == [True, True, False, False]
    assert not damaged.exists()
    assert not killed.exists()


def test_what_is_being_built_counts_and_stays(photos: list[DataConfig], tmp_path: Path) -> None:
    from filelock import FileLock

    stores = tmp_path / "cache" / "stores"
    unfinished = stores / ".other-0123.1.tmp"
    unfinished.mkdir(parents=True)
    (unfinished / "train.images.npy").write_bytes(b"x" * 1000)
    with FileLock(stores / ".other-0123.lock"):
        assert limit._drop_leftovers() == 1000
        assert unfinished.exists()
    assert limit._drop_leftovers() == 0
    assert not unfinished.exists()


def test_two_processes_that_remove_and_open_never_fail(
    photos: list[DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one data set each builds what the other removes, over and over."""
    build(photos[0])
    set_limit(monkeypatch, 1.2)
    code = """
import os
import sys
from hwcls.config.data import DataConfig
from hwcls.data.cache import leases
from hwcls.data.imageset import open_data
for turn in range(12):
    for path in sys.argv[1:]:
        data = open_data(DataConfig(name="imagefolder", path=path, image_size=32))
        assert data.train.images.shape[1:] == (32, 32, 3) and data.train.images.any()
        while leases._held:
            os.close(leases._held.popitem()[1])
"""
    paths = [str(config.path) for config in photos[:2]]
    both = [subprocess.Popen([sys.executable, "-c", code, *some]) for some in (paths, paths[::-1])]
    assert [process.wait(100) for process in both] == [0, 0]


def test_a_removal_waits_for_nobody_and_an_opening_for_the_removal(photos: list[DataConfig]) -> None:
    """Whoever opens while a folder is being removed finds none, and builds it."""
    folder = open_pixel_store(photos[0]).folder
    assert not leases.remove_unused(folder)  # in use here
    close()
    import fcntl

    with open(leases._lease(folder), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        opened: list[object] = []
        thread = threading.Thread(target=lambda: opened.append(open_pixel_store(photos[0])))
        thread.start()
        thread.join(0.3)
        assert not opened
        os.replace(folder, folder.with_name(".moved"))
    thread.join(30)
    assert opened
    assert has_pixel_store(photos[0])


def test_a_process_holds_a_bounded_number_of_files(tmp_path: Path) -> None:
    for number in range(leases.MOST + 5):
        leases.hold(tmp_path / str(number))
    assert len(leases._held) == leases.MOST
    (tmp_path / "0").mkdir()
    (tmp_path / "20").mkdir()
    assert leases.remove_unused(tmp_path / "0")
    assert not leases.remove_unused(tmp_path / "20")


def test_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit.shutil, "disk_usage", lambda path: SimpleNamespace(total=1000, free=1000))
    monkeypatch.delenv(limit.LIMIT, raising=False)
    assert limit.cache_limit() == 200
    for text, size in {"50GB": 50e9, "1.5 mb": 1.5e6, "20%": 200, "7": 7, "0": 0}.items():
        monkeypatch.setenv(limit.LIMIT, text)
        assert limit.cache_limit() == size
    for text in ("much", "50 GiB", "-3GB", "120%"):
        monkeypatch.setenv(limit.LIMIT, text)
        with pytest.raises(UserError, match=f"'{text}' is no size"):
            limit.cache_limit()


def test_the_commands_show_and_clean(photos: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(photos[0])
    build(DataConfig(name="digits"))
    monkeypatch.setenv(limit.LIMIT, "50GB")
    shown = CliRunner().invoke(app, ["data", "list"]).stdout.splitlines()
    assert next(line for line in shown if line.startswith("imagefolder ")).endswith("  decoded 40 KB")
    assert shown[-1].startswith("decoded images and features take 2")
    assert shown[-1].endswith(f" KB of at most 50 GB in {tmp_path}/cache (HWCLS_CACHE_LIMIT sets it)")
    wrong = CliRunner().invoke(app, ["data", "clean", "nothing"])
    assert (wrong.exit_code, wrong.stderr.splitlines()[-1]) == (
        2,
        f"hwcls: {tmp_path}/cache: no decoded images or features of 'nothing' — there are those of digits, imagefolder",
    )
    assert "removed: imagefolder 32 x 32 (40 KB)\n" in CliRunner().invoke(app, ["data", "clean", "imagefolder"]).stdout
    with open_held(DataConfig(name="digits")):
        assert "in use, kept: digits 8 x 8" in CliRunner().invoke(app, ["data", "clean"]).stdout
    assert "freed " in CliRunner().invoke(app, ["data", "clean"]).stdout
    assert limit.list_entries() == []


@contextmanager
def open_held(config: DataConfig) -> Iterator[None]:
    open_pixel_store(config)
    yield
    close()


def test_the_cost_is_said_before_it_is_built(photos: list[DataConfig], tmp_path: Path) -> None:
    lines = build(photos[0])
    assert lines[0] == f"set0: 12 images decoded to 32 x 32 will take 38 KB in {tmp_path}/cache/stores"
    assert build(photos[0]) == []  # it is there


def test_the_index_of_an_open_data_set_stays(photos: list[DataConfig], tmp_path: Path) -> None:
    """It is made where a split is cut."""
    open_data(photos[0])
    [index] = (tmp_path / "cache" / "index").glob("*.npz")
    assert index in [entry.path for entry in limit.list_entries()]
    assert not leases.remove_unused(index)
    close()
    assert limit.remove_entries("imagefolder")[1] == []
    assert not index.exists()
    assert len(open_data(photos[0]).val) > 0  # made again
