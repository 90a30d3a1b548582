"""The network between the ranks of a training: where they meet, and which interface gloo and NCCL use."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from uuid import uuid4

SIOCGIFADDR = 0x8915  # of Linux: an interface's address
FILE = "file://"


def find_free_address(host: str = "127.0.0.1") -> str:
    """A host:port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def new_file_address(folder: Path) -> str:
    """The URL of a file of `folder` through which the ranks of one machine find each other."""
    return f"{FILE}{folder / uuid4().hex}"


def is_one_machine(address: str) -> bool:
    """Whether all ranks that meet at `address` run on this machine."""
    return address.startswith(FILE)


def choose_network(address: str) -> None:
    """Let gloo and NCCL use the network that leads to rank 0: they may choose one that other hosts do not have.

    On a single machine it is the loopback interface. What the user has set stays.
    """
    if sys.platform != "linux":
        return
    host, _, port = address.rpartition(":")
    own = "127.0.0.1" if is_one_machine(address) else _own_address(host, int(port))
    if name := _interface(own):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")  # without "=" it is a prefix: eth1 also means eth10


def _own_address(host: str, port: int) -> str:
    """This host's address on the network that leads to another one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def _interface(own: str) -> str | None:
    """The network interface that has the address `own`."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # one without an address
                if socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24]) == own:
                    return name
    return None
