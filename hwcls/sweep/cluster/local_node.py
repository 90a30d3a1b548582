"""Ray on this machine: a process of its own starts and holds it, so that its start can be interrupted and repeated.

Run as `python -m hwcls.sweep.cluster.local_node FOLDER --cpus N`. It prints a line of JSON, the address or an error.
When its standard input closes, which also happens when the driver is killed, it ends Ray and removes the folder.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hwcls.sweep.cluster.ray_private import SOCKET, start_node
from hwcls.temporary import SOCKET_LIMIT, TemporaryFolder, open_folder

log = logging.getLogger(__name__)

# -P: a file of the working folder, such as token.py, is no module of Python
MODULE = ("-P", "-m", "hwcls.sweep.cluster.local_node")
SHOW_CURSOR = "\x1b[?25h"
TOKEN = "token"  # the name of its file
POLL_SECONDS = 0.5
END_SECONDS = 10.0  # for Ray to end
LONGEST_FOLDER = SOCKET_LIMIT - len(SOCKET)


class NodeError(Exception):
    """Ray did not start, or has ended; one line."""


class LocalNode:
    """The driver's handle on a Ray of this machine.

    Args:
        cpus: That it may use.
    """

    def __init__(self, cpus: int) -> None:
        self.folder: TemporaryFolder = open_folder(LONGEST_FOLDER)
        self.stopping = False
        self.watcher: threading.Thread | None = None
        token = self.folder.path / TOKEN
        with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        self.authentication = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}  # of all that connect
        with open(self.folder.path / "start.log", "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *MODULE, str(self.folder.path), "--cpus", str(cpus)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **self.authentication},
                pass_fds=(self.folder.descriptor,),
                start_new_session=True,  # Ctrl-C is for the driver, which then ends this process
            )

    def wait(self, seconds: float) -> tuple[str, str]:
        """Wait until it runs; its address and the id of its node.

        Raises:
            NodeError: It does not start, or not in time.
        """
        assert self.process.stdout is not None, "started with a pipe"
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not readable:
            raise NodeError(f"it was not ready after {seconds:.0f} s")
        try:
            answer = json.loads(self.process.stdout.readline())
        except ValueError:
            raise NodeError(self._last_line() or f"its process ended with {self.process.wait()}") from None
        if "error" in answer:
            raise NodeError(answer["error"])
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()
        return answer["address"], answer["node"]

    def _watch(self) -> None:
        """End this process as soon as Ray has ended by itself: its calls to Ray would wait in vain."""
        assert self.process.stdout is not None, "started with a pipe"
        try:
            reason = json.loads(self.process.stdout.readline())["error"]
        except ValueError:  # nothing: its process was killed
            reason = "its process was killed"
        if self.stopping:
            return
        log.debug("Ray has ended: %s", reason)
        cursor = SHOW_CURSOR if sys.stderr.isatty() else ""  # which a live table hides
        print(f"{cursor}hwcls: Ray has ended: {reason} — the same command resumes", file=sys.stderr, flush=True)
        os._exit(1)

    def stop(self, seconds: float = END_SECONDS) -> None:
        """End Ray and remove its folder."""
        assert self.process.stdin is not None, "started with a pipe"
        assert self.process.stdout is not None, "started with a pipe"
        self.stopping = True
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.watcher is not None:
            self.watcher.join()
        self.process.stdout.close()
        self.folder.remove()

    def _last_line(self) -> str:
        lines = (self.folder.path / "start.log").read_text("utf-8", errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else ""


def hold_node(folder: Path, cpus: int) -> None:
    """Start Ray, print its address, and end it when standard input closes or one of its processes has ended."""
    try:
        node = start_node(folder, cpus)
    except Exception as error:  # Ray raises bare ones
        _print(error=_describe(error, folder))
        return
    try:
        _print(address=node.address, node=node.node_id)
        while not _input_closes(POLL_SECONDS):
            if dead := node.dead_processes():
                _print(error=", ".join(f"{kind} ended" for kind, _ in dead))
                return
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=True)


def _describe(error: Exception, folder: Path) -> str:
    """The first line of Ray's error, and the last of what its processes wrote."""
    lines = str(error).strip().splitlines()[:1] or [type(error).__name__]
    for name in ("gcs_server.err", "raylet.err"):
        with suppress(OSError):
            text = (folder / "ray" / "logs" / name).read_text("utf-8", errors="replace")
            lines += [line for line in text.splitlines() if " C " in line or " E " in line][-1:]
    return "; ".join(line.strip()[:200] for line in lines)


def _print(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def _input_closes(seconds: float) -> bool:
    """Wait for so long; True once standard input has ended."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpus", type=int, required=True)
    options = parser.parse_args()
    try:
        hold_node(options.folder, options.cpus)
    finally:
        time.sleep(0.05)  # workers see the raylet's end and write their last lines
        shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
