"""Trials for the tests of several packages."""

import copy

from hwcls.config.trial import TrialConfig

# a user's model that runs out of memory from its sixth step on, with more than `most` images at once
OUT_OF_MEMORY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, classes, most):
        super().__init__()
        self.layer, self.most, self.steps = nn.Linear(inputs, classes), most, 0

    def forward(self, x):
        self.steps += self.training
        ranked = torch.distributed.is_initialized()
        if self.training and self.steps > 5 and len(x) > self.most and (not ranked or torch.distributed.get_rank()):
            raise torch.OutOfMemoryError("CUDA out of memory, injected")
        return self.layer(x.flatten(1))


def build(classes, channels, image_size, most):
    return Net(channels * image_size**2, classes, most)
"""


def changed(base, **changes) -> TrialConfig:
    """The trial of these plain values, with entries changed by dotted name: model__norm="none"."""
    values = copy.deepcopy(base)
    for name, value in changes.items():
        *path, last = name.split("__")
        place = values
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return TrialConfig.from_dict(values)
