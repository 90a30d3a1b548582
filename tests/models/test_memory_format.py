"""Models in channels_last: what is moved, cast and left as it is."""

import pytest
import torch
from safetensors.torch import save
from torch import nn

from hwcls.data.imageset import open_data
from hwcls.inspection.load_trained import restore_model
from hwcls.inspection.sanity_check import overfit
from hwcls.models.memory_format import to_channels_last
from hwcls.training.build import build_trainer
from tests.trials import changed

VOLUMES = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.volume, self.image = nn.Conv3d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2)
        self.head = nn.Linear(8, classes)
        self.register_buffer("phases", torch.polar(torch.ones(8), torch.arange(8.0)))

    def forward(self, x):
        features = self.image(self.volume(x[:, None]).mean(2)).mean((2, 3))
        return self.head(features + (features * self.phases).imag)

def build(classes, channels, image_size):
    return Net(classes)
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "volumes.py").write_text(VOLUMES)
    return changed(
        {
            "data": {"name": "digits", "batch_size": 64, "per_class": 10},
            "model": {"name": f"{tmp_path / 'volumes.py'}:build"},
            "optimizer": {"name": "adam", "lr": 0.01},
            "epochs": 1,
        }
    )


def test_4d_tensors_are_laid_out_as_torch_does():
    for channels in (1, 4):
        own, torchs = nn.Conv2d(channels, 4, 1), nn.Conv2d(channels, 4, 1)
        weight = own.weight
        assert to_channels_last(own) is own
        torchs.to(memory_format=torch.channels_last)
        assert own.weight is weight
        assert weight.stride() == torchs.weight.stride()


def test_only_real_floating_point_tensors_are_cast():
    model = nn.Linear(2, 2)
    model.register_buffer("phases", torch.ones(2, dtype=torch.complex64) * 1j)
    model.register_buffer("count", torch.ones(2, dtype=torch.int64))
    to_channels_last(model, torch.device("cpu"), torch.float64)
    assert [model.weight.dtype, model.phases.dtype, model.count.dtype] == [torch.float64, torch.complex64, torch.int64]
    assert torch.equal(model.phases, torch.full((2,), 1j))


def test_complex_buffers_and_5d_weights_are_trained_and_restored_as_they_are(config):
    data = open_data(config.data)
    trainer = build_trainer(config, data)
    assert trainer.model.phases.dtype == torch.complex64
    list(trainer.epochs())
    weights = {name: value.contiguous() for name, value in trainer.model.state_dict().items()}
    restored = restore_model(config, data, save(weights), torch.device("cpu"))
    val = next(iter(trainer.feed.evaluate("val")))
    assert torch.equal(restored(val.images), trainer.model.eval()(val.images))


def test_a_model_with_5d_weights_can_learn_two_batches(config):
    assert "failed" not in overfit(config, open_data(config.data), steps=4).reason
