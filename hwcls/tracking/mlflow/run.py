"""One open MLflow run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hwcls.tracking.mlflow.media_files import write_media
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import LEFT_OUT_TAG, RunInfo, numeric_values

MAX_METRICS, MAX_PARAMS = 1000, 100  # that MLflow takes in one request
STATES = {  # MLflow's own word for how a run ended, by `status` of result.json
    "complete": "FINISHED",
    "stopped": "FINISHED",
    "failed": "FAILED",
    "stopped_by_user": "KILLED",
    "running": "RUNNING",
    "paused": "SCHEDULED",
    "unfinished": "KILLED",
}


def run_tags(run: RunInfo) -> dict[str, str]:
    """What a run is, by the name of a tag; `state` comes with its end."""
    found: dict[str, Any] = {"sweep": run.sweep, "project": run.project, "kind": run.kind, "alternative": run.label}
    found |= {name: run.config.get(name) for name in ("trial", "role")}
    found |= {"best": run.is_best(), "front": run.on_front(), "left_out": LEFT_OUT_TAG in run.tags}
    return {name: _text(value) for name, value in found.items() if value is not None}


class MlflowRun:
    """An MLflow run and how many of its records it has taken.

    Lines that were on record when it was opened are sent in batches, later ones at once. A point has the time at which
    its epoch ended by the records, so that it is the same point when it is sent again.

    Args:
        client: An MlflowClient.
        run_id: The run's id.
        info: The run.
        began: When it began, in ms.
        epochs: Those that it has.
    """

    def __init__(self, client: Any, run_id: str, info: RunInfo, began: int, epochs: set[int]) -> None:
        self.client, self.id, self.info = client, run_id, info
        self.lines = 0
        self._time, self._epochs = float(began), epochs
        self._begun = float(began)
        self._on_record = len(info.folder.records())
        self._points: list[Any] = []  # of mlflow.entities.Metric

    def log_params(self) -> None:
        """Log the run's config."""
        from mlflow.entities import Param

        params = [Param(name, _text(value)) for name, value in self.info.config.items() if value is not None]
        for some in split(params, MAX_PARAMS):
            self.client.log_batch(self.id, params=some, synchronous=True)

    def log(self, line: dict[str, Any]) -> None:
        """Take one line of metrics.jsonl, unless the run has its epoch."""
        self.lines += 1
        self._time += 1000 * (line.get("seconds") or 0.0)
        epoch = line.get("epoch", 0)  # test/... describes the run as a whole: step 0
        if epoch not in self._epochs:
            self._add(numeric_values(line), epoch, self._time)
        if self.lines >= self._on_record:
            self.flush()

    def log_result(self, result: Result) -> None:
        """Log the best epoch and the cost as metrics."""
        best, end = result.best or {}, self._begun + 1000 * result.seconds
        self._add({f"best/{name}": value for name, value in numeric_values(best).items()}, best.get("epoch", 0), end)
        self._add(numeric_values(result.extra.get("cost") or {}), 0, end)
        self.flush()

    def log_files(self) -> None:
        """Upload pictures and tables, and the best weights if they are wanted."""
        media = self.info.media()
        with tempfile.TemporaryDirectory() as folder:
            if media is not None:
                write_media(media, Path(folder))
                self.client.log_artifacts(self.id, folder)
        if self.info.weights and self.info.weights.is_file():
            self.client.log_artifact(self.id, str(self.info.weights))

    def set_state(self, state: str, tags: Mapping[str, str]) -> None:
        """Set MLflow's own state, and tags with the exact one."""
        from mlflow.entities import RunTag

        shown = [RunTag(name, value[:5000]) for name, value in {**tags, "state": state}.items()]
        self.client.log_batch(self.id, tags=shown, synchronous=True)
        if STATES[state] in ("RUNNING", "SCHEDULED"):
            self.client.update_run(self.id, STATES[state])
        else:
            self.client.set_terminated(self.id, STATES[state], int(self._time))

    def flush(self) -> None:
        """Send what waits."""
        points, self._points = self._points, []
        for some in split(points, MAX_METRICS):
            self.client.log_batch(self.id, metrics=some, synchronous=True)

    def _add(self, values: Mapping[str, float], step: int, time: float) -> None:
        from mlflow.entities import Metric

        if len(self._points) + len(values) > MAX_METRICS:  # the metrics of an epoch arrive together, or not at all
            self.flush()
        self._points += [Metric(name, float(value), int(time), step) for name, value in values.items()]


def find_epochs(client: Any, run_id: str, run: RunInfo) -> set[int]:
    """The epochs that a run has at MLflow, by the first metric of each line."""
    lines = [line for line in run.folder.records() if "epoch" in line]
    names = {name for line in lines for name in list(numeric_values(line))[:1]}
    return {int(point.step) for name in names for point in client.get_metric_history(run_id, name)}


def split(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items at most."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
