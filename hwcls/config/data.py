"""The data of a trial: which images, and how they are resized, split and augmented."""

from __future__ import annotations

import os
import unicodedata
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hwcls.config.base import Labelled


class AugmentConfig(Labelled):
    """Random changes of each training image, drawn per image; 0 and false turn an operation off."""

    crop: int = Field(0, ge=0, le=64)  # pixels of zero padding before a crop of the old size
    hflip: bool = False
    vflip: bool = False
    rotate: float = Field(0.0, ge=0, le=180)  # degrees, drawn from [-rotate, rotate]
    resized_crop: float = Field(0.0, ge=0, le=1)  # the smallest share of the area that is kept
    translate: float = Field(0.0, ge=0, le=0.5)  # share of the side, drawn from [-t, t]
    scale: float = Field(0.0, ge=0, lt=1)  # zoom drawn from [1 - s, 1 + s]
    brightness: float = Field(0.0, ge=0)  # factor drawn from [max(0, 1 - b), 1 + b]; then contrast, saturation, hue
    contrast: float = Field(0.0, ge=0)  # factor drawn likewise, around the image's mean grey
    saturation: float = Field(0.0, ge=0)  # factor drawn likewise, about each pixel's grey; grey images stay
    hue: float = Field(0.0, ge=0, le=0.5)  # turns of the colour circle, drawn from [-hue, hue]; grey images stay
    trivial: bool = False  # TrivialAugment, wide: one random operation and strength per image, arXiv 2103.10158
    erase: float = Field(0.0, ge=0, le=1)  # probability that a random rectangle is erased, arXiv 1708.04896
    cutout: int = Field(0, ge=0, le=1024)  # side in pixels of a square erased anywhere, arXiv 1708.04552
    mixup: float = Field(0.0, ge=0)  # Beta(a, a) of the mixture, arXiv 1710.09412
    cutmix: float = Field(0.0, ge=0)  # Beta(a, a) of the pasted area, arXiv 1905.04899


class DataConfig(Labelled):
    """A data set by name, the part of it that is used, and the batch."""

    name: str
    path: str | None = None  # of images in class folders; kept absolute, so that results can be used from any folder
    batch_size: int = Field(128, ge=1)  # of the trial, over all its workers
    augment: AugmentConfig | None = None  # None: the data set's default; config.yaml has it in full
    val: float = Field(0.1, gt=0, lt=1)  # share of train that becomes val, stratified
    val_min: int = Field(1, ge=0)  # val images of each class at least, if it keeps one to train; 0 in version 0.1
    split_seed: int = Field(0, ge=0)
    image_size: int | None = Field(None, ge=4, le=1024)  # None: the data set's own
    channels: Literal[1, 3] | None = None  # None: the data set's own
    classes: int | Annotated[tuple[int | str, ...], Field(strict=False)] | None = None  # first n, or numbers and names
    per_class: int | None = Field(None, ge=2)  # training images per class, before the split
    fraction: float | None = Field(None, gt=0, le=1)  # of the training images, before the split

    @field_validator("name")
    @classmethod
    def _one_spelling(cls, name: str) -> str:
        return unicodedata.normalize("NFC", name)  # macOS writes é as two letters

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return None if path is None else os.path.abspath(os.path.expanduser(path))

    def pixels(self) -> DataConfig:
        """The config without settings that change neither images nor splits: equal ones share one open data set."""
        return self.model_copy(update={"augment": None, "batch_size": 1, "label": None})
