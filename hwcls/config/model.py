"""The model families that a sweep file can name, one config each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from hwcls.config.base import Labelled

Activation = Literal["relu", "gelu", "silu"]


class HeadConfig(Labelled):
    """`depth` fully connected layers; all but the last are `width` wide with an activation and dropout."""

    depth: int = Field(1, ge=1, le=4)
    width: int = Field(256, ge=1, le=8192)
    dropout: float = Field(0.0, ge=0, lt=1)
    activation: Activation = "relu"


class MlpConfig(Labelled):
    """A fully connected net on the flattened image; `width` per hidden layer."""

    name: Literal["mlp"] = "mlp"
    width: int = Field(256, ge=1, le=8192)
    depth: int = Field(3, ge=1, le=8)  # hidden layers
    dropout: float = Field(0.0, ge=0, lt=1)
    head: HeadConfig = HeadConfig()


class SimpleCnnConfig(Labelled):
    """`depth` blocks of 3x3 convolution, pooling, norm, activation; the width doubles per block."""

    name: Literal["simple_cnn"] = "simple_cnn"
    width: int = Field(32, ge=1, le=1024)  # channels of the first block
    depth: int = Field(2, ge=1, le=4)
    norm: Literal["batch", "none"] = "batch"
    head: HeadConfig = HeadConfig()


class ResidualCnnConfig(Labelled):
    """A stem and `blocks` residual blocks (arXiv 1512.03385); each block but the first halves the image."""

    name: Literal["residual_cnn"] = "residual_cnn"
    width: int = Field(32, ge=1, le=1024)
    blocks: int = Field(3, ge=1, le=8)
    norm: Literal["batch", "none"] = "batch"
    dropout: float = Field(0.0, ge=0, lt=1)  # of whole feature maps, after each block
    head: HeadConfig = HeadConfig()


class PretrainConfig(Labelled):
    """An autoencoder trained first on a share of the training split; its encoder feeds the model."""

    share: float = Field(1.0, gt=0, le=1)  # of the training images
    frozen: bool = False  # whether the encoder stays as it was pretrained
    epochs: int = Field(5, ge=1)


class AlexNetConfig(Labelled):
    """AlexNet for small images, alone or on the encoder of a U-Net autoencoder."""

    name: Literal["alexnet"] = "alexnet"
    width: int = Field(64, ge=4, le=512)  # channels of the first convolution
    dropout: float = Field(0.5, ge=0, lt=1)
    pretrain: PretrainConfig | None = None
    head: HeadConfig = HeadConfig(depth=3, width=512)


class TimmConfig(Labelled):
    """Any backbone of timm, with hwcls's head on its pooled features."""

    name: Literal["timm"] = "timm"
    backbone: str
    pretrained: bool | str = False  # or the path of a weights file
    stem: Literal["standard", "small"] = "standard"  # small: a stride-1 3x3 stem without pooling
    head: HeadConfig = HeadConfig()


class UserModelConfig(Labelled):
    """The user's own `file.py:function`, called with classes, channels, image_size and every other key given."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(pattern=r"^[^:]+:[A-Za-z_]\w*$")


def _family(value: Any) -> str:
    name = value.get("name", "") if isinstance(value, dict) else getattr(value, "name", "")
    return "user" if ":" in str(name) else str(name)


ModelConfig = Annotated[
    Annotated[MlpConfig, Tag("mlp")]
    | Annotated[SimpleCnnConfig, Tag("simple_cnn")]
    | Annotated[ResidualCnnConfig, Tag("residual_cnn")]
    | Annotated[AlexNetConfig, Tag("alexnet")]
    | Annotated[TimmConfig, Tag("timm")]
    | Annotated[UserModelConfig, Tag("user")],
    Discriminator(_family),
]
