"""TensorBoard as a tracker, through tensorboardX: scalars by epoch, histograms, pictures and the hparams plugin."""

from __future__ import annotations

import shutil
from typing import Any

from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import Cursor, Media, RunInfo, numbers


class TensorBoardTracker:
    """Writes <sweep>/tensorboard/<key>/; what a killed process left of an unfinished run is written anew.

    Raises:
        UserError: tensorboardX is not installed.
    """

    problem: str | None = None

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

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
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
            epoch = (result.best or {}).get("epoch", 0)
            for name, value in best.items():
                writer.add_scalar(name, value, epoch)
            self._show(writer, run.media(), epoch)
        self._close(run.key)
        if writer and result:
            self._cursor.put(run.key, status=result.status, lines=self._lines[run.key])

    def close(self) -> None:
        for key in list(self._writers):
            self._close(key)

    def _show(self, writer: Any, media: Media | None, epoch: int) -> None:
        """Pictures at the best epoch, histograms at their own."""
        if media is None:
            return
        for name, pixels in media.pictures.items():
            writer.add_image(name, pixels, epoch, dataformats="HWC")
        for found in media.histograms:
            centres = (found.edges[1:] + found.edges[:-1]) / 2
            ends = {"min": float(found.edges[0]), "max": float(found.edges[-1]), "num": int(found.counts.sum())}
            sums = {"sum": float(found.counts @ centres), "sum_squares": float(found.counts @ centres**2)}
            limits = {"bucket_limits": found.edges[1:].tolist(), "bucket_counts": found.counts.tolist()}
            writer.add_histogram_raw(found.name, **ends, **sums, **limits, global_step=found.epoch)

    def _close(self, key: str) -> None:
        if writer := self._writers.pop(key, None):
            writer.close()
