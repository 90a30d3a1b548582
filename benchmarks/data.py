"""Speed of decoding, opening and augmenting images, compared with the usual ways. Run by hand on real TinyImageNet.

    HWCLS_DATA=... python benchmarks/data.py [--images 4096] [--rounds 3] [--only crop+flip] [--large] [--json FILE]

--large measures what is done for data larger than a GPU or than memory alone: batches that are read in advance by a
thread against those of memory, on a CPU, where nothing is copied; and a decoding that is interrupted halfway.

Augmentation is counted in images per CPU-second (user + system, children included; one torch thread), contenders
interleaved, medians over the rounds; the first contender is the ratio's base. kornia is measured where it is installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms
from torchvision.transforms import v2

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.catalog import locate
from hwcls.data.formats.raw import EncodedImages
from hwcls.data.formats.tinyimagenet import read_tinyimagenet
from hwcls.data.imageset import ImageSet, open_data
from hwcls.data.loader import Feed
from hwcls.data.transfer import pixels

BATCH = 128
STEPS = 20  # of a trial whose memory is measured
AUGMENTS = {
    "crop+flip": AugmentConfig(crop=8, hflip=True),
    "resized crop+flip": AugmentConfig(resized_crop=0.3, hflip=True),
    "crop+flip+rotation": AugmentConfig(crop=8, hflip=True, rotate=15),
    "crop+flip+jitter": AugmentConfig(crop=8, hflip=True, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "crop+flip+trivial": AugmentConfig(crop=8, hflip=True, trivial=True),
}
AT_LEAST = 1.0  # seconds of a run


def cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Decoded(Dataset[Any]):
    """The store's pixels, one image at a time."""

    def __init__(self, data: ImageSet, change: Callable[[Any], Any]) -> None:
        self.data, self.change = data, change

    def __len__(self) -> int:
        return len(self.data.train)

    def __getitem__(self, index: int) -> Any:
        pixels = np.array(self.data.train.images[self.data.train.rows[index]])
        return self.change(pixels), int(self.data.train.labels[index])


def pil_chain(name: str, data: ImageSet, kit: Any) -> list[Any]:
    """The augmentation as torchvision has it, v1 or v2."""
    first = kit.RandomResizedCrop(64, (0.3, 1.0)) if "resized" in name else kit.RandomCrop(64, padding=8)
    more = {
        "rotation": lambda: kit.RandomRotation(15, kit.InterpolationMode.BILINEAR),
        "jitter": lambda: kit.ColorJitter(0.4, 0.4, 0.4, 0.1),
        "trivial": lambda: kit.TrivialAugmentWide(),
    }
    return [first, kit.RandomHorizontalFlip(), *(make() for word, make in more.items() if word in name)]


def kornia_batches(name: str, data: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of the decoded pixels in batches through kornia, which draws per image as well."""
    import kornia.augmentation as kit

    chain = [
        kit.RandomResizedCrop((64, 64), (0.3, 1.0)) if "resized" in name else kit.RandomCrop((64, 64), padding=8),
        kit.RandomHorizontalFlip(),
        *([kit.RandomRotation(15.0, p=1.0)] if "rotation" in name else []),
        *([kit.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0)] if "jitter" in name else []),
        kit.Normalize(torch.tensor(data.mean), torch.tensor(data.std)),
    ]
    change = torch.nn.Sequential(*chain)
    images, labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
    rows = torch.from_numpy(data.train.rows)
    for index in torch.randperm(len(rows)).split(BATCH):
        pixels = images[rows[index]].permute(0, 3, 1, 2)  # (b, C, S, S)
        yield change(pixels.to(torch.float32) / 255), labels[index]


def contenders(name: str, data: ImageSet, folder: Path) -> dict[str, Callable[[int], Any]]:
    """Each gives a fresh iterable of (images, labels) batches for the epoch of that number."""
    normal = transforms.Normalize(data.mean, data.std)
    on_pil = transforms.Compose([*pil_chain(name, data, transforms), transforms.ToTensor(), normal])
    from_array = transforms.Compose([transforms.ToPILImage(), on_pil])
    tensors = v2.Compose(
        [
            v2.ToImage(),
            *pil_chain(name, data, v2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(data.mean, data.std),
        ]
    )
    config = DataConfig(name="tinyimagenet", batch_size=BATCH, augment=AUGMENTS[name])
    feed = Feed(data, config, seed=0, device=torch.device("cpu"))

    def loader(dataset: Any) -> DataLoader[Any]:
        return DataLoader(dataset, BATCH, shuffle=True, num_workers=2)

    found: dict[str, Callable[[int], Any]] = {
        "ImageFolder + PIL + DataLoader(2)": lambda _: loader(datasets.ImageFolder(str(folder), on_pil)),
        "decoded + PIL + DataLoader(2)": lambda _: loader(Decoded(data, from_array)),
        "decoded + torchvision v2 per image + DataLoader(2)": lambda _: loader(Decoded(data, tensors)),
    }
    if "trivial" not in name and importlib.util.find_spec("kornia"):  # its TrivialAugment takes one draw per batch
        found["decoded + kornia, batched"] = lambda _: kornia_batches(name, data)
    found["hwcls"] = lambda epoch: ((b.images, b.labels) for step in feed.train(epoch) for b in step.parts)
    return found


def images_per_cpu_second(make: Callable[[int], Any], images: int) -> float:
    """One run over at least `images` and AT_LEAST seconds, start and shutdown included."""
    gc.collect()
    start, wall, seen, epoch = cpu_seconds(), time.perf_counter(), 0, 0
    while seen < images or time.perf_counter() - wall < AT_LEAST:
        epoch += 1
        batches = iter(make(epoch))
        for _, labels in batches:
            seen += len(labels)
            if seen >= images and time.perf_counter() - wall >= AT_LEAST:
                break
        del batches  # joins the workers, whose time counts from then on
    return seen / (cpu_seconds() - start)


def read_in_advance(data: ImageSet, images: int, rounds: int) -> dict[str, Any]:
    """Images per CPU-second of each augmentation, and without any: those of memory, and those that a thread reads."""
    found: dict[str, Any] = {}
    for name, augment in {"nothing": AugmentConfig(), **AUGMENTS, "mixup": AugmentConfig(mixup=0.2)}.items():
        config = DataConfig(name="tinyimagenet", batch_size=BATCH, augment=augment)
        makers = {}
        for way, on_host in {"memory": ("cpu",), "thread": ()}.items():
            pixels.ON_HOST = on_host
            pixels.Pixels._known.clear()
            feed = Feed(data, config, seed=0, device=torch.device("cpu"))
            makers[way] = pixels.Pixels._known.pop(data.train), feed
        speeds: dict[str, list[float]] = {way: [] for way in makers}
        for _ in range(rounds):
            for way, (opened, feed) in makers.items():
                pixels.Pixels._known[data.train] = opened

                def batches(epoch: int, feed: Feed = feed) -> Iterator[tuple[Tensor, Tensor]]:
                    return ((batch.images, batch.labels) for step in feed.train(epoch) for batch in step.parts)

                speeds[way].append(images_per_cpu_second(batches, images))
        medians = {way: statistics.median(runs) for way, runs in speeds.items()}
        found[name] = {**medians, "ratio": medians["thread"] / medians["memory"]}
    pixels.ON_HOST = ("cpu",)
    pixels.Pixels._known.clear()
    return found


class Halfway:
    """A reporter that interrupts a decoding once, when half of a split is done."""

    def __init__(self) -> None:
        self.interrupted = False

    def __call__(self, line: str) -> None:
        """Lines are not shown."""

    def step(self, task: str, done: int, total: int) -> None:
        """Interrupt at half of a split."""
        if not self.interrupted and 2 * done >= total:
            self.interrupted = True
            raise KeyboardInterrupt


def decode_in_two() -> dict[str, float]:
    """CPU-seconds of a decoding, and of the same one in two parts, each in an empty cache."""
    found: dict[str, float] = {}
    config = DataConfig(name="tinyimagenet")
    for way in ("whole", "resumed"):
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["HWCLS_CACHE"] = scratch
            report, start = Halfway(), cpu_seconds()
            if way == "resumed":
                try:
                    open_data(config, report)
                except KeyboardInterrupt:
                    found["until the interruption"] = cpu_seconds() - start
            open_data(config)
            found[way] = cpu_seconds() - start
    return found


def measure_large(images: int, rounds: int) -> dict[str, Any]:
    """The part of --large; prints its tables."""
    result: dict[str, Any] = {"decode_cpu_seconds": decode_in_two()}
    print("decoding, CPU-s: " + ", ".join(f"{way} {value:.1f}" for way, value in result["decode_cpu_seconds"].items()))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HWCLS_CACHE"] = scratch
        result["read_in_advance"] = read_in_advance(open_data(DataConfig(name="tinyimagenet")), images, rounds)
    print(f"\n{'images per CPU-second':24s} {'memory':>9s} {'thread':>9s} {'ratio':>6s}")
    for name, speed in result["read_in_advance"].items():
        print(f"{name:24s} {speed['memory']:9,.0f} {speed['thread']:9,.0f} {speed['ratio']:6.2f}")
    return result


def used_kb() -> tuple[int, int]:
    """KB of mapped files (this process's share) and of its own memory; inherited pages cancel out."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size) for name, size, _ in map(str.split, lines)}
    return sizes["Pss_File:"] + sizes["Pss_Shmem:"], sizes["Anonymous:"]


def trial_memory(rank: int, together: Any, mapped: Any, own: Any) -> None:
    """Take batches, read every image and record the KB used while all trials have their data open."""
    together.wait()  # all are forked
    before = used_kb()
    together.wait()
    data = open_data(DataConfig(name="tinyimagenet"))
    config = DataConfig(name="tinyimagenet", batch_size=BATCH, augment=AUGMENTS["crop+flip"])
    feed = Feed(data, config, seed=rank, device=torch.device("cpu"))
    for step in islice(feed.train(1), STEPS):
        for batch in step.parts:
            assert batch.images.isfinite().all()
    data.train.images.max()
    together.wait()  # all have their data open
    mapped[rank], own[rank] = (now - then for now, then in zip(used_kb(), before, strict=True))
    together.wait()


def memory_mb(trials: int) -> dict[str, float]:
    """MB that `trials` training processes use together: "mapped" for the shared pixels, and "own"."""
    fork = multiprocessing.get_context("fork")
    together, mapped, own = fork.Barrier(trials, timeout=300), fork.Array("q", trials), fork.Array("q", trials)
    children = [fork.Process(target=trial_memory, args=(rank, together, mapped, own)) for rank in range(trials)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise SystemExit("a trial whose memory was measured has failed")
    return {"mapped": sum(mapped) / 1024, "own": sum(own) / 1024}


def main() -> None:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4096, help="per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=AUGMENTS, action="append", help="these augmentations (repeatable)")
    parser.add_argument("--large", action="store_true", help="only what is done for data larger than memory")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.large and not importlib.util.find_spec("kornia"):
        print("without kornia, which is not installed: pip install --no-deps kornia kornia_rs")
    torch.set_num_threads(1)
    place = locate("tinyimagenet")
    if place is None:
        raise SystemExit("HWCLS_DATA has no tinyimagenet")
    if options.large:
        large = measure_large(options.images, options.rounds)
        if options.json:
            options.json.write_text(json.dumps(large, indent=2) + "\n", encoding="utf-8")
        return
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HWCLS_CACHE"] = scratch
        wall, cpu = time.perf_counter(), cpu_seconds()
        data = open_data(DataConfig(name="tinyimagenet"))
        result["cold"] = {"seconds": time.perf_counter() - wall, "cpu_seconds": cpu_seconds() - cpu}
        opens = []
        for _ in range(9):
            wall = time.perf_counter()
            open_data(DataConfig(name="tinyimagenet"))
            opens.append(time.perf_counter() - wall)
        result["warm_seconds"] = statistics.median(opens)
        result["memory_mb"] = {str(trials): memory_mb(trials) for trials in (1, 4)}
        count = len(data.train) + len(data.val) + len(data.test)
        print(f"cold: {count} images in {result['cold']['seconds']:.2f} s, {result['cold']['cpu_seconds']:.2f} CPU-s")
        print(f"warm: {1000 * result['warm_seconds']:.1f} ms")
        for trials, memory in result["memory_mb"].items():
            print(f"memory, {trials} training: {memory['mapped']:.0f} MB mapped, {memory['own']:.0f} MB their own")

        folder = Path(scratch) / "folder"
        train = read_tinyimagenet(place).splits["train"].images
        assert isinstance(train, EncodedImages)
        for name in train.names[: 2 * options.images]:
            path = folder / name.split("/")[-3] / name.split("/")[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(train.tree.read(name))
        for augment in options.only or AUGMENTS:
            makers = contenders(augment, data, folder)
            speeds: dict[str, list[float]] = {name: [] for name in makers}
            for _ in range(options.rounds):
                for name, make in makers.items():
                    speeds[name].append(images_per_cpu_second(make, options.images))
            medians = {name: statistics.median(runs) for name, runs in speeds.items()}
            base = next(iter(medians.values()))
            result[augment] = {name: {"images_per_cpu_second": m, "ratio": m / base} for name, m in medians.items()}
            print(f"\n{augment}")
            for name, speed in medians.items():
                print(f"  {name:52s} {speed:9,.0f} {speed / base:7.1f}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
