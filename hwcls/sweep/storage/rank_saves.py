"""The checkpoints of a trial as rank 0 writes them, in a thread; torch is imported only where one is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hwcls.sweep.storage.checkpoint_store import upload_state
from hwcls.temporary import temporary_folder

if TYPE_CHECKING:
    from hwcls.training.checkpoint_writer import CheckpointWriter
    from hwcls.training.snapshot import Snapshot
    from hwcls.training.trainer import Trainer


@dataclass(frozen=True)
class SaveRequest:
    """What a checkpoint has, and where it goes."""

    folder: str | None  # on this node; None: its files go to a supervisor on another node
    last: bool  # as `CheckpointWriter` has it
    whole: bool
    store: str  # the URL of the storage that its state goes to; empty for none
    trial: str


class RankSaves:
    """The checkpoints of one trial.

    Attributes:
        latest: The folder of the last one; None where it is not on this node.
        uploads: Whether the last one goes to storage, which may take long to respond.
    """

    def __init__(self, latest: Path | None = None) -> None:
        self.latest, self.uploads = latest, False
        self.writer: CheckpointWriter[dict[str, bytes]] | None = None

    def begin(self, trainer: Trainer, request: SaveRequest) -> None:
        """Take a snapshot, which the thread writes; waits for the last one, and raises what went wrong in it."""
        from hwcls.training.checkpoint_writer import CheckpointWriter

        if self.writer is None:
            self.writer = CheckpointWriter(last=request.last, whole=request.whole)
        self.uploads = bool(request.store)
        self.writer.begin(trainer, partial(self._write, request))

    def _write(self, request: SaveRequest, snapshot: Snapshot) -> dict[str, bytes]:
        from hwcls.training import checkpoint

        if request.folder is not None:
            self.latest = checkpoint.replace(snapshot, Path(request.folder), self.latest)
            return {}
        with temporary_folder() as folder:
            checkpoint.write(snapshot, folder)
            if request.store:
                upload_state(folder, request.store, request.trial)
            return read_folder(str(folder))

    def collect(self, *, wait: bool) -> dict[str, bytes] | None:
        """File names and contents of what was begun, for another node, else empty; None: it is not written yet.

        `wait` waits for it. Raises what went wrong.
        """
        assert self.writer is not None, "begin() comes first"
        return self.writer.wait() if wait or self.writer.done else None

    def settle(self) -> None:
        """Wait for what is being written, where another error is raised already."""
        if self.writer is not None:
            self.writer.settle()


def read_folder(folder: str) -> dict[str, bytes]:
    """All files below a folder, by relative name."""
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
