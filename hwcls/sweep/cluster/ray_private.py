"""Everything that hwcls uses of Ray's private API, in one place: check it when Ray is upgraded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WRITTEN_FOR = "2.60"  # the Ray release; tests/sweep/cluster/test_ray_private.py compares it with the installed one
# processes that a sweep on one machine does not need: the autoscaler, the log reader and the dashboard's server take
# half of the time in which Ray starts
UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")


@contextmanager
def minimal_processes() -> Iterator[None]:
    """A local Ray that starts in the block leaves out UNUSED_PROCESSES."""
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in UNUSED_PROCESSES if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


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
