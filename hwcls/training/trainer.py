"""The training loop: a generator that yields one EpochRecord per epoch.

Shapes: B images of a micro-batch, C channels, H x W pixels, K classes, N images of a split.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

from hwcls import metrics, models
from hwcls.config.model import AlexNetConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.catalog import cache_folder
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import Feed, Step
from hwcls.tracking.records import EpochRecord
from hwcls.training import micro_batch as memory
from hwcls.training import watchdog
from hwcls.training.batch_norm import GroupedNorms, average_statistics
from hwcls.training.distributed import World, over_ranks, refuse_unused, sync_only, take_part
from hwcls.training.ema import Ema
from hwcls.training.errors import MemoryRanOutError, NotFiniteError
from hwcls.training.evaluation import Evaluation, score, train_sample
from hwcls.training.ghost_batches import GroupFeed
from hwcls.training.loss import Loss
from hwcls.training.observer import Observer
from hwcls.training.optim import Schedule, build_optimizer
from hwcls.training.precision import choose, widened
from hwcls.training.pretrain import encoder_weights, reconstructions, seconds_of
from hwcls.training.timer import Clock

Array = np.ndarray[Any, Any]


class Trainer:
    """Trains what a TrialConfig describes on one rank of a World.

    Args:
        config: The trial.
        data: Its images.
        world: This rank among all; the global batch is shared out over the ranks.
        observer: Looks on; see hwcls.training.observer.
        micro_batch: The most images per rank and backward pass; None: as many as memory takes.
        dtype: Of weights and images; float64 for exact comparisons.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: ImageSet,
        world: World | None = None,
        observer: Observer | None = None,
        *,
        micro_batch: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.data, self.world, self.observer = config, data, world or World(), observer
        device = self.world.device
        memory.keep_freed()
        self.pictures: dict[str, Array] = {}  # reconstructions of an autoencoder
        self.pretrain_seconds: float | None = None  # that it was trained for
        torch.manual_seed(config.seed)
        model = self._build_model().to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: nn.Module = model
        self.norms = GroupedNorms(model, config.norm_batch, self.world) if config.norm_batch else None
        self.ranked = over_ranks(model, self.world)
        feed = Feed(
            data, config.data, seed=config.seed, device=device, rank=self.world.rank, world=self.world.size, dtype=dtype
        )
        self.feed = GroupFeed(feed, config.norm_batch) if config.norm_batch else feed
        self.precision = choose(device, dtype, config.epochs * self.feed.steps, grouped=config.norm_batch is not None)
        self.forward = self.precision.prepare(model, self.ranked)  # for micro-batches of the full size:
        self.full = 0  # images of the very first one
        classes = len(data.classes)
        self.loss = Loss(config.label_smoothing, config.class_weights, data.train.labels, classes, device, dtype)
        self.optimizer = build_optimizer(config.optimizer, model)
        self.schedule = Schedule(
            config.scheduler,
            self.optimizer,
            lr=config.optimizer.lr,
            epochs=config.epochs,
            metric=config.metric,
            steps=self.feed.steps,
        )
        self.ema = Ema(model, config.ema) if config.ema else None
        self.epoch = 0  # the last one that ended
        self.best: dict[str, Any] | None = None  # {"epoch": ..., metric: ...}
        self.best_weights: dict[str, torch.Tensor] = {}
        self.best_scores: Array | None = None  # (N, K) float16, val at the best epoch
        self.confusions: dict[int, Array] = {}  # by epoch: first, powers of two, best, last
        self.history: list[dict[str, Any]] = []
        self.inference = math.inf  # seconds of an image on this rank, in batches; of the fastest validation
        self.micro_batch = self._fit_micro_batch(micro_batch)

    def _build_model(self) -> nn.Module:
        data, config = self.data, self.config.model
        model = models.build(config, classes=len(data.classes), channels=data.channels, image_size=data.image_size)
        if isinstance(config, AlexNetConfig) and config.pretrain:
            asked = self.config, data, self.world.device, cache_folder()
            cast(nn.Module, model.encoder).load_state_dict(encoder_weights(*asked))
            self.pictures, self.pretrain_seconds = reconstructions(*asked), seconds_of(*asked)
        return model

    def _fit_micro_batch(self, most: int | None) -> int:
        """Images per rank and backward pass: the whole share where it fits, whole groups where BatchNorm has groups."""
        unit = self.config.norm_batch or 1
        share = -(-self.config.data.batch_size // (unit * self.world.size)) * unit
        share = min(share, most or share)
        if self.world.device.type not in memory.PROBED:
            return share
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        shape = (self.data.channels, self.data.image_size, self.data.image_size)
        copies = 2 + (self.world.size > 1)  # Adam's two moments, DDP's buckets

        def forward(images: torch.Tensor) -> torch.Tensor:
            with self.precision.autocast():
                logits: torch.Tensor = self.model(images)
            return logits

        size = memory.fit_micro_batch(share, memory.probe(self.model, shape, copies, forward), self.world, unit)
        for buffer, kept in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(kept)
        return size

    def epochs(self) -> Iterator[EpochRecord]:
        """Train epoch by epoch from wherever the state is; after each yield the state can be saved.

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
                refuse_unused(error, self.model)
                if not memory.is_out_of_memory(error):
                    raise
            if record is None:  # outside the handler, whose error would keep the tensors alive
                raise MemoryRanOutError(memory.halved(self.micro_batch, self.config.norm_batch or 1))
            yield record

    def _run_epoch(self, epoch: int) -> EpochRecord:
        # dropout is a function of (seed, epoch, rank): whatever ran before, resumed or not
        torch.manual_seed(_mixed(self.config.seed, epoch, self.world.rank))
        started = time.perf_counter()
        clock = Clock(self.world.device)
        seen, loss, bad = self._train(epoch)
        train_seconds = clock.stop()
        with self.ema.in_place() if self.ema else contextlib.nullcontext():
            if self.ema:
                average_statistics(self.model, self.world)
            return self._score(epoch, seen, loss, bad, started, train_seconds)

    def _score(
        self,
        epoch: int,
        seen: int,
        loss: torch.Tensor,
        bad: torch.Tensor,
        started: float,
        train_seconds: Callable[[], float],
    ) -> EpochRecord:
        """Evaluate what the model holds, and remember it: the one device sync of an epoch, two of a new best."""
        train = self.evaluate("train", train_sample(self.data))
        clock = Clock(self.world.device)
        val = self.evaluate("val")
        val_seconds = clock.stop()
        sums = torch.cat(
            [loss.view(1), val.loss.view(1), train.confusion.double().flatten(), val.confusion.double().flatten(), bad]
        )
        host = self.world.sum(sums).cpu().numpy()
        ranks, classes = self.world.size, len(self.data.classes)
        self._check_finite(epoch, host[:2], host[-ranks:])
        on_train, on_val = host[2:-ranks].reshape(2, classes, classes).astype(np.int64)
        values = {
            "train/loss": float(host[0]) / seen,
            "train/accuracy": float(metrics.accuracy(on_train)),
            "val/loss": float(host[1]) / len(self.data.val),
            "val/accuracy": float(metrics.accuracy(on_val)),
            "val/macro_f1": float(metrics.macro_f1(on_val)),
        }
        speed = seen / max(train_seconds(), 1e-9)
        self.inference = min(self.inference, val_seconds() / max(1, len(val.index)))
        record = EpochRecord(epoch, values, self.schedule.lr, time.perf_counter() - started, speed)
        self._remember(record, on_val, val)
        self.schedule.after_epoch(epoch, values[self.config.metric.name])
        self.epoch = epoch
        if self.observer and self.world.rank == 0:
            self.observer.after_epoch(self, record)
        return record

    def _check_finite(self, epoch: int, losses: Array, bad: Array) -> None:
        """Raise NotFiniteError for sums of losses (training, validation) and each rank's first bad step, 0 for none."""
        if bad.any():
            step = int(bad[bad > 0].min())
            lr = self.schedule.at(epoch, (step - 1) / self.feed.steps)
            raise NotFiniteError(f"the loss is not finite: epoch {epoch}, step {step}, learning rate {lr:g}")
        if not np.isfinite(losses).all():
            lr = self.schedule.lr
            raise NotFiniteError(f"the loss is not finite after epoch {epoch}, on val, learning rate {lr:g}")

    def _train(self, epoch: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        """One pass over the training split: images seen by all ranks and, on the device, the sum of this rank's losses
        () and, in its place among the ranks (world,), the first step whose loss is not finite, from 1, 0 for none."""
        self.model.train()
        device, steps = self.world.device, self.feed.steps
        total = torch.zeros((), dtype=torch.float64, device=device)
        first_bad = torch.zeros((), dtype=torch.float64, device=device)
        seen = 0
        for number, step in enumerate(self.feed.train(epoch, self.micro_batch), start=1):
            self.schedule.before_step(epoch, (number - 1) / steps)
            seen += step.size
            loss = self._step(step, epoch if number == steps else None)
            first_bad = torch.where((first_bad == 0) & ~torch.isfinite(loss), number, first_bad)
            total += loss
            if self.ema:
                self.ema.update((epoch - 1) * steps + number - 1)
            watchdog.beat()
        average_statistics(self.model, self.world)
        bad = torch.zeros(self.world.size, dtype=torch.float64, device=device)
        bad[self.world.rank] = first_bad
        return seen, total, bad

    def _step(self, step: Step, ending: int | None) -> torch.Tensor:
        """Forward, backward over the micro-batches, one update; returns the sum of this rank's losses, ().

        `ending` is the epoch whose last step this is, if it is one.
        """
        summed = torch.zeros((), dtype=torch.float64, device=self.world.device)
        if self.norms:
            self.norms.before_step()
        if step.count == 0:
            shape = (1, self.data.channels, self.data.image_size, self.data.image_size)
            blank = torch.zeros(
                shape, device=self.world.device, dtype=next(self.model.parameters()).dtype
            )  # (1, C, H, W)
            take_part(self.ranked, blank, self.precision.autocast())
        for number, batch in enumerate(step.parts, start=1):
            self.full = self.full or len(batch.labels)
            forward = self.forward if len(batch.labels) == self.full else self.ranked
            with sync_only(self.ranked, number == step.count):
                with self.precision.autocast():
                    logits = forward(batch.images)  # (B, K)
                loss = self.loss(widened(logits), batch)
                # DDP averages over the ranks: times their number, it is sum / global batch
                (loss * (self.world.size / step.size)).backward()  # type: ignore[no-untyped-call]
            summed += loss.detach()
        if self.norms:
            self.norms.after_step(step.size)
        if self.observer and ending is not None:
            self.observer.before_clip(self, ending)
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return summed

    def evaluate(self, split: Literal["train", "val", "test"], limit: int | None = None) -> Evaluation:
        """Score this rank's share of a split (or of a fixed sample of `limit` images), unaugmented."""
        batches = self.feed.evaluate(split, batch_size=max(1, min(512, 2 * self.micro_batch)), limit=limit)
        return score(self.model, batches, len(self.data.classes), self.world.device, self.precision)

    def scores(self, evaluation: Evaluation, count: int) -> Array:
        """The probabilities of all ranks in the order of the split, (count, K) float16."""
        whole = torch.zeros(count, len(self.data.classes), device=self.world.device)  # (N, K)
        whole[evaluation.index] = evaluation.scores
        return metrics.halved(self.world.sum(whole).cpu().numpy())

    def _remember(self, record: EpochRecord, confusion: Array, val: Evaluation) -> None:
        name = self.config.metric.name
        value = record.metrics[name]
        if self.best is None or math.isnan(self.best[name]) or self.config.metric.better(value, self.best[name]):
            self.best = {"epoch": record.epoch, name: value}
            self.best_weights = {key: tensor.detach().clone() for key, tensor in self.model.state_dict().items()}
            self.best_scores = self.scores(val, len(self.data.val))
        self.confusions[record.epoch] = confusion
        kept = {self.best["epoch"], record.epoch}
        self.confusions = {e: c for e, c in self.confusions.items() if e & (e - 1) == 0 or e in kept}
        self.history.append(record.to_dict())

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the weights that are scored: the averaged ones where there are any."""
        with self.ema.in_place() if self.ema else contextlib.nullcontext():
            return {key: tensor.detach().clone() for key, tensor in self.model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """What the next epoch depends on, as tensors, numbers and lists; best weights and scores lie beside it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "ema": self.ema.state() if self.ema else None,
            "epoch": self.epoch,
            "best": self.best,
            "history": self.history,
            "inference": self.inference,
            "micro_batch": self.micro_batch,
            "observer": self.observer.state() if self.observer else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; the epochs that follow equal those of an uninterrupted run."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state(state["schedule"])
        if self.ema:
            self.ema.load_state(state["ema"])
        self.epoch, self.best, self.history = state["epoch"], state["best"], list(state["history"])
        self.best_weights, self.best_scores = state.get("best_weights", {}), state.get("best_scores")
        self.confusions = dict(state["confusions"])
        self.inference = state.get("inference", math.inf)  # absent from checkpoints of earlier versions
        self.micro_batch = min(state["micro_batch"], self.micro_batch)  # memory may have become less
        if self.observer and state["observer"] is not None:
            self.observer.load_state(state["observer"])


def _mixed(*numbers: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "big") >> 1
