"""The reference of the metrics, from what the config names and the docstrings of hwcls.metrics."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.markdown import code, docstring_of, table
from hwcls import metrics
from hwcls.config.optim import COSTS, METRICS

INTRO = """\
Names are the same in sweep files, `metrics.jsonl`, `leaderboard.csv`, W&B and TensorBoard: the split, a slash, the
metric. Trials are ranked by one on `val`. The same three exist of `test`, in confirm runs and from
`hwcls evaluate --split test` alone; of `train` there are loss and accuracy."""
DEFINED = {
    "accuracy": metrics.accuracy,
    "macro_f1": metrics.macro_f1,
    "precision, recall, F1 of each class": metrics.PerClass,
    "top5": metrics.top_k,
    "auc": metrics.roc_auc,
    "ece": metrics.expected_calibration_error,
}  # by the name that users see
LOSS = """\
The mean over images of minus the natural logarithm of the true class's probability. `train/loss` is the running loss of
the training steps, with augmentation, label smoothing and class weights; `train/accuracy` is measured in evaluation
mode, on plain training images."""


def render() -> str:
    """The page, as Markdown."""
    return "\n\n".join(["# Metrics", INTRO, *_selecting(), *_costs(), *_definitions()])


def _selecting() -> Iterator[str]:
    yield "## What a sweep selects by"
    yield table(["`metric`", "goal"], [[code(name), goal] for name, goal in METRICS.items()])


def _costs() -> Iterator[str]:
    yield "## What a model costs"
    yield "As further metrics of a sweep ([how](../how-to/several_metrics.md)), and in `cost` of `result.json`."
    columns = ["`metric`", "key in `cost`", "goal", ""]
    rows = [[code(name), code(one.recorded), one.goal or "must be named", one.axis] for name, one in COSTS.items()]
    yield table(columns, rows)


def _definitions() -> Iterator[str]:
    yield "## Definitions"
    yield "Of N images and K classes, from the confusion matrix (rows true, columns predicted) and the probabilities."
    yield "### loss"
    yield LOSS
    for name, function in DEFINED.items():
        yield f"### {name}"
        yield docstring_of(function)
