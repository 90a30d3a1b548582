"""One open W&B run."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import wandb

from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.media import Media
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import RunInfo, numeric_values
from hwcls.tracking.wandb.environment import project_name
from hwcls.tracking.wandb.private import count_rows, prepare, raise_if_upload_failed, run_settings

INIT_SECONDS = 10.0  # to wait for the server at the start of a run
UPLOAD_SECONDS = 30.0  # that the end of a run may take: the rest is uploaded again later
SLOWEST_UPLOAD = 100_000  # bytes per second: weights get longer by their size
NAME_LENGTH = 128  # of an artifact at most
MATRIX_CLASSES = 50  # of a confusion matrix at most: W&B makes a table row for each pair of classes
PAUSED = "paused"  # at a rung of early stopping: W&B has no such state, and calls it finished until it is resumed
EXIT_CODES = {"complete": 0, "stopped": 0, PAUSED: 0, "failed": 1, None: 255}  # others: 255, by a user ("killed")


class WandbRun:
    """A W&B run and how many of its records it has taken.

    `shown` is the row of the history that has the media: that of the last "epoch", or a row of its "own" if the run's
    end came long after its last epoch; None while there are none. The cursor keeps it.

    Args:
        info: The run.
        run_id: Its id at W&B; a run of this id is resumed.
        sweep: The folder for W&B's files.
        mode: "online" or "offline".
        shown: As the cursor has it; None for a new run.
    """

    def __init__(self, info: RunInfo, run_id: str, sweep: SweepFolder, mode: str, shown: str | None) -> None:
        self.info = info
        self.handle = _init(info, run_id, sweep, mode)
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

    def finish(self, status: str | None) -> None:
        """End the run and wait for its upload; None: it is unfinished, and PAUSED: it may go on.

        Raises:
            ConnectionError: W&B gave the upload up.
        """
        if status in (None, PAUSED):
            self.handle.summary.update({"status": status or "unfinished"})  # until it is resumed
        self.handle.finish(exit_code=EXIT_CODES.get(status, 255))
        raise_if_upload_failed(self.handle)


def artifact_name(sweep: str, key: str) -> str:
    """The name of a run's weights at W&B, unique within NAME_LENGTH characters."""
    name = f"{sweep}-{key.replace('/', '-')}"
    if len(name) <= NAME_LENGTH:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{name[: NAME_LENGTH - len(digest) - 1]}-{digest}"


def _init(info: RunInfo, run_id: str, sweep: SweepFolder, mode: Any) -> Any:
    upload = UPLOAD_SECONDS
    if info.weights and info.weights.is_file():
        upload += info.weights.stat().st_size / SLOWEST_UPLOAD
    prepare()
    handle = wandb.init(
        project=project_name(info.project),
        id=run_id,
        resume="allow",
        reinit="create_new",  # the runs of other trials stay open in this process
        mode=mode,
        dir=os.environ.get("WANDB_DIR") or str(sweep.path),
        name=info.name,
        group=info.sweep[:128],
        job_type=info.kind,
        tags=[tag[:64] for tag in info.tags],  # W&B's limits
        config=info.config,
        settings=run_settings(info.folder.request_stop, INIT_SECONDS, upload),
    )
    handle.define_metric("epoch", hidden=True)
    handle.define_metric("*", step_metric="epoch", step_sync=False)  # a row of media only belongs to no epoch
    return handle


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
