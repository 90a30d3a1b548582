"""Predictions as CSV, JSON or JSON lines, one piece of text after the other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls.errors import UserError
from hwcls.escape import csv_text

if TYPE_CHECKING:
    from hwcls.inspection.predictions import Prediction

DIGITS = 6  # of a number in CSV, after the point


class OutputFormat(StrEnum):
    """The formats that other programs read."""

    csv = "csv"
    json = "json"
    jsonl = "jsonl"


def format_of(path: Path) -> OutputFormat:
    """The format that a file's ending names; raises UserError for another ending."""
    for kind in OutputFormat:
        if path.name.lower().endswith(f".{kind}"):
            return kind
    endings = ", ".join(f".{kind}" for kind in OutputFormat)
    raise UserError("has no known ending", where=str(path), remedy=f"known: {endings}")


def format_predictions(
    predictions: Iterable[Prediction], kind: OutputFormat, k: int, explained: bool = False
) -> Iterator[str]:
    """The text of a file of predictions of `k` classes each, in pieces; with `explained` it has their pictures."""
    if kind is OutputFormat.csv:
        yield from _csv_lines(predictions, k, explained)
    elif kind is OutputFormat.jsonl:
        for prediction in predictions:
            yield f"{json.dumps(prediction.to_dict())}\n"
    else:
        before = "[\n"
        for prediction in predictions:
            yield before + "\n".join(f"  {line}" for line in json.dumps(prediction.to_dict(), indent=2).splitlines())
            before = ",\n"
        yield "[]\n" if before == "[\n" else "\n]\n"


def _csv_lines(predictions: Iterable[Prediction], k: int, explained: bool) -> Iterator[str]:
    """A line of column names, then one for each prediction; texts as `escape.csv_text` makes them."""
    ranks = ["", *(f"_{rank}" for rank in range(2, k + 1))]
    columns = ["file", *(f"{name}{rank}" for rank in ranks for name in ("class", "probability"))]
    columns += ["margin", "entropy", *(["explanation"] if explained else []), "error"]
    yield _csv_line(columns)
    for prediction in predictions:
        row: dict[str, Any] = {"file": prediction.file, "error": prediction.error}
        if prediction.error is None:
            row |= {name: round(getattr(prediction, name), DIGITS) for name in ("margin", "entropy")}
            row["explanation"] = prediction.explanation
            for rank, (name, probability) in zip(ranks, prediction.top, strict=True):
                row |= {f"class{rank}": name, f"probability{rank}": round(probability, DIGITS)}
        yield _csv_line([row.get(column) for column in columns])


def _csv_line(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(csv_text, values))
    return text.getvalue()
