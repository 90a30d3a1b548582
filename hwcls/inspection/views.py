"""Test-time augmentation: a model's probabilities averaged over several views of each image.

View 0 is the plain image. The others are changed as the training images were, but always in the same way: mirrored
where the training mirrored, in turn, and everything else drawn once for each view from a fixed seed. So a view does
not depend on the image, on its batch or on the machine. What takes pixels away or mixes images (erase, cutout, mixup,
cutmix) makes training harder, not a prediction better, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from hwcls.config.data import AugmentConfig
from hwcls.data.augment.apply import Normalise, augment_batch
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch
from hwcls.errors import UserError

SEED = 0  # of what is drawn; the view is its epoch
LEFT_OUT = {"erase": 0.0, "cutout": 0, "mixup": 0.0, "cutmix": 0.0}
FLIPS = {"hflip": False, "vflip": False}


@dataclass(frozen=True)
class View:
    """How one view differs from the plain image: mirrored left to right, top to bottom, then moved and coloured."""

    hflip: bool = False
    vflip: bool = False
    plan: AugmentPlan | None = None  # of a single image, on the CPU

    @property
    def axes(self) -> list[int]:
        """The axes of (..., H, W) that are reversed."""
        return [-2] * self.vflip + [-1] * self.hflip


@dataclass(frozen=True)
class Views:
    """The views of an image whose probabilities are averaged.

    Attributes:
        shown: The first is the plain image.
        augment: What the plans of the others were drawn from.
    """

    shown: tuple[View, ...]
    augment: AugmentConfig

    def __len__(self) -> int:
        return len(self.shown)

    @property
    def only_mirrored(self) -> bool:
        """Whether no view does more than reverse rows or columns."""
        return all(view.plan is None for view in self.shown)

    def images(self, pixels: Tensor, normalise: Normalise) -> Iterator[Tensor]:
        """(b, S, S, C) uint8 as (b, C, S, S) normalised floats, view after view."""
        for view in self.shown:
            seen = pixels.flip([axis - 1 for axis in view.axes]) if view.axes else pixels  # C is last
            if view.plan is None:
                yield normalise(seen).permute(0, 3, 1, 2)
                continue
            every = torch.zeros(len(pixels), dtype=torch.int64)  # all images have the one plan
            plan = view.plan.at(every).to(pixels.device, normalise.work)
            yield augment_batch(seen, plan, self.augment, normalise).permute(0, 3, 1, 2)


PLAIN = Views((View(),), AugmentConfig())


def plan_views(augment: AugmentConfig, side: int, count: int) -> Views:
    """At most `count` views for a model that was trained with `augment` on images of `side` pixels.

    There are fewer where it only mirrors: two, or four where rows are reversed as well. Raises UserError where it
    changes no pixels, so that every view would be the plain one.
    """
    if count == 1:
        return PLAIN
    rest = augment.model_copy(update={**LEFT_OUT, **FLIPS, "label": None})
    flips = [(h, v) for v, h in product((False, True)[: 1 + augment.vflip], (False, True)[: 1 + augment.hflip])]
    moves = rest != AugmentConfig()
    if not moves and len(flips) == 1:
        what = "more views would change nothing: it was trained without an augmentation that changes pixels"
        remedy = "leave --views out, or train with data.augment, such as {hflip: true}"
        raise UserError(what, where="--views", remedy=remedy)
    shown = [View()]
    for place in range(1, count if moves else min(count, len(flips))):
        hflip, vflip = flips[place % len(flips)]
        shown.append(View(hflip, vflip, plan_epoch(rest, 1, side, SEED, place) if moves else None))
    return Views(tuple(shown), rest)
