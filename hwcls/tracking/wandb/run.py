"""One open W&B run."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import wandb

from hwcls.tracking.folders import ABOUT, SweepFolder
from hwcls.tracking.media import Media
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import RunInfo, numeric_values
from hwcls.tracking.wandb.environment import entity_name, project_name
from hwcls.tracking.wandb.private import count_rows, prepare, raise_if_upload_failed, run_settings
from hwcls.tracking.wandb.settings import GROUP_LENGTH, TAG_LENGTH, WandbSettings

INIT_SECONDS = 10.0  # to wait for the server at the start of a run
LINK_SECONDS = 30.0  # that a link in the registry may take
UPLOAD_SECONDS = 30.0  # that the end of a run may take: the rest is uploaded again later
SLOWEST_UPLOAD = 100_000  # bytes per second: weights get longer by their size
NAME_LENGTH = 128  # of an artifact at most
BEST_FILES = ("best.safetensors", "config.yaml", "preprocessing.json", ABOUT)  # of best/, and the user's code
MATRIX_CLASSES = 50  # of a confusion matrix at most: W&B makes a table row for each pair of classes
PAUSED = "paused"  # at a rung of early stopping: W&B has no such state, and calls it finished until it is resumed
EXIT_CODES = {"complete": 0, "stopped": 0, PAUSED: 0, "failed": 1, None: 255}  # others: 255, by a user ("killed")


@dataclass(frozen=True)
class Place:
    """Where the runs of a sweep go."""

    sweep: SweepFolder
    mode: Literal["online", "offline"]
    settings: WandbSettings

    @property
    def root(self) -> Path:
        """Where the folder wandb/ with the files of the runs is: WANDB_DIR, or else the sweep's folder."""
        return Path(os.environ.get("WANDB_DIR") or self.sweep.path)

    def address(self, project: str) -> dict[str, str]:
        """Where a run goes, for the cursor: `target`, its entity and project, and online the `server`."""
        target = {"target": f"{entity_name(self.settings.entity) or ''}/{project_name(project)}"}
        return target | ({"server": prepare()} if self.mode == "online" else {})

    def has(self, known: Mapping[str, Any], project: str) -> bool:
        """Whether what the cursor knows of a run was delivered here; earlier versions noted less of the address."""
        same = all(known.get(name, value) == value for name, value in self.address(project).items())
        return same and known.get("mode") in ("online", self.mode)

    def open_run(
        self, project: str, run_id: str, upload: float, stop: Callable[[], None] = lambda: None, **shown: Any
    ) -> Any:
        """Open the run of an id, or resume it, as wandb.init does.

        Args:
            project: Of the sweep file.
            run_id: Its id at W&B.
            upload: Seconds that its end may take.
            stop: See `run_settings`.
            shown: Further arguments of wandb.init, such as its name.
        """
        prepare()
        return wandb.init(
            project=project_name(project),
            entity=entity_name(self.settings.entity),
            id=run_id,
            resume="allow",
            reinit="create_new",  # the runs of other trials stay open in this process
            mode=self.mode,
            dir=str(self.root),
            group=self.settings.group or self.sweep.name[:GROUP_LENGTH],
            notes=self.settings.notes,
            settings=run_settings(stop, INIT_SECONDS, upload),
            **shown,
        )

    def tags(self, own: Sequence[str]) -> tuple[str, ...]:
        """A run's own tags and those of the sweep file, as long as W&B takes them."""
        return tuple(dict.fromkeys(tag[:TAG_LENGTH] for tag in (*own, *self.settings.tags)))

    def offline_root(self) -> dict[str, str]:
        """For the cursor, where the files of an offline run are if not in the sweep's folder: `root`."""
        elsewhere = self.mode == "offline" and self.root != self.sweep.path
        return {"root": str(self.root.expanduser().absolute())} if elsewhere else {}

    def delete_offline_files(self, run_id: str, known: Mapping[str, Any]) -> None:
        """Delete what was written offline of a run, also where WANDB_DIR was before, which the cursor knows."""
        for root in {self.root, self.sweep.path, Path(known.get("root") or self.root)}:
            for folder in (root / "wandb").expanduser().glob(f"offline-run-*-{run_id}*"):
                shutil.rmtree(folder, ignore_errors=True)


class WandbRun:
    """A W&B run and how many of its records it has taken.

    `shown` is the row of the history that has the media: that of the last "epoch", or a row of its "own" if the run's
    end came long after its last epoch; None while there are none. The cursor keeps it.

    Args:
        info: The run.
        run_id: Its id at W&B; a run of this id is resumed.
        place: Where it goes.
        shown: As the cursor has it; None for a new run.
    """

    def __init__(self, info: RunInfo, run_id: str, place: Place, shown: str | None) -> None:
        self.info, self._place = info, place
        self.handle = _init(info, run_id, place)
        self.lines = 0
        epochs = sum("epoch" in line for line in info.folder.records())
        rows = count_rows(self.handle)  # epochs in order, then the media
        self._uploaded_epochs = min(rows - (shown == "own"), epochs)
        complete = rows >= epochs + (shown == "own")  # else the media were cut off on their way
        self.shown = (shown if complete else None) or ("own" if rows > epochs else None)
        self._row_is_open = False

    def log(self, line: dict[str, Any], *, last: bool) -> None:
        """Log one line of metrics.jsonl, unless the server has it; the row of the last one stays open for media."""
        self.lines += 1
        if "epoch" not in line:
            self.handle.summary.update(numeric_values(line))
        elif self._uploaded_epochs > 0:
            self._uploaded_epochs -= 1
        else:
            self.handle.log({"epoch": line["epoch"], **numeric_values(line)}, commit=not last)
            self._row_is_open = last

    def log_result(self, result: Result) -> None:
        """Put the best epoch, the cost and the status into the summary."""
        best = {f"best/{name}": value for name, value in (result.best or {}).items() if value is not None}
        cost = numeric_values(result.extra.get("cost") or {})
        error = {"error": result.error} if result.error else {}
        self.handle.summary.update(best | cost | {"status": result.status} | error)

    def log_place(self, folder: Path) -> None:
        """Put the folder of the sweep's best weights, or of this run's own, into the summary."""
        self.handle.summary.update({"weights": str(folder)})

    def log_front(self, on_front: bool) -> None:
        """Put into the summary whether the trial is on the Pareto front of the sweep."""
        self.handle.summary.update({"front": on_front})

    def log_media(self, media: Media) -> None:
        """Log confusion matrix, table and pictures, in the row of the last epoch if it is open."""
        rows = [[_none_for_nan(value) for value in row] for row in media.rows]
        values: dict[str, Any] = {"per_class": wandb.Table(columns=list(media.columns), data=rows)}
        values |= {name: wandb.Image(pixels) for name, pixels in media.pictures.items()}
        if len(media.classes) <= MATRIX_CLASSES:  # in place of its picture
            values["confusion"] = wandb.plot.confusion_matrix(
                y_true=media.labels.tolist(),
                preds=media.predicted.tolist(),
                class_names=list(media.classes),
                title="Confusion on val",
            )
        self.handle.log(values)
        self.shown = "epoch" if self._row_is_open else "own"

    def log_weights(self, path: Path) -> None:
        """Upload the best weights as an artifact."""
        name = artifact_name(self.info.sweep, self.info.key)
        artifact = wandb.Artifact(name, type="model", metadata=self.info.config)
        artifact.add_file(str(path), name="best.safetensors")
        self.handle.log_artifact(artifact)

    def log_best(self, best: Path) -> Any:
        """Upload the sweep's best/, a copy of this run, as a version of an artifact that is named after the sweep.

        W&B moves the alias `best` to it from the version before, and `confirmed` if this is a confirm run.
        """
        artifact = wandb.Artifact(
            artifact_name(self.info.sweep), type="model", metadata={**self.info.config, "run": self.info.key}
        )
        code = sorted(best.glob("source/**/*.py"))
        for path in [path for path in (*(best / name for name in BEST_FILES), *code) if path.is_file()]:
            artifact.add_file(str(path), name=path.relative_to(best).as_posix())
        return self.handle.log_artifact(artifact, aliases=self._aliases())

    def link_best(self, artifact: Any, target: str) -> None:
        """Link what `log_best` returned to a collection of W&B's registry, in LINK_SECONDS; raises any error."""

        def link() -> None:
            artifact.wait(timeout=int(LINK_SECONDS))
            self.handle.link_artifact(artifact, target, aliases=self._aliases())

        run_within(LINK_SECONDS, link)

    def _aliases(self) -> list[str]:
        return ["best", "confirmed"] if self.info.kind == "confirm" else ["best"]

    def finish(self, status: str | None) -> None:
        """End the run and wait for its upload; None: it is unfinished, and PAUSED: it may go on.

        Raises:
            ConnectionError: W&B gave the upload up.
        """
        if status in (None, PAUSED):
            self.handle.summary.update({"status": status or "unfinished"})  # until it is resumed
        self.handle.finish(exit_code=EXIT_CODES.get(status, 255))
        raise_if_upload_failed(self.handle)


def artifact_name(sweep: str, key: str = "") -> str:
    """The name of a run's weights at W&B, or of the sweep's best ones, unique within NAME_LENGTH characters."""
    name = f"{sweep}-{key.replace('/', '-')}" if key else sweep
    if len(name) <= NAME_LENGTH:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{name[: NAME_LENGTH - len(digest) - 1]}-{digest}"


def run_within(seconds: float, action: Callable[[], None]) -> None:
    """Run what has no time limit of its own; raises TimeoutError, or what it raises."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            action()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    if errors:
        raise errors[0]


def upload_seconds(*files: Path | None) -> float:
    """How long the upload of some files may take; those that do not exist take nothing."""
    return UPLOAD_SECONDS + sum(file.stat().st_size for file in files if file and file.is_file()) / SLOWEST_UPLOAD


def _init(info: RunInfo, run_id: str, place: Place) -> Any:
    best = place.sweep.best.path / BEST_FILES[0] if info.is_best() else None
    handle = place.open_run(
        info.project,
        run_id,
        upload_seconds(info.weights, best),
        info.folder.request_stop,
        name=info.name,
        job_type=place.settings.job_type or info.kind,
        tags=place.tags(info.tags),
        config=info.config,
    )
    handle.define_metric("epoch", hidden=True)
    handle.define_metric("*", step_metric="epoch", step_sync=False)  # a row of media only belongs to no epoch
    return handle


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
