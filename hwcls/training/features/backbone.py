"""The frozen backbone of trials that train a head on its features: built once for all of a process's trials."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hwcls import models
from hwcls.config.model import ModelFamily
from hwcls.data.augment.apply import Normalise
from hwcls.data.imageset import InputSpec
from hwcls.models.memory_format import to_channels_last
from hwcls.models.receptive_field import trace_receptive_field
from hwcls.models.summary import count_flops

TIMED = 32  # images whose pass is timed


@dataclass(eq=False)
class FrozenBackbone:
    """What a trial needs of its frozen backbone besides the features; built when it is first asked for.

    Args:
        config: The model, whose head is not used.
        inputs: What it is built for.
        device: Of the trial.
    """

    config: ModelFamily
    inputs: InputSpec
    device: torch.device

    @cached_property
    def model(self) -> nn.Module:
        """The whole model with a head that was not trained, on the CPU, in evaluation mode."""
        inputs = self.inputs
        with torch.random.fork_rng(devices=[]):
            found = models.build(
                self.config, classes=len(inputs.classes), channels=inputs.channels, image_size=inputs.image_size
            )
        return to_channels_last(found.requires_grad_(False).eval())

    @property
    def body(self) -> nn.Module:
        """The backbone alone: (B, C, H, W) to (B, F)."""
        found: nn.Module = self.config.split(self.model)[0]
        return found

    @cached_property
    def width(self) -> int:
        """F, the length of the features."""
        with torch.no_grad():
            blank = torch.zeros(1, self.inputs.channels, *(self.inputs.image_size,) * 2)
            return int(self.body(blank).shape[1])

    @cached_property
    def size(self) -> dict[str, Any]:
        """Its `parameters` and `flops`, and its `receptive_field`, as `summary.measure_size` has them."""
        shape = self.inputs.channels, self.inputs.image_size
        _, field = trace_receptive_field(self.body, *shape)
        flops = count_flops(self.body, *shape)
        return {"parameters": models.count_parameters(self.body), "flops": flops, "receptive_field": field}

    @cached_property
    def seconds(self) -> float:
        """The time of one image in a batch on the device, preprocessing included."""
        inputs, fastest = self.inputs, math.inf
        side = inputs.image_size
        normalise = Normalise(inputs.mean, inputs.std, side, self.device, torch.float32)
        pixels = torch.zeros(TIMED, side, side, inputs.channels, dtype=torch.uint8)  # (b, S, S, C)
        body = self.body.to(self.device)
        with torch.no_grad():
            for _ in range(2):
                started = time.perf_counter()
                features = body(normalise(pixels.to(self.device)).permute(0, 3, 1, 2))
                features.sum().item()  # waits for a GPU
                fastest = min(fastest, time.perf_counter() - started)
        body.to("cpu")  # a GPU's memory is for training
        return fastest / TIMED

    def complete(self, head: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the whole model with those of a head, in the model's order; those that modules share twice."""
        body = self.body
        prefix = next(f"{name}." for name, module in self.model.named_modules() if module is body)
        weights = self.model.state_dict()
        frozen = {name: weight.clone() for name, weight in weights.items() if name.startswith(prefix)}
        return {**frozen, **head}

    def with_head(self, head: nn.Module) -> nn.Module:
        """The whole model with this head, which is on the device: (B, C, H, W) to (B, K)."""
        return _Whole(self.body.to(self.device), head)


class _Whole(nn.Module):
    """`head` on the features of a backbone, which stays in evaluation mode."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def train(self, mode: bool = True) -> _Whole:
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.body(images)
        logits: Tensor = self.head(features)
        return logits


_latest: tuple[str, FrozenBackbone] | None = None  # the one of this process's latest trial


def share_backbone(config: ModelFamily, data: InputSpec, device: torch.device) -> FrozenBackbone:
    """The backbone of a model on this device; the same one as in the trial before where that had the same."""
    global _latest
    weights = config.feature_settings() if config.pretrained_from is not None else []
    settings = config.model_dump(mode="json", exclude={"label", "head", "views"})
    inputs = InputSpec.from_dict(data.to_dict())  # an ImageSet would keep its pixels on a GPU
    key = json.dumps([settings, weights, inputs.to_dict(), str(device)])
    if _latest is None or _latest[0] != key:
        _latest = None  # its memory is free before the next one is built
        _latest = key, FrozenBackbone(config, inputs, device)
    return _latest[1]
