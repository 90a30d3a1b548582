"""A small data set of class folders, and backbones of timm with random weights in a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hwcls.config.trial import TrialConfig
from hwcls.data.cache import leases
from hwcls.data.imageset import ImageSet, open_data
from hwcls.training.features.feature_file import FeatureFile

SIDE = 32


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(leases, "_held", {})
    monkeypatch.setattr(FeatureFile, "_intact", {})


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 40 training images and 10 test images each."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 10)):
        for name in ("a", "b", "c"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
                file = io.BytesIO()
                coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "PNG")
                (root / split / name / f"{number}.png").write_bytes(file.getvalue())
    return root


@pytest.fixture
def trial(photos: Path, weights: Callable[[str], Path]) -> Callable[..., tuple[TrialConfig, ImageSet]]:
    """A trial of a frozen backbone on the photos, and its data; keywords are keys of `data` and `model`."""

    def make(backbone: str = "test_efficientnet", **keys: Any) -> tuple[TrialConfig, ImageSet]:
        inputs = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
        data = {"path": str(photos), "image_size": SIDE, **inputs, **keys.pop("data", {})}
        model = {"name": "timm", "backbone": backbone, "pretrained": str(weights(backbone)), "frozen": True, **keys}
        optimizer = {"name": "adam", "lr": 0.01}
        config = TrialConfig.from_dict({"data": data, "model": model, "optimizer": optimizer})
        return config, open_data(config.data)

    return make
