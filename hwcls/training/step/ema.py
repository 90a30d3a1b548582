"""Averaged weights: an exponential moving average over the steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hwcls.training.step.foreach import copy_into, move_towards


class Ema:
    """Averages the trained weights and the float buffers (BatchNorm's statistics) of a model.

    After step t, counted from 0, the average moves by 1 - min(decay, (1 + t) / (10 + t)) towards the model, so that the
    random first weights soon lose their influence (as tf.train.ExponentialMovingAverage with num_updates). Neither
    torch's AveragedModel nor timm's ModelEmaV3 has this decay and averages float buffers only. A buffer that is not
    finite at the start is copied instead.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.live: list[Tensor] = [*trained, *buffers]
        self.mean = [tensor.detach().clone() for tensor in self.live]
        # such as a mask of attention with -inf, of which no average exists
        self.copied = [len(trained) + place for place, one in enumerate(buffers) if not one.isfinite().all()]
        self.share = self.live[0].detach().new_zeros(())  # () by which the average moves, where a graph reads it

    def before_step(self, step: int) -> None:
        """Set `share` for step number `step` of the training, from 0."""
        self.share.fill_(1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """Add the model after a step."""
        move_towards(self.mean, self.live, self.share)
        if self.copied:
            copy_into([self.mean[place] for place in self.copied], [self.live[place] for place in self.copied])

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, mean in zip(self.live, self.mean, strict=True):
            kept = live.detach().clone()
            live.copy_(mean)
            mean.copy_(kept)

    def averages(self) -> dict[Tensor, Tensor]:
        """The averages by what they average."""
        return dict(zip(self.live, self.mean, strict=True))

    def state(self) -> list[Tensor]:
        """The averages, in the order of the model's weights and buffers."""
        return self.mean

    @torch.no_grad()
    def load_state(self, state: list[Tensor]) -> None:
        """Resume from `state`'s result."""
        for mean, stored in zip(self.mean, state, strict=True):
            mean.copy_(stored)
