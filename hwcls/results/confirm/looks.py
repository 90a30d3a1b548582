"""The looks at the verdicts on test: each is recorded, as the level of significance pays for all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from hwcls.results.confirm.plan import point_runs, winner_runs
from hwcls.results.load import ConfirmRun, SweepResults
from hwcls.results.test_comparison import name_point
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
    opened, found = SweepFolder(results.folder), _compared_runs(results)
    before, trials = {name: len(runs) for name, runs in found.items()}, {n: r[0].run.number for n, r in found.items()}
    if is_verdict(before) and not any(before.keys() & look.keys() for look in opened.looks()):
        opened.add_look(before, trials)  # of a version that did not count, or of several metrics not each point
    after = dict(before)
    new: dict[str, list[ConfirmRun]] = {}
    for run in waiting:
        new.setdefault(name_point(run.run.number) if results.costs else run.label, []).append(run)
    for name, runs in new.items():
        stays = trials.get(name) == runs[0].run.number  # else another trial has won, or the winner was excluded
        after[name], trials[name] = len(runs) + (before[name] if stays else 0), runs[0].run.number
    if not is_verdict(after) or opened.has_look(after, trials):
        return
    opened.add_look(after, trials)
    if (look := len(opened.looks())) > 1:
        log.info("look %d at the verdicts: significant is p below %.2g", look, spend_alpha(look))


def is_verdict(seeds: Mapping[str, int]) -> bool:
    """Whether so many seeds of each alternative, or point, give a verdict: two of them with two seeds each."""
    return sum(count >= 2 for count in seeds.values()) >= 2


def _compared_runs(results: SweepResults) -> dict[str, list[ConfirmRun]]:
    """The runs on test of all that verdicts compare: with several metrics the points of the front, by trial."""
    if results.costs:
        return {name_point(number): runs for number, runs in point_runs(results).items()}
    return winner_runs(results)
