"""One optimizer step on one rank: gradients, clipping, update, and the sums of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hwcls.data.loader import Feed, Step
from hwcls.training.step.accumulate import GradientAccumulator
from hwcls.training.step.graph import StepGraph
from hwcls.training.totals import TrainingLoss


class TrainStep:
    """Trains on one global batch at a time.

    Args:
        accumulator: Its model is trained.
        optimizer: Of the model's weights.
        clip: The most that the norm of all gradients may be, None: any.
        device: Of this rank.
    """

    def __init__(
        self,
        accumulator: GradientAccumulator,
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        device: torch.device,
    ) -> None:
        self.accumulator, self.optimizer, self.clip, self.device = accumulator, optimizer, clip, device
        self.losses = TrainingLoss(device)  # of the epoch so far
        # where a graph replays the update, the learning rate is read from the device; on a CPU it stays a number
        groups = optimizer.param_groups if device.type == "cuda" else []
        self.rates = [torch.tensor(float(group["lr"]), device=device) for group in groups]
        self.graph: StepGraph | None = None

    def capture(self, feed: Feed) -> None:
        """From now on steps of a complete batch in one micro-batch may be captured, see `run`."""
        feed.reuse_plan()
        size = feed.config.batch_size

        def body(positions: Tensor) -> None:
            self._train(Step(size, 1, iter([feed.batch_at(positions)])), _nothing)

        self.graph = StepGraph(body, size, self.device)

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume with the optimizer's `state_dict`."""
        self.optimizer.load_state_dict(state)
        if self.graph is not None:
            self.graph.reset()

    def run(self, step: Step, before_clip: Callable[[], None] | None = None) -> None:
        """Train on `step`, as a replayed graph if it can be.

        `before_clip` is called between backward pass and clipping: such a step is not captured.
        """
        for rate, group in zip(self.rates, self.optimizer.param_groups, strict=bool(self.rates)):
            rate.fill_(group["lr"])
        if self.graph is not None and before_clip is None and step.count == 1 and step.size == self.graph.size:
            self.graph(step.first)
        else:
            self._train(step, before_clip or _nothing)

    def _train(self, step: Step, before_clip: Callable[[], None]) -> None:
        loss = self.accumulator.backward(step)
        before_clip()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.accumulator.model.parameters(), self.clip)
        self._update()
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.add(loss)

    def _update(self) -> None:
        """The optimizer's step, with the learning rates of `rates` where there are any."""
        groups = self.optimizer.param_groups
        kept = [dict(group) for group in groups]
        for group, rate in zip(groups, self.rates, strict=False):  # checkpoints keep plain numbers
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = True
        self.optimizer.step()
        for group, values in zip(groups, kept, strict=True):
            group.update(values)


def _nothing() -> None:
    pass
