"""The warm DDP group: a Tune Trainable that supervises N rank actors and reuses them from trial to trial."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from hwcls import files
from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.rank_group import RankGroup
from hwcls.sweep.run.worker import RankEpoch
from hwcls.sweep.search.messages import JOB, EpochReport, Job
from hwcls.sweep.storage.checkpoint_store import find_checkpoints, name_checkpoint, write_place
from hwcls.sweep.storage.rank_saves import SaveRequest, read_folder
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

    @property
    def seconds(self) -> float:
        """Of the last epoch."""
        return (self.last or {}).get("seconds") or 0.0

    def report(self, epochs: int, **more: Any) -> EpochReport:
        """What the driver lacks."""
        records, self.unsent, self.reported = tuple(self.unsent), [], self.epoch
        name = self.metric.name
        value = self.last[name] if self.last else None
        best = self.best[name] if self.best else self.metric.worst
        return EpochReport(self.epoch, epochs, value, best, records, **more)


class TrialCheckpoints:
    """The checkpoints of the trial that runs: rank 0 writes them while it trains, this process names their folders.

    Args:
        ranks: Of the trial.
        job: The trial.
        store: As WarmGroup has it.
    """

    def __init__(self, ranks: RankGroup, job: Job, store: str) -> None:
        self.ranks, self.job, self.store = ranks, job, store
        self.begun = time.monotonic()  # the last one
        self.writing: Path | None = None
        self.complete = ""  # the folder of the last one, until it is collected

    @property
    def _written_here(self) -> bool:
        """Whether rank 0 writes where this process reads: the files then survive a lost rank."""
        return self.ranks.first_is_local and not self.store

    def begin_if_due(self, epoch: int, seconds: float) -> None:
        """Have a checkpoint written of `epoch`, the last one, unless the one before is recent or not written yet.

        When the next one can be read, the one before is at most `save_every` or one epoch old. What rank 0 does not
        write here is fetched after the next epoch, or waited for where two epochs, of `seconds`, take longer than that.
        """
        ahead = seconds if self._written_here else 2 * seconds
        if self.writing is not None or time.monotonic() - self.begun + ahead <= self.job.save_every:
            return
        self._begin(epoch)
        if not self._written_here and ahead > self.job.save_every:
            self._fetch(wait=True)

    def _begin(self, epoch: int) -> None:
        self.begun = time.monotonic()
        folder = name_checkpoint(Path(self.job.saved_in), epoch)
        here = str(folder) if self._written_here else None
        last, whole = self.job.keep == "all", self.job.keep != "none"  # any checkpoint may be the last one
        self.ranks.call_first("begin_save", SaveRequest(here, last, whole, self.store, self.job.name))
        self.writing = folder

    def collect(self, *, wait: bool = False) -> str:
        """The folder of what was begun, once it is complete; empty before, and where nothing was begun since."""
        self._fetch(wait=wait)
        folder, self.complete = self.complete, ""
        return folder

    def _fetch(self, *, wait: bool) -> None:
        content = self.ranks.call_first("saved", wait) if self.writing else None
        if self.writing is None or content is None:
            return
        folder, self.writing = self.writing, None
        if content:  # of another node
            _write_content(content, folder)
        self.complete = str(folder)

    def save(self, epoch: int) -> str:
        """Save the trial and wait for it; the folder."""
        self.collect(wait=True)
        self._begin(epoch)
        return self.collect(wait=True)

    def found(self) -> list[str]:
        """The folders to resume from, the newest first: those of before a restart are known here alone."""
        own = find_checkpoints(Path(self.job.saved_in))
        return [*map(str, own), *(path for path in self.job.checkpoints if Path(path).resolve() not in own)]


def _write_content(content: Mapping[str, bytes], folder: Path) -> None:
    new = folder.with_name(f"{folder.name}.tmp")
    files.remove(new)
    for name, part in content.items():
        path = new / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part)
    files.replace_folder(new, folder)


class WarmGroup(tune.Trainable):  # type: ignore[misc]
    """Runs one trial after the other on the same processes; its config holds a Job, `step` is one epoch on all ranks.

    `store` is the URL of the storage that the states of checkpoints go to; empty where they stay with the driver.
    """

    def setup(self, config: dict[str, Any], store: str = "") -> None:
        self.store = store
        stacks = Path(self.logdir, "stacks")  # in Ray's session folder, which Ray removes
        self.ranks = RankGroup(config[JOB].resources, stacks, config[JOB].hang_after)
        self.next_job: Job | None = config[JOB]
        self.built = False  # whether the ranks hold the trial
        self.note = ""  # for the log, with the next report
        self.dropped = 0  # characters that the model's code has printed in vain

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial; what the ranks loaded stays loaded.

        It is built with its first step: Tune retries what fails there, but not what fails in here.
        """
        self.next_job = new_config[JOB]
        return True

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing: the trial resumes from its newest checkpoint, which Tune need not know."""

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
            self.built = False
        return self.records.report(self.job.epochs, seconds=seconds, failure=failure, saveable=self.built).to_result()

    def _next_report(self, started: float) -> EpochReport:
        """Start the next trial if there is one, and train until there is an epoch that the driver lacks."""
        if self.next_job is not None:
            self._start(self.next_job)
            started += self.phases.get("features", 0.0)  # which all trials share: they are charged to none
        else:  # now it is known that the trial continues
            self.checkpoints.begin_if_due(self.records.epoch, self.records.seconds)
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
            checkpoint=self.checkpoints.collect(),
            note=note,
            failure=ran.failure,
        )

    def _start(self, job: Job) -> None:
        self.job, self.next_job, self.dropped = job, None, 0
        self.checkpoints = TrialCheckpoints(self.ranks, job, self.store)
        self.records = RecordBuffer(job.config.metric)
        self.sources = read_sources(job.config)
        self._build(None)

    def _build(self, micro_batch: int | None) -> None:
        """Have the ranks build the trial and resume from the newest checkpoint that can be read."""
        self.built = False
        self._build_trainers(micro_batch)
        self.built = True
        self.records.restore([])
        self.note, self.checkpoints.writing = "", None
        found = self.checkpoints.found()
        for checkpoint in found:
            try:
                self.records.restore(self._load(checkpoint))
                return
            except (ray.exceptions.RayTaskError, OSError) as error:  # truncated or gone: the one before
                self.note = str(getattr(error, "cause", error))
        if found:  # some ranks may have loaded what another could not
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

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Where the trial's end, a drain or an interrupt needs it at once; Tune gets and copies its place alone."""
        write_place(Path(checkpoint_dir), self.checkpoints.save(self.records.epoch))

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
