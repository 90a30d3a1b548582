"""Ray: started on this machine or joined by its address, quietly."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.node import Node

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.sweep.cluster.autoscaler import coming
from hwcls.sweep.cluster.resources import Machine, usable_cpus

PATIENCE = 10.0  # seconds for a cluster's head to answer
HEAD = "node:__internal_head__"  # a resource that Ray gives to the head alone
# the autoscaler, the reader of logs and the dashboard's server take half of the time in which Ray starts
UNUSED = ("start_monitor", "start_log_monitor", "start_api_server")


@contextmanager
def connected(address: str | None) -> Iterator[Machine]:
    """Ray for the length of the block; yields what the cluster has, and what its autoscaler may start.

    Raises:
        UserError: Nothing answers at `address`, or Ray does not start here.
    """
    secrets = [name for tracker in TRACKERS.all().values() for name in tracker.secrets]
    kept = {name: os.environ.pop(name) for name in secrets if name in os.environ}  # workers inherit the environment
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # hwcls says itself what failed
    joined = ray.is_initialized()  # a program that has started Ray itself keeps it
    try:
        if not joined:
            _start(address)
        yield machine() if address else Machine(present())
    finally:
        os.environ.update(kept)
        if not joined:
            ray.shutdown()


def _start(address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        _refuse_silent(address)
        try:
            ray.init(address=address, **quiet)
        except ray.exceptions.AuthenticationError:
            remedy = "copy ~/.ray/auth_token from the cluster's head"
            raise UserError(
                f"the cluster at '{address}' refuses the token that is here", where="--address", remedy=remedy
            ) from None
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster answers at '{address}' ({first_line(error)})",
                where="--address",
                remedy="check `ray status` there, or leave --address out to run on this machine",
            ) from None
        return
    for attempt in (1, 2):  # Ray waits 30 s for its own start, which a busy machine can miss once
        try:
            with _lean():
                ray.init(address="local", num_cpus=usable_cpus(), include_dashboard=False, **quiet)
            return
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            ray.shutdown()
            if attempt == 2:
                raise UserError(
                    f"Ray does not start: {first_line(error)}", remedy="is the machine very busy, or its memory full?"
                ) from None


def present() -> tuple[tuple[float, float], ...]:
    """The CPUs and GPUs of each node that is there."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)


def machine() -> Machine:
    """What the cluster has, and what its autoscaler may start, which only its head knows."""
    here = present()
    return Machine(here, coming(here) if on_head() else ())


def on_head() -> bool:
    """Whether this process runs on the cluster's head."""
    return HEAD in _own()["Resources"]


def home() -> str:
    """The resource that the driver's node alone has."""
    return HEAD if on_head() else f"node:{_own()['NodeManagerAddress']}"


def _own() -> dict[str, Any]:
    own = ray.get_runtime_context().get_node_id()
    return next(node for node in ray.nodes() if node["NodeID"] == own)


def _refuse_silent(address: str) -> None:
    """Raise UserError where nobody listens at host:port: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        remedy = "check `ray status` there, or leave --address out to run on this machine"
        what = f"no Ray cluster answers at '{address}' ({error.strerror or error})"
        raise UserError(what, where="--address", remedy=remedy) from None


@contextmanager
def _lean() -> Iterator[None]:
    """A Ray that starts in the block has none of the processes that a sweep on one machine does not use."""
    kept = {name: getattr(Node, name) for name in UNUSED if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def first_line(error: BaseException) -> str:
    """What an error says, in one line of 200 characters at most."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
