"""The 8x8 digits that come with scikit-learn: nothing to download."""

from __future__ import annotations

import numpy as np

from hwcls.data.catalog import DATA_SETS, DataSetSpec
from hwcls.data.formats.raw import Raw, RawSplit
from hwcls.data.splits import carve

TEST_SHARE = 0.2


def read_digits() -> Raw:
    """1,797 images (N, 8, 8, 1) uint8, 0..16 scaled to 0..255; a fixed stratified fifth is the test split."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # (N, 8, 8, 1)
    labels = bunch.target.astype(np.int64)
    train, test = carve(labels, np.arange(len(labels)), TEST_SHARE, seed=0)
    return Raw(
        tuple(str(digit) for digit in range(10)),
        {"train": RawSplit(images[train], labels[train]), "test": RawSplit(images[test], labels[test])},
    )


DATA_SETS.register("digits")(
    DataSetSpec(
        "8x8 grey digits of scikit-learn, nothing to download",
        lambda path: read_digits(),
        image_size=8,
        channels=1,
        embedded=True,
    )
)
