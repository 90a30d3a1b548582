"""The models that a sweep compares, and which of them are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hwcls.config.space import find_alternatives
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError


def expand_alternatives(sweep: Sweep) -> dict[str, list[TrialConfig]]:
    """Trials of each alternative of the model, with both ends of every range and every value.

    The alternatives are those of `compare` where it names the model or a part of it, else the model's choice; a sweep
    with a single model has none. The first trial of each has the first or lowest of everything. Combinations that
    cannot be trained are left out.
    """
    compare = (sweep.config.compare or "").removeprefix("parameters.")
    try:
        found = sweep.alternatives if compare.split(".")[0] == "model" else find_alternatives(sweep.space, "model", "")
    except UserError:  # no choice
        return {}
    trials: dict[str, list[TrialConfig]] = {}
    for one in found:
        for corner in sweep.space.corners():
            is_its = all(corner.get(name, value) == value for name, value in one.settings.items())
            if is_its and (trial := sweep.find_trial({**corner, **one.settings})) is not None:
                trials.setdefault(one.label, []).append(trial)
    return trials


def group_same_models(
    found: Mapping[str, Sequence[TrialConfig]], identity: Callable[[TrialConfig], str]
) -> list[list[str]]:
    """The groups of two and more labels whose trials all have the same models, as `identity` tells.

    `identity` may be slow: it is called for every trial only where two alternatives agree in their first.
    """
    same_start: dict[str, list[str]] = {}
    for label, trials in found.items():
        same_start.setdefault(identity(trials[0]), []).append(label)
    groups: dict[frozenset[str], list[str]] = {}
    for labels in same_start.values():
        for label in labels if len(labels) > 1 else ():
            groups.setdefault(frozenset(map(identity, found[label])), []).append(label)
    return [labels for labels in groups.values() if len(labels) > 1]


def describe_same_models(labels: Sequence[str]) -> str:
    """The warning about a group of `group_same_models`."""
    return f"{', '.join(labels[:-1])} and {labels[-1]} are the same model"
