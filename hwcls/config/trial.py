"""TrialConfig: the complete settings of one training, which make it repeatable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hwcls.config.base import Epochs, Frozen
from hwcls.config.data import PLAIN_INPUTS, AugmentConfig, DataConfig, Images, LayoutConfig
from hwcls.config.model import SOURCES, ModelFamily, any_family, earlier_model_keys
from hwcls.config.optim import MetricConfig, OptimizerConfig, PlateauConfig, SchedulerConfig
from hwcls.format import format_count

if TYPE_CHECKING:
    ModelConfig = ModelFamily
else:
    ModelConfig = any_family()

DRAWN_SECTIONS = (
    *("data", "model", "optimizer", "scheduler", "epochs", "seed"),
    *("label_smoothing", "class_weights", "clip", "ema", "norm_batch"),
)

# what earlier versions did: no val image of rare classes, and only images of the same pixels were copies
EARLIER_SPLIT = {"val_min": 0, "duplicates": "exact"}
# of images at a path: the first folder was the class, however deep they lay
EARLIER_LAYOUT = LayoutConfig(class_depth=1)
# keys of `data` that version 0.1 did not have, as it did it
ADDED = {**EARLIER_SPLIT, "test": 0.2, "layout": None, "resize": "crop", **PLAIN_INPUTS}


class TrialConfig(Frozen):
    """All settings of one training; `hwcls train` repeats it without Ray."""

    data: DataConfig = Field(description="The images, how they are split and augmented, and the batch.")
    model: ModelConfig = Field(description="The model: one of the families, or your own function.")
    optimizer: OptimizerConfig = Field(description="The optimizer and its learning rate.")
    scheduler: SchedulerConfig = Field(PlateauConfig(), description="The learning rate over time; by default plateau.")
    epochs: Epochs = Field(
        10, ge=1, validate_default=True, description="Length of a trial that nothing stops.", examples=[30]
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of weights, order and augmentation.", examples=[1])
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of each label that is spread over all classes.", examples=[0.1]
    )
    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: the loss weighs classes inversely to their frequency in train. By default it does not.",
    )
    clip: float | None = Field(
        None, gt=0, description="Maximum L2 norm of all gradients together. By default none.", examples=[1.0]
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of the averaged weights, which are evaluated and saved; 0: no average.",
        examples=[0.99],
    )
    norm_batch: Images | None = Field(
        None,
        ge=2,
        description="Images that BatchNorm normalises together; divides `batch_size`. By default a micro-batch.",
        examples=[32],
    )
    metric: MetricConfig = Field(MetricConfig(), description="The metric on val that selects the epoch.")
    workers: int = Field(1, ge=1, description="DDP ranks; with BatchNorm they change the result.")
    threads: int = Field(1, ge=1, description="CPU threads per rank: they change the order of sums.")

    @field_validator("epochs")
    @classmethod
    def _all_of_the_model_is_trained(cls, epochs: int, info: ValidationInfo) -> int:
        model = info.data.get("model")
        if model is not None and 0 < model.frozen_epochs >= epochs:
            frozen = model.frozen_epochs
            what = f"freeze_epochs {frozen} leaves none of {format_count(epochs, 'epoch')} to train the backbone"
            raise ValueError(f"{what} — set epochs to {frozen + 1} or more, or lower freeze_epochs")
        return epochs

    @model_validator(mode="after")
    def _batch_is_a_multiple_of_norm_batch(self) -> TrialConfig:
        if self.norm_batch and self.data.batch_size % self.norm_batch:
            size = self.data.batch_size
            raise ValueError(
                f"a batch of {size} is not a multiple of norm_batch {self.norm_batch} — change one of them"
            )
        return self

    @model_validator(mode="after")
    def _cached_features_are_not_cut(self) -> TrialConfig:
        augment = self.data.augment
        if augment is not None and augment.cutmix and self.cached_views(augment) is not None:
            raise ValueError(
                "data.augment.cutmix pastes pixels, but the features of a frozen backbone are computed before"
                " — use mixup, or set model.features: live or model.frozen: false"
            )
        return self

    def cached_views(self, default: AugmentConfig) -> int | None:
        """As `ModelFamily.cached_views`; `default` is the augmentation where the config has none."""
        return self.model.cached_views(default if self.data.augment is None else self.data.augment)

    def to_dict(self) -> dict[str, Any]:
        """As plain YAML-ready values; `TrialConfig.from_dict` reads it back unchanged."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, value: Any) -> TrialConfig:
        """Read `to_dict`'s output; raises pydantic.ValidationError."""
        return cls.model_validate(value)

    @classmethod
    def from_recorded(cls, value: Any) -> TrialConfig:
        """Read a trial's config.yaml, also one of version 0.1; raises pydantic.ValidationError."""
        return cls.from_dict(with_recorded_split(value) if isinstance(value, dict) else value)

    def flat(self) -> dict[str, Any]:
        """Every setting as one flat scalar mapping (`optimizer`, `lr`, `head_depth`), as trackers show it."""
        return flatten(self.to_dict())


def use_copied_source(values: dict[str, Any], trial: Path) -> dict[str, Any]:
    """A trial's config with the copy of the user's model file in the results that hold it, which may have been moved.

    Args:
        values: Of config.yaml.
        trial: The trial's folder: trials/<n> or confirm/<label>/<seed> of a sweep, or best/, which has its own copy.
    """
    model = values.get("model")
    source, colon, function = str(model.get("name") if isinstance(model, dict) else "").rpartition(":")
    for holder in (trial.absolute(), *trial.absolute().parents[1:3]) if colon else ():
        found = holder / SOURCES / Path(source).parent.name / Path(source).name
        if found.is_file():
            return {**values, "model": {**values["model"], "name": f"{found}:{function}"}}
    return values


def with_recorded_split(config: dict[str, Any]) -> dict[str, Any]:
    """The values of a config.yaml with what the version which wrote it meant by keys that it did not have.

    hwcls writes every key that it knows, labels too; a config written by hand has none.
    """
    data, model = config.get("data"), config.get("model")
    if not isinstance(data, dict) or "label" not in data:
        return config
    model = {"model": {**earlier_model_keys(model), **model}} if isinstance(model, dict) else {}
    return {**config, "data": with_earlier_keys(data, earlier_keys(data)), **model}


def earlier_keys(recorded: dict[str, Any]) -> dict[str, Any]:
    """The keys that a recorded `data` section lacks, as the version which wrote it meant them."""
    earlier = {**EARLIER_SPLIT, **PLAIN_INPUTS, "layout": EARLIER_LAYOUT.model_dump()}
    return {key: value for key, value in earlier.items() if key not in recorded}


def with_earlier_keys(data: dict[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """A `data` section with `keys` where it has none; a layout is for images at a path alone."""
    if data.get("path") is None:
        keys = {key: value for key, value in keys.items() if key != "layout"}
    return {**keys, **data}


def flat_name(path: tuple[str, ...]) -> str:
    """The short name of a setting: ("optimizer", "lr") is lr, ("model", "head", "depth") is head_depth.

    A group's label is named after the group itself: ("optimizer", "label") is optimizer.
    """
    if path[-1] == "label":
        path = path[:-1]
    if len(path) == 1:
        return path[0]
    if path[0] == "metric":
        return "_".join(path)
    if path[1:] == ("name",):
        return f"{path[0]}_type"
    if path == ("model", "start"):  # a schedule has one too
        return "model_start"
    return "_".join(path[1:])


def flat_names(paths: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """The `flat_name` of each setting, but the full one of a model's own that is called as another: model.momentum."""
    names = {path: flat_name(path) for path in paths}
    counts = Counter(names.values())
    return {path: ".".join(path) if counts[name] > 1 and path[0] == "model" else name for path, name in names.items()}


def flatten(config: dict[str, Any]) -> dict[str, Any]:
    """A nested config as flat scalars under `flat_names`; lists become text, unset labels are omitted."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, dict):
            for key, child in value.items():
                walk(child, (*path, key))
        elif path[-1] == "label" and value is None:
            return
        else:
            found[path] = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value

    walk(config, ())
    names = flat_names(found)
    flat = {names[path]: value for path, value in found.items()}
    for group in ("data", "model", "optimizer", "scheduler"):  # without a choice the type serves as the label
        flat.setdefault(group, flat.get(f"{group}_type"))
    return flat
