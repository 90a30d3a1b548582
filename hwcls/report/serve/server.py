"""The HTTP server: it listens on the loopback interface, and serves the list of sweeps and their pages alone."""

from __future__ import annotations

import io
import logging
import os
import shutil
import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from hwcls.errors import UserError
from hwcls.report.serve.index import PAGES, SCRIPT_HASH, render_index, render_list
from hwcls.report.serve.library import Library
from hwcls.report.serve.listen import HOST
from hwcls.temporary import temporary_folder

log = logging.getLogger(__name__)

NAMES = (HOST, "localhost")  # in the header Host: another name is that of a site which resolves to this machine
SECONDS = 30  # that a client may take for its request, or to take the answer
HTML = "text/html; charset=utf-8"
NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LIST_POLICY = f"{NOTHING_ELSE}; style-src 'unsafe-inline'; script-src {SCRIPT_HASH}; connect-src 'self'; img-src data:"
# a page may come from elsewhere with its results: in its sandbox it can read nothing else of this server
PAGE_POLICY = (
    f"{NOTHING_ELSE}; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "sandbox allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"
)


@contextmanager
def serve(folder: Path, listening: socket.socket) -> Iterator[Server]:
    """A server of the sweeps in a folder, on a socket that listens; its own files are removed after the block."""
    with temporary_folder() as pages, Server(Library(folder, pages), listening) as server:
        yield server


class Server(socketserver.ThreadingTCPServer):
    """Serves a library on a socket that listens already; each request has its thread."""

    daemon_threads = True

    def __init__(self, library: Library, listening: socket.socket) -> None:
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.library = listening, library

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error; of others there is one line in the log."""
        log.debug("a request failed", exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; paths are looked up among the names of sweeps, and never reach the file system."""

    server: Server
    timeout = SECONDS
    server_version, sys_version = "hwcls", ""

    def do_GET(self) -> None:
        """The list, its changing part, or the page of a sweep."""
        if not self._is_addressed():
            self._send_text(HTTPStatus.MISDIRECTED_REQUEST, f"This server is {HOST} alone.")
            return
        path = self.path.partition("?")[0]
        if path == "/":
            library = self.server.library
            self._send_html(render_index(str(library.folder), library.list_sweeps()))
        elif path == "/sweeps":
            self._send_html(render_list(self.server.library.list_sweeps()))
        elif path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, {})
        elif path.startswith(PAGES):
            self._send_page(os.fsdecode(unquote_to_bytes(path[len(PAGES) :])))
        else:
            self._send_text(HTTPStatus.NOT_FOUND, "There is no such page.")

    do_HEAD = do_GET  # `_send` leaves the body out

    def _refuse(self) -> None:
        self._send_text(HTTPStatus.METHOD_NOT_ALLOWED, "This server is read-only.", Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _is_addressed(self) -> bool:
        """Whether the browser knows this server by a name of this machine; through a tunnel its port is another."""
        name, _, port = self.headers.get("Host", "").partition(":")
        return name.lower() in NAMES and (port.isdecimal() or not port)

    def _send_page(self, name: str) -> None:
        try:
            page = self.server.library.find_page(name)
        except Exception as error:  # of damaged results
            log.debug("no page of %s", name, exc_info=True)
            reason = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self._send_text(HTTPStatus.INTERNAL_SERVER_ERROR, f"The page cannot be made: {reason}")
            return
        if page is None:
            self._send_text(HTTPStatus.NOT_FOUND, "There is no such sweep.")
            return
        with open(page, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            headers = {"Content-Type": HTML, "Content-Length": str(size), "Content-Security-Policy": PAGE_POLICY}
            self._send(HTTPStatus.OK, headers, file)

    def _send_html(self, text: str) -> None:
        self._send_body(HTTPStatus.OK, text, {"Content-Type": HTML, "Content-Security-Policy": LIST_POLICY})

    def _send_text(self, status: HTTPStatus, text: str, **headers: str) -> None:
        policy = {"Content-Type": "text/plain; charset=utf-8", "Content-Security-Policy": NOTHING_ELSE}
        self._send_body(status, f"{text}\n", policy | headers)

    def _send_body(self, status: HTTPStatus, text: str, headers: dict[str, str]) -> None:
        content = text.encode("utf-8", "backslashreplace")
        self._send(status, headers | {"Content-Length": str(len(content))}, io.BytesIO(content))

    def _send(self, status: HTTPStatus, headers: dict[str, str], body: BinaryIO | None = None) -> None:
        self.send_response(status)
        common = {
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in (common | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if body is not None and self.command != "HEAD":
            shutil.copyfileobj(body, self.wfile)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged."""
        log.debug(format, *arguments)
