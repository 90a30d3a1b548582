"""Ray's private API is as it was in the release that hwcls was written for."""

import ast
import importlib
from pathlib import Path

import pytest
import ray

from hwcls.sweep.cluster import ray_private

USED = [  # function of ray_private.py, module of Ray, attribute
    *(("minimal_processes", "ray._private.node", f"Node.{name}") for name in ray_private.UNUSED_PROCESSES),
    ("draining_nodes", "ray._private.state", "state.get_draining_nodes"),
    ("drain_node", "ray._raylet", "GcsClient"),
    ("drain_node", "ray.core.generated.autoscaler_pb2", "DRAIN_NODE_REASON_PREEMPTION"),
    ("was_preempted", "ray.core.generated.common_pb2", "NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED"),
    ("was_idle", "ray.core.generated.common_pb2", "NodeDeathInfo.AUTOSCALER_DRAIN_IDLE"),
    ("aws_node_provider", "ray.autoscaler._private.aws.node_provider", "AWSNodeProvider.create_node"),
    (
        "report_unavailable",
        "ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor",
        "CloudResourceMonitor.get_recoverable_resource_availabilities",
    ),
]


def test_ray_is_the_release_that_it_was_written_for():
    assert ray.__version__.startswith(f"{ray_private.WRITTEN_FOR}."), (
        f"hwcls/sweep/cluster/ray_private.py was written for Ray {ray_private.WRITTEN_FOR}, {ray.__version__} is"
        " installed: check each of its functions and the slow tests of tests/sweep/cluster, then change WRITTEN_FOR"
    )


@pytest.mark.parametrize(("function", "module", "attribute"), USED, ids=[f"{f}-{a}" for f, _, a in USED])
def test_ray_has_what_is_used_of_it(function, module, attribute):
    if ".aws." in module:
        pytest.importorskip("boto3")
    assert hasattr(ray_private, function)
    message = f"Ray {ray.__version__} has no {module}: {attribute}, which ray_private.{function} uses"
    try:
        found = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        pytest.fail(message)


def test_the_monitor_keeps_its_times_under_that_name():
    module = importlib.import_module("ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor")
    assert module.CloudResourceMonitor()._last_unavailable_timestamp == {}


def test_no_other_file_uses_it():
    package = Path(ray_private.__file__).parents[2]
    for path in package.rglob("*.py"):
        if path.name == "ray_private.py":
            continue
        tree = ast.walk(ast.parse(path.read_text("utf-8")))
        modules = [node.module or "" for node in tree if isinstance(node, ast.ImportFrom)]
        private = [name for name in modules if name.startswith("ray.") and ("._" in name or ".generated" in name)]
        assert private == [], path
