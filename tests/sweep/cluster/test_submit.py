"""What is sent to a cluster, and what is said where that cannot be."""

import http.server
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster import jobs
from hwcls.sweep.cluster.connect import _joined, ray_command
from hwcls.sweep.cluster.jobs import collect_files
from tests.sweep.cluster.raylets import cluster
from tests.sweep.faults import Disturbed

MODEL = (
    "import helper\n\ndef build(classes, channels, image_size):\n    return helper.net(classes, channels, image_size)\n"
)
KEY = "5ec12e75ec12e75ec12e75ec12e75ec12e75ec1"  # of this machine's W&B account, which no other one gets
JOB = ("job_id", "submission_id")
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


@contextmanager
def dashboard():
    """A stand-in for a head's dashboard, which takes a job and whose connection then fails; and its requests."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            requests.append((self.command, self.path, self.headers.get("Authorization")))
            found = {"version": "4", "ray_version": "2", "ray_commit": "", "session_name": "s"}
            if self.command == "POST":
                found = {"stopped": True} if self.path.endswith("/stop") else dict.fromkeys(JOB, "raysubmit_x")
            content = json.dumps(found).encode()
            self.send_response(500 if self.path.endswith("/logs/tail") else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


def test_a_connection_that_ends_while_the_job_runs(own, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with dashboard() as (address, _):
        done = CliRunner().invoke(app, ["submit", str(own()), "--address", address])
    assert done.exit_code == 2, done.output
    first, last = done.output.strip().splitlines()
    assert first == f"submitted as raysubmit_x; `ray job stop raysubmit_x --address {address}` ends it"
    assert "raysubmit_x does not show its output any more (500" in last
    assert f"it keeps running; `ray job logs -f raysubmit_x --address {address}` shows its output" in last


def test_commands_of_ray_send_the_token(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    job = jobs.SubmittedJob("raysubmit_x", "http://127.0.0.1:8265", "RUNNING", None)
    assert job.stop_command() == "RAY_AUTH_MODE=token ray job stop raysubmit_x --address http://127.0.0.1:8265"
    assert job.logs_command().startswith("RAY_AUTH_MODE=token ray job logs -f raysubmit_x --address")
    monkeypatch.delenv("RAY_AUTH_MODE")
    assert ray_command("status") == "ray status"


@pytest.mark.parametrize("words", [[], ["--no-follow"], ["--no-follow", "--json"]])
@pytest.mark.parametrize("port", [True, False])
def test_a_password_in_the_address_is_used_and_not_printed(own, words, port):
    """Also where nothing responds."""
    with dashboard() as (address, requests):
        place = address.replace("://", "://me:5ecret@") if port else "http://me:5ecret@127.0.0.1:1"
        done = CliRunner().invoke(app, ["submit", str(own()), "--address", place, *words])
    assert "5ecret" not in done.output
    assert "me:" not in done.output
    assert {sent for _, _, sent in requests} == ({"Basic bWU6NWVjcmV0"} if port else set())
    if port and "--json" in words:
        assert json.loads(done.output)["address"] == address
    elif port:
        assert f"`ray job stop raysubmit_x --address {address}` ends it" in done.output


@pytest.mark.slow
def test_the_command_that_is_printed_is_let_in(own, tmp_path):
    (tmp_path / "home/.ray").mkdir(parents=True)
    (tmp_path / "home/.ray/auth_token").write_text("ab" * 32)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    options = {"capture_output": True, "text": True, "timeout": 100, "env": {**kept, "HOME": str(tmp_path / "home")}}
    options["env"]["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with dashboard() as (address, requests):
        command = [sys.executable, "-m", "hwcls", "submit", str(own()), "--no-follow", "--address", address]
        done = subprocess.run(command, **options)
        assert done.returncode == 0, done.stderr
        subprocess.run(f"{done.stdout.split('`')[1]} --no-wait", shell=True, check=True, **options)
    assert requests[-1] == ("POST", "/api/jobs/raysubmit_x/stop", f"Bearer {'ab' * 32}")


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


@pytest.mark.parametrize("address", ["ray://head:10001", "http://127.0.0.1:8265"])
def test_an_address_that_is_not_of_a_cluster(address):
    with pytest.raises(UserError, match=r"is not host:port of a cluster.*hwcls submit") as refused, _joined(address):
        pass
    assert refused.value.where == "--address"


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


KEYS = [
    (["--results", "s3://KEY:5ecret@bucket/a"], "--results: has a password or key in a URL"),
    (["--results", "abfs://c@account/a?client_secret=5ecret"], "--results: has a password or key in a URL"),
    (["--set", "x-a=s3://KEY:5ec/ret@b", "--set", "x-a=1"], "--set x-a: has a password or key in a URL"),
    (["--set", "notify.command=curl 5ecret"], "--set notify.command: has a command that may hold a key"),
    (["--set", " notify.command =curl 5ecret"], "--set notify.command: has a command that may hold a key"),
    (["--set", "notify={command: curl 5ecret}"], "write it into the sweep file"),
]


@pytest.mark.parametrize("command", ["submit", "slurm"])
@pytest.mark.parametrize(("words", "said"), KEYS)
def test_a_job_gets_no_key(sweep_file, command, words, said):
    done = CliRunner().invoke(app, [command, str(sweep_file()), *words])
    assert done.exit_code == 2
    assert said in done.output
    assert not [part for part in ("KEY:", "5ecret", "5ec/ret") if part in done.output]
    assert len(done.output.strip().splitlines()) == 1


def test_a_notification_without_a_key_may_be_set(sweep_file):
    file = sweep_file(notify={"command": "curl localhost"})
    for words in (["--set", "notify.command=null", "--set", "notify.wandb=true"], ["--set", "notify.on=end"]):
        done = CliRunner().invoke(app, ["slurm", str(file), *words])
        assert "may hold a key" not in done.output


def test_a_file_with_a_key_is_not_uploaded(own):
    file = own()
    file.write_text(f"x-results: s3://KEY:5ecret@bucket\n{file.read_text()}")
    with dashboard() as (address, requests):
        done = CliRunner().invoke(app, ["submit", str(file), "--address", address])
    assert (done.exit_code, requests) == (2, [])
    assert f"{file}:1: has a password or key in a URL, which the job would keep and show" in done.output
    assert "5ecret" not in done.output


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
