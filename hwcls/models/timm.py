"""Backbones of timm with hwcls's head, from scratch, pretrained, or with weights from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from hwcls.config.data import AugmentConfig, ExpectedInputs
from hwcls.config.model import MODELS, HeadConfig, ModelFamily

if TYPE_CHECKING:
    from hwcls.models.timm_backbone import TimmModel

VIEWS = 4  # of each training image, the plain one among them, where augmentation changes it


@MODELS.register("timm")
class TimmConfig(ModelFamily):
    """Any backbone of timm, with hwcls's head on its pooled features."""

    slow_to_build: ClassVar[bool] = True
    earlier: ClassVar[Mapping[str, Any]] = {"features": "live", "views": None}

    name: Literal["timm"] = "timm"
    backbone: str
    pretrained: bool | str = False  # or the path of a weights file
    frozen: bool = False  # a linear probe: only the head is trained
    features: Literal["cached", "live"] = "cached"  # of a frozen pretrained backbone: computed once, or in each epoch
    views: int | None = Field(None, ge=1)  # of each training image, for cached features; None: 4 if augment changes it
    stem: Literal["standard", "small"] = "standard"  # small: a stride-1 3x3 stem without pooling
    head: HeadConfig = HeadConfig()

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

    def cached_views(self, augment: AugmentConfig) -> int | None:
        if not self._caches_features:
            return None
        return self.views or (VIEWS if augment.changes_pixels else 1)

    def build(self, *, classes: int, channels: int, image_size: int) -> TimmModel:
        """The backbone, with its weights where `pretrained` asks for them, and a new head.

        Raises UserError for an unknown name, images it cannot take, weights that are not available.
        """
        from hwcls.models.layers import Head
        from hwcls.models.timm_backbone import TimmModel, build_backbone

        backbone, features = build_backbone(
            self.backbone,
            self.pretrained,
            stem=self.stem,
            frozen=self.frozen,
            channels=channels,
            image_size=image_size,
        )
        return TimmModel(backbone, Head(features, classes, self.head), self.frozen)

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

    def find_pretrained(self) -> None:
        from hwcls.models.weights.find import find_weights

        if self.pretrained:
            find_weights(self.backbone, self.pretrained)

    def initialisation(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained}

    def decided(self, model: TimmModel) -> dict[str, Any]:
        from hwcls.models.weights.find import find_weights
        from hwcls.models.weights.source import weights_name

        if not self.pretrained:
            return {}
        found = find_weights(self.backbone, self.pretrained)
        named = {"pretrained_weights": weights_name(self.backbone)} if self.pretrained is True else {}
        return {**named, "weights_source": found.label, "weights_sha256": found.digest}

    def without_pretrained(self) -> Self:
        return self.model_copy(update={"pretrained": False, "views": None})

    def unfrozen(self) -> Self:
        return self.model_copy(update={"frozen": False, "views": None})
