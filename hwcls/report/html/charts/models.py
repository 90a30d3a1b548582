"""What the best trials predict and how they were trained: ROC, calibration, confusion, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.report.html.charts.base import COLOURS, Figure, counted, short, text, titled
from hwcls.results.diagnostics import Diagnostics

GRID = np.linspace(0, 1, 101)  # false positive rates at which curves of classes are averaged
CLASSES = 10  # curves of single classes at most: those with the least area
BINS = 15  # of confidence


def roc(found: Sequence[Diagnostics], palette: dict[str | None, str]) -> Figure | None:
    """The one-vs-rest ROC curve of each model, the mean over its classes at equal false positive rates."""
    data = []
    for one in found:
        curves = [curve for label in range(one.scores.shape[1]) if (curve := _curve(one, label)) is not None]
        if curves:
            name = f"{text(one.name)}, mean area {np.nanmean(one.auc):.4f}"
            line = {"color": palette.get(one.trial.label, COLOURS[0]), "width": 2.5}
            data.append(_line(GRID, np.mean(curves, 0), name, line))
    return {"data": data, "layout": _rates()} if data else None


def roc_of_classes(one: Diagnostics, classes: Sequence[str]) -> Figure | None:
    """The ROC curves of a model's classes, of many those with the least area."""
    known = [label for label in np.argsort(one.auc, kind="stable") if np.isfinite(one.auc[label])]
    data = []
    for place, label in enumerate(known[:CLASSES]):
        curve = _curve(one, int(label))
        if curve is not None:
            line = {
                "color": COLOURS[place % len(COLOURS)],
                "width": 1.5,
                "dash": "dot" if place >= len(COLOURS) else "",
            }
            data.append(_line(GRID, curve, f"{text(classes[label])}, {one.auc[label]:.4f}", line))
    return {"data": data, "layout": _rates()} if data else None


def calibration(found: Sequence[Diagnostics], palette: dict[str | None, str]) -> Figure | None:
    """How often each model is right where it is so and so sure; on the diagonal it knows what it knows."""
    data: list[dict[str, Any]] = []
    for one in found:
        sure, right = one.scores.max(1), one.scores.argmax(1) == one.labels  # (N,)
        place = np.digitize(sure, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
        count = np.bincount(place, minlength=BINS)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = (np.bincount(place, values, minlength=BINS) / count for values in (sure, right))
        name = f"{text(one.name)}{_off(one)}"
        colour = palette.get(one.trial.label, COLOURS[0])
        curve = _line(x[count > 0], y[count > 0], name, {"color": colour, "width": 2})
        words = [f"{size:,} images" for size in count[count > 0]]
        size = np.sqrt(count[count > 0] / count.max()) * 12 + 4
        marker = {"color": colour, "size": [short(value) for value in size]}
        hover = "%{text}, %{x:.3f} sure<br>%{y:.3f} right<extra></extra>"
        data.append({**curve, "mode": "lines+markers", "marker": marker, "text": words, "hovertemplate": hover})
    if not data:
        return None
    level = _line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "as sure as right", {"color": "#888888", "dash": "dot"})
    axes = {"xaxis": titled("probability of the predicted class"), "yaxis": titled("share of them right")}
    return {"data": [level, *data], "layout": axes}


def gradient_flow(found: Sequence[Diagnostics], palette: dict[str | None, str]) -> Figure | None:
    """The mean |gradient| of each layer's weights in the last epoch, and dotted in the first."""
    data, most = [], 0
    for one in found:
        if not {"layers", "epochs", "gradient_mean"} <= one.inspection.keys() or not len(one.inspection["epochs"]):
            continue
        layers, mean, epochs = ([*one.inspection[key].tolist()] for key in ("layers", "gradient_mean", "epochs"))
        most = max(most, len(layers))
        colour = palette.get(one.trial.label, COLOURS[0])
        for place, dash in ((-1, "solid"), (0, "dot")):
            line = {"color": colour, "width": 2, "dash": dash}
            curve = _line(np.arange(1, len(layers) + 1), np.array(mean[place]), text(one.name), line)
            words = [f"{text(name)}, epoch {epochs[place]}" for name in layers]
            more = {"legendgroup": one.name, "showlegend": place == -1, "text": words, "mode": "lines+markers"}
            data.append({**curve, **more, "hovertemplate": "%{text}<br>%{y:.3g}<extra></extra>"})
    axes = {"xaxis": counted("layer, from the image on", most), "yaxis": titled("mean |gradient|", type="log")}
    return {"data": data, "layout": axes} if data else None


def confusions(found: Sequence[Diagnostics], classes: Sequence[str]) -> dict[str, Any]:
    """What page.js draws as matrices: of each model those of its stored epochs, sparse, and an order of the classes."""
    models = []
    for one in found:
        known = dict(one.confusions)
        known.setdefault(one.epoch, one.confusion)
        epochs = [{"epoch": epoch, **_sparse(matrix)} for epoch, matrix in sorted(known.items())]
        models.append({"name": one.name, "best": one.epoch, "order": one.order_classes(), "epochs": epochs})
    return {"classes": list(classes), "models": models}


def _sparse(matrix: NDArray[Any]) -> dict[str, list[int]]:
    row, col = np.nonzero(matrix)
    return {"row": row.tolist(), "col": col.tolist(), "count": matrix[row, col].tolist()}


def _curve(one: Diagnostics, label: int) -> NDArray[Any] | None:
    """True positive rates (G,) of a class at the rates of GRID; None where it has no image or all of them."""
    positive = one.labels == label
    if positive.all() or not positive.any():
        return None
    false, true = metrics.roc_curve(one.scores[:, label], positive)
    return np.asarray(np.interp(GRID, false, true))


def _off(one: Diagnostics) -> str:
    try:
        return f", off by {metrics.expected_calibration_error(one.scores, one.labels):.3f}"
    except ValueError:  # of another version: no probabilities
        return ""


def _rates() -> dict[str, Any]:
    return {
        "xaxis": titled("false positive rate", range=[-0.01, 1.01]),
        "yaxis": titled("true positive rate", range=[-0.01, 1.01]),
    }


def _line(x: NDArray[Any], y: NDArray[Any], name: str, line: dict[str, Any]) -> dict[str, Any]:
    points = {"x": [short(float(value)) for value in x], "y": [short(float(value)) for value in y]}
    return {"type": "scatter", "mode": "lines", **points, "name": name, "line": line}
