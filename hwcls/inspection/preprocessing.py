"""How an image file becomes a model's input, in steps that another program can carry out without hwcls.

`hwcls export` writes them next to the model. Each step has a name and all the numbers that it needs. `version` is the
least one that a reader must know: 1 for models whose images are cropped, 2 for those whose images are squashed or
padded, 3 where they are resized with another filter than the bilinear one, or cropped after that. A change of what a
step means, or of their order, raises it.
"""

from __future__ import annotations

from typing import Any

from hwcls.data.decoding.codecs import MAX_PIXELS
from hwcls.data.decoding.opened import ORIENTATION
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS, PixelRange
from hwcls.data.decoding.resize import FILL, MAX_ASPECT
from hwcls.data.decoding.resizing import Resizing
from hwcls.data.imageset import InputSpec

FILTER = {
    "bilinear": "bilinear (a triangle), widened by the factor where it shrinks (antialias)",
    "bicubic": "bicubic (Keys, a = -0.5), widened by the factor where it shrinks (antialias)",
}
# by EXIF orientation: whether rows and columns are exchanged first, then whether rows and columns are reversed
TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
LUMA = (19595, 38470, 7471)  # of 65536: ITU-R 601


def describe_preprocessing(inputs: InputSpec) -> dict[str, Any]:
    """The steps from an encoded image to one input (channels, size, size) of a model, as JSON-ready values."""
    return {
        "version": _version(inputs.resizing),
        "from": "an image file",
        "to": "float32 (channels, height, width)",
        "steps": [
            {
                "step": "decode",
                "frame": 0,
                "palette": "expanded to its colours, with their alpha",
                "cmyk": "red = (255 - cyan) * (255 - black) / 255, rounded; green and blue likewise",
                "colour_profile": "ignored",
                "jpeg": "as libjpeg: exact DCT, smooth upsampling of colours",
                "max_pixels": MAX_PIXELS,
            },
            _range_step(inputs.pixel_range or SIXTEEN_BITS),
            {
                "step": "orient",
                "exif_tag": ORIENTATION,
                "without_exif": "tiff:Orientation of XMP, or 1",
                "order": "transpose, then reverse rows (top to bottom) and columns (left to right)",
                "by_value": {
                    str(value): dict(zip(("transpose", "reverse_rows", "reverse_columns"), turn, strict=True))
                    for value, turn in TURNS.items()
                },
            },
            {
                "step": "background",
                "where": "the image has alpha (0 to 255), of its own or of its palette",
                "colour": [255, 255, 255],
                "formula": "(pixel * alpha + colour * (255 - alpha)) / 255, rounded",
            },
            _channel_step(inputs.channels),
            *_square_steps(inputs),
            {
                "step": "normalise",
                "formula": "(pixel / scale - mean) / std, per channel",
                "scale": 255,
                "mean": list(inputs.mean),
                "std": list(inputs.std),
            },
        ],
    }


def _version(resizing: Resizing) -> int:
    """A crop of more of the scaled side than the centre's size was in version 1 already."""
    if resizing.how == "crop":
        return 1 if resizing.interpolation == "bilinear" else 3
    return 2 if resizing == Resizing(resizing.how) else 3


def _square_steps(inputs: InputSpec) -> list[dict[str, Any]]:
    """How an image becomes a square of the model's size: cropped, squashed or padded."""
    size, how, side = inputs.image_size, inputs.resize, inputs.resizing.scaled_side(inputs.image_size)
    resize: dict[str, Any] = {
        "step": "resize",
        "where": f"the image is not {side} x {side}",
        "filter": FILTER[inputs.interpolation],
        "order": "columns first, then rows; each rounded to whole numbers from 0 to 255, halves up",
    }
    resize |= {} if inputs.interpolation == "bilinear" else {"interpolation": inputs.interpolation, "a": -0.5}
    centre = {"step": "crop_centre", "size": size, "formula": "from (side - size) // 2 on, in height and in width"}
    larger = [centre] if side > size else []
    if larger and how == "pad":
        centre |= {"where": "a side is longer than size"}
    if how == "squash":
        tall = f"the height is more than {MAX_ASPECT} times the width"
        resize |= {"height": side, "width": side, "max_aspect": MAX_ASPECT}
        return [resize | {"order": f"{resize['order']}; rows first where {tall}"}, *larger]
    if how == "pad":
        pad: dict[str, Any] = {"step": "pad", "size": size, "colour": [FILL] * inputs.channels}
        pad["formula"] = "the image from (size - side) // 2 on, in height and in width, and the colour around it"
        short = "max(1, round(short * long_side / long)), halves to even"
        return [resize | {"long_side": side, "short_side": short}, *larger, pad]
    return [
        {
            "step": "crop_long_side",
            "where": f"the long side is more than {MAX_ASPECT} times the short one",
            "max_aspect": MAX_ASPECT,
            "formula": "long = min(long, 2 * short + long % 2), from (old - long) // 2 on",
        },
        resize | {"short_side": side, "long_side": "max(short_side, round(long * short_side / short)), halves to even"},
        centre,
    ]


def _range_step(levels: PixelRange) -> dict[str, Any]:
    """How pixels of more than 8 bits become 8."""
    shrink = "floor(((pixel - low) * 255 + floor((high - low) / 2)) / (high - low))"
    if levels.kind == "float":
        shrink = "(pixel - low) / (high - low) * 255, rounded, halves to even; NaN is 0"
    return {
        "step": "scale_range",
        "where": "pixels have more than 8 bits; alpha keeps its upper 8",
        **levels.to_dict(),
        "formula": f"pixel = min(max(pixel, low), high); {shrink}",
        "other_kind": "refused: its black and white are unknown",
    }


def _channel_step(channels: int) -> dict[str, Any]:
    if channels == 3:
        return {"step": "channels", "to": "RGB", "grey": "three times the same"}
    formula = "(weights[0] * red + weights[1] * green + weights[2] * blue + 32768) // 65536"
    return {"step": "channels", "to": "grey", "weights": list(LUMA), "formula": formula, "grey": "as it is"}
