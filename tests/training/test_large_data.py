"""Training on data that a device has no room for, on a CPU: the code of a GPU, which copies nothing here."""

import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.data.transfer import pixels, staging
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.errors import MemoryRanOutError
from hwcls.training.step import graph

CPU = World(device=torch.device("cpu"))


@pytest.fixture
def no_room(monkeypatch):
    """From its call on, data that is opened does not fit on the device."""
    return lambda: monkeypatch.setattr(pixels, "ON_HOST", ())


def numbers(config):
    trainer = build_trainer(config, open_data(config.data), CPU, micro_batch=8)
    return [(record.epoch, dict(record.metrics)) for record in trainer.epochs()]


@pytest.mark.parametrize("changes", [{}, {"norm_batch": 8}], ids=["plain", "groups"])
def test_the_numbers_are_those_of_data_in_memory(trial, no_room, changes):
    config = trial(epochs=2, **changes)
    expected = numbers(config)
    no_room()
    assert numbers(config) == expected


def test_only_steps_on_resident_data_are_captured(trial, no_room, monkeypatch):
    monkeypatch.setattr(graph, "CAPTURED", ("cpu",))
    config = trial(epochs=1)
    assert build_trainer(config, open_data(config.data), CPU).step.graph is not None
    no_room()
    assert build_trainer(config, open_data(config.data), CPU).step.graph is None


def test_batches_that_do_not_fit_beside_the_model_become_smaller(trial, no_room, monkeypatch):
    """Not the data as a whole is halved, as it was never copied."""

    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    no_room()
    config = trial(epochs=1)
    trainer = build_trainer(config, open_data(config.data), CPU, micro_batch=8)
    monkeypatch.setattr(staging, "_new_buffer", short)
    with pytest.raises(MemoryRanOutError) as caught:
        next(trainer.epochs())
    assert caught.value.smaller == 4


def test_a_failing_disk_ends_the_training_with_its_words(trial, no_room, monkeypatch):
    def failing(self, rows, out):
        raise OSError(5, "Input/output error", "train.images.npy")

    no_room()
    config = trial(epochs=1)
    trainer = build_trainer(config, open_data(config.data), CPU)
    monkeypatch.setattr(pixels.Pixels, "_read", failing)
    with pytest.raises(OSError, match=r"Input/output error: 'train\.images\.npy'"):
        next(trainer.epochs())
