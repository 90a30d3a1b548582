"""The fully connected net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from hwcls.config.model import MODELS, HeadConfig, ModelFamily, Share
from hwcls.format import format_count

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("mlp")
class MlpConfig(ModelFamily):
    """A fully connected net on the flattened image: `depth` hidden layers of one `width`, or one for each of `widths`.

    `dropout` is one share for all hidden layers, or a list with one for each.
    """

    name: Literal["mlp"] = "mlp"
    width: int = Field(256, ge=1, le=8192, description="Units of each hidden layer.", examples=[{"values": [128, 256]}])
    depth: int = Field(3, ge=1, le=8, description="Hidden layers.", examples=[{"min": 1, "max": 3}])
    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(strict=False, min_length=1)] | None = (
        Field(
            None, description="Units of each hidden layer, instead of `width` and `depth`.", examples=[[1024, 512, 256]]
        )
    )
    dropout: Share | Annotated[tuple[Share, ...], Field(strict=False)] = Field(
        0.0,
        description="Dropout of all hidden layers, or a list with one for each.",
        examples=[{"min": 0.0, "max": 0.5}],
    )
    head: HeadConfig = Field(HeadConfig(), description="The fully connected layers on top.")

    @model_validator(mode="after")
    def _fits_together(self) -> MlpConfig:
        for field in ("width", "depth"):
            if self.widths is not None and getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"widths cannot be combined with {field} — remove one of them")
        layers = len(self.widths or range(self.depth))
        if isinstance(self.dropout, tuple) and len(self.dropout) != layers:
            values = format_count(len(self.dropout), "value")
            what = f"{values} of dropout for {format_count(layers, 'hidden layer')}"
            raise ValueError(f"{what} — give one for each, 0 for none, or a single number for all")
        return self

    def hidden(self) -> list[tuple[int, float]]:
        """The width and the dropout of each hidden layer."""
        widths = self.widths or (self.width,) * self.depth
        dropouts = self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(widths)
        return list(zip(widths, dropouts, strict=True))

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """The hidden layers, each with ReLU and its dropout, on the flattened image, then the head."""
        from torch import nn

        from hwcls.models.layers import Head, he_init

        layers: list[nn.Module] = [nn.Flatten()]  # (B, channels * image_size**2)
        features = channels * image_size**2
        for width, dropout in self.hidden():
            layers += [nn.Linear(features, width), nn.ReLU()]  # (B, width)
            if dropout:
                layers.append(nn.Dropout(dropout))
            features = width
        return he_init(nn.Sequential(*layers, Head(features, classes, self.head)))
