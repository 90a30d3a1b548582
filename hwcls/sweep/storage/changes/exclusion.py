"""Excludes trials from ranking, search and confirm, and includes them again; their folders stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hwcls.data.cache.working_copies import refuse_working_copy
from hwcls.errors import UserError
from hwcls.escape import shell_word
from hwcls.format import format_count
from hwcls.results.confirm.looks import record_look
from hwcls.results.load import load_results, read_settings
from hwcls.sweep.storage.results_folder import locked
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.left_out import LeftOut, exclude, find_left_out, include

MAX_WHY = 500  # characters


def exclude_trials(path: Path, numbers: Sequence[int], why: str) -> None:
    """Have trials of the results folder `path` left out, all or none; another verdict on test is a further look.

    Raises:
        UserError: There is no such sweep or trial, it has not ended, it is excluded already, `why` is empty, or the
            folder is only the working copy of results on shared storage.
    """
    why = " ".join(why.split())
    if not why:
        raise UserError("no reason is given", where="--why", remedy='write it: --why "the GPU was faulty"')
    if len(why) > MAX_WHY:
        raise UserError(f"has {len(why)} characters", where="--why", remedy=f"write {MAX_WHY} at most")
    with _opened(path, numbers) as (trials, left):
        for number, trial in trials.items():
            where = str(trial.path)
            if number in left and left[number].by_user:
                remedy = f"hwcls trials include {shell_word(path)} {number} counts it again"
                raise UserError(f"is excluded already ({left[number].why})", where=where, remedy=remedy)
            if trial.result() is None:
                remedy = "resume the sweep: it can be excluded once it has ended"
                raise UserError("has not ended", where=where, remedy=remedy)
        record_look(load_results(path))  # which has been seen
        for trial in trials.values():
            exclude(trial.path, why)
        record_look(load_results(path))


def include_trials(path: Path, numbers: Sequence[int]) -> None:
    """Have excluded trials counted again, all or none.

    Raises:
        UserError: There is no such sweep or trial, it is not excluded, or the folder is only a working copy.
    """
    with _opened(path, numbers) as (trials, left):
        for number, trial in trials.items():
            if number in left and not left[number].by_user:
                remedy = "change the sweep file back to count it"
                raise UserError(
                    f"is outside of the sweep file ({left[number].why})", where=str(trial.path), remedy=remedy
                )
            if number not in left:
                raise UserError("is not excluded", where=str(trial.path))
        for trial in trials.values():
            include(trial.path)
        record_look(load_results(path))


@contextmanager
def _opened(path: Path, numbers: Sequence[int]) -> Iterator[tuple[dict[int, TrialFolder], dict[int, LeftOut]]]:
    """The named trials, and all that are left out; no driver works in the folder meanwhile."""
    refuse_working_copy(path)
    settings = read_settings(path)
    _find_trials(path, numbers)  # a folder without them is not locked: the lock would be left in it
    with locked(path):
        known = _find_trials(path, numbers)
        yield {number: known[number] for number in numbers}, find_left_out(path, settings)


def _find_trials(path: Path, numbers: Sequence[int]) -> dict[int, TrialFolder]:
    """All trials; raises UserError where one of the numbers is not among them."""
    known = SweepFolder(path).trials()
    for number in numbers:
        if number not in known:
            there = (
                f"it has {format_count(len(known), 'trial')}, {min(known)} to {max(known)}" if known else "it has none"
            )
            raise UserError(f"no trial {number}", where=str(path), remedy=there)
    return known
