"""Parameters, FLOPs and signatures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwcls import models
from hwcls.config.model import HeadConfig, PretrainConfig
from hwcls.models.alexnet import AlexNetConfig
from hwcls.models.mlp import MlpConfig
from hwcls.models.simple_cnn import SimpleCnnConfig
from hwcls.models.summary import (
    RECURRENT,
    compute_identity,
    compute_signature,
    count_activation_bytes,
    count_flops,
    summarise_model,
)
from hwcls.models.timm import TimmConfig
from hwcls.models.user_model import UserModelConfig


def of(config: Any) -> Any:
    return summarise_model(config, classes=10, channels=1, image_size=28)


def test_flops_by_hand() -> None:
    summary = of(MlpConfig(width=20, depth=2))
    assert summary.flops == 2 * (784 * 20 + 20 * 20 + 20 * 10)
    assert summary.parameters == summary.trainable == 784 * 20 + 20 + 20 * 20 + 20 + 20 * 10 + 10
    convolutions = 2 * (28**2 * 9 * 4 + 14**2 * 9 * 4 * 8)
    assert of(SimpleCnnConfig(width=4)).flops == convolutions + 2 * 7 * 7 * 8 * 10


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 4, 4)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256, batch_first=True), 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens: torch.Tensor = self.encoder(self.patches(x).flatten(2).transpose(1, 2))  # (B, 16, 64)
        return tokens


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(48, 64, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.rows(x.flatten(1).view(len(x), 16, 48))[0]  # (B, 16, 64)
        return states


class CalledRows(nn.Module):
    """Rows in both directions and two layers by a module, or by torch's own function as a user's code may call it."""

    def __init__(self, by_function: bool) -> None:
        super().__init__()
        self.rows = nn.LSTM(48, 64, 2, bidirectional=True, batch_first=True)
        self.weights = None if not by_function else nn.ParameterList(self.rows.parameters())
        if by_function:
            del self.rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(1).view(len(x), 16, 48)
        if self.weights is None:
            return self.rows(rows)[0]  # type: ignore[no-any-return]
        start = rows.new_zeros(4, len(rows), 64)
        found = torch.lstm(rows, (start, start), list(self.weights), True, 2, 0.0, False, True, True)  # type: ignore[call-overload]
        return found[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("by_function", [False, True])
def test_recurrent_layers_count_however_they_are_called(by_function: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = 2 * 16 * 2 * 4 * 64 * ((48 + 64) + (128 + 64))
    assert count_flops(CalledRows(by_function), 3, 16) == expected
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)  # by parts
    assert count_flops(CalledRows(by_function), 3, 16) == expected


def test_recurrent_layers_of_a_gpu_are_counted_by_their_weights() -> None:
    module = nn.LSTM(48, 64, 2, bidirectional=True, proj_size=8)
    first, second = 4 * 64 * (48 + 8) + 8 * 64, 4 * 64 * (16 + 8) + 8 * 64
    found = RECURRENT["_cudnn_rnn"](torch.zeros(16, 1, 48), list(module.parameters()), 5, None, torch.zeros(4, 1, 8))
    assert found == 2 * 16 * 2 * (first + second)


def test_what_torch_computes_in_one_operation_is_counted() -> None:
    """Attention of nn.TransformerEncoder in evaluation mode, and recurrent layers of oneDNN."""
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    layer = 2 * 16 * (4 * 64 * 64 + 2 * 64 * 256) + 2 * 2 * 16 * 16 * 64  # projections and MLP; the two products
    assert count_flops(Attention(), 3, 16) == 4 * layer + 2 * 16 * 64 * 48
    assert count_flops(Rows(), 3, 16) == 2 * 16 * 4 * 64 * (48 + 64)
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(3), nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"no images of {self.norm(x + 1).shape}")


def test_a_model_that_fails_is_left_as_it_was() -> None:
    model = Broken()
    for training, measure in ((True, count_flops), (False, count_activation_bytes)):
        model.train(training)
        with pytest.raises(RuntimeError, match="no images"):
            measure(model, 3, 8)
        assert model.training == training
        assert torch.equal(model.norm.running_mean, torch.zeros(3))


def test_activations_by_hand() -> None:
    first = 4 * 28**2 * 4 + 4 * 14**2 * (
        8 + 4 + 4
    )  # convolution; which pixel was largest, pooled, norm and ReLU in place
    second = 8 * 14**2 * 4 + 8 * 7**2 * (8 + 4 + 4)
    statistics = 2 * (4 + 8) * 4 // 2  # mean and deviation of a batch of two
    assert of(SimpleCnnConfig(width=4)).activations == first + second + statistics
    assert of(MlpConfig(width=20, depth=2)).activations == 2 * 20 * 4
    frozen = of(TimmConfig(backbone="test_efficientnet", frozen=True, head=HeadConfig(depth=2, width=8)))
    features = models.build_skeleton(
        TimmConfig(backbone="test_efficientnet"), classes=2, channels=1, image_size=28
    ).head[0]
    assert frozen.activations == (features.in_features + 8) * 4


def test_a_summary_has_the_shape_and_the_field() -> None:
    summary = of(SimpleCnnConfig(width=4))
    assert (summary.output, summary.receptive_field) == ((10,), 10)
    assert [layer.kind for layer in summary.layers][:4] == ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    assert sum(layer.parameters for layer in summary.layers) == summary.parameters


def test_counting_does_not_change_a_model() -> None:
    model = models.build(SimpleCnnConfig(width=4), classes=10, channels=1, image_size=8).eval()
    before, generator = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    assert count_activation_bytes(model, 1, 8) > 0
    assert not model.training
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_resnet18_is_as_published() -> None:
    resnet = TimmConfig(backbone="resnet18")
    summary = summarise_model(resnet, classes=1000, channels=3, image_size=224)
    assert summary.parameters == 11_689_512
    assert summary.flops == pytest.approx(2 * 1.814e9, rel=0.01)  # arXiv 1512.03385, table 1: 1.8e9 multiply-adds


def test_a_frozen_encoder_counts_as_not_trained() -> None:
    frozen, tuned = (of(AlexNetConfig(width=8, pretrain=PretrainConfig(frozen=frozen))) for frozen in (True, False))
    assert frozen.parameters == tuned.parameters == tuned.trainable
    assert frozen.trainable < tuned.trainable
    assert frozen.signature != tuned.signature


def test_equal_models_share_a_signature() -> None:
    assert of(SimpleCnnConfig(label="a")).signature == of(SimpleCnnConfig(label="b")).signature
    real = models.build(SimpleCnnConfig(), classes=10, channels=1, image_size=28)
    assert compute_signature(real, (1, 28)) == of(SimpleCnnConfig()).signature, "weights and device have no part in it"
    one = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    other = nn.Sequential()
    other.first, other.second = nn.Linear(2, 3), nn.ReLU()
    assert compute_signature(one) == compute_signature(other)


def test_different_models_do_not_share_a_signature() -> None:
    configs = [
        SimpleCnnConfig(),
        SimpleCnnConfig(width=16),
        SimpleCnnConfig(depth=3),
        SimpleCnnConfig(norm="none"),
        SimpleCnnConfig(head=HeadConfig(depth=2)),
        SimpleCnnConfig(head=HeadConfig(depth=2, dropout=0.5)),
        SimpleCnnConfig(head=HeadConfig(depth=2, dropout=0.4)),
        SimpleCnnConfig(head=HeadConfig(depth=2, activation="gelu")),
        MlpConfig(),
    ]
    assert len({of(config).signature for config in configs}) == len(configs)
    strides = [nn.Conv2d(3, 3, 3, stride=stride) for stride in (1, 2)]
    assert compute_signature(strides[0]) != compute_signature(strides[1])
    nested = nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU())
    flat = nn.Sequential(nn.Sequential(nn.ReLU(), nn.ReLU()))
    assert compute_signature(nested) != compute_signature(flat)


def test_flops_do_not_change_the_model() -> None:
    model = models.build(SimpleCnnConfig(width=4), classes=10, channels=1, image_size=8).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert count_flops(model, 1, 8) > 0
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


USER = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, size, act, p, wide):
        super().__init__()
        self.one, self.two, self.out = nn.Linear(size, size), nn.Linear(size, size), nn.Linear(size, classes)
        self.act, self.p, self.wide = act, p, wide

    def forward(self, x):
        x = x.flatten(1)
        y = getattr(torch, self.act)(self.one(x))
        y = self.two(y) + (x if self.wide else y)
        return self.out(nn.functional.dropout(y, self.p, self.training))

def build(classes, channels, image_size, act="relu", p=0.5, wide=False, unused=0):
    return Net(classes, channels * image_size**2, act, p, wide)
"""


def test_the_operations_of_a_user_model_are_part_of_its_identity(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(USER)

    def named(**settings: object) -> str:
        config = UserModelConfig.model_validate({"name": f"{tmp_path}/net.py:build", **settings})
        return compute_identity(config, classes=3, channels=1, image_size=4)

    different = [named(), named(act="tanh"), named(p=0.1), named(wide=True)]
    assert len(set(different)) == 4
    assert named(unused=1) == named()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the peak of one program")
def test_a_model_is_inspected_without_the_compiler_and_without_its_weights() -> None:
    """Loading it takes seconds, for which the first start of every sweep would wait."""
    code = """
import sys
from pathlib import Path
from hwcls.models.mlp import MlpConfig
from hwcls.models.summary import compute_identity
compute_identity(MlpConfig(), classes=10, channels=1, image_size=28)

def peak():  # kB of this program; ru_maxrss would count what the parent had when it forked
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak()
compute_identity(MlpConfig(width=8192, depth=3), classes=10, channels=1, image_size=28)  # 0.5 GB
taken = (peak() - before) / 2**20
print("torch._dynamo" in sys.modules, taken < 0.15)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
