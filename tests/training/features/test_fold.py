"""BatchNorm is folded where a convolution is followed by nothing else, and the result is compared."""

from __future__ import annotations

import logging
import weakref

import pytest
import timm
import torch
from torch import Tensor, nn

from hwcls.training.features.fold import fold_batch_norm, relative_difference

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def with_statistics(model: nn.Module) -> nn.Module:
    """Random statistics in place of those that change nothing."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


class Shared(nn.Module):
    """What its convolution returns is used twice; or the convolution is, or the BatchNorm."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.norm = kind, nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        made = self.conv(images)
        found: Tensor = self.norm(made)
        if self.kind == "output":
            found = found + made
        elif self.kind == "convolution":
            found = self.norm(self.conv(found))
        elif self.kind == "norm":
            found = found + self.norm(images)
        return found.mean((2, 3))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_byobnet"])
def test_no_batch_norm_is_left(name: str) -> None:
    model = with_statistics(timm.create_model(name, num_classes=0))
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    folded, expected = fold_batch_norm(model, IMAGES)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        assert torch.equal(expected, model(IMAGES))
        assert relative_difference(folded(IMAGES), expected) < 1e-5


@pytest.mark.parametrize("kind", ["output", "convolution", "norm"])
def test_what_has_other_uses_is_not_folded(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model = with_statistics(Shared(kind))
    with caplog.at_level(logging.WARNING):
        assert fold_batch_norm(model, IMAGES)[0] is model
    assert len(caplog.messages) == (1 if kind == "output" else 0)


def test_standardised_weights_are_not_folded() -> None:
    model = with_statistics(timm.create_model("test_nfnet", num_classes=0))
    assert fold_batch_norm(model, IMAGES)[0] is model


def test_what_convolutions_return_is_not_kept_until_the_end() -> None:
    """Of a large input it would take more memory than training."""
    model = with_statistics(timm.create_model("test_resnet", num_classes=0))
    returned: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        alive.append(sum(one() is not None for one in returned))
        returned.append(weakref.ref(output))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    fold_batch_norm(model, IMAGES)
    assert len(alive) > 8
    assert max(alive) < 4
