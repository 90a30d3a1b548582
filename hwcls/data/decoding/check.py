"""Decodes every image once to find those that cannot be read, and names all of them in one error."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hwcls.data.decoding.codecs import count_problems, remedy_for
from hwcls.data.decoding.decode import (
    CHUNK,
    READ_ERRORS,
    check_image,
    corrupt_image_error,
    count_cpus,
    finish_range,
)
from hwcls.data.decoding.image_sizes import ImageSizes
from hwcls.data.decoding.memory import ENCODED
from hwcls.data.decoding.opened import describe_error, read_header
from hwcls.data.decoding.pixel_range import PixelRange, RangeMeter
from hwcls.data.formats.archive import FileTree
from hwcls.data.formats.raw import EncodedImages, RawData, UnusableImagesError
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.errors import UserError, unreadable

MOST_NAMED = 30  # images that an error names; of more it says how many


class ImageCheck:
    """Decodes every image once, on every CPU, and measures those of more than 8 bits."""

    def __init__(self, tree: FileTree, train: np.ndarray | EncodedImages) -> None:
        self.tree = tree
        self.train = frozenset(train.names) if isinstance(train, EncodedImages) else frozenset()
        self.meters = {True: RangeMeter(), False: RangeMeter()}  # of the training images, and of the others
        self.sizes = ImageSizes()  # of the training images

    def run(self, names: list[str]) -> Iterator[tuple[str, str | None]]:
        """Each file's name, and the problem with it, if any."""
        with ThreadPoolExecutor(count_cpus()) as pool:
            for start in range(0, len(names), CHUNK):
                yield from pool.map(self._look, names[start : start + CHUNK])

    def pixel_range(self) -> PixelRange | None:
        """As the store will find it: of the training images; where none has more than 8 bits, of the others."""
        found = (finish_range(self.meters[of], self.tree.where) for of in (True, False))
        return next((levels for levels in found if levels), None)

    def _look(self, name: str) -> tuple[str, str | None]:
        try:
            with ENCODED.reserve(self.tree.size(name)):
                data = self.tree.read(name)
                check_image(data, self.meters[name in self.train])
                if name in self.train:
                    self.sizes.add(read_header(data)[0])
        except READ_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:  # not the photo's fault: it is not left out
                raise unreadable(error, f"{self.tree.where}/{name}") from None
            return name, describe_error(error)
        return name, None


def name_all_unreadable(
    raw: RawData, first: UnusableImagesError, skip: str, title: str, report: ProgressReporter
) -> UserError:
    """The error of all images that cannot be read, where decoding stopped at one; `first` where each can be read.

    Args:
        skip: The remedy that leaves such images out.
    """
    images = raw.image_files
    if images is None:
        return first
    check = ImageCheck(images.tree, raw.splits["train"].images)
    meter = ProgressMeter(report, f"{title}: images", len(images), "checked, as one cannot be read")
    problems: dict[str, str] = {}
    for done, (name, problem) in enumerate(check.run(images.names), 1):
        if problem is not None:
            problems[name] = problem
        meter.update(done)
    return unreadable_images_error(raw, problems, skip) if problems else first


def unreadable_images_error(raw: RawData, problems: dict[str, str], skip: str) -> UserError:
    """The error about images that cannot be read: how many of each kind, their names, and what to do.

    Args:
        problems: By the image's name; not empty.
        skip: The remedy that leaves such images out.
    """
    images, lost = raw.image_files, _lost_classes(raw, problems)
    assert images is not None
    if len(problems) == 1 and not lost:
        return corrupt_image_error(images, *next(iter(problems.items())), skip)
    more = f" and {len(problems) - MOST_NAMED:,} more" if len(problems) > MOST_NAMED else ""
    what = f"{len(problems):,} of {len(images):,} images cannot be read ({count_problems(problems.values())})"
    known = dict.fromkeys(map(remedy_for, problems.values()))
    remedies = [remedy for remedy in known if remedy]
    others = [f"replace or remove the {'others' if remedies else 'files'}"] if None in known else []
    remedy = "; ".join([*remedies, *others])
    if not remedies and not lost:
        remedy += f", {skip}"
    what += f": {', '.join(list(problems)[:MOST_NAMED])}{more}"
    return UserError(what, where=images.tree.where, remedy=remedy)


def _lost_classes(raw: RawData, problems: dict[str, str]) -> bool:
    """Whether a class would lose half of its images of a split or more: then leaving them out is no advice."""
    for split in raw.splits.values():
        if isinstance(split.images, EncodedImages):
            bad = np.array([name in problems for name in split.images.names])
            lost, all_of = np.bincount(split.labels, weights=bad), np.bincount(split.labels)
            if (2 * lost[all_of > 0] >= all_of[all_of > 0]).any():
                return True
    return False
