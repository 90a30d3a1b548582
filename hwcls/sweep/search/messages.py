"""What crosses Ray: the driver sends a Job for each trial, the trial's group of ranks an EpochReport for each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwcls.config.trial import TrialConfig
from hwcls.sweep.cluster.resources import Resources

JOB, REPORT = "job", "report"  # keys in a Tune trial's config and in its results, which are dicts
SAVE_EVERY = 10.0  # seconds between a trial's checkpoints; each epoch where one takes longer


@dataclass(frozen=True, repr=False)
class Job:
    """One training for a group of ranks: a trial of the search, or a confirm run."""

    key: str  # its folder below the results folder: trials/3
    label: str | None  # its alternative
    parameters: Mapping[str, Any]  # what was drawn, by flat name
    config: TrialConfig
    resources: Resources
    keep: str  # best, all, none: which weights stay
    hang_after: float  # seconds without a step before the ranks are restarted
    checkpoints: tuple[str, ...] = ()  # folders to resume from, the newest first
    saved_in: str = "checkpoints"  # the folder of its new ones, on the driver's node
    save_every: float = field(default_factory=lambda: SAVE_EVERY)
    extra: Mapping[str, Any] = field(default_factory=dict)  # further keys of result.json

    @property
    def epochs(self) -> int:
        return self.config.epochs

    @property
    def name(self) -> str:
        """The key as one part of a path."""
        return self.key.replace("/", "-")

    def __repr__(self) -> str:
        return f"Job({self.key})"  # Tune writes it into a tag

    def __deepcopy__(self, memo: dict[int, Any]) -> Job:
        return self  # Tune copies a trial's config several times, and nobody changes a Job

    def to_config(self) -> dict[str, Any]:
        """As the config of a Tune trial."""
        return {JOB: self}


@dataclass(frozen=True)
class EpochReport:
    """The state of a trial after an epoch, with the records that the driver does not have yet."""

    epoch: int  # the last one that ended; 0: none did
    epochs: int  # of the complete trial
    value: float | None  # of the metric in that epoch; None: not finite, or no epoch
    best: float  # value so far; infinitely bad before the first
    records: tuple[Mapping[str, Any], ...] = ()  # of this epoch, and after a resume of those before it
    seconds: float = 0.0  # since the report before
    micro_batch: int | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)  # what data, model and machine decided
    phases: Mapping[str, float] = field(default_factory=dict)  # seconds from the last trial's last step to this build
    draining: bool = False  # a node of the trial is about to be taken away
    checkpoint: str = ""  # a folder that was written since the report before
    note: str = ""  # for the log
    failure: str | None = None  # why a retry would be of no use
    saveable: bool = True  # whether the ranks still hold the trial, so that a checkpoint can be written

    @property
    def done(self) -> bool:
        """Whether no epoch follows."""
        return self.failure is not None or self.epoch >= self.epochs

    def to_result(self) -> dict[str, Any]:
        """As a result of a Tune trainable."""
        return {REPORT: self, "done": self.done}


def job_of(trial: Any) -> Job:
    """The job of a Tune trial."""
    job: Job = trial.config[JOB]
    return job


def report_in(result: Mapping[str, Any] | None) -> EpochReport | None:
    """The report in a Tune result; None where the trial ended without one."""
    return (result or {}).get(REPORT)
