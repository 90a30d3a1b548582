"""Notes on a sweep file that is valid, but promises more than it can keep: for the dry run and the start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, islice
from typing import Any

from pydantic import ValidationError

from hwcls.config.remedies.values import describe_error, first_error
from hwcls.config.space import Fixed
from hwcls.config.sweep_file import Sweep, first_settings
from hwcls.config.trial import TrialConfig
from hwcls.format import format_count, format_number

MOST_PAIRS = 5_000  # of settings that are tried together


def describe_notes(sweep: Sweep) -> list[str]:
    """One sentence for each."""
    return [*sweep.notes, *_finite_space(sweep), *_unequal_first(sweep), *_few_seeds(sweep), *_untrainable(sweep)]


def _finite_space(sweep: Sweep) -> list[str]:
    found = []
    for label, trials, size in [] if sweep.grid is not None else sweep.sizes:
        if trials > size:
            what = format_count(int(size), "setting")
            whose = "the space has" if label is None else f"{label} has"
            rest = "the others repeat them on further seeds; lower run_cap"
            if "seed" in sweep.space.root.children:
                rest = "the others are copies of them, as parameters.seed gives their seed; lower run_cap, or remove it"
            found.append(f"{format_count(trials, 'trial')}, but {whose} only {what} to try: {rest}")
    return found


def _unequal_first(sweep: Sweep) -> list[str]:
    """Settings of `first` are all tried: more than an alternative's share of the trials leave the others fewer."""
    each = sweep.shares.trials_each() or {}
    given = Counter(sweep.alternative_label(settings) for settings in first_settings(sweep))
    return [
        f"first has {format_count(given[label], 'setting')} of {label}, whose share is {format_count(share, 'trial')}: "
        f"the others get fewer; remove some, or raise run_cap to {given[label] * len(each)} or more"
        for label, share in each.items()
        if given[label] > share
    ]


def _few_seeds(sweep: Sweep) -> list[str]:
    """An interval of a mean over seeds is t(seeds - 1) / sqrt(seeds) standard deviations wide on each side."""
    config = sweep.config.confirm
    if config is None or config.seeds > 2:
        return []
    if config.seeds == 1:
        return ["confirm: a single seed gives neither an interval nor a verdict; seeds: 5 gives both"]
    wide = "up to 7 times as wide as with 5 (9.0 instead of 1.2 standard deviations of a seed on each side)"
    return [f"confirm: with 2 seeds an interval is {wide}"]


def _untrainable(sweep: Sweep) -> list[str]:
    """Settings that are valid, but not together; the first of them is named."""
    found = list(_untrainable_pairs(sweep))
    if not found:
        return []
    settings, why = found[0]
    named = " with ".join(f"{name} {format_number(value)}" for name, value in settings.items())
    more = f", nor {format_count(len(found) - 1, 'other combination')}" if len(found) > 1 else ""
    return [f"{named} cannot be trained ({why}){more}: such trials count, but are not run"]


def _untrainable_pairs(sweep: Sweep) -> Iterator[tuple[dict[str, Any], str]]:
    """Settings that cannot be trained together although each can, and why."""
    found: list[dict[str, Any]] = []
    for one, other in islice(combinations(sweep.space.corners(), 2), MOST_PAIRS):
        settings = {**one, **other}
        contradict = any(settings[name] != value for name, value in one.items())
        if contradict or any(known.items() <= settings.items() for known in found):
            continue
        try:
            sweep.trial(Fixed(settings))
        except ValidationError as error:
            found.append(settings)
            yield settings, describe_error(first_error(error), root=TrialConfig, searched=True)[0]
