"""Everything that hwcls uses of Ray's private API, in one place: check it when Ray is upgraded."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

WRITTEN_FOR = "2.60"  # the Ray release; tests/sweep/cluster/test_ray_private.py compares it with the installed one
LOOPBACK = "127.0.0.1"
UMASK = "HWCLS_UMASK"  # the variable with the driver's, for the workers
NO_PORT = -1  # of an agent that does not run, as in a Ray without the dashboard
# processes that a sweep on one machine does not need
UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")
AGENTS = ("dashboard_agent_command", "runtime_env_agent_command")
AGENT_PORTS = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")
SESSION = "ray"  # the name of the session, and of its folder
SOCKET = f"/{SESSION}/sockets/plasma_store.1"  # the longest path of a socket in the node's folder


def start_node(folder: Path, cpus: int) -> Any:
    """Start GCS and raylet, on the loopback interface alone; returns Ray's Node once the raylet is registered.

    The autoscaler, the log reader, the dashboard and its agents stay out: with them Ray listens on every interface,
    and takes seconds longer to start.

    Args:
        folder: For the session, its sockets and logs.
        cpus: That tasks may use.

    Raises:
        Exception: Ray's own, when the node does not start.
    """
    import ray._common.utils as utils
    import ray._private.node as node
    from ray._private.parameter import RayParams

    for name in UNUSED_PROCESSES:
        setattr(node.Node, name, lambda *_, **__: None)
    utils.try_make_directory_shared = lambda path: None  # it gives a folder mode 0777, whatever the umask
    os.environ[UMASK] = str(os.umask(0o077))  # of the workers, who write results
    _change_raylet()
    params = RayParams(
        node_ip_address=LOOPBACK,
        num_cpus=cpus,
        temp_dir=str(folder),
        session_name=SESSION,
        worker_path=_file_of("hwcls.sweep.cluster.local_worker"),
        dashboard_agent_listen_port=0,
    )
    return node.Node(params, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True)


def run_worker() -> None:
    """Be a worker of `start_node`, with the driver's umask."""
    import ray._common.utils as utils

    utils.try_make_directory_shared = lambda path: None
    os.umask(int(os.environ[UMASK]))
    worker = _file_of("ray._private.workers.default_worker")
    sys.path[0] = str(Path(worker).parent)  # as if it had been run as a file
    runpy.run_path(worker, run_name="__main__")


def _change_raylet() -> None:
    """Have the raylet start a process that does nothing instead of each of its agents, which report no port.

    It also starts a worker for each trial's supervisor at once, and not for the ranks alone.
    """
    from ray._private import services, utils
    from ray._raylet import persist_port  # type: ignore[attr-defined]

    start = services.start_ray_process
    agent = subprocess.list2cmdline([sys.executable, "-I", "-S", _file_of("hwcls.sweep.cluster.idle_agent")])

    def start_process(command: list[str], kind: str, *arguments: Any, **options: Any) -> Any:
        if kind == "raylet":
            flags = dict(word.removeprefix("--").split("=", 1) for word in command[1:] if "=" in word)
            for port in AGENT_PORTS:
                persist_port(flags["session_dir"], flags["node_id"], f"{port}_port", NO_PORT)
            flags |= dict.fromkeys(AGENTS, agent)
            flags["num_prestart_python_workers"] = str(2 * int(flags["num_prestart_python_workers"]))
            others = [word for word in command[1:] if "=" not in word]
            command = [command[0], *(f"--{name}={value}" for name, value in flags.items()), *others]
        return start(command, kind, *arguments, **options)

    services.start_ray_process = start_process
    utils.get_dashboard_dependency_error = lambda: None  # it imports the dashboard to find out


def _file_of(module: str) -> str:
    """The file of a module that another process runs as a file."""
    spec = find_spec(module)
    assert spec is not None, f"no module {module}"
    return str(spec.origin)


@contextmanager
def joining_node(node_id: str) -> Iterator[None]:
    """`ray.init` in the block joins this node of the loopback interface, without a search among all processes."""
    from ray._private import services

    with _replaced(services, find_node_ids=lambda: {node_id}, resolve_ip_for_localhost=lambda host: host):
        yield


@contextmanager
def own_signal_handlers() -> Iterator[None]:
    """`ray.init` in the block leaves the handler of SIGTERM as it is."""
    from ray._private import utils

    with _replaced(utils, set_sigterm_handler=lambda handler: None):
        yield


@contextmanager
def _replaced(module: Any, **functions: Any) -> Iterator[None]:
    kept = {name: getattr(module, name) for name in functions}
    for name, function in functions.items():
        setattr(module, name, function)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(module, name, function)


def reload_authentication() -> None:
    """Have Ray read RAY_AUTH_MODE and the token again, which it keeps from the first look."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def draining_nodes() -> set[str]:
    """The ids of nodes that are about to be removed: a spot instance with its notice, or one that a user drains."""
    from ray._private.state import state

    return set(state.get_draining_nodes())


def drain_node(node: str, deadline: float) -> None:
    """Announce that a node is removed at `deadline` (seconds since 1970): nothing new is placed on it."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = GcsClient(address=ray.get_runtime_context().gcs_address)
    client.drain_node(node, reason, "spot instance notice", int(deadline * 1000))


def was_preempted(node: dict[str, Any]) -> bool:
    """Whether a dead node of `ray.nodes()` had been drained for a spot notice."""
    from ray.core.generated.common_pb2 import NodeDeathInfo

    return bool(node.get("DeathReason") == NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED)


def was_idle(node: dict[str, Any]) -> bool:
    """Whether the autoscaler removed a dead node of `ray.nodes()` because nothing ran on it."""
    from ray.core.generated.common_pb2 import NodeDeathInfo

    return bool(node.get("DeathReason") == NodeDeathInfo.AUTOSCALER_DRAIN_IDLE)


def aws_node_provider() -> Any:
    """The class of Ray's provider for AWS; needs boto3."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    return AWSNodeProvider


def report_unavailable(refused: dict[str, float]) -> None:
    """Have the autoscaler, in whose process this runs, treat node types as out of stock.

    Args:
        refused: When each node type was refused last (seconds since 1970); emptied whenever the autoscaler looks.
    """
    from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor

    available = CloudResourceMonitor.get_recoverable_resource_availabilities

    def with_refused(monitor: CloudResourceMonitor) -> dict[str, float]:
        while refused:
            kind, when = refused.popitem()
            monitor._last_unavailable_timestamp[kind] = when
        return dict(available(monitor))

    CloudResourceMonitor.get_recoverable_resource_availabilities = with_refused
