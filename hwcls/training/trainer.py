"""The training loop: a generator that yields one EpochRecord per epoch.

Shapes: B images of a micro-batch, C channels, H x W pixels, K classes, N images of a split.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from hwcls import metrics, models
from hwcls.config.model import AlexNetConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.batches import Batch, Feed, Step
from hwcls.data.catalog import cache_folder
from hwcls.data.imageset import ImageSet
from hwcls.tracking.records import EpochRecord
from hwcls.training.distributed import World
from hwcls.training.memory import fit_micro_batch
from hwcls.training.observer import Observer
from hwcls.training.optim import Schedule, build_optimizer
from hwcls.training.pretrain import encoder_weights

TRAIN_SAMPLE = 10_000  # training images on which train/accuracy is measured
Array = np.ndarray[Any, Any]


class NotFiniteError(Exception):
    """The loss became NaN or infinite: training again would give the same."""


@dataclass
class Evaluation:
    """One pass over a split in evaluation mode."""

    loss: torch.Tensor  # () sum over this rank's images, float64
    confusion: torch.Tensor  # (K, K) int64, rows true, columns predicted, this rank's images
    scores: torch.Tensor  # (n, K) probabilities of this rank's images
    index: torch.Tensor  # (n,) their positions in the split


class Trainer:
    """Trains what a TrialConfig describes on one rank of a World.

    Args:
        config: The trial.
        data: Its images.
        world: This rank among all; the global batch is shared out over the ranks.
        observer: Looks on; see hwcls.training.observer.
        dtype: Of weights and images; float64 for exact comparisons.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: ImageSet,
        world: World | None = None,
        observer: Observer | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.data, self.world, self.observer = config, data, world or World(), observer
        device = self.world.device
        torch.manual_seed(config.seed)
        model = self._build_model().to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model: nn.Module = model
        self.ranked = self._over_ranks(model)
        self.feed = Feed(
            data, config.data, seed=config.seed, device=device, rank=self.world.rank, world=self.world.size, dtype=dtype
        )
        self.optimizer = build_optimizer(config.optimizer, model)
        self.schedule = Schedule(
            config.scheduler, self.optimizer, lr=config.optimizer.lr, epochs=config.epochs, metric=config.metric
        )
        self.epoch = 0  # the last one that ended
        self.best: dict[str, Any] | None = None  # {"epoch": ..., metric: ...}
        self.best_weights: dict[str, torch.Tensor] = {}
        self.best_scores: Array | None = None  # (N, K) float16, val at the best epoch
        self.confusions: dict[int, Array] = {}  # by epoch: first, powers of two, best, last
        self.history: list[dict[str, Any]] = []
        self.micro_batch = self._fit_micro_batch()

    def _build_model(self) -> nn.Module:
        data, config = self.data, self.config.model
        model = models.build(config, classes=len(data.classes), channels=data.channels, image_size=data.image_size)
        if isinstance(config, AlexNetConfig) and config.pretrain:
            weights = encoder_weights(self.config, data, self.world.device, cache_folder())
            cast(nn.Module, model.encoder).load_state_dict(weights)
        return model

    def _over_ranks(self, model: nn.Module) -> nn.Module:
        if self.world.size == 1:
            return model
        devices = [self.world.device] if self.world.device.type == "cuda" else None
        ranked = DistributedDataParallel(model, device_ids=devices)
        ranked.broadcast_buffers = False  # as an argument deprecated in torch 2.14, its heir unknown before
        return ranked

    def _fit_micro_batch(self) -> int:
        """Images per rank and backward pass: the whole share where it fits."""
        share = -(-self.config.data.batch_size // self.world.size)
        if self.world.device.type == "cpu":
            return share
        buffers = [buffer.clone() for buffer in self.model.buffers()]

        def attempt(size: int) -> None:
            shape = (size, self.data.channels, self.data.image_size, self.data.image_size)
            images = torch.zeros(shape, device=self.world.device).contiguous(
                memory_format=torch.channels_last
            )  # (B, C, H, W)
            try:
                with self._precision():
                    self.model(images).sum().backward()
            finally:
                self.optimizer.zero_grad(set_to_none=True)

        size = fit_micro_batch(share, attempt, self.world)
        for buffer, kept in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(kept)
        return size

    def epochs(self) -> Iterator[EpochRecord]:
        """Train epoch by epoch from wherever the state is; after each yield the state can be saved.

        Raises:
            NotFiniteError: The loss is NaN or infinite; names the epoch, the step and the learning rate.
        """
        while self.epoch < self.config.epochs:
            yield self._run_epoch(self.epoch + 1)

    def _run_epoch(self, epoch: int) -> EpochRecord:
        # dropout is a function of (seed, epoch, rank): whatever ran before, resumed or not
        torch.manual_seed(_mixed(self.config.seed, epoch, self.world.rank))
        started = time.perf_counter()
        clock = _Clock(self.world.device)
        seen, loss, first_bad = self._train(epoch)
        train_seconds = clock.read
        train = self.evaluate("train", TRAIN_SAMPLE)
        val = self.evaluate("val")
        sums = torch.cat(
            [loss.view(1), val.loss.view(1), train.confusion.double().flatten(), val.confusion.double().flatten()]
        )
        self.world.sum(sums)
        host = torch.cat([sums, first_bad.double().view(1)]).cpu().numpy()  # the one sync of the epoch
        lr = self.schedule.lr
        if not np.isfinite(host[0]):
            step = f"step {int(host[-1]) + 1}" if host[-1] >= 0 else "another rank"
            raise NotFiniteError(f"the loss is not finite: epoch {epoch}, {step}, learning rate {lr:g}")
        classes = len(self.data.classes)
        on_train, on_val = host[2:-1].reshape(2, classes, classes).astype(np.int64)
        values = {
            "train/loss": float(host[0]) / seen,
            "train/accuracy": float(metrics.accuracy(on_train)),
            "val/loss": float(host[1]) / len(self.data.val),
            "val/accuracy": float(metrics.accuracy(on_val)),
            "val/macro_f1": float(metrics.macro_f1(on_val)),
        }
        speed = seen / max(train_seconds(), 1e-9)
        record = EpochRecord(epoch, values, lr, time.perf_counter() - started, speed)
        self._remember(record, on_val, val)
        self.schedule.after_epoch(epoch, values[self.config.metric.name])
        self.epoch = epoch
        if self.observer and self.world.rank == 0:
            self.observer.after_epoch(self, record)
        return record

    def _train(self, epoch: int) -> tuple[int, torch.Tensor, torch.Tensor]:
        """One pass over the training split: images seen by all ranks and, on the device, the sum of this rank's losses
        and the first step whose loss is not finite (-1: none)."""
        self.model.train()
        device = self.world.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        seen = 0
        for number, step in enumerate(self.feed.train(epoch, self.micro_batch)):
            self.schedule.before_step(epoch, number / self.feed.steps)
            seen += step.size
            loss = self._step(step, epoch if number + 1 == self.feed.steps else None)
            first_bad = torch.where((first_bad < 0) & ~torch.isfinite(loss), number, first_bad)
            total += loss
        self._average_norm_statistics()
        return seen, total, first_bad

    def _step(self, step: Step, ending: int | None) -> torch.Tensor:
        """Forward, backward over the micro-batches, one update; returns the sum of this rank's losses, ().

        `ending` is the epoch whose last step this is, if it is one.
        """
        summed = torch.zeros((), dtype=torch.float64, device=self.world.device)
        if step.count == 0:
            self._take_part_without_images()
        for number, batch in enumerate(step.parts, start=1):
            with self._sync_only(number == step.count), self._precision():
                loss = self._loss(self.ranked(batch.images), batch)
                # DDP averages over the ranks: times their number, it is sum / global batch
                (loss * (self.world.size / step.size)).backward()  # type: ignore[no-untyped-call]
            summed += loss.detach()
        if self.observer and ending is not None:
            self.observer.before_clip(self, ending)
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return summed

    def _loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        smoothing = self.config.label_smoothing
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits  # (B, K)
        if batch.other is None or batch.share is None:
            return F.cross_entropy(logits, batch.labels, reduction="sum", label_smoothing=smoothing)
        one = F.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=smoothing)  # (B,)
        two = F.cross_entropy(logits, batch.other, reduction="none", label_smoothing=smoothing)  # (B,)
        return (batch.share * one + (1 - batch.share) * two).sum()

    def _take_part_without_images(self) -> None:
        """A rank without a share of a ragged batch joins the others' all-reduce with zero gradients."""
        shape = (1, self.data.channels, self.data.image_size, self.data.image_size)
        blank = torch.zeros(shape, device=self.world.device, dtype=next(self.model.parameters()).dtype)  # (1, C, H, W)
        self.ranked.eval()  # so that no statistic and no dropout mask is touched
        with self._precision():
            (self.ranked(blank).sum() * 0).backward()
        self.ranked.train()

    def _sync_only(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        if last or not isinstance(self.ranked, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.ranked.no_sync()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.world.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def _average_norm_statistics(self) -> None:
        """Each rank saw its own images: the ranks' running means and variances become their average."""
        if self.world.size == 1:
            return
        for module in self.model.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
                self.world.sum(module.running_mean).div_(self.world.size)
                self.world.sum(module.running_var).div_(self.world.size)

    @torch.no_grad()
    def evaluate(self, split: Literal["train", "val", "test"], limit: int | None = None) -> Evaluation:
        """Score this rank's share of a split (or of a fixed sample of `limit` images), unaugmented."""
        self.model.eval()
        classes, device = len(self.data.classes), self.world.device
        loss = torch.zeros((), dtype=torch.float64, device=device)
        confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        scores, index = [torch.zeros(0, classes, device=device)], [torch.zeros(0, dtype=torch.int64, device=device)]
        for batch in self.feed.evaluate(split, batch_size=max(1, min(512, 2 * self.micro_batch)), limit=limit):
            with self._precision():
                logits = self.model(batch.images)
            logits = logits.float() if logits.dtype == torch.bfloat16 else logits  # (B, K)
            loss += F.cross_entropy(logits, batch.labels, reduction="sum")
            confusion += torch.bincount(batch.labels * classes + logits.argmax(1), minlength=classes * classes)
            scores.append(logits.softmax(1).float())  # (B, K)
            index.append(batch.index)
        return Evaluation(loss, confusion.view(classes, classes), torch.cat(scores), torch.cat(index))

    def scores(self, evaluation: Evaluation, count: int) -> Array:
        """The probabilities of all ranks in the order of the split, (count, K) float16."""
        whole = torch.zeros(count, len(self.data.classes), device=self.world.device)  # (N, K)
        whole[evaluation.index] = evaluation.scores
        return self.world.sum(whole).half().cpu().numpy()

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

    def state(self) -> dict[str, Any]:
        """What the next epoch depends on, as tensors, numbers and lists; best weights and scores lie beside it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "epoch": self.epoch,
            "best": self.best,
            "history": self.history,
            "micro_batch": self.micro_batch,
            "observer": self.observer.state() if self.observer else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; the epochs that follow equal those of an uninterrupted run."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state(state["schedule"])
        self.epoch, self.best, self.history = state["epoch"], state["best"], list(state["history"])
        self.best_weights, self.best_scores = state.get("best_weights", {}), state.get("best_scores")
        self.confusions = dict(state["confusions"])
        self.micro_batch = state["micro_batch"]
        if self.observer and state["observer"] is not None:
            self.observer.load_state(state["observer"])


def _mixed(*numbers: int) -> int:
    """One seed of 63 bits from several numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "big") >> 1


class _Clock:
    """Seconds of work queued so far: by events on a GPU, which need no sync until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.start = device, time.perf_counter()
        if device.type == "cuda":
            self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            self.events[0].record()

    @property
    def read(self) -> Any:
        """Stop here; the returned function tells the seconds once the device has got this far."""
        if self.device.type == "cuda":
            self.events[1].record()
            return lambda: self.events[0].elapsed_time(self.events[1]) / 1000
        seconds = time.perf_counter() - self.start
        return lambda: seconds
