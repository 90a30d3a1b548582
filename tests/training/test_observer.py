"""An observer gets complete gradients before clipping, changes nothing, and is resumed."""

import numpy as np
import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.training import checkpoint, local
from hwcls.training.artifacts import copy_outputs
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.launch import launch
from hwcls.training.observer import Observer
from hwcls.training.snapshot import take_snapshot

CPU = World(device=torch.device("cpu"))


class Norms(Observer):
    """The gradient's norm before clipping and the best value, epoch by epoch."""

    def __init__(self):
        self.norms, self.values = [], []

    def before_clip(self, model, rank, epoch):
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        self.norms.append((epoch, torch.stack([grad.norm() for grad in grads]).norm()))

    def after_epoch(self, model, feed, record):
        self.values.append(record.metrics["val/loss"])

    def arrays(self):
        return {"epochs": np.array([e for e, _ in self.norms]), "norms": np.array([n.item() for _, n in self.norms])}

    def state(self):
        return {"norms": [list(pair) for pair in self.norms], "values": self.values}

    def load_state(self, state):
        self.norms, self.values = [tuple(pair) for pair in state["norms"]], list(state["values"])


def test_sees_every_epoch_and_changes_nothing(trial):
    config = trial(clip=1e-3, epochs=3)
    plain = build_trainer(config, open_data(config.data), CPU)
    records = list(plain.epochs())
    seen = Norms()
    watched = build_trainer(config, open_data(config.data), CPU, seen)
    assert [r.metrics for r in watched.epochs()] == [r.metrics for r in records]
    assert list(seen.arrays()["epochs"]) == [1, 2, 3]
    assert (seen.arrays()["norms"] > 1e-2).all(), "before clipping"
    assert seen.values == [r.metrics["val/loss"] for r in records]


def test_hooks_are_called_around_each_step_and_once_an_epoch(trial):
    class Calls(Observer):
        def __init__(self):
            self.calls = []

        def before_step(self):
            self.calls.append("step")

        def before_clip(self, model, rank, epoch):
            assert all(weight.grad is not None for weight in model.parameters())
            self.calls.append((rank, epoch))

        def after_step(self):
            self.calls.append("stepped")

        def after_epoch(self, model, feed, record):
            assert len(feed.data.val)
            self.calls.append(record.epoch)

    config, calls = trial(epochs=2, data__per_class=20), Calls()
    trainer = build_trainer(config, open_data(config.data), CPU, calls)
    list(trainer.epochs())
    steps = ["step", "stepped"] * (trainer.feed.steps - 1)
    assert calls.calls == [call for epoch in (1, 2) for call in (*steps, "step", (0, epoch), "stepped", epoch)]


def test_resumed_sees_what_an_uninterrupted_one_saw(trial, tmp_path):
    config = trial()
    uninterrupted = Norms()
    list(build_trainer(config, open_data(config.data), CPU, uninterrupted).epochs())
    half = build_trainer(config, open_data(config.data), CPU, Norms())
    next(half.epochs())
    checkpoint.write(take_snapshot(half), tmp_path)
    assert np.array_equal(np.load(tmp_path / "inspection.npz")["epochs"], [1])
    resumed = build_trainer(config, open_data(config.data), CPU, Norms())
    checkpoint.load(resumed, tmp_path)
    list(resumed.epochs())
    for name, value in uninterrupted.arrays().items():
        assert np.array_equal(value, resumed.observer.arrays()[name]), name


def test_arrays_are_saved_in_the_trials_folder(trial, tmp_path):
    local.train(trial(epochs=2), tmp_path / "trial", lambda line: None, Norms)
    copy_outputs(tmp_path / "trial", tmp_path / "taken")
    assert list(np.load(tmp_path / "taken" / "inspection.npz")["epochs"]) == [1, 2]


def _norms_rank(world, config, path):
    torch.set_num_threads(1)
    world, seen = World(world.rank, world.size, torch.device("cpu")), Norms()
    list(build_trainer(config, open_data(config.data), world, seen, dtype=torch.float64).epochs())
    np.save(path / f"{world.size}-{world.rank}.npy", seen.arrays()["norms"])


@pytest.mark.slow
def test_gradients_are_those_of_all_ranks_and_micro_batches(trial, tmp_path):
    config = trial(model__norm="none", model__head={"depth": 1}, data__augment={}, epochs=2)
    for size in (1, 2):
        launch(size, _norms_rank, config, tmp_path)
    one, first, second = (np.load(tmp_path / f"{name}.npy") for name in ("1-0", "2-0", "2-1"))
    assert np.allclose(one, first, rtol=1e-9, atol=0)
    assert np.array_equal(first, second)
