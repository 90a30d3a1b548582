"""What the features of a sweep take of the cache, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hwcls.data.cache.limit import LIMIT, cache_limit
from hwcls.data.catalog import cache_folder
from hwcls.data.disk import free_bytes
from hwcls.data.imageset import ImageSet
from hwcls.errors import UserError
from hwcls.format import format_bytes
from hwcls.sweep.preflight.features.jobs import FeatureJob

REMEDY = "set model.views lower, use fewer images (data.fraction), or compute them in each epoch: model.features: live"


@dataclass(frozen=True)
class CacheUsage:
    """Bytes of the cache that a sweep needs while it runs.

    Attributes:
        features: Of all its features.
        pending: Of those that are not there yet.
        images: Of its decoded images, which are there.
    """

    features: int
    pending: int
    images: int

    @classmethod
    def of(cls, jobs: Iterable[FeatureJob], images: int) -> CacheUsage:
        """The features of some jobs beside decoded images of so many bytes."""
        sizes = [(job.bytes, job.pending_bytes) for job in jobs]
        return cls(sum(every for every, _ in sizes), sum(pending for _, pending in sizes), images)

    def __str__(self) -> str:
        features = f"features {format_bytes(self.features)}, " if self.features else ""
        return f"cache: {features}decoded images {format_bytes(self.images)} in {cache_folder()}"


def pixel_bytes(sets: Iterable[ImageSet]) -> int:
    """What the decoded images of some data sets take; several may be parts of one store."""
    stores: dict[str, dict[int, int]] = {}
    for one in sets:
        stores[one.store] = {id(split.images): split.images.nbytes for split in (one.train, one.val, one.test)}
    return sum(sum(arrays.values()) for arrays in stores.values())


def check_cache(jobs: Sequence[FeatureJob], images: int) -> None:
    """Raise UserError where features that are to be computed do not fit beside decoded images of so many bytes."""
    usage = CacheUsage.of(jobs, images)
    if not usage.pending:
        return
    what = f"the {' and the '.join(map(str, jobs))} take {format_bytes(usage.features)}"
    limit = cache_limit()
    if usage.features + usage.images > limit:
        beside = f" beside {format_bytes(usage.images)} of decoded images" if usage.features <= limit else ""
        more = f"{what}{beside}, more than the cache may take, {format_bytes(limit)}"
        raise UserError(more, where=LIMIT, remedy=f"raise it, {REMEDY}")
    folder = next(place for place in (cache_folder(), *cache_folder().absolute().parents) if place.exists())
    if (free := free_bytes(folder)) < usage.pending:
        more = f"{what}, and the disk has only {format_bytes(free)} free"
        raise UserError(more, where=str(cache_folder()), remedy=f"free some space, {REMEDY}")
