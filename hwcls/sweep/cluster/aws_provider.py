"""Ray's provider for AWS, extended: a node type that AWS refuses is skipped for a while, so spot first, then on demand.

Ray 2.60's autoscaler tries node types last that were out of stock lately, but learns of it on Kubernetes alone: it
waits for ALLOCATION_TIMEOUT, while a refusal by RunInstances becomes ALLOCATION_FAILED. It would request spot machines
for ever. `cluster.yaml` names this class; Ray imports it where `ray up` runs, and in the autoscaler on the head.
"""

from __future__ import annotations

import time
from typing import Any

from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

from hwcls.sweep.cluster.ray_private import aws_node_provider, report_unavailable

_refused: dict[str, float] = {}  # node type: when AWS refused it last, until the autoscaler has read it


class SpotFirst(aws_node_provider()):  # type: ignore[misc]
    """After a refusal other node types come first for RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S, ten minutes."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Start machines; a refusal is recorded and raised again."""
        try:
            return dict(super().create_node(node_config, tags, count))
        except NodeLaunchException:
            _refused[tags[TAG_RAY_USER_NODE_TYPE]] = time.time()
            raise


report_unavailable(_refused)
