"""TensorBoard as a tracker, through tensorboardX: scalars by epoch, histograms, pictures and the hparams plugin."""

from __future__ import annotations

import shutil
from typing import Any

from hwcls.config.sweep import TRACKERS, TrackerSpec
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.media import Media
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import RunInfo, numeric_values


@TRACKERS.register("tensorboard")
class TensorBoardTracker(TrackerSpec):
    """Writes <sweep>/tensorboard/<key>/; event files of an unfinished run are written again from the first epoch."""

    package = "tensorboardX"
    extra = "tensorboard"
    problem: str | None = None

    @classmethod
    def open(cls, sweep: SweepFolder, mode: str) -> list[TensorBoardTracker]:
        cls.check_installed("track: tensorboard")
        return [cls(sweep)]

    @classmethod
    def disk_bytes(cls, epochs: int) -> int:
        return 40_000 + epochs * 1_000

    def __init__(self, sweep: SweepFolder) -> None:
        self._folder = sweep.path / "tensorboard"
        self._cursor = Cursor(self._folder / "cursor.jsonl")
        self._writers: dict[str, Any] = {}  # a SummaryWriter by run key; none for a run that was delivered before
        self._lines: dict[str, int] = {}

    def start(self, run: RunInfo) -> None:
        from tensorboardX import SummaryWriter

        self._close_writer(run.key)
        if self._cursor.is_delivered(run):
            return
        folder = self._folder / run.key
        shutil.rmtree(folder, ignore_errors=True)
        self._cursor.update(run.key, status=None)
        self._writers[run.key] = SummaryWriter(str(folder), flush_secs=10)
        self._lines[run.key] = 0

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        if writer := self._writers.get(run.key):
            for name, value in numeric_values(line).items():
                writer.add_scalar(name, value, line.get("epoch", 0))  # test/... describes the run as a whole: step 0
            self._lines[run.key] += 1

    def finish(self, run: RunInfo, result: Result | None) -> None:
        if (writer := self._writers.get(run.key)) and result:
            from tensorboardX.summary import hparams

            best = {f"best/{name}": value for name, value in numeric_values(result.best or {}).items()}
            for summary in hparams(run.config | {"status": result.status}, best):
                writer.file_writer.add_summary(summary)
            epoch = (result.best or {}).get("epoch", 0)
            for name, value in best.items():
                writer.add_scalar(name, value, epoch)
            _add_media(writer, run.media(), epoch)
        self._close_writer(run.key)
        if writer and result:
            self._cursor.update(run.key, status=result.status, lines=self._lines[run.key])

    def close(self) -> None:
        for key in list(self._writers):
            self._close_writer(key)

    def _close_writer(self, key: str) -> None:
        if writer := self._writers.pop(key, None):
            writer.close()


def _add_media(writer: Any, media: Media | None, epoch: int) -> None:
    """Pictures at the best epoch, histograms at the epoch of each."""
    if media is None:
        return
    for name, pixels in media.pictures.items():
        writer.add_image(name, pixels, epoch, dataformats="HWC")
    for histogram in media.histograms:
        edges, counts = histogram.edges, histogram.counts
        centres = (edges[1:] + edges[:-1]) / 2
        ends = {"min": float(edges[0]), "max": float(edges[-1]), "num": int(counts.sum())}
        sums = {"sum": float(counts @ centres), "sum_squares": float(counts @ centres**2)}
        limits = {"bucket_limits": edges[1:].tolist(), "bucket_counts": counts.tolist()}
        writer.add_histogram_raw(histogram.name, **ends, **sums, **limits, global_step=histogram.epoch)
