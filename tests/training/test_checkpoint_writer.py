"""Checkpoints that a thread writes: of the moment of the snapshot, complete or not there, with its errors."""

import errno
import io
import itertools
import json
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hwcls import files
from hwcls.data.imageset import open_data
from hwcls.training import checkpoint, local, snapshot
from hwcls.training.artifacts import copy_outputs, read_weight_names
from hwcls.training.build import build_trainer
from hwcls.training.checkpoint_writer import CheckpointWriter
from hwcls.training.distributed import World
from hwcls.training.trainer import Trainer

CPU = World(device=torch.device("cpu"))


def build(config):
    return build_trainer(config, open_data(config.data), CPU)


@pytest.fixture
def config(trial):
    return trial(optimizer={"name": "adamw", "lr": 0.01}, ema=0.9, data__augment={"mixup": 0.5})


def test_a_checkpoint_is_of_its_moment_whatever_is_trained_meanwhile(config, tmp_path):
    trainer, writer, trained = build(config), CheckpointWriter(), threading.Event()
    epochs = trainer.epochs()
    next(epochs), next(epochs)

    def write_late(taken):
        assert trained.wait(60)
        return checkpoint.replace(taken, tmp_path / "checkpoint")

    writer.begin(trainer, write_late)
    assert not writer.done
    expected = [dict(record.metrics) for record in epochs]
    trained.set()
    assert writer.wait() == tmp_path / "checkpoint"
    assert writer.wait() is None
    resumed = build(config)
    checkpoint.load(resumed, tmp_path / "checkpoint")
    assert resumed.epoch == 2
    assert [dict(record.metrics) for record in resumed.epochs()] == expected
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert np.array_equal(trainer.history.best_scores, resumed.history.best_scores)


@pytest.mark.parametrize("call", ["wait", "begin"])
def test_an_error_of_the_thread_is_raised_by_the_next_call(config, call):
    trainer, writer, wrote = build(config), CheckpointWriter(), []

    def fail(taken):
        raise OSError(errno.ENOSPC, "No space left on device", "state.pt")

    writer.begin(trainer, fail)
    with pytest.raises(OSError, match=r"No space left on device: 'state.pt'"):
        writer.wait() if call == "wait" else writer.begin(trainer, wrote.append)
    assert wrote == []
    writer.begin(trainer, fail)
    writer.settle()
    assert writer.wait() is None


def epoch_of(folder):
    return torch.load(folder / checkpoint.STATE, weights_only=True)["epoch"]


def test_an_error_in_the_middle_leaves_the_checkpoint_before(config, tmp_path, monkeypatch):
    trainer, folder = build(config), tmp_path / "checkpoint"
    epochs = trainer.epochs()
    next(epochs)
    checkpoint.replace(snapshot.take_snapshot(trainer), folder)
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    next(epochs)

    def full(state, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match="No space"):
            checkpoint.replace(snapshot.take_snapshot(trainer), folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]  # nothing half written takes up the disk
    checkpoint.replace(snapshot.take_snapshot(trainer), folder, folder)
    assert epoch_of(folder) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


class Full(io.BytesIO):
    """A file on a disk that has room for 1,000 bytes."""

    def write(self, data):
        if self.tell() + len(data) > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("name", ["best.safetensors", "state.pt"])
def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(config, tmp_path, monkeypatch, name):
    trainer, open_atomic = build(config), files.open_atomic
    next(trainer.epochs())

    @contextmanager
    def full(path, mode="wb"):
        with open_atomic(path, mode) as file:
            yield Full() if path.name == name else file

    monkeypatch.setattr(files, "open_atomic", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        checkpoint.replace(snapshot.take_snapshot(trainer), tmp_path / "checkpoint")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / f"checkpoint.tmp/{name}"))


def killed(config, folder):
    """Write the checkpoint of the second epoch and die in the middle of it."""
    trainer = build(config)
    epochs = trainer.epochs()
    next(epochs)
    checkpoint.replace(snapshot.take_snapshot(trainer), folder)
    next(epochs)

    def save(state, file):
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save
    writer = CheckpointWriter()
    writer.begin(trainer, partial(checkpoint.replace, folder=folder, before=folder))
    next(epochs)
    writer.wait()


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_the_checkpoint_before(config, tmp_path):
    process = get_context("spawn").Process(target=killed, args=(config, tmp_path / "checkpoint"))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    resumed = build(config)
    checkpoint.load(resumed, tmp_path / "checkpoint")
    assert resumed.epoch == 1
    undisturbed = [dict(record.metrics) for record in build(config).epochs()]
    assert [dict(record.metrics) for record in resumed.epochs()] == undisturbed[1:]


def test_files_of_the_best_epoch_are_written_once(config, tmp_path):
    trainer, before = build(config), None
    for epoch, best in enumerate((1, 1, 3), start=1):
        next(trainer.epochs())
        trainer.history.best |= {"epoch": best}
        folder = checkpoint.replace(snapshot.take_snapshot(trainer), tmp_path / str(epoch), before)
        before = folder

    def same(one, other, name):
        return (tmp_path / one / name).samefile(tmp_path / other / name)

    for name in ("best.safetensors", "predictions.npz"):
        assert (same("1", "2", name), same("2", "3", name)) == (True, False)
    assert not same("1", "2", checkpoint.STATE)


def test_best_weights_without_the_backbone_that_is_kept_now_are_not_linked(config, tmp_path):
    """As after `keep: none` became `keep: best` between two starts."""
    trainer = build(config)
    next(trainer.epochs())
    whole = snapshot.take_snapshot(trainer)
    head = dict(list(whole.best_weights.items())[-1:])
    first = checkpoint.replace(replace(whole, best_weights=head), tmp_path / "1")
    second = checkpoint.replace(whole, tmp_path / "2", first)
    assert read_weight_names(first / "best.safetensors") == head.keys()
    assert read_weight_names(second / "best.safetensors") == whole.best_weights.keys()


def test_a_file_system_without_links_gets_copies(config, tmp_path, monkeypatch):
    trainer = build(config)
    next(trainer.epochs())
    first = checkpoint.replace(snapshot.take_snapshot(trainer), tmp_path / "1")

    def refuse(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    second = checkpoint.replace(snapshot.take_snapshot(trainer), tmp_path / "2", first)
    copy_outputs(second, tmp_path / "trial")
    for name in ("best.safetensors", "predictions.npz", "confusion/1.npz"):
        contents = {(folder / name).read_bytes() for folder in (first, second, tmp_path / "trial")}
        assert len(contents) == 1
        assert not (first / name).samefile(second / name)


def test_outputs_are_linked_into_a_trials_folder_and_stay_when_a_checkpoint_is_replaced(config, tmp_path):
    trainer, trial = build(config), tmp_path / "trial"
    folder, contents = tmp_path / "checkpoint", []
    for _ in trainer.epochs():
        trainer.history.best |= {"epoch": trainer.epoch}
        checkpoint.replace(snapshot.take_snapshot(trainer), folder)
        if contents:
            assert (trial / "best.safetensors").read_bytes() == contents[-1]
        copy_outputs(folder, trial)
        copy_outputs(folder, trial)  # again changes nothing
        assert (trial / "best.safetensors").samefile(folder / "best.safetensors")
        contents.append((trial / "best.safetensors").read_bytes())
        kept = {path.name for path in (trial / "confusion").iterdir()}
        assert kept == {f"{epoch}.npz" for epoch in trainer.history.confusions}
        assert not list(tmp_path.rglob("*.tmp"))
    assert len(set(contents)) == len(contents)


def test_where_the_device_is_full_the_snapshot_is_copied_to_the_host(config, monkeypatch):
    trainer = build(config)
    next(trainer.epochs())

    def full(tensor):
        raise torch.OutOfMemoryError("CUDA out of memory, injected")

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "clone", full)
        found = [snapshot.take_snapshot(trainer, last=True)]
        patch.setattr(snapshot, "_has_room", lambda trainer, tensors: False)
        patch.setattr(torch.Tensor, "clone", None)  # not even tried
        found.append(snapshot.take_snapshot(trainer, last=True))
    scored = trainer.weights()
    for taken, (name, weight) in itertools.product(found, trainer.model.state_dict().items()):
        assert torch.equal(taken.state["model"][name], weight)
        assert taken.state["model"][name].data_ptr() != weight.data_ptr()
        assert torch.equal(taken.last[name], scored[name])


@pytest.mark.parametrize(
    ("left", "captured", "fits"), [(101, False, True), (100, False, False), (121, True, True), (120, True, False)]
)
def test_a_snapshot_stays_on_a_gpu_where_a_step_fits_beside_it(monkeypatch, left, captured, fits):
    """80 bytes are copied and a step takes 20, with a graph twice: training's peak is 70, what is there takes 50."""
    trainer = SimpleNamespace(
        world=SimpleNamespace(device=torch.device("cuda", 0)),
        step=SimpleNamespace(why_eager=lambda: None if captured else "norm_batch"),
        usage=SimpleNamespace(memory=70),
    )
    monkeypatch.setattr(snapshot, "available_bytes", lambda device: left)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 60)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 50)
    state = {"model": {"a": torch.zeros(10)}, "optimizer": {"state": {0: [torch.zeros(5, dtype=torch.float64)]}}}
    assert snapshot._has_room(trainer, [state, {}]) is fits


def test_the_latest_weights_are_the_averages_and_training_is_left_alone(config):
    trainer = build(config)
    next(trainer.epochs())
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    with trainer.ema.in_place():
        scored = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    taken = snapshot.take_snapshot(trainer, last=True).last
    assert taken.keys() == scored.keys()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(taken[name], scored[name])
        assert torch.equal(weight, before[name])
    assert any(not torch.equal(taken[name], before[name]) for name in before)


def test_on_a_gpu_the_copies_wait_for_the_clones_and_only_the_thread_for_the_copies(monkeypatch):
    calls = []

    class Event:
        def __init__(self, blocking=False):
            assert blocking  # who waits sleeps

        def record(self, stream):
            calls.append(("record", stream.name))

        def synchronize(self):
            calls.append(("synchronize", threading.current_thread().name))

    class Stream:
        device, name = torch.device("cuda", 0), "copies"

        def wait_event(self, event):
            calls.append(("wait", self.name))

    streams = [SimpleNamespace(name="training", device=torch.device("cuda", 0))]

    @contextmanager
    def within(stream):
        streams.append(stream)
        yield
        streams.pop()

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams[-1])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    moved = []
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda tensor, device, non_blocking=False: moved.append((device, non_blocking)) or tensor,
    )
    snapshot._copy_stream.cache_clear()
    copied = snapshot._event(torch.device("cuda", 0))
    found = snapshot.to_host({"a": [torch.ones(2)], "b": 1}, copied)
    assert (found["a"][0].tolist(), found["b"]) == ([1.0, 1.0], 1)
    assert moved == [("cpu", True)]
    me = threading.current_thread().name
    assert calls == [("record", "training"), ("wait", "copies"), ("record", "copies"), ("synchronize", me)]
    snapshot._copy_stream.cache_clear()


def test_hwcls_train_writes_while_it_trains_and_resumes_exactly_after_an_error(trial, tmp_path, monkeypatch):
    """The error comes while a checkpoint is written: it is waited for, and the trial resumes from it."""
    monkeypatch.setattr(local, "SAVE_EVERY", 0.0)
    alone = local.train(trial(), tmp_path / "alone", lambda line: None)
    train_epoch, write, training = Trainer.train_epoch, checkpoint.replace, threading.Event()

    def fail(self, epoch):
        if epoch == 3:
            training.set()
            raise ValueError("broken on purpose")
        return train_epoch(self, epoch)

    def slow(taken, folder, before):
        assert taken.epoch < 2 or training.wait(60)
        return write(taken, folder, before)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", fail)
        patch.setattr(checkpoint, "replace", slow)
        with pytest.raises(ValueError, match="on purpose"):
            local.train(trial(), tmp_path / "again", lambda line: None)
    assert epoch_of(tmp_path / "again/checkpoint") == 2
    begun = []
    monkeypatch.setattr(Trainer, "train_epoch", lambda self, epoch: begun.append(epoch) or train_epoch(self, epoch))
    again = local.train(trial(), tmp_path / "again", lambda line: None)
    assert begun == [3, 4]
    assert again.best == alone.best
    assert not (tmp_path / "again/checkpoint").exists()
    assert untimed(tmp_path / "alone") == untimed(tmp_path / "again")


def untimed(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "images_per_second")} for line in lines
    ]
