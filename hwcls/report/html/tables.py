"""Tables of the diagnosed models: their cost, and their scores by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from hwcls.format import format_bytes
from hwcls.results.diagnostics import Diagnostics
from hwcls.results.load import is_finite

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def cost_rows(found: Sequence[Diagnostics]) -> list[dict[str, Any]]:
    """One row per model as text; a dash for a value that is not recorded."""
    rows = []
    for one in found:
        trial, cost = one.trial, one.trial.cost
        speeds = sorted(line["images_per_second"] for line in trial.records if is_finite(line.get("images_per_second")))
        speed = speeds[len(speeds) // 2] if speeds else None
        batch, field = float(cost.get("batch_size", math.nan)), cost.get("receptive_field", "–")
        ms = cost.get("inference_ms")
        rows.append(
            {
                "name": one.name,
                "trial": trial.number,
                "parameters": format_large(cost.get("parameters")),
                "flops": format_large(cost.get("flops")),
                "field": "entire image" if field is None else f"{field} px" if isinstance(field, int) else field,
                "pretraining": float(cost["pretrain_seconds"]) if is_finite(cost.get("pretrain_seconds")) else None,
                "seconds": trial.seconds,
                "epoch": trial.seconds / len(trial.records) if trial.records else None,
                "step": format_step(batch / speed) if speed and is_finite(batch) else "–",
                "speed": f"{speed:,.0f}" if speed else "–",
                "memory": format_bytes(cost["memory_mb"] * 2**20) if is_finite(cost.get("memory_mb")) else "–",
                "idle": f"{100 * cost['idle_share']:.0f} %" if is_finite(cost.get("idle_share")) else None,
                "inference": f"{ms:.3g} ms" if is_finite(ms) else "–",
            }
        )
    return rows


def class_rows(found: Sequence[Diagnostics], classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per class: precision, recall, F1 and AUC of each model, a single best F1 marked."""
    rows = []
    for place, name in enumerate(classes):
        f1 = [_number(one.per_class.f1[place]) or 0.0 for one in found]
        most = max(f1, default=0.0)
        values = []
        for one, own in zip(found, f1, strict=True):
            for kind, value in zip(("precision", "recall", "f1", "area"), _of_class(one, place), strict=True):
                alone = kind == "f1" and len(found) > 1 and value is not None and own == most and f1.count(most) == 1
                values.append({"number": value, "most": alone})
        rows.append({"name": name, "images": int(found[0].per_class.support[place]), "values": values})
    return rows


def class_means(found: Sequence[Diagnostics]) -> list[tuple[str, list[float | None]]]:
    """The plain mean over the classes, and the mean weighted by their images."""
    means = []
    for name in ("macro", "weighted"):
        row: list[float | None] = []
        for one in found:
            scores = one.per_class
            values = (scores.precision, scores.recall, scores.f1, one.auc)
            row += [_number(getattr(scores, name)(kind)) for kind in values]
        means.append((f"{name} mean{name_averaged(found[0].per_class.support) if found else ''}", row))
    return means


def name_averaged(support: NDArray[Any]) -> str:
    """How many classes an average is over, where it is not all of them: " of 9 of 10 classes"."""
    judged = int((support > 0).sum())
    return f" of {judged} of {len(support)} classes" if judged < len(support) else ""


def format_step(seconds: float) -> str:
    """A step's time with three digits: 24.7 ms, 2.91 s."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def format_large(value: object) -> str:
    """A count with three digits and a prefix: 296 M."""
    if not is_finite(value):
        return "–"
    number = float(value)
    for size, unit in UNITS:
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _of_class(one: Diagnostics, place: int) -> list[float | None]:
    scores = one.per_class
    return [_number(values[place]) for values in (scores.precision, scores.recall, scores.f1, one.auc)]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
