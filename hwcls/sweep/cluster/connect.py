"""Ray, started on this machine or joined by its address, without its own output."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.escape import hide_credentials
from hwcls.sweep.cluster.autoscaler import Node, startable_nodes
from hwcls.sweep.cluster.local_node import LocalNode, NodeError
from hwcls.sweep.cluster.prompt_exit import exits_promptly
from hwcls.sweep.cluster.ray_private import joining_node, own_signal_handlers, reload_authentication
from hwcls.sweep.cluster.resources import Machine, usable_cpus

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds for a cluster's head to respond
START_SECONDS = 60.0  # for Ray's processes to start here, and again to be joined; 2 s on a quiet machine
SLOW = 10.0  # seconds after which a log line reports that Ray is still starting
CLUSTER_SECONDS = 300.0  # for a cluster to be joined, whose head may be starting
HEAD = "node:__internal_head__"  # a resource that Ray gives to the head alone
FOREIGN = (  # of a cluster or one of its jobs: not for a Ray of this machine
    *("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
    *("RAY_ADDRESS", "RAY_REDIS_ADDRESS", "RAY_GCS_SERVER_PORT", "RAY_JOB_CONFIG_JSON_ENV_VAR"),
)
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


@contextmanager
def connected(address: str | None) -> Iterator[Machine]:
    """Connect to Ray while the block runs; yields the nodes, and those that the autoscaler may start.

    Raises:
        UserError: No cluster responds at `address`, or Ray does not start here.
    """
    secrets = [name for tracker in TRACKERS.all().values() for name in tracker.secrets]
    kept = {name: os.environ.pop(name) for name in secrets if name in os.environ}  # workers inherit the environment
    tune = logging.getLogger("ray.tune")
    level = tune.level
    tune.setLevel(logging.CRITICAL)  # hwcls reports failures itself
    try:
        with nullcontext() if _ray_runs() else _joined(address) if address else local_ray(usable_cpus()):
            yield cluster_machine() if address else Machine(alive_nodes())
    finally:
        os.environ.update(kept)
        tune.setLevel(level)


def _ray_runs() -> bool:
    """Whether this process is connected to a Ray: a program's own stays as it is."""
    is_initialized = getattr(sys.modules.get("ray"), "is_initialized", None)
    return is_initialized is not None and bool(is_initialized())


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """Join a cluster while the block runs."""
    import ray

    _check_listening(address)
    try:
        with own_signal_handlers(), exits_promptly(CLUSTER_SECONDS):
            ray.init(address=address, **QUIET)
    except ray.exceptions.AuthenticationError:
        what, remedy = f"the cluster at '{address}' rejects the local token", "copy ~/.ray/auth_token from its head"
        raise UserError(what, where="--address", remedy=remedy) from None
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _unreachable(address, first_line(error)) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """A Ray of `cpus` CPUs on this machine's loopback interface while the block runs.

    Raises:
        UserError: It did not start in two tries.
    """
    before = {name: os.environ.pop(name, None) for name in FOREIGN}
    try:
        node = _start_local(cpus)
        try:
            yield
        finally:
            _end_local(node)
    finally:
        os.environ.update({name: value for name, value in before.items() if value is not None})
        if "ray._raylet" in sys.modules:
            reload_authentication()


def _start_local(cpus: int) -> LocalNode:
    for attempt in (1, 2):  # a busy machine can miss Ray's deadlines once
        node = LocalNode(cpus)  # starts while this process imports Ray
        try:
            with _logged_when_slow():
                _join_local(node)
            return node
        except BaseException as error:
            _end_local(node)
            if not isinstance(error, NodeError | ConnectionError | RuntimeError | TimeoutError):
                raise
            if attempt == 2:
                what = f"Ray does not start: {first_line(error)}"
                raise UserError(what, remedy="is the machine very busy, or its memory full?") from None
            log.warning("Ray did not start: %s; trying once more", first_line(error))
    raise AssertionError("the second try returns or raises")


@contextmanager
def _logged_when_slow() -> Iterator[None]:
    """Log one line where the block takes long."""
    timer = threading.Timer(SLOW, log.info, ("Ray is starting; this machine is busy",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _join_local(node: LocalNode) -> None:
    """Join a Ray of this machine, once it runs."""
    with exits_promptly(START_SECONDS):  # half an import would be in the way of what follows
        import ray

    address, node_id = node.wait(START_SECONDS)
    os.environ.update(node.authentication)
    reload_authentication()
    with joining_node(node_id), own_signal_handlers(), exits_promptly(START_SECONDS):
        ray.init(address=address, _skip_env_hook=True, **QUIET)


def _end_local(node: LocalNode) -> None:
    if _ray_runs():
        import ray

        ray.shutdown()
    node.stop()
    for name in node.authentication:
        os.environ.pop(name, None)


def alive_nodes() -> tuple[Node, ...]:
    """The CPUs and GPUs of each live node."""
    import ray

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
    import ray

    own = ray.get_runtime_context().get_node_id()
    return next(node for node in ray.nodes() if node["NodeID"] == own)


def _check_listening(address: str) -> None:
    """Raise UserError where nothing listens at host:port, or it has a scheme: Ray itself would wait for minutes."""
    if "://" in address:
        what = f"'{address}' is not host:port of a cluster, on one of whose machines a sweep runs"
        raise UserError(what, where="--address", remedy="on its head pass --address auto; from outside, hwcls submit")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=TIMEOUT).close()
    except OSError as error:
        raise _unreachable(address, str(error.strerror or error)) from None


def _unreachable(address: str, error: str) -> UserError:
    remedy = f"check `{ray_command('status')}` there, or leave --address out to run on this machine"
    return UserError(f"no Ray cluster responds at '{address}' ({error})", where="--address", remedy=remedy)


def ray_command(*words: str) -> str:
    """A command of Ray's own for the shell, without passwords of its addresses.

    Unlike hwcls it sends the token only where a variable asks for it.
    """
    token = "RAY_AUTH_MODE=token " if os.environ.get("RAY_AUTH_MODE") == "token" else ""
    return f"{token}{shlex.join(['ray', *map(hide_credentials, words)])}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, 200 characters at most, without keys of its URLs."""
    lines = hide_credentials(str(error)).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
