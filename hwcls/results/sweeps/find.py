"""Which folders of a folder are sweeps, and when the records of one were last written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hwcls.errors import UserError, nearest_path, unreadable
from hwcls.tracking.folders import BEST, ENSEMBLE, LOOKS, TEST_READS, SweepFolder

# what is recorded of a sweep beside its trials; files that are made from the records are not among them
RECORDS = ("sweep.yaml", "environment.json", "data.json", LOOKS, TEST_READS, BEST, ENSEMBLE)


def find_sweeps(folder: Path) -> list[Path]:
    """The results folders in `folder`, by name; `folder` itself where it is one. Raises UserError if there is none."""
    if os.path.lexists(folder / "sweep.yaml"):
        return [folder]
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        if not os.path.lexists(folder):
            remedy = "name the folder that holds the sweeps, such as results"
            raise UserError("there is no such folder", where=str(folder), remedy=nearest_path(folder, remedy)) from None
        raise unreadable(error, folder) from None
    return [folder / name for name in names if os.path.lexists(folder / name / "sweep.yaml")]


def last_written(sweep: Path) -> float | None:
    """When the records of a results folder were last written, in seconds since 1970; None where it has none."""
    return max(record_times(sweep), default=None)


def record_times(sweep: Path) -> tuple[float, ...]:
    """When each of its records was last written: another value where any has changed since."""
    folder = SweepFolder(sweep)
    runs = [*folder.trials().values(), *folder.confirm_runs().values()]
    # a new file in a run's folder changes the time of that folder; a line more changes only the file's
    paths = [sweep / name for name in RECORDS] + [path for run in runs for path in (run.path, run.metrics_path)]
    return tuple(_read_times(paths))


def _read_times(paths: Iterable[Path]) -> Iterator[float]:
    for path in paths:
        try:
            yield os.stat(path).st_mtime
        except OSError:
            continue
