"""What each trial gets: chosen, refused, and held against a Ray that is told of GPUs which are not there."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster import resources
from hwcls.sweep.cluster.resources import (
    Machine,
    Resources,
    choose_resources,
    require_usable_gpus,
    resource_notes,
    this_machine,
    usable_cpus,
)
from hwcls.training import gpu

LAPTOP = Machine(((2.0, 0.0),))
SERVER = Machine(((64.0, 8.0),))
CLUSTER = Machine(((2.0, 0.0), (16.0, 4.0), (16.0, 4.0)))


@pytest.mark.parametrize(
    ("config", "machine", "expected"),
    [
        ({}, LAPTOP, Resources(1, 1, 0.0, 2)),
        ({"workers": 2}, LAPTOP, Resources(2, 1, 0.0, 1)),
        ({"cpus_per_worker": 2}, LAPTOP, Resources(1, 2, 0.0, 1)),
        ({"concurrent": 1}, LAPTOP, Resources(1, 1, 0.0, 1)),
        ({"concurrent": 9}, LAPTOP, Resources(1, 1, 0.0, 2)),
        ({}, SERVER, Resources(1, 8, 1.0, 8)),
        ({"workers": 4}, SERVER, Resources(4, 8, 1.0, 2)),
        ({"gpus_per_worker": 0.5}, SERVER, Resources(1, 4, 0.5, 16)),
        ({"gpus_per_worker": 0}, SERVER, Resources(1, 1, 0.0, 64)),
        ({"gpus_per_worker": "auto"}, SERVER, Resources(1, 8, 1.0, 8)),  # as long as nothing is measured
        ({"gpus_per_worker": "auto"}, LAPTOP, Resources(1, 1, 0.0, 2)),
        ({}, CLUSTER, Resources(1, 4, 1.0, 8)),
        ({"workers": 8}, CLUSTER, Resources(8, 4, 1.0, 1)),
        ({"workers": 6}, CLUSTER, Resources(6, 5, 1.0, 1)),
        ({"gpus_per_worker": 0.4}, SERVER, Resources(1, 4, 0.4, 16)),  # two on a GPU, whose last fifth is left
        ({"gpus_per_worker": 0.7, "cpus_per_worker": 1}, SERVER, Resources(1, 1, 0.7, 8)),
        ({"gpus_per_worker": 1 / 3, "cpus_per_worker": 1}, SERVER, Resources(1, 1, 1 / 3, 24)),
        ({}, Machine(((2.0, 4.0),)), Resources(1, 1, 1.0, 2)),
        ({}, Machine(((64.0, 0.0), (4.0, 2.0))), Resources(1, 2, 1.0, 2)),  # the GPUs' own node counts
        ({}, Machine(((64.0, 8.0), (4.0, 4.0))), Resources(1, 1, 1.0, 12)),
        ({"cpus_per_worker": 5}, Machine(((8.0, 0.0), (8.0, 0.0))), Resources(1, 5, 0.0, 2)),
    ],
)
def test_what_is_left_out_is_chosen_from_the_machine(config, machine, expected):
    assert choose_resources(ResourcesConfig(**config), machine, "") == expected


@pytest.mark.parametrize(
    ("config", "machine", "message"),
    [
        ({"workers": 3}, LAPTOP, "a trial needs 3 x 1 CPU, but there are 2 CPUs and 0 GPUs"),
        ({"gpus_per_worker": 1.0}, LAPTOP, "and 1 GPU"),
        ({"cpus_per_worker": 65}, SERVER, "65 CPU"),
        ({"cpus_per_worker": 17}, CLUSTER, "34 CPUs and 8 GPUs on 3 nodes, at most 16 and 4 on one"),
        ({"workers": 9}, SERVER, "a trial needs 9 x 1 CPU and 1 GPU, but there are 64 CPUs and 8 GPUs"),
        ({"workers": 9}, SERVER, "set gpus_per_worker: 0 to train on CPUs"),
        ({}, Machine(((8.0, 0.0), (0.0, 1.0))), "1 x 1 CPU and 1 GPU"),
    ],
)
def test_the_impossible_is_refused_with_what_there_is(config, machine, message):
    with pytest.raises(UserError) as raised:
        choose_resources(ResourcesConfig(**config), machine, "s.yaml:3: resources")
    assert message in str(raised.value)
    assert str(raised.value).startswith("s.yaml:3: resources")


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        ({"gpus_per_worker": 1.5}, "raise workers"),
        ({"gpus_per_worker": 2}, "raise workers"),
        ({"gpus_per_worker": 0.5, "workers": 2}, "gpus_per_worker: 1"),
        ({"gpus_per_worker": 0.00001}, "write 0"),
    ],
)
def test_parts_of_gpus_that_no_rank_can_use_are_refused(config, remedy):
    with pytest.raises(ValidationError, match=remedy):
        ResourcesConfig(**config)


@pytest.mark.parametrize(
    ("config", "refused"), [({}, True), ({"gpus_per_worker": 1}, True), ({"gpus_per_worker": 0}, False)]
)
def test_a_driver_that_torch_cannot_use_is_refused_before_a_trial_unless_it_is_to_be_left_alone(
    monkeypatch, tmp_path, config, refused
):
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpu, "NVIDIA_DRIVER", str(tmp_path / "nvidiactl"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "cuda_problem", lambda: "torch cannot use it")
    if refused:
        with pytest.raises(UserError, match="torch cannot use it — run `hwcls doctor`, or set gpus_per_worker: 0 to"):
            require_usable_gpus(ResourcesConfig(**config))
    else:
        require_usable_gpus(ResourcesConfig(**config))


def test_gpus_that_an_old_driver_counts_are_none(monkeypatch):
    monkeypatch.setattr(resources, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for usable in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda usable=usable: usable)
        assert this_machine().gpus == 4 * usable


def test_several_ranks_get_a_gpu_each_on_any_nodes_or_are_refused():
    """Two nodes of one GPU hold one trial of two ranks; a part of a GPU for each of several ranks is refused."""
    nodes = Machine(((4.0, 1.0), (4.0, 1.0)))
    assert choose_resources(ResourcesConfig(workers=2), nodes, "").concurrent == 1
    with pytest.raises(UserError) as raised:
        choose_resources(ResourcesConfig(workers=3), nodes, "s.yaml:3: resources")
    assert str(raised.value) == (
        "s.yaml:3: resources: a trial needs 3 x 1 CPU and 1 GPU, but there are 8 CPUs and 2 GPUs on 2 nodes, at most 4 "
        "and 1 on one — lower workers or cpus_per_worker, or set gpus_per_worker: 0 to train on CPUs"
    )


def test_what_does_not_fit_or_stays_idle_is_said():
    def said(machine, **config):
        config = ResourcesConfig(**config)
        return resource_notes(config, choose_resources(config, machine, ""), machine)

    assert said(LAPTOP, concurrent=9) == ["9 trials at once do not fit, only 2"]
    assert said(SERVER, workers=3) == ["2 of 8 GPUs stay idle: no further trial of 3 x 8 CPU and 1 GPU fits"]
    assert said(SERVER, workers=3, concurrent=1) == said(SERVER) == said(LAPTOP) == said(CLUSTER) == []


def test_a_container_may_cut_cpus_down(tmp_path):
    quota = tmp_path / "cpu.max"
    whole = usable_cpus(quota)
    quota.write_text("max 100000\n")
    assert usable_cpus(quota) == whole
    quota.write_text("150000 100000\n")
    assert usable_cpus(quota) == 1
    quota.write_text("50000 100000\n")
    assert usable_cpus(quota) == 1


NODES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=4)
PARTS = st.sampled_from([None, 0, 0.01, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.6, 0.7, 0.99, 1])
COUNT = st.none() | st.integers(1, 5)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a loaded machine
@given(nodes=NODES, workers=st.integers(1, 5), gpus=PARTS, cpus=COUNT, concurrent=COUNT, first=st.randoms())
def test_never_more_than_there_is_and_never_nothing(nodes, workers, gpus, cpus, concurrent, first):
    """Whatever fits goes wherever there is room, in any order, until it is all placed; or an error is raised."""
    if gpus and gpus < 1:
        workers = 1
    config = ResourcesConfig(workers=workers, gpus_per_worker=gpus, cpus_per_worker=cpus, concurrent=concurrent)
    machine = Machine(tuple((float(c), float(g)) for c, g in nodes))
    free_cpus = [c for c, _ in nodes]
    free_gpus = [[1.0] * g for _, g in nodes]

    def place(chosen):
        """Give one rank a place, any; whether there was one."""
        places = [
            (node, gpu)
            for node, left in enumerate(free_cpus)
            if left >= chosen.cpus_per_worker
            for gpu in (range(len(free_gpus[node])) if chosen.gpus_per_worker else [None])
            if gpu is None or free_gpus[node][gpu] >= chosen.gpus_per_worker - 1e-9
        ]
        if places:
            node, gpu = first.choice(places)
            free_cpus[node] -= chosen.cpus_per_worker
            if gpu is not None:
                free_gpus[node][gpu] -= chosen.gpus_per_worker
        return bool(places)

    try:
        chosen = choose_resources(config, machine, "")
    except UserError:
        each = Resources(workers, cpus or 1, float(machine.gpus > 0) if gpus is None else gpus, 1)
        assert not all(place(each) for _ in range(workers))  # no trial at all
        return
    assert chosen.workers == workers
    assert 1 <= chosen.concurrent <= (concurrent or chosen.concurrent)
    assert all(place(chosen) for _ in range(workers * chosen.concurrent))
    if chosen.concurrent != concurrent:
        assert not all(place(chosen) for _ in range(workers))  # no more would have fitted


PLACED = """
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table, remove_placement_group

from hwcls.config.sweep import ResourcesConfig
from hwcls.sweep.cluster.connect import connected
from hwcls.sweep.run.trial_group import placement
from hwcls.sweep.cluster.resources import choose_resources

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "num_gpus": 0, "include_dashboard": False})
cluster.add_node(num_cpus=4, num_gpus=2)
cluster.add_node(num_cpus=2, num_gpus=1)
cluster.wait_for_nodes()
requests = [
    {}, {"workers": 2}, {"workers": 3}, {"gpus_per_worker": 0.5}, {"gpus_per_worker": 0.4}, {"gpus_per_worker": 1 / 6},
    {"gpus_per_worker": 0.4, "cpus_per_worker": 2}, {"gpus_per_worker": 0}, {"gpus_per_worker": 0, "workers": 4},
    {"gpus_per_worker": 0, "cpus_per_worker": 3}, {"cpus_per_worker": 2}, {"concurrent": 2},
]
with connected(cluster.address) as machine:
    for request in requests:
        config = ResourcesConfig(**request)
        chosen = choose_resources(config, machine, "")
        groups = [placement(chosen).to_placement_group() for _ in range(chosen.concurrent)]
        placed = [group.wait(20) for group in groups]
        more = placement(chosen).to_placement_group()
        print(request, chosen, all(placed), more.wait(1), sep="|")
        for group in [*groups, more]:
            remove_placement_group(group)
        while any(group["state"] != "REMOVED" for group in placement_group_table().values()):
            pass
cluster.shutdown()
"""


@pytest.mark.slow
def test_as_many_groups_at_once_as_chosen_are_placed_by_ray_and_no_more():
    """On three unequal nodes; a process of its own, since the test session has one Ray."""
    rows = [line.split("|") for line in _run(PLACED)]
    assert len(rows) == 12
    for request, chosen, placed, more in rows:
        assert placed == "True", (request, chosen)
        assert more == str("concurrent" in request), (request, chosen)


SHARED = """
import logging, sys, threading
import ray
from ray.util.placement_group import placement_group_table

import hwcls.sweep
from pathlib import Path
from hwcls.config.sweep_file import load_sweep
from hwcls.sweep import driver
from hwcls.sweep.monitor.progress import Quiet

def train_on_cpu():  # this GPU is Ray's alone
    from hwcls.sweep.cluster import nodes
    from hwcls.training import gpu

    nodes.gpu_problem = gpu.cuda_problem = lambda: ""

train_on_cpu()
ray.init(
    address="local", num_cpus=3, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    runtime_env={"worker_process_setup_hook": train_on_cpu},
)
seen, over = [], threading.Event()

def watch():
    while not over.wait(0.05):
        states = [group["state"] for group in placement_group_table().values()]
        seen.append((states.count("CREATED"), ray.available_resources().get("GPU", 0.0)))

handler = logging.StreamHandler(sys.stdout)
handler.setLevel(logging.WARNING)
logging.getLogger("hwcls").addHandler(handler)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
options = driver.Options(results=Path(sys.argv[2]), wandb="off", address="local")
outcome = driver.run(load_sweep(Path(sys.argv[1])), options, lambda *_: Quiet())
over.set()
watcher.join()
groups, free = zip(*seen)
print(len(outcome.failed), len(outcome.folder.trials()), max(groups), min(free))
"""


@pytest.mark.slow
def test_two_trials_share_a_gpu(sweep_file, tmp_path):
    """A sweep on a GPU that Ray is told of: half of it for each trial, two at once, though three are asked for."""
    path = sweep_file(run_cap=4, resources={"gpus_per_worker": 0.5, "cpus_per_worker": 1, "concurrent": 3})
    note, counts = _run(SHARED, path, tmp_path / "results")
    assert note == "3 trials at once do not fit, only 2"
    assert counts == "0 4 2 0.0"


def _run(script, *arguments):
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()
