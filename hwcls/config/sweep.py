"""SweepConfig: every key of a sweep file except the parameter tree, and the registries of what the keys name."""

from __future__ import annotations

import importlib.util
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticKnownError

from hwcls.config.base import Epochs, Frozen, Unit
from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError, did_you_mean, install_extra
from hwcls.registry import Registry

AUTO = "auto"  # of gpus_per_worker: as many trials share a GPU as a measurement of the heaviest ones allows
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Seconds from "2h", "90m", "1h30m" or a number of seconds; raises ValueError."""
    if not isinstance(value, str):
        return value
    amounts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", value)
    if not amounts or re.sub(r"(\d+(?:\.\d+)?)\s*([smhd])", "", value).strip():
        raise ValueError(f"'{value}' is not a duration — write 2h, 90m, 1h30m or a number of seconds")
    return sum(float(amount) * _UNITS[unit] for amount, unit in amounts)


# what a sweep file may hold where the value itself is another type
DurationText = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": r"^(?=.*[1-9])\s*(\d+(\.\d+)?\s*[smhd]\s*)+$"})
]
Duration = Annotated[float, Field(gt=0)] | DurationText


def _unknown(title: str, loc: tuple[str, ...], value: object, names: Sequence[str]) -> ValidationError:
    """pydantic's own error for a value that is none of `names`."""
    expected = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
    details = InitErrorDetails(type="literal_error", loc=loc, input=value, ctx={"expected": expected})
    return ValidationError.from_exception_data(title, [details])


@dataclass(frozen=True)
class Searched:
    """What a search method is for."""

    space: Any  # a hwcls.config.space.Space
    compared: str | None = None  # the parameter whose values are the alternatives: a trial's is pinned beforehand
    seed: int = 0  # of the sweep, the same after a restart
    metrics: int = 1  # how many are searched for
    at_once: int = 1  # trials that run at the same time


class SearchMethod(Frozen):
    """How the settings of trials are drawn; a subclass in `SAMPLERS` is a value of `method`."""

    enumerates: ClassVar[bool] = False  # every point of a grid once: no run_cap, no ranges without a step
    seeded_by_trial: ClassVar[bool] = False  # a trial draws by its number alone, however often the sweep restarts
    one_metric: ClassVar[bool] = True  # whether it can search for a single metric
    several_metrics: ClassVar[bool] = False  # whether it can search for several at once
    pauses_trials: ClassVar[bool] = True  # whether early stopping pauses them where the file leaves the rule open
    start: ClassVar[int] = 0  # trials of each alternative before its model draws: fewer would never get there
    package: ClassVar[str | None] = None  # Python package that it needs
    extra: ClassVar[str | None] = None  # of hwcls, which installs it

    @classmethod
    def check_installed(cls, where: str) -> None:
        """Raise UserError, with the remedy, where the package is not installed."""
        if cls.package and importlib.util.find_spec(cls.package) is None:
            remedy = install_extra(cls.extra) if cls.extra else f"pip install {cls.package}"
            raise UserError(f"{cls.package} is not installed", where=where, remedy=remedy)

    def sampler(self, seed: int, searched: Searched) -> Any:
        """An optuna.samplers.BaseSampler; `seed` changes with each restart, or by trial with `seeded_by_trial`."""
        raise NotImplementedError


SAMPLERS: Registry[type[SearchMethod]] = Registry(
    "method",
    {
        "auto": "hwcls.sweep.search.samplers.auto",
        "tpe": "hwcls.sweep.search.samplers.tpe",
        "gp": "hwcls.sweep.search.samplers.gp",
        "cmaes": "hwcls.sweep.search.samplers.cmaes",
        "nsga2": "hwcls.sweep.search.samplers.nsga2",
        "random": "hwcls.sweep.search.samplers.random",
        "grid": "hwcls.sweep.search.samplers.grid",
    },
)
ALIASES = {"bayes": "tpe"}  # W&B's word
Method = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SAMPLERS.names(), *ALIASES]})]
EARLIER_METHOD = "tpe"  # of a results folder that does not say, as earlier versions left it out


def _known_method(value: object) -> object:
    name = ALIASES.get(value, value) if isinstance(value, str) else value
    if name not in SAMPLERS.names():
        raise _unknown("SweepConfig", (), value, SAMPLERS.names())
    return name


class StoppingRule(Protocol):
    """Decides for trials that compete with each other."""

    def stops(self, key: str, epoch: int, value: float | None, best: float) -> bool:
        """Take an epoch of a trial; whether the trial ends with it.

        Args:
            key: The trial.
            epoch: From 1; each of a trial comes once, in order. A restart of the sweep replays them to a new rule.
            value: Of the metric in this epoch; None or NaN where it is not finite.
            best: Value so far.
        """
        ...


class PausingRule(StoppingRule, Protocol):
    """A rule whose `stops` pauses a trial, unless it is out: it may go on later."""

    def expect(self, trials: int) -> None:
        """At most so many trials come, which decides earlier which ones are out."""
        ...

    def promotable(self, *, last: bool, lowest: float) -> str | None:
        """The trial to go on with; None: there is none.

        Args:
            last: Whether no more trials are to come that are new.
            lowest: The lowest epoch at which a trial of this race is that runs now; infinite where none does.
        """
        ...

    def hold(self, key: str, epoch: int) -> bool:
        """Have a trial of an earlier start wait if it pauses at `epoch`, its last one; whether it does."""
        ...

    def leave(self, key: str) -> None:
        """A trial continues, or has ended in another way: it does not wait any more."""
        ...

    def end(self, key: str) -> None:
        """A trial is trained to its end."""
        ...

    def fail(self, key: str) -> None:
        """A trial failed, or a user stopped it: it takes no part in the race any more."""
        ...

    def waits(self, key: str) -> bool:
        """Whether a trial waits, be it out or not."""
        ...

    def out(self) -> Sequence[str]:
        """The trials that wait and cannot go on any more."""
        ...

    def is_out(self, key: str) -> bool:
        """Whether a trial that waits is one of `out`."""
        ...


class EarlyStopping(Frozen):
    """Which trials end early; a subclass in `EARLY_STOPPING` is a value of `early_terminate.type`."""

    type: str = Field("asha", description="The rule.")
    min_iter: Epochs | None = Field(
        None,
        ge=1,
        description="Before the first decision. By default chosen from `epochs` and the warm-up.",
        examples=[4],
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_of_the_type(cls, values: Any) -> Any:
        own = cls.model_fields
        for key in values if isinstance(values, dict) else ():
            if key not in own and any(key in other.model_fields for other in EARLY_STOPPING.all().values()):
                raise ValueError(f"'{key}' is not a setting of {values.get('type', 'asha')} — remove it")
        return values

    @property
    def pauses(self) -> bool:
        """Whether trials pause at a rung and go on later: `race` then returns a PausingRule."""
        return False

    def spell_out(self, *, before: str | None, may_pause: bool) -> EarlyStopping:
        """The config with what is left open.

        Args:
            before: The rule of earlier starts of the sweep; None at the first one.
            may_pause: Whether those of a new one may pause: they keep their weights, and the method loses nothing.
        """
        return self

    def first_rung(self, epochs: int) -> int:
        """The epoch of the first decision where nothing else is asked for: a ninth of all."""
        return -(-epochs // 9)

    def race(self, first: int, epochs: int, mode: str) -> StoppingRule:
        """A new race whose first decision is at epoch `first` of `epochs`; `mode` is "max" or "min"."""
        raise NotImplementedError

    def expected_epochs(self, first: int, epochs: int, trials: int) -> int | None:
        """About how many epochs so many trials of an alternative take; None where the values decide it."""
        return None

    def most_paused(self, first: int, epochs: int, trials: int) -> int:
        """How many of so many trials may wait at a time."""
        return 0

    def rungs(self, first: int, epochs: int) -> list[int]:
        """The epochs at which it decides; of a rule that decides in each epoch the first one."""
        return [first] if first < epochs else []

    def brackets(self, first: int, epochs: int) -> list[tuple[int, float]]:
        """The first rung of each bracket and its share of the trials; brackets do not compete."""
        return [(first, 1.0)]


EARLY_STOPPING: Registry[type[EarlyStopping]] = Registry(
    "early-stopping rule",
    {
        "asha": "hwcls.sweep.search.stopping.asha",
        "hyperband": "hwcls.sweep.search.stopping.hyperband",
        "median": "hwcls.sweep.search.stopping.median",
    },
)


def parse_early_stopping(values: object) -> object:
    """The config of a rule from its settings in a sweep file."""
    if not isinstance(values, dict):
        return values
    name = values.get("type", "asha")
    if name not in EARLY_STOPPING.names():
        raise _unknown("EarlyStopping", ("type",), name, EARLY_STOPPING.names())
    return EARLY_STOPPING[name].model_validate(values)


PICK_SEEDS = 2  # on which each of several trials is retrained, to pick the winner of its alternative


FOLDS = "folds"  # as `splits`
Cuts = Annotated[int, Field(ge=1)] | Literal["folds"]


def _known_splits(value: object) -> object:
    """A number of cuts, or `folds`; raises ValueError."""
    if value is None or value == FOLDS or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"splits {value!r} is neither a number from 1 nor {FOLDS} — write splits: 5, or splits: {FOLDS}")


class ConfirmConfig(Frozen):
    """The best trials of each alternative are retrained to pick a winner, which is then scored on other seeds."""

    top: int = Field(3, ge=1, description="Trials of each alternative that are retrained to pick its winner.")
    seeds: int = Field(
        5, ge=1, le=999, description="Seeds on which the winner is scored on test; none of them picked it."
    )
    splits: Annotated[int | str | None, BeforeValidator(_known_splits, json_schema_input_type=Cuts | None)] = Field(
        None,
        description="Cuts of train and val: as many as `seeds`, one for each run; or folds, a cross-validation."
        " By default that of the search.",
        examples=["folds"],
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=999,
        description="Folds of the cross-validation; `seeds` may be a multiple, for several rounds. By default `seeds`.",
        examples=[5],
    )

    @model_validator(mode="after")
    def _a_split_for_each_run(self) -> ConfirmConfig:
        if self.splits != FOLDS:
            if self.folds is not None:
                raise ValueError(f"folds {self.folds} without splits: {FOLDS} — add it, or remove folds")
            if self.splits not in (None, self.seeds):
                what = f"splits {self.splits} with seeds {self.seeds}: each run gets a cut of its own"
                raise ValueError(f"{what} — write splits: {self.seeds}, or seeds: {self.splits}")
        elif self.seeds < 2:
            raise ValueError(f"seeds {self.seeds} with splits: {FOLDS} is a single fold — write seeds: 5 for five")
        elif self.folds is not None and self.seeds % self.folds:
            least = self.folds * -(-self.seeds // self.folds)
            what = f"seeds {self.seeds} is not a multiple of folds {self.folds}, and each round has a run per fold"
            raise ValueError(f"{what} — write seeds: {least}")
        return self

    @property
    def fold_count(self) -> int | None:
        """The folds of each round of a cross-validation; None without one."""
        return (self.folds or self.seeds) if self.splits == FOLDS else None

    def runs(self, trials: int) -> tuple[int, int]:
        """For an alternative with so many trials: how many runs pick its winner, and how many report it."""
        candidates = min(self.top, trials)
        return PICK_SEEDS * candidates if candidates > 1 else 0, self.seeds if candidates else 0


def _check_share(value: object) -> object:
    """The share of a GPU: a number of at least 0, "auto" or None; errors as pydantic's, which names a union's parts."""
    if value is None or value == AUTO:
        return value
    if isinstance(value, str) and not re.fullmatch(r"[\d.]+", value):
        raise PydanticKnownError("literal_error", {"expected": f"'{AUTO}' or a number from 0 to 1"})
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticKnownError("float_type")
    if value < 0:
        raise PydanticKnownError("greater_than_equal", {"ge": 0.0})
    return value


GpuShare = Annotated[float, Field(ge=0, le=1)] | Literal["auto"]


class ResourcesConfig(Frozen):
    """The resources of a trial; missing values are chosen from the machine.

    With `gpus_per_worker` below 1 several trials share a GPU; "auto" measures how many.
    """

    workers: int = Field(1, ge=1, description="DDP ranks per trial.", examples=[2])
    gpus_per_worker: Annotated[
        float | Literal["auto"] | None, BeforeValidator(_check_share, json_schema_input_type=GpuShare | None)
    ] = Field(
        None,
        description="0: on CPUs; below 1: trials share a GPU; auto: measured. By default 1 where there are GPUs.",
        examples=[0.5],
    )
    cpus_per_worker: int | None = Field(
        None, ge=1, description="CPU cores of a worker. By default chosen from the machine.", examples=[2]
    )
    concurrent: int | None = Field(
        None, ge=1, description="Trials at once. By default as many as the machine has room for.", examples=[2]
    )

    @model_validator(mode="after")
    def _one_gpu_for_each_rank(self) -> ResourcesConfig:
        gpus = self.gpus_per_worker if isinstance(self.gpus_per_worker, float) else 0.0
        if gpus > 1:
            raise ValueError(f"gpus_per_worker {gpus:g}, but a worker trains on one GPU — raise workers to use more")
        if 0 < gpus < 0.01:
            raise ValueError(f"gpus_per_worker {gpus:g} is less than a hundredth — write 0 to train on CPUs")
        if 0 < gpus < 1 and self.workers > 1:
            raise ValueError(
                f"{self.workers} workers of {gpus:g} GPU may share one GPU, which NCCL does not support"
                " — write workers: 1, or gpus_per_worker: 1"
            )
        return self


@dataclass(frozen=True)
class LoginProblem:
    """Why a tracker's server cannot be used."""

    what: str
    remedy: str
    passing: bool = False  # the server may be there again in a moment: each run tries by itself

    def __str__(self) -> str:
        return self.what


class TrackerSettings(Frozen):
    """Settings of one tracker in a sweep file, under `trackers`; a tracker's own subclass has its keys."""

    @property
    def uploads_weights(self) -> bool:
        """Whether they ask for weights, which `keep: none` does not leave."""
        return False

    def check_installed(self, where: str) -> None:
        """Raise UserError, with the remedy, where a package that the settings need is not installed."""


class TrackerSpec(ABC):
    """What hwcls needs to know of a tracker before opening it; the base class of all in `TRACKERS`."""

    settings: ClassVar[type[TrackerSettings]] = TrackerSettings  # its keys in a sweep file
    package: ClassVar[str | None] = None  # Python package that the tracker needs
    extra: ClassVar[str | None] = None  # of hwcls, which installs it
    waits_for_server: ClassVar[bool] = False  # such trackers are served last, to keep nothing from the others
    secrets: ClassVar[tuple[str, ...]] = ()  # environment variables that workers do not get
    login_command: ClassVar[str | None] = None  # logs in to the server; None: there is no login
    sync_command: ClassVar[str | None] = None  # uploads what is missing, followed by a results folder

    @classmethod
    @abstractmethod
    def open(cls, sweep: Any, mode: str) -> Sequence[Any]:
        """The `hwcls.tracking.tracker.Tracker` objects for a SweepFolder.

        `mode` is that of --wandb, for trackers with a server: online, offline, off (no tracker), or auto.

        Raises:
            UserError: the package is not installed, or the login that `mode` needs fails.
        """

    @classmethod
    @abstractmethod
    def disk_bytes(cls, epochs: int) -> int:
        """The disk that a run of so many epochs takes at most."""

    @classmethod
    def login_problem(cls) -> LoginProblem | None:
        """Why the server cannot be used, None when it can; answers within seconds."""
        return None

    @classmethod
    def describe_environment(cls, project: str | None = None) -> str:
        """Where runs go by environment variables, in words; empty if they say nothing. `project`: the file's."""
        return ""

    @classmethod  # noqa: B027  (most trackers have no login)
    def check_login(cls, mode: str) -> None:
        """Raise UserError where `mode` needs a login and it is refused; a server that is down is no error."""

    @classmethod
    def check_installed(cls, where: str) -> None:
        """Raise UserError, with the remedy, where the package is not installed."""
        if cls.package and importlib.util.find_spec(cls.package) is None:
            remedy = install_extra(cls.extra) if cls.extra else f"pip install {cls.package}"
            raise UserError(f"{cls.package} is not installed", where=where, remedy=remedy)

    @classmethod  # noqa: B027  (most trackers have their address from the user alone)
    def check_trusted(cls, settings: TrackerSettings, where: str) -> None:
        """Raise UserError where settings in a results folder, which may come from elsewhere, would get credentials."""


TRACKERS: Registry[type[TrackerSpec]] = Registry(
    "tracker",
    {
        "wandb": "hwcls.tracking.wandb",
        "tensorboard": "hwcls.tracking.tensorboard",
        "mlflow": "hwcls.tracking.mlflow",
    },
)

Tracker = Annotated[str, WithJsonSchema({"type": "string", "enum": TRACKERS.names()})]


def _name_trackers(values: object) -> object:
    """Each tracker's settings with its name, which decides their class; raises ValueError for an unknown one."""
    if not isinstance(values, dict):
        return values
    return {name: (_known_tracker(name), settings) for name, settings in values.items()}


def _parse_tracker(named: object) -> object:
    """The settings of a tracker from its name and its keys in a sweep file."""
    if not isinstance(named, tuple):
        return named
    name, settings = named
    return TRACKERS[name].settings.model_validate({} if settings is None else settings)


def _split_command(command: str) -> str:
    """A command that can be run without a shell; raises ValueError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"'{command}' is not a command ({error}) — close its quotes") from None
    if not words:
        raise ValueError("the command is empty — name a program, or remove it")
    return command


class NotifyConfig(Frozen):
    """Who is notified that a sweep has ended or failed: by an alert of W&B, or a command of the user's."""

    model_config = ConfigDict(  # what `_notifies_someone` checks, for editors
        json_schema_extra={
            "anyOf": [
                {"required": ["wandb"], "properties": {"wandb": {"const": True}}},
                {"required": ["command"], "properties": {"command": {"type": "string"}}},
            ]
        }
    )

    wandb: bool = Field(False, description="Send an alert of W&B.")
    command: Annotated[str, AfterValidator(_split_command)] | None = Field(
        None,
        description="A program to run, without a shell: the message is its input. By default none.",
        examples=["mail -s sweep me@example.org"],
        json_schema_extra={"pattern": r"\S"},
    )
    on: Annotated[tuple[Literal["end", "failure", "interrupt"], ...], Field(strict=False, min_length=1)] = Field(
        ("end", "failure"), description="At which of its events.", examples=[["failure"]]
    )
    timeout: Annotated[
        float,
        BeforeValidator(parse_duration, json_schema_input_type=Annotated[float, Field(gt=0, le=3600)] | DurationText),
        Field(gt=0, le=3600),
        Unit("seconds"),
    ] = Field(30.0, description="Time after which the command is ended: 30s.", examples=["1m"])

    @model_validator(mode="after")
    def _notifies_someone(self) -> NotifyConfig:
        if not self.wandb and self.command is None:
            raise ValueError("notify names nobody to notify — add wandb: true, or command: a program")
        return self


_NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}"


def _check_name(name: str) -> str:
    """The name of a sweep, which is also that of its folder and of its group in W&B."""
    if not re.fullmatch(_NAME, name):
        rule = "use letters, digits and _ . + - (100 at most), a letter or digit first"
        raise ValueError(f"'{name}' cannot be the name of a sweep — {rule}")
    return name


def check_project(name: str) -> str:
    """The name of a W&B project; raises ValueError, with the remedy, for one that W&B refuses."""
    if wrong := sorted({letter for letter in name if letter in "/\\#?%:\r\n"}):
        rule = "a project's name takes none of / \\ # ? % :"
        team = "; the team is set by the environment variable WANDB_ENTITY" if name.count("/") == 1 else ""
        raise ValueError(f"W&B refuses '{name}' because of {' '.join(map(repr, wrong))} — {rule}{team}")
    if not name.strip() or len(name) > 128:
        raise ValueError(f"W&B refuses a project's name of {len(name.strip())} characters — write 1 to 128")
    return name


def _known_tracker(name: object) -> object:
    if name not in TRACKERS.names():  # by the table alone: nothing is imported
        raise ValueError(f"unknown tracker '{name}' — {did_you_mean(name, TRACKERS.names())}")
    return name


class SweepConfig(Frozen):
    """A sweep: how to search, for how long, what to compare and to record."""

    name: Annotated[str, AfterValidator(_check_name)] = Field(
        description="Name of the sweep and of its results folder. By default that of the file.",
        examples=["mine"],
        json_schema_extra={"pattern": f"^{_NAME}$"},
    )
    project: Annotated[str, AfterValidator(check_project)] = Field(
        "hwcls", description="The project in W&B.", json_schema_extra={"pattern": r"^[^/\\#?%:\r\n]{1,128}$"}
    )
    metric: MetricConfig = Field(
        MetricConfig(),
        description="What is searched for, on val; a list searches for the best trade-offs.",
        examples=["val/macro_f1"],
    )
    method: Annotated[str, BeforeValidator(_known_method, json_schema_input_type=Method)] = Field(
        "auto", description="How settings are drawn."
    )
    run_cap: int | None = Field(
        None, ge=1, description="Trials in all. By default `budget` ends the search.", examples=[40]
    )
    budget: (
        Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=Duration), Unit("seconds"), Field(gt=0)]
        | None
    ) = Field(None, description="Time for the search: 2h, 90m. By default `run_cap` ends it.", examples=["2h"])
    compare: str | None = Field(
        None,
        description="The parameter whose values are the alternatives: each gets the same budget. By default none.",
        examples=["model"],
    )
    share: Literal["trials", "epochs", "seconds"] | None = Field(
        None,
        description="What is divided equally among the alternatives. By default trials, or seconds without `run_cap`.",
    )
    early_terminate: Annotated[SerializeAsAny[EarlyStopping], BeforeValidator(parse_early_stopping)] | None = Field(
        None, description="Which trials end early. By default none."
    )
    confirm: ConfirmConfig | None = Field(
        None, description="Retrain the winners on fresh seeds and score them on test. By default it is not done."
    )
    track: Annotated[
        tuple[Annotated[str, BeforeValidator(_known_tracker, json_schema_input_type=Tracker)], ...], Field(strict=False)
    ] = Field(("wandb",), description="Trackers that follow the trials.", examples=[["wandb", "tensorboard"]])
    trackers: Annotated[
        dict[str, Annotated[SerializeAsAny[TrackerSettings], BeforeValidator(_parse_tracker)]],
        BeforeValidator(_name_trackers),
    ] = Field(default_factory=dict, description="Settings of trackers, by the tracker's name.")
    notify: NotifyConfig | None = Field(
        None, description="Who is notified that the sweep has ended or failed. By default nobody."
    )
    artifacts: bool = Field(False, description="Upload each trial's best weights.")
    parameters: dict[str, Any] = Field(
        description="The settings of a trial: constants, and what is searched.",
        examples=[{"data": {"name": "digits"}, "model": "mlp", "optimizer": "adam"}],
    )
    presets: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Changes by name, for --preset: dotted paths and their values, * for every key.",
        examples=[{"quick": {"run_cap": 6, "parameters.epochs": 2}}],
    )
    seed: int = Field(0, ge=0, lt=1_000_000, description="Seed of the search.", examples=[1])
    resources: ResourcesConfig = Field(
        ResourcesConfig(), description="What a trial gets. By default chosen from the machine."
    )
    max_restarts: int = Field(
        2, ge=0, description="Restarts of a trial in a row, without a new epoch, before it counts as failed."
    )
    hang_after: Annotated[
        float, BeforeValidator(parse_duration, json_schema_input_type=Duration), Field(gt=0), Unit("seconds")
    ] = Field(600.0, description="Time without a step after which a trial counts as hung: 10m.", examples=["10m"])
    keep: Literal["best", "all", "none"] = Field("best", description="Of which trials the weights are kept.")
    first: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = Field(
        (),
        description="Settings to try first, by the names that --dry-run prints under space.",
        examples=[[{"optimizer.lr": 0.001}]],
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> SweepConfig:
        if self.search.enumerates and self.run_cap is not None:
            raise ValueError(
                f"run_cap cannot be combined with method: {self.method}, which runs every point — remove run_cap"
            )
        if self.share is not None and (self.compare is None or self.search.enumerates):
            raise ValueError("share needs compare and a search — remove share, or add compare: KEY with method: auto")
        self._method_fits_metrics()
        self._trackers_get_what_they_need()
        if self.keep == "none" and getattr(self.early_terminate, "rule", None) == "promotion":
            raise ValueError(
                "keep: none leaves nothing of a trial that pauses, and under rule: promotion any may be the best"
                " — write keep: best, or rule: stopping"
            )
        if not self.search.enumerates and self.run_cap is None and self.budget is None:
            raise ValueError("neither run_cap nor budget is set — add run_cap: 20 (trials) or budget: 2h")
        return self

    def _trackers_get_what_they_need(self) -> None:
        """Raise ValueError where a tracker's settings, or notify, ask for what the other keys exclude."""
        wanting = [name for name, settings in self.trackers.items() if settings.uploads_weights]
        if self.keep == "none" and wanting:
            raise ValueError(f"keep none leaves no weights, and trackers.{wanting[0]} uploads them — write keep: best")
        if self.notify is not None and self.notify.wandb and "wandb" not in self.track:
            raise ValueError(
                "notify wants alerts of W&B, which track lacks — add wandb to track, or remove notify.wandb"
            )

    def _method_fits_metrics(self) -> None:
        """Raise ValueError where the method cannot search for so many metrics."""
        if self.metric.costs and not self.search.several_metrics:
            able = [name for name in SAMPLERS.names() if SAMPLERS[name].several_metrics]
            what = f"method {self.method} searches for one metric, and there are {1 + len(self.metric.costs)}"
            raise ValueError(f"{what} — write method: auto (or {', '.join(able[1:])}), or a single metric")
        if not self.metric.costs and not self.search.one_metric:
            what = f"method {self.method} searches for several metrics, and {self.metric.name} is one"
            raise ValueError(f"{what} — write method: auto, or metric: [{self.metric.name}, cost/latency]")

    @property
    def search(self) -> SearchMethod:
        """The method that `method` names."""
        return SAMPLERS[self.method]()
