"""Whether a sweep that has trials may go on with another version of its file, and what then becomes of them.

It may where the file could still draw at least one known trial and nothing changes that all trials depend on. The
others are left out of ranking, search and confirm; a later version of the file may count them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcls.config.space import recorded_label
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.escape import shell_word
from hwcls.format import format_count, join_words
from hwcls.sweep.storage.changes.differences import Difference, list_differences, list_leaves
from hwcls.sweep.storage.changes.outside import Outside, find_settings
from hwcls.sweep.storage.settings import changed_keys, parse_recorded
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.left_out import CHANGES, find_left_out, now, read_changes

REASONS = {  # why a key may not change, by its first word
    "metric": "the trials were selected by it",
    "method": "a sweep keeps its sampler",
    "seed": "it would draw other trials under the same numbers",
    "compare": "each trial belongs to one of its alternatives",
    "share": "the alternatives have shared the budget by it",
    "early_terminate": "trials were stopped by it",
    "first": "it is tried before all else",
    "resources": "it changes the results of trials",
}
MAX_NAMED = 5
NEW = "undo the change, or pass --new to use a new folder"


@dataclass(frozen=True)
class Change:
    """A change of a sweep file that is accepted.

    Attributes:
        outside: The trials that the file cannot draw any more, and why.
        known: How many trials there are.
    """

    differences: tuple[Difference, ...]
    outside: Mapping[int, str]
    known: int
    changes: Mapping[str, Any]  # for sweep.yaml

    def describe(self) -> list[str]:
        """What changed, and which trials are left out."""
        shown = [str(one) for one in self.differences]
        kept = " (confirm runs that were trained are kept)" if any(map(_drops_confirm, self.differences)) else ""
        lines = [f"changed in this sweep: {'; '.join(shown)}{kept}"]
        if self.outside:
            why = list(dict.fromkeys(self.outside.values()))
            more = f" and {len(why) - MAX_NAMED} more reasons" if len(why) > MAX_NAMED else ""
            what = f"{len(self.outside)} of {format_count(self.known, 'trial')}"
            lines.append(f"left out: {what}, outside of the changed file ({'; '.join(why[:MAX_NAMED])}{more})")
        return lines


def check_change(path: Path, old: Mapping[str, Any], new: Mapping[str, Any], by: str | None = None) -> Change | None:
    """What is changed by starting the sweep in `path`, of which `old` is the sweep.yaml, by the settings `new`.

    `by` is the command that changes them, where it is not the file itself that was changed.

    Raises:
        UserError: The known trials say nothing about the changed sweep.
    """
    log, old, new = read_changes(old), _without_notes(old), _without_notes(new)
    changed = changed_keys(old, new)
    try:
        before, after = (parse_recorded(one, str(path / "sweep.yaml")) for one in (old, new))
    except (UserError, TypeError, ValueError, AttributeError):  # of another version, or damaged: taken as written
        if changed:
            raise _refused(path, changed) from None
        return None
    folder = SweepFolder(path)
    fixed = [key for key in changed if not key.startswith("parameters.")]
    if "first" in fixed and _drops_tried_settings(before, after, len(folder.trials())):
        fixed.remove("first")
    if fixed:
        raise _refused(path, changed, fixed[0])
    differences = list_differences(before, after)
    if not differences:
        return None
    outside, dropped = log.outside, log.dropped
    if any(one.is_space for one in differences):
        leaves = list_leaves(after.space)
        dropped = sorted({*dropped, *list_leaves(before.space)} - set(leaves))
        outside = _find_outside(after, folder, dropped)
        if len(outside) == len(folder.trials()):
            raise _none_inside(path, differences, len(outside))
    _check_cap(path, before, after, outside)
    entry = {"when": now(), "changed": [vars(one) for one in differences], **({"by": by} if by else {})}
    changes = {
        "log": [*(one.model_dump(exclude_unset=True) for one in log.log), entry],
        "outside": outside,
        "dropped": dropped,
    }
    return Change(tuple(differences), outside, len(folder.trials()), changes)


def with_change(old: Mapping[str, Any], new: Mapping[str, Any], change: Change | None) -> dict[str, Any]:
    """The sweep.yaml of a start: its settings with the changes so far."""
    kept = change.changes if change is not None else old.get(CHANGES)
    return {**_without_notes(new), **({CHANGES: kept} if kept else {})}


def _without_notes(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not str(key).startswith("x-")}


def _drops_confirm(one: Difference) -> bool:
    return one.key.partition(".")[0] == "confirm" and one.new is None


def _find_outside(sweep: Sweep, folder: SweepFolder, dropped: Sequence[str]) -> dict[int, str]:
    found = {}
    for number, trial in folder.trials().items():
        try:
            find_settings(sweep, trial, dropped)
        except Outside as why:
            found[number] = str(why)
    return found


def _drops_tried_settings(old: Sweep, new: Sweep, known: int) -> bool:
    """Whether `first` lost entries only, when all of them had been tried."""
    return known >= len(old.config.first) and all(one in old.config.first for one in new.config.first)


def _check_cap(path: Path, old: Sweep, new: Sweep, outside: Mapping[int, str]) -> None:
    """Raise UserError where run_cap is below what was run, or leaves too little for an alternative that was added."""
    cap, left = new.config.run_cap, {**find_left_out(path, {}), **outside}
    if cap is None:
        return
    counted = {number: trial for number, trial in SweepFolder(path).trials().items() if number not in left}
    if cap != old.config.run_cap and cap < len(counted):
        what = f"run_cap {cap} is less than the {format_count(len(counted), 'trial')} that were run"
        raise UserError(what, where=str(path), remedy=f"write run_cap: {len(counted)} or more, or exclude trials")
    labels, known = [one.label for one in new.alternatives], {one.label for one in old.alternatives}
    added = [label for label in labels if label not in known]
    if not added or new.shares.unit != "trials" or new.config.compare is None:
        return
    compare = new.config.compare
    had = Counter(recorded_label(trial.settings(), compare, new.space) for trial in counted.values())
    label, most = had.most_common(1)[0]
    if cap < most * len(labels):
        what = f"run_cap {cap} leaves too few trials for {join_words(added)}: {label} has had {most}"
        raise UserError(what, where=str(path), remedy=f"raise run_cap to {most * len(labels)} or more")


def _none_inside(path: Path, differences: Sequence[Difference], count: int) -> UserError:
    space = [str(one) for one in differences if one.is_space]
    listed = "; ".join(space[:MAX_NAMED]) + (" and more" if len(space) > MAX_NAMED else "")
    which = "its trial is not" if count == 1 else f"none of its {count} trials is"
    what = f"holds the results of another version of this sweep: {which} in the changed space ({listed})"
    remedy = f"{NEW}, with --from {shell_word(path)} to start from what is known"
    return UserError(what, where=str(path), remedy=remedy)


def _refused(path: Path, changed: Sequence[str], fixed: str = "") -> UserError:
    listed = ", ".join(changed[:MAX_NAMED]) + (" and more" if len(changed) > MAX_NAMED else "")
    reason = REASONS.get(fixed.partition(".")[0])
    why = f" ({fixed.partition('.')[0]}: {reason})" if reason else ""
    what = f"holds the results of another version of this sweep; changed: {listed}{why}"
    return UserError(what, where=str(path), remedy=f"{NEW}, or name another --results")
