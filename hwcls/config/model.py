"""Model families: the base class that every family extends, and the table of those that a sweep file can name."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag

from hwcls.config.base import Epochs, Labelled
from hwcls.config.data import AugmentConfig, ExpectedInputs
from hwcls.registry import Registry

SOURCES = "source"  # in a sweep's results folder: copies of the user's own model files
Activation = Literal["relu", "gelu", "silu"]
Norm = Literal["batch", "none"]
Share = Annotated[float, Field(ge=0, lt=1)]


class HeadConfig(Labelled):
    """`depth` fully connected layers; all but the last are `width` wide with an activation and dropout."""

    norm: Norm = Field("none", description="batch: standardise each feature first, by BatchNorm without weights.")
    depth: int = Field(1, ge=1, le=4, description="Fully connected layers.", examples=[{"min": 1, "max": 3}])
    width: int = Field(
        256, ge=1, le=8192, description="Units of each layer but the last.", examples=[{"values": [128, 256]}]
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout after each layer but the last.", examples=[{"min": 0.0, "max": 0.5}]
    )
    activation: Activation = Field("relu", description="Activation after each layer but the last.")


class PretrainConfig(Labelled):
    """An autoencoder trained first on a share of the training split; its encoder feeds the model."""

    share: float = Field(1.0, gt=0, le=1, description="Share of the training images.", examples=[0.5])
    frozen: bool = Field(False, description="Keep the encoder as it was pretrained.")
    epochs: Epochs = Field(5, ge=1, description="Length of the pretraining.")


class ModelFamily(Labelled):
    """A family of models: its settings are the keys under `model:`, and `build` makes a model of them.

    A subclass gives `name` its literal, adds a field for each setting, and overrides `build`. The methods and
    properties below are what the rest of hwcls needs to know of it; their defaults are right for a family whose weights
    are all trained from scratch. torch is imported inside methods only: a sweep file is checked without it.
    """

    slow_to_build: ClassVar[bool] = False  # then a dry run compares models by their settings alone
    earlier: ClassVar[Mapping[str, Any]] = {}  # keys that earlier versions did not have, as they did it

    name: str = Field(description="The family.")

    def build(self, *, classes: int, channels: int, image_size: int) -> Any:
        """The model, a torch.nn.Module with its weights drawn from torch's global generator (seed it first).

        It maps (B, channels, image_size, image_size) floats to (B, classes) logits. Raises UserError where the images
        are too small, or where a file, a name or pretrained weights are missing.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")

    def notes(self, *, channels: int, image_size: int) -> tuple[str, ...]:
        """What a user should know of this model on such images, a line each; shown before a sweep starts."""
        return ()

    @property
    def source_file(self) -> Path | None:
        """The user's own Python file that holds the model; None for a family of hwcls."""
        return None

    @property
    def weights_file(self) -> str | None:
        """The path of the pretrained weights that the model starts from; None where it needs no file."""
        return None

    @property
    def pretrained_from(self) -> tuple[Any, ...] | None:
        """What identifies the pretrained weights: equal values load the same; None where there are none to load."""
        return None

    @property
    def expects(self) -> ExpectedInputs | None:
        """The inputs that the pretrained weights were trained on; None where there are none, or nothing is known."""
        return None

    def beside(self, folder: Path) -> Self:
        """The same model, with an absolute path where it names a file that exists in `folder`, the sweep file's."""
        return self

    def find_pretrained(self) -> Any:
        """Where the pretrained weights are that the model starts from, a FoundWeights; None where it needs none.

        Nothing is downloaded. Raises UserError where they cannot be had.
        """
        return None

    def look_for_pretrained(self) -> list[Any]:
        """What each place says of pretrained weights, a FoundWeights or NotFound, in the order of the search."""
        return []

    def initialisation(self) -> dict[str, Any]:
        """Settings that change the first weights or how they are trained, not the architecture, as plain values."""
        return {}

    def decided(self, model: Any) -> dict[str, Any]:
        """What `build` chose for `model` where the settings leave it open, as plain values: it is in result.json."""
        return {}

    def without_pretrained(self) -> Self:
        """The same architecture with randomly drawn weights: nothing is downloaded and no weights file is read."""
        return self

    def unfrozen(self) -> Self:
        """The same model with all of its weights trained."""
        return self

    def cached_views(self, augment: AugmentConfig) -> int | None:
        """How many views of each training image a frozen backbone's features are computed of, once; None: none are.

        View 0 is the plain image, the others are changed by `augment`.
        """
        return None

    def build_head(self, *, features: int, classes: int) -> Any:
        """The part of a model that is trained on cached features, a torch.nn.Module: (B, features) to (B, classes).

        Its weights have their names in the whole model, and are drawn as `build` draws them.
        """
        raise NotImplementedError(f"{type(self).__name__}.build_head")

    def split(self, model: Any) -> tuple[Any, Any]:
        """The frozen backbone of a model that `build` made, (B, C, H, W) to (B, features), and the head on it."""
        raise NotImplementedError(f"{type(self).__name__}.split")

    def feature_settings(self) -> list[Any]:
        """What the features of a frozen backbone depend on besides the images, as plain values: equal ones share them.

        The weights are known by their content. Raises UserError where they cannot be found.
        """
        raise NotImplementedError(f"{type(self).__name__}.feature_settings")

    @property
    def frozen_epochs(self) -> int:
        """In how many first epochs a part of the model is not trained yet; a training needs more than these."""
        return 0

    def before_epoch(self, model: Any, epoch: int) -> None:
        """Called before each epoch of a training, from 1: freezes or unfreezes parts of `model`, which `build` made.

        Depends on the epoch alone, as a training may resume anywhere. A frozen part has weights with `requires_grad`
        off; `build` leaves it on for those that some epoch trains, and `lr_scales` names those that are frozen first.
        """

    @property
    def probe(self) -> Self | None:
        """The same model with a frozen backbone, whose trained head this one starts with; None: it is drawn."""
        return None

    def lr_scales(self, model: Any) -> dict[str, float]:
        """Factors on the learning rate of some of `model`'s weights, by name; at least one trained weight has none."""
        return {}

    @property
    def encoder_pretraining(self) -> PretrainConfig | None:
        """How an autoencoder is trained before the model, whose `encoder` takes its weights; None: not at all."""
        return None

    def with_least_pretraining(self) -> Self:
        """The same architecture with as little pretraining of an encoder as possible."""
        return self

    def build_autoencoder(self, *, channels: int, image_size: int) -> Any:
        """The autoencoder that `encoder_pretraining` trains, a torch.nn.Module.

        Its `encoder` has the weights' names and shapes of the model's `encoder`.
        """
        raise NotImplementedError(f"{type(self).__name__}.build_autoencoder")

    def autoencoder_settings(self) -> list[Any]:
        """The settings that `build_autoencoder` depends on: equal ones can share a pretrained encoder."""
        return []


MODELS: Registry[type[ModelFamily]] = Registry(
    "model",
    {
        "mlp": "hwcls.models.mlp",
        "simple_cnn": "hwcls.models.simple_cnn",
        "residual_cnn": "hwcls.models.residual_cnn",
        "attention_cnn": "hwcls.models.attention_cnn",
        "gated_cnn": "hwcls.models.gated_cnn",
        "kernel_cnn": "hwcls.models.kernel_cnn",
        "alexnet": "hwcls.models.alexnet",
        "timm": "hwcls.models.timm",
        "user": "hwcls.models.user_model",  # name: file.py:function
    },
)


def _family(value: Any) -> str:
    name = value.get("name", "") if isinstance(value, dict) else getattr(value, "name", "")
    return "user" if ":" in str(name) else str(name)


def earlier_model_keys(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that a recorded `model` section lacks, as the version which wrote it meant them."""
    family = _family(recorded)
    earlier = MODELS[family].earlier if family in MODELS.names() else {}
    return {key: value for key, value in earlier.items() if key not in recorded}


def any_family() -> Any:
    """The annotation of a field that holds a model of any family in `MODELS`, chosen by its `name`."""
    families = [Annotated[family, Tag(name)] for name, family in MODELS.all().items()]
    return Annotated[reduce(operator.or_, families), Discriminator(_family)]
