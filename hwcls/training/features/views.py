"""The views of the images that a trial's cached features are of: view 0 is the plain image, the others are augmented.

A view is a function of the augmentation and of the row of an image in its store, so that all subsets, splits and trials
share it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch
from hwcls.data.imageset import ImageSet

SEED = 0  # of the views


@dataclass(frozen=True)
class Part:
    """Rows (n,) of a split's store, ascending, whose features a trial needs in one view."""

    split: str
    view: int
    rows: np.ndarray


def pixel_augment(config: TrialConfig, data: ImageSet) -> AugmentConfig:
    """The trial's augmentation as far as it changes an image by itself."""
    return (config.data.augment or data.augment).without_mixing()


def needed_parts(config: TrialConfig, data: ImageSet) -> list[Part]:
    """What a trial with cached features needs, the plain images first; nothing where its model caches none."""
    views = config.cached_views(data.augment)
    if views is None:
        return []
    plain = [Part(split, 0, getattr(data, split).rows) for split in ("train", "val", "test")]
    return plain + [Part("train", view, data.train.rows) for view in range(1, views)]


def view_name(split: str, view: int, augment: AugmentConfig) -> str:
    """The name of a view's file: that of an augmented view is another for each augmentation."""
    if not view:
        return f"{split}.0"
    text = json.dumps([SEED, augment.model_dump(mode="json", exclude={"label"}, exclude_defaults=True)])
    return f"{split}.{view}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


def plan_view(augment: AugmentConfig, count: int, side: int, view: int) -> AugmentPlan | None:
    """How each of the `count` images of a store is changed in a view, an entry per row; None: not at all."""
    return plan_epoch(augment, count, side, SEED, view) if view else None


def first_alike(augment: AugmentConfig, count: int, side: int, view: int) -> np.ndarray:
    """(count,) the first view in which each image is as in `view`: where images are only mirrored, half are plain."""
    first = np.full(count, view)
    moves = [_whole_moves(plan_view(augment, count, side, number), count) for number in range(view + 1)]
    for number in range(view - 1, -1, -1):
        if (here := moves[view]) is not None and (there := moves[number]) is not None:
            first[(here == there).all(axis=1)] = number
    return first


def _whole_moves(plan: AugmentPlan | None, count: int) -> np.ndarray | None:
    """(count, 4) how each image is shifted and mirrored, in whole pixels; None where a plan does anything else."""
    moves = np.zeros((count, 4), np.int64)
    if plan is None:
        return moves
    if any(getattr(plan, name) is not None for name in ("theta", "colour", "op", "hole", "square")):
        return None
    for place, part in ((slice(0, 2), plan.shift), (2, plan.vflip), (3, plan.hflip)):
        if part is not None:
            moves[:, place] = part.numpy()
    return moves
