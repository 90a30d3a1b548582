"""The sweeps that are served and their pages; what was read is kept until the records change."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from hwcls import files
from hwcls.errors import UserError
from hwcls.escape import hide_credentials, shell_word
from hwcls.results.load import load_results, mark_running
from hwcls.results.sweeps.find import find_sweeps, record_times
from hwcls.results.sweeps.summary import SweepSummary, summarize_sweep
from hwcls.tracking.folders import SweepFolder, is_in_use
from hwcls.tracking.mlflow.place import find_servers
from hwcls.tracking.wandb import read_project_urls

Version = tuple[tuple[float, ...], bool]  # times of the records, and whether a driver works in the folder
REFRESHES = b'http-equiv="refresh"'  # in the head of the page of a running sweep
HEAD = 2000  # bytes


@dataclass(frozen=True)
class ListedSweep:
    """One row of the list."""

    summary: SweepSummary
    wandb: tuple[str, ...]  # addresses of its projects
    mlflow: tuple[str, ...]  # addresses of the servers that have runs of it
    commands: tuple[str, ...]  # that show its local logs: those of TensorBoard, the database of MLflow


class Library:
    """Summaries and pages of the sweeps in a folder; may be used from several threads.

    Args:
        folder: The folder of the sweeps, which may not exist yet, or the results folder of one.
        pages: A folder for the pages of sweeps whose own report.html is older than their records.
    """

    def __init__(self, folder: Path, pages: Path) -> None:
        self.folder, self._pages = folder, pages
        self._summaries: dict[str, tuple[Version, SweepSummary]] = {}
        self._written: dict[str, tuple[Version, Path]] = {}
        self._listing, self._writing = threading.Lock(), threading.Lock()

    def sweeps(self) -> dict[str, Path]:
        """The folders by name, without links that lead out of the folder."""
        try:
            found = find_sweeps(self.folder)
        except UserError:  # the first sweep may be about to create it
            return {}
        root = self.folder.resolve()
        return {SweepFolder(path).name: path for path in found if path.resolve().is_relative_to(root)}

    def list_sweeps(self) -> list[ListedSweep]:
        """Every sweep: running ones first, then by the time of the last record, the newest first."""
        with self._listing:
            found = self.sweeps()
            self._summaries = {name: self._summarize(name, path) for name, path in found.items()}
            rows = [_list_one(path, self._summaries[name][1]) for name, path in found.items()]
        return sorted(rows, key=lambda row: (not row.summary.running, -(row.summary.written or 0.0)))

    def find_page(self, name: str) -> Path | None:
        """The page of a sweep as a file; None where there is no such sweep. Raises UserError if it cannot be read."""
        sweep = self.sweeps().get(name)
        if sweep is None:
            return None
        version = _version(sweep)
        own = sweep / "report.html"
        if _is_current(own, version) and own.resolve().is_relative_to(sweep.resolve()):
            return own
        with self._writing:  # one at a time, as each takes a core
            known = self._written.get(name)
            if known is None or known[0] != version:
                known = self._written[name] = version, self._write_page(sweep, running=version[1])
            return known[1]

    def _summarize(self, name: str, path: Path) -> tuple[Version, SweepSummary]:
        version, known = _version(path), self._summaries.get(name)
        return known if known is not None and known[0] == version else (version, summarize_sweep(path))

    def _write_page(self, sweep: Path, *, running: bool) -> Path:
        from hwcls.report.html.page import render_page

        found = load_results(sweep)
        page = self._pages / f"{hashlib.sha256(os.fsencode(sweep.name)).hexdigest()}.html"
        files.write_text(page, render_page(mark_running(found) if running else found))
        return page


def _list_one(path: Path, summary: SweepSummary) -> ListedSweep:
    """A row; what trackers wrote is looked at each time, as they follow the records, also after the sweep's end."""
    urls = _project_urls(path, _file_version(path / "wandb" / "cursor.jsonl"))
    servers = tuple(find_servers(SweepFolder(path)))
    logs, database = path / "tensorboard", path / "mlflow" / "mlflow.db"
    commands = [f"tensorboard --logdir {shell_word(logs)}"] if logs.is_dir() else []
    if database.is_file():
        commands.append(f"uvx mlflow@3.17 server --backend-store-uri {shell_word(f'sqlite:///{database.absolute()}')}")
    return ListedSweep(summary, urls, servers, tuple(commands))


@functools.lru_cache(maxsize=1024)
def _project_urls(sweep: Path, version: tuple[int, int]) -> tuple[str, ...]:
    """The addresses of a sweep's projects in W&B; `version` is that of the file that has them."""
    return tuple(hide_credentials(url) for url in read_project_urls(SweepFolder(sweep)))


def _file_version(path: Path) -> tuple[int, int]:
    """The size and time of a file that grows; (0, 0) where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _version(sweep: Path) -> Version:
    return record_times(sweep), is_in_use(sweep)


def _is_current(page: Path, version: Version) -> bool:
    """Whether a sweep's own page shows its records; while it runs its driver keeps the page up to date."""
    times, running = version
    try:
        with open(page, "rb", opener=_open_regular) as file:
            written, refreshes = os.fstat(file.fileno()).st_mtime, REFRESHES in file.read(HEAD)
    except OSError:
        return False
    return refreshes == running and (running or written >= max(times, default=0.0))


def _open_regular(path: str, flags: int) -> int:
    """Opens a file, but no pipe, on which it would wait; raises OSError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileNotFoundError(path)
    return os.open(path, flags)
