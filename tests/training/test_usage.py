"""The share of a trial's time in which no step runs, and how often an epoch waits for the device."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.training import checkpoint, local, snapshot
from hwcls.training.build import build_trainer
from hwcls.training.cost import trial_cost
from hwcls.training.distributed import World
from hwcls.training.usage import Usage

CPU = World(device=torch.device("cpu"))


@pytest.fixture
def clock(monkeypatch):
    """Time that passes where a test says so."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(time, "perf_counter", lambda: now.seconds)

    def wait(seconds):
        now.seconds += seconds

    return wait


def test_idle_is_what_no_step_takes(clock):
    usage = Usage(torch.device("cpu"))
    assert usage.idle_share is None
    clock(1000)  # building
    for between, train, score in ((0, 6, 2), (3, 4, 1)):
        clock(between)  # a checkpoint
        usage.begin_epoch()
        clock(1)  # the plan
        with usage.training():
            clock(train)
        with usage.steps():
            clock(score)
        clock(1)
        assert (usage.seconds(0), usage.seconds(1)) == (train, score)
        usage.end_epoch()
    assert (usage.wall, usage.idle) == (20, 7)
    assert usage.idle_share == 0.35
    resumed = Usage(torch.device("cpu"))
    resumed.load_state(usage.state())
    clock(500)  # until the restart
    resumed.begin_epoch()
    with resumed.training():
        clock(12)
    clock(8)
    resumed.end_epoch()
    assert (resumed.wall, resumed.idle) == (40, 15)


def test_a_checkpoint_of_an_earlier_version_has_the_time_of_an_image_or_nothing():
    usage = Usage(torch.device("cpu"))
    usage.load_state({"inference": 0.5})
    assert (usage.inference, usage.memory, usage.idle_share) == (0.5, 0, None)
    usage.load_state({})
    assert usage.inference == float("inf")


def test_a_gpu_is_timed_by_its_own_clock_and_its_memory_is_that_of_training(monkeypatch, clock):
    """Steps are only queued: the host is done with them at once."""
    device, now, memory = torch.device("cuda", 0), SimpleNamespace(ms=0.0), SimpleNamespace(peak=0)

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = now.ms

        def elapsed_time(self, other):
            return other.at - self.at

    def allocate(size):
        memory.peak = max(memory.peak, size)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: memory.peak)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: setattr(memory, "peak", 0))
    usage = Usage(device)
    for most in (10, 20):  # in the second epoch with a snapshot
        usage.begin_epoch()
        with usage.training():
            now.ms += 3000
            allocate(most)
        with usage.steps():
            now.ms += 1000
            allocate(500)
        clock(5.0)  # the device has got as far
        usage.end_epoch()
    assert usage.idle_share == pytest.approx(0.2)
    assert usage.memory == 10
    resumed = Usage(device)
    resumed.load_state(usage.state())
    with resumed.training():
        allocate(30)
    assert resumed.memory == 10


def test_a_trial_whose_checkpoints_are_slow_shows_it_over_a_resume(trial, tmp_path, monkeypatch):
    """Only what the loop waits for counts."""
    take, slow = snapshot.take_snapshot, 0.2
    monkeypatch.setattr(local, "SAVE_EVERY", 0.0)
    local.train(trial(epochs=3), tmp_path / "fast", lambda line: None)
    monkeypatch.setattr(
        "hwcls.training.checkpoint_writer.take_snapshot",
        lambda *given, **more: time.sleep(slow) or take(*given, **more),
    )
    local.train(trial(epochs=3), tmp_path / "slow", lambda line: None)
    found = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("fast", "slow")]
    fast, slowed = (one["cost"]["idle_share"] for one in found)
    assert 0 <= fast < slowed <= 1
    wall = 2 * slow + found[1]["seconds"]
    assert slowed >= 0.9 * 2 * slow / wall  # two checkpoints, and what else is idle


def test_the_share_goes_on_after_a_resume(trial, tmp_path):
    config = trial(epochs=3)
    half = build_trainer(config, open_data(config.data), CPU)
    next(half.epochs())
    half.usage.idle, half.usage.wall = 30.0, 40.0
    checkpoint.write(snapshot.take_snapshot(half), tmp_path)
    resumed = build_trainer(config, half.data, CPU)
    checkpoint.load(resumed, tmp_path)
    assert trial_cost(resumed)["idle_share"] == 0.75
    for _ in resumed.epochs():
        assert 0.5 < trial_cost(resumed)["idle_share"] < 0.751
    assert resumed.usage.wall > 40


def test_an_epoch_reads_the_device_once_and_twice_with_a_new_best(trial, monkeypatch):
    config = trial(epochs=8, optimizer={"name": "sgd", "lr": 0.3})
    trainer = build_trainer(config, open_data(config.data), CPU)
    epochs, reads, best = trainer.epochs(), [], []
    next(epochs)
    with monkeypatch.context() as patch:
        for name in ("cpu", "item", "tolist", "__bool__", "__float__", "__int__"):
            read = getattr(torch.Tensor, name)
            patch.setattr(torch.Tensor, name, lambda tensor, *, _read=read: reads.append(tensor) or _read(tensor))
        for record in epochs:
            best.append(1 + (trainer.history.best["epoch"] == record.epoch))
            assert len(reads) == best[-1]
            reads.clear()
    assert set(best) == {1, 2}
