"""The nodes of a cluster while a sweep runs on it: prepared before their trials start, watched until they leave."""

from __future__ import annotations

import _thread
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hwcls.config.data import DataConfig
from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.sweep.cluster.autoscaler import minimum_nodes
from hwcls.sweep.cluster.connect import cluster_machine, first_line, on_head, ray_command
from hwcls.sweep.cluster.ray_private import draining_nodes, was_idle, was_preempted
from hwcls.sweep.cluster.resources import Machine, Resources, choose_resources
from hwcls.sweep.storage.environment import package_versions
from hwcls.sweep.storage.weights import Needed, weights_problem
from hwcls.training.gpu import run_apart

log = logging.getLogger(__name__)

# all nodes of a cluster must have the same versions of them; pillow decides with others which images are near copies
PACKAGES = ("hwcls", "torch", "ray", "optuna", "timm", "pillow")
POLL = 2.0  # seconds between two looks at the nodes
JOIN_TIMEOUT = 10.0  # seconds for the threads to end
NODES_TIMEOUT = 120.0  # seconds to wait for the nodes that the cluster starts itself, if trials can run without them,
NO_NODES_TIMEOUT = 600.0  # and if none can
SAME_SPLITS = "copy the same files to every node; where they are the same, write data.duplicates: exact"
GPU_TIMEOUT = 120.0  # seconds for torch to find the GPUs
REMIND = 120.0  # seconds between two reminders


class Nodes:
    """Prepares every node that joins, and logs those that leave, on threads.

    Args:
        data: The data sets of the trials, each with the digest of its splits: a node that lacks one fetches and decodes
            it, one that splits it in another way is an error.
        weights: The pretrained weights there: a node that lacks one or has another is an error.
        resources: Of each trial, to know how many trials fit on the nodes.
    """

    def __init__(self, data: Mapping[DataConfig, str], weights: Needed, resources: Resources) -> None:
        self.data, self.weights, self.resources = data, weights, resources
        self.own = ray.get_runtime_context().get_node_id()
        self.known: dict[str, str] = {}  # address by node
        self.leaving: set[str] = set()
        self.error: UserError | None = None
        self.tasks: list[Any] = []  # that prepare nodes
        self.threads: list[threading.Thread] = []
        self.waiting = 0  # trials that do not fit on the nodes yet
        self.reminded = time.monotonic()
        self.watching, self.ended = False, threading.Event()

    def prepare(self) -> None:
        """Wait until every live node can run trials.

        Raises:
            UserError: A node has other versions, cannot have the data, or has GPUs that torch cannot use.
        """
        own = next(node for node in ray.nodes() if node["NodeID"] == self.own)
        if self._lends_gpus(own["Resources"]) and (problem := gpu_problem()):
            raise UserError(problem, where=f"node {own['NodeManagerAddress']}")
        self._prepare_new()
        for thread in self.threads:
            while thread.is_alive():  # in short waits, so that Ctrl-C gets through
                thread.join(0.2)
        if self.error:
            raise self.error

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the nodes while the block runs; it ends with a UserError when a new node cannot run trials."""
        self.watching = True
        self._start_thread(self._watch)
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
            for thread in self.threads:  # a call to Ray after its shutdown would end the process
                thread.join(JOIN_TIMEOUT)
        if self.error:
            raise self.error

    def _watch(self) -> None:
        while not self.ended.is_set():
            try:
                self._poll()
            except Exception as error:  # the head is busy: poll again
                if self.ended.is_set():
                    return
                self._remind(logging.WARNING, f"the cluster does not list its nodes ({first_line(error)})")
            self.ended.wait(POLL)

    def _poll(self) -> None:
        self._prepare_new()
        for node in ray.nodes():
            if not node["Alive"] and (address := self.known.pop(node["NodeID"], None)):
                log.info("node %s %s", address, _departure(node))
        for node in (draining_nodes() & set(self.known)) - self.leaving:
            self.leaving.add(node)
            address = self.known[node]
            log.info("node %s leaves soon; its trials are saved after their epoch and resume elsewhere", address)
        self._log_waiting(cluster_machine())

    def _log_waiting(self, machine: Machine) -> None:
        slots = Machine(machine.nodes).slots(self.resources.cpus_per_worker, self.resources.gpus_per_worker)
        waiting = max(0, self.resources.concurrent - slots // self.resources.workers)
        if waiting == self.waiting == 0:
            return
        more = len(machine.startable) or "no"
        at_once = format_count(self.resources.concurrent, "trial")
        verb = "waits" if waiting == 1 else "wait"
        text = f"{waiting} of {at_once} at once {verb} for nodes; {more} more can start"
        if waiting > self.waiting:
            log.info(text)
            self.reminded = time.monotonic()
        elif waiting:
            self._remind(logging.INFO, text)
        self.waiting = waiting

    def _remind(self, level: int, text: str) -> None:
        if time.monotonic() - self.reminded > REMIND:
            self.reminded = time.monotonic()
            log.log(level, text)

    def _prepare_new(self) -> None:
        """Prepare every node that is seen for the first time, except for the driver's own."""
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] not in self.known and node["NodeID"] != self.own:
                self.known[node["NodeID"]] = node["NodeManagerAddress"]
                self._start_thread(self._prepare_node, node["NodeID"], node["NodeManagerAddress"], node["Resources"])

    def _lends_gpus(self, resources: Mapping[str, float]) -> bool:
        """Whether trials get GPUs of a node with these resources."""
        return self.resources.gpus_per_worker > 0 and resources.get("GPU", 0) > 0

    def _start_thread(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _prepare_node(self, node: str, address: str, resources: dict[str, float]) -> None:
        """Compare a node's versions with the driver's, and have it fetch the data that it lacks."""
        log.info("node %s has joined: %g CPUs, %g GPUs", address, resources.get("CPU", 0), resources.get("GPU", 0))
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": strategy, "max_retries": 0}
        try:
            task = ray.remote(prepare_this_node).options(num_returns="streaming", **options)
            messages = task.remote(node_versions(), self.data, self.weights, self._lends_gpus(resources))
            self.tasks.append(messages)
            for message in messages:
                is_error, text = ray.get(message)
                if is_error:
                    return self._fail(UserError(f"{text}", where=f"node {address}"))
                log.info("node %s: %s", address, text)
        except ray.exceptions.RayError as error:
            if "ModuleNotFoundError" in str(error):
                missing = UserError("hwcls is not installed there", where=f"node {address}", remedy="use one image")
                return self._fail(missing)
            if not self.ended.is_set():
                log.warning("node %s could not be checked (%s)", address, first_line(error))

    def _fail(self, error: UserError) -> None:
        self.error = self.error or error
        if self.watching:
            _thread.interrupt_main()


def _departure(node: dict[str, Any]) -> str:
    """Why a node is gone; one that drains leaves as soon as nothing runs on it, maybe before a poll saw it drain."""
    if was_preempted(node):
        return "has left, as its notice announced; its trials resume elsewhere"
    if was_idle(node):
        return "was idle and has been shut down"
    return "is lost; its trials resume elsewhere, from their last checkpoints"


def wait_for_resources(asked: ResourcesConfig, where: str) -> tuple[Resources, Machine]:
    """Choose each trial's resources on the cluster, after waiting for the nodes that it starts itself.

    Raises:
        UserError: The cluster, grown as far as it can, will never run a single trial.
    """
    started, logged = time.monotonic(), False
    while True:
        machine = cluster_machine()
        missing = minimum_nodes() - len(machine.nodes) if on_head() else 0
        waited = time.monotonic() - started
        try:
            chosen = choose_resources(asked, machine, where)
            if missing <= 0 or waited > NODES_TIMEOUT:
                return chosen, machine
        except UserError as error:
            if missing <= 0:
                raise
            if waited > NO_NODES_TIMEOUT:
                verb = "is" if missing == 1 else "are"
                what = f"{error.what}; {format_count(missing, 'node')} that the cluster should start {verb} missing"
                raise UserError(what, where=error.where, remedy=f"see `{ray_command('status')}` on the head") from None
        if not logged:
            log.info("waiting for %s that the cluster is starting", format_count(missing, "node"))
            logged = True
        time.sleep(POLL)


def node_versions() -> dict[str, str | None]:
    """The versions that all nodes must share, as installed on the node that this runs on."""
    return package_versions(PACKAGES)


def version_differences(mine: dict[str, str | None], theirs: dict[str, str | None]) -> str:
    """Where two nodes' versions differ, in words; empty where they do not."""
    return ", ".join(
        f"{name} {theirs.get(name)} instead of {mine[name]}" for name in mine if theirs.get(name) != mine[name]
    )


def gpu_problem() -> str:
    """Why torch cannot use the GPUs of this node, with the remedy; empty where it can.

    A process of its own looks: Ray hides the GPUs from one that has none, and torch would stay loaded here.
    """
    look = "from hwcls.training.gpu import cuda_problem; print(cuda_problem())"
    found, failure = run_apart(["-c", look], GPU_TIMEOUT, "CUDA_VISIBLE_DEVICES")
    problem = f"whether torch can use it is not known: {failure}" if failure else found.strip()
    return f"has a GPU, but {problem} — run `hwcls doctor` there, or set gpus_per_worker: 0" if problem else ""


def prepare_this_node(
    driver: dict[str, str | None], data: Mapping[DataConfig, str], weights: Needed, gpu: bool = False
) -> Iterator[tuple[bool, str]]:
    """Run on a node: check its versions and files and fetch data; yields messages, each with whether it is an error.

    Args:
        driver: The versions there.
        data: Each data set with the digest of its splits there.
        weights: Those that must be here.
        gpu: Whether trials get GPUs of this node.
    """
    if found := version_differences(driver, node_versions()):
        yield True, f"has {found} — use the same image on every node"
        return
    if problem := weights_problem(weights):
        yield True, problem
        return
    if gpu and (problem := gpu_problem()):
        yield True, problem
        return
    from hwcls.data.imageset import is_prepared, open_data

    messages: SimpleQueue[tuple[bool, str] | None] = SimpleQueue()

    def fetch() -> None:
        try:
            for config, digest in data.items():
                if not is_prepared(config):
                    messages.put((False, f"preparing {config.title}; its trials wait for it"))
                if open_data(config, lambda text: messages.put((False, text))).split_digest() != digest:
                    messages.put((True, f"splits {config.title} in another way — {SAME_SPLITS}"))
        except Exception as error:  # reported to the driver, whatever it is
            known = isinstance(error, UserError | OSError)
            messages.put((True, str(error) if known else f"{type(error).__name__}: {error}"))
        finally:
            messages.put(None)

    threading.Thread(target=fetch, daemon=True).start()
    while message := messages.get():
        yield message
