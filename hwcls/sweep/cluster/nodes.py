"""The nodes of a cluster while a sweep runs on it: made ready before their trials start, seen off when they leave."""

from __future__ import annotations

import _thread
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
from ray._private.state import state
from ray.core.generated.common_pb2 import NodeDeathInfo
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hwcls.config.data import DataConfig
from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.autoscaler import promised
from hwcls.sweep.cluster.connect import first_line, machine, on_head
from hwcls.sweep.cluster.resources import Machine, Resources, choose
from hwcls.sweep.storage.environment import package_versions

log = logging.getLogger(__name__)

PACKAGES = ("hwcls", "torch", "ray", "optuna", "timm")  # whose versions all nodes of a cluster must share
LOOK = 2.0  # seconds between two looks at the nodes
LAST = 10.0  # seconds that the threads have at the end
LATE, LOST = 120.0, 600.0  # seconds for which promised nodes are waited for: where trials can run, where none can
REMIND = 120.0  # seconds after which it is said again that trials wait for nodes

LOST_NODE = "is gone; what trained there goes on elsewhere, from its last checkpoint"
GONE = {  # one that is to leave goes as soon as nothing runs there, maybe before it was seen leaving
    NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED: "has left, as its notice said; what trained there goes on elsewhere",
    NodeDeathInfo.AUTOSCALER_DRAIN_IDLE: "had nothing to do and was given back",
}


class Nodes:
    """Watches the nodes on a thread of its own.

    Args:
        data: The data sets that trials read: a node that lacks one fetches and decodes it.
        weights: The files of pretrained weights that trials read: a node that lacks one is refused.
        resources: What each trial gets, to know how many trials the nodes have room for.
    """

    def __init__(self, data: list[DataConfig], weights: list[str], resources: Resources) -> None:
        self.data, self.weights, self.resources = data, weights, resources
        self.own = ray.get_runtime_context().get_node_id()
        self.known: dict[str, str] = {}  # address by node
        self.leaving: set[str] = set()
        self.error: UserError | None = None
        self.tasks: list[Any] = []  # that make nodes ready
        self.threads: list[threading.Thread] = []
        self.waiting = 0  # trials for which there is no room yet
        self.reminded = time.monotonic()
        self.watching, self.ended = False, threading.Event()

    def make_ready(self) -> None:
        """Wait until every node that is there can run trials.

        Raises:
            UserError: A node has another version of something, or cannot have the data.
        """
        self._receive_new()
        for thread in self.threads:
            while thread.is_alive():  # so that Ctrl-C comes through
                thread.join(0.2)
        if self.error:
            raise self.error

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Nodes come and go while the block runs; it ends, with a UserError, when one comes that cannot take part."""
        self.watching = True
        self._start(self._watch)
        try:
            yield
        except KeyboardInterrupt:
            if self.error is None:
                raise
        finally:
            self.watching = False
            self.ended.set()
            for task in self.tasks:
                ray.cancel(task, force=True)
            for thread in self.threads:  # whoever asks Ray after its end ends the process
                thread.join(LAST)
        if self.error:
            raise self.error

    def _watch(self) -> None:
        while not self.ended.is_set():
            try:
                self._look()
            except Exception as error:  # the head is busy: the next look comes soon
                if self.ended.is_set():
                    return
                self._remind(logging.WARNING, f"the cluster does not list its nodes ({first_line(error)})")
            self.ended.wait(LOOK)

    def _look(self) -> None:
        self._receive_new()
        for node in ray.nodes():
            if not node["Alive"] and (address := self.known.pop(node["NodeID"], None)):
                log.info("node %s %s", address, GONE.get(node.get("DeathReason"), LOST_NODE))
        for node in (set(state.get_draining_nodes()) & set(self.known)) - self.leaving:
            self.leaving.add(node)
            address = self.known[node]
            log.info("node %s leaves soon; its trials are saved after their epoch and resume elsewhere", address)
        self._say_room(machine())

    def _say_room(self, there: Machine) -> None:
        room = Machine(there.nodes).slots(self.resources.cpus_per_worker, self.resources.gpus_per_worker)
        waiting = max(0, self.resources.concurrent - room // self.resources.workers)
        if waiting == self.waiting == 0:
            return
        more = len(there.coming) or "no"
        words = f"{waiting} of {self.resources.concurrent} trials at once wait for nodes; {more} more can come"
        if waiting > self.waiting:
            log.info(words)
            self.reminded = time.monotonic()
        elif waiting:
            self._remind(logging.INFO, words)
        self.waiting = waiting

    def _remind(self, level: int, text: str) -> None:
        if time.monotonic() - self.reminded > REMIND:
            self.reminded = time.monotonic()
            log.log(level, text)

    def _new(self) -> list[tuple[str, str, dict[str, float]]]:
        """Nodes that are seen for the first time, but for the driver's own."""
        found = []
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] not in self.known and node["NodeID"] != self.own:
                self.known[node["NodeID"]] = node["NodeManagerAddress"]
                found.append((node["NodeID"], node["NodeManagerAddress"], node["Resources"]))
        return found

    def _receive_new(self) -> None:
        for node in self._new():
            self._start(self._receive, *node)

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _receive(self, node: str, address: str, has: dict[str, float]) -> None:
        """Hold a node's versions against ours, and have it fetch what it lacks."""
        log.info("node %s has joined: %g CPUs, %g GPUs", address, has.get("CPU", 0), has.get("GPU", 0))
        here = NodeAffinitySchedulingStrategy(node, soft=False)
        asked = {"num_cpus": 0, "scheduling_strategy": here, "max_retries": 0}
        try:
            task = ray.remote(ready).options(num_returns="streaming", **asked)
            lines = task.remote(node_versions(), self.data, self.weights)
            self.tasks.append(lines)
            for line in lines:
                wrong, text = ray.get(line)
                if wrong:
                    return self._refuse(UserError(f"{text}", where=f"node {address}"))
                log.info("node %s: %s", address, text)
        except ray.exceptions.RayError as error:
            if "ModuleNotFoundError" in str(error):
                missing = UserError("hwcls is not installed there", where=f"node {address}", remedy="use one image")
                return self._refuse(missing)
            if not self.ended.is_set():
                log.warning("node %s could not be checked (%s)", address, first_line(error))

    def _refuse(self, error: UserError) -> None:
        self.error = self.error or error
        if self.watching:
            _thread.interrupt_main()


def room(asked: ResourcesConfig, where: str) -> tuple[Resources, Machine]:
    """What each trial gets of the cluster; waits for nodes that it starts by itself, the longer if nothing runs else.

    Raises:
        UserError: The cluster, grown as far as it can, will never run a single trial.
    """
    begun, told = time.monotonic(), False
    while True:
        there = machine()
        missing = promised() - len(there.nodes) if on_head() else 0
        waited = time.monotonic() - begun
        try:
            chosen = choose(asked, there, where)
            if missing <= 0 or waited > LATE:
                return chosen, there
        except UserError as error:
            if missing <= 0:
                raise
            if waited > LOST:
                what = f"{error.what}; {missing} that the cluster was to start have not come"
                raise UserError(what, where=error.where, remedy="see `ray status` on the head") from None
        if not told:
            log.info("waiting for %d node%s that the cluster is starting", missing, "s" * (missing > 1))
            told = True
        time.sleep(LOOK)


def node_versions() -> dict[str, str | None]:
    """The versions that all nodes must share, as installed on the node that this runs on."""
    return package_versions(PACKAGES)


def version_differences(mine: dict[str, str | None], theirs: dict[str, str | None]) -> str:
    """Where two nodes' versions differ, in words; empty where they do not."""
    return ", ".join(
        f"{name} {theirs.get(name)} instead of {mine[name]}" for name in mine if theirs.get(name) != mine[name]
    )


def ready(driver: dict[str, str | None], data: list[DataConfig], weights: list[str]) -> Iterator[tuple[bool, str]]:
    """Runs on a node: yields (whether it is an error, a line) while it gets what trials need."""
    if found := version_differences(driver, node_versions()):
        yield True, f"has {found} — use the same image on every node"
        return
    for path in weights:
        if not Path(path).is_file():
            remedy = "put it on every node and name its absolute path, or use `hwcls submit`, which sends it"
            yield True, f"has no weights file '{path}' — {remedy}"
            return
    from hwcls.data.store import has_store, open_store

    lines: SimpleQueue[tuple[bool, str] | None] = SimpleQueue()

    def fetch() -> None:
        try:
            for config in data:
                if not has_store(config):
                    lines.put((False, f"{config.name} is not there yet; its trials wait for it"))
                    open_store(config, lambda text: lines.put((False, text)))
        except Exception as error:  # whatever it is, somebody waits
            known = isinstance(error, UserError | OSError)
            lines.put((True, str(error) if known else f"{type(error).__name__}: {error}"))
        finally:
            lines.put(None)

    threading.Thread(target=fetch, daemon=True).start()
    while line := lines.get():
        yield line
