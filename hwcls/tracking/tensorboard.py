"""TensorBoard as a tracker: scalars by epoch and the hparams plugin, through tensorboardX."""

from __future__ import annotations

import shutil
from typing import Any

from hwcls.errors import UserError
from hwcls.tracking.records import Result, SweepFolder
from hwcls.tracking.tracker import Cursor, RunInfo, numbers


class TensorBoardTracker:
    """Writes <sweep>/tensorboard/<key>/; what a killed process left of an unfinished run is written anew.

    Raises:
        UserError: tensorboardX is not installed.
    """

    def __init__(self, sweep: SweepFolder) -> None:
        try:
            import tensorboardX
        except ImportError:
            remedy = "pip install 'hwcls[tensorboard]'"
            raise UserError("tensorboardX is not installed", where="track: tensorboard", remedy=remedy) from None
        self._writer_type = tensorboardX.SummaryWriter
        self._folder = sweep.path / "tensorboard"
        self._cursor = Cursor(self._folder / "cursor.jsonl")
        self._writers: dict[str, Any] = {}  # a SummaryWriter by run key; a settled run has none
        self._lines: dict[str, int] = {}

    def start(self, run: RunInfo) -> None:
        self._close(run.key)
        if self._cursor.settled(run):
            return
        folder = self._folder / run.key
        shutil.rmtree(folder, ignore_errors=True)
        self._cursor.put(run.key, status=None)
        self._writers[run.key] = self._writer_type(str(folder), flush_secs=10)
        self._lines[run.key] = 0

    def log(self, run: RunInfo, line: dict[str, Any]) -> None:
        if writer := self._writers.get(run.key):
            for name, value in numbers(line).items():
                writer.add_scalar(name, value, line.get("epoch", 0))  # test/... is of the whole run: step 0
            self._lines[run.key] += 1

    def finish(self, run: RunInfo, result: Result | None) -> None:
        if (writer := self._writers.get(run.key)) and result:
            from tensorboardX.summary import hparams

            best = {f"best/{name}": value for name, value in numbers(result.best or {}).items()}
            for summary in hparams(run.config | {"status": result.status}, best):
                writer.file_writer.add_summary(summary)
            for name, value in best.items():
                writer.add_scalar(name, value, (result.best or {}).get("epoch", 0))
        self._close(run.key)
        if writer and result:
            self._cursor.put(run.key, status=result.status, lines=self._lines[run.key])

    def close(self) -> None:
        for key in list(self._writers):
            self._close(key)

    def _close(self, key: str) -> None:
        if writer := self._writers.pop(key, None):
            writer.close()
