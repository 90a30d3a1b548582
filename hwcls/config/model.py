"""The model families that a sweep file can name, one config each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from hwcls.config.base import Labelled

Activation = Literal["relu", "gelu", "silu"]
Norm = Literal["batch", "none"]
Share = Annotated[float, Field(ge=0, lt=1)]


class HeadConfig(Labelled):
    """`depth` fully connected layers; all but the last are `width` wide with an activation and dropout."""

    depth: int = Field(1, ge=1, le=4)
    width: int = Field(256, ge=1, le=8192)
    dropout: float = Field(0.0, ge=0, lt=1)
    activation: Activation = "relu"


class MlpConfig(Labelled):
    """A fully connected net on the flattened image: `depth` hidden layers of one `width`, or one for each of `widths`.

    `dropout` is one share for all hidden layers, or a list with one for each.
    """

    name: Literal["mlp"] = "mlp"
    width: int = Field(256, ge=1, le=8192)
    depth: int = Field(3, ge=1, le=8)  # hidden layers
    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(strict=False, min_length=1)] | None = None
    dropout: Share | Annotated[tuple[Share, ...], Field(strict=False)] = 0.0
    head: HeadConfig = HeadConfig()

    def hidden(self) -> list[tuple[int, float]]:
        """The width and the dropout of each hidden layer."""
        widths = self.widths or (self.width,) * self.depth
        dropouts = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(widths)
        return list(zip(widths, dropouts, strict=True))

    @model_validator(mode="after")
    def _fits_together(self) -> MlpConfig:
        for field in ("width", "depth"):
            if self.widths is not None and getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"widths beside {field} — remove one of them")
        layers = len(self.widths or range(self.depth))
        if isinstance(self.dropout, tuple) and len(self.dropout) != layers:
            what = f"{len(self.dropout)} values of dropout for {layers} hidden layers"
            raise ValueError(f"{what} — give one for each, 0 for none, or a single number for all")
        return self


class SimpleCnnConfig(Labelled):
    """`depth` blocks of 3x3 convolution, pooling, norm, activation; the width doubles per block."""

    name: Literal["simple_cnn"] = "simple_cnn"
    width: int = Field(32, ge=1, le=1024)  # channels of the first block
    depth: int = Field(2, ge=1, le=4)
    norm: Norm = "batch"
    head: HeadConfig = HeadConfig()


class ResidualCnnConfig(Labelled):
    """A stem and `blocks` residual blocks (arXiv 1512.03385); each block but the first halves the image."""

    name: Literal["residual_cnn"] = "residual_cnn"
    width: int = Field(32, ge=1, le=1024)
    blocks: int = Field(3, ge=1, le=8)
    norm: Norm = "batch"
    dropout: float = Field(0.0, ge=0, lt=1)  # of whole feature maps, after each block
    head: HeadConfig = HeadConfig()


class AttentionCnnConfig(Labelled):
    """simple_cnn with a CBAM (channel, then spatial attention; arXiv 1807.06521) after each block."""

    name: Literal["attention_cnn"] = "attention_cnn"
    width: int = Field(32, ge=1, le=1024)  # channels of the first block
    depth: int = Field(2, ge=1, le=4)
    reduction: int = Field(16, ge=1, le=64)  # channels per hidden unit of the channel attention
    kernel: Literal[3, 5, 7] = 7  # of the spatial attention
    head: HeadConfig = HeadConfig()


class GatedCnnConfig(Labelled):
    """simple_cnn with gated linear units (arXiv 1612.08083) for its activations."""

    name: Literal["gated_cnn"] = "gated_cnn"
    width: int = Field(32, ge=1, le=1024)  # channels of the first block, after the gate
    depth: int = Field(2, ge=1, le=4)
    norm: Norm = "batch"
    head: HeadConfig = HeadConfig()


class KernelCnnConfig(Labelled):
    """simple_cnn with kernels of another size: to compare sizes at the same number of parameters, set `params`."""

    name: Literal["kernel_cnn"] = "kernel_cnn"
    kernel: Literal[3, 5, 7, "mixed"] = 3  # mixed: half of the channels 1x1, half 3x3
    width: int = Field(32, ge=2, le=1024)  # channels of the first block
    params: int | None = Field(None, ge=1)  # of the whole model, within 2 %: the widths are solved for
    depth: int = Field(2, ge=1, le=4)
    norm: Norm = "batch"
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _one_size(self) -> KernelCnnConfig:
        if self.params is not None and self.width != type(self).model_fields["width"].default:
            raise ValueError("params beside width — remove one of them: params solves for the widths")
        return self


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
    frozen: bool = False  # a linear probe: only the head is trained
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
    | Annotated[AttentionCnnConfig, Tag("attention_cnn")]
    | Annotated[GatedCnnConfig, Tag("gated_cnn")]
    | Annotated[KernelCnnConfig, Tag("kernel_cnn")]
    | Annotated[AlexNetConfig, Tag("alexnet")]
    | Annotated[TimmConfig, Tag("timm")]
    | Annotated[UserModelConfig, Tag("user")],
    Discriminator(_family),
]
