"""Ranks on two hosts, which are network namespaces with a cable between them, over gloo and without torchrun."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADDRESSES = ("10.211.8.1", "10.211.8.2")
LIMIT = 10.0  # seconds that a collective may take in these tests
PROGRAM = """
import os, sys
import torch
from hwcls.errors import UserError
from hwcls.training import distributed

distributed.MARGIN = 0.0
try:
    world = distributed.join_world(int(sys.argv[1]), 2, sys.argv[2], torch.device("cpu"), float(sys.argv[3]))
    print(os.environ["GLOO_SOCKET_IFNAME"], os.environ["NCCL_SOCKET_IFNAME"], flush=True)
    print(world.sum(torch.tensor(world.rank + 1.0)).item(), flush=True)
    sys.stdin.readline()
    world.sum(torch.ones(1))
except UserError as error:
    print(error, flush=True)
except RuntimeError as error:
    print("lost:", str(error).splitlines()[0], flush=True)
os._exit(0)
"""


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


def why_not():
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need Linux, root and iproute2"
    made = ip("netns", "add", "hwclsprobe")
    ip("netns", "del", "hwclsprobe")
    return made.stderr.strip()


pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() != "", reason=why_not() or "they can be made")]


@pytest.fixture
def hosts():
    """Two hosts; each has a further network, which the other one does not have and whose name comes first."""
    names = [f"hwclsr{number}" for number in range(2)]
    for name in names:
        ip("netns", "del", name)
        assert ip("netns", "add", name).returncode == 0
    cable = ("link", "add", "eth1", "netns", names[0], "type", "veth", "peer", "name", "eth1", "netns", names[1])
    assert ip(*cable).returncode == 0
    for name, address in zip(names, ADDRESSES, strict=True):
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "docker0", "type", "bridge")
        ip("-n", name, "addr", "add", "172.17.0.1/16", "dev", "docker0")
        ip("-n", name, "link", "set", "docker0", "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth1")
        assert ip("-n", name, "link", "set", "eth1", "up").returncode == 0
    yield names
    for name in names:
        ip("netns", "del", name)


@pytest.fixture
def start(hosts, tmp_path):
    """Starts a rank on each host; what a failed test leaves running is ended."""
    (tmp_path / "program.py").write_text(PROGRAM)
    ranks = []
    environment = {name: value for name, value in os.environ.items() if not name.endswith("SOCKET_IFNAME")}
    environment["PYTHONPATH"] = str(ROOT)

    def run():
        for rank, name in enumerate(hosts):
            program = [sys.executable, str(tmp_path / "program.py"), str(rank), f"{ADDRESSES[0]}:29500", str(LIMIT)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            command = ["ip", "netns", "exec", name, *program]
            ranks.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return ranks

    yield run
    for rank in ranks:
        rank.kill()
        rank.communicate()


def go_on(ranks):
    """Let the ranks sum once more; what each printed until its end, and the seconds that it took."""
    begun = time.monotonic()
    for rank in ranks:
        rank.stdin.write("\n")
        rank.stdin.flush()
    return [rank.communicate(timeout=60)[0] for rank in ranks], time.monotonic() - begun


def test_ranks_meet_on_the_network_between_them(start):
    ranks = start()
    for rank in ranks:
        assert rank.stdout.readline() == "eth1 =eth1\n"
        assert rank.stdout.readline() == "3.0\n"
    assert go_on(ranks)[0] == ["", ""]


def test_a_cut_cable_ends_the_ranks(start, hosts):
    ranks = start()
    for rank in ranks:
        assert [rank.stdout.readline() for _ in range(2)][1] == "3.0\n"
    ip("-n", hosts[0], "link", "set", "eth1", "down")
    outputs, seconds = go_on(ranks)
    assert [output.startswith("lost: ") for output in outputs] == [True, True]
    assert "/gloo/" in outputs[0]
    assert seconds < 3 * LIMIT


def test_hosts_that_do_not_reach_each_other_are_one_line(start, hosts):
    ip("-n", hosts[1], "link", "set", "eth1", "down")
    begun = time.monotonic()
    outputs = [rank.communicate(timeout=120)[0] for rank in start()]
    for output in outputs:
        assert output.startswith("the 2 workers of a trial do not reach each other (")
        assert output.count("\n") == 1
    assert time.monotonic() - begun < 60
