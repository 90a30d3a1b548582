"""Gradient accumulation: a step's gradients over its micro-batches and over the ranks."""

from __future__ import annotations

import contextlib
import gc

import torch
from torch import nn

from hwcls.data.loader import Batch, Step
from hwcls.training.distributed import World, gradient_sync, join_all_reduce, wrap_ddp
from hwcls.training.step.batch_norm import GroupedNorms, PassCounter
from hwcls.training.step.loss import Loss
from hwcls.training.step.precision import Precision, upcast


class GradientAccumulator:
    """Forward and backward passes of a model on one rank.

    Args:
        model: Its weights get the gradients.
        loss: Summed over the images of a micro-batch.
        world: This rank.
        precision: Of the passes.
        norm_batch: Images of a BatchNorm group, None: BatchNorm uses all images of a micro-batch.
        image_shape: Of an image as the model gets it, (C, H, W), or (F,) where it gets features.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        world: World,
        precision: Precision,
        norm_batch: int | None,
        image_shape: tuple[int, ...],
    ) -> None:
        self.model, self.loss, self.world, self.image_shape = model, loss, world, image_shape
        self.passes = PassCounter(model) if not norm_batch else None  # groups are counted one by one
        self.norms = GroupedNorms(model, norm_batch, world) if norm_batch else None
        self.trained = _trained(model)
        self.ddp = wrap_ddp(model, world)
        self.precision = precision

    def follow_model(self) -> bool:
        """Whether other weights are trained than before, which get the gradients from now on; on all ranks alike."""
        if (trained := _trained(self.model)) == self.trained:
            return False
        self.trained = trained
        self.ddp = self.model
        gc.collect()  # the hooks of the DDP before are removed with it
        self.ddp = wrap_ddp(self.model, self.world)
        return True

    def backward(self, step: Step) -> torch.Tensor:
        """Leave the gradients of the global batch in the weights; returns the sum of this rank's losses, ()."""
        if self.norms:
            self.norms.before_step()
        if step.count == 0:
            self._join_without_images()
        with self.passes.counted_at_once(step.count) if self.passes else contextlib.nullcontext():
            losses = [self._backward(batch, step, number == step.count) for number, batch in enumerate(step.parts, 1)]
        if self.norms:
            self.norms.after_step(step.size)
        if len(losses) == 1:
            return losses[0]
        summed = torch.zeros((), dtype=torch.float64, device=self.world.device)
        return sum(losses, summed)

    def _backward(self, batch: Batch, step: Step, last: bool) -> torch.Tensor:
        """The passes of one micro-batch; its summed loss, ()."""
        with gradient_sync(self.ddp, last):
            with self.precision.autocast():
                logits = self.ddp(batch.images)  # (B, K)
            loss = self.loss(upcast(logits), batch)
            # DDP averages over the ranks: times their number, it is sum / global batch
            loss.backward(torch.full_like(loss, self.world.size / step.size))  # type: ignore[no-untyped-call]
        return loss.detach()

    def _join_without_images(self) -> None:
        dtype = next(self.model.parameters()).dtype
        blank = torch.zeros((1, *self.image_shape), device=self.world.device, dtype=dtype)  # (1, *image_shape)
        join_all_reduce(self.ddp, blank, self.precision.autocast())


def _trained(model: nn.Module) -> list[bool]:
    """Which of the model's weights are trained."""
    return [weight.requires_grad for weight in model.parameters()]
