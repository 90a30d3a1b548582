"""Ray's provider for AWS, where a node type that AWS refuses is passed over for a while: spot first, then on demand.

Ray 2.60's autoscaler puts node types last that were missing lately, but hears of it on Kubernetes alone: it waits for
ALLOCATION_TIMEOUT, and what RunInstances refuses becomes ALLOCATION_FAILED. It would ask for spot machines for ever.
`cluster.yaml` names this class; Ray imports it where `ray up` is typed, and in the autoscaler on the head.
"""

from __future__ import annotations

import time
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor

_refused: dict[str, float] = {}  # node type: when AWS last refused it, until the monitor has been told


class SpotFirst(AWSNodeProvider):  # type: ignore[misc]
    """After a refusal the other types come first, for RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S: ten minutes."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Start machines; what AWS refuses is raised as ever, and remembered."""
        try:
            return dict(super().create_node(node_config, tags, count))
        except NodeLaunchException:
            _refused[tags[TAG_RAY_USER_NODE_TYPE]] = time.time()
            raise


_recovered = CloudResourceMonitor.get_recoverable_resource_availabilities


def _told(monitor: CloudResourceMonitor) -> dict[str, float]:
    while _refused:
        kind, when = _refused.popitem()
        monitor._last_unavailable_timestamp[kind] = when
    return dict(_recovered(monitor))


CloudResourceMonitor.get_recoverable_resource_availabilities = _told
