"""Find the weights of a backbone: every source is asked in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hwcls.errors import UserError
from hwcls.models.weights.source import SOURCES, FoundWeights, NotFound

GIVE_A_FILE = "pretrained: path/to/weights.safetensors"


def look_for_weights(backbone: str, pretrained: bool | str) -> list[FoundWeights | NotFound]:
    """What each source says of the weights that `model.pretrained` asks for; nobody is contacted.

    The first of `FoundWeights` is taken; one of a hub has to be downloaded.
    """
    return list(_look(backbone, pretrained))


def find_weights(backbone: str, pretrained: bool | str) -> FoundWeights:
    """Where the weights come from that `model.pretrained` (true or a path) asks for; nothing is downloaded.

    A hub is asked where nothing else has them, once in a process and for some seconds. Raises UserError that names
    every place where they are not, and what gets them.
    """
    missing: list[NotFound] = []
    for looked in _look(backbone, pretrained):
        failed = looked if isinstance(looked, NotFound) else _reach(looked)
        if failed is None and isinstance(looked, FoundWeights):
            return looked
        if failed:
            missing.append(failed)
    raise _nowhere(backbone, pretrained, missing)


def fetch_weights(backbone: str, pretrained: bool | str) -> FoundWeights:
    """`find_weights` with a path: weights at a hub are downloaded."""
    return download(find_weights(backbone, pretrained))


def download(found: FoundWeights) -> FoundWeights:
    """The same weights on this machine; raises UserError where they cannot be downloaded."""
    if found.path is not None:
        return found
    try:
        path = SOURCES[found.kind]().download(found)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        what = f"the weights of {found.backbone} could not be downloaded ({type(error).__name__}: {reason})"
        raise UserError(what, where=found.place, remedy=f"try again, or give a file: {GIVE_A_FILE}") from error
    return replace(found, path=path)


def find_offline_weights(backbone: str) -> str | None:
    """Where timm's own weights of `backbone` are on this machine; None where a hub would have to be asked."""
    found = (one for one in _look(backbone, True) if isinstance(one, FoundWeights) and one.path is not None)
    return next((one.place for one in found), None)


def may_have_weights() -> bool:
    """Whether any source has weights of some backbone on this machine; needs neither torch nor timm."""
    return any(source().may_have_some for source in SOURCES.all().values())


def _look(backbone: str, pretrained: bool | str) -> Iterator[FoundWeights | NotFound]:
    for source in SOURCES.all().values():
        if looked := source().look(backbone, pretrained):
            yield looked


def _reach(found: FoundWeights) -> NotFound | None:
    return None if found.path is not None else SOURCES[found.kind]().reach(found)


def _nowhere(backbone: str, pretrained: bool | str, missing: list[NotFound]) -> UserError:
    if isinstance(pretrained, str):
        return UserError(missing[0].reason, where="model.pretrained", remedy=missing[0].remedy)
    if not missing:
        remedy = f"set it to false, or to a weights file: {GIVE_A_FILE}"
        return UserError(f"timm has no weights for {backbone}", where="model.pretrained", remedy=remedy)
    tried = "; ".join(one.reason for one in missing)
    commands = [one.remedy for one in missing if one.remedy]
    remedy = f"get them: {' or '.join(commands)}; or name a file: {GIVE_A_FILE}"
    return UserError(f"no weights for {backbone}: {tried}", where="model.pretrained", remedy=remedy)
