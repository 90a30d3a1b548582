"""Hosts of our own on this machine: network, mount and process namespaces, each with an address, a home and an sshd."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

BRIDGE, NETWORK = "hwcls0", "10.211.7"
SSHD = """
ListenAddress {address}
Port 22
HostKey {key}
AuthorizedKeysFile {authorized}
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
"""
BASHRC = """
export PATH={bin}:$PATH HWCLS_DATA={data} PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 AWS_EC2_METADATA_DISABLED=true
{extra}
"""


def why_not() -> str:
    """Why hosts cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    missing = [
        tool for tool in ("ip", "unshare", "nsenter", "sshd", "ssh-keygen", "rsync") if shutil.which(tool) is None
    ]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install iproute2 openssh-server rsync"
    made = subprocess.run(["ip", "link", "add", "hwclsprobe", "type", "bridge"], capture_output=True, text=True)
    subprocess.run(["ip", "link", "del", "hwclsprobe"], capture_output=True)
    return "" if made.returncode == 0 else f"the kernel refuses a bridge: {made.stderr.strip()}"


def call(*words: object) -> str:
    """Run a command; AssertionError with what it said where it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Hosts:
    """Hosts 10.211.7.11, .12, ... under `root`; a context manager."""

    root: Path
    count: int
    extra: str = ""  # lines of every host's .bashrc
    running: dict[int, subprocess.Popen] = field(default_factory=dict)

    @staticmethod
    def address(number: int) -> str:
        return f"{NETWORK}.{10 + number}"

    @property
    def key(self) -> Path:
        return self.root / "id"

    def __enter__(self) -> "Hosts":
        self.root.mkdir(parents=True, exist_ok=True)
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.root / "host")
        Path("/run/sshd").mkdir(exist_ok=True)
        self._clear()
        call("ip", "link", "add", BRIDGE, "type", "bridge")
        call("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        call("ip", "link", "set", BRIDGE, "up")
        for number in range(1, self.count + 1):
            self.start(number)
        return self

    def start(self, number: int) -> None:
        """Bring a host up, as after its power came back."""
        name, inside = f"hwcls{number}h", f"hwcls{number}n"
        home = self.root / f"home{number}"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        folders = {"bin": Path(sys.executable).parent, "data": os.environ.get("HWCLS_DATA", "/nowhere")}
        (home / ".bashrc").write_text(BASHRC.format(**folders, extra=self.extra))
        config = self.root / f"sshd{number}"
        key, authorized = self.root / "host", self.root / "id.pub"
        config.write_text(SSHD.format(address=self.address(number), key=key, authorized=authorized))
        call("ip", "netns", "add", f"hwcls{number}")
        call("ip", "link", "add", name, "type", "veth", "peer", "name", inside)
        call("ip", "link", "set", inside, "netns", f"hwcls{number}")
        call("ip", "link", "set", name, "master", BRIDGE, "up")
        within = ("ip", "-n", f"hwcls{number}")
        call(*within, "addr", "add", f"{self.address(number)}/24", "dev", inside)
        call(*within, "link", "set", inside, "up")
        call(*within, "link", "set", "lo", "up")
        # Ray asks the routes for its own address; nothing is sent
        call(*within, "route", "add", "default", "via", f"{NETWORK}.1")
        # Ray's session folder, shared memory and home are the host's own
        mounts = "mkdir -p /tmp/ray; mount -t tmpfs none /tmp/ray; mount -t tmpfs none /dev/shm; "
        for place in {Path(sys.prefix), Path(sys.base_prefix)}:
            if place.is_relative_to("/root"):  # Python itself lies in the home folder that is covered here
                inner = home / place.relative_to("/root")
                mounts += f"mkdir -p {inner}; mount --bind {place} {inner}; "
        mounts += f"mount --rbind {home} /root; "
        run = f"{mounts}exec {shutil.which('sshd')} -D -e -f {config}"
        self.running[number] = subprocess.Popen(
            ["ip", "netns", "exec", f"hwcls{number}", "unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c", run],
            stdout=open(self.root / f"sshd{number}.log", "wb"),  # noqa: SIM115
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def ssh(self, number: int, command: str, timeout: float = 600) -> subprocess.CompletedProcess:
        """A command in a login shell on a host."""
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        words = ["ssh", "-i", str(self.key), *options, f"root@{self.address(number)}"]
        return subprocess.run([*words, f"source ~/.bashrc; {command}"], capture_output=True, text=True, timeout=timeout)

    def await_ssh(self, seconds: float = 20) -> None:
        """Until every host lets us in."""
        for number in self.running:
            until = time.monotonic() + seconds
            while (answer := self.ssh(number, "true")).returncode and time.monotonic() < until:
                time.sleep(0.2)
            assert answer.returncode == 0, answer.stderr

    def cut_off(self, number: int) -> None:
        """Pull the network cable."""
        call("ip", "link", "set", f"hwcls{number}h", "down")

    def kill(self, number: int) -> None:
        """Pull the plug: the first process of its process namespace takes all others with it."""
        outer = self.running.pop(number)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        for pid in children or [str(outer.pid)]:
            os.kill(int(pid), 9)
        outer.wait(20)

    def __exit__(self, *exception: object) -> None:
        for number in list(self.running):
            self.kill(number)
        self._clear()

    def _clear(self) -> None:
        for number in range(1, self.count + 1):
            subprocess.run(["ip", "link", "del", f"hwcls{number}h"], capture_output=True)
            subprocess.run(["ip", "netns", "del", f"hwcls{number}"], capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)
