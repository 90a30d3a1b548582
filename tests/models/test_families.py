"""Tests that every family passes: shapes, gradients, determinism, dtypes, saving and loading."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from hwcls import models
from hwcls.config.model import MODELS, HeadConfig, PretrainConfig
from hwcls.errors import UserError
from hwcls.models.alexnet import AlexNetConfig
from hwcls.models.attention_cnn import AttentionCnnConfig
from hwcls.models.gated_cnn import GatedCnnConfig
from hwcls.models.kernel_cnn import KernelCnnConfig
from hwcls.models.mlp import MlpConfig
from hwcls.models.residual_cnn import ResidualCnnConfig
from hwcls.models.simple_cnn import SimpleCnnConfig
from hwcls.models.timm import TimmConfig

torch.set_num_threads(1)
HEAD = HeadConfig(depth=2, width=16)
VARIANTS: dict[str, Any] = {  # a variant is named after its family; a family without one is tested as it is
    "mlp": MlpConfig(width=16, dropout=0.2, head=HEAD),
    "mlp-widths": MlpConfig(widths=(24, 16, 8), dropout=(0.5, 0.0, 0.25)),
    "simple_cnn": SimpleCnnConfig(width=8, head=HEAD),
    "simple_cnn-3-bare": SimpleCnnConfig(width=4, depth=3, norm="none"),
    "residual_cnn": ResidualCnnConfig(width=8, dropout=0.1, head=HEAD),
    "residual_cnn-bare": ResidualCnnConfig(width=8, blocks=4, norm="none"),
    "attention_cnn": AttentionCnnConfig(width=8, head=HEAD),
    "attention_cnn-3": AttentionCnnConfig(width=8, depth=3, kernel=3),
    "gated_cnn": GatedCnnConfig(width=8, head=HEAD),
    "gated_cnn-bare": GatedCnnConfig(width=4, depth=3, norm="none"),
    "kernel_cnn-5": KernelCnnConfig(width=4, kernel=5),
    "kernel_cnn-mixed": KernelCnnConfig(width=4, kernel="mixed", norm="none"),
    "kernel_cnn-params": KernelCnnConfig(params=20_000, kernel=7, head=HEAD),
    "alexnet": AlexNetConfig(width=4, head=HEAD),
    "alexnet-encoder": AlexNetConfig(width=4, pretrain=PretrainConfig(), head=HEAD),
    "timm": TimmConfig(backbone="test_resnet", head=HEAD),
    "timm-small": TimmConfig(backbone="test_resnet", stem="small"),
    "timm-efficientnet": TimmConfig(backbone="test_efficientnet"),
    "timm-vit": TimmConfig(backbone="test_vit"),
}
TESTED = {name.partition("-")[0] for name in VARIANTS} | {"user"}  # the user's own models have their own tests
FAMILIES = VARIANTS | {name: family() for name, family in MODELS.all().items() if name not in TESTED}
SIZES = {"timm-vit": (32, 64)}  # its patches are 16 pixels wide


def build(config: Any, channels: int = 3, size: int = 32, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return models.build(config, classes=5, channels=channels, image_size=size)


def images(channels: int = 3, size: int = 32, count: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_for_every_size(family: str, channels: int) -> None:
    for size in SIZES.get(family, (8, 28, 32, 64)):
        model = build(FAMILIES[family], channels, size).eval()
        with torch.no_grad():
            assert model(images(channels, size, 2)).shape == (2, 5)
            assert model(images(channels, size, 1)).shape == (1, 5), "a batch of one"


def test_check_counts_what_build_makes(family: str) -> None:
    before = torch.get_rng_state()
    counted = models.check(FAMILIES[family], classes=5, channels=3, image_size=32)
    assert torch.equal(before, torch.get_rng_state()), "check drew from the generator"
    assert counted == models.count_parameters(build(FAMILIES[family])) > 0


def test_gradients_reach_every_weight(family: str) -> None:
    model = build(FAMILIES[family]).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # timm's residual branches begin at zero: they learn from the second step on
        optimizer.zero_grad()
        cross_entropy(model(images(count=8)), torch.arange(8) % 5).backward()
        optimizer.step()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_the_seed_decides(family: str) -> None:
    first, again, other = (build(FAMILIES[family], seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_float64(family: str) -> None:
    model = build(FAMILIES[family]).eval()
    with torch.no_grad():
        single = model(images())
        double = model.double()(images(dtype=torch.float64))
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-4)


def test_state_round_trips_through_a_file(family: str, tmp_path: Any) -> None:
    model = build(FAMILIES[family]).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other = build(FAMILIES[family], seed=9).eval()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    with torch.no_grad():
        assert torch.equal(model(images()), other(images()))


def test_evaluation_is_repeatable_and_does_not_change_the_model(family: str) -> None:
    model = build(FAMILIES[family]).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(model(images()), model(images()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_channels_last_changes_nothing(family: str) -> None:
    model = build(FAMILIES[family]).eval()
    with torch.no_grad():
        plain = model(images())
        last = model.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    assert torch.allclose(plain, last, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (SimpleCnnConfig(depth=4), 15),
        (AttentionCnnConfig(depth=3), 7),
        (GatedCnnConfig(depth=3), 7),
        (KernelCnnConfig(depth=3), 7),
        (KernelCnnConfig(depth=3, params=50_000), 7),
        (ResidualCnnConfig(blocks=5), 8),
        (AlexNetConfig(), 7),
        (AlexNetConfig(pretrain=PretrainConfig()), 7),
        (TimmConfig(backbone="vgg11"), 8),
        (TimmConfig(backbone="test_vit"), 8),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_too_small_an_image_is_an_error(config: Any, size: int) -> None:
    for function in (models.build, models.check):
        with pytest.raises(UserError, match=f"{size}x{size}"):
            function(config, classes=5, channels=1, image_size=size)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (SimpleCnnConfig(depth=4, width=2), 16),
        (ResidualCnnConfig(blocks=4, width=2), 5),
        (ResidualCnnConfig(blocks=1), 4),
    ],
)
def test_the_smallest_image_works(config: Any, size: int) -> None:
    assert models.check(config, classes=5, channels=1, image_size=size) > 0


def test_head_depth_and_dropout() -> None:
    def linears(depth: int) -> list[tuple[int, int]]:
        model = build(
            MlpConfig(width=8, depth=1, head=HeadConfig(depth=depth, width=6, dropout=0.5, activation="gelu"))
        )
        return [(one.in_features, one.out_features) for one in model.modules() if isinstance(one, torch.nn.Linear)][1:]

    assert linears(1) == [(8, 5)]
    assert linears(3) == [(8, 6), (6, 6), (6, 5)]
    model = build(MlpConfig(width=8, depth=1, head=HeadConfig(depth=3, dropout=0.5)))
    assert sum(isinstance(one, torch.nn.Dropout) for one in model.modules()) == 2


def test_simple_cnn_learns_digits() -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = (torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) - 4.9) / 6
    y = torch.tensor(labels)
    torch.manual_seed(0)
    order = torch.randperm(len(x))
    train, test = order[:1437], order[1437:]
    model = models.build(SimpleCnnConfig(width=32, depth=2), classes=10, channels=1, image_size=8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(8):
        for batch in train[torch.randperm(len(train))].split(64):
            optimizer.zero_grad()
            cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        right = (model.eval()(x[test]).argmax(1) == y[test]).float().mean().item()
    assert right > 0.97


@pytest.mark.parametrize(
    "config",
    [
        MlpConfig(width=64, depth=8),
        AlexNetConfig(width=16),
        SimpleCnnConfig(norm="none", depth=3),
        ResidualCnnConfig(norm="none"),
        GatedCnnConfig(norm="none"),
        KernelCnnConfig(norm="none", kernel="mixed"),
    ],
    ids=lambda config: config.name,
)
def test_signals_keep_their_scale_without_norm(config: Any) -> None:
    with torch.no_grad():
        logits = build(config).eval()(images(count=32))
    assert 0.2 < logits.std(0).mean() < 20
