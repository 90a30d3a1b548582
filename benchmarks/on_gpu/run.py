"""Runs the items of a part one after the other in a process of its own, which is killed at the part's limit."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

from benchmarks.on_gpu.inputs import Setting
from benchmarks.on_gpu.part import LeftOutError, Row
from benchmarks.on_gpu.parts import PARTS
from hwcls.training.memory import free_memory

NOT_MEASURED = ("error", "left_out")  # keys of a row that is measured again the next time


def run_part(name: str, items: Sequence[str], setting: Setting, limit: float) -> Iterator[tuple[str, Row]]:
    """The rows of some items as they are measured.

    After `limit` seconds the process is killed: an item that had all of them gets a row that says so, what is left of
    the others none. Where the process dies, another one runs the next item.
    """
    until, left = time.monotonic() + limit, list(items)
    while left:
        with _part_process(name, left, setting) as pipe:
            while left:
                if not pipe.poll(max(0.0, until - time.monotonic())):
                    if len(left) == len(items):
                        yield left[0], {"stopped": f"not done within {limit:.0f} s"}
                    return
                try:
                    item, row = pipe.recv()
                except EOFError:
                    item, row = left[0], {"error": "its process died"}
                left.remove(item)
                yield item, row
                if row == {"error": "its process died"}:
                    break


@contextlib.contextmanager
def _part_process(name: str, items: Sequence[str], setting: Setting) -> Iterator[Connection]:
    """The end of a pipe at which the rows arrive; afterwards the process and its children are gone."""
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(name, tuple(items), setting, there))
    process.start()
    there.close()
    try:
        yield here
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended, or has no group of its own yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def _serve(name: str, items: Sequence[str], setting: Setting, pipe: Connection) -> None:
    os.setsid()  # its own process group, which DataLoader workers are in too
    warnings.filterwarnings("ignore")
    if not setting.cuda:
        torch.set_num_threads(1)
    for item in items:
        pipe.send((item, _measure(name, item, setting)))
        free_memory()


def _measure(name: str, item: str, setting: Setting) -> Row:
    try:
        return PARTS[name].measure(item, setting)
    except LeftOutError as reason:
        return {"left_out": str(reason)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}".split("\n", 1)[0]}
