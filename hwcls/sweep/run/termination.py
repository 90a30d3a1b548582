"""SIGTERM: running trials are saved before the sweep is interrupted."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

GRACE = 20.0  # seconds that SIGTERM leaves for the end of an epoch and a checkpoint: SLURM and Kubernetes kill after 30


class Termination:
    """Handles SIGTERM, which batch schedulers and shutdowns send: saves the running trials, then acts as Ctrl-C."""

    def __init__(self) -> None:
        self.leave: Callable[[Callable[[], None]], None] = lambda now: now()
        self.timer = threading.Timer(GRACE, self._interrupt)

    def _terminate(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._interrupt)  # the second time it does not wait
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts `hwcls sweep ... &` like that
            signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=log.debug, args=("SIGTERM: saving the running trials",), daemon=True).start()
        self.timer.daemon = True
        self.timer.start()
        self.leave(self._interrupt)

    def _interrupt(self, *_: object) -> None:
        self.timer.cancel()
        os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> Termination:
        self.old: Any = None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in the jobs that it starts
        if threading.current_thread() is threading.main_thread():
            self.old = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *exception: object) -> None:
        self.timer.cancel()
        if self.old is not None:
            signal.signal(signal.SIGTERM, self.old)
