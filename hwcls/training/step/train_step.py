"""One optimizer step on one rank: gradients, clipping, update, the sums of the loss, and the averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

import torch
from torch import Tensor, nn

from hwcls.data.loader import EpochFeed, Step
from hwcls.training.step.accumulate import GradientAccumulator
from hwcls.training.step.ema import Ema
from hwcls.training.step.graph import StepGraph
from hwcls.training.totals import TrainingLoss


class TrainStep:
    """Trains on one global batch at a time.

    Args:
        accumulator: Its model is trained.
        optimizer: Of the model's weights.
        clip: The most that the norm of all gradients may be, None: any.
        device: Of this rank.
        ema: Gets the model after each step, None: nothing does.
    """

    def __init__(
        self,
        accumulator: GradientAccumulator,
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        device: torch.device,
        ema: Ema | None = None,
    ) -> None:
        self.accumulator, self.optimizer, self.clip, self.device = accumulator, optimizer, clip, device
        self.ema = ema
        self.losses = TrainingLoss(device)  # of the epoch so far
        self.rates: list[Tensor] = []  # the learning rates, () each, where a graph reads them from the device
        self.graph: StepGraph | None = None
        self.obstacle: str | None = None  # why `capture` is not called

    def capture(self, feed: EpochFeed) -> None:
        """From now on steps of a complete batch in one micro-batch may be captured, see `run`."""
        feed.reuse_plan()
        size = feed.config.batch_size
        if self.device.type == "cuda":  # elsewhere a rate stays a number
            self.rates = [torch.tensor(float(group["lr"]), device=self.device) for group in self.optimizer.param_groups]
        train = WeakMethod(self._train)  # no cycle: a trial's memory is free as soon as nothing refers to its trainer

        def body(positions: Tensor) -> None:
            call = train()
            assert call is not None, "the step has the graph that calls this"
            call(Step(size, 1, iter([feed.batch_at(positions)])), _nothing)

        self.graph = StepGraph(body, size, self.device)

    def why_eager(self) -> str | None:
        """Why no step is replayed so far; None where they are."""
        return self.obstacle if self.graph is None else self.graph.why_eager()

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume with the optimizer's `state_dict`."""
        self.optimizer.load_state_dict(state)
        if self.graph is not None:
            self.graph.reset()

    def follow_model(self) -> bool:
        """Train what the model trains by now; whether parts of it have been frozen or unfrozen."""
        changed = self.accumulator.follow_model()
        if changed and self.graph is not None:
            self.graph.reset()
        return changed

    def run(self, step: Step, number: int, before_clip: Callable[[], None] | None = None) -> None:
        """Train on `step`, as a replayed graph if it can be.

        Args:
            step: The images.
            number: Of the steps before it in the training.
            before_clip: Called between backward pass and clipping; such a step is not captured.
        """
        if self.ema:
            self.ema.before_step(number)
        for rate, group in zip(self.rates, self.optimizer.param_groups, strict=bool(self.rates)):
            rate.fill_(group["lr"])
        if self.graph is not None and before_clip is None and step.count == 1 and step.size == self.graph.size:
            self.graph(step.first)
        else:
            self._train(step, before_clip or _nothing)

    def _train(self, step: Step, before_clip: Callable[[], None]) -> None:
        try:
            loss = self.accumulator.backward(step)
            before_clip()
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.accumulator.model.parameters(), self.clip)
            self._update()
        finally:  # the gradients of a capture that fails were never computed: the next step must not add to them
            self.optimizer.zero_grad(set_to_none=True)
        self.losses.add(loss)
        if self.ema:
            self.ema.update()

    def _update(self) -> None:
        """The optimizer's step, with the learning rates of `rates` where there are any."""
        groups = self.optimizer.param_groups
        kept = [dict(group) for group in groups]
        capturing = self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        for group, rate in zip(groups, self.rates, strict=False):  # checkpoints keep plain numbers
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = capturing  # torch warns where it is True in other steps
        try:
            self.optimizer.step()
        finally:
            for group, values in zip(groups, kept, strict=True):
                group.update(values)


def _nothing() -> None:
    pass
