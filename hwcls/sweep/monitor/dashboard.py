"""optuna-dashboard for a sweep's study."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend

from hwcls.errors import UserError, install_extra, wrong_folder
from hwcls.reading import damage_named

HOST = "127.0.0.1"  # the dashboard has no password


class ReadOnlyJournal(JournalFileBackend):
    """A sweep's journal to look at.

    optuna-dashboard renames and deletes studies, ends trials and writes notes, and the driver may be using the study.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        from bottle import HTTPError  # of optuna-dashboard, which shows its text

        raise HTTPError(403, "hwcls dashboard shows a sweep's study and does not change it")


def serve_dashboard(folder: Path, port: int) -> None:
    """Serve the study of a results folder on the loopback interface until interrupted.

    Raises:
        UserError: optuna-dashboard is not installed, there is no study, or the port is taken.
    """
    try:
        from optuna_dashboard import run_server
    except ImportError:
        remedy = install_extra("dashboard")
        raise UserError("optuna-dashboard is not installed", where="hwcls dashboard", remedy=remedy) from None
    journal = folder / "study.journal"
    if not journal.is_file():
        raise wrong_folder(folder, "no study.journal here", "pass a sweep's results folder")
    try:
        socket.create_server((HOST, port)).close()  # the server prints its address before it opens it
    except OSError as error:
        remedy = "choose another one with --port"
        raise UserError(f"port {port} cannot be opened ({error.strerror})", where="--port", remedy=remedy) from None
    with damage_named(journal):
        storage = optuna.storages.JournalStorage(ReadOnlyJournal(str(journal)))
    run_server(storage, host=HOST, port=port)
