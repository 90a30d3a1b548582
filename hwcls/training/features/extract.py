"""Compute the features of a frozen backbone that a trial needs and the cache does not have, once on this machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from hwcls import models
from hwcls.config.trial import TrialConfig
from hwcls.data import disk
from hwcls.data.augment.apply import Normalise, augment_batch
from hwcls.data.augment.parameters import AugmentPlan
from hwcls.data.cache.limit import LIMIT, cache_limit, make_room
from hwcls.data.enlarged import EnlargedImages
from hwcls.data.imageset import ImageSet
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.errors import UserError
from hwcls.format import format_bytes, format_duration
from hwcls.models.memory_format import to_channels_last
from hwcls.training import watchdog
from hwcls.training.features.cache import FeatureStore, open_features
from hwcls.training.features.feature_file import Claim, FeatureFile
from hwcls.training.features.fold import fold_batch_norm, relative_difference
from hwcls.training.features.views import first_alike, needed_parts, pixel_augment, plan_view
from hwcls.training.memory import free_memory, is_out_of_memory, retain_freed_memory
from hwcls.training.step.micro_batch import halve_micro_batch

CPU_BATCH, GPU_BATCH = 32, 256  # images at once: on a CPU as many as its caches hold
PROBED = 8  # images that folded BatchNorm and float16 are tried on
HALF = 1e-3  # the largest relative difference with which a GPU computes in float16
COPIED = 4096  # rows at once
WAIT = 0.1  # seconds between looks at what other processes compute
UPDATE_EVERY = 1.0  # seconds between looks at how much is done


@dataclass(frozen=True)
class Work:
    """Rows (n,) of a file of features that a trial needs, in one view of the images (M, S, S, C) uint8."""

    file: FeatureFile
    rows: np.ndarray
    images: np.ndarray | EnlargedImages
    view: int
    earlier: tuple[FeatureFile, ...]  # of the views before


def compute_features(
    config: TrialConfig,
    data: ImageSet,
    device: torch.device,
    report: ProgressReporter | None = None,
    stop: Callable[[], bool] | None = None,
) -> bool:
    """Compute the features that a trial needs and the cache does not have; nothing for a trial that needs none.

    Any number of processes may do so at once: each row is computed by one of them, and all return when all are there.
    What a killed process has finished counts.

    Args:
        config: The trial, with its `image_size`.
        data: Its images.
        device: Where the backbone runs.
        report: Called with one line now and then.
        stop: Asked now and then; once it is true, the computation ends.

    Returns:
        Whether all features are there now; False after `stop`.

    Raises:
        UserError: The backbone cannot be built, the cache cannot hold the features or cannot be written, or the
            features are not finite in float16.
    """
    if not _find_work(config, data):
        return True
    retain_freed_memory()
    extractor = _Extractor(config, data, device)
    work = _find_work(config, data)  # weights that were downloaded just now are known by their content from here on
    report = report or (lambda line: None)
    store = open_features(config, data)
    needed = sum(len(one.rows) for one in work) * extractor.width * 2
    _make_room(store, needed, report)
    progress = _Progress(config, work, report)
    try:
        for one in work:
            one.file.create(extractor.width)
            for _ in _compute(one, extractor):
                progress.update()
                watchdog.reset_timer()
                if stop is not None and stop():
                    return False
    except OSError as error:
        raise _write_error(error, store, needed) from error
    finally:
        for one in work:
            one.file.close()
    return True


@torch.inference_mode()
def time_extraction(config: TrialConfig, data: ImageSet, device: torch.device, seconds: float) -> float:
    """How many seconds the features of an image take here, augmentation included; nothing is written.

    The weights are random, so that none are downloaded. It is measured for about `seconds`, one batch at least.
    """
    model = config.model.without_pretrained()
    extractor = _Extractor(config.model_copy(update={"model": model}), data, device)
    rows = data.train.rows[: extractor.batch]
    pixels = torch.from_numpy(data.train.images[rows])
    view = (config.cached_views(data.augment) or 1) - 1
    augmented = plan_view(extractor.augment, len(data.train.images), extractor.side, view)
    plan = None if augmented is None else augmented.at(torch.from_numpy(rows))
    extractor.compute(pixels, plan)
    steps: list[float] = []
    while not steps or sum(steps) < seconds:
        started = time.perf_counter()
        extractor.compute(pixels, plan)
        steps.append(time.perf_counter() - started)
    return median(steps) / len(rows)


def _find_work(config: TrialConfig, data: ImageSet) -> list[Work]:
    """What a trial needs, without what is there."""
    if not (parts := needed_parts(config, data)):
        return []  # most families have no features
    store, work = open_features(config, data), []
    for part in parts:
        file = store.file(part.split, part.view)
        if len(missing := file.missing(part.rows)):
            earlier = tuple(store.file(part.split, view) for view in range(part.view))
            work.append(Work(file, missing, getattr(data, part.split).images, part.view, earlier))
    return work


def _compute(work: Work, extractor: _Extractor) -> Iterator[None]:
    """Compute the rows that no other process computes; yields after each step, and while others are waited for."""
    augment, count, side = extractor.augment, len(work.images), extractor.side
    plan = plan_view(augment, count, side, work.view)
    _copy_alike(work, first_alike(augment, count, side, work.view))
    with ThreadPoolExecutor(1) as pool:
        for found in _read_ahead(work, extractor.batch, pool):
            if found is None:
                time.sleep(WAIT)
            else:
                claim, pixels = found
                here = None if plan is None else plan.at(torch.from_numpy(claim.rows))
                work.file.write(claim.rows, extractor(torch.from_numpy(pixels.result()), here))
                claim.release()
            yield


def _copy_alike(work: Work, first: np.ndarray) -> None:
    """Copy the features of images that look as in an earlier view, which for each row is `first` (M,)."""
    for view, file in enumerate(work.earlier):
        rows = work.rows[first[work.rows] == view]
        rows = rows[~np.isin(rows, file.missing(rows))]
        for start in range(0, len(rows), COPIED):
            some = rows[start : start + COPIED]
            if (features := file.read()) is not None:
                work.file.write(some, features[some])


def _read_ahead(work: Work, size: int, pool: ThreadPoolExecutor) -> Iterator[tuple[Claim, Future[np.ndarray]] | None]:
    """Claims and their pixels (n, S, S, C), which are read while those before them are computed; None: wait."""
    ready: tuple[Claim, Future[np.ndarray]] | None = None
    for claim in work.file.claims(work.rows, size):
        following = None if claim is None else (claim, pool.submit(work.images.__getitem__, claim.rows))
        if ready or claim is None:
            yield ready  # what has been claimed is computed before others are waited for
        ready = following
    if ready:
        yield ready


class _Extractor:
    """Maps pixels to the features of a trial's backbone, as they are in training without a cache."""

    def __init__(self, config: TrialConfig, data: ImageSet, device: torch.device) -> None:
        self.device, self.side, self.augment = device, data.image_size, pixel_augment(config, data)
        self.batch = CPU_BATCH if device.type == "cpu" else GPU_BATCH
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model = models.build(
                config.model, classes=len(data.classes), channels=data.channels, image_size=data.image_size
            )
        some = torch.from_numpy(data.train.images[data.train.rows[:PROBED]])
        on_cpu = Normalise(data.mean, data.std, data.image_size, torch.device("cpu"), torch.float32)
        images = on_cpu(some).permute(0, 3, 1, 2)  # (b, C, S, S)
        backbone = to_channels_last(cast(nn.Module, model.backbone))
        backbone, expected = fold_batch_norm(backbone, images)
        self.width = expected.shape[1]
        self.backbone = backbone.to(device)
        self.normalise = Normalise(data.mean, data.std, data.image_size, device, torch.float32)
        self.half = False
        if device.type == "cuda":
            self.half = True
            self.half = relative_difference(self._forward(images.to(device)).cpu(), expected) < HALF

    def __call__(self, pixels: Tensor, plan: AugmentPlan | None) -> np.ndarray:
        """(n, F) float16 of pixels (n, S, S, C) uint8 changed by `plan`; raises UserError where it cannot hold them."""
        features = self.compute(pixels, plan)
        if self.half and not np.isfinite(features).all():  # the images that it was tried on have smaller activations
            self.half = False
            features = self.compute(pixels, plan)
        return _to_float16(features)

    def compute(self, pixels: Tensor, plan: AugmentPlan | None) -> np.ndarray:
        """As calling it, float32; in smaller batches from here on where memory runs out."""
        parts, start = [], 0
        while start < len(pixels):
            some = slice(start, start + self.batch)
            features = self._features(pixels[some], None if plan is None else plan.at(some))
            if features is None:  # outside the handler, whose error would keep the tensors alive
                free_memory()
                self.batch = halve_micro_batch(self.batch)
                continue
            parts.append(features)
            start += len(features)
        return np.concatenate(parts)

    @torch.inference_mode()
    def _features(self, pixels: Tensor, plan: AugmentPlan | None) -> np.ndarray | None:
        """(n, F) float32; None where memory ran out."""
        try:
            pixels = pixels.to(self.device)
            if plan is None:
                images = self.normalise(pixels)
            else:
                images = augment_batch(pixels, plan.to(self.device, self.normalise.work), self.augment, self.normalise)
            found: np.ndarray = self._forward(images.permute(0, 3, 1, 2)).cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return found

    @torch.inference_mode()
    def _forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.float16) if self.half else contextlib.nullcontext():
            features: Tensor = self.backbone(images)
        return features.float()


def _to_float16(features: np.ndarray) -> np.ndarray:
    """(n, F) as float16; raises UserError where it cannot hold them."""
    with np.errstate(over="ignore"):
        halves = features.astype(np.float16)
    bad = ~np.isfinite(halves).all(axis=1)
    if bad.any():
        what = f"the features of {bad.sum():,} of {len(halves):,} images are not finite, or beyond float16's 65,504"
        raise UserError(what, where="model.features", remedy="set it to live, or take other weights")
    return halves


class _Progress:
    """Reports how much is done of what was missing at the start, by all processes together."""

    def __init__(self, config: TrialConfig, work: list[Work], report: ProgressReporter) -> None:
        self.work, self.total = work, sum(len(one.rows) for one in work)
        self.started, self.first = time.monotonic(), self._done()
        self.meter = ProgressMeter(report, f"{config.data.title}: features", self.total, "images")
        self._updated = self.started

    def update(self) -> None:
        """Look at the files, at most every UPDATE_EVERY."""
        now = time.monotonic()
        if now - self._updated < UPDATE_EVERY:
            return
        self._updated, done = now, self._done()
        rate = (done - self.first) / (now - self.started)
        left = f", {format_duration((self.total - done) / rate)} left" if rate else ""
        self.meter.update(done, f" ({rate:,.0f} images/s{left})")

    def _done(self) -> int:
        return self.total - sum(one.file.count_pending(one.rows) for one in self.work)


def _make_room(store: FeatureStore, needed: int, report: ProgressReporter) -> None:
    """See that the cache can be written and has room for `needed` bytes; raises UserError."""
    folder = store.folder
    disk.make_cache_folder(folder)
    if not os.access(folder, os.W_OK):
        remedy = "set HWCLS_CACHE to a folder that you may write"
        raise UserError("cannot be written", where=str(folder), remedy=remedy)
    if needed > (limit := cache_limit()):
        what = f"the features take {format_bytes(needed)}, more than the cache's limit of {format_bytes(limit)}"
        raise UserError(what, where=LIMIT, remedy="raise it, or set model.views lower")
    make_room(needed, report)
    if disk.free_bytes(folder) < needed:
        raise _space_error(store, needed)


def _write_error(error: OSError, store: FeatureStore, needed: int) -> Exception:
    return _space_error(store, needed) if disk.is_disk_full(error) else error


def _space_error(store: FeatureStore, needed: int) -> UserError:
    what = f"the disk is full: the features take {needed:,} bytes"
    remedy = "free some space, set HWCLS_CACHE to another disk, or set model.views lower"
    return UserError(what, where=str(store.folder), remedy=remedy)
