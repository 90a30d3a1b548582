"""Diagnostics of the best trials: ROC, reliability, confusion, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.format import format_count
from hwcls.report.html.charts.figure import (
    COLOURS,
    NUMBERS,
    Figure,
    escape_text,
    integer_axis,
    legend_line,
    round_value,
    titled_axis,
)
from hwcls.results.diagnostics import Diagnostics, cluster_classes
from hwcls.results.test_scores import WinnerScores

GRID = np.linspace(0, 1, 101)  # false positive rates at which the curves of classes are averaged
MAX_CLASSES = 10  # curves by class: those with the lowest AUC
BINS = 15  # of confidence


def mean_roc(found: Sequence[Diagnostics], palette: dict[str | None, str]) -> Figure | None:
    """The one-vs-rest ROC curve of each model, averaged over its classes at equal false positive rates."""
    data = []
    for one in found:
        curves = [curve for label in range(one.scores.shape[1]) if (curve := _curve(one, label)) is not None]
        if curves:
            name = f"{escape_text(one.name)}, mean AUC {np.nanmean(one.auc):.4f}"
            line = {"color": palette.get(one.trial.label, COLOURS[0]), "width": 2.5}
            data.append(_line(GRID, np.mean(curves, 0), name, line))
    return {"data": data, "layout": _rates()} if data else None


def class_roc(one: Diagnostics, classes: Sequence[str]) -> Figure | None:
    """The ROC curves of a model's classes; if there are many, those with the lowest AUC."""
    known = [label for label in np.argsort(one.auc, kind="stable") if np.isfinite(one.auc[label])]
    data = []
    for place, label in enumerate(known[:MAX_CLASSES]):
        curve = _curve(one, int(label))
        if curve is not None:
            line = {
                "color": COLOURS[place % len(COLOURS)],
                "width": 1.5,
                "dash": "dot" if place >= len(COLOURS) else "",
            }
            data.append(_line(GRID, curve, f"{escape_text(classes[label])}, {one.auc[label]:.4f}", line))
    return {"data": data, "layout": _rates()} if data else None


def reliability(found: Sequence[Diagnostics], palette: dict[str | None, str]) -> Figure | None:
    """Accuracy by confidence; a calibrated model is on the diagonal."""
    data: list[dict[str, Any]] = []
    for one in found:
        known = ~np.isnan(one.scores).any(1)  # (N,)
        confidence, right = one.scores[known].max(1), (one.predicted == one.labels)[known]
        place = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
        count = np.bincount(place, minlength=BINS)
        with np.errstate(invalid="ignore", divide="ignore"):
            x, y = (np.bincount(place, values, minlength=BINS) / count for values in (confidence, right))
        name = f"{escape_text(one.name)}{_calibration_error(one)}"
        colour = palette.get(one.trial.label, COLOURS[0])
        curve = _line(x[count > 0], y[count > 0], name, {"color": colour, "width": 2})
        words = [format_count(int(size), "image") for size in count[count > 0]]
        size = np.sqrt(count[count > 0] / count.max()) * 12 + 4
        marker = {"color": colour, "size": [round_value(value) for value in size]}
        hover = "%{text}<br>confidence %{x:.3f}<br>accuracy %{y:.3f}<extra></extra>"
        data.append({**curve, "mode": "lines+markers", "marker": marker, "text": words, "hovertemplate": hover})
    if not data:
        return None
    level = _line(
        np.array([0.0, 1.0]), np.array([0.0, 1.0]), "perfectly calibrated", {"color": "#888888", "dash": "dot"}
    )
    axes = {"xaxis": titled_axis("confidence (probability of the predicted class)"), "yaxis": titled_axis("accuracy")}
    caption = "A perfectly calibrated model is on the dotted line, where accuracy equals confidence. ECE: the expected"
    return {"data": [level, *data], "layout": axes, "caption": f"{caption} calibration error ({BINS} bins)."}


def gradient_flow(found: Sequence[Diagnostics], palette: dict[str | None, str]) -> Figure | None:
    """The mean |gradient| of each layer's weights in the last epoch; dotted: in the first."""
    data, most = [], 0
    for one in found:
        if not {"layers", "epochs", "gradient_mean"} <= one.inspection.keys() or not len(one.inspection["epochs"]):
            continue
        layers, mean, epochs = ([*one.inspection[key].tolist()] for key in ("layers", "gradient_mean", "epochs"))
        most = max(most, len(layers))
        colour = palette.get(one.trial.label, COLOURS[0])
        for place, dash in ((-1, "solid"), (0, "dot")):
            line = {"color": colour, "width": 2, "dash": dash}
            curve = _line(np.arange(1, len(layers) + 1), np.array(mean[place]), escape_text(one.name), line)
            words = [f"{escape_text(name)}, epoch {epochs[place]}" for name in layers]
            more = {"legendgroup": one.name, "showlegend": place == -1, "text": words, "mode": "lines+markers"}
            data.append({**curve, **more, "hovertemplate": "%{text}<br>%{y:.3g}<extra></extra>"})
    axes = {
        "xaxis": integer_axis("layer, from input to output", most),
        "yaxis": titled_axis("mean |gradient|", type="log", **NUMBERS),
    }
    caption = "From the last step of an epoch, before clipping. Solid: the last epoch; dotted: the first."
    return (
        {"data": [*data, legend_line("first epoch", dash="dot")], "layout": axes, "caption": caption} if data else None
    )


def confusion_matrices(
    winners: Sequence[WinnerScores], found: Sequence[Diagnostics], classes: Sequence[str]
) -> dict[str, Any]:
    """The data of confusion.js: matrices of each model, sparse, and an order of the classes that clusters them.

    Those of the winners on test, summed over the confirm runs, come first; those on validation are by epoch.
    """
    models: list[dict[str, Any]] = []
    for winner in winners:
        matrix = winner.confusions.sum(0)  # (K, K)
        name = f"{winner.title}, on test ({format_count(winner.seeds, 'confirm run')})"
        epochs: list[dict[str, Any]] = [{"epoch": None, **_sparse(matrix)}]
        models.append({"name": name, "best": None, "order": cluster_classes(matrix), "epochs": epochs})
    for one in found:
        known = dict(one.confusions)
        known.setdefault(one.epoch, one.confusion)
        epochs = [{"epoch": epoch, **_sparse(matrix)} for epoch, matrix in sorted(known.items())]
        name = f"{one.name}, on validation" if winners else one.name
        models.append({"name": name, "best": one.epoch, "order": one.order_classes(), "epochs": epochs})
    return {"classes": list(classes), "models": models}


def _sparse(matrix: NDArray[Any]) -> dict[str, list[int]]:
    row, col = np.nonzero(matrix)
    return {"row": row.tolist(), "col": col.tolist(), "count": matrix[row, col].tolist()}


def _curve(one: Diagnostics, label: int) -> NDArray[Any] | None:
    """True positive rates (G,) of a class at GRID; None if no or every image has that class, or a score is NaN."""
    positive = one.labels == label
    if positive.all() or not positive.any() or np.isnan(one.scores[:, label]).any():
        return None
    false, true = metrics.roc_curve(one.scores[:, label], positive)
    return np.asarray(np.interp(GRID, false, true))


def _calibration_error(one: Diagnostics) -> str:
    try:
        error = metrics.expected_calibration_error(one.scores, one.labels)
    except ValueError:  # scores of another version that are not probabilities
        return ""
    return "" if np.isnan(error) else f", ECE {error:.3f}"


def _rates() -> dict[str, Any]:
    return {
        "xaxis": titled_axis("false positive rate", range=[-0.01, 1.01]),
        "yaxis": titled_axis("true positive rate", range=[-0.01, 1.01]),
    }


def _line(x: NDArray[Any], y: NDArray[Any], name: str, line: dict[str, Any]) -> dict[str, Any]:
    points = {"x": [round_value(float(value)) for value in x], "y": [round_value(float(value)) for value in y]}
    return {"type": "scatter", "mode": "lines", **points, "name": name, "line": line}
