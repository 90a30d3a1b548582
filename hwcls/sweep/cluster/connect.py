"""Ray, started on this machine or joined by its address, without its own output."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.sweep.cluster.autoscaler import Node, startable_nodes
from hwcls.sweep.cluster.ray_private import minimal_processes
from hwcls.sweep.cluster.resources import Machine, usable_cpus

TIMEOUT = 10.0  # seconds for a cluster's head to respond
HEAD = "node:__internal_head__"  # a resource that Ray gives to the head alone


@contextmanager
def connected(address: str | None) -> Iterator[Machine]:
    """Connect to Ray while the block runs; yields the nodes, and those that the autoscaler may start.

    Raises:
        UserError: No cluster responds at `address`, or Ray does not start here.
    """
    secrets = [name for tracker in TRACKERS.all().values() for name in tracker.secrets]
    kept = {name: os.environ.pop(name) for name in secrets if name in os.environ}  # workers inherit the environment
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # hwcls reports failures itself
    joined = ray.is_initialized()  # a program that has started Ray itself keeps it
    try:
        if not joined:
            if address:
                _join(address)
            else:
                _start_local()
        yield cluster_machine() if address else Machine(alive_nodes())
    finally:
        os.environ.update(kept)
        if not joined:
            ray.shutdown()


def _join(address: str) -> None:
    _check_listening(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ray.exceptions.AuthenticationError:
        what, remedy = f"the cluster at '{address}' rejects the local token", "copy ~/.ray/auth_token from its head"
        raise UserError(what, where="--address", remedy=remedy) from None
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _unreachable(address, first_line(error)) from None


def _start_local() -> None:
    for attempt in (1, 2):  # Ray waits 30 s for its own start, which a busy machine can miss once
        try:
            with minimal_processes():
                quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
                ray.init(address="local", num_cpus=usable_cpus(), **quiet)
            return
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            ray.shutdown()
            if attempt == 2:
                what = f"Ray does not start: {first_line(error)}"
                raise UserError(what, remedy="is the machine very busy, or its memory full?") from None


def alive_nodes() -> tuple[Node, ...]:
    """The CPUs and GPUs of each live node."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)


def cluster_machine() -> Machine:
    """The cluster's nodes, and those that its autoscaler may start, which only its head knows."""
    nodes = alive_nodes()
    return Machine(nodes, startable_nodes(nodes) if on_head() else ())


def on_head() -> bool:
    """Whether this process runs on the cluster's head."""
    return HEAD in _own_node()["Resources"]


def driver_node_resource() -> str:
    """The resource that only the driver's node has."""
    return HEAD if on_head() else f"node:{_own_node()['NodeManagerAddress']}"


def _own_node() -> dict[str, Any]:
    own = ray.get_runtime_context().get_node_id()
    return next(node for node in ray.nodes() if node["NodeID"] == own)


def _check_listening(address: str) -> None:
    """Raise UserError where nothing listens at host:port: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=TIMEOUT).close()
    except OSError as error:
        raise _unreachable(address, str(error.strerror or error)) from None


def _unreachable(address: str, error: str) -> UserError:
    remedy = "check `ray status` there, or leave --address out to run on this machine"
    return UserError(f"no Ray cluster responds at '{address}' ({error})", where="--address", remedy=remedy)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, 200 characters at most."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
