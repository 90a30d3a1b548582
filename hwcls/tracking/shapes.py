"""What the files of a results folder hold, for hwcls.reading: keys that are not named here may hold anything."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ValidationInfo, field_validator

from hwcls.format import hide_private

Scalar = str | int | float | bool | None


class MetricShape(BaseModel):
    """`metric` in sweep.yaml."""

    name: str = "val/accuracy"
    goal: Literal["maximize", "minimize"] = "maximize"


class SweepShape(BaseModel):
    """sweep.yaml, as far as a reader of results needs it."""

    name: str | None = None
    project: str = "hwcls"
    metric: MetricShape = MetricShape()
    compare: str | None = None
    track: list[str] = []
    method: str | None = None
    parameters: dict[str, Any] = {}


class DataShape(BaseModel):
    """data.json."""

    name: str = "?"
    path: str | None = None
    classes: list[str] = []
    train: int | None = None
    val: int | None = None
    test: int | None = None
    per_class: list[int] = []
    image_size: int | None = None
    channels: int | None = None
    fingerprint: str | None = None
    others: list[DataShape] = []
    former: list[DataShape] = []


class ModelsShape(BaseModel):
    """models.json."""

    same: list[list[str | None]]


class EnvironmentShape(BaseModel):
    """environment.json."""

    command: list[str] = []
    changes: dict[str, dict[str, Any]] = {}
    versions: dict[str, str | None] = {}
    hardware: dict[str, Any] = {}
    started: str = ""
    restarts: list[str] = []
    budget_spent: float = 0.0
    untrainable: int = 0


class ResultShape(BaseModel):
    """result.json."""

    status: str
    best: dict[str, int | float | None] | None
    label: Scalar
    parameters: dict[str, Any]
    seconds: float
    micro_batch: int | None = None
    error: str | None = None
    cost: dict[str, Scalar] = {}
    trial: int | None = None
    test: dict[str, int | float | None] | None = None


class PausedShape(BaseModel):
    """paused.json."""

    epoch: int
    result: ResultShape


class PurposeShape(BaseModel):
    """What a confirm run is for, before it has a result."""

    trial: int
    role: str = ""


class WeightsShape(BaseModel):
    """`weights` in best.json."""

    sha256: str
    bytes: int


class BestShape(BaseModel):
    """best.json: which run a sweep's best/ is a copy of."""

    run: str
    why: str
    weights: WeightsShape


class MemberShape(BaseModel):
    """One of `members` in ensemble.json."""

    folder: str
    run: str
    times: int
    weights: WeightsShape


class EnsembleTestShape(BaseModel):
    """`test` in ensemble.json: both means on test, and their difference, with the ends of their intervals."""

    metric: str
    images: int
    ensemble: list[float]
    winner: list[float]
    difference: list[float]
    p: float


class EnsembleShape(BaseModel):
    """ensemble.json: the models that an ensemble averages, and how it scored."""

    kind: Literal["ensemble", "soup"]
    why: str
    winner: str
    views: int = 1
    members: list[MemberShape]
    test: EnsembleTestShape


class ExcludedShape(BaseModel):
    """excluded.json of a trial."""

    why: str
    when: str = ""


class ChangedShape(BaseModel):
    """A key of a sweep file that was changed; None: the file did not have it, or has it no more."""

    key: str
    old: str | None = None
    new: str | None = None

    @field_validator("old", "new")
    @classmethod
    def _hide_private(cls, text: str | None, info: ValidationInfo) -> object:
        """Earlier versions recorded a command as it was."""
        return hide_private(text, str(info.data.get("key")))


class ChangeShape(BaseModel):
    """What one start of a sweep changed in its file."""

    when: str
    changed: list[ChangedShape] = []
    by: str | None = None  # the command that changed it; None: the file itself was changed, or the record is older


class ChangesShape(BaseModel):
    """`x-changes` in sweep.yaml."""

    log: list[ChangeShape] = []
    outside: dict[int, str] = {}  # trials whose settings the file does not search any more, and why
    dropped: list[str] = []  # keys under `parameters` that earlier versions of the file had


class ElsewhereShape(BaseModel):
    """elsewhere.json of a checkpoint whose state is on shared storage."""

    folder: str


def is_record(line: dict[str, Any]) -> bool:
    """Whether a line of metrics.jsonl has an epoch from 1, if any, and numbers or null for its metrics."""
    epoch = line.get("epoch", 1)
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
        return False
    return all(value is None or isinstance(value, (int, float)) for key, value in line.items() if "/" in key)
