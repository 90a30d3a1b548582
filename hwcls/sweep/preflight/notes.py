"""Notes on a sweep file that is valid, but promises more than it can keep: for the dry run and the start."""

from __future__ import annotations

from collections import Counter

from hwcls.config.sweep_file import Sweep, first_settings
from hwcls.format import format_count


def describe_notes(sweep: Sweep) -> list[str]:
    """One sentence for each."""
    return [*sweep.notes, *_finite_space(sweep), *_unequal_first(sweep), *_few_seeds(sweep)]


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
