"""The processes of a group: N rank actors that are started together, joined once, and die together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from hwcls.errors import UserError
from hwcls.sweep.cluster.ray_private import draining_nodes
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.worker import Rank, read_text
from hwcls.training.errors import LostRankError, is_lost_peer
from hwcls.training.watchdog import describe_hang

DIED = "a rank died: it was killed, it crashed, or its node was lost"
PATIENCE = 2.0  # seconds for ranks that failed together to report it


class RankGroup:
    """N ranks on the bundles of the current placement group.

    Args:
        resources: Of each rank, and how many there are.
        stacks: A folder for what the watchdog of each rank writes when it hangs, on the rank's own node.
        hang_after: Seconds after which that happens.
    """

    def __init__(self, resources: Resources, stacks: Path, hang_after: float) -> None:
        self.resources, self.stacks, self.hang_after = resources, stacks, hang_after
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
        except BaseException as error:
            self.kill()  # one that waits for another in vain would keep this process from ending
            if isinstance(error, UserError):  # of a node or the network, not of the trial: another try may succeed
                raise LostRankError(str(getattr(error, "cause", error))) from None
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
        self.call("join", address, self.hang_after)

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
        """Wait for results; raises the error of a rank as it is.

        Where a rank has died, or has lost another one, it is LostRankError, with the place where a rank hung if it did.
        """
        try:
            return list(ray.get(calls))
        except ray.exceptions.RayActorError as error:
            lost = f"{error}\n{DIED}"
        except ray.exceptions.RayTaskError as error:
            if not is_lost_peer(error.cause or error):
                raise
            lost = f"{error}\na rank has lost another one: the network between them fails"
        ended, _ = ray.wait(calls, num_returns=len(calls), timeout=PATIENCE)  # those that wait for the one that hung
        lost = next(filter(None, map(_death, ended)), lost)
        stacks = {rank: self._read_stacks(rank) for rank in range(len(self.ranks))}
        if hang := describe_hang(stacks):
            every = "\n".join(f"rank {rank}\n{stack}" for rank, stack in stacks.items() if stack.strip())
            raise LostRankError(f"{every}\n{hang}")
        raise LostRankError(lost)

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

    def restart(self) -> None:
        """Replace all ranks: those that wait for one that failed would wait for long."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """End all ranks."""
        for rank in self.ranks:
            ray.kill(rank)

    def close(self) -> None:
        """End all ranks and remove what they left on this node."""
        self.kill()
        shutil.rmtree(self.stacks, ignore_errors=True)


def _death(call: Any) -> str:
    """How the rank of a call died; empty where it lives."""
    try:
        ray.get(call)
    except ray.exceptions.RayActorError as error:
        return f"{error}\n{DIED}"
    except ray.exceptions.RayError:
        pass
    return ""
