"""`hwcls train`'s loop: memory that runs out during training, and folders that are not its own."""

import json
from functools import partial

import pytest
import torch

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.inspection.load_trained import load_trained
from hwcls.tracking.folders import TrialFolder
from hwcls.training import checkpoint, gpu, local
from hwcls.training.build import build_trainer
from hwcls.training.snapshot import take_snapshot
from hwcls.training.trainer import Trainer
from tests.trials import OUT_OF_MEMORY


def config(tmp_path, most, workers=1):
    (tmp_path / "mine.py").write_text(OUT_OF_MEMORY)
    return TrialConfig.from_dict(
        {
            "data": {"name": "digits", "batch_size": 64, "per_class": 25},
            "model": {"name": f"{tmp_path}/mine.py:build", "most": most},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "epochs": 4,
            "workers": workers,
        }
    )


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_resumes_with_smaller_micro_batches(tmp_path, monkeypatch, workers):
    """From the checkpoint, not from the start, and with the numbers of one worker that has memory enough."""
    monkeypatch.setattr(local, "SAVE_EVERY", 0.0)
    ample = local.train(config(tmp_path, 64), tmp_path / "ample", lambda line: None)
    reported, begun = tmp_path / "reported", []
    run_epoch = Trainer._run_epoch
    monkeypatch.setattr(Trainer, "_run_epoch", lambda self, epoch: begun.append(epoch) or run_epoch(self, epoch))
    scarce = local.train(config(tmp_path, 9, workers), tmp_path / "scarce", partial(_write_epoch, reported))
    assert ample.status == scarce.status == "complete"
    assert (ample.micro_batch, scarce.micro_batch) == (64, 8)
    assert reported.read_text() == "1234"
    assert begun == ([1, 2, 2, 2, 2, 3, 4] if workers == 1 else [])  # in this process
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("ample", "scarce")
    ]
    assert [line["val/loss"] for line in lines[0]] == pytest.approx([line["val/loss"] for line in lines[1]], rel=1e-5)


LAZY = """
from torch import nn

def build(classes, **settings):
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))
"""


def test_a_model_with_lazy_layers_is_trained_resumed_and_loaded(trial, tmp_path):
    (tmp_path / "mine.py").write_text(LAZY)
    lazy = trial(model={"name": f"{tmp_path}/mine.py:build"}, epochs=2)
    assert local.train(lazy, tmp_path / "trial", lambda line: None).status == "complete"
    data = open_data(lazy.data)
    whole, resumed = build_trainer(lazy, data), build_trainer(lazy, data)
    epochs = whole.epochs()
    next(epochs)
    checkpoint.replace(take_snapshot(whole), tmp_path / "state")
    checkpoint.load(resumed, tmp_path / "state")
    next(epochs), next(resumed.epochs())
    losses = [trainer.history.records[-1]["val/loss"] for trainer in (whole, resumed)]
    assert losses == [TrialFolder(tmp_path / "trial").records()[-1]["val/loss"]] * 2
    kept = load_trained(tmp_path / "trial").model.state_dict()
    assert all(torch.equal(kept[name], weight) for name, weight in whole.history.best_weights.items())


def test_records_are_those_of_the_weights(trial, tmp_path, monkeypatch):
    """Memory runs out in the last epoch with nothing saved: smaller micro-batches, with BatchNorm other numbers."""
    train_epoch, write, ended = Trainer.train_epoch, checkpoint.write_outputs, []

    def scarce(self, epoch):
        if epoch == 3 and self.micro_batch == 64:
            raise torch.OutOfMemoryError("CUDA out of memory, injected")
        return train_epoch(self, epoch)

    monkeypatch.setattr(Trainer, "train_epoch", scarce)
    monkeypatch.setattr(
        checkpoint, "write_outputs", lambda trainer, path: ended.append(trainer) or write(trainer, path)
    )
    reported = []
    result = local.train(trial(epochs=3, metric="val/loss"), tmp_path, reported.append)
    (trainer,) = ended
    assert result.micro_batch == 32
    assert [line["epoch"] for line in reported] == [1, 2, 3]
    assert reported[0]["val/loss"] != trainer.history.records[0]["val/loss"]
    assert trainer.history.records == TrialFolder(tmp_path).records()
    assert result.best == trainer.history.best
    assert result.seconds == pytest.approx(sum(line["seconds"] for line in trainer.history.records), abs=1e-3)


def _write_epoch(path, line):
    with open(path, "a") as file:
        file.write(str(line["epoch"]))


def test_not_a_single_image_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "train_epoch", lambda self, epoch: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(UserError, match="does not fit into memory with a single image — use a smaller model"):
        local.train(config(tmp_path, 0), tmp_path / "trial", lambda line: None)


@pytest.mark.parametrize("taken", ["metrics.jsonl", "result.json", "best.safetensors", "predictions.npz"])
def test_a_folder_with_files_of_others_is_left_as_it_is(trial, tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(UserError, match=f"holds no trial, but files that would be overwritten: {taken}"):
        local.train(trial(), tmp_path, lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_a_driver_that_torch_cannot_use_is_refused_before_anything_is_written(trial, tmp_path, monkeypatch):
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpu, "NVIDIA_DRIVER", str(tmp_path / "nvidiactl"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError, match='or set CUDA_VISIBLE_DEVICES="" to train on CPUs'):
        local.train(trial(), tmp_path / "trial", lambda line: None)
    assert not (tmp_path / "trial").exists()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.train(trial(epochs=1), tmp_path / "trial", lambda line: None).status == "complete"
