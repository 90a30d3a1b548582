"""Data larger than the memory that a process may take: nothing holds a complete split."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

LIMIT, SIDE, PHOTOS = 150 << 20, 512, 420  # bytes; 420 photos of this side take 330 MB

WORK = """
import resource, sys
from pathlib import Path
import torch
from hwcls.config.data import DataConfig
from hwcls.data.cuts.index import find_copies
from hwcls.data.imageset import open_data
from hwcls.data.loader import Feed
from hwcls.data.store import open_pixel_store
from hwcls.data.transfer import pixels

def used():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))

torch.set_num_threads(1)
limit, side = int(sys.argv[2]), int(sys.argv[3])

def work(folder):
    config = DataConfig(name="imagefolder", path=folder, image_size=side, batch_size=2,
                        augment={"hflip": True, "mixup": 0.2})
    data = open_data(config)
    for on_host in (("cpu",), ()):
        pixels.ON_HOST = on_host
        pixels.Pixels._known.clear()
        feed = Feed(data, config, seed=0, device=torch.device("cpu"))
        seen = sum(len(batch.labels) for step in feed.train(1) for batch in step.parts)
        assert seen == len(data.train), seen
        assert sum(len(batch.labels) for batch in feed.evaluate("val", 2)) == len(data.val)
    store = open_pixel_store(config)
    assert store.verify() == []
    store.find_duplicates()
    find_copies(config)
    return data.decoded_bytes

work(sys.argv[1] + "/few")  # loads what is needed for any number of images
resource.setrlimit(resource.RLIMIT_DATA, (used() + limit, used() + limit))
size = work(sys.argv[1] + "/many")
assert size > 2 * limit, size
try:
    torch.empty(size, dtype=torch.uint8).fill_(1)
except RuntimeError:
    pass
else:
    raise SystemExit("the limit does not hold")
print(size)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that a process writes to")
def test_photos_of_twice_the_memory_are_decoded_and_trained_on(make: SimpleNamespace, tmp_path: Path) -> None:
    for folder, count in (("few", 8), ("many", PHOTOS)):
        files = {f"{'ab'[i % 2]}/{i}.jpg": make.jpeg(make.noise(i, 48, 64, 3)) for i in range(count)}
        make.write_files(tmp_path / folder, files)
    command = [sys.executable, "-c", WORK, str(tmp_path), str(LIMIT), str(SIDE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) == PHOTOS * SIDE * SIDE * 3
