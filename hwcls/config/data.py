"""The data of a trial: which images, and how they are resized, split and augmented."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from hwcls.config.base import Labelled, Pixels, Unit

Degrees = Annotated[float, Unit("degrees")]
Turns = Annotated[float, Unit("turns of the colour circle")]
Images = Annotated[int, Unit("images")]


class AugmentConfig(Labelled):
    """Random changes of each training image, drawn per image; 0 and false turn an operation off."""

    crop: Pixels = Field(0, ge=0, le=64, description="Zero padding before a random crop of the old size.", examples=[4])
    hflip: bool = Field(False, description="Mirror half of the images left to right.")
    vflip: bool = Field(False, description="Mirror half of the images top to bottom.")
    rotate: Degrees = Field(0.0, ge=0, le=180, description="Angle, drawn from [-rotate, rotate].", examples=[15])
    resized_crop: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Smallest share of the area that a crop keeps, before it is resized to the image's size.",
        examples=[0.5],
    )
    translate: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Shift as a share of the side, drawn from [-translate, translate].",
        examples=[0.1],
    )
    scale: float = Field(0.0, ge=0, lt=1, description="Zoom, drawn from [1 - scale, 1 + scale].", examples=[0.1])
    brightness: float = Field(
        0.0, ge=0, description="Brightness factor, drawn from [max(0, 1 - brightness), 1 + brightness].", examples=[0.3]
    )
    contrast: float = Field(
        0.0, ge=0, description="Contrast factor around the image's mean grey, drawn as for brightness.", examples=[0.3]
    )
    saturation: float = Field(
        0.0, ge=0, description="Saturation factor, drawn as for brightness; grey images stay.", examples=[0.3]
    )
    hue: Turns = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Rotation of the colours, drawn from [-hue, hue]; grey images stay.",
        examples=[0.1],
    )
    trivial: bool = Field(
        False, description="TrivialAugment, wide: one random operation and strength per image (arXiv 2103.10158)."
    )
    erase: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that a random rectangle is erased (arXiv 1708.04896).",
        examples=[0.25],
    )
    cutout: Pixels = Field(
        0,
        ge=0,
        le=1024,
        description="Side of a square that is erased at a random place (arXiv 1708.04552).",
        examples=[8],
    )
    mixup: float = Field(
        0.0, ge=0, description="Mix pairs of images by Beta(mixup, mixup) (arXiv 1710.09412).", examples=[0.2]
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="Paste a part of another image, its area by Beta(cutmix, cutmix) (arXiv 1905.04899).",
        examples=[1.0],
    )

    def without_mixing(self) -> AugmentConfig:
        """What changes an image by itself: all but mixup and cutmix, which take two."""
        return self.model_copy(update={"mixup": 0.0, "cutmix": 0.0, "label": None})

    @property
    def changes_pixels(self) -> bool:
        """Whether it changes an image by itself."""
        return self.without_mixing() != AugmentConfig()


OWN_IMAGES = "imagefolder"  # the name of a user's own images, which are read at `path`
ARCHIVES = re.compile(r"\.(zip|tar|tar\.\w+|tgz|tbz2?|txz)$", re.IGNORECASE)
NOT_TITLES = {  # folders that are called so in many data sets: the one above says which it is
    *("data", "dataset", "datasets", "dataset-resized", "images", "image", "imgs", "img", "train", "training"),
    *("src", "archive", "raw"),
}


def title_of(path: str) -> str:
    """What data at a path is called: the nearest folder, or the archive, whose name is not that of any data set."""
    names = [part for part in PurePath(os.path.abspath(os.path.expanduser(path))).parts if part.strip(os.sep)]
    names[-1:] = [ARCHIVES.sub("", name) for name in names[-1:]]
    return next((name for name in reversed(names) if name.lower() not in NOT_TITLES), (names or [""])[-1])


Text = Annotated[str, Field(min_length=1)]


class LayoutConfig(Labelled):
    """How the files of a user's own data say the class, the split and the group of an image; None: as found."""

    table: Text | None = Field(
        None,
        description="A table of the images, in the data or not: CSV, TSV, JSON lines or Parquet, an image per row.",
        examples=["labels.csv"],
    )
    image_column: Text | None = Field(None, description="The table's column of file names.", examples=["file"])
    label_column: Text | None = Field(None, description="The table's column of classes.", examples=["species"])
    split_column: Text | None = Field(
        None, description="The table's column that says train, val or test.", examples=["split"]
    )
    group: Text | None = Field(
        None,
        description="What must stay in one split (patient, video): a column, or a regular expression on file names.",
        examples=["patient"],
    )
    class_depth: int | None = Field(
        None,
        ge=1,
        le=9,
        description="How many folders name a class: 1 is Greek, 2 is Greek/character01. By default as found.",
        examples=[2],
    )
    train_folder: Text | None = Field(
        None, description="The folder of the training images. By default as found.", examples=["training"]
    )
    val_folder: Text | None = Field(
        None, description="The folder of the validation images. By default as found.", examples=["validation"]
    )
    test_folder: Text | None = Field(
        None, description="The folder of the test images. By default as found.", examples=["holdout"]
    )


Resize = Literal["crop", "squash", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
IMAGES = "images"  # as `mean` and `std`: those of the training images themselves
_FOR_EACH_CHANNEL = Field(
    strict=False, min_length=1, max_length=3, json_schema_extra={"not": {"minItems": 2, "maxItems": 2}}
)
# of pixels from 0 to 1
Mean = Literal["images"] | Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], _FOR_EACH_CHANNEL]
Std = Literal["images"] | Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], _FOR_EACH_CHANNEL]
HOW_DECODED = {  # keys that change how an image is decoded or trained on, but neither which there are nor their splits
    *("augment", "batch_size", "label", "image_size", "resize", "channels"),
    *("interpolation", "crop_pct", "mean", "std"),
}
# what models from scratch get, and what every model got before these keys could be chosen
PLAIN_INPUTS: dict[str, Any] = {"interpolation": "bilinear", "crop_pct": 1.0, "mean": IMAGES, "std": IMAGES}


@dataclass(frozen=True)
class ChosenSize:
    """A side in pixels for images whose size a file leaves open, and why."""

    side: int
    reason: str
    pretrained_only: bool = False  # models from scratch then keep the data set's own

    def __str__(self) -> str:
        whose = ", of pretrained models" if self.pretrained_only else ""
        return f"image_size {self.side}{whose}: {self.reason}"


@dataclass(frozen=True)
class ExpectedInputs:
    """The inputs that pretrained weights were trained on, and so work best with.

    Attributes:
        mean, std: Per channel, 3 or 1, of pixels from 0 to 1.
        interpolation, crop_pct, resize: As `DataConfig` has them.
        side: In pixels; None where it is not known.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    crop_pct: float = 1.0
    resize: Resize = "crop"
    side: int | None = None


class DataConfig(Labelled):
    """A data set by name, the part of it that is used, and the batch.

    How its images become inputs (`interpolation`, `crop_pct`, `mean`, `std`; None: left open) is what the model's
    weights expect, see `complete_inputs`; config.yaml has it in full.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["name"]}, {"required": ["path"]}]})

    name: str = Field(
        description="A known data set, or what was imported under this name; not needed with `path`.",
        examples=["fashion_mnist"],
    )
    path: str | None = Field(  # kept absolute, so that results can be used from any folder
        None, description="Your own images: a folder, zip or tar.", examples=["photos/"]
    )
    layout: LayoutConfig | None = Field(
        None, description="How your files say class, split and group. By default as found."
    )
    batch_size: Images = Field(128, ge=1, description="The batch of a step, over all workers of the trial.")
    augment: AugmentConfig | None = Field(  # config.yaml has it in full
        None, description="Random changes of the training images. By default those of the data set."
    )
    val: float = Field(0.1, gt=0, lt=1, description="Share of train that becomes val, stratified.", examples=[0.2])
    val_min: int = Field(  # 0 in version 0.1
        1, ge=0, description="Val images of each class at least, where one is left to train on."
    )
    test: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of all images that becomes test, where the data has no test split.",
        examples=[0.3],
    )
    split_seed: int = Field(0, ge=0, description="Seed of the splits and of the subset.", examples=[1])
    val_seed: int | None = Field(
        None,
        ge=0,
        description="Seed of the cut of val alone: test and the subset stay. By default `split_seed`.",
        examples=[1],
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="Equal parts of train and val together, of which `fold` is val. By default val is a share.",
        examples=[5],
    )
    fold: int | None = Field(None, ge=1, description="Which of the folds is val, from 1.", examples=[1])
    duplicates: Literal["near", "exact"] = Field(
        "near", description="Which copies of your own images stay in one split: near copies too, or exact ones alone."
    )
    image_size: Pixels | None = Field(
        None,
        ge=4,
        le=1024,
        description="Side of the images. By default the data set's own; of your own images a fitting one is chosen.",
        examples=[64],
    )
    resize: Resize = Field(
        "crop",
        description="Images that are not square: keep the centre, squash both sides, or pad with grey to keep all.",
    )
    channels: Literal[1, 3] | None = Field(None, description="1 for grey, 3 for colour. By default the data set's own.")
    interpolation: Interpolation | None = Field(
        None, description="Of a resize, with antialiasing. By default what the weights expect, else bilinear."
    )
    crop_pct: float | None = Field(
        None,
        ge=0.1,
        le=1,
        description="Share of the resized side that the centre keeps. By default what the weights expect, else 1: all.",
        examples=[0.875],
    )
    mean: Mean | None = Field(
        None,
        description="Subtracted from pixels of 0 to 1: numbers for each channel, or `images`: their own."
        " By default what the weights expect.",
        examples=[[0.5, 0.5, 0.5]],
    )
    std: Std | None = Field(
        None,
        description="Divides the pixels after `mean`: numbers for each channel, or `images`. By default as for `mean`.",
        examples=[[0.25, 0.25, 0.25]],
    )
    classes: int | Annotated[tuple[int | str, ...], Field(strict=False)] | None = Field(
        None,
        description="The first n classes, or a list of their numbers and names. By default all.",
        examples=[[0, 1, 8]],
    )
    per_class: Images | None = Field(
        None, ge=2, description="Training images per class, before val is cut off. By default all.", examples=[1000]
    )
    fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the training images, before val is cut off. By default all.",
        examples=[0.5],
    )

    @model_validator(mode="before")
    @classmethod
    def _path_without_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("path") is not None and values.get("name") is None:
            return {**values, "name": OWN_IMAGES}
        return values

    @field_validator("name")
    @classmethod
    def _one_spelling(cls, name: str) -> str:
        return unicodedata.normalize("NFC", name)  # macOS writes é as two letters

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return None if path is None else os.path.abspath(os.path.expanduser(path))

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _numbers_for_each_channel(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or value == IMAGES:
            return value
        name, low = info.field_name, ("more than 0" if info.field_name == "std" else "0 or more")
        numbers = value if isinstance(value, list | tuple) else ()
        if not numbers or not all(type(one) in (int, float) for one in numbers):
            raise ValueError(f"{name} {value!r} is no list of numbers — write [0.5, 0.5, 0.5], or {IMAGES}")
        counts = (3,) if info.data.get("channels") == 3 else (3, 1)  # of grey images the average is taken
        if len(numbers) not in counts:
            remedy = f"give {' or '.join(map(str, counts))}, one for each channel"
            raise ValueError(f"{name} has {len(numbers)} numbers — {remedy}")
        wrong = [one for one in numbers if not (0 < one <= 1 or (one == 0 and name == "mean"))]
        if wrong:
            remedy = "divide it by 255" if wrong[0] > 1 else f"leave {name} out for what the weights expect"
            raise ValueError(f"{name} {wrong[0]:g} is not {low} and 1 at most, as pixels are from 0 to 1 — {remedy}")
        return tuple(map(float, numbers))

    @model_validator(mode="after")
    def _one_of_the_folds(self) -> DataConfig:
        if (self.fold is None) != (self.folds is None):
            there, missing = ("fold", "folds") if self.folds is None else ("folds", "fold")
            raise ValueError(f"{there} is set without {missing} — write both: folds: 5, fold: 1")
        if self.fold is not None and self.folds is not None and self.fold > self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} folds — write 1 to {self.folds}")
        return self

    @property
    def title(self) -> str:
        """What it is called on the terminal: its name, or of a user's own images what their path says."""
        return self.name if self.path is None else title_of(self.path)

    def pixels(self) -> DataConfig:
        """The config without settings that change neither images nor splits: equal ones share one open data set."""
        return self.model_copy(update={"augment": None, "batch_size": 1, "label": None})

    def images(self) -> dict[str, Any]:
        """The settings that decide which images there are and how they are split, not how they are decoded."""
        return self.model_dump(mode="json", exclude=HOW_DECODED)


def complete_inputs(data: DataConfig, expected: ExpectedInputs | None) -> DataConfig:
    """The config with what it leaves open of how images become inputs: as the weights expect, or PLAIN_INPUTS.

    The share of a crop holds for the way to resize that the weights were trained with: where a file names another one,
    it keeps what that is chosen for, all of the image.
    """
    if all(getattr(data, key) is not None for key in PLAIN_INPUTS):
        return data
    found = PLAIN_INPUTS
    if expected is not None:
        resize = data.resize if "resize" in data.model_fields_set else expected.resize
        crop_pct = expected.crop_pct if resize == expected.resize else 1.0
        mean, std = (fit_channels(values, data.channels or 3) for values in (expected.mean, expected.std))
        found = {"interpolation": expected.interpolation, "crop_pct": crop_pct, "mean": mean, "std": std}
        data = data.model_copy(update={"resize": resize})
    return data.model_copy(update={key: value for key, value in found.items() if getattr(data, key) is None})


def fit_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A value for each channel: grey images get the average of the colours', colours that of grey."""
    if len(values) == channels:
        return values
    return (sum(values) / len(values),) * channels


def find_files_beside(
    values: dict[str, Any], folder: Path, recorded: Callable[[], Collection[str]] = tuple
) -> dict[str, Any]:
    """A data section whose relative `path` and `layout.table` are looked for in `folder` first, the sweep file's.

    `recorded` gives absolute paths that they may have had before, for those that are found nowhere.
    """
    path, layout = values.get("path"), values.get("layout")
    if isinstance(path, str):
        near = str(folder / path)
        path = near if os.path.exists(near) else _recorded(path, recorded)
        values = {**values, "path": path}
    if isinstance(layout, dict) and isinstance(table := layout.get("table"), str):
        table = find_table(table, path, folder)
        table = table if isinstance(path, str) and os.path.exists(Path(path) / table) else _recorded(table, recorded)
        values = {**values, "layout": {**layout, "table": table}}
    return values


def _recorded(path: str, recorded: Callable[[], Collection[str]]) -> str:
    """A relative path that is not there: the recorded one that ends with it; itself where there is none."""
    if os.path.isabs(os.path.expanduser(path)) or os.path.exists(path):
        return path
    end = os.path.normpath(path)
    while end.startswith(os.pardir + os.sep):
        end = end[len(os.pardir + os.sep) :]
    return next((one for one in recorded() if one.endswith(os.sep + end)), path)


def find_table(table: str, path: object, folder: Path) -> str:
    """A layout's table as it is kept: a name in the data at `path`, or absolute where it is a file elsewhere.

    It is looked for in the data's folder, then in `folder`, then in the current one; else it is a name in an archive.
    """
    table = os.path.expanduser(table)
    data = [Path(path).expanduser()] if isinstance(path, str | Path) else []
    found = next((place for place in (*data, folder, Path()) if os.path.isfile(place / table)), None)
    if found is None or (data and found is data[0] and ".." not in Path(table).parts):
        return table
    return os.path.abspath(found / table)
