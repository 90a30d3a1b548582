"""Which alternatives of a sweep started with pretrained weights, and what their results may be compared with."""

from __future__ import annotations

import contextlib

from hwcls.errors import UserError
from hwcls.format import join_words
from hwcls.results.load import SweepResults
from hwcls.tracking.folders import TrialFolder

CAUTION = (
    "The images that the weights were trained on may contain these classes, as ImageNet contains those of TinyImageNet:"
    " compare the results with those of pretrained models."
)


def find_pretrained(sweep: SweepResults) -> dict[str | None, bool]:
    """By alternative, whether any of its trials started with pretrained weights; None is one without alternatives."""
    found: dict[str | None, bool] = {}
    read: set[tuple[object, ...]] = set()
    for trial in sweep.trials:  # one config for each alternative and each value of a searched `pretrained`
        drawn = [value for name, value in trial.parameters.items() if name.rpartition("_")[2] == "pretrained"]
        if (key := (trial.label, *map(str, drawn))) in read:
            continue
        with contextlib.suppress(UserError):
            pretrained = TrialFolder(trial.folder).config().model.pretrained_from is not None
            found[trial.label] = found.get(trial.label, False) or pretrained
            read.add(key)
    return found


def describe_pretrained(sweep: SweepResults) -> str:
    """Which models started with pretrained weights, and the caution; empty where none did."""
    found = find_pretrained(sweep)
    if not any(found.values()):
        return ""
    if all(found.values()):
        who = "All models" if len(found) > 1 else "The models"
        return f"{who} started with pretrained weights. {CAUTION}"
    names = {kind: join_words([str(label) for label, one in found.items() if one is kind]) for kind in (True, False)}
    return f"{names[True]} started with pretrained weights, {names[False]} from scratch. {CAUTION}"
