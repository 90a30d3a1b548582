"""What was changed in a sweep after its first trial, and which trials do not count, in words and as values."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hwcls.escape import printable
from hwcls.format import format_count
from hwcls.results.load import SweepResults
from hwcls.tracking.left_out import read_changes
from hwcls.tracking.shapes import ChangedShape

MAX_NAMED = 20  # trials of one reason
MAX_REASONS = 10  # that are named: outside of a range each trial has its own


def list_changes(sweep: SweepResults) -> list[tuple[str, str]]:
    """When the sweep file was changed, and what."""
    return [(one.when, "; ".join(map(_describe, one.changed))) for one in read_changes(sweep.settings).log]


def describe_left_out(sweep: SweepResults) -> list[str]:
    """The trials that do not count: one text for each reason, as far as they are few."""
    groups: dict[str, list[int]] = defaultdict(list)
    for one in sweep.left_out:
        when = f" ({one.reason.when})" if one.reason.when else ""
        groups[f"{one.reason}{when}"].append(one.trial.number)
    texts = [f"{_name_trials(numbers)}: {why}" for why, numbers in groups.items()]
    if len(texts) <= MAX_REASONS:
        return texts
    others = sum(map(len, list(groups.values())[MAX_REASONS:]))
    return [*texts[:MAX_REASONS], f"{format_count(others, 'more trial')}: leaderboard.csv has the reasons"]


def list_left_out(sweep: SweepResults) -> set[str]:
    """The folders of the trials and confirm runs that do not count."""
    trials = {f"trials/{one.trial.number}" for one in sweep.left_out}
    return trials | {run.key for one in sweep.left_out for run in one.confirm}


def describe_outdated(sweep: SweepResults) -> str:
    """The confirm runs that do not count with their trials; empty where there are none."""
    count = sum(len(one.confirm) for one in sweep.left_out)
    return f"{format_count(count, 'run')} of trials that are left out" if count else ""


def summarize_changes(sweep: SweepResults) -> list[dict[str, Any]]:
    """The changes as JSON-ready values."""
    return [one.model_dump(exclude_unset=True) for one in read_changes(sweep.settings).log]


def summarize_left_out(sweep: SweepResults) -> list[dict[str, Any]]:
    """The trials that do not count as JSON-ready values."""
    return [
        {
            "trial": one.trial.number,
            "why": one.reason.why,
            "excluded": one.reason.by_user,
            "when": one.reason.when,
            "status": one.trial.status,
            sweep.metric: one.trial.value,
        }
        for one in sweep.left_out
    ]


def _describe(changed: ChangedShape) -> str:
    key, old, new = (printable(str(part)) for part in (changed.key, changed.old, changed.new))
    key = key.removeprefix("parameters.")
    if changed.old is None:
        return f"{key} {new} added"
    return f"{key} {old} dropped" if changed.new is None else f"{key} {old} → {new}"


def _name_trials(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:MAX_NAMED]))
    more = f" and {len(numbers) - MAX_NAMED} more" if len(numbers) > MAX_NAMED else ""
    return f"trial{'s' if len(numbers) > 1 else ''} {shown}{more}"
