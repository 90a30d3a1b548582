"""The special features of each family, compared with its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hwcls import models
from hwcls.config.model import HeadConfig
from hwcls.errors import UserError
from hwcls.models.attention import ChannelAttention, SpatialAttention
from hwcls.models.attention_cnn import AttentionCnnConfig
from hwcls.models.gated_cnn import GatedCnnConfig
from hwcls.models.kernel_cnn import KernelCnnConfig, solve_widths
from hwcls.models.layers import MixedConv, ResidualBlock
from hwcls.models.mlp import MlpConfig
from hwcls.models.residual_cnn import ResidualCnnConfig
from hwcls.models.simple_cnn import SimpleCnnConfig

torch.set_num_threads(1)


def count(config: Any, classes: int = 10, channels: int = 1, size: int = 28) -> int:
    return models.check(config, classes=classes, channels=channels, image_size=size)


def build(config: Any, size: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return models.build(config, classes=5, channels=1, image_size=size)


def test_published_numbers_of_parameters() -> None:
    assert count(SimpleCnnConfig(width=32, depth=2, norm="none")) == 50_186
    assert count(MlpConfig(width=80, depth=2)) == 70_090
    assert count(ResidualCnnConfig(width=47, blocks=2)) == pytest.approx(163_466, rel=0.02)


def test_a_deep_net_with_a_width_and_a_dropout_for_each_layer() -> None:
    config = MlpConfig.model_validate({"widths": [1024, 512, 512, 256], "dropout": [0.5, 0.3, 0.25, 0]})
    assert MlpConfig.model_validate(config.model_dump(mode="json")) == config
    model = models.build_skeleton(config, classes=10, channels=3, image_size=32)
    layers = [one for one in model.modules() if isinstance(one, nn.Linear | nn.Dropout)]
    sizes = [one.out_features if isinstance(one, nn.Linear) else one.p for one in layers]
    assert sizes == [1024, 0.5, 512, 0.3, 512, 0.25, 256, 10]
    same = MlpConfig(widths=(32, 32), dropout=(0.1, 0.1)), MlpConfig(width=32, depth=2, dropout=0.1)
    assert str(build(same[0])) == str(build(same[1]))


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (MlpConfig, {"widths": [8, 8], "width": 8}, "widths cannot be combined with width"),
        (MlpConfig, {"widths": [8, 8], "depth": 2}, "widths cannot be combined with depth"),
        (MlpConfig, {"widths": []}, "widths"),
        (MlpConfig, {"widths": [8, 8], "dropout": [0.5]}, "1 value of dropout for 2 hidden layers"),
        (MlpConfig, {"widths": [8], "dropout": [1.0]}, "less than 1"),
        (KernelCnnConfig, {"params": 50_000, "width": 8}, "params cannot be combined with width"),
        (KernelCnnConfig, {"kernel": 4}, "kernel"),
        (HeadConfig, {"depth": 0}, "greater than or equal to 1"),
    ],
)
def test_invalid_settings(config: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config.model_validate(values)


@pytest.mark.parametrize("kernel", [3, 5, 7, "mixed"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("params", [30_000, 50_186, 400_000])
def test_equal_numbers_of_parameters(kernel: Any, depth: int, params: int) -> None:
    assert abs(count(KernelCnnConfig(kernel=kernel, depth=depth, params=params)) - params) <= 0.02 * params


@pytest.mark.parametrize("kernel", [5, "mixed"])
def test_solved_widths_are_recorded(kernel: Any) -> None:
    config = KernelCnnConfig(kernel=kernel, depth=2, params=50_000)
    model = config.build(classes=10, channels=1, image_size=28)
    norms = [child.num_features for child in model if hasattr(child, "num_features")]
    assert config.decided(model)["widths"] == norms
    assert KernelCnnConfig(kernel=kernel).decided(model) == {}


@pytest.mark.parametrize("head", [HeadConfig(depth=3, width=64), HeadConfig(dropout=0.5)])
def test_the_head_counts_too(head: HeadConfig) -> None:
    assert abs(count(KernelCnnConfig(kernel=5, params=90_000, head=head), channels=3, size=32) - 90_000) <= 1_800


def test_an_impossible_number_of_parameters() -> None:
    with pytest.raises(UserError, match=r"no widths give 2,850 .*within 2%.*nearest possible: 2,719 and 2,966"):
        count(KernelCnnConfig(kernel=7, params=2_850))
    for reachable in (2_719, 2_966):
        assert count(KernelCnnConfig(kernel=7, params=reachable)) == reachable
    with pytest.raises(UserError, match="no widths give 10 parameters"):
        count(KernelCnnConfig(params=10))
    with pytest.raises(UserError, match="no widths give 99,999,999,999 parameters"):
        count(KernelCnnConfig(params=99_999_999_999))


def test_a_small_number_of_parameters() -> None:
    """Widths 4 and 4: the first that doubled widths begin with, 2, gives 1,312 and 1,588."""
    config = KernelCnnConfig(depth=2, params=1425, head=HeadConfig(depth=2, width=16))
    assert count(config, channels=1, size=16) == 1406


def test_solved_widths_stay_near_the_doubled_ones() -> None:
    for params in range(20_000, 200_000, 7_001):
        first, last = solve_widths(
            lambda widths: 9 * widths[0] + 9 * widths[0] * widths[1] + 490 * widths[1], 2, params
        )
        assert 1.4 < last / first < 2.8


def test_kernel_sizes() -> None:
    kernels = [one.kernel_size for one in build(KernelCnnConfig(kernel=5)).modules() if isinstance(one, nn.Conv2d)]
    assert kernels == [(5, 5), (5, 5)]
    torch.manual_seed(0)
    mixed, x = MixedConv(3, 5, "none"), torch.randn(2, 3, 6, 6)
    assert torch.equal(mixed(x)[:, :2], mixed.one(x))
    assert torch.equal(mixed(x)[:, 2:], mixed.three(x))
    assert (mixed.one.kernel_size, mixed.three.kernel_size) == ((1, 1), (3, 3))
    torch.manual_seed(0)
    plain = models.build(SimpleCnnConfig(), classes=5, channels=1, image_size=16)
    x = torch.randn(4, 1, 16, 16)
    assert torch.equal(plain(x), build(KernelCnnConfig(kernel=3))(x)), "kernel 3 is simple_cnn"


def test_channel_attention_is_cbams() -> None:
    torch.manual_seed(0)
    attention, x = ChannelAttention(32, reduction=8).double(), torch.randn(2, 32, 5, 5, dtype=torch.float64)
    first, _, second = attention.score
    assert first.out_features == 4
    for image, found in zip(x, attention(x), strict=True):  # arXiv 1807.06521, equation 2
        scores = sum(
            second.weight @ torch.clamp(first.weight @ pooled + first.bias, min=0) + second.bias
            for pooled in (image.flatten(1).mean(1), image.flatten(1).max(1).values)
        )
        assert torch.allclose(found, image / (1 + torch.exp(-scores))[:, None, None])


def test_spatial_attention_is_cbams() -> None:
    torch.manual_seed(0)
    attention, x = SpatialAttention(7).eval().double(), torch.randn(2, 6, 9, 9, dtype=torch.float64)
    maps = torch.stack((x.mean(1), x.max(1).values), 1)  # (2, 2, 9, 9), arXiv 1807.06521, equation 3
    scores = nn.functional.conv2d(maps, attention.score[0].weight, padding=3) / (1 + 1e-5) ** 0.5
    assert torch.allclose(attention(x), x * torch.sigmoid(scores))
    assert attention.score[0].kernel_size == (7, 7)


def test_attention_costs_little() -> None:
    plain, attended = count(SimpleCnnConfig()), count(AttentionCnnConfig())
    assert 1 < attended / plain < 1.05


def test_the_gate_is_a_gated_linear_unit() -> None:
    model = build(GatedCnnConfig(width=3, depth=1, norm="none"), size=8)
    convolution, x = model[0], torch.randn(2, 1, 8, 8)
    values, gates = nn.functional.max_pool2d(convolution(x), 2).chunk(2, 1)  # (2, 3, 4, 4) each
    with torch.no_grad():
        assert torch.allclose(model[:4](x), values * torch.sigmoid(gates))


def test_a_narrow_residual_block_trains_on_large_images() -> None:
    """A 1x1 convolution with a stride ends the process here, on CPUs with oneDNN 3.13."""
    block = ResidualBlock(8, 16, 2, "none").to(memory_format=torch.channels_last)
    images = torch.rand(2, 8, 64, 64).contiguous(memory_format=torch.channels_last)
    block(images).sum().backward()
    assert isinstance(block.shortcut, nn.Sequential)
    shortcut = block.shortcut[0]
    assert (shortcut.kernel_size, shortcut.stride) == ((1, 1), (1, 1))
    expected = torch.nn.functional.conv2d(images, shortcut.weight, shortcut.bias, stride=2)
    assert torch.allclose(block.shortcut(images[:, :, ::2, ::2]), expected, atol=1e-6)
