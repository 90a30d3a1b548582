"""A Ray cluster of several nodes on this machine, each with a cache of its own.

Run as a process of its own, which does what its standard input says: Ray leaves sockets to the garbage collector.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path


class Cluster:
    """The head, with `cpus` for trials, and nodes that come and go."""

    def __init__(self, folder: Path, cpus: int = 0) -> None:
        self.folder, self.count = folder, 0
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a job looks for hwcls there
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": path}
        with open(folder / "raylets.log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.sweep.cluster.raylets", str(cpus)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=Path(__file__).parents[3],
                env=environment,
            )
        self.address, self.dashboard = self._ask({})

    def _ask(self, what: dict) -> list[str]:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, (self.folder / "raylets.log").read_text()
        found: list[str] = json.loads(answer)
        return found

    def add(self, cpus: int = 1, **environment: str) -> int:
        """A further node; returns its number."""
        variables = {"HWCLS_CACHE": str(self.folder / f"cache{self.count}"), **environment}
        self._ask({"add": cpus, "environment": variables})
        self.count += 1
        return self.count - 1

    def kill(self, number: int) -> None:
        """Without a goodbye."""
        self._ask({"kill": number})

    def start(self, *words: object) -> subprocess.Popen:
        """`hwcls ...` as a process of its own, beside the head."""
        command = [sys.executable, "-m", "hwcls", *map(str, words), "--address", self.address]
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@contextmanager
def cluster(folder: Path, cpus: int = 0):
    """A cluster for the length of the block."""
    made = Cluster(folder, cpus)
    try:
        yield made
    finally:
        made.process.stdin.close()
        made.process.wait(60)
        made.process.stdout.close()


def main() -> None:
    from ray.cluster_utils import Cluster as Raylets

    import hwcls.sweep  # noqa: F401  (sets what Ray reads at its import)

    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, agent = probe.getsockname()[1], other.getsockname()[1]
    cpus = int(sys.argv[1])
    head = {"num_cpus": cpus, "num_gpus": 0, "include_dashboard": cpus > 0, "dashboard_port": port}
    head["dashboard_agent_listen_port"] = agent  # Ray's own may be taken by another Ray on this machine
    raylets, nodes = Raylets(initialize_head=True, connect=False, head_node_args=head), []
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            if "add" in asked:
                nodes.append(raylets.add_node(num_cpus=asked["add"], env_vars=asked["environment"]))
            elif "kill" in asked:
                raylets.remove_node(nodes[asked["kill"]], allow_graceful=False)
            print(json.dumps([raylets.address, f"http://127.0.0.1:{port}"]), flush=True)
    finally:
        raylets.shutdown()


if __name__ == "__main__":
    main()
