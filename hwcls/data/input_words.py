"""How images become the inputs of a model, in words: for the start of a sweep, the page and `hwcls models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwcls.config.data import ExpectedInputs
from hwcls.data.enlarged import EnlargedImages
from hwcls.data.imageset import ImageSet
from hwcls.format import format_bytes, join_words

RESIZED = {"squash": "squashed", "pad": "padded"}


def describe_inputs(inputs: Mapping[str, Any]) -> str:
    """The inputs that data.json records: "64 x 64, RGB, bicubic, the centre 87.5 % of each side, mean ... and std ...".

    What is usual, or not recorded by an earlier version, is left out.
    """
    size, share = inputs.get("image_size"), inputs.get("crop_pct")
    words = [f"{size} x {size}", "grey" if inputs.get("channels") == 1 else "RGB"]
    words += [RESIZED[how]] if (how := str(inputs.get("resize"))) in RESIZED else []
    words += ["bicubic"] if inputs.get("interpolation") == "bicubic" else []
    words += [f"the centre {100 * share:g} % of each side"] if isinstance(share, float) and share < 1 else []
    mean, std = (_numbers(inputs.get(key)) for key in ("mean", "std"))
    words += [f"mean {mean} and std {std}"] if inputs.get("normalised_by") == "given" and mean and std else []
    return ", ".join(words)


def describe_expected(expected: ExpectedInputs) -> str:
    """What pretrained weights were trained on, as `describe_inputs` has it."""
    return describe_inputs(
        {**vars(expected), "image_size": expected.side, "channels": len(expected.mean), "normalised_by": "given"}
    )


def describe_decoded(sets: Sequence[ImageSet], models: Sequence[Sequence[str]]) -> list[str]:
    """A line on the inputs of each of a sweep's data sets, with what its pixels take; none where all is usual.

    Args:
        sets: The distinct ones.
        models: For each the names of the models that get it.
    """
    if all(images.normalised_by == "images" and not str(images.resizing) for images in sets):
        return []
    lines = []
    for images, names in zip(sets, models, strict=True):
        inputs = describe_inputs({**images.to_dict(), "normalised_by": images.normalised_by})
        whose = f", for {join_words(list(names))}" if len(sets) > 1 else ""
        enlarged = ", enlarged when they are read" if isinstance(images.train.images, EnlargedImages) else ""
        lines.append(f"{images.title}{whose}: {inputs}; {format_bytes(images.decoded_bytes)} decoded{enlarged}")
    return lines


def _numbers(values: object) -> str:
    """Those of all channels, "" where a damaged file has none."""
    found = values if isinstance(values, list | tuple) else ()
    return " ".join(f"{value:.4g}" for value in found if isinstance(value, int | float))
