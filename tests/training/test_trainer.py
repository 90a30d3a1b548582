import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.training import checkpoint, distributed
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.errors import NotFiniteError
from hwcls.training.evaluation import train_sample_size
from hwcls.training.launch import launch
from hwcls.training.snapshot import take_snapshot
from hwcls.training.step import optim

CPU = World(device=torch.device("cpu"))


def train(config, epochs=None, **options):
    trainer = build_trainer(config, open_data(config.data), CPU, **options)
    records = []
    for record in trainer.epochs():
        records.append(record)
        if epochs == record.epoch:
            break
    return trainer, records


def numbers(records):
    return [(r.epoch, dict(r.metrics), r.lr) for r in records]


def test_records_are_complete_and_the_model_learns(trial):
    trainer, records = train(trial(epochs=6, data__per_class=None))
    assert [r.epoch for r in records] == [1, 2, 3, 4, 5, 6]
    line = records[-1].to_dict()
    keys = "epoch train/loss train/accuracy val/loss val/accuracy val/macro_f1 lr seconds images_per_second"
    assert list(line) == keys.split()
    assert line["val/accuracy"] > 0.9
    assert records[-1].metrics["train/loss"] < records[0].metrics["train/loss"] / 3
    best = max(range(6), key=lambda i: records[i].metrics["val/accuracy"])
    assert trainer.history.best == {"epoch": best + 1, "val/accuracy": records[best].metrics["val/accuracy"]}


def test_same_seed_same_numbers_independent_of_earlier_runs(trial):
    _, first = train(trial())
    train(trial(seed=5, model__width=12, epochs=1))
    torch.rand(7)
    _, second = train(trial())
    assert numbers(first) == numbers(second)
    assert numbers(first) != numbers(train(trial(seed=1))[1])


DRAWS = """
import random

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
np.random.seed(0)
random.seed(0)
SCALE = 1 + torch.rand(())


class Net(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.layer = nn.Linear(features, classes)
        with torch.no_grad():
            self.layer.weight.mul_(SCALE).add_(torch.from_numpy(np.random.normal(0, 0.1, (classes, features))))

    def forward(self, x):
        noise = 1 + 0.1 * random.random() if self.training else 1
        return noise * self.layer(x.flatten(1))


def build(classes, channels, image_size):
    return Net(channels * image_size**2, classes)
"""


def test_same_seed_same_numbers_of_a_model_that_draws_from_every_generator(trial, tmp_path):
    """The first trial runs the file, the others of its process do not."""
    (tmp_path / "draws.py").write_text(DRAWS)
    config = trial(model={"name": f"{tmp_path / 'draws.py'}:build"}, epochs=2)
    first, again, other = (numbers(train(one)[1]) for one in (config, config, config.model_copy(update={"seed": 1})))
    assert first == again != other


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}, "scheduler": {"name": "cosine", "warmup": 1}},
        {"data__augment": {"crop": 1, "mixup": 0.5}, "clip": 0.5, "label_smoothing": 0.1},
    ],
    ids=["sgd-plateau", "adamw-cosine", "mixup-clip"],
)
def test_resumed_equals_uninterrupted_to_the_bit(trial, tmp_path, changes):
    config = trial(**changes)
    uninterrupted, expected = train(config)
    half, before = train(config, epochs=2)
    checkpoint.write(take_snapshot(half), tmp_path)
    resumed = build_trainer(config, open_data(config.data), CPU)
    torch.rand(3)
    checkpoint.load(resumed, tmp_path)
    after = list(resumed.epochs())
    assert numbers(before + after) == numbers(expected)
    for key, tensor in uninterrupted.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[key]), key
    assert resumed.history.best == uninterrupted.history.best
    assert np.array_equal(resumed.history.best_scores, uninterrupted.history.best_scores)
    assert resumed.history.confusions.keys() == uninterrupted.history.confusions.keys()


EMBEDDED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.pos_embed, self.head = nn.Parameter(torch.ones(1, 64)), nn.Linear(64, classes)

    def forward(self, x):
        return self.head(x.flatten(1) + self.pos_embed)

def build(classes, **settings):
    return Net(classes)
"""


def test_an_earlier_version_that_decayed_position_embeddings_is_resumed(trial, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(EMBEDDED)
    optimizer = {"name": "adamw", "lr": 0.01, "weight_decay": 0.5}
    config = trial(model={"name": f"{tmp_path}/mine.py:build"}, optimizer=optimizer)
    with monkeypatch.context() as earlier:
        earlier.setattr(optim, "EMBEDDING", re.compile("none"))
        _, expected = train(config)
        half, before = train(config, epochs=2)
    checkpoint.replace(take_snapshot(half), tmp_path / "state")
    resumed = build_trainer(config, open_data(config.data), CPU)
    checkpoint.load(resumed, tmp_path / "state")
    assert numbers(before + list(resumed.epochs())) == numbers(expected) != numbers(train(config)[1])


@pytest.mark.parametrize("changes", [{"data__augment": {"crop": 1, "mixup": 0.5}}, {"norm_batch": 16}])
def test_plans_that_are_drawn_ahead_change_no_number(trial, changes):
    ahead, records = train(trial(**changes))
    alone = build_trainer(ahead.config, ahead.data, CPU)
    feed = getattr(alone.feed, "groups", alone.feed)
    feed.draw_ahead(0)
    assert numbers(records) == numbers(alone.epochs())


def test_a_truncated_checkpoint_is_a_user_error_and_changes_nothing(trial, tmp_path):
    trainer, _ = train(trial(), epochs=1)
    checkpoint.write(take_snapshot(trainer), tmp_path)
    path = tmp_path / checkpoint.STATE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load(trainer, tmp_path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in trainer.model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__width": 12}, r"is \(8, 1, 3, 3\) in the file, \(12, 1, 3, 3\)"),
        ({"model__norm": "none"}, r"(the model has no|is missing)"),
    ],
)
def test_a_checkpoint_of_another_model_is_a_user_error_and_changes_nothing(trial, tmp_path, changes, message):
    trainer, _ = train(trial(data__per_class=10), epochs=1)
    checkpoint.write(take_snapshot(trainer), tmp_path)
    config = trial(data__per_class=10, **changes)
    other = build_trainer(config, trainer.data, CPU)
    before = {key: tensor.clone() for key, tensor in other.model.state_dict().items()}
    with pytest.raises(UserError, match=f"the checkpoint is of another model: .*{message}"):
        checkpoint.load(other, tmp_path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in other.model.state_dict().items())


def test_a_resumed_trial_uses_no_more_than_the_memory_of_now(trial, tmp_path):
    trainer, _ = train(trial(), epochs=1, micro_batch=32)
    checkpoint.write(take_snapshot(trainer), tmp_path)
    found = {}
    for most in (8, 32, None):
        resumed = build_trainer(trainer.config, trainer.data, CPU)
        resumed.micro_batch = most or resumed.micro_batch  # as fitted on a GPU
        checkpoint.load(resumed, tmp_path)
        found[most] = resumed.micro_batch
    assert found == {8: 8, 32: 32, None: 32}


def test_outputs_can_be_read_without_hwcls(trial, tmp_path):
    trainer, records = train(trial(epochs=5))
    checkpoint.write_outputs(trainer, tmp_path)
    val = trainer.data.val
    stored = np.load(tmp_path / "predictions.npz")
    accuracy = (stored["scores"].argmax(1) == stored["labels"]).mean()
    assert accuracy == pytest.approx(trainer.history.best["val/accuracy"])
    assert np.array_equal(stored["labels"], val.labels)
    last = np.load(tmp_path / "confusion" / "5.npz")
    matrix = np.zeros((10, 10), int)
    matrix[last["row"], last["col"]] = last["count"]
    assert matrix.trace() / matrix.sum() == pytest.approx(records[-1].metrics["val/accuracy"])
    assert matrix.sum() == len(val)
    assert {1, 5, trainer.history.best["epoch"]} <= {int(path.stem) for path in tmp_path.glob("confusion/*.npz")}
    weights = load_file(tmp_path / "best.safetensors")
    assert weights.keys() == trainer.model.state_dict().keys()


def test_a_loss_that_is_not_finite_names_epoch_step_and_rate(trial):
    config = trial(optimizer__lr=1e30, model__norm="none")
    with pytest.raises(NotFiniteError, match=r"epoch 1, step \d+, learning rate 1e\+30"):
        list(build_trainer(config, open_data(config.data), CPU).epochs())


def test_the_rate_named_is_that_of_the_step(trial):
    """In a warm-up of two epochs of 6 steps, a rate of 1e30 * (step - 1) / 12 breaks the loss in the second step."""
    config = trial(optimizer__lr=1e30, model__norm="none", scheduler={"name": "constant", "warmup": 2})
    trainer = build_trainer(config, open_data(config.data), CPU)
    with pytest.raises(NotFiniteError) as caught:
        list(trainer.epochs())
    step = int(re.search(r"epoch 1, step (\d+)", str(caught.value))[1])
    assert 1 < step <= trainer.feed.steps
    assert f"learning rate {trainer.schedule.at(1, (step - 1) / trainer.feed.steps):g}" in str(caught.value)


def test_weights_broken_by_the_very_last_step_are_detected(trial):
    config = trial(optimizer__lr=1e30, model__norm="none", data__batch_size=4096, epochs=1)
    with pytest.raises(NotFiniteError, match=r"not finite after epoch 1, on val, learning rate 1e\+30"):
        list(build_trainer(config, open_data(config.data), CPU).epochs())


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("val/accuracy", [0.5, 0.6, 0.6, 0.7, 0.1], [1.0, 1.0, 1.0, 0.5, 0.5]),
        ("val/loss", [0.5, 0.6, 0.4, 0.4, 0.3], [1.0, 1.0, 0.5, 0.5, 0.25]),
    ],
)
def test_the_plateau_follows_the_trials_metric(trial, monkeypatch, metric, values, expected):
    """Epoch by epoch, through the trainer: `lr` in a record is the rate of that epoch."""
    config = trial(metric=metric, epochs=5, optimizer__lr=1.0, model__norm="none", data__per_class=10)
    config = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"momentum": 0.0})})
    trainer = build_trainer(config, open_data(config.data), CPU)
    after_epoch = trainer.schedule.after_epoch
    monkeypatch.setattr(trainer.schedule, "after_epoch", lambda epoch, _: after_epoch(epoch, values[epoch - 1]))
    monkeypatch.setattr(trainer, "_check_finite", lambda *args: None)
    assert [record.lr for record in trainer.epochs()] == expected


def test_train_accuracy_is_in_evaluation_mode_on_plain_images(trial):
    config = trial(model__head={"depth": 2, "width": 16, "dropout": 0.9}, data__augment={"rotate": 180.0})
    trainer, records = train(config, epochs=2)
    trainer.model.eval()
    right = total = 0
    with torch.no_grad():
        for batch in trainer.feed.evaluate("train"):
            right += int((trainer.model(batch.images).argmax(1) == batch.labels).sum())
            total += len(batch.labels)
    assert records[-1].metrics["train/accuracy"] == pytest.approx(right / total)


def test_one_device_sync_an_epoch(trial, monkeypatch):
    """On the CPU a sync is whatever reads a tensor's value: count the reads of an epoch that is not a new best."""
    trainer, _ = train(trial(), epochs=1)
    trainer.history.best = {"epoch": 1, "val/accuracy": 2.0}
    reads = []
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        original = getattr(torch.Tensor, name)

        def counted(self, *args, name=name, original=original, **kwargs):
            reads.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    next(trainer.epochs())
    assert [name for name in reads if name != "numpy"] == ["cpu"]


def _run_rank(world, config, path, dtype):
    torch.set_num_threads(1)
    trainer = build_trainer(
        config, open_data(config.data), World(world.rank, world.size, torch.device("cpu")), dtype=dtype
    )
    records = [record.to_dict() for record in trainer.epochs()]
    if world.rank == 0:
        torch.save({"model": trainer.model.state_dict(), "records": records}, path)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [64, 51], ids=["even", "ragged"])  # 51: shares of 26 and 25, at last of 3 and 0
def test_two_ranks_get_the_weights_of_one(trial, tmp_path, batch):
    """Same global batches, no BatchNorm, float64: equal to 1e-12, also when a rank's share of a batch is smaller."""
    head = {"depth": 2, "width": 16, "dropout": 0.0}
    config = trial(model__norm="none", model__head=head, data__batch_size=batch, data__augment={"crop": 1}, epochs=2)
    found = []
    for size in (1, 2):
        path = tmp_path / f"{size}.pt"
        launch(size, _run_rank, config, path, torch.float64)
        found.append(torch.load(path, weights_only=True))
    one, two = found
    for key, tensor in one["model"].items():
        assert tensor.dtype == torch.float64
        assert (tensor - two["model"][key]).abs().max() < 1e-12, key
    for a, b in zip(one["records"], two["records"], strict=True):
        for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/macro_f1"):
            assert math.isclose(a[name], b[name], rel_tol=1e-9), name


def _frozen_at_first(model, epoch):
    next(model.parameters()).requires_grad_(epoch > 1)


def _viewing_rank(world, config, path, views):
    """With gradients as views of DDP's buckets or as copies; DDP is made again where the first layer is unfrozen."""

    class Ddp(distributed.DistributedDataParallel):
        def __init__(self, *args, gradient_as_bucket_view, **more):
            assert gradient_as_bucket_view
            super().__init__(*args, gradient_as_bucket_view=views, **more)

    distributed.DistributedDataParallel = Ddp
    type(config.model).before_epoch = lambda self, model, epoch: _frozen_at_first(model, epoch)
    torch.set_num_threads(1)
    trainer = build_trainer(config, open_data(config.data), World(world.rank, world.size, torch.device("cpu")))
    trainer.micro_batch = 16
    records = [record.metrics for record in trainer.epochs()]
    if world.rank == 0:
        torch.save({"model": trainer.weights(), "values": records}, path)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"ema": 0.9, "clip": 0.5}, {"norm_batch": 16}], ids=["ema", "ghost"])
def test_gradients_as_views_change_nothing(trial, tmp_path, changes):
    """Also with several micro-batches in a step, of which the last one sums over the ranks."""
    config = trial(epochs=3, optimizer__momentum=0.0, **changes)
    found = []
    for views in (True, False):
        launch(2, _viewing_rank, config, tmp_path / str(views), views)
        found.append(torch.load(tmp_path / str(views), weights_only=False))
    assert found[0]["values"] == found[1]["values"]
    for key, tensor in found[0]["model"].items():
        assert torch.equal(tensor, found[1]["model"][key]), key


def _starved_rank(world, config, path):
    torch.set_num_threads(1)
    trainer = build_trainer(config, open_data(config.data), World(world.rank, world.size, torch.device("cpu")))
    feed = trainer.feed.train

    def starve(epoch, micro_batch):
        for step in feed(epoch, micro_batch):
            if world.rank == 1:
                step.count, step.parts = 0, iter(())
            yield step

    trainer.feed.train = starve
    records = list(trainer.epochs())
    if world.rank == 0:
        path.write_text(str(len(records)))


@pytest.mark.slow
def test_a_rank_without_images_joins_the_all_reduce(trial, tmp_path):
    config = trial(epochs=1)
    launch(2, _starved_rank, config, tmp_path / "done")
    assert (tmp_path / "done").read_text() == "1"


def test_the_settings_of_the_trial_are_used(trial, monkeypatch):
    config = trial(
        class_weights="balanced",
        label_smoothing=0.2,
        ema=0.9,
        scheduler={"name": "one_cycle"},
        epochs=2,
        data__per_class=20,
    )
    trainer = build_trainer(config, open_data(config.data), CPU)
    taken, prepare = [], trainer.ema.before_step
    monkeypatch.setattr(trainer.ema, "before_step", lambda step: taken.append(step) or prepare(step))
    list(trainer.epochs())
    assert (trainer.accumulator.loss.smoothing, trainer.accumulator.loss.weights is None) == (0.2, False)
    assert taken == list(range(2 * trainer.feed.steps))
    assert trainer.schedule.lr == pytest.approx(config.optimizer.lr * config.scheduler.end)  # ends with the last step


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [(400, 100, 400), (9_000, 1_000, 1_000), (54_000, 6_000, 6_000), (10**6, 50_000, 10_000)],
)
def test_train_accuracy_is_as_precise_as_that_on_val(train, val, expected):
    assert train_sample_size(SimpleNamespace(train=range(train), val=range(val))) == expected
