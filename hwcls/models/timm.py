"""Backbones of timm with hwcls's head, from scratch, pretrained, or with weights from a file."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from hwcls.config.base import Epochs
from hwcls.config.data import AugmentConfig, ExpectedInputs
from hwcls.config.model import MODELS, HeadConfig, ModelFamily

if TYPE_CHECKING:
    from torch import nn

    from hwcls.models.timm_backbone import TimmModel
    from hwcls.models.weights.source import FoundWeights, NotFound

VIEWS = 4  # of each training image, the plain one among them, where augmentation changes it


class TimmSettings(ModelFamily):
    """The keys of a model of timm."""

    name: Literal["timm"] = "timm"
    backbone: str = Field(description="Any backbone of timm.", examples=["resnet18"])
    pretrained: bool | str = Field(
        False, description="Start with timm's pretrained weights, or with those of a file.", examples=[True]
    )
    frozen: bool = Field(False, description="A linear probe: the head alone is trained.")
    features: Literal["cached", "live"] = Field(
        "cached", description="Features of a frozen pretrained backbone: computed once, or in each epoch."
    )
    views: int | None = Field(
        None,
        ge=1,
        description="Views of each training image for cached features. By default 4 if `augment` changes it, else 1.",
        examples=[4],
    )
    stem: Literal["standard", "small"] = Field(
        "standard", description="small: a stride-1 3x3 stem without pooling, for small images."
    )
    head: HeadConfig = Field(HeadConfig(), description="The fully connected layers on top.")
    freeze_epochs: Epochs = Field(0, ge=0, description="First epochs in which the head alone is trained.", examples=[1])
    backbone_lr: float = Field(
        1.0,
        gt=0,
        description="Factor on the learning rate of the pretrained backbone.",
        examples=[{"min": 0.03, "max": 1.0, "log": True}],
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each of timm's layers to the one before it, head first.",
        examples=[{"min": 0.6, "max": 1.0}],
    )
    drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability that the last block is skipped in training; less for earlier ones.",
        examples=[{"min": 0.0, "max": 0.3}],
    )
    frozen_norm: bool = Field(
        False, description="The backbone's BatchNorm keeps its statistics and normalises by them."
    )
    start: Literal["random", "probe"] = Field(
        "random", description="First weights of the head; probe: trained on the frozen backbone's features first."
    )

    @field_validator("freeze_epochs", "backbone_lr", "layer_decay", "drop_path", "frozen_norm", "start")
    @classmethod
    def _is_for_a_pretrained_backbone_that_is_trained(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if value == cls.model_fields[name].default:
            return value
        if info.data.get("frozen"):
            raise ValueError(f"{name} is for a backbone that is trained, this one is frozen — remove it or frozen")
        if info.data.get("pretrained") is False and name != "drop_path":
            raise ValueError(f"{name} is for pretrained weights — add pretrained: true, or remove it")
        return value

    @field_validator("pretrained")
    @classmethod
    def _is_a_file_or_a_boolean(cls, pretrained: bool | str) -> bool | str:
        if isinstance(pretrained, str) and pretrained.casefold() in ("true", "yes", "imagenet", "default"):
            raise ValueError(
                f"pretrained '{pretrained}' would be a file — write true, without quotes, for timm's weights"
            )
        if isinstance(pretrained, str) and pretrained.casefold() in ("false", "no", "none", "null", ""):
            raise ValueError(f"pretrained '{pretrained}' would be a file — write false, without quotes")
        return pretrained

    @model_validator(mode="after")
    def _views_are_of_cached_features(self) -> Self:
        if self.views is not None and not self._caches_features:
            raise ValueError(
                "views are of cached features, which a frozen pretrained backbone alone has"
                " — set frozen: true, pretrained: true and features: cached, or remove views"
            )
        return self

    @property
    def _caches_features(self) -> bool:
        return self.frozen and bool(self.pretrained) and self.features == "cached"


@MODELS.register("timm")
class TimmConfig(TimmSettings):
    """Any backbone of timm, with hwcls's head on its pooled features."""

    slow_to_build: ClassVar[bool] = True
    earlier: ClassVar[Mapping[str, Any]] = {"features": "live", "views": None}

    _unread_file: bool = PrivateAttr(False)  # this only describes a model with a file's weights, maybe of a small stem

    def cached_views(self, augment: AugmentConfig) -> int | None:
        if not self._caches_features:
            return None
        return self.views or (VIEWS if augment.changes_pixels else 1)

    def feature_settings(self) -> list[Any]:
        from importlib.metadata import version

        from hwcls.models.weights.find import find_weights

        found = find_weights(self.backbone, self.pretrained)
        return [self.backbone, self.stem, version("timm"), found.digest or found.place]

    def build_head(self, *, features: int, classes: int) -> nn.Module:
        from torch import nn

        from hwcls.models.layers import Head

        return nn.Sequential(OrderedDict(head=Head(features, classes, self.head)))

    def split(self, model: TimmModel) -> tuple[nn.Module, nn.Module]:
        return model.backbone, model.head

    def build(self, *, classes: int, channels: int, image_size: int) -> TimmModel:
        """The backbone, with its weights where `pretrained` asks for them, and a new head.

        Raises UserError for an unknown name, images it cannot take, weights that are not available.
        """
        import torch

        from hwcls.models.fine_tuning import layer_scales, require_batch_norm
        from hwcls.models.layers import Head
        from hwcls.models.timm_backbone import TimmModel, build_backbone

        drawn = torch.get_rng_state()
        backbone, features = build_backbone(
            self.backbone,
            self.pretrained,
            stem=self.stem,
            needs_trained_stem=(self.frozen or self.start == "probe") and not self._unread_file,
            channels=channels,
            image_size=image_size,
            drop_path=self.drop_path,
        )
        if self.frozen_norm:
            require_batch_norm(backbone, self.backbone)
        if self.layer_decay != 1:
            layer_scales(backbone, self.backbone, self.layer_decay)  # raises where there are none
        if self.frozen and self.pretrained:  # the head is drawn as `build_head` draws it, which needs no backbone
            torch.set_rng_state(drawn)
        return TimmModel(backbone, Head(features, classes, self.head), self.frozen, self.frozen_norm)

    @property
    def frozen_epochs(self) -> int:
        return self.freeze_epochs

    def before_epoch(self, model: TimmModel, epoch: int) -> None:
        if self.freeze_epochs:
            model.freeze(epoch <= self.freeze_epochs)

    def lr_scales(self, model: TimmModel) -> dict[str, float]:
        from hwcls.models.fine_tuning import layer_scales

        if self.backbone_lr == self.layer_decay == 1 and not self.freeze_epochs:
            return {}
        scales = dict.fromkeys((name for name, _ in model.backbone.named_parameters()), 1.0)
        if self.layer_decay != 1:
            scales = layer_scales(model.backbone, self.backbone, self.layer_decay)
        return {f"backbone.{name}": self.backbone_lr * scale for name, scale in scales.items()}

    def notes(self, *, channels: int, image_size: int) -> tuple[str, ...]:
        from hwcls.models.timm_backbone import unseen_edge

        unseen = unseen_edge(self.backbone, self.stem, channels, image_size)
        return (unseen,) if unseen else ()

    def beside(self, folder: Path) -> Self:
        found = os.path.abspath(folder / self.pretrained) if isinstance(self.pretrained, str) else ""
        return self.model_copy(update={"pretrained": found}) if os.path.isfile(found) else self

    @property
    def weights_file(self) -> str | None:
        return self.pretrained if isinstance(self.pretrained, str) else None

    @property
    def pretrained_from(self) -> tuple[Any, ...] | None:
        return (self.backbone, self.pretrained) if self.pretrained else None

    @property
    def expects(self) -> ExpectedInputs | None:
        from hwcls.models.expected_inputs import find_expected_inputs

        return find_expected_inputs(self.backbone, self.pretrained) if self.pretrained else None

    def find_pretrained(self) -> FoundWeights | None:
        from hwcls.models.weights.find import find_weights

        return find_weights(self.backbone, self.pretrained) if self.pretrained else None

    def look_for_pretrained(self) -> list[FoundWeights | NotFound]:
        from hwcls.models.weights.find import look_for_weights

        return look_for_weights(self.backbone, self.pretrained or True)

    def initialisation(self) -> dict[str, Any]:
        names = {"freeze_epochs", "backbone_lr", "layer_decay", "start"}
        tuned = self.model_dump(include=names, exclude_defaults=True)
        return {"pretrained": self.pretrained, **tuned}

    def decided(self, model: TimmModel) -> dict[str, Any]:
        from hwcls.models.weights.find import find_weights
        from hwcls.models.weights.source import weights_name

        if not self.pretrained:
            return {}
        found = find_weights(self.backbone, self.pretrained)
        named = {"pretrained_weights": weights_name(self.backbone)} if self.pretrained is True else {}
        return {**named, "weights_source": found.label, "weights_sha256": found.digest}

    def without_pretrained(self) -> Self:
        described = self.model_copy(update={"pretrained": False, "views": None})
        described._unread_file = self._unread_file or self.weights_file is not None
        return described

    def unfrozen(self) -> Self:
        return self.model_copy(update={"frozen": False, "freeze_epochs": 0, "views": None})

    @property
    def probe(self) -> Self | None:
        if self.start == "random" or not self.pretrained:
            return None
        kept = self.model_dump(include={"label", "backbone", "pretrained", "stem", "head"})
        return self.model_validate({**kept, "frozen": True, "views": 1})
