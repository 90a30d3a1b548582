"""The plan of a sweep file: each choice with its reason, a pure function of what is known of data, machine and time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hwcls.errors import install_extra
from hwcls.format import format_count, format_duration, plain_name
from hwcls.init.budget import PROBE, Goal, Schedule
from hwcls.init.facts import DataFacts, MachineFacts
from hwcls.training.image_size import ENLARGED, STEP

NEARLY = 0.1  # of the time that was asked for: so near, a measured time says no more
UNEVEN = 1.5  # the largest over the smallest class, from which KEEL counts a set as imbalanced (Fernández et al. 2008)
VAL = 300  # images: below, the best of some trials is the luckiest one (two standard errors are 6 points)
SIDES = {  # pixels, at most: on CPU cores and on GPUs
    ("quick", False): 64,
    ("thorough", False): 96,
    ("quick", True): 128,
    ("thorough", True): 224,
}
WITH_WEIGHTS = {64: 128, 96: 160}  # what a pretrained backbone needs on CPU cores, which it only passes forward
FINE_TUNED = "fine_tuned"  # the label of the model all of whose pretrained weights are trained
BACKBONES = (
    *("tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_100"),
    *("efficientnet_b0", "resnet50", "vit_tiny_patch16_224"),
)


@dataclass(frozen=True)
class Choice:
    """One entry of the sweep file, and why it is as it is.

    Attributes:
        key: Its dotted path.
        active: Whether it holds; else it is written as a comment that can be switched on.
    """

    key: str
    value: Any
    why: str = ""
    active: bool = True


@dataclass(frozen=True)
class Plan:
    """All choices, in the order of the file.

    Attributes:
        seconds: That the whole command will take.
        asked: The seconds that were asked for.
        images: Of each split, that are used.
    """

    title: str
    choices: tuple[Choice, ...]
    seconds: float
    asked: float
    images: Mapping[str, int]

    @property
    def is_late(self) -> bool:
        """Whether it takes longer than was asked for."""
        return self.seconds > self.asked

    def __getitem__(self, key: str) -> Choice:
        return next(choice for choice in self.choices if choice.key == key)

    def value(self, key: str) -> Any:
        """The value of an entry that holds, else None."""
        return next((choice.value for choice in self.choices if choice.key == key and choice.active), None)


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        title: What the sweep is called after: the data, or the file that was asked for.
        path: Of the data, as typed; its name where it is `imported`.
        data: Further entries of the data section: the layout and the share of test.
        mirror: Whether a mirrored image keeps its class; None: not answered.
        seconds: Of the whole command.
    """

    title: str
    path: str
    goal: Goal
    seconds: float
    data: Mapping[str, Any] = field(default_factory=dict)
    mirror: bool | None = None
    imported: bool = False


@dataclass(frozen=True)
class Model:
    """An alternative of the model."""

    label: str
    settings: Mapping[str, Any]
    why: str


def choose_side(square: int | None, short: int, machine: MachineFacts, goal: Goal, weights: str | None) -> Choice:
    """The side that images are decoded to.

    Args:
        square: The side that all images have in common, if they have one.
        short: The median of their short sides.
    """
    most = SIDES[goal.name, machine.gpus > 0]
    where = "a GPU" if machine.gpus else "CPU cores"
    if weights:
        most, own = WITH_WEIGHTS.get(most, most), square or short
        larger = min(most, ENLARGED * own // STEP * STEP)
        if own < larger:
            why = f"pixels; the images have {own}, but pretrained weights see more in enlarged ones"
            return Choice("parameters.data.image_size", larger, why)
    if square is not None and square <= most:
        return Choice("parameters.data.image_size", square, "pixels, as the images are")
    side = min(most, short // 8 * 8 if short >= 8 else max(short, 4))
    why = f"pixels; half of the images have {short:,} or more on their short side"
    if side == most:
        why += f", but more takes too long on {where} for a {goal.name} sweep"
    return Choice("parameters.data.image_size", side, why)


def with_fewer_pixels(side: Choice, less: int, seconds: float) -> Choice:
    """The choice of a smaller side, as the first one leaves too few images for a time."""
    if less == side.value:
        return side
    why = f"pixels; at {side.value} too few of the training images would fit into {format_duration(seconds)}"
    return replace(side, value=less, why=why)


def choose_models(
    machine: MachineFacts, goal: Goal, side: int, weights: str | None, *, narrow: bool = False
) -> tuple[Model, ...]:
    """The alternatives to compare: from scratch, `narrow` or not, and where weights are here probe and fine-tuning."""
    halvings = max(1, min(4, int(math.log2(side / 4))))
    widths, residual_widths = ([32, 64], [32, 64]) if machine.gpus else ([16, 32], [16, 24])
    if narrow:
        widths, residual_widths = ([width // 2 for width in each] for each in (widths, residual_widths))
    head = {"dropout": {"min": 0.0, "max": 0.5}}
    models = [
        Model(
            "cnn",
            {"name": "simple_cnn", "depth": halvings, "width": {"values": widths}, "head": head},
            "a small network from scratch: what the images alone teach",
        )
    ]
    if weights or not machine.gpus or goal.name == "thorough":
        residual = {"name": "residual_cnn", "blocks": halvings + 1, "width": {"values": residual_widths}}
        models.append(Model("residual", residual, "deeper, with shortcuts; slower, often better"))
    if weights:
        models += [probe(weights), fine_tuned(weights)]
    elif machine.gpus:
        small = {"name": "timm", "backbone": "resnet18", "stem": "small" if side <= 64 else "standard"}
        models.append(Model("resnet", small, "a usual backbone from scratch, as no pretrained weights are here"))
    return tuple(models)


def probe(backbone: str) -> Model:
    """A head on the features of a backbone with timm's weights, which stays as it is."""
    why = "weights from ImageNet; their features of each image are computed once, then a trial trains a head in seconds"
    head = {"norm": "batch", "dropout": {"min": 0.0, "max": 0.5}}
    settings = {"name": "timm", "backbone": backbone, "pretrained": True, "frozen": True, "head": head}
    return Model(PROBE, settings, why)


def fine_tuned(backbone: str) -> Model:
    """A backbone with timm's weights, all of which are trained."""
    why = "the same weights, all of them trained, the backbone at a lower rate: slower, best where images are many"
    settings = {"name": "timm", "backbone": backbone, "pretrained": True, "backbone_lr": {"values": [0.1, 0.3]}}
    return Model(FINE_TUNED, settings, why)


def make_plan(
    wish: Wish,
    data: DataFacts,
    machine: MachineFacts,
    side: Choice,
    models: tuple[Model, ...],
    schedule: Schedule,
) -> Plan:
    """All entries of the sweep file.

    Args:
        side, models: What `choose_side` and `choose_models` chose.
        schedule: Of these models, by their measured speeds.
    """
    kept = [model for model in models if model.label in schedule.models]
    choices = [
        Choice("name", plain_name(wish.title), "the results are in results/ under this name"),
        *_choose_metric(data),
        *_choose_search(wish, data, schedule, len(kept)),
        *_choose_data(wish, data, machine, side, schedule),
        *_choose_model(models, kept, schedule, data.is_small),
        *_choose_training(schedule, kept),
    ]
    if data.unevenness >= UNEVEN:
        why = "a mistake in a rare class weighs as much as one in a common class"
        choices.append(Choice("parameters.class_weights", "balanced", why))
    images = format_count(sum(sum(counts) for counts in data.counts.values()), "image")
    title = f"{wish.path}: {images} of {len(data.classes):,} classes, on {machine}."
    return with_time(Plan(title, tuple(choices), 0.0, wish.seconds, _count_used(data, schedule)), schedule.seconds)


def with_budget(plan: Plan, budget: float) -> Plan:
    """The plan with another time for the search."""
    choices = [replace(one, value=duration(budget)) if one.key == "budget" else one for one in plan.choices]
    return replace(plan, choices=tuple(choices))


def with_time(plan: Plan, seconds: float) -> Plan:
    """The plan with the time of the whole command; the one that was asked for where it is nearly that."""
    seconds = plan.asked if abs(seconds - plan.asked) <= NEARLY * plan.asked else seconds
    whole = f"of the search; of about {format_duration(seconds)} in all the rest is for the start and for confirm"
    why = "at most, of the search, which ends before" if plan.value("run_cap") else whole
    choices = [replace(one, why=why) if one.key == "budget" else one for one in plan.choices]
    return replace(plan, choices=tuple(choices), seconds=seconds)


def _count_used(data: DataFacts, schedule: Schedule) -> dict[str, int]:
    """The images of each split that the sweep uses."""
    counts = {split: sum(found) for split, found in data.counts.items()}
    if "val" not in data.cut:
        return {**counts, "train": round(counts["train"] * schedule.share)}
    used = (counts["train"] + counts["val"]) * schedule.share
    val = round(used * val_share(used))
    return {"train": round(used) - val, "val": val, "test": counts["test"]}


def duration(seconds: float) -> str:
    """A time as a sweep file has it, rounded: 3m40s, 1h25m."""
    step = 10 if seconds < 1800 else 60
    minutes, rest = divmod(max(step, round(seconds / step) * step), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{count}{unit}" for count, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if count)


def _choose_metric(data: DataFacts) -> list[Choice]:
    least, most = data.extremes
    if data.unevenness >= UNEVEN:
        why = f"classes are uneven ({least:,} to {most:,} images): each counts the same"
        return [Choice("metric", "val/macro_f1", why)]
    images = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return [Choice("metric", "val/accuracy", f"classes are even ({images} images each)")]


def _choose_search(wish: Wish, data: DataFacts, schedule: Schedule, models: int) -> list[Choice]:
    confirm, found = (
        wish.goal.confirm,
        [Choice("method", "auto", "tries what may improve on the best so far")],
    )
    if schedule.run_cap is not None:
        why = f"trials; {wish.goal.trials} of each model are enough"
        found.append(Choice("run_cap", schedule.run_cap, why))
    found.append(Choice("budget", duration(schedule.budget)))  # `with_time` adds why
    if models > 1:
        found.append(Choice("compare", "model", "every model gets the same share"))
    found.append(
        Choice(
            "early_terminate",
            {"type": "asha", "eta": 3},
            "poor trials pause: at each rung the best third continues",
        )
    )
    many = " as scores vary where images are few," if data.is_small else ""
    who = "the best trial" if confirm.top == 1 else f"the best {confirm.top} trials"
    who += " of each model" if models > 1 else ""
    why = f"{who} again on {confirm.seeds} fresh seeds,{many} scored on test"
    return [*found, Choice("confirm", {"top": confirm.top, "seeds": confirm.seeds}, why)]


def _choose_data(wish: Wish, data: DataFacts, machine: MachineFacts, side: Choice, schedule: Schedule) -> list[Choice]:
    at, entries = "parameters.data", dict(wish.data)
    why = "" if data.cut else "train, val and test are as the files have them"
    found = [Choice(f"{at}.{'name' if wish.imported else 'path'}", wish.path, why)]
    asked = entries.pop("layout", {})
    if layout := asked if wish.imported else {**data.layout, **asked}:
        why = "how the files are read, as you said" if asked else "how the table was read, as it stays"
        found.append(Choice(f"{at}.layout", layout, why))
    if "test" in data.cut:
        found.append(Choice(f"{at}.test", data.cut["test"], "of the images, cut off for the scores at the end"))
    if "val" in data.cut:
        left = (data.images + sum(data.counts["val"])) * schedule.share
        why = "of the rest, cut off to choose settings and epochs by"
        share = val_share(left)
        found.append(Choice(f"{at}.val", share, f"{why}: {format_count(round(share * left), 'image')}"))
    found.append(side)
    if schedule.share < 1:
        full = format_duration(time_of_all(schedule))
        why = f"of the training images: all of them would take about {full}; 1 trains on all"
        found.append(Choice(f"{at}.fraction", schedule.share, why))
    sizes = batch_sizes(round(data.images * schedule.share), machine.gpus > 0)
    found.append(Choice(f"{at}.batch_size", {"values": sizes}, "smaller ones take more steps in each epoch"))
    return [*found, _choose_augment(wish.mirror)]


def time_of_all(schedule: Schedule) -> float:
    """About the seconds that would be asked for all training images, rounded up."""
    step = 60 if schedule.seconds < 1800 else 600
    return math.ceil(schedule.seconds / schedule.share / step) * step


def val_share(images: float) -> float:
    """The share of so many images that becomes val: a tenth, or more where that would be too few to choose by."""
    return next((share for share in (0.1, 0.15, 0.2) if share * images >= VAL), 0.25)


def batch_sizes(images: int, gpu: bool) -> list[int]:
    """Batches with which an epoch of so many images has a useful number of steps."""
    small = 8 if images < 200 else 16 if images < 2_000 else 32 if images < 20_000 else 64
    return [small * (2 if gpu else 1), small * (4 if gpu else 2)]


def _choose_augment(mirror: bool | None) -> Choice:
    key, flip = "parameters.data.augment", {"hflip": True}
    if mirror:
        return Choice(key, flip, "a mirrored image keeps its class, as you said")
    if mirror is None:
        return Choice(key, flip, "switch on if no mirrored image is another class (an arrow, a letter)", active=False)
    return Choice(key, {}, "none: a mirrored image may be another class, as you said")


def _choose_model(models: tuple[Model, ...], kept: list[Model], schedule: Schedule, few: bool) -> list[Choice]:
    at = "parameters.model.choice"
    here = {PROBE: f" ({format_duration(schedule.features)} here)"} if schedule.features else {}
    found = [
        Choice(f"{at}.{model.label}", dict(model.settings), model.why + here.get(model.label, "")) for model in kept
    ]
    for model in models:
        if model not in kept:
            found.append(Choice(f"{at}.{model.label}", dict(model.settings), "too slow for this time", active=False))
    if all(model.label != PROBE for model in models):
        why = f"a head on pretrained weights: switch on after {install_extra('weights')}"
        why += "; with few images they help most" if few else ""
        model = probe(BACKBONES[0])
        found.append(Choice(f"{at}.{model.label}", dict(model.settings), why, active=False))
    return found


def _choose_training(schedule: Schedule, kept: list[Model]) -> list[Choice]:
    tuned = any(model.label == FINE_TUNED for model in kept)
    least = 1e-5 if tuned else 3e-4
    optimizer = {
        "name": "adamw",
        "lr": {"min": least, "max": 1e-2, "log": True},
        "weight_decay": {"min": 1e-4, "max": 1e-1, "log": True},
    }
    why = "the rate matters most" + (", and pretrained weights want low ones" if tuned else "")
    return [
        Choice("parameters.optimizer", optimizer, why),
        Choice("parameters.scheduler", {"name": "cosine", "warmup": 1}, "ends at zero, which suits a fixed time"),
        Choice("parameters.epochs", schedule.epochs, "as many as fit into the time, and are of use"),
    ]
