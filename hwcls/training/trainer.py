"""The training loop: a generator that yields one EpochRecord per epoch.

Shapes: B images of a micro-batch, C channels, H x W pixels, K classes, N images of a split.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from hwcls import metrics
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import EpochFeed
from hwcls.models.generators import seed_generators
from hwcls.tracking.records import EpochRecord
from hwcls.training import watchdog
from hwcls.training.built_model import BuiltModel
from hwcls.training.distributed import World, check_unused_weights
from hwcls.training.errors import MemoryRanOutError, NotFiniteError
from hwcls.training.evaluation import Evaluation, Evaluator, train_sample_size
from hwcls.training.history import History
from hwcls.training.memory import is_out_of_memory
from hwcls.training.observer import Observer
from hwcls.training.step.accumulate import GradientAccumulator
from hwcls.training.step.batch_norm import average_statistics
from hwcls.training.step.ema import Ema
from hwcls.training.step.ghost_batches import GroupFeed
from hwcls.training.step.graph import find_obstacle
from hwcls.training.step.loss import Loss
from hwcls.training.step.micro_batch import halve_micro_batch
from hwcls.training.step.optim import Schedule, build_optimizer, restore_groups
from hwcls.training.step.precision import choose_precision
from hwcls.training.step.train_step import TrainStep
from hwcls.training.totals import Totals, read_totals
from hwcls.training.usage import Usage

Array = np.ndarray[Any, Any]


class Trainer:
    """Trains a model on one rank of a World; hwcls.training.build assembles it.

    Args:
        config: The trial.
        data: Its images.
        built: Its model, on the device of `world`.
        feed: Batches of what the model takes, for this rank.
        world: This rank among all; the global batch is split over the ranks.
        observer: Its hooks are called; see hwcls.training.observer.
        micro_batch: The most images per rank and backward pass.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: ImageSet,
        built: BuiltModel,
        feed: EpochFeed,
        world: World,
        observer: Observer | None,
        micro_batch: int,
    ) -> None:
        self.config, self.data, self.built, self.world = config, data, built, world
        self.observer, self.micro_batch = observer or Observer(), micro_batch
        device, dtype = world.device, next(built.model.parameters()).dtype
        feed.draw_ahead(config.epochs)
        self.feed = GroupFeed(feed, config.norm_batch) if config.norm_batch else feed
        precision = choose_precision(device, dtype, built.backbone is not None)
        precision.adapt(built.model, len(data.classes))
        self.accumulator = GradientAccumulator(
            built.model,
            Loss(config.label_smoothing, config.class_weights, data.train.labels, len(data.classes), device, dtype),
            world,
            precision,
            config.norm_batch,
            feed.shape,
        )
        optimizer = build_optimizer(config.optimizer, built.model, config.model.lr_scales(built.model))
        self.ema = Ema(built.model, config.ema) if config.ema else None
        self.step = TrainStep(self.accumulator, optimizer, config.clip, device, self.ema)
        self.step.obstacle = find_obstacle(config, world, feed)
        if self.step.obstacle is None:
            self.step.capture(feed)
        self.schedule = Schedule(
            config.scheduler, optimizer, epochs=config.epochs, metric=config.metric, steps=self.feed.steps
        )
        self.epoch = 0  # the last complete one
        self.history = History(config.metric)
        self.evaluator = Evaluator(self.feed, len(data.classes), self.accumulator.precision)
        self.usage = Usage(device)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """That of the model."""
        return self.step.optimizer

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.built.model

    def epochs(self) -> Iterator[EpochRecord]:
        """Train epoch by epoch, from the current state on; after each yield the state can be saved.

        Raises:
            NotFiniteError: A loss is NaN or infinite; names the epoch, the step and the learning rate.
            UserError: There are several ranks, and weights that the model does not use.
            MemoryRanOutError: Device memory ran out on this rank; the others wait for it in vain.
        """
        while self.epoch < self.config.epochs:
            record = None
            try:
                record = self._run_epoch(self.epoch + 1)
            except (RuntimeError, MemoryError) as error:
                check_unused_weights(error, self.model)
                if not is_out_of_memory(error):
                    raise
            if record is None:  # outside the handler, whose error would keep the tensors alive
                raise MemoryRanOutError(halve_micro_batch(self.micro_batch, self.config.norm_batch or 1))
            yield record

    def _run_epoch(self, epoch: int) -> EpochRecord:
        """Train, evaluate and record: one device sync, two of a new best."""
        # dropout is a function of (seed, epoch, rank): independent of what ran before, resumed or not
        seed_generators(derive_seed(self.config.seed, epoch, self.world.rank))
        started = time.perf_counter()
        self.usage.begin_epoch()
        images = self.train_epoch(epoch)
        with self._averaged_weights():
            with self.usage.steps():
                if self.ema:
                    average_statistics(self.model, self.world)
                train = self.evaluate("train", train_sample_size(self.data))
            with self.usage.steps():
                val = self.evaluate("val")
            totals = read_totals(self.step.losses, train, val, self.world)
            self._check_finite(epoch, totals)
            values = totals.metrics(images, len(self.data.val))
            speed = images / max(self.usage.seconds(0), 1e-9)
            self.usage.inference = min(self.usage.inference, self.usage.seconds(2) / max(1, len(val.index)))
            record = EpochRecord(epoch, values, self.schedule.lr, time.perf_counter() - started, speed)
            self.history.add(record, totals.val_confusion, self._copy_weights, lambda: self._val_scores(val))
            self.schedule.after_epoch(epoch, values[self.config.metric.name])
            self.epoch = epoch
            if self.world.rank == 0:
                self.observer.after_epoch(self.model, self.feed, record)
        self.usage.end_epoch()
        return record

    def train_epoch(self, epoch: int) -> int:
        """One pass over the training split; returns its images, of all ranks."""
        self.config.model.before_epoch(self.model, epoch)
        if self.step.follow_model():
            self.usage.memory = 0  # a step takes other memory now: it is measured again
        self.model.train()
        self.step.losses.reset()
        steps, images = self.feed.steps, 0

        def before_clip() -> None:
            self.observer.before_clip(self.model, self.world.rank, epoch)

        every = self.feed.train(epoch, self.micro_batch)
        first = next(every)  # the epoch's plan is there
        with self.usage.training():
            for number, step in enumerate(chain([first], every), start=1):
                self.observer.before_step()
                self.schedule.before_step(epoch, (number - 1) / steps)
                self.step.run(step, (epoch - 1) * steps + number - 1, before_clip if number == steps else None)
                images += step.size
                watchdog.reset_timer()
                self.observer.after_step()
            average_statistics(self.model, self.world)
        return images

    def _check_finite(self, epoch: int, totals: Totals) -> None:
        """Raise NotFiniteError where a loss is NaN or infinite."""
        bad = totals.bad_steps
        if bad.any():
            step = int(bad[bad > 0].min())
            lr = self.schedule.at(epoch, (step - 1) / self.feed.steps)
            raise NotFiniteError(f"the loss is not finite: epoch {epoch}, step {step}, learning rate {lr:g}")
        if not np.isfinite(totals.losses).all():
            lr = self.schedule.lr
            raise NotFiniteError(f"the loss is not finite after epoch {epoch}, on val, learning rate {lr:g}")

    def evaluate(self, split: Literal["train", "val", "test"], limit: int | None = None) -> Evaluation:
        """Score this rank's share of a split (or of a fixed sample of `limit` images), unaugmented."""
        return self.evaluator.evaluate(self.model, split, self.micro_batch, limit)

    def weights(self, copy: Callable[[torch.Tensor], torch.Tensor] = torch.clone) -> dict[str, torch.Tensor]:
        """A copy of the weights that are scored: the averaged ones if there are any."""
        averages = self.ema.averages() if self.ema else {}
        state = self.model.state_dict(keep_vars=True)
        return {key: copy(averages.get(tensor, tensor).detach()) for key, tensor in state.items()}

    def _averaged_weights(self) -> contextlib.AbstractContextManager[None]:
        return self.ema.in_place() if self.ema else contextlib.nullcontext()

    def _copy_weights(self) -> dict[str, torch.Tensor]:
        return {key: tensor.detach().clone() for key, tensor in self.model.state_dict().items()}

    def _val_scores(self, val: Evaluation) -> Array:
        """The probabilities of all ranks in the order of val, (N, K) float16."""
        scores = torch.zeros(len(self.data.val), len(self.data.classes), device=self.world.device)  # (N, K)
        scores[val.index] = val.scores
        return metrics.to_float16(self.world.sum(scores).cpu().numpy())

    def state(self) -> dict[str, Any]:
        """What the next epoch depends on, as tensors, numbers and lists; the best weights and scores are not in it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "ema": self.ema.state() if self.ema else None,
            "epoch": self.epoch,
            "best": self.history.best,
            "history": self.history.records,
            "usage": self.usage.state(),
            "micro_batch": self.micro_batch,
            "observer": self.observer.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from `state`; the epochs that follow equal those of an uninterrupted run."""
        self.model.load_state_dict(state["model"])
        restore_groups(self.optimizer, self.model, self.config.model.lr_scales(self.model), state["optimizer"])
        self.step.load_state(state["optimizer"])
        self.schedule.load_state(state["schedule"])
        if self.ema:
            self.ema.load_state(state["ema"])
        self.epoch = state["epoch"]
        self.history.load(state)
        earlier = {key: state[key] for key in ("inference",) if key in state}  # what earlier versions have of it
        self.usage.load_state(state.get("usage", earlier))
        self.micro_batch = min(state["micro_batch"], self.micro_batch)  # there may be less memory now
        if state["observer"]:
            self.observer.load_state(state["observer"])


def derive_seed(*numbers: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "big") >> 1
