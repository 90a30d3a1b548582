"""The ranks of a training as processes of this machine: they end together, and none outlives this process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from hwcls.errors import UserError
from hwcls.files import write_with
from hwcls.models.user.code import error_line
from hwcls.temporary import temporary_folder
from hwcls.training.distributed import World, default_device, join_world, leave_world
from hwcls.training.errors import MemoryRanOutError, is_lost_peer
from hwcls.training.network import new_file_address
from hwcls.training.watchdog import describe_hang, watch

HANG_AFTER = 600.0  # seconds without a step until a rank ends, as sweeps have it by default
PATIENCE = 2.0  # seconds for ranks that failed together to report it
RESUME = "the same command resumes"


def launch(size: int, run: Callable[..., None], *args: Any) -> None:
    """Call `run(world, *args)` in `size` processes of this machine and wait for all; one rank runs in this process.

    When one fails, dies or hangs the others are killed.

    Raises:
        MemoryRanOutError: As a rank raised it.
        OSError: As a rank raised it, with the name of a file.
        UserError: As a rank raised it, or what else ended a rank, whose traceback is on standard error.
    """
    if size == 1:
        run(World(), *args)
        return
    _check_gpus(size)
    context = get_context("spawn")
    with temporary_folder() as folder:
        shared = size, folder, new_file_address(folder), run, args
        ranks = [context.Process(target=_rank_main, args=(rank, *shared)) for rank in range(size)]
        try:
            for rank in ranks:
                rank.start()
            error = _cause(ranks, folder) if _one_fails(ranks) else None
        finally:
            for rank in ranks:
                if rank.pid is not None:
                    rank.kill()
                    rank.join()
    if error is not None:
        raise error


def _check_gpus(size: int) -> None:
    if torch.cuda.is_available() and size > torch.cuda.device_count():
        what = f"each of the {size} workers needs a GPU of its own, but there are {torch.cuda.device_count()}"
        raise UserError(what, where="workers", remedy='lower it, or set CUDA_VISIBLE_DEVICES="" to train on CPUs')


def _one_fails(ranks: Sequence[SpawnProcess]) -> bool:
    """Wait until all ranks have ended, or one has failed; whether one has."""
    running = list(ranks)
    while running:
        connection.wait([rank.sentinel for rank in running])
        codes = [rank.exitcode for rank in running]  # asked once: it may end meanwhile
        if any(codes):
            return True
        running = [rank for rank, code in zip(running, codes, strict=True) if code is None]
    return False


def _cause(ranks: Sequence[SpawnProcess], folder: Path) -> Exception:
    """What went wrong first: an error, a hang, a signal; that a rank lost another one is a consequence of these."""
    errors = _read_errors(folder)
    if not errors or is_lost_peer(errors[0]):
        connection.wait([rank.sentinel for rank in ranks if rank.is_alive()], PATIENCE)
        errors = _read_errors(folder)
    if errors and not is_lost_peer(errors[0]):
        return _as_user_error(errors[0])
    files = {number: _stacks(folder, number) for number in range(len(ranks))}
    stacks = {number: file.read_text(errors="replace") for number, file in files.items() if file.exists()}
    if hang := describe_hang(stacks):
        sys.stderr.writelines(f"rank {number}\n{dump}\n" for number, dump in stacks.items() if dump.strip())
        return UserError(hang, remedy=RESUME)
    for number, rank in enumerate(ranks):
        if rank.exitcode is not None and rank.exitcode < 0:
            what = f"rank {number} was ended by {signal.Signals(-rank.exitcode).name}"
            killed = -rank.exitcode == signal.SIGKILL  # as the kernel does where memory is short
            return UserError(what, remedy=f"the memory may be full; {RESUME}" if killed else RESUME)
    return _as_user_error(errors[0]) if errors else UserError("a rank ended without an error", remedy=RESUME)


def _as_user_error(error: Exception) -> Exception:
    return error if isinstance(error, UserError | MemoryRanOutError | OSError) else UserError(str(error))


def _rank_main(rank: int, size: int, folder: Path, address: str, run: Callable[..., None], args: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    status = 0
    try:
        with open(_stacks(folder, rank), "wb") as stacks, watch(HANG_AFTER, stacks):
            run(join_world(rank, size, address, default_device(rank), HANG_AFTER), *args)
            leave_world()
    except BaseException as error:
        _write_error(error, folder, rank)
        status = 1
    # a failed rank does not leave: NCCL would wait for peers that wait in an all-reduce; the parent ends those
    # gloo's threads may still hold tensors, and releasing those while the interpreter ends aborts it (pytorch#190489)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "ranks are started by one"
    connection.wait([parent.sentinel])
    os._exit(1)


def _stacks(folder: Path, rank: int) -> Path:
    """The file that a rank's watchdog dumps to."""
    return folder / f"stacks-{rank}"


def _write_error(error: BaseException, folder: Path, rank: int) -> None:
    """Keep an error for the parent; a traceback goes to standard error unless the error says what the user can do."""
    kept = error
    of_a_file = isinstance(error, OSError) and error.filename is not None  # such as a full disk
    if not of_a_file and not isinstance(error, UserError | MemoryRanOutError):
        kept = RuntimeError(f"rank {rank} failed: {error_line(error)}")
        if not is_lost_peer(kept):
            traceback.print_exception(error)
    write_with(folder / f"error-{rank}", lambda file: file.write(pickle.dumps(kept)))


def _read_errors(folder: Path) -> list[Exception]:
    """The errors of the ranks so far, the first one first; those of a rank that has lost another one at the end."""
    files = sorted(folder.glob("error-*"), key=lambda path: path.stat().st_mtime_ns)
    return sorted((pickle.loads(path.read_bytes()) for path in files), key=is_lost_peer)
