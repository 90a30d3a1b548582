"""Weights & Biases as a tracker: one W&B run per trial, many at once in one process, offline and online."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import wandb

from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import Cursor, Media, RunInfo, note, numbers

os.environ.pop("WANDB_SERVICE", None)  # a parent's: it would go on holding the ids of runs when this process is killed
os.environ.setdefault("WANDB_SILENT", "true")  # login heeds no setting; what goes wrong is raised and noted

PATIENCE = 10.0  # seconds for the server's answer to a login or an init
UPLOAD = 30.0  # seconds that the end of a run may take: what is not through by then is sent again later
SLOW = 100_000  # bytes in a second that a line carries at least: weights are given longer, by their size
NO_ANSWER = f"its server gave no answer in {PATIENCE:.0f} s"
FATAL = re.compile(r"filestream: fatal error: [^\"]*")
MATRIX = 50  # classes of a confusion matrix at most: W&B draws a row of a table for each pair
EXIT_CODES = {"complete": 0, "stopped": 0, "failed": 1, None: 255}  # what else ends a run, a user did: 255, "killed"


class WandbTracker:
    """Writes one W&B run per trial; W&B's files lie under <sweep>/wandb/, beside the cursor.

    Offline, W&B loses the rows of a process that dies, so an unfinished run is deleted and written whole. Online, the
    run is resumed and only the rows above those that the server has are sent; offline files of the same run
    go when the server has it all.
    """

    def __init__(self, sweep: SweepFolder, *, online: bool, problem: str | None = None) -> None:
        self._sweep, self._online, self.problem = sweep, online, problem
        self._mode = "online" if online else "offline"
        self._cursor = Cursor(sweep.path / "wandb" / "cursor.jsonl")
        self._open: dict[str, _Run] = {}  # by run key
        self._settled: set[str] = set()  # runs that W&B has whole
        self._stuck = False  # an init failed
        self.sent = 0  # runs that came to their end here

    def start(self, run: RunInfo) -> None:
        if self._stuck:
            self._restart_service()
        self._settled.discard(run.key)
        self._end(run.key, None)
        known = self._cursor.get(run.key)
        there = known.get("mode") in ("online", self._mode)
        if there and self._cursor.settled(run):
            self._settled.add(run.key)
            return
        run_id = hashlib.blake2b(f"{self._cursor.identity}/{run.key}".encode(), digest_size=6).hexdigest()
        if known and not self._online:
            self._delete_offline(run_id)
        shown = known.get("shown") if there and self._online else None
        self._cursor.put(run.key, id=run_id, mode=self._mode, status=None, shown=shown)
        self._stuck = True
        handle = _init(run, run_id, self._sweep, self._mode)
        self._open[run.key] = opened = _Run(run, handle, shown, sum("epoch" in line for line in run.folder.records()))
        self._stuck = False
        if self._online:
            self._cursor.put(run.key, url=opened.handle.url)

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        if run.key not in self._settled:
            self._of(run).log(line, last=last)

    def finish(self, run: RunInfo, result: Result | None) -> None:
        if run.key in self._settled:
            return
        opened = self._of(run)
        if result is None:
            self._end(run.key, None)
            return
        opened.handle.summary.update(_ending(result))
        shown = opened.shown
        if shown is None and (media := run.media()):
            shown = opened.show(media)
            self._cursor.put(run.key, shown=shown)  # what follows may take too long, and then comes again
        if run.weights and run.weights.is_file():
            _send_weights(opened.handle, run)
        self._end(run.key, result.status)
        self._cursor.put(run.key, status=result.status, lines=opened.lines, shown=shown)
        self._settled.add(run.key)
        self.sent += 1
        if self._online:
            self._delete_offline(opened.handle.id)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # unfinished in the cursor: these runs are started again
            for key in list(self._open):
                self._end(key, None)
        if self._open:  # the server is down: one wait for all of them instead of one each
            self._open.clear()
            wandb.teardown(exit_code=EXIT_CODES[None])

    def _of(self, run: RunInfo) -> _Run:
        if run.key not in self._open:
            raise ConnectionError("the run was lost when W&B's service was restarted")
        return self._open[run.key]

    def _end(self, key: str, status: str | None) -> None:
        if opened := self._open.pop(key, None):
            opened.handle.finish(exit_code=EXIT_CODES.get(status, 255))
            _raise_if_lost(Path(opened.handle.settings.log_internal))

    def _restart_service(self) -> None:
        """Free the id of a failed init, which W&B's service holds until it ends; open runs are resumed from the files.

        Not before the server answers: with it down, ending the open runs would take UPLOAD seconds each.
        """
        if self._online and (problem := login_problem()):
            raise ConnectionError(problem)
        runs = list(self._open.values())
        self.close()
        wandb.teardown()
        self._stuck = False
        for opened in runs:
            self.start(opened.info)
            for line in opened.info.folder.records()[: opened.lines]:
                self.log(opened.info, line)

    def _delete_offline(self, run_id: str) -> None:
        for folder in (self._sweep.path / "wandb").glob(f"offline-run-*-{run_id}*"):
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """An open W&B run and how much of its records it has taken.

    `shown` says in which row its media lie: in that of the last "epoch", or in one of their "own", where the run's end
    came long after its last epoch; None while there are none.
    """

    def __init__(self, info: RunInfo, handle: Any, shown: str | None, epochs: int) -> None:
        self.info, self.handle = info, handle
        self.lines = 0
        rows = handle.starting_step  # that the server has of a resumed run: epochs in order, then media
        self._there = min(rows - (shown == "own"), epochs)
        whole = rows >= epochs + (shown == "own")  # else the media were on their way and did not arrive
        self.shown = (shown if whole else None) or ("own" if rows > epochs else None)
        self._open_row = False

    def log(self, line: dict[str, Any], *, last: bool) -> None:
        self.lines += 1
        if "epoch" not in line:
            self.handle.summary.update(numbers(line))
        elif self._there > 0:
            self._there -= 1
        else:
            self.handle.log({"epoch": line["epoch"], **numbers(line)}, commit=not last)
            self._open_row = last

    def show(self, media: Media) -> str:
        """Log confusion matrix, table and pictures, with the last epoch where that can be; returns `shown`."""
        names, rows = list(media.classes), [[_none(value) for value in row] for row in media.rows]
        shown: dict[str, Any] = {"per_class": wandb.Table(columns=list(media.columns), data=rows)}
        shown |= {name: wandb.Image(pixels) for name, pixels in media.pictures.items()}
        if len(names) <= MATRIX:  # in the place of its picture
            shown["confusion"] = wandb.plot.confusion_matrix(
                y_true=media.labels.tolist(),
                preds=media.predicted.tolist(),
                class_names=names,
                title="Confusion on val",
            )
        self.handle.log(shown)
        return "epoch" if self._open_row else "own"


def open_wandb(sweep: SweepFolder, mode: Literal["online", "offline", "off", "auto"]) -> list[WandbTracker]:
    """The tracker for a mode, none for `off`; see `hwcls.tracking.follower.open_trackers`."""
    wish = os.environ.get("WANDB_MODE", "") if mode == "auto" else mode
    if wish in ("off", "disabled"):
        return []
    if wish in ("offline", "dryrun"):
        return [WandbTracker(sweep, online=False)]
    problem = login_problem()
    if mode == "online" and problem not in (None, NO_ANSWER):  # a server that is down is asked again, run by run
        raise UserError(f"W&B cannot go online: {problem}", remedy="run `wandb login`, or choose --wandb offline")
    online, said = mode == "online" or not problem, None
    if not online:
        said = f"W&B is offline: {problem}; `hwcls wandb sync {sweep.path}` sends the runs later"
        note(sweep, said)
    return [WandbTracker(sweep, online=online, problem=said)]


def login_problem() -> str | None:
    """Why W&B cannot be used online, None when its credentials are good; never asks, and answers in ten seconds."""
    answer: list[str | None] = []

    def log_in() -> None:
        try:
            good = wandb.login(prompt=False, verify=True)
            answer.append(None if good else "there are no credentials")
        except Exception as error:  # AuthenticationError, UsageError, and whatever the network brings
            answer.append(str(error))

    thread = threading.Thread(target=log_in, daemon=True)  # login has no time limit of its own
    thread.start()
    thread.join(PATIENCE)
    return answer[0] if answer else NO_ANSWER


def sync(
    sweep: SweepFolder,
    project: str,
    media: Callable[[TrialFolder], Media | None] = lambda folder: None,
    *,
    artifacts: bool = False,
) -> int:
    """Send to W&B whatever it lacks of a sweep's records, and return how many ended runs that were.

    `media` and `artifacts` are those of the Follower.

    Raises:
        UserError: no good credentials, no server, or it did not take every run.
    """
    from hwcls.tracking.follower import Follower

    if problem := login_problem():
        raise UserError(f"W&B cannot go online: {problem}", remedy="run `wandb login`")
    tracker = WandbTracker(sweep, online=True)
    follower = Follower(sweep, [tracker], project, media, artifacts=artifacts)
    while follower.poll():
        pass
    follower.close()
    if behind := follower.behind():
        key, error = next(iter(behind.items()))
        remedy = "run it again: what was sent is kept"
        raise UserError(f"W&B did not take every run ({key}: {error})", where=str(sweep.path), remedy=remedy)
    return tracker.sent


def _init(run: RunInfo, run_id: str, sweep: SweepFolder, mode: Any) -> Any:
    handle = wandb.init(
        project=run.project,
        id=run_id,
        resume="allow",
        reinit="create_new",  # beside the other trials' runs in this process
        mode=mode,
        dir=str(sweep.path),
        name=run.name,
        group=run.sweep[:128],
        job_type=run.kind,
        tags=[tag[:64] for tag in run.tags],  # W&B's limits
        config=run.config,
        settings=_settings(run.folder.ask_to_stop, UPLOAD + (_size(run.weights) / SLOW if run.weights else 0.0)),
    )
    handle.define_metric("epoch", hidden=True)
    handle.define_metric("*", step_metric="epoch", step_sync=False)  # a row of media alone is of no epoch
    return handle


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _settings(stop: Callable[[], None], upload: float) -> wandb.Settings:
    """Quiet and bounded, `upload` the seconds that the end may take.

    Nothing of the machine, the code or the command line (it may hold secrets) is uploaded.
    """
    return wandb.Settings(
        silent=True,
        console="off",
        program="hwcls",
        symlink=False,
        use_dot_wandb=False,
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        x_disable_viewer=True,  # its look-up is not bound by init_timeout
        init_timeout=PATIENCE,
        finish_timeout=upload,
        finish_timeout_raises=True,
        stop_fn=stop,  # by default the dashboard's Stop button interrupts this process, and all other runs
    )


def _send_weights(handle: Any, run: RunInfo) -> None:
    """The best weights as an artifact of the run."""
    artifact = wandb.Artifact(f"{run.sweep}-{run.key.replace('/', '-')}", type="model", metadata=run.config)
    artifact.add_file(str(run.weights), name="best.safetensors")
    handle.log_artifact(artifact)


def _none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _raise_if_lost(log: Path) -> None:
    """Raise ConnectionError when W&B gave an upload up (401, 403, 404): it writes that to its log, and nowhere else."""
    if log.exists() and (fatal := FATAL.search(log.read_text("utf-8", "replace"))):
        raise ConnectionError(fatal[0])


def _ending(result: Result) -> dict[str, Any]:
    best = {f"best/{name}": value for name, value in (result.best or {}).items() if value is not None}
    cost = numbers(result.extra.get("cost") or {})
    return best | cost | {"status": result.status} | ({"error": result.error} if result.error else {})
