"""The warm DDP group: a Tune Trainable that supervises N rank actors and reuses them from trial to trial."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.ray_private import draining_nodes
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.worker import Rank, read_folder, read_words
from hwcls.sweep.storage.user_code import read_sources
from hwcls.tracking.records import best_of
from hwcls.training.errors import LostRankError, MemoryRanOutError
from hwcls.training.watchdog import hung_location

PLACE = 0.001  # of a node's own resource, of which it has 1


class WarmGroup(tune.Trainable):  # type: ignore[misc]
    """Runs one trial after the other on the same processes; `step` is one epoch on all of them.

    Its config: `key`, `config` (a TrialConfig's values), `resources`, `keep`, `checkpoints` (folders to go on from),
    `hang_after` (seconds without a step).
    """

    def setup(self, config: dict[str, Any], store: str = "") -> None:
        self.store = store
        self.resources = Resources(**config["resources"])
        self.last_words = Path(self.logdir, "last_words")  # in Ray's session folder: it goes with that
        self._launch()
        self.waiting: dict[str, Any] | None = config

    def _launch(self) -> None:
        """Start the ranks and let them meet."""
        self.nodes: list[str] = []  # that the ranks run on, as soon as it is known
        group = get_current_placement_group()
        size = self.resources.workers
        first = len(group.bundle_specs) - size if group else 0  # Tune drops the supervisor's empty bundle
        self.ranks = [
            ray.remote(Rank)
            .options(
                num_cpus=self.resources.cpus_per_worker,
                num_gpus=self.resources.gpus_per_worker,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=first + rank)
                if group
                else "DEFAULT",
            )
            .remote(
                rank,
                size,
                self.resources.cpus_per_worker,
                self.resources.gpus_per_worker > 0,
                str(self.last_words / str(rank)),
            )
            for rank in range(size)
        ]
        try:
            self._meet()
        except BaseException:
            self._kill()  # one that waits for another in vain would keep this process from ending
            raise

    def _meet(self) -> None:
        self.nodes = self._answers([rank.node.remote() for rank in self.ranks])
        self.node = ray.get_runtime_context().get_node_id()
        self.here = self.nodes[0] == self.node
        on_nodes = dict(zip(self.nodes, self.ranks, strict=True))  # one rank of each node
        self._answers([rank.watch.remote() for node, rank in on_nodes.items() if node != self.node])
        (address,) = self._answers([self.ranks[0].address.remote()])
        self._answers([rank.join.remote(address) for rank in self.ranks])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; what the ranks loaded stays loaded.

        It is built with its first step: Tune retries what fails there, but not what fails in here.
        """
        self.waiting = new_config
        return True

    def _start(self) -> None:
        config, self.waiting = self.waiting, None
        if config is None:
            return
        self.values, self.key = config["config"], config["key"].replace("/", "-")
        self.metric = MetricConfig(**self.values["metric"])
        self.epochs = self.values["epochs"]
        self.keep_last = config["keep"] == "all"
        self.hang_after = config["hang_after"]
        self.checkpoints: list[str] = list(config["checkpoints"])  # the latest first
        self.sources = read_sources(self.values)
        self.told = 0  # the last epoch that the driver knows of
        self._build(None)

    def _build(self, micro_batch: int | None) -> None:
        """Let the ranks go on from the latest checkpoint that can be read."""
        self._begin(micro_batch)
        self.sent = 0  # records that the driver has
        self.note = ""
        for checkpoint in self.checkpoints:
            try:
                self._load(checkpoint)
                return
            except (ray.exceptions.RayTaskError, OSError) as error:  # torn or gone: the one before
                self.note = str(getattr(error, "cause", error))
        if self.checkpoints:  # some ranks may have loaded what another could not
            self._begin(micro_batch)
            self.note += "; the trial starts anew"

    def _begin(self, micro_batch: int | None) -> None:
        calls = [rank.start.remote(self.values, self.sources, micro_batch, self.hang_after) for rank in self.ranks]
        self.phases = self._answers(calls)[0]

    def step(self) -> dict[str, Any]:
        """One epoch on every rank; a dead or failing rank raises at once, what the user must mend ends the trial.

        On a node that is about to go no epoch begins any more: the trial was saved, and Tune starts it elsewhere.
        """
        if self._leaving():
            raise LostRankError("its node is about to be taken away")
        try:
            self._start()
        except UserError as error:  # starting again would give the same
            return self._unbuilt(str(getattr(error, "cause", error)))
        while True:  # epochs that the driver knows of are trained again where memory ran out
            result = self._epoch()
            records = result["records"]
            epoch = records[-1]["epoch"] if records else 0
            if epoch > self.told or "failure" in result:
                break
        best = best_of(records, self.metric)
        values = {
            "epoch": epoch,
            "epochs": self.epochs,
            "value": records[-1][self.metric.name] if records else None,
            "best": best[self.metric.name] if best else self.metric.worst,
            "records": records[self.sent :],
            "micro_batch": result["micro_batch"],
            "cost": result["cost"],
            "phases": self.phases,
            "done": epoch >= self.epochs or "failure" in result,
            "leaving": self._leaving(),
        }
        if self.note:
            values["note"], self.note = self.note, ""
        self.sent, self.told = len(records), epoch
        return values | ({"failure": result["failure"]} if "failure" in result else {})

    def _leaving(self) -> bool:
        """Whether a node of a rank is drained: a spot instance with its notice, or one that the user takes away."""
        elsewhere = {node for node in self.nodes if node != self.node}
        return bool(elsewhere) and not elsewhere.isdisjoint(draining_nodes())

    def _unbuilt(self, failure: str) -> dict[str, Any]:
        """The result of a trial that never began."""
        values = {"epoch": 0, "epochs": self.epochs, "value": None, "best": self.metric.worst, "records": []}
        return values | {"micro_batch": None, "phases": {}, "done": True, "failure": failure}

    def _epoch(self) -> dict[str, Any]:
        """One epoch; where memory runs out, new ranks go on from the checkpoint with smaller micro-batches."""
        while True:
            try:
                result: dict[str, Any] = self._answers([rank.epoch.remote() for rank in self.ranks])[0]
                return result
            except MemoryRanOutError as error:
                smaller = error.smaller
            self._kill()  # the others wait for the one that failed
            self._launch()
            self._build(smaller)

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """As Tune's; remembers where the checkpoint has come to lie."""
        result = super().save(checkpoint_dir)
        self.checkpoints = [result.checkpoint.path, *self.checkpoints]
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Rank 0 writes; from another node the files come through Ray, but for a state that has a store to go to."""
        if self.here and not self.store:
            self._answers([self.ranks[0].save.remote(checkpoint_dir, self.keep_last)])
            return
        (files,) = self._answers([self.ranks[0].save_content.remote(self.keep_last, self.store, self.key)])
        for name, content in files.items():
            path = Path(checkpoint_dir, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def load_checkpoint(self, checkpoint: str) -> None:
        """The trial goes on from here, or where this is torn from the one before it, as soon as it is built."""
        latest = Path(checkpoint)
        there = sorted((str(path) for path in latest.parent.glob("checkpoint_*") if path <= latest), reverse=True)
        assert self.waiting is not None, "Tune restores right after setup and reset_config"
        self.waiting = {**self.waiting, "checkpoints": [*there, *self.waiting["checkpoints"]]}

    def _load(self, checkpoint: str) -> None:
        direct = self.here and len(self.ranks) == 1 and not self.store
        content = None if direct else ray.put(read_folder(checkpoint))
        self._answers([rank.load.remote(checkpoint, content, self.store) for rank in self.ranks])
        self.sent = 0

    def _answers(self, calls: list[Any]) -> list[Any]:
        """What every rank answers; LostRankError where one has died, with where it hung if it did."""
        try:
            return list(ray.get(calls))
        except ray.exceptions.RayActorError as error:
            lost = str(error)
        ray.wait(calls, num_returns=len(calls), timeout=2.0)  # ranks that wait for the one that hung end with it
        if hung := {rank: words for rank in range(len(self.ranks)) if (words := self._words(rank)).strip()}:
            stood = ", ".join(f"rank {rank} stood at {hung_location(words)}" for rank, words in hung.items())
            every = "\n".join(f"rank {rank}\n{words}" for rank, words in hung.items())
            raise LostRankError(f"{every}\nhung: no step in {self.hang_after:g} s; {stood}")
        raise LostRankError(f"{lost}\na rank died: killed, crashed, or its node is gone")

    def _words(self, rank: int) -> str:
        """What a rank left where it hung, nothing where its node is gone."""
        file = str(self.last_words / str(rank))
        if not self.nodes:
            return ""
        if self.nodes[rank] == self.node:
            return read_words(file)
        there = NodeAffinitySchedulingStrategy(self.nodes[rank], soft=False)
        call = ray.remote(read_words).options(num_cpus=0, scheduling_strategy=there).remote(file)
        try:
            return str(ray.get(call, timeout=10.0))
        except ray.exceptions.RayError:
            return ""

    def cleanup(self) -> None:
        self._kill()
        shutil.rmtree(self.last_words, ignore_errors=True)

    def _kill(self) -> None:
        for rank in self.ranks:
            ray.kill(rank)


def placement(resources: Resources, home: str = "") -> Any:
    """What Ray sets aside for a trial: a bundle per rank, and for the supervisor, which only waits, its place.

    Args:
        resources: What the ranks get.
        home: The resource that the driver's node alone has; there the results lie. Empty where Ray is this machine.
    """
    rank = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        rank["GPU"] = resources.gpus_per_worker  # type: ignore[assignment]
    bundles = [{home: PLACE} if home else {}, *[dict(rank) for _ in range(resources.workers)]]
    return tune.PlacementGroupFactory(bundles, strategy="PACK")


def trainable(resources: Resources, home: str = "", store: str = "") -> Any:
    """WarmGroup with its placement; `store` is the URL that states of checkpoints go to, past the driver's node."""
    group = tune.with_parameters(WarmGroup, store=store) if store else WarmGroup
    return tune.with_resources(group, placement(resources, home))
