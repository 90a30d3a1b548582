"""Steps whose shares and micro-batches are whole groups of images, for BatchNorm on groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from hwcls.data.loader import Batch, Feed, Step, chunk_bounds
from hwcls.errors import UserError


class GroupFeed:
    """A Feed cut into groups: the same images in the same order, each rank's share of a step whole groups.

    The images of an epoch that fill no group are left out; the order being drawn anew, others the next time.

    Args:
        feed: Of one rank among `feed.world`; evaluation is its own.
        size: Images of a group; divides the batch size.

    Raises:
        UserError: There are fewer training images than a group has.
    """

    def __init__(self, feed: Feed, size: int) -> None:
        self.feed, self.data, self.size = feed, feed.data, size
        self.per_step = feed.config.batch_size // size
        self.count = len(feed.data.train) // size
        if not self.count:
            what = f"{len(feed.data.train)} training images fill no group of {size}"
            raise UserError(what, where="norm_batch", remedy="keep more images or make it smaller")
        self.steps = -(-self.count // self.per_step)
        config = feed.config.model_copy(update={"batch_size": size})  # a step of it is a group
        self.groups = Feed(feed.data, config, seed=feed.seed, device=feed.device, dtype=feed.dtype)

    def train(self, epoch: int, micro_batch: int) -> Iterator[Step]:
        """The steps of an epoch, from 1; `micro_batch` is a number of whole groups, in images."""
        groups = self.groups.train(epoch)  # their images are made when asked for
        for start in range(0, self.count, self.per_step):
            step = list(islice(groups, min(self.per_step, self.count - start)))
            low, high = chunk_bounds(len(step), self.feed.world, self.feed.rank)
            count = -(-(high - low) * self.size // micro_batch)
            bounds = [chunk_bounds(high - low, count, part) for part in range(count)]
            chosen = [step[low + first : low + last] for first, last in bounds]
            parts = (_joined([next(group.parts) for group in chunk]) for chunk in chosen)
            yield Step(len(step) * self.size, count, parts)

    def evaluate(
        self, split: Literal["train", "val", "test"], batch_size: int = 512, limit: int | None = None
    ) -> Iterator[Batch]:
        """As Feed.evaluate: in evaluation mode there are no groups."""
        return self.feed.evaluate(split, batch_size, limit)


def _joined(groups: Sequence[Batch]) -> Batch:
    if len(groups) == 1:
        return groups[0]

    def joined(parts: list[Tensor | None]) -> Tensor | None:
        found = [part for part in parts if part is not None]
        return torch.cat(found) if found else None

    return Batch(
        torch.cat([group.images for group in groups]),  # (b, C, S, S), channels_last as its parts
        torch.cat([group.labels for group in groups]),
        torch.cat([group.index for group in groups]),
        joined([group.other for group in groups]),
        joined([group.share for group in groups]),
    )
