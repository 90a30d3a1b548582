"""Receptive fields from the graph against the gradient of a centre position, and against published figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwcls import models
from hwcls.config.model import PretrainConfig
from hwcls.models.alexnet import AlexNetConfig
from hwcls.models.attention_cnn import AttentionCnnConfig
from hwcls.models.gated_cnn import GatedCnnConfig
from hwcls.models.kernel_cnn import KernelCnnConfig
from hwcls.models.mlp import MlpConfig
from hwcls.models.receptive_field import FieldSize, trace_receptive_field
from hwcls.models.residual_cnn import ResidualCnnConfig
from hwcls.models.simple_cnn import SimpleCnnConfig
from hwcls.models.timm import TimmConfig

torch.set_num_threads(1)


def boxes(model: nn.Module, size: int) -> dict[str, tuple[int, int]]:
    """For each layer that makes a map: height and width of the pixels that the gradient of its centre reaches.

    Positive weights and images keep every ReLU open; the mean in place of the maximum lets every pixel through.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    outputs: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(lambda _, __, output, name=name: outputs.__setitem__(name, output + 0))
    with torch.no_grad():
        for weight in model.double().eval().parameters():
            weight.abs_()
            if weight.ndim > 1:
                weight /= weight[0].sum()  # so that no sigmoid saturates
    x = torch.rand(1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    model(x)
    found = {}
    for name, output in outputs.items():
        if output.ndim == 4 and min(output.shape[-2:]) > 1:
            centre = output[:, :, output.shape[-2] // 2, output.shape[-1] // 2].sum()
            (gradient,) = torch.autograd.grad(centre, x, retain_graph=True)
            rows, columns = (gradient[0, 0] != 0).nonzero().T
            found[name] = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
    return found


CONFIGS: dict[str, tuple[Any, int]] = {
    "simple_cnn": (SimpleCnnConfig(width=4, depth=3), 80),
    "gated_cnn": (GatedCnnConfig(width=4), 48),
    "kernel_cnn-7": (KernelCnnConfig(width=4, kernel=7), 64),
    "kernel_cnn-mixed": (KernelCnnConfig(width=4, kernel="mixed", depth=3), 64),
    "residual_cnn": (ResidualCnnConfig(width=4, blocks=4), 112),
    "alexnet": (AlexNetConfig(width=4), 112),
    "alexnet-encoder": (AlexNetConfig(width=4, pretrain=PretrainConfig()), 96),
    "resnet": (TimmConfig(backbone="test_resnet"), 128),
    "resnet18-small": (TimmConfig(backbone="resnet18", stem="small"), 40),
}


@pytest.mark.parametrize("family", CONFIGS)
def test_the_gradient_of_a_centre_reaches_as_far(family: str) -> None:
    config, size = CONFIGS[family]
    torch.manual_seed(0)
    model = models.build(config, classes=3, channels=1, image_size=size)
    graph = {layer.name: layer.receptive_field for layer in trace_receptive_field(model, 1, size)[0]}
    checked = 0
    for name, box in boxes(model, size).items():
        field = graph[name]
        assert field is not None
        if field <= size // 2:  # the whole of it lies within the image
            assert box == (field, field), name
            checked += 1
        assert max(box) <= min(field, size), name
    assert checked >= 5


@pytest.mark.parametrize("config", [AttentionCnnConfig(width=4), TimmConfig(backbone="test_efficientnet")])
def test_the_field_of_attention_is_the_whole_image(config: Any) -> None:
    torch.manual_seed(0)
    model = models.build(config, classes=3, channels=1, image_size=64)
    layers, whole = trace_receptive_field(model, 1, 64)
    assert whole is None
    found = boxes(model, 64)
    fields = {layer.name: layer.receptive_field for layer in layers}
    assert {name for name, box in found.items() if box == (64, 64)} >= {n for n in found if fields[n] is None} != set()
    assert any(fields[name] is not None and box == (fields[name], fields[name]) for name, box in found.items())


@pytest.mark.parametrize(
    ("backbone", "size", "field"),
    [
        ("resnet18", 64, 435),
        ("resnet50", 64, 427),  # its stride stands in the 3x3 convolutions
        ("mobilenetv1_100", 64, 315),
        ("inception_v3", 128, 1311),
    ],
)
def test_published_fields(backbone: str, size: int, field: int) -> None:
    """Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, 2019."""
    model = models.build_skeleton(TimmConfig(backbone=backbone), classes=3, channels=3, image_size=size)
    assert trace_receptive_field(model, 3, size)[1] == field


def test_the_field_of_transformers_and_fully_connected_nets_is_the_whole_image() -> None:
    vit = models.build_skeleton(TimmConfig(backbone="test_vit"), classes=3, channels=3, image_size=64)
    layers, whole = trace_receptive_field(vit, 3, 64)
    assert (layers[0].receptive_field, whole) == (16, None)
    assert (
        trace_receptive_field(models.build_skeleton(MlpConfig(), classes=3, channels=1, image_size=8), 1, 8)[1] is None
    )


class Odd(nn.Module):
    """One operation on the map of a 3x3 convolution."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.conv, self.out, self.operation = nn.Conv2d(1, 4, 3, padding=1), nn.Sequential(nn.ReLU()), operation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.operation(self.conv(x)))
        return y


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), 3),
        (lambda x: F.linear(x.permute(0, 2, 3, 1), torch.ones(5, 4)).permute(0, 3, 1, 2), 3),  # ConvNeXt's
        (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), 3),
        (lambda x: F.group_norm(x, 2), None),
        (lambda x: x.view(1, 2, 2, 16, 16).transpose(1, 2).reshape(1, 4, 16, 16), 3),  # a channel shuffle
        (lambda x: torch.cat(x.chunk(2, 1), 1), 3),
        (lambda x: torch.cat((x, x.flip(3)), 1), "unknown"),
        (lambda x: torch.roll(x, 3, 2), "unknown"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "unknown"),
        (lambda x: F.interpolate(x, scale_factor=2), "unknown"),
        (lambda x: F.pixel_unshuffle(x, 2), "unknown"),
        (lambda x: F.unfold(x, 3, padding=1), "unknown"),
        (lambda x: F.conv1d(x.flatten(0, 2).unsqueeze(1), torch.ones(4, 1, 3)), None),
        (lambda x: F.conv1d(x[:, :, 3], torch.ones(4, 4, 3)), None),
        (lambda x: F.conv2d(x.transpose(2, 3), torch.ones(4, 4, 3, 1)), "unknown"),
        (lambda x: F.group_norm(torch.roll(x, 3, 2), 2) + x.flip(3), None),
        (lambda x: F.instance_norm(x), None),
        (lambda x: x + torch.zeros_like(x), 3),
        (lambda x: F.linear(x, torch.ones(16, 16), torch.ones(16)), None),  # along the width
        (lambda x: x.softmax(1), 3),
        (lambda x: x.softmax(2), None),
        (lambda x: x.flatten(2).softmax(2), None),
        (lambda x: F.pad(x, (0, 1, 0, 1)), 3),
        (lambda x: x + F.pad(x, (1, 0, 1, 0))[:, :, :16, :16], 4),  # its left neighbour
        (lambda x: x[:, :, ::2, ::2] + x[:, :, 1::2, 1::2], 4),
        (lambda x: F.avg_pool2d(x, 3, 2), 5),
        (lambda x: F.max_pool2d(x, 2, dilation=3), 6),
        (lambda x: F.adaptive_avg_pool2d(x, 4), 6),
        (lambda x: x * x.mean((2, 3), keepdim=True), None),  # squeeze and excitation
        (lambda x: x.mean(1, keepdim=True) * x, 3),
        (lambda x: x.amax(1).unsqueeze(1), 3),
        (lambda x: F.conv_transpose2d(x, torch.ones(4, 4, 2, 2), stride=2), "unknown"),
        (lambda x: x.mul_(2).add_(1), 3),
    ],
)
def test_operations(operation: Any, field: FieldSize) -> None:
    layers, last = trace_receptive_field(Odd(operation), 1, 16)
    assert layers[-1].receptive_field == last == field


def test_a_convolution_over_rows() -> None:
    """A user's net on the rows of an image, each with the columns as its channels."""

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(16, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x[:, 0].transpose(1, 2))
            return y

    layers, last = trace_receptive_field(Rows(), 1, 16)
    assert layers[-1].receptive_field == last == "unknown"


def test_the_model_is_not_changed() -> None:
    model = models.build(SimpleCnnConfig(width=4), classes=3, channels=1, image_size=8).train()
    layers, _ = trace_receptive_field(model, 1, 8)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert [layer.shape for layer in layers][:3] == [(4, 8, 8), (4, 4, 4), (4, 4, 4)]
    assert sum(layer.parameters for layer in layers) == models.count_parameters(model)
