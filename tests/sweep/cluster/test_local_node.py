"""Ray on a single machine: who can reach it, what is left of it, and how its start ends."""

import logging
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hwcls.errors import UserError
from hwcls.sweep.cluster import connect
from hwcls.sweep.cluster.local_node import LocalNode, NodeError
from hwcls.sweep.cluster.prompt_exit import exits_promptly
from hwcls.sweep.monitor.tracking_process import TrackingProcess

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
HOLD = "from hwcls.sweep.cluster.local_node import LocalNode; import time; n = LocalNode(1); "
HOLD += "n.wait(60); print(n.folder.path, n.process.pid, flush=True); time.sleep(600)"
STUCK = """
import ctypes, sys
from hwcls.sweep.cluster import prompt_exit
prompt_exit.GRACE = 0.2
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with prompt_exit.exits_promptly(float(sys.argv[1])):
    print("stuck", flush=True)
    for _ in range(2):
        libc.pthread_mutex_lock(mutex)  # the second time it never returns, as little as Ray's C++ code does
"""


def node_process() -> psutil.Process:
    """The process that holds the Ray that this one has started."""
    children = psutil.Process().children()
    return next(child for child in children if "hwcls.sweep.cluster.local_node" in child.cmdline())


def test_files_of_the_working_folder_are_not_run(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    LocalNode(1).folder.remove()
    started.append(TrackingProcess(tmp_path, "off").command)
    for name in ("argparse.py", "json.py", "secrets.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the working folder')")
    monkeypatch.undo()
    for command in started:
        ended = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_program_of_the_users_keeps_its_logging_and_its_environment(monkeypatch):
    """Of Python's API, in a Ray that the program has started."""
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setattr(connect, "_ray_runs", lambda: True)
    monkeypatch.setattr(connect, "alive_nodes", list)
    tune = logging.getLogger("ray.tune")
    monkeypatch.setattr(tune, "level", logging.INFO)
    with connect.connected(None):
        assert (tune.level, os.environ.get("WANDB_API_KEY")) == (logging.CRITICAL, None)
    assert (tune.level, os.environ["WANDB_API_KEY"]) == (logging.INFO, "secret")


@pytest.mark.parametrize(("limit", "lines"), [(0.05, ["Ray is starting; this machine is busy"]), (60, [])])
def test_a_slow_start_is_said(monkeypatch, caplog, limit, lines):
    monkeypatch.setattr(connect, "SLOW", limit)
    monkeypatch.setattr(connect, "LocalNode", lambda cpus: cpus)
    monkeypatch.setattr(connect, "_join_local", lambda node: time.sleep(0.5))
    with caplog.at_level("INFO", "hwcls"):
        assert connect._start_local(2) == 2
    assert caplog.messages == lines


@pytest.mark.slow
def test_nobody_else_reaches_it(ray_here):
    import ray

    ray.get(ray.remote(lambda: os.getpid()).remote())
    node = node_process()
    own = [*node.children(recursive=True), psutil.Process()]
    assert {"gcs_server", "raylet"} <= {process.name() for process in own}
    assert any(process.name().startswith("ray::") for process in own)
    sockets = {(p.name(), c.laddr.ip) for p in own for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
    assert {name for name, _ in sockets} >= {"gcs_server", "raylet"}
    assert {(name, address) for name, address in sockets if address not in LOOPBACK} == set()
    folder = Path(node.cmdline()[node.cmdline().index("hwcls.sweep.cluster.local_node") + 1])
    paths = [path for path in (folder.parent, folder, *folder.rglob("*")) if "artifacts" not in path.parts]  # Tune's
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert {path: oct(mode) for path, mode in modes.items() if path.is_dir() and mode != 0o700} == {}
    assert modes[folder / "token"] == 0o600
    assert (folder / "ray" / "sockets" / "raylet").is_socket()
    assert len(str(folder / "ray" / "sockets" / "plasma_store")) < 104


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_no_folder(ray_here, monkeypatch, tmp_path):
    long = tmp_path / ("long" * 20)
    long.mkdir()
    driver = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(long)}
    )
    folder, pid = driver.stdout.readline().split()
    started = [psutil.Process(int(pid)), *psutil.Process(int(pid)).children(recursive=True)]
    assert len(started) > 3
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert not Path(folder).exists()
    assert Path(f"/tmp/hwcls-{os.geteuid()}") == Path(folder).parent  # TMPDIR is too long for a socket


@pytest.mark.slow
def test_a_ray_that_ends_by_itself_ends_the_driver_in_one_line():
    driver = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder, pid = driver.stdout.readline().split()
    node = psutil.Process(int(pid))
    next(child for child in node.children() if child.name() == "raylet").kill()
    _, errors = driver.communicate(timeout=20)
    assert (driver.returncode, errors) == (1, "hwcls: Ray has ended: raylet ended — the same command resumes\n")
    psutil.wait_procs([node], timeout=10)
    assert not Path(folder).exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, None])
def test_a_start_that_does_not_return_ends_soon_in_one_line(sent):
    seconds = "60" if sent else "0.5"
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, seconds], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "stuck\n"
    time.sleep(0.3)  # it is stuck now
    begun = time.monotonic()
    if sent:
        process.send_signal(sent)
    output, errors = process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == (130 if sent else 2)
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert ("interrupted while Ray was starting" if sent else "did not respond within") in errors


def test_a_signal_acts_at_the_end_of_the_block():
    done = []

    def interrupted():
        with exits_promptly(60):
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["the rest"]
    before = signal.signal(signal.SIGTERM, lambda *_: done.append("ended"))
    try:
        with exits_promptly(60):
            signal.raise_signal(signal.SIGTERM)
            assert done == ["the rest"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == ["the rest", "ended"]


def test_a_signal_that_is_ignored_stays_so():
    """A shell starts `hwcls sweep ... &` like that: then Ctrl-C is for others."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with exits_promptly(60):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


class FakeNode:
    """A Ray that does not start the first `failures` times."""

    failures = 0
    stopped = 0

    def __init__(self, cpus: int) -> None:
        self.authentication = {}

    def wait(self, seconds: float) -> tuple[str, str]:
        if FakeNode.failures:
            FakeNode.failures -= 1
            raise NodeError("raylet ended")
        return "127.0.0.1:1", "ab"

    def stop(self) -> None:
        FakeNode.stopped += 1


@pytest.fixture
def fake(monkeypatch):
    import ray

    monkeypatch.setattr(connect, "LocalNode", FakeNode)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # the tests' own stays as it is
    FakeNode.failures = FakeNode.stopped = 0
    return FakeNode


def test_a_start_that_fails_is_tried_once_more(fake, caplog):
    fake.failures = 1
    with connect.local_ray(1):
        assert caplog.messages == ["Ray did not start: raylet ended; trying once more"]
        assert fake.stopped == 1
    assert fake.stopped == 2


def test_two_that_fail_are_one_line(fake):
    fake.failures = 2
    with pytest.raises(UserError, match=r"Ray does not start: raylet ended — is the machine"), connect.local_ray(1):
        pytest.fail("it runs")
    assert fake.stopped == 2


def test_what_belongs_to_a_cluster_is_not_for_it(fake, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with connect.local_ray(1):
        assert "RAY_ADDRESS" not in os.environ
    assert os.environ["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


def test_a_process_that_cannot_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(Path("/bin/false")))
    node = LocalNode(1)
    with pytest.raises(NodeError, match="its process ended with 1"):
        node.wait(30)
    node.stop()
    assert not node.folder.path.exists()
