"""Decoding takes a bounded amount of memory, whatever the images and however many threads there are."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hwcls.data.decoding import decode, memory, opened, resize
from hwcls.data.decoding.decode import chunk_size, decode_image, decode_tasks, decode_to_size, run_tasks
from hwcls.data.decoding.memory import MB, MemoryBudget
from hwcls.data.decoding.resize import resize_batch
from hwcls.data.formats.archive import FolderTree
from hwcls.data.formats.raw import EncodedImages


def test_a_budget_is_never_exceeded() -> None:
    budget, held, most, lock = MemoryBudget(10 * MB), 0, 0, threading.Lock()
    together = threading.Barrier(2, timeout=10)

    def use(size: int) -> None:
        nonlocal held, most
        with budget.reserve(size):
            with lock:
                held += min(size, 10 * MB)
                most = max(most, held)
            if size == 5 * MB:
                together.wait()  # two of these fit: they run at once
            with lock:
                held -= min(size, 10 * MB)

    sizes = [5 * MB, 5 * MB] * 4 + [99 * MB] * 4
    threads = [threading.Thread(target=use, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (held, most) == (0, 10 * MB)


def test_an_error_gives_the_memory_back() -> None:
    budget = MemoryBudget(2 * MB)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), budget.reserve(2 * MB):
            raise ValueError("x")


@pytest.mark.parametrize(
    ("kind", "mode", "bytes_each"),
    [
        ("PNG", "RGB", 4),
        ("PNG", "RGBA", 4),
        ("WEBP", "RGB", 8),
        ("JPEG", "RGB", 3),
        ("JPEG", "L", 3),
        ("TIFF", "I;16", 8),
    ],
)
def test_large_images_wait_for_their_turn(
    make: SimpleNamespace, tmp_path: object, monkeypatch: pytest.MonkeyPatch, kind: str, mode: str, bytes_each: int
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(opened.DECODED, "reserve", _record(opened.DECODED, taken))
    file = io.BytesIO()
    Image.new(mode, (40, 30)).save(file, kind)
    make.write_files(tmp_path, {f"{i}.x": file.getvalue() for i in range(6)})
    images = EncodedImages(FolderTree(tmp_path), [f"{i}.x" for i in range(6)])  # type: ignore[arg-type]
    tasks = decode_tasks(images, 8, 3, decode.PixelRange(0, 1))
    for _ in run_tasks(lambda task=task: task() and None for task in tasks):  # type: ignore[misc]
        pass
    assert taken == [40 * 30 * bytes_each] * 6
    assert opened.DECODED._used == decode.ENCODED._used == 0


def _record(budget: MemoryBudget, taken: list[int]) -> object:
    def reserve(size: int) -> object:
        taken.append(size)
        return MemoryBudget.reserve(budget, size)

    return reserve


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (257, 1999), (1030, 129), (64, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_strips_give_the_pixels_of_the_whole(
    make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], channels: int
) -> None:
    data = make.png(make.noise(0, *shape, 3))
    whole = torch.from_numpy(np.array(decode_image(data, channels))).permute(2, 0, 1)[None]
    want = resize_batch(whole, 64)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(decode_to_size(data, 64, channels, None), want)
    monkeypatch.setattr(resize, "STRIP", 4096)
    assert np.array_equal(decode_to_size(data, 64, channels, None), want)


PEAK = """
import os, sys
os.sched_getaffinity = lambda pid: set(range(8))
from pathlib import Path
from hwcls.data.decoding import decode, memory, opened
from hwcls.data.formats.archive import FolderTree
from hwcls.data.formats.raw import EncodedImages

opened.DECODED.total = int(sys.argv[2])
tree = FolderTree(Path(sys.argv[1]))
decode.CHUNK = 1  # each image is a task of its own

def peak():  # kB of this program; ru_maxrss would count what the parent had when it forked
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak()
for _ in decode.run_tasks(iter(list(decode.decode_tasks(EncodedImages(tree, tree.names), 32, 3)))):
    pass
print((peak() - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak of one program")
def test_eight_threads_take_the_memory_of_one(tmp_path: Path) -> None:
    for i in range(8):
        Image.new("RGBA", (4000, 4000), (i, 90, 30, 200)).save(tmp_path / f"{i}.png", compress_level=1)  # 64 MB each
    took = [int(subprocess.check_output([sys.executable, "-c", PEAK, tmp_path, str(total)])) for total in (MB, 1 << 40)]
    assert took[0] < 200, took  # one image and a copy of it
    assert took[1] > 2 * took[0], took  # without the budget


def test_few_large_pictures_are_decoded_at_once() -> None:
    assert (chunk_size(28, 1), chunk_size(64, 3), chunk_size(1024, 3)) == (256, 256, 5)
