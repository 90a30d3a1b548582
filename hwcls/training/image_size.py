"""What a file leaves open of the inputs: one `image_size` for a whole sweep, chosen from its images and its models,
and for each trial what its weights expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hwcls.config.data import ChosenSize, DataConfig, complete_inputs
from hwcls.config.model import ModelFamily
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.catalog import find_data_set
from hwcls.data.decoding.image_sizes import USUAL, ImageSizes
from hwcls.errors import UserError
from hwcls.format import join_words

MIXED = 128  # at most, where models from scratch share the size of pretrained ones: four times the work of USUAL
ENLARGED = 2  # times the short side: small photos gain by it, more than that shows weights nothing new
STEP = 32  # by which most backbones shrink an image
LADDER = (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)  # tried where a model refuses the first choice


def choose_image_size(sizes: ImageSizes, models: Sequence[ModelFamily] = (), channels: int = 3) -> ChosenSize:
    """The side to decode images to, for all models of a sweep, and why.

    Models from scratch get 64 or the small images' own side, pretrained weights the side that they were trained on, at
    most twice the photos' short side; where a sweep has both, 128 at most. A side that a model refuses is raised to
    the next one that all take.

    Args:
        sizes: Of the training images; `hwcls.data.decoding.decode.sample_sizes` reads them from the headers.
        models: Of the sweep; none: one from scratch is meant. A user's own code is run: it must be trusted.
        channels: Of the decoded images.
    """
    distinct = list({str(model.model_dump(exclude={"label", "head"})): model for model in models}.values())
    sides = {model.expects.side if model.expects else None for model in distinct}
    trained = sorted(side for side in sides if side)
    side, reason = _from_scratch(sizes)
    if trained:
        side, reason = _pretrained(sizes, trained, mixed=None in sides)
    fitting = _first_that_fits(side, distinct, channels)
    if fitting != side:
        reason = f"the next size to {side} that every model takes; {reason}"
    return ChosenSize(fitting, reason)


def size_sweep(sweep: Sweep, recorded: Mapping[str, int | None] | None = None) -> Sweep:
    """The sweep whose trials have an `image_size` where `is_open`, and get what their weights expect.

    Data sets of a user's own share one size: the largest that one of them would get.

    Args:
        sweep: Its models' code is trusted, its data is here.
        recorded: Of each data set of the trials that the sweep has, by name; None: as its files are.
    """
    recorded = recorded or {}
    found = [trial.data for trial in sweep.corners if is_open(trial.data, trial.model)]
    left_open = {(data.name, data.path, data.layout): data for data in found}.values()
    models = [trial.model for trial in sweep.corners]
    # recorded as None: an earlier version took the files' own size
    to_choose = [data for data in left_open if data.name not in recorded or recorded[data.name] is not None]
    own = [data for data in to_choose if find_data_set(data.name).user_files]
    chosen: dict[str, ChosenSize] = {}
    for data in to_choose:
        if data not in own:
            chosen[data.name] = _as_recorded(recorded.get(data.name), True) or _choose(data, models)
    if own:
        shared = _as_recorded(next(filter(None, recorded.values()), None)) or _choose_largest(own, models)
        chosen |= {data.name: shared for data in own}
    return replace(sweep, image_sizes={**sweep.image_sizes, **chosen}, completes_inputs=True)


def _as_recorded(side: int | None, pretrained_only: bool = False) -> ChosenSize | None:
    return ChosenSize(side, "as in the trials that this sweep has", pretrained_only) if side else None


def _choose_largest(own: Sequence[DataConfig], models: Sequence[ModelFamily]) -> ChosenSize:
    """One size for several data sets of a user's own: the largest that one of them would get alone."""
    sizes = [(data.title, _choose(data, models)) for data in own]
    title, largest = max(sizes, key=lambda pair: pair[1].side)
    others = [f"{size.side} of {name}" for name, size in sizes if size.side < largest.side]
    if not others:
        return largest
    return replace(largest, reason=f"that of {title}, larger than {join_words(others)}, for all; {largest.reason}")


def _choose(data: DataConfig, models: Sequence[ModelFamily]) -> ChosenSize:
    """The size of a data set's images for all models; of a known set, whose side is known, for pretrained ones."""
    spec = find_data_set(data.name)
    if spec.user_files:
        return choose_image_size(measure_data(data), models, data.channels or 3)
    sizes = ImageSizes()
    sizes.add((spec.image_size or USUAL,) * 2)
    pretrained = [model for model in models if model.pretrained_from is not None]
    found = choose_image_size(sizes, pretrained, data.channels or spec.channels or 3)
    return replace(found, pretrained_only=True)


def sizes_by_title(sweep: Sweep) -> dict[str, ChosenSize]:
    """The sizes that were chosen for a sweep's images, by what the terminal calls them."""
    found = {trial.data.title: sweep.image_sizes.get(trial.data.name) for trial in sweep.corners}
    return {title: chosen for title, chosen in found.items() if chosen is not None}


def size_trial(trial: TrialConfig) -> tuple[TrialConfig, ChosenSize | None]:
    """The trial with an `image_size` where `is_open`, and with what its weights expect; and the chosen size, if any.

    What was recorded stays as it is: without a size it is that of the files.
    """
    if "label" in trial.data.model_fields_set:  # hwcls writes every key
        return trial, None
    data, chosen = size_data(trial.data, [trial.model])
    return trial.model_copy(update={"data": data}), chosen


def size_data(data: DataConfig, models: Sequence[ModelFamily] = ()) -> tuple[DataConfig, ChosenSize | None]:
    """As `size_trial`, for a data section alone.

    Raises:
        UserError: The data is missing or cannot be read.
    """
    model = models[0] if models else None
    data = complete_inputs(data, model.expects if model else None)
    if not is_open(data, model):
        return data, None
    chosen = _choose(data, models)
    return data.model_copy(update={"image_size": chosen.side}), chosen


def is_open(data: DataConfig, model: ModelFamily | None = None) -> bool:
    """Whether an image size is to be chosen: the config has none, and the images are a user's own or the weights given.

    Models from scratch take a known data set as its files are.
    """
    pretrained = model is not None and model.pretrained_from is not None
    return data.image_size is None and (pretrained or find_data_set(data.name).user_files)


def measure_data(data: DataConfig) -> ImageSizes:
    """The sizes of a data set's training images, from some of the headers; raises UserError as opening it does."""
    from hwcls.data.decoding.decode import sample_sizes
    from hwcls.data.store import read_raw_data

    return sample_sizes(read_raw_data(data).splits["train"].images)


def _describe(sizes: ImageSizes) -> str:
    if sizes.median is None:
        return "no image has a readable header"
    width, height = sizes.median
    if sizes.shared_side:
        return f"all images are {width} x {height}"
    return f"the images' median is {width} x {height}"


def _from_scratch(sizes: ImageSizes) -> tuple[int, str]:
    side, what = sizes.side_from_scratch, _describe(sizes)
    if side == USUAL and sizes.short_side > USUAL:
        return side, f"{what}, and models from scratch train in reasonable time at {USUAL}"
    if side == sizes.shared_side or sizes.median is None:
        return side, what
    return side, f"{what}, of which {side} is about the short side"


def _pretrained(sizes: ImageSizes, trained: Sequence[int], *, mixed: bool) -> tuple[int, str]:
    side, what = trained[0], f"pretrained weights were trained on {' and '.join(map(str, trained))}"
    if mixed and side > MIXED:
        side, what = MIXED, f"{what}, models from scratch are slow above {MIXED}, and all get the same"
    most = max(STEP, ENLARGED * sizes.short_side // STEP * STEP)
    if most < side:
        return most, f"{what}, but {_describe(sizes)}: twice that at most"
    return side, f"{what}; {_describe(sizes)}"


def _first_that_fits(side: int, models: Sequence[ModelFamily], channels: int) -> int:
    """`side`, or the next one that all models take; `side` where none is: building the models then says why."""
    for tried in (side, *(size for size in LADDER if size > side)):
        if all(_fits(model, channels, tried) for model in models):
            return tried
    return side


def _fits(model: ModelFamily, channels: int, side: int) -> bool:
    """Whether a model takes images of this side; hwcls's own say so when they are built, a user's must be run."""
    from hwcls import models

    run = models.check if model.source_file else models.build_skeleton
    try:
        run(model, classes=2, channels=channels, image_size=side)
    except UserError:
        return False
    return True
