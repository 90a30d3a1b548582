"""The socket of the server, on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from hwcls.errors import UserError

HOST = "127.0.0.1"  # there is no password
DEFAULT_PORT = 8010


def listen(port: int) -> socket.socket:
    """A socket on a port, 0 for any free one. Raises UserError if it cannot be opened."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        remedy = "choose another one with --port, or any free one with --port 0"
        raise UserError(f"port {port} cannot be opened ({error.strerror})", where="--port", remedy=remedy) from None


def listen_on_any(ports: Iterable[int]) -> socket.socket:
    """A socket on the first of these ports that is free, else on any other."""
    for port in ports:
        try:
            return listen(port)
        except UserError:
            continue
    return listen(0)


def address(listening: socket.socket) -> str:
    """The address of the list, for a browser."""
    return f"http://{HOST}:{listening.getsockname()[1]}/"
