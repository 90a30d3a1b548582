"""Which nodes an autoscaler may start: the node types in the file that `ray up` leaves on the head."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

BOOTSTRAP = "ray_bootstrap_config.yaml"  # in the home folder of the head's user, autodetected resources included
Node = tuple[float, float]  # CPUs, GPUs


def startable_nodes(alive: tuple[Node, ...], path: Path | None = None) -> tuple[Node, ...]:
    """The nodes that the autoscaler may still start in addition to those `alive`, the largest first.

    Empty where there is no autoscaler, and where its file cannot be read.
    """
    try:
        config = _read_config(path)
        types, head, limit = config["available_node_types"], config["head_node_type"], int(config["max_workers"])
        workers = [_node_type(types[name]) for name in types if name != head]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    unmatched = Counter(alive)
    found: list[Node] = []
    for node, count in sorted(workers, key=lambda worker: (worker[0][1], worker[0][0]), reverse=True):
        running = min(unmatched[node], count)
        unmatched[node] -= running
        limit -= running
        found += [node] * (count - running)
    return tuple(found[: max(0, limit)])


def minimum_nodes(path: Path | None = None) -> int:
    """How many nodes, the head included, the cluster always has: it starts them by itself."""
    try:
        config = _read_config(path)
        types = config["available_node_types"].values()
        return 1 + max(int(config.get("min_workers", 0)), sum(int(kind.get("min_workers", 0)) for kind in types))
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0


def _read_config(path: Path | None) -> Any:
    try:
        return yaml.safe_load((path or Path.home() / BOOTSTRAP).read_text("utf-8"))
    except (OSError, yaml.YAMLError):
        return None


def _node_type(kind: dict[str, Any]) -> tuple[Node, int]:
    """The resources of a node type, and the maximum number of its nodes."""
    resources = kind.get("resources") or {}
    return (float(resources.get("CPU", 0)), float(resources.get("GPU", 0))), int(kind.get("max_workers", 0))
