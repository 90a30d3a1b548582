"""Two trials side by side: their settings, the classes that each wins, and the images on which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwcls.config.data import DataConfig
from hwcls.config.trial import flatten
from hwcls.errors import UserError
from hwcls.format import number, of, points
from hwcls.tracking.folders import TrialFolder
from hwcls.training.artifacts import load_arrays

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Explained:
    """How two trials differ on the same validation images."""

    settings: Mapping[str, tuple[Any, Any]]  # that are not the same
    accuracy: tuple[float, float]
    classes: list[dict[str, Any]]  # {"class", "images", "a", "b", "gain"}: recall of each, largest gain of B first
    only_a: list[dict[str, Any]]  # {"image", "class", "a", "b"}: right in A alone, image: its place in the val split
    only_b: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "accuracy": list(self.accuracy),
            "classes": self.classes,
            "only_a": self.only_a,
            "only_b": self.only_b,
        }


def explain(a: Path, b: Path) -> Explained:
    """Compare the folders of two trials at their best epochs.

    Raises:
        UserError: A folder is no trial, or has no predictions yet, or the two saw different validation images.
    """
    (labels, scores_a, classes), (other, scores_b, _) = _predictions(a), _predictions(b)
    if not np.array_equal(labels, other) or _images(a) != _images(b):
        remedy = "compare trials with the same data, val and split_seed"
        raise UserError("were scored on different validation images", where=f"{a} and {b}", remedy=remedy)
    picked = scores_a.argmax(1), scores_b.argmax(1)  # (N,) each
    right = [choice == labels for choice in picked]
    flat = [flatten(TrialFolder(path).settings()) for path in (a, b)]
    names = [name for name in dict.fromkeys([*flat[0], *flat[1]]) if flat[0].get(name) != flat[1].get(name)]
    rows = []
    for k in np.unique(labels):
        recall = [float(hit[labels == k].mean()) for hit in right]
        rows.append({"class": classes(int(k)), "images": int((labels == k).sum()), "a": recall[0], "b": recall[1]})
    rows = [row | {"gain": row["b"] - row["a"]} for row in rows]

    def images(won: NDArray[np.bool_]) -> list[dict[str, Any]]:
        said = [(int(i), *(classes(int(choice[i])) for choice in (labels, *picked))) for i in np.flatnonzero(won)]
        return [dict(zip(("image", "class", "a", "b"), row, strict=True)) for row in said]

    return Explained(
        settings={name: (flat[0].get(name), flat[1].get(name)) for name in names},
        accuracy=(float(right[0].mean()), float(right[1].mean())),
        classes=sorted(rows, key=lambda row: -row["gain"]),
        only_a=images(right[0] & ~right[1]),
        only_b=images(right[1] & ~right[0]),
    )


def _images(path: Path) -> Any:
    """What decides which images a trial was scored on."""
    return DataConfig.model_validate(TrialFolder(path).settings()["data"]).pixels()


def _predictions(path: Path) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """(labels (N,), scores (N, K), class number to name) of a trial at its best epoch."""
    if not (path / "config.yaml").is_file():
        raise UserError("is no trial", where=str(path), remedy="name a folder like results/<name>/trials/7")
    stored = load_arrays(path / "predictions.npz")
    if "labels" not in stored or "scores" not in stored:
        remedy = "wait until it has ended, or repeat it with `hwcls train`"
        raise UserError("has no predictions", where=str(path), remedy=remedy)
    labels, scores = stored["labels"], stored["scores"]
    sweep = next((folder for folder in path.resolve().parents if (folder / "data.json").is_file()), None)
    names = json.loads((sweep / "data.json").read_text("utf-8")).get("classes", []) if sweep else []
    return labels, scores, lambda k: str(names[k]) if len(names) == scores.shape[1] else str(k)


def print_explained(found: Explained, names: tuple[str, str], console: Console, rows: int = 10) -> None:
    """Print what `explain` found; of long lists the first `rows`."""
    from rich.table import Table
    from rich.text import Text

    a, b = names
    table = Table(title=Text("settings that differ", style="bold"), title_justify="left", box=None, pad_edge=False)
    for name in ("setting", a, b):
        table.add_column(Text(name))
    for name, (one, two) in found.settings.items():
        table.add_row(*(Text("–" if value is None else number(value)) for value in (name, one, two)))
    console.print(table if found.settings else Text("The settings are the same."))
    gap = found.accuracy[1] - found.accuracy[0]
    summary = f"val/accuracy {number(found.accuracy[0])} and {number(found.accuracy[1])}: {points(gap)} points; "
    summary += f"{of(len(found.only_a), 'image')} right in {a} alone, {len(found.only_b)} in {b} alone."
    console.print(Text(f"\n{summary}\n"))
    _print_classes(found, names, console, rows)
    for title, images in ((f"right in {a} alone", found.only_a), (f"right in {b} alone", found.only_b)):
        if images:
            console.print(Text(f"\n{title}", style="bold"))
        for image in images[:rows]:
            console.print(Text(f"  image {image['image']}, {image['class']}: {a} says {image['a']}, {b} {image['b']}"))
        if len(images) > rows:
            console.print(Text(f"  … and {len(images) - rows} more (--json lists all)"))


def _print_classes(found: Explained, names: tuple[str, str], console: Console, rows: int) -> None:
    from rich.table import Table
    from rich.text import Text

    changed = [row for row in found.classes if row["gain"]]
    shown = changed if len(changed) <= rows else [*changed[: rows // 2], *changed[-(rows - rows // 2) :]]
    table = Table(title=Text("recall per class", style="bold"), title_justify="left", box=None, pad_edge=False)
    for name in ("class", "images", *names, "points"):
        table.add_column(Text(name), justify="left" if name == "class" else "right")
    for row in shown:
        values = [row["class"], str(row["images"]), number(row["a"]), number(row["b"]), points(row["gain"])]
        table.add_row(*map(Text, values))
    console.print(table if shown else Text("Every class has the same recall in both."))
