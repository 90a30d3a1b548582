"""Ray's private API is as it was in the release that hwcls was written for."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
import ray

from hwcls.sweep.cluster import ray_private

USED = [  # function of ray_private.py, module of Ray, attribute
    *(("start_node", "ray._private.node", f"Node.{name}") for name in ray_private.UNUSED_PROCESSES),
    ("start_node", "ray._common.utils", "try_make_directory_shared"),
    ("start_node", "ray._private.parameter", "RayParams"),
    ("run_worker", "ray._private.workers", "__path__"),
    *(("_change_raylet", "ray._private.services", name) for name in ("start_ray_process", "start_raylet")),
    ("_change_raylet", "ray._private.utils", "get_dashboard_dependency_error"),
    ("_change_raylet", "ray._raylet", "persist_port"),
    *(("joining_node", "ray._private.services", name) for name in ("find_node_ids", "resolve_ip_for_localhost")),
    ("own_signal_handlers", "ray._private.utils", "set_sigterm_handler"),
    ("reload_authentication", "ray._raylet", "AuthenticationTokenLoader.reset_cache"),
    ("reload_authentication", "ray._raylet", "Config.initialize"),
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


def test_the_raylet_takes_the_commands_and_ports_of_its_agents():
    services = importlib.import_module("ray._private.services")
    source = inspect.getsource(services.start_raylet)
    assert all(f"--{flag}=" in source for flag in (*ray_private.AGENTS, "session_dir", "node_id"))
    assert "--num_prestart_python_workers=" in source
    raylet = importlib.import_module("ray._raylet")
    names = {getattr(raylet, name) for name in dir(raylet) if name.endswith("AGENT_PORT_NAME")}
    names |= {raylet.METRICS_EXPORT_PORT_NAME, raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME}
    assert names == {f"{name}_port" for name in ray_private.AGENT_PORTS}


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
