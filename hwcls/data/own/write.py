"""The table that an import writes beside images whose folders do not say everything, and a test split cut for good."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from hwcls.config.data import OWN_IMAGES, DataConfig
from hwcls.data.cuts.cut import Listing, select_images
from hwcls.data.cuts.index import make_index
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.escape import csv_text
from hwcls.format import format_count


def table_of(raw: RawData, left_out: Collection[str]) -> bytes:
    """A CSV of the images: file_name, label, split where there are several, and group where there are groups."""
    splits, groups = len(raw.splits) > 1, raw.groups is not None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", "label", *["split"] * splits, *["group"] * groups])
    for split, part in raw.splits.items():
        for row, label in enumerate(part.labels):
            name = raw.image_name(split, row)
            if name not in left_out:
                group = [raw.groups[split][row]] if raw.groups is not None else []
                cells = [name, raw.classes[label], *[split] * splits, *group]
                writer.writerow([csv_text(str(cell)) for cell in cells])
    return text.getvalue().encode()


def cut_test(name: str, raw: RawData, share: float, report: ProgressReporter) -> RawData:
    """The data set with a test split of about `share` of its images, as a sweep cuts it.

    Raises:
        UserError: It has a test split, or none can be cut.
    """
    if "test" in raw.splits:
        count = len(raw.splits["test"].labels)
        remedy = "leave --test out, or name other folders with --train-folder and --test-folder"
        what = f"there is a test split of {format_count(count, 'image')} already"
        raise UserError(what, where="--test", remedy=remedy)
    train = raw.splits["train"]
    assert isinstance(train.images, EncodedImages)
    names, groups = train.images.names, raw.groups["train"] if raw.groups is not None else None
    config = DataConfig(name=OWN_IMAGES, test=share)
    chosen = select_images(raw.classes, {"train": train.labels}, config, lambda: _list(name, raw, report))
    held_out = np.zeros(len(names), bool)
    held_out[chosen.rows["test"]] = True
    rows = {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)}
    found = f"test is cut from the images: {held_out.sum():,} of {len(names):,}"
    return replace(
        raw,
        splits={split: _some(train, names, of) for split, of in rows.items()},
        groups=groups if groups is None else {split: groups[of] for split, of in rows.items()},
        found=(*raw.found, found),
        plain=False,
    )


def _list(name: str, raw: RawData, report: ProgressReporter) -> Listing:
    """What the cut knows of the images; copies are equal files where an image cannot be read, as import then says."""
    try:
        return make_index(name, raw, report).listing(DataConfig(name=name))
    except UserError:
        images, groups = raw.image_files, raw.groups["train"] if raw.groups is not None else None
        assert images is not None
        digests = [hashlib.blake2b(images.tree.read(name), digest_size=8).digest() for name in images.names]
        return Listing(images.names, np.unique(np.array(digests), return_inverse=True)[1], groups)


def _some(part: RawSplit, names: list[str], rows: np.ndarray) -> RawSplit:
    assert isinstance(part.images, EncodedImages)
    return RawSplit(EncodedImages(part.images.tree, [names[row] for row in rows]), part.labels[rows])
