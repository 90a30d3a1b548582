"""A file of weights that the sweep file names."""

from __future__ import annotations

from pathlib import Path

from hwcls.errors import UserError
from hwcls.models.weights.source import SOURCES, FoundWeights, NotFound, WeightSource

REMEDY = "it is true, false or a path"


@SOURCES.register("file")
class WeightsFile(WeightSource):
    """`pretrained: path/to/weights.safetensors` or .pth, with timm's weights or a trial's best.safetensors."""

    def look(self, backbone: str, pretrained: bool | str) -> FoundWeights | NotFound | None:
        if not isinstance(pretrained, str):
            return None
        path = Path(pretrained)
        if not path.is_file():
            return NotFound("file", backbone, pretrained, f"no such weights file '{pretrained}'", REMEDY)
        return FoundWeights("file", backbone, pretrained, path, f"the file {path}")


def require_weights_file(path: str) -> None:
    """Raise UserError where the weights file does not exist."""
    if not Path(path).is_file():
        raise UserError(f"no such weights file '{path}'", where="model.pretrained", remedy=REMEDY)
