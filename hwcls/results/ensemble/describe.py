"""A sweep's ensemble in words, from its ensemble.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwcls.escape import shell_word
from hwcls.format import format_count, format_difference, format_interval, format_p, join_words, name_metric
from hwcls.reading import read_json, read_or_none
from hwcls.results.load import SweepResults
from hwcls.results.notes.changes import list_left_out
from hwcls.statistics import Estimate
from hwcls.tracking.folders import ENSEMBLE, MEMBERS
from hwcls.tracking.shapes import EnsembleShape

ALPHA = 0.05
NAMES = {"ensemble": "The ensemble", "soup": "The soup"}


def describe_ensemble(sweep: SweepResults) -> str:
    """What there is in ensemble/ and how it compares to the winner; empty where there is none, or it is damaged."""
    about = read_or_none(read_json, sweep.folder / ENSEMBLE / MEMBERS, EnsembleShape)
    return "" if about is None else describe_members(about) + _name_left_out(sweep, about)


def _name_left_out(sweep: SweepResults, about: Mapping[str, Any]) -> str:
    """The members that count no more."""
    used = {key for member in about["members"] for key in member["run"].split("+")}  # of a soup: all
    members = sorted(used & list_left_out(sweep))
    remedy = f"hwcls ensemble {shell_word(sweep.folder)} chooses again"
    return (
        f" Since then {join_words(members)} {'is' if len(members) == 1 else 'are'} left out: {remedy}."
        if members
        else ""
    )


def describe_members(about: Mapping[str, Any]) -> str:
    """An ensemble.json in sentences."""
    return f"{NAMES[about['kind']]} in {ENSEMBLE}/ is {about['why']}. {describe_test(about)}"


def describe_test(about: Mapping[str, Any]) -> str:
    """How an ensemble and the winner scored on the same images of test, and whether they can be told apart."""
    test, metric = about["test"], about["test"]["metric"]
    ensemble, winner = (format_interval(metric, _estimate(test[key])) for key in ("ensemble", "winner"))
    gap = _estimate(test["difference"])
    low, high = (format_difference(metric, end, unit=False) for end in (gap.low, gap.high))
    difference = f"{format_difference(metric, gap.mean)} (95 % interval {low} to {high})"
    text = f"On {format_count(test['images'], 'image')} of test its {name_metric(metric)} is {ensemble};"
    text += f" that of {about['winner']}, the winner, alone is {winner}: a difference of {difference}"
    kind = "McNemar's " if metric == "test/accuracy" else ""
    scope = "These intervals are of the images, not of the seeds of the trainings."
    p = f"{kind}{format_p(test['p'], ALPHA)}"
    if test["p"] >= ALPHA:
        return f"{text}, so that they cannot be told apart ({p}). {scope}"
    better = (gap.mean > 0) != (metric == "test/loss")
    return f"{text}, so that the {about['kind']} is {'better' if better else 'worse'} ({p}). {scope}"


def _estimate(bounds: list[float]) -> Estimate:
    return Estimate(*bounds)
