"""WandbTracker: one W&B run per trial, many at once in one process, offline and online."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from typing import Any

import wandb

from hwcls.errors import UserError
from hwcls.escape import shell_word
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import LEFT_OUT_TAG, Alert, RunInfo, SweepSummary
from hwcls.tracking.wandb.conclusion import Conclusion, describe_failure
from hwcls.tracking.wandb.environment import chosen_mode
from hwcls.tracking.wandb.login import login_problem
from hwcls.tracking.wandb.run import BEST_FILES, EXIT_CODES, PAUSED, Place, WandbRun
from hwcls.tracking.wandb.settings import read_settings

log = logging.getLogger(__name__)


class WandbTracker:
    """Writes one W&B run per trial; W&B's files and the cursor are in <sweep>/wandb/.

    Offline, W&B loses the rows of a process that dies, so an unfinished run is deleted and written again. Online, the
    run is resumed and only rows that the server does not have are uploaded; offline files of the same run are deleted
    once the server has all of it.
    """

    def __init__(self, sweep: SweepFolder, *, online: bool, problem: str | None = None) -> None:
        self._sweep, self._online, self.problem = sweep, online, problem
        self._place = Place(sweep, "online" if online else "offline", read_settings(sweep))
        self._cursor = Cursor(sweep.path / "wandb" / "cursor.jsonl")
        self._open: dict[str, WandbRun] = {}  # by run key
        self._delivered: set[str] = set()  # keys of runs that W&B has completely
        self._init_failed = False
        self._link_problem: str | None = None  # of the registry
        self.finished_runs = 0  # runs that this tracker delivered to their end

    def start(self, run: RunInfo) -> None:
        if self._init_failed:
            self._restart_service()
        self._delivered.discard(run.key)
        self._finish(run.key, None)
        known = self._cursor.get(run.key)
        same_place = self._place.has(known, run.project)  # else it is delivered again
        left_out = LEFT_OUT_TAG in run.tags
        standing = run.is_best(), bool(run.on_front()), left_out
        same_run = tuple(bool(known.get(key)) for key in ("is_best", "on_front", "left_out")) == standing
        if same_place and same_run and self._is_linked(run) and self._cursor.is_delivered(run):
            self._delivered.add(run.key)
            return
        run_id = self._run_id(run.key)
        if known and not self._online:
            self._place.delete_offline_files(run_id, known)
        shown = known.get("shown") if same_place and self._online else None
        address = self._place.address(run.project) | self._place.offline_root()
        self._cursor.update(run.key, id=run_id, mode=self._place.mode, **address, status=None, shown=shown)
        self._init_failed = True
        self._open[run.key] = opened = WandbRun(run, run_id, self._place, shown)
        self._init_failed = False
        if left_out or known.get("left_out"):
            opened.handle.tags = self._place.tags(run.tags)  # of a resumed run init keeps the old
            self._cursor.update(run.key, left_out=left_out)
        if self._online:
            self._cursor.update(run.key, url=opened.handle.url)

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        if run.key not in self._delivered:
            self._opened(run).log(line, last=last)

    def finish(self, run: RunInfo, result: Result | None) -> None:
        if run.key in self._delivered:
            return
        opened = self._opened(run)
        if result is None:
            self._finish(run.key, PAUSED if run.folder.paused() else None)
            return
        was_best = bool(self._cursor.get(run.key).get("is_best"))
        opened.log_result(result)
        if run.is_best() or was_best:
            opened.log_place(self._sweep.best.path if run.is_best() else run.folder.path)
            self._cursor.update(run.key, is_best=run.is_best())
        if (front := run.on_front()) is not None:
            opened.log_front(front)
            self._cursor.update(run.key, on_front=front)
        if opened.shown is None and (media := run.media()):
            opened.log_media(media)
            self._cursor.update(run.key, shown=opened.shown)  # what follows may time out and is then done again
        if run.weights and run.weights.is_file():
            opened.log_weights(run.weights)
        self._log_best(run, opened)
        self._finish(run.key, result.status)
        self._cursor.update(run.key, status=result.status, lines=opened.lines, shown=opened.shown)
        self._delivered.add(run.key)
        self.finished_runs += 1
        if self._online:
            self._place.delete_offline_files(opened.handle.id, self._cursor.get(run.key))

    def conclude(self, summary: SweepSummary, alert: Alert | None = None) -> list[str]:
        found = Conclusion(self._place, self._cursor, self._run_id("sweep"), summary).deliver(alert)
        return [*([self._link_problem] if self._link_problem else []), *found]

    def close(self) -> None:
        with contextlib.suppress(Exception):  # unfinished in the cursor: these runs are started again
            for key in list(self._open):
                self._finish(key, None)
        if self._open:  # the server is down: one wait for all of them instead of one each
            self._open.clear()
            wandb.teardown(exit_code=EXIT_CODES[None])

    def _opened(self, run: RunInfo) -> WandbRun:
        if run.key not in self._open:
            raise ConnectionError("the run was lost when W&B's service was restarted")
        return self._open[run.key]

    def _finish(self, key: str, status: str | None) -> None:
        if opened := self._open.pop(key, None):
            opened.finish(status)

    def _restart_service(self) -> None:
        """Free the id of a failed init, which W&B's service holds until it ends; open runs are resumed from the files.

        Only if the server answers: while it is down, ending the open runs would take UPLOAD_SECONDS each.
        """
        if self._online and (problem := login_problem()):
            raise ConnectionError(problem.what)
        runs = list(self._open.values())
        self.close()
        wandb.teardown()
        self._init_failed = False
        for opened in runs:
            self.start(opened.info)
            for line in opened.info.folder.records()[: opened.lines]:
                self.log(opened.info, line)

    def _run_id(self, key: str) -> str:
        return hashlib.blake2b(f"{self._cursor.identity}/{key}".encode(), digest_size=6).hexdigest()

    def _is_linked(self, run: RunInfo) -> bool:
        """Whether nothing of a run is to be linked in the registry, or that was done."""
        target = self._place.settings.registry
        return not (target and self._online and run.is_best()) or self._cursor.get(run.key).get("registry") == target

    def _log_best(self, run: RunInfo, opened: WandbRun) -> None:
        """Upload best/ if it is a copy of the run and weights are wanted, and link it; a link that fails is noted."""
        best, settings = self._sweep.best.path, self._place.settings
        wanted = run.is_best() and (run.weights or settings.registry)
        if not wanted or not (best / BEST_FILES[0]).is_file():
            return
        artifact = opened.log_best(best)
        if settings.registry is None:
            return
        self._link_problem = None
        if not self._online:
            command = f"hwcls wandb sync {shell_word(self._sweep.path)}"
            self._link_problem = f"W&B's registry gets the weights when `{command}` uploads them"
            return
        try:
            opened.link_best(artifact, settings.registry_target(run.sweep))
            self._cursor.update(run.key, registry=settings.registry)
        except Exception as error:  # of the network, or the registry does not exist
            self._link_problem = describe_failure("the link in the registry", error)


def open_wandb(sweep: SweepFolder, mode: str) -> list[WandbTracker]:
    """The tracker for a mode, none for "off"; "auto" heeds WANDB_MODE and W&B's settings files."""
    requested, file = chosen_mode() if mode == "auto" else (mode, None)
    if requested in ("off", "disabled"):
        return []
    if requested in ("offline", "dryrun"):
        reason = f"{file} has mode = {requested} (`wandb online` removes it)" if file else None
        return [_open_offline(sweep, reason)]
    problem = login_problem()
    if not problem:
        return [WandbTracker(sweep, online=True)]
    if mode == "online" and problem.passing:
        return [WandbTracker(sweep, online=True)]
    if mode == "online":
        raise UserError(f"W&B cannot go online: {problem}", remedy=f"{problem.remedy}, or choose --wandb offline")
    return [_open_offline(sweep, str(problem))]


def _open_offline(sweep: SweepFolder, reason: str | None) -> WandbTracker:
    """An offline tracker, whose problem has the reason; None: the user asked for it."""
    if reason is None:
        return WandbTracker(sweep, online=False)
    message = f"W&B is offline: {reason}; `hwcls wandb sync {shell_word(sweep.path)}` uploads the runs later"
    log.warning(message)
    return WandbTracker(sweep, online=False, problem=message)
