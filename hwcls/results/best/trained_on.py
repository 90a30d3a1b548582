"""The share of the training images that a run was trained on, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwcls.reading import read_or_none
from hwcls.tracking.folders import TrialFolder

ALL = "all training images"


def describe_images(run: Path) -> str:
    """By its config: `25.6 % of the training images`, or ALL; empty where the config cannot be read."""
    data = _data(run)
    if data is None:
        return ""
    folds = data.get("folds")
    return f"{folds - 1} of {folds} folds of {_describe(data)}" if isinstance(folds, int) else _describe(data)


def describe_share(run: Path) -> str:
    """One sentence where a run was trained on a part of the training images, with what uses all; else empty."""
    data = _data(run)
    if data is None or (text := _describe(data)) == ALL:
        return ""
    sets = {"per_class": "null", "fraction": "1"}
    options = " ".join(f"--set parameters.data.{key}={value}" for key, value in sets.items() if _is_set(data, key))
    return f"trained on {text}: {options} uses all"


def _data(run: Path) -> dict[str, Any] | None:
    settings = read_or_none(lambda path: TrialFolder(path.parent).settings(), run / "config.yaml")
    data = (settings or {}).get("data")
    return data if isinstance(data, dict) else None


def _describe(data: dict[str, Any]) -> str:
    share = f"{_format_share(data['fraction'])} of " if _is_set(data, "fraction") else ""
    if _is_set(data, "per_class"):
        return f"{share}at most {data['per_class']:,} training images of each class"
    return f"{share}the training images" if share else ALL


def _format_share(value: float) -> str:
    """0.256 is 25.6 %."""
    return f"{100 * value:.3g} %"


def _is_set(data: dict[str, Any], key: str) -> bool:
    value = data.get(key)
    return isinstance(value, (int, float)) and (key != "fraction" or value < 1)
