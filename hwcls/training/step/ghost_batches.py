"""Steps whose shares and micro-batches are complete groups of images, for BatchNorm on groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from hwcls.data.loader import Batch, EpochFeed, SplitName, Step, chunk_bounds
from hwcls.errors import UserError


class GroupFeed:
    """A feed split into groups: the same images in the same order, each rank's share of a step is complete groups.

    An epoch leaves out the images after the last complete group; these differ, as each epoch is shuffled again.

    Args:
        feed: Of one rank; evaluation uses it unchanged.
        size: Images of a group; divides the batch size.

    Raises:
        UserError: There are fewer training images than a group has.
    """

    def __init__(self, feed: EpochFeed, size: int) -> None:
        self.feed, self.data, self.size = feed, feed.data, size
        self.per_step = feed.config.batch_size // size
        self.count = len(feed.data.train) // size
        if not self.count:
            what = f"{len(feed.data.train)} training images are fewer than one group of {size}"
            raise UserError(what, where="norm_batch", remedy="keep more images or reduce it")
        self.steps = -(-self.count // self.per_step)
        self.groups = feed.rebatched(size)  # each of its steps is a group

    def train(self, epoch: int, micro_batch: int) -> Iterator[Step]:
        """The steps of an epoch, from 1; `micro_batch` is in images, a multiple of the group."""
        groups = self.groups.train(epoch)  # lazy: images are made when iterated over
        for start in range(0, self.count, self.per_step):
            step = list(islice(groups, min(self.per_step, self.count - start)))
            low, high = chunk_bounds(len(step), self.feed.world, self.feed.rank)
            count = -(-(high - low) * self.size // micro_batch)
            bounds = [chunk_bounds(high - low, count, part) for part in range(count)]
            chosen = [step[low + first : low + last] for first, last in bounds]
            parts = (_concatenated([next(group.parts) for group in chunk]) for chunk in chosen)
            yield Step(len(step) * self.size, count, parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image in a batch."""
        return self.feed.shape

    def evaluation_size(self, micro_batch: int) -> int:
        """As Feed.evaluation_size."""
        return self.feed.evaluation_size(micro_batch)

    def evaluate(self, split: SplitName, batch_size: int = 512, limit: int | None = None) -> Iterator[Batch]:
        """As Feed.evaluate: evaluation has no groups."""
        return self.feed.evaluate(split, batch_size, limit)


def _concatenated(groups: Sequence[Batch]) -> Batch:
    if len(groups) == 1:
        return groups[0]

    def concatenated(parts: list[Tensor | None]) -> Tensor | None:
        found = [part for part in parts if part is not None]
        return torch.cat(found) if found else None

    return Batch(
        torch.cat([group.images for group in groups]),  # (b, C, S, S), channels_last as its parts
        torch.cat([group.labels for group in groups]),
        torch.cat([group.index for group in groups]),
        concatenated([group.other for group in groups]),
        concatenated([group.share for group in groups]),
    )
