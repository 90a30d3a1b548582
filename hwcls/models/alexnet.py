"""AlexNet for small images, alone or on the encoder of a U-Net autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from hwcls.config.model import MODELS, HeadConfig, ModelFamily, PretrainConfig

if TYPE_CHECKING:
    from hwcls.models.alexnet_net import AlexNet
    from hwcls.models.unet import UNetAutoencoder


@MODELS.register("alexnet")
class AlexNetConfig(ModelFamily):
    """AlexNet for small images, alone or on the encoder of a U-Net autoencoder."""

    name: Literal["alexnet"] = "alexnet"
    width: int = Field(
        64, ge=4, le=512, description="Channels of the first convolution.", examples=[{"values": [32, 64]}]
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout before the head.", examples=[{"min": 0.3, "max": 0.6}])
    pretrain: PretrainConfig | None = Field(
        None, description="Train the encoder first, as a part of an autoencoder. By default it is not."
    )
    head: HeadConfig = Field(HeadConfig(depth=3, width=512), description="The fully connected layers on top.")

    def build(self, *, classes: int, channels: int, image_size: int) -> AlexNet:
        """An AlexNet, its encoder (if any) not yet pretrained; raises UserError for images under 8x8."""
        from hwcls.models.alexnet_net import AlexNet
        from hwcls.models.layers import require_image_size

        require_image_size(image_size, 8, "alexnet")
        return AlexNet(self.width, self.dropout, self.head, self.pretrain, classes, channels, image_size)

    @property
    def encoder_pretraining(self) -> PretrainConfig | None:
        return self.pretrain

    def build_autoencoder(self, *, channels: int, image_size: int) -> UNetAutoencoder:
        """The autoencoder; raises UserError where the image is too small."""
        from hwcls.models.layers import require_image_size
        from hwcls.models.unet import UNetAutoencoder, encoder_width

        require_image_size(image_size, 8, "the U-Net autoencoder")
        return UNetAutoencoder(channels, encoder_width(self.width))

    def autoencoder_settings(self) -> list[Any]:
        return [self.width]

    def initialisation(self) -> dict[str, Any]:
        return {"pretrain": self.pretrain and self.pretrain.model_dump(mode="json", exclude={"label"})}

    def unfrozen(self) -> Self:
        return self._with_pretrain(frozen=False)

    def with_least_pretraining(self) -> Self:
        return self._with_pretrain(share=0.01, epochs=1)

    def _with_pretrain(self, **changes: Any) -> Self:
        if self.pretrain is None:
            return self
        return self.model_copy(update={"pretrain": self.pretrain.model_copy(update=changes)})
