"""Places where the weights of a backbone may be; a new one is a file with a class and a line in `SOURCES`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwcls.registry import Registry


@dataclass(frozen=True)
class FoundWeights:
    """Weights of a backbone that are there.

    Attributes:
        kind: The source's name in `SOURCES`.
        place: The path of the file, or the address that it is downloaded from.
        path: The file on this machine; None where it has to be downloaded first.
        label: What the place is called in a sentence.
    """

    kind: str
    backbone: str
    place: str
    path: Path | None
    label: str

    @property
    def digest(self) -> str | None:
        """The sha256 of the file, in hex, which identifies the weights; None where it is not on this machine."""
        return None if self.path is None else file_digest(self.path)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values; `found` is null where a hub would have to be asked."""
        found = None if self.path is None else True
        return {"source": self.kind, "found": found, "place": self.place, "sha256": self.digest}


@dataclass(frozen=True)
class NotFound:
    """A place that does not have the weights of a backbone.

    Attributes:
        reason: What is missing there, for a sentence.
        remedy: What gets the weights; empty where nothing does.
    """

    kind: str
    backbone: str
    place: str
    reason: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values, in the form of `FoundWeights.to_dict`."""
        told = {"place": self.place, "sha256": None, "reason": self.reason, "remedy": self.remedy}
        return {"source": self.kind, "found": False, **told}


class WeightSource:
    """A kind of place that may have the weights of a backbone."""

    def look(self, backbone: str, pretrained: bool | str) -> FoundWeights | NotFound | None:
        """What is there for `model.pretrained`; None where a place of this kind cannot have it. Contacts nobody."""
        raise NotImplementedError

    def reach(self, found: FoundWeights) -> NotFound | None:
        """Why weights that have to be downloaded cannot be, found within seconds; None where they can."""
        return None

    def download(self, found: FoundWeights) -> Path:
        """Fetch weights that have no path yet; raises whatever prevents it."""
        raise NotImplementedError

    def verify(self, found: FoundWeights, weights: dict[str, Any]) -> None:
        """Raise UserError where weights, named as timm names them, are not what this place should have."""

    @property
    def may_have_some(self) -> bool:
        """Whether a place of this kind has any weights on this machine; needs neither torch nor timm."""
        return False


SOURCES: Registry[type[WeightSource]] = Registry(
    "source of weights",
    {  # in the order in which they are asked
        "file": "hwcls.models.weights.file",
        "cache": "hwcls.models.weights.cache",
        "package": "hwcls.models.weights.package",
        "hub": "hwcls.models.weights.hub",
    },
)


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hex, computed once in a process while its size and time stay."""
    status = path.stat()
    return _digest(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, time: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_name(backbone: str) -> str:
    """What timm calls its own weights of `backbone`: resnet18.a1_in1k."""
    import timm

    known = timm.get_pretrained_cfg(backbone)
    return f"{known.architecture or '?'}.{known.tag or '?'}" if known else backbone
