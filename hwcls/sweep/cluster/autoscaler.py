"""What an autoscaled cluster can grow to: the node types of the file that `ray up` has left on the head."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

BOOTSTRAP = "ray_bootstrap_config.yaml"  # in the home folder of the head's user, autodetected resources included


def coming(alive: tuple[tuple[float, float], ...], path: Path | None = None) -> tuple[tuple[float, float], ...]:
    """The nodes, each (CPUs, GPUs), that the autoscaler may still start beside those `alive`, the largest first.

    Empty where there is no autoscaler, and where its file cannot be read.
    """
    try:
        config = _read(path)
        types, head, most = config["available_node_types"], config["head_node_type"], int(config["max_workers"])
        workers = [_worker(types[name]) for name in types if name != head]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    here = Counter(alive)
    found: list[tuple[float, float]] = []
    for node, count in sorted(workers, key=lambda worker: (worker[0][1], worker[0][0]), reverse=True):
        running = min(here[node], count)
        here[node] -= running
        most -= running
        found += [node] * (count - running)
    return tuple(found[: max(0, most)])


def promised(path: Path | None = None) -> int:
    """How many nodes, the head among them, the cluster is to have in any case: it starts them by itself."""
    try:
        config = _read(path)
        types = config["available_node_types"].values()
        return 1 + max(int(config.get("min_workers", 0)), sum(int(kind.get("min_workers", 0)) for kind in types))
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0


def _read(path: Path | None) -> Any:
    try:
        return yaml.safe_load((path or Path.home() / BOOTSTRAP).read_text("utf-8"))
    except (OSError, yaml.YAMLError):
        return None


def _worker(kind: dict[str, Any]) -> tuple[tuple[float, float], int]:
    """What a node of a type has, and how many of them there can be."""
    resources = kind.get("resources") or {}
    return (float(resources.get("CPU", 0)), float(resources.get("GPU", 0))), int(kind.get("max_workers", 0))
