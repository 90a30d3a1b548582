import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.training import build
from hwcls.training.distributed import World
from hwcls.training.memory import (
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    retain_freed_memory,
)
from hwcls.training.step import micro_batch
from hwcls.training.step.micro_batch import fit_micro_batch

CPU = World(device=torch.device("cpu"))


def attempt_up_to(limit, tried):
    def attempt(size):
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return attempt


@pytest.mark.parametrize(("start", "limit", "expected"), [(64, 64, 64), (64, 20, 16), (50, 13, 13), (1, 1, 1)])
def test_halves_until_it_fits(start, limit, expected):
    tried = []
    assert fit_micro_batch(start, attempt_up_to(limit, tried), CPU) == expected
    assert tried[-1] == expected


@pytest.mark.parametrize(("start", "limit", "expected"), [(64, 20, 16), (48, 47, 24), (40, 13, 8), (8, 8, 8)])
def test_complete_groups(start, limit, expected):
    tried = []
    assert fit_micro_batch(start, attempt_up_to(limit, tried), CPU, unit=8) == expected
    assert all(size % 8 == 0 for size in tried)


def test_not_a_single_group():
    with pytest.raises(UserError, match="a single group of 8 images"):
        fit_micro_batch(64, attempt_up_to(7, []), CPU, unit=8)


def test_not_a_single_image():
    with pytest.raises(UserError, match="single image"):
        fit_micro_batch(8, attempt_up_to(0, []), CPU)


def test_what_an_earlier_trial_left_does_not_halve_it(monkeypatch):
    """The first attempt fails, the second one, after freeing, does not."""
    freed, tried = [], []
    monkeypatch.setattr(micro_batch, "free_memory", lambda: freed.append(len(tried)))

    def attempt(size):
        tried.append(size)
        if not freed:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert fit_micro_batch(64, attempt, CPU) == 64
    assert (tried, freed) == ([64, 64], [1])


def test_a_failure_of_another_rank_halves_it_too(monkeypatch):
    monkeypatch.setattr(World, "any", lambda self, flag: tried.count(64) and 32 not in tried)
    tried = []
    assert fit_micro_batch(64, tried.append, World(size=2, device=torch.device("cpu"))) == 32
    assert tried == [64, 64, 32]


def test_pixels_are_uploaded_before_the_micro_batch_is_chosen(trial, monkeypatch):
    """So that what is left is the model's, whether or not an earlier trial has uploaded them."""
    done = []
    monkeypatch.setattr(build, "PROBED", ("cpu",))
    feed, fit = build.Feed, build.fit_micro_batch
    monkeypatch.setattr(build, "Feed", lambda *values, **named: done.append("feed") or feed(*values, **named))
    monkeypatch.setattr(build, "fit_micro_batch", lambda *values: done.append("fit") or fit(*values))
    config = trial()
    assert build.build_trainer(config, open_data(config.data), CPU).micro_batch == 64
    assert done == ["feed", "fit"]


def test_other_errors_are_not_swallowed():
    def attempt(size):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        fit_micro_batch(8, attempt, CPU)


# in a process of its own: what a heap gives back depends on what else was allocated in it
FRESH = """
import resource, torch
from hwcls.training.memory import retain_freed_memory, return_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**22).fill_(1.0)  # 16 MiB, 4,096 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

retain_freed_memory()
for _ in range(32):  # the heap grows a few times: what aligning leaves over is joined again when a bin of 7 is full
    faults()
print(max(faults() for _ in range(8)))
before = resident()
return_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_freed_memory_stays_until_it_is_trimmed():
    """Allocating a large tensor again causes no page faults; after the trim its pages are the system's."""
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    faults, trimmed = map(float, done.stdout.split())
    assert faults < 100
    assert trimmed > 12  # MiB, of 16


def test_an_older_glibc_keeps_what_it_can(monkeypatch):
    """Before 2.35 a threshold above 32 MiB is refused."""
    kept = {}

    def mallopt(option, value):
        taken = option != M_MMAP_THRESHOLD or value <= 1 << 25
        return int(taken and kept.setdefault(option, value) > 0)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    retain_freed_memory()
    assert kept == {M_MMAP_THRESHOLD: 1 << 25, M_TRIM_THRESHOLD: 2**31 - 1}
