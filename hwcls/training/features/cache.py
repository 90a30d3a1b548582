"""Features of a frozen backbone in the cache: a folder for each backbone and preprocessing of a data set's images.

`features/<data set>-<key>` has, for each split of the store and each view that was needed, the files of
`hwcls.training.features.feature_file`. The key is a hash of all that features depend on: the weights, the settings of
the backbone, the store of the pixels, and the mean and std that they are normalised by.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.cache import leases
from hwcls.data.cache.limit import FEATURES
from hwcls.data.catalog import cache_folder
from hwcls.data.imageset import ImageSet
from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.training.features.feature_file import FeatureFile
from hwcls.training.features.views import pixel_augment, view_name

FORMAT = 1  # raised when files, views or the computation change


@dataclass(frozen=True)
class FeatureStore:
    """The features of a data set's images for one backbone; M images of a store's split, F features.

    A split is train, val or test as the trial has it; val and test may be part of the training images' file.
    """

    folder: Path
    data: ImageSet
    augment: AugmentConfig

    def file(self, split: str, view: int = 0) -> FeatureFile:
        """The file of the features of a split, in a view."""
        images = getattr(self.data, split).images
        source = next(name for name in ("train", "val", "test") if getattr(self.data, name).images is images)
        return FeatureFile(self.folder / f"{view_name(source, view, self.augment)}.npy", len(images))

    def missing(self, split: str, view: int = 0) -> np.ndarray:
        """Those of the split's rows that are not computed or damaged."""
        return self.file(split, view).missing(getattr(self.data, split).rows)

    def read(self, split: str, view: int = 0) -> np.ndarray:
        """(M, F) float16, memory-mapped, read-only; index it with the split's `rows`.

        Raises:
            UserError: Features of the split's images are missing: `compute_features` makes them.
        """
        file = self.file(split, view)
        if missing := len(file.missing(getattr(self.data, split).rows)):
            what = f"the features of {format_count(missing, 'image')} of {split} are missing"
            raise UserError(what, where=str(file.path))
        found = file.read()
        assert found is not None
        return found


def open_features(config: TrialConfig, data: ImageSet) -> FeatureStore:
    """The features of a trial's images, computed or not; they are not removed while this process lives.

    Neither torch nor timm's model is needed. Raises UserError where the weights cannot be found.
    """
    depends = [FORMAT, data.store, data.mean, data.std, data.channels, config.model.feature_settings()]
    key = hashlib.blake2b(json.dumps(depends).encode(), digest_size=8).hexdigest()
    folder = cache_folder() / FEATURES / f"{data.name}-{key}"
    with contextlib.suppress(OSError):  # compute_features says it
        folder.parent.mkdir(parents=True, exist_ok=True)
    leases.hold(folder)
    return FeatureStore(folder, data, pixel_augment(config, data))
