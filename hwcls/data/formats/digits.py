"""8x8 handwritten digits, part of the package: digits.npz, so that nothing needs to be downloaded.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licensed under CC BY 4.0. These are the 1,797 images of its test set as scikit-learn
1.9 (BSD-3-Clause) distributes them in `sklearn.datasets.load_digits`, stored as uint8 and otherwise unchanged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwcls.data.catalog import DATA_SETS, DataSetSpec
from hwcls.data.formats.raw import RawData, RawSplit
from hwcls.data.splits import split_stratified

FILE = Path(__file__).with_name("digits.npz")  # images (1797, 8, 8) uint8, 0..16; labels (1797,) uint8
TEST_SHARE = 0.2


def read_digits() -> RawData:
    """1,797 images (N, 8, 8, 1) uint8, 0..16 scaled to 0..255; a fixed stratified fifth is the test split."""
    with np.load(FILE, allow_pickle=False) as arrays:
        images = np.rint(arrays["images"] * (255 / 16)).astype(np.uint8)[..., None]  # (N, 8, 8, 1)
        labels = arrays["labels"].astype(np.int64)
    train, test = split_stratified(labels, np.arange(len(labels)), TEST_SHARE, seed=0)
    return RawData(
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
