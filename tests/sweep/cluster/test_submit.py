"""What is sent to a cluster, and what is said where that cannot be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster import jobs
from hwcls.sweep.cluster.jobs import collect_files
from tests.sweep.cluster.raylets import cluster
from tests.sweep.faults import Disturbed

MODEL = (
    "import helper\n\ndef build(classes, channels, image_size):\n    return helper.net(classes, channels, image_size)\n"
)
KEY = "5ec12e75ec12e75ec12e75ec12e75ec12e75ec1"  # of this machine's W&B account, which no other one gets
HELPER = """
from torch import nn


def net(classes, channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))
"""


@pytest.fixture
def own(sweep_file, tmp_path, monkeypatch):
    """A sweep of the user's own model, which imports from beside it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/net.py").write_text(MODEL)
    (tmp_path / "mine/helper.py").write_text(HELPER)
    (tmp_path / "mine/secret.py").write_text("WANDB = 'a key'\n")
    return lambda name="mine/net.py:build": sweep_file(compare=None, parameters={"model": {"name": name}})


def test_the_file_and_the_models_are_sent_and_nothing_else(own, tmp_path):
    file = own()
    (tmp_path / "sent").mkdir()
    collect_files(load_sweep(file), file, tmp_path / "sent")
    found = {str(path.relative_to(tmp_path / "sent")) for path in (tmp_path / "sent").rglob("*") if path.is_file()}
    assert found == {"tiny.yaml", "mine/net.py", "mine/helper.py"}


def test_weights_are_sent_with_it(sweep_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/net.safetensors").write_bytes(b"weights")
    (tmp_path / "sent").mkdir()
    model = {"name": "timm", "backbone": "resnet18", "pretrained": "mine/net.safetensors"}
    file = sweep_file(compare=None, parameters={"model": model})
    collect_files(load_sweep(file), file, tmp_path / "sent")
    assert (tmp_path / "sent/mine/net.safetensors").read_bytes() == b"weights"
    monkeypatch.setattr(jobs, "LARGEST", 3)
    with pytest.raises(UserError, match="too large to upload"):
        collect_files(load_sweep(file), file, tmp_path / "sent")


def test_a_model_that_the_head_would_not_find(own, tmp_path):
    file = own(f"{tmp_path}/mine/net.py:build")
    (tmp_path / "sent").mkdir()
    with pytest.raises(UserError, match="name it by its path below"):
        collect_files(load_sweep(file), file, tmp_path / "sent")


def test_a_head_that_does_not_answer(own):
    done = CliRunner().invoke(app, ["submit", str(own()), "--address", "http://127.0.0.1:1"])
    assert done.exit_code == 2
    assert "no cluster responds" in done.output
    assert "ray dashboard cluster.yaml" in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_cluster_that_does_not_answer(own, tmp_path):
    """At once, where Ray itself would wait for minutes; and nothing is left behind."""
    words = ["sweep", own(), "--address", "127.0.0.1:1", "--results", tmp_path / "results", "--wandb", "off"]
    command = [sys.executable, "-m", "hwcls", *map(str, words)]  # in this process Ray may run already
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no Ray cluster responds at '127.0.0.1:1'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "results").glob("*/trials"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--results", "results"], "write ~/results, /a/folder or s3://bucket/prefix"),  # Ray would remove it
        (["--wandb", "onlin"], "did you mean 'online'?"),
        (["--set", "run_cup=3"], "did you mean 'run_cap'?"),
    ],
)
def test_what_the_head_would_refuse_is_refused_here(own, words, said):
    done = CliRunner().invoke(app, ["submit", str(own()), "--address", "http://127.0.0.1:1", *words])
    assert done.exit_code == 2
    assert said in done.output


def test_where_ray_jobs_is_not_installed(own, monkeypatch):
    from ray.job_submission import JobSubmissionClient

    def bare(*_, **__):
        raise RuntimeError("The Ray jobs CLI & SDK require the ray[default] installation: `pip install 'ray[default]'`")

    monkeypatch.setattr(JobSubmissionClient, "__init__", bare)  # what Ray itself raises there
    done = CliRunner().invoke(app, ["submit", str(own())])
    assert done.exit_code == 2
    assert "pip install 'hwcls[cluster]'" in done.output


@pytest.mark.slow
def test_a_job_is_stopped_and_a_second_one_goes_on(tmp_path):
    """One node alone: several on one machine share Ray's folder, and each removes what jobs of the others still use."""
    sweep = Disturbed(tmp_path / "sent", trials=1, epochs=12, pause=0.3)
    with cluster(tmp_path, cpus=1) as made:
        words = ["submit", sweep.sent().name, "--results", sweep.results, "--wandb", "off", "--address", made.dashboard]
        command = [sys.executable, "-m", "hwcls", *map(str, words)]
        options = {"cwd": sweep.folder, "capture_output": True, "text": True, "timeout": 200}
        options["env"] = {**os.environ, "RAY_AUTH_MODE": "disabled", "WANDB_API_KEY": KEY}
        first = subprocess.run([*command, "--no-follow", "--json"], **options)
        assert first.returncode == 0, first.stdout + first.stderr
        sweep.wait_for_epochs(0, 1)
        stop = [Path(sys.executable).parent / "ray", "job", "stop", json.loads(first.stdout)["id"]]
        stopped = subprocess.run([*map(str, stop), "--address", made.dashboard], **options)
        said = JobSubmissionClient(made.dashboard).get_job_logs(json.loads(first.stdout)["id"])
        left = len(sweep.numbers()[0])
        done = subprocess.run(command, **options)
        again = subprocess.run([*command, "--json"], **options)
        wrong = subprocess.run([*command, "--set", "parameters.epochs=3"], **options)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "Interrupted; everything finished is saved" in said
    assert 0 < left < sweep.epochs
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submitted as raysubmit_" in done.stdout
    assert "trial 0 complete" in done.stdout
    assert list(map(len, sweep.numbers().values())) == [sweep.epochs]
    assert sweep.done_twice()[0] <= 1  # what began while Tune ended
    assert json.loads(again.stdout)["status"] == "SUCCEEDED"
    assert wrong.returncode == 2  # what the head says of it: another version of this sweep
    assert "parameters.epochs" in wrong.stdout
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr + again.stdout
