"""The processes of a group: N rank actors that are started together, joined once, and die together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from hwcls.format import format_duration
from hwcls.sweep.cluster.ray_private import draining_nodes
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.worker import Rank, read_text
from hwcls.training.errors import LostRankError
from hwcls.training.watchdog import hung_location


class RankGroup:
    """N ranks on the bundles of the current placement group.

    Args:
        resources: Of each rank, and how many there are.
        stacks: A folder for what the watchdog of each rank writes when it hangs, on the rank's own node.
    """

    def __init__(self, resources: Resources, stacks: Path) -> None:
        self.resources, self.stacks = resources, stacks
        self.hang_after = 0.0  # of the trial that runs, for the error
        self.node = str(ray.get_runtime_context().get_node_id())  # of this process
        self.start()

    def start(self) -> None:
        """Start the ranks and join them."""
        self.nodes: list[str] = []  # of the ranks, as soon as they are known
        placement = get_current_placement_group()
        size = self.resources.workers
        first = len(placement.bundle_specs) - size if placement else 0  # Tune drops the supervisor's empty bundle
        self.ranks = [self._start_rank(rank, placement, first + rank) for rank in range(size)]
        try:
            self._join()
        except BaseException:
            self.kill()  # one that waits for another in vain would keep this process from ending
            raise

    def _start_rank(self, rank: int, placement: Any, bundle: int) -> Any:
        cpus, gpus = self.resources.cpus_per_worker, self.resources.gpus_per_worker
        strategy = (
            PlacementGroupSchedulingStrategy(placement, placement_group_bundle_index=bundle) if placement else "DEFAULT"
        )
        actor = ray.remote(Rank).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=strategy)
        return actor.remote(rank, self.resources.workers, cpus, gpus, str(self.stacks / str(rank)))

    def _join(self) -> None:
        self.nodes = self.call("node")
        on_nodes = dict(zip(self.nodes, self.ranks, strict=True))  # one rank of each node
        self.wait([rank.watch_spot_notice.remote() for node, rank in on_nodes.items() if node != self.node])
        address = self.call_first("address")
        self.call("join", address)

    @property
    def first_is_local(self) -> bool:
        """Whether rank 0 runs on this node, so that it can write where this process reads."""
        return self.nodes[0] == self.node

    @property
    def all_local(self) -> bool:
        """Whether a file of this node can be read by each rank, without sending it."""
        return self.first_is_local and len(self.ranks) == 1

    def draining(self) -> bool:
        """Whether another node with a rank is drained: a spot instance with its notice, or one that is removed."""
        others = {node for node in self.nodes if node != self.node}
        return bool(others) and not others.isdisjoint(draining_nodes())

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every rank; what each returns."""
        return self.wait([getattr(rank, method).remote(*arguments) for rank in self.ranks])

    def call_first(self, method: str, *arguments: Any) -> Any:
        """Call a method of rank 0; what it returns."""
        return self.wait([getattr(self.ranks[0], method).remote(*arguments)])[0]

    def wait(self, calls: list[Any]) -> list[Any]:
        """Wait for results; raises LostRankError where a rank has died, with the place where it hung if it did."""
        try:
            return list(ray.get(calls))
        except ray.exceptions.RayActorError as error:
            lost = str(error)
        ray.wait(calls, num_returns=len(calls), timeout=2.0)  # ranks that wait for the one that hung end with it
        found = {rank: stack for rank in range(len(self.ranks)) if (stack := self._read_stacks(rank)).strip()}
        if found:
            places = ", ".join(f"rank {rank} was at {hung_location(stack)}" for rank, stack in found.items())
            every = "\n".join(f"rank {rank}\n{stack}" for rank, stack in found.items())
            raise LostRankError(f"{every}\nhung: no step finished in {format_duration(self.hang_after)}; {places}")
        raise LostRankError(f"{lost}\na rank died: it was killed, it crashed, or its node was lost")

    def _read_stacks(self, rank: int) -> str:
        """The stacks that a rank's watchdog dumped; empty where it did not hang or its node is lost."""
        file = str(self.stacks / str(rank))
        if not self.nodes:
            return ""
        if self.nodes[rank] == self.node:
            return read_text(file)
        there = NodeAffinitySchedulingStrategy(self.nodes[rank], soft=False)
        call = ray.remote(read_text).options(num_cpus=0, scheduling_strategy=there).remote(file)
        try:
            return str(ray.get(call, timeout=10.0))
        except ray.exceptions.RayError:
            return ""

    def kill(self) -> None:
        """End all ranks."""
        for rank in self.ranks:
            ray.kill(rank)

    def close(self) -> None:
        """End all ranks and remove what they left on this node."""
        self.kill()
        shutil.rmtree(self.stacks, ignore_errors=True)
