"""Defers signals while code runs that they must not interrupt, and ends the process soon where it does not return."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

GRACE = 3.0  # seconds that the block may take after a signal
DEFERRED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def exits_promptly(limit: float) -> Iterator[None]:
    """SIGINT and SIGTERM act at the end of the block; if it does not end, the process does, as after `limit` seconds.

    An exception within Ray's C++ code gets lost, and that code may wait for a minute. Nothing is done elsewhere than
    in the main thread, which gets the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    # a shell's `&` ignores SIGINT
    handled = [each for each in DEFERRED if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, lambda number, _: received.append(number)) for each in handled}
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    outer_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(reader, ended, limit, outer_fd), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(outer_fd)
        ended.set()
        writer.close()
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in received[:1]:
        signal.raise_signal(number)


def _watch(reader: socket.socket, ended: threading.Event, limit: float, outer_fd: int) -> None:
    code, line = 2, f"Ray did not respond within {limit:.0f} s — is the machine very busy, or its memory full?"
    deadline = time.monotonic() + limit
    with reader:
        while (seconds := deadline - time.monotonic()) > 0:
            reader.settimeout(seconds)
            try:
                number = reader.recv(1)  # of a signal; nothing at the end of the block
            except TimeoutError:
                break
            if not number:
                return
            if outer_fd != -1:
                os.write(outer_fd, number)  # wakes up what waits for signals outside of the block
            if number[0] in DEFERRED:
                code, line = 130, "interrupted while Ray was starting; the same command starts again"
                break
        if not ended.wait(GRACE):  # with the reader open: further signals are written to it
            print(f"hwcls: {line}", file=sys.stderr, flush=True)
            os._exit(code)
