"""`gpus_per_worker: auto` in a sweep: what is measured, shown by a dry run, recorded at the start and kept."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwcls.errors import UserError
from hwcls.sweep import driver
from hwcls.sweep.cluster import resources
from hwcls.sweep.cluster.resources import Machine, Resources
from hwcls.sweep.preflight import preview as preflight_preview
from hwcls.sweep.preflight import simulate
from hwcls.sweep.preflight.gpu_share import preview, with_ray
from hwcls.sweep.preflight.gpu_share.choose import GpuUse, Measurement
from hwcls.sweep.preflight.prepare import list_heaviest
from hwcls.sweep.storage.environment import read_gpu_share
from hwcls.tracking.folders import SweepFolder

SERVER = Machine(((8.0, 1.0),))
AUTO = {"gpus_per_worker": "auto"}
MEASURED = Measurement("H200", 80 * 10**9, False, (GpuUse("cnn", 10**9, 0.25, 0.2),))
LINE = "gpus_per_worker: auto is 0.25: 4 trials share a GPU by time slices"


def test_of_each_alternative_the_largest_model_and_batch_are_measured(tiny):
    data = {"name": "digits", "per_class": 20, "batch_size": {"values": [32, 96, 64]}}
    model = {"choice": {"mlp": {"width": {"min": 16, "max": 64}}, "cnn": {"name": "simple_cnn", "width": 4}}}
    found = dict(list_heaviest(tiny(parameters={"data": data, "model": model}), {}))
    assert list(found) == ["mlp", "cnn"]  # the largest first
    assert found["mlp"].model.width == 64
    assert {trial.data.batch_size for trial in found.values()} == {96}


def test_a_batch_that_no_trial_can_have_is_not_measured(tiny):
    data = {"name": "digits", "per_class": 20, "batch_size": {"values": [96, 104]}}
    parameters = {"data": data, "model": {"name": "mlp"}, "norm_batch": {"values": [8, 48]}}
    sweep = tiny(compare="norm_batch", parameters=parameters)
    found = {trial.norm_batch: trial.data.batch_size for _, trial in list_heaviest(sweep, {})}
    assert found == {8: 104, 48: 96}  # 104 is no multiple of 48


def test_a_few_alternatives_are_measured(tiny):
    choice = {f"mlp{width}": {"name": "mlp", "width": width} for width in (8, 16, 24, 32, 40, 48)}
    found = list_heaviest(tiny(run_cap=8, parameters={"model": {"choice": choice}}), {})
    assert [label for label, _ in found] == ["mlp48", "mlp40", "mlp32", "mlp24"]


@pytest.fixture
def dry_run(sweep_file, monkeypatch, tmp_path):
    """A dry run on a machine with a GPU, as JSON and as text; with the resources of its trials."""
    from hwcls.cli.main import app

    seen = []

    def estimate(sweep, chosen):
        seen.append(chosen)
        return simulate.SweepEstimate((1, 2), (1, 2), (1, 2), (0, 0), 4, (1, 2), {}, [])

    for module in (resources, preflight_preview):
        monkeypatch.setattr(module, "this_machine", lambda: SERVER)
    monkeypatch.setattr(simulate, "estimate_duration", estimate)

    def run(measure, **asked):
        monkeypatch.setattr(preview, "measure_in_process", measure)
        words = ["sweep", str(sweep_file(resources=asked)), "--dry-run", "--results", str(tmp_path / "results")]
        text = CliRunner().invoke(app, words)
        found = CliRunner().invoke(app, [*words, "--json"])
        assert (text.exit_code, found.exit_code) == (0, 0), text.output + found.output
        return text.output, json.loads(found.output)["estimate"], seen[-1]

    return run


def test_a_dry_run_shows_the_choice_and_counts_with_it(dry_run):
    text, found, chosen = dry_run(lambda trials: MEASURED, **AUTO)
    assert LINE in text
    assert found["gpu_share"]["gpus_per_worker"] == 0.25
    assert found["gpu_share"]["text"].startswith(LINE)
    assert "4 by time (cnn 25 %)" in found["gpu_share"]["reason"]
    assert chosen == Resources(1, 2, 0.25, 4)
    assert "4 trials at once, each on 2 CPU and 0.25 GPU" in text


def test_a_dry_run_without_auto_measures_nothing(dry_run):
    def never(trials):
        raise AssertionError

    text, found, chosen = dry_run(never)
    assert "auto" not in text
    assert found["gpu_share"] is None
    assert chosen == Resources(1, 8, 1.0, 1)


@pytest.fixture
def start(sweep_file, tmp_path, monkeypatch):
    """Resolves `auto` as a start of a sweep does; returns the resources."""
    from types import SimpleNamespace

    from hwcls.config.sweep_file import load_sweep

    def resolve(measure, machine=SERVER):
        monkeypatch.setattr(with_ray, "measure_with_ray", measure)
        sweep, options = load_sweep(sweep_file(resources=AUTO)), driver.Options(results=tmp_path)
        one = driver._Start(sweep, options, SweepFolder(tmp_path), None, None, None)
        found, nodes = one._place_trials(SimpleNamespace(sources={}), machine)
        assert nodes is None
        return found

    return resolve


def test_a_start_logs_and_records_the_choice_and_a_later_one_keeps_it(start, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    seen = []

    def measure(trials):
        seen.extend(trials)
        return MEASURED

    assert start(measure) == Resources(1, 2, 0.25, 4)
    assert {label for label, _ in seen} == {"mlp", "cnn"}
    assert any(message.startswith(LINE) for message in caplog.messages)
    assert read_gpu_share(tmp_path) == 0.25
    assert start(lambda trials: pytest.fail("measured again")) == Resources(1, 2, 0.25, 4)
    assert start(measure, Machine(((2.0, 0.0),))) == Resources(1, 1, 0.0, 2)  # resumed without a GPU
    assert read_gpu_share(tmp_path) == 0.25


def test_where_nothing_can_be_measured_trials_have_gpus_of_their_own(start, tmp_path, caplog):
    caplog.set_level(logging.INFO)

    def refuse(trials):
        raise UserError("no node with a GPU runs yet")

    assert start(refuse) == Resources(1, 8, 1.0, 1)
    assert any("could not be measured (no node with a GPU runs yet)" in message for message in caplog.messages)
    assert read_gpu_share(tmp_path) == 1.0


def test_a_cluster_without_a_live_gpu_is_not_measured(monkeypatch):
    monkeypatch.setattr(with_ray, "alive_nodes", lambda: ((4.0, 0.0),))
    with pytest.raises(UserError, match="no node with a GPU runs yet"):
        with_ray.measure_with_ray([])


def test_a_cluster_of_different_gpus_is_warned_about(monkeypatch):
    nodes = [
        {"Alive": alive, "Resources": {"CPU": 4.0, "GPU": 1.0, f"accelerator_type:{kind}": 1.0}}
        for kind, alive in (("T4", True), ("A100", True), ("T4", True), ("V100", False))
    ]
    monkeypatch.setattr(with_ray.ray, "nodes", lambda: nodes)
    assert with_ray._kinds() == ["A100", "T4"]


SHARED = """
import logging, sys
import ray

from pathlib import Path
from hwcls.config.sweep_file import load_sweep
from hwcls.sweep import driver
from hwcls.sweep.monitor.progress import Quiet

def made_up():  # this GPU is Ray's alone
    import hwcls.sweep.preflight.gpu_share.measure as module
    import torch
    from hwcls.sweep.run.worker import Rank
    from hwcls.training.distributed import World
    from hwcls.sweep.preflight.gpu_share.choose import GpuUse, Measurement
    from hwcls.sweep.cluster import nodes

    def measure(trials):
        return Measurement("H200", 80 * 10**9, False, tuple(GpuUse(label, 10**9, 0.5, 0.2) for label, _ in trials))

    def join(self, address, hang_after):
        self.world = World(device=torch.device("cpu"))

    module.measure_here, Rank.join, nodes.gpu_problem = measure, join, lambda: ""

made_up()

ray.init(
    address="local", num_cpus=3, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    runtime_env={"worker_process_setup_hook": made_up},
)
handler = logging.StreamHandler(sys.stdout)
logging.getLogger("hwcls.sweep.driver").addHandler(handler)
logging.getLogger("hwcls.sweep.driver").setLevel(logging.INFO)
options = driver.Options(results=Path(sys.argv[2]), wandb="off", address="local")
outcome = driver.run(load_sweep(Path(sys.argv[1])), options, lambda *_: Quiet())
print(len(outcome.failed), len(outcome.folder.trials()))
"""


@pytest.mark.slow
def test_a_sweep_measures_once_and_shares_a_gpu(sweep_file, tmp_path):
    """A sweep on a GPU that only Ray knows of; the second start adds trials."""
    outputs = []
    for trials in (2, 3):
        path = sweep_file(run_cap=trials, resources=AUTO)
        command = [sys.executable, "-W", "ignore", "-c", SHARED, str(path), str(tmp_path / "results")]
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}  # the script starts its Ray without hwcls
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[4], env=environment)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
        assert done.stdout.strip().splitlines()[-1] == f"0 {trials}"
        assert "2 trials at once, each on 1 CPU and 0.5 GPU" in done.stdout
    assert "measuring what the heaviest trials take of a GPU" in outputs[0]
    assert (
        "auto is 0.5: 2 trials share a GPU by time slices (see docs/how-to/share_a_gpu.md): 2 by time (mlp 50 %)"
        in outputs[0]
    )
    assert "measuring" not in outputs[1]
    assert "auto is 0.5: as at the first start of this sweep" in outputs[1]
    kept = json.loads((tmp_path / "results" / "tiny" / "environment.json").read_text())
    assert kept["gpu_share"]["gpus_per_worker"] == kept["effective"]["resources"]["gpus_per_worker"] == 0.5
    assert "auto is 0.5" in (tmp_path / "results" / "tiny" / "sweep.log").read_text()
    assert "Trials on a GPU" in (tmp_path / "results" / "tiny" / "report.html").read_text()
