"""The tensors of a file against those of a backbone: named alike, in the same order, or of another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any

from hwcls.format import format_count

Shape = tuple[int, ...]
COUNTER = "num_batches_tracked"  # of a batch norm: no weight, and in some files only


@lru_cache(maxsize=64)
def backbone_shapes(backbone: str) -> dict[str, Shape]:
    """The name and shape of each tensor of timm's backbone with the classifier of its weights, in its modules' order.

    timm's first convolution has the channels of its weights.
    """
    return shapes_of(_meta_tensors(backbone))


def _meta_tensors(backbone: str, **options: Any) -> dict[str, Any]:
    """The tensors of timm's backbone by name, without values."""
    import timm
    import torch

    with torch.device("meta"):
        return timm.create_model(backbone, **options).state_dict()


def shapes_of(weights: Mapping[str, Any]) -> dict[str, Shape]:
    """The shape of each tensor, in order, without the counters of batch norms."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items() if not name.endswith(COUNTER)}


@lru_cache(maxsize=64)
def classifier_names(backbone: str) -> frozenset[str]:
    """The names of the tensors of the classifier, which a file may have for other classes, or not at all.

    Those that timm's backbone has with a classifier alone: of some it has hidden layers or a norm of its own.
    """
    import timm

    known = timm.get_pretrained_cfg(backbone)
    found = (known.classifier if known else None) or ()
    modules = (found,) if isinstance(found, str) else found
    last = {f"{module}.{part}" for module in modules for part in ("weight", "bias")}
    return frozenset((last | _meta_tensors(backbone).keys()) - _meta_tensors(backbone, num_classes=0).keys())


def rename_by_order(weights: dict[str, Any], backbone: str) -> dict[str, Any] | None:
    """The same tensors with timm's names, where a file names the same modules in the same order in another way.

    Modules are the same where their tensors (weight, bias, running_mean ...) and every shape are; a classifier may be
    for another number of classes, or missing. None where they are not the same, or are named as timm names them.
    """
    pairs = _pair_by_order(shapes_of(weights), backbone)
    if pairs is None or _first_other_shape(shapes_of(weights), pairs, backbone):
        return None
    return {own: weights[name] for name, own in pairs.items()}


def _pair_by_order(theirs: Mapping[str, Shape], backbone: str) -> dict[str, str] | None:
    """timm's name of each tensor, where the modules of a file have other names; None where they are not the same."""
    own, classifier = backbone_shapes(backbone), classifier_names(backbone)
    bare = [name for name in own if name not in classifier]
    if set(bare) <= theirs.keys():
        return None
    same = (wanted for wanted in (list(own), bare) if _modules(theirs) == _modules(wanted))
    return next((dict(zip(theirs, wanted, strict=True)) for wanted in same), None)


def _first_other_shape(theirs: Mapping[str, Shape], pairs: Mapping[str, str], backbone: str) -> str | None:
    """The first tensor whose shape is not that of its pair, for a sentence; None where all are."""
    own, classifier = backbone_shapes(backbone), classifier_names(backbone)
    for name, wanted in pairs.items():
        first = 1 if wanted in classifier else 0  # other classes
        if theirs[name][first:] != own[wanted][first:]:
            there, here = ("x".join(map(str, shape)) or "one number" for shape in (theirs[name], own[wanted]))
            other = "" if name == wanted else f"'{wanted}' "
            return f"'{name}' is {there} there and {other}{here} in {backbone}"
    return None


def _modules(names: Iterable[str]) -> list[list[str]]:
    """The last part of the tensors' names, module by module."""
    parts = [name.rpartition(".") for name in names]
    return [[last for _, _, last in group] for _, group in groupby(parts, key=lambda part: part[0])]


def has_all_shapes(weights: Mapping[str, Any], backbone: str) -> bool:
    """Whether there is a tensor of the shape of each of a backbone's, under any name and in any order."""
    own = Counter(shape for name, shape in backbone_shapes(backbone).items() if name not in classifier_names(backbone))
    return own <= Counter(shapes_of(weights).values())


def describe_difference(weights: Mapping[str, Any], backbone: str) -> str:
    """The first thing in which tensors differ from those of a backbone, for a sentence that begins with their file."""
    theirs, own, classifier = shapes_of(weights), backbone_shapes(backbone), classifier_names(backbone)
    bare = {name: shape for name, shape in own.items() if name not in classifier}
    common = bare.keys() & theirs.keys()
    if (pairs := _pair_by_order(theirs, backbone)) and (other := _first_other_shape(theirs, pairs, backbone)):
        return f"holds another architecture: {other}"
    if 2 * len(common) < len(bare):
        some = next(iter(theirs), None)
        named = f" ('{some}' ...)" if some else ""
        what = f"holds another architecture: {format_count(len(theirs), 'tensor')}{named}"
        return f"{what}, where {backbone} has {len(bare)}"
    if other := _first_other_shape(theirs, {name: name for name in bare if name in theirs}, backbone):
        return f"holds another architecture: {other}"
    missing = [name for name in bare if name not in theirs]
    if missing:
        return f"is incomplete: it has no '{missing[0]}'{_and_more(missing)}, which {backbone} has"
    surplus = [name for name in theirs if name not in own]
    if surplus:
        return f"holds another architecture: it has '{surplus[0]}'{_and_more(surplus)}, which {backbone} has not"
    return f"does not load into {backbone}"


def _and_more(names: Iterable[str]) -> str:
    others = len(list(names)) - 1
    return f" and {others} more" if others else ""
