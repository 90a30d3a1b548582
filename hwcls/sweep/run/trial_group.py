"""The warm DDP group: a Tune Trainable that supervises N rank actors and reuses them from trial to trial."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.rank_group import RankGroup
from hwcls.sweep.run.worker import RankEpoch, read_folder
from hwcls.sweep.search.messages import JOB, EpochReport, Job
from hwcls.sweep.storage.user_code import read_sources
from hwcls.tracking.records import best_of
from hwcls.training.errors import LostRankError, MemoryRanOutError

HOME_SHARE = 0.001  # of the driver node's own resource, of which it has 1


class RecordBuffer:
    """A trial's records as its group has seen them, and which of them the driver does not have yet."""

    def __init__(self, metric: MetricConfig) -> None:
        self.metric = metric
        self.reported = 0  # the last epoch that the driver has
        self.restore([])

    def restore(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Begin again from the records of a checkpoint; the driver may lack any of them."""
        self.unsent: list[Mapping[str, Any]] = []
        self.last: Mapping[str, Any] | None = None
        self.best: Mapping[str, Any] | None = None
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the next epoch's record."""
        self.unsent.append(record)
        self.last = record
        self.best = best_of([self.best, record] if self.best else [record], self.metric)

    @property
    def epoch(self) -> int:
        return self.last["epoch"] if self.last else 0

    def report(self, epochs: int, **more: Any) -> EpochReport:
        """What the driver lacks."""
        records, self.unsent, self.reported = tuple(self.unsent), [], self.epoch
        name = self.metric.name
        value = self.last[name] if self.last else None
        best = self.best[name] if self.best else self.metric.worst
        return EpochReport(self.epoch, epochs, value, best, records, **more)


class WarmGroup(tune.Trainable):  # type: ignore[misc]
    """Runs one trial after the other on the same processes; its config holds a Job, `step` is one epoch on all ranks.

    `store` is the URL of the storage that the states of checkpoints go to; empty where they stay with the driver.
    """

    def setup(self, config: dict[str, Any], store: str = "") -> None:
        self.store = store
        stacks = Path(self.logdir, "stacks")  # in Ray's session folder, which Ray removes
        self.ranks = RankGroup(config[JOB].resources, stacks, config[JOB].hang_after)
        self.next_job: Job | None = config[JOB]
        self.note = ""  # for the log, with the next report
        self.dropped = 0  # characters that the model's code has printed in vain

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; what the ranks loaded stays loaded.

        It is built with its first step: Tune retries what fails there, but not what fails in here.
        """
        self.next_job = new_config[JOB]
        return True

    def load_checkpoint(self, checkpoint: str) -> None:
        """Have the trial resume from here, or where this cannot be read from the one before, once it is built."""
        latest = Path(checkpoint)
        there = sorted((str(path) for path in latest.parent.glob("checkpoint_*") if path <= latest), reverse=True)
        assert self.next_job is not None, "Tune restores right after setup and reset_config"
        self.next_job = replace(self.next_job, checkpoints=(*there, *self.next_job.checkpoints))

    def step(self) -> dict[str, Any]:
        """One epoch on every rank; a rank that dies or fails raises at once, an error of the user's ends the trial.

        On a node that is drained no epoch begins: the trial was saved, and Tune starts it elsewhere.
        """
        if self.ranks.draining():
            raise LostRankError("its node is about to be taken away")
        started = time.monotonic()
        try:
            return self._next_report(started).to_result()
        except UserError as error:  # trying again would give the same
            failure, seconds = str(getattr(error, "cause", error)), time.monotonic() - started
        if self.job.resources.workers > 1:
            self.ranks.restart()  # for the next trial
        return self.records.report(self.job.epochs, seconds=seconds, failure=failure).to_result()

    def _next_report(self, started: float) -> EpochReport:
        """Start the next trial if there is one, and train until there is an epoch that the driver lacks."""
        if self.next_job is not None:
            self._start(self.next_job)
            started += self.phases.get("features", 0.0)  # which all trials share: they are charged to none
        while True:  # epochs that the driver has are trained again where memory ran out
            ran = self._run_epoch()
            if ran.record:
                self.records.add(ran.record)
            if self.records.epoch > self.records.reported or ran.failure is not None:
                break
        note, self.note = self.note, ""
        if ran.dropped and not self.dropped:
            note = "; ".join(
                filter(None, [note, f"the model's code prints a lot: {ran.dropped:,} characters were left out"])
            )
        self.dropped = ran.dropped
        return self.records.report(
            self.job.epochs,
            seconds=time.monotonic() - started,
            micro_batch=ran.micro_batch,
            cost=ran.cost,
            effective=ran.effective,
            phases=self.phases,
            draining=self.ranks.draining(),
            note=note,
            failure=ran.failure,
        )

    def _start(self, job: Job) -> None:
        self.job, self.next_job, self.dropped = job, None, 0
        self.checkpoints = list(job.checkpoints)  # the newest first
        self.records = RecordBuffer(job.config.metric)
        self.sources = read_sources(job.config)
        self._build(None)

    def _build(self, micro_batch: int | None) -> None:
        """Have the ranks build the trial and resume from the newest checkpoint that can be read."""
        self._build_trainers(micro_batch)
        self.records.restore([])
        self.note = ""
        for checkpoint in self.checkpoints:
            try:
                self.records.restore(self._load(checkpoint))
                return
            except (ray.exceptions.RayTaskError, OSError) as error:  # truncated or gone: the one before
                self.note = str(getattr(error, "cause", error))
        if self.checkpoints:  # some ranks may have loaded what another could not
            self._build_trainers(micro_batch)
            self.note += "; the trial starts again from its first epoch"

    def _build_trainers(self, micro_batch: int | None) -> None:
        prepared: dict[str, float] = self.ranks.call("prepare", self.job.config, self.sources)[0]
        built = self.ranks.call("build", self.job.config, micro_batch, self.job.hang_after)[0]
        self.phases = {**prepared, "model": built}

    def _load(self, checkpoint: str) -> list[Mapping[str, Any]]:
        """Load a checkpoint on every rank; the records of the epochs before it."""
        direct = self.ranks.all_local and not self.store
        content = None if direct else ray.put(read_folder(checkpoint))
        records: list[Mapping[str, Any]] = self.ranks.call("load", checkpoint, content, self.store)[0]
        return records

    def _run_epoch(self) -> RankEpoch:
        """One epoch; where memory runs out, new ranks resume from the checkpoint with smaller micro-batches."""
        while True:
            try:
                ran: RankEpoch = self.ranks.call("epoch")[0]
                return ran
            except MemoryRanOutError as error:
                smaller = error.smaller
            self.ranks.restart()
            self._build(smaller)

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """As Tune's; remembers the folder, to resume from it where memory runs out."""
        result = super().save(checkpoint_dir)
        self.checkpoints = [result.checkpoint.path, *self.checkpoints]
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Rank 0 writes; from another node the files come through Ray, except a state that goes to the store."""
        keep_last, keep_best = self.job.keep == "all", self.job.keep != "none"  # any checkpoint may be the last one
        if self.ranks.first_is_local and not self.store:
            self.ranks.call_first("save", checkpoint_dir, keep_last, keep_best)
            return
        files = self.ranks.call_first("save_content", keep_last, keep_best, self.store, self.job.name)
        for name, content in files.items():
            path = Path(checkpoint_dir, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def cleanup(self) -> None:
        self.ranks.close()


def placement(resources: Resources, home: str = "") -> Any:
    """The bundles that Ray reserves for a trial: one per rank, and one for the supervisor, which only waits.

    Args:
        resources: Of the ranks.
        home: The resource that only the driver's node has, where the results are. Empty where Ray is this machine.
    """
    rank = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        rank["GPU"] = resources.gpus_per_worker  # type: ignore[assignment]
    bundles = [{home: HOME_SHARE} if home else {}, *[dict(rank) for _ in range(resources.workers)]]
    return tune.PlacementGroupFactory(bundles, strategy="PACK")


def build_trainable(resources: Resources, home: str = "", store: str = "") -> Any:
    """WarmGroup with its placement; `store` is as WarmGroup has it."""
    group = tune.with_parameters(WarmGroup, store=store) if store else WarmGroup
    return tune.with_resources(group, placement(resources, home))
