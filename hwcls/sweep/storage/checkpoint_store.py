"""Where checkpoints are: their place for the driver, and their state, which may go directly to shared storage."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from hwcls import files
from hwcls.errors import UserError
from hwcls.reading import read_json
from hwcls.sweep.storage.mirror import ELSEWHERE, STATES
from hwcls.sweep.storage.object_store import open_store, short_reason
from hwcls.tracking.shapes import ElsewhereShape
from hwcls.training.artifacts import STATE

PREFIX = "checkpoint_"  # of a checkpoint's folder, before its epoch
PLACE = "place.json"  # in the folder that Tune has of a checkpoint: where it is
TRIES, PAUSE = 10, 6.0  # to read a state, and seconds between them


def write_place(folder: Path, place: str) -> None:
    """Have a folder of Tune's name the checkpoint at `place`."""
    files.write_json(folder / PLACE, {"folder": place})


def read_place(folder: Path) -> Path:
    """The checkpoint that a folder of Tune's names; the folder itself where it names none."""
    if not (folder / PLACE).exists():
        return folder
    return Path(read_json(folder / PLACE, ElsewhereShape)["folder"])


def name_checkpoint(folder: Path, epoch: int) -> Path:
    """Where `folder` has the checkpoint of an epoch."""
    return folder / f"{PREFIX}{epoch:06d}"


def find_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a folder that a trial can resume from, the newest first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.suffix != ".tmp"]
    return sorted((path for path in found if (path / STATE).exists() or (path / ELSEWHERE).exists()), reverse=True)


def drop_older(folder: Path, registered: Iterable[str]) -> None:
    """Remove the checkpoints in a folder that are older than all registered ones there.

    They were written but never reported, as before a restart.
    """
    kept = [path.name for path in map(Path, registered) if path.resolve().parent == folder.resolve()]
    for path in folder.glob(f"{PREFIX}*"):
        if path.name < min(kept, default=""):
            files.remove(path)


def upload_state(folder: Path, url: str, trial: str) -> None:
    """Move the state of a checkpoint in `folder` to the storage; it stays where that does not respond."""
    if not (folder / STATE).exists():
        return
    target = f"{STATES}/{trial}/{secrets.token_hex(8)}"
    try:
        open_store(url).write(f"{target}/{STATE}", (folder / STATE).read_bytes())
    except OSError:
        return
    files.write_json(folder / ELSEWHERE, {"folder": target})
    (folder / STATE).unlink()


def download_state(folder: Path, url: str) -> None:
    """Put the state back into a checkpoint's `folder`; raises UserError where that is impossible."""
    if not (folder / ELSEWHERE).exists():
        return
    name = f"{read_json(folder / ELSEWHERE, ElsewhereShape)['folder']}/{STATE}"
    for left in reversed(range(TRIES)):
        try:
            open_store(url).download(name, folder / STATE)
            return
        except OSError as error:
            if not left or isinstance(error, FileNotFoundError):
                what = f"the checkpoint's state cannot be downloaded ({short_reason(error)})"
                raise UserError(what, where=url) from None
        time.sleep(PAUSE)
