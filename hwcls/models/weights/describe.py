"""What is said of the weights of a backbone: where they come from, and what a user should know of a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hwcls.models.weights.load import read_tensors, rename_tensors
from hwcls.models.weights.source import FoundWeights, NotFound


def describe_weights(found: FoundWeights) -> str:
    """A line on where weights come from."""
    verb = "will be downloaded" if found.path is None else "are"
    return f"weights of {found.backbone} {verb} from {found.label}"


def weights_note(found: FoundWeights) -> str | None:
    """What a user should know of weights: a file that names its tensors in another way than timm, and still fits.

    Raises UserError where the file cannot be read.
    """
    return None if found.kind != "file" else _renaming(found, found.digest)


@lru_cache(maxsize=64)  # asked for each trial of a sweep
def _renaming(found: FoundWeights, _: str | None) -> str | None:
    renamed = rename_tensors(found, read_tensors(found))
    if renamed is None:
        return None
    what = f"{found.place} names its {len(renamed)} tensors in another way than timm"
    return f"{what}: they are {found.backbone}'s in their order, as every module and shape is the same"


def describe_places(looked: Sequence[FoundWeights | NotFound]) -> list[str]:
    """Where the weights of a backbone would come from, and a line on each place in the order of the search."""
    backbone = looked[0].backbone
    taken = next((one for one in looked if isinstance(one, FoundWeights)), None)
    if taken is None:
        lines = [f"weights of {backbone} are nowhere"]
    else:
        lines = [f"weights of {backbone} {'come' if taken.path else 'would be downloaded'} from {taken.label}"]
    for one in looked:
        if isinstance(one, NotFound):
            lines.append(f"  {one.kind}: {one.reason}" + (f": {one.remedy}" if one.remedy else ""))
        else:
            lines.append(f"  {one.kind}: {one.place}" + ("" if one.path else " (asked where nothing above has them)"))
    return lines
