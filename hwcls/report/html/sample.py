"""What the page shows of thousands of trials: browsers draw so many lines, dots and rows in a few seconds, not all.

The best trial is always among them; the others are taken evenly over the ranks, so that a picture stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from hwcls.results.load import SweepResults, TrialResult

T = TypeVar("T")
MAX_CURVES, MAX_POINTS = 300, 150_000  # thin lines of a chart, and points of all of them together
MAX_DOTS = 1000  # of a chart, and lines through all settings
MAX_ROWS = 1000  # of the leaderboard
MAX_LISTED = 200  # commands, links and failures


def sample(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly spaced and in order, the first and the last among them."""
    count, steps = len(items), max(most - 1, 1)
    if count <= most:
        return list(items)
    return [items[place * (count - 1) // steps] for place in range(most)]


def sample_curves(ranked: Sequence[TrialResult]) -> set[int]:
    """The numbers of the trials whose curves a chart has."""
    chosen = sample(ranked, MAX_CURVES)
    while len(chosen) > 1 and sum(len(trial.records) for trial in chosen) > MAX_POINTS:
        chosen = sample(chosen, len(chosen) // 2)
    return {trial.number for trial in chosen}


def sample_dots(sweep: SweepResults, always: Iterable[int] = ()) -> set[int]:
    """The numbers of the trials that a chart has a dot or a line for, those in `always` among them."""
    return {trial.number for trial in sample(sweep.ranked(), MAX_DOTS)} | set(always)


def describe_sample(sweep: SweepResults) -> str:
    """What charts leave out of the trials, in a sentence; empty where they show every one."""
    count, able = len(sweep.trials), [trial for trial in sweep.ranked() if trial.records]
    curves = len(sample_curves(able))
    if curves == len(able) and count <= MAX_DOTS:
        return ""
    dots = f" and about {MAX_DOTS:,} as dots or as lines through their settings" if count > MAX_DOTS else ""
    return f"Of {count:,} trials a chart shows {curves:,} as thin curves{dots}, evenly over the ranks."
