"""Writes the figures of a sweep into a folder: complete or not at all, the same bytes from the same results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.errors import UserError, did_you_mean
from hwcls.figures.budget import collect_budget
from hwcls.figures.confusion import collect_confusion
from hwcls.figures.drawable import Drawable, NothingToShow
from hwcls.figures.importance import collect_importance
from hwcls.figures.learning_curves import collect_learning_curves
from hwcls.figures.slices import collect_slices
from hwcls.figures.style import paper_style
from hwcls.figures.test_scores import collect_test_scores
from hwcls.results.diagnostics import class_names
from hwcls.results.load import SweepResults

FIGURES: Mapping[str, Callable[[SweepResults], Drawable]] = {
    "test": collect_test_scores,
    "curves": collect_learning_curves,
    "confusion": collect_confusion,
    "slices": collect_slices,
    "importance": collect_importance,
    "budget": collect_budget,
}
FORMATS = ("svg", "pdf", "png")
MANIFEST = "figures.json"  # by file: its caption, and the digest of what was written
NO_DATES: Mapping[str, Mapping[str, Any]] = {
    "svg": {"Creator": "hwcls", "Date": None},
    "pdf": {"Creator": "hwcls", "CreationDate": None},
    "png": {"Software": "hwcls"},
}


@dataclass(frozen=True)
class FigureFile:
    """A figure that can be written."""

    name: str  # a key of FIGURES
    path: Path
    figure: Drawable


def plan_figures(
    sweep: SweepResults, names: Sequence[str], folder: Path, format: str
) -> tuple[list[FigureFile], dict[str, str]]:
    """The figures that the results have data for, and why others are left out; all of FIGURES without `names`.

    Raises UserError for an unknown name, and where nothing can be drawn.
    """
    planned, left_out = [], {}
    for name in choose_names(names, FIGURES):
        try:
            planned.append(FigureFile(name, folder / f"{name}.{format}", FIGURES[name](sweep)))
        except NothingToShow as reason:
            left_out[name] = str(reason)
    if not planned:
        raise nothing_to_show("figure", left_out, sweep)
    return planned, left_out


def choose_names(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """The known names among which the user chose, in their order; all without a choice; raises UserError."""
    for name in names:
        if name not in known:
            raise UserError(f"unknown name '{name}'", where="--only", remedy=did_you_mean(name, known))
    return [name for name in known if not names or name in names]


def nothing_to_show(noun: str, left_out: Mapping[str, str], sweep: SweepResults) -> UserError:
    """The error where every figure or table is left out: each reason once."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    what = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return UserError(f"has nothing for a {noun} ({what})", where=str(sweep.folder))


def find_foreign(sweep: SweepResults, planned: Sequence[FigureFile], folder: Path) -> list[Path]:
    """The files in the way that are not as hwcls wrote them for this sweep: of others, or edited since."""
    known, manifest = _read_manifest(folder), folder / MANIFEST
    found = [manifest] if manifest.exists() and not known else []
    for one in planned:
        entry = known.get(one.path.name, {})
        own = (
            entry.get("sweep") == sweep.name
            and one.path.exists()
            and entry["blake2b"] == _digest(one.path.read_bytes())
        )
        if one.path.exists() and not own:
            found.append(one.path)
    return found


def write_figures(sweep: SweepResults, planned: Sequence[FigureFile], width: str) -> None:
    """Write each figure in the format of its name; `width` is a key of style.WIDTHS.

    Raises UserError where matplotlib is not installed.
    """
    with paper_style(_texts(sweep)):
        for one in planned:
            format = one.path.suffix[1:]
            content = BytesIO()
            one.figure.draw(width).savefig(content, format=format, metadata=dict(NO_DATES[format]))
            with files.open_atomic(one.path) as file:
                file.write(content.getvalue())
            entry = {"sweep": sweep.name, "caption": one.figure.caption, "width": width}
            entry["blake2b"] = _digest(content.getvalue())
            known = _read_manifest(one.path.parent) | {one.path.name: entry}
            files.write_json(one.path.parent / MANIFEST, dict(sorted(known.items())))


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """What was written into the folder; nothing where the file is missing or of somebody else."""
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(found, dict) and all(isinstance(one, dict) and "blake2b" in one for one in found.values())
    return found if whole else {}


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _texts(sweep: SweepResults) -> Iterable[str]:
    """What figures may show that is not of hwcls: names of classes, settings and alternatives."""
    settings = [str(part) for trial in sweep.trials for pair in trial.parameters.items() for part in pair]
    return {*class_names(sweep), *settings, *(str(label) for label in sweep.labels)}
