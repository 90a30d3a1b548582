"""The inputs that weights for a timm backbone were trained on: a trial's own file says it, else timm's settings do."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, get_args

from hwcls.config.data import ExpectedInputs, Interpolation, Resize

RESIZE: dict[str, Resize] = {"center": "crop", "squash": "squash", "border": "pad"}  # timm's crop_mode


def find_expected_inputs(backbone: str, pretrained: bool | str) -> ExpectedInputs | None:
    """What the weights of a backbone expect; None where nothing is known of them."""
    own = _in_weights(pretrained) if isinstance(pretrained, str) else None
    return own or _of_timm(backbone)


def _in_weights(path: str) -> ExpectedInputs | None:
    """What the model of a trial's best.safetensors was trained on; None where a file does not say it."""
    try:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            inputs = json.loads(file.metadata()["hwcls"])["inputs"]
        return ExpectedInputs(
            mean=tuple(map(float, inputs["mean"])),
            std=tuple(map(float, inputs["std"])),
            interpolation=_one_of(Interpolation, inputs.get("interpolation", "bilinear")),  # earlier versions' only one
            crop_pct=float(inputs.get("crop_pct", 1.0)),
            resize=_one_of(Resize, inputs.get("resize", "crop")),
            side=int(inputs["image_size"]),
        )
    except Exception:  # no safetensors file, or of another program
        return None


@lru_cache(maxsize=256)  # asked for each trial of a sweep
def _of_timm(backbone: str) -> ExpectedInputs | None:
    import timm

    settings = timm.get_pretrained_cfg(backbone)
    if settings is None:
        return None
    return ExpectedInputs(
        mean=tuple(settings.mean),
        std=tuple(settings.std),
        interpolation="bilinear" if settings.interpolation == "bilinear" else "bicubic",
        crop_pct=min(1.0, settings.crop_pct),  # a larger one, of three models, adds a black border
        resize=RESIZE.get(settings.crop_mode, "crop"),
        side=int(settings.input_size[-1]) if settings.input_size else None,
    )


def _one_of(literal: Any, value: object) -> Any:
    if value not in get_args(literal):
        raise ValueError(f"unknown {value!r}")
    return value
