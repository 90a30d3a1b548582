"""A cluster that starts with no worker: the autoscaler brings them when trials wait, and takes them away afterwards."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hwcls.sweep.cluster import spot_notice
from tests.sweep.faults import Disturbed

HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"  # the id that Ray's stand-in gives to the head
CONFIG = {
    "cluster_name": "growing",
    "max_workers": 2,
    "idle_timeout_minutes": 0.1,
    "upscaling_speed": 2,
    "auth": {"ssh_user": "nobody"},
    **{f"{part}commands": [] for part in ("initialization_", "setup_", "head_setup_", "worker_setup_")},
    **{f"{part}_start_ray_commands": [] for part in ("head", "worker")},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "small": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
}
COUNT = "import ray; ray.init('{}', log_to_driver=False); print('alive', sum(node['Alive'] for node in ray.nodes()))"


@contextmanager
def growing(folder: Path):
    """Such a cluster's address and the environment of those who use it."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    import ray

    address = f"{ray.util.get_node_ip_address()}:{port}"
    module = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    provider = {
        "type": "external",
        "module": module,
        "head_node_id": HEAD,
        "launch_multiple": True,
        "gcs_address": address,
    }
    config = folder / "ray_bootstrap_config.yaml"  # where `ray up` leaves it: in the home folder
    config.write_text(json.dumps({**CONFIG, "provider": provider}))
    environment = {**os.environ, "HOME": str(folder), "RAY_AUTH_MODE": "disabled", "HWCLS_CACHE": str(folder / "cache")}
    fakes = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
    fakes |= {"RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=0", "--num-gpus=0", "--include-dashboard=false", "--disable-usage-stats"]
    command += [f"--autoscaling-config={config}", f"--temp-dir={folder / 'ray'}"]
    with open(folder / "head.log", "wb") as log:
        head = subprocess.Popen(command, env={**environment, **fakes}, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while "Ray runtime started" not in (folder / "head.log").read_text():
            assert time.monotonic() < until, (folder / "head.log").read_text()
            time.sleep(0.2)
        yield address, environment
    finally:
        head.terminate()
        head.wait(60)


@pytest.fixture
def short_folder():
    """A folder with a short path, as Ray's sockets want it: pytest's own has the name of the worker in it."""
    with tempfile.TemporaryDirectory(prefix="g") as folder:
        yield Path(folder)


@pytest.mark.slow
def test_workers_come_when_trials_wait_and_go_when_none_is_left(metadata, monkeypatch, short_folder):
    """Each as soon as it has nothing to do, though others still train; no notice comes from the metadata server."""
    monkeypatch.setenv(spot_notice.METADATA, metadata.url)
    folder = short_folder
    first = {"first": [{"epochs": 1}, {"epochs": 40}]}
    sweep = Disturbed(folder / "s", trials=2, epochs={"values": [1, 40]}, pause=0.3, changes=first)
    with growing(folder) as (address, environment):

        def hwcls(*options):
            words = ["sweep", sweep.file, "--results", sweep.results, "--wandb", "off", "--address", address, *options]
            command = [sys.executable, "-m", "hwcls", *map(str, words)]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)

        never = hwcls("--set", "resources.cpus_per_worker=2")
        assert never.returncode == 2
        assert (
            "a trial needs 1 x 2 CPU, but there are 2 CPUs and 0 GPUs on 3 nodes, 2 of them yet to start"
            in never.stderr
        )
        done = hwcls()
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 trials, 2 trials at once, each on 1 CPU" in done.stdout
        assert "2 of 2 trials at once wait for nodes; 2 more can start" in done.stdout
        assert done.stdout.count("has joined") == 2
        said = done.stdout
        events = ("trial 0 complete", "was idle and has been shut down", "trial 1 complete")
        assert sorted(events, key=said.index) == list(events), said
        until = time.monotonic() + 90
        while "alive 1" not in (left := count(address, environment)):
            assert time.monotonic() < until, left
            time.sleep(1)


def count(address, environment):
    """How many nodes there are."""
    command = [sys.executable, "-c", COUNT.format(address)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout
