"""`ray up` on hosts of our own, a sweep submitted to them, and what it makes of a cut cable and a pulled plug."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hwcls.config.sweep_file import load_sweep
from tests.sweep.cluster.hosts import Hosts, why_not
from tests.sweep.faults import Disturbed

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(why_not() != "", reason=why_not() or "they can be made"),
]
ROOT = Path(__file__).parents[3]
CLIENT = 'import ray; ray.init("ray://{}:10001"); print("let in", ray.nodes())'  # without a token
WORKERS = 4  # of one CPU each, so that two ranks need two of them


class Cluster:
    """`cluster.local.yaml` on such hosts, as a user has it who types `ray up`."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.environment.pop("RAY_ADDRESS", None)
        values = yaml.safe_load((ROOT / "cluster.local.yaml").read_text())
        addresses = [hosts.address(number) for number in range(1, hosts.count + 1)]
        values["provider"] |= {"head_ip": addresses[0], "worker_ips": addresses[1:]}
        values["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
        values |= {"min_workers": WORKERS, "max_workers": WORKERS}
        values["worker_start_ray_commands"][1] += " --num-cpus=1"
        self.file = folder / "cluster.yaml"
        self.file.write_text(yaml.safe_dump(values))

    def call(self, *words: object, timeout: float = 120, **options: object) -> subprocess.CompletedProcess:
        """A command on the user's machine."""
        command = [str(word) for word in words]
        found = {"capture_output": True, "text": True, "env": self.environment, **options}
        return subprocess.run(command, timeout=timeout, **found)

    def up(self) -> float:
        """Seconds that `ray up` took."""
        begun = time.monotonic()
        assert self.call("ray", "get-auth-token", "--generate").returncode == 0
        done = self.call("ray", "up", "--yes", "--no-config-cache", self.file)
        assert done.returncode == 0, done.stdout + done.stderr
        return time.monotonic() - begun

    def tunnel(self) -> subprocess.Popen:
        """The dashboard of the head on this machine's loopback, as `ray dashboard` does it."""
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        there = f"root@{self.hosts.address(1)}"
        opened = subprocess.Popen(["ssh", "-i", self.hosts.key, *options, "-N", "-L", "18265:127.0.0.1:8265", there])
        self.environment["RAY_API_SERVER_ADDRESS"] = "http://127.0.0.1:18265"
        time.sleep(2)
        return opened


def test_a_sweep_survives_a_cut_cable_and_a_pulled_plug(run, tmp_path, capsys):
    changes = {"resources": {"workers": 2, "cpus_per_worker": 1, "gpus_per_worker": 0}}
    alone = Disturbed(tmp_path / "alone", epochs=14, pause=0.0, changes=changes)
    run(load_sweep(alone.file), results=alone.results)
    sweep = Disturbed(tmp_path / "sent", epochs=14, pause=0.7, changes=changes)
    events, begun = [], time.monotonic()

    def happened(what):
        events.append((time.monotonic() - begun, what))

    (tmp_path / "laptop").mkdir()
    with Hosts(tmp_path / "hosts", 1 + WORKERS) as hosts:
        hosts.await_ssh()
        cluster = Cluster(hosts, tmp_path / "laptop")
        happened(f"ray up: {cluster.up():.0f} s")
        listening = hosts.ssh(1, "ss -ltnH | awk '{print $4}'").stdout.split()
        assert "127.0.0.1:8265" in listening, listening
        assert [place for place in listening if place.endswith(":8265")] == ["127.0.0.1:8265"]
        client = hosts.ssh(2, f"RAY_AUTH_MODE=disabled timeout 60 python -c '{CLIENT.format(hosts.address(1))}'")
        assert client.returncode != 0
        assert "let in" not in client.stdout
        tunnel = cluster.tunnel()
        log = open(tmp_path / "said", "w+")  # noqa: SIM115
        submit = ["hwcls", "submit", sweep.sent().name, "--results", sweep.results, "--wandb", "off"]
        try:
            stranger = {**cluster.environment, "RAY_AUTH_TOKEN": "of another cluster"}
            refused = cluster.call(*submit, cwd=sweep.folder, env=stranger)
            assert refused.returncode == 2
            assert "rejects the local token" in refused.stderr
            assert "Traceback" not in refused.stderr
            options = {"cwd": sweep.folder, "env": cluster.environment, "stdout": log, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(submit, **options)
            sweep.wait_until(lambda: len(sweep.numbers()) > 1 and all(map(len, sweep.numbers().values())))
            happened("two trials train, each on two hosts")
            hosts.cut_off(2)
            happened("a cable is cut")
            sweep.wait_until(lambda: f"node {hosts.address(2)} is lost" in (tmp_path / "said").read_text())
            happened("Ray misses that host")
            sweep.wait_until(lambda: "is restarted" in (tmp_path / "said").read_text())
            happened("its trial is restarted")
            time.sleep(5)
            hosts.kill(3)
            happened("a plug is pulled")
            process.wait(300)
            happened("the sweep has ended")
        finally:
            log.close()
            tunnel.terminate()
            tunnel.wait()
        said = (tmp_path / "said").read_text()
    with capsys.disabled():
        print("\n" + said + "\n" + "\n".join(f"{when:5.0f} s  {what}" for when, what in events))
    assert process.returncode == 0, said
    assert said.count("has joined") >= WORKERS
    for number in (2, 3):
        assert f"node {hosts.address(number)} is lost" in said
    assert sweep.numbers() == alone.numbers()
