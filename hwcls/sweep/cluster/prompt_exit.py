"""Ends the process soon after a signal, even where code that is not Python's does not return."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE = 3.0  # seconds for the block to end by itself


@contextmanager
def exits_promptly(limit: float, clean_up: Callable[[], None]) -> Iterator[None]:
    """In the block SIGINT and SIGTERM, or `limit` seconds, end the process if it does not leave the block by itself.

    Python runs its signal handlers only when the call that the main thread is in returns: Ray's C++ code waits for up
    to a minute. Elsewhere than in the main thread, which gets the signals, nothing is watched.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(reader, left, limit, clean_up), daemon=True).start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        writer.close()


def _watch(reader: socket.socket, left: threading.Event, limit: float, clean_up: Callable[[], None]) -> None:
    code, line = 2, f"Ray did not respond within {limit:.0f} s — is the machine very busy, or its memory full?"
    deadline = time.monotonic() + limit
    with reader:
        while (seconds := deadline - time.monotonic()) > 0:
            reader.settimeout(seconds)
            try:
                received = reader.recv(1)  # a signal's number, nothing at the end of the block
            except TimeoutError:
                break
            if not received:
                return
            if received[0] in (signal.SIGINT, signal.SIGTERM):
                code, line = 130, "interrupted while Ray was starting; the same command starts again"
                break
    if left.wait(GRACE):
        return
    clean_up()
    print(f"hwcls: {line}", file=sys.stderr, flush=True)
    os._exit(code)
