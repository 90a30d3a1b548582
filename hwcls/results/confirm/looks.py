"""The looks at the verdicts on test: each is recorded, as the level of significance pays for all of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from hwcls.results.confirm.plan import confirm_winners, winner_runs
from hwcls.results.load import ConfirmRun, SweepResults
from hwcls.statistics import spend_alpha
from hwcls.tracking.folders import SweepFolder

log = logging.getLogger(__name__)


def record_look(results: SweepResults, waiting: Sequence[ConfirmRun] = ()) -> None:
    """Count the verdict that follows, before anything of it is known, so that a crash hides none.

    One that was seen before, of the same runs, is no further look.

    Args:
        results: As they are now; other winners than at the last look, as after an exclusion, are another verdict.
        waiting: Runs that are about to be scored.
    """
    opened = SweepFolder(results.folder)
    before = Counter({label: len(runs) for label, runs in winner_runs(results).items()})
    if is_verdict(before) and not opened.looks():  # of a version that did not count
        opened.add_look(before, confirm_winners(results))
    after, winners = Counter(before), dict(confirm_winners(results))
    for label in {run.label for run in waiting}:
        new = [run for run in waiting if run.label == label]
        stays = winners.get(label) == new[0].run.number  # else another trial has won, or the winner was excluded
        after[label], winners[label] = len(new) + (before[label] if stays else 0), new[0].run.number
    if not is_verdict(after) or opened.has_look(after, winners):
        return
    opened.add_look(after, winners)
    if (look := len(opened.looks())) > 1:
        log.info("look %d at the verdicts: significant is p below %.2g", look, spend_alpha(look))


def is_verdict(seeds: Mapping[str, int]) -> bool:
    """Whether so many seeds of each alternative give a verdict: two alternatives with two seeds each."""
    return sum(count >= 2 for count in seeds.values()) >= 2
